// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify AP Creation (GHCB spec 4.1.9), and what INIT and SIPI make of it.
 *
 * AP Create starts a vCPU on a VMSA of the guest, whatever the vCPU is doing.  AP
 * Destroy takes the VMSA away, and has KVM_RUN sleep until the next AP Create.
 */
#include <linux/sizes.h>

#include "apic.h"
#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define VMSA(_nr)	(SZ_4G + (3 + (_nr)) * PAGE_SIZE)

/* In no memslot, and in one without guest_memfd. */
#define GPA_NO_SLOT	(SZ_4G + 5 * SZ_2M + PAGE_SIZE)
#define GPA_NO_GMEM	(SZ_4G + 7 * SZ_2M + PAGE_SIZE)

#define CREATE		SVM_VMGEXIT_AP_CREATE
#define ON_INIT		SVM_VMGEXIT_AP_CREATE_ON_INIT
#define DESTROY		SVM_VMGEXIT_AP_DESTROY

/* Answers of KVM. */
#define INVALID		GHCB_ERR_INVALID_INPUT
#define ANY		(~0u)

/*
 * Guest: orders to the BSP, and work of an AP
 */

/* SW_EXITINFO1, SW_EXITINFO2, number of the AP (from 0) and of its old VMSA */
static void guest_replace(struct snp_order *order)
{
	struct snp_ap_shared *bsp = (void *)(order + 1), *ap = bsp + 1 + order->arg[2];
	struct snp_order request = { .arg = { order->arg[0], order->arg[1] } };

	guest_ap_request(&request);
	order->status = request.status;
	/* It must not move from here on. */
	order->ret = READ_ONCE(ap->heartbeat);
	order->rmp = snp_vmsa_release(VMSA(order->arg[2]));
}

static void guest_spin(struct snp_order *order)
{
	struct snp_ap_shared *me = (void *)(order + 1);

	for (;;)
		WRITE_ONCE(me->heartbeat, me->heartbeat + 1);
}

/* The first AP executes orders in place of the BSP. */
static void guest_serve(struct snp_ap_shared *me)
{
	struct snp_order *order = (struct snp_order *)(me - 1) - 1;

	GUEST_SYNC(0);
	order->fn(order);
}

static void guest_reset_hold(struct snp_ap_shared *me)
{
	ghcb_exit(ghcb_begin(), SVM_VMGEXIT_AP_HLT_LOOP, 0, 0);
}

/* SW_EXITINFO1 and 2 are in data[]. */
static void guest_request_for_self(struct snp_ap_shared *me)
{
	struct snp_order request = { .arg = { me->data[0], me->data[1] } };

	WRITE_ONCE(me->work, NULL);
	/* Its APIC is off again, as after INIT. */
	if (rdmsr(MSR_IA32_APICBASE) & X2APIC_ENABLE)
		GUEST_ASSERT(!(x2apic_read_reg(APIC_SPIV) & APIC_SPIV_APIC_ENABLED));
	x2apic_enable();
	guest_ap_request(&request);
	__GUEST_ASSERT(!request.status.resp, "KVM answered %u, %u", request.status.resp,
		       request.status.info);
}

/*
 * Host
 */
static struct snp_ap *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, 1, VMSA(0), 9, vm_create_guest_memfd(s->vm, SZ_64K, 0), 5);
	snp_vm_launch(s);
	return &s->ap[1];
}

/* Bits 63:32 of @request toggle those of the APIC ID.  Returns GHCB_ERR_*, or 0. */
static u32 ap_request(struct snp_ap *ap, u64 request, gpa_t vmsa, u64 features, u32 err)
{
	const u64 info_1 = (u64)ap->vcpu->id << 32 ^ request;
	struct ghcb_status status;

	snp_step("AP Creation, request %lx, VMSA 0x%lx", info_1, vmsa);
	status = snp_order(ap->s, guest_ap_request, info_1, vmsa, features)->status;
	AP_ASSERT(ap, err == ANY || (err ? ghcb_refused(status, err) : !status.resp),
		  "request %lx, VMSA 0x%lx, features ^ %lx: KVM answered %u, %u, not error %u",
		  info_1, vmsa, features, status.resp, status.info, err);
	return status.resp ? status.info : 0;
}

/* @wait is for what KVM_RUN does next; no guest code has run since ->last. */
static void ap_check_next(struct snp_ap *ap, void (*wait)(struct snp_ap *), const char *otherwise)
{
	struct snp_ap *last = &ap->s->ap[ap->s->nr_aps];

	snp_wait_step("%s: wait for KVM_RUN of vCPU %u", ap->s->what, ap->vcpu->id);
	snp_wait_until(!ap_is_running(ap) || ap_heartbeat(ap) != ap->last ||
		       (ap != last && ap_starts(last)) || vcpu_get_stat(ap->vcpu, blocking));

	/* The VMSA of the last AP, which is not run, counts as that. */
	AP_ASSERT(ap, ap == last || !ap_starts(last), "ran a VMSA that is not its own");
	AP_ASSERT(ap, ap_heartbeat(ap) == ap->last, "%s", otherwise);
	wait(ap);
}

static void ap_sleep_in(struct snp_ap *ap, void (*work)(struct snp_ap_shared *me))
{
	ap->shared->data[0] = (u64)ap->vcpu->id << 32 | DESTROY;
	WRITE_ONCE(ap->shared->work, work);
	ap_wait_blocked(ap);
	WRITE_ONCE(ap->shared->work, NULL);
}

SNP_TEST_TRACKED

/* KVM_HC_KICK_CPU ends the next HLT of the vCPU, but not the sleep without a VMSA. */
static void start_unhalted(struct snp_ap *ap, gpa_t vmsa)
{
	ap_start(ap, vmsa);
	TEST_ASSERT_EQ(snp_order(ap->s, guest_unhalt, ap->vcpu->id, 0, 0)->ret, 0);
}

SNP_TEST(create_run_destroy, 1)
{
	static void (* const start[])(struct snp_ap *ap, gpa_t vmsa) = {
		ap_start, start_unhalted, ap_start_halted, ap_start_and_stop,
	};
	struct snp_ap *ap = setup(1);
	u32 i;

	ap->s->what = "AP Destroy";
	for (i = 0; i < ARRAY_SIZE(start); i++) {
		start[i](ap, VMSA(i));
		ap_destroy(ap);
		ap->last = ap_heartbeat(ap);
		ap_stop(ap);

		/* The signal that has ended KVM_RUN is nothing to run for. */
		ap_run(ap);
		ap_check_next(ap, ap_wait_blocked, "ran although it was destroyed");
		ap_stop(ap);
	}
}

SNP_TEST(create_self, 1)
{
	struct snp_ap *ap = setup(1);

	ap->s->what = "AP Create by the vCPU itself";
	ap_start(ap, VMSA(2));
	ap_prepare(ap, VMSA(4));
	ap->shared->data[0] = (u64)ap->vcpu->id << 32 | CREATE;
	ap->shared->data[1] = VMSA(4);
	WRITE_ONCE(ap->shared->work, guest_request_for_self);
	ap_wait_start(ap, 1);

	ap->s->what = "AP Destroy by the vCPU itself";
	ap_sleep_in(ap, guest_request_for_self);
	ap->last = ap_heartbeat(ap);
	ap_wake(ap);
	ap_check_next(ap, ap_wait_failed, "ran although it was destroyed");
}

/* On a new page, and again on the page that the vCPU had before. */
SNP_TEST(create_wakes, 1)
{
	static void (* const work[])(struct snp_ap_shared *me) = {
		guest_halt, guest_reset_hold, guest_request_for_self,
	};
	struct snp_ap *ap = setup(1);
	u64 starts;
	u32 i;

	ap->s->what = "AP Create of a vCPU that sleeps";
	ap_run(ap);
	ap_check_next(ap, ap_wait_blocked, "ran before AP Create");
	for (i = 0; i < 1 + 2 * ARRAY_SIZE(work); i++) {
		if (i)
			ap_sleep_in(ap, work[(i - 1) / 2]);
		starts = ap_starts(ap);
		ap_create(ap, VMSA(2 + i / 2));
		ap_wait_start(ap, starts);

		/* No hold is left that SIPI would end. */
		ap_stop(ap);
		ap_init_sipi(ap);
		ap_run(ap);
		ap_wait_alive(ap);
	}
}

SNP_TEST(refused_requests, 1)
{
	struct snp_ap *ap = setup(2);
	/* By what requests, VMPLs and APIC IDs differ from those that are good. */
	const u64 masks[] = {
		BIT(8), BIT(16), BIT(31), BIT_ULL(32), BIT_ULL(33), 0xaull << 32, 0xfcull << 32,
		BIT_ULL(40), BIT_ULL(48), BIT_ULL(63), ~3ull << 32,
	};
	const gpa_t vmsas[] = {
		0, SZ_4G, SZ_4G + SZ_2M, VMSA(0) + 1, VMSA(0) + 0x10, VMSA(0) + PAGE_SIZE / 2,
		BIT_ULL(ap->s->vm->pa_bits) + VMSA(0), BIT_ULL(52) + VMSA(0),
		BIT_ULL(63) + VMSA(0),
	};
	/* Two kinds of interrupt injection, SNP itself, VTOM, and one that is not there. */
	const u32 features[] = { 3, 4, 0, 1, 40 };
	u32 i, request, err;

	ap->s->what = "request that has to be refused";
	ap_start(ap, VMSA(2));
	ap_request(ap, DESTROY + 1, VMSA(0), 0, INVALID);
	for (request = ON_INIT; request <= DESTROY; request++) {
		for (i = 0; i < ARRAY_SIZE(masks); i++)
			ap_request(ap, request ^ masks[i], VMSA(0), 0, INVALID);
	}

	/* KVM may leave all features but interrupt injection to VMRUN. */
	err = ap_request(&ap[1], CREATE, VMSA(4), BIT(0), ANY);
	for (request = ON_INIT; request <= CREATE; request++) {
		for (i = 0; i < ARRAY_SIZE(vmsas); i++)
			ap_request(ap, request, vmsas[i], 0, INVALID);
		ap_request(&ap[1], request, VMSA(4), SNP_NO_FEATURES, GHCB_ERR_MISSING_INPUT);
		for (i = 0; i < ARRAY_SIZE(features); i++)
			ap_request(&ap[1], request, VMSA(4), BIT_ULL(features[i]),
				   i < 2 ? INVALID : err);
	}

	/* None of that has touched its target. */
	ap_check_unharmed(ap);
	AP_ASSERT(ap, ap_starts(ap) == 1, "was started, although KVM answered with an error");
}

/* Without memory for the first VMSA, KVM must not fall back to that of the launch. */
SNP_TEST(first_create_fails, 1)
{
	struct snp_ap *ap = setup(4);
	u32 i;

	ap->s->what = "first AP Create without private memory";
	vm_userspace_mem_region_add(ap->s->vm, VM_MEM_SRC_ANONYMOUS, GPA_NO_GMEM, 2, 1, 0);
	for (i = 0; i < 4; i++, ap++) {
		ap_request(ap, i & 1 ? ON_INIT : CREATE, i & 2 ? GPA_NO_SLOT : GPA_NO_GMEM, 0, 0);
		if (i & 1)
			ap_init_sipi(ap);
		ap_run(ap);
		ap_check_next(ap, ap_wait_failed, "ran a VMSA that is not its own");
		ap_check_rerun(ap);
		ap_start_and_stop(ap, VMSA(i));
	}
}

/*
 * When KVM has answered, the target does not use its old VMSA any more.  Linux counts
 * on that: on kexec it makes ordinary memory of the page at once.
 */
SNP_TEST(released_at_once, 2)
{
	/* Up to three, with a CPU each: a host that is a VM may be slow to kick one. */
	const u32 nr_running = min(snp_nr_cpus() - 1, 3), nr_rounds = 48 / nr_running;
	struct snp_ap *first = setup(nr_running + 1), *other = first + nr_running;
	struct snp_order *order = first->s->order;
	u32 i;

	for (i = 0; i < nr_running; i++)
		ap_start(first + i, VMSA(i));

	for (i = 0; i < nr_rounds * nr_running; i++) {
		struct snp_ap *ap = first + i % nr_running;
		const bool create = i & 1;
		const u64 request = (u64)ap->vcpu->id << 32 | (create ? CREATE : DESTROY);

		ap->s->what = create ? "AP Create of a vCPU that runs" :
				       "AP Destroy of a vCPU that runs";
		other->last = ap_starts(other);
		ap_prepare(other, VMSA(7));
		ap_wait_alive(ap);
		snp_order(ap->s, guest_replace, request, VMSA(7), ap - first);
		ap->last = order->ret;
		AP_ASSERT(ap, !order->status.resp, "KVM answered %u", order->status.resp);
		AP_ASSERT(ap, order->rmp == RMP_OK,
			  "was not stopped by AP Creation, RMPADJUST got %u", order->rmp);
		if (create) {
			ap_wait_count(ap, &other->shared->starts, other->last,
				      "does not run although it has a VMSA");
			ap_destroy(ap);
		}
		ap_wait_blocked(ap);
		AP_ASSERT(ap, ap_heartbeat(ap) == ap->last,
			  "was not stopped by AP Creation when that was answered");
		ap->last = ap_starts(ap);
		ap_create(ap, VMSA(i % nr_running));
		ap_wait_start(ap, ap->last);
	}
}

/* Another vCPU may create the BSP again, which then runs on a page of the guest, too. */
SNP_TEST(bsp_created_anew, 2)
{
	struct snp_ap *ap = setup(1), *bsp = ap - 1;
	struct snp_vm *s = ap->s;

	/* The AP executes orders now, in the main thread, which is to punch. */
	pin_task_to_cpu(bsp->thread, snp_nth_cpu(&s->cpus, 1));
	ap->shared->work = guest_serve;
	ap_create(ap, VMSA(4));
	AP_ASSERT(ap, ap_run_to_sync(ap), "does not run although it has a VMSA");
	s->server = ap;

	s->what = "punch under a BSP that was created again";
	while (snp_window_next(s)) {
		/* INIT alone starts a BSP. */
		ap_prepare(bsp, VMSA(2));
		ap_request(bsp, s->round % 2 ? CREATE : ON_INIT, VMSA(2), 0, 0);
		if (s->round % 2 == 0)
			ap_init(bsp);

		/* It begins at its entry point, and asks for orders. */
		AP_ASSERT(bsp, ap_run_to_sync(bsp), "does not run although it has a VMSA");
		s->order->fn = guest_spin;
		ap_run(bsp);
		ap_wait_alive(bsp);
		ap_punch_running(bsp, VMSA(2));
	}
}

SNP_TEST_MAIN
