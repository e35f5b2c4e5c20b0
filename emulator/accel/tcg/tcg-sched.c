/*
 * Schedule control: which processor runs, and for how long, is a function of a
 * seed (-object x-sched).
 *
 * All processors run in the main loop's thread, a slice of instructions at a
 * time, and the clock of the machine is the number of instructions: nothing
 * that the guest can see depends on the host's scheduler or clock.  A single
 * thread is also what fork() can copy, which makes a snapshot of the whole
 * machine.
 *
 * Modes:
 *   fixed   slices of the same length, round robin
 *   random  the next processor at random, slices of random length
 *   pct     random priorities, the highest runs; at DEPTH - 1 random moments
 *           the one that runs drops below all others (Burckhardt et al., "A
 *           Randomized Scheduler with Probabilistic Guarantees of Finding
 *           Bugs", ASPLOS 2010).  So does one that executes PAUSE, and one
 *           that has run for a whole slice: kernels spin, and guests never
 *           stop.
 *
 * An IPI may take a random time until it arrives, as on hardware: nothing there
 * says how long, and the target goes on meanwhile.  And a processor may be held
 * back at a point while the others go on, for long enough that they get through
 * with something: an SMI does that, or the hypervisor of a nested one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-qom.h"
#include "qapi/qapi-visit-qom.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "exec/icount.h"
#include "system/tcg.h"
#include "exec/target_page.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/notify.h"
#include "qemu/timer.h"
#include "exec/cpu-common.h"
#include "exec/tb-flush.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "qom/object_interfaces.h"
#include "system/cpu-timers.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "system/system.h"
#include "tcg/startup.h"
#include "tcg-accel-ops.h"
#include "tcg-fork.h"
#include "accel/tcg/tcg-sched.h"
#include "tcg-search.h"
#include "trace.h"

#define TYPE_TCG_SCHED "x-sched"
OBJECT_DECLARE_SIMPLE_TYPE(TcgSched, TCG_SCHED)

/* Slices until the seed takes over, whatever the options say */
#define BOOT_SLICE      10000
/* Instructions until the main loop gets its turn */
#define QUOTA           200000
#define MAX_SYMBOLS     16
/* Instead of a symbol: an instruction that waits for the stores before it */
#define FENCE           MAX_SYMBOLS
#define MAX_DEPTH       64
#define MAX_CPUS        256
/* Kinds of points, each symbol being one */
#define NR_KINDS        (TCG_SCHED_SYMBOL + MAX_SYMBOLS)

/* The instructions from @first up to, and not including, @end */
typedef struct SchedSymbol {
    uint64_t first;
    uint64_t end;
} SchedSymbol;

/* Exit code of a machine that has used up its limit= */
#define EXIT_LIMIT      3
/* At one in so many points, with hold= */
#define HOLD_ODDS       32

/* What points= names are the first of TcgSchedPoint */
QEMU_BUILD_BUG_ON((int)TCG_SCHED_EVENT_SYMBOL != TCG_SCHED_SYMBOL ||
                  (int)TCG_SCHED_EVENT__MAX != TCG_SCHED_PAUSE);

struct TcgSched {
    Object parent_obj;

    /* properties */
    TcgSchedMode mode;
    uint64_t seed;
    uint32_t slice;
    uint32_t depth;
    uint32_t horizon;
    uint32_t points;
    uint32_t after;
    uint32_t ipi;
    uint32_t hold;
    uint64_t limit;
    char *server;
    SchedSymbol symbols[MAX_SYMBOLS];
    unsigned nr_symbols;
    TcgSearchOptions search;

    /* the processor whose turn it is */
    CPUState *cpu;
    int64_t slice_left;
    bool yield;

    /* since the seed took over */
    bool start_pending;
    bool started;
    uint64_t rng;
    uint64_t insns;
    uint64_t events;
    uint64_t switches;
    uint64_t signature;         /* of the order in which points were met */
    /* How often one kind on a processor came right behind another elsewhere */
    uint32_t windows[NR_KINDS][NR_KINDS];
    int last_cpu;
    unsigned last_kind;
    unsigned symbol;            /* the one that is met */
    int64_t start_ns;
    uint64_t change[MAX_DEPTH]; /* pct: events or instructions */
    unsigned next_change;
    int64_t priority[MAX_CPUS];
    int64_t lowest;
    struct {
        bool is;
        unsigned kind;
        vaddr pc;
    } held[MAX_CPUS];           /* its instruction was put off */
    uint64_t hold_for;          /* the one whose turn ends */
    uint64_t hold_until[MAX_CPUS];
    int64_t ipi_due[MAX_CPUS];  /* when the last one sent to it arrives */

    bool over;                  /* there is nothing to run any more */
    Notifier poll;
    Notifier machine_done;
};

static TcgSched *sched;
uint32_t tcg_sched_points;

/* splitmix64 */
static uint64_t sched_random(TcgSched *s)
{
    uint64_t z = s->rng += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* 1 to @max, each power of two as often as the others */
static uint64_t sched_up_to(TcgSched *s, uint32_t max)
{
    uint64_t power = 1ull << sched_random(s) % (64 - clz64(max));

    return 1 + sched_random(s) % power;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ (hash >> 29);
}

/* ---- whose turn it is ---- */

bool tcg_sched_runnable(CPUState *cpu)
{
    return cpu_can_run(cpu) && (!cpu->halted || cpu_has_work(cpu));
}

static bool sched_runnable(CPUState *cpu)
{
    return tcg_sched_runnable(cpu) && !tcg_search_waits(cpu);
}

static bool sched_pct_by_events(TcgSched *s)
{
    return s->points;
}

static void sched_demote(TcgSched *s, CPUState *cpu)
{
    s->priority[cpu->cpu_index] = --s->lowest;
}

static CPUState *sched_next(CPUState *cpu)
{
    cpu = cpu ? CPU_NEXT(cpu) : NULL;
    return cpu ? cpu : first_cpu;
}

/* The processor to run, or NULL if all sleep; sets slice_left for a new one. */
static CPUState *sched_pick(TcgSched *s)
{
    CPUState *cpu, *best = NULL, *on_hold = NULL;
    unsigned n = 0;

    if (!s->started || s->mode == TCG_SCHED_MODE_FIXED) {
        best = s->cpu;
        do {
            best = sched_next(best);
            if (sched_runnable(best)) {
                s->slice_left = s->started ? s->slice : BOOT_SLICE;
                return best;
            }
            /* Once around, the one that had its turn included */
        } while (s->cpu ? best != s->cpu : CPU_NEXT(best) != NULL);
        return NULL;
    }

    CPU_FOREACH(cpu) {
        if (!sched_runnable(cpu)) {
            continue;
        }
        if (s->hold_until[cpu->cpu_index] > s->insns) {
            if (!on_hold || s->hold_until[cpu->cpu_index] <
                            s->hold_until[on_hold->cpu_index]) {
                on_hold = cpu;
            }
            continue;
        }
        n++;
        if (s->mode == TCG_SCHED_MODE_RANDOM) {
            if (!best || sched_random(s) % n == 0) {
                best = cpu;
            }
        } else if (!best || s->priority[cpu->cpu_index] >
                            s->priority[best->cpu_index]) {
            best = cpu;
        }
    }
    if (!best) {
        /* Nobody else has anything to do */
        best = on_hold;
    }
    if (!best) {
        return NULL;
    }
    if (s->mode == TCG_SCHED_MODE_RANDOM) {
        s->slice_left = sched_up_to(s, s->slice);
    } else if (best != s->cpu || s->slice_left <= 0) {
        s->slice_left = s->slice;
    }
    return best;
}

/* pct: a change point of the one that runs */
static void sched_pct_steps(TcgSched *s, uint64_t now)
{
    while (s->next_change < s->depth - 1 && s->change[s->next_change] <= now) {
        s->next_change++;
        sched_demote(s, s->cpu);
        s->yield = true;
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* This machine has nothing more to do: what the guest sees is not continued. */
static void sched_over(TcgSched *s, Error *err, int code)
{
    if (err) {
        error_report_err(err);
    }
    s->over = true;
    qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR, code);
}

static bool sched_server(TcgSched *s);

static bool sched_check(TcgSched *s, Error **errp)
{
    if (!s->slice || !s->horizon || !s->depth || s->depth > MAX_DEPTH) {
        error_setg(errp, "x-sched: slice, horizon and depth are 1 at least, "
                   "depth %d at most", MAX_DEPTH);
        return false;
    }
    return true;
}

/* From here on the seed decides. */
static void sched_start(TcgSched *s)
{
    Error *err = NULL;
    CPUState *cpu;

    s->start_pending = false;
    s->started = true;
    if (s->server && !sched_server(s)) {
        return;
    }
    /* A copy has properties of its own */
    if (!sched_check(s, &err) ||
        (s->search.begin && !tcg_search_arm(&s->search, &err))) {
        sched_over(s, err, EXIT_FAILURE);
        return;
    }
    s->rng = s->seed;
    s->cpu = NULL;
    s->last_cpu = -1;
    if (s->nr_symbols) {
        /* Code that was translated before does not know of them */
        queue_tb_flush(first_cpu);
    }
    s->slice_left = 0;
    s->start_ns = icount_get();
    CPU_FOREACH(cpu) {
        s->priority[cpu->cpu_index] = sched_random(s) >> 1;
    }
    for (unsigned i = 0; i < s->depth - 1; i++) {
        s->change[i] = sched_random(s) % s->horizon;
    }
    qsort(s->change, s->depth - 1, sizeof(s->change[0]), compare_u64);
    /* All are part of the order, those in s->points end turns. */
    tcg_sched_points = (1u << TCG_SCHED_NR_POINTS) - 1;
}

void tcg_sched_do_point(CPUState *cpu, TcgSchedPoint point, uintptr_t ra)
{
    TcgSched *s = sched;
    bool before = false;
    unsigned kind;

    if (!s) {
        tcg_fork_point();
        return;
    }
    if (tcg_search_state == TCG_SEARCH_ROUND) {
        tcg_search_point(cpu, point, ra);
        return;
    }
    if (point == TCG_SCHED_PAUSE) {
        s->yield = true;
        if (s->started && s->mode == TCG_SCHED_MODE_PCT) {
            sched_demote(s, cpu);
        }
        return;
    }
    if (!s->started) {
        if (!s->start_pending && !--s->after) {
            s->start_pending = true;
            cpu_exit(cpu);
        }
        return;
    }
    kind = point == TCG_SCHED_SYMBOL ? TCG_SCHED_SYMBOL + s->symbol : point;
    if (ra && s->held[cpu->cpu_index].is &&
        s->held[cpu->cpu_index].kind == kind &&
        s->held[cpu->cpu_index].pc == tcg_sched_pc(cpu, ra)) {
        /* That was its turn to wait; an interrupt may have come before it */
        s->held[cpu->cpu_index].is = false;
        return;
    }
    s->signature = mix(s->signature, cpu->cpu_index << 8 | kind);
    if (s->last_cpu >= 0 && s->last_cpu != cpu->cpu_index) {
        s->windows[s->last_kind][kind]++;
    }
    s->last_cpu = cpu->cpu_index;
    s->last_kind = kind;
    trace_tcg_sched_point(s->insns, cpu->cpu_index,
                          point == TCG_SCHED_SYMBOL ?
                          s->symbols[s->symbol].first : 0,
                          TcgSchedEvent_str((TcgSchedEvent)point));
    if (!(s->points & (1u << point))) {
        return;
    }
    s->events++;
    if (s->mode == TCG_SCHED_MODE_RANDOM) {
        uint64_t r = sched_random(s);

        s->yield |= r & 1;
        before = r & 2;
    } else if (s->mode == TCG_SCHED_MODE_PCT && sched_pct_by_events(s)) {
        sched_pct_steps(s, s->events);
        before = true;
    }
    if (s->hold && sched_random(s) % HOLD_ODDS == 0) {
        s->hold_for = sched_random(s) % s->hold;
        s->yield = before = true;
    }
    if (!s->yield) {
        return;
    }
    if (ra && before) {
        cpu_restore_state(cpu, ra);
        s->held[cpu->cpu_index].is = true;
        s->held[cpu->cpu_index].kind = kind;
        s->held[cpu->cpu_index].pc = cpu->cc->get_pc(cpu);
        cpu->exception_index = EXCP_INTERRUPT;
        cpu_loop_exit(cpu);
    }
    cpu_exit(cpu);
}

/* ---- IPIs that take their time ---- */

typedef struct SchedIpi {
    QEMUTimer timer;
    CPUState *to;
    TcgSchedDeliver *deliver;
    uint32_t what;
} SchedIpi;

static void sched_ipi_arrives(void *opaque)
{
    SchedIpi *ipi = opaque;

    ipi->deliver(ipi->to, ipi->what);
    tcg_sched_point(ipi->to, TCG_SCHED_ARRIVAL, 0);
    timer_del(&ipi->timer);
    g_free(ipi);
}

bool tcg_sched_delay_ipi(CPUState *from, CPUState *to, TcgSchedDeliver *deliver,
                         uint32_t what)
{
    TcgSched *s = sched;
    SchedIpi *ipi;
    int64_t now, *due;

    /* What a processor sends to itself need not go far */
    if (!s || !s->started || !s->ipi || from == to) {
        return false;
    }
    now = icount_get();
    due = &s->ipi_due[to->cpu_index];
    *due = MAX(*due, now + icount_to_ns(sched_random(s) % (s->ipi + 1ull)));
    ipi = g_new0(SchedIpi, 1);
    ipi->to = to;
    ipi->deliver = deliver;
    ipi->what = what;
    timer_init_ns(&ipi->timer, QEMU_CLOCK_VIRTUAL, sched_ipi_arrives, ipi);
    timer_mod(&ipi->timer, *due);
    trace_tcg_sched_ipi(s->insns, from->cpu_index, to->cpu_index, *due - now);
    return true;
}

int tcg_sched_symbol(uint64_t pc)
{
    if (likely(!sched)) {
        return -1;
    }
    for (unsigned i = 0; i < sched->nr_symbols; i++) {
        if (pc >= sched->symbols[i].first && pc < sched->symbols[i].end) {
            return i;
        }
    }
    return sched->search.tso && tcg_search_is_fence(current_cpu, pc) ?
           FENCE : -1;
}

void tcg_sched_at_symbol(CPUState *cpu, unsigned symbol, uintptr_t ra)
{
    if (symbol == FENCE) {
        tcg_search_fence(cpu, ra);
        return;
    }
    if (tcg_search_state != TCG_SEARCH_OFF) {
        tcg_search_symbol(cpu, sched->symbols[symbol].first, ra);
        return;
    }
    sched->symbol = symbol;
    tcg_sched_point(cpu, TCG_SCHED_SYMBOL, ra);
}

/* ---- the loop ---- */

/* Returns how many instructions @cpu has executed, at most @budget. */
int64_t tcg_sched_exec(CPUState *cpu, int64_t budget)
{
    int64_t executed;
    int r;

    cpu->exit_request = false;
    cpu->icount_budget = budget;
    cpu->neg.icount_decr.u16.low = MIN(0xffff, budget);
    cpu->icount_extra = budget - cpu->neg.icount_decr.u16.low;

    bql_unlock();
    r = tcg_cpu_exec(cpu);
    icount_update(cpu);
    executed = budget - cpu->icount_budget;
    cpu->neg.icount_decr.u16.low = 0;
    cpu->icount_extra = 0;
    cpu->icount_budget = 0;
    bql_lock();

    if (r == EXCP_DEBUG) {
        cpu_handle_guest_debug(cpu);
    } else if (r == EXCP_ATOMIC) {
        bql_unlock();
        cpu_exec_step_atomic(cpu);
        bql_lock();
    }
    return executed;
}

/* Work that is queued for a processor; false if the machine has to stop. */
bool tcg_sched_work(void)
{
    bool go = true;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (cpu->stop || !cpu_work_list_empty(cpu)) {
            current_cpu = cpu;
            qemu_process_cpu_events_common(cpu);
        }
        go &= !cpu->stopped;
    }
    current_cpu = NULL;
    return go;
}

static void sched_run(TcgSched *s)
{
    int64_t quota = QUOTA, deadline, budget, executed;
    Error *err = NULL;

    if (tcg_search_ready()) {
        if (!tcg_search_prepare(&err)) {
            sched_over(s, err, EXIT_FAILURE);
            return;
        }
        if (s->server && !sched_server(s)) {
            return;
        }
        if (!tcg_search_begin(&s->search, &err)) {
            sched_over(s, err, EXIT_FAILURE);
            return;
        }
    }
    if (tcg_search_state == TCG_SEARCH_ROUND) {
        tcg_search_run(quota);
        return;
    }
    while (!tcg_search_ready() && quota > 0 && tcg_sched_work()) {
        deadline = qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                              QEMU_TIMER_ATTR_ALL);
        if (deadline == 0) {
            qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL);
            continue;
        }
        if (s->start_pending) {
            sched_start(s);
            if (s->over) {
                return;
            }
        }
        if (s->limit && s->started && s->insns >= s->limit) {
            error_setg(&err, "x-sched: not done after %" PRIu64
                       " instructions", s->limit);
            sched_over(s, err, EXIT_LIMIT);
            return;
        }
        if (!s->cpu || s->slice_left <= 0 || s->yield ||
            !sched_runnable(s->cpu) ||
            (s->started && s->mode == TCG_SCHED_MODE_PCT)) {
            CPUState *last = s->cpu;

            if (s->started && s->mode == TCG_SCHED_MODE_PCT && last &&
                s->slice_left <= 0) {
                sched_demote(s, last);
            }
            s->cpu = sched_pick(s);
            s->yield = false;
            if (!s->cpu) {
                s->cpu = last;
                s->slice_left = 0;
                return;
            }
            if (s->started && s->cpu != last) {
                s->switches++;
                trace_tcg_sched_switch(s->insns, icount_get() - s->start_ns,
                                       s->cpu->cpu_index,
                                       s->cpu->cc->get_pc(s->cpu));
            }
        }

        budget = deadline < 0 ? INT32_MAX :
                                MIN(icount_round(deadline), INT32_MAX);
        budget = MIN(budget, s->slice_left);
        if (s->started && s->mode == TCG_SCHED_MODE_PCT &&
            !sched_pct_by_events(s) &&
            s->next_change < s->depth - 1) {
            budget = MIN(budget, MAX(s->change[s->next_change], s->insns + 1) -
                                 s->insns);
        }
        current_cpu = s->cpu;
        executed = tcg_sched_exec(s->cpu, budget);
        current_cpu = NULL;
        s->slice_left -= executed;
        quota -= MAX(executed, 1);
        if (s->started) {
            s->insns += executed;
            s->hold_until[s->cpu->cpu_index] = s->insns + s->hold_for;
            s->hold_for = 0;
            if (s->mode == TCG_SCHED_MODE_PCT && !sched_pct_by_events(s)) {
                sched_pct_steps(s, s->insns);
            }
        }
    }
}

static void sched_poll(Notifier *n, void *data)
{
    TcgSched *s = container_of(n, TcgSched, poll);
    MainLoopPoll *poll = data;

    if (poll->state != MAIN_LOOP_POLL_FILL || s->over) {
        return;
    }
    sched_run(s);
    /* Asleep or not, there is a next thing to do unless no timer is left. */
    if (!cpu_is_stopped(first_cpu) &&
        (!all_cpu_threads_idle() ||
         qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                    QEMU_TIMER_ATTR_ALL) >= 0)) {
        poll->timeout = 0;
    }
}

bool tcg_sched_start_vcpu(CPUState *cpu)
{
    static bool first = true;

    /* sched_machine_done() refuses the others */
    if (!sched || !icount_enabled() || cpu->cpu_index >= MAX_CPUS) {
        return false;
    }
    tcg_cpu_init_cflags(cpu, false);
    qemu_thread_get_self(cpu->thread);
    cpu->thread_id = qemu_get_thread_id();
    cpu->neg.can_do_io = true;
    cpu->created = true;
    if (first) {
        first = false;
        tcg_register_thread();
        sched->poll.notify = sched_poll;
        main_loop_poll_add_notifier(&sched->poll);
        tcg_sched_points = 1u << TCG_SCHED_VMRUN | 1u << TCG_SCHED_PAUSE;
        sched->start_pending = !sched->after;
    }
    return true;
}

/* ---- snapshots ---- */

/* True in the copies, with the properties that they were given, in JSON. */
static bool sched_server(TcgSched *s)
{
    Error *err = NULL;
    g_auto(GStrv) options = tcg_fork_serve(s->server, &err);
    QObject *properties = NULL;

    if (options) {
        /* The copy may be one for others, further on. */
        g_clear_pointer(&s->server, g_free);
        properties = qobject_from_json(options[0] ? options[0] : "{}", &err);
    }
    if (qobject_to(QDict, properties)) {
        object_set_properties_from_keyval(OBJECT(s),
                                          qobject_to(QDict, properties), true,
                                          &err);
    } else if (options && !err) {
        error_setg(&err, "x-sched: the options of a copy are no JSON object");
    }
    qobject_unref(properties);
    if (!options || err) {
        sched_over(s, err, err ? EXIT_FAILURE : EXIT_SUCCESS);
        return false;
    }
    return true;
}

/* ---- the object ---- */

static void sched_report_kind(unsigned kind)
{
    if (kind < TCG_SCHED_SYMBOL) {
        fprintf(stderr, "%s", TcgSchedEvent_str((TcgSchedEvent)kind));
    } else {
        fprintf(stderr, "%" PRIx64,
                sched->symbols[kind - TCG_SCHED_SYMBOL].first);
    }
}

/* What a run was like, for whoever looks for different ones */
static void sched_report(void)
{
    TcgSched *s = sched;

    if (s->started) {
        fprintf(stderr, "x-sched: mode=%s seed=%" PRIu64 " instructions=%"
                PRIu64 " switches=%" PRIu64 " points=%" PRIu64 " order=%016"
                PRIx64 "\n", TcgSchedMode_str(s->mode), s->seed, s->insns,
                s->switches, s->events, s->signature);
        for (unsigned i = 0; i < NR_KINDS * NR_KINDS; i++) {
            if (s->windows[i / NR_KINDS][i % NR_KINDS]) {
                fprintf(stderr, "x-sched: window ");
                sched_report_kind(i / NR_KINDS);
                fprintf(stderr, ">");
                sched_report_kind(i % NR_KINDS);
                fprintf(stderr, " %u\n",
                        s->windows[i / NR_KINDS][i % NR_KINDS]);
            }
        }
    }
}

static void sched_machine_done(Notifier *n, void *data)
{
    Error *err = NULL;

    if (!sched->poll.notify) {
        error_setg(&err, "x-sched needs -accel tcg,thread=single "
                   "-icount shift=N,sleep=off");
    } else if (current_machine->smp.max_cpus > MAX_CPUS) {
        error_setg(&err, "x-sched is for %d processors at most", MAX_CPUS);
    } else {
        return;
    }
    sched_over(sched, err, EXIT_FAILURE);
}

static void sched_complete(UserCreatable *uc, Error **errp)
{
    TcgSched *s = TCG_SCHED(uc);

    if (sched) {
        error_setg(errp, "there is one x-sched per machine");
        return;
    }
    if (!sched_check(s, errp)) {
        return;
    }
    if (phase_check(PHASE_MACHINE_READY)) {
        error_setg(errp, "x-sched is for the command line");
        return;
    }
    sched = s;
    s->machine_done.notify = sched_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
    atexit(sched_report);
}

static int sched_get_mode(Object *obj, Error **errp)
{
    return TCG_SCHED(obj)->mode;
}

static void sched_set_mode(Object *obj, int value, Error **errp)
{
    TCG_SCHED(obj)->mode = value;
}

static void sched_get_points(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    g_autoptr(TcgSchedEventList) list = NULL;

    for (int i = TCG_SCHED_EVENT__MAX - 1; i >= 0; i--) {
        if (TCG_SCHED(obj)->points & (1u << i)) {
            QAPI_LIST_PREPEND(list, i);
        }
    }
    visit_type_TcgSchedEventList(v, name, &list, errp);
}

static void sched_set_points(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    g_autoptr(TcgSchedEventList) list = NULL;
    uint32_t points = 0;

    if (!visit_type_TcgSchedEventList(v, name, &list, errp)) {
        return;
    }
    for (TcgSchedEventList *l = list; l; l = l->next) {
        points |= 1u << l->value;
    }
    TCG_SCHED(obj)->points = points;
}

static void sched_get_symbols(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    g_autoptr(TcgSchedRangeList) list = NULL;
    TcgSched *s = TCG_SCHED(obj);

    for (int i = s->nr_symbols - 1; i >= 0; i--) {
        TcgSchedRange *range = g_new0(TcgSchedRange, 1);

        range->first = s->symbols[i].first;
        range->has_end = true;
        range->end = s->symbols[i].end;
        QAPI_LIST_PREPEND(list, range);
    }
    visit_type_TcgSchedRangeList(v, name, &list, errp);
}

static void sched_set_symbols(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    g_autoptr(TcgSchedRangeList) list = NULL;
    TcgSched *s = TCG_SCHED(obj);
    unsigned n = 0;

    if (!visit_type_TcgSchedRangeList(v, name, &list, errp)) {
        return;
    }
    for (TcgSchedRangeList *l = list; l; l = l->next) {
        if (n == MAX_SYMBOLS) {
            error_setg(errp, "x-sched: %d symbols at most", MAX_SYMBOLS);
            return;
        }
        s->symbols[n].first = l->value->first;
        s->symbols[n].end = l->value->has_end ? l->value->end :
                                                l->value->first + 1;
        n++;
    }
    s->nr_symbols = n;
}

static char *sched_get_server(Object *obj, Error **errp)
{
    return g_strdup(TCG_SCHED(obj)->server);
}

static void sched_set_server(Object *obj, const char *value, Error **errp)
{
    g_free(TCG_SCHED(obj)->server);
    TCG_SCHED(obj)->server = g_strdup(value);
}

static void sched_get_words(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    visit_type_TcgSchedWordList(v, name, &TCG_SCHED(obj)->search.words, errp);
}

static void sched_set_words(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    TcgSchedWordList *list = NULL;

    if (visit_type_TcgSchedWordList(v, name, &list, errp)) {
        qapi_free_TcgSchedWordList(TCG_SCHED(obj)->search.words);
        TCG_SCHED(obj)->search.words = list;
    }
}

static void sched_get_choices(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    visit_type_TcgSchedChoiceList(v, name, &TCG_SCHED(obj)->search.choices,
                                  errp);
}

static void sched_set_choices(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    TcgSchedChoiceList *list = NULL;

    if (visit_type_TcgSchedChoiceList(v, name, &list, errp)) {
        qapi_free_TcgSchedChoiceList(TCG_SCHED(obj)->search.choices);
        TCG_SCHED(obj)->search.choices = list;
    }
}

static bool sched_get_races(Object *obj, Error **errp)
{
    return TCG_SCHED(obj)->search.races;
}

static void sched_set_races(Object *obj, bool value, Error **errp)
{
    TCG_SCHED(obj)->search.races = value;
}

static bool sched_get_tso(Object *obj, Error **errp)
{
    return TCG_SCHED(obj)->search.tso;
}

static void sched_set_tso(Object *obj, bool value, Error **errp)
{
    TCG_SCHED(obj)->search.tso = value;
}

static void sched_init(Object *obj)
{
    TcgSched *s = TCG_SCHED(obj);

    s->slice = 1000;
    s->depth = 3;
    s->horizon = 1000;
    s->after = 1;
    s->search.parties = 2;
    object_property_add_uint64_ptr(obj, "seed", &s->seed,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "slice", &s->slice,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "depth", &s->depth,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "horizon", &s->horizon,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "after", &s->after,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "ipi", &s->ipi,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "hold", &s->hold,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "limit", &s->limit,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "begin", &s->search.begin,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "parties", &s->search.parties,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "round-limit", &s->search.limit,
                                   OBJ_PROP_FLAG_READWRITE);
}

static bool sched_can_be_deleted(UserCreatable *uc)
{
    return false;
}

static void sched_class_init(ObjectClass *oc, const void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = sched_complete;
    ucc->can_be_deleted = sched_can_be_deleted;
    object_class_property_add_enum(oc, "mode", "TcgSchedMode",
                                   &TcgSchedMode_lookup, sched_get_mode,
                                   sched_set_mode);
    object_class_property_add(oc, "points", "TcgSchedEventList",
                              sched_get_points, sched_set_points, NULL, NULL);
    object_class_property_add(oc, "symbols", "TcgSchedRangeList",
                              sched_get_symbols, sched_set_symbols, NULL, NULL);
    object_class_property_add_bool(oc, "races", sched_get_races,
                                   sched_set_races);
    object_class_property_add_bool(oc, "tso", sched_get_tso, sched_set_tso);
    object_class_property_add(oc, "words", "TcgSchedWordList",
                              sched_get_words, sched_set_words, NULL, NULL);
    object_class_property_add(oc, "choices", "TcgSchedChoiceList",
                              sched_get_choices, sched_set_choices, NULL, NULL);
    object_class_property_add_str(oc, "server", sched_get_server,
                                  sched_set_server);
}

static const TypeInfo sched_info = {
    .name = TYPE_TCG_SCHED,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(TcgSched),
    .instance_init = sched_init,
    .class_init = sched_class_init,
    .interfaces = (const InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void sched_register(void)
{
    type_register_static(&sched_info);
}

type_init(sched_register)
