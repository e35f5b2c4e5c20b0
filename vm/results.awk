# SPDX-License-Identifier: GPL-2.0-only
#
# usage: awk -v table=vm/causes -f vm/results.awk LOG
#
# What the tests in LOG said, one line per result, fields separated by tabs:
#
#	WHAT PROGRAM CASE CAUSE BEGAN ENDED TEXT
#
# WHAT is ok, not, skip, xfail, or open: begun, and nothing came after it.  Beside these
# there are start and exit (of a program; CAUSE says how if not well), kernel (a complaint
# of its, while CASE ran), and end (of all).  CASE is - for what concerns the whole program.  CAUSE is a name from the table, of failures.
# TEXT is the message of the assertion; without one where it is (a host may die of its
# stack dump, which comes first), or the last step that was told.
# BEGAN and ENDED are the times in front of the lines, where there are any; a failure
# ends with its assertion.  LOG is kselftest's, in which all lines of a test begin
# with "# ", or has "# start PROGRAM" and the lines as they are (vm/repeat, vm/explore).

function cause_of(name, text,  i)
{
	for (i = 1; i <= nr_causes; i++)
		if ((cases[i] == "*" || index(" " cases[i] " ", " " name " ")) && index(text, words[i]))
			return cause[i]
	return "test"
}

function row(what, name, cause, to, text)
{
	gsub(/\t/, " ", text)
	printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", what, program, name, cause, began, to, text
}

function say(what, name, text)
{
	row(what, name, what == "not" || (what == "open" && message != "") ? cause_of(name, text) : "-", \
		failed == "" ? now : failed, text)
	part = 0
	message = where = failed = running = ""
	began = now
}

function begin(name)
{
	end()
	program = name
	began = now
	step = ""
	row("start", "-", "-", now, "")
}

function end()
{
	if (program == "") return
	if (running != "" || message != "")
		say("open", running == "" ? "-" : running, message != "" ? message : where != "" ? where : step)
	part = 0
	program = ""
}

BEGIN {
	while ((getline line <table) > 0) {
		if (line ~ /^#/ || split(line, column, "\t") < 3) continue
		nr_causes++
		cases[nr_causes] = column[1]; words[nr_causes] = column[2]; cause[nr_causes] = column[3]
	}
	began = "-"
}

{
	sub(/\r$/, "")
	line = $0
	now = "-"
	if (match(line, /^[0-9]+\.[0-9]+ /)) {
		now = substr(line, 1, RLENGTH - 1)
		line = substr(line, RLENGTH + 1)
	}
}
line ~ /^# selftests: kvm: / { split(line, w, " "); begin(w[4]); prefixed = 1; next }
line ~ /^# start / { split(line, w, " "); begin(w[3]); prefixed = 0; next }
line ~ /^(not )?ok [0-9]+ selftests: / {
	ended = program
	end()
	program = ended
	row("exit", "-", line ~ /^ok/ ? "-" : line ~ /TIMEOUT/ ? "timeout" : "exit", now, line)
	program = ""
	next
}
line ~ /^# end of run/ { end(); began = now; row("end", "-", "-", now, ""); next }
program == "" { next }
prefixed { sub(/^# ?/, "", line) }

line ~ /^# exit [0-9]+$/ && !prefixed {
	ended = program
	end()
	program = ended
	row("exit", "-", line ~ / [04]$/ ? "-" : "exit-" substr(line, 8), now, "")
	program = ""
	next
}
line ~ /^# kernel: / && !prefixed {
	text = substr(line, 11)
	name = cause_of(running, text)
	row("kernel", running == "" ? "-" : running, name == "test" ? "kernel-log" : name, now, text)
	next
}
line ~ /^# +RUN +/ {
	sub(/^# +RUN +/, "", line); sub(/ \.\.\.$/, "", line); sub(/.*\./, "", line)
	running = line; began = now; message = where = failed = step = ""; part = 0
	next
}
line ~ /^==== Test Assertion Failure/ {
	if (failed == "") { part = 1; failed = now }
	next
}
# An assertion: where it is, who ran it, its stack, and then what it says.
part == 1 { where = line; sub(/^ +/, "", where); part = 2; next }
part == 2 && line ~ /^  pid=/ { part = 3; next }
part == 3 && line ~ /^  [^ ]/ && line !~ /stack trace empty/ {
	message = line; sub(/^ +/, "", message)
	part = 0
	next
}
line ~ /^# [^ ]+\.[ch]:[0-9]+:/ || line ~ /^# [a-z0-9_]+: Test terminated/ {
	if (message == "") { message = substr(line, 3); failed = now }
	next
}
# What is about to be done
line ~ /^# [^ ]/ { if (line !~ /: Test failed$/) { step = substr(line, 3); sub(/^step: /, "", step) } next }
line ~ /^(not )?ok [0-9]+ / {
	what = line ~ /^not / ? "not" : line ~ /# SKIP/ ? "skip" : line ~ /# XFAIL/ ? "xfail" : "ok"
	text = ""
	if (match(line, / # [A-Z]+ /)) text = substr(line, RSTART + RLENGTH)
	sub(/^(not )?ok [0-9]+ (- )?/, "", line); sub(/ .*/, "", line); sub(/.*\./, "", line)
	if (what == "not") text = message != "" ? message : where != "" ? where : step
	say(what, line, text)
	next
}
line ~ /^1\.\.0 # SKIP/ { sub(/^1\.\.0 # SKIP( -)? */, "", line); say("skip", "-", line) }
END { end() }
