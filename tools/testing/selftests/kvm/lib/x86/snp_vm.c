// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host side of SEV-SNP guests: creation, memslots, launch and KVM_RUN outcomes.
 */
#include <linux/kvm_para.h>

#include "apic.h"
#include "snp.h"

/* As in ucall.c. */
#define UCALL_PIO_PORT		0x1000
#define GUEST_UCALL_FAILED	-1

#define SNP_MP_STATE_PARKED	KVM_MP_STATE_HALTED

/*
 * Where an AP ends up if KVM runs its launch VMSA, which no AP of these VMs is
 * ever meant to do.
 */
static void guest_stray_ap(void)
{
	snp_terminate(SNP_TERM_STRAY);
}

static struct snp_vcpu_area *vm_areas(struct kvm_vm *vm)
{
	gva_t *areas = addr_gva2hva(vm, (gva_t)&snp_vcpu_areas);

	return (void *)*areas;
}

static void vm_set_vc_gate(struct kvm_vm *vm)
{
	struct idt_entry *gate = addr_gva2hva(vm, vm->arch.idt +
					      VC_VECTOR * sizeof(*gate));
	u64 addr = (u64)snp_vc_entry;

	/* Keep the selector, type and so on that the library has set. */
	gate->offset0 = addr;
	gate->offset1 = addr >> 16;
	gate->offset2 = addr >> 32;
	gate->ist = 1;
}

static void vcpu_init_percpu(struct kvm_vcpu *vcpu, gva_t ghcb)
{
	struct snp_vcpu_area *area = &vm_areas(vcpu->vm)[vcpu->id];
	struct snp_percpu *percpu = addr_gva2hva(vcpu->vm, (gva_t)&area->percpu);
	u64 ist1 = snp_vc_stack_top(area);
	struct kvm_sregs sregs;

	percpu->self = &area->percpu;
	percpu->ghcb = (void *)ghcb;
	percpu->ghcb_gpa = addr_gva2gpa(vcpu->vm, ghcb);
	memcpy((void *)percpu + SNP_PERCPU_IST1, &ist1, sizeof(ist1));

	vcpu_sregs_get(vcpu, &sregs);
	sregs.gs.base = (gva_t)&area->percpu;
	sregs.tr.base = (gva_t)area->percpu.tss;
	vcpu_sregs_set(vcpu, &sregs);
}

static u64 snp_vm_nr_pages(u32 nr_vcpus)
{
	return nr_vcpus * (sizeof(struct snp_vcpu_area) + sizeof(struct snp_ghcb)) / PAGE_SIZE;
}

struct kvm_vm *snp_vm_create(u32 nr_vcpus, void *guest_code,
			     struct kvm_vcpu *vcpus[])
{
	const struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = KVM_X86_SNP_VM,
	};
	struct kvm_mp_state parked = { .mp_state = SNP_MP_STATE_PARKED };
	gva_t areas, ghcbs;
	struct kvm_vm *vm;
	int i;

	vm = __vm_create(shape, nr_vcpus, snp_vm_nr_pages(nr_vcpus));

	/*
	 * Only the first one is where its ID says, so that KVM cannot take the ID
	 * of an AP for its index.
	 */
	vcpus[0] = vm_vcpu_add(vm, 0, guest_code);
	for (i = nr_vcpus - 1; i > 0; i--)
		vcpus[i] = vm_vcpu_add(vm, i, guest_code);
	kvm_arch_vm_finalize_vcpus(vm);

	areas = __vm_alloc(vm, nr_vcpus * sizeof(struct snp_vcpu_area),
			   KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	ghcbs = vm_alloc_shared(vm, nr_vcpus * sizeof(struct snp_ghcb),
				KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	write_guest_global(vm, snp_vcpu_areas, (struct snp_vcpu_area *)areas);

	vm_set_vc_gate(vm);

	for (i = 0; i < nr_vcpus; i++) {
		vcpu_init_percpu(vcpus[i], ghcbs + i * sizeof(struct snp_ghcb));

		/*
		 * A vCPU that is UNINITIALIZED makes KVM_RUN return -EAGAIN for
		 * ever instead of waiting for AP Creation, a RUNNABLE one runs
		 * its launch VMSA.  HALTED waits.
		 */
		if (i)
			vcpu_mp_state_set(vcpus[i], &parked);
	}

	return vm;
}

void snp_vm_add_slot(struct kvm_vm *vm, u32 slot, gpa_t gpa, u64 nr_pages,
		     int fd, u64 offset)
{
	vm_mem_add(vm, VM_MEM_SRC_ANONYMOUS, gpa, slot, nr_pages,
		   KVM_MEM_GUEST_MEMFD, fd, offset);
	TEST_ASSERT(__vm_phy_pages_alloc(vm, nr_pages, gpa, slot, true) == gpa,
		    "Failed to allocate slot %u at its base 0x%lx", slot, gpa);
	virt_map(vm, gpa, gpa, nr_pages);
}

gva_t snp_vm_map_alias(struct kvm_vm *vm, gpa_t gpa, bool private)
{
	struct userspace_mem_region *region;
	gva_t gva = vm_unused_gva_gap(vm, vm->page_size, KVM_UTIL_MIN_VADDR);
	u64 gfn = gpa >> vm->page_shift;
	bool was_private;
	int ctr;

	hash_for_each(vm->regions.slot_hash, ctr, region, slot_node) {
		if (gpa < region->region.guest_phys_addr ||
		    gpa - region->region.guest_phys_addr >= region->region.memory_size)
			continue;

		/* The library derives the C-bit from the state of the page. */
		was_private = sparsebit_is_set(region->protected_phy_pages, gfn);
		if (private)
			sparsebit_set(region->protected_phy_pages, gfn);
		else
			sparsebit_clear(region->protected_phy_pages, gfn);

		virt_pg_map(vm, gva, gpa);

		if (was_private)
			sparsebit_set(region->protected_phy_pages, gfn);
		else
			sparsebit_clear(region->protected_phy_pages, gfn);
		return gva;
	}

	TEST_FAIL("No memslot at gpa 0x%lx", gpa);
}

static void vmsa_set_seg(struct snp_vmsa_seg *dst, const struct kvm_segment *src)
{
	dst->selector = src->selector;
	dst->limit = src->limit;
	dst->base = src->base;
	if (src->unusable)
		return;

	dst->attrib = src->type | src->s << 4 | src->dpl << 5 | src->present << 7 |
		      src->avl << 8 | src->l << 9 | src->db << 10 | src->g << 11;
}

/* What KVM does for the launch VMSA, see sev_es_sync_vmsa(). */
static void vcpu_init_vmsa_template(struct kvm_vcpu *vcpu)
{
	struct snp_vcpu_area *area = &vm_areas(vcpu->vm)[vcpu->id];
	struct snp_vmsa *vmsa = addr_gva2hva(vcpu->vm, (gva_t)&area->vmsa);
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	vcpu_sregs_get(vcpu, &sregs);

	vmsa_set_seg(&vmsa->es, &sregs.es);
	vmsa_set_seg(&vmsa->cs, &sregs.cs);
	vmsa_set_seg(&vmsa->ss, &sregs.ss);
	vmsa_set_seg(&vmsa->ds, &sregs.ds);
	vmsa_set_seg(&vmsa->fs, &sregs.fs);
	vmsa_set_seg(&vmsa->gs, &sregs.gs);
	vmsa_set_seg(&vmsa->ldtr, &sregs.ldt);
	vmsa_set_seg(&vmsa->tr, &sregs.tr);
	vmsa->gdtr.base = sregs.gdt.base;
	vmsa->gdtr.limit = sregs.gdt.limit;
	vmsa->idtr.base = sregs.idt.base;
	vmsa->idtr.limit = sregs.idt.limit;

	vmsa->cr0 = sregs.cr0 | X86_CR0_ET;
	vmsa->cr3 = sregs.cr3;
	vmsa->cr4 = sregs.cr4;
	vmsa->efer = sregs.efer | EFER_SVME;
	vmsa->dr6 = 0xffff0ff0;
	vmsa->dr7 = 0x400;
	vmsa->g_pat = 0x0007040600070406ull;

	vmsa->rflags = regs.rflags;
	vmsa->rip = regs.rip;
	vmsa->rsp = regs.rsp;
	vmsa->rbp = regs.rbp;
	vmsa->rax = regs.rax;
	vmsa->rbx = regs.rbx;
	vmsa->rcx = regs.rcx;
	vmsa->rdx = regs.rdx;
	vmsa->rsi = regs.rsi;
	vmsa->rdi = regs.rdi;
	vmsa->r8 = regs.r8;
	vmsa->r9 = regs.r9;
	vmsa->r10 = regs.r10;
	vmsa->r11 = regs.r11;
	vmsa->r12 = regs.r12;
	vmsa->r13 = regs.r13;
	vmsa->r14 = regs.r14;
	vmsa->r15 = regs.r15;

	vmsa->xcr0 = 1;
	if (kvm_has_cap(KVM_CAP_XCRS)) {
		vcpu_ioctl(vcpu, KVM_GET_XCRS, &xcrs);
		if (xcrs.nr_xcrs)
			vmsa->xcr0 = xcrs.xcrs[0].value;
	}
	vmsa->mxcsr = 0x1f80;
	vmsa->x87_fcw = 0x37f;
}

void snp_vm_launch(struct kvm_vm *vm, u64 policy)
{
	struct kvm_vcpu *vcpu;

	list_for_each_entry(vcpu, &vm->vcpus, list) {
		vcpu_init_vmsa_template(vcpu);
		if (vcpu->id)
			vcpu_arch_set_entry_point(vcpu, guest_stray_ap);
	}

	vm_sev_launch(vm, policy, NULL);
}

static void *snp_ucall_hva(struct kvm_run *run)
{
	u64 hva;

	if (run->exit_reason != KVM_EXIT_IO || run->io.port != UCALL_PIO_PORT ||
	    run->io.direction != KVM_EXIT_IO_OUT ||
	    run->io.size * run->io.count != sizeof(hva))
		return NULL;

	memcpy(&hva, (void *)run + run->io.data_offset, sizeof(hva));
	TEST_ASSERT(hva != (u64)GUEST_UCALL_FAILED,
		    "Guest failed to allocate ucall struct");
	return (void *)hva;
}

struct snp_exit snp_vcpu_run(struct kvm_vcpu *vcpu, struct ucall *uc)
{
	struct kvm_run *run = vcpu->run;
	struct snp_exit exit = { .type = SNP_EXIT_OTHER };
	void *hva;

	errno = 0;
	if (__vcpu_run(vcpu))
		exit.err = errno;

	/*
	 * A stale errno must not survive: the library turns an assertion that
	 * fails with EACCES into a skip.
	 */
	errno = 0;

	switch (exit.err) {
	case 0:
		break;
	case EINTR:
		exit.type = SNP_EXIT_INTR;
		return exit;
	case EAGAIN:
		exit.type = SNP_EXIT_AGAIN;
		return exit;
	case EFAULT:
	case EHWPOISON:
		if (run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
			exit.type = SNP_EXIT_MEMORY_FAULT;
			exit.detail = run->memory_fault.gpa;
			return exit;
		}
		fallthrough;
	default:
		exit.type = SNP_EXIT_ERROR;
		exit.detail = run->exit_reason;
		return exit;
	}

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		hva = snp_ucall_hva(run);
		if (!hva) {
			exit.detail = KVM_EXIT_IO;
			break;
		}
		exit.type = SNP_EXIT_UCALL;
		exit.detail = *(u64 *)hva;
		if (uc)
			memcpy(uc, hva, sizeof(*uc));
		vcpu_run_complete_io(vcpu);
		errno = 0;
		break;
	case KVM_EXIT_FAIL_ENTRY:
		exit.type = SNP_EXIT_FAIL_ENTRY;
		exit.detail = run->fail_entry.hardware_entry_failure_reason;
		break;
	case KVM_EXIT_HYPERCALL:
		exit.type = SNP_EXIT_HYPERCALL;
		exit.detail = run->hypercall.nr;
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		if (run->system_event.type != KVM_SYSTEM_EVENT_SEV_TERM) {
			exit.detail = KVM_EXIT_SYSTEM_EVENT;
			break;
		}
		exit.type = SNP_EXIT_TERM;
		exit.detail = run->system_event.data[0];
		break;
	case KVM_EXIT_SHUTDOWN:
		exit.type = SNP_EXIT_SHUTDOWN;
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		exit.type = SNP_EXIT_INTERNAL_ERROR;
		exit.detail = run->internal.suberror;
		break;
	case KVM_EXIT_INTR:
		exit.type = SNP_EXIT_INTR;
		break;
	default:
		exit.detail = run->exit_reason;
		break;
	}

	return exit;
}

const char *snp_exit_str(enum snp_exit_type type)
{
	static const char * const names[] = {
		[SNP_EXIT_UCALL]		= "ucall",
		[SNP_EXIT_FAIL_ENTRY]		= "KVM_EXIT_FAIL_ENTRY",
		[SNP_EXIT_MEMORY_FAULT]		= "KVM_EXIT_MEMORY_FAULT",
		[SNP_EXIT_HYPERCALL]		= "KVM_EXIT_HYPERCALL",
		[SNP_EXIT_TERM]			= "guest termination",
		[SNP_EXIT_SHUTDOWN]		= "KVM_EXIT_SHUTDOWN",
		[SNP_EXIT_INTERNAL_ERROR]	= "KVM_EXIT_INTERNAL_ERROR",
		[SNP_EXIT_INTR]			= "EINTR",
		[SNP_EXIT_AGAIN]		= "EAGAIN",
		[SNP_EXIT_ERROR]		= "error",
		[SNP_EXIT_OTHER]		= "other exit",
	};

	kvm_static_assert(ARRAY_SIZE(names) == NR_SNP_EXITS);

	return (unsigned int)type < NR_SNP_EXITS ? names[type] : "?";
}

bool snp_exit_is_clean_failure(const struct snp_exit *exit)
{
	return exit->type == SNP_EXIT_FAIL_ENTRY &&
	       (exit->detail == ~0ull || exit->detail == ~0u);
}

void snp_handle_map_gpa_range(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_HYPERCALL);
	TEST_ASSERT(run->hypercall.nr == KVM_HC_MAP_GPA_RANGE,
		    "Wanted MAP_GPA_RANGE (%u), got '%llu'",
		    KVM_HC_MAP_GPA_RANGE, run->hypercall.nr);

	if (run->hypercall.args[2] & KVM_MAP_GPA_RANGE_ENCRYPTED)
		vm_mem_set_private(vcpu->vm, run->hypercall.args[0],
				   run->hypercall.args[1] * PAGE_SIZE);
	else
		vm_mem_set_shared(vcpu->vm, run->hypercall.args[0],
				  run->hypercall.args[1] * PAGE_SIZE);

	run->hypercall.ret = 0;
}

void snp_send_nmi(struct kvm_vm *vm, u32 vcpu_id)
{
	struct kvm_msi msi = {
		.address_lo = APIC_DEFAULT_GPA | vcpu_id << 12,
		.data = APIC_DM_NMI,
	};
	int r = __vm_ioctl(vm, KVM_SIGNAL_MSI, &msi);

	TEST_ASSERT(r >= 0, KVM_IOCTL_ERROR(KVM_SIGNAL_MSI, r));
}
