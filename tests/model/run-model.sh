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

# compile MODEL SEQUENCES : what is in these files, and its test
compile()
{
	${CC:-gcc} -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
		-I $kvm/include/x86 tests/model/model.c "$1" "$2" -o "$dir/model"
}

# refused FILE EDIT RULE : FILE with a mistake in it breaks the rule
refused()
{
	cp $kvm/lib/x86/snp_model.c $kvm/lib/x86/snp_sequence.c "$dir/"
	sed "$2" "$kvm/lib/x86/$1" >"$dir/$1"
	! cmp -s "$dir/$1" "$kvm/lib/x86/$1" || { echo "the edit changes nothing"; return 1; }
	compile "$dir/snp_model.c" "$dir/snp_sequence.c" || return
	! "$dir/model" "$3" >"$dir/out" 2>&1 || { echo "$3 does not see: $2"; return 1; }
}

# no_kvm : the model includes nothing of KVM or of the selftests
no_kvm()
{
	! grep -h '^#include' $kvm/lib/x86/snp_model.c $kvm/lib/x86/snp_sequence.c $kvm/include/x86/snp_model.h |
		grep -v '<\(errno\|stdio\|stdlib\|string\|stdbool\|stddef\)\.h>\|"snp_model\.h"'
}

check "the model includes no header of KVM" no_kvm
check "the model compiles without a kernel" compile $kvm/lib/x86/snp_model.c $kvm/lib/x86/snp_sequence.c
for rule in $("$dir/model" list) random sequences; do
	check "rule: $rule" "$dir/model" "$rule"
done
check "a hole that misses its last page is seen" refused snp_model.c 's/i < first + nr &&/i < first + nr - 1 \&\&/' punch
check "a hole in all files is seen" refused snp_model.c 's/m->slot\[page \/ SNP_M_SLOT_PAGES\].file == arg\[0\] &&$/1 \&\&/' livelock
check "a VMSA that comes back is seen" refused snp_model.c 's/^\t\tv->gpa = SNP_M_NONE;$/\t\t;/' no-page
check "AP Create on INIT without INIT is seen" refused snp_model.c 's/^\tif (!v->init)$/\tif (0)/' on-init-later
check "AP Destroy that leaves a vCPU runnable is seen" refused snp_model.c 's/v->next == SNP_M_NONE ? SNP_M_HALTED/v->next == SNP_M_LAUNCH ? SNP_M_HALTED/' destroy
check "AP Destroy that keeps what INIT would take is seen" refused snp_model.c '/^\tcase SNP_M_DESTROY:$/,/break/s/v->on_init = SNP_M_NO_REQUEST;/;/' on-init-dropped
check "two memslots of one page are seen" refused snp_model.c 's/return -EEXIST;/return 0;/' bind
check "a VMSA that starts twice is seen" refused snp_model.c 's/page_at(m, v->gpa)->fresh = false;/;/' random
check "an NMI that outlives AP Create is seen" refused snp_model.c '/^static void take_vmsa/,/^}/s/v->nmi = 0;/;/' nmi
check "KVM_GET_MP_STATE that leaves INIT alone is seen" refused snp_model.c '/case SNP_M_GET_MP:/,/break/s/take_init(v);/;/' mp-state
check "a hole that may never end is seen" refused snp_sequence.c 's/{ OP(PUNCH), SEVERAL,/{ OP(ALLOC), SEVERAL,/' livelock
check "an NMI on a stack that two VMSAs share is seen" refused snp_sequence.c 's/nr_started(&after, i) > 1/nr_started(\&after, i) > 2/' nmi-stack
check "a step that is written wrongly is seen" refused snp_sequence.c 's/sprintf(line + len, " %d", step->arg\[i\])/sprintf(line + len, " %d", step->arg[0])/' sequences
done_testing
