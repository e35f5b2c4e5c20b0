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
/^ *instructions/ { nr_cpus = gsub(/CPU [0-9]+/, "&"); next }
nr_cpus {
	at = substr($0, 1, 12)
	gsub(/ /, "", at)
	what = substr($0, 15)
	for (cpu = 0; what ~ /^\| /; cpu++) what = substr(what, 29)
	sub(/ +$/, "", what)
	# The same function again says no more than the first time.
	if (n && row_cpu[n] == cpu && row[n] == what) next
	n++
	row[n] = what; row_at[n] = at; row_cpu[n] = cpu
	busy[cpu]++
}
END {
	if (!nr_cpus) exit
	for (i = 0; i < nr_cpus; i++) if (!(i in busy)) idle = idle (idle == "" ? "" : ", ") i
	print "<p class=\"note\">A lane for each CPU that does something" (idle == "" ? "" : " (not: " idle ")") ": the function in which it gets its turn, or what it does. Instructions of all CPUs since the seed took over.</p>"
	printf "<div class=\"wide\"><table class=\"lanes\"><tr><th>at</th>"
	for (i = 0; i < nr_cpus; i++) if (i in busy) printf "<th>CPU %d</th>", i
	print "</tr>"
	for (r = 1; r <= n; r++) {
		printf "<tr><td class=\"t\">%s</td>", row_at[r]
		for (i = 0; i < nr_cpus; i++)
			if (i in busy) printf "%s", i == row_cpu[r] ? "<td class=\"" kind(row[r]) "\">" esc(row[r]) "</td>" : "<td></td>"
		print "</tr>"
	}
	print "</table></div>"
}
