# SPDX-License-Identifier: GPL-2.0-only
# The lines that vm/judge ends with.

/^cause: / { cause = substr($0, 8) }
/^VERDICT: / {
	time = match($0, /time=[0-9]+s/) ? " in " substr($0, RSTART + 5, RLENGTH - 6) " s" : ""
	printf "<div class=\"verdict %s\"><b>%s</b>%s", $2 == "PASS" ? "good" : "bad", $2, time
	if ($2 == "NONE") cause = substr($0, 16)
	if (cause != "") printf "<p>%s</p>", esc(cause)
	print "</div>"
}
