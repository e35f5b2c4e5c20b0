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
#define SNP_TIMEOUT_S	1000	/* -t says how long it takes */
#include "snp_test.h"

#define MAX_STEPS	1000
#define SLOT_ID(_place)	(10 + (_place))
#define CONTROL_ID	20

/* Heartbeats of a vCPU that runs on, and of the control vCPU while nothing may happen. */
#define NR_BEATS	50

/* Time for the search of a shorter script, and for more sequences. */
static int shrink_seconds = 60, seconds = 4, nr_steps = 60;
static const char *script;

struct sequence {
	int nr_aps, nr;
	bool gentle;
	struct snp_m_step step[MAX_STEPS];
};

/* What the process that has the VM tells. */
static struct report {
	bool conversion_keeps;
	int nr_done, nr_either, nr_punches[NR_SPTES];
	int covered[SNP_M_NR_OPS][SNP_M_NR_SITUATIONS];
	char failure[256];
} *report;

static struct world {
	struct snp_vm *s;
	struct snp_ap *control;
	struct snp_model m;
	int fd[SNP_M_FILES];
	u64 base[SNP_M_FILES];		/* first page of the file that counts */
	gpa_t gpa[SNP_M_PLACES];
	u64 last[SNP_M_APS];		/* heartbeats */
} w;

static struct snp_ap *ap_of(int vcpu)
{
	return &w.s->ap[1 + vcpu];
}

static gpa_t gpa_of(int page)
{
	return w.gpa[page / SNP_M_SLOT_PAGES] + page % SNP_M_SLOT_PAGES * PAGE_SIZE;
}

/*
 * Guest
 */
static void guest_release(struct snp_order *order)
{
	order->rmp = snp_vmsa_release(order->arg[0]);
}

/* SW_EXITINFO1 and 2, features to toggle, all of them for none */
static void guest_request(struct snp_order *order)
{
	struct ghcb *ghcb = ghcb_begin();
	u64 *arg = order->arg;

	if (~arg[2])
		ghcb_set(ghcb, rax, arg[2] ^ snp_sev_features());
	order->status = ghcb_exit(ghcb, SVM_VMGEXIT_AP_CREATION, arg[0], arg[1]);
}

static void guest_init(struct snp_order *order)
{
	if (order->arg[1])
		guest_send_init_sipi(order->arg[0]);
	else
		guest_send_init(order->arg[0]);
}

static void guest_psc(struct snp_order *order)
{
	order->status = snp_psc(order->arg[0], 1, order->arg[1]);
}

/*
 * Operations.  Each returns what KVM has answered, as snp_m_do() does.
 */
static void __printf(1, 2) fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(report->failure, sizeof(report->failure), fmt, args);
	va_end(args);
	TEST_FAIL("%s", report->failure);
}

static int request(u64 info_1, u64 info_2, u64 features)
{
	struct ghcb_status status = snp_order(w.s, guest_request, info_1, info_2, features)->status;

	return status.resp ? status.info : 0;
}

static int bad_request(u64 id, enum snp_m_bad bad)
{
	static const u64 create = SVM_VMGEXIT_AP_CREATE, on_init = SVM_VMGEXIT_AP_CREATE_ON_INIT;
	const gpa_t gpa = gpa_of(1);

	switch (bad) {
	case SNP_M_BAD_ID:
		return request((id + 1) << 32 | create, gpa, 0);
	case SNP_M_BAD_ID_HIGH:
		return request((id | BIT(8)) << 32 | create, gpa, 0);
	case SNP_M_BAD_REQUEST:
		return request(id << 32 | (SVM_VMGEXIT_AP_DESTROY + 1), gpa, 0);
	case SNP_M_BAD_VMPL:
		return request(id << 32 | BIT(16) | create, gpa, 0);
	case SNP_M_BAD_FEATURES:
		return request(id << 32 | create, gpa, BIT(3));
	case SNP_M_BAD_ON_INIT_FEATURES:
		return request(id << 32 | on_init, gpa, BIT(4));
	case SNP_M_BAD_NO_FEATURES:
		return request(id << 32 | create, gpa, ~0ull);
	case SNP_M_BAD_UNALIGNED:
		return request(id << 32 | create, gpa + 0x10, 0);
	case SNP_M_BAD_2M:
		return request(id << 32 | create, SZ_4G + SZ_2M, 0);
	case SNP_M_BAD_ON_INIT_2M:
		return request(id << 32 | on_init, SZ_4G + SZ_2M, 0);
	default:
		return request(id << 32 | create, gpa | BIT_ULL(52), 0);
	}
}

static int touch(gpa_t gpa)
{
	struct snp_ap *bsp = w.s->server;
	struct kvm_run *run = bsp->vcpu->run;

	if (__snp_order(w.s, guest_touch, gpa, 0, 0))
		return 0;
	if (bsp->err != EFAULT || run->exit_reason != KVM_EXIT_MEMORY_FAULT ||
	    run->memory_fault.gpa != gpa || !(run->memory_fault.flags & KVM_MEMORY_EXIT_FLAG_PRIVATE))
		ap_fail(bsp);
	vm_mem_set_private(w.s->vm, gpa, PAGE_SIZE);
	if (!ap_run_to_sync(bsp))
		ap_fail(bsp);
	return EFAULT;
}

static void psc(gpa_t gpa, enum psc_op op)
{
	struct snp_ap *bsp = w.s->server;
	struct ghcb_status *status = &w.s->order->status;

	if (!__snp_order(w.s, guest_psc, gpa, op, 0)) {
		vcpu_handle_map_gpa_range(bsp->vcpu);
		if (!ap_run_to_sync(bsp))
			ap_fail(bsp);
	}
	if (status->resp)
		fail("KVM answered a page state change with %u, %u", status->resp, status->info);
}

static int set_slot(int place, int file, int pgoff, int nr_pages)
{
	struct kvm_userspace_memory_region2 *r = &memslot2region(w.s->vm, SLOT_ID(place))->region;

	return __vm_set_user_memory_region2(w.s->vm, SLOT_ID(place), KVM_MEM_GUEST_MEMFD,
					    w.gpa[place], nr_pages * PAGE_SIZE,
					    (void *)r->userspace_addr, w.fd[file],
					    (w.base[file] + pgoff) * PAGE_SIZE) ? errno : 0;
}

static void open_file(int file)
{
	u64 flags = vm_check_cap(w.s->vm, KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP;

	w.fd[file] = vm_create_guest_memfd(w.s->vm, (w.base[file] + SNP_M_FILE_PAGES) * PAGE_SIZE,
					   file ? 0 : flags);
}

static int change_file(const int *arg, int mode)
{
	const s64 start = max_t(s64, w.base[arg[0]] + arg[1], 0);
	const s64 end = w.base[arg[0]] + arg[1] + arg[2];

	if (start >= end)
		return 0;
	return fallocate(w.fd[arg[0]], mode | FALLOC_FL_KEEP_SIZE, start * PAGE_SIZE,
			 (end - start) * PAGE_SIZE) ? errno : 0;
}

static void halt(struct snp_ap *me, struct snp_ap *ap)
{
	u64 halts = READ_ONCE(me->shared->halts);

	WRITE_ONCE(me->shared->work, guest_halt);
	ap_wait_count(ap, &me->shared->halts, halts, "lost its VMSA, which nobody touched");
	ap_wait_blocked(ap);
	WRITE_ONCE(me->shared->work, NULL);
}

static int execute(const struct snp_m_step *step)
{
	struct snp_ap *ap = ap_of(step->arg[0]);
	const u64 id = 3 * (1 + step->arg[0]);
	struct snp_vm *s = w.s;
	const int *arg = step->arg;
	u64 nr_flushes;
	int r;

	switch (step->op) {
	case SNP_M_prepare:
		return snp_order(s, guest_prepare, gpa_of(arg[0]), ap_of(arg[1])->cpu, 0)->rmp;
	case SNP_M_release:
		return snp_order(s, guest_release, gpa_of(arg[0]), 0, 0)->rmp;
	case SNP_M_create:
		return request(id << 32 | SVM_VMGEXIT_AP_CREATE, gpa_of(arg[1]), 0);
	case SNP_M_on_init:
		return request(id << 32 | SVM_VMGEXIT_AP_CREATE_ON_INIT, gpa_of(arg[1]), 0);
	case SNP_M_destroy:
		return request(id << 32 | SVM_VMGEXIT_AP_DESTROY, 0, ~0ull);
	case SNP_M_bad:
		return bad_request(id, arg[1]);
	case SNP_M_init:
	case SNP_M_init_sipi:
		snp_order(s, guest_init, id, step->op == SNP_M_init_sipi, 0);
		return 0;
	case SNP_M_halt:
		halt(ap_of(w.m.vcpu[arg[0]].as), ap);
		return 0;
	case SNP_M_touch:
		return touch(gpa_of(arg[0]));
	case SNP_M_psc_share:
		psc(gpa_of(arg[0]), SNP_PAGE_STATE_SHARED);
		return 0;
	case SNP_M_psc_unshare:
		psc(gpa_of(arg[0]), SNP_PAGE_STATE_PRIVATE);
		return 0;
	case SNP_M_run:
		ap_run(ap);
		return 0;
	case SNP_M_stop:
		ap_stop(ap);
		return 0;
	case SNP_M_wake:
		ap_wake(ap);
		return 0;
	case SNP_M_punch:
		nr_flushes = vm_get_stat(s->vm, remote_tlb_flush_requests);
		r = change_file(arg, FALLOC_FL_PUNCH_HOLE);
		report->nr_punches[vm_get_stat(s->vm, remote_tlb_flush_requests) != nr_flushes]++;
		return r;
	case SNP_M_alloc:
		return change_file(arg, 0);
	case SNP_M_zap:
	case SNP_M_share:
		vm_mem_set_shared(s->vm, gpa_of(arg[0]), arg[1] * PAGE_SIZE);
		if (step->op == SNP_M_share)
			return 0;
		fallthrough;
	case SNP_M_unshare:
		vm_mem_set_private(s->vm, gpa_of(arg[0]), arg[1] * PAGE_SIZE);
		return 0;
	case SNP_M_delete:
		return set_slot(arg[0], 0, 0, 0);
	case SNP_M_bind:
		return set_slot(arg[0], arg[1], arg[2], SNP_M_SLOT_PAGES);
	case SNP_M_close:
		kvm_free_fd(w.fd[arg[0]]);
		return 0;
	case SNP_M_open:
		open_file(arg[0]);
		return 0;
	default:
		TEST_FAIL("No operation: %u", step->op);
	}
}

/*
 * What has to come of it
 */
static const char *print(const struct snp_m_step *step)
{
	static char line[64];
	int i, len = sprintf(line, "%s", snp_m_name[step->op]);

	for (i = 0; i < snp_m_nr_args[step->op]; i++)
		len += sprintf(line + len, " %d", step->arg[i]);
	return line;
}

static const char *outcome(struct snp_ap *ap)
{
	struct kvm_run *run = ap->vcpu->run;
	static char what[80];

	if (ap_has_failed(ap))
		return "KVM_RUN fails";
	if (!ap->err && run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
	    run->system_event.data[0] == GHCB_MSR_TERM_LAUNCH_VMSA)
		return "it ran its launch VMSA";
	sprintf(what, "KVM_RUN ended in errno %d, %s", ap->err, exit_reason_str(run->exit_reason));
	return what;
}

static bool is_run_by(int vcpu)
{
	int i;

	for (i = 0; i < w.m.nr_aps; i++) {
		if (w.m.vcpu[i].state == SNP_M_RUNS && w.m.vcpu[i].as == vcpu)
			return true;
	}
	return false;
}

static void note_heartbeats(void)
{
	int i;

	for (i = 0; i < w.m.nr_aps; i++)
		w.last[i] = ap_heartbeat(ap_of(i));
}

/* Nobody runs the VMSA of a vCPU that is not to run. */
static bool is_frozen(void)
{
	int i;

	for (i = 0; i < w.m.nr_aps; i++) {
		if (!is_run_by(i) && ap_heartbeat(ap_of(i)) != w.last[i])
			return false;
	}
	return true;
}

static void check_frozen(const struct snp_m_step *step)
{
	int i;

	for (i = 0; i < w.m.nr_aps; i++) {
		if (!is_run_by(i) && ap_heartbeat(ap_of(i)) != w.last[i])
			fail("%s: guest code of vCPU %u ran on after its VMSA was gone, or elsewhere",
			     print(step), ap_of(i)->vcpu->id);
		if (READ_ONCE(ap_of(i)->shared->starts) > w.m.starts[i])
			fail("%s: guest code of vCPU %u was started without need", print(step),
			     ap_of(i)->vcpu->id);
	}
}

static void check_vcpu(const struct snp_m_step *step, int vcpu)
{
	static const char * const want[] = { "is not in KVM_RUN", "runs", "sleeps", "fails",
					     "terminates" };
	struct snp_m_vcpu *v = &w.m.vcpu[vcpu];
	struct snp_ap *ap = ap_of(vcpu), *as = ap_of(max(v->as, 0));
	bool ok = false;
	u64 last;

	snp_wait_step("%s: wait for vCPU %u, which %s", print(step), ap->vcpu->id, want[v->state]);
	switch (v->state) {
	case SNP_M_OUT:
		ok = !ap_is_running(ap);
		break;
	case SNP_M_RUNS:
		last = ap_heartbeat(as);
		snp_wait_until(ap_heartbeat(as) >= last + NR_BEATS || !ap_is_running(ap) ||
			       !is_frozen());
		ok = ap_is_running(ap);
		break;
	case SNP_M_SLEEPS:
		snp_wait_until(vcpu_get_stat(ap->vcpu, blocking) || !ap_is_running(ap) ||
			       !is_frozen());
		ok = ap_is_running(ap);
		if (!ok && v->lost && ap_has_failed(ap)) {
			snp_m_has_failed(&w.m, vcpu);
			report->nr_either++;
			ok = true;
		}
		break;
	case SNP_M_FAILS:
	case SNP_M_TERMINATES:
		snp_wait_until(!ap_is_running(ap) || !is_frozen());
		check_frozen(step);
		ok = v->state == SNP_M_FAILS ? ap_has_failed(ap) :
		     !strcmp(outcome(ap), "it ran its launch VMSA");
		break;
	}
	check_frozen(step);
	if (ok)
		return;
	fail("%s: vCPU %u %s by the model, but %s", print(step), ap->vcpu->id, want[v->state],
	     v->state == SNP_M_OUT ? "is in there" : outcome(ap));
}

/* What need not wait until the vCPU has left the guest. */
static bool is_loose(enum snp_m_op op)
{
	return op == SNP_M_delete || op == SNP_M_close || op == SNP_M_init;
}

static void check(const struct snp_m_step *step)
{
	u64 last;
	int i;

	for (i = 0; is_loose(step->op) && i < w.m.nr_aps; i++) {
		struct snp_ap *ap = ap_of(i);

		snp_wait_step("%s: wait for vCPU %u to stop", print(step), ap->vcpu->id);
		snp_wait_until(w.m.vcpu[i].state == SNP_M_RUNS || !ap_is_running(ap) ||
			       (w.m.vcpu[i].state == SNP_M_SLEEPS &&
				vcpu_get_stat(ap->vcpu, blocking)));
	}
	if (is_loose(step->op))
		note_heartbeats();

	for (i = 0; i < w.m.nr_aps; i++)
		check_vcpu(step, i);
	for (i = 0; i < w.m.nr_aps; i++) {
		if (READ_ONCE(ap_of(i)->shared->starts) != w.m.starts[i])
			fail("%s: guest code of vCPU %u was started %lu times, not %d", print(step),
			     ap_of(i)->vcpu->id, ap_starts(ap_of(i)), w.m.starts[i]);
	}

	/* And nothing else happens. */
	snp_wait_step("%s: wait for the control vCPU", print(step));
	last = ap_heartbeat(w.control);
	snp_wait_until(ap_heartbeat(w.control) >= last + NR_BEATS || !ap_is_running(w.control));
	if (!ap_is_running(w.control) || ap_starts(w.control) != 1)
		fail("%s: the control vCPU lost its VMSA, which nobody touched", print(step));
	for (i = 0; i < w.m.nr_aps; i++)
		check_vcpu(step, i);
}

static bool takes_from_guest(const struct snp_m_step *step)
{
	int i;

	for (i = 0; i < w.m.nr_aps; i++) {
		if (w.m.vcpu[i].state == SNP_M_RUNS && snp_m_takes(step) &&
		    snp_m_hits(&w.m, step, w.m.vcpu[i].gpa))
			return true;
	}
	return false;
}

static void do_step(const struct snp_m_step *step)
{
	int r, want;

	snp_step("%s", print(step));
	if (takes_from_guest(step))
		snp_may_damage();
	r = execute(step);
	want = snp_m_do(&w.m, step);
	note_heartbeats();
	if (r != want)
		fail("%s: KVM answered %d, and not %d", print(step), r, want);
	check(step);
	snp_no_damage();
	errno = 0;
}

static void create_world(const struct sequence *seq)
{
	struct snp_vm *s = w.s = snp_vm_create(seq->nr_aps + 1);
	int i;

	s->what = "sequence";
	w.base[0] = 0;
	w.base[1] = 2 * (snp_high_gpa(s) + SZ_4G * PAGE_SIZE) / PAGE_SIZE + 5;
	w.base[2] = 5;
	w.gpa[0] = SZ_4G + 3 * PAGE_SIZE;
	w.gpa[1] = w.gpa[0] + SNP_M_SLOT_PAGES * PAGE_SIZE;
	w.gpa[2] = snp_high_gpa(s) + 3 * PAGE_SIZE;
	snp_m_init(&w.m, seq->nr_aps, seq->gentle, report->conversion_keeps);
	for (i = 0; i < SNP_M_FILES; i++)
		open_file(i);
	for (i = 0; i < SNP_M_PLACES; i++) {
		snp_add_slot(s, SLOT_ID(i), w.gpa[i], SNP_M_SLOT_PAGES, w.fd[w.m.slot[i].file],
			     w.base[w.m.slot[i].file] + w.m.slot[i].pgoff);
		/* Its own reference to the file. */
		kvm_free_fd(memslot2region(s->vm, SLOT_ID(i))->region.guest_memfd);
	}
	snp_add_slot(s, CONTROL_ID, SZ_4G + SZ_1G + PAGE_SIZE, 1,
		     vm_create_guest_memfd(s->vm, PAGE_SIZE, 0), 0);
	snp_vm_launch(s);
	w.control = &s->ap[seq->nr_aps + 1];
	ap_start(w.control, SZ_4G + SZ_1G + PAGE_SIZE);
}

/* In a process of its own, i.e. with a VM and a watchdog of its own. */
static bool runs_well(const struct sequence *seq, bool quiet)
{
	int i, status;
	pid_t pid;

	report->nr_done = 0;
	report->failure[0] = 0;
	fflush(NULL);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed, errno %d", errno);
	if (pid) {
		TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed, errno %d", errno);
		if (status && !report->failure[0])
			strcpy(report->failure, "no end, or KVM_RUN of the BSP failed");
		return !status;
	}

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (quiet && !freopen("/dev/null", "w", stderr))
		_exit(KSFT_FAIL);
	report->conversion_keeps = snp_conversion_keeps_vmsa();
	create_world(seq);
	for (i = 0; i < seq->nr; i++, report->nr_done++) {
		if (!snp_m_illegal(&w.m, &seq->step[i])) {
			report->covered[seq->step[i].op][snp_m_situation(&w.m, &seq->step[i])]++;
			do_step(&seq->step[i]);
		}
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

static int any_page(struct kvm_random_state *rng, const struct snp_model *m)
{
	int page = m->vcpu[any(rng, m->nr_aps)].gpa;

	return page >= 0 && any(rng, 3) ? page : any(rng, SNP_M_PAGES);
}

/* A page that has been prepared for the vCPU, if there is one. */
static int prepared_page(struct kvm_random_state *rng, const struct snp_model *m, int vcpu)
{
	int i, page, first = any(rng, SNP_M_PAGES);

	for (i = 0; i < SNP_M_PAGES && any(rng, 20); i++) {
		page = (first + i) % SNP_M_PAGES;
		if (snp_m_image(m, page) == vcpu)
			return page;
	}
	return first;
}

static void any_step(struct kvm_random_state *rng, const struct snp_model *m,
		     struct snp_m_step *step)
{
	int i, total = 0, *arg = step->arg, page = any_page(rng, m);

	for (i = 0; i < SNP_M_NR_OPS; i++)
		total += snp_m_weight[i];
	for (i = 0, total = any(rng, total); total >= snp_m_weight[i]; i++)
		total -= snp_m_weight[i];
	*step = (struct snp_m_step) { .op = i };

	switch (step->op) {
	case SNP_M_create ... SNP_M_halt:
	case SNP_M_run ... SNP_M_wake:
		arg[0] = any(rng, m->nr_aps);
		arg[1] = step->op == SNP_M_bad ? any(rng, SNP_M_NR_BAD) :
			 prepared_page(rng, m, arg[0]);
		break;
	case SNP_M_punch:
	case SNP_M_alloc:
		arg[0] = m->slot[page / SNP_M_SLOT_PAGES].file;
		if (arg[0] == SNP_M_NONE || !any(rng, 8))
			arg[0] = any(rng, SNP_M_FILES);
		arg[1] = m->slot[page / SNP_M_SLOT_PAGES].pgoff + page % SNP_M_SLOT_PAGES;
		arg[2] = any(rng, 3) ? 1 : any(rng, 8) ? 1 + any(rng, SNP_M_FILE_PAGES) : SNP_M_FAR;
		arg[1] -= any(rng, 2) ? 0 : any(rng, min(arg[2], 4));
		break;
	case SNP_M_share ... SNP_M_zap:
		arg[0] = page;
		arg[1] = 1 + any(rng, SNP_M_SLOT_PAGES - page % SNP_M_SLOT_PAGES);
		break;
	case SNP_M_delete ... SNP_M_bind:
		arg[0] = page / SNP_M_SLOT_PAGES;
		arg[1] = any(rng, 2) ? arg[0] / 2 : any(rng, SNP_M_FILES);
		arg[2] = any(rng, 2) ? 4 * ((arg[0] + 1) % 3) : any(rng, SNP_M_FILE_PAGES);
		break;
	case SNP_M_close ... SNP_M_open:
		arg[0] = any(rng, SNP_M_FILES);
		break;
	default:
		arg[0] = page;
		arg[1] = any(rng, m->nr_aps);
	}
}

static void generate(struct sequence *seq, u32 seed, bool gentle, int nr,
		     int (*covered)[SNP_M_NR_SITUATIONS])
{
	struct kvm_random_state rng = new_kvm_random_state(seed);
	struct snp_model m;

	seq->nr_aps = 2 + any(&rng, SNP_M_APS - 1);
	seq->gentle = gentle;
	snp_m_init(&m, seq->nr_aps, gentle, report->conversion_keeps);
	for (seq->nr = 0; seq->nr < nr; seq->nr++) {
		struct snp_m_step *step = &seq->step[seq->nr];

		do {
			any_step(&rng, &m, step);
		} while (snp_m_illegal(&m, step));
		covered[step->op][snp_m_situation(&m, step)]++;
		snp_m_do(&m, step);
	}
}

static struct sequence without(const struct sequence *seq, int first, int nr)
{
	struct sequence other = *seq;

	other.nr -= nr;
	memmove(&other.step[first], &other.step[first + nr],
		(other.nr - first) * sizeof(*other.step));
	return other;
}

/* Leave out what the failure does not need, unless the host may be damaged by it. */
static void shrink(struct sequence *seq, struct timespec *start)
{
	char failure[sizeof(report->failure)];
	int size, first;

	seq->nr = min(seq->nr, report->nr_done + 1);
	strcpy(failure, report->failure);
	for (size = seq->nr / 2; size; size /= 2) {
		for (first = seq->nr - 1 - size; first >= 0; first -= size) {
			struct sequence other = without(seq, first, size);

			if (snp_case_begin(0) || timespec_elapsed(*start).tv_sec > shrink_seconds)
				goto out;
			if (runs_well(&other, true))
				continue;
			*seq = other;
			seq->nr = min(seq->nr, report->nr_done + 1);
			first = min(first, seq->nr - 1);
			strcpy(failure, report->failure);
		}
	}
out:
	strcpy(report->failure, failure);
}

static void run(struct sequence *seq, const char *what)
{
	struct timespec start;
	int i;

	if (runs_well(seq, false))
		return;
	clock_gettime(CLOCK_MONOTONIC, &start);
	shrink(seq, &start);
	fprintf(stderr, "# script of %d steps, -r runs it%s:\n# aps %d\n", seq->nr,
		snp_case_begin(0) ? "; not made shorter, the host may be damaged" : "", seq->nr_aps);
	for (i = 0; i < seq->nr; i++)
		fprintf(stderr, "# %s\n", print(&seq->step[i]));
	TEST_FAIL("%s, after %d steps: %s", what, seq->nr, report->failure);
}

/* A file, or the script itself; steps end with a newline, ',' or ';'. */
static void read_script(struct sequence *seq)
{
	static char text[1 << 16];
	char *line, *save = NULL, name[16];
	FILE *f = fopen(script, "r");
	int i;

	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = 0;
		fclose(f);
	} else {
		snprintf(text, sizeof(text), "%s", script);
	}
	for (i = 0; text[i]; i++)
		text[i] = strchr(":#", text[i]) ? ' ' : text[i];

	seq->nr_aps = SNP_M_APS;
	for (line = strtok_r(text, "\n,;", &save); line; line = strtok_r(NULL, "\n,;", &save)) {
		struct snp_m_step step = { };
		int *arg = step.arg, nr = sscanf(line, "%15s %d %d %d", name, arg, arg + 1, arg + 2);

		if (nr == 2 && !strcmp(name, "aps")) {
			seq->nr_aps = arg[0];
			continue;
		}
		while (step.op < SNP_M_NR_OPS && nr > 0 && strcmp(name, snp_m_name[step.op]))
			step.op++;
		TEST_ASSERT(nr <= 0 || (step.op < SNP_M_NR_OPS && nr - 1 == snp_m_nr_args[step.op] &&
					seq->nr < MAX_STEPS), "No step of a script: %s", line);
		if (nr > 0)
			seq->step[seq->nr++] = step;
	}
}

/* Say what was covered, and what a sequence of this length should have. */
static void print_coverage(int (*other)[SNP_M_NR_SITUATIONS], int nr, int nr_steps)
{
	int i, j, nr_pairs = 0;

	for (i = 0; i < SNP_M_NR_OPS; i++) {
		for (j = 0; j < SNP_M_NR_SITUATIONS; j++) {
			nr_pairs += !!report->covered[i][j];
			if (other[i][j] >= 6 && !report->covered[i][j])
				fprintf(stderr, "# not covered: %s, %s\n", snp_m_name[i],
					snp_m_situation_name[j]);
		}
	}
	fprintf(stderr, "# seed %u: %d sequences, %d steps, %d pairs of operation and state; %d punches cold, %d warm; either: %d\n",
		kvm_random_seed, nr, nr_steps, nr_pairs, report->nr_punches[COLD],
		report->nr_punches[WARM], report->nr_either);
}

static void run_sequences(bool gentle)
{
	static struct sequence seq;
	static int mine[SNP_M_NR_OPS][SNP_M_NR_SITUATIONS], other[SNP_M_NR_OPS][SNP_M_NR_SITUATIONS];
	struct timespec start;
	char what[32];
	int i;

	report = kvm_mmap(sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	if (script) {
		read_script(&seq);
		run(&seq, "script");
		return;
	}

	/* To know how the kernel converts. */
	TEST_ASSERT(runs_well(&seq, true), "No VM can be run");
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; !i || timespec_elapsed(start).tv_sec < seconds; i++) {
		generate(&seq, ~(kvm_random_seed + i), gentle, nr_steps, other);
		generate(&seq, kvm_random_seed + i, gentle, nr_steps, mine);
		sprintf(what, "seed %u", kvm_random_seed + i);
		run(&seq, what);
	}
	print_coverage(other, i, i * nr_steps);
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

static bool take_option(int *argc, char *argv[], int i)
{
	const char *value = i + 1 < *argc ? argv[i + 1] : "";

	if (!strcmp(argv[i], "-r"))
		script = value;
	else if (!strcmp(argv[i], "-s"))
		kvm_random_seed = atoi_non_negative("Seed", value);
	else if (!strcmp(argv[i], "-n"))
		nr_steps = atoi_positive("Number of steps", value);
	else if (!strcmp(argv[i], "-t") && isdigit(value[0]))
		seconds = atoi_positive("Number of seconds", value);
	else
		return false;
	TEST_ASSERT(*value && nr_steps <= MAX_STEPS, "-r script, -s seed, -n steps, -t seconds");
	*argc -= 2;
	memmove(&argv[i], &argv[i + 2], (*argc - i + 1) * sizeof(*argv));
	return true;
}

int main(int argc, char *argv[])
{
	int i = 1;

	while (i < argc)
		i += !take_option(&argc, argv, i);
	snp_test_init(&argc, argv);
	exit(test_harness_run(argc, argv));
}
