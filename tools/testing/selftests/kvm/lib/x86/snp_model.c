// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contract:
 *
 * - Of all AP Create, AP Create on INIT and AP Destroy requests that a vCPU has yet to
 *   carry out, only the last one counts.  A request that was refused does not count.
 * - A vCPU runs what is at the gpa of its VMSA *now*, in the page that the memslot has
 *   there.  If that is no VMSA, KVM_RUN fails, and does again until there is one.
 * - If there is no page when the vCPU comes to run, i.e. no memslot or no file, then it
 *   has no VMSA any more, and KVM_RUN fails until the next AP Create.
 * - Nothing else takes a VMSA away, and nobody else's VMSA is touched.
 * - INIT takes what AP Create on INIT has left, SIPI makes the vCPU run.  Neither brings
 *   a VMSA back, nor does userspace with KVM_SET_MP_STATE.
 * - What was sent to a VMSA that AP Creation or INIT has replaced, e.g. an NMI, is lost.
 *
 * Where kernels may differ it is "either", see ->lost: a vCPU that sleeps in KVM_RUN while
 * its page is not there may notice at once, and KVM_RUN fail, or when it wakes up.
 */
#include <errno.h>
#include <string.h>

#include "snp_model.h"

#define GHCB_MISSING_INPUT	4
#define GHCB_INVALID_INPUT	5

static struct snp_m_page *page_at(const struct snp_model *m, int page)
{
	const int file = m->slot[page / SNP_M_SLOT_PAGES].file;

	return (struct snp_m_page *)&m->file[file].page[snp_m_pgoff(m, page)];
}

int snp_m_image(const struct snp_model *m, int page)
{
	return snp_m_has_memory(m, page) ? page_at(m, page)->image : SNP_M_NONE;
}

static void clear_pages(struct snp_model *m, int file, int first, int nr)
{
	int i;

	for (i = first < 0 ? 0 : first; i < first + nr && i < SNP_M_FILE_PAGES; i++) {
		m->file[file].page[i].image = SNP_M_NONE;
		m->file[file].page[i].gfn = SNP_M_NONE;
	}
}

void snp_m_init(struct snp_model *m, int nr_aps, bool gentle, bool conversion_keeps)
{
	/* Two memslots of one file, in reverse order; one at the end of another file. */
	static const struct snp_m_slot slots[SNP_M_PLACES] = {
		{ true, 0, 4 }, { true, 0, 0 }, { true, 1, 8 }
	};
	static const struct snp_m_vcpu ap = {
		.gpa = SNP_M_LAUNCH, .next = SNP_M_NO_REQUEST, .on_init = SNP_M_NO_REQUEST,
		.mp = SNP_M_HALTED,
	};
	int i;

	memset(m, 0, sizeof(*m));
	m->nr_aps = nr_aps;
	m->gentle = gentle;
	m->conversion_keeps = conversion_keeps;
	memcpy(m->slot, slots, sizeof(slots));
	for (i = 0; i < SNP_M_FILES; i++) {
		m->file[i].open = true;
		clear_pages(m, i, 0, SNP_M_FILE_PAGES);
	}
	/* The launch assigns all that is there. */
	for (i = 0; i < SNP_M_PAGES; i++)
		page_at(m, i)->gfn = i;
	for (i = 0; i < nr_aps; i++)
		m->vcpu[i] = ap;
}

static void take_vmsa(struct snp_m_vcpu *v, int *request)
{
	v->gpa = *request;
	*request = SNP_M_NO_REQUEST;
	v->unhalted = false;
	v->lost = false;
	v->nmi = 0;
}

static void take_init(struct snp_m_vcpu *v)
{
	if (!v->init)
		return;
	if (v->on_init != SNP_M_NO_REQUEST)
		take_vmsa(v, &v->on_init);
	v->mp = v->sipi ? SNP_M_RUNNABLE : SNP_M_WAITS_FOR_SIPI;
	v->init = false;
	v->nmi = 0;
}

/* What happens in KVM_RUN. */
static enum snp_m_state enter(struct snp_model *m, struct snp_m_vcpu *v)
{
	if (v->next != SNP_M_NO_REQUEST) {
		v->mp = v->next == SNP_M_NONE ? SNP_M_HALTED : SNP_M_RUNNABLE;
		take_vmsa(v, &v->next);
	}
	take_init(v);
	if (v->mp == SNP_M_HALTED && (v->nmi || v->unhalted)) {
		v->mp = SNP_M_RUNNABLE;
		v->unhalted = false;
	}
	if (v->mp != SNP_M_RUNNABLE) {
		v->lost |= v->gpa >= 0 && !snp_m_has_memory(m, v->gpa);
		return SNP_M_SLEEPS;
	}

	v->lost = false;
	if (v->gpa == SNP_M_LAUNCH)
		return SNP_M_TERMINATES;
	if (!snp_m_has_memory(m, v->gpa)) {
		v->gpa = SNP_M_NONE;
		return SNP_M_FAILS;
	}
	page_at(m, v->gpa)->gfn = v->gpa;
	v->as = page_at(m, v->gpa)->image;
	if (v->as == SNP_M_NONE)
		return SNP_M_FAILS;
	m->starts[v->as] += page_at(m, v->gpa)->fresh;
	m->nmis[v->as] += v->nmi;
	page_at(m, v->gpa)->fresh = false;
	v->nmi = 0;
	return SNP_M_RUNS;
}

bool snp_m_touches(const struct snp_model *m, const struct snp_m_step *step, int page)
{
	const char *args = snp_m_info[step->op].args;
	const int *arg = step->arg;

	switch (*args) {
	case 'p':
		return page >= arg[0] && page < arg[0] + (args[1] == 'n' ? arg[1] : 1);
	case 's':
		return page >= 0 && page / SNP_M_SLOT_PAGES == arg[0];
	case 'f':
		return snp_m_has_memory(m, page) &&
		       m->slot[page / SNP_M_SLOT_PAGES].file == arg[0] &&
		       (args[1] != 'o' || (snp_m_pgoff(m, page) >= arg[1] &&
					   snp_m_pgoff(m, page) < arg[1] + arg[2]));
	default:
		return false;
	}
}

bool snp_m_takes(const struct snp_model *m, const struct snp_m_step *step,
		 const struct snp_m_vcpu *v, enum snp_m_state state)
{
	return (step->op == SNP_M_PUNCH || step->op == SNP_M_DELETE || step->op == SNP_M_CLOSE) &&
	       v->state == state && snp_m_touches(m, step, v->gpa);
}

static int bind_error(const struct snp_model *m, const int *arg)
{
	int i;

	if (arg[2] + SNP_M_SLOT_PAGES > SNP_M_FILE_PAGES)
		return -EINVAL;
	for (i = 0; i < SNP_M_PLACES; i++) {
		/* A page of a file has one gfn. */
		if (m->slot[i].file == arg[1] && m->slot[i].pgoff < arg[2] + SNP_M_SLOT_PAGES &&
		    arg[2] < m->slot[i].pgoff + SNP_M_SLOT_PAGES)
			return -EEXIST;
	}
	return 0;
}

int snp_m_do(struct snp_model *m, const struct snp_m_step *step)
{
	const int *arg = step->arg;
	struct snp_m_vcpu *v = m->vcpu + arg[0];	/* if it is one */
	int i, answer = 0;

	for (i = 0; i < m->nr_aps; i++)
		m->vcpu[i].lost |= snp_m_takes(m, step, &m->vcpu[i], SNP_M_SLEEPS);

	switch (step->op) {
	case SNP_M_TOUCH:
		/* Userspace makes it private again, for the guest to go on. */
		answer = m->shared[arg[0]] ? -EFAULT : 0;
		m->shared[arg[0]] = false;
		break;
	case SNP_M_PREPARE:
	case SNP_M_RELEASE:
		page_at(m, arg[0])->image = step->op == SNP_M_PREPARE ? arg[1] : SNP_M_NONE;
		page_at(m, arg[0])->fresh = true;
		break;
	case SNP_M_LATE:
		/* It is UNINITIALIZED, having been there at no launch: KVM_RUN ends in -EAGAIN. */
		m->late = true;
		break;
	case SNP_M_CREATE:
	case SNP_M_DESTROY:
		v->next = step->op == SNP_M_CREATE ? arg[1] : SNP_M_NONE;
		v->on_init = SNP_M_NO_REQUEST;
		break;
	case SNP_M_ON_INIT:
		v->on_init = arg[1];
		break;
	case SNP_M_BAD:
		answer = arg[1] == SNP_M_BAD_NO_FEATURES ? GHCB_MISSING_INPUT : GHCB_INVALID_INPUT;
		break;
	case SNP_M_INIT:
	case SNP_M_INIT_SIPI:
		v->init = true;
		v->sipi = step->op == SNP_M_INIT_SIPI;
		break;
	case SNP_M_UNHALT:
		v->unhalted = true;
		break;
	case SNP_M_NMI:
		v->nmi += v->nmi < 2;
		break;
	case SNP_M_HALT:
	case SNP_M_SET_HALTED:
		v->mp = SNP_M_HALTED;
		break;
	case SNP_M_WAKE:
		v->mp = SNP_M_RUNNABLE;
		v->in_run = true;
		break;
	case SNP_M_GET_MP:
		take_init(v);
		answer = v->mp;
		break;
	case SNP_M_RUN:
	case SNP_M_STOP:
		v->in_run = step->op == SNP_M_RUN;
		break;
	case SNP_M_PUNCH:
		clear_pages(m, arg[0], arg[1], arg[2]);
		break;
	case SNP_M_ALLOC:
		answer = arg[1] + arg[2] > SNP_M_FILE_PAGES ? -EINVAL : 0;
		break;
	case SNP_M_PSC_SHARE ... SNP_M_ZAP:
		for (i = 0; i < SNP_M_PAGES; i++) {
			if (snp_m_touches(m, step, i))
				m->shared[i] = step->op == SNP_M_SHARE ||
					       step->op == SNP_M_PSC_SHARE;
		}
		break;
	case SNP_M_BIND:
		answer = bind_error(m, arg);
		if (answer)
			break;
		m->slot[arg[0]].file = arg[1];
		m->slot[arg[0]].pgoff = arg[2];
		m->slot[arg[0]].exists = true;
		break;
	case SNP_M_DELETE:
		m->slot[arg[0]].file = SNP_M_NONE;
		m->slot[arg[0]].exists = false;
		break;
	case SNP_M_CLOSE:
		for (i = 0; i < SNP_M_PLACES; i++) {
			if (m->slot[i].file == arg[0])
				m->slot[i].file = SNP_M_NONE;
		}
		m->file[arg[0]].open = false;
		break;
	case SNP_M_OPEN:
		m->file[arg[0]].open = true;
		clear_pages(m, arg[0], 0, SNP_M_FILE_PAGES);
		break;
	case SNP_M_CLOSE_VM:
		m->no_fd = true;
		break;
	default:
		break;
	}

	/* Whoever uses a private page has it assigned to its gpa. */
	if (*snp_m_info[step->op].args == 'p' && snp_m_has_memory(m, arg[0]) && !m->shared[arg[0]])
		page_at(m, arg[0])->gfn = arg[0];
	for (i = 0; i < m->nr_aps; i++) {
		m->vcpu[i].as = SNP_M_NONE;
		m->vcpu[i].state = m->vcpu[i].in_run ? enter(m, &m->vcpu[i]) : SNP_M_OUT;
		m->vcpu[i].in_run = m->vcpu[i].state == SNP_M_RUNS ||
				    m->vcpu[i].state == SNP_M_SLEEPS;
	}
	return answer;
}
