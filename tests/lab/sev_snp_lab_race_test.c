// SPDX-License-Identifier: GPL-2.0-only
/*
 * Races of a few instructions, for a scheduler that can be told where to switch.  Each
 * case tries a table of delays, the same every time.
 */
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_test.h"

#define RMP_FAIL_INUSE	3
#define NR_PAGES	8
#define NR_DELAYS	8
#define PAGES		(SZ_4G + 3 * PAGE_SIZE)

/* The first of the delays: until it can be seen that it took too long. */
#define FOREVER		(~0ull)

static u64 nr_entries;

static gpa_t page(u32 index)
{
	return PAGES + index % NR_PAGES * PAGE_SIZE;
}

static void count_entry(struct snp_ap *ap)
{
	WRITE_ONCE(nr_entries, nr_entries + 1);
}

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, 1, PAGES, NR_PAGES,
		     vm_create_guest_memfd(s->vm, (5 + NR_PAGES) * PAGE_SIZE, 0), 5);
	s->ap[1].before_run = count_entry;
	snp_vm_launch(s);
	return s;
}

struct shot {
	struct snp_ap *ap;
	gpa_t vmsa;
	u64 nr_entries, heartbeat;
	u64 delay;		/* iterations; then those that it took */
	bool early;		/* the vCPU had not run yet */
};

static bool is_late(struct shot *shot)
{
	return ap_heartbeat(shot->ap) != shot->heartbeat;
}

/* Punch so many iterations after KVM_RUN, or as soon as the vCPU runs. */
static void *shoot(void *arg)
{
	struct shot *shot = arg;
	u64 i;

	while (READ_ONCE(nr_entries) == shot->nr_entries)
		;
	for (i = 0; i < shot->delay && !is_late(shot); i++)
		;
	shot->delay = i;
	shot->early = !is_late(shot);
	snp_may_damage();
	vm_guest_mem_punch_hole(shot->ap->s->vm, shot->vmsa, PAGE_SIZE);
	return NULL;
}

/*
 * Punch the VMSA of vCPU 1 @delay iterations after it has entered KVM_RUN, or when it
 * runs; KVM_RUN has to fail.  Then give it another one in the same place.  Returns
 * after how many iterations that was.
 */
static u64 punch_beside_run(struct snp_vm *s, gpa_t vmsa, u64 delay)
{
	const u32 first_spare = 5, nr_spares = 3;
	struct snp_ap *ap = &s->ap[1], *other = &s->ap[2];
	struct shot shot = { .ap = ap, .vmsa = vmsa, .delay = delay };
	pthread_t thread;
	u64 starts;
	u32 i;

	snp_punch(s, page(first_spare), nr_spares);

	shot.nr_entries = nr_entries;
	shot.heartbeat = ap_heartbeat(ap);
	kvm_pthread_create(&thread, NULL, shoot, &shot);
	ap_run(ap);
	kvm_pthread_join(thread, NULL);
	ap->last = ap_heartbeat(ap);

	/* The freed page becomes a VMSA of the other vCPU. */
	other->last = ap_heartbeat(other);
	for (i = 0; i < nr_spares; i++)
		ap_prepare(other, page(first_spare + i));
	ap_wait_failed(ap);
	ap_check_frozen(ap);
	ap_check_rerun(ap);
	TEST_ASSERT(ap_heartbeat(other) == other->last, "%s: vCPU %u runs the VMSA of vCPU %u",
		    s->what, ap->vcpu->id, other->vcpu->id);

	starts = ap_starts(ap);
	ap_prepare(ap, vmsa);
	ap_run(ap);
	ap_wait_start(ap, starts);
	ap_destroy(ap);
	ap_stop(ap);
	return shot.delay;
}

/*
 * A punch while KVM_RUN looks up the page of a new VMSA, before the vCPU is in the
 * guest.  KVM may have found the page that is about to go, and must not use it: it
 * would belong to somebody else then, and the one that takes its place in the file
 * would never be looked at.
 */
SNP_TEST(punch_beside_reload, 1)
{
	struct snp_vm *s = setup(2);
	u32 i;

	s->what = "punch beside the lookup of a VMSA";
	for (i = 0; i < NR_DELAYS; i++) {
		ap_create(&s->ap[1], page(1 + i % 4));
		punch_beside_run(s, page(1 + i % 4), 800 * i);
	}
}

/*
 * The same for a vCPU that has run before.  It enters the guest on the VMSA that it
 * has, and the punch must not come between its last look at requests and the kick;
 * or on one that was rebuilt while it was out, whose reload must not forget a punch
 * that comes right behind it.
 */
SNP_TEST(punch_beside_entry, 1)
{
	struct snp_vm *s = setup(2);
	struct snp_ap *ap = &s->ap[1];
	u64 span = 0, took;
	u32 rebuilt, i;

	for (rebuilt = 0; rebuilt < 2; rebuilt++) {
		s->what = rebuilt ? "punch beside the reload of a rebuilt VMSA" :
				    "punch beside the entry of a vCPU";
		for (i = 0; i < NR_DELAYS; i++) {
			const gpa_t vmsa = page(1 + i % 4);

			ap_start(ap, vmsa);
			ap_stop(ap);
			if (rebuilt) {
				snp_punch(s, vmsa, 1);
				ap_prepare(ap, vmsa);
			}

			/* How long it takes until the guest runs. */
			took = punch_beside_run(s, vmsa, i ? span * (i - 1) / (NR_DELAYS - 1) :
							     FOREVER);
			if (!i)
				span = took;
		}
	}
}

/*
 * AP Create, and again arg[2] iterations later or when the vCPU runs, whichever is first;
 * order->ret is then what it took.
 */
static void guest_create_twice(struct snp_order *order)
{
	struct snp_ap_shared *ap = (void *)(order + 1);
	u64 starts, i;

	starts = READ_ONCE(ap[1].starts);
	order->status = snp_ap_create(order->arg[0], order->arg[1]);
	if (order->status.resp)
		return;

	for (i = 0; i < order->arg[2] && READ_ONCE(ap[1].starts) == starts; i++)
		;
	order->ret = i;
	order->status = snp_ap_create(order->arg[0], order->arg[1] + PAGE_SIZE);
}

/*
 * Two requests in a row, the second one while the vCPU carries out the first: it has
 * to get the VMSA of the second.
 */
SNP_TEST(create_beside_create, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	struct snp_order *order;
	u64 span = 0;
	u32 i;

	s->what = "created twice in a row";
	ap_start(ap, page(1));
	for (i = 0; i < NR_DELAYS; i++) {
		const u32 first = 2 + i % 2 * 2;

		ap_prepare(ap, page(first));
		ap_prepare(ap, page(first + 1));
		snp_step("two AP Create of vCPU %u in a row", ap->vcpu->id);
		order = snp_order(s, guest_create_twice, ap->vcpu->id, page(first),
				  i ? span * (i - 1) / (NR_DELAYS - 1) : FOREVER);
		TEST_ASSERT(!order->status.resp, "%s: KVM answered one of them with %u, %u",
			    s->what, order->status.resp, order->status.info);
		if (!i)
			span = order->ret;

		/* It runs the second one, i.e. the first one is idle. */
		snp_wait_step("%s: wait until the first VMSA is idle", s->what);
		do {
			order = snp_order(s, guest_release, page(first), 0, 0);
		} while (order->rmp == RMP_FAIL_INUSE);
		TEST_ASSERT(order->rmp == RMP_OK, "%s: RMPADJUST of the first VMSA failed with %u",
			    s->what, order->rmp);
		ap_check_unharmed(ap);
	}
}

/* Behind what ucall writes to; one entry fewer fits. */
#define PSC_OFFSET	(offsetof(struct ghcb, shared_buffer) + sizeof(u64))
#define PSC_BAD_END	(VMGEXIT_PSC_MAX_COUNT - 1)

/* Ask for entries 0 to arg[0], or to what the header says; the first two ask for something. */
static void guest_share(struct snp_order *order)
{
	struct ghcb *ghcb = ghcb_begin();
	struct snp_psc_desc *desc = (void *)ghcb + PSC_OFFSET;
	u32 i;

	desc->hdr.cur_entry = 0;
	if (order->arg[0])
		desc->hdr.end_entry = order->arg[0];
	for (i = 0; i < 2; i++)
		desc->entries[i] = page(2 * i) | (u64)SNP_PAGE_STATE_SHARED << 52;
	order->arg[1] = this_sev_cpu()->ghcb_gpa + PSC_OFFSET;
	ghcb_set(ghcb, sw_scratch, order->arg[1]);
	GUEST_ASSERT_EQ(ghcb_exit(ghcb, SVM_VMGEXIT_PSC, 0, 0).resp, 0);
	order->ret = ghcb->save.sw_exit_info_2;
}

static struct psc_hdr *flipped;
static bool flip_over;

static void *flip(void *arg)
{
	while (!READ_ONCE(flip_over)) {
		WRITE_ONCE(flipped->end_entry, flipped->end_entry ^ PSC_BAD_END);
		cpu_relax();
	}
	return NULL;
}

/* Returns how many pages KVM asked userspace about. */
static u64 share(struct snp_vm *s, u64 end_entry)
{
	struct kvm_run *run = s->server->vcpu->run;
	u64 nr_pages = 0;
	bool done;

	for (done = __snp_order(s, guest_share, end_entry, 0, 0); !done;
	     done = ap_run_to_sync(s->server)) {
		if (s->server->err || run->exit_reason != KVM_EXIT_HYPERCALL)
			ap_fail(s->server);
		nr_pages += run->hypercall.args[1];
		run->hypercall.ret = 0;
	}
	return nr_pages;
}

/*
 * The header of a page state change is written by another vCPU while KVM looks at it.
 * KVM refuses all of the request, or goes by the header that it has checked.
 */
SNP_TEST(header_beside_check, 1)
{
	const u64 invalid_header = 1ull << 32 | 1;
	u64 nr_pages, i, nr_refused = 0, nr_taken = 0;
	struct snp_vm *s = setup(1);
	pthread_t thread;

	s->what = "page state change whose header changes";
	snp_step("%s", s->what);
	TEST_ASSERT(!share(s, PSC_BAD_END) && s->order->ret == invalid_header,
		    "%s: KVM answered an invalid one with 0x%lx", s->what, s->order->ret);
	flipped = addr_gpa2hva(s->vm, s->order->arg[1]);
	kvm_pthread_create(&thread, NULL, flip, NULL);
	pin_task_to_cpu(thread, snp_nth_cpu(&s->cpus, 1));
	for (i = 0; i < 200; i++) {
		nr_pages = share(s, 0);
		if (s->order->ret == invalid_header)
			nr_refused++;
		else
			nr_taken++;
		TEST_ASSERT(nr_pages == (s->order->ret ? 0 : 1) &&
			    (!s->order->ret || s->order->ret == invalid_header),
			    "%s: KVM changed %lu pages, and answered 0x%lx", s->what, nr_pages,
			    s->order->ret);
	}
	WRITE_ONCE(flip_over, true);
	kvm_pthread_join(thread, NULL);
	TEST_ASSERT(nr_refused && nr_taken, "%s: never entered the window, %lu refused, %lu taken",
		    s->what, nr_refused, nr_taken);
}

SNP_TEST_MAIN
