// SPDX-License-Identifier: GPL-2.0-only
/*
 * Take the write of DR7 out of this kernel, for kexec.
 *
 * machine_kexec() resets DR7 when an SNP guest has given away its GHCBs.  Where the
 * host intercepts that, i.e. without DebugSwap, it is a #VC that nobody can handle, and
 * the end: docs/findings/guest-kexec-dr7.md.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/mutex.h>

static unsigned long (*lookup)(const char *name);

static int __init kexec_dr7_init(void)
{
	static const u8 write_dr7[] = { 0x0f, 0x23, 0xf8 }, nop[] = { 0x0f, 0x1f, 0x00 };
	void *(*poke)(void *addr, const void *opcode, size_t len);
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };
	struct mutex *text_mutex;
	u8 *insn;
	int ret, i;

	ret = register_kprobe(&kp);
	if (ret)
		return ret;
	lookup = (void *)kp.addr;
	unregister_kprobe(&kp);

	insn = (void *)lookup("pv_native_set_debugreg");
	poke = (void *)lookup("text_poke");
	text_mutex = (void *)lookup("text_mutex");
	if (!insn || !poke || !text_mutex)
		return -ENOENT;

	/* Whichever register it is written from. */
	for (i = 0; i < 128; i++, insn++) {
		if (insn[0] != write_dr7[0] || insn[1] != write_dr7[1] ||
		    (insn[2] & 0xf8) != write_dr7[2])
			continue;
		mutex_lock(text_mutex);
		poke(insn, nop, sizeof(nop));
		mutex_unlock(text_mutex);
		pr_info("kexec_dr7: DR7 is not written any more\n");
		return 0;
	}
	return -ENXIO;
}
module_init(kexec_dr7_init);

MODULE_DESCRIPTION("Take the write of DR7 out of the kernel");
MODULE_LICENSE("GPL");
