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
	u64 nr;

	race->preempts = snp_take_place(race->place);
	while (read(race->timer, &nr, sizeof(nr)) == sizeof(nr)) {
		race->start_ns = snp_now();
		snp_may_damage();
		kvm_fallocate(race->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      race->pgoff * PAGE_SIZE, PAGE_SIZE);
		race->heartbeat = ap_heartbeat(race->victim);
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
		snp_race_arm(race, race->delay_ns);
	race->delay_ns = 0;
}

void snp_race_init(struct snp_race *race, struct snp_place place, struct snp_ap *ap)
{
	pthread_t thread;

	race->place = place;
	race->timer = timerfd_create(CLOCK_MONOTONIC, 0);
	TEST_ASSERT(race->timer >= 0, __KVM_SYSCALL_ERROR("timerfd_create()", race->timer));
	if (ap) {
		ap->race = race;
		ap->before_run = before_run;
	}
	kvm_pthread_create(&thread, NULL, shooter, race);
}

void snp_race_aim(struct snp_race *race, struct snp_ap *victim, int fd, u64 pgoff)
{
	race->victim = victim;
	race->fd = fd;
	race->pgoff = pgoff;
	race->done = false;
}

void snp_race_arm(struct snp_race *race, u64 ns)
{
	const struct itimerspec its = {
		.it_value.tv_sec = ns / NSEC_PER_SEC,
		.it_value.tv_nsec = ns % NSEC_PER_SEC ?: 1,
	};
	int r = timerfd_settime(race->timer, 0, &its, NULL);

	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("timerfd_settime()", r));
}

void snp_race_run(struct snp_race *race, struct snp_ap *ap, u64 ns)
{
	race->delay_ns = ns;
	ap_run(ap);
}

void snp_race_wait(struct snp_race *race)
{
	snp_wait_step("fallocate(PUNCH_HOLE) by a shooter");
	snp_wait_until(__atomic_load_n(&race->done, __ATOMIC_ACQUIRE));
}

u64 snp_race_delay(struct snp_race *race, struct kvm_random_state *rng)
{
	return kvm_random_u64_in_range(rng, 1, race->edge_ns);
}

void snp_race_started(struct snp_race *race)
{
	const u64 ns = snp_now() - READ_ONCE(race->run_ns);

	race->took_ns = race->took_ns ? (3 * race->took_ns + ns) / 4 : ns;
	race->edge_ns = race->edge_ns ?: race->took_ns;
}

void snp_race_correct(struct snp_race *race, bool too_late)
{
	const u64 step = race->took_ns / 64 + 1;

	if (!too_late)
		race->edge_ns = min(race->edge_ns + step, 2 * race->took_ns);
	else
		race->edge_ns = max(race->edge_ns, 10 * step) - 9 * step;
}
