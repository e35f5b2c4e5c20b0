# SPDX-License-Identifier: GPL-2.0-only
#
# The face of the workbench; each command is a script of its own.

# What the user sets travels to the scripts by the environment.
export KERNEL TESTS ARGS KDIR QEMU QEMU_SRC CONFIG LOOPS TIMEOUT STOCK TRACE DEBUG
export OUT JOBS SMP MEM SANITIZE QUIET M RUNS BATCH PARALLEL FRESH FIX KERNELS
export SIGNOFF SOAK VCPUS SECONDS_EACH SVG SCHED BUDGET SEED GDB ALL LIMIT CPUS
export SEEDS SHRINK GIVE_UP SPEND HANG SILENT STRESS STAGE CONVERT KEXEC BUG BOUND CASE CHOICES RACES TSO
export SHARD IN
export GENERATED MINUTES FIRST
export PA_REDUCTION SNP_ASIDS MISC_SEV_ES APPEND RMP_BASE X86_SNP_SHUTDOWN
export STALE SNP_CPU SNP_CPUS FAULT
export PROG ROOT DISK HOST FIXED SELFTESTS SILENCE

.DEFAULT_GOAL := help
.PHONY: help help-all run check check-all conformance fuzz shell mutants pair explore replay matrix series
.PHONY: apply unapply selftests paths packages report soak rates livelock
.PHONY: merge linux-guest qemu-bugs update clean distclean

# On the command line is nothing that the command does not read.
given := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
given := $(filter-out MAKEFLAGS MAKEOVERRIDES -*-command-variables-*-,$(given))
reads = @$(if $(given),scripts/reads $@ $(given) && )

help:
	@scripts/help

help-all:
	@scripts/help all

run:
	$(reads)scripts/run

check:
	$(reads)scripts/check $(CHECK)

check-all:
	$(reads)CHECK_ALL=1 scripts/check $(CHECK)

conformance:
	$(reads)tests/conformance/run-conformance.sh

fuzz:
	$(reads)FOREVER=1 tests/fuzz/run-fuzz.sh

shell:
	$(reads)MODE=shell scripts/run

mutants pair matrix series report explore soak merge rates livelock linux-guest qemu-bugs:
	$(reads)scripts/$@

apply unapply:
	$(reads)scripts/apply $@

replay:
	$(reads)scripts/explore --replay

selftests:
	$(reads)scripts/packages
	@scripts/build-selftests

paths:
	$(reads)scripts/paths

packages:
	$(reads)scripts/packages

update clean distclean:
	$(reads)scripts/clean $@
