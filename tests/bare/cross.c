/*
 * Code that another processor writes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "machine.h"

/* A page of code: MOV $n, %AL; RET, and another RET far behind */
#define SECOND          0x800
static volatile uint64_t turn_written, turn_run, turns_stale;

static uint8_t call(uint64_t code)
{
    uint64_t al;

    asm volatile("call *%1" : "=a" (al) : "r" (code) : "memory", "cc");
    return al;
}

static void serialize(void)
{
    uint32_t eax = 0, ecx = 0;

    asm volatile("cpuid" : "+a" (eax), "+c" (ecx) : : "ebx", "edx", "memory");
}

static void run_what_is_written(uint64_t page)
{
    bool second = F8(page, SECOND);
    unsigned n;

    for (n = 1; n <= CROSS_TURNS; n++) {
        do {
            call(page);
            if (second) {
                call(page + SECOND);
            }
        } while (turn_written != n);
        serialize();
        turns_stale += call(page) != (uint8_t)n;
        turn_run = n;
    }
}

/*
 * The APM's cross-modifying code (volume 2, 7.6.1): who has seen what was
 * written after the code, and then serialized, runs the new code, and so the
 * kernel's text_poke() has it.  @twice: a second write comes while the first
 * may just be taken note of.
 */
unsigned cross_modify(uint64_t page, bool second, bool twice)
{
    unsigned n, i;

    F8(page, 0) = 0xb0;
    F8(page, 2) = 0xc3;
    F8(page, SECOND) = second ? 0xc3 : 0;
    turn_written = turn_run = turns_stale = 0;
    cpu_run(1, run_what_is_written, page);
    for (n = 1; n <= CROSS_TURNS; n++) {
        if (twice) {
            F8(page, 1) = ~n;
            for (i = 0; i < n % 512; i++) {
                asm volatile("");
            }
        }
        F8(page, 1) = n;
        turn_written = n;
        while (turn_run != n) {
            asm volatile("pause");
        }
    }
    cpu_wait(1);
    return turns_stale;
}
