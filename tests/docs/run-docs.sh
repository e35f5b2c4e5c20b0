#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What the documentation points to is there: links, paths, commands, variables.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh
TOP=$PWD
. scripts/header.sh

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
find . -name '*.md' ! -path './build/*' ! -path './.git/*' | sed 's,^\./,,' | sort >"$tmp/pages"

# goals : what can be made here
goals() { awk '/^\.PHONY:/ { for (i = 2; i <= NF; i++) print $i }' Makefile | sort; }

# variables : what a user may set on make's command line
variables() { awk '/^export / { for (i = 2; i <= NF; i++) print $i } /\$\(CHECK\)/ { print "CHECK" }' Makefile | sort -u; }

# nothing : whoever calls it has said nothing
nothing() { ! grep .; }

links()
{
	while read -r page; do
		grep -o '](\([^)]*\))' "$page" | sed 's/^](//; s/)$//; s/#.*//' | grep -v '^https\?:\|^mailto:\|^$' |
		while read -r link; do
			[ -e "$(dirname "$page")/$link" ] || echo "$page: $link"
		done
	done <"$tmp/pages" | nothing
}

# Paths and patterns of this repository.  Not those that the kernel has under the
# same names, and not those in which something stands for a name.
paths()
{
	while read -r page; do
		grep -oE '(^|[^A-Za-z0-9_./~-])(patches|emulator|vm|scripts|tests|docs|findings)/[A-Za-z0-9_.*/-]+' "$page" |
		sed 's,^[^a-z],,; s,\.*$,,' | sort -u |
		while read -r path; do
			case $path in
			*NAME*|*/ID*|*-FIX|scripts/get_maintainer.pl|scripts/checkpatch.pl|scripts/kconfig/*)
				continue ;;
			esac
			for at in . "$(dirname "$page")" docs; do
				# shellcheck disable=SC2086 # a pattern
				set -- "$at"/$path
				[ ! -e "$1" ] || continue 2
			done
			echo "$page: $path"
		done
	done <"$tmp/pages" | nothing
}

# commands : each "make ..." of a code block or between backticks, one per line
commands()
{
	while read -r page; do
		{
			grep -o '`[^`]*`' "$page" | tr -d '`'
			sed -n 's/^    //p' "$page"
		} | sed 's/ #.*//' | grep -E '^([A-Z_]+=[^ ]* )*make( |$)' | sed "s,^,$page: ,"
	done <"$tmp/pages"
}

# Another Makefile's commands have a -C; what is quoted is some variable's value.
known()
{
	goals >"$tmp/goals"
	variables >"$tmp/variables"
	commands >"$tmp/commands"
	[ -s "$tmp/goals" ] && [ -s "$tmp/variables" ] && [ -s "$tmp/commands" ] || return
	grep -v -e ' -C ' "$tmp/commands" | while read -r page line; do
		printf '%s\n' "$line" | sed 's/"[^"]*"/x/g; s/\$([^)]*)/x/g; s/[;,].*//' | tr '[]|' '   ' | tr -s ' ' '\n' |
		while read -r word; do
			case $word in
			make|...|'')	;;
			[A-Z]*=*)	grep -qx "${word%%=*}" "$tmp/variables" || [ "${word%%=*}" = XDG_CACHE_HOME ] ;;
			*)		grep -qx -e "$word" "$tmp/goals" ;;
			esac || echo "$page $line: '$word'"
		done
	done | nothing
}

# The help: every command, every variable that make hands on, no other command.
helped()
{
	make -s help >"$tmp/help" || return
	{
		for goal in $(goals); do
			[ "$goal" = help ] || grep -q "^make $goal \|(make $goal:" "$tmp/help" || echo "not in the help: $goal"
		done
		for goal in $(sed -n 's/^make \([a-z-]*\).*/\1/p' "$tmp/help"); do
			goals | grep -qx "$goal" || echo "no such goal: $goal"
		done
		for var in $(variables); do
			grep -q "\b$var=" "$tmp/help" || echo "not in the help: $var="
		done
	} | nothing
}

# A mutant's header names cases of the functional test, the quickest first.
headers()
{
	for f in patches/mutants/*.patch; do
		id=$(basename "$f" .patch)
		field "$id" killer | sed 's/stress:.*//' | grep -o '[a-z]\+\(_[a-z0-9]\+\)\+' |
		while read -r name; do
			grep -q "^static void case_$name(void)" \
				tools/testing/selftests/kvm/x86/sev_snp_vmsa_punch_hole.c || echo "$f: $name"
		done
	done | nothing
}

check "links lead somewhere" links
check "paths are there" paths
check "commands: make knows the goals and the variables" known
check "the help is complete" helped
check "mutants: headers name cases that there are" headers
done_testing
