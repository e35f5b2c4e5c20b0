// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest side of the GHCB: MSR protocol, requests, the #VC handler, and ucalls.
 */
#include "snp.h"

/* As in ucall.c: the port and direction by which a guest asks for a ucall. */
#define UCALL_PIO_PORT		0x1000

#define GHCB_PROTOCOL_VERSION	2

#define IOIO_TYPE_IN		BIT_ULL(0)
#define IOIO_TYPE_STR		BIT_ULL(2)
#define IOIO_SIZE(bytes)	((u64)(bytes) << 4)
#define IOIO_PORT(port)		((u64)(port) << 16)

#define PSC_MAX_ENTRIES		253
#define PSC_OP_PRIVATE		1
#define PSC_OP_SHARED		2

struct psc_desc {
	u16 cur_entry;
	u16 end_entry;
	u32 reserved;
	u64 entries[PSC_MAX_ENTRIES];
};

kvm_static_assert(sizeof(struct psc_desc) == sizeof(((struct snp_ghcb *)0)->shared_buffer));

struct snp_vcpu_area *snp_vcpu_areas;

u64 snp_ghcb_msr_call(u64 request)
{
	wrmsr(MSR_AMD64_SEV_ES_GHCB, request);
	asm volatile("rep; vmmcall" ::: "memory");
	return rdmsr(MSR_AMD64_SEV_ES_GHCB);
}

void snp_terminate(u64 msr)
{
	/* The host may run the vCPU again, e.g. to see that nothing changed. */
	for (;;)
		snp_ghcb_msr_call(msr);
}

u64 snp_ghcb_sev_info(void)
{
	return snp_ghcb_msr_call(SNP_MSR_SEV_INFO_REQ);
}

void snp_ghcb_register(void)
{
	struct snp_percpu *this = snp_this_cpu();
	u64 gfn = this->ghcb_gpa >> PAGE_SHIFT;

	/* There is no GHCB and thus no ucall if this fails. */
	if (snp_ghcb_msr_call((gfn << 12) | SNP_MSR_REG_GPA_REQ) !=
	    ((gfn << 12) | SNP_MSR_REG_GPA_RESP))
		snp_terminate(SNP_TERM_GHCB);

	this->ghcb_registered = true;
}

struct snp_ghcb *snp_ghcb_begin(void)
{
	struct snp_percpu *this = snp_this_cpu();

	if (!this->ghcb_registered)
		snp_ghcb_register();

	this->ghcb->valid_bitmap[0] = 0;
	this->ghcb->valid_bitmap[1] = 0;
	this->ghcb->protocol_version = GHCB_PROTOCOL_VERSION;
	this->ghcb->ghcb_usage = 0;
	return this->ghcb;
}

void snp_ghcb_vmgexit(gpa_t ghcb_gpa)
{
	/* The MSR protocol shares the MSR, set it every time. */
	wrmsr(MSR_AMD64_SEV_ES_GHCB, ghcb_gpa);
	asm volatile("rep; vmmcall" ::: "memory");
}

u64 snp_ghcb_exit(struct snp_ghcb *ghcb, u64 exit_code, u64 info_1, u64 info_2)
{
	snp_ghcb_set(ghcb, sw_exit_code, exit_code);
	snp_ghcb_set(ghcb, sw_exit_info_1, info_1);
	snp_ghcb_set(ghcb, sw_exit_info_2, info_2);

	snp_ghcb_vmgexit(snp_this_cpu()->ghcb_gpa);

	/*
	 * KVM resumes the guest with the GHCB as it was if it cannot map it,
	 * and otherwise clears the bitmap and marks what it has answered.
	 */
	if (!snp_ghcb_valid(ghcb, sw_exit_info_1) || snp_ghcb_valid(ghcb, sw_exit_code))
		return SNP_GHCB_NO_ANSWER;

	if (!(u32)ghcb->sw_exit_info_1)
		return 0;

	return SNP_GHCB_STATUS(ghcb->sw_exit_info_1, ghcb->sw_exit_info_2);
}

u64 snp_hv_features(void)
{
	struct snp_ghcb *ghcb = snp_ghcb_begin();

	if (snp_ghcb_exit(ghcb, SVM_VMGEXIT_HV_FEATURES, 0, 0))
		return 0;

	return ghcb->sw_exit_info_2;
}

u64 snp_nmi_complete(void)
{
	return snp_ghcb_exit(snp_ghcb_begin(), SVM_VMGEXIT_NMI_COMPLETE, 0, 0);
}

u64 snp_psc(gpa_t gpa, u64 nr_pages, bool private)
{
	const u64 op = private ? PSC_OP_PRIVATE : PSC_OP_SHARED;

	while (nr_pages) {
		u64 i, nr = min_t(u64, nr_pages, PSC_MAX_ENTRIES), status;
		struct snp_ghcb *ghcb = snp_ghcb_begin();
		struct psc_desc *desc = (void *)ghcb->shared_buffer;

		desc->cur_entry = 0;
		desc->end_entry = nr - 1;
		desc->reserved = 0;
		for (i = 0; i < nr; i++)
			desc->entries[i] = (gpa + i * PAGE_SIZE) | (op << 52);

		snp_ghcb_set(ghcb, sw_scratch, snp_this_cpu()->ghcb_gpa +
			     offsetof(struct snp_ghcb, shared_buffer));
		status = snp_ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0);
		if (status)
			return status;

		/* Errors of a page state change are in SW_EXITINFO2 alone. */
		if (ghcb->sw_exit_info_2)
			return SNP_GHCB_STATUS(0, ghcb->sw_exit_info_2);

		gpa += nr * PAGE_SIZE;
		nr_pages -= nr;
	}

	return 0;
}

/*
 * The host cannot read RDI.  Send the address of the ucall structure as data of
 * a string OUT, which KVM hands to userspace as one KVM_EXIT_IO of 8 bytes.
 */
static void snp_ucall(u64 hva)
{
	struct snp_ghcb *ghcb = snp_ghcb_begin();

	memcpy(ghcb->shared_buffer, &hva, sizeof(hva));
	snp_ghcb_set(ghcb, sw_scratch, snp_this_cpu()->ghcb_gpa +
		     offsetof(struct snp_ghcb, shared_buffer));
	if (snp_ghcb_exit(ghcb, SVM_EXIT_IOIO,
			  IOIO_PORT(UCALL_PIO_PORT) | IOIO_TYPE_STR | IOIO_SIZE(4),
			  sizeof(hva) / 4))
		snp_terminate(SNP_TERM_GHCB);
}

static u64 vc_ioio(struct ex_regs *regs)
{
	const u8 *insn = (u8 *)regs->rip;
	struct snp_ghcb *ghcb;
	u64 info, mask;
	int size = 4;
	bool in;

	if (*insn == 0x66) {
		size = 2;
		insn++;
	}

	switch (*insn) {
	case 0xe4: case 0xe5: case 0xe6: case 0xe7:
		info = IOIO_PORT(insn[1]);
		in = *insn < 0xe6;
		break;
	case 0xec: case 0xed: case 0xee: case 0xef:
		info = IOIO_PORT((u16)regs->rdx);
		in = *insn < 0xee;
		break;
	default:
		GUEST_FAIL("No support for I/O instruction 0x%x at RIP 0x%lx",
			   *insn, regs->rip);
		return SNP_GHCB_NO_ANSWER;
	}

	if (!(*insn & 1))
		size = 1;

	if (in && size == 1 && info == IOIO_PORT(UCALL_PIO_PORT)) {
		snp_ucall(regs->rdi);
	} else {
		u64 status;

		mask = size == 4 ? 0xffffffff : (1ull << (size * 8)) - 1;

		ghcb = snp_ghcb_begin();
		if (!in)
			snp_ghcb_set(ghcb, rax, regs->rax & mask);

		status = snp_ghcb_exit(ghcb, SVM_EXIT_IOIO,
				       info | IOIO_SIZE(size) | (in ? IOIO_TYPE_IN : 0), 0);
		if (status)
			return status;

		/* 32-bit results zero-extend, smaller ones merge. */
		if (in)
			regs->rax = (size == 4 ? 0 : regs->rax & ~mask) |
				    (ghcb->rax & mask);
	}

	regs->rip = (u64)insn + (*insn < 0xe8 ? 2 : 1);
	return 0;
}

static u64 vc_cpuid(struct ex_regs *regs)
{
	struct snp_ghcb *ghcb = snp_ghcb_begin();
	u64 status;

	snp_ghcb_set(ghcb, rax, (u32)regs->rax);
	snp_ghcb_set(ghcb, rcx, (u32)regs->rcx);
	if ((u32)regs->rax == 0xd)
		snp_ghcb_set(ghcb, xcr0, (get_cr4() & X86_CR4_OSXSAVE) ? xgetbv(0) : 1);

	status = snp_ghcb_exit(ghcb, SVM_EXIT_CPUID, 0, 0);
	if (status)
		return status;

	regs->rax = (u32)ghcb->rax;
	regs->rbx = (u32)ghcb->rbx;
	regs->rcx = (u32)ghcb->rcx;
	regs->rdx = (u32)ghcb->rdx;
	regs->rip += 2;
	return 0;
}

static u64 vc_msr(struct ex_regs *regs)
{
	bool write = ((u8 *)regs->rip)[1] == 0x30;
	struct snp_ghcb *ghcb = snp_ghcb_begin();
	u64 status;

	snp_ghcb_set(ghcb, rcx, (u32)regs->rcx);
	if (write) {
		snp_ghcb_set(ghcb, rax, (u32)regs->rax);
		snp_ghcb_set(ghcb, rdx, (u32)regs->rdx);
	}

	status = snp_ghcb_exit(ghcb, SVM_EXIT_MSR, write, 0);
	if (status)
		return status;

	if (!write) {
		regs->rax = (u32)ghcb->rax;
		regs->rdx = (u32)ghcb->rdx;
	}
	regs->rip += 2;
	return 0;
}

static u64 vc_vmmcall(struct ex_regs *regs)
{
	struct snp_ghcb *ghcb = snp_ghcb_begin();
	u64 status;

	snp_ghcb_set(ghcb, rax, regs->rax);
	snp_ghcb_set(ghcb, rbx, regs->rbx);
	snp_ghcb_set(ghcb, rcx, regs->rcx);
	snp_ghcb_set(ghcb, rdx, regs->rdx);
	snp_ghcb_set(ghcb, rsi, regs->rsi);
	snp_ghcb_set(ghcb, cpl, 0);

	status = snp_ghcb_exit(ghcb, SVM_EXIT_VMMCALL, 0, 0);
	if (status)
		return status;

	regs->rax = ghcb->rax;
	regs->rip += 3;
	return 0;
}

void snp_handle_vc(struct ex_regs *regs)
{
	struct snp_percpu *this = snp_this_cpu();
	u64 status, cr2;
	u32 rc;

	this->nr_vc++;

	switch (regs->error_code) {
	case SNP_VC_PAGE_NOT_VALIDATED:
		/*
		 * Validate and retry.  "No update" means that another vCPU was
		 * faster, which is just as well.
		 */
		asm volatile("mov %%cr2, %0" : "=r"(cr2));
		rc = snp_pvalidate(cr2 & PAGE_MASK, true);
		__GUEST_ASSERT(rc == SNP_RMP_OK || rc == SNP_PVALIDATE_NO_UPDATE,
			       "PVALIDATE of 0x%lx failed with %u", cr2, rc);
		this->nr_unvalidated++;
		return;
	case SVM_EXIT_IOIO:
		status = vc_ioio(regs);
		break;
	case SVM_EXIT_CPUID:
		status = vc_cpuid(regs);
		break;
	case SVM_EXIT_MSR:
		status = vc_msr(regs);
		break;
	case SVM_EXIT_VMMCALL:
		status = vc_vmmcall(regs);
		break;
	default:
		GUEST_FAIL("Unhandled #VC, error code 0x%lx at RIP 0x%lx",
			   regs->error_code, regs->rip);
		return;
	}

	if (!status)
		return;

	/* The hypervisor asks for an exception in SW_EXITINFO2, as in EVENTINJ. */
	if (status >> 32 == 1) {
		u64 info = this->ghcb->sw_exit_info_2;

		regs->vector = info & 0xff;
		regs->error_code = (info & BIT_ULL(11)) ? info >> 32 : 0;
		route_exception(regs);
		return;
	}

	GUEST_FAIL("KVM refused exit code 0x%lx with 0x%lx at RIP 0x%lx",
		   regs->error_code, status, regs->rip);
}
