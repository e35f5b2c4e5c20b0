/*
 * The hypervisor's side: MSRs, RMPUPDATE, PSMASH, the table, and the host's
 * own accesses.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define HOST_WRITE      0x80000003      /* #PF: RMP, write, present */

#define LO_ASSIGNED     (1ull << 0)
#define LO_2M           (1ull << 1)
#define LO_IMMUTABLE    (1ull << 2)
#define LO_VMSA         (1ull << 61)
#define LO_VALIDATED    (1ull << 62)
#define ENTRY(gpa, asid) ((gpa) | (uint64_t)(asid) << 51 | LO_ASSIGNED)

#define MSR_HWCR        0xc0010015
#define MSR_TOP_MEM     0xc001001a
#define MSR_SMM_KEY     0xc0010119
#define MSR_PAGE_FLUSH  0xc001011e
#define MSR_GHCB        0xc0010130
#define MSR_SEV_STATUS  0xc0010131
#define MSR_MTRRFIX     0x250

static uint64_t cpuid_reg(uint32_t leaf, unsigned reg)
{
    uint32_t r[4];

    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                 : "a"(leaf), "c"(0));
    return r[reg];
}

/* What an attempt ended in, as one number: vector << 32 | error code */
static uint64_t fault_of(const struct fault *f)
{
    return f->vector == NONE ? NONE : f->vector << 32 | f->error;
}

#define FAULT(vector, error)    ((uint64_t)(vector) << 32 | (error))

/* Held for one write access: does it fault as one to an assigned page does? */
static void refused_write(const char *rule, uint64_t va, const char *what)
{
    struct fault f = touch(i_store8, va);

    check(rule, fault_of(&f), FAULT(PF, HOST_WRITE), what);
    check(rule, f.cr2, va, what);
}

static void allowed_write(const char *rule, uint64_t va, const char *what)
{
    struct fault f = touch(i_store8, va);

    check(rule, fault_of(&f), NONE, what);
}

/* ---- before SNP_EN ---- */

static void msrs_before(void)
{
    const uint64_t syscfg = rdmsr(MSR_SYSCFG);
    const uint64_t base = rdmsr(MSR_RMP_BASE), end = rdmsr(MSR_RMP_END);

    check("SYSCFG-01", wrmsr_faults(MSR_SYSCFG, syscfg | 1), true,
          "a reserved bit of SYSCFG");
    check("SYSCFG-01", wrmsr_faults(MSR_SYSCFG, syscfg | 1ull << 40), true,
          "a reserved bit of SYSCFG, high");
    check("SYSCFG-01", wrmsr_faults(MSR_SYSCFG, syscfg | SYSCFG_MFDM), false,
          "MFDM is writable");
    check("SYSCFG-01", rdmsr(MSR_SYSCFG), syscfg | SYSCFG_MFDM,
          "and reads back");
    wrmsr(MSR_SYSCFG, syscfg);
    check("SYSCFG-01", rdmsr(MSR_SYSCFG), syscfg, "both ways");
    wrmsr(MSR_SYSCFG, syscfg & ~(1ull << 23));
    check("SYSCFG-02", rdmsr(MSR_SYSCFG), syscfg, "SMEE cannot be cleared");

    check("GEOM-01", end > base && !(base & 0xfffff) && !((end + 1) & 0xfffff),
          true, "RMP_BASE and RMP_END make a table of whole MB");
    wrmsr(MSR_RMP_BASE, base | 0x1fff);
    check("GEOM-02", rdmsr(MSR_RMP_BASE), base, "RMP_BASE is 8 KB aligned");
    wrmsr(MSR_RMP_END, base - 1);
    check("GEOM-01", wrmsr_faults(MSR_SYSCFG, syscfg | SYSCFG_SNP_EN), true,
          "SNP_EN with RMP_END below RMP_BASE");
    wrmsr(MSR_RMP_END, base + 0x3fff);
    check("GEOM-03", wrmsr_faults(MSR_SYSCFG, syscfg | SYSCFG_SNP_EN), true,
          "SNP_EN with a table of bookkeeping only");
    check("SPA-01", wrmsr_faults(MSR_RMP_END, 1ull << SPA_BITS | 0x1fff), true,
          "an RMP_END that takes more bits than encryption leaves");
    wrmsr(MSR_RMP_END, end);
    check("GEOM-01", rdmsr(MSR_SYSCFG) & SYSCFG_SNP_EN, 0,
          "a refused SNP_EN stays 0");
}

static void insns_before(void)
{
    static struct rmp_state state;
    struct regs r = { .rcx = (uint64_t)&state, .rax = POOL };

    attempt(&r, i_rmpupdate);
    check("INSN-02", r.fault.vector, UD, "RMPUPDATE without SNP_EN");
    attempt(&r, i_psmash);
    check("INSN-02", r.fault.vector, UD, "PSMASH without SNP_EN");
    allowed_write("HOST-01", POOL, "no RMP before SNP_EN");

    /* a VMSA that asks for SNP, on a host that is none */
    wrmsr(MSR_VM_HSAVE_PA, HSAVE(0));
    vmcb_init(0);
    vmsa_fill((uint8_t *)VMSA(0), 0, 0);
    check("VMRUN-12", vmrun(VMCB(0)).code, EXIT_INVALID,
          "SNP_ACTIVE without SNP_EN");
    check("SYSCFG-10", F64(VMCB(0), V_EXIT), EXIT_INVALID,
          "SNP_ACTIVE without SNP_EN");
}

void rules_before_snp(void)
{
    msrs_before();
    insns_before();
}

/* ---- CPUID and MSRs ---- */

static void cpuid_and_msrs(void)
{
    uint64_t v, base = rdmsr(MSR_RMP_BASE), syscfg = rdmsr(MSR_SYSCFG);
    static const uint32_t gone[] = {
        0xc0010134, 0xc0010135, 0xc0010136, 0xc0010138, 0xc001f001, 0xc001f002
    };
    static const char *const rule[] = {
        "MSR-05", "MSR-06", "RST-01", "MSR-06", "MSR-07", "MSR-07"
    };
    unsigned i;

    check("CPUID-01", cpuid_reg(0x8000001f, 0), 0xc7e,
          "SEV, VM_PAGE_FLUSH, ES, SNP, VMPL, RMPQUERY, coherent, 64-bit");
    check("CPUID-02", cpuid_reg(0x8000001f, 1) & 0x3f, 51, "C-bit");
    check("CPUID-02", cpuid_reg(0x8000001f, 1) >> 6 & 0x3f,
          (cpuid_reg(0x80000008, 0) & 0xff) - SPA_BITS,
          "physical address bits that encryption takes");
    check("CPUID-02", cpuid_reg(0x8000001f, 1) >> 12 & 15, 4, "VMPLs");
    check("CPUID-02", cpuid_reg(0x8000001f, 2), 509, "guests");
    check("CPUID-02", cpuid_reg(0x8000001f, 3), 100, "first SEV ASID");
    check("CPUID-04", cpuid_reg(0x8000000a, 1) >=
          cpuid_reg(0x8000001f, 2), true, "ASIDs");
    check("CPUID-04", cpuid_reg(0x8000000a, 3) & 0xcb, 0xcb,
          "NP, LBRV, NRIPS, FlushByAsid, DecodeAssists");
    check("CPUID-07", cpuid_reg(0x80000007, 3) >> 8 & 1, 1, "invariant TSC");

    check("SYSCFG-03", syscfg >> 25 & 1, 1, "VMPL_EN with SNP_EN");
    wrmsr(MSR_SYSCFG, syscfg & ~(1ull << 25));
    check("SYSCFG-03", rdmsr(MSR_SYSCFG), syscfg, "VMPL_EN stays");
    wrmsr(MSR_SYSCFG, 0);
    check("SYSCFG-02", rdmsr(MSR_SYSCFG) & 3ull << 23, 3ull << 23,
          "SMEE and SNP_EN stay");
    check("SYSCFG-04", wrmsr_faults(MSR_SYSCFG, ~0ull), false,
          "SYSCFG ignores any write");
    check("SYSCFG-04", rdmsr(MSR_SYSCFG), syscfg, "and keeps its value");
    check("SYSCFG-05", wrmsr_faults(MSR_MTRRFIX, 0), true, "fixed MTRR");
    check("SYSCFG-05", wrmsr_faults(0x26f, 0), true, "last fixed MTRR");
    check("SYSCFG-05", wrmsr_faults(MSR_TOP_MEM, 0), true, "TOP_MEM");
    check("SYSCFG-05", wrmsr_faults(0xc001001d, 0), true, "TOP_MEM2");
    check("SYSCFG-05", wrmsr_faults(0xc0010016, 0), true, "IORR");
    check("SYSCFG-05", wrmsr_faults(MSR_SMM_KEY, 0), true, "SMM_KEY");
    check("SYSCFG-06", wrmsr_faults(MSR_RMP_BASE, base), true, "RMP_BASE");
    check("SYSCFG-06", wrmsr_faults(MSR_RMP_END, rdmsr(MSR_RMP_END)), true,
          "RMP_END");
    check("EXIT-13", rdmsr_faults(MSR_GHCB, &v), true, "host reads GHCB");
    check("EXIT-13", wrmsr_faults(MSR_GHCB, 0), true, "host writes GHCB");
    check("EXIT-14", wrmsr_faults(MSR_SEV_STATUS, 0), true,
          "SEV_STATUS is read only");
    check("MSR-04", rdmsr_faults(MSR_SEV_STATUS, &v) || v, false,
          "the host's SEV_STATUS is 0");
    wrmsr(MSR_HWCR, 0);
    check("MSR-02", rdmsr(MSR_HWCR) & 1, 1, "SmmLock is sticky");
    check("MSR-03", wrmsr_faults(MSR_PAGE_FLUSH, POOL), true,
          "VM_PAGE_FLUSH of ASID 0");
    check("MSR-03", wrmsr_faults(MSR_PAGE_FLUSH, POOL | ASID), false,
          "VM_PAGE_FLUSH");
    check("MSR-03", wrmsr_faults(MSR_PAGE_FLUSH, 0x7f0000000000 | ASID), true,
          "VM_PAGE_FLUSH of what is not mapped");
    check("MSR-03", rdmsr_faults(MSR_PAGE_FLUSH, &v), true, "is write only");
    for (i = 0; i < 6; i++) {
        check(rule[i], rdmsr_faults(gone[i], &v), true, "absent MSR, read");
        check(rule[i], wrmsr_faults(gone[i], 0), true, "absent MSR, write");
    }

    check("MSR-HSAVE-01", wrmsr_faults(MSR_VM_HSAVE_PA, HSAVE(0) + 8), true,
          "VM_HSAVE_PA not page aligned");
    check("MSR-HSAVE-01", wrmsr_faults(MSR_VM_HSAVE_PA, 1ull << 50), true,
          "VM_HSAVE_PA beyond the address space");
    check("SPA-01", wrmsr_faults(MSR_VM_HSAVE_PA, 1ull << SPA_BITS), true,
          "a VM_HSAVE_PA that takes more bits than encryption leaves");
    check("MSR-HSAVE-01", rdmsr(MSR_VM_HSAVE_PA), HSAVE(0), "and unchanged");
}

/* ---- instructions: faults and flags ---- */

static void user(const char *rule, const void *code, uint64_t want,
                 const char *what)
{
    static struct rmp_state state;
    struct regs r = { .r8 = (uint64_t)code, .rax = POOL,
                      .rcx = (uint64_t)&state };

    attempt(&r, i_user);
    check(rule, r.fault.vector, want, what);
}

static void insns(void)
{
    static struct rmp_state state;
    struct regs r = { .rcx = (uint64_t)&state, .rax = POOL };

    user("INSN-03", i_nop, NONE, "CPL 3 works");
    user("INSN-03", i_rmpupdate, GP, "RMPUPDATE at CPL 3");
    user("RMPUPDATE-01", i_rmpupdate, GP, "faults come first");
    user("PSMASH-01", i_psmash, GP, "faults come first");
    user("INSN-03", i_psmash, GP, "PSMASH at CPL 3");
    user("FWCMD-07", i_wbinvd, GP, "WBINVD at CPL 3");
    user("FWCMD-07", i_invd, GP, "INVD at CPL 3");
    attempt(&r, i_pvalidate);
    check("INSN-05", r.fault.vector, UD, "PVALIDATE in the host");
    attempt(&r, i_rmpadjust);
    check("INSN-05", r.fault.vector, UD, "RMPADJUST in the host");
    attempt(&r, i_rmpquery);
    check("INSN-05", r.fault.vector, UD, "RMPQUERY in the host");
    attempt(&r, i_rmpread);
    check("RMPREAD-02", r.fault.vector, UD, "RMPREAD is absent");
    attempt(&r, i_invlpgb);
    check("INVLPGB-01", r.fault.vector, UD, "INVLPGB is absent");
    attempt(&r, i_tlbsync);
    check("INVLPGB-02", r.fault.vector, UD, "TLBSYNC is absent");
    attempt(&r, i_lock_rmpupdate);
    check("INSN-08", r.fault.vector, UD, "LOCK RMPUPDATE");
    attempt(&r, i_lock_psmash);
    check("INSN-08", r.fault.vector, UD, "LOCK PSMASH");
    attempt(&r, i_rmpadjust32);
    check("INSN-01", r.fault.vector, UD, "RMPADJUST outside 64-bit mode");

    r.rax = ~0ull << 32 | POOL;
    r.rcx = (uint64_t)&state;
    state.reserved = 1;
    attempt(&r, i_rmpupdate);
    check("INSN-06", r.rax, 1, "EAX is the code, the upper half 0");
    check("INSN-06", r.flags & 0x8d5, 0, "flags of 1");
    state.reserved = 0;
    r.rax = POOL;
    attempt(&r, i_rmpupdate);
    check("INSN-06", r.rax, 0, "code 0");
    check("INSN-06", r.flags & 0x8d5, 0x44, "flags of 0: ZF and PF");
    check("INSN-07", r.rax, 0, "codes are numbers of the manual");
}

/* ---- the table ---- */

static void geometry(void)
{
    uint64_t base = rdmsr(MSR_RMP_BASE), end = rdmsr(MSR_RMP_END), e;
    uint64_t covered = (end + 1 - base - 0x4000) / 16 * K4, page = fresh();

    check("GEOM-03", (uint64_t)raw(page), base + 0x4000 + page / K4 * 16,
          "16 bytes per page behind 16 KB");
    make(page, 0x7000, false, false, OTHER_ASID);
    check("GEOM-10", *raw(page), ENTRY(0x7000, OTHER_ASID),
          "memory holds the entry");
    make_shared(page);
    check("GEOM-04", rmpupdate(covered - K4, 0x7000, true, false, false, ASID),
          0, "the last page that is covered");
    release(covered - K4, false);
    check("GEOM-04", rmpupdate(covered, 0x7000, true, false, false, ASID), 1,
          "the first that is not");
    check("GEOM-05", rmpupdate(UNCOVERED, 0, false, false, false, 0), 1,
          "RMPUPDATE of a page without entry");
    e = F32(UNCOVERED, 0x10980);
    F32(UNCOVERED, 0x10694) = 0;
    check("GEOM-05", F32(UNCOVERED, 0x10980), e, "the host writes there");

    check("RAW-05", *raw(base + K4), 0x8000000000000005, "entry of the table");
    check("GEOM-07", *raw(base) & ~0xff8ull, 0x8000000000000005,
          "the table's first page, but for the count");
    check("GEOM-07", *raw(end - K4 + 1), 0x8000000000000005, "its last page");
    refused_write("GEOM-07", base + 0x4000, "host write to the table");
    e = *raw(page);
    check("GEOM-07", e, 0, "host read of the table");
    check("GEOM-07", release(base, false), 2, "RMPUPDATE of the table");
    check("GEOM-08", *raw((end | (M2 - 1)) - K4 + 1), LO_IMMUTABLE,
          "the rest of its 2 MB is HV-fixed");
    check("GEOM-08", release((end | (M2 - 1)) - K4 + 1, false), 2,
          "and stays so");
    check("GEOM-08", release(end & -M2, true), 2, "as 2 MB too");
}

/* fw_cfg's DMA, its signature to @spa: the control word afterwards */
static uint32_t fw_cfg_dma(uint64_t spa)
{
    static volatile struct {
        uint32_t control, length;
        uint64_t address;
    } request __attribute__((aligned(16)));

    request.control = __builtin_bswap32(2 | 8);     /* read from item 0 */
    request.length = __builtin_bswap32(4);
    request.address = __builtin_bswap64(spa);
    outl(0x514, 0);
    outl(0x518, __builtin_bswap32((uint64_t)&request));
    return __builtin_bswap32(request.control);
}

static void dma_without_iommu(void)
{
    uint64_t p = fresh(), base = rdmsr(MSR_RMP_BASE);

    F32(p, 0) = 0;
    check("DMA-04", fw_cfg_dma(p), 0, "fw_cfg writes to a Hypervisor page");
    check("DMA-04", F32(p, 0), 0x554d4551, "its signature");
    check("DMA-04", fw_cfg_dma(base + K4), 1, "not to the RMP");
    check("DMA-04", fw_cfg_dma(CBIT), 1, "not above memory");
    F32(p, 0) = 0;
    check("DMA-04", rmpupdate(p, 0x5000, true, false, false, ASID), 0,
          "a guest's page");
    check("DMA-04", fw_cfg_dma(p), 1, "fw_cfg does not write to it");
    make_shared(p);
    check("DMA-04", F32(p, 0) == 0x554d4551, 0, "nothing was written");
}

static void rmpupdate_4k(void)
{
    uint64_t p = fresh(), q;
    struct rmp_state s = { 0x123456000, 1, 0, 0, 0, OTHER_ASID };
    uint64_t *count = raw(p & -M2);
    uint64_t before = *count >> 3 & 0x1ff;
    unsigned i;
    struct fault f;
    struct regs r;

    check("RMPUPDATE-02", rmpupdate(p + 0x123, 0x5000, true, false, false,
                                    OTHER_ASID), 0, "a page offset is ignored");
    check("RMPUPDATE-02", *raw(p), ENTRY(0x5000, OTHER_ASID), "so it is");
    make_shared(p);

    /* the operand is read first, and as data */
    r = (struct regs) { .rax = p + 1, .rcx = 0x7f0000000000 };
    attempt(&r, i_rmpupdate);
    check("RMPUPDATE-03", fault_of(&r.fault), FAULT(PF, 0),
          "operand not mapped");
    r = (struct regs) { .rax = p, .rcx = 1ull << 60 };
    attempt(&r, i_rmpupdate);
    check("RMPUPDATE-03", r.fault.vector, GP, "operand not canonical");
    check("RMPUPDATE-03", *raw(p), 0, "nothing was changed");

    check("RMPUPDATE-17", update(p, &s), 0, "assign 4 KB");
    check("RMPUPDATE-17", *raw(p), ENTRY(0x123456000, OTHER_ASID), "entry");
    check("RAW-01", *raw(p), 0x0030000123456001, "fields of the low word");
    check("RAW-02", raw(p)[1], 0x0f, "permissions, VMPL0 lowest");
    check("RMPUPDATE-20", raw(p)[1], 0x0f, "R, W, XU, XS for VMPL0 alone");
    check("RAW-03", *count >> 3 & 0x1ff, before + 1, "the count of the region");
    check("RMPUPDATE-24", *count >> 3 & 0x1ff, before + 1, "is kept");
    check("ARCH-01", *raw(p) >> 51 & 0x3ff, OTHER_ASID, "operand's ASID");
    s.gpa = 0xfff8000000000000 | 0x42000;
    check("RAW-04", update(p, &s), 0, "a GPA too wide");
    check("RAW-04", *raw(p), ENTRY(0x42000, OTHER_ASID), "is cut off");

    /* RMPUPDATE-05, -06: what is never right */
    s = (struct rmp_state) { .asid = 5 };
    check("RMPUPDATE-05", update(p, &s), 1, "ASID without Assigned");
    s = (struct rmp_state) { .immutable = 1 };
    check("RMPUPDATE-05", update(p, &s), 1, "Immutable without Assigned");
    for (i = 0; i < 7; i++) {
        s = (struct rmp_state) { 0x5000, 1, 0, 0, 0, OTHER_ASID };
        switch (i) {
        case 0: s.assigned = 3; break;
        case 1: s.size = 2; break;
        case 2: s.immutable = 2; break;
        case 3: s.reserved = 1; break;
        case 4: s.asid = 510; break;
        case 5: s.asid = 0x80000005; break;
        case 6: s.gpa = 0x5800; break;
        }
        check("RMPUPDATE-06", update(p, &s), 1, "a field out of range");
    }
    check("RMPUPDATE-06", *raw(p), ENTRY(0x42000, OTHER_ASID), "no change");
    check("RMPUPDATE-07", rmpupdate(NOWHERE, 0, true, false, false, 5), 1,
          "a page without entry");

    s = (struct rmp_state) { 0x42000, 1, 0, 0, 0, ASID };
    check("RMPUPDATE-21", update(p, &s), 0, "reassign");
    check("RMPUPDATE-21", update(p, &s), 0, "equal values");
    check("RMPUPDATE-26", rmpupdate(p, 0, true, false, false, 0), 0,
          "assigned to nobody");
    check("FWPAGE-04", *raw(p), LO_ASSIGNED, "Reclaim page");
    check("RMPUPDATE-22", release(p, false), 0, "unassign");
    check("RMPUPDATE-22", *raw(p) | raw(p)[1], 0, "leaves nothing");
    check("FWPAGE-02", *raw(p), 0, "Hypervisor page");
    check("RAW-03", *count >> 3 & 0x1ff, before, "the count goes down");

    check("RMPUPDATE-25", rmpupdate(p, 0, true, false, true, 0), 0,
          "a Firmware page");
    check("FWPAGE-05", *raw(p), LO_ASSIGNED | LO_IMMUTABLE, "Firmware page");
    check("RMPUPDATE-08", release(p, false), 2, "Immutable");
    check("RMPUPDATE-15", update(p, &(struct rmp_state) { .reserved = 1 }), 1,
          "INPUT comes before PERMISSION");
    check("INSN-07", release(p, false), 2, "FAIL_PERMISSION is 2");
    q = fresh();
    check("RMPUPDATE-27", rmpupdate(q, 0x5000, true, false, true, OTHER_ASID),
          0, "a Pre-Guest page");
    check("FWPAGE-08", *raw(q), ENTRY(0x5000, OTHER_ASID) | LO_IMMUTABLE,
          "Pre-Guest page");
    check("RMPUPDATE-08", release(q, false), 2, "Pre-Guest is Immutable");
    refused_write("HOST-10", p, "host write to a Firmware page");
    refused_write("HOST-10", q, "host write to a Pre-Guest page");
    check("MSR-08", COMMAND(SNP_PAGE_RECLAIM, p | CBIT), 0,
          "a C-bit in an address is dropped");
    check("FWCMD-23", COMMAND(0xc6, p), UNSUPPORTED, "SNP_PAGE_SET_STATE");
    check("FWCMD-23", COMMAND(0x92, p), UNSUPPORTED, "SNP_GUEST_STATUS");
    check("FWCMD-17", COMMAND(SNP_PAGE_RECLAIM, p), 0, "reclaim it");
    check("FWPAGE-04", *raw(p), LO_ASSIGNED, "Firmware becomes Reclaim");
    refused_write("HOST-10", p, "host write to a Reclaim page");
    make_shared(p);
    reclaim(q);
    allowed_write("HOST-10", p, "and back");
    check("RMPUPDATE-30", rmpupdate(p, 0x5000, true, false, false, ASID), 0,
          "addresses are physical");
    make_shared(p);

    check("HOST-09", *raw(HV_FIXED), LO_IMMUTABLE, "HV-fixed page");
    check("FWPAGE-03", *raw(HV_FIXED), LO_IMMUTABLE, "HV-fixed page");
    allowed_write("HOST-09", HV_FIXED, "host write to it");
    check("HOST-09", release(HV_FIXED, false), 2, "RMPUPDATE of it");
    f = touch(i_load8, HV_FIXED);
    check("HOST-09", fault_of(&f), NONE, "host read of it");
}

static void rmpupdate_2m(void)
{
    uint64_t five = BIG + 5 * K4;
    unsigned i, bad = 0;

    check("RMPUPDATE-04", rmpupdate(BIG + K4, M2, true, true, false, ASID), 1,
          "2 MB at a 4 KB address");
    check("RMPUPDATE-06", rmpupdate(BIG, 0x5000, true, true, false, ASID), 1,
          "2 MB with a GPA of 4 KB");
    make(five, 0x5000, false, false, OTHER_ASID);
    check("RMPUPDATE-11", rmpupdate(BIG, M2, true, true, false, ASID), 4,
          "2 MB over an assigned page");
    check("RMPUPDATE-11", release(BIG, true), 4, "also to unassign");
    check("RMPUPDATE-16", release(BIG, true), 4, "and again");
    check("INSN-07", release(BIG, true), 4, "FAIL_OVERLAP is 4");
    make_shared(five);
    make(BIG + 511 * K4, 0x5000, false, false, OTHER_ASID);
    check("RMPUPDATE-11", release(BIG, true), 4, "the last page too");
    make_shared(BIG + 511 * K4);

    check("RMPUPDATE-23", rmpupdate(BIG, M2, true, true, false, OTHER_ASID), 0,
          "assign 2 MB");
    check("RMPUPDATE-23", *raw(BIG), ENTRY(M2, OTHER_ASID) | LO_2M, "base");
    for (i = 1; i < 512; i++) {
        bad += *raw(BIG + i * K4) != LO_ASSIGNED || raw(BIG + i * K4)[1];
    }
    check("RMPUPDATE-23", bad, 0, "followers hold Assigned alone");
    check("RAW-03", *raw(BIG) >> 3 & 0x1ff, 0, "no count in a 2 MB entry");
    check("RMPUPDATE-09", release(BIG, false), 4, "4 KB at its base");
    check("RMPUPDATE-10", release(five, false), 4, "4 KB inside");
    check("RMPUPDATE-10", rmpupdate(five, 0x5000, true, false, false, ASID), 4,
          "4 KB inside, assigned");
    check("RMPUPDATE-12", rmpupdate(BIG, 2 * M2, true, true, false, ASID), 0,
          "2 MB over 2 MB");
    check("RMPUPDATE-12", *raw(BIG), ENTRY(2 * M2, ASID) | LO_2M, "entry");
    refused_write("HOST-01", BIG + 100 * K4, "host write into a 2 MB page");

    check("PSMASH-02", psmash(five), 1, "PSMASH at a 4 KB address");
    check("PSMASH-02", psmash(NOWHERE), 1, "PSMASH of what is not covered");
    check("PSMASH-02", psmash(BIG + 1), 0, "an offset in the page is ignored");
    check("PSMASH-06", *raw(BIG), ENTRY(2 * M2, ASID) | 511 << 3, "base");
    for (i = 1, bad = 0; i < 512; i++) {
        bad += *raw(BIG + i * K4) != ENTRY(2 * M2 + i * K4, ASID) ||
               raw(BIG + i * K4)[1] != 0x0f;
    }
    check("PSMASH-06", bad, 0, "consecutive GPAs, the rest copied");
    check("PSMASH-04", psmash(BIG), 7, "PSMASH twice");
    check("INSN-07", psmash(BIG), 7, "FAIL_BADADDR is 7");
    check("PSMASH-04", psmash(BIG2), 7, "PSMASH of the host's");
    for (i = 0; i < 512; i++) {
        make_shared(BIG + i * K4);
    }
    check("RAW-03", *raw(BIG), 0, "the count is 0 again");
    check("RMPUPDATE-25", rmpupdate(BIG, 0, true, true, true, 0), 0,
          "a 2 MB Firmware page");
    check("PSMASH-05", psmash(BIG), 2, "PSMASH of an immutable page");
    check("FWCMD-17", COMMAND(SNP_PAGE_RECLAIM, BIG | 1), 0, "reclaim 2 MB");
    check("RMPUPDATE-12", release(BIG, true), 0, "unassign 2 MB");
    check("RMPUPDATE-22", *raw(BIG), 0, "which leaves nothing");
}

/* ---- the host's accesses ---- */

static void stores(void)
{
    static const struct { const void *code; const char *what; } way[] = {
        { i_store1, "1 byte" }, { i_store2, "2 bytes" },
        { i_store4, "4 bytes" }, { i_store8, "8 bytes" },
        { i_store16, "16 bytes" }, { i_xchg, "XCHG" }, { i_add, "ADD" },
        { i_lock_add, "LOCK ADD" }, { i_lock_bts, "LOCK BTS" },
        { i_lock_xadd, "LOCK XADD" }, { i_cmpxchg, "CMPXCHG that fails" },
        { i_cmpxchg8b, "CMPXCHG8B that fails" },
        { i_cmpxchg16b, "CMPXCHG16B that fails" }, { i_sgdt, "SGDT" },
        { i_fxsave, "FXSAVE" }, { i_setc, "SETC" }, { i_stos, "REP STOSB" },
    };
    uint64_t low = fresh(), page = fresh(), high = fresh(), before;
    struct fault f;
    struct regs r;
    unsigned i, sum;

    for (i = 0; i < 512; i++) {
        F64(low, i * 8) = F64(high, i * 8) = 0x5555555555555555;
    }
    allowed_write("HOST-01", page, "before");
    make(page, 0x9000, false, false, OTHER_ASID);
    before = F64(page, 0);
    for (i = 0; i < sizeof(way) / sizeof(*way); i++) {
        f = touch(way[i].code, page);
        check("HOST-01", fault_of(&f), FAULT(PF, HOST_WRITE), way[i].what);
        check("HOST-01", f.cr2, page, way[i].what);
    }
    /* a read that writes nothing is one more attempt of the same kind */
    check("HOST-01", F64(page, 0), before, "nothing was written");

    /* across a page boundary, from below and from above */
    for (i = 1; i < 8; i++) {
        f = touch(i_store8, page - i);
        check("HOST-01", fault_of(&f), FAULT(PF, HOST_WRITE),
              "a store into the page from below");
        check("HOST-01", f.cr2, page, "CR2 is where the refused page starts");
        f = touch(i_store8, high - i);
        check("HOST-01", fault_of(&f), FAULT(PF, HOST_WRITE),
              "a store out of the page");
        check("HOST-01", f.cr2, high - i, "CR2 is where the store starts");
        f = touch(i_lock_add, page - i);
        check("HOST-01", fault_of(&f), FAULT(PF, HOST_WRITE),
              "an atomic across the boundary");
    }
    f = touch(i_store16, page - 8);
    check("HOST-01", fault_of(&f), FAULT(PF, HOST_WRITE), "16 bytes across");
    f = touch(i_fxsave, page - 256);
    check("HOST-01", f.vector, PF, "FXSAVE across");
    for (i = sum = 0; i < 512 - 32; i++) {
        sum += F64(low, i * 8) != 0x5555555555555555;
    }
    for (i = 0; i < 512; i++) {
        sum += F64(high, i * 8) != 0x5555555555555555;
    }
    for (i = K4 - 8; i < K4; i++) {
        sum += F8(low, i) != 0x55;
    }
    check("HOST-01", sum, 0, "a refused store writes to neither page");

    /* a string instruction stops at the page with what it has done */
    r = (struct regs) { .rdi = page - 3, .rcx = 8, .rax = 0xaa };
    attempt(&r, i_stos);
    check("HOST-01", fault_of(&r.fault), FAULT(PF, HOST_WRITE),
          "REP STOSB into the page");
    check("HOST-01", r.rcx, 5, "with the rest in RCX");
    check("HOST-01", r.rdi, page, "and RDI at the page");
    check("HOST-01", F8(low, K4 - 1), 0xaa, "what came before is done");
    r = (struct regs) { .rsi = low, .rdi = page - 2, .rcx = 4 };
    attempt(&r, i_movs);
    check("HOST-01", r.fault.vector == PF && r.rcx == 2, true,
          "REP MOVSB into the page");
    r = (struct regs) { .rsi = page, .rdi = low, .rcx = 16 };
    attempt(&r, i_movs);
    check("HOST-02", r.fault.vector == NONE && r.rcx == 0, true,
          "REP MOVSB out of the page");

    /* HOST-02, ENC-01: reads pass, and see ciphertext */
    f = touch(i_load8, page);
    check("HOST-02", fault_of(&f), NONE, "host read of an assigned page");
    f = touch(i_load1, page + 4095);
    check("HOST-02", fault_of(&f), NONE, "its last byte");
    f = touch(i_load8, page - 4);
    check("HOST-02", fault_of(&f), NONE, "a read across the boundary");
    check("HOST-02", F64(page, 4) == (F64(page, 0) >> 32 | F64(page, 8) << 32),
          true, "reads of all alignments agree");

    r = (struct regs) { .r8 = (uint64_t)i_store8, .rsi = page };
    attempt(&r, i_user);
    check("HOST-11", fault_of(&r.fault), FAULT(PF, 0x80000007),
          "a store at CPL 3");
    r = (struct regs) { .r8 = (uint64_t)i_load8, .rsi = page };
    attempt(&r, i_user);
    check("HOST-11", r.fault.vector, NONE, "a load at CPL 3");

    r = (struct regs) { .rax = low };
    attempt(&r, i_vmsave);
    check("VMSAVE-01", r.fault.vector, NONE, "VMSAVE to the host's page");
    r = (struct regs) { .rax = page };
    attempt(&r, i_vmsave);
    check("VMSAVE-01", fault_of(&r.fault), FAULT(GP, 0),
          "VMSAVE to an assigned page");
    check("MSR-HSAVE-02", wrmsr_faults(MSR_VM_HSAVE_PA, page), true,
          "VM_HSAVE_PA on an assigned page");
    check("MSR-HSAVE-03", wrmsr_faults(MSR_VM_HSAVE_PA, 0), false,
          "VM_HSAVE_PA may be 0");
    wrmsr(MSR_VM_HSAVE_PA, HSAVE(0));
    make_shared(page);
    allowed_write("HOST-01", page, "afterwards");
}

static void fetches(void)
{
    uint64_t page = fresh();
    struct fault f;

    fill(page, 0xc3);
    make_firmware(page);
    f = touch(i_exec, page);
    check("HOST-02", fault_of(&f), NONE, "host runs code of a Firmware page");
    reclaim(page);
}

static void large_leaves(void)
{
    uint64_t pde = pd[BIG / M2], five = BIG + 5 * K4, far = BIG + 400 * K4;

    make(five, 0x5000, false, false, OTHER_ASID);
    allowed_write("HOST-05", far, "a neighbour through a 4 KB leaf");
    pd[BIG / M2] = BIG | 0x87;
    flush_tlb();
    refused_write("HOST-05", far, "a neighbour through a 2 MB leaf");
    refused_write("HOST-05", five, "the page through a 2 MB leaf");
    refused_write("CHK-HVOWN", far, "2 MB with one assigned page");
    check("HOST-05", touch(i_load8, far).vector, NONE, "a read");
    make_shared(five);
    allowed_write("HOST-05", far, "after the page is the host's again");
    allowed_write("CHK-HVOWN", far, "2 MB without");
    make(BIG, M2, true, true, 0);
    refused_write("HOST-05", far, "2 MB through a 2 MB leaf");
    check("HOST-05", COMMAND(SNP_PAGE_RECLAIM, BIG | 1), 0, "reclaim");
    check("HOST-05", release(BIG, true), 0, "unassign");
    pd[BIG / M2] = pde;
    flush_tlb();
}

/* Page tables of the host in pages that are not its own */
static void host_tables(void)
{
    uint64_t table = TABLES + 3 * K4, target = fresh();
    volatile uint64_t *pte = (void *)table;
    const uint64_t va = 0x30000000;     /* a hole of the map for us */
    uint64_t pde = pd[va / M2];
    struct fault f;
    unsigned i;

    memset((void *)table, 0, K4);
    pte[0] = target | 7;
    pte[1] = target | 5;
    pd[va / M2] = table | 7;
    flush_tlb();
    allowed_write("HOST-03", va, "a page table of the host's");
    check("HOST-04", pte[0] & 0x60, 0x60, "A and D are set");

    make_firmware(table);
    flush_tlb();
    f = touch(i_load8, va);
    check("HOST-03", fault_of(&f), FAULT(PF, 0x80000001),
          "a read through a table that is not the host's");
    check("HOST-03", f.cr2, va, "CR2 is the address that was translated");
    f = touch(i_store8, va + 8);
    check("HOST-03", fault_of(&f), FAULT(PF, 0x80000003), "a write");
    check("HOST-03", f.cr2, va + 8, "with its CR2");
    f = touch(i_exec, va);
    check("HOST-03", f.vector == PF && (f.error & 0x80000001) == 0x80000001,
          true, "a fetch");
    {
        struct regs r = { .r8 = (uint64_t)i_load8, .rsi = va };

        attempt(&r, i_user);
        check("HOST-03", fault_of(&r.fault), FAULT(PF, 0x80000005), "at CPL 3");
    }
    reclaim(table);

    /* the walker asks for 4 KB: what else is in the region does not matter */
    pte[0] = target | 7;
    make_firmware(table + K4);
    flush_tlb();
    f = touch(i_store8, va);
    check("HOST-04", fault_of(&f), NONE, "a table in a mixed region");
    check("HOST-04", pte[0] & 0x60, 0x60, "A and D are set there");
    reclaim(table + K4);

    /* SPA-01 */
    for (i = SPA_BITS - 1; i < 52; i++) {
        pte[0] = 1ull << i | 5;
        flush_tlb();
        f = touch(i_load8, va);
        check("SPA-01", fault_of(&f), i < SPA_BITS ? NONE : FAULT(PF, 9),
              "a leaf with a bit that encryption takes");
    }
    pte[0] = target | 7;
    pd[va / M2] = 1ull << SPA_BITS | table | 7;
    flush_tlb();
    f = touch(i_load8, va);
    check("SPA-01", fault_of(&f), FAULT(PF, 9),
          "the address of a table with such a bit");
    pd[va / M2] = pde;
    flush_tlb();
}

/* ENC-01, ENC-02 and the host's view */
static void contents(void)
{
    uint64_t page = fresh(), other = fresh(), first, i, same = 0, zero = 0;

    memset((void *)page, 0, K4);
    memset((void *)other, 0, K4);
    make(page, 0x5000, false, false, OTHER_ASID);
    make(other, 0x5000, false, false, OTHER_ASID);
    first = F64(page, 0);
    check("ENC-01", F64(page, 0), first, "the host's view does not waver");
    make_shared(page);
    make_shared(other);
    /* back under the old key it is as it was; RMPUPDATE does not write */
    for (i = 0; i < 512; i++) {
        zero += F64(page, i * 8) != 0;
    }
    check("RMPUPDATE-28", zero, 0, "contents survive a round trip unused");

    /* Pre-Guest is the host's plaintext still */
    F64(page, 0) = 0x1122334455667788;
    make(page, 0x5000, false, true, OTHER_ASID);
    check("RMPUPDATE-28", F64(page, 0), 0x1122334455667788,
          "a Pre-Guest page is readable");
    reclaim(page);
    (void)same;
}

/* The IOMMU's part; tests/fw has more */
static void device_writes(void)
{
    const uint64_t page = fresh();

    fill(page, 0x42);
    dma(false, page);
    fill(page, 0);
    dma(true, page);
    check("DMA-01", mmio_read64(page), 0x4242424242424242ull,
          "a device writes to a page that is the hypervisor's");
    make(page, 0x5000, false, false, OTHER_ASID);
    dma(true, page + 16);
    make_shared(page);
    check("DMA-01", mmio_read64(page + 16), 0,
          "... and not to one that is a guest's");
}

static uint32_t rdpkru(void)
{
    uint32_t pkru, edx;

    asm volatile("rdpkru" : "=a"(pkru), "=d"(edx) : "c"(0));
    return pkru;
}

static void wrpkru(uint32_t pkru)
{
    asm volatile("wrpkru" : : "a"(pkru), "c"(0), "d"(0));
}

/* XSAVEC and XRSTORS of SSE and PKRU, with nothing of AVX in between */
static void compacted_state(void)
{
    static struct { uint64_t word[512]; } area __attribute__((aligned(64)));
    const uint32_t mask = 0x202, pkru = 0x55555554;     /* key 0 is free */
    uint64_t cr4;

    asm volatile("mov %%cr4, %0" : "=r"(cr4));
    asm volatile("mov %0, %%cr4" : : "r"(cr4 | 1 << 18 | 1 << 22));
    asm volatile("xsetbv" : : "a"(0x203), "c"(0), "d"(0));
    wrpkru(pkru);
    asm volatile("xsavec %0" : "+m"(area) : "a"(mask), "d"(0));
    wrpkru(0);
    check("XSAVE-01", area.word[64], mask, "XSTATE_BV");
    check("XSAVE-01", area.word[65], 1ull << 63 | mask, "XCOMP_BV");
    check("XSAVE-01", (uint32_t)area.word[72], pkru, "PKRU is the first");
    asm volatile("xrstors %0" : : "m"(area), "a"(mask), "d"(0));
    check("XSAVE-01", rdpkru(), pkru, "... and comes back");
    wrpkru(0);
    asm volatile("xsetbv" : : "a"(1), "c"(0), "d"(0));
    asm volatile("mov %0, %%cr4" : : "r"(cr4));
}

void rules_host(void)
{
    cpuid_and_msrs();
    compacted_state();
    insns();
    geometry();
    dma_without_iommu();
    rmpupdate_4k();
    rmpupdate_2m();
    stores();
    fetches();
    large_leaves();
    host_tables();
    contents();
    device_writes();
}
