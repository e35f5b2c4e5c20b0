// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest side of AP Creation: VMSAs and the requests that start and stop APs.
 */
#include "apic.h"
#include "snp.h"

u32 snp_vmsa_release(gva_t gva)
{
	/*
	 * A vCPU cannot change VMSAs of its own VMPL, name a less privileged
	 * one so that the instruction fails instead of doing nothing if the
	 * caller is not at VMPL0.
	 */
	return snp_rmpadjust(gva, SNP_RMPADJUST_VMPL1);
}

u32 snp_vmsa_prepare(gva_t gva, u32 vcpu_id)
{
	struct snp_vcpu_area *area = &snp_vcpu_areas[vcpu_id];
	struct snp_vmsa *vmsa = (void *)gva;
	u64 nr_unvalidated;
	u32 rc;

	/* The last VMSA may have been lost in the middle of a #VC. */
	snp_vc_stack_reset(area);

	do {
		nr_unvalidated = snp_nr_unvalidated();

		/* If the page is a fresh one, this validates it. */
		READ_ONCE(*(u8 *)gva);

		/* Not every VMSA is writable, start from ordinary memory. */
		rc = snp_vmsa_release(gva);
		if (rc)
			return rc;

		memcpy(vmsa, &area->vmsa, sizeof(*vmsa));
		vmsa->cr4 |= get_cr4() & X86_CR4_MCE;
		vmsa->sev_features = snp_sev_features();

		/* A created vCPU has to register its GHCB anew. */
		area->percpu.ghcb_registered = false;

		/* All of the image, before the question whether it is there. */
		barrier();

		/*
		 * If the host replaced the page after the first access, then
		 * only a part of the image is there, which must not run.
		 */
		if (snp_nr_unvalidated() != nr_unvalidated)
			continue;

		rc = snp_rmpadjust(gva, SNP_RMPADJUST_VMPL1 | SNP_RMPADJUST_VMSA);
		if (rc)
			return rc;
	} while (snp_nr_unvalidated() != nr_unvalidated);

	return SNP_RMP_OK;
}

u64 __snp_ap_creation(u64 info_1, u64 info_2, u64 rax)
{
	struct snp_ghcb *ghcb = snp_ghcb_begin();

	snp_ghcb_set(ghcb, rax, rax);
	return snp_ghcb_exit(ghcb, SVM_VMGEXIT_AP_CREATION, info_1, info_2);
}

u64 snp_ap_create(u32 apic_id, gpa_t vmsa_gpa)
{
	return __snp_ap_creation((u64)apic_id << 32 | SVM_VMGEXIT_AP_CREATE,
				 vmsa_gpa, snp_sev_features());
}

u64 snp_ap_create_on_init(u32 apic_id, gpa_t vmsa_gpa)
{
	return __snp_ap_creation((u64)apic_id << 32 | SVM_VMGEXIT_AP_CREATE_ON_INIT,
				 vmsa_gpa, snp_sev_features());
}

u64 snp_ap_destroy(u32 apic_id)
{
	return __snp_ap_creation((u64)apic_id << 32 | SVM_VMGEXIT_AP_DESTROY, 0, 0);
}

static void snp_send_ipi(u32 apic_id, u32 mode)
{
	x2apic_enable();
	x2apic_write_reg(APIC_ICR, (u64)apic_id << 32 | APIC_DEST_PHYSICAL |
				   APIC_INT_ASSERT | mode);
}

void snp_init(u32 apic_id)
{
	snp_send_ipi(apic_id, APIC_DM_INIT);
}

void snp_init_sipi(u32 apic_id)
{
	snp_send_ipi(apic_id, APIC_DM_INIT);
	snp_send_ipi(apic_id, APIC_DM_STARTUP);
}
