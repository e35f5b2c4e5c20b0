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

#define SLOT_ID(_place)	(10 + (_place))
#define CONTROL_ID	20		/* memslot */
#define LATE_ID		63
#define CONTROL_GPA	(SZ_4G + SZ_1G + PAGE_SIZE)

/* Heartbeats of a vCPU that runs on, and of the control vCPU while nothing may happen. */
#define NR_BEATS	50

#define CREATE		SVM_VMGEXIT_AP_CREATE
#define ON_INIT		SVM_VMGEXIT_AP_CREATE_ON_INIT

/* Of a vCPU that does not stop, until it is said to run on. */
#define TOO_MANY_BEATS	1000000

static int seconds = 4, shrink_seconds = 60, nr_steps = 100;
static const char *script;

/* What the process that has the VM tells. */
static struct report {
	bool took_from_guest;
	int nr_done, nr_either, nr_punches[NR_SPTES];
	snp_m_met_t met;
	char failure[256];
} *report;

static struct snp_model model;
static struct snp_vm *vm;
static struct snp_ap *control;
static int fds[SNP_M_FILES];
static u64 bases[SNP_M_FILES];		/* first page of the file that counts */
static gpa_t gpas[SNP_M_PLACES];
static u64 last[SNP_M_APS];		/* heartbeats */

/* What the guest's NMI handler knows of all vCPUs: who they are, and how many each had. */
static struct nmis {
	gva_t cpu[SNP_M_APS + 2];
	u64 nr[SNP_M_APS + 2];
} *nmis, *guest_nmis;

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

static void guest_unhalt(struct snp_order *order)
{
	order->ret = kvm_hypercall(KVM_HC_KICK_CPU, 0, order->arg[0], 0, 0);
}

/* HLT, but once. */
static void guest_halt_once(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->work, NULL);
	guest_halt(me);
}

static void guest_nmi(struct ex_regs *regs)
{
	int i = 0;

	while (guest_nmis->cpu[i] != (gva_t)this_sev_cpu())
		i++;
	WRITE_ONCE(guest_nmis->nr[i], guest_nmis->nr[i] + 1);
	ghcb_exit(ghcb_begin(), SVM_VMGEXIT_NMI_COMPLETE, 0, 0);
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

static int halt(struct snp_ap *ap, struct snp_ap *as)
{
	u64 halts = READ_ONCE(as->shared->halts);

	WRITE_ONCE(as->shared->work, guest_halt_once);
	ap_wait_count(ap, &as->shared->halts, halts, "lost its VMSA, which nobody touched");
	return 0;
}

static int send_signal(struct snp_ap *ap)
{
	u64 nr = READ_ONCE(ap->nr_eintr);

	pthread_kill(ap->thread, SIGUSR1);
	snp_wait_until(READ_ONCE(ap->nr_eintr) != nr || !ap_is_running(ap));
	return 0;
}

static int get_mp_state(struct snp_ap *ap)
{
	struct kvm_mp_state state;

	vcpu_mp_state_get(ap->vcpu, &state);
	return state.mp_state;
}

static int prefault(gpa_t gpa)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = PAGE_SIZE };

	return __vcpu_ioctl(vm->server->vcpu, KVM_PRE_FAULT_MEMORY, &range) ? -errno : 0;
}

/* A vCPU that was not there at the launch gets a VMSA, but it cannot be entered. */
static int create_late(gpa_t gpa)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm->vm, LATE_ID);
	int r = request((u64)LATE_ID << 32 | CREATE, gpa, 0);

	if (!__vcpu_run(vcpu) && vcpu->run->exit_reason != KVM_EXIT_FAIL_ENTRY)
		fail("a vCPU that was not there at the launch ran: %s",
		     exit_reason_str(vcpu->run->exit_reason));
	return r;
}

/* Returns what snp_m_do() does. */
static int execute(const struct snp_m_step *step)
{
	const bool is_vcpu = *snp_m_info[step->op].args == 'v';
	const bool is_page = *snp_m_info[step->op].args == 'p';
	const u64 to = 3ull * (1 + step->arg[0]) << 32;
	struct snp_ap *ap = is_vcpu ? ap_of(step->arg[0]) : NULL;
	gpa_t gpa = is_page ? gpa_of(step->arg[0]) : 0;
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
		return halt(ap, ap_of(model.vcpu[arg[0]].as));
	case SNP_M_SIGNAL:
		return send_signal(ap);
	case SNP_M_UNHALT:
		return snp_order(vm, guest_unhalt, ap->vcpu->id, 0, 0)->ret;
	case SNP_M_NMI:
		vcpu_ioctl(ap->vcpu, KVM_NMI, NULL);
		return 0;
	case SNP_M_SET_HALTED:
		ap_set_mp_state(ap, KVM_MP_STATE_HALTED);
		return 0;
	case SNP_M_GET_MP:
		return get_mp_state(ap);
	case SNP_M_LATE:
		return create_late(gpa);
	case SNP_M_PREFAULT:
		return prefault(gpa);
	case SNP_M_CLOSE_VM:
		kvm_free_fd(vm->vm->fd);
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
static struct snp_ap *intruder(u64 beats)
{
	u32 as = 0;
	int i;

	for (i = 0; i < model.nr_aps; i++)
		as |= model.vcpu[i].state == SNP_M_RUNS ? BIT(model.vcpu[i].as) : 0;
	for (i = 0; i < model.nr_aps; i++) {
		if (!(as & BIT(i)) && ap_heartbeat(ap_of(i)) > last[i] + beats)
			return ap_of(i);
	}
	return NULL;
}

static void check_intruder(const struct snp_m_step *step, u64 beats)
{
	struct snp_ap *ap = intruder(beats);

	if (ap)
		fail("%s: guest code of vCPU %u ran on after its VMSA was gone, or on another vCPU",
		     snp_s_print(step), ap->vcpu->id);
}

static bool anything(struct snp_ap *ap)
{
	return true;
}

static bool sleeps(struct snp_ap *ap)
{
	return vcpu_get_stat(ap->vcpu, blocking);
}

static bool terminates(struct snp_ap *ap)
{
	return !ap->err && ap->vcpu->run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
	       ap->vcpu->run->system_event.data[0] == GHCB_MSR_TERM_LAUNCH_VMSA;
}

/* What must be seen of a vCPU; the heartbeats of one that runs besides. */
static const struct {
	const char *what;
	bool in_run;
	bool (*seen)(struct snp_ap *ap);
} states[] = {
	[SNP_M_OUT]		= { "not be in KVM_RUN", false, anything },
	[SNP_M_RUNS]		= { "run", true, anything },
	[SNP_M_SLEEPS]		= { "sleep", true, sleeps },
	[SNP_M_FAILS]		= { "fail", false, ap_has_failed },
	[SNP_M_TERMINATES]	= { "terminate", false, terminates },
};

static bool is_there(struct snp_m_vcpu *v, struct snp_ap *ap, u64 beats)
{
	return ap_is_running(ap) == states[v->state].in_run && states[v->state].seen(ap) &&
	       (v->state != SNP_M_RUNS || ap_heartbeat(ap_of(v->as)) >= beats + NR_BEATS);
}

/* Is it where it has to be, or will it never get there? */
static void check_vcpu(const struct snp_m_step *step, int vcpu)
{
	struct snp_m_vcpu *v = &model.vcpu[vcpu];
	u64 beats = v->state == SNP_M_RUNS ? ap_heartbeat(ap_of(v->as)) : 0;
	const bool in_run = states[v->state].in_run;
	struct snp_ap *ap = ap_of(vcpu);
	bool there;

	/* One look is enough: a vCPU that sleeps may stir. */
	snp_wait_step("%s: wait for vCPU %u, which has to %s", snp_s_print(step), ap->vcpu->id,
		      states[v->state].what);
	snp_wait_until((there = is_there(v, ap, beats)) || intruder(0) ||
		       (in_run || v->state == SNP_M_OUT ? ap_is_running(ap) != in_run : false));
	check_intruder(step, 0);
	if (v->state == SNP_M_SLEEPS && v->lost && !ap_is_running(ap) && ap_has_failed(ap)) {
		v->state = SNP_M_OUT;
		v->in_run = false;
		report->nr_either++;
	}
	if (!there && !is_there(v, ap, beats))
		fail("%s: vCPU %u has to %s, but %s: errno %d, %s", snp_s_print(step),
		     ap->vcpu->id, states[v->state].what, ap_is_running(ap) ? "is in KVM_RUN" :
		     terminates(ap) ? "ran its launch VMSA" :
		     ap_has_failed(ap) ? "does not run" : "KVM_RUN ended in",
		     ap->err, exit_reason_str(ap->vcpu->run->exit_reason));
}

/* The end of a memslot or a file, and INIT, need not wait for the vCPU to leave the guest. */
static void settle(const struct snp_m_step *step)
{
	int i;

	for (i = 0; i < model.nr_aps; i++) {
		snp_wait_step("%s: wait for vCPU %u to stop", snp_s_print(step),
			      ap_of(i)->vcpu->id);
		snp_wait_until(model.vcpu[i].state == SNP_M_RUNS || !ap_is_running(ap_of(i)) ||
			       is_there(&model.vcpu[i], ap_of(i), 0) || intruder(TOO_MANY_BEATS));
		check_intruder(step, TOO_MANY_BEATS);
	}
	note_heartbeats();
}

static void do_step(const struct snp_m_step *step)
{
	int i, r, want;
	u64 beats;

	report->met[step->op][snp_m_meets(&model, step)]++;
	snp_step("%s", snp_s_print(step));
	if (snp_m_takes_from_guest(&model, step)) {
		report->took_from_guest = true;
		snp_may_damage();
	}
	r = execute(step);
	want = snp_m_do(&model, step);
	note_heartbeats();
	if (r != want)
		fail("%s: KVM answered %d, not %d", snp_s_print(step), r, want);
	if (step->op == SNP_M_DELETE || step->op == SNP_M_CLOSE || step->op == SNP_M_INIT)
		settle(step);
	for (i = 0; i < model.nr_aps; i++)
		check_vcpu(step, i);

	/* And nothing else happens. */
	snp_wait_step("%s: wait for the control vCPU", snp_s_print(step));
	beats = ap_heartbeat(control);
	snp_wait_until(ap_heartbeat(control) >= beats + NR_BEATS || !ap_is_running(control));
	if (!ap_is_running(control))
		fail("%s: the control vCPU lost its VMSA, which nobody touched", snp_s_print(step));
	for (i = 0; i < model.nr_aps; i++) {
		check_vcpu(step, i);
		if (ap_starts(ap_of(i)) != model.starts[i])
			fail("%s: guest code of vCPU %u was started %lu times, not %d",
			     snp_s_print(step), ap_of(i)->vcpu->id, ap_starts(ap_of(i)),
			     model.starts[i]);
		if (READ_ONCE(nmis->nr[1 + i]) != model.nmis[i])
			fail("%s: guest code of vCPU %u got %lu NMIs, not %d", snp_s_print(step),
			     ap_of(i)->vcpu->id, nmis->nr[1 + i], model.nmis[i]);
	}
	snp_no_damage();
	errno = 0;
}

static void create_world(const struct snp_sequence *seq)
{
	gva_t page;
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
	page = vm_alloc_shared(vm->vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	nmis = addr_gva2hva(vm->vm, page);
	for (i = 0; i <= seq->nr_aps + 1; i++)
		nmis->cpu[i] = vm->ap[i].cpu;
	guest_nmis = (void *)page;
	sync_global_to_guest(vm->vm, guest_nmis);
	vm_install_exception_handler(vm->vm, NMI_VECTOR, guest_nmi);
	snp_vm_launch(vm);
	control = &vm->ap[seq->nr_aps + 1];
	ap_start(control, CONTROL_GPA);
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
	create_world(seq);
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

static void run(struct snp_sequence *seq, u32 seed, struct timespec start)
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
		fprintf(stderr, "# %s\n", snp_s_print(&seq->step[i]));
	TEST_FAIL("%s", report->failure);
}

/* A file, or the script itself; steps end with a newline or ','. */
static void read_script(struct snp_sequence *seq)
{
	static char text[1 << 16];
	char *line, *save = NULL, *c;
	FILE *f = fopen(script, "r");

	snprintf(text, sizeof(text), "%s", script);
	if (f)
		text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	for (c = text; *c; c++)
		*c = strchr(":#", *c) ? ' ' : *c;

	seq->nr_aps = SNP_M_APS;
	for (line = strtok_r(text, "\n,", &save); line; line = strtok_r(NULL, "\n,", &save)) {
		if (sscanf(line, " aps %d", &seq->nr_aps) == 1 || !line[strspn(line, " ")])
			continue;
		TEST_ASSERT(seq->nr < SNP_M_MAX_STEPS &&
			    snp_s_parse(&seq->step[seq->nr++], line, NULL),
			    "No step of a script: %s", line);
	}
}

/* Say what was met, and what others met in as many steps. */
static void print_coverage(snp_m_met_t other, int nr)
{
	int op, who, nr_met = 0;

	for (op = 0; op < SNP_M_NR_OPS; op++) {
		for (who = 0; who < SNP_M_NR_MET; who++) {
			nr_met += !!report->met[op][who];
			if (other[op][who] >= 6 && !report->met[op][who])
				fprintf(stderr, "# not covered: %s, %s\n", snp_m_info[op].name,
					snp_m_met_names[who]);
		}
	}
	fprintf(stderr, "# seed %u: %d x %d steps, %d pairs, punches cold %d, warm %d, either %d\n",
		kvm_random_seed, nr, nr_steps, nr_met, report->nr_punches[COLD],
		report->nr_punches[WARM], report->nr_either);
}

static void run_sequences(bool gentle)
{
	const bool keeps = snp_conversion_keeps_vmsa();
	static snp_m_met_t mine, other;
	static struct snp_sequence seq;
	struct timespec start;
	int i;

	report = kvm_mmap(sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	seq.gentle = gentle;
	if (script) {
		read_script(&seq);
		run(&seq, 0, start);
		return;
	}

	for (i = 0; !i || timespec_elapsed(start).tv_sec < seconds; i++) {
		snp_s_generate(&seq, ~(kvm_random_seed + i), nr_steps, keeps, other);
		snp_s_generate(&seq, kvm_random_seed + i, nr_steps, keeps, mine);
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
		nr_steps = min_t(int, atoi_positive("Number of steps", value), SNP_M_MAX_STEPS);
	else if (!strcmp(opt, "-t") && value && isdigit(*value))
		seconds = atoi_positive("Number of seconds", value);
	else if (!strcmp(opt, "-x") && value)
		shrink_seconds = atoi_non_negative("Number of seconds", value);
	else
		return false;
	return true;
}

/* -s seed, -n steps, -t seconds, -x seconds to shrink, -r script, and the harness's own */
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
