// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the words are that a search looks at, see scripts/build-kernel --words.  Compiled
 * in the kernel's own tree, with its own flags; the assembler's output is what counts.
 *
 * A line is NAME SIZE FUNCTION ARGUMENT OFFSET...: the field is that many bytes behind
 * what an argument of a function points to; each further offset is behind what is there.
 * Size 0 is no field: a VM is created (forget all others), or the function sends an IPI.
 */
#include <linux/kvm_host.h>
#include <linux/pagemap.h>
#include "lapic.h"
#include "svm.h"

#define SIZE(_type, _field)	sizeof(((_type *)0)->_field)
#define OF(_type, _field)	offsetof(_type, _field)

#define WORD1(_name, _size, _fn, _arg, _o1)				\
	asm volatile("\n.ascii \"->" _name " %c0 " _fn " " #_arg " %c1\"" :	\
		     : "i" (_size), "i" (_o1))
#define WORD2(_name, _size, _fn, _arg, _o1, _o2)				\
	asm volatile("\n.ascii \"->" _name " %c0 " _fn " " #_arg " %c1 %c2\"" :	\
		     : "i" (_size), "i" (_o1), "i" (_o2))
#define WORD3(_name, _size, _fn, _arg, _o1, _o2, _o3)			\
	asm volatile("\n.ascii \"->" _name " %c0 " _fn " " #_arg " %c1 %c2 %c3\"" : \
		     : "i" (_size), "i" (_o1), "i" (_o2), "i" (_o3))

#define WORD4(_name, _size, _fn, _arg, _o1, _o2, _o3, _o4)		\
	asm volatile("\n.ascii \"->" _name " %c0 " _fn " " #_arg " %c1 %c2 %c3 %c4\"" : \
		     : "i" (_size), "i" (_o1), "i" (_o2), "i" (_o3), "i" (_o4))

#define RUN	"kvm_arch_vcpu_ioctl_run"
#define VCPU(_name, _field)						\
	WORD1(_name, SIZE(struct kvm_vcpu, _field), RUN, 1, OF(struct kvm_vcpu, _field))
#define SVM(_name, _field)						\
	WORD1(_name, SIZE(struct vcpu_svm, _field), RUN, 1, OF(struct vcpu_svm, _field))
#define KVM(_name, _field)						\
	WORD2(_name, SIZE(struct kvm, _field), RUN, 1, OF(struct kvm_vcpu, kvm),	\
	      OF(struct kvm, _field))

/* Of the memslot that a page is looked up in */
#define SLOT(_name, _field)						\
	WORD3(_name, SIZE(struct address_space, _field), "kvm_gmem_get_pfn", 2,	\
	      OF(struct kvm_memory_slot, gmem.file), OF(struct file, f_mapping),	\
	      OF(struct address_space, _field))

#define FOLIO(_nr)							\
	asm volatile("\n.ascii \"->folio %c0 kvm_gmem_get_pfn 2 %c1 %c2 %c3 %c4 %c5\"" : \
		     : "i" (sizeof(struct page)),			\
		       "i" (OF(struct kvm_memory_slot, gmem.file)),	\
		       "i" (OF(struct file, f_mapping)),		\
		       "i" (OF(struct address_space, i_pages.xa_head)),	\
		       "i" (OF(struct xa_node, slots[_nr])),		\
		       "i" (OF(struct folio, page)))

void words(void);
void words(void)
{
	WORD1("new_vm", 0, "kvm_arch_init_vm", 1, 0);
	WORD1("ipi", 0, "native_smp_send_reschedule", 1, 0);
	WORD1("ipi", 0, "native_send_call_func_single_ipi", 1, 0);
	WORD1("ipi", 0, "native_send_call_func_ipi", 1, 0);
	VCPU("requests", requests);
	VCPU("mode", mode);
	VCPU("mp_state", arch.mp_state);
	VCPU("preempted", preempted);
	VCPU("wait", wait);
	SVM("mutex", sev_es.snp_vmsa_mutex);
	SVM("pending_gpa", sev_es.snp_pending_vmsa_gpa);
	SVM("guest_gpa", sev_es.snp_guest_vmsa_gpa);
	SVM("waiting", sev_es.snp_ap_waiting_for_reset);
	WORD2("vmsa_pa", SIZE(struct vmcb, control.vmsa_pa), RUN, 1,
	      OF(struct vcpu_svm, vmcb), OF(struct vmcb, control.vmsa_pa));
	WORD2("init_sipi", SIZE(struct kvm_lapic, pending_events), RUN, 1,
	      OF(struct kvm_vcpu, arch.apic), OF(struct kvm_lapic, pending_events));
	KVM("seq", mmu_invalidate_seq);
	KVM("in_progress", mmu_invalidate_in_progress);
	KVM("range_start", mmu_invalidate_range_start);
	KVM("range_end", mmu_invalidate_range_end);
	KVM("mmu_lock", mmu_lock);
	KVM("memslots", memslots);
	/* The file is small enough for its pages to be in one node. */
	WORD4("pages", 16 * sizeof(void *), "kvm_gmem_get_pfn", 2,
	      OF(struct kvm_memory_slot, gmem.file), OF(struct file, f_mapping),
	      OF(struct address_space, i_pages.xa_head), OF(struct xa_node, slots));
	SLOT("invalidate_lock", invalidate_lock);
	WORD2("file_ref", sizeof(file_ref_t), "kvm_gmem_get_pfn", 2,
	      OF(struct kvm_memory_slot, gmem.file), OF(struct file, f_ref));
	/* The pages that are there when the round begins: flags, lock, references */
	FOLIO(0); FOLIO(1); FOLIO(2); FOLIO(3); FOLIO(4); FOLIO(5); FOLIO(6); FOLIO(7);
	FOLIO(8); FOLIO(9); FOLIO(10); FOLIO(11); FOLIO(12); FOLIO(13); FOLIO(14); FOLIO(15);
	/* What the scenario is about, as a whole: to say where an access was. */
	WORD1("@vcpu", sizeof(struct vcpu_svm), RUN, 1, 0);
	WORD2("@vmcb", sizeof(struct vmcb), RUN, 1, OF(struct vcpu_svm, vmcb), 0);
	WORD2("@lapic", sizeof(struct kvm_lapic), RUN, 1, OF(struct kvm_vcpu, arch.apic), 0);
	WORD2("@kvm", sizeof(struct kvm_svm), RUN, 1, OF(struct kvm_vcpu, kvm), 0);
	WORD1("@slot", sizeof(struct kvm_memory_slot), "kvm_gmem_get_pfn", 2, 0);
	WORD2("@file", sizeof(struct file), "kvm_gmem_get_pfn", 2,
	      OF(struct kvm_memory_slot, gmem.file), 0);
	WORD3("@inode", sizeof(struct inode), "kvm_gmem_get_pfn", 2,
	      OF(struct kvm_memory_slot, gmem.file), OF(struct file, f_inode), 0);
	WORD4("@page_tree", sizeof(struct xa_node), "kvm_gmem_get_pfn", 2,
	      OF(struct kvm_memory_slot, gmem.file), OF(struct file, f_mapping),
	      OF(struct address_space, i_pages.xa_head), 0);
	WORD1("slot_file", sizeof(void *), "kvm_gmem_get_pfn", 2,
	      OF(struct kvm_memory_slot, gmem.file));
}
