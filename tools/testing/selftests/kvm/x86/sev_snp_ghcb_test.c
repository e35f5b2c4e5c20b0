// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify KVM's side of the GHCB specification for SEV-SNP guests: requests by GHCB and
 * by MSR, page state changes, and the answers to requests that are broken.  This also
 * tests the guest library that other SNP tests rely on.
 */
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "apic.h"
#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define PAGES			(SZ_4G + PAGE_SIZE)
#define NR_PAGES		2
#define SHARED_ALIAS		(SZ_4G + SZ_2M)

#define GHCB_MSR_CPUID_REQ(_fn, _reg)	((u64)(_fn) << 32 | (u64)(_reg) << 30 | 0x004)
#define GHCB_MSR_CPUID_RESP		0x005
#define GHCB_MSR_HV_FT_REQ		0x080
#define GHCB_MSR_HV_FT_RESP		0x081
#define GHCB_HV_FT_SNP_AP_CREATION	(BIT_ULL(0) | BIT_ULL(1))

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);
	u32 i;

	snp_add_slot(s, 1, PAGES, NR_PAGES, vm_create_guest_memfd(s->vm, SZ_64K, 0), 1);
	virt_map(s->vm, SHARED_ALIAS, PAGES, NR_PAGES);
	for (i = 0; i < NR_PAGES; i++)
		*vm_get_pte(s->vm, SHARED_ALIAS + i * PAGE_SIZE) &= ~s->vm->arch.c_bit;
	snp_vm_launch(s);
	return s;
}

static void run_bsp(struct snp_vm *s, const char *what, void (*fn)(struct snp_order *),
		    u64 arg0, u64 arg1)
{
	struct snp_ap *bsp = s->server;
	bool done;

	s->what = what;
	snp_step("%s", what);
	for (done = __snp_order(s, fn, arg0, arg1, 0); !done; done = ap_run_to_sync(bsp)) {
		if (bsp->err || bsp->vcpu->run->exit_reason != KVM_EXIT_HYPERCALL)
			ap_fail(bsp);
		vcpu_handle_map_gpa_range(bsp->vcpu);
	}
}

static void guest_vc(struct snp_order *order)
{
	const bool ignore_msrs = order->arg[0];
	u32 eax, ebx, ecx, edx;
	u64 val;

	GUEST_ASSERT(this_cpu_has(X86_FEATURE_SEV));

	/* XCR0 is an input of this leaf. */
	__cpuid(0xd, 0, &eax, &ebx, &ecx, &edx);
	if (this_cpu_has(X86_FEATURE_XSAVE))
		GUEST_ASSERT((eax & xgetbv(0)) == xgetbv(0));

	GUEST_ASSERT(rdmsr(MSR_IA32_APICBASE) & MSR_IA32_APICBASE_BSP);
	x2apic_enable();
	GUEST_ASSERT(rdmsr(MSR_IA32_APICBASE) & X2APIC_ENABLE);
	GUEST_ASSERT_EQ(x2apic_read_reg(APIC_ID), BSP);

	/* KVM asks for a #GP, and the library makes one of it. */
	if (!ignore_msrs) {
		GUEST_ASSERT_EQ(rdmsr_safe(0xbad00bad, &val), GP_VECTOR);
		GUEST_ASSERT_EQ(wrmsr_safe(0xbad00bad, 0), GP_VECTOR);
	}
}

SNP_TEST(vc, 1)
{
	run_bsp(setup(0), "CPUID and MSRs", guest_vc, kvm_is_ignore_msrs(), 0);
}

static u32 msr_cpuid(u32 fn, u32 reg)
{
	u64 resp = ghcb_msr_call(GHCB_MSR_CPUID_REQ(fn, reg));

	GUEST_ASSERT_EQ(resp & GHCB_MSR_INFO_MASK, GHCB_MSR_CPUID_RESP);
	return resp >> 32;
}

static void guest_msr_protocol(struct snp_order *order)
{
	u64 info = ghcb_msr_call(GHCB_MSR_SEV_INFO_REQ), features = ghcb_hv_features();
	u32 eax, ebx, ecx, edx;

	/* Bits 63:32 are the range of protocol versions. */
	GUEST_ASSERT_EQ(info & GHCB_MSR_INFO_MASK, GHCB_MSR_SEV_INFO_RESP);
	GUEST_ASSERT(info >> 48 >= 2 && (u16)(info >> 32) <= 2);

	__cpuid(0x8000001f, 0, &eax, &ebx, &ecx, &edx);
	GUEST_ASSERT_EQ((u8)(info >> 24), ebx & 0x3f);
	GUEST_ASSERT_EQ(msr_cpuid(0x8000001f, 0), eax);
	GUEST_ASSERT_EQ(msr_cpuid(0x8000001f, 1), ebx);

	GUEST_ASSERT_EQ(features & GHCB_HV_FT_SNP_AP_CREATION, GHCB_HV_FT_SNP_AP_CREATION);
	GUEST_ASSERT_EQ(ghcb_msr_call(GHCB_MSR_HV_FT_REQ), features << 12 | GHCB_MSR_HV_FT_RESP);

	/* The next request registers the GHCB again. */
	this_sev_cpu()->ghcb_registered = false;
	GUEST_ASSERT_EQ(ghcb_hv_features(), features);
}

SNP_TEST(msr_protocol, 1)
{
	run_bsp(setup(0), "MSR protocol", guest_msr_protocol, 0, 0);
}

/* Access a page that raises #VC, whose handler is compiled C code, with SSE. */
static void access_keeps_registers(u64 gva)
{
	const u64 magic = 0x5eed5eed5eed5eedull;
	u64 low, high;

	asm volatile("movq %[magic], %%xmm0\n\t"
		     "movq %[magic], %%xmm15\n\t"
		     "movb $1, (%[gva])\n\t"
		     "movq %%xmm0, %[low]\n\t"
		     "movq %%xmm15, %[high]\n\t"
		     : [low]"=&r"(low), [high]"=&r"(high)
		     : [magic]"r"(magic), [gva]"r"(gva)
		     : "xmm0", "xmm15", "memory");
	GUEST_ASSERT(low == magic && high == magic);
}

static void guest_validate(struct snp_order *order)
{
	const u64 gva = order->arg[0], *nr = &this_sev_cpu()->nr_validated;
	const u64 before = READ_ONCE(*nr);

	/* Launched pages start out validated. */
	WRITE_ONCE(*(u8 *)gva, 2);
	GUEST_ASSERT_EQ(READ_ONCE(*nr), before);
	GUEST_ASSERT_EQ(pvalidate(gva, true), PVALIDATE_NO_UPDATE);

	/* Rescind, and recover on the next access. */
	GUEST_ASSERT_EQ(pvalidate(gva, false), RMP_OK);
	GUEST_ASSERT_EQ(pvalidate(gva, false), PVALIDATE_NO_UPDATE);
	access_keeps_registers(gva);
	GUEST_ASSERT_EQ(READ_ONCE(*(u8 *)gva), 1);
	GUEST_ASSERT_EQ(READ_ONCE(*nr), before + 1);

	/* Only a VMSA has the VMSA bit, and the bit can go again. */
	GUEST_ASSERT_EQ(snp_vmsa_release(gva), RMP_OK);
}

SNP_TEST(validation, 1)
{
	run_bsp(setup(0), "validation", guest_validate, PAGES, 0);
}

static void guest_change_state(struct snp_order *order)
{
	const bool by_msr = order->arg[0], share = order->arg[1];
	const enum psc_op op = share ? SNP_PAGE_STATE_SHARED : SNP_PAGE_STATE_PRIVATE;
	u64 offset;

	for (offset = 0; offset < NR_PAGES * PAGE_SIZE; offset += PAGE_SIZE) {
		if (share)
			GUEST_ASSERT_EQ(pvalidate(PAGES + offset, false), RMP_OK);
		else
			GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)(SHARED_ALIAS + offset)), ~offset);
		if (by_msr)
			GUEST_ASSERT_EQ(snp_psc_msr(PAGES + offset, op), 0);
	}
	if (!by_msr)
		GUEST_ASSERT_EQ(snp_psc(PAGES, NR_PAGES, op).resp, 0);
	for (offset = 0; offset < NR_PAGES * PAGE_SIZE; offset += PAGE_SIZE) {
		if (!share)
			GUEST_ASSERT_EQ(pvalidate(PAGES + offset, true), RMP_OK);
		WRITE_ONCE(*(u64 *)((share ? SHARED_ALIAS : PAGES) + offset), 1 + offset);
	}
}

SNP_TEST(page_state_change, 1)
{
	struct snp_vm *s = setup(0);
	void *shared = addr_gpa2hva(s->vm, PAGES);
	u64 by_msr, offset;

	for (by_msr = 0; by_msr < 2; by_msr++) {
		const char *what = by_msr ? "state change by MSR" : "state change by GHCB";

		run_bsp(s, what, guest_change_state, by_msr, true);
		for (offset = 0; offset < NR_PAGES * PAGE_SIZE; offset += PAGE_SIZE) {
			TEST_ASSERT_EQ(*(u64 *)(shared + offset), 1 + offset);
			*(u64 *)(shared + offset) = ~offset;
		}
		run_bsp(s, what, guest_change_state, by_msr, false);
	}
}

static void guest_sync(struct snp_ap_shared *me)
{
	GUEST_SYNC(0);
}

static void guest_ap_cpuid(struct snp_ap_shared *me)
{
	GUEST_ASSERT(this_cpu_has(X86_FEATURE_SEV));
	WRITE_ONCE(me->halts, me->halts + 1);
}

/* An AP that is started anew in the middle of a request has no use for the answer. */
SNP_TEST(restart_in_request, 1)
{
	struct snp_ap *ap = &setup(1)->ap[1];
	u32 i;

	ap->s->what = "AP Create in the middle of a request";
	WRITE_ONCE(ap->shared->work, guest_sync);
	for (i = 0; i < 5; i++) {
		ap_create(ap, PAGES);
		snp_step("run vCPU %u to ucall %u", ap->vcpu->id, i);
		AP_ASSERT(ap, ap_run_to_sync(ap), "does not run although it has a VMSA");
	}
	WRITE_ONCE(ap->shared->work, guest_ap_cpuid);
	ap_start(ap, PAGES);
	ap_wait_count(ap, &ap->shared->halts, 0, "lost its VMSA, which nobody touched");
	AP_ASSERT(ap, ap_starts(ap) == i + 1, "started %lu times", ap_starts(ap));
}

static void guest_broken_requests(struct snp_order *order)
{
	const u64 buffer = offsetof(struct ghcb, shared_buffer);
	const u64 end = offsetof(struct ghcb, reserved_0xff0);
	enum { RAX = 1, RCX = 2, SCRATCH = 4 };
	const struct {
		u64 exit_code, info_1;
		u32 valid, usage;
		u64 scratch;
		u32 err;
	} rows[] = {
		{ SVM_EXIT_CPUID, 0, RAX, 0, 0, GHCB_ERR_MISSING_INPUT },
		{ SVM_EXIT_CPUID, 0, RCX, 0, 0, GHCB_ERR_MISSING_INPUT },
		{ SVM_EXIT_MSR, 0, RAX, 0, 0, GHCB_ERR_MISSING_INPUT },
		{ SVM_EXIT_MSR, 1, RAX | RCX, 0, 0, GHCB_ERR_MISSING_INPUT },
		{ SVM_EXIT_VMMCALL, 0, RAX, 0, 0, GHCB_ERR_MISSING_INPUT },
		{ SVM_VMGEXIT_PSC, 0, 0, 0, 0, GHCB_ERR_MISSING_INPUT },
		{ SVM_VMGEXIT_PSC, 0, SCRATCH, 0, 0, GHCB_ERR_INVALID_SCRATCH_AREA },
		{ SVM_VMGEXIT_PSC, 0, SCRATCH, 0, buffer - 8, GHCB_ERR_INVALID_SCRATCH_AREA },
		{ SVM_VMGEXIT_PSC, 0, SCRATCH, 0, end, GHCB_ERR_INVALID_SCRATCH_AREA },
		{ SVM_VMGEXIT_HV_FEATURES, 0, 0, 1, 0, GHCB_ERR_INVALID_USAGE },
		{ SVM_VMGEXIT_HV_FEATURES, 0, 0, ~0u, 0, GHCB_ERR_INVALID_USAGE },
	};
	struct ghcb_status status;
	struct ghcb *ghcb;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ghcb = ghcb_begin();
		ghcb->ghcb_usage = rows[i].usage;
		if (rows[i].valid & RAX)
			ghcb_set(ghcb, rax, 0);
		if (rows[i].valid & RCX)
			ghcb_set(ghcb, rcx, 0);
		if (rows[i].valid & SCRATCH)
			ghcb_set(ghcb, sw_scratch, this_sev_cpu()->ghcb_gpa + rows[i].scratch);
		status = ghcb_exit(ghcb, rows[i].exit_code, rows[i].info_1, 0);
		__GUEST_ASSERT(ghcb_refused(status, rows[i].err),
			       "request %u, 0x%lx: KVM answered %u, %u, wanted error %u", i,
			       rows[i].exit_code, status.resp, status.info, rows[i].err);

		/* The GHCB still works. */
		GUEST_ASSERT(ghcb_hv_features());
	}
}

SNP_TEST(refused, 1)
{
	run_bsp(setup(0), "broken requests", guest_broken_requests, 0, 0);
}

SNP_TEST_MAIN
