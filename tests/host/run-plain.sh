#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Plain KVM tests: the SNP host does not disturb what stock QEMU does, switched
# on or off.  A test that stock skips (it is for another vendor, say) must be
# skipped on the SNP host as well.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

tests="guest_memfd_test private_mem_conversions_test private_mem_kvm_exits_test
	set_sregs_test state_test svm_vmcall_test svm_int_ctl_test
	svm_nested_shutdown_test userspace_io_test"
tests=$(echo $tests)
boot plain-off STOCK=1 TESTS="$tests"
boot plain-on TESTS="$tests svm_nested_soft_inject_test"

# This test fails if a vCPU's thread stands still for 100 ms: see
# docs/findings/set-memory-region-test-waits.md.  Load does not stop virtual time.
timed=set_memory_region_test
boot timed-off SCHED=seed=1 SMP=2 STOCK=1 TESTS=$timed &
boot timed-on SCHED=seed=1 SMP=2 TESTS=$timed
wait
check "SNP is off on the stock machine" sh -c "! grep -qa 'SEV-SNP enabled' '$LOGS/plain-off/console.log'"
check "... and on on the other" logged plain-on 'kvm_amd: SEV-SNP enabled'
for t in $tests; do
	check "$t: ok on stock QEMU" is "1 ok" result plain-off "$t"
	check "$t: ok on the SNP host" is "1 ok" result plain-on "$t"
done
check "$timed: ok on stock QEMU" is "1 ok" result timed-off $timed
check "... and on the SNP host" is "1 ok" result timed-on $timed
check "EXIT-17: svm_nested_soft_inject_test, which stock QEMU fails: ok" is "1 ok" result plain-on svm_nested_soft_inject_test
for b in plain-off plain-on timed-off timed-on; do
	check "$b: the verdict is PASS" verdict "$b" PASS
done
done_testing
