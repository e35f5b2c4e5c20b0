#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The conformance image: a hypervisor and a guest that hold the emulated SNP
# host to the rules of emulator/README.md, on the real path of instructions.
# KTAP on stdout, a line per rule; exits non-zero on any failure.
#
#     QEMU_DIR=dir    a built QEMU (default: scripts/build-qemu's)
#     QEMU_ARGS=...   more arguments for it, such as -trace snp_refused
#     LIMIT=seconds   (120)
#     CC, OBJCOPY     for x86-64
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
. "$here/../bare/build.sh"
bare_start

bare_build "$build" conformance "$here/insn.S" "$here"/*.c ||
	{ echo "Bail out! the image does not build"; exit 1; }

rc=0
ktap=$build/ktap
BARE_SNP=,stale=use
bare_run "${LIMIT:-120}" "$qemu" "$build/conformance.bin" "$ktap" -smp 2 \
	-device amd-psp,x86-snp-shutdown=on \
	>"$build/qemu" 2>&1
status=$?
sed 's/^/# /' "$build/qemu"
grep -v '^1\.\.' "$ktap"
n=$(grep -c '^\(not \)\?ok ' "$ktap")
! grep -q '^not ok\|^Bail out!' "$ktap" || rc=1

# no plan, no pass: the plan is the last thing that the image prints
n=$((n + 1))
if [ $status -ne 0 ] || ! grep -q "^1\.\.$((n - 1))\$" "$ktap"; then
	echo "not ok $n the image comes to its end (QEMU: $status)"
	rc=1
else
	echo "ok $n the image comes to its end"
fi

# TLB-03, CLEAN-01 and others: what it tells of as stale, and nothing else
n=$((n + 1))
sed -n 's/^# stale: //p' "$ktap" | sort >"$build/stale"
sed -n 's/.*stale translation (\([A-Z0-9-]*\)).*: \(g[pv]a 0x[0-9a-f]*\) is .*/\1 \2/p; s/.*stale VMCB (\([A-Z0-9-]*\)).*: 0x[0-9a-f]* has changed at \(0x[0-9a-f]*\),.*/\1 at \2/p' "$build/qemu" | sort >"$build/told"
if cmp -s "$build/stale" "$build/told" && [ -s "$build/told" ]; then
	echo "ok $n TLB-05 what is stale is told of, and nothing else"
else
	diff "$build/stale" "$build/told" | sed 's/^< \([A-Z0-9-]*\) /\1: not told of: /; s/^/# /'
	sed -n 's/^# flushed: //p' "$ktap" | while read -r rule where; do
		! grep -q " $where\$" "$build/told" ||
			echo "# $rule: $where was flushed, and is told of as stale"
	done
	echo "not ok $n TLB-05 what is stale is told of, and nothing else"
	rc=1
fi

# ENC-03: a second image, which is run until it has been reset and tells
BARE_SNP=
bare_build "$build" reset "$here/insn.S" "$here/main.c" "$here/guest.c" "$here/reset/reset.c" ||
	{ echo "Bail out! the image for a reset does not build"; exit 1; }
bare_run "${LIMIT:-120}" "$qemu" "$build/reset.bin" "$build/reset" -smp 2 \
	-device amd-psp -action reboot=reset >"$build/qemu" 2>&1 &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q '^1\.\.\|^Bail out!' "$build/reset"; do
	sleep 0.1
done
for p in $(ps -o pid= --ppid $pid); do
	kill "$p"
done
wait $pid
n=$((n + 1))
sed -n 's/^# [A-Z]/&/p; s/^Bail out!/# &/p' "$build/reset"
if grep -q '^ok 1 ENC-03 ' "$build/reset"; then
	sed -n "s/^ok 1 /ok $n /p" "$build/reset" | tee -a "$ktap"
else
	echo "not ok $n ENC-03 a reset leaves no plaintext of a guest" | tee -a "$ktap"
	rc=1
fi

# RST-01: a third, with an RMP in segments; its rules are counted on
BARE_SNP=,rmp-segment=30
bare_build "$build" segments "$here/insn.S" "$here/main.c" "$here/guest.c" "$here/segments/segments.c" ||
	{ echo "Bail out! the image for segments does not build"; exit 1; }
bare_run "${LIMIT:-120}" "$qemu" "$build/segments.bin" "$build/segments" -smp 2 \
	-device amd-psp >"$build/qemu" 2>&1
sed 's/^/# /' "$build/qemu"
sed -n '/^# [A-Z]/p; s/^Bail out!/# &/p' "$build/segments"
grep '^\(not \)\?ok [0-9]* \(RST\|GEOM\|CPUID\)-' "$build/segments" | awk -v n=$n '{ sub(/ok [0-9]+/, "ok " ++n); print }' | tee -a "$ktap"
n=$((n + $(grep -c '^\(not \)\?ok [0-9]* \(RST\|GEOM\|CPUID\)-' "$build/segments")))
n=$((n + 1))
if grep -q '^1\.\.' "$build/segments"; then
	echo "ok $n the image with segments comes to its end"
else
	echo "not ok $n the image with segments comes to its end"
	rc=1
fi
! grep -q '^not ok' "$build/segments" || rc=1

# Every rule of the README has a line, here or in tests/fw, or a stated reason.
n=$((n + 1))
if "$here/rules-missing" "$ktap" >"$build/missing" 2>&1; then
	echo "ok $n every rule of emulator/README.md is held to, or says why not"
else
	sed 's/^/# /' "$build/missing" | head -n 12
	echo "not ok $n every rule of emulator/README.md is held to, or says why not"
	rc=1
fi
echo "1..$n"
exit $rc
