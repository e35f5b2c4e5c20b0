/*
 * One round of a test, with the switches between processors chosen by a script.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TCG_SEARCH_H
#define TCG_SEARCH_H

#include "qapi/qapi-types-qom.h"
#include "accel/tcg/tcg-sched.h"

typedef enum TcgSearchState {
    TCG_SEARCH_OFF,
    TCG_SEARCH_WAITING,         /* for all parties to come to the beginning */
    TCG_SEARCH_ROUND,
} TcgSearchState;

typedef struct TcgSearchOptions {
    uint64_t begin;             /* of the function that they call there */
    uint32_t parties;
    uint64_t limit;             /* of instructions */
    TcgSchedWordList *words;
    TcgSchedChoiceList *choices;
    bool races;                 /* tell of each access to kernel memory */
    bool tso;                   /* stores may wait in a buffer */
} TcgSearchOptions;

extern TcgSearchState tcg_search_state;

/* The options are known, the machine is on its way to the round. */
bool tcg_search_arm(const TcgSearchOptions *options, Error **errp);

/* @cpu has come to @pc; puts the instruction off where a party has to wait. */
void tcg_search_symbol(CPUState *cpu, uint64_t pc, uintptr_t ra);
bool tcg_search_waits(CPUState *cpu);
bool tcg_search_ready(void);

/* All parties are there: look at the words, then play the round. */
bool tcg_search_prepare(Error **errp);
bool tcg_search_begin(const TcgSearchOptions *options, Error **errp);
void tcg_search_point(CPUState *cpu, TcgSchedPoint point, uintptr_t ra);
void tcg_search_run(int64_t quota);

/* Does the instruction at @pc wait until the stores before it are in memory? */
bool tcg_search_is_fence(CPUState *cpu, uint64_t pc);
/* @cpu has come to one. */
void tcg_search_fence(CPUState *cpu, uintptr_t ra);

/* tcg-sched.c */
int64_t tcg_sched_exec(CPUState *cpu, int64_t budget);
bool tcg_sched_work(void);
bool tcg_sched_runnable(CPUState *cpu);
/* Where @cpu is, without a change to its state, which @ra may be ahead of */
vaddr tcg_sched_pc(CPUState *cpu, uintptr_t ra);

#endif
