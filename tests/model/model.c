// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model of what KVM promises about VMSAs (lib/x86/snp_model.c of the selftests), without
 * KVM.  Checks one rule, named by the argument.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snp_model.h"

/*
 * Steps, and what has to come of each: "=R" is the state of the vCPU that is its first
 * argument, "1R" that of vCPU 1, "!-17" an error, "?" a step that the model refuses.
 */
static const struct {
	const char *rule, *script;
} rules[] = {
	{ "create",	"prepare 0 1, create 1 0 =O, run 1 =R, stop 1 =O, run 1 =R" },
	{ "launch",	"run 0 =S, init_sipi 0 =T, run 0 =T" },
	{ "identity",	"prepare 0 2, create 1 0, run 1 =R, prepare 3 1, create 1 3 =R" },
	{ "punch",	"prepare 5 1, create 1 5, run 1 =R, punch 0 1 1 1F, run 1 =F, "
			"prepare 5 1, run 1 =R" },
	{ "release",	"prepare 5 1, create 1 5, run 1, release 5 ?, stop 1, release 5, run 1 =F" },
	{ "edges",	"prepare 4 0, create 0 4, run 0 =R, punch 0 1 11 0R, punch 0 -1 1 0R, "
			"punch 1 0 12 0R, punch 0 -1 2 0F" },
	{ "slots",	"prepare 7 0, prepare 0 1, create 0 7, create 1 0, run 0 =R, run 1 =R, "
			"punch 0 3 2 0F 1F" },
	{ "no-page",	"prepare 8 0, create 0 8, run 0, delete 2 0F, bind 2 1 8, run 0 =F, "
			"create 0 8, run 0 =R" },
	{ "away",	"prepare 8 0, create 0 8, run 0, stop 0, delete 2, bind 2 1 8, run 0 =R" },
	{ "close",	"prepare 8 0, create 0 8, run 0, close 1 0F, open 1, bind 2 1 8 ?, delete 2, "
			"bind 2 1 8, run 0 =F" },
	{ "asleep",	"prepare 8 0, create 0 8, run 0, halt 0 =S, punch 1 8 1 0S, wake 0 =F" },
	{ "lost",	"prepare 8 0, create 0 8, run 0, halt 0, delete 2 0S, bind 2 1 8 ?, stop 0, "
			"bind 2 1 8 ?, wake 0 =F, bind 2 1 8" },
	{ "lost-by-init", "delete 2, on_init 0 8, run 0, init 0 =S, bind 2 1 8 ?, init_sipi 0 =F" },
	{ "destroy",	"prepare 8 0, create 0 8, run 0, destroy 0 =S, wake 0 =F, init_sipi 0 =O, "
			"run 0 =F" },
	{ "on-init",	"prepare 8 0, on_init 0 8, run 0 =S, init 0 =S, create 0 8 ?, init_sipi 0 =R" },
	{ "on-init-dropped", "prepare 8 0, on_init 0 8, destroy 0, run 0 =S, init_sipi 0 =F" },
	{ "on-init-later", "prepare 8 0, create 0 8, run 0, on_init 0 9 =R, init_sipi 0 =F" },
	{ "lost-before",  "create 0 8, run 0 =F, init 0, delete 2, run 0 =S, bind 2 1 8 ?" },
	{ "last-counts", "prepare 8 0, prepare 9 1, create 0 9, destroy 0, create 0 8, run 0 =R" },
	{ "in-order",	"create 0 8, on_init 0 9 ?, init 0 ?, destroy 0, wake 0 ?, init_sipi 0 ?" },
	{ "init",	"prepare 8 0, create 0 8, run 0, init 0 =S, destroy 0 ?, init_sipi 0 =R" },
	{ "bad",	"prepare 8 0, create 0 8, run 0, bad 0 0 !5 0R, bad 0 10 !4 0R" },
	{ "bind",	"delete 2, bind 2 1 9 !-22, bind 2 0 7 !-17, bind 2 0 1 !-17, bind 2 1 8, "
			"bind 2 1 8 ?, delete 0, bind 0 0 5 ?" },
	{ "alloc",	"alloc 0 11 1, alloc 0 11 2 !-22" },
	{ "convert",	"prepare 8 0, create 0 8, run 0, share 8 1 0R, prepare 8 1 ?, touch 8 ?, stop 0, "
			"touch 8 !-14, touch 8, run 0, psc_share 9, psc_unshare 9, touch 9, share 9 3, zap 9 3, touch 9 0R" },
	{ "one-each",	"prepare 8 0, create 0 8, run 0, create 1 8, run 1 ?, prepare 9 0, "
			"create 1 9, run 1 ?" },
	{ "nmi",	"prepare 8 0, create 0 8, run 0, nmi 0 ?, stop 0, nmi 0, create 0 8, run 0 =R0, "
			"stop 0, nmi 0, run 0 =R1, halt 0 =S, stop 0, nmi 0, run 0 =R2, stop 0, "
			"nmi 0, punch 1 8 1, run 0 ?" },
	{ "nmi-stack",	"prepare 0 0, create 0 0, run 0, halt 0 =S, prepare 7 0, run 1, create 1 7, "
			"stop 1, nmi 1, run 1 ?, create 1 7, run 1" },
	{ "unhalt",	"prepare 8 0, create 0 8, run 0, unhalt 0, halt 0 ?, create 0 8, halt 0 =S, unhalt 0 =R, "
			"unhalt 0, destroy 0 =S, unhalt 0 =F" },
	{ "mp-state",	"get_mp 0 !3, run 0, get_mp 0 ?, stop 0, prepare 8 0, on_init 0 8, init 0, "
			"get_mp 0 !2, init_sipi 0, get_mp 0 !0, run 0 =R, stop 0, set_halted 0, "
			"get_mp 0 !3, unhalt 0, get_mp 0 ?, run 0 =R, signal 0 =R" },
	{ "no-fd",	"prepare 8 0, create 0 8, run 0, late 1, late 2 ?, close_vm, close_vm ?, delete 0 ?, "
			"zap 9 1 ?, prefault 9, punch 1 9 1 0R, punch 1 8 1 0F" },
	{ "shared-fault", "share 9 1, prefault 9 ?, unshare 9 1, prefault 9" },
	{ "livelock",	"prepare 8 0, prepare 10 1, create 0 8, create 1 10, run 0, run 1, "
			"punch 0 8 4 0R 1R, punch 1 8 4 ?, punch 1 8 3 0F 1F" },
};

static struct snp_model m;

static void die(const char *step, const char *what)
{
	printf("%s: %s\n", step, what);
	exit(1);
}

/* The marks are behind what is a step. */
static void do_line(const char *line)
{
	char text[80], state;
	struct snp_m_step step;
	const char *p;
	int vcpu, err = 0;

	snprintf(text, sizeof(text), "%s", line);
	for (p = line; *p && (*p != ' ' || !strpbrk(p + 1, "=!?ORSFT") || strpbrk(p + 1, "=!?ORSFT") > p + 2); p++)
		;
	text[p - line] = 0;
	if (!snp_s_parse(&step, text, NULL))
		die(line, "no step");
	if (!snp_m_illegal(&m, &step) != !strchr(line, '?'))
		die(line, "legal, or not");
	if (strchr(line, '?'))
		return;
	if (strchr(line, '!'))
		err = atoi(strchr(line, '!') + 1);
	if (snp_m_do(&m, &step) != err)
		die(line, "wrong answer");
	for (; *p; p++) {
		vcpu = p[0] == '=' ? step.arg[0] : p[0] - '0';
		state = p[1];
		if (!strchr("=0123456789", p[0]) || !state || !strchr("ORSFT", state))
			continue;
		if ("ORSFT"[m.vcpu[vcpu].state] != state)
			die(line, "another state");
		if (p[2] >= '0' && p[2] <= '9' && m.nmis[vcpu] != p[2] - '0')
			die(line, "another number of NMIs");
	}
}

/* What has to hold after any step. */
static void check_random(void)
{
	int i, j, n, old[SNP_M_APS], nr_legal = 0;
	struct snp_m_step step;
	struct snp_model before;
	const char *p;

	srand(1);
	for (n = 0; n < 200000; n++) {
		if (n % 1000 == 0)
			snp_m_init(&m, SNP_M_APS, n % 2000, true);
		step.op = rand() % SNP_M_NR_OPS;
		for (p = snp_m_info[step.op].args, i = 0; p[i]; i++)
			step.arg[i] = rand() % (p[i] == 'v' ? SNP_M_APS : p[i] == 's' ? SNP_M_PLACES :
						p[i] == 'f' ? SNP_M_FILES : p[i] == 'n' ? 4 :
						p[i] == 'b' ? SNP_M_NR_BAD : SNP_M_PAGES);
		/* Much is illegal without the descriptor. */
		if ((step.op == SNP_M_CLOSE_VM && n % 1000 < 900) || snp_m_illegal(&m, &step))
			continue;
		nr_legal++;
		before = m;
		memcpy(old, m.starts, sizeof(old));
		snp_m_do(&m, &step);
		for (i = 0; i < SNP_M_APS; i++) {
			const struct snp_m_vcpu *v = &m.vcpu[i];

			if (v->state == SNP_M_RUNS && snp_m_image(&m, v->gpa) != v->as)
				die(snp_m_info[step.op].name, "runs what is not there");
			if (v->in_run != (v->state == SNP_M_RUNS || v->state == SNP_M_SLEEPS))
				die(snp_m_info[step.op].name, "in KVM_RUN, or not");
			if (step.op == SNP_M_TOUCH && m.starts[i] != old[i])
				die(snp_m_info[step.op].name, "started by nothing");
			if (m.starts[i] < old[i] || m.starts[i] > old[i] + 1)
				die(snp_m_info[step.op].name, "started more than once");
			if (step.op == SNP_M_BAD && v->gpa != before.vcpu[i].gpa)
				die(snp_m_info[step.op].name, "refused, and something changed");
			if (before.gentle && before.vcpu[i].state == SNP_M_RUNS &&
			    v->state == SNP_M_FAILS && step.op != SNP_M_CREATE &&
			    step.op != SNP_M_INIT_SIPI)
				die(snp_m_info[step.op].name, "taken from a vCPU in the guest");
			for (j = 0; j < i; j++) {
				if (v->state == SNP_M_RUNS && m.vcpu[j].state == SNP_M_RUNS &&
				    (v->gpa == m.vcpu[j].gpa || v->as == m.vcpu[j].as))
					die(snp_m_info[step.op].name, "two vCPUs on one VMSA");
			}
		}
	}
	if (nr_legal < 20000)
		die("random", "too few steps");
}

/* Sequences are legal, the same again, written down and read, and get smaller. */
static void check_sequences(void)
{
	static struct snp_sequence seq, again, smaller;
	static int met[SNP_M_NR_PAIRS], *of;
	struct snp_m_step step;
	unsigned int seed;
	int i;

	for (seed = 0; seed < 200; seed++) {
		seq.gentle = again.gentle = seed % 2;
		snp_s_generate(&seq, seed, 200, true, met);
		snp_s_generate(&again, seed, 200, true, met);
		if (seq.nr != 200 || memcmp(&seq, &again, sizeof(seq)))
			die("generate", "not the same again");
		snp_m_init(&m, seq.nr_aps, seq.gentle, true);
		for (i = 0; i < seq.nr; i++) {
			if (snp_m_illegal(&m, &seq.step[i]))
				die(snp_s_print(&seq.step[i]), "is illegal");
			if (!snp_s_parse(&step, snp_s_print(&seq.step[i]), NULL) ||
			    step.op != seq.step[i].op ||
			    memcmp(step.arg, seq.step[i].arg,
				   strlen(snp_m_info[step.op].args) * sizeof(int)))
				die(snp_s_print(&seq.step[i]), "is not what was read");
			snp_m_do(&m, &seq.step[i]);
		}
		for (i = 0; snp_s_smaller(&smaller, &seq, i); i++) {
			if (smaller.nr > seq.nr || smaller.nr_aps > seq.nr_aps || i > 5000)
				die("smaller", "is not");
		}
	}
	for (i = 0; i < SNP_M_NR_OPS; i++) {
		of = met + i * SNP_M_NR_MET;
		if (!of[SNP_M_NOBODY] && !of[SNP_M_RUNNING] && !of[SNP_M_STOPPED])
			die(snp_m_info[i].name, "is never there");
	}
	if (snp_s_parse(&step, "run", NULL) || snp_s_parse(&step, "run x", NULL) ||
	    snp_s_parse(&step, "ran 1", NULL) || snp_s_parse(&step, "run 1 2", NULL) ||
	    snp_s_parse(&step, "run 6", NULL) || snp_s_parse(&step, "run -1", NULL) ||
	    snp_s_parse(&step, "prepare 12 0", NULL) || snp_s_parse(&step, "bind 3 0 0", NULL) ||
	    snp_s_parse(&step, "open 3", NULL) || snp_s_parse(&step, "bad 0 99", NULL))
		die("parse", "takes what is none");
	if (!snp_s_read(&seq, "aps:2,run:1\n# stop 1") || seq.nr != 2 || seq.nr_aps != 2)
		die("read", "reads something else");
	if (snp_s_read(&seq, "aps 7") || snp_s_read(&seq, "aps 0") || snp_s_read(&seq, "aps x"))
		die("read", "takes any number of APs");
}

int main(int argc, char *argv[])
{
	char line[80];
	const char *p;
	unsigned int i, found = 0;

	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "list")) {
		for (i = 0; i < sizeof(rules) / sizeof(*rules); i++)
			puts(rules[i].rule);
		return 0;
	}
	if (!strcmp(argv[1], "sequences")) {
		check_sequences();
		return 0;
	}
	if (!strcmp(argv[1], "random")) {
		check_random();
		return 0;
	}
	for (i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		if (strcmp(argv[1], rules[i].rule) && strcmp(argv[1], "all"))
			continue;
		found++;
		snp_m_init(&m, 3, false, true);
		for (p = rules[i].script; *p; p += strspn(p, ", ")) {
			snprintf(line, sizeof(line), "%.*s", (int)strcspn(p, ","), p);
			do_line(line);
			p += strcspn(p, ",");
		}
	}
	return found ? 0 : 2;
}
