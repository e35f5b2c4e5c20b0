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
