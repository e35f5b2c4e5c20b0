// SPDX-License-Identifier: GPL-2.0-only
/*
 * Aimed races.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include "snp_case.h"
#include "snp_race.h"

bool snp_take_place(struct snp_place place)
{
	const struct sched_param param = { .sched_priority = place.fifo };
	bool ok = true;

	pin_self_to_cpu(place.cpu);
	prctl(PR_SET_TIMERSLACK, 1000);
	if (place.fifo)
		ok = !pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
	if (place.nice)
		ok &= !setpriority(PRIO_PROCESS, kvm_gettid(), place.nice);
	errno = 0;
	return ok;
}

static void *shooter(void *arg)
{
	struct snp_race *race = arg;
	struct snp_ap *ap = race->ap;
	u64 nr;

	race->preempts = snp_take_place(race->place) && race->place.fifo;
	while (read(race->timer, &nr, sizeof(nr)) == sizeof(nr)) {
		race->start_ns = snp_now();
		race->starts = ap_starts(ap);
		race->running = ap_is_running(ap);
		snp_may_damage();
		vm_guest_mem_punch_hole(ap->s->vm, race->gpa, PAGE_SIZE);
		race->heartbeat = ap_heartbeat(ap);
		__atomic_store_n(&race->done, true, __ATOMIC_RELEASE);
	}
	TEST_FAIL("The timer cannot be read, errno %d", errno);
	return NULL;
}

static void before_run(struct snp_ap *ap)
{
	struct snp_race *race = ap->race;

	WRITE_ONCE(race->run_ns, snp_now());
	if (race->delay_ns)
		snp_race_arm(race, race->gpa, race->delay_ns);
	race->delay_ns = 0;
}

void snp_race_init(struct snp_race *race, struct snp_ap *ap, struct snp_place place)
{
	pthread_t thread;

	race->ap = ap;
	race->place = place;
	race->timer = timerfd_create(CLOCK_MONOTONIC, 0);
	TEST_ASSERT(race->timer >= 0, __KVM_SYSCALL_ERROR("timerfd_create()", race->timer));
	ap->race = race;
	ap->before_run = before_run;
	kvm_pthread_create(&thread, NULL, shooter, race);
}

void snp_race_arm(struct snp_race *race, gpa_t gpa, u64 ns)
{
	const struct itimerspec its = {
		.it_value.tv_sec = ns / NSEC_PER_SEC,
		.it_value.tv_nsec = ns % NSEC_PER_SEC ?: 1,
	};

	race->gpa = gpa;
	race->done = false;
	TEST_ASSERT(!timerfd_settime(race->timer, 0, &its, NULL),
		    "timerfd_settime() failed, errno %d", errno);
}

void snp_race_wait(struct snp_race *race)
{
	snp_wait_step("fallocate(PUNCH_HOLE) by a shooter");
	snp_wait_until(__atomic_load_n(&race->done, __ATOMIC_ACQUIRE));
}

bool snp_race_run(struct snp_race *race, gpa_t gpa, struct kvm_random_state *rng)
{
	const u64 starts = ap_starts(race->ap);

	race->gpa = gpa;
	race->done = false;
	race->delay_ns = kvm_random_u64_in_range(rng, 1, race->edge_ns);
	ap_run(race->ap);
	snp_race_wait(race);

	if (race->starts == starts)
		race->edge_ns += race->edge_ns / 64 + 1;
	else
		race->edge_ns -= race->edge_ns / 8;
	return race->starts == starts;
}

void snp_race_started(struct snp_race *race)
{
	const u64 ns = snp_now() - READ_ONCE(race->run_ns);

	race->edge_ns = race->edge_ns ? min(race->edge_ns, ns) : ns;
}
