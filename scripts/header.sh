# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# What the header of a mutant (patches/mutants/ID.patch) says.  For scripts that
# have read lib.sh.

# field ID NAME : one of its fields, in one line
field()
{
	awk -v name="$2:" '
		/^---$/ { exit }
		$1 ~ /^[a-z]+:$/ { on = $1 == name; sub(/^[a-z]+: */, "") }
		on { sub(/^ +/, ""); text = text (text == "" ? "" : " ") $0 }
		END { print text }' "$TOP/patches/mutants/$1.patch"
}

# killers ID : the tests that should kill it, as PROGRAM:CASE,CASE; remarks are in
# parentheses
killers()
{
	field "$1" killer | sed 's/([^)]*)//g' | tr ';' '\n' | tr -d ' ' | grep .
}
