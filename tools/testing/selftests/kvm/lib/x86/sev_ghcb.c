// SPDX-License-Identifier: GPL-2.0-only
#include "sev_ghcb.h"

bool guest_has_ghcb;

u64 ghcb_msr_call(u64 request)
{
	wrmsr(MSR_AMD64_SEV_ES_GHCB, request);
	vmgexit();
	return rdmsr(MSR_AMD64_SEV_ES_GHCB);
}

void ghcb_terminate(u64 msr)
{
	/* The host may run the vCPU again, e.g. to see that nothing changed. */
	for (;;)
		ghcb_msr_call(msr);
}

struct ghcb *ghcb_begin(void)
{
	struct sev_cpu *cpu = this_sev_cpu();
	const u64 gpa = cpu->ghcb_gpa;

	/* SNP guests have to register the GHCB. */
	if (!cpu->ghcb_registered && (rdmsr(MSR_AMD64_SEV) & MSR_AMD64_SEV_SNP_ENABLED) &&
	    ghcb_msr_call(gpa | GHCB_MSR_REG_GPA_REQ) != (gpa | GHCB_MSR_REG_GPA_RESP))
		ghcb_terminate(GHCB_MSR_TERM_NO_GHCB);
	cpu->ghcb_registered = true;

	memset(cpu->ghcb->save.valid_bitmap, 0, sizeof(cpu->ghcb->save.valid_bitmap));
	cpu->ghcb->protocol_version = 2;
	cpu->ghcb->ghcb_usage = 0;
	return cpu->ghcb;
}

struct ghcb_status ghcb_exit(struct ghcb *ghcb, u64 exit_code, u64 info_1, u64 info_2)
{
	const size_t bit = offsetof(struct ghcb_save_area, sw_exit_code) / sizeof(u64);

	ghcb_set(ghcb, sw_exit_code, exit_code);
	ghcb_set(ghcb, sw_exit_info_1, info_1);
	ghcb_set(ghcb, sw_exit_info_2, info_2);

	/* The MSR protocol shares the MSR, i.e. may have changed it. */
	wrmsr(MSR_AMD64_SEV_ES_GHCB, this_sev_cpu()->ghcb_gpa);
	vmgexit();
	barrier();

	/* KVM clears the bitmap when it reads the request. */
	if (ghcb->save.valid_bitmap[bit / 8] & BIT(bit % 8))
		return (struct ghcb_status) { GHCB_NO_ANSWER };

	return (struct ghcb_status) { ghcb->save.sw_exit_info_1, ghcb->save.sw_exit_info_2 };
}

/* The host cannot read RDI.  REP OUTSL of two longs reaches it as one KVM_EXIT_IO. */
void ghcb_ucall(u16 port, gva_t uc)
{
	const u64 info = (u64)port << 16 | 4 << SVM_IOIO_SIZE_SHIFT | SVM_IOIO_REP_MASK |
			 SVM_IOIO_STR_MASK;
	struct ghcb *ghcb = ghcb_begin();

	memcpy(ghcb->shared_buffer, &uc, sizeof(uc));
	ghcb_set(ghcb, sw_scratch, this_sev_cpu()->ghcb_gpa +
		 offsetof(struct ghcb, shared_buffer));
	if (ghcb_exit(ghcb, SVM_EXIT_IOIO, info, sizeof(uc) / 4).resp)
		ghcb_terminate(GHCB_MSR_TERM_NO_GHCB);
}

gva_t vcpu_init_ghcb(struct kvm_vcpu *vcpu)
{
	struct kvm_vm *vm = vcpu->vm;
	struct kvm_sregs sregs;
	struct sev_cpu *cpu;
	gva_t gva, ghcb;

	gva = __vm_alloc_page(vm, MEM_REGION_DATA);
	ghcb = vm_alloc_shared(vm, sizeof(struct ghcb), KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);

	cpu = addr_gva2hva(vm, gva);
	cpu->self = (void *)gva;
	cpu->ghcb = (void *)ghcb;
	cpu->ghcb_gpa = addr_gva2gpa(vm, ghcb);
	write_guest_global(vm, guest_has_ghcb, true);

	vcpu_sregs_get(vcpu, &sregs);
	sregs.gs.base = gva;
	vcpu_sregs_set(vcpu, &sregs);
	return gva;
}
