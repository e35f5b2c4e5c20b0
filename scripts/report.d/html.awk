# SPDX-License-Identifier: GPL-2.0-only
# What all parts of the page use.

function esc(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }

# The value of a name in a line of flat JSON.
function json(line, name,  s)
{
	if (!match(line, "\"" name "\":(\"[^\"]*\"|[^,}]*)"))
		return ""
	s = substr(line, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
	gsub(/^"|"$/, "", s)
	return s == "null" ? "" : s
}
