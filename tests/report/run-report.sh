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

mkdir -p "$tmp/build/run" "$tmp/build/matrix" "$tmp/build/mutants" "$tmp/build/explore/7.3/replay"
cat >"$tmp/build/run/ktap.log" <<'LOG'
TAP version 13
1..1
# selftests: kvm: sev_snp_vmsa_punch_hole
# TAP version 13
# 1..2
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
not ok 1 selftests: kvm: sev_snp_vmsa_punch_hole # exit=1
LOG
echo 'vm: end, exit 0' >"$tmp/build/run/console.log"
printf 'qemu=0\nseconds=3\nemulator=on\n' >"$tmp/build/run/result"
printf "kernel='7.3'\ntests='t'\nsnp='not'\nexpected='1'\n" >"$tmp/build/run/run"
echo '{"kernel":"6.12","tests":"functional","verdict":"PASS","expected":"KILL","ok":false,"seconds":3,"cause":"","key":"0"}' >"$tmp/build/matrix/results.json"
echo '{"id":"01-kick-dropped","verdict":"killed","kills":1,"runs":1,"killer":"sev_snp_vmsa_punch_hole:stuck","cause":"hung","median_s":2.50,"worst_s":4.00,"kind":"deterministic"}' >"$tmp/build/mutants/results.json"
cat >"$tmp/build/explore/7.3/replay/timeline.txt" <<'TIMELINE'
# make replay SEED=2
instructions  CPU 0                       CPU 1
      503139  the guest
      503197  |                           punch_<hole>
              |                           RMPUPDATE 0x41e75000 rc 3 <== failed
TIMELINE

check "the page is made" scripts/report
has() { grep -qF -- "$1" "$OUT" || { echo "not in the page: $1"; return 1; }; }
check "the verdict" has "<b>FAIL</b>"
check "a case that passed, one that failed" sh -c "grep -q 'snp.fine</span></li><li><span class=\"bad\">[^<]* snp.stuck</span></li>' '$OUT'"
check "what a test says is text, not HTML" has "no end of: a &lt;vCPU&gt;"
check "the steps of the case that failed" has '# step: punch A[2], 1 page'
check "... and of no other" sh -c "! grep 'an old one' '$OUT'"
check "the cause is the judge's" has 'sev_snp_vmsa_punch_hole:stuck: hung: no end of'
check "an interleaving is in the lanes of its CPUs" has '503197</td><td></td><td class="">punch_&lt;hole&gt;</td>'
check "... and what failed stands out" has '<td class="bad">RMPUPDATE 0x41e75000 rc 3'
check "a cell that is not as expected says what was" has "expected: KILL"
check "time to kill" has "vmsa_punch_hole:stuck, hung</text>"
check "what was not run is said so" has "Not run yet: <code>make rates"
SNP_CACHE=$tmp/none scripts/report >/dev/null 2>&1
check "a run that cannot be judged: why" has "not judged: judge: KUNIT="
check "it is one file: nothing is loaded" sh -c "! grep -E '(src|href)=|@import|url\\(' '$OUT'"
check "what it was not run on" has "Nothing was run on SNP hardware"
done_testing
