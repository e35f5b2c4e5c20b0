# SPDX-License-Identifier: GPL-2.0-only
#
# The machine under test, in one place.  Sourced, after scripts/lib.sh, by vm/run,
# by whoever else starts it, and by who wants to know whether it can be started.
#
case ${PA_REDUCTION-} in
''|0|5|6) ;;
*)	die "PA_REDUCTION is 0, 5 or 6 bits, not '$PA_REDUCTION'" ;;
esac
numbers 1 509 SNP_ASIDS
case ${SNP_CPU-} in
''|milan|genoa|turin) ;;
*)	die "SNP_CPU is milan, genoa or turin, not '$SNP_CPU'" ;;
esac
[ -z "${SNP_CPU-}" ] || [ -z "${PA_REDUCTION-}" ] || die "SNP_CPU has a PA_REDUCTION of its own"
for _f in ${FAULT-}; do
	case $_f in
	contention=*[!0-9]*|contention=|seed=*[!0-9]*|seed=|delay=*[!0-9]*|delay=|delay=0?*)
		die "FAULT=$_f: see emulator/README.md" ;;
	contention=*|seed=*|delay=*) ;;
	fail=*)	printf '%s\n' "+${_f#*=}" | grep -qE '^(\+0*[0-7]?[0-9a-fA-F]{1,2}:(hang|0*[0-9a-fA-F]{1,4})(@[1-9][0-9]*)?)+$' ||
			die "FAULT=$_f: fail is CMD:STATUS@N or CMD:hang@N, in hexadecimal but for N; more of them after a +" ;;
	*)	die "FAULT is some of contention=N, seed=N, fail=CMD:STATUS@N+..., delay=N, not '$_f'" ;;
	esac
done
numbers 0 $MANY RMP_BASE
case ${STALE-} in
''|off|detect|use) ;;
*)	die "STALE is off, detect or use, not '$STALE'" ;;
esac
case ${X86_SNP_SHUTDOWN-} in
''|on|off) ;;
*)	die "X86_SNP_SHUTDOWN is on or off, not '$X86_SNP_SHUTDOWN'" ;;
esac
numbers 1 64 SMP
numbers 64 $MANY MEM
case ${APPEND-} in
*'
'*)	die "APPEND is one line for the kernel's command line" ;;
esac

# sched_json A=B,C=D... : SCHED= as properties of x-sched, in JSON: points=a+b (all, none)
# and symbols=HEX-HEX+HEX are lists
sched_json()
{
	printf '%s\n' "$1" | tr , '\n' | while IFS='=' read -r _k _v; do
		case $_k in
		''|shift) ;;
		points)	[ "$_v" != all ] || _v=rmpupdate+vmrun+vmexit+ipi+tlb+arrival+symbol
			[ "$_v" != none ] || _v=
			printf ',"points":[%s]' "$(printf '%s\n' "$_v" | tr + '\n' | sed '/^$/d; s/.*/"&"/' | paste -s -d , -)" ;;
		symbols) printf ',"symbols":[%s]' "$(printf '%s\n' "$_v" | tr + '\n' | while IFS=- read -r _a _b; do
				printf '{"first":%u' "0x$_a"
				[ -z "$_b" ] || printf ',"end":%u' "0x$_b"
				echo '}'
			done | paste -s -d , -)" ;;
		races)	printf ',"races":%s' "$([ "$_v" != on ] && echo false || echo true)" ;;
		*)	case $_v in
			*[!0-9]*|'')	printf ',"%s":"%s"' "$_k" "$_v" ;;
			*)		printf ',"%s":%s' "$_k" "$_v" ;;
			esac ;;
		esac
	done | sed 's/^,//'
}

# psp_json CMD:STATUS@N+CMD:hang@N... : that as amd-psp's list of faults
psp_json()
{
	printf '%s\n' "$1" | tr + '\n' | tr :@ '  ' | while read -r _cmd _status _nth; do
		[ "$_status" = hang ] && _status= || _status=$(printf ',"status":%u' "0x$_status")
		printf '{"command":%u%s,"nth":%u}\n' "0x$_cmd" "$_status" "${_nth:-1}"
	done | paste -s -d , -
}

# machine_args QEMU_DIR on|off : QEMU's arguments, one per line, for the machine
# with the SNP host (on) or the same machine on stock QEMU (off).  Four CPUs in
# two sockets on two NUMA nodes, so that a vCPU can run far from its memory.
# SCHED= (options of emulator/accel/tcg/tcg-sched.c, and shift= of -icount) makes
# it a machine whose every step follows from its inputs: one thread, a clock that
# counts instructions, nothing random.
# SNP_CPU=milan, genoa or turin is a processor as sold: its widths of addresses, number of
# ASIDs and the SME bit.  A turin's RMP is in segments, of 1 GB, so that there is more than one.
# FAULT="contention=N seed=N fail=CMD:STATUS@N+... delay=N" is what seldom happens: see
# emulator/README.md.
# PA_REDUCTION=5 is the physical address width of a Zen 3 (48 bits, 5 of them for
# the encryption), 6 that of a Zen 4 (52 and 6).  SNP_ASIDS= is how many SEV-ES and
# SNP guests there can be at a time.  RMP_BASE= is where the RMP begins, in MiB.
# STALE=use has the processor use translations that KVM forgot to flush; off, not
# look for them.
# X86_SNP_SHUTDOWN=on is firmware that takes SNP_EN back when SNP is shut down.
machine_args()
{
	# Linux does not look for SNP where the hypervisor bit is set.
	_cpu=EPYC-Genoa _bits=48 _pa=${PA_REDUCTION-} _snp='' _psp=''
	[ "${PA_REDUCTION:-0}" != 6 ] || [ "$2" != on ] || _bits=52
	case ${SNP_CPU-} in
	milan)	_cpu=EPYC-Milan _pa=5 _snp=,sme=on,asids=509 ;;
	genoa)	_bits=52 _pa=6 _snp=,sme=on,asids=1006 ;;
	# Zen 5, by its numbers: not each QEMU has a model of it.
	turin)	_cpu=EPYC-Genoa,family=26,model=2,stepping=1 _bits=52 _pa=6
		_snp=,sme=on,asids=1006,rmp-segment=30 ;;
	esac
	for _f in ${FAULT-}; do
		case $_f in
		contention=*|seed=*)	_snp=$_snp,$_f ;;
		delay=*)		_psp="$_psp,\"delay\":${_f#*=}" ;;
		fail=*)			_psp="$_psp,\"fail\":[$(psp_json "${_f#*=}")]" ;;
		esac
	done
	_cpu=$_cpu,+svm,+npt,-hypervisor
	if [ "$2" = on ]; then
		# What KVM demands before it enables SEV, and stock TCG lacks.
		_cpu=$_cpu,+lbrv,+nrip-save,+flushbyasid,+decodeassists
		printf '%s\n' -object "x-snp-host,id=snp0${_pa:+,pa-reduction=$_pa}$_snp${SNP_ASIDS:+,snp-asids=$SNP_ASIDS}${RMP_BASE:+,rmp-base=${RMP_BASE}M}${STALE:+,stale=$STALE}" \
			-device "{\"driver\":\"amd-psp\",\"x86-snp-shutdown\":$([ "${X86_SNP_SHUTDOWN-}" = on ] && echo true || echo false)$_psp}"
	fi
	_cpu=$_cpu,phys-bits=$_bits
	_threads=multi
	if [ -n "${SCHED-}" ]; then
		_threads=single
		_shift=$(printf '%s\n' "$SCHED" | tr , '\n' | sed -n 's/^shift=//p')
		_sched=$(sched_json "$SCHED")
		printf '%s\n' -object "{\"qom-type\":\"x-sched\",\"id\":\"sched0\"${_sched:+,$_sched}}" \
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
# clock, but Linux holds it against others, which are late on a busy machine: without
# tsc=reliable it may come to distrust it, KVM then has no master clock, and kicks all
# vCPUs when it loads one, which no SNP host does.
# The timer check counts ticks against a loop, and fails on a busy machine.
# With 5-level paging KASAN calls a valid access wild if an interrupt comes while the boot
# CPU is identified (https://lkml.iu.edu/hypermail/linux/kernel/2606.1/11911.html), and
# reports nothing after that: CONFIG=debug goes without.
# APPEND= comes after all of these, and so overrules.
MACHINE_CMDLINE="console=ttyS0,115200 earlyprintk=ttyS0,115200 ignore_loglevel \
printk.devkmsg=on oops=panic panic=-1 unknown_nmi_panic panic_print=0xc0 tsc=reliable \
no_timer_check"
[ "${CONFIG-}" != debug ] || MACHINE_CMDLINE="$MACHINE_CMDLINE no5lvl"
MACHINE_CMDLINE="$MACHINE_CMDLINE${APPEND:+ $APPEND}"

# machine_key : a hash of all these settings, for the keys of results
machine_key() { { machine_args / on; echo "$MACHINE_CMDLINE ${STOCK-} ${MISC_SEV_ES-}"; } | sha; }
