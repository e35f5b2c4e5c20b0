// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rate of this machine's TSC in kHz, which is that of the emulated one too.
 * Each reading is the closest of many pairs of clock and TSC, so that a machine
 * that does other things does no harm.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static uint64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void reading(uint64_t *ns, uint64_t *tsc)
{
	uint64_t before, now, after, best = UINT64_MAX;
	int i;

	for (i = 0; i < 100; i++) {
		before = __rdtsc();
		now = nanoseconds();
		after = __rdtsc();
		if (after - before < best) {
			best = after - before;
			*ns = now;
			*tsc = before + best / 2;
		}
	}
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	uint64_t ns[2], tsc[2];

	reading(&ns[0], &tsc[0]);
	nanosleep(&pause, NULL);
	reading(&ns[1], &tsc[1]);
	printf("%.0f\n", (tsc[1] - tsc[0]) * 1e6 / (ns[1] - ns[0]));
	return 0;
}
