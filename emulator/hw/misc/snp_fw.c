/*
 * SEV-SNP firmware: command dispatch, memory and page states, ASIDs, and the
 * SNP platform's own commands.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/cutils.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/range.h"
#include "target/i386/snp/snp_host.h"
#include "snp_fw.h"
#include "trace.h"

#define MiB_MASK                (MiB - 1)

/* ---- memory and page states ---- */

SevStatus snp_fw_refuse(SnpFw *fw, SevStatus status, const char *why)
{
    trace_snp_fw_refuse(fw->cmd_name, status, why);
    return status;
}

uint64_t snp_fw_spa(uint64_t addr)
{
    return addr & ~(1ull << snp_host_cbit());
}

bool snp_fw_is_ram(uint64_t spa, uint64_t len)
{
    uint64_t last = spa + len - 1;

    if (len == 0 || last < spa) {
        return false;
    }
    for (spa &= ~(RMP_PAGE_4K - 1); spa <= last; spa += RMP_PAGE_4K) {
        if (!snp_host_page(spa)) {
            return false;
        }
        if (spa + RMP_PAGE_4K == 0) {
            break;
        }
    }
    return true;
}

/*
 * FW-11 (strict choice): memory holds such a page's plaintext (ENC-01: APM2
 * 15.34), which is not to leak
 */
static bool snp_fw_is_guest_private(SnpFw *fw, uint64_t spa)
{
    Rmp *rmp = snp_host_rmp(fw->host);
    bool size_2m;

    if (!fw->rmp_initialized || !rmp) {
        return false;
    }
    switch (rmp_page_state(rmp, spa, &size_2m)) {
    case RMP_PAGE_GUEST_INVALID:
    case RMP_PAGE_GUEST_VALID:
    case RMP_PAGE_PRE_SWAP:
    case RMP_PAGE_IN_USE:       /* FWPAGE-12 (strict choice) */
        return true;
    default:
        return false;
    }
}

SevStatus snp_fw_read_as(SnpFw *fw, unsigned key, uint64_t spa, void *buf,
                         uint64_t len)
{
    uint64_t page;

    if (!snp_fw_is_ram(spa, len)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: not RAM");
    }
    for (page = spa & ~(RMP_PAGE_4K - 1); page < spa + len;
         page += RMP_PAGE_4K) {
        if (snp_fw_is_guest_private(fw, page)) {
            return snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                                 "FW-11: private to a guest");
        }
    }
    for (uint64_t n, end = spa + len; spa < end; spa += n, buf += n) {
        n = MIN(end - spa, RMP_PAGE_4K - (spa & (RMP_PAGE_4K - 1)));
        address_space_read(&address_space_memory, spa, MEMTXATTRS_UNSPECIFIED,
                           buf, n);
        /* ENC-04 (APM2 15.34) */
        snp_host_see(fw->host, buf, spa, n, key);
    }
    return SEV_SUCCESS;
}

SevStatus snp_fw_read(SnpFw *fw, uint64_t spa, void *buf, uint64_t len)
{
    return snp_fw_read_as(fw, 0, spa, buf, len);
}

void snp_fw_write_as(SnpFw *fw, unsigned key, uint64_t spa, const void *buf,
                     uint64_t len)
{
    for (uint64_t page = spa & ~(RMP_PAGE_4K - 1); page < spa + len;
         page += RMP_PAGE_4K) {
        snp_host_take_page(fw->host, page, key);
    }
    address_space_write(&address_space_memory, spa, MEMTXATTRS_UNSPECIFIED,
                        buf, len);
}

void snp_fw_write(SnpFw *fw, uint64_t spa, const void *buf, uint64_t len)
{
    snp_fw_write_as(fw, 0, spa, buf, len);
}

SevStatus snp_fw_page_in_state(SnpFw *fw, uint64_t spa, RmpPageState state)
{
    Rmp *rmp = snp_host_rmp(fw->host);
    bool size_2m;

    if (!rmp || rmp_page_state(rmp, spa, &size_2m) != state) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                             "FW-09: page in another state");
    }
    if (size_2m) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_SIZE, "FW-13: 2 MB page");
    }
    return SEV_SUCCESS;
}

SevStatus snp_fw_writable_pages(SnpFw *fw, uint64_t spa, uint64_t len)
{
    Rmp *rmp = snp_host_rmp(fw->host);
    uint64_t page;
    SevStatus status;

    if (!snp_fw_is_ram(spa, len)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: not RAM");
    }
    /* not when SNP_EN is set but SNP_INIT is still to come (Linux 6.12) */
    if (!fw->rmp_initialized || !rmp) {
        return SEV_SUCCESS;
    }
    for (page = spa & ~(RMP_PAGE_4K - 1); page < spa + len;
         page += RMP_PAGE_4K) {
        if (!rmp_covered(rmp, page)) {
            continue;
        }
        if (!fw->snp_init) {
            /*
             * SNP_SHUTDOWN_EX has left the table in force: GEOM-07 (APM2
             * 15.36.4), FW-11 (strict choice)
             */
            if (!rmp_hv_owned(rmp, page, RMP_PAGE_4K)) {
                return snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                                     "FW-09: not the hypervisor's");
            }
            continue;
        }
        status = snp_fw_page_in_state(fw, page, RMP_PAGE_FIRMWARE);
        if (status) {
            return status;
        }
    }
    return SEV_SUCCESS;
}

/* ---- ASIDs ---- */

SevStatus snp_fw_bind_asid(SnpFw *fw, uint32_t asid, SnpAsidState owner)
{
    uint32_t min_sev = snp_host_min_sev_asid(fw->host);
    Rmp *rmp = snp_host_rmp(fw->host);
    uint64_t first;

    if (asid == 0 || asid >= fw->nr_asids) {
        return snp_fw_refuse(fw, SEV_INVALID_ASID, "FWCMD-10: no such ASID");
    }
    if (owner == SNP_ASID_SNP && asid >= min_sev) {
        return snp_fw_refuse(fw, SEV_INVALID_ASID,
                             "FWCMD-10: an ASID of SEV guests");
    }
    switch (fw->asid[asid]) {
    case SNP_ASID_SEV:
    case SNP_ASID_SNP:
        return snp_fw_refuse(fw, SEV_ASID_OWNED, "FWCMD-10: ASID in use");
    case SNP_ASID_STALE_SEV:
    case SNP_ASID_STALE_SNP:
        return snp_fw_refuse(fw, SEV_DFFLUSH_REQUIRED,
                             "FWCMD-10: ASID not flushed since its last use");
    default:
        break;
    }
    if (owner == SNP_ASID_SNP && rmp && rmp_asid_pages(rmp, asid, &first)) {
        return snp_fw_refuse(fw, SEV_INVALID_CONFIG,
                             "FWCMD-10: ASID still has pages");
    }
    fw->asid[asid] = owner;
    snp_host_set_asid(fw->host, asid, true);
    return SEV_SUCCESS;
}

void snp_fw_retire_asid(SnpFw *fw, uint32_t asid)
{
    if (asid == 0) {
        return;
    }
    fw->asid[asid] = fw->asid[asid] == SNP_ASID_SNP ? SNP_ASID_STALE_SNP
                                                    : SNP_ASID_STALE_SEV;
    snp_host_set_asid(fw->host, asid, false);
    snp_host_drop_key(fw->host, asid);
    /*
     * FWCMD-16 (ABI SNP_DECOMMISSION), FWCMD-24 (Linux sev_flush_asids()): a
     * WBINVD done earlier does not count
     */
    snp_host_mark_cores(fw->host);
}

/*
 * After an INIT every unused ASID waits for a flush (FWCMD-02: ABI
 * SNP_DF_FLUSH)
 */
void snp_fw_stale_asids(SnpFw *fw, SnpAsidState stale)
{
    unsigned i;

    for (i = 1; i < fw->nr_asids; i++) {
        if (fw->asid[i] == SNP_ASID_FREE ||
            (stale == SNP_ASID_STALE_SNP &&
             fw->asid[i] == SNP_ASID_STALE_SEV)) {
            fw->asid[i] = stale;
        }
    }
    snp_host_mark_cores(fw->host);
}

/* FWCMD-07 (ABI SNP_DF_FLUSH), FWCMD-24 (Linux sev_flush_asids()) */
SevStatus snp_fw_flush_asids(SnpFw *fw, bool snp)
{
    unsigned i;

    if (snp_host_wbinvd_pending(fw->host)) {
        return snp_fw_refuse(fw, SEV_WBINVD_REQUIRED,
                             "FWCMD-07: a core has not executed WBINVD");
    }
    for (i = 1; i < fw->nr_asids; i++) {
        if (fw->asid[i] == SNP_ASID_STALE_SEV ||
            (snp && fw->asid[i] == SNP_ASID_STALE_SNP)) {
            fw->asid[i] = SNP_ASID_FREE;
        }
    }
    return SEV_SUCCESS;
}

/* ---- SNP_INIT, SNP_INIT_EX ---- */

typedef struct SnpInitEx {
    uint32_t flags;
    uint32_t reserved1;
    uint64_t list_paddr;
    uint16_t max_snp_asid;
    uint8_t reserved2[46];
} QEMU_PACKED SnpInitEx;

#define SNP_INIT_RMP            (1u << 0)
#define SNP_INIT_LIST           (1u << 1)
#define SNP_INIT_RAPL_DIS       (1u << 2)
#define SNP_INIT_CIPHERTEXT     (1u << 3)
#define SNP_INIT_TIO            (1u << 4)
#define SNP_INIT_FLAGS          0x1fu

/* What SNP_FEATURE_INFO does not offer, SNP_INIT_EX does not accept */
#define SNP_INIT_ABSENT \
    (SNP_INIT_RAPL_DIS | SNP_INIT_CIPHERTEXT | SNP_INIT_TIO)

typedef struct SnpRange {
    uint64_t base;
    uint32_t page_count;
    uint32_t reserved;
} QEMU_PACKED SnpRange;

typedef struct SnpRangeList {
    uint32_t count;
    uint32_t reserved;
    SnpRange range[];
} QEMU_PACKED SnpRangeList;

#define SNP_RANGES_MAX \
    ((RMP_PAGE_4K - sizeof(SnpRangeList)) / sizeof(SnpRange))

/* Move @size bytes at @base; pages outside of coverage have no state */
static bool snp_fw_move_pages(Rmp *rmp, uint64_t base, uint64_t size,
                              RmpPageState from, RmpPageState to)
{
    uint64_t page;

    for (page = base; page < base + size; page += RMP_PAGE_4K) {
        if (rmp_covered(rmp, page) && !rmp_fw_move(rmp, page, from, to)) {
            return false;
        }
    }
    return true;
}

/*
 * FWCMD-03 (ABI SNP_INIT_EX): no page of the list changes before all of it was
 * looked at
 */
static SevStatus snp_fw_read_ranges(SnpFw *fw, uint64_t spa,
                                    SnpRangeList *list)
{
    SevStatus status;
    uint32_t i;

    if (spa & (RMP_PAGE_4K - 1)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                             "FWCMD-03: list not page aligned");
    }
    status = snp_fw_read(fw, spa, list, RMP_PAGE_4K);
    if (status) {
        return status;
    }
    list->count = le32_to_cpu(list->count);
    if (list->count > SNP_RANGES_MAX || list->reserved) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                             "FWCMD-03: list longer than a page");
    }
    for (i = 0; i < list->count; i++) {
        SnpRange *range = &list->range[i];
        uint64_t size;

        range->base = snp_fw_spa(le64_to_cpu(range->base));
        range->page_count = le32_to_cpu(range->page_count);
        size = (uint64_t)range->page_count * RMP_PAGE_4K;
        if (range->base & (RMP_PAGE_4K - 1) || range->reserved ||
            range->base + size < range->base) {
            return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FWCMD-03: bad range");
        }
    }
    return SEV_SUCCESS;
}

static SevStatus snp_fw_set_ranges(SnpFw *fw, Rmp *rmp,
                                   const SnpRangeList *list)
{
    uint64_t end = rmp->pages * RMP_PAGE_4K;
    bool size_2m;
    uint32_t i;

    for (i = 0; i < list->count; i++) {
        uint64_t page = list->range[i].base;
        uint64_t stop = page + list->range[i].page_count * RMP_PAGE_4K;

        for (stop = MIN(stop, end); page < stop; page += RMP_PAGE_4K) {
            if (!rmp_covered(rmp, page)) {
                continue;
            }
            switch (rmp_page_state(rmp, page, &size_2m)) {
            case RMP_PAGE_HYPERVISOR:
                rmp_fw_move(rmp, page, RMP_PAGE_HYPERVISOR, RMP_PAGE_HV_FIXED);
                break;
            case RMP_PAGE_HV_FIXED:     /* ranges may overlap */
            case RMP_PAGE_TABLE:        /* the RMP is reserved memory too */
                break;
            default:
                return snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                                     "FWCMD-03: page in another state");
            }
        }
    }
    return SEV_SUCCESS;
}

static SevStatus snp_fw_do_init(SnpFw *fw, uint32_t flags, uint64_t list_spa)
{
    g_autofree SnpRangeList *list = NULL;
    const char *why = NULL;
    SevStatus status;
    int nr_iommu, i;
    Rmp *rmp;

    if (fw->sev_state != SEV_PLATFORM_UNINIT) {
        return snp_fw_refuse(fw, SEV_INVALID_PLATFORM_STATE,
                             "FWCMD-04: legacy platform initialized before");
    }
    if (!(flags & SNP_INIT_RMP) && !fw->rmp_initialized) {
        return snp_fw_refuse(fw, SEV_RMP_INIT_REQUIRED,
                             "FWCMD-01: RMP never initialized");
    }
    if (!snp_host_ready_for_init(&why)) {
        trace_snp_fw_not_ready(why ? why : "");
        return snp_fw_refuse(fw, SEV_INVALID_CONFIG,
                             "FWCMD-01: a core is not set up");
    }
    rmp = snp_host_rmp(fw->host);
    if (!rmp) {
        return snp_fw_refuse(fw, SEV_INVALID_CONFIG, "FWCMD-01: no RMP");
    }
    if ((rmp->base & MiB_MASK) ||
        (!rmp->segment && ((rmp->end + 1) & MiB_MASK))) {
        return snp_fw_refuse(fw, SEV_INVALID_CONFIG,
                             "GEOM-02: RMP not 1 MB aligned");
    }
    nr_iommu = amdvi_snp_buffers(fw->iommu);
    if (nr_iommu < 0) {
        return snp_fw_refuse(fw, SEV_INVALID_CONFIG, "DMA-02: no IOMMU");
    }
    if (flags & SNP_INIT_LIST) {
        list = g_malloc(RMP_PAGE_4K);
        status = snp_fw_read_ranges(fw, list_spa, list);
        if (status) {
            return status;
        }
    }

    /*
     * From here on a failure leaves a half-made RMP behind (what firmware does
     * is not known): the platform stays UNINIT, and SNP_INIT starts over.
     */
    if (flags & SNP_INIT_RMP) {
        if (fw->rmp_initialized) {
            snp_host_forget_keys(fw->host);
        }
        rmp_fw_init(rmp);
        fw->rmp_initialized = true;
    }
    for (i = 0; i < nr_iommu; i++) {
        const AMDVISnpBuffer *b = &fw->iommu[i];

        trace_snp_fw_iommu_buffer(b->name, b->base, b->size);
        if (!snp_fw_is_ram(b->base, b->size) ||
            !snp_fw_move_pages(rmp, b->base, b->size, RMP_PAGE_HYPERVISOR,
                               RMP_PAGE_FIRMWARE)) {
            status = snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                                   "DMA-03: IOMMU buffer not hypervisor's");
            goto out;
        }
    }
    status = list ? snp_fw_set_ranges(fw, rmp, list) : SEV_SUCCESS;
    if (status) {
        goto out;
    }

    fw->nr_iommu = nr_iommu;
    fw->snp_init = true;
    snp_fw_stale_asids(fw, SNP_ASID_STALE_SNP);
    amdvi_snp_enforce(true);
out:
    /* pages became read-only to the hypervisor */
    snp_host_flush_tlbs(fw->host, 0, 0);
    return status;
}

static SevStatus snp_fw_init(SnpFw *fw, void *buf)
{
    return snp_fw_do_init(fw, SNP_INIT_RMP, 0);
}

static SevStatus snp_fw_init_ex(SnpFw *fw, void *buf)
{
    SnpInitEx *in = buf;
    uint32_t flags = le32_to_cpu(in->flags);

    /* FW-06 (ABI, status codes) */
    if ((flags & ~SNP_INIT_FLAGS) || in->reserved1 ||
        !buffer_is_zero(in->reserved2, sizeof(in->reserved2))) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if ((flags & SNP_INIT_ABSENT) || in->max_snp_asid) {
        return snp_fw_refuse(fw, SEV_UNSUPPORTED,
                             "FWCMD-01: feature not offered");
    }
    if ((flags & SNP_INIT_LIST) && !(flags & SNP_INIT_RMP)) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                             "FWCMD-03: range list without INIT_RMP");
    }
    return snp_fw_do_init(fw, flags, snp_fw_spa(le64_to_cpu(in->list_paddr)));
}

/* ---- SNP_SHUTDOWN, SNP_SHUTDOWN_EX ---- */

typedef struct SnpShutdownEx {
    uint32_t length;
    uint32_t flags;
} QEMU_PACKED SnpShutdownEx;

#define SNP_SHUTDOWN_IOMMU      (1u << 0)
#define SNP_SHUTDOWN_X86        (1u << 1)

/*
 * FWCMD-20 (ABI SNP_SHUTDOWN_EX).  Cores are not marked here: Linux answers
 * DFFLUSH_REQUIRED with SNP_DF_FLUSH alone.
 */
static SevStatus snp_fw_do_shutdown(SnpFw *fw, uint32_t flags)
{
    Rmp *rmp = snp_host_rmp(fw->host);
    uint64_t lost, first;
    unsigned i;

    if (fw->sev_state != SEV_PLATFORM_UNINIT) {
        return snp_fw_refuse(fw, SEV_INVALID_PLATFORM_STATE,
                             "FWCMD-20: legacy platform still initialized");
    }
    for (i = 1; i < fw->nr_asids; i++) {
        if (fw->asid[i] != SNP_ASID_FREE) {
            return snp_fw_refuse(fw, SEV_DFFLUSH_REQUIRED,
                                 "FWCMD-20: ASID active or not flushed");
        }
    }

    /* No guest is left to use them, and the hypervisor has forgotten them */
    lost = rmp ? rmp_asid_pages(rmp, 0, &first) : 0;
    if (lost) {
        warn_report("x-snp-host: lost pages: %" PRIu64 " are assigned to "
                    "guests that are gone, the first at 0x%" PRIx64, lost,
                    first);
    }
    /* contexts that were never activated just go; their pages stay Context */
    g_hash_table_remove_all(fw->snp_guests);
    fw->snp_init = false;

    if (flags & SNP_SHUTDOWN_IOMMU) {
        amdvi_snp_enforce(false);
        for (i = 0; i < fw->nr_iommu; i++) {
            snp_fw_move_pages(rmp, fw->iommu[i].base, fw->iommu[i].size,
                              RMP_PAGE_FIRMWARE, RMP_PAGE_RECLAIM);
        }
        fw->nr_iommu = 0;
    }
    if (flags & SNP_SHUTDOWN_X86) {
        fw->rmp_initialized = false;
        snp_host_disable(fw->host);
    }
    return SEV_SUCCESS;
}

/* FWCMD-21 (ABI SNP_SHUTDOWN) */
static SevStatus snp_fw_shutdown(SnpFw *fw, void *buf)
{
    return snp_fw_do_shutdown(fw, 0);
}

static SevStatus snp_fw_shutdown_ex(SnpFw *fw, void *buf)
{
    SnpShutdownEx *in = buf;
    uint32_t flags = le32_to_cpu(in->flags);
    uint32_t known = SNP_SHUTDOWN_IOMMU;

    if (fw->x86_snp_shutdown) {
        known |= SNP_SHUTDOWN_X86;
    }
    /* FW-07 (ABI, status codes) */
    if (le32_to_cpu(in->length) != sizeof(*in)) {
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FW-07: length");
    }
    if (flags & ~known) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if ((flags & SNP_SHUTDOWN_X86) && !(flags & SNP_SHUTDOWN_IOMMU)) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                             "FWCMD-20: IOMMU would go on checking a dead RMP");
    }
    return snp_fw_do_shutdown(fw, flags);
}

/* ---- SNP_PLATFORM_STATUS, SNP_FEATURE_INFO ---- */

typedef struct SnpAddr {
    uint64_t paddr;
} QEMU_PACKED SnpAddr;

typedef struct SnpStatus {
    uint8_t api_major;
    uint8_t api_minor;
    uint8_t state;
    uint8_t is_rmp_initialized;
    uint32_t build;
    uint32_t flags;
    uint32_t guest_count;
    uint64_t current_tcb;
    uint64_t reported_tcb;
} QEMU_PACKED SnpStatus;

#define SNP_STATUS_CONFIG_FLAGS 0x3u            /* as SNP_CONFIG has them */
#define SNP_STATUS_FEATURE_INFO (1u << 3)
/* in is_rmp_initialized: no two addresses lead to one page of memory */
#define SNP_STATUS_RMP_INIT     (1u << 0)
#define SNP_STATUS_NO_ALIASES   (1u << 1)

/* FWCMD-05 (ABI SNP_PLATFORM_STATUS) */
static SevStatus snp_fw_platform_status(SnpFw *fw, void *buf)
{
    SnpAddr *in = buf;
    uint64_t spa = snp_fw_spa(le64_to_cpu(in->paddr));
    SnpStatus out = {
        .api_major = SEV_API_MAJOR,
        .api_minor = SEV_API_MINOR,
        .state = fw->snp_init ? SEV_PLATFORM_INIT : SEV_PLATFORM_UNINIT,
        .is_rmp_initialized = fw->rmp_initialized ?
                              SNP_STATUS_RMP_INIT | SNP_STATUS_NO_ALIASES : 0,
        .build = cpu_to_le32(SEV_API_BUILD),
        .flags = cpu_to_le32(SNP_STATUS_FEATURE_INFO | fw->config_flags),
        .guest_count = cpu_to_le32(g_hash_table_size(fw->snp_guests)),
        .current_tcb = cpu_to_le64(SNP_TCB_VERSION),
        .reported_tcb = cpu_to_le64(fw->reported_tcb),
    };
    SevStatus status;

    if (fw->snp_init && (spa & (RMP_PAGE_4K - 1))) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                             "FW-05: not page aligned");
    }
    status = snp_fw_writable_pages(fw, spa, sizeof(out));
    if (status) {
        return status;
    }
    snp_fw_write(fw, spa, &out, sizeof(out));
    if (fw->snp_init) {
        rmp_fw_move(snp_host_rmp(fw->host), spa, RMP_PAGE_FIRMWARE,
                    RMP_PAGE_RECLAIM);
    }
    return SEV_SUCCESS;
}

typedef struct SnpFeatureInfoCmd {
    uint32_t length;
    uint32_t ecx_in;
    uint64_t paddr;
} QEMU_PACKED SnpFeatureInfoCmd;

typedef struct SnpFeatureInfo {
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
} QEMU_PACKED SnpFeatureInfo;

#define SNP_FEATURE_ECX_X86_SHUTDOWN    (1u << 1)

/*
 * FWCMD-06 (ABI SNP_FEATURE_INFO).  Of leaf 0 only what is here; EAX is the
 * highest leaf.
 */
static SevStatus snp_fw_feature_info(SnpFw *fw, void *buf)
{
    SnpFeatureInfoCmd *in = buf;
    uint64_t spa = snp_fw_spa(le64_to_cpu(in->paddr));
    SnpFeatureInfo out = { 0 };
    SevStatus status;

    if (le32_to_cpu(in->length) != sizeof(*in)) {
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FW-07: length");
    }
    if (in->ecx_in) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FWCMD-06: no such leaf");
    }
    if ((spa & 7) ||
        (spa & (RMP_PAGE_4K - 1)) + sizeof(out) > RMP_PAGE_4K) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                             "FWCMD-06: alignment or page crossing");
    }
    status = snp_fw_writable_pages(fw, spa, sizeof(out));
    if (status) {
        return status;
    }
    if (fw->x86_snp_shutdown) {
        out.ecx |= cpu_to_le32(SNP_FEATURE_ECX_X86_SHUTDOWN);
    }
    snp_fw_write(fw, spa, &out, sizeof(out));
    return SEV_SUCCESS;
}

/* ---- SNP_DF_FLUSH, SNP_PAGE_RECLAIM, SNP_CONFIG, SNP_COMMIT ---- */

static SevStatus snp_fw_df_flush(SnpFw *fw, void *buf)
{
    return snp_fw_flush_asids(fw, true);
}

/* FWCMD-17 (ABI SNP_PAGE_RECLAIM) */
static SevStatus snp_fw_page_reclaim(SnpFw *fw, void *buf)
{
    SnpAddr *in = buf;
    uint64_t spa = snp_fw_spa(le64_to_cpu(in->paddr));
    bool size_2m = spa & 1;
    uint64_t size = size_2m ? RMP_PAGE_2M : RMP_PAGE_4K;
    Rmp *rmp = snp_host_rmp(fw->host);
    bool pre_guest, rmp_2m;
    RmpState entry;

    spa &= ~1ull;
    if ((spa & (size - 1)) || !snp_fw_is_ram(spa, size)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: address");
    }
    pre_guest = rmp_page_state(rmp, spa, &rmp_2m) == RMP_PAGE_PRE_GUEST &&
                rmp_read(rmp, spa, &entry) == RMP_OK;
    switch (rmp_fw_reclaim(rmp, spa, size_2m)) {
    case RMP_OK:
        if (pre_guest) {
            /*
             * ENC-01 (APM2 15.34): it becomes the guest's without having been
             * encrypted
             */
            snp_host_change_key(fw->host, spa, size, 0, entry.asid);
            snp_host_flush_tlbs(fw->host, spa, size);
        }
        return SEV_SUCCESS;
    case RMP_FAIL_SIZEMISMATCH:
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_SIZE, "FWCMD-17: size");
    default:
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                             "FWCMD-17: nothing to reclaim");
    }
}

typedef struct SnpConfig {
    uint64_t reported_tcb;
    uint32_t flags;
    uint8_t reserved[52];
} QEMU_PACKED SnpConfig;

/* A TCB is a vector: each component counts for itself */
static bool snp_fw_tcb_above(uint64_t tcb, uint64_t limit)
{
    unsigned i;

    for (i = 0; i < 64; i += 8) {
        if (extract64(tcb, i, 8) > extract64(limit, i, 8)) {
            return true;
        }
    }
    return false;
}

/* FWCMD-22 (ABI SNP_CONFIG) */
static SevStatus snp_fw_config(SnpFw *fw, void *buf)
{
    SnpConfig *in = buf;
    uint64_t tcb = le64_to_cpu(in->reported_tcb);
    uint32_t flags = le32_to_cpu(in->flags);

    if ((flags & ~SNP_STATUS_CONFIG_FLAGS) ||
        !buffer_is_zero(in->reserved, sizeof(in->reserved))) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if (snp_fw_tcb_above(tcb, SNP_TCB_VERSION)) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                             "FWCMD-22: TCB newer than the committed one");
    }
    fw->reported_tcb = tcb ? tcb : SNP_TCB_VERSION;
    fw->config_flags = flags;
    return SEV_SUCCESS;
}

typedef struct SnpLength {
    uint32_t length;
} QEMU_PACKED SnpLength;

/*
 * FWCMD-22 (ABI SNP_COMMIT): there is one firmware, so there is nothing to roll
 * back
 */
static SevStatus snp_fw_commit(SnpFw *fw, void *buf)
{
    SnpLength *in = buf;

    if (le32_to_cpu(in->length) != sizeof(*in)) {
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FW-07: length");
    }
    return SEV_SUCCESS;
}

/* ---- dispatch ---- */

#define UNINIT  SNP_FW_UNINIT
#define INIT    SNP_FW_INIT
#define ANY     (SNP_FW_UNINIT | SNP_FW_INIT)

/*
 * FW-01, FW-02 (ABI, platform states).  Commands without a handler are
 * FWCMD-22 and FWCMD-23 (ABI SNP_GUEST_STATUS and others).  None has to
 * be used that Linux 6.12 does not know (FWCMD-25).
 */
static const SnpFwCommand snp_fw_commands[] = {
    { 0x081, 0, false, UNINIT, snp_fw_init, "SNP_INIT" },
    { 0x082, 0, false, INIT, snp_fw_shutdown, "SNP_SHUTDOWN" },
    { 0x083, sizeof(SnpAddr), false, ANY, snp_fw_platform_status,
      "SNP_PLATFORM_STATUS" },
    { 0x084, 0, false, INIT, snp_fw_df_flush, "SNP_DF_FLUSH" },
    { 0x085, sizeof(SnpInitEx), false, UNINIT, snp_fw_init_ex,
      "SNP_INIT_EX" },
    { 0x086, sizeof(SnpShutdownEx), false, INIT, snp_fw_shutdown_ex,
      "SNP_SHUTDOWN_EX" },
    { 0x0b2, 0, false, ANY, NULL, "SNP_VERIFY_MITIGATION" },
    { 0x0c0, 0, false, INIT, NULL, "SNP_PAGE_SWAP_OUT" },
    { 0x0c1, 0, false, INIT, NULL, "SNP_PAGE_SWAP_IN" },
    { 0x0c2, 0, false, INIT, NULL, "SNP_PAGE_MOVE" },
    { 0x0c3, 0, false, INIT, NULL, "SNP_PAGE_MD_INIT" },
    { 0x0c6, 0, false, INIT, NULL, "SNP_PAGE_SET_STATE" },
    { 0x0c7, sizeof(SnpAddr), false, INIT, snp_fw_page_reclaim,
      "SNP_PAGE_RECLAIM" },
    { 0x0c8, 0, false, INIT, NULL, "SNP_PAGE_UNSMASH" },
    { 0x0c9, sizeof(SnpConfig), false, INIT, snp_fw_config,
      "SNP_CONFIG" },
    { 0x0ca, 0, false, ANY, NULL, "SNP_DOWNLOAD_FIRMWARE_EX" },
    { 0x0cb, sizeof(SnpLength), false, ANY, snp_fw_commit,
      "SNP_COMMIT" },
    { 0x0cd, 0, false, INIT, NULL, "SNP_VLEK_LOAD" },
    { 0x0ce, sizeof(SnpFeatureInfoCmd), false, ANY,
      snp_fw_feature_info, "SNP_FEATURE_INFO" },
};

static const SnpFwCommand *snp_fw_find(unsigned cmd)
{
    unsigned i;

    if (cmd < SNP_FW_FIRST_SNP_CMD) {
        return snp_fw_sev_command(cmd);
    }
    for (i = 0; i < ARRAY_SIZE(snp_fw_commands); i++) {
        if (snp_fw_commands[i].id == cmd) {
            return &snp_fw_commands[i];
        }
    }
    return snp_fw_guest_command(cmd);
}

static SevStatus snp_fw_run(SnpFw *fw, const SnpFwCommand *c, uint64_t spa)
{
    g_autofree void *buf = NULL;
    SevPlatformState state;
    SevStatus status;

    if (c->id < SNP_FW_FIRST_SNP_CMD) {
        state = fw->sev_state;
    } else {
        state = fw->snp_init ? SEV_PLATFORM_INIT : SEV_PLATFORM_UNINIT;
    }
    if (!(c->states & SNP_FW_STATE(state))) {
        return snp_fw_refuse(fw, SEV_INVALID_PLATFORM_STATE,
                             "FW-01/FW-02: platform state");
    }
    if (!c->run) {
        if (!test_and_set_bit(c->id, fw->warned)) {
            warn_report("amd-psp: %s is not modelled", c->name);
        }
        return snp_fw_refuse(fw, SEV_UNSUPPORTED, "FWCMD-23: not modelled");
    }
    if (c->buf_len) {
        buf = g_malloc0(c->buf_len);
        status = snp_fw_read(fw, spa, buf, c->buf_len);
        if (status == SEV_SUCCESS && c->buf_out) {
            status = snp_fw_writable_pages(fw, spa, c->buf_len);
        }
        if (status) {
            return status;
        }
    }
    status = c->run(fw, buf);
    /* also after a refusal: a query for a length is one */
    if (c->buf_out) {
        snp_fw_write(fw, spa, buf, c->buf_len);
    }
    return status;
}

SevStatus snp_fw_command(SnpFw *fw, unsigned cmd, uint64_t buf)
{
    const SnpFwCommand *c = snp_fw_find(cmd);
    SevStatus status;

    fw->cmd_name = c ? c->name : "unknown";
    trace_snp_fw_command(cmd, fw->cmd_name, buf);
    if (c) {
        status = snp_fw_run(fw, c, snp_fw_spa(buf));
    } else {
        /* FW-08 (ABI, status codes) */
        qemu_log_mask(LOG_GUEST_ERROR, "amd-psp: no command 0x%x\n", cmd);
        status = snp_fw_refuse(fw, SEV_INVALID_COMMAND,
                               "FW-08: no such command");
    }
    trace_snp_fw_status(cmd, fw->cmd_name, status);
    return status;
}

/* ---- life cycle ---- */

SnpFw *snp_fw_new(SnpHost *host, bool x86_snp_shutdown)
{
    SnpFw *fw = g_new0(SnpFw, 1);

    fw->host = host;
    fw->x86_snp_shutdown = x86_snp_shutdown;
    fw->nr_asids = snp_host_max_asid(fw->host) + 1;
    fw->asid = g_new0(uint8_t, fw->nr_asids);
    fw->snp_guests = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                           g_free);
    fw->sev_guests = g_hash_table_new_full(g_int_hash, g_int_equal, NULL,
                                           snp_fw_sev_guest_free);
    snp_fw_reset(fw);
    return fw;
}

void snp_fw_free(SnpFw *fw)
{
    g_hash_table_destroy(fw->snp_guests);
    g_hash_table_destroy(fw->sev_guests);
    g_free(fw->asid);
    g_free(fw);
}

void snp_fw_reset(SnpFw *fw)
{
    for (unsigned i = 1; i < fw->nr_asids; i++) {
        snp_host_set_asid(fw->host, i, false);
    }
    g_hash_table_remove_all(fw->snp_guests);
    g_hash_table_remove_all(fw->sev_guests);
    memset(fw->asid, SNP_ASID_FREE, fw->nr_asids);
    fw->snp_init = false;
    fw->rmp_initialized = false;
    fw->reported_tcb = SNP_TCB_VERSION;
    fw->config_flags = 0;
    fw->nr_iommu = 0;
    fw->sev_state = SEV_PLATFORM_UNINIT;
    fw->sev_es = false;
    fw->last_handle = 0;
    fw->cmd_name = "reset";
}
