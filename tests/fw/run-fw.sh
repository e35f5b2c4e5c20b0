#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Secure Processor's firmware and the IOMMU, command by command, driven by
# a bare-metal image on the emulated SNP host: no BIOS, no kernel.  The image
# runs without and with X86_SNP_SHUTDOWN, and once with answers that come late.
# TAP on stdout; exits non-zero on any failure.
#
#     QEMU_DIR=dir    a built QEMU (default: scripts/build-qemu's)
#     QEMU_ARGS=...   more arguments for it, such as -trace snp_fw_*
#     CC, OBJCOPY     for x86-64
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
. "$here/../bare/build.sh"
bare_start

# The launch digest the firmware must come to, by another SHA-384 than its own
"$here/expected-digest" >"$build/digest.h" ||
	{ echo "Bail out! no expected digest"; exit 1; }
bare_build "$build" fw "$here/fw_test.c" ||
	{ echo "Bail out! the image does not build"; exit 1; }

rc=0
: >"$build/all"
for shutdown in off on on,delay=20; do
	tap=$build/tap
	bare_run 300 "$qemu" "$build/fw.bin" "$tap" \
		-device amd-psp,x86-snp-shutdown=$shutdown >"$build/qemu" 2>&1
	status=$?
	# The random commands at the end lose many.
	sed '/lost pages/d; s/^/# /' "$build/qemu"
	# no plan, no pass: the plan is the last thing that the image prints
	if [ $status -ne 0 ] || ! grep -q '^1\.\.[1-9]' "$tap"; then
		echo "not ok 0 - the image did not come to its end (QEMU: $status)" >>"$tap"
	fi
	lost=$(sed -n 's/^# \(lost pages: [1-9]\)/\1/p' "$tap")
	case $(grep -m 1 'lost pages: ' "$build/qemu") in
	*"x-snp-host: $lost")	echo "ok 0 - FWCMD-20: guests' pages that are left are told of" ;;
	*)	echo "not ok 0 - FWCMD-20: not told of, or not as: $lost" ;;
	esac >>"$tap"
	! grep -q '^not ok\|^Bail out!' "$tap" || rc=1
	sed "/^1\.\./d; s/^\(ok\|not ok\) [0-9]*/\1/; s/^Bail out!/not ok -/
		s/^\(ok\|not ok\) -/& x86-snp-shutdown=$shutdown:/" "$tap" >>"$build/all"
done
awk '/^(not )?ok / { sub(/ok/, "ok " ++n) } { print } END { print "1.." n+0 }' "$build/all"
exit $rc
