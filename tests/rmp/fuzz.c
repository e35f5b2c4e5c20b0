/*
 * libFuzzer target: the bytes are choices (ops.h).  The first byte selects
 * the erratum and whether the table is scribbled over, as a hypervisor can
 * before SNP_INIT protects it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>

#include "ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static World w;
    Choices c = { .data = data, .left = size };
    const char *wrong;

    if (!w.table) {
        world_init(&w);
    }
    world_reset(&w, choose(&c, 2), choose(&c, 2));
    while (c.left) {
        wrong = world_step(&w, &c);
        if (wrong) {
            fprintf(stderr, "core and model differ in: %s\n", wrong);
            abort();
        }
    }
    return 0;
}
