# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034
#
# What the kernel's log says of the kernel's health.  Sourced, also on the machine
# under test.

# A line that means the kernel is dead, or as good as.
FATAL='Oops: |Oops\[|Kernel panic - not syncing|BUG: unable to handle|BUG: kernel NULL pointer|kernel BUG at |general protection fault|double fault|divide error: |invalid opcode: |stack segment: |Internal error:|PANIC: |traps: PANIC|Unable to mount root'
# A line that a healthy kernel does not print (cf. the lists of rcutorture's
# console-badness.sh and of the lab robots).  A bare backtrace counts: the one
# of a failed RMPUPDATE comes without a WARNING.
COMPLAINT='WARNING: |BUG: |INFO: rcu|rcu: INFO:|detected stall|self-detected stall|kthread starved for|INFO: task .* blocked for more than|soft lockup|hard LOCKUP|workqueue lockup|circular locking dependency|possible recursive locking|inconsistent lock state|suspicious RCU usage|bad unlock balance|held lock freed|sleeping function called|scheduling while atomic|KASAN: |UBSAN: |kmemleak: |RMPUPDATE failed|PSMASH failed|Failed to update RMP entry|Failed to reclaim PFN|RMP violation|SNP: .*failed|SNP IOMMU shutdown failed|SEV-SNP firmware shutdown failed, rc -5|not assigned in RMP table|AMD-Vi: Event logged|page allocation failure|Call Trace:'
# What looks like a complaint and is none, behind grep's line number.  "traps:
# NAME[PID] general protection fault ip:..." is a process that dies of a signal, its
# own affair.
HARMLESS='^[0-9]+:(\[ *[0-9.]+\] *)?(\[ *[TC][0-9]+\] *)?traps: ([^P]|P[^A])|WARNING: .*(deprecated|will be removed)|unchecked MSR access error: WRMSR to 0xc0010015$'

# klog_bad PATTERN FILE : "NUMBER:LINE", the first such line that is not harmless
klog_bad()
{
	tr -d '\r' <"$2" | grep -nE -- "$1" | grep -vE -- "$HARMLESS" | head -n 1
}
