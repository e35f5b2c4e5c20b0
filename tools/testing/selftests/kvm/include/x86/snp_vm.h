/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SNP VMs whose APs run on VMSAs of the guest.  The BSP runs in the main thread while it
 * has an order.  Each AP has a thread of its own, and counts heartbeats while it runs.
 */
#ifndef SELFTEST_KVM_SNP_VM_H
#define SELFTEST_KVM_SNP_VM_H

#include <semaphore.h>

#include "snp_cpus.h"
#include "snp_vmsa.h"

#define SNP_MAX_APS	32
#define BSP		0

/* What the BSP is to do, and what came of it. */
struct snp_order {
	void (*fn)(struct snp_order *order);
	u64 arg[3], ret, nr_validated;
	struct ghcb_status status;
	enum rmp_result rmp;
};

/* What an AP tells the host; @work, if any, is done between two heartbeats. */
struct snp_ap_shared {
	u64 heartbeat, starts, halts;
	void (*work)(struct snp_ap_shared *me);
	u64 data[2];
};

struct snp_ap {
	struct snp_vm *s;
	struct kvm_vcpu *vcpu;
	gva_t cpu;			/* its struct sev_cpu */
	struct snp_ap_shared *shared;
	u64 last, nr_eintr;		/* a count to compare with, and one of -EINTR */

	pthread_t thread;
	void (*before_run)(struct snp_ap *ap);	/* called right before KVM_RUN */
	struct snp_race *race;
	sem_t go;
	bool running, stop;		/* the thread is in KVM_RUN; leave it on -EINTR */
	int err;			/* errno of the last KVM_RUN, or 0 */
};

/* A punch zaps the page's SPTE if it has one (WARM), and that TLB flush kicks all vCPUs. */
enum snp_spte { COLD, WARM, NR_SPTES };

struct snp_vm {
	struct kvm_vm *vm;
	u32 nr_aps;
	struct snp_ap ap[SNP_MAX_APS + 1];
	struct snp_order *order;
	struct snp_ap *server;		/* executes it, the BSP */
	cpu_set_t cpus;			/* that the test may use */
	const char *what;		/* begins the message of a failure */

	/* The current window, i.e. what is punched and what was seen of it. */
	enum snp_spte spte;
	u32 round, nr_proven, nr;
	u64 nr_flushes;
	struct snp_ap *first;
};

/* Say it before the stack dump, too: a host that is damaged may not survive that. */
#define AP_ASSERT(_ap, _cond, _fmt, ...)	\
	TEST_ASSERT((_cond) || ap_complain(_ap, _fmt, ##__VA_ARGS__), "%s", ap_complaint)

extern char ap_complaint[256];
bool __printf(2, 3) ap_complain(struct snp_ap *ap, const char *fmt, ...);

/* Say what comes next: a wait, a call that may block, or one that may do damage. */
enum snp_step { SNP_WAIT, SNP_CALL, SNP_PUNCH };
void __printf(2, 3) __snp_step(enum snp_step step, const char *fmt, ...);

#define snp_step(_fmt, ...)		__snp_step(SNP_CALL, "# " _fmt "\n", ##__VA_ARGS__)
#define snp_wait_step(_fmt, ...)	__snp_step(SNP_WAIT, "# " _fmt "\n", ##__VA_ARGS__)

#define snp_wait_until(_cond)	({ while (!(_cond)) usleep(10); })

/* Create a VM.  vCPU IDs are multiples of 3 and fall: no index, no order of creation. */
struct snp_vm *snp_vm_create(u32 nr_aps);
void snp_vm_init_vc(struct kvm_vm *vm);		/* hook: have the guest handle #VC */

/* Add a memslot of private pages, in @fd from page @pgoff on, mapped 1:1 in the guest. */
void snp_add_slot(struct snp_vm *s, u32 slot, gpa_t gpa, u64 nr_pages, int fd, u64 pgoff);
void snp_vm_prepare(struct snp_vm *s);		/* for the launch */
void snp_vm_launch(struct snp_vm *s);		/* and run the BSP to its first order */

/* KVM_RUN of who executes orders, after one for @fn; true if it ends with the next ucall. */
bool ap_run_to_sync(struct snp_ap *ap);
bool ap_has_synced(struct snp_ap *ap);
bool __snp_order(struct snp_vm *s, void (*fn)(struct snp_order *), u64 arg0, u64 arg1,
		 u64 arg2);
struct snp_order *snp_order(struct snp_vm *s, void (*fn)(struct snp_order *), u64 arg0,
			    u64 arg1, u64 arg2);

#define ap_heartbeat(_ap)	READ_ONCE((_ap)->shared->heartbeat)
#define ap_starts(_ap)		READ_ONCE((_ap)->shared->starts)

static inline bool ap_is_running(struct snp_ap *ap)
{
	return __atomic_load_n(&ap->running, __ATOMIC_ACQUIRE);
}

/* Make a VMSA of the page, and ask for AP Create; the orders for that. */
void guest_prepare(struct snp_order *order);	/* gva, struct sev_cpu */
void guest_create(struct snp_order *order);	/* APIC ID, gpa */
void ap_prepare(struct snp_ap *ap, gpa_t vmsa);
void ap_create(struct snp_ap *ap, gpa_t vmsa);

/* Have the AP's thread call KVM_RUN until it returns anything but -EINTR. */
void ap_run(struct snp_ap *ap);
void ap_stop(struct snp_ap *ap);
void ap_start(struct snp_ap *ap, gpa_t vmsa);	/* create, run, see it run */

/* What has to happen next; each fails if anything else does. */
void ap_wait_count(struct snp_ap *ap, u64 *count, u64 last, const char *otherwise);
void ap_wait_start(struct snp_ap *ap, u64 starts);
void ap_wait_alive(struct snp_ap *ap);
void ap_wait_failed(struct snp_ap *ap);
void ap_check_frozen(struct snp_ap *ap);

bool ap_has_failed(struct snp_ap *ap);		/* KVM_RUN, and cleanly */
void __noreturn ap_fail(struct snp_ap *ap);	/* for how KVM_RUN has ended */

void snp_punch(struct snp_vm *s, gpa_t gpa, u64 nr_pages);

/* Hooks: zap SPTEs but keep the pages; main()'s requirements and options. */
void snp_zap(struct snp_vm *s, gpa_t gpa, u64 nr_pages);
void snp_test_init(int *argc, char *argv[]);

#endif /* SELFTEST_KVM_SNP_VM_H */
