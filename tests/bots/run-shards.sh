#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Jobs in parts (SHARD=i/n, make merge), with work that takes no time: what is built and
# booted is made up, the scripts that deal it out and put it together are the project's.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
unset KERNEL KERNELS TESTS ARGS KDIR CONFIG OUT IN SHARD RUNS BATCH SOAK M BUDGET SEEDS SCHED SMP MEM APPEND FRESH ALL SEED STRESS
c=$tmp/clone
mkdir -p "$c" "$tmp/cache" "$tmp/st"
cp -r Makefile scripts vm patches "$c/"
SNP_CACHE=$tmp/cache PARALLEL=1 TMP_CALLS=$tmp
export SNP_CACHE PARALLEL TMP_CALLS
printf 'kvm:sev_snp_a_test\nkvm:sev_snp_b_test\nkvm:sev_snp_vmsa_punch_hole_stress\n' >"$tmp/st/kselftest-list.txt"
mkdir "$tmp/st/kvm"
for t in sev_snp_a_test sev_snp_b_test sev_snp_vmsa_punch_hole_stress; do
	cp /bin/true "$tmp/st/kvm/$t"
done
for s in packages build-initramfs symbols; do
	printf '#!/bin/sh\nexit 0\n' >"$c/scripts/$s"
done
printf '#!/bin/sh\necho "%s/st"\n' "$tmp" >"$c/scripts/build-selftests"
printf '#!/bin/sh\necho "%s/qemu"\n' "$tmp" >"$c/scripts/build-qemu"
printf '#!/bin/sh\n[ "$1" = --check ] || echo "%s/kernel/$1"\n' "$tmp" >"$c/scripts/build-kernel"
# A boot: its third one is the last that the machine lives to see, if it is to die.
cat >"$c/scripts/run" <<'RUN'
#!/bin/sh
[ "${1-}" != --check ] || exit 0
echo "$KERNEL $TESTS $LOOPS" >>"$TMP_CALLS/calls"
if [ -e "$TMP_CALLS/die" ] && [ "$(wc -l <"$TMP_CALLS/calls")" -ge 3 ]; then
	kill -9 "-$(ps -o pgid= -p $$ | tr -d ' ')"
fi
mkdir -p "$OUT"
i=0
while [ "$((i += 1))" -le "${LOOPS:-1}" ]; do
	printf '# selftests: kvm: %s\n# # RUN snp.c ...\n# ok 1 snp.c\nok %s selftests: kvm: %s\n' "${TESTS%% *}" "$i" "${TESTS%% *}"
done >"$OUT/ktap.log"
: >"$OUT/results.tsv"
case $KERNEL in
6.12*)	echo "cause: may lack CVE-2026-90040, launch-vmsa, KVM_SEV_SNP_LAUNCH_START failed"; echo "VERDICT: FAIL  kernel=k tests=t time=1s" ;;
*)	echo "VERDICT: PASS  kernel=k tests=t time=1s" ;;
esac
RUN
# A machine that is copied: every fifth seed fails, and every mutant.
cat >"$c/scripts/snapshot.sh" <<'SNAP'
snapshot_boot() { snap=$1 snap_running=0 snap_queue=; mkdir -p "$1"; : >"$1/console.log"; : >"$1/ktap.log"; : >"$1/qemu.log"; echo $$ >"$1/pid"; }
snapshot_run()
{
	mkdir -p "$1"; : >"$1/console.log"; : >"$1/qemu.log"
	snap_queue="$snap_queue $1" snap_running=$((snap_running + 1))
	_ok=ok
	case $1 in
	*/clean*) ;;
	*/seed-*[05]|*/[0-9][0-9]-*/run) _ok="not ok" ;;
	esac
	printf '%s\n' "1.0 # start sev_snp_a_test" "1.1 #  RUN           snp.c ..." "1.2 $_ok 1 snp.c" "1.3 # exit 0" "1.4 # end of run" >"$1/ktap.log"
}
snapshot_wait()
{
	set -- $snap_queue
	d=$1 how=exit code=0 cpu=1
	shift
	snap_queue=$* snap_running=$((snap_running - 1))
}
snapshot_end() { :; }
SNAP
chmod +x "$c"/scripts/*

# job NAME VARIABLE... : as a whole, and in three parts that are merged: the same results
job()
{
	_job=$1
	shift
	_whole=0 _merged=0
	(cd "$c" && env "$@" OUT="$tmp/$_job" scripts/"$_job") >"$tmp/whole" 2>"$tmp/err" || _whole=$?
	[ $_whole -le 1 ] || { cat "$tmp/err"; return 1; }
	for _i in 1 2 3; do
		_rc=0
		(cd "$c" && env "$@" SHARD=$_i/3 scripts/"$_job") >"$tmp/part" 2>"$tmp/err" || _rc=$?
		[ $_rc -le 1 ] || { cat "$tmp/err"; return 1; }
	done
	_dir=build/$([ "$_job" = kills ] && echo explore || echo "$_job")
	(cd "$c" && IN="$_dir.1-of-3 $_dir.3-of-3 $_dir.2-of-3" OUT="$tmp/$_job.merged" make -s merge) >"$tmp/merged" 2>"$tmp/err" || _merged=1
	[ "$_merged" = "$([ $_whole = 0 ] && echo 0 || echo 1)" ] || { echo "exit $_whole as a whole"; cat "$tmp/merged" "$tmp/err"; return 1; }
	return 0
}
# same FILE [WHAT] : line by line, but for times, and WHAT
same()
{
	for _d in "$1" "$(echo "$1" | sed 's,/,.merged/,')"; do
		sed 's/"\(cpu_ms\|milliseconds\|key\|seconds\)":[^,}]*//g' "$tmp/$_d" | grep -v "${2:-^$}" | sort
	done >"$tmp/both"
	[ -s "$tmp/both" ] && sort "$tmp/both" | uniq -c | awk '$1 != 2 { print; bad = 1 } END { exit bad }'
}

check "mutants in three parts" job mutants M="0[0-7]*" RUNS=2 BATCH=4
check "... the same results" same mutants/results.json '"id":"clean'
check "... and a clean kernel in each" sh -c '[ "$(grep -c "\"id\":\"clean-[123]\.1\"" "$1")" = 3 ]' - "$tmp/mutants.merged/results.json"
check "matrix in three parts" job matrix KERNELS="7.3 7.3-proposed 6.12"
check "... the same cells, in the same order" sh -c 'cut -d , -f 1-5 "$1" >"$3.a"; cut -d , -f 1-5 "$2" | diff "$3.a" -' - "$tmp/matrix/results.json" "$tmp/matrix.merged/results.json" "$tmp/m"
check "... and the same table" diff "$tmp/whole" "$tmp/merged"
check "soak in three parts" job soak RUNS=5 BATCH=2 SOAK=9
check "... the same boots" same soak/results.json
check "... and the same table" diff "$tmp/whole" "$tmp/merged"
check "explore in three parts" job explore TESTS=sev_snp_a_test SEEDS=20 ALL=1 SHRINK=0 BUDGET=100
check "... the same seeds" same explore/7.3/results.jsonl
check "... the first one that fails" grep -q "7.3: 20 seeds, 4 failed, 0 unclear; first: seed 5 (sev_snp_a_test:c: test)" "$tmp/merged"
rm -rf "$c"/build/explore.*
check "how long a search takes, in three parts" job kills TESTS=sev_snp_a_test M="0[0-4]*" RUNS=2 BUDGET=60
check "... the same lines" same kills/kills.jsonl
check "... and the same table" diff "$tmp/whole" "$tmp/merged"

refuses()
{
	_want=$1
	shift
	_rc=0
	_said=$(cd "$c" && "$@" 2>&1) || _rc=$?
	printf '%s\n' "$_said"
	[ "$_rc" -eq 2 ] && printf '%s\n' "$_said" | tail -n 1 | grep -qF -- "$_want"
}
for s in 0/3 4/3 3 1/2/3 a/b /3; do
	check "SHARD=$s is no part" refuses "SHARD=$s" env SHARD=$s KERNELS=7.3 scripts/matrix
done
check "a part that is missing" refuses "of 3 parts these are missing: 2" env IN="build/soak.1-of-3 build/soak.3-of-3" scripts/merge
check "parts of different jobs" refuses "of make matrix" env IN="build/soak.1-of-3 build/matrix.2-of-3 build/soak.3-of-3" scripts/merge
check "a folder that is not there" refuses "no folder build/none" env IN="build/none" scripts/merge
another()
{
	cp -r "$c/build/soak.1-of-3" "$c/build/other" && sed -i '1s/"runs":[0-9]*/"runs":77/' "$c/build/other/results.json" &&
	refuses "no parts of one job" env IN="build/soak.1-of-3 build/soak.2-of-3 build/soak.3-of-3 build/other" scripts/merge
}
check "two results for the same thing" another

# killed JOB VARIABLE... : kill the second part of two in its third boot; called again it
# does what is left, and no more
killed()
{
	_job=$1
	shift
	rm -rf "$tmp/calls" "$c/build/$_job".*
	: >"$tmp/die"
	(cd "$c" && exec env "$@" SHARD=2/2 setsid -w "scripts/$_job") >/dev/null 2>&1
	rm -f "$tmp/die"
	[ "$(wc -l <"$tmp/calls")" = 3 ] || { echo "not killed:"; cat "$tmp/calls"; return 1; }
	refuses "is not finished: the same command with SHARD=2/2 goes on" env IN="build/$_job.2-of-2" scripts/merge || return
	(cd "$c" && env "$@" SHARD=2/2 scripts/"$_job") >/dev/null 2>&1
	[ "$(wc -l <"$tmp/calls")" = "$(($(wc -l <"$c/build/$_job.2-of-2/results.json") + 1))" ] || { cat "$tmp/calls"; return 1; }
}
check "a soak that was killed goes on" killed soak RUNS=4 BATCH=1
check "a matrix that was killed goes on" killed matrix KERNELS="7.3 7.2 6.12 7.3-proposed"
done_testing
