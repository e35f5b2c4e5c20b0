/*
 * The rules of the RMP core, one by one: for each rule ID a case that passes
 * and a case that is refused.  A rule that describes an effect rather than a
 * check is "refused" where the effect makes a later operation fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rmp.h"

#define REGIONS     4
#define PAGES       (REGIONS * RMP_PAGES_PER_2M)
#define TABLE_SIZE  (RMP_BOOKKEEPING_SIZE + PAGES * sizeof(RmpEntry))
#define TABLE_BASE  0x3fa000ull     /* the table straddles 4 MB */
#define TABLE_END   (TABLE_BASE + TABLE_SIZE - 1)
#define OUTSIDE     (REGIONS * RMP_PAGE_2M)
#define MAX_ASID    509

/* A page that is not 2 MB aligned, its region's base, another region */
#define BASE        RMP_PAGE_2M
#define PAGE        (BASE + 0x5000)
#define LONE        0x5000ull       /* in no region of the table's */
#define BIG         (3 * RMP_PAGE_2M)
#define K4          RMP_PAGE_4K
#define M2          RMP_PAGE_2M
#define G1          (1ull << 30)

#define GPA         0x144000ull
#define BIG_GPA     0x40000000ull
#define ASID        6
#define OTHER       7

static const char *const rules[] = {
    "GEOM-01", "GEOM-02", "GEOM-03", "GEOM-04", "GEOM-05", "GEOM-07",
    "GEOM-08", "GEOM-10", "RST-02", "RST-03", "RST-05",
    "RAW-01", "RAW-02", "RAW-03", "RAW-04", "RAW-05", "RAW-06", "RAW-07",
    "RAW-08", "ARCH-01", "ARCH-02", "ARCH-03", "INSN-07",
    "RMPUPDATE-02", "RMPUPDATE-04", "RMPUPDATE-05", "RMPUPDATE-06",
    "RMPUPDATE-07", "RMPUPDATE-08", "RMPUPDATE-09", "RMPUPDATE-10",
    "RMPUPDATE-11", "RMPUPDATE-12", "RMPUPDATE-13", "RMPUPDATE-14",
    "RMPUPDATE-15", "RMPUPDATE-16", "RMPUPDATE-17", "RMPUPDATE-18",
    "RMPUPDATE-19", "RMPUPDATE-20", "RMPUPDATE-21", "RMPUPDATE-22",
    "RMPUPDATE-23", "RMPUPDATE-24", "RMPUPDATE-25", "RMPUPDATE-26",
    "RMPUPDATE-27", "RMPUPDATE-28", "RMPUPDATE-29",
    "PSMASH-02", "PSMASH-03", "PSMASH-04", "PSMASH-05", "PSMASH-06",
    "PSMASH-07", "PSMASH-08",
    "RMPADJUST-02", "RMPADJUST-03", "RMPADJUST-04", "RMPADJUST-05",
    "RMPADJUST-07", "RMPADJUST-08", "RMPADJUST-09", "RMPADJUST-10",
    "RMPADJUST-11", "RMPADJUST-12", "RMPADJUST-13", "RMPADJUST-14",
    "RMPADJUST-16",
    "PVALIDATE-02", "PVALIDATE-04", "PVALIDATE-05", "PVALIDATE-06",
    "PVALIDATE-07", "PVALIDATE-08", "PVALIDATE-09", "PVALIDATE-10",
    "PVALIDATE-11", "PVALIDATE-13",
    "RMPQUERY-01", "RMPREAD-01", "RMPREAD-03",
    "CHK-HVOWN", "CHK-COV", "CHK-GOWN", "CHK-REV", "CHK-MUT", "CHK-SIZE",
    "CHK-VAL", "CHK-VMPL", "CHK-USE",
    "HOST-01", "HOST-03", "HOST-04", "HOST-05", "HOST-06", "HOST-07",
    "HOST-08", "HOST-09", "HOST-10", "NSNP-01",
    "ACC-01", "ACC-02", "ACC-03", "ACC-04", "ACC-05", "ACC-13", "ACC-16",
    "ACC-17", "ACC-PGSZ", "ACC-PGS2",
    "VMSA-01", "VMSA-02", "VMSA-03", "VMSA-04", "VMSA-05", "VMSA-06",
    "VMSA-07", "VMSA-08", "VMSA-09",
    "INUSE-01", "INUSE-03", "INUSE-04", "INUSE-05", "VMRUN-26",
    "FWPAGE-01", "FWPAGE-02", "FWPAGE-03", "FWPAGE-04", "FWPAGE-05",
    "FWPAGE-06", "FWPAGE-07", "FWPAGE-08", "FWPAGE-09", "FWPAGE-10",
    "FWPAGE-11", "FWPAGE-12",
    "FWCMD-01", "FWCMD-10", "FWCMD-11", "FWCMD-12", "FWCMD-13", "FWCMD-14",
    "FWCMD-17", "ENC-01",
};

#define NR_RULES (sizeof(rules) / sizeof(rules[0]))

static unsigned seen[NR_RULES][2];
static unsigned tests, failures;

static void report(bool good, const char *rule, const char *kind,
                   const char *what)
{
    tests++;
    failures += !good;
    printf("%sok %u - %s %s: %s\n", good ? "" : "not ", tests, rule, kind,
           what);
}

static void result(bool good, const char *rule, bool refusal, const char *what)
{
    unsigned i;

    for (i = 0; i < NR_RULES; i++) {
        if (!strcmp(rules[i], rule)) {
            seen[i][refusal]++;
            report(good, rule, refusal ? "refused" : "passes", what);
            return;
        }
    }
    report(false, rule, "is not in the table of rules", what);
}

static void pass(const char *rule, const char *what, bool good)
{
    result(good, rule, false, what);
}

static void refused(const char *rule, const char *what, bool good)
{
    result(good, rule, true, what);
}

/* ---- a host ---- */

static Rmp rmp;
static char *table;
static bool changed;        /* of the last RMPUPDATE */

static void fresh_with(bool erratum)
{
    if (table) {
        rmp_destroy(&rmp);
        free(table);
    }
    table = calloc(1, TABLE_SIZE);
    if (!table || !rmp_setup(&rmp, table, TABLE_BASE, TABLE_END, MAX_ASID,
                             erratum)) {
        printf("Bail out! cannot set up a table\n");
        exit(1);
    }
}

static void fresh(void)
{
    fresh_with(true);
}

static uint64_t lo(uint64_t spa)
{
    return rmp_raw(&rmp, spa).lo;
}

static uint64_t hi(uint64_t spa)
{
    return rmp_raw(&rmp, spa).hi;
}

static unsigned count(uint64_t spa)
{
    return (lo(spa) & RMP_LO_COUNT_MASK) >> RMP_LO_COUNT_SHIFT;
}

static void poke(uint64_t spa, uint64_t low)
{
    rmp.entry[spa >> 12].lo = low;
}

static int update(uint64_t spa, RmpState state)
{
    return rmp_update(&rmp, spa, &state, &changed);
}

static int assign(uint64_t spa, uint64_t gpa, unsigned asid)
{
    return update(spa, (RmpState) { .gpa = gpa, .assigned = 1, .asid = asid });
}

static int assign_2m(uint64_t spa, uint64_t gpa, unsigned asid)
{
    return update(spa, (RmpState) { .gpa = gpa, .assigned = 1, .asid = asid,
                                    .page_size = 1 });
}

static int pre_guest(uint64_t spa, uint64_t gpa, unsigned asid)
{
    return update(spa, (RmpState) { .gpa = gpa, .assigned = 1, .asid = asid,
                                    .immutable = 1 });
}

static int firmware(uint64_t spa)
{
    return update(spa, (RmpState) { .assigned = 1, .immutable = 1 });
}

static int shared(uint64_t spa)
{
    return update(spa, (RmpState) { 0 });
}

static int shared_2m(uint64_t spa)
{
    return update(spa, (RmpState) { .page_size = 1 });
}

static RmpVerdict verdict;      /* of the last guest instruction */
static bool cf;

static int pvalidate(uint64_t spa, uint64_t gpa, uint64_t leaf, bool large,
                     bool value)
{
    return rmp_pvalidate(&rmp, spa, gpa, leaf, ASID, large, value, &verdict,
                         &cf);
}

static int adjust(uint64_t spa, uint64_t gpa, uint64_t leaf, bool large,
                  uint64_t rdx, unsigned vmpl)
{
    return rmp_adjust(&rmp, spa, gpa, leaf, ASID, large, rdx, vmpl, &verdict);
}

/* RDX of RMPADJUST */
static uint64_t rdx(unsigned target, unsigned mask, bool vmsa)
{
    return target | mask << 8 | (uint64_t)vmsa << 16;
}

static uint8_t perms;

static RmpVerdict access_as(uint64_t spa, uint64_t gpa, uint64_t leaf,
                            unsigned asid, unsigned vmpl)
{
    return rmp_check_private(&rmp, spa, gpa, leaf, asid, vmpl, &perms);
}

static RmpVerdict guest(uint64_t spa, uint64_t gpa, uint64_t leaf)
{
    return access_as(spa, gpa, leaf, ASID, 0);
}

static bool host_writes(uint64_t spa, uint64_t leaf)
{
    return rmp_hv_owned(&rmp, spa, leaf);
}

static void make_valid(uint64_t spa, uint64_t gpa)
{
    assign(spa, gpa, ASID);
    pvalidate(spa, gpa, K4, false, true);
}

static void make_vmsa(uint64_t spa, uint64_t gpa)
{
    make_valid(spa, gpa);
    adjust(spa, gpa, K4, false, rdx(1, 0, true), 0);
}

static void make_valid_2m(uint64_t spa, uint64_t gpa)
{
    assign_2m(spa, gpa, ASID);
    pvalidate(spa, gpa, M2, true, true);
}

static bool vmrun_refused(uint64_t spa, const char *rule)
{
    const char *why = rmp_vmsa_refused(&rmp, spa, ASID, true);

    return rule ? why && !strcmp(why, rule) : !why;
}

static bool begin(RmpUse *use, uint64_t spa)
{
    bool ok;

    rmp_lock(&rmp);
    ok = rmp_use_begin(&rmp, use, spa);
    rmp_unlock(&rmp);
    return ok;
}

static void end(RmpUse *use)
{
    rmp_use_end(&rmp, use);
}

static RmpPageState state_of(uint64_t spa)
{
    bool large;

    return rmp_page_state(&rmp, spa, &large);
}

static uint64_t first_page;

static uint64_t pages(unsigned asid)
{
    return rmp_asid_pages(&rmp, asid, &first_page);
}

static int launch_update(uint64_t spa, unsigned asid, bool large, bool vmsa)
{
    return rmp_fw_launch_update(&rmp, spa, asid, large, vmsa,
                                (uint8_t[]) { 1, 3, 7 });
}

static bool move(uint64_t spa, RmpPageState from, RmpPageState to)
{
    return rmp_fw_move(&rmp, spa, from, to);
}

/* ---- geometry and format ---- */

static bool setup(uint64_t base, uint64_t end_, unsigned max_asid)
{
    static RmpEntry memory[3 * 512];
    Rmp r, before;
    bool ok;

    memset(&r, 0x5a, sizeof(r));
    before = r;
    ok = rmp_setup(&r, memory, base, end_, max_asid, true);
    if (ok) {
        rmp_destroy(&r);
        return true;
    }
    if (memcmp(&r, &before, sizeof(r))) {
        report(false, "GEOM-01", "refused", "but the RMP was touched");
    }
    return false;
}

/* Two segments' entries, at 1 MB and 9 MB */
static char segments[2][4 << 20];

static void *segment_host(uint64_t spa, uint64_t size)
{
    return size > sizeof(segments[0]) ? NULL :
           spa == 0x100000 ? segments[0] : spa == 0x900000 ? segments[1] : NULL;
}

static bool setup_segments(const uint64_t *rst, uint64_t base)
{
    Rmp r;
    bool ok = rmp_setup_segments(&r, rst, base, 30, 509, true, segment_host);

    if (ok) {
        rmp_destroy(&r);
    }
    return ok;
}

static void test_segments(void)
{
    uint64_t rst[RMP_SEGMENTS] = { 0x900000 | 1, 0, 0x100000 | 7 };
    RmpState s = { .gpa = GPA, .assigned = 1, .asid = ASID };
    Rmp r;

    if (!rmp_setup_segments(&r, rst, 0x100000, 30, 509, true, segment_host)) {
        printf("Bail out! cannot set up segments\n");
        exit(1);
    }
    pass("RST-02", "an entry is in its segment",
         rmp_update(&r, 2 * G1 + PAGE, &s, &changed) == RMP_OK &&
         !memcmp(segments[0] + 16 * (PAGE >> 12),
                 (uint64_t[]) { 0x0030000000144001, 0xf }, 16));
    refused("RST-02", "a page of no segment",
            !rmp_covered(&r, G1) &&
            rmp_update(&r, G1, &s, &changed) == RMP_FAIL_INPUT);
    refused("RST-02", "more than a segment", !rmp_covered(&r, 3 * G1));
    rmp_fw_init(&r);
    pass("GEOM-07", "a segment's own pages",
         rmp_raw(&r, 0x900000).lo >> 63 && rmp_raw(&r, 0xcff000).lo >> 63 &&
         !(rmp_raw(&r, 0xd00000).lo >> 63));
    rmp_destroy(&r);

    pass("RST-03", "a base at 1 MB", setup_segments(rst, 0x100000));
    refused("RST-03", "a base at 8 KB", !setup_segments(rst, 0x102000));
    pass("RST-05", "segments in memory", setup_segments(rst, 0x100000));
    rst[0] = 0xa00000 | 1;
    refused("RST-05", "one elsewhere", !setup_segments(rst, 0x100000));
    rst[0] = 1ull << 52 | 0x900000 | 1;
    refused("RST-02", "a reserved bit", !setup_segments(rst, 0x100000));
    memset(rst, 0, sizeof(rst));
    refused("RST-02", "no segment", !setup_segments(rst, 0x100000));
}

static void test_geometry(void)
{
    uint64_t base = 0x100000;
    unsigned i, fixed = 0, own = 0;

    pass("GEOM-01", "an end above the base", setup(base, base + 0x5fff, 509));
    refused("GEOM-01", "an end below the base", !setup(base, 0x7fff, 509));
    refused("GEOM-01", "an end of all ones", !setup(base, ~0ull, 509));
    pass("GEOM-02", "ends at 8 KB", setup(0x2000, 0x7fff, 509));
    refused("GEOM-02", "a base at 4 KB", !setup(0x1000, 0x7fff, 509));
    refused("GEOM-02", "an end at 4 KB", !setup(0x2000, 0x8fff, 509));
    refused("GEOM-02", "an end that is no last byte",
            !setup(0x2000, 0x8000, 509));
    pass("GEOM-03", "one page of entries", setup(base, base + 0x5fff, 509));
    refused("GEOM-03", "bookkeeping alone", !setup(base, base + 0x3fff, 509));
    refused("GEOM-03", "less than the bookkeeping",
            !setup(base, base + 0x1fff, 509));
    pass("RAW-01", "an ASID limit of 10 bits", setup(0, 0x5fff, 1023));
    refused("RAW-01", "an ASID limit of 11 bits", !setup(0, 0x5fff, 1024));

    fresh();
    assign(PAGE, GPA, ASID);
    pass("GEOM-03", "an entry is where the manual puts it",
         !memcmp(table + 0x4000 + 16 * (PAGE >> 12),
                 (uint64_t[]) { 0x0030000000144001, 0xf }, 16));
    /* The manual's example: 4 GB are covered by 1 MB .. 0x1103fff */
    pass("GEOM-04", "the last covered page",
         rmp_covered(&rmp, OUTSIDE - 1) && assign(OUTSIDE - K4, GPA, 1) == 0);
    refused("GEOM-04", "the page after it", !rmp_covered(&rmp, OUTSIDE));
    {
        Rmp example;

        rmp_setup(&example, table, 0x100000, 0x1103fff, 509, true);
        pass("GEOM-04", "the manual's example covers 4 GB",
             rmp_covered(&example, 0xffffffff));
        refused("GEOM-04", "and no more", !rmp_covered(&example, 1ull << 32));
        rmp_destroy(&example);
    }
    pass("GEOM-05", "host writes outside", host_writes(OUTSIDE, K4) &&
         host_writes(OUTSIDE, M2) && host_writes(~0ull, G1));
    pass("GEOM-05", "an entry outside reads as 0",
         lo(OUTSIDE) == 0 && hi(~0ull) == 0);
    refused("GEOM-05", "a guest's private access outside",
            guest(OUTSIDE, GPA, K4) == RMP_GUEST_NPF);

    fresh();
    assign(0, GPA, ASID);
    assign_2m(BIG, BIG_GPA, ASID);
    assign(TABLE_BASE, GPA, ASID);
    rmp_fw_init(&rmp);
    pass("FWCMD-01", "a page not in the table's regions starts as the host's",
         host_writes(0, M2) && host_writes(BIG, M2) && hi(0) == 0);
    refused("FWCMD-01", "entries from before grant nothing",
            guest(TABLE_BASE, GPA, K4) == RMP_GUEST_NPF &&
            guest(0, GPA, K4) == RMP_GUEST_NPF && lo(0) == 0 &&
            lo(BIG) == 0 && lo(BIG + K4) == 0);
    for (i = BASE >> 12; i < BIG >> 12; i++) {
        if (i >= TABLE_BASE >> 12 && i <= TABLE_END >> 12) {
            own += (lo(i * K4) & ~RMP_LO_COUNT_MASK) == 0x8000000000000005 &&
                   hi(i * K4) == 0;
        } else {
            fixed += (lo(i * K4) & ~RMP_LO_COUNT_MASK) == 4 && hi(i * K4) == 0;
        }
    }
    pass("RAW-05", "all 12 pages of the table read 0x8000000000000005",
         own == 12 && lo(TABLE_BASE) == 0x8000000000000005);
    refused("RAW-05", "bit 63 alone does not say in use",
            shared(TABLE_BASE) == RMP_FAIL_PERMISSION &&
            state_of(TABLE_BASE) == RMP_PAGE_TABLE);
    pass("GEOM-07", "the pages next to the table can be written",
         host_writes(TABLE_BASE - K4, K4) && host_writes(TABLE_END + 1, K4));
    refused("GEOM-07", "a host write to the table",
            !host_writes(TABLE_BASE, K4) && !host_writes(TABLE_END, K4));
    refused("GEOM-07", "RMPUPDATE of the table",
            shared(TABLE_BASE) == RMP_FAIL_PERMISSION &&
            shared(TABLE_END & ~0xfffull) == RMP_FAIL_PERMISSION);
    pass("GEOM-08", "the regions around the table's ends become HV-fixed",
         fixed == 2 * 512 - 12);
    refused("GEOM-08", "RMPUPDATE of them",
            assign(BASE, GPA, ASID) == RMP_FAIL_PERMISSION &&
            assign(BIG - K4, GPA, ASID) == RMP_FAIL_PERMISSION);
    /* The base of the table's upper region: 6 pages in each of the two */
    pass("RAW-03", "the count of the table's own pages",
         count(BASE) == 6 && count(2 * M2) == 5);
}

static void test_format(void)
{
    RmpState st;
    RmpUse use = { 0 };
    bool large;

    fresh();
    make_vmsa(PAGE, GPA);
    pass("RAW-01", "the entry of the public log",
         lo(PAGE) == 0x6030000000144001);
    pass("GEOM-10", "raw memory shows what the core knows",
         !memcmp(&rmp.entry[PAGE >> 12].lo, &(uint64_t) { 0x6030000000144001 },
                 8));
    poke(PAGE, 0x6038000000144001);
    refused("GEOM-10", "a change of raw memory (ASID 7) is believed",
            guest(PAGE, GPA, K4) == RMP_GUEST_NPF);
    poke(PAGE, 0x6030000000144001);
    poke(OUTSIDE - K4, RMP_LO_ASSIGNED | RMP_LO_PAGE_SIZE | RMP_LO_IMMUTABLE);
    refused("GEOM-10", "a size in memory where no 2 MB page starts is not",
            rmp_page_state(&rmp, OUTSIDE - K4, &large) == RMP_PAGE_FIRMWARE &&
            !large);

    adjust(PAGE, GPA, K4, false, rdx(1, 0x1, true), 0);
    adjust(PAGE, GPA, K4, false, rdx(2, 0x3, true), 0);
    adjust(PAGE, GPA, K4, false, rdx(3, 0x7, true), 0);
    pass("RAW-02", "a byte per VMPL, VMPL0 lowest", hi(PAGE) == 0x0703010f);
    refused("RAW-02", "a VMPL that does not exist has no permission",
            access_as(PAGE, GPA, K4, ASID, 4) == RMP_GUEST_OK && perms == 0);

    pass("RAW-03", "one page besides the base", count(BASE) == 1);
    refused("RAW-03", "a 2 MB host write while the count is not 0",
            !host_writes(BASE, M2));
    assign(BASE, GPA, ASID);
    pass("RAW-03", "the base itself is not counted", count(BASE) == 1);

    assign(PAGE + K4, ~0ull << 12, ASID);
    pass("RAW-04", "a GPA of all ones is stored with 39 bits",
         lo(PAGE + K4) == 0x0037fffffffff001);
    refused("RAW-04", "and is no longer the GPA that was given",
            guest(PAGE + K4, ~0ull << 12, K4) == RMP_GUEST_NPF);

    begin(&use, PAGE);
    pass("RAW-06", "in use as in the public log",
         lo(PAGE) == 0xfff0000000144001 && hi(PAGE) == 0x0703010f);
    refused("RAW-06", "RMPUPDATE of it", shared(PAGE) == RMP_FAIL_INUSE);
    pass("RMPREAD-03", "the true fields while in use",
         rmp_read(&rmp, PAGE, &st) == RMP_OK && st.asid == ASID &&
         st.gpa == GPA && st.assigned == 1 && st.page_size == 0);
    refused("RAW-07", "a raw reader sees an owner that is none",
            (lo(PAGE) & RMP_LO_ASID_MASK) >> RMP_LO_ASID_SHIFT == 0x3fe);
    end(&use);
    pass("RAW-07", "owner, VMSA and Validated come back",
         lo(PAGE) == 0x6030000000144001);
    assign(PAGE + 2 * K4, GPA, ASID + 1);
    begin(&use, PAGE + 2 * K4);
    refused("RMPREAD-03", "an odd ASID is not mistaken either",
            rmp_read(&rmp, PAGE + 2 * K4, &st) == RMP_OK &&
            st.asid == ASID + 1);
    pass("RAW-07", "Validated and VMSA read 1 whatever they were",
         lo(PAGE + 2 * K4) == 0xfff8000000144001);
    end(&use);

    begin(&use, BIG);
    pass("RAW-08", "a VMCB in use is not assigned",
         lo(BIG) == 0xfff0000000000000);
    refused("RAW-08", "but the host cannot write it", !host_writes(BIG, K4));
    end(&use);

    pass("ARCH-01", "RMPREAD gives back what RMPUPDATE was given",
         rmp_read(&rmp, PAGE, &st) == RMP_OK && st.gpa == GPA &&
         st.assigned == 1 && st.asid == ASID && !st.immutable &&
         !st.reserved && !st.page_size);
    refused("ARCH-01", "a byte that is reserved",
            update(PAGE, (RmpState) { .reserved = 1 }) == RMP_FAIL_INPUT);
    fresh();
    assign(BASE, GPA, ASID);
    refused("ARCH-02", "no status while the base is alone",
            rmp_read(&rmp, BASE, &st) == RMP_OK && st.page_size == 0);
    make_vmsa(PAGE, GPA);
    pass("ARCH-02", "a status when another page is assigned",
         rmp_read(&rmp, BASE, &st) == RMP_OK && st.page_size == 2);
    refused("ARCH-02", "no status at a page that is not the base",
            rmp_read(&rmp, PAGE, &st) == RMP_OK && st.page_size == 0);
    assign_2m(BIG, BIG_GPA, ASID);
    pass("ARCH-02", "size and status of a 2 MB entry",
         rmp_read(&rmp, BIG, &st) == RMP_OK && st.page_size == 3);
    rmp_read(&rmp, PAGE, &st);
    pass("ARCH-03", "VMSA and Validated do not show", st.gpa == GPA &&
         st.asid == ASID && st.reserved == 0);
    refused("ARCH-03", "a state read cannot bring them back",
            update(PAGE, st) == RMP_OK && vmrun_refused(PAGE, "VMSA-05"));
    pass("RMPREAD-01", "the last page", !rmp_read(&rmp, OUTSIDE - 1, &st));
    refused("RMPREAD-01", "a page that is not covered",
            rmp_read(&rmp, OUTSIDE, &st) == RMP_FAIL_INPUT);
}

/* ---- RMPUPDATE ---- */

static void test_update_input(void)
{
    RmpState st = { .gpa = GPA, .assigned = 1, .asid = ASID }, bad;

    fresh();
    pass("RMPUPDATE-02", "a page offset does not count",
         assign(PAGE + 0xfff, GPA, ASID) == RMP_OK && lo(PAGE) & 1);
    refused("RMPUPDATE-02", "nor does it hide the page's state",
            firmware(PAGE) == RMP_OK &&
            shared(PAGE + 8) == RMP_FAIL_PERMISSION);
    pass("RMPUPDATE-04", "2 MB at 2 MB, with an offset",
         assign_2m(BIG + 0xfff, BIG_GPA, ASID) == RMP_OK);
    refused("RMPUPDATE-04", "2 MB at 4 KB",
            assign_2m(K4, BIG_GPA, ASID) == RMP_FAIL_INPUT &&
            assign_2m(M2 / 2, BIG_GPA, ASID) == RMP_FAIL_INPUT && !changed);
    pass("RMPUPDATE-05", "not assigned, not immutable, ASID 0",
         shared(0) == RMP_OK);
    refused("RMPUPDATE-05", "not assigned but immutable",
            update(0, (RmpState) { .immutable = 1 }) == RMP_FAIL_INPUT);
    refused("RMPUPDATE-05", "not assigned but of an ASID",
            update(0, (RmpState) { .asid = 1 }) == RMP_FAIL_INPUT);

    st.asid = MAX_ASID;
    pass("RMPUPDATE-06", "the highest ASID", update(0, st) == RMP_OK);
    st.asid++;
    refused("RMPUPDATE-06", "an ASID too high",
            update(0, st) == RMP_FAIL_INPUT);
    st.asid = 0x80000000;
    refused("RMPUPDATE-06", "an ASID of 32 bits",
            update(0, st) == RMP_FAIL_INPUT);
    st.asid = ASID;
    st.gpa = GPA + 1;
    refused("RMPUPDATE-06", "a GPA at no page",
            update(0, st) == RMP_FAIL_INPUT);
    refused("RMPUPDATE-06", "a 2 MB entry's GPA at 4 KB",
            assign_2m(0, BIG_GPA + K4, ASID) == RMP_FAIL_INPUT);
    st.gpa = GPA;
    bad = st;
    bad.assigned = 2;
    refused("RMPUPDATE-06", "assigned = 2", update(0, bad) == RMP_FAIL_INPUT);
    bad = st;
    bad.immutable = 2;
    refused("RMPUPDATE-06", "immutable = 2", update(0, bad) == RMP_FAIL_INPUT);
    bad = st;
    bad.page_size = 2;
    refused("RMPUPDATE-06", "a region status given",
            update(0, bad) == RMP_FAIL_INPUT);
    bad = st;
    bad.reserved = 0x80;
    refused("RMPUPDATE-06", "a reserved byte",
            update(0, bad) == RMP_FAIL_INPUT);

    fresh();
    pass("RMPUPDATE-07", "the last page", shared(OUTSIDE - K4) == RMP_OK);
    refused("RMPUPDATE-07", "pages that are not covered",
            shared(OUTSIDE) == RMP_FAIL_INPUT &&
            shared_2m(OUTSIDE) == RMP_FAIL_INPUT &&
            shared(~0ull) == RMP_FAIL_INPUT);
}

static void test_update_refusals(void)
{
    RmpUse use = { 0 }, use2 = { 0 };
    uint64_t before;
    unsigned i;

    fresh();
    pre_guest(PAGE, GPA, ASID);
    before = lo(PAGE);
    refused("RMPUPDATE-08", "an immutable page",
            shared(PAGE) == RMP_FAIL_PERMISSION && lo(PAGE) == before &&
            !changed);
    rmp_fw_reclaim(&rmp, PAGE, false);
    pass("RMPUPDATE-08", "the same page once mutable", shared(PAGE) == RMP_OK);
    move(PAGE, RMP_PAGE_HYPERVISOR, RMP_PAGE_HV_FIXED);
    refused("RMPUPDATE-08", "a 2 MB entry over an HV-fixed page",
            assign_2m(BASE, BIG_GPA, ASID) == RMP_FAIL_PERMISSION &&
            lo(PAGE) == RMP_LO_IMMUTABLE && !(lo(BASE) & 1));
    update(BIG, (RmpState) { .gpa = BIG_GPA, .assigned = 1, .asid = ASID,
                             .page_size = 1, .immutable = 1 });
    refused("RMPUPDATE-08", "an immutable 2 MB page",
            shared_2m(BIG) == RMP_FAIL_PERMISSION);

    fresh();
    make_valid_2m(BIG, BIG_GPA);
    refused("RMPUPDATE-09", "4 KB at the base of a 2 MB entry",
            shared(BIG) == RMP_FAIL_OVERLAP && lo(BIG) & 2);
    refused("RMPUPDATE-10", "4 KB inside a 2 MB entry",
            shared(BIG + 7 * K4) == RMP_FAIL_OVERLAP &&
            assign(BIG + M2 - K4, GPA, ASID) == RMP_FAIL_OVERLAP);
    for (i = 0; i < 1000 && shared(BIG) == RMP_FAIL_OVERLAP; i++) {
        /* Linux does just this */
    }
    refused("RMPUPDATE-16", "an overlap does not go away by itself", i == 1000);
    rmp_smash(&rmp, BIG);
    pass("RMPUPDATE-16", "but by PSMASH", shared(BIG) == RMP_OK);
    pass("RMPUPDATE-09", "4 KB at the base after PSMASH",
         assign(BIG, GPA, ASID) == RMP_OK);
    pass("RMPUPDATE-10", "4 KB inside after PSMASH",
         shared(BIG + 7 * K4) == RMP_OK);
    refused("RMPUPDATE-11", "2 MB over assigned 4 KB pages",
            assign_2m(BIG, BIG_GPA, ASID) == RMP_FAIL_OVERLAP &&
            shared_2m(BIG) == RMP_FAIL_OVERLAP);
    assign(M2 - K4, GPA, ASID);
    refused("RMPUPDATE-11", "2 MB over one assigned page, the last",
            shared_2m(0) == RMP_FAIL_OVERLAP);
    shared(M2 - K4);
    assign(0, GPA, ASID);
    refused("RMPUPDATE-11", "2 MB over one assigned page, the base",
            shared_2m(0) == RMP_FAIL_OVERLAP);
    shared(0);
    pass("RMPUPDATE-11", "2 MB once none is assigned",
         assign_2m(0, BIG_GPA, ASID) == RMP_OK);
    refused("RMPUPDATE-12", "a 2 MB remap takes the old GPA away",
            assign_2m(0, 2 * BIG_GPA, ASID) == RMP_OK &&
            guest(0, BIG_GPA, M2) == RMP_GUEST_NPF);
    pass("RMPUPDATE-12", "a 2 MB page is freed as such",
         shared_2m(0) == RMP_OK && host_writes(0, M2) && lo(K4) == 0);

    fresh();
    make_vmsa(PAGE, GPA);
    begin(&use, PAGE);
    before = lo(PAGE);
    refused("RMPUPDATE-13", "a VMSA in use",
            shared(PAGE) == RMP_FAIL_INUSE && lo(PAGE) == before && !changed);
    refused("RMPUPDATE-14", "2 MB with a page in use",
            assign_2m(BASE, BIG_GPA, ASID) == RMP_FAIL_INUSE);
    end(&use);
    pass("RMPUPDATE-13", "the same page after #VMEXIT",
         shared(PAGE) == RMP_OK && lo(PAGE) == 0);
    pass("RMPUPDATE-14", "2 MB after #VMEXIT",
         assign_2m(BASE, BIG_GPA, ASID) == RMP_OK);
    begin(&use, BASE);
    refused("RMPUPDATE-13", "a page of a 2 MB entry that is in use",
            shared(PAGE) == RMP_FAIL_INUSE);
    refused("RMPUPDATE-14", "2 MB over a 2 MB entry in use",
            shared_2m(BASE) == RMP_FAIL_INUSE);
    end(&use);
    begin(&use, BASE + M2 - K4);
    refused("RMPUPDATE-14", "2 MB over a 2 MB entry with its last page in use",
            shared_2m(BASE) == RMP_FAIL_INUSE);
    end(&use);
    begin(&use, BIG);
    refused("RMPUPDATE-13", "a VMCB in use",
            assign(BIG, GPA, ASID) == RMP_FAIL_INUSE);
    pass("RMPUPDATE-13", "its neighbour",
         assign(BIG + K4, GPA, ASID) == RMP_OK);
    end(&use);

    fresh();
    move(0, RMP_PAGE_HYPERVISOR, RMP_PAGE_HV_FIXED);
    begin(&use, 0);
    begin(&use2, K4);
    refused("RMPUPDATE-15", "INPUT comes before INUSE",
            update(0, (RmpState) { .reserved = 1 }) == RMP_FAIL_INPUT);
    refused("RMPUPDATE-15", "INUSE comes before PERMISSION",
            shared(0) == RMP_FAIL_INUSE);
    end(&use);
    refused("RMPUPDATE-15", "INUSE comes before OVERLAP and PERMISSION",
            assign(2 * K4, GPA, ASID) == RMP_OK &&
            shared_2m(0) == RMP_FAIL_INUSE);
    end(&use2);
    refused("RMPUPDATE-15", "PERMISSION comes before OVERLAP",
            shared_2m(0) == RMP_FAIL_PERMISSION);
    pass("RMPUPDATE-15", "none of them", shared(2 * K4) == RMP_OK);
}

static void test_update_effects(void)
{
    RmpUse use = { 0 };

    fresh();
    pass("RMPUPDATE-17", "the new entry", assign(PAGE, GPA, ASID) == RMP_OK &&
         lo(PAGE) == 0x0030000000144001);
    refused("RMPUPDATE-17", "the old owner after a new one",
            assign(PAGE, GPA, OTHER) == RMP_OK &&
            guest(PAGE, GPA, K4) == RMP_GUEST_NPF);

    make_valid(PAGE, GPA);
    pass("RMPUPDATE-18", "a validated page", guest(PAGE, GPA, K4) == 0);
    shared(PAGE);
    assign(PAGE, GPA, ASID);
    refused("RMPUPDATE-18", "Validated after unassign and assign",
            guest(PAGE, GPA, K4) == RMP_GUEST_VC);
    make_valid(PAGE, GPA);
    assign(PAGE, GPA + K4, ASID);
    refused("RMPUPDATE-18", "Validated after a remap",
            guest(PAGE, GPA + K4, K4) == RMP_GUEST_VC);
    make_valid_2m(BIG, BIG_GPA);
    shared_2m(BIG);
    assign(BIG, BIG_GPA, ASID);
    refused("RMPUPDATE-18", "Validated after a resize",
            guest(BIG, BIG_GPA, K4) == RMP_GUEST_VC);

    make_vmsa(PAGE, GPA);
    pass("RMPUPDATE-19", "a VMSA that was left alone",
         vmrun_refused(PAGE, NULL));
    shared(PAGE);
    make_valid(PAGE, GPA);
    refused("RMPUPDATE-19", "a VMSA that was punched and populated again",
            vmrun_refused(PAGE, "VMSA-05"));

    fresh();
    make_valid(PAGE, GPA);
    adjust(PAGE, GPA, K4, false, rdx(1, 1, false), 0);
    make_valid(PAGE, GPA);
    pass("RMPUPDATE-20", "VMPL0 reads, writes and executes", hi(PAGE) == 0xf);
    refused("RMPUPDATE-20", "VMPL1 to VMPL3 do nothing",
            !access_as(PAGE, GPA, K4, ASID, 1) && perms == 0 &&
            !access_as(PAGE, GPA, K4, ASID, 3) && perms == 0);

    make_vmsa(PAGE, GPA);
    adjust(PAGE, GPA, K4, false, rdx(1, 1, true), 0);
    pass("RMPUPDATE-21", "an entry rewritten with what it has",
         assign(PAGE, GPA, ASID) == RMP_OK && changed);
    refused("RMPUPDATE-21", "it is as new all the same",
            guest(PAGE, GPA, K4) == RMP_GUEST_VC && hi(PAGE) == 0xf &&
            vmrun_refused(PAGE, "VMSA-05"));

    update(PAGE, (RmpState) { .gpa = GPA });
    pass("RMPUPDATE-22", "an unassigned entry is zero, GPA given or not",
         lo(PAGE) == 0 && hi(PAGE) == 0);
    shared_2m(BIG);
    refused("RMPUPDATE-22", "it has no size that would overlap",
            lo(BIG) == 0 && assign(BIG, GPA, ASID) == RMP_OK);

    fresh();
    make_valid_2m(BIG, BIG_GPA);
    pass("RMPUPDATE-23", "the followers tell Assigned and nothing else",
         lo(BIG + K4) == 1 && hi(BIG + K4) == 0 && lo(BIG + M2 - K4) == 1 &&
         lo(BIG) == (0x4030000000000003 | BIG_GPA));
    pass("RMPUPDATE-23", "and follow the base",
         guest(BIG + 9 * K4, BIG_GPA + 9 * K4, M2) == RMP_GUEST_OK);
    refused("RMPUPDATE-23", "the pages next to the 2 MB",
            guest(BIG - K4, BIG_GPA - K4, M2) == RMP_GUEST_NPF &&
            lo(BIG - K4) == 0);

    fresh();
    assign(PAGE, GPA, ASID);
    assign(PAGE + K4, GPA, ASID);
    assign(PAGE + K4, GPA, OTHER);
    refused("RMPUPDATE-24", "2 MB host writes while a page is counted",
            count(BASE) == 2 && !host_writes(BASE + M2 - K4, M2));
    begin(&use, BASE);
    shared(PAGE);
    assign(PAGE + 3 * K4, GPA, ASID);
    shared(PAGE + K4);
    pass("RMPUPDATE-24", "the count of a base in use",
         lo(BASE) == (0xfff0000000000000 | 1 << 3));
    end(&use);
    pass("RMPUPDATE-24", "and after use", lo(BASE) == 1 << 3);
    assign(BASE, GPA, ASID);
    pass("RMPUPDATE-24", "assigning the base keeps it", count(BASE) == 1);
    shared(BASE);
    pass("RMPUPDATE-24", "so does freeing the base", lo(BASE) == 1 << 3);
    shared(PAGE + 3 * K4);
    shared(PAGE + 3 * K4);
    pass("RMPUPDATE-24", "2 MB host writes once it is 0",
         lo(BASE) == 0 && host_writes(BASE, M2));

    pass("RMPUPDATE-25", "software makes a Firmware page",
         firmware(PAGE) == RMP_OK && state_of(PAGE) == RMP_PAGE_FIRMWARE);
    refused("RMPUPDATE-25", "only firmware unmakes it",
            shared(PAGE) == RMP_FAIL_PERMISSION);
    pass("RMPUPDATE-26", "assigned to nobody, mutable: as Reclaim",
         update(PAGE + K4, (RmpState) { .assigned = 1 }) == RMP_OK &&
         state_of(PAGE + K4) == RMP_PAGE_RECLAIM);
    refused("RMPUPDATE-26", "the host cannot write it",
            !host_writes(PAGE + K4, K4));
    pass("RMPUPDATE-27", "software makes a Pre-Guest page",
         pre_guest(PAGE + K4, GPA, ASID) == RMP_OK &&
         state_of(PAGE + K4) == RMP_PAGE_PRE_GUEST);
    refused("RMPUPDATE-27", "the guest cannot use it",
            guest(PAGE + K4, GPA, K4) == RMP_GUEST_NPF);

    fresh();
    pass("RMPUPDATE-29", "a change asks for a flush",
         assign(PAGE, GPA, ASID) == RMP_OK && changed &&
         assign(PAGE, GPA, OTHER) == RMP_OK && changed &&
         assign_2m(BIG, BIG_GPA, ASID) == RMP_OK && changed &&
         shared_2m(BIG) == RMP_OK && changed);
    refused("RMPUPDATE-29", "no change or no success asks for none",
            shared(0) == RMP_OK && !changed &&
            assign(PAGE, GPA, OTHER) == RMP_OK && !changed &&
            assign_2m(BASE, BIG_GPA, ASID) != RMP_OK && !changed);
}

static void test_smash(void)
{
    RmpUse use = { 0 };
    unsigned i, good = 0;

    fresh();
    make_valid_2m(BIG, BIG_GPA);
    adjust(BIG, BIG_GPA, M2, true, rdx(1, 3, true), 0);
    refused("PSMASH-02", "not at 2 MB", rmp_smash(&rmp, BIG + K4) == 1);
    refused("PSMASH-02", "not covered", rmp_smash(&rmp, OUTSIDE) == 1);
    begin(&use, BIG);
    refused("PSMASH-03", "an entry in use", rmp_smash(&rmp, BIG) == 3);
    end(&use);
    begin(&use, BIG + M2 - K4);
    refused("PSMASH-07", "a page of it in use", rmp_smash(&rmp, BIG) == 3);
    end(&use);
    pass("PSMASH-02", "at 2 MB, with an offset", rmp_smash(&rmp, BIG + 8) == 0);
    pass("PSMASH-03", "after use", !(lo(BIG) & 2));
    pass("PSMASH-07", "after use of a page", lo(BIG + M2 - K4) >> 61 == 3);
    for (i = 0; i < 512; i++) {
        good += (lo(BIG + i * K4) & ~RMP_LO_COUNT_MASK) ==
                (0x6030000000000001 | (BIG_GPA + i * K4)) &&
                hi(BIG + i * K4) == 0x30f;
    }
    pass("PSMASH-06", "512 entries, all copied", good == 512);
    pass("PSMASH-06", "511 of them counted", count(BIG) == 511);
    refused("PSMASH-06", "the right GPA for each",
            guest(BIG + K4, BIG_GPA, K4) == RMP_GUEST_NPF);
    pass("PSMASH-08", "a 4 KB leaf afterwards",
         guest(BIG + K4, BIG_GPA + K4, K4) == RMP_GUEST_OK);
    refused("PSMASH-08", "a 2 MB leaf afterwards",
            guest(BIG + K4, BIG_GPA + K4, M2) == RMP_GUEST_NPF);
    refused("PSMASH-04", "twice", rmp_smash(&rmp, BIG) == 7);
    refused("PSMASH-04", "the host's own page", rmp_smash(&rmp, 0) == 7);
    assign_2m(0, BIG_GPA, ASID);
    pass("PSMASH-04", "an assigned 2 MB entry", rmp_smash(&rmp, 0) == 0);

    fresh();
    update(BIG, (RmpState) { .assigned = 1, .immutable = 1, .page_size = 1 });
    refused("PSMASH-05", "an immutable 2 MB entry",
            rmp_smash(&rmp, BIG) == 2 && lo(BIG) & 2);
    rmp_fw_reclaim(&rmp, BIG, true);
    pass("PSMASH-05", "the same once it is Reclaim",
         rmp_smash(&rmp, BIG) == 0 && lo(BIG) == (1 | 511 << 3));
}

/* ---- guest instructions ---- */

static void test_pvalidate(void)
{
    RmpUse use = { 0 };
    unsigned rc, allowed = 0, other = 0;

    pass("PVALIDATE-02", "2 MB at 2 MB and 4 KB anywhere",
         !rmp_pvalidate_operands(M2 + 5, true) &&
         !rmp_pvalidate_operands(K4, false));
    refused("PVALIDATE-02", "2 MB at 4 KB",
            rmp_pvalidate_operands(M2 + K4, true) == RMP_FAIL_INPUT);

    fresh();
    pvalidate(PAGE, GPA, K4, false, true);
    refused("PVALIDATE-04", "a page not assigned", verdict == RMP_GUEST_NPF);
    pvalidate(OUTSIDE, GPA, K4, false, true);
    refused("PVALIDATE-04", "a page not covered", verdict == RMP_GUEST_NPF);
    assign(PAGE, GPA, OTHER);
    pvalidate(PAGE, GPA, K4, false, true);
    refused("PVALIDATE-04", "another guest's page",
            verdict == RMP_GUEST_NPF && !(lo(PAGE) & RMP_LO_VALIDATED));
    assign(PAGE, GPA, ASID);
    pvalidate(PAGE, GPA + K4, K4, false, true);
    refused("PVALIDATE-04", "another GPA", verdict == RMP_GUEST_NPF);
    pre_guest(PAGE + K4, GPA, ASID);
    pvalidate(PAGE + K4, GPA, K4, false, true);
    refused("PVALIDATE-04", "an immutable page", verdict == RMP_GUEST_NPF);
    begin(&use, PAGE);
    pvalidate(PAGE, GPA, K4, false, true);
    refused("PVALIDATE-11", "a page in use", verdict == RMP_GUEST_NPF &&
            lo(PAGE) == (0xfff0000000000001 | GPA));
    end(&use);
    rc = pvalidate(PAGE, GPA + 5, K4, false, true);
    pass("PVALIDATE-04", "its own page", verdict == RMP_GUEST_OK && rc == 0);
    pass("PVALIDATE-11", "the page after use", lo(PAGE) & RMP_LO_VALIDATED);
    pass("PVALIDATE-08", "a change: CF = 0", rc == 0 && !cf);
    pass("PVALIDATE-09", "a page not validated before, VMPL0 without rights",
         hi(PAGE) == 0xf);
    refused("PVALIDATE-09", "until then, an access",
            assign(PAGE, GPA, ASID) == 0 &&
            guest(PAGE, GPA, K4) == RMP_GUEST_VC);
    pvalidate(PAGE, GPA, K4, false, true);
    rc = pvalidate(PAGE, GPA, K4, false, true);
    refused("PVALIDATE-07", "no change: rc 0 and CF = 1",
            rc == 0 && verdict == RMP_GUEST_OK && cf);
    rc = pvalidate(PAGE, GPA, K4, false, false);
    pass("PVALIDATE-07", "the other value: CF = 0", rc == 0 && !cf);
    refused("PVALIDATE-08", "an access after Validated was taken away",
            guest(PAGE, GPA, K4) == RMP_GUEST_VC);
    rc = pvalidate(PAGE, GPA, K4, false, false);
    refused("PVALIDATE-07", "no change to 0 either", rc == 0 && cf);

    make_vmsa(PAGE, GPA);
    adjust(PAGE, GPA, K4, false, rdx(1, 1, true), 0);
    pvalidate(PAGE, GPA, K4, false, false);
    pass("PVALIDATE-10", "VMSA and masks stay",
         lo(PAGE) == 0x2030000000144001 && hi(PAGE) == 0x10f);
    refused("PVALIDATE-10", "an access to that VMSA page",
            guest(PAGE, GPA, K4) == RMP_GUEST_VC);

    fresh();
    assign_2m(BIG, BIG_GPA, ASID);
    pvalidate(BIG + K4, BIG_GPA + K4, K4, false, true);
    refused("PVALIDATE-05", "4 KB in a 2 MB entry",
            verdict == RMP_GUEST_NPF_SIZEM);
    assign(PAGE, GPA, ASID);
    pvalidate(PAGE, GPA, M2, false, true);
    refused("PVALIDATE-05", "4 KB through a 2 MB leaf",
            verdict == RMP_GUEST_NPF_SIZEM);
    pvalidate(PAGE, GPA, G1, false, true);
    refused("PVALIDATE-05", "4 KB through a 1 GB leaf",
            verdict == RMP_GUEST_NPF_SIZEM);
    pvalidate(PAGE, GPA, K4, false, true);
    pass("PVALIDATE-05", "4 KB of 4 KB", verdict == RMP_GUEST_OK);
    refused("PVALIDATE-06", "2 MB through a 4 KB leaf",
            pvalidate(BIG, BIG_GPA, K4, true, true) == 6 &&
            verdict == RMP_GUEST_OK);
    assign(BASE, BIG_GPA, ASID);
    refused("PVALIDATE-06", "2 MB of a 4 KB entry",
            pvalidate(BASE, BIG_GPA, M2, true, true) == 6);
    begin(&use, BIG + 3 * K4);
    pvalidate(BIG, BIG_GPA, M2, true, true);
    refused("PVALIDATE-11", "2 MB with a page in use",
            verdict == RMP_GUEST_NPF);
    end(&use);
    pass("PVALIDATE-06", "2 MB of 2 MB",
         !pvalidate(BIG, BIG_GPA, G1, true, true) && !verdict && !cf &&
         lo(BIG) & RMP_LO_VALIDATED && lo(BIG + K4) == 1);
    for (rc = 0; rc < 64; rc++) {
        switch (pvalidate(rc & 1 ? BIG : PAGE, rc & 2 ? BIG_GPA : GPA,
                          rc & 4 ? M2 : K4, rc & 8, rc & 16)) {
        case 0:
        case 1:
        case 6:
            allowed++;
            break;
        default:
            other++;
        }
    }
    pass("PVALIDATE-13", "return codes 0, 1 and 6", allowed == 64);
    refused("PVALIDATE-13", "any other", other == 0);
}

static void test_adjust(void)
{
    RmpUse use = { 0 };
    bool large, vmsa;
    uint8_t mask;
    RmpVerdict v;

    pass("RMPADJUST-02", "2 MB at 2 MB and 4 KB anywhere",
         !rmp_adjust_operands(M2, true, 1, 0) &&
         !rmp_adjust_operands(K4, false, 1, 0));
    refused("RMPADJUST-02", "2 MB at 4 KB",
            rmp_adjust_operands(K4, true, 1, 0) == RMP_FAIL_INPUT);
    pass("RMPADJUST-03", "VMPL3", !rmp_adjust_operands(0, false, 3, 0));
    refused("RMPADJUST-03", "VMPL4, and 256",
            rmp_adjust_operands(0, false, 4, 0) == RMP_FAIL_INPUT &&
            rmp_adjust_operands(0, false, 0xff, 0) == RMP_FAIL_INPUT &&
            rmp_adjust(&rmp, 0, 0, K4, ASID, false, 4, 0, &v) ==
            RMP_FAIL_INPUT);
    pass("RMPADJUST-04", "VMPL1 from VMPL0, VMPL3 from VMPL2",
         !rmp_adjust_operands(0, false, 1, 0) &&
         !rmp_adjust_operands(0, false, 3, 2));
    refused("RMPADJUST-04", "VMPL0 from VMPL0",
            rmp_adjust_operands(0, false, rdx(0, 0, true), 0) ==
            RMP_FAIL_PERMISSION);
    refused("RMPADJUST-04", "VMPL1 from VMPL2",
            rmp_adjust_operands(0, false, 1, 2) == RMP_FAIL_PERMISSION);
    pass("RMPADJUST-05", "none, R, RW, R+XU, R+XU+XS, R+SSS",
         !rmp_adjust_operands(0, false, rdx(1, 0x00, 0), 0) &&
         !rmp_adjust_operands(0, false, rdx(1, 0x01, 0), 0) &&
         !rmp_adjust_operands(0, false, rdx(1, 0x03, 0), 0) &&
         !rmp_adjust_operands(0, false, rdx(1, 0x05, 0), 0) &&
         !rmp_adjust_operands(0, false, rdx(1, 0x0f, 0), 0) &&
         !rmp_adjust_operands(0, false, rdx(1, 0x11, 0), 0));
    refused("RMPADJUST-05", "W without R",
            rmp_adjust_operands(0, false, rdx(1, 0x02, 0), 0) == 1);
    refused("RMPADJUST-05", "XS without XU",
            rmp_adjust_operands(0, false, rdx(1, 0x09, 0), 0) == 1);
    refused("RMPADJUST-05", "SSS with XU",
            rmp_adjust_operands(0, false, rdx(1, 0x15, 0), 0) == 1);
    refused("RMPADJUST-05", "a bit that means nothing",
            rmp_adjust_operands(0, false, rdx(1, 0x21, 0), 0) == 1);

    fresh();
    adjust(PAGE, GPA, K4, false, 1, 0);
    refused("RMPADJUST-07", "a page not assigned", verdict == RMP_GUEST_NPF);
    adjust(OUTSIDE, GPA, K4, false, 1, 0);
    refused("RMPADJUST-07", "a page not covered", verdict == RMP_GUEST_NPF);
    assign(PAGE, GPA, OTHER);
    adjust(PAGE, GPA, K4, false, 1, 0);
    refused("RMPADJUST-07", "another guest's page", verdict == RMP_GUEST_NPF);
    make_valid(PAGE, GPA);
    adjust(PAGE, GPA + K4, K4, false, 1, 0);
    refused("RMPADJUST-07", "another GPA", verdict == RMP_GUEST_NPF);
    pre_guest(PAGE + K4, GPA, ASID);
    adjust(PAGE + K4, GPA, K4, false, 1, 0);
    refused("RMPADJUST-07", "an immutable page", verdict == RMP_GUEST_NPF);
    pass("RMPADJUST-07", "its own page",
         !adjust(PAGE, GPA, K4, false, 1, 0) && !verdict);
    begin(&use, PAGE);
    adjust(PAGE, GPA, K4, false, rdx(1, 1, false), 0);
    refused("RMPADJUST-14", "a page in use",
            verdict == RMP_GUEST_NPF && hi(PAGE) == 0xf);
    end(&use);
    pass("RMPADJUST-14", "the page after use",
         !adjust(PAGE, GPA, K4, false, rdx(1, 1, false), 0) && !verdict &&
         hi(PAGE) == 0x10f);
    assign(PAGE, GPA, ASID);
    adjust(PAGE, GPA, K4, false, 1, 0);
    refused("RMPADJUST-10", "a page not validated",
            verdict == RMP_GUEST_VC);
    make_valid(PAGE, GPA);
    pass("RMPADJUST-10", "the page once validated",
         !adjust(PAGE, GPA, K4, false, rdx(1, 0x3, false), 0) && !verdict);
    pass("RMPADJUST-11", "VMPL1 gives on what it has",
         !adjust(PAGE, GPA, K4, false, rdx(2, 0x3, false), 1) &&
         hi(PAGE) == 0x3030f);
    refused("RMPADJUST-11", "VMPL1 gives on what it has not",
            adjust(PAGE, GPA, K4, false, rdx(2, 0x7, false), 1) == 2 &&
            hi(PAGE) == 0x3030f);
    refused("RMPADJUST-11", "SSS, which RMPUPDATE does not give",
            adjust(PAGE, GPA, K4, false, rdx(1, 0x11, false), 0) == 2);
    adjust(PAGE, GPA, K4, false, rdx(2, 0, true), 1);
    refused("RMPADJUST-12", "the VMSA bit of VMPL1 is ignored",
            !verdict && vmrun_refused(PAGE, "VMSA-05"));
    adjust(PAGE, GPA, K4, false, rdx(1, 0x3, true), 0);
    pass("RMPADJUST-12", "the VMSA bit of VMPL0 is not",
         vmrun_refused(PAGE, NULL));
    adjust(PAGE, GPA, K4, false, rdx(2, 0, false), 1);
    pass("RMPADJUST-12", "nor does VMPL1 clear it",
         vmrun_refused(PAGE, NULL));
    pass("RMPADJUST-16", "the guest reads and writes its VMSA page",
         !guest(PAGE, GPA, K4) && perms == 0xf);
    refused("RMPADJUST-16", "not while it runs", begin(&use, PAGE) &&
            guest(PAGE, GPA, K4) == RMP_GUEST_NPF);
    end(&use);
    pass("RMPADJUST-13", "mask and VMSA as given", hi(PAGE) == 0x30f &&
         lo(PAGE) & RMP_LO_VMSA);
    adjust(PAGE, GPA, K4, false, rdx(3, 0, false), 0);
    refused("RMPADJUST-13", "a 0 clears VMSA", vmrun_refused(PAGE, "VMSA-05"));

    make_valid_2m(BIG, BIG_GPA);
    adjust(BIG + K4, BIG_GPA + K4, M2, false, 1, 0);
    refused("RMPADJUST-08", "4 KB of a 2 MB entry",
            verdict == RMP_GUEST_NPF_SIZEM);
    pass("RMPADJUST-08", "2 MB of a 2 MB entry",
         !adjust(BIG, BIG_GPA, M2, true, rdx(1, 1, false), 0) && !verdict &&
         hi(BIG) == 0x10f && hi(BIG + K4) == 0);
    adjust(BIG, BIG_GPA, K4, true, 1, 0);
    refused("ACC-PGSZ", "RMPADJUST of 2 MB through a 4 KB leaf",
            verdict == RMP_GUEST_NPF);
    begin(&use, BIG + K4);
    adjust(BIG, BIG_GPA, M2, true, 1, 0);
    refused("RMPADJUST-14", "2 MB with a page in use",
            verdict == RMP_GUEST_NPF);
    end(&use);
    refused("RMPADJUST-09", "2 MB of a 4 KB entry",
            adjust(PAGE, GPA, M2, true, 1, 0) == 6 && !verdict);
    adjust(PAGE, GPA, M2, false, 1, 0);
    refused("ACC-PGS2", "RMPADJUST of 4 KB through a 2 MB leaf",
            verdict == RMP_GUEST_NPF);
    pass("RMPADJUST-09", "4 KB of a 4 KB entry",
         !adjust(PAGE, GPA, K4, false, 1, 0) && !verdict);

    make_vmsa(PAGE, GPA);
    adjust(PAGE, GPA, K4, false, rdx(2, 5, true), 0);
    pass("RMPQUERY-01", "size, mask and VMSA bit",
         !rmp_query_operands(2, 2) &&
         !rmp_query(&rmp, PAGE, GPA, K4, ASID, 2, &v, &large, &mask, &vmsa) &&
         !v && !large && mask == 5 && vmsa);
    rmp_query(&rmp, BIG, BIG_GPA, M2, ASID, 1, &v, &large, &mask, &vmsa);
    pass("RMPQUERY-01", "the same of a 2 MB entry",
         !v && large && mask == 1 && !vmsa);
    refused("RMPQUERY-01", "a VMPL above one's own, or none",
            rmp_query_operands(0, 1) == RMP_FAIL_PERMISSION &&
            rmp_query_operands(4, 0) == RMP_FAIL_PERMISSION &&
            rmp_query_operands(1ull << 32, 0) == RMP_FAIL_PERMISSION);
    rmp_query(&rmp, PAGE, GPA, M2, ASID, 1, &v, &large, &mask, &vmsa);
    refused("RMPQUERY-01", "a leaf of another size", v == RMP_GUEST_NPF);
    rmp_query(&rmp, PAGE, GPA, K4, OTHER, 1, &v, &large, &mask, &vmsa);
    refused("RMPQUERY-01", "another guest's page", v == RMP_GUEST_NPF);
    assign(PAGE, GPA, ASID);
    rmp_query(&rmp, PAGE, GPA, K4, ASID, 1, &v, &large, &mask, &vmsa);
    refused("RMPQUERY-01", "a page not validated", v == RMP_GUEST_VC);
}

/* ---- accesses ---- */

static void test_host_access(void)
{
    RmpUse use = { 0 };

    fresh();
    assign(PAGE, GPA, ASID);
    pass("HOST-01", "a write to a page of the host", host_writes(0, K4));
    refused("HOST-01", "a write to an assigned page", !host_writes(PAGE, K4) &&
            !host_writes(PAGE + 0xfff, K4));
    pass("NSNP-01", "another guest's write to a page of the host",
         host_writes(PAGE + K4, K4));
    refused("NSNP-01", "another guest's write to an assigned page",
            !host_writes(PAGE, K4));
    pass("ACC-05", "an SNP guest's shared write to a page of the host",
         host_writes(0, M2));
    refused("ACC-05", "an SNP guest's shared write to its private page",
            !host_writes(PAGE, K4));
    pass("HOST-03", "a page table of the host, in mixed 2 MB",
         host_writes(PAGE + K4, K4));
    refused("HOST-03", "a page table in an assigned page",
            !host_writes(PAGE, K4));
    pass("HOST-04", "an A or D bit in mixed 2 MB counts as 4 KB",
         host_writes(PAGE + K4, K4) && !host_writes(PAGE + K4, M2));
    refused("HOST-04", "an A or D bit in an assigned page",
            !host_writes(PAGE, K4));
    pass("HOST-05", "a 2 MB leaf over nothing assigned",
         host_writes(0, M2) && host_writes(BIG, G1));
    refused("HOST-05", "a 2 MB leaf with one assigned page elsewhere",
            !host_writes(BASE, M2) && !host_writes(BASE + M2 - K4, M2));
    refused("HOST-05", "a 1 GB leaf counts as the 2 MB around the write",
            !host_writes(BASE + K4, G1));
    pass("CHK-HVOWN", "a 1 GB leaf, 2 MB that hold nothing",
         host_writes(0, G1) && host_writes(BIG, G1));
    pass("CHK-HVOWN", "a 4 KB leaf next to an assigned page",
         host_writes(PAGE + K4, K4) && host_writes(PAGE - K4, K4));
    shared(PAGE);
    assign(BASE, GPA, ASID);
    refused("CHK-HVOWN", "a 2 MB leaf whose base alone is assigned",
            !host_writes(PAGE, M2));
    assign_2m(BIG, BIG_GPA, ASID);
    refused("CHK-HVOWN", "any page of a 2 MB entry",
            !host_writes(BIG + 9 * K4, K4) && !host_writes(BIG + 9 * K4, M2));
    move(0, RMP_PAGE_HYPERVISOR, RMP_PAGE_HV_FIXED);
    pass("HOST-09", "a write to an HV-fixed page",
         host_writes(0, K4) && host_writes(0, M2));
    refused("HOST-09", "RMPUPDATE of it", assign(0, GPA, ASID) == 2);
    firmware(PAGE);
    refused("HOST-10", "a write to a Firmware page", !host_writes(PAGE, K4));
    move(PAGE, RMP_PAGE_FIRMWARE, RMP_PAGE_CONTEXT);
    refused("HOST-10", "a write to a Context page", !host_writes(PAGE, K4));
    pre_guest(PAGE + K4, GPA, ASID);
    refused("HOST-10", "a write to a Pre-Guest page",
            !host_writes(PAGE + K4, K4));
    move(PAGE, RMP_PAGE_CONTEXT, RMP_PAGE_FIRMWARE);
    rmp_fw_reclaim(&rmp, PAGE, false);
    refused("HOST-10", "a write to a Reclaim page", !host_writes(PAGE, K4));
    shared(PAGE);
    pass("HOST-10", "a write once RMPUPDATE gave it back",
         host_writes(PAGE, K4));

    fresh();
    begin(&use, PAGE);
    refused("HOST-06", "a write to a VMCB in use", !host_writes(PAGE, K4) &&
            !host_writes(PAGE, M2));
    pass("HOST-06", "a write next to it, through 4 KB and 2 MB leaves",
         host_writes(PAGE + K4, K4) && host_writes(PAGE + K4, M2));
    refused("CHK-USE", "a page in use", !host_writes(PAGE, K4));
    end(&use);
    pass("CHK-USE", "the page after use", host_writes(PAGE, K4));
    make_vmsa(PAGE, GPA);
    begin(&use, PAGE);
    refused("HOST-07", "a write to a VMSA in use", !host_writes(PAGE, K4));
    end(&use);
    shared(PAGE);
    pass("HOST-07", "a write to what was a VMSA", host_writes(PAGE, K4));

    begin(&use, BASE);
    refused("HOST-08", "a 2 MB leaf over a 2 MB aligned page in use",
            !host_writes(PAGE, M2) && !host_writes(BASE + M2 - 1, G1));
    pass("HOST-08", "a 4 KB leaf there", host_writes(PAGE, K4));
    end(&use);
    pass("HOST-08", "a 2 MB leaf after use", host_writes(PAGE, M2));
    fresh_with(false);
    begin(&use, BASE);
    pass("HOST-08", "a 2 MB leaf on silicon without the erratum",
         host_writes(PAGE, M2) && !host_writes(BASE, M2));
    end(&use);

    /* From SNP_INIT on, regions are known in which nothing is refused */
    fresh();
    rmp_fw_init(&rmp);
    assign(LONE, GPA, ASID);
    refused("HOST-01", "a write to the only assigned page of 2 MB",
            !host_writes(LONE, K4) && !host_writes(0, M2));
    shared(LONE);
    pass("HOST-01", "a write to it once it is shared",
         host_writes(LONE, K4) && host_writes(0, M2));
    begin(&use, LONE);
    refused("HOST-06", "a write to a VMCB in use, alone in its 2 MB",
            !host_writes(LONE, K4));
    pass("HOST-06", "a write next to it", host_writes(LONE + K4, K4));
    end(&use);
    pass("HOST-06", "a write to it after use", host_writes(LONE, K4));
}

static void test_guest_access(void)
{
    RmpUse use = { 0 };
    RmpState odd = { .assigned = 1, .asid = ASID, .gpa = GPA, .immutable = 1 };

    fresh();
    make_valid(PAGE, GPA);
    pass("ACC-01", "a fetch or table walk in an own page",
         !guest(PAGE, GPA, K4) && perms & RMP_PERM_XSUPER);
    refused("ACC-01", "a fetch or table walk in a page of the host",
            guest(PAGE + K4, GPA, K4) == RMP_GUEST_NPF);
    pass("ACC-04", "an own page, with offsets",
         guest(PAGE + 5, GPA + 5, K4) == RMP_GUEST_OK);
    refused("ACC-04", "a page of the host",
            guest(0, GPA, K4) == RMP_GUEST_NPF);
    pass("CHK-COV", "a covered page", !guest(PAGE, GPA, K4));
    refused("CHK-COV", "a page beyond the table",
            guest(OUTSIDE, GPA, K4) == RMP_GUEST_NPF &&
            guest(~0ull, GPA, K4) == RMP_GUEST_NPF);
    pass("CHK-GOWN", "the owner", !guest(PAGE, GPA, K4));
    refused("CHK-GOWN", "another ASID",
            access_as(PAGE, GPA, K4, OTHER, 0) == RMP_GUEST_NPF);
    poke(BIG, RMP_LO_VALIDATED | GPA | (uint64_t)ASID << RMP_LO_ASID_SHIFT);
    refused("CHK-GOWN", "the right ASID in an entry that is not assigned",
            guest(BIG, GPA, K4) == RMP_GUEST_NPF);
    poke(BIG, 0);
    pass("CHK-REV", "the GPA it was assigned at", !guest(PAGE, GPA, K4));
    refused("CHK-REV", "another GPA, above the stored bits too",
            guest(PAGE, GPA + K4, K4) == RMP_GUEST_NPF &&
            guest(PAGE, GPA | 1ull << 51, K4) == RMP_GUEST_NPF);
    make_valid(PAGE + K4, GPA + K4);
    pass("ACC-16", "the page behind a GPA", !guest(PAGE + K4, GPA + K4, K4));
    refused("ACC-16", "another page of the guest behind a GPA",
            guest(PAGE + K4, GPA, K4) == RMP_GUEST_NPF);
    update(PAGE + K4, odd);
    refused("CHK-MUT", "an immutable page",
            guest(PAGE + K4, GPA, K4) == RMP_GUEST_NPF);
    rmp_fw_reclaim(&rmp, PAGE + K4, false);
    pass("CHK-MUT", "the page once it is mutable (then Validated counts)",
         guest(PAGE + K4, GPA, K4) == RMP_GUEST_VC);
    refused("CHK-VAL", "a page not validated",
            guest(PAGE + K4, GPA, K4) == RMP_GUEST_VC);
    refused("ACC-02", "a fetch from a page not validated: #VC, not NPF",
            guest(PAGE + K4, GPA, K4) == RMP_GUEST_VC);
    pvalidate(PAGE + K4, GPA, K4, false, true);
    pass("CHK-VAL", "the page once validated", !guest(PAGE + K4, GPA, K4));
    pass("ACC-02", "a fetch from it", !guest(PAGE + K4, GPA, K4));
    adjust(PAGE, GPA, K4, false, rdx(1, 1, false), 0);
    pass("CHK-VMPL", "what VMPL1 was given",
         !access_as(PAGE, GPA, K4, ASID, 1) && perms == RMP_PERM_READ);
    refused("CHK-VMPL", "what VMPL2 was not given",
            !access_as(PAGE, GPA, K4, ASID, 2) && perms == 0);
    pass("ACC-03", "VMPL0 executes", !guest(PAGE, GPA, K4) && perms == 0xf);
    refused("ACC-03", "VMPL1 does not",
            !access_as(PAGE, GPA, K4, ASID, 1) && !(perms & 0xe));

    make_valid_2m(BIG, BIG_GPA);
    pass("CHK-SIZE", "2 MB through 2 MB and 1 GB leaves",
         !guest(BIG + K4, BIG_GPA + K4, M2) && !guest(BIG, BIG_GPA, G1));
    refused("CHK-SIZE", "a 4 KB entry through a 1 GB leaf",
            guest(PAGE, GPA, G1) == RMP_GUEST_NPF);
    pass("ACC-PGSZ", "a 2 MB entry through a 2 MB leaf",
         !guest(BIG, BIG_GPA, M2));
    refused("ACC-PGSZ", "a 2 MB entry through a 4 KB leaf: no SIZEM",
            guest(BIG + K4, BIG_GPA + K4, K4) == RMP_GUEST_NPF);
    pass("ACC-PGS2", "a 4 KB entry through a 4 KB leaf", !guest(PAGE, GPA, K4));
    refused("ACC-PGS2", "a 4 KB entry through a 2 MB leaf",
            guest(PAGE, GPA, M2) == RMP_GUEST_NPF);
    refused("CHK-REV", "another offset in a 2 MB entry",
            guest(BIG + K4, BIG_GPA, M2) == RMP_GUEST_NPF);
    assign_2m(BIG, BIG_GPA, ASID);
    refused("ACC-13", "size and Validated both wrong: NPF",
            guest(BIG, BIG_GPA, K4) == RMP_GUEST_NPF);
    pass("ACC-13", "Validated alone wrong: #VC",
         guest(BIG, BIG_GPA, M2) == RMP_GUEST_VC);

    make_vmsa(PAGE, GPA);
    begin(&use, PAGE);
    refused("ACC-17", "the VMSA of a running vCPU",
            guest(PAGE, GPA, K4) == RMP_GUEST_NPF);
    end(&use);
    pass("ACC-17", "the VMSA once the vCPU left", !guest(PAGE, GPA, K4));
    make_valid_2m(BIG, BIG_GPA);
    begin(&use, BIG + K4);
    refused("ACC-17", "a running VMSA inside a 2 MB page",
            guest(BIG + K4, BIG_GPA + K4, M2) == RMP_GUEST_NPF);
    pass("ACC-17", "the rest of that 2 MB page",
         !guest(BIG, BIG_GPA, M2) &&
         !guest(BIG + 2 * K4, BIG_GPA + 2 * K4, M2));
    end(&use);
    begin(&use, BIG);
    refused("ACC-17", "all of it when the VMSA is at its base",
            guest(BIG + K4, BIG_GPA + K4, M2) == RMP_GUEST_NPF);
    end(&use);
}

/* ---- VMRUN ---- */

static void test_vmrun(void)
{
    RmpUse use = { 0 }, use2 = { 0 }, outside = { 0 };
    uint64_t before;

    fresh();
    pass("VMSA-01", "an SEV-ES guest's VMSA in a page of the host",
         !rmp_vmsa_refused(&rmp, PAGE, ASID, false) &&
         !rmp_vmsa_refused(&rmp, OUTSIDE, ASID, false));
    make_vmsa(PAGE, GPA);
    refused("VMSA-01", "an SEV-ES guest's VMSA in an assigned page",
            !strcmp(rmp_vmsa_refused(&rmp, PAGE, ASID, false) ?: "",
                    "VMSA-01"));
    pass("VMSA-02", "a covered VMSA", vmrun_refused(PAGE, NULL));
    refused("VMSA-02", "a VMSA outside", vmrun_refused(OUTSIDE, "VMSA-02") &&
            vmrun_refused(~0ull, "VMSA-02"));
    pass("VMSA-03", "the guest's own", vmrun_refused(PAGE, NULL));
    refused("VMSA-03", "another guest's",
            !strcmp(rmp_vmsa_refused(&rmp, PAGE, OTHER, true) ?: "",
                    "VMSA-03"));
    refused("VMSA-03", "a page of the host",
            vmrun_refused(PAGE + K4, "VMSA-03"));
    pass("VMSA-04", "a mutable VMSA", vmrun_refused(PAGE, NULL));
    pre_guest(PAGE + K4, GPA, ASID);
    refused("VMSA-04", "a Pre-Guest page", vmrun_refused(PAGE + K4, "VMSA-04"));
    pass("VMSA-05", "a page marked VMSA", vmrun_refused(PAGE, NULL));
    make_valid(PAGE + 2 * K4, GPA);
    refused("VMSA-05", "a guest page that is not",
            vmrun_refused(PAGE + 2 * K4, "VMSA-05"));
    pvalidate(PAGE, GPA, K4, false, false);
    pass("VMSA-06", "a VMSA page not validated", vmrun_refused(PAGE, NULL));
    refused("VMSA-06", "though the guest cannot read it",
            guest(PAGE, GPA, K4) == RMP_GUEST_VC);
    make_vmsa(PAGE, GPA + 3 * K4);
    pass("VMSA-07", "a VMSA at any GPA", vmrun_refused(PAGE, NULL));
    refused("VMSA-07", "though the guest's access wants the right one",
            guest(PAGE, GPA, K4) == RMP_GUEST_NPF);

    pass("INUSE-01", "VMRUN marks", begin(&use, PAGE) && use.active &&
         lo(PAGE) >> 52 == 0xfff);
    refused("VMSA-08", "a VMSA that runs already",
            vmrun_refused(PAGE, "VMSA-08"));
    before = lo(PAGE);
    refused("INUSE-05", "a second mark on it",
            !begin(&use2, PAGE) && !use2.active);
    refused("VMRUN-26", "a VMRUN refused marks nothing", lo(PAGE) == before);
    end(&use2);
    pass("VMRUN-26", "and unmarks nothing", lo(PAGE) == before);
    refused("INUSE-01", "RMPUPDATE, host write, guest access, PSMASH",
            shared(PAGE) == 3 && !host_writes(PAGE, K4) &&
            guest(PAGE, GPA + 3 * K4, K4) == RMP_GUEST_NPF &&
            rmp_smash(&rmp, BASE) == 3);
    refused("INUSE-03", "firmware",
            rmp_fw_reclaim(&rmp, PAGE, false) == RMP_FAIL_PERMISSION);
    refused("INUSE-04", "an end that was not begun changes nothing",
            (end(&use2), lo(PAGE)) == before);
    end(&use);
    end(&use);
    pass("INUSE-04", "#VMEXIT restores the upper bits",
         lo(PAGE) == (0x6030000000000001 | (GPA + 3 * K4)) && !use.active);
    pass("INUSE-03", "RMPUPDATE afterwards", shared(PAGE) == 0);
    make_valid(PAGE, GPA);
    begin(&use, PAGE);
    poke(PAGE, GPA | RMP_LO_ASSIGNED);
    end(&use);
    refused("INUSE-04", "upper bits for a mark that was wiped from memory",
            lo(PAGE) == (GPA | RMP_LO_ASSIGNED) && !rmp.in_use);
    make_vmsa(PAGE, GPA);
    pass("VMSA-08", "the VMSA after #VMEXIT", vmrun_refused(PAGE, NULL));
    pass("INUSE-05", "marks on two pages, taken off in any order",
         begin(&use, PAGE) && begin(&use2, 0) && (end(&use), 1) &&
         lo(PAGE) == 0x6030000000144001 && lo(0) == 0xfff0000000000000 &&
         (end(&use2), lo(0)) == 0);
    pass("INUSE-01", "a page outside coverage is marked nowhere",
         begin(&outside, OUTSIDE) && !outside.active);
    end(&outside);
    begin(&use, 0);
    refused("VMSA-08", "an SEV-ES VMSA that runs already",
            !strcmp(rmp_vmsa_refused(&rmp, 0, ASID, false) ?: "", "VMSA-08"));
    end(&use);

    make_valid_2m(BIG, BIG_GPA);
    refused("VMSA-09", "a page of a 2 MB entry that is not marked VMSA",
            vmrun_refused(BIG + K4, "VMSA-05"));
    adjust(BIG, BIG_GPA, M2, true, rdx(1, 0, true), 0);
    pass("VMSA-09", "a page of a 2 MB entry that is: the base decides",
         vmrun_refused(BIG + K4, NULL) && vmrun_refused(BIG, NULL));
    begin(&use, BIG + K4);
    pass("VMSA-09", "the mark sits in the page's own slot",
         lo(BIG + K4) == 0xfff0000000000001 &&
         lo(BIG) >> 52 != 0xfff && vmrun_refused(BIG + 2 * K4, NULL));
    refused("VMSA-09", "and is found there",
            vmrun_refused(BIG + K4, "VMSA-08"));
    end(&use);
    pass("INUSE-04", "such a slot as well", lo(BIG + K4) == 1);
    begin(&use, BIG);
    refused("VMSA-08", "a page of a 2 MB entry whose base runs",
            vmrun_refused(BIG + K4, "VMSA-08"));
    end(&use);
}

/* ---- firmware ---- */

static const RmpPageState all_states[] = {
    RMP_PAGE_DEFAULT, RMP_PAGE_HYPERVISOR, RMP_PAGE_HV_FIXED,
    RMP_PAGE_RECLAIM, RMP_PAGE_FIRMWARE, RMP_PAGE_CONTEXT, RMP_PAGE_METADATA,
    RMP_PAGE_PRE_GUEST, RMP_PAGE_GUEST_INVALID, RMP_PAGE_GUEST_VALID,
    RMP_PAGE_PRE_SWAP, RMP_PAGE_TABLE, RMP_PAGE_IN_USE,
};

#define NR_STATES (sizeof(all_states) / sizeof(all_states[0]))

/* Put PAGE of a fresh host into a state; -1 if that takes more than a poke */
static bool enter(RmpPageState state)
{
    fresh();
    switch (state) {
    case RMP_PAGE_HYPERVISOR:
        return true;
    case RMP_PAGE_HV_FIXED:
        poke(PAGE, RMP_LO_IMMUTABLE);
        return true;
    case RMP_PAGE_RECLAIM:
        return update(PAGE, (RmpState) { .assigned = 1 }) == 0;
    case RMP_PAGE_FIRMWARE:
        return firmware(PAGE) == 0;
    case RMP_PAGE_CONTEXT:
        firmware(PAGE);
        poke(PAGE, lo(PAGE) | RMP_LO_VMSA);
        return true;
    case RMP_PAGE_METADATA:
        return update(PAGE, (RmpState) { .assigned = 1, .immutable = 1,
                                         .gpa = GPA }) == 0;
    case RMP_PAGE_PRE_GUEST:
        return pre_guest(PAGE, GPA, ASID) == 0;
    case RMP_PAGE_GUEST_INVALID:
        return assign(PAGE, GPA, ASID) == 0;
    case RMP_PAGE_GUEST_VALID:
        make_valid(PAGE, GPA);
        return true;
    case RMP_PAGE_PRE_SWAP:
        make_valid(PAGE, GPA);
        poke(PAGE, lo(PAGE) | RMP_LO_IMMUTABLE);
        return true;
    case RMP_PAGE_TABLE:
        firmware(PAGE);
        poke(PAGE, lo(PAGE) | RMP_LO_TABLE);
        return true;
    default:
        return false;
    }
}

static bool legal_move(RmpPageState from, RmpPageState to)
{
    static const RmpPageState legal[][2] = {
        { RMP_PAGE_HYPERVISOR, RMP_PAGE_HV_FIXED },
        { RMP_PAGE_HYPERVISOR, RMP_PAGE_FIRMWARE },
        { RMP_PAGE_FIRMWARE, RMP_PAGE_CONTEXT },
        { RMP_PAGE_FIRMWARE, RMP_PAGE_RECLAIM },
        { RMP_PAGE_CONTEXT, RMP_PAGE_FIRMWARE },
        { RMP_PAGE_METADATA, RMP_PAGE_RECLAIM },
        { RMP_PAGE_PRE_GUEST, RMP_PAGE_GUEST_INVALID },
        { RMP_PAGE_PRE_SWAP, RMP_PAGE_GUEST_VALID },
        { RMP_PAGE_RECLAIM, RMP_PAGE_HYPERVISOR },
        { RMP_PAGE_FIRMWARE, RMP_PAGE_HYPERVISOR },
    };
    unsigned i;

    for (i = 0; i < sizeof(legal) / sizeof(legal[0]); i++) {
        if (legal[i][0] == from && legal[i][1] == to) {
            return true;
        }
    }
    return false;
}

/* FWPAGE-02..11: each state is told, and has just the moves it should have */
static void test_page_states(void)
{
    static const char *const rule[] = {
        [RMP_PAGE_HYPERVISOR] = "FWPAGE-02", [RMP_PAGE_HV_FIXED] = "FWPAGE-03",
        [RMP_PAGE_RECLAIM] = "FWPAGE-04", [RMP_PAGE_FIRMWARE] = "FWPAGE-05",
        [RMP_PAGE_CONTEXT] = "FWPAGE-06", [RMP_PAGE_METADATA] = "FWPAGE-07",
        [RMP_PAGE_PRE_GUEST] = "FWPAGE-08",
        [RMP_PAGE_GUEST_INVALID] = "FWPAGE-09",
        [RMP_PAGE_GUEST_VALID] = "FWPAGE-10",
        [RMP_PAGE_PRE_SWAP] = "FWPAGE-11", [RMP_PAGE_TABLE] = "GEOM-07",
    };
    unsigned i, j;
    RmpUse use = { 0 };
    bool large, good;
    uint64_t low;

    fresh();
    pass("FWPAGE-01", "a page outside is Default",
         state_of(OUTSIDE) == RMP_PAGE_DEFAULT);
    refused("FWPAGE-01", "it moves nowhere",
            !move(OUTSIDE, RMP_PAGE_DEFAULT, RMP_PAGE_FIRMWARE) &&
            !move(OUTSIDE, RMP_PAGE_HYPERVISOR, RMP_PAGE_FIRMWARE) &&
            rmp_fw_reclaim(&rmp, OUTSIDE, false) == RMP_FAIL_PERMISSION);

    for (i = 0; i < NR_STATES; i++) {
        if (!enter(all_states[i])) {
            continue;
        }
        pass(rule[i], "the state is told from the entry",
             rmp_page_state(&rmp, PAGE, &large) == all_states[i] && !large);
        good = true;
        for (j = 0; j < NR_STATES; j++) {
            enter(all_states[i]);
            low = lo(PAGE);
            if (legal_move(all_states[i], all_states[j])) {
                good &= move(PAGE, all_states[i], all_states[j]) &&
                        state_of(PAGE) == all_states[j] &&
                        count(BASE) == (lo(PAGE) & 1) &&
                        (lo(PAGE) & RMP_LO_VALIDATED) ==
                        (low & RMP_LO_VALIDATED);
            } else {
                good &= !move(PAGE, all_states[i], all_states[j]) &&
                        lo(PAGE) == low;
            }
        }
        pass(rule[i], "it has the moves it should have", good);
        good = true;
        for (j = 0; j < NR_STATES; j++) {
            enter(all_states[i]);
            low = lo(PAGE);
            if (j != i) {
                good &= !move(PAGE, all_states[j], RMP_PAGE_RECLAIM) &&
                        !move(PAGE, all_states[j], RMP_PAGE_FIRMWARE) &&
                        lo(PAGE) == low;
            }
        }
        refused(rule[i], "a move from a state that it is not in", good);
    }

    enter(RMP_PAGE_PRE_GUEST);
    move(PAGE, RMP_PAGE_PRE_GUEST, RMP_PAGE_GUEST_INVALID);
    pass("FWPAGE-08", "the guest keeps GPA and ASID",
         lo(PAGE) == 0x0030000000144001 && hi(PAGE) == 0xf);
    enter(RMP_PAGE_METADATA);
    move(PAGE, RMP_PAGE_METADATA, RMP_PAGE_RECLAIM);
    pass("FWPAGE-07", "Metadata loses its GPA", lo(PAGE) == 1);

    fresh();
    begin(&use, PAGE);
    refused("FWPAGE-12", "a page in use",
            state_of(PAGE) == RMP_PAGE_IN_USE &&
            !move(PAGE, RMP_PAGE_HYPERVISOR, RMP_PAGE_FIRMWARE) &&
            !move(PAGE, RMP_PAGE_IN_USE, RMP_PAGE_FIRMWARE));
    end(&use);
    pass("FWPAGE-12", "the page after use",
         move(PAGE, RMP_PAGE_HYPERVISOR, RMP_PAGE_FIRMWARE));
    update(BIG, (RmpState) { .assigned = 1, .page_size = 1, .immutable = 1 });
    refused("FWPAGE-05", "a 2 MB entry has no 4 KB moves",
            rmp_page_state(&rmp, BIG + K4, &large) == RMP_PAGE_FIRMWARE &&
            large && !move(BIG, RMP_PAGE_FIRMWARE, RMP_PAGE_CONTEXT) &&
            !move(BIG + K4, RMP_PAGE_FIRMWARE, RMP_PAGE_CONTEXT));
    begin(&use, BIG + K4);
    refused("FWPAGE-12", "a 2 MB page of which a page is in use",
            state_of(BIG) == RMP_PAGE_IN_USE &&
            rmp_fw_reclaim(&rmp, BIG, true) == RMP_FAIL_PERMISSION);
    end(&use);
}

static void test_reclaim(void)
{
    static const struct {
        RmpPageState from, to;
    } can[] = {
        { RMP_PAGE_FIRMWARE, RMP_PAGE_RECLAIM },
        { RMP_PAGE_METADATA, RMP_PAGE_RECLAIM },
        { RMP_PAGE_RECLAIM, RMP_PAGE_RECLAIM },
        { RMP_PAGE_PRE_GUEST, RMP_PAGE_GUEST_INVALID },
        { RMP_PAGE_PRE_SWAP, RMP_PAGE_GUEST_VALID },
    };
    static const RmpPageState cannot[] = {
        RMP_PAGE_HYPERVISOR, RMP_PAGE_HV_FIXED, RMP_PAGE_CONTEXT,
        RMP_PAGE_GUEST_INVALID, RMP_PAGE_GUEST_VALID, RMP_PAGE_TABLE,
    };
    bool good = true;
    unsigned i;
    uint64_t low;

    for (i = 0; i < sizeof(can) / sizeof(can[0]); i++) {
        enter(can[i].from);
        low = lo(PAGE);
        good &= rmp_fw_reclaim(&rmp, PAGE, true) == RMP_FAIL_SIZEMISMATCH &&
                lo(PAGE) == low;
        good &= rmp_fw_reclaim(&rmp, PAGE, false) == RMP_OK &&
                state_of(PAGE) == can[i].to && shared(PAGE) == RMP_OK;
    }
    pass("FWCMD-17", "every state that can be reclaimed, of the right size",
         good);
    good = true;
    for (i = 0; i < sizeof(cannot) / sizeof(cannot[0]); i++) {
        enter(cannot[i]);
        low = lo(PAGE);
        good &= rmp_fw_reclaim(&rmp, PAGE, false) == RMP_FAIL_PERMISSION &&
                rmp_fw_reclaim(&rmp, PAGE, true) == RMP_FAIL_PERMISSION &&
                lo(PAGE) == low;
    }
    refused("FWCMD-17", "every other state, unchanged", good);

    fresh();
    update(BIG, (RmpState) { .assigned = 1, .page_size = 1, .immutable = 1,
                             .gpa = BIG_GPA, .asid = ASID });
    refused("FWCMD-17", "2 MB as 4 KB",
            rmp_fw_reclaim(&rmp, BIG, false) == RMP_FAIL_SIZEMISMATCH);
    pass("FWCMD-17", "2 MB as 2 MB stay 2 MB",
         rmp_fw_reclaim(&rmp, BIG, true) == RMP_OK &&
         lo(BIG) == (0x0030000000000003 | BIG_GPA) && shared_2m(BIG) == 0);
    update(BIG, (RmpState) { .assigned = 1, .page_size = 1, .immutable = 1 });
    pass("FWCMD-17", "2 MB of Firmware stay 2 MB",
         rmp_fw_reclaim(&rmp, BIG, true) == RMP_OK && lo(BIG) == 3);
}

static void test_launch(void)
{
    RmpUse use = { 0 };
    uint64_t low;

    fresh();
    pre_guest(PAGE, GPA, ASID);
    low = lo(PAGE);
    refused("FWCMD-11", "another ASID's page",
            launch_update(PAGE, OTHER, false, false) == RMP_FAIL_INPUT);
    refused("FWCMD-11", "another size",
            launch_update(PAGE, ASID, true, false) == RMP_FAIL_SIZEMISMATCH);
    refused("FWCMD-11", "a page that is not Pre-Guest",
            launch_update(0, ASID, false, false) == RMP_FAIL_PERMISSION &&
            launch_update(OUTSIDE, ASID, false, false) == RMP_FAIL_PERMISSION);
    refused("FWCMD-14", "it stays Pre-Guest", lo(PAGE) == low);
    pass("FWCMD-14", "so that it can be reclaimed",
         rmp_fw_reclaim(&rmp, PAGE, false) == 0 && shared(PAGE) == 0);
    pre_guest(PAGE, GPA, ASID);
    pass("FWCMD-11", "Pre-Guest becomes Guest-Valid",
         launch_update(PAGE, ASID, false, false) == 0 &&
         lo(PAGE) == 0x4030000000144001 && hi(PAGE) == 0x0703011f &&
         guest(PAGE, GPA, K4) == RMP_GUEST_OK);
    refused("FWCMD-13", "a NORMAL page is no VMSA",
            vmrun_refused(PAGE, "VMSA-05"));
    refused("FWCMD-11", "the same page twice",
            launch_update(PAGE, ASID, false, false) == RMP_FAIL_PERMISSION);
    pre_guest(PAGE + K4, 0xfffffffff000, 2);
    pass("FWCMD-12", "a VMSA page as in the public log",
         launch_update(PAGE + K4, 2, false, true) == 0 &&
         lo(PAGE + K4) == 0x6010fffffffff001 &&
         (hi(PAGE + K4) & 0xff) == 0x1f);
    update(BIG, (RmpState) { .assigned = 1, .page_size = 1, .immutable = 1,
                             .gpa = BIG_GPA, .asid = ASID });
    refused("FWCMD-12", "a VMSA of 2 MB",
            launch_update(BIG, ASID, true, true) == RMP_FAIL_SIZEMISMATCH);
    refused("FWCMD-11", "2 MB as 4 KB",
            launch_update(BIG, ASID, false, false) == RMP_FAIL_SIZEMISMATCH);
    pass("FWCMD-11", "2 MB as 2 MB",
         launch_update(BIG, ASID, true, false) == 0);
    pass("FWCMD-13", "which is validated, and no VMSA",
         guest(BIG + K4, BIG_GPA + K4, M2) == RMP_GUEST_OK &&
         vmrun_refused(BIG, "VMSA-05"));

    fresh();
    pass("FWCMD-10", "an ASID without pages", !pages(ASID));
    assign(OUTSIDE - K4, GPA, ASID);
    refused("FWCMD-10", "an ASID with one page", pages(ASID) == 1 && !pages(OTHER));
    pass("FWCMD-10", "which is a guest's",
         pages(0) == 1 && first_page == OUTSIDE - K4);
    begin(&use, OUTSIDE - K4);
    refused("FWCMD-10", "an ASID whose one page is in use",
            pages(ASID) == 1 && !pages(0x3fe));
    end(&use);
    shared(OUTSIDE - K4);
    pass("FWCMD-10", "an ASID whose pages are freed", !pages(ASID));
    assign(BIG, GPA, OTHER);
    assign(BIG + 2 * K4, GPA + K4, ASID);
    pass("FWCMD-10", "pages of two guests, the lowest first",
         pages(0) == 2 && first_page == BIG && pages(OTHER) == 1);
    update(BIG, (RmpState) { .assigned = 1, .immutable = 1 });
    pass("FWCMD-10", "the firmware's are no guest's",
         pages(0) == 1 && first_page == BIG + 2 * K4);
    fresh();
    assign_2m(BIG, BIG_GPA, ASID);
    pass("FWCMD-10", "2 MB are 512 pages",
         pages(ASID) == 512 && first_page == BIG);
}

static void test_keys(void)
{
    RmpUse use = { 0 };

    fresh();
    refused("ENC-01", "the host's page is under no guest's key",
            rmp_key(&rmp, PAGE) == 0 && rmp_key(&rmp, OUTSIDE) == 0);
    make_vmsa(PAGE, GPA);
    pass("ENC-01", "a guest's page", rmp_key(&rmp, PAGE + 0x123) == ASID);
    begin(&use, PAGE);
    pass("ENC-01", "the same in use", rmp_key(&rmp, PAGE) == ASID);
    end(&use);
    make_valid_2m(BIG, BIG_GPA);
    pass("ENC-01", "inside 2 MB", rmp_key(&rmp, BIG + K4) == ASID);
    pre_guest(BASE, GPA, ASID);
    refused("ENC-01", "a Pre-Guest page is not encrypted yet",
            rmp_key(&rmp, BASE) == 0);
    firmware(BASE + K4);
    refused("ENC-01", "a Firmware page", rmp_key(&rmp, BASE + K4) == 0);
}

static struct {
    unsigned calls, from, to;
    uint64_t spa, size;
    bool in_time;           /* lock held, and the entry is still the old one */
} rekeyed;

static void note_rekey(Rmp *of, uint64_t spa, uint64_t size, unsigned from,
                       unsigned to)
{
    bool locked = pthread_mutex_trylock(&rmp.lock);

    if (!locked) {
        rmp_unlock(&rmp);
    }
    rekeyed.calls++;
    rekeyed.spa = spa;
    rekeyed.size = size;
    rekeyed.from = from;
    rekeyed.to = to;
    rekeyed.in_time = of == &rmp && locked && rmp_key_locked(&rmp, spa) == from;
}

static bool rekeyed_as(uint64_t spa, uint64_t size, unsigned from, unsigned to)
{
    return rekeyed.in_time && rekeyed.spa == spa && rekeyed.size == size &&
           rekeyed.from == from && rekeyed.to == to;
}

static void test_rekey(void)
{
    unsigned calls;

    fresh();
    rmp.rekey = note_rekey;
    assign(PAGE + 0x123, GPA, ASID);
    pass("RMPUPDATE-28", "the contents pass from the host to a guest",
         rekeyed_as(PAGE, K4, 0, ASID));
    assign(PAGE, GPA, OTHER);
    pass("RMPUPDATE-28", "from one guest to another",
         rekeyed_as(PAGE, K4, ASID, OTHER));
    shared(PAGE);
    pass("RMPUPDATE-28", "and back", rekeyed_as(PAGE, K4, OTHER, 0));
    assign_2m(BIG, BIG_GPA, ASID);
    pass("RMPUPDATE-28", "2 MB", rekeyed_as(BIG, M2, 0, ASID));
    pre_guest(PAGE, GPA, ASID);
    pass("RMPUPDATE-28", "a Pre-Guest page stays the host's",
         rekeyed_as(PAGE, K4, 0, 0));
    calls = rekeyed.calls;
    shared(OUTSIDE);
    shared(PAGE);
    shared(BIG);
    refused("RMPUPDATE-28", "no success, no change of contents",
            rekeyed.calls == calls);
}

static void test_return_codes(void)
{
    RmpUse use = { 0 };

    fresh();
    assign_2m(BIG, BIG_GPA, ASID);
    firmware(PAGE);
    begin(&use, 0);
    pass("INSN-07", "SUCCESS is 0", shared(K4) == 0);
    refused("INSN-07", "INPUT 1, PERMISSION 2, INUSE 3, OVERLAP 4",
            shared(OUTSIDE) == 1 && shared(PAGE) == 2 && shared(0) == 3 &&
            shared(BIG) == 4);
    refused("INSN-07", "SIZEMISMATCH 6, BADADDR 7",
            pvalidate(BIG, BIG_GPA, K4, true, true) == 6 &&
            rmp_smash(&rmp, BASE) == 7);
    end(&use);
}

int main(void)
{
    unsigned i;

    test_geometry();
    test_segments();
    test_format();
    test_update_input();
    test_update_refusals();
    test_update_effects();
    test_smash();
    test_pvalidate();
    test_adjust();
    test_host_access();
    test_guest_access();
    test_vmrun();
    test_page_states();
    test_reclaim();
    test_launch();
    test_keys();
    test_rekey();
    test_return_codes();

    for (i = 0; i < NR_RULES; i++) {
        printf("# rule %s: %u pass, %u refused\n", rules[i], seen[i][0],
               seen[i][1]);
        if (!seen[i][0] || !seen[i][1]) {
            report(false, rules[i], "lacks a case",
                   seen[i][0] ? "none is refused" : "none passes");
        }
    }
    printf("1..%u\n", tests);
    rmp_destroy(&rmp);
    free(table);
    return failures ? 1 : 0;
}
