#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What SNP processors differ in, and what a host can run out of: the physical address
# bits that encryption takes, an invariant TSC, ASIDs, the misc cgroup's limit.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

extra=$(mktemp -d) || exit 2
trap 'rm -rf "$extra"' EXIT
cp tests/host/guest/cpu "$extra/run"

# cpu REDUCTION|NAME BITS : a boot of that processor
cpu()
{
	echo "BITS=$2" >"$extra/want"
	case $1 in
	[0-9])	_what="$1 bits for encryption" _which=PA_REDUCTION=$1 ;;
	*)	_what=$1 _which=SNP_CPU=$1 ;;
	esac
	check "$_what: PASS" passes "cpu-$1" "$_which" MODE=extra EXTRA="$extra" SNP=required \
		PACK=kvm:sev_smoke_test TESTS=cpu APPEND=kvm_amd.dump_invalid_vmcb=1
	# Each is a result of its own here.
	tr -d '\r' <"$LOGS/cpu-$1/ktap.log" | sed -n 's/^\(not ok\|ok\) [0-9]* \([a-z_]*\)$/\2 \1/p' >"$extra/results"
	for r in physical_address_bits constant_tsc nonstop_tsc clocksource_tsc kernel_parameter sev_smoke_test; do
		check "$_what: $r" grep -qx "$r ok" "$extra/results"
	done
	check "$_what: nobody doubts the TSC" sh -c \
		"! grep -aE 'TSC doesn.t count|[Mm]arking (TSC|clocksource).*unstable|clocksource: .*skewed' '$LOGS/cpu-$1/console.log'"
}

# object PROPERTY TEXT : QEMU refuses such a host in one line, which has TEXT
object()
{
	_oq=$(scripts/build-qemu 2>/dev/null) || return
	_orc=0
	_os=$(timeout 20 "$_oq/qemu-system-x86_64" -L "$_oq" -M q35 -display none -nodefaults -object "x-snp-host,id=s,$1" ${3-} </dev/null 2>&1) || _orc=$?
	[ $_orc = 1 ] && [ "$(printf '%s\n' "$_os" | wc -l)" = 1 ] && printf '%s\n' "$_os" | grep -qF -- "$2" ||
		{ printf '%s\n' "exit $_orc" "$_os"; return 1; }
}

check "a reduction that no processor has" object pa-reduction=4 "pa-reduction is 0, 5 or 6, not 4"
check "no ASID at all" object snp-asids=0 "snp-asids is 1 to 1023, not 0"
check "more ASIDs than there are" object snp-asids=510 "snp-asids=510 is more than asids=509"
check "the C-bit within the address" object pa-reduction=0 "the C-bit is bit 51, so -cpu needs phys-bits=51 or less" \
	"-cpu EPYC-Genoa,+svm,+npt,+lbrv,+nrip-save,+flushbyasid,+decodeassists,phys-bits=52"
cpu 5 43
if [ -n "${CHECK_ALL-}" ]; then
	cpu 0 48
	cpu 6 46
	cpu milan 43
	cpu genoa 46
	cpu turin 46
fi
check "5 bits for encryption, the default tests: PASS" passes cpu-default PA_REDUCTION=5

# busy NAME TEST : it failed, for KVM has no room for another guest
busy()
{
	is "1 not ok # exit=254" result "$1" "$2" &&
	grep -aqE 'KVM_SEV(_ES)?_INIT2? failed, .*errno: 16 ' "$LOGS/$1/ktap.log" ||
		{ grep -a KVM_SEV "$LOGS/$1/ktap.log"; return 1; }
}

boot asids SNP_ASIDS=1 TESTS="sev_smoke_test sev_migrate_tests"
check "one ASID is enough for one guest at a time" is "1 ok" result asids sev_smoke_test
check "... and EBUSY for more" busy asids sev_migrate_tests
boot misc-0 MISC_SEV_ES=0 TESTS=sev_smoke_test
check "the misc cgroup allows none: EBUSY" busy misc-0 sev_smoke_test
check "... one: PASS" passes misc-1 MISC_SEV_ES=1 TESTS=sev_smoke_test

# reason NAME TEXT TEST : it was skipped, for that reason
reason()
{
	is "1 ok # SKIP" result "$1" "$3" && grep -aqF "1..0 # SKIP - $2" "$LOGS/$1/ktap.log"
}

core=sev_snp_vmsa_punch_hole
boot skip-0 MISC_SEV_ES=0 TESTS=$core
check "no ASID: our tests are skipped" reason skip-0 "no ASID is free for an SNP VM" $core
check "one ASID: they pass" passes skip-1 SNP_ASIDS=1 TESTS="$core sev_snp_vmsa_range_test"
cp tests/host/guest/skips "$extra/run"
check "no privilege: they are skipped" passes skip-user MODE=extra EXTRA="$extra" SNP=required PACK=kvm:$core TESTS=skips
check "16 CPUs: PASS" passes smp-16 SMP=16 TESTS=sev_smoke_test
done_testing
