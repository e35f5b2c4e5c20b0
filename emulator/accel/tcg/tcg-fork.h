/*
 * Copies of a running machine, by fork().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TCG_FORK_H
#define TCG_FORK_H

/*
 * For each line "DIR [alarm=SECONDS] [OPTION...]" from the pipe SERVER.in a
 * copy of this machine, whose log files in SERVER's folder become those in
 * DIR, and which dies of SIGALRM after SECONDS.  Its end is told to
 * SERVER.out: "DIR exit CODE MS" or "DIR signal NUMBER MS", MS being what it
 * has cost in milliseconds of CPU time.  "ready" goes to SERVER.out first.
 *
 * Returns in the copies, with the options; the caller frees them.  In the
 * original it returns NULL when SERVER.in has been closed and the last copy has
 * ended; or at once, in either, with an error.  Call it from the main thread
 * while no other thread executes guest code.
 */
char **tcg_fork_serve(const char *server, Error **errp);

/* A VMRUN was executed on a machine without x-sched. */
void tcg_fork_point(void);

#endif
