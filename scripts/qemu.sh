# SPDX-License-Identifier: GPL-2.0-only
#
# QEMU's source tree and what emulator/ makes of it.  Sourced after lib.sh and overlay.sh.

# qemu_known RELEASE : die if it is not one of them
qemu_known()
{
	printf '%s\n' $QEMU_KNOWN | grep -qxF "$1" || die "QEMU is $(printf %s "$QEMU_KNOWN" | sed 's/ / or /g'), not '$1'"
}

# For the device set that its user names in front: --with-devices-x86_64=
# shellcheck disable=SC2034 # for who includes this
QEMU_CONFIGURE="--target-list=x86_64-softmmu --without-default-features
	--without-default-devices --enable-system --enable-tcg --enable-trace-backends=log
	--disable-fdt --disable-download --disable-install-blobs
	--disable-docs --disable-tools --disable-werror --disable-debug-info"

# The objects that the stack changes, and most that include what it changes
QEMU_OURS="target_i386|hw_i386|hw_intc_apic|hw_misc_(amd|snp)|hw_cxl_cxl-host|accel_tcg|stubs_(tcg|snp)|system_physmem|tcg_tcg\.c"

# qemu_tree PRISTINE TREE : a copy to build in.  Debian's source has no firmware blobs, and
# QEMU's build description insists on files that nothing here builds or uses.
qemu_tree()
{
	tree_copy "$1" "$2"
	{
		sed -n "s/^ *'\\(edk2-.*\\.fd\\)',/\\1.bz2/p" "$2/pc-bios/meson.build"
		sed -n "s/^ *'\\(.*\\.dtb\\)',/dtb\\/\\1/p" "$2/pc-bios/dtb/meson.build" 2>/dev/null
	} | while read -r _f; do
		[ -e "$2/pc-bios/$_f" ] || : >"$2/pc-bios/$_f"
	done
}

# qemu_meson PRISTINE : QEMU wants a newer meson than Debian 12 has.  It and what QEMU's own
# setup script imports are Python modules, so unpacked is installed.  Debian's source does not
# have them; a release of QEMU has.
qemu_meson()
{
	for _w in "$1"/python/wheels/meson-*.whl; do
		[ ! -e "$_w" ] || return 0
	done
	_modules=$("$TOP/scripts/fetch" deb meson python3-pycotap python3-distlib)
	PYTHONPATH=$_modules/usr/lib/python3/dist-packages
	PYTHONDONTWRITEBYTECODE=1
	export PYTHONPATH PYTHONDONTWRITEBYTECODE
}

# qemu_qtests BUILD : QEMU's own tests of x86 machines (tests/qtest) that this build can run:
# not those that want the default machine, or a disk or network card that we do not build.
qemu_qtests()
(
	cd "$1" || exit
	# What an installed QEMU finds
	mkdir -p qemu-bundle/usr/local/share/qemu
	cp "$("$TOP/scripts/fetch" deb seabios)/usr/share/seabios/bios-256k.bin" qemu-bundle/usr/local/share/qemu/
	_tests=$(ninja -t targets all | sed -n 's,^\(tests/qtest/[a-z0-9_-]*\): .*,\1,p' |
		grep -vE "/(migration|vmgenid|vmcoreinfo|rtc|erst|cdrom|qos|hd-geo|boot-order|device-plug)-test$")
	# shellcheck disable=SC2046,SC2086 # several
	nice -n 5 ninja -j "$JOBS" qemu-system-x86_64 $_tests &&
		pyvenv/bin/meson test --no-rebuild --timeout-multiplier 10 --print-errorlogs \
			$(printf '%s\n' $_tests | sed 's,.*/,qtest-x86_64/,')
)

# qemu_files : the files of emulator/, which is the current folder, that go into QEMU's tree
qemu_files()
{
	find . -mindepth 2 -type f ! -path './patches*' ! -name README.md ! -name '*~'
}

# qemu_fixes_dir EMULATOR : patches/qemu beside it, or ours
qemu_fixes_dir()
{
	[ -d "${1%/*}/patches/qemu" ] && printf '%s\n' "${1%/*}/patches/qemu" || printf '%s\n' "$TOP/patches/qemu"
}

# qemu_patches EMULATOR RELEASE : the patches for tree_sync().  The stack is for the newest
# release, and stands on patches/qemu.  For an older one, patches/qemu/RELEASE and then
# patches-RELEASE/0* bring what that release lacks; 9* come after all, and may change
# emulator/'s files.  A patch of the stack with a line "Only: RELEASE" is for that one.
qemu_patches()
{
	_fixes=$(qemu_fixes_dir "$1")
	for _p in "$_fixes/$2"/*.patch "$1/patches-$2"/0*.patch "$_fixes"/*.patch "$1"/patches/*.patch; do
		[ -r "$_p" ] || continue
		_only=$(patch_says Only "$_p")
		[ "${_only:-$2}" != "$2" ] || printf '%s\n' "$_p"
	done
	for _p in -- "$1/patches-$2"/9*.patch; do
		[ "$_p" != -- ] && [ ! -r "$_p" ] || printf '%s\n' "$_p"
	done
}
