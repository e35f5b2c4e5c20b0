#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A hypervisor and a guest that know no rules, on the emulated SNP host: random
# RMP entries, VMCBs, VMSAs, accesses and guest instructions.  What fails is
# QEMU alone: that it ends by a signal, an assertion or a sanitizer's report, or
# does not even end when told to.  The image may well lose its own ground; that
# is said, and no failure.
#
#     SEEDS="1 2"     these (default: 1 2 10 12)
#     ROUNDS=n        per seed (default: 3000)
#     FOREVER=1       new seeds until interrupted
#     QEMU_DIR=dir    a built QEMU, such as that of SANITIZE=address
#     QEMU_ARGS=...   more arguments for it
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
. "$here/../bare/build.sh"
rules=$here/../conformance
bare_start

n=0 rc=0
one()
{
	BARE_CFLAGS="-DSEED=$1 -DROUNDS=${ROUNDS:-3000} -I$rules"
	bare_build "$build" fuzz "$rules/insn.S" "$rules/main.c" "$rules/guest.c" \
		"$here/fuzz.c" || { echo "Bail out! the image does not build"; exit 1; }
	# Odd seeds: entries of the RMP that others have for the moment, stale translations
	BARE_SNP=
	[ $(($1 % 2)) = 0 ] || BARE_SNP=,contention=$(($1 % 29 + 2)),seed=$1,stale=use
	bare_run "${LIMIT:-120}" "$qemu" "$build/fuzz.bin" "$build/out" -smp 2 \
		-device amd-psp >"$build/qemu" 2>&1
	status=$?
	n=$((n + 1))
	grep -h "^# VMRUN\|^# exception\|^Bail" "$build/out" | sed "s/^Bail/# Bail/"
	if grep -q '^# done' "$build/out"; then
		end=
	else
		end=" (the image stopped after $(sed -n 's/^# round //p' "$build/out" | tail -n 1 | grep . || echo few) rounds, QEMU: $status)"
	fi
	if { [ $status -eq 0 ] || [ $status -eq 124 ]; } &&
	   ! grep -q 'Sanitizer\|runtime error:\|Assertion\|qemu: fatal' "$build/qemu"; then
		echo "ok $n seed $1$end"
	else
		sed 's/^/# /' "$build/qemu" | tail -n 60
		echo "not ok $n seed $1$end: QEMU ends with $status"
		rc=1
	fi
}

if [ -n "${FOREVER-}" ]; then
	seed=$(date +%s)
	while [ $rc -eq 0 ]; do
		one $seed
		seed=$((seed + 1))
	done
else
	for seed in ${SEEDS:-1 2 10 12}; do
		one "$seed"
	done
fi
echo "1..$n"
exit $rc
