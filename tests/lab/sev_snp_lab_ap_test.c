// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lab: AP Creation that meets INIT, or a vCPU that waits for INIT or SIPI, or is in an
 * NMI.  Fails until KVM is fixed, see findings/create-on-init-at-once.md,
 * create-in-wait-for-sipi.md and nmi-masked-after-create.md.
 */
#include <linux/sizes.h>

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "sev_vc.h"
#include "snp_ap.h"
#include "snp_test.h"

#define VMSA(_nr)	(SZ_4G + (3 + (_nr)) * PAGE_SIZE)

static struct snp_ap *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);

	snp_add_slot(s, 1, VMSA(0), 9, vm_create_guest_memfd(s->vm, SZ_64K, 0), 5);
	snp_vm_launch(s);
	return &s->ap[1];
}

/* fix-7.3/0006-test */
static struct snp_ap_shared *nmi_me;

static void guest_stay_in_nmi(struct ex_regs *regs)
{
	WRITE_ONCE(nmi_me->data[0], nmi_me->data[0] + 1);
	for (;;)
		WRITE_ONCE(nmi_me->heartbeat, nmi_me->heartbeat + 1);
}

static void guest_await_nmi(struct snp_ap_shared *me)
{
	nmi_me = me;
}

/* A vCPU that AP Create has reset is in no NMI handler, though its last VMSA was. */
SNP_TEST(nmi_after_create, 1)
{
	struct snp_vm *s = snp_vm_create(1);
	struct snp_ap *ap = &s->ap[1];
	u32 i;

	snp_add_slot(s, 1, VMSA(0), 9, vm_create_guest_memfd(s->vm, SZ_64K, 0), 5);
	vm_install_exception_handler(s->vm, NMI_VECTOR, guest_stay_in_nmi);
	snp_vm_launch(s);
	s->what = "NMI after AP Create";
	WRITE_ONCE(ap->shared->work, guest_await_nmi);
	for (i = 1; i <= 3; i++) {
		ap_start(ap, VMSA(2 * i));
		/* Between two heartbeats, it has told the handler who it is. */
		ap_wait_alive(ap);
		ap_wait_alive(ap);
		ap_stop(ap);
		snp_step("NMI %u", i);
		vcpu_ioctl(ap->vcpu, KVM_NMI, NULL);
		ap_run(ap);
		ap_wait_alive(ap);
		AP_ASSERT(ap, READ_ONCE(ap->shared->data[0]) == i, "got %lu NMIs, not %u",
			  READ_ONCE(ap->shared->data[0]), i);
		ap_stop(ap);
	}
}
/* end */

/* fix-7.3/0005-test */
/*
 * AP Create on INIT changes nothing before INIT, not even if the vCPU has yet to take
 * notice of a request that was before it.  INIT that comes before KVM_RUN is as good as
 * later, and does not stand in for SIPI.  The VMSA that waits counts as another vCPU.
 */
SNP_TEST(on_init_at_once, 1)
{
	static const struct {
		const char *what;
		bool create, init;
	} rows[] = {
		{ "AP Create on INIT after AP Destroy" },
		{ "AP Create on INIT after AP Create", .create = true },
		{ "AP Create on INIT after AP Destroy, and INIT", .init = true },
	};
	struct snp_ap *ap = setup(2), *other = ap + 1;
	u64 info_1, starts, other_starts;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ap->s->what = rows[i].what;
		ap_start_and_stop(ap, VMSA(2));
		if (rows[i].create)
			ap_create(ap, VMSA(6));
		else
			ap_destroy(ap);
		ap_prepare(other, VMSA(4));
		snp_step("%s", rows[i].what);
		info_1 = (u64)ap->vcpu->id << 32 | SVM_VMGEXIT_AP_CREATE_ON_INIT;
		AP_ASSERT(ap, !snp_order(ap->s, guest_ap_request, info_1, VMSA(4), 0)->status.resp,
			  "KVM answered with an error");
		if (rows[i].init)
			ap_init(ap);

		starts = ap_starts(ap);
		other_starts = ap_starts(other);
		snp_wait_step("%s: wait for vCPU %u to carry it out", rows[i].what, ap->vcpu->id);
		ap_run(ap);
		snp_wait_until(ap_starts(other) != other_starts || !ap_is_running(ap) ||
			       (rows[i].create ? ap_starts(ap) != starts :
						 vcpu_get_stat(ap->vcpu, blocking)));
		AP_ASSERT(ap, ap_starts(other) == other_starts, "ran before %s",
			  rows[i].init ? "SIPI" : "INIT");
		if (!ap_is_running(ap))
			ap_fail(ap);

		ap_init_sipi(ap);
		ap_wait_count(ap, &other->shared->starts, other_starts,
			      "does not run although it has a VMSA");
		ap_destroy(ap);
		ap_stop(ap);
	}
}
/* end */

/* fix-7.3/0004-test */
/*
 * A vCPU that waits for SIPI, or for its first INIT, does not get to where KVM carries
 * out AP Creation, and cannot sleep with a request pending.
 */
SNP_TEST(create_parked, 1)
{
	static const struct {
		const char *what;
		bool destroy, uninitialized;
	} rows[] = {
		{ "AP Create while waiting for SIPI" },
		{ "AP Destroy while waiting for SIPI", .destroy = true },
		{ "AP Create while uninitialized", .uninitialized = true },
	};
	struct snp_ap *ap = setup(1);
	struct kvm_mp_state state;
	u64 starts;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ap->s->what = rows[i].what;
		ap_start(ap, VMSA(2));
		if (!rows[i].uninitialized) {
			ap_init(ap);
			ap_wait_blocked(ap);
		}
		ap_stop(ap);
		if (rows[i].uninitialized)
			ap_set_mp_state(ap, KVM_MP_STATE_UNINITIALIZED);

		starts = ap_starts(ap);
		if (rows[i].destroy)
			ap_destroy(ap);
		else
			ap_create(ap, VMSA(4));

		snp_wait_step("%s: wait for vCPU %u to carry it out", rows[i].what, ap->vcpu->id);
		ap_run(ap);
		while (rows[i].destroy ? !vcpu_get_stat(ap->vcpu, blocking) :
					 ap_starts(ap) == starts) {
			/* KVM_RUN of a vCPU that is uninitialized is to be tried again. */
			if (!ap_is_running(ap) && (!rows[i].uninitialized || ap->err != EAGAIN))
				ap_fail(ap);
			if (!ap_is_running(ap))
				ap_run(ap);
			usleep(10);
		}
		ap_stop(ap);
		vcpu_mp_state_get(ap->vcpu, &state);
		AP_ASSERT(ap, !rows[i].destroy || state.mp_state == KVM_MP_STATE_HALTED,
			  "was not stopped by AP Creation, MP state %u", state.mp_state);
		ap_set_mp_state(ap, KVM_MP_STATE_HALTED);
	}
}
/* end */

SNP_TEST_MAIN
