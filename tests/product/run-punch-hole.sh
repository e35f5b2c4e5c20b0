#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The product on the two kernels that differ: 7.3 has the fix and passes; 6.12
# has not, fails with one named cause, and dies if the freed page is used.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh
. tests/product/ktap.sh

test=sev_snp_vmsa_punch_hole

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

check "7.3, library and test: PASS" passes punch-7.3 TESTS="sev_snp_guest_test $test"
for t in sev_snp_guest_test $test; do
	check "7.3, $t: ok" is "1 ok" result punch-7.3 $t
done

check "7.3, the output is as robots need it" ktap_rules "$LOGS/punch-7.3/ktap.log" $test
# The rules can be broken: each of these edits is one.
broken()
{
	for edit in 's/ok 5 .*/ok 5 punch/; s/ok 6 .*/ok 6 punch/' 's/\(# ok 7 .*\)/\1 # SKIP/' 's/# ok 8 \(.*\)/# ok 9 \1/' \
		    's/# ok 9 .*/& (took 3 s)/' 's/# ok 9 .*/&\n# # ok 10 of 12/' 's/# ok 9 .*/&\n# [  1.0] Call Trace:/'; do
		sed "$edit" "$LOGS/punch-7.3/ktap.log" >"$LOGS/broken.log"
		! ktap_rules "$LOGS/broken.log" $test >/dev/null || { echo "passed: $edit"; return 1; }
	done
}
check "... and that is more than a word" broken
check "7.3, kunit.py and JUnit have every case" kunit_reads "$LOGS/punch-7.3" $test

# A poisoned host may die of the next page that it allocates, after the test has
# failed: that is the bug, too. kselftest may not live to print its line then.
fails()
{
	grep -q "^VERDICT: CRASH" "$LOGS/punch-6.12.out" || is "1 not ok # exit=1" result punch-6.12 $test
}

check "6.12, $test: FAIL or CRASH" ends "1 5" punch-6.12 KERNEL=6.12 TESTS=$test
check "6.12, the fix and the CVE are named" said punch-6.12 "kernel lacks d1a3c2162334 (CVE-2026-90040)"
check "6.12, the test itself fails" fails
check "6.12, the output is as robots need it" ktap_rules "$LOGS/punch-6.12/ktap.log" $test
check "6.12, the cases have the names that they have on 7.3" same_names "$LOGS/punch-7.3/ktap.log" "$LOGS/punch-6.12/ktap.log" $test

# Who gets the page next is the allocator's choice, and the host may die of another
# owner than the report's: a few boots, the last of which counts.
reuse()
{
	for _try in 1 2 3 4 5; do
		ends 5 reuse-6.12 KERNEL=6.12 TESTS=$test ARGS=page_reuse || return
		! in_order reuse-6.12 "$@" || return 0
	done
	return 1
}

check "6.12, the freed page is used: CRASH, the log has the public report's chain" reuse \
	'RMPUPDATE failed for PFN [0-9a-f]+, pg_level: 1, ret: 3' \
	'PFN 0x[0-9a-f]+, RMP entry: \[0xfff[0-9a-f]+ - ' \
	'Failed to update RMP entry for PFN 0x[0-9a-f]+ error -14' \
	'BUG: unable to handle page fault' \
	'error_code\(0x80000003\) - RMP violation'
done_testing
