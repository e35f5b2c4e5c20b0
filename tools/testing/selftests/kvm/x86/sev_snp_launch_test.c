// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM refuses steps of an SNP launch that are wrong or out of order, that
 * these change nothing, and that LAUNCH_FINISH takes the state of vCPUs that stand still.
 */
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "snp_ap.h"
#include "snp_test.h"

#define PAGES			(SZ_4G + PAGE_SIZE)

/* Not updated by the library; the last page is shared. */
#define SPARE			(SZ_4G + SZ_1G)
#define NR_SPARE		4
#define SPARE_SLOT		2

#define PLAIN			(SZ_4G + SZ_2G)

static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	s->what = "launch";
	snp_add_slot(s, 1, PAGES, 1, vm_create_guest_memfd(s->vm, PAGE_SIZE, 0), 0);
	vm_mem_add(s->vm, VM_MEM_SRC_ANONYMOUS, SPARE, SPARE_SLOT, NR_SPARE, KVM_MEM_GUEST_MEMFD,
		   vm_create_guest_memfd(s->vm, NR_SPARE * PAGE_SIZE, 0), 0);
	vm_mem_set_private(s->vm, SPARE, (NR_SPARE - 1) * PAGE_SIZE);
	vm_userspace_mem_region_add(s->vm, VM_MEM_SRC_ANONYMOUS, PLAIN, 3, 1, 0);
	return s;
}

static void launch_until_finish(struct snp_vm *s)
{
	snp_vm_prepare(s);
	snp_vm_launch_start(s->vm, snp_default_policy() | SNP_POLICY_SMT);
	snp_vm_launch_update(s->vm);
}

static void boot(struct snp_vm *s)
{
	TEST_ASSERT(ap_run_to_sync(s->server), "The BSP does not boot");
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

static void check_starts(struct snp_vm *s)
{
	const u64 policy = snp_default_policy() | SNP_POLICY_SMT;
	const struct {
		const char *what;
		struct kvm_sev_snp_launch_start start;
	} rows[] = {
		{ "START with a flag", { .policy = policy, .flags = 1 } },
		{ "START without the policy bit that is always set",
		  { .policy = policy & ~SNP_POLICY_RSVD_MBO } },
		{ "START with a policy bit that is reserved", { .policy = policy | BIT_ULL(63) } },
	};
	struct kvm_sev_snp_launch_start start = { .policy = policy };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		check_refused(s, rows[i].what, KVM_SEV_SNP_LAUNCH_START, (void *)&rows[i].start,
			      EINVAL);
	check_refused(s, "START without arguments", KVM_SEV_SNP_LAUNCH_START, NULL, EFAULT);
	check_fd(s, "START for a file that is not /dev/sev", KVM_SEV_SNP_LAUNCH_START, &start);
}

static void check_updates(struct snp_vm *s)
{
	const u64 gfn = SPARE / PAGE_SIZE, shared = gfn + NR_SPARE - 1, page = PAGE_SIZE;
	const u64 hva = (u64)addr_gpa2hva(s->vm, SPARE);
	enum { OK = KVM_SEV_SNP_PAGE_TYPE_NORMAL, VMSA = 2 };
	const struct {
		const char *what;
		u64 gfn, uaddr, len;
		u8 type;
		u16 flags;
		int err;
	} rows[] = {
		{ "UPDATE with a flag", gfn, hva, page, OK, 1, EINVAL },
		{ "UPDATE of half a page", gfn, hva, page / 2, OK, 0, EINVAL },
		{ "UPDATE of a page and a byte", gfn, hva, page + 1, OK, 0, EINVAL },
		{ "UPDATE of no type", gfn, hva, page, 0, 0, EINVAL },
		{ "UPDATE of a VMSA", gfn, hva, page, VMSA, 0, EINVAL },
		{ "UPDATE of an unknown type", gfn, hva, page, 7, 0, EINVAL },
		{ "UPDATE of type 255", gfn, hva, page, 255, 0, EINVAL },
		{ "UPDATE in no memslot", PLAIN / PAGE_SIZE + 1, hva, page, OK, 0, EINVAL },
		{ "UPDATE of a gfn that cannot be", BIT_ULL(52), hva, page, OK, 0, EINVAL },
		{ "UPDATE of the last gfn", ~0ull, hva, page, OK, 0, EINVAL },
		{ "UPDATE in a plain memslot", PLAIN / PAGE_SIZE, hva, page, OK, 0, EINVAL },
		{ "UPDATE of a shared page", shared, hva, page, OK, 0, EIO },
		{ "UPDATE from where nothing is", gfn, page, page, OK, 0, EIO },
		{ "UPDATE from the kernel", gfn, BIT_ULL(63), page, OK, 0, EIO },
		{ "UPDATE of no page", gfn, hva, 0, OK, 0, EINVAL },
		{ "UPDATE from no address", gfn, 0, page, OK, 0, EINVAL },
		{ "UPDATE from an unaligned address", gfn, hva + 8, page, OK, 0, EINVAL },
	};
	struct kvm_sev_snp_launch_update update;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		update = (struct kvm_sev_snp_launch_update) {
			.gfn_start = rows[i].gfn,
			.uaddr = rows[i].uaddr,
			.len = rows[i].len,
			.type = rows[i].type,
			.flags = rows[i].flags,
		};
		check_refused(s, rows[i].what, KVM_SEV_SNP_LAUNCH_UPDATE, &update, rows[i].err);
	}
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

static void check_finishes(struct snp_vm *s)
{
	struct kvm_sev_snp_launch_finish finish = { .flags = 1 };

	check_refused(s, "FINISH with a flag", KVM_SEV_SNP_LAUNCH_FINISH, &finish, EINVAL);
	check_refused(s, "FINISH without arguments", KVM_SEV_SNP_LAUNCH_FINISH, NULL, EFAULT);
	finish.flags = 0;
	check_fd(s, "FINISH by a file that is not /dev/sev", KVM_SEV_SNP_LAUNCH_FINISH, &finish);
}

SNP_TEST(wrong_steps, 1)
{
	struct kvm_sev_snp_launch_start start = { .policy = snp_default_policy() };
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	struct kvm_sev_init init = { };

	snp_vm_prepare(s);
	check_update_refused(s, 0, "UPDATE before START", EINVAL);
	check_finish_refused(s, "FINISH before START");
	check_run_fails(s->server);
	check_starts(s);
	snp_vm_launch_start(s->vm, snp_default_policy() | SNP_POLICY_SMT);

	check_refused(s, "INIT2 after START", KVM_SEV_INIT2, &init, 0);
	check_refused(s, "START again", KVM_SEV_SNP_LAUNCH_START, &start, EINVAL);
	check_refused(s, "UPDATE_VMSA of SEV-ES", KVM_SEV_LAUNCH_UPDATE_VMSA, NULL, 0);
	check_updates(s);
	snp_vm_launch_update(s->vm);
	check_run_fails(s->server);
	check_finishes(s);
	snp_vm_launch_finish(s->vm);

	check_refused(s, "START after FINISH", KVM_SEV_SNP_LAUNCH_START, &start, EINVAL);
	vm_mem_set_private(s->vm, SPARE, NR_SPARE * PAGE_SIZE);
	check_update_refused(s, NR_SPARE - 1, "UPDATE after FINISH", EIO);
	boot(s);
	ap_start(ap, PAGES);
	check_update_refused(s, NR_SPARE - 1, "UPDATE of a guest that runs", EIO);
	ap_check_unharmed(ap);
}

/* The second one would write to VMSAs that belong to the guest. */
SNP_TEST(finish_twice, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];

	launch_until_finish(s);
	snp_vm_launch_finish(s->vm);
	check_finish_refused(s, "FINISH again, before KVM_RUN");
	boot(s);
	check_finish_refused(s, "FINISH of a guest that has run");
	ap_start(ap, PAGES);
	ap_stop(ap);
	check_finish_refused(s, "FINISH of a guest with a VMSA of its own");
	ap_run(ap);
	ap_wait_alive(ap);
}

static void *finish_thread(void *arg)
{
	struct snp_vm *s = arg;

	snp_vm_launch_finish(s->vm);
	WRITE_ONCE(s->order->ret, true);
	return NULL;
}

SNP_TEST(run_beside_finish, 1)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	pthread_t thread;
	bool finished;
	u32 i;

	launch_until_finish(s);
	ap_run(ap);
	ap_wait_blocked(ap);
	kvm_pthread_create(&thread, NULL, finish_thread, s);

	/* Nobody but this thread ends KVM_RUN, i.e. an early end of the wait does no harm. */
	for (i = 0; i < 100 && !READ_ONCE(s->order->ret); i++)
		usleep(1000);
	finished = READ_ONCE(s->order->ret);
	AP_ASSERT(ap, !finished || READ_ONCE(ap->nr_eintr),
		  "was in KVM_RUN all the time when KVM answered LAUNCH_FINISH");
	ap_stop(ap);
	snp_wait_step("%s: wait for LAUNCH_FINISH", s->what);
	pthread_join(thread, NULL);

	boot(s);
	ap_start(ap, PAGES);
}

static void guest_report(struct snp_order *order, u64 n)
{
	order->ret = n;
	GUEST_SYNC(0);
}

/* Set registers until KVM refuses it. */
static void *regs_thread(void *arg)
{
	struct snp_order *order = ((struct snp_vm *)arg)->order;
	struct kvm_vcpu *vcpu = ((struct snp_vm *)arg)->server->vcpu;
	struct kvm_regs regs;

	for (vcpu_regs_get(vcpu, &regs); ; WRITE_ONCE(order->arg[0], regs.rsi)) {
		regs.rsi++;
		if (__vcpu_ioctl(vcpu, KVM_SET_REGS, &regs))
			break;
	}
	TEST_ASSERT(errno == EINVAL, "KVM answered KVM_SET_REGS with errno %d", errno);
	return NULL;
}

/* The guest starts with the registers that were set last. */
SNP_TEST(regs_beside_finish, 1)
{
	struct snp_vm *s = setup(0);
	struct snp_order *order = s->order;
	pthread_t thread;

	launch_until_finish(s);
	vcpu_arch_set_entry_point(s->server->vcpu, guest_report);
	kvm_pthread_create(&thread, NULL, regs_thread, s);
	snp_wait_step("%s: wait for KVM_SET_REGS", s->what);
	snp_wait_until(READ_ONCE(order->arg[0]) > 10);
	snp_vm_launch_finish(s->vm);
	pthread_join(thread, NULL);
	boot(s);
	TEST_ASSERT(order->ret == order->arg[0],
		    "The guest starts with register value %lu, but %lu was set before it was launched",
		    order->ret, order->arg[0]);
}

static struct snp_ap created[64];
static u32 nr_created;

static void *create_thread(void *arg)
{
	struct snp_vm *s = arg;

	while (!READ_ONCE(s->order->ret) && nr_created < ARRAY_SIZE(created)) {
		created[nr_created].s = s;
		created[nr_created].vcpu = __vm_vcpu_add(s->vm, 100 + nr_created);
		WRITE_ONCE(nr_created, nr_created + 1);
	}
	return NULL;
}

/* A vCPU that is created meanwhile is launched, or cannot be run. */
SNP_TEST(create_beside_finish, 1)
{
	struct snp_vm *s = setup(1);
	u32 i, nr_before, nr_launched = 0;
	struct kvm_regs regs;
	pthread_t thread;

	launch_until_finish(s);
	kvm_pthread_create(&thread, NULL, create_thread, s);
	snp_wait_step("%s: wait for a vCPU", s->what);
	snp_wait_until(READ_ONCE(nr_created) > 1);
	nr_before = READ_ONCE(nr_created);
	finish_thread(s);
	pthread_join(thread, NULL);

	for (i = 0; i < nr_created; i++) {
		if (__vcpu_ioctl(created[i].vcpu, KVM_GET_REGS, &regs)) {
			TEST_ASSERT(nr_launched++ == i, "vCPU %u is launched, one before it is not",
				    created[i].vcpu->id);
			continue;
		}
		ap_set_mp_state(&created[i], KVM_MP_STATE_RUNNABLE);
		check_run_fails(&created[i]);
	}
	TEST_ASSERT(nr_launched >= nr_before, "%u vCPUs are launched, %u were there before",
		    nr_launched, nr_before);
	boot(s);
	ap_start(&s->ap[1], PAGES);
}

SNP_TEST_MAIN
