/*
 * Is the SNP host emulated?  Settled before the first processor exists.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_SNP_SWITCH_H
#define I386_SNP_SWITCH_H

#include <stdbool.h>

#if defined(CONFIG_USER_ONLY) || !defined(CONFIG_TCG)
#define snp_host_enabled()      false
#else
extern bool snp_host_present;
static inline bool snp_host_enabled(void)
{
    return snp_host_present;
}
#endif

#endif
