# SPDX-License-Identifier: GPL-2.0-only
# Events per second over the number of vCPUs, both axes logarithmic.

{
	n++
	v[n] = json($0, "vcpus"); c[n] = json($0, "creates_per_s"); p[n] = json($0, "punches_per_s"); r[n] = json($0, "runs_per_s"); e[n] = json($0, "ceiling_per_s")
	for (k = 1; k <= 4; k++) { y = k == 1 ? c[n] : k == 2 ? p[n] : k == 3 ? r[n] : e[n]; if (y > top) top = y }
}
function px(a) { return 60 + 130 * log(a) / log(2) }
function py(a) { return 280 - 260 * (log(a < 1 ? 1 : a) / log(top * 1.2)) }
function plot(name, color, arr,  i, s)
{
	for (i = 1; i <= n; i++) s = s px(v[i]) "," py(arr[i]) " "
	printf "<polyline points=\"%s\" fill=\"none\" stroke=\"var(%s)\" stroke-width=\"2\"/>", s, color
	printf "<text x=\"%d\" y=\"%d\" style=\"fill:var(%s)\">%s</text>", px(v[n]) + 8, py(arr[n]) + 4, color, name
}
END {
	printf "<div class=\"wide\"><svg viewBox=\"0 0 900 310\" width=\"900\" style=\"min-width:640px\" role=\"img\" aria-label=\"rates by number of vCPUs\">"
	for (d = 1; d <= top * 1.2; d *= 10)
		printf "<line x1=\"60\" x2=\"720\" y1=\"%d\" y2=\"%d\" stroke=\"var(--line)\"/><text x=\"52\" y=\"%d\" text-anchor=\"end\">%d/s</text>", py(d), py(d), py(d) + 4, d
	for (i = 1; i <= n; i++) printf "<text x=\"%d\" y=\"300\" text-anchor=\"middle\">%s</text>", px(v[i]), v[i]
	plot("empty KVM_RUN", "--dim", e); plot("KVM_RUN", "--a", r); plot("punches", "--bad", p); plot("creations", "--good", c)
	print "</svg></div>"
}
