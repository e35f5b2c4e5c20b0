// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cold punches while something else kicks the vCPU.
 *
 * The kick that takes a vCPU off its VMSA waits for the vCPU only if it is the first to
 * kick.  If somebody else's kick, which does not wait, is on its way, then the punch
 * goes on at once, and meets a vCPU that is still in the guest.  Only a cold punch can
 * show it, a TLB flush has the vCPU leave anyway.  Each case may kill the host.
 */
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "apic.h"
#include "sev_vc.h"
#include "snp_test.h"

#define NR_PAGES	8
#define NR_ROUNDS	40
#define PAGES		(SZ_4G + 3 * PAGE_SIZE)
#define SLOT		1

static gpa_t page(u32 index)
{
	return PAGES + index % NR_PAGES * PAGE_SIZE;
}

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, SLOT, PAGES, NR_PAGES,
		     vm_create_guest_memfd(s->vm, (5 + NR_PAGES) * PAGE_SIZE, 0), 5);
	snp_vm_launch(s);
	return s;
}

/*
 * Deleting a memslot kicks all vCPUs, for reasons of its own and without waiting,
 * right before the kick on behalf of the VMSA.
 */
SNP_TEST(slot_deletion, 2)
{
	struct snp_vm *s = setup(1);
	struct userspace_mem_region *region = memslot2region(s->vm, SLOT);
	struct kvm_userspace_memory_region2 deleted = region->region;
	struct snp_ap *ap = &s->ap[1];
	u32 i;

	deleted.memory_size = 0;
	s->what = "memslot deleted under a running vCPU";
	for (i = 0; i < NR_ROUNDS; i++) {
		ap_start(ap, page(1));
		snp_set_spte(s, page(0), NR_PAGES);
		snp_window_open(s, ap, 1);
		snp_step("delete the memslot");
		snp_may_damage();
		vm_ioctl(s->vm, KVM_SET_USER_MEMORY_REGION2, &deleted);
		snp_window_close(s);
		vm_ioctl(s->vm, KVM_SET_USER_MEMORY_REGION2, &region->region);
	}
}

/* fix-7.3/0002-test */
static struct snp_ap_shared *nmi_me;

/* The next NMI then stays pending, and kicks the vCPU nevertheless. */
static void guest_stay_in_nmi(struct ex_regs *regs)
{
	WRITE_ONCE(nmi_me->data[0], nmi_me->data[0] + 1);
	for (;;)
		WRITE_ONCE(nmi_me->heartbeat, nmi_me->heartbeat + 1);
}

static void guest_open_nmis(struct snp_ap_shared *me)
{
	nmi_me = me;
	ghcb_exit(ghcb_begin(), SVM_VMGEXIT_NMI_COMPLETE, 0, 0);
}

static bool stop;

static void vcpu_send_nmi(struct kvm_vcpu *vcpu)
{
	struct kvm_msi msi = {
		.address_lo = APIC_DEFAULT_GPA | vcpu->id << 12,
		.data = APIC_DM_NMI,
	};
	int r = __vm_ioctl(vcpu->vm, KVM_SIGNAL_MSI, &msi);

	TEST_ASSERT(r >= 0, KVM_IOCTL_ERROR(KVM_SIGNAL_MSI, r));
}

static void *flood(void *arg)
{
	struct snp_ap *ap = arg;

	while (!READ_ONCE(stop))
		vcpu_send_nmi(ap->vcpu);
	return NULL;
}

SNP_TEST(kick_no_wait, 3)
{
	struct snp_vm *s = snp_vm_create(1);
	struct snp_ap *ap = &s->ap[1];
	pthread_t thread;
	u64 nmis;
	u32 i;

	vm_install_exception_handler(s->vm, NMI_VECTOR, guest_stay_in_nmi);
	snp_add_slot(s, 1, PAGES, 8, vm_create_guest_memfd(s->vm, SZ_64K, 0), 5);
	snp_vm_launch(s);

	s->what = "punch under a flood of NMIs";
	WRITE_ONCE(ap->shared->work, guest_open_nmis);
	for (i = 0; i < 40 && snp_can_zap(); i++) {
		nmis = READ_ONCE(ap->shared->data[0]);
		ap_start(ap, page(2));
		WRITE_ONCE(stop, false);
		kvm_pthread_create(&thread, NULL, flood, ap);
		pin_task_to_cpu(thread, snp_nth_cpu(&s->cpus, 2));
		snp_wait_step("%s: wait for an NMI", s->what);
		snp_wait_until(READ_ONCE(ap->shared->data[0]) != nmis);
		ap_punch_running(ap, page(2));
		WRITE_ONCE(stop, true);
		kvm_pthread_join(thread, NULL);
	}
	TEST_ASSERT(!i || s->nr_proven, "%s: never entered its window", s->what);
}
/* end */

struct shot {
	struct snp_ap *ap;
	gpa_t vmsa;
	u64 delay;		/* iterations */
	bool done;
};

static void *shoot(void *arg)
{
	struct shot *shot = arg;
	u64 i;

	for (i = 0; i < READ_ONCE(shot->delay); i++)
		;
	snp_may_damage();
	vm_guest_mem_punch_hole(shot->ap->s->vm, shot->vmsa, PAGE_SIZE);
	shot->ap->last = ap_heartbeat(shot->ap);
	WRITE_ONCE(shot->done, true);
	return NULL;
}

/*
 * KVM kicks all vCPUs, without waiting, when one of them is reset, which AP Creation
 * does: a guest starts its APs one after another, and the first one loses its VMSA
 * meanwhile.
 */
SNP_TEST(create_beside_punch, 3)
{
	struct snp_vm *s = setup(2);
	struct snp_ap *ap = &s->ap[1], *other = &s->ap[2];
	struct ghcb_status status;
	pthread_t thread;
	u32 i, j;

	s->what = "punch beside the creation of another vCPU";
	ap_start(other, page(4));
	for (i = 0; i < NR_ROUNDS / 2; i++) {
		struct shot shot = { .ap = ap, .vmsa = page(2) };

		ap_start(ap, page(2));
		snp_set_spte(s, page(2), 1);
		snp_window_open(s, ap, 1);
		for (j = 0; !READ_ONCE(shot.done); j++) {
			/* The guest has been at it for a while. */
			if (j == 2)
				kvm_pthread_create(&thread, NULL, shoot, &shot);
			snp_wait_step("%s", s->what);
			status = snp_order(s, guest_create, other->vcpu->id, page(4), 0)->status;
			TEST_ASSERT(!status.resp, "%s: KVM answered AP Create with %u, %u",
				    s->what, status.resp, status.info);
		}
		kvm_pthread_join(thread, NULL);
		ap_check_frozen(ap);
		snp_window_close(s);
	}
}

/*
 * The page of a running vCPU is punched while AP Create gives it another one.  KVM must
 * not lose track of the old one before the vCPU has left it.
 */
SNP_TEST(replace_beside_punch, 2)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	pthread_t thread;
	u64 starts;
	u32 i;

	s->what = "punch while AP Create replaces the VMSA";
	for (i = 0; i < NR_ROUNDS / 2; i++) {
		const gpa_t vmsa = page(1 + i % 3), next = page(5 + i % 3);
		struct shot shot = { .ap = ap, .vmsa = vmsa, .delay = 2000 * (i % 10) };
		struct ghcb_status status;

		ap_start(ap, vmsa);
		ap_prepare(ap, next);
		snp_set_spte(s, vmsa, 1);
		starts = ap_starts(ap);
		snp_step("%s", s->what);
		kvm_pthread_create(&thread, NULL, shoot, &shot);
		status = snp_order(s, guest_create, ap->vcpu->id, next, 0)->status;
		TEST_ASSERT(!status.resp, "%s: KVM answered AP Create with %u, %u", s->what,
			    status.resp, status.info);
		kvm_pthread_join(thread, NULL);

		/* KVM_RUN may have failed before AP Create was there. */
		snp_wait_until(ap_starts(ap) != starts || !ap_is_running(ap));
		if (!ap_is_running(ap)) {
			ap_wait_failed(ap);
			ap_run(ap);
		}
		ap_wait_start(ap, starts);
		ap_check_unharmed(ap);
		ap_destroy(ap);
		ap_stop(ap);
	}
}

SNP_TEST_MAIN
