#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The model of KVM's contract about VMSAs that sev_snp_vmsa_model_test compares KVM with:
# rule by rule, without KVM, and models that are wrong.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

kvm=tools/testing/selftests/kvm
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT

# compile FILE : the model in FILE, and its test
compile()
{
	${CC:-gcc} -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
		-I $kvm/include/x86 tests/model/model.c "$1" -o "$dir/model"
}

# refused EDIT RULE : a model that is wrong breaks the rule
refused()
{
	sed "$1" $kvm/lib/x86/snp_model.c >"$dir/wrong.c"
	! cmp -s "$dir/wrong.c" $kvm/lib/x86/snp_model.c || { echo "the edit changes nothing"; return 1; }
	compile "$dir/wrong.c" || return
	! "$dir/model" "$2" >"$dir/out" 2>&1 || { echo "$2 does not see: $1"; return 1; }
}

# no_kvm : the model includes nothing of KVM or of the selftests
no_kvm()
{
	! grep -h '^#include' $kvm/lib/x86/snp_model.c $kvm/include/x86/snp_model.h |
		grep -v '<\(errno\|string\|stdbool\|stddef\)\.h>\|"snp_model\.h"'
}

check "the model includes no header of KVM" no_kvm
check "the model compiles without a kernel" compile $kvm/lib/x86/snp_model.c
for rule in $("$dir/model" list) random; do
	check "rule: $rule" "$dir/model" "$rule"
done
check "a hole that misses its last page is seen" refused 's/i < first + nr &&/i < first + nr - 1 \&\&/' punch
check "a hole in all files is seen" refused 's/has_memory(m, page) && m->slot\[place(page)\].file == arg\[0\] &&$/has_memory(m, page) \&\&/' livelock
check "a VMSA that comes back is seen" refused 's/^\t\tv->gpa = SNP_M_NONE;$/\t\t;/' no-page
check "AP Create on INIT without INIT is seen" refused 's/v->init ? v->on_init/true ? v->on_init/' on-init-later
check "AP Destroy that leaves a vCPU runnable is seen" refused 's/v->gpa == SNP_M_NONE ? SNP_M_HALTED/v->gpa == SNP_M_LAUNCH ? SNP_M_HALTED/' destroy
check "AP Destroy that keeps what INIT would take is seen" refused '/^\tcase SNP_M_DESTROY:$/,/break/s/v->on_init = SNP_M_NO_REQUEST;/;/' on-init-dropped
check "two memslots of one page are seen" refused 's/return -EEXIST;/return 0;/' bind
check "a VMSA that starts twice is seen" refused 's/page_at(m, v->gpa)->fresh = false;/;/' random
done_testing
