/*
 * The guest's side: private and shared accesses, fetches, page-table walks,
 * PVALIDATE, RMPADJUST, RMPQUERY, VMPLs, and what is in memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define WALK_VA         0x30000000ull   /* nothing of ours is mapped there */
#define WALK_PDE        (GUEST_IMAGE + (256 + 2) * K4 + WALK_VA / M2 * 8)

#define FAULT(vector, error) (1ull << 63 | (uint64_t)(vector) << 32 | (error))
#define NOT_VALIDATED   FAULT(VC, 0x404)
#define FINE            0
#define RMP_READ        (NPF_RMP | NPF_ENC | NPF_FINAL | 5)
#define RMP_WRITE       (NPF_RMP | NPF_ENC | NPF_FINAL | 7)
#define RMP_FETCH       (NPF_RMP | NPF_ENC | NPF_FINAL | 0x15)
#define RMP_WALK        (NPF_RMP | NPF_ENC | NPF_PT | 7)
#define INSN_NPF        (NPF_RMP | NPF_ENC | NPF_FINAL | 5)

static struct exit last;
static struct regs got;
static uint64_t vmpl;           /* of the vCPU under test, which is its number */

/*
 * The guest runs @code with @regs.  FINE; its fault, as FAULT(); or EXITINFO1
 * of #VMEXIT(NPF), after which the guest starts anew.
 */
static uint64_t in_guest(const struct regs *regs, const void *code)
{
    got = *regs;
    last = vcpu_call(vmpl, &got, code);
    if (vcpu_done(vmpl, &last)) {
        return got.fault.vector == NONE ? FINE :
               FAULT(got.fault.vector, got.fault.error);
    }
    vcpu_start(vmpl, vmpl);
    return last.code == EXIT_NPF ? last.info1 : last.code << 48;
}

static uint64_t on(const void *code, uint64_t gva)
{
    return in_guest(&(struct regs) { .rsi = gva, .rax = 0x5a5a }, code);
}

/* Return code of PVALIDATE and friends, or what came instead */
static uint64_t guest_insn(const void *code, uint64_t rax, uint64_t rcx,
                           uint64_t rdx)
{
    uint64_t r = in_guest(&(struct regs) { .rax = rax, .rcx = rcx, .rdx = rdx },
                          code);

    return r ? r : got.rax;
}

static uint64_t pvalidate(uint64_t gva, bool large, bool validate)
{
    return guest_insn(i_pvalidate, gva, large, validate);
}

static uint64_t rmpadjust(uint64_t gva, bool large, uint64_t rdx)
{
    return guest_insn(i_rmpadjust, gva, large, rdx);
}

static uint64_t read_as(uint64_t gva)
{
    uint64_t r = on(i_load8, gva);

    if (r) {
        bail("the guest cannot read", gva);
    }
    return got.rax;
}

static void guest_store(uint64_t gva, uint64_t value)
{
    if (in_guest(&(struct regs) { .rsi = gva, .rax = value }, i_store8)) {
        bail("the guest cannot write", gva);
    }
}

/* A page that is refused for one and the same reason, whatever one does */
static void all_refused(const char *rule, uint64_t gpa, const char *what)
{
    check(rule, on(i_load8, gpa), RMP_READ, what);
    check(rule, last.info2, gpa, what);
    check(rule, on(i_store8, gpa), RMP_WRITE, what);
    check(rule, on(i_lock_add, gpa), RMP_WRITE, what);
    check("ACC-01", on(i_exec, gpa), RMP_FETCH, what);
    check("ACC-08", last.info1, RMP_FETCH, "a fetch's EXITINFO1");
    check("ACC-10", last.info1 >> 37 & 1, 0, "no SSS without VmplSSS");
    check("ACC-11", last.info1 >> 38, 0, "the bits above");
}

/* The guest walks through a page table in @gpa */
static uint64_t walk(uint64_t gpa, uint64_t cbit)
{
    guest_store(WALK_PDE, gpa | cbit | 7);
    return on(i_load8, WALK_VA);
}

/* ---- private accesses ---- */

static void private_access(void)
{
    uint64_t p = fresh(), q = fresh(), table = fresh();

    all_refused("ACC-04", p, "a page of the host's");
    check("CHK-GOWN", on(i_load8, p), RMP_READ, "a page of the host's");
    check("ACC-01", walk(p, CBIT), RMP_WALK, "a walk through it");
    check("ACC-08", last.info1, RMP_WALK, "a walk's EXITINFO1");
    check("ACC-01", walk(p, 0), RMP_WALK, "and without the C-bit");

    make(p, p, false, false, OTHER_ASID);
    all_refused("CHK-GOWN", p, "a page of another guest");
    check("CHK-GOWN", walk(p, CBIT), RMP_WALK, "a walk through it");
    make(p, p + K4, false, false, ASID);
    all_refused("CHK-REV", p, "another GPA");
    check("CHK-REV", walk(p, CBIT), RMP_WALK, "a walk through it");
    make(p, p, false, true, ASID);
    all_refused("CHK-MUT", p, "a Pre-Guest page");
    reclaim(p);
    make_firmware(p);
    all_refused("ACC-04", p, "a Firmware page");
    reclaim(p);
    npt_map(q, UNCOVERED, 7);
    all_refused("CHK-COV", q, "a page that is not covered");
    check("GEOM-05", on(i_load8, q), RMP_READ, "private, not covered");
    check("CHK-COV", pvalidate(q, false, true), INSN_NPF, "PVALIDATE of it");
    npt_map(q, q, 7);

    /* Validated */
    make(p, p, false, false, ASID);
    check("FWPAGE-09", *raw(p) >> 62 & 1, 0, "Guest-Invalid");
    check("ACC-02", on(i_exec, p), NOT_VALIDATED, "a fetch, not validated");
    check("ACC-04", on(i_load8, p), NOT_VALIDATED, "a read, not validated");
    check("CHK-VAL", on(i_store8, p + 8), NOT_VALIDATED, "a write");
    check("ACC-14", got.fault.cr2, p + 8, "CR2 is the address");
    check("ACC-14", got.fault.rip, (uint64_t)i_store8, "a fault");
    check("ACC-02", walk(p, CBIT), NOT_VALIDATED, "a walk, not validated");
    check("ACC-14", got.fault.cr2, WALK_VA, "CR2 is what was translated");
    check("ACC-02", walk(p, 0), NOT_VALIDATED, "and without the C-bit");
    check("PVALIDATE-08", pvalidate(p, false, true), 0, "PVALIDATE");
    check("PVALIDATE-08", got.flags & 1, 0, "no carry: a change");
    check("FWPAGE-10", *raw(p) >> 62 & 1, 1, "Guest-Valid");
    check("PVALIDATE-07", pvalidate(p, false, true), 0, "PVALIDATE again");
    check("PVALIDATE-07", got.flags & 1, 1, "carry: no change");
    check("INSN-06", got.flags & 0x8d5, 0x45, "flags: ZF, PF, CF");
    check("PVALIDATE-09", *raw(p), p | (uint64_t)ASID << 51 | 1 | 1ull << 62,
          "Validated and nothing else");
    check("ACC-04", on(i_store8, p), FINE, "a write, validated");
    check("ACC-04", on(i_lock_add, p), FINE, "an atomic, validated");
    guest_store(p, 0xc3c3c3c3c3c3c3c3);
    check("ACC-01", on(i_exec, p), FINE, "a fetch, validated");

    /* the walker sets A and D in private tables */
    guest_store(table = guest_page(), q | CBIT | 7);
    make(q, q, false, false, ASID);
    check("ACC-04", pvalidate(q, false, true), 0, "PVALIDATE");
    check("ACC-01", walk(table, CBIT), FINE, "a walk through a private table");
    check("ACC-07", read_as(table) & 0x60, 0x20, "A is set");
    on(i_store8, WALK_VA);
    check("ACC-07", read_as(table) & 0x60, 0x60, "D is set");
    check("ACC-01", walk(table, 0), FINE, "a table is private without C-bit");
    guest_store(WALK_PDE, 0);
    check("CHK-VAL", on(i_load8, WALK_VA), FAULT(PF, 0), "(the walk is over)");

    /* a store over two pages, the second not validated */
    check("ACC-04", pvalidate(q, false, false), 0, "PVALIDATE(0)");
    check("PVALIDATE-12", on(i_load8, q), NOT_VALIDATED,
          "PVALIDATE(0) counts at once on its own processor");
    p = q - K4;             /* table or p: whichever lies below */
    if (on(i_load8, p) == FINE) {
        check("ACC-04", on(i_store8, q - 3), NOT_VALIDATED, "a store across");
        check("ACC-14", got.fault.cr2, q, "CR2 is where the page starts");
    }

    /* ACC-16: the host remaps a private GPA to another page of the guest's */
    p = guest_page();
    q = guest_page();
    npt_map(p, q, 7);
    check("ACC-16", on(i_load8, p), RMP_READ, "remapped to another page");
    npt_map(p, p, 7);
    check("ACC-16", on(i_load8, p), FINE, "and back");
    npt_map(p, p, 0);
    check("TLB-02", on(i_load8, p), NPF_ENC | NPF_FINAL | 4,
          "a nested page table that has changed, at the next VMRUN with a flush");
    npt_map(p, p, 5);
    check("ACC-09", on(i_store8, p), NPF_ENC | NPF_FINAL | 7,
          "ENC of a read-only leaf, without RMP");
    npt_map(p, p, 7);

    /* RMPUPDATE takes Validated */
    make(p, p, false, false, ASID);
    check("RMPUPDATE-18", on(i_load8, p), NOT_VALIDATED, "after RMPUPDATE");
}

/* ---- shared accesses ---- */

static void shared_access(void)
{
    uint64_t p = fresh(), g = guest_page();

    F64(p, 0) = 0x1122334455667788;
    check("ACC-05", on(i_store8, SHARED(p)), FINE, "a write to the host's");
    check("ACC-05", F64(p, 0), 0x5a5a, "which the host reads");
    check("ACC-06", read_as(SHARED(p)), 0x5a5a, "and the guest");
    fill(p, 0xc3);
    check("ACC-01", on(i_exec, SHARED(p)), RMP_FETCH,
          "a fetch is private whatever the page table says");
    check("ACC-06", read_as(SHARED(p)), 0xc3c3c3c3c3c3c3c3,
          "data of the same page is still shared");

    check("ACC-05", on(i_store8, SHARED(g)), NPF_RMP | NPF_FINAL | 7,
          "a shared write to a private page");
    check("ACC-08", last.info1 & NPF_ENC, 0, "without ENC");
    check("ACC-05", on(i_lock_add, SHARED(g)), NPF_RMP | NPF_FINAL | 7,
          "an atomic");
    check("ACC-06", on(i_load8, SHARED(g)), FINE, "a shared read of it");
    make_firmware(p);
    check("ACC-05", on(i_store8, SHARED(p)), NPF_RMP | NPF_FINAL | 7,
          "a shared write to a Firmware page");
    reclaim(p);

    check("PVALIDATE-04", pvalidate(SHARED(g), false, true),
          NPF_RMP | NPF_FINAL | 5, "PVALIDATE through a shared mapping");
    check("RMPADJUST-07", rmpadjust(SHARED(g), false, 1),
          NPF_RMP | NPF_FINAL | 5, "RMPADJUST through a shared mapping");

    /* ACC-21: an unpaged guest is private */
}

/* ---- contents ---- */

static void contents(void)
{
    const uint64_t plain = 0x1122334455667788, base = 0x112233445566;
    uint64_t p = guest_page(), q = guest_page(), host, shared, r, same = 0;
    unsigned i;

    guest_store(p, plain);
    guest_store(p + 8, plain);
    guest_store(q, plain);
    host = F64(p, 0);
    check("ENC-01", host != plain, true, "the host reads ciphertext");
    check("ENC-01", F64(p, 0), host, "the same each time");
    check("ENC-01", F64(q, 0) != host, true, "another at another address");
    check("ENC-01", F64(p, 8) != host, true, "another in the same page");
    shared = read_as(SHARED(p));
    check("ACC-06", shared, host, "the guest's shared view is the host's");
    check("ENC-01", read_as(p), plain, "the owner reads plaintext");
    guest_store(p, ~plain);
    check("ENC-01", F64(p, 0) != host, true, "a write is seen at once");
    guest_store(p, plain);
    check("ENC-01", F64(p, 0), host, "and as before for the same plaintext");
    check("ENC-01", F8(p, 0), host & 0xff, "bytes of it");
    check("ENC-01", F32(p, 2), host >> 16 & 0xffffffff, "and misaligned words");
    {
        struct regs s = { .r8 = (uint64_t)i_load8, .rsi = p };

        attempt(&s, i_user);
        check("ENC-01", s.rax, host, "at CPL 3 too");
        s = (struct regs) { .rsi = p, .rdi = q };
        s.rdi = MAILBOX(6), s.rcx = K4;
        attempt(&s, i_movs);
        check("ENC-01", F64(MAILBOX(6), 0), host, "string instructions too");
    }
    guest_store(p + V_SAVE + S_FS_BASE, base);
    attempt(&(struct regs) { .rax = p }, i_vmload);
    r = rdmsr(0xc0000100);
    attempt(&(struct regs) { .rax = HSAVE(0) }, i_vmload);
    check("ENC-01", r == base, false, "VMLOAD too");
    for (i = 0, r = 0; i < 512; i++) {
        r += F64(VMSA(0), i * 8) == 0;
    }
    check("ENC-01", r < 4, true, "a VMSA is unreadable");

    /* a page that changes hands without the firmware */
    make_shared(p);
    check("ENC-01", F64(p, 0), host, "what a guest leaves is ciphertext");
    F64(p, 0) = plain;
    make(p, p, false, false, ASID);
    check("ENC-01", pvalidate(p, false, true), 0, "PVALIDATE");
    check("ENC-01", read_as(p) != plain, true,
          "what the host wrote is garbage to the guest");
    p = fresh();
    memset((void *)p, 0, K4);
    make(p, p, false, false, ASID);
    check("ENC-02", pvalidate(p, false, true), 0, "PVALIDATE");
    for (i = 0; i < 512; i += 16) {
        same += read_as(p + i * 8) == 0;
    }
    check("ENC-02", same, 0, "a page of zeros is not zero to its new owner");

    /* from one guest to another */
    guest_store(p, plain);
    make(p, p, false, false, OTHER_ASID);
    make(p, p, false, false, ASID);
    check("ENC-01", pvalidate(p, false, true), 0, "PVALIDATE");
    check("ENC-01", read_as(p), plain, "back under its key, not written since");

    /* FWCMD-11: the firmware encrypts */
    p = fresh();
    F64(p, 0) = plain;
    make(p, p, false, true, ASID);
    check("ENC-01", F64(p, 0), plain, "Pre-Guest is plaintext");
    check("FWCMD-11", COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1, p), 0,
          "LAUNCH_UPDATE");
    check("FWCMD-11", F64(p, 0) != plain, true, "encrypts in place");
    check("FWCMD-11", read_as(p), plain, "for the guest");
    check("FWCMD-11", raw(p)[1], 0x1f, "VMPL0 may do everything");
}

/* ---- PVALIDATE, RMPADJUST, RMPQUERY ---- */

static void instructions(void)
{
    uint64_t p = fresh(), g = guest_page();
    static struct rmp_state state;

    check("INSN-04", guest_insn(i_rmpupdate, p, SHARED(MAILBOX(6)), 0), 2,
          "RMPUPDATE in a guest");
    check("INSN-04", guest_insn(i_psmash, BIG, 0, 0), 2, "PSMASH in a guest");
    (void)state;
    in_guest(&(struct regs) { .r8 = (uint64_t)i_pvalidate, .rax = g }, i_user);
    check("INSN-03", got.fault.vector, GP, "PVALIDATE at CPL 3");
    in_guest(&(struct regs) { .r8 = (uint64_t)i_rmpadjust, .rax = g }, i_user);
    check("INSN-03", got.fault.vector, GP, "RMPADJUST at CPL 3");
    check("RMPADJUST-01", got.fault.vector, GP, "faults come first");
    in_guest(&(struct regs) { .r8 = (uint64_t)i_rmpquery, .rax = g }, i_user);
    check("INSN-03", got.fault.vector, GP, "RMPQUERY at CPL 3");
    check("INSN-08", on(i_lock_pvalidate, g), FAULT(UD, 0), "LOCK PVALIDATE");
    check("INSN-08", on(i_lock_rmpadjust, g), FAULT(UD, 0), "LOCK RMPADJUST");
    check("INSN-01", guest_insn(i_pvalidate32, g, 0, 1), 0,
          "PVALIDATE in compatibility mode");
    check("INSN-01", got.flags & 1, 1, "with its carry");
    check("INSN-01", guest_insn(i_rmpadjust32, g, 0, 1), FAULT(UD, 0),
          "RMPADJUST in compatibility mode");
    check("RMPREAD-02", on(i_rmpread, g), FAULT(UD, 0), "RMPREAD in a guest");

    /* translation comes first */
    check("PVALIDATE-03", pvalidate(0x7f0000000000, false, true), FAULT(PF, 0),
          "PVALIDATE of what the guest does not map");
    npt_map(p, p, 0);
    check("PVALIDATE-03", pvalidate(p, false, true), NPF_ENC | NPF_FINAL | 4,
          "and of what the host does not");
    check("RMPADJUST-06", rmpadjust(0x7f0000000000, false, 1), FAULT(PF, 0),
          "RMPADJUST of what the guest does not map");
    check("RMPADJUST-06", rmpadjust(p, false, 1), NPF_ENC | NPF_FINAL | 4,
          "and of what the host does not");
    npt_map(p, p, 7);

    check("PVALIDATE-02", pvalidate(g, true, true), 1, "2 MB at a 4 KB address");
    check("RMPADJUST-02", rmpadjust(g, true, 1), 1, "2 MB at a 4 KB address");
    check("PVALIDATE-04", pvalidate(p, false, true), INSN_NPF, "the host's page");
    check("RMPADJUST-07", rmpadjust(p, false, 1), INSN_NPF, "the host's page");
    make(p, p, false, false, OTHER_ASID);
    check("PVALIDATE-04", pvalidate(p, false, true), INSN_NPF, "another guest's");
    check("RMPADJUST-07", rmpadjust(p, false, 1), INSN_NPF, "another guest's");
    make(p, p + K4, false, false, ASID);
    check("PVALIDATE-04", pvalidate(p, false, true), INSN_NPF, "another GPA");
    check("RMPADJUST-07", rmpadjust(p, false, 1), INSN_NPF, "another GPA");
    make(p, p, false, true, ASID);
    check("PVALIDATE-04", pvalidate(p, false, true), INSN_NPF, "Pre-Guest");
    check("RMPADJUST-07", rmpadjust(p, false, 1), INSN_NPF, "Pre-Guest");
    reclaim(p);

    make(p, p, false, false, ASID);
    check("RMPADJUST-10", rmpadjust(p, false, 1), NOT_VALIDATED,
          "RMPADJUST, not validated");
    check("RMPADJUST-10", got.fault.cr2, p, "with CR2");
    check("RMPADJUST-04", rmpadjust(g, false, 0), 2, "VMPL0 names VMPL0");
    check("RMPADJUST-03", rmpadjust(g, false, 4), 1, "VMPL 4");
    check("RMPADJUST-03", rmpadjust(g, false, 0xff), 1, "VMPL 255");
    check("RMPADJUST-05", rmpadjust(g, false, 2 << 8 | 1), 1, "W without R");
    check("RMPADJUST-05", rmpadjust(g, false, 9 << 8 | 1), 1, "XS without XU");
    check("RMPADJUST-05", rmpadjust(g, false, 0x15 << 8 | 1), 1, "SSS with X");
    check("RMPADJUST-05", rmpadjust(g, false, 0x20 << 8 | 1), 1, "bit 5");
    check("RMPADJUST-11", rmpadjust(g, false, 0x11 << 8 | 1), 2,
          "SSS, which VMPL0 has not itself");
    check("RMPADJUST-13", rmpadjust(g, false, 3 << 8 | 2), 0, "R and W");
    check("RMPADJUST-13", raw(g)[1], 0x03000f, "of VMPL2");
    check("RAW-02", raw(g)[1], 0x03000f, "is the third byte");
    check("INSN-06", got.flags & 0x8d4, 0x44, "flags of RMPADJUST");
    check("RMPQUERY-01", guest_insn(i_rmpquery, g, 0, 2), 0, "RMPQUERY");
    check("RMPQUERY-01", got.rdx, 3 << 8 | 2, "the mask");
    check("RMPQUERY-01", got.rcx, 0, "the size");
    check("RMPQUERY-01", guest_insn(i_rmpquery, g, 0, 4), 2, "VMPL 4");
    check("RMPADJUST-13", rmpadjust(g, false, 2), 0, "none");
    check("RMPADJUST-13", raw(g)[1], 0x0f, "for VMPL2");
    check("RMPADJUST-12", rmpadjust(g, false, 1 << 16 | 1), 0, "VMSA at VMPL0");
    check("RMPADJUST-12", *raw(g) >> 61 & 1, 1, "is honoured");
    check("RMPQUERY-01", guest_insn(i_rmpquery, g, 0, 1), 0, "RMPQUERY");
    check("RMPQUERY-01", got.rdx >> 16, 1, "shows it");
    check("RMPADJUST-13", rmpadjust(g, false, 1), 0, "VMSA off");
    check("RMPADJUST-13", *raw(g) >> 61 & 1, 0, "is off");
    check("PVALIDATE-13", pvalidate(g, false, true), 0, "0, 1 and 6 are all");
    check("RMPADJUST-15", rmpadjust(g, false, 0xf << 8 | 1), 0,
          "no flush is asked for");
}

/* ---- 2 MB ---- */

static void large_pages(void)
{
    uint64_t five = BIG_GUEST + 5 * K4, l = LARGE(BIG_GUEST);
    unsigned region = (BIG_GUEST - AREA) / M2, i;

    check("ACC-04", on(i_load8, five), RMP_READ, "2 MB of the host's");
    make(BIG_GUEST, BIG_GUEST, true, false, ASID);
    check("ACC-04", on(i_load8, five), NOT_VALIDATED, "2 MB, not validated");
    check("PVALIDATE-05", pvalidate(five, false, true), INSN_NPF | NPF_SIZEM,
          "4 KB of a 2 MB page");
    check("PVALIDATE-06", pvalidate(BIG_GUEST, true, true), 6,
          "2 MB of what the guest maps by 4 KB");
    check("RMPADJUST-08", rmpadjust(five, false, 1), INSN_NPF | NPF_SIZEM,
          "4 KB of a 2 MB page");
    check("PVALIDATE-08", pvalidate(l, true, true), 0, "PVALIDATE of 2 MB");
    check("PVALIDATE-08", got.flags & 1, 0, "no carry");
    check("PVALIDATE-07", pvalidate(l, true, true) | (got.flags & 1), 1,
          "and again, with carry");
    check("ACC-04", on(i_store8, five), FINE, "an access to it");
    check("CHK-SIZE", on(i_store8, l + 7 * K4), FINE, "through 2 MB of its own");
    check("RMPADJUST-13", rmpadjust(l, true, 1 << 8 | 1), 0, "RMPADJUST of 2 MB");
    check("RMPADJUST-13", raw(BIG_GUEST)[1], 0x010f, "its mask");
    check("RMPQUERY-01", guest_insn(i_rmpquery, l, 0, 1) | got.rcx, 1,
          "RMPQUERY tells 2 MB");

    npt_large(region, false);
    check("ACC-PGSZ", on(i_load8, five), RMP_READ, "4 KB leaf, 2 MB entry");
    check("ACC-PGSZ", last.info1 & NPF_SIZEM, 0, "without SIZEM");
    check("CHK-SIZE", on(i_store8, five), RMP_WRITE, "4 KB leaf, 2 MB entry");
    check("RMPADJUST-09", rmpadjust(l, true, 1), INSN_NPF,
          "2 MB of what the host maps by 4 KB");
    check("PVALIDATE-06", pvalidate(l, true, true), 6,
          "2 MB of what the host maps by 4 KB");

    check("PSMASH-06", psmash(BIG_GUEST), 0, "PSMASH");
    check("PSMASH-06", *raw(five) >> 62 & 1, 1, "keeps Validated");
    check("PSMASH-06", raw(five)[1], 0x010f, "and the masks");
    check("PSMASH-06", on(i_load8, five), FINE, "4 KB leaf, 4 KB entry");
    npt_large(region, true);
    check("ACC-PGS2", on(i_load8, five), RMP_READ, "2 MB leaf, 4 KB entry");
    check("PSMASH-08", on(i_store8, five), RMP_WRITE, "after PSMASH");
    check("RMPADJUST-09", rmpadjust(l, true, 1), 6, "2 MB of a 4 KB entry");
    check("PVALIDATE-06", pvalidate(l, true, true), 6, "2 MB of a 4 KB entry");
    check("PVALIDATE-05", pvalidate(five, false, true), INSN_NPF | NPF_SIZEM,
          "4 KB of what the host maps by 2 MB");
    check("RMPADJUST-09", rmpadjust(five, false, 1), INSN_NPF,
          "RMPADJUST, 4 KB entry, 2 MB leaf");

    /* ACC-13: the size comes before Validated */
    npt_large(region, false);
    check("ACC-13", pvalidate(five, false, false), 0, "PVALIDATE(0)");
    check("ACC-13", on(i_load8, five), NOT_VALIDATED, "4 KB leaf: #VC");
    npt_large(region, true);
    check("ACC-13", on(i_load8, five), RMP_READ, "2 MB leaf: NPF");

    /* a shared write through 2 MB of the host's with one private page */
    for (i = 0; i < 512; i++) {
        if (i != 5) {
            make_shared(BIG_GUEST + i * K4);
        }
    }
    check("HOST-05", on(i_store8, SHARED(BIG_GUEST)), NPF_RMP | NPF_FINAL | 7,
          "a guest's shared write through a 2 MB leaf");
    check("ACC-20", on(i_store8, SHARED(BIG_GUEST)), NPF_RMP | NPF_FINAL | 7,
          "2 MB at a time");
    make_shared(five);
    check("ACC-20", on(i_store8, SHARED(BIG_GUEST)), FINE, "all of it the host's");
}

/* ---- VMPLs ---- */

static void vmpls(void)
{
    uint64_t g = guest_page(), x;
    unsigned i;

    vcpu_start(1, 1);
    vcpu_start(2, 2);
    for (i = 1; i < 3; i++) {
        vmpl = i;
        check("CHK-VMPL", on(i_load8, g), RMP_READ | NPF_VMPL, "nothing: read");
        check("CHK-VMPL", on(i_store8, g), RMP_WRITE | NPF_VMPL, "write");
        check("ACC-03", on(i_exec, g), RMP_FETCH | NPF_VMPL, "fetch");
        check("ACC-08", last.info1, RMP_FETCH | NPF_VMPL, "EXITINFO1 of VMPL");
        vmpl = 0;
        check("RMPADJUST-13", rmpadjust(g, false, 1 << 8 | i), 0, "R");
        vmpl = i;
        check("CHK-VMPL", on(i_load8, g), FINE, "R: read");
        check("CHK-VMPL", on(i_store8, g), RMP_WRITE | NPF_VMPL, "R: write");
        check("CHK-VMPL", on(i_lock_add, g), RMP_WRITE | NPF_VMPL, "R: atomic");
        check("ACC-03", on(i_exec, g), RMP_FETCH | NPF_VMPL, "R: fetch");
        vmpl = 0;
        check("RMPADJUST-13", rmpadjust(g, false, 3 << 8 | i), 0, "R, W");
        vmpl = i;
        check("CHK-VMPL", on(i_store8, g), FINE, "RW: write");
        guest_store(g, 0xc3c3c3c3c3c3c3c3);
        check("ACC-03", on(i_exec, g), RMP_FETCH | NPF_VMPL, "RW: fetch");
        vmpl = 0;
        check("RMPADJUST-13", rmpadjust(g, false, 5 << 8 | i), 0, "R, XU");
        vmpl = i;
        check("ACC-03", on(i_exec, g), RMP_FETCH | NPF_VMPL, "XU: fetch at CPL 0");
        x = in_guest(&(struct regs) { .r8 = g }, i_user);
        check("ACC-03", x, FINE, "XU: fetch at CPL 3");
        vcpu_order(i, &(struct regs) { .r8 = g, .rsi = g }, i_user);
        vcpu_then(i, i_exec);
        last = vcpu_resume(i, &got);
        check("ACC-03", last.code == EXIT_NPF ? last.info1 : last.code,
              RMP_FETCH | NPF_VMPL, "XU: at CPL 0 after one at CPL 3");
        check("ACC-12", last.info2, g, "with its address");
        vcpu_start(i, i);
        vmpl = 0;
        check("RMPADJUST-13", rmpadjust(g, false, 0xd << 8 | i), 0, "XS");
        vmpl = i;
        check("ACC-03", on(i_exec, g), FINE, "XS: fetch at CPL 0");
        vmpl = 0;
    }

    /* the instructions above VMPL0 */
    vmpl = 1;
    check("PVALIDATE-01", pvalidate(g, false, true), FAULT(GP, 0),
          "PVALIDATE at VMPL1");
    check("RMPADJUST-04", rmpadjust(g, false, 1), 2, "VMPL1 names VMPL1");
    check("RMPADJUST-04", rmpadjust(g, false, 0), 2, "VMPL1 names VMPL0");
    check("RMPADJUST-11", rmpadjust(g, false, 3 << 8 | 2), 2,
          "VMPL1 gives W, which it has not");
    check("RMPADJUST-11", rmpadjust(g, false, 1 << 8 | 2), 0, "VMPL1 gives R");
    check("RMPADJUST-12", rmpadjust(g, false, 1 << 16 | 1 << 8 | 2), 0,
          "VMSA bit at VMPL1");
    check("RMPADJUST-12", *raw(g) >> 61 & 1, 0, "is ignored");
    check("RMPQUERY-01", guest_insn(i_rmpquery, g, 0, 0), 2,
          "VMPL1 asks about VMPL0");
    check("RMPQUERY-01", guest_insn(i_rmpquery, g, 0, 1), 0, "about itself");

    /* a page table that VMPL1 may read only: the walker writes A */
    vmpl = 0;
    guest_store(g, guest_page() | CBIT | 7);
    check("ACC-07", rmpadjust(g, false, 1 << 8 | 1), 0, "R");
    guest_store(WALK_PDE, g | CBIT | 7);
    vmpl = 1;
    check("ACC-07", on(i_load8, WALK_VA), RMP_WALK | NPF_VMPL,
          "A in a table that VMPL1 cannot write");
    vmpl = 0;
    x = guest_page();
    check("ACC-07", rmpadjust(x, false, 3 << 8 | 1), 0, "R, W of what it maps");
    guest_store(g, x | CBIT | 0x27);
    vmpl = 1;
    check("ACC-07", on(i_load8, WALK_VA), FINE, "with A set, it is but read");
    check("ACC-07", on(i_store8, WALK_VA), RMP_WALK | NPF_VMPL, "a store sets D");
    vmpl = 0;
    guest_store(g, x | CBIT | 0x67);
    vmpl = 1;
    check("ACC-07", on(i_store8, WALK_VA), FINE, "with A and D set");
    vmpl = 0;
    guest_store(WALK_PDE, 0);
}

/* ---- other guests ---- */

struct plain plain = { .vcpu = 4, .asid = 300, .tlb = 3 };

static uint64_t plain_guest_np(uint64_t np, const void *code, uint64_t rsi,
                               uint64_t *info2)
{
    static uint64_t stack[64];
    uint64_t v = VMCB(plain.vcpu), s = v + V_SAVE;
    struct regs r = { .rax = v, .rsi = rsi };

    vmcb_init(plain.vcpu);
    F64(v, V_NP) = np;
    F32(v, V_ASID) = plain.asid;
    F8(v, V_TLB) = plain.tlb;
    F32(v, V_EXCEPTIONS) = 1 << PF | 1 << GP | 1 << UD | 1 << 8;
    F64(v, V_NRIP) = F64(v, V_BYTES) = 0x5555;
    stack[32] = (uint64_t)i_vmmcall;
    plain_save(s, code, (uint64_t)&stack[32]);
    F64(s, S_RAX) = rsi;
    /* plain SVM hands over the other registers as they are */
    attempt(&r, i_vmrun);
    *info2 = F64(v, V_INFO2);
    return F64(v, V_EXIT) == EXIT_NPF ? F64(v, V_INFO1) : F64(v, V_EXIT);
}

uint64_t plain_guest(const void *code, uint64_t rsi, uint64_t *info2)
{
    return plain_guest_np(NP_NPT, code, rsi, info2);
}

static void other_guests(void)
{
    uint64_t p = fresh(), info2;

    check("NSNP-01", plain_guest(i_store8, p, &info2), 0x81,
          "a plain guest writes to the host's page");
    check("EXIT-16", F64(VMCB(4), V_NRIP), (uint64_t)i_vmmcall + 3,
          "VMMCALL: nRIP");
    check("EXIT-16", F8(VMCB(4), V_BYTES), 0, "and no instruction bytes");
    check("EXIT-16", plain_guest(i_to_cr4, 1 << 15, &info2), 0x40 + GP,
          "a reserved bit in CR4");
    check("EXIT-16", F64(VMCB(4), V_NRIP), 0, "#GP: no nRIP");
    make(p, p, false, false, OTHER_ASID);
    check("NSNP-01", plain_guest(i_store8, p, &info2), NPF_RMP | NPF_FINAL | 7,
          "to an assigned page");
    check("EXIT-16", F64(VMCB(4), V_NRIP), 0, "NPF: no nRIP");
    check("EXIT-16", F64(VMCB(4), V_BYTES) & 0xffffffffff,
          0xc3068948ull << 8 | 15, "and the instruction's bytes");
    check("NSNP-01", info2 & -K4, p, "with its address");
    check("VMSAVE-01", plain_guest(i_vmsave, p, &info2), 0x40 + GP,
          "a plain guest's VMSAVE, not intercepted, to it");
    check("NSNP-02", plain_guest(i_load8, p, &info2), 0x81,
          "a read of an assigned page");
    check("NSNP-01", plain_guest_np(0, i_store8, p, &info2), 0x40 + PF,
          "to it without nested paging");
    check("NSNP-01", F64(VMCB(4), V_INFO1), 0x80000003, "with its error code");
    check("VMRUN-01", plain_guest(i_vmrun + 3, p, &info2), 0x80,
          "a guest's VMRUN is intercepted, wherever its VMCB is");
    check("INUSE-01", *raw(VMCB(4)), *raw(VMCB(4)) & 0xff8, "VMCB's mark is off");
    make_shared(p);
    make_firmware(p);
    fill(MAILBOX(6), 0xc3);
    check("NSNP-02", plain_guest(i_load8, p, &info2), 0x81, "Firmware page");
    reclaim(p);
    p = guest_page();
    guest_store(p, 0x77);
    check("ENC-01", F64(p, 0) != 0x77, true, "another guest's view");
    check("INSN-05", plain_guest(i_pvalidate, 0, &info2), 0x40 + UD,
          "PVALIDATE in a plain guest");
    check("VMGEXIT-02", plain_guest(i_vmgexit, 0, &info2), 0x81,
          "VMGEXIT elsewhere is VMMCALL");
    check("EXIT-13", plain_guest(i_nop, 0, &info2), 0x81, "(a nop)");
}

void rules_guest(void)
{
    vcpu_start(0, 0);
    private_access();
    shared_access();
    contents();
    instructions();
    large_pages();
    vmpls();
    other_guests();
}
