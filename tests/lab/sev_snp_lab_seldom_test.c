// SPDX-License-Identifier: GPL-2.0-only
/*
 * What guests and VMMs seldom do with VMSAs and their vCPUs.  These cases are right on any
 * host: they are here until the product, whose size has a limit, has room for them.
 */
#include <linux/kvm_para.h>
#include <linux/sizes.h>
#include <sys/wait.h>

#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define PAGES		(SZ_4G + 3 * PAGE_SIZE)
#define NR_PAGES	12
#define FAR		(SZ_4G + SZ_1G)

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, 1, PAGES, NR_PAGES,
		     vm_create_guest_memfd(s->vm, 2 * NR_PAGES * PAGE_SIZE, 0), 5);
	snp_vm_launch(s);
	return s;
}

static gpa_t page(u32 index)
{
	return PAGES + index * PAGE_SIZE;
}

/* A hole of many pages is no reason to have vCPUs without a VMSA of the guest reload it. */
SNP_TEST(punch_large, 1)
{
	const u64 nr_pages = 2 * SZ_2M / PAGE_SIZE;
	struct snp_vm *s = setup(1);
	const int fd = vm_create_guest_memfd(s->vm, nr_pages * PAGE_SIZE, 0);

	s->what = "large hole beside a VMSA";
	ap_start(&s->ap[1], page(2));
	vm_set_user_memory_region2(s->vm, 20, KVM_MEM_GUEST_MEMFD, FAR, nr_pages * PAGE_SIZE, NULL,
				   fd, 0);
	snp_punch_file(s, fd, 0, nr_pages);
	snp_order(s, guest_nop, 0, 0, 0);
	ap_check_unharmed(&s->ap[1]);
}

/* All of them come back to what is there now, not to what was there. */
SNP_TEST(rebuild_many, 1)
{
	struct snp_vm *s = setup(NR_PAGES);
	u32 i;

	s->what = "hole over all VMSAs of a memslot, rebuilt";
	for (i = 0; i < NR_PAGES; i++) {
		ap_start(&s->ap[1 + i], page(i));
		ap_stop(&s->ap[1 + i]);
	}
	snp_may_damage();
	snp_punch(s, page(0), NR_PAGES);
	for (i = 0; i < NR_PAGES; i++)
		ap_prepare(&s->ap[1 + i], page(i));
	for (i = 0; i < NR_PAGES; i++) {
		ap_run(&s->ap[1 + i]);
		ap_wait_start(&s->ap[1 + i], 1);
		ap_stop(&s->ap[1 + i]);
	}
}

/* The punch is by a process that was handed the file. */
SNP_TEST(punch_by_child, 2)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	int status, fds[2];
	char go = 1;
	pid_t pid;

	s->what = "punch by another process";
	while (snp_window_next(s)) {
		ap_start(ap, page(2));
		TEST_ASSERT(!pipe(fds), "pipe() failed, errno %d", errno);
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed, errno %d", errno);
		if (!pid) {
			TEST_ASSERT(read(fds[0], &go, 1) == 1, "read() failed, errno %d", errno);
			vm_guest_mem_punch_hole(s->vm, page(2), PAGE_SIZE);
			_exit(0);
		}
		/* After fork() what the guest writes to is copied, which flushes TLBs. */
		ap_wait_alive(ap);
		snp_set_spte(s, page(2), 1);
		snp_window_open(s, ap, 1);
		snp_may_damage();
		TEST_ASSERT(write(fds[1], &go, 1) == 1, "write() failed, errno %d", errno);
		TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status, "The child failed");
		snp_window_close(s);
		close(fds[0]);
		close(fds[1]);
	}
}

static void guest_hold_for_sipi(struct snp_ap_shared *me)
{
	struct ghcb *ghcb = ghcb_begin();

	WRITE_ONCE(me->work, NULL);
	ghcb->save.sw_exit_info_2 = 0;
	GUEST_ASSERT_EQ(ghcb_exit(ghcb, SVM_VMGEXIT_AP_HLT_LOOP, 0, 0).resp, 0);
	me->data[1] = ghcb->save.sw_exit_info_2;
}

#define GHCB_MSR_AP_RESET_HOLD_REQ	0x006
#define GHCB_MSR_AP_RESET_HOLD_RESP	0x007

static void guest_hold_by_msr(struct snp_ap_shared *me)
{
	u64 resp;

	WRITE_ONCE(me->work, NULL);
	resp = ghcb_msr_call(GHCB_MSR_AP_RESET_HOLD_REQ);
	GUEST_ASSERT_EQ(resp & GHCB_MSR_INFO_MASK, GHCB_MSR_AP_RESET_HOLD_RESP);
	me->data[1] = resp >> 12;
}

/* SIPI ends AP reset hold, and the vCPU hears that it was SIPI. */
SNP_TEST(reset_hold, 1)
{
	static void (* const work[])(struct snp_ap_shared *me) = {
		guest_hold_for_sipi, guest_hold_by_msr,
	};
	struct snp_ap *ap = &setup(1)->ap[1];
	u32 i;

	ap->s->what = "SIPI to a vCPU in AP reset hold";
	ap_start(ap, page(2));
	/* KVM tells of the second SIPI first. */
	ap_init_sipi(ap);
	for (i = 0; i < 4 * ARRAY_SIZE(work); i++) {
		if (i == 4) {
			ap_create(ap, page(4));
			ap_wait_start(ap, 1);
		}
		ap_wait_alive(ap);
		ap->shared->data[1] = 0;
		WRITE_ONCE(ap->shared->work, work[i % 2]);
		ap_wait_blocked(ap);
		snp_may_damage();
		ap_init_sipi(ap);
		ap_wait_alive(ap);
		AP_ASSERT(ap, READ_ONCE(ap->shared->data[1]), "was not told that it was SIPI");
	}
	AP_ASSERT(ap, ap_starts(ap) == 2, "was started by SIPI");
}

static void guest_own_ghcb(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->work, NULL);
	wrmsr(MSR_AMD64_SEV_ES_GHCB, this_sev_cpu()->ghcb_gpa);
}

static void guest_read_ghcb_msr(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->work, NULL);
	me->data[1] = rdmsr(MSR_AMD64_SEV_ES_GHCB);
}

static void ap_work(struct snp_ap *ap, void (*work)(struct snp_ap_shared *me))
{
	WRITE_ONCE(ap->shared->work, work);
	snp_wait_until(!READ_ONCE(ap->shared->work) || !ap_is_running(ap));
	ap_wait_alive(ap);
}

/* INIT and SIPI to a vCPU without a new VMSA take nothing from it. */
SNP_TEST(ghcb_kept, 1)
{
	struct snp_ap *ap = &setup(1)->ap[1];
	u64 ghcb;

	ap->s->what = "GHCB of a vCPU behind INIT and SIPI";
	ap_start(ap, page(2));
	ap_work(ap, guest_own_ghcb);
	ap_work(ap, guest_read_ghcb_msr);
	ghcb = READ_ONCE(ap->shared->data[1]);
	AP_ASSERT(ap, ghcb && !(ghcb % PAGE_SIZE), "has no GHCB");
	snp_may_damage();
	ap_init_sipi(ap);
	ap_wait_alive(ap);
	ap_work(ap, guest_read_ghcb_msr);
	AP_ASSERT(ap, READ_ONCE(ap->shared->data[1]) == ghcb, "has lost its GHCB");
}

/* Userspace may start a vCPU as SIPI does. */
SNP_TEST(sipi_received, 1)
{
	struct snp_ap *ap = &setup(1)->ap[1];

	ap->s->what = "KVM_SET_MP_STATE to KVM_MP_STATE_SIPI_RECEIVED";
	ap_start(ap, page(2));
	ap_stop(ap);
	snp_may_damage();
	ap_set_mp_state(ap, KVM_MP_STATE_SIPI_RECEIVED);
	ap_run(ap);
	ap_wait_alive(ap);
}

/* LAUNCH_UPDATE tells where to go on, and LAUNCH_FINISH that fails is none. */
SNP_TEST(launch_unfinished, 1)
{
	const int nr_pages = 4, nr_private = 2;
	struct kvm_sev_snp_launch_finish finish = { .id_block_en = 1 };
	struct kvm_pre_fault_memory range = { .gpa = FAR, .size = PAGE_SIZE };
	struct kvm_sev_snp_launch_update update = {
		.gfn_start = FAR / PAGE_SIZE,
		.len = nr_pages * PAGE_SIZE,
		.type = KVM_SEV_SNP_PAGE_TYPE_NORMAL,
	};
	struct snp_vm *s = snp_vm_create(0);
	u64 hva;
	int r;

	s->what = "launch that is not finished";
	vm_mem_add(s->vm, VM_MEM_SRC_ANONYMOUS, FAR, 20, nr_pages, KVM_MEM_GUEST_MEMFD,
		   vm_create_guest_memfd(s->vm, nr_pages * PAGE_SIZE, 0), 0);
	vm_mem_set_private(s->vm, FAR, nr_private * PAGE_SIZE);
	hva = (u64)addr_gpa2hva(s->vm, FAR);
	update.uaddr = hva;
	snp_may_damage();
	snp_vm_prepare(s);
	snp_vm_launch_start(s->vm, snp_default_policy() | SNP_POLICY_SMT);
	vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update);
	TEST_ASSERT_EQ(update.uaddr, hva + nr_private * PAGE_SIZE);
	snp_vm_launch_update(s->vm);

	/* It has no ID block. */
	r = __vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_FINISH, &finish);
	TEST_ASSERT(r && errno == EINVAL, "KVM answered LAUNCH_FINISH with %d, errno %d", r, errno);
	r = __vcpu_ioctl(s->server->vcpu, KVM_PRE_FAULT_MEMORY, &range);
	TEST_ASSERT(r && errno == EOPNOTSUPP, "KVM answered KVM_PRE_FAULT_MEMORY with %d, errno %d",
		    r, errno);
	errno = 0;
}

/* A VM that is not launched gives its ASID back. */
SNP_TEST(asids_come_back, 1)
{
	struct kvm_sev_init init = { };
	u32 eax, ebx, ecx, edx, i;
	struct kvm_vm *vm;

	cpuid(0x8000001f, &eax, &ebx, &ecx, &edx);
	for (i = 0; i <= edx; i++) {
		snp_wait_step("VM %u of %u", i, edx);
		vm = vm_create_barebones_type(KVM_X86_SNP_VM);
		vm_sev_ioctl(vm, KVM_SEV_INIT2, &init);
		kvm_vm_free(vm);
	}
}

static void guest_have_steal_time(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->work, NULL);
	wrmsr(MSR_KVM_STEAL_TIME, me->data[0] | KVM_MSR_ENABLED);
}

/* What the guest has set up before AP Create is no more after it. */
SNP_TEST(steal_time, 1)
{
	struct snp_vm *s = snp_vm_create(1);
	gva_t gva = vm_alloc_shared(s->vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	struct kvm_steal_time *st = addr_gva2hva(s->vm, gva);
	const gpa_t gpa = addr_gva2gpa(s->vm, gva);
	struct snp_ap *ap = &s->ap[1];
	u32 version;

	snp_add_slot(s, 1, PAGES, NR_PAGES, vm_create_guest_memfd(s->vm, SZ_64K, 0), 0);
	snp_vm_launch(s);
	s->what = "steal time of a vCPU that was created again";
	ap->shared->data[0] = gpa;
	WRITE_ONCE(ap->shared->work, guest_have_steal_time);
	ap_start(ap, page(2));
	snp_wait_until(READ_ONCE(st->version) || !ap_is_running(ap));
	ap_stop(ap);
	version = READ_ONCE(st->version);
	ap_run(ap);
	snp_wait_until(READ_ONCE(st->version) != version || !ap_is_running(ap));
	ap_create(ap, page(4));
	ap_wait_start(ap, 1);
	ap_stop(ap);
	version = READ_ONCE(st->version);
	ap_run(ap);
	ap_wait_alive(ap);
	AP_ASSERT(ap, READ_ONCE(st->version) == version, "has steal time, which nobody wants");
}

/* A memslot without guest_memfd has no private memory, but userspace may say it has. */
SNP_TEST(plain_converted, 1)
{
	struct snp_vm *s = snp_vm_create(0);
	struct snp_ap *bsp = s->server;
	struct kvm_run *run = bsp->vcpu->run;

	s->what = "plain memslot made private";
	vm_userspace_mem_region_add(s->vm, VM_MEM_SRC_ANONYMOUS, FAR, 20, 1, 0);
	virt_map(s->vm, FAR, FAR, 1);
	*vm_get_pte(s->vm, FAR) &= ~s->vm->arch.c_bit;
	snp_vm_launch(s);
	snp_order(s, guest_touch, FAR, 0, 0);
	vm_set_memory_attributes(s->vm, FAR, PAGE_SIZE, KVM_MEMORY_ATTRIBUTE_PRIVATE);
	TEST_ASSERT(!__snp_order(s, guest_touch, FAR, 0, 0),
		    "%s: KVM answered a shared access with memory", s->what);
	if (bsp->err != EFAULT || run->exit_reason != KVM_EXIT_MEMORY_FAULT)
		ap_fail(bsp);
	TEST_ASSERT_EQ(run->memory_fault.gpa, FAR);
	TEST_ASSERT_EQ(run->memory_fault.flags, 0);
	vm_set_memory_attributes(s->vm, FAR, PAGE_SIZE, 0);
	ap_sync(bsp);
}

#define PSC_SHARED	((u64)SNP_PAGE_STATE_SHARED << 52)
#define PSC_PRIVATE	((u64)SNP_PAGE_STATE_PRIVATE << 52)
#define PSC_2M		BIT_ULL(56)

/* Entries, and what is done of them afterwards. */
static const u64 psc_entries[][2] = {
	{ 2 * SZ_4G | PSC_SHARED | PSC_2M, 512 },
	{ (2 * SZ_4G + SZ_2M) | PSC_SHARED | PSC_2M, 512 },
	{ (2 * SZ_4G + 2 * SZ_2M) | PSC_SHARED, 1 },
	{ (2 * SZ_4G + 4 * SZ_2M) | PSC_SHARED | PSC_2M | 5, 512 },	/* half done */
	{ (2 * SZ_4G + 9 * SZ_2M - PAGE_SIZE) | PSC_SHARED, 1 },
	{ (2 * SZ_4G + 9 * SZ_2M) | PSC_SHARED | 1, 1 },		/* done */
	{ PAGES | 3ull << 52, 1 },					/* what KVM has not got */
	{ PAGES | PSC_SHARED, 1 },
	{ (PAGES + PAGE_SIZE) | PSC_PRIVATE, 0 },			/* refused */
	{ (PAGES + PAGE_SIZE) | PSC_SHARED, 0 },
};

/* What userspace is asked for, and answers. */
static const struct {
	gpa_t gpa;
	u64 nr_pages, attributes, ret;
} psc_exits[] = {
	{ 2 * SZ_4G, 1024, 0, 0 },
	{ 2 * SZ_4G + 2 * SZ_2M, 1, 0, 0 },
	{ 2 * SZ_4G + 4 * SZ_2M + 5 * PAGE_SIZE, 507, 0, 0 },
	{ 2 * SZ_4G + 9 * SZ_2M - PAGE_SIZE, 1, 0, 0 },
	{ PAGES, 1, 0, 0 },
	{ PAGES + PAGE_SIZE, 1, KVM_MAP_GPA_RANGE_ENCRYPTED, EINVAL },
};

static void guest_psc_all_kinds(struct snp_order *order)
{
	struct ghcb *ghcb = ghcb_begin();
	struct snp_psc_desc *desc = (void *)ghcb->shared_buffer;
	u32 i;

	desc->hdr = (struct psc_hdr) { .end_entry = ARRAY_SIZE(psc_entries) - 1 };
	for (i = 0; i < ARRAY_SIZE(psc_entries); i++)
		desc->entries[i] = psc_entries[i][0];
	ghcb_set(ghcb, sw_scratch, this_sev_cpu()->ghcb_gpa +
		 offsetof(struct ghcb, shared_buffer));
	GUEST_ASSERT_EQ(ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0).resp, 0);
	GUEST_ASSERT(ghcb->save.sw_exit_info_2);
	GUEST_ASSERT_EQ(desc->hdr.cur_entry, ARRAY_SIZE(psc_entries) - 2);
	for (i = 0; i < ARRAY_SIZE(psc_entries); i++)
		GUEST_ASSERT_EQ(desc->entries[i] & 0xfff, psc_entries[i][1]);
}

SNP_TEST(page_state_change_kinds, 1)
{
	struct snp_vm *s = setup(0);
	struct kvm_run *run = s->server->vcpu->run;
	bool done;
	u32 nr;

	s->what = "page state change of all kinds";
	done = __snp_order(s, guest_psc_all_kinds, 0, 0, 0);
	for (nr = 0; !done; nr++) {
		if (s->server->err || run->exit_reason != KVM_EXIT_HYPERCALL)
			ap_fail(s->server);
		TEST_ASSERT(nr < ARRAY_SIZE(psc_exits), "%s: KVM asked for too much", s->what);
		TEST_ASSERT_EQ(run->hypercall.args[0], psc_exits[nr].gpa);
		TEST_ASSERT_EQ(run->hypercall.args[1], psc_exits[nr].nr_pages);
		TEST_ASSERT_EQ(run->hypercall.args[2] & KVM_MAP_GPA_RANGE_ENCRYPTED,
			       psc_exits[nr].attributes);
		TEST_ASSERT_EQ(run->hypercall.ret, 0);
		run->hypercall.ret = psc_exits[nr].ret;
		done = ap_run_to_sync(s->server);
	}
	TEST_ASSERT_EQ(nr, ARRAY_SIZE(psc_exits));
}

SNP_TEST_MAIN
