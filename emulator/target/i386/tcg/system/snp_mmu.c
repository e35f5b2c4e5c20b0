/*
 * RMP checks of the access path: what the page-table walk found is held
 * against the RMP before it enters the TLB (APM volume 2, 15.36.10; rules
 * CHK-*, HOST-*, NSNP-*, ACC-*).  They come after, and have lower priority
 * than, the checks of the page tables and nested page tables.
 *
 * The nested TLB index is looked up with the guest physical address *and* the
 * effective C-bit, so that a private and a shared view of one page never share
 * an entry; nor do user and supervisor where a VMPL's rights to execute differ.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/cputlb.h"
#include "exec/page-protection.h"
#include "tcg/helper-tcg.h"
#include "snp/snp_host.h"
#include "trace.h"

/*
 * CHK-HVOWN (APM2 15.36.10) on a write: HOST-01..11, NSNP-01, NSNP-02, ACC-05.
 * @key is the one that the access is made with.
 */
static bool fill_hv_owned(CPUX86State *env, unsigned key, uint64_t *spa,
                          uint64_t page_size, MMUAccessType access, int *prot)
{
    Rmp *rmp = env->snp.rmp;
    const bool owned = !rmp || rmp_hv_owned(rmp, *spa, page_size);
    const bool store = access == MMU_DATA_STORE && (*prot & PAGE_WRITE);

    if (!owned && store) {
        return false;
    }
    /* HOST-02, ACC-06 (APM2 15.36.10): reads and fetches are not checked */
    if (!owned) {
        *prot &= ~PAGE_WRITE;
    }
    /* ENC-01, ENC-04 (APM2 15.34): but they need the key */
    if (snp_host_key(env->snp.host, owned ? NULL : rmp, *spa) == key) {
        return true;
    }
    if (store) {
        snp_host_take_page(env->snp.host, *spa, key);
    } else {
        *prot &= ~PAGE_WRITE;
        *spa = snp_host_ciphertext(*spa, key);
    }
    return true;
}

static bool fill_private(CPUX86State *env, uint64_t gpa, uint64_t spa,
                         uint64_t page_size, MMUAccessType access,
                         bool user, int *prot, uint64_t *fault)
{
    uint8_t perms = 0;

    switch (rmp_check_private(env->snp.rmp, spa, gpa, page_size,
                              env->snp.asid, env->snp.vmpl, &perms)) {
    case RMP_GUEST_OK:
        break;
    case RMP_GUEST_VC:
        *fault = SNP_FAULT_VC;      /* ACC-02, ACC-04 (APM2 15.36.10) */
        return false;
    default:
        *fault = SNP_NPF_RMP;       /* ACC-01, ACC-04 (APM2 15.36.10) */
        return false;
    }

    /* CHK-VMPL, ACC-03 (APM2 15.36.10) */
    if (!(perms & RMP_PERM_READ)) {
        /* Nor can it be written, whatever the mask says (APM2 15.36.7) */
        *prot &= ~(PAGE_READ | PAGE_WRITE);
    }
    if (!(perms & RMP_PERM_WRITE)) {
        *prot &= ~PAGE_WRITE;
    }
    if (!(perms & (user ? RMP_PERM_XUSER : RMP_PERM_XSUPER))) {
        *prot &= ~PAGE_EXEC;
    }
    if (!(*prot & (1 << access))) {
        *fault = SNP_NPF_RMP | SNP_NPF_VMPL;
        return false;
    }
    return true;
}

/* ACC-20 (APM2 15.36.10): the verdict stays in the TLB, for 4 KB */
bool snp_tlb_fill(CPUX86State *env, uint64_t addr, uint64_t *spa,
                  uint64_t page_size, MMUAccessType access, int mmu_idx,
                  int *prot, uint32_t *error, uint64_t *fault)
{
    bool ok;

    switch (mmu_idx) {
    case MMU_PHYS_IDX:
        /*
         * The processor's own accesses are checked where they are made; those
         * to nested page tables are not: ACC-18 (APM2 15.36.10)
         */
        return true;
    case MMU_WALK_IDX:
        /*
         * HOST-03 (APM2 15.36.10): a walker's use of a table counts as a
         * write, for A and D
         */
        return rmp_hv_owned(env->snp.rmp, *spa, RMP_PAGE_4K);
    case MMU_NESTED_IDX:
        if ((env->snp.guest & SNP_GUEST_SNP) && (addr & env->snp.cbit)) {
            /* Without a table, after X86_SNP_SHUTDOWN, it runs on unchecked */
            ok = !env->snp.rmp ||
                 fill_private(env, addr & ~(env->snp.cbit | SNP_NESTED_USER),
                              *spa, page_size, access, addr & SNP_NESTED_USER,
                              prot, fault);
        } else {
            ok = fill_hv_owned(env, addr & env->snp.cbit ? env->snp.asid : 0,
                               spa, page_size, access, prot);
            *fault = ok ? 0 : SNP_NPF_RMP;
        }
        if (!ok) {
            trace_snp_refused(env_cpu(env)->cpu_index, "guest access", addr,
                              *fault & SNP_FAULT_VC ? "ACC-02" :
                              *fault & SNP_NPF_VMPL ? "ACC-03" :
                              (env->snp.guest & SNP_GUEST_SNP) &&
                              (addr & env->snp.cbit) ? "ACC-04" :
                              env->snp.guest & SNP_GUEST_SNP ? "ACC-05" :
                              "NSNP-01");
            trace_snp_guest_fault(env_cpu(env)->cpu_index, addr, *spa,
                                  rmp_raw(env->snp.rmp, *spa).lo, access,
                                  *fault);
        }
        return ok;
    default:
        /* With nested paging the nested index has had its check already */
        if (env->hflags2 & HF2_NPT_MASK) {
            return true;
        }
        if (fill_hv_owned(env, 0, spa, page_size, access, prot)) {
            return true;
        }
        *error = SNP_NPF_RMP;
        trace_snp_refused(env_cpu(env)->cpu_index, "host write", addr,
                          "HOST-01");
        trace_snp_host_fault(env_cpu(env)->cpu_index, addr, *spa,
                             rmp_raw(env->snp.rmp, *spa).lo);
        return false;
    }
}

int snp_effective_cbit(CPUX86State *env, bool user, bool c_bit_in_pte,
                       MMUAccessType access, uint64_t *gpa)
{
    if (env->snp.vmpl && user) {
        *gpa |= SNP_NESTED_USER;
    }
    /*
     * ACC-21 (APM2 15.34.4): unpaged and non-PAE guests access privately,
     * always
     */
    if (!c_bit_in_pte) {
        *gpa |= env->snp.cbit;
        return PAGE_READ | PAGE_WRITE | PAGE_EXEC;
    }
    if (*gpa & env->snp.cbit) {
        return PAGE_READ | PAGE_WRITE | PAGE_EXEC;
    }
    /*
     * ACC-01 (APM2 15.36.10): fetches are private whatever the page table says.
     * Data and fetches then go to different places, so one TLB entry serves
     * only one.
     */
    if (access == MMU_INST_FETCH) {
        *gpa |= env->snp.cbit;
        return PAGE_EXEC;
    }
    return PAGE_READ | PAGE_WRITE;
}

void snp_raise_not_validated(CPUX86State *env, vaddr gva, uintptr_t ra)
{
    /* ACC-14 (APM2 15.36.10); KVM never sees it */
    env->cr[2] = gva;
    raise_exception_err_ra(env, EXCP1D_VC, SNP_VC_NOT_VALIDATED, ra);
}
