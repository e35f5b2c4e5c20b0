// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random sequences of the model's operations, two of them at a time where that makes
 * sense.  Some order of the two has to explain what comes of them (linearizability).
 *
 * The sequence is that of sev_snp_vmsa_model_test with the same seed.  Two neighbors
 * overlap if both orders are legal: a request by the guest beside something that
 * userspace does, or two things that userspace does, in two threads.
 */
#include <ctype.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "snp_race.h"
#include "snp_world.h"

#define SNP_TIMEOUT_S	1000
#include "snp_test.h"

#define OP(_op)		(1ull << SNP_M_##_op)

/* Answered without userspace, which is busy. */
#define GUEST_OPS	(OP(CREATE) | OP(ON_INIT) | OP(DESTROY) | OP(BAD) | OP(INIT) |	\
			 OP(INIT_SIPI) | OP(UNHALT))

/* Done by userspace, without the guest's help. */
#define HELPER_OPS	(OP(PUNCH) | OP(ALLOC) | OP(DELETE) | OP(BIND) | OP(RUN) | OP(STOP) | \
			 OP(SIGNAL) | OP(WAKE) | OP(NMI) | OP(SHARE) | OP(UNSHARE) | OP(ZAP))

/* Of the two, the longest time by which one begins later (iterations). */
#define MAX_DELAY	4000

static int seed = 1, nr_steps = 40, seconds = 3;
static const char *script;

static struct report {
	int nr_pairs, nr_overlaps, max_models;
	char failure[512];
} *report;

/*
 * All that may be the case: several, if more than one order explains what was seen.  Then
 * what comes next, in each order.
 */
#define MAX_MODELS	8
static struct snp_model model[MAX_MODELS], outcome[2 * MAX_MODELS];
static int nr_models;

struct party {
	const struct snp_m_step *step;
	u64 delay, begin_ns, end_ns;
	int answer;
};

static struct {
	sem_t go, done;
	struct party *party;
} helper;

static void act(struct party *p)
{
	u64 i;

	for (i = 0; i < p->delay; i++)
		cpu_relax();
	p->begin_ns = snp_now();
	p->answer = snp_w_execute(&model[0], p->step);
	p->end_ns = snp_now();
}

static void *help(void *arg)
{
	static struct snp_steps steps;

	snp_steps = &steps;
	snp_take_place((struct snp_place) { .cpu = *(int *)arg, .fifo = 1 });
	for (;;) {
		while (sem_wait(&helper.go))
			;
		act(helper.party);
		WRITE_ONCE(steps.what[0], 0);	/* for the watchdog */
		sem_post(&helper.done);
	}
	return NULL;
}

static bool of_one_vcpu(const struct snp_m_step *a, const struct snp_m_step *b)
{
	return *snp_m_info[a->op].args == 'v' && *snp_m_info[b->op].args == 'v' &&
	       a->arg[0] == b->arg[0];
}

static bool is_legal(const struct snp_m_step *first, const struct snp_m_step *second)
{
	struct snp_model m;
	int i;

	for (i = 0; i < nr_models; i++) {
		m = model[i];
		if (snp_m_illegal(&m, first))
			return false;
		snp_m_do(&m, first);
		if (second && snp_m_illegal(&m, second))
			return false;
	}
	return true;
}

/* Can the helper do @b while @a is done by whoever gives orders? */
static bool can_overlap(const struct snp_m_step *a, const struct snp_m_step *b)
{
	return (HELPER_OPS & 1ull << b->op) &&
	       ((GUEST_OPS & 1ull << a->op) ||
		((HELPER_OPS & 1ull << a->op) && !of_one_vcpu(a, b))) &&
	       is_legal(a, b) && is_legal(b, a);
}

/* Is this what was seen?  @beats: of each vCPU's guest code, when it was over. */
static bool explains(struct snp_model *m, const u64 *beats)
{
	int i;

	for (i = 0; i < m->nr_aps; i++) {
		struct snp_m_vcpu *v = &m->vcpu[i];

		if (!snp_w_is_there(v, snp_w_ap(i), v->state == SNP_M_RUNS ? beats[v->as] : 0) ||
		    ap_starts(snp_w_ap(i)) != m->starts[i] || snp_w.nmis->nr[1 + i] != m->nmis[i])
			return false;
	}
	return true;
}

/* Nobody's guest code moves but that of vCPUs that run. */
static bool is_quiet(const struct snp_model *m, const u64 *beats)
{
	u32 as = 0;
	int i;

	for (i = 0; i < m->nr_aps; i++)
		as |= m->vcpu[i].state == SNP_M_RUNS ? BIT(m->vcpu[i].as) : 0;
	for (i = 0; i < m->nr_aps; i++) {
		if (!(as & BIT(i)) && ap_heartbeat(snp_w_ap(i)) != beats[i])
			return false;
	}
	return true;
}

static void note_heartbeats(u64 *beats)
{
	int i;

	for (i = 0; i < model[0].nr_aps; i++)
		beats[i] = ap_heartbeat(snp_w_ap(i));
}

/* Wait until one of @nr outcomes is there to stay.  Returns which, as a mask. */
static u32 settle(int nr)
{
	u64 before[SNP_M_APS], now[SNP_M_APS], control;
	u32 found;
	int i;

	note_heartbeats(before);
	do {
		note_heartbeats(now);
		for (i = 0, found = 0; i < nr; i++)
			found |= explains(&outcome[i], before) ? BIT(i) : 0;
		if (!found)
			continue;
		control = ap_heartbeat(snp_w.control) + SNP_W_BEATS;
		snp_wait_until(ap_heartbeat(snp_w.control) >= control ||
			       !ap_is_running(snp_w.control));
		for (i = 0; i < nr; i++) {
			if (!explains(&outcome[i], before) || !is_quiet(&outcome[i], now))
				found &= ~BIT(i);
		}
	} while (!found && ap_is_running(snp_w.control));
	return found;
}

/*
 * Carry out @a, and @b beside it if there is one, and go on with what explains it.
 * Returns false if that is more than MAX_MODELS.
 */
static bool do_steps(const struct snp_m_step *a, const struct snp_m_step *b, unsigned int *random)
{
	struct party first = { .step = a }, second = { .step = b };
	int i, j, nr, want[2 * MAX_MODELS][2] = { };
	bool too_many = false;
	u32 found;

	for (i = nr = 0; i < nr_models; i++) {
		outcome[nr] = model[i];
		want[nr][0] = snp_m_do(&outcome[nr], a);
		if (b)
			want[nr][1] = snp_m_do(&outcome[nr], b);
		nr++;
		if (!b)
			continue;
		outcome[nr] = model[i];
		want[nr][1] = snp_m_do(&outcome[nr], b);
		want[nr][0] = snp_m_do(&outcome[nr], a);
		nr++;
	}
	i = snprintf(report->failure, sizeof(report->failure), "%s", snp_s_print(a));
	if (b)
		snprintf(report->failure + i, sizeof(report->failure) - i, " beside %s",
			 snp_s_print(b));
	snp_step("%s", report->failure);
	snp_may_damage();
	if (b) {
		*random = *random * 1664525 + 1013904223;
		*(*random >> 31 ? &first.delay : &second.delay) = (*random >> 8) % MAX_DELAY;
		helper.party = &second;
		sem_post(&helper.go);
	}
	act(&first);
	if (b) {
		while (sem_wait(&helper.done))
			;
		report->nr_pairs++;
		report->nr_overlaps += first.begin_ns < second.end_ns &&
				       second.begin_ns < first.end_ns;
	}

	snp_wait_step("%s: wait for what an order of them explains", report->failure);
	found = settle(nr);
	for (i = nr_models = 0; i < nr; i++) {
		if (!(found & BIT(i)) || want[i][0] != first.answer || want[i][1] != second.answer)
			continue;
		for (j = 0; j < nr_models && memcmp(&model[j], &outcome[i], sizeof(*model)); j++)
			;
		too_many |= j == MAX_MODELS;
		if (too_many)
			break;
		model[j] = outcome[i];
		nr_models = max(nr_models, j + 1);
	}
	TEST_ASSERT(nr_models, "%s: no order of them explains the answers %d and %d%s",
		    report->failure, first.answer, second.answer,
		    found ? "" : ", or the control vCPU, which stopped");
	report->max_models = max(report->max_models, nr_models);
	snp_no_damage();
	errno = 0;
	return !too_many;
}

/* In a process of its own, i.e. with a VM and a watchdog of its own. */
static void run(int nr, bool keeps)
{
	static int met[SNP_M_NR_PAIRS];
	static struct snp_sequence seq;
	unsigned int random = nr;
	int i, cpu, status;
	pthread_t thread;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed, errno %d", errno);
	if (pid) {
		TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed, errno %d", errno);
		TEST_ASSERT(!status, "seed %d: %s", nr, report->failure);
		return;
	}

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!script)
		snp_s_generate(&seq, nr, nr_steps, keeps, met);
	else
		TEST_ASSERT(snp_s_read(&seq, script), "No script: %s", script);
	snp_m_init(&model[0], seq.nr_aps, false, keeps);
	nr_models = 1;
	snp_w_create(&model[0]);
	snp_w.nr_punches = met;
	cpu = snp_nth_cpu(&snp_w.control->s->cpus, seq.nr_aps + 1);
	sem_init(&helper.go, 0, 0);
	sem_init(&helper.done, 0, 0);
	kvm_pthread_create(&thread, NULL, help, &cpu);

	for (i = 0; i < seq.nr; i++) {
		const struct snp_m_step *step = &seq.step[i], *next = NULL;

		if (!is_legal(step, NULL))
			continue;
		if (i + 1 < seq.nr && can_overlap(step, step + 1)) {
			next = &seq.step[++i];
		} else if (i + 1 < seq.nr && can_overlap(step + 1, step)) {
			next = step;
			step = &seq.step[++i];
		}
		if (!do_steps(step, next, &random))
			break;
	}
	_exit(KSFT_PASS);
}

SNP_TEST(overlap, 2)
{
	const bool keeps = snp_conversion_keeps_vmsa();
	struct timespec start;
	int i = 0;

	report = kvm_mmap(sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		run(seed + i++, keeps);
	} while (timespec_elapsed(start).tv_sec < seconds);
	fprintf(stderr, "# seed %d: %d x %d steps, %d pairs, %d overlapped, up to %d models\n",
		seed, i, nr_steps, report->nr_pairs, report->nr_overlaps, report->max_models);
	/* One sequence may have none: a search tries it with many schedules. */
	TEST_ASSERT(report->nr_overlaps || !seconds, "never entered its window");
}

/* -s seed, -n steps, -t seconds (0: one sequence), -r script, and the harness's own */
int main(int argc, char *argv[])
{
	static int * const numbers[] = { ['n'] = &nr_steps, ['s'] = &seed, ['t'] = &seconds };
	char *args[64] = { argv[0] };
	int i, nr = 1;

	for (i = 1; i < argc && nr < 63; i++) {
		const char *value = argv[i][0] == '-' ? argv[i + 1] : NULL;
		const u8 c = value ? argv[i][1] : 0;

		if (c == 'r') {
			script = value;
		} else if (c < ARRAY_SIZE(numbers) && numbers[c] && isdigit(*value)) {
			*numbers[c] = atoi_non_negative(argv[i], value);
		} else {
			args[nr++] = argv[i];
			continue;
		}
		i++;
	}
	nr_steps = min(nr_steps, SNP_M_MAX_STEPS);
	snp_test_init(&nr, args);
	exit(test_harness_run(nr, args));
}
