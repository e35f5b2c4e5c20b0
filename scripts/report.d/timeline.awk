# SPDX-License-Identifier: GPL-2.0-only
# The interleaving that was replayed last (scripts/timeline), a lane for each CPU.

function kind(s)
{
	if (s ~ /<== failed/) return "bad"
	if (s ~ /^RMPUPDATE/) return "punch"
	if (s ~ /^VMRUN|^the guest/) return "enter"
	if (s ~ /^#VMEXIT/) return "exit"
	if (s ~ /IPI/) return "beat"
	return ""
}

/^# / { print "<p><code>" esc(substr($0, 3)) "</code></p>"; next }
/^ *instructions/ {
	nr_cpus = gsub(/CPU [0-9]+/, "&")
	print "<p class=\"note\">A lane for each CPU: the function in which it gets its turn, or what it does. Instructions of all CPUs since the seed took over.</p>"
	printf "<div class=\"wide\"><table class=\"lanes\"><tr><th>instructions</th>"
	for (i = 0; i < nr_cpus; i++) printf "<th>CPU %d</th>", i
	print "</tr>"
	next
}
nr_cpus {
	at = substr($0, 1, 12)
	gsub(/ /, "", at)
	what = substr($0, 15)
	for (cpu = 0; what ~ /^\| /; cpu++) what = substr(what, 29)
	sub(/ +$/, "", what)
	printf "<tr><td class=\"t\">%s</td>", at
	for (i = 0; i < nr_cpus; i++)
		printf i == cpu ? "<td class=\"" kind(what) "\">" esc(what) "</td>" : "<td></td>"
	print "</tr>"
}
END { if (nr_cpus) print "</table></div>" }
