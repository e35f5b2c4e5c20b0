/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SEV-SNP guests for KVM selftests: #VC handling and ucalls over the GHCB, page
 * validation, VMSAs and AP Creation on the guest side; VM creation, launch and
 * KVM_RUN outcomes on the host side.
 *
 * A minimal test:
 *
 *	vm = snp_vm_create(nr_vcpus, guest_code, vcpus);
 *	vcpu_args_set(vcpus[0], 1, gva);
 *	snp_vm_launch(vm, snp_test_policy());
 *	while (snp_vcpu_run(vcpus[0], &uc).type == SNP_EXIT_UCALL)
 *		...
 *
 * Guest code uses GUEST_SYNC(), GUEST_ASSERT(), cpuid() and rdmsr() as in any
 * other VM.  Nothing can walk the guest's page tables after launch, i.e. every
 * gva needed as a gpa or hva has to be translated before snp_vm_launch().
 */
#ifndef SELFTEST_KVM_SNP_H
#define SELFTEST_KVM_SNP_H

/* Offset of IST1 in struct snp_percpu, bytes reserved for one #VC. */
#define SNP_PERCPU_IST1		0xa4
#define SNP_VC_STACK_SIZE	0x1000
#define SNP_VC_NESTING		2

#ifndef __ASSEMBLER__

#include "kvm_util.h"
#include "processor.h"
#include "sev.h"
#include "ucall_common.h"

/*
 * Trees up to 6.19 have the same helpers under older names.  INVALID_GPA came
 * with the rename.
 */
#ifndef INVALID_GPA
#define gva_t			vm_vaddr_t
#define gpa_t			vm_paddr_t
#define INVALID_GPA		(~(u64)0)
#define vm_alloc_shared		vm_vaddr_alloc_shared
#define __vm_alloc		__vm_vaddr_alloc
#define vm_unused_gva_gap	vm_vaddr_unused_gap
#endif

#ifndef VC_VECTOR
#define VC_VECTOR		29
#endif

/* A #VC error code, and thus an exit code, that exists only in the guest. */
#define SNP_VC_PAGE_NOT_VALIDATED	0x404

/* GHCB MSR protocol: requests, responses and their payload. */
#define SNP_MSR_INFO_MASK	0xfffull
#define SNP_MSR_SEV_INFO_REQ	0x002
#define SNP_MSR_SEV_INFO_RESP	0x001
#define SNP_MSR_REG_GPA_REQ	0x012
#define SNP_MSR_REG_GPA_RESP	0x013
#define SNP_MSR_TERM(code)	(GHCB_MSR_TERM_REQ | ((u64)(code) << 12))

/* Termination codes of the library, visible to the host in snp_exit.detail. */
#define SNP_TERM_STRAY		SNP_MSR_TERM(0x57a1)	/* launch VMSA of an AP ran */
#define SNP_TERM_GHCB		SNP_MSR_TERM(0x6cb)	/* GHCB not registered */

/*
 * What the hypervisor made of a GHCB request: 0 for success, else the low half
 * of SW_EXITINFO1 (1: inject an exception, 2: bad input) above SW_EXITINFO2.
 */
#define SNP_GHCB_STATUS(info1, info2)	((((u64)(info1) & 0xffffffff) << 32) | (u32)(info2))
#define SNP_GHCB_NO_ANSWER		(~0ull)

#define SNP_GHCB_ERR_NOT_REGISTERED	SNP_GHCB_STATUS(2, 1)
#define SNP_GHCB_ERR_INVALID_USAGE	SNP_GHCB_STATUS(2, 2)
#define SNP_GHCB_ERR_INVALID_SCRATCH	SNP_GHCB_STATUS(2, 3)
#define SNP_GHCB_ERR_MISSING_INPUT	SNP_GHCB_STATUS(2, 4)
#define SNP_GHCB_ERR_INVALID_INPUT	SNP_GHCB_STATUS(2, 5)
#define SNP_GHCB_ERR_INVALID_EVENT	SNP_GHCB_STATUS(2, 6)

/* RMPADJUST and PVALIDATE. */
#define SNP_RMP_OK			0
#define SNP_RMP_FAIL_INPUT		1
#define SNP_RMP_FAIL_PERMISSION		2
#define SNP_RMP_FAIL_INUSE		3
#define SNP_RMP_FAIL_SIZEMISMATCH	6
#define SNP_PVALIDATE_NO_UPDATE		255	/* software: RFLAGS.CF was set */

#define SNP_RMPADJUST_VMPL1		1
#define SNP_RMPADJUST_VMSA		BIT_ULL(16)

struct snp_ghcb {
	u8  reserved_0x0[0xcb];
	u8  cpl;
	u8  reserved_0xcc[0x74];
	u64 xss;
	u8  reserved_0x148[0xb0];
	u64 rax;
	u8  reserved_0x200[0x108];
	u64 rcx;
	u64 rdx;
	u64 rbx;
	u8  reserved_0x320[0x10];
	u64 rsi;
	u8  reserved_0x338[0x58];
	u64 sw_exit_code;
	u64 sw_exit_info_1;
	u64 sw_exit_info_2;
	u64 sw_scratch;
	u8  reserved_0x3b0[0x38];
	u64 xcr0;
	u64 valid_bitmap[2];
	u8  reserved_0x400[0x400];
	u8  shared_buffer[0x7f0];
	u8  reserved_0xff0[0xa];
	u16 protocol_version;
	u32 ghcb_usage;
} __packed;

kvm_static_assert(offsetof(struct snp_ghcb, rax) == 0x1f8);
kvm_static_assert(offsetof(struct snp_ghcb, rcx) == 0x308);
kvm_static_assert(offsetof(struct snp_ghcb, rsi) == 0x330);
kvm_static_assert(offsetof(struct snp_ghcb, sw_exit_code) == 0x390);
kvm_static_assert(offsetof(struct snp_ghcb, xcr0) == 0x3e8);
kvm_static_assert(offsetof(struct snp_ghcb, shared_buffer) == 0x800);
kvm_static_assert(offsetof(struct snp_ghcb, protocol_version) == 0xffa);
kvm_static_assert(sizeof(struct snp_ghcb) == 0x1000);

struct snp_vmsa_seg {
	u16 selector;
	u16 attrib;
	u32 limit;
	u64 base;
} __packed;

struct snp_vmsa {
	struct snp_vmsa_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8  reserved_0xa0[0x2a];
	u8  vmpl;
	u8  cpl;
	u8  reserved_0xcc[4];
	u64 efer;
	u8  reserved_0xd8[0x68];
	u64 xss;
	u64 cr4;
	u64 cr3;
	u64 cr0;
	u64 dr7;
	u64 dr6;
	u64 rflags;
	u64 rip;
	u8  reserved_0x180[0x58];
	u64 rsp;
	u8  reserved_0x1e0[0x18];
	u64 rax;
	u8  reserved_0x200[0x40];
	u64 cr2;
	u8  reserved_0x248[0x20];
	u64 g_pat;
	u8  reserved_0x270[0x98];
	u64 rcx;
	u64 rdx;
	u64 rbx;
	u64 reserved_0x320;
	u64 rbp;
	u64 rsi;
	u64 rdi;
	u64 r8, r9, r10, r11, r12, r13, r14, r15;
	u8  reserved_0x380[0x30];
	u64 sev_features;
	u64 vintr_ctrl;
	u64 guest_exit_code;
	u64 virtual_tom;
	u64 tlb_id;
	u64 pcpu_id;
	u64 event_inj;
	u64 xcr0;
	u8  reserved_0x3f0[0x18];
	u32 mxcsr;
	u16 x87_ftw;
	u16 x87_fsw;
	u16 x87_fcw;
	u8  reserved_0x412[0xbee];
} __packed;

kvm_static_assert(offsetof(struct snp_vmsa, tr) == 0x90);
kvm_static_assert(offsetof(struct snp_vmsa, efer) == 0xd0);
kvm_static_assert(offsetof(struct snp_vmsa, cr4) == 0x148);
kvm_static_assert(offsetof(struct snp_vmsa, rip) == 0x178);
kvm_static_assert(offsetof(struct snp_vmsa, rsp) == 0x1d8);
kvm_static_assert(offsetof(struct snp_vmsa, g_pat) == 0x268);
kvm_static_assert(offsetof(struct snp_vmsa, rcx) == 0x308);
kvm_static_assert(offsetof(struct snp_vmsa, rdi) == 0x338);
kvm_static_assert(offsetof(struct snp_vmsa, sev_features) == 0x3b0);
kvm_static_assert(offsetof(struct snp_vmsa, xcr0) == 0x3e8);
kvm_static_assert(offsetof(struct snp_vmsa, mxcsr) == 0x408);
kvm_static_assert(sizeof(struct snp_vmsa) == 0x1000);

/* Per-vCPU data of the guest, found through GS.base, private to the guest. */
struct snp_percpu {
	struct snp_percpu *self;
	struct snp_ghcb *ghcb;
	gpa_t ghcb_gpa;
	u64 ghcb_registered;
	u64 nr_vc;
	u64 nr_unvalidated;
	u8  reserved[0x50];
	u8  tss[0x68];
};

kvm_static_assert(offsetof(struct snp_percpu, tss) + 0x24 == SNP_PERCPU_IST1);

/* Everything a vCPU needs in private memory, one per vCPU, indexed by its ID. */
struct snp_vcpu_area {
	struct snp_percpu percpu;
	u8 reserved[PAGE_SIZE - sizeof(struct snp_percpu)];
	struct snp_vmsa vmsa;		/* template, never run as is */
	u8 vc_stack[SNP_VC_NESTING * SNP_VC_STACK_SIZE];
};

static inline u64 snp_vc_stack_top(struct snp_vcpu_area *area)
{
	return (u64)&area->vc_stack[sizeof(area->vc_stack)];
}

/*
 * Guest only from here to "Host".
 */
extern struct snp_vcpu_area *snp_vcpu_areas;

static inline struct snp_percpu *snp_this_cpu(void)
{
	struct snp_percpu *percpu;

	asm volatile("movq %%gs:0, %0" : "=r"(percpu));
	return percpu;
}

/* Where the next #VC of a vCPU starts its stack; the TSS is not aligned. */
static inline u64 snp_vc_stack(struct snp_vcpu_area *area)
{
	u64 ist1;

	memcpy(&ist1, (void *)&area->percpu + SNP_PERCPU_IST1, sizeof(ist1));
	return ist1;
}

/* For a vCPU that starts over, wherever it was. */
static inline void snp_vc_stack_reset(struct snp_vcpu_area *area)
{
	u64 ist1 = snp_vc_stack_top(area);

	memcpy((void *)&area->percpu + SNP_PERCPU_IST1, &ist1, sizeof(ist1));
}

/* One round trip of the GHCB MSR protocol, returns the hypervisor's MSR value. */
u64 snp_ghcb_msr_call(u64 request);

/* Ask the hypervisor to end the VM; @msr is an SNP_MSR_TERM(). */
void __noreturn snp_terminate(u64 msr);

/* Version range and C-bit as the hypervisor advertises them. */
u64 snp_ghcb_sev_info(void);

/* Register this vCPU's GHCB; done on first use, harmless to repeat. */
void snp_ghcb_register(void);

/*
 * Start a request: returns this vCPU's GHCB with no field valid.  Fields are
 * set with snp_ghcb_set(), then snp_ghcb_exit() asks the hypervisor and returns
 * an SNP_GHCB_STATUS().  None of it asserts, so that a test can ask for what
 * has to be refused.
 */
struct snp_ghcb *snp_ghcb_begin(void);
u64 snp_ghcb_exit(struct snp_ghcb *ghcb, u64 exit_code, u64 info_1, u64 info_2);
void snp_ghcb_vmgexit(gpa_t ghcb_gpa);

static inline bool __snp_ghcb_valid(struct snp_ghcb *ghcb, size_t offset)
{
	return ghcb->valid_bitmap[offset / 512] & BIT_ULL(offset / 8 % 64);
}

static inline void __snp_ghcb_set(struct snp_ghcb *ghcb, size_t offset, u64 val)
{
	if (offset == offsetof(struct snp_ghcb, cpl))
		ghcb->cpl = val;
	else
		*(u64 *)((void *)ghcb + offset) = val;

	ghcb->valid_bitmap[offset / 512] |= BIT_ULL(offset / 8 % 64);
}

#define snp_ghcb_valid(_ghcb, _field) \
	__snp_ghcb_valid(_ghcb, offsetof(struct snp_ghcb, _field))

#define snp_ghcb_set(_ghcb, _field, _val) \
	__snp_ghcb_set(_ghcb, offsetof(struct snp_ghcb, _field), _val)

/* The features of the hypervisor, GHCB_HV_FT_*. */
u64 snp_hv_features(void);

/* Tell KVM that the handler of an NMI is done, KVM cannot see the IRET. */
u64 snp_nmi_complete(void);

/*
 * Ask for a page state change of @nr_pages 4K pages at @gpa, an exit to
 * userspace in KVM.  Validating before or after is up to the caller, as are the
 * two mappings with and without the C-bit.
 */
u64 snp_psc(gpa_t gpa, u64 nr_pages, bool private);

/* 4K PVALIDATE, SNP_PVALIDATE_NO_UPDATE if the page was in that state. */
static inline u32 snp_pvalidate(gva_t gva, bool validate)
{
	u8 no_update;
	u32 rc;

	asm volatile(".byte 0xf2, 0x0f, 0x01, 0xff"
		     : "=@ccc"(no_update), "=a"(rc)
		     : "a"(gva), "c"(0), "d"((u64)validate)
		     : "memory");

	return rc ?: (no_update ? SNP_PVALIDATE_NO_UPDATE : SNP_RMP_OK);
}

/* 4K RMPADJUST, @attrs is a VMPL, its permissions and SNP_RMPADJUST_VMSA. */
static inline u32 snp_rmpadjust(gva_t gva, u64 attrs)
{
	u64 rax = gva, rcx = 0;

	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xfe"
		     : "+a"(rax), "+c"(rcx)
		     : "d"(attrs)
		     : "memory", "cc");

	return rax;
}

/* How often this vCPU has hit, and validated, an unvalidated page. */
static inline u64 snp_nr_unvalidated(void)
{
	return READ_ONCE(snp_this_cpu()->nr_unvalidated);
}

/* SEV_FEATURES a VMSA must have to match the VM. */
static inline u64 snp_sev_features(void)
{
	return rdmsr(MSR_AMD64_SEV) >> 2;
}

/*
 * Turn the private page at @gva into a VMSA that starts vCPU @vcpu_id at the
 * entry point and with the registers it had at launch.  A page that has been
 * replaced in the meantime is validated first.  Returns an SNP_RMP_* code.
 * The page must not be the VMSA of a vCPU that runs.
 */
u32 snp_vmsa_prepare(gva_t gva, u32 vcpu_id);

/* Turn an idle VMSA back into ordinary memory.  Returns an SNP_RMP_* code. */
u32 snp_vmsa_release(gva_t gva);

/*
 * AP Creation.  @vmsa_gpa must not carry the C-bit.  CREATE_ON_INIT needs an
 * INIT and a SIPI from the guest to take effect.  The double underscored form
 * takes SW_EXITINFO1, SW_EXITINFO2 and RAX verbatim.  Return SNP_GHCB_STATUS().
 */
u64 __snp_ap_creation(u64 info_1, u64 info_2, u64 rax);
u64 snp_ap_create(u32 apic_id, gpa_t vmsa_gpa);
u64 snp_ap_create_on_init(u32 apic_id, gpa_t vmsa_gpa);
u64 snp_ap_destroy(u32 apic_id);

/* Send INIT, or INIT and SIPI, to a vCPU, by x2APIC. */
void snp_init(u32 apic_id);
void snp_init_sipi(u32 apic_id);

/* The #VC gate, and what it calls. */
void snp_vc_entry(void);
void snp_handle_vc(struct ex_regs *regs);

/* In processor.c, where all other exceptions end up. */
void route_exception(struct ex_regs *regs);

/*
 * Host
 */
enum snp_exit_type {
	SNP_EXIT_UCALL,			/* detail: ucall command */
	SNP_EXIT_FAIL_ENTRY,		/* detail: hardware_entry_failure_reason */
	SNP_EXIT_MEMORY_FAULT,		/* -EFAULT or -EHWPOISON; detail: gpa */
	SNP_EXIT_HYPERCALL,		/* detail: hypercall number */
	SNP_EXIT_TERM,			/* detail: GHCB MSR, see SNP_TERM_* */
	SNP_EXIT_SHUTDOWN,
	SNP_EXIT_INTERNAL_ERROR,	/* detail: suberror */
	SNP_EXIT_INTR,			/* -EINTR */
	SNP_EXIT_AGAIN,			/* -EAGAIN */
	SNP_EXIT_ERROR,			/* any other errno */
	SNP_EXIT_OTHER,			/* detail: exit reason */
	NR_SNP_EXITS,
};

struct snp_exit {
	enum snp_exit_type type;
	int err;			/* errno of KVM_RUN, 0 if it succeeded */
	u64 detail;
};

const char *snp_exit_str(enum snp_exit_type type);

/*
 * Is this how KVM_RUN has to end for a vCPU that has lost its VMSA?  If there is
 * a page, then VMRUN fails and KVM reports the CPU's exit code, -1 for an invalid
 * guest state, with 32 or 64 bits.  If there is none, then KVM does not try, and
 * says the same.
 */
bool snp_exit_is_clean_failure(const struct snp_exit *exit);

/* The one reason to skip a test that needs an SNP guest. */
#define TEST_REQUIRE_SNP()							\
	__TEST_REQUIRE((kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SNP_VM)) && \
		       !access("/dev/sev", R_OK),				\
		       "KVM cannot create SEV-SNP VMs on this host")

/*
 * SMT and debugging allowed.  Firmware refuses a policy without SMT where SMT is
 * on, and some kernels refuse it always.  A debuggable guest lets KVM dump the
 * VMSA of a vCPU that failed.
 */
static inline u64 snp_test_policy(void)
{
	return SNP_POLICY_RSVD_MBO | SNP_POLICY_SMT | SNP_POLICY_DBG;
}

/*
 * Create an SNP VM with @nr_vcpus vCPUs that all have @guest_code as their entry
 * point.  vCPU 0 is runnable, the others (APs) wait, blocked in KVM_RUN, for AP
 * Creation.  vcpu_args_set() and vcpu_arch_set_entry_point() work until launch
 * and decide what snp_vmsa_prepare() builds.
 */
struct kvm_vm *snp_vm_create(u32 nr_vcpus, void *guest_code,
			     struct kvm_vcpu *vcpus[]);

/*
 * Add a memslot of @nr_pages private pages at @gpa, backed by guest_memfd @fd at
 * @offset (bytes), mapped 1:1 in the guest and part of the launch, i.e. its
 * pages start out validated.  Create the file with vm_create_guest_memfd().
 */
void snp_vm_add_slot(struct kvm_vm *vm, u32 slot, gpa_t gpa, u64 nr_pages,
		     int fd, u64 offset);

/* Map @gpa a second time, with or without C-bit, at the returned gva. */
gva_t snp_vm_map_alias(struct kvm_vm *vm, gpa_t gpa, bool private);

/* Build the VMSA templates, then measure, launch and seal the VM. */
void snp_vm_launch(struct kvm_vm *vm, u64 policy);

/*
 * Run @vcpu once and say how KVM_RUN returned, without asserting.  On a ucall,
 * @uc is filled in, if not NULL, and the I/O is completed.  errno is left at 0.
 */
struct snp_exit snp_vcpu_run(struct kvm_vcpu *vcpu, struct ucall *uc);

/* Serve SNP_EXIT_HYPERCALL: set the attributes that a page state change wants. */
void snp_handle_map_gpa_range(struct kvm_vcpu *vcpu);

/* Send an NMI to @vcpu_id by MSI. */
void snp_send_nmi(struct kvm_vm *vm, u32 vcpu_id);

#endif /* __ASSEMBLER__ */

#endif /* SELFTEST_KVM_SNP_H */
