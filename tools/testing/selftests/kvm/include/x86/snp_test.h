/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Cases of SNP tests on the kselftest harness.  A case that fails may leave a page
 * behind that still belongs to the guest, and kill the host: the rest is skipped.
 */
#ifndef SELFTEST_KVM_SNP_TEST_H
#define SELFTEST_KVM_SNP_TEST_H

#include "kselftest_harness.h"
#include "snp_ap.h"
#include "snp_case.h"

/* Less than kselftest's time for all cases; the watchdog of snp_step() comes first. */
#ifndef SNP_TIMEOUT_S
#define SNP_TIMEOUT_S	100
#endif

FIXTURE(snp) { };
FIXTURE_SETUP(snp) { }
FIXTURE_TEARDOWN(snp) { }

/* A case that needs @_nr_cpus CPUs, for vCPUs in the guest and for who takes VMSAs. */
#define SNP_TEST(_name, _nr_cpus)				\
static void __##_name(void);					\
								\
TEST_F_TIMEOUT(snp, _name, SNP_TIMEOUT_S)			\
{								\
	const char *skip = snp_case_begin(_nr_cpus);		\
								\
	if (!skip) {						\
		__##_name();					\
		skip = snp_case_end();				\
	}							\
	if (skip)						\
		SKIP(return, "%s", skip);			\
}								\
static void __##_name(void)

/* The first case: it tells a host without the fix before another one does harm. */
#define SNP_TEST_TRACKED					\
static void __vmsa_is_tracked(void);				\
SNP_TEST(vmsa_is_tracked, 1)					\
{								\
	snp_check_tracked();					\
}

#define SNP_TEST_MAIN						\
int main(int argc, char *argv[])				\
{								\
	snp_test_init(&argc, argv);				\
	exit(test_harness_run(argc, argv));			\
}

#endif /* SELFTEST_KVM_SNP_TEST_H */
