/*
 * The bare machine under the bare-metal tests: ports, MSRs, PCI, memory map and
 * TAP output.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_BARE_MACHINE_H
#define TESTS_BARE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define K4              0x1000ull
#define M2              0x200000ull

/* Processors start.S has stacks for; each begins with its struct cpu */
#define CPUS            4
#define STACK_SIZE      0x4000

/* Selectors of the GDT; one TSS per processor */
#define SEL_DATA        16
#define SEL_CODE        24
#define SEL_USER_DATA   (32 | 3)
#define SEL_USER_CODE   (40 | 3)
#define SEL_TSS         48

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
#define MSR_RMP_END     0xc0010133

#define PCI_PSP         0x14ca1022
#define PCI_EDU         0x11e81234
#define PSP_BAR         0xe0000000ull
#define EDU_BAR         0xe1000000ull
#define IOMMU_BASE      0xfed80000ull
#define LAPIC           0xfee00000ull

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

/* A field of what the hardware knows by offset */
#define F8(base, off)   (*(volatile uint8_t *)((base) + (off)))
#define F16(base, off)  (*(volatile uint16_t *)((base) + (off)))
#define F32(base, off)  (*(volatile uint32_t *)((base) + (off)))
#define F64(base, off)  (*(volatile uint64_t *)((base) + (off)))

/* start.S: the exceptions' entry points; the page directories of 4 GB */
extern uint64_t exception_entry[32];
extern uint64_t pml4[512], pd[2048];
extern uint8_t stacks[CPUS * STACK_SIZE];
/* machine.c: the page tables of AREA */
extern uint64_t area_pt[AREA_REGIONS][512];

/* An exception's frame, as start.S pushes it */
struct frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx,
             rbx, rax;
    uint64_t vector, error, rip, cs, flags, rsp, ss;
};

struct fault {
    uint64_t vector;            /* ~0: none */
    uint64_t error, cr2, rip;
};

struct regs {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, r8, flags;
    struct fault fault;
};

/* At the bottom of each stack; start.S knows the offset of recover */
struct cpu {
    uint64_t recover;           /* stack of the attempt() that runs */
};

static inline struct cpu *this_cpu(void)
{
    return (struct cpu *)((uint64_t)__builtin_frame_address(0) &
                          -(uint64_t)STACK_SIZE);
}

/*
 * start.S: call @code with registers as in *@r, and store them back.  An
 * exception in it is no disaster: it ends the code and is in r->fault.
 * user_end is where code at CPL 3 ends: that exception counts as none.
 */
void attempt(struct regs *r, const void *code);
extern char user_end[];

void *memset(void *to, int byte, unsigned long len);
void *memcpy(void *to, const void *from, unsigned long len);
int memcmp(const void *a, const void *b, unsigned long len);

/* Exceptions, paging of AREA, PCI devices; ends the test if one is missing */
void machine_init(void);
/* One transfer of the educational device: to (or from) 16 bytes of RAM */
void dma(bool to_ram, uint64_t spa);
/* One processor's part of it */
void machine_init_cpu(unsigned cpu);
/* Where an unexpected exception goes instead of bail() */
extern void (*on_disaster)(const struct frame *f);

/* A register of the configuration space, after it was set to *@value if there is one */
uint32_t pci_config(unsigned devfn, unsigned reg, const uint32_t *value);
/* Device and function of the device @id */
unsigned pci_find(uint32_t id);

/* cpus.c: start processor @cpu; it waits for cpu_run() */
void start_cpu(unsigned cpu);
/* Run @fn(@arg) on processor @cpu; cpu_wait() for it */
void cpu_run(unsigned cpu, void (*fn)(uint64_t), uint64_t arg);
void cpu_wait(unsigned cpu);
bool cpu_busy(unsigned cpu);
/* From one to the other, processor @cpu does nothing but FLDENV of @area */
void cpu_restores_fpu(unsigned cpu, uint64_t area);
void cpu_restored_fpu(unsigned cpu);

/*
 * cross.c: how often did processor 1 run code that was overwritten before?  @second:
 * beside other code of the page; @twice: it is written twice
 */
unsigned cross_modify(uint64_t page, bool second, bool twice);
#define CROSS_TURNS     4000

/*
 * svm.c: the save area @save of a guest without SEV: @code at CPL 0 in 64-bit mode, on
 * our page tables, and its stack
 */
void plain_save(uint64_t save, const void *code, uint64_t rsp);

/* TAP: one numbered line.  @got and @want are printed if they differ. */
void is(uint64_t got, uint64_t want, const char *name);
/* Print the plan and leave QEMU */
void done(void) __attribute__((noreturn));
/* Leave QEMU */
void leave(void) __attribute__((noreturn));
/* Nothing can be said any more */
void bail(const char *why, uint64_t value) __attribute__((noreturn));

void print(const char *s);
void print_number(uint64_t value, unsigned base);

#endif
