// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sequences of operations on the model of snp_model.c: which make sense, random ones, how
 * they are written down, and how to make one smaller.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snp_model.h"

const struct snp_m_info snp_m_info[SNP_M_NR_OPS] = {
	[SNP_M_PREPARE]		= { "prepare", "pv", 10 },
	[SNP_M_RELEASE]		= { "release", "p", 1 },
	[SNP_M_CREATE]		= { "create", "vp", 14 },
	[SNP_M_ON_INIT]		= { "on_init", "vp", 4 },
	[SNP_M_DESTROY]		= { "destroy", "v", 4 },
	[SNP_M_BAD]		= { "bad", "vb", 3 },
	[SNP_M_INIT]		= { "init", "v", 2 },
	[SNP_M_INIT_SIPI]	= { "init_sipi", "v", 4 },
	[SNP_M_UNHALT]		= { "unhalt", "v", 3 },
	[SNP_M_HALT]		= { "halt", "v", 5 },
	[SNP_M_TOUCH]		= { "touch", "p", 3 },
	[SNP_M_PSC_SHARE]	= { "psc_share", "p", 1 },
	[SNP_M_PSC_UNSHARE]	= { "psc_unshare", "p", 2 },
	[SNP_M_SHARE]		= { "share", "pn", 1 },
	[SNP_M_UNSHARE]		= { "unshare", "pn", 2 },
	[SNP_M_ZAP]		= { "zap", "pn", 5 },
	[SNP_M_PREFAULT]	= { "prefault", "p", 2 },
	[SNP_M_RUN]		= { "run", "v", 18 },
	[SNP_M_STOP]		= { "stop", "v", 8 },
	[SNP_M_SIGNAL]		= { "signal", "v", 2 },
	[SNP_M_NMI]		= { "nmi", "v", 4 },
	[SNP_M_WAKE]		= { "wake", "v", 4 },
	[SNP_M_SET_HALTED]	= { "set_halted", "v", 1 },
	[SNP_M_GET_MP]		= { "get_mp", "v", 4 },
	[SNP_M_LATE]		= { "late", "p", 1 },
	[SNP_M_PUNCH]		= { "punch", "fon", 12 },
	[SNP_M_ALLOC]		= { "alloc", "fon", 2 },
	[SNP_M_DELETE]		= { "delete", "s", 4 },
	[SNP_M_BIND]		= { "bind", "sfo", 8 },
	[SNP_M_CLOSE]		= { "close", "f", 2 },
	[SNP_M_OPEN]		= { "open", "f", 4 },
	[SNP_M_CLOSE_VM]	= { "close_vm", "", 3 },
};

/* What an operation can find the VM, or its vCPU, page, memslot or file in. */
enum {
	IN_RUN = 1 << 0, NOT_IN_RUN = 1 << 1, NOT_IN_GUEST = 1 << 2, PARKED = 1 << 3,
	INIT = 1 << 4, REQUEST = 1 << 5, DESTROY = 1 << 6, UNHALTED = 1 << 7, NO_VMSA = 1 << 8,
	NO_MEMORY = 1 << 9, SHARED = 1 << 10, IN_USE = 1 << 11, NOT_THERE = 1 << 12,
	THERE = 1 << 13, TAKES = 1 << 14, SEVERAL = 1 << 15, OTHER_GFN = 1 << 16, LOST = 1 << 17,
	IN_PLACE = 1 << 18, NO_FD = 1 << 19, LATE = 1 << 20, BOTH = 1 << 21,
};

static int vcpu_found(const struct snp_model *m, const struct snp_m_vcpu *v)
{
	return (v->in_run ? IN_RUN : NOT_IN_RUN) | (v->state == SNP_M_RUNS ? 0 : NOT_IN_GUEST) |
	       (v->mp == SNP_M_WAITS_FOR_SIPI || (v->init && !v->sipi) ? PARKED : 0) |
	       (v->init ? INIT : 0) | (v->next == SNP_M_NO_REQUEST ? 0 : REQUEST) |
	       (v->init && v->next != SNP_M_NO_REQUEST ? BOTH : 0) |
	       (v->next == SNP_M_NONE ? DESTROY : 0) | (v->unhalted ? UNHALTED : 0) |
	       (snp_m_image(m, v->gpa) == SNP_M_NONE ? NO_VMSA : 0);
}

static int bind_found(const struct snp_model *m, const struct snp_m_step *step)
{
	const int *arg = step->arg;
	int i, gfn, found = m->file[arg[1]].open ? 0 : NOT_THERE;
	struct snp_model after = *m;
	bool refused = snp_m_do(&after, step);

	for (i = 0; i < SNP_M_SLOT_PAGES && !refused; i++) {
		gfn = m->file[arg[1]].page[arg[2] + i].gfn;
		if (gfn != SNP_M_NONE && gfn != arg[0] * SNP_M_SLOT_PAGES + i)
			found |= OTHER_GFN;
	}
	for (i = 0; i < m->nr_aps; i++)
		found |= m->vcpu[i].lost && m->vcpu[i].gpa / SNP_M_SLOT_PAGES == arg[0] ? LOST : 0;
	return found;
}

static int pages_found(const struct snp_model *m, const struct snp_m_step *step)
{
	int i, nr = 0, end = 0, found = 0;

	for (i = 0; i < m->nr_aps; i++) {
		const struct snp_m_vcpu *v = &m->vcpu[i];

		if (v->state != SNP_M_RUNS || !snp_m_touches(m, step, v->gpa))
			continue;
		nr++;
		found |= IN_USE | (snp_m_takes(m, step, v, SNP_M_RUNS) ? TAKES : 0);
		if (end <= snp_m_pgoff(m, v->gpa))
			end = snp_m_pgoff(m, v->gpa) + 1;
	}
	return found | (nr > 1 && end != step->arg[1] + step->arg[2] ? SEVERAL : 0);
}

static int finds(const struct snp_model *m, const struct snp_m_step *step)
{
	const int *arg = step->arg;
	int found = pages_found(m, step) | (m->no_fd ? NO_FD : 0) | (m->late ? LATE : 0) |
		    (m->conversion_keeps ? 0 : IN_PLACE);

	switch (*snp_m_info[step->op].args) {
	case 'v':
		return found | vcpu_found(m, &m->vcpu[arg[0]]);
	case 'p':
		return found | (m->shared[arg[0]] ? SHARED : 0) |
		       (snp_m_has_memory(m, arg[0]) ? 0 : NO_MEMORY);
	case 's':
		return found | (m->slot[arg[0]].exists ? THERE : 0) |
		       (step->op == SNP_M_BIND ? bind_found(m, step) :
			m->slot[arg[0]].exists ? 0 : NOT_THERE);
	case 'f':
		return found | (m->file[arg[0]].open ? THERE : NOT_THERE);
	default:
		return found;
	}
}

bool snp_m_takes_from_guest(const struct snp_model *m, const struct snp_m_step *step)
{
	return finds(m, step) & TAKES;
}

/* What makes no sense, and what KVM or hardware may do in more than one way. */
#define OP(_op)		(1ull << SNP_M_##_op)
#define CONVERSIONS	(OP(PSC_SHARE) | OP(PSC_UNSHARE) | OP(SHARE) | OP(UNSHARE) | OP(ZAP))
#define EVENTS		(OP(NMI) | OP(UNHALT))

static const struct {
	unsigned long long ops;
	int found;
	const char *why;
} limits[] = {
	{ OP(RUN) | OP(NMI) | OP(GET_MP) | OP(SET_HALTED), IN_RUN, "KVM_RUN has been called" },
	{ OP(STOP) | OP(SIGNAL), NOT_IN_RUN, "KVM_RUN has not been called" },
	{ OP(HALT), NOT_IN_GUEST, "only the guest executes HLT" },
	{ OP(PUNCH) | OP(ALLOC) | OP(DELETE) | OP(BIND) | OP(CLOSE), NOT_THERE, "it is not there" },
	{ OP(OPEN) | OP(BIND), THERE, "it is there already" },
	{ OP(TOUCH) | OP(PREFAULT) | OP(PREPARE) | OP(RELEASE), NO_MEMORY, "no memory" },
	{ OP(PREPARE) | OP(RELEASE), SHARED, "no private memory" },
	{ CONVERSIONS | OP(TOUCH) | OP(DELETE) | OP(BIND) | OP(OPEN) | OP(LATE) | OP(CLOSE_VM),
	  NO_FD, "the VM has no descriptor any more" },
	{ OP(LATE), LATE, "one is enough" },

	/* Known weaknesses. */
	{ OP(CREATE) | OP(DESTROY), PARKED, "a vCPU that waits for SIPI takes no notice" },
	{ EVENTS, PARKED, "KVM_RUN spins, and does not sleep any more" },
	{ OP(PREFAULT), SHARED, "KVM maps the private page if userspace may map the file" },
	{ OP(PUNCH), SEVERAL, "vCPUs may fill a hole for ever that ends with no VMSA in use" },

	/* Two things are pending, of which either may be first. */
	{ OP(DESTROY) | OP(ON_INIT) | OP(WAKE) | OP(SET_HALTED) | EVENTS, INIT,
	  "KVM may take the INIT that was before, or not" },
	{ OP(ON_INIT) | OP(INIT) | OP(SET_HALTED) | EVENTS, REQUEST,
	  "KVM may take the request that was before, or not" },
	{ OP(GET_MP), BOTH, "KVM may take INIT, and with it the request" },
	{ OP(INIT_SIPI) | OP(WAKE), DESTROY, "KVM takes it first, or AP Destroy" },
	{ OP(INIT) | OP(INIT_SIPI) | OP(HALT) | OP(SET_HALTED) | OP(GET_MP), UNHALTED, "either" },
	{ OP(NMI), NO_VMSA, "an NMI may outlive KVM_RUN that fails" },
	{ OP(BIND), LOST, "a vCPU that sleeps may have noticed that its page is gone, or not" },

	{ OP(TOUCH) | OP(PREPARE) | OP(RELEASE) | OP(LATE), IN_USE,
	  "the hardware refuses a VMSA in use" },
	{ OP(BIND), OTHER_GFN, "the RMP has the page at another gfn" },
	{ CONVERSIONS, IN_PLACE, "conversion in place takes a VMSA away, too" },
};

/* VMSAs of @vcpu that have run.  All go on in the middle of the same stack. */
static int nr_started(const struct snp_model *m, int vcpu)
{
	int i, j, nr = 0;

	for (i = 0; i < SNP_M_FILES; i++) {
		for (j = 0; j < SNP_M_FILE_PAGES; j++)
			nr += m->file[i].page[j].image == vcpu && !m->file[i].page[j].fresh;
	}
	return nr;
}

const char *snp_m_illegal(const struct snp_model *m, const struct snp_m_step *step)
{
	const int found = finds(m, step);
	const char *args = snp_m_info[step->op].args;
	struct snp_model after = *m;
	int i, j;

	for (i = 0; args[i]; i++) {
		if (args[i] == 'v' && step->arg[i] >= m->nr_aps)
			return "there is no such vCPU";
	}
	if (m->gentle && (found & TAKES))
		return "the vCPU is in the guest";
	for (i = 0; i < (int)(sizeof(limits) / sizeof(*limits)); i++) {
		if ((limits[i].ops & 1ull << step->op) && (limits[i].found & found))
			return limits[i].why;
	}
	snp_m_do(&after, step);
	for (i = 0; i < m->nr_aps; i++) {
		const struct snp_m_vcpu *v = &after.vcpu[i];

		if (after.nmis[i] != m->nmis[i] && nr_started(&after, i) > 1)
			return "an NMI overwrites what another VMSA has on the stack";
		if (v->nmi && (v->state == SNP_M_FAILS || v->state == SNP_M_TERMINATES))
			return "an NMI may outlive KVM_RUN that fails";
		for (j = 0; j < i && v->state == SNP_M_RUNS; j++) {
			if (after.vcpu[j].state == SNP_M_RUNS &&
			    (after.vcpu[j].gpa == v->gpa || after.vcpu[j].as == v->as))
				return "VMRUN fails of a VMSA that another vCPU is in";
		}
	}
	return NULL;
}

const char * const snp_m_met_names[SNP_M_NR_MET] = {
	"nobody", "launched", "no VMSA", "pending", "stopped", "asleep", "parked", "running",
	"several",
};

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

	if (*snp_m_info[step->op].args == 'v')
		return meets(&m->vcpu[step->arg[0]]);
	for (i = 0; i < m->nr_aps; i++) {
		if (!snp_m_touches(m, step, m->vcpu[i].gpa))
			continue;
		now = meets(&m->vcpu[i]);
		if (now == SNP_M_RUNNING && found >= SNP_M_RUNNING)
			found = SNP_M_SEVERAL;
		else if (now > found)
			found = now;
	}
	return found;
}

const char *snp_s_print(const struct snp_m_step *step)
{
	static char line[64];
	int i, len = sprintf(line, "%s", snp_m_info[step->op].name);

	for (i = 0; snp_m_info[step->op].args[i]; i++)
		len += sprintf(line + len, " %d", step->arg[i]);
	return line;
}

bool snp_s_parse(struct snp_m_step *step, const char *line, const int *letters)
{
	static const unsigned int nr_of['z'] = {
		['v'] = SNP_M_APS, ['p'] = SNP_M_PAGES, ['f'] = SNP_M_FILES,
		['s'] = SNP_M_PLACES, ['b'] = SNP_M_NR_BAD,
	};
	char word[4][16] = { }, *end = "";
	const char *args;
	int i, nr = sscanf(line, " %15[^ ,\n] %15[^ ,\n] %15[^ ,\n] %15[^ ,\n]",
			   word[0], word[1], word[2], word[3]);

	*step = (struct snp_m_step) { .op = 0 };
	while (step->op < SNP_M_NR_OPS && strcmp(word[0], snp_m_info[step->op].name))
		step->op++;
	if (step->op == SNP_M_NR_OPS)
		return false;
	args = snp_m_info[step->op].args;
	if (nr != 1 + (int)strlen(args))
		return false;
	for (i = 0; i < nr - 1; i++) {
		if (letters && word[i + 1][0] >= 'a')
			step->arg[i] = letters[word[i + 1][0] - 'a'];
		else
			step->arg[i] = strtol(word[i + 1], &end, 10);
		if (*end || (!letters && nr_of[(int)args[i]] &&
			     (unsigned int)step->arg[i] >= nr_of[(int)args[i]]))
			return false;
	}
	return true;
}

bool snp_s_read(struct snp_sequence *seq, const char *script)
{
	static char text[1 << 16];
	FILE *f = fopen(script, "r");
	char *line, *save, *c;

	snprintf(text, sizeof(text), "%s", script);
	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = 0;
		fclose(f);
	}
	errno = 0;
	for (c = text; *c; c++)
		*c = strchr(":#", *c) ? ' ' : *c;

	seq->nr_aps = SNP_M_APS;
	seq->nr = 0;
	for (line = strtok_r(text, "\n,", &save); line; line = strtok_r(NULL, "\n,", &save)) {
		line += strspn(line, " ");
		if (!strncmp(line, "aps ", 4))
			seq->nr_aps = strtoul(line + 4, NULL, 10);
		else if (*line && (seq->nr == SNP_M_MAX_STEPS ||
				   !snp_s_parse(&seq->step[seq->nr++], line, NULL)))
			return false;
	}
	return seq->nr_aps > 0 && seq->nr_aps <= SNP_M_APS;
}

/*
 * What random steps would take long to meet: v and w are vCPUs, p is the page of v's VMSA,
 * s its memslot, which begins at t in the file, f and o its file and where it is in there;
 * r is any page, g and h the same for it, q one that was prepared for w.  What does not fit
 * into the state is left out.
 */
static const char * const corners[] = {
	"stop v, punch g h 1, punch f o 1, prepare r w, run v",	/* another VMSA in that memory */
	"stop v, punch f o 1, prepare p w, run v",		/* and at the same gpa */
	"zap p 1, punch f o 1",			/* no SPTE, i.e. only the VMSA can stop the vCPU */
	"zap p 1, close f, open f, delete s, bind s f t, prepare p v, create v p, run v",
	"zap p 1, delete s, bind s f t, create v p, run v",
	"stop v, delete s, bind s f t, run v",
	"punch f o 1, alloc f o 1, prepare p v, run v",
	"create v p",
	"halt v, create v p",
	"halt v, punch f o 1, prepare p v, wake v",
	"stop v, create v p, get_mp v, run v",
	"on_init v q, create v p, init_sipi v",
	"on_init v p, stop v, init_sipi v, get_mp v, run v",
	"stop v, nmi v, run v",
	"stop v, nmi v, create v p, run v",
	"unhalt v, destroy v, create v p, halt v",
	"destroy v, punch f o 1, init_sipi v",
};

/* Any sequence of numbers will do that is the same everywhere. */
static int any(unsigned int *seed, int nr)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % nr;
}

/* A page that has been prepared for the vCPU, if there is one. */
static int prepared_page(unsigned int *seed, const struct snp_model *m, int vcpu)
{
	int i, first = any(seed, SNP_M_PAGES);

	for (i = 0; i < SNP_M_PAGES && any(seed, 20); i++) {
		if (snp_m_image(m, (first + i) % SNP_M_PAGES) == vcpu)
			return (first + i) % SNP_M_PAGES;
	}
	return first;
}

static int file_of(unsigned int *seed, const struct snp_model *m, int page)
{
	return snp_m_has_memory(m, page) && any(seed, 8) ?
	       m->slot[page / SNP_M_SLOT_PAGES].file : any(seed, SNP_M_FILES);
}

#define LETTER(_c)	letters[(_c) - 'a']

static void choose(unsigned int *seed, const struct snp_model *m, int *letters)
{
	int vcpu = any(seed, m->nr_aps), page = m->vcpu[vcpu].gpa, other = any(seed, SNP_M_PAGES);

	page = page < 0 ? any(seed, SNP_M_PAGES) : page;
	LETTER('v') = vcpu;
	LETTER('w') = any(seed, m->nr_aps);
	LETTER('p') = page;
	LETTER('q') = prepared_page(seed, m, LETTER('w'));
	LETTER('r') = other;
	LETTER('s') = page / SNP_M_SLOT_PAGES;
	LETTER('t') = m->slot[LETTER('s')].pgoff;
	LETTER('f') = file_of(seed, m, page);
	LETTER('o') = snp_m_pgoff(m, page);
	LETTER('g') = file_of(seed, m, other);
	LETTER('h') = snp_m_pgoff(m, other);
	LETTER('b') = any(seed, SNP_M_NR_BAD);
	LETTER('n') = any(seed, 3) ? 1 : any(seed, 8) ? 1 + any(seed, SNP_M_FILE_PAGES) :
		      SNP_M_FAR;
}

static void any_step(unsigned int *seed, const struct snp_model *m, struct snp_m_step *step)
{
	int i, total = 0, letters[26], *arg = step->arg;

	for (i = 0; i < SNP_M_NR_OPS; i++)
		total += snp_m_info[i].weight;
	for (i = 0, total = any(seed, total); total >= snp_m_info[i].weight; i++)
		total -= snp_m_info[i].weight;
	step->op = i;

	/* Most of the time the page of a vCPU, which may be made for another one. */
	choose(seed, m, letters);
	if (!any(seed, 3)) {
		LETTER('p') = LETTER('r');
		LETTER('s') = LETTER('p') / SNP_M_SLOT_PAGES;
		LETTER('f') = LETTER('g');
		LETTER('o') = LETTER('h');
		LETTER('v') = step->op == SNP_M_PREPARE ? LETTER('w') : LETTER('v');
	}
	if (step->op == SNP_M_CREATE || step->op == SNP_M_ON_INIT) {
		LETTER('p') = prepared_page(seed, m, LETTER('v'));
	} else if (step->op == SNP_M_BIND) {
		LETTER('f') = any(seed, 2) ? LETTER('s') / 2 : any(seed, SNP_M_FILES);
		LETTER('o') = any(seed, 2) ? SNP_M_SLOT_PAGES * ((LETTER('s') + 1) % 3) :
				any(seed, SNP_M_FILE_PAGES);
	} else if (snp_m_info[step->op].args[0] == 'f') {
		LETTER('f') = snp_m_info[step->op].args[1] ? LETTER('f') : any(seed, SNP_M_FILES);
		LETTER('o') -= any(seed, 2) * any(seed, LETTER('n') < 4 ? LETTER('n') : 4);
	} else {
		LETTER('n') = 1 + any(seed, SNP_M_SLOT_PAGES - LETTER('p') % SNP_M_SLOT_PAGES);
	}
	for (i = 0; snp_m_info[step->op].args[i]; i++)
		arg[i] = LETTER(snp_m_info[step->op].args[i]);
}

static void add(struct snp_sequence *seq, struct snp_model *m, const struct snp_m_step *step,
		int nr_steps, int *met)
{
	/* Much is impossible without the VM's descriptor. */
	if (seq->nr == nr_steps || (step->op == SNP_M_CLOSE_VM && seq->nr + 10 < nr_steps) ||
	    snp_m_illegal(m, step))
		return;
	met[step->op * SNP_M_NR_MET + snp_m_meets(m, step)]++;
	snp_m_do(m, step);
	seq->step[seq->nr++] = *step;
}

void snp_s_generate(struct snp_sequence *seq, unsigned int seed, int nr_steps,
		    bool conversion_keeps, int *met)
{
	struct snp_m_step step = { .op = 0 };
	struct snp_model m;
	int letters[26];
	const char *p;

	seed *= 2654435761;
	seq->nr_aps = 2 + any(&seed, SNP_M_APS - 1);
	seq->nr = 0;
	snp_m_init(&m, seq->nr_aps, seq->gentle, conversion_keeps);
	while (seq->nr < nr_steps) {
		if (any(&seed, 8)) {
			any_step(&seed, &m, &step);
			add(seq, &m, &step, nr_steps, met);
			continue;
		}
		choose(&seed, &m, letters);
		p = corners[any(&seed, sizeof(corners) / sizeof(*corners))];
		for (; *p; p += strcspn(p, ","), p += strspn(p, ", ")) {
			if (snp_s_parse(&step, p, letters))
				add(seq, &m, &step, nr_steps, met);
		}
	}
}

/* All that is left if one vCPU, one operation and some steps are missing. */
static void leave_out(struct snp_sequence *to, const struct snp_sequence *from, int vcpu, int op,
		      int first, int nr)
{
	struct snp_m_step step;
	const char *args;
	int i, j;

	*to = *from;
	to->nr = 0;
	to->nr_aps -= vcpu != SNP_M_NONE;
	for (i = 0; i < from->nr; i++) {
		step = from->step[i];
		args = snp_m_info[step.op].args;
		for (j = 0; args[j] && (args[j] != 'v' || step.arg[j] != vcpu); j++)
			step.arg[j] -= args[j] == 'v' && vcpu != SNP_M_NONE && step.arg[j] > vcpu;
		if (!args[j] && (int)step.op != op && (i < first || i >= first + nr))
			to->step[to->nr++] = step;
	}
}

bool snp_s_smaller(struct snp_sequence *to, const struct snp_sequence *from, int nr)
{
	const int vcpu = nr < from->nr_aps && from->nr_aps > 1 ? nr : SNP_M_NONE;
	int size, nr_parts, *arg;

	nr -= SNP_M_APS;
	if (nr < SNP_M_NR_OPS) {
		leave_out(to, from, vcpu, nr, 0, 0);
		return true;
	}
	nr -= SNP_M_NR_OPS;
	for (size = from->nr / 2; size; size /= 2, nr -= nr_parts) {
		nr_parts = (from->nr - 1) / size;
		if (nr < nr_parts) {
			leave_out(to, from, SNP_M_NONE, -1, from->nr - 1 - (nr + 1) * size, size);
			return true;
		}
	}
	*to = *from;
	if (nr >= 3 * from->nr)
		return false;
	arg = &to->step[nr / 3].arg[nr % 3];
	*arg = strchr(snp_m_info[to->step[nr / 3].op].args, 'n') && nr % 3 ? *arg > 0 : 0;
	return true;
}
