/*
 * The Reverse Map Table (RMP) of an AMD SEV-SNP host and the rules of the
 * instructions that read and change it.
 *
 * Each check carries the ID of its rule, of which
 * docs/system/i386/amd-snp-host.rst has a table, and the checks of one
 * operation stand in the order of their priority.
 *
 * Two conventions keep the lock-free readers right:
 *  - An entry's two quadwords go together.  The high one is stored first if
 *    permissions are only added, so that whoever sees Validated also sees the
 *    permissions it came with, and last if some are taken away; a reader
 *    looks at the low one again.  So nobody holds an old low quadword against
 *    the permissions of a new one, which would be a VMPL violation that never
 *    was.
 *  - An operation that writes several entries is not atomic to a reader.  The
 *    verdict that such a reader took away is dropped by the TLB flush that
 *    the caller does before the instruction ends (RMPUPDATE-29, strict
 *    choice): it waits until no processor executes, hence for the reader's
 *    fill.
 *    A refusal in between is a fault that a retry resolves, as on hardware
 *    (CHK-USE: APM2 15.36.10): 4 KB followers of a 2 MB entry have ASID 0, so
 *    that it is an NPF, which the hypervisor retries, never a #VC, which the
 *    guest sees.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include "rmp.h"

#define MAX_ASID        (RMP_LO_ASID_MASK >> RMP_LO_ASID_SHIFT)
#define BOTH(lo, bits)  (((lo) & (bits)) == (bits))

/* The state a page is in, and the entry that governs it */
typedef struct Lookup {
    uint64_t page;          /* whose slot holds the entry: itself or its base */
    RmpEntry e;
    bool large;
    bool in_use;            /* the page, or the entry that governs it */
} Lookup;

static uint64_t base_of(uint64_t page)
{
    return page & ~(uint64_t)(RMP_PAGES_PER_2M - 1);
}

/* RMPUPDATE-22 (APM3 RMPUPDATE): only an assigned entry has a size */
static bool lo_large(uint64_t lo)
{
    return BOTH(lo, RMP_LO_ASSIGNED | RMP_LO_PAGE_SIZE);
}

/* RAW-06 (public crash log); INUSE-03, as the rules that it makes fail */
static bool lo_in_use(uint64_t lo)
{
    return BOTH(lo, RMP_LO_IN_USE);
}

static unsigned lo_asid(uint64_t lo)
{
    return (lo & RMP_LO_ASID_MASK) >> RMP_LO_ASID_SHIFT;
}

/*
 * Whose key the contents of a page with such an entry are under (ENC-01: APM2
 * 15.34)
 */
static unsigned lo_key(uint64_t lo)
{
    return (lo & (RMP_LO_ASSIGNED | RMP_LO_IMMUTABLE)) == RMP_LO_ASSIGNED ?
           lo_asid(lo) : 0;
}

static unsigned lo_count(uint64_t lo)
{
    return (lo & RMP_LO_COUNT_MASK) >> RMP_LO_COUNT_SHIFT;
}

/* RST-02 (APM2 15.36.22) */
static RmpEntry *entry_at(const Rmp *rmp, uint64_t page)
{
    return !rmp->segment ? &rmp->entry[page] :
           &rmp->segment[page >> rmp->segment_shift]
                .entry[page & ((1ull << rmp->segment_shift) - 1)];
}

static uint64_t load_lo(const Rmp *rmp, uint64_t page)
{
    return __atomic_load_n(&entry_at(rmp, page)->lo, __ATOMIC_ACQUIRE);
}

static RmpEntry load(const Rmp *rmp, uint64_t page)
{
    RmpEntry e;

    do {
        e.lo = load_lo(rmp, page);
        e.hi = __atomic_load_n(&entry_at(rmp, page)->hi, __ATOMIC_ACQUIRE);
    } while (load_lo(rmp, page) != e.lo);
    return e;
}

/*
 * May the hypervisor not write the page, by its own slot (HOST-01: APM2
 * 15.36.10; HOST-06: Linux 75253db41a46)?
 */
static bool lo_busy(uint64_t lo)
{
    return lo & RMP_LO_ASSIGNED || lo_in_use(lo);
}

/* Write one slot as it is; true if that changed it.  Lock held. */
static bool store(Rmp *rmp, uint64_t page, uint64_t lo, uint64_t hi)
{
    RmpEntry old = load(rmp, page), *e = entry_at(rmp, page);

    if (rmp->counted && lo_busy(old.lo) != lo_busy(lo)) {
        uint16_t *busy = &rmp->busy[page / RMP_PAGES_PER_2M];

        __atomic_store_n(busy, *busy + (lo_busy(lo) ? 1 : -1),
                         __ATOMIC_RELAXED);
    }
    if (old.hi & ~hi) {
        __atomic_store_n(&e->lo, lo, __ATOMIC_RELEASE);
        __atomic_store_n(&e->hi, hi, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(&e->hi, hi, __ATOMIC_RELAXED);
        __atomic_store_n(&e->lo, lo, __ATOMIC_RELEASE);
    }
    return old.lo != lo || old.hi != hi;
}

/*
 * Write the entry of a 4 KB page, @lo without a count, and keep the region's
 * count (RAW-03, RMPUPDATE-24: public log).  The count lives in the slot of
 * the 2 MB aligned page, whoever owns that page: also while it is in use, which
 * is why taking a mark off must leave bits 51:0 alone (INUSE-04: public crash
 * log).  Lock held.
 */
static bool store_4k(Rmp *rmp, uint64_t page, uint64_t lo, uint64_t hi)
{
    uint64_t base = base_of(page);
    RmpEntry old = load(rmp, page), head;
    unsigned count;

    if (page == base) {
        lo |= old.lo & RMP_LO_COUNT_MASK;
    } else if ((old.lo ^ lo) & RMP_LO_ASSIGNED) {
        head = load(rmp, base);
        count = lo_count(head.lo) + (lo & RMP_LO_ASSIGNED ? 1 : -1);
        head.lo &= ~RMP_LO_COUNT_MASK;
        head.lo |= (uint64_t)count << RMP_LO_COUNT_SHIFT & RMP_LO_COUNT_MASK;
        store(rmp, base, head.lo, head.hi);
    }
    return store(rmp, page, lo, hi);
}

/*
 * RMPUPDATE-23 (APM3 RMPUPDATE): the base's entry governs, its 511 followers
 * tell Assigned
 */
static bool store_2m(Rmp *rmp, uint64_t base, uint64_t lo, uint64_t hi)
{
    bool changed = store(rmp, base, lo, hi);
    unsigned i;

    for (i = 1; i < RMP_PAGES_PER_2M; i++) {
        changed |= store(rmp, base + i, lo & RMP_LO_ASSIGNED, 0);
    }
    return changed;
}

/* Write back what a lookup found, with its fields changed.  Lock held. */
static bool store_found(Rmp *rmp, const Lookup *l)
{
    if (l->large) {
        return store(rmp, l->page, l->e.lo, l->e.hi);
    }
    return store_4k(rmp, l->page, l->e.lo & ~RMP_LO_COUNT_MASK, l->e.hi);
}

/* The entry that governs a covered page; needs no lock */
static Lookup find(const Rmp *rmp, uint64_t spa)
{
    uint64_t page = spa >> 12, base = base_of(page);
    Lookup l = { .page = page, .e = load(rmp, page) };

    l.in_use = lo_in_use(l.e.lo);
    if (page != base) {
        RmpEntry head = load(rmp, base);

        if (lo_large(head.lo)) {
            l.page = base;
            l.e = head;
            l.in_use |= lo_in_use(head.lo);
        }
    }
    /* Only memory that was scribbled on has a size elsewhere */
    l.large = l.page == base && lo_large(l.e.lo);
    return l;
}

static bool region_in_use(const Rmp *rmp, uint64_t base)
{
    unsigned i;

    for (i = 0; i < RMP_PAGES_PER_2M; i++) {
        if (lo_in_use(load_lo(rmp, base + i))) {
            return true;
        }
    }
    return false;
}

/*
 * RAW-07 (Linux get_rmpentry()): what a slot would hold were its page not in
 * use.  Lock held.
 */
static uint64_t true_lo(const Rmp *rmp, uint64_t page)
{
    uint64_t lo = load_lo(rmp, page);
    const RmpUse *use;

    if (lo_in_use(lo)) {
        for (use = rmp->in_use; use; use = use->next) {
            if (use->spa >> 12 == page) {
                return (lo & ~RMP_LO_IN_USE) | use->upper;
            }
        }
    }
    return lo;
}

/* ENC-01 (APM2 15.34) */
unsigned rmp_key_locked(const Rmp *rmp, uint64_t spa)
{
    return rmp_covered(rmp, spa) ?
           lo_key(true_lo(rmp, find(rmp, spa).page)) : 0;
}

/* ---- geometry ---- */

/* @rmp is @from, with a lock and with counts of its own */
static bool set_up(Rmp *rmp, const Rmp *from)
{
    uint16_t *busy;

    /* RAW-01 (PPR, family 19h): the field is 10 bits wide */
    if (from->max_asid > MAX_ASID) {
        return false;
    }
    busy = calloc(from->pages / RMP_PAGES_PER_2M + 1, sizeof(*busy));
    if (!busy) {
        return false;
    }
    *rmp = *from;
    rmp->busy = busy;
    pthread_mutex_init(&rmp->lock, NULL);
    return true;
}

bool rmp_setup(Rmp *rmp, void *table, uint64_t base, uint64_t end,
               unsigned max_asid, bool erratum_2m)
{
    /*
     * GEOM-02 (APM2 15.36.4); 8 KB are 512 entries, so that 2 MB regions are
     * covered whole
     */
    if (base & 0x1fff || (end + 1) & 0x1fff) {
        return false;
    }
    /*
     * GEOM-01, GEOM-03 (APM2 15.36.4): room for the bookkeeping and for one
     * entry
     */
    if (end + 1 <= base || end + 1 - base <= RMP_BOOKKEEPING_SIZE) {
        return false;
    }
    return set_up(rmp, &(Rmp) {
        .entry = (RmpEntry *)((char *)table + RMP_BOOKKEEPING_SIZE),
        .base = base,
        .end = end,
        /* GEOM-04 (APM2 15.36.4) */
        .pages = (end - base + 1 - RMP_BOOKKEEPING_SIZE) / sizeof(RmpEntry),
        .max_asid = max_asid,
        .erratum_2m = erratum_2m,
    });
}

bool rmp_setup_segments(Rmp *rmp, const uint64_t *rst, uint64_t base,
                        unsigned shift, unsigned max_asid, bool erratum_2m,
                        void *(*host)(uint64_t spa, uint64_t size))
{
    RmpSegment *segment = calloc(RMP_SEGMENTS, sizeof(*segment));
    uint64_t pages = 0;
    bool ok = false;

    /* RST-03 (APM2 15.36.22) */
    if (!segment || base & 0xfffff) {
        goto bad;
    }
    for (unsigned i = 0; i < RMP_SEGMENTS; i++) {
        RmpSegment *s = &segment[i];
        uint64_t size = (rst[i] & 0xfffff) << 30;

        if (!size) {
            continue;
        }
        /*
         * RST-02 (APM2 15.36.22): what covers more than a segment covers the
         * segment
         */
        size = size > 1ull << shift ? 1ull << shift : size;
        s->pages = size >> 12;
        s->base = rst[i] & 0x000ffffffff00000ull;
        s->entry = host(s->base, s->pages * sizeof(RmpEntry));
        /* RST-05 (APM2 15.36.22), and the field that must be zero */
        if (rst[i] >> 52 || !s->entry) {
            goto bad;
        }
        pages = ((uint64_t)i << (shift - 12)) + s->pages;
    }
    if (!pages) {
        goto bad;
    }
    ok = set_up(rmp, &(Rmp) {
        .segment = segment,
        .segment_shift = shift - 12,
        .base = base,
        .end = base + RMP_BOOKKEEPING_SIZE + RMP_RST_SIZE - 1,
        .pages = pages,
        .max_asid = max_asid,
        .erratum_2m = erratum_2m,
    });
bad:
    if (!ok) {
        free(segment);
    }
    return ok;
}

void rmp_destroy(Rmp *rmp)
{
    pthread_mutex_destroy(&rmp->lock);
    free(rmp->segment);
    free(rmp->busy);
}

RmpEntry rmp_raw(const Rmp *rmp, uint64_t spa)
{
    /* GEOM-05 (APM2 15.36.5, 15.36.10) */
    if (!rmp_covered(rmp, spa)) {
        return (RmpEntry) { 0, 0 };
    }
    return load(rmp, spa >> 12);
}

void rmp_lock(Rmp *rmp)
{
    pthread_mutex_lock(&rmp->lock);
}

void rmp_unlock(Rmp *rmp)
{
    pthread_mutex_unlock(&rmp->lock);
}

/* ---- instructions of the hypervisor ---- */

/*
 * RMPUPDATE-04..06 (APM3 RMPUPDATE): what is wrong with the operands whatever
 * the table holds
 */
static bool update_input_bad(const Rmp *rmp, uint64_t spa,
                             const RmpState *state)
{
    uint64_t size = state->page_size & 1 ? RMP_PAGE_2M : RMP_PAGE_4K;

    /*
     * RMPUPDATE-04, with RMPUPDATE-02 (APM3 RMPUPDATE): bits 11:0 do not count
     */
    if (spa & (size - 1) & ~(RMP_PAGE_4K - 1)) {
        return true;
    }
    /* RMPUPDATE-05 (APM3 RMPUPDATE) */
    if (!state->assigned && (state->immutable || state->asid)) {
        return true;
    }
    /*
     * RMPUPDATE-06 (strict choice); GPA bits above 50 are cut off instead
     * (RAW-04: AMD on SVSM's tracker)
     */
    if (state->assigned > 1 || state->page_size > 1 || state->immutable > 1 ||
        state->reserved || state->asid > rmp->max_asid ||
        state->gpa & (size - 1)) {
        return true;
    }
    return false;
}

/* The table's part of the checks for a 4 KB entry.  Lock held. */
static int update_refused_4k(const Rmp *rmp, uint64_t page)
{
    uint64_t own = load_lo(rmp, page), head = load_lo(rmp, base_of(page));

    /*
     * RMPUPDATE-13 (APM2 15.36.12): the page, or the 2 MB entry that it is a
     * part of
     */
    if (lo_in_use(own) || (lo_large(head) && lo_in_use(head))) {
        return RMP_FAIL_INUSE;
    }
    /* RMPUPDATE-08 (APM3 RMPUPDATE) */
    if (own & RMP_LO_IMMUTABLE) {
        return RMP_FAIL_PERMISSION;
    }
    /*
     * RMPUPDATE-09 (APM3 RMPUPDATE) at the base of a 2 MB entry, RMPUPDATE-10
     * (AMD on the list) inside it
     */
    if (lo_large(head)) {
        return RMP_FAIL_OVERLAP;
    }
    return RMP_OK;
}

/* The same for a 2 MB entry.  Lock held. */
static int update_refused_2m(const Rmp *rmp, uint64_t base)
{
    uint64_t head = load_lo(rmp, base), lo;
    bool assigned = head & RMP_LO_ASSIGNED;
    unsigned i;

    /* RMPUPDATE-13 (APM2 15.36.12), RMPUPDATE-14 (strict choice) */
    if (region_in_use(rmp, base)) {
        return RMP_FAIL_INUSE;
    }
    /* RMPUPDATE-08 (APM3 RMPUPDATE) */
    if (head & RMP_LO_IMMUTABLE) {
        return RMP_FAIL_PERMISSION;
    }
    /* RMPUPDATE-12 (Linux sev_gmem_make_shared()) */
    if (lo_large(head)) {
        return RMP_OK;
    }
    for (i = 1; i < RMP_PAGES_PER_2M; i++) {
        lo = load_lo(rmp, base + i);
        /*
         * RMPUPDATE-08 (strict choice): an HV-fixed page is left by no
         * RMPUPDATE (FWPAGE-03: ABI, page states)
         */
        if (!(lo & RMP_LO_ASSIGNED) && lo & RMP_LO_IMMUTABLE) {
            return RMP_FAIL_PERMISSION;
        }
        assigned |= lo & RMP_LO_ASSIGNED;
    }
    /* RMPUPDATE-11 (APM3 RMPUPDATE) */
    return assigned ? RMP_FAIL_OVERLAP : RMP_OK;
}

int rmp_update(Rmp *rmp, uint64_t spa, const RmpState *state, bool *changed)
{
    bool large = state->page_size & 1;
    uint64_t page = spa >> 12, lo = 0, hi = 0;
    int rc;

    *changed = false;
    if (update_input_bad(rmp, spa, state)) {
        return RMP_FAIL_INPUT;
    }
    /* RMPUPDATE-07 (APM2 15.36.22) */
    if (!rmp_covered(rmp, spa)) {
        return RMP_FAIL_INPUT;
    }

    /*
     * RMPUPDATE-17..22 (APM2 15.36.3): nothing of the old entry survives, even
     * if the fields given are those it has.  Validated and VMSA are 0; an
     * unassigned entry is all zero.
     */
    if (state->assigned) {
        lo = RMP_LO_ASSIGNED | (state->gpa & RMP_LO_GPA_MASK) |
             (uint64_t)state->asid << RMP_LO_ASID_SHIFT;
        /*
         * RMPUPDATE-25 (APM2 15.36), RMPUPDATE-27 (Linux
         * sev_gmem_post_populate()); RMPUPDATE-26 (strict choice): nobody's may
         * be mutable
         */
        lo |= state->immutable ? RMP_LO_IMMUTABLE : 0;
        lo |= large ? RMP_LO_PAGE_SIZE : 0;
        hi = RMP_PERM_ASSIGN;
    }

    /* RMPUPDATE-15 (strict choice): INUSE, PERMISSION, OVERLAP after INPUT */
    rmp_lock(rmp);
    rc = large ? update_refused_2m(rmp, page) : update_refused_4k(rmp, page);
    if (rc == RMP_OK) {
        /* RMPUPDATE-28 (APM2 15.34) */
        if (rmp->rekey) {
            rmp->rekey(rmp, page << 12, large ? RMP_PAGE_2M : RMP_PAGE_4K,
                       rmp_key_locked(rmp, spa), lo_key(lo));
        }
        *changed = large ? store_2m(rmp, page, lo, hi) :
                           store_4k(rmp, page, lo, hi);
    }
    rmp_unlock(rmp);
    return rc;
}

static int smash_locked(Rmp *rmp, uint64_t base)
{
    RmpEntry e = load(rmp, base);
    uint64_t gpa, lo;
    unsigned i;

    /* PSMASH-03 (APM3 PSMASH), PSMASH-07 (strict choice) */
    if (region_in_use(rmp, base)) {
        return RMP_FAIL_INUSE;
    }
    /* PSMASH-04 (MSVC intrinsics) */
    if (!lo_large(e.lo)) {
        return RMP_FAIL_BADADDR;
    }
    /* PSMASH-05 (strict choice) */
    if (e.lo & RMP_LO_IMMUTABLE) {
        return RMP_FAIL_PERMISSION;
    }
    /*
     * PSMASH-06 (APM2 15.36.11); the followers first, so that the base governs
     * until the end
     */
    gpa = e.lo & RMP_LO_GPA_MASK;
    lo = e.lo & ~(RMP_LO_PAGE_SIZE | RMP_LO_COUNT_MASK | RMP_LO_GPA_MASK);
    for (i = 1; i < RMP_PAGES_PER_2M; i++) {
        store(rmp, base + i,
              lo | ((gpa + i * RMP_PAGE_4K) & RMP_LO_GPA_MASK), e.hi);
    }
    store(rmp, base, lo | gpa | RMP_LO_COUNT_MASK, e.hi);
    return RMP_OK;
}

int rmp_smash(Rmp *rmp, uint64_t spa)
{
    uint64_t page = spa >> 12;
    int rc;

    /* PSMASH-02 (APM2 15.36.11) */
    if (page != base_of(page) || !rmp_covered(rmp, spa)) {
        return RMP_FAIL_INPUT;
    }
    rmp_lock(rmp);
    rc = smash_locked(rmp, page);
    rmp_unlock(rmp);
    return rc;
}

int rmp_read(Rmp *rmp, uint64_t spa, RmpState *state)
{
    uint64_t page = spa >> 12, lo;

    /* RMPREAD-01 (MSVC intrinsics) */
    if (!rmp_covered(rmp, spa)) {
        return RMP_FAIL_INPUT;
    }
    /* RMPREAD-03 (strict choice) */
    rmp_lock(rmp);
    lo = true_lo(rmp, page);
    rmp_unlock(rmp);

    /* ARCH-01, ARCH-03 (APM3 RMPREAD) */
    *state = (RmpState) {
        .gpa = lo & RMP_LO_GPA_MASK,
        .assigned = !!(lo & RMP_LO_ASSIGNED),
        .page_size = lo_large(lo),
        .immutable = !!(lo & RMP_LO_IMMUTABLE),
        .asid = lo_asid(lo),
    };
    /*
     * ARCH-02 (Linux 3e43c60eb3e3).  Only the slot of a 2 MB aligned page has
     * a count or a size; a 2 MB entry's followers are assigned, though not
     * counted.
     */
    if (lo_large(lo) || lo_count(lo)) {
        state->page_size |= 2;
    }
    return RMP_OK;
}

/* ---- checks of the access path ---- */

/*
 * The checks of a guest's private access up to Mutable; the ones after it
 * differ by access.  False means #VMEXIT(NPF) with EXITINFO1.RMP.
 */
static bool guest_owns(const Rmp *rmp, uint64_t spa, uint64_t gpa,
                       unsigned asid, Lookup *l)
{
    uint64_t offset;

    /* CHK-COV (APM2 15.36.10) */
    if (!rmp_covered(rmp, spa)) {
        return false;
    }
    *l = find(rmp, spa);
    /*
     * CHK-USE, ACC-17 (APM2 15.36.10): whose page it is cannot be told while
     * it is in use
     */
    if (l->in_use) {
        return false;
    }
    /* CHK-GOWN (APM2 15.36.10) */
    if (!(l->e.lo & RMP_LO_ASSIGNED) || lo_asid(l->e.lo) != asid) {
        return false;
    }
    /* CHK-REV, ACC-16 (APM2 15.36.10) */
    offset = ((spa >> 12) - l->page) << 12;
    if ((l->e.lo & RMP_LO_GPA_MASK) + offset != (gpa & ~(RMP_PAGE_4K - 1))) {
        return false;
    }
    /* CHK-MUT (APM2 15.36.10) */
    return !(l->e.lo & RMP_LO_IMMUTABLE);
}

/* CHK-SIZE (APM2 15.36.10): ACC-PGSZ, ACC-PGS2; a 1 GB leaf counts as 2 MB */
static bool leaf_matches(const Lookup *l, uint64_t leaf_size)
{
    return l->large == (leaf_size >= RMP_PAGE_2M);
}

static uint8_t perms_of(const Lookup *l, unsigned vmpl)
{
    return vmpl < RMP_NR_VMPL ? l->e.hi >> (8 * vmpl) : 0;
}

bool rmp_hv_owned(const Rmp *rmp, uint64_t spa, uint64_t leaf_size)
{
    uint64_t page = spa >> 12, base = base_of(page), lo;

    /* GEOM-05 (APM2 15.36.5) */
    if (!rmp_covered(rmp, spa)) {
        return true;
    }
    /* Most regions have nothing of anybody else's: spare two cache misses */
    if (__atomic_load_n(&rmp->counted, __ATOMIC_ACQUIRE) &&
        !__atomic_load_n(&rmp->busy[page / RMP_PAGES_PER_2M],
                         __ATOMIC_RELAXED)) {
        return true;
    }
    /* HOST-01, HOST-07 (APM2 15.36.10), HOST-06 (Linux 75253db41a46) */
    if (lo_busy(load_lo(rmp, page))) {
        return false;
    }
    if (leaf_size < RMP_PAGE_2M) {
        return true;
    }
    /*
     * HOST-05 (APM2 15.36.10): RAW-03's count (public log) spares the look at
     * the other 511 entries
     */
    lo = load_lo(rmp, base);
    if (lo & (RMP_LO_ASSIGNED | RMP_LO_COUNT_MASK)) {
        return false;
    }
    /* HOST-08 (Linux snp_safe_alloc_page_node()) */
    return !(rmp->erratum_2m && lo_in_use(lo));
}

RmpVerdict rmp_check_private(const Rmp *rmp, uint64_t spa, uint64_t gpa,
                             uint64_t leaf_size, unsigned asid, unsigned vmpl,
                             uint8_t *perms)
{
    Lookup l;

    *perms = 0;
    /*
     * ACC-01, ACC-04; ACC-13 (APM2 15.36.10): the page size comes before
     * Validated
     */
    if (!guest_owns(rmp, spa, gpa, asid, &l) ||
        !leaf_matches(&l, leaf_size)) {
        return RMP_GUEST_NPF;
    }
    /* CHK-VAL, ACC-02 (APM2 15.36.10) */
    if (!(l.e.lo & RMP_LO_VALIDATED)) {
        return RMP_GUEST_VC;
    }
    /*
     * CHK-VMPL (APM2 15.36.7), ACC-03 (APM2 15.36.10): the caller's, who knows
     * the kind of access
     */
    *perms = perms_of(&l, vmpl);
    return RMP_GUEST_OK;
}

/* ---- instructions of the guest ---- */

/* PVALIDATE-02, RMPADJUST-02 (VeriSMo) */
static bool gva_misaligned(uint64_t gva, bool size_2m)
{
    return size_2m && gva & (RMP_PAGE_2M - RMP_PAGE_4K);
}

int rmp_pvalidate_operands(uint64_t gva, bool size_2m)
{
    return gva_misaligned(gva, size_2m) ? RMP_FAIL_INPUT : RMP_OK;
}

int rmp_adjust_operands(uint64_t gva, bool size_2m, uint64_t rdx,
                        unsigned vmpl)
{
    unsigned target = rdx & 0xff, mask = rdx >> 8 & 0xff;

    /* RMPADJUST-02 (VeriSMo) */
    if (gva_misaligned(gva, size_2m)) {
        return RMP_FAIL_INPUT;
    }
    /* RMPADJUST-03 (strict choice) */
    if (target >= RMP_NR_VMPL) {
        return RMP_FAIL_INPUT;
    }
    /* RMPADJUST-04 (VeriSMo) */
    if (target <= vmpl) {
        return RMP_FAIL_PERMISSION;
    }
    /* RMPADJUST-05 (APM2 15.36.7), and the bits that mean nothing */
    if (mask > 0x1f ||
        (mask && !(mask & RMP_PERM_READ)) ||
        (mask & RMP_PERM_SSS && mask & (RMP_PERM_XUSER | RMP_PERM_XSUPER)) ||
        (mask & RMP_PERM_XSUPER && !(mask & RMP_PERM_XUSER))) {
        return RMP_FAIL_INPUT;
    }
    return RMP_OK;
}

int rmp_query_operands(uint64_t target_vmpl, unsigned vmpl)
{
    /* RMPQUERY-01 (MSVC intrinsics): nothing but 0 and 2 is ever returned */
    if (target_vmpl >= RMP_NR_VMPL || target_vmpl < vmpl) {
        return RMP_FAIL_PERMISSION;
    }
    return RMP_OK;
}

static int pvalidate_locked(Rmp *rmp, uint64_t spa, uint64_t gpa,
                            uint64_t leaf_size, unsigned asid, bool size_2m,
                            bool validate, RmpVerdict *verdict,
                            bool *unchanged)
{
    Lookup l;

    /* PVALIDATE-04 (VeriSMo), PVALIDATE-11 (strict choice) */
    if (!guest_owns(rmp, spa, gpa, asid, &l)) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    /* PVALIDATE-05 (APM2 15.36.6, 15.36.11) */
    if (!size_2m && (l.large || leaf_size >= RMP_PAGE_2M)) {
        *verdict = RMP_GUEST_NPF_SIZEM;
        return RMP_OK;
    }
    /* PVALIDATE-06 (APM2 15.36.6) */
    if (size_2m && (!l.large || leaf_size < RMP_PAGE_2M)) {
        return RMP_FAIL_SIZEMISMATCH;
    }
    /*
     * PVALIDATE-11 (strict choice): another page of the 2 MB that would change
     */
    if (size_2m && region_in_use(rmp, l.page)) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    /* PVALIDATE-07 (APM2 15.36.6) */
    if (!!(l.e.lo & RMP_LO_VALIDATED) == validate) {
        *unchanged = true;
        return RMP_OK;
    }
    /*
     * PVALIDATE-08 (Linux pvalidate()), PVALIDATE-09, PVALIDATE-10 (VeriSMo):
     * Validated and nothing else
     */
    l.e.lo ^= RMP_LO_VALIDATED;
    store_found(rmp, &l);
    return RMP_OK;
}

int rmp_pvalidate(Rmp *rmp, uint64_t spa, uint64_t gpa, uint64_t leaf_size,
                  unsigned asid, bool size_2m, bool validate,
                  RmpVerdict *verdict, bool *unchanged)
{
    int rc;

    *verdict = RMP_GUEST_OK;
    *unchanged = false;
    rmp_lock(rmp);
    rc = pvalidate_locked(rmp, spa, gpa, leaf_size, asid, size_2m, validate,
                          verdict, unchanged);
    rmp_unlock(rmp);
    return rc;
}

static int adjust_locked(Rmp *rmp, uint64_t spa, uint64_t gpa,
                         uint64_t leaf_size, unsigned asid, bool size_2m,
                         uint64_t rdx, unsigned vmpl, RmpVerdict *verdict)
{
    unsigned target = rdx & 0xff;
    uint64_t mask = rdx >> 8 & 0xff;
    Lookup l;

    /* RMPADJUST-07 (VeriSMo), RMPADJUST-14 (strict choice) */
    if (!guest_owns(rmp, spa, gpa, asid, &l)) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    /* RMPADJUST-08 (APM2 15.36.11) */
    if (!size_2m && l.large) {
        *verdict = RMP_GUEST_NPF_SIZEM;
        return RMP_OK;
    }
    /* RMPADJUST-09 (APM2 15.36.11) */
    if (size_2m && !l.large) {
        return RMP_FAIL_SIZEMISMATCH;
    }
    /*
     * CHK-SIZE (APM2 15.36.10); RMPADJUST-14 (strict choice) for another page
     * of the 2 MB
     */
    if (!leaf_matches(&l, leaf_size) ||
        (size_2m && region_in_use(rmp, l.page))) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    /* RMPADJUST-10 (VeriSMo) */
    if (!(l.e.lo & RMP_LO_VALIDATED)) {
        *verdict = RMP_GUEST_VC;
        return RMP_OK;
    }
    /* RMPADJUST-11 (APM2 15.36.7) */
    if (mask & ~perms_of(&l, vmpl)) {
        return RMP_FAIL_PERMISSION;
    }
    /*
     * RMPADJUST-12 (APM2 15.36.12), RMPADJUST-13 (VeriSMo); it stays
     * ordinary memory: RMPADJUST-16 (Linux snp_set_vmsa())
     */
    if (vmpl == 0) {
        l.e.lo &= ~RMP_LO_VMSA;
        l.e.lo |= rdx >> 16 & 1 ? RMP_LO_VMSA : 0;
    }
    l.e.hi &= ~(0xffull << (8 * target));
    l.e.hi |= mask << (8 * target);
    store_found(rmp, &l);
    return RMP_OK;
}

int rmp_adjust(Rmp *rmp, uint64_t spa, uint64_t gpa, uint64_t leaf_size,
               unsigned asid, bool size_2m, uint64_t rdx, unsigned vmpl,
               RmpVerdict *verdict)
{
    int rc;

    *verdict = RMP_GUEST_OK;
    /* The shift below needs a target that exists */
    if ((rdx & 0xff) >= RMP_NR_VMPL) {
        return RMP_FAIL_INPUT;
    }
    rmp_lock(rmp);
    rc = adjust_locked(rmp, spa, gpa, leaf_size, asid, size_2m, rdx, vmpl,
                       verdict);
    rmp_unlock(rmp);
    return rc;
}

int rmp_query(Rmp *rmp, uint64_t spa, uint64_t gpa, uint64_t leaf_size,
              unsigned asid, unsigned target_vmpl, RmpVerdict *verdict,
              bool *size_2m, uint8_t *perms, bool *vmsa)
{
    Lookup l;

    *size_2m = false;
    *perms = 0;
    *vmsa = false;
    /* RMPQUERY-01 (MSVC intrinsics): checked as RMPADJUST is */
    if (!guest_owns(rmp, spa, gpa, asid, &l) ||
        !leaf_matches(&l, leaf_size)) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    if (!(l.e.lo & RMP_LO_VALIDATED)) {
        *verdict = RMP_GUEST_VC;
        return RMP_OK;
    }
    *verdict = RMP_GUEST_OK;
    *size_2m = l.large;
    *perms = perms_of(&l, target_vmpl);
    *vmsa = l.e.lo & RMP_LO_VMSA;
    return RMP_OK;
}

/* ---- VMRUN and #VMEXIT ---- */

const char *rmp_vmsa_refused(const Rmp *rmp, uint64_t spa, unsigned asid,
                             bool snp_active)
{
    Lookup l;

    if (!rmp_covered(rmp, spa)) {
        return snp_active ? "VMSA-02" : NULL;
    }
    /*
     * VMSA-09 (APM2 15.36.12): the entry that governs the page, one of 2 MB if
     * it is in one
     */
    l = find(rmp, spa);
    if (!snp_active && l.e.lo & RMP_LO_ASSIGNED) {
        return "VMSA-01";
    }
    /* VMSA-08 (strict choice), ahead of the fields that the mark hides */
    if (l.in_use) {
        return "VMSA-08";
    }
    if (!snp_active) {
        return NULL;
    }
    if (!(l.e.lo & RMP_LO_ASSIGNED) || lo_asid(l.e.lo) != asid) {
        return "VMSA-03";
    }
    if (l.e.lo & RMP_LO_IMMUTABLE) {
        return "VMSA-04";
    }
    if (!(l.e.lo & RMP_LO_VMSA)) {
        return "VMSA-05";
    }
    /*
     * VMSA-06, VMSA-07 (APM2 15.36.12): Validated, size, VMPL and GPA are not
     * looked at
     */
    return NULL;
}

bool rmp_use_begin(Rmp *rmp, RmpUse *use, uint64_t spa)
{
    uint64_t page = spa >> 12;
    RmpEntry e;

    use->active = false;
    if (!rmp_covered(rmp, spa)) {
        return true;
    }
    e = load(rmp, page);
    if (lo_in_use(e.lo)) {
        return false;
    }
    /*
     * RAW-06 (public crash log), RAW-08 (AMD on the list): the page's own slot,
     * also inside a 2 MB entry
     */
    store(rmp, page, e.lo | RMP_LO_IN_USE, e.hi);
    use->spa = spa;
    use->upper = e.lo & RMP_LO_IN_USE;
    use->active = true;
    use->next = rmp->in_use;
    rmp->in_use = use;
    return true;
}

void rmp_use_end(Rmp *rmp, RmpUse *use)
{
    RmpUse **link;
    RmpEntry e;

    if (!use->active) {
        return;
    }
    rmp_lock(rmp);
    for (link = &rmp->in_use; *link; link = &(*link)->next) {
        if (*link == use) {
            *link = use->next;
            break;
        }
    }
    /*
     * INUSE-04 (public crash log); a mark that somebody wiped from memory is
     * not put right
     */
    e = load(rmp, use->spa >> 12);
    if (lo_in_use(e.lo)) {
        store(rmp, use->spa >> 12, (e.lo & ~RMP_LO_IN_USE) | use->upper, e.hi);
    }
    use->active = false;
    rmp_unlock(rmp);
}

/* ---- contents ---- */

unsigned rmp_key(Rmp *rmp, uint64_t spa)
{
    unsigned key;

    if (!rmp_covered(rmp, spa)) {
        return 0;
    }
    rmp_lock(rmp);
    key = rmp_key_locked(rmp, spa);
    rmp_unlock(rmp);
    return key;
}

/* ---- firmware ---- */

/* FWPAGE-01..11 (ABI, page states).  Lock held. */
static RmpPageState page_state(const Rmp *rmp, uint64_t spa, Lookup *l)
{
    uint64_t lo;

    *l = (Lookup) { 0 };
    if (!rmp_covered(rmp, spa)) {
        return RMP_PAGE_DEFAULT;
    }
    *l = find(rmp, spa);
    lo = l->e.lo;
    /*
     * FWPAGE-12 (strict choice): a command touches no page of 2 MB while one of
     * it is in use
     */
    if (l->in_use || (l->large && region_in_use(rmp, l->page))) {
        return RMP_PAGE_IN_USE;
    }
    if (!(lo & RMP_LO_ASSIGNED)) {
        return lo & RMP_LO_IMMUTABLE ? RMP_PAGE_HV_FIXED :
                                       RMP_PAGE_HYPERVISOR;
    }
    if (lo & RMP_LO_TABLE) {
        return RMP_PAGE_TABLE;
    }
    if (lo_asid(lo) == 0) {
        if (!(lo & RMP_LO_IMMUTABLE)) {
            return RMP_PAGE_RECLAIM;
        }
        if (lo & RMP_LO_VMSA) {
            return RMP_PAGE_CONTEXT;
        }
        return lo & RMP_LO_GPA_MASK ? RMP_PAGE_METADATA : RMP_PAGE_FIRMWARE;
    }
    if (lo & RMP_LO_IMMUTABLE) {
        return lo & RMP_LO_VALIDATED ? RMP_PAGE_PRE_SWAP : RMP_PAGE_PRE_GUEST;
    }
    return lo & RMP_LO_VALIDATED ? RMP_PAGE_GUEST_VALID :
                                   RMP_PAGE_GUEST_INVALID;
}

RmpPageState rmp_page_state(Rmp *rmp, uint64_t spa, bool *size_2m)
{
    RmpPageState state;
    Lookup l;

    rmp_lock(rmp);
    state = page_state(rmp, spa, &l);
    rmp_unlock(rmp);
    *size_2m = l.large;
    return state;
}

/*
 * GEOM-07 (APM2 15.36.4): this part of the table; or GEOM-08 (Linux
 * __snp_fixup_e820_tables()), the regions around its ends.  Lock held.
 */
static void protect(Rmp *rmp, uint64_t base, uint64_t end, bool around)
{
    uint64_t page = base >> 12, to = (end >> 12) + 1;
    uint64_t lo = RMP_LO_TABLE | RMP_LO_IMMUTABLE | RMP_LO_ASSIGNED;

    if (around) {
        lo = RMP_LO_IMMUTABLE;
        page = base_of(page);
        to = base_of(to - 1) + RMP_PAGES_PER_2M;
    }
    for (; page < to; page++) {
        if (rmp_covered(rmp, page << 12)) {
            store_4k(rmp, page, lo, 0);         /* RAW-05 (public log) */
        }
    }
}

void rmp_fw_init(Rmp *rmp)
{
    uint64_t page;

    rmp_lock(rmp);
    /* FWCMD-01 (ABI SNP_INIT) */
    __atomic_store_n(&rmp->counted, false, __ATOMIC_RELEASE);
    for (page = 0; page < rmp->pages; page++) {
        if (rmp_covered(rmp, page << 12)) {
            store(rmp, page, 0, 0);
        }
    }
    for (page = 0; page < rmp->pages; page += RMP_PAGES_PER_2M) {
        __atomic_store_n(&rmp->busy[page / RMP_PAGES_PER_2M], 0,
                         __ATOMIC_RELAXED);
    }
    __atomic_store_n(&rmp->counted, true, __ATOMIC_RELEASE);
    /* What is around one part may be another */
    for (int around = 1; around >= 0; around--) {
        protect(rmp, rmp->base, rmp->end, around);
        for (unsigned i = 0; rmp->segment && i < RMP_SEGMENTS; i++) {
            const RmpSegment *s = &rmp->segment[i];

            if (s->pages) {
                protect(rmp, s->base,
                        s->base + s->pages * sizeof(RmpEntry) - 1, around);
            }
        }
    }
    rmp_unlock(rmp);
}

void rmp_fw_end(Rmp *rmp)
{
    rmp_lock(rmp);
    __atomic_store_n(&rmp->counted, false, __ATOMIC_RELEASE);
    rmp_unlock(rmp);
}

/* The entry that a move leaves behind; false if there is no such move */
static bool moved(RmpPageState from, RmpPageState to, RmpEntry *e)
{
    switch (to) {
    case RMP_PAGE_HYPERVISOR:
        *e = (RmpEntry) { 0, 0 };
        return from == RMP_PAGE_RECLAIM || from == RMP_PAGE_FIRMWARE;
    case RMP_PAGE_HV_FIXED:
        *e = (RmpEntry) { RMP_LO_IMMUTABLE, 0 };
        return from == RMP_PAGE_HYPERVISOR;
    case RMP_PAGE_RECLAIM:
        e->lo = RMP_LO_ASSIGNED;
        return from == RMP_PAGE_FIRMWARE || from == RMP_PAGE_METADATA;
    case RMP_PAGE_FIRMWARE:
        e->lo = RMP_LO_ASSIGNED | RMP_LO_IMMUTABLE;
        return from == RMP_PAGE_HYPERVISOR || from == RMP_PAGE_CONTEXT;
    case RMP_PAGE_CONTEXT:
        e->lo = RMP_LO_ASSIGNED | RMP_LO_IMMUTABLE | RMP_LO_VMSA;
        return from == RMP_PAGE_FIRMWARE;
    case RMP_PAGE_GUEST_INVALID:
        e->lo &= ~RMP_LO_IMMUTABLE;
        return from == RMP_PAGE_PRE_GUEST;
    case RMP_PAGE_GUEST_VALID:
        e->lo &= ~RMP_LO_IMMUTABLE;
        return from == RMP_PAGE_PRE_SWAP;
    default:
        return false;
    }
}

bool rmp_fw_move(Rmp *rmp, uint64_t spa, RmpPageState from, RmpPageState to)
{
    bool done = false;
    Lookup l;

    rmp_lock(rmp);
    if (page_state(rmp, spa, &l) == from && !l.large &&
        moved(from, to, &l.e)) {
        store_found(rmp, &l);
        done = true;
    }
    rmp_unlock(rmp);
    return done;
}

static int reclaim_locked(Rmp *rmp, uint64_t spa, bool size_2m)
{
    RmpPageState from, to;
    Lookup l;

    /* FWCMD-17 (ABI SNP_PAGE_RECLAIM), FWPAGE-12 (strict choice) */
    from = page_state(rmp, spa, &l);
    switch (from) {
    case RMP_PAGE_RECLAIM:
    case RMP_PAGE_FIRMWARE:
    case RMP_PAGE_METADATA:
        to = RMP_PAGE_RECLAIM;
        break;
    case RMP_PAGE_PRE_GUEST:
        to = RMP_PAGE_GUEST_INVALID;
        break;
    case RMP_PAGE_PRE_SWAP:
        to = RMP_PAGE_GUEST_VALID;
        break;
    default:
        return RMP_FAIL_PERMISSION;
    }
    if (l.large != size_2m) {
        return RMP_FAIL_SIZEMISMATCH;
    }
    if (from != to) {
        moved(from, to, &l.e);
        l.e.lo |= size_2m ? RMP_LO_PAGE_SIZE : 0;
        store_found(rmp, &l);
    }
    return RMP_OK;
}

int rmp_fw_reclaim(Rmp *rmp, uint64_t spa, bool size_2m)
{
    int rc;

    rmp_lock(rmp);
    rc = reclaim_locked(rmp, spa, size_2m);
    rmp_unlock(rmp);
    return rc;
}

static int launch_update_locked(Rmp *rmp, uint64_t spa, unsigned asid,
                                bool size_2m, bool vmsa,
                                const uint8_t perms[3])
{
    Lookup l;

    /* FWCMD-11 (ABI SNP_LAUNCH_UPDATE), in the order of its row */
    if (page_state(rmp, spa, &l) != RMP_PAGE_PRE_GUEST) {
        return RMP_FAIL_PERMISSION;
    }
    if (lo_asid(l.e.lo) != asid) {
        return RMP_FAIL_INPUT;
    }
    /* FWCMD-12 (ABI SNP_LAUNCH_UPDATE): a VMSA is a 4 KB page */
    if (l.large != size_2m || (size_2m && vmsa)) {
        return RMP_FAIL_SIZEMISMATCH;
    }
    /* FWCMD-12, FWCMD-13 (ABI SNP_LAUNCH_UPDATE) */
    l.e.lo &= ~(RMP_LO_IMMUTABLE | RMP_LO_VMSA);
    l.e.lo |= RMP_LO_VALIDATED | (vmsa ? RMP_LO_VMSA : 0);
    l.e.hi = RMP_PERM_LAUNCH | (uint64_t)perms[0] << 8 |
             (uint64_t)perms[1] << 16 | (uint64_t)perms[2] << 24;
    store_found(rmp, &l);
    return RMP_OK;
}

int rmp_fw_launch_update(Rmp *rmp, uint64_t spa, unsigned asid, bool size_2m,
                         bool vmsa, const uint8_t perms[3])
{
    int rc;

    rmp_lock(rmp);
    rc = launch_update_locked(rmp, spa, asid, size_2m, vmsa, perms);
    rmp_unlock(rmp);
    return rc;
}

uint64_t rmp_asid_pages(Rmp *rmp, unsigned asid, uint64_t *first)
{
    uint64_t page, lo, nr = 0;

    rmp_lock(rmp);
    for (page = 0; page < rmp->pages; page++) {
        if (!rmp_covered(rmp, page << 12)) {
            continue;
        }
        /* A page in use keeps its owner, RAW-07 (Linux get_rmpentry()) */
        lo = true_lo(rmp, page);
        if (!(lo & RMP_LO_ASSIGNED) ||
            (asid ? lo_asid(lo) != asid : !lo_asid(lo))) {
            continue;
        }
        if (!nr) {
            *first = page << 12;
        }
        /* The followers of a 2 MB entry name no owner */
        nr += lo_large(lo) ? RMP_PAGES_PER_2M : 1;
    }
    rmp_unlock(rmp);
    return nr;
}
