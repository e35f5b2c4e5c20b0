// SPDX-License-Identifier: GPL-2.0-only
/*
 * Look for races between KVM's use of a VMSA and the loss of its page.
 *
 * Many threads create vCPUs and punch at once, and the punch is aimed at what is no
 * longer than a few instructions, e.g. between KVM's lookup of a VMSA's page and the
 * moment that it is used, see snp_race.h.  All that happens to one AP is ordered by
 * its lock, so the outcome of every round is known, whatever the others do:
 *
 *  - once fallocate() has returned, the AP's heartbeat stands still, and KVM_RUN
 *    fails, cleanly and again and again;
 *  - a VMSA that is rebuilt in place runs, i.e. KVM still knows where it is;
 *  - an AP that is created while anything but its VMSA is punched comes up;
 *  - every system call and every order to the guest ends.
 *
 * Two things are left out: a cold punch while somebody else kicks the same vCPU, and
 * holes that go on behind the last of several VMSAs in use.
 */
#include <linux/sizes.h>

/* The main thread tells what hangs, and a mode may take as long as is asked for. */
#define SNP_TIMEOUT_S		1000000

#include "sev_vc.h"
#include "snp_race.h"
#include "snp_test.h"

#define MAX_TARGETS		22
#define MAX_DRIVERS		8

#define HUNG_TURNS		1000	/* of the main thread, which sleeps in between */
#define TURN_US			10000
#define WATCH_NS		50000	/* a heartbeat that must not be there */
#define MAX_ROUNDS		5000	/* without a window that a mode is for */

/*
 * Two neighboring APs share a file and a memslot.  No slot is at offset 0 of its file,
 * has gfns that equal its offsets, or is aligned to 2M, and the last page of a slot
 * can be a VMSA.
 */
#define NR_VMSAS		3
#define NR_SLOT_PAGES		9
#define NR_FILE_PAGES		16

#define SLOT_SERVERS		1	/* VMSAs that are never punched */
#define SLOT_SPARE		2	/* no VMSA, punched all the time */
#define SLOT_GROUP		3

#define GPA_SERVERS		(SZ_4G + 3 * PAGE_SIZE)
#define GPA_SPARE		(SZ_4G + SZ_2M + 5 * PAGE_SIZE)
#define GPA_GROUPS		(SZ_4G + 2 * SZ_2M + PAGE_SIZE)

/* What a punch met. */
enum window {
	IN_GUEST,		/* a vCPU that executes guest code */
	IN_RELOAD,		/* one that reloads its VMSA because of another punch */
	IN_CREATE,		/* one that is about to start on a VMSA it was given */
	NEARBY,			/* one that is about to start, elsewhere */
	NR_WINDOWS,
};

static const char * const window_str[] = { "in-guest", "reload", "create", "nearby" };

struct group {
	gpa_t gpa;
	u64 pgoff;
	u32 slot;
	int fd;
};

/* An AP that is punched.  Whoever holds its lock decides what happens to it. */
struct target {
	struct snp_ap *ap;
	struct group *group;
	pthread_mutex_t lock;
	struct snp_race race;
	u32 index;
	u32 page;		/* 0 to NR_VMSAS - 1 */
	bool alive;		/* has a good VMSA */
};

/*
 * A thread that is watched by the main thread.  Its view of the VM has a vCPU of its own
 * to execute orders, in this thread, and is the view of the AP that it has locked.
 */
struct driver {
	pthread_t thread;
	struct snp_vm view;
	struct snp_place place;
	struct kvm_random_state rng;
	struct snp_steps steps;
	u64 last_step;
	u32 nr_turns;
};

static u64 opt_seconds = 15;
static u32 opt_seed;
static u32 nr_targets = 4, nr_drivers = 2;
static const char *opt_amps = "preempt,storm";
static bool opt_preempt, opt_storm, one_mode;

static struct snp_vm *vm;
static struct group groups[MAX_TARGETS / 2];
static struct target targets[MAX_TARGETS];
static struct driver drivers[MAX_DRIVERS + 1];	/* the last one is the storm */
static pthread_mutex_t storm_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *mode;
static void (*mode_round)(struct driver *d, struct target *t);
static int spare_fd;
static bool cold_by_conversion, stop;
static u64 nr_rounds, windows[NR_WINDOWS];

static __thread struct driver *me;

/*
 * A cold punch under a vCPU that is in the guest must not meet a kick that has nothing
 * to do with it, see above.  KVM kicks all vCPUs when one is reset, which AP Creation
 * does, or a memslot changes.  Who causes that holds the lock for reading until it is
 * over, and such a punch holds it for writing.
 */
static pthread_rwlock_t kick_lock = PTHREAD_RWLOCK_INITIALIZER;

static u64 random_below(u64 limit)
{
	return limit ? kvm_random_u64_in_range(&me->rng, 0, limit - 1) : 0;
}

static bool random_percent(u32 percent)
{
	return __kvm_random_bool(&me->rng, percent);
}

static void count(u64 *stat)
{
	__atomic_fetch_add(stat, 1, __ATOMIC_RELAXED);
}

/* What is waited for behind a lock is known of who has it. */
static void idle(void)
{
	snp_wait_step("%s", "");
}

static void lock_kicks(bool exclusive)
{
	idle();
	if (exclusive)
		pthread_rwlock_wrlock(&kick_lock);
	else
		pthread_rwlock_rdlock(&kick_lock);
}

/*
 * Orders
 */
static void guest_serve(struct snp_ap_shared *me)
{
	struct snp_order *order = (void *)me->data[0];

	GUEST_SYNC(0);
	order->fn(order);
}

static void guest_create_on_init(struct snp_order *order)
{
	order->status = snp_ap_create_on_init(order->arg[0], order->arg[1]);
}

static void guest_init_sipi(struct snp_order *order)
{
	guest_send_init_sipi(order->arg[0]);
}

static void check_answer(struct snp_vm *s, const char *request)
{
	struct ghcb_status status = s->order->status;

	TEST_ASSERT(!status.resp, "%s: KVM answered %s with %u, %u", s->what, request,
		    status.resp, status.info);
}

/*
 * Targets
 */
static u32 page_index(struct target *t, u32 page)
{
	return 1 + 3 * page + (t->index & 1);
}

static gpa_t page_gpa(struct target *t, u32 page)
{
	return t->group->gpa + page_index(t, page) * PAGE_SIZE;
}

static void punch(struct target *t, u32 first, u32 nr_pages)
{
	snp_punch_file(t->ap->s, t->group->fd, t->group->pgoff + first, nr_pages);
	t->ap->last = ap_heartbeat(t->ap);
}

static void make_cold(struct target *t, u32 first, u32 nr_pages)
{
	snp_wait_step("conversion to shared and back");
	t->ap->s->spte = COLD;
	snp_set_spte(t->ap->s, t->group->gpa + first * PAGE_SIZE, nr_pages);
	t->ap->s->spte = WARM;
}

/* The VMSA is gone, and was when ap->last was read.  Returns when KVM_RUN had ended. */
static u64 check_dead(struct target *t)
{
	u64 end = snp_now() + WATCH_NS;

	t->alive = false;
	do {
		ap_check_frozen(t->ap);
	} while (ap_is_running(t->ap) && snp_now() < end);

	ap_wait_failed(t->ap);
	end = snp_now();
	ap_check_frozen(t->ap);
	if (random_percent(10))
		ap_check_rerun(t->ap);
	return end;
}

static void create(struct target *t, u32 page)
{
	t->page = page;
	ap_create(t->ap, page_gpa(t, page));
}

static void wait_start(struct target *t, u64 starts)
{
	ap_wait_start(t->ap, starts);
	t->alive = true;
}

/* Nobody interferes. */
static void ensure_alive(struct target *t)
{
	if (!t->alive) {
		lock_kicks(false);
		t->page = random_below(NR_VMSAS);
		ap_start(t->ap, page_gpa(t, t->page));
		t->alive = true;
		snp_race_started(&t->race);
		pthread_rwlock_unlock(&kick_lock);
	} else if (!ap_is_running(t->ap)) {
		ap_run(t->ap);
	}
}

/* A VMSA made where the lost one was is as good as that. */
static void heal(struct target *t)
{
	u64 starts = ap_starts(t->ap);

	ap_prepare(t->ap, page_gpa(t, t->page));
	ap_run(t->ap);
	wait_start(t, starts);
}

static bool lock(struct target *t, struct snp_vm *view)
{
	if (pthread_mutex_trylock(&t->lock))
		return false;
	t->ap->s = view;
	return true;
}

static void unlock(struct target *t)
{
	if (t)
		pthread_mutex_unlock(&t->lock);
}

/* The other target of the group, locked, or NULL. */
static struct target *lock_partner(struct target *t)
{
	struct target *other = &targets[t->index ^ 1];

	return (t->index ^ 1) < nr_targets && lock(other, t->ap->s) ? other : NULL;
}

static void aim(struct snp_race *race, struct target *t, u32 page)
{
	snp_race_aim(race, t->ap, t->group->fd, t->group->pgoff + page_index(t, page));
}

/* A page in front of the VMSAs, or between them. */
static void aim_nearby(struct target *t)
{
	snp_race_aim(&t->race, t->ap, t->group->fd, t->group->pgoff + 3 * random_below(3));
}

static void arm(struct target *t)
{
	snp_race_arm(&t->race, 1 + random_below(3 * t->race.took_ns));
}

/*
 * Storm
 */

/* Punch one running AP, or two of them with one hole. */
static void punch_running(struct target *t, bool warm, bool many)
{
	struct target *other = NULL;
	u32 first, end;
	u64 last;

	t->ap->s->what = warm ? "warm punch under a running vCPU" :
				"cold punch under a running vCPU";
	ensure_alive(t);
	if (many)
		other = lock_partner(t);

	first = page_index(t, t->page);
	end = first + 1;
	if (other && other->alive) {
		ensure_alive(other);
		/* Two are enough to keep each other busy: end with a VMSA. */
		first = min(first, page_index(other, other->page));
		end = max(end, page_index(other, other->page) + 1);
		ap_wait_alive(other->ap);
	}

	if (!warm) {
		lock_kicks(true);
		make_cold(t, first, end - first);
	}
	ap_wait_alive(t->ap);
	last = ap_heartbeat(t->ap);
	usleep(random_below(50));
	if (ap_heartbeat(t->ap) != last && me->place.cpu != t->race.place.cpu)
		count(&windows[IN_GUEST]);
	punch(t, first, end - first);
	if (other)
		other->ap->last = ap_heartbeat(other->ap);
	if (!warm)
		pthread_rwlock_unlock(&kick_lock);

	check_dead(t);
	if (other && other->alive)
		check_dead(other);
	unlock(other);
}

/* Punch again while the AP looks for a replacement of the page it has lost. */
static void punch_reload(struct target *t)
{
	u64 begin, died;

	t->ap->s->what = "punch of a VMSA that is being reloaded";
	ensure_alive(t);
	ap_wait_alive(t->ap);
	aim(&t->race, t, t->page);
	arm(t);
	begin = snp_now();
	punch(t, page_index(t, t->page), 1);
	snp_race_wait(&t->race);

	died = check_dead(t);
	if (t->race.start_ns > begin && t->race.start_ns < died)
		count(&windows[IN_RELOAD]);
	heal(t);
}

/* Punch while the AP is about to start on a VMSA that is as good as it gets. */
static void punch_create(struct target *t)
{
	bool too_late;
	u64 starts;

	/* From a standing start the moment is known best. */
	t->ap->s->what = "punch of a VMSA that is about to be used";
	ap_stop(t->ap);
	starts = ap_starts(t->ap);

	lock_kicks(false);
	create(t, (t->page + 1) % NR_VMSAS);
	aim(&t->race, t, t->page);
	snp_race_run(&t->race, t->ap, snp_race_delay(&t->race, &me->rng));
	snp_race_wait(&t->race);
	t->ap->last = t->race.heartbeat;
	check_dead(t);
	pthread_rwlock_unlock(&kick_lock);

	too_late = ap_starts(t->ap) != starts;
	snp_race_correct(&t->race, too_late);
	if (!too_late)
		count(&windows[IN_CREATE]);
}

static void round_storm(struct driver *d, struct target *t)
{
	static const u32 each[] = { 0, 50, 60, 80 };
	u64 nr = READ_ONCE(nr_rounds);
	u32 dice = random_below(100);

	/* However slow the host, each kind has its turn. */
	if (nr < 2 * ARRAY_SIZE(each))
		dice = each[nr % ARRAY_SIZE(each)];

	if (dice < 50)
		punch_create(t);
	else if (dice < 80)
		punch_running(t, !cold_by_conversion || random_percent(50), dice < 60);
	else
		punch_reload(t);
	if (!t->alive && random_percent(80))
		heal(t);
}

/*
 * Spare: create the AP while other pages are punched.  It has to come up every time.
 */
static void round_spare(struct driver *d, struct target *t)
{
	u32 page = (t->page + 1 + random_below(NR_VMSAS - 1)) % NR_VMSAS;
	u64 starts, up;

	d->view.what = "creation while other pages are punched";
	ensure_alive(t);
	aim_nearby(t);

	lock_kicks(false);
	ap_stop(t->ap);
	starts = ap_starts(t->ap);
	create(t, page);
	snp_race_run(&t->race, t->ap, snp_race_delay(&t->race, &me->rng));
	wait_start(t, starts);
	up = snp_now();
	snp_race_wait(&t->race);
	pthread_rwlock_unlock(&kick_lock);
	if (t->race.start_ns < up)
		count(&windows[NEARBY]);
	ap_check_unharmed(t->ap);
}

/*
 * Churn
 */

/*
 * Have two vCPUs do things to the same AP at the same time, under a punch.  If both
 * create it, and the punch is elsewhere, then it runs on one of the two VMSAs, and not
 * on none.  In all cases the next creation counts.
 */
static void round_churn(struct driver *d, struct target *t)
{
	const bool twice = random_percent(50);
	static void (* const fns[])(struct snp_order *) = {
		guest_create, guest_create, guest_create_on_init, guest_destroy,
	};
	const u32 id = t->ap->vcpu->id;
	u32 i, page[2], nr = twice ? 1 : ARRAY_SIZE(fns);
	struct snp_vm *second = &drivers[nr_drivers].view;
	u64 starts, begin, end;

	ensure_alive(t);
	d->view.what = twice ? "creation by two vCPUs at once" : "several requests at once";
	lock_kicks(false);
	for (i = 0; i < 2; i++) {
		page[i] = (t->page + 1 + i) % NR_VMSAS;
		ap_prepare(t->ap, page_gpa(t, page[i]));
	}
	if (twice)
		aim_nearby(t);
	else
		aim(&t->race, t, random_below(NR_VMSAS));
	arm(t);
	begin = snp_now();

	idle();
	pthread_mutex_lock(&storm_lock);
	second->what = d->view.what;
	second->order->fn = fns[random_below(nr)];
	second->order->arg[0] = id;
	second->order->arg[1] = page_gpa(t, page[1]);
	ap_run(second->server);
	snp_wait_step("KVM_RUN, the guest executes one of two orders");
	snp_order(&d->view, fns[random_below(nr)], id, page_gpa(t, page[0]), 0);
	check_answer(&d->view, "one of two requests");
	snp_wait_step("KVM_RUN, the guest executes the other of two orders");
	snp_wait_until(!ap_is_running(second->server));
	if (!ap_has_synced(second->server))
		ap_fail(second->server);
	check_answer(second, "the other of two requests");
	pthread_mutex_unlock(&storm_lock);

	if (!twice && random_percent(25))
		snp_order(&d->view, guest_init_sipi, id, 0, 0);
	end = snp_now();
	snp_race_wait(&t->race);
	if (t->race.start_ns > begin && t->race.start_ns < end)
		count(&windows[twice ? NEARBY : IN_CREATE]);

	/* It is out of the guest, or has come back since. */
	if (twice) {
		ap_wait_alive(t->ap);
	} else {
		snp_order(&d->view, guest_destroy, id, 0, 0);
		check_answer(&d->view, "AP Destroy");
		if (random_percent(50))
			ap_stop(t->ap);
		if (!ap_is_running(t->ap) && t->ap->err != EINTR)
			ap_wait_failed(t->ap);
	}

	/* Have it run on a VMSA that is known. */
	starts = ap_starts(t->ap);
	create(t, twice ? t->page : random_below(NR_VMSAS));
	if (!ap_is_running(t->ap))
		ap_run(t->ap);

	/* KVM_RUN may have failed on one of the VMSAs before it saw this one. */
	snp_wait_until(ap_starts(t->ap) != starts || !ap_is_running(t->ap));
	if (ap_starts(t->ap) == starts) {
		ap_wait_failed(t->ap);
		ap_run(t->ap);
	}
	wait_start(t, starts);
	pthread_rwlock_unlock(&kick_lock);
}

/*
 * Slots
 */
static void set_slot(struct group *group, bool present, bool new_file)
{
	struct userspace_mem_region *region = memslot2region(vm->vm, group->slot);
	struct kvm_userspace_memory_region2 update;

	if (new_file) {
		/* The library has a copy. */
		kvm_close(region->region.guest_memfd);
		kvm_close(group->fd);
		group->fd = vm_create_guest_memfd(vm->vm, NR_FILE_PAGES * PAGE_SIZE, 0);
		region->region.guest_memfd = kvm_dup(group->fd);
	}
	update = region->region;
	if (!present)
		update.memory_size = 0;
	snp_wait_step("KVM_SET_USER_MEMORY_REGION2");
	vm_ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION2, &update);
}

/* Delete the memslot and create it again, for the same file or for another one. */
static void round_slots(struct driver *d, struct target *t)
{
	struct target *other = lock_partner(t), *both[2] = { t, other };
	const u32 dice = random_below(3);
	u32 i, nr = other ? 2 : 1;

	/* The slot has both of them. */
	if (!other && (t->index ^ 1) < nr_targets)
		return;

	d->view.what = "memslot deleted, created again, and punched";
	for (i = 0; i < nr; i++)
		ensure_alive(both[i]);

	lock_kicks(true);
	for (i = 0; i < nr; i++)
		ap_wait_alive(both[i]->ap);
	count(&windows[IN_GUEST]);
	set_slot(t->group, false, false);
	for (i = 0; i < nr; i++) {
		/* Without a memslot it may run on for a moment. */
		ap_wait_failed(both[i]->ap);
		both[i]->ap->last = ap_heartbeat(both[i]->ap);
		both[i]->alive = false;
	}

	if (dice == 0)
		punch(t, 0, NR_SLOT_PAGES);
	set_slot(t->group, true, dice == 1);
	if (dice == 2)
		punch(t, 0, NR_SLOT_PAGES);
	pthread_rwlock_unlock(&kick_lock);

	for (i = 0; i < nr; i++)
		ap_check_frozen(both[i]->ap);
	ensure_alive(t);
	unlock(other);
}

/*
 * Threads
 */
static void driver_init(struct driver *d)
{
	me = d;
	snp_steps = &d->steps;
	snp_take_place(d->place);
}

static void *driver_thread(void *arg)
{
	struct driver *d = arg;

	driver_init(d);
	while (!READ_ONCE(stop)) {
		struct target *t = &targets[random_below(nr_targets)];

		if (!lock(t, &d->view)) {
			idle();
			usleep(10);
			continue;
		}
		mode_round(d, t);

		/* A vCPU that spins for nothing takes time from the others. */
		if (t->alive && random_percent(80))
			ap_stop(t->ap);
		unlock(t);
		count(&nr_rounds);
	}
	return NULL;
}

/*
 * Background noise: invalidations that have nothing to do with any VMSA.  If the page
 * is mapped, then mmu_lock is held until all vCPUs have flushed their TLBs.  An AP that
 * waits for the lock meanwhile cannot be preempted until it has had it, and is then, if
 * its shooter is due: right after it has decided about its VMSA.
 */
static void *storm_thread(void *arg)
{
	driver_init(arg);
	while (!READ_ONCE(stop)) {
		u32 page = random_below(2);
		struct kvm_pre_fault_memory range = {
			.gpa = GPA_SPARE + page * PAGE_SIZE,
			.size = PAGE_SIZE,
		};

		/* It may fail: KVM may lack it, and there are signals, and other punches. */
		snp_wait_step("KVM_PRE_FAULT_MEMORY");
		__vcpu_ioctl(vm->server->vcpu, KVM_PRE_FAULT_MEMORY, &range);
		errno = 0;
		snp_punch_file(vm, spare_fd, 1 + page, 1);
		if (random_percent(20))
			pthread_kill(targets[random_below(nr_targets)].ap->thread, SIGUSR1);
		usleep(random_below(500));
	}
	return NULL;
}

static void driver_start(struct driver *d, enum snp_role role, void *(*fn)(void *))
{
	const u32 nr = d - drivers;

	d->place = snp_race_place(&vm->cpus, role, nr, opt_preempt);
	d->rng = new_kvm_random_state((opt_seed + (nr + 1) * 0x9e3779b9u) >> 2 | 1);
	kvm_pthread_create(&d->thread, NULL, fn, d);
}

/* Time alone does not tell that a thread hangs, the host may have other work to do. */
static void take_turn(void)
{
	struct driver *d;

	snp_wait_step("mode %s", mode);
	usleep(TURN_US);
	for (d = drivers; d <= &drivers[nr_drivers]; d++) {
		if (READ_ONCE(d->steps.nr) != d->last_step || !d->steps.what[0]) {
			d->last_step = READ_ONCE(d->steps.nr);
			d->nr_turns = 0;
		}
		TEST_ASSERT(++d->nr_turns < HUNG_TURNS, "no end of: %s (by thread %lu of %u)",
			    d->steps.what, d - drivers, nr_drivers);
	}
}

/*
 * Modes
 */
static void setup_group(u32 i)
{
	struct group *group = &groups[i];

	group->slot = SLOT_GROUP + i;
	group->gpa = GPA_GROUPS + (i * 16 + i % 3 * 2) * PAGE_SIZE;
	group->pgoff = 3 + i % 3;
	group->fd = vm_create_guest_memfd(vm->vm, NR_FILE_PAGES * PAGE_SIZE, 0);
	snp_add_slot(vm, group->slot, group->gpa, NR_SLOT_PAGES, group->fd, group->pgoff);
}

static void setup_target(u32 i, struct snp_ap *ap)
{
	struct target *t = &targets[i];

	t->index = i;
	t->ap = ap;
	t->group = &groups[i / 2];
	pthread_mutex_init(&t->lock, NULL);
	snp_race_init(&t->race, snp_race_place(&vm->cpus, SNP_AP_SHOOTER, i, opt_preempt), ap);
	pin_task_to_cpu(ap->thread, t->race.place.cpu);
	ensure_alive(t);
	ap_stop(ap);
}

/* APs 1 to @nr_targets are punched, the next ones execute orders. */
static void setup(void)
{
	struct snp_order *orders;
	gva_t gva;
	u32 i;

	me = &drivers[0];
	me->rng = new_kvm_random_state(opt_seed >> 2 | 1);
	cold_by_conversion = snp_conversion_keeps_vmsa();
	vm = snp_vm_create(nr_targets + nr_drivers + 1);

	snp_add_slot(vm, SLOT_SERVERS, GPA_SERVERS, nr_drivers + 1, -1, 0);
	spare_fd = vm_create_guest_memfd(vm->vm, NR_FILE_PAGES * PAGE_SIZE, 0);
	snp_add_slot(vm, SLOT_SPARE, GPA_SPARE, 2, spare_fd, 1);
	for (i = 0; i < DIV_ROUND_UP(nr_targets, 2); i++)
		setup_group(i);
	gva = vm_alloc_shared(vm->vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	orders = addr_gva2hva(vm->vm, gva);
	snp_vm_launch(vm);
	vm->spte = WARM;

	/*
	 * Nothing is punched before all have run: the first KVM_RUN of a vCPU kicks all
	 * others, to update their clocks, see kick_lock.
	 */
	for (i = 0; i <= nr_drivers; i++) {
		struct snp_vm *view = &drivers[i].view;
		struct snp_ap *server = &vm->ap[nr_targets + 1 + i];

		server->shared->work = guest_serve;
		server->shared->data[0] = gva + i * sizeof(*orders);
		ap_create(server, GPA_SERVERS + i * PAGE_SIZE);
		TEST_ASSERT(ap_run_to_sync(server), "vCPU %u does not boot", server->vcpu->id);
		*view = *vm;
		server->s = view;
		view->server = server;
		view->order = &orders[i];
	}
	for (i = 0; i < nr_targets; i++)
		setup_target(i, &vm->ap[1 + i]);

	/* The main thread has no place, and must not be in the way. */
	kvm_sched_setaffinity(0, sizeof(vm->cpus), &vm->cpus);
}

static bool windows_entered(u32 wanted)
{
	u32 i;

	for (i = 0; i < NR_WINDOWS; i++)
		wanted &= READ_ONCE(windows[i]) ? ~BIT(i) : ~0;
	return !wanted;
}

static void run_mode(const char *name, void (*fn)(struct driver *, struct target *),
		     u32 wanted, u32 percent)
{
	u64 begin, ns = opt_seconds * NSEC_PER_SEC / 100 * (one_mode ? 100 : percent);
	u32 i;

	mode = name;
	mode_round = fn;
	ksft_print_msg("replay: %s -m %s -s 0x%x -n %u -p %u -a %s\n",
		       "sev_snp_vmsa_punch_hole_stress", mode, opt_seed, nr_targets, nr_drivers,
		       opt_amps);
	setup();

	for (i = 0; i < nr_drivers; i++)
		driver_start(&drivers[i], SNP_DRIVER, driver_thread);
	if (opt_storm)
		driver_start(&drivers[i], SNP_STORM, storm_thread);

	begin = snp_now();
	while (snp_now() - begin < ns ||
	       (!windows_entered(wanted) && READ_ONCE(nr_rounds) < MAX_ROUNDS))
		take_turn();
	WRITE_ONCE(stop, true);
	for (i = 0; i < nr_drivers + opt_storm; drivers[i++].steps.what[0] = 0) {
		while (pthread_tryjoin_np(drivers[i].thread, NULL))
			take_turn();
	}

	ksft_print_msg("%lu rounds, %lu ms%s; windows:", nr_rounds, (snp_now() - begin) / 1000000,
		       !opt_preempt || targets[0].race.preempts ? "" : ", no real-time priority");
	for (i = 0; i < NR_WINDOWS; i++)
		printf(" %lu %s", windows[i], window_str[i]);
	printf("\n");
	TEST_ASSERT(windows_entered(wanted), "%s: never entered its window, see the numbers", mode);
}

SNP_TEST(vmsa_is_tracked, 1)
{
	snp_check_tracked();
}

SNP_TEST(storm, 2)
{
	run_mode("storm", round_storm, BIT(IN_GUEST) | BIT(IN_RELOAD) | BIT(IN_CREATE), 60);
}

SNP_TEST(spare, 2)
{
	run_mode("spare", round_spare, BIT(NEARBY), 20);
}

SNP_TEST(churn, 2)
{
	run_mode("churn", round_churn, BIT(IN_CREATE) | BIT(NEARBY), 14);
}

SNP_TEST(slots, 2)
{
	run_mode("slots", round_slots, BIT(IN_GUEST), 6);
}

static void __noreturn help(const char *name)
{
	printf("usage: %s [-h] [-m storm|spare|churn|slots] [-t seconds] [-s seed]\n"
	       "       [-n vCPUs] [-p punchers] [-a none|preempt|storm|preempt,storm]\n\n"
	       " -m: one mode alone\n"
	       " -t: seconds for all modes together (default: %lu)\n"
	       " -s: seed of all random choices; threads take turns as they please\n"
	       " -n: vCPUs that are punched, 1 to %u (default: %u), from the last CPU down\n"
	       " -p: threads that punch, 1 to %u (default: %u), from the first CPU up\n"
	       " -a: what raises the odds of a race (default: both):\n"
	       "     preempt: punch on the CPU of the vCPU, at real-time priority (SCHED_FIFO 1),\n"
	       "              and give orders at nice -20\n"
	       "     storm: punch a page that is no VMSA, and send signals, all the time\n",
	       name, opt_seconds, MAX_TARGETS, nr_targets, MAX_DRIVERS, nr_drivers);
	exit(KSFT_PASS);
}

static void __noreturn bad_option(int opt, const char *arg)
{
	fprintf(stderr, "-%c %s: bad argument, see -h\n", opt, arg);
	exit(KSFT_FAIL);
}

static u64 number(int opt, const char *arg, u64 min, u64 max)
{
	char *end;
	u64 val;

	errno = 0;
	val = strtoull(arg, &end, 0);
	if (errno || end == arg || *end || strchr(arg, '-') || val < min || val > max)
		bad_option(opt, arg);
	return val;
}

int main(int argc, char *argv[])
{
	char *args[] = { argv[0], "-t", "vmsa_is_tracked", "-t", NULL, NULL };
	int opt;

	opt_seed = kvm_random_seed;
	while ((opt = getopt(argc, argv, "hm:t:s:n:p:a:")) != -1) {
		switch (opt) {
		case 'm':
			if (strcmp(optarg, "storm") && strcmp(optarg, "spare") &&
			    strcmp(optarg, "churn") && strcmp(optarg, "slots"))
				bad_option(opt, optarg);
			args[4] = optarg;
			one_mode = true;
			break;
		case 't':
			opt_seconds = number(opt, optarg, 1, 10000000);
			break;
		case 's':
			opt_seed = number(opt, optarg, 0, -1u);
			break;
		case 'n':
			nr_targets = number(opt, optarg, 1, MAX_TARGETS);
			break;
		case 'p':
			nr_drivers = number(opt, optarg, 1, MAX_DRIVERS);
			break;
		case 'a':
			if (strcmp(optarg, "none") && strcmp(optarg, "preempt") &&
			    strcmp(optarg, "storm") && strcmp(optarg, "preempt,storm"))
				bad_option(opt, optarg);
			opt_amps = optarg;
			break;
		case 'h':
			help(argv[0]);
		default:
			exit(KSFT_FAIL);
		}
	}
	if (optind != argc)
		bad_option('-', argv[optind]);
	opt_preempt = strstr(opt_amps, "preempt");
	opt_storm = strstr(opt_amps, "storm");
	argc = args[4] ? 5 : 1;
	optind = 1;
	snp_test_init(&argc, args);
	return test_harness_run(argc, args);
}
