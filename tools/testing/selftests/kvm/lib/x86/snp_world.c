// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM that snp_model.c is a model of, and its operations on it.
 */
#include <linux/sizes.h>

#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_world.h"

#define SLOT_ID(_place)	(10 + (_place))
#define CONTROL_SLOT	20
#define CONTROL_GPA	(SZ_4G + SZ_1G + PAGE_SIZE)
#define LATE_ID		63

#define CREATE		SVM_VMGEXIT_AP_CREATE
#define ON_INIT		SVM_VMGEXIT_AP_CREATE_ON_INIT

struct snp_m_world snp_w;
static struct snp_vm *vm;
static struct snp_w_nmis *guest_nmis;

static gpa_t gpa_of(int page)
{
	return snp_w.gpas[page / SNP_M_SLOT_PAGES] + page % SNP_M_SLOT_PAGES * PAGE_SIZE;
}

/*
 * Guest
 */
static void guest_psc(struct snp_order *order)
{
	order->status = snp_psc(order->arg[0], 1, order->arg[1]);
}

static void guest_halt_once(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->work, NULL);
	guest_halt(me);
}

static void guest_nmi(struct ex_regs *regs)
{
	int i = 0;

	while (guest_nmis->cpu[i] != (gva_t)this_sev_cpu())
		i++;
	WRITE_ONCE(guest_nmis->nr[i], guest_nmis->nr[i] + 1);
	/* The VMSA may have run on another vCPU, which registered the GHCB for itself. */
	this_sev_cpu()->ghcb_registered = false;
	GUEST_ASSERT_EQ(ghcb_exit(ghcb_begin(), SVM_VMGEXIT_NMI_COMPLETE, 0, 0).resp, 0);
}

/*
 * Operations
 */
static int request(u64 info_1, gpa_t gpa, u64 features)
{
	struct ghcb_status status = snp_order(vm, guest_ap_request, info_1, gpa, features)->status;

	return status.resp ? status.info ?: -1 : 0;
}

/* What differs from AP Create of page 1 by the vCPU: SW_EXITINFO1, gpa, features. */
static const u64 bad[SNP_M_NR_BAD][3] = {
	[SNP_M_BAD_ID]			= { BIT_ULL(32) },
	[SNP_M_BAD_ID_HIGH]		= { BIT_ULL(40) },
	[SNP_M_BAD_REQUEST]		= { CREATE ^ (SVM_VMGEXIT_AP_DESTROY + 1) },
	[SNP_M_BAD_VMPL]		= { BIT(16) },
	[SNP_M_BAD_FEATURES]		= { 0, 0, BIT(3) },
	[SNP_M_BAD_ON_INIT_FEATURES]	= { CREATE ^ ON_INIT, 0, BIT(4) },
	[SNP_M_BAD_NO_FEATURES]		= { 0, 0, SNP_NO_FEATURES },
	[SNP_M_BAD_UNALIGNED]		= { 0, 0x10 },
	[SNP_M_BAD_2M]			= { 0, 4 * PAGE_SIZE },
	[SNP_M_BAD_ON_INIT_2M]		= { CREATE ^ ON_INIT, 4 * PAGE_SIZE },
	[SNP_M_BAD_GPA]			= { 0, BIT_ULL(52) },
};

/* The order goes on once userspace has done what the guest exits for. */
static int touch(gpa_t gpa)
{
	struct snp_ap *bsp = vm->server;
	struct kvm_run *run = bsp->vcpu->run;

	if (__snp_order(vm, guest_touch, gpa, 0, 0))
		return 0;
	if (bsp->err != EFAULT || run->exit_reason != KVM_EXIT_MEMORY_FAULT ||
	    run->memory_fault.gpa != gpa)
		ap_fail(bsp);
	vm_mem_set_private(vm->vm, gpa, PAGE_SIZE);
	ap_sync(bsp);
	return -EFAULT;
}

static int psc(gpa_t gpa, enum psc_op op)
{
	if (!__snp_order(vm, guest_psc, gpa, op, 0)) {
		vcpu_handle_map_gpa_range(vm->server->vcpu);
		ap_sync(vm->server);
	}
	return vm->order->status.resp;
}

static int set_slot(int place, int file, int pgoff, u64 nr_pages)
{
	void *hva = memslot2region(vm->vm, SLOT_ID(place))->host_mem;

	return __vm_set_user_memory_region2(vm->vm, SLOT_ID(place), KVM_MEM_GUEST_MEMFD,
					    snp_w.gpas[place], nr_pages * PAGE_SIZE, hva,
					    snp_w.fds[file],
					    (snp_w.bases[file] + pgoff) * PAGE_SIZE) ? -errno : 0;
}

/* Userspace may map the first file. */
static int open_file(int file)
{
	u64 flags = vm_check_cap(vm->vm, KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP;
	u64 size = (snp_w.bases[file] + SNP_M_FILE_PAGES) * PAGE_SIZE;

	snp_w.fds[file] = vm_create_guest_memfd(vm->vm, size, file ? 0 : flags);
	return 0;
}

static int change_file(const int *arg, int mode)
{
	const s64 first = snp_w.bases[arg[0]] + arg[1], start = max_t(s64, first, 0);
	u64 nr_flushes = vm_get_stat(vm->vm, remote_tlb_flush_requests);
	int fd = snp_w.fds[arg[0]], r = 0;

	/* Nothing changes the size of a file. */
	if (!fallocate(fd, 0, 0, PAGE_SIZE) || errno != EOPNOTSUPP)
		return 1;
	if (start < first + arg[2])
		r = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, start * PAGE_SIZE,
			      (first + arg[2] - start) * PAGE_SIZE) ? -errno : 0;
	if (mode)
		snp_w.nr_punches[vm_get_stat(vm->vm, remote_tlb_flush_requests) != nr_flushes]++;
	return r;
}

static int halt(struct snp_ap *ap, struct snp_ap *as)
{
	u64 halts = READ_ONCE(as->shared->halts);

	WRITE_ONCE(as->shared->work, guest_halt_once);
	ap_wait_count(ap, &as->shared->halts, halts, "lost its VMSA, which nobody touched");
	return 0;
}

static void signal_vcpu(struct snp_ap *ap)
{
	u64 nr = READ_ONCE(ap->nr_eintr);

	pthread_kill(ap->thread, SIGUSR1);
	snp_wait_until(READ_ONCE(ap->nr_eintr) != nr || !ap_is_running(ap));
}

/* A vCPU that was not there at the launch gets a VMSA, but remains UNINITIALIZED. */
static int create_late(gpa_t gpa)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm->vm, LATE_ID);
	int r = request((u64)LATE_ID << 32 | CREATE, gpa, 0);

	return r ?: !__vcpu_run(vcpu) || errno != EAGAIN;
}

int snp_w_execute(const struct snp_model *m, const struct snp_m_step *step)
{
	static void (* const vcpu_ops[SNP_M_NR_OPS])(struct snp_ap *ap) = {
		[SNP_M_INIT] = ap_init, [SNP_M_INIT_SIPI] = ap_init_sipi,
		[SNP_M_RUN] = ap_run, [SNP_M_STOP] = ap_stop, [SNP_M_SIGNAL] = signal_vcpu,
		[SNP_M_WAKE] = ap_wake,
	};
	const char *args = snp_m_info[step->op].args;
	const int *arg = step->arg;
	struct snp_ap *ap = *args == 'v' ? snp_w_ap(arg[0]) : vm->server;
	const gpa_t gpa = *args == 'p' ? gpa_of(arg[0]) : args[1] == 'p' ? gpa_of(arg[1]) : 0;
	const u64 size = args[1] == 'n' ? arg[1] * PAGE_SIZE : 0;
	const u64 to = (u64)ap->vcpu->id << 32;
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = PAGE_SIZE };
	const struct snp_m_vcpu *v = &m->vcpu[*args == 'v' ? arg[0] : 0];
	const u64 slept = vcpu_get_stat(ap->vcpu, halt_wait_ns);
	struct kvm_mp_state mp;
	u32 taken;
	int r;

	if (vcpu_ops[step->op]) {
		vcpu_ops[step->op](ap);
		return 0;
	}
	switch (step->op) {
	case SNP_M_PREPARE:
		return snp_order(vm, guest_prepare, gpa, snp_w_ap(arg[1])->cpu, 0)->rmp;
	case SNP_M_RELEASE:
		return snp_order(vm, guest_release, gpa, 0, 0)->rmp;
	case SNP_M_CREATE:
		return request(to | CREATE, gpa, 0);
	case SNP_M_ON_INIT:
		return request(to | ON_INIT, gpa, 0);
	case SNP_M_DESTROY:
		r = request(to | SVM_VMGEXIT_AP_DESTROY, 0, SNP_NO_FEATURES);
		/* One that sleeps has to wake up for it. */
		snp_wait_until(v->state != SNP_M_SLEEPS ||
			       slept != vcpu_get_stat(ap->vcpu, halt_wait_ns));
		return r;
	case SNP_M_BAD:
		return request((to | CREATE) ^ bad[arg[1]][0], gpa_of(1) ^ bad[arg[1]][1],
			       bad[arg[1]][2]);
	case SNP_M_UNHALT:
		return snp_order(vm, guest_unhalt, ap->vcpu->id, 0, 0)->ret;
	case SNP_M_HALT:
		return halt(ap, snp_w_ap(m->vcpu[arg[0]].as));
	case SNP_M_GET_MP:
		vcpu_mp_state_get(ap->vcpu, &mp);
		/* KVM may have taken a request that is pending, or not. */
		taken = v->next == SNP_M_NONE ? SNP_M_HALTED : SNP_M_RUNNABLE;
		return v->next != SNP_M_NO_REQUEST && mp.mp_state == taken ? v->mp : mp.mp_state;
	case SNP_M_LATE:
		return create_late(gpa);
	case SNP_M_TOUCH:
		return touch(gpa);
	case SNP_M_PREFAULT:
		return __vcpu_ioctl(ap->vcpu, KVM_PRE_FAULT_MEMORY, &range) ? -errno : 0;
	case SNP_M_PSC_SHARE:
		return psc(gpa, SNP_PAGE_STATE_SHARED);
	case SNP_M_PSC_UNSHARE:
		return psc(gpa, SNP_PAGE_STATE_PRIVATE);
	case SNP_M_SHARE ... SNP_M_ZAP:
		if (step->op != SNP_M_UNSHARE)
			vm_mem_set_shared(vm->vm, gpa, size);
		if (step->op != SNP_M_SHARE)
			vm_mem_set_private(vm->vm, gpa, size);
		return 0;
	case SNP_M_PUNCH:
	case SNP_M_ALLOC:
		return change_file(arg, step->op == SNP_M_PUNCH ? FALLOC_FL_PUNCH_HOLE : 0);
	case SNP_M_DELETE:
		return set_slot(arg[0], 0, 0, 0);
	case SNP_M_BIND:
		return set_slot(arg[0], arg[1], arg[2], SNP_M_SLOT_PAGES);
	case SNP_M_OPEN:
		return open_file(arg[0]);
	case SNP_M_CLOSE:
		kvm_free_fd(snp_w.fds[arg[0]]);
		return 0;
	case SNP_M_CLOSE_VM:
		kvm_free_fd(vm->vm->fd);
		return 0;
	case SNP_M_NMI:
		vcpu_ioctl(ap->vcpu, KVM_NMI, NULL);
		return 0;
	default:	/* SNP_M_SET_HALTED */
		ap_set_mp_state(ap, KVM_MP_STATE_HALTED);
		return 0;
	}
}

/*
 * What comes of them
 */
static bool sleeps(struct snp_ap *ap)
{
	return vcpu_get_stat(ap->vcpu, blocking);
}

static bool terminates(struct snp_ap *ap)
{
	return !ap->err && ap->vcpu->run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
	       ap->vcpu->run->system_event.data[0] == GHCB_MSR_TERM_LAUNCH_VMSA;
}

const struct snp_w_state snp_w_states[] = {
	[SNP_M_OUT]		= { "not be in KVM_RUN", false },
	[SNP_M_RUNS]		= { "run", true },
	[SNP_M_SLEEPS]		= { "sleep", true, sleeps },
	[SNP_M_FAILS]		= { "fail", false, ap_has_failed },
	[SNP_M_TERMINATES]	= { "terminate", false, terminates },
};

bool snp_w_is_there(struct snp_m_vcpu *v, struct snp_ap *ap, u64 beats)
{
	if (v->state == SNP_M_SLEEPS && v->lost && !ap_is_running(ap) && ap_has_failed(ap)) {
		v->state = SNP_M_OUT;
		v->in_run = false;
	}
	return ap_is_running(ap) == snp_w_states[v->state].in_run &&
	       (!snp_w_states[v->state].seen || snp_w_states[v->state].seen(ap)) &&
	       (v->state != SNP_M_RUNS || ap_heartbeat(snp_w_ap(v->as)) >= beats + SNP_W_BEATS);
}

void snp_w_create(const struct snp_model *m)
{
	gva_t page;
	int i, file;

	vm = snp_vm_create(m->nr_aps + 1);
	snp_w.bases[1] = 2 * (snp_high_gpa(vm) + SZ_4G * PAGE_SIZE) / PAGE_SIZE + 5;
	snp_w.bases[2] = 5;
	snp_w.gpas[0] = SZ_4G + 3 * PAGE_SIZE;
	snp_w.gpas[1] = snp_w.gpas[0] + SNP_M_SLOT_PAGES * PAGE_SIZE;
	snp_w.gpas[2] = snp_high_gpa(vm) + 3 * PAGE_SIZE;
	for (i = 0; i < SNP_M_FILES; i++)
		open_file(i);
	for (i = 0; i < SNP_M_PLACES; i++) {
		file = m->slot[i].file;
		snp_add_slot(vm, SLOT_ID(i), snp_w.gpas[i], SNP_M_SLOT_PAGES,
			     snp_w.fds[file], snp_w.bases[file] + m->slot[i].pgoff);
		/* Its own reference to the file. */
		kvm_free_fd(memslot2region(vm->vm, SLOT_ID(i))->region.guest_memfd);
	}
	snp_add_slot(vm, CONTROL_SLOT, CONTROL_GPA, 1,
		     vm_create_guest_memfd(vm->vm, PAGE_SIZE, 0), 0);
	page = vm_alloc_shared(vm->vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	snp_w.nmis = addr_gva2hva(vm->vm, page);
	for (i = 0; i <= m->nr_aps + 1; i++)
		snp_w.nmis->cpu[i] = vm->ap[i].cpu;
	guest_nmis = (void *)page;
	sync_global_to_guest(vm->vm, guest_nmis);
	vm_install_exception_handler(vm->vm, NMI_VECTOR, guest_nmi);
	snp_vm_launch(vm);
	snp_w.control = &vm->ap[m->nr_aps + 1];
	ap_start(snp_w.control, CONTROL_GPA);
}
