# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# Mutants, and what their headers say: patches/mutants/ID.patch, or, if a real fix is
# taken back, patches/pairs/ID.patch.  For scripts that have read lib.sh.

# mutants [PATTERN] : the patches of those whose ID a shell pattern fits
mutants()
{
	for _f in "$TOP/patches/mutants"/${1-*}.patch "$TOP/patches/pairs"/${1-*}.patch; do
		[ ! -r "$_f" ] || printf '%s\n' "$_f"
	done
}

# field ID NAME : one of its fields, in one line
field()
{
	awk -v name="$2:" '
		/^---$/ { exit }
		/^[a-z]+:/ { on = $1 == name; sub(/^[a-z]+: */, "") }
		on { sub(/^ +/, ""); text = text (text == "" ? "" : " ") $0 }
		END { print text }' "$(mutants "$1")"
}

# killers ID : the tests that should kill it, as PROGRAM:CASE,CASE; remarks are in
# parentheses
killers()
{
	field "$1" killer | sed 's/([^)]*)//g' | tr ';' '\n' | tr -d ' ' | grep .
}
