# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# On the machine under test, sourced by init: KVM's events and the tests' system calls,
# recorded in memory by trace-cmd from the start of a test, until one fails.

# trace_start : by what it stands for: the vCPUs, their threads, kicks, and what is said.
# Polling would drown the rest: 230 is clock_nanosleep, which tests wait by.
trace_start()
{
	[ -d /sys/kernel/tracing/events/kvm ] || mount -t tracefs tracefs /sys/kernel/tracing
	[ -d /sys/kernel/tracing/events/kvm ] || { milestone "no trace: this kernel has no ftrace"; return 1; }
	stty -F /dev/ttyS2 raw -echo
	trace-cmd start -q -b "${TRACE_KIB:-1024}" -C mono \
		-e kvm:kvm_entry -e kvm:kvm_exit -e kvm:kvm_vmgexit_enter -e kvm:kvm_rmp_fault \
		-e ipi:ipi_send_cpu -f 'comm ~ "sev_*"' -e ipi:ipi_send_cpumask -f 'comm ~ "sev_*"' \
		-e sched:sched_switch -f 'prev_comm ~ "sev_*" && next_pid != 0 || next_comm ~ "sev_*" && prev_pid != 0' \
		-e raw_syscalls -f 'comm ~ "sev_*" && id != 230' >/dev/kmsg 2>&1 || return
	# All names of the kernel would go into a trace.dat, and the serial port is slow.
	grep -E ' [tT] .*(kvm|sev_|svm_|rmp|smp_|ttwu_|kick_process)' /proc/kallsyms >/tmp/kallsyms
	mount -o bind /tmp/kallsyms /proc/kallsyms
}

# trace_watch : pass on what a test says; what led to its first failure is kept, and sent
# when it ends: a line "trace PROGRAM BYTES", and the bytes of a trace.dat
trace_watch()
{
	_program= _failed=
	while IFS= read -r _line; do
		printf '%s\n' "$_line"
		case $_line in
		"# selftests: "*)
			_program=${_line##* } _failed=
			: >/sys/kernel/tracing/trace
			echo 1 >/sys/kernel/tracing/tracing_on ;;
		"# ==== Test Assertion"*|"# not ok "*|"not ok "*)
			[ -n "$_failed" ] || echo 0 >/sys/kernel/tracing/tracing_on
			_failed=1 ;;
		esac
		case $_line in
		"ok "*|"not ok "*)
			[ -n "$_failed" ] || continue
			trace-cmd extract -o /tmp/trace.dat >/dev/null 2>&1 || continue
			# On a busy machine the port is so slow that the kernel takes it for a lockup.
			echo 0 >/proc/sys/kernel/watchdog
			{ echo "trace $_program $(stat -c %s /tmp/trace.dat)"; cat /tmp/trace.dat; } >/dev/ttyS2
			echo 1 >/proc/sys/kernel/watchdog ;;
		esac
	done
}
