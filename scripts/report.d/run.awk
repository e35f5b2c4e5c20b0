# SPDX-License-Identifier: GPL-2.0-only
# A kselftest log: results, and the events of each case that failed, a lane for
# each thread.

function kind(s)
{
	if (s ~ /PUNCH|punch|the page is gone/) return "punch"
	if (s ~ /enter KVM_RUN/) return "enter"
	if (s ~ /KVM_RUN returned/) return "exit"
	if (s ~ /creat|AP Create|executes order/) return "create"
	if (s ~ /heartbeat/) return "beat"
	return ""
}

# The events of the case that failed last, for the end of its test.
function lanes(  i, j, seen, lane, nl)
{
	if (!ne) return
	later = later sprintf("<h3>%s: its last events</h3><p class=\"note\">Milliseconds of the case; a lane for each thread of the test.</p>", esc(failed))
	later = later "<div class=\"wide\"><table class=\"lanes\"><tr><th>ms</th>"
	for (i = 1; i <= ne; i++)
		if (!(who[i] in seen)) { seen[who[i]] = 1; lane[++nl] = who[i]; later = later "<th>" esc(who[i]) "</th>" }
	later = later "</tr>\n"
	for (i = 1; i <= ne; i++) {
		later = later "<tr><td class=\"t\">" ms[i] "</td>"
		for (j = 1; j <= nl; j++)
			later = later (lane[j] == who[i] ? "<td class=\"" kind(what[i]) "\">" esc(what[i]) "</td>" : "<td></td>")
		later = later "</tr>\n"
	}
	later = later "</table></div>\n"
	ne = 0
}

{ sub(/\r$/, "") }
/^# selftests: / { all(); printf "<h3>%s</h3>", esc($NF); next }
/^# ok [0-9]+ / { lanes(); cases = cases "<li><span class=\"good\">&#10003;</span> " esc($4) "</li>"; next }
/^# not ok [0-9]+ / { lanes(); failed = $5; cases = cases "<li><span class=\"bad\">&#10007; " esc($5) "</span></li>"; next }
/^# # +[0-9]+\.[0-9]+ ms / && failed != "" {
	ne++
	ms[ne] = $3; who[ne] = $5
	line = $0; sub(/^# # +[0-9.]+ ms [^ ]+ +/, "", line); sub(/^> /, "", line)
	what[ne] = line
	next
}
/^# # cause: / { causes = causes "<p class=\"bad\">" esc(substr($0, 5)) "</p>" }
/^(not )?ok [0-9]+ selftests: / { all(); result($0) }
END { all() }

function all()
{
	lanes()
	if (cases != "") print "<ul class=\"cases\">" cases "</ul>" causes later
	cases = causes = later = failed = ""
}
function result(s) { printf "<p class=\"%s\">%s</p>\n", s ~ /^not/ ? "bad" : s ~ /# SKIP/ ? "odd" : "good", esc(s) }
