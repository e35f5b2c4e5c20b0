/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More that can happen to an AP, and the windows in which it loses its VMSA.
 */
#ifndef SELFTEST_KVM_SNP_AP_H
#define SELFTEST_KVM_SNP_AP_H

#include "snp_vm.h"

/* A gpa with as many bits as there are. */
static inline gpa_t snp_high_gpa(struct snp_vm *s)
{
	return rounddown_pow_of_two(s->vm->max_gfn) << PAGE_SHIFT;
}

void guest_nop(struct snp_order *order);
void guest_touch(struct snp_order *order);	/* gva */
void guest_release(struct snp_order *order);	/* gva */
void guest_unhalt(struct snp_order *order);	/* APIC ID */

/* AP Creation: SW_EXITINFO1, SW_EXITINFO2, features to toggle or not to pass. */
#define SNP_NO_FEATURES	(~0ull)
void guest_ap_request(struct snp_order *order);

/* Work of an AP: HLT. */
void guest_halt(struct snp_ap_shared *me);

/* Let the vCPU that executes an order finish it, after an exit to userspace. */
void ap_sync(struct snp_ap *ap);

/* AP Destroy; an AP that is in KVM_RUN then blocks there. */
void ap_destroy(struct snp_ap *ap);

/* INIT, or INIT and SIPI, by the BSP. */
void ap_init(struct snp_ap *ap);
void ap_init_sipi(struct snp_ap *ap);

void ap_start_halted(struct snp_ap *ap, gpa_t vmsa);
void ap_set_mp_state(struct snp_ap *ap, u32 mp_state);
void ap_wake(struct snp_ap *ap);			/* by force */

/* What has to happen next; each fails if anything else does. */
void ap_wait_blocked(struct snp_ap *ap);		/* KVM_RUN sleeps */
void ap_check_unharmed(struct snp_ap *ap);		/* it runs on */
void ap_check_rerun(struct snp_ap *ap);			/* KVM_RUN fails again, at once */

/* PUNCH_HOLE in a file, wherever its memslots are. */
void snp_punch_file(struct snp_vm *s, int fd, u64 pgoff, u64 nr_pages);

/*
 * Windows, cold ones first, until the statistics have proven enough of each kind:
 *
 *	while (snp_window_next(s)) {
 *		ap_start(ap, vmsa);
 *		snp_set_spte(s, vmsa, 1);
 *		snp_window_open(s, ap, 1);
 *		snp_punch(s, vmsa, 1);
 *		snp_window_close(s);
 *	}
 *
 * The punch takes the VMSAs of @nr APs, which are in the guest if they run.  It must
 * have stopped them all, and KVM_RUN fails; snp_window_note() does not look at the APs.
 */
bool snp_can_zap(void);
bool snp_conversion_keeps_vmsa(void);	/* and zaps its SPTE */
bool snp_window_next(struct snp_vm *s);
void snp_set_spte(struct snp_vm *s, gpa_t gpa, u64 nr_pages);
void snp_window_open(struct snp_vm *s, struct snp_ap *first, u32 nr);
void snp_window_note(struct snp_vm *s);
void snp_window_close(struct snp_vm *s);

/* All of the above for one AP: one that runs, and one that does not. */
void ap_punch_running(struct snp_ap *ap, gpa_t vmsa);
void ap_punch_idle(struct snp_ap *ap, gpa_t vmsa);

/*
 * A page that was punched may become the VMSA of another AP, the one behind @ap.  A
 * vCPU that comes back to the old physical address would run that.  @leave starts @ap
 * on one of 8 @pages and takes it out of the guest, @comeback runs it after the punch.
 */
void snp_check_identity(struct snp_ap *ap, gpa_t pages,
			void (*leave)(struct snp_ap *ap, gpa_t vmsa),
			void (*comeback)(struct snp_ap *ap));
void ap_start_and_stop(struct snp_ap *ap, gpa_t vmsa);

/* The same in a VM of its own, to begin with: without the fix, what follows does harm. */
void snp_check_tracked(void);

/*
 * A thread that punches pages of a file over and over, on the CPU behind those of the
 * vCPUs, and allocates them in between if @fill.
 */
struct snp_storm {
	int fd;
	u64 pgoff, nr_pages;
	bool fill;

	pthread_t thread;
	u64 nr_punches;
};

void snp_storm_start(struct snp_vm *s, struct snp_storm *storm);
void snp_storm_stop(struct snp_storm *storm);

/*
 * A thread with steps of its own has its own watchdog, and prints none.  It is not
 * watched while its step is empty, i.e. while it waits for another thread.
 */
struct snp_steps {
	char what[160];
	u64 nr;
};

extern __thread struct snp_steps *snp_steps;

#endif /* SELFTEST_KVM_SNP_AP_H */
