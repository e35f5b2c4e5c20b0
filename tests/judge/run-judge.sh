#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The judge, fed with consoles and results: what a kernel says decides, whatever
# the test said, and every way to end has its own verdict and cause.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

KUNIT=$(scripts/fetch kernel 7.3)/tools/testing/kunit/kunit.py || exit 2
export KUNIT
d=$(mktemp -d) || exit 2
trap 'rm -rf "$d"' EXIT

# A run in which all is well: two tests, both passed.
good()
{
	cat >"$d/console.log" <<-'END'
	[    0.000000] Linux version 7.3.4 (workbench@snp) #1 SMP
	[    0.101000] SEV-SNP: RMP table physical range [0x0000000070000000 - 0x0000000072ffffff]
	[    0.421000] AMD-Vi: IOMMU SNP support enabled.
	[    1.001000] vm: init, Linux 7.3.4
	[    1.201000] kvm_amd: SEV-SNP enabled (ASIDs 1 - 99)
	[    1.301000] vm: ready
	[    4.301000] vm: end, exit 0
	[    4.401000] reboot: Power down
	END
	cat >"$d/ktap.log" <<-'END'
	TAP version 13
	1..2
	# timeout set to 120
	# selftests: kvm: sev_smoke_test
	# Random seed: 0x6b8b4567
	ok 1 selftests: kvm: sev_smoke_test
	# timeout set to 120
	# selftests: kvm: sev_dbg_test
	ok 2 selftests: kvm: sev_dbg_test
	# Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0
	END
	printf '%s\n' qemu=0 seconds=5 emulator=on "timeout=''" >"$d/result"
	printf '%s\n' kernel=7.3 "tests='sev_smoke_test sev_dbg_test'" snp=required expected=2 >"$d/run"
	: >"$d/qemu.log"
}

# says LINE : put LINE on the console, just before the end marker
says()	{ sed -i "/vm: end/i [    3.000000] $1" "$d/console.log"; }
unended() { sed -i '/vm: end/,$d' "$d/console.log"; }

# verdict CODE PATTERN : the judge exits with CODE, its last line is the verdict
# that belongs to it, and PATTERN stands in what it says
verdict()
{
	case $1 in 0) w=PASS ;; 1) w=FAIL ;; 4) w=SKIP ;; 5) w=CRASH ;; 124) w=TIMEOUT ;; *) w= ;; esac
	rc=0
	vm/judge "$d" >"$d/out" 2>&1 || rc=$?
	cat "$d/out"
	[ "$rc" -eq "$1" ] || { echo "exit $rc, not $1"; return 1; }
	[ -z "$w" ] || tail -n 1 "$d/out" | grep -q "^VERDICT: $w " || return 1
	grep -qE -- "$2" "$d/out" || { echo "nothing like '$2'"; return 1; }
}

good
check "all passed, kernel silent: PASS" verdict 0 'not run on SNP hardware'
good; sed -i 's/^kernel=.*/kernel=mine/' "$d/run"
check "the kernel's version is what it says itself" verdict 0 '^VERDICT: PASS  kernel=mine version=7\.3\.4 tests=sev_smoke_test,'
good
check "the boot lines are shown" verdict 0 'SEV-SNP enabled \(ASIDs'

good; says 'WARNING: arch/x86/kvm/svm/sev.c:100 at sev_x+0x1/0x2 [kvm_amd], CPU#1: t/77'
check "WARN: FAIL, though every test passed" verdict 1 'cause: kernel-log: the kernel complained: WARNING: arch'
good; says 'BUG: sleeping function called from invalid context at mm/x.c:1'
check "BUG without death: FAIL" verdict 1 'cause: .*BUG: sleeping'
good; says 'BUG: unable to handle page fault for address: ffff8880017e0000'
check "an oops: CRASH" verdict 5 'cause: kernel-log: BUG: unable'
good; says 'Oops: general protection fault, maybe for address 0x1: 0000 [#1] SMP NOPTI'; unended
check "an oops, nothing after it: CRASH" verdict 5 'cause: kernel-log: Oops:'
good; says 'kernel BUG at mm/page_alloc.c:1!'
check "kernel BUG: CRASH" verdict 5 'kernel BUG at'
good; says 'traps: foo[77] general protection fault ip:401000 sp:7ffc0 error:0 in foo[401000+1000]'
check "a process that dies of a fault is no crash" verdict 0 PASS
good; says 'traps: PANIC: double fault, error_code: 0x0'
check "traps: PANIC: CRASH" verdict 5 'cause: kernel-log: traps: PANIC'
good; says 'Kernel panic - not syncing: Attempted to kill init!'
check "panic: CRASH" verdict 5 'Kernel panic'
good; says 'WARNING: possible circular locking dependency detected'
check "lockdep: FAIL" verdict 1 'circular locking'
good; says 'WARNING: suspicious RCU usage'
check "suspicious RCU usage: FAIL" verdict 1 'suspicious RCU'
good; says 'rcu: INFO: rcu_preempt detected stalls on CPUs\/tasks:'
check "RCU stall: FAIL" verdict 1 'detected stalls'
good; says 'watchdog: BUG: soft lockup - CPU#0 stuck for 26s!'
check "soft lockup: FAIL" verdict 1 'soft lockup'
good; says 'INFO: task kworker\/0:1:77 blocked for more than 60 seconds.'
check "hung task: FAIL" verdict 1 'blocked for more'
good; says 'BUG: KASAN: slab-use-after-free in f+0x1\/0x2'
check "KASAN: FAIL" verdict 1 'KASAN'
good; says 'AMD-Vi: SNP IOMMU shutdown failed'
check "the firmware did not shut down: FAIL" verdict 1 'shutdown failed'
for line in 'BUG: bad unlock balance detected!' 'watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1' \
	    'rcu: rcu_preempt kthread starved for 21000 jiffies! g1 f0x0' \
	    'WARNING: CPU: 1 PID: 77 at mm\/truncate.c:100 truncate_inode_pages_range+0x1\/0x2' \
	    'WARNING: possible recursive locking detected'; do
	good; says "$line"
	check "$line: FAIL" verdict 1 'the kernel complained'
done
good; says 'Call Trace:'
check "a bare backtrace: FAIL" verdict 1 'Call Trace'

good; says 'SEV-SNP: RMPUPDATE failed for PFN 78d198, pg_level: 1, ret: 3'
check "RMPUPDATE ret 3: FAIL, names the cause and the missing fix" \
	verdict 1 '^cause: vmsa-in-use: .*FAIL_INUSE.*kernel may lack d1a3c2162334 \(CVE-2026-90040\)'
good; says 'SEV-SNP: RMPUPDATE failed for PFN 78d198, pg_level: 1, ret: 2'
check "RMPUPDATE ret 2 is another failure" verdict 1 'FAIL_PERMISSION'
check "... and does not name the fix" sh -c "! grep -q CVE '$d/out'"
good
says 'SEV-SNP: RMPUPDATE failed for PFN 78d198, pg_level: 1, ret: 3'
says 'BUG: unable to handle page fault for address: ffff99a64d198000'; unended
check "RMPUPDATE ret 3, then the RMP fault: CRASH, both named" \
	verdict 5 'FAIL_INUSE.*then BUG: unable.*CVE-2026-90040'

good; unended; sed -i "s/timeout=''/timeout='silent for 180 s'/" "$d/result"
sed -i '/^ok 2/,$d' "$d/ktap.log"
check "no end marker: TIMEOUT, names the test it hung in" verdict 124 'hung in kvm: sev_dbg_test'
good; sed -i '/vm: init/,$d' "$d/console.log"; sed -i "s/timeout=''/timeout='silent for 180 s'/" "$d/result"
: >"$d/ktap.log"
check "never came up: TIMEOUT in the boot" verdict 124 'hung in the boot, after: .*IOMMU SNP'
good; sed -i '/Power down/d' "$d/console.log"; sed -i "s/timeout=''/timeout='silent for 180 s'/" "$d/result"
check "never went down: TIMEOUT in the shutdown" verdict 124 'hung in the shutdown'
good; sed -i 's/^ok 2.*/not ok 2 selftests: kvm: sev_dbg_test # TIMEOUT 120 seconds/' "$d/ktap.log"
sed -i 's/vm: end, exit 0/vm: end, exit 1/' "$d/console.log"
check "kselftest's own time limit: TIMEOUT" verdict 124 'sev_dbg_test'
good; unended
check "powered off in mid-run: CRASH" verdict 5 'without a word'
good; unended; sed -i 's/qemu=0/qemu=139/' "$d/result"
check "QEMU died: CRASH of the emulator" verdict 5 'emulator died'

good; sed -i 's/^ok 2.*/not ok 2 selftests: kvm: sev_dbg_test # exit=254/' "$d/ktap.log"
sed -i 's/vm: end, exit 0/vm: end, exit 1/' "$d/console.log"
check "a test failed: FAIL, names it" verdict 1 'cause: .*sev_dbg_test # exit=254'
# The harness's output.  ran PROGRAM : a run of it alone, of the cases that follow it
# as "ok NAME", "skip NAME", "open NAME" (no more than begun), or "not NAME MESSAGE".
ran()
{
	good
	sed -i "s/^tests=.*/tests='$1'/; s/expected=2/expected=1/" "$d/run"
	sed -i 's/vm: end, exit 0/vm: end, exit 1/' "$d/console.log"
	printf '%s\n' 'TAP version 13' '1..1' '# timeout set to 120' "# selftests: kvm: $1" \
		'# TAP version 13' '# 1..9' '# # Starting 9 tests from 1 test cases.' >"$d/ktap.log"
	n=0 result="ok 1 selftests: kvm: $1"
	while read -r what name message; do
		n=$((n + 1))
		printf '%s\n' "# #  RUN           snp.$name ..." "# # punch A[2], 1 page"
		case $what in
		ok)	printf '%s\n' "# #            OK  snp.$name" "# ok $n snp.$name" ;;
		skip)	printf '%s\n' "# ok $n snp.$name # SKIP $message" ;;
		not)	printf '%s\n' '# ==== Test Assertion Failure ====' '#   x86/t.c:123: a == b' \
				'#   pid=80 tid=81 errno=0 - Success' '# sh: addr2line: not found' \
				"#   $message" "# # $name: Test failed" \
				"# #          FAIL  snp.$name" "# not ok $n snp.$name"
			result="not ok 1 selftests: kvm: $1 # exit=1" ;;
		open)	result= ;;
		esac >&3
	done 3>>"$d/ktap.log" >>"$d/ktap.log"
	[ -z "$result" ] || printf '%s\n' "$result" >>"$d/ktap.log"
}
silent() { ! grep -q CVE "$d/out"; }

gone='vCPU 1 ran on after its VMSA was gone'
other='vCPU 1 runs the VMSA of vCPU 2'
hint='; kernel may lack d1a3c2162334 \(CVE-2026-90040\): '
core=sev_snp_vmsa_punch_hole
while IFS='	' read -r case words cause; do
	ran $core <<-END
	not $case $words
	END
	check "$case, '$words': $cause" verdict 1 "^cause: $core:$case: $cause: $words"
done <<'END'
punch_running	vCPU 1 ran on after its VMSA was gone	vmsa-in-use
slot_deleted	vCPU 1 ran on after its VMSA was gone	vmsa-not-stopped
punch_stopped	vCPU 1 runs the VMSA of vCPU 2	wrong-vmsa
create_wakes	vCPU 1 ran before AP Create	wrong-vmsa
in_guest	run 1: guest code of vCPU 3: 1 starts, not 1, 1 NMIs, not 0	wrong-event
first_create_fails	vCPU 1 ran its launch VMSA	launch-vmsa
punch_neighbors	vCPU 1 lost its VMSA, which nobody touched	false-kill
heal_in_place	vCPU 1 does not run although it has a VMSA	no-recovery
punch_running	no end of: punch A, 1 page	hung
bindings_refused	KVM answered 0 to a slot that overlaps	wrong-answer
rerun	KVM_RUN ended in KVM_EXIT_HLT	wrong-exit
punch_running	vCPU 1 never entered its window	no-window
punch_running	Unable to open /dev/kvm	test
END
ran $core <<END
ok punch_halted
not punch_stopped $other
skip punch_running an earlier case failed, the host may be damaged
END
check "punch_stopped failed, nothing passed that needs the fix: the hint, and why" \
	verdict 1 "wrong-vmsa: $other${hint}punch_stopped failed, and no case has passed that needs it"
ran $core <<END
not punch_running $gone
END
check "one case alone: it may lack the fix" verdict 1 "vmsa-in-use: $gone${hint}punch_running failed"
ran sev_snp_vmsa_range_test <<END
ok punch_neighbors
not punch_many $gone
END
check "punch_many alone: it may" verdict 1 "${hint}punch_many failed"
ran sev_snp_vmsa_memslot_test <<END
not slot_deleted $gone
END
check "slot_deleted alone: it may" verdict 1 "vmsa-not-stopped: $gone${hint}slot_deleted failed"
# Two programs: what the first has shown counts for the second.
ran $core <<END
ok punch_running
END
mv "$d/ktap.log" "$d/first"
ran sev_snp_vmsa_memslot_test <<END
not slot_deleted $gone
END
{ cat "$d/first"; sed '/^TAP\|^1\.\./d; s/^not ok 1/not ok 2/' "$d/ktap.log"; } | sed 's/^1\.\.1/1..2/' >"$d/both"
mv "$d/both" "$d/ktap.log"; sed -i s/expected=1/expected=2/ "$d/run"
check "slot_deleted failed, punch_running passed: no hint" verdict 1 "vmsa-not-stopped: $gone$"
check "... really none" silent
ran $core <<END
ok punch_stopped
not punch_running $gone
END
check "punch_running failed, punch_stopped passed: no hint" verdict 1 "vmsa-in-use: $gone$"
ran $core <<END
skip punch_running fewer CPUs than the race needs
not punch_stopped $other
END
check "a case that was skipped has not passed: the hint" verdict 1 "${hint}punch_stopped failed"
ran $core <<END
not punch_stopped KVM_RUN ended in KVM_EXIT_HLT
END
check "punch_stopped failed of something else: no hint" verdict 1 "punch_stopped: wrong-exit: "
check "... really none" silent
ran sev_snp_ap_creation_test <<END
not released_at_once $gone
END
check "a case that fails without that bug, too: no hint" verdict 1 "vmsa-in-use: $gone$"
ran $core <<END
not signals no end of: signals
not punch_stopped $other
END
check "the failure that the hint is about is named" verdict 1 "^cause: $core:punch_stopped: wrong-vmsa: .*${hint}punch_stopped"
ran $core <<END
ok punch_running
END
says 'SEV-SNP: RMPUPDATE failed for PFN 1234, pg_level: 1, ret: 3'
check "a page in use, punch_running passed: FAIL" verdict 1 'FAIL_INUSE'
check "... no hint" silent
ran sev_snp_lab_kick_test <<END
not kick_no_wait $gone
END
says 'SEV-SNP: RMPUPDATE failed for PFN 1234, pg_level: 1, ret: 3'
check "a page in use, in the lab: FAIL, which case" verdict 1 "FAIL_INUSE.* -- sev_snp_lab_kick_test:kick_no_wait: vmsa-in-use"
check "... no hint" silent
ran $core <<END
not punch_running $gone
END
sed -i '/Test failed/,$d' "$d/ktap.log"
says 'BUG: unable to handle page fault for address: ffff8880017e0000'; unended
check "the host died after the assertion: CRASH, what it said, the hint" \
	verdict 5 "BUG: unable.* -- $core:punch_running: vmsa-in-use: $gone$hint"
ran $core <<END
not punch_running $gone
END
sed -i '/addr2line/,$d' "$d/ktap.log"
says 'SEV-SNP: RMPUPDATE failed for PFN 78d198, pg_level: 1, ret: 3'
says 'BUG: unable to handle page fault for address: ffff8880017e0000'; unended
check "the host died in the assertion: CRASH, by the kernel's log, the hint" \
	verdict 5 "FAIL_INUSE.*then BUG: unable.*${hint}see the log"
ran $core <<END
open punch_running
END
unended; sed -i "s/timeout=''/timeout='silent for 180 s'/" "$d/result"
check "hung in a case: TIMEOUT, which step" verdict 124 "hung in $core:punch_running, step: punch A\[2\], 1 page"
ran $core <<END
open punch_running
END
echo "not ok 1 selftests: kvm: $core # TIMEOUT 120 seconds" >>"$d/ktap.log"
check "... by kselftest's limit: as well" verdict 124 "TIMEOUT 120 seconds, in $core:punch_running, step: punch A"
check "... as well if the test has said what was wrong" sh -c "
	sed -i '/not ok 1 /i # not ok 1 snp.punch_running' '$d/ktap.log'; ! vm/judge '$d' >'$d/out'; grep '^cause: .*TIMEOUT 120 seconds.*punch_running' '$d/out'"
ran $core <<END
open punch_running
END
unended
check "off in a case: CRASH, which step" verdict 5 "without a word, in $core:punch_running, step: punch A"
says2() { echo "[    3.000000] $1" >>"$d/console.log"; }
says2 'Kernel panic - not syncing: x'
check "a panic in a case: CRASH, which step" verdict 5 "cause: kernel-log: Kernel panic .*, in $core:punch_running, step: punch A"
ran $core <<END
not punch_running $gone
END
sed -i 's/^# ==== .*//; s/^#   vCPU.*/# # t.c:12:punch_running:Expected 1 (1) == fd (0)/' "$d/ktap.log"
check "an assertion of the harness: test" verdict 1 "punch_running: test: t.c:12:punch_running:Expected"

good; sed -i 's/^ok 2.*/ok 2 selftests: kvm: sev_dbg_test # SKIP/' "$d/ktap.log"
check "a test skipped: SKIP" verdict 4 '1 passed, 1 skipped'
good; sed -i '/seed/a # 1..0 # SKIP - Requirement not met: kvm_cpu_has(X86_FEATURE_SEV)' "$d/ktap.log"
sed -i 's/^ok 1.*/ok 1 selftests: kvm: sev_smoke_test # SKIP/' "$d/ktap.log"
check "... with the reason the test gave" verdict 4 'Requirement not met: kvm_cpu_has'
check "... without its dash" verdict 4 'first: Requirement'
sed -i '/kvm_amd: SEV/d; /ready/i [    1.100000] kvm: RT requires X86_FEATURE_CONSTANT_TSC' "$d/console.log"
check "... and what the kernel said, if it cannot" verdict 4 'X86_FEATURE_SEV.; the kernel: kvm: RT requires X86_FEATURE_CONSTANT_TSC'
good; sed -i '/seed/a # ok 3 punch_cold # SKIP no such thing' "$d/ktap.log"
check "one case of a test skipped: SKIP" verdict 4 'punch_cold'
good; sed -i '/kvm_amd/d' "$d/console.log"
check "SEV tests passed where SNP is off: SKIP" verdict 4 'SEV-SNP is not enabled'
good; sed -i '/kvm_amd/d' "$d/console.log"; sed -i s/required/not/ "$d/run"
check "other tests need no SNP: PASS" verdict 0 PASS

good; : >"$d/ktap.log"
check "no results at all: FAIL" verdict 1 'cause'
good; printf '%s\n' 'TAP version 13' '1..0' >"$d/ktap.log"
check "zero tests: FAIL" verdict 1 'cause'
good; sed -i -e '/^ok 2/,$d' -e s/1..2/1..1/ "$d/ktap.log"
check "fewer tests than were asked for: FAIL" verdict 1 '2 tests were to run'
good; sed -i '/^ok 2/,$d' "$d/ktap.log"
check "a broken plan: FAIL" verdict 1 'cause'
good; sed -i 's/vm: end, exit 0/vm: end, exit 1/' "$d/console.log"
check "the runner failed: FAIL" verdict 1 'ended with 1'
good; sed -i 's/$/\r/' "$d/console.log" "$d/ktap.log"
check "carriage returns of a serial line do no harm" verdict 0 PASS

good; echo 'qemu-system-x86_64: warning: x-snp-host: stale translation (TLB-05) on cpu 1, asid 1: gpa 0x19000' >>"$d/qemu.log"
check "a TLB flush that KVM lost: FAIL" verdict 1 '^cause: stale-translation: .*TLB-05'
good; echo 'qemu-system-x86_64: warning: x-snp-host: stale VMCB (CLEAN-01) on cpu 1, asid 1: 0x201c000 has changed at 0x50, and its clean bit 0 is set' >>"$d/qemu.log"
check "a clean bit that KVM left set: FAIL" verdict 1 '^cause: stale-vmcb: .*CLEAN-01'
good; echo 'qemu-system-x86_64: warning: x-snp-host: lost pages: 128 are assigned to guests that are gone, the first at 0x19000' >>"$d/qemu.log"
check "pages freed that are a guest's: FAIL" verdict 1 '^cause: page-leak: .* 128 are'
for n in 132 133; do
	good
	sed -i "s/.*vm: ready/[    2.0] vm: 100 pages on LRU lists\n&/; s/.*vm: end/[    9.0] vm: $n pages on LRU lists\n&/" "$d/console.log"
	case $n in
	132)	check "pages that the runner keeps: PASS" verdict 0 PASS ;;
	133)	check "pages that KVM leaked: FAIL" verdict 1 '^cause: page-leak: 33 pages more' ;;
	esac
done
for n in 0 1; do
	good
	sed -i "s/.*vm: end/[    9.0] vm: $n VMs left\n&/" "$d/console.log"
	case $n in
	1)	check "a VM that KVM leaked: FAIL" verdict 1 '^cause: guest-leak: 1 VMs are still there' ;;
	0)	check "no VM is left: PASS" verdict 0 PASS ;;
	esac
done
good; says 'ccp 0000:00:01.0: SEV-SNP firmware shutdown failed, rc -5, error 0xf'
check "a guest that is not gone at the end: FAIL" verdict 1 'cause: guest-leak: '

# bails SCRIPT LOG-LINE : what vm/SCRIPT prints of two tests if the kernel has said that
bails()
{
	mkdir -p "$d/bin"
	printf '#!/bin/sh\necho "%s"\n' "$2" >"$d/bin/dmesg"
	chmod +x "$d/bin/dmesg"
	echo "$2" >"$d/console.log"
	printf '%s\n' 'not ok 1 selftests: kvm: a' 'ok 2 selftests: kvm: b' >"$d/two"
	(
		PATH=$d/bin:$PATH out=$d TOP=$PWD
		eval "$(sed -n "s,/etc/bail.awk,vm/bail.awk,; s/.*\(awk -v lost=.*bail.awk\"*\).*/\1/p" "vm/$1")" <"$d/two" | tr '\n' ' '
	)
}
for s in init native; do
	check "vm/$s: a page lost to the guest: no test runs after that" sh -c "echo '$(bails $s 'RMPUPDATE failed for PFN 1')' | grep '^not ok 1 .* Bail out! .*reboot' "
	check "... else it does" sh -c "echo '$(bails $s fine)' | grep '^not ok 1 .* ok 2'"
done

good; says 'SEV-SNP: RMPUPDATE failed for PFN 78d198, pg_level: 1, ret: 3'
printf '%s\n' 1..3 'not ok 1 selftests: kvm: a' 'Bail out! reboot' >"$d/ktap.log"
check "the runner gave up: why, and how much was not run" verdict 1 '^Bail out! reboot; not run: 2 of 3 tests$'

# An address in decimal is none that can be found in a log.
. tests/product/ktap.sh
# step TEXT : what the rules for robots say to such a step
step()
{
	ran $core <<-END
	ok punch_running
	END
	sed -i "s/punch A.2., 1 page/$1/" "$d/ktap.log"
	ktap_rules "$d/ktap.log" $core
}
decimal() { ! step "punch 140737488367616, 1 page"; }
check "a step with an address" step "punch page 0x800000003000 of file 16, 1125899906842624 pages"
check "... in decimal" decimal

good; rm "$d/result"
check "no finished run: exit 2, no verdict" verdict 2 'holds no finished run'
check "... really none" sh -c "! grep -q VERDICT '$d/out'"

done_testing
