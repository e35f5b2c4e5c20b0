# SPDX-License-Identifier: GPL-2.0-only
# A kselftest log, ktap.log: a table of programs with all their cases, also those that did
# not run, and of each case that failed why, how to repeat it, a drawing, and what was said.
#
# -v causes= results.tsv, as the judge has written it   -v means= vm/causes
# -v known= "PROGRAM CASE" lines, of all cases there are   -v wanted= TESTS of the run
# -v drawings= a folder with PROGRAM.html   -v again= the command, without TESTS

function item(class, mark, name, why) { cases = cases "<li class=\"" class "\">" mark " " esc(name) why "</li>" }
function because(name,  c)
{
	if (!((program, name) in cause)) return ""
	c = cause[program, name]
	return "<b>" esc(c) "</b>" (c in meaning ? ": " esc(meaning[c]) : "")
}

# What failed, in a paragraph of its own below the list.
function failure(name, head,  file, line, n, one, trace)
{
	bad++
	later = later sprintf("<article id=\"%s.%s\"><h3>%s: %s%s</h3>", esc(program), esc(name), esc(program), esc(name), head)
	later = later "<p>" because(name) (text[program, name] != "" ? "<br>" esc(text[program, name]) : "") "</p>"
	one = program (name != "-" && name != "vmsa_is_tracked" ? ":" name : "")
	trace = again (again ~ / CONFIG=trace/ ? "" : " CONFIG=trace")
	later = later sprintf("<p class=\"from\">Again: <code>%s TESTS=%s</code></p>", esc(again), esc(one))
	file = drawings "/" program ".html"
	n = drawn[program] + 0
	if (n)
		later = later sprintf("<p class=\"from\">The recording ends with the first failure, above. Alone: <code>%s TESTS=%s</code></p>", esc(trace), esc(one))
	else {
		while ((getline line <file) > 0) { later = later line "\n"; n++ }
		close(file)
		drawn[program] = n
	}
	if (!n)
		later = later sprintf("<p class=\"from\">No drawing: this run recorded no events. <code>%s TESTS=%s</code> and <code>make report</code> draw it.</p>", \
			esc(trace), esc(one))
	later = later sprintf("<details%s><summary>What it said</summary><pre class=\"wide\">%s</pre></details></article>\n", n ? "" : " open", said)
}

function finish(  n, i, c, rest)
{
	if (program == "") return
	# It has begun, and nothing came after it.
	if (running != "") {
		seen[running] = 1
		done++
		item("bad", "&#10007;", running, ": it did not end")
		failure(running, ": how far it came")
	} else if (result ~ /^not/ && !bad)
		failure("-", "")
	n = split(of[program], c, " ")
	for (i = 1; i <= n; i++)
		if (!(c[i] in seen)) rest = rest " " c[i]
	n = split(rest, c, " ")
	if (plan == "" && selected[program]) n = 0
	if (n && (plan == "" || plan - done == n))
		for (i = 1; i <= n; i++) item("none", "&#9675;", c[i], " <small>not run</small>")
	else if (plan > done)
		item("none", "&#9675;", plan - done " more", " <small>not run</small>")
	printf "<h3 class=\"%s\">%s <small>%s</small></h3><ul class=\"cases\">%s</ul>\n", \
		result ~ /^ok.*# SKIP/ ? "odd" : result ~ /^ok/ ? "good" : "bad", esc(program), \
		result == "" ? "did not end" : result ~ /^ok.*# SKIP/ ? "skipped" : result ~ /^ok/ ? "passed" : result ~ /TIMEOUT/ ? "timed out" : "failed", cases
	split("", seen)
	cases = said = running = result = plan = program = ""
	done = bad = 0
}

BEGIN {
	while ((getline line <causes) > 0) {
		split(line, f, "\t")
		if (f[4] != "-" && f[1] != "exit" && !((f[2], f[3]) in cause)) { cause[f[2], f[3]] = f[4]; text[f[2], f[3]] = f[7] }
	}
	while ((getline line <means) > 0)
		if (line !~ /^#/ && split(line, f, "\t") > 3 && !(f[3] in meaning)) meaning[f[3]] = f[4]
	while ((getline line <known) > 0) { split(line, f, " "); of[f[1]] = of[f[1]] " " f[2] }
	nr_wanted = split(wanted, want, " ")
	for (i = 1; i <= nr_wanted; i++) { p = want[i]; sub(/^kvm:/, "", p); if (sub(/:.*/, "", p)) selected[p] = 1; want[i] = p }
}

{ sub(/\r$/, "") }
/^# selftests: / { finish(); program = $NF; began[program] = 1; next }
/^(not )?ok [0-9]+ selftests: / { result = $0; finish(); next }
/^Bail out!/ { bail = $0; next }
program == "" { next }
/^# 1\.\.[0-9]+/ { plan = substr($2, 4) + 0; next }
/^# # +RUN / { running = $4; sub(/.*\./, "", running); said = ""; next }
/^# (not )?ok [0-9]+ / {
	name = $2 == "not" ? $5 : $4
	sub(/.*\./, "", name)
	seen[name] = 1
	done++
	if ($2 == "not") { item("bad", "&#10007;", name, because(name) != "" ? " <a href=\"#" esc(program "." name) "\">" esc(cause[program, name]) "</a>" : ""); failure(name, "") }
	else if (/# SKIP/) { skip = $0; sub(/.*# SKIP */, "", skip); item("odd", "&#8211;", name, " <small>" esc(skip) "</small>") }
	else item("good", "&#10003;", name, "")
	said = running = ""
	next
}
/^# 1\.\.0 # SKIP/ { skip = $0; sub(/.*# SKIP[ -]*/, "", skip); item("odd", "&#8211;", skip, ""); next }
/^# / { said = said esc(substr($0, 3)) "\n" }
END {
	finish()
	for (i = 1; i <= nr_wanted; i++)
		if (!(want[i] in began)) printf "<h3 class=\"none\">%s <small>not run</small></h3>\n", esc(want[i])
	if (bail != "") printf "<p class=\"bad\">%s</p>\n", esc(bail)
	printf "%s", later
}
