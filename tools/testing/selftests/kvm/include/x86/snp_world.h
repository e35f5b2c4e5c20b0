/* SPDX-License-Identifier: GPL-2.0-only */
/* The VM that snp_model.h is a model of. */
#ifndef SELFTEST_KVM_SNP_WORLD_H
#define SELFTEST_KVM_SNP_WORLD_H

#include "snp_ap.h"
#include "snp_model.h"

extern struct snp_m_world {
	struct snp_ap *control;			/* runs on, and nobody touches its VMSA */
	int fds[SNP_M_FILES];
	u64 bases[SNP_M_FILES];			/* first page of the file that counts */
	gpa_t gpas[SNP_M_PLACES];
	int *nr_punches;			/* of each enum snp_spte */

	/* What the guest's NMI handler knows of all vCPUs: who they are, how many each had. */
	struct snp_w_nmis {
		gva_t cpu[SNP_M_APS + 2];
		u64 nr[SNP_M_APS + 2];
	} *nmis;
} snp_w;

void snp_w_create(const struct snp_model *m);

/* Returns what snp_m_do() will. */
int snp_w_execute(const struct snp_model *m, const struct snp_m_step *step);

/* What must be seen of a vCPU in each enum snp_m_state. */
extern const struct snp_w_state {
	const char *what;
	bool in_run;
	bool (*seen)(struct snp_ap *ap);
} snp_w_states[];

/*
 * @beats: what there were before, if it has to run.  It may have noticed in its sleep that
 * its page is gone, and is SNP_M_OUT then.
 */
#define SNP_W_BEATS	50
bool snp_w_is_there(struct snp_m_vcpu *v, struct snp_ap *ap, u64 beats);

#define snp_w_ap(_vcpu)	(&snp_w.control->s->ap[1 + (_vcpu)])

#endif /* SELFTEST_KVM_SNP_WORLD_H */
