// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM never runs a vCPU on a VMSA whose page is gone.
 *
 * The host may punch a hole in the VMSA that an SNP guest has provided for an AP, and
 * must have the vCPU out of the guest before the page is freed: a page in use as a VMSA
 * cannot be reclaimed, and whoever uses it next dies of an RMP violation.
 */
#include "snp_vm.h"

static const char *running;
static u32 proven;	/* BIT() of each enum snp_spte */

static void report_failure(void)
{
	if (running)
		ksft_test_result_fail("%s\n", running);
}

/* Return false if the VMSA goes with its SPTE, as it does if conversion is in place. */
static bool punch(struct snp_vm *s, gpa_t vmsa, gpa_t spare, bool stopped)
{
	struct snp_ap *ap = &s->ap[1], *other = &s->ap[2];
	u64 flushes, starts;
	int i;

	s->first = ap;
	ap_start(ap, vmsa);	/* The guest writes to the page: it has an SPTE. */
	if (s->spte == COLD)
		snp_zap(s, vmsa, 1);
	ap->last = ap_heartbeat(ap);
	snp_wait_until(ap_heartbeat(ap) != ap->last || !ap_is_running(ap));
	if (s->spte == COLD && !ap_is_running(ap) && ap_has_failed(ap))
		return false;
	snp_punch(s, spare, 1);
	ap_wait_alive(ap);

	flushes = vm_get_stat(s->vm, remote_tlb_flush_requests);
	if (stopped)
		ap_stop(ap);
	snp_punch(s, vmsa, 1);
	ap->last = ap_heartbeat(ap);

	/* A vCPU that was not kicked runs on until the next tick of the host. */
	for (i = 0; i < 10000; i++)
		ap_check_frozen(ap);
	if (s->spte == (vm_get_stat(s->vm, remote_tlb_flush_requests) == flushes ? COLD : WARM))
		proven |= BIT(s->spte);

	/* Most likely the page that was freed becomes the VMSA of another vCPU. */
	ap_prepare(other, spare);
	for (i = stopped; i < 3; i++) {
		if (i)
			ap_run(ap);
		snp_wait_until(!ap_is_running(ap) || ap_starts(other));
		AP_ASSERT(ap, !ap_starts(other), "runs the VMSA of vCPU %u", other->vcpu->id);
		ap_wait_failed(ap);
		ap_check_frozen(ap);
	}

	/* The page that takes the place of the lost one is as good. */
	starts = ap_starts(ap);
	ap_prepare(ap, vmsa);
	ap_run(ap);
	ap_wait_start(ap, starts);
	ap_stop(ap);
	return true;
}

int main(int argc, char *argv[])
{
	/* The stopped vCPU comes first, it cannot harm a host that lacks the fix. */
	static const char * const cases[] = { "snp.punch_stopped", "snp.punch_running" };
	struct snp_vm *s;
	gpa_t pages;
	u64 pgoff;
	int i, j;

	snp_test_init(&argc, argv);
	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(cases));
	atexit(report_failure);

	/* The file offset, in pages, takes more than 32 bits; so does the gfn if it can. */
	s = snp_vm_create(2);
	pages = (rounddown_pow_of_two(s->vm->max_gfn) << PAGE_SHIFT) + 0x3000;
	pgoff = 2 * (pages / PAGE_SIZE + BIT_ULL(32)) + 5;
	snp_add_slot(s, 1, pages, 8,
		     vm_create_guest_memfd(s->vm, (pgoff + 16) * PAGE_SIZE, 0), pgoff);
	snp_vm_launch(s);

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *skip = i && CPU_COUNT(&s->cpus) < 2 ?
				   "fewer CPUs than the race needs" : NULL;

		running = cases[i];
		ksft_print_msg(" RUN           %s ...\n", running);
		s->what = running;
		proven = 0;
		for (j = skip ? 4 : 0; j < 4; j++) {
			s->spte = j / 2;
			if (!punch(s, pages + j * PAGE_SIZE, pages + (7 - j) * PAGE_SIZE, !i))
				skip = "no way to zap a VMSA's SPTE alone";
		}
		TEST_ASSERT(skip || proven == BIT(NR_SPTES) - 1,
			    "%s: never entered its window", running);
		running = NULL;
		if (skip)
			ksft_test_result_code(KSFT_SKIP, cases[i], "%s", skip);
		else
			ksft_test_result_pass("%s\n", cases[i]);
	}
	ksft_finished();
}
