/*
 * VMRUN and #VMEXIT of SEV, SEV-ES and SNP guests (APM volume 2, 15.34.3,
 * 15.35, 15.36.12; rules VMRUN-*, VMSA-*, INUSE-*, SWAP-*, EXIT-*).
 *
 * svm_helper.c stays in charge; it calls in here where an encrypted guest or
 * an SNP host differs:
 *
 *   VMRUN:   snp_vmrun_begin -> snp_vmrun_check_control
 *            -> snp_vmrun_load (a guest with a VMSA) -> snp_vmrun_commit
 *   #VMEXIT: snp_vmexit_begin -> snp_vmexit_save -> snp_vmexit_end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/target_page.h"
#include "accel/tcg/probe.h"
#include "accel/tcg/cpu-mmu-index.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#include "exec/cputlb.h"
#include "tcg/helper-tcg.h"
#include "accel/tcg/tcg-sched.h"
#include "snp/snp_host.h"
#include "snp/snp_msr.h"
#include "snp/vmsa.h"
#include "trace.h"

/* SEV_FEATURES this CPU has (CPUID 8000_001F EAX) */
#define SNP_SEV_FEATURES        VMSA_SNP_ACTIVE

static int cpu_nr(CPUX86State *env)
{
    return env_cpu(env)->cpu_index;
}

static uint64_t vmcb_ldq(CPUX86State *env, unsigned offset)
{
    return x86_ldq_phys(env_cpu(env), env->vm_vmcb + offset);
}

static G_NORETURN void refuse(CPUX86State *env, const char *rule, uintptr_t ra)
{
    trace_snp_refused(cpu_nr(env), "VMRUN", env->snp.vmsa, rule);
    /* VMRUN-28 (Linux svm_is_vmrun_failure()): 64 bits of ones */
    cpu_vmexit(env, SVM_EXIT_ERR, 0, ra);
    g_assert_not_reached();
}

/* ---- VMRUN ---- */

void snp_vmrun_begin(CPUX86State *env, uint64_t vmcb, uintptr_t ra)
{
    const char *rule = NULL;

    tcg_sched_point(env_cpu(env), TCG_SCHED_VMRUN, ra);
    /* A guest's VMRUN is intercepted, and its rAX is no system address */
    if (env->snp.rmp && !(env->hflags & HF_GUEST_MASK)) {
        /* VMRUN-01, VMRUN-02 (APM2 15.36.12) */
        if (!rmp_hv_owned(env->snp.rmp, vmcb, RMP_PAGE_4K)) {
            rule = "VMRUN-01";
        } else if (!env->vm_hsave ||
                   !rmp_hv_owned(env->snp.rmp, env->vm_hsave, RMP_PAGE_4K)) {
            rule = "VMRUN-02";
        }
        if (rule) {
            trace_snp_refused(cpu_nr(env), "VMRUN", vmcb, rule);
            raise_exception_err_ra(env, EXCP0D_GPF, 0, ra);
        }
    }
}

/*
 * VMRUN-17 (APM2 15.20, 15.35.8), and what svm_helper.c would refuse only
 * after the guest is in
 */
static bool event_allowed(uint32_t event)
{
    unsigned vector = event & SVM_EVTINJ_VEC_MASK;

    if (!(event & SVM_EVTINJ_VALID)) {
        return true;
    }
    switch (event & SVM_EVTINJ_TYPE_MASK) {
    case SVM_EVTINJ_TYPE_INTR:
    case SVM_EVTINJ_TYPE_NMI:
        return true;
    case SVM_EVTINJ_TYPE_EXEPT:
        return vector != EXCP02_NMI && vector != EXCP03_INT3 &&
               vector != EXCP04_INTO && vector < 31;
    default:
        return false;
    }
}

/*
 * VMRUN-03..08 (APM2 15.34.3, 15.5.1, 15.35.2, 15.35.8).  VMRUN-05, no ASID 0,
 * is svm_helper.c's; VMRUN-08: SEV-ES may have any ASID.
 */
void snp_vmrun_check_control(CPUX86State *env, uint64_t nested_ctl,
                             uint32_t asid, uintptr_t ra)
{
    const bool es = nested_ctl & SVM_SEV_ES_ENABLED;

    env->snp.kind = 0;
    env->snp.cbit = 0;
    env->snp.vmpl = 0;
    env->snp.vmsa = 0;
    env->snp.tlb_asid = asid < SNP_SVM_ASIDS ? asid : 0;
    /* VMRUN-03 (APM2 15.34.3) */
    if (!(env->snp.syscfg & SYSCFG_SMEE)) {
        return;
    }
    if ((nested_ctl & SVM_NPT_ENABLED) &&
        (vmcb_ldq(env, offsetof(struct vmcb, control.nested_cr3)) &
         (~0ull << snp_spa_bits(env)))) {
        refuse(env, "VMRUN-20 nCR3", ra);
    }
    if (!(nested_ctl & SVM_SEV_ENABLED)) {
        if (es) {
            refuse(env, "VMRUN-06", ra);
        }
        return;
    }
    if (!(nested_ctl & SVM_NPT_ENABLED) ||
        !(env->snp.hwcr & HWCR_SMM_LOCK) ||
        asid > snp_host_max_asid(env->snp.host) ||
        !(env->hflags & HF_LMA_MASK)) {
        refuse(env, "VMRUN-04", ra);
    }
    if (es && !(vmcb_ldq(env, offsetof(struct vmcb, control.lbr_ctl)) & 1)) {
        refuse(env, "VMRUN-06", ra);
    }
    if (!es && asid < snp_host_min_sev_asid(env->snp.host)) {
        refuse(env, "VMRUN-07", ra);
    }
    if (!snp_host_asid_active(env->snp.host, asid)) {
        refuse(env, "VMRUN-29", ra);
    }
    env->snp.event_inj = x86_ldl_phys(env_cpu(env), env->vm_vmcb +
                                      offsetof(struct vmcb,
                                               control.event_inj));
    if (es && !event_allowed(env->snp.event_inj)) {
        refuse(env, "VMRUN-17", ra);
    }
    env->snp.kind = SNP_GUEST_SEV | (es ? SNP_GUEST_ES : 0);
    env->snp.cbit = 1ull << snp_host_cbit();
    env->snp.asid = asid;
}

/*
 * VMRUN-20 (APM2 15.5.1): the consistency checks that hold for every guest's
 * state
 */
static uint64_t xcr0_supported(CPUX86State *env)
{
    return env->features[FEAT_XSAVE_XCR0_LO] |
           (uint64_t)env->features[FEAT_XSAVE_XCR0_HI] << 32;
}

static const char *state_refused(CPUX86State *env, const Vmsa *v)
{
    const int phys_bits = env_archcpu(env)->phys_bits;
    const bool lme = v->efer & MSR_EFER_LME;
    const bool pg = v->cr0 & CR0_PG_MASK;
    const bool cs_l = v->cs.attrib & (1 << 9);
    const bool cs_d = v->cs.attrib & (1 << 10);

    if (!(v->efer & MSR_EFER_SVME) || (v->efer & MSR_EFER_RESERVED)) {
        return "VMRUN-20 EFER";
    }
    if ((v->cr0 & SVM_CR0_RESERVED_MASK) ||
        ((v->cr0 & CR0_NW_MASK) && !(v->cr0 & CR0_CD_MASK))) {
        return "VMRUN-20 CR0";
    }
    if ((v->efer & MSR_EFER_LMA) &&
        (v->cr3 & ~env->snp.cbit & (~0ull << phys_bits))) {
        return "VMRUN-20 CR3";
    }
    if (v->cr4 & cr4_reserved_bits(env)) {
        return "VMRUN-20 CR4";
    }
    /* Nested paging is on: VMRUN-04 (APM2 15.34.3) */
    if (!snp_pat_valid(v->g_pat)) {
        return "VMRUN-20 G_PAT";
    }
    if ((v->dr6 | v->dr7) & DR_RESERVED_MASK) {
        return "VMRUN-20 DR6/DR7";
    }
    if (lme && pg && (!(v->cr4 & CR4_PAE_MASK) || !(v->cr0 & CR0_PE_MASK) ||
                      (cs_l && cs_d))) {
        return "VMRUN-20 long mode";
    }
    if (!(v->xcr0 & XSTATE_FP_MASK) || (v->xcr0 & ~xcr0_supported(env))) {
        return "VMRUN-20 XCR0";
    }
    return NULL;
}

/* Which rule keeps this VMSA from running; NULL if none */
static const char *vmsa_refused(CPUX86State *env, const Vmsa *v)
{
    /* VMRUN-12, SYSCFG-10 (APM2 15.36.12) */
    if ((v->sev_features & VMSA_SNP_ACTIVE) && !env->snp.rmp) {
        return "VMRUN-12";
    }
    /* VMRUN-15 (APM2 B) */
    if (v->sev_features & ~SNP_SEV_FEATURES) {
        return "VMRUN-15";
    }
    if (v->vmpl >= RMP_NR_VMPL) {
        return "VMRUN-20 VMPL";
    }
    return state_refused(env, v);
}

/*
 * Mark the VMCB's page as in use.  The check of snp_vmrun_begin() was made
 * without the lock, and the page may have changed hands since; the host's state
 * is saved by now, so that it is too late for the #GP(0) of VMRUN-01 (APM2
 * 15.36.12).  A VMCB that another processor runs on is not the hypervisor's
 * either (INUSE-05, strict choice).  NULL, or the rule that refuses.  Lock
 * held.
 */
static const char *vmcb_take(CPUX86State *env)
{
    Rmp *rmp = env->snp.rmp;

    return rmp_hv_owned(rmp, env->vm_vmcb, RMP_PAGE_4K) &&
           rmp_use_begin(rmp, &env->snp.vmcb_use, env->vm_vmcb) ?
           NULL : "VMRUN-01";
}

/*
 * Read the VMSA, check it and mark its page and the VMCB's, all in one
 * critical section of the RMP: between the check and the mark nobody takes
 * the page (VMRUN-26, INUSE-01: APM2 15.36.12).  NULL, or the rule that
 * refuses.
 */
static const char *vmsa_take(CPUX86State *env, Vmsa *v)
{
    Rmp *rmp = env->snp.rmp;
    const void *page = snp_host_page(env->snp.vmsa);
    const char *rule;

    if (!page) {
        return "VMSA-02";
    }
    if (!rmp) {
        memcpy(v, page, sizeof(*v));
        snp_host_see(env->snp.host, v, env->snp.vmsa, sizeof(*v),
                     env->snp.asid);
        return vmsa_refused(env, v);
    }

    rmp_lock(rmp);
    memcpy(v, page, sizeof(*v));
    /*
     * ENC-04 (APM2 15.34), VMSA-10 (APM2 15.35.8); otherwise it is the guest's,
     * or refused (VMSA-03: APM2 15.36.12)
     */
    if (!rmp_key_locked(rmp, env->snp.vmsa)) {
        snp_host_see(env->snp.host, v, env->snp.vmsa, sizeof(*v),
                     env->snp.asid);
    }
    rule = rmp_vmsa_refused(rmp, env->snp.vmsa, env->snp.asid,
                            v->sev_features & VMSA_SNP_ACTIVE);
    if (!rule) {
        rule = vmsa_refused(env, v);
    }
    /* A mark made here and then not wanted goes with the #VMEXIT */
    if (!rule) {
        rule = vmcb_take(env);
    }
    if (!rule && !rmp_use_begin(rmp, &env->snp.vmsa_use, env->snp.vmsa)) {
        rule = "VMSA-08";
    }
    rmp_unlock(rmp);
    return rule;
}

/* VMRUN and #VMEXIT make segment bases canonical */
static uint64_t canonical(CPUX86State *env, uint64_t base)
{
    return sextract64(base, 0, cpu_x86_virtual_addr_width(env));
}

static void load_seg(CPUX86State *env, const VmsaSeg *seg, SegmentCache *sc)
{
    sc->selector = seg->selector;
    sc->base = canonical(env, seg->base);
    sc->limit = seg->limit;
    sc->flags = (seg->attrib & 0xff) << 8 | (seg->attrib & 0xf00) << 12;
}

static void load_seg_reg(CPUX86State *env, const VmsaSeg *seg, int reg)
{
    SegmentCache sc;

    load_seg(env, seg, &sc);
    cpu_x86_load_seg_cache(env, reg, sc.selector, sc.base, sc.limit, sc.flags);
}

static void save_seg(VmsaSeg *seg, const SegmentCache *sc)
{
    seg->selector = sc->selector;
    seg->base = sc->base;
    seg->limit = sc->limit;
    seg->attrib = ((sc->flags >> 8) & 0xff) | ((sc->flags >> 12) & 0xf00);
}

/*
 * SWAP-04 (APM2 B): what VMLOAD and VMSAVE handle, and what only SEV-ES swaps
 */
static void load_type_b(CPUX86State *env, const Vmsa *v)
{
    load_seg_reg(env, &v->fs, R_FS);
    load_seg_reg(env, &v->gs, R_GS);
    load_seg(env, &v->ldtr, &env->ldt);
    load_seg(env, &v->tr, &env->tr);
    env->star = v->star;
#ifdef TARGET_X86_64
    env->kernelgsbase = canonical(env, v->kernel_gs_base);
    env->lstar = v->lstar;
    env->cstar = v->cstar;
    env->fmask = v->sfmask;
#endif
    env->sysenter_cs = v->sysenter_cs;
    env->sysenter_esp = v->sysenter_esp;
    env->sysenter_eip = v->sysenter_eip;
    env->xss = v->xss;
    env->pkru = v->pkru;
    env->xcr0 = v->xcr0;
    env->regs[R_ECX] = v->rcx;
    env->regs[R_EDX] = v->rdx;
    env->regs[R_EBX] = v->rbx;
    env->regs[R_EBP] = v->rbp;
    env->regs[R_ESI] = v->rsi;
    env->regs[R_EDI] = v->rdi;
#ifdef TARGET_X86_64
    memcpy(&env->regs[R_R8], v->r8_15, sizeof(v->r8_15));
#endif
}

static void save_type_b(CPUX86State *env, Vmsa *v)
{
    save_seg(&v->fs, &env->segs[R_FS]);
    save_seg(&v->gs, &env->segs[R_GS]);
    save_seg(&v->ldtr, &env->ldt);
    save_seg(&v->tr, &env->tr);
    v->star = env->star;
#ifdef TARGET_X86_64
    v->kernel_gs_base = env->kernelgsbase;
    v->lstar = env->lstar;
    v->cstar = env->cstar;
    v->sfmask = env->fmask;
#endif
    v->sysenter_cs = env->sysenter_cs;
    v->sysenter_esp = env->sysenter_esp;
    v->sysenter_eip = env->sysenter_eip;
    v->xss = env->xss;
    v->pkru = env->pkru;
    v->xcr0 = env->xcr0;
    v->rcx = env->regs[R_ECX];
    v->rdx = env->regs[R_EDX];
    v->rbx = env->regs[R_EBX];
    v->rbp = env->regs[R_EBP];
    v->rsi = env->regs[R_ESI];
    v->rdi = env->regs[R_EDI];
#ifdef TARGET_X86_64
    memcpy(v->r8_15, &env->regs[R_R8], sizeof(v->r8_15));
#endif
}

/*
 * The x87 area holds the mantissas of ST0..ST7, then their exponents (as
 * KVM's sev_es_sync_vmsa() found out); the tag word is FXSAVE's.
 */
static void load_fpu(CPUX86State *env, const Vmsa *v)
{
    cpu_set_mxcsr(env, v->mxcsr);
    cpu_set_fpuc(env, v->x87_fcw);
    env->fpstt = extract32(v->x87_fsw, 11, 3);
    env->fpus = v->x87_fsw & ~0x3800;
    env->fpop = v->x87_fop;
    env->fpds = v->x87_ds;
    env->fpcs = v->x87_cs;
    env->fpip = v->x87_rip;
    env->fpdp = v->x87_dp;
    for (int i = 0; i < 8; i++) {
        floatx80 *st = &env->fpregs[(env->fpstt + i) & 7].d;

        env->fptags[i] = !(v->x87_ftw & (1 << i));
        st->low = v->fpr_mantissa[i];
        st->high = v->fpr_exponent[i];
    }
    for (int i = 0; i < CPU_NB_REGS; i++) {
        env->xmm_regs[i].ZMM_Q(0) = v->xmm[i][0];
        env->xmm_regs[i].ZMM_Q(1) = v->xmm[i][1];
        env->xmm_regs[i].ZMM_Q(2) = v->ymm_hi[i][0];
        env->xmm_regs[i].ZMM_Q(3) = v->ymm_hi[i][1];
    }
}

static void save_fpu(CPUX86State *env, Vmsa *v)
{
    update_mxcsr_from_sse_status(env);
    v->mxcsr = env->mxcsr;
    v->x87_fcw = env->fpuc;
    v->x87_fsw = (env->fpus & ~0x3800) | (env->fpstt & 7) << 11;
    v->x87_fop = env->fpop;
    v->x87_ds = env->fpds;
    v->x87_cs = env->fpcs;
    v->x87_rip = env->fpip;
    v->x87_dp = env->fpdp;
    v->x87_ftw = 0;
    for (int i = 0; i < 8; i++) {
        const floatx80 *st = &env->fpregs[(env->fpstt + i) & 7].d;

        v->x87_ftw |= !env->fptags[i] << i;
        v->fpr_mantissa[i] = st->low;
        v->fpr_exponent[i] = st->high;
    }
    for (int i = 0; i < CPU_NB_REGS; i++) {
        v->xmm[i][0] = env->xmm_regs[i].ZMM_Q(0);
        v->xmm[i][1] = env->xmm_regs[i].ZMM_Q(1);
        v->ymm_hi[i][0] = env->xmm_regs[i].ZMM_Q(2);
        v->ymm_hi[i][1] = env->xmm_regs[i].ZMM_Q(3);
    }
}

/* SWAP-05 (APM2 B): FPU and vector state as after reset */
static void reset_fpu(CPUX86State *env)
{
    static const Vmsa reset = { .mxcsr = 0x1f80, .x87_fcw = 0x40 };

    load_fpu(env, &reset);
}

static void load_interrupt_control(CPUX86State *env)
{
    env->int_ctl = x86_ldl_phys(env_cpu(env), env->vm_vmcb +
                                offsetof(struct vmcb, control.int_ctl));
    env->hflags2 &= ~(HF2_HIF_MASK | HF2_VINTR_MASK);
    if (env->int_ctl & V_INTR_MASKING_MASK) {
        env->hflags2 |= HF2_VINTR_MASK;
        if (env->eflags & IF_MASK) {
            env->hflags2 |= HF2_HIF_MASK;
        }
    }
}

/* VMRUN-25 (APM2 15.35.8): all of it, whatever the clean bits say */
bool snp_vmrun_load(CPUX86State *env, uintptr_t ra)
{
    const uint32_t eflags_arith = CC_O | CC_S | CC_Z | CC_A | CC_P | CC_C |
                                  DF_MASK;
    const char *rule;
    Vmsa v;

    if (!(env->snp.kind & SNP_GUEST_ES)) {
        return false;
    }

    env->snp.vmsa = vmcb_ldq(env, offsetof(struct vmcb, control.vmsa_pa));
    /* VMRUN-10 (APM2 15.34.3, 15.5.1, 15.35.2, 15.35.8) */
    if (env->snp.vmsa & (0xfff | ~0ull << snp_spa_bits(env))) {
        refuse(env, "VMRUN-10", ra);
    }
    rule = vmsa_take(env, &v);
    if (rule) {
        if (env->snp.rmp &&
            rmp_hv_owned(env->snp.rmp, env->snp.vmsa, RMP_PAGE_4K)) {
            tcg_sched_broken("vmsa-freed");
        }
        refuse(env, rule, ra);
    }

    /* From here on VMRUN succeeds */
    if (v.sev_features & VMSA_SNP_ACTIVE) {
        env->snp.kind |= SNP_GUEST_SNP;
        /* EXIT-09 (APM2 15.36.12) */
        env->intercept |= 1ull << (SVM_EXIT_CPUID - SVM_EXIT_INTR) |
                          1ull << (SVM_EXIT_IOIO - SVM_EXIT_INTR);
    }
    /* An intercepted #VC would be a #VC about itself */
    env->intercept_exceptions &= ~(1u << EXCP1D_VC);
    env->snp.vmpl = v.vmpl;
    env->snp.sev_features = v.sev_features;
    env->snp.pcpu_id = v.pcpu_id;
    /* EXIT-02 (APM2 15.35.7) */
    env->snp.ghcb = vmcb_ldq(env, offsetof(struct vmcb, control.ghcb));
    x86_stq_phys(env_cpu(env), env->vm_vmcb +
                 offsetof(struct vmcb, control.exit_info_2), 0);

    /*
     * The order is svm_helper.c's: control registers, interrupt control (it
     * looks at the host's IF), EFER, then RFLAGS and segments.
     */
    cpu_x86_update_cr0(env, v.cr0);
    cpu_x86_update_cr4(env, v.cr4);
    cpu_x86_update_cr3(env, v.cr3);
    env->cr[2] = v.cr2;
    load_interrupt_control(env);
    cpu_load_efer(env, v.efer);
    env->eflags = 0;
    cpu_load_eflags(env, v.rflags, ~eflags_arith);
    load_seg_reg(env, &v.es, R_ES);
    load_seg_reg(env, &v.cs, R_CS);
    load_seg_reg(env, &v.ss, R_SS);
    load_seg_reg(env, &v.ds, R_DS);
    /* SWAP-09 (APM2 15.5.1): not SS.DPL; forced in real and virtual mode */
    env->hflags &= ~HF_CPL_MASK;
    env->hflags |= !(v.cr0 & CR0_PE_MASK) ? 0 :
                   v.rflags & VM_MASK ? 3 : v.cpl & HF_CPL_MASK;
    load_seg(env, &v.idtr, &env->idt);
    load_seg(env, &v.gdtr, &env->gdt);
    env->eip = v.rip;
    env->regs[R_ESP] = v.rsp;
    env->regs[R_EAX] = v.rax;
    cpu_x86_update_dr7(env, v.dr7);
    env->dr[6] = v.dr6;
    env->snp.host_pat = env->pat;
    env->pat = v.g_pat;
    load_type_b(env, &v);
    load_fpu(env, &v);
    cpu_sync_avx_hflag(env);
    tlb_flush(env_cpu(env));
    return true;
}

void snp_vmrun_commit(CPUX86State *env, uintptr_t ra)
{
    Rmp *rmp = env->snp.rmp;

    if (rmp && !env->snp.vmcb_use.active) {
        const char *rule;

        rmp_lock(rmp);
        rule = vmcb_take(env);
        rmp_unlock(rmp);
        if (rule) {
            refuse(env, rule, ra);
        }
    }
    /*
     * svm_helper.c delivers an injected event from here, with an IDT or stack
     * that may be a device.  VMRUN ends its block, so nothing has to be run
     * again.
     */
    env_cpu(env)->neg.can_do_io = true;
    snp_tlb_vmrun(env, x86_ldub_phys(env_cpu(env), env->vm_vmcb +
                                     offsetof(struct vmcb, control.tlb_ctl)));
    env->snp.guest = env->snp.kind;
    env->snp.sev_status = 0;
    if (env->snp.guest & SNP_GUEST_SEV) {
        env->snp.sev_status |= SEV_STATUS_SEV;
    }
    if (env->snp.guest & SNP_GUEST_ES) {
        /* EXIT-14 (APM2 15.34.10) */
        env->snp.sev_status |= SEV_STATUS_ES | env->snp.sev_features << 2;
    }
    trace_snp_vmrun(cpu_nr(env), env->vm_vmcb, env->snp.vmsa, env->snp.asid,
                    env->snp.guest);
}

/* ---- #VMEXIT ---- */

/* Exits on which hardware has already moved RIP past the instruction */
static bool exit_advances_rip(uint64_t code)
{
    return code == SVM_EXIT_PAUSE || code == SVM_EXIT_HLT ||
           (code >= SVM_EXIT_EFER_WRITE_TRAP &&
            code <= SVM_EXIT_CR15_WRITE_TRAP) ||
           code == SVM_EXIT_IDLE_HLT || code == SVM_EXIT_VMGEXIT;
}

/* EXIT-06 (APM table 15-33) */
static bool exit_is_automatic(uint64_t code, uint64_t exit_info_1)
{
    switch (code) {
    case SVM_EXIT_EXCP_BASE + EXCP12_MCHK:
    case SVM_EXIT_INTR ... SVM_EXIT_VINTR:
    case SVM_EXIT_PAUSE:
    case SVM_EXIT_HLT:
    case SVM_EXIT_SHUTDOWN:
    case SVM_EXIT_EFER_WRITE_TRAP ... SVM_EXIT_CR15_WRITE_TRAP:
    case SVM_EXIT_BUS_LOCK:
    case SVM_EXIT_IDLE_HLT:
    case SVM_EXIT_VMGEXIT:
        return true;
    case SVM_EXIT_NPF:
        /* EXIT-10 (APM2 15.35.4) */
        return !(exit_info_1 & PG_ERROR_RSVD_MASK);
    default:
        return false;
    }
}

/* Code bytes at @eip of the running guest, as far as they are mapped */
static unsigned fetch_insn(CPUX86State *env, uint8_t *buf, unsigned max)
{
    const int mmu_idx = cpu_mmu_index(env_cpu(env), true);
    const uint64_t base = env->hflags & HF_CS64_MASK ? 0 :
                          env->segs[R_CS].base;
    unsigned n = 0;

    while (n < max) {
        const uint64_t va = base + env->eip + n;
        const unsigned left = TARGET_PAGE_SIZE - (va & ~TARGET_PAGE_MASK);
        const unsigned part = MIN(max - n, left);
        void *host;

        if (probe_access_flags(env, va, part, MMU_INST_FETCH, mmu_idx, true,
                               &host, 0) || !host) {
            break;
        }
        memcpy(buf + n, host, part);
        n += part;
    }
    return n;
}

/* MOV CR and MOV DR: the general register, from the ModRM byte */
static int mov_crdr_gpr(CPUX86State *env)
{
    uint8_t insn[15];
    unsigned len = fetch_insn(env, insn, sizeof(insn));
    int rex_b = 0;

    for (unsigned i = 0; i + 2 < len; i++) {
        if ((insn[i] & 0xf0) == 0x40 && (env->hflags & HF_CS64_MASK)) {
            rex_b = insn[i] & 1;
        } else if (insn[i] == 0x0f) {
            return insn[i + 1] >= 0x20 && insn[i + 1] <= 0x23 ?
                   (insn[i + 2] & 7) | rex_b << 3 : -1;
        }
    }
    return -1;
}

/*
 * EXIT-16 (APM2 15.7.1, 15.8).  No ES guest gets here: EXIT-03 (APM2 15.35.4);
 * its nRIP stays as it was: EXIT-04 (strict choice)
 */
static void assist_hypervisor(CPUX86State *env, uint64_t code,
                              uint64_t *exit_info_1)
{
    const bool next = code < SVM_EXIT_EXCP_BASE ||
        (code >= SVM_EXIT_CR0_SEL_WRITE && code < SVM_EXIT_EFER_WRITE_TRAP &&
         code != SVM_EXIT_SHUTDOWN && code != SVM_EXIT_TASK_SWITCH) ||
        code == SVM_EXIT_EXCP_BASE + EXCP03_INT3 ||
        code == SVM_EXIT_EXCP_BASE + EXCP04_INTO ||
        code == SVM_EXIT_EXCP_BASE + EXCP05_BOUND;
    uint8_t bytes[16] = { };
    unsigned len = 1;           /* who gives no bytes clears their number */
    int gpr;

    x86_stq_phys(env_cpu(env), env->vm_vmcb +
                 offsetof(struct vmcb, control.next_rip),
                 next ? env->eip + env->snp.insn_len : 0);
    switch (code) {
    case 0 ... SVM_EXIT_EXCP_BASE - 1:
    case SVM_EXIT_CR0_SEL_WRITE:
        gpr = mov_crdr_gpr(env);
        if (gpr >= 0) {
            /* CLTS, LMSW and SMSW leave bit 63 clear */
            *exit_info_1 = gpr | (code < SVM_EXIT_READ_DR0 ||
                                  code == SVM_EXIT_CR0_SEL_WRITE ?
                                  1ull << 63 : 0);
        }
        break;
    case SVM_EXIT_INVLPG:
        *exit_info_1 = env->snp.decode_va;
        break;
    case SVM_EXIT_NPF:
    case SVM_EXIT_EXCP_BASE + EXCP0E_PAGE:
        if (!(*exit_info_1 & PG_ERROR_I_D_MASK)) {
            bytes[0] = fetch_insn(env, bytes + 1, 15);
            len = sizeof(bytes);
        }
        break;
    }
    address_space_write(&address_space_memory,
                        env->vm_vmcb + offsetof(struct vmcb, control.insn_len),
                        MEMTXATTRS_UNSPECIFIED, bytes, len);
}

void snp_vmexit_begin(CPUX86State *env, uint64_t exit_code,
                      uint64_t *exit_info_1, uintptr_t ra)
{
    if (env->vmrun_pending) {
        return;
    }
    if (!(env->snp.guest & SNP_GUEST_ES)) {
        assist_hypervisor(env, exit_code, exit_info_1);
        return;
    }
    if (!exit_is_automatic(exit_code, *exit_info_1)) {
        /*
         * EXIT-07 (APM2 15.35.5): the hypervisor sees nothing, so take back
         * what the caller may have left for it.  RIP is the instruction's
         * already.
         */
        x86_stq_phys(env_cpu(env), env->vm_vmcb +
                     offsetof(struct vmcb, control.exit_info_2), 0);
        raise_exception_err_ra(env, EXCP1D_VC, exit_code, 0);
    }
    if (exit_advances_rip(exit_code)) {
        env->eip += env->snp.insn_len;
    }
}

void snp_write_trap(CPUX86State *env, uint32_t exit_code, uint64_t value,
                    uintptr_t ra)
{
    if ((env->snp.guest & SNP_GUEST_ES) &&
        cpu_svm_has_intercept(env, exit_code)) {
        cpu_vmexit(env, exit_code, value, ra);
    }
}

/* EXIT-01 (APM2 15.36.9): what the hypervisor is told, the VMSA is told too */
static void save_exit_info(CPUX86State *env, Vmsa *v)
{
    v->guest_exitcode = vmcb_ldq(env, offsetof(struct vmcb, control.exit_code));
    v->guest_exitinfo1 = vmcb_ldq(env, offsetof(struct vmcb,
                                                control.exit_info_1));
    v->guest_exitinfo2 = vmcb_ldq(env, offsetof(struct vmcb,
                                                control.exit_info_2));
    v->guest_exitintinfo = vmcb_ldq(env, offsetof(struct vmcb,
                                                  control.event_inj));
    v->guest_nrip = env->eip;
}

static void save_vmsa(CPUX86State *env)
{
    const uint64_t eflags = cpu_compute_eflags(env);
    CPUState *cs = env_cpu(env);
    uint32_t int_state = 0;
    Vmsa v;

    if (env->hflags & HF_INHIBIT_IRQ_MASK) {
        int_state |= SVM_INTERRUPT_SHADOW_MASK;
    }
    /* SWAP-07 (APM2 B) */
    if (eflags & IF_MASK) {
        int_state |= SVM_GUEST_INTERRUPT_MASK;
    }
    x86_stl_phys(cs, env->vm_vmcb + offsetof(struct vmcb, control.int_state),
                 int_state);
    x86_stl_phys(cs, env->vm_vmcb + offsetof(struct vmcb, control.int_ctl),
                 env->int_ctl);
    x86_stq_phys(cs, env->vm_vmcb + offsetof(struct vmcb, control.ghcb),
                 env->snp.ghcb);
    /* QEMU delivers exceptions through EVENTINJ; the guest's are no news */
    if (!(vmcb_ldq(env, offsetof(struct vmcb, control.event_inj)) &
          (uint32_t)SVM_EVTINJ_VALID)) {
        x86_stq_phys(cs, env->vm_vmcb +
                     offsetof(struct vmcb, control.event_inj), 0);
    }

    if (!(env->snp.guest & SNP_GUEST_SNP)) {
        /* ENC-04 (APM2 15.34) */
        snp_host_take_page(env->snp.host, env->snp.vmsa, env->snp.asid);
    }
    address_space_read(&address_space_memory, env->snp.vmsa,
                       MEMTXATTRS_UNSPECIFIED, &v, sizeof(v));
    save_seg(&v.es, &env->segs[R_ES]);
    save_seg(&v.cs, &env->segs[R_CS]);
    save_seg(&v.ss, &env->segs[R_SS]);
    save_seg(&v.ds, &env->segs[R_DS]);
    v.gdtr.base = env->gdt.base;
    v.gdtr.limit = env->gdt.limit;
    v.idtr.base = env->idt.base;
    v.idtr.limit = env->idt.limit;
    v.efer = env->efer;
    v.cr0 = env->cr[0];
    v.cr2 = env->cr[2];
    v.cr3 = env->cr[3];
    v.cr4 = env->cr[4];
    v.dr6 = env->dr[6];
    v.dr7 = env->dr[7];
    v.rflags = eflags;
    v.rip = env->eip;
    v.rsp = env->regs[R_ESP];
    v.rax = env->regs[R_EAX];
    v.cpl = env->hflags & HF_CPL_MASK;
    v.g_pat = env->pat;
    v.pcpu_id = cs->cpu_index + 1;      /* TLB-01 (APM2 15.36.15): not 0 */
    save_type_b(env, &v);
    save_fpu(env, &v);
    save_exit_info(env, &v);
    address_space_write(&address_space_memory, env->snp.vmsa,
                        MEMTXATTRS_UNSPECIFIED, &v, sizeof(v));
}

bool snp_vmexit_save(CPUX86State *env)
{
    if (!(env->snp.guest & SNP_GUEST_ES)) {
        return false;
    }
    save_vmsa(env);
    return true;
}

/*
 * SWAP-01, SWAP-02, SWAP-04, SWAP-05 (APM2 B): what SEV-ES loads beyond plain
 * SVM, whose part is SWAP-03; and not DR0-3, SWAP-08 (APM2 15.36.13)
 */
static void load_host(CPUX86State *env)
{
    Vmsa host;

    address_space_read(&address_space_memory,
                       env->vm_hsave + offsetof(struct vmcb, save),
                       MEMTXATTRS_UNSPECIFIED, &host, sizeof(host));
    load_type_b(env, &host);
    /* Software may have left anything there; XSAVE relies on XSETBV's checks */
    env->xcr0 &= xcr0_supported(env);
    reset_fpu(env);
    cpu_sync_avx_hflag(env);
    env->pat = env->snp.host_pat;
    env->cr[2] = 0;
    env->dr[6] = 0xffff0ff0;
    cpu_x86_update_dr7(env, 0x400);
}

void snp_vmexit_end(CPUX86State *env)
{
    trace_snp_vmexit(cpu_nr(env), env->vm_vmcb, env->snp.vmsa,
                     vmcb_ldq(env, offsetof(struct vmcb, control.exit_code)),
                     vmcb_ldq(env, offsetof(struct vmcb, control.exit_info_1)),
                     vmcb_ldq(env, offsetof(struct vmcb, control.exit_info_2)));
    if (env->snp.guest & SNP_GUEST_ES) {
        load_host(env);
    }
    snp_tlb_vmexit(env);
    /*
     * INUSE-02, INUSE-07 (APM2 15.36.12): all state is saved, the host has not
     * run yet
     */
    snp_guest_end(env);
    tcg_sched_point(env_cpu(env), TCG_SCHED_VMEXIT, 0);
}

/*
 * SPA-01 (APM2 7.10.1): a guest's operand that is neither intercepted nor
 * virtualized is a system physical address; the caller has held it against a
 * guest's width
 */
static void check_vmcb_address(CPUX86State *env, uint64_t vmcb, uintptr_t ra)
{
    if (vmcb >> snp_spa_bits(env)) {
        raise_exception_err_ra(env, EXCP0D_GPF, 0, ra);
    }
}

uint64_t snp_vmload_address(CPUX86State *env, uint64_t vmcb, uintptr_t ra)
{
    /* VMSAVE-03 (APM2 15.36.12) */
    if (env->snp.guest & SNP_GUEST_ES) {
        cpu_vmexit(env, SVM_EXIT_VMLOAD, 0, ra);
    }
    check_vmcb_address(env, vmcb, ra);
    /* ENC-01 (APM2 15.34) */
    return snp_host_key(env->snp.host, env->snp.rmp, vmcb) ?
           snp_host_ciphertext(vmcb, 0) : vmcb;
}

void snp_vmsave_check(CPUX86State *env, uint64_t vmcb, uintptr_t ra)
{
    if (env->snp.guest & SNP_GUEST_ES) {
        cpu_vmexit(env, SVM_EXIT_VMSAVE, 0, ra);
    }
    check_vmcb_address(env, vmcb, ra);
    if (env->snp.rmp && !rmp_hv_owned(env->snp.rmp, vmcb, RMP_PAGE_4K)) {
        trace_snp_refused(cpu_nr(env), "VMSAVE", vmcb, "VMSAVE-01");
        raise_exception_err_ra(env, EXCP0D_GPF, 0, ra);
    }
}
