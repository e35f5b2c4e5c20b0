/*
 * The same loop in a guest without SEV and in an SNP guest, by turns: how much
 * slower is the latter?  Prints the time stamp counter's ticks of each.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

static uint64_t ticks(void)
{
    uint32_t lo, hi;

    asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

void tests(void)
{
    uint64_t page, shared, info2, t0, t1, t2;
    unsigned i;

    start_snp();
    guest_launch();
    vcpu_start(0, 0);
    page = guest_page();
    shared = fresh();
    for (i = 0; i < 120; i++) {
        struct regs r = { .rsi = page };
        struct exit e;

        t0 = ticks();
        if (plain_guest(i_work, shared, &info2) != 0x81) {
            bail("the plain guest did not come back", info2);
        }
        t1 = ticks();
        e = vcpu_call(0, &r, i_work);
        t2 = ticks();
        if (!vcpu_done(0, &e)) {
            bail("the SNP guest did not come back", e.code);
        }
        print("pair ");
        print_number(t1 - t0, 10);
        print(" ");
        print_number(t2 - t1, 10);
        print("\n");
    }
}
