/*
 * The emulated SEV-SNP host: one object that switches the emulation on and
 * holds what processors, firmware and IOMMU share.
 *
 * Rules and what is not modelled: docs/system/i386/amd-snp-host.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "migration/blocker.h"
#include "system/reset.h"
#include "system/system.h"
#include "system/tcg.h"
#include "qemu/lockable.h"
#include "qemu/bitmap.h"
#include "exec/cputlb.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#include "hw/boards.h"
#include "hw/i386/apic_internal.h"
#include "hw/i386/e820_memory_layout.h"
#include "hw/i386/pc.h"
#include "hw/qdev-core.h"
#include "hw/nvram/fw_cfg.h"
#include "cpu.h"
#include "exec/target_page.h"
#include "accel/tcg/tcg-sched.h"
#include "snp_host.h"
#include "snp_msr.h"

#define SNP_CBIT            51
/* CPUID-02 (APM3 E, 8000_001F): values of a Milan part */
#define SNP_MAX_ASID        509
#define SNP_MOST_ASIDS      0x3ff   /* RAW-01 (PPR, family 19h) */
#define SNP_ASIDS           99      /* ... of these for SEV-ES and SNP guests */
#define SNP_MAX_CPUS        4096

struct SnpHost {
    Object parent_obj;

    /* properties */
    uint64_t rmp_base_wanted;
    bool erratum_2m;
    bool sme;
    uint32_t pa_reduction;
    uint32_t snp_asids;
    uint32_t max_asid;
    uint32_t contention;
    uint32_t segment_shift;     /* 0: an RMP in one piece */
    SnpStale stale;

    uint64_t rmp_base;
    uint64_t rmp_end;
    uint64_t ram_top;

    QemuMutex lock;             /* SNP_EN on several processors at once */
    Rmp rmp;
    uint64_t rmp_cfg;           /* of that RMP */
    uint64_t random;            /* lock; for contention= */
    uint8_t contended[256];     /* lock; how often in a row, by page */
    bool rmp_ready;             /* read without the lock; set once, with it */
    MemoryRegion cipher;        /* reads as ciphertext */
    uint32_t key[SNP_MOST_ASIDS + 1];   /* ACTIVATE changes it; atomic */
    QemuMutex tag_lock;         /* taken after Rmp.lock */
    uint16_t *tag;              /* by page, see snp_host_key(); atomic */
    uint64_t tag_pages;
    unsigned long *asid_active;     /* bitmap, atomic */
    unsigned long *wbinvd_wanted;   /* bitmap by cpu_index, atomic */
    SnpTlbHost *tlb;            /* atomic; NULL with stale=off */
    Error *migration_blocker;
    IOMMUMemoryRegion dma;
    AddressSpace dma_as;
    Notifier machine_done;
};

SnpHost *snp_host_get(void)
{
    Object *machine = object_dynamic_cast(OBJECT(current_machine),
                                          TYPE_X86_MACHINE);

    return machine ? X86_MACHINE(machine)->snp_host : NULL;
}

Rmp *snp_host_rmp(SnpHost *s)
{
    return s && qatomic_load_acquire(&s->rmp_ready) ? &s->rmp : NULL;
}

unsigned snp_host_cbit(void)
{
    return SNP_CBIT;
}

unsigned snp_host_max_asid(SnpHost *s)
{
    return s->max_asid;
}

unsigned snp_host_min_sev_asid(SnpHost *s)
{
    return s->snp_asids + 1;
}

/* The host address of so much RAM, or NULL */
static void *ram_at(uint64_t spa, uint64_t size)
{
    MemoryRegion *mr;
    hwaddr xlat, len = size;

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(&address_space_memory, spa, &xlat, &len, true,
                                 MEMTXATTRS_UNSPECIFIED);
    if (!memory_region_is_ram(mr) || memory_region_is_rom(mr) || len < size) {
        return NULL;
    }
    return memory_region_get_ram_ptr(mr) + xlat;
}

void *snp_host_page(uint64_t spa)
{
    return ram_at(spa & TARGET_PAGE_MASK, TARGET_PAGE_SIZE);
}

static void flush_tlbs(CPUState *cpu, run_on_cpu_data data)
{
    CPUState *cs;

    CPU_FOREACH(cs) {
        tlb_flush(cs);
    }
}

/* A TLB changes while its CPU stands still, also from the main loop's thread */
static void run_stopped(run_on_cpu_func func, run_on_cpu_data data)
{
    CPUState *cs = current_cpu ? current_cpu : first_cpu;

    async_safe_run_on_cpu(cs, func, data);
}

static void flush_translations(void)
{
    /*
     * At the end of the running translation block, while no other processor
     * executes anything.  A processor that reads the old RMP entry at this
     * moment installs its translation before it stops for that, so the stale
     * entry does not outlive the instruction either.  One that sleeps need not
     * wake up for it, as it would with tlb_flush_all_cpus_synced().
     */
    if (current_cpu) {
        tcg_sched_point(current_cpu, TCG_SCHED_TLB, 0);
    }
    run_stopped(flush_tlbs, RUN_ON_CPU_NULL);
}

/*
 * Word @i of the pseudo-random pad for (ASID, its activation, page at @spa), by
 * splitmix64
 */
static uint64_t pad_word(SnpHost *s, uint64_t spa, unsigned asid, unsigned i)
{
    const uint64_t key = qatomic_read(&s->key[asid]) *
                         0xd6e8feb86659fd93ull;
    uint64_t z = ((uint64_t)asid << 52 ^ key ^ spa) *
                 0x9e3779b97f4a7c15ull +
                 (i + 1) * 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void apply_pad(SnpHost *s, uint64_t *page, uint64_t spa, unsigned asid)
{
    if (!asid) {
        return;
    }
    for (unsigned i = 0; i < TARGET_PAGE_SIZE / sizeof(*page); i++) {
        page[i] ^= pad_word(s, spa, asid, i);
    }
}

static uint8_t pad_byte(SnpHost *s, uint64_t spa, unsigned asid, unsigned at)
{
    return asid ? pad_word(s, spa, asid, at / 8) >> at % 8 * 8 : 0;
}

/* ---- SEV and SEV-ES guests' pages: no RMP tells of them ---- */

/* ENC-04 (APM2 15.34); NULL beyond RAM */
static uint16_t *tag_at(SnpHost *s, uint64_t spa)
{
    return spa / TARGET_PAGE_SIZE < s->tag_pages ?
           &s->tag[spa / TARGET_PAGE_SIZE] : NULL;
}

static unsigned tag_of(SnpHost *s, uint64_t spa)
{
    const uint16_t *tag = tag_at(s, spa);

    return tag ? qatomic_read(tag) : 0;
}

unsigned snp_host_key(SnpHost *s, Rmp *rmp, uint64_t spa)
{
    unsigned key = rmp ? rmp_key(rmp, spa) : 0;

    return key ? key : tag_of(s, spa);
}

/* What is in memory stays as it is for everybody.  @tag_lock held. */
static bool retag(SnpHost *s, uint64_t spa, unsigned key)
{
    uint16_t *tag = tag_at(s, spa);
    uint64_t *page;

    if (!tag || *tag == key) {
        return false;
    }
    page = snp_host_page(spa);
    if (!page) {
        return false;
    }
    spa &= TARGET_PAGE_MASK;
    apply_pad(s, page, spa, *tag);
    apply_pad(s, page, spa, key);
    qatomic_set(tag, key);
    return true;
}

/* True if translations are to be flushed for it */
static bool take_page(SnpHost *s, uint64_t spa, unsigned key)
{
    bool taken;

    if (tag_of(s, spa) == key) {
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&s->tag_lock) {
        taken = retag(s, spa, key);
    }
    if (taken) {
        snp_host_contents_changed(spa & TARGET_PAGE_MASK, TARGET_PAGE_SIZE);
    }
    return taken;
}

void snp_host_take_page(SnpHost *s, uint64_t spa, unsigned key)
{
    if (take_page(s, spa, key)) {
        flush_translations();
    }
}

void snp_host_drop_key(SnpHost *s, unsigned asid)
{
    bool taken = false;

    for (uint64_t i = 0; i < s->tag_pages; i++) {
        const unsigned tag = tag_of(s, i * TARGET_PAGE_SIZE);

        if (tag && (!asid || tag == asid)) {
            taken |= take_page(s, i * TARGET_PAGE_SIZE, 0);
        }
    }
    if (taken) {
        flush_translations();
    }
}

/* ---- ciphertext, for who has not the key ---- */

/*
 * Memory holds plaintext under its owner's key, so that the owner's accesses
 * cost nothing.  Everybody else's translation of such a page leads here, to a
 * window on all of memory above what a processor can address, where each read
 * applies the owner's pad and the reader's.
 */
#define CIPHER_WINDOW       (1ull << 51)
#define CIPHER_KEY_SHIFT    40          /* RAM ends below that */
#define CIPHER_SIZE         (1ull << (CIPHER_KEY_SHIFT + 10))

static uint64_t cipher_read(void *opaque, hwaddr addr, unsigned size)
{
    SnpHost *s = opaque;
    const uint64_t page = extract64(addr, 0, CIPHER_KEY_SHIFT) &
                          TARGET_PAGE_MASK;
    const unsigned reader = addr >> CIPHER_KEY_SHIFT;
    const unsigned offset = addr & ~TARGET_PAGE_MASK;
    const uint8_t *plain = snp_host_page(page);
    Rmp *rmp = snp_host_rmp(s);
    unsigned asid = 0;
    uint64_t value = 0;

    /* Key and contents that belong together: see Rmp.rekey, retag() */
    if (rmp) {
        rmp_lock(rmp);
        asid = rmp_key_locked(rmp, page);
    }
    qemu_mutex_lock(&s->tag_lock);
    asid = asid ? asid : tag_of(s, page);
    for (unsigned i = 0; plain && i < size; i++) {
        unsigned at = (offset + i) % TARGET_PAGE_SIZE;
        uint8_t byte = qatomic_read(plain + at);

        if (asid != reader) {
            byte ^= pad_byte(s, page, asid, at) ^
                    pad_byte(s, page, reader, at);
        }
        value |= (uint64_t)byte << 8 * i;
    }
    qemu_mutex_unlock(&s->tag_lock);
    if (rmp) {
        rmp_unlock(rmp);
    }
    return value;
}

/* No translation to here is writable */
static void cipher_write(void *opaque, hwaddr addr, uint64_t data,
                         unsigned size)
{
}

static const MemoryRegionOps cipher_ops = {
    .read = cipher_read,
    .write = cipher_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

uint64_t snp_host_ciphertext(uint64_t spa, unsigned reader)
{
    return CIPHER_WINDOW | (uint64_t)reader << CIPHER_KEY_SHIFT | spa;
}

void snp_host_see(SnpHost *s, void *buf, uint64_t spa, unsigned len,
                  unsigned reader)
{
    const unsigned asid = tag_of(s, spa);
    uint8_t *byte = buf;

    for (unsigned i = 0; asid != reader && i < len; i++) {
        const unsigned at = (spa + i) & ~TARGET_PAGE_MASK;

        byte[i] ^= pad_byte(s, spa & TARGET_PAGE_MASK, asid, at) ^
                   pad_byte(s, spa & TARGET_PAGE_MASK, reader, at);
    }
}

bool snp_host_dma_allowed(Rmp *rmp, uint64_t spa)
{
    return spa < CIPHER_WINDOW &&
           (!rmp || rmp_hv_owned(rmp, spa, RMP_PAGE_4K));
}

uint64_t snp_host_dma(SnpHost *s, uint64_t spa, bool write)
{
    if (!tag_of(s, spa)) {
        return spa;
    }
    if (!write) {
        return snp_host_ciphertext(spa, 0);
    }
    snp_host_take_page(s, spa, 0);
    return spa;
}

void snp_host_new_key(SnpHost *s, unsigned asid, bool may_have_pages)
{
    Rmp *rmp = snp_host_rmp(s);

    qatomic_inc(&s->key[asid]);
    if (!may_have_pages) {
        return;
    }
    /* Garbage under any key; the pad of ASID 0 is for this alone */
    qatomic_inc(&s->key[0]);
    for (uint64_t i = 0; i < s->tag_pages; i++) {
        const uint64_t spa = i * TARGET_PAGE_SIZE;
        uint64_t *page;

        if (snp_host_key(s, rmp, spa) != asid) {
            continue;
        }
        page = snp_host_page(spa);
        for (unsigned j = 0; page && j < TARGET_PAGE_SIZE / sizeof(*page);
             j++) {
            page[j] ^= pad_word(s, spa, 0, j);
        }
        snp_host_contents_changed(spa, TARGET_PAGE_SIZE);
    }
}

static void change_key(Rmp *rmp, uint64_t spa, uint64_t size, unsigned from,
                       unsigned to)
{
    SnpHost *s = container_of(rmp, SnpHost, rmp);

    if (from == to) {
        return;
    }
    QEMU_LOCK_GUARD(&s->tag_lock);
    for (uint64_t end = spa + size; spa < end; spa += TARGET_PAGE_SIZE) {
        uint64_t *page = snp_host_page(spa);
        uint16_t *tag = tag_at(s, spa);

        if (tag && from && *tag == from) {
            /* The entry says the same: see tag_pages() */
            qatomic_set(tag, 0);
        } else {
            retag(s, spa, 0);
        }
        if (page) {
            apply_pad(s, page, spa, from);
            apply_pad(s, page, spa, to);
        }
    }
}

void snp_host_forget_keys(SnpHost *s)
{
    Rmp *rmp = &s->rmp;

    for (uint64_t page = 0; page < rmp->pages; page++) {
        const uint64_t spa = page * RMP_PAGE_4K;

        if (rmp_raw(rmp, spa).lo & RMP_LO_ASSIGNED) {
            snp_host_change_key(s, spa, RMP_PAGE_4K, rmp_key(rmp, spa), 0);
        }
    }
    /* Entries may stay in memory: by them, too, it is garbage */
    for (unsigned i = 1; i <= SNP_MOST_ASIDS; i++) {
        qatomic_inc(&s->key[i]);
    }
}

bool snp_host_contended(SnpHost *s, uint64_t spa, bool may_overlap, int *rc)
{
    uint8_t *n = &s->contended[spa / RMP_PAGE_4K % ARRAY_SIZE(s->contended)];

    if (!s->contention) {
        return false;
    }
    QEMU_LOCK_GUARD(&s->lock);
    s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
    if (s->random >> 33 >= (1ull << 31) / s->contention || *n == 3) {
        *n = 0;
        return false;
    }
    *n += 1;
    *rc = may_overlap && (s->random >> 32 & 1) ? RMP_FAIL_OVERLAP :
                                                 RMP_FAIL_INUSE;
    return true;
}

void snp_host_set_asid(SnpHost *s, unsigned asid, bool active)
{
    if (active) {
        set_bit_atomic(asid, s->asid_active);
    } else {
        clear_bit_atomic(asid, s->asid_active);
    }
}

bool snp_host_asid_active(SnpHost *s, unsigned asid)
{
    return test_bit(asid, s->asid_active);
}

void snp_host_contents_changed(uint64_t spa, uint64_t size)
{
    for (uint64_t end = spa + size; spa < end; spa += TARGET_PAGE_SIZE) {
        hwaddr len = TARGET_PAGE_SIZE;
        void *page;

        if (!snp_host_page(spa)) {
            continue;
        }
        page = address_space_map(&address_space_memory, spa, &len, true,
                                 MEMTXATTRS_UNSPECIFIED);
        if (page) {
            address_space_unmap(&address_space_memory, page, len, true, len);
        }
    }
}

void snp_host_change_key(SnpHost *s, uint64_t spa, uint64_t size,
                         unsigned from, unsigned to)
{
    change_key(&s->rmp, spa, size, from, to);
    if (from != to) {
        snp_host_contents_changed(spa, size);
    }
}

void snp_host_flush_tlbs(SnpHost *s, uint64_t spa, uint64_t size)
{
    snp_tlb_rmp_changed(s->tlb, spa, size);
    flush_translations();
}

/* ---- WBINVD bookkeeping, FWCMD-07 (ABI SNP_DF_FLUSH) ---- */

void snp_host_mark_cores(SnpHost *s)
{
    CPUState *cs;

    CPU_FOREACH(cs) {
        set_bit_atomic(cs->cpu_index, s->wbinvd_wanted);
    }
}

bool snp_host_wbinvd_pending(SnpHost *s)
{
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (test_bit(cs->cpu_index, s->wbinvd_wanted)) {
            return true;
        }
    }
    return false;
}

void snp_host_wbinvd(SnpHost *s, unsigned cpu_index)
{
    clear_bit_atomic(cpu_index, s->wbinvd_wanted);
}

/* ---- SNP_EN ---- */

/*
 * A processor sets SYSCFG.SNP_EN.  Every processor must name the same table
 * (GEOM-01: APM2 15.36.4).  NULL if the MSRs do not describe one.
 */
Rmp *snp_host_enable(SnpHost *s, uint64_t rmp_base, uint64_t rmp_end,
                     uint64_t rmp_cfg)
{
    const bool segmented = rmp_cfg & RMP_CFG_SEGMENTED;
    uint64_t rst[RMP_SEGMENTS];
    void *table;

    QEMU_LOCK_GUARD(&s->lock);
    if (s->rmp_ready) {
        return s->rmp.base == rmp_base && s->rmp_cfg == rmp_cfg &&
               (segmented || s->rmp.end == rmp_end) ? &s->rmp : NULL;
    }
    if (segmented) {
        table = ram_at(rmp_base, RMP_BOOKKEEPING_SIZE + RMP_RST_SIZE);
        if (!table) {
            return NULL;
        }
        /*
         * RST-02, RST-04 (APM2 15.36.22): read once, as by a processor that
         * holds all of it
         */
        memcpy(rst, table + RMP_BOOKKEEPING_SIZE, sizeof(rst));
        if (!rmp_setup_segments(&s->rmp, rst, rmp_base,
                                extract64(rmp_cfg, 8, 6), s->max_asid,
                                s->erratum_2m, ram_at)) {
            return NULL;
        }
    } else {
        table = rmp_end > rmp_base ?
                ram_at(rmp_base, rmp_end + 1 - rmp_base) : NULL;
        if (!table || !rmp_setup(&s->rmp, table, rmp_base, rmp_end,
                                 s->max_asid, s->erratum_2m)) {
            return NULL;
        }
    }
    /* Its contents are software's to clear: GEOM-06 (APM2 15.36.4) */
    s->rmp_cfg = rmp_cfg;
    s->rmp.rekey = change_key;
    qatomic_store_release(&s->rmp_ready, true);
    return &s->rmp;
}

/*
 * RST-02 (APM2 15.36.22): what a BIOS leaves behind.  The last segment comes
 * first, so that who does not follow the table is noticed.
 */
static void write_rst(SnpHost *s)
{
    const uint64_t segment = 1ull << s->segment_shift;
    uint64_t spa = s->rmp_base + MiB;

    for (int i = RMP_SEGMENTS - 1; i >= 0; i--) {
        const uint64_t from = i * segment;
        uint64_t gib = 0, entry;

        if (from < s->ram_top) {
            gib = DIV_ROUND_UP(MIN(s->ram_top - from, segment), GiB);
        }
        entry = cpu_to_le64(gib ? spa | gib : 0);
        address_space_write(&address_space_memory, s->rmp_base +
                            RMP_BOOKKEEPING_SIZE + i * sizeof(entry),
                            MEMTXATTRS_UNSPECIFIED, &entry, sizeof(entry));
        spa += (gib * GiB >> 12) * sizeof(RmpEntry);
    }
}

static void drop_marks(CPUX86State *env)
{
    if (env->snp.rmp) {
        rmp_use_end(env->snp.rmp, &env->snp.vmsa_use);
        rmp_use_end(env->snp.rmp, &env->snp.vmcb_use);
    }
}

void snp_guest_end(CPUX86State *env)
{
    drop_marks(env);
    env->snp.kind = 0;
    env->snp.guest = 0;
    env->snp.cbit = 0;
    env->snp.vmsa = 0;
}

void snp_cpu_reset(CPUX86State *env)
{
    snp_guest_end(env);
    snp_tlb_reset(env);
}

static void snp_cpu_disable(CPUState *cs)
{
    CPUX86State *env = cpu_env(cs);

    /* A guest may be inside: what it holds goes while there is a table */
    drop_marks(env);
    env->snp.syscfg &= ~(SYSCFG_SNP_EN | SYSCFG_VMPL_EN);
    env->snp.rmp = NULL;
    tlb_flush(cs);
}

/* No table tells any more whose a page is: from here on its tag does */
static void tag_pages(SnpHost *s)
{
    rmp_lock(&s->rmp);
    WITH_QEMU_LOCK_GUARD(&s->tag_lock) {
        for (uint64_t i = 0; i < s->tag_pages; i++) {
            const unsigned key = rmp_key_locked(&s->rmp, i * RMP_PAGE_4K);

            if (key) {
                qatomic_set(&s->tag[i], key);
            }
        }
    }
    rmp_unlock(&s->rmp);
}

static void disable_all(CPUState *cpu, run_on_cpu_data data)
{
    CPUState *cs;

    tag_pages(data.host_ptr);
    CPU_FOREACH(cs) {
        snp_cpu_disable(cs);
    }
}

void snp_host_disable(SnpHost *s)
{
    rmp_fw_end(&s->rmp);

    /*
     * While no processor executes anything, and before the one that gave the
     * command can read the answer, which takes another access to the device.
     * The Rmp itself stays set up: the next SNP_EN finds it again.
     */
    run_stopped(disable_all, RUN_ON_CPU_HOST_PTR(s));
}

bool snp_host_ready_for_init(const char **why)
{
    CPUState *cs;

    CPU_FOREACH(cs) {
        CPUX86State *env = cpu_env(cs);
        uint64_t syscfg = qatomic_read(&env->snp.syscfg);

        if (!(syscfg & SYSCFG_SMEE)) {
            *why = "SYSCFG.MemEncryptionModEn is 0 on a processor";
        } else if (!(syscfg & SYSCFG_SNP_EN)) {
            *why = "SYSCFG.SecureNestedPagingEn is 0 on a processor";
        } else if (!(syscfg & SYSCFG_VMPL_EN)) {
            *why = "SYSCFG.VMPLEn is 0 on a processor";
        } else if (!(syscfg & SYSCFG_MFDM)) {
            /* SYSCFG-08 (ABI SNP_INIT) */
            *why = "SYSCFG.MtrrFixDramModEn is 0 on a processor";
        } else if (qatomic_read(&env->vm_hsave)) {
            *why = "VM_HSAVE_PA is not 0 on a processor";
        } else if (!(qatomic_read(&env->snp.hwcr) & HWCR_SMM_LOCK)) {
            *why = "HWCR.SmmLock is 0 on a processor";
        } else {
            continue;
        }
        return false;
    }
    return true;
}

/* ---- the RMP's place in memory ---- */

void snp_host_reserve_rmp(SnpHost *s, uint64_t below_4g_size,
                          uint64_t above_4g_end, Error **errp)
{
    /* GEOM-12 (Linux setup_contiguous_rmptable()): all of RAM is covered */
    uint64_t top = above_4g_end ? above_4g_end : below_4g_size;
    /* GEOM-02 (APM2 15.36.4): the firmware wants 1 MB granularity */
    uint64_t size = ROUND_UP((top >> 12) * sizeof(RmpEntry) +
                             RMP_BOOKKEEPING_SIZE, MiB);

    if (!s) {
        return;
    }
    if (current_machine->maxram_size > current_machine->ram_size) {
        error_setg(errp, "x-snp-host: memory cannot be plugged in: use -m "
                   "without maxmem");
        return;
    }
    if (top > 1ull << CIPHER_KEY_SHIFT) {
        error_setg(errp, "x-snp-host: memory has to end at 1 TiB or below");
        return;
    }
    if (s->segment_shift) {
        /* RST-02 (APM2 15.36.22): segments cover GiBs */
        size = MiB + (ROUND_UP(top, GiB) >> 12) * sizeof(RmpEntry);
        if (top > (uint64_t)RMP_SEGMENTS << s->segment_shift) {
            error_setg(errp, "x-snp-host: %u segments of the RMP do not cover "
                       "the memory; set a larger rmp-segment", RMP_SEGMENTS);
            return;
        }
    }
    /*
     * SeaBIOS, ACPI tables and the initrd live at the top of low memory, the
     * kernel at the bottom: the middle is free.
     */
    s->rmp_base = s->rmp_base_wanted ? s->rmp_base_wanted :
                  QEMU_ALIGN_DOWN(below_4g_size / 2, 2 * MiB);
    s->rmp_end = s->rmp_base + size - 1;
    if (s->rmp_base % MiB || s->rmp_base < 16 * MiB ||
        s->rmp_end >= below_4g_size) {
        error_setg(errp, "x-snp-host: an RMP of %" PRIu64 " MiB does not fit "
                   "at 0x%" PRIx64 "; set rmp-base to a 1 MiB boundary in RAM "
                   "below 4 GiB, or give the machine more memory (-m)",
                   size / MiB, s->rmp_base);
        return;
    }
    e820_add_entry(s->rmp_base, size, E820_RESERVED);
    s->ram_top = top;
    s->tag_pages = top / TARGET_PAGE_SIZE;
    s->tag = g_new0(uint16_t, s->tag_pages);
    memory_region_init_io(&s->cipher, OBJECT(s), &cipher_ops, s,
                          "snp-ciphertext", CIPHER_SIZE);
    memory_region_add_subregion(get_system_memory(), CIPHER_WINDOW, &s->cipher);
}

/* ---- DMA of what no IOMMU is in front of ---- */

#define TYPE_SNP_HOST_DMA "snp-host-dma"

/* DMA-04 (strict choice) */
static IOMMUTLBEntry snp_dma_translate(IOMMUMemoryRegion *mr, hwaddr addr,
                                       IOMMUAccessFlags flag, int idx)
{
    const hwaddr page = addr & TARGET_PAGE_MASK;
    SnpHost *s = container_of(mr, SnpHost, dma);
    Rmp *rmp = snp_host_rmp(s);

    return (IOMMUTLBEntry) {
        .target_as = &address_space_memory,
        .iova = page,
        .translated_addr = snp_host_dma(s, page, flag & IOMMU_WO),
        .addr_mask = ~TARGET_PAGE_MASK,
        .perm = snp_host_dma_allowed(rmp, page) ? IOMMU_RW : IOMMU_NONE,
    };
}

static void snp_dma_class_init(ObjectClass *oc, const void *data)
{
    IOMMU_MEMORY_REGION_CLASS(oc)->translate = snp_dma_translate;
}

static const TypeInfo snp_dma_info = {
    .name = TYPE_SNP_HOST_DMA,
    .parent = TYPE_IOMMU_MEMORY_REGION,
    .class_init = snp_dma_class_init,
};

static void snp_host_machine_done(Notifier *n, void *data)
{
    SnpHost *s = container_of(n, SnpHost, machine_done);
    FWCfgState *fw_cfg = fw_cfg_find();

    if (fw_cfg && fw_cfg->dma_as) {
        memory_region_init_iommu(&s->dma, sizeof(s->dma), TYPE_SNP_HOST_DMA,
                                 OBJECT(s), TYPE_SNP_HOST_DMA, UINT64_MAX);
        address_space_init(&s->dma_as, MEMORY_REGION(&s->dma),
                           TYPE_SNP_HOST_DMA);
        fw_cfg->dma_as = &s->dma_as;
    }
}

/* ---- what cpu.c asks ---- */

/*
 * CPUID-01 (APM3 E, 8000_001F): SME is told of on request; RMPREAD-02 (Linux
 * since 6.14): Zen 5 has it
 */
#define SNP_CPU_SEV \
    (CPUID_8000_001F_EAX_SEV | CPUID_8000_001F_EAX_PAGE_FLUSH | \
     CPUID_8000_001F_EAX_SEV_ES | CPUID_8000_001F_EAX_SEV_SNP | \
     CPUID_8000_001F_EAX_VMPL | CPUID_8000_001F_EAX_COHERENT | \
     CPUID_8000_001F_EAX_HOST_64)

/* What KVM wants before it offers SEV */
#define SNP_CPU_SVM \
    (CPUID_SVM_LBRV | CPUID_SVM_NRIPSAVE | CPUID_SVM_FLUSHASID | \
     CPUID_SVM_DECODEASSIST)

uint64_t snp_cpu_supported(unsigned word)
{
    SnpHost *s = snp_host_get();

    if (!s) {
        return 0;
    }
    switch (word) {
    case FEAT_SVM:
        return SNP_CPU_SVM;
    case FEAT_8000_0007_EDX:
        return CPUID_APM_INVTSC;        /* CPUID-07 (APM3 E, 8000_0007) */
    case FEAT_8000_001F_EAX:
        return SNP_CPU_SEV | CPUID_8000_001F_EAX_RMPQUERY |
               CPUID_8000_001F_EAX_RMPREAD |
               (s->segment_shift ? CPUID_8000_001F_EAX_SEG_RMP : 0) |
               (s->sme ? CPUID_8000_001F_EAX_SME : 0);
    default:
        return 0;
    }
}

void snp_cpu_expand_features(CPUX86State *env)
{
    const unsigned family = extract32(env->cpuid_version, 8, 4) +
                            extract32(env->cpuid_version, 20, 8);
    uint64_t sev = snp_cpu_supported(FEAT_8000_001F_EAX);

    if (family < 0x1a) {
        sev &= ~CPUID_8000_001F_EAX_RMPREAD;
    }
    env->features[FEAT_8000_001F_EAX] |=
        sev & ~env->user_features[FEAT_8000_001F_EAX];
    env->features[FEAT_8000_0007_EDX] |=
        snp_cpu_supported(FEAT_8000_0007_EDX) &
        ~env->user_features[FEAT_8000_0007_EDX];
}

void snp_cpu_cpuid(CPUX86State *env, uint32_t leaf, uint32_t *eax,
                   uint32_t *ebx, uint32_t *ecx, uint32_t *edx)
{
    SnpHost *s = env->snp.host;

    if (!s) {
        return;
    }
    switch (leaf) {
    case 0x8000000A:
        /* CPUID-04 (APM3 E, 8000_001F): at least as many as ECX */
        *ebx = SNP_SVM_ASIDS;
        break;
    case 0x8000001F:
        *eax = env->features[FEAT_8000_001F_EAX];
        *ebx = SNP_CBIT | (s->pa_reduction << 6) | (RMP_NR_VMPL << 12);
        *ecx = snp_host_max_asid(s);
        *edx = snp_host_min_sev_asid(s);
        break;
    case 0x80000025:
        /*
         * CPUID-08 (APM3 E, 8000_0025): sizes of segments; a hard limit of
         * their number
         */
        if (s->segment_shift) {
            *eax = RMP_SEGMENT_SHIFT_MIN | RMP_SEGMENT_SHIFT_MAX << 6;
            *ebx = RMP_SEGMENTS | BIT(10);
        }
        break;
    }
}

uint32_t snp_cpu_xlevel(CPUX86State *env)
{
    return env->features[FEAT_8000_001F_EAX] & CPUID_8000_001F_EAX_SEG_RMP ?
           0x80000025 : 0x8000001F;
}

unsigned snp_host_segment_shift(SnpHost *s)
{
    return s->segment_shift;
}

uint32_t snp_host_cpuid(uint32_t eax_in, uint32_t ecx_in, unsigned reg)
{
    /*
     * The VMM chooses what follows from CR4, and the hypervisor bit.  Every SNP
     * processor has x2APIC, whatever this one is told to have.
     */
    static const struct {
        uint32_t eax_in;
        unsigned reg;
        uint32_t chosen;
    } features[] = {
        { 1, 2, CPUID_EXT_HYPERVISOR | CPUID_EXT_OSXSAVE | CPUID_EXT_X2APIC },
        { 1, 3 },
        { 7, 1 },
        { 7, 2, CPUID_7_0_ECX_OSPKE },
        { 7, 3 },
        { 0x80000001, 2 },
        { 0x80000001, 3 },
        { 0x80000008, 1 },
    };
    uint32_t allowed = UINT32_MAX, host[4];
    CPUState *cs;

    for (unsigned i = 0; i < ARRAY_SIZE(features) && !ecx_in; i++) {
        if (features[i].eax_in == eax_in && features[i].reg == reg) {
            CPU_FOREACH(cs) {
                cpu_x86_cpuid(cpu_env(cs), eax_in, 0, &host[0], &host[1],
                              &host[2], &host[3]);
                allowed &= host[reg] | features[i].chosen;
            }
        }
    }
    return allowed;
}

unsigned snp_spa_bits(CPUX86State *env)
{
    return env_archcpu(env)->phys_bits - env->snp.pa_reduction;
}

unsigned snp_pa_bits(CPUX86State *env)
{
    return env->hflags & HF_GUEST_MASK ? env_archcpu(env)->phys_bits :
           snp_spa_bits(env);
}

void snp_cpu_unrealize(CPUX86State *env)
{
    if (snp_cpu_enabled(env)) {
        snp_guest_end(env);
        g_free(env->snp.tlb);
        env->snp.tlb = NULL;
    }
}

bool snp_cpu_realize(CPUX86State *env, Error **errp)
{
    const uint64_t svm = CPUID_SVM_NPT | SNP_CPU_SVM;
    SnpHost *s = snp_host_get();

    if (!s) {
        return true;
    }
    if (!tcg_enabled()) {
        error_setg(errp, "x-snp-host emulates a processor: use -accel tcg");
        return false;
    }
    if (TARGET_LONG_BITS != 64 ||
        !(env->features[FEAT_8000_0001_ECX] & CPUID_EXT3_SVM) ||
        (env->features[FEAT_SVM] & svm) != svm ||
        !(env->features[FEAT_8000_0001_EDX] & CPUID_EXT2_LM)) {
        error_setg(errp, "x-snp-host needs a 64-bit CPU with SVM: add "
                   "+svm,+npt,+lbrv,+nrip-save,+flushbyasid,+decodeassists "
                   "to -cpu");
        return false;
    }
    if ((env->features[FEAT_8000_001F_EAX] & SNP_CPU_SEV) != SNP_CPU_SEV) {
        error_setg(errp, "x-snp-host: of CPUID 8000_001F, -cpu can be "
                   "without sme, rmpquery and rmpread, no more");
        return false;
    }
    if (DEVICE(env_archcpu(env))->hotplugged) {
        error_setg(errp, "x-snp-host: a processor is there from the start");
        return false;
    }
    env->snp.pa_reduction = s->pa_reduction;
    if (snp_spa_bits(env) > SNP_CBIT) {
        error_setg(errp, "x-snp-host: the C-bit is bit %d, so -cpu needs "
                   "phys-bits=%d or less", SNP_CBIT,
                   SNP_CBIT + s->pa_reduction);
        return false;
    }
    env->snp.host = s;
    snp_tlb_realize(env, s->tlb);
    return true;
}

/* ---- the object ---- */

static void snp_host_system_reset(void *opaque)
{
    SnpHost *s = opaque;
    CPUState *cs;

    /*
     * SYSCFG-09 (Linux snp_shutdown()): only a reset forgets the table; no vCPU
     * runs now
     */
    CPU_FOREACH(cs) {
        CPUX86State *env = cpu_env(cs);

        snp_cpu_reset(env);
        env->snp.rmp = NULL;
        /* What a BIOS leaves behind; the values stand in for one */
        env->snp.syscfg = SYSCFG_SMEE;
        /* GEOM-11 (Linux bsp_determine_snp()) */
        env->snp.hwcr = HWCR_SMM_LOCK | HWCR_TSC_FREQ_SEL;
        env->snp.rmp_base = s->rmp_base;
        /* RST-06 (Linux probe_segmented_rmptable_info()) */
        env->snp.rmp_end = s->segment_shift ? 0x1fff : s->rmp_end;
        env->snp.rmp_cfg = !s->segment_shift ? 0 :
                           RMP_CFG_SEGMENTED | s->segment_shift << 8;
    }
    if (s->rmp_ready) {
        s->rmp_ready = false;
        /* ENC-03 (strict choice) */
        snp_host_forget_keys(s);
        rmp_destroy(&s->rmp);
    }
    snp_host_drop_key(s, 0);
    bitmap_zero(s->wbinvd_wanted, SNP_MAX_CPUS);
    if (s->segment_shift) {
        write_rst(s);
    }
}

static void snp_host_complete(UserCreatable *uc, Error **errp)
{
    Object *machine = object_dynamic_cast(OBJECT(current_machine),
                                          TYPE_PC_MACHINE);
    SnpHost *s = SNP_HOST(uc);

    if (!machine || phase_check(PHASE_MACHINE_INITIALIZED)) {
        error_setg(errp, "x-snp-host is part of a PC from the start");
        return;
    }
    if (snp_host_get()) {
        error_setg(errp, "there is one x-snp-host per machine");
        return;
    }
    if (HOST_BIG_ENDIAN) {
        error_setg(errp, "x-snp-host uses the RMP and the VMSAs in place: it "
                   "needs a little-endian host");
        return;
    }
    if (s->segment_shift && s->segment_shift < RMP_SEGMENT_SHIFT_MIN) {
        error_setg(errp, "x-snp-host: rmp-segment is 0 or %u to %u, not %u",
                   RMP_SEGMENT_SHIFT_MIN, RMP_SEGMENT_SHIFT_MAX,
                   s->segment_shift);
        return;
    }
    if (s->snp_asids > s->max_asid) {
        error_setg(errp, "x-snp-host: snp-asids=%u is more than asids=%u",
                   s->snp_asids, s->max_asid);
        return;
    }
    error_setg(&s->migration_blocker,
               "x-snp-host: an SNP host cannot be migrated");
    if (migrate_add_blocker(&s->migration_blocker, errp) < 0) {
        return;
    }
    qemu_mutex_init(&s->lock);
    qemu_mutex_init(&s->tag_lock);
    s->asid_active = bitmap_new(SNP_MOST_ASIDS + 1);
    s->wbinvd_wanted = bitmap_new(SNP_MAX_CPUS);
    if (s->stale != SNP_STALE_OFF) {
        s->tlb = snp_tlb_host_new(s->stale == SNP_STALE_USE);
    }
    /*
     * It writes where software tells it to, and knows no RMP: GEOM-07 (APM2
     * 15.36.4)
     */
    object_register_sugar_prop(TYPE_APIC_COMMON, "vapic", "off", false);
    qemu_register_reset(snp_host_system_reset, s);
    s->machine_done.notify = snp_host_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
    object_property_set_link(machine, "snp-host", OBJECT(s), &error_abort);
}

/* Processors, firmware and IOMMU have looked at the properties */
static bool may_set(const char *name, Error **errp)
{
    if (phase_check(PHASE_MACHINE_INITIALIZED)) {
        error_setg(errp, "x-snp-host: %s cannot change any more", name);
        return false;
    }
    return true;
}

static void snp_host_get_rmp_base(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    visit_type_size(v, name, &SNP_HOST(obj)->rmp_base_wanted, errp);
}

static void snp_host_set_rmp_base(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    if (may_set(name, errp)) {
        visit_type_size(v, name, &SNP_HOST(obj)->rmp_base_wanted, errp);
    }
}

static bool snp_host_get_erratum(Object *obj, Error **errp)
{
    return SNP_HOST(obj)->erratum_2m;
}

static void snp_host_set_erratum(Object *obj, bool value, Error **errp)
{
    if (may_set("erratum-2m", errp)) {
        SNP_HOST(obj)->erratum_2m = value;
    }
}

static bool snp_host_get_sme(Object *obj, Error **errp)
{
    return SNP_HOST(obj)->sme;
}

static void snp_host_set_sme(Object *obj, bool value, Error **errp)
{
    if (may_set("sme", errp)) {
        SNP_HOST(obj)->sme = value;
    }
}

static void snp_host_get_reduction(Object *obj, Visitor *v, const char *name,
                                   void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &SNP_HOST(obj)->pa_reduction, errp);
}

static void snp_host_set_reduction(Object *obj, Visitor *v, const char *name,
                                   void *opaque, Error **errp)
{
    uint32_t value;

    if (!may_set(name, errp) || !visit_type_uint32(v, name, &value, errp)) {
        return;
    }
    if (value != 0 && value != 5 && value != 6) {
        error_setg(errp, "x-snp-host: pa-reduction is 0, 5 or 6, not %u",
                   value);
        return;
    }
    SNP_HOST(obj)->pa_reduction = value;
}

/* The numbers among the properties, by @opaque */
static const struct SnpHostNumber {
    const char *name, *what;
    size_t offset;
    uint32_t min, max;
} snp_host_numbers[] = {
    { "snp-asids", "ASIDs that SEV-ES and SEV-SNP guests share (default: 99)",
      offsetof(SnpHost, snp_asids), 1, SNP_MOST_ASIDS },
    { "asids", "ASIDs of encrypted guests (default: 509)",
      offsetof(SnpHost, max_asid), 1, SNP_MOST_ASIDS },
    { "contention", "one of so many RMPUPDATEs and PSMASHes finds the entry "
      "taken by another processor, for the moment (default: 0, none)",
      offsetof(SnpHost, contention), 0, UINT32_MAX },
    { "rmp-segment", "size of the segments of the RMP as a power of 2, 30 to "
      "39 (default: 0, in one piece)",
      offsetof(SnpHost, segment_shift), 0, RMP_SEGMENT_SHIFT_MAX },
};

static uint32_t *snp_host_number(Object *obj, void *opaque)
{
    const struct SnpHostNumber *n = opaque;

    return (void *)SNP_HOST(obj) + n->offset;
}

static void snp_host_get_number(Object *obj, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    visit_type_uint32(v, name, snp_host_number(obj, opaque), errp);
}

static void snp_host_set_number(Object *obj, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    const struct SnpHostNumber *n = opaque;
    uint32_t value;

    if (!may_set(name, errp) || !visit_type_uint32(v, name, &value, errp)) {
        return;
    }
    if (value < n->min || value > n->max) {
        error_setg(errp, "x-snp-host: %s is %u to %u, not %u", name, n->min,
                   n->max, value);
        return;
    }
    *snp_host_number(obj, opaque) = value;
}

static void snp_host_get_seed(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    visit_type_uint64(v, name, &SNP_HOST(obj)->random, errp);
}

static void snp_host_set_seed(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    if (may_set(name, errp)) {
        visit_type_uint64(v, name, &SNP_HOST(obj)->random, errp);
    }
}

static int snp_host_get_stale(Object *obj, Error **errp)
{
    return SNP_HOST(obj)->stale;
}

static void snp_host_set_stale(Object *obj, int value, Error **errp)
{
    if (may_set("stale", errp)) {
        SNP_HOST(obj)->stale = value;
    }
}

static void snp_host_init(Object *obj)
{
    SNP_HOST(obj)->stale = SNP_STALE_DETECT;
    SNP_HOST(obj)->erratum_2m = true;
    SNP_HOST(obj)->snp_asids = SNP_ASIDS;
    SNP_HOST(obj)->max_asid = SNP_MAX_ASID;
}

static bool snp_host_can_be_deleted(UserCreatable *uc)
{
    return false;
}

static void snp_host_class_init(ObjectClass *oc, const void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = snp_host_complete;
    ucc->can_be_deleted = snp_host_can_be_deleted;
    object_class_property_add(oc, "rmp-base", "size", snp_host_get_rmp_base,
                              snp_host_set_rmp_base, NULL, NULL);
    object_class_property_set_description(oc, "rmp-base",
        "system physical address of the RMP (default: the middle of low RAM)");
    object_class_property_add_bool(oc, "erratum-2m", snp_host_get_erratum,
                                   snp_host_set_erratum);
    object_class_property_set_description(oc, "erratum-2m",
        "a 2 MB aligned in-use page blocks large-page writes to its whole "
        "2 MB region, as on Zen 3 and Zen 4 (default: on)");
    object_class_property_add_bool(oc, "sme", snp_host_get_sme,
                                   snp_host_set_sme);
    object_class_property_set_description(oc, "sme",
        "tell of SME in CPUID 8000_001F, without encrypting (default: off)");
    object_class_property_add(oc, "pa-reduction", "uint32",
                              snp_host_get_reduction, snp_host_set_reduction,
                              NULL, NULL);
    object_class_property_set_description(oc, "pa-reduction",
        "physical address bits that memory encryption takes: 0, 5 or 6 "
        "(default: 0)");
    for (unsigned i = 0; i < ARRAY_SIZE(snp_host_numbers); i++) {
        const struct SnpHostNumber *n = &snp_host_numbers[i];

        object_class_property_add(oc, n->name, "uint32", snp_host_get_number,
                                  snp_host_set_number, NULL, (void *)n);
        object_class_property_set_description(oc, n->name, n->what);
    }
    object_class_property_add(oc, "seed", "uint64", snp_host_get_seed,
                              snp_host_set_seed, NULL, NULL);
    object_class_property_set_description(oc, "seed",
        "which RMPUPDATEs and PSMASHes these are (default: 0)");
    object_class_property_add_enum(oc, "stale", "SnpStale", &SnpStale_lookup,
                                   snp_host_get_stale, snp_host_set_stale);
    object_class_property_set_description(oc, "stale",
        "translations of a guest that the hypervisor forgot to flush: off, "
        "detect (tell when hardware could have used one) or use (default: "
        "detect)");
}

static const TypeInfo snp_host_info = {
    .name = TYPE_SNP_HOST,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(SnpHost),
    .instance_init = snp_host_init,
    .class_init = snp_host_class_init,
    .interfaces = (const InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void snp_host_register(void)
{
    type_register_static(&snp_host_info);
    type_register_static(&snp_dma_info);
}

type_init(snp_host_register)
