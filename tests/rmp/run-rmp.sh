#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The native tests of the RMP core, in under a minute.  TAP on stdout; exits
# non-zero on any failure.
#
#     BUILD_DIR=dir   build there and keep it (default: a temporary directory)
#     SEED=n          replay the random test (a failure prints the seed)
#     CC, CLANG       compilers; libFuzzer needs clang

here=$(cd "$(dirname "$0")" && pwd) || exit 1
snp=$here/../../emulator/target/i386/snp
CC=${CC:-cc}
CLANG=${CLANG:-clang}
export CC CLANG

for tool in make "$CC" sed awk timeout; do
	if ! command -v "$tool" >/dev/null; then
		echo "Bail out! $tool is not installed"
		exit 1
	fi
done

if [ -n "$BUILD_DIR" ]; then
	out=$BUILD_DIR/rmp
	mkdir -p "$out" || exit 1
else
	out=$(mktemp -d) || exit 1
	trap 'rm -rf "$out"' EXIT
	trap 'exit 1' HUP INT TERM
fi

# ThreadSanitizer wants addresses that newer kernels randomize away
RMP_NO_ASLR=
setarch -R true 2>/dev/null && RMP_NO_ASLR="setarch -R"
export RMP_NO_ASLR

number=0
failed=0

# result STATUS TEXT: one line of TAP
result()
{
	number=$((number + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $number - rmp: $2"
	else
		echo "not ok $number - rmp: $2"
		failed=$((failed + 1))
	fi
}

# case_of TEXT COMMAND...: one test, its own output as a subtest
case_of()
{
	text=$1
	shift
	"$@" >"$out/log" 2>&1
	rc=$?
	sed 's/^/    /' "$out/log"
	result $rc "$text"
	[ $rc -eq 0 ] || grep -v -e '^ok ' -e '^# rule ' "$out/log" |
		tail -n 25 | sed 's/^/# /'
}

# Each rule that the core names must be one that the rule test knows, and each
# that it knows must have a row in the emulator's README
rules_named()
{
	sed -n 's/^# rule \([^:]*\):.*/\1/p' "$out/rules.tap" | sort >"$out/known"
	cat "$snp/rmp.c" "$snp/rmp.h" |
	grep -o '[A-Z]\{3,\}-[A-Z0-9]\{1,\}\(\.\.[0-9]\{1,\}\)\{0,1\}' |
	awk -F'[.][.]' '{
		if (NF == 2) {
			split($1, id, "-")
			for (i = id[2] + 0; i <= $2 + 0; i++)
				printf "%s-%02d\n", id[1], i
		} else {
			print
		}
	}' | grep -v -e '^SEV-' -e '^GPL-' -e '^SPDX-' | sort -u >"$out/named"
	comm -13 "$out/known" "$out/named" >"$out/unknown"
	sed 's/^/named in rmp.c or rmp.h, not tested: /' "$out/unknown"
	cat "$snp"/../../../README*.md >"$out/readme"
	while read -r rule; do
		grep -q "^| $rule |" "$out/readme" || echo "$rule"
	done <"$out/known" >"$out/unwritten"
	sed 's/^/no row in the README: /' "$out/unwritten"
	! [ -s "$out/unknown" ] && ! [ -s "$out/unwritten" ]
}

# What is long is shown when it failed only
rules_asan()
{
	"$out/rules-asan" >"$out/asan" 2>&1 && return
	cat "$out/asan"
	return 1
}

fuzz()
{
	if timeout 60 "$out/fuzz" -max_total_time=4 -max_len=1024 \
			-len_control=0 -print_final_stats=1 \
			-artifact_prefix="$out/" >"$out/fuzz.log" 2>&1; then
		sed -n 's/^stat::number_of_executed_units: */# inputs: /p' \
			"$out/fuzz.log"
		return
	fi
	cat "$out/fuzz.log"
	return 1
}

# Two processes, since that is what a small machine has
mutate()
{
	"$here/mutate" "$out" 1 2 >"$out/mutants.1" 2>&1 &
	"$here/mutate" "$out" 2 2 >"$out/mutants.2" 2>&1
	rc=$?
	wait $! || rc=1
	cat "$out/mutants.1" "$out/mutants.2"
	return $rc
}

have_clang=1
targets="rules random rules-asan random-asan race rules.o random.o race.o"
# Its runtime is a package of its own, so look for both
echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' >"$out/probe.c"
if "$CLANG" -w -fsanitize=fuzzer "$out/probe.c" -o "$out/probe" 2>/dev/null
then
	targets="$targets fuzz fuzz.o"
else
	have_clang=0
fi
set --
for target in $targets; do
	set -- "$@" "$out/$target"
done
if ! make -s -C "$here" -j2 O="$out" "$@" >"$out/log" 2>&1; then
	sed 's/^/# /' "$out/log"
	echo "Bail out! the tests of the RMP core do not build"
	exit 1
fi

case_of "each rule, passed and refused" "$out/rules"
cp "$out/log" "$out/rules.tap"
case_of "each rule that the core names is tested and documented" rules_named
case_of "rules under AddressSanitizer and UBSan" rules_asan
case_of "random operations against the model" \
	"$out/random" -n 2000000 ${SEED:+-s "$SEED"}
case_of "the same under AddressSanitizer and UBSan" \
	"$out/random-asan" -n 300000 ${SEED:+-s "$SEED"}
case_of "threads under ThreadSanitizer" $RMP_NO_ASLR "$out/race" -t 2000
if [ $have_clang -eq 1 ]; then
	case_of "libFuzzer" fuzz
else
	result 0 "libFuzzer # SKIP no clang with libFuzzer"
fi
case_of "mutants are noticed" mutate

echo "1..$number"
[ $failed -eq 0 ]
