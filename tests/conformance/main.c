/*
 * Results and the platform's start.
 *
 * KTAP goes to the first serial port: one line per rule, after all of its
 * checks, wherever they were made; a check that fails is told at once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

/* ---- results ---- */

#define MAX_RULES       320

static struct rule {
    const char *id, *what;
    unsigned checks, failed;
} rules[MAX_RULES];
static unsigned nr_rules;

static bool equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++, b++;
    }
    return *a == *b;
}

void check(const char *rule, uint64_t got, uint64_t want, const char *what)
{
    struct rule *r = rules;

    while (r < rules + nr_rules && !equal(r->id, rule)) {
        r++;
    }
    if (r == rules + nr_rules) {
        if (nr_rules == MAX_RULES) {
            bail("too many rules", nr_rules);
        }
        nr_rules++;
        r->id = rule;
        r->what = what;
    }
    r->checks++;
    if (got != want) {
        r->failed++;
        print("# ");
        print(rule);
        print(": ");
        print(what);
        print(": got 0x");
        print_number(got, 16);
        print(", expected 0x");
        print_number(want, 16);
        print("\n");
    }
}

void report(void)
{
    unsigned i;

    for (i = 0; i < nr_rules; i++) {
        print(rules[i].failed ? "not ok " : "ok ");
        print_number(i + 1, 10);
        print(" ");
        print(rules[i].id);
        print(" ");
        print(rules[i].what);
        print(" (");
        if (rules[i].failed) {
            print_number(rules[i].failed, 10);
            print(" failed of ");
        }
        print_number(rules[i].checks, 10);
        print(rules[i].checks == 1 ? " check)\n" : " checks)\n");
    }
    print("1..");
    print_number(nr_rules, 10);
    print("\n");
}

/* ---- helpers ---- */

uint64_t fresh(void)
{
    static unsigned next = 1;       /* not 2 MB aligned: HOST-08 */

    if (next == 512) {
        bail("no page left in", POOL);
    }
    return POOL + next++ * K4;
}

struct fault touch(const void *code, uint64_t addr)
{
    struct regs r = { .rax = 0x1234567890abcdef, .rdx = 1, .rsi = addr,
                      .rdi = addr, .rcx = 8 };

    attempt(&r, code);
    return r.fault;
}

unsigned update(uint64_t spa, const struct rmp_state *state)
{
    struct regs r = { .rax = spa, .rcx = (uint64_t)state };

    attempt(&r, i_rmpupdate);
    if (r.fault.vector != NONE) {
        bail("RMPUPDATE faults with vector", r.fault.vector);
    }
    return r.rax;
}

unsigned psmash(uint64_t spa)
{
    struct regs r = { .rax = spa };

    attempt(&r, i_psmash);
    if (r.fault.vector != NONE) {
        bail("PSMASH faults with vector", r.fault.vector);
    }
    return r.rax;
}

unsigned release(uint64_t spa, bool large)
{
    return rmpupdate(spa, 0, false, large, false, 0);
}

bool wrmsr_faults(uint32_t msr, uint64_t value)
{
    struct regs r = { .rcx = msr, .rax = (uint32_t)value, .rdx = value >> 32 };

    attempt(&r, i_wrmsr);
    return r.fault.vector == GP;
}

bool rdmsr_faults(uint32_t msr, uint64_t *value)
{
    struct regs r = { .rcx = msr };

    attempt(&r, i_rdmsr);
    *value = r.rdx << 32 | (uint32_t)r.rax;
    return r.fault.vector == GP;
}

void flush_tlb(void)
{
    touch(i_flush, 0);
}

/* ---- the platform ---- */

static struct {
    uint32_t count, reserved;
    struct { uint64_t base; uint32_t pages, reserved; } range[1];
} ranges __attribute__((aligned(4096)));

static void enable_snp(uint64_t cpu)
{
    wrmsr(MSR_SYSCFG, rdmsr(MSR_SYSCFG) | SYSCFG_MFDM);
    wrmsr(MSR_SYSCFG, rdmsr(MSR_SYSCFG) | SYSCFG_SNP_EN | SYSCFG_VMPL_EN);
    wrmsr(MSR_VM_HSAVE_PA, 0);
    (void)cpu;
}

/* What the host needs of SEV-ES's type B state is in the save area */
static void set_hsave(uint64_t cpu)
{
    memset((void *)HSAVE(cpu), 0, K4);
    attempt(&(struct regs) { .rax = HSAVE(cpu) }, i_vmsave);
    F64(HSAVE(cpu) + V_SAVE, S_XCR0) = 1;
    wrmsr(MSR_VM_HSAVE_PA, HSAVE(cpu));
}

static void do_wbinvd(uint64_t cpu)
{
    wbinvd();
    (void)cpu;
}

static void on_both(void (*fn)(uint64_t))
{
    cpu_run(1, fn, 1);
    fn(0);
    cpu_wait(1);
}

static void must(unsigned status, const char *what)
{
    if (status) {
        bail(what, status);
    }
}

void start_snp(void)
{
    /* In segments there is no end, and the firmware clears them */
    if (rdmsr(MSR_RMP_END) > rdmsr(MSR_RMP_BASE)) {
        memset((void *)rdmsr(MSR_RMP_BASE), 0,
               rdmsr(MSR_RMP_END) + 1 - rdmsr(MSR_RMP_BASE));
    }
    enable_snp(0);

    memset((void *)DEVTAB, 0, K4);
    mmio_write64(IOMMU_BASE + 0x00, DEVTAB);
    mmio_write64(IOMMU_BASE + 0x08, IOMMU_COMMANDS | 8ull << 56);
    mmio_write64(IOMMU_BASE + 0x10, EVENT_LOG | 8ull << 56);
    mmio_write64(IOMMU_BASE + 0x20, STORE);
    mmio_write64(IOMMU_BASE + 0x28, STORE);
    mmio_write64(IOMMU_BASE + 0x18, 1 | 1 << 2 | 1 << 12);
    ranges.count = 1;
    ranges.range[0].base = HV_FIXED;
    ranges.range[0].pages = 1;
    check("SYSCFG-08", COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), CONFIG,
          "SNP_INIT_EX while a processor has neither SNP_EN nor MFDM");
    cpu_run(1, enable_snp, 1);
    cpu_wait(1);
    must(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), "SNP_INIT_EX");
    on_both(do_wbinvd);
    must(command_at(SNP_DF_FLUSH, 0), "SNP_DF_FLUSH");
    on_both(set_hsave);
}

int main(void);
int main(void)
{
    machine_init();
    print("KTAP version 1\n");
    start_cpu(1);
    tests();
    leave();
}
