#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The selftests as their users take them: a maintainer by `git am`, each patch
# building on its own; a bot by kselftest's own install and gen_tar, with gcc and
# with LLVM=1; and anyone by `make apply`.  The trees are scratch copies.
top=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$top/scripts/lib.sh"
. "$top/scripts/overlay.sh"
. "$top/tests/tap.sh"

unset KDIR FIX SIGNOFF OUT
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
	cp --remove-destination "$pristine/$f" "$tree/$f"
done
repo() { git -C "$tree" -c gc.auto=0 "$@"; }
{
	git init -q "$tree" && repo add -f $kvm && repo commit -q -m "a plain tree" &&
	make -C "$tree" -j "$JOBS" headers
} >"$tmp/prepare.log" 2>&1 || { tail -n 5 "$tmp/prepare.log"; exit 2; }

series() { OUT=$tmp/series SIGNOFF=1 "$top/scripts/series"; }

signed()
{
	for p in "$tmp"/series/000[1-9]*.patch; do
		grep -q '^Signed-off-by: Tester <tester@example.org>$' "$p" || { echo "${p##*/}"; return 1; }
	done
}

covered()
{
	for want in '^Subject: \[PATCH 0/[0-9]\] KVM: selftests: ' '^Cc: .*kvm@vger.kernel.org' 'run on SNP hardware'; do
		grep -q "$want" "$tmp/series/0000-cover-letter.patch" || { echo "not in it: $want"; return 1; }
	done
}

# The SEV tests are those that any of the patches can break.
sev_tests() { sed -n 's/^TEST_GEN_PROGS_x86 += \(x86\/sev_.*\)/\1/p' "$tree/$kvm/Makefile.kvm"; }

# steps : git am one by one, and a build without a warning after each
steps()
{
	for p in "$tmp"/series/000[1-9]*.patch; do
		repo am -q "$p" || return
		mkdir -p "$tmp/step"
		make -C "$tree/$kvm" -j "$JOBS" OUTPUT="$tmp/step" $(sev_tests | sed "s,^,$tmp/step/,") \
			>"$tmp/step.log" 2>&1 || { echo "${p##*/}"; tail -n 15 "$tmp/step.log"; return 1; }
		! grep -n 'warning:.*snp\|snp.*warning:' "$tmp/step.log" || { echo "${p##*/}"; return 1; }
	done
}

same() { (cd "$top/$kvm" && find include lib x86 -type f) | while read -r f; do cmp "$top/$kvm/$f" "$tree/$kvm/$f" || exit 1; done; }

# llvm : kselftest's LLVM=1, our tests, without a warning from our files
llvm()
{
	mkdir -p "$tmp/llvm"
	make -C "$tree/$kvm" -j "$JOBS" LLVM=1 OUTPUT="$tmp/llvm" $(sev_tests | grep snp | sed "s,^,$tmp/llvm/,") \
		>"$tmp/llvm.log" 2>&1 || { tail -n 15 "$tmp/llvm.log"; return 1; }
	! grep -n 'snp.*warning:' "$tmp/llvm.log"
}

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

# Another host needs what upstream's tests need there, and nothing else.
self_contained()
{
	for t in "$tmp"/unpacked/kvm/sev_*; do
		libs=$(ldd "$t" | sed 's/^[[:space:]]*//; s/ .*//' | sort | tr '\n' ' ')
		[ "$libs" = "${first:=$libs}" ] || { echo "${t##*/}: $libs, not $first"; return 1; }
	done
}

# Without /dev/kvm, or on a host without SNP: a skip with one constant reason.
skips()
{
	for t in $(sev_tests | sed -n 's,^x86/\(sev_snp_.*\),\1,p'); do
		# By a pipe: see docs/findings/kselftest-output-lost.md.
		"$tmp/unpacked/run_kselftest.sh" -t "kvm:$t" 2>&1 | cat >"$tmp/$t.ktap"
		grep -q "^ok 1 selftests: kvm: $t # SKIP" "$tmp/$t.ktap" &&
		grep -qx '# 1..0 # SKIP - [A-Za-z/ -]*' "$tmp/$t.ktap" || { cat "$tmp/$t.ktap"; return 1; }
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
check "every patch has the sign-off" signed
check "the cover letter: subject, maintainers, what it was not tested on" covered
check "git am, one by one, each step builds the SEV tests without a warning" steps
check "all of the overlay is in the series" same
check "LLVM=1, without a warning" llvm
check "gen_tar with O=" tarball
check "the unpacked runner lists the SEV tests" listed
check "our tests need the libraries of upstream's, no other" self_contained
if ! has_snp; then
	check "where there is no SNP, our tests are skipped" skips
fi
check "defconfig with the config fragment has SEV, without the series it has none" fragment
check "apply, apply, unapply" in_and_out
check "unapply refuses a file that is not from here" refused lib/x86/snp_vm.c unapply "int x;" "not from here"
check "apply refuses changes that are not committed" refused config apply CONFIG_FOO=y "not committed"
rm -rf "$tmp/linux" "$tmp/o" "$tmp/config" "$tmp/installed" "$tmp/unpacked" "$tmp/step" "$tmp/llvm"
done_testing
