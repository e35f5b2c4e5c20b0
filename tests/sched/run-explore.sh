#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# make explore finds the bug of the canary by itself, and make replay shows the
# same failure again, byte for byte.  Two copies of one snapshot with the same
# seed are the same run; a search goes on where it ended.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh
unset SCHED SEED SEEDS GDB ALL LIMIT M KERNEL SMP MEM TESTS FRESH RUNS ARGS
OUT=$LOGS/explore
BUDGET=300
SHRINK=20
export OUT BUDGET SHRINK
dir=$OUT/mutant_00-canary

search()
{
	_src=0
	M=00 scripts/explore >"$OUT.out" 2>"$OUT.err" || _src=$?
	[ "$_src" = "$1" ] || { echo "exit $_src"; cat "$OUT.out" "$OUT.err"; return 1; }
}

said() { grep -q -- "$1" "$OUT.out" || { cat "$OUT.out"; return 1; }; }

replays()
{
	M=00 SEED=$1 scripts/explore --replay >"$OUT-replay.out" 2>&1 ||
		{ tail -n 12 "$OUT-replay.out"; return 1; }
	grep -q "$2" "$OUT-replay.out" || { tail -n 12 "$OUT-replay.out"; return 1; }
}

refused()
{
	_rrc=0
	_rp=$1
	shift
	_ro=$(env "$@" 2>&1) || _rrc=$?
	[ $_rrc = 2 ] && printf '%s\n' "$_ro" | grep -q -- "$_rp" ||
		{ printf '%s\n' "exit $_rrc" "$_ro"; return 1; }
}

rm -rf "$OUT"
check "the canary: a seed fails, as it was asked" search 0
check "... for the bug it has" said '^first failing seed: [0-9]* (.*\(vmsa-in-use\|wrong-vmsa\)'
check "... with a schedule that names no address" sh -c 'grep "^schedule: mode=[a-z]*," "$1" && ! grep "^schedule:.*ffff" "$1"' x "$OUT.out"
check "... and the command to replay it" said '^replay: make replay SEED=[0-9]* KERNEL="mutant/00-canary"'
check "... and a smaller version, or that none was found" \
	said '^smaller ([0-9]* switches): make replay SEED=\|^fewer CPUs: make replay SEED=\|^no smaller version was found'
seed=$(sed -n 's/^first failing seed: \([0-9]*\) .*/\1/p' "$OUT.out")
check "replay: it fails again" replays "$seed" "^seed $seed: failed (.*\(vmsa-in-use\|wrong-vmsa\))"
check "... as the same run, byte for byte" grep -q '^the same run, byte for byte' "$OUT-replay.out"
SHRINK=0
lines=$(wc -l <"$dir/results.jsonl")
check "the search goes on" search 0
check "... behind the last seed, and keeps what it had" \
	sh -c "[ $(wc -l <"$dir/results.jsonl") -gt $lines ] && [ -z \"\$(sed 's/,.*//' '$dir/results.jsonl' | sort | uniq -d)\" ]"
# Or no search of a kernel that is right would ever come to the last cases.
whole()
{
	KERNEL=7.3 SEEDS=2 scripts/explore >"$OUT.out" 2>&1 && said ' 0 failed, 0 given up, 0 unclear'
}
check "a clean kernel gets to the end of a seed" whole
# The same, asked otherwise: a kernel should have none, a mutant one.
turned()
{
	! KERNEL=mutant/00-canary scripts/explore >"$OUT.out" 2>&1 && said '^first failing seed' || return
	FRESH=1 M=00 SEEDS=1 TESTS=sev_snp_ghcb_test:refused LIMIT=1000 scripts/explore >"$OUT.out" 2>&1 &&
		return 1
	said '^no failing seed'
}
check "a failure of a kernel, none of a mutant: exit 1" turned
# Several seeds are needed, and the clean kernel gets as many.
narrow()
{
	RUNS=1 M=163 scripts/explore >"$OUT.out" 2>"$OUT.err" || { cat "$OUT.out" "$OUT.err"; return 1; }
}
check "a narrow race is found by the schedule that its mutant's header names" narrow
# single FORK_OBJECT... : what QEMU says to a machine with one thread
single()
{
	_sq=$(scripts/build-qemu 2>/dev/null) || return
	_so=$(timeout 60 "$_sq/qemu-system-x86_64" -L "$_sq" -M q35 -accel tcg,thread=single -display none \
		-S -object "$1" 2>&1 </dev/null) && { echo "QEMU did not refuse it"; return 1; }
	printf '%s\n' "$_so" | grep -q -- "$2" || { printf '%s\n' "$_so"; return 1; }
}

check "copies of a machine with one thread need x-sched" single x-fork,id=f,server=x 'thread=multi'
check "... and a server" single x-fork,id=f 'server'
check "a replay without a seed is refused" refused 'which seed' M=00 scripts/explore --replay
check "an unknown mutant is refused" refused 'no such mutant' M=99-none scripts/explore
check "a budget that is none is refused" refused 'BUDGET=soon is no number' BUDGET=soon scripts/explore
check "no machine at a time is refused" refused 'PARALLEL=0 is no number' PARALLEL=0 M=00 scripts/explore
check "medians without mutants are refused" refused 'needs M=' RUNS=3 scripts/explore
check "a function that is none is refused" refused 'has no such function' \
	SCHED=mode=fixed,symbols=no_such_function scripts/explore
check "an unknown test is refused" refused "no test 'sev_none'" TESTS=sev_none scripts/explore
done_testing
