#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Commands of the firmware fail, one of each (FAULT=): what KVM and ccp are to make of it.
# Refused is refused, the next guest runs, the host lives and has nothing to complain of;
# what it has to say for a reason that is known stands in the table.
#
#     ROWS="snp gctx-hang"    these
#     KASAN=1                 on a kernel with CONFIG=debug
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
. tests/host/host.sh
. vm/klog.sh

extra=$(mktemp -d) || exit 2
trap 'rm -rf "$extra"' EXIT
cp tests/host/guest/fault "$extra/run"

# fails NAME FAULT STEPS : a boot of it
fails()
{
	echo "STEPS='$3'" >"$extra/want"
	boot "fault-$1" MODE=extra EXTRA="$extra" SNP=not PACK="kvm:sev_smoke_test kvm:userspace_io_test" TESTS=fault \
		FAULT="$2" ${KASAN:+CONFIG=debug} APPEND="slab_debug=FZPU ccp.psp_cmd_timeout=3 ccp.psp_probe_timeout=3"
}

# row NAME FAULT STEPS [COMPLAINT] : COMPLAINT is what the kernel may say, a pattern
row()
{
	[ -z "${ROWS-}" ] || case " $ROWS " in *" $1 "*) ;; *) return 0 ;; esac
	fails "$1" "$2" "$3"
	check "$1: $3" steps "$1" "$3"
	check "... and the host lives, without a complaint" healthy "$1" "${4:-^$}"
}
steps()
{
	is "$(echo $2 | wc -w)" grep -c '^ok ' "$LOGS/fault-$1/ktap.log" || { grep -E '^(not ok|#)' "$LOGS/fault-$1/ktap.log"; return 1; }
}
healthy()
{
	logged "fault-$1" 'vm: end, exit' || return
	tr -d '\r' <"$LOGS/fault-$1/console.log" | grep -E -- "$FATAL|$COMPLAINT" | grep -vE -- "$HARMLESS|$2|Call Trace:" | head -n 3 | grep . && return 1
	return 0
}

# finding NAME FAULT STEPS LINE : what this kernel makes of it, of which docs/findings tells:
# LINE is on the console
finding()
{
	[ -z "${ROWS-}" ] || case " $ROWS " in *" $1 "*) ;; *) return 0 ;; esac
	fails "$1" "$2" "$3"
	check "$1: $3 (finding)" logged "fault-$1" "$4"
}

# chance NAME FAULT STEPS LINE : a row without a complaint, or a finding
chance()
{
	[ -z "${ROWS-}" ] || case " $ROWS " in *" $1 "*) ;; *) return 0 ;; esac
	fails "$1" "$2" "$3"
	check "$1: $3, or not (finding)" either "$1" "$3" "$4"
}
either() { steps "$1" "$2" && healthy "$1" "^$" || logged "fault-$1" "$3"; }

warned="WARNING: .* at snp_decommission_context"

# What cannot be initialized is not offered, plain guests run, and it can be tried again.
row init        fail=85:3       "nosnp plain reload snp guest" "SNP_INIT_EX failed rc -5, error 0x3"
# A guest's way through the firmware, one command after the other; each is refused once.
row snp         fail=93:3+a0:3+91:3+a1:16+a2:3  "refused refused refused refused refused guest guest"
row sev         fail=30:3+21:3+31:16+33:3+35:3  "refused refused refused refused refused guest guest"
# No answer: after the first, the driver asks no more, and KVM warns of what it keeps.
row gctx-hang   fail=93:hang    "refused refused plain"
if [ -n "${CHECK_ALL-}${ROWS-}" ]; then
	row init-hang   fail=85:hang    "nosnp plain" "SNP_INIT_EX failed rc -110"
	row start-hang  fail=a0:hang    "refused refused plain" "$warned"
	row activate-hang fail=91:hang  "refused refused plain" "$warned"
	row finish-hang fail=a2:hang    "refused refused plain" "$warned"
	# Its page is userspace's, and the host dies if somebody else gets it:
	# docs/findings/leaked-page-freed.md
	chance sev-hang fail=31:hang    "refused refused plain" "RMP violation|list_(add|del) corruption"
	# What a guest had and does not come back
	row decommission fail=90:3      "guest guest" "$warned|SEV-SNP firmware shutdown failed, rc -5"
	# docs/findings/leaked-page-freed.md, snp-without-shutdown.md
	finding reclaim fail=c7:3@20    "refused guest" "RMP violation|list_(add|del) corruption"
	finding update-hang fail=a1:hang "refused refused plain" "RMP violation|list_(add|del) corruption"
	finding flush   fail=84:3       "nosnp plain reload" "SNP PLATFORM_STATUS command failed, ret = -5, error = 0x9"
fi
done_testing
