// SPDX-License-Identifier: GPL-2.0-only
/*
 * #VC handling in SEV-ES and SEV-SNP guests, and GHCB requests that few tests need.
 */
#include <linux/kvm_para.h>

#include "apic.h"
#include "sev_vc.h"
#include "snp_vm.h"

/* More registers are passed than KVM needs for some of these: tests have no secrets. */
static struct ghcb_status vc_emulate(struct ex_regs *regs, u64 info_1, u32 insn_len)
{
	struct ghcb *ghcb = ghcb_begin();
	struct ghcb_status status;

	ghcb_set(ghcb, rax, regs->rax);
	ghcb_set(ghcb, rbx, regs->rbx);
	ghcb_set(ghcb, rcx, regs->rcx);
	ghcb_set(ghcb, rdx, regs->rdx);
	ghcb_set(ghcb, rsi, regs->rsi);
	ghcb_set(ghcb, cpl, 0);
	ghcb_set(ghcb, xcr0, (get_cr4() & X86_CR4_OSXSAVE) ? xgetbv(0) : 1);

	status = ghcb_exit(ghcb, regs->error_code, info_1, 0);
	if (!status.resp) {
		regs->rax = ghcb->save.rax;
		regs->rbx = ghcb->save.rbx;
		regs->rcx = ghcb->save.rcx;
		regs->rdx = ghcb->save.rdx;
		regs->rip += insn_len;
	}
	return status;
}

void sev_emulate_vc(struct ex_regs *regs)
{
	struct ghcb_status status;
	enum rmp_result rc;
	u64 cr2;

	switch (regs->error_code) {
	case SVM_EXIT_NOT_VALIDATED:
		/* "No update" means that another vCPU was faster. */
		asm volatile("mov %%cr2, %0" : "=r"(cr2));
		rc = pvalidate(cr2 & PAGE_MASK, true);
		__GUEST_ASSERT(rc == RMP_OK || rc == PVALIDATE_NO_UPDATE,
			       "PVALIDATE of 0x%lx failed with %u", cr2, rc);
		return;
	case SVM_EXIT_CPUID:
		status = vc_emulate(regs, 0, 2);
		break;
	case SVM_EXIT_MSR:
		status = vc_emulate(regs, ((u8 *)regs->rip)[1] == 0x30 /* WRMSR */, 2);
		break;
	case SVM_EXIT_VMMCALL:
		status = vc_emulate(regs, 0, 3);
		break;
	default:
		GUEST_FAIL("Unhandled #VC, error code 0x%lx at RIP 0x%lx", regs->error_code,
			   regs->rip);
		return;
	}

	/* SW_EXITINFO2 is as EVENTINJ, with an error code if bit 11 is set. */
	if (status.resp == GHCB_HV_RESP_ISSUE_EXCEPTION) {
		regs->vector = status.info & 0xff;
		regs->error_code = 0;
		route_exception(regs);
		return;
	}
	__GUEST_ASSERT(!status.resp, "KVM answered #VC 0x%lx with %u, %u", regs->error_code,
		       status.resp, status.info);
}

void snp_vm_init_vc(struct kvm_vm *vm)
{
	vm_install_exception_handler(vm, VC_VECTOR, sev_emulate_vc);
}

struct ghcb_status snp_psc(gpa_t gpa, u64 nr_pages, enum psc_op op)
{
	struct ghcb *ghcb = ghcb_begin();
	struct snp_psc_desc *desc = (void *)ghcb->shared_buffer;
	struct ghcb_status status;
	u64 i;

	GUEST_ASSERT(nr_pages && nr_pages <= VMGEXIT_PSC_MAX_COUNT);
	desc->hdr.cur_entry = 0;
	desc->hdr.end_entry = nr_pages - 1;
	desc->hdr.reserved = 0;
	for (i = 0; i < nr_pages; i++)
		desc->entries[i] = (gpa + i * PAGE_SIZE) | (u64)op << 52;

	ghcb_set(ghcb, sw_scratch, this_sev_cpu()->ghcb_gpa +
			    offsetof(struct ghcb, shared_buffer));
	status = ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0);

	/* A page state that cannot be changed is an error in SW_EXITINFO2 alone. */
	if (!status.resp && ghcb->save.sw_exit_info_2)
		status.resp = GHCB_HV_RESP_MALFORMED_INPUT;
	return status;
}

u32 snp_psc_msr(gpa_t gpa, enum psc_op op)
{
	u64 resp = ghcb_msr_call(gpa | (u64)op << 52 | GHCB_MSR_PSC_REQ);

	GUEST_ASSERT_EQ(resp & GHCB_MSR_INFO_MASK, GHCB_MSR_PSC_RESP);
	return resp >> 32;
}

u64 ghcb_hv_features(void)
{
	struct ghcb *ghcb = ghcb_begin();

	if (ghcb_exit(ghcb, SVM_VMGEXIT_HV_FEATURES, 0, 0).resp)
		return 0;
	return ghcb->save.sw_exit_info_2;
}

static void send_ipi(u32 apic_id, u32 mode)
{
	x2apic_enable();
	x2apic_write_reg(APIC_ICR, (u64)apic_id << 32 | APIC_DEST_PHYSICAL |
				   APIC_INT_ASSERT | mode);
}

void guest_send_init(u32 apic_id, bool sipi)
{
	send_ipi(apic_id, APIC_DM_INIT);
	if (sipi)
		send_ipi(apic_id, APIC_DM_STARTUP);
}

void vcpu_handle_map_gpa_range(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_HYPERCALL);
	TEST_ASSERT_EQ(run->hypercall.nr, KVM_HC_MAP_GPA_RANGE);

	vm_set_memory_attributes(vcpu->vm, run->hypercall.args[0],
				 run->hypercall.args[1] * PAGE_SIZE,
				 run->hypercall.args[2] & KVM_MAP_GPA_RANGE_ENCRYPTED ?
				 KVM_MEMORY_ATTRIBUTE_PRIVATE : 0);
	run->hypercall.ret = 0;
}
