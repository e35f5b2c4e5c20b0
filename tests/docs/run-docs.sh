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

# heeded : no command of the text sets what it does not read
heeded()
{
	grep -v -e ' -C ' "$tmp/commands" | sed 's/^[^ ]* //; s/"[^"]*"/x/g; s/\$([^)]*)/x/g; s/[;,].*//' | tr '[]|' '   ' |
	while read -r line; do
		goal=$(printf '%s\n' "$line" | tr ' ' '\n' | grep -v '=' | sed -n 2p)
		vars=$(printf '%s\n' "$line" | tr ' ' '\n' | sed -n 's/^\([A-Z_]*\)=.*/\1/p' | grep -vx 'XDG_CACHE_HOME' | tr '\n' ' ')
		case $goal in [a-z]*) printf "$goal %s\n" $vars ;; esac
	done | sort -u | awk '{ vars[$1] = vars[$1] " " $2 } END { for (goal in vars) print goal vars[goal] }' |
	while read -r goal vars; do
		# shellcheck disable=SC2086 # several
		scripts/reads "$goal" $vars 2>&1
	done | nothing
}

# The help: every command, every variable that make hands on, no other command.
helped()
{
	make -s help-all >"$tmp/help" && make -s help >"$tmp/short" || return
	{
		for goal in $(goals); do
			grep -q "^  make $goal " "$tmp/help" || echo "not in the help: $goal"
		done
		for goal in $(sed -n 's/^ *make \([a-z-]*\) .*/\1/p' "$tmp/help" "$tmp/short"); do
			goals | grep -qx "$goal" || echo "no such goal: $goal"
		done
		for var in $(variables); do
			grep -q "\b$var=" "$tmp/help" || echo "not in the help: $var="
		done
	} | nothing
}

# source PROGRAM : its file, of the product or of the lab
source_of() { find tools/testing/selftests/kvm/x86 tests/lab -name "$1.c" | grep .; }

# A mutant's header names programs, and cases that these have, if they are ours.
headers()
{
	for f in patches/mutants/*.patch patches/pairs/*.patch; do
		id=$(basename "$f" .patch)
		[ -z "$(field "$id" unseen)" ] || continue
		killers "$id" | grep '^sev_snp_' | tr ':,' '  ' | while read -r program cases; do
			file=$(source_of "$program") || { echo "$id: $program"; continue; }
			[ -n "$cases" ] || echo "$id: no case of $program"
			for c in $cases; do
				grep -qw -- "$c" "$file" || echo "$id: $program: $c"
			done
		done
	done | nothing
}

# cases FILE : the cases of a program on the harness
cases() { sed -n 's/^TEST_F[A-Z_]*([a-z_]*, *\([a-z0-9_]*\).*/\1/p; t; s/^[A-Z_]*\(TEST\|CASE\)[A-Z_]*(\([a-z0-9_]*\)[,)].*/\2/p' "$1"; }

# Cases that the judge knows by name are there; a kernel without the fix is told from one
# with it by them.
known_cases()
{
	cat tools/testing/selftests/kvm/x86/sev_snp_*.c tests/lab/*.c >"$tmp/tests"
	{
		sed '/^#/d' vm/causes | cut -f 1 | tr ' ' '\n' | grep -vx '\*'
		sed '/^#/d' vm/fixes | cut -f 4 | tr ' ' '\n'
	} | sort -u | while read -r c; do
		grep -qw -- "$c" "$tmp/tests" || echo "vm: $c"
	done | nothing
}

# Every case of every program is a row of docs/cases.md, below its file.
listed()
{
	for f in tools/testing/selftests/kvm/x86/sev_snp_*.c tests/lab/*.c; do
		program=$(basename "$f" .c)
		awk -v program="$program" '/^## / { on = $2 == program } on' docs/cases.md >"$tmp/part"
		grep -q . "$tmp/part" || echo "$program"
		# The first case of many programs has a part of its own.
		for c in $(cases "$f" | grep -vx vmsa_is_tracked); do
			grep -q "^| .*\b$c\b.* |.*|" "$tmp/part" || echo "$program: $c"
		done
	done | nothing
}

# told : a case that a text names is there, and in the program that it names
told()
{
	cat tools/testing/selftests/kvm/x86/sev_snp_*.c tests/lab/*.c >"$tmp/tests"
	# shellcheck disable=SC2046 # no blanks in these paths
	perl -0777 -ne '
		s/^diff .*//ms;
		s/\s+/ /g;
		print "$ARGV $1 $2\n" while /\b([a-z]+_[a-z_]+) of (sev_snp_[a-z_]+)/g;
		print "$ARGV $1 -\n" while /\b[Cc]ases? `?([a-z]+_[a-z_]+)/g' \
		$(find patches docs -name '*.patch' -o -name '*.md' ! -name kill-times.md -o -name cover-letter -o -name '*-test') >"$tmp/told"
	[ "$(wc -l <"$tmp/told")" -gt 5 ] || return
	while read -r page case program; do
		[ "$program" = - ] && file=$tmp/tests || file=$(source_of "$program") || { echo "$page: $program"; continue; }
		grep -qw -- "$case" "$file" || echo "$page: $case of $program"
	done <"$tmp/told" | nothing
}

# sourced : every rule of the emulator names the text that it was taken from, or is a
# strict choice
sourced()
{
	awk -F ' [|] ' '
		/^[|] rule [|]/ { on = $2 == "source" || $2 ~ /^why/; want = $2 == "source"; if (!on) print "a table without sources: " $0 }
		/^$/ { want = 0 }
		want && /^[|] [A-Z]+-/ {
			n++
			sub(/^[|] /, "", $1)
			if ($2 == "-" ? $0 !~ /strict choice/ : $2 !~ /(APM[23][ ,]|ABI[ ,]|Linux |PPR|VeriSMo|SVSM|MSVC|AMD on|log|^as )/)
				print $1 ": no source, and no strict choice"
		}
		END { if (n < 250) print n " rules" }' emulator/README.md | nothing
}

# cited : each comment that names such a rule names its source as well, in the emulator's
# files and in what its patches add, and each rule has such a comment
cited()
{
	# shellcheck disable=SC2046 # no blanks in these paths
	perl -0777 -ne '
		# rules TEXT : "A-01, -02, A-04..06" as lists of IDs, one per ID or range
		sub rules {
			my ($family, @lists) = "";
			while ($_[0] =~ /(?:\b([A-Z]{2,}(?:-[A-Z]+)?)|[ .])-(\d\d|[A-Z]\w+)\b(?: ?\.\. ?[-A-Z]*(\d\d))?/g) {
				$family = $1 // $family;
				push @lists, [map "$family-$_", $3 ? $2 .. $3 : $2];
			}
			return @lists;
		}
		if ($ARGV =~ /README/) {
			for (split /\n/) {
				my ($rule, $source) = split / \| /;
				$on = $source eq "source" if /^\| rule \|/;
				next unless $on && $rule =~ /^\| [A-Z]+-/;
				for my $id (map @$_, rules($rule)) {
					$as{$id} = $1 if $source =~ /^as ([A-Z]\S+)/;
					push @{$want{$id}}, $source =~ /\b(APM|ABI|PPR|Linux|VeriSMo|SVSM|MSVC|LLVM|AMD on|log|as the rules)/g, /(strict choice)/;
					$known{$id =~ s/-\w+$//r} = 1;
				}
			}
			push @{$want{$_}}, @{$want{$as{$_}}} for keys %as;
			next;
		}
		$_ = join "", /^\+(?!\+\+ )(.*\n)/mg if $ARGV =~ /patch$/;
		while (m{/\*.*?\*/}sg) {
			my $c = $& =~ s/\s*\n[ *]*/ /gr;
			for my $list (rules($c)) {
				my @ids = grep $known{s/-\w+$//r}, @$list or next;
				$named{$_} = 1 for @ids;
				print "$ARGV: @ids: no source in: $c\n" unless grep { my $id = $_; grep $c =~ /\b$_/, @{$want{$id}} } @ids;
			}
		}
		END {
			print "rules: ", scalar(keys %want), "\n" if keys %want < 250;
			print "$_: no comment\n" for grep !$named{$_}, sort keys %want;
		}' emulator/README.md $(find emulator -name '*.[ch]' -o -name '*.c.inc' -o -name '*.patch') | nothing
}

# Each bug of tests/qemu has a finding that says how to see it, and each of these a patch.
bugs_found()
{
	sed '/^#/d' tests/qemu/bugs | cut -f 1 | while read -r b; do
		grep -lq "make qemu-bugs BUG=$b\$" docs/findings/qemu-*.md || echo "no finding: bug $b"
		ls patches/qemu/*"$(printf %04d "$b")"-*.patch patches/qemu/*/"$(printf %04d "$b")"-*.patch 2>/dev/null | grep -q . ||
			echo "no patch: bug $b"
	done | nothing
}

check "links lead somewhere" links
check "paths are there" paths
check "commands: make knows the goals and the variables" known
check "the help is complete" helped
check "commands set what they read" heeded
check "mutants: headers name cases that there are" headers
check "the judge knows cases that there are" known_cases
check "docs/cases.md has every case" listed
check "cases that a text names are there" told
check "the emulator's rules name their sources" sourced
check "the emulator's comments do, too" cited
check "QEMU's bugs have findings and patches" bugs_found
done_testing
