#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The selftests as their users take them: a maintainer by `git am`, stage by stage,
# each patch building on its own, with gcc and with LLVM=1; a bot by kselftest's own
# install and gen_tar; and anyone by `make apply`.  The trees are scratch copies.
top=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$top/scripts/lib.sh"
. "$top/scripts/overlay.sh"
. "$top/tests/tap.sh"

unset KDIR FIX SIGNOFF OUT STAGE
tmp=$BUILD/check/series
rm -rf "$tmp"
mkdir -p "$tmp"
kvm=tools/testing/selftests/kvm
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org
export CCACHE_BASEDIR="$tmp"
[ ! -d /usr/lib/ccache ] || PATH=/usr/lib/ccache:$PATH

pristine=$("$top/scripts/fetch" kernel 7.3) || exit 2
tree=$tmp/linux
tree_copy_selftests "$pristine" "$tree"
# Links into the cache are for reading; what git writes to becomes a file.
for f in $(patch_files "$top"/patches/selftests/*.patch); do
	[ ! -e "$pristine/$f" ] || cp --remove-destination "$pristine/$f" "$tree/$f"
done
repo() { git -C "$tree" -c gc.auto=0 "$@"; }
{
	git init -q "$tree" && repo add -f $kvm && repo commit -q -m "a plain tree" &&
	make -C "$tree" -j "$JOBS" headers
} >"$tmp/prepare.log" 2>&1 || { tail -n 5 "$tmp/prepare.log"; exit 2; }

stages=$(for p in "$top"/patches/selftests/*.patch; do sed -n '/^---$/q; s/^Stage: *//p' "$p"; done | sort -u)
last=$(printf '%s\n' "$stages" | tail -n 1)

series() { rm -rf "$tmp/series" && OUT=$tmp/series SIGNOFF=1 "$top/scripts/series"; }

# staged : the stages, one behind the other, are the series
staged()
{
	[ "$stages" = "1
2
3" ] || { echo "the stages are" $stages; return 1; }
	for n in $stages; do
		STAGE=$n OUT=$tmp/stage-$n SIGNOFF=1 "$top/scripts/series" || return
	done
	cat "$tmp"/series/*-KVM-*.patch | grep '^[-+]' >"$tmp/whole"
	cat "$tmp"/stage-*/*-KVM-*.patch | grep '^[-+]' | diff - "$tmp/whole" | head -n 5 | nothing
}
nothing() { ! grep .; }

# small : what scripts/series itself refuses when it is more
small()
{
	[ "$(ls "$tmp"/stage-1/*-KVM-*.patch | wc -l)" -le 5 ] || return
	n=$(cat "$tmp"/stage-1/*-KVM-*.patch | grep -c '^+[^+]\|^+$')
	echo "$n lines"
	[ "$n" -le 1000 ]
}

# too_much : stage 1 with a file of a thousand lines more
too_much()
{
	rm -rf "$tmp/clone"
	mkdir "$tmp/clone"
	cp -r "$top/scripts" "$top/patches" "$top/tools" "$tmp/clone/"
	p=$(grep -lx 'Stage: 1' "$tmp"/clone/patches/selftests/*.patch | head -n 1)
	sed -i '0,/^Stage: 1$/s//&\nFiles: x86\/more.c/' "$p"
	seq 1000 >"$tmp/clone/$kvm/x86/more.c"
	! said=$(STAGE=1 OUT=$tmp/more "$tmp/clone/scripts/series" 2>&1) && [ ! -e "$tmp/more" ] &&
		printf '%s\n' "$said" | grep 'stage 1 adds .* lines in'
}

signed()
{
	for p in "$tmp"/stage-*/*-KVM-*.patch; do
		grep -q '^Signed-off-by: Tester <tester@example.org>$' "$p" &&
		grep -q '^From: Tester <tester@example.org>$' "$p" || { echo "${p##*/}"; return 1; }
	done
}

# said : each message says what it was run on, each test's also what it fails without
said()
{
	for p in "$tmp"/stage-*/*-KVM-*.patch; do
		sed '/^---$/,$d' "$p" | tr '\n' ' ' | tr -s ' ' >"$tmp/message"
		grep -q 'emulated SNP host' "$tmp/message" || echo "${p##*/}: not what it was run on"
		! grep -q '^+++ b/.*/x86/sev_snp_.*\.c' "$p" || grep -qi 'fails with .* reverted' "$tmp/message" ||
			echo "${p##*/}: not what it fails without"
	done | nothing
}

anonymous()
{
	! said=$(unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL EMAIL
		HOME=$tmp GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null XDG_CACHE_HOME=${CACHE%/*} \
			OUT=$tmp/anonymous "$top/scripts/series" 2>&1) && [ ! -e "$tmp/anonymous" ] &&
		[ "$(printf '%s\n' "$said" | wc -l)" = 1 ] && printf '%s\n' "$said" | grep 'git does not know who the author is'
}

covered()
{
	for n in $stages; do
		for want in '^Subject: \[PATCH 0/[0-9]\] KVM: selftests: ' '^Cc: .*kvm@vger.kernel.org' \
				'run on SNP hardware' '^base-commit: [0-9a-f]\{40\}$\|^base: Linux 7'; do
			grep -q "$want" "$tmp/stage-$n/0000-cover-letter.patch" || { echo "$n: not in it: $want"; return 1; }
		done
	done
	[ "$(grep -c '^prerequisite-patch-id: ' "$tmp/stage-2/0000-cover-letter.patch")" = \
		"$(ls "$tmp"/stage-1/*-KVM-*.patch | wc -l)" ]
}

# based : a tree that is a git repository has a commit to name
based()
{
	# What get_maintainer.pl knows a kernel tree by
	(cd "$pristine" && cp COPYING CREDITS MAINTAINERS README "$tree/") &&
		(cd "$tree" && mkdir -p Documentation drivers fs init ipc kernel lib) || return
	KDIR=$tree OUT=$tmp/based "$top/scripts/series" &&
		grep -qx "base-commit: $(repo rev-parse HEAD)" "$tmp/based/0000-cover-letter.patch"
}

# The SEV tests are those that any of the patches can break.
sev_tests() { sed -n 's/^TEST_GEN_PROGS_x86 += \(x86\/sev_.*\)/\1/p' "$tree/$kvm/Makefile.kvm"; }

# builds FOLDER VARIABLE... : the SEV tests, without a warning from our files
builds()
{
	out=$tmp/$1
	shift
	mkdir -p "$out"
	make -C "$tree/$kvm" -j "$JOBS" OUTPUT="$out" "$@" $(sev_tests | sed "s,^,$out/,") \
		>"$out.log" 2>&1 || { tail -n 15 "$out.log"; return 1; }
	! grep -n 'warning:.*snp\|snp.*warning:' "$out.log"
}

# steps : git am one by one, and a build after each.  The kernel's LLVM=1 is for a clang
# that is newer than what some distributions have.
steps()
{
	llvm=$("$top/scripts/llvm") || return
	for p in "$tmp"/stage-*/*-KVM-*.patch; do
		repo am -q "$p" && builds gcc && (PATH=$llvm:$PATH && builds llvm LLVM=1) ||
			{ echo "${p##*/}"; return 1; }
	done
}

# fix_tests : the tests of the fixes for 7.3 build on top of it
fix_tests()
{
	rm -rf "$tmp/fix" && FIX=7.3 OUT=$tmp/fix "$top/scripts/series" || return
	at=$(repo rev-parse HEAD)
	repo am -q "$tmp"/fix/*-KVM-selftests-*.patch && builds gcc
	rc=$?
	repo reset -q --hard "$at"
	return $rc
}

same() { (cd "$top/$kvm" && find include lib x86 -type f) | while read -r f; do cmp "$top/$kvm/$f" "$tree/$kvm/$f" || exit 1; done; }

# tarball : gen_tar into a folder of its own, O= out of the tree
tarball()
{
	make -C "$tree/tools/testing/selftests" -j "$JOBS" TARGETS=kvm O="$tmp/o" FORCE_TARGETS=1 \
		INSTALL_PATH="$tmp/installed" gen_tar >"$tmp/tar.log" 2>&1 || { tail -n 15 "$tmp/tar.log"; return 1; }
	mkdir "$tmp/unpacked"
	tar -xf "$(ls "$tmp"/installed/kselftest-packages/*.tar* | head -n 1)" -C "$tmp/unpacked"
}

listed()
{
	"$tmp/unpacked/run_kselftest.sh" -l >"$tmp/list" || return
	for t in $(sev_tests); do
		grep -qx "kvm:${t#x86/}" "$tmp/list" || { echo "not listed: $t"; return 1; }
		[ -x "$tmp/unpacked/kvm/${t#x86/}" ] || { echo "not there: $t"; return 1; }
	done
}

# Another host needs what upstream's tests need there, and nothing else; but for the
# one that is about NUMA.
self_contained()
{
	for t in "$tmp"/unpacked/kvm/sev_*; do
		libs=$(ldd "$t" | sed 's/^[[:space:]]*//; s/ .*//; /libnuma/d' | sort | tr '\n' ' ')
		case $t in
		*_numa_test)	ldd "$t" | grep -q libnuma ;;
		*)	! ldd "$t" | grep libnuma ;;
		esac || { echo "${t##*/}: libnuma"; return 1; }
		[ "$libs" = "${first:=$libs}" ] || { echo "${t##*/}: $libs, not $first"; return 1; }
	done
}

# A build without libnuma has all but that test, and says so.
without_numa()
{
	printf '%s\n' '#!/bin/sh' 'case " $* " in *" -lnuma "*) exit 1 ;; esac' 'exec gcc "$@"' >"$tmp/cc"
	chmod +x "$tmp/cc"
	make -C "$tree/$kvm" CC="$tmp/cc" OUTPUT="$tmp/nonuma" -n all >"$tmp/nonuma.log" 2>&1 || return
	grep -q 'sev_snp_vmsa_punch_hole\.o' "$tmp/nonuma.log" && ! grep '_numa_test\.o' "$tmp/nonuma.log" &&
		grep -i 'libnuma' "$tmp/nonuma.log"
}

# Without /dev/kvm, or on a host without SNP: a skip with one constant reason.
skips()
{
	for t in $(sev_tests | sed -n 's,^x86/\(sev_snp_.*\),\1,p'); do
		# By a pipe: see docs/findings/kselftest-output-lost.md.  Without KVM it is
		# upstream's library that says why.
		"$tmp/unpacked/run_kselftest.sh" -t "kvm:$t" 2>&1 | cat >"$tmp/$t.ktap"
		grep -q "^ok 1 selftests: kvm: $t # SKIP" "$tmp/$t.ktap" &&
		grep -qx "# 1..0 # SKIP - \([A-Za-z/ -]*\|Cannot open '/dev/kvm': .*\)" "$tmp/$t.ktap" || { cat "$tmp/$t.ktap"; return 1; }
	done
}

has_snp() { grep -qsx '[Y1]' /sys/module/kvm_amd/parameters/sev_snp; }

# configured CONFIG : x86's defconfig and that fragment, as bots merge them
configured()
{
	rm -rf "$tmp/config"
	mkdir -p "$tmp/config"
	make -C "$pristine" O="$tmp/config" defconfig >/dev/null &&
	"$pristine/scripts/kconfig/merge_config.sh" -m -O "$tmp/config" "$tmp/config/.config" "$1" >/dev/null &&
	make -C "$pristine" O="$tmp/config" olddefconfig >/dev/null
}

# fragment : KVM is built in, nothing that is named is lost, and what that is to
# bring about is there.  Without the series' lines there is no SEV.
fragment()
{
	configured "$tree/$kvm/config" || return
	for line in $(cat "$tree/$kvm/config") CONFIG_KVM_AMD=y CONFIG_EFI_STUB=y \
			CONFIG_KVM_GUEST_MEMFD=y CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES=y \
			CONFIG_HAVE_KVM_ARCH_GMEM_INVALIDATE=y; do
		grep -qx "$line" "$tmp/config/.config" || { echo "lost: $line"; return 1; }
	done
	configured "$pristine/$kvm/config" || return
	! grep '^CONFIG_KVM_AMD_SEV=' "$tmp/config/.config"
}

# in_and_out : twice as good as once, back to nothing, nothing lost
in_and_out()
{
	repo checkout -q --detach "$(repo rev-list --max-parents=0 HEAD)" &&
	KDIR=$tree "$top/scripts/apply" apply && same || return
	repo status --short -uall $kvm >"$tmp/once"
	KDIR=$tree "$top/scripts/apply" apply 2>&1 | grep 'apply: 0 files' || return
	KDIR=$tree "$top/scripts/apply" unapply || return
	[ -s "$tmp/once" ] && [ -z "$(repo status --short -uall $kvm)" ]
}

refused()
{
	KDIR=$tree "$top/scripts/apply" apply >/dev/null 2>&1 || return
	echo "$3" >>"$tree/$kvm/$1"
	repo status --short -uall $kvm >"$tmp/before"
	! said=$(KDIR=$tree "$top/scripts/apply" $2 2>&1) && printf '%s\n' "$said" | grep "$4" || { echo "$said"; return 1; }
	repo status --short -uall $kvm | cmp - "$tmp/before" || return
	repo checkout -q -- $kvm && repo clean -qfd $kvm
}

check "the series can be written" series
check "three stages, one behind the other, are the series" staged
check "stage 1: at most 1,000 lines in five patches" small
check "... or it is refused" too_much
check "an author that git does not know: one line" anonymous
check "every patch has the author and the sign-off" signed
check "what it was run on, and what it fails without" said
check "the cover letters: subject, maintainers, base, what it was not tested on" covered
check "a tree that is a git repository: its commit is the base" based
check "git am, one by one, each step builds with gcc and LLVM=1, without a warning" steps
check "all of the overlay is in the series" same
check "each fix for 7.3 that a test can see comes with the test" fix_tests
check "gen_tar with O=" tarball
check "the unpacked runner lists the SEV tests" listed
check "our tests need the libraries of upstream's, no other" self_contained
check "without libnuma: all but the NUMA test, and that is said" without_numa
if ! has_snp; then
	check "where there is no SNP, our tests are skipped" skips
fi
check "defconfig with the config fragment has SEV, without the series it has none" fragment
check "apply, apply, unapply" in_and_out
check "unapply refuses a file that is not from here" refused "$(cd "$top/$kvm" && ls lib/x86/*.c | head -n 1)" unapply "int x;" "not from here"
check "apply refuses changes that are not committed" refused config apply CONFIG_FOO=y "not committed"
rm -rf "$tmp/linux" "$tmp/o" "$tmp/config" "$tmp/installed" "$tmp/unpacked" "$tmp/clone" "$tmp/nonuma" "$tmp/gcc" "$tmp/llvm"
done_testing
