#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The bounded search misses no interleaving: random programs on a toy machine, against all
# scripts of choices.  No emulator is involved.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

toy() { "${PYTHON:-python3}" tests/sched/model.py "$@"; }

check "2 CPUs, one preemption" toy 2 4 6 1 200
check "2 CPUs, two preemptions" toy 2 4 5 2 100
check "3 CPUs, one preemption" toy 3 3 3 1 100
check "CPUs that wait, one preemption" toy 3 3 5 1 200 wait
check "CPUs that wait, two preemptions" toy 3 3 3 2 60 wait
check "4 CPUs that wait" toy 4 3 3 1 40 wait
check "IPIs, one preemption" toy 2 4 6 1 300 ipi
check "IPIs, two preemptions" toy 2 4 5 2 100 ipi
check "IPIs, 3 CPUs" toy 3 4 3 1 100 ipi
check "store buffers, one preemption" toy 2 2 4 1 200 tso
check "store buffers, two preemptions" toy 2 2 3 2 60 tso
check "store buffers and IPIs" toy 2 3 4 1 60 ipi tso
done_testing
