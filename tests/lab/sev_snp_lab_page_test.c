// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of a VMSA's page after the punch.  Each case takes long, or depends on what
 * else the machine does: run them on an idle machine.
 */
#include <linux/sizes.h>
#include <sys/mman.h>

#define SNP_TIMEOUT_S	1500

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_test.h"

#define NR_PUNCHES	128
#define PAGES		(SZ_4G + 3 * PAGE_SIZE)

static struct snp_vm *setup(u32 nr_aps, u64 nr_pages)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, 1, PAGES, nr_pages,
		     vm_create_guest_memfd(s->vm, (5 + nr_pages) * PAGE_SIZE, 0), 5);
	snp_vm_launch(s);
	return s;
}

/* The sum of the counters of /proc/vmstat that begin with @prefix. */
static u64 vmstat_sum(const char *prefix)
{
	u64 val, sum = 0;
	char name[64];
	FILE *f;
	int fd;

	/* Each CPU has its own share, and reports now and then. */
	fd = open("/proc/sys/vm/stat_refresh", O_RDONLY);
	if (fd >= 0) {
		TEST_ASSERT(read(fd, name, sizeof(name)) >= 0, "stat_refresh, errno %d", errno);
		close(fd);
	}

	f = fopen("/proc/vmstat", "r");
	TEST_ASSERT(f, "Cannot read /proc/vmstat");
	while (fscanf(f, "%63s %lu", name, &val) == 2) {
		if (!strncmp(name, prefix, strlen(prefix)))
			sum += val;
	}
	fclose(f);
	return sum;
}

/* A page that has left its file counts as evictable. */
static u64 lru_pages(void)
{
	return vmstat_sum("nr_unevictable") + vmstat_sum("nr_inactive_") + vmstat_sum("nr_active_");
}

/*
 * A page that was punched has to become free, and does not if KVM keeps one of the
 * references it took for AP Creation, or for the reload under the punch.
 */
SNP_TEST(pages_freed, 1)
{
	struct snp_vm *s = setup(1, 4);
	struct snp_ap *ap = &s->ap[1];
	s64 lost = 0;
	u32 attempt, i;

	s->what = "punched pages counted";
	for (attempt = 0; attempt < 4; attempt++) {
		lost = lru_pages();
		for (i = 0; i < NR_PUNCHES; i++) {
			ap_start(ap, PAGES + 2 * PAGE_SIZE);
			snp_punch(s, PAGES + 2 * PAGE_SIZE, 1);
			ap_wait_failed(ap);
		}
		lost = (s64)lru_pages() - lost;
		if (lost < NR_PUNCHES / 2)
			return;
	}
	TEST_FAIL("%u punches, again and again, and %ld pages not freed", NR_PUNCHES, lost);
}

/*
 * Have the host use the pages that it got back.  Nothing happens if they are its own,
 * otherwise this is the end of the host.
 */
SNP_TEST(page_reuse, 2)
{
	const size_t size = 64 * SZ_1M;
	struct snp_vm *s = setup(1, 4);
	struct snp_ap *ap = &s->ap[1];
	u32 i, j;
	void *mem;

	s->what = "punch, and use of the page";
	for (i = 0; i < 2; i++) {
		ap_start(ap, PAGES + 2 * PAGE_SIZE);
		snp_set_spte(s, PAGES + 2 * PAGE_SIZE, 1);
		snp_window_open(s, ap, 1);
		snp_step("page_reuse: the host uses the punched page now");
		snp_punch(s, PAGES + 2 * PAGE_SIZE, 1);

		/* Freed pages come back first on the CPU that has freed them. */
		for (j = 0; j < 8; j++) {
			mem = kvm_mmap(size, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1);
			memset(mem, 0x55, j ? SZ_2M : size);
			kvm_munmap(mem, size);
		}
		snp_window_close(s);
	}
}

static void guest_share(struct snp_order *order)
{
	struct ghcb *ghcb = ghcb_begin();
	struct snp_psc_desc *desc = (void *)ghcb->shared_buffer;

	order->ret = this_sev_cpu()->ghcb_gpa;
	if (!order->arg[0])
		return;
	desc->hdr = (struct psc_hdr) { };
	desc->entries[0] = PAGES | (u64)SNP_PAGE_STATE_SHARED << 52;
	ghcb_set(ghcb, sw_scratch, order->ret + offsetof(struct ghcb, shared_buffer));
	ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0);
}

/*
 * A vCPU that is freed in the middle of a request has to give up its GHCB.  A file
 * cannot be sealed against writes while anybody has a reference to a page of it.
 */
SNP_TEST(ghcb_freed, 1)
{
	int fd = memfd_create("ghcb", MFD_ALLOW_SEALING);
	struct snp_vm *s = snp_vm_create(0);
	void *mem;

	/* Without a guest_memfd, which keeps the VM as long as it is open. */
	snp_vm_launch(s);
	s->what = "vCPU freed in a page state change";
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, PAGE_SIZE), "No memfd, errno %d", errno);
	mem = addr_gpa2hva(s->vm, snp_order(s, guest_share, false, 0, 0)->ret);
	mem = mmap(mem, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() of the GHCB, errno %d", errno);

	if (__snp_order(s, guest_share, true, 0, 0) || s->server->err ||
	    s->server->vcpu->run->exit_reason != KVM_EXIT_HYPERCALL)
		ap_fail(s->server);
	kvm_vm_free(s->vm);
	TEST_ASSERT(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE),
		    "The VM is gone, and somebody has a reference to its GHCB");
}

struct work {
	struct snp_vm *s;
	gpa_t gpa;
	u64 nr_pages;
	u64 ns;
	bool done;
};

static void *punch(void *arg)
{
	struct work *work = arg;
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	vm_guest_mem_punch_hole(work->s->vm, work->gpa, work->nr_pages * PAGE_SIZE);
	work->ns = timespec_to_ns(timespec_elapsed(start));
	WRITE_ONCE(work->done, true);
	return NULL;
}

/* Punch the VMSAs of the last @nr APs, and @tail pages behind them. */
static u64 punch_many(struct snp_vm *s, u32 nr, u32 tail, u64 limit_ns, u32 *parked)
{
	const u32 first = s->nr_aps + 1 - nr;
	struct work work = {
		.s = s,
		.gpa = PAGES + (first - 1) * PAGE_SIZE,
		.nr_pages = nr + tail,
	};
	struct timespec start;
	u64 pages, ns, next = NSEC_PER_SEC / 1000;
	pthread_t thread;
	u32 i;

	for (i = first; i <= s->nr_aps; i++)
		ap_start(&s->ap[i], PAGES + (i - 1) * PAGE_SIZE);
	for (i = first; i <= s->nr_aps; i++)
		ap_wait_alive(&s->ap[i]);

	pages = vmstat_sum("pgalloc_");
	snp_step("punch %u VMSAs, %u empty pages behind", nr, tail);
	snp_may_damage();
	kvm_pthread_create(&thread, NULL, punch, &work);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		usleep(1000);
		snp_wait_step("punch %u VMSAs, %u empty pages behind", nr, tail);
		ns = timespec_to_ns(timespec_elapsed(start));
		if (READ_ONCE(work.done) || ns < next)
			continue;
		ksft_print_msg("%2u vCPUs, %u empty pages: %lu ms, %lu so far\n", nr, tail,
			       ns / 1000000, vmstat_sum("pgalloc_") - pages);
		next *= 10;
	} while (!READ_ONCE(work.done) && (!tail || ns < limit_ns));

	*parked = 0;
	for (i = first; i <= s->nr_aps && !READ_ONCE(work.done); i++, (*parked)++) {
		ap_stop(&s->ap[i]);
		usleep(20000);
	}
	kvm_pthread_join(thread, NULL);
	ksft_print_msg("%2u vCPUs, %u empty pages: %.3f ms, %lu allocations, %u parked\n", nr,
		       tail, work.ns / 1e6, vmstat_sum("pgalloc_") - pages, *parked);
	for (i = first; i <= s->nr_aps; i++)
		ap_stop(&s->ap[i]);
	return work.ns;
}

/*
 * A vCPU that waits for the punch to end asks for its page again and again, and
 * asking allocates the page that the punch has just freed.  The punch starts over
 * until it finds nothing to free, unless the last page in the hole is the last
 * one that it frees.  So many vCPUs and an empty page at the end of the hole
 * keep each other busy.
 */
SNP_TEST(fallocate_livelock, 1)
{
	static const u32 nr_aps[] = { 1, 2, 4, 8, 16, SNP_MAX_APS };
	struct snp_vm *s = setup(SNP_MAX_APS, SNP_MAX_APS + 1);
	u32 i, parked, stuck = 0;
	u64 ns;

	for (i = 0; i < ARRAY_SIZE(nr_aps); i++) {
		/* One more page, and an empty one, cannot be that much work. */
		ns = punch_many(s, nr_aps[i], 0, 0, &parked);
		punch_many(s, nr_aps[i], 1, max(8 * ns, 1ul * NSEC_PER_SEC), &parked);
		if (parked && !stuck)
			stuck = nr_aps[i];
	}
	TEST_ASSERT(!stuck, "A punch of %u VMSAs and an empty page ends only without the vCPUs",
		    stuck);
}

static void guest_store(struct snp_order *order)
{
	WRITE_ONCE(*(u8 *)order->arg[0], 1);
}

/*
 * The page is shared, and userspace may map its file.  What the guest stores there has
 * to arrive, or KVM_RUN has to fail.
 */
SNP_TEST(shared_store, 1)
{
	struct snp_vm *s = snp_vm_create(1);

	if (!(vm_check_cap(s->vm, KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP)) {
		snp_skip = "no guest_memfd that userspace may map";
		return;
	}
	snp_add_slot(s, 1, PAGES, 1,
		     vm_create_guest_memfd(s->vm, PAGE_SIZE, GUEST_MEMFD_FLAG_MMAP), 0);
	*vm_get_pte(s->vm, PAGES) &= ~s->vm->arch.c_bit;
	snp_vm_launch(s);
	vm_mem_set_shared(s->vm, PAGES, PAGE_SIZE);
	snp_step("KVM_RUN, the guest stores to a shared page");
	if (!__snp_order(s, guest_store, PAGES, 0, 0) &&
	    (s->server->err != EFAULT ||
	     s->server->vcpu->run->exit_reason != KVM_EXIT_MEMORY_FAULT))
		ap_fail(s->server);
}

/* fix-7.3/0001-test */
/* vCPUs that reload their VMSAs must not fill a hole as fast as it is punched. */
SNP_TEST(hole_goes_on, 1)
{
	const u32 nr = 16;
	struct snp_vm *s = snp_vm_create(nr);
	u32 i;

	snp_add_slot(s, 1, PAGES, nr + 1,
		     vm_create_guest_memfd(s->vm, (5 + nr + 1) * PAGE_SIZE, 0), 5);
	snp_vm_launch(s);

	s->what = "hole over VMSAs and an empty page";
	for (i = 1; i <= nr; i++)
		ap_start(&s->ap[i], PAGES + (i - 1) * PAGE_SIZE);
	for (i = 1; i <= nr; i++)
		ap_wait_alive(&s->ap[i]);
	snp_punch(s, PAGES, nr + 1);
	for (i = 1; i <= nr; i++)
		ap_wait_failed(&s->ap[i]);
}
/* end */

SNP_TEST_MAIN
