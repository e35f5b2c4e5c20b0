/*
 * What QEMU does wrong without anything of ours in it: a case per bug of
 * docs/findings/qemu-*.md, in an image of its own (-DBUG=n).  A case that fails
 * prints "not ok", or QEMU ends.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define EXIT_VMMCALL    0x81
#define EXIT_EXCEPTION  0x40
#define VECTOR          31      /* what exception() knows, and the APIC takes */
#define TS              10
#define HPET            0xfed00000ull

static uint64_t v = VMCB(0), s = VMCB(0) + V_SAVE;
static uint64_t stack[64];

/* VMRUN of @code, which ends in VMMCALL; the exit code */
static void plain_vmcb(const void *code)
{
    memset((void *)v, 0, K4);
    F32(v, V_MISC2) = 3;                /* VMRUN, VMMCALL */
    F32(v, V_MISC1) = 1u << 31;         /* shutdown */
    F32(v, V_ASID) = 1;
    F8(v, V_TLB) = 1;
    stack[32] = (uint64_t)i_vmmcall;
    plain_save(s, code, (uint64_t)&stack[32]);
}

static uint64_t enter(void)
{
    attempt(&(struct regs) { .rax = v }, i_vmrun);
    return F64(v, V_EXIT);
}

static uint64_t vector_of(const void *code, uint64_t addr)
{
    struct regs r = { .rsi = addr, .r8 = (uint64_t)code };

    attempt(&r, i_user);
    return r.fault.vector;
}

/* What a race lost, of how many tries: one is too many */
static void race(uint64_t lost, uint64_t tries, const char *name)
{
    print("# ");
    print_number(lost, 10);
    print(" of ");
    print_number(tries, 10);
    print("\n");
    is(lost, 0, name);
}

/* ---- the nested page table: one to one, but for one page ---- */

static uint64_t n_pml4[512], n_pdpt[512], n_pd[512]
    __attribute__((aligned(4096)));

static void nested_paging(void)
{
    n_pml4[0] = (uint64_t)n_pdpt | 7;
    n_pdpt[0] = (uint64_t)n_pd | 7;
    memcpy(n_pd, pd, K4);
    F64(v, V_NP) = NP_NPT;
    F64(v, V_NCR3) = (uint64_t)n_pml4;
}

/* ---- the bugs ---- */

static void refused_vmrun(void)
{
    unsigned i, changed = 0;

    plain_vmcb(i_nop);
    F32(v, V_INT_CTL) = 1 << 24 | 5;
    F32(v, V_EVENTINJ) = 0x123;
    F32(v, V_ASID) = 0;                 /* APM volume 2, 15.5.1: illegal */
    memset((void *)s, 0xa5, K4 - V_SAVE);
    is((uint32_t)enter(), ~0u, "VMRUN with ASID 0 is refused");
    is(F32(v, V_INT_CTL), 1 << 24 | 5, "V_INTR_MASKING and V_TPR stay");
    is(F32(v, V_EVENTINJ), 0x123, "EVENTINJ stays");
    for (i = 0; i < K4 - V_SAVE; i++) {
        changed += F8(s, i) != 0xa5;
    }
    is(changed, 0, "bytes written in the save area");
}

static void reserved_bit(void)
{
    struct fault f;

    area_pt[0][1] |= 1ull << 50;
    flush_tlb();
    f = touch(i_load8, PAGE(1));
    is(f.vector, PF, "a reserved bit in a page table entry is a #PF");
    is(f.error, 9, "its error code: RSV and P");
    area_pt[0][1] &= ~(1ull << 50);
    flush_tlb();
    plain_vmcb(i_load8);
    nested_paging();
    n_pd[AREA / M2] = AREA | 1ull << 50 | 0x87;
    attempt(&(struct regs) { .rax = v, .rsi = PAGE(1) }, i_vmrun);
    is(F64(v, V_EXIT), EXIT_NPF, "a nested page fault, too");
    is(F32(v, V_INFO1), 0xd, "its EXITINFO1: RSV, P and user");
}

static void iommu_event(uint64_t log)
{
    memset((void *)PAGE(0), 0, 8 * K4);
    mmio_write64(IOMMU_BASE + 0x00, DEVTAB);
    mmio_write64(IOMMU_BASE + 0x08, IOMMU_COMMANDS | 8ull << 56);
    if (log) {
        mmio_write64(IOMMU_BASE + 0x10, log | 8ull << 56);
    }
    mmio_write64(IOMMU_BASE + 0x18, 1 | 1 << 2 | 1 << 12);
    F64(IOMMU_COMMANDS, 0) = 15ull << 60;               /* no command */
    mmio_write64(IOMMU_BASE + 0x2008, 16);
}

static void iommu_logs(void)
{
    iommu_event(EVENT_LOG);
    is(F64(EVENT_LOG, 0) >> 60, 5, "an illegal command is logged as such");
}

static void iommu_address(void)
{
    iommu_event(EVENT_LOG);
    if (F64(EVENT_LOG, 0)) {
        is(F64(EVENT_LOG, 8), IOMMU_COMMANDS, "an event has its address");
    } else {
        print("# no event is logged\n");
    }
}

static void iommu_no_log(void)
{
    print("# the event log is enabled, and nobody has said where it is\n");
    iommu_event(0);
    is(mmio_read64(IOMMU_BASE + 0x2008), 16, "the IOMMU is still there");
}

static void iommu_polled(void)
{
    iommu_event(EVENT_LOG);
    is(mmio_read64(IOMMU_BASE + 0x2020) & 2, 2,
       "EventLogInt without EventIntEn");
}

static void host_paging(void)
{
    uint64_t before, after;

    plain_vmcb(i_nop);
    F64(s, S_EFER) = 0x1900;            /* SVME, NXE and LME, not LMA */
    F64(s, S_CR0) = 0x33;
    F64(s, S_CR4) = 0;
    F16(s, S_CS + 2) = 0xc9b;
    F64(s, S_RIP) = (uint64_t)i_vmmcall;
    asm volatile("mov %%cr0, %0" : "=r"(before));
    is(enter(), EXIT_VMMCALL, "a guest without paging and PAE has EFER.LME");
    asm volatile("mov %%cr0, %0" : "=r"(after));
    is(after, before, "the host's CR0 after it");
}

static void write_cr8(void)
{
    plain_vmcb(i_to_cr8);
    F32(v, V_INT_CTL) = 1 << 24 | 15 << 16 | 1 << 8;    /* V_IRQ */
    print("# the guest writes CR8 while a virtual interrupt waits\n");
    is(enter(), EXIT_VMMCALL, "and goes on");
}

/* Processor 1 sends interrupts, processor 0 takes them between VMRUNs */
static volatile uint64_t entries, taken, lost;
#define INTERRUPTS      5000

static void send_interrupts(uint64_t unused)
{
    uint64_t i, from;

    for (i = 1; i <= INTERRUPTS; i++) {
        mmio_write(LAPIC + 0x310, 0);
        mmio_write(LAPIC + 0x300, 0x4000 | VECTOR);
        from = entries;
        while (taken < i) {
            /* Looked at in this order: this processor may be held up between */
            if (entries - from > 1000 && taken < i) {
                lost++;
                taken = i;
            }
        }
    }
    (void)unused;
}

static void virq(void)
{
    struct regs r;

    mmio_write(LAPIC + 0xf0, 0x1ff);
    plain_vmcb(i_vmmcall);
    F8(v, V_TLB) = 0;
    F32(v, V_INT_CTL) = 1 << 24 | 15 << 16 | 1 << 8;
    cpu_run(1, send_interrupts, 0);
    while (cpu_busy(1)) {
        enter();
        entries++;
        r = (struct regs) { };
        attempt(&r, i_sti);
        if (r.fault.vector == VECTOR) {
            mmio_write(LAPIC + 0xb0, 0);
            taken++;
        }
    }
    race(lost, INTERRUPTS, "interrupts that 1000 VMRUNs later were not taken");
}

/* The guest's page table is where only nested paging finds it */
static void remapped_guest(void)
{
    plain_vmcb(i_vmmcall);
    nested_paging();
    n_pd[REGION(1) / M2] = n_pd[(uint64_t)pml4 / M2];
    F64(s, S_CR3) = REGION(1) + (uint64_t)pml4 % M2;
}

static void ignne(void)
{
    unsigned i, wrong = 0, n = 100000;

    remapped_guest();
    cpu_restores_fpu(1, PAGE(1));
    for (i = 0; i < n; i++) {
        if (enter() != EXIT_VMMCALL) {
            wrong++;
            remapped_guest();
        }
    }
    cpu_restored_fpu(1);
    race(wrong, n, "VMRUNs without nested paging");
}

static void cache_insns(void)
{
    is(vector_of(i_nop, 0), NONE, "(a NOP at CPL 3)");
    is(vector_of(i_invd, 0), GP, "INVD at CPL 3: vector");
    is(vector_of(i_wbinvd, 0), GP, "WBINVD at CPL 3: vector");
}

/* Processor 1 reads its APIC, processor 0 moves what is below it in the memory map */
#define READS           3000
static volatile uint64_t astray;

static void read_apic(uint64_t page)
{
    unsigned i, n;

    for (n = 0; n < READS; n++) {
        bool wrong = false;
        uint64_t from = LAPIC, to = page, count = K4 / 4;

        asm volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count)
                     : : "memory");
        for (i = 0x320; i < 0x380; i += 4) {
            wrong |= F32(page, i) != 0x10000;   /* vectors, masked */
        }
        astray += wrong;
    }
}

/* Map the device in, or out: the memory map changes, and each processor hears of it */
static void change_map(void)
{
    static uint32_t command;

    command ^= 2;
    pci_config(pci_find(PCI_EDU), 4, &command);
}

static void stale_section(void)
{
    cpu_run(1, read_apic, PAGE(1));
    while (cpu_busy(1)) {
        change_map();
    }
    race(astray, READS, "reads of the APIC that go to another device");
}

static void cross_modifying(void)
{
    race(cross_modify(PAGE(1), true, false), CROSS_TURNS,
         "old code is run, beside other code");
    race(cross_modify(PAGE(2), false, false), CROSS_TURNS,
         "old code is run, alone in its page");
    race(cross_modify(PAGE(3), false, true), CROSS_TURNS,
         "old code is run, written twice");
}

/*
 * #UD at CPL 3 of a guest whose TR VMLOAD has taken from the VMCB: the processor
 * wants the stack of CPL 0 from a TSS, and TR holds none.
 */
static void no_tss(uint16_t attributes, bool long_mode, const char *name)
{
    static uint32_t idt32[7][2];

    plain_vmcb(i_ud2);
    F32(v, V_EXCEPTIONS) = 1 << TS;
    F8(s, S_CPL) = 3;
    F16(s, S_CS) = SEL_USER_CODE;
    F16(s, S_CS + 2) = 0xafb;
    F16(s, S_SS) = SEL_USER_DATA;
    F16(s, S_SS + 2) = 0xcf3;
    F16(s, S_TR) = SEL_TSS;
    F16(s, S_TR + 2) = attributes;
    F32(s, S_TR + 4) = 0x67;
    if (!long_mode) {
        F64(s, S_EFER) = 0x1000;
        F64(s, S_CR0) = 0x33;
        F64(s, S_CR4) = 0;
        F16(s, S_CS + 2) = 0xcfb;
        idt32[6][0] = 8 << 16;
        idt32[6][1] = 0x8e00;
        F64(s, S_IDTR + 8) = (uint64_t)idt32;
        F32(s, S_IDTR + 4) = sizeof(idt32) - 1;
    }
    attempt(&(struct regs) { .rax = PAGE(1) }, i_vmsave);
    attempt(&(struct regs) { .rax = v }, i_vmload);
    enter();
    attempt(&(struct regs) { .rax = PAGE(1) }, i_vmload);
    is(F64(v, V_EXIT), EXIT_EXCEPTION + TS, name);
}

static void invalid_tss(void)
{
    print("# a guest's TSS is not present, or something else\n");
    no_tss(0x00b, true, "long mode, not present: #TS");
    no_tss(0x00b, false, "protected mode, not present: #TS");
    no_tss(0x082, false, "protected mode, an LDT: #TS");
}

/* Processor 0 injects interrupts, and hears of the memory map from processor 1 */
#define EVENTS          20000
static volatile uint64_t delivered, all_delivered;
void on_event(void);
asm("on_event: incq delivered(%rip)\n"
    "mov $2000, %ecx\n"
    "1: dec %ecx\n"
    "jnz 1b\n"
    "vmmcall\n");

static void change_maps(uint64_t unused)
{
    while (!all_delivered) {
        change_map();
    }
    (void)unused;
}

static void injected_twice(void)
{
    static uint64_t gates[VECTOR + 1][2];
    uint64_t on = (uint64_t)on_event;
    unsigned i, twice = 0;

    gates[VECTOR][0] = (on & 0xffff) | SEL_CODE << 16 | 0x8eull << 40 |
                       on >> 16 << 48;
    cpu_run(1, change_maps, 0);
    for (i = 0; i < EVENTS; i++) {
        plain_vmcb(i_vmmcall);
        F32(v, V_EVENTINJ) = 1u << 31 | VECTOR;
        F32(s, S_IDTR + 4) = sizeof(gates) - 1;
        F64(s, S_IDTR + 8) = (uint64_t)gates;
        delivered = 0;
        enter();
        twice += delivered != 1;
    }
    all_delivered = 1;
    while (cpu_busy(1)) {
    }
    race(twice, EVENTS, "injected interrupts that were not delivered once");
}

/* A reserved bit of CR4 is #GP(0), whether or not there was a guest before */
static void reserved_cr(void)
{
    static bool tried;
    struct regs r = { .rax = 1ull << 15 | 0x220 };

    plain_vmcb(i_vmmcall);
    enter();
    if (tried) {
        is(1, 0, "the host does not go on where its last guest has ended");
        return;
    }
    tried = true;
    F64(v, V_EXIT) = 0x1234;
    attempt(&r, i_to_cr4);
    is(r.fault.vector, GP, "a reserved bit in CR4: #GP");
    is(F64(v, V_EXIT), 0x1234, "no VMCB is written");
    plain_vmcb(i_to_cr4);
    F32(v, V_EXCEPTIONS) = 1 << GP;
    F64(s, S_RAX) = r.rax;
    is(enter(), EXIT_EXCEPTION + GP, "a guest's: #GP, too");
}

static void vmcb_in_device(void)
{
    struct regs r = { .rax = LAPIC };

    attempt(&r, i_vmsave);
    is(r.fault.vector, NONE, "VMSAVE to a device comes to its end");
    attempt(&r, i_vmload);
    is(r.fault.vector, NONE, "VMLOAD from a device, too");
}

/* A timer that says it has no FSB interrupts is told to store to memory */
static void hpet_fsb(void)
{
    F32(PAGE(1), 0) = 0;
    mmio_write64(HPET + 0x10, 0);                   /* off */
    mmio_write64(HPET + 0xf0, 0);                   /* the counter */
    is(mmio_read64(HPET + 0x100) >> 15 & 1, 0, "timer 0 has no FSB interrupts");
    mmio_write64(HPET + 0x100, 1 << 14 | 1 << 2);   /* FSB, on */
    mmio_write64(HPET + 0x110, PAGE(1) << 32 | 0x5a5a);
    mmio_write64(HPET + 0x108, 1000);
    mmio_write64(HPET + 0x10, 1);
    while (mmio_read64(HPET + 0xf0) < 10000000) {
    }
    is(F32(PAGE(1), 0), 0, "and stores nothing");
}

/*
 * The gate of an interrupt is translated by an entry in the HPET, whose comparator is
 * memory while the counter stands; processor 1 reads its APIC.
 */
#define WINDOW          0xa0000000ull

static void table_in_device(void)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr;
    unsigned wrong = 0, n = 0;
    struct regs r;

    asm volatile("sidt %0" : "=m"(idtr));
    memcpy((void *)PAGE(2), (void *)idtr.base, idtr.limit + 1);
    idtr.base = WINDOW + 0x108 / 8 * K4;
    pd[WINDOW / M2] = HPET | 3;
    flush_tlb();
    asm volatile("lidt %0" : : "m"(idtr));
    mmio_write64(HPET + 0x10, 0);
    mmio_write(LAPIC + 0xf0, 0x1ff);
    print("# interrupts while processor 1 reads its APIC\n");
    cpu_run(1, read_apic, PAGE(1));
    for (; cpu_busy(1); n++) {
        mmio_write64(HPET + 0x108, PAGE(2) | 3);
        flush_tlb();
        mmio_write(LAPIC + 0x310, 0);
        mmio_write(LAPIC + 0x300, 0x4000 | VECTOR);
        r = (struct regs) { };
        attempt(&r, i_sti);
        mmio_write(LAPIC + 0xb0, 0);
        wrong += r.fault.vector != VECTOR || !(mmio_read64(HPET + 0x108) & 0x20);
    }
    race(wrong, n, "interrupts that do not come, or leave no Accessed bit");
}

void tests(void)
{
    static void (*const bug[])(void) = {
        [1] = refused_vmrun, [2] = reserved_bit, [3] = iommu_logs,
        [4] = host_paging, [5] = write_cr8, [6] = virq, [7] = ignne,
        [8] = iommu_address, [9] = cache_insns, [10] = stale_section,
        [11] = cross_modifying, [12] = invalid_tss, [13] = injected_twice,
        [14] = iommu_no_log, [15] = iommu_polled, [17] = reserved_cr,
        [18] = vmcb_in_device, [19] = hpet_fsb, [20] = table_in_device,
    };

    wrmsr(MSR_VM_HSAVE_PA, HSAVE(0));
    bug[BUG]();
    done();
}
