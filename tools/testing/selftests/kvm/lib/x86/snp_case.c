// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run cases one by one in processes of their own, and judge them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "kvm_util.h"
#include "snp.h"
#include "snp_case.h"

#define NR_EVENTS		256
#define NR_EVENTS_PRINTED	32
#define NR_NOTES		16
#define LINE			256

#define NR_BALLAST_PAGES	128

#define DEFAULT_ROUNDS		2
#define DEFAULT_TIMEOUT_S	60

/* Taint flags B, D, L, M, W: the kernel or the machine is in trouble. */
#define TAINTS			(BIT(4) | BIT(5) | BIT(7) | BIT(9) | BIT(14))

/* How long to wait for a process to die of SIGKILL. */
#define KILL_TIMEOUT_S		10

/* How often a case may run until its windows have been entered. */
#define NR_TRIES		4

static const struct {
	const char *name;
	const char *what;
} causes[] = {
	[SNP_CAUSE_NONE] = { "none", "" },
	[SNP_CAUSE_IN_USE] = {
		"vmsa-in-use",
		"a vCPU can run on a VMSA whose page was freed, kernel lacks d1a3c2162334 (CVE-2026-90040)"
	},
	[SNP_CAUSE_IN_USE_RACE] = {
		"vmsa-in-use-race",
		"a page was freed under a VMSA in use, though this kernel knows how to avoid it"
	},
	[SNP_CAUSE_NOT_STOPPED] = {
		"vmsa-not-stopped",
		"a vCPU runs on after its VMSA is gone, kernel lacks d1a3c2162334 (CVE-2026-90040)"
	},
	[SNP_CAUSE_FALSE_KILL] = {
		"false-kill", "a vCPU lost its VMSA though nobody had touched it"
	},
	[SNP_CAUSE_WRONG_VMSA] = {
		"wrong-vmsa", "a vCPU ran a VMSA that is not, or no longer, its own"
	},
	[SNP_CAUSE_LAUNCH_VMSA] = {
		"launch-vmsa", "a vCPU ran its launch VMSA after AP Creation had failed"
	},
	[SNP_CAUSE_WRONG_EXIT] = {
		"wrong-exit", "KVM_RUN ended in neither a clean failure nor a clean retry"
	},
	[SNP_CAUSE_WRONG_ANSWER] = {
		"wrong-answer", "KVM answered a request, of the guest or of userspace, wrongly"
	},
	[SNP_CAUSE_NO_RECOVERY] = {
		"no-recovery", "a vCPU did not run though it had a good VMSA"
	},
	[SNP_CAUSE_LEAK] = {
		"page-leak", "pages that were punched do not become free"
	},
	[SNP_CAUSE_HUNG] = {
		"hung", "a system call or a vCPU did not return in time"
	},
	[SNP_CAUSE_KERNEL_LOG] = {
		"kernel-log", "the kernel warned, or worse"
	},
	[SNP_CAUSE_NO_WINDOW] = {
		"no-window", "the situation to be tested never came about"
	},
	[SNP_CAUSE_TEST] = {
		"test", "the test itself failed, e.g. in an assertion of the library"
	},
};

kvm_static_assert(ARRAY_SIZE(causes) == NR_SNP_CAUSES);

struct event {
	u64 ns;
	const char *fmt;
	u64 a, b;
	char thread[16];
};

/* Shared between the runner and the process of the running case. */
struct verdict {
	u32 cause;		/* written last */
	u32 claimed;		/* by who writes it, there is one */
	u32 acked;
	u32 weakness;
	u32 nr_notes;
	u32 windows[NR_SNP_WINDOWS];
	char msg[LINE];
	char notes[NR_NOTES][LINE];
	u64 start_ns;
	u64 nr_events;
	struct event events[NR_EVENTS];
};

static struct verdict *verdict;
static bool in_case;
static int ballast_fd = -1;
static int punch_cpu;

static u32 opt_rounds = DEFAULT_ROUNDS;
static u32 opt_timeout_s = DEFAULT_TIMEOUT_S;
static bool has_fix;

static bool opt_keep_going;
static bool opt_verbose;

static sig_atomic_t terminated;

static int kmsg_fd = -1;
static bool kmsg_lost;

u64 snp_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

u32 snp_case_rounds(void)
{
	return opt_rounds;
}

u32 snp_case_timeout_s(void)
{
	return opt_timeout_s;
}

/*
 * The kernel log
 */
static void kmsg_open(void)
{
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (kmsg_fd >= 0)
		lseek(kmsg_fd, 0, SEEK_END);
	errno = 0;
}

/* A warning counts only if it is about KVM or the RMP, the host has a life. */
static bool is_about_kvm(const char *line)
{
	return strcasestr(line, "kvm") || strcasestr(line, "svm") ||
	       strcasestr(line, "sev") || strcasestr(line, "rmp") ||
	       strcasestr(line, "gmem") || strcasestr(line, "guest_memfd");
}

static enum snp_cause kmsg_judge(const char *line)
{
	/* What a process of the host dies of is its own affair. */
	if (!strncmp(line, "traps: ", 7) && !strstr(line, "PANIC"))
		return SNP_CAUSE_NONE;

	/* FAIL_INUSE, and what comes of it. */
	if ((strstr(line, "RMPUPDATE failed") && strstr(line, "ret: 3")) ||
	    strstr(line, "RMP violation"))
		return SNP_CAUSE_IN_USE;

	if (strstr(line, "RMPUPDATE failed") ||
	    strstr(line, "Failed to update RMP entry") ||
	    strstr(line, "BUG: ") || strstr(line, "Oops") ||
	    strstr(line, "general protection fault"))
		return SNP_CAUSE_KERNEL_LOG;

	if ((strstr(line, "WARNING: ") || strstr(line, "INFO: ")) && is_about_kvm(line))
		return SNP_CAUSE_KERNEL_LOG;

	return SNP_CAUSE_NONE;
}

/*
 * Read what the kernel has logged since the last time.  The first line that tells
 * of damage goes to @found.
 */
static enum snp_cause kmsg_scan(char *found)
{
	enum snp_cause worst = SNP_CAUSE_NONE, cause;
	char rec[8192], *line;
	ssize_t len;

	if (kmsg_fd < 0)
		return SNP_CAUSE_NONE;

	for (;;) {
		len = read(kmsg_fd, rec, sizeof(rec) - 1);
		if (len < 0) {
			if (errno == EAGAIN)
				break;
			if (errno == EPIPE) {
				kmsg_lost = true;
				ksft_print_msg("the kernel log overran, some of it was not read\n");
				continue;
			}
			if (errno == EINTR || errno == EINVAL)
				continue;
			break;
		}
		if (!len)
			break;

		rec[len] = '\0';
		line = strchr(rec, ';');
		line = line ? line + 1 : rec;
		line[strcspn(line, "\n")] = '\0';

		/* Skip what userspace writes to the log, facility 0 is the kernel. */
		if (strtoul(rec, NULL, 10) >> 3)
			continue;

		cause = kmsg_judge(line);
		if (cause == SNP_CAUSE_NONE)
			continue;

		if (worst == SNP_CAUSE_NONE ||
		    (worst != SNP_CAUSE_IN_USE && cause == SNP_CAUSE_IN_USE)) {
			worst = cause;
			snprintf(found, LINE, "%.*s", LINE - 1, line);
		}
	}

	errno = 0;
	return worst;
}

static unsigned long read_tainted(void)
{
	unsigned long tainted = 0;
	FILE *f = fopen("/proc/sys/kernel/tainted", "r");

	if (f) {
		if (fscanf(f, "%lu", &tainted) != 1)
			tainted = 0;
		fclose(f);
	}
	errno = 0;
	return tainted;
}

/*
 * Inside of a case
 */
void snp_event(const char *fmt, u64 a, u64 b)
{
	u64 nr = __atomic_fetch_add(&verdict->nr_events, 1, __ATOMIC_RELAXED);
	struct event *e = &verdict->events[nr % NR_EVENTS];

	e->ns = snp_now();
	e->fmt = fmt;
	e->a = a;
	e->b = b;
	prctl(PR_GET_NAME, e->thread);
}

void snp_count_window(enum snp_window window)
{
	verdict->windows[window]++;
}

void snp_note(const char *fmt, ...)
{
	va_list ap;

	if (verdict->nr_notes == NR_NOTES)
		return;

	va_start(ap, fmt);
	vsnprintf(verdict->notes[verdict->nr_notes], LINE, fmt, ap);
	va_end(ap);
	verdict->nr_notes++;
}

void snp_weakness(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(verdict->msg, LINE, fmt, ap);
	va_end(ap);
	verdict->weakness = true;
}

void snp_check_kernel_log(void)
{
	enum snp_cause cause;
	char line[LINE];

	cause = kmsg_scan(line);
	if (cause)
		snp_fail(cause, "the kernel logged: %.*s", LINE - 32, line);
}

int snp_punch_hole(int fd, u64 offset, u64 size)
{
	int r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);

	WRITE_ONCE(punch_cpu, sched_getcpu());
	return r;
}

void snp_add_ballast(struct kvm_vm *vm)
{
	int r;

	ballast_fd = vm_create_guest_memfd(vm, NR_BALLAST_PAGES * PAGE_SIZE, 0);
	r = fallocate(ballast_fd, FALLOC_FL_KEEP_SIZE, 0, NR_BALLAST_PAGES * PAGE_SIZE);
	TEST_ASSERT(!r, "Failed to allocate ballast");
}

void snp_forget_ballast(void)
{
	ballast_fd = -1;
}

/*
 * If a page was freed that still belongs to the guest, then it is the next one
 * that the host will use on this CPU, and that kills the host.  Have some good
 * pages on top of it, which have to be allocated by then.
 */
static void bury_page(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(READ_ONCE(punch_cpu), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);

	snp_event("free %lu good pages", NR_BALLAST_PAGES, 0);
	fallocate(ballast_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		  NR_BALLAST_PAGES * PAGE_SIZE);
}

u64 snp_nr_listed_pages(bool wait)
{
	static const char * const lists[] = {
		"nr_unevictable", "nr_inactive_file", "nr_active_file",
	};
	u64 val, nr = 0;
	bool settled;
	char name[64];
	FILE *f;
	u32 i;
	int fd;

	/* Each CPU has its own share of the counter, and reports now and then. */
	fd = open("/proc/sys/vm/stat_refresh", O_RDONLY);
	settled = fd >= 0 && read(fd, name, sizeof(name)) >= 0;
	if (fd >= 0)
		close(fd);
	if (!settled && wait)
		usleep(2500000);

	f = fopen("/proc/vmstat", "r");
	TEST_ASSERT(f, "Cannot read /proc/vmstat");
	while (fscanf(f, "%63s %lu", name, &val) == 2) {
		for (i = 0; i < ARRAY_SIZE(lists); i++)
			nr += strcmp(name, lists[i]) ? 0 : val;
	}
	fclose(f);
	errno = 0;
	return nr;
}

/* A case has one verdict, that of the first to claim it. */
static bool claim_verdict(void)
{
	return !__atomic_exchange_n(&verdict->claimed, 1, __ATOMIC_ACQ_REL);
}

void snp_fail(enum snp_cause cause, const char *fmt, ...)
{
	u64 deadline = snp_now() + 2000000000ull;
	va_list ap;

	/* The thread that was first ends the process. */
	while (!claim_verdict())
		pause();

	snp_event("failed", 0, 0);

	if (cause == SNP_CAUSE_IN_USE && ballast_fd >= 0)
		bury_page();

	va_start(ap, fmt);
	vsnprintf(verdict->msg, LINE, fmt, ap);
	va_end(ap);
	__atomic_store_n(&verdict->cause, cause, __ATOMIC_RELEASE);

	/*
	 * If a page was lost, then tearing the VM down may be what kills the
	 * host.  Let the runner print the verdict first.
	 */
	while (in_case && !READ_ONCE(verdict->acked) && snp_now() < deadline)
		usleep(100);

	_exit(KSFT_FAIL);
}

static void __noreturn run_case(const struct snp_case *c)
{
	in_case = true;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "main");
	signal(SIGTERM, SIG_DFL);

	/* The runner goes on reading from a position of its own. */
	if (kmsg_fd >= 0) {
		close(kmsg_fd);
		kmsg_open();
	}

	errno = 0;
	c->fn();
	snp_event("done", 0, 0);

	/* No destructors, and teardown of the VM under running vCPUs is fine. */
	fflush(NULL);
	_exit(KSFT_PASS);
}

/*
 * Reports
 */
static void print_events(void)
{
	u64 nr = READ_ONCE(verdict->nr_events), i;
	char line[LINE];

	i = nr > NR_EVENTS_PRINTED ? nr - NR_EVENTS_PRINTED : 0;
	for (; i < nr; i++) {
		struct event *e = &verdict->events[i % NR_EVENTS];

		if (!e->fmt)
			continue;
		snprintf(line, sizeof(line), e->fmt, e->a, e->b);
		ksft_print_msg("  %8.3f ms %-8s %s\n",
			       (s64)(e->ns - verdict->start_ns) / 1e6, e->thread, line);
	}
}

static void read_task_file(const char *dir, const char *tid, const char *name,
			   char *buf, size_t size)
{
	char path[LINE];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, tid, name);
	buf[0] = '\0';
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return;

	len = read(fd, buf, size - 1);
	close(fd);
	buf[len < 0 ? 0 : len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

/* Where the threads of a hung case are. */
static void print_threads(pid_t pid)
{
	char dir[64], comm[32], wchan[64], syscall[128];
	struct dirent *d;
	DIR *tasks;

	snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	tasks = opendir(dir);
	if (!tasks)
		return;

	while ((d = readdir(tasks))) {
		if (d->d_name[0] == '.')
			continue;
		read_task_file(dir, d->d_name, "comm", comm, sizeof(comm));
		read_task_file(dir, d->d_name, "wchan", wchan, sizeof(wchan));
		read_task_file(dir, d->d_name, "syscall", syscall, sizeof(syscall));
		ksft_print_msg("  thread %-8s in %s, syscall %s\n", comm, wchan, syscall);
	}
	closedir(tasks);
	errno = 0;
}

static const char *last_step(void)
{
	u64 nr = READ_ONCE(verdict->nr_events), i;
	static char line[LINE];

	for (i = nr; i && i + NR_EVENTS > nr; i--) {
		struct event *e = &verdict->events[(i - 1) % NR_EVENTS];

		if (!e->fmt || strncmp(e->fmt, "> ", 2) || strncmp(e->thread, "main", 5))
			continue;
		snprintf(line, sizeof(line), e->fmt + 2, e->a, e->b);
		return line;
	}
	return "setup";
}

/* For the runner, once no thread of the case writes any more. */
static void set_verdict(enum snp_cause cause, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(verdict->msg, LINE, fmt, ap);
	va_end(ap);
	verdict->cause = cause;
}

static bool wait_for_exit(pid_t pid, int *status, u64 deadline)
{
	while (waitpid(pid, status, WNOHANG) != pid) {
		if (snp_now() > deadline)
			return false;
		usleep(1000);
	}
	return true;
}

/* Wait until the case is decided or gone.  Returns true if it is gone. */
static bool watch_case(const struct snp_case *c, pid_t pid, int *status)
{
	u32 timeout_s = max(c->timeout_s, opt_timeout_s);
	u64 deadline = snp_now() + timeout_s * 1000000000ull;

	for (;;) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;

		if (__atomic_load_n(&verdict->cause, __ATOMIC_ACQUIRE))
			return false;

		if ((READ_ONCE(terminated) || snp_now() > deadline) && claim_verdict()) {
			set_verdict(SNP_CAUSE_HUNG, "%s while the case was in: %s",
				    terminated ? "terminated" : "timed out", last_step());
			return false;
		}
		usleep(500);
	}
}

/*
 * Run the case in a process of its own, and find the cause if it fails.  Windows that
 * were entered before still count.  Returns false if the process is still there.
 */
static bool try_one(const struct snp_case *c, unsigned long tainted, pid_t *pid)
{
	u32 windows[NR_SNP_WINDOWS];
	enum snp_cause cause;
	char line[LINE];
	int status = 0;
	bool gone;

	memcpy(windows, verdict->windows, sizeof(windows));
	memset(verdict, 0, sizeof(*verdict));
	memcpy(verdict->windows, windows, sizeof(windows));
	kmsg_lost = false;
	verdict->start_ns = snp_now();
	if (kmsg_fd >= 0)
		lseek(kmsg_fd, 0, SEEK_END);

	*pid = fork();
	TEST_ASSERT(*pid >= 0, "fork() failed");
	if (!*pid)
		run_case(c);

	gone = watch_case(c, *pid, &status);

	if (gone && !verdict->cause) {
		if (WIFSIGNALED(status))
			set_verdict(SNP_CAUSE_TEST, "killed by signal %d", WTERMSIG(status));
		else if (WEXITSTATUS(status))
			set_verdict(SNP_CAUSE_TEST, "assertion failed, see above (exit code %d)",
				    WEXITSTATUS(status));
	}

	/* What the kernel has to say explains the rest. */
	cause = kmsg_scan(line);
	if (cause == SNP_CAUSE_IN_USE ||
	    (cause && (!verdict->cause || verdict->cause == SNP_CAUSE_TEST)))
		set_verdict(cause, "the kernel logged: %.*s", LINE - 32, line);
	if (!verdict->cause && (kmsg_fd < 0 || kmsg_lost) &&
	    (read_tainted() & ~tainted & TAINTS))
		set_verdict(SNP_CAUSE_KERNEL_LOG, "the kernel got tainted");
	return gone;
}

/* The name of a window that the case should have entered and has not, or NULL. */
static const char *missing_window(const struct snp_case *c)
{
	static const char * const names[] = { "", "cold ", "warm " };
	u32 i;

	for (i = 0; i < NR_SNP_WINDOWS; i++) {
		if ((c->windows & BIT(i)) && !verdict->windows[i])
			return names[i];
	}
	return NULL;
}

/* Returns false if the host had better be rebooted. */
static bool run_one(const struct snp_case *c)
{
	unsigned long tainted = read_tainted();
	bool gone, poisoned;
	const char *missing;
	int status;
	pid_t pid;
	u32 i;

	/* On a busy host something else may spoil what can be done once per VM. */
	memset(verdict, 0, sizeof(*verdict));
	for (i = 0; i < NR_TRIES; i++) {
		gone = try_one(c, tainted, &pid);
		missing = missing_window(c);
		if (verdict->cause || !missing)
			break;
	}
	if (i == NR_TRIES)
		set_verdict(SNP_CAUSE_NO_WINDOW, "no %swindow was entered in %u attempts",
			    missing, NR_TRIES);
	else if (i)
		snp_note("%u attempts, until all windows had been entered", i + 1);

	poisoned = verdict->cause == SNP_CAUSE_IN_USE;

	/* A kernel that lacks the fix loses every time, not now and then. */
	if (poisoned && has_fix)
		verdict->cause = SNP_CAUSE_IN_USE_RACE;
	if (!verdict->cause && c->proves_fix)
		has_fix = true;

	/* Nothing else that goes wrong is known. */
	verdict->weakness = c->weakness &&
			    (poisoned || (verdict->weakness && !verdict->cause));
	if (verdict->weakness) {
		ksft_test_result_code(KSFT_XFAIL, c->name, "known weakness: %s", verdict->msg);
	} else {
		if (verdict->cause) {
			ksft_print_msg("%s: %s\n", c->name, verdict->msg);
			ksft_print_msg("cause: %s: %s\n", causes[verdict->cause].name,
				       causes[verdict->cause].what);
		}
		ksft_test_result(!verdict->cause, "%s\n", c->name);
	}
	if (poisoned)
		ksft_print_msg("the host may now be poisoned, reboot it\n");
	fflush(stdout);

	for (i = 0; i < verdict->nr_notes; i++)
		ksft_print_msg("%s: %s\n", c->name, verdict->notes[i]);
	if (verdict->windows[SNP_WINDOW_COLD] || verdict->windows[SNP_WINDOW_WARM])
		ksft_print_msg("%s: %u cold and %u warm windows\n", c->name,
			       verdict->windows[SNP_WINDOW_COLD],
			       verdict->windows[SNP_WINDOW_WARM]);

	if (verdict->cause || opt_verbose)
		print_events();

	/* No teardown, the next allocation may be the host's last. */
	if (poisoned && !opt_keep_going)
		return false;

	if (!gone) {
		if (verdict->cause == SNP_CAUSE_HUNG)
			print_threads(pid);
		WRITE_ONCE(verdict->acked, true);
		if (verdict->cause != SNP_CAUSE_HUNG)
			gone = wait_for_exit(pid, &status, snp_now() + NSEC_PER_SEC);
		if (!gone) {
			kill(pid, SIGKILL);
			gone = wait_for_exit(pid, &status,
					     snp_now() + KILL_TIMEOUT_S * NSEC_PER_SEC);
		}
		if (!gone) {
			ksft_print_msg("%s: process %d does not die\n", c->name, pid);
			return false;
		}
	}

	if (opt_verbose)
		ksft_print_msg("%s: took %lu ms\n", c->name,
			       (snp_now() - verdict->start_ns) / 1000000);

	tainted = read_tainted() & ~tainted;
	if (tainted)
		ksft_print_msg("%s: the kernel is now tainted, new flags 0x%lx\n",
			       c->name, tainted);

	return !poisoned;
}

/*
 * Options
 */

/* Some may kill the host, do not run these by accident. */
static bool is_named(const struct snp_case *c, const char *pattern)
{
	return c->opt_in ? !strcmp(pattern, c->name) : !fnmatch(pattern, c->name, 0);
}

/* The cases that @patterns name, in this order, each once. */
static int select_cases(const struct snp_case *cases, int nr_cases, char **patterns,
			int nr_patterns, struct snp_case *selected)
{
	bool *taken = calloc(nr_cases, sizeof(*taken));
	int i, j, nr = 0;

	TEST_ASSERT(taken, "-ENOMEM when selecting cases");
	for (i = 0; i < nr_patterns; i++) {
		for (j = 0; j < nr_cases; j++) {
			if (taken[j] || !is_named(&cases[j], patterns[i]))
				continue;
			taken[j] = true;
			selected[nr++] = cases[j];
		}
	}
	free(taken);
	return nr;
}

static void print_help(const char *name, const char *about)
{
	printf("%s\n\n"
	       "usage: %s [-h] [-l] [-k] [-v] [-n rounds] [-t seconds] [case ...]\n\n"
	       " -h: print this help and exit\n"
	       " -l: list the cases and exit\n"
	       " -k: keep going after a case that may have poisoned the host\n"
	       " -v: print the events of every case, not only of those that fail\n"
	       " -n: how often to repeat each window (default: %u); some cases go two ways\n"
	       "     in turns, and with 1 only one of them\n"
	       " -t: seconds until a case counts as hung, a third of that for what it\n"
	       "     waits for (default: %u)\n\n"
	       " A case may be a shell pattern, and cases run in the order in which they\n"
	       " are named.  Without any, all cases run that -l does not mark as opt-in;\n"
	       " those have to be named in full.\n",
	       about, name, DEFAULT_ROUNDS, DEFAULT_TIMEOUT_S);
}

static void on_sigterm(int sig)
{
	WRITE_ONCE(terminated, true);
}

void snp_case_run(const struct snp_case_run *run)
{
	enum snp_cause first = SNP_CAUSE_NONE;
	int i;

	opt_timeout_s = run->timeout_s ?: opt_timeout_s;
	opt_keep_going = run->keep_going;
	opt_verbose = run->verbose;

	verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(verdict != MAP_FAILED, "mmap() failed");

	ksft_print_header();
	TEST_REQUIRE_SNP();

	signal(SIGTERM, on_sigterm);
	kmsg_open();
	if (kmsg_fd < 0)
		ksft_print_msg("cannot read /dev/kmsg, verdicts rest on behavior alone\n");
	ksft_set_plan(run->nr_cases);

	for (i = 0; i < run->nr_cases; i++) {
		bool healthy = run_one(&run->cases[i]);

		if (!verdict->weakness && verdict->cause &&
		    (!first || !healthy))
			first = verdict->cause;

		if ((!healthy && !opt_keep_going) || READ_ONCE(terminated))
			break;
	}

	if (run->finished)
		run->finished(first);
	if (first)
		ksft_print_msg("cause of failure: %s: %s\n", causes[first].name,
			       causes[first].what);
	if (ksft_test_num() != run->nr_cases)
		ksft_exit_fail_msg("%d of %d cases did not run\n",
				   run->nr_cases - ksft_test_num(), run->nr_cases);
	ksft_finished();
}

void snp_case_main(int argc, char *argv[], const char *about,
		   const struct snp_case *cases, int nr_cases)
{
	struct snp_case *selected = calloc(nr_cases, sizeof(*selected));
	struct snp_case_run run = {
		.cases = selected,
	};
	static char *all = "*";
	bool list = false;
	int opt, i;

	TEST_ASSERT(selected, "-ENOMEM when selecting cases");

	while ((opt = getopt(argc, argv, "hlkvn:t:")) != -1) {
		switch (opt) {
		case 'l':
			list = true;
			break;
		case 'k':
			run.keep_going = true;
			break;
		case 'v':
			run.verbose = true;
			break;
		case 'n':
			opt_rounds = atoi_positive("Number of rounds", optarg);
			break;
		case 't':
			run.timeout_s = atoi_positive("Timeout", optarg);
			break;
		case 'h':
			print_help(argv[0], about);
			exit(KSFT_PASS);
		default:
			fprintf(stderr, "See %s -h\n", argv[0]);
			exit(KSFT_FAIL);
		}
	}

	if (list) {
		static const char * const tags[] = { "", "opt-in" };

		for (i = 0; i < nr_cases; i++)
			printf("%-28s %-6s  %s\n", cases[i].name,
			       tags[cases[i].opt_in], cases[i].what);
		exit(KSFT_PASS);
	}

	if (optind < argc)
		run.nr_cases = select_cases(cases, nr_cases, argv + optind, argc - optind,
					    selected);
	else
		run.nr_cases = select_cases(cases, nr_cases, &all, 1, selected);
	if (!run.nr_cases) {
		fprintf(stderr, "No case has that name, see %s -l\n", argv[0]);
		exit(KSFT_FAIL);
	}

	snp_case_run(&run);
}
