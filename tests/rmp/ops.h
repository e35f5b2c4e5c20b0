/*
 * One operation on an RMP, drawn from a stream of choices, made on the core
 * and on the model, and everything compared afterwards.  The stream is either
 * a seeded generator (random.c) or a fuzzer's bytes (fuzz.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_RMP_OPS_H
#define TESTS_RMP_OPS_H

#include <stddef.h>

#include "model.h"

#define WORLD_USES      6

typedef struct Choices {
    const uint8_t *data;        /* NULL: use the generator */
    size_t left;
    uint64_t state;
} Choices;

typedef struct World {
    Rmp rmp;
    Model model;
    void *table;                /* of exactly its size, for AddressSanitizer */
    RmpUse use[WORLD_USES];
    RmpEntry expected[MODEL_PAGES];
    unsigned long done, taken;  /* operations, and those that returned 0 */
    /*
     * The table is written to at random as well.  Nothing is compared then:
     * what matters is that no access leaves the table.
     */
    bool scribbled;
} World;

void world_init(World *w);
void world_reset(World *w, bool erratum, bool scribbled);
void world_destroy(World *w);

/* Below @n; 0 once the bytes are used up */
unsigned choose(Choices *c, unsigned n);

/* One operation.  NULL, or what core and model disagree on. */
const char *world_step(World *w, Choices *c);

#endif
