/*
 * Points at which x-sched may give the turn to another CPU: nobody looks at
 * them in a build without it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "accel/tcg/tcg-sched.h"

uint32_t tcg_sched_points;

void tcg_sched_do_point(CPUState *cpu, TcgSchedPoint point, uintptr_t ra)
{
    g_assert_not_reached();
}

int tcg_sched_symbol(uint64_t pc)
{
    return -1;
}

void tcg_sched_at_symbol(CPUState *cpu, unsigned symbol, uintptr_t ra)
{
    g_assert_not_reached();
}

bool tcg_sched_access(CPUState *cpu, vaddr addr, vaddr len, int flags,
                      uintptr_t ra)
{
    return false;
}

void tcg_sched_interrupt(CPUState *cpu)
{
}

bool tcg_sched_start_vcpu(CPUState *cpu)
{
    return false;
}

bool tcg_sched_delay_ipi(CPUState *from, CPUState *to, TcgSchedDeliver *deliver,
                         uint32_t what)
{
    return false;
}

void tcg_sched_broken(const char *what)
{
}
