#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Where the threads of sev_snp_vmsa_punch_hole_stress run, and at which priority: what
# its -h says, on machines of 1 to 1,024 CPUs with holes.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

kvm=tools/testing/selftests/kvm
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT

# compile DIR : the plan in DIR's header, and its test
compile()
{
	${CC:-gcc} -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
		-D_GNU_SOURCE -I "$1" tests/plan/plan.c -o "$dir/plan"
}

# refused EDIT RULE : a plan that is wrong breaks the rule
refused()
{
	cp $kvm/include/x86/snp_cpus.h "$dir"
	sed "$1" $kvm/include/x86/snp_plan.h >"$dir/snp_plan.h"
	! cmp -s "$dir/snp_plan.h" $kvm/include/x86/snp_plan.h || { echo "the edit changes nothing"; return 1; }
	compile "$dir" || return
	! "$dir/plan" "$2" >"$dir/out" 2>&1 || { echo "$2 does not see: $1"; return 1; }
}

check "the plan compiles without a kernel" compile $kvm/include/x86
check "nobody runs on a CPU that the test may not use" "$dir/plan" allowed
check "drivers and the storm: from the first CPU up" "$dir/plan" first
check "APs: from the last CPU down" "$dir/plan" last
check "... and not on the first if there is another" "$dir/plan" first-is-free
check "a shooter is on the CPU of its target" "$dir/plan" shooters
check "shooters alone have real-time priority, no thread of a vCPU has" "$dir/plan" fifo
check "who gives orders is preferred otherwise" "$dir/plan" nice
check "-a none: nobody is preferred" "$dir/plan" none
check "a plan that leaves the CPUs is seen" refused 's/snp_nth_cpu(cpus, nr)/(int)nr/' allowed
check "a vCPU of real-time priority is seen" refused 's/preempt && role == SNP_AP_SHOOTER/preempt || role == SNP_AP_SHOOTER/' fifo
check "priority without preempt is seen" refused 's/preempt && role == SNP_AP_SHOOTER/role == SNP_AP_SHOOTER/' none
check "APs on the first CPU are seen" refused 's/nr % (nr_cpus - 1)/nr % nr_cpus/' first-is-free
done_testing
