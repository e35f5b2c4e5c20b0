// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify AP Creation (GHCB spec 4.1.8), and what INIT and SIPI make of it.
 *
 * AP Create starts a vCPU on a VMSA of the guest, whatever the vCPU is doing.  AP
 * Destroy takes the VMSA away, and has KVM_RUN sleep until the next AP Create.  AP
 * Create on INIT changes nothing before INIT.  Of several requests the last one that
 * KVM has not refused counts.
 */
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define PAGES		(SZ_4G + 3 * PAGE_SIZE)

#define CREATE		SVM_VMGEXIT_AP_CREATE
#define ON_INIT		SVM_VMGEXIT_AP_CREATE_ON_INIT
#define DESTROY		SVM_VMGEXIT_AP_DESTROY

/* In no memslot, and in one without guest_memfd. */
#define GPA_NO_SLOT	(SZ_4G + 5 * SZ_2M + PAGE_SIZE)
#define GPA_NO_GMEM	(SZ_4G + 7 * SZ_2M + PAGE_SIZE)

static gpa_t page(u32 index)
{
	return PAGES + index * PAGE_SIZE;
}

/*
 * Guest: orders to the BSP, and work of an AP
 */
static struct snp_ap_shared *shared_of(struct snp_order *order, u32 index)
{
	return (struct snp_ap_shared *)(order + 1) + index;
}

/* SW_EXITINFO1, SW_EXITINFO2, features to toggle or that there are none in the GHCB */
#define NO_FEATURES	(~0ull)

static void guest_request(struct snp_order *order)
{
	u64 *arg = order->arg;

	if (arg[2] == NO_FEATURES)
		order->status = ghcb_exit(ghcb_begin(), SVM_VMGEXIT_AP_CREATION, arg[0], arg[1]);
	else
		order->status = __snp_ap_creation(arg[0], arg[1], arg[2] ^ snp_sev_features());
}

static void guest_unhalt(struct snp_order *order)
{
	order->ret = kvm_hypercall(KVM_HC_KICK_CPU, 0, order->arg[0], 0, 0);
}

/* APIC ID, VMSA or 0 for AP Destroy, number of the AP (from 0) and of its old VMSA */
static void guest_replace(struct snp_order *order)
{
	struct snp_ap_shared *ap = shared_of(order, 1 + order->arg[2]);

	order->status = order->arg[1] ? snp_ap_create(order->arg[0], order->arg[1]) :
					snp_ap_destroy(order->arg[0]);
	/* It must not move from here on. */
	order->ret = READ_ONCE(ap->heartbeat);
	order->rmp = snp_vmsa_release(page(order->arg[2]));
}

static void guest_spin(struct snp_order *order)
{
	struct snp_ap_shared *me = shared_of(order, BSP);

	for (;;)
		WRITE_ONCE(me->heartbeat, me->heartbeat + 1);
}

static void guest_reset_hold(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->halts, me->halts + 1);
	ghcb_exit(ghcb_begin(), SVM_VMGEXIT_AP_HLT_LOOP, 0, 0);
}

static void guest_destroy_self(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->halts, me->halts + 1);
	snp_ap_destroy(me->data[0]);
}

/* APIC ID, VMSA and struct sev_cpu are in data[]; the AP may create itself. */
static void guest_create_one(struct snp_ap_shared *me)
{
	struct ghcb_status status;

	WRITE_ONCE(me->work, NULL);
	GUEST_ASSERT_EQ(snp_vmsa_prepare(me->data[1], (void *)me->data[2]), RMP_OK);
	status = snp_ap_create(me->data[0], me->data[1]);
	__GUEST_ASSERT(!status.resp, "KVM answered %u, %u", status.resp, status.info);
	WRITE_ONCE(me->halts, me->halts + 1);
}

/*
 * Host
 */
static struct snp_ap *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, 1, PAGES, 9, vm_create_guest_memfd(s->vm, SZ_64K, 0), 5);
	snp_vm_launch(s);
	return &s->ap[1];
}

/* The second AP sleeps in KVM_RUN already, the first one has not been there. */
static struct snp_ap *setup_one_asleep(void)
{
	struct snp_ap *ap = setup(2);

	ap_run(&ap[1]);
	ap_wait_blocked(&ap[1]);
	return ap;
}

static struct ghcb_status ap_try(struct snp_ap *ap, u32 apic_id, u32 request, gpa_t vmsa,
				 u64 features)
{
	snp_step("AP Creation, request %x, APIC ID %x, VMSA 0x%lx", request, apic_id, vmsa);
	return snp_order(ap->s, guest_request, (u64)apic_id << 32 | request, vmsa,
			 features)->status;
}

static void ap_request(struct snp_ap *ap, u32 request, gpa_t vmsa)
{
	struct ghcb_status status = ap_try(ap, ap->vcpu->id, request, vmsa, 0);

	AP_ASSERT(ap, !status.resp, "request %x: KVM answered %u, %u", request, status.resp,
		  status.info);
}

static void ap_check_refused(struct snp_ap *ap, u32 apic_id, u32 request, gpa_t vmsa,
			     u64 features, u32 err)
{
	struct ghcb_status status = ap_try(ap, apic_id, request, vmsa, features);

	AP_ASSERT(ap, ghcb_refused(status, err), "request %x: KVM answered %u, %u, not error %u",
		  request, status.resp, status.info, err);
}

static void ap_release(struct snp_ap *ap, gpa_t vmsa)
{
	enum rmp_result rmp = snp_order(ap->s, guest_release, vmsa, 0, 0)->rmp;

	AP_ASSERT(ap, rmp == RMP_OK, "has left its VMSA, but RMPADJUST of that got %u", rmp);
}

/*
 * INIT takes a vCPU that runs out of the guest until SIPI, and leaves its VMSA alone; in
 * particular it has not one that counts as @other.
 */
static void ap_check_init_sipi(struct snp_ap *ap, struct snp_ap *other)
{
	u64 starts = ap_starts(ap), last;

	ap_init(ap);
	ap_wait_blocked(ap);
	last = ap_heartbeat(ap);
	ap_init_sipi(ap);
	snp_wait_until(ap_heartbeat(ap) != last || ap_starts(other) || !ap_is_running(ap));
	AP_ASSERT(ap, !ap_starts(other) && ap_starts(ap) == starts,
		  "ran a VMSA that is not its own, or its own one from the start");
	ap_check_unharmed(ap);
}

/* KVM_RUN sleeps; no guest code, which would count as that of @as, has run since ->last. */
static void ap_check_sleeps(struct snp_ap *ap, struct snp_ap *as, const char *otherwise)
{
	snp_wait_step("%s: wait for vCPU %u to block", ap->s->what, ap->vcpu->id);
	snp_wait_until(vcpu_get_stat(ap->vcpu, blocking) || !ap_is_running(ap) ||
		       ap_heartbeat(as) != as->last);
	AP_ASSERT(ap, ap_heartbeat(as) == as->last, "%s", otherwise);
	ap_wait_blocked(ap);
}

static void ap_sleep_in(struct snp_ap *ap, void (*work)(struct snp_ap_shared *me))
{
	u64 halts = READ_ONCE(ap->shared->halts);

	ap->shared->data[0] = ap->vcpu->id;
	WRITE_ONCE(ap->shared->work, work);
	ap_wait_count(ap, &ap->shared->halts, halts, "lost its VMSA, which nobody touched");
	ap_wait_blocked(ap);
	WRITE_ONCE(ap->shared->work, NULL);
}

SNP_TEST(vmsa_is_tracked, 1)
{
	snp_check_tracked();
}

/* KVM_HC_KICK_CPU ends the next HLT of the vCPU, but not the sleep without a VMSA. */
static void start_unhalted(struct snp_ap *ap, gpa_t vmsa)
{
	ap_start(ap, vmsa);
	snp_order(ap->s, guest_unhalt, ap->vcpu->id, 0, 0);
}

SNP_TEST(create_run_destroy, 1)
{
	static void (* const start[])(struct snp_ap *ap, gpa_t vmsa) = {
		ap_start,
		start_unhalted,
		ap_start_halted,
		ap_start_and_stop,
	};
	struct snp_ap *ap = setup(1);
	u32 i;

	ap->s->what = "AP Destroy";
	for (i = 0; i < ARRAY_SIZE(start); i++) {
		start[i](ap, page(i));
		ap_destroy(ap);
		ap->last = ap_heartbeat(ap);
		ap_stop(ap);
		AP_ASSERT(ap, ap_heartbeat(ap) == ap->last, "was not stopped by AP Creation");

		/* The signal that has ended KVM_RUN is nothing to run for. */
		ap_run(ap);
		ap_check_sleeps(ap, ap, "ran although it was destroyed");
		ap_stop(ap);
		ap_release(ap, page(i));
	}
	AP_ASSERT(ap, ap_starts(ap) == i, "started %lu times, ran before AP Create",
		  ap_starts(ap));
}

static void ap_have_create(struct snp_ap *by, struct snp_ap *ap, gpa_t vmsa)
{
	snp_step("vCPU %u creates vCPU %u on 0x%lx", by->vcpu->id, ap->vcpu->id, vmsa);
	by->shared->data[0] = ap->vcpu->id;
	by->shared->data[1] = vmsa;
	by->shared->data[2] = ap->cpu;
	WRITE_ONCE(by->shared->work, guest_create_one);
}

SNP_TEST(create_self, 1)
{
	struct snp_ap *ap = setup(1);
	u64 starts;

	ap->s->what = "AP Create by the vCPU itself";
	ap_start(ap, page(2));
	starts = ap_starts(ap);
	ap_have_create(ap, ap, page(4));
	ap_wait_start(ap, starts);
	ap_release(ap, page(2));

	ap->s->what = "AP Destroy by the vCPU itself";
	snp_step("%s", ap->s->what);
	ap_sleep_in(ap, guest_destroy_self);
	ap->last = ap_heartbeat(ap);
	ap_wake(ap);
	ap_wait_failed(ap);
	AP_ASSERT(ap, ap_heartbeat(ap) == ap->last, "ran although it was destroyed");
}

/* On whatever page, be it the one that the vCPU has. */
SNP_TEST(create_wakes, 1)
{
	static void (* const work[])(struct snp_ap_shared *me) = {
		guest_halt,
		guest_reset_hold,
		guest_destroy_self,
	};
	struct snp_ap *ap = setup(1);
	u64 starts;
	u32 i;

	ap->s->what = "AP Create of a vCPU that sleeps";
	ap_run(ap);
	ap_check_sleeps(ap, ap, "ran before AP Create");
	for (i = 0; i < 1 + 2 * ARRAY_SIZE(work); i++) {
		if (i)
			ap_sleep_in(ap, work[(i - 1) / 2]);
		starts = ap_starts(ap);
		ap_create(ap, page(2 + i / 2));
		ap_wait_start(ap, starts);
	}
}

/* The VMSA that must not run is one of another vCPU, and counts as that. */
SNP_TEST(last_request_counts, 1)
{
	enum { OWN = PAGES + 0 * PAGE_SIZE, OTHER = PAGES + PAGE_SIZE, BAD = PAGES + 0x10 };
	static const struct {
		struct { u32 request; gpa_t vmsa; } req[3];
		bool runs;
	} rows[] = {
		{ { { CREATE, OTHER }, { DESTROY } }, false },
		{ { { ON_INIT, OTHER }, { DESTROY } }, false },
		{ { { DESTROY }, { CREATE, BAD }, { ON_INIT, BAD } }, false },
		{ { { CREATE, OTHER }, { CREATE, OWN } }, true },
		{ { { ON_INIT, OTHER }, { CREATE, OWN } }, true },
		{ { { CREATE, OTHER }, { DESTROY }, { CREATE, OWN } }, true },
		{ { { CREATE, OWN }, { CREATE, BAD }, { ON_INIT, BAD } }, true },
	};
	struct snp_ap *ap = setup(2), *other = ap + 1;
	u64 starts, last;
	u32 i, j;

	ap_start_and_stop(ap, OWN);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ap->s->what = "several requests before KVM_RUN";
		ap_prepare(ap, OWN);
		ap_prepare(other, OTHER);
		for (j = 0; j < ARRAY_SIZE(rows[i].req); j++) {
			const u32 request = rows[i].req[j].request;
			const gpa_t vmsa = rows[i].req[j].vmsa;

			if (vmsa == BAD)
				ap_check_refused(ap, ap->vcpu->id, request, vmsa, 0,
						 GHCB_ERR_INVALID_INPUT);
			else if (vmsa || request == DESTROY)
				ap_request(ap, request, vmsa);
		}
		starts = ap_starts(ap);
		ap_run(ap);
		if (!rows[i].runs) {
			ap_check_sleeps(ap, other, "ran a VMSA that is not its own");
		} else {
			snp_wait_step("%s: wait for vCPU %u", ap->s->what, ap->vcpu->id);
			snp_wait_until(ap_starts(ap) != starts || ap_starts(other) ||
				       !ap_is_running(ap));
			AP_ASSERT(ap, !ap_starts(other), "ran a VMSA that is not its own");
			ap_wait_start(ap, starts);

			/* Nor does INIT bring back what was replaced. */
			ap_check_init_sipi(ap, other);
			ap_request(ap, ON_INIT, OTHER);
			ap_destroy(ap);
		}
		last = ap_heartbeat(ap);
		ap_init_sipi(ap);
		snp_wait_until(ap_starts(other) || !ap_is_running(ap));
		AP_ASSERT(ap, !ap_starts(other), "ran a VMSA that is not its own");
		ap_wait_failed(ap);
		AP_ASSERT(ap, ap_heartbeat(ap) == last, "ran although it was destroyed");
	}
}

static void check_features(struct snp_ap *ap, u32 request)
{
	/* SNP itself, VTOM, two kinds of interrupt injection, and one that is not there */
	static const u32 bits[] = { 0, 1, 3, 4, 40 };
	struct ghcb_status status;
	u32 i, nr_taken = 0;

	ap_check_refused(ap, ap->vcpu->id, request, page(4), NO_FEATURES,
			 GHCB_ERR_MISSING_INPUT);
	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		status = ap_try(ap, ap->vcpu->id, request, page(4), BIT_ULL(bits[i]));
		/* KVM may leave all but interrupt injection to VMRUN. */
		if (!status.resp && bits[i] != 3 && bits[i] != 4)
			nr_taken++;
		else
			AP_ASSERT(ap, ghcb_refused(status, GHCB_ERR_INVALID_INPUT),
				  "feature %u: KVM answered %u, %u", bits[i], status.resp,
				  status.info);
	}
	AP_ASSERT(ap, !nr_taken || nr_taken == ARRAY_SIZE(bits) - 2,
		  "KVM answered that %u wrong features are good, others are not", nr_taken);
}

SNP_TEST(refused_requests, 1)
{
	struct snp_ap *ap = setup(2);
	const u32 id = ap->vcpu->id, vmpl1 = 1 << 16;
	const u32 bad_ids[] = { 1, 2, 9, 0xff, 0x100 + id, BIT(16) + id, BIT(31) + id, ~0u };
	const u32 bad_requests[] = {
		3, 0x100 + CREATE, BIT(31) + CREATE, vmpl1 + CREATE, vmpl1 + ON_INIT,
		vmpl1 + DESTROY,
	};
	const gpa_t bad_vmsas[] = {
		0, SZ_4G, SZ_4G + SZ_2M, PAGES + 1, PAGES + 0x10, PAGES + PAGE_SIZE / 2,
		BIT_ULL(ap->s->vm->pa_bits) + PAGES, BIT_ULL(52) + PAGES, BIT_ULL(63) + PAGES,
	};
	const u32 err = GHCB_ERR_INVALID_INPUT;
	u32 i, request;

	kvm_static_assert(ON_INIT == 0 && CREATE == 1 && DESTROY == 2);
	ap->s->what = "request that has to be refused";
	ap_start(ap, page(2));
	for (request = ON_INIT; request <= DESTROY; request++) {
		for (i = 0; i < ARRAY_SIZE(bad_ids); i++)
			ap_check_refused(ap, bad_ids[i], request, PAGES, 0, err);
		for (i = 0; request != DESTROY && i < ARRAY_SIZE(bad_vmsas); i++)
			ap_check_refused(ap, id, request, bad_vmsas[i], 0, err);
		if (request != DESTROY)
			check_features(&ap[1], request);
	}
	for (i = 0; i < ARRAY_SIZE(bad_requests); i++)
		ap_check_refused(ap, id, bad_requests[i], PAGES, 0, err);

	/* None of that has touched its target. */
	ap_check_unharmed(ap);
	AP_ASSERT(ap, ap_starts(ap) == 1, "was started, although KVM answered with an error");
}

/* The VMSA from launch has had its day even if there is no memory for the first one. */
SNP_TEST(first_create_fails, 1)
{
	struct snp_ap *ap = setup(4);
	u32 i;

	ap->s->what = "first AP Create without private memory";
	vm_userspace_mem_region_add(ap->s->vm, VM_MEM_SRC_ANONYMOUS, GPA_NO_GMEM, 2, 1, 0);
	for (i = 0; i < 4; i++, ap++) {
		ap_request(ap, i & 1 ? ON_INIT : CREATE, i & 2 ? GPA_NO_SLOT : GPA_NO_GMEM);
		if (i & 1)
			ap_init_sipi(ap);
		ap_run(ap);
		ap_wait_failed(ap);
		ap_check_rerun(ap);
		AP_ASSERT(ap, !ap_starts(ap), "ran a VMSA that is not its own");
		ap_start(ap, page(i));
		ap_stop(ap);
	}
}

/* AP Destroy needs neither features nor a VMSA, nor that the vCPU has one. */
SNP_TEST(destroy_first, 1)
{
	struct snp_ap *ap = setup_one_asleep();
	u32 i;

	ap->s->what = "AP Destroy before the first AP Create";
	for (i = 0; i < 2; i++, ap++) {
		AP_ASSERT(ap, !ap_try(ap, ap->vcpu->id, DESTROY, ~0ull, NO_FEATURES).resp,
			  "could not be destroyed, KVM answered with an error");
		if (ap_is_running(ap))
			ap_stop(ap);
		ap_run(ap);
		ap_check_sleeps(ap, ap, "ran although it was destroyed");
		ap_wake(ap);
		ap_wait_failed(ap);
		AP_ASSERT(ap, !ap_starts(ap), "ran although it was destroyed");
		ap_start(ap, page(i));
		ap_stop(ap);
	}
}

/*
 * When KVM has answered, the target does not use its old VMSA any more.  Linux counts
 * on that: on kexec it makes ordinary memory of the page at once.
 */
SNP_TEST(released_at_once, 2)
{
	/* More vCPUs than one: a host that is a VM may be short of CPUs, and slow to kick. */
	const u32 nr_running = 3, nr_rounds = 8;
	struct snp_ap *first = setup(nr_running + 1), *other = first + nr_running, *ap;
	struct snp_order *order;
	u32 i, j, index;
	u64 seen;

	for (i = 0; i < 2 * nr_rounds * nr_running; i++) {
		const bool create = i & 1;

		index = i / 2 % nr_running;
		ap = first + index;
		ap->s->what = create ? "AP Create of a vCPU that runs" :
				       "AP Destroy of a vCPU that runs";
		other->last = ap_starts(other);
		for (j = 0; j < nr_running; j++) {
			if (!ap_is_running(first + j))
				ap_start(first + j, page(j));
		}
		if (create)
			ap_prepare(other, page(7));
		ap_wait_alive(ap);
		order = snp_order(ap->s, guest_replace, ap->vcpu->id, create ? page(7) : 0, index);
		seen = order->ret;
		AP_ASSERT(ap, !order->status.resp, "KVM answered %u", order->status.resp);
		AP_ASSERT(ap, order->rmp == RMP_OK,
			  "was not stopped by AP Creation, RMPADJUST got %u", order->rmp);
		if (create) {
			ap_wait_count(ap, &other->shared->starts, other->last,
				      "does not run although it has a VMSA");
			ap_destroy(ap);
		}
		ap_wait_blocked(ap);
		ap_stop(ap);
		AP_ASSERT(ap, ap_heartbeat(ap) == seen,
			  "was not stopped by AP Creation, heartbeat %lu to %lu", seen,
			  ap_heartbeat(ap));
	}
}

/* Started the old way, an AP runs the VMSA that KVM made at launch, and terminates. */
SNP_TEST(init_of_launched, 1)
{
	struct snp_ap *ap = setup_one_asleep();
	u32 i;

	ap->s->what = "INIT and SIPI before the first AP Create";
	for (i = 0; i < 2; i++, ap++) {
		struct kvm_run *run = ap->vcpu->run;
		bool terminated;

		ap_init_sipi(ap);
		if (!i)
			ap_run(ap);
		snp_wait_step("%s: wait for vCPU %u to terminate", ap->s->what, ap->vcpu->id);
		snp_wait_until(!ap_is_running(ap));
		terminated = !ap->err && run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
			     run->system_event.data[0] == GHCB_MSR_TERM_LAUNCH_VMSA;
		AP_ASSERT(ap, terminated, ": KVM_RUN ended in errno %d, exit reason %s", ap->err,
			  exit_reason_str(run->exit_reason));
	}
}

SNP_TEST(create_on_init, 1)
{
	struct snp_ap *ap = setup(1);
	struct kvm_mp_state state;
	u64 starts;

	ap->s->what = "AP Create on INIT";
	ap_prepare(ap, page(4));
	ap_request(ap, ON_INIT, page(4));
	ap_run(ap);
	ap_check_sleeps(ap, ap, "ran before INIT");

	/* KVM_RUN carries out INIT, or KVM_GET_MP_STATE does. */
	ap_init(ap);
	ap_stop(ap);
	vcpu_mp_state_get(ap->vcpu, &state);
	AP_ASSERT(ap, state.mp_state == KVM_MP_STATE_INIT_RECEIVED && !ap_heartbeat(ap),
		  "ran before SIPI, MP state %u", state.mp_state);
	ap_run(ap);
	ap_check_sleeps(ap, ap, "ran before SIPI");
	ap_init_sipi(ap);
	ap_wait_start(ap, 0);

	ap->s->what = "punch of a VMSA that waits for INIT";
	while (snp_window_next(ap->s)) {
		ap_destroy(ap);
		if (!ap_is_running(ap))
			ap_run(ap);
		ap_wait_blocked(ap);
		ap_prepare(ap, page(4));
		ap_request(ap, ON_INIT, page(4));
		starts = ap_starts(ap);
		ap_punch_idle(ap, page(4));
		ap_init_sipi(ap);
		ap_wait_failed(ap);
		ap_check_frozen(ap);
		AP_ASSERT(ap, ap_starts(ap) == starts, "ran on after its VMSA was gone");
	}
}

/* The old VMSA is the vCPU's own until INIT comes. */
SNP_TEST(on_init_replaces, 2)
{
	struct snp_ap *ap = setup(1);
	u64 starts;

	while (snp_window_next(ap->s)) {
		ap->s->what = "punch while another VMSA waits for INIT";
		ap_start(ap, page(2));
		ap_prepare(ap, page(4));
		ap_request(ap, ON_INIT, page(4));
		ap_check_unharmed(ap);
		ap_punch_running(ap, page(2));

		ap->s->what = "punch of a VMSA that was created on INIT";
		starts = ap_starts(ap);
		ap_init_sipi(ap);
		ap_run(ap);
		ap_wait_start(ap, starts);
		ap_punch_running(ap, page(4));
	}
}

SNP_TEST(init_of_running, 2)
{
	static const gpa_t bad[] = { SZ_4G + SZ_2M, PAGES + 0x10 };
	struct snp_ap *ap = setup(2);
	u32 i;

	ap->s->what = "INIT and SIPI without AP Create on INIT";
	while (snp_window_next(ap->s)) {
		ap_start(ap, page(2));
		ap_check_init_sipi(ap, ap + 1);

		/* Nor is one that was refused a reason to take the VMSA away. */
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			ap_check_refused(ap, ap->vcpu->id, ON_INIT, bad[i], 0,
					 GHCB_ERR_INVALID_INPUT);
		ap_check_init_sipi(ap, ap + 1);
		ap_punch_running(ap, page(2));
	}
}

static void comeback_on_init(struct snp_ap *ap)
{
	ap_request(ap, ON_INIT, page(8));
	ap_wake(ap);
}

static void leave_for_init(struct snp_ap *ap, gpa_t vmsa)
{
	ap_prepare(ap, page(8));
	ap_start_halted(ap, vmsa);
}

/* Neither INIT nor the promise of another VMSA makes up for the one that is gone. */
SNP_TEST(identity_init, 1)
{
	/* A VM for each: the kernel does not free pages at once that are new in a file. */
	snp_check_identity(setup(2), PAGES, ap_start_halted, ap_init_sipi);
	snp_check_identity(setup(2), PAGES, leave_for_init, comeback_on_init);
}

/*
 * The BSP is one of many: another vCPU may create it anew, and it runs on a page of
 * the guest like all of them.
 */
SNP_TEST(bsp_created_anew, 2)
{
	struct snp_ap *ap = setup(1), *bsp = ap - 1;
	struct snp_vm *s = ap->s;
	u64 nr;

	/* The main thread is to punch, and the AP to stand still meanwhile. */
	pin_task_to_cpu(bsp->thread, snp_nth_cpu(&s->cpus, 1));
	ap_start(ap, page(4));

	s->what = "punch under a BSP that was created anew";
	while (snp_window_next(s)) {
		nr = ap->shared->halts;
		ap_have_create(ap, bsp, page(2));
		ap_wait_count(ap, &ap->shared->halts, nr, "lost its VMSA, which nobody touched");
		ap_stop(ap);

		/* It begins at its entry point, and asks for orders. */
		AP_ASSERT(bsp, ap_run_to_sync(s->server), "does not run although it has a VMSA");
		s->order->fn = guest_spin;
		ap_run(bsp);

		/* Warm it is, the AP has written to it. */
		if (s->spte == COLD)
			snp_set_spte(s, page(2), 1);
		snp_window_open(s, bsp, 1);
		snp_punch(s, page(2), 1);
		snp_window_close(s);

		ap_run(ap);
		ap_check_unharmed(ap);
	}
}

SNP_TEST_MAIN
