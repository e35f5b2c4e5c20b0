#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The same seed gives the same run, byte for byte: console, test results, and the
# trace of every switch, RMPUPDATE, VMRUN and #VMEXIT.  Also while the machine
# that emulates has other work to do.  Another seed gives another run.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh
unset SCHED BUDGET SEED GDB

# The modes differ in what they use, so each is held against itself.
run()
{
	passes "sched-$1" SCHED="$2" TRACE="tcg_sched_* snp_*" \
		TESTS=sev_snp_vmsa_punch_hole:punch_running
}

hashes()
{
	(cd "$LOGS/sched-$1" && sha256sum console.log ktap.log qemu.log)
}

same()
{
	[ "$(hashes "$1")" = "$(hashes "$2")" ] && return
	for f in console.log ktap.log qemu.log; do
		cmp "$LOGS/sched-$1/$f" "$LOGS/sched-$2/$f"
	done
	return 1
}

random=mode=random,seed=7,slice=5000,points=all
check "random, seed 7: PASS" run a $random
check "the trace has the switches" grep -q '^tcg_sched_switch ' "$LOGS/sched-a/qemu.log"
check "... the points" grep -q '^tcg_sched_point .* vmrun' "$LOGS/sched-a/qemu.log"
check "... and the RMPUPDATEs" grep -q '^snp_rmpupdate ' "$LOGS/sched-a/qemu.log"
load=
for i in 1 2 3; do
	while :; do :; done &
	load="$load $!"
done
trap 'kill $load 2>/dev/null' EXIT
check "again, on a busy machine: PASS" run b $random
# shellcheck disable=SC2086
kill $load
wait
check "... and byte for byte the same" same a b
check "seed 8: PASS" run c mode=random,seed=8,slice=5000,points=all
check "... and not the same" sh -c "! cmp -s '$LOGS/sched-a/qemu.log' '$LOGS/sched-c/qemu.log'"

# What must not be taken for a schedule
refused()
{
	_rrc=0
	_ro=$(SCHED="$1" TESTS=sev_snp_vmsa_punch_hole OUT="$LOGS/sched-bad" scripts/run 2>&1) || _rrc=$?
	[ $_rrc = 2 ] && printf '%s\n' "$_ro" | grep -q -- "$2" ||
		{ printf '%s\n' "exit $_rrc" "$_ro"; return 1; }
}
check "SCHED=7 is refused" refused 7 'is no list like seed=1'
check "an unknown mode is refused" refused mode=fair "mode is fixed, random or pct"
done_testing
