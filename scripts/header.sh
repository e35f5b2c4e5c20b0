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

# killers ID : the cases of the functional test that should kill it, in its order
killers()
{
	field "$1" killer | sed 's/stress:.*//' | tr -c 'a-z0-9_\n' '\n' |
		awk -v test="$TOP/tools/testing/selftests/kvm/x86/sev_snp_vmsa_punch_hole.c" '
			BEGIN {
				while ((getline line <test) > 0)
					if (sub(/^static void case_/, "", line) && sub(/\(void\)$/, "", line))
						is[line] = 1
			}
			$0 in is && !seen[$0]++ { text = text (text == "" ? "" : " ") $0 }
			END { print text }'
}
