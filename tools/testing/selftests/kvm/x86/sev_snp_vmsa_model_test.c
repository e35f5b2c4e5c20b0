// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM does what the model of snp_model.h says, in random sequences of what
 * guest and host can do to VMSAs.  A sequence that fails is made as short as possible,
 * in VMs of its own, and printed as a script.
 */
#include <ctype.h>
#include <linux/sizes.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_model.h"

/* -t says how long it takes. */
#define SNP_TIMEOUT_S	1000
#include "snp_test.h"

#define MAX_STEPS	1000
#define SHRINK_SECONDS	60
#define SLOT_ID(_place)	(10 + (_place))
#define CONTROL_ID	20
#define CONTROL_GPA	(SZ_4G + SZ_1G + PAGE_SIZE)

/* Heartbeats of a vCPU that runs on, and of the control vCPU while nothing may happen. */
#define NR_BEATS	50

#define CREATE		SVM_VMGEXIT_AP_CREATE
#define ON_INIT		SVM_VMGEXIT_AP_CREATE_ON_INIT

static int seconds = 4, nr_steps = 100;
static const char *script;

struct sequence {
	int nr_aps, nr;
	bool gentle;
	struct snp_m_step step[MAX_STEPS];
};

/* What the process that has the VM tells. */
static struct report {
	bool took_from_guest;
	int nr_done, nr_either, nr_punches[NR_SPTES], met[SNP_M_NR_OPS][SNP_M_NR_MET];
	char failure[256];
} *report;

static struct snp_model model;
static struct snp_vm *vm;
static struct snp_ap *control;
static int fds[SNP_M_FILES];
static u64 bases[SNP_M_FILES];		/* first page of the file that counts */
static gpa_t gpas[SNP_M_PLACES];
static u64 last[SNP_M_APS];		/* heartbeats */

static struct snp_ap *ap_of(int vcpu)
{
	return &vm->ap[1 + vcpu];
}

static gpa_t gpa_of(int page)
{
	return gpas[page / SNP_M_SLOT_PAGES] + page % SNP_M_SLOT_PAGES * PAGE_SIZE;
}

/*
 * Guest
 */
static void guest_psc(struct snp_order *order)
{
	order->status = snp_psc(order->arg[0], 1, order->arg[1]);
}

/*
 * Operations
 */
static void __noreturn __printf(1, 2) fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(report->failure, sizeof(report->failure), fmt, args);
	va_end(args);
	TEST_FAIL("%s", report->failure);
}

static int request(u64 info_1, gpa_t gpa, u64 features)
{
	struct ghcb_status status = snp_order(vm, guest_ap_request, info_1, gpa, features)->status;

	return status.resp ? status.info : 0;
}

/* What differs from AP Create of page 1 by the vCPU: SW_EXITINFO1, gpa, features. */
static const u64 bad[SNP_M_NR_BAD][3] = {
	[SNP_M_BAD_ID]			= { BIT_ULL(32) },
	[SNP_M_BAD_ID_HIGH]		= { BIT_ULL(40) },
	[SNP_M_BAD_REQUEST]		= { CREATE ^ (SVM_VMGEXIT_AP_DESTROY + 1) },
	[SNP_M_BAD_VMPL]		= { BIT(16) },
	[SNP_M_BAD_FEATURES]		= { 0, 0, BIT(3) },
	[SNP_M_BAD_ON_INIT_FEATURES]	= { CREATE ^ ON_INIT, 0, BIT(4) },
	[SNP_M_BAD_NO_FEATURES]		= { 0, 0, SNP_NO_FEATURES },
	[SNP_M_BAD_UNALIGNED]		= { 0, 0x10 },
	[SNP_M_BAD_2M]			= { 0, 4 * PAGE_SIZE },
	[SNP_M_BAD_ON_INIT_2M]		= { CREATE ^ ON_INIT, 4 * PAGE_SIZE },
	[SNP_M_BAD_GPA]			= { 0, BIT_ULL(52) },
};

static int touch(gpa_t gpa)
{
	struct snp_ap *bsp = vm->server;
	struct kvm_run *run = bsp->vcpu->run;

	if (__snp_order(vm, guest_touch, gpa, 0, 0))
		return 0;
	if (bsp->err != EFAULT || run->exit_reason != KVM_EXIT_MEMORY_FAULT ||
	    run->memory_fault.gpa != gpa)
		ap_fail(bsp);
	vm_mem_set_private(vm->vm, gpa, PAGE_SIZE);
	if (!ap_run_to_sync(bsp))
		ap_fail(bsp);
	return -EFAULT;
}

static int psc(gpa_t gpa, enum psc_op op)
{
	if (!__snp_order(vm, guest_psc, gpa, op, 0)) {
		vcpu_handle_map_gpa_range(vm->server->vcpu);
		if (!ap_run_to_sync(vm->server))
			ap_fail(vm->server);
	}
	return vm->order->status.resp;
}

static int set_slot(int place, int file, int pgoff, u64 nr_pages)
{
	void *hva = (void *)memslot2region(vm->vm, SLOT_ID(place))->region.userspace_addr;

	return __vm_set_user_memory_region2(vm->vm, SLOT_ID(place), KVM_MEM_GUEST_MEMFD,
					    gpas[place], nr_pages * PAGE_SIZE, hva, fds[file],
					    (bases[file] + pgoff) * PAGE_SIZE) ? -errno : 0;
}

/* Userspace may map the first file. */
static void open_file(int file)
{
	u64 flags = vm_check_cap(vm->vm, KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP;

	fds[file] = vm_create_guest_memfd(vm->vm, (bases[file] + SNP_M_FILE_PAGES) * PAGE_SIZE,
					  file ? 0 : flags);
}

static int change_file(const int *arg, int mode)
{
	const s64 start = max_t(s64, bases[arg[0]] + arg[1], 0);
	const s64 end = bases[arg[0]] + arg[1] + arg[2];
	u64 nr_flushes = vm_get_stat(vm->vm, remote_tlb_flush_requests);
	int r = 0;

	if (start < end)
		r = fallocate(fds[arg[0]], mode | FALLOC_FL_KEEP_SIZE, start * PAGE_SIZE,
			      (end - start) * PAGE_SIZE) ? -errno : 0;
	if (mode)
		report->nr_punches[vm_get_stat(vm->vm, remote_tlb_flush_requests) != nr_flushes]++;
	return r;
}

/* The vCPU runs as somebody. */
static void halt(struct snp_ap *ap, struct snp_ap *as)
{
	u64 halts = READ_ONCE(as->shared->halts);

	WRITE_ONCE(as->shared->work, guest_halt);
	ap_wait_count(ap, &as->shared->halts, halts, "lost its VMSA, which nobody touched");
	ap_wait_blocked(ap);
	WRITE_ONCE(as->shared->work, NULL);
}

/* Returns what snp_m_do() does. */
static int execute(const struct snp_m_step *step)
{
	const bool is_vcpu = snp_m_info[step->op].args <= SNP_M_OF_VCPU_BAD;
	const u64 to = 3ull * (1 + step->arg[0]) << 32;
	struct snp_ap *ap = is_vcpu ? ap_of(step->arg[0]) : NULL;
	gpa_t gpa = is_vcpu ? 0 : gpa_of(step->arg[0]);
	const int *arg = step->arg;
	static void (* const vcpu_ops[SNP_M_NR_OPS])(struct snp_ap *ap) = {
		[SNP_M_INIT] = ap_init, [SNP_M_INIT_SIPI] = ap_init_sipi,
		[SNP_M_RUN] = ap_run, [SNP_M_STOP] = ap_stop, [SNP_M_WAKE] = ap_wake,
	};

	if (vcpu_ops[step->op]) {
		vcpu_ops[step->op](ap);
		return 0;
	}
	switch (step->op) {
	case SNP_M_PREPARE:
		return snp_order(vm, guest_prepare, gpa, ap_of(arg[1])->cpu, 0)->rmp;
	case SNP_M_RELEASE:
		return snp_order(vm, guest_release, gpa, 0, 0)->rmp;
	case SNP_M_CREATE:
		return request(to | CREATE, gpa_of(arg[1]), 0);
	case SNP_M_ON_INIT:
		return request(to | ON_INIT, gpa_of(arg[1]), 0);
	case SNP_M_DESTROY:
		return request(to | SVM_VMGEXIT_AP_DESTROY, 0, SNP_NO_FEATURES);
	case SNP_M_BAD:
		return request((to | CREATE) ^ bad[arg[1]][0], gpa_of(1) ^ bad[arg[1]][1],
			       bad[arg[1]][2]);
	case SNP_M_HALT:
		halt(ap, ap_of(model.vcpu[arg[0]].as));
		return 0;
	case SNP_M_TOUCH:
		return touch(gpa);
	case SNP_M_PSC_SHARE:
		return psc(gpa, SNP_PAGE_STATE_SHARED);
	case SNP_M_PSC_UNSHARE:
		return psc(gpa, SNP_PAGE_STATE_PRIVATE);
	case SNP_M_SHARE:
		vm_mem_set_shared(vm->vm, gpa, arg[1] * PAGE_SIZE);
		return 0;
	case SNP_M_ZAP:
		vm_mem_set_shared(vm->vm, gpa, arg[1] * PAGE_SIZE);
		fallthrough;
	case SNP_M_UNSHARE:
		vm_mem_set_private(vm->vm, gpa, arg[1] * PAGE_SIZE);
		return 0;
	case SNP_M_PUNCH:
		return change_file(arg, FALLOC_FL_PUNCH_HOLE);
	case SNP_M_ALLOC:
		return change_file(arg, 0);
	case SNP_M_DELETE:
		return set_slot(arg[0], 0, 0, 0);
	case SNP_M_BIND:
		return set_slot(arg[0], arg[1], arg[2], SNP_M_SLOT_PAGES);
	case SNP_M_CLOSE:
		kvm_free_fd(fds[arg[0]]);
		return 0;
	default:	/* SNP_M_OPEN */
		open_file(arg[0]);
		return 0;
	}
}

static const char *print(const struct snp_m_step *step)
{
	static char line[64];
	int i, len = sprintf(line, "%s", snp_m_info[step->op].name);

	for (i = 0; i < snp_m_info[step->op].nr_args; i++)
		len += sprintf(line + len, " %d", step->arg[i]);
	return line;
}

/*
 * What has to come of it
 */
static void note_heartbeats(void)
{
	int i;

	for (i = 0; i < model.nr_aps; i++)
		last[i] = ap_heartbeat(ap_of(i));
}

/* The first vCPU that nobody is to run as, and whose guest code runs. */
static struct snp_ap *intruder(void)
{
	u32 as = 0;
	int i;

	for (i = 0; i < model.nr_aps; i++)
		as |= model.vcpu[i].state == SNP_M_RUNS ? BIT(model.vcpu[i].as) : 0;
	for (i = 0; i < model.nr_aps; i++) {
		if (!(as & BIT(i)) && ap_heartbeat(ap_of(i)) != last[i])
			return ap_of(i);
	}
	return NULL;
}

static bool terminates(struct snp_ap *ap)
{
	return !ap->err && ap->vcpu->run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
	       ap->vcpu->run->system_event.data[0] == GHCB_MSR_TERM_LAUNCH_VMSA;
}

static bool is_there(struct snp_m_vcpu *v, struct snp_ap *ap, u64 beats)
{
	switch (v->state) {
	case SNP_M_RUNS:
		return ap_is_running(ap) && ap_heartbeat(ap_of(v->as)) >= beats + NR_BEATS;
	case SNP_M_SLEEPS:
		return ap_is_running(ap) && vcpu_get_stat(ap->vcpu, blocking);
	case SNP_M_FAILS:
		return !ap_is_running(ap) && ap_has_failed(ap);
	case SNP_M_TERMINATES:
		return !ap_is_running(ap) && terminates(ap);
	default:
		return !ap_is_running(ap);
	}
}

/* Is it where it has to be, or will it never get there? */
static void check_vcpu(const struct snp_m_step *step, int vcpu)
{
	static const char * const want[] = {
		"not be in KVM_RUN", "run", "sleep", "fail", "terminate"
	};
	struct snp_m_vcpu *v = &model.vcpu[vcpu];
	u64 beats = v->state == SNP_M_RUNS ? ap_heartbeat(ap_of(v->as)) : 0;
	const bool out = v->state == SNP_M_FAILS || v->state == SNP_M_TERMINATES;
	struct snp_ap *ap = ap_of(vcpu), *other;
	bool there;

	/* One look is enough: a vCPU that sleeps may stir. */
	snp_wait_step("%s: wait for vCPU %u, which has to %s", print(step), ap->vcpu->id,
		      want[v->state]);
	snp_wait_until((there = is_there(v, ap, beats)) ||
		       ap_is_running(ap) == (v->state == SNP_M_OUT) ||
		       (!out && !ap_is_running(ap)) || intruder());
	other = intruder();
	if (other)
		fail("%s: guest code of vCPU %u ran on after its VMSA was gone, or on another vCPU",
		     print(step), other->vcpu->id);
	if (v->state == SNP_M_SLEEPS && v->lost && !ap_is_running(ap) && ap_has_failed(ap)) {
		v->state = SNP_M_OUT;
		v->in_run = false;
		report->nr_either++;
	}
	if (!there && !is_there(v, ap, beats))
		fail("%s: vCPU %u has to %s, but %s: errno %d, %s", print(step), ap->vcpu->id,
		     want[v->state], ap_is_running(ap) ? "is in KVM_RUN" :
		     terminates(ap) ? "ran its launch VMSA" :
		     ap_has_failed(ap) ? "does not run" : "KVM_RUN ended in",
		     ap->err, exit_reason_str(ap->vcpu->run->exit_reason));
}

/* The end of a memslot or a file, and INIT, need not wait for the vCPU to leave the guest. */
static void settle(const struct snp_m_step *step)
{
	int i;

	if (step->op != SNP_M_DELETE && step->op != SNP_M_CLOSE && step->op != SNP_M_INIT)
		return;
	for (i = 0; i < model.nr_aps; i++) {
		snp_wait_step("%s: wait for vCPU %u to stop", print(step), ap_of(i)->vcpu->id);
		snp_wait_until(model.vcpu[i].state == SNP_M_RUNS || !ap_is_running(ap_of(i)) ||
			       is_there(&model.vcpu[i], ap_of(i), 0));
	}
	note_heartbeats();
}

static void do_step(const struct snp_m_step *step)
{
	int i, r, want;
	u64 beats;

	report->met[step->op][snp_m_meets(&model, step)]++;
	snp_step("%s", print(step));
	if (snp_m_takes_from_guest(&model, step)) {
		report->took_from_guest = true;
		snp_may_damage();
	}
	r = execute(step);
	want = snp_m_do(&model, step);
	note_heartbeats();
	if (r != want)
		fail("%s: KVM answered %d, not %d", print(step), r, want);
	settle(step);
	for (i = 0; i < model.nr_aps; i++)
		check_vcpu(step, i);

	/* And nothing else happens. */
	snp_wait_step("%s: wait for the control vCPU", print(step));
	beats = ap_heartbeat(control);
	snp_wait_until(ap_heartbeat(control) >= beats + NR_BEATS || !ap_is_running(control));
	if (!ap_is_running(control))
		fail("%s: the control vCPU lost its VMSA, which nobody touched", print(step));
	for (i = 0; i < model.nr_aps; i++) {
		check_vcpu(step, i);
		if (ap_starts(ap_of(i)) != model.starts[i])
			fail("%s: guest code of vCPU %u was started %lu times, not %d",
			     print(step), ap_of(i)->vcpu->id, ap_starts(ap_of(i)),
			     model.starts[i]);
	}
	snp_no_damage();
	errno = 0;
}

static void create_world(const struct sequence *seq)
{
	int i, file;

	vm = snp_vm_create(seq->nr_aps + 1);
	bases[1] = 2 * (snp_high_gpa(vm) + SZ_4G * PAGE_SIZE) / PAGE_SIZE + 5;
	bases[2] = 5;
	gpas[0] = SZ_4G + 3 * PAGE_SIZE;
	gpas[1] = gpas[0] + SNP_M_SLOT_PAGES * PAGE_SIZE;
	gpas[2] = snp_high_gpa(vm) + 3 * PAGE_SIZE;
	snp_m_init(&model, seq->nr_aps, seq->gentle, snp_conversion_keeps_vmsa());
	for (i = 0; i < SNP_M_FILES; i++)
		open_file(i);
	for (i = 0; i < SNP_M_PLACES; i++) {
		file = model.slot[i].file;
		snp_add_slot(vm, SLOT_ID(i), gpas[i], SNP_M_SLOT_PAGES, fds[file],
			     bases[file] + model.slot[i].pgoff);
		/* Its own reference to the file. */
		kvm_free_fd(memslot2region(vm->vm, SLOT_ID(i))->region.guest_memfd);
	}
	snp_add_slot(vm, CONTROL_ID, CONTROL_GPA, 1,
		     vm_create_guest_memfd(vm->vm, PAGE_SIZE, 0), 0);
	snp_vm_launch(vm);
	control = &vm->ap[seq->nr_aps + 1];
	ap_start(control, CONTROL_GPA);
}

/* In a process of its own, i.e. with a VM and a watchdog of its own. */
static bool runs_well(const struct sequence *seq, bool quiet)
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
	create_world(seq);
	for (i = 0; i < seq->nr; i++, report->nr_done++) {
		if (!snp_m_illegal(&model, &seq->step[i]))
			do_step(&seq->step[i]);
	}
	_exit(KSFT_PASS);
}

/*
 * Sequences
 */
static int any(struct kvm_random_state *rng, int nr)
{
	return kvm_random_u32(rng) % nr;
}

/* A page that has been prepared for the vCPU, if there is one. */
static int prepared_page(struct kvm_random_state *rng, const struct snp_model *m, int vcpu)
{
	int i, first = any(rng, SNP_M_PAGES);

	for (i = 0; i < SNP_M_PAGES && any(rng, 20); i++) {
		if (snp_m_image(m, (first + i) % SNP_M_PAGES) == vcpu)
			return (first + i) % SNP_M_PAGES;
	}
	return first;
}

static void any_step(struct kvm_random_state *rng, const struct snp_model *m,
		     struct snp_m_step *step)
{
	int vcpu = any(rng, m->nr_aps), page = m->vcpu[vcpu].gpa, slot;
	int i, total = 0, *arg = step->arg;

	/* Most of the time that of a vCPU, which may be made for another one. */
	if (page < 0 || !any(rng, 3))
		page = any(rng, SNP_M_PAGES);
	vcpu = any(rng, 3) ? vcpu : any(rng, m->nr_aps);
	slot = page / SNP_M_SLOT_PAGES;

	for (i = 0; i < SNP_M_NR_OPS; i++)
		total += snp_m_info[i].weight;
	for (i = 0, total = any(rng, total); total >= snp_m_info[i].weight; i++)
		total -= snp_m_info[i].weight;
	*step = (struct snp_m_step) { .op = i, .arg = { page, vcpu } };

	switch (snp_m_info[i].args) {
	case SNP_M_OF_VCPU ... SNP_M_OF_VCPU_BAD:
		arg[0] = vcpu;
		arg[1] = i == SNP_M_BAD ? any(rng, SNP_M_NR_BAD) : prepared_page(rng, m, arg[0]);
		break;
	case SNP_M_OF_RANGE:
		arg[0] = any(rng, 8) ? m->slot[slot].file : SNP_M_NONE;
		arg[0] = arg[0] == SNP_M_NONE ? any(rng, SNP_M_FILES) : arg[0];
		arg[2] = any(rng, 3) ? 1 : any(rng, 8) ? 1 + any(rng, SNP_M_FILE_PAGES) : SNP_M_FAR;
		arg[1] = m->slot[slot].pgoff + page % SNP_M_SLOT_PAGES;
		arg[1] -= any(rng, 2) * any(rng, min(arg[2], 4));
		break;
	case SNP_M_OF_PAGE_NR:
		arg[1] = 1 + any(rng, SNP_M_SLOT_PAGES - page % SNP_M_SLOT_PAGES);
		break;
	case SNP_M_OF_PLACE:
	case SNP_M_OF_BIND:
		arg[0] = slot;
		arg[1] = any(rng, 2) ? slot / 2 : any(rng, SNP_M_FILES);
		arg[2] = any(rng, 2) ? 4 * ((slot + 1) % 3) : any(rng, SNP_M_FILE_PAGES);
		break;
	case SNP_M_OF_FILE:
		arg[0] = any(rng, SNP_M_FILES);
		break;
	default:
		break;
	}
}

static void generate(struct sequence *seq, u32 seed, bool gentle, int (*met)[SNP_M_NR_MET])
{
	struct kvm_random_state rng = new_kvm_random_state(seed);
	struct snp_model m;

	seq->nr_aps = 2 + any(&rng, SNP_M_APS - 1);
	seq->gentle = gentle;
	snp_m_init(&m, seq->nr_aps, gentle, snp_conversion_keeps_vmsa());
	for (seq->nr = 0; seq->nr < nr_steps; seq->nr++) {
		struct snp_m_step *step = &seq->step[seq->nr];

		do {
			any_step(&rng, &m, step);
		} while (snp_m_illegal(&m, step));
		met[step->op][snp_m_meets(&m, step)]++;
		snp_m_do(&m, step);
	}
}

/*
 * Leave out what the failure does not need, unless the host may be damaged by it.  Nor
 * must a script do what the sequence did not, e.g. punch under a vCPU that is not stopped.
 */
static void shrink(struct sequence *seq)
{
	char failure[sizeof(report->failure)];
	struct sequence other;
	struct timespec start;
	int size, first;

	clock_gettime(CLOCK_MONOTONIC, &start);
	seq->nr = min(seq->nr, report->nr_done + 1);
	seq->gentle |= !report->took_from_guest;
	memcpy(failure, report->failure, sizeof(failure));
	for (size = seq->nr / 2; size; size /= 2) {
		for (first = seq->nr - 1 - size; first >= 0; first -= size) {
			if (snp_case_begin(0) ||
			    timespec_elapsed(start).tv_sec >= SHRINK_SECONDS)
				break;
			other = *seq;
			other.nr -= size;
			memmove(&other.step[first], &other.step[first + size],
				(other.nr - first) * sizeof(*other.step));
			if (runs_well(&other, true))
				continue;
			*seq = other;
			seq->nr = min(seq->nr, report->nr_done + 1);
			first = min(first, seq->nr - 1);
			memcpy(failure, report->failure, sizeof(failure));
		}
	}
	memcpy(report->failure, failure, sizeof(failure));
}

static void run(struct sequence *seq, u32 seed, struct timespec start)
{
	int i;

	if (runs_well(seq, false))
		return;
	fprintf(stderr, "# seed %u failed after %lu ms\n", seed,
		timespec_to_ns(timespec_elapsed(start)) / 1000000);
	shrink(seq);
	fprintf(stderr, "# script of %d steps%s:\n# aps %d\n", seq->nr,
		snp_case_begin(0) ? ", as short as a host allows that may be damaged" : "",
		seq->nr_aps);
	for (i = 0; i < seq->nr; i++)
		fprintf(stderr, "# %s\n", print(&seq->step[i]));
	TEST_FAIL("%s", report->failure);
}

/* A file, or the script itself; steps end with a newline or ','. */
static void read_script(struct sequence *seq)
{
	static char text[1 << 16];
	char *line, *save = NULL, *c, name[16];
	FILE *f = fopen(script, "r");

	snprintf(text, sizeof(text), "%s", script);
	if (f)
		text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	for (c = text; *c; c++)
		*c = strchr(":#", *c) ? ' ' : *c;

	seq->nr_aps = SNP_M_APS;
	for (line = strtok_r(text, "\n,", &save); line; line = strtok_r(NULL, "\n,", &save)) {
		struct snp_m_step *step = &seq->step[seq->nr];
		int *arg = step->arg, nr = sscanf(line, "%15s%d%d%d", name, arg, arg + 1, arg + 2);

		if (nr <= 0)
			continue;
		if (nr == 2 && !strcmp(name, "aps")) {
			seq->nr_aps = arg[0];
			continue;
		}
		while (step->op < SNP_M_NR_OPS && strcmp(name, snp_m_info[step->op].name))
			step->op++;
		TEST_ASSERT(step->op < SNP_M_NR_OPS &&
			    nr == 1 + snp_m_info[step->op].nr_args &&
			    ++seq->nr < MAX_STEPS, "No step of a script: %s", line);
	}
}

/* Say what was met, and what others met in as many steps. */
static void print_coverage(int (*other)[SNP_M_NR_MET], int nr)
{
	static const char * const met[] = {
		"nobody", "launched", "no VMSA", "pending", "stopped", "asleep", "parked",
		"running", "several",
	};
	int i, nr_met = 0;

	for (i = 0; i < SNP_M_NR_OPS * SNP_M_NR_MET; i++) {
		const int op = i / SNP_M_NR_MET, who = i % SNP_M_NR_MET;

		nr_met += !!report->met[op][who];
		if (other[op][who] >= 6 && !report->met[op][who])
			fprintf(stderr, "# not covered: %s, %s\n", snp_m_info[op].name, met[who]);
	}
	fprintf(stderr, "# seed %u: %d x %d steps, %d pairs, punches cold %d, warm %d, either %d\n",
		kvm_random_seed, nr, nr_steps, nr_met, report->nr_punches[COLD],
		report->nr_punches[WARM], report->nr_either);
}

static void run_sequences(bool gentle)
{
	static int mine[SNP_M_NR_OPS][SNP_M_NR_MET], other[SNP_M_NR_OPS][SNP_M_NR_MET];
	static struct sequence seq;
	struct timespec start;
	int i;

	report = kvm_mmap(sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (script) {
		read_script(&seq);
		seq.gentle = gentle;
		run(&seq, 0, start);
		return;
	}

	for (i = 0; !i || timespec_elapsed(start).tv_sec < seconds; i++) {
		generate(&seq, ~(kvm_random_seed + i), gentle, other);
		generate(&seq, kvm_random_seed + i, gentle, mine);
		run(&seq, kvm_random_seed + i, start);
	}
	print_coverage(other, i);
}

/* A host without the fix survives that: no page is taken from a vCPU in the guest. */
SNP_TEST(out_of_guest, 1)
{
	run_sequences(true);
}

SNP_TEST(vmsa_is_tracked, 1)
{
	snp_check_tracked();
}

SNP_TEST(in_guest, 1)
{
	run_sequences(false);
}

static bool take_option(const char *opt, const char *value)
{
	if (!strcmp(opt, "-r") && value)
		script = value;
	else if (!strcmp(opt, "-s") && value)
		kvm_random_seed = atoi_non_negative("Seed", value);
	else if (!strcmp(opt, "-n") && value)
		nr_steps = min_t(int, atoi_positive("Number of steps", value), MAX_STEPS);
	else if (!strcmp(opt, "-t") && value && isdigit(*value))
		seconds = atoi_positive("Number of seconds", value);
	else
		return false;
	return true;
}

/* -s seed, -n steps, -t seconds, -r script, and those of the harness */
int main(int argc, char *argv[])
{
	char *args[64] = { argv[0] };
	int i, nr = 1;

	/* Bots want the same sequences every time. */
	kvm_random_seed = 1;
	for (i = 1; i < argc && nr < 63; i++) {
		if (take_option(argv[i], argv[i + 1]))
			i++;
		else
			args[nr++] = argv[i];
	}
	snp_test_init(&nr, args);
	exit(test_harness_run(nr, args));
}
