/*
 * What a processor may still hold of guests: translations (APM volume 2, 15.16,
 * 15.25 and 15.36.15; rules TLB-01..06; RMPUPDATE-29, strict choice), and
 * fields of the VMCB (15.15; CLEAN-01).
 *
 * TCG's TLB has no ASIDs and is flushed at every VMRUN and #VMEXIT.  Beside it
 * stands here, per processor, what hardware could have kept: the translations
 * that were made, by ASID, until something flushes them that the architecture
 * says does.  Each time TCG walks the page tables again, the result is held
 * against it.  If they differ, hardware could have used the stale translation:
 * it is reported, and with stale=use it is used.
 *
 * A hypervisor changes a nested page table and then flushes, and a processor
 * that runs the guest in between may use what is stale.  So the use of a stale
 * nested translation is reported only once every other processor was seen
 * outside the kernel, i.e. in a guest, in user mode or halted, and the guest
 * then enters again without a flush: by then any processor that was about to
 * flush has done it.  An entry that other rules demand to flush first (TLB-05:
 * Linux pre_sev_run()) is reported at once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#include "cpu.h"
#include "exec/page-protection.h"
#include "exec/target_page.h"
#include "tcg/helper-tcg.h"
#include "snp/snp_host.h"
#include "trace.h"

#define TLB_ENTRIES     4096
#define TLB_ASIDS       SNP_SVM_ASIDS
#define VMCBS           4096
#define PAGES           65536
#define PENDING         16
#define MAX_CPUS        4096
#define MAX_REPORTS     64

/*
 * CLEAN-01 (APM2 15.15.3): fields of the VMCB's control area that a processor
 * need not read again while their clean bit is set.  vmsa_pa is not among them.
 */
static const struct {
    uint8_t at, size, bit;
} cached_fields[] = {
    { 0x00, 24, 0 },    /* intercepts */
    { 0x3c, 4, 0 },     /* PAUSE filter */
    { 0x50, 8, 0 },     /* TSC offset */
    { 0x40, 16, 1 },    /* IOPM, MSRPM */
    { 0x58, 4, 2 },     /* ASID */
    { 0x60, 8, 3 },     /* virtual interrupts */
    { 0x90, 8, 4 },     /* nested paging, SEV */
    { 0xb0, 8, 4 },     /* nCR3 */
};
#define CACHED_BYTES    0xb8

/* Times below are counts of the flushes of this processor: SnpTlb.now */
typedef struct Entry {
    uint64_t page;              /* GPA with the C-bit, or GVA; the MMU index */
    uint64_t to;                /* SPA */
    uint64_t made;              /* 0: empty */
    uint64_t vmrun;             /* which VMRUN of this processor made it */
    int64_t us;                 /* when that was */
    uint32_t asid;
    uint32_t handed;            /* page_count() of @to */
    uint8_t prot;
    bool noticed;               /* seen to be stale */
    bool told;                  /* ... and told at once */
} Entry;

typedef struct Asid {
    uint64_t flushed;           /* what is older is gone */
    uint64_t guest_flushed;     /* ... of the guest's own translations */
    /* ... is kept from use by PCPU_ID: TLB-01 (APM2 15.36.15) */
    uint64_t hidden;
    /* ... should have been flushed: TLB-05 (Linux pre_sev_run()) */
    uint64_t foreign;
    uint64_t vmcb;              /* the last that ran with it */
} Asid;

typedef struct Pending {
    Entry was;
    uint64_t now_to;            /* all ones: not mapped like that */
    uint64_t vmrun;             /* when it was used */
    DECLARE_BITMAP(seen, MAX_CPUS);     /* processors that were outside */
} Pending;

struct SnpTlb {
    SnpTlbHost *host;
    uint64_t now;
    uint64_t all_flushed;
    uint64_t vmrun;
    int64_t us;
    Pending pending[PENDING];
    unsigned nr_pending;
    uint64_t vmcb;              /* of the last #VMEXIT, as it was then */
    uint8_t control[CACHED_BYTES];
    Entry entry[TLB_ENTRIES];
    Asid asid[TLB_ASIDS];
};

/* What the processors share; all of it atomic */
struct SnpTlbHost {
    bool use;
    unsigned reports;
    uint32_t handed_all;        /* as handed[], by the firmware */
    uint32_t handed[PAGES];     /* RMPUPDATEs of the page; hashed */
    uint64_t vmcb[VMCBS];       /* VMCB | the processor it ran on; hashed */
};

SnpTlbHost *snp_tlb_host_new(bool use)
{
    SnpTlbHost *h = g_new0(SnpTlbHost, 1);

    h->use = use;
    return h;
}

void snp_tlb_realize(CPUX86State *env, SnpTlbHost *host)
{
    if (host) {
        env->snp.tlb = g_new0(SnpTlb, 1);
        env->snp.tlb->host = host;
        env->snp.tlb->now = 1;
    }
}

/* ---- RMP changes: what they flush, stale=use does not use ---- */

static uint32_t page_count(SnpTlbHost *h, uint64_t spa)
{
    return qatomic_read(&h->handed[(spa >> TARGET_PAGE_BITS) % PAGES]) +
           qatomic_read(&h->handed_all);
}

void snp_tlb_rmp_changed(SnpTlbHost *h, uint64_t spa, uint64_t size)
{
    if (!h) {
        return;
    }
    if (!size) {
        qatomic_inc(&h->handed_all);
    }
    for (uint64_t at = 0; at < size; at += TARGET_PAGE_SIZE) {
        qatomic_inc(&h->handed[((spa + at) >> TARGET_PAGE_BITS) % PAGES]);
    }
}

/* ---- flushes ---- */

static bool guest_level(const Entry *e)
{
    return (e->page & ~TARGET_PAGE_MASK) != MMU_NESTED_IDX;
}

static bool valid(SnpTlb *t, const Entry *e)
{
    const Asid *a = &t->asid[e->asid];

    return e->made > t->all_flushed && e->made > a->flushed &&
           !(guest_level(e) && e->made <= a->guest_flushed);
}

static Entry *slot(SnpTlb *t, uint64_t key, uint32_t asid)
{
    uint64_t h = (key ^ (uint64_t)asid << 40) * 0x9e3779b97f4a7c15ull;

    return &t->entry[h >> 32 & (TLB_ENTRIES - 1)];
}

void snp_tlb_reset(CPUX86State *env)
{
    SnpTlb *t = env->snp.tlb;

    if (t) {
        t->all_flushed = t->now++;
        t->nr_pending = 0;
        t->vmcb = 0;
    }
}

/*
 * TLB-06 (APM3 MOV CRn, INVLPG): MOV CR, INVLPG by the guest.  All that is its
 * own goes, not one
 */
void snp_tlb_guest_flush(CPUX86State *env)
{
    SnpTlb *t = env->snp.tlb;

    if (t && (env->hflags & HF_GUEST_MASK)) {
        t->asid[env->snp.tlb_asid].guest_flushed = t->now++;
    }
}

/* TLB-04 (APM3 INVLPGA) */
void snp_tlb_invlpga(CPUX86State *env, vaddr addr, uint32_t asid)
{
    SnpTlb *t = env->snp.tlb;

    if (!t) {
        return;
    }
    for (int idx = 0; idx < NB_MMU_MODES; idx++) {
        const uint64_t key = (addr & TARGET_PAGE_MASK) | idx;
        Entry *e = slot(t, key, asid);

        if (idx != MMU_NESTED_IDX && e->page == key && e->asid == asid) {
            e->made = 0;
        }
    }
}

/* ---- what is stale ---- */

static void report(CPUX86State *env, const Entry *e, uint64_t now_to,
                   uint64_t vmrun)
{
    SnpTlb *t = env->snp.tlb;
    g_autofree char *now = now_to == UINT64_MAX ?
                           g_strdup("not mapped for that") :
                           g_strdup_printf("0x%" PRIx64, now_to);
    /* TLB-03 (Linux pre_sev_run()): what nothing has flushed since is there */
    const char *rule = e->made <= t->asid[e->asid].foreign ? "TLB-05" :
                       e->handed != page_count(t->host, e->to) ?
                       "RMPUPDATE-29" : "TLB-03";

    trace_snp_stale(env_cpu(env)->cpu_index, e->asid, e->page, e->to, now_to,
                    rule);
    if (qatomic_fetch_inc(&t->host->reports) >= MAX_REPORTS) {
        return;
    }
    warn_report("x-snp-host: stale translation (%s) on cpu %d, asid %u: %s "
                "0x%" PRIx64 " is 0x%" PRIx64 " %c%c%c, by now %s; made %"
                PRIu64 " us ago and %" PRIu64 " VMRUNs before it was used, "
                "not flushed since%s", rule, env_cpu(env)->cpu_index, e->asid,
                guest_level(e) ? "gva" : "gpa",
                (uint64_t)(e->page & TARGET_PAGE_MASK &
                           ~(guest_level(e) ? 0 :
                             env->snp.cbit | SNP_NESTED_USER)),
                e->to,
                e->prot & PAGE_READ ? 'r' : '-',
                e->prot & PAGE_WRITE ? 'w' : '-',
                e->prot & PAGE_EXEC ? 'x' : '-', now, t->us - e->us,
                vmrun - e->vmrun,
                e->made <= t->asid[e->asid].hidden ?
                " (PCPU_ID keeps it from being used)" : "");
}

/* Not in the middle of a change of nested page tables, if ever it was */
static bool outside(CPUState *cs)
{
    const uint32_t hflags = qatomic_read(&cpu_env(cs)->hflags);

    return qatomic_read(&cs->halted) || (hflags & HF_GUEST_MASK) ||
           (hflags & HF_CPL_MASK) == 3;
}

static void notice(CPUX86State *env, Entry *e, uint64_t now_to)
{
    SnpTlb *t = env->snp.tlb;
    const bool at_once = e->made <= t->asid[e->asid].foreign;

    if (at_once && !e->told) {
        e->told = true;
        report(env, e, now_to, t->vmrun);
    } else if (!at_once && !e->noticed && t->nr_pending < PENDING) {
        Pending *p = &t->pending[t->nr_pending++];

        p->was = *e;
        p->now_to = now_to;
        p->vmrun = t->vmrun;
        bitmap_zero(p->seen, MAX_CPUS);
        e->noticed = true;
    }
}

/* An entry without a flush: whose time is up? */
static void look_at_pending(CPUX86State *env)
{
    SnpTlb *t = env->snp.tlb;
    unsigned i = 0;

    while (i < t->nr_pending) {
        Pending *p = &t->pending[i];
        bool all = p->vmrun != t->vmrun && p->was.asid == env->snp.tlb_asid;
        bool gone = !valid(t, &p->was);
        CPUState *cs;

        CPU_FOREACH(cs) {
            if (cs == env_cpu(env) || outside(cs)) {
                set_bit(cs->cpu_index, p->seen);
            }
            all &= test_bit(cs->cpu_index, p->seen);
        }
        if (!gone && all) {
            report(env, &p->was, p->now_to, p->vmrun);
            gone = true;
        }
        if (gone) {
            *p = t->pending[--t->nr_pending];
        } else {
            i++;
        }
    }
}

/* ---- VMRUN and walks ---- */

static void read_control(CPUX86State *env, uint8_t *control)
{
    address_space_read(&address_space_memory, env->vm_vmcb,
                       MEMTXATTRS_UNSPECIFIED, control, CACHED_BYTES);
}

void snp_tlb_vmexit(CPUX86State *env)
{
    SnpTlb *t = env->snp.tlb;

    if (!t) {
        return;
    }
    read_control(env, t->control);
    /* The manual does not say what a refused VMRUN has read */
    t->vmcb = x86_ldq_phys(env_cpu(env), env->vm_vmcb +
                           offsetof(struct vmcb, control.exit_code)) ==
              SVM_EXIT_ERR ? 0 : env->vm_vmcb;
}

/*
 * CLEAN-01 (APM2 15.15.3): a field changed, and its clean bit says that it did
 * not
 */
static void look_at_clean_bits(CPUX86State *env)
{
    SnpTlb *t = env->snp.tlb;
    uint32_t clean = x86_ldl_phys(env_cpu(env), env->vm_vmcb +
                                  offsetof(struct vmcb, control.clean));
    uint8_t now[CACHED_BYTES];

    if (t->vmcb != env->vm_vmcb || !clean) {
        return;
    }
    read_control(env, now);
    for (unsigned i = 0; i < ARRAY_SIZE(cached_fields); i++) {
        const unsigned at = cached_fields[i].at, bit = cached_fields[i].bit;

        if ((clean >> bit & 1) &&
            memcmp(now + at, t->control + at, cached_fields[i].size) &&
            qatomic_fetch_inc(&t->host->reports) < MAX_REPORTS) {
            warn_report("x-snp-host: stale VMCB (CLEAN-01) on cpu %d, asid %u: "
                        "0x%" PRIx64 " has changed at 0x%x, and its clean bit "
                        "%u is set", env_cpu(env)->cpu_index,
                        env->snp.tlb_asid, env->vm_vmcb, at, bit);
        }
    }
}

/*
 * TLB-05 (Linux pre_sev_run()): what an ASID has here is of the VMCB that ran
 * last, when it did
 */
static void foreign(CPUX86State *env, Asid *a)
{
    SnpTlb *t = env->snp.tlb;
    const uint64_t vmcb = env->vm_vmcb, here = env_cpu(env)->cpu_index;
    uint64_t *last = &t->host->vmcb[(vmcb >> TARGET_PAGE_BITS) % VMCBS];
    const uint64_t was = qatomic_read(last);

    const bool moved = (was & TARGET_PAGE_MASK) == vmcb && was != (vmcb | here);

    if (a->vmcb && (a->vmcb != vmcb || moved)) {
        a->foreign = t->now++;
    }
    a->vmcb = vmcb;
    qatomic_set(last, vmcb | here);
}

void snp_tlb_vmrun(CPUX86State *env, uint8_t tlb_ctl)
{
    SnpTlb *t = env->snp.tlb;
    Asid *a;

    if (!t || !env->snp.tlb_asid) {
        return;
    }
    a = &t->asid[env->snp.tlb_asid];
    t->vmrun++;
    t->us = qemu_clock_get_us(QEMU_CLOCK_VIRTUAL);
    /* TLB-02 (APM2 15.36.15, B) */
    if (tlb_ctl == TLB_CONTROL_FLUSH_ALL_ASID) {
        t->all_flushed = t->now++;
    } else if ((tlb_ctl & 3) == 3) {
        a->flushed = t->now++;
    }
    /*
     * TLB-01 (APM2 15.36.15): a flush of the processor's own, on which nobody
     * should rely
     */
    if ((env->snp.kind & SNP_GUEST_SNP) &&
        env->snp.pcpu_id != env_cpu(env)->cpu_index + 1) {
        a->hidden = t->now++;
    }
    foreign(env, a);
    look_at_clean_bits(env);
    look_at_pending(env);
}

bool snp_tlb_walked(CPUX86State *env, vaddr addr, MMUAccessType access,
                    int mmu_idx, bool found, uint64_t *spa, int *prot,
                    int *page_size)
{
    SnpTlb *t = env->snp.tlb;
    const uint64_t key = (addr & TARGET_PAGE_MASK) | mmu_idx;
    const uint64_t to = found ? *spa & TARGET_PAGE_MASK : UINT64_MAX;
    uint32_t asid = env->snp.tlb_asid;
    Entry *e;

    if (!(env->hflags & HF_GUEST_MASK) || !asid ||
        mmu_idx == MMU_PHYS_IDX || mmu_idx == MMU_WALK_IDX) {
        return found;
    }
    e = slot(t, key, asid);
    if (e->page == key && e->asid == asid && valid(t, e)) {
        /* An RMP change of the page flushes: what is found after it is new */
        if (e->to == to && e->handed == page_count(t->host, to)) {
            e->prot |= *prot;
            return true;
        }
        if (e->to == to || !(e->prot & (1 << access))) {
            /* The walk would have been made, and replaces it */
            e->made = 0;
        } else if (mmu_idx == MMU_NESTED_IDX ||
                   e->made <= t->asid[asid].foreign) {
            notice(env, e, to);
            if (t->host->use && mmu_idx == MMU_NESTED_IDX &&
                e->made > t->asid[asid].hidden &&
                e->handed == page_count(t->host, e->to)) {
                *spa = e->to | (addr & ~TARGET_PAGE_MASK);
                *prot = e->prot;
                *page_size = TARGET_PAGE_SIZE;
                return true;
            }
            /* Once told, what was found is what there is */
            if (mmu_idx == MMU_NESTED_IDX &&
                e->made > t->asid[asid].foreign) {
                return found;
            }
        }
    }
    if (found) {
        *e = (Entry) {
            .page = key,
            .to = to,
            .made = t->now,
            .vmrun = t->vmrun,
            .us = t->us,
            .asid = asid,
            .handed = page_count(t->host, to),
            .prot = *prot,
        };
    } else if (e->page == key && e->asid == asid) {
        e->made = 0;
    }
    return found;
}
