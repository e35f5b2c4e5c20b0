// SPDX-License-Identifier: GPL-2.0-only
/*
 * More that can happen to an AP, and the windows in which it loses its VMSA.
 */
#include "sev_vc.h"
#include <linux/sizes.h>

#include "snp_ap.h"

/* How long to watch a heartbeat that must not be there (ns). */
#define WATCH_NS	1000000

/* Windows of each kind that have to be proven, and tries to get there. */
#define NR_WINDOWS	2
#define NR_TRIES	(4 * NR_WINDOWS)

void guest_nop(struct snp_order *order)
{
}

void guest_touch(struct snp_order *order)
{
	READ_ONCE(*(u8 *)order->arg[0]);
}

void guest_release(struct snp_order *order)
{
	order->rmp = snp_vmsa_release(order->arg[0]);
}

void guest_ap_request(struct snp_order *order)
{
	struct ghcb *ghcb = ghcb_begin();
	u64 *arg = order->arg;

	if (arg[2] != SNP_NO_FEATURES)
		ghcb_set(ghcb, rax, arg[2] ^ snp_sev_features());
	order->status = ghcb_exit(ghcb, SVM_VMGEXIT_AP_CREATION, arg[0], arg[1]);
}

void guest_unhalt(struct snp_order *order)
{
	order->ret = kvm_hypercall(KVM_HC_KICK_CPU, 0, order->arg[0], 0, 0);
}

void guest_halt(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->halts, me->halts + 1);
	asm volatile("hlt" ::: "memory");
}

void ap_sync(struct snp_ap *ap)
{
	if (!ap_run_to_sync(ap))
		ap_fail(ap);
}

void ap_destroy(struct snp_ap *ap)
{
	struct ghcb_status status;

	snp_step("AP Destroy of vCPU %u", ap->vcpu->id);
	status = snp_order(ap->s, guest_ap_request,
			   (u64)ap->vcpu->id << 32 | SVM_VMGEXIT_AP_DESTROY, 0, 0)->status;
	AP_ASSERT(ap, !status.resp, "could not be destroyed, KVM answered %u, %u", status.resp,
		  status.info);
	if (ap_is_running(ap))
		ap_wait_blocked(ap);
}

static void guest_init(struct snp_order *order)
{
	guest_send_init(order->arg[0], order->arg[1]);
}

void ap_init(struct snp_ap *ap)
{
	snp_step("INIT to vCPU %u", ap->vcpu->id);
	snp_order(ap->s, guest_init, ap->vcpu->id, false, 0);
}

void ap_init_sipi(struct snp_ap *ap)
{
	snp_step("INIT and SIPI to vCPU %u", ap->vcpu->id);
	snp_order(ap->s, guest_init, ap->vcpu->id, true, 0);
}

void ap_start_halted(struct snp_ap *ap, gpa_t vmsa)
{
	u64 halts = READ_ONCE(ap->shared->halts);

	WRITE_ONCE(ap->shared->work, guest_halt);
	ap_start(ap, vmsa);
	ap_wait_count(ap, &ap->shared->halts, halts, "does not run although it has a VMSA");
	ap_wait_blocked(ap);
	WRITE_ONCE(ap->shared->work, NULL);
}

void ap_set_mp_state(struct snp_ap *ap, u32 mp_state)
{
	struct kvm_mp_state state = { .mp_state = mp_state };

	vcpu_mp_state_set(ap->vcpu, &state);
}

void ap_wake(struct snp_ap *ap)
{
	ap_stop(ap);
	ap_set_mp_state(ap, KVM_MP_STATE_RUNNABLE);
	ap_run(ap);
}

void ap_wait_blocked(struct snp_ap *ap)
{
	snp_wait_step("%s: wait for vCPU %u to block", ap->s->what, ap->vcpu->id);
	snp_wait_until(vcpu_get_stat(ap->vcpu, blocking) || !ap_is_running(ap));
	if (!ap_is_running(ap))
		ap_fail(ap);
}

void ap_check_unharmed(struct snp_ap *ap)
{
	/* Give it the time to notice. */
	usleep(100);
	ap_wait_count(ap, &ap->shared->heartbeat, ap_heartbeat(ap),
		      "lost its VMSA, which nobody touched");
	if (!ap_is_running(ap))
		ap_wait_count(ap, &ap->shared->heartbeat, ap_heartbeat(ap),
			      "lost its VMSA, which nobody touched");
}

void ap_check_rerun(struct snp_ap *ap)
{
	struct kvm_run *run = ap->vcpu->run;
	const u32 no_cpu = -1;

	ap->last = ap_heartbeat(ap);
	run->exit_reason = KVM_EXIT_UNKNOWN;
	run->fail_entry.cpu = no_cpu;

	ap_run(ap);
	ap_wait_failed(ap);
	AP_ASSERT(ap, run->fail_entry.cpu != no_cpu, ": KVM_RUN ended in FAIL_ENTRY on no CPU");
	ap_check_frozen(ap);
}

void snp_punch_file(struct snp_vm *s, int fd, u64 pgoff, u64 nr_pages)
{
	__snp_step(SNP_PUNCH, "# %s: punch page 0x%lx of file %d, %lu pages\n", s->what, pgoff,
		   fd, nr_pages);
	kvm_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pgoff * PAGE_SIZE,
		      nr_pages * PAGE_SIZE);
}

/*
 * Windows
 */
bool snp_window_next(struct snp_vm *s)
{
	if (s->spte == COLD && !snp_can_zap()) {
		s->spte = WARM;
	} else if (s->nr_proven >= NR_WINDOWS) {
		s->spte = (s->spte + 1) % NR_SPTES;
		s->round = 0;
		s->nr_proven = 0;
		if (s->spte == COLD)
			return false;
	}
	TEST_ASSERT(s->round < NR_TRIES, "%s, %s: never entered its window", s->what,
		    s->spte == COLD ? "cold" : "warm");
	s->round++;
	return true;
}

void snp_set_spte(struct snp_vm *s, gpa_t gpa, u64 nr_pages)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = nr_pages * PAGE_SIZE };

	if (s->spte == COLD) {
		snp_zap(s, gpa, nr_pages);
	} else {
		/* The guest cannot read a VMSA in use, to fault it in. */
		snp_wait_step("map %lu pages from 0x%lx on", nr_pages, gpa);
		vcpu_ioctl(s->server->vcpu, KVM_PRE_FAULT_MEMORY, &range);
	}
}

void snp_window_open(struct snp_vm *s, struct snp_ap *first, u32 nr)
{
	u32 i;

	s->first = first;
	s->nr = nr;
	s->nr_flushes = vm_get_stat(s->vm, remote_tlb_flush_requests);
	for (i = 0; i < nr; i++) {
		if (ap_is_running(&first[i]) && !vcpu_get_stat(first[i].vcpu, blocking))
			ap_wait_alive(&first[i]);
	}
}

static void sample_heartbeats(struct snp_vm *s)
{
	u32 i;

	for (i = 0; i < s->nr; i++)
		s->first[i].last = ap_heartbeat(&s->first[i]);
}

static void prove_window(struct snp_vm *s)
{
	bool flushed = vm_get_stat(s->vm, remote_tlb_flush_requests) != s->nr_flushes;

	s->nr_proven += flushed == (s->spte == WARM);
}

void snp_window_note(struct snp_vm *s)
{
	sample_heartbeats(s);
	prove_window(s);
}

void snp_window_close(struct snp_vm *s)
{
	struct timespec start;
	u32 i;

	sample_heartbeats(s);

	/* A vCPU that was not kicked leaves the guest with the next tick of the host. */
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (i = 0; i < s->nr; i++)
			ap_check_frozen(&s->first[i]);
	} while (timespec_to_ns(timespec_elapsed(start)) < WATCH_NS);

	prove_window(s);
	for (i = 0; i < s->nr; i++) {
		struct snp_ap *ap = &s->first[i];

		snp_wait_step("%s: wait for KVM_RUN of vCPU %u to fail", s->what, ap->vcpu->id);
		snp_wait_until(!ap_is_running(ap) || ap_heartbeat(ap) != ap->last);
		ap_check_frozen(ap);
		ap_wait_failed(ap);
	}
}

void ap_punch_running(struct snp_ap *ap, gpa_t vmsa)
{
	snp_set_spte(ap->s, vmsa, 1);
	snp_window_open(ap->s, ap, 1);
	snp_punch(ap->s, vmsa, 1);
	snp_window_close(ap->s);
}

void ap_punch_idle(struct snp_ap *ap, gpa_t vmsa)
{
	snp_set_spte(ap->s, vmsa, 1);
	snp_window_open(ap->s, ap, 1);
	snp_punch(ap->s, vmsa, 1);
	snp_window_note(ap->s);
}

void snp_check_identity(struct snp_ap *ap, gpa_t pages,
			void (*leave)(struct snp_ap *ap, gpa_t vmsa),
			void (*comeback)(struct snp_ap *ap))
{
	struct snp_ap *other = ap + 1;
	int i, j;

	ap->s->what = "punched page reused as the VMSA of another vCPU";
	for (i = 0; i < 4; i++) {
		leave(ap, pages + i * PAGE_SIZE);
		snp_punch(ap->s, pages + 4 * PAGE_SIZE, 4);
		snp_punch(ap->s, pages + i * PAGE_SIZE, 1);
		ap->last = ap_heartbeat(ap);
		other->last = ap_heartbeat(other);

		/* Most likely the page that was freed last is one of these. */
		for (j = 4; j < 8; j++)
			ap_prepare(other, pages + j * PAGE_SIZE);

		comeback(ap);
		snp_wait_step("%s: wait for KVM_RUN", ap->s->what);
		snp_wait_until(!ap_is_running(ap) || ap_heartbeat(other) != other->last);
		AP_ASSERT(ap, ap_heartbeat(other) == other->last, "runs the VMSA of vCPU %u",
			  other->vcpu->id);
		ap_wait_failed(ap);
		ap_check_frozen(ap);
	}
}

void ap_start_and_stop(struct snp_ap *ap, gpa_t vmsa)
{
	ap_start(ap, vmsa);
	ap_stop(ap);
}

static void *storm_thread(void *arg)
{
	struct snp_storm *storm = arg;
	const u64 offset = storm->pgoff * PAGE_SIZE, len = storm->nr_pages * PAGE_SIZE;

	for (;;) {
		if (storm->fill)
			kvm_fallocate(storm->fd, FALLOC_FL_KEEP_SIZE, offset, len);
		kvm_fallocate(storm->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
		WRITE_ONCE(storm->nr_punches, storm->nr_punches + 1);
		pthread_testcancel();
	}
	return NULL;
}

void snp_storm_start(struct snp_vm *s, struct snp_storm *storm)
{
	snp_step("%s: start to punch %lu pages over and over", s->what, storm->nr_pages);
	kvm_pthread_create(&storm->thread, NULL, storm_thread, storm);
	pin_task_to_cpu(storm->thread, snp_nth_cpu(&s->cpus, s->nr_aps + 1));
	snp_wait_until(READ_ONCE(storm->nr_punches));
}

void snp_storm_stop(struct snp_storm *storm)
{
	snp_step("stop the storm of punches");
	kvm_pthread_cancel_join(storm->thread);
}

void snp_check_tracked(void)
{
	const gpa_t pages = SZ_4G + PAGE_SIZE;
	struct snp_vm *s = snp_vm_create(2);

	snp_add_slot(s, 1, pages, 8, vm_create_guest_memfd(s->vm, 8 * PAGE_SIZE, 0), 0);
	snp_vm_launch(s);
	snp_check_identity(&s->ap[1], pages, ap_start_and_stop, ap_run);
}
