// SPDX-License-Identifier: GPL-2.0-only
/*
 * Convert the VMSA page of a running CPU of this SNP guest to shared.
 *
 *     insmod vmsa_convert.ko [cpu=1] how=raw|decrypted
 *
 * A guest may ask for that with any of its pages.  A host that punches converted
 * pages out of guest_memfd then takes the VMSA away while a CPU runs on it.
 *
 * raw: the page state change alone, by the GHCB's MSR protocol.  decrypted:
 * set_memory_decrypted(), as drivers do, which rescinds the page's validation first.
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/set_memory.h>
#include <asm/msr.h>
#include <asm/sev.h>

#define pr_said(fmt, ...)	pr_info("vmsa_convert: " fmt, ##__VA_ARGS__)

static int cpu = 1;
module_param(cpu, int, 0444);
static char *how = "raw";
module_param(how, charp, 0444);

static unsigned long beats;

/* Keep the CPU in the guest: it neither sleeps nor exits, but for its timer. */
static int count(void *unused)
{
	while (!kthread_should_stop()) {
		WRITE_ONCE(beats, beats + 1);
		if (need_resched())
			cond_resched();
	}
	return 0;
}

/* sev_vmsa is not exported, nor is the function that finds it. */
static void *find_vmsa(void)
{
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *name);
	unsigned long sym;
	int ret;

	ret = register_kprobe(&kp);
	if (ret)
		return ERR_PTR(ret);
	lookup = (void *)kp.addr;
	unregister_kprobe(&kp);

	sym = lookup("sev_vmsa");
	if (!sym)
		return ERR_PTR(-ENOENT);
	return *per_cpu_ptr((void * __percpu *)sym, cpu);
}

static u64 page_state_change(phys_addr_t gpa, u64 op)
{
	unsigned long flags;
	u64 ghcb, val;

	/* An interrupt's #VC would use the MSR. */
	local_irq_save(flags);
	rdmsrq(MSR_AMD64_SEV_ES_GHCB, ghcb);
	wrmsrq(MSR_AMD64_SEV_ES_GHCB, GHCB_MSR_PSC_REQ_GFN(gpa >> PAGE_SHIFT, op));
	VMGEXIT();
	rdmsrq(MSR_AMD64_SEV_ES_GHCB, val);
	wrmsrq(MSR_AMD64_SEV_ES_GHCB, ghcb);
	local_irq_restore(flags);
	return val;
}

static int __init vmsa_convert_init(void)
{
	struct task_struct *counter;
	unsigned long before;
	void *vmsa;
	u64 ret;

	if (!cc_platform_has(CC_ATTR_GUEST_SEV_SNP)) {
		pr_said("this is no SNP guest\n");
		return -ENODEV;
	}
	if (cpu <= 0 || cpu >= nr_cpu_ids || !cpu_online(cpu)) {
		pr_said("cpu=%d is no CPU that AP Creation has started\n", cpu);
		return -EINVAL;
	}
	if (strcmp(how, "raw") && strcmp(how, "decrypted")) {
		pr_said("how= is raw or decrypted\n");
		return -EINVAL;
	}
	vmsa = find_vmsa();
	if (IS_ERR_OR_NULL(vmsa) || !virt_addr_valid(vmsa) || !PAGE_ALIGNED(vmsa)) {
		pr_said("no VMSA of CPU %d to be found: %pe\n", cpu, vmsa);
		return -ENXIO;
	}

	/* CPU 0 has its VMSA from the launch, and does the rest. */
	ret = set_cpus_allowed_ptr(current, cpumask_of(0));
	if (ret)
		return ret;
	counter = kthread_create_on_cpu(count, NULL, cpu, "vmsa_count/%u");
	if (IS_ERR(counter))
		return PTR_ERR(counter);
	wake_up_process(counter);
	while (!READ_ONCE(beats))
		msleep(20);

	pr_said("CPU %d runs on the VMSA at GPA 0x%llx; convert it to shared by %s\n",
		cpu, (u64)virt_to_phys(vmsa), !strcmp(how, "raw") ?
		"a raw page state change" : "set_memory_decrypted()");
	/* Have that on a slow console before anything else happens. */
	msleep(5000);
	if (!strcmp(how, "raw"))
		ret = page_state_change(virt_to_phys(vmsa), SNP_PAGE_STATE_SHARED);
	else
		ret = set_memory_decrypted((unsigned long)vmsa, 1);
	before = READ_ONCE(beats);
	pr_said("the host's answer is 0x%llx\n", ret);

	msleep(1000);
	pr_said("a second later CPU %d %s\n", cpu,
		READ_ONCE(beats) == before ? "stands still" : "runs on");

	/* Of no use any more, whatever became of it. */
	__module_get(THIS_MODULE);
	return 0;
}
module_init(vmsa_convert_init);

MODULE_DESCRIPTION("Convert the VMSA page of a running CPU to shared");
MODULE_LICENSE("GPL");
