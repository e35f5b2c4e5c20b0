/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM promises about the VMSAs of SNP guests, as a model of a VM whose vCPUs, pages,
 * memslots and files change one operation at a time; and sequences of such operations.
 * Plain C, to be tested without KVM.
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
#define SNP_M_FAR		0x100000	/* number of pages: to the end of all files */
#define SNP_M_MAX_STEPS		1000

/* In place of the number of a page, a file or a vCPU. */
enum { SNP_M_NONE = -1, SNP_M_LAUNCH = -2 /* VMSA */, SNP_M_NO_REQUEST = -3 };

/* By the guest: RMPADJUST, AP Creation, what vCPUs get, access and conversion; by userspace. */
enum snp_m_op {
	SNP_M_PREPARE, SNP_M_RELEASE,
	SNP_M_CREATE, SNP_M_ON_INIT, SNP_M_DESTROY, SNP_M_BAD,
	SNP_M_INIT, SNP_M_INIT_SIPI, SNP_M_UNHALT, SNP_M_HALT,
	SNP_M_TOUCH, SNP_M_PSC_SHARE, SNP_M_PSC_UNSHARE,
	SNP_M_SHARE, SNP_M_UNSHARE, SNP_M_ZAP /* to shared and back */, SNP_M_PREFAULT,
	SNP_M_RUN, SNP_M_STOP, SNP_M_SIGNAL, SNP_M_NMI,
	SNP_M_WAKE, SNP_M_SET_HALTED, SNP_M_GET_MP, SNP_M_LATE /* vCPU */,
	SNP_M_PUNCH, SNP_M_ALLOC, SNP_M_DELETE, SNP_M_BIND, SNP_M_CLOSE, SNP_M_OPEN,
	SNP_M_CLOSE_VM,
	SNP_M_NR_OPS
};

struct snp_m_step {
	enum snp_m_op op;
	int arg[3];
};

/* AP Creation that has to be refused, whatever the state of its target. */
enum snp_m_bad {
	SNP_M_BAD_ID, SNP_M_BAD_ID_HIGH, SNP_M_BAD_REQUEST, SNP_M_BAD_VMPL, SNP_M_BAD_FEATURES,
	SNP_M_BAD_ON_INIT_FEATURES, SNP_M_BAD_UNALIGNED, SNP_M_BAD_2M, SNP_M_BAD_ON_INIT_2M,
	SNP_M_BAD_GPA, SNP_M_BAD_NO_FEATURES, SNP_M_NR_BAD
};

/* KVM_RUN: not called or over, guest code of ->as runs, KVM_EXIT_FAIL_ENTRY, exit by guest. */
enum snp_m_state { SNP_M_OUT, SNP_M_RUNS, SNP_M_SLEEPS, SNP_M_FAILS, SNP_M_TERMINATES };

struct snp_m_vcpu {
	int gpa;		/* page of its VMSA, SNP_M_NONE, SNP_M_LAUNCH */
	int next;		/* AP Create or Destroy (SNP_M_NONE) not yet carried out */
	int on_init;		/* the same for AP Create on INIT */
	bool init, sipi;	/* sent, and not yet taken */
	int nmi;		/* the same; KVM keeps two */
	bool unhalted;		/* HLT has ended, or the next one has */
	bool in_run;		/* has called KVM_RUN, which is to go on */
	bool lost;		/* slept in there while its page was not */
	enum {			/* as KVM_GET_MP_STATE has it */
		SNP_M_RUNNABLE = 0, SNP_M_WAITS_FOR_SIPI = 2, SNP_M_HALTED = 3
	} mp;
	enum snp_m_state state;
	int as;
};

struct snp_model {
	bool conversion_keeps;	/* conversion to shared keeps the private page, for now */
	bool gentle;		/* no page is taken from a vCPU that is in the guest */
	bool no_fd, late;	/* the VM's descriptor is closed; there is a late vCPU */
	int nr_aps;
	struct snp_m_vcpu vcpu[SNP_M_APS];
	int starts[SNP_M_APS], nmis[SNP_M_APS];		/* of the code of this vCPU's VMSAs */
	bool shared[SNP_M_PAGES];
	struct snp_m_slot {
		bool exists;
		int file, pgoff;	/* SNP_M_NONE if there is no memslot, or no file */
	} slot[SNP_M_PLACES];
	struct {
		bool open;
		struct snp_m_page {
			int image;	/* the vCPU that it is a VMSA of, or SNP_M_NONE */
			bool fresh;	/* which has not run yet */
			int gfn;	/* that it is assigned to, or SNP_M_NONE */
		} page[SNP_M_FILE_PAGES];
	} file[SNP_M_FILES];
};

/*
 * Arguments: a letter each, v(CPU), p(age), b(ad request), f(ile), o(ffset in it), place of
 * a s(lot), n(umber of pages).  Weight: how often it is in random sequences.
 */
extern const struct snp_m_info {
	const char *name, *args;
	int weight;
} snp_m_info[SNP_M_NR_OPS];

void snp_m_init(struct snp_model *m, int nr_aps, bool gentle, bool conversion_keeps);

/* Carry it out.  Returns what KVM has to answer: -errno, GHCB_ERR_*, an MP state, or 0. */
int snp_m_do(struct snp_model *m, const struct snp_m_step *step);

/* Does it act on the page?  Does it take the VMSA away from the vCPU in this state? */
bool snp_m_touches(const struct snp_model *m, const struct snp_m_step *step, int page);
bool snp_m_takes(const struct snp_model *m, const struct snp_m_step *step,
		 const struct snp_m_vcpu *v, enum snp_m_state state);
int snp_m_image(const struct snp_model *m, int page);

static inline bool snp_m_has_memory(const struct snp_model *m, int page)
{
	return page >= 0 && m->slot[page / SNP_M_SLOT_PAGES].file != SNP_M_NONE;
}

/* Page of a file that is at the gpa of @page now. */
static inline int snp_m_pgoff(const struct snp_model *m, int page)
{
	return m->slot[page / SNP_M_SLOT_PAGES].pgoff + page % SNP_M_SLOT_PAGES;
}

/*
 * Sequences, see snp_sequence.c
 */
struct snp_sequence {
	int nr_aps, nr;
	bool gentle;
	struct snp_m_step step[SNP_M_MAX_STEPS];
};

/* What an operation meets: its vCPU, or those whose VMSA it touches. */
enum snp_m_met {
	SNP_M_NOBODY, SNP_M_LAUNCHED, SNP_M_NO_VMSA, SNP_M_PENDING, SNP_M_STOPPED,
	SNP_M_ASLEEP, SNP_M_PARKED, SNP_M_RUNNING, SNP_M_SEVERAL, SNP_M_NR_MET
};

extern const char * const snp_m_met_names[SNP_M_NR_MET];
#define SNP_M_NR_PAIRS	(SNP_M_NR_OPS * SNP_M_NR_MET)	/* of operation and what it meets */

/* Why the operation makes no sense, or its outcome is not known; or NULL. */
const char *snp_m_illegal(const struct snp_model *m, const struct snp_m_step *step);
bool snp_m_takes_from_guest(const struct snp_model *m, const struct snp_m_step *step);
enum snp_m_met snp_m_meets(const struct snp_model *m, const struct snp_m_step *step);

const char *snp_s_print(const struct snp_m_step *step);

/* @line: an operation and its arguments; those that are letters come from @letters. */
bool snp_s_parse(struct snp_m_step *step, const char *line, const int *letters);

/* @script: a file, or the steps themselves, which end with a newline or ','. */
bool snp_s_read(struct snp_sequence *seq, const char *script);
void snp_s_generate(struct snp_sequence *seq, unsigned int seed, int nr_steps,
		    bool conversion_keeps, int *met);

/* The @nr th way to make @from smaller; returns false if there are no more. */
bool snp_s_smaller(struct snp_sequence *to, const struct snp_sequence *from, int nr);

#endif /* SELFTEST_KVM_SNP_MODEL_H */
