#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: parallel.sh HOSTS N JOB [VARIABLE=VALUE]...
#
# A job in N parts on the machines in the file HOSTS, one a line, as GNU parallel's
# --sshloginfile has them, each with a clone in the folder CLONE (snp-vmsa-selftests, below
# the home).  A part that ends without a result, or whose machine goes away, is given out
# again, twice.  The results come to ./parts, and are merged to ./merged.
#
#	docs/bots/parallel.sh hosts 8 mutants RUNS=2
set -eu
[ $# -ge 3 ] || { echo "usage: see the head of this file" >&2; exit 2; }
hosts=$1 n=$2 job=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd -P)
mkdir -p parts
# For the shell over there
set -- "$(for a; do printf "'%s' " "$(printf %s "$a" | sed "s/'/'\\\\''/g")"; done)"
# Make says 2 for what failed as for what was not done: a result is what counts.
part="cd ${CLONE:-snp-vmsa-selftests} && { make $job $* SHARD={}/$n >&2 || :; }
cd \${SNP_BUILD:-build} && r=\$(ls $job.{}-of-$n/results.json $job.{}-of-$n/kills.jsonl $job.{}-of-$n/*/asked 2>/dev/null)
[ -n \"\$r\" ] && tar -c $job.{}-of-$n/shard \$r \$(ls $job.{}-of-$n/*/results.jsonl 2>/dev/null)"
# What each prints is a tar file; they come one after another.
seq "$n" | parallel --sshloginfile "$hosts" --jobs 1 --retries 3 --joblog parts/log "$part" |
	tar -x -i -C parts
exec make -s -C "$here/../.." merge IN="$(ls -d "$PWD/parts/$job".*-of-"$n" | tr '\n' ' ')" OUT="$PWD/merged"
