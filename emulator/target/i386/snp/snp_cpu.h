/*
 * What one processor of an SEV-SNP host keeps, and the calls from QEMU's own
 * x86 code into the emulation.  Everything here is inert (snp.host and
 * snp.rmp NULL, snp.guest 0) unless the x-snp-host object exists.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_SNP_CPU_H
#define I386_SNP_CPU_H

#include "rmp.h"

/* SnpCpu.guest: the kind of encrypted guest; each implies those before it */
#define SNP_GUEST_SEV           1
#define SNP_GUEST_ES            2
#define SNP_GUEST_SNP           4

/* EXITINFO1 of #VMEXIT(NPF) beyond the page-fault bits (APM 15.36.10) */
#define SNP_NPF_RMP             (1ull << 31)
#define SNP_NPF_ENC             (1ull << 34)
#define SNP_NPF_SIZEM           (1ull << 35)
#define SNP_NPF_VMPL            (1ull << 36)
/* Not an EXITINFO1 bit: the access ends in #VC(404h), not in a #VMEXIT */
#define SNP_FAULT_VC            (1ull << 63)

/*
 * In an address for the nested TLB index: CPL 3 at a VMPL above 0 (ACC-03: APM2
 * 15.36.10)
 */
#define SNP_NESTED_USER         (1ull << 62)

#define SNP_VC_NOT_VALIDATED    0x404

typedef struct SnpTlb SnpTlb;           /* snp_tlb.c */
typedef struct SnpTlbHost SnpTlbHost;

typedef struct SnpCpu {
    struct SnpHost *host;       /* the machine's, or NULL */
    Rmp *rmp;                   /* set once this processor has SNP_EN */
    uint64_t syscfg;
    uint64_t hwcr;
    uint64_t rmp_base;
    uint64_t rmp_end;
    uint64_t rmp_cfg;
    uint8_t pa_reduction;       /* CPUID 8000_001F EBX[11:6]; SMEE is 1 */

    /* the guest between VMRUN and #VMEXIT */
    uint8_t kind;               /* SNP_GUEST_* that VMRUN asks for */
    uint8_t guest;              /* SNP_GUEST_* of the guest that runs */
    uint8_t vmpl;
    uint32_t asid;
    uint32_t tlb_asid;          /* of any guest; 0: not followed */
    uint32_t event_inj;         /* as checked: VMRUN-17 (APM2 15.20) */
    uint64_t pcpu_id;           /* VMSA.PCPU_ID at VMRUN */
    uint64_t cbit;              /* C-bit mask of the running guest, or 0 */
    uint64_t vmsa;              /* SPA of the VMSA page */
    uint64_t sev_features;      /* VMSA.SEV_FEATURES at VMRUN */
    uint64_t ghcb;              /* MSR C001_0130 */
    uint64_t host_pat;          /* SWAP-06 (APM2 B) */
    RmpUse vmcb_use;
    RmpUse vmsa_use;

    uint64_t sev_status;        /* MSR C001_0131: of the last VMRUN */
    uint64_t fault;             /* SNP_NPF_*, SNP_FAULT_VC of a nested walk */
    uint64_t decode_va;         /* decode assist: INVLPG's operand */
    uint8_t insn_len;           /* of the instruction that was unwound to */
    SnpTlb *tlb;                /* NULL with stale=off */
} SnpCpu;

/* PVALIDATE and friends: translation without RMP checks of the final page */
typedef struct SnpTranslation {
    uint64_t gpa;               /* without C-bit */
    uint64_t spa;
    uint64_t gpt_leaf;          /* sizes in bytes */
    uint64_t npt_leaf;
    bool c_bit;                 /* effective */
} SnpTranslation;

#if defined(CONFIG_USER_ONLY) || !defined(CONFIG_TCG)
#define snp_cpu_enabled(env)        false
#define snp_cpu_supported(word)     0
#define snp_cpu_expand_features(env)
#define snp_cpu_reset(env)
#define snp_cpu_realize(env, errp)  true
#define snp_cpu_unrealize(env)
#define snp_cpu_cpuid(env, leaf, eax, ebx, ecx, edx)
#define snp_cpu_xlevel(env)         0x8000001F
#else
#include "exec/hwaddr.h"
#include "exec/vaddr.h"
#include "exec/mmu-access-type.h"

#define snp_cpu_enabled(env)        ((env)->snp.host != NULL)

/* ---- cpu.c: reset, CPUID, features ---- */
/* RESET or INIT: a guest that ran is gone; the MSRs stay (INIT keeps them) */
void snp_cpu_reset(CPUArchState *env);
/* The guest that ran has left, or is gone */
void snp_guest_end(CPUArchState *env);
/* False if this cannot be a processor of the machine's SNP host */
bool snp_cpu_realize(CPUArchState *env, Error **errp);
void snp_cpu_unrealize(CPUArchState *env);
/* What the processor of an SNP host may have more, of this FeatureWord */
uint64_t snp_cpu_supported(unsigned word);
/* ... and has, unless -cpu says that it has not */
void snp_cpu_expand_features(CPUArchState *env);
/* The highest extended leaf that this needs */
uint32_t snp_cpu_xlevel(CPUArchState *env);
void snp_cpu_cpuid(CPUArchState *env, uint32_t leaf, uint32_t *eax,
                   uint32_t *ebx, uint32_t *ecx, uint32_t *edx);

/*
 * SPA-01 (APM2 7.10.1): the width of a system physical address, which the
 * memory encryption reduces.  SPA-02 (APM2 15.34.6): a guest's physical
 * addresses keep the width that CPUID 8000_0008 tells; snp_pa_bits() is for
 * what the running code calls physical.
 */
unsigned snp_spa_bits(CPUArchState *env);
unsigned snp_pa_bits(CPUArchState *env);

/* ---- misc_helper.c ---- */
/* False: not one of ours, or checked and left to the caller to store. */
bool snp_wrmsr(CPUArchState *env, uint32_t msr, uint64_t val, uintptr_t ra);
bool snp_rdmsr(CPUArchState *env, uint32_t msr, uint64_t *val, uintptr_t ra);

/* ---- excp_helper.c ---- */
/*
 * The RMP's verdict on a translation about to enter the TLB.  @addr is what
 * was translated (a GPA with the C-bit for the nested index), *@spa and
 * @page_size the result; *@spa changes where what is read is ciphertext.
 * Rights that the RMP denies are taken out of *@prot.
 * False if @access itself is denied: *@error gets the page-fault bits to add
 * (host) and *@fault the SNP_NPF_*, SNP_FAULT_VC (nested walk).
 */
bool snp_tlb_fill(CPUArchState *env, uint64_t addr, uint64_t *spa,
                  uint64_t page_size, MMUAccessType access, int mmu_idx,
                  int *prot, uint32_t *error, uint64_t *fault);
/*
 * The effective C-bit of a guest access (APM 15.34.5): adds it to or takes it
 * from *@gpa; returns the PAGE_* rights that the kind of mapping leaves.
 */
int snp_effective_cbit(CPUArchState *env, bool user, bool c_bit_in_pte,
                       MMUAccessType access, uint64_t *gpa);
void snp_raise_not_validated(CPUArchState *env, vaddr gva, uintptr_t ra)
    G_NORETURN;

/* Raises the guest's #PF or #VMEXIT(NPF) as the access would. */
void snp_translate(CPUArchState *env, vaddr gva, SnpTranslation *t,
                   uintptr_t ra);

/* ---- snp_tlb.c: what hardware's TLB may still hold of guests ---- */
/* With @use what is stale is used, otherwise only told */
SnpTlbHost *snp_tlb_host_new(bool use);
/* An RMP change flushes these pages on all processors; size 0: all pages */
void snp_tlb_rmp_changed(SnpTlbHost *host, uint64_t spa, uint64_t size);
void snp_tlb_realize(CPUArchState *env, SnpTlbHost *host);
void snp_tlb_reset(CPUArchState *env);
void snp_tlb_vmrun(CPUArchState *env, uint8_t tlb_ctl);
void snp_tlb_vmexit(CPUArchState *env);
void snp_tlb_guest_flush(CPUArchState *env);
void snp_tlb_invlpga(CPUArchState *env, vaddr addr, uint32_t asid);
/*
 * A walk of the running guest's page tables ended with @found and, if so, these
 * results.  Returns whether there is a translation, which may be an older one.
 */
bool snp_tlb_walked(CPUArchState *env, vaddr addr, MMUAccessType access,
                    int mmu_idx, bool found, uint64_t *spa, int *prot,
                    int *page_size);

/* ---- svm_helper.c ---- */
/* VMRUN before anything is saved: #GP(0) of VMRUN-01, -02 (APM2 15.36.12) */
void snp_vmrun_begin(CPUArchState *env, uint64_t vmcb, uintptr_t ra);
/* VMRUN checks on the control area; #VMEXIT(INVALID) and friends */
void snp_vmrun_check_control(CPUArchState *env, uint64_t nested_ctl,
                             uint32_t asid, uintptr_t ra);
/* True if the guest's state came from a VMSA, false for a plain VMCB */
bool snp_vmrun_load(CPUArchState *env, uintptr_t ra);
/* VMRUN has succeeded for a guest without VMSA: INUSE-01 (APM2 15.36.12) */
void snp_vmrun_commit(CPUArchState *env, uintptr_t ra);
/* First thing at every #VMEXIT; does not return for non-automatic exits */
void snp_vmexit_begin(CPUArchState *env, uint64_t exit_code,
                      uint64_t *exit_info_1, uintptr_t ra);
/*
 * True if the VMCB's save area must stay untouched (VMRUN-09: APM2 15.34.3,
 * 15.5.1, 15.35.2, 15.35.8)
 */
bool snp_vmexit_save(CPUArchState *env);
/* After the host's state was loaded from HSAVE */
void snp_vmexit_end(CPUArchState *env);
/*
 * VMSAVE and VMLOAD of a system physical address, not intercepted: VMSAVE-01,
 * -03 (APM2 15.36.12), and where VMLOAD is to read (ENC-01: APM2 15.34).
 */
void snp_vmsave_check(CPUArchState *env, uint64_t vmcb, uintptr_t ra);
uint64_t snp_vmload_address(CPUArchState *env, uint64_t vmcb, uintptr_t ra);
/* Automatic exits after a write: CR and EFER traps (EXIT-12: APM2 15.35.10) */
void snp_write_trap(CPUArchState *env, uint32_t exit_code, uint64_t value,
                    uintptr_t ra);
#endif

#endif
