# SPDX-License-Identifier: GPL-2.0-only
# A kselftest log: results, and of each case that failed its steps, and what it said.

function result(s) { printf "<p class=\"%s\">%s</p>\n", s ~ /^not/ ? "bad" : s ~ /# SKIP/ ? "odd" : "good", esc(s) }
function item(class, mark, s) { cases = cases "<li><span class=\"" class "\">" mark " " esc(s) "</span></li>" }
function all()
{
	if (cases != "") print "<ul class=\"cases\">" cases "</ul>" later
	# It has begun, and nothing came after it.
	if (said != "") printf "<h3>%s: how far it came</h3><pre class=\"wide\">%s</pre>\n", esc(running), said
	cases = later = said = running = ""
}

{ sub(/\r$/, "") }
/^# selftests: / { all(); printf "<h3>%s</h3>", esc($NF); next }
/^(not )?ok [0-9]+ selftests: / { all(); result($0); next }
/^# # +RUN / { running = $4; said = ""; next }
/^# ok [0-9]+ / {
	if (/# SKIP/) item("odd", "&#8211;", $4); else item("good", "&#10003;", $4)
	said = running = ""
	next
}
/^# not ok [0-9]+ / {
	item("bad", "&#10007;", $5)
	later = later sprintf("<h3>%s: its steps, and what it said</h3><pre class=\"wide\">%s</pre>\n", esc($5), said)
	said = running = ""
	next
}
/^# (# |==|  )/ { said = said esc(substr($0, 3)) "\n" }
END { all() }
