// SPDX-License-Identifier: GPL-2.0-only
#include "snp_vmsa.h"

enum rmp_result pvalidate(gva_t gva, bool validate)
{
	bool no_update;
	u32 rc;

	asm volatile(".byte 0xf2, 0x0f, 0x01, 0xff"
		     : "=@ccc"(no_update), "=a"(rc)
		     : "a"(gva), "c"(0), "d"((u64)validate)
		     : "memory");
	if (!rc && !no_update && validate)
		this_sev_cpu()->nr_validated++;
	return rc ?: (no_update ? PVALIDATE_NO_UPDATE : RMP_OK);
}

#define RMPADJUST_VMPL1		1	/* VMPL0 can change a page only for a lower one */
#define RMPADJUST_VMSA		BIT_ULL(16)

static enum rmp_result rmpadjust(gva_t gva, u64 attrs)
{
	u64 rax = gva, rcx = 0;

	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xfe"
		     : "+a"(rax), "+c"(rcx)
		     : "d"(attrs)
		     : "memory", "cc");
	return rax;
}

enum rmp_result snp_vmsa_release(gva_t gva)
{
	return rmpadjust(gva, RMPADJUST_VMPL1);
}

enum rmp_result snp_vmsa_prepare(gva_t gva, struct sev_cpu *cpu)
{
	u64 *nr_validated = &this_sev_cpu()->nr_validated, nr;
	struct sev_es_save_area *vmsa = (void *)gva;
	enum rmp_result rc;

	for (;;) {
		pvalidate(gva, true);
		nr = READ_ONCE(*nr_validated);

		/* A VMSA need not be writable. */
		rc = snp_vmsa_release(gva);
		if (rc)
			return rc;

		memset(vmsa, 0, PAGE_SIZE);
		*vmsa = cpu->vmsa;
		vmsa->cr4 |= get_cr4() & X86_CR4_MCE;
		vmsa->sev_features = snp_sev_features();
		cpu->ghcb_registered = false;
		barrier();

		/* Start over if the host has replaced the page, i.e. the image has gaps. */
		if (READ_ONCE(*nr_validated) != nr)
			continue;

		rc = rmpadjust(gva, RMPADJUST_VMPL1 | RMPADJUST_VMSA);
		if (rc || READ_ONCE(*nr_validated) == nr)
			return rc;
	}
}

struct ghcb_status snp_ap_create(u32 apic_id, gpa_t vmsa)
{
	struct ghcb *ghcb = ghcb_begin();

	ghcb_set(ghcb, rax, snp_sev_features());
	return ghcb_exit(ghcb, SVM_VMGEXIT_AP_CREATION,
			 (u64)apic_id << 32 | SVM_VMGEXIT_AP_CREATE, vmsa);
}

static void guest_launch_vmsa(void)
{
	ghcb_terminate(GHCB_MSR_TERM_LAUNCH_VMSA);
}

void vcpu_init_vmsa(struct kvm_vcpu *vcpu, struct sev_cpu *cpu, bool may_launch)
{
	struct sev_es_save_area *vmsa = &cpu->vmsa;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	vcpu_sregs_get(vcpu, &sregs);

	/* In 64-bit mode that is all there is to segments: code, and a busy TSS. */
	vmsa->cs.selector = sregs.cs.selector;
	vmsa->cs.attrib = SVM_SELECTOR_S_MASK | SVM_SELECTOR_P_MASK | SVM_SELECTOR_L_MASK |
			  SVM_SELECTOR_CODE_MASK | SVM_SELECTOR_READ_MASK;
	vmsa->tr.selector = sregs.tr.selector;
	vmsa->tr.attrib = SVM_SELECTOR_P_MASK | sregs.tr.type;
	vmsa->tr.base = sregs.tr.base;
	vmsa->tr.limit = sregs.tr.limit;
	vmsa->gs.base = sregs.gs.base;
	vmsa->gdtr.base = sregs.gdt.base;
	vmsa->gdtr.limit = sregs.gdt.limit;
	vmsa->idtr.base = sregs.idt.base;
	vmsa->idtr.limit = sregs.idt.limit;

	vmsa->cr0 = sregs.cr0 | X86_CR0_ET;
	vmsa->cr3 = sregs.cr3;
	vmsa->cr4 = sregs.cr4;
	vmsa->efer = sregs.efer | EFER_SVME;
	vmsa->rflags = regs.rflags;
	vmsa->rip = regs.rip;
	vmsa->rsp = regs.rsp;
	vmsa->rdi = regs.rdi;
	vmsa->dr6 = 0xffff0ff0;
	vmsa->dr7 = 0x400;
	vmsa->g_pat = 0x0007040600070406ull;
	vmsa->xcr0 = XFEATURE_MASK_FP;
	vmsa->mxcsr = 0x1f80;
	vmsa->x87_fcw = 0x37f;

	if (!may_launch)
		vcpu_arch_set_entry_point(vcpu, guest_launch_vmsa);
}
