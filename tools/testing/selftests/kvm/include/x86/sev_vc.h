/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * #VC handling in SEV-ES and SEV-SNP guests, and GHCB requests that few tests need.
 */
#ifndef SELFTEST_KVM_SEV_VC_H
#define SELFTEST_KVM_SEV_VC_H

#include "snp_vmsa.h"

/* #VC error code of an access to a page that is not validated (APM 15.36.6). */
#define SVM_EXIT_NOT_VALIDATED		0x404

#define GHCB_MSR_INFO_MASK		0xfffull
#define GHCB_MSR_SEV_INFO_REQ		0x002
#define GHCB_MSR_SEV_INFO_RESP		0x001
#define GHCB_MSR_PSC_REQ		0x014
#define GHCB_MSR_PSC_RESP		0x015

#define GHCB_HV_RESP_ISSUE_EXCEPTION	1
#define GHCB_HV_RESP_MALFORMED_INPUT	2

#define GHCB_ERR_INVALID_USAGE		2
#define GHCB_ERR_INVALID_SCRATCH_AREA	3
#define GHCB_ERR_MISSING_INPUT		4
#define GHCB_ERR_INVALID_INPUT		5

static inline bool ghcb_refused(struct ghcb_status status, u32 err)
{
	return status.resp == GHCB_HV_RESP_MALFORMED_INPUT && status.info == err;
}

/* Page states of a page state change. */
enum psc_op {
	SNP_PAGE_STATE_PRIVATE = 1,
	SNP_PAGE_STATE_SHARED,
};

#define VMGEXIT_PSC_MAX_COUNT		253

struct psc_hdr {
	u16 cur_entry;
	u16 end_entry;
	u32 reserved;
};

struct snp_psc_desc {
	struct psc_hdr hdr;
	u64 entries[VMGEXIT_PSC_MAX_COUNT];
};

/*
 * Guest: handle #VC of an access to a page that is not validated, of CPUID, RDMSR,
 * WRMSR and VMMCALL.  VMs of snp_vm_create() have this handler.
 */
void sev_emulate_vc(struct ex_regs *regs);

/*
 * Guest: change the state of @nr_pages 4K pages.  Validation is up to the caller, as
 * are the two mappings with and without C-bit.
 */
struct ghcb_status snp_psc(gpa_t gpa, u64 nr_pages, enum psc_op op);

/* Guest: the same for one page, by the MSR protocol.  Returns the error code. */
u32 snp_psc_msr(gpa_t gpa, enum psc_op op);

/* Guest: GHCB_HV_FT_*, 0 if the request is refused. */
u64 ghcb_hv_features(void);

/* Guest, with sev_emulate_vc(): INIT, or INIT and SIPI, by x2APIC. */
void guest_send_init(u32 apic_id, bool sipi);

/* Host: do what KVM_HC_MAP_GPA_RANGE asks for, i.e. set the memory attributes. */
void vcpu_handle_map_gpa_range(struct kvm_vcpu *vcpu);

#endif /* SELFTEST_KVM_SEV_VC_H */
