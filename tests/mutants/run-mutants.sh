#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The canary and a clean kernel: do the tests still kill what they should, and nothing
# else?  And five mutants (ROTATION=n) of those in ./rotation, others with
# every day on which something was committed; a commit always gets the same ones.
# `make mutants` runs all.  And every mutant applies and has a complete header,
# every series can be written out.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$top/tests/tap.sh"
TOP=$top
. "$top/scripts/header.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

headers()
{
	rc=0
	for f in $(mutants); do
		# Upstream's tests have no cases.
		case $f in
		*/pairs/*)	killer='[a-z]' ;;
		*)		killer='\(sev_snp_[a-z0-9_]*: .\|set_memory_region_test$\)' ;;
		esac
		for field in "id: *$(basename "$f" .patch)\$" 'broken: ' 'consequence: ' \
			     "killer: *$killer" 'kind: *\(deterministic\|race, wide\|race, narrow\)$'; do
			sed '/^---$/q' "$f" | grep -q "^$field" || {
				echo "${f##*/} lacks '$field'"; rc=1
			}
		done
	done
	return $rc
}

applies()
{
	tree=$("$top/scripts/fetch" kernel 7.3) || return
	rc=0
	for f in $(mutants); do
		patch -p1 -F0 -s --dry-run -d "$tree" <"$f" || { echo "${f##*/}"; rc=1; }
	done
	return $rc
}

series() { FIX=$1 OUT=$tmp/$1 "$top/scripts/series"; }

# verdict ID VERDICT KILLS RUNS
verdict() { grep "\"id\":\"$1\",\"verdict\":\"$2\",\"kills\":$3,\"runs\":$4," "$tmp/mutants/$1.json" ||
	{ cat "$tmp/mutants/$1.json" "$tmp/log"; return 1; }; }

check "every mutant has a complete header" headers
check "every mutant applies" applies
check "the series for 7.3 can be written out" series 7.3
check "the series for 6.12 can be written out" series 6.12

# By the commit, not by the clock: what has passed once passes again.
day=$(($(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0) / 86400))
chosen=$(sed 's/ *#.*//; /^$/d' "$top/tests/mutants/rotation" |
	awk -v day="$day" -v n="${ROTATION:-5}" '
		{ id[NR - 1] = $0 }
		END { for (i = 0; i < n && i < NR; i++) print id[(day * n + i) % NR] }')
tests="sev_snp_vmsa_punch_hole sev_snp_vmsa_state_test sev_snp_vmsa_range_test sev_snp_vmsa_memslot_test sev_snp_ap_creation_test sev_snp_vmsa_model_test"
# Two, so that what the first one has left is seen to count once; for the same reason
# a folder that is named by where we are.  None has hung while it still says something,
# however little time it had.
run()
{
	(cd "$tmp" && HANG=1 SILENT=60 OUT=mutants RUNS=2 TESTS=$tests "$top/scripts/mutants" "$@") \
		>"$tmp/table" 2>"$tmp/log" || :
}

# shellcheck disable=SC2086
run 00-canary $chosen
sed 's/^/# /' "$tmp/table"
check "clean-1 passes, though it takes longer than HANG=1" verdict clean-1 passed 0 1
for id in 00-canary $chosen; do
	check "$id is killed" verdict "$id" killed 2 2
done

# What a copy of the machine says goes to a log of its own.
stale()
{
	(cd "$tmp" && BATCH=0 OUT=mutants RUNS=1 TESTS=sev_snp_lab_tlb_test:replaced \
		"$top/scripts/mutants" 271-remote-flush-dropped) >"$tmp/table" 2>"$tmp/log" || :
	verdict 271-remote-flush-dropped killed 1 1 | grep '"cause":"stale-translation'
}
check "a flush that is lost is told by the processor alone, and kills" stale

# Any test is too long for that.
hangs()
{
	(cd "$tmp" && HANG=1 SILENT=0 OUT=mutants FRESH=1 RUNS=1 TESTS=$tests "$top/scripts/mutants" 00-canary) \
		>"$tmp/table" 2>"$tmp/log" || :
	verdict clean-1 killed 1 1 | grep '"cause":"hung"'
}
check "a machine that does not end, and says nothing, is ended, and killed" hangs
done_testing
