/*
 * RDMSR and WRMSR of the MSRs that SEV and SNP add to a host, and the rules
 * SNP_EN puts on others.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/target_page.h"
#include "exec/tlb-flags.h"
#include "accel/tcg/probe.h"
#include "accel/tcg/cpu-mmu-index.h"
#include "exec/cputlb.h"
#include "tcg/helper-tcg.h"
#include "snp/snp_host.h"
#include "snp/snp_msr.h"
#include "trace.h"

static G_NORETURN void msr_gp(CPUX86State *env, uint32_t msr, const char *rule,
                              uintptr_t ra)
{
    trace_snp_refused(env_cpu(env)->cpu_index, "MSR", msr, rule);
    raise_exception_err_ra(env, EXCP0D_GPF, 0, ra);
}

static bool snp_guest_runs(CPUX86State *env)
{
    return env->hflags & HF_GUEST_MASK;
}

static void wrmsr_syscfg(CPUX86State *env, uint64_t val, uintptr_t ra)
{
    uint64_t old = env->snp.syscfg;

    /*
     * SYSCFG-04 (APM2 15.36.2): also how SYSCFG-03 (PPR SYS_CFG) keeps VMPL_EN
     * as SNP_EN found it
     */
    if (old & SYSCFG_SNP_EN) {
        return;
    }
    /* SYSCFG-01 (PPR SYS_CFG) */
    if (val & ~SYSCFG_WRITABLE) {
        msr_gp(env, MSR_AMD_SYSCFG, "SYSCFG-01", ra);
    }
    /* SYSCFG-02 (PPR SYS_CFG) */
    val |= old & SYSCFG_WRITE_ONE;
    if (val & SYSCFG_SNP_EN) {
        Rmp *rmp;

        /* SYSCFG-07 (APM2 15.36.2) */
        if (!(val & SYSCFG_SMEE)) {
            msr_gp(env, MSR_AMD_SYSCFG, "SYSCFG-07", ra);
        }
        rmp = snp_host_enable(env->snp.host, env->snp.rmp_base,
                              env->snp.rmp_end, env->snp.rmp_cfg);
        if (!rmp) {
            msr_gp(env, MSR_AMD_SYSCFG, "GEOM-02", ra);
        }
        env->snp.rmp = rmp;
        tlb_flush(env_cpu(env));
    }
    qatomic_set(&env->snp.syscfg, val);
}

/* RST-01 (APM2 15.36.22) */
static void wrmsr_rmp_cfg(CPUX86State *env, uint64_t val, uintptr_t ra)
{
    const unsigned shift = extract64(val, 8, 6);

    if (env->snp.rmp || (val & ~RMP_CFG_WRITABLE) ||
        ((val & RMP_CFG_SEGMENTED) && (shift < RMP_SEGMENT_SHIFT_MIN ||
                                       shift > RMP_SEGMENT_SHIFT_MAX))) {
        msr_gp(env, MSR_AMD_RMP_CFG, "RST-01", ra);
    }
    env->snp.rmp_cfg = val;
}

static void check_hsave(CPUX86State *env, uint64_t val, uintptr_t ra)
{
    /*
     * MSR-HSAVE-02 (APM2 15.30.4, 15.36.12); MSR-HSAVE-01 is the caller's;
     * MSR-HSAVE-03: 0 is always writable
     */
    if (env->snp.rmp && val && !rmp_hv_owned(env->snp.rmp, val, RMP_PAGE_4K)) {
        msr_gp(env, MSR_VM_HSAVE_PA, "MSR-HSAVE-02", ra);
    }
}

/*
 * MSR-05, MSR-06, MSR-07 (APM2 15.32): MSRs that neither host nor guest of this
 * processor has
 */
static void check_absent(CPUX86State *env, uint32_t msr, uintptr_t ra)
{
    switch (msr) {
    case MSR_AMD_GUEST_TSC_FREQ:
        msr_gp(env, msr, "MSR-05", ra);
    case MSR_AMD_VIRTUAL_TOM:
    case MSR_AMD_SECURE_AVIC:
        msr_gp(env, msr, "MSR-06", ra);
    case MSR_AMD_RMP_CFG:
        if (!snp_host_segment_shift(env->snp.host)) {
            msr_gp(env, msr, "RST-01", ra);
        }
        break;
    case MSR_AMD_VIRT_RMPUPDATE:
    case MSR_AMD_VIRT_PSMASH:
        msr_gp(env, msr, "MSR-07", ra);
    }
}

bool snp_wrmsr(CPUX86State *env, uint32_t msr, uint64_t val, uintptr_t ra)
{
    void *host;

    check_absent(env, msr, ra);
    switch (msr) {
    case MSR_AMD_SYSCFG:
        wrmsr_syscfg(env, val, ra);
        return true;
    case MSR_AMD_HWCR:
        /* MSR-02 (APM2 15.32): SmmLock is sticky */
        qatomic_set(&env->snp.hwcr, val | (env->snp.hwcr & HWCR_SMM_LOCK));
        return true;
    case MSR_AMD_RMP_BASE:
    case MSR_AMD_RMP_END:
        /*
         * SYSCFG-06 (strict choice); the low 13 bits are fixed, GEOM-02 (APM2
         * 15.36.4)
         */
        if (env->snp.rmp || (val >> snp_spa_bits(env))) {
            msr_gp(env, msr, "SYSCFG-06", ra);
        }
        if (msr == MSR_AMD_RMP_BASE) {
            env->snp.rmp_base = val & ~0x1fffull;
        } else {
            env->snp.rmp_end = val | 0x1fff;
        }
        return true;
    case MSR_AMD_RMP_CFG:
        wrmsr_rmp_cfg(env, val, ra);
        return true;
    case MSR_AMD_GHCB:
        /* EXIT-13 (APM2 15.35.7) */
        if (!(env->snp.guest & SNP_GUEST_ES)) {
            msr_gp(env, msr, "EXIT-13", ra);
        }
        env->snp.ghcb = val;
        return true;
    case MSR_AMD_VM_PAGE_FLUSH:
        /*
         * MSR-03 (APM2 15.34.9); memory is coherent here, there is nothing to
         * flush.  The address is translated as a read.
         */
        if (!(val & 0xfff) ||
            (probe_access_flags(env, val & TARGET_PAGE_MASK, 0, MMU_DATA_LOAD,
                                cpu_mmu_index(env_cpu(env), false), true,
                                &host, 0) & TLB_INVALID_MASK)) {
            msr_gp(env, msr, "MSR-03", ra);
        }
        return true;
    case MSR_AMD_SEV_STATUS:
        msr_gp(env, msr, "EXIT-14", ra);
    case MSR_AMD_IORR_FIRST ... MSR_AMD_IORR_LAST:
    case MSR_AMD_TOP_MEM:
    case MSR_AMD_TOP_MEM2:
    case MSR_AMD_SMM_KEY:
    case MSR_MTRRfix64K_00000:
    case MSR_MTRRfix16K_80000:
    case MSR_MTRRfix16K_A0000:
    case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
        /* SYSCFG-05 (APM2 15.36.2) */
        if (env->snp.rmp && !snp_guest_runs(env)) {
            msr_gp(env, msr, "SYSCFG-05", ra);
        }
        return false;
    case MSR_VM_HSAVE_PA:
        check_hsave(env, val, ra);
        return false;
    case MSR_PAT:
        /* QEMU takes any; a guest with a wrong one would not run again */
        if (!snp_pat_valid(val)) {
            msr_gp(env, msr, "VMRUN-20 G_PAT", ra);
        }
        return false;
    }
    return false;
}

bool snp_rdmsr(CPUX86State *env, uint32_t msr, uint64_t *val, uintptr_t ra)
{
    check_absent(env, msr, ra);
    switch (msr) {
    case MSR_AMD_SYSCFG:
        *val = env->snp.syscfg;
        return true;
    case MSR_AMD_HWCR:
        *val = env->snp.hwcr;
        return true;
    case MSR_AMD_RMP_BASE:
        *val = env->snp.rmp_base;
        return true;
    case MSR_AMD_RMP_END:
        *val = env->snp.rmp_end;
        return true;
    case MSR_AMD_RMP_CFG:
        *val = env->snp.rmp_cfg;
        return true;
    case MSR_AMD_GHCB:
        if (!(env->snp.guest & SNP_GUEST_ES)) {
            msr_gp(env, msr, "EXIT-13", ra);
        }
        *val = env->snp.ghcb;
        return true;
    case MSR_AMD_SEV_STATUS:
        /* EXIT-14 (APM2 15.34.10); MSR-04: 0 while no encrypted guest runs */
        *val = snp_guest_runs(env) ? env->snp.sev_status : 0;
        return true;
    case MSR_AMD_VM_PAGE_FLUSH:
        msr_gp(env, msr, "MSR-03", ra);
    }
    return false;
}
