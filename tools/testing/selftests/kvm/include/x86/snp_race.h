/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Aimed races: a timer stops the thread of an AP wherever in KVM_RUN it is, a complete
 * fallocate() is executed on its CPU, by its "shooter", and the thread goes on.
 */
#ifndef SELFTEST_KVM_SNP_RACE_H
#define SELFTEST_KVM_SNP_RACE_H

#include "snp_ap.h"
#include "snp_plan.h"

struct snp_race {
	struct snp_ap *ap;
	struct snp_place place;
	int timer;
	bool preempts;		/* the shooter could be given its priority */

	/* What the shot punches, and the AP when it came and when it was over. */
	gpa_t gpa;
	u64 start_ns, starts, heartbeat;
	bool running, done;

	/* When KVM_RUN was called, and from there to the shot, and to the guest. */
	u64 run_ns, delay_ns, edge_ns;
};

static inline u64 snp_now(void)
{
	return timespec_to_ns(timespec_elapsed((struct timespec) { }));
}

/* Have the calling thread take its place.  Returns false if it lacks the privilege. */
bool snp_take_place(struct snp_place place);

/* Start the shooter of @ap. */
void snp_race_init(struct snp_race *race, struct snp_ap *ap, struct snp_place place);

/* Shoot after @ns. */
void snp_race_arm(struct snp_race *race, gpa_t gpa, u64 ns);
void snp_race_wait(struct snp_race *race);

/*
 * ap_run(), and shoot at any time until the AP executes its first instruction.  That
 * moment moves with the load of the host: follow it, so that one shot in ten is too
 * late.  Returns false for that one.
 */
bool snp_race_run(struct snp_race *race, gpa_t gpa, struct kvm_random_state *rng);

/* The AP was seen to start by itself, which tells where the moment is at the latest. */
void snp_race_started(struct snp_race *race);

#endif /* SELFTEST_KVM_SNP_RACE_H */
