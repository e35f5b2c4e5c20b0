/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_SNP_CPUS_H
#define SELFTEST_KVM_SNP_CPUS_H

#include <sched.h>

/* CPU number @nr of those in @cpus, counted from 0 and around; -1 if it is empty. */
static inline int snp_nth_cpu(const cpu_set_t *cpus, unsigned int nr)
{
	int cpu;

	if (!CPU_COUNT(cpus))
		return -1;
	for (nr %= CPU_COUNT(cpus), cpu = 0; nr || !CPU_ISSET(cpu, cpus); cpu++)
		nr -= !!CPU_ISSET(cpu, cpus);
	return cpu;
}

#endif /* SELFTEST_KVM_SNP_CPUS_H */
