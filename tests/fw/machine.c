/*
 * The bare machine under the firmware test.
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

#define PCI_PSP         0x14ca1022
#define PCI_EDU         0x11e81234

static struct { uint16_t off0, sel, flags, off1; uint32_t off2, zero; } idt[32];
static uint64_t pt[AREA_REGIONS][512] __attribute__((aligned(4096)));
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

static void put(const char *s)
{
    while (*s) {
        while (!(inb(PORT_SERIAL_LSR) & LSR_THRE)) {
        }
        outb(PORT_SERIAL, *s++);
    }
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[24], *d = digits + sizeof(digits) - 1;

    *d = 0;
    do {
        *--d = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    put(d);
}

void is(uint64_t got, uint64_t want, const char *name)
{
    if (got != want) {
        put("# got 0x");
        put_number(got, 16);
        put(", expected 0x");
        put_number(want, 16);
        put("\nnot ");
    }
    put("ok ");
    put_number(++tests, 10);
    put(" - ");
    put(name);
    put("\n");
}

static void __attribute__((noreturn)) leave(void)
{
    outb(PORT_RESET, RESET_FULL);
    for (;;) {
        asm volatile("hlt");
    }
}

void done(void)
{
    put("1..");
    put_number(tests, 10);
    put("\n");
    leave();
}

void bail(const char *why, uint64_t value)
{
    put("Bail out! ");
    put(why);
    put(" 0x");
    put_number(value, 16);
    put("\n");
    leave();
}

/* From start.S: vector, error code, RIP ... */
void unexpected(uint64_t *frame);
void unexpected(uint64_t *frame)
{
    uint64_t cr2;

    asm volatile("mov %%cr2, %0" : "=r"(cr2));
    put("# exception ");
    put_number(frame[0], 10);
    put(", error code 0x");
    put_number(frame[1], 16);
    put(", CR2 0x");
    put_number(cr2, 16);
    put("\n");
    bail("unexpected exception at", frame[2]);
}

/* ---- set-up ---- */

static uint32_t pci_config(unsigned devfn, unsigned reg, uint32_t *value)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | reg);
    if (value) {
        outl(0xcfc, *value);
    }
    return inl(0xcfc);
}

/* Give a BAR of the device @id an address and switch memory and DMA on */
static void pci_place(uint32_t id, unsigned bar, uint32_t addr)
{
    uint32_t command = 6;
    unsigned devfn;

    for (devfn = 0; devfn < 256; devfn++) {
        if (pci_config(devfn, 0, 0) == id) {
            pci_config(devfn, 0x10 + 4 * bar, &addr);
            pci_config(devfn, 4, &command);
            return;
        }
    }
    bail("no PCI device", id);
}

void machine_init(void)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr;
    unsigned i, j;

    for (i = 0; i < 32; i++) {
        idt[i].off0 = exception_entry[i];
        idt[i].sel = 24;
        idt[i].flags = 0x8e00;
        idt[i].off1 = exception_entry[i] >> 16;
    }
    idtr.limit = sizeof(idt) - 1;
    idtr.base = (uint64_t)idt;
    asm volatile("lidt %0" : : "m"(idtr));

    for (i = 0; i < AREA_REGIONS; i++) {
        for (j = 0; j < 512; j++) {
            pt[i][j] = (AREA + i * M2 + j * K4) | 3;
        }
        pd[AREA / M2 + i] = (uint64_t)pt[i] | 3;
    }
    asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");

    pci_place(PCI_PSP, 2, PSP_BAR);
    pci_place(PCI_EDU, 0, EDU_BAR);
}
