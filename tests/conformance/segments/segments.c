/*
 * RST-01 .. RST-06: an RMP in segments, as a Zen 5 may have it.  The BIOS's
 * table is looked at, and then another one takes its place, whose only segment
 * lies elsewhere.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define MSR_RMP_CFG     0xc0010136
#define CFG(shift)      (1ull | (uint64_t)(shift) << 8)
#define GIB             (1ull << 30)
#define SEGMENT         0x5000000ull    /* 4 MB of RAM that nobody uses */
#define ENTRY(spa)      (SEGMENT + ((spa) >> 12) * 16)

static bool snp_en_faults(void)
{
    return wrmsr_faults(MSR_SYSCFG, rdmsr(MSR_SYSCFG) | SYSCFG_SNP_EN);
}

static uint32_t cpuid_reg(uint32_t leaf, unsigned reg)
{
    uint32_t r[4];

    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                 : "0"(leaf), "2"(0));
    return r[reg];
}

static void registers(void)
{
    check("CPUID-08", cpuid_reg(0x8000001f, 0) >> 23 & 1, 1, "segments");
    check("CPUID-08", cpuid_reg(0x80000025, 0), 39 << 6 | 30, "their sizes");
    check("CPUID-08", cpuid_reg(0x80000025, 1), 1 << 10 | 64, "their number");
    check("RST-01", rdmsr(MSR_RMP_CFG), CFG(30), "what the BIOS has chosen");
    check("RST-01", wrmsr_faults(MSR_RMP_CFG, CFG(30) | 2), true, "bit 1");
    check("RST-01", wrmsr_faults(MSR_RMP_CFG, CFG(64)), true, "bit 14");
    check("RST-01", wrmsr_faults(MSR_RMP_CFG, CFG(29)), true, "too small");
    check("RST-01", wrmsr_faults(MSR_RMP_CFG, CFG(40)), true, "too large");
    check("RST-01", wrmsr_faults(MSR_RMP_CFG, CFG(39)), false, "the largest");
    wrmsr(MSR_RMP_CFG, CFG(30));
    check("RST-06", rdmsr(MSR_RMP_END) & ~0x1fffull, 0, "RMP_END is 0");
}

static void bad_tables(uint64_t base, uint64_t rst)
{
    uint64_t first = F64(rst, 0);

    check("RST-02", first & 0xfffff, 1, "the BIOS's table covers a GB");
    check("RST-02", F64(rst, 8), 0, "and no more");
    F64(rst, 0) = first | 1ull << 52;
    check("RST-02", snp_en_faults(), true, "an entry with bit 52");
    F64(rst, 0) = 0;
    check("RST-02", snp_en_faults(), true, "no segment at all");
    F64(rst, 0) = NOWHERE | 1;
    check("RST-05", snp_en_faults(), true, "a segment where no memory is");
    F64(rst, 0) = first;
    /* nothing but the alignment is wrong with it */
    F64(rst + 0x2000, 0) = first;
    wrmsr(MSR_RMP_BASE, base + 0x2000);
    check("RST-03", snp_en_faults(), true, "a base that is not 1 MB aligned");
    wrmsr(MSR_RMP_BASE, base);
    F64(rst + 0x2000, 0) = 0;
}

void tests(void)
{
    uint64_t base = rdmsr(MSR_RMP_BASE), rst = base + 0x4000, p = fresh();
    struct rmp_state shared = { 0 };

    registers();
    bad_tables(base, rst);
    F64(rst, 0) = SEGMENT | 5;
    memset((void *)SEGMENT, 0, 2 * M2);
    F64(ENTRY(p), 0) = p | 1;
    start_snp();
    check("RST-02", F64(ENTRY(p), 0), 0, "SNP_INIT clears the segment");
    make(p, p, false, false, ASID);
    check("RST-02", F64(ENTRY(p), 0), p | (uint64_t)ASID << 51 | 1,
          "an entry is where the table says");
    check("RST-02", update(GIB - K4, &shared), 0, "the last page");
    check("RST-02", update(GIB, &shared), 1, "5 GB in a segment of 1 GB are 1");
    check("GEOM-07", touch(i_store8, SEGMENT).vector, PF, "a segment");
    check("GEOM-07", touch(i_store8, SEGMENT + 2 * M2 - 8).vector, PF,
          "its end");
    check("GEOM-07", touch(i_store8, rst).vector, PF, "the table of segments");
    check("GEOM-07", touch(i_store8, base).vector, PF, "the bookkeeping");
    check("GEOM-07", touch(i_store8, SEGMENT + 2 * M2).vector, NONE,
          "what is behind");
    check("RST-01", wrmsr_faults(MSR_RMP_CFG, CFG(30)), true, "with SNP_EN");
    check("RST-01", rdmsr(MSR_RMP_CFG), CFG(30), "it can be read");
    report();
}
