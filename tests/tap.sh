# SPDX-License-Identifier: GPL-2.0-only
#
# TAP for the project's own tests written in sh.  Sourced.

TAP_N=0
TAP_FAILED=0
# dash runs no EXIT trap for a signal that is not caught.
trap 'exit 130' HUP INT TERM

# forget_settings [VARIABLE]... : unset these, and what is set for one run (scripts/lib.sh).
# From the top folder.
forget_settings()
{
	eval "$(sed -n '/^ONE_RUN=/,/"$/p' scripts/lib.sh)"
	# shellcheck disable=SC2086 # several
	unset PA_REDUCTION $ONE_RUN "$@"
}

# check NAME COMMAND... : ok if COMMAND succeeds; its output as comments if not.
check()
{
	_tn=$1
	shift
	TAP_N=$((TAP_N + 1))
	if _to=$("$@" 2>&1); then
		echo "ok $TAP_N - $_tn"
	else
		echo "not ok $TAP_N - $_tn"
		printf '%s\n' "$_to" | tail -n 25 | sed 's/^/# /'
		TAP_FAILED=1
	fi
}

done_testing()
{
	echo "1..$TAP_N"
	exit $TAP_FAILED
}
