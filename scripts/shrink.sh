# SPDX-License-Identifier: GPL-2.0-only
#
# Sourced by scripts/explore when a search has found something, with its server
# still there: look for a schedule that does less, and fails alike.  Another
# schedule is another run, so a few seeds get a chance with each.  What is found
# goes to $smaller, the last line is the smallest; its logs to smaller-SEED.

shrink_end=$(($(date +%s) + SHRINK))
seed=$(printf '%s\n' "$first" | sed 's/^{"seed":\([0-9]*\),.*/\1/')
# Without the symbols, which are the same in all
cur=$(schedule "$seed" | sed 's/,seed=.*//; s/,symbols=.*//')
full() { echo "$1${symbols:+,symbols=$symbols},seed=$2,limit=$LIMIT"; }
# failure LINE : where and why, without numbers, which differ from run to run
failure() { printf '%s\n' "$1" | sed 's/.*"where":"\([^"]*\)","cause":"\([^"]*\)".*/\1 \2/; s/_PFN_[0-9a-f]*//; s/[0-9]//g'; }
alike=$(failure "$first")
seen=" "
option() { printf '%s\n' "$cur" | tr , '\n' | sed -n "s/^$1=//p"; }
# with NAME VALUE : the schedule with this option
with() { { printf '%s\n' "$cur" | tr , '\n' | grep -v "^$1="; echo "$1=$2"; } | paste -s -d , -; }

# finished : one of the copies; sets hit if it failed alike
finished()
{
	snapshot_wait
	# shellcheck disable=SC2046
	set -- $(judge "$d" "$how" "$code")
	[ "$1" = failed ] || return 0
	_line=$(printf '{"seed":%d,"verdict":"%s","where":"%s","cause":"%s",%s,"sched":"%s"}' \
		"${d##*/}" "$1" "$2" "$3" "$(stats "$d")" "$(full "$try" "${d##*/}")")
	[ "$(failure "$_line")" = "$alike" ] || return 0
	[ -n "$hit" ] && [ "$hit" -le "${d##*/}" ] || hit=${d##*/} hit_line=$_line
}

# try SCHED : take it if one of the seeds fails with it.
try()
{
	case $seen in *" $1 "*) return 1 ;; esac
	[ "$1" != "$cur" ] && [ "$(date +%s)" -lt "$shrink_end" ] || return 1
	seen="$seen$1 " try=$1 hit=
	for _s in "$seed" $((seed + 1)) $((seed + 2)) $((seed + 3)); do
		[ "$snap_running" -lt "$PARALLEL" ] || finished
		send "$out/smaller/$_s" "$(full "$1" "$_s")"
	done
	while [ "$snap_running" -gt 0 ]; do
		finished
	done
	[ -n "$hit" ] || return 1
	cur=$1 seed=$hit
	rm -rf "$out"/smaller-*; mv "$out/smaller/$hit" "$out/smaller-$hit"
	printf '%s\n' "$hit_line" >>"$smaller"
	say "still fails: $cur,seed=$seed"
}

# Each of these once; true if one was taken
smaller_step()
{
	_ipi=$(option ipi)
	if [ "${_ipi:-0}" -gt 0 ]; then
		try "$(with ipi 0)" && return
		[ "$_ipi" -lt 2000 ] || { try "$(with ipi $((_ipi / 2)))" && return; }
	fi
	_points=$(option points)
	[ "$_points" != all ] || _points=rmpupdate+vmrun+vmexit+ipi+arrival+tlb
	if [ -n "$_points" ] && [ "$_points" != none ]; then
		try "$(with points none)" && return
		case $_points in
		*+*)	for _p in $(printf '%s\n' "$_points" | tr + ' '); do
				try "$(with points "$(printf '%s\n' "$_points" | tr + '\n' |
					grep -vx "$_p" | paste -s -d + -)")" && return
			done ;;
		esac
	fi
	if [ "$(option mode)" = pct ]; then
		for _d in 1 2 $(($(option depth) - 1)); do
			[ "$_d" -lt 1 ] || [ "$_d" -ge "$(option depth)" ] ||
				{ try "$(with depth "$_d")" && return; }
		done
	fi
	_slice=$(option slice)
	[ "${_slice:-50000}" -ge 50000 ] || { try "$(with slice 50000)" && return; }
	return 1
}

say "a smaller version of seed $seed is looked for, for $SHRINK s (SHRINK=0: not)"
rm -rf "$smaller" "$out"/smaller-*
while smaller_step; do :; done
rm -rf "$out/smaller"

# Half the CPUs are another machine, with its own boot.
_left=$((shrink_end - $(date +%s)))
if [ "${SMP:-4}" -ge 4 ] && [ $_left -gt 0 ] &&
   _fewer=$(SMP=$((${SMP:-4} / 2)) SCHED=$cur${must:+,symbols=$(echo $must | tr ' ' +)} M='' KERNEL=$KERNEL TESTS=$TESTS ARGS=$ARGS \
	LIMIT=$LIMIT SHRINK=0 SEEDS=4 BUDGET=$_left FRESH=1 ALL='' OUT=$out/fewer-cpus \
	"$here/explore" 3>&- 4>&- 8>&-; [ $? = 1 ]); then
	_fewer=$(printf '%s\n' "$_fewer" | sed -n 's/^replay: //p')
else
	_fewer=
fi
