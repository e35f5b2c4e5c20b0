#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The host side of the rules, provoked by kernel modules on the machine under
# test: what RMPUPDATE and PSMASH refuse, a VMSA in use, a refused VMRUN, and the
# fault of a store to an assigned page.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

extra=$(mktemp -d) || exit 2
trap 'rm -rf "$extra"' EXIT
kernel=$(scripts/build-kernel "${KERNEL:-7.3}") || exit 2
scripts/build-modules tests/host/probe "$kernel" "$extra" || exit 2
cp tests/host/guest/probe "$extra/run"

probe()
{
	echo "WHAT=$1" >"$extra/what"
	boot "probe-$1" MODE=extra PACK=kvm:sev_snp_vmsa_punch_hole EXTRA="$extra" SNP=required TESTS="$1"
}

probe all
check "all probes: PASS" verdict probe-all PASS
probe dma
# The kernel hears of it, and what it says is no good news to the judge.
check "DMA-01: the IOMMU logs a refused write" \
	grep -q '^cause: kernel-log: the kernel complained: .*Event logged \[RMP_PAGE_FAULT' "$LOGS/probe-dma.out"
# Each case is a result of its own here.
cat "$LOGS/probe-all/ktap.log" "$LOGS/probe-dma/ktap.log" | tr -d '\r' |
	grep -aE '^(not )?ok ' >"$extra/results" || :
while read -r line; do
	check "probe: $(printf %s "$line" | sed 's/^\(not \)\{0,1\}ok [0-9]* *-\{0,1\} *//')" \
		test "${line%% [0-9]*}" = ok
done <"$extra/results"

probe inuse
check "a VMSA in use: PASS" verdict probe-inuse PASS

probe oops
check "a store to an assigned page: CRASH" verdict probe-oops CRASH
check "... an RMP violation on a write" logged probe-oops '#PF: error_code\(0x80000003\) - RMP violation'
check "... with the RMP entry in the log" logged probe-oops 'SEV-SNP: PFN 0x[0-9a-f]+, RMP entry'
done_testing
