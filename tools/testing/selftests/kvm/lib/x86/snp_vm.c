// SPDX-License-Identifier: GPL-2.0-only
#include "snp_vm.h"

static void guest_bsp(struct snp_order *order)
{
	for (;;) {
		order->nr_validated = this_sev_cpu()->nr_validated;
		GUEST_SYNC(0);
		order->fn(order);
	}
}

static void guest_ap(struct snp_ap_shared *me)
{
	void (*work)(struct snp_ap_shared *me);

	WRITE_ONCE(me->starts, me->starts + 1);
	for (;;) {
		WRITE_ONCE(me->heartbeat, me->heartbeat + 1);
		work = READ_ONCE(me->work);
		if (work)
			work(me);
	}
}

void guest_prepare(struct snp_order *order)
{
	order->rmp = snp_vmsa_prepare(order->arg[0], (void *)order->arg[1]);
}

void guest_create(struct snp_order *order)
{
	order->status = snp_ap_create(order->arg[0], order->arg[1]);
}

static cpu_set_t cpus;		/* before this task is pinned */

static void nop_signal(int sig)
{
}

struct snp_vm *snp_vm_create(u32 nr_aps)
{
	const struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = KVM_X86_SNP_VM,
	};
	struct snp_vm *s = calloc(1, sizeof(*s));
	gva_t order;
	u32 i;

	TEST_ASSERT(s && nr_aps <= SNP_MAX_APS, "No memory, or too many APs: %u", nr_aps);
	snp_step("create an SNP VM with %u APs", nr_aps);
	s->nr_aps = nr_aps;
	s->what = "setup";
	s->server = &s->ap[BSP];
	signal(SIGUSR1, nop_signal);

	/* Stay on one CPU, whose next page to allocate is the one that a punch frees. */
	if (!CPU_COUNT(&cpus))
		kvm_sched_getaffinity(0, sizeof(cpus), &cpus);
	s->cpus = cpus;
	pin_self_to_cpu(snp_nth_cpu(&cpus, BSP));

	s->vm = __vm_create(shape, nr_aps + 1, 4 * nr_aps);
	order = vm_alloc_shared(s->vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	s->order = addr_gva2hva(s->vm, order);

	for (i = 0; i <= nr_aps; i++) {
		struct snp_ap *ap = &s->ap[i];

		ap->s = s;
		ap->shared = (void *)(s->order + 1) + i * sizeof(*ap->shared);
		ap->vcpu = vm_vcpu_add(s->vm, i ? 3 * (nr_aps + 1 - i) : 0,
				       i ? (void *)guest_ap : (void *)guest_bsp);
		vcpu_args_set(ap->vcpu, 1, i == BSP ? order :
			      order + (u64)ap->shared - (u64)s->order);
	}
	kvm_arch_vm_finalize_vcpus(s->vm);
	for (i = 0; i <= nr_aps; i++)
		s->ap[i].cpu = vcpu_init_ghcb(s->ap[i].vcpu);
	snp_vm_init_vc(s->vm);
	return s;
}

void snp_add_slot(struct snp_vm *s, u32 slot, gpa_t gpa, u64 nr_pages, int fd, u64 pgoff)
{
	vm_mem_add(s->vm, VM_MEM_SRC_ANONYMOUS, gpa, slot, nr_pages, KVM_MEM_GUEST_MEMFD, fd,
		   pgoff * PAGE_SIZE);
	TEST_ASSERT_EQ(vm_phy_pages_alloc(s->vm, nr_pages, gpa, slot), gpa);
	virt_map(s->vm, gpa, gpa, nr_pages);
}

static void *ap_thread(void *arg)
{
	struct snp_ap *ap = arg;

	for (;;) {
		while (sem_wait(&ap->go))
			;
		if (ap->before_run)
			ap->before_run(ap);
		do {
			ap->err = __vcpu_run(ap->vcpu) ? errno : 0;
			if (ap->err == EINTR)
				WRITE_ONCE(ap->nr_eintr, ap->nr_eintr + 1);
		} while (ap->err == EINTR && !READ_ONCE(ap->stop));
		__atomic_store_n(&ap->running, false, __ATOMIC_RELEASE);
	}
	return NULL;
}

void snp_vm_prepare(struct snp_vm *s)
{
	/* A runnable AP would run its launch VMSA, one that is UNINITIALIZED spin. */
	struct kvm_mp_state waiting = { .mp_state = KVM_MP_STATE_HALTED };
	u32 i;

	for (i = 0; i <= s->nr_aps; i++) {
		struct snp_ap *ap = &s->ap[i];

		vcpu_init_vmsa(ap->vcpu, addr_gva2hva(s->vm, ap->cpu), i == BSP);
		if (i != BSP)
			vcpu_mp_state_set(ap->vcpu, &waiting);
		sem_init(&ap->go, 0, 0);
		kvm_pthread_create(&ap->thread, NULL, ap_thread, ap);
		pin_task_to_cpu(ap->thread, snp_nth_cpu(&s->cpus, i));
	}
}

void snp_vm_launch(struct snp_vm *s)
{
	struct userspace_mem_region *region;
	u64 nr_pages = 0;
	int ctr;

	snp_vm_prepare(s);
	hash_for_each(s->vm->regions.slot_hash, ctr, region, slot_node)
		nr_pages += sparsebit_num_set(region->protected_phy_pages);
	snp_step("launch the VM, %lu pages", nr_pages);
	vm_sev_launch(s->vm, snp_default_policy() | SNP_POLICY_SMT, NULL);
	TEST_ASSERT(ap_run_to_sync(s->server), "The BSP does not boot");
}

bool ap_has_synced(struct snp_ap *ap)
{
	struct ucall uc;

	/* An assertion with a stale EACCES would count as a skip. */
	errno = 0;
	if (ap->err)
		return false;
	if (get_ucall(ap->vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	return uc.cmd == UCALL_SYNC;
}

bool ap_run_to_sync(struct snp_ap *ap)
{
	do {
		ap->err = __vcpu_run(ap->vcpu) ? errno : 0;
	} while (ap->err == EINTR);
	return ap_has_synced(ap);
}

bool __snp_order(struct snp_vm *s, void (*fn)(struct snp_order *), u64 arg0, u64 arg1,
		 u64 arg2)
{
	s->order->fn = fn;
	s->order->arg[0] = arg0;
	s->order->arg[1] = arg1;
	s->order->arg[2] = arg2;
	return ap_run_to_sync(s->server);
}

struct snp_order *snp_order(struct snp_vm *s, void (*fn)(struct snp_order *), u64 arg0,
			    u64 arg1, u64 arg2)
{
	if (!__snp_order(s, fn, arg0, arg1, arg2))
		ap_fail(s->server);
	return s->order;
}

void ap_prepare(struct snp_ap *ap, gpa_t vmsa)
{
	enum rmp_result rmp;

	snp_wait_step("KVM_RUN, the guest makes a VMSA of 0x%lx", vmsa);
	rmp = snp_order(ap->s, guest_prepare, vmsa, ap->cpu, 0)->rmp;
	AP_ASSERT(ap, rmp == RMP_OK, "got %u from RMPADJUST of its VMSA", rmp);
}

void ap_create(struct snp_ap *ap, gpa_t vmsa)
{
	struct ghcb_status *status = &ap->s->order->status;

	ap_prepare(ap, vmsa);
	snp_step("AP Create of vCPU %u on 0x%lx", ap->vcpu->id, vmsa);
	snp_order(ap->s, guest_create, ap->vcpu->id, vmsa, 0);
	AP_ASSERT(ap, !status->resp, "KVM answered %u, %u", status->resp, status->info);
}

char ap_complaint[256];

bool ap_complain(struct snp_ap *ap, const char *fmt, ...)
{
	int len = sprintf(ap_complaint, "%.99s%s: vCPU %u ", ap->s->what,
			  !ap->s->first ? "" : ap->s->spte == COLD ? ", cold" : ", warm",
			  ap->vcpu->id);
	va_list args;

	va_start(args, fmt);
	vsnprintf(ap_complaint + len, sizeof(ap_complaint) - len, fmt, args);
	va_end(args);
	fprintf(stderr, "# %s\n", ap_complaint);
	return false;
}

void ap_run(struct snp_ap *ap)
{
	ap->stop = false;
	ap->running = true;
	sem_post(&ap->go);
}

void ap_stop(struct snp_ap *ap)
{
	snp_step("stop KVM_RUN of vCPU %u", ap->vcpu->id);
	WRITE_ONCE(ap->stop, true);
	ap->vcpu->run->immediate_exit = 1;
	while (ap_is_running(ap)) {
		pthread_kill(ap->thread, SIGUSR1);
		usleep(100);
	}
	ap->vcpu->run->immediate_exit = 0;
}

void ap_start(struct snp_ap *ap, gpa_t vmsa)
{
	u64 starts = ap_starts(ap);

	ap_create(ap, vmsa);
	ap_run(ap);
	ap_wait_start(ap, starts);
}

bool ap_has_failed(struct snp_ap *ap)
{
	struct kvm_run *run = ap->vcpu->run;

	/* Exit code -1, an invalid guest state, has 32 bits or 64. */
	return !ap->err && run->exit_reason == KVM_EXIT_FAIL_ENTRY &&
	       (run->fail_entry.hardware_entry_failure_reason == ~0ull ||
		run->fail_entry.hardware_entry_failure_reason == ~0u);
}

void ap_fail(struct snp_ap *ap)
{
	struct kvm_run *run = ap->vcpu->run;
	struct ucall uc;

	if (!ap->err && get_ucall(ap->vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	if (!ap->err && run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
		AP_ASSERT(ap, run->system_event.data[0] != GHCB_MSR_TERM_LAUNCH_VMSA,
			  "ran its launch VMSA");
	AP_ASSERT(ap, false, ": KVM_RUN ended in errno %d, exit reason %s", ap->err,
		  exit_reason_str(run->exit_reason));
	__builtin_unreachable();
}

void ap_wait_count(struct snp_ap *ap, u64 *count, u64 last, const char *otherwise)
{
	snp_wait_step("%s: wait for vCPU %u to run", ap->s->what, ap->vcpu->id);
	snp_wait_until(READ_ONCE(*count) != last || !ap_is_running(ap));
	if (READ_ONCE(*count) != last)
		return;
	AP_ASSERT(ap, !ap_has_failed(ap), "%s", otherwise);
	ap_fail(ap);
}

void ap_wait_start(struct snp_ap *ap, u64 starts)
{
	ap_wait_count(ap, &ap->shared->starts, starts, "does not run although it has a VMSA");
}

void ap_wait_alive(struct snp_ap *ap)
{
	ap_wait_count(ap, &ap->shared->heartbeat, ap_heartbeat(ap),
		      "does not run although it has a VMSA");
}

void ap_check_frozen(struct snp_ap *ap)
{
	AP_ASSERT(ap, ap_heartbeat(ap) == ap->last, "ran on after its VMSA was gone");
}

void ap_wait_failed(struct snp_ap *ap)
{
	snp_wait_step("%s: wait for KVM_RUN of vCPU %u to fail", ap->s->what, ap->vcpu->id);
	snp_wait_until(!ap_is_running(ap));
	if (!ap_has_failed(ap))
		ap_fail(ap);
}

void snp_punch(struct snp_vm *s, gpa_t gpa, u64 nr_pages)
{
	__snp_step(SNP_PUNCH, "# %s: punch 0x%lx, %lu pages\n", s->what, gpa, nr_pages);
	vm_guest_mem_punch_hole(s->vm, gpa, nr_pages * PAGE_SIZE);
}
