/* SPDX-License-Identifier: GPL-2.0-only */
/* VMSAs and AP Creation (GHCB spec, section 4), guest code but for vcpu_init_vmsa(). */
#ifndef SELFTEST_KVM_SNP_VMSA_H
#define SELFTEST_KVM_SNP_VMSA_H

#include "sev_ghcb.h"

/* The launch VMSA of a vCPU that was to be started by AP Creation has run. */
#define GHCB_MSR_TERM_LAUNCH_VMSA	GHCB_MSR_TERM(0x57a)

/* What PVALIDATE and RMPADJUST return in EAX (APM volume 3). */
enum rmp_result { RMP_OK, PVALIDATE_NO_UPDATE = 255 /* RFLAGS.CF */ };

/* 4K PVALIDATE; counts pages that were not validated before. */
enum rmp_result pvalidate(gva_t gva, bool validate);

/* The SEV_FEATURES that a VMSA must have in common with the VM. */
static inline u64 snp_sev_features(void)
{
	return rdmsr(MSR_AMD64_SEV) >> 2;
}

/*
 * Turn the private page at @gva into a VMSA that starts @cpu at its entry point, with
 * the registers that it had at launch.  The page may have been replaced, but must not
 * be the VMSA of a vCPU that runs.  Or turn it back into ordinary memory.
 */
enum rmp_result snp_vmsa_prepare(gva_t gva, struct sev_cpu *cpu);
enum rmp_result snp_vmsa_release(gva_t gva);

/* SVM_VMGEXIT_AP_CREATION, AP Create. */
struct ghcb_status snp_ap_create(u32 apic_id, gpa_t vmsa);

/*
 * Host: store in @cpu what snp_vmsa_prepare() makes VMSAs of @vcpu from, and have the
 * launch VMSA terminate, unless it @may_launch.  The last thing before the launch.
 */
void vcpu_init_vmsa(struct kvm_vcpu *vcpu, struct sev_cpu *cpu, bool may_launch);

#endif /* SELFTEST_KVM_SNP_VMSA_H */
