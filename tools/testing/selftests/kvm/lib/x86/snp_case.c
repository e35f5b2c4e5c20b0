// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requirements, options and cases of SNP tests, see snp_test.h.
 */
#include <linux/sizes.h>
#include <sys/wait.h>

#include "kselftest.h"
#include "snp_case.h"
#include "snp_ap.h"

#define NX_HUGE_PAGES	"/sys/module/kvm/parameters/nx_huge_pages"

/* Turns of the watchdog, and how long it sleeps in between (us). */
#define HUNG_TURNS	600
#define HUNG_SLEEP	10000

/* Shared by all processes of the test. */
static struct {
	pid_t runner;
	cpu_set_t cpus;		/* that the test may use */
	bool has_punched;	/* by a case that has not passed (yet) */
	int conversion;		/* 1: keeps a VMSA, -1: takes it away, 0: not known yet */
	bool zap_by_nx, nx;	/* -z, and how kvm.nx_huge_pages was before */
} *guard;

const char *snp_skip;
static struct snp_steps steps;		/* of the threads that have none of their own */
__thread struct snp_steps *snp_steps;

/*
 * Fail if nothing comes next, for many seconds and many turns on each CPU: a CPU that
 * is starved makes the turns longer, too.
 */
static void *watchdog(void *arg)
{
	struct snp_steps *steps = arg;
	u64 last = 0;
	int i;

	for (i = 0; i < HUNG_TURNS; i++) {
		if (READ_ONCE(steps->nr) != last || !READ_ONCE(steps->what[0]))
			i = 0;
		last = READ_ONCE(steps->nr);
		/* No window lasts that long, so it is not disturbed. */
		if (i > HUNG_TURNS / 4)
			pin_self_to_cpu(snp_nth_cpu(&guard->cpus, i));
		usleep(HUNG_SLEEP);
		/* The runner is gone, and nobody reads what this case says. */
		if (kill(guard->runner, 0))
			_exit(KSFT_FAIL);
	}
	/* What hangs in the kernel outlives the case. */
	snp_may_damage();
	TEST_FAIL("no end of: %s", steps->what + strlen("# "));
	return NULL;
}

void __snp_step(enum snp_step kind, const char *fmt, ...)
{
	struct snp_steps *to = snp_steps ?: &steps;
	pthread_t thread;
	va_list args;

	va_start(args, fmt);
	vsnprintf(to->what, sizeof(to->what), fmt, args);
	va_end(args);
	if (kind != SNP_WAIT && to == &steps)
		fputs(to->what, stderr);
	if (kind == SNP_PUNCH)
		snp_may_damage();
	if (!to->nr)
		kvm_pthread_create(&thread, NULL, watchdog, to);
	WRITE_ONCE(to->nr, to->nr + 1);
}

/*
 * How to zap the SPTE of a VMSA: a conversion to shared and back does it, unless
 * guest_memfd converts in place and thus takes the VMSA away.  What is left is to
 * toggle kvm.nx_huge_pages, which zaps the SPTEs of all VMs of the host.
 */
static void set_nx_huge_pages(bool on)
{
	FILE *f = fopen(NX_HUGE_PAGES, "w");

	TEST_ASSERT(f && fputs(on ? "force" : "off", f) >= 0 && !fclose(f),
		    "Cannot write to " NX_HUGE_PAGES ", errno %d", errno);
}

static void restore_nx_huge_pages(void)
{
	if (getpid() != guard->runner)
		return;
	WRITE_ONCE(guard->zap_by_nx, false);
	set_nx_huge_pages(guard->nx);
}

bool snp_conversion_keeps_vmsa(void)
{
	const gpa_t gpa = SZ_4G + PAGE_SIZE;
	u64 nr_validated;
	struct snp_vm *s;

	/* Have a VM of its own see whether the page is still the same. */
	if (!guard->conversion) {
		s = snp_vm_create(1);
		snp_add_slot(s, 1, gpa, 1, vm_create_guest_memfd(s->vm, PAGE_SIZE, 0), 0);
		snp_vm_launch(s);
		nr_validated = snp_order(s, guest_touch, gpa, 0, 0)->nr_validated;
		vm_mem_set_shared(s->vm, gpa, PAGE_SIZE);
		vm_mem_set_private(s->vm, gpa, PAGE_SIZE);
		snp_order(s, guest_touch, gpa, 0, 0);
		guard->conversion = s->order->nr_validated == nr_validated ? 1 : -1;
	}
	return guard->conversion > 0;
}

bool snp_can_zap(void)
{
	snp_skip = guard->zap_by_nx || snp_conversion_keeps_vmsa() ? NULL :
		   "no way to zap a VMSA's SPTE alone; -z zaps all SPTEs of all VMs";
	return !snp_skip;
}

void snp_zap(struct snp_vm *s, gpa_t gpa, u64 nr_pages)
{
	struct snp_ap *ap;

	snp_wait_step("zap the SPTEs of %lu pages from 0x%lx on", nr_pages, gpa);
	if (!guard->zap_by_nx || snp_conversion_keeps_vmsa()) {
		vm_mem_set_shared(s->vm, gpa, nr_pages * PAGE_SIZE);
		vm_mem_set_private(s->vm, gpa, nr_pages * PAGE_SIZE);
		return;
	}

	/* This kicks vCPUs in the guest, and may do so late: enter KVM_RUN again. */
	set_nx_huge_pages(!get_kvm_param_bool("nx_huge_pages"));
	/* If the runner has ended meanwhile, it has restored the old value: do so again. */
	if (!READ_ONCE(guard->zap_by_nx))
		set_nx_huge_pages(guard->nx);
	for (ap = &s->ap[1]; ap <= &s->ap[s->nr_aps]; ap++) {
		if (ap_is_running(ap) && !vcpu_get_stat(ap->vcpu, blocking)) {
			ap_stop(ap);
			ap_run(ap);
		}
	}
}

void snp_test_init(int *argc, char *argv[])
{
	struct kvm_sev_init init = { };
	struct kvm_vm *vm;
	int i, r;

	__TEST_REQUIRE(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SNP_VM),
		       "KVM cannot create SEV-SNP VMs on this host");
	__TEST_REQUIRE(!access("/dev/sev", R_OK | W_OK), "/dev/sev cannot be opened");

	/* EBUSY is for what the hardware has, and for what the cgroup allows. */
	vm = vm_create_barebones_type(KVM_X86_SNP_VM);
	r = __vm_sev_ioctl(vm, KVM_SEV_INIT2, &init);
	__TEST_REQUIRE(!r || errno != EBUSY, "no ASID is free for an SNP VM");
	kvm_vm_free(vm);
	errno = 0;

	guard = kvm_mmap(sizeof(*guard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	guard->runner = getpid();
	kvm_sched_getaffinity(0, sizeof(guard->cpus), &guard->cpus);

	for (i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "-z"))
			continue;
		memmove(&argv[i], &argv[i + 1], (*argc - i) * sizeof(*argv));
		(*argc)--;
		guard->zap_by_nx = true;
		guard->nx = get_kvm_param_bool("nx_huge_pages");
		atexit(restore_nx_huge_pages);
		signal(SIGINT, exit);
		signal(SIGTERM, exit);
		break;
	}

	if (get_kvm_amd_param_bool("dump_invalid_vmcb"))
		fprintf(stderr, "# note: kvm_amd.dump_invalid_vmcb makes the log long\n");

	/* The host may have one ASID: ask before a case has it, and give it back. */
	if (!fork())
		_exit(!snp_conversion_keeps_vmsa());
	wait(NULL);
	errno = 0;
}

int snp_nr_cpus(void)
{
	return CPU_COUNT(&guard->cpus);
}

void snp_may_damage(void)
{
	guard->has_punched = true;
}

void snp_no_damage(void)
{
	guard->has_punched = false;
}

const char *snp_case_begin(int nr_cpus)
{
	if (guard->has_punched)
		return "an earlier case failed, the host may be damaged";

	snp_skip = NULL;
	return snp_nr_cpus() < nr_cpus ? "fewer CPUs than the race needs" : NULL;
}

const char *snp_case_end(void)
{
	snp_no_damage();
	return snp_skip;
}
