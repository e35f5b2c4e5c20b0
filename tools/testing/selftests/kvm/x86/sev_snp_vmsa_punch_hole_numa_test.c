// SPDX-License-Identifier: GPL-2.0-only
/*
 * Punch VMSAs across NUMA nodes: the vCPU runs on one node, the page of its VMSA is on
 * another, and who punches is on a third, in all combinations.
 *
 * The farther a kick has to go, the longer a vCPU that nobody has waited for is still
 * in the guest after fallocate() has returned.
 */
#include <linux/sizes.h>

#include <numa.h>

#include "snp_test.h"

#define MAX_NODES	3
#define NR_PAGES	8
#define PAGES		(SZ_4G + 3 * PAGE_SIZE)
#define PGOFF		5
#define FILE_SIZE	((PGOFF + NR_PAGES) * PAGE_SIZE)

/* Nodes that have memory, and CPUs that the test may use: two, which may be the same. */
static struct node {
	int id, cpu[2];
} nodes[MAX_NODES];
static u32 nr_nodes;

/* A file whose pages have to be where its mapping says. */
struct file {
	int fd;
	char *mem;
};

static void find_nodes(void)
{
	struct bitmask *mems;
	cpu_set_t cpus;
	int id, cpu;

	if (numa_available() < 0)
		return;
	numa_exit_on_error = 1;
	mems = numa_get_mems_allowed();
	kvm_sched_getaffinity(0, sizeof(cpus), &cpus);
	for (id = 0; id <= numa_max_node() && nr_nodes < MAX_NODES; id++) {
		struct node node = { id, { -1, -1 } };

		for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &cpus) || numa_node_of_cpu(cpu) != id)
				continue;
			node.cpu[1] = cpu;
			if (node.cpu[0] < 0)
				node.cpu[0] = cpu;
		}
		if (node.cpu[0] >= 0 && numa_bitmask_isbitset(mems, id))
			nodes[nr_nodes++] = node;
	}
	numa_bitmask_free(mems);
	errno = 0;
}

static struct file create_file(struct kvm_vm *vm, u64 wanted)
{
	u64 flags = wanted & vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS);
	struct file file = { vm_create_guest_memfd(vm, FILE_SIZE, flags) };

	if (flags & GUEST_MEMFD_FLAG_MMAP)
		file.mem = kvm_mmap(FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd);
	return file;
}

/*
 * Allocate a page of the file on a node.  What the file's mapping says counts more than
 * what the thread's policy says, but not every file can be mapped.
 */
static void allocate_on(struct file *file, u64 pgoff, struct node *node)
{
	struct bitmask *mask = numa_allocate_nodemask();

	if (file->mem)
		numa_tonode_memory(file->mem + pgoff * PAGE_SIZE, PAGE_SIZE, node->id);
	numa_bitmask_setbit(mask, node->id);
	numa_set_membind(mask);
	kvm_fallocate(file->fd, FALLOC_FL_KEEP_SIZE, pgoff * PAGE_SIZE, PAGE_SIZE);
	numa_set_localalloc();
	numa_bitmask_free(mask);
	errno = 0;
}

SNP_TEST_TRACKED

/* Pages of a shared file can be asked for, private ones are allocated in the same way. */
SNP_TEST(placement, 1)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct file file = create_file(vm, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	u32 i;

	kvm_static_assert(MAX_NODES * MAX_NODES <= PGOFF + NR_PAGES);
	snp_skip = "guest_memfd cannot be mapped";
	for (i = 0; file.mem && i < nr_nodes * nr_nodes; i++) {
		struct node *from = &nodes[i / nr_nodes], *to = &nodes[i % nr_nodes];
		void *page = file.mem + i * PAGE_SIZE;
		int landed = -1;

		pin_self_to_cpu(from->cpu[0]);
		allocate_on(&file, i, to);
		READ_ONCE(*(char *)page);
		TEST_ASSERT(numa_move_pages(0, 1, &page, NULL, &landed, 0) || landed < 0 ||
			    landed == to->id,
			    "Node %d has allocated a page on node %d, not on %d, %d away",
			    from->id, landed, to->id, numa_distance(from->id, to->id));
		snp_skip = landed < 0 ? snp_skip : NULL;
		errno = 0;
	}
}

/*
 * Cold and warm, under a vCPU that runs: punches of the VMSA alone, and of pages behind
 * it as well that are all over the nodes.
 */
static void punch_across(u64 flags)
{
	struct snp_vm *s = snp_vm_create(1);
	struct snp_ap *ap = &s->ap[1];
	struct file file = create_file(s->vm, flags);
	u32 nr = 0, i, j;
	char what[80];

	snp_add_slot(s, 1, PAGES, NR_PAGES, file.fd, PGOFF);
	snp_vm_launch(s);
	if (file.mem)
		TEST_EXPECT_SIGBUS((void)READ_ONCE(file.mem[PGOFF * PAGE_SIZE]));
	s->what = what;

	for (i = 0; i < nr_nodes * nr_nodes * nr_nodes; i++) {
		struct node *vcpu = &nodes[i % nr_nodes];
		struct node *puncher = &nodes[i / nr_nodes % nr_nodes];
		const u32 first = i / nr_nodes / nr_nodes;

		/* A vCPU whose CPU is busy with the punch cannot be in the guest. */
		if (vcpu->cpu[0] == puncher->cpu[1])
			continue;
		snprintf(what, sizeof(what), "punch by node %d of a VMSA on %d, its vCPU on %d",
			 puncher->id, nodes[first].id, vcpu->id);
		pin_task_to_cpu(ap->thread, vcpu->cpu[0]);
		pin_self_to_cpu(puncher->cpu[1]);

		for (; snp_window_next(s); nr++) {
			const u32 index = 1 + nr % 3, nr_pages = nr % 2 ? 1 : 4;
			const gpa_t vmsa = PAGES + index * PAGE_SIZE;

			snp_punch(s, PAGES, NR_PAGES);
			for (j = 0; j < nr_pages; j++)
				allocate_on(&file, PGOFF + index + j,
					    &nodes[(first + j) % nr_nodes]);
			ap_start(ap, vmsa);
			snp_set_spte(s, vmsa, nr_pages);
			snp_window_open(s, ap, 1);
			snp_punch(s, vmsa, nr_pages);
			snp_window_close(s);
		}
	}
}

/* A page that the thread's policy has placed, and one whose file says where it is. */
SNP_TEST(punch_by_policy, 2)
{
	punch_across(0);
}

SNP_TEST(punch_by_mapping, 2)
{
	punch_across(GUEST_MEMFD_FLAG_MMAP);
}

int main(int argc, char *argv[])
{
	snp_test_init(&argc, argv);
	find_nodes();
	__TEST_REQUIRE(nr_nodes > 1, "fewer NUMA nodes than the test needs");
	return test_harness_run(argc, argv);
}
