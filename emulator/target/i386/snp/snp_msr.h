/*
 * MSRs of an SEV-SNP host (APM volume 2, 15.34 to 15.36; PPR family 19h)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_SNP_MSR_H
#define I386_SNP_MSR_H

#include "qemu/bitops.h"

#define MSR_AMD_SYSCFG          0xc0010010
#define SYSCFG_MFDM             BIT_ULL(19)
#define SYSCFG_SMEE             BIT_ULL(23)
#define SYSCFG_SNP_EN           BIT_ULL(24)
#define SYSCFG_VMPL_EN          BIT_ULL(25)
#define SYSCFG_WRITABLE         (0x1full << 18 | SYSCFG_SMEE | \
                                 SYSCFG_SNP_EN | SYSCFG_VMPL_EN)
#define SYSCFG_WRITE_ONE        (SYSCFG_SMEE | SYSCFG_SNP_EN)

#define MSR_AMD_HWCR            0xc0010015
#define HWCR_SMM_LOCK           BIT_ULL(0)
#define HWCR_TSC_FREQ_SEL       BIT_ULL(24)

#define MSR_AMD_IORR_FIRST      0xc0010016
#define MSR_AMD_IORR_LAST       0xc0010019
#define MSR_AMD_TOP_MEM         0xc001001a
#define MSR_AMD_TOP_MEM2        0xc001001d
#define MSR_AMD_SMM_KEY         0xc0010119
#define MSR_AMD_VM_PAGE_FLUSH   0xc001011e
#define MSR_AMD_GHCB            0xc0010130
#define MSR_AMD_SEV_STATUS      0xc0010131
#define MSR_AMD_RMP_BASE        0xc0010132
#define MSR_AMD_RMP_END         0xc0010133
#define MSR_AMD_GUEST_TSC_FREQ  0xc0010134
#define MSR_AMD_VIRTUAL_TOM     0xc0010135
#define MSR_AMD_RMP_CFG         0xc0010136
#define RMP_CFG_SEGMENTED       BIT_ULL(0)
#define RMP_CFG_WRITABLE        (RMP_CFG_SEGMENTED | 0x3full << 8)
#define MSR_AMD_SECURE_AVIC     0xc0010138
#define MSR_AMD_VIRT_RMPUPDATE  0xc001f001
#define MSR_AMD_VIRT_PSMASH     0xc001f002

#define SEV_STATUS_SEV          BIT_ULL(0)
#define SEV_STATUS_ES           BIT_ULL(1)

/* MSR PAT and a VMSA's G_PAT: UC, WC, WT, WP, WB, UC- */
static inline bool snp_pat_valid(uint64_t pat)
{
    for (int i = 0; i < 64; i += 8) {
        unsigned type = extract64(pat, i, 8);

        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

#endif
