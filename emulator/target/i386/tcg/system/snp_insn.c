/*
 * RMPUPDATE, PSMASH, RMPREAD, RMPADJUST, PVALIDATE, RMPQUERY, VMGEXIT, WBINVD:
 * operands, faults, flags and TLB maintenance.  What they do to the table is
 * target/i386/snp/rmp.c.
 *
 * 64-bit mode is checked by the decoder (INSN-01: APM3).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/target_page.h"
#include "exec/cputlb.h"
#include "exec/helper-proto.h"
#include "accel/tcg/cpu-ldst.h"
#include "accel/tcg/cpu-mmu-index.h"
#include "tcg/helper-tcg.h"
#include "snp/snp_host.h"
#include "accel/tcg/tcg-sched.h"
#include "trace.h"

/*
 * INSN-06 (APM3, each instruction): EAX and the flags follow the return code;
 * CF is the caller's
 */
static void set_result(CPUX86State *env, int rc, bool cf)
{
    uint32_t flags = 0;

    env->regs[R_EAX] = rc;
    if (rc == 0) {
        flags |= CC_Z;
    }
    if (!(ctpop8(rc) & 1)) {
        flags |= CC_P;
    }
    if (cf) {
        flags |= CC_C;
    }
    env->cc_src = flags;
    env->cc_op = CC_OP_EFLAGS;
}

static int cpu_nr(CPUX86State *env)
{
    return env_cpu(env)->cpu_index;
}

/* Name the rules that a return code stands for, for the trace */
static void trace_rc(CPUX86State *env, const char *insn, uint64_t operand,
                     int rc, const char *const rules[8])
{
    if (rc != RMP_OK && rules[rc]) {
        trace_snp_refused(cpu_nr(env), insn, operand, rules[rc]);
    }
}

static const char *const rmpupdate_rules[8] = {
    [RMP_FAIL_INPUT] = "RMPUPDATE-04..07",
    [RMP_FAIL_PERMISSION] = "RMPUPDATE-08",
    [RMP_FAIL_INUSE] = "RMPUPDATE-13, -14",
    [RMP_FAIL_OVERLAP] = "RMPUPDATE-09..11",
};

static const char *const psmash_rules[8] = {
    [RMP_FAIL_INPUT] = "PSMASH-02",
    [RMP_FAIL_PERMISSION] = "PSMASH-05",
    [RMP_FAIL_INUSE] = "PSMASH-03, -07",
    [RMP_FAIL_BADADDR] = "PSMASH-04",
};

static const char *const rmpadjust_rules[8] = {
    [RMP_FAIL_INPUT] = "RMPADJUST-02, -03, -05",
    [RMP_FAIL_PERMISSION] = "RMPADJUST-04, -11",
    [RMP_FAIL_SIZEMISMATCH] = "RMPADJUST-09",
};

static const char *const pvalidate_rules[8] = {
    [RMP_FAIL_INPUT] = "PVALIDATE-02",
    [RMP_FAIL_SIZEMISMATCH] = "PVALIDATE-06",
};

static void check_cpl0(CPUX86State *env, uintptr_t ra)
{
    /* INSN-03 (APM3) */
    if (env->hflags & HF_CPL_MASK) {
        raise_exception_err_ra(env, EXCP0D_GPF, 0, ra);
    }
}

/* ---- the hypervisor's ---- */

/*
 * True if the instruction may go on; otherwise INSN-04 (APM3 RMPUPDATE, PSMASH)
 * has set the result.
 */
static bool hv_insn(CPUX86State *env, uintptr_t ra)
{
    /* INSN-02 (APM3) */
    if (!env->snp.rmp) {
        raise_exception_ra(env, EXCP06_ILLOP, ra);
    }
    check_cpl0(env, ra);
    /* INSN-04 (APM3) */
    if (env->hflags & HF_GUEST_MASK) {
        set_result(env, RMP_FAIL_PERMISSION, false);
        return false;
    }
    return true;
}

void helper_rmpupdate(CPUX86State *env)
{
    const uintptr_t ra = GETPC();
    const uint64_t spa = env->regs[R_EAX] & TARGET_PAGE_MASK;
    RmpState state;
    uint64_t lo, hi, size;
    Int128 operand;
    bool changed;
    int rc;

    if (!hv_insn(env, ra)) {
        return;
    }
    tcg_sched_point(env_cpu(env), TCG_SCHED_RMPUPDATE, ra);
    /* RMPUPDATE-03 (APM3 RMPUPDATE) */
    operand = cpu_ld16_mmu(env, env->regs[R_ECX],
                           make_memop_idx(MO_LE | MO_128,
                                          cpu_mmu_index(env_cpu(env), false)),
                           ra);
    lo = int128_getlo(operand);
    hi = int128_gethi(operand);
    state = (RmpState) {
        .gpa = lo,
        .assigned = extract64(hi, 0, 8),
        .page_size = extract64(hi, 8, 8),
        .immutable = extract64(hi, 16, 8),
        .reserved = extract64(hi, 24, 8),
        .asid = extract64(hi, 32, 32),
    };
    size = state.page_size & 1 ? RMP_PAGE_2M : RMP_PAGE_4K;
    if (snp_host_contended(env->snp.host, spa, true, &rc)) {
        trace_snp_refused(cpu_nr(env), "RMPUPDATE", spa, "RMPUPDATE-13, -16");
        set_result(env, rc, false);
        return;
    }
    rc = rmp_update(env->snp.rmp, spa, &state, &changed);
    if (changed) {
        /* RMPUPDATE-28 (APM2 15.34) */
        snp_host_contents_changed(spa, size);
        /* RMPUPDATE-29 (strict choice) */
        snp_host_flush_tlbs(env->snp.host, spa, size);
    }
    trace_snp_rmpupdate(cpu_nr(env), spa, state.gpa, state.assigned,
                        state.page_size, state.immutable, state.asid, rc,
                        rmp_raw(env->snp.rmp, spa).lo);
    trace_rc(env, "RMPUPDATE", spa, rc, rmpupdate_rules);
    if (rc == RMP_FAIL_INUSE) {
        tcg_sched_broken("vmsa-in-use");
    }
    set_result(env, rc, false);
}

void helper_psmash(CPUX86State *env)
{
    const uint64_t spa = env->regs[R_EAX];
    int rc;

    if (!hv_insn(env, GETPC())) {
        return;
    }
    if (snp_host_contended(env->snp.host, spa, false, &rc)) {
        trace_snp_refused(cpu_nr(env), "PSMASH", spa, "PSMASH-03");
        set_result(env, rc, false);
        return;
    }
    rc = rmp_smash(env->snp.rmp, spa);
    if (rc == RMP_OK) {
        /* PSMASH-08, as ACC-PGSZ (APM2 15.36.10) */
        snp_host_flush_tlbs(env->snp.host, spa, RMP_PAGE_2M);
    }
    trace_snp_psmash(cpu_nr(env), spa, rc);
    trace_rc(env, "PSMASH", spa, rc, psmash_rules);
    set_result(env, rc, false);
}

void helper_rmpread(CPUX86State *env)
{
    const uintptr_t ra = GETPC();
    RmpState state;
    int rc;

    if (!hv_insn(env, ra)) {
        return;
    }
    rc = rmp_read(env->snp.rmp, env->regs[R_EAX] & TARGET_PAGE_MASK, &state);
    if (rc == RMP_OK) {
        /* ARCH-01 (APM3 RMPREAD) */
        cpu_stq_data_ra(env, env->regs[R_ECX], state.gpa, ra);
        cpu_stq_data_ra(env, env->regs[R_ECX] + 8,
                        state.assigned | state.page_size << 8 |
                        state.immutable << 16 | (uint64_t)state.asid << 32, ra);
    }
    set_result(env, rc, false);
}

/* ---- the guest's ---- */

/*
 * INSN-05 (VeriSMo); INSN-02 (APM3) for a guest that SNP_SHUTDOWN_EX left
 * inside
 */
static void guest_insn(CPUX86State *env, uintptr_t ra)
{
    if (!(env->snp.guest & SNP_GUEST_SNP) || !env->snp.rmp) {
        raise_exception_ra(env, EXCP06_ILLOP, ra);
    }
    check_cpl0(env, ra);
}

static uint64_t guest_gva(CPUX86State *env)
{
    return env->hflags & HF_CS64_MASK ? env->regs[R_EAX] :
           (uint32_t)env->regs[R_EAX];
}

static void raise_verdict(CPUX86State *env, const SnpTranslation *t,
                          uint64_t gva, RmpVerdict verdict, uintptr_t ra)
{
    uint64_t info = PG_ERROR_P_MASK | PG_ERROR_U_MASK | SVM_NPTEXIT_GPA |
                    SNP_NPF_RMP;

    switch (verdict) {
    case RMP_GUEST_VC:
        snp_raise_not_validated(env, gva, ra);
    case RMP_GUEST_NPF_SIZEM:
        info |= SNP_NPF_SIZEM;
        break;
    default:
        break;
    }
    if (t->c_bit) {
        info |= SNP_NPF_ENC;
    }
    trace_snp_guest_fault(cpu_nr(env), t->gpa, t->spa,
                          rmp_raw(env->snp.rmp, t->spa).lo, -1, info);
    x86_stq_phys(env_cpu(env), env->vm_vmcb +
                 offsetof(struct vmcb, control.exit_info_2),
                 t->gpa & TARGET_PAGE_MASK);
    cpu_vmexit(env, SVM_EXIT_NPF, info, ra);
}

/* The leaf both page tables agree on: a 2 MB operation needs both */
static uint64_t operand_leaf(const SnpTranslation *t, bool size_2m)
{
    return size_2m ? MIN(t->gpt_leaf, t->npt_leaf) : t->npt_leaf;
}

void helper_pvalidate(CPUX86State *env)
{
    const uintptr_t ra = GETPC();
    const uint64_t gva = guest_gva(env);
    const bool size_2m = env->regs[R_ECX] & 1;
    const bool validate = env->regs[R_EDX] & 1;
    RmpVerdict verdict = RMP_GUEST_NPF;
    SnpTranslation t;
    bool unchanged = false;
    int rc;

    guest_insn(env, ra);
    /* PVALIDATE-01 (APM3 PVALIDATE) */
    if (env->snp.vmpl) {
        raise_exception_err_ra(env, EXCP0D_GPF, 0, ra);
    }
    rc = rmp_pvalidate_operands(gva, size_2m);
    if (rc == RMP_OK) {
        /* PVALIDATE-03 (VeriSMo) */
        snp_translate(env, gva, &t, ra);
        if (t.c_bit) {
            rc = rmp_pvalidate(env->snp.rmp, t.spa, t.gpa,
                               operand_leaf(&t, size_2m), env->snp.asid,
                               size_2m, validate, &verdict, &unchanged);
        }
        if (verdict != RMP_GUEST_OK) {
            raise_verdict(env, &t, gva, verdict, ra);
        }
        trace_snp_pvalidate(cpu_nr(env), gva, t.gpa, t.spa, size_2m, validate,
                            rc, unchanged);
        if (rc == RMP_OK && !unchanged && !validate) {
            /*
             * PVALIDATE-12 (APM2 15.36.15): other processors' entries are the
             * guest's worry
             */
            tlb_flush(env_cpu(env));
        }
    }
    trace_rc(env, "PVALIDATE", gva, rc, pvalidate_rules);
    set_result(env, rc, unchanged);
}

void helper_rmpadjust(CPUX86State *env)
{
    const uintptr_t ra = GETPC();
    const uint64_t gva = env->regs[R_EAX];
    const bool size_2m = env->regs[R_ECX] & 1;
    const uint64_t rdx = env->regs[R_EDX];
    RmpVerdict verdict = RMP_GUEST_NPF;
    SnpTranslation t;
    int rc;

    guest_insn(env, ra);
    rc = rmp_adjust_operands(gva, size_2m, rdx, env->snp.vmpl);
    if (rc == RMP_OK) {
        /* RMPADJUST-06 (VeriSMo) */
        snp_translate(env, gva, &t, ra);
        if (t.c_bit) {
            rc = rmp_adjust(env->snp.rmp, t.spa, t.gpa,
                            operand_leaf(&t, size_2m), env->snp.asid, size_2m,
                            rdx, env->snp.vmpl, &verdict);
        }
        if (verdict != RMP_GUEST_OK) {
            raise_verdict(env, &t, gva, verdict, ra);
        }
        /* RMPADJUST-15 (APM2 15.36.15): no flush */
        trace_snp_rmpadjust(cpu_nr(env), gva, t.gpa, t.spa, rdx, rc);
    }
    trace_rc(env, "RMPADJUST", gva, rc, rmpadjust_rules);
    set_result(env, rc, false);
}

void helper_rmpquery(CPUX86State *env)
{
    const uintptr_t ra = GETPC();
    const uint64_t gva = env->regs[R_EAX];
    const unsigned vmpl = env->regs[R_EDX] & 0xff;
    RmpVerdict verdict = RMP_GUEST_NPF;
    SnpTranslation t;
    bool size_2m = false, vmsa = false;
    uint8_t perms = 0;
    int rc;

    guest_insn(env, ra);
    rc = rmp_query_operands(vmpl, env->snp.vmpl);
    if (rc == RMP_OK) {
        snp_translate(env, gva, &t, ra);
        if (t.c_bit) {
            rc = rmp_query(env->snp.rmp, t.spa, t.gpa, t.npt_leaf,
                           env->snp.asid, vmpl, &verdict, &size_2m, &perms,
                           &vmsa);
        }
        if (verdict != RMP_GUEST_OK) {
            raise_verdict(env, &t, gva, verdict, ra);
        }
        env->regs[R_ECX] = size_2m;
        env->regs[R_EDX] = vmpl | perms << 8 | vmsa << 16;
    }
    set_result(env, rc, false);
}

void helper_vmgexit(CPUX86State *env)
{
    const uintptr_t ra = GETPC();

    /* VMGEXIT-01, VMGEXIT-04 (APM2 15.35.6): at any CPL */
    if (env->snp.guest & SNP_GUEST_ES) {
        cpu_vmexit(env, SVM_EXIT_VMGEXIT, 0, ra);
    }
    /* VMGEXIT-02 (APM2 15.35.6) */
    cpu_svm_check_intercept_param(env, SVM_EXIT_VMMCALL, 0, ra);
    raise_exception_ra(env, EXCP06_ILLOP, ra);
}

void helper_snp_wbinvd(CPUX86State *env, uint32_t f3)
{
    /*
     * FWCMD-07 (ABI SNP_DF_FLUSH): with F3 it is WBNOINVD, which leaves the
     * caches as they are
     */
    if (!f3 || !(env->features[FEAT_8000_0008_EBX] &
                 CPUID_8000_0008_EBX_WBNOINVD)) {
        snp_host_wbinvd(env->snp.host, cpu_nr(env));
    }
}

void helper_snp_invlpga(CPUX86State *env, target_ulong addr)
{
    snp_tlb_invlpga(env, addr, env->regs[R_ECX]);
}
