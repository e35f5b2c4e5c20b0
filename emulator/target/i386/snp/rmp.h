/*
 * The Reverse Map Table (RMP) of an AMD SEV-SNP host and the rules of the
 * instructions that read and change it.
 *
 * Plain C: no QEMU type enters here, so that the same file runs in the
 * emulator, under native unit tests, under a fuzzer and under
 * ThreadSanitizer.  State comes in, a result goes out; faults, flags and TLB
 * maintenance are the caller's.
 *
 * Rule IDs (GEOM-, RAW-, RMPUPDATE- ...) are those of the table in
 * docs/system/i386/amd-snp-host.rst.
 * "spa" is a system physical address in bytes, "gpa" a guest physical address
 * in bytes without the C-bit; both may carry a page offset, which is ignored
 * unless a function says otherwise.
 *
 * Locking: the table is guest memory in the Zen 3/4 layout (GEOM-10: Linux
 * get_rmpentry()) and is the only copy of the truth; Rmp.busy sums it up for
 * speed, and only while nobody but this code can write it.  Every change is
 * made under Rmp.lock with atomic stores; the checks of the access path
 * (rmp_hv_owned(), rmp_check_private()) take no lock and read each quadword
 * atomically.  The hypervisor can scribble over the table before SNP_INIT
 * protects it, so no value read from it is trusted: it may give a wrong
 * verdict, never an access outside the table.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_SNP_RMP_H
#define I386_SNP_RMP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define RMP_BOOKKEEPING_SIZE    0x4000      /* GEOM-03 (APM2 15.36.4) */
#define RMP_PAGE_4K             0x1000ull
#define RMP_PAGE_2M             0x200000ull
#define RMP_PAGES_PER_2M        512

/*
 * Zen 3/4 entry, low quadword (RAW-01: PPR, family 19h; RAW-03, RAW-06: public
 * logs)
 */
#define RMP_LO_ASSIGNED         (1ull << 0)
#define RMP_LO_PAGE_SIZE        (1ull << 1)
#define RMP_LO_IMMUTABLE        (1ull << 2)
#define RMP_LO_COUNT_SHIFT      3
#define RMP_LO_COUNT_MASK       (0x1ffull << RMP_LO_COUNT_SHIFT)
#define RMP_LO_GPA_MASK         0x0007fffffffff000ull
#define RMP_LO_ASID_SHIFT       51
#define RMP_LO_ASID_MASK        (0x3ffull << RMP_LO_ASID_SHIFT)
#define RMP_LO_VMSA             (1ull << 61)
#define RMP_LO_VALIDATED        (1ull << 62)
#define RMP_LO_TABLE            (1ull << 63)    /* RAW-05 (public log) */
#define RMP_LO_IN_USE           (0xfffull << 52)

/*
 * High quadword: one permission byte per VMPL, VMPL0 lowest (RAW-02: public
 * logs)
 */
#define RMP_PERM_READ           0x01
#define RMP_PERM_WRITE          0x02
#define RMP_PERM_XUSER          0x04
#define RMP_PERM_XSUPER         0x08
#define RMP_PERM_SSS            0x10
#define RMP_PERM_ASSIGN         0x0f    /* RMPUPDATE-20 (APM2 15.36.7) */
#define RMP_PERM_LAUNCH         0x1f    /* FWCMD-11 (ABI SNP_LAUNCH_UPDATE) */
#define RMP_NR_VMPL             4

/* INSN-07 (APM3): what the instructions return in EAX */
enum {
    RMP_OK                  = 0,
    RMP_FAIL_INPUT          = 1,
    RMP_FAIL_PERMISSION     = 2,
    RMP_FAIL_INUSE          = 3,
    RMP_FAIL_OVERLAP        = 4,
    RMP_FAIL_SIZEMISMATCH   = 6,
    RMP_FAIL_BADADDR        = 7,
};

typedef struct RmpEntry {
    uint64_t lo;
    uint64_t hi;
} RmpEntry;

/* ARCH-01 (APM3): the memory operand of RMPUPDATE and RMPREAD, little endian */
typedef struct RmpState {
    uint64_t gpa;
    uint8_t assigned;
    uint8_t page_size;          /* bit 0: 2 MB; bit 1: region status */
    uint8_t immutable;
    uint8_t reserved;
    uint32_t asid;
} RmpState;

/* RST-02 (APM2 15.36.22): part of the table, for part of memory */
typedef struct RmpSegment {
    RmpEntry *entry;            /* host address */
    uint64_t base;              /* where the hypervisor sees that */
    uint64_t pages;             /* 4 KB pages covered; 0: there is none */
} RmpSegment;

#define RMP_SEGMENTS            64      /* that many and no more */
#define RMP_SEGMENT_SHIFT_MIN   30
#define RMP_SEGMENT_SHIFT_MAX   39
#define RMP_RST_SIZE            0x1000

struct RmpUse;

typedef struct Rmp {
    pthread_mutex_t lock;
    struct RmpUse *in_use;      /* marks that stand, under the lock */
    RmpEntry *entry;            /* host address of page 0's entry, or NULL */
    RmpSegment *segment;        /* RMP_SEGMENTS of them, if not */
    unsigned segment_shift;     /* pages per segment, as a power of 2 */
    uint64_t base;              /* RMP_BASE */
    uint64_t end;               /* RMP_END, inclusive; or the end of the RST */
    uint64_t pages;             /* end of coverage: GEOM-04 (APM2 15.36.4) */
    unsigned max_asid;          /* highest ASID an entry may carry */
    bool erratum_2m;            /* HOST-08 (Linux snp_safe_alloc_page_node()) */
    uint16_t *busy;             /* assigned or in use, pages by 2 MB; atomic */
    bool counted;               /* busy is right: since SNP_INIT; atomic */
    /*
     * RMPUPDATE-28 (APM2 15.34): the page's contents pass from one key
     * (rmp_key()) to another.  Called under the lock and before the entry
     * changes, so that the new owner never gets at what was written for the
     * old one.  NULL where there are no contents; set before the table is
     * shared.
     */
    void (*rekey)(struct Rmp *rmp, uint64_t spa, uint64_t size, unsigned from,
                  unsigned to);
} Rmp;

/*
 * A mark that a running guest's VMCB or VMSA page carries, INUSE-01 (APM2
 * 15.36.12).  It starts zeroed and must not move in memory while it is active.
 */
typedef struct RmpUse {
    uint64_t spa;
    uint64_t upper;             /* bits 63:52: RAW-07 (Linux get_rmpentry()) */
    bool active;
    struct RmpUse *next;
} RmpUse;

/*
 * What a guest instruction or access ended in, apart from a return code.
 * RMP_GUEST_NPF is #VMEXIT(NPF) with EXITINFO1.RMP; _SIZEM adds SIZEM;
 * RMP_GUEST_VC is #VC with error code 404h.
 */
typedef enum RmpVerdict {
    RMP_GUEST_OK,
    RMP_GUEST_NPF,
    RMP_GUEST_NPF_SIZEM,
    RMP_GUEST_VC,
} RmpVerdict;

/* Page states of the firmware ABI (FWPAGE-01..11) */
typedef enum RmpPageState {
    RMP_PAGE_DEFAULT,           /* not covered */
    RMP_PAGE_HYPERVISOR,
    RMP_PAGE_HV_FIXED,
    RMP_PAGE_RECLAIM,
    RMP_PAGE_FIRMWARE,
    RMP_PAGE_CONTEXT,
    RMP_PAGE_METADATA,
    RMP_PAGE_PRE_GUEST,
    RMP_PAGE_GUEST_INVALID,
    RMP_PAGE_GUEST_VALID,
    RMP_PAGE_PRE_SWAP,
    RMP_PAGE_TABLE,             /* the RMP's own: GEOM-07 (APM2 15.36.4) */
    RMP_PAGE_IN_USE,            /* of a running guest: true state is hidden */
} RmpPageState;

/* ---- geometry ---- */

/*
 * Take the table at @table (host address of RMP_BASE, 8-byte aligned) into
 * use.  @base and @end are the MSRs' values.  False, with @rmp untouched, if
 * they do not make a table (GEOM-01..03: APM2 15.36.4).
 */
bool rmp_setup(Rmp *rmp, void *table, uint64_t base, uint64_t end,
               unsigned max_asid, bool erratum_2m);
/*
 * The same for a segmented RMP: @rst is the table at @base behind the
 * bookkeeping, @shift the size of a segment as a power of 2 (RST-02, -03, -05:
 * APM2 15.36.22).  @host is the host address of so much RAM, or NULL.
 */
bool rmp_setup_segments(Rmp *rmp, const uint64_t *rst, uint64_t base,
                        unsigned shift, unsigned max_asid, bool erratum_2m,
                        void *(*host)(uint64_t spa, uint64_t size));
void rmp_destroy(Rmp *rmp);

/* GEOM-04, GEOM-05 (APM2 15.36.5, 15.36.10) */
static inline bool rmp_covered(const Rmp *rmp, uint64_t spa)
{
    const uint64_t page = spa >> 12;

    return page < rmp->pages &&
           (!rmp->segment ||
            (page & ((1ull << rmp->segment_shift) - 1)) <
            rmp->segment[page >> rmp->segment_shift].pages);
}

/*
 * One entry as a raw reader sees it: not followed to the 2 MB base, upper bits
 * all ones while in use (RAW-06: public crash log).  {0, 0} outside coverage.
 */
RmpEntry rmp_raw(const Rmp *rmp, uint64_t spa);

/* ---- instructions of the hypervisor ---- */

/*
 * RMPUPDATE after its operand was read (RMPUPDATE-04..24: APM3 RMPUPDATE, and
 * others).  Returns RMP_OK, _INPUT, _PERMISSION, _INUSE or _OVERLAP.  @changed
 * tells whether the table was written with new values, so that translations
 * must be dropped.
 */
int rmp_update(Rmp *rmp, uint64_t spa, const RmpState *state, bool *changed);

/*
 * PSMASH (PSMASH-02..07: APM2 15.36.11, and others): RMP_OK, _INPUT,
 * _PERMISSION, _INUSE or _BADADDR
 */
int rmp_smash(Rmp *rmp, uint64_t spa);

/*
 * RMPREAD (ARCH-01..03: APM3 RMPREAD, Linux 3e43c60eb3e3; RMPREAD-01: MSVC
 * intrinsics): RMP_OK or _INPUT
 */
int rmp_read(Rmp *rmp, uint64_t spa, RmpState *state);

/* ---- instructions of the guest ---- */

/*
 * The checks that come before translation.  @gva is the operand, @size_2m the
 * size asked for.  RMP_OK, _INPUT or _PERMISSION (PVALIDATE-02,
 * RMPADJUST-02..05: VeriSMo; RMPQUERY-01: MSVC intrinsics).  @rdx is
 * RMPADJUST's operand.
 */
int rmp_pvalidate_operands(uint64_t gva, bool size_2m);
int rmp_adjust_operands(uint64_t gva, bool size_2m, uint64_t rdx,
                        unsigned vmpl);
int rmp_query_operands(uint64_t target_vmpl, unsigned vmpl);

/*
 * The rest, on a page that translated as private to @spa through an NPT leaf
 * of @leaf_size bytes; a 2 MB request on what the guest itself maps with 4 KB
 * pages passes RMP_PAGE_4K (PVALIDATE-06: APM2 15.36.6).  The return code is
 * meaningful when *@verdict is RMP_GUEST_OK.
 *   PVALIDATE-04..11 (APM2 15.36.6, VeriSMo), PVALIDATE-13 (MSVC intrinsics):
 *     RMP_OK or _SIZEMISMATCH; @unchanged is CF.
 *   RMPADJUST-07..14 (APM2 15.36.11, VeriSMo): RMP_OK, _PERMISSION or
 *     _SIZEMISMATCH.
 *   RMPQUERY-01 (MSVC intrinsics): RMP_OK; @size_2m, @perms and @vmsa describe
 *     the page.
 */
int rmp_pvalidate(Rmp *rmp, uint64_t spa, uint64_t gpa, uint64_t leaf_size,
                  unsigned asid, bool size_2m, bool validate,
                  RmpVerdict *verdict, bool *unchanged);
int rmp_adjust(Rmp *rmp, uint64_t spa, uint64_t gpa, uint64_t leaf_size,
               unsigned asid, bool size_2m, uint64_t rdx, unsigned vmpl,
               RmpVerdict *verdict);
int rmp_query(Rmp *rmp, uint64_t spa, uint64_t gpa, uint64_t leaf_size,
              unsigned asid, unsigned target_vmpl, RmpVerdict *verdict,
              bool *size_2m, uint8_t *perms, bool *vmsa);

/* ---- checks of the access path; no lock taken ---- */

/*
 * CHK-HVOWN and CHK-USE (APM2 15.36.10): may a write through a leaf of
 * @leaf_size bytes reach @spa (HOST-01, HOST-03..08, NSNP-01, ACC-05)?  A
 * page-table read by the walker and its update of A and D bits ask with
 * RMP_PAGE_4K.
 */
bool rmp_hv_owned(const Rmp *rmp, uint64_t spa, uint64_t leaf_size);

/*
 * ACC-01..04, ACC-13, ACC-16, ACC-17, ACC-PGSZ, ACC-PGS2 (APM2 15.36.10): an
 * access of an SNP guest with an effective C-bit of 1.  RMP_GUEST_OK, _NPF or
 * _VC; with RMP_GUEST_OK, *@perms is the RMP_PERM_* mask of @vmpl, which the
 * caller holds against the kind of access (a violation is an NPF with VMPL).
 */
RmpVerdict rmp_check_private(const Rmp *rmp, uint64_t spa, uint64_t gpa,
                             uint64_t leaf_size, unsigned asid, unsigned vmpl,
                             uint8_t *perms);

/* ---- VMRUN and #VMEXIT ---- */

/*
 * The caller holds the lock from the check to the mark, so that no other
 * processor takes the page in between (INUSE-01, VMRUN-26: APM2 15.36.12).
 */
void rmp_lock(Rmp *rmp);
void rmp_unlock(Rmp *rmp);

/*
 * VMSA-01..09 (APM2 15.36.12): may a guest with @asid run on the VMSA page
 * @spa?  @snp_active is the VMSA's SEV_FEATURES[0].  NULL if so, else the ID of
 * the rule that refuses.  Lock held.
 */
const char *rmp_vmsa_refused(const Rmp *rmp, uint64_t spa, unsigned asid,
                             bool snp_active);

/*
 * Mark a page as in use (lock held), and take the mark off (takes the lock).
 * begin returns false and marks nothing if the page is in use already; a page
 * outside coverage is marked nowhere and succeeds.
 */
bool rmp_use_begin(Rmp *rmp, RmpUse *use, uint64_t spa);
void rmp_use_end(Rmp *rmp, RmpUse *use);

/* ---- contents ---- */

/*
 * ENC-01 (APM2 15.34): the ASID whose key the page's contents are under, 0 for
 * the host's.  A guest's once it may use the page: a Pre-Guest page is still
 * the host's plaintext, which LAUNCH_UPDATE encrypts in place.  Also of a page
 * in use.
 */
unsigned rmp_key(Rmp *rmp, uint64_t spa);
/* The same, lock held: who reads the contents as well must let no one rekey */
unsigned rmp_key_locked(const Rmp *rmp, uint64_t spa);

/* ---- firmware ---- */

/*
 * Page state of @spa (FWPAGE-01..11: ABI, page states); @size_2m as the RMP has
 * it.  This and the functions below take the lock.
 */
RmpPageState rmp_page_state(Rmp *rmp, uint64_t spa, bool *size_2m);

/*
 * SNP_INIT with INIT_RMP: GEOM-07 (APM2 15.36.4), GEOM-08 (Linux
 * __snp_fixup_e820_tables()), FWCMD-01 (ABI SNP_INIT).  No guest may be running
 * (FWCMD-01 wants VM_HSAVE_PA = 0 on every processor): marks are wiped.
 */
void rmp_fw_init(Rmp *rmp);
/* The end of that: the hypervisor can write the table again */
void rmp_fw_end(Rmp *rmp);

/*
 * Move one 4 KB page from state @from to state @to; false and no change if it
 * is not a 4 KB page in state @from.  Legal moves: HYPERVISOR to HV_FIXED or
 * FIRMWARE; FIRMWARE to CONTEXT or RECLAIM; CONTEXT to FIRMWARE; METADATA to
 * RECLAIM; PRE_GUEST to GUEST_INVALID; PRE_SWAP to GUEST_VALID; RECLAIM or
 * FIRMWARE to HYPERVISOR (SNP_SHUTDOWN).  GUEST_* keep GPA and ASID.
 */
bool rmp_fw_move(Rmp *rmp, uint64_t spa, RmpPageState from, RmpPageState to);

/*
 * FWCMD-17 (ABI SNP_PAGE_RECLAIM) of a page of the given size.  RMP_OK,
 * RMP_FAIL_SIZEMISMATCH, or RMP_FAIL_PERMISSION for a page that is in no
 * state to be reclaimed, or in use.
 */
int rmp_fw_reclaim(Rmp *rmp, uint64_t spa, bool size_2m);

/*
 * FWCMD-11, FWCMD-12 (ABI SNP_LAUNCH_UPDATE), the effect on the entry: a
 * Pre-Guest page of @asid becomes Guest-Valid, with the VMSA bit if @vmsa;
 * @perms holds the masks of VMPL1..3.  RMP_OK; RMP_FAIL_PERMISSION if not
 * Pre-Guest; RMP_FAIL_INPUT if another ASID's; RMP_FAIL_SIZEMISMATCH.
 */
int rmp_fw_launch_update(Rmp *rmp, uint64_t spa, unsigned asid, bool size_2m,
                         bool vmsa, const uint8_t perms[3]);

/*
 * FWCMD-10 (ABI SNP_ACTIVATE): how many 4 KB pages are assigned to @asid, or to
 * whichever guest if that is 0.  *@first is the address of the lowest, if any.
 */
uint64_t rmp_asid_pages(Rmp *rmp, unsigned asid, uint64_t *first);

#endif
