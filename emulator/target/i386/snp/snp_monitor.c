/*
 * What the RMP says of a page, and which processor uses it: x-query-snp-page
 * and `info snp-page`.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/target_page.h"
#include "monitor/hmp.h"
#include "monitor/hmp-target.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-snp-host.h"
#include "qobject/qdict.h"
#include "snp_host.h"

static const SnpPageState state_of[] = {
    [RMP_PAGE_DEFAULT] = SNP_PAGE_STATE_DEFAULT,
    [RMP_PAGE_HYPERVISOR] = SNP_PAGE_STATE_HYPERVISOR,
    [RMP_PAGE_HV_FIXED] = SNP_PAGE_STATE_HV_FIXED,
    [RMP_PAGE_RECLAIM] = SNP_PAGE_STATE_RECLAIM,
    [RMP_PAGE_FIRMWARE] = SNP_PAGE_STATE_FIRMWARE,
    [RMP_PAGE_CONTEXT] = SNP_PAGE_STATE_CONTEXT,
    [RMP_PAGE_METADATA] = SNP_PAGE_STATE_METADATA,
    [RMP_PAGE_PRE_GUEST] = SNP_PAGE_STATE_PRE_GUEST,
    [RMP_PAGE_GUEST_INVALID] = SNP_PAGE_STATE_GUEST_INVALID,
    [RMP_PAGE_GUEST_VALID] = SNP_PAGE_STATE_GUEST_VALID,
    [RMP_PAGE_PRE_SWAP] = SNP_PAGE_STATE_PRE_SWAP,
    [RMP_PAGE_TABLE] = SNP_PAGE_STATE_RMP_TABLE,
    [RMP_PAGE_IN_USE] = SNP_PAGE_STATE_IN_USE,
};

static void add_user(SnpPageInfo *info, const RmpUse *use, CPUState *cs,
                     SnpPageUse as)
{
    if (use->active && (use->spa & TARGET_PAGE_MASK) == info->address) {
        SnpPageUser *user = g_new0(SnpPageUser, 1);

        user->cpu_index = cs->cpu_index;
        user->use = as;
        QAPI_LIST_PREPEND(info->users, user);
    }
}

SnpPageInfo *qmp_x_query_snp_page(uint64_t address, Error **errp)
{
    SnpHost *host = snp_host_get();
    Rmp *rmp = snp_host_rmp(host);
    SnpPageInfo *info;
    RmpState state;
    uint64_t offset;
    RmpEntry entry;
    CPUState *cs;

    if (!rmp) {
        error_setg(errp, host ?
                   "SYSCFG.SNP_EN is not set on any processor" :
                   "no SNP host: start QEMU with -object x-snp-host");
        return NULL;
    }
    info = g_new0(SnpPageInfo, 1);
    info->address = address & TARGET_PAGE_MASK;
    info->state = state_of[rmp_page_state(rmp, address, &info->large)];
    entry = rmp_raw(rmp, address);
    QAPI_LIST_PREPEND(info->entry, entry.hi);
    QAPI_LIST_PREPEND(info->entry, entry.lo);
    /* Of a 2 MB page the first entry has the owner */
    offset = info->large ? info->address & (RMP_PAGE_2M - 1) : 0;
    if (rmp_read(rmp, info->address - offset, &state) == RMP_OK &&
        state.assigned) {
        info->owner = g_new0(SnpPageOwner, 1);
        info->owner->asid = state.asid;
        info->owner->gpa = state.gpa + offset;
        info->owner->immutable = state.immutable;
        info->owner->key = rmp_key(rmp, address);
    }
    rmp_lock(rmp);
    CPU_FOREACH(cs) {
        SnpCpu *snp = &cpu_env(cs)->snp;

        add_user(info, &snp->vmcb_use, cs, SNP_PAGE_USE_VMCB);
        add_user(info, &snp->vmsa_use, cs, SNP_PAGE_USE_VMSA);
    }
    rmp_unlock(rmp);
    return info;
}

void hmp_info_snp_page(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(SnpPageInfo) info =
        qmp_x_query_snp_page(qdict_get_int(qdict, "addr"), &err);

    if (hmp_handle_error(mon, err)) {
        return;
    }
    monitor_printf(mon, "page 0x%" PRIx64 ": %s%s, entry 0x%016" PRIx64
                   " 0x%016" PRIx64 "\n", info->address,
                   SnpPageState_str(info->state), info->large ? ", 2 MB" : "",
                   info->entry->value, info->entry->next->value);
    if (info->owner) {
        monitor_printf(mon, "assigned to ASID %u at GPA 0x%" PRIx64
                       "%s, contents under key %u\n", info->owner->asid,
                       info->owner->gpa,
                       info->owner->immutable ? ", immutable" : "",
                       info->owner->key);
    }
    for (SnpPageUserList *u = info->users; u; u = u->next) {
        monitor_printf(mon, "used by CPU %" PRId64 " as %s\n",
                       u->value->cpu_index, SnpPageUse_str(u->value->use));
    }
}
