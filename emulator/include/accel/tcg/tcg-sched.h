/*
 * Schedule control: which processor runs, and for how long, is a function of a
 * seed (-object x-sched).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TCG_SCHED_H
#define TCG_SCHED_H

#include "hw/core/cpu.h"

/* Where another processor may be given its turn, besides after a slice. */
typedef enum TcgSchedPoint {
    TCG_SCHED_RMPUPDATE,
    TCG_SCHED_VMRUN,
    TCG_SCHED_VMEXIT,
    TCG_SCHED_IPI,
    TCG_SCHED_TLB,
    TCG_SCHED_ARRIVAL,
    TCG_SCHED_SYMBOL,
    TCG_SCHED_PAUSE,
    TCG_SCHED_NR_POINTS,
} TcgSchedPoint;

/* Bit mask of the points that are looked at: 0 without x-sched and x-fork */
extern uint32_t tcg_sched_points;

void tcg_sched_do_point(CPUState *cpu, TcgSchedPoint point, uintptr_t ra);

/*
 * @cpu, which is the one that runs, has come to @point.  With a return address
 * @ra the instruction may be put off: then this does not return, and the
 * instruction starts again when @cpu has its next turn.  Call it before
 * anything has changed.  Without one, the turn may end after the translation
 * block.
 */
static inline void tcg_sched_point(CPUState *cpu, TcgSchedPoint point,
                                   uintptr_t ra)
{
    if (unlikely(qatomic_read(&tcg_sched_points) & (1u << point))) {
        tcg_sched_do_point(cpu, point, ra);
    }
}

/*
 * Which of the addresses and ranges that the option symbols= names has the
 * instruction at @pc, or -1?  Translated code then calls tcg_sched_at_symbol()
 * before it.
 */
int tcg_sched_symbol(uint64_t pc);
void tcg_sched_at_symbol(CPUState *cpu, unsigned symbol, uintptr_t ra);

/*
 * @from has sent an IPI to @to.  True if it takes its time: then deliver(to,
 * what) is called when it arrives.  No IPI overtakes another one to the same
 * processor.
 */
typedef void TcgSchedDeliver(CPUState *to, uint32_t what);
bool tcg_sched_delay_ipi(CPUState *from, CPUState *to, TcgSchedDeliver *deliver,
                         uint32_t what);

/*
 * @cpu is about to access @len bytes at @addr, @flags says how (BP_MEM_*).
 * True if that was one of the words that a search looks at.  May put the
 * instruction off.
 */
bool tcg_sched_access(CPUState *cpu, vaddr addr, vaddr len, int flags,
                      uintptr_t ra);

/* @cpu takes an interrupt or an exception. */
void tcg_sched_interrupt(CPUState *cpu);

/* What no host must do has been done: a search ends here. */
void tcg_sched_broken(const char *what);

/* Round robin is about to create @cpu's thread: true if x-sched runs it. */
bool tcg_sched_start_vcpu(CPUState *cpu);

#endif
