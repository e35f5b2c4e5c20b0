# SPDX-License-Identifier: GPL-2.0-only
#
# awk -v lost=COMMAND -f bail.awk : what kselftest prints, until a test has failed and
# COMMAND finds in the kernel's log that it lost a page to the guest.  What runs behind
# that may die of it: that is luck, and no result.
{ print; fflush() }
/^not ok / && !system(lost) {
	print "Bail out! the kernel has lost a page to the guest: reboot before the next test"
	exit
}
