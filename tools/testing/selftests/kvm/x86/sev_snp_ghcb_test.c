// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify KVM's side of the GHCB specification for SEV-SNP guests: requests by GHCB and
 * by MSR, page state changes, and the answers to requests that are broken.  This also
 * tests the guest library that other SNP tests rely on.
 */
#include <linux/sizes.h>

#include "apic.h"
#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define PAGES			(SZ_4G + PAGE_SIZE)
#define NR_PAGES		2
#define SHARED_ALIAS		(SZ_4G + SZ_2M)

#define GHCB_CPUID_REQ(_fn, _reg)	((u64)(_fn) << 32 | (u64)(_reg) << 30 | 0x004)
#define GHCB_MSR_CPUID_RESP		0x005
#define GHCB_MSR_HV_FT_REQ		0x080
#define GHCB_MSR_HV_FT_RESP		0x081
#define GHCB_HV_FT_SNP			BIT_ULL(0)
#define GHCB_HV_FT_SNP_AP_CREATION	BIT_ULL(1)

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
		bsp->vcpu->run->hypercall.ret = s->order->ret;
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
	u64 resp = ghcb_msr_call(GHCB_CPUID_REQ(fn, reg));

	GUEST_ASSERT_EQ(resp & GHCB_MSR_INFO_MASK, GHCB_MSR_CPUID_RESP);
	return resp >> 32;
}

static void guest_msr_protocol(struct snp_order *order)
{
	const u64 wanted = GHCB_HV_FT_SNP | GHCB_HV_FT_SNP_AP_CREATION;
	u64 info = ghcb_msr_call(GHCB_MSR_SEV_INFO_REQ), features = ghcb_hv_features();
	u32 eax, ebx, ecx, edx;

	/* Bits 63:32 are the range of protocol versions. */
	GUEST_ASSERT_EQ(info & GHCB_MSR_INFO_MASK, GHCB_MSR_SEV_INFO_RESP);
	GUEST_ASSERT(info >> 48 >= 2 && (u16)(info >> 32) <= 2);

	__cpuid(0x8000001f, 0, &eax, &ebx, &ecx, &edx);
	GUEST_ASSERT_EQ((u8)(info >> 24), ebx & 0x3f);
	GUEST_ASSERT_EQ(msr_cpuid(0x8000001f, 0), eax);
	GUEST_ASSERT_EQ(msr_cpuid(0x8000001f, 1), ebx);

	GUEST_ASSERT_EQ(features & wanted, wanted);
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

	/* The guest hears that userspace refuses, and what follows is not refused with it. */
	order->ret = EINVAL;
	GUEST_ASSERT(snp_psc_msr(PAGES, op));
	GUEST_ASSERT(snp_psc(PAGES, NR_PAGES, op).resp);
	order->ret = 0;
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

static void guest_other_ghcb(struct snp_order *order)
{
	ghcb_msr_call(PAGES | GHCB_MSR_REG_GPA_REQ);
	GUEST_ASSERT_EQ(ghcb_hv_features(), 0);
	this_sev_cpu()->ghcb_registered = false;
}

SNP_TEST(refused, 1)
{
	struct snp_vm *s = setup(0);

	run_bsp(s, "broken requests", guest_broken_requests, 0, 0);

	/* The guest uses another one than it has registered: KVM_RUN may also fail. */
	s->what = "GHCB that is not registered";
	if (!__snp_order(s, guest_other_ghcb, 0, 0, 0) && s->server->err != EINVAL)
		ap_fail(s->server);
}

/* No request of these gets out of KVM, but those that are too much for it may end KVM_RUN. */
static void run_hostile(struct snp_vm *s, const char *what, void (*fn)(struct snp_order *))
{
	struct snp_ap *bsp = s->server;
	bool done;

	s->what = what;
	__snp_step(SNP_PUNCH, "# %s\n", what);
	for (done = __snp_order(s, fn, 0, 0, 0); !done; done = ap_run_to_sync(bsp)) {
		if (bsp->err != EINVAL || s->order->ret != GHCB_NO_ANSWER)
			ap_fail(bsp);
	}
}

static void check_hostile(struct snp_order *order, u32 row, u64 exit_code, u64 info_1,
			  u64 info_2, u64 scratch, u32 err)
{
	struct ghcb *ghcb = ghcb_begin();
	struct ghcb_status status;

	WRITE_ONCE(order->ret, err);
	ghcb_set(ghcb, rax, 0);
	ghcb_set(ghcb, sw_scratch, scratch);
	status = ghcb_exit(ghcb, exit_code, info_1, info_2);
	__GUEST_ASSERT(err == GHCB_NO_ANSWER || ghcb_refused(status, err) ||
		       (!err && !status.resp),
		       "request %u, 0x%lx: KVM answered %u, %u, wanted error %u", row, exit_code,
		       status.resp, status.info, err);
	GUEST_ASSERT(ghcb_hv_features());
}

static void guest_hostile_io(struct snp_order *order)
{
	const u64 buffer = this_sev_cpu()->ghcb_gpa + offsetof(struct ghcb, shared_buffer);
	const u64 end = this_sev_cpu()->ghcb_gpa + offsetof(struct ghcb, reserved_0xff0);
	const u64 out = 0x2000ull << 16, in = out | SVM_IOIO_TYPE_MASK, str = SVM_IOIO_STR_MASK;
	const u64 bytes = 1 << SVM_IOIO_SIZE_SHIFT, longs = 4 << SVM_IOIO_SIZE_SHIFT;
	const u32 nr_longs = (end - buffer) / 4;
	enum {
		NONE = GHCB_NO_ANSWER,
		SCRATCH = GHCB_ERR_INVALID_SCRATCH_AREA,
		INPUT = GHCB_ERR_INVALID_INPUT,
		IO = SVM_EXIT_IOIO,
	};
	const struct {
		u64 exit_code, info_1, info_2, scratch;
		u32 err;
	} rows[] = {
		{ IO, out | str, 1, buffer, 0 },
		{ IO, in | str, 1, buffer, 0 },
		{ IO, out, 0, buffer, 0 },
		{ IO, in, 0, buffer, 0 },
		{ IO, out | str | longs, 0, buffer, 0 },
		{ IO, in | str | longs, 0, buffer, 0 },
		{ IO, out | str | bytes, 1, end, SCRATCH },
		{ IO, out | str | longs, nr_longs + 1, buffer, SCRATCH },
		{ IO, in | str | longs, nr_longs + 1, buffer, SCRATCH },
		{ IO, in | str | longs, nr_longs, buffer + 1, SCRATCH },
		{ IO, out | str | longs, BIT_ULL(30) + 1, buffer, NONE },
		{ IO, in | str | longs, BIT_ULL(30) + 1, buffer, NONE },
		{ IO, in | str | bytes, BIT_ULL(31), buffer, NONE },
		{ IO, in | str | bytes, BIT_ULL(32) + 1, buffer, NONE },
		{ IO, in | str | bytes, ~0ull, buffer, NONE },
		{ SVM_VMGEXIT_MMIO_READ, SHARED_ALIAS, 0, buffer, 0 },
		{ SVM_VMGEXIT_MMIO_WRITE, SHARED_ALIAS, 0, buffer, 0 },
		{ SVM_VMGEXIT_MMIO_READ, SHARED_ALIAS, 9, buffer, INPUT },
		{ SVM_VMGEXIT_MMIO_WRITE, SHARED_ALIAS, 9, buffer, INPUT },
		{ SVM_VMGEXIT_MMIO_READ, SHARED_ALIAS, BIT_ULL(32), buffer, INPUT },
		{ SVM_VMGEXIT_MMIO_WRITE, SHARED_ALIAS, BIT_ULL(32) + 1, buffer, INPUT },
		{ SVM_VMGEXIT_MMIO_READ, SHARED_ALIAS, 8, end - 7, SCRATCH },
		{ SVM_VMGEXIT_MMIO_WRITE, SHARED_ALIAS, 8, end - 7, SCRATCH },
		{ SVM_VMGEXIT_MMIO_READ, SHARED_ALIAS, 8, buffer - 1, SCRATCH },
		{ SVM_VMGEXIT_MMIO_WRITE, SHARED_ALIAS, 8, PAGES, SCRATCH },
		{ SVM_VMGEXIT_MMIO_READ, SHARED_ALIAS, 8, -8ull, SCRATCH },
		{ SVM_VMGEXIT_MMIO_READ, SHARED_ALIAS, 8, -4ull, SCRATCH },
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		check_hostile(order, i, rows[i].exit_code, rows[i].info_1, rows[i].info_2,
			      rows[i].scratch, rows[i].err);
}

SNP_TEST(hostile_io, 1)
{
	run_hostile(setup(0), "port I/O and MMIO of lengths that cannot be", guest_hostile_io);
}

static void guest_hostile_psc(struct snp_order *order)
{
	const u64 gpa = this_sev_cpu()->ghcb_gpa, huge = BIT_ULL(56);
	const u64 share = PAGES | (u64)SNP_PAGE_STATE_SHARED << 52;
	const u32 buffer = offsetof(struct ghcb, shared_buffer);
	const u32 end = offsetof(struct ghcb, reserved_0xff0);
	const u32 size = sizeof(struct psc_hdr), last = VMGEXIT_PSC_MAX_COUNT - 1;
	enum { HDR = 1, ENTRY, NR_ERRS };
	const struct {
		u32 scratch;
		u16 cur, end;
		u64 entry;
		u32 err;
	} rows[] = {
		{ buffer, 0, last + 1, share, HDR },
		{ buffer, 0, 0x7fff, share, HDR },
		{ buffer, 0, 0xffff, share, HDR },
		{ buffer, 0xffff, 0xffff, share, HDR },
		{ buffer, last + 1, last + 1, share, HDR },
		{ buffer, 1, 0, share, 0 },
		{ buffer, 0xffff, last, share, 0 },
		{ buffer + 1, 0, last, share, HDR },
		{ end - size, 0, 0, 0, HDR },
		{ end - size - 8, 0, 1, share, HDR },
		{ buffer, 0, 0, share | huge, ENTRY },
		{ buffer, 0, 0, share | 2, ENTRY },
		{ buffer, 0, 0, (share & ~(SZ_2M - 1ull)) | huge | 513, ENTRY },
		{ buffer, 0, 0, PAGES, 0 },
		{ buffer, 0, 0, PAGES | 3ull << 52, 0 },
		{ buffer, 0, 0, PAGES | 15ull << 52, 0 },
	};
	const u64 scratch[] = {
		gpa, gpa + buffer - 1, gpa + end - size + 1, gpa + PAGE_SIZE - 1, gpa - size,
		gpa + PAGE_SIZE, PAGES, BIT_ULL(63), -(u64)size, ~0ull,
	};
	struct ghcb *ghcb = this_sev_cpu()->ghcb;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct snp_psc_desc *desc = (void *)ghcb + rows[i].scratch;

		desc->hdr.cur_entry = rows[i].cur;
		desc->hdr.end_entry = rows[i].end;
		if (rows[i].scratch + size < end)
			desc->entries[0] = rows[i].entry;
		ghcb_begin();
		ghcb_set(ghcb, sw_scratch, gpa + rows[i].scratch);
		GUEST_ASSERT_EQ(ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0).resp, 0);
		__GUEST_ASSERT(ghcb->save.sw_exit_info_2 ==
			       (rows[i].err ? BIT_ULL(32) | rows[i].err : 0),
			       "page state change %u: KVM answered 0x%lx, wanted error %u", i,
			       ghcb->save.sw_exit_info_2, rows[i].err);
		GUEST_ASSERT(ghcb_hv_features());
	}
	for (i = 0; i < ARRAY_SIZE(scratch); i++)
		check_hostile(order, i, SVM_VMGEXIT_PSC, 0, 0, scratch[i],
			      GHCB_ERR_INVALID_SCRATCH_AREA);
}

SNP_TEST(hostile_page_state_change, 1)
{
	run_hostile(setup(0), "page state changes that cannot be", guest_hostile_psc);
}

static void guest_share_some(struct snp_order *order)
{
	struct ghcb *ghcb = ghcb_begin();
	struct snp_psc_desc *desc = (void *)ghcb->shared_buffer;
	u32 i;

	/* Neighbors, but one private and the next one shared, i.e. a request each. */
	desc->hdr = (struct psc_hdr) { .end_entry = order->arg[0] - 1 };
	for (i = 0; i < VMGEXIT_PSC_MAX_COUNT; i++) {
		const u64 state = i % 2 ? SNP_PAGE_STATE_SHARED : SNP_PAGE_STATE_PRIVATE;

		desc->entries[i] = (PAGES + i * PAGE_SIZE) | state << 52;
	}
	order->arg[1] = this_sev_cpu()->ghcb_gpa + offsetof(struct ghcb, shared_buffer);
	ghcb_set(ghcb, sw_scratch, order->arg[1]);
	GUEST_ASSERT_EQ(ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0).resp, 0);
	GUEST_ASSERT_EQ(desc->hdr.cur_entry, order->arg[0]);
	GUEST_ASSERT(ghcb_hv_features());
}

/* As another vCPU could do it: change the request while it is in userspace. */
SNP_TEST(page_state_change_changes, 1)
{
	const u32 nr_entries = 3;
	struct snp_vm *s = setup(0);
	static const u16 ends[] = { VMGEXIT_PSC_MAX_COUNT - 1, VMGEXIT_PSC_MAX_COUNT, 0xffff };
	struct kvm_run *run = s->server->vcpu->run;
	struct psc_hdr *hdr;
	bool done;
	u32 i, nr;

	s->what = "page state change that changes";
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		__snp_step(SNP_PUNCH, "# %s: end %u\n", s->what, ends[i]);
		done = __snp_order(s, guest_share_some, nr_entries, 0, 0);
		for (nr = 0; !done; nr++) {
			if (s->server->err || run->exit_reason != KVM_EXIT_HYPERCALL)
				ap_fail(s->server);
			TEST_ASSERT(nr < nr_entries, "%s: KVM answered more than %u entries",
				    s->what, nr_entries);
			run->hypercall.ret = 0;
			hdr = addr_gpa2hva(s->vm, s->order->arg[1]);
			WRITE_ONCE(hdr->end_entry, ends[i]);
			WRITE_ONCE(hdr->cur_entry, i);
			done = ap_run_to_sync(s->server);
		}
		TEST_ASSERT_EQ(nr, nr_entries);
	}
}

SNP_TEST_MAIN
