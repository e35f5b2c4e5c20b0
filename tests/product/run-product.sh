#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The product on the two kernels that differ: 7.3 has the fix and passes; 6.12
# has not, fails with one named cause, and dies if the freed page is used.  On one CPU
# no race can be won: what needs one is skipped then, on any kernel, and not passed.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh
# A kernel without the fix: Debian's, until it has it.
TOP=$PWD
. scripts/overlay.sh
affected=6.12
! fix_has "$(scripts/fetch kernel 6.12)" 6.12 6 || affected=mutant/00-canary
. tests/product/ktap.sh
unset SMP MEM

programs=$(cd tools/testing/selftests/kvm/x86 && ls sev_snp_*.c | sed 's/\.c$//' | grep -v '_stress$\|_numa_test$')
core=sev_snp_vmsa_punch_hole

# ends CODES NAME [VARIABLE=VALUE]... : a boot that ends with one of these codes
ends()
{
	_ec=$1 _en=$2 _er=0
	shift
	boot "$@" || _er=$?
	case " $_ec " in
	*" $_er "*) ;;
	*) echo "exit $_er, not $_ec"; tail -n 12 "$LOGS/$_en.out"; return 1 ;;
	esac
}

# said NAME TEXT : the verdict of that boot contains TEXT
said()
{
	grep -qF -- "$2" "$LOGS/$1.out" || { echo "not in the verdict: $2"; tail -n 12 "$LOGS/$1.out"; return 1; }
}

# in_order NAME PATTERN... : the console has lines that match, one after another
in_order()
{
	_in=$1 _il=0
	shift
	for _ip; do
		_im=$(tail -n "+$((_il + 1))" "$LOGS/$_in/console.log" | grep -naE -m 1 -- "$_ip" | cut -d : -f 1)
		[ -n "$_im" ] || { echo "not after line $_il of the console: $_ip"; return 1; }
		_il=$((_il + _im))
	done
}

# rows NAME WHAT : the cases of that boot of which WHAT is so, with causes and reasons
rows() { awk -F '\t' -v what="$2" '$1 == what { print $2 ":" $3 ": " $4 ": " $7 }' "$LOGS/$1/results.tsv"; }

# rules NAME : the output of each program is as robots need it
rules()
{
	for _rt in $programs; do
		ktap_rules "$LOGS/$1/ktap.log" "$_rt" || { echo "$_rt"; return 1; }
	done
}

# no_news NAME : nothing failed
no_news() { ! rows "$1" not | grep . && ! rows "$1" open | grep .; }

# short NAME : no case passed that a kernel without the fix cannot pass
short()
{
	sed '/^#/d' vm/fixes | cut -f 4 | tr ' ' '\n' >"$LOGS/needs"
	! rows "$1" ok | sed 's/^[^:]*:\([^:]*\):.*/\1/' | grep -xFf "$LOGS/needs"
}

# few_reasons NAME : what was skipped has the reason TEXT, and nothing else was
few_reasons() { rows "$1" skip | grep -q . && ! rows "$1" skip | grep -v ": $2\$"; }

# honest NAME : what failed has a name that this bug, or 6.12's other one, can have; a
# random sequence finds what it finds
honest() { ! { rows "$1" not; rows "$1" open | grep -v ': -: '; } | grep -v '^sev_snp_vmsa_model_test:' | grep -v ': \(vmsa-in-use\|vmsa-not-stopped\|wrong-vmsa\|launch-vmsa\|wrong-exit\|wrong-answer\): '; }

all=$(echo $programs)
check "7.3, all programs but the races: PASS" passes product-7.3 TESTS="$all"
for t in $programs; do
	check "7.3, $t: ok" is "1 ok" result product-7.3 "$t"
done
check "7.3, the output is as robots need it" rules product-7.3
# The rules can be broken: each of these edits is one.
broken()
{
	for edit in 's/^# ok 5 .*/# ok 5 snp.punch/; s/^# ok 6 .*/# ok 6 snp.punch/' 's/^\(# ok 7 .*\)/\1 # SKIP/' 's/^# ok 8 \(.*\)/# ok 9 \1/' \
		    's/^# ok 4 .*/& # SKIP an earlier case failed, the host may be damaged/' \
		    's/^# ok 9 .*/& (took 3 s)/' 's/^# ok 9 .*/&\n# # ok 10 of 12/' 's/^# ok 9 .*/&\n# [  1.0] Call Trace:/' \
		    's/0x8000[0-9a-f]*/140737488367616/'; do
		sed "$edit" "$LOGS/product-7.3/ktap.log" >"$LOGS/broken.log"
		! ktap_rules "$LOGS/broken.log" sev_snp_vmsa_range_test >/dev/null || { echo "passed: $edit"; return 1; }
	done
}
check "... and that is more than a word" broken
kunit()
{
	for _kt in $programs; do
		kunit_reads "$LOGS/product-7.3" "$_kt" || { echo "$_kt"; return 1; }
	done
}
check "7.3, kunit.py and JUnit have every case" kunit

if [ -n "${CHECK_ALL-}" ]; then
	for smp in 4 2 1; do
		check "7.3 on $smp CPUs, 20 times: nothing fails" ends "0 4" product-20 SMP=$smp LOOPS=20 TESTS="$all"
	done
fi

# Processor time of the emulator, four processors' together, without that of a boot: a
# busy machine changes that least.  On an idle one it is some 8 s, and
# four CPUs are busy for 8 s more with random sequences.
quick()
{
	passes product-boot MODE=up SNP=required || return
	cpu() { sed -n 's/^cpu_milliseconds=//p' "$LOGS/$1/result"; }
	echo "$(($(cpu product-7.3) - $(cpu product-boot))) ms of CPU time"
	[ $(($(cpu product-7.3) - $(cpu product-boot))) -le 80000 ]
}
check "7.3, all of that is done soon" quick

# A poisoned host may die of the next page that it allocates, after the test has
# failed: that is the bug, too. kselftest may not live to print its line then.
fails()
{
	grep -q "^VERDICT: CRASH" "$LOGS/$1.out" || is "1 not ok # exit=254" result "$1" $core
}
names()
{
	for _nt in $programs; do
		same_names "$LOGS/product-7.3/ktap.log" "$LOGS/product-6.12/ktap.log" "$_nt" || return
	done
}
check "$affected, the same: FAIL or CRASH" ends "1 5" product-6.12 KERNEL=$affected TESTS="$all"
check "$affected, the fix and the CVE are named" said product-6.12 "kernel may lack d1a3c2162334 (CVE-2026-90040)"
check "$affected, the test itself fails" fails product-6.12
check "$affected, nothing has passed that needs the fix" short product-6.12
check "$affected, no failure has another bug's name" honest product-6.12
check "$affected, the output is as robots need it" ktap_rules "$LOGS/product-6.12/ktap.log" $core
check "$affected, the cases have the names that they have on 7.3" names

one="fewer CPUs than the race needs"
check "7.3 on one CPU: SKIP" ends 4 product-7.3-1 SMP=1 TESTS="$all"
check "... nothing failed" no_news product-7.3-1
check "... the races are skipped, for one reason" few_reasons product-7.3-1 "$one"
check "... punch_running among them" sh -c "grep -q '^skip	$core	punch_running	' '$LOGS/product-7.3-1/results.tsv'"
check "7.3 on two CPUs: nothing fails" ends "0 4" product-7.3-2 SMP=2 TESTS="$all"
for k in $affected mutant/00-canary; do
	n=product-${k##*/}-1
	check "$k on one CPU: FAIL or CRASH" ends "1 5" "$n" KERNEL=$k SMP=1 TESTS="$all"
	check "... the fix and the CVE are named" said "$n" "kernel may lack d1a3c2162334 (CVE-2026-90040)"
	check "... nothing has passed that needs the fix" short "$n"
	check "... no failure has another bug's name" honest "$n"
done

# Who gets the page next is the allocator's choice, and the host may die of another
# owner than the report's: a few boots, the last of which counts.
reuse()
{
	for _try in 1 2 3 4 5; do
		ends 5 reuse-6.12 KERNEL=$affected TESTS=sev_snp_lab_page_test:page_reuse || return
		! in_order reuse-6.12 "$@" || return 0
	done
	return 1
}

check "$affected, the freed page is used: CRASH, the log has the public report's chain" reuse \
	'RMPUPDATE failed for PFN [0-9a-f]+, pg_level: 1, ret: 3' \
	'PFN 0x[0-9a-f]+, RMP entry: \[0xfff[0-9a-f]+ - ' \
	'Failed to update RMP entry for PFN 0x[0-9a-f]+ error -14' \
	'BUG: unable to handle page fault' \
	'error_code\(0x80000003\) - RMP violation'
done_testing
