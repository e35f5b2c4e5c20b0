// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a vCPU whose VMSA was punched while it was out of the guest does not
 * come back on it, whatever it waited for meanwhile and whatever wakes it.
 */
#include <linux/sizes.h>

#include "snp_ap.h"
#include "snp_test.h"

#define PAGES	(SZ_4G + 3 * PAGE_SIZE)

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, 1, PAGES, 8, vm_create_guest_memfd(s->vm, 16 * PAGE_SIZE, 0), 5);
	snp_vm_launch(s);
	return s;
}

static gpa_t page(u32 index)
{
	return PAGES + index * PAGE_SIZE;
}

/*
 * What cannot harm a host without the fix comes first: the vCPU is not in the guest.
 */
SNP_TEST(punch_before_first_run, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];

	s->what = "punch between AP Create and KVM_RUN";
	while (snp_window_next(s)) {
		ap_create(ap, page(4));
		ap_punch_idle(ap, page(4));
		ap_run(ap);
		ap_wait_failed(ap);
		ap_check_frozen(ap);
	}
}

SNP_TEST(identity_stopped, 1)
{
	snp_check_identity(&setup(2)->ap[1], PAGES, ap_start_and_stop, ap_run);
}

SNP_TEST(punch_halted, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];

	s->what = "punch under a halted vCPU";
	while (snp_window_next(s)) {
		ap_start_halted(ap, page(3));
		ap_punch_idle(ap, page(3));

		/* KVM may fail KVM_RUN right away, but does not have to. */
		usleep(1000);
		if (ap_is_running(ap))
			ap_wake(ap);
		ap_wait_failed(ap);
		ap_check_frozen(ap);
		ap_check_rerun(ap);
	}
}

/* Nor does it matter what the vCPU waits for meanwhile. */
static void leave_parked(struct snp_ap *ap, gpa_t vmsa)
{
	static const u32 states[] = {
		KVM_MP_STATE_UNINITIALIZED,
		KVM_MP_STATE_INIT_RECEIVED,
		KVM_MP_STATE_AP_RESET_HOLD,
	};
	static u32 nr;

	ap_start_and_stop(ap, vmsa);
	/* The last KVM_RUN is by the thread that is to punch. */
	vcpu_run_complete_io(ap->vcpu);
	ap_set_mp_state(ap, states[nr++ % ARRAY_SIZE(states)]);
}

static void comeback_runnable(struct snp_ap *ap)
{
	ap_set_mp_state(ap, KVM_MP_STATE_RUNNABLE);
	ap_run(ap);
}

/* KVM takes notice of a signal only after it has dealt with requests to the vCPU. */
static void comeback_signaled(struct snp_ap *ap)
{
	struct {
		struct kvm_signal_mask hdr;
		u64 blocked;
	} __packed none = { .hdr.len = sizeof(none.blocked) };
	sigset_t sigs;

	sigemptyset(&sigs);
	sigaddset(&sigs, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &sigs, NULL);
	vcpu_ioctl(ap->vcpu, KVM_SET_SIGNAL_MASK, &none.hdr);
	pthread_kill(pthread_self(), SIGUSR1);
	TEST_ASSERT(__vcpu_run(ap->vcpu) && errno == EINTR, "KVM_RUN ended in errno %d", errno);
	vcpu_ioctl(ap->vcpu, KVM_SET_SIGNAL_MASK, (struct kvm_signal_mask *)NULL);
	pthread_sigmask(SIG_UNBLOCK, &sigs, NULL);
	ap_run(ap);
}

SNP_TEST(identity_signaled, 1)
{
	snp_check_identity(&setup(2)->ap[1], PAGES, ap_start_and_stop, comeback_signaled);
}

SNP_TEST(identity_parked, 1)
{
	snp_check_identity(&setup(2)->ap[1], PAGES, leave_parked, comeback_runnable);
}

SNP_TEST(identity_halted, 1)
{
	snp_check_identity(&setup(2)->ap[1], PAGES, ap_start_halted, ap_wake);
}

/*
 * KVM reloads the VMSA after a punch, i.e. the page that replaces the lost one is good
 * as soon as the guest has made a VMSA of it, and is tracked as before.
 */
SNP_TEST(heal_in_place, 2)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	u64 starts;

	s->what = "VMSA rebuilt in place";
	while (snp_window_next(s)) {
		ap_start(ap, page(2));
		ap_punch_running(ap, page(2));
		ap_check_rerun(ap);

		starts = ap_starts(ap);
		ap_prepare(ap, page(2));
		ap_run(ap);
		ap_wait_start(ap, starts);
		ap_punch_running(ap, page(2));

		/* The page that took the place of the VMSA is nothing special. */
		ap_check_rerun(ap);
		snp_punch(s, page(2), 1);
		ap_check_rerun(ap);
		ap_start(ap, page(2));
		ap_wait_alive(ap);
		ap_stop(ap);
	}
	TEST_ASSERT(s->order->nr_validated, "No page was replaced, i.e. nothing was punched");
}

static void *storm_of_signals(void *arg)
{
	struct snp_ap *ap = arg;

	for (;;) {
		pthread_kill(ap->thread, SIGUSR1);
		usleep(50);
	}
	return NULL;
}

/* A signal interrupts the reload of the VMSA, which has to go on afterwards. */
SNP_TEST(signals, 2)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	pthread_t storm;
	u64 nr_eintr;

	s->what = "punch under a storm of signals";
	while (snp_window_next(s)) {
		ap_start(ap, page(2));
		nr_eintr = READ_ONCE(ap->nr_eintr);
		kvm_pthread_create(&storm, NULL, storm_of_signals, ap);
		snp_wait_until(READ_ONCE(ap->nr_eintr) != nr_eintr);
		ap_punch_running(ap, page(2));
		kvm_pthread_cancel_join(storm);
		ap_check_rerun(ap);
	}
}

SNP_TEST_MAIN
