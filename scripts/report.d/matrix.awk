# SPDX-License-Identifier: GPL-2.0-only
# The matrix: observed, and what was expected where that differs.

{
	k = json($0, "kernel"); t = json($0, "tests")
	if (!(k in row)) { row[k] = ++nk; kernel[nk] = k }
	if (!(t in col)) { col[t] = ++nt; test[nt] = t }
	ok = json($0, "ok") == "true"
	cell[k, t] = sprintf("<td><b class=\"%s\">%s</b> <small>%s s%s</small><br><small>%s</small></td>", ok ? "good" : "bad",
		json($0, "verdict"), json($0, "seconds"), ok ? "" : ", expected: " json($0, "expected"), esc(substr(json($0, "cause"), 1, 120)))
}
END {
	printf "<div class=\"wide\"><table><tr><th>kernel</th>"
	for (j = 1; j <= nt; j++) printf "<th>%s</th>", esc(test[j])
	print "</tr>"
	for (i = 1; i <= nk; i++) {
		printf "<tr><td>%s</td>", esc(kernel[i])
		for (j = 1; j <= nt; j++) printf "%s", (kernel[i], test[j]) in cell ? cell[kernel[i], test[j]] : "<td></td>"
		print "</tr>"
	}
	print "</table></div><p class=\"note\">Green is as expected: PASS of a kernel with the fix, a kill of one without.</p>"
}
