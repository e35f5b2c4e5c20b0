# SPDX-License-Identifier: GPL-2.0-only
#
# The face of the workbench; each command is a script of its own.

# What the user sets travels to the scripts by the environment.
export KERNEL TESTS ARGS KDIR QEMU_SRC CONFIG LOOPS TIMEOUT STOCK TRACE DEBUG
export OUT JOBS SMP MEM SANITIZE QUIET M RUNS BATCH PARALLEL FRESH FIX KERNELS
export SIGNOFF SOAK VCPUS SECONDS_EACH SVG SCHED BUDGET SEED GDB ALL LIMIT CPUS
export SEEDS SHRINK GIVE_UP SPEND HANG SILENT STRESS STAGE CONVERT BUG
export GENERATED MINUTES SHARD FIRST
export PA_REDUCTION SNP_ASIDS MISC_SEV_ES APPEND RMP_BASE X86_SNP_SHUTDOWN

.DEFAULT_GOAL := help
.PHONY: help run check check-all conformance fuzz shell mutants pair explore replay matrix series
.PHONY: apply unapply selftests paths packages report soak rates livelock
.PHONY: linux-guest update clean distclean

help:
	@sed -n 's/^# |\( \|$$\)//p' $(firstword $(MAKEFILE_LIST))

# | make run         boot a kernel on the emulated SNP host, run tests, say a verdict
# | make check       this project's own tests (CHECK="cli judge" for some of them)
# | make check-all   ... and what takes longer: all processor models, PREEMPT_RT, 20 runs
# |                  of each test
# | make conformance the emulated host, rule by rule, without Linux (KTAP)
# | make fuzz        a hypervisor and a guest that know no rules, until interrupted
# | make shell       a shell on the emulated host
# | make mutants     wrong fixes, and which test kills which (M="01* 15*" RUNS=5)
# |                  GENERATED=1: mistakes made by rule, and what share dies (MINUTES=60)
# | make pair        a real bug: 7.3, and 7.3 with its fix taken back (BUG=00-canary,
# |                  BUG=all: docs/pairs.md)
# | make explore     search for an interleaving that fails (M=14 or KERNEL=, BUDGET=60)
# |                  with RUNS=10 M="14* 17*": medians, beside the stress test's
# | make replay      run one that was found again, SEED=n, and draw it (GDB=1: under gdb)
# | make livelock    creations against virtual time, 1 to 32 vCPUs (KERNELS="7.3 7.3-fixed")
# | make matrix      kernels x tests, a verdict in each cell (KERNELS="7.3 6.12")
# | make soak        the tests many times, and for long (RUNS=100 SOAK=3600 BATCH=10)
# | make rates       what the stress test gets done with 1 to 32 vCPUs, with a plot
# |                  (VCPUS="2 4" SECONDS_EACH=10 SVG=file)
# | make linux-guest Debian's QEMU, OVMF and kernel: an SNP guest with CPUS=2;
# |                  CONVERT=1: it converts the VMSA page of a running CPU (docs/guest-convert.md)
# | make report      one HTML page of what the last runs here left behind
# | make series      the selftests as patches for `git am` and for posting (OUT=new
# |                  folder, STAGE=1 to 3, SIGNOFF=1), or the fix (FIX=6.12 or 7.3)
# | make apply       the selftests into the kernel tree KDIR= (make unapply: out again)
# | make selftests   the overlay on a copy of a kernel tree (KDIR=), built, installed, and
# |                  the folder printed: run_kselftest.sh is in it
# | make paths       build, and print where kernel, QEMU, selftests are
# | make packages    only look for, and install, what the builds need
# | make update      forget which versions were chosen: the next run asks the archive
# | make clean       remove this clone's logs and all cached builds, which other
# |                  clones use too; downloads stay
# | make distclean   remove all caches
# |
# | KERNEL=k         7.3 (default), 7.2, 6.12, 7.3-rt, 7.3-fixed, 6.12-fixed, mutant/ID,
# |                  7.3-inplace (conversion takes VMSAs away), 7.3-generated (patches/README.md), a
# |                  kernel tree, a bzImage (modules beside it or built in), or the
# |                  archive's own binary: debian (7.3), debian-rt, debian-6.12
# | TESTS="a b:c,d"  tests of the kvm target, all of a, cases c and d of b; default: ours,
# |                  sev_snp_*, without the lab's (tests/lab), sev_snp_lab_*
# | ARGS="..."       arguments for these tests
# | LOOPS=n          every test n times in one boot          TIMEOUT=s  per test
# | STOCK=1          the same QEMU with the SNP host switched off
# | KDIR=tree        kernel and selftests from this tree; with KERNEL=, selftests alone
# | QEMU_SRC=tree    QEMU 10.0 from here
# | CONFIG=debug     lockdep, KASAN; or rt: PREEMPT_RT; or a file, for this kernel's config
# | TRACE=1          what the SNP host did and refused, by which rule, to trace.log
# | TRACE=pattern    QEMU's trace events, to qemu.log         JOBS=n     default: all CPUs
# | SCHED=seed=1,mode=random   the interleaving follows from a seed (docs/schedule.md)
# | DEBUG=items      QEMU's -d items, to qemu.log            QUIET=1    no live output
# | SMP=n MEM=MiB    processors and memory of the SNP host (4, 2048)
# | PA_REDUCTION=n   physical address bits that encryption takes: 0 (default), 5 as on
# |                  Zen 3, 6 as on Zen 4 (of 48, 48 and 52 bits)
# | SNP_ASIDS=n      how many SEV-ES and SNP guests the processor can have at a time (99)
# | RMP_BASE=MiB     where the RMP begins (1024, or half of the low memory)
# | X86_SNP_SHUTDOWN=on  firmware that takes SNP_EN back when SNP is shut down (off)
# | MISC_SEV_ES=n    how many of them the misc cgroup allows the tests
# | APPEND="..."     more for the kernel's command line, kvm_amd.dump_invalid_vmcb=1 say
# | SANITIZE=address  QEMU built with ASan and UBSan, or SANITIZE=thread
# | PARALLEL=n       mutants, matrix, explore: machines at a time
# | FRESH=1          ... and forget what they have found out before
# | GIVE_UP=n        mutants: runs without a failure that are enough (3)
# | FIRST=test SHARD=0/2  mutants, GENERATED=1: the test before all others; every second one
# | SPEND=n          mutants: seconds after which a mutant gets no more runs (3600)
# | HANG=n SILENT=n  mutants: seconds after which a run counts as hung (400), if it has
# |                  said nothing for the last SILENT of them (60)
# | STRESS=file      explore, RUNS=n: results of mutants to stand beside (build/stress/...)
# | ALL=1 LIMIT=n    explore: go on after a failure; instructions until a run is given up
# | SEEDS=n SHRINK=s  explore: the last seed to try; seconds to look for a smaller failure
# |
# | Exit codes of scripts/run: 0 PASS, 1 FAIL, 4 SKIP, 5 CRASH, 124 TIMEOUT, 2 wrong
# | input or set-up (make itself says "Error N" and exits 2 for all but PASS).
# | Caches: $XDG_CACHE_HOME or ~/.cache, in snp-vmsa-selftests.

run:
	@scripts/run

check:
	@scripts/check $(CHECK)

check-all:
	@CHECK_ALL=1 scripts/check $(CHECK)

conformance:
	@tests/conformance/run-conformance.sh

fuzz:
	@FOREVER=1 tests/fuzz/run-fuzz.sh

shell:
	@MODE=shell scripts/run

mutants:
	@scripts/$@$(if $(GENERATED),-generated)

pair matrix series report explore soak rates livelock linux-guest:
	@scripts/$@

apply unapply:
	@scripts/apply $@

replay:
	@scripts/explore --replay

selftests:
	@scripts/packages
	@scripts/build-selftests

paths:
	@scripts/paths

packages:
	@scripts/packages

update clean distclean:
	@scripts/clean $@
