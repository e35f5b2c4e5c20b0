/*
 * Random operations on the core and the model, compared after each one.
 *
 *     random [-n OPERATIONS] [-s SEED]
 *
 * A seed that is given (decimal or 0x...) replays a run; without one the time
 * gives it, and it is printed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ops.h"

/* So that pages left over from before do not stop all 2 MB entries */
#define OPS_PER_WORLD 1024

static unsigned long long number(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 0);

    if (*end || !*text) {
        fprintf(stderr, "random: not a number: %s\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    struct timespec now;
    uint64_t operations = 2000000, seed, i;
    const char *wrong = NULL;
    Choices c = { 0 };
    World *w;
    int opt;

    clock_gettime(CLOCK_REALTIME, &now);
    seed = (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    while ((opt = getopt(argc, argv, "n:s:")) != -1) {
        switch (opt) {
        case 'n':
            operations = number(optarg);
            break;
        case 's':
            seed = number(optarg);
            break;
        default:
            fprintf(stderr, "usage: random [-n OPERATIONS] [-s SEED]\n");
            return 2;
        }
    }
    c.state = seed ?: 1;
    printf("# seed %" PRIu64 ", %" PRIu64 " operations\n", seed, operations);

    w = malloc(sizeof(*w));
    if (!w) {
        printf("Bail out! no memory\n");
        return 1;
    }
    world_init(w);
    for (i = 0; i < operations && !wrong; i++) {
        if (i % OPS_PER_WORLD == 0) {
            world_reset(w, choose(&c, 4), false);
        }
        wrong = world_step(w, &c);
    }
    if (wrong) {
        printf("# after operation %" PRIu64 " core and model differ in: %s\n",
               i, wrong);
        printf("# replay: random -s %" PRIu64 " -n %" PRIu64 "\n", seed, i);
    } else {
        printf("# %lu of %lu operations succeeded\n", w->taken, w->done);
    }
    /* Operations that are all refused would compare nothing */
    printf("%sok 1 - random operations on core and model\n",
           wrong ? "not " : "");
    printf("%sok 2 - at least a quarter of them succeeded\n",
           w->taken < w->done / 4 ? "not " : "");
    printf("1..2\n");
    opt = wrong || w->taken < w->done / 4;
    world_destroy(w);
    free(w);
    return opt;
}
