/*
 * `info snp-page`: what the RMP says of a page, and which processor uses it.
 * In QMP by human-monitor-command.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/target_page.h"
#include "monitor/hmp-target.h"
#include "monitor/monitor.h"
#include "qobject/qdict.h"
#include "snp_host.h"

static const char *const state_name[] = {
    [RMP_PAGE_DEFAULT] = "Default (not covered by the RMP)",
    [RMP_PAGE_HYPERVISOR] = "Hypervisor",
    [RMP_PAGE_HV_FIXED] = "HV-fixed",
    [RMP_PAGE_RECLAIM] = "Reclaim",
    [RMP_PAGE_FIRMWARE] = "Firmware",
    [RMP_PAGE_CONTEXT] = "Context",
    [RMP_PAGE_METADATA] = "Metadata",
    [RMP_PAGE_PRE_GUEST] = "Pre-Guest",
    [RMP_PAGE_GUEST_INVALID] = "Guest-Invalid",
    [RMP_PAGE_GUEST_VALID] = "Guest-Valid",
    [RMP_PAGE_PRE_SWAP] = "Pre-Swap",
    [RMP_PAGE_TABLE] = "RMP table",
    [RMP_PAGE_IN_USE] = "in use",
};

static void print_user(Monitor *mon, uint64_t page, const RmpUse *use, int cpu,
                       const char *what)
{
    if (use->active && use->spa >> 12 == page) {
        monitor_printf(mon, "used by CPU %d as %s\n", cpu, what);
    }
}

/* A running machine goes on meanwhile: the answer is a snapshot of each line */
void hmp_info_snp_page(Monitor *mon, const QDict *qdict)
{
    const uint64_t spa = qdict_get_int(qdict, "addr");
    Rmp *rmp = snp_host_rmp();
    RmpState state;
    RmpEntry entry;
    CPUState *cs;
    bool large;

    if (!rmp) {
        monitor_printf(mon, snp_host_enabled() ?
                       "SYSCFG.SNP_EN is not set on any processor\n" :
                       "no SNP host: start QEMU with -object x-snp-host\n");
        return;
    }
    entry = rmp_raw(rmp, spa);
    monitor_printf(mon, "page 0x%" PRIx64 ": %s", spa & TARGET_PAGE_MASK,
                   state_name[rmp_page_state(rmp, spa, &large)]);
    monitor_printf(mon, "%s, entry 0x%016" PRIx64 " 0x%016" PRIx64 "\n",
                   large ? ", 2 MB" : "", entry.lo, entry.hi);
    if (rmp_read(rmp, spa, &state) == RMP_OK && state.assigned) {
        monitor_printf(mon, "assigned to ASID %u at GPA 0x%" PRIx64
                       "%s, contents under key %u\n", state.asid, state.gpa,
                       state.immutable ? ", immutable" : "",
                       rmp_key(rmp, spa));
    }
    CPU_FOREACH(cs) {
        SnpCpu *snp = &cpu_env(cs)->snp;

        print_user(mon, spa >> 12, &snp->vmcb_use, cs->cpu_index, "VMCB");
        print_user(mon, spa >> 12, &snp->vmsa_use, cs->cpu_index, "VMSA");
    }
}
