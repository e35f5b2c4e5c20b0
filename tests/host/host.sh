# SPDX-License-Identifier: GPL-2.0-only
#
# For the tests on the emulated host: one boot, its verdict, its results.
# Sourced from the top folder, after tests/tap.sh.

LOGS=${SNP_BUILD:-$PWD/build}/check
mkdir -p "$LOGS"
forget_settings CONFIG
QUIET=1
export QUIET

# boot NAME [VARIABLE=VALUE]... : scripts/run with its logs in $LOGS/NAME and
# what it said in $LOGS/NAME.out; its exit code.
boot()
{
	_bn=$1
	shift
	_brc=0
	env OUT="$LOGS/$_bn" "$@" scripts/run >"$LOGS/$_bn.out" 2>&1 || _brc=$?
	return $_brc
}

# passes NAME [VARIABLE=VALUE]... : a boot whose verdict is PASS
passes()
{
	boot "$@" || { tail -n 12 "$LOGS/$1.out"; return 1; }
}

# verdict NAME WORD : that boot's verdict; else what it said last
verdict()
{
	grep -q "^VERDICT: $2 " "$LOGS/$1.out" || { tail -n 12 "$LOGS/$1.out"; return 1; }
}

# result NAME TEST : how often TEST was ok in that boot, and how often not
result()
{
	sed -n "s/^\(not ok\|ok\) [0-9]* selftests: kvm: \($2\)\( \(# .*\)\)\{0,1\} *$/\1 \4/p" "$LOGS/$1/ktap.log" |
		sed 's/ *$//' | sort | uniq -c | sed 's/^ *//' | tr '\n' ',' | sed 's/,$//'
}

# is WANT COMMAND... : the command's output is WANT
is()
{
	_iw=$1
	shift
	_ig=$("$@")
	[ "$_ig" = "$_iw" ] || { echo "'$_ig', not '$_iw'"; return 1; }
}

# logged NAME PATTERN : PATTERN is on that boot's console
logged()
{
	grep -qaE -- "$2" "$LOGS/$1/console.log" || { echo "not on the console: $2"; tail -n 20 "$LOGS/$1/console.log"; return 1; }
}
