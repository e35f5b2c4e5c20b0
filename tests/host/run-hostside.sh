#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The host's side of SNP: drivers that come and go, processors that are offline, an RMP
# whose ends lie within 2 MB of memory, firmware commands beside plain guests.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

extra=$(mktemp -d) || exit 2
trap 'rm -rf "$extra"' EXIT
cp tests/host/guest/hostside "$extra/run"
rounds=${CHECK_ALL:+20}
rounds=${rounds:-3}

# hosts NAME CASE [VARIABLE=VALUE]... : a boot of that case
hosts()
{
	_hn=$1
	printf 'CASE=%s ROUNDS=%s HARM=%s\n' "$2" "$rounds" "${HARM-}" >"$extra/want"
	shift 2
	boot "$_hn" MODE=extra EXTRA="$extra" SNP="${WANT:-required}" PACK="kvm:sev_smoke_test kvm:userspace_io_test" \
		TESTS=hostside "$@"
}
# passing NAME CASE [VARIABLE=VALUE]... : its verdict is PASS
passing() { hosts "$@" || { grep -E '^(not ok|#)' "$LOGS/$1/ktap.log"; tail -n 12 "$LOGS/$1.out"; return 1; }; }

# reloads NAME [VARIABLE=VALUE]... : ... and the drivers left nothing behind
reloads()
{
	_rn=$1
	shift
	passing "$_rn" reload APPEND=slab_debug=FZPU "$@" || return
	! left_behind "$LOGS/$_rn/console.log"
}
# left_behind LOG : a page that is given up, or an object written to after its time
left_behind() { grep -aE 'Leaking PFN|\] (BUG|FIX) [a-z]' "$1"; }
noticed()
{
	for _n in "SEV-SNP: Leaking PFN range 0x1c00-0x1c01" "BUG kmalloc-64 (Not tainted): Poison overwritten" \
			"FIX kmalloc-64: Restoring Poison 0xff110001-0xff110002=0x6b"; do
		echo "[   12.345678] $_n" >"$extra/log"
		left_behind "$extra/log" >/dev/null || { echo "not noticed: $_n"; return 1; }
	done
}
check "what they could leave behind is noticed" noticed
check "the drivers come and go, $rounds times: PASS" reloads hostside-reload
check "... firmware that takes SNP_EN back: PASS" reloads hostside-reload-x86 X86_SNP_SHUTDOWN=on
if [ -n "${CHECK_ALL-}" ]; then
	check "... with KASAN: PASS" reloads hostside-reload-debug CONFIG=debug
	check "... with KASAN, firmware that takes SNP_EN back: PASS" reloads hostside-reload-debug-x86 CONFIG=debug \
		X86_SNP_SHUTDOWN=on
fi

# offline NAME [VARIABLE=VALUE]... : each result, and nothing to complain of but the one line
offline()
{
	_on=$1
	shift
	hosts "$_on" offline APPEND=maxcpus=1 "$@"
	is 7 grep -c '^ok ' "$LOGS/$_on/ktap.log" && verdict "$_on" FAIL &&
		grep -q '^cause: kernel-log: the kernel complained: SEV-SNP: SNP init failed: not all CPUs online' "$LOGS/$_on.out" ||
		{ grep -E '^(not ok|#)' "$LOGS/$_on/ktap.log"; return 1; }
}
check "one processor of four is online: no SNP, and the kernel says why; later there is" offline hostside-offline
[ -z "${CHECK_ALL-}" ] || check "... with KASAN" offline hostside-offline-debug CONFIG=debug

# Both ends of the RMP are reserved to the next 2 MB: where it begins, and where it ends.
ends()
{
	passing "$1" rmp RMP_BASE="$2" ${4-} && logged "$1" "RMP table physical range \[$3\]"
}
check "an RMP that begins and ends within 2 MB: PASS" ends hostside-rmp-both 1025 \
	"0x0000000040100000 - 0x0000000040afffff" MEM=2304
if [ -n "${CHECK_ALL-}" ]; then
	check "... that begins there: PASS" ends hostside-rmp-start 1025 "0x0000000040100000 - 0x00000000409fffff"
	check "... that ends there: PASS" ends hostside-rmp-end 1024 "0x0000000040000000 - 0x00000000408fffff"
	check "firmware commands beside plain guests, SNP_EN set: PASS" passing hostside-hsave hsave
fi
check "firmware commands beside plain guests, SNP_EN not set: PASS" passing hostside-hsave-x86 hsave X86_SNP_SHUTDOWN=on

# ended SHUTDOWN VERDICT : what a firmware command does to SNP where the platform was not
# initialized when KVM was loaded, on this kernel: docs/findings/sev-ioctl-ends-snp.md
ended()
{
	hosts hostside-ended-"$1" ioctl_ends_snp X86_SNP_SHUTDOWN="$1"
	verdict hostside-ended-"$1" "$2" && is 3 grep -c '^ok ' "$LOGS/hostside-ended-$1/ktap.log"
}
if [ -n "${CHECK_ALL-}" ]; then
	check "a firmware command ends SNP: no SEV guests any more (finding)" ended off FAIL
	check "... firmware that takes SNP_EN back: the next SEV guest ends the host (finding)" ended on CRASH
fi
done_testing
