/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Aimed races: a timer stops the thread of a vCPU wherever in KVM_RUN it is, a complete
 * fallocate() is executed on its CPU, by its "shooter", and the thread goes on.
 */
#ifndef SELFTEST_KVM_SNP_RACE_H
#define SELFTEST_KVM_SNP_RACE_H

#include "snp_ap.h"
#include "snp_plan.h"

struct snp_race {
	struct snp_place place;
	int timer;
	bool preempts;			/* the shooter could be given its priority */

	/* The shot. */
	struct snp_ap *victim;
	int fd;
	u64 pgoff;
	u64 start_ns;
	u64 heartbeat;			/* of the victim, when fallocate() had returned */
	bool done;

	/* If the AP's thread arms it: how long it takes from KVM_RUN to the guest. */
	u64 delay_ns;
	u64 run_ns;
	u64 took_ns;
	u64 edge_ns;
};

static inline u64 snp_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return timespec_to_ns(now);
}

/* Have the calling thread take its place.  Returns false if it lacks the privilege. */
bool snp_take_place(struct snp_place place);

/* Start a shooter.  @ap's own thread is then able to arm the timer; it may be NULL. */
void snp_race_init(struct snp_race *race, struct snp_place place, struct snp_ap *ap);

/* What the next shot punches, and whom it is to harm, or not to harm. */
void snp_race_aim(struct snp_race *race, struct snp_ap *victim, int fd, u64 pgoff);

/* Shoot after @ns; or ap_run(), and shoot @ns after the last instruction before KVM_RUN. */
void snp_race_arm(struct snp_race *race, u64 ns);
void snp_race_run(struct snp_race *race, struct snp_ap *ap, u64 ns);
void snp_race_wait(struct snp_race *race);

/*
 * When to shoot at an AP that is about to start: at any time until it executes its
 * first instruction.  That moment moves with the load of the host.  Follow it, so that
 * one shot in ten is too late.
 */
u64 snp_race_delay(struct snp_race *race, struct kvm_random_state *rng);
void snp_race_started(struct snp_race *race);
void snp_race_correct(struct snp_race *race, bool too_late);

#endif /* SELFTEST_KVM_SNP_RACE_H */
