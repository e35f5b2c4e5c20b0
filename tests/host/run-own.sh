#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What a user brings along runs on the emulated host (docs/own.md): a program of this
# machine with its libraries, a folder, a disk; a kernel as Debian packages it.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh

own=$LOGS/own-root
rm -rf "$own" "$LOGS/own.img"; mkdir -p "$own/lib" "$own/opt/a b"
printf '#!/bin/sh\nxz --version | grep liblzma && cat "/opt/a b/file" /lib/file\nexit $1\n' >"$own/opt/try"
chmod +x "$own/opt/try"
echo from-a-folder >"$own/opt/a b/file"
echo from-lib >"$own/lib/file"
said() { tr -d '\r' <"$LOGS/$1/ktap.log" | grep -q "$2" || { cat "$LOGS/$1/ktap.log"; return 1; }; }

check "PROG: a program of this machine with its libraries" passes own-prog PROG="xz --version"
check "... says what it does here" said own-prog '^# liblzma '
mkdir -p "$own/usr/bin"; cp "$(command -v xz)" "$own/usr/bin/xz"
ldd "$own/usr/bin/xz" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | xargs -I{} cp -L {} "$own/lib/"
check "ROOT: a folder, and a program in it" passes own-root ROOT="$own" PROG="sh /opt/try 0"
check "... with blanks in names, and what goes to /lib" sh -c ". tests/tap.sh; tr -d '\r' <'$LOGS/own-root/ktap.log' | tr '\n' ' ' | grep -q 'from-a-folder # from-lib'"
check "a program that fails: FAIL" sh -c "! OUT='$LOGS/own-fail' ROOT='$own' PROG='sh /opt/try 3' scripts/run >'$LOGS/own-fail.out' 2>&1 && grep -q '^cause: .*exit=3' '$LOGS/own-fail.out'"
busybox=$(scripts/fetch deb busybox-static) || exit 2
mkdir -p "$own/bin" "$own/dev" "$own/proc" "$own/sys" "$own/kselftest"
cp "$busybox"/*bin/busybox "$busybox"/usr/*bin/busybox "$own/bin/" 2>/dev/null
for p in sh cat grep ls; do ln -sf busybox "$own/bin/$p"; done
truncate -s 64M "$LOGS/own.img" && /sbin/mkfs.ext4 -q -d "$own" "$LOGS/own.img"
check "DISK: a file system of the user's, Debian's kernel" passes own-disk DISK="$LOGS/own.img" \
	PROG="cat '/opt/a b/file' && ls /dev/sev /kselftest/run_kselftest.sh"
check "... the program ran in it" said own-disk 'from-a-folder'
check "a disk with nothing on it: wrong input" sh -c "truncate -s 1M '$LOGS/own.img'; DISK='$LOGS/own.img' PROG=true OUT='$LOGS/own-none' scripts/run >'$LOGS/own-none.out' 2>&1; [ \$? = 2 ] && grep 'no file system with /bin/sh' '$LOGS/own-none.out'"
if [ -n "${CHECK_ALL-}" ]; then
	scripts/fetch kernel-binary rt >/dev/null && scripts/fetch kernel-binary cloud >/dev/null
	deb=$(ls "${SNP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/snp-vmsa-selftests}"/download/linux-image-7*-rt-amd64_*.deb | tail -n 1)
	check "KERNEL=.deb, PREEMPT_RT: PASS" passes own-deb KERNEL="$deb" TESTS=sev_smoke_test
	check "debian-cloud has no ccp: SKIP, and says so" sh -c "! OUT='$LOGS/own-cloud' KERNEL=debian-cloud TESTS=sev_snp_launch_test scripts/run >'$LOGS/own-cloud.out' 2>&1 && grep '^cause: .*does not mention SEV' '$LOGS/own-cloud.out'"
fi
rm -rf "$own" "$LOGS/own.img"
done_testing
