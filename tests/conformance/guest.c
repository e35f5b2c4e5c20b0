/*
 * The guest: a copy of this image in private memory, at the same virtual
 * addresses, which runs what it is told by a shared page; and its launch.
 *
 * Guest physical addresses are system physical ones, unless a test remaps.
 * The page tables lie behind the image in GUEST_IMAGE and map, in the guest's
 * address space: the image; AREA one to one, private; AREA at SHARED(),
 * without the C-bit; AREA at LARGE(), private, by 2 MB leaves.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define IMAGE           0x100000ull
#define IMAGE_PAGES     256
#define TABLE(n)        (GUEST_IMAGE + (IMAGE_PAGES + (n)) * K4)
#define NR_TABLES       23
#define T_PML4          TABLE(0)
#define T_PDPT          TABLE(1)
#define T_PD(gb)        TABLE(2 + (gb))
#define T_IMAGE         TABLE(6)
#define T_PRIVATE(r)    TABLE(7 + (r))
#define T_SHARED(r)     TABLE(15 + (r))

#define NPT             0x400000ull     /* in low memory, ours alone */
#define N_PML4          NPT
#define N_PDPT          (NPT + K4)
#define N_PD            (NPT + 2 * K4)
#define N_PT(r)         (NPT + (6 + (r)) * K4)
#define IOPM            (NPT + 16 * K4) /* all ones: 3 pages, and 2 for MSRs */
#define MSRPM           (NPT + 20 * K4)

#define LEAF            7
#define LARGE_LEAF      0x87

#define MSR_GHCB        0xc0010130
#define GHCB_DONE       0x5a5a5000ull   /* + vCPU */

extern char __bss_end[];

struct mailbox {
    struct regs regs;
    uint64_t code, then;
    volatile uint64_t served;
};

static struct mailbox *box(unsigned vcpu)
{
    return (struct mailbox *)MAILBOX(vcpu);
}

/* ---- in the guest ---- */

/* Not the hypervisor's to print for us: tell it where we died, and stop */
static void guest_disaster(const struct frame *f)
{
    wrmsr(MSR_GHCB, f->rip << 12 | f->vector);
    for (;;) {
        asm volatile(".byte 0xf3, 0x0f, 0x01, 0xd9");
    }
}

static void guest_main(uint64_t vcpu)
{
    struct mailbox *b = (struct mailbox *)SHARED(MAILBOX(vcpu));
    struct regs r;

    on_disaster = guest_disaster;
    for (;;) {
        wrmsr(MSR_GHCB, GHCB_DONE + vcpu);
        asm volatile(".byte 0xf3, 0x0f, 0x01, 0xd9" : : : "memory");
        r = b->regs;
        attempt(&r, (const void *)b->code);
        if (b->then) {
            r = b->regs;
            attempt(&r, (const void *)b->then);
        }
        b->regs = r;
        b->served++;
    }
}

/* ---- nested page tables ---- */

void npt_map(uint64_t gpa, uint64_t spa, uint64_t flags)
{
    F64(N_PT((gpa - AREA) / M2), gpa / K4 % 512 * 8) = spa | flags;
}

uint64_t nested_table(uint64_t gpa)
{
    return N_PT((gpa - AREA) / M2);
}

void npt_large(unsigned region, bool large)
{
    F64(N_PD, (AREA / M2 + region) * 8) =
        large ? REGION(region) | LARGE_LEAF : N_PT(region) | LEAF;
}

static void npt_build(void)
{
    unsigned i;

    memset((void *)NPT, 0, 14 * K4);
    F64(N_PML4, 0) = N_PDPT | LEAF;
    for (i = 0; i < 4; i++) {
        F64(N_PDPT, i * 8) = (N_PD + i * K4) | LEAF;
    }
    for (i = 0; i < 2048; i++) {
        F64(N_PD, i * 8) = i * M2 | LARGE_LEAF;
    }
    for (i = 0; i < AREA_REGIONS * 512; i++) {
        npt_map(AREA + i * K4, AREA + i * K4, LEAF);
    }
    for (i = 0; i < AREA_REGIONS; i++) {
        npt_large(i, false);
    }
    npt_large((BIG_GUEST - AREA) / M2, true);
    memset((void *)IOPM, 0xff, 4 * K4);
    memset((void *)MSRPM, 0, 2 * K4);
}

/* ---- launch ---- */

static void guest_tables(void)
{
    const uint64_t priv = CBIT | 7, dir = CBIT | 7;
    unsigned i, r;

    memset((void *)TABLE(0), 0, NR_TABLES * K4);
    F64(T_PML4, 0) = T_PDPT | dir;
    for (i = 0; i < 4; i++) {
        F64(T_PDPT, i * 8) = T_PD(i) | dir;
    }
    F64(T_PD(0), 0) = T_IMAGE | dir;
    for (i = 0; i < IMAGE_PAGES; i++) {
        F64(T_IMAGE, (IMAGE / K4 + i) * 8) = (GUEST_IMAGE + i * K4) | priv;
    }
    for (r = 0; r < AREA_REGIONS; r++) {
        uint64_t at = (AREA / M2 + r) * 8;

        F64(T_PD(0), at) = T_PRIVATE(r) | dir;
        F64(T_PD(1), at) = T_SHARED(r) | dir;
        F64(T_PD(2), at) = REGION(r) | priv | 0x80;
        for (i = 0; i < 512; i++) {
            F64(T_PRIVATE(r), i * 8) = (REGION(r) + i * K4) | priv;
            F64(T_SHARED(r), i * 8) = (REGION(r) + i * K4) | 7;
        }
    }
}

uint64_t guest_pte(uint64_t gva)
{
    return T_PRIVATE((gva - AREA) / M2) + gva / K4 % 512 * 8;
}

static void launch_page(uint64_t spa, unsigned type, uint64_t perms)
{
    unsigned status;

    make(spa, spa, false, true, ASID);
    status = COMMAND(SNP_LAUNCH_UPDATE, CTX, type << 1, spa, perms << 8);
    if (status) {
        bail("SNP_LAUNCH_UPDATE failed for", spa | status);
    }
}

/* Nothing of ours is within the guest's reach but its image, pages and boxes */
void guest_confine(void)
{
    unsigned i;

    for (i = 0; i < 2048; i++) {
        if (i < AREA / M2 || i >= AREA / M2 + AREA_REGIONS) {
            F64(N_PD, i * 8) = 0;
        }
    }
    for (i = 0; i < 512; i++) {
        if (i < 16 || i >= 24) {
            npt_map(AREA + i * K4, AREA + i * K4, 0);
        }
    }
    /* what a confined VMCB names: all intercepted, but for the GHCB MSR */
    memset((void *)IOPM, 0xff, 6 * K4);
    F8(IOPM, 5 * K4 + 0x130 / 4) = 0xfc;
}

uint64_t guest_all_ones(void)
{
    return IOPM;
}

/* The image as it is now, and page tables */
void guest_load(void)
{
    unsigned i;

    for (i = 0; i < IMAGE_PAGES + NR_TABLES; i++) {
        if (*raw(GUEST_IMAGE + i * K4) & 1) {
            make_shared(GUEST_IMAGE + i * K4);
        }
    }
    guest_tables();
    memcpy((void *)GUEST_IMAGE, (void *)IMAGE, (uint64_t)__bss_end - IMAGE);
    for (i = 0; i < IMAGE_PAGES + NR_TABLES; i++) {
        if (i >= IMAGE_PAGES ||
            IMAGE + i * K4 < ((uint64_t)__bss_end + K4 - 1)) {
            launch_page(GUEST_IMAGE + i * K4, 1, 0x0f0f0f);
        }
    }
}

void guest_launch(void)
{
    const uint64_t policy = 1ull << 16 | 1ull << 17 | 1ull << 19;

    npt_build();
    make_firmware(CTX);
    if (COMMAND(SNP_GCTX_CREATE, CTX) ||
        COMMAND(SNP_LAUNCH_START, CTX, policy) ||
        COMMAND(SNP_ACTIVATE, CTX, ASID)) {
        bail("no guest", 0);
    }
    guest_load();
}

static void seg(uint8_t *vmsa, unsigned off, uint16_t sel, uint16_t attrib,
                uint32_t limit, uint64_t base)
{
    F16(vmsa, off) = sel;
    F16(vmsa, off + 2) = attrib;
    F32(vmsa, off + 4) = limit;
    F64(vmsa, off + 8) = base;
}

void vmsa_fill(uint8_t *vmsa, unsigned vcpu, unsigned vmpl)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdtr, idtr;
    uint64_t tss;

    asm volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
    memset(vmsa, 0, K4);
    seg(vmsa, S_ES, SEL_DATA, 0xc93, ~0u, 0);
    seg(vmsa, S_CS, SEL_CODE, 0xa9b, ~0u, 0);
    seg(vmsa, S_SS, SEL_DATA, 0xc93, ~0u, 0);
    seg(vmsa, S_DS, SEL_DATA, 0xc93, ~0u, 0);
    seg(vmsa, S_GDTR, 0, 0, gdtr.limit, gdtr.base);
    seg(vmsa, S_IDTR, 0, 0, idtr.limit, idtr.base);
    tss = ((uint64_t *)gdtr.base)[6 + 2 * vcpu];
    seg(vmsa, S_TR, SEL_TSS + 16 * vcpu, 0x08b, 0x67,
        (tss >> 16 & 0xffffff) | (tss >> 56) << 24);
    F8(vmsa, S_VMPL) = vmpl;
    F64(vmsa, S_EFER) = 0x1d00;
    F64(vmsa, S_CR4) = 0x220;
    F64(vmsa, S_CR3) = T_PML4 | CBIT;
    F64(vmsa, S_CR0) = 0x80010033;
    F64(vmsa, S_DR6) = 0xffff0ff0;
    F64(vmsa, S_DR7) = 0x400;
    F64(vmsa, S_RFLAGS) = 2;
    F64(vmsa, S_RIP) = (uint64_t)guest_main;
    F64(vmsa, S_RSP) = (uint64_t)stacks + (vcpu + 1) * STACK_SIZE - 8;
    F64(vmsa, S_RDI) = vcpu;
    F64(vmsa, S_PAT) = 0x0007040600070406;
    F64(vmsa, S_FEATURES) = 1;
    F64(vmsa, S_XCR0) = 1;
    F32(vmsa, S_MXCSR) = 0x1f80;
    F16(vmsa, S_FCW) = 0x40;
}

void vmsa_make(uint64_t spa, const uint8_t *vmsa)
{
    if (*raw(spa) & 1) {
        make_shared(spa);
    }
    memcpy((void *)spa, vmsa, K4);
    launch_page(spa, 2, 0);
}

void vmcb_init(unsigned vcpu)
{
    uint64_t v = VMCB(vcpu);

    memset((void *)v, 0, K4);
    F32(v, V_MISC2) = 3;                    /* VMRUN, VMMCALL */
    F32(v, V_MISC1) = 1u << 31;             /* shutdown */
    F64(v, V_IOPM) = IOPM;
    F64(v, V_MSRPM) = MSRPM;
    F32(v, V_ASID) = ASID;
    F8(v, V_TLB) = 3;
    F64(v, V_NP) = NP_NPT | NP_SEV | NP_ES;
    F64(v, V_NCR3) = N_PML4;
    F64(v, V_LBR) = 1;
    F64(v, V_VMSA) = VMSA(vcpu);
}

struct exit vmrun(uint64_t vmcb)
{
    struct regs r = { .rax = vmcb };

    attempt(&r, i_vmrun);
    if (r.fault.vector != NONE) {
        touch(i_stgi, 0);
    }
    return (struct exit) { F64(vmcb, V_EXIT), F64(vmcb, V_INFO1),
                           F64(vmcb, V_INFO2), r.fault.vector };
}

bool vcpu_done(unsigned vcpu, const struct exit *e)
{
    return e->fault == NONE && e->code == EXIT_VMGEXIT &&
           F64(VMCB(vcpu), V_GHCB) == GHCB_DONE + vcpu;
}

void vcpu_prepare(unsigned vcpu, unsigned vmpl)
{
    static uint8_t vmsa[K4] __attribute__((aligned(4096)));

    vmcb_init(vcpu);
    vmsa_fill(vmsa, vcpu, vmpl);
    vmsa_make(VMSA(vcpu), vmsa);
    memset(box(vcpu), 0, K4);
}

void vcpu_start(unsigned vcpu, unsigned vmpl)
{
    struct exit e;

    vcpu_prepare(vcpu, vmpl);
    e = vmrun(VMCB(vcpu));
    if (!vcpu_done(vcpu, &e)) {
        print("# the guest does not come up: exit 0x");
        print_number(e.code, 16);
        print(" info1 0x");
        print_number(e.info1, 16);
        print(" info2 0x");
        print_number(e.info2, 16);
        print(" fault 0x");
        print_number(e.fault, 16);
        print("\n");
        bail("GHCB", F64(VMCB(vcpu), V_GHCB));
    }
}

void vcpu_order(unsigned vcpu, const struct regs *r, const void *code)
{
    box(vcpu)->regs = *r;
    box(vcpu)->code = (uint64_t)code;
    box(vcpu)->then = 0;
}

void vcpu_then(unsigned vcpu, const void *code)
{
    box(vcpu)->then = (uint64_t)code;
}

struct exit vcpu_resume(unsigned vcpu, struct regs *r)
{
    struct exit e = vmrun(VMCB(vcpu));

    *r = box(vcpu)->regs;
    return e;
}

struct exit vcpu_call(unsigned vcpu, struct regs *r, const void *code)
{
    vcpu_order(vcpu, r, code);
    return vcpu_resume(vcpu, r);
}

uint64_t guest_page(void)
{
    uint64_t spa = fresh();
    struct regs r = { .rax = spa, .rdx = 1 };
    struct exit e;

    make(spa, spa, false, false, ASID);
    e = vcpu_call(0, &r, i_pvalidate);
    if (!vcpu_done(0, &e) || r.rax || r.fault.vector != NONE) {
        bail("PVALIDATE failed for", spa);
    }
    return spa;
}
