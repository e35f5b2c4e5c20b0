# SPDX-License-Identifier: GPL-2.0-only
# The lines that vm/judge ends with.

/^cause: / { cause = substr($0, 8) }
/^VERDICT: / {
	printf "<div class=\"verdict %s\"><b>%s</b> %s", $2 == "PASS" ? "good" : "bad", $2, esc(substr($0, 10 + length($2)))
	if (cause != "") printf "<p>%s</p>", esc(cause)
	print "</div>"
}
