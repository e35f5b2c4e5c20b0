/*
 * Copies of a running machine, by fork(): a boot is paid for once, and each
 * copy starts from the same state.
 *
 * x-sched has everything in one thread, which is what fork() copies.  With a
 * thread per processor (-object x-fork) the processors are stopped first, and
 * get new threads in the copy.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "qapi/error.h"
#include "exec/icount.h"
#include "system/tcg.h"
#include "exec/target_page.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/notify.h"
#include "qemu/rcu.h"
#include "block/aio.h"
#include "block/block.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "qom/object_interfaces.h"
#include "system/cpu-timers.h"
#include "system/iothread.h"
#include "system/runstate.h"
#include "system/system.h"
#include "tcg/startup.h"
#include "tcg-accel-ops-mttcg.h"
#include "tcg-fork.h"
#include "accel/tcg/tcg-sched.h"

#define TYPE_TCG_FORK "x-fork"
OBJECT_DECLARE_SIMPLE_TYPE(TcgFork, TCG_FORK)

struct TcgFork {
    Object parent_obj;

    char *server;
    bool pending;
    Notifier machine_done;
};

static TcgFork *fork_server;

/* ---- the server ---- */

static int fork_allow(RAMBlock *rb, void *opaque)
{
    madvise(qemu_ram_get_host_addr(rb), qemu_ram_get_max_length(rb),
            MADV_DOFORK);
    return 0;
}

/* An event descriptor of our own, or two machines wake each other up. */
static bool fork_renew_notifier(AioContext *ctx, Error **errp)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0 || dup2(fd, event_notifier_get_fd(&ctx->notifier)) < 0) {
        error_setg_errno(errp, errno, "eventfd");
        return false;
    }
    close(fd);
    return true;
}

/* Log files in the server's folder: this machine writes to those in @dir. */
static bool fork_renew_files(const char *server, const char *dir, Error **errp)
{
    g_autofree char *folder = g_path_get_dirname(server);
    /* Absolute and without symlinks, as what /proc/self/fd says. */
    g_autofree char *from = realpath(folder, NULL);
    g_autoptr(GDir) fds = g_dir_open("/proc/self/fd", 0, NULL);
    const char *name;

    if (!from) {
        error_setg_errno(errp, errno, "%s", folder);
        return false;
    }
    while (fds && (name = g_dir_read_name(fds))) {
        g_autofree char *link = g_strconcat("/proc/self/fd/", name, NULL);
        g_autofree char *path = g_file_read_link(link, NULL);
        g_autofree char *in = path ? g_path_get_dirname(path) : NULL;
        g_autofree char *file = path ? g_path_get_basename(path) : NULL;
        g_autofree char *new = NULL;
        int fd = atoi(name), fd2;

        if (!in || strcmp(in, from) ||
            (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY ||
            !g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
            continue;
        }
        new = g_strconcat(dir, "/", file, NULL);
        fd2 = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
                   0666);
        if (fd2 < 0 || dup2(fd2, fd) < 0) {
            error_setg_errno(errp, errno, "%s", new);
            return false;
        }
        close(fd2);
    }
    return true;
}

/* One line from @fd, without its newline; NULL at the end */
static char *fork_read_line(int fd)
{
    GString *line = g_string_new(NULL);
    char c;

    while (read(fd, &c, 1) == 1) {
        if (c == '\n') {
            return g_string_free(line, false);
        }
        g_string_append_c(line, c);
    }
    g_string_free(line, true);
    return NULL;
}

/* QEMU has SIGALRM come by a signalfd, where its default action is none. */
static void fork_alarm(unsigned seconds)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    alarm(seconds);
}

/* In a new machine: take over what @line says, except for the options. */
static char **fork_child(const char *server, const char *line, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    GPtrArray *options;

    /* Whose workers are not here: another one is made when it is needed. */
    qemu_get_aio_context()->thread_pool = NULL;
    if (!fork_renew_notifier(qemu_get_aio_context(), errp) ||
        !fork_renew_notifier(iohandler_get_aio_context(), errp) ||
        !fork_renew_files(server, words[0], errp)) {
        return NULL;
    }
    options = g_ptr_array_new();
    for (char **w = words + 1; *w; w++) {
        if (g_str_has_prefix(*w, "alarm=")) {
            fork_alarm(atoi(*w + strlen("alarm=")));
        } else if (**w) {
            g_ptr_array_add(options, g_strdup(*w));
        }
    }
    g_ptr_array_add(options, NULL);
    return (char **)g_ptr_array_free(options, false);
}

static int fork_is_iothread(Object *obj, void *opaque)
{
    return object_dynamic_cast(obj, TYPE_IOTHREAD) != NULL;
}

/*
 * fork() copies one thread.  That of RCU starts anew in a copy, and so do those
 * of processors and of the thread pool, which has nothing to do then; those of
 * iothreads do not.
 */
static bool fork_prepare(Error **errp)
{
    if (object_child_foreach(object_get_objects_root(), fork_is_iothread,
                             NULL)) {
        error_setg(errp, "a machine with iothreads cannot be copied");
        return false;
    }
    bdrv_drain_all();
    /* What RCU's thread has taken off the list would be lost. */
    drain_call_rcu();
    return true;
}

typedef struct ForkCopy {
    pid_t pid;                  /* -1: fork() failed */
    int pidfd;
    char *dir;
} ForkCopy;

/* How @copy has ended, and in how many milliseconds of CPU time */
static void fork_tell(int out, ForkCopy *copy)
{
    struct rusage cost = { };
    int status = SIGKILL;
    pid_t pid;

    if (copy->pid >= 0) {
        do {
            pid = wait4(copy->pid, &status, 0, &cost);
        } while (pid < 0 && errno == EINTR);
        close(copy->pidfd);
    }
    dprintf(out, "%s %s %d %ld\n", copy->dir,
            WIFEXITED(status) ? "exit" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
            (cost.ru_utime.tv_sec + cost.ru_stime.tv_sec) * 1000L +
            (cost.ru_utime.tv_usec + cost.ru_stime.tv_usec) / 1000);
    g_free(copy->dir);
}

char **tcg_fork_serve(const char *server, Error **errp)
{
    g_autofree char *in_name = g_strconcat(server, ".in", NULL);
    g_autofree char *out_name = g_strconcat(server, ".out", NULL);
    g_autoptr(GArray) copies = g_array_new(false, false, sizeof(ForkCopy));
    g_autoptr(GArray) fds = g_array_new(false, false, sizeof(struct pollfd));
    bool eof = false;
    int in, out;

    out = open(out_name, O_WRONLY | O_CLOEXEC);
    in = open(in_name, O_RDONLY | O_CLOEXEC);
    if (in < 0 || out < 0) {
        error_setg_errno(errp, errno, "cannot open %s, %s", in_name, out_name);
        return NULL;
    }
    if (!fork_prepare(errp)) {
        return NULL;
    }
    qemu_ram_foreach_block(fork_allow, NULL);
    /* In a copy, this also makes the thread that forked a reader. */
    rcu_enable_atfork();
    dprintf(out, "ready\n");

    while (!eof || copies->len) {
        struct pollfd pfd = { .fd = eof ? -1 : in, .events = POLLIN };
        unsigned n;

        g_array_set_size(fds, 0);
        for (n = 0; n < copies->len; n++) {
            pfd.fd = g_array_index(copies, ForkCopy, n).pidfd;
            g_array_append_val(fds, pfd);
        }
        pfd.fd = eof ? -1 : in;
        g_array_append_val(fds, pfd);
        if (poll((struct pollfd *)fds->data, fds->len, -1) <= 0) {
            continue;
        }
        if (g_array_index(fds, struct pollfd, n).revents) {
            ForkCopy copy = { .dir = fork_read_line(in) };

            copy.pid = copy.dir ? fork() : -1;
            if (!copy.dir) {
                eof = true;
            } else if (!copy.pid) {
                char **options;

                close(in);
                close(out);
                options = fork_child(server, copy.dir, errp);
                g_free(copy.dir);
                return options;
            } else {
                copy.dir[strcspn(copy.dir, " ")] = '\0';
                copy.pidfd = copy.pid < 0 ? -1 :
                             syscall(SYS_pidfd_open, copy.pid, 0);
                if (copy.pidfd < 0) {
                    fork_tell(out, &copy);
                } else {
                    g_array_append_val(copies, copy);
                }
            }
        }
        while (n--) {
            if (g_array_index(fds, struct pollfd, n).revents) {
                fork_tell(out, &g_array_index(copies, ForkCopy, n));
                g_array_remove_index_fast(copies, n);
            }
        }
    }
    return NULL;
}

/* ---- a thread per processor ---- */

static void fork_bh(void *opaque)
{
    TcgFork *s = opaque;
    g_auto(GStrv) options = NULL;
    Error *err = NULL;
    CPUState *cpu;

    vm_stop(RUN_STATE_PAUSED);
    options = tcg_fork_serve(s->server, &err);
    if (!options) {
        if (err) {
            error_report_err(err);
        }
        qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
            err ? EXIT_FAILURE : EXIT_SUCCESS);
        return;
    }
    tcg_forget_threads();
    CPU_FOREACH(cpu) {
        /* Threads that are not here any more seem to wait on it. */
        qemu_cond_init(cpu->halt_cond);
        cpu->created = false;
        mttcg_start_vcpu_thread(cpu);
        while (!qatomic_read(&cpu->created)) {
            bql_unlock();
            g_usleep(100);
            bql_lock();
        }
    }
    vm_start();
}

void tcg_fork_point(void)
{
    if (fork_server && !qatomic_xchg(&fork_server->pending, true)) {
        qatomic_set(&tcg_sched_points, 0);
        aio_bh_schedule_oneshot(qemu_get_aio_context(), fork_bh, fork_server);
    }
}

/* ---- the object ---- */

/* Objects are created before the accelerator. */
static void fork_machine_done(Notifier *n, void *data)
{
    if (!qemu_tcg_mttcg_enabled()) {
        error_report("x-fork needs -accel tcg,thread=multi");
        qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
                                               EXIT_FAILURE);
    }
}

static void fork_complete(UserCreatable *uc, Error **errp)
{
    TcgFork *s = TCG_FORK(uc);

    if (fork_server) {
        error_setg(errp, "there is one x-fork per machine");
        return;
    }
    if (!s->server) {
        error_setg(errp, "x-fork needs server=");
        return;
    }
    if (phase_check(PHASE_MACHINE_READY)) {
        error_setg(errp, "x-fork is for the command line");
        return;
    }
    fork_server = s;
    s->machine_done.notify = fork_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
    tcg_sched_points = 1u << TCG_SCHED_VMRUN;
}

static char *fork_get_server(Object *obj, Error **errp)
{
    return g_strdup(TCG_FORK(obj)->server);
}

static void fork_set_server(Object *obj, const char *value, Error **errp)
{
    g_free(TCG_FORK(obj)->server);
    TCG_FORK(obj)->server = g_strdup(value);
}

static bool fork_can_be_deleted(UserCreatable *uc)
{
    return false;
}

static void fork_class_init(ObjectClass *oc, const void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = fork_complete;
    ucc->can_be_deleted = fork_can_be_deleted;
    object_class_property_add_str(oc, "server", fork_get_server,
                                  fork_set_server);
}

static const TypeInfo fork_info = {
    .name = TYPE_TCG_FORK,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(TcgFork),
    .class_init = fork_class_init,
    .interfaces = (const InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void fork_register(void)
{
    type_register_static(&fork_info);
}

type_init(fork_register)
