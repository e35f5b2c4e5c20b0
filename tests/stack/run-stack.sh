#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# emulator/patches: each applies to the newest QEMU and to the older ones, and brings the
# files that it names; QEMU's checkpatch has nothing to say.  With make check-all the
# functional test is run, and every prefix and other builds are compiled (hours the
# first time).
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
	ls patches/qemu emulator/patches | grep '^0' | cut -d - -f 1 | sort | uniq -d
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

# style : QEMU's checkpatch, of what is posted
style()
{
	for p in "$TOP"/patches/qemu/*.patch "$TOP"/emulator/patches/*.patch; do
		(cd "$tree" && perl scripts/checkpatch.pl --no-tree --no-signoff -q --terse --no-summary - <"$p") |
			sed "s,^,${p##*/}: ,"
	done >"$tmp/said"
	(cd emulator && qemu_files | grep '\.\(c\|h\|inc\|py\|json\)$') | while read -r f; do
		(cd "$tree" && perl scripts/checkpatch.pl --no-tree -q --terse --no-summary -f "$TOP/emulator/$f")
	done >>"$tmp/said"
	! grep . "$tmp/said"
}

# functional : QEMU's own framework runs the test that the stack brings
functional()
{
	qemu=$(QEMU=${QEMU_KNOWN%% *} QEMU_ANY=no scripts/build-qemu) || return
	mkdir -p "$tmp/src/tests/functional/x86_64" "$tmp/build"
	cp -r "$tree/python" "$tree/VERSION" "$tmp/src/"
	cp -r "$tree/tests/functional/qemu_test" "$tmp/src/tests/functional/"
	cp emulator/tests/functional/x86_64/test_snp_host.py "$tmp/src/tests/functional/x86_64/"
	(
		here=$TOP/tests/conformance bare=$TOP/tests/bare
		. tests/bare/build.sh
		bare_build "$tmp" conformance "$here/insn.S" "$here"/*.c
	) || return
	modules=$(scripts/fetch deb meson python3-pycotap python3-distlib) || return
	PYTHONPATH=$tmp/src/python:$tmp/src/tests/functional:$modules/usr/lib/python3/dist-packages \
		PYTHONDONTWRITEBYTECODE=1 QEMU_BUILD_ROOT=$tmp/build QEMU_TEST_SNP_IMAGE=$tmp/conformance.bin \
		QEMU_TEST_QEMU_BINARY=$qemu/qemu-system-x86_64 \
		python3 "$tmp/src/tests/functional/x86_64/test_snp_host.py" >"$tmp/said" 2>&1 &&
		grep -q "^1\.\.$(grep -c '^ok ' "$tmp/said")$" "$tmp/said" && ! grep -i '# skip' "$tmp/said" || { cat "$tmp/said"; return 1; }
}

# posted : the mails are written, say of which tree they are, and bring the table of rules
posted()
{
	GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org \
	GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org \
		FIX=qemu SIGNOFF=1 OUT=$tmp/posted scripts/series >"$tmp/said" 2>&1 || { cat "$tmp/said"; return 1; }
	for _r in $QEMU_KNOWN; do
		grep -q "^The patches are for QEMU $_r.*master was not available" "$tmp/posted/$_r"/*/0000-*.patch || return
	done
	[ "$(ls "$tmp/posted/${QEMU_KNOWN%% *}"/*-rfc/*.patch | grep -cv /0000-)" = "$(ls emulator/patches/*.patch | wc -l)" ] &&
		grep -q '^+   VMRUN-12 | APM2 15.36.12 | ' "$tmp/posted/${QEMU_KNOWN%% *}"/*-rfc/*-docs-*.patch
}

# mailed RELEASE : git am takes them all, on the archive's source
mailed()
(
	rm -rf "$tmp/mailed"
	cp -a "$(scripts/fetch qemu "$1")" "$tmp/mailed" && cd "$tmp/mailed" || exit
	export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org
	git init -q && git add -A -f && git commit -q --author "Tester <tester@example.org>" -m base &&
		ls -d "$tmp/posted/$1"/*/*.patch | grep -v /0000- | xargs git am -q
)

# newer : a tree that lacks what one patch changes, of a release that is none
newer()
{
	rm -rf "$tmp/newer"
	mkdir -p "$tmp/newer/target/i386/tcg"
	patch_parts "$tree" "$tmp/newer" patches/qemu/*.patch emulator/patches/*.patch
	echo 99.0.0 >"$tmp/newer/VERSION"
	rm "$tmp/newer/hw/intc/apic.c"
	scripts/newer-qemu "$tmp/newer" >"$tmp/said" 2>&1 || { cat "$tmp/said"; return 1; }
	sed -n 's/^does not apply: //p' "$tmp/said" >"$tmp/told"
	grep -lx -e '--- a/hw/intc/apic.c' patches/qemu/*.patch emulator/patches/*.patch | diff - "$tmp/told" &&
		grep -q '^QEMU 99.0.0: [0-9]* of [0-9]* patches apply, 1 do not$' "$tmp/said"
}

if tree=$(scripts/fetch qemu "${QEMU_KNOWN%% *}" 2>/dev/null); then
	check "which patches do not apply to a newer QEMU is told by patch" newer
	check "QEMU's checkpatch has nothing to say" style
	check "the series for QEMU's list is written" posted
	check "QEMU's bug in its QAPI generator, without the patch and with it" tests/qemu/qapi-features.sh
fi
if [ -n "${CHECK_ALL-}" ]; then
	for release in $QEMU_KNOWN; do
		check "git am takes the series for QEMU $release" mailed "$release"
	done
	check "QEMU's functional test passes" functional
	check "the 32-bit target, user mode, without TCG, for an Arm host: it compiles" scripts/build-configs
	check "each prefix compiles and links; each group passes QEMU's own tests" scripts/build-stack --qtest
fi
done_testing
