/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A runner for tests that may hang, or leave the host in ruins, if KVM is broken.
 *
 * Each case is a process of its own and one line of TAP.  The parent watches
 * it, reads what the kernel logs meanwhile, and has the verdict on paper before
 * the process that provoked the damage goes away.  A failure has exactly one
 * named cause, a pass has counted what it has seen.
 */
#ifndef SELFTEST_KVM_SNP_CASE_H
#define SELFTEST_KVM_SNP_CASE_H

#include <stdbool.h>

#include <linux/types.h>

#include "kselftest.h"

struct kvm_vm;

/* Why a case has failed; the name of a cause is stable, see snp_case.c. */
enum snp_cause {
	SNP_CAUSE_NONE,
	SNP_CAUSE_IN_USE,
	SNP_CAUSE_IN_USE_RACE,
	SNP_CAUSE_NOT_STOPPED,
	SNP_CAUSE_FALSE_KILL,
	SNP_CAUSE_WRONG_VMSA,
	SNP_CAUSE_LAUNCH_VMSA,
	SNP_CAUSE_WRONG_EXIT,
	SNP_CAUSE_WRONG_ANSWER,
	SNP_CAUSE_NO_RECOVERY,
	SNP_CAUSE_LEAK,
	SNP_CAUSE_HUNG,
	SNP_CAUSE_KERNEL_LOG,
	SNP_CAUSE_NO_WINDOW,
	SNP_CAUSE_TEST,
	NR_SNP_CAUSES,
};

/* What a case has to have seen to pass. */
enum snp_window {
	SNP_WINDOW_PLAIN,
	SNP_WINDOW_COLD,
	SNP_WINDOW_WARM,
	NR_SNP_WINDOWS,
};

struct snp_case {
	const char *name;
	const char *what;
	void (*fn)(void);
	u32 windows;		/* BIT(SNP_WINDOW_*) of the required ones */
	bool opt_in;		/* runs only if named on the command line */
	bool weakness;		/* what it shows is known, and no failure */
	bool proves_fix;	/* if it passes, the kernel tracks VMSAs */
	u32 timeout_s;		/* 0 for the default */
};

/*
 * Parse options, run the cases and exit.  @about is the text that -h starts
 * with.
 */
void __noreturn snp_case_main(int argc, char *argv[], const char *about,
			      const struct snp_case *cases, int nr_cases);

/*
 * The same for a test with options of its own, which are parsed by now.
 * All @cases are run.  @finished, if not NULL, has the last word: it prints a
 * summary, and what to do about a failure.
 */
struct snp_case_run {
	const struct snp_case *cases;
	int nr_cases;
	void (*finished)(bool failed);
	u32 timeout_s;		/* 0 for the default */
	bool keep_going;	/* -k */
	bool verbose;		/* -v */
};

void __noreturn snp_case_run(const struct snp_case_run *run);

/* How often to repeat what is worth repeating, -n. */
u32 snp_case_rounds(void);

/* After how many seconds a case counts as hung, -t. */
u32 snp_case_timeout_s(void);

/*
 * Record an event for the report of a failure.  @fmt has to be a literal with
 * up to two %lx or %lu.  Any thread may record.
 */
void snp_event(const char *fmt, u64 a, u64 b);

/* An event that the case may hang in. */
#define snp_step(_fmt, _a, _b)	snp_event("> " _fmt, _a, _b)

/* Count a window: the situation to be tested was there, and was survived. */
void snp_count_window(enum snp_window window);

/* Add to the remarks that are printed together with the result. */
void __printf(1, 2) snp_note(const char *fmt, ...);

/* Fail the running case.  Does not return. */
void __noreturn __printf(2, 3) snp_fail(enum snp_cause cause, const char *fmt, ...);

/*
 * Punch a hole of @size bytes at @offset into guest_memfd @fd.  Returns what
 * fallocate() returns, and remembers the CPU that has freed the pages.
 */
int snp_punch_hole(int fd, u64 offset, u64 size);

/*
 * Allocate good pages of @vm that are freed on top of the bad one when a case
 * fails with SNP_CAUSE_IN_USE, to keep the host alive for a little longer.
 */
void snp_add_ballast(struct kvm_vm *vm);

/* For a case that is about what becomes of the host. */
void snp_forget_ballast(void);

/*
 * How many pages of the host are on the lists of file pages and of unevictable
 * ones.  A page that is in no file any more, but not free either, stays on them.
 * Who may not have all CPUs settle their counts can @wait until they have.
 */
u64 snp_nr_listed_pages(bool wait);

/*
 * Fail if the kernel has logged something it should not have, and do it now,
 * while there is a host to tell about it.
 */
void snp_check_kernel_log(void);

/* The weakness a case is about was seen. */
void __printf(1, 2) snp_weakness(const char *fmt, ...);

#define SNP_CHECK(_cond, _cause, _fmt, ...)				\
do {									\
	if (!(_cond))							\
		snp_fail(_cause, _fmt, ##__VA_ARGS__);			\
} while (0)

/* Nanoseconds on the monotonic clock. */
u64 snp_now(void);

#endif /* SELFTEST_KVM_SNP_CASE_H */
