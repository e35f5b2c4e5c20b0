#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# In a clone that all nodes see:
#	sbatch --array=1-8 docs/bots/slurm.sh mutants RUNS=2
#	make merge IN="$(echo build/mutants.*-of-8)"
# A task that is killed is queued again, and continues after what it has done.  The parts
# are as many as the array's highest number: a few of them can be given again, by
# --array=3,5 --export=ALL,PARTS=8.
#
#SBATCH --job-name=snp-vmsa
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=part-%a.log
set -u
cd "${SLURM_SUBMIT_DIR:?not a job of Slurm}" || exit 2
exec make "$@" SHARD="${SLURM_ARRAY_TASK_ID:?no --array}/${PARTS:-$SLURM_ARRAY_TASK_MAX}"
