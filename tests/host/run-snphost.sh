#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian's snphost (sid), on the processors as they are sold: each of its checks passes, or
# docs/limits.md has it.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

root=$(SUITE=sid scripts/fetch deb --all snphost 2>"$LOGS/snphost.fetch") || {
	echo "ok 1 - snphost # SKIP the archive does not deliver it: $(tail -n 1 "$LOGS/snphost.fetch")"
	echo "1..1"
	exit 0
}

# on CPU : what it says there
on()
{
	check "snphost on a $1: it runs" eval "boot snphost-$1 SNP_CPU=$1 ROOT='$root' PROG='snphost ok' || verdict snphost-$1 FAIL"
	tr -d '\r' <"$LOGS/snphost-$1/ktap.log" | sed 's/\x1b\[[0-9;]*m//g' | grep -E '\[ *(PASS|FAIL|SKIP) *\]' >"$LOGS/snphost-$1.checks"
	check "... twenty checks and more" [ "$(wc -l <"$LOGS/snphost-$1.checks")" -ge 20 ]
	check "... which pass" all "$1"
}

# all CPU : none fails or is skipped that docs/limits.md does not name
all()
{
	grep -vE '\[ *PASS *\]' "$LOGS/snphost-$1.checks" | while read -r line; do
		what=$(printf '%s\n' "$line" | sed 's/.*\] *- *//; s/:.*//; s/^ *//')
		grep -qF "snphost: $what" docs/limits.md || printf '%s\n' "$line"
	done | grep . && return 1
	return 0
}

on milan
if [ -n "${CHECK_ALL-}" ]; then
	on genoa
	on turin
fi
done_testing
