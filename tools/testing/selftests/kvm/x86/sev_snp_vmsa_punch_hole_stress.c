// SPDX-License-Identifier: GPL-2.0-only
/*
 * Look for races between KVM's use of a VMSA and the loss of its page.
 *
 * sev_snp_vmsa_punch_hole plays scripted cases, one vCPU and one punch at a time.
 * Here many threads do so at once, and the punch is aimed at what is no longer
 * than a few instructions, e.g. between KVM's lookup of a VMSA's page and the
 * moment that it is used.
 *
 * How a race is won: each AP is pinned to a CPU, and shares it with a thread of
 * real-time priority, the shooter.  A timer, armed by the AP's thread right before
 * KVM_RUN, wakes the shooter after a random delay, i.e. the AP is stopped dead
 * wherever it is, a complete fallocate() is executed, and the AP goes on.  The
 * delay is spread over the time that the AP has been measured to need until it
 * executes guest code.  Without the privilege for it the shooter is an ordinary
 * thread, and the odds are worse.
 *
 * What makes it a test: all that happens to one AP is ordered by its lock, so the
 * outcome of every round is known, whatever the other APs are going through:
 *
 *  - once fallocate() has returned, the AP's heartbeat stands still, and KVM_RUN
 *    fails, cleanly and again and again;
 *  - a VMSA that is rebuilt in place runs, i.e. KVM still knows where it is;
 *  - an AP that is created while anything but its VMSA is punched comes up;
 *  - the thread of vCPU i runs VMSA i, and nothing else;
 *  - every system call and every order to the guest ends in time;
 *  - pages that were punched become free;
 *  - the kernel has nothing to say.
 *
 * What is left out, because released kernels are known to lose it: a cold punch
 * (of a page without SPTE) while somebody else kicks the same vCPU, and holes that
 * go on behind the last of several VMSAs in use.  See the weakness_* cases of
 * sev_snp_vmsa_punch_hole, and mode msi.
 */
#include <pthread.h>
#include <signal.h>

#include <linux/mempolicy.h>
#include <linux/sizes.h>

#include <sys/prctl.h>
#include <sys/timerfd.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "snp.h"
#include "snp_case.h"

/* Two vCPUs execute orders, and are never punched.  The rest are targets. */
#define NR_SERVERS	2
#define NR_APS_MAX	32
#define NR_DRIVERS_MAX	16

#define SEC		((u64)NSEC_PER_SEC)

/* How long to wait for what has to happen, before it counts as hung. */
#define TIMEOUT_NS	(opt_factor * 30 * SEC)

/* How long to look at a heartbeat that must not be there. */
#define WATCH_NS	50000ull

/* By how much a mode may exceed its time to enter all its windows. */
#define EXTENSION_NS	(opt_factor * 90 * SEC)

/* Even if the setup has used up the time of a mode. */
#define MIN_TIME_NS	(opt_factor * SEC / 4)

/* Port by which a target says that it is up, and who it is. */
#define UP_PORT		0x1100

/*
 * Two neighboring APs share a file and a memslot.  No slot is at offset 0 of its
 * file, has gfns that equal its offsets, or is aligned to 2M, and the last page
 * of a slot is one that can be a VMSA.
 */
#define NR_VMSAS	3
#define NR_SLOT_PAGES	9
#define NR_FILE_PAGES	16

#define SLOT_SAFE	8	/* the VMSA of the second server, never punched */
#define SLOT_SPARE	9	/* no VMSA, punched all the time in some modes */
#define SLOT_GROUP	10

#define GPA_SAFE	(SZ_4G + 0x3000)
#define GPA_SPARE	(SZ_4G + SZ_2M + 0x5000)
#define GPA_GROUPS	(SZ_4G + 2 * SZ_2M + 0x1000)

enum ap_mode {
	AP_SPIN,
	AP_HALT,
	AP_STAY_IN_NMI,
};

enum server_op {
	OP_NOP,
	OP_PREPARE,
	OP_CREATE,
	OP_PREPARE_CREATE,
	OP_CREATE_ON_INIT,
	OP_DESTROY,
	OP_INIT_SIPI,
};

/* How far a server has got with AP Create. */
enum stage {
	ORDERED,
	REQUESTED,
	ANSWERED,
};

/* Shared between host and guest. */
struct shared {
	struct shared_server {
		u64 op, arg[2], ret;
		u64 stage;
		u64 reserved[3];
	} server[NR_SERVERS];
	struct shared_ap {
		u64 heartbeat;
		u64 starts;
		u64 halts;
		u64 mode;
		u64 reserved[4];
	} ap[NR_APS_MAX];
};

/*
 * Guest
 */
static struct shared *guest_shared;

static void guest_say_up(u64 id)
{
	struct snp_ghcb *ghcb = snp_ghcb_begin();

	/* Without #VC: the fewer instructions until then, the narrower the window. */
	snp_ghcb_set(ghcb, rax, id);
	snp_ghcb_exit(ghcb, SVM_EXIT_IOIO, (u64)UP_PORT << 16 | BIT(6), 0);
}

/* The next NMI then stays pending, and kicks the vCPU nevertheless. */
static void guest_nmi_handler(struct ex_regs *regs)
{
	struct snp_vcpu_area *area = (void *)snp_this_cpu();
	struct shared_ap *ap = &guest_shared->ap[area - snp_vcpu_areas - NR_SERVERS];

	for (;;)
		WRITE_ONCE(ap->heartbeat, ap->heartbeat + 1);
}

static void guest_ap(struct shared *shared, u64 index)
{
	struct shared_ap *ap = &shared->ap[index];

	WRITE_ONCE(ap->starts, ap->starts + 1);
	guest_say_up(NR_SERVERS + index);
	if (READ_ONCE(ap->mode) == AP_STAY_IN_NMI)
		snp_nmi_complete();

	for (;;) {
		WRITE_ONCE(ap->heartbeat, ap->heartbeat + 1);
		if (READ_ONCE(ap->mode) == AP_HALT) {
			WRITE_ONCE(ap->halts, ap->halts + 1);
			asm volatile("hlt" ::: "memory");
		}
	}
}

/* Serve the host's orders one by one. */
static void guest_server(struct shared *shared, u64 index)
{
	struct shared_server *me = &shared->server[index];
	u64 ret;

	guest_shared = shared;

	for (;;) {
		GUEST_SYNC(0);

		switch (me->op) {
		case OP_NOP:
			ret = 0;
			break;
		case OP_PREPARE:
			ret = snp_vmsa_prepare(me->arg[0], me->arg[1]);
			break;
		case OP_CREATE:
			WRITE_ONCE(me->stage, REQUESTED);
			ret = snp_ap_create(me->arg[1], me->arg[0]);
			WRITE_ONCE(me->stage, ANSWERED);
			break;
		case OP_PREPARE_CREATE:
			ret = snp_vmsa_prepare(me->arg[0], me->arg[1]);
			if (!ret)
				ret = snp_ap_create(me->arg[1], me->arg[0]);
			break;
		case OP_CREATE_ON_INIT:
			ret = snp_ap_create_on_init(me->arg[1], me->arg[0]);
			break;
		case OP_DESTROY:
			ret = snp_ap_destroy(me->arg[1]);
			break;
		case OP_INIT_SIPI:
			snp_init_sipi(me->arg[1]);
			ret = 0;
			break;
		default:
			GUEST_FAIL("Unknown order %lu", me->op);
			return;
		}
		WRITE_ONCE(me->ret, ret);
	}
}

/*
 * Options
 */
enum mode_id {
	MODE_PROBE,
	MODE_STORM,
	MODE_SPARE,
	MODE_CHURN,
	MODE_PINGPONG,
	MODE_CONVERT,
	MODE_SLOTS,
	MODE_SIGNALS,
	MODE_REUSE,
	MODE_NUMA,
	MODE_MSI,
	NR_MODES,
};

/* What a punch met, as far as that can be told from outside. */
enum window {
	IN_GUEST,		/* a vCPU that executes guest code */
	IN_RELOAD,		/* one that is reloading its VMSA because of another punch */
	IN_CREATE,		/* one that is about to start on a VMSA it was given */
	IN_FILL,		/* the guest, filling in the VMSA */
	IN_REPLACE,		/* one that is being given another VMSA */
	HALTED,			/* one that is halted */
	NEARBY,			/* one that is about to start, elsewhere */
	NR_WINDOWS,
};

static const char * const window_str[] = {
	"in-guest", "reload", "create", "fill", "replace", "halted", "nearby",
};

enum amplifier {
	AMP_PREEMPT,		/* shooters of real-time priority on the CPUs of the APs */
	AMP_STORM,		/* punches of a spare page all the time */
	NR_AMPS,
};

static const char * const amp_str[] = { "preempt", "storm" };

static u64 opt_seconds = 15;
static u32 opt_nr_aps = 4;
static u32 opt_nr_drivers = 2;
static u64 opt_seed;
static u32 opt_modes;
static u32 opt_warm = 50;
static u32 opt_amps = BIT(NR_AMPS) - 1;
static u32 opt_factor = 1;
static bool opt_pin = true;

/* Shared by all processes. */
static struct stats {
	u64 start_ns;
	u64 empty_runs_per_s;
	bool preempts;
	u32 last_mode;
	struct mode_stats {
		u64 ns;
		u64 rounds;
		u64 creates;
		u64 punches;
		u64 kills;
		u64 runs;
		u64 windows[NR_WINDOWS];
	} mode[NR_MODES];
} *stats;

/* A thread of this process, and the call it is in. */
struct worker {
	pthread_t thread;
	char name[16];
	u64 rnd;
	const char *what;
	u64 busy_since;
};

struct server {
	struct worker w;
	struct kvm_vcpu *vcpu;
	struct shared_server *shared;
	pthread_mutex_t client;	/* held by who has an order running */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool pending;

	/* Its shooter, and how long it takes from an order to the request. */
	struct worker shooter;
	int timer;
	struct ap *target;
	u64 request_ns, step_ns;
	enum stage shot_stage, last_stage;
};

struct group {
	pthread_mutex_t lock[2];
	gpa_t gpa;
	int fd;
	u64 pgoff;
	struct kvm_userspace_memory_region2 region;
};

/* A target.  Whoever holds its lock decides what happens to it. */
struct ap {
	u32 index;
	u32 id;			/* of the vCPU */
	struct kvm_vcpu *vcpu;
	struct shared_ap *shared;
	struct group *group;
	pthread_mutex_t *lock;
	u32 page;		/* 0 to NR_VMSAS - 1 */
	bool alive;		/* has a good VMSA, and a thread in KVM_RUN */

	/* The thread in KVM_RUN. */
	struct worker w;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool go;
	bool stop;
	bool running;
	u64 run_ns, up_ns, exit_ns, died_ns;
	u64 nr_up;
	struct snp_exit exit;

	/* The shooter, and how long the AP takes from KVM_RUN to the guest. */
	struct worker shooter;
	int timer;
	u64 arm_ns;		/* to be armed by the AP's thread */
	int shot_fd;
	u64 shot_pgoff, shot_nr;
	u64 shot_heartbeat, shot_ns;
	bool shot_done;
	u64 start_ns;
	u64 edge_ns;
	u64 fill_ns;
};

struct driver {
	struct worker w;
	struct server *server;
};

/* A mode: what its drivers do in a round, with an AP they have locked. */
struct mode {
	const char *name;
	void (*round)(struct driver *d, struct ap *ap);
	u32 windows;		/* BIT()s of those that have to be entered */
	u32 min_rounds;
	u32 share;		/* of the time */
	bool one_driver;
	bool roams;		/* its drivers choose their CPUs */
	void *(*background)(void *w);
};

static const struct mode *mode;
static struct mode_stats *mode_stats;
static struct kvm_vm *vm;
static struct kvm_vcpu *vcpus[NR_SERVERS + NR_APS_MAX];
static struct shared *shared;
static struct server servers[NR_SERVERS];
static struct group groups[(NR_APS_MAX + 1) / 2];
static struct ap aps[NR_APS_MAX];
static struct driver drivers[NR_DRIVERS_MAX];
static u32 nr_aps;
static cpu_set_t all_cpus;
static int spare_fd;
static int no_pre_fault;		/* or the errno of KVM_PRE_FAULT_MEMORY */
static bool stop;

/*
 * A cold punch under a vCPU that is in the guest must not meet a kick that has
 * nothing to do with it, see above.  KVM kicks all vCPUs when one is reset, which
 * AP Creation does, or a memslot changes.  Who causes that holds the lock for
 * reading until it is over, and such a punch holds it for writing.
 */
static pthread_rwlock_t kick_lock = PTHREAD_RWLOCK_INITIALIZER;

static struct worker *workers[NR_SERVERS + 2 * NR_APS_MAX + NR_DRIVERS_MAX + 8];
static u32 nr_workers;

static void count(u64 *stat)
{
	__atomic_fetch_add(stat, 1, __ATOMIC_RELAXED);
}

static u64 random_u64(struct worker *w)
{
	/* xorshift64* */
	w->rnd ^= w->rnd >> 12;
	w->rnd ^= w->rnd << 25;
	w->rnd ^= w->rnd >> 27;
	return w->rnd * 0x2545f4914f6cdd1dull;
}

static u64 random_below(struct worker *w, u64 limit)
{
	return limit ? (random_u64(w) >> 16) % limit : 0;
}

static bool random_percent(struct worker *w, u32 percent)
{
	return random_below(w, 100) < percent;
}

static void worker_start(struct worker *w, void *(*fn)(void *), void *arg, const char *fmt,
			 u32 nr)
{
	u64 id = nr_workers;
	int r;

	workers[nr_workers++] = w;
	snprintf(w->name, sizeof(w->name), fmt, nr);
	w->rnd = (opt_seed + (stats->last_mode + 1) * 0x9e3779b97f4a7c15ull) ^ (id << 32 | 1);
	random_u64(w);
	r = pthread_create(&w->thread, NULL, fn, arg);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
}

/* First thing in every thread. */
static void worker_init(struct worker *w)
{
	pthread_setname_np(pthread_self(), w->name);
	prctl(PR_SET_TIMERSLACK, 1000);
}

/*
 * The vCPUs of the APs never sleep.  Whoever has something to do to them must not
 * have to wait for the end of their time slice, if it can be helped.
 */
static bool worker_set_prio(struct worker *w, int prio)
{
	struct sched_param param = { .sched_priority = prio };

	return !pthread_setschedparam(w->thread, SCHED_FIFO, &param);
}

static void worker_busy(struct worker *w, const char *what)
{
	w->what = what;
	__atomic_store_n(&w->busy_since, snp_now(), __ATOMIC_RELEASE);
}

static void worker_idle(struct worker *w)
{
	WRITE_ONCE(w->busy_since, 0);
}

static void spin_ns(u64 ns)
{
	u64 end = snp_now() + ns;

	while (snp_now() < end)
		;
}

/*
 * Wait for a condition, and evaluate to it.  Time alone does not decide: it passes
 * for a host that is suspended, too.
 */
#define WAIT_FOR(_cond)						\
({								\
	u64 __end = snp_now() + TIMEOUT_NS;			\
	u32 __nr = 0;						\
	bool __ok;						\
								\
	for (;;) {						\
		__ok = _cond;					\
		if (__ok || (snp_now() > __end && ++__nr > 1000)) \
			break;					\
		usleep(50);					\
	}							\
	__ok;							\
})

static void lock_cond_init(pthread_mutex_t *lock, pthread_cond_t *cond)
{
	pthread_mutex_init(lock, NULL);
	pthread_cond_init(cond, NULL);
}

/*
 * Servers
 */
static struct snp_exit server_run(struct server *s)
{
	struct snp_exit exit;
	struct ucall uc;

	do {
		exit = snp_vcpu_run(s->vcpu, &uc);
	} while (exit.type == SNP_EXIT_INTR);

	if (exit.type == SNP_EXIT_UCALL && uc.cmd == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	SNP_CHECK(exit.type == SNP_EXIT_UCALL, SNP_CAUSE_WRONG_EXIT,
		  "vCPU %u, whose VMSA nobody touched, got %s, errno %d, detail 0x%lx",
		  s->vcpu->id, snp_exit_str(exit.type), exit.err, exit.detail);
	return exit;
}

static void *server_thread(void *__s)
{
	struct server *s = __s;

	worker_init(&s->w);
	server_run(s);

	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->pending)
			pthread_cond_wait(&s->cond, &s->lock);
		pthread_mutex_unlock(&s->lock);

		worker_busy(&s->w, "the guest executes an order");
		server_run(s);
		worker_idle(&s->w);

		pthread_mutex_lock(&s->lock);
		s->pending = false;
		pthread_cond_broadcast(&s->cond);
	}
	return NULL;
}

/* Orders to several servers at a time are posted in the order of the servers. */
static void order_post(struct server *s, enum server_op op, u64 arg0, u64 arg1)
{
	pthread_mutex_lock(&s->client);
	s->shared->op = op;
	s->shared->arg[0] = arg0;
	s->shared->arg[1] = arg1;

	pthread_mutex_lock(&s->lock);
	s->pending = true;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static u64 order_wait(struct server *s)
{
	u64 ret;

	pthread_mutex_lock(&s->lock);
	while (s->pending)
		pthread_cond_wait(&s->cond, &s->lock);
	pthread_mutex_unlock(&s->lock);

	ret = READ_ONCE(s->shared->ret);
	pthread_mutex_unlock(&s->client);
	return ret;
}

static u64 order(struct server *s, enum server_op op, u64 arg0, u64 arg1)
{
	order_post(s, op, arg0, arg1);
	return order_wait(s);
}

/*
 * Punches
 */
static void punch_file(struct worker *w, int fd, u64 pgoff, u64 nr_pages)
{
	int r;

	worker_busy(w, "fallocate(PUNCH_HOLE)");
	r = snp_punch_hole(fd, pgoff * PAGE_SIZE, nr_pages * PAGE_SIZE);
	worker_idle(w);
	TEST_ASSERT(!r, "PUNCH_HOLE failed, errno %d", errno);
	count(&mode_stats->punches);
}

/*
 * Targets
 */
static u32 page_index(struct ap *ap, u32 page)
{
	return 1 + 3 * page + (ap->index & 1);
}

static gpa_t page_gpa(struct ap *ap, u32 page)
{
	return ap->group->gpa + page_index(ap, page) * PAGE_SIZE;
}

static u64 page_pgoff(struct ap *ap, u32 page)
{
	return ap->group->pgoff + page_index(ap, page);
}

static u64 heartbeat(struct ap *ap)
{
	return READ_ONCE(ap->shared->heartbeat);
}

static void timer_arm(int timer, u64 ns)
{
	struct itimerspec its = {
		.it_value = { .tv_sec = ns / SEC, .tv_nsec = ns % SEC ?: 1 },
	};

	timerfd_settime(timer, 0, &its, NULL);
}

static void ap_check_up(struct ap *ap)
{
	struct kvm_run *run = ap->vcpu->run;
	u32 id = *(u32 *)((void *)run + run->io.data_offset);

	SNP_CHECK(run->io.port == UP_PORT && run->io.direction == KVM_EXIT_IO_OUT &&
		  run->io.size == 4 && run->io.count == 1, SNP_CAUSE_WRONG_EXIT,
		  "vCPU %u got an I/O exit for port 0x%x", ap->id, run->io.port);
	SNP_CHECK(id == ap->id, SNP_CAUSE_WRONG_VMSA,
		  "the thread of vCPU %u runs the VMSA of vCPU %u", ap->id, id);
	ap->up_ns = snp_now();
	WRITE_ONCE(ap->nr_up, ap->nr_up + 1);
}

static void *ap_thread(void *__ap)
{
	struct ap *ap = __ap;
	struct snp_exit exit;

	worker_init(&ap->w);

	for (;;) {
		pthread_mutex_lock(&ap->mutex);
		while (!ap->go)
			pthread_cond_wait(&ap->cond, &ap->mutex);
		ap->go = false;
		pthread_mutex_unlock(&ap->mutex);

		WRITE_ONCE(ap->run_ns, snp_now());
		if (ap->arm_ns)
			timer_arm(ap->timer, ap->arm_ns);
		ap->arm_ns = 0;

		for (;;) {
			exit = snp_vcpu_run(ap->vcpu, NULL);
			count(&mode_stats->runs);
			if (exit.type == SNP_EXIT_OTHER && exit.detail == KVM_EXIT_IO) {
				ap_check_up(ap);
				continue;
			}
			if (exit.type == SNP_EXIT_AGAIN)
				continue;
			if (exit.type != SNP_EXIT_INTR || READ_ONCE(ap->stop))
				break;
			ap->vcpu->run->immediate_exit = 0;
		}

		pthread_mutex_lock(&ap->mutex);
		ap->exit = exit;
		ap->exit_ns = snp_now();
		__atomic_store_n(&ap->running, false, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&ap->cond);
		pthread_mutex_unlock(&ap->mutex);
	}
	return NULL;
}

static bool ap_is_running(struct ap *ap)
{
	return __atomic_load_n(&ap->running, __ATOMIC_ACQUIRE);
}

/* Have the AP's thread call KVM_RUN until that returns anything but -EINTR. */
static void ap_run(struct ap *ap)
{
	pthread_mutex_lock(&ap->mutex);
	TEST_ASSERT(!ap->running, "vCPU %u is already running", ap->id);
	ap->run_ns = 0;
	ap->stop = false;
	ap->running = true;
	ap->go = true;
	pthread_cond_broadcast(&ap->cond);
	pthread_mutex_unlock(&ap->mutex);
}

/* Get the AP's thread out of KVM_RUN, if it is there. */
static void ap_stop(struct ap *ap)
{
	u64 end = snp_now() + TIMEOUT_NS;

	WRITE_ONCE(ap->stop, true);
	while (ap_is_running(ap)) {
		SNP_CHECK(snp_now() < end, SNP_CAUSE_HUNG,
			  "KVM_RUN of vCPU %u ignores signals", ap->id);
		WRITE_ONCE(ap->vcpu->run->immediate_exit, 1);
		pthread_kill(ap->w.thread, SIGUSR1);
		usleep(50);
	}
	ap->vcpu->run->immediate_exit = 0;
}

static void __noreturn fail_exit(struct ap *ap, enum snp_cause cause, const char *what)
{
	struct snp_exit *exit = &ap->exit;

	if (exit->type == SNP_EXIT_TERM && exit->detail == SNP_TERM_STRAY)
		snp_fail(SNP_CAUSE_LAUNCH_VMSA, "%s: vCPU %u ran its launch VMSA", what,
			 ap->id);
	if (exit->type != SNP_EXIT_FAIL_ENTRY)
		cause = SNP_CAUSE_WRONG_EXIT;
	snp_fail(cause, "%s: vCPU %u got %s, errno %d, detail 0x%lx", what, ap->id,
		 snp_exit_str(exit->type), exit->err, exit->detail);
}

/* KVM_RUN has to have failed cleanly. */
static void ap_check_failed(struct ap *ap, const char *what)
{
	if (!snp_exit_is_clean_failure(&ap->exit))
		fail_exit(ap, SNP_CAUSE_WRONG_EXIT, what);
}

static void ap_check_frozen(struct ap *ap, u64 last, const char *what)
{
	u64 now = heartbeat(ap);

	SNP_CHECK(now == last, SNP_CAUSE_IN_USE,
		  "%s: vCPU %u ran on, its heartbeat went from %lu to %lu", what, ap->id,
		  last, now);
}

/* The VMSA is gone, and was when the heartbeat was @last. */
static void ap_check_dead(struct driver *d, struct ap *ap, u64 last, const char *what)
{
	u64 end = snp_now() + WATCH_NS;

	ap->alive = false;
	count(&mode_stats->kills);
	do {
		ap_check_frozen(ap, last, what);
	} while (ap_is_running(ap) && snp_now() < end);

	if (!WAIT_FOR(!ap_is_running(ap))) {
		ap_check_frozen(ap, last, what);
		snp_fail(SNP_CAUSE_HUNG, "%s: KVM_RUN of vCPU %u did not return", what,
			 ap->id);
	}
	ap->died_ns = ap->exit_ns;
	ap_check_failed(ap, what);
	ap_check_frozen(ap, last, what);

	if (random_percent(&d->w, 10)) {
		ap_run(ap);
		SNP_CHECK(WAIT_FOR(!ap_is_running(ap)), SNP_CAUSE_HUNG,
			  "%s, KVM_RUN again: vCPU %u does not return", what, ap->id);
		ap_check_failed(ap, what);
		ap_check_frozen(ap, last, what);
	}
}

static void ap_prepare(struct driver *d, struct ap *ap, u32 page)
{
	u64 end = snp_now() + TIMEOUT_NS;
	u64 ret;

	/* Some kernels let the vCPU run on for a moment after it was destroyed. */
	do {
		ret = order(d->server, OP_PREPARE, page_gpa(ap, page), ap->id);
	} while (ret == SNP_RMP_FAIL_INUSE && snp_now() < end);
	TEST_ASSERT(!ret, "RMPADJUST of VMSA 0x%lx failed with %lu", page_gpa(ap, page), ret);
}

static void ap_create(struct driver *d, struct ap *ap, u32 page)
{
	u64 ret;

	ret = order(d->server, OP_CREATE, page_gpa(ap, page), ap->id);
	SNP_CHECK(!ret, SNP_CAUSE_WRONG_ANSWER,
		  "AP Create of vCPU %u at 0x%lx was answered with 0x%lx", ap->id,
		  page_gpa(ap, page), ret);
	ap->page = page;
	count(&mode_stats->creates);
}

/* Both in one order, for an AP that does not run. */
static void ap_prepare_create(struct driver *d, struct ap *ap, u32 page)
{
	u64 ret = order(d->server, OP_PREPARE_CREATE, page_gpa(ap, page), ap->id);

	if (ret == SNP_RMP_FAIL_INUSE) {
		ap_prepare(d, ap, page);
		ap_create(d, ap, page);
		return;
	}
	SNP_CHECK(!ret, SNP_CAUSE_WRONG_ANSWER,
		  "RMPADJUST, or AP Create, of vCPU %u at 0x%lx was answered with 0x%lx",
		  ap->id, page_gpa(ap, page), ret);
	ap->page = page;
	count(&mode_stats->creates);
}

/* The AP has to start once more than @nr_up times, or to be running again. */
static void ap_wait_up(struct ap *ap, u64 nr_up, enum snp_cause cause, const char *what)
{
	if (!WAIT_FOR(READ_ONCE(ap->nr_up) != nr_up || !ap_is_running(ap)))
		snp_fail(SNP_CAUSE_NO_RECOVERY, "%s: vCPU %u does not start", what, ap->id);
	if (READ_ONCE(ap->nr_up) == nr_up)
		fail_exit(ap, cause, what);
	ap->alive = true;
}

static void ap_wait_alive(struct ap *ap, const char *what)
{
	u64 last = heartbeat(ap);

	if (!WAIT_FOR(heartbeat(ap) != last || !ap_is_running(ap)))
		snp_fail(SNP_CAUSE_FALSE_KILL, "%s: vCPU %u makes no progress", what, ap->id);
	if (heartbeat(ap) == last)
		fail_exit(ap, SNP_CAUSE_FALSE_KILL, what);
}

/* Create the AP on one of its pages, nobody interferes, and see it start. */
static void ap_start(struct driver *d, struct ap *ap, u32 page)
{
	u64 nr_up = ap->nr_up;

	pthread_rwlock_rdlock(&kick_lock);
	ap_prepare_create(d, ap, page);
	ap_run(ap);
	ap_wait_up(ap, nr_up, SNP_CAUSE_NO_RECOVERY, "after AP Create");
	pthread_rwlock_unlock(&kick_lock);
	ap->start_ns = (3 * ap->start_ns + ap->up_ns - ap->run_ns) / 4;
	ap->edge_ns = ap->edge_ns ?: ap->start_ns;
}

static void ap_ensure_alive(struct driver *d, struct ap *ap)
{
	if (!ap->alive)
		ap_start(d, ap, random_below(&d->w, NR_VMSAS));
}

/* A VMSA made where the lost one was is as good as that. */
static void ap_heal(struct driver *d, struct ap *ap)
{
	u64 nr_up = ap->nr_up;

	ap_prepare(d, ap, ap->page);
	ap_run(ap);
	ap_wait_up(ap, nr_up, SNP_CAUSE_NO_RECOVERY, "VMSA rebuilt in place");
}

/*
 * Shots
 */
static void shoot(struct worker *w, struct ap *ap)
{
	ap->shot_ns = snp_now();
	punch_file(w, ap->shot_fd, ap->shot_pgoff, ap->shot_nr);
	ap->shot_heartbeat = heartbeat(ap);
	__atomic_store_n(&ap->shot_done, true, __ATOMIC_RELEASE);
}

static void *shooter_thread(void *__ap)
{
	struct ap *ap = __ap;
	u64 nr;

	worker_init(&ap->shooter);
	for (;;) {
		if (read(ap->timer, &nr, sizeof(nr)) == sizeof(nr))
			shoot(&ap->shooter, ap);
	}
	return NULL;
}

static void *server_shooter_thread(void *__s)
{
	struct server *s = __s;
	u64 nr;

	worker_init(&s->shooter);
	for (;;) {
		if (read(s->timer, &nr, sizeof(nr)) != sizeof(nr))
			continue;
		s->shot_stage = READ_ONCE(s->shared->stage);
		shoot(&s->shooter, s->target);
	}
	return NULL;
}

static void shot_aim(struct ap *ap, int fd, u64 pgoff, u64 nr)
{
	ap->shot_fd = fd;
	ap->shot_pgoff = pgoff;
	ap->shot_nr = nr;
	ap->shot_done = false;
}

static void shot_wait(struct ap *ap)
{
	SNP_CHECK(WAIT_FOR(__atomic_load_n(&ap->shot_done, __ATOMIC_ACQUIRE)),
		  SNP_CAUSE_HUNG, "a punch at vCPU %u did not happen", ap->id);
}

/*
 * When to shoot at an AP that is about to start: any time until it executes its
 * first instruction.  That moment moves with the load of the host.  Follow it, so
 * that one shot in ten is too late.
 */
static u64 shot_delay(struct driver *d, struct ap *ap)
{
	return 1 + random_below(&d->w, ap->edge_ns);
}

static void shot_correct(struct ap *ap, bool too_late)
{
	const u64 step = ap->start_ns / 64;

	if (!too_late)
		ap->edge_ns = min(ap->edge_ns + step, 2 * ap->start_ns);
	else if (ap->edge_ns > 9 * step)
		ap->edge_ns -= 9 * step;
	ap->edge_ns = max(ap->edge_ns, step);
}

/*
 * Rounds
 */
enum temp {
	COLD,
	WARM,
};

/* Zap the SPTEs of a range of private pages, without touching the RMP. */
static void make_cold(gpa_t gpa, u64 nr_pages)
{
	vm_mem_set_shared(vm, gpa, nr_pages * PAGE_SIZE);
	vm_mem_set_private(vm, gpa, nr_pages * PAGE_SIZE);
}

/* The other AP of the group, locked, or NULL. */
static struct ap *ap_lock_partner(struct ap *ap)
{
	u32 index = ap->index ^ 1;

	if (index >= nr_aps || pthread_mutex_trylock(aps[index].lock))
		return NULL;
	return &aps[index];
}

/* Punch one running AP, or two of them with one hole. */
static void round_punch_running(struct driver *d, struct ap *ap, enum temp temp, bool many)
{
	const char *what = temp == COLD ? "cold punch under a running vCPU" :
					  "warm punch under a running vCPU";
	struct ap *other = NULL;
	u64 last, last_other = 0;
	u32 first, end;

	ap_ensure_alive(d, ap);
	if (many)
		other = ap_lock_partner(ap);

	first = page_index(ap, ap->page);
	end = first + 1;
	if (other && other->alive) {
		if (!ap_is_running(other))
			ap_run(other);
		/* Two are enough to keep each other busy, see above: end with a VMSA. */
		first = min(first, page_index(other, other->page));
		end = max(end, page_index(other, other->page) + 1);
		ap_wait_alive(other, what);
	} else if (many && (other || (ap->index ^ 1) >= nr_aps)) {
		first = 0;
		end = NR_SLOT_PAGES;
	}

	if (temp == COLD) {
		pthread_rwlock_wrlock(&kick_lock);
		make_cold(ap->group->gpa + first * PAGE_SIZE, end - first);
	}
	ap_wait_alive(ap, what);
	spin_ns(random_below(&d->w, 50000));
	punch_file(&d->w, ap->group->fd, ap->group->pgoff + first, end - first);
	last = heartbeat(ap);
	if (other)
		last_other = heartbeat(other);
	if (temp == COLD)
		pthread_rwlock_unlock(&kick_lock);

	snp_event("vCPU %lu lost its VMSA, heartbeat %lu", ap->id, last);
	count(&mode_stats->windows[IN_GUEST]);
	ap_check_dead(d, ap, last, what);
	if (other) {
		if (other->alive)
			ap_check_dead(d, other, last_other, what);
		pthread_mutex_unlock(other->lock);
	}
}

/* Punch again while the AP looks for a replacement of the page it has lost. */
static void round_punch_reload(struct driver *d, struct ap *ap)
{
	const char *what = "punch of a VMSA that is being reloaded";
	u64 last, start;

	ap_ensure_alive(d, ap);
	ap_wait_alive(ap, what);
	shot_aim(ap, ap->group->fd, page_pgoff(ap, ap->page), 1);
	timer_arm(ap->timer, 1 + random_below(&d->w, 3 * ap->start_ns));
	start = snp_now();
	punch_file(&d->w, ap->group->fd, page_pgoff(ap, ap->page), 1);
	last = heartbeat(ap);
	shot_wait(ap);

	ap_check_dead(d, ap, last, what);
	if (ap->shot_ns > start && ap->shot_ns < ap->died_ns)
		count(&mode_stats->windows[IN_RELOAD]);
	ap_heal(d, ap);
}

/* Punch while the AP is about to start on a VMSA that is as good as it gets. */
static void punch_create(struct driver *d, struct ap *ap)
{
	const char *what = "punch of a VMSA that is about to be used";
	u64 starts, last;
	bool too_late;

	/* From a standing start the moment is known best. */
	ap_stop(ap);
	starts = READ_ONCE(ap->shared->starts);
	ap->page = (ap->page + 1) % NR_VMSAS;

	pthread_rwlock_rdlock(&kick_lock);
	ap_prepare_create(d, ap, ap->page);
	shot_aim(ap, ap->group->fd, page_pgoff(ap, ap->page), 1);
	ap->arm_ns = shot_delay(d, ap);
	ap_run(ap);
	shot_wait(ap);
	last = ap->shot_heartbeat;
	ap_check_dead(d, ap, last, what);
	pthread_rwlock_unlock(&kick_lock);

	too_late = READ_ONCE(ap->shared->starts) != starts;
	shot_correct(ap, too_late);
	count(&mode_stats->windows[too_late ? IN_GUEST : IN_CREATE]);
}

static void round_punch_create(struct driver *d, struct ap *ap)
{
	punch_create(d, ap);
	ap_heal(d, ap);
}

/*
 * Punch while the guest fills in the VMSA.  It notices, and starts over, unless
 * the punch is the last thing that happens.
 */
static void round_punch_fill(struct driver *d, struct ap *ap)
{
	const char *what = "punch of a VMSA that is being filled in";
	u64 nr_up, start, end;

	if (ap->alive)
		round_punch_running(d, ap, WARM, false);

	nr_up = ap->nr_up;
	ap->page = random_below(&d->w, NR_VMSAS);
	shot_aim(ap, ap->group->fd, page_pgoff(ap, ap->page), 1);
	start = snp_now();
	order_post(d->server, OP_PREPARE, page_gpa(ap, ap->page), ap->id);
	timer_arm(ap->timer, 1 + random_below(&d->w, ap->fill_ns / 4 * 5));
	order_wait(d->server);
	end = snp_now();
	ap->fill_ns = (3 * ap->fill_ns + end - start) / 4;
	shot_wait(ap);
	if (ap->shot_ns > start && ap->shot_ns < end)
		count(&mode_stats->windows[IN_FILL]);

	pthread_rwlock_rdlock(&kick_lock);
	ap_create(d, ap, ap->page);
	ap_run(ap);
	SNP_CHECK(WAIT_FOR(READ_ONCE(ap->nr_up) != nr_up || !ap_is_running(ap)),
		  SNP_CAUSE_NO_RECOVERY, "%s: vCPU %u does not start", what, ap->id);
	pthread_rwlock_unlock(&kick_lock);
	if (ap->nr_up != nr_up) {
		ap->alive = true;
		return;
	}
	ap_check_failed(ap, what);
	ap_heal(d, ap);
}

/* Punch while the AP is halted, i.e. its thread sleeps in KVM_RUN. */
static void round_punch_halted(struct driver *d, struct ap *ap)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	const char *what = "punch under a halted vCPU";
	u64 last, halts;

	ap_ensure_alive(d, ap);
	halts = READ_ONCE(ap->shared->halts);
	WRITE_ONCE(ap->shared->mode, AP_HALT);
	if (!WAIT_FOR((READ_ONCE(ap->shared->halts) != halts &&
		       vcpu_get_stat(ap->vcpu, blocking)) || !ap_is_running(ap)))
		snp_fail(SNP_CAUSE_HUNG, "vCPU %u does not halt", ap->id);
	if (!ap_is_running(ap))
		fail_exit(ap, SNP_CAUSE_FALSE_KILL, "HLT");

	punch_file(&d->w, ap->group->fd, page_pgoff(ap, ap->page), 1);
	last = heartbeat(ap);
	count(&mode_stats->windows[HALTED]);
	ap_stop(ap);
	WRITE_ONCE(ap->shared->mode, AP_SPIN);
	ap_check_frozen(ap, last, what);

	vcpu_mp_state_set(ap->vcpu, &runnable);
	ap_run(ap);
	ap_check_dead(d, ap, last, what);
	if (random_percent(&d->w, 50))
		ap_heal(d, ap);
}

static void round_storm(struct driver *d, struct ap *ap)
{
	static const u32 each[] = { 0, 50, 60, 75, 88, 96 };
	u64 nr = READ_ONCE(mode_stats->rounds);
	u32 dice = random_below(&d->w, 100);

	/* However slow the host, each kind has its turn. */
	if (nr < 2 * ARRAY_SIZE(each))
		dice = each[nr % ARRAY_SIZE(each)];

	if (dice < 50)
		round_punch_create(d, ap);
	else if (dice < 75)
		round_punch_running(d, ap, random_percent(&d->w, opt_warm) ? WARM : COLD,
				    dice < 60);
	else if (dice < 88)
		round_punch_reload(d, ap);
	else if (dice < 96)
		round_punch_fill(d, ap);
	else
		round_punch_halted(d, ap);
}

/* A kernel that lacks the fix loses every time, there is no race to be won. */
static void round_probe(struct driver *d, struct ap *ap)
{
	round_punch_running(d, ap, mode_stats->rounds % 4 < 3 ? COLD : WARM, false);
}

/*
 * Something other than the VMSA of the AP: a page in front of one or between them,
 * in the same file, or one of the spare file.
 */
static void shot_aim_nearby(struct driver *d, struct ap *ap)
{
	u32 dice = random_below(&d->w, 4);

	if (dice == 3)
		shot_aim(ap, spare_fd, 2, 1);
	else
		shot_aim(ap, ap->group->fd, ap->group->pgoff + 3 * dice, 1);
}

/* Create the AP while other pages are punched.  It has to come up every time. */
static void round_spare(struct driver *d, struct ap *ap)
{
	const char *what = "creation while other pages are punched";
	u64 nr_up;
	u32 page;

	ap_ensure_alive(d, ap);
	page = (ap->page + 1 + random_below(&d->w, NR_VMSAS - 1)) % NR_VMSAS;
	shot_aim_nearby(d, ap);

	pthread_rwlock_rdlock(&kick_lock);
	if (random_percent(&d->w, 70)) {
		ap_stop(ap);
		nr_up = ap->nr_up;
		ap_prepare_create(d, ap, page);
		ap->arm_ns = shot_delay(d, ap);
		ap_run(ap);
	} else {
		nr_up = ap->nr_up;
		ap_prepare(d, ap, page);
		timer_arm(ap->timer, 1 + random_below(&d->w, 3 * ap->start_ns));
		ap_create(d, ap, page);
	}
	ap_wait_up(ap, nr_up, SNP_CAUSE_FALSE_KILL, what);
	shot_wait(ap);
	pthread_rwlock_unlock(&kick_lock);
	if (ap->shot_ns < ap->up_ns)
		count(&mode_stats->windows[NEARBY]);
	ap_wait_alive(ap, what);
}

/*
 * Aim at the time between request and answer: close in on it by smaller and smaller
 * steps, and larger ones again if it has moved.
 */
static void server_correct(struct server *s)
{
	if (s->shot_stage == REQUESTED)
		return;

	s->step_ns = s->shot_stage == s->last_stage ? s->step_ns * 2 : s->step_ns / 2;
	s->step_ns = clamp(s->step_ns, s->request_ns / 64 + 1, s->request_ns / 4 + 1);
	s->last_stage = s->shot_stage;
	s->request_ns += s->shot_stage == ORDERED ? s->step_ns : -s->step_ns;
	s->request_ns = clamp(s->request_ns, SEC / 1000000, SEC / 10);
}

/*
 * Punch the VMSA that the AP runs on while another vCPU has it replaced, and is
 * stopped in the middle of that.  KVM does not let itself be preempted while it
 * kicks a vCPU, so that the punch may be a cold one, see kick_lock.
 */
static void round_replace(struct driver *d, struct ap *ap)
{
	const char *what = "punch of a VMSA that is being replaced";
	struct server *s = d->server;
	u64 nr_up, ret;
	u32 page;

	ap_ensure_alive(d, ap);
	page = (ap->page + 1 + random_below(&d->w, NR_VMSAS - 1)) % NR_VMSAS;

	pthread_rwlock_wrlock(&kick_lock);
	ap_prepare(d, ap, page);
	if (stats->preempts)
		make_cold(page_gpa(ap, ap->page), 1);
	ap_wait_alive(ap, what);
	nr_up = ap->nr_up;
	shot_aim(ap, ap->group->fd, page_pgoff(ap, ap->page), 1);
	s->target = ap;
	s->shared->stage = ORDERED;
	timer_arm(s->timer, s->request_ns + random_below(&d->w, s->step_ns));
	ret = order(s, OP_CREATE, page_gpa(ap, page), ap->id);
	SNP_CHECK(!ret, SNP_CAUSE_WRONG_ANSWER,
		  "AP Create of a running vCPU was answered with 0x%lx", ret);
	count(&mode_stats->creates);
	ap->page = page;
	shot_wait(ap);
	server_correct(s);
	if (s->shot_stage == REQUESTED)
		count(&mode_stats->windows[IN_REPLACE]);

	/* Either it was gone from the page, or it has lost it. */
	if (!WAIT_FOR(READ_ONCE(ap->nr_up) != nr_up || !ap_is_running(ap)))
		snp_fail(SNP_CAUSE_NO_RECOVERY, "%s: vCPU %u does not start", what, ap->id);
	if (READ_ONCE(ap->nr_up) == nr_up) {
		ap_check_failed(ap, what);
		ap_run(ap);
	}
	ap_wait_up(ap, nr_up, SNP_CAUSE_NO_RECOVERY, what);
	pthread_rwlock_unlock(&kick_lock);
}

/*
 * Have two vCPUs create the same AP at the same time, which is stopped by a punch of
 * something else.  It runs on one of the two VMSAs then, and not on none.
 */
static void round_create_twice(struct driver *d, struct ap *ap)
{
	const char *what = "creation by two vCPUs at once";
	u64 nr_up, last, ret, start, end;
	u32 i;

	ap_ensure_alive(d, ap);
	pthread_rwlock_rdlock(&kick_lock);
	for (i = 1; i < NR_VMSAS; i++)
		ap_prepare(d, ap, (ap->page + i) % NR_VMSAS);

	shot_aim_nearby(d, ap);
	timer_arm(ap->timer, 1 + random_below(&d->w, 3 * ap->start_ns));
	start = snp_now();
	for (i = 0; i < NR_SERVERS; i++)
		order_post(&servers[i], OP_CREATE,
			   page_gpa(ap, (ap->page + 1 + i) % NR_VMSAS), ap->id);
	for (i = 0; i < NR_SERVERS; i++) {
		ret = order_wait(&servers[i]);
		SNP_CHECK(!ret, SNP_CAUSE_WRONG_ANSWER,
			  "one of two AP Create requests was answered with 0x%lx", ret);
		count(&mode_stats->creates);
	}
	end = snp_now();

	/* It is out of the guest, or has come back since. */
	last = heartbeat(ap);
	shot_wait(ap);
	if (ap->shot_ns > start && ap->shot_ns < end)
		count(&mode_stats->windows[NEARBY]);
	if (!WAIT_FOR(heartbeat(ap) != last || !ap_is_running(ap)))
		snp_fail(SNP_CAUSE_NO_RECOVERY, "%s: vCPU %u does not start", what, ap->id);
	if (!ap_is_running(ap))
		fail_exit(ap, SNP_CAUSE_NO_RECOVERY, what);

	/* Which one it is does not matter, have it run one that is known. */
	nr_up = ap->nr_up;
	ap_prepare(d, ap, ap->page);
	ap_create(d, ap, ap->page);
	ap_wait_up(ap, nr_up, SNP_CAUSE_NO_RECOVERY, what);
	pthread_rwlock_unlock(&kick_lock);
}

/*
 * Have two vCPUs do different things to the same AP at the same time, under a
 * punch of one of the pages.  Whatever comes of it, the next creation counts.
 */
static void round_churn(struct driver *d, struct ap *ap)
{
	static const enum server_op ops[] = {
		OP_CREATE, OP_CREATE, OP_CREATE_ON_INIT, OP_DESTROY,
	};
	const char *what = "creation after several at once";
	u32 i, page, first = random_below(&d->w, 2);
	u64 nr_up, ret, start, end;

	switch (random_below(&d->w, 3)) {
	case 0:
		round_replace(d, ap);
		return;
	case 1:
		round_create_twice(d, ap);
		return;
	}

	ap_ensure_alive(d, ap);
	pthread_rwlock_rdlock(&kick_lock);
	for (i = 1; i < NR_VMSAS; i++)
		ap_prepare(d, ap, (ap->page + i) % NR_VMSAS);

	page = random_below(&d->w, NR_VMSAS);
	shot_aim(ap, ap->group->fd, page_pgoff(ap, page), 1);
	timer_arm(ap->timer, 1 + random_below(&d->w, 3 * ap->start_ns));
	start = snp_now();
	for (i = 0; i < NR_SERVERS; i++)
		order_post(&servers[i], ops[random_below(&d->w, ARRAY_SIZE(ops))],
			   page_gpa(ap, (ap->page + 1 + (i ^ first)) % NR_VMSAS), ap->id);
	for (i = 0; i < NR_SERVERS; i++) {
		ret = order_wait(&servers[i]);
		SNP_CHECK(!ret, SNP_CAUSE_WRONG_ANSWER,
			  "one of two AP Creation requests was answered with 0x%lx", ret);
	}
	if (random_percent(&d->w, 25))
		order(d->server, OP_INIT_SIPI, 0, ap->id);
	end = snp_now();
	shot_wait(ap);
	if (ap->shot_ns > start && ap->shot_ns < end)
		count(&mode_stats->windows[IN_CREATE]);

	SNP_CHECK(!order(d->server, OP_DESTROY, 0, ap->id), SNP_CAUSE_WRONG_ANSWER,
		  "AP Destroy failed");
	if (random_percent(&d->w, 50))
		ap_stop(ap);
	if (!ap_is_running(ap) && ap->exit.type != SNP_EXIT_INTR)
		ap_check_failed(ap, what);
	ap->alive = false;

	ap_prepare(d, ap, page);
	nr_up = READ_ONCE(ap->nr_up);
	ap_create(d, ap, page);
	if (!ap_is_running(ap))
		ap_run(ap);
	if (!WAIT_FOR(READ_ONCE(ap->nr_up) != nr_up || !ap_is_running(ap)))
		snp_fail(SNP_CAUSE_NO_RECOVERY, "%s: vCPU %u does not start", what, ap->id);
	/* KVM_RUN may have failed on one of the VMSAs before it saw this one. */
	if (ap->nr_up == nr_up) {
		ap_check_failed(ap, what);
		ap_run(ap);
	}
	ap_wait_up(ap, nr_up, SNP_CAUSE_NO_RECOVERY, what);
	pthread_rwlock_unlock(&kick_lock);
}

#define LEAK_SEGMENT	64
#define LEAK_STRIKES	4

/* Pages lost per punched VMSA, several times in a row. */
static struct leak {
	u64 pages, kills, ns;
	u64 nr_kills, nr_pages, nr_ns;
	u32 strikes;
} leak;

static bool leak_is_suspected(void)
{
	u64 kills = READ_ONCE(mode_stats->kills), pages, now;

	if (leak.ns && kills < leak.kills + LEAK_SEGMENT)
		return leak.strikes >= LEAK_STRIKES;

	pages = snp_nr_listed_pages(false);
	now = snp_now();
	if (leak.ns && pages > leak.pages + (kills - leak.kills) / 3) {
		leak.strikes++;
		leak.nr_kills += kills - leak.kills;
		leak.nr_pages += pages - leak.pages;
		leak.nr_ns += now - leak.ns;
	} else {
		leak.strikes = 0;
		leak.nr_kills = 0;
		leak.nr_pages = 0;
		leak.nr_ns = 0;
	}
	leak.pages = pages;
	leak.kills = kills;
	leak.ns = now;
	return leak.strikes >= LEAK_STRIKES;
}

/* It is no leak if others add pages as well, i.e. while nothing is punched. */
static void leak_confirm(void)
{
	s64 noise = snp_nr_listed_pages(false);

	snp_event("%lu punched VMSAs, %lu pages more", leak.nr_kills, leak.nr_pages);
	usleep(min_t(u64, leak.nr_ns, 5 * SEC) / 1000);
	noise = (s64)snp_nr_listed_pages(false) - noise;
	if (noise > LEAK_SEGMENT / 8 || noise < -LEAK_SEGMENT / 8) {
		snp_note("the host is too busy to count pages");
		return;
	}
	snp_fail(SNP_CAUSE_LEAK, "%lu VMSAs were punched, and %lu pages not freed",
		 leak.nr_kills, leak.nr_pages);
}

/*
 * Punch while the page is allocated and mapped, by fallocate() and by
 * KVM_PRE_FAULT_MEMORY on a vCPU that has nothing else to do.
 */
static void pre_fault(struct server *s, gpa_t gpa)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = PAGE_SIZE };
	int r;

	if (READ_ONCE(no_pre_fault))
		return;
	pthread_mutex_lock(&s->client);
	do {
		range.gpa = gpa;
		range.size = PAGE_SIZE;
		r = __vcpu_ioctl(s->vcpu, KVM_PRE_FAULT_MEMORY, &range);
	} while (r && (errno == EINTR || errno == EAGAIN));
	pthread_mutex_unlock(&s->client);

	/* Not every kernel can do it for SNP. */
	if (r)
		WRITE_ONCE(no_pre_fault, errno);
	errno = 0;
}

static void round_pingpong(struct driver *d, struct ap *ap)
{
	const char *what = "punch and allocation of a VMSA's page";
	u32 i;
	int r;

	ap_ensure_alive(d, ap);
	ap_wait_alive(ap, what);
	shot_aim(ap, ap->group->fd, page_pgoff(ap, ap->page), 1);
	timer_arm(ap->timer, 1 + random_below(&d->w, 3 * ap->start_ns));
	for (i = 0; i < 4 || !READ_ONCE(ap->shot_done); i++) {
		worker_busy(&d->w, "fallocate()");
		r = fallocate(ap->group->fd, FALLOC_FL_KEEP_SIZE,
			      page_pgoff(ap, ap->page) * PAGE_SIZE, PAGE_SIZE);
		TEST_ASSERT(!r || errno == EINTR, "fallocate() failed, errno %d", errno);
		worker_busy(&d->w, "KVM_PRE_FAULT_MEMORY");
		pre_fault(d->server, page_gpa(ap, ap->page));
		worker_idle(&d->w);
		usleep(10);
	}
	shot_wait(ap);
	count(&mode_stats->windows[IN_GUEST]);
	ap_check_dead(d, ap, ap->shot_heartbeat, what);
	if (random_percent(&d->w, 50))
		ap_heal(d, ap);
}

/* Punch while the page is turned from private into shared memory and back. */
static void round_convert(struct driver *d, struct ap *ap)
{
	const char *what = "punch and conversion of a VMSA's page";
	u32 i;

	ap_ensure_alive(d, ap);
	pthread_rwlock_wrlock(&kick_lock);
	ap_wait_alive(ap, what);
	shot_aim(ap, ap->group->fd, page_pgoff(ap, ap->page), 1);
	timer_arm(ap->timer, 1 + random_below(&d->w, 3 * ap->start_ns));
	for (i = 0; i < 4 || !READ_ONCE(ap->shot_done); i++) {
		make_cold(page_gpa(ap, ap->page), 1);
		usleep(10);
	}
	shot_wait(ap);
	pthread_rwlock_unlock(&kick_lock);
	count(&mode_stats->windows[IN_GUEST]);
	ap_check_dead(d, ap, ap->shot_heartbeat, what);
	if (random_percent(&d->w, 50))
		ap_heal(d, ap);
}

static void group_set_slot(struct group *group, bool present)
{
	struct kvm_userspace_memory_region2 region = group->region;

	region.guest_memfd = group->fd;
	if (!present)
		region.memory_size = 0;
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

static void group_replace_file(struct group *group)
{
	struct userspace_mem_region *region = memslot2region(vm, group->region.slot);

	/* The library has a reference of its own. */
	if (region->region.guest_memfd != (u32)-1)
		close(region->region.guest_memfd);
	region->region.guest_memfd = -1;
	close(group->fd);
	group->fd = vm_create_guest_memfd(vm, NR_FILE_PAGES * PAGE_SIZE, 0);
}

/* After the memslot of its VMSA is gone, the AP may run on for a moment. */
static u64 ap_check_slot_deleted(struct ap *ap)
{
	const char *what = "memslot deleted under a running vCPU";

	ap->alive = false;
	if (!WAIT_FOR(!ap_is_running(ap))) {
		u64 last = heartbeat(ap);

		usleep(10000);
		SNP_CHECK(heartbeat(ap) == last, SNP_CAUSE_NOT_STOPPED, "%s: vCPU %u runs on",
			  what, ap->id);
		snp_fail(SNP_CAUSE_HUNG, "%s: KVM_RUN of vCPU %u did not return", what, ap->id);
	}
	ap_check_failed(ap, what);
	return heartbeat(ap);
}

/* Delete the memslot and create it again, for the same file or for another one. */
static void round_slots(struct driver *d, struct ap *ap)
{
	const char *what = "memslot deleted, created again, and punched";
	struct group *group = ap->group;
	struct ap *other = NULL;
	u64 last, last_other = 0;
	u32 dice;

	/* The slot has both of them. */
	if ((ap->index ^ 1) < nr_aps) {
		other = ap_lock_partner(ap);
		if (!other)
			return;
		if (other->alive && !ap_is_running(other))
			ap_run(other);
		ap_ensure_alive(d, other);
	}
	ap_ensure_alive(d, ap);

	pthread_rwlock_wrlock(&kick_lock);
	ap_wait_alive(ap, what);
	group_set_slot(group, false);
	last = ap_check_slot_deleted(ap);
	if (other)
		last_other = ap_check_slot_deleted(other);

	dice = random_below(&d->w, 3);
	if (dice == 0)
		punch_file(&d->w, group->fd, group->pgoff, NR_SLOT_PAGES);
	else if (dice == 1)
		group_replace_file(group);
	group_set_slot(group, true);
	if (dice == 2)
		punch_file(&d->w, group->fd, group->pgoff, NR_SLOT_PAGES);
	pthread_rwlock_unlock(&kick_lock);

	count(&mode_stats->kills);
	count(&mode_stats->windows[IN_GUEST]);
	ap_check_frozen(ap, last, what);
	if (other)
		ap_check_frozen(other, last_other, what);
	ap_start(d, ap, random_below(&d->w, NR_VMSAS));
	if (other)
		pthread_mutex_unlock(other->lock);
}

/*
 * Have the host use the pages it got back, for the VMSAs of another AP and for
 * itself, while the first AP is still without.  It must not run what is there.
 */
static void round_reuse(struct driver *d, struct ap *ap)
{
	const char *what = "pages of a lost VMSA used again";
	const size_t size = 64 * PAGE_SIZE;
	struct ap *other = ap_lock_partner(ap);
	u64 last, last_other = 0;
	char *mem;
	u32 i;

	/* It is busy, there will be another time. */
	if (!other && (ap->index ^ 1) < nr_aps)
		return;

	if (other) {
		ap_stop(other);
		other->alive = false;
		for (i = 0; i < NR_VMSAS; i++)
			punch_file(&d->w, ap->group->fd, page_pgoff(other, i), 1);
		last_other = heartbeat(other);
	}

	ap_ensure_alive(d, ap);
	if (random_percent(&d->w, 50)) {
		punch_create(d, ap);
	} else {
		ap_wait_alive(ap, what);
		punch_file(&d->w, ap->group->fd, page_pgoff(ap, ap->page), 1);
		last = heartbeat(ap);
		count(&mode_stats->windows[IN_GUEST]);
		ap_check_dead(d, ap, last, what);
	}
	last = heartbeat(ap);

	for (i = 0; other && i < NR_VMSAS; i++)
		ap_prepare(d, other, i);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() failed");
	memset(mem, 0x55, size);
	munmap(mem, size);

	ap_run(ap);
	SNP_CHECK(WAIT_FOR(!ap_is_running(ap) || (other && heartbeat(other) != last_other)),
		  SNP_CAUSE_HUNG, "%s: vCPU %u does not return", what, ap->id);
	SNP_CHECK(!other || heartbeat(other) == last_other, SNP_CAUSE_WRONG_VMSA,
		  "%s: the thread of vCPU %u runs another VMSA", what, ap->id);
	ap_check_failed(ap, what);
	ap_check_frozen(ap, last, what);
	ap_heal(d, ap);
	if (other) {
		ap_start(d, other, random_below(&d->w, NR_VMSAS));
		pthread_mutex_unlock(other->lock);
	}
}

/*
 * NUMA, by system calls: whether there is a libnuma to build with must not change
 * what is tested.
 */
static u32 nr_nodes(void)
{
	char path[64];
	u32 nr;

	for (nr = 0; nr < 64; nr++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", nr);
		if (access(path, F_OK))
			break;
	}
	errno = 0;
	return nr ?: 1;
}

static void set_policy(int mode, u64 mask)
{
	syscall(__NR_set_mempolicy, mode, mask ? &mask : NULL, mask ? 64 : 0);
	errno = 0;
}

/* The test's CPUs on a node, or all of them if it has none there. */
static void node_cpus(u32 node, cpu_set_t *cpus)
{
	char path[96];
	cpu_set_t on_node;
	int cpu;

	CPU_ZERO(&on_node);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpu%d", node, cpu);
		if (!access(path, F_OK))
			CPU_SET(cpu, &on_node);
	}
	*cpus = all_cpus;
	CPU_AND(&on_node, &on_node, cpus);
	if (CPU_COUNT(&on_node))
		*cpus = on_node;
	errno = 0;
}

/* Leave CPU @nr of @cpus in it, counted from 0, and no other. */
static void pick_cpu(cpu_set_t *cpus, u32 nr)
{
	int cpu;

	for (cpu = 0; nr || !CPU_ISSET(cpu, cpus); cpu++)
		nr -= CPU_ISSET(cpu, cpus) ? 1 : 0;
	CPU_ZERO(cpus);
	CPU_SET(cpu, cpus);
}

/* Run an AP on one node, on memory of another, and punch it from a third. */
static void round_numa(struct driver *d, struct ap *ap)
{
	const u32 nr = nr_nodes();
	const u32 memory = random_below(&d->w, nr);
	cpu_set_t cpus;

	if (opt_pin) {
		node_cpus(random_below(&d->w, nr), &cpus);
		pthread_setaffinity_np(d->w.thread, sizeof(cpus), &cpus);
		/* One CPU, see worker_pin(). */
		node_cpus(random_below(&d->w, nr), &cpus);
		pick_cpu(&cpus, random_below(&d->w, CPU_COUNT(&cpus)));
		pthread_setaffinity_np(ap->w.thread, sizeof(cpus), &cpus);
		pthread_setaffinity_np(ap->shooter.thread, sizeof(cpus), &cpus);
	}

	/* The thread that allocates a page decides where it comes from. */
	ap_stop(ap);
	ap->alive = false;
	ap->page = random_below(&d->w, NR_VMSAS);
	punch_file(&d->w, ap->group->fd, page_pgoff(ap, ap->page), 1);
	set_policy(MPOL_PREFERRED, BIT(memory));
	fallocate(ap->group->fd, FALLOC_FL_KEEP_SIZE, page_pgoff(ap, ap->page) * PAGE_SIZE,
		  PAGE_SIZE);
	set_policy(MPOL_DEFAULT, 0);

	ap_start(d, ap, ap->page);
	if (random_percent(&d->w, 50))
		round_punch_running(d, ap, random_percent(&d->w, opt_warm) ? WARM : COLD, false);
	else
		round_punch_create(d, ap);
}

static u64 node_pages(u32 node)
{
	char path[64], name[64];
	u64 val, ret = 0;
	FILE *f;

	snp_nr_listed_pages(false);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/vmstat", node);
	f = fopen(path, "r");
	while (f && fscanf(f, "%63s %lu", name, &val) == 2) {
		if (!strcmp(name, "nr_unevictable"))
			ret = val;
	}
	if (f)
		fclose(f);
	errno = 0;
	return ret;
}

/* Where do pages of guest_memfd land, by task policy and by mbind()? */
static void note_placement(void)
{
	const u64 nr_pages = 256, size = nr_pages * PAGE_SIZE;
	const u32 nr = nr_nodes();
	u32 node, how;

	if (nr == 1) {
		snp_note("one NUMA node, nothing to choose from");
		return;
	}

	for (how = 0; how < 2; how++) {
		for (node = 0; node < nr; node++) {
			u64 mask = BIT(node), before;
			void *mem = MAP_FAILED;
			int fd;

#ifdef GUEST_MEMFD_FLAG_MMAP
			fd = __vm_create_guest_memfd(vm, size, how ? GUEST_MEMFD_FLAG_MMAP : 0);
#else
			fd = how ? -1 : __vm_create_guest_memfd(vm, size, 0);
#endif
			if (fd >= 0 && how)
				mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			if (how && (mem == MAP_FAILED ||
				    syscall(__NR_mbind, mem, size, MPOL_BIND, &mask, 64, 0))) {
				snp_note("guest_memfd cannot be placed by mbind() here");
				errno = 0;
				return;
			}
			before = node_pages(node);
			if (!how)
				set_policy(MPOL_BIND, mask);
			fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size);
			if (!how)
				set_policy(MPOL_DEFAULT, 0);
			snp_note("%s: of %lu pages for node %u, some %ld landed there",
				 how ? "mbind()" : "task policy", nr_pages, node,
				 (s64)(node_pages(node) - before));
			if (mem != MAP_FAILED)
				munmap(mem, size);
			close(fd);
		}
	}
}

/* The kick that does not wait, see the weakness_* cases: a flood of them. */
static void *nmi_flood(void *__w)
{
	struct worker *w = __w;

	worker_init(w);
	while (!READ_ONCE(stop)) {
		struct ap *ap = &aps[random_below(w, nr_aps)];

		/* With vNMI, AP Creation opens the vCPU for NMIs at once. */
		if (READ_ONCE(ap->alive))
			snp_send_nmi(vm, ap->id);
	}
	return NULL;
}

static void round_msi(struct driver *d, struct ap *ap)
{
	WRITE_ONCE(ap->shared->mode, AP_STAY_IN_NMI);
	round_punch_running(d, ap, COLD, false);
}

static void *signal_storm(void *__w)
{
	struct worker *w = __w;

	worker_init(w);
	while (!READ_ONCE(stop)) {
		struct ap *ap = &aps[random_below(w, nr_aps)];

		if (random_percent(w, 25))
			WRITE_ONCE(ap->vcpu->run->immediate_exit, 1);
		pthread_kill(ap->w.thread, SIGUSR1);
		usleep(random_below(w, 500));
	}
	return NULL;
}

static const struct mode modes[] = {
	[MODE_PROBE] = {
		.name = "probe",
		.round = round_probe,
		.windows = BIT(IN_GUEST),
		.min_rounds = 4,
		.one_driver = true,
	},
	[MODE_STORM] = {
		.name = "storm",
		.round = round_storm,
		.windows = BIT(IN_GUEST) | BIT(IN_RELOAD) | BIT(IN_CREATE) |
			   BIT(IN_FILL) | BIT(HALTED),
		.share = 8,
	},
	[MODE_SPARE] = {
		.name = "spare",
		.round = round_spare,
		.windows = BIT(NEARBY),
		.share = 3,
	},
	[MODE_CHURN] = {
		.name = "churn",
		.round = round_churn,
		.windows = BIT(IN_CREATE) | BIT(IN_REPLACE),
		.share = 2,
	},
	[MODE_PINGPONG] = {
		.name = "pingpong",
		.round = round_pingpong,
		.windows = BIT(IN_GUEST),
		.share = 1,
	},
	[MODE_CONVERT] = {
		.name = "convert",
		.round = round_convert,
		.windows = BIT(IN_GUEST),
		.share = 1,
	},
	[MODE_SLOTS] = {
		.name = "slots",
		.round = round_slots,
		.windows = BIT(IN_GUEST),
		.share = 1,
	},
	[MODE_SIGNALS] = {
		.name = "signals",
		.round = round_storm,
		.windows = BIT(IN_GUEST) | BIT(IN_CREATE),
		.share = 2,
		.background = signal_storm,
	},
	[MODE_REUSE] = {
		.name = "reuse",
		.round = round_reuse,
		.windows = BIT(IN_GUEST),
		.share = 1,
	},
	[MODE_NUMA] = {
		.name = "numa",
		.round = round_numa,
		.windows = BIT(IN_GUEST),
		.share = 1,
		.one_driver = true,
		.roams = true,
	},
	[MODE_MSI] = {
		.name = "msi",
		.round = round_msi,
		.windows = BIT(IN_GUEST),
		.share = 1,
		.background = nmi_flood,
	},
};

static void *driver_thread(void *__d)
{
	struct driver *d = __d;

	worker_init(&d->w);
	while (!READ_ONCE(stop)) {
		struct ap *ap = &aps[random_below(&d->w, nr_aps)];

		if (pthread_mutex_trylock(ap->lock)) {
			usleep(10);
			continue;
		}
		if (ap->alive && !ap_is_running(ap)) {
			ap_run(ap);
			ap_wait_alive(ap, "after a break");
		}
		mode->round(d, ap);

		/* A vCPU that spins for nothing takes time from the others. */
		if (ap->alive && random_percent(&d->w, 80))
			ap_stop(ap);
		pthread_mutex_unlock(ap->lock);
		count(&mode_stats->rounds);
	}
	return NULL;
}

/*
 * Background noise: invalidations that have nothing to do with any VMSA.  If the
 * page is mapped, then mmu_lock is held until all vCPUs have flushed their TLBs.
 * An AP that waits for the lock meanwhile cannot be preempted until it has had it,
 * and is then, if its shooter is due: right after it has decided about its VMSA.
 */
static void *storm_thread(void *__w)
{
	struct worker *w = __w;

	worker_init(w);
	while (!READ_ONCE(stop)) {
		u32 page = random_below(w, 2);

		pre_fault(&servers[0], GPA_SPARE + page * PAGE_SIZE);
		punch_file(w, spare_fd, 1 + page, 1);
		usleep(random_below(w, 500));
	}
	return NULL;
}

/*
 * Setup
 */
static void nop_signal(int sig)
{
}

static void setup_group(u32 g)
{
	struct group *group = &groups[g];
	u32 i;

	group->gpa = GPA_GROUPS + (g * 16 + g % 3 * 2) * PAGE_SIZE;
	group->pgoff = 3 + g % 3;
	group->fd = vm_create_guest_memfd(vm, NR_FILE_PAGES * PAGE_SIZE, 0);
	for (i = 0; i < ARRAY_SIZE(group->lock); i++)
		pthread_mutex_init(&group->lock[i], NULL);
	snp_vm_add_slot(vm, SLOT_GROUP + g, group->gpa, NR_SLOT_PAGES, group->fd,
			group->pgoff * PAGE_SIZE);
	group->region = memslot2region(vm, SLOT_GROUP + g)->region;
}

static void setup_server(u32 i)
{
	struct server *s = &servers[i];

	s->vcpu = vcpus[i];
	s->shared = &shared->server[i];
	pthread_mutex_init(&s->client, NULL);
	lock_cond_init(&s->lock, &s->cond);
	/* The thread starts by taking the first exit, nothing can be ordered before. */
	s->pending = false;
	s->request_ns = SEC / 5000;
	s->step_ns = s->request_ns / 16;
}

/*
 * Pin the thread of a vCPU to one of the CPUs that the test may use, counted from
 * the last one if negative.  A vCPU that changes its CPU kicks all others on hosts
 * without a stable TSC, see kick_lock.
 */
static void worker_pin(struct worker *w, s32 nr)
{
	cpu_set_t one = all_cpus;

	if (!opt_pin)
		return;

	nr %= CPU_COUNT(&all_cpus);
	if (nr < 0)
		nr += CPU_COUNT(&all_cpus);
	pick_cpu(&one, nr);
	pthread_setaffinity_np(w->thread, sizeof(one), &one);
}

/* Of the thread of a vCPU that is on CPU @cpu, see worker_pin(). */
static void setup_shooter(struct worker *w, int *timer, void *(*fn)(void *), void *arg,
			  const char *fmt, u32 nr, s32 cpu)
{
	*timer = timerfd_create(CLOCK_MONOTONIC, 0);
	TEST_ASSERT(*timer >= 0, "timerfd_create() failed");

	worker_start(w, fn, arg, fmt, nr);
	if (opt_pin && (opt_amps & BIT(AMP_PREEMPT))) {
		worker_pin(w, cpu);
		stats->preempts = worker_set_prio(w, 2);
	}
}

static void setup_ap(u32 i)
{
	struct ap *ap = &aps[i];

	ap->index = i;
	ap->id = NR_SERVERS + i;
	ap->vcpu = vcpus[ap->id];
	ap->shared = &shared->ap[i];
	ap->group = &groups[i / 2];
	ap->lock = &ap->group->lock[i % 2];
	lock_cond_init(&ap->mutex, &ap->cond);

	worker_start(&ap->w, ap_thread, ap, "ap%u", ap->id);
	/* The first CPUs have the most to do. */
	worker_pin(&ap->w, -1 - (s32)i);
	setup_shooter(&ap->shooter, &ap->timer, shooter_thread, ap, "shoot%u", ap->id,
		      -1 - (s32)i);
}

/* How fast KVM_RUN is if there is nothing to do, as a yardstick. */
static void measure_empty_runs(void)
{
	struct kvm_vcpu *vcpu = aps[0].vcpu;
	u64 start = snp_now(), end = start + SEC / 20, nr = 0;

	vcpu->run->immediate_exit = 1;
	for (nr = 0; snp_now() < end; nr++)
		snp_vcpu_run(vcpu, NULL);
	vcpu->run->immediate_exit = 0;
	stats->empty_runs_per_s = nr * SEC / (snp_now() - start);
}

static void setup(void)
{
	u32 i, nr_vcpus = NR_SERVERS + nr_aps;
	int fd, r;
	gva_t gva;

	snp_step("create an SNP VM with %lu vCPUs", nr_vcpus, 0);
	signal(SIGUSR1, nop_signal);
	prctl(PR_SET_TIMERSLACK, 1000);
	r = sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
	TEST_ASSERT(!r, "sched_getaffinity() failed");

	vm = snp_vm_create(nr_vcpus, guest_server, vcpus);
	vm_install_exception_handler(vm, NMI_VECTOR, guest_nmi_handler);

	fd = vm_create_guest_memfd(vm, NR_FILE_PAGES * PAGE_SIZE, 0);
	snp_vm_add_slot(vm, SLOT_SAFE, GPA_SAFE, 1, fd, PAGE_SIZE);
	spare_fd = vm_create_guest_memfd(vm, NR_FILE_PAGES * PAGE_SIZE, 0);
	snp_vm_add_slot(vm, SLOT_SPARE, GPA_SPARE, 2, spare_fd, PAGE_SIZE);
	for (i = 0; i < DIV_ROUND_UP(nr_aps, 2); i++)
		setup_group(i);

	gva = vm_alloc_shared(vm, sizeof(*shared), KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	shared = addr_gva2hva(vm, gva);
	memset(shared, 0, sizeof(*shared));
	for (i = 0; i < nr_vcpus; i++) {
		if (i >= NR_SERVERS)
			vcpu_arch_set_entry_point(vcpus[i], guest_ap);
		vcpu_args_set(vcpus[i], 2, gva, (u64)(i < NR_SERVERS ? i : i - NR_SERVERS));
	}

	snp_vm_launch(vm, snp_test_policy());

	snp_add_ballast(vm);

	for (i = 0; i < NR_SERVERS; i++)
		setup_server(i);
	worker_start(&servers[0].w, server_thread, &servers[0], "server%u", 0);
	TEST_ASSERT(!order(&servers[0], OP_PREPARE, GPA_SAFE, 1) &&
		    !order(&servers[0], OP_CREATE, GPA_SAFE, 1), "AP Create of a server failed");
	worker_start(&servers[1].w, server_thread, &servers[1], "server%u", 1);
	for (i = 0; i < NR_SERVERS; i++) {
		worker_pin(&servers[i].w, i);
		worker_set_prio(&servers[i].w, 1);
		setup_shooter(&servers[i].shooter, &servers[i].timer, server_shooter_thread,
			      &servers[i], "sshoot%u", i, i);
	}

	/*
	 * Nothing is punched before all have run.  The first KVM_RUN of a vCPU kicks
	 * all others, to update their clocks, see kick_lock.
	 */
	drivers[0].server = &servers[0];
	for (i = 0; i < nr_aps; i++) {
		setup_ap(i);
		if (!stats->empty_runs_per_s)
			measure_empty_runs();
		ap_start(&drivers[0], &aps[i], 0);
		ap_stop(&aps[i]);
	}
}

/*
 * The main thread watches the others
 */
static void check_workers(void)
{
	u32 i;

	for (i = 0; i < nr_workers; i++) {
		u64 since = __atomic_load_n(&workers[i]->busy_since, __ATOMIC_ACQUIRE);

		if (since && snp_now() > since + TIMEOUT_NS &&
		    since == READ_ONCE(workers[i]->busy_since))
			snp_fail(SNP_CAUSE_HUNG, "thread %s: no end after %lu s: %s",
				 workers[i]->name, TIMEOUT_NS / SEC, workers[i]->what);
	}
}

static bool windows_entered(void)
{
	u32 i;

	if (READ_ONCE(mode_stats->rounds) < mode->min_rounds)
		return false;
	for (i = 0; i < NR_WINDOWS; i++) {
		if ((mode->windows & BIT(i)) && !READ_ONCE(mode_stats->windows[i]))
			return false;
	}
	return true;
}

static u64 mode_time(void)
{
	u64 total = opt_seconds * opt_factor * SEC, spent = snp_now() - stats->start_ns;
	u32 i, shares = 0;

	for (i = stats->last_mode; i < NR_MODES; i++) {
		if (opt_modes & BIT(i))
			shares += modes[i].share;
	}
	if (!shares || spent >= total)
		return 0;
	return (total - spent) * mode->share / shares;
}

static void run_mode(enum mode_id id)
{
	u64 start, end, time_ns, last_word;
	bool suspected = false;
	struct worker storm = { }, background = { };
	u32 i, nr_drivers;
	char line[200];
	int len;

	mode = &modes[id];
	stats->last_mode = id;
	mode_stats = &stats->mode[id];
	nr_aps = id == MODE_PROBE ? 1 : opt_nr_aps;
	time_ns = mode_time();
	start = snp_now();
	end = start + time_ns;
	setup();

	snp_step("mode %lu", id, 0);
	nr_drivers = mode->one_driver ? 1 : opt_nr_drivers;
	for (i = 0; i < nr_drivers; i++) {
		drivers[i].server = &servers[i % NR_SERVERS];
		worker_start(&drivers[i].w, driver_thread, &drivers[i], "punch%u", i);
		/* A driver and its server take turns. */
		if (!mode->roams)
			worker_pin(&drivers[i].w, i % NR_SERVERS);
		worker_set_prio(&drivers[i].w, 1);
	}
	if (id != MODE_PROBE && (opt_amps & BIT(AMP_STORM)))
		worker_start(&storm, storm_thread, &storm, "storm%u", 0);
	if (storm.thread)
		worker_pin(&storm, 0);
	if (mode->background)
		worker_start(&background, mode->background, &background, "flood%u", 0);

	start = snp_now();
	last_word = start;
	if (id != MODE_PROBE)
		end = max(end, start + MIN_TIME_NS);
	while (snp_now() < end || !windows_entered()) {
		usleep(20000);
		check_workers();
		snp_check_kernel_log();
		/* A leak stays one, other users of memory come and go. */
		suspected = leak_is_suspected();
		if (suspected && leak.nr_pages > (u64)sysconf(_SC_PHYS_PAGES) / 8)
			break;
		if (snp_now() > end + EXTENSION_NS)
			break;
		if (snp_now() > last_word + (isatty(STDOUT_FILENO) ? 2 : 30) * SEC) {
			last_word = snp_now();
			ksft_print_msg("%s: %lu of %lu s, %lu rounds\n", mode->name,
				       (last_word - start) / SEC, time_ns / SEC,
				       mode_stats->rounds);
		}
	}
	WRITE_ONCE(stop, true);
	for (i = 0; i < nr_drivers; i++) {
		while (pthread_tryjoin_np(drivers[i].w.thread, NULL)) {
			check_workers();
			usleep(1000);
		}
	}
	if (storm.thread)
		pthread_join(storm.thread, NULL);
	if (background.thread)
		pthread_join(background.thread, NULL);
	mode_stats->ns = snp_now() - start;
	if (suspected)
		leak_confirm();

	for (i = 0; i < NR_SERVERS; i++)
		order(&servers[i], OP_NOP, 0, 0);
	if (id == MODE_NUMA)
		note_placement();
	if (no_pre_fault)
		snp_note("without KVM_PRE_FAULT_MEMORY, errno %d", no_pre_fault);
	snp_check_kernel_log();

	for (i = 0, len = 0; i < NR_WINDOWS; i++) {
		if (mode_stats->windows[i])
			len += snprintf(line + len, sizeof(line) - len, "%lu %s ",
					mode_stats->windows[i], window_str[i]);
		SNP_CHECK(mode_stats->windows[i] || !(mode->windows & BIT(i)),
			  SNP_CAUSE_NO_WINDOW, "%s: no punch hit: %s, in %lu s", mode->name,
			  window_str[i], mode_stats->ns / SEC);
	}
	snp_note("%lu rounds in %lu ms", mode_stats->rounds, mode_stats->ns / 1000000);
	snp_note("%swindows", line);
}

#define MODE_CASE(_name, _id)		\
static void case_##_name(void)		\
{					\
	run_mode(MODE_##_id);		\
}

MODE_CASE(probe, PROBE)
MODE_CASE(storm, STORM)
MODE_CASE(spare, SPARE)
MODE_CASE(churn, CHURN)
MODE_CASE(pingpong, PINGPONG)
MODE_CASE(convert, CONVERT)
MODE_CASE(slots, SLOTS)
MODE_CASE(signals, SIGNALS)
MODE_CASE(reuse, REUSE)
MODE_CASE(numa, NUMA)
MODE_CASE(msi, MSI)

#define CASE(_name, _what) \
	{ .name = #_name, .what = _what, .fn = case_##_name }

/* In the order of enum mode_id. */
static const struct snp_case cases[] = {
	{
		.name = "probe",
		.what = "a few punches, to see whether the kernel has the fix at all",
		.fn = case_probe,
		.proves_fix = true,
	},
	CASE(storm, "APs created, and their VMSAs punched all the time"),
	CASE(spare, "APs created while everything but their VMSAs is punched"),
	CASE(churn, "APs created and destroyed by several vCPUs at once"),
	CASE(pingpong, "pages punched, allocated and mapped at the same time"),
	CASE(convert, "pages punched and converted at the same time"),
	CASE(slots, "memslots deleted and created again, files replaced"),
	CASE(signals, "as storm, and the threads of the APs get signals"),
	CASE(reuse, "punched pages used again, by other APs and by the host"),
	CASE(numa, "as storm, across NUMA nodes"),
	{
		.name = "msi",
		.what = "cold punches under a flood of interrupts, which 7.3 may not survive",
		.fn = case_msi,
		.opt_in = true,
		.weakness = true,
	},
};

static double per_s(u64 nr, u64 ns)
{
	return ns ? nr * 1e9 / ns : 0;
}

/* Threads take turns as they please, the seed decides about all else. */
static void print_replay(void)
{
	char amps[64] = "none";
	u32 i;

	for (i = 0; i < NR_AMPS; i++) {
		if (opt_amps & BIT(i)) {
			strcat(amps, ",");
			strcat(amps, amp_str[i]);
		}
	}
	ksft_print_msg("replay: %s -m %s -s 0x%lx -n %u -p %u -w %u -a %s -c %s -f %u -t %lu\n",
		       "sev_snp_vmsa_punch_hole_stress", modes[stats->last_mode].name,
		       opt_seed, opt_nr_aps, opt_nr_drivers, opt_warm, amps,
		       opt_pin ? "spread" : "none", opt_factor, opt_seconds);
}

static void print_summary(bool failed)
{
	u64 ns = 0, rounds = 0, creates = 0, punches = 0, runs = 0, windows = 0;
	u32 i, j;

	for (i = 0; i < NR_MODES; i++) {
		struct mode_stats *m = &stats->mode[i];

		ns += m->ns;
		rounds += m->rounds;
		creates += m->creates;
		punches += m->punches;
		runs += m->runs;
		for (j = 0; j < NR_WINDOWS; j++)
			windows += m->windows[j];
	}
	if (!stats->preempts)
		ksft_print_msg("shooters could not be given priority, races are won less often\n");
	ksft_print_msg("summary: seed 0x%lx, %u vCPUs, %u punchers, %.1f s, %lu rounds, %lu hits\n",
		       opt_seed, opt_nr_aps, opt_nr_drivers, ns / 1e9, rounds, windows);
	ksft_print_msg("per second: %.0f creates, %.0f punches, %.0f KVM_RUNs, %lu empty ones\n",
		       per_s(creates, ns), per_s(punches, ns), per_s(runs, ns),
		       stats->empty_runs_per_s);
	if (failed) {
		print_replay();
		return;
	}
	ksft_print_msg("worth: what shows every %.1f s would have, with 95%% (1 - e^-3)\n",
		       ns / 3e9);
	ksft_print_msg("left out, see weakness_* of sev_snp_vmsa_punch_hole:\n");
	ksft_print_msg("left out: cold punches of a vCPU that something else kicks (mode msi)\n");
	ksft_print_msg("left out: holes that go on behind the last of several VMSAs in use\n");
}

static void print_help(const char *name)
{
	u32 i;

	printf("Look for races between KVM's use of a VMSA and the loss of its page.\n\n"
	       "usage: %s [-h] [-k] [-v] [-t seconds] [-m mode,...] [-n vCPUs] [-p punchers]\n"
	       "       [-s seed] [-w percent] [-a amplifier,...] [-c pinning] [-f factor]\n\n"
	       " -t: seconds that all modes take together (default: %lu)\n"
	       " -m: modes to run, in the order of the list below (default: all but opt-in)\n"
	       " -n: vCPUs that are created and punched, 1 to %u; two more create them\n"
	       "     (default: %u)\n"
	       " -p: threads that punch, each with a vCPU of its own, 1 to %u (default: %u)\n"
	       " -s: seed of all random choices, 64 bits (default: another one each time)\n"
	       " -w: percent of punches of running vCPUs that are warm, i.e. of a page that\n"
	       "     has a SPTE; all others are cold (default: %u)\n"
	       " -a: what raises the odds of a race (default: all): none, or some of\n"
	       "     preempt: punch at real-time priority on the CPU of the vCPU\n"
	       "     storm: punch a page that is no VMSA all the time\n"
	       " -c: where the vCPUs run: spread over all CPUs, each pinned to one\n"
	       "     (default), or none: where the scheduler likes\n"
	       " -f: slow host: multiply all times and time limits by this (default: 1)\n"
	       " -k: keep going after a failure that may have poisoned the host\n"
	       " -v: print the events of every mode, not only of those that fail\n\n"
	       " kselftest's runner takes options from\n"
	       " KSELFTEST_SEV_SNP_VMSA_PUNCH_HOLE_STRESS_ARGS.\n\n"
	       "Modes:\n",
	       name, opt_seconds, NR_APS_MAX, opt_nr_aps, NR_DRIVERS_MAX, opt_nr_drivers,
	       opt_warm);
	for (i = 0; i < NR_MODES; i++) {
		static const char * const tags[] = { "", "opt-in" };

		printf("  %-9s %-7s %s\n", cases[i].name, tags[cases[i].opt_in], cases[i].what);
	}
}

static void __noreturn bad_option(const char *what, const char *arg, const char *wanted)
{
	fprintf(stderr, "%s '%s' is not %s, see -h\n", what, arg, wanted);
	exit(KSFT_FAIL);
}

static u64 parse_number(const char *what, const char *arg, u64 min, u64 max)
{
	char *end, wanted[64];
	u64 val;

	errno = 0;
	val = strtoull(arg, &end, 0);
	if (errno || end == arg || *end || strchr(arg, '-') || val < min || val > max) {
		snprintf(wanted, sizeof(wanted), "a number from %lu to %lu", min, max);
		bad_option(what, arg, wanted);
	}
	return val;
}

static u32 parse_modes(char *arg)
{
	u32 i, ret = BIT(MODE_PROBE);
	char *name;

	for (name = strtok(arg, ","); name; name = strtok(NULL, ",")) {
		for (i = 0; i < NR_MODES && strcmp(name, modes[i].name); i++)
			;
		if (i == NR_MODES)
			bad_option("Mode", name, "one of the list");
		ret |= BIT(i);
	}
	return ret;
}

static u32 parse_amplifiers(char *arg)
{
	u32 i, ret = 0;
	char *name;

	for (name = strtok(arg, ","); name; name = strtok(NULL, ",")) {
		if (!strcmp(name, "none"))
			continue;
		for (i = 0; i < NR_AMPS && strcmp(name, amp_str[i]); i++)
			;
		if (i == NR_AMPS)
			bad_option("Amplifier", name, "one of the list");
		ret |= BIT(i);
	}
	return ret;
}

int main(int argc, char *argv[])
{
	struct snp_case selected[NR_MODES];
	struct snp_case_run run = {
		.cases = selected,
		.finished = print_summary,
	};
	u32 i;
	int opt;

	kvm_static_assert(ARRAY_SIZE(cases) == NR_MODES);

	opt_seed = snp_now() ^ (u64)getpid() << 40;
	for (i = 0; i < NR_MODES; i++) {
		if (!cases[i].opt_in)
			opt_modes |= BIT(i);
	}

	while ((opt = getopt(argc, argv, "hkvt:m:n:p:s:w:a:c:f:")) != -1) {
		switch (opt) {
		case 't':
			opt_seconds = parse_number("Seconds", optarg, 1, 10000000);
			break;
		case 'm':
			opt_modes = parse_modes(optarg);
			break;
		case 'n':
			opt_nr_aps = parse_number("vCPUs", optarg, 1, NR_APS_MAX);
			break;
		case 'p':
			opt_nr_drivers = parse_number("Punchers", optarg, 1, NR_DRIVERS_MAX);
			break;
		case 's':
			opt_seed = parse_number("Seed", optarg, 0, ~0ull);
			break;
		case 'w':
			opt_warm = parse_number("Percent", optarg, 0, 100);
			break;
		case 'a':
			opt_amps = parse_amplifiers(optarg);
			break;
		case 'c':
			if (strcmp(optarg, "spread") && strcmp(optarg, "none"))
				bad_option("Pinning", optarg, "spread or none");
			opt_pin = !strcmp(optarg, "spread");
			break;
		case 'f':
			opt_factor = parse_number("Factor", optarg, 1, 1000);
			break;
		case 'k':
			run.keep_going = true;
			break;
		case 'v':
			run.verbose = true;
			break;
		case 'h':
			print_help(argv[0]);
			exit(KSFT_PASS);
		default:
			fprintf(stderr, "See %s -h\n", argv[0]);
			exit(KSFT_FAIL);
		}
	}
	if (optind != argc)
		bad_option("Argument", argv[optind], "an option");

	stats = mmap(NULL, sizeof(*stats), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(stats != MAP_FAILED, "mmap() failed");
	stats->start_ns = snp_now();

	/* Longer than any wait inside of a mode, which know what they wait for. */
	run.timeout_s = opt_factor * (300 + opt_seconds);
	for (i = 0; i < NR_MODES; i++) {
		if (opt_modes & BIT(i))
			selected[run.nr_cases++] = cases[i];
	}
	snp_case_run(&run);
}
