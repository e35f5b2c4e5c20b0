// SPDX-License-Identifier: GPL-2.0-only
/*
 * Look for races between KVM's use of a VMSA and the loss of its page.
 *
 * Many threads create vCPUs and punch at once, and punches are aimed at what takes no
 * more than a few instructions, see snp_race.h.  All that happens to one AP is ordered
 * by a lock, so the outcome of every round is known, whatever the others do:
 *
 *  - once fallocate() has returned, the AP's heartbeat stands still, and KVM_RUN
 *    fails, cleanly and again and again;
 *  - a VMSA that is rebuilt in place runs, i.e. KVM still knows where it is;
 *  - an AP that is created while anything but its VMSA is punched comes up;
 *  - every system call and every order to the guest ends.
 *
 * In a cold window nothing but the punch makes the vCPU leave the guest.  No hole goes on
 * behind the last of several VMSAs in use.
 */
#include <linux/sizes.h>

/* A mode takes as long as is asked for, snp_step() watches over it. */
#define SNP_TIMEOUT_S		1000000

#include "sev_vc.h"
#include "snp_race.h"
#include "snp_test.h"

#define MAX_TARGETS		22
#define MAX_DRIVERS		8
#define MAX_ROUNDS		5000	/* without a window that a mode is for */

/*
 * Two neighboring APs share a file and a memslot.  No slot is at offset 0 of its file,
 * has gfns that equal its offsets, or is aligned to 2M, and the last page of a slot
 * can be a VMSA.
 */
#define NR_SLOT_PAGES		9
#define NR_FILE_PAGES		16

#define SLOT_SPARE		1	/* two pages are punched all the time, VMSAs follow */
#define SLOT_TARGETS		2

#define GPA_SPARE		(SZ_4G + SZ_2M + 5 * PAGE_SIZE)
#define GPA_TARGETS		(SZ_4G + 2 * SZ_2M + PAGE_SIZE)

/* What a punch met. */
enum window {
	IN_GUEST,		/* a vCPU that executes guest code */
	IN_RELOAD,		/* one that reloads its VMSA because of another punch */
	IN_START,		/* one that is about to start on a VMSA it was given */
};

/* An AP that is punched. */
struct target {
	struct snp_ap *ap;
	struct snp_race race;
	u32 page;		/* of its memslot, the VMSA: one of three */
	bool alive;		/* has a good VMSA */
	bool forgotten;		/* by KVM, where that was: it was in no memslot */
};

/* A thread, and its view of the VM, with a vCPU of its own to execute orders. */
struct driver {
	pthread_t thread;
	struct snp_vm view;
	struct snp_steps steps;
};

static u32 opt_seconds = 15, nr_targets = 4, nr_drivers = 2;
static bool opt_preempt = true, opt_storm = true, one_mode;

static struct snp_vm *vm;
static struct target targets[MAX_TARGETS];
static pthread_mutex_t locks[MAX_TARGETS / 2];	/* each for two APs */
static pthread_mutex_t bsp_lock = PTHREAD_MUTEX_INITIALIZER;
static struct driver drivers[MAX_DRIVERS + 1];	/* the last one is the storm */
static void (*mode_round)(struct target *t, u64 nr);
static bool stop;
static u64 nr_rounds, nr_windows;
static u32 missing;		/* windows that were not entered yet */

static __thread struct kvm_random_state rng;

/*
 * A vCPU that leaves the guest for another reason is no cold window.  KVM kicks all
 * vCPUs when one is reset, which AP Creation does, or a memslot changes.  Whoever causes
 * that holds the lock for reading until it is over; a cold punch holds it for writing.
 */
static pthread_rwlock_t kick_lock = PTHREAD_RWLOCK_INITIALIZER;

static u64 random_below(u64 limit)
{
	return kvm_random_u64_in_range(&rng, 0, limit - 1);
}

static void entered(enum window window)
{
	__atomic_fetch_add(&nr_windows, 1, __ATOMIC_RELAXED);
	__atomic_fetch_and(&missing, ~BIT(window), __ATOMIC_RELAXED);
}

/* Who waits for a lock is not watched, its holder is. */
static void idle(void)
{
	__snp_step(SNP_WAIT, "%s", "");
}

static void lock_kicks(bool exclusive)
{
	idle();
	if (exclusive)
		pthread_rwlock_wrlock(&kick_lock);
	else
		pthread_rwlock_rdlock(&kick_lock);
}

static void guest_serve(struct snp_ap_shared *me)
{
	struct snp_order *order = (void *)me->data[0];

	GUEST_SYNC(0);
	order->fn(order);
}

static void check_answer(struct snp_vm *s)
{
	AP_ASSERT(s->server, !s->order->status.resp, ": KVM answered it with %u, %u",
		  s->order->status.resp, s->order->status.info);
}

static struct target *partner(struct target *t)
{
	return &targets[(t - targets) ^ 1];
}

static struct userspace_mem_region *region(struct target *t)
{
	return memslot2region(vm->vm, SLOT_TARGETS + (t - targets) / 2);
}

static gpa_t gpa(struct target *t, u32 page)
{
	return region(t)->region.guest_phys_addr + page % NR_SLOT_PAGES * PAGE_SIZE;
}

/* Choose the next VMSA: pages 1, 4 and 7 are for one of the two, 2, 5 and 8 for the other. */
static gpa_t move(struct target *t, u32 nr)
{
	t->page = (t->page + 3 * nr) % NR_SLOT_PAGES;
	return gpa(t, t->page);
}

static void punch(struct target *t, u32 page, u32 nr_pages)
{
	snp_punch(t->ap->s, gpa(t, page), nr_pages);
	t->ap->last = ap_heartbeat(t->ap);
	partner(t)->ap->last = ap_heartbeat(partner(t)->ap);
}

/* The VMSA is gone, and was when ap->last was read. */
static void expect_failure(struct target *t)
{
	struct snp_ap *ap = t->ap;

	t->alive = false;
	snp_wait_step("%s: wait for vCPU %u to leave", ap->s->what, ap->vcpu->id);
	snp_wait_until(!ap_is_running(ap) || ap_heartbeat(ap) != ap->last);
	ap_check_frozen(ap);
	ap_wait_failed(ap);
	ap_check_frozen(ap);
	if (!random_below(10))
		ap_check_rerun(ap);
}

/* Have it run, on a VMSA made where the lost one was, which is as good, or elsewhere. */
static void ensure_running(struct target *t)
{
	struct snp_ap *ap = t->ap;
	u64 starts = ap_starts(ap);

	if (!t->alive) {
		ap->s->what = "VMSA made again";
		lock_kicks(false);
		if (!t->forgotten && random_below(5))
			ap_prepare(ap, gpa(t, t->page));
		else
			ap_create(ap, move(t, random_below(3)));
		ap_run(ap);
		ap_wait_start(ap, starts);
		pthread_rwlock_unlock(&kick_lock);
		snp_race_started(&t->race);
		t->alive = true;
		t->forgotten = false;
	} else if (!ap_is_running(ap)) {
		ap_run(ap);
	}
	ap_wait_alive(ap);
}

/* Create the AP, and punch its VMSA, or a page nearby, when it is about to start. */
static void create_and_punch(struct target *t, bool its_vmsa)
{
	struct snp_ap *ap = t->ap;
	u64 starts;

	ap->s->what = "punch when a vCPU is about to start";
	ap_stop(ap);
	starts = ap_starts(ap);

	lock_kicks(false);
	ap_create(ap, move(t, 1 + random_below(2)));
	if (snp_race_run(&t->race, gpa(t, its_vmsa ? t->page : 3 * random_below(3)), &rng))
		entered(IN_START);
	if (its_vmsa) {
		ap->last = t->race.heartbeat;
		expect_failure(t);
	} else {
		ap_wait_start(ap, starts);
		ap_check_unharmed(ap);
	}
	pthread_rwlock_unlock(&kick_lock);
}

/* Punch one running AP, or two with one hole, or one again while it reloads its VMSA. */
struct punch {
	bool cold, two, again;
};

static void punch_running(struct target *t, struct punch how)
{
	struct target *other = how.two ? partner(t) : t;
	struct snp_ap *ap = t->ap;
	u32 first, nr_pages;
	u64 heartbeat, start;

	ensure_running(other);
	ap->s->what = "punch under a running vCPU";
	/* End with a VMSA, see above. */
	first = min(t->page, other->page);
	nr_pages = max(t->page, other->page) - first + 1;

	if (how.cold) {
		lock_kicks(true);
		snp_zap(ap->s, gpa(t, first), nr_pages);
	}
	ap_wait_alive(ap);
	heartbeat = ap_heartbeat(ap);
	usleep(random_below(50));
	if (ap_heartbeat(ap) != heartbeat && sched_getcpu() != t->race.place.cpu)
		entered(IN_GUEST);
	if (how.again)
		snp_race_arm(&t->race, gpa(t, first), 1 + random_below(3 * t->race.edge_ns));
	start = snp_now();
	punch(t, first, nr_pages);
	if (how.again) {
		snp_race_wait(&t->race);
		if (t->race.running && t->race.start_ns > start)
			entered(IN_RELOAD);
	}
	if (how.cold)
		pthread_rwlock_unlock(&kick_lock);

	expect_failure(t);
	if (how.two)
		expect_failure(other);
}

static void round_storm(struct target *t, u64 nr)
{
	static const struct punch punches[] = {
		{ }, { .cold = true }, { .two = true }, { .cold = true, .two = true },
		{ .again = true }, { .again = true },
	};
	struct punch how = punches[nr % ARRAY_SIZE(punches)];

	how.cold = how.cold && snp_conversion_keeps_vmsa();
	if (nr / ARRAY_SIZE(punches) % 2)
		create_and_punch(t, true);
	else
		punch_running(t, how);
}

static void round_spare(struct target *t, u64 nr)
{
	create_and_punch(t, false);
}

/*
 * Have two vCPUs do things to the same AP at the same time, under a punch.  If both
 * create it, and the punch is elsewhere, then it runs on one of the two VMSAs, and not
 * on none.  In all cases the next creation counts.
 */
static void round_churn(struct target *t, u64 nr)
{
	static const u64 requests[] = {
		SVM_VMGEXIT_AP_CREATE, SVM_VMGEXIT_AP_CREATE_ON_INIT, SVM_VMGEXIT_AP_DESTROY,
	};
	const u64 id = (u64)t->ap->vcpu->id << 32;
	const bool twice = nr % 2;
	const u32 nr_requests = twice ? 1 : ARRAY_SIZE(requests);
	const gpa_t first = gpa(t, t->page + 3), second = gpa(t, t->page + 6);
	struct snp_ap *ap = t->ap;
	u64 starts;

	ap->s->what = twice ? "creation by two vCPUs" : "requests by two vCPUs";
	lock_kicks(false);
	ap_prepare(ap, first);
	ap_prepare(ap, second);

	idle();
	pthread_mutex_lock(&bsp_lock);
	snp_race_arm(&t->race, gpa(t, 3 * random_below(3) + (twice ? 0 : t->page)),
		     1 + random_below(3 * t->race.edge_ns));
	vm->order->fn = guest_ap_request;
	vm->order->arg[0] = id | requests[random_below(nr_requests)];
	vm->order->arg[1] = second;
	vm->order->arg[2] = 0;
	ap_run(vm->server);
	snp_wait_step("KVM_RUN, the guest executes one of two orders");
	snp_order(ap->s, guest_ap_request, id | requests[random_below(nr_requests)], first, 0);
	check_answer(ap->s);
	snp_wait_step("KVM_RUN, the guest executes the other of two orders");
	snp_wait_until(!ap_is_running(vm->server));
	if (!ap_has_synced(vm->server))
		ap_fail(vm->server);
	check_answer(vm);
	pthread_mutex_unlock(&bsp_lock);

	if (!twice && !random_below(4))
		ap_init_sipi(ap);
	if (READ_ONCE(t->race.done))
		entered(IN_START);
	snp_race_wait(&t->race);

	if (twice) {
		ap_wait_alive(ap);
	} else {
		snp_order(ap->s, guest_ap_request, id | SVM_VMGEXIT_AP_DESTROY, 0, 0);
		check_answer(ap->s);
		if (!ap_is_running(ap))
			ap_wait_failed(ap);
		ap_stop(ap);
	}
	starts = ap_starts(ap);
	ap_create(ap, move(t, twice ? 0 : random_below(3)));
	if (!twice)
		ap_run(ap);
	ap_wait_start(ap, starts);
	pthread_rwlock_unlock(&kick_lock);
}

static void set_slot(struct target *t, u64 nr_pages)
{
	struct kvm_userspace_memory_region2 slot = region(t)->region;

	slot.memory_size = nr_pages * PAGE_SIZE;
	snp_wait_step("KVM_SET_USER_MEMORY_REGION2");
	vm_ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION2, &slot);
}

/* Delete the memslot and create it again, for another file, or punched before or after. */
static void round_slots(struct target *t, u64 nr)
{
	struct target *other = partner(t);

	ensure_running(other);
	t->ap->s->what = "memslot deleted, created again, and punched";
	lock_kicks(true);
	ap_wait_alive(t->ap);
	if (sched_getcpu() != t->race.place.cpu)
		entered(IN_GUEST);
	set_slot(t, 0);

	/* Without a memslot they may run on for a moment. */
	ap_wait_failed(t->ap);
	ap_wait_failed(other->ap);
	t->ap->last = ap_heartbeat(t->ap);
	other->ap->last = ap_heartbeat(other->ap);
	if (nr % 3 == 0)
		punch(t, 0, NR_SLOT_PAGES);
	if (nr % 3 == 1) {
		kvm_close(region(t)->region.guest_memfd);
		region(t)->region.guest_memfd =
			vm_create_guest_memfd(vm->vm, NR_FILE_PAGES * PAGE_SIZE, 0);
	}
	set_slot(t, NR_SLOT_PAGES);
	if (nr % 3 == 2)
		punch(t, 0, NR_SLOT_PAGES);
	pthread_rwlock_unlock(&kick_lock);

	expect_failure(t);
	expect_failure(other);
	t->forgotten = true;
	other->forgotten = true;
}

static void drive(struct driver *d)
{
	const u32 i = random_below(nr_targets);
	struct target *t = &targets[i];

	if (pthread_mutex_trylock(&locks[i / 2])) {
		idle();
		usleep(10);
		return;
	}
	t->ap->s = &d->view;
	partner(t)->ap->s = &d->view;
	ensure_running(t);
	mode_round(t, __atomic_fetch_add(&nr_rounds, 1, __ATOMIC_RELAXED));

	/* A vCPU that spins for nothing takes time from the others. */
	if (t->alive && random_below(5))
		ap_stop(t->ap);
	pthread_mutex_unlock(&locks[i / 2]);
}

/*
 * Background noise: invalidations that have nothing to do with any VMSA.  If the page
 * is mapped, then mmu_lock is held until all vCPUs have flushed their TLBs.  An AP that
 * waits for the lock meanwhile cannot be preempted until it has had it, and is then, if
 * its shooter is due: right after it has decided about its VMSA.
 */
static void make_noise(void)
{
	const gpa_t gpa = GPA_SPARE + random_below(2) * PAGE_SIZE;
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = PAGE_SIZE };

	/* It may fail: KVM may lack it, and there are signals, and other punches. */
	snp_wait_step("KVM_PRE_FAULT_MEMORY");
	__vcpu_ioctl(vm->server->vcpu, KVM_PRE_FAULT_MEMORY, &range);
	errno = 0;
	snp_punch(vm, gpa, 1);
	if (!random_below(5))
		pthread_kill(targets[random_below(nr_targets)].ap->thread, SIGUSR1);
	usleep(random_below(500));
}

static void *thread(void *arg)
{
	struct driver *d = arg;
	const u32 nr = d - drivers;
	const enum snp_role role = nr < nr_drivers ? SNP_DRIVER : SNP_STORM;

	/* The watchdog starts here, and has no place. */
	snp_steps = &d->steps;
	idle();
	snp_take_place(snp_race_place(&vm->cpus, role, nr, opt_preempt));
	rng = new_kvm_random_state((kvm_random_seed + (nr + 1) * 0x9e3779b9u) >> 2 | 1);
	while (!READ_ONCE(stop)) {
		if (role == SNP_DRIVER)
			drive(d);
		else
			make_noise();
	}
	idle();
	return NULL;
}

static void add_slot(u32 slot, gpa_t gpa, u32 nr_pages, u32 pgoff)
{
	int fd = vm_create_guest_memfd(vm->vm, NR_FILE_PAGES * PAGE_SIZE, 0);

	snp_add_slot(vm, slot, gpa, nr_pages, fd, pgoff);
	kvm_close(fd);
}

/* APs 1 to @nr_targets are punched, the next ones execute orders, as the BSP does. */
static void setup(void)
{
	struct snp_order *orders;
	gva_t gva;
	u32 i;

	vm = snp_vm_create(nr_targets + nr_drivers);
	add_slot(SLOT_SPARE, GPA_SPARE, 2 + nr_drivers, 1);
	for (i = 0; i < nr_targets / 2; i++)
		add_slot(SLOT_TARGETS + i, GPA_TARGETS + (i * 16 + i % 3 * 2) * PAGE_SIZE,
			 NR_SLOT_PAGES, 3 + i % 3);
	gva = vm_alloc_shared(vm->vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	orders = addr_gva2hva(vm->vm, gva);
	snp_vm_launch(vm);

	/*
	 * Nothing is punched before all have run: the first KVM_RUN of a vCPU kicks all
	 * others, to update their clocks, see kick_lock.
	 */
	for (i = 0; i < nr_drivers; i++) {
		struct snp_ap *server = &vm->ap[1 + nr_targets + i];
		struct snp_vm *view = &drivers[i].view;

		server->shared->work = guest_serve;
		server->shared->data[0] = gva + i * sizeof(*orders);
		ap_create(server, GPA_SPARE + (2 + i) * PAGE_SIZE);
		TEST_ASSERT(ap_run_to_sync(server), "vCPU %u does not boot", server->vcpu->id);
		*view = *vm;
		view->server = server;
		view->order = &orders[i];
		server->s = view;
	}
	for (i = 0; i < nr_targets; i++) {
		struct target *t = &targets[i];

		pthread_mutex_init(&locks[i / 2], NULL);
		t->ap = &vm->ap[1 + i];
		t->page = 1 + i % 2;
		snp_race_init(&t->race, t->ap,
			      snp_race_place(&vm->cpus, SNP_AP_SHOOTER, i, opt_preempt));
		pin_task_to_cpu(t->ap->thread, t->race.place.cpu);
		ap_start(t->ap, gpa(t, t->page));
		snp_race_started(&t->race);
		t->alive = true;
		ap_stop(t->ap);
	}

	/* The main thread must not be in the way. */
	kvm_sched_setaffinity(0, sizeof(vm->cpus), &vm->cpus);
}

/* Have @percent of the time, and more until all windows that the mode is for were met. */
static void run_mode(void (*fn)(struct target *t, u64 nr), u32 wanted, u32 percent)
{
	const u64 ns = opt_seconds * NSEC_PER_SEC / 100 * (one_mode ? 100 : percent);
	const u32 nr_threads = nr_drivers + opt_storm;
	u64 begin;
	u32 i;

	mode_round = fn;
	setup();
	missing = wanted;
	for (i = 0; i < nr_threads; i++)
		kvm_pthread_create(&drivers[i].thread, NULL, thread, &drivers[i]);

	idle();
	begin = snp_now();
	while (snp_now() - begin < ns || (READ_ONCE(missing) && READ_ONCE(nr_rounds) < MAX_ROUNDS))
		usleep(10000);
	WRITE_ONCE(stop, true);
	for (i = 0; i < nr_threads; i++)
		kvm_pthread_join(drivers[i].thread, NULL);

	ksft_print_msg("%lu rounds, %lu windows in %lu ms, %s priority\n", nr_rounds,
		       nr_windows, (snp_now() - begin) / 1000000,
		       targets[0].race.preempts ? "real-time" : "ordinary");
	TEST_ASSERT(!missing, "never entered its window 0x%x", missing);
}

SNP_TEST_TRACKED

SNP_TEST(storm, 2)
{
	run_mode(round_storm, BIT(IN_GUEST) | BIT(IN_RELOAD) | BIT(IN_START), 60);
}

SNP_TEST(spare, 2)
{
	run_mode(round_spare, BIT(IN_START), 20);
}

SNP_TEST(churn, 2)
{
	run_mode(round_churn, BIT(IN_START), 14);
}

SNP_TEST(slots, 2)
{
	run_mode(round_slots, BIT(IN_GUEST), 6);
}

static void help(void)
{
	printf("usage: sev_snp_vmsa_punch_hole_stress [-h] [option argument]...\n"
	       " -m: one mode alone: storm, spare, churn or slots\n"
	       " -t: seconds, for all modes together (default: %u)\n"
	       " -s: seed of all random choices; threads take turns as they please\n"
	       " -n: vCPUs that are punched, in pairs, up to %u, from the last CPU down (default: %u)\n"
	       " -p: threads that punch, up to %u, from the first CPU up (default: %u)\n"
	       " -a: none, or preempt (punch on the vCPU's CPU with SCHED_FIFO 1, give orders at\n"
	       "     nice -20), or storm (punch a page that is no VMSA, and send signals, all the\n"
	       "     time), or preempt,storm (default)\n",
	       opt_seconds, MAX_TARGETS, nr_targets, MAX_DRIVERS, nr_drivers);
}

static u32 find_name(const char * const *names, const char *arg)
{
	u32 i;

	for (i = 0; names[i] && strcmp(names[i], arg); i++)
		;
	TEST_ASSERT(names[i], "There is no '%s', see -h", arg);
	return i;
}

int main(int argc, char *argv[])
{
	static const char * const modes[] = { "storm", "spare", "churn", "slots", NULL };
	static const char * const amps[] = { "none", "preempt", "storm", "preempt,storm", NULL };
	char *args[6] = { argv[0], "-t", "vmsa_is_tracked", "-t" };
	int opt, amp;

	while ((opt = getopt(argc, argv, "hm:t:s:n:p:a:")) != -1) {
		switch (opt) {
		case 'm':
			find_name(modes, optarg);
			args[4] = optarg;
			one_mode = true;
			break;
		case 't':
			opt_seconds = atoi_positive("Number of seconds", optarg);
			break;
		case 's':
			kvm_random_seed = atoi_non_negative("Seed", optarg);
			break;
		case 'n':
			nr_targets = round_up(atoi_positive("Number of vCPUs", optarg), 2);
			break;
		case 'p':
			nr_drivers = atoi_positive("Number of threads", optarg);
			break;
		case 'a':
			amp = find_name(amps, optarg);
			opt_preempt = amp & 1;
			opt_storm = amp & 2;
			break;
		default:
			help();
			exit(opt == 'h' ? KSFT_PASS : KSFT_FAIL);
		}
	}
	TEST_ASSERT(optind == argc && nr_targets <= MAX_TARGETS && nr_drivers <= MAX_DRIVERS,
		    "Too many arguments, vCPUs or threads, see -h");

	argc = one_mode ? 5 : 1;
	optind = 1;
	snp_test_init(&argc, args);
	return test_harness_run(argc, args);
}
