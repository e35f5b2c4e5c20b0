#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# emulator/patches: each applies to the newest QEMU and to the older ones, and brings the
# files that it names.  With make check-all every prefix is compiled (hours the first time).
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
TOP=$PWD
. scripts/overlay.sh
. scripts/qemu.sh
QEMU_KNOWN=$(sed -n 's/^QEMU_KNOWN="\(.*\)"$/\1/p' scripts/lib.sh)

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT

# applies RELEASE TREE : all patches and files of that release, on its source
applies()
(
	say() { echo "$*"; }
	die() { echo "$*"; exit 1; }
	rm -rf "$tmp/tree" "$tmp/sync"
	mkdir -p "$tmp/tree" "$tmp/sync/add"
	(cd emulator && qemu_files | xargs cp --parents -t "$tmp/sync/add/")
	# shellcheck disable=SC2046 # no blanks in these paths
	tree_sync "$2" "$tmp/tree" "$tmp/sync" $(qemu_patches "$TOP/emulator" "$1") 2>&1 || exit 1
	! find "$tmp/sync/over" -name '*.rej' | grep .
)

# messages : each patch has a subject, a body, and a number of its own
messages()
{
	! list_bad | grep .
}

list_bad()
{
	for _p in emulator/patches*/*.patch; do
		[ "$(sed -n 1p "$_p")" ] && [ -z "$(sed -n 2p "$_p")" ] && [ "$(sed -n 3p "$_p")" ] &&
			grep -qx -e --- "$_p" || echo "$_p: subject, empty line, body, ---"
		awk '/^---$/ { exit } length > 80 { print FILENAME ": " $0 }' "$_p"
		grep -nE '^\+.*[ 	]+$' "$_p" | sed "s,^,$_p: blanks at the end: ,"
	done
	ls emulator/patches | cut -d - -f 1 | sort | uniq -d
}

# files : emulator/ has what the patches name, each once, and nothing else
files()
{
	for _p in emulator/patches/*.patch; do patch_overlay "$_p"; done | sort >"$tmp/named"
	(cd emulator && qemu_files | sed 's,^\./,,' | sort) | diff - "$tmp/named"
}

check "each patch says what it is" messages
check "each file of the emulator comes with one patch" files
for release in $QEMU_KNOWN; do
	if tree=$(scripts/fetch qemu "$release" 2>/dev/null); then
		check "all apply to QEMU $release" applies "$release" "$tree"
	else
		check "all apply to QEMU $release # SKIP the archive does not deliver it" :
	fi
done
[ -z "${CHECK_ALL-}" ] || check "each prefix compiles and links" scripts/build-stack
done_testing
