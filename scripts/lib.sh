# SPDX-License-Identifier: GPL-2.0-only
#
# Shared by the scripts of the workbench.  A script sources it with
#     . "$(dirname "$0")/lib.sh"
# and gets: where things live, messages, locks, atomic results, progress.
#
# Convention: a script prints its result (a path, a verdict) on stdout and
# everything meant for a reader on stderr.  Exit 2 is a wrong input or a
# broken environment, never the verdict of a test.

set -eu
# What is given to our make is not for the kernel's or QEMU's: an M= that goes down
# names a module's folder there, ARCH= and O= another build.
unset MAKEFLAGS MFLAGS MAKELEVEL KBUILD_OUTPUT ARCH CROSS_COMPILE
# depmod and modinfo are where the PATH of Debian's users does not lead.
PATH=$PATH:/usr/sbin:/sbin
# Sorting and character classes must not depend on the user's locale.
LC_ALL=C
export PATH LC_ALL
# dash runs no EXIT trap for a signal that is not caught.
trap 'exit 130' HUP INT TERM

PROJECT=snp-vmsa-selftests
# Not what git says: a tarball may lie in somebody else's repository.
TOP=$(cd "$(dirname "$0")" && pwd -P)
while [ -n "$TOP" ] && [ ! -e "$TOP/scripts/lib.sh" ]; do
	TOP=${TOP%/*}
done
say()	{ printf '%s\n' "$*" >&2; }
die()	{ printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

[ -n "${SNP_CACHE-}${XDG_CACHE_HOME-}${HOME-}" ] || die "HOME is not set: say where the caches go, XDG_CACHE_HOME="
CACHE=${SNP_CACHE:-${XDG_CACHE_HOME:-${HOME-}/.cache}/$PROJECT}
case $CACHE in
/*)	;;
*)	die "the cache needs a whole path, not $CACHE (XDG_CACHE_HOME)" ;;
esac
# Results that belong to this clone: logs, the last run.
BUILD=${SNP_BUILD:-$TOP/build}
processors=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
JOBS=${JOBS:-$processors}
# ccache learns the headers from the compiler, and need not preprocess a new file itself.
export CCACHE_DEPEND=1
# numbers FROM TO NAME... : die if one of these variables is set and no such number
numbers()
{
	_from=$1 _to=$2
	shift 2
	for _n; do
		eval "_v=\${$_n-}"
		case $_v in
		'')	;;
		*[!0-9]*|0?*|???????????*)	false ;;
		*)	[ "$_v" -ge "$_from" ] && [ "$_v" -le "$_to" ] ;;
		esac || die "$_n=$_v is no number from $_from to $_to"
	done
}
MANY=9999999999
numbers 1 1000 JOBS
# The system's Python: a user's own may lack what QEMU's setup imports.
PYTHON=/usr/bin/python3
[ -x "$PYTHON" ] || PYTHON=python3

# QEMU's releases that the emulator can be built from, and the one if QEMU= names none;
# then another one will do (build-qemu)
QEMU_KNOWN="10.2 10.0"
QEMU_ANY=${QEMU_ANY-${QEMU:+no}}
QEMU=${QEMU:-10.2}
export QEMU_ANY

# Settings of one run.  A script that makes many runs, and keeps their results, unsets them.
# shellcheck disable=SC2034
ONE_RUN="ARGS LOOPS TIMEOUT SILENCE STOCK MODE TRACE DEBUG SCHED SMP MEM PROG ROOT DISK HOST FIXED SELFTESTS EXTRA
	SNP_ASIDS MISC_SEV_ES APPEND RMP_BASE X86_SNP_SHUTDOWN STALE SNP_CPU FAULT"

# Not every shell expands the tilde of "make run KDIR=~/linux", and none one in a list.
_t=' ~/'
for _v in KERNEL KERNELS KDIR QEMU_SRC CONFIG OUT ROOT DISK SELFTESTS SVG STRESS IN; do
	eval "_w=\" \${$_v-}\""
	while case $_w in *"$_t"*) ;; *) false ;; esac; do
		_w="${_w%%"$_t"*} $HOME/${_w#*"$_t"}"
		eval "$_v=\${_w# }"
	done
done

case $TOP$CACHE$BUILD in
*[[:space:]:]*)	die "the paths of clone, cache and logs must not contain blanks or colons: $TOP, $CACHE, $BUILD" ;;
esac

{ [ -d "$CACHE" ] || mkdir -p "$CACHE"; } 2>/dev/null && [ -w "$CACHE" ] ||
	die "the cache cannot be written, $CACHE: say where else, XDG_CACHE_HOME="

# sha KEY... : 16 hex digits over the arguments and stdin.
sha()
{
	{ printf '%s\n' "$@"; cat; } | sha256sum | cut -c1-16
}

# hash_tree DIR... : one line per file, name and content, in a fixed order.
hash_tree()
{
	find "$@" -type f ! -name '.*.swp' ! -name '*~' -print0 2>/dev/null |
		sort -z | xargs -0r sha256sum
}

# judging : of what makes a verdict of logs, for the keys of results on record
judging() { (cd "$TOP/vm" && cat judge klog.sh causes fixes results.awk) | sha; }

# need_space DIR MIB : refuse early what would fail late.
need_space()
{
	mkdir -p "$1" 2>/dev/null || die "cannot create $1"
	_free=$(df -Pm "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
	[ "$_free" -ge "$2" ] ||
		die "$1 has $_free MiB free, $2 are needed: free some, or point XDG_CACHE_HOME elsewhere"
}

# lock NAME : one builder per result; a second one says for whom it waits.  The
# lock is the kernel's: it goes when its holder dies, however that happens.
lock()
{
	mkdir -p "$CACHE/lock" || die "cannot create $CACHE/lock"
	exec 9>>"$CACHE/lock/$1"
	flock -n 9 || {
		_holder=$(cat "$CACHE/lock/$1")
		say "waiting for ${_holder:-another run}, at work on $1"
		flock 9
	}
	printf 'process %s (%s, since %s)' $$ "${0##*/}" "$(date +%H:%M)" >"$CACHE/lock/$1"
}

unlock() { exec 9>&-; }

# lock_tree DIR : work in DIR alone.  Its time is that of its last use, for prune().
lock_tree()
{
	lock "${1##*/}"
	mkdir -p "$1"
	touch "$1"
}

# alone DIR : wait until no other run writes to DIR, and keep others out (descriptor 8)
alone()
{
	{ mkdir -p "$1" && [ -w "$1" ]; } 2>/dev/null || die "$1 cannot be written: say where else, OUT="
	exec 8>"$1/.lock"
	flock -n 8 || { say "waiting: another run writes to $1"; flock 8; }
}

# use_ready DIR FILE : print DIR and exit, if FILE is in it: made before, or by another
# run while this one waited for the lock
use_ready()
{
	[ -e "$1/$2" ] || return 0
	touch "$1"
	printf '%s\n' "$1"
	exit
}

# publish TMP FINAL : a finished result appears at once or not at all.
publish()
{
	rm -rf "$2.old"
	[ ! -e "$2" ] || mv "$2" "$2.old"
	mv "$1" "$2"
	rm -rf "$2.old"
}

# forget_run DIR : all that a run and its judging have left there
forget_run()
{
	rm -f "$1"/console.* "$1/ktap.log" "$1/qemu.log" "$1"/trace.log "$1/trace.raw" "$1"/trace-*.dat \
		"$1/result" "$1/results.tsv" "$1/run" "$1"/kunit.* "$1"/nested.* "$1/junit.xml"
}

# prune DIR N [PATTERN] : keep the N newest results, and those of the last hours,
# which another run may be about to use; caches must not grow without end.
prune()
{
	ls -1dt "$1"/${3:-*} 2>/dev/null | tail -n "+$(($2 + 1))" |
		while read -r _old; do find "$_old" -maxdepth 0 -mmin +180 -exec rm -rf {} +; done
}

# long NAME SECONDS[/STEPS] LOG COMMAND... : run COMMAND with its output in LOG.  On a
# terminal a line counts the seconds, and the lines that make and ninja have for their
# steps, against what the last run of NAME took here, or SECONDS and STEPS for the first
# one.  In a log it is two plain lines.
long_steps()
{
	grep -cE '^(  [A-Z]|\[[0-9]+/)' "$1" || :
}
long()
{
	_lname=$1 _lest=$2 _llog=$3
	shift 3
	mkdir -p "$CACHE/times" "$(dirname "$_llog")"
	_lfile=$CACHE/times/$(printf %s "$_lname" | tr -c 'A-Za-z0-9.\n' _)
	[ ! -r "$_lfile" ] || _lest=$(cat "$_lfile")
	_lall=${_lest#"${_lest%%/*}"} _lall=${_lall#/} _lest=${_lest%%/*}
	_lstart=$(date +%s)
	say "$_lname: started, about $_lest s; log: $_llog"
	if [ -t 2 ]; then
		while sleep 1 && kill -0 $$ 2>/dev/null; do
			printf '\r\033[K%s: %s of about %s s%s ' "$_lname" $(($(date +%s) - _lstart)) "$_lest" \
				"${_lall:+, step $(long_steps "$_llog") of about $_lall}" >&2
		done 9>&- &
		_ticker=$!
	fi
	_lrc=0
	"$@" >"$_llog" 2>&1 </dev/null || _lrc=$?
	if [ -t 2 ]; then
		kill "$_ticker" 2>/dev/null || :
		wait "$_ticker" 2>/dev/null || :
		printf '\r\033[K' >&2
	fi
	_ltook=$(($(date +%s) - _lstart))
	if [ "$_lrc" -ne 0 ]; then
		{ grep -m 8 -E '(error|Error|ERROR|E):|No space left' "$_llog" || tail -n 12 "$_llog"; } |
			cut -c 1-240 >&2
		die "$_lname failed after $_ltook s, exit $_lrc; whole log: $_llog"
	fi
	_lall=$(long_steps "$_llog")
	[ "$_lall" -gt 1 ] || _lall=
	printf '%s\n' "$_ltook${_lall:+/$_lall}" >"$_lfile.$$" && mv "$_lfile.$$" "$_lfile"
	say "$_lname: done in $_ltook s"
}

# shard NAME : for SHARD=i/n, sets out to a folder of its own below $BUILD (OUT= is the
# user's), and shard_i and shard_n
shard()
{
	out=${OUT:-$BUILD/$1} shard_i=1 shard_n=1
	[ -n "${SHARD-}" ] || return 0
	case $SHARD in
	*[!0-9/]*|*/*/*|/*|*/|0*|*/0*|????????*)	die "SHARD=$SHARD is not i/n, the i-th of n parts" ;;
	*/*)	shard_i=${SHARD%/*} shard_n=${SHARD#*/} ;;
	*)	die "SHARD=$SHARD is not i/n, the i-th of n parts" ;;
	esac
	[ "$shard_i" -le "$shard_n" ] || die "SHARD=$SHARD: there is no part $shard_i of $shard_n"
	out=${OUT:-$BUILD/$1.$shard_i-of-$shard_n}
	mkdir -p "$out" 2>/dev/null || die "$out cannot be written: say where else, OUT="
	echo "$SHARD" >"$out/shard"
}

# part : of the lines of stdin, those of this shard: every n-th, from the i-th on
part() { awk -v i="$shard_i" -v n="$shard_n" '(NR - 1) % n == i - 1'; }

# For an awk program: the median of r[1] to r[n], which are put in order.
# shellcheck disable=SC2034 # for who includes this
AWK_MEDIAN='function median(r, n,  i, j, t) {
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && r[j] < r[j - 1]; j--) { t = r[j]; r[j] = r[j - 1]; r[j - 1] = t }
	return n ? (r[int((n + 1) / 2)] + r[int(n / 2) + 1]) / 2 : 0
}'

# For an awk program: the members of a flat JSON object of one line, in json[].
# shellcheck disable=SC2034 # for who includes this
AWK_JSON='function read_json(line,  n, i, at, p) {
	split("", json)
	gsub(/^{"|}$/, "", line)
	n = split(line, p, /,"/)
	for (i = 1; i <= n; i++) {
		at = index(p[i], "\":")
		json[substr(p[i], 1, at - 1)] = substr(p[i], at + 2)
		gsub(/^"|"$/, "", json[substr(p[i], 1, at - 1)])
	}
}'
