#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What can go wrong before a machine boots: each has one line that says what to
# do, exit code 2, and leaves nothing half-written behind.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
forget_settings KERNEL TESTS KDIR QEMU QEMU_SRC CONFIG
cache=${SNP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/snp-vmsa-selftests}
SNP_BUILD=$tmp/build
export SNP_BUILD

# refuses PATTERN COMMAND... : exit 2, and the last line says PATTERN
refuses()
{
	_want=$1
	shift
	_rc=0
	_said=$("$@" 2>&1 </dev/null) || _rc=$?
	printf '%s\n' "$_said"
	[ "$_rc" -eq 2 ] || { echo "exit $_rc, not 2"; return 1; }
	printf '%s\n' "$_said" | tail -n 1 | grep -qE -- "$_want" || { echo "nothing like '$_want'"; return 1; }
}

# No message of a shell's or of mkdir's: one line, whoever finds it.
one_line()
{
	refuses "$@" && [ "$(printf '%s\n' "$_said" | wc -l)" -eq 1 ]
}

# at_once SCRIPT [SETTING=VALUE | VARIABLE]... : each of the variables, wrong, is refused
# before anything is built; no archive is asked if it is not
at_once()
{
	_ac=$1 _as=
	shift
	for _av; do
		case $_av in *=*) _as="$_as $_av"; continue ;; esac
		# shellcheck disable=SC2086 # several
		one_line "^[a-z.-]*: .*\bwrong\b" env SNP_CACHE="$tmp/none" SNP_APT_ETC="$tmp/none" $_as "$_av=wrong" "$_ac" ||
			{ echo "$_av=wrong"; return 1; }
	done
}

# A second cache that shares what was unpacked, and builds for itself.
second_cache()
{
	rm -rf "$tmp/cache"; mkdir -p "$tmp/cache"
	cp -r "$cache/times" "$tmp/cache/" 2>/dev/null
	ln -s "$cache/src" "$tmp/cache/src"
	ln -s "$cache/download" "$tmp/cache/download"
}

check "the help names every command" sh -c '
	for c in run check shell selftests paths clean; do make help-all | grep -q "^  make $c " || exit 1; done'
check "the help in two levels: five commands, and all" sh -c '
	[ "$(make help | grep -c "^make [a-z]* ")" = 5 ] && make help-all | grep -q "^  make livelock "'
check "a variable that a command does not read" refuses "make: \*\*\*" make run M=00
check "... who does" sh -c 'make run M=00 2>&1 | grep -q "^reads: make run does not read M=; these do: mutants explore replay"'
for v in "mutants KERNEL" "matrix SMP" "livelock TESTS" "soak LOOPS" "run SHARD" "apply OUT"; do
	# shellcheck disable=SC2086 # two words
	check "... nor one that it sets itself, or lib.sh for others: $v" refuses "make ${v% *} does not read ${v#* }=" scripts/reads $v
done
check "... nobody" sh -c 'make run XYZ=1 KERNEL=7.3 2>&1 | grep -q "^reads: make run does not read XYZ=; no command does"'
check "... those that it reads" scripts/reads run KERNEL TESTS ARGS KDIR QEMU QEMU_SRC CONFIG LOOPS TIMEOUT STOCK TRACE DEBUG OUT JOBS \
	SMP MEM SANITIZE QUIET SCHED PA_REDUCTION SNP_ASIDS MISC_SEV_ES APPEND RMP_BASE X86_SNP_SHUTDOWN PROG ROOT DISK HOST FIXED SELFTESTS SILENCE
check "make without a goal is the help" sh -c 'make | grep -q "^make run"'

check "make selftests prints the folder they are installed in" sh -c '[ -x "$(make -s selftests)/run_kselftest.sh" ]'
cleaned()
{
	mkdir -p "$tmp/clean/modules" "$tmp/clean/kernel" "$tmp/clean/download" &&
	SNP_CACHE=$tmp/clean SNP_BUILD=$tmp/clean/build make -s clean && [ "$(ls "$tmp/clean")" = download ]
}
check "make clean takes all that was built, and no download" cleaned

machine="SMP MEM SNP_CPU FAULT STALE QEMU"
while read -r s variables; do
	# shellcheck disable=SC2086 # several
	check "$s: what is wrong is said before anything is built" at_once $s $variables
done <<END
scripts/run $machine KERNEL LOOPS
scripts/explore $machine KERNEL M SEEDS
scripts/search $machine KERNEL M BOUND
scripts/kills RUNS RUNS=1 LIMIT SMP MEM SNP_CPU FAULT STALE M
scripts/mutants $machine M RUNS BATCH
scripts/mutants-generated $machine MINUTES
scripts/pair BUG BUG=00-canary QEMU
scripts/matrix KERNELS SNP_CPUS QEMU
scripts/soak $machine KERNEL RUNS BATCH
scripts/rates $machine KERNEL VCPUS
scripts/livelock MEM SNP_CPU FAULT STALE QEMU KERNELS SHIFT
scripts/linux-guest $machine KERNEL CPUS
tests/fuzz/run-fuzz.sh SEEDS ROUNDS
END
check "unknown KERNEL" refuses "KERNEL=9.9: not 7.3, 7.2, 6.12," env KERNEL=9.9 scripts/run
check "KERNEL is a folder without a kernel" refuses "KERNEL=$tmp is no kernel source tree" env KERNEL="$tmp" scripts/run
tilde()
{
	for _t in KERNEL KERNELS KDIR QEMU_SRC CONFIG OUT ROOT DISK SELFTESTS SVG STRESS IN; do
		_is=$(env HOME=/h SNP_CACHE="$tmp/none" $_t="~/a b ~/c" sh -c '. scripts/lib.sh; eval "echo \"\$$1\""' scripts/x $_t)
		[ "$_is" = "/h/a b /h/c" ] || { echo "$_t=$_is"; return 1; }
	done
}
check "~/ is HOME, in front of each path of a list as well" tilde
echo text >"$tmp/file"
check "KERNEL is a file, and no bzImage" refuses "KERNEL=.* is no bzImage" env KERNEL="$tmp/file" scripts/run
# A bzImage as far as anybody looks at one.  image FILE VERSION
image()
{
	mkdir -p "$(dirname "$1")"
	head -c 4096 /dev/zero >"$1"
	printf HdrS | dd of="$1" bs=1 seek=514 conv=notrunc
	printf '\000\010' | dd of="$1" bs=1 seek=526 conv=notrunc
	printf '%s (me)' "$2" | dd of="$1" bs=1 seek=2560 conv=notrunc
} 2>"$tmp/err"
# module FILE VERSION [DEPENDS]
module()
{
	mkdir -p "$(dirname "$1")"
	printf 'const char %s[] __attribute__((section(".modinfo"), used)) = "%s";\n' \
		v "vermagic=$2 SMP " d "depends=${3-}" | gcc -x c -c - -o "$1"
}
# What it makes of them: holds DIR NAME... : these, and no other
holds()
{
	_hd=$1
	shift
	ls -R "$_hd/lib/modules"
	[ "$(cd "$_hd" && find lib -name '*.ko' | sed 's,.*/,,' | sort | tr '\n' ' ')" = "$(printf '%s.ko\n' "$@" | sort | tr '\n' ' ')" ] &&
		[ -e "$_hd"/lib/modules/*/modules.dep ]
}
used() { SNP_CACHE=$tmp/images PATH=/usr/bin:/bin scripts/build-kernel "$@"; }
beside()
{
	image "$tmp/my image/bzImage" 9.9.1
	for v in 9.9.1 9.9.12; do
		module "$tmp/my image/$v/kvm-amd.ko" $v ccp
		module "$tmp/my image/$v/ccp.ko" $v
		module "$tmp/my image/$v/any.ko" $v
	done
	used "$tmp/my image/bzImage" >"$tmp/packed2" &
	_dir=$(used "$tmp/my image/bzImage") && wait $! || return
	[ "$_dir" = "$(cat "$tmp/packed2")" ] && holds "$_dir" kvm_amd ccp any && [ -d "$_dir/lib/modules/9.9.1" ]
}
check "a bzImage: two at once, a blank in the path, by a user; the modules of its version" beside
# installed ROOT MODULES-FOLDER IMAGE COMPRESSOR SUFFIX : one kernel, laid out like that
installed()
{
	image "$1/$3" 9.9.1
	module "$1/$2/9.9.1/kernel/arch/x86/kvm/kvm-amd.ko" 9.9.1 kvm,ccp
	module "$1/$2/9.9.1/kernel/arch/x86/kvm/kvm.ko" 9.9.1
	module "$1/$2/9.9.1/kernel/drivers/crypto/ccp/ccp.ko" 9.9.1
	module "$1/$2/9.9.1/kernel/net/other.ko" 9.9.1
	[ -z "$4" ] || find "$1/$2" -name '*.ko' -exec "$4" -q {} +
	[ -z "$5" ] || find "$1/$2" -name '*.ko' -delete
}
layout()
{
	rm -rf "$tmp/root"
	installed "$tmp/root" "$@" && _dir=$(used "$tmp/root") && holds "$_dir" kvm_amd kvm ccp &&
		[ "$(used "$tmp/root/$2")" = "$_dir" ]
}
# None of these was made by the distribution itself.
check "a kernel as Debian installs it, .xz" layout lib/modules boot/vmlinuz-9.9.1 xz .xz
check "a kernel as Debian ships it since 7.3" layout usr/lib/modules usr/lib/modules/9.9.1/vmlinuz xz .xz
check "a kernel as Fedora installs it, .xz" layout lib/modules lib/modules/9.9.1/vmlinuz xz .xz
check "a kernel as Ubuntu installs it, .zst" layout lib/modules boot/vmlinuz-9.9.1 zstd .zst
check "a kernel as make modules_install does, .gz" layout lib/modules boot/vmlinuz-9.9.1 gzip .gz
image "$tmp/root/boot/vmlinuz-9.9.2" 9.9.2
check "a folder with two kernels" refuses "has several kernels; which one.  .*vmlinuz-9.9.1, .*vmlinuz-9.9.2" env KERNEL="$tmp/root" scripts/run
# package NAME FOLDER
package()
{
	mkdir -p "$2/DEBIAN" &&
	printf '%s\n' "Package: $1" "Version: 9.9.1-1" "Architecture: amd64" "Maintainer: me" "Description: none" >"$2/DEBIAN/control" &&
	dpkg-deb -Zgzip --root-owner-group -b "$2" "$tmp/debs/$1_9.9.1-1_amd64.deb"
}
packaged()
{
	rm -rf "$tmp/root" && mkdir -p "$tmp/debs" "$tmp/p" &&
	installed "$tmp/root" lib/modules boot/vmlinuz-9.9.1 xz .xz && mv "$tmp/root/boot" "$tmp/p/" &&
	package linux-image-9.9.1 "$tmp/p" && package linux-modules-9.9.1 "$tmp/root" &&
	_dir=$(used "$tmp/debs/linux-image-9.9.1_9.9.1-1_amd64.deb") && holds "$_dir" kvm_amd kvm ccp
}
check "a .deb, and the modules of the one beside it" packaged
rm -f "$tmp"/debs/linux-image*
check "a .deb without its vmlinuz" refuses "has no vmlinuz, and no linux-image-9.9.1 or" env SNP_CACHE="$tmp/images" scripts/build-kernel "$tmp/debs/linux-modules-9.9.1_9.9.1-1_amd64.deb"
check "a .deb that is none" refuses "is no package" scripts/use-kernel "$tmp/debs/x.deb"
package other "$tmp/other" >/dev/null
check "a .deb of something else" refuses "is other, and no linux-image-V" scripts/use-kernel "$tmp/debs/other_9.9.1-1_amd64.deb"

check "HOST=native asks for a word more" refuses "may die of the tests.*say FIXED=1" env HOST=native scripts/run
check "... and gives no shell" refuses "HOST=native is this machine as it is" env HOST=native MODE=shell scripts/run
check "... and has no KERNEL" refuses "HOST=native is this machine as it is" env HOST=native KERNEL=7.3 scripts/run
if [ "$(cat /sys/module/kvm_amd/parameters/sev_snp 2>/dev/null)" != Y ]; then
	check "... and is refused where there is no SNP" refuses "is no SNP host" env HOST=native FIXED=1 scripts/run
fi
check "unknown HOST" refuses "HOST=there: native is" env HOST=there scripts/run
check "PROG that is nowhere" refuses "there is no program nosuch here" env PROG="nosuch -v" scripts/run
check "ROOT is no folder" refuses "ROOT=.*file is no folder" env ROOT="$tmp/file" scripts/run
check "DISK is a folder" refuses "DISK=.* is no image" env DISK="$tmp" scripts/run
check "SELFTESTS that are none" refuses "has no run_kselftest.sh" env SELFTESTS="$tmp" scripts/run
# A program whose library went away since it was linked
mkdir -p "$tmp/lacks/kvm"
echo 'int gone(void) { return 0; }' | gcc -shared -fPIC -x c -o "$tmp/libgone.so" -
echo 'int gone(void); int main(void) { return gone(); }' | gcc -x c -o "$tmp/lacks/kvm/lost" - -L"$tmp" -lgone
rm "$tmp/libgone.so"
echo kvm:lost >"$tmp/lacks/kselftest-list.txt"
: >"$tmp/lacks/run_kselftest.sh"
chmod +x "$tmp/lacks/run_kselftest.sh"
check "SELFTESTS whose libraries are not here" refuses "this machine has not all libraries" env SELFTESTS="$tmp/lacks" TESTS=lost scripts/run
check "OUT is a file" refuses "the logs cannot be written to .*file" env OUT="$tmp/file" scripts/run
check "OUT cannot be made" refuses "the logs cannot be written to /proc/x" env OUT=/proc/x scripts/run
check "unknown mutant" refuses "no such mutant in patches/mutants and" env KERNEL=mutant/none scripts/run
check "a mutant by its number" env KERNEL=mutant/01 scripts/build-kernel --check mutant/01
check "livelock: unknown kernel" refuses "KERNEL=foo: not 7.3," env KERNELS=foo scripts/livelock
check "the logs of series have no place" refuses "^series: cannot make a folder beside" env OUT=/nonexistent/a/b scripts/series
check "... nor has the report" refuses "^report: " env OUT=/proc/x/y scripts/report
check "no machine at a time" refuses "PARALLEL=0 is no number from 1 to 1000" env PARALLEL=0 scripts/mutants
check "... nor for a matrix" refuses "PARALLEL=0 is no number from 1 to 1000" env PARALLEL=0 scripts/matrix
check "DEBUG that QEMU does not know" refuses "QEMU has no item 'foo'" env DEBUG=foo TESTS=sev_smoke_test OUT="$tmp/out" scripts/run
check "TRACE that QEMU does not know" refuses "QEMU has no trace event 'nosuch_\*'" env TRACE='nosuch_*' TESTS=sev_smoke_test OUT="$tmp/out" scripts/run
# shell : it leaves the last run's logs alone
shell()
{
	mkdir -p "$tmp/build/run" && : >"$tmp/build/run/ktap.log"
	: >"$tmp/typed"
	{
		n=0
		until grep -q '/kselftest #' "$tmp/typed" || [ $((n += 1)) -gt 120 ]; do sleep 1; done
		echo exit
	} | MODE=shell timeout 150 scripts/run >"$tmp/typed" 2>&1
	[ -e "$tmp/build/run/ktap.log" ] && [ -e "$tmp/build/shell/console.log" ] || { ls "$tmp/build"; cat "$tmp/typed"; return 1; }
}
check "make shell: the last run's logs stay" shell
check "unknown test: names its neighbours" refuses "no test 'sev_smoke' in the kvm target; near it: .*sev_smoke_test" env TESTS=sev_smoke scripts/run
check "unknown case: those that there are" refuses "sev_snp_ghcb_test has no case 'nosuch'; it has: " env TESTS=sev_snp_ghcb_test:nosuch scripts/run
for wrong in nosuch "-n 0" --foo -t "-t nosuch"; do
	check "ARGS=$wrong is no FAIL" refuses "^run: (ARGS|sev_snp_ghcb_test has no case 'nosuch')" env TESTS=sev_snp_ghcb_test ARGS="$wrong" scripts/run
done
for wrong in "-n 0" "-n 33" "-m nosuch" "-a loud" "-t soon" "-s x" "-p 9" -z storm; do
	check "ARGS=$wrong is none of the stress test either" refuses "^run: (ARGS=|sev_snp_vmsa_punch_hole_stress has no case 'nosuch')" \
		env TESTS=sev_snp_vmsa_punch_hole_stress ARGS="$wrong" scripts/run
done
check "unknown test of several, with a case" refuses "no test 'sev_none:a' in the kvm target" env TESTS="sev_smoke_test sev_none:a" scripts/run
check "unknown stage of the series" refuses "STAGE=x is no stage of the series" env STAGE=x OUT="$tmp/s" scripts/series
check "a stage that no patch is of" refuses "STAGE=9: no patch is of that stage" env STAGE=9 OUT="$tmp/s" scripts/series
check "a stage of a fix" refuses "STAGE= is for the selftests" env STAGE=1 FIX=7.3 OUT="$tmp/s" scripts/series
check "... nothing half-written" sh -c "! ls -d '$tmp'/s* 2>/dev/null | grep ."
# with N : Debian's 6.12, as far as the fix goes, with its first N patches
with()
{
	rm -rf "$tmp/t612" "$tmp/fix"; mkdir -p "$tmp/t612"
	_src=$(scripts/fetch kernel 6.12) || return
	(cd "$_src" && cp --parents $(sed -n 's,^+++ b/,,p' "$OLDPWD"/patches/fix-6.12/*.patch | sort -u) Makefile "$tmp/t612") &&
	ln -s "$_src/scripts" "$tmp/t612/scripts"
	ls patches/fix-6.12/*.patch | head -n "$1" | while read -r _f; do patch -s -p1 -d "$tmp/t612" <"$_f" || return; done
}
fix() { FIX=${1-6.12} OUT=$tmp/fix KDIR=$tmp/t612 scripts/series; }
left() { with "$1" && fix && [ "$(ls "$tmp/fix" | wc -l)" -eq "$2" ]; }
if with 0 && sh -c '. scripts/overlay.sh; TOP=$PWD; fix_has "$1" 6.12 6' - "$tmp/t612"; then
	TAP_N=$((TAP_N + 1))
	echo "ok $TAP_N - the fix for a tree that has some of it # SKIP the archive's 6.12 has the fix"
else
	check "the fix for a tree that has some of it: the rest" left 5 2
	check "... by another version's name" sh -c "rm -rf '$tmp/fix'; FIX=6.18 OUT='$tmp/fix' KDIR='$tmp/t612' scripts/series"
	git -C "$tmp/t612" init -q && git -C "$tmp/t612" -c user.name=t -c user.email=t@e commit -q --allow-empty -m x && git -C "$tmp/t612" tag d1a3c2162334
	check "... with the whole id, as stable@ wants it" sh -c "rm -rf '$tmp/fix'; FIX=6.12 OUT='$tmp/fix' KDIR='$tmp/t612' scripts/series && grep -E '^commit [0-9a-f]{40} upstream\.$' '$tmp'/fix/*-Forcefully-*"
	with 2; sed -i 's/__kvm_vcpu_kick\|kvm_vcpu_kick/&_x/' "$tmp/t612/virt/kvm/kvm_main.c"
	check "... that it does not apply to: what it has, what it lacks, where" one_line "has of the fix: 1 .*, 2 .*, and lacks 3 4 5 6 7\. .*0003-.* does not apply to virt/kvm/kvm_main.c" fix
	with 7
	check "... that has all of it" refuses "has all of the fix" fix
	with 0; sed -i s/snp_guest_vmsa_gpa/x/ "$tmp/t612/arch/x86/kvm/svm/svm.h"
	check "... that is too old" refuses "lacks a GPA of its own" fix
fi
check "a fix for 7.1 needs the tree" refuses "name the tree, KDIR=" env FIX=7.1 OUT="$tmp/fix2" scripts/series
check "unknown fix" refuses "no series for FIX=5.10; there are: 6.12 7.3" env FIX=5.10 OUT="$tmp/fix2" scripts/series
check "unknown bug" refuses "no bug 'none'; there are: 00-canary " env BUG=none scripts/pair
check "a pair of what?" refuses "BUG= is missing: all, or some of 00-canary " env BUG= scripts/pair
check "mutants: SILENT is no number" refuses "SILENT=x is no number" env SILENT=x scripts/mutants
check "LOOPS is no number" refuses "LOOPS=x is no number" env LOOPS=x scripts/run
check "TIMEOUT is no number" refuses "TIMEOUT=1h is no number" env TIMEOUT=1h scripts/run
check "CONFIG=trace is known" env CONFIG=trace scripts/build-kernel --check 7.3
check "unknown CONFIG" refuses "CONFIG is 'debug', 'rt', 'trace' or a file" env CONFIG=nosuch scripts/run
check "two CONFIGs" refuses "KERNEL=7.3-rt is CONFIG=rt" env KERNEL=7.3-rt CONFIG=debug scripts/run
check "PA_REDUCTION that no processor has" refuses "PA_REDUCTION is 0, 5 or 6 bits, not '7'" env PA_REDUCTION=7 scripts/run
for n in 0 00 510 1000 x; do
	check "SNP_ASIDS=$n" refuses "SNP_ASIDS=$n is no number from 1 to 509" env SNP_ASIDS=$n scripts/run
done
check "STALE=no" refuses "STALE is off, detect or use, not 'no'" env STALE=no scripts/run
check "SNP_CPU that is not sold" refuses "SNP_CPU is milan, genoa or turin, not 'rome'" env SNP_CPU=rome scripts/run
check "SNP_CPU and PA_REDUCTION" refuses "SNP_CPU has a PA_REDUCTION of its own" env SNP_CPU=milan PA_REDUCTION=5 scripts/run
check "a FAULT that is none" refuses "FAULT is some of contention=N" env FAULT=chance=3 scripts/run
check "a FAULT of the firmware that is none" refuses "fail is CMD:STATUS@N" env FAULT=fail=c7:3@x scripts/run
check "a FAULT without a number" refuses "FAULT=contention=x: see" env FAULT=contention=x scripts/run
check "RMP_BASE is no number" refuses "RMP_BASE=1G is no number" env RMP_BASE=1G scripts/run
check "X86_SNP_SHUTDOWN is neither on nor off" refuses "X86_SNP_SHUTDOWN is on or off, not '1'" env X86_SNP_SHUTDOWN=1 scripts/run
check "MISC_SEV_ES is no number" refuses "MISC_SEV_ES=-1 is no number" env MISC_SEV_ES=-1 scripts/run
check "SMP is no number" refuses "SMP=all is no number from 1 to 64" env SMP=all scripts/run
for wrong in SILENCE=abc SILENCE=0 LOOPS=0 MEM=x SMP=99999999999999999999 MEM=99999999999999999999 JOBS=0; do
	check "$wrong" one_line "^run: ${wrong%%=*}=[0-9a-z]* is no number from" env "$wrong" scripts/run
done
for s in "explore BUDGET" "explore LIMIT" "explore PARALLEL" "soak RUNS" "soak BATCH" "mutants GIVE_UP" \
		"search BOUND" "kills PARALLEL" "mutants-generated MINUTES" "livelock SHIFT" "rates SECONDS_EACH"; do
	check "$s is no number" one_line "^${s% *}: ${s#* }=99999999999999999999 is no number from" \
		env $(case $s in kills*) echo RUNS=1 ;; esac) "${s#* }=99999999999999999999" "scripts/${s% *}"
done
check "kills: no machine at a time" one_line "^kills: PARALLEL=0 is no number" env RUNS=3 PARALLEL=0 scripts/kills
check "SHARD is no number" one_line "SHARD=99999999999999999999/2 is not i/n" env SHARD=99999999999999999999/2 scripts/matrix
for s in rates livelock matrix soak pair; do
	check "$s: OUT cannot be made" one_line "^$s: /proc/x.* cannot be written" env OUT=/proc/x BUG=00-canary scripts/$s
done
check "check: its logs have no place" one_line "^check: /proc/x/check cannot be written" env SNP_BUILD=/proc/x scripts/check none
check "SCHED: a seed that is none" one_line "SCHED=seed=x: seed is a number" env SCHED=seed=x scripts/run
check "SCHED: a mode that is none" one_line "SCHED=mode=fair: mode is fixed, random or pct" env SCHED=mode=fair scripts/run
check "a kernel that is built has its CONFIG" one_line "KERNEL=debian is built already: CONFIG=debug" env KERNEL=debian CONFIG=debug scripts/run
for wrong in SMP=0 SMP=65 MEM=0; do
	check "$wrong" refuses "${wrong%%=*}=[0-9]* is no number from" env "$wrong" scripts/run
done
# boots SMP : what it says of that before it boots
boots()
{
	mkdir -p "$tmp/stub"
	: >"$tmp/stub/qemu-system-x86_64"
	chmod +x "$tmp/stub/qemu-system-x86_64"
	SMP=$1 QUIET=1 vm/run --stock "$tmp/stub" "$tmp/stub" "$tmp/stub/none" "$tmp/stub/out" 2>&1 </dev/null
}
check "64 processors: that it takes minutes" sh -c "echo '$(boots 64)' | grep '^64 processors take minutes'"
check "... 8: not" [ -z "$(boots 8)" ]
check "SCHED of something else" refuses "is no list like seed=1,.*: there is no foo" env SCHED=seed=1,foo=1 scripts/run
check "APPEND of two lines" refuses "APPEND is one line" env APPEND="a
b" scripts/run
check "KDIR does not exist" refuses "KDIR=.*: no such folder" env KDIR="$tmp/no" scripts/run
check "KDIR is no kernel tree" refuses "KDIR=.* is no kernel source tree" env KDIR="$tmp" scripts/run
mkdir -p "$tmp/old/arch/x86/kvm" "$tmp/old/tools/testing/selftests/kvm/lib/x86"
touch "$tmp/old/Kbuild" "$tmp/old/tools/testing/selftests/kvm/lib/x86/sev.c"
printf 'VERSION = 6\nPATCHLEVEL = 1\n' >"$tmp/old/Makefile"
check "KDIR is too old for SNP selftests" refuses "know no SEV-SNP .6.16 or newer" env KDIR="$tmp/old" scripts/run
mkdir -p "$tmp/old/arch/x86/kvm/svm"
echo snp_vm_launch >"$tmp/old/tools/testing/selftests/kvm/lib/x86/sev.c"
check "unknown test of KDIR: before anything is built" refuses "no test 'sev_none' in the kvm target of KDIR" env KDIR="$tmp/old" TESTS=sev_none scripts/run
check "QEMU is none that is known" refuses "QEMU is 10.2 or 10.0, not '9.2'" env QEMU=9.2 scripts/build-qemu
check "... to fetch" refuses "QEMU is 10.2 or 10.0, not '9.2'" scripts/fetch qemu 9.2
check "QEMU_SRC is no QEMU" refuses "QEMU_SRC=.* is no QEMU source tree" env QEMU_SRC="$tmp" scripts/build-qemu
for wrong in CPUS=abc CPUS=0 CPUS=-1 MEM_GUEST=1G CONVERT=yes KEXEC=yes; do
	check "linux-guest: $wrong" refuses "^linux-guest: $wrong is n" env "$wrong" scripts/linux-guest
done
check "linux-guest: unknown KERNEL" refuses "KERNEL=9.9: not 7.3, 7.2, 6.12," env KERNEL=9.9 scripts/linux-guest
check "linux-guest: the BSP is no AP" refuses "CPUS=1 is no number from 2 to" env CPUS=1 CONVERT=raw scripts/linux-guest
check "linux-guest: one subject at a time" refuses "CONVERT=raw is not for KEXEC=1" env CONVERT=raw KEXEC=1 scripts/linux-guest
check "report-mail: nobody is no sender" refuses "'me' is no sender" scripts/report-mail kick-does-not-wait me
check "report-mail: the patch is in it, signed off by its sender" sh -c '
	scripts/report-mail kick-does-not-wait "A B <a@b.net>" | sed "1,/^-- >8 --/d" >"$1/mail.patch" &&
	grep -q "^Signed-off-by: A B <a@b.net>" "$1/mail.patch" && ! grep -q example.org "$1/mail.patch" &&
	sed -n "/^diff/,\$p" "$1/mail.patch" >"$1/a" && sed -n "/^diff/,\$p" patches/fix-7.3/0002-*.patch >"$1/b" &&
	cmp "$1/a" "$1/b"' sh "$tmp"
# A terminal sees how far a long step has come, a log where it writes to.
mkdir -p "$tmp/scripts"
cat >"$tmp/scripts/long" <<'SH'
. scripts/lib.sh
long "a long step" 9/40 "$1/long.log" sh -c 'for i in 1 2 3; do echo "  CC x$i.o"; sleep 1; done'
SH
check "a long step: steps of how many, on a terminal" sh -c 'SNP_CACHE=$1/long script -qec "sh $1/scripts/long $1" /dev/null | tr "\r" "\n" |
	grep -q "a long step: [0-9]* of about 9 s, step [123] of about 40"' - "$tmp"
check "... where it writes to, and how long it took" sh -c 'SNP_CACHE=$1/long sh "$1/scripts/long" "$1" 2>&1 |
	grep -c "a long step: started, .*; log: $1/long.log$\|a long step: done in [0-9]* s" | grep -qx 2' - "$tmp"
check "linux-guest: the guest does not clear the terminal" sh -c '
	eval "$(grep "^plain()" scripts/linux-guest)"
	[ "$(printf "a\033[2Jb\033[1;31mc" | plain)" = "a(clears the screen)bc" ]'
check "unknown folder of tests" refuses "no tests/none; there are:" scripts/check none
check "the forwarder has one target" sh -c '
	! make -C tools/testing/selftests TARGETS=net 2>'"$tmp/err"' && grep -q "only TARGETS=kvm" '"$tmp/err"

# A disk that is full, by a df that says so.
mkdir "$tmp/bin"
printf '#!/bin/sh\nprintf "h\\nx 0 0 10 0 /\\n"\n' >"$tmp/bin/df"
chmod +x "$tmp/bin/df"
second_cache
check "no disk space" refuses "10 MiB free, .* are needed" \
	env PATH="$tmp/bin:$PATH" SNP_CACHE="$tmp/cache" scripts/build-selftests
check "... nothing half-written" sh -c "! ls '$tmp/cache/selftests' 2>/dev/null | grep ."
check "... said before the archive is asked" refuses "10 MiB free, .* are needed" \
	env PATH="$tmp/bin:$PATH" SNP_CACHE="$tmp/full" scripts/fetch kernel 7.3

for s in run fetch packages clean build-qemu; do
	check "$s: a cache that cannot be made" one_line "^$s: the cache cannot be written, /proc/snp" env -u SNP_CACHE XDG_CACHE_HOME=/proc scripts/$s x
	check "$s: a cache with half a path" one_line "^$s: the cache needs a whole path, not rel/" env -u SNP_CACHE XDG_CACHE_HOME=rel scripts/$s x
	check "$s: no HOME" one_line "^$s: HOME is not set" env -u HOME -u XDG_CACHE_HOME -u SNP_CACHE scripts/$s x
done
check "... and nothing is left behind" sh -c "! ls -d rel 2>/dev/null"

# An archive that does not answer, one that is not named at all.
mkdir -p "$tmp/apt/sources.list.d" "$tmp/etc-none"
echo 'deb http://127.0.0.1:9/debian bookworm main' >"$tmp/apt/sources.list"
check "no network" refuses "archive cannot be reached; check the network, or give KDIR= and QEMU_SRC=" \
	env SNP_APT_ETC="$tmp/apt" SNP_CACHE="$tmp/empty" scripts/fetch kernel 7.3
check "no Debian archive" refuses "no Debian archive in the machine's apt sources" \
	env SNP_APT_ETC="$tmp/etc-none" SNP_CACHE="$tmp/empty" scripts/fetch kernel 7.3

# The machine's sources, in both formats; third parties are not taken for Debian.
archive() { SNP_APT_ETC=$1 SNP_CACHE=$tmp/apt-cache scripts/apt-private config >/dev/null && cat "$tmp/apt-cache/apt/sources.list"; }
mkdir -p "$tmp/one" "$tmp/two/sources.list.d"
cat >"$tmp/one/sources.list" <<'END'
# deb http://commented.example/debian trixie main
deb [arch=amd64] https://third.example/apt stable-x main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian trixie main contrib
deb http://sec.example/debian-security trixie-security main
END
cat >"$tmp/two/sources.list.d/debian.sources" <<'END'
Types: deb deb-src
URIs: http://off.example/debian
Suites: bookworm
Enabled: no

Types: deb
# a comment between fields
URIs: http://mirror2.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://sec2.example/debian-security
Suites: bookworm-security
Components: main
END
check "sources.list is understood" sh -c "
	. /dev/null; SNP_APT_ETC='$tmp/one' SNP_CACHE='$tmp/ac' scripts/apt-private config &&
	grep -q 'http://mirror.example/debian trixie-backports main' '$tmp/ac/apt/sources.list' &&
	grep -q 'http://sec.example/debian-security trixie-security main' '$tmp/ac/apt/sources.list' &&
	! grep -q 'third\|commented' '$tmp/ac/apt/sources.list'"
check "*.sources is understood" sh -c "
	SNP_APT_ETC='$tmp/two' SNP_CACHE='$tmp/ac' scripts/apt-private config &&
	grep -q 'http://mirror2.example/debian trixie-backports main' '$tmp/ac/apt/sources.list' &&
	grep -q 'http://sec2.example/debian-security trixie-security main' '$tmp/ac/apt/sources.list' &&
	! grep -q 'off.example' '$tmp/ac/apt/sources.list'"

# Tests by name, and what is run of itself: not the lab's.
named()
{
	(
		. scripts/lib.sh
		. scripts/tests.sh
		printf 'kvm:%s\n' sev_smoke_test sev_snp_a sev_snp_lab_b sev_snp_c_stress >"$tmp/list"
		echo $(tests_ours "$tmp/list")
		for t in kvm:x86/sev_snp_a:b,c sev_snp_a kvm:a a_stress:b; do
			echo "$(test_program $t) $(test_args $t)"
		done
	) >"$tmp/names"
	printf '%s\n' "sev_snp_a sev_snp_c_stress" "sev_snp_a -t b -t c" "sev_snp_a " "a " "a_stress -m b" | diff - "$tmp/names"
}
check "tests by name" named

# What a matrix expects: nothing of a tree of the user's, whatever its name.
eval "$(sed -n '/^expected()/,/^}/p' scripts/matrix)"
expects()
{
	for _e in any:/home/me/7.3-proposed any:/home/me/6.12 any:linux-6.12-backport \
			PASS:7.3 FAIL:6.12-backport FAIL:debian-6.12 PASS:debian PASS:mutant/00-canary; do
		_got=$(expected "${_e#*:}" sev)
		[ "${_got%% *}" = "${_e%%:*}" ] || { echo "${_e#*:}: $_got"; return 1; }
	done
}
check "a matrix has no claim on a user's tree" expects

# What is missing on a machine that is no Debian, and on one where we may not
# install: tools named, or the exact command.
mkdir "$tmp/few"
for t in sh env dirname git cat grep sed id df mkdir cut head tr sort ldd uname; do
	ln -sf "$(command -v $t)" "$tmp/few/$t"
done
check "missing tools, no apt: named" refuses "missing here:.* ninja" env PATH="$tmp/few" scripts/packages
check "no nproc: mutants" one_line "no mutant 'none'" env PATH="$tmp/few" M=none scripts/mutants
check "no nproc: matrix" one_line "KERNEL=none: not 7.3," env PATH="$tmp/few" KERNELS=none scripts/matrix
ln -s /bin/true "$tmp/few/apt-get"
printf '#!/bin/sh\necho 1000\n' >"$tmp/few/idx"
chmod +x "$tmp/few/idx"; mv "$tmp/few/idx" "$tmp/few/id"
check "missing tools, no rights: the command" refuses "as root: apt-get install -y .* ninja-build" \
	env PATH="$tmp/few" scripts/packages

rm "$tmp/few/uname"
printf '#!/bin/sh\necho riscv64\n' >"$tmp/few/uname"
chmod +x "$tmp/few/uname"
check "another architecture" refuses "this machine is riscv64" env PATH="$tmp/few" scripts/packages

# A tarball in somebody else's repository, called by a make with its own variables.
mkdir -p "$tmp/outer/tarball/scripts" "$tmp/outer/with blank/scripts"
git init -q "$tmp/outer"
cp scripts/lib.sh "$tmp/outer/tarball/scripts/"
cat >"$tmp/outer/tarball/scripts/show" <<'END'
#!/bin/sh
. "$(dirname "$0")/lib.sh"
echo "$TOP:${MAKEFLAGS-}${MAKELEVEL-}${KBUILD_OUTPUT-}${ARCH-}${CROSS_COMPILE-}:"
command -v depmod
END
cat >"$tmp/outer/tarball/scripts/stopped" <<'END'
#!/bin/sh
. "$(dirname "$0")/lib.sh"
trap 'echo tidy' EXIT
kill -TERM $$
END
chmod +x "$tmp/outer/tarball/scripts/"*
cp "$tmp/outer/tarball/scripts/"* "$tmp/outer/with blank/scripts/"
show() { env MAKEFLAGS='-- M=14' MAKELEVEL=1 KBUILD_OUTPUT=/o ARCH=um CROSS_COMPILE=no- PATH=/usr/bin:/bin "$tmp/outer/tarball/scripts/show"; }
check "the clone is where its scripts are" sh -c "'$tmp/outer/tarball/scripts/show' | grep -qx '$tmp/outer/tarball::'"
check "what make was given goes no further, and a user finds depmod" sh -c '
	[ "$(printf "%s\n" "$1" | head -n 1)" = "$2::" ] && printf "%s\n" "$1" | grep "/depmod$"' - "$(show)" "$tmp/outer/tarball"
check "a blank in the clone's path" refuses "must not contain blanks or colons" "$tmp/outer/with blank/scripts/show"
check "a colon in the cache's path" refuses "must not contain blanks or colons" env SNP_CACHE="$tmp/a:b" scripts/paths
stopped() { _rc=0; _said=$("$tmp/outer/tarball/scripts/stopped") || _rc=$?; [ "$_rc $_said" = "130 tidy" ]; }
check "a script that is stopped tidies up" stopped

# A builder that is killed leaves nothing that the next one stumbles over.
recovers()
{
	second_cache
	# What a compiler leaves behind goes away with $tmp.
	TMPDIR=$tmp SNP_CACHE=$tmp/cache setsid scripts/build-selftests >"$tmp/log" 2>&1 &
	_p=$!
	_i=0
	while [ "$_i" -lt 120 ] && ! grep -q 'build the selftests: started' "$tmp/log"; do sleep 0.5; _i=$((_i + 1)); done
	sleep 2
	env kill -9 -- "-$_p"
	wait "$_p" 2>/dev/null
	! ls "$tmp/cache/selftests" 2>/dev/null | grep -v 'tmp$' | grep . || { echo "a result of a killed build"; return 1; }
	_dir=$(SNP_CACHE=$tmp/cache scripts/build-selftests 2>"$tmp/log") || { cat "$tmp/log"; return 1; }
	[ -x "$_dir/run_kselftest.sh" ] && [ -x "$_dir/kvm/sev_smoke_test" ]
}
check "a killed build: the next one succeeds" recovers

waits()
{
	second_cache
	mkdir -p "$tmp/cache/lock"
	# The name of the lock is the builder's business: hold every one it may take.
	SNP_CACHE=$tmp/cache scripts/build-selftests >"$tmp/log1" 2>&1 &
	_a=$!
	sleep 1
	SNP_CACHE=$tmp/cache scripts/build-selftests >"$tmp/log2" 2>&1 &
	_b=$!
	wait $_a && wait $_b || { cat "$tmp/log1" "$tmp/log2"; return 1; }
	cat "$tmp/log2"
	grep -q '^waiting for .*, at work on ' "$tmp/log2" && [ "$(tail -n 1 "$tmp/log1")" = "$(tail -n 1 "$tmp/log2")" ]
}
check "two builds at once: the second says so and waits" waits

done_testing
