/*
 * Layout of the VMSA: the save area of an SEV-ES or SNP guest (APM volume 2,
 * table B-4) and, from HSAVE_PA + 400h, the host's (SWAP-02).  Names follow
 * the manual.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_SNP_VMSA_H
#define I386_SNP_VMSA_H

#include "qemu/compiler.h"

typedef struct QEMU_PACKED VmsaSeg {
    uint16_t selector;
    uint16_t attrib;
    uint32_t limit;
    uint64_t base;
} VmsaSeg;

typedef struct QEMU_PACKED Vmsa {
    VmsaSeg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint64_t pl_ssp[4];
    uint64_t u_cet;
    uint8_t rsvd_0c8[2];
    uint8_t vmpl;
    uint8_t cpl;
    uint8_t rsvd_0cc[4];
    uint64_t efer;
    uint8_t rsvd_0d8[104];
    uint64_t xss;
    uint64_t cr4, cr3, cr0;
    uint64_t dr7, dr6;
    uint64_t rflags, rip;
    uint64_t dr[4], dr_mask[4];
    uint8_t rsvd_1c0[24];
    uint64_t rsp;
    uint64_t s_cet, ssp, isst_addr;
    uint64_t rax;
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t cr2;
    uint8_t rsvd_248[32];
    uint64_t g_pat;
    uint64_t dbgctl, br_from, br_to, last_excp_from, last_excp_to;
    uint8_t rsvd_298[80];
    uint32_t pkru;
    uint32_t tsc_aux;
    uint64_t tsc_scale, tsc_offset;
    uint8_t rsvd_300[8];
    uint64_t rcx, rdx, rbx;
    uint64_t rsvd_320;
    uint64_t rbp, rsi, rdi;
    uint64_t r8_15[8];
    uint8_t rsvd_380[16];
    uint64_t guest_exitinfo1, guest_exitinfo2, guest_exitintinfo, guest_nrip;
    uint64_t sev_features;
    uint64_t vintr_ctrl;
    uint64_t guest_exitcode;
    uint64_t virtual_tom;
    uint64_t tlb_id, pcpu_id;
    uint64_t eventinj;
    uint64_t xcr0;
    uint8_t rsvd_3f0[16];
    uint64_t x87_dp;
    uint32_t mxcsr;
    uint16_t x87_ftw, x87_fsw, x87_fcw, x87_fop, x87_ds, x87_cs;
    uint64_t x87_rip;
    uint64_t fpr_mantissa[8];
    uint16_t fpr_exponent[8];
    uint64_t xmm[16][2];
    uint64_t ymm_hi[16][2];
} Vmsa;

QEMU_BUILD_BUG_ON(offsetof(Vmsa, vmpl) != 0xca);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, efer) != 0xd0);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, xss) != 0x140);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, rsp) != 0x1d8);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, g_pat) != 0x268);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, pkru) != 0x2e8);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, rcx) != 0x308);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, guest_exitinfo1) != 0x390);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, sev_features) != 0x3b0);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, xcr0) != 0x3e8);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, x87_dp) != 0x400);
QEMU_BUILD_BUG_ON(offsetof(Vmsa, xmm) != 0x470);
QEMU_BUILD_BUG_ON(sizeof(Vmsa) != 0x670);

/* VMSA.SEV_FEATURES (APM table B-4, 3B0h) */
#define VMSA_SNP_ACTIVE         (1ull << 0)

#endif
