/*
 * The emulated SEV-SNP host, for targets that have none
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-snp-host.h"

SnpPageInfo *qmp_x_query_snp_page(uint64_t address, Error **errp)
{
    error_setg(errp, "this target has no emulated SEV-SNP host");
    return NULL;
}
