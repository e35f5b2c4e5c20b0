/*
 * A hypervisor and a guest that know no rules, from a seed: random RMP entries,
 * RMPUPDATE and PSMASH, VMCBs and VMSAs, accesses, and random instructions in
 * the guest.  Nothing is expected but that the machine goes on; what it does to
 * this image is the image's own fault, so it stays where that does no harm.
 *
 * A guest that does not come back is ended by an NMI from processor 1.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#ifndef SEED
#define SEED            1
#endif
#ifndef ROUNDS
#define ROUNDS          3000
#endif

#define V               3               /* the hostile hypervisor's vCPU */
#define LAPIC_ICR_LO    0xfee00300
#define LAPIC_ICR_HI    0xfee00310

static uint64_t state = SEED * 0x9e3779b97f4a7c15ull + 1;
static volatile uint64_t beat, in_guest;
static uint64_t kinds[8], by_exit[4];

static uint64_t random64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static unsigned below(unsigned n)
{
    return (random64() >> 20) % n;
}

/* A number that may mean something */
static uint64_t random_word(void)
{
    switch (below(8)) {
    case 0:
        return 0;
    case 1:
        return ~0ull;
    case 2:
        return 1ull << below(64);
    case 3:
        return POOL + below(5 * 512) * K4;
    case 4:
        return CBIT | (POOL + below(5 * 512) * K4);
    case 5:
        return below(256);
    default:
        return random64();
    }
}

/* Pages that are nobody's: regions 2 to 6 */
static uint64_t random_page(void)
{
    return POOL + below(5 * 512) * K4;
}

/* ---- processor 1 ---- */

static void watchdog(uint64_t unused)
{
    uint64_t seen = 0;
    unsigned i = 0;

    (void)unused;
    for (;;) {
        asm volatile("pause");
        if (!in_guest || beat != seen) {
            seen = beat;
            i = 0;
        } else if (++i == 20000) {
            mmio_write(LAPIC_ICR_HI, 0);
            mmio_write(LAPIC_ICR_LO, 0x4400);       /* NMI */
            i = 0;
        }
    }
}

static void run(uint64_t vmcb)
{
    struct exit e;

    beat++;
    in_guest = 1;
    e = vmrun(vmcb);
    in_guest = 0;
    by_exit[e.fault != NONE ? 0 : e.code == EXIT_INVALID ? 1 :
            e.code == EXIT_NPF ? 2 : 3]++;
}

/* Whatever the VMCB says, these keep the guest away from the image itself */
static void confine(uint64_t v)
{
    static uint64_t root;
    uint64_t table = F64(v, V_NCR3) & 0x0007fffffffff000;

    /* the first VMCB is as vmcb_init() made it */
    root = root ? root : F64(v, V_NCR3);
    if (table < 0x8000000 && table != root) {
        F64(v, V_NCR3) = root;
    }
    F64(v, V_NP) |= NP_NPT;
    F32(v, V_MISC1) |= 1u << 1 | 1u << 27 | 1u << 28 | 1u << 31;
    F32(v, V_MISC2) |= 0x7f;
    F64(v, V_IOPM) = guest_all_ones();
    F64(v, V_MSRPM) = guest_all_ones() + 4 * K4;    /* all but the GHCB MSR */
}

/* ---- the kinds of rounds ---- */

static void hostile_rmpupdate(void)
{
    struct rmp_state s = {
        .gpa = below(4) ? random_page() : random_word(),
        .assigned = below(4) ? 1 : below(256),
        .size = below(3) ? 0 : below(4),
        .immutable = below(3) ? 0 : below(3),
        .reserved = below(8) ? 0 : below(256),
        .asid = below(3) ? ASID : random_word(),
    };
    uint64_t spa = below(8) ? random_page() : random_word();

    if (below(2)) {
        s = (struct rmp_state) { .size = below(2) };
    }
    if (spa >= POOL && spa < POOL + 5 * M2) {
        update(spa, &s);
        if (below(4) == 0) {
            psmash(below(2) ? spa & -M2 : spa);
        }
        if (below(4) == 0) {
            COMMAND(SNP_PAGE_RECLAIM, spa | below(2));
        }
    } else if (spa >= 0x8000000) {
        update(spa, &s);            /* no RAM there */
        psmash(spa);
    }
}

static void hostile_access(void)
{
    static const char *const way[] = {
        i_load8, i_store8, i_store1, i_store16, i_xchg, i_lock_add,
        i_cmpxchg16b, i_fxsave, i_stos, i_movs, i_vmsave, i_invlpg,
    };
    unsigned i = below(sizeof(way) / sizeof(*way));

    touch(way[i], random_page() + below(4096 - 512));
}

static void hostile_vmrun(void)
{
    static uint8_t vmsa[K4] __attribute__((aligned(4096)));
    uint64_t v = VMCB(V);
    unsigned i;

    vmsa_fill(vmsa, V, below(4));
    for (i = below(8); i; i--) {
        unsigned at = below(0x670 / 8) * 8;

        if (below(2)) {
            F64(vmsa, at) = random_word();
        } else {
            F8(vmsa, at + below(8)) ^= 1 << below(8);
        }
    }
    vmsa_make(VMSA(V), vmsa);
    vmcb_init(V);
    for (i = below(6); i; i--) {
        unsigned at = below(0x200 / 4) * 4;

        if (below(2)) {
            F32(v, at) = random_word();
        } else {
            F8(v, at + below(4)) ^= 1 << below(8);
        }
    }
    if (below(4) == 0) {
        F64(v, V_VMSA) = below(2) ? random_page() : random_word();
    }
    if (below(4) == 0) {
        /* not a page that a guest may have written: it would reach us */
        F64(v, V_NCR3) = below(2) ? UNCOVERED | (below(2) ? CBIT : 0) :
                         F64(v, V_NCR3) ^ 1 << below(12);
    }
    if (below(8) == 0) {
        F64(v, V_NP) = random_word() | NP_NPT;
    }
    if (below(8) == 0) {
        for (i = 0; i < 0x400; i += 8) {
            F64(v, V_SAVE + i) = random_word();
        }
    }
    confine(v);
    run(v);
}

/* Random bytes, or an SNP instruction with random registers, in the guest */
static void hostile_guest(void)
{
    static const char *const insn[] = {
        i_pvalidate, i_rmpadjust, i_rmpquery, i_vmgexit, i_wrmsr, i_rdmsr,
        i_cpuid, i_vmmcall, i_to_cr3, i_to_cr4, i_to_cr0, i_store8, i_load8,
        i_exec, i_movs, i_user, i_hlt, i_int3, i_vmrun, i_rmpupdate,
    };
    static uint64_t page;       /* the first of POOL that is handed out */
    struct regs r = {
        .rax = random_word(), .rcx = random_word(), .rdx = random_word(),
        .rsi = random_word(), .rdi = random_word(), .r8 = random_word(),
    };
    const void *code = insn[below(sizeof(insn) / sizeof(*insn))];
    unsigned i;

    if (!page) {
        page = POOL + K4;
    }
    if (below(2)) {
        for (i = 0; i < 64; i++) {
            F8(MAILBOX(6), i) = random64() >> 24;
        }
        r = (struct regs) { .rsi = SHARED(MAILBOX(6)), .rdi = page, .rcx = 64 };
        vcpu_order(0, &r, i_movs);
        run(VMCB(0));
        r = (struct regs) { .rsi = page + below(16), .rax = random_word(),
                            .rdi = random_page(), .rcx = below(4096) };
        code = i_exec;
    } else if (below(2)) {
        r.rax = random_page();
        r.rcx = below(2);
        r.rdx = below(2) ? below(4) : random_word();
    }
    vcpu_order(0, &r, code);
    confine(VMCB(0));
    run(VMCB(0));
    for (i = below(3); i; i--) {
        run(VMCB(0));
    }
}

void tests(void)
{
    unsigned i, start = 1;

    start_snp();
    guest_launch();

    make(POOL + K4, POOL + K4, false, true, ASID);
    COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1, POOL + K4);
    vmcb_init(V);
    confine(VMCB(V));
    guest_confine();
    cpu_run(1, watchdog, 0);
    print("# seed ");
    print_number(SEED, 10);
    print("\n");
    for (i = 0; i < ROUNDS; i++) {
        unsigned kind = below(4);

        kinds[kind]++;
        switch (kind) {
        case 0:
            hostile_rmpupdate();
            break;
        case 1:
            hostile_access();
            break;
        case 2:
            hostile_vmrun();
            break;
        default:
            /* The guest wrecks itself: a new one now and then */
            if (start || below(40) == 0) {
                guest_load();
                start = 0;
            }
            vcpu_prepare(0, 0);
            confine(VMCB(0));
            run(VMCB(0));
            hostile_guest();
        }
        if (i % 500 == 499) {
            print("# round ");
            print_number(i + 1, 10);
            print("\n");
        }
    }
    print("# VMRUN: ");
    for (i = 0; i < 4; i++) {
        static const char *const name[] = { " faults, ", " invalid, ",
                                            " nested faults, ", " other exits" };

        print_number(by_exit[i], 10);
        print(name[i]);
    }
    print("\n# done\n");
}
