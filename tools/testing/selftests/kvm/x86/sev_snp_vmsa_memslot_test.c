// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a vCPU stops when the memslot or the guest_memfd of its VMSA goes away,
 * and does not when others come and go, and what conversions to shared memory do.
 */
#include <linux/sizes.h>

#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define NR_PAGES	2	/* of each memslot */
#define NR_TAIL		59	/* behind the last memslot of a file that has a tail */
#define FIRST_ID	10

enum { A, A2, A3, B, C, NR_SLOTS };

/*
 * A, A2 and A3 are neighbors in one file, and in another order in the guest.  B has
 * a file that userspace may map, where KVM allows that.  C ends with its file, and
 * has a page offset in common with B.
 */
static const struct {
	u32 file;
	u64 pgoff, gfn;
} slots[NR_SLOTS] = {
	[A]	= { 0, 5, 0x100003 },
	[A2]	= { 0, 7, 0x100007 },
	[A3]	= { 0, 9, 0x100005 },
	[B]	= { 1, 2, 0x100203 },
	[C]	= { 2, 3, 0x100405 },
};

static struct kvm_userspace_memory_region2 *region(struct snp_vm *s, u32 slot)
{
	return &memslot2region(s->vm, FIRST_ID + slot)->region;
}

static gpa_t page(u32 slot, u64 index)
{
	return (slots[slot].gfn + index) << PAGE_SHIFT;
}

static int create_file(struct snp_vm *s, u32 slot)
{
	u64 flags = vm_check_cap(s->vm, KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP;
	u64 nr_pages = slots[slot].pgoff + NR_PAGES + (slot == C ? 0 : NR_TAIL);

	return vm_create_guest_memfd(s->vm, nr_pages * PAGE_SIZE, slot == B ? flags : 0);
}

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);
	int fd = -1;
	u32 i;

	for (i = 0; i < NR_SLOTS; i++) {
		if (!i || slots[i].file != slots[i - 1].file)
			fd = create_file(s, i);
		snp_add_slot(s, FIRST_ID + i, page(i, 0), NR_PAGES, fd, slots[i].pgoff);

		/* Memslots have their own references to it. */
		if (i == NR_SLOTS - 1 || slots[i].file != slots[i + 1].file)
			kvm_free_fd(fd);
	}
	snp_vm_launch(s);
	return s;
}

static void slot_set(struct snp_vm *s, u32 slot, bool exists)
{
	struct kvm_userspace_memory_region2 r = *region(s, slot);

	snp_step("%s: %s memslot %u", s->what, exists ? "create" : "delete", slot);
	r.memory_size = exists ? r.memory_size : 0;
	vm_ioctl(s->vm, KVM_SET_USER_MEMORY_REGION2, &r);
}

static void gmem_close(struct snp_vm *s, u32 slot)
{
	snp_step("%s: close the guest_memfd of memslot %u", s->what, slot);
	snp_may_damage();
	kvm_free_fd(region(s, slot)->guest_memfd);
}

/* Create a memslot, which must not exist, with a file of its own. */
static void gmem_renew(struct snp_vm *s, u32 slot)
{
	region(s, slot)->guest_memfd = create_file(s, slot);
	slot_set(s, slot, true);
}

/*
 * The AP of the window has to stop, but what takes its VMSA away need not wait until
 * it has left the guest, unlike PUNCH_HOLE.
 */
static void ap_wait_gone(struct snp_ap *ap)
{
	u64 last;
	u32 i;

	snp_wait_step("%s: wait for KVM_RUN of vCPU %u to fail", ap->s->what, ap->vcpu->id);
	for (i = 0; ap_is_running(ap); i++) {
		last = ap_heartbeat(ap);
		usleep(100);
		AP_ASSERT(ap, i < 3000 || ap_heartbeat(ap) == last,
			  "ran on after its VMSA was gone");
	}
	ap_wait_failed(ap);
	snp_window_note(ap->s);
}

SNP_TEST_TRACKED

/*
 * A hole tells KVM's MMU twice, when it begins and when it ends, for each memslot
 * that it finds.  These must be the same ones.
 */
SNP_TEST(slots_under_storm, 3)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	struct snp_storm storm = {
		.fd = region(s, B)->guest_memfd,
		.nr_pages = slots[B].pgoff + NR_PAGES + NR_TAIL / 4,
		.fill = true,
	};
	u32 i, nr_windows = 0;
	u64 starts;

	s->what = "memslots deleted and created under a storm of punches";
	ap_start(ap, page(A, 0));
	snp_storm_start(s, &storm);
	for (i = 0; i < 250; i++) {
		const u64 nr = READ_ONCE(storm.nr_punches);

		snp_wait_step("%s: round %u", s->what, i);
		vm_mem_region_reload(s->vm, FIRST_ID + B);
		nr_windows += READ_ONCE(storm.nr_punches) != nr;
	}
	ap_check_unharmed(ap);
	snp_storm_stop(&storm);
	TEST_ASSERT(nr_windows, "%s: never entered its window", s->what);

	s->what = "AP Create where the storm was";
	starts = ap_starts(ap);
	ap_create(ap, page(B, 1));
	ap_wait_start(ap, starts);
}

static void check_memory_fault(struct snp_ap *ap, gpa_t gpa)
{
	struct kvm_run *run = ap->vcpu->run;
	bool same = run->memory_fault.gpa == gpa && run->memory_fault.size == PAGE_SIZE &&
		    run->memory_fault.flags == KVM_MEMORY_EXIT_FLAG_PRIVATE;

	if (ap->err != EFAULT || run->exit_reason != KVM_EXIT_MEMORY_FAULT)
		ap_fail(ap);
	AP_ASSERT(ap, same, ": KVM_RUN ended in a fault at 0x%llx, not 0x%lx (0x%llx, 0x%llx)",
		  run->memory_fault.gpa, gpa, run->memory_fault.size, run->memory_fault.flags);
}

static void guest_use_data(struct snp_ap_shared *me)
{
	READ_ONCE(*(u8 *)me->data[0]);
}

/* Here the VMSA is fine, and it is the vCPU that has to report what is amiss. */
SNP_TEST(data_converted, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	const gpa_t gpa = page(C, 0);
	u32 i;

	s->what = "data of a running vCPU converted";
	WRITE_ONCE(ap->shared->data[0], gpa);
	WRITE_ONCE(ap->shared->work, guest_use_data);
	ap_start(ap, page(A, 0));
	for (i = 0; i < 2; i++) {
		ap_wait_alive(ap);
		snp_step("%s: convert 0x%lx to shared", s->what, gpa);
		vm_mem_set_shared(s->vm, gpa, PAGE_SIZE);
		snp_wait_until(!ap_is_running(ap));
		check_memory_fault(ap, gpa);
		vm_mem_set_private(s->vm, gpa, PAGE_SIZE);
		ap_run(ap);
	}
	ap_wait_alive(ap);
	AP_ASSERT(ap, ap_starts(ap) == 1, "lost its VMSA, which nobody touched");
}

static void guest_convert(struct snp_order *order)
{
	const gpa_t gpa = order->arg[0];

	GUEST_ASSERT_EQ(order->arg[1] ? snp_psc_msr(gpa, SNP_PAGE_STATE_SHARED) :
			snp_psc(gpa, 1, SNP_PAGE_STATE_SHARED).resp, 0);
}

static void guest_ap_convert(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->work, NULL);
	GUEST_ASSERT_EQ(snp_psc(me->data[0], 1, SNP_PAGE_STATE_SHARED).resp, 0);
}

/*
 * The guest converts a VMSA, by two vCPUs, and VMMs punch what a guest converts.  Without
 * a punch KVM may keep its private copy as the VMSA, but does not have to.
 */
SNP_TEST(shared_then_punched, 2)
{
	enum { KEPT, RUNNING, HALTED, PENDING, NR_STATES };
	static void (*const start[])(struct snp_ap *ap, gpa_t vmsa) = {
		ap_start, ap_start, ap_start_halted, ap_create,
	};
	struct snp_vm *s = setup(2);
	struct snp_ap *bsp = &s->ap[BSP], *ap = &s->ap[1], *other = &s->ap[2];
	const gpa_t gpa = page(A, 0);
	u64 nr_validated;
	u32 i;

	s->what = "conversion of a VMSA to shared";
	ap_start(other, page(C, 0));
	WRITE_ONCE(other->shared->data[0], gpa);
	for (i = 0; i < 4 * NR_STATES; i++) {
		const u32 state = i % NR_STATES;
		const bool punch_first = i / NR_STATES % 2;

		start[state](ap, gpa);

		/* Have the SPTE zapped with that of the neighbor, and not be what kicks. */
		vm_mem_set_shared(s->vm, gpa + PAGE_SIZE, PAGE_SIZE);
		vm_mem_set_private(s->vm, gpa, 2 * PAGE_SIZE);

		__snp_step(SNP_PUNCH, "# %s\n", s->what);
		WRITE_ONCE(other->shared->work, guest_ap_convert);
		snp_wait_until(!ap_is_running(other));
		__snp_order(s, guest_convert, gpa, i / NR_STATES / 2, 0);
		if (state != KEPT && punch_first)
			snp_punch(s, gpa, 1);
		vcpu_handle_map_gpa_range(other->vcpu);
		vcpu_handle_map_gpa_range(bsp->vcpu);
		if (state != KEPT && !punch_first)
			snp_punch(s, gpa, 1);
		ap->last = ap_heartbeat(ap);
		ap_run(other);
		ap_sync(bsp);

		if (state == KEPT) {
			snp_wait_until(ap_heartbeat(ap) != ap->last || !ap_is_running(ap));
		} else {
			ap_check_frozen(ap);
			if (state != RUNNING)
				ap_wake(ap);
			ap_wait_failed(ap);
			ap_check_frozen(ap);
			ap_check_rerun(ap);
		}

		snp_step("%s: private access of the BSP to shared memory", s->what);
		TEST_ASSERT(!__snp_order(s, guest_touch, gpa, 0, 0),
			    "%s: KVM answered a private access with memory", s->what);
		check_memory_fault(bsp, gpa);

		/* Once it is private again, and no VMSA in use, the very same access succeeds. */
		ap_stop(ap);
		vm_mem_set_private(s->vm, gpa, PAGE_SIZE);
		nr_validated = s->order->nr_validated;
		ap_sync(bsp);
		if (s->order->nr_validated > nr_validated)
			ap_check_frozen(ap);
		else
			TEST_ASSERT(state == KEPT, "%s: no page was replaced by a punch", s->what);
	}
}

SNP_TEST(slot_deleted, 2)
{
	static const struct {
		u32 slot;
		u64 index;
		bool punch_first;
	} rows[] = {
		{ B, 0, true },
		{ B, 1, false },
		{ A2, 1, true },
		{ A2, 0, false },
	};
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	u32 i;

	s->what = "memslot deleted under a running vCPU";
	while (snp_window_next(s)) {
		for (i = 0; i < ARRAY_SIZE(rows); i++) {
			const gpa_t vmsa = page(rows[i].slot, rows[i].index);

			ap_start(ap, vmsa);
			snp_set_spte(s, page(rows[i].slot, 0), NR_PAGES);
			snp_window_open(s, ap, 1);
			slot_set(s, rows[i].slot, false);
			ap_wait_gone(ap);
			__snp_order(s, guest_touch, vmsa, 0, 0);
			check_memory_fault(s->server, vmsa);

			/* Without a memslot, nothing tells a vCPU that its page goes away. */
			if (rows[i].punch_first)
				snp_punch(s, vmsa, 1);
			slot_set(s, rows[i].slot, true);
			ap_sync(s->server);
			if (!rows[i].punch_first)
				snp_punch(s, vmsa, 1);
			ap_check_frozen(ap);
			ap_check_rerun(ap);
		}
	}
	ap_start(ap, page(B, 1));
}

SNP_TEST(gmem_closed, 2)
{
	static const struct {
		u32 slot;
		u64 index;
		const char *what;
	} rows[] = {
		{ B, 0, "close of a file with a VMSA in the middle" },
		{ C, 1, "close of a file with a VMSA in its last page" },
	};
	struct kvm_vm *other = vm_create_barebones_type(KVM_X86_SNP_VM);
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	u32 i;

	while (snp_window_next(s)) {
		for (i = 0; i < ARRAY_SIZE(rows); i++) {
			const int fd = region(s, rows[i].slot)->guest_memfd;

			s->what = rows[i].what;
			ap_start(ap, page(rows[i].slot, rows[i].index));
			snp_set_spte(s, page(rows[i].slot, 0), NR_PAGES);

			/* A VM that may not have the file keeps nothing of it. */
			TEST_ASSERT(__vm_set_user_memory_region2(other, 0, KVM_MEM_GUEST_MEMFD, 0,
								 PAGE_SIZE, NULL, fd, 0),
				    "%s: another VM got it", s->what);
			snp_window_open(s, ap, 1);
			gmem_close(s, rows[i].slot);

			/* The vCPU's thread may have the last reference, and frees the page. */
			ap_wait_gone(ap);
			ap_check_rerun(ap);
			ap_init_sipi(ap);
			ap_check_rerun(ap);
			__snp_order(s, guest_touch, page(rows[i].slot, 0), 0, 0);
			check_memory_fault(s->server, page(rows[i].slot, 0));
			slot_set(s, rows[i].slot, false);
			gmem_renew(s, rows[i].slot);
			ap_sync(s->server);
		}
	}

	/* All of it is over, i.e. what has no SPTE gets one again. */
	s->what = "close of a file with three memslots";
	ap_start(ap, page(A2, 0));
	snp_punch(s, page(A, 0), NR_PAGES);
	snp_order(s, guest_touch, page(A, 0), 0, 0);
	gmem_close(s, A);
	gmem_close(s, A3);
	ap_check_unharmed(ap);
	snp_window_open(s, ap, 1);
	gmem_close(s, A2);
	ap_wait_gone(ap);
}

/* Attributes need the VM's file descriptor, set them before. */
static u32 close_vm_and_punch(struct snp_vm *s)
{
	const enum snp_spte first = snp_can_zap() ? COLD : WARM;

	s->what = "punch after the VM's file descriptor was closed";
	for (s->spte = first; s->spte < NR_SPTES; s->spte++) {
		ap_create(&s->ap[1 + s->spte], page(A, s->spte));
		snp_set_spte(s, page(A, s->spte), 1);
	}
	snp_step("%s: close it", s->what);
	kvm_free_fd(s->vm->fd);

	for (s->spte = first; s->spte < NR_SPTES; s->spte++) {
		struct snp_ap *ap = &s->ap[1 + s->spte];

		ap_run(ap);
		ap_wait_start(ap, 0);
		snp_window_open(s, ap, 1);
		snp_punch(s, page(A, s->spte), 1);
		snp_window_close(s);
	}

	/* No vCPU is in the guest: all pages can be reclaimed. */
	snp_punch(s, page(A, 0), NR_PAGES);
	return s->nr_proven;
}

SNP_TEST(vm_fd_closed, 3)
{
	u32 i;

	for (i = 0; i < 4; i++) {
		if (close_vm_and_punch(setup(NR_SPTES)) == (snp_can_zap() ? NR_SPTES : 1))
			return;
	}
	TEST_FAIL("never entered its window");
}

SNP_TEST_MAIN
