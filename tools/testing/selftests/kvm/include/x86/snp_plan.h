/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which thread of an aimed race runs where: plain C without system calls, to be tested
 * with CPUs that nobody has.
 */
#ifndef SELFTEST_KVM_SNP_PLAN_H
#define SELFTEST_KVM_SNP_PLAN_H

#include <stdbool.h>

#include "snp_cpus.h"

enum snp_role {
	SNP_DRIVER,		/* punches, and runs the vCPU that executes its orders */
	SNP_STORM,		/* @nr is the number of drivers */
	SNP_AP,
	SNP_AP_SHOOTER,		/* stops AP @nr, and punches */
};

struct snp_place {
	int cpu;
	int fifo;		/* priority of SCHED_FIFO, or 0: not real-time */
	int nice;
};

/*
 * Drivers and the storm have the CPUs from the first one up, APs those from the last
 * one down to the second.  A shooter is on the CPU of its target, and nobody else has
 * real-time priority: a vCPU that spins in the guest would keep the holder of a
 * lock that it waits for from running.  Without @preempt all threads are ordinary ones.
 */
static inline struct snp_place snp_race_place(const cpu_set_t *cpus, enum snp_role role,
					      unsigned int nr, bool preempt)
{
	const unsigned int nr_cpus = CPU_COUNT(cpus);

	if (role == SNP_AP || role == SNP_AP_SHOOTER)
		nr = nr_cpus > 1 ? nr_cpus - 1 - nr % (nr_cpus - 1) : 0;

	return (struct snp_place) {
		.cpu = snp_nth_cpu(cpus, nr),
		.fifo = preempt && role == SNP_AP_SHOOTER ? 1 : 0,
		.nice = preempt && role == SNP_DRIVER ? -20 : 0,
	};
}

#endif /* SELFTEST_KVM_SNP_PLAN_H */
