/*
 * Two processors: what a running guest holds, and that no translation outlives
 * the RMP entry it came from.
 *
 * Processor 1 runs guests and loops, processor 0 looks and changes.  Nothing
 * here depends on time: each waits until the other has come so far.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define GUEST           1               /* the vCPU on processor 1 */
#define ROUNDS          40
#define IN_USE          (0xfffull << 52)
#define HOST_WRITE      0x80000003

/* What i_spin looks at: a shared page, [0] says it runs, [1] that it may stop */
static volatile uint64_t *flags(void)
{
    return (volatile uint64_t *)MAILBOX(5);
}

static struct exit ended;

void run_guest(uint64_t vmcb)
{
    ended = vmrun(vmcb);
}

/* The guest counts at @gva on processor 1; returns once it does */
void start_guest(uint64_t gva)
{
    struct regs r = { .rsi = SHARED(MAILBOX(5)), .rdi = gva, .rbx = 1 };

    flags()[0] = flags()[1] = 0;
    vcpu_order(GUEST, &r, i_spin);
    cpu_run(1, run_guest, VMCB(GUEST));
    while (!flags()[0] && cpu_busy(1)) {
        asm volatile("pause");
    }
}

void stop_guest(void)
{
    flags()[1] = 1;
    cpu_wait(1);
}

static uint64_t fault_of(const void *code, uint64_t addr)
{
    struct fault f = touch(code, addr);

    return f.vector == NONE ? NONE : f.vector << 32 | f.error;
}

#define FAULT(vector, error)    ((uint64_t)(vector) << 32 | (error))

/* ---- in use ---- */

static void in_use(void)
{
    uint64_t sa = VMSA(GUEST), v = VMCB(GUEST), before, vmcb_before, counter;
    static const struct rmp_state again = { 0x5000, 1, 0, 0, 0, ASID };
    struct regs r;
    struct exit e;
    unsigned i, changed = 0;

    vcpu_start(GUEST, 0);
    counter = fresh();
    before = *raw(sa);
    vmcb_before = *raw(v);
    start_guest(SHARED(counter));
    check("INUSE-01", flags()[0], 1, "the guest runs");
    check("RAW-06", *raw(sa), before | IN_USE, "63:52 all ones, the rest as is");
    check("INUSE-01", *raw(sa) >> 52, 0xfff, "VMSA in use");
    check("RAW-08", *raw(v) & ~0xff8ull, IN_USE, "VMCB in use, not assigned");
    check("INUSE-01", *raw(v) >> 52, 0xfff, "VMCB in use");
    check("RMPUPDATE-13", release(sa, false), 3, "RMPUPDATE of a VMSA in use");
    check("RMPUPDATE-13", update(sa, &again), 3, "also to assign");
    check("RMPUPDATE-13", release(v, false), 3, "of a VMCB in use");
    check("RMPUPDATE-15", update(sa, &(struct rmp_state) { .reserved = 1 }), 1,
          "INPUT comes before INUSE");
    check("RMPUPDATE-14", release(sa & -M2, true), 3, "2 MB around it");
    check("INUSE-03", *raw(sa), before | IN_USE, "no change of the entry");
    check("INSN-07", release(sa, false), 3, "FAIL_INUSE is 3");
    check("HOST-07", fault_of(i_store8, sa), FAULT(PF, HOST_WRITE),
          "host write to a VMSA in use");
    flush_tlb();
    check("HOST-06", fault_of(i_store8, v + 0xf00), FAULT(PF, HOST_WRITE),
          "host write to a VMCB in use");
    check("HOST-02", fault_of(i_load8, v), NONE, "a read of the VMCB");
    check("HOST-02", fault_of(i_load8, sa), NONE, "a read of the VMSA");
    for (i = 0; i < 512; i++) {
        changed += F64(sa, i * 8) == 0;
    }
    check("ENC-01", changed < 4, true, "a VMSA in use is unreadable");
    check("FWPAGE-12", COMMAND(SNP_PAGE_RECLAIM, sa) != 0, true,
          "the firmware leaves it alone");
    r = (struct regs) { .rax = v };
    attempt(&r, i_vmsave);
    check("VMSAVE-01", r.fault.vector, GP, "VMSAVE to a VMCB in use");

    /* the same VMSA and the same VMCB once more, on this processor */
    vmcb_init(2);
    F64(VMCB(2), V_VMSA) = sa;
    e = vmrun(VMCB(2));
    check("VMSA-08", e.code, EXIT_INVALID, "a VMSA that runs elsewhere");
    check("VMSA-08", *raw(sa), before | IN_USE, "keeps its mark");
    check("VMRUN-26", *raw(VMCB(2)) >> 52, 0, "the refused VMCB has none");
    check("INUSE-05", vmrun(v).fault, GP, "a VMCB that runs elsewhere");
    check("INUSE-05", *raw(v) >> 52, 0xfff, "keeps its mark");

    /* another vCPU of the guest cannot get at it either */
    vcpu_start(0, 0);
    r = (struct regs) { .rsi = sa };
    e = vcpu_call(0, &r, i_load8);
    check("ACC-17", e.code == EXIT_NPF && (e.info1 & NPF_RMP), true,
          "a guest's read of a VMSA in use");
    check("CHK-USE", e.info1, NPF_RMP | NPF_ENC | NPF_FINAL | 5, "EXITINFO1");
    vcpu_start(0, 0);
    r = (struct regs) { .rax = sa, .rdx = 1 };
    e = vcpu_call(0, &r, i_rmpadjust);
    check("RMPADJUST-14", e.code == EXIT_NPF && (e.info1 & NPF_RMP), true,
          "RMPADJUST of it");
    vcpu_start(0, 0);
    r = (struct regs) { .rax = sa };
    e = vcpu_call(0, &r, i_pvalidate);
    check("PVALIDATE-11", e.code == EXIT_NPF && (e.info1 & NPF_RMP), true,
          "PVALIDATE of it");
    vcpu_start(0, 0);

    check("INUSE-07", cpu_busy(1) && *raw(sa) >> 52 == 0xfff, true,
          "the mark stands as long as the guest runs");
    stop_guest();
    check("INUSE-02", *raw(sa), before, "#VMEXIT takes the mark off");
    check("RAW-07", *raw(sa), before, "and the hidden bits are back");
    check("INUSE-04", *raw(v), vmcb_before, "of the VMCB too");
    check("INUSE-02", ended.code, EXIT_VMGEXIT, "the guest came to its end");
    check("HOST-06", fault_of(i_store8, v + 0xf00), NONE, "VMCB writable again");
    check("RMPUPDATE-13", release(sa, false), 0, "and the VMSA can go");
    check("RMPUPDATE-22", *raw(sa) & ~0xff8ull, 0, "it is gone");
}

/* HOST-08: a 2 MB aligned VMCB blocks writes by 2 MB leaves to its region */
static void erratum(void)
{
    uint64_t pde = pd[BIG2 / M2];

    vcpu_start(GUEST, 0);
    memcpy((void *)BIG2, (void *)VMCB(GUEST), K4);
    pd[BIG2 / M2] = BIG2 | 0x87;
    flush_tlb();
    check("HOST-08", fault_of(i_store8, BIG2 + 9 * K4), NONE, "before");
    flags()[0] = flags()[1] = 0;
    vcpu_order(GUEST, &(struct regs) { .rsi = SHARED(MAILBOX(5)),
                                       .rdi = SHARED(MAILBOX(6)) }, i_spin);
    cpu_run(1, run_guest, BIG2);
    while (!flags()[0] && cpu_busy(1)) {
        asm volatile("pause");
    }
    flush_tlb();
    check("HOST-08", fault_of(i_store8, BIG2 + 9 * K4), FAULT(PF, HOST_WRITE),
          "a write elsewhere in the region, through a 2 MB leaf");
    stop_guest();
    check("HOST-08", fault_of(i_store8, BIG2 + 9 * K4), NONE, "after");
    pd[BIG2 / M2] = pde;
    flush_tlb();
}

/* A VMSA inside a 2 MB entry: PSMASH and the base's fields */
static void large_vmsa(void)
{
    static uint8_t vmsa[K4] __attribute__((aligned(4096)));
    uint64_t sa = BIG_GUEST + 9 * K4, v = VMCB(2);
    struct regs r;
    struct exit e;

    vcpu_start(0, 0);
    npt_large((BIG_GUEST - AREA) / M2, true);
    make(BIG_GUEST, BIG_GUEST, true, false, ASID);
    r = (struct regs) { .rax = LARGE(BIG_GUEST), .rcx = 1, .rdx = 1 };
    e = vcpu_call(0, &r, i_pvalidate);
    vmsa_fill(vmsa, 2, 0);
    F64(vmsa, S_RSP) = (uint64_t)stacks + 3 * STACK_SIZE - 8;
    memcpy((void *)MAILBOX(7), vmsa, K4);
    r = (struct regs) { .rsi = SHARED(MAILBOX(7)), .rdi = sa, .rcx = K4 };
    e = vcpu_call(0, &r, i_movs);
    check("VMSA-09", vcpu_done(0, &e) && r.fault.vector == NONE, true,
          "a VMSA in a 2 MB page");
    r = (struct regs) { .rax = LARGE(BIG_GUEST), .rcx = 1, .rdx = 1 << 16 | 1 };
    e = vcpu_call(0, &r, i_rmpadjust);
    vmcb_init(2);
    F64(v, V_VMSA) = sa;
    e = vmrun(v);
    check("VMSA-09", e.code, EXIT_VMGEXIT, "the base decides: it runs");

    flags()[0] = flags()[1] = 0;
    vcpu_order(2, &(struct regs) { .rsi = SHARED(MAILBOX(5)),
                                   .rdi = SHARED(MAILBOX(6)) }, i_spin);
    cpu_run(1, run_guest, v);
    while (!flags()[0] && cpu_busy(1)) {
        asm volatile("pause");
    }
    check("VMSA-09", *raw(sa) >> 52, 0xfff, "the mark is in its own slot");
    check("PSMASH-07", psmash(BIG_GUEST), 3, "PSMASH with a page in use");
    check("PSMASH-03", psmash(BIG_GUEST), 3, "and again");
    check("RMPUPDATE-14", release(BIG_GUEST, true), 3, "RMPUPDATE of 2 MB");
    check("RMPUPDATE-13", release(sa, false), 3, "of the page in it");
    stop_guest();
    check("PSMASH-07", psmash(BIG_GUEST), 0, "afterwards");
}

/* ---- no stale translation ---- */

static volatile uint64_t writer_fault;

/* Host writes on processor 1 until it cannot */
static void write_until_fault(uint64_t page)
{
    struct regs r = { .rsi = MAILBOX(5), .rdi = page, .rbx = 1 };

    attempt(&r, i_spin);
    writer_fault = r.fault.vector == NONE ? NONE :
                   r.fault.vector << 32 | r.fault.error;
}

/*
 * Processor 1 has to stop by itself, and the page must not change meanwhile.
 * How often it did; that ends the wait too, or a stale translation would hang us.
 */
static uint64_t settle(uint64_t page)
{
    uint64_t seen = F64(page, 0), wrong = 0;
    unsigned i;

    while (cpu_busy(1) && wrong < 10) {
        wrong += F64(page, 0) != seen;
    }
    for (i = 0; i < 200; i++) {
        wrong += F64(page, 0) != seen;
    }
    stop_guest();
    return wrong;
}

static void host_race(void)
{
    uint64_t page = fresh(), wrong = 0, faults = 0;
    unsigned i;

    for (i = 0; i < ROUNDS; i++) {
        F64(page, 0) = 0;
        flags()[0] = flags()[1] = 0;
        cpu_run(1, write_until_fault, page);
        while (!F64(page, 0) && cpu_busy(1)) {
            asm volatile("pause");
        }
        make(page, 0x5000, false, i & 1, i & 1 ? 0 : OTHER_ASID);
        wrong += settle(page);
        faults += writer_fault == FAULT(PF, HOST_WRITE);
        if (i & 1) {
            reclaim(page);
        } else {
            make_shared(page);
        }
    }
    check("RMPUPDATE-29", wrong, 0, "a host write after RMPUPDATE elsewhere");
    check("RMPUPDATE-29", faults, ROUNDS, "the writer faults each time");
}

static void guest_race(void)
{
    uint64_t page = fresh(), priv, wrong = 0, exits = 0;
    unsigned i;

    /* a shared page becomes private to another */
    for (i = 0; i < ROUNDS; i++) {
        vcpu_start(GUEST, 0);
        F64(page, 0) = 0;
        start_guest(SHARED(page));
        while (!F64(page, 0) && cpu_busy(1)) {
            asm volatile("pause");
        }
        make(page, 0x5000, false, false, OTHER_ASID);
        wrong += settle(page);
        exits += ended.code == EXIT_NPF &&
                 ended.info1 == (NPF_RMP | NPF_FINAL | 7);
        make_shared(page);
    }
    check("RMPUPDATE-29", wrong, 0, "a guest's shared write after RMPUPDATE");
    check("RMPUPDATE-29", exits, ROUNDS, "the guest exits each time");

    /* a private page is taken away */
    vcpu_start(0, 0);
    priv = guest_page();
    for (i = wrong = exits = 0; i < ROUNDS; i++) {
        struct regs r = { .rax = priv, .rdx = 1 };

        if (i) {
            make(priv, priv, false, false, ASID);
            vcpu_call(0, &r, i_pvalidate);
        }
        vcpu_start(GUEST, 0);
        start_guest(priv);
        make_shared(priv);
        wrong += settle(priv);
        exits += ended.code == EXIT_NPF &&
                 (ended.info1 & ~2ull) == (NPF_RMP | NPF_ENC | NPF_FINAL | 5);
    }
    check("RMPUPDATE-29", wrong, 0, "a guest's private write after RMPUPDATE");
    check("RMPUPDATE-29", exits, ROUNDS, "the guest exits each time");
}

/* PSMASH while a guest uses the page through a 2 MB leaf: it must notice */
static void smash_race(void)
{
    struct regs r;
    uint64_t wrong = 0;
    unsigned i, exits = 0;

    for (i = 0; i < 8; i++) {
        unsigned j;

        vcpu_start(0, 0);
        for (j = 0; j < 512; j++) {
            if (*raw(BIG_GUEST + j * K4) & 1) {
                make_shared(BIG_GUEST + j * K4);
            }
        }
        make(BIG_GUEST, BIG_GUEST, true, false, ASID);
        r = (struct regs) { .rax = LARGE(BIG_GUEST), .rcx = 1, .rdx = 1 };
        vcpu_call(0, &r, i_pvalidate);
        vcpu_start(GUEST, 0);
        start_guest(BIG_GUEST + 5 * K4);
        if (psmash(BIG_GUEST)) {
            break;
        }
        wrong += settle(BIG_GUEST + 5 * K4);
        exits += ended.code == EXIT_NPF;
    }
    check("PSMASH-08", wrong, 0, "a write by a 2 MB translation after PSMASH");
    check("PSMASH-08", exits, 8, "a guest that uses the 2 MB page exits");
}

/* Two hypervisors on one page: one of them wins, the entry is whole */
static volatile uint64_t contend_rc[5];

static void contend(uint64_t page)
{
    unsigned i;

    for (i = 0; i < 300; i++) {
        unsigned rc = rmpupdate(page, 0x7000, true, false, false, 7);

        contend_rc[rc < 4 ? rc : 4]++;
        rc = release(page, false);
        contend_rc[rc < 4 ? rc : 4]++;
    }
}

static void rmpupdate_race(void)
{
    uint64_t page = fresh(), base = *raw(page & -M2) >> 3 & 0x1ff, bad = 0;
    unsigned i;

    cpu_run(1, contend, page);
    for (i = 0; i < 300; i++) {
        uint64_t e;

        rmpupdate(page, 0x9000, true, false, false, 8);
        e = *raw(page);
        bad += e != 0 && e != (0x9001 | 8ull << 51) && e != (0x7001 | 7ull << 51);
        release(page, false);
    }
    cpu_wait(1);
    check("PSMASH-03", bad, 0, "an entry is never half written");
    check("RMPUPDATE-13", contend_rc[0], 600, "nothing of it was in use");
    check("RMPUPDATE-24", *raw(page & -M2) >> 3 & 0x1ff, base,
          "the count after two processors changed it");
}

/* ---- what is a processor's own ---- */

/*
 * Restoring the FPU on another processor takes nothing from a guest, whether
 * its nested paging or its host's interrupts: QEMU's did (docs/findings).
 */
static void own_mode(void)
{
    unsigned wrong = 0, i;

    vcpu_start(0, 0);
    cpu_restores_fpu(1, MAILBOX(5));
    for (i = 0; i < 50000 && !wrong; i++) {
        struct regs r = { };
        struct exit e = vcpu_call(0, &r, i_nop);

        wrong += !vcpu_done(0, &e) || r.fault.vector != NONE;
    }
    check("VMRUN-25", wrong, 0,
          "a guest's mode, while another processor restores its FPU");
    cpu_restored_fpu(1);
    if (wrong) {
        vcpu_start(0, 0);
    }
}

/* ---- code that another processor writes ---- */

static void cross_modifying(void)
{
    check("XMC-01", cross_modify(fresh(), true, false), 0, "beside other code");
    check("XMC-01", cross_modify(fresh(), false, false), 0, "alone in its page");
    /*
     * The second write finds a page that nobody has translated, or just now:
     * translated code may have looked at its TLB and not yet written.  Once in
     * half a million turns on a busy machine, most turns without the fix
     * (docs/findings).
     */
    check("XMC-01", cross_modify(fresh(), false, true) < CROSS_TURNS / 100, true,
          "written twice");
}

void rules_smp(void)
{
    cross_modifying();
    own_mode();
    in_use();
    erratum();
    large_vmsa();
    host_race();
    guest_race();
    smash_race();
    rmpupdate_race();
}

/* ---- the platform's end ---- */

/* SNP_EN goes while processor 1 is in a guest, which nothing forbids */
void rules_shutdown(void)
{
    uint64_t sa = VMSA(GUEST), counter, seen;
    struct regs *r = (struct regs *)MAILBOX(GUEST);
    unsigned status;

    vcpu_start(GUEST, 0);
    counter = fresh();
    flags()[0] = flags()[1] = 0;
    vcpu_order(GUEST, &(struct regs) { .rsi = SHARED(MAILBOX(5)),
                                       .rdi = SHARED(counter), .rbx = 1,
                                       .rax = counter }, i_outlive);
    cpu_run(1, run_guest, VMCB(GUEST));
    while (!flags()[0] && cpu_busy(1)) {
        asm volatile("pause");
    }
    check("SYSCFG-09", *raw(sa) >> 52, 0xfff, "a guest runs");
    check("SYSCFG-09", COMMAND(SNP_DECOMMISSION, CTX), 0, "it loses its context");
    wbinvd();
    do {
        status = command_at(SNP_DF_FLUSH, 0);
    } while (status == WBINVD_REQUIRED && cpu_busy(1));
    check("SYSCFG-09", status, 0, "its ASID is free");
    check("SYSCFG-09", COMMAND(SNP_SHUTDOWN_EX, 3ull << 32 | 8), 0,
          "SNP_SHUTDOWN_EX with X86_SNP_SHUTDOWN");
    check("FWCMD-20", *raw(sa) >> 52 == 0xfff, false,
          "it answers when all processors are done");
    check("SYSCFG-09", rdmsr(MSR_SYSCFG) & SYSCFG_SNP_EN, 0, "clears SNP_EN");
    seen = F64(counter, 0);
    while (F64(counter, 0) < seen + 2 && cpu_busy(1)) {
        asm volatile("pause");
    }
    check("SYSCFG-09", cpu_busy(1), true, "the guest inside goes on");
    check("SYSCFG-09", *raw(sa) >> 52 == 0xfff, false, "without its marks");
    stop_guest();
    check("SYSCFG-09", ended.code, EXIT_VMGEXIT, "and leaves as ever");
    check("INSN-02", r->fault.vector, UD, "PVALIDATE without SNP_EN");
    check("SYSCFG-09", vmrun(VMCB(GUEST)).code, EXIT_INVALID,
          "there is no way back in");
}
