// SPDX-License-Identifier: GPL-2.0-only
/*
 * One round each, for a search of all ways in which it can go (docs/schedule.md).  The
 * parties meet right before what they do at the same time, and one of them is the first
 * to come back with the verdict.  Nothing is said and nobody sleeps in between.
 *
 * To meet is to call getpgrp(), which has no other use here.  Without a search nobody
 * waits there, and the round goes as it happens to.
 */
#include <sched.h>
#include <sys/syscall.h>
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_test.h"

#define NR_PAGES	8
#define PAGES		(SZ_4G + 3 * PAGE_SIZE)
#define SLOT		1

/* A case on so many CPUs, on which so many parties meet; scripts/search reads this. */
#define SEARCH_TEST(_name, _nr_cpus, _nr_parties)	SNP_TEST(_name, _nr_cpus)

#define wait_until(_cond)	({ while (!(_cond)) cpu_relax(); })

struct job {
	void (*fn)(struct snp_vm *s, gpa_t gpa);
	struct snp_vm *s;
	gpa_t gpa;
	bool done;
};

static gpa_t page(u32 index)
{
	return PAGES + index * PAGE_SIZE;
}

static void meet(void)
{
	syscall(__NR_getpgrp);
}

static void ap_meet(struct snp_ap *ap)
{
	meet();
}

static void punch(struct snp_vm *s, gpa_t gpa)
{
	vm_guest_mem_punch_hole(s->vm, gpa, PAGE_SIZE);
}

static void punch_two(struct snp_vm *s, gpa_t gpa)
{
	vm_guest_mem_punch_hole(s->vm, gpa, 2 * PAGE_SIZE);
}

static void delete_slot(struct snp_vm *s, gpa_t gpa)
{
	struct kvm_userspace_memory_region2 deleted = memslot2region(s->vm, SLOT)->region;

	deleted.memory_size = 0;
	vm_ioctl(s->vm, KVM_SET_USER_MEMORY_REGION2, &deleted);
}

static void close_file(struct snp_vm *s, gpa_t gpa)
{
	close(memslot2region(s->vm, SLOT)->region.guest_memfd);
}

static void convert(struct snp_vm *s, gpa_t gpa)
{
	vm_mem_set_shared(s->vm, gpa, PAGE_SIZE);
	punch(s, gpa);
}

static void destroy(struct snp_vm *s, gpa_t gpa)
{
	snp_order(s, guest_ap_request, (u64)s->ap[1].vcpu->id << 32 | SVM_VMGEXIT_AP_DESTROY, 0,
		  0);
}

static void create(struct snp_vm *s, gpa_t gpa)
{
	snp_order(s, guest_create, s->ap[1].vcpu->id, gpa, 0);
}

static void create_other(struct snp_vm *s, gpa_t gpa)
{
	snp_order(s, guest_create, s->ap[2].vcpu->id, gpa, 0);
}

static void guest_init(struct snp_order *order)
{
	guest_send_init(order->arg[0], false);
}

static void init(struct snp_vm *s, gpa_t gpa)
{
	snp_order(s, guest_init, s->ap[1].vcpu->id, 0, 0);
}

/* All that a round does has been done once, so that nothing is done for the first time. */
static struct snp_vm *setup(u32 nr_aps, const char *what)
{
	struct snp_vm *s = snp_vm_create(nr_aps);
	int fd = vm_create_guest_memfd(s->vm, (5 + NR_PAGES) * PAGE_SIZE, 0);
	u32 i;

	snp_add_slot(s, SLOT, PAGES, NR_PAGES, fd, 5);
	close(fd);
	snp_vm_launch(s);
	for (i = 1; i <= nr_aps; i++) {
		ap_start(&s->ap[i], page(7));
		snp_punch(s, page(7), 1);
		ap_wait_failed(&s->ap[i]);
	}
	s->what = what;
	snp_may_damage();
	return s;
}

static void *job_thread(void *arg)
{
	struct job *job = arg;

	meet();
	job->fn(job->s, job->gpa);
	WRITE_ONCE(job->done, true);
	return NULL;
}

/* Have @job done beside, on a CPU behind those of the vCPUs. */
static void job_start(struct job *job)
{
	pthread_t thread;

	kvm_pthread_create(&thread, NULL, job_thread, job);
	pin_task_to_cpu(thread, snp_nth_cpu(&job->s->cpus, job->s->nr_aps + 1));
	pthread_detach(thread);
}

static bool ap_is_off(struct snp_ap *ap)
{
	return !ap_is_running(ap) || vcpu_get_stat(ap->vcpu, blocking);
}

static void ap_check_failed(struct snp_ap *ap)
{
	wait_until(!ap_is_running(ap));
	if (!ap_has_failed(ap))
		ap_fail(ap);
}

/* Cold: the TLB flush for an SPTE would kick all vCPUs, and wait for them. */
static void chill(struct snp_vm *s)
{
	snp_zap(s, page(0), NR_PAGES);
}

static void ap_run_meet(struct snp_ap *ap)
{
	ap->before_run = ap_meet;
	ap_run(ap);
}

/* One vCPU enters KVM_RUN, while its VMSA on page(1) is taken away. */
static void beside_run(struct snp_vm *s, void (*fn)(struct snp_vm *s, gpa_t gpa))
{
	struct snp_ap *ap = &s->ap[1];

	chill(s);
	ap_run_meet(ap);
	meet();
	fn(s, page(1));
	ap->last = ap_heartbeat(ap);
	ap_check_failed(ap);
	ap_check_frozen(ap);
	meet();
}

/* It has yet to look up its VMSA, the first one after AP Create. */
static void beside_reload(const char *what, void (*fn)(struct snp_vm *s, gpa_t gpa))
{
	struct snp_vm *s = setup(1, what);

	ap_create(&s->ap[1], page(1));
	beside_run(s, fn);
}

SEARCH_TEST(punch_beside_reload, 2, 2)
{
	beside_reload("punch beside reload", punch);
}

/* It has run before, and enters with the VMSA that it has. */
SEARCH_TEST(punch_beside_entry, 2, 2)
{
	struct snp_vm *s = setup(1, "punch beside entry");

	ap_start(&s->ap[1], page(1));
	ap_stop(&s->ap[1]);
	beside_run(s, punch);
}

/* Its VMSA was taken away and rebuilt meanwhile, and has to be looked up again. */
SEARCH_TEST(punch_beside_rebuilt, 2, 2)
{
	struct snp_vm *s = setup(1, "punch beside the reload of a rebuilt VMSA");

	ap_start(&s->ap[1], page(1));
	ap_stop(&s->ap[1]);
	snp_punch(s, page(1), 1);
	ap_prepare(&s->ap[1], page(1));
	beside_run(s, punch);
}

/*
 * Another task takes the CPU from the vCPU, wherever that is, until the punch is over; not
 * for ever, since the vCPU may hold a lock that the punch waits for, that of the page.
 */
#define INTRUDER_TURNS	100
static sem_t intruder;
static bool is_in, may_go;

static void *intrude(void *arg)
{
	u32 nr_turns = 0;

	while (sem_wait(&intruder))
		;
	WRITE_ONCE(is_in, true);
	wait_until(READ_ONCE(may_go) || ++nr_turns > INTRUDER_TURNS);
	return NULL;
}

static void punch_behind_intruder(struct snp_vm *s, gpa_t gpa)
{
	sem_post(&intruder);
	wait_until(READ_ONCE(is_in));
	punch(s, gpa);
	WRITE_ONCE(may_go, true);
}

SEARCH_TEST(punch_beside_preempted, 2, 2)
{
	struct snp_vm *s = setup(1, "punch beside a vCPU that was preempted");
	const struct sched_param param = { .sched_priority = 1 };
	pthread_t thread;

	sem_init(&intruder, 0, 0);
	kvm_pthread_create(&thread, NULL, intrude, NULL);
	pin_task_to_cpu(thread, snp_nth_cpu(&s->cpus, 1));
	TEST_ASSERT(!pthread_setschedparam(thread, SCHED_FIFO, &param), "No real-time thread");
	ap_create(&s->ap[1], page(1));
	beside_run(s, punch_behind_intruder);
}

SEARCH_TEST(slot_deletion, 2, 2)
{
	beside_reload("memslot deleted beside reload", delete_slot);
}

SEARCH_TEST(last_close, 2, 2)
{
	beside_reload("last close beside reload", close_file);
}

SEARCH_TEST(conversion, 2, 2)
{
	beside_reload("conversion beside reload", convert);
}

/* The guest does something to a vCPU that runs, while a page is punched. */
static void beside_order(struct snp_vm *s, void (*fn)(struct snp_vm *s, gpa_t gpa),
			 gpa_t gpa, gpa_t vmsa)
{
	struct job job = { .fn = punch, .s = s, .gpa = vmsa };

	chill(s);
	job_start(&job);
	meet();
	fn(s, gpa);
	wait_until(READ_ONCE(job.done));
}

SEARCH_TEST(punch_beside_create, 3, 2)
{
	struct snp_vm *s = setup(1, "punch beside AP Create");
	struct snp_ap *ap = &s->ap[1];

	ap_start(ap, page(1));
	ap_prepare(ap, page(2));
	beside_order(s, create, page(2), page(2));
	ap_check_failed(ap);
	meet();
}

/* AP Create of another vCPU kicks all of them, without waiting. */
SEARCH_TEST(punch_beside_other_create, 4, 2)
{
	struct snp_vm *s = setup(2, "punch beside AP Create of another vCPU");
	struct snp_ap *ap = &s->ap[1], *other = &s->ap[2];

	ap_start(ap, page(1));
	ap_start(other, page(3));
	ap_wait_alive(other);
	ap_prepare(other, page(2));
	beside_order(s, create_other, page(2), page(1));
	ap->last = ap_heartbeat(ap);
	ap_check_failed(ap);
	ap_check_frozen(ap);
	meet();
}

/* It is the old VMSA that is punched. */
SEARCH_TEST(punch_beside_replace, 3, 2)
{
	struct snp_vm *s = setup(1, "punch while AP Create replaces the VMSA");
	struct snp_ap *ap = &s->ap[1];
	u64 starts;

	ap_start(ap, page(1));
	ap_prepare(ap, page(2));
	starts = ap_starts(ap);
	beside_order(s, create, page(2), page(1));
	wait_until(ap_starts(ap) != starts || !ap_is_running(ap));
	if (ap_starts(ap) == starts && !ap_has_failed(ap))
		ap_fail(ap);
	meet();
}

SEARCH_TEST(punch_beside_destroy, 3, 2)
{
	struct snp_vm *s = setup(1, "punch beside AP Destroy");
	struct snp_ap *ap = &s->ap[1];

	ap_start(ap, page(1));
	beside_order(s, destroy, 0, page(1));
	wait_until(ap_is_off(ap));
	meet();
}

SEARCH_TEST(punch_beside_init, 3, 2)
{
	struct snp_vm *s = setup(1, "punch beside INIT");
	struct snp_ap *ap = &s->ap[1];
	u64 info_1 = (u64)ap->vcpu->id << 32 | SVM_VMGEXIT_AP_CREATE_ON_INIT;

	ap_start(ap, page(1));
	ap_prepare(ap, page(2));
	snp_order(s, guest_ap_request, info_1, page(2), 0);
	beside_order(s, init, 0, page(2));
	meet();
}

/* Two punches of the same page; the vCPU comes back while they are at it. */
SEARCH_TEST(punch_beside_punch, 3, 3)
{
	struct snp_vm *s = setup(1, "punch beside punch");
	struct snp_ap *ap = &s->ap[1];
	struct job job = { .fn = punch, .s = s, .gpa = page(1) };

	ap_create(ap, page(1));
	chill(s);
	ap_run_meet(ap);
	job_start(&job);
	meet();
	punch(s, page(1));
	ap_check_failed(ap);
	wait_until(READ_ONCE(job.done));
	meet();
}

/* The VMSAs of two vCPUs are next to each other. */
SEARCH_TEST(two_vcpus, 3, 3)
{
	struct snp_vm *s = setup(2, "two vCPUs in one hole");

	ap_create(&s->ap[1], page(1));
	ap_create(&s->ap[2], page(2));
	chill(s);
	ap_run_meet(&s->ap[1]);
	ap_run_meet(&s->ap[2]);
	meet();
	punch_two(s, page(1));
	ap_check_failed(&s->ap[1]);
	ap_check_failed(&s->ap[2]);
	meet();
}

static void guest_create_twice(struct snp_order *order)
{
	order->status = snp_ap_create(order->arg[0], order->arg[1]);
	if (!order->status.resp)
		order->status = snp_ap_create(order->arg[0], order->arg[1] + PAGE_SIZE);
}

/* Two requests in a row: the vCPU has to run the second one. */
SEARCH_TEST(create_beside_create, 2, 1)
{
	struct snp_vm *s = setup(1, "created twice in a row");
	struct snp_ap *ap = &s->ap[1];
	u64 heartbeat;

	ap_start(ap, page(1));
	ap_prepare(ap, page(2));
	ap_prepare(ap, page(3));
	meet();
	snp_order(s, guest_create_twice, ap->vcpu->id, page(2), 0);
	heartbeat = ap_heartbeat(ap);
	wait_until(ap_heartbeat(ap) != heartbeat || !ap_is_running(ap));
	if (ap_heartbeat(ap) == heartbeat)
		ap_fail(ap);
	meet();
}

SNP_TEST_MAIN
