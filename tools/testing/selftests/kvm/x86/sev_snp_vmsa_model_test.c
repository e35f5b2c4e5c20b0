// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM does what the model of snp_model.h says, in random sequences of what
 * guest and host can do to VMSAs.  A sequence that fails is made as short as possible,
 * in VMs of its own, and printed as a script.
 */
#include <ctype.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "snp_world.h"

/* -t says how long it takes. */
#define SNP_TIMEOUT_S	1000
#include "snp_test.h"

/* Heartbeats of a vCPU that has to stop, until it is said to run on. */
#define TOO_MANY_BEATS	1000000

static int seed = 1, nr_steps = 100, seconds = 3, shrink_seconds = 60;
static const char *script;

/* What the process that has the VM tells. */
static struct report {
	bool took_from_guest;
	int nr_done, nr_either, nr_punches[NR_SPTES];
	int met[SNP_M_NR_PAIRS];
	char failure[256];
} *report;

/* What always comes first.  Page 0 is page 4 of file 0, page 8 is page 8 of file 1. */
static const char * const scripts[] = {
	/*
	 * Memory that was used by one may become the VMSA of another at once, if it has been
	 * there since launch: what is new waits in a list of the CPU's for its LRU list.
	 */
	"aps 3, prepare 0 1, create 1 0, run 1, stop 1, punch 0 5 1, punch 0 4 1, prepare 1 2, run 1\n"
	"prepare 10 1, create 1 10, punch 1 8 1, punch 1 10 1, prepare 8 2, run 1\n"
	"prepare 4 1, create 1 4, run 1, halt 1, punch 0 1 1, punch 0 0 1, prepare 5 2, init_sipi 1\n"
	"prepare 0 1, prepare 11 1, create 1 11, run 1, halt 1, punch 1 9 1, punch 1 11 1, prepare 9 2\n"
	"on_init 1 0, wake 1, create 1 0, run 1, stop 1, punch 0 4 1, run 1",

	/* The last request counts, unless it was refused, and INIT brings nothing back. */
	"aps 3, prepare 0 1, prepare 1 2\n"
	"create 1 1, destroy 1, run 1, init_sipi 1\n"
	"on_init 1 1, destroy 1, run 1, init_sipi 1\n"
	"destroy 1, bad 1 6, bad 1 8, run 1, init_sipi 1\n"
	"create 1 1, create 1 0, run 1, init 1, init_sipi 1, on_init 1 1, destroy 1, init_sipi 1\n"
	"on_init 1 1, create 1 0, run 1, init 1, init_sipi 1, on_init 1 1, destroy 1, init_sipi 1\n"
	"create 1 1, destroy 1, create 1 0, run 1, init 1, init_sipi 1, destroy 1, init_sipi 1\n"
	"create 1 0, bad 1 6, bad 1 8, run 1, init 1, init_sipi 1, bad 1 8, init_sipi 1, stop 1\n"
	"nmi 1, run 1, stop 1, nmi 1, create 1 0, run 1, unhalt 1, destroy 1, stop 1, run 1\n"
	/* What KVM made at launch. */
	"run 2, init_sipi 2, destroy 0, run 0, wake 0, prepare 2 0, create 0 2, run 0, halt 0\n"
	"stop 0, prepare 3 0, create 0 3, get_mp 0, run 0, stop 0, prepare 2 0, create 0 2, wake 0",

	/* The launch VMSA until INIT; a VMSA in other hands; INIT before SIPI; many AP Destroy. */
	"aps 2, on_init 0 1, wake 0, prepare 0 0, create 0 0, run 0, stop 0, destroy 0, prepare 0 1\n"
	"create 1 0, run 1, stop 1, init_sipi 1, init 1, run 1, init_sipi 1, stop 1, nmi 1, nmi 1, run 1",
	"aps 2, prepare 0 0, create 0 0, run 0, destroy 0, create 0 0, destroy 0, create 0 0, stop 0\n"
	"punch 0 5 1, punch 0 4 1, prepare 1 1, run 0",

	/* Destroyed, replaced. */
	"aps 3, prepare 9 1, create 1 9, run 1, destroy 1, wake 1, punch 1 9 1, run 1, prepare 9 1\n"
	"create 1 9, run 1, destroy 1, punch 1 9 1, wake 1, prepare 9 1, create 1 9, run 1, destroy 1\n"
	"delete 2, bind 2 1 8, wake 1, create 1 9, run 1, delete 0, create 1 0, delete 2, bind 2 1 8\n"
	"run 1, bind 0 0 4, prepare 9 1, create 1 9, run 1, halt 1, punch 1 9 1, prepare 1 1\n"
	"create 1 1, prepare 2 1, create 1 2, punch 0 5 1, punch 0 6 1",

	/* INIT, and what others have done to the file. */
	"aps 3, prepare 0 1, create 1 0, run 1, prepare 1 1, on_init 1 1, zap 0 1, punch 0 4 1\n"
	"init_sipi 1, run 1, zap 1 1, punch 0 5 1, prepare 1 1, run 1, init 1, init_sipi 1, bad 1 8\n"
	"init_sipi 1, prepare 8 0, on_init 0 8, run 0, init 0, stop 0, get_mp 0, run 0, init_sipi 0, destroy 0\n"
	"on_init 0 8, punch 1 8 1, init_sipi 0, alloc 1 9 3, alloc 1 9 4\n"
	"delete 1, bind 1 0 0, delete 1, zap 1 1, punch 0 5 1, prepare 0 1, create 1 0, run 1, delete 0",

	/* Conversion over two memslots, one without SPTEs; a new file where both had one. */
	"aps 2, touch 4, share 3 2, touch 4, share 3 2, touch 4, zap 4 1, touch 3, share 3 2, touch 3\n"
	"touch 4, close 0, open 0, delete 1, bind 1 0 4, create 1 0, run 1, delete 0, prepare 4 1\n"
	"create 1 4, run 1, punch 0 4 1",
};

static struct snp_model model;
static u64 last[SNP_M_APS];		/* heartbeats */

static void __noreturn __printf(2, 3) fail(const struct snp_m_step *step, const char *fmt, ...)
{
	int len = sprintf(report->failure, "%s: ", snp_s_print(step));
	va_list args;

	va_start(args, fmt);
	vsnprintf(report->failure + len, sizeof(report->failure) - len, fmt, args);
	va_end(args);
	TEST_FAIL("%s", report->failure);
}

/*
 * What has to come of it
 */
static void note_heartbeats(void)
{
	int i;

	for (i = 0; i < model.nr_aps; i++)
		last[i] = ap_heartbeat(snp_w_ap(i));
}

/* The first vCPU that nobody is to run as, and whose guest code runs. */
static struct snp_ap *intruder(u64 beats)
{
	u32 as = 0;
	int i;

	for (i = 0; i < model.nr_aps; i++)
		as |= model.vcpu[i].state == SNP_M_RUNS ? BIT(model.vcpu[i].as) : 0;
	for (i = 0; i < model.nr_aps; i++) {
		if (!(as & BIT(i)) && ap_heartbeat(snp_w_ap(i)) > last[i] + beats)
			return snp_w_ap(i);
	}
	return NULL;
}

/* Is it where it has to be, or will it never get there? */
static void check_vcpu(const struct snp_m_step *step, int vcpu, u64 grace)
{
	struct snp_m_vcpu *v = &model.vcpu[vcpu];
	u64 beats = v->state == SNP_M_RUNS ? ap_heartbeat(snp_w_ap(v->as)) : 0;
	const struct snp_w_state *want = &snp_w_states[v->state];
	struct snp_ap *ap = snp_w_ap(vcpu), *other;
	bool there;

	/* One look is enough: a vCPU that sleeps may stir. */
	snp_wait_step("%s: wait for vCPU %u, which has to %s", snp_s_print(step), ap->vcpu->id,
		      want->what);
	snp_wait_until((there = snp_w_is_there(v, ap, beats)) || intruder(grace) ||
		       (!ap_is_running(ap) && want->in_run) ||
		       (ap_is_running(ap) && v->state == SNP_M_OUT));
	other = intruder(grace);
	if (other)
		fail(step, "guest code of vCPU %u ran on after its VMSA was gone, or elsewhere",
		     other->vcpu->id);
	report->nr_either += want != &snp_w_states[v->state];
	if (!there && !snp_w_is_there(v, ap, beats))
		fail(step, "vCPU %u has to %s, but %s: errno %d, %s", ap->vcpu->id,
		     want->what, ap_is_running(ap) ? "is in KVM_RUN" :
		     snp_w_states[SNP_M_TERMINATES].seen(ap) ? "ran its launch VMSA" :
		     ap_has_failed(ap) ? "does not run" : "KVM_RUN ended in",
		     ap->err, exit_reason_str(ap->vcpu->run->exit_reason));
}

static void check_all(const struct snp_m_step *step, u64 grace)
{
	int i;

	for (i = 0; i < model.nr_aps; i++)
		check_vcpu(step, i, grace);
}

static void do_step(const struct snp_m_step *step)
{
	int i, r, want;
	u64 beats;

	report->met[step->op * SNP_M_NR_MET + snp_m_meets(&model, step)]++;
	snp_step("%s", snp_s_print(step));
	if (snp_m_takes_from_guest(&model, step)) {
		report->took_from_guest = true;
		snp_may_damage();
	}
	r = snp_w_execute(&model, step);
	want = snp_m_do(&model, step);
	note_heartbeats();
	if (r != want)
		fail(step, "KVM answered %d, not %d", r, want);
	/* These need not wait for the vCPU to leave the guest. */
	if (step->op == SNP_M_DELETE || step->op == SNP_M_CLOSE || step->op == SNP_M_INIT ||
	    step->op == SNP_M_INIT_SIPI) {
		check_all(step, TOO_MANY_BEATS);
		note_heartbeats();
	}
	check_all(step, 0);

	/* And nothing else happens. */
	snp_wait_step("%s: wait for the control vCPU", snp_s_print(step));
	beats = ap_heartbeat(snp_w.control) + SNP_W_BEATS;
	snp_wait_until(ap_heartbeat(snp_w.control) >= beats || !ap_is_running(snp_w.control));
	if (!ap_is_running(snp_w.control))
		fail(step, "the control vCPU lost its VMSA, which nobody touched");
	check_all(step, 0);
	for (i = 0; i < model.nr_aps; i++) {
		u64 starts = ap_starts(snp_w_ap(i)), nmis = snp_w.nmis->nr[1 + i];

		if (starts != model.starts[i] || nmis != model.nmis[i])
			fail(step, "guest code of vCPU %u: %lu starts, not %d, %lu NMIs, not %d",
			     snp_w_ap(i)->vcpu->id, starts, model.starts[i], nmis, model.nmis[i]);
	}
	snp_no_damage();
	errno = 0;
}

/* In a process of its own, i.e. with a VM and a watchdog of its own. */
static bool runs_well(const struct snp_sequence *seq, bool quiet)
{
	int i, status;
	pid_t pid;

	report->nr_done = 0;
	report->took_from_guest = false;
	sprintf(report->failure, "no end, or KVM_RUN ended in an error");
	fflush(NULL);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed, errno %d", errno);
	if (pid) {
		TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed, errno %d", errno);
		return !status;
	}

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	TEST_ASSERT(!quiet || freopen("/dev/null", "w", stderr), "No /dev/null");
	snp_m_init(&model, seq->nr_aps, seq->gentle, snp_conversion_keeps_vmsa());
	snp_w_create(&model);
	snp_w.nr_punches = report->nr_punches;
	for (i = 0; i < seq->nr; i++, report->nr_done++) {
		if (!snp_m_illegal(&model, &seq->step[i]))
			do_step(&seq->step[i]);
	}
	_exit(KSFT_PASS);
}

/*
 * Make it smaller, unless the host may be damaged by it.  Nor must a script do what the
 * sequence did not, e.g. punch under a vCPU that is not stopped.
 */
static void shrink(struct snp_sequence *seq)
{
	char failure[sizeof(report->failure)];
	static struct snp_sequence other;
	struct timespec start;
	bool smaller = true;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &start);
	seq->nr = min(seq->nr, report->nr_done + 1);
	seq->gentle |= !report->took_from_guest;
	memcpy(failure, report->failure, sizeof(failure));
	while (smaller) {
		smaller = false;
		for (i = 0; snp_s_smaller(&other, seq, i); i++) {
			if (snp_case_begin(0) || timespec_elapsed(start).tv_sec >= shrink_seconds)
				break;
			if (!memcmp(&other, seq, sizeof(other)) || runs_well(&other, true))
				continue;
			*seq = other;
			seq->nr = min(seq->nr, report->nr_done + 1);
			memcpy(failure, report->failure, sizeof(failure));
			smaller = true;
			i--;
		}
	}
	memcpy(report->failure, failure, sizeof(failure));
}

static void run(struct snp_sequence *seq, int nr, struct timespec start)
{
	int i;

	if (runs_well(seq, false))
		return;
	fprintf(stderr, "# seed %d failed after %lu ms\n", nr,
		timespec_to_ns(timespec_elapsed(start)) / 1000000);
	shrink(seq);
	fprintf(stderr, "# script of %d steps%s:\n# aps %d\n", seq->nr,
		snp_case_begin(0) ? ", as short as a host allows that may be damaged" : "",
		seq->nr_aps);
	for (i = 0; i < seq->nr; i++)
		fprintf(stderr, "# %s\n", snp_s_print(&seq->step[i]));
	TEST_FAIL("%s", report->failure);
}

/* Say what was met, and what others met in as many steps. */
static void print_coverage(const int *other, int nr)
{
	int i, nr_met = 0;

	for (i = 0; i < SNP_M_NR_PAIRS; i++) {
		nr_met += !!report->met[i];
		if (other[i] >= 6 && !report->met[i])
			fprintf(stderr, "# not covered: %s, %s\n",
				snp_m_info[i / SNP_M_NR_MET].name,
				snp_m_met_names[i % SNP_M_NR_MET]);
	}
	fprintf(stderr, "# seed %d: %d x %d steps, %d pairs, punches cold %d, warm %d, either %d\n",
		seed, nr, nr_steps, nr_met, report->nr_punches[COLD], report->nr_punches[WARM],
		report->nr_either);
}

static void run_sequences(bool gentle)
{
	const bool keeps = snp_conversion_keeps_vmsa();
	static struct snp_sequence seq;
	static int mine[SNP_M_NR_PAIRS], other[SNP_M_NR_PAIRS];
	struct timespec start;
	int i;

	report = kvm_mmap(sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	seq.gentle = gentle;
	if (script) {
		TEST_ASSERT(snp_s_read(&seq, script), "No script: %s", script);
		run(&seq, 0, start);
		return;
	}

	for (i = 0; i < ARRAY_SIZE(scripts); i++) {
		TEST_ASSERT(snp_s_read(&seq, scripts[i]), "No script: %s", scripts[i]);
		run(&seq, -1 - i, start);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; timespec_elapsed(start).tv_sec < seconds; i++) {
		snp_s_generate(&seq, ~(seed + i), nr_steps, keeps, other);
		snp_s_generate(&seq, seed + i, nr_steps, keeps, mine);
		run(&seq, seed + i, start);
	}
	print_coverage(other, i);
}

/* A host without the fix survives that: no page is taken from a vCPU in the guest. */
SNP_TEST(out_of_guest, 1)
{
	run_sequences(true);
}

SNP_TEST_TRACKED

SNP_TEST(in_guest, 2)
{
	run_sequences(false);
}

static bool take_option(const char *opt, const char *value)
{
	static int * const numbers[] = {
		['n'] = &nr_steps, ['s'] = &seed, ['t'] = &seconds, ['x'] = &shrink_seconds,
	};
	const u8 c = opt[0] == '-' && value ? opt[1] : 0;

	if (c == 'r')
		script = value;
	else if (c < ARRAY_SIZE(numbers) && numbers[c] && isdigit(*value))
		*numbers[c] = atoi_non_negative(opt, value);	/* -t is the harness's, too */
	else
		return false;
	return true;
}

/* -s seed, -n steps, -t seconds, -x seconds to shrink, -r script, and the harness's own */
int main(int argc, char *argv[])
{
	char *args[64] = { argv[0] };
	int i, nr = 1;

	for (i = 1; i < argc && nr < 63; i++) {
		if (take_option(argv[i], argv[i + 1]))
			i++;
		else
			args[nr++] = argv[i];
	}
	nr_steps = min(nr_steps, SNP_M_MAX_STEPS);
	snp_test_init(&nr, args);
	exit(test_harness_run(nr, args));
}
