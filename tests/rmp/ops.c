/*
 * Operations on the core and the model side by side: see ops.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

#define TABLE_SIZE  (RMP_BOOKKEEPING_SIZE + MODEL_PAGES * sizeof(RmpEntry))
#define TABLE_BASE  0x1fa000ull         /* in regions 0 and 1 */
#define TABLE_END   (TABLE_BASE + TABLE_SIZE - 1)

void world_init(World *w)
{
    memset(w, 0, sizeof(*w));
    w->table = malloc(TABLE_SIZE);
    if (!w->table) {
        printf("Bail out! no memory\n");
        exit(1);
    }
}

void world_reset(World *w, bool erratum, bool scribbled)
{
    if (w->rmp.entry) {
        rmp_destroy(&w->rmp);
    }
    memset(w->table, 0, TABLE_SIZE);
    memset(w->use, 0, sizeof(w->use));
    if (!rmp_setup(&w->rmp, w->table, TABLE_BASE, TABLE_END, MODEL_MAX_ASID,
                   erratum)) {
        printf("Bail out! cannot set up a table\n");
        exit(1);
    }
    model_reset(&w->model, TABLE_BASE, TABLE_END, erratum);
    w->scribbled = scribbled;
}

void world_destroy(World *w)
{
    if (w->rmp.entry) {
        rmp_destroy(&w->rmp);
    }
    free(w->table);
}

unsigned choose(Choices *c, unsigned n)
{
    unsigned value, bytes;

    if (!c->data) {
        /* xorshift64* */
        c->state ^= c->state >> 12;
        c->state ^= c->state << 25;
        c->state ^= c->state >> 27;
        return (c->state * 0x2545f4914f6cdd1dull >> 32) % n;
    }
    value = 0;
    for (bytes = n > 256 ? 2 : 1; bytes && c->left; bytes--) {
        value = value << 8 | *c->data++;
        c->left--;
    }
    return value % n;
}

static bool maybe(Choices *c, unsigned one_in)
{
    return choose(c, one_in) == one_in - 1;
}

/* Few pages, so that operations meet; now and then any, or one outside */
static uint64_t pick_spa(Choices *c)
{
    static const unsigned hot[] = { 0, 0, 1, 2, 511 };
    uint64_t page = choose(c, MODEL_REGIONS) * 512;

    if (maybe(c, 64)) {
        page += choose(c, 512 * 4);
    } else {
        page += hot[choose(c, 5)];
    }
    return page * 4096 + (maybe(c, 16) ? choose(c, 4096) : 0);
}

/* Mostly the one GPA that belongs to the page, so that Reverse-Map passes */
static uint64_t pick_gpa(Choices *c, uint64_t spa)
{
    uint64_t gpa = 0x40000000 + spa;

    switch (choose(c, 16)) {
    case 0:
        return gpa ^ 4096ull << choose(c, 40);
    case 1:
        return gpa ^ 1ull << choose(c, 64);
    default:
        return gpa;
    }
}

static uint64_t pick_leaf(Choices *c)
{
    static const uint64_t leaf[] = {
        RMP_PAGE_4K, RMP_PAGE_4K, RMP_PAGE_2M, RMP_PAGE_2M, 1ull << 30
    };

    return leaf[choose(c, 5)];
}

static unsigned pick_asid(Choices *c)
{
    return maybe(c, 32) ? 1 + choose(c, 1023) : 1 + choose(c, 2);
}

static void pick_state(Choices *c, uint64_t spa, RmpState *st)
{
    memset(st, 0, sizeof(*st));
    st->page_size = choose(c, 3) == 0;
    if (choose(c, 3)) {
        st->assigned = 1;
        st->asid = choose(c, 8) ? pick_asid(c) : 0;
        st->immutable = choose(c, 4) == 0;
        st->gpa = st->asid || maybe(c, 4) ?
                  pick_gpa(c, spa & ~4095ull) : 0;
    }
    if (maybe(c, 16)) {
        /* as a hostile or broken hypervisor would have it */
        ((uint8_t *)st)[choose(c, sizeof(*st))] ^= 1 << choose(c, 8);
    }
}

/* Let both have their say, then compare; the first difference is named */
#define SAME(field, a, b) do {                  \
        if ((a) != (b) && !w->scribbled) {      \
            return field;                       \
        }                                       \
    } while (0)

static const char *step_update(World *w, Choices *c)
{
    uint64_t spa = pick_spa(c);
    bool changed, differs;
    RmpEntry *before;
    RmpState st;
    int rc, want;
    size_t size = MODEL_PAGES * sizeof(RmpEntry);

    pick_state(c, spa, &st);
    before = malloc(size);
    memcpy(before, w->rmp.entry, size);
    rc = rmp_update(&w->rmp, spa, &st, &changed);
    differs = memcmp(before, w->rmp.entry, size) != 0;
    free(before);
    want = model_update(&w->model, spa, &st);
    w->taken += rc == 0;
    SAME("rmp_update", rc, want);
    SAME("rmp_update: changed", changed, differs);
    return NULL;
}

static const char *step_hypervisor(World *w, Choices *c)
{
    uint64_t spa = pick_spa(c);
    RmpState a = { 0 }, b = { 0 };
    int rc;

    if (choose(c, 3)) {
        rc = rmp_smash(&w->rmp, spa);
        w->taken += rc == 0;
        SAME("rmp_smash", rc, model_smash(&w->model, spa));
        return NULL;
    }
    rc = rmp_read(&w->rmp, spa, &a);
    w->taken += rc == 0;
    SAME("rmp_read", rc, model_read(&w->model, spa, &b));
    SAME("rmp_read: state", memcmp(&a, &b, sizeof(a)), 0);
    return NULL;
}

static const char *step_pvalidate(World *w, Choices *c)
{
    uint64_t spa = pick_spa(c), gpa = pick_gpa(c, spa), leaf = pick_leaf(c);
    unsigned asid = pick_asid(c);
    bool large = choose(c, 3) == 0, validate = choose(c, 4), a, b;
    RmpVerdict va, vb;
    int rc;

    SAME("rmp_pvalidate_operands", rmp_pvalidate_operands(gpa, large),
         model_pvalidate_operands(gpa, large));
    rc = rmp_pvalidate(&w->rmp, spa, gpa, leaf, asid, large, validate, &va,
                       &a);
    w->taken += rc == 0 && va == RMP_GUEST_OK && !a;
    SAME("rmp_pvalidate", rc,
         model_pvalidate(&w->model, spa, gpa, leaf, asid, large, validate,
                         &vb, &b));
    SAME("rmp_pvalidate: verdict", va, vb);
    SAME("rmp_pvalidate: unchanged", a, b);
    return NULL;
}

static const char *step_adjust(World *w, Choices *c)
{
    static const unsigned masks[] = { 0, 1, 3, 5, 7, 0xf, 0x11, 0x13 };
    uint64_t spa = pick_spa(c), gpa = pick_gpa(c, spa), leaf = pick_leaf(c);
    unsigned asid = pick_asid(c), vmpl = choose(c, 4) ? 0 : choose(c, 4);
    bool large = choose(c, 3) == 0;
    uint64_t rdx = choose(c, 4) | (uint64_t)choose(c, 2) << 16;
    RmpVerdict va, vb;
    int rc;

    rdx |= maybe(c, 8) ? choose(c, 65536) : masks[choose(c, 8)] << 8;
    SAME("rmp_adjust_operands", rmp_adjust_operands(gpa, large, rdx, vmpl),
         model_adjust_operands(gpa, large, rdx, vmpl));
    rc = rmp_adjust(&w->rmp, spa, gpa, leaf, asid, large, rdx, vmpl, &va);
    w->taken += rc == 0 && va == RMP_GUEST_OK;
    SAME("rmp_adjust", rc,
         model_adjust(&w->model, spa, gpa, leaf, asid, large, rdx, vmpl,
                      &vb));
    SAME("rmp_adjust: verdict", va, vb);
    return NULL;
}

static const char *step_access(World *w, Choices *c)
{
    uint64_t spa = pick_spa(c), gpa = pick_gpa(c, spa), leaf = pick_leaf(c);
    unsigned asid = pick_asid(c), vmpl = choose(c, 4);
    RmpVerdict va, vb;
    uint8_t pa, pb;
    bool large_a, large_b, vmsa_a, vmsa_b;
    const char *no_a, *no_b;

    w->taken++;
    SAME("rmp_hv_owned", rmp_hv_owned(&w->rmp, spa, leaf),
         model_hv_owned(&w->model, spa, leaf));
    SAME("rmp_check_private",
         rmp_check_private(&w->rmp, spa, gpa, leaf, asid, vmpl, &pa),
         model_check_private(&w->model, spa, gpa, leaf, asid, vmpl, &pb));
    SAME("rmp_check_private: perms", pa, pb);
    SAME("rmp_query_operands", rmp_query_operands(vmpl, asid & 3),
         model_query_operands(vmpl, asid & 3));
    SAME("rmp_query", rmp_query(&w->rmp, spa, gpa, leaf, asid, vmpl, &va,
                                &large_a, &pa, &vmsa_a),
         model_query(&w->model, spa, gpa, leaf, asid, vmpl, &vb, &large_b,
                     &pb, &vmsa_b));
    SAME("rmp_query: results", va == vb && large_a == large_b && pa == pb &&
         vmsa_a == vmsa_b, true);

    no_a = rmp_vmsa_refused(&w->rmp, spa, asid, vmpl);
    no_b = model_vmsa_refused(&w->model, spa, asid, vmpl);
    SAME("rmp_vmsa_refused", strcmp(no_a ?: "", no_b ?: ""), 0);
    return NULL;
}

static const char *step_use(World *w, Choices *c)
{
    RmpUse *use = &w->use[choose(c, WORLD_USES)];
    uint64_t spa;
    bool ok;

    w->taken++;
    if (use->active) {
        spa = use->spa;
        rmp_use_end(&w->rmp, use);
        if (!w->scribbled) {
            model_use_end(&w->model, spa);
        }
        return NULL;
    }
    spa = pick_spa(c);
    rmp_lock(&w->rmp);
    ok = rmp_use_begin(&w->rmp, use, spa);
    rmp_unlock(&w->rmp);
    SAME("rmp_use_begin", ok, model_use_begin(&w->model, spa));
    return NULL;
}

static const char *step_firmware(World *w, Choices *c)
{
    uint64_t spa = pick_spa(c), first;
    unsigned asid = pick_asid(c), i;
    bool large = choose(c, 3) == 0, a, b, busy = false;
    RmpPageState from, to;
    uint8_t perms[3];
    int rc;

    switch (choose(c, 8)) {
    case 0:
    case 1:
        /* where the page is, mostly: other states are refused at once */
        from = rmp_page_state(&w->rmp, spa, &a);
        SAME("rmp_page_state", from, model_page_state(&w->model, spa, &b));
        SAME("rmp_page_state: size", a, b);
        from = maybe(c, 8) ? choose(c, RMP_PAGE_IN_USE + 1) : from;
        to = choose(c, RMP_PAGE_IN_USE + 1);
        a = rmp_fw_move(&w->rmp, spa, from, to);
        w->taken += a;
        SAME("rmp_fw_move", a, model_fw_move(&w->model, spa, from, to));
        return NULL;
    case 2:
    case 3:
        rc = rmp_fw_reclaim(&w->rmp, spa, large);
        w->taken += rc == 0;
        SAME("rmp_fw_reclaim", rc, model_fw_reclaim(&w->model, spa, large));
        return NULL;
    case 4:
    case 5:
    case 6:
        for (i = 0; i < 3; i++) {
            perms[i] = choose(c, 32);
        }
        b = choose(c, 2);
        rc = rmp_fw_launch_update(&w->rmp, spa, asid, large, b, perms);
        w->taken += rc == 0;
        SAME("rmp_fw_launch_update", rc,
             model_fw_launch_update(&w->model, spa, asid, large, b, perms));
        return NULL;
    default:
        if (!maybe(c, 32)) {
            return NULL;
        }
        asid = choose(c, 2) ? asid : 0;
        SAME("rmp_asid_pages", rmp_asid_pages(&w->rmp, asid, &first),
             model_asid_pages(&w->model, asid));
        for (i = 0; i < WORLD_USES; i++) {
            busy |= w->use[i].active;
        }
        if (!busy && maybe(c, 4)) {
            w->taken++;
            rmp_fw_init(&w->rmp);
            model_fw_init(&w->model);
        }
        return NULL;
    }
}

static void scribble(World *w, Choices *c)
{
    uint64_t *slot = (uint64_t *)w->rmp.entry;
    unsigned i;

    slot += pick_spa(c) / 4096 % MODEL_PAGES * 2 + choose(c, 2);
    if (choose(c, 2)) {
        *slot ^= 1ull << choose(c, 64);
        return;
    }
    for (i = 0; i < 8; i++) {
        *slot = *slot << 8 | choose(c, 256);
    }
}

static const char *step(World *w, Choices *c)
{
    switch (choose(c, 20)) {
    case 0 ... 5:
        return step_update(w, c);
    case 6 ... 7:
        return step_hypervisor(w, c);
    case 8 ... 10:
        return step_pvalidate(w, c);
    case 11 ... 12:
        return step_adjust(w, c);
    case 13 ... 14:
        return step_access(w, c);
    case 15 ... 16:
        return step_use(w, c);
    default:
        return step_firmware(w, c);
    }
}

const char *world_step(World *w, Choices *c)
{
    Model *m = &w->model;
    const char *wrong;
    unsigned i, from, to;

    w->done++;
    if (w->scribbled && choose(c, 4) == 0) {
        scribble(w, c);
        return NULL;
    }
    wrong = step(w, c);
    if (wrong || w->scribbled) {
        return wrong;
    }
    /* The count of a region is in its base's slot */
    from = m->touched / 512 * 512;
    to = m->touched_end;
    for (i = from; i < to; i++) {
        if (i == from || i >= m->touched || i % 512 == 0) {
            w->expected[i] = model_raw(m, i);
        }
    }
    m->touched = m->touched_end = 0;
    if (memcmp(w->expected, w->rmp.entry, sizeof(w->expected))) {
        return "the table";
    }
    return NULL;
}
