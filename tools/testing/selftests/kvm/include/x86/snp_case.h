/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is behind the macros of snp_test.h.
 */
#ifndef SELFTEST_KVM_SNP_CASE_H
#define SELFTEST_KVM_SNP_CASE_H

/* CPUs that this task may use, before a VM is created. */
int snp_nr_cpus(void);

extern const char *snp_skip;	/* why the case has not tested all, or NULL */

/* Note that the host may be damaged until the case has passed, see SNP_PUNCH. */
void snp_may_damage(void);
void snp_no_damage(void);	/* it has turned out well so far */

/* Begin and end a case, in its own process.  Return the reason to skip it, or NULL. */
const char *snp_case_begin(int nr_cpus);
const char *snp_case_end(void);

#endif /* SELFTEST_KVM_SNP_CASE_H */
