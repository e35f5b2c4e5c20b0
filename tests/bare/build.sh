# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds and runs a bare-metal image.  Sourced.

bare=${BARE:-$(cd "$(dirname "$0")/../bare" && pwd)} || exit 1

# What a sanitizer finds (make check SANITIZE=address) ends QEMU with an error.  At
# its end QEMU does not free what it still uses.
ASAN_OPTIONS=${ASAN_OPTIONS-detect_leaks=0}
UBSAN_OPTIONS=${UBSAN_OPTIONS-halt_on_error=1:print_stacktrace=1}
export ASAN_OPTIONS UBSAN_OPTIONS

# bare_build FOLDER NAME SOURCE... : FOLDER/NAME.bin, from these and ours
bare_build()
{
	_folder=$1 _name=$2
	shift 2
	${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-pic \
		-fno-stack-protector -fno-asynchronous-unwind-tables \
		-fcf-protection=none -mno-red-zone -mgeneral-regs-only -m64 \
		-nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack \
		-Wl,-z,max-page-size=4096,--no-warn-rwx-segments \
		-I"$_folder" -I"$bare" -I"${here-.}" ${BARE_CFLAGS-} -T "$bare/image.lds" -o "$_folder/$_name.elf" \
		"$bare/start.S" "$bare"/*.c "$@" &&
	${OBJCOPY:-objcopy} -O binary -R .bss "$_folder/$_name.elf" "$_folder/$_name.bin"
}

# bare_qemu : the emulator
bare_qemu()
{
	_qemu=${QEMU_DIR:-$("$bare/../../scripts/build-qemu")} || return 1
	[ -x "$_qemu/qemu-system-x86_64" ] || return 1
	echo "$_qemu/qemu-system-x86_64"
}

# bare_start : $qemu, and a folder $build that goes with the script
bare_start()
{
	qemu=$(bare_qemu) || { echo "Bail out! no QEMU"; exit 1; }
	build=$(mktemp -d) || exit 1
	trap 'rm -rf "$build"' EXIT
	trap 'exit 1' HUP INT TERM
}

# bare_plain SECONDS QEMU IMAGE OUTPUT ARGUMENT... : what the image says on its
# serial port goes to OUTPUT.  QEMU_ARGS= are more arguments.
bare_plain()
{
	_limit=$1 _qemu=$2 _image=$3 _output=$4
	shift 4
	: >"$_output"
	# shellcheck disable=SC2086 # QEMU_ARGS is words
	timeout -k 5 "$_limit" "$_qemu" \
		-machine q35,kernel-irqchip=split,vmport=off,usb=off \
		-accel tcg,thread=multi -m 128 -nodefaults -no-user-config \
		-display none -cpu \
		EPYC-Genoa,check=off,+svm,+npt,-hypervisor,phys-bits=48,+lbrv,+nrip-save,+flushbyasid,+decodeassists \
		-global apic.vapic=off -no-reboot -device amd-iommu -device edu \
		-bios "$_image" -serial "file:$_output" "$@" ${QEMU_ARGS-} </dev/null
}

# bare_run SECONDS QEMU IMAGE OUTPUT ARGUMENT... : the same with an SNP host; BARE_SNP=
# are more properties of it
bare_run()
{
	bare_plain "$@" -object "x-snp-host,id=snp0,pa-reduction=5${BARE_SNP-}"
}
