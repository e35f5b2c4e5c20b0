/*
 * All rules, in the order of a platform's life.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conformance.h"

void tests(void)
{
    rules_before_snp();
    start_snp();
    rules_host();
    guest_launch();
    rules_vmrun();
    rules_guest();
    rules_smp();
    rules_tlb();
    rules_shutdown();
    report();
}
