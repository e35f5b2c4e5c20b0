// SPDX-License-Identifier: GPL-2.0-only
/*
 * A refused VMRUN (EXITCODE -1) leaves the VMCB as it is, but for what #VMEXIT
 * reports: no guest ran, so there is no guest state to save, and above all
 * VINTR control (060h) stays, or a later good VMRUN runs without
 * V_INTR_MASKING and never takes the host's interrupts.
 *
 * Needs kvm_amd loaded, which sets EFER.SVME and VM_HSAVE_PA.  Loading fails
 * with -ECANCELED after the report on purpose: there is nothing to keep.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <asm/svm.h>

#define SAVE_PATTERN	0xa5
#define INT_CTL		(V_INTR_MASKING_MASK | 0x5)

static void refused_vmrun(struct vmcb *vmcb)
{
	memset(&vmcb->save, SAVE_PATTERN, sizeof(vmcb->save));
	vmcb->control.intercepts[INTERCEPT_VMRUN / 32] |= BIT(INTERCEPT_VMRUN % 32);
	vmcb->control.int_ctl = INT_CTL;
	vmcb->control.event_inj = 0x123;
	vmcb->control.asid = 0;		/* APM 15.5.1: illegal */

	asm volatile("clgi\n\t"
		     "vmrun %%rax\n\t"
		     "stgi"
		     : : "a" (__pa(vmcb)) : "memory", "cc");
}

static int __init svm_probe_init(void)
{
	struct vmcb *vmcb = (void *)get_zeroed_page(GFP_KERNEL);
	unsigned long flags;

	if (!vmcb)
		return -ENOMEM;
	local_irq_save(flags);
	refused_vmrun(vmcb);
	local_irq_restore(flags);

	pr_info("svm_probe: exit code %s\n",
		(s32)vmcb->control.exit_code == -1 ? "-1" : "unexpected");
	pr_info("svm_probe: %s - int_ctl %#x -> %#x\n",
		vmcb->control.int_ctl == INT_CTL ? "ok" : "not ok",
		INT_CTL, vmcb->control.int_ctl);
	pr_info("svm_probe: %s - event_inj 0x123 -> %#x\n",
		vmcb->control.event_inj == 0x123 ? "ok" : "not ok", vmcb->control.event_inj);
	pr_info("svm_probe: %s - save area %s\n",
		memchr_inv(&vmcb->save, SAVE_PATTERN, sizeof(vmcb->save)) ? "not ok" : "ok",
		memchr_inv(&vmcb->save, SAVE_PATTERN, sizeof(vmcb->save)) ?
		"was written" : "is untouched");
	free_page((unsigned long)vmcb);
	return -ECANCELED;
}
module_init(svm_probe_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What a refused VMRUN does to its VMCB");
