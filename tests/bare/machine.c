/*
 * The bare machine under the bare-metal tests.
 *
 * TAP goes to the first serial port.  The end is a reset by the chipset's
 * register, which -no-reboot turns into QEMU's exit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "machine.h"

#define PORT_SERIAL     0x3f8
#define PORT_SERIAL_LSR 0x3fd
#define LSR_THRE        0x20
#define PORT_RESET      0xcf9
#define RESET_FULL      0x0e

static struct { uint16_t off0, sel, flags, off1; uint32_t off2, zero; } idt[32];
uint64_t area_pt[AREA_REGIONS][512] __attribute__((aligned(4096)));
static unsigned tests;

void *memset(void *to, int byte, unsigned long len)
{
    uint8_t *t = to;

    while (len--) {
        *t++ = byte;
    }
    return to;
}

void *memcpy(void *to, const void *from, unsigned long len)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    while (len--) {
        *t++ = *f++;
    }
    return to;
}

int memcmp(const void *a, const void *b, unsigned long len)
{
    const uint8_t *x = a, *y = b;

    for (; len; len--, x++, y++) {
        if (*x != *y) {
            return *x - *y;
        }
    }
    return 0;
}

/* ---- TAP ---- */

void print(const char *s)
{
    while (*s) {
        while (!(inb(PORT_SERIAL_LSR) & LSR_THRE)) {
        }
        outb(PORT_SERIAL, *s++);
    }
}

void print_number(uint64_t value, unsigned base)
{
    char digits[24], *d = digits + sizeof(digits) - 1;

    *d = 0;
    do {
        *--d = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    print(d);
}

void is(uint64_t got, uint64_t want, const char *name)
{
    if (got != want) {
        print("# got 0x");
        print_number(got, 16);
        print(", expected 0x");
        print_number(want, 16);
        print("\nnot ");
    }
    print("ok ");
    print_number(++tests, 10);
    print(" - ");
    print(name);
    print("\n");
}

void leave(void)
{
    outb(PORT_RESET, RESET_FULL);
    for (;;) {
        asm volatile("hlt");
    }
}

void done(void)
{
    print("1..");
    print_number(tests, 10);
    print("\n");
    leave();
}

void bail(const char *why, uint64_t value)
{
    print("Bail out! ");
    print(why);
    print(" 0x");
    print_number(value, 16);
    print("\n");
    leave();
}

/* ---- exceptions ---- */

void (*on_disaster)(const struct frame *f);
extern char attempt_end[];

/* From start.S */
void exception(struct frame *f);
void exception(struct frame *f)
{
    struct cpu *cpu = this_cpu();
    struct regs *r;
    uint64_t cr2;

    asm volatile("mov %%cr2, %0" : "=r"(cr2));
    if (f->vector == 2) {
        return;                 /* NMI: the fuzzer's way out of a guest */
    }
    if (cpu->recover) {
        r = *(struct regs **)cpu->recover;
        if (f->vector != 6 || f->rip != (uint64_t)user_end) {
            r->fault = (struct fault) { f->vector, f->error, cr2, f->rip };
        }
        f->rip = (uint64_t)attempt_end;
        f->cs = SEL_CODE;
        f->ss = SEL_DATA;
        f->rsp = cpu->recover;
        f->flags = 2;
        return;
    }
    if (on_disaster) {
        on_disaster(f);
    }
    print("# exception ");
    print_number(f->vector, 10);
    print(", error code 0x");
    print_number(f->error, 16);
    print(", CR2 0x");
    print_number(cr2, 16);
    print("\n");
    bail("unexpected exception at", f->rip);
}

/* ---- set-up ---- */

uint32_t pci_config(unsigned devfn, unsigned reg, const uint32_t *value)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | reg);
    if (value) {
        outl(0xcfc, *value);
    }
    return inl(0xcfc);
}

unsigned pci_find(uint32_t id)
{
    unsigned devfn;

    for (devfn = 0; devfn < 256; devfn++) {
        if (pci_config(devfn, 0, 0) == id) {
            return devfn;
        }
    }
    bail("no PCI device", id);
}

#define EDU_BUFFER      0x40000

void dma(bool to_ram, uint64_t spa)
{
    mmio_write64(EDU_BAR + 0x80, to_ram ? EDU_BUFFER : spa);
    mmio_write64(EDU_BAR + 0x88, to_ram ? spa : EDU_BUFFER);
    mmio_write64(EDU_BAR + 0x90, 16);
    mmio_write64(EDU_BAR + 0x98, to_ram ? 3 : 1);
    while (mmio_read64(EDU_BAR + 0x98) & 1) {
    }
}

/* Give a BAR of the device @id an address and switch memory and DMA on */
static void pci_place(uint32_t id, unsigned bar, uint32_t addr)
{
    uint32_t command = 6;
    unsigned devfn = pci_find(id);

    pci_config(devfn, 0x10 + 4 * bar, &addr);
    pci_config(devfn, 4, &command);
}

struct tss { uint32_t reserved; uint64_t rsp0; uint32_t rest[23]; } __attribute__((packed));

static struct tss tss[CPUS];
/* SEL_* in machine.h, then two words per TSS */
static uint64_t gdt[6 + 2 * CPUS] = {
    0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff,
    0x00cff3000000ffff, 0x00affb000000ffff
};

void machine_init_cpu(unsigned cpu)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed)) r;

    r.limit = sizeof(gdt) - 1;
    r.base = (uint64_t)gdt;
    asm volatile("lgdt %0" : : "m"(r));
    asm volatile("ltr %w0" : : "r"(SEL_TSS + 16 * cpu));
    r.limit = sizeof(idt) - 1;
    r.base = (uint64_t)idt;
    asm volatile("lidt %0" : : "m"(r));
}

void machine_init(void)
{
    unsigned i, j;

    for (i = 0; i < 32; i++) {
        idt[i].off0 = exception_entry[i];
        idt[i].sel = 24;
        idt[i].flags = 0x8e00;
        idt[i].off1 = exception_entry[i] >> 16;
    }
    for (i = 0; i < CPUS; i++) {
        uint64_t base = (uint64_t)&tss[i];

        /* A fault at CPL 3 comes in below what CPL 0 has on the stack */
        tss[i].rsp0 = (uint64_t)stacks + i * STACK_SIZE + STACK_SIZE / 2;
        gdt[6 + 2 * i] = 0x890000000067ull | (base & 0xffffff) << 16 |
                         (base >> 24 & 0xff) << 56;
    }
    machine_init_cpu(0);

    for (i = 0; i < AREA_REGIONS; i++) {
        for (j = 0; j < 512; j++) {
            area_pt[i][j] = (AREA + i * M2 + j * K4) | 7;
        }
        pd[AREA / M2 + i] = (uint64_t)area_pt[i] | 7;
    }
    asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");

#ifndef BARE_PLAIN
    pci_place(PCI_PSP, 2, PSP_BAR);
#endif
    pci_place(PCI_EDU, 0, EDU_BAR);
}
