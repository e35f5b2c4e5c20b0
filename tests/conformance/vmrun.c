/*
 * VMRUN and #VMEXIT: every check that refuses, what is swapped, which exits
 * the hypervisor sees and what they tell.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define V               3               /* the vCPU of most refusals */

static uint8_t vmsa[K4] __attribute__((aligned(4096)));

static void copy_page(uint8_t *to, uint64_t from)
{
    memcpy(to, (void *)from, K4);
}

/* VMRUN of VMCB(V) is INVALID, and leaves everything as it was */
static void refused(const char *rule, const char *what)
{
    static uint8_t vmcb_before[K4], vmsa_before[K4];
    uint64_t sa = F64(VMCB(V), V_VMSA) & ~0xfffull, lo = 0, entry;
    bool ram = sa < 0x8000000;
    struct exit e;
    unsigned i, changed = 0;

    copy_page(vmcb_before, VMCB(V));
    if (ram) {
        copy_page(vmsa_before, sa);
        lo = *raw(sa);
    }
    entry = *raw(VMCB(V));
    e = vmrun(VMCB(V));
    check(rule, e.fault, NONE, what);
    check(rule, e.code, EXIT_INVALID, what);
    check("VMRUN-28", e.code, ~0ull, "INVALID is 64 ones");
    for (i = 0; i < K4; i++) {
        if (i < V_EXIT || i >= V_INTINFO) {
            changed += vmcb_before[i] != F8(VMCB(V), i);
        }
    }
    if (ram) {
        changed += memcmp(vmsa_before, (void *)sa, K4) != 0;
        changed += lo != *raw(sa);
    }
    changed += entry != *raw(VMCB(V));
    check("VMRUN-26", changed, 0, "a refused VMRUN changes VMCB or VMSA");
    vmcb_init(V);
}

static void made(void)
{
    vmsa_make(VMSA(V), vmsa);
    vmcb_init(V);
}

/* ---- checks of the control area ---- */

static void control(void)
{
    static const uint32_t bad_event[] = {
        0x80000480,             /* software interrupt */
        0x80000303, 0x80000304, /* #BP, #OF */
        0x80000302,             /* NMI's vector as an exception */
        0x8000031f,             /* vector 31 */
        0x80000120,             /* a reserved type */
    };
    uint64_t v = VMCB(V), page = fresh();
    struct exit e;
    unsigned i;

    made();
    e = vmrun(v);
    check("VMRUN-26", e.code, EXIT_VMGEXIT, "the VMSA that is varied runs");

    vmsa_make(VMSA(V), vmsa);
    F64(v, V_NP) &= ~NP_NPT;
    refused("VMRUN-04", "SEV without nested paging");
    F32(v, V_ASID) = 510;
    refused("VMRUN-04", "ASID beyond CPUID 8000_001F ECX");
    F32(v, V_ASID) = 0;
    refused("VMRUN-05", "ASID 0");
    F64(v, V_NP) = NP_NPT | NP_ES;
    refused("VMRUN-06", "SEV-ES without SEV");
    F64(v, V_LBR) = 0;
    refused("VMRUN-06", "SEV-ES without LBR virtualization");
    F64(v, V_NP) = NP_NPT | NP_SEV;
    F32(v, V_ASID) = 99;
    refused("VMRUN-07", "SEV with an ASID of SEV-ES");
    F64(v, V_NCR3) |= 1ull << 50;
    refused("VMRUN-20", "nCR3 beyond the address space");
    F64(v, V_NCR3) |= CBIT;
    refused("VMRUN-20", "nCR3 with the C-bit");
    F64(v, V_NCR3) |= 1ull << SPA_BITS;
    refused("SPA-01", "an nCR3 that takes more bits than encryption leaves");
    F64(v, V_MSRPM) = 1ull << SPA_BITS;
    refused("SPA-01", "such an MSRPM");
    F64(v, V_IOPM) = 1ull << SPA_BITS;
    refused("SPA-01", "such an IOPM");
    F64(v, V_VMSA) = VMSA(V) | 1ull << SPA_BITS;
    refused("SPA-01", "such a VMSA pointer");
    for (i = 0; i < 2; i++) {
        struct regs r = { .rax = 1ull << SPA_BITS };

        attempt(&r, i ? i_vmsave : i_vmrun + 3);
        check("SPA-01", r.fault.vector, GP, "such a VMCB");
    }
    F64(v, V_VMSA) = ~0ull;
    refused("VMRUN-10", "VMSA pointer ~0");
    F64(v, V_VMSA) = VMSA(V) + 0x800;
    refused("VMRUN-10", "VMSA pointer not page aligned");
    F64(v, V_VMSA) = VMSA(V) | 1ull << 50;
    refused("VMRUN-10", "VMSA pointer beyond the address space");
    for (i = 0; i < sizeof(bad_event) / sizeof(*bad_event); i++) {
        F64(v, V_EVENTINJ) = bad_event[i];
        refused("VMRUN-17", "an event that SEV-ES forbids");
    }
    F32(v, V_MISC2) &= ~1u;
    refused("VMRUN-26", "VMRUN not intercepted");

    /* #GP, not INVALID */
    make(page, 0x5000, false, false, OTHER_ASID);
    check("VMRUN-01", vmrun(page).fault, GP, "VMCB in an assigned page");
    make_shared(page);
    make_firmware(page);
    check("VMRUN-01", vmrun(page).fault, GP, "VMCB in a Firmware page");
    reclaim(page);
    make(BIG, M2, true, true, 0);
    check("VMRUN-01", vmrun(BIG + 7 * K4).fault, GP, "VMCB in a 2 MB page");
    check("VMRUN-01", COMMAND(SNP_PAGE_RECLAIM, BIG | 1), 0, "reclaim");
    check("VMRUN-01", release(BIG, true), 0, "unassign");
    wrmsr(MSR_VM_HSAVE_PA, 0);
    check("VMRUN-02", vmrun(v).fault, GP, "VM_HSAVE_PA is 0");
    check("MSR-HSAVE-03", vmrun(v).fault, GP, "VMRUN with VM_HSAVE_PA 0");
    wrmsr(MSR_VM_HSAVE_PA, page);
    make(page, 0x5000, false, false, OTHER_ASID);
    check("VMRUN-02", vmrun(v).fault, GP, "VM_HSAVE_PA is an assigned page");
    make_shared(page);
    wrmsr(MSR_VM_HSAVE_PA, HSAVE(0));
    e = vmrun(v);
    check("VMRUN-26", e.code, EXIT_VMGEXIT, "after all that it runs");
}

/* ---- ASIDs of other guests ---- */

static void must(unsigned status, const char *what)
{
    if (status) {
        bail(what, status);
    }
}

static void do_wbinvd(uint64_t cpu)
{
    wbinvd();
    (void)cpu;
}

/* FWPAGE-06: the page of a context holds what the firmware wrote there */
static uint64_t context_seen(uint64_t ctx, uint64_t before, const char *what)
{
    check("FWPAGE-06", F64(ctx, 0x800) != before, true, what);
    return F64(ctx, 0x800);
}

/* An SNP guest that is nothing but an ASID's; its context page */
static uint64_t empty_guest(uint32_t asid)
{
    const uint64_t policy = 1ull << 16 | 1ull << 17;
    uint64_t ctx = fresh(), seen;

    memset((void *)ctx, 0x5a, K4);
    make_firmware(ctx);
    must(COMMAND(SNP_GCTX_CREATE, ctx), "SNP_GCTX_CREATE");
    seen = context_seen(ctx, 0x5a5a5a5a5a5a5a5a,
                        "a context page is not what the host left in it");
    must(COMMAND(SNP_LAUNCH_START, ctx, policy), "SNP_LAUNCH_START");
    context_seen(ctx, seen, "and changes with the context");
    must(COMMAND(SNP_ACTIVATE, ctx, asid), "SNP_ACTIVATE");
    return ctx;
}

/* The legacy platform, with a SEV guest that is nothing but an ASID's: handle */
static uint32_t legacy_guest(uint32_t asid)
{
    uint64_t buf = fresh();
    uint32_t handle;

    must(COMMAND(INIT, 0), "INIT");
    cpu_run(1, do_wbinvd, 1);
    wbinvd();
    cpu_wait(1);
    must(command_at(DF_FLUSH, 0), "DF_FLUSH");
    memset((void *)buf, 0, K4);
    make_firmware(buf);
    must(command_at(LAUNCH_START, buf), "LAUNCH_START");
    handle = F32(buf, 0);
    must(COMMAND(ACTIVATE, PAIR(handle, asid)), "ACTIVATE");
    reclaim(buf);
    return handle;
}

/* ---- SEV's memory ---- */

/* 16 bits: a word from 200h to 400h, HLT */
static const uint8_t word_copier[] = {
    0xa1, 0x00, 0x02, 0xa3, 0x00, 0x04, 0xf4, 0x90,
};

/* A real-mode guest, whose accesses are all private, runs from @page to HLT: AX */
static unsigned copier_run(uint64_t page, uint32_t asid)
{
    static const unsigned seg[] = { S_ES, S_CS, S_SS, S_DS };
    uint64_t v = VMCB(V), s = v + V_SAVE;
    unsigned i;

    vmcb_init(V);
    F32(v, V_MISC1) |= 1u << 24;
    F64(v, V_NP) = NP_NPT | NP_SEV;
    F32(v, V_ASID) = asid;
    for (i = 0; i < sizeof(seg) / sizeof(*seg); i++) {
        F16(s, seg[i] + 2) = seg[i] == S_CS ? 0x9b : 0x93;
        F32(s, seg[i] + 4) = 0xffff;
        F64(s, seg[i] + 8) = page;
    }
    F64(s, S_EFER) = 0x1000;
    F64(s, S_CR0) = 0x10;
    F64(s, S_DR6) = 0xffff0ff0;
    F64(s, S_DR7) = 0x400;
    F64(s, S_RFLAGS) = 2;
    F64(s, S_PAT) = 0x0007040600070406;
    check("ENC-04", vmrun(v).code, 0x78, "a SEV guest runs its encrypted code");
    return F64(s, S_RAX) & 0xffff;
}

/* The page that the guest left */
static uint64_t sev_memory(uint32_t handle, uint32_t asid)
{
    uint64_t p = fresh(), out = fresh();

    memset((void *)p, 0, K4);
    memcpy((void *)p, word_copier, sizeof(word_copier));
    F16(p, 0x200) = 0x1234;
    make_firmware(p);
    make_firmware(out);
    must(COMMAND(LAUNCH_UPDATE_DATA, handle, p, K4), "LAUNCH_UPDATE_DATA");
    reclaim(p);
    check("ENC-04", F64(p, 0) == *(const uint64_t *)word_copier, false,
          "the host does not see what LAUNCH_UPDATE_DATA encrypted");
    check("ENC-04", copier_run(p, asid), 0x1234, "the guest reads it");
    check("ENC-04", F16(p, 0x400) == 0x1234 && F16(p, 0x402) == 0, false,
          "the host does not see what the guest wrote");
    must(COMMAND(DBG_DECRYPT, handle, p + 0x400, out, 16), "DBG_DECRYPT");
    check("ENC-04", F16(out, 0), 0x1234, "the firmware does");
    F64(p, 0x200) = 0x4321;
    check("ENC-04", F64(p, 0x200), 0x4321, "the host sees what it wrote itself");
    check("ENC-04", copier_run(p, asid) == 0x4321, false,
          "the guest does not, and has the rest of the page");
    reclaim(out);
    return p;
}

/* ---- the VMSA page ---- */

static void vmsa_page(void)
{
    uint64_t v = VMCB(V), page = fresh(), ctx, left;
    uint32_t handle;
    struct regs r;
    struct exit e;

    /* SEV-ES, not SNP */
    vmsa_fill(vmsa, V, 0);
    F64(vmsa, S_FEATURES) = 0;
    vmcb_init(V);
    F64(v, V_VMSA) = page;
    F32(v, V_ASID) = 98;
    refused("VMRUN-29", "an ASID that no guest has");
    ctx = empty_guest(98);
    handle = legacy_guest(300);
    left = sev_memory(handle, 300);
    memcpy((void *)page, vmsa, K4);
    vmcb_init(V);
    F64(v, V_VMSA) = page;
    F32(v, V_ASID) = 300;
    refused("ENC-04", "a VMSA that the host wrote");
    make_firmware(page);
    must(COMMAND(DBG_ENCRYPT, handle, (uint64_t)vmsa, page, K4), "DBG_ENCRYPT");
    reclaim(page);
    F64(v, V_VMSA) = page;
    F32(v, V_ASID) = 300;
    e = vmrun(v);
    check("VMSA-01", e.code, EXIT_NPF, "an SEV-ES guest starts");
    check("VMRUN-08", e.code, EXIT_NPF, "with any ASID");
    check("NSNP-01", e.info1 & (NPF_RMP | NPF_PT), NPF_RMP | NPF_PT,
          "its page tables belong to another guest");
    make_firmware(page);
    vmcb_init(V);
    F64(v, V_VMSA) = page;
    F32(v, V_ASID) = 98;
    refused("VMSA-01", "VMSA of SEV-ES in an assigned page");
    reclaim(page);

    vmsa_fill(vmsa, V, 0);
    made();
    F64(v, V_VMSA) = UNCOVERED;
    refused("VMSA-02", "VMSA not covered");
    memcpy((void *)page, vmsa, K4);
    F64(v, V_VMSA) = page;
    refused("VMSA-03", "VMSA in a page of the host");
    F32(v, V_ASID) = 98;
    refused("VMSA-03", "VMSA of another ASID");
    must(COMMAND(SNP_DECOMMISSION, ctx), "SNP_DECOMMISSION");
    reclaim(ctx);
    must(command_at(SHUTDOWN, 0), "SHUTDOWN");
    check("ENC-04", F64(left, 0) == *(const uint64_t *)word_copier, false,
          "ciphertext is what such a guest leaves behind");
    F64(page, S_FEATURES) = 0;          /* SEV-ES: nothing else forbids it */
    F64(v, V_VMSA) = page;
    F32(v, V_ASID) = 98;
    refused("VMRUN-29", "an ASID whose guest was decommissioned");
    F64(v, V_VMSA) = page;
    F32(v, V_ASID) = 300;
    refused("VMRUN-29", "a SEV guest's that is gone");
    make(page, 0x5000, false, true, ASID);
    F64(v, V_VMSA) = page;
    refused("VMSA-04", "a Pre-Guest page");
    reclaim(page);
    make(page, 0x5000, false, false, ASID);
    F64(v, V_VMSA) = page;
    refused("VMSA-05", "a page without the VMSA bit, not validated");
    F64(v, V_VMSA) = GUEST_IMAGE + 3 * K4;
    refused("VMSA-05", "a page without the VMSA bit, validated");
    make_shared(page);
    e = vmrun(v);
    check("VMSA-05", e.code, EXIT_VMGEXIT, "with the bit it runs");
    check("VMSA-07", e.code, EXIT_VMGEXIT, "its GPA does not matter");
    check("FWCMD-12", *raw(VMSA(V)) >> 61 & 3, 3, "VMSA and Validated");

    /* a VMSA goes and comes back: nothing of it is left */
    make_shared(VMSA(V));
    make(VMSA(V), 0xfffffffff000, false, false, ASID);
    check("RMPUPDATE-18", *raw(VMSA(V)) >> 62 & 1, 0, "Validated is gone");
    check("RMPUPDATE-19", *raw(VMSA(V)) >> 61 & 1, 0, "VMSA is gone");
    vmcb_init(V);
    refused("RMPUPDATE-19", "VMRUN of a VMSA that was taken and given back");
    vmsa_make(VMSA(V), vmsa);
    make(VMSA(V), 0xfffffffff000, false, false, ASID);
    check("RMPUPDATE-21", *raw(VMSA(V)) >> 61 & 3, 0,
          "equal values take VMSA and Validated too");
    vmcb_init(V);
    refused("RMPUPDATE-21", "VMRUN after RMPUPDATE with equal values");

    /* the guest makes one: vCPU 0 writes it and sets the bit */
    vcpu_start(0, 0);
    page = guest_page();
    vmsa_fill(vmsa, V, 1);
    memcpy((void *)MAILBOX(7), vmsa, K4);
    r = (struct regs) { .rsi = SHARED(MAILBOX(7)), .rdi = page, .rcx = K4 };
    e = vcpu_call(0, &r, i_movs);
    check("RMPADJUST-16", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "the guest writes a VMSA");
    vmcb_init(V);
    F64(v, V_VMSA) = page;
    refused("VMSA-05", "before RMPADJUST");
    r = (struct regs) { .rax = page, .rdx = 1 << 16 | 1 };
    e = vcpu_call(0, &r, i_rmpadjust);
    check("RMPADJUST-13", vcpu_done(0, &e) ? r.rax : 99, 0, "RMPADJUST, VMSA");
    check("RMPADJUST-13", *raw(page) >> 61 & 1, 1, "sets the bit");
    vmcb_init(V);
    F64(v, V_VMSA) = page;
    e = vmrun(v);
    check("RMPADJUST-13", e.code, EXIT_VMGEXIT, "and it runs");
    check("SWAP-06", F64(v, V_GHCB), 0x5a5a5000 + V, "at VMPL1");
    wrmsr(0x277, 0x0007010600070106);
    vcpu_start(0, 0);
    check("SWAP-06", rdmsr(0x277), 0x0007010600070106, "the host's PAT is back");
    wrmsr(0x277, 0x0007040600070406);

    /* VMSA-06: Validated is not looked at */
    r = (struct regs) { .rax = page, .rdx = 0 };
    e = vcpu_call(0, &r, i_pvalidate);
    check("VMSA-06", *raw(page) >> 61 & 3, 1, "PVALIDATE(0) keeps VMSA");
    check("PVALIDATE-10", *raw(page) >> 61 & 3, 1, "PVALIDATE(0) keeps VMSA");
    e = vmrun(v);
    check("VMSA-06", e.code, EXIT_VMGEXIT, "and it runs on");
    r = (struct regs) { .rax = page, .rdx = 1 };
    vcpu_call(0, &r, i_pvalidate);
    r = (struct regs) { .rax = page, .rdx = 1 };
    e = vcpu_call(0, &r, i_rmpadjust);
    check("RMPADJUST-13", vcpu_done(0, &e) ? r.rax : 99, 0, "no VMSA again");
    vmcb_init(V);
    F64(v, V_VMSA) = page;
    refused("RMPADJUST-13", "VMRUN after the bit was taken away");

    /* VMSA-10: what the host wrote is garbage to the guest's key */
    page = fresh();
    memcpy((void *)page, vmsa, K4);
    make(page, page, false, false, ASID);
    r = (struct regs) { .rax = page, .rdx = 1 };
    vcpu_call(0, &r, i_pvalidate);
    r = (struct regs) { .rax = page, .rdx = 1 << 16 | 1 };
    e = vcpu_call(0, &r, i_rmpadjust);
    check("VMSA-10", vcpu_done(0, &e) ? r.rax : 99, 0, "RMPADJUST, VMSA");
    vmcb_init(V);
    F64(v, V_VMSA) = page;
    refused("VMSA-10", "a VMSA that the host wrote");
}

/* ---- what the VMSA says ---- */

static void field(const char *rule, unsigned off, uint64_t value,
                  const char *what)
{
    vmsa_fill(vmsa, V, 0);
    F64(vmsa, off) = value;
    made();
    refused(rule, what);
}

static void vmsa_fields(void)
{
    static const struct { unsigned bit; const char *rule; } absent[] = {
        { 1, "VMRUN-15" }, { 2, "VMRUN-15" }, { 3, "VMRUN-16" },
        { 4, "VMRUN-16" }, { 5, "VMRUN-15" }, { 6, "VMRUN-24" },
        { 7, "VMRUN-15" }, { 8, "VMRUN-15" }, { 9, "VMRUN-15" },
        { 10, "VMRUN-15" }, { 11, "VMRUN-14" }, { 12, "VMRUN-24" },
        { 13, "VMRUN-14" }, { 14, "VMRUN-15" }, { 15, "VMRUN-22" },
        { 16, "VMRUN-14" }, { 17, "VMRUN-15" }, { 20, "VMRUN-15" },
        { 22, "VMRUN-15" }, { 63, "VMRUN-15" },
    };
    unsigned i;

    for (i = 0; i < sizeof(absent) / sizeof(*absent); i++) {
        field(absent[i].rule, S_FEATURES, 1 | 1ull << absent[i].bit,
              "a SEV_FEATURES bit that is absent or reserved");
    }
    field("VMRUN-16", S_FEATURES, 1 | 3 << 3, "both kinds of injection");
    field("VMRUN-20", S_EFER, 0xd00, "EFER.SVME is 0");
    field("VMRUN-20", S_EFER, 0x1d00 | 1ull << 40, "EFER, reserved bit");
    field("VMRUN-20", S_EFER, 0x1d00 | 2, "EFER, reserved bit 1");
    field("VMRUN-20", S_CR0, 0x80010033 | 1ull << 32, "CR0, upper half");
    field("VMRUN-20", S_CR0, 0x80010033 | 1u << 29, "CR0.NW without CD");
    field("VMRUN-20", S_CR3, 1ull << 52, "CR3, reserved bit");
    field("VMRUN-20", S_CR4, 0x220 | 1ull << 40, "CR4, reserved bit");
    field("VMRUN-20", S_CR4, 0x220 | 1 << 15, "CR4, reserved bit 15");
    field("VMRUN-20", S_DR6, 0xffff0ff0 | 1ull << 32, "DR6, upper half");
    field("VMRUN-20", S_DR7, 0x400 | 1ull << 32, "DR7, upper half");
    field("VMRUN-20", S_CR4, 0x200, "long mode without PAE");
    field("VMRUN-20", S_CR0, 0x80010032, "long mode without PE");
    field("VMRUN-20", S_CS, SEL_CODE | 0xe9bull << 16 | 0xffffffffull << 32,
          "CS with both L and D");
    for (i = 0; i < 64; i += 8) {
        field("VMRUN-20", S_PAT, 2ull << i, "G_PAT, type 2");
        field("VMRUN-20", S_PAT, 3ull << i, "G_PAT, type 3");
        field("VMRUN-20", S_PAT, 8ull << i, "G_PAT, a reserved bit");
    }
    check("VMRUN-20", wrmsr_faults(0x277, 0x0007040600070402), true,
          "WRMSR of such a PAT");
    check("VMRUN-20", wrmsr_faults(0x277, 0x0007040600070406), false,
          "and of a right one");
    field("VMRUN-20", S_XCR0, 0, "XCR0 without x87");
    field("VMRUN-20", S_XCR0, 1 | 1ull << 62, "XCR0, a feature unknown");
    vmsa_fill(vmsa, V, 4);
    made();
    refused("VMRUN-20", "VMPL 4");
    vmsa_fill(vmsa, V, 0);
    F16(vmsa, S_SS + 2) = 0xcf3;
    made();
    vmrun(VMCB(V));
    check("SWAP-09", F64(VMCB(V), V_GHCB), 0x5a5a5000 + V,
          "CPL 0 with a stack of CPL 3");
}

/* ---- success: what is swapped and told ---- */

/* Nothing checks the save area's XCR0, and XSAVE relies on the register */
static void host_xcr0(void)
{
    static uint8_t area[K4] __attribute__((aligned(64)));
    uint64_t host = HSAVE(0) + V_SAVE, cr4;
    uint32_t xcr0, high;

    vcpu_start(0, 0);
    F64(host, S_XCR0) = 1 | 1 << 18;
    vcpu_call(0, &(struct regs) { .rcx = 0xc0010131 }, i_rdmsr);
    F64(host, S_XCR0) = 1;
    asm volatile("mov %%cr4, %0" : "=r"(cr4));
    asm volatile("mov %0, %%cr4" : : "r"(cr4 | 1 << 18));
    asm volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    check("SWAP-04", xcr0, 1, "XCR0 of the save area, but what no processor has");
    asm volatile("xsave %0" : "+m"(area) : "a"(~0u), "d"(~0u));
    asm volatile("mov %0, %%cr4" : : "r"(cr4));
}

/* The plaintext of a page of the guest's: vCPU 1 copies it for us */
static const uint8_t *decrypt(uint64_t spa)
{
    struct regs r = { .rsi = spa, .rdi = SHARED(MAILBOX(6)), .rcx = K4 };
    struct exit e;

    vcpu_start(1, 0);
    e = vcpu_call(1, &r, i_movs);
    if (!vcpu_done(1, &e) || r.fault.vector != NONE) {
        bail("the guest cannot read", spa);
    }
    return (const uint8_t *)MAILBOX(6);
}

static void swapped(void)
{
    static uint64_t view[8];
    uint64_t v = VMCB(0), host = HSAVE(0) + V_SAVE, cr0, back;
    struct regs r;
    struct exit e;
    const uint8_t *s;
    unsigned i, changed = 0;

    /* type B: loaded from the save area, whatever it was before VMRUN */
    vcpu_start(0, 0);
    F64(host, S_RBX) = 0x1111;
    F64(host, S_RCX) = 0x2222;
    F64(host, 0x310) = 0x3333;              /* RDX */
    vcpu_order(0, &(struct regs) { .rax = 0x4444 }, i_soil);
    r = (struct regs) { .rax = v, .rbx = 7, .rcx = 7, .rdx = 7 };
    F64(v, V_NRIP) = 0x77777777;
    memset((void *)(v + V_SAVE), 0xa5, K4 - V_SAVE);
    F32(v, V_CLEAN) = ~1u;               /* the intercepts are new */
    touch(i_soil, 0);                       /* XMM0 and CR2 of the host */
    attempt(&r, i_vmrun);
    check("SWAP-04", r.rbx, 0x1111, "RBX comes from the save area");
    check("SWAP-04", r.rcx, 0x2222, "RCX too");
    check("SWAP-04", r.rdx, 0x3333, "RDX too");
    check("SWAP-01", r.rax, v, "RAX is the host's again");
    check("SWAP-03", r.flags & 0x200, 0, "RFLAGS is the host's again");
    attempt(&(struct regs) { .rsi = (uint64_t)view }, i_swap);
    check("SWAP-05", view[0] & 0xffff, 0x40, "x87 control word after #VMEXIT");
    check("SWAP-05", view[1] & 0xffffffff, 0x1f80, "MXCSR");
    check("SWAP-05", view[2], 0, "XMM0");
    check("SWAP-05", view[3], 0, "CR2");
    check("SWAP-05", view[4], 0xffff0ff0, "DR6");
    check("SWAP-02", F64(host, S_RIP) != 0, true,
          "the save area is at 400h, as in a VMSA");
    for (i = V_SAVE; i < K4; i++) {
        changed += F8(v, i) != 0xa5;
    }
    check("VMRUN-09", changed, 0, "the VMCB's save area is not touched");
    check("EXIT-04", F64(v, V_NRIP), 0x77777777, "nRIP stays for SEV-ES");
    check("VMRUN-25", F64(v, V_EXIT), EXIT_VMGEXIT, "clean bits set");

    s = decrypt(VMSA(0));
    check("EXIT-01", F64(s, S_EXIT), EXIT_VMGEXIT, "exit code in the VMSA");
    check("SWAP-05", F64(s, S_CR2), 0x4444, "the guest's CR2 is in the VMSA");
    check("TLB-01", F64(s, S_PCPU) != 0, true, "PCPU_ID is written");
    check("SWAP-04", F64(s, S_RBX) != 0x1111, true, "the guest's RBX is its own");

    /* EXIT-02: both ways */
    check("EXIT-02", F64(v, V_GHCB), 0x5a5a5000, "GHCB MSR in the VMCB");
    F64(v, V_GHCB) = 0x1234567890;
    r = (struct regs) { .rcx = 0xc0010130 };
    e = vcpu_call(0, &r, i_rdmsr);
    check("EXIT-02", r.rdx << 32 | (uint32_t)r.rax, 0x1234567890,
          "and from it");
    r = (struct regs) { .rcx = 0xc0010131 };
    e = vcpu_call(0, &r, i_rdmsr);
    check("EXIT-14", r.rax, 7, "SEV_STATUS: SEV, SEV-ES, SNP");
    r = (struct regs) { .rcx = 0xc0010131 };
    F32(v, V_MISC1) |= 1 << 28;
    F8(F64(v, V_MSRPM), 0x1000 + 0x131 / 4) = 3 << 0x131 % 4 * 2;
    e = vcpu_call(0, &r, i_rdmsr);
    check("EXIT-14", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "which cannot be intercepted");
    F8(F64(v, V_MSRPM), 0x1000 + 0x131 / 4) = 0;

    /* the host's CR0, CR4 and EFER come back whatever the guest's allow */
    vmsa_fill(vmsa, 0, 0);
    F64(vmsa, S_EFER) = 0x1900;             /* LME, but not LMA */
    F64(vmsa, S_CR0) = 0x33;
    F64(vmsa, S_CR4) = 0;
    F16(vmsa, S_CS + 2) = 0xc9b;
    vmsa_make(VMSA(0), vmsa);
    vmcb_init(0);
    asm volatile("mov %%cr0, %0" : "=r"(cr0));
    e = vmrun(v);
    check("SWAP-03", e.fault == NONE && e.code != EXIT_INVALID, true,
          "a guest without paging and PAE that has EFER.LME");
    asm volatile("mov %%cr0, %0" : "=r"(back));
    check("SWAP-03", back, cr0, "the host's CR0 after it");

    /* SWAP-07 */
    vmsa_fill(vmsa, 0, 0);
    F64(vmsa, S_RFLAGS) = 0x202;
    vmsa_make(VMSA(0), vmsa);
    vmcb_init(0);
    vmrun(v);
    check("SWAP-07", F64(v, V_INT_STATE) & 2, 2, "IF is told");
    vcpu_start(0, 0);
    check("SWAP-07", F64(v, V_INT_STATE) & 2, 0, "IF is 0");

    /* a virtual interrupt that waits for IF while the guest lowers its TPR */
    F32(v, V_INT_CTL) = 1 << 24 | 1 << 8 | 0xf << 16;
    r = (struct regs) { 0 };
    e = vcpu_call(0, &r, i_to_cr8);
    check("VMRUN-25", vcpu_done(0, &e) && F32(v, V_INT_CTL) >> 8 & 1, true,
          "V_IRQ and MOV to CR8");

    /* SWAP-08 */
    asm volatile("mov %0, %%dr0" : : "r"(0x12345ull));
    vcpu_start(0, 0);
    {
        uint64_t dr0;

        asm volatile("mov %%dr0, %0" : "=r"(dr0));
        check("SWAP-08", dr0, 0x12345, "DR0 is nobody's in particular");
        asm volatile("mov %0, %%dr0" : : "r"(0ull));
    }
}

/* ---- exits ---- */

/* An automatic exit: its code, RIP past the instruction */
static void automatic(const char *what, const void *code, uint64_t rax,
                      uint64_t want, uint64_t info1)
{
    struct regs r = { .rax = rax };
    struct exit e = vcpu_call(0, &r, code);

    check("EXIT-06", e.code, want, what);
    check("EXIT-06", e.info1, info1, what);
    e = vcpu_resume(0, &r);
    check("EXIT-06", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "RIP was past the instruction");
}

/* What the guest is told of an intercepted instruction */
static void non_automatic(const char *rule, const char *what, const void *code,
                          uint64_t error)
{
    struct regs r = { .rdx = 0x80 };
    struct exit e = vcpu_call(0, &r, code);

    check(rule, vcpu_done(0, &e), true, what);
    check(rule, r.fault.vector, VC, what);
    check(rule, r.fault.error, error, what);
    check(rule, r.fault.rip, (uint64_t)code, "RIP is at the instruction");
    if (!vcpu_done(0, &e)) {
        vcpu_start(0, 0);
    }
}

static void exits(void)
{
    uint64_t v = VMCB(0), gpa;
    struct regs r = { 0 };
    struct exit e;

    vcpu_start(0, 0);
    e = vcpu_call(0, &r, i_vmgexit);
    check("VMGEXIT-01", e.code, EXIT_VMGEXIT, "VMGEXIT");
    e = vcpu_resume(0, &r);
    check("VMGEXIT-01", vcpu_done(0, &e), true, "RIP is past it");
    e = vcpu_call(0, &r, i_vmgexit_f2);
    check("VMGEXIT-01", e.code, EXIT_VMGEXIT, "VMGEXIT with F2");
    vcpu_resume(0, &r);
    r = (struct regs) { .r8 = (uint64_t)i_vmgexit };
    e = vcpu_call(0, &r, i_user);
    check("VMGEXIT-04", e.code, EXIT_VMGEXIT, "VMGEXIT at CPL 3");
    e = vcpu_resume(0, &r);
    check("VMGEXIT-04", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "goes on");

    F32(v, V_MISC1) |= 1 << 24;             /* HLT */
    automatic("HLT", i_hlt, 0, 0x78, 0);
    F32(v, V_MISC1) |= 1 << 23;             /* PAUSE */
    automatic("PAUSE", i_pause, 0, 0x77, 0);
    F32(v, V_MISC1) &= ~(1u << 23);
    F32(v, V_MISC2) |= 1u << 20;            /* CR4 write trap */
    r = (struct regs) { .rax = 0x224 };
    e = vcpu_call(0, &r, i_to_cr4);
    check("EXIT-12", e.code, 0x94, "CR4 write trap");
    check("EXIT-12", e.info1, 0x224, "with the new value");
    e = vcpu_resume(0, &r);
    check("EXIT-12", vcpu_done(0, &e), true, "after the write");
    check("EXIT-12", F64(decrypt(VMSA(0)), S_CR4), 0x224, "which was done");
    F32(v, V_MISC2) |= 1u << 15;            /* EFER write trap */
    r = (struct regs) { .rcx = 0xc0000080, .rax = 0x1501 };
    e = vcpu_call(0, &r, i_wrmsr);
    check("EXIT-12", e.code, 0x8f, "EFER write trap");
    vcpu_start(0, 0);
    r = (struct regs) { .rcx = 0xc0000080, .rax = 0xd01 };
    e = vcpu_call(0, &r, i_wrmsr);
    r = (struct regs) { .rcx = 0xc0000080 };
    e = vcpu_call(0, &r, i_rdmsr);
    check("EXIT-15", vcpu_done(0, &e) ? r.rax : 0, 0x1d01,
          "EFER.SVME stays in an SEV-ES guest");
    vcpu_start(0, 0);

    /* An SMI that comes with GIF 0, of which the guest must not know */
    F32(v, V_MISC1) &= ~(1u << 2);
    vcpu_order(0, &(struct regs) { }, i_nop);
    r = (struct regs) { .rax = v, .rsi = LAPIC + 0x300, .rdx = 0x44200 };
    F16(SMM_ENTRY, 0) = 0xaa0f;             /* RSM, once GIF is 1 */
    attempt(&r, i_smi_vmrun);
    check("EXIT-11", F64(v, V_EXIT), 0x62, "SMI, not intercepted");
    vcpu_start(0, 0);

    /* EXIT-09: whatever the intercepts say */
    non_automatic("EXIT-09", "CPUID", i_cpuid, 0x72);
    non_automatic("EXIT-09", "IN", i_inb, 0x7b);
    non_automatic("EXIT-09", "OUT", i_outb, 0x7b);

    /* EXIT-07 */
    e = vcpu_call(0, &r, i_rdtsc);
    check("EXIT-07", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "without the intercept nothing happens");
    F32(v, V_MISC1) |= 1 << 14 | 1 << 22 | 1 << 15 | 1 << 28 | 1 << 6;
    F32(v, V_MISC2) |= 1 << 9 | 1 << 10 | 1 << 11 | 1 << 3;
    F32(v, 0x04) = 1 << 7;
    non_automatic("EXIT-07", "RDTSC", i_rdtsc, 0x6e);
    non_automatic("EXIT-07", "RDPMC", i_rdpmc, 0x6f);
    non_automatic("EXIT-07", "INVD", i_invd, 0x76);
    non_automatic("EXIT-07", "WBINVD", i_wbinvd, 0x89);
    non_automatic("EXIT-07", "MONITOR", i_monitor, 0x8a);
    non_automatic("EXIT-07", "MWAIT", i_mwait, 0x8b);
    non_automatic("EXIT-07", "read of DR7", i_mov_dr7, 0x27);
    non_automatic("VMGEXIT-02", "VMMCALL is no VMGEXIT", i_vmmcall, 0x81);
    non_automatic("VMSAVE-03", "VMSAVE", i_vmsave, 0x83);
    F32(v, V_MISC2) &= ~(1u << 2 | 1u << 3);
    non_automatic("VMSAVE-03", "VMSAVE, not intercepted", i_vmsave, 0x83);
    non_automatic("VMSAVE-03", "VMLOAD, not intercepted", i_vmload, 0x82);
    non_automatic("EXIT-07", "VMRUN", i_vmrun + 3, 0x80);
    vcpu_start(0, 0);

    /* EXIT-10, EXIT-03 */
    gpa = fresh();
    npt_map(gpa, gpa | 1ull << 50, 7);
    r = (struct regs) { .rsi = gpa };
    e = vcpu_call(0, &r, i_load8);
    check("EXIT-10", vcpu_done(0, &e) && r.fault.vector == VC, true,
          "a reserved bit in the nested page table");
    check("EXIT-10", r.fault.error, 0x400, "#VC 400h");
    if (!vcpu_done(0, &e)) {
        vcpu_start(0, 0);
    }
    npt_map(gpa, gpa | 1ull << SPA_BITS, 7);
    r = (struct regs) { .rsi = gpa };
    e = vcpu_call(0, &r, i_load8);
    check("SPA-01", vcpu_done(0, &e) && r.fault.vector == VC, true,
          "a nested page table with a bit that encryption takes");
    if (!vcpu_done(0, &e)) {
        vcpu_start(0, 0);
    }
    /* The guest's own page table: all bits of CPUID 8000_0008 are an address */
    npt_map(gpa, gpa, 7);
    r = (struct regs) { .rsi = guest_pte(gpa),
                        .rax = CBIT | 1ull << SPA_BITS | gpa | 7 };
    e = vcpu_call(0, &r, i_store8);
    check("SPA-02", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "the guest writes its page table");
    r = (struct regs) { .rsi = gpa };
    e = vcpu_call(0, &r, i_load8);
    check("SPA-02", e.code, EXIT_NPF,
          "a guest physical address that takes more bits than a system one");
    check("SPA-02", e.info2, 1ull << SPA_BITS | gpa, "with its address");
    vcpu_start(0, 0);
    r = (struct regs) { .rsi = guest_pte(gpa), .rax = CBIT | gpa | 7 };
    e = vcpu_call(0, &r, i_store8);
    check("SPA-02", vcpu_done(0, &e), true, "and back");
    npt_map(gpa, gpa, 0);
    r = (struct regs) { .rsi = gpa };
    e = vcpu_call(0, &r, i_load8);
    check("EXIT-03", e.code, EXIT_NPF, "a page that is not there");
    check("EXIT-03", F64(v, V_BYTES) | F64(v, V_BYTES + 8), 0,
          "no instruction bytes");
    check("ACC-09", e.info1, NPF_ENC | NPF_FINAL | 4, "ENC without RMP");
    check("ACC-12", e.info2, gpa, "the page's address");
    check("EXIT-01", F64(decrypt(VMSA(0)), S_INFO1), e.info1,
          "EXITINFO1 in the VMSA");
    check("EXIT-01", F64(decrypt(VMSA(0)), S_INFO2), e.info2,
          "EXITINFO2 in the VMSA");
    npt_map(gpa, gpa, 7);
    vcpu_start(0, 0);

    /* ACC-18, ACC-19: what the processor only reads may be anybody's */
    gpa = nested_table(POOL);
    F8(v, V_TLB) = 3;
    r = (struct regs) { .rsi = guest_page() };
    vcpu_call(0, &r, i_store8);             /* A and D are set now */
    make_firmware(gpa);
    e = vcpu_call(0, &r, i_store8);
    check("ACC-18", vcpu_done(0, &e), true, "a nested table in a Firmware page");
    reclaim(gpa);
    F32(v, V_MISC1) |= 1 << 28;
    make_firmware(F64(v, V_MSRPM));
    make_firmware(F64(v, V_MSRPM) + K4);
    r = (struct regs) { .rcx = 0xc0010131 };
    e = vcpu_call(0, &r, i_rdmsr);
    check("ACC-19", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "an MSR permission map in a Firmware page");
    reclaim(F64(v, V_MSRPM));
    reclaim(F64(v, V_MSRPM) + K4);

    /* ACC-15: #VC in the delivery of an exception, and again */
    gpa = fresh();
    make(gpa, gpa, false, false, ASID);
    vmsa_fill(vmsa, 0, 0);
    F64(vmsa, S_IDTR + 8) = gpa;
    F64(vmsa, S_RIP) = (uint64_t)i_ud2;
    vmsa_make(VMSA(0), vmsa);
    vmcb_init(0);
    e = vmrun(v);
    check("ACC-15", e.code, 0x7f, "#VC is contributory");

    /* ACC-21: 32 bits, unpaged, code of the image by its GPA */
    vmsa_fill(vmsa, 0, 0);
    F64(vmsa, S_CR0) = 0x11;
    F64(vmsa, S_EFER) = 0x1000;
    F16(vmsa, S_CS + 2) = 0xc9b;
    F64(vmsa, S_RIP) = GUEST_IMAGE + (uint64_t)i_vmgexit - 0x100000;
    vmsa_make(VMSA(0), vmsa);
    vmcb_init(0);
    e = vmrun(v);
    check("ACC-21", e.code, EXIT_VMGEXIT, "an unpaged guest runs private code");
    F64(vmsa, S_RIP) = fresh();
    vmsa_make(VMSA(0), vmsa);
    vmcb_init(0);
    e = vmrun(v);
    check("ACC-21", e.info1, NPF_RMP | NPF_ENC | NPF_FINAL | 0x15,
          "and none of the host's");

    /* a shutdown */
    vmsa_fill(vmsa, 0, 0);
    F32(vmsa, S_IDTR + 4) = 0;
    F64(vmsa, S_RIP) = (uint64_t)i_ud2;
    vmsa_make(VMSA(0), vmsa);
    vmcb_init(0);
    e = vmrun(v);
    check("EXIT-06", e.code, 0x7f, "shutdown");
    vcpu_start(0, 0);
}

void rules_vmrun(void)
{
    vmsa_fill(vmsa, V, 0);
    control();
    vmsa_page();
    vmsa_fields();
    swapped();
    host_xcr0();
    exits();
}
