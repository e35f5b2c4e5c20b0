/*
 * What survives #VMEXIT: translations, by ASID and processor, and what ends
 * them.  The emulator runs with stale=use, so that what may be used is used.
 * Of what it has to tell, "# stale:" lines say what is expected, "# flushed:"
 * lines what is not: the script holds them against QEMU's log.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define OLD             0xaaaa
#define NEW             0xbbbb
#define REFUSED         (1ull << 63)

static uint64_t page, other;    /* where @page leads, or @other instead */
static uint64_t got;

/* What the guest of @plain reads at @page, or EXITINFO1 of its page fault */
static void read_page(uint64_t code)
{
    uint64_t info2, r = plain_guest((void *)code, page, &info2);

    got = r == 0x81 ? F64(VMCB(plain.vcpu) + V_SAVE, S_RAX) : REFUSED | r;
}

static uint64_t read_on(unsigned cpu, uint32_t asid, uint8_t tlb)
{
    plain.asid = asid;
    plain.tlb = tlb;
    if (cpu) {
        cpu_run(1, read_page, (uint64_t)i_load8);
        cpu_wait(1);
    } else {
        read_page((uint64_t)i_load8);
    }
    return got;
}

static uint64_t write_with(uint32_t asid, uint8_t tlb)
{
    plain.asid = asid;
    plain.tlb = tlb;
    read_page((uint64_t)i_store8);
    return got & REFUSED ? got : 0;
}

static void lead_to(uint64_t spa, uint64_t flags)
{
    npt_map(page, spa, flags);
}

/* A fresh pair; processor 0 has @asid's translation of @page to itself */
static void cached(uint32_t asid)
{
    page = fresh();
    other = fresh();
    F64(page, 0) = OLD;
    F64(other, 0) = NEW;
    if (read_on(0, asid, 3) != OLD) {
        bail("a plain guest does not read", page);
    }
}

static void expect(const char *what, const char *rule, const char *level,
                   uint64_t addr)
{
    print(what);
    print(rule);
    print(" ");
    print(level);
    print(" 0x");
    print_number(addr, 16);
    print("\n");
}

static void stale(const char *rule, const char *level, uint64_t addr)
{
    expect("# stale: ", rule, level, addr);
}

/* ---- what is used ---- */

static void survives(void)
{
    uint64_t v = VMCB(plain.vcpu);
    static const uint8_t flushes[] = { 1, 3, 7 };
    unsigned i;

    cached(300);
    lead_to(other, 7);
    check("TLB-03", read_on(0, 300, 0), OLD, "a translation survives #VMEXIT");
    check("TLB-03", read_on(0, 300, 0), OLD, "and the next");
    check("TLB-03", read_on(0, 301, 0), NEW, "but is not another ASID's");
    check("TLB-03", read_on(0, 300, 0), OLD, "whose run leaves it alone");
    check("TLB-03", read_on(1, 300, 3), NEW, "nor another processor's");
    for (i = 0; i < sizeof(flushes); i++) {
        cached(302 + i);
        lead_to(other, 7);
        check("TLB-02", read_on(0, 302 + i, flushes[i]), NEW,
              "TLB_CONTROL 1, 3 and 7 flush this ASID's");
    }
    cached(305);
    lead_to(other, 7);
    read_on(0, 306, 3);
    check("TLB-02", read_on(0, 305, 0), OLD, "3 flushes no other ASID's");
    read_on(0, 306, 1);
    check("TLB-02", read_on(0, 305, 0), NEW, "1 does");

    /* one that is refused has not flushed */
    cached(307);
    lead_to(other, 7);
    F8(v, V_TLB) = 3;
    F32(v, V_MISC2) = 0;
    check("TLB-02", vmrun(v).code, EXIT_INVALID, "(VMRUN is refused)");
    check("TLB-02", read_on(0, 307, 0), OLD, "a refused VMRUN flushes nothing");

    cached(308);
    lead_to(page, 0);
    check("TLB-03", read_on(0, 308, 0), OLD, "of a page that is gone");
    check("TLB-02", read_on(0, 308, 3), REFUSED | NPF_FINAL | 4,
          "until flushed");
    lead_to(page, 5);
    check("TLB-03", read_on(0, 308, 0), OLD, "(read-only)");
    check("TLB-03", write_with(308, 0), REFUSED | NPF_FINAL | 7,
          "rights that it never had are not used");
    lead_to(page, 7);
    check("TLB-03", write_with(308, 0), 0, "new ones count at once");
    lead_to(page, 5);
    check("TLB-03", write_with(308, 0), 0, "rights that were taken are used");
    check("TLB-02", write_with(308, 3), REFUSED | NPF_FINAL | 7,
          "until flushed");

    /* the RMP's own flush */
    cached(309);
    lead_to(other, 7);
    make(page, page, false, false, OTHER_ASID);
    check("RMPUPDATE-29", read_on(0, 309, 0), NEW,
          "RMPUPDATE flushes the page's translations");
    make_shared(page);
    cached(310);
    lead_to(other, 7);
    make(fresh(), page, false, false, OTHER_ASID);
    check("RMPUPDATE-29", read_on(0, 310, 0), OLD, "and no other page's");
    cached(318);
    make(page, page, false, false, OTHER_ASID);
    make_shared(page);
    F64(page, 0) = OLD;
    read_on(0, 318, 0);
    lead_to(other, 7);
    check("TLB-03", read_on(0, 318, 0), OLD, "one made after an RMPUPDATE, too");
}

/* ---- what is told ---- */

static void told(void)
{
    vcpu_start(1, 0);
    start_guest(SHARED(fresh()));       /* processor 1 is in a guest */
    if (!cpu_busy(1)) {
        bail("no guest on processor 1", F64(VMCB(1), V_EXIT));
    }
    cached(311);
    lead_to(other, 7);
    read_on(0, 311, 0);
    read_on(0, 311, 3);
    cached(312);
    lead_to(other, 7);
    read_on(0, 312, 0);
    stale("TLB-03", "gpa", page);
    read_on(0, 312, 0);
    read_on(0, 312, 0);
    cached(313);
    lead_to(other, 7);
    make(page, page, false, false, OTHER_ASID);
    read_on(0, 313, 0);
    stale("RMPUPDATE-29", "gpa", page);
    read_on(0, 313, 0);
    stop_guest();

    /* not while the other may be about to flush */
    cached(314);
    lead_to(other, 7);
    read_on(0, 314, 0);
    read_on(0, 314, 0);

    /* TLB-05: a flush is due when the VMCB or the processor is another */
    cached(315);
    lead_to(other, 7);
    plain.vcpu = 6;
    stale("TLB-05", "gpa", page);
    check("TLB-05", read_on(0, 315, 0), OLD, "another VMCB with the same ASID");
    plain.vcpu = 4;
    cached(316);
    lead_to(other, 7);
    check("TLB-05", read_on(1, 316, 0), NEW, "the VMCB on another processor");
    stale("TLB-05", "gpa", page);
    check("TLB-05", read_on(0, 316, 0), OLD, "and back");
    cached(317);
    lead_to(other, 7);
    read_on(1, 317, 0);
    check("TLB-05", read_on(0, 317, 3), NEW, "and back with a flush");
}

/* A field changes while its clean bit is not set, another one is, and all are */
static void clean_bits(void)
{
    static const uint32_t clean[] = { 0, ~1u, ~0u };
    const uint64_t v = VMCB(plain.vcpu);
    unsigned i;

    cached(319);
    for (i = 0; i < 3; i++) {
        F64(v, V_TSC_OFFSET)++;
        F32(v, V_CLEAN) = clean[i];
        check("CLEAN-01", vmrun(v).code, 0x81, "a field has changed");
    }
    stale("CLEAN-01", "at", V_TSC_OFFSET);
}

/* ---- SNP guests ---- */

static uint64_t snp(unsigned vcpu, uint64_t rsi, uint64_t rax, const void *code)
{
    struct regs r = { .rsi = rsi, .rax = rax };
    struct exit e;

    F8(VMCB(vcpu), V_TLB) = 0;
    e = vcpu_call(vcpu, &r, code);
    if (!vcpu_done(vcpu, &e) || r.fault.vector != NONE) {
        bail("the guest cannot access", rsi);
    }
    return r.rax;
}

static void snp_read(uint64_t gva)
{
    got = snp(0, gva, 0, i_load8);
}

/* vCPU 0 has @page of its own translated, vCPU 2 lets it lead to @other */
static void guest_remaps(const char *insn_rule, const void *before)
{
    page = guest_page();
    other = guest_page();
    snp(0, page, OLD, i_store8);
    snp(0, other, NEW, i_store8);
    snp(0, page, 0, i_load8);
    if (!insn_rule) {
        stale("TLB-05", "gva", page);
    } else {
        expect("# flushed: ", insn_rule, "gva", page);
    }
    if (before == i_invlpga) {
        attempt(&(struct regs) { .rax = page, .rcx = ASID }, before);
    }
    snp(2, guest_pte(page), CBIT | other | 7, i_store8);
    if (insn_rule && before != i_invlpga) {
        snp(2, page, 0, before);
    }
    check(insn_rule ? insn_rule : "TLB-05", snp(2, page, 0, i_load8), NEW,
          "(what is the guest's own is looked up anew)");
    snp(2, guest_pte(page), CBIT | page | 7, i_store8);
    snp(2, page, 0, i_invlpg);
}

static void snp_guests(void)
{
    vcpu_start(0, 0);
    vcpu_start(2, 0);
    cpu_run(1, run_guest, VMCB(0));     /* with a flush */
    cpu_wait(1);
    vcpu_start(0, 0);

    page = fresh();
    other = fresh();
    F64(page, 0) = OLD;
    F64(other, 0) = NEW;
    snp_read(SHARED(page));
    lead_to(other, 7);
    snp_read(SHARED(page));
    check("TLB-01", got, OLD, "a translation of an SNP guest's");
    cpu_run(1, snp_read, SHARED(page));
    cpu_wait(1);
    check("TLB-01", got, NEW, "is its processor's");
    stale("TLB-05", "gpa", page);
    stale("TLB-05", "gva", SHARED(page));
    snp_read(SHARED(page));
    check("TLB-01", got, NEW, "PCPU_ID of another processor flushes");
    lead_to(page, 7);
    snp_read(SHARED(page));
    check("TLB-01", got, NEW, "as long as it stays, not again");
    vcpu_prepare(0, 0);
    F8(VMCB(0), V_TLB) = 0;
    vmrun(VMCB(0));
    snp_read(SHARED(page));
    check("TLB-01", got, OLD, "PCPU_ID 0 flushes");
    vcpu_start(0, 0);

    guest_remaps(NULL, NULL);
    vcpu_start(0, 0);
    guest_remaps("TLB-06", i_invlpg);
    vcpu_start(0, 0);
    guest_remaps("TLB-06", i_flush);
    vcpu_start(0, 0);
    guest_remaps("TLB-04", i_invlpga);
    vcpu_start(0, 0);
}

void rules_tlb(void)
{
    survives();
    told();
    clean_bits();
    snp_guests();
}
