// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contract:
 *
 * - Of AP Create, on INIT, and Destroy the last one counts that a vCPU has not carried
 *   out yet.  One that was refused is none.
 * - A vCPU runs what is at the gpa of its VMSA *now*, in the page that the memslot has
 *   there.  If that is no VMSA, KVM_RUN fails, and does again until there is one.
 * - If there is no page when the vCPU comes to run, i.e. no memslot or no file, then it
 *   has no VMSA any more, and KVM_RUN fails until the next AP Create.
 * - Nothing else takes a VMSA away, and nobody else's VMSA is touched.
 * - INIT takes what AP Create on INIT has left, SIPI makes the vCPU run.  Neither brings
 *   a VMSA back, nor does userspace with KVM_SET_MP_STATE.
 *
 * Where kernels may differ it is "either", see ->lost: a vCPU that sleeps in KVM_RUN while
 * its page is not there may notice at once, and KVM_RUN fail, or when it wakes up.
 */
#include <errno.h>
#include <string.h>

#include "snp_model.h"

#define GHCB_MISSING_INPUT	4
#define GHCB_INVALID_INPUT	5

const struct snp_m_info snp_m_info[SNP_M_NR_OPS] = {
	[SNP_M_PREPARE] = { "prepare", SNP_M_OF_PAGE_VCPU, 2, 10 },
	[SNP_M_RELEASE] = { "release", SNP_M_OF_PAGE, 1, 1 },
	[SNP_M_CREATE] = { "create", SNP_M_OF_VCPU_PAGE, 2, 14 },
	[SNP_M_ON_INIT] = { "on_init", SNP_M_OF_VCPU_PAGE, 2, 4 },
	[SNP_M_DESTROY] = { "destroy", SNP_M_OF_VCPU, 1, 4 },
	[SNP_M_BAD] = { "bad", SNP_M_OF_VCPU_BAD, 2, 3 },
	[SNP_M_INIT] = { "init", SNP_M_OF_VCPU, 1, 2 },
	[SNP_M_INIT_SIPI] = { "init_sipi", SNP_M_OF_VCPU, 1, 4 },
	[SNP_M_HALT] = { "halt", SNP_M_OF_VCPU, 1, 4 },
	[SNP_M_TOUCH] = { "touch", SNP_M_OF_PAGE, 1, 4 },
	[SNP_M_PSC_SHARE] = { "psc_share", SNP_M_OF_PAGE, 1, 1 },
	[SNP_M_PSC_UNSHARE] = { "psc_unshare", SNP_M_OF_PAGE, 1, 2 },
	[SNP_M_SHARE] = { "share", SNP_M_OF_PAGE_NR, 2, 1 },
	[SNP_M_UNSHARE] = { "unshare", SNP_M_OF_PAGE_NR, 2, 2 },
	[SNP_M_ZAP] = { "zap", SNP_M_OF_PAGE_NR, 2, 5 },
	[SNP_M_RUN] = { "run", SNP_M_OF_VCPU, 1, 18 },
	[SNP_M_STOP] = { "stop", SNP_M_OF_VCPU, 1, 8 },
	[SNP_M_WAKE] = { "wake", SNP_M_OF_VCPU, 1, 4 },
	[SNP_M_PUNCH] = { "punch", SNP_M_OF_RANGE, 3, 12 },
	[SNP_M_ALLOC] = { "alloc", SNP_M_OF_RANGE, 3, 2 },
	[SNP_M_DELETE] = { "delete", SNP_M_OF_PLACE, 1, 3 },
	[SNP_M_BIND] = { "bind", SNP_M_OF_BIND, 3, 8 },
	[SNP_M_CLOSE] = { "close", SNP_M_OF_FILE, 1, 1 },
	[SNP_M_OPEN] = { "open", SNP_M_OF_FILE, 1, 4 },
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

static struct snp_m_page *page_at(const struct snp_model *m, int page)
{
	return (struct snp_m_page *)&m->file[m->slot[place(page)].file].page[pgoff(m, page)];
}

int snp_m_image(const struct snp_model *m, int page)
{
	return has_memory(m, page) ? page_at(m, page)->image : SNP_M_NONE;
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
	int i, page;

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
	/* The launch assigns all that is there. */
	for (page = 0; page < SNP_M_PAGES; page++)
		page_at(m, page)->gfn = page;
	for (i = 0; i < nr_aps; i++) {
		m->vcpu[i].gpa = SNP_M_LAUNCH;
		m->vcpu[i].next = SNP_M_NO_REQUEST;
		m->vcpu[i].on_init = SNP_M_NO_REQUEST;
	}
}

/* What happens in KVM_RUN. */
static enum snp_m_state enter(struct snp_model *m, struct snp_m_vcpu *v)
{
	const int init = v->init ? v->on_init : SNP_M_NO_REQUEST;

	if (v->next != SNP_M_NO_REQUEST) {
		v->gpa = v->next;
		v->mp = v->gpa == SNP_M_NONE ? SNP_M_HALTED : SNP_M_RUNNABLE;
		v->next = SNP_M_NO_REQUEST;
		v->lost = false;
	}
	if (init != SNP_M_NO_REQUEST) {
		v->gpa = init;
		v->on_init = SNP_M_NO_REQUEST;
		v->lost = false;
	}
	if (v->init)
		v->mp = v->sipi ? SNP_M_RUNNABLE : SNP_M_WAITS_FOR_SIPI;
	v->init = false;
	if (v->mp != SNP_M_RUNNABLE) {
		v->lost |= v->gpa >= 0 && !has_memory(m, v->gpa);
		return SNP_M_SLEEPS;
	}

	v->lost = false;
	if (v->gpa == SNP_M_LAUNCH)
		return SNP_M_TERMINATES;
	if (!has_memory(m, v->gpa)) {
		v->gpa = SNP_M_NONE;
		return SNP_M_FAILS;
	}
	page_at(m, v->gpa)->gfn = v->gpa;
	v->as = page_at(m, v->gpa)->image;
	if (v->as == SNP_M_NONE)
		return SNP_M_FAILS;
	m->starts[v->as] += page_at(m, v->gpa)->fresh;
	page_at(m, v->gpa)->fresh = false;
	return SNP_M_RUNS;
}

static bool touches(const struct snp_model *m, const struct snp_m_step *step, int page)
{
	const int *arg = step->arg;

	switch (snp_m_info[step->op].args) {
	case SNP_M_OF_PAGE:
	case SNP_M_OF_PAGE_VCPU:
		return page == arg[0];
	case SNP_M_OF_PAGE_NR:
		return page >= arg[0] && page < arg[0] + arg[1];
	case SNP_M_OF_RANGE:
		return has_memory(m, page) && m->slot[place(page)].file == arg[0] &&
		       pgoff(m, page) >= arg[1] && pgoff(m, page) < arg[1] + arg[2];
	case SNP_M_OF_PLACE:
		return page >= 0 && place(page) == arg[0];
	case SNP_M_OF_FILE:
		return has_memory(m, page) && m->slot[place(page)].file == arg[0];
	default:
		return false;
	}
}

static bool takes(const struct snp_model *m, const struct snp_m_step *step,
		  const struct snp_m_vcpu *v, enum snp_m_state state)
{
	return (step->op == SNP_M_PUNCH || step->op == SNP_M_DELETE || step->op == SNP_M_CLOSE) &&
	       v->state == state && touches(m, step, v->gpa);
}

bool snp_m_takes_from_guest(const struct snp_model *m, const struct snp_m_step *step)
{
	int i;

	for (i = 0; i < m->nr_aps && !takes(m, step, &m->vcpu[i], SNP_M_RUNS); i++)
		;
	return i < m->nr_aps;
}

static enum snp_m_met meets(const struct snp_m_vcpu *v)
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

enum snp_m_met snp_m_meets(const struct snp_model *m, const struct snp_m_step *step)
{
	enum snp_m_met found = SNP_M_NOBODY, now;
	int i;

	if (snp_m_info[step->op].args <= SNP_M_OF_VCPU_BAD)
		return meets(&m->vcpu[step->arg[0]]);
	for (i = 0; i < m->nr_aps; i++) {
		if (!touches(m, step, m->vcpu[i].gpa))
			continue;
		now = meets(&m->vcpu[i]);
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
		return -EINVAL;
	for (i = 0; i < SNP_M_PLACES; i++) {
		/* A page of a file has one gfn. */
		if (m->slot[i].file == arg[1] && m->slot[i].pgoff < arg[2] + SNP_M_SLOT_PAGES &&
		    arg[2] < m->slot[i].pgoff + SNP_M_SLOT_PAGES)
			return -EEXIST;
	}
	return 0;
}

static const char *check_bind(const struct snp_model *m, const int *arg)
{
	int i, gfn;

	if (m->slot[arg[0]].exists || !m->file[arg[1]].open)
		return "not there";
	for (i = 0; i < SNP_M_SLOT_PAGES && !bind_error(m, arg); i++) {
		gfn = m->file[arg[1]].page[arg[2] + i].gfn;
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
	int i, nr = 0, end = 0;

	for (i = 0; i < m->nr_aps; i++) {
		const struct snp_m_vcpu *v = &m->vcpu[i];

		if (!takes(m, step, v, SNP_M_RUNS))
			continue;
		nr++;
		if (end <= pgoff(m, v->gpa))
			end = pgoff(m, v->gpa) + 1;
	}
	if (m->gentle && nr)
		return "the vCPU is in the guest";
	if (step->op == SNP_M_PUNCH && nr > 1 && end != step->arg[1] + step->arg[2])
		return "vCPUs may fill the hole for ever that does not end with a VMSA in use";
	return NULL;
}

static const char *check_vcpu(const struct snp_m_vcpu *v, enum snp_m_op op)
{
	const bool is_busy = v->next != SNP_M_NO_REQUEST;
	const char *why = NULL;
	bool bad = false;

	if (op == SNP_M_CREATE || op == SNP_M_DESTROY) {
		why = "a vCPU that waits for SIPI does not take notice";
		bad = v->mp == SNP_M_WAITS_FOR_SIPI || (v->init && !v->sipi);
	}
	if (!bad && (op == SNP_M_DESTROY || op == SNP_M_ON_INIT)) {
		why = "KVM may take the INIT that was before the request, or not";
		bad = v->init;
	}
	if (!bad && (op == SNP_M_ON_INIT || op == SNP_M_INIT || op == SNP_M_WAKE)) {
		why = "KVM may take the request that was before, or not";
		bad = is_busy || (op == SNP_M_WAKE && v->init);
	}
	if (op == SNP_M_INIT_SIPI) {
		why = "KVM takes INIT first, or AP Destroy";
		bad = v->next == SNP_M_NONE;
	}
	if (op == SNP_M_RUN || op == SNP_M_STOP || op == SNP_M_HALT) {
		why = "it does, or it does not";
		bad = op == SNP_M_RUN ? v->in_run : op == SNP_M_STOP ? !v->in_run :
		      v->state != SNP_M_RUNS;
	}
	return bad ? why : NULL;
}

static const char *check(const struct snp_model *m, const struct snp_m_step *step)
{
	const int *arg = step->arg;
	int i;

	switch (step->op) {
	case SNP_M_PREPARE:
	case SNP_M_RELEASE:
		for (i = 0; i < m->nr_aps; i++) {
			if (m->vcpu[i].state == SNP_M_RUNS && m->vcpu[i].gpa == arg[0])
				return "RMPADJUST fails while the vCPU is in the guest";
		}
		return has_memory(m, arg[0]) && !m->shared[arg[0]] ? NULL : "no private memory";
	case SNP_M_TOUCH:
		return has_memory(m, arg[0]) ? NULL : "no memory";
	case SNP_M_PSC_SHARE ... SNP_M_ZAP:
		return m->conversion_keeps ? NULL : "conversion in place takes a VMSA away, too";
	case SNP_M_ALLOC:
	case SNP_M_PUNCH:
	case SNP_M_CLOSE:
		return m->file[arg[0]].open ? check_taken(m, step) : "not there";
	case SNP_M_DELETE:
		return m->slot[arg[0]].exists ? check_taken(m, step) : "not there";
	case SNP_M_BIND:
		return check_bind(m, arg);
	case SNP_M_OPEN:
		return m->file[arg[0]].open ? "not closed" : NULL;
	default:
		return check_vcpu(&m->vcpu[arg[0]], step->op);
	}
}

const char *snp_m_illegal(const struct snp_model *m, const struct snp_m_step *step)
{
	const char *why = check(m, step);
	struct snp_model after = *m;
	int i, j;

	if (why)
		return why;
	snp_m_do(&after, step);
	for (i = 0; i < m->nr_aps; i++) {
		for (j = 0; j < i && after.vcpu[i].state == SNP_M_RUNS; j++) {
			if (after.vcpu[j].state == SNP_M_RUNS &&
			    (after.vcpu[j].gpa == after.vcpu[i].gpa ||
			     after.vcpu[j].as == after.vcpu[i].as))
				return "VMRUN fails of a VMSA that another vCPU is in";
		}
	}
	return NULL;
}

int snp_m_do(struct snp_model *m, const struct snp_m_step *step)
{
	const int *arg = step->arg;
	struct snp_m_vcpu *v = m->vcpu + arg[0];	/* if it is one */
	int i, err = 0;

	for (i = 0; i < m->nr_aps; i++)
		m->vcpu[i].lost |= takes(m, step, &m->vcpu[i], SNP_M_SLEEPS);

	switch (step->op) {
	case SNP_M_PREPARE:
	case SNP_M_RELEASE:
		page_at(m, arg[0])->image = step->op == SNP_M_PREPARE ? arg[1] : SNP_M_NONE;
		page_at(m, arg[0])->fresh = true;
		page_at(m, arg[0])->gfn = arg[0];
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
		err = arg[1] == SNP_M_BAD_NO_FEATURES ? GHCB_MISSING_INPUT : GHCB_INVALID_INPUT;
		break;
	case SNP_M_INIT:
	case SNP_M_INIT_SIPI:
		v->init = true;
		v->sipi = step->op == SNP_M_INIT_SIPI;
		break;
	case SNP_M_HALT:
		v->mp = SNP_M_HALTED;
		break;
	case SNP_M_TOUCH:
		/* Userspace makes it private again, for the guest to go on. */
		err = m->shared[arg[0]] ? -EFAULT : 0;
		m->shared[arg[0]] = false;
		page_at(m, arg[0])->gfn = arg[0];
		break;
	case SNP_M_WAKE:
		v->mp = SNP_M_RUNNABLE;
		v->in_run = true;
		break;
	case SNP_M_RUN:
	case SNP_M_STOP:
		v->in_run = step->op == SNP_M_RUN;
		break;
	case SNP_M_PUNCH:
		clear_pages(m, arg[0], arg[1], arg[2]);
		break;
	case SNP_M_ALLOC:
		err = arg[1] + arg[2] > SNP_M_FILE_PAGES ? -EINVAL : 0;
		break;
	case SNP_M_PSC_SHARE ... SNP_M_ZAP:
		for (i = 0; i < SNP_M_PAGES; i++) {
			if (touches(m, step, i))
				m->shared[i] = step->op == SNP_M_SHARE ||
					       step->op == SNP_M_PSC_SHARE;
		}
		break;
	case SNP_M_BIND:
		err = bind_error(m, arg);
		if (err)
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
	default:	/* SNP_M_OPEN */
		m->file[arg[0]].open = true;
		clear_pages(m, arg[0], 0, SNP_M_FILE_PAGES);
		break;
	}

	for (i = 0; i < m->nr_aps; i++) {
		m->vcpu[i].as = SNP_M_NONE;
		m->vcpu[i].state = m->vcpu[i].in_run ? enter(m, &m->vcpu[i]) : SNP_M_OUT;
		m->vcpu[i].in_run = m->vcpu[i].state == SNP_M_RUNS ||
				    m->vcpu[i].state == SNP_M_SLEEPS;
	}
	return err;
}
