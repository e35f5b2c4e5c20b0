/*
 * The other processors of the bare-metal tests: each waits for something to run.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "machine.h"

#define AP_START        0x8000

static struct job {
    void (*volatile fn)(uint64_t);
    volatile uint64_t arg;
    volatile bool up;
} job[CPUS];

extern const char ap_start[], ap_end[];

void ap_main(uint64_t cpu);
void ap_main(uint64_t cpu)
{
    machine_init_cpu(cpu);
    job[cpu].up = true;
    for (;;) {
        if (job[cpu].fn) {
            job[cpu].fn(job[cpu].arg);
            __atomic_store_n(&job[cpu].fn, NULL, __ATOMIC_RELEASE);
        }
        asm volatile("pause");
    }
}

void cpu_run(unsigned cpu, void (*fn)(uint64_t), uint64_t arg)
{
    job[cpu].arg = arg;
    __atomic_store_n(&job[cpu].fn, fn, __ATOMIC_RELEASE);
}

bool cpu_busy(unsigned cpu)
{
    return __atomic_load_n(&job[cpu].fn, __ATOMIC_ACQUIRE);
}

void cpu_wait(unsigned cpu)
{
    while (cpu_busy(cpu)) {
        asm volatile("pause");
    }
}

static volatile bool restoring;

static void restore_fpu(uint64_t area)
{
    asm volatile("fnstenv (%0)" : : "r" (area) : "memory");
    restoring = true;
    while (restoring) {
        asm volatile("fldenv (%0)" : : "r" (area) : "memory");
    }
}

void cpu_restores_fpu(unsigned cpu, uint64_t area)
{
    cpu_run(cpu, restore_fpu, area);
    while (!restoring) {
        asm volatile("pause");
    }
}

void cpu_restored_fpu(unsigned cpu)
{
    restoring = false;
    cpu_wait(cpu);
}

void start_cpu(unsigned cpu)
{
    unsigned i;

    memcpy((void *)AP_START, ap_start, ap_end - ap_start);
    mmio_write(LAPIC + 0x310, cpu << 24);
    mmio_write(LAPIC + 0x300, 0x4500);               /* INIT */
    for (i = 0; i < 100000; i++) {
        inb(0x80);                                  /* about a microsecond */
    }
    mmio_write(LAPIC + 0x310, cpu << 24);
    mmio_write(LAPIC + 0x300, 0x4600 | AP_START >> 12);
    while (!job[cpu].up) {
        asm volatile("pause");
    }
}
