#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian's own PREEMPT_RT kernel loads KVM on the emulated host, enables SNP, and runs
# guests.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

check "debian-rt, sev_smoke_test: PASS" passes rt KERNEL=debian-rt TESTS=sev_smoke_test
check "it is PREEMPT_RT" logged rt 'Linux version 7\..* PREEMPT_RT'
check "SNP is enabled" logged rt 'kvm_amd: SEV-SNP enabled'
if [ -n "${CHECK_ALL-}" ]; then
	check "debian-rt, the default tests: PASS" passes rt-all KERNEL=debian-rt
	check "7.3 built with PREEMPT_RT, the same: PASS" passes rt-config CONFIG=rt
fi
done_testing
