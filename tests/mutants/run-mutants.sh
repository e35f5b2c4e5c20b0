#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The canary and a clean kernel: do the tests still kill what they should, and
# nothing else?  With ROTATION=5 also five mutants, others every day, from those
# that are deterministic; not by default as long as docs/mutants.md lists some
# that survive.  `make mutants` runs all.  And every mutant applies and has a
# complete header, every series can be written out.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$top/tests/tap.sh"
mutants=$top/patches/mutants
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

headers()
{
	rc=0
	for f in "$mutants"/*.patch; do
		for field in "id: *$(basename "$f" .patch)\$" 'broken: ' 'consequence: ' \
			     'killer: ' 'kind: *\(deterministic\|race, wide\|race, narrow\)$'; do
			sed '/^---$/q' "$f" | grep -q "^$field" || {
				echo "${f##*/} lacks '$field'"; rc=1
			}
		done
	done
	return $rc
}

applies()
{
	tree=$("$top/scripts/fetch" kernel 7.3) || return
	rc=0
	for f in "$mutants"/*.patch; do
		patch -p1 -F0 -s --dry-run -d "$tree" <"$f" || { echo "${f##*/}"; rc=1; }
	done
	return $rc
}

series() { FIX=$1 OUT=$tmp/$1 "$top/scripts/series"; }

verdict() { grep "\"id\":\"$1\",\"verdict\":\"$2\"" "$tmp/mutants/$1.json" ||
	{ cat "$tmp/mutants/$1.json" "$tmp/log"; return 1; }; }

check "every mutant has a complete header" headers
check "every mutant applies" applies
check "the series for 7.3 can be written out" series 7.3
check "the series for 6.12 can be written out" series 6.12

chosen=$(grep -l '^kind: *deterministic$' "$mutants"/*.patch | sed 's,.*/,,; s/\.patch$//' |
	grep -v '^00-' | awk -v day=$(($(date +%s) / 86400)) -v n="${ROTATION:-0}" '
		{ id[NR - 1] = $0 }
		END { for (i = 0; i < n; i++) print id[(day * n + i) % NR] }')
# shellcheck disable=SC2086
OUT=$tmp/mutants RUNS=1 "$top/scripts/mutants" 00-canary $chosen >"$tmp/table" 2>"$tmp/log" || :
sed 's/^/# /' "$tmp/table"
check "clean-1 passes" verdict clean-1 passed
for id in 00-canary $chosen; do
	check "$id is killed" verdict "$id" killed
done
done_testing
