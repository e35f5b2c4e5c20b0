#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# make explore BOUND=k comes to an end and says so, finds a narrow race with the
# preemptions that it takes and not with fewer, draws the same run again, and goes on
# where it ended.  With store buffers it finds a barrier that is missing.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh
unset SCHED M KERNEL SMP MEM TESTS FRESH RUNS ARGS CHOICES RACES ALL TSO
OUT=$LOGS/search
CASE=punch_beside_entry
export OUT CASE

# search EXIT [VARIABLE=VALUE]... : the search ends so
search()
{
	_want=$1 _rc=0
	shift
	env "$@" scripts/explore >"$OUT.out" 2>"$OUT.err" || _rc=$?
	[ $_rc = "$_want" ] || { echo "exit $_rc"; cat "$OUT.out" "$OUT.err"; return 1; }
}

said() { grep -q -- "$1" "$OUT.out" || { cat "$OUT.out"; return 1; }; }

rm -rf "$OUT" "$OUT".*
check "7.3: one preemption, to the end" search 0 BOUND=1
check "... and none fails" said '^scenario punch_beside_entry, kernel 7.3, 2 CPUs: all interleavings with at most 1 preemptions .* none fails'
check "... and conflicting accesses to what is no word are argued" said 'unlisted conflicting accesses: [0-9]* pairs of functions, all argued in vm/races'
# parts : two parts of a search, merged, leave little to do for the whole
parts()
{
	_all=$(wc -l <"$OUT/7.3/$CASE/results.jsonl")
	search 0 BOUND=1 SHARD=1/2 OUT="$OUT.1" && said ': part 1 of 2 with 1 preemptions: .* none fails' &&
	search 0 BOUND=1 SHARD=2/2 OUT="$OUT.2" || return
	for _p in 1 2; do
		_n=$(wc -l <"$OUT.$_p/7.3/$CASE/results.jsonl")
		[ "$_n" -gt 2 ] && [ "$_n" -lt "$_all" ] || { echo "part $_p: $_n of $_all runs"; return 1; }
	done
	IN="$OUT.1 $OUT.2" OUT=$OUT.merged scripts/merge >"$OUT.out" 2>&1 && said "^7.3/$CASE: [0-9]* runs on record" || return
	_n=$(wc -l <"$OUT.merged/7.3/$CASE/results.jsonl")
	search 0 BOUND=1 OUT="$OUT.merged" && said ' at most 1 preemptions .* none fails' || return
	_n=$(($(wc -l <"$OUT.merged/7.3/$CASE/results.jsonl") - _n))
	[ "$_n" -lt $((_all / 10)) ] || { echo "$_n of $_all runs were in no part"; return 1; }
}
check "... and in two parts, merged" parts
runs=$(wc -l <"$OUT/7.3/$CASE/results.jsonl")
check "again: what was run is known" search 0 BOUND=1
check "... and not run once more" [ "$(wc -l <"$OUT/7.3/$CASE/results.jsonl")" = "$runs" ]
CASE=punch_beside_reload
check "a narrow mutant does not fail without a preemption" search 1 M=14 BOUND=0
check "... and fails with one" search 0 M=14 BOUND=1
check "... for the page that is gone" said 'FAILS with 1 preemptions: vmsa-freed'
choices=$(sed -n 's/.* CHOICES=//p' "$OUT.out")
check "that interleaving again" search 0 M=14 BOUND=1 CHOICES="$choices"
check "... is the same, byte for byte" said '^the same run, byte for byte'
check "... and drawn" said '^<== vmsa-freed'
drawn() { scripts/draw svg "$OUT/$1/interleaving.json" >"$OUT.svg" && grep -q 'vmsa-freed' "$OUT.svg"; }
check "... as a picture, too" drawn mutant_14-snapshot-after-pfn/$CASE
check "what the list of words lacks" search 0 BOUND=1 RACES=1
check "... is said" said ' pairs that conflict and that nothing orders: [0-9]* at listed words'
CASE=punch_beside_entry
check "a store behind its barrier is seen at once without store buffers" search 1 M=281 BOUND=1
check "... and late with them" search 0 M=281 BOUND=1 TSO=1
check "... for the page that is gone" said 'with store buffers: FAILS with 1 preemptions: vmsa-freed'
choices=$(sed -n 's/.* CHOICES=//p' "$OUT.out")
check "that interleaving again" search 0 M=281 BOUND=1 TSO=1 CHOICES="$choices"
check "... is the same, byte for byte" said '^the same run, byte for byte'
check "7.3 does not fail with them" search 0 BOUND=1 TSO=1
CASE=punch_beside_other_create
check "7.3 fails without a choice" search 1 BOUND=0
choices=$(sed -n 's/.* CHOICES=//p' "$OUT.out")
check "that interleaving again" search 1 BOUND=0 CHOICES="$choices"
check "... is the same, byte for byte" said '^the same run, byte for byte'
check "choices that are none are refused" search 2 BOUND=0 CHOICES=0:1+
check "BOUND=0 has no parts" search 2 BOUND=0 SHARD=1/2
check "a case that is none is refused" search 2 BOUND=1 CASE=no_such_case
check "a bound that is none is refused" search 2 BOUND=some
done_testing
