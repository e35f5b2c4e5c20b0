#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: try-slurm.sh [JOB [VARIABLE=VALUE]...]
#
# docs/bots/slurm.sh, for real: Slurm's controller and one node on this machine, as root,
# a job array of two parts, one at a time, and the merge.  The first part is killed after
# its first boot and queued again.  Nothing of it stays but the packages.  The default
# job is a soak of four boots.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd -P)
[ "$(id -u)" = 0 ] || { echo "try-slurm.sh: slurmd wants to be root" >&2; exit 2; }
"$top/scripts/packages" slurm
[ $# -gt 0 ] || set -- soak TESTS=sev_snp_ghcb_test RUNS=4 BATCH=1
dir=$(mktemp -d)
host=$(hostname -s)
pids='' id=''
trap '[ -z "$id" ] || { scancel "$id"; sleep 2; }; kill $pids 2>/dev/null; wait; rm -rf "$dir"' EXIT
trap 'exit 130' HUP INT TERM
cat >"$dir/slurm.conf" <<CONF
ClusterName=try
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/linear
ReturnToService=2
KillWait=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
mkdir "$dir/state" "$dir/spool"
# No accounting, no limits.  Before 23, slurmd did not start without a plugin.
case $(slurmd -V) in
*" 2"[0-2].*)	echo "CgroupPlugin=cgroup/v1" ;;
*)	echo "CgroupPlugin=disabled" ;;
esac >"$dir/cgroup.conf"
export SLURM_CONF="$dir/slurm.conf" SNP_BUILD="$dir/build"
slurmctld -D >"$dir/slurmctld.log" 2>&1 &
pids=$!
slurmd -D >"$dir/slurmd.log" 2>&1 &
pids="$pids $!"

# wait_for SECONDS WHAT COMMAND... : until COMMAND succeeds
wait_for()
{
	_left=$1 _what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		_left=$((_left - 1))
		[ $_left -gt 0 ] || {
			echo "try-slurm.sh: $_what; the last words of slurmctld and slurmd:" >&2
			tail -n 5 "$dir/slurmctld.log" "$dir/slurmd.log" >&2
			exit 2
		}
		sleep 1
	done
}
wait_for 120 "no node is idle" sh -c 'sinfo -h -o %T | grep -qx idle'
sinfo
cd "$top"
id=$(sbatch --parsable --array=1-2%1 --output="$dir/part-%a.log" docs/bots/slurm.sh "$@")
echo "job $id: make $*"
wait_for 120 "the first part does not start" sh -c "squeue -h -j ${id}_1 -o %T | grep -qx RUNNING"
wait_for 1800 "the first part has done nothing" sh -c "
	grep -q ' s, VERDICT' '$dir/part-1.log' || ! squeue -h -j ${id}_1 -o %T | grep -qx RUNNING"
scontrol requeue "${id}_1" && echo "killed and queued again: part 1"
while squeue -h -j "$id" 2>/dev/null | grep -q .; do sleep 2; done
for i in 1 2; do
	echo "part $i:"
	sed 's/^/    /' "$dir/part-$i.log"
done
make -s merge IN="$(echo "$dir"/build/"$1".*-of-2)"
