// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM refuses steps of an SNP launch that are wrong or out of order, that
 * these change nothing, and that LAUNCH_FINISH takes the state of vCPUs that stand still.
 */
#include <linux/sizes.h>

#include "snp_ap.h"
#include "snp_test.h"

#define PAGES			(SZ_4G + PAGE_SIZE)

/* Not updated by the library; the last page is shared. */
#define SPARE			(SZ_4G + SZ_1G)
#define NR_SPARE		4
#define PLAIN			(SZ_4G + SZ_2G)

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	s->what = "launch";
	snp_add_slot(s, 1, PAGES, 1, vm_create_guest_memfd(s->vm, PAGE_SIZE, 0), 0);
	vm_mem_add(s->vm, VM_MEM_SRC_ANONYMOUS, SPARE, 2, NR_SPARE, KVM_MEM_GUEST_MEMFD,
		   vm_create_guest_memfd(s->vm, NR_SPARE * PAGE_SIZE, 0), 0);
	vm_mem_set_private(s->vm, SPARE, (NR_SPARE - 1) * PAGE_SIZE);
	vm_userspace_mem_region_add(s->vm, VM_MEM_SRC_ANONYMOUS, PLAIN, 3, 1, 0);
	return s;
}

static void launch_until_finish(struct snp_vm *s)
{
	snp_may_damage();
	snp_vm_prepare(s);
	snp_vm_launch_start(s->vm, snp_default_policy() | SNP_POLICY_SMT);
	snp_vm_launch_update(s->vm);
}

/* @err is what errno has to be, or 0 for any. */
static void check_refused(struct snp_vm *s, const char *what, u32 cmd, void *arg, int err)
{
	int r;

	snp_step("%s: KVM has to refuse it", what);
	r = __vm_sev_ioctl(s->vm, cmd, arg);
	TEST_ASSERT(r < 0 && (!err || errno == err),
		    "%s: KVM answered KVM_MEMORY_ENCRYPT_OP %u with %d, errno %d, wanted %d", what,
		    cmd, r, errno, err);
	errno = 0;
}

static void check_fd(struct snp_vm *s, const char *what, u32 cmd, void *arg)
{
	const int fd = s->vm->arch.sev_fd;

	s->vm->arch.sev_fd = s->vm->fd;
	check_refused(s, what, cmd, arg, 0);
	s->vm->arch.sev_fd = fd;
}

static struct kvm_sev_snp_launch_update spare_page(struct snp_vm *s, u32 i)
{
	return (struct kvm_sev_snp_launch_update) {
		.gfn_start = SPARE / PAGE_SIZE + i,
		.uaddr = (u64)addr_gpa2hva(s->vm, SPARE),
		.len = PAGE_SIZE,
		.type = KVM_SEV_SNP_PAGE_TYPE_NORMAL,
	};
}

static void check_update_refused(struct snp_vm *s, u32 i, const char *what, int err)
{
	struct kvm_sev_snp_launch_update update = spare_page(s, i);

	check_refused(s, what, KVM_SEV_SNP_LAUNCH_UPDATE, &update, err);
}

static void check_finish_refused(struct snp_vm *s, const char *what)
{
	struct kvm_sev_snp_launch_finish finish = { };

	check_refused(s, what, KVM_SEV_SNP_LAUNCH_FINISH, &finish, EINVAL);
}

static void check_run_fails(struct snp_ap *ap)
{
	snp_step("KVM_RUN of vCPU %u, which was not launched", ap->vcpu->id);
	AP_ASSERT(ap, !ap_run_to_sync(ap), "ran without a launch");
	if (!ap_has_failed(ap))
		ap_fail(ap);
}

static void check_starts(struct snp_vm *s, struct kvm_sev_snp_launch_start start)
{
	const u32 cmd = KVM_SEV_SNP_LAUNCH_START;

	check_refused(s, "START without arguments", cmd, NULL, EFAULT);
	check_fd(s, "START for a file that is not /dev/sev", cmd, &start);
	start.flags = 1;
	check_refused(s, "START with a flag", cmd, &start, EINVAL);
	start.flags = 0;
	start.policy |= BIT_ULL(63);
	check_refused(s, "START with a policy bit that is reserved", cmd, &start, EINVAL);
	start.policy = 0;
	check_refused(s, "START without the policy bit that is always set", cmd, &start, EINVAL);
}

static void check_updates(struct snp_vm *s)
{
	const u64 gfn = SPARE / PAGE_SIZE, shared = gfn + NR_SPARE - 1, page = PAGE_SIZE;
	const u64 hva = (u64)addr_gpa2hva(s->vm, SPARE);
	enum { OK = KVM_SEV_SNP_PAGE_TYPE_NORMAL, VMSA = 2 };
	const struct {
		const char *what;
		struct kvm_sev_snp_launch_update update;
		int err;
	} rows[] = {
		{ "UPDATE with a flag", { gfn, hva, page, OK, .flags = 1 }, EINVAL },
		{ "UPDATE of half a page", { gfn, hva, page / 2, OK }, EINVAL },
		{ "UPDATE of a page and a byte", { gfn, hva, page + 1, OK }, EINVAL },
		{ "UPDATE of no type", { gfn, hva, page, 0 }, EINVAL },
		{ "UPDATE of a VMSA", { gfn, hva, page, VMSA }, EINVAL },
		{ "UPDATE of type 255", { gfn, hva, page, 255 }, EINVAL },
		{ "UPDATE in no memslot", { PLAIN / PAGE_SIZE + 1, hva, page, OK }, EINVAL },
		{ "UPDATE of a gfn that cannot be", { BIT_ULL(52), hva, page, OK }, EINVAL },
		{ "UPDATE of the last gfn", { ~0ull, hva, page, OK }, EINVAL },
		{ "UPDATE in a plain memslot", { PLAIN / PAGE_SIZE, hva, page, OK }, EINVAL },
		{ "UPDATE of a shared page", { shared, hva, page, OK }, EIO },
		{ "UPDATE from where nothing is", { gfn, page, page, OK }, EIO },
		{ "UPDATE from the kernel", { gfn, BIT_ULL(63), page, OK }, EIO },
		{ "UPDATE of no page", { gfn, hva, 0, OK }, EINVAL },
		{ "UPDATE from no address", { gfn, 0, page, OK }, EINVAL },
		{ "UPDATE from an unaligned address", { gfn, hva + 8, page, OK }, EINVAL },
	};
	struct kvm_sev_snp_launch_update update;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		check_refused(s, rows[i].what, KVM_SEV_SNP_LAUNCH_UPDATE, (void *)&rows[i].update,
			      rows[i].err);
	check_refused(s, "UPDATE without arguments", KVM_SEV_SNP_LAUNCH_UPDATE, NULL, EFAULT);

	/* What fails when the page belongs to the firmware already leaves it as it was. */
	update = spare_page(s, 0);
	check_fd(s, "UPDATE by a file that is not /dev/sev", KVM_SEV_SNP_LAUNCH_UPDATE, &update);
	vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update);
	check_update_refused(s, 0, "UPDATE of a page again", EIO);

	/* Up to the end of the memslot, or of what is private, and KVM says how far. */
	update = spare_page(s, 1);
	update.len = BIT_ULL(62);
	vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update);
	TEST_ASSERT(update.gfn_start == shared && update.len == BIT_ULL(62) - 2 * PAGE_SIZE,
		    "KVM answered a long UPDATE with the gfn 0x%llx, 0x%llx bytes left",
		    update.gfn_start, update.len);
}

SNP_TEST(wrong_steps, 1)
{
	struct kvm_sev_snp_launch_start start = {
		.policy = snp_default_policy() | SNP_POLICY_SMT,
	};
	struct kvm_sev_snp_launch_finish finish = { };
	struct kvm_pre_fault_memory range = { .gpa = SPARE, .size = PAGE_SIZE };
	struct kvm_sev_init init = { };
	struct snp_vm *s = setup(1);

	snp_vm_prepare(s);
	check_update_refused(s, 0, "UPDATE before START", EINVAL);
	check_finish_refused(s, "FINISH before START");
	check_run_fails(s->server);
	check_starts(s, start);
	vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_START, &start);

	check_refused(s, "INIT2 after START", KVM_SEV_INIT2, &init, 0);
	check_refused(s, "START again", KVM_SEV_SNP_LAUNCH_START, &start, EINVAL);
	check_refused(s, "UPDATE_VMSA of SEV-ES", KVM_SEV_LAUNCH_UPDATE_VMSA, NULL, 0);
	TEST_ASSERT(__vcpu_ioctl(s->server->vcpu, KVM_PRE_FAULT_MEMORY, &range) &&
		    errno == EOPNOTSUPP, "KVM answered KVM_PRE_FAULT_MEMORY with errno %d", errno);
	check_updates(s);
	snp_vm_launch_update(s->vm);
	check_run_fails(s->server);
	check_fd(s, "FINISH by a file that is not /dev/sev", KVM_SEV_SNP_LAUNCH_FINISH, &finish);
	check_refused(s, "FINISH without arguments", KVM_SEV_SNP_LAUNCH_FINISH, NULL, EFAULT);
	finish.flags = 1;
	check_refused(s, "FINISH with a flag", KVM_SEV_SNP_LAUNCH_FINISH, &finish, EINVAL);
	snp_vm_launch_finish(s->vm);

	check_refused(s, "START after FINISH", KVM_SEV_SNP_LAUNCH_START, &start, EINVAL);
	vm_mem_set_private(s->vm, SPARE, NR_SPARE * PAGE_SIZE);
	check_update_refused(s, NR_SPARE - 1, "UPDATE after FINISH", EIO);
	ap_sync(s->server);
	ap_start(&s->ap[1], PAGES);
	check_update_refused(s, NR_SPARE - 1, "UPDATE of a guest that runs", EIO);
	ap_check_unharmed(&s->ap[1]);
}

/* The second one would write to VMSAs that belong to the guest. */
SNP_TEST(finish_twice, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];

	launch_until_finish(s);
	snp_vm_launch_finish(s->vm);
	check_finish_refused(s, "FINISH again, before KVM_RUN");
	ap_sync(s->server);
	check_finish_refused(s, "FINISH of a guest that has run");
	ap_start(ap, PAGES);
	ap_stop(ap);
	check_finish_refused(s, "FINISH of a guest with a VMSA of its own");
	ap_run(ap);
	ap_wait_alive(ap);
}

static void *finish_thread(void *arg)
{
	struct kvm_sev_snp_launch_finish finish = { };
	struct snp_vm *s = arg;
	int r;

	/* A vCPU that is being created may be in the way. */
	do {
		r = __vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_FINISH, &finish);
	} while (r && errno == EBUSY);
	TEST_ASSERT(!r, KVM_IOCTL_ERROR(KVM_SEV_SNP_LAUNCH_FINISH, r));
	WRITE_ONCE(s->order->ret, true);
	return NULL;
}

SNP_TEST(run_beside_finish, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	pthread_t thread;
	u32 i;

	launch_until_finish(s);
	ap_run(ap);
	ap_wait_blocked(ap);
	kvm_pthread_create(&thread, NULL, finish_thread, s);

	/* KVM must wait for ap_stop() below.  Too short a look can only miss a bug. */
	for (i = 0; i < 100 && !READ_ONCE(s->order->ret); i++)
		usleep(1000);
	AP_ASSERT(ap, !READ_ONCE(s->order->ret) || READ_ONCE(ap->nr_eintr),
		  "was in KVM_RUN when KVM answered LAUNCH_FINISH");
	ap_stop(ap);
	snp_wait_step("%s: wait for LAUNCH_FINISH", s->what);
	kvm_pthread_join(thread, NULL);
	ap_sync(s->server);
	ap_start(ap, PAGES);
}

/* LAUNCH_FINISH beside a thread that counts what it does in an argument of the order. */
static void finish_beside(struct snp_vm *s, void *(*fn)(void *))
{
	pthread_t thread;

	launch_until_finish(s);
	kvm_pthread_create(&thread, NULL, fn, s);
	pin_task_to_cpu(thread, snp_nth_cpu(&s->cpus, 1));
	snp_wait_step("%s: wait for the other thread", s->what);
	snp_wait_until(READ_ONCE(s->order->arg[0]));
	finish_thread(s);
	kvm_pthread_join(thread, NULL);
}

static void guest_report(struct snp_order *order, u64 n)
{
	order->ret = n;
	GUEST_SYNC(0);
}

static void *regs_thread(void *arg)
{
	struct kvm_vcpu *vcpu = ((struct snp_vm *)arg)->server->vcpu;
	struct snp_order *order = ((struct snp_vm *)arg)->order;
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	regs.rip = (u64)guest_report;
	for (regs.rsi = 1; !__vcpu_ioctl(vcpu, KVM_SET_REGS, &regs); regs.rsi++)
		WRITE_ONCE(order->arg[0], regs.rsi);
	TEST_ASSERT(errno == EINVAL, "KVM answered KVM_SET_REGS with errno %d", errno);
	return NULL;
}

/* The guest starts with the registers that were set last. */
SNP_TEST(regs_beside_finish, 2)
{
	struct snp_vm *s = setup(0);

	finish_beside(s, regs_thread);
	ap_sync(s->server);
	TEST_ASSERT(s->order->ret == s->order->arg[0],
		    "KVM answered KVM_SET_REGS number %lu with success, the guest sees number %lu",
		    s->order->arg[0], s->order->ret);
}

/* KVM has no say any more in what the guest has of its own. */
SNP_TEST(msrs_after_finish, 1)
{
	struct snp_vm *s = setup(0);
	struct kvm_vcpu *vcpu = s->server->vcpu;
	u64 pat = vcpu_get_msr(vcpu, MSR_IA32_CR_PAT);

	snp_vm_launch(s);
	TEST_ASSERT(_vcpu_set_msr(vcpu, MSR_IA32_CR_PAT, pat) != 1,
		    "KVM answered KVM_SET_MSRS of an encrypted vCPU with success");
}

static struct snp_ap created[64];

static void *create_thread(void *arg)
{
	struct snp_vm *s = arg;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(created) && !READ_ONCE(s->order->ret); i++) {
		created[i].s = s;
		created[i].vcpu = __vm_vcpu_add(s->vm, 100 + i);
		WRITE_ONCE(s->order->arg[0], i + 1);
	}
	return NULL;
}

/* A vCPU that is created meanwhile is launched, or cannot be run. */
SNP_TEST(create_beside_finish, 2)
{
	struct snp_vm *s = setup(1);
	struct kvm_regs regs;
	u32 i, nr_launched = 0;

	finish_beside(s, create_thread);
	for (i = 0; i < s->order->arg[0]; i++) {
		if (__vcpu_ioctl(created[i].vcpu, KVM_GET_REGS, &regs)) {
			AP_ASSERT(&created[i], errno == EINVAL && nr_launched++ == i,
				  "is launched, another is not");
			continue;
		}
		ap_set_mp_state(&created[i], KVM_MP_STATE_RUNNABLE);
		check_run_fails(&created[i]);
	}
	AP_ASSERT(&created[0], nr_launched, "was there before, and is not launched");
	ap_sync(s->server);
	ap_start(&s->ap[1], PAGES);
}

SNP_TEST_MAIN
