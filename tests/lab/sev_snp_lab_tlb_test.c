// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lab: a page of shared memory is replaced by another one while a vCPU has translations
 * of it.  Whatever happens to the vCPU before it runs again, it sees the new page.
 * Only a processor that keeps translations as long as it may can tell; see STALE= of
 * `make run`.
 */
#include <linux/sizes.h>
#include <sys/mman.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define PAGES		(SZ_4G + 3 * PAGE_SIZE)
#define VMSA		(PAGES + 2 * PAGE_SIZE)

/* VMRUNs after which what is stale has been used, and seen to be. */
#define NR_EXITS	20

static u64 *seen;		/* the page, as the host has it */
static u64 value;

/* data[0] is the page's address, data[1] what is there. */
static void work_read(struct snp_ap_shared *me)
{
	WRITE_ONCE(me->data[1], READ_ONCE(*(u64 *)me->data[0]));
}

static struct snp_ap *setup(void)
{
	struct snp_vm *s = snp_vm_create(1);
	struct snp_ap *ap = &s->ap[1];
	gva_t gva;

	snp_add_slot(s, 1, PAGES, 8, vm_create_guest_memfd(s->vm, SZ_64K, 0), 5);
	gva = vm_alloc_shared(s->vm, PAGE_SIZE, KVM_UTIL_MIN_VADDR, MEM_REGION_DATA);
	seen = addr_gva2hva(s->vm, gva);
	WRITE_ONCE(*seen, ++value);
	ap->shared->data[0] = gva;
	ap->shared->work = work_read;
	snp_vm_launch(s);
	return ap;
}

/* Another page in its place, which is there before the old one is free. */
static void replace(struct snp_ap *ap)
{
	u64 *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TEST_ASSERT(page != MAP_FAILED, __KVM_SYSCALL_ERROR("mmap()", -1));
	WRITE_ONCE(*page, ++value);
	snp_step("put another page in its place");
	page = mremap(page, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, seen);
	TEST_ASSERT(page == seen, __KVM_SYSCALL_ERROR("mremap()", -1));
}

/* The vCPU runs, sees the page as it is now, and runs on. */
static void check_sees(struct snp_ap *ap)
{
	u64 exits;

	snp_wait_step("%s: wait for vCPU %u to see the page", ap->s->what, ap->vcpu->id);
	snp_wait_until(READ_ONCE(ap->shared->data[1]) == value || !ap_is_running(ap));
	if (!ap_is_running(ap))
		ap_fail(ap);
	exits = vcpu_get_stat(ap->vcpu, exits);
	snp_wait_until(vcpu_get_stat(ap->vcpu, exits) - exits > NR_EXITS);
}

static struct snp_ap *setup_and_see(const char *what)
{
	struct snp_ap *ap = setup();

	ap->s->what = what;
	ap_start(ap, VMSA);
	check_sees(ap);
	return ap;
}

static void move_to(struct snp_ap *ap, u32 nr)
{
	pin_task_to_cpu(ap->thread, snp_nth_cpu(&ap->s->cpus, nr));
}

static void run_and_see(struct snp_ap *ap)
{
	ap_run(ap);
	check_sees(ap);
	ap_stop(ap);
}

/* While the vCPU runs. */
SNP_TEST(replaced, 2)
{
	struct snp_ap *ap = setup_and_see("page replaced");

	replace(ap);
	check_sees(ap);
	ap_stop(ap);
}

/* Between two runs on one CPU it runs on another, which is where KVM has flushed. */
SNP_TEST(replaced_between, 3)
{
	struct snp_ap *ap = setup_and_see("page replaced between two CPUs");

	ap_stop(ap);
	replace(ap);
	move_to(ap, 2);
	run_and_see(ap);
	move_to(ap, 1);
	run_and_see(ap);
}

/* As before, but it comes back without a VMSA first: an entry that KVM refuses. */
SNP_TEST(entry_refused, 3)
{
	struct snp_ap *ap = setup_and_see("page replaced, entry refused");

	ap_stop(ap);
	replace(ap);
	move_to(ap, 2);
	ap_run(ap);
	check_sees(ap);
	/* A punch would flush once more. */
	ap_destroy(ap);
	ap_stop(ap);
	move_to(ap, 1);
	ap_set_mp_state(ap, KVM_MP_STATE_RUNNABLE);
	ap_run(ap);
	ap_wait_failed(ap);
	ap_start(ap, VMSA);
	check_sees(ap);
	ap_stop(ap);
}

/* An entry that the processor refuses, while a flush is pending. */
SNP_TEST(vmrun_refused, 2)
{
	struct snp_ap *ap = setup_and_see("page replaced, VMRUN refused");

	ap_stop(ap);
	snp_order(ap->s, guest_release, VMSA, 0, 0);
	replace(ap);
	ap_run(ap);
	ap_wait_failed(ap);
	ap_prepare(ap, VMSA);
	run_and_see(ap);
}

SNP_TEST_MAIN
