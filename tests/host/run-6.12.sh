#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian stable's kernel brings SNP up on the emulated host, runs upstream's SEV
# tests that fit it, and shuts the firmware down again.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

check "6.12 boots, loads KVM, powers off: PASS" passes up-6.12 KERNEL=6.12 MODE=up SNP=required
check "SNP is enabled" logged up-6.12 'kvm_amd: SEV-SNP enabled'
check "it is 6.12" logged up-6.12 'vm: init, Linux 6\.12\.'
check "the SNP shutdown went through" sh -c "! grep -qaE 'SNP IOMMU shutdown failed|not assigned in RMP' '$LOGS/up-6.12/console.log'"
done_testing
