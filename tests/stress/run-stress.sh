#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The stress test in its short form: 7.3 passes in every default mode, 6.12 fails
# at once and with the right cause, options are checked before anything is done.
# `make soak` is the long form.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

test=sev_snp_vmsa_punch_hole_stress
modes="probe storm spare churn pingpong convert slots signals reuse numa"
bin=$(scripts/build-selftests 2>/dev/null)/kvm/$test

# refused ARGUMENT... : exit 1, one line of complaint, and no TAP
refused()
{
	_rr=0
	"$bin" "$@" >"$LOGS/stress-refused.out" 2>"$LOGS/stress-refused.err" || _rr=$?
	[ "$_rr" = 1 ] && [ "$(wc -l <"$LOGS/stress-refused.err")" = 1 ] &&
		! grep -q TAP "$LOGS/stress-refused.out" ||
		{ echo "exit $_rr"; cat "$LOGS/stress-refused.out" "$LOGS/stress-refused.err"; return 1; }
}

helps()
{
	"$bin" -h >"$LOGS/stress-help.out" || return 1
	for m in $modes msi; do
		grep -q "^  $m " "$LOGS/stress-help.out" || { echo "no mode $m in -h"; return 1; }
	done
}

all_modes()
{
	for m in $modes; do
		grep -q "^# ok [0-9]* $m\$" "$LOGS/stress-7.3/ktap.log" || { echo "no ok for $m"; return 1; }
		grep -q "^# # $m: [1-9][0-9]* .* windows\$" "$LOGS/stress-7.3/ktap.log" ||
			{ echo "no windows of $m"; return 1; }
	done
}

said() { grep -q -- "$2" "$LOGS/$1/ktap.log" || { tail -n 15 "$LOGS/$1/ktap.log"; return 1; }; }

# A poisoned host may die of the next page that it allocates.
fails() { _fr=0; boot "$@" || _fr=$?; [ "$_fr" = 1 ] || [ "$_fr" = 5 ] || { tail -n 12 "$LOGS/$1.out"; return 1; }; }

check "-h names every mode" helps
check "a number that is none is refused" refused -t soon
check "too many vCPUs are refused" refused -n 33
check "an unknown mode is refused" refused -m storm,rain
check "an unknown amplifier is refused" refused -a loud
check "an argument that is no option is refused" refused storm

check "7.3, 10 seconds: PASS" passes stress-7.3 TESTS=$test ARGS="-t 10 -s 1"
check "7.3, every default mode has run, and entered windows" all_modes
check "7.3, a summary with seed, rounds and rates" said stress-7.3 '# summary: seed 0x1, .* rounds, '

# Shares of 8 and 3: the last mode gets what is left, less what starting takes.
last_mode_time()
{
	sed -n 's/^# # \(storm\|spare\): [0-9]* rounds in \([0-9]*\) ms/\2/p' "$LOGS/stress-time/ktap.log" | {
		read -r storm && read -r spare && [ $((spare * 8)) -ge "$storm" ] ||
			{ echo "storm ${storm-} ms, spare ${spare-} ms"; return 1; }
	}
}
check "7.3, two modes: PASS" passes stress-time TESTS=$test ARGS="-t 10 -m storm,spare"
check "7.3, the second has the time that the first left" last_mode_time

check "6.12: FAIL or CRASH" fails stress-6.12 KERNEL=6.12 TESTS=$test ARGS="-s 1"
# ... and before it has printed everything, then.
named() { grep -q "kernel lacks d1a3c2162334 (CVE-2026-90040)" "$LOGS/stress-6.12.out"; }
replay() { grep -q '^VERDICT: CRASH' "$LOGS/stress-6.12.out" || said stress-6.12 "# replay: $test -m probe -s 0x1 "; }
check "6.12, the cause is named" named
check "6.12, the way to replay it is named" replay
done_testing
