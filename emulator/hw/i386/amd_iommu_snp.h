/*
 * The AMD IOMMU on an SEV-SNP host.
 *
 * Two customers: amd_iommu.c asks what SNP changes, the firmware of the Secure
 * Processor switches RMP enforcement on and off.  Without an emulated SNP host
 * every function is a no-op and the IOMMU is the stock one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_I386_AMD_IOMMU_SNP_H
#define HW_I386_AMD_IOMMU_SNP_H

#include "exec/hwaddr.h"
#include "system/memory.h"

typedef struct AMDVIState AMDVIState;

/* What SNP adds to the state of the IOMMU */
typedef struct AMDVISnp {
    struct SnpHost *host;       /* of the machine, or NULL */
    bool enforced;              /* DMA is held against the RMP */
    /* the last refused access */
    hwaddr fault_iova;
    uint16_t fault_devid;
    bool fault_write;
} AMDVISnp;

/* ---- for the firmware ---- */

/* Memory that the IOMMU writes on its own account */
typedef struct AMDVISnpBuffer {
    const char *name;
    hwaddr base;
    uint64_t size;              /* a multiple of 4 KB */
} AMDVISnpBuffer;

#define AMDVI_SNP_BUFFERS       3

/*
 * DMA-03 (Linux amd_iommu_snp_disable()): the event log, PPR log and completion
 * store that software has set up; returns how many.  A negative number means
 * that there is no IOMMU, or one that is off: SNP_INIT must then fail (DMA-02:
 * Linux iommu_snp_enable()).
 */
int amdvi_snp_buffers(AMDVISnpBuffer buf[AMDVI_SNP_BUFFERS]);

/*
 * Check DMA against the RMP from now on, and lock the registers that hold
 * table and buffer addresses; or stop doing so.
 */
void amdvi_snp_enforce(bool on);

/* ---- for amd_iommu.c ---- */

/* What to do with a write to a register that SNP gives another meaning */
typedef enum AMDVISnpReg {
    AMDVI_SNP_REG_STOCK,        /* what the IOMMU does without SNP */
    AMDVI_SNP_REG_KEEP,         /* the register just holds the value */
    AMDVI_SNP_REG_LOCKED,       /* ignore the write */
} AMDVISnpReg;

/* Power-on and reset, before anything else of this is asked */
void amdvi_snp_reset(AMDVIState *s);

/*
 * DMA-02 (Linux iommu_snp_enable()): the extended features, from those of the
 * stock IOMMU
 */
uint64_t amdvi_snp_features(AMDVIState *s, uint64_t features);

AMDVISnpReg amdvi_snp_reg_write(AMDVIState *s, hwaddr reg);

/*
 * DMA-03 (Linux amd_iommu_snp_disable()): may COMPLETION_WAIT store 8 bytes at
 * @addr?
 */
bool amdvi_snp_may_store(AMDVIState *s, hwaddr addr);

/*
 * DMA-03 (Linux amd_iommu_snp_disable()): is an MSI to @addr one, and no write
 * to memory?
 */
bool amdvi_snp_may_send(AMDVIState *s, hwaddr addr);

/* The event log's interrupt is not an MSI (IntCapXTEn): it was sent */
bool amdvi_snp_event_interrupt(AMDVIState *s);

/*
 * DMA-01 (Linux amd_iommu_types.h): hold a translation of @iova that the page
 * tables gave against the RMP.  A refused one gets no permission, and the event
 * log an entry.
 */
void amdvi_snp_check(AMDVIState *s, uint16_t devid, hwaddr iova,
                     IOMMUAccessFlags access, IOMMUTLBEntry *tlb);

#endif
