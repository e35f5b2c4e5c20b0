# SPDX-License-Identifier: GPL-2.0-only
#
# Sourced by who runs many copies of one machine that has booted, see
# emulator/accel/tcg/tcg-fork.h.  Needs lib.sh and vm/machine.sh; uses the file
# descriptors 3 and 4 and the traps.

# snapshot_boot DIR LIMIT QEMU_DIR KERNEL_DIR INITRAMFS : boot, up to the first VMRUN,
# with logs in DIR.  With SCHED= that is a machine with schedule control.
# All is over after LIMIT seconds.
snapshot_boot()
{
	snap=$1 snap_limit=$2 snap_qemu=$3 snap_kernel=$4 snap_image=$5
	snap_cmdline="$MACHINE_CMDLINE $(machine_tsc)" snap_running=0
	rm -rf "$snap"
	mkdir -p "$snap"
	mkfifo "$snap/server.in" "$snap/server.out"
	exec 3<>"$snap/server.in" 4<>"$snap/server.out"
	if [ -n "${SCHED-}" ]; then
		snap_args=$(SCHED=$SCHED,server=$snap/server && machine_args "$snap_qemu" on)
	else
		snap_args=$(machine_args "$snap_qemu" on; printf '%s\n' -object "x-fork,id=fork0,server=$snap/server")
	fi
	{
		# The server waits for the end of what only this script may hold open.
		exec 3>&-
		snap_rc=0
		IFS='
'
		# shellcheck disable=SC2086 # one word per line
		set -- $snap_args
		unset IFS
		"$snap_qemu/qemu-system-x86_64" "$@" -kernel "$snap_kernel/bzImage" -initrd "$snap_image" \
			-append "$snap_cmdline" -serial "file:$snap/console.log" \
			-serial "file:$snap/ktap.log" >"$snap/qemu.log" 2>&1 </dev/null 4>&- 8>&- &
		snap_pid=$!
		echo "$snap_pid" >"$snap/pid"
		wait "$snap_pid" || snap_rc=$?
		echo "gone $snap_rc" >&4
	} &
	trap 'kill "$(cat "$snap/pid")" 2>/dev/null; exit 130' INT TERM HUP
	# A machine that neither ends nor executes anything must not hold us for ever.
	snapshot_watchdog 3>&- 8>&- >/dev/null 2>&1 &
	snap_dog=$!
	trap 'kill $snap_dog 2>/dev/null || :' EXIT
	read -r snap_word snap_rc <&4
	[ "$snap_word" = ready ]
}

snapshot_watchdog()
{
	snap_n=0
	while sleep 1 && kill -0 $$; do
		snap_n=$((snap_n + 1))
		[ $snap_n -lt "$snap_limit" ] || { echo "gone hung" >&4; return; }
	done
}

# snapshot_run DIR OPTION... : run a copy, its logs go to DIR.
snapshot_run()
{
	rm -rf "$1"
	mkdir -p "$1"
	: >"$1/console.log"; : >"$1/ktap.log"
	# Only once a file is there is it this machine's.
	echo "$*" >&3
	snap_running=$((snap_running + 1))
}

# snapshot_wait : wait for one of them; sets d, how ("exit" or "signal"), code, and
# cpu, in milliseconds.
# shellcheck disable=SC2034 # for who includes this
snapshot_wait()
{
	read -r d how code cpu <&4
	[ "$d" != gone ] || {
		kill "$(cat "$snap/pid")" 2>/dev/null || :
		tail -n 3 "$snap/qemu.log" >&2
		die "the emulator died (exit $how); logs: $snap"
	}
	snap_running=$((snap_running - 1))
}

snapshot_end()
{
	exec 3>&-
	kill $snap_dog 2>/dev/null || :
	wait
	exec 4>&-
	rm -f "$snap/server.in" "$snap/server.out"
}
