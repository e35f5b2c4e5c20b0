/*
 * ENC-03: the machine is reset while a guest's memory is the guest's.  What is
 * left of it is not the guest's plaintext, which was the hypervisor's image.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

#define IMAGE           0x100000ull
#define BOOTS           F64(PAGE(60), 0)
#define SECOND          0x7365636f6e640000ull

void tests(void)
{
    unsigned i, same = 0;

    if (BOOTS != SECOND) {
        start_snp();
        guest_launch();
        BOOTS = SECOND;
        leave();
    }
    for (i = 0; i < K4; i += 8) {
        same += F64(GUEST_IMAGE, i) == F64(IMAGE, i);
    }
    check("ENC-03", same < 8, true, "a reset leaves no plaintext of a guest");
    report();
    for (;;) {
        asm volatile("hlt");        /* until the script has read this */
    }
}
