// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which thread of an aimed race runs where.
 */
#include "snp_plan.h"

struct snp_place snp_race_place(const cpu_set_t *cpus, enum snp_role role, unsigned int nr,
				bool preempt)
{
	const unsigned int nr_cpus = CPU_COUNT(cpus);
	const bool shooter = role == SNP_DRIVER_SHOOTER || role == SNP_AP_SHOOTER;

	if (role == SNP_AP || role == SNP_AP_SHOOTER)
		nr = nr_cpus > 1 ? nr_cpus - 1 - nr % (nr_cpus - 1) : 0;

	return (struct snp_place) {
		.cpu = snp_nth_cpu(cpus, nr),
		.fifo = preempt && shooter ? 1 : 0,
		.nice = preempt && role == SNP_DRIVER ? -20 : 0,
	};
}
