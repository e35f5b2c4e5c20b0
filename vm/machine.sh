# SPDX-License-Identifier: GPL-2.0-only
#
# The machine under test, in one place.  Sourced by vm/run and by whoever else
# starts it.
#
# machine_args QEMU_DIR on|off : QEMU's arguments, one per line, for the machine
# with the SNP host (on) or the same machine on stock QEMU (off).  Four CPUs in
# two sockets on two NUMA nodes, so that a vCPU can run far from its memory.
# SCHED= (options of emulator/accel/tcg/tcg-sched.c, and shift= of -icount) makes
# it a machine whose every step follows from its inputs: one thread, a clock that
# counts instructions, nothing random.
machine_args()
{
	# Linux does not look for SNP where the hypervisor bit is set.
	_cpu=EPYC-Genoa,+svm,+npt,-hypervisor,phys-bits=48
	if [ "$2" = on ]; then
		# What KVM demands before it enables SEV, and stock TCG lacks.
		_cpu=$_cpu,+lbrv,+nrip-save,+flushbyasid,+decodeassists
		printf '%s\n' -object x-snp-host,id=snp0 -device amd-psp
	fi
	_threads=multi
	if [ -n "${SCHED-}" ]; then
		_threads=single
		_shift=$(printf '%s\n' "$SCHED" | tr , '\n' | sed -n 's/^shift=//p')
		_sched=$(printf '%s\n' "$SCHED" | tr , '\n' | sed '/^shift=/d; /^$/d; s/^/,/' | tr -d '\n')
		printf '%s\n' -object "x-sched,id=sched0$_sched" \
			-icount "shift=${_shift:-3},sleep=off" \
			-rtc base=2026-01-01,clock=vm -seed 1
	fi
	cat <<-END
	-cpu
	$_cpu
	-L
	$1
	-machine
	q35,kernel-irqchip=split,vmport=off,usb=off
	-accel
	tcg,thread=$_threads
	-smp
	${SMP:-4}$([ "${SMP:-4}" != 4 ] || echo ,sockets=2,cores=2)
	-m
	${MEM:-2048}
	-device
	amd-iommu,intremap=on,xtsup=on
	-device
	edu
	-nodefaults
	-no-user-config
	-display
	none
	-no-reboot
	END
	case ${MEM:-2048}/${SMP:-4} in
	2048/4)	cat <<-END
		-object
		memory-backend-ram,id=ram0,size=1G
		-object
		memory-backend-ram,id=ram1,size=1G
		-numa
		node,nodeid=0,cpus=0-1,memdev=ram0
		-numa
		node,nodeid=1,cpus=2-3,memdev=ram1
		END
		;;
	esac
}

# Linux measures its TSC by a loop that a busy machine disturbs: once it took a
# twelfth of the rate for true, and all time limits came twelve times as early.
# The emulated TSC is this machine's, so its rate can be told; not where it counts
# instructions.
machine_tsc()
{
	[ -z "${SCHED-}" ] || return 0
	_tsc=$CACHE/tools/tsc_khz-$(sha <"$TOP/vm/tsc_khz.c")
	[ -x "$_tsc" ] || {
		mkdir -p "$CACHE/tools"
		gcc -O2 -o "$_tsc.$$" "$TOP/vm/tsc_khz.c" && mv "$_tsc.$$" "$_tsc" ||
			die "vm/tsc_khz.c does not build"
	}
	echo "tsc_early_khz=$("$_tsc")"
}

# What the kernel is told.  An oops ends the run at once, with its text as the
# last thing on the console; -no-reboot then ends QEMU.  The watchdog's NMI is a
# panic too, which shows every CPU and every blocked task.  The CPUs share one
# clock, but TCG cannot say so in CPUID: without tsc=reliable KVM has no master
# clock, and kicks all vCPUs when it loads one, which no SNP host does.
# The timer check counts ticks against a loop, and fails on a busy machine.
MACHINE_CMDLINE="console=ttyS0,115200 earlyprintk=ttyS0,115200 ignore_loglevel \
printk.devkmsg=on oops=panic panic=-1 unknown_nmi_panic panic_print=0xc0 tsc=reliable \
no_timer_check"
