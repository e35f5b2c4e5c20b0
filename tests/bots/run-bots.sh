#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# docs/bots: the files are YAML, and LAVA's steps do what they say, with a
# lava-test-case that writes down what it is told.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/bin" "$tmp/kselftest"
printf '#!/bin/sh\necho "$1 $3" >>"%s/told"\n' "$tmp" >"$tmp/bin/lava-test-case"

# A run of three tests, as the harness prints it: one passes, one fails in its second
# case and skips the third, one is skipped.
cat >"$tmp/kselftest/run_kselftest.sh" <<'RUN'
#!/bin/sh
echo "TAP version 13"
echo "1..1"
echo "# selftests: kvm: ${2#kvm:}"
case $2 in
kvm:good)	echo "# TAP version 13"; echo "# 1..1"; echo "# #  RUN           snp.alpha ..."; echo "# ok 1 snp.alpha"; echo "ok 1 selftests: kvm: good" ;;
kvm:bad)	echo "# TAP version 13"; echo "# 1..3"; echo "# ok 1 snp.alpha"; echo "# #  RUN           snp.beta ..."
		echo "# # step: ok 7 of 9"; echo "#   x.c:1: ok 3 == 4"; echo "# #          FAIL  snp.beta"; echo "# not ok 2 snp.beta"
		echo "# ok 3 snp.gamma # SKIP an earlier case failed, the host may be damaged"
		echo "not ok 1 selftests: kvm: bad # exit=1"; exit 1 ;;
kvm:none)	echo "# 1..0 # SKIP - KVM cannot"; echo "ok 1 selftests: kvm: none # SKIP" ;;
esac
RUN
chmod +x "$tmp/bin/lava-test-case" "$tmp/kselftest/run_kselftest.sh"

# lava FILE : the steps of a test definition as the script LAVA makes of them
lava()
{
	awk '/^  steps:/ { on = 1; next }
	     !on { next }
	     /^ *#/ { next }
	     /^    - \|$/ { next }
	     /^    - / { sub(/^    - /, "") }
	     { print }' "$1" >"$tmp/steps"
	rm -f "$tmp/told"
	(PATH=$tmp/bin:$PATH KSELFTEST=$tmp/kselftest TESTS="good bad none" sh -e "$tmp/steps") >"$tmp/log" 2>&1 ||
		{ tail -n 5 "$tmp/log"; return 1; }
	printf '%s\n' "good.alpha pass" "good pass" "bad.alpha pass" "bad.beta fail" "bad.gamma skip" "bad fail" "none skip" | diff - "$tmp/told"
}

check "LAVA: each test and each case is one result" lava docs/bots/lava-test.yaml
if command -v yamllint >/dev/null; then
	for f in docs/bots/*.y*ml; do
		check "${f##*/} is YAML" yamllint -d '{rules: {key-duplicates: enable, indentation: enable}}' "$f"
	done
else
	TAP_N=$((TAP_N + 1))
	echo "ok $TAP_N - the files are YAML # SKIP no yamllint"
fi
# The fragment that bots get from us and the one in the series are the same.
fragment()
{
	sed -n 's/^ *- \(CONFIG_.*\)/\1/p' docs/bots/kernelci-jobs.yaml | sort >"$tmp/a"
	sed -n 's/^+\(CONFIG_.*\)/\1/p' patches/selftests/*-config-fragment.patch | sort | diff - "$tmp/a"
}

# KernelCI schedules what is defined, and every file names tests that there are.
scheduled()
{
	sed -n "s/^ *- job: //p; s/^      name: \\(kbuild-.*\\)/\\1/p; s/^      - \\(epyc-.*\\)/\\1/p" docs/bots/kernelci-jobs.yaml |
	while read -r name; do
		grep -qx "  $name:" docs/bots/kernelci-jobs.yaml || echo "not defined: $name"
	done | grep . && return 1 || return 0
}
named()
{
	for t in tools/testing/selftests/kvm/x86/sev_snp_*.c; do
		t=$(basename "$t" .c)
		for f in docs/bots/lava-test.yaml docs/bots/kernelci-jobs.yaml; do
			grep -qw "$t" $f || echo "$f: not $t"
		done
	done | grep . && return 1
	for f in docs/bots/*; do
		grep -o "sev_[a-z0-9_]*" "$f" | sort -u | while read -r t; do
			[ -e "tools/testing/selftests/kvm/x86/$t.c" ] || [ "$t" = sev_snp ] || echo "$f: $t"
		done
	done | grep . && return 1 || return 0
}
check "KernelCI's fragment is the series' one" fragment
check "what KernelCI schedules is defined" scheduled
check "the tests that are named are there, and all of ours are named" named
done_testing
