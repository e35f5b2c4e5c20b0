#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A hypervisor and a guest that know no rules, on the emulated SNP host: random
# RMP entries, VMCBs, VMSAs, accesses and guest instructions.  What fails is
# QEMU alone: that it ends by a signal, an assertion or a sanitizer's report, or
# does not even end when told to.  The image may well lose its own ground; that
# is said, and no failure.
#
# The seed chooses the machine, too: its processor, stale translations, and what
# FAULT= of make run can have.
#
#     SEEDS="1 2"     these (default: 1 2 10 12); "1-2000": this range, but those that
#                     OUT says have passed
#     ROUNDS=n        per seed (default: 3000)
#     FOREVER=1       without SEEDS: from the last seed of OUT on, until interrupted
#     OUT=folder      of the list of seeds that passed, a file for each QEMU and ROUNDS
#                     (default: build/fuzz); FRESH=1 drops it
#     QEMU_DIR=dir    a built QEMU, such as that of SANITIZE=address
#     QEMU_ARGS=...   more arguments for it
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
. "$here/../bare/build.sh"
rules=$here/../conformance
_n='(0|[1-9][0-9]{0,8})'
printf '%s\n' "${SEEDS:-1}" | grep -qxE " *$_n( +$_n)* *|$_n-$_n" &&
	case ${SEEDS-} in *-*) [ "${SEEDS%-*}" -le "${SEEDS#*-}" ] ;; esac ||
	{ echo "run-fuzz.sh: SEEDS is numbers, or a range as 1-2000, not '$SEEDS'" >&2; exit 2; }
printf '%s\n' "${ROUNDS:-1}" | grep -qxE "$_n" || { echo "run-fuzz.sh: ROUNDS=$ROUNDS is no number" >&2; exit 2; }
bare_start

# fault N [STATUS] : of SNP_PAGE_RECLAIM, the Nth
fault() { printf '{"command":199,"nth":%u%s}' "$1" "${2:+,\"status\":$2}"; }

# mix SEED : $BARE_SNP, $psp, $cpu, which make the machine
mix()
{
	BARE_SNP= psp= cpu=
	_features=+svm,-hypervisor,+lbrv,+nrip-save,+flushbyasid,+decodeassists
	# Entries of the RMP that others have for the moment
	[ $(($1 % 2)) = 0 ] || BARE_SNP=,contention=$(($1 % 29 + 2)),seed=$1
	case $(($1 % 3)) in
	0)	BARE_SNP=$BARE_SNP,stale=off ;;
	1)	BARE_SNP=$BARE_SNP,stale=use ;;
	esac
	case $(($1 / 2 % 4)) in
	1)	cpu="-cpu EPYC-Milan,check=off,phys-bits=48,$_features"
		BARE_SNP=$BARE_SNP,sme=on ;;
	2)	cpu="-cpu EPYC-Genoa,check=off,phys-bits=52,$_features"
		BARE_SNP=$BARE_SNP,sme=on,asids=1006,pa-reduction=6 ;;
	3)	cpu="-cpu EPYC-Genoa,family=26,model=2,stepping=1,check=off,phys-bits=52,$_features"
		BARE_SNP=$BARE_SNP,sme=on,asids=1006,pa-reduction=6,rmp-segment=$(($1 % 10 + 30)) ;;
	esac
	# What the image asks of the firmware once it goes: pages back
	case $(($1 / 3 % 5)) in
	1)	psp=,\"delay\":$(($1 % 97 + 1)) ;;
	2)	psp=,\"fail\":[$(fault $(($1 % 41 + 1)) 3),$(fault $(($1 % 83 + 1)) 26)] ;;
	3)	psp=,\"delay\":$(($1 % 13)),\"fail\":[$(fault $(($1 % 211 + 60)))] ;;
	esac
}

n=0 rc=0
one()
{
	BARE_CFLAGS="-DSEED=$1 -DROUNDS=${ROUNDS:-3000} -I$rules"
	bare_build "$build" fuzz "$rules/insn.S" "$rules/main.c" "$rules/guest.c" \
		"$here/fuzz.c" || { echo "Bail out! the image does not build"; exit 1; }
	mix "$1"
	# shellcheck disable=SC2086 # no argument, or two
	bare_run "${LIMIT:-120}" "$qemu" "$build/fuzz.bin" "$build/out" -smp 2 $cpu \
		-device "{\"driver\":\"amd-psp\"$psp}" >"$build/qemu" 2>&1
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
		[ -z "$passed" ] || echo "$1" >>"$passed"
	else
		sed 's/^/# /' "$build/qemu" | tail -n 60
		echo "not ok $n seed $1$end: QEMU ends with $status"
		rc=1
	fi
}

passed=
case ${FOREVER-}/${SEEDS-} in
1/|*/*-*)
	out=${OUT:-$here/../../build/fuzz}
	mkdir -p "$out" || exit 2
	passed=$out/passed-$(cat "$qemu" "$0" "$here/fuzz.c" "$rules"/*.[chS] "$bare"/*.[chS] | sha256sum | cut -c 1-12)-${ROUNDS:-3000}
	[ -z "${FRESH-}" ] || rm -f "$passed"
	: >>"$passed" || exit 2 ;;
esac
if [ -n "$passed" ] && [ -n "${SEEDS-}" ]; then
	for seed in $(seq "${SEEDS%-*}" "${SEEDS#*-}"); do
		[ $rc -eq 0 ] || break
		grep -qx "$seed" "$passed" || one "$seed"
	done
	echo "# $(wc -l <"$passed") seeds have passed: $passed"
elif [ -n "$passed" ]; then
	seed=$(sort -n "$passed" | tail -n 1)
	while [ $rc -eq 0 ]; do
		seed=$((seed + 1))
		one $seed
	done
else
	for seed in ${SEEDS:-1 2 10 12}; do
		one "$seed"
	done
fi
echo "1..$n"
exit $rc
