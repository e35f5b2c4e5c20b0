// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which thread of an aimed race runs where (include/x86/snp_plan.h of the selftests), with
 * CPUs that nobody has.  Checks one rule, named by the argument, for every mask.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snp_plan.h"

#define NR_THREADS	32

static cpu_set_t cpus;
static const char *mask;

static void die(const char *rule, unsigned int nr, struct snp_place place)
{
	printf("%s: thread %u, mask %s (%d CPUs): CPU %d, FIFO %d, nice %d\n", rule, nr, mask,
	       CPU_COUNT(&cpus), place.cpu, place.fifo, place.nice);
	exit(1);
}

static struct snp_place of(enum snp_role role, unsigned int nr, bool preempt)
{
	return snp_race_place(&cpus, role, nr, preempt);
}

/* Counted in another way than the code does. */
static int nth(int nr)
{
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &cpus) && !nr--)
			return cpu;
	}
	return -1;
}

static void check(const char *rule, enum snp_role role, unsigned int nr, bool preempt)
{
	const struct snp_place place = of(role, nr, preempt);
	const bool shooter = role == SNP_AP_SHOOTER;
	const int count = CPU_COUNT(&cpus);
	bool ok;

	if (!strcmp(rule, "allowed"))
		ok = place.cpu >= 0 && place.cpu < CPU_SETSIZE && CPU_ISSET(place.cpu, &cpus);
	else if (!strcmp(rule, "first"))
		ok = role == SNP_AP || shooter || place.cpu == nth(nr % count);
	else if (!strcmp(rule, "last"))
		ok = role != SNP_AP ||
		     place.cpu == nth(count > 1 ? count - 1 - (int)nr % (count - 1) : 0);
	else if (!strcmp(rule, "first-is-free"))
		ok = role != SNP_AP || count == 1 || place.cpu != nth(0);
	else if (!strcmp(rule, "shooters"))
		ok = !shooter || place.cpu == of(SNP_AP, nr, preempt).cpu;
	else if (!strcmp(rule, "fifo"))
		ok = place.fifo == (shooter && preempt);
	else if (!strcmp(rule, "nice"))
		ok = place.nice == (role == SNP_DRIVER && preempt ? -20 : 0);
	else if (!strcmp(rule, "none"))
		ok = preempt || (!place.fifo && !place.nice);
	else
		exit(2);
	if (!ok)
		die(rule, nr, place);
}

static void check_mask(const char *rule)
{
	unsigned int role, nr;

	for (role = SNP_DRIVER; role <= SNP_AP_SHOOTER; role++) {
		for (nr = 0; nr < NR_THREADS; nr++) {
			check(rule, role, nr, false);
			check(rule, role, nr, true);
		}
	}
}

/* From, to, and how many are left out in between, of CPUs that the machine has. */
static const struct {
	const char *name;
	int first, last, step;
} masks[] = {
	{ "one CPU",			0,	0,	1 },
	{ "one CPU, not the first",	7,	7,	1 },
	{ "the last CPU alone",		1023,	1023,	1 },
	{ "two CPUs",			0,	1,	1 },
	{ "two CPUs, far apart",	0,	1023,	1023 },
	{ "three CPUs",			1,	3,	1 },
	{ "four CPUs",			0,	3,	1 },
	{ "16 CPUs",			0,	15,	1 },
	{ "every other one of 64",	1,	63,	2 },
	{ "every third one of 256",	2,	255,	3 },
	{ "all of 1,024",		0,	1023,	1 },
	{ "the upper half of 1,024",	512,	1023,	1 },
	{ "every 100th of 1,024",	23,	1023,	100 },
};

int main(int argc, char *argv[])
{
	unsigned int i;
	int cpu;

	if (argc != 2)
		return 2;

	for (i = 0; i < sizeof(masks) / sizeof(*masks); i++) {
		mask = masks[i].name;
		CPU_ZERO(&cpus);
		for (cpu = masks[i].first; cpu <= masks[i].last; cpu += masks[i].step)
			CPU_SET(cpu, &cpus);
		check_mask(argv[1]);
	}

	/* With holes that follow no rule. */
	mask = "random";
	srand(1);
	for (i = 0; i < 300; i++) {
		CPU_ZERO(&cpus);
		for (cpu = rand() % CPU_SETSIZE; cpu < CPU_SETSIZE; cpu += 1 + rand() % (1 + i))
			CPU_SET(cpu, &cpus);
		check_mask(argv[1]);
	}

	CPU_ZERO(&cpus);
	return snp_nth_cpu(&cpus, 3) == -1 ? 0 : 1;
}
