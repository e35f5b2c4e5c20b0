# SPDX-License-Identifier: GPL-2.0-only
# Time to kill on a logarithmic axis: a dot for the median, a line to the worst.

function x(s) { return 330 + 560 * (log(s < .1 ? .1 : s) - log(.1)) / (log(300) - log(.1)) }

{ line[++n] = $0 }
END {
	h = 34 + 18 * n
	printf "<div class=\"wide\"><svg viewBox=\"0 0 1040 %d\" width=\"1040\" style=\"min-width:760px\" role=\"img\" aria-label=\"time to kill of each mutant\">", h
	split("0.1 1 10 60 300", tick, " ")
	for (i = 1; i <= 5; i++)
		printf "<line x1=\"%d\" x2=\"%d\" y1=\"20\" y2=\"%d\" stroke=\"var(--line)\"/><text x=\"%d\" y=\"13\" text-anchor=\"middle\">%s s</text>",
			x(tick[i]), x(tick[i]), h, x(tick[i]), tick[i]
	for (i = 1; i <= n; i++) {
		y = 32 + 18 * (i - 1)
		v = json(line[i], "verdict"); m = json(line[i], "median_s"); w = json(line[i], "worst_s")
		printf "<text x=\"0\" y=\"%d\">%s</text>", y + 4, esc(json(line[i], "id"))
		if (v == "killed" && m != "") {
			k = json(line[i], "killer")
			c = k ~ /stress/ ? "--b" : "--a"
			sub(/^sev_snp_/, "", k)
			printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"var(%s)\" stroke-width=\"2\"/>", x(m), x(w), y, y, c
			printf "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"var(%s)\"/>", x(m), y, c
			printf "<text x=\"%d\" y=\"%d\" style=\"fill:var(--dim)\">%s</text>", x(w) + 9, y + 4, esc(k ", " json(line[i], "cause"))
			killed++
		} else if (line[i] ~ /"id":"clean/) {
			printf "<text x=\"330\" y=\"%d\" class=\"%s\" style=\"fill:var(%s)\">%s</text>", y + 4, v, v == "passed" ? "--good" : "--bad", v
			clean++
		} else
			printf "<text x=\"330\" y=\"%d\" style=\"fill:var(--bad)\">%s</text>", y + 4, esc(v)
	}
	printf "</svg></div><p class=\"note\">%d of %d killed. Dot: median, line: to the worst run. Blue: by a case; violet: by the stress test.</p>\n", killed, n - clean
}
