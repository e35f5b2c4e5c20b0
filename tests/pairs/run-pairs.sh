#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Real fixes taken back: each patch says which commit, no mutant is the same kernel,
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
		# One whose commit is not known has the mail.
		field "$id" fix | grep -q '^[0-9a-f]\{12\} (' ||
			{ field "$id" fix | grep -q '^- (' && field "$id" report | grep -q '^https:'; } ||
			echo "$id: no commit in 'fix:', and no mail in 'report:'"
	done | nothing
}

listed()
{
	for f in patches/pairs/*.patch; do
		id=$(basename "$f" .patch) report=$(field "$(basename "$f" .patch)" report)
		grep -qF "| $id | $(field "$id" fix | cut -d ' ' -f 1) | ${report:--} |" docs/pairs.md || echo "$id"
	done | nothing
}

# outcome FILE : what a patch makes of the files that it changes, without empty lines
outcome()
{
	rm -rf "$tmp/tree"
	mkdir "$tmp/tree"
	files=$(sed -n 's,^--- a/,,p' "$1" | sort)
	# shellcheck disable=SC2086 # several names
	(cd "$tree" && cp --parents $files "$tmp/tree") &&
		patch -p1 -F0 -s -d "$tmp/tree" <"$1" &&
		(cd "$tmp/tree" && grep -H . $files) | sha256sum
}

twice()
{
	tree=$(scripts/fetch kernel 7.3) || return
	for f in patches/pairs/*.patch patches/mutants/*.patch; do
		echo "$(outcome "$f") $f"
	done | sort | awk '$1 == last { print $3, name } { last = $1; name = $3 }' | nothing
}

check "every patch names a commit, or the mail that brought it" commits
check "every patch is in docs/pairs.md" listed
check "no two of them, or of the mutants, are the same kernel" twice

pair() { OUT=$tmp/out scripts/pair "$@" >"$tmp/said" 2>"$tmp/log"; }
check "7.3 passes, and with a fix taken back it fails" \
	eval 'pair snp-migrated && grep "\"fixed\":\"PASS\",.*\"broken\":\"FAIL\",.*\"ok\":true," "$tmp/out/results.json"'
check "a verdict is kept" eval 'touch "$tmp/now" && pair snp-migrated && [ "$tmp/now" -nt "$tmp/out/snp-migrated/verdict" ]'
done_testing
