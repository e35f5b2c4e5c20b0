/*
 * Many threads on one RMP, to be built with ThreadSanitizer: hypervisors that
 * update and smash, processors that run guests, and accesses that are checked
 * without the lock.
 *
 *     race [-t MILLISECONDS]
 *
 * Besides data races, it watches what must hold at any time: a page in use is
 * not freed, reassigned, written by the host or reached by the guest, and its
 * entry does not change but for the count.  Afterwards the table must be
 * consistent.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rmp.h"

#define PAGES       (2 * RMP_PAGES_PER_2M)
#define TABLE_BASE  0x100000ull
#define TABLE_SIZE  (RMP_BOOKKEEPING_SIZE + PAGES * sizeof(RmpEntry))
#define GPA_OFFSET  0x40000000ull

static const unsigned hot[] = { 0, 1, 2, 511, 512, 513 };
#define NR_HOT (sizeof(hot) / sizeof(hot[0]))

static Rmp rmp;
#define STEP_MS 20

static atomic_bool stop;
static atomic_uint violations;

/* Odd while the page is known to be in use */
static atomic_uint epoch[PAGES];

/* What happened, so that a run in which nothing met is told */
static atomic_ulong freed, refused_in_use, ran, reached;

static void violated(const char *what, unsigned page)
{
    if (atomic_fetch_add(&violations, 1) < 10) {
        printf("# page %u: %s\n", page, what);
    }
}

static unsigned pick(uint64_t *seed, unsigned n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (*seed >> 33) % n;
}

static uint64_t spa_of(unsigned page)
{
    return page * RMP_PAGE_4K;
}

static int update(unsigned page, bool assigned, bool large, bool immutable)
{
    RmpState st = { .assigned = assigned, .page_size = large,
                    .immutable = immutable };
    bool changed;

    if (assigned) {
        st.gpa = GPA_OFFSET + spa_of(page);
        st.asid = 1;
    }
    return rmp_update(&rmp, spa_of(page), &st, &changed);
}

/* An update must fail if one and the same use lasted from before to after */
static void checked_update(unsigned page, bool assigned, bool large,
                           bool immutable)
{
    unsigned before[NR_HOT], i;
    int rc;

    if (large) {
        page -= page % RMP_PAGES_PER_2M;
    }
    for (i = 0; i < NR_HOT; i++) {
        before[i] = atomic_load(&epoch[hot[i]]);
    }
    rc = update(page, assigned, large, immutable);
    atomic_fetch_add(&refused_in_use, rc == RMP_FAIL_INUSE);
    if (rc != RMP_OK) {
        return;
    }
    atomic_fetch_add(&freed, 1);
    for (i = 0; i < NR_HOT; i++) {
        if ((hot[i] == page ||
             (large && hot[i] / RMP_PAGES_PER_2M == page / RMP_PAGES_PER_2M)) &&
            before[i] & 1 && before[i] == atomic_load(&epoch[hot[i]])) {
            violated("RMPUPDATE succeeded while in use", hot[i]);
        }
    }
}

static void *hypervisor(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    const uint8_t perms[3] = { 1, 3, 7 };
    unsigned page;

    while (!atomic_load(&stop)) {
        page = hot[pick(&seed, NR_HOT)];
        switch (pick(&seed, 8)) {
        case 0:
            rmp_smash(&rmp, spa_of(page - page % RMP_PAGES_PER_2M));
            break;
        case 1:
            update(page, true, false, true);
            rmp_fw_launch_update(&rmp, spa_of(page), 1, false, pick(&seed, 2),
                                 perms);
            break;
        case 2:
            rmp_fw_reclaim(&rmp, spa_of(page), false);
            break;
        case 3:
            checked_update(page, pick(&seed, 2), true, false);
            break;
        default:
            checked_update(page, pick(&seed, 2), false, pick(&seed, 8) == 0);
        }
    }
    return NULL;
}

static void while_running(unsigned page, bool vmsa)
{
    const uint64_t fixed = ~RMP_LO_COUNT_MASK;
    uint64_t spa = spa_of(page), lo = rmp_raw(&rmp, spa).lo, first;
    unsigned i;
    uint8_t perms;

    if (lo >> 52 != 0xfff) {
        violated("the mark does not show", page);
    }
    for (i = 0; i < 20; i++) {
        if ((rmp_raw(&rmp, spa).lo ^ lo) & fixed) {
            violated("the entry changed while in use", page);
        }
        if (rmp_hv_owned(&rmp, spa, RMP_PAGE_4K)) {
            violated("the host may write it while in use", page);
        }
        if (rmp_check_private(&rmp, spa, GPA_OFFSET + spa, RMP_PAGE_4K, 1, 0,
                              &perms) != RMP_GUEST_NPF) {
            violated("the guest reaches it while in use", page);
        }
        if (update(page, false, false, false) != RMP_FAIL_INUSE) {
            violated("RMPUPDATE did not return FAIL_INUSE", page);
        }
        if (rmp_fw_reclaim(&rmp, spa, false) != RMP_FAIL_PERMISSION) {
            violated("firmware took it while in use", page);
        }
        if (vmsa && !rmp_asid_pages(&rmp, 1, &first)) {
            violated("its ASID seems free", page);
        }
    }
}

/* A processor: makes a VMSA of a page, as a guest would, and runs it */
static void *processor(void *arg)
{
    uint64_t seed = (uintptr_t)arg, spa, gpa;
    RmpUse use = { 0 };
    RmpVerdict verdict;
    unsigned page;
    bool cf, vmsa, ok;

    while (!atomic_load(&stop)) {
        page = hot[pick(&seed, NR_HOT)];
        spa = spa_of(page);
        gpa = GPA_OFFSET + spa;
        vmsa = pick(&seed, 4);
        checked_update(page, vmsa, false, false);
        if (vmsa) {
            rmp_pvalidate(&rmp, spa, gpa, RMP_PAGE_4K, 1, false, true,
                          &verdict, &cf);
            rmp_adjust(&rmp, spa, gpa, RMP_PAGE_4K, 1, false, 0x10001, 0,
                       &verdict);
        }
        rmp_lock(&rmp);
        ok = vmsa ? !rmp_vmsa_refused(&rmp, spa, 1, true) :
                    rmp_hv_owned(&rmp, spa, RMP_PAGE_4K);
        ok = ok && rmp_use_begin(&rmp, &use, spa);
        rmp_unlock(&rmp);
        if (!ok) {
            continue;
        }
        atomic_fetch_add(&ran, 1);
        if (!(atomic_fetch_add(&epoch[page], 1) % 2 == 0)) {
            violated("in use twice", page);
        }
        while_running(page, vmsa);
        atomic_fetch_add(&epoch[page], 1);
        rmp_use_end(&rmp, &use);
    }
    return NULL;
}

static void *accesses(void *arg)
{
    uint64_t seed = (uintptr_t)arg, spa, leaf;
    unsigned page;
    uint8_t perms;
    RmpState st;
    RmpVerdict verdict;

    while (!atomic_load(&stop)) {
        page = hot[pick(&seed, NR_HOT)];
        spa = spa_of(page);
        leaf = pick(&seed, 2) ? RMP_PAGE_4K : RMP_PAGE_2M;
        rmp_hv_owned(&rmp, spa, leaf);
        verdict = rmp_check_private(&rmp, spa, GPA_OFFSET + spa, leaf, 1, 0,
                                    &perms);
        atomic_fetch_add(&reached, verdict == RMP_GUEST_OK);
        if (rmp_check_private(&rmp, spa, GPA_OFFSET + spa, leaf, 2, 0,
                              &perms) == RMP_GUEST_OK) {
            violated("a guest without pages reached one", page);
        }
        rmp_read(&rmp, spa, &st);
        if (st.asid > 1) {
            violated("RMPREAD shows an ASID that has no pages", page);
        }
    }
    return NULL;
}

/* With all threads gone: what the table says must agree with itself */
static void check_table(void)
{
    unsigned page, base, count, i;
    RmpEntry head, e;

    if (rmp.in_use) {
        violated("a mark is left in the list", rmp.in_use->spa >> 12);
    }
    for (base = 0; base < PAGES; base += RMP_PAGES_PER_2M) {
        head = rmp_raw(&rmp, spa_of(base));
        count = 0;
        for (i = 1; i < RMP_PAGES_PER_2M; i++) {
            page = base + i;
            e = rmp_raw(&rmp, spa_of(page));
            count += e.lo & 1;
            if (e.lo >> 52 == 0xfff) {
                violated("a mark is left", page);
            }
            if ((head.lo & 3) == 3 && (e.lo != 1 || e.hi)) {
                violated("a follower of a 2 MB entry is no follower", page);
            }
        }
        if ((head.lo & 3) == 3) {
            count = 0;
        }
        if ((head.lo & RMP_LO_COUNT_MASK) >> RMP_LO_COUNT_SHIFT != count) {
            violated("the count is wrong", base);
        }
    }
}

int main(int argc, char **argv)
{
    static void *(*const role[])(void *) = {
        hypervisor, hypervisor, processor, processor, processor, accesses,
    };
    enum { THREADS = sizeof(role) / sizeof(role[0]) };
    const struct timespec pause = { .tv_nsec = STEP_MS * 1000000 };
    int ms = 3000;
    pthread_t thread[THREADS];
    void *table = calloc(1, TABLE_SIZE);
    unsigned i;
    bool met;
    int opt;

    while ((opt = getopt(argc, argv, "t:")) != -1) {
        if (opt != 't') {
            fprintf(stderr, "usage: race [-t MILLISECONDS]\n");
            return 2;
        }
        ms = atoi(optarg);
    }
    if (!table || !rmp_setup(&rmp, table, TABLE_BASE,
                             TABLE_BASE + TABLE_SIZE - 1, 509, true)) {
        printf("Bail out! cannot set up a table\n");
        return 1;
    }
    for (i = 0; i < THREADS; i++) {
        if (pthread_create(&thread[i], NULL, role[i],
                           (void *)(uintptr_t)(i + 1))) {
            printf("Bail out! cannot start a thread\n");
            return 1;
        }
    }
    /* A machine that is busy needs longer, but one violation is enough */
    for (; ms > 0 && !violations; ms -= STEP_MS) {
        nanosleep(&pause, NULL);
    }
    atomic_store(&stop, true);
    for (i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    check_table();

    met = freed && refused_in_use && ran && reached;
    printf("# %lu updates, %lu refused in use, %lu runs, %lu guest accesses\n",
           freed, refused_in_use, ran, reached);
    printf("%sok 1 - a page in use stays as it is\n", violations ? "not " : "");
    printf("%sok 2 - updates, runs and accesses met\n", met ? "" : "not ");
    printf("1..2\n");
    rmp_destroy(&rmp);
    free(table);
    return violations || !met;
}
