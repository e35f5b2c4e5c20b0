// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM never runs a vCPU on a VMSA whose page is gone.
 *
 * An SNP guest provides the VMSA of an AP, a page of its private memory, and has
 * the AP created on it.  The host may take the page away at any time, e.g. by
 * punching a hole in the guest_memfd.  The vCPU has to be out of the guest, and
 * to stay out, before the page is freed: the CPU refuses to give up a page that
 * is in use as a VMSA, KVM frees it regardless, and the host dies of an RMP
 * violation when the page is next written to.
 *
 * The contract, for each way to lose a VMSA: KVM_RUN of that vCPU fails cleanly,
 * every time, until the guest provides a new VMSA, and nobody else notices.
 *
 * Whether the punch finds a SPTE for the VMSA decides which mechanism protects
 * the page.  If there is one ("warm"), zapping it flushes TLBs, which kicks all
 * vCPUs and can hide that nothing else does.  If there is none ("cold"), then
 * only a kick that is due to the VMSA itself gets the vCPU out of the guest.
 * Each punch is done both ways, and KVM's statistics have to prove which way it
 * was.  Where there are enough CPUs, nobody takes a vCPU's from it meanwhile.
 *
 * The sharpest witness is a counter in shared memory that each vCPU increments:
 * from the moment that fallocate() has returned, it has to stand still.  Verdicts
 * are based on behavior alone, and on what the kernel logs if that is readable.
 */
#include <pthread.h>
#include <signal.h>

#include <linux/kvm_para.h>
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "snp.h"
#include "snp_case.h"

#define NR_APS_MAX	32
#define BSP		0

/*
 * How long to wait for what has to happen, by default 20 s: generous enough for an
 * overcommitted host and well below the timeout of a case.
 */
#define TIMEOUT_NS	(snp_case_timeout_s() * NSEC_PER_SEC / 3)

/* How long to look for what must not happen. */
#define WATCH_NS	500000ull

/* What the last exit may have left in struct kvm_run. */
#define STALE_BYTE	0x5a
#define STALE_CPU	0x5a5a5a5au

/*
 * Memslots, none of them at offset 0 of its file, none with a gfn that equals
 * its offset in the file, none aligned to 2M.  A and A2 are neighbors in one
 * file, far enough from its start that the difference between a gfn and its
 * offset is negative, and that the offset does not fit in 32 bits.  Neither does
 * A's gfn, where the guest has that many address bits.
 */
#define FAR		(BIT_ULL(A_BITS + 1) / PAGE_SIZE + 2 * SZ_4G / PAGE_SIZE)
#define A_BITS		45
#define NR_TAIL_PAGES	59
enum {
	SLOT_A,
	SLOT_A2,
	SLOT_B,
	SLOT_C,
	SLOT_DATA,
	SLOT_MANY,
	NR_SLOTS,
};

static struct slot {
	u32 id;
	gpa_t gpa;
	u64 nr_pages;
	int file;
	u64 pgoff;
	int fd;
} slots[NR_SLOTS] = {
	[SLOT_A]	= { 10, SZ_4G + 0 * SZ_2M + 0x3000, 8, 0, FAR + 5 },
	[SLOT_A2]	= { 11, SZ_4G + 4 * SZ_2M + 0x7000, 4, 0, FAR + 13 },
	[SLOT_B]	= { 12, SZ_4G + 8 * SZ_2M + 0x1000, 2, 1, 2 },
	[SLOT_C]	= { 13, SZ_4G + 12 * SZ_2M + 0x5000, 2, 2, 3 },
	[SLOT_DATA]	= { 14, SZ_4G + 16 * SZ_2M + 0x9000, 1, 3, 1 },
	[SLOT_MANY]	= { 15, SZ_4G + 20 * SZ_2M + 0x1000, NR_APS_MAX, 4, 1 },
};

/*
 * A page is named by its slot and index, and has the same gva as gpa.  Where A is
 * depends on the VM.
 */
#define PAGE(_slot, _index)	(slots[SLOT_##_slot].gpa + (_index) * PAGE_SIZE)

/* In no memslot, and in one that has no private memory. */
#define GPA_NO_SLOT		(SZ_4G + 32 * SZ_2M + 0x1000)
#define GPA_NO_GMEM		(SZ_4G + 40 * SZ_2M + 0x1000)
#define SLOT_ID_NO_GMEM		20

/* For a memslot that there must not be. */
#define GPA_REFUSED		(SZ_4G + 48 * SZ_2M + 0x1000)
#define SLOT_ID_REFUSED		21

/* Aligned to 2M and no more. */
#define GPA_2M			(SZ_4G + SZ_2M)

enum ap_mode {
	AP_SPIN,
	AP_HALT,
	AP_USE_DATA,
	AP_USE_STACK,
	AP_STAY_IN_NMI,
	AP_CREATE_BSP,
	AP_CREATE_SELF,
	AP_DESTROY_SELF,
};

enum bsp_op {
	OP_NOP,
	OP_TOUCH,
	OP_PREPARE,
	OP_RELEASE,
	OP_CREATE,
	OP_CREATE_TWICE,
	OP_CREATE_ON_INIT,
	OP_DESTROY,
	OP_RAW_CREATION,
	OP_CREATE_WITHOUT_RAX,
	OP_INIT,
	OP_INIT_SIPI,
	OP_REPLACE,
	OP_UNHALT,
	OP_SPIN,
};

/* Shared between host and guest. */
struct shared {
	u64 op, arg[3], ret;
	u64 nr_unvalidated;
	u64 seen;
	u64 bsp_created;
	u64 delay;
	struct shared_ap {
		u64 heartbeat;
		u64 starts;
		u64 halts;
		u64 nmis;
		u64 mode;
		u64 reserved[3];
	} ap[NR_APS_MAX + 1];
};

/*
 * Guest
 */
static struct shared *guest_shared;

static void guest_nmi_handler(struct ex_regs *regs)
{
	struct snp_vcpu_area *area = (void *)snp_this_cpu();
	struct shared_ap *ap = &guest_shared->ap[area - snp_vcpu_areas];

	WRITE_ONCE(ap->nmis, ap->nmis + 1);

	/* The next NMI then stays pending, and kicks the vCPU nevertheless. */
	while (READ_ONCE(ap->mode) == AP_STAY_IN_NMI)
		WRITE_ONCE(ap->heartbeat, ap->heartbeat + 1);

	snp_nmi_complete();
}

/* What a BSP that goes through kexec has one of its APs do. */
static void guest_create_bsp(struct shared *shared)
{
	u64 ret = snp_vmsa_prepare(PAGE(A, 2), BSP);

	ret = ret ?: snp_ap_create(BSP, PAGE(A, 2));
	WRITE_ONCE(shared->bsp_created, ret ?: 1);
}

static void guest_ap(struct shared *shared, u64 id)
{
	struct shared_ap *ap = &shared->ap[id];

	WRITE_ONCE(ap->starts, ap->starts + 1);

	/* NMIs stay masked if one was on its way when the last VMSA was lost. */
	if (READ_ONCE(ap->mode) == AP_HALT || READ_ONCE(ap->mode) == AP_STAY_IN_NMI)
		snp_nmi_complete();

	for (;;) {
		WRITE_ONCE(ap->heartbeat, ap->heartbeat + 1);

		switch (READ_ONCE(ap->mode)) {
		case AP_SPIN:
		case AP_STAY_IN_NMI:
			break;
		case AP_HALT:
			WRITE_ONCE(ap->halts, ap->halts + 1);
			/* The handler of the NMI that ends it has no stack of its own. */
			asm volatile("sub $128, %%rsp; hlt; add $128, %%rsp" ::: "memory", "cc");
			break;
		case AP_USE_DATA:
			READ_ONCE(*(u64 *)PAGE(DATA, 0));
			break;
		case AP_USE_STACK:
			asm volatile("mov (%%rsp), %%rax" ::: "rax", "memory");
			break;
		case AP_CREATE_BSP:
			guest_create_bsp(shared);
			WRITE_ONCE(ap->mode, AP_SPIN);
			break;
		case AP_CREATE_SELF:
			/* What comes next is a new start, with this order carried out. */
			WRITE_ONCE(ap->mode, AP_SPIN);
			snp_vmsa_prepare(PAGE(A, 4), id);
			snp_ap_create(id, PAGE(A, 4));
			break;
		case AP_DESTROY_SELF:
			snp_ap_destroy(id);
			break;
		}
	}
}

static u64 guest_create_without_rax(u64 info_1, u64 info_2)
{
	return snp_ghcb_exit(snp_ghcb_begin(), SVM_VMGEXIT_AP_CREATION, info_1, info_2);
}

/*
 * Replace the VMSA of a vCPU by another, or by none if @vmsa is 0, and release the
 * old one at once.  Once the request is answered, the vCPU has left it.
 */
static u64 guest_replace(u64 id, gpa_t vmsa, gpa_t old)
{
	u64 status;

	status = vmsa ? snp_ap_create(id, vmsa) : snp_ap_destroy(id);
	guest_shared->seen = READ_ONCE(guest_shared->ap[id].heartbeat);

	return status ?: snp_vmsa_release(old);
}

/*
 * Create a vCPU, and again after shared->delay iterations or when it runs, whichever
 * is first; the delay is then what it took.
 */
static u64 guest_create_twice(u64 id, gpa_t first, gpa_t second)
{
	u64 starts = READ_ONCE(guest_shared->ap[id].starts), i = 0;
	u64 status = snp_ap_create(id, first);

	while (i < guest_shared->delay && READ_ONCE(guest_shared->ap[id].starts) == starts)
		i++;
	guest_shared->delay = i;

	return status ?: snp_ap_create(id, second);
}

static void __noreturn guest_bsp_spin(void)
{
	struct shared_ap *me = &guest_shared->ap[BSP];

	for (;;)
		WRITE_ONCE(me->heartbeat, me->heartbeat + 1);
}

/* Serve the host's orders one by one. */
static void guest_bsp(struct shared *shared)
{
	u64 ret;

	guest_shared = shared;

	for (;;) {
		shared->nr_unvalidated = snp_nr_unvalidated();
		GUEST_SYNC(0);

		switch (shared->op) {
		case OP_NOP:
			ret = 0;
			break;
		case OP_TOUCH:
			ret = READ_ONCE(*(u8 *)shared->arg[0]);
			break;
		case OP_PREPARE:
			ret = snp_vmsa_prepare(shared->arg[0], shared->arg[1]);
			break;
		case OP_RELEASE:
			ret = snp_vmsa_release(shared->arg[0]);
			break;
		case OP_CREATE:
			ret = snp_ap_create(shared->arg[0], shared->arg[1]);
			break;
		case OP_CREATE_TWICE:
			ret = guest_create_twice(shared->arg[0], shared->arg[1], shared->arg[2]);
			break;
		case OP_CREATE_ON_INIT:
			ret = snp_ap_create_on_init(shared->arg[0], shared->arg[1]);
			break;
		case OP_DESTROY:
			ret = snp_ap_destroy(shared->arg[0]);
			break;
		case OP_RAW_CREATION:
			ret = __snp_ap_creation(shared->arg[0], shared->arg[1],
						shared->arg[2] ^ snp_sev_features());
			break;
		case OP_CREATE_WITHOUT_RAX:
			ret = guest_create_without_rax(shared->arg[0], shared->arg[1]);
			break;
		case OP_INIT:
			snp_init(shared->arg[0]);
			ret = 0;
			break;
		case OP_INIT_SIPI:
			snp_init_sipi(shared->arg[0]);
			ret = 0;
			break;
		case OP_REPLACE:
			ret = guest_replace(shared->arg[0], shared->arg[1], shared->arg[2]);
			break;
		case OP_UNHALT:
			ret = kvm_hypercall(KVM_HC_KICK_CPU, 0, shared->arg[0], 0, 0);
			break;
		case OP_SPIN:
			guest_bsp_spin();
			break;
		default:
			GUEST_FAIL("Unknown order %lu", shared->op);
			return;
		}
		WRITE_ONCE(shared->ret, ret);
	}
}

/*
 * Host: one VM per case
 */
static struct kvm_vm *vm;
static cpu_set_t all_cpus;
static struct kvm_vcpu *vcpus[NR_APS_MAX + 1];
static struct shared *shared;
static gva_t alias_a2;		/* of PAGE(A, 2), without the C-bit */
static gpa_t ap_stack_gpa;

/*
 * The thread that runs an AP.  It waits for orders, and reports exits.  That of the
 * BSP is idle unless a case has made the BSP one of those that lose their VMSA.
 */
static struct ap {
	u32 id;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	pid_t tid;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool go;
	bool stop;
	bool running;
	bool signaled;		/* enter with a signal pending */

	struct snp_exit exit;
	u64 nr_eintr;
	u64 nr_entries;
} aps[NR_APS_MAX + 1];

static void ap_wait_halted(u32 id, u64 halts);
static void set_mp_state(u32 id, u32 mp_state);
static void ap_wake(u32 id, bool force);

static void nop_signal(int sig)
{
}

/*
 * Enter KVM_RUN with a signal pending, which KVM takes notice of only after it has
 * dealt with requests to the vCPU.
 */
static void ap_run_signaled(struct ap *ap)
{
	struct {
		struct kvm_signal_mask hdr;
		u64 blocked;
	} __packed none = { .hdr.len = sizeof(none.blocked) };
	sigset_t sigs;

	sigemptyset(&sigs);
	sigaddset(&sigs, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &sigs, NULL);
	pthread_kill(pthread_self(), SIGUSR1);
	vcpu_ioctl(ap->vcpu, KVM_SET_SIGNAL_MASK, &none.hdr);

	snp_event("enter KVM_RUN with a signal pending", 0, 0);
	ap->exit = snp_vcpu_run(ap->vcpu, NULL);

	vcpu_ioctl(ap->vcpu, KVM_SET_SIGNAL_MASK, (struct kvm_signal_mask *)NULL);
	pthread_sigmask(SIG_UNBLOCK, &sigs, NULL);
	SNP_CHECK(ap->exit.type == SNP_EXIT_INTR, SNP_CAUSE_WRONG_EXIT,
		  "vCPU %u had a signal pending, and got %s", ap->id,
		  snp_exit_str(ap->exit.type));
	errno = 0;
}

static void *ap_thread(void *__ap)
{
	struct snp_exit exit;
	struct ap *ap = __ap;
	struct ucall uc;
	char name[16];

	snprintf(name, sizeof(name), "ap%u", ap->id);
	pthread_setname_np(pthread_self(), name);
	WRITE_ONCE(ap->tid, syscall(SYS_gettid));

	for (;;) {
		pthread_mutex_lock(&ap->lock);
		while (!ap->go)
			pthread_cond_wait(&ap->cond, &ap->lock);
		ap->go = false;
		pthread_mutex_unlock(&ap->lock);

		if (READ_ONCE(ap->signaled))
			ap_run_signaled(ap);

		snp_event("enter KVM_RUN", 0, 0);
		WRITE_ONCE(ap->nr_entries, ap->nr_entries + 1);
		do {
			exit = snp_vcpu_run(ap->vcpu, &uc);
			if (exit.type == SNP_EXIT_INTR)
				WRITE_ONCE(ap->nr_eintr, ap->nr_eintr + 1);
		} while (exit.type == SNP_EXIT_INTR && !READ_ONCE(ap->stop));
		snp_event("KVM_RUN returned, errno %lu, exit reason %lu", exit.err,
			  ap->vcpu->run->exit_reason);

		pthread_mutex_lock(&ap->lock);
		ap->exit = exit;
		ap->running = false;
		pthread_cond_broadcast(&ap->cond);
		pthread_mutex_unlock(&ap->lock);
	}
	return NULL;
}

/* Have the AP's thread call KVM_RUN until that returns anything but -EINTR. */
static void ap_run(u32 id)
{
	struct ap *ap = &aps[id];

	pthread_mutex_lock(&ap->lock);
	TEST_ASSERT(!ap->running, "vCPU %u is already running", id);
	ap->running = true;
	ap->stop = false;
	ap->go = true;
	pthread_cond_broadcast(&ap->cond);
	pthread_mutex_unlock(&ap->lock);
}

/* Returns false if KVM_RUN has not returned in time. */
static bool ap_wait(u32 id, u64 timeout_ns)
{
	struct ap *ap = &aps[id];
	struct timespec ts;
	bool running;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts = timespec_add_ns(ts, timeout_ns);

	pthread_mutex_lock(&ap->lock);
	while (ap->running && !pthread_cond_timedwait(&ap->cond, &ap->lock, &ts))
		;
	running = ap->running;
	pthread_mutex_unlock(&ap->lock);
	errno = 0;

	return !running;
}

/* Get the AP's thread out of KVM_RUN, if it is there. */
static void ap_stop(u32 id)
{
	struct ap *ap = &aps[id];
	u64 deadline = snp_now() + TIMEOUT_NS;

	snp_step("stop vCPU %lu", id, 0);
	WRITE_ONCE(ap->stop, true);
	ap->vcpu->run->immediate_exit = 1;
	do {
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_HUNG,
			  "KVM_RUN of vCPU %u ignores signals", id);
		pthread_kill(ap->thread, SIGUSR1);
	} while (!ap_wait(id, 1000000));
	ap->vcpu->run->immediate_exit = 0;
}

static void __noreturn fail_exit(u32 id, const char *what);

static u64 heartbeat(u32 id)
{
	return READ_ONCE(shared->ap[id].heartbeat);
}

/*
 * Wait until the AP sleeps in KVM_RUN, which it has to do without a heartbeat.
 * Returns false if KVM_RUN has returned.
 */
static bool ap_wait_blocked(u32 id)
{
	u64 deadline = snp_now() + TIMEOUT_NS;

	snp_step("wait for vCPU %lu to block", id, 0);
	while (!vcpu_get_stat(vcpus[id], blocking)) {
		if (!READ_ONCE(aps[id].running))
			return false;
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_HUNG,
			  "vCPU %u neither blocks nor returns from KVM_RUN", id);
	}
	return true;
}

/*
 * KVM_RUN has to sleep, and guest code, which would count as vCPU @as, must not run
 * before it does.
 */
static void ap_check_blocks(u32 id, u32 as, u64 start, const char *what)
{
	u64 deadline = snp_now() + TIMEOUT_NS;

	snp_step("wait for vCPU %lu to block", id, 0);
	while (!vcpu_get_stat(vcpus[id], blocking)) {
		SNP_CHECK(heartbeat(as) == start, SNP_CAUSE_WRONG_VMSA, "%s: vCPU %u runs",
			  what, id);
		if (!READ_ONCE(aps[id].running))
			fail_exit(id, what);
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_HUNG,
			  "%s: vCPU %u neither blocks nor returns from KVM_RUN", what, id);
	}
	SNP_CHECK(heartbeat(as) == start, SNP_CAUSE_WRONG_VMSA, "%s: vCPU %u ran", what, id);
}

static void setup(u32 nr_aps)
{
	pthread_condattr_t attr;
	struct kvm_regs regs;
	int fds[NR_SLOTS];
	gva_t gva;
	u32 i;
	int r;

	snp_step("create an SNP VM with %lu APs", nr_aps, 0);
	signal(SIGUSR1, nop_signal);
	r = sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
	TEST_ASSERT(!r, "sched_getaffinity() failed, errno %d", errno);

	vm = snp_vm_create(nr_aps + 1, guest_bsp, vcpus);
	vm_install_exception_handler(vm, NMI_VECTOR, guest_nmi_handler);

	if (vm->pa_bits > A_BITS)
		slots[SLOT_A].gpa = BIT_ULL(A_BITS) + 0x3000;
	sync_global_to_guest(vm, slots);

	for (i = 0; i < NR_SLOTS; i++)
		fds[i] = -1;
	for (i = 0; i < NR_SLOTS; i++) {
		struct slot *slot = &slots[i];

		/* Launching pages takes its time, most cases can do without. */
		if (i == SLOT_MANY && nr_aps < NR_APS_MAX)
			continue;

		/* Sized to hold both slots of the first file, and a tail. */
		if (fds[slot->file] < 0)
			fds[slot->file] = vm_create_guest_memfd(vm, (slot->pgoff + NR_TAIL_PAGES) *
								PAGE_SIZE, 0);
		slot->fd = fds[slot->file];
		snp_vm_add_slot(vm, slot->id, slot->gpa, slot->nr_pages, slot->fd,
				slot->pgoff * PAGE_SIZE);
	}
	alias_a2 = snp_vm_map_alias(vm, PAGE(A, 2), false);

	gva = vm_alloc_shared(vm, sizeof(*shared), KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	shared = addr_gva2hva(vm, gva);
	memset(shared, 0, sizeof(*shared));
	vcpu_args_set(vcpus[BSP], 1, gva);

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);

	for (i = 0; i <= nr_aps; i++) {
		struct ap *ap = &aps[i];

		if (i != BSP) {
			vcpu_arch_set_entry_point(vcpus[i], guest_ap);
			vcpu_args_set(vcpus[i], 2, gva, (u64)i);
		}

		ap->id = i;
		ap->vcpu = vcpus[i];
		pthread_mutex_init(&ap->lock, NULL);
		pthread_cond_init(&ap->cond, &attr);
		r = pthread_create(&ap->thread, NULL, ap_thread, ap);
		TEST_ASSERT(!r, "pthread_create() failed: %d", r);
	}

	if (nr_aps) {
		vcpu_regs_get(vcpus[1], &regs);
		ap_stack_gpa = addr_gva2gpa(vm, regs.rsp & PAGE_MASK);
	}

	snp_vm_launch(vm, snp_test_policy());
	snp_add_ballast(vm);
}

/*
 * Orders to the BSP, which runs in the main thread and only while it has one.
 */
static struct snp_exit __bsp(void)
{
	struct snp_exit exit;
	struct ucall uc;

	do {
		exit = snp_vcpu_run(vcpus[BSP], &uc);
	} while (exit.type == SNP_EXIT_INTR);

	if (exit.type == SNP_EXIT_UCALL && uc.cmd == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	return exit;
}

static struct snp_exit bsp_try(enum bsp_op op, u64 arg0, u64 arg1, u64 arg2)
{
	static bool booted;

	if (!booted) {
		booted = true;
		TEST_ASSERT_EQ(__bsp().type, SNP_EXIT_UCALL);
	}

	shared->op = op;
	shared->arg[0] = arg0;
	shared->arg[1] = arg1;
	shared->arg[2] = arg2;
	return __bsp();
}

static u64 bsp(enum bsp_op op, u64 arg0, u64 arg1, u64 arg2)
{
	struct snp_exit exit;

	snp_step("guest BSP executes order %lu, argument 0x%lx", op, arg0);
	exit = bsp_try(op, arg0, arg1, arg2);
	SNP_CHECK(exit.type == SNP_EXIT_UCALL, SNP_CAUSE_WRONG_EXIT,
		  "the BSP, whose VMSA nobody touched, got %s, errno %d, detail 0x%lx",
		  snp_exit_str(exit.type), exit.err, exit.detail);
	return READ_ONCE(shared->ret);
}

static void ap_prepare(u32 id, gpa_t vmsa)
{
	u64 deadline = snp_now() + TIMEOUT_NS;
	u64 ret;

	/*
	 * Some kernels let the vCPU run on for some microseconds after AP
	 * Destroy, and the CPU refuses to touch a VMSA that is in use.
	 */
	do {
		ret = bsp(OP_PREPARE, vmsa, id, 0);
	} while (ret == SNP_RMP_FAIL_INUSE && snp_now() < deadline);
	TEST_ASSERT(!ret, "RMPADJUST of VMSA 0x%lx failed with %lu", vmsa, ret);
}

static void ap_create(u32 id, gpa_t vmsa)
{
	u64 status;

	ap_prepare(id, vmsa);
	status = bsp(OP_CREATE, id, vmsa, 0);
	SNP_CHECK(!status, SNP_CAUSE_WRONG_ANSWER,
		  "AP Create of vCPU %u at 0x%lx was answered with 0x%lx", id, vmsa, status);
}

static void __noreturn fail_exit(u32 id, const char *what)
{
	struct snp_exit *exit = &aps[id].exit;

	if (exit->type == SNP_EXIT_TERM && exit->detail == SNP_TERM_STRAY)
		snp_fail(SNP_CAUSE_LAUNCH_VMSA, "%s: vCPU %u ran its launch VMSA", what, id);

	snp_fail(SNP_CAUSE_WRONG_EXIT, "%s: vCPU %u got %s, errno %d, detail 0x%lx",
		 what, id, snp_exit_str(exit->type), exit->err, exit->detail);
}

/* Wait until the AP has made progress since its heartbeat was @start. */
static void ap_wait_heartbeat(u32 id, u64 start, const char *what)
{
	u64 deadline = snp_now() + TIMEOUT_NS;

	snp_step("wait for a heartbeat of vCPU %lu", id, 0);
	while (heartbeat(id) == start) {
		if (READ_ONCE(aps[id].running)) {
			SNP_CHECK(snp_now() < deadline, SNP_CAUSE_NO_RECOVERY,
				  "%s: vCPU %u makes no progress", what, id);
			continue;
		}
		if (aps[id].exit.type == SNP_EXIT_FAIL_ENTRY)
			snp_fail(SNP_CAUSE_NO_RECOVERY, "%s: vCPU %u got %s", what, id,
				 snp_exit_str(SNP_EXIT_FAIL_ENTRY));
		fail_exit(id, what);
	}
}

static void ap_wait_alive(u32 id, const char *what)
{
	ap_wait_heartbeat(id, heartbeat(id), what);
}

/* Create the AP, run it, and see it run. */
static void ap_start(u32 id, gpa_t vmsa)
{
	u64 start = heartbeat(id);

	ap_create(id, vmsa);
	ap_run(id);
	ap_wait_heartbeat(id, start, "after AP Create");
}

/*
 * Wait until vCPU @id has begun at its entry point, which vCPU @as has done
 * @starts times before: a VMSA may be made for one vCPU and given to another.
 */
static void __ap_wait_start(u32 id, u32 as, u64 starts, const char *what)
{
	u64 deadline = snp_now() + TIMEOUT_NS;

	snp_step("wait for start %lu of vCPU %lu", starts + 1, id);
	while (READ_ONCE(shared->ap[as].starts) == starts) {
		if (!READ_ONCE(aps[id].running))
			snp_fail(SNP_CAUSE_NO_RECOVERY, "%s: vCPU %u got %s", what, id,
				 snp_exit_str(aps[id].exit.type));
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_NO_RECOVERY,
			  "%s: vCPU %u does not start", what, id);
	}
}

static void ap_wait_start(u32 id, u64 starts, const char *what)
{
	__ap_wait_start(id, id, starts, what);
}

/* AP Destroy of an AP that is in KVM_RUN, and see it sleep there. */
static void ap_destroy(u32 id)
{
	SNP_CHECK(!bsp(OP_DESTROY, id, 0, 0), SNP_CAUSE_WRONG_ANSWER, "AP Destroy failed");
	if (!ap_wait_blocked(id))
		fail_exit(id, "after AP Destroy");
}

/* The AP has to run on: neither its thread nor its heartbeat may stop. */
static void ap_check_unharmed(u32 id, const char *what)
{
	u64 deadline = snp_now() + TIMEOUT_NS, start = heartbeat(id);

	snp_step("check that vCPU %lu runs on", id, 0);
	do {
		if (ap_wait(id, 100000)) {
			if (aps[id].exit.type == SNP_EXIT_FAIL_ENTRY)
				snp_fail(SNP_CAUSE_FALSE_KILL, "%s: vCPU %u got %s", what, id,
					 snp_exit_str(SNP_EXIT_FAIL_ENTRY));
			fail_exit(id, what);
		}
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_FALSE_KILL,
			  "%s: vCPU %u makes no progress", what, id);
	} while (heartbeat(id) == start);
}

/* KVM_RUN has to have failed cleanly. */
static void ap_check_failed(u32 id, const char *what)
{
	if (!snp_exit_is_clean_failure(&aps[id].exit))
		fail_exit(id, what);
}

/* KVM_RUN has to fail without guest code, which would count as vCPU @as. */
static void __ap_wait_failed(u32 id, u32 as, const char *what)
{
	u64 deadline = snp_now() + TIMEOUT_NS, start = heartbeat(as);

	snp_step("wait for KVM_RUN of vCPU %lu to fail", id, 0);
	while (!ap_wait(id, 1000000)) {
		SNP_CHECK(heartbeat(as) == start, SNP_CAUSE_WRONG_VMSA,
			  "%s: vCPU %u runs as vCPU %u", what, id, as);
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_HUNG,
			  "%s: KVM_RUN of vCPU %u did not return", what, id);
	}
	ap_check_failed(id, what);
}

static void ap_wait_failed(u32 id, const char *what)
{
	__ap_wait_failed(id, id, what);
}

/*
 * KVM_RUN once more: the same failure, at once, reported in full, and nothing
 * executed.
 */
static void ap_check_rerun(u32 id, const char *what)
{
	struct kvm_run *run = vcpus[id]->run;
	u64 start = heartbeat(id);

	/* Nobody reads it any more, and KVM has to fill it in. */
	run->exit_reason = KVM_EXIT_UNKNOWN;
	memset(&run->fail_entry, STALE_BYTE, sizeof(run->fail_entry));

	ap_run(id);
	ap_wait_failed(id, what);
	SNP_CHECK(run->exit_reason != KVM_EXIT_FAIL_ENTRY || run->fail_entry.cpu != STALE_CPU,
		  SNP_CAUSE_WRONG_EXIT, "%s: KVM_RUN of vCPU %u does not say on which CPU",
		  what, id);
	SNP_CHECK(heartbeat(id) == start, SNP_CAUSE_IN_USE,
		  "%s: KVM_RUN of vCPU %u executed guest code before it failed", what, id);
}

/*
 * Windows
 */
enum temp {
	COLD,
	WARM,
	NR_TEMPS,
};

static const char * const temp_str[] = { "cold", "warm" };

static u64 nr_flushes(void)
{
	return vm_get_stat(vm, remote_tlb_flush_requests);
}

/* Zap or create the SPTEs of a range of private pages, without touching the RMP. */
static void set_temp(enum temp want, gpa_t gpa, u64 nr_pages)
{
	u64 i;

	snp_event(want == COLD ? "make 0x%lx + %lu pages cold" : "make 0x%lx + %lu pages warm",
		  gpa, nr_pages);
	if (want == COLD) {
		vm_mem_set_shared(vm, gpa, nr_pages * PAGE_SIZE);
		vm_mem_set_private(vm, gpa, nr_pages * PAGE_SIZE);
		return;
	}

	for (i = 0; i < nr_pages; i++)
		bsp(OP_TOUCH, gpa + i * PAGE_SIZE, 0, 0);
}

/*
 * A vCPU is in the guest only as long as its thread has a CPU: who punches must
 * not take it away, nor may another vCPU of the window.
 */

/* The CPU that the AP's thread runs on, or ran on last; -1 if there is no telling. */
static int ap_cpu(u32 id)
{
	char path[64], stat[1024], *p = NULL;
	int i, cpu = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", READ_ONCE(aps[id].tid));
	f = fopen(path, "r");
	if (!f)
		return -1;
	/* Field 39; the second one is a name in brackets. */
	if (fgets(stat, sizeof(stat), f))
		p = strrchr(stat, ')');
	for (i = 2; i < 39 && p; i++)
		p = strchr(p + 1, ' ');
	if (p)
		cpu = atoi(p);
	fclose(f);
	return cpu;
}

/* Move a thread to one of the CPUs, and let it go where it likes from there. */
static void move_to(pthread_t thread, const cpu_set_t *cpus)
{
	if (pthread_setaffinity_np(thread, sizeof(*cpus), cpus) ||
	    pthread_setaffinity_np(thread, sizeof(all_cpus), &all_cpus))
		snp_event("no thread is moved", 0, 0);
}

/* Give each of the APs, and the main thread, a CPU of its own if there are enough. */
static void spread_out(u32 first, u32 nr)
{
	cpu_set_t idle = all_cpus;
	bool moves[NR_APS_MAX + 1] = { };
	u32 i;
	int cpu;

	if ((u32)CPU_COUNT(&all_cpus) <= nr)
		return;

	for (i = first; i < first + nr; i++) {
		cpu = ap_cpu(i);
		moves[i] = cpu >= 0 && !CPU_ISSET(cpu, &idle);
		if (cpu >= 0)
			CPU_CLR(cpu, &idle);
	}
	for (i = first; i < first + nr; i++) {
		cpu_set_t one;

		if (!moves[i])
			continue;
		for (cpu = 0; !CPU_ISSET(cpu, &idle); cpu++)
			;
		CPU_CLR(cpu, &idle);
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		snp_event("move vCPU %lu to CPU %lu", i, cpu);
		move_to(aps[i].thread, &one);
	}
	if (!CPU_ISSET(sched_getcpu(), &idle))
		move_to(pthread_self(), &idle);
}

/* Had each of the APs a CPU of its own, or could not have? */
static bool were_apart(u32 first, u32 nr, int punch_cpu)
{
	cpu_set_t taken;
	u32 i;
	int cpu;

	if ((u32)CPU_COUNT(&all_cpus) <= nr)
		return true;

	CPU_ZERO(&taken);
	CPU_SET(punch_cpu, &taken);
	for (i = first; i < first + nr; i++) {
		cpu = ap_cpu(i);
		if (cpu < 0)
			continue;
		if (CPU_ISSET(cpu, &taken))
			return false;
		CPU_SET(cpu, &taken);
	}
	return true;
}

/*
 * An action under which APs may lose their VMSA, from the last heartbeat before
 * to the first ones that must not be there.
 */
struct window {
	enum temp temp;
	u32 round;
	u32 next;
	const char *what;
	u32 first, nr;		/* the APs concerned */
	bool running;		/* they were in the guest */
	bool crowded;		/* or rather not, for want of a CPU */
	u64 flushes;
	u64 heartbeats[NR_APS_MAX + 1];
};

/* Cold windows first, an unfixed kernel fails those reliably. */
static bool window_next(struct window *w)
{
	w->temp = w->next / snp_case_rounds();
	w->round = w->next % snp_case_rounds();
	w->next++;
	return w->temp < NR_TEMPS;
}

static void window_open(struct window *w, const char *what, u32 first, u32 nr)
{
	u32 i;

	w->what = what;
	w->first = first;
	w->nr = nr;
	w->running = true;
	w->crowded = false;
	w->flushes = nr_flushes();
	spread_out(first, nr);
	for (i = first; i < first + nr; i++)
		ap_wait_alive(i, what);
}

/* Right after the action, before threads move on. */
static void window_note_cpus(struct window *w)
{
	w->crowded |= w->running && !were_apart(w->first, w->nr, sched_getcpu());
}

static void window_sample(struct window *w)
{
	u32 i;

	for (i = w->first; i < w->first + w->nr; i++)
		w->heartbeats[i] = heartbeat(i);
	snp_event("the page is gone, heartbeat of vCPU %lu is %lu", w->first,
		  w->heartbeats[w->first]);
	window_note_cpus(w);
}

/*
 * Did statistics prove that the window was as cold or warm as it should be, and had
 * the vCPUs their CPUs?
 */
static bool window_is_proven(struct window *w)
{
	bool flushed = nr_flushes() != w->flushes;

	if (w->crowded) {
		snp_event("not a window, a thread had no CPU of its own", 0, 0);
		return false;
	}
	if (flushed == (bool)w->temp) {
		snp_count_window(w->temp == COLD ? SNP_WINDOW_COLD : SNP_WINDOW_WARM);
		return true;
	}
	snp_event("not a window, TLBs were flushed: %lu", flushed, 0);
	return false;
}

static void window_check_frozen(struct window *w)
{
	u32 i;

	for (i = w->first; i < w->first + w->nr; i++) {
		u64 now = heartbeat(i);

		SNP_CHECK(now == w->heartbeats[i], SNP_CAUSE_IN_USE,
			  "%s, %s: vCPU %u ran on, its heartbeat went from %lu to %lu",
			  w->what, temp_str[w->temp], i, w->heartbeats[i], now);
	}
}

/*
 * All APs of the window have to be dead.  Watch the heartbeats closely at first:
 * a vCPU that was not kicked leaves the guest with the next tick of the host, it
 * would look innocent from then on.
 */
static void window_check_dead(struct window *w)
{
	u64 deadline = snp_now() + WATCH_NS;
	u32 i;

	do {
		window_check_frozen(w);
	} while (snp_now() < deadline);

	window_is_proven(w);
	snp_check_kernel_log();

	for (i = w->first; i < w->first + w->nr; i++) {
		snp_step("wait for KVM_RUN of vCPU %lu to fail", i, 0);
		if (!ap_wait(i, TIMEOUT_NS)) {
			window_check_frozen(w);
			snp_fail(SNP_CAUSE_HUNG, "%s, %s: KVM_RUN of vCPU %u did not return",
				 w->what, temp_str[w->temp], i);
		}
		ap_check_failed(i, w->what);
	}
	window_check_frozen(w);
}

/*
 * The AP of the window has to die, but what kills it need not have waited for
 * the vCPU to leave the guest.
 */
static void window_wait_dead(struct window *w)
{
	u64 deadline = snp_now() + TIMEOUT_NS / 4;
	u32 id = w->first;

	window_note_cpus(w);
	snp_step("wait for KVM_RUN of vCPU %lu to fail", id, 0);
	while (!ap_wait(id, 1000000)) {
		u64 last = heartbeat(id);

		if (snp_now() < deadline)
			continue;
		usleep(10000);
		SNP_CHECK(heartbeat(id) == last, SNP_CAUSE_NOT_STOPPED,
			  "%s, %s: vCPU %u runs on", w->what, temp_str[w->temp], id);
		snp_fail(SNP_CAUSE_HUNG, "%s, %s: KVM_RUN of vCPU %u did not return",
			 w->what, temp_str[w->temp], id);
	}
	ap_check_failed(id, w->what);
	window_is_proven(w);
	window_sample(w);
}

static void gmem_punch(int fd, u64 pgoff, u64 nr_pages)
{
	snp_step("fallocate(PUNCH_HOLE) at page %lu, %lu pages", pgoff, nr_pages);
	errno = 0;
	TEST_ASSERT(!snp_punch_hole(fd, pgoff * PAGE_SIZE, nr_pages * PAGE_SIZE),
		    "PUNCH_HOLE failed, errno %d", errno);
}

static void gmem_allocate(int fd, u64 pgoff, u64 nr_pages)
{
	int r = fallocate(fd, FALLOC_FL_KEEP_SIZE, pgoff * PAGE_SIZE, nr_pages * PAGE_SIZE);

	TEST_ASSERT(!r, "fallocate() failed, errno %d", errno);
}

/*
 * Pages in front of slot A, in no memslot: a hole that begins with them takes its
 * time to get to a VMSA behind them.
 */
#define NR_FILLERS	200

static void allocate_fillers(void)
{
	gmem_allocate(slots[SLOT_A].fd, slots[SLOT_A].pgoff - NR_FILLERS, NR_FILLERS);
}

/* Punch pages of one slot. */
static void punch(int slot, u64 index, u64 nr_pages)
{
	gmem_punch(slots[slot].fd, slots[slot].pgoff + index, nr_pages);
}

/* Punch the first pages of slot A with all that is in front of them. */
static void punch_behind_fillers(u64 nr_pages)
{
	punch(SLOT_A, -NR_FILLERS, NR_FILLERS + nr_pages);
}

static gpa_t page(int slot, u64 index)
{
	return slots[slot].gpa + index * PAGE_SIZE;
}

/* Kill AP @id, which runs on page @index of @slot, and see it die. */
static void punch_running(struct window *w, u32 id, int slot, u64 index, const char *what)
{
	set_temp(w->temp, page(slot, index), 1);
	window_open(w, what, id, 1);
	punch(slot, index, 1);
	window_sample(w);
	window_check_dead(w);
}

/* Punch page @index of @slot, the VMSA of an AP that does not run. */
static void punch_idle(struct window *w, u32 id, int slot, u64 index, const char *what)
{
	set_temp(w->temp, page(slot, index), 1);
	w->what = what;
	w->first = id;
	w->nr = 1;
	w->running = false;
	w->crowded = false;
	w->flushes = nr_flushes();
	punch(slot, index, 1);
	window_sample(w);
	window_is_proven(w);
}

/*
 * Cases
 */
/* One NMI that the AP stays in, and one that is pending because of that. */
static void ap_send_nmis(u32 id)
{
	u64 nmis = READ_ONCE(shared->ap[id].nmis), deadline = snp_now() + TIMEOUT_NS;

	snp_send_nmi(vm, id);
	while (READ_ONCE(shared->ap[id].nmis) == nmis)
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_NO_WINDOW, "no NMI arrives");
	snp_send_nmi(vm, id);
	ap_wait_alive(id, "in its NMI handler");
}

static void case_create_run_destroy(void)
{
	u64 last, starts;
	u32 i;

	setup(1);

	for (i = 0; i < snp_case_rounds(); i++) {
		ap_start(1, PAGE(A, 2 + i % 4));
		/* This ends the next sleep of the vCPU, but not that of one that is gone. */
		if (i & 1)
			bsp(OP_UNHALT, 1, 0, 0);
		SNP_CHECK(!bsp(OP_DESTROY, 1, 0, 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Destroy failed");

		/* A destroyed AP waits for the next AP Create in KVM_RUN. */
		if (!ap_wait_blocked(1))
			fail_exit(1, "after AP Destroy");
		last = heartbeat(1);
		ap_stop(1);
		SNP_CHECK(heartbeat(1) == last, SNP_CAUSE_WRONG_VMSA,
			  "vCPU 1 runs on after AP Destroy");

		/* The signal that has woken it is nothing to run for. */
		ap_run(1);
		ap_check_blocks(1, 1, last, "KVM_RUN again after AP Destroy");
		ap_stop(1);
		TEST_ASSERT(!bsp(OP_RELEASE, PAGE(A, 2 + i % 4), 0, 0),
			    "RMPADJUST cannot release an idle VMSA");
		snp_count_window(SNP_WINDOW_PLAIN);
	}
	SNP_CHECK(shared->ap[1].starts == snp_case_rounds(), SNP_CAUSE_WRONG_VMSA,
		  "%u creations, but %lu starts", snp_case_rounds(), shared->ap[1].starts);

	/* It may as well replace its VMSA itself, and destroy itself. */
	ap_start(1, PAGE(A, 2));
	starts = shared->ap[1].starts;
	WRITE_ONCE(shared->ap[1].mode, AP_CREATE_SELF);
	ap_wait_start(1, starts, "AP Create by the vCPU itself");
	TEST_ASSERT(!bsp(OP_RELEASE, PAGE(A, 2), 0, 0),
		    "RMPADJUST cannot release the VMSA that was replaced");
	WRITE_ONCE(shared->ap[1].mode, AP_DESTROY_SELF);
	if (!ap_wait_blocked(1))
		fail_exit(1, "after AP Destroy by the vCPU itself");
	last = heartbeat(1);
	ap_wake(1, true);
	ap_wait_failed(1, "destroyed by itself, forced to be runnable");
	SNP_CHECK(heartbeat(1) == last, SNP_CAUSE_WRONG_VMSA,
		  "vCPU 1 ran on after it had destroyed itself");

	/* Interrupts that are left over go with the VMSA. */
	WRITE_ONCE(shared->ap[1].mode, AP_STAY_IN_NMI);
	ap_start(1, PAGE(A, 2));
	ap_send_nmis(1);
	ap_destroy(1);
	starts = shared->ap[1].starts;
	WRITE_ONCE(shared->ap[1].mode, AP_SPIN);
	ap_create(1, PAGE(A, 2));
	ap_wait_start(1, starts, "created anew, with an NMI pending before");
	ap_check_unharmed(1, "created anew, with an NMI pending before");
	SNP_CHECK(shared->ap[1].nmis == 1, SNP_CAUSE_WRONG_EXIT,
		  "vCPU 1 was created anew and got an NMI of its old VMSA");
}

/*
 * What the guest asked for last counts, if it asks several times before the vCPU
 * takes notice.  The VMSA that must not run would count as vCPU 2.
 */
static void case_last_request_counts(void)
{
	u64 status, starts;
	u32 i;

	setup(2);

	for (i = 0; i < snp_case_rounds(); i++) {
		ap_prepare(2, PAGE(A, 2));
		SNP_CHECK(!bsp(OP_CREATE, 1, PAGE(A, 2), 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Create failed");
		SNP_CHECK(!bsp(OP_DESTROY, 1, 0, 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Destroy failed");
		ap_run(1);
		ap_check_blocks(1, 2, 0, "created and destroyed before KVM_RUN");
		ap_stop(1);

		SNP_CHECK(!bsp(OP_CREATE_ON_INIT, 1, PAGE(A, 2), 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Create on INIT failed");
		SNP_CHECK(!bsp(OP_CREATE, 1, PAGE(A, 2), 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Create failed");
		starts = shared->ap[1].starts;
		ap_create(1, PAGE(A, 4));
		status = bsp(OP_CREATE, 1, PAGE(A, 2) + 0x10, 0);
		SNP_CHECK(status == SNP_GHCB_ERR_INVALID_INPUT, SNP_CAUSE_WRONG_ANSWER,
			  "VMSA not aligned to 4K: KVM answered 0x%lx", status);
		ap_run(1);
		ap_wait_start(1, starts, "created twice before KVM_RUN");

		/* Nor does INIT bring back what AP Create, or AP Destroy, has replaced. */
		bsp(OP_INIT_SIPI, 1, 0, 0);
		usleep(5000);
		ap_check_unharmed(1, "INIT and SIPI after AP Create");
		SNP_CHECK(!bsp(OP_CREATE_ON_INIT, 1, PAGE(A, 2), 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Create on INIT failed");
		ap_destroy(1);
		bsp(OP_INIT_SIPI, 1, 0, 0);
		__ap_wait_failed(1, 2, "INIT and SIPI after AP Destroy");

		SNP_CHECK(!shared->ap[2].starts, SNP_CAUSE_WRONG_VMSA,
			  "vCPU 1 ran a VMSA that was destroyed, or replaced, before");
		snp_count_window(SNP_WINDOW_PLAIN);
	}
}

/*
 * AP Create ends the sleep of its target, whatever sent that to sleep, and on
 * whatever page, be it the one that it has.
 */
static void case_create_wakes(void)
{
	u64 starts, halts;
	u32 i;

	setup(1);
	ap_run(1);
	if (!ap_wait_blocked(1))
		fail_exit(1, "before the first AP Create");

	for (i = 0; i < 3 * snp_case_rounds(); i++) {
		starts = READ_ONCE(shared->ap[1].starts);
		WRITE_ONCE(shared->ap[1].mode, AP_SPIN);
		ap_create(1, PAGE(A, 2 + (i + 1) / 3 % 2));
		ap_wait_start(1, starts, "created while it sleeps in KVM_RUN");

		switch (i % 3) {
		case 0:
			halts = READ_ONCE(shared->ap[1].halts);
			WRITE_ONCE(shared->ap[1].mode, AP_HALT);
			ap_wait_halted(1, halts);
			break;
		case 1:
			ap_destroy(1);
			break;
		case 2:
			ap_stop(1);
			set_mp_state(1, KVM_MP_STATE_AP_RESET_HOLD);
			ap_run(1);
			if (!ap_wait_blocked(1))
				fail_exit(1, "AP reset hold");
			break;
		}
		snp_count_window(SNP_WINDOW_PLAIN);
	}
}

/*
 * When the guest has its answer, the target of AP Creation does not use its old
 * VMSA any more.  Linux counts on that: on kexec it has that page back at once.
 * The new VMSA counts as vCPU 2.
 */
static void case_released_at_once(void)
{
	const u32 nr_rounds = 24 * snp_case_rounds(), nr_running = 3, other = nr_running + 1;
	u32 i, id;

	setup(other);
	/* More than one: a host that is a VM may be short of CPUs then, and slow to kick. */
	for (id = 1; id <= nr_running; id++)
		ap_start(id, PAGE(A, id));

	for (i = 0; i < nr_rounds; i++) {
		const char *what = i & 1 ? "AP Create of a running vCPU" :
					   "AP Destroy of a running vCPU";
		u64 starts = READ_ONCE(shared->ap[other].starts);
		u64 ret;

		id = 1 + i / 2 % nr_running;
		if (i & 1)
			ap_prepare(other, PAGE(A, 7));
		ap_wait_alive(id, what);
		ret = bsp(OP_REPLACE, id, i & 1 ? PAGE(A, 7) : 0, PAGE(A, id));
		SNP_CHECK(ret != SNP_RMP_FAIL_INUSE, SNP_CAUSE_WRONG_VMSA,
			  "%s: its old VMSA is still in use", what);
		SNP_CHECK(!ret, SNP_CAUSE_WRONG_ANSWER, "%s was answered with 0x%lx", what, ret);

		if (i & 1) {
			__ap_wait_start(id, other, starts, what);
			ap_destroy(id);
		} else if (!ap_wait_blocked(id)) {
			fail_exit(id, what);
		}
		ap_stop(id);
		SNP_CHECK(heartbeat(id) == shared->seen, SNP_CAUSE_WRONG_VMSA,
			  "%s: it ran on, its heartbeat went from %lu to %lu", what,
			  shared->seen, heartbeat(id));
		snp_count_window(SNP_WINDOW_PLAIN);
		ap_start(id, PAGE(A, id));
	}
}

static void case_punch_running(void)
{
	struct window w = { };

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2 + w.round % 4));
		punch_running(&w, 1, SLOT_A, 2 + w.round % 4, "punch under a running vCPU");
	}
	bsp(OP_NOP, 0, 0, 0);
}

static void case_rerun(void)
{
	struct window w = { };
	u32 j;

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2));
		punch_running(&w, 1, SLOT_A, 2, "punch before KVM_RUN is retried");

		for (j = 0; j < 5; j++)
			ap_check_rerun(1, "KVM_RUN again");

		/* The page that took the place of the VMSA is nothing special. */
		punch(SLOT_A, 2, 1);
		ap_check_rerun(1, "KVM_RUN after a second punch");
	}
}

/* Wait until the AP is halted, and blocked in the kernel. */
static void ap_wait_halted(u32 id, u64 halts)
{
	u64 deadline = snp_now() + TIMEOUT_NS;

	snp_step("wait for vCPU %lu to halt", id, 0);
	while (READ_ONCE(shared->ap[id].halts) == halts) {
		SNP_CHECK(snp_now() < deadline, SNP_CAUSE_NO_WINDOW,
			  "vCPU %u does not halt", id);
	}
	if (!ap_wait_blocked(id))
		fail_exit(id, "HLT");
}

static void ap_start_halted(u32 id, gpa_t vmsa)
{
	u64 halts = READ_ONCE(shared->ap[id].halts);

	WRITE_ONCE(shared->ap[id].mode, AP_HALT);
	ap_start(id, vmsa);
	ap_wait_halted(id, halts);
}

static void set_mp_state(u32 id, u32 mp_state)
{
	struct kvm_mp_state state = { .mp_state = mp_state };

	vcpu_mp_state_set(vcpus[id], &state);
}

/* Wake a halted vCPU, by an interrupt or by force. */
static void ap_wake(u32 id, bool force)
{
	if (!force) {
		snp_event("NMI to vCPU %lu", id, 0);
		snp_send_nmi(vm, id);
		return;
	}

	ap_stop(id);
	snp_event("set vCPU %lu runnable", id, 0);
	set_mp_state(id, KVM_MP_STATE_RUNNABLE);
	ap_run(id);
}

static void case_punch_halted(void)
{
	struct window w = { };

	setup(1);

	while (window_next(&w)) {
		ap_start_halted(1, PAGE(A, 3));

		punch_idle(&w, 1, SLOT_A, 3, "punch under a halted vCPU");

		/* KVM may fail KVM_RUN right away, but does not have to. */
		if (!ap_wait(1, WATCH_NS))
			ap_wake(1, w.round & 1);
		ap_wait_failed(1, "wake-up of a vCPU without VMSA");
		window_check_frozen(&w);
		ap_check_rerun(1, "KVM_RUN again");
	}
}

static void case_punch_before_first_run(void)
{
	struct window w = { };

	setup(1);

	while (window_next(&w)) {
		ap_create(1, PAGE(A, 4));
		punch_idle(&w, 1, SLOT_A, 4, "punch before the first KVM_RUN");
		ap_run(1);
		ap_wait_failed(1, w.what);
		window_check_frozen(&w);
	}
}

static void case_recreate_after_punch(void)
{
	struct window w = { };
	bool failed;
	u64 starts;
	u32 j;

	setup(1);

	while (window_next(&w)) {
		for (j = 0; j < 3; j++) {
			ap_start(1, PAGE(A, 5));
			punch_running(&w, 1, SLOT_A, 5, "punch before the vCPU is re-created");
		}

		/* On another page, before the vCPU has taken notice of the punch. */
		ap_start_halted(1, PAGE(A, 5));
		punch_idle(&w, 1, SLOT_A, 5, "punch before the vCPU is re-created elsewhere");
		failed = ap_wait(1, WATCH_NS);
		starts = shared->ap[1].starts;
		WRITE_ONCE(shared->ap[1].mode, AP_SPIN);
		ap_create(1, PAGE(A, 3));
		if (failed)
			ap_run(1);
		ap_wait_start(1, starts, "created elsewhere after a punch");
		ap_check_unharmed(1, "created elsewhere after a punch");
		ap_destroy(1);
		ap_stop(1);
	}

	ap_start(1, PAGE(A, 5));
	ap_check_unharmed(1, "re-created");
	SNP_CHECK(shared->nr_unvalidated, SNP_CAUSE_TEST,
		  "no page was ever replaced, i.e. nothing was punched");
}

static struct storm {
	pthread_t thread;
	int fd;
	u64 pgoff, nr_pages;
	bool fill;
	bool stop;
	u64 nr_punches;
} storm;

static void *storm_thread(void *arg)
{
	int r;

	pthread_setname_np(pthread_self(), "storm");
	while (!READ_ONCE(storm.stop)) {
		/* A page takes its time to go. */
		if (storm.fill)
			gmem_allocate(storm.fd, storm.pgoff, storm.nr_pages);
		r = fallocate(storm.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      storm.pgoff * PAGE_SIZE, storm.nr_pages * PAGE_SIZE);
		TEST_ASSERT(!r, "PUNCH_HOLE failed, errno %d", errno);
		WRITE_ONCE(storm.nr_punches, storm.nr_punches + 1);
	}
	return NULL;
}

/* Punch pages of a file over and over, and allocate them in between if @fill. */
static void storm_start(int fd, u64 pgoff, u64 nr_pages, bool fill)
{
	int r;

	storm.fd = fd;
	storm.pgoff = pgoff;
	storm.nr_pages = nr_pages;
	storm.fill = fill;
	r = pthread_create(&storm.thread, NULL, storm_thread, NULL);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
}

static void storm_stop(void)
{
	WRITE_ONCE(storm.stop, true);
	pthread_join(storm.thread, NULL);
}

/*
 * An invalidation of any page while KVM looks up that of a VMSA makes KVM try
 * again, later.  It must not forget what it was about.  Replace one VMSA by the
 * next, and punch a page that is neither.
 */
static void case_create_under_storm(void)
{
	const u32 nr_creations = 20 * snp_case_rounds();
	u32 i;

	setup(1);
	ap_start(1, PAGE(A, 2));
	storm_start(slots[SLOT_A].fd, slots[SLOT_A].pgoff, 1, false);

	for (i = 0; i < nr_creations; i++) {
		u64 starts = READ_ONCE(shared->ap[1].starts);
		u64 punches = READ_ONCE(storm.nr_punches);

		ap_create(1, PAGE(A, 3 + i % 2));

		ap_wait_start(1, starts, "creation under a storm of punches");
		if (READ_ONCE(storm.nr_punches) != punches)
			snp_count_window(SNP_WINDOW_PLAIN);
	}
	ap_check_unharmed(1, "created under a storm of punches");

	storm_stop();
}

/*
 * KVM keeps one range for all invalidations that are in progress.  One that begins
 * beside the punch must not make it forget the other, or the vCPU gets the page
 * back that is about to go.
 */
static void case_punch_under_storm(void)
{
	struct window w = { };
	u64 index, punches;
	u32 j;

	setup(1);
	/* Of a page that is not there, i.e. no TLB is flushed for it. */
	storm_start(slots[SLOT_B].fd, slots[SLOT_B].pgoff, 1, false);

	while (window_next(&w)) {
		for (j = 0; j < 4; j++) {
			index = 2 + j;
			ap_start(1, PAGE(A, index));
			set_temp(w.temp, PAGE(A, index), 1);
			allocate_fillers();
			window_open(&w, "punch under a storm of others", 1, 1);
			punches = READ_ONCE(storm.nr_punches);
			punch_behind_fillers(index + 1);
			w.crowded = READ_ONCE(storm.nr_punches) == punches;
			window_sample(&w);
			window_check_dead(&w);
		}
	}

	storm_stop();
}

/*
 * KVM reloads the VMSA after a punch, i.e. the page that replaces the lost one
 * is good as soon as the guest has made a VMSA of it.
 */
static void case_heal_in_place(void)
{
	struct window w = { };
	u64 starts;

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2));
		punch_running(&w, 1, SLOT_A, 2, "punch before the VMSA is rebuilt");
		ap_check_rerun(1, "KVM_RUN before the VMSA is rebuilt");

		starts = shared->ap[1].starts;
		ap_prepare(1, PAGE(A, 2));
		ap_run(1);
		ap_wait_alive(1, "after the VMSA was rebuilt in place");
		SNP_CHECK(shared->ap[1].starts == starts + 1, SNP_CAUSE_WRONG_VMSA,
			  "vCPU 1 runs, but not the VMSA it was given");

		/* And it is tracked as before. */
		punch_running(&w, 1, SLOT_A, 2, "punch of the rebuilt VMSA");
	}
}

static void case_punch_neighbors(void)
{
	static const struct {
		int slot;
		u64 index;
		const char *what;
	} neighbors[] = {
		{ SLOT_A, 3, "punch of the page in front of a VMSA" },
		{ SLOT_A, 5, "punch of the page behind a VMSA" },
		{ SLOT_A2, 0, "punch of another slot" },
		{ SLOT_B, 0, "punch of another file" },
	};
	struct window w = { };
	u32 j;

	setup(1);
	ap_start(1, PAGE(A, 4));

	while (window_next(&w)) {
		/* In the file, but in no memslot: next to the first, and to the last. */
		punch(SLOT_A, -1, 1);
		punch(SLOT_A2, slots[SLOT_A2].nr_pages, 1);
		ap_check_unharmed(1, "punch beside a memslot");

		for (j = 0; j < ARRAY_SIZE(neighbors); j++) {
			set_temp(w.temp, page(neighbors[j].slot, neighbors[j].index), 1);
			window_open(&w, neighbors[j].what, 1, 1);
			punch(neighbors[j].slot, neighbors[j].index, 1);
			window_is_proven(&w);
			ap_check_unharmed(1, neighbors[j].what);
		}
	}
	SNP_CHECK(shared->ap[1].starts == 1, SNP_CAUSE_FALSE_KILL, "vCPU 1 was restarted");

	/* All of these are over, and in nobody's way. */
	ap_create(1, PAGE(A, 5));
	ap_wait_start(1, 1, "created anew after punches of its neighbors");
}

static void check_slot_refused(const char *what, u32 id, u32 flags, gpa_t gpa, u64 nr_pages,
			       int fd, u64 pgoff)
{
	void *hva = id == SLOT_ID_REFUSED ? NULL : addr_gpa2hva(vm, PAGE(A, 0));
	int r;

	snp_step("memslot %lu that KVM has to refuse, at page %lu of its file", id, pgoff);
	r = __vm_set_user_memory_region2(vm, id, flags, gpa, nr_pages * PAGE_SIZE, hva, fd,
					 pgoff * PAGE_SIZE);
	SNP_CHECK(r && (errno == EINVAL || errno == EEXIST), SNP_CAUSE_WRONG_ANSWER,
		  "%s: KVM_SET_USER_MEMORY_REGION2 returned %d, errno %d", what, r, errno);
	errno = 0;
}

/*
 * A page of a file has one gfn, and a gfn one page, as long as there is the memslot.
 * With anything else a punch would look for the VMSA where it is not.
 */
static void case_bindings_refused(void)
{
	const struct slot *a = &slots[SLOT_A];
	const char *what = "punch after memslots were refused";
	const u32 flags = KVM_MEM_GUEST_MEMFD;
	struct window w = { };
	struct kvm_vm *other;
	int fd;

	setup(2);
	other = vm_create_barebones_type(KVM_X86_SNP_VM);
	fd = vm_create_guest_memfd(other, 4 * PAGE_SIZE, 0);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 0));
		ap_start(2, PAGE(A, 7));

		check_slot_refused("first page bound twice", SLOT_ID_REFUSED, flags,
				   GPA_REFUSED, 2, a->fd, a->pgoff - 1);
		check_slot_refused("last page bound twice", SLOT_ID_REFUSED, flags,
				   GPA_REFUSED, 1, a->fd, a->pgoff + a->nr_pages - 1);
		check_slot_refused("file of another VM", SLOT_ID_REFUSED, flags,
				   GPA_REFUSED, 4, fd, 0);
		check_slot_refused("memslot moved", a->id, flags, GPA_REFUSED, a->nr_pages,
				   a->fd, a->pgoff);
		check_slot_refused("memslot without its file", a->id, 0, a->gpa, a->nr_pages,
				   -1, 0);
		check_slot_refused("memslot with dirty log", a->id,
				   flags | KVM_MEM_LOG_DIRTY_PAGES, a->gpa, a->nr_pages, a->fd,
				   a->pgoff);

		set_temp(w.temp, PAGE(A, 0), a->nr_pages);
		window_open(&w, what, 1, 2);
		punch(SLOT_A, 0, a->nr_pages);
		window_sample(&w);
		window_check_dead(&w);
	}
}

static void case_punch_many(void)
{
	const char *what = "one hole over three VMSAs";
	struct window w = { };

	setup(3);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2));
		ap_start(2, PAGE(A, 4));
		ap_start(3, PAGE(A, 5));
		bsp(OP_TOUCH, PAGE(A, 3), 0, 0);

		/*
		 * The hole has no empty page behind the last VMSA, see
		 * case_weakness_fallocate_livelock().
		 */
		set_temp(w.temp, PAGE(A, 2), 4);
		window_open(&w, what, 1, 3);
		punch(SLOT_A, 2, 4);
		window_sample(&w);
		window_check_dead(&w);
	}
}

static void case_punch_two_slots(void)
{
	const char *what = "one hole over two slots of a file";
	struct window w = { };

	setup(2);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 7));
		ap_start(2, PAGE(A2, 1));
		bsp(OP_TOUCH, PAGE(A2, 0), 0, 0);

		set_temp(w.temp, PAGE(A, 7), 1);
		set_temp(w.temp, PAGE(A2, 0), 2);
		allocate_fillers();
		window_open(&w, what, 1, 2);
		/* All of slot A, and two pages of the one behind it in the file. */
		punch_behind_fillers(slots[SLOT_A].nr_pages + 2);
		window_sample(&w);
		window_check_dead(&w);
	}
}

static void case_punch_edges(void)
{
	static const struct {
		s64 first;
		u64 nr_pages;
		const char *what;
	} holes[] = {
		{ 3, 2, "hole that begins at a VMSA" },
		{ 2, 2, "hole that ends behind a VMSA" },
		{ 0, 8, "hole over the whole slot" },
		{ -5 - FAR, FAR + 5 + NR_TAIL_PAGES, "hole over the whole file" },
	};
	struct window w = { };
	u32 j;

	setup(1);

	while (window_next(&w)) {
		for (j = 0; j < ARRAY_SIZE(holes); j++) {
			ap_start(1, PAGE(A, 3));
			if (w.temp == WARM) {
				set_temp(WARM, PAGE(A, 3), 1);
			} else {
				set_temp(COLD, PAGE(A, 0), slots[SLOT_A].nr_pages);
				set_temp(COLD, PAGE(A2, 0), slots[SLOT_A2].nr_pages);
			}
			window_open(&w, holes[j].what, 1, 1);
			punch(SLOT_A, holes[j].first, holes[j].nr_pages);
			window_sample(&w);
			window_check_dead(&w);
		}
	}
}

static void check_memory_fault(struct kvm_vcpu *vcpu, struct snp_exit exit, gpa_t gpa,
			       const char *who)
{
	struct kvm_run *run = vcpu->run;

	SNP_CHECK(exit.type == SNP_EXIT_MEMORY_FAULT && exit.err == EFAULT,
		  SNP_CAUSE_WRONG_EXIT,
		  "%s used private memory that is shared, and got %s, errno %d, detail 0x%lx",
		  who, snp_exit_str(exit.type), exit.err, exit.detail);
	SNP_CHECK(run->memory_fault.gpa == gpa && run->memory_fault.size == PAGE_SIZE &&
		  run->memory_fault.flags == KVM_MEMORY_EXIT_FLAG_PRIVATE,
		  SNP_CAUSE_WRONG_EXIT,
		  "%s: memory fault at 0x%llx, size 0x%llx, flags 0x%llx, wanted 0x%lx, 0x%lx, 0x%llx",
		  who, run->memory_fault.gpa, run->memory_fault.size, run->memory_fault.flags,
		  gpa, (u64)PAGE_SIZE, KVM_MEMORY_EXIT_FLAG_PRIVATE);
}

/*
 * While the page is shared, its private copy is still the VMSA, and the vCPU may
 * run on.  With the punch it is gone.
 */
static void case_shared_then_punched(void)
{
	const char *what = "punch of a VMSA that was converted to shared";
	struct snp_exit exit;
	u64 nr_unvalidated;
	struct window w = { };
	gpa_t gpa;

	setup(1);
	gpa = PAGE(A, 2);

	while (window_next(&w)) {
		ap_start(1, gpa);

		vm_mem_set_shared(vm, gpa, PAGE_SIZE);
		if (w.temp == WARM)
			bsp(OP_TOUCH, alias_a2, 0, 0);

		window_open(&w, what, 1, 1);
		punch(SLOT_A, 2, 1);
		window_sample(&w);
		window_check_dead(&w);

		snp_step("private access of the BSP to shared memory", 0, 0);
		exit = bsp_try(OP_TOUCH, gpa, 0, 0);
		check_memory_fault(vcpus[BSP], exit, gpa, "the BSP");
		ap_check_rerun(1, "KVM_RUN while the VMSA is shared memory");

		/* Once it is private again, the very same access succeeds. */
		vm_mem_set_private(vm, gpa, PAGE_SIZE);
		nr_unvalidated = shared->nr_unvalidated;
		exit = __bsp();
		SNP_CHECK(exit.type == SNP_EXIT_UCALL, SNP_CAUSE_NO_RECOVERY,
			  "the BSP retried a private access and got %s, errno %d, detail 0x%lx",
			  snp_exit_str(exit.type), exit.err, exit.detail);
		SNP_CHECK(shared->nr_unvalidated > nr_unvalidated, SNP_CAUSE_WRONG_ANSWER,
			  "the page was punched, but the guest saw no new one");
	}
}

/* Here the VMSA is fine, and it is the vCPU that has to report what is amiss. */
static void __case_ap_memory_converted(enum ap_mode mode, gpa_t gpa)
{
	u64 last;
	u32 i;

	setup(1);
	if (mode == AP_USE_STACK)
		gpa = ap_stack_gpa;
	WRITE_ONCE(shared->ap[1].mode, mode);
	ap_start(1, PAGE(A, 2));

	for (i = 0; i < snp_case_rounds(); i++) {
		ap_wait_alive(1, "before its memory is converted");

		snp_step("convert memory of a running vCPU to shared, gpa 0x%lx", gpa, 0);
		vm_mem_set_shared(vm, gpa, PAGE_SIZE);
		SNP_CHECK(ap_wait(1, TIMEOUT_NS), SNP_CAUSE_HUNG,
			  "KVM_RUN of vCPU 1 did not return, its memory is gone");
		check_memory_fault(vcpus[1], aps[1].exit, gpa, "vCPU 1");
		last = heartbeat(1);
		usleep(1000);
		SNP_CHECK(heartbeat(1) == last, SNP_CAUSE_WRONG_EXIT,
			  "vCPU 1 ran on after KVM_RUN had returned");

		vm_mem_set_private(vm, gpa, PAGE_SIZE);
		ap_run(1);
		ap_wait_alive(1, "after its memory was converted back");
		snp_count_window(SNP_WINDOW_PLAIN);
	}
	SNP_CHECK(shared->ap[1].starts == 1, SNP_CAUSE_NO_RECOVERY, "vCPU 1 was restarted");
}

static void case_ap_data_converted(void)
{
	__case_ap_memory_converted(AP_USE_DATA, PAGE(DATA, 0));
}

static void case_ap_stack_converted(void)
{
	__case_ap_memory_converted(AP_USE_STACK, 0);
}

static void slot_set_present(int slot, bool present)
{
	struct userspace_mem_region *region = memslot2region(vm, slots[slot].id);
	struct kvm_userspace_memory_region2 r = region->region;

	if (present) {
		snp_step("create memslot %lu", slots[slot].id, 0);
	} else {
		snp_step("delete memslot %lu", slots[slot].id, 0);
		r.memory_size = 0;
	}
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &r);
}

static void case_slot_deleted(void)
{
	const char *what = "memslot deleted under a running vCPU";
	struct window w = { };

	setup(1);

	while (window_next(&w)) {
		const u64 index = w.next & 1;

		ap_start(1, page(SLOT_B, index));
		set_temp(w.temp, PAGE(B, 0), 2);
		window_open(&w, what, 1, 1);
		slot_set_present(SLOT_B, false);
		window_wait_dead(&w);

		/* Without a memslot, nothing tells the vCPU that its page goes away. */
		if (w.round & 1) {
			slot_set_present(SLOT_B, true);
			punch(SLOT_B, index, 1);
		} else {
			punch(SLOT_B, index, 1);
			slot_set_present(SLOT_B, true);
		}
		window_check_frozen(&w);
	}

	/* And the vCPU can be created again. */
	ap_start(1, PAGE(B, 1));
}

/* Drop all references of this process to the file of @slot. */
static void gmem_close(int slot)
{
	struct userspace_mem_region *region = memslot2region(vm, slots[slot].id);

	snp_step("close the guest_memfd of slot %lu", slots[slot].id, 0);
	close(region->region.guest_memfd);
	region->region.guest_memfd = -1;
	close(slots[slot].fd);
	slots[slot].fd = -1;
}

/* Give a slot, which must not be set, a guest_memfd of its own, and set it. */
static void gmem_renew(int slot)
{
	struct userspace_mem_region *region = memslot2region(vm, slots[slot].id);

	slots[slot].fd = vm_create_guest_memfd(vm, (slots[slot].pgoff + NR_TAIL_PAGES) *
					       PAGE_SIZE, 0);
	region->region.guest_memfd = dup(slots[slot].fd);
	slot_set_present(slot, true);
}

static void case_gmem_closed(void)
{
	const char *what = "last reference to the guest_memfd closed under a running vCPU";
	struct window w = { };

	setup(1);

	while (window_next(&w)) {
		int slot = w.round & 1 ? SLOT_C : SLOT_B;

		ap_start(1, page(slot, 1));
		set_temp(w.temp, page(slot, 0), 2);
		window_open(&w, what, 1, 1);
		gmem_close(slot);

		/*
		 * The vCPU's thread may hold a reference for a moment, in which
		 * case it is the one that frees the pages.
		 */
		window_wait_dead(&w);
		ap_check_rerun(1, "KVM_RUN without guest_memfd");
		bsp(OP_INIT_SIPI, 1, 0, 0);
		ap_check_rerun(1, "INIT and SIPI without guest_memfd");
		slot_set_present(slot, false);
		gmem_renew(slot);
	}

	/* The invalidation is over, i.e. what has no SPTE gets one again. */
	set_temp(COLD, PAGE(A, 2), 1);
	ap_start(1, PAGE(A, 2));
}

/*
 * A memslot whose file is gone has nothing to do with the next file, not even if
 * that lies in memory where the old one did.  Bind the next file to a memslot that
 * has a page of it in common with the old one.
 */
static void case_gmem_replaced(void)
{
	const char *what = "punch of a file that replaced another";
	const u64 shared_pgoff = 3;
	struct window w = { };
	int old, new;
	u64 index;

	setup(1);

	while (window_next(&w)) {
		old = w.round & 1 ? SLOT_B : SLOT_C;
		new = w.round & 1 ? SLOT_C : SLOT_B;
		index = shared_pgoff - slots[new].pgoff;

		ap_start(1, PAGE(A, 2));
		slot_set_present(new, false);
		gmem_close(new);
		gmem_close(old);
		gmem_renew(new);

		/*
		 * No file, no VMSA.  The kick of a creation that meets another one, as
		 * the memslots' here, may not wait (see weakness_kick_no_wait): start
		 * from outside of KVM_RUN.
		 */
		ap_stop(1);
		SNP_CHECK(!bsp(OP_CREATE, 1, page(old, shared_pgoff - slots[old].pgoff), 0),
			  SNP_CAUSE_WRONG_ANSWER, "AP Create without guest_memfd is refused");
		ap_run(1);
		ap_wait_failed(1, "created in a memslot without guest_memfd");
		slot_set_present(old, false);

		ap_start(1, page(new, index));
		punch_running(&w, 1, new, index, what);
		gmem_renew(old);
	}
}

/* Memslots and files that go away with nobody's VMSA in them. */
static void case_other_slots_deleted(void)
{
	static const struct {
		int slot;
		const char *what;
	} others[] = {
		{ SLOT_A2, "deletion of another slot of the same file" },
		{ SLOT_B, "deletion of a slot of another file" },
	};
	u32 i, j;

	setup(1);
	ap_start(1, PAGE(A, 7));

	for (i = 0; i < snp_case_rounds(); i++) {
		for (j = 0; j < ARRAY_SIZE(others); j++) {
			slot_set_present(others[j].slot, false);
			ap_check_unharmed(1, others[j].what);
			slot_set_present(others[j].slot, true);
			ap_check_unharmed(1, others[j].what);
			snp_count_window(SNP_WINDOW_PLAIN);
		}
	}
	gmem_close(SLOT_C);
	ap_check_unharmed(1, "another guest_memfd closed");

	SNP_CHECK(shared->ap[1].starts == 1, SNP_CAUSE_FALSE_KILL, "vCPU 1 was restarted");
}

/*
 * A hole tells KVM's MMU twice, when it begins and when it ends, for each memslot
 * that it finds.  These must be the same ones.
 */
static void case_slots_under_storm(void)
{
	const u32 nr_slots = 20 * snp_case_rounds();
	u32 i;

	setup(1);
	ap_start(1, PAGE(A, 2));
	storm_start(slots[SLOT_B].fd, 0, slots[SLOT_B].pgoff + NR_TAIL_PAGES, true);

	for (i = 0; i < nr_slots; i++) {
		u64 punches = READ_ONCE(storm.nr_punches);

		slot_set_present(SLOT_B, false);
		slot_set_present(SLOT_B, true);
		if (READ_ONCE(storm.nr_punches) != punches)
			snp_count_window(SNP_WINDOW_PLAIN);
	}
	ap_check_unharmed(1, "memslots deleted and created under a storm of punches");

	storm_stop();

	ap_create(1, PAGE(B, 1));
	ap_wait_start(1, 1, "created where the storm was");
}

/*
 * A vCPU that was destroyed has no VMSA that could be reloaded, not even if all of
 * it is still there.
 */
static void case_destroyed_not_reloaded(void)
{
	u32 i;

	setup(1);

	for (i = 0; i < 2 * snp_case_rounds(); i++) {
		const bool replaced = i & 1;

		ap_start(1, PAGE(B, 1));
		if (replaced) {
			SNP_CHECK(!bsp(OP_CREATE, 1, GPA_NO_SLOT, 0), SNP_CAUSE_WRONG_ANSWER,
				  "AP Create without a memslot is refused");
			ap_wait_failed(1, "created anew without a memslot");
		} else {
			ap_destroy(1);
		}

		slot_set_present(SLOT_B, false);
		slot_set_present(SLOT_B, true);

		if (replaced)
			ap_run(1);
		else
			ap_wake(1, true);
		ap_wait_failed(1, replaced ? "replaced, memslot created anew" :
			       "destroyed, memslot created anew, forced to be runnable");
		snp_count_window(SNP_WINDOW_PLAIN);
	}
}

/*
 * No vCPU has a VMSA at gfn 0, least of all those that run on the one that KVM
 * made, or on none.
 */
static void case_punch_gfn_zero(void)
{
	struct userspace_mem_region *region;
	u32 i;

	setup(2);
	region = memslot2region(vm, 0);
	TEST_ASSERT(!region->region.guest_phys_addr &&
		    sparsebit_is_set(region->unused_phy_pages, 0),
		    "The page at gfn 0 is in use by the guest");
	ap_start(1, PAGE(A, 2));

	for (i = 0; i < snp_case_rounds(); i++) {
		gmem_punch(region->region.guest_memfd,
			   region->region.guest_memfd_offset / PAGE_SIZE, 1);
		bsp(OP_NOP, 0, 0, 0);
		ap_check_unharmed(1, "punch of gfn 0");
		snp_count_window(SNP_WINDOW_PLAIN);
	}
	ap_start(2, PAGE(A, 4));
}

/*
 * The BSP is one of many.  Another vCPU may create it anew, and it runs on a page
 * of the guest like all of them.
 */
static void case_bsp_created_anew(void)
{
	const char *what = "punch under a BSP that was created anew";
	struct window w = { };
	struct snp_exit exit;
	u64 deadline;

	setup(1);
	ap_start(1, PAGE(A, 4));

	while (window_next(&w)) {
		WRITE_ONCE(shared->bsp_created, 0);
		WRITE_ONCE(shared->ap[1].mode, AP_CREATE_BSP);
		snp_step("wait for vCPU 1 to create the BSP", 0, 0);
		deadline = snp_now() + TIMEOUT_NS;
		while (!READ_ONCE(shared->bsp_created)) {
			if (!READ_ONCE(aps[1].running))
				fail_exit(1, "creating the BSP");
			SNP_CHECK(snp_now() < deadline, SNP_CAUSE_HUNG,
				  "vCPU 1 does not create the BSP");
		}
		SNP_CHECK(shared->bsp_created == 1, SNP_CAUSE_WRONG_ANSWER,
			  "AP Create of the BSP was answered with 0x%lx", shared->bsp_created);

		/* It begins at its entry point, and reports for duty. */
		exit = __bsp();
		SNP_CHECK(exit.type == SNP_EXIT_UCALL, SNP_CAUSE_NO_RECOVERY,
			  "the BSP was created anew and got %s, errno %d, detail 0x%lx",
			  snp_exit_str(exit.type), exit.err, exit.detail);
		shared->op = OP_SPIN;
		ap_run(BSP);

		/* Warm it is, vCPU 1 has written to it. */
		if (w.temp == COLD)
			set_temp(COLD, PAGE(A, 2), 1);
		window_open(&w, what, BSP, 1);
		punch(SLOT_A, 2, 1);
		window_sample(&w);
		window_check_dead(&w);
	}
	ap_check_unharmed(1, what);
}

/* With AP Create on INIT, the old VMSA is the vCPU's own until INIT comes. */
static void case_on_init_replaces(void)
{
	struct window w = { };
	u64 starts;

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2));
		ap_prepare(1, PAGE(A, 4));
		SNP_CHECK(!bsp(OP_CREATE_ON_INIT, 1, PAGE(A, 4), 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Create on INIT failed");
		ap_check_unharmed(1, "AP Create on INIT");
		punch_running(&w, 1, SLOT_A, 2, "punch while another VMSA waits for INIT");

		starts = shared->ap[1].starts;
		bsp(OP_INIT_SIPI, 1, 0, 0);
		ap_run(1);
		ap_wait_start(1, starts, "INIT, with a good VMSA waiting for it");
		punch_running(&w, 1, SLOT_A, 4, "punch of a VMSA that was created on INIT");
	}
}

/*
 * INIT alone takes no VMSA away, neither does it after AP Create on INIT was
 * refused.
 */
static void case_init_of_running(void)
{
	struct window w = { };
	u64 status;
	u32 i;

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2));
		for (i = 0; i < 2; i++) {
			status = bsp(OP_CREATE_ON_INIT, 1, i ? PAGE(A, 2) + 0x10 : GPA_2M, 0);
			SNP_CHECK(status == SNP_GHCB_ERR_INVALID_INPUT, SNP_CAUSE_WRONG_ANSWER,
				  "a bad AP Create on INIT was answered with 0x%lx", status);
		}

		/* The next ones wait for AP Create, so that no two can meet. */
		bsp(OP_INIT_SIPI, 1, 0, 0);
		usleep(5000);
		ap_check_unharmed(1, "INIT and SIPI");
		SNP_CHECK(shared->ap[1].starts == w.next, SNP_CAUSE_WRONG_VMSA,
			  "vCPU 1 was started by INIT and SIPI");
		punch_running(&w, 1, SLOT_A, 2, "punch after INIT and SIPI");
	}
}

/*
 * A vCPU that the guest starts the old way, by INIT and SIPI, runs the VMSA that
 * KVM made at launch, which knows only how to say so.
 */
static void case_init_of_launched(void)
{
	u32 id;

	setup(2);

	for (id = 1; id <= 2; id++) {
		ap_run(id);
		bsp(OP_INIT_SIPI, id, 0, 0);
		snp_step("wait for vCPU %lu to terminate", id, 0);
		SNP_CHECK(ap_wait(id, TIMEOUT_NS), SNP_CAUSE_HUNG,
			  "INIT and SIPI do not start vCPU %u", id);
		SNP_CHECK(aps[id].exit.type == SNP_EXIT_TERM &&
			  aps[id].exit.detail == SNP_TERM_STRAY, SNP_CAUSE_WRONG_EXIT,
			  "started by INIT and SIPI, vCPU %u got %s, detail 0x%lx", id,
			  snp_exit_str(aps[id].exit.type), aps[id].exit.detail);
		snp_count_window(SNP_WINDOW_PLAIN);
	}
}

/* A VMSA that was replaced is nobody's, the one that took its place is the vCPU's. */
static void case_punch_replaced(void)
{
	const char *what = "punch of a VMSA that was replaced";
	struct window w = { };
	u64 starts;

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2));
		starts = shared->ap[1].starts;
		ap_create(1, PAGE(A, 4));
		ap_wait_start(1, starts, "created anew while it runs");

		set_temp(w.temp, PAGE(A, 2), 1);
		window_open(&w, what, 1, 1);
		punch(SLOT_A, 2, 1);
		window_is_proven(&w);
		ap_check_unharmed(1, what);

		punch_running(&w, 1, SLOT_A, 4, "punch of a VMSA that replaced another");
	}
}

static void case_create_on_init(void)
{
	struct window w = { };
	u64 starts;
	gpa_t gpa;

	setup(1);
	gpa = PAGE(A, 4);

	/* Nothing happens before INIT, and the VMSA is used after SIPI. */
	ap_prepare(1, gpa);
	SNP_CHECK(!bsp(OP_CREATE_ON_INIT, 1, gpa, 0), SNP_CAUSE_WRONG_ANSWER,
		  "AP Create on INIT failed");
	ap_run(1);
	ap_check_blocks(1, 1, 0, "AP Create on INIT, before INIT");
	bsp(OP_INIT, 1, 0, 0);
	usleep(5000);
	ap_check_blocks(1, 1, 0, "AP Create on INIT, before SIPI");
	bsp(OP_INIT_SIPI, 1, 0, 0);
	ap_wait_alive(1, "after INIT and SIPI");
	snp_count_window(SNP_WINDOW_PLAIN);

	while (window_next(&w)) {
		/* Have the vCPU wait in KVM_RUN, without a VMSA. */
		SNP_CHECK(!bsp(OP_DESTROY, 1, 0, 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Destroy failed");
		if (!READ_ONCE(aps[1].running))
			ap_run(1);
		if (!ap_wait_blocked(1))
			fail_exit(1, "after AP Destroy");

		ap_prepare(1, gpa);
		SNP_CHECK(!bsp(OP_CREATE_ON_INIT, 1, gpa, 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Create on INIT failed");
		starts = shared->ap[1].starts;
		punch_idle(&w, 1, SLOT_A, 4, "punch of a VMSA that waits for INIT");
		bsp(OP_INIT_SIPI, 1, 0, 0);
		ap_wait_failed(1, w.what);
		window_check_frozen(&w);
		SNP_CHECK(shared->ap[1].starts == starts, SNP_CAUSE_WRONG_VMSA,
			  "vCPU 1 started from a page that was punched");
	}
}

static void case_destroy_then_punch(void)
{
	struct window w = { };
	u64 last;

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 6));
		SNP_CHECK(!bsp(OP_DESTROY, 1, 0, 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Destroy failed");
		if (!ap_wait_blocked(1))
			fail_exit(1, "after AP Destroy");

		/* Destroyed is destroyed, even if userspace thinks otherwise. */
		last = heartbeat(1);
		if (w.round & 1) {
			ap_wake(1, true);
			ap_wait_failed(1, "destroyed vCPU forced to be runnable");
		}

		punch_idle(&w, 1, SLOT_A, 6, "punch after AP Destroy");

		if (w.round & 1)
			ap_run(1);
		else
			ap_wake(1, true);
		ap_wait_failed(1, "destroyed vCPU forced to be runnable");
		SNP_CHECK(heartbeat(1) == last, SNP_CAUSE_WRONG_VMSA,
			  "vCPU 1 ran although it was destroyed");
	}
}

static void check_refused(const char *what, u64 status, u64 wanted)
{
	snp_count_window(SNP_WINDOW_PLAIN);
	SNP_CHECK(status == wanted, SNP_CAUSE_WRONG_ANSWER,
		  "%s: KVM answered 0x%lx, wanted 0x%lx", what, status, wanted);
}

static u64 create_with_features(u64 request, u64 toggled)
{
	return bsp(OP_RAW_CREATION, 2ull << 32 | request, PAGE(A, 4), toggled);
}

static void case_refused_requests(void)
{
	const u64 create = 1ull << 32 | SVM_VMGEXIT_AP_CREATE;
	const u64 create_on_init = 1ull << 32 | SVM_VMGEXIT_AP_CREATE_ON_INIT;
	const u64 invalid = SNP_GHCB_ERR_INVALID_INPUT;
	gpa_t vmsa;
	u64 status;
	u32 i;

	setup(2);
	vmsa = PAGE(A, 2);
	ap_start(1, vmsa);

	check_refused("VMSA aligned to 2M", bsp(OP_CREATE, 1, GPA_2M, 0), invalid);
	check_refused("VMSA not aligned to 4K", bsp(OP_CREATE, 1, vmsa + 0x10, 0), invalid);
	check_refused("VMSA beyond MAXPHYADDR",
		      bsp(OP_CREATE, 1, 1ull << 52 | PAGE_SIZE, 0), invalid);
	check_refused("no such APIC ID", bsp(OP_CREATE, 0xff, vmsa, 0), invalid);
	check_refused("APIC ID of more than 8 bits", bsp(OP_CREATE, 0x101, vmsa, 0), invalid);
	check_refused("destroy without such APIC ID", bsp(OP_DESTROY, 0xff, 0, 0), invalid);
	check_refused("unknown request", bsp(OP_RAW_CREATION, 1ull << 32 | 3, vmsa, 0), invalid);
	check_refused("VMPL 1", bsp(OP_RAW_CREATION, create | 1 << 16, vmsa, 0), invalid);
	check_refused("features not in the GHCB", bsp(OP_CREATE_WITHOUT_RAX, create, vmsa, 0),
		      SNP_GHCB_ERR_MISSING_INPUT);
	check_refused("features not in the GHCB, on INIT",
		      bsp(OP_CREATE_WITHOUT_RAX, create_on_init, vmsa, 0),
		      SNP_GHCB_ERR_MISSING_INPUT);

	/* What was refused must not have touched its target. */
	ap_check_unharmed(1, "after requests that were refused");
	SNP_CHECK(shared->ap[1].starts == 1, SNP_CAUSE_WRONG_ANSWER,
		  "a refused request restarted vCPU 1");

	/*
	 * Not every kernel looks at the features, those that do not leave it to
	 * VMRUN.  Name a vCPU that is not started.
	 */
	for (i = 3; i < 5; i++) {
		check_refused("interrupt injection that the VM does not have",
			      create_with_features(SVM_VMGEXIT_AP_CREATE, BIT(i)), invalid);
		check_refused("interrupt injection that the VM does not have, on INIT",
			      create_with_features(SVM_VMGEXIT_AP_CREATE_ON_INIT, BIT(i)),
			      invalid);
	}
	status = create_with_features(SVM_VMGEXIT_AP_CREATE, BIT(1));
	if (status)
		check_refused("wrong features", status, invalid);
	else
		snp_note("AP Create with wrong features is accepted");
	SNP_CHECK(create_with_features(SVM_VMGEXIT_AP_CREATE_ON_INIT, BIT(1)) == status &&
		  create_with_features(SVM_VMGEXIT_AP_CREATE, BIT(0)) == status &&
		  create_with_features(SVM_VMGEXIT_AP_CREATE, BIT_ULL(40)) == status,
		  SNP_CAUSE_WRONG_ANSWER, "some wrong features are accepted, others are not");
}

/*
 * If the first AP Create fails, then there is no VMSA, and in particular the one
 * that KVM made at launch has had its day.  The same goes for a vCPU that the guest
 * destroys before it has ever created it.
 */
static void case_first_create_fails(void)
{
	static const struct {
		gpa_t gpa;
		const char *what;
	} places[] = {
		{ GPA_NO_SLOT, "first AP Create without a memslot" },
		{ GPA_NO_GMEM, "first AP Create in a memslot without guest_memfd" },
	};
	u32 i, id;

	setup(3);
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, GPA_NO_GMEM, SLOT_ID_NO_GMEM,
				    1, 0);

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		id = i + 1;
		SNP_CHECK(!bsp(OP_CREATE, id, places[i].gpa, 0), SNP_CAUSE_WRONG_ANSWER,
			  "%s is refused", places[i].what);
		ap_run(id);
		SNP_CHECK(!ap_wait_blocked(id), SNP_CAUSE_HUNG,
			  "%s: KVM_RUN sleeps for ever instead of failing", places[i].what);
		ap_check_failed(id, places[i].what);
		SNP_CHECK(aps[id].exit.type == SNP_EXIT_FAIL_ENTRY, SNP_CAUSE_WRONG_EXIT,
			  "%s: there is nothing to run, and vCPU %u got %s", places[i].what, id,
			  snp_exit_str(aps[id].exit.type));
		ap_check_rerun(id, "KVM_RUN again");
		SNP_CHECK(!shared->ap[id].starts, SNP_CAUSE_WRONG_VMSA,
			  "vCPU %u ran guest code", id);
		snp_count_window(SNP_WINDOW_PLAIN);

		ap_start(id, PAGE(A, 2 * id));
	}

	SNP_CHECK(!bsp(OP_DESTROY, 3, 0, 0), SNP_CAUSE_WRONG_ANSWER, "AP Destroy failed");
	ap_run(3);
	ap_check_blocks(3, 3, 0, "AP Destroy before the first AP Create");
	ap_wake(3, true);
	ap_wait_failed(3, "destroyed before the first AP Create, forced to be runnable");
	ap_start(3, PAGE(A, 6));
}

/*
 * The host may use a page that was punched for the next one that it needs, e.g.
 * for the VMSA of another vCPU of the same VM.  A vCPU that comes back to the
 * old physical address would then run that.
 */
enum way_back {
	WOKEN,
	ENTERED,
	ENTERED_SIGNALED,
	PARKED,
	INIT,
	PENDING,
};

static void __case_identity(enum way_back way)
{
	static const u32 parked[] = {
		KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED,
		KVM_MP_STATE_AP_RESET_HOLD,
	};
	const bool stopped = way == ENTERED || way == ENTERED_SIGNALED || way == PARKED ||
			     way == PENDING;
	const u64 nr_spares = 3;
	struct window w = { };
	u64 last, deadline;
	u32 j;

	setup(2);

	while (window_next(&w)) {
		const bool on_init = way == INIT && (w.round & 1);
		/* A page that is new in the file may wait on a list when it is punched. */
		const u64 index = 1 + (w.next - 1) % 4;

		if (on_init)
			ap_prepare(1, PAGE(A2, 1));

		if (way == PENDING) {
			ap_create(1, PAGE(A, index));
		} else if (stopped) {
			ap_start(1, PAGE(A, index));
			ap_stop(1);
			if (way == PARKED)
				set_mp_state(1, parked[w.next % ARRAY_SIZE(parked)]);
		} else {
			ap_start_halted(1, PAGE(A, index));
		}

		/* Make room for pages that have to be allocated anew. */
		punch(SLOT_A, 5, nr_spares);

		last = heartbeat(2);
		punch_idle(&w, 1, SLOT_A, index, "punched page reused for another VMSA");

		/* The freed page is most likely among them. */
		for (j = 0; j < nr_spares; j++)
			ap_prepare(2, PAGE(A, 5 + j));

		/* With AP Create on INIT, the VMSA that is gone is the current one still. */
		if (on_init)
			SNP_CHECK(!bsp(OP_CREATE_ON_INIT, 1, PAGE(A2, 1), 0),
				  SNP_CAUSE_WRONG_ANSWER, "AP Create on INIT failed");

		if (way == PARKED)
			set_mp_state(1, KVM_MP_STATE_RUNNABLE);
		WRITE_ONCE(aps[1].signaled, way == ENTERED_SIGNALED);
		if (stopped)
			ap_run(1);
		else if (way == INIT && !on_init)
			bsp(OP_INIT_SIPI, 1, 0, 0);
		else
			ap_wake(1, way == WOKEN && (w.round & 1));
		snp_step("wait for KVM_RUN of vCPU %lu to fail", 1, 0);
		deadline = snp_now() + TIMEOUT_NS;
		while (!ap_wait(1, 1000000) && heartbeat(2) == last)
			SNP_CHECK(snp_now() < deadline, SNP_CAUSE_HUNG,
				  "%s, %s: KVM_RUN of vCPU 1 did not return",
				  w.what, temp_str[w.temp]);
		SNP_CHECK(heartbeat(2) == last, SNP_CAUSE_WRONG_VMSA,
			  "%s, %s: the thread of vCPU 1 runs the VMSA of vCPU 2",
			  w.what, temp_str[w.temp]);
		ap_check_failed(1, w.what);
		window_check_frozen(&w);
		WRITE_ONCE(aps[1].signaled, false);

		if (on_init) {
			u64 starts = shared->ap[1].starts;

			bsp(OP_INIT_SIPI, 1, 0, 0);
			ap_run(1);
			ap_wait_start(1, starts, "INIT, with a good VMSA waiting for it");
			ap_destroy(1);
			ap_stop(1);
		}
	}
}

static void case_identity(void)
{
	__case_identity(WOKEN);
}

static void case_identity_stopped(void)
{
	__case_identity(ENTERED);
}

static void case_identity_signaled(void)
{
	__case_identity(ENTERED_SIGNALED);
}

/* Nor does it matter what the vCPU waited for meanwhile. */
static void case_identity_parked(void)
{
	__case_identity(PARKED);
}

/* Neither INIT nor the promise of another VMSA makes up for the one that is gone. */
static void case_identity_init(void)
{
	__case_identity(INIT);
}

/* A vCPU that has not run yet has no page, but the promise of one. */
static void case_identity_pending(void)
{
	__case_identity(PENDING);
}

static void pin_apart(pthread_t first, pthread_t second)
{
	cpu_set_t allowed, one;
	int cpu, nr = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) || CPU_COUNT(&allowed) < 2)
		return;

	for (cpu = 0; nr < 2; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		pthread_setaffinity_np(nr++ ? second : first, sizeof(one), &one);
	}
}

/*
 * A page that was punched has to become free, and does not if KVM keeps one of
 * the references it took for AP Creation, or for the reload under the punch.  The
 * host has other pages that come and go: only what is lost every time, and not
 * without punches, is a leak.
 */
static void case_pages_freed(void)
{
	const s64 nr_punches = 128;
	u32 attempt, i;
	s64 lost, noise;
	u64 start, ns;

	setup(1);

	/* Each CPU has a list of some 30 pages that are not counted yet. */
	pin_apart(pthread_self(), aps[1].thread);

	for (attempt = 0; attempt < 4; attempt++) {
		lost = snp_nr_listed_pages(true);
		start = snp_now();
		for (i = 0; i < nr_punches; i++) {
			ap_start(1, PAGE(A, 2));
			punch(SLOT_A, 2, 1);
			ap_wait_failed(1, "punch under a running vCPU");
		}
		ns = snp_now() - start;
		lost = (s64)snp_nr_listed_pages(true) - lost;

		snp_count_window(SNP_WINDOW_PLAIN);
		snp_event("%lu punches, %lu pages more", nr_punches, lost);
		if (lost < nr_punches / 2)
			return;

		noise = snp_nr_listed_pages(true);
		usleep(ns / 1000);
		noise = (s64)snp_nr_listed_pages(true) - noise;
		snp_event("no punches, %lu pages more", noise, 0);
		if (noise > nr_punches / 16 || noise < -nr_punches / 16) {
			snp_note("the host is too busy to count pages");
			return;
		}
	}
	snp_fail(SNP_CAUSE_LEAK, "%ld punches, again and again, and %ld pages not freed",
		 nr_punches, lost);
}

static bool stop_signals;

static void *signal_storm(void *__ap)
{
	struct ap *ap = __ap;

	pthread_setname_np(pthread_self(), "storm");
	while (!READ_ONCE(stop_signals)) {
		pthread_kill(ap->thread, SIGUSR1);
		usleep(50);
	}
	return NULL;
}

/* A signal interrupts the reload of the VMSA, which has to go on afterwards. */
static void case_signals(void)
{
	struct window w = { };
	pthread_t storm;
	u64 eintr;
	int r;

	setup(1);

	while (window_next(&w)) {
		ap_start(1, PAGE(A, 2));

		eintr = READ_ONCE(aps[1].nr_eintr);
		WRITE_ONCE(stop_signals, false);
		r = pthread_create(&storm, NULL, signal_storm, &aps[1]);
		TEST_ASSERT(!r, "pthread_create() failed: %d", r);
		while (READ_ONCE(aps[1].nr_eintr) == eintr)
			usleep(10);

		punch_running(&w, 1, SLOT_A, 2, "punch under a storm of signals");

		WRITE_ONCE(stop_signals, true);
		pthread_join(storm, NULL);
		ap_check_rerun(1, "KVM_RUN after the storm");
	}
}

static void case_vm_fd_closed(void)
{
	const char *what = "punch after the VM's file descriptor was closed";
	struct window w = { };
	u32 i;

	setup(4);

	/* The attributes need the VM's file descriptor, set them now. */
	for (i = 0; i < 4; i++) {
		ap_create(1 + i, PAGE(A, 2 * i));
		set_temp(i & 1 ? WARM : COLD, PAGE(A, 2 * i), 1);
	}

	snp_step("close the VM", 0, 0);
	close(vm->fd);
	vm->fd = -1;

	for (i = 0; i < 4; i++) {
		w.temp = i & 1 ? WARM : COLD;
		ap_run(1 + i);
		window_open(&w, what, 1 + i, 1);
		punch(SLOT_A, 2 * i, 1);
		window_sample(&w);
		window_check_dead(&w);
	}

	/* Nobody is left to be told, all pages have to be reclaimed. */
	for (i = 0; i < 4; i++)
		close(vcpus[1 + i]->fd);
	punch(SLOT_A, 0, slots[SLOT_A].nr_pages);
}

/*
 * Opt-in
 */
static u64 nr_pages_allocated(void)
{
	char name[64];
	u64 val, sum = 0;
	FILE *f = fopen("/proc/vmstat", "r");

	TEST_ASSERT(f, "Cannot read /proc/vmstat");
	while (fscanf(f, "%63s %lu", name, &val) == 2) {
		if (!strncmp(name, "pgalloc_", 8))
			sum += val;
	}
	fclose(f);
	return sum;
}

struct punch_work {
	int fd;
	u64 pgoff, nr_pages;
	u64 delay;		/* punch after so many iterations, */
	struct ap *entering;	/* from when this one enters KVM_RUN once more, */
	u64 nr_entries;
	u64 heartbeat;		/* or when it runs; delay is then what it took */
	bool early;		/* it did not run yet */
	u64 ns;
	bool done;
};

static bool punch_is_late(struct punch_work *work)
{
	return work->entering && heartbeat(work->entering->id) != work->heartbeat;
}

static void *punch_thread(void *__work)
{
	struct punch_work *work = __work;
	u64 start, i;

	pthread_setname_np(pthread_self(), "punch");
	while (work->entering && READ_ONCE(work->entering->nr_entries) == work->nr_entries)
		;
	for (i = 0; i < READ_ONCE(work->delay) && !punch_is_late(work); i++)
		;
	work->delay = i;
	work->early = !punch_is_late(work);
	start = snp_now();
	gmem_punch(work->fd, work->pgoff, work->nr_pages);
	work->ns = snp_now() - start;
	__atomic_store_n(&work->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * Punch the VMSA of vCPU 1, page @index of slot A, @delay iterations after it has
 * entered KVM_RUN, or when it runs; KVM_RUN has to fail.  Then give it another one
 * in the same place.  Returns after how many iterations that was.
 */
static u64 punch_beside_run(u64 index, u64 delay, const char *what)
{
	const u64 nr_spares = 3;
	struct punch_work work;
	pthread_t thread;
	u64 last, starts;
	u32 j;
	int r;

	punch(SLOT_A, 5, nr_spares);

	work = (struct punch_work) {
		.fd = slots[SLOT_A].fd,
		.pgoff = slots[SLOT_A].pgoff + index,
		.nr_pages = 1,
		.entering = &aps[1],
		.nr_entries = aps[1].nr_entries,
		.delay = delay,
		.heartbeat = heartbeat(1),
	};
	r = pthread_create(&thread, NULL, punch_thread, &work);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
	ap_run(1);
	pthread_join(thread, NULL);
	last = heartbeat(1);

	/* The freed page becomes a VMSA of vCPU 2, as in __case_identity(). */
	for (j = 0; j < nr_spares; j++)
		ap_prepare(2, PAGE(A, 5 + j));
	ap_wait_failed(1, what);
	ap_run(1);
	__ap_wait_failed(1, 2, what);
	SNP_CHECK(heartbeat(1) == last, SNP_CAUSE_IN_USE,
		  "%s: vCPU 1 ran on, its heartbeat went from %lu to %lu",
		  what, last, heartbeat(1));
	if (work.early)
		snp_count_window(SNP_WINDOW_PLAIN);

	starts = shared->ap[1].starts;
	ap_prepare(1, PAGE(A, index));
	ap_run(1);
	ap_wait_start(1, starts, what);
	ap_destroy(1);
	ap_stop(1);
	return work.delay;
}

/*
 * A punch while KVM_RUN looks up the page of a new VMSA, before the vCPU is in the
 * guest.  KVM may have found the page that is about to go, and must not use it: it
 * would belong to somebody else then, and the one that takes its place in the file
 * would never be looked at.  The punch has to be over within a few instructions of
 * KVM_RUN, which schedules can aim at.
 */
static void case_punch_beside_reload(void)
{
	const u32 nr_rounds = 10 * snp_case_rounds();
	u32 i;

	setup(2);

	for (i = 0; i < nr_rounds; i++) {
		ap_create(1, PAGE(A, 1 + i % 4));
		punch_beside_run(1 + i % 4, 600 * (i % 10), "punch beside the lookup of a VMSA");
	}
}

/*
 * The same for a vCPU that has run before.  It enters the guest on the VMSA that it
 * has, and the punch must not come between its last look at requests and the kick;
 * or on one that was rebuilt while it was out, whose reload must not forget a punch
 * that comes right behind it.
 */
static void case_punch_beside_entry(void)
{
	static const char * const what[] = {
		"punch beside the entry of a vCPU",
		"punch beside the reload of a rebuilt VMSA",
	};
	const u32 nr_rounds = 10 * snp_case_rounds();
	u64 span[2] = { }, delay, took;
	u32 i, step;

	setup(2);

	for (i = 0; i < nr_rounds; i++) {
		const u64 index = 1 + i % 4;
		const bool rebuilt = i & 1;

		ap_start(1, PAGE(A, index));
		ap_stop(1);
		if (rebuilt) {
			punch(SLOT_A, index, 1);
			ap_prepare(1, PAGE(A, index));
		}

		/* How long it takes until the guest runs is seen in the first of eight. */
		step = i / 2 % 8;
		delay = step ? span[rebuilt] * (step - 1) / 7 : -1ull;
		took = punch_beside_run(index, delay, what[rebuilt]);
		if (!step)
			span[rebuilt] = took;
	}
}

/*
 * Two requests in a row, the second one while the vCPU carries out the first: it has
 * to get the VMSA of the second.
 */
static void case_create_beside_create(void)
{
	const char *what = "created twice in a row";
	const u32 nr_rounds = 10 * snp_case_rounds();
	u64 ret, deadline, span = 0;
	u32 i;

	setup(1);
	ap_start(1, PAGE(A, 1));

	for (i = 0; i < nr_rounds; i++) {
		const gpa_t first = PAGE(A, 2 + i % 2 * 2), second = first + PAGE_SIZE;

		ap_prepare(1, first);
		ap_prepare(1, second);

		/* How long the first takes is seen in the first of eight. */
		shared->delay = i % 8 ? span * (i % 8 - 1) / 7 : -1ull;
		SNP_CHECK(!bsp(OP_CREATE_TWICE, 1, first, second), SNP_CAUSE_WRONG_ANSWER,
			  "one of two AP Create failed");
		if (i % 8 == 0)
			span = shared->delay;

		deadline = snp_now() + TIMEOUT_NS;
		do {
			ret = bsp(OP_RELEASE, first, 0, 0);
		} while (ret == SNP_RMP_FAIL_INUSE && snp_now() < deadline);
		SNP_CHECK(!ret, SNP_CAUSE_WRONG_VMSA,
			  "%s: RMPADJUST cannot release the first VMSA: %lu", what, ret);
		ap_check_unharmed(1, what);
		snp_count_window(SNP_WINDOW_PLAIN);
	}
}

/*
 * A vCPU that waits for the punch to end asks for its page again and again, and
 * asking allocates the page that the punch has just freed.  The punch starts over
 * until it finds nothing to free, unless the last page in the hole is the last
 * one that it frees.  So many vCPUs and an empty page at the end of the hole
 * keep each other busy.
 */
static void case_weakness_fallocate_livelock(void)
{
	static const u32 nr_aps[] = { 1, 2, 4, 8, 16, 32 };
	const u32 nr_max = nr_aps[ARRAY_SIZE(nr_aps) - 1];
	struct punch_work work;
	u64 pages, limit, start, next, shorter = 0, before = 0;
	pthread_t thread;
	u32 i, j, tail, stuck = 0;
	int r;

	setup(nr_max);

	for (i = 0; i < ARRAY_SIZE(nr_aps); i++) {
		for (tail = 0; tail < 2; tail++) {
			const u32 first = nr_max - nr_aps[i];
			u32 parked = 0;

			for (j = 1; j <= nr_aps[i]; j++)
				ap_start(j, PAGE(MANY, first + j - 1));
			for (j = 1; j <= nr_aps[i]; j++)
				ap_wait_alive(j, "before the punch");

			work = (struct punch_work) {
				.fd = slots[SLOT_MANY].fd,
				.pgoff = slots[SLOT_MANY].pgoff + first,
				.nr_pages = nr_aps[i] + tail,
			};
			pages = nr_pages_allocated();
			snp_step("punch %lu VMSAs, %lu empty pages behind", nr_aps[i], tail);
			r = pthread_create(&thread, NULL, punch_thread, &work);
			TEST_ASSERT(!r, "pthread_create() failed: %d", r);

			/* One more page, and an empty one, cannot be that much work. */
			limit = max_t(u64, NSEC_PER_SEC, 8 * shorter);
			start = snp_now();
			next = NSEC_PER_SEC / 1000;
			while (!READ_ONCE(work.done) && (!tail || snp_now() - start < limit)) {
				usleep(1000);
				if (READ_ONCE(work.done) || snp_now() - start < next)
					continue;
				ksft_print_msg("%2u vCPUs, %u empty pages: %lu ms, %lu so far\n",
					       nr_aps[i], tail, (snp_now() - start) / 1000000,
					       nr_pages_allocated() - pages);
				fflush(stdout);
				next *= 10;
			}
			for (j = 1; j <= nr_aps[i] && !READ_ONCE(work.done); j++) {
				ap_stop(j);
				parked++;
				usleep(20000);
			}
			pthread_join(thread, NULL);
			pages = nr_pages_allocated() - pages;

			snp_note("%2u vCPUs, %u empty pages: %.3f ms, %lu allocations, %u parked",
				 nr_aps[i], tail, work.ns / 1e6, pages, parked);
			for (j = 1; j <= nr_aps[i]; j++)
				ap_stop(j);

			if (tail && parked && !stuck) {
				stuck = nr_aps[i];
				before = shorter;
			}
			shorter = work.ns;
		}
	}

	if (stuck)
		snp_weakness("%u VMSAs: %lu ms, with an empty page >%lu ms", stuck,
			     before / 1000000,
			     max_t(u64, NSEC_PER_SEC, 8 * before) / 1000000);
}

/*
 * Deleting a memslot kicks all vCPUs, for reasons of its own and without waiting,
 * right before the kick on behalf of the VMSA.  That does not wait then, see
 * case_weakness_kick_no_wait(), and the vCPU may run on for a moment.
 */
static void case_weakness_slot_deletion(void)
{
	const u32 nr_rounds = 20 * snp_case_rounds();
	u32 i, nr_late = 0;
	struct window w = { };
	u64 deadline;

	setup(1);

	for (i = 0; i < nr_rounds; i++) {
		ap_start(1, PAGE(B, 1));
		set_temp(COLD, PAGE(B, 0), 2);
		window_open(&w, "cold deletion of a memslot", 1, 1);
		slot_set_present(SLOT_B, false);
		window_sample(&w);

		deadline = snp_now() + WATCH_NS;
		while (heartbeat(1) == w.heartbeats[1] && snp_now() < deadline)
			;
		nr_late += heartbeat(1) != w.heartbeats[1];

		window_wait_dead(&w);
		slot_set_present(SLOT_B, true);
	}

	if (nr_late)
		snp_weakness("%u of %u vCPUs ran on after their memslot was gone",
			     nr_late, nr_rounds);
}

/*
 * The same without a flood: KVM kicks all vCPUs, without waiting, when one of them
 * is reset, which AP Creation does.  A guest starts its APs one after another, and
 * the first one loses its VMSA meanwhile.  This may kill the host.
 */
static void case_weakness_create_beside_punch(void)
{
	const u32 nr_rounds = 10 * snp_case_rounds();
	struct window w = { };
	struct punch_work work;
	u32 i, j, nr_creations = 0;
	pthread_t thread;
	u64 status;
	int r;

	setup(2);
	ap_start(2, PAGE(A, 4));

	for (i = 0; i < nr_rounds; i++) {
		ap_start(1, PAGE(A, 2));
		set_temp(COLD, PAGE(A, 2), 1);
		window_open(&w, "cold punch beside a creation", 1, 1);

		work = (struct punch_work) {
			.fd = slots[SLOT_A].fd,
			.pgoff = slots[SLOT_A].pgoff + 2,
			.nr_pages = 1,
		};
		for (j = 0; !READ_ONCE(work.done); j++) {
			/* The guest has been at it for a while */
			if (j == 2) {
				r = pthread_create(&thread, NULL, punch_thread, &work);
				TEST_ASSERT(!r, "pthread_create() failed: %d", r);
			}
			status = bsp(OP_CREATE, 2, PAGE(A, 4), 0);
			SNP_CHECK(!status, SNP_CAUSE_WRONG_ANSWER,
				  "AP Create was answered with 0x%lx", status);
			nr_creations++;
		}
		pthread_join(thread, NULL);
		window_sample(&w);

		window_check_dead(&w);
	}
	snp_note("%u rounds, %u creations", nr_rounds, nr_creations);
}

/*
 * The page of a running vCPU is punched while AP Create gives it another one.  KVM must
 * not lose track of the old one before the vCPU has left it.
 */
static void case_weakness_replace_beside_punch(void)
{
	const char *what = "punch while AP Create replaces the VMSA";
	const u32 nr_rounds = 10 * snp_case_rounds();
	struct punch_work work;
	pthread_t thread;
	u32 i;
	int r;

	setup(1);

	for (i = 0; i < nr_rounds; i++) {
		const u64 index = 1 + i % 3, other = 5 + i % 3;

		ap_start(1, PAGE(A, index));
		ap_prepare(1, PAGE(A, other));
		/* The flush of a SPTE would have the vCPU leave. */
		set_temp(COLD, PAGE(A, index), 1);

		work = (struct punch_work) {
			.fd = slots[SLOT_A].fd,
			.pgoff = slots[SLOT_A].pgoff + index,
			.nr_pages = 1,
			.delay = 2000 * (i % 10),
		};
		r = pthread_create(&thread, NULL, punch_thread, &work);
		TEST_ASSERT(!r, "pthread_create() failed: %d", r);
		SNP_CHECK(!bsp(OP_CREATE, 1, PAGE(A, other), 0), SNP_CAUSE_WRONG_ANSWER,
			  "%s: AP Create failed", what);
		pthread_join(thread, NULL);
		snp_count_window(SNP_WINDOW_COLD);

		/* KVM_RUN may have failed before AP Create was there. */
		if (ap_wait(1, 1000000)) {
			ap_check_failed(1, what);
			ap_run(1);
		}
		ap_check_unharmed(1, what);
		ap_destroy(1);
		ap_stop(1);
	}
}

static bool stop_flood;

static void *nmi_flood(void *arg)
{
	pthread_setname_np(pthread_self(), "flood");
	while (!READ_ONCE(stop_flood))
		snp_send_nmi(vm, 1);
	return NULL;
}

/*
 * The kick that takes a vCPU off its VMSA waits for the vCPU only if it is the
 * first to kick.  If somebody else's kick, which does not wait, is on its way,
 * then the punch goes on at once, and meets a vCPU that is still in the guest.
 * Only a cold punch can show it.  This may kill the host.
 */
static void case_weakness_kick_no_wait(void)
{
	const u32 nr_rounds = 20 * snp_case_rounds();
	struct window w = { };
	u64 nmis, deadline;
	pthread_t flood;
	u32 i;
	int r;

	setup(1);
	WRITE_ONCE(shared->ap[1].mode, AP_STAY_IN_NMI);

	for (i = 0; i < nr_rounds; i++) {
		nmis = READ_ONCE(shared->ap[1].nmis);
		ap_start(1, PAGE(A, 2));

		WRITE_ONCE(stop_flood, false);
		r = pthread_create(&flood, NULL, nmi_flood, NULL);
		TEST_ASSERT(!r, "pthread_create() failed: %d", r);

		deadline = snp_now() + TIMEOUT_NS;
		while (READ_ONCE(shared->ap[1].nmis) == nmis)
			SNP_CHECK(snp_now() < deadline, SNP_CAUSE_NO_WINDOW, "no NMI arrives");

		set_temp(COLD, PAGE(A, 2), 1);
		window_open(&w, "cold punch under a flood of NMIs", 1, 1);
		punch(SLOT_A, 2, 1);
		window_sample(&w);

		window_check_dead(&w);
		WRITE_ONCE(stop_flood, true);
		pthread_join(flood, NULL);
	}
	snp_note("%u rounds", nr_rounds);
}

/*
 * AP Create on INIT changes nothing before INIT, not even if the vCPU has yet to take
 * notice of an AP Destroy, or of an AP Create, that was before it.  The VMSA that waits
 * for INIT would count as vCPU 2.
 */
static void case_weakness_on_init_at_once(void)
{
	const u32 nr_rounds = 3 * snp_case_rounds();
	u64 starts, early, deadline;
	u32 i, nr_early = 0;
	bool create;

	setup(2);

	for (i = 0; i < nr_rounds; i++) {
		create = i % 3 == 1;
		ap_start(1, PAGE(A, 2));
		ap_stop(1);

		if (create)
			ap_create(1, PAGE(A, 6));
		else
			SNP_CHECK(!bsp(OP_DESTROY, 1, 0, 0), SNP_CAUSE_WRONG_ANSWER,
				  "AP Destroy failed");
		ap_prepare(2, PAGE(A, 4));
		SNP_CHECK(!bsp(OP_CREATE_ON_INIT, 1, PAGE(A, 4), 0), SNP_CAUSE_WRONG_ANSWER,
			  "AP Create on INIT failed");

		/* INIT in time is as good as later, and does not stand in for SIPI. */
		if (i % 3 == 2)
			bsp(OP_INIT, 1, 0, 0);

		starts = READ_ONCE(shared->ap[1].starts);
		early = READ_ONCE(shared->ap[2].starts);
		ap_run(1);

		snp_step("wait for vCPU %lu to carry out the first request", 1, 0);
		deadline = snp_now() + (i % 3 == 2 ? 100 * WATCH_NS : TIMEOUT_NS);
		while (READ_ONCE(shared->ap[2].starts) == early) {
			if (create ? READ_ONCE(shared->ap[1].starts) != starts :
				     vcpu_get_stat(vcpus[1], blocking))
				break;
			if (!READ_ONCE(aps[1].running))
				fail_exit(1, "AP Create on INIT");
			if (snp_now() < deadline)
				continue;
			/* See the next case. */
			if (i % 3 == 2)
				break;
			snp_fail(SNP_CAUSE_HUNG, "vCPU 1 neither runs nor blocks");
		}

		if (READ_ONCE(shared->ap[2].starts) != early) {
			nr_early++;
		} else {
			bsp(OP_INIT_SIPI, 1, 0, 0);
			__ap_wait_start(1, 2, early, "INIT, after AP Create on INIT");
		}
		snp_count_window(SNP_WINDOW_PLAIN);
		ap_destroy(1);
		ap_stop(1);
	}

	if (nr_early)
		snp_weakness("%u of %u vCPUs started on AP Create on INIT, before INIT, or SIPI",
			     nr_early, nr_rounds);
}

static u64 ap_cpu_ns(u32 id)
{
	struct timespec ts;
	clockid_t clock;
	int r;

	r = pthread_getcpuclockid(aps[id].thread, &clock);
	TEST_ASSERT(!r, "pthread_getcpuclockid() failed: %d", r);
	TEST_ASSERT(!clock_gettime(clock, &ts), "clock_gettime() failed");
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/*
 * A vCPU that waits for SIPI, or for its first INIT, wakes up for AP Creation, but KVM
 * carries out the request on the way into the guest, where such a vCPU does not get
 * to.  Nor can it sleep, with a request pending.
 */
static void case_weakness_create_parked(void)
{
	enum { CREATE, DESTROY, CREATE_FIRST, NR_WAYS };
	static const char * const str[] = {
		"AP Create while waiting for SIPI",
		"AP Destroy while waiting for SIPI",
		"AP Create while uninitialized",
	};
	u64 starts, cpu_ns, deadline;
	u32 i, way, nr_runs, nr_busy[NR_WAYS] = { };

	setup(1);

	for (i = 0; i < NR_WAYS * snp_case_rounds(); i++) {
		way = i % NR_WAYS;
		ap_start(1, PAGE(A, 2));
		if (way != CREATE_FIRST) {
			bsp(OP_INIT, 1, 0, 0);
			if (!ap_wait_blocked(1))
				fail_exit(1, "INIT");
		}
		ap_stop(1);
		if (way == CREATE_FIRST)
			set_mp_state(1, KVM_MP_STATE_UNINITIALIZED);

		starts = READ_ONCE(shared->ap[1].starts);
		if (way == DESTROY)
			SNP_CHECK(!bsp(OP_DESTROY, 1, 0, 0), SNP_CAUSE_WRONG_ANSWER,
				  "AP Destroy failed");
		else
			ap_create(1, PAGE(A, 4));

		cpu_ns = ap_cpu_ns(1);
		ap_run(1);
		snp_step("wait for vCPU %lu to carry out the request", 1, 0);
		deadline = snp_now() + TIMEOUT_NS;
		for (nr_runs = 1;; ) {
			if (way == DESTROY ? vcpu_get_stat(vcpus[1], blocking) :
					     READ_ONCE(shared->ap[1].starts) != starts)
				break;
			if (ap_cpu_ns(1) - cpu_ns > NSEC_PER_SEC) {
				nr_busy[way]++;
				break;
			}
			SNP_CHECK(snp_now() < deadline, SNP_CAUSE_HUNG, "%s: nothing happens",
				  str[way]);
			if (!ap_wait(1, 100000))
				continue;
			if (way != CREATE_FIRST || aps[1].exit.type != SNP_EXIT_AGAIN)
				fail_exit(1, str[way]);
			ap_run(1);
			nr_runs++;
		}
		snp_note("%s: %lu ms of CPU time, KVM_RUN called %u times", str[way],
			 (ap_cpu_ns(1) - cpu_ns) / 1000000, nr_runs);

		/* It takes INIT and SIPI, as if there had been no AP Create. */
		if (way == CREATE && READ_ONCE(shared->ap[1].starts) == starts) {
			bsp(OP_INIT_SIPI, 1, 0, 0);
			ap_wait_start(1, starts, "INIT and SIPI after AP Create");
		}
		snp_count_window(SNP_WINDOW_PLAIN);
		ap_stop(1);
		set_mp_state(1, KVM_MP_STATE_HALTED);
	}

	for (way = 0; way < NR_WAYS; way++) {
		if (nr_busy[way]) {
			snp_weakness("%s: not carried out after a second of CPU time", str[way]);
			break;
		}
	}
}

/*
 * Have the host use the pages that it got back.  Nothing happens if they are its
 * own, otherwise this is the end of the host.
 */
static void case_page_reuse(void)
{
	const size_t size = 64 * SZ_1M;
	struct window w = { };
	cpu_set_t cpus;
	char *mem;
	u32 i, j;

	setup(1);
	snp_forget_ballast();

	/* Leave a word, there may be no other. */
	ksft_print_msg("page_reuse: the host uses the punched page now\n");
	fflush(stdout);
	fsync(STDOUT_FILENO);

	for (i = 0; i < snp_case_rounds(); i++) {
		ap_start(1, PAGE(A, 2));
		set_temp(COLD, PAGE(A, 2), 1);
		window_open(&w, "punch, and use of the page", 1, 1);

		/* Freed pages come back first on the CPU that has freed them. */
		CPU_ZERO(&cpus);
		CPU_SET(sched_getcpu(), &cpus);
		TEST_ASSERT(!sched_setaffinity(0, sizeof(cpus), &cpus),
			    "Failed to pin the test");

		punch(SLOT_A, 2, 1);
		window_sample(&w);

		/* One access per 2M needs a page table, too. */
		for (j = 0; j < 8; j++) {
			mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			TEST_ASSERT(mem != MAP_FAILED, "mmap() failed");
			memset(mem, 0x55, j ? SZ_2M : size);
			munmap(mem, size);
		}

		window_check_dead(&w);
		snp_count_window(SNP_WINDOW_PLAIN);
	}
}

#define PLAIN		BIT(SNP_WINDOW_PLAIN)
#define COLD_WARM	(BIT(SNP_WINDOW_COLD) | BIT(SNP_WINDOW_WARM))

#define CASE(_name, _windows, _what) \
	{ .name = #_name, .what = _what, .fn = case_##_name, .windows = _windows }

/*
 * What is safe on any kernel comes first, so that an unfixed one has a chance to
 * show more than its first failure.
 */
static const struct snp_case cases[] = {
	CASE(create_run_destroy, PLAIN, "AP Create, run, AP Destroy"),
	CASE(create_wakes, PLAIN, "AP Create of a vCPU that sleeps"),
	CASE(last_request_counts, PLAIN, "several AP Creation requests before KVM_RUN"),
	CASE(refused_requests, PLAIN, "AP Creation requests that KVM has to refuse"),
	CASE(first_create_fails, PLAIN, "a first AP Create without memory, or AP Destroy"),
	CASE(ap_data_converted, PLAIN, "data page of a vCPU converted and restored"),
	CASE(ap_stack_converted, PLAIN, "stack page of a vCPU converted and restored"),
	CASE(punch_neighbors, COLD_WARM, "punch around a VMSA, which has to survive"),
	CASE(punch_gfn_zero, PLAIN, "punch of gfn 0"),
	CASE(other_slots_deleted, PLAIN, "other memslots deleted, another file closed"),
	CASE(slots_under_storm, PLAIN, "memslots deleted and created while they are punched"),
	CASE(released_at_once, PLAIN, "old VMSA released right after AP Creation"),
	CASE(create_under_storm, PLAIN, "AP Create while other pages are punched"),
	CASE(init_of_launched, PLAIN, "INIT and SIPI to a vCPU that was never created"),
	CASE(punch_before_first_run, COLD_WARM, "punch between AP Create and KVM_RUN"),
	CASE(create_on_init, PLAIN | COLD_WARM, "punch between AP Create and INIT"),
	CASE(destroy_then_punch, COLD_WARM, "punch after AP Destroy, vCPU forced runnable"),
	CASE(destroyed_not_reloaded, PLAIN, "memslot created anew after AP Destroy"),
	CASE(punch_halted, COLD_WARM, "punch under a halted vCPU"),
	CASE(identity, COLD_WARM, "punched page reused as the VMSA of another vCPU"),
	CASE(identity_stopped, COLD_WARM, "the same, with the vCPU not in KVM_RUN"),
	CASE(identity_signaled, COLD_WARM, "the same, and a signal pending when it enters"),
	CASE(identity_parked, COLD_WARM, "the same, with the vCPU waiting for INIT or SIPI"),
	CASE(identity_init, COLD_WARM, "the same, with INIT or AP Create on INIT before it"),
	CASE(identity_pending, COLD_WARM, "the same, between AP Create and KVM_RUN"),
	{
		.name = "punch_running",
		.what = "punch under a running vCPU",
		.fn = case_punch_running,
		.windows = COLD_WARM,
		.proves_fix = true,
	},
	CASE(bsp_created_anew, COLD_WARM, "punch under a BSP that was created anew"),
	CASE(punch_replaced, COLD_WARM, "punch of old and new VMSA of one vCPU"),
	CASE(on_init_replaces, COLD_WARM, "punch while another VMSA waits for INIT"),
	CASE(init_of_running, COLD_WARM, "INIT and SIPI to a running vCPU, and a punch"),
	CASE(rerun, COLD_WARM, "KVM_RUN again and again after a punch"),
	CASE(recreate_after_punch, COLD_WARM, "AP Create again after a punch"),
	CASE(heal_in_place, COLD_WARM, "VMSA rebuilt after a punch, no AP Create"),
	CASE(bindings_refused, COLD_WARM, "memslots that KVM has to refuse, and a punch"),
	CASE(punch_many, COLD_WARM, "one hole over several VMSAs"),
	CASE(punch_two_slots, COLD_WARM, "one hole over two memslots"),
	CASE(punch_under_storm, COLD_WARM, "punch under a storm of punches of another file"),
	CASE(punch_edges, COLD_WARM, "holes that begin or end at a VMSA"),
	CASE(shared_then_punched, COLD_WARM, "VMSA converted to shared, then punched"),
	CASE(signals, COLD_WARM, "punch under a storm of signals"),
	CASE(slot_deleted, COLD_WARM, "memslot deleted under a running vCPU"),
	CASE(gmem_closed, COLD_WARM, "guest_memfd closed under a running vCPU"),
	CASE(gmem_replaced, COLD_WARM, "guest_memfd closed, and another one bound"),
	CASE(pages_freed, PLAIN, "punched pages counted"),
	CASE(vm_fd_closed, COLD_WARM, "punch after the VM's file descriptor was closed"),
	{
		.name = "punch_beside_reload",
		.what = "punch while KVM_RUN looks up a VMSA, for schedules",
		.fn = case_punch_beside_reload,
		.windows = PLAIN,
		.opt_in = true,
	}, {
		.name = "punch_beside_entry",
		.what = "punch while a vCPU that ran before enters, for schedules",
		.fn = case_punch_beside_entry,
		.windows = PLAIN,
		.opt_in = true,
	}, {
		.name = "create_beside_create",
		.what = "AP Create again while the first is carried out, for schedules",
		.fn = case_create_beside_create,
		.windows = PLAIN,
		.opt_in = true,
	}, {
		.name = "weakness_fallocate_livelock",
		.what = "punch of many VMSAs may take very long",
		.fn = case_weakness_fallocate_livelock,
		.opt_in = true,
		.weakness = true,
		.timeout_s = 300,
	}, {
		.name = "weakness_slot_deletion",
		.what = "deletion of a memslot may overtake a kick",
		.fn = case_weakness_slot_deletion,
		.windows = BIT(SNP_WINDOW_COLD),
		.opt_in = true,
		.weakness = true,
		.timeout_s = 120,
	}, {
		.name = "weakness_kick_no_wait",
		.what = "punch may overtake a kick, may kill the host",
		.fn = case_weakness_kick_no_wait,
		.windows = BIT(SNP_WINDOW_COLD),
		.opt_in = true,
		.weakness = true,
		.timeout_s = 120,
	}, {
		.name = "weakness_create_beside_punch",
		.what = "the same beside a creation, may kill the host",
		.fn = case_weakness_create_beside_punch,
		.windows = BIT(SNP_WINDOW_COLD),
		.opt_in = true,
		.weakness = true,
		.timeout_s = 120,
	}, {
		.name = "weakness_replace_beside_punch",
		.what = "the same beside the creation of the punched vCPU",
		.fn = case_weakness_replace_beside_punch,
		.windows = BIT(SNP_WINDOW_COLD),
		.opt_in = true,
		.weakness = true,
		.timeout_s = 120,
	}, {
		.name = "weakness_on_init_at_once",
		.what = "AP Create on INIT after a request that is pending",
		.fn = case_weakness_on_init_at_once,
		.windows = PLAIN,
		.opt_in = true,
		.weakness = true,
	}, {
		.name = "weakness_create_parked",
		.what = "AP Creation of a vCPU that waits for INIT or SIPI",
		.fn = case_weakness_create_parked,
		.windows = PLAIN,
		.opt_in = true,
		.weakness = true,
		.timeout_s = 120,
	}, {
		.name = "page_reuse",
		.what = "use the punched page, kills an unfixed host",
		.fn = case_page_reuse,
		.windows = PLAIN,
		.opt_in = true,
		.timeout_s = 60,
	},
};

int main(int argc, char *argv[])
{
	snp_case_main(argc, argv,
		      "Verify that KVM never runs a vCPU on a VMSA whose page is gone.",
		      cases, ARRAY_SIZE(cases));
}
