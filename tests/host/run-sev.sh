#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Upstream's SEV selftests on the emulated host, unmodified 7.3, LOOPS times in
# one boot: every VM type passes every time, and the kernel stays silent.
cd "$(dirname "$0")/../.." || exit 2
loops=${LOOPS:-${CHECK_ALL:+20}}
loops=${loops:-5}
. tests/tap.sh
. tests/host/host.sh

tests="sev_smoke_test sev_init2_tests sev_migrate_tests sev_dbg_test"
check "the SEV selftests, $loops times: PASS" passes sev LOOPS="$loops" TESTS="$tests"
check "SNP is enabled" logged sev 'kvm_amd: SEV-SNP enabled'
for t in $tests; do
	check "$t: $loops of $loops" is "$loops ok" result sev "$t"
done
done_testing
