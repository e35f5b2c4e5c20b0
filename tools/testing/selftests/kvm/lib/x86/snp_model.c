// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contract:
 *
 * - AP Create, on INIT, and Destroy are carried out in the order of requests; of those
 *   that a vCPU has not carried out yet, the last one counts.  A refused one is none.
 * - A vCPU runs what is at the gpa of its VMSA *now*, i.e. in the page that the memslot
 *   has there.  If that is no VMSA, KVM_RUN fails, and does again until there is one.
 * - If there is no page to look at when the vCPU comes to run, i.e. no memslot or no
 *   file, then it has no VMSA any more, and KVM_RUN fails until the next AP Create.
 * - Nothing else takes a VMSA away, nobody else's VMSA is touched.
 * - INIT takes what AP Create on INIT has left, SIPI makes the vCPU run.  Neither brings
 *   a VMSA back, nor does userspace with KVM_SET_MP_STATE.
 *
 * Where kernels may differ it is "either", see ->lost: a vCPU that sleeps in KVM_RUN
 * while its page goes away may fail at once, or when it wakes up.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "snp_model.h"

#define GHCB_MISSING_INPUT	4
#define GHCB_INVALID_INPUT	5

#define NAME(_name, ...)		[SNP_M_##_name] = #_name,
#define NR_ARGS(_name, _nr, _weight)	[SNP_M_##_name] = _nr,
#define WEIGHT(_name, _nr, _weight)	[SNP_M_##_name] = _weight,

const char * const snp_m_name[] = { SNP_M_OPS(NAME) };
const int snp_m_nr_args[] = { SNP_M_OPS(NR_ARGS) };
const int snp_m_weight[] = { SNP_M_OPS(WEIGHT) };
const char * const snp_m_situation_name[] = {
	"nobody", "launched", "no VMSA", "pending", "stopped", "asleep", "parked", "running",
	"several",
};

static int place(int page)
{
	return page / SNP_M_SLOT_PAGES;
}

static bool has_memory(const struct snp_model *m, int page)
{
	return page >= 0 && m->slot[place(page)].file != SNP_M_NONE;
}

static int pgoff(const struct snp_model *m, int page)
{
	return m->slot[place(page)].pgoff + page % SNP_M_SLOT_PAGES;
}

#define PAGE(_m, _page)	(&(_m)->file[(_m)->slot[place(_page)].file].page[pgoff(_m, _page)])

int snp_m_image(const struct snp_model *m, int page)
{
	return has_memory(m, page) ? PAGE(m, page)->image : SNP_M_NONE;
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
	static const int files[SNP_M_PLACES] = { 0, 0, 1 }, first[SNP_M_PLACES] = { 4, 0, 8 };
	int i;

	memset(m, 0, sizeof(*m));
	m->nr_aps = nr_aps;
	m->gentle = gentle;
	m->conversion_keeps = conversion_keeps;
	for (i = 0; i < SNP_M_PLACES; i++) {
		m->slot[i].exists = true;
		m->slot[i].file = files[i];
		m->slot[i].pgoff = first[i];
	}
	for (i = 0; i < SNP_M_FILES; i++) {
		m->file[i].open = true;
		clear_pages(m, i, 0, SNP_M_FILE_PAGES);
	}
	for (i = 0; i < nr_aps; i++) {
		m->vcpu[i].gpa = SNP_M_LAUNCH;
		m->vcpu[i].next = SNP_M_NO_REQUEST;
		m->vcpu[i].on_init = SNP_M_NO_REQUEST;
	}
}

/* KVM_RUN of a vCPU that is runnable. */
static enum snp_m_state enter(struct snp_model *m, struct snp_m_vcpu *v)
{
	v->lost = false;
	if (v->gpa == SNP_M_LAUNCH)
		return SNP_M_TERMINATES;
	if (!has_memory(m, v->gpa)) {
		v->gpa = SNP_M_NONE;
		return SNP_M_FAILS;
	}
	PAGE(m, v->gpa)->gfn = v->gpa;
	v->as = PAGE(m, v->gpa)->image;
	if (v->as == SNP_M_NONE)
		return SNP_M_FAILS;
	m->starts[v->as] += PAGE(m, v->gpa)->fresh;
	PAGE(m, v->gpa)->fresh = false;
	return SNP_M_RUNS;
}

/* What a vCPU does that is in KVM_RUN, after anything may have happened. */
static void settle(struct snp_model *m, struct snp_m_vcpu *v)
{
	v->as = SNP_M_NONE;
	v->state = SNP_M_OUT;
	if (!v->in_run)
		return;

	if (v->next != SNP_M_NO_REQUEST) {
		v->gpa = v->next;
		v->mp = v->gpa == SNP_M_NONE ? SNP_M_HALTED : SNP_M_RUNNABLE;
		v->lost = false;
	}
	if (v->init) {
		if (v->on_init != SNP_M_NO_REQUEST) {
			v->gpa = v->on_init;
			v->on_init = SNP_M_NO_REQUEST;
			v->lost = false;
		}
		v->mp = v->sipi ? SNP_M_RUNNABLE : SNP_M_WAITS_FOR_SIPI;
	}
	v->next = SNP_M_NO_REQUEST;
	v->init = false;
	v->sipi = false;

	/* A page that is looked for at once, and is not there, is not waited for. */
	if (v->mp != SNP_M_RUNNABLE) {
		v->state = SNP_M_SLEEPS;
		return;
	}
	v->state = enter(m, v);
	v->in_run = v->state == SNP_M_RUNS;
}

void snp_m_has_failed(struct snp_model *m, int vcpu)
{
	m->vcpu[vcpu].in_run = false;
	m->vcpu[vcpu].state = SNP_M_OUT;
}

bool snp_m_takes(const struct snp_m_step *step)
{
	return step->op == SNP_M_punch || step->op == SNP_M_delete || step->op == SNP_M_close;
}

bool snp_m_hits(const struct snp_model *m, const struct snp_m_step *step, int page)
{
	const int *arg = step->arg;

	switch (step->op) {
	case SNP_M_prepare:
	case SNP_M_release:
	case SNP_M_touch:
	case SNP_M_psc_share:
	case SNP_M_psc_unshare:
		return page == arg[0];
	case SNP_M_share:
	case SNP_M_unshare:
	case SNP_M_zap:
		return page >= arg[0] && page < arg[0] + arg[1];
	case SNP_M_punch:
	case SNP_M_alloc:
		return has_memory(m, page) && m->slot[place(page)].file == arg[0] &&
		       pgoff(m, page) >= arg[1] && pgoff(m, page) < arg[1] + arg[2];
	case SNP_M_delete:
		return page >= 0 && place(page) == arg[0];
	case SNP_M_close:
		return has_memory(m, page) && m->slot[place(page)].file == arg[0];
	default:
		return false;
	}
}

static enum snp_m_situation situation(const struct snp_m_vcpu *v)
{
	if (v->state == SNP_M_RUNS)
		return SNP_M_RUNNING;
	if (v->next != SNP_M_NO_REQUEST || v->on_init != SNP_M_NO_REQUEST || v->init)
		return SNP_M_PENDING;
	if (v->mp == SNP_M_WAITS_FOR_SIPI)
		return SNP_M_PARKED;
	if (v->gpa < 0)
		return v->gpa == SNP_M_LAUNCH ? SNP_M_LAUNCHED : SNP_M_NO_VMSA;
	return v->in_run ? SNP_M_ASLEEP : SNP_M_STOPPED;
}

/* Of the vCPU that is the first argument; or the foremost one whose VMSA is hit. */
enum snp_m_situation snp_m_situation(const struct snp_model *m, const struct snp_m_step *step)
{
	enum snp_m_situation found = SNP_M_NOBODY, now;
	int i;

	switch (step->op) {
	case SNP_M_create ... SNP_M_halt:
	case SNP_M_run ... SNP_M_wake:
		return situation(&m->vcpu[step->arg[0]]);
	default:
		break;
	}
	for (i = 0; i < m->nr_aps; i++) {
		if (!snp_m_hits(m, step, m->vcpu[i].gpa))
			continue;
		now = situation(&m->vcpu[i]);
		if (now == SNP_M_RUNNING && found >= SNP_M_RUNNING)
			found = SNP_M_SEVERAL;
		else if (now > found)
			found = now;
	}
	return found;
}

static int bind_error(const struct snp_model *m, const int *arg)
{
	int i;

	if (arg[2] + SNP_M_SLOT_PAGES > SNP_M_FILE_PAGES)
		return EINVAL;
	for (i = 0; i < SNP_M_PLACES; i++) {
		/* A page of a file has one gfn. */
		if (m->slot[i].file == arg[1] && m->slot[i].pgoff < arg[2] + SNP_M_SLOT_PAGES &&
		    arg[2] < m->slot[i].pgoff + SNP_M_SLOT_PAGES)
			return EEXIST;
	}
	return 0;
}

static const char *check_bind(const struct snp_model *m, const int *arg)
{
	int i;

	if (m->slot[arg[0]].exists || !m->file[arg[1]].open)
		return "not there";
	if (bind_error(m, arg))
		return NULL;
	for (i = 0; i < SNP_M_SLOT_PAGES; i++) {
		int gfn = m->file[arg[1]].page[arg[2] + i].gfn;

		if (gfn != SNP_M_NONE && gfn != arg[0] * SNP_M_SLOT_PAGES + i)
			return "the RMP has the page at another gfn";
	}
	for (i = 0; i < m->nr_aps; i++) {
		if (m->vcpu[i].lost && place(m->vcpu[i].gpa) == arg[0])
			return "a vCPU that sleeps may have noticed that its page is gone, or not";
	}
	return NULL;
}

static const char *check_taken(const struct snp_model *m, const struct snp_m_step *step)
{
	int i, nr = 0, last = SNP_M_NONE;

	for (i = 0; i < m->nr_aps; i++) {
		const struct snp_m_vcpu *v = &m->vcpu[i];

		if (v->state != SNP_M_RUNS || !snp_m_hits(m, step, v->gpa))
			continue;
		nr++;
		if (pgoff(m, v->gpa) > last)
			last = pgoff(m, v->gpa);
	}
	if (m->gentle && nr)
		return "the vCPU is in the guest";
	if (step->op == SNP_M_punch && nr > 1 && last + 1 != step->arg[1] + step->arg[2])
		return "vCPUs may fill the hole for ever that does not end with a VMSA in use";
	return NULL;
}

static bool is_used(const struct snp_model *m, int page)
{
	int i;

	for (i = 0; i < m->nr_aps; i++) {
		if (m->vcpu[i].state == SNP_M_RUNS && m->vcpu[i].gpa == page)
			return true;
	}
	return false;
}

static const char *check_vcpu(const struct snp_m_vcpu *v, enum snp_m_op op)
{
	const bool waits = v->mp == SNP_M_WAITS_FOR_SIPI || (v->init && !v->sipi);

	switch (op) {
	case SNP_M_create:
		return waits ? "a vCPU that waits for SIPI does not take notice" : NULL;
	case SNP_M_destroy:
		return waits ? "a vCPU that waits for SIPI does not take notice" :
		       v->init ? "KVM takes INIT first or the request" : NULL;
	case SNP_M_on_init:
		return v->init ? "it may be for the INIT that was sent before, or not" :
		       v->next != SNP_M_NO_REQUEST ? "KVM starts it at once" : NULL;
	case SNP_M_init:
		return v->next != SNP_M_NO_REQUEST ? "KVM takes INIT first or the request" : NULL;
	case SNP_M_init_sipi:
		return v->next == SNP_M_NONE ? "KVM takes INIT first or the request" : NULL;
	case SNP_M_wake:
		return v->init || v->next != SNP_M_NO_REQUEST ? "something else wakes it" : NULL;
	case SNP_M_run:
		return v->in_run ? "it does" : NULL;
	case SNP_M_stop:
		return v->in_run ? NULL : "it is";
	case SNP_M_halt:
		return v->state == SNP_M_RUNS ? NULL : "it does not run";
	default:
		return NULL;
	}
}

const char *snp_m_illegal(const struct snp_model *m, const struct snp_m_step *step)
{
	const int *arg = step->arg;
	const char *why = NULL;
	struct snp_model after;
	int i, j;

	switch (step->op) {
	case SNP_M_prepare:
	case SNP_M_release:
		if (!has_memory(m, arg[0]) || m->shared[arg[0]])
			why = "no private memory";
		else if (is_used(m, arg[0]))
			why = "RMPADJUST fails while the vCPU is in the guest, and not before";
		break;
	case SNP_M_touch:
		why = has_memory(m, arg[0]) ? NULL : "no memory";
		break;
	case SNP_M_share:
	case SNP_M_unshare:
	case SNP_M_zap:
	case SNP_M_psc_share:
	case SNP_M_psc_unshare:
		why = m->conversion_keeps ? NULL : "conversion in place takes a VMSA away, too";
		break;
	case SNP_M_create ... SNP_M_halt:
	case SNP_M_run ... SNP_M_wake:
		why = check_vcpu(&m->vcpu[arg[0]], step->op);
		break;
	case SNP_M_alloc:
	case SNP_M_punch:
	case SNP_M_close:
		why = m->file[arg[0]].open ? check_taken(m, step) : "not there";
		break;
	case SNP_M_delete:
		why = m->slot[arg[0]].exists ? check_taken(m, step) : "not there";
		break;
	case SNP_M_bind:
		why = check_bind(m, arg);
		break;
	case SNP_M_open:
		why = m->file[arg[0]].open ? "not closed" : NULL;
		break;
	default:
		break;
	}
	if (why)
		return why;

	/* VMRUN of a VMSA that another vCPU is in fails, at times. */
	after = *m;
	snp_m_do(&after, step);
	for (i = 0; i < m->nr_aps; i++) {
		for (j = 0; j < i && after.vcpu[i].state == SNP_M_RUNS; j++) {
			if (after.vcpu[j].state == SNP_M_RUNS &&
			    (after.vcpu[j].gpa == after.vcpu[i].gpa ||
			     after.vcpu[j].as == after.vcpu[i].as))
				return "two vCPUs that are one";
		}
	}
	return NULL;
}

int snp_m_do(struct snp_model *m, const struct snp_m_step *step)
{
	const int *arg = step->arg;
	struct snp_m_vcpu *v = m->vcpu + arg[0];	/* if it is one */
	int i, err = 0;

	for (i = 0; snp_m_takes(step) && i < m->nr_aps; i++) {
		if (m->vcpu[i].state == SNP_M_SLEEPS && snp_m_hits(m, step, m->vcpu[i].gpa))
			m->vcpu[i].lost = true;
	}

	switch (step->op) {
	case SNP_M_prepare:
	case SNP_M_release:
		PAGE(m, arg[0])->image = step->op == SNP_M_prepare ? arg[1] : SNP_M_NONE;
		PAGE(m, arg[0])->fresh = step->op == SNP_M_prepare;
		PAGE(m, arg[0])->gfn = arg[0];
		break;
	case SNP_M_create:
	case SNP_M_destroy:
		v->next = step->op == SNP_M_create ? arg[1] : SNP_M_NONE;
		v->on_init = SNP_M_NO_REQUEST;
		break;
	case SNP_M_on_init:
		v->on_init = arg[1];
		break;
	case SNP_M_bad:
		err = arg[1] == SNP_M_BAD_NO_FEATURES ? GHCB_MISSING_INPUT : GHCB_INVALID_INPUT;
		break;
	case SNP_M_init:
	case SNP_M_init_sipi:
		v->init = true;
		v->sipi = step->op == SNP_M_init_sipi;
		break;
	case SNP_M_halt:
		v->mp = SNP_M_HALTED;
		break;
	case SNP_M_touch:
		/* Userspace makes it private again, for the guest to go on. */
		err = m->shared[arg[0]] ? EFAULT : 0;
		m->shared[arg[0]] = false;
		PAGE(m, arg[0])->gfn = arg[0];
		break;
	case SNP_M_wake:
		v->mp = SNP_M_RUNNABLE;
		v->in_run = true;
		break;
	case SNP_M_run:
	case SNP_M_stop:
		v->in_run = step->op == SNP_M_run;
		v->lost = false;
		break;
	case SNP_M_punch:
		clear_pages(m, arg[0], arg[1], arg[2]);
		break;
	case SNP_M_alloc:
		err = arg[1] + arg[2] > SNP_M_FILE_PAGES ? EINVAL : 0;
		break;
	case SNP_M_share:
	case SNP_M_unshare:
	case SNP_M_zap:
	case SNP_M_psc_share:
	case SNP_M_psc_unshare:
		for (i = 0; i < SNP_M_PAGES; i++) {
			if (snp_m_hits(m, step, i))
				m->shared[i] = step->op == SNP_M_share ||
					       step->op == SNP_M_psc_share;
		}
		break;
	case SNP_M_delete:
		m->slot[arg[0]].exists = false;
		m->slot[arg[0]].file = SNP_M_NONE;
		break;
	case SNP_M_bind:
		err = bind_error(m, arg);
		if (!err) {
			m->slot[arg[0]].exists = true;
			m->slot[arg[0]].file = arg[1];
			m->slot[arg[0]].pgoff = arg[2];
		}
		break;
	case SNP_M_close:
		for (i = 0; i < SNP_M_PLACES; i++) {
			if (m->slot[i].file == arg[0])
				m->slot[i].file = SNP_M_NONE;
		}
		m->file[arg[0]].open = false;
		break;
	case SNP_M_open:
		m->file[arg[0]].open = true;
		clear_pages(m, arg[0], 0, SNP_M_FILE_PAGES);
		break;
	default:
		break;
	}

	for (i = 0; i < m->nr_aps; i++)
		settle(m, &m->vcpu[i]);
	return err;
}
