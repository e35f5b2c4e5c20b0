/*
 * The AMD IOMMU on an SEV-SNP host.
 *
 * Everything that DMA reaches through the IOMMU is held against the RMP, each
 * time and page by page, so that no cached translation outlives a change of
 * the RMP.  What the IOMMU writes itself (event log, PPR log, completion
 * stores) goes to pages that SNP_INIT made the firmware's and is not checked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/address-spaces.h"
#include "hw/i386/apic_internal.h"
#include "hw/pci/msi.h"
#include "amd_iommu.h"
#include "target/i386/snp/snp_host.h"
#include "trace.h"

#define AMDVI_FEATURE_SNP               (1ull << 63)

/* Interrupt control for the event log, instead of MSI when IntCapXTEn */
#define AMDVI_MMIO_XT_EVENT             0x0170
#define AMDVI_MMIO_XT_PPR               0x0178
#define AMDVI_MMIO_XT_GALOG             0x0180
#define AMDVI_MMIO_CONTROL_INTCAPXTEN   (1ull << 51)

#define AMDVI_EVENT_RMP_FAULT           0xdull
#define AMDVI_EVENT_FLAG_RW             0x020ull

/* ---- features and registers ---- */

void amdvi_snp_reset(AMDVIState *s)
{
    s->snp = (AMDVISnp) { .host = snp_host_get() };
}

/*
 * Page requests are not modelled, stock or SNP.  With the stock features Linux
 * allocates a PPR log that it never tells the IOMMU of, for want of guest
 * translation; at SNP_SHUTDOWN_EX it then expects the log's pages in a state
 * that the firmware had no way to bring them to.  No SNP part is like that.
 */
uint64_t amdvi_snp_features(AMDVIState *s, uint64_t features)
{
    if (s->snp.host) {
        features &= ~AMDVI_FEATURE_PPR;
        features |= AMDVI_FEATURE_SNP;
    }
    return features;
}

AMDVISnpReg amdvi_snp_reg_write(AMDVIState *s, hwaddr reg)
{
    if (!s->snp.host) {
        return AMDVI_SNP_REG_STOCK;
    }
    switch (reg) {
    case AMDVI_MMIO_EXCL_BASE:  /* completion store base and limit */
    case AMDVI_MMIO_EXCL_LIMIT:
        if (!s->snp.enforced) {
            return AMDVI_SNP_REG_KEEP;
        }
        break;
    case AMDVI_MMIO_XT_EVENT:
    case AMDVI_MMIO_XT_PPR:
    case AMDVI_MMIO_XT_GALOG:
        return AMDVI_SNP_REG_KEEP;
    case AMDVI_MMIO_DEVICE_TABLE:
    case AMDVI_MMIO_COMMAND_BASE:
    case AMDVI_MMIO_EVENT_BASE:
    case AMDVI_MMIO_PPR_BASE:
        if (!s->snp.enforced) {
            return AMDVI_SNP_REG_STOCK;
        }
        break;
    default:
        return AMDVI_SNP_REG_STOCK;
    }
    /* AMD IOMMU specification 2.12.2.1, as Linux's kdump code knows it */
    trace_amdvi_snp_locked(reg);
    return AMDVI_SNP_REG_LOCKED;
}

static hwaddr amdvi_snp_store_base(AMDVIState *s)
{
    return ldq_le_p(&s->mmior[AMDVI_MMIO_EXCL_BASE]) &
           AMDVI_MMIO_EXCL_LIMIT_MASK;
}

/* The last byte: equal base and limit registers mean one page */
static hwaddr amdvi_snp_store_last(AMDVIState *s)
{
    return (ldq_le_p(&s->mmior[AMDVI_MMIO_EXCL_LIMIT]) &
            AMDVI_MMIO_EXCL_LIMIT_MASK) | AMDVI_MMIO_EXCL_LIMIT_LOW;
}

bool amdvi_snp_may_store(AMDVIState *s, hwaddr addr)
{
    if (!s->snp.enforced) {
        return true;
    }
    return addr >= amdvi_snp_store_base(s) &&
           addr + AMDVI_COMPLETION_DATA_SIZE - 1 <= amdvi_snp_store_last(s);
}

bool amdvi_snp_may_send(AMDVIState *s, hwaddr addr)
{
    return !s->snp.enforced ||
           (addr >= AMDVI_INT_ADDR_FIRST && addr <= AMDVI_INT_ADDR_LAST);
}

/* ---- for the firmware ---- */

static AMDVIState *amdvi_snp_iommu(void)
{
    X86IOMMUState *iommu = x86_iommu_get_default();

    return (AMDVIState *)object_dynamic_cast(OBJECT(iommu),
                                             TYPE_AMD_IOMMU_DEVICE);
}

int amdvi_snp_buffers(AMDVISnpBuffer buf[AMDVI_SNP_BUFFERS])
{
    AMDVIState *s = amdvi_snp_iommu();
    int n = 0;

    if (!s || !s->enabled) {
        return -1;
    }
    if (s->evtlog) {
        buf[n++] = (AMDVISnpBuffer) {
            "event log", s->evtlog,
            ROUND_UP((uint64_t)s->evtlog_len * AMDVI_EVENT_LEN,
                     AMDVI_PAGE_SIZE),
        };
    }
    if (s->ppr_log) {
        buf[n++] = (AMDVISnpBuffer) {
            "PPR log", s->ppr_log,
            ROUND_UP((uint64_t)s->pprlog_len * AMDVI_EVENT_LEN,
                     AMDVI_PAGE_SIZE),
        };
    }
    if (amdvi_snp_store_base(s) &&
        amdvi_snp_store_base(s) < amdvi_snp_store_last(s)) {
        buf[n++] = (AMDVISnpBuffer) {
            "completion store", amdvi_snp_store_base(s),
            amdvi_snp_store_last(s) + 1 - amdvi_snp_store_base(s),
        };
    }
    return n;
}

void amdvi_snp_enforce(bool on)
{
    AMDVIState *s = amdvi_snp_iommu();

    if (s) {
        trace_amdvi_snp_enforce(on);
        s->snp.enforced = on;
    }
}

/* ---- the event log ---- */

bool amdvi_snp_event_interrupt(AMDVIState *s)
{
    uint64_t control = ldq_le_p(&s->mmior[AMDVI_MMIO_CONTROL]);
    uint64_t xt = ldq_le_p(&s->mmior[AMDVI_MMIO_XT_EVENT]);
    X86IOMMUIrq irq = {
        .dest_mode = extract64(xt, 2, 1),
        .dest = extract64(xt, 8, 24) | extract64(xt, 56, 8) << 24,
        .vector = extract64(xt, 32, 8),
        .delivery_mode = extract64(xt, 40, 1),
    };
    MSIMessage msg = {};

    if (!s->snp.host || !(control & AMDVI_MMIO_CONTROL_INTCAPXTEN)) {
        return false;
    }
    if (xt) {
        x86_iommu_irq_to_msi_message(&irq, &msg);
        apic_get_class(NULL)->send_msi(&msg);
    }
    return true;
}

/* ---- DMA ---- */

/*
 * A refused transfer comes back here every 4 or 8 bytes, as the memory core
 * then takes it apart; the log wants one entry for it.
 */
static bool amdvi_snp_is_continued(AMDVIState *s, uint16_t devid, hwaddr iova,
                                   bool write)
{
    static const unsigned step = sizeof(uint64_t);
    hwaddr last = s->snp.fault_iova;
    bool continued = s->snp.fault_devid == devid &&
                     s->snp.fault_write == write && iova > last &&
                     iova - last <= step &&
                     !((iova ^ last) & AMDVI_PAGE_MASK_4K);

    s->snp.fault_devid = devid;
    s->snp.fault_write = write;
    s->snp.fault_iova = iova;
    return continued;
}

void amdvi_snp_check(AMDVIState *s, uint16_t devid, hwaddr iova,
                     IOMMUAccessFlags access, IOMMUTLBEntry *tlb)
{
    Rmp *rmp = snp_host_rmp(s->snp.host);
    hwaddr spa;

    /* DMA-04 (strict choice): there is nothing above memory for a device */
    if (s->snp.host && tlb->perm != IOMMU_NONE &&
        !snp_host_dma_allowed(NULL, (tlb->translated_addr & ~tlb->addr_mask) |
                                    (iova & tlb->addr_mask))) {
        tlb->perm = IOMMU_NONE;
        return;
    }
    if (!s->snp.enforced || !rmp || tlb->perm == IOMMU_NONE ||
        access == IOMMU_NONE ||
        (iova >= AMDVI_INT_ADDR_FIRST && iova <= AMDVI_INT_ADDR_LAST)) {
        return;
    }

    /* one page at a time: its neighbours may be in another state */
    spa = (tlb->translated_addr & ~tlb->addr_mask) | (iova & tlb->addr_mask);
    spa &= AMDVI_PAGE_MASK_4K;
    tlb->iova = iova & AMDVI_PAGE_MASK_4K;
    tlb->translated_addr = spa;
    tlb->addr_mask = ~AMDVI_PAGE_MASK_4K;

    if (!snp_host_dma_allowed(rmp, spa)) {
        bool write = access & IOMMU_WO;
        uint64_t evt[2];

        trace_amdvi_snp_rmp_fault(PCI_BUS_NUM(devid), PCI_SLOT(devid),
                                  PCI_FUNC(devid), iova, spa, write);
        tlb->perm = IOMMU_NONE;
        if (amdvi_snp_is_continued(s, devid, iova, write)) {
            return;
        }
        evt[0] = devid | AMDVI_EVENT_RMP_FAULT << 60 |
                 (write ? AMDVI_EVENT_FLAG_RW << 48 : 0);
        evt[1] = iova;
        amdvi_log_event(s, evt);
        return;
    }
    tlb->translated_addr = snp_host_dma(s->snp.host, spa, access & IOMMU_WO);
}
