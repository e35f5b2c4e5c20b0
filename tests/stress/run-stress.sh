#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The stress test as kselftest runs it: 7.3 passes in every mode, 6.12 fails at once
# and with the right cause; and the test across NUMA nodes, where there are two, and
# where there are not.  `make soak` is the long form.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh
# A kernel without the fix: Debian's, until it has it.
TOP=$PWD
. scripts/overlay.sh
affected=6.12
! fix_has "$(scripts/fetch kernel 6.12)" 6.12 6 || affected=mutant/00-canary
unset SMP MEM

test=sev_snp_vmsa_punch_hole_stress
numa=sev_snp_vmsa_punch_hole_numa_test
modes="storm spare churn slots"
hint="kernel may lack d1a3c2162334 (CVE-2026-90040)"

# rows NAME WHAT : the cases of that boot of which WHAT is so, with causes and reasons
rows() { awk -F '\t' -v what="$2" '$1 == what { print $2 ":" $3 ": " $4 ": " $7 }' "$LOGS/$1/results.tsv"; }

all_modes()
{
	for m in $modes; do
		rows stress-7.3 ok | grep -q "^$test:$m: " || { echo "no ok for $m"; return 1; }
	done
}

# A poisoned host may die of the next page that it allocates.
fails() { _fr=0; boot "$@" || _fr=$?; [ "$_fr" = 1 ] || [ "$_fr" = 5 ] || { tail -n 12 "$LOGS/$1.out"; return 1; }; }
said() { grep -qF -- "$2" "$LOGS/$1.out" || { tail -n 12 "$LOGS/$1.out"; return 1; }; }
# skipped NAME : all of it, for a reason that names no number
skipped()
{
	_sr=0
	boot "$@" || _sr=$?
	[ "$_sr" = 4 ] && rows "$1" skip | grep -q ': [A-Za-z][A-Za-z ,/-]*$' || { tail -n 12 "$LOGS/$1.out"; return 1; }
}

extra=$LOGS/stress-extra
rm -rf "$extra"; mkdir -p "$extra"
sed "s/@MODES@/$modes/" tests/stress/guest/options >"$extra/run"
check "wrong options are refused, and -h names every mode" passes stress-options MODE=extra EXTRA="$extra" \
	SNP=required PACK=kvm:$test TESTS=options
check "7.3: PASS" passes stress-7.3 TESTS=$test
check "7.3, every mode has run, and entered windows" all_modes
# A mode has its share of the time, and what setting up takes.
one_mode()
{
	passes stress-one TESTS=$test:spare ARGS="-t 2" &&
		[ "$(rows stress-one ok | grep -cv ":vmsa_is_tracked: ")" = 1 ] &&
		rows stress-one ok | grep -q ":spare: "
}
check "7.3, one mode alone: PASS" one_mode
check "$affected: FAIL or CRASH" fails stress-6.12 KERNEL=$affected TESTS=$test
check "$affected, the fix and the CVE are named" said stress-6.12 "$hint"
check "7.3, across nodes: PASS" passes numa-7.3 TESTS=$numa
check "$affected, across nodes: FAIL or CRASH" fails numa-6.12 KERNEL=$affected TESTS=$numa
check "$affected, the fix and the CVE are named" said numa-6.12 "$hint"
# Another size of memory has one node.
check "one node: SKIP, one constant reason" skipped numa-one MEM=2000 TESTS=$numa
done_testing
