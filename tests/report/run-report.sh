#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The page of `make report`, made of results that are written down here.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
SNP_BUILD=$tmp/build
OUT=$tmp/report.html
export SNP_BUILD OUT
unset KDIR

nothing()
{
	said=$(scripts/report 2>&1)
	[ $? -eq 2 ] && printf '%s\n' "$said" | grep 'nothing was run' && [ ! -e "$OUT" ]
}
check "nothing was run: one line, exit 2, no page" nothing

mkdir -p "$tmp/bin" "$tmp/build/run" "$tmp/build/matrix" "$tmp/build/mutants" "$tmp/build/explore/7.3/replay"
cat >"$tmp/build/run/ktap.log" <<'LOG'
TAP version 13
1..1
# selftests: kvm: sev_snp_vmsa_punch_hole
# TAP version 13
# 1..4
# #  RUN           snp.fine ...
# # step: an old one
# #            OK  snp.fine
# ok 1 snp.fine
# #  RUN           snp.stuck ...
# # step: punch A[2], 1 page
# ==== Test Assertion Failure ====
#   x86/t.c:12: a == b
#   pid=1 tid=1 errno=0 - Success
#   no end of: a <vCPU>
# # stuck: Test failed
# not ok 2 snp.stuck
# ok 3 snp.later # SKIP an earlier case failed
not ok 1 selftests: kvm: sev_snp_vmsa_punch_hole # exit=1
LOG
printf '%s\n' '[    1.0] vm: init, Linux 9.8.7' 'vm: end, exit 0' >"$tmp/build/run/console.log"
printf 'qemu=0\nseconds=3\nemulator=on\n' >"$tmp/build/run/result"
printf "commit='abc123'\nkernel='7.3'\ntests='sev_snp_vmsa_punch_hole sev_snp_none_test'\nsnp='not'\nexpected='1'\n" >"$tmp/build/run/run"
echo '{"kernel":"6.12","tests":"functional","verdict":"PASS","expected":"KILL","ok":false,"seconds":3,"cause":"","key":"0"}' >"$tmp/build/matrix/results.json"
echo '{"id":"01-kick-dropped","verdict":"killed","kills":1,"runs":1,"killer":"sev_snp_vmsa_punch_hole:stuck","cause":"hung","median_s":2.50,"worst_s":4.00,"kind":"deterministic"}' >"$tmp/build/mutants/results.json"
cat >"$tmp/build/explore/7.3/replay/qemu.log" <<'LOG'
snp_vmrun cpu 0 vmcb 0x1000 vmsa 0x41e75000 asid 2 kind 7
tcg_sched_switch insns 503139 ns 0 cpu 0 pc 0x1000
tcg_sched_switch insns 503197 ns 0 cpu 2 pc 0xffffffff81000010
snp_rmpupdate cpu 2 spa 0x41e75000 gpa 0x0 assigned 0 size 0 immutable 0 asid 0 rc 3 rmp 0x1
LOG
: >"$tmp/build/explore/7.3/replay/ktap.log"
echo 'ffffffff81000000 T punch_<hole>' >"$tmp/build/System.map"
{
	echo "# make replay SEED=2"
	scripts/timeline "$tmp/build/explore/7.3/replay" "$tmp/build"
} >"$tmp/build/explore/7.3/replay/timeline.txt"

check "the page is made" scripts/report
has() { grep -qF -- "$1" "$OUT" || { echo "not in the page: $1"; return 1; }; }
check "the verdict" has "<b>FAIL</b>"
check "a case that passed, one that failed and why" sh -c "grep -q ' fine</li><li class=\"bad\">[^<]* stuck <a href=\"#sev_snp_vmsa_punch_hole.stuck\">hung</a></li>' '$OUT'"
check "one that was skipped, and why" has "later <small>an earlier case failed</small>"
check "those that did not run" has "1 more <small>not run</small>"
check "a program that did not run" has "sev_snp_none_test <small>not run</small>"
check "what the cause means, beside the case" has "<b>hung</b>: a system call or a vCPU did not come back<br>no end of"
check "the command to repeat it" has "make run KERNEL=7.3 TESTS=sev_snp_vmsa_punch_hole:stuck</code>"
check "the kernel's version" has "Linux 9.8.7"
check "the project's commit" has "<code>abc123</code>"
check "links to the logs" has '<a href="build/run/console.log">'
check "no drawing without events: the command that makes one" has "make run KERNEL=7.3 CONFIG=trace TESTS=sev_snp_vmsa_punch_hole:stuck</code>"
check "what a test says is text, not HTML" has "no end of: a &lt;vCPU&gt;"
check "the steps of the case that failed" has '# step: punch A[2], 1 page'
check "... and of no other" sh -c "! grep 'an old one' '$OUT'"
check "the cause is the judge's" has 'sev_snp_vmsa_punch_hole:stuck: hung: no end of'
check "an interleaving is in the lanes of its CPUs" has '503197</td><td></td><td class="">punch_&lt;hole&gt;</td>'
check "... but not of one that does nothing" sh -c "grep 'does something (not: 1)' '$OUT' && ! grep '<th>CPU 1<' '$OUT'"
check "... which VMSA a CPU is on" has '<td class="enter">the guest, VMSA 0x41e75000</td>'
check "... and what failed stands out" has '<td class="bad">RMPUPDATE 0x41e75000 rc 3'
check "a cell that is not as expected says what was" has "expected: KILL"
check "time to kill" has "vmsa_punch_hole:stuck, hung</text>"
check "what was not run is said so" has "Not run yet: <code>make rates"
SNP_CACHE=$tmp/none scripts/report >/dev/null 2>&1
check "a run that cannot be judged: why" has "not judged: judge: KUNIT="
check "it is one file: nothing is loaded" sh -c "! grep -E 'src=|href=.?[a-z]*:|<link|@import|url\\(' '$OUT'"

# Of a search: CPU 1 keeps a store in its buffer, and CPU 0 does not see it.
mkdir -p "$tmp/build/search/7.3/entry"
cat >"$tmp/build/search/7.3/entry/interleaving.json" <<'JSON'
{"scenario": "entry", "kernel": "7.3", "why": "vmsa-freed", "preemptions": 1, "again": "make explore CHOICES=0:1+7:0", "steps": [
["s", 1], ["r", 1, "seq.0", "0x4", "f", ""], ["r", 1, "seq.0", "0x4", "f", ""],
["b", 1, "mode.1", "0x0", "kvm_arch_vcpu_ioctl_run", ""], ["r", 1, "requests.1", "0x0", "enter", ""], ["preempted", 1],
["s", 0], ["r", 0, "requests.1", "0x0", "hook<>", ""], ["w", 0, "requests.1", "0x0", "hook<>", ""],
["r", 0, "requests.1", "0x40", "hook<>", ""], ["r", 0, "mode.1", "0x0", "kick", ""], ["w", 0, "rmp", null, "rmpupdate", "RMPUPDATE"],
["s", 1], ["g", 1, "mode.1"], ["w", 1, "rmp", null, "run", "VMRUN"], ["r", 1, "requests.1", "0x40", "enter", ""], ["x", "vmsa-freed"]]}
JSON
check "an interleaving of a search: the page is made" scripts/report
check "... what was read, written, and by whom" has "<title>CPU 0: sets bit 6 of requests hook&lt;&gt;</title>"
check "... that a store was kept in its buffer" has "CPU 1: keeps its store to mode"
check "... where it was preempted" has "<title>CPU 1: reads requests = 0x0 enter &#8212; then preempted</title>"
check "... which vCPU a CPU runs" has ">CPU 1, vCPU 1</text>"
check "... what nothing depends on is counted" has ">2 more</text>"
# Three, in two widths: the last read is behind RMPUPDATE, and so behind the request.
check "... an arrow where the lanes do not say it" [ "$(grep -o 'class="arrow order"' "$OUT" | wc -l)" = 6 ]
check "... as a picture of its own" sh -c 'scripts/draw svg "$1" >"$2" && "${PYTHON:-python3}" -c "import sys, xml.dom.minidom as x; x.parse(sys.argv[1])" "$2"' - \
	"$tmp/build/search/7.3/entry/interleaving.json" "$tmp/two.svg"
check "... a file that is none is refused" sh -c 'scripts/draw svg "$1" 2>&1; [ $? = 2 ]' - "$tmp/build/matrix/results.json"
check "what it was not run on" has "Nothing was run on SNP hardware"

# The drawing.  What trace-cmd makes of a trace.dat: vCPU 0 in the main thread, 10, kicks
# vCPU 3 of thread 11 by what it calls, and then punches its VMSA, which is in use.
cat >"$tmp/bin/trace-cmd" <<'CMD'
#!/bin/sh
args() { printf 'args=ARRAY['; for a; do printf '%02x, %02x, 00, 00, 00, 00, 00, 00, ' $((a % 256)) $((a / 256)); done | sed 's/, $//'; echo ']'; }
t=1000
at() { t=$((t + 100)); printf ' sev_snp_vmsa_pu-%s   [00%s]    50.%06d: %-22s ' "$1" "$2" $t "$3:"; shift 3; echo "$*"; }
at 10 0 sys_enter id=16 "$(args 8 44672 0)"
for i in 1 2 3 4 5 6; do
	at 10 0 kvm_entry vcpu_id=0 rip=0x0
	at 10 0 kvm_exit "exit_reason=96 guest_rip=0x0 info1=0x000000000000000$i info2=0x0 vcpu_id=0"
done
at 10 0 kvm_vmgexit_enter vcpu_id=0 exit_reason=80000013 info1=300000001 info2=5000
at 10 0 sys_exit id=16 ret=0
at 11 1 sys_enter id=16 "$(args 9 44672 0)"
at 11 1 kvm_entry vcpu_id=3 rip=0x0
at 10 0 sys_enter id=1 "$(args 2 0 29)"
at 10 0 sys_exit id=1 ret=29
at 10 0 sys_enter id=285 "$(args 7 3 0 4096)"
at 10 0 ipi_send_cpu cpu=1 callsite=kvm_vcpu_kick+0x5 callback=0x0
at 11 1 kvm_exit exit_reason=96 guest_rip=0x0 info1=0x0 info2=0x0 vcpu_id=3
at 11 1 kvm_entry vcpu_id=3 rip=0x0
t=$((t + 200))
at 10 0 sys_exit id=285 ret=0
at 10 0 sys_enter id=1 "$(args 2 0 33)"
CMD
chmod +x "$tmp/bin/trace-cmd"
# The hardware's clock is another one.
awk 'BEGIN {
	t = 1100
	for (i = 1; i <= 6; i++) {
		printf "7@1700000000.%06d:snp_vmrun cpu 0 vmcb 0x1 vmsa 0xa000 asid 1 kind 7\n", t + 60; t += 100
		printf "7@1700000000.%06d:snp_vmexit cpu 0 vmcb 0x1 vmsa 0xa000 code 0x60 info1 0x%d info2 0x0\n", t + 60, i; t += 100
	}
	print "7@1700000000.002350:snp_rmpadjust cpu 0 gva 0x5000 gpa 0x5000 spa 0xb000 rdx 0x10001 rc 0"
	print "7@1700000000.002660:snp_vmrun cpu 1 vmcb 0x2 vmsa 0xb000 asid 1 kind 7"
	print "7@1700000000.003160:snp_vmexit cpu 1 vmcb 0x2 vmsa 0xb000 code 0x60 info1 0x0 info2 0x0"
	print "7@1700000000.003260:snp_vmrun cpu 1 vmcb 0x2 vmsa 0xb000 asid 1 kind 7"
	print "7@1700000000.003360:snp_rmpupdate cpu 0 spa 0xb000 gpa 0x0 assigned 0 size 0 immutable 0 asid 0 rc 3 rmp 0x1"
}' >"$tmp/build/run/trace.log"
sed -i 's/^# # step: punch A.2., 1 page/# # step: punch 0x5000, 1 page/' "$tmp/build/run/ktap.log"
echo dat >"$tmp/build/run/trace-sev_snp_vmsa_punch_hole.dat"

# lanes NAME... : these, in this order, and no other
lanes()
{
	for _l; do printf '%s\n' "$_l"; done >"$tmp/want"
	grep -o '<div class="names">.*</div><svg' "$OUT" | sed 's/<span[^>]*>/\n/g; s/<[^>]*>//g; s/<svg//' | grep . | diff "$tmp/want" -
}
# arrow KIND
arrow() { has "<path class=\"arrow $1\" d=\"M"; }
check "a failure with events: the page is made" env PATH="$tmp/bin:$PATH" scripts/report
check "a lane for each vCPU and thread, and for each VMSA" lanes \
	"Main thread of vCPU 0" "Thread of vCPU 3" "Page A (a VMSA)"
check "in the guest, in the kernel, in userspace; in use" sh -c '
	for c in guest kernel user use own; do grep -q "<rect class=\"$c\" x=\"[0-9]*\" y=\"[0-9]*\" width" "$OUT" || { echo "no $c"; exit 1; }; done'
check "the kick is an arrow" arrow kick
check "what the hardware refused is one" arrow bad
check "a step, with the name of the page" has "step: punch page A, 1 page</span>"
check "whose VMSA it is" has "<title>VMSA of vCPU 3</title>"
check "the legend" has "</svg> VMSA in use</li>"
check "no word on how to draw it" sh -c "! grep 'No drawing' '$OUT'"
check "a picture of its own: one SVG, all in it" sh -c 'PATH=$1:$PATH scripts/draw svg "$2" sev_snp_vmsa_punch_hole >"$3" &&
	"${PYTHON:-python3}" -c "import sys, xml.dom.minidom as x; x.parse(sys.argv[1])" "$3" && grep -q "Thread of vCPU 3</text>" "$3"' - "$tmp/bin" "$tmp/build/run" "$tmp/one.svg"

sed -i 's/^# ok 3 snp.later.*/# #  RUN           snp.worse ...\n# not ok 3 snp.worse/' "$tmp/build/run/ktap.log"
PATH=$tmp/bin:$PATH scripts/report >/dev/null 2>&1
check "a second failure: what draws it" has 'Alone: <code>make run KERNEL=7.3 CONFIG=trace TESTS=sev_snp_vmsa_punch_hole:worse</code>'
rm "$tmp/build/run/trace-sev_snp_vmsa_punch_hole.dat"
scripts/report >/dev/null 2>&1
check "a host that went on, and no events: no drawing" has "No drawing"
sed -i '/vm: end/d' "$tmp/build/run/console.log"
check "a host that died sent no events: the page is made" scripts/report
check "... and the hardware's are drawn, a lane for each CPU" lanes "CPU 0" "CPU 1" "Page A (a VMSA)" "Page B (a VMSA)"
check "... which is said" has "No events of the kernel, as of a host that died"

echo "Bail out! reboot <first>" >>"$tmp/build/run/ktap.log"
scripts/report >/dev/null 2>&1
check "that the runner gave up, and why" has '<p class="bad">Bail out! reboot &lt;first&gt;</p>'

rm "$tmp/build/run/result"
scripts/report >/dev/null 2>&1
check "a run that was interrupted is no verdict" has "The last run was interrupted"
done_testing
