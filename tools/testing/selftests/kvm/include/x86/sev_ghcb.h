/* SPDX-License-Identifier: GPL-2.0-only */
/* GHCB requests and ucalls of SEV-ES and SEV-SNP guests. */
#ifndef SELFTEST_KVM_SEV_GHCB_H
#define SELFTEST_KVM_SEV_GHCB_H

#include "sev.h"

#define GHCB_MSR_REG_GPA_REQ	0x012
#define GHCB_MSR_REG_GPA_RESP	0x013
#define GHCB_MSR_TERM(reason)	(GHCB_MSR_TERM_REQ | (u64)(reason) << 12)
#define GHCB_MSR_TERM_NO_GHCB	GHCB_MSR_TERM(0x6cb)
#define GHCB_NO_ANSWER		(~0u)

/* The answer to a request: SW_EXITINFO1[31:0], 0 for success, and SW_EXITINFO2. */
struct ghcb_status {
	u32 resp, info;
};

/* A vCPU's own data, in private memory at GS.base. */
struct sev_cpu {
	struct sev_cpu *self;
	struct ghcb *ghcb;
	gpa_t ghcb_gpa;
	u64 ghcb_registered;
	u64 nr_validated;		/* pages that were not, and this vCPU made so */
	struct sev_es_save_area vmsa;	/* as of launch, see snp_vmsa.h */
};

static inline struct sev_cpu *this_sev_cpu(void)
{
	struct sev_cpu *cpu;

	asm volatile("movq %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

static inline void __ghcb_set(struct ghcb *ghcb, size_t offset, u64 val)
{
	memcpy((void *)ghcb + offset, &val, sizeof(val));
	ghcb->save.valid_bitmap[offset / 64] |= BIT(offset / 8 % 8);
}

#define ghcb_set(_ghcb, _field, _val)	\
	__ghcb_set(_ghcb, offsetof(struct ghcb_save_area, _field), _val)

/* Guest: one round trip of the MSR protocol, or the last one. */
u64 ghcb_msr_call(u64 request);
void __noreturn ghcb_terminate(u64 msr);

/* Guest: take this vCPU's GHCB with no field valid, ghcb_set() what is needed, send it. */
struct ghcb *ghcb_begin(void);
struct ghcb_status ghcb_exit(struct ghcb *ghcb, u64 exit_code, u64 info_1, u64 info_2);

extern bool guest_has_ghcb;
void ghcb_ucall(u16 port, gva_t uc);

/* Host: give @vcpu a GHCB, before the launch.  Return the gva of its struct sev_cpu. */
gva_t vcpu_init_ghcb(struct kvm_vcpu *vcpu);

#endif /* SELFTEST_KVM_SEV_GHCB_H */
