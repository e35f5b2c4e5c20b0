#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Real fixes taken back: each patch says which commit, nobody has made the same mutant,
# docs/pairs.md knows it, and one of them is run.  (That they apply: tests/mutants.)
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
TOP=$PWD
. scripts/header.sh
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT

nothing() { ! grep .; }

commits()
{
	for f in patches/pairs/*.patch; do
		id=$(basename "$f" .patch)
		field "$id" fix | grep -q '^[0-9a-f]\{12\} (' || echo "$id: no commit in 'fix:'"
	done | nothing
}

listed()
{
	for f in patches/pairs/*.patch; do
		id=$(basename "$f" .patch) report=$(field "$(basename "$f" .patch)" report)
		grep -qF "| $id | $(field "$id" fix | cut -d ' ' -f 1) | ${report:--} |" docs/pairs.md || echo "$id"
	done | nothing
}

# changes FILE : what a patch changes, and where
changes() { sed '1,/^---$/d; /^diff /d; s/^@@.*/@@/' "$1" | sha256sum; }

twice()
{
	for f in patches/pairs/*.patch patches/mutants/*.patch; do
		echo "$(changes "$f") $f"
	done | sort | awk '$1 == last && (name $3) ~ /pairs/ { print $3, name } { last = $1; name = $3 }' | nothing
}

check "every patch names a commit" commits
check "every patch is in docs/pairs.md" listed
check "none of them is a mutant as well" twice

pair() { OUT=$tmp/out scripts/pair "$@" >"$tmp/said" 2>"$tmp/log"; }
check "7.3 passes, and with a fix taken back it fails" \
	eval 'pair snp-migrated && grep "\"fixed\":\"PASS\",.*\"broken\":\"FAIL\",.*\"ok\":true," "$tmp/out/results.json"'
check "a verdict is kept" eval 'touch "$tmp/now" && pair snp-migrated && [ "$tmp/now" -nt "$tmp/out/snp-migrated/verdict" ]'
done_testing
