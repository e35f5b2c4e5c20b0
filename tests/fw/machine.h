/*
 * The bare machine under the firmware test: ports, MSRs, PCI, memory map and
 * TAP output.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FW_MACHINE_H
#define TESTS_FW_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define K4              0x1000ull
#define M2              0x200000ull

/*
 * Pages for the test to give away, mapped with 4 KB leaves: a write through a
 * 2 MB leaf is refused as soon as one page under it is assigned.
 */
#define AREA            0x2000000ull
#define AREA_REGIONS    8

#define MSR_SYSCFG      0xc0010010
#define SYSCFG_MFDM     (1ull << 19)
#define SYSCFG_SNP_EN   (1ull << 24)
#define SYSCFG_VMPL_EN  (1ull << 25)
#define MSR_VM_HSAVE_PA 0xc0010117
#define MSR_RMP_BASE    0xc0010132

#define PSP_BAR         0xe0000000ull
#define EDU_BAR         0xe1000000ull
#define IOMMU_BASE      0xfed80000ull

static inline void outb(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;

    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void outl(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;

    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value),
                 "d"((uint32_t)(value >> 32)) : "memory");
}

static inline void wbinvd(void)
{
    asm volatile("wbinvd" : : : "memory");
}

/* Device memory, and RAM that a device writes: volatile is the point */
static inline uint32_t mmio_read(uint64_t addr)
{
    return *(volatile uint32_t *)addr;
}

static inline void mmio_write(uint64_t addr, uint32_t value)
{
    *(volatile uint32_t *)addr = value;
}

static inline uint64_t mmio_read64(uint64_t addr)
{
    return *(volatile uint64_t *)addr;
}

static inline void mmio_write64(uint64_t addr, uint64_t value)
{
    *(volatile uint64_t *)addr = value;
}

/* start.S: the exceptions' entry points; the page directories of 4 GB */
extern uint64_t exception_entry[32];
extern uint64_t pd[2048];

void *memset(void *to, int byte, unsigned long len);
void *memcpy(void *to, const void *from, unsigned long len);
int memcmp(const void *a, const void *b, unsigned long len);

/* Exceptions, paging of AREA, PCI devices; ends the test if one is missing */
void machine_init(void);

/* TAP: one numbered line.  @got and @want are printed if they differ. */
void is(uint64_t got, uint64_t want, const char *name);
/* Print the plan and leave QEMU */
void done(void) __attribute__((noreturn));
/* Nothing can be said any more */
void bail(const char *why, uint64_t value) __attribute__((noreturn));

#endif
