// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify the SEV-SNP guest library itself: ucalls, CPUID and MSRs through #VC,
 * validation of pages, page state changes, a second vCPU started with AP
 * Creation, and what KVM answers to broken GHCB requests.
 */
#include <pthread.h>

#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "apic.h"
#include "snp.h"

#define VMSA_SLOT	10
#define VMSA_GPA	(SZ_4G + PAGE_SIZE)

/* How often the AP is given a new VMSA while it handles a #VC. */
#define NR_RESTARTS	(SNP_VC_NESTING + 1)

/* Shared with the host, passed to the guest as the first argument. */
struct guest_args {
	gva_t private_gva;
	gpa_t convert_gpa;
	gva_t convert_private;
	gva_t convert_shared;
	u64 ap_alive;
	u64 ap_cpuid;
	u64 ignore_msrs;
};

enum {
	STAGE_REGS,
	STAGE_SHARED_IS_VISIBLE,
	STAGE_AP_CREATED,
	STAGE_AP,
};

static void guest_test_red_zone(u64 gva)
{
	u64 canary = 0;

	/*
	 * Store below the stack pointer and to XMM0, access a page that raises
	 * #VC, and look at both again.  A handler on the same stack or one that
	 * uses SSE would clobber them.
	 */
	asm volatile("mov %[magic], -8(%%rsp)\n\t"
		     "mov %[magic], -128(%%rsp)\n\t"
		     "movq %[magic], %%xmm0\n\t"
		     "movb $1, (%[gva])\n\t"
		     "mov -8(%%rsp), %[canary]\n\t"
		     "xor -128(%%rsp), %[canary]\n\t"
		     "movq %%xmm0, %%rcx\n\t"
		     "xor %[magic], %%rcx\n\t"
		     "or %%rcx, %[canary]\n\t"
		     : [canary]"+&r"(canary)
		     : [magic]"r"(0x5eed5eed5eed5eedull), [gva]"r"(gva)
		     : "rcx", "xmm0", "memory");
	GUEST_ASSERT_EQ(canary, 0);
}

static void guest_test_cpuid(void)
{
	u32 eax, ebx, ecx, edx;

	GUEST_ASSERT(this_cpu_has(X86_FEATURE_SEV));

	/* XCR0 is an input of this leaf and no other. */
	__cpuid(0xd, 0, &eax, &ebx, &ecx, &edx);
	if (this_cpu_has(X86_FEATURE_XSAVE))
		GUEST_ASSERT((eax & xgetbv(0)) == xgetbv(0));
}

static void guest_test_msr(struct guest_args *args)
{
	u64 base = rdmsr(MSR_IA32_APICBASE);
	u64 val;

	GUEST_ASSERT(rdmsr(MSR_AMD64_SEV) & MSR_AMD64_SEV_SNP_ENABLED);

	GUEST_ASSERT(base & MSR_IA32_APICBASE_BSP);
	x2apic_enable();
	GUEST_ASSERT(rdmsr(MSR_IA32_APICBASE) & X2APIC_ENABLE);
	GUEST_ASSERT_EQ(x2apic_read_reg(APIC_ID), 0);

	/* KVM asks for a #GP, and the library makes one of it. */
	if (!args->ignore_msrs)
		GUEST_ASSERT_EQ(rdmsr_safe(0xbad00bad, &val), GP_VECTOR);
}

static void guest_test_validation(struct guest_args *args)
{
	u8 *mem = (u8 *)args->private_gva;
	u64 nr;

	/* Launched pages start out validated. */
	nr = snp_nr_unvalidated();
	*mem = 1;
	GUEST_ASSERT_EQ(snp_nr_unvalidated(), nr);
	GUEST_ASSERT_EQ(snp_pvalidate(args->private_gva, true), SNP_PVALIDATE_NO_UPDATE);

	/* Rescind and recover. */
	GUEST_ASSERT_EQ(snp_pvalidate(args->private_gva, false), SNP_RMP_OK);
	guest_test_red_zone(args->private_gva);
	GUEST_ASSERT_EQ(snp_nr_unvalidated(), nr + 1);
	GUEST_ASSERT_EQ(*mem, 1);
	GUEST_ASSERT_EQ(snp_nr_unvalidated(), nr + 1);

	/* Only a VMSA has the VMSA bit, and the bit can go again. */
	GUEST_ASSERT_EQ(snp_vmsa_release(args->private_gva), SNP_RMP_OK);
}

static void guest_test_page_state_change(struct guest_args *args)
{
	u8 *private = (u8 *)args->convert_private;
	u8 *shared = (u8 *)args->convert_shared;

	*private = 0xaa;
	GUEST_ASSERT_EQ(snp_pvalidate(args->convert_private, false), SNP_RMP_OK);
	GUEST_ASSERT_EQ(snp_psc(args->convert_gpa, 1, false), 0);
	*shared = 0x55;
	GUEST_SYNC(STAGE_SHARED_IS_VISIBLE);

	GUEST_ASSERT_EQ(snp_psc(args->convert_gpa, 1, true), 0);
	GUEST_ASSERT_EQ(snp_pvalidate(args->convert_private, true), SNP_RMP_OK);
	*private = 0xbb;
	GUEST_ASSERT_EQ(*private, 0xbb);
}

static void guest_test_msr_protocol(void)
{
	u64 info = snp_ghcb_sev_info();

	GUEST_ASSERT_EQ(info & SNP_MSR_INFO_MASK, SNP_MSR_SEV_INFO_RESP);
	GUEST_ASSERT(info >> 48 >= 2);

	/* The next ucall shows that the GHCB survives a second registration. */
	snp_ghcb_register();
}

static void guest_test_bad_requests(void)
{
	struct snp_ghcb *ghcb;

	/* No RAX and RCX. */
	ghcb = snp_ghcb_begin();
	GUEST_ASSERT_EQ(snp_ghcb_exit(ghcb, SVM_EXIT_CPUID, 0, 0),
			SNP_GHCB_ERR_MISSING_INPUT);

	/* A usage other than 0 is for hypervisors that agree on one. */
	ghcb = snp_ghcb_begin();
	ghcb->ghcb_usage = 1;
	GUEST_ASSERT_EQ(snp_ghcb_exit(ghcb, SVM_VMGEXIT_HV_FEATURES, 0, 0),
			SNP_GHCB_ERR_INVALID_USAGE);

	/* A scratch area that starts in front of the shared buffer. */
	ghcb = snp_ghcb_begin();
	snp_ghcb_set(ghcb, sw_scratch, snp_this_cpu()->ghcb_gpa);
	GUEST_ASSERT_EQ(snp_ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0),
			SNP_GHCB_ERR_INVALID_SCRATCH);

	/* AP Creation: no such vCPU, no such request, VMSA not page aligned. */
	GUEST_ASSERT_EQ(snp_ap_create(0x1234, VMSA_GPA), SNP_GHCB_ERR_INVALID_INPUT);
	GUEST_ASSERT_EQ(__snp_ap_creation(1ull << 32 | 3, VMSA_GPA, snp_sev_features()),
			SNP_GHCB_ERR_INVALID_INPUT);
	GUEST_ASSERT_EQ(snp_ap_create(1, VMSA_GPA + 8), SNP_GHCB_ERR_INVALID_INPUT);

	/* The GHCB still works. */
	GUEST_ASSERT(snp_hv_features());
}

static void guest_ap(struct guest_args *args)
{
	struct snp_vcpu_area *area = (void *)snp_this_cpu();

	/* All but the last start end in the #VC of this, see NR_RESTARTS. */
	GUEST_ASSERT_EQ(snp_vc_stack(area), snp_vc_stack_top(area));
	GUEST_SYNC(STAGE_AP);

	/* CPUID is a round trip through this vCPU's own GHCB. */
	WRITE_ONCE(args->ap_cpuid, this_cpu_has(X86_FEATURE_SEV));
	WRITE_ONCE(args->ap_alive, 1);
	for (;;)
		cpu_relax();
}

static void guest_bsp(struct guest_args *args)
{
	int i;

	GUEST_SYNC(STAGE_REGS);

	guest_test_msr_protocol();
	guest_test_cpuid();
	guest_test_msr(args);
	guest_test_validation(args);
	guest_test_page_state_change(args);
	guest_test_bad_requests();

	for (i = 0; i <= NR_RESTARTS; i++) {
		GUEST_ASSERT_EQ(snp_vmsa_prepare(VMSA_GPA, 1), SNP_RMP_OK);
		GUEST_ASSERT_EQ(snp_ap_create(1, VMSA_GPA), 0);
		GUEST_SYNC(STAGE_AP_CREATED);
	}
	while (!READ_ONCE(args->ap_alive))
		cpu_relax();
	GUEST_ASSERT(READ_ONCE(args->ap_cpuid));

	GUEST_ASSERT_EQ(snp_ap_destroy(1), 0);
	GUEST_ASSERT_EQ(snp_vmsa_release(VMSA_GPA), SNP_RMP_OK);
	GUEST_DONE();
}

/* Run until a ucall that is not about something else. */
static u64 run_until_ucall(struct kvm_vcpu *vcpu, struct ucall *uc)
{
	struct snp_exit exit;

	for (;;) {
		exit = snp_vcpu_run(vcpu, uc);

		switch (exit.type) {
		case SNP_EXIT_HYPERCALL:
			snp_handle_map_gpa_range(vcpu);
			continue;
		case SNP_EXIT_INTR:
			return UCALL_NONE;
		case SNP_EXIT_UCALL:
			break;
		default:
			TEST_FAIL("Unexpected KVM_RUN outcome: %s, errno %d, detail 0x%lx",
				  snp_exit_str(exit.type), exit.err, exit.detail);
		}

		if (uc->cmd == UCALL_ABORT)
			REPORT_GUEST_ASSERT(*uc);
		return uc->cmd;
	}
}

static void run_until_stage(struct kvm_vcpu *vcpu, u64 stage)
{
	struct ucall uc;
	u64 cmd = run_until_ucall(vcpu, &uc);

	TEST_ASSERT(cmd == UCALL_SYNC && uc.args[1] == stage,
		    "Wanted stage %lu, got ucall %lu, stage %lu", stage, cmd, uc.args[1]);
}

static void ignore_signal(int sig)
{
}

static void *ap_thread(void *__vcpu)
{
	struct kvm_vcpu *vcpu = __vcpu;
	struct ucall uc;

	run_until_stage(vcpu, STAGE_AP);

	/* Spins until destroyed, then blocks in KVM_RUN until the signal. */
	TEST_ASSERT_EQ(run_until_ucall(vcpu, &uc), UCALL_NONE);
	return NULL;
}

int main(int argc, char *argv[])
{
	struct kvm_vcpu *vcpus[2];
	struct guest_args *args;
	struct kvm_vm *vm;
	struct ucall uc;
	pthread_t ap;
	void *shared;
	gva_t gva;
	int fd, i, r;

	TEST_REQUIRE_SNP();

	vm = snp_vm_create(2, guest_bsp, vcpus);

	fd = vm_create_guest_memfd(vm, 2 * PAGE_SIZE, 0);
	snp_vm_add_slot(vm, VMSA_SLOT, VMSA_GPA, 1, fd, PAGE_SIZE);

	gva = vm_alloc_shared(vm, sizeof(*args), KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	args = addr_gva2hva(vm, gva);
	memset(args, 0, sizeof(*args));
	args->ignore_msrs = kvm_is_ignore_msrs();
	args->private_gva = __vm_alloc(vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	args->convert_private = __vm_alloc(vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	args->convert_gpa = addr_gva2gpa(vm, args->convert_private);
	args->convert_shared = snp_vm_map_alias(vm, args->convert_gpa, false);
	shared = addr_gpa2hva(vm, args->convert_gpa);

	vcpu_args_set(vcpus[0], 1, gva);
	vcpu_args_set(vcpus[1], 1, gva);
	vcpu_arch_set_entry_point(vcpus[1], guest_ap);
	snp_vm_launch(vm, snp_test_policy());

	run_until_stage(vcpus[0], STAGE_REGS);
	run_until_stage(vcpus[0], STAGE_SHARED_IS_VISIBLE);
	TEST_ASSERT_EQ(*(u8 *)shared, 0x55);
	for (i = 0; i < NR_RESTARTS; i++) {
		run_until_stage(vcpus[0], STAGE_AP_CREATED);
		run_until_stage(vcpus[1], STAGE_AP);
	}
	run_until_stage(vcpus[0], STAGE_AP_CREATED);

	signal(SIGUSR1, ignore_signal);
	r = pthread_create(&ap, NULL, ap_thread, vcpus[1]);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
	TEST_ASSERT_EQ(run_until_ucall(vcpus[0], &uc), UCALL_DONE);

	vcpus[1]->run->immediate_exit = 1;
	pthread_kill(ap, SIGUSR1);
	pthread_join(ap, NULL);

	close(fd);
	kvm_vm_free(vm);
	return 0;
}
