// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does the machine under a Linux SNP host refuse what it must?
 *
 * The module issues the hypervisor's SNP instructions itself, on pages it
 * owns, and holds result, RMP entry and fault against the rules of
 * emulator/README.md; it needs no firmware and no guest, and would give the
 * same answers on silicon.  It has its own instruction wrappers because the
 * kernel's retry (FAIL_OVERLAP, for ever) and are not exported everywhere.
 *
 *   write "all"    /proc/snp_probe   run all cases that leave the host sane
 *   read  /proc/snp_probe            KTAP of what was run last
 *   write "inuse"  /proc/snp_probe   wait for a running guest's VMSA and try to
 *                                    take its page
 *   write "oops"   /proc/snp_probe   store to an assigned page: the host dies
 *
 * A page that is left assigned lies in a block of 2 MB of the module's own: the
 * direct map may cover it with one leaf, through which a write to any of its
 * neighbours faults (HOST-05).  What the cases make immutable only the firmware
 * could give back; that block is not freed.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_buf.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <asm/asm.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/pgtable.h>

#define PROBE_RMP_BASE		0xc0010132
#define PROBE_RMP_END		0xc0010133
#define PROBE_SYSCFG		0xc0010010
#define PROBE_SYSCFG_MFDM	BIT_ULL(19)
#define PROBE_HSAVE		0xc0010117
#define PROBE_GHCB		0xc0010130

#define RMP_BOOKKEEPING		0x4000
#define RAW_ASSIGNED		BIT_ULL(0)
#define RAW_2M			BIT_ULL(1)
#define RAW_IMMUTABLE		BIT_ULL(2)
#define RAW_VMSA		BIT_ULL(61)
#define RAW_VALIDATED		BIT_ULL(62)
#define RAW_IN_USE		GENMASK_ULL(63, 52)

/* An ASID no guest has: KVM hands them out from 1 */
#define PROBE_ASID		97
#define PROBE_GPA		0x123456000ull

struct rmp_operand {
	u64 gpa;
	u8 assigned;
	u8 pagesize;
	u8 immutable;
	u8 rsvd;
	u32 asid;
} __packed;

static u64 *raw;			/* entry of page 0 */
static u64 raw_pages;
static char text[8192];
static struct seq_buf out;
static int nr;

/* ---- instructions ---- */

static int insn_rmpupdate(u64 pa, const struct rmp_operand *op)
{
	int rc;

	asm volatile(".byte 0xf2, 0x0f, 0x01, 0xfe"
		     : "=a" (rc) : "a" (pa), "c" (op) : "memory", "cc");
	return rc;
}

static int insn_psmash(u64 pa)
{
	int rc;

	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xff"
		     : "=a" (rc) : "a" (pa) : "memory", "cc");
	return rc;
}

/* VMRUN and VMSAVE on a page; true if they fault */
static bool vmrun_faults(u64 pa)
{
	bool fault = true;

	asm volatile("clgi\n"
		     "1: vmrun %%rax\n"
		     "movb $0, %0\n"
		     "2: stgi\n"
		     _ASM_EXTABLE(1b, 2b)
		     : "+m" (fault) : "a" (pa) : "memory", "cc");
	return fault;
}

static bool vmsave_faults(u64 pa)
{
	bool fault = true;

	asm volatile("1: vmsave %%rax\n"
		     "movb $0, %0\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : "+m" (fault) : "a" (pa) : "memory", "cc");
	return fault;
}

static int assign(u64 pa, bool huge, bool immutable, u32 asid)
{
	struct rmp_operand op = {
		.gpa = huge ? ALIGN_DOWN(PROBE_GPA, PMD_SIZE) : PROBE_GPA,
		.assigned = 1, .pagesize = huge, .immutable = immutable,
		.asid = asid,
	};

	if (!asid)
		op.gpa = 0;
	return insn_rmpupdate(pa, &op);
}

static int unassign(u64 pa, bool huge)
{
	struct rmp_operand op = { .pagesize = huge };

	return insn_rmpupdate(pa, &op);
}

/* ---- what is seen ---- */

static u64 entry(u64 pa)
{
	return READ_ONCE(raw[2 * (pa >> PAGE_SHIFT)]);
}

static bool write_faults(void *va)
{
	bool fault = true;

	asm volatile("1: movq $0x5a5a5a5a, (%1)\n"
		     "movb $0, %0\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : "+m" (fault) : "r" (va) : "memory");
	return fault;
}

static bool read_faults(void *va)
{
	u64 v;

	return copy_from_kernel_nofault(&v, va, sizeof(v)) != 0;
}

static unsigned int leaf_level(void *va)
{
	unsigned int level = 0;

	return lookup_address((unsigned long)va, &level) ? level : PG_LEVEL_NONE;
}

static void result(bool ok, const char *name)
{
	seq_buf_printf(&out, "%sok %d - %s\n", ok ? "" : "not ", ++nr, name);
}

static void result_rc(int want, int got, const char *name)
{
	if (want != got)
		seq_buf_printf(&out, "# %s: want %d, got %d\n", name, want, got);
	result(want == got, name);
}

/* ---- cases ---- */

static void probe_4k(u8 *block, u64 pa)
{
	u8 *va = block + 3 * PAGE_SIZE;
	u64 e;

	pa += 3 * PAGE_SIZE;
	result_rc(0, assign(pa, false, false, PROBE_ASID), "RMPUPDATE-17 assign 4K");
	e = entry(pa);
	result((e & RAW_ASSIGNED) && !(e & (RAW_VMSA | RAW_VALIDATED)) &&
	       (e & GENMASK_ULL(50, 12)) == PROBE_GPA &&
	       ((e >> 51) & 0x3ff) == PROBE_ASID, "RAW-01 entry reads back");
	result(((entry(pa - 3 * PAGE_SIZE) >> 3) & 0x1ff) == 1,
	       "RAW-03 base entry counts the page");
	result(write_faults(va), "HOST-01 write to an assigned page faults");
	result(!read_faults(va), "HOST-02 read of an assigned page passes");
	if (leaf_level(va) == PG_LEVEL_2M) {
		result(write_faults(va + PAGE_SIZE),
		       "HOST-05 write to a neighbour through a 2M leaf faults");
	} else {
		result(!write_faults(va + PAGE_SIZE),
		       "HOST-05 write to a neighbour through a 4K leaf passes");
	}
	result_rc(4, assign(ALIGN_DOWN(pa, PMD_SIZE), true, false, PROBE_ASID),
		  "RMPUPDATE-11 2M over an assigned 4K");
	result(vmsave_faults(pa), "VMSAVE-01 VMSAVE to an assigned page");
	result(vmrun_faults(pa), "VMRUN-01 VMRUN of an assigned page");
	result(wrmsrq_safe(PROBE_HSAVE, pa) != 0, "MSR-HSAVE-02 HSAVE on an assigned page");
	result_rc(0, unassign(pa, false), "RMPUPDATE-17 unassign 4K");
	result(!entry(pa), "RMPUPDATE-22 unassigned entry is empty");
	result(!write_faults(va), "HOST-01 write to a hypervisor page passes");
	result(!write_faults(va + PAGE_SIZE), "HOST-05 neighbour is writable again");
}

static void probe_2m(u8 *block, u64 pa)
{
	result_rc(1, assign(pa + PAGE_SIZE, true, false, PROBE_ASID),
		  "RMPUPDATE-04 2M at a 4K address");
	result_rc(0, assign(pa, true, false, PROBE_ASID), "RMPUPDATE-23 assign 2M");
	result((entry(pa) & (RAW_ASSIGNED | RAW_2M)) == (RAW_ASSIGNED | RAW_2M) &&
	       (entry(pa + 7 * PAGE_SIZE) & RAW_ASSIGNED),
	       "RMPUPDATE-23 base and sub-entries");
	result(write_faults(block + 100 * PAGE_SIZE), "HOST-01 write into a 2M page faults");
	result_rc(4, assign(pa, false, false, PROBE_ASID), "RMPUPDATE-09 4K over a 2M base");
	result_rc(4, assign(pa + 5 * PAGE_SIZE, false, false, PROBE_ASID),
		  "RMPUPDATE-10 4K inside a 2M page");
	result_rc(1, insn_psmash(pa + PAGE_SIZE), "PSMASH-02 not 2M aligned");
	result_rc(0, insn_psmash(pa), "PSMASH-06 smash");
	result(!(entry(pa) & RAW_2M) &&
	       (entry(pa + 7 * PAGE_SIZE) & GENMASK_ULL(50, 12)) ==
	       ALIGN_DOWN(PROBE_GPA, PMD_SIZE) + 7 * PAGE_SIZE,
	       "PSMASH-06 entries are 4K with consecutive GPAs");
	result_rc(7, insn_psmash(pa), "PSMASH-04 smash twice");
	for (int i = 0; i < PTRS_PER_PMD; i++) {
		if (unassign(pa + i * PAGE_SIZE, false))
			result(false, "RMPUPDATE-17 unassign what was smashed");
	}
	result(!write_faults(block + 100 * PAGE_SIZE), "HOST-01 all of it is writable again");
}

static void probe_refused(u64 pa)
{
	struct rmp_operand op = { .asid = PROBE_ASID };
	u64 base, end;

	result_rc(1, insn_rmpupdate(pa, &op), "RMPUPDATE-05 ASID without Assigned");
	op = (struct rmp_operand){ .immutable = 1 };
	result_rc(1, insn_rmpupdate(pa, &op), "RMPUPDATE-05 Immutable without Assigned");
	op = (struct rmp_operand){ .assigned = 1, .asid = PROBE_ASID, .gpa = 0x1800 };
	result_rc(1, insn_rmpupdate(pa, &op), "RMPUPDATE-06 GPA not aligned");
	result_rc(1, assign(raw_pages << PAGE_SHIFT, false, false, PROBE_ASID),
		  "RMPUPDATE-07 page without an entry");

	/* Only the firmware could undo this one */
	result_rc(0, assign(pa, false, true, 0), "RMPUPDATE-25 make a firmware page");
	result((entry(pa) & (RAW_ASSIGNED | RAW_IMMUTABLE)) ==
	       (RAW_ASSIGNED | RAW_IMMUTABLE), "FWPAGE-05 entry");
	result_rc(2, unassign(pa, false), "RMPUPDATE-08 immutable page");
	result(write_faults(__va(pa)), "HOST-10 write to a firmware page faults");

	rdmsrq(PROBE_RMP_BASE, base);
	rdmsrq(PROBE_RMP_END, end);
	result_rc(2, unassign(base, false), "GEOM-07 the RMP's own page");
	result_rc(2, unassign(ALIGN(end, PMD_SIZE) - PAGE_SIZE, false),
		  "GEOM-08 page beside the RMP in its 2M region");
}

static void probe_msrs(void)
{
	u64 v, w;

	rdmsrq(PROBE_RMP_BASE, v);
	result(wrmsrq_safe(PROBE_RMP_BASE, v + PMD_SIZE) != 0, "SYSCFG-06 RMP_BASE is locked");
	rdmsrq(PROBE_SYSCFG, v);
	result(!wrmsrq_safe(PROBE_SYSCFG, v ^ PROBE_SYSCFG_MFDM) &&
	       !rdmsrq_safe(PROBE_SYSCFG, &w) && v == w, "SYSCFG-04 SYSCFG ignores writes");
	result(wrmsrq_safe(MSR_MTRRfix64K_00000, 0) != 0, "SYSCFG-05 fixed MTRRs are locked");
	result(rdmsrq_safe(PROBE_GHCB, &v) != 0, "EXIT-13 no GHCB MSR in the host");
	result(wrmsrq_safe(PROBE_HSAVE, 0x800) != 0, "MSR-HSAVE-01 HSAVE not page aligned");
}

/* In-use marks come and go with VMRUN: look until one stands still enough. */
static void probe_inuse(void)
{
	unsigned long end = jiffies + 100 * HZ;

	do {
		for (u64 i = 0; i < raw_pages; i++) {
			u64 before = READ_ONCE(raw[2 * i]), after;
			int rc;

			if (!(before & RAW_ASSIGNED) || (before & RAW_IN_USE) != RAW_IN_USE)
				continue;
			rc = unassign(i << PAGE_SHIFT, false);
			after = READ_ONCE(raw[2 * i]);
			if (rc != 3) {
				/* It left the guest in between; a lost VMSA is our own doing */
				seq_buf_printf(&out, "# entry %llx: rc %d\n", before, rc);
				continue;
			}
			result(true, "RMPUPDATE-13 page of a running guest's VMSA");
			result((after & ~RAW_IN_USE) == (before & ~RAW_IN_USE),
			       "INUSE-04 entry unchanged but for the mark");
			return;
		}
		cond_resched();
	} while (time_before(jiffies, end));
	result(false, "RMPUPDATE-13 page of a running guest's VMSA");
}

static struct page *alloc_block(void)
{
	return alloc_pages(GFP_KERNEL | __GFP_ZERO, PMD_SHIFT - PAGE_SHIFT);
}

static void probe_all(void)
{
	struct page *block = alloc_block(), *lost = alloc_block();

	seq_buf_init(&out, text, sizeof(text));
	nr = 0;
	seq_buf_puts(&out, "KTAP version 1\n");
	if (!block || !lost) {
		result(false, "memory for the probe");
	} else {
		probe_4k(page_address(block), page_to_phys(block));
		probe_2m(page_address(block), page_to_phys(block));
		probe_refused(page_to_phys(lost));
		probe_msrs();
	}
	if (block)
		__free_pages(block, PMD_SHIFT - PAGE_SHIFT);
	seq_buf_printf(&out, "1..%d\n", nr);
}

static int probe_show(struct seq_file *m, void *v)
{
	seq_write(m, text, seq_buf_used(&out));
	return 0;
}

static int probe_open(struct inode *inode, struct file *file)
{
	return single_open(file, probe_show, NULL);
}

static ssize_t probe_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char what[8] = "";

	if (len >= sizeof(what) || copy_from_user(what, buf, len))
		return -EINVAL;
	if (!strncmp(what, "all", 3)) {
		probe_all();
	} else if (!strncmp(what, "inuse", 5)) {
		seq_buf_init(&out, text, sizeof(text));
		nr = 0;
		seq_buf_puts(&out, "KTAP version 1\n");
		probe_inuse();
		seq_buf_printf(&out, "1..%d\n", nr);
	} else if (!strncmp(what, "oops", 4)) {
		struct page *page = alloc_block();

		if (!page || assign(page_to_phys(page), false, false, PROBE_ASID))
			return -EIO;
		WRITE_ONCE(*(u64 *)page_address(page), 1);
	} else {
		return -EINVAL;
	}
	return len;
}

static const struct proc_ops probe_ops = {
	.proc_open	= probe_open,
	.proc_read	= seq_read,
	.proc_lseek	= seq_lseek,
	.proc_release	= single_release,
	.proc_write	= probe_write,
};

static int __init probe_init(void)
{
	u64 base, end;

	if (rdmsrq_safe(PROBE_RMP_BASE, &base) || rdmsrq_safe(PROBE_RMP_END, &end) || !base)
		return -ENODEV;
	raw = memremap(base + RMP_BOOKKEEPING, end + 1 - base - RMP_BOOKKEEPING, MEMREMAP_WB);
	if (!raw)
		return -ENOMEM;
	raw_pages = (end + 1 - base - RMP_BOOKKEEPING) / 16;
	seq_buf_init(&out, text, sizeof(text));
	if (!proc_create("snp_probe", 0600, NULL, &probe_ops)) {
		memunmap(raw);
		return -ENOMEM;
	}
	return 0;
}

static void __exit probe_exit(void)
{
	remove_proc_entry("snp_probe", NULL);
	memunmap(raw);
}

module_init(probe_init);
module_exit(probe_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("SNP rules as seen by a hypervisor");
