# SPDX-License-Identifier: GPL-2.0-only
#
# What the robots need of a test's output, checked on real output.  Sourced.

# subtests KTAP TEST : the lines of TEST in a kselftest log, unprefixed
subtests()
{
	tr -d '\r' <"$1" | awk -v test="# selftests: kvm: $2" '
		$0 == test { on = 1; next }
		on && /^(not )?ok [0-9]+ selftests: / { exit }
		on { sub(/^# ?/, ""); print }'
}

# ktap_rules KTAP TEST : one plan, first; numbers in order; names unique, and
# nothing but words, as a result database takes them (Linaro's parser folds
# whatever is in the line into the name); a skip has one of the reasons that there are,
# and a part is skipped only behind one that failed, or for want of CPUs (NIPA calls
# all of the test skipped); no chatter that reads like a result, or like the kernel's
# last words (NIPA: "] Call Trace:", "] RIP:"); no address in decimal.
ktap_rules()
{
	subtests "$1" "$2" | awk '
		function bad(what) { print what ": " $0; failed = 1 }
		/^TAP version/ { versions++ }
		/^1\.\.[0-9]+$/ { plans++; plan = substr($0, 4) + 0; if (n) bad("a plan after results") }
		/^(not )?ok / {
			n++
			line = $0; sub(/^not /, "", line)
			if (sub(/ # SKIP an earlier case failed, the host may be damaged$/, "", line)) {
				if (!lost) bad("skipped, and nothing has failed")
			} else
				sub(/ # SKIP fewer CPUs than the race needs$/, "", line)
			if (line !~ /^ok [0-9]+ [a-z][a-z0-9_.]*$/) bad("no plain name")
			if (/^not /) lost = 1
			split(line, w, " ")
			if (w[2] != n) bad("number out of order")
			if (seen[w[3]]++) bad("name twice")
		}
		/\] (Call Trace|RIP):/ { bad("reads like a dying kernel") }
		/^# / {
			line = $0
			gsub(/0x[0-9a-f]+|request [0-9a-f]+|[0-9]+ pages/, "", line)
			if (line ~ /[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]/) bad("an address in decimal")
		}
		/^#/ { line = $0; sub(/^#[ \t]*/, "", line)
		       if (line ~ /^((not )?ok [0-9]|1\.\.[0-9]|K?TAP version)/) bad("reads like a result") }
		END {
			if (versions != 1 || plans != 1) { print versions + 0 " versions, " plans + 0 " plans"; failed = 1 }
			if (!n || n > plan) { print n + 0 " results of " plan; failed = 1 }
			exit failed
		}'
}

# kunit_reads DIR TEST : kunit.py finds every part of TEST, passed, and so does
# the JUnit file for those who want that
kunit_reads()
{
	want=$(subtests "$1/ktap.log" "$2" | sed -n 's/^1\.\.\([0-9]*\)$/\1/p')
	found=$(subtests "$1/ktap.log" "$2" | sed -n 's/^ok [0-9]* //p' | while read -r name; do
		grep -q "\[PASSED\] $name$" "$1/nested.txt" && grep -q "testcase name=\"$name\"" "$1/junit.xml" && echo
	done | wc -l)
	[ -n "$want" ] && [ "$found" = "$want" ] || { echo "$found of $want"; return 1; }
	! grep '\[ERROR\]\|\[CRASHED\]' "$1/nested.txt"
}

# same_names KTAP KTAP TEST : a part has one name, whatever becomes of it
same_names()
{
	for _sk in "$1" "$2"; do
		subtests "$_sk" "$3" | sed -n 's/^\(not \)\{0,1\}ok \([0-9]* [^ ]*\).*/\2/p' >"$LOGS/names.${_sv:=0}"
		_sv=1
	done
	_sv=
	! grep -vxFf "$LOGS/names.0" "$LOGS/names.1"
}
