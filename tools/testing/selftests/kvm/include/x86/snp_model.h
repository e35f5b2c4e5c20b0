/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM promises about the VMSAs of SNP guests, as a model of a VM whose vCPUs, pages,
 * memslots and files change one operation at a time.  Plain C, to be tested without KVM.
 */
#ifndef SELFTEST_KVM_SNP_MODEL_H
#define SELFTEST_KVM_SNP_MODEL_H

#include <stdbool.h>

#define SNP_M_APS		6
#define SNP_M_PLACES		3	/* where a memslot can be, SNP_M_SLOT_PAGES each */
#define SNP_M_SLOT_PAGES	4
#define SNP_M_PAGES		(SNP_M_PLACES * SNP_M_SLOT_PAGES)
#define SNP_M_FILES		3
#define SNP_M_FILE_PAGES	12	/* at the end of the file */
#define SNP_M_FAR		(1 << 20)	/* number of pages: to the end of all files */

/* In place of the number of a page, a file or a vCPU. */
#define SNP_M_NONE		(-1)
#define SNP_M_LAUNCH		(-2)	/* the VMSA that KVM has made at launch */
#define SNP_M_NO_REQUEST	(-3)

/* X(name, number of arguments, weight in random sequences) */
#define SNP_M_OPS(X)							\
	/* Guest: vCPU, and page or kind of error */			\
	X(prepare, 2, 10)	/* make a VMSA of the page */		\
	X(release, 1, 1)	/* and an ordinary page again */	\
	X(create, 2, 14) X(on_init, 2, 4) X(destroy, 1, 4) X(bad, 2, 3)	\
	X(init, 1, 2) X(init_sipi, 1, 4) X(halt, 1, 4)			\
	/* Guest: page */						\
	X(touch, 1, 4) X(psc_share, 1, 1) X(psc_unshare, 1, 2)		\
	/* Host: vCPU */						\
	X(run, 1, 14) X(stop, 1, 5) X(wake, 1, 4)			\
	/* Host: file, first page in it, number of pages */		\
	X(punch, 3, 12) X(alloc, 3, 2)					\
	/* Host: page, number of pages; the last one is both at once */	\
	X(share, 2, 1) X(unshare, 2, 2) X(zap, 2, 5)			\
	/* Host: place; place, file, first page in it; file; file */	\
	X(delete, 1, 3) X(bind, 3, 8) X(close, 1, 1) X(open, 1, 4)

#define SNP_M_ENUM(_name, ...)	SNP_M_##_name,
enum snp_m_op { SNP_M_OPS(SNP_M_ENUM) SNP_M_NR_OPS };

struct snp_m_step {
	enum snp_m_op op;
	int arg[3];
};

/* AP Creation requests that have to be refused, whatever the state of their target. */
enum snp_m_bad {
	SNP_M_BAD_ID, SNP_M_BAD_ID_HIGH, SNP_M_BAD_REQUEST, SNP_M_BAD_VMPL, SNP_M_BAD_FEATURES,
	SNP_M_BAD_ON_INIT_FEATURES, SNP_M_BAD_NO_FEATURES, SNP_M_BAD_UNALIGNED, SNP_M_BAD_2M,
	SNP_M_BAD_ON_INIT_2M, SNP_M_BAD_GPA, SNP_M_NR_BAD
};

/* What becomes of KVM_RUN. */
enum snp_m_state {
	SNP_M_OUT,		/* it was not called, or has returned before */
	SNP_M_RUNS,		/* guest code runs, that of vCPU ->as */
	SNP_M_SLEEPS,
	SNP_M_FAILS,		/* KVM_EXIT_FAIL_ENTRY, invalid state */
	SNP_M_TERMINATES,	/* the launch VMSA runs, and asks for termination */
};

enum snp_m_mp { SNP_M_HALTED, SNP_M_RUNNABLE, SNP_M_WAITS_FOR_SIPI };

struct snp_m_vcpu {
	int gpa;		/* page of its VMSA, SNP_M_NONE, SNP_M_LAUNCH */
	int next;		/* AP Create or Destroy (SNP_M_NONE) not yet carried out */
	int on_init;		/* the same for AP Create on INIT */
	bool init, sipi;	/* sent, and not yet taken */
	bool in_run;		/* has called KVM_RUN, which is to go on */
	bool lost;		/* sleeps in there, and its page was taken away */
	enum snp_m_mp mp;
	enum snp_m_state state;
	int as;
};

struct snp_model {
	bool conversion_keeps;	/* conversion to shared keeps the private page, for now */
	bool gentle;		/* no page is taken from a vCPU that is in the guest */
	int nr_aps;
	struct snp_m_vcpu vcpu[SNP_M_APS];
	int starts[SNP_M_APS];	/* how often a fresh VMSA of the vCPU was run */
	struct {
		int file, pgoff;	/* SNP_M_NONE: no memslot, or one whose file is gone */
		bool exists;
	} slot[SNP_M_PLACES];
	struct {
		bool open;
		struct {
			int image;	/* the vCPU that it is a VMSA of, or SNP_M_NONE */
			bool fresh;	/* which has not run yet */
			int gfn;	/* that it is assigned to, or SNP_M_NONE */
		} page[SNP_M_FILE_PAGES];
	} file[SNP_M_FILES];
	bool shared[SNP_M_PAGES];
};

/* Pairs of an operation and of what it meets. */
enum snp_m_situation {
	SNP_M_NOBODY, SNP_M_LAUNCHED, SNP_M_NO_VMSA, SNP_M_PENDING, SNP_M_STOPPED,
	SNP_M_ASLEEP, SNP_M_PARKED, SNP_M_RUNNING, SNP_M_SEVERAL, SNP_M_NR_SITUATIONS
};

extern const char * const snp_m_name[SNP_M_NR_OPS];
extern const char * const snp_m_situation_name[SNP_M_NR_SITUATIONS];
extern const int snp_m_nr_args[SNP_M_NR_OPS], snp_m_weight[SNP_M_NR_OPS];

void snp_m_init(struct snp_model *m, int nr_aps, bool gentle, bool conversion_keeps);

/* Why the outcome is not known, or the operation makes no sense; NULL if neither. */
const char *snp_m_illegal(const struct snp_model *m, const struct snp_m_step *step);

/* Is the page, that of the vCPU, taken away or used by the operation? */
bool snp_m_hits(const struct snp_model *m, const struct snp_m_step *step, int page);
bool snp_m_takes(const struct snp_m_step *step);
int snp_m_image(const struct snp_model *m, int page);
enum snp_m_situation snp_m_situation(const struct snp_model *m, const struct snp_m_step *step);

/* Carry it out.  Returns 0, or the error that KVM has to give: errno, or GHCB_ERR_*. */
int snp_m_do(struct snp_model *m, const struct snp_m_step *step);

/* KVM_RUN of a vCPU that slept and was ->lost has failed, as it may. */
void snp_m_has_failed(struct snp_model *m, int vcpu);

#endif /* SELFTEST_KVM_SNP_MODEL_H */
