/*
 * One round of a test, with the switches between processors chosen by a script.
 *
 * The parties of a round meet at its beginning: a processor that comes to the
 * function BEGIN waits there until PARTIES have.  From there on the processors
 * switch at events only, and only where the list of choices says so.  Without
 * one, the same processor goes on until it sleeps or spins.  The round is over
 * when one of them calls BEGIN again.
 *
 * Events are accesses to words, RMPUPDATE, VMRUN, #VMEXIT and the sending of
 * an IPI.  A word is a field of an object of the kernel; where that is, a
 * register says when a function is entered.  Each is a watchpoint, and the
 * event is before the access.  That of an IPI is at the entry of the function
 * that sends it, and that of #VMEXIT is right behind VMRUN, in the guest.
 *
 * A processor spins if it executes PAUSE twice and nobody has written a word
 * in between, if it writes a word again and nothing that it has accessed since
 * the last time was new, be it the instruction, the word or the value that was
 * there, if it runs for a slice without an event, and in a guest.  It is left
 * alone until somebody has done something new that it may be waiting for, a
 * word that it has read has another value, or nobody else can go on.  Timers
 * expire only when nobody can: their moment is none of the choices.
 *
 * With tso=on a store to a word may stay in the processor's buffer, and then
 * all of its stores to the kernel's memory behind it do, in order.  Memory has
 * what the others see: the stores are taken back when another processor gets
 * its turn, and made again when this one does.  The buffer is empty after an
 * instruction that waits for it, when it is full, and when the processor takes
 * an interrupt, spins, sleeps or leaves the kernel.  Until then another one
 * that comes to a word in it may find it drained that far.
 *
 * What happened is told on stderr, see sc_report().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/crc32c.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/seqlock.h"
#include "qemu/timer.h"
#include "exec/breakpoint.h"
#include "exec/cpu-common.h"
#include "exec/target_page.h"
#include "exec/watchpoint.h"
#include "hw/core/cpu.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "system/cpus.h"
#include "tcg-search.h"

#define MAX_WORDS       64
#define MAX_OFFSETS     6
#define MAX_BASES       8
#define MAX_OBJECTS     64
#define MAX_SIZE        128
#define MAX_CHOICES     512
#define MAX_CPUS        32
#define MAX_HELD        8
/* As many as a Zen 2 has; the longest is that of an XMM register or the like */
#define MAX_STORES      48
#define MAX_STORE       64
/* Without an event, outside of a guest and inside */
#define SLICE           300000
#define GUEST_SLICE     20000
/* A loop that writes a word with each PAUSE would never spin. */
#define MAX_PAUSES      100
/* Different accesses that are remembered, to see that a turn goes in a loop */
#define NR_SEEN         1024
/* Rounds in which all spin until the clock moves; how often it may do that */
#define STUCK           2
#define MAX_WARPS       300

/* Exit codes */
#define EXIT_LIMIT      3
#define EXIT_FAILED     4

/* No words: object 0, whatever the instruction is about, IPIs, and fences */
enum { OBJECT_RMP, OBJECT_IPI, OBJECT_FENCE, NR_FIXED };

/* Choices besides a CPU: keep a store, drain the buffer of a CPU */
enum { CHOICE_KEEP = MAX_CPUS, CHOICE_DRAIN = 2 * MAX_CPUS };

typedef struct SearchWord {
    char *name;
    unsigned size;
    uint64_t symbol;            /* 0: the first offset is the address */
    int reg;
    uint64_t offset[MAX_OFFSETS];
    unsigned nr_offsets;
} SearchWord;

typedef struct SearchObject {
    vaddr addr;
    unsigned size;
    char *name;
} SearchObject;

typedef struct SearchHeld {
    vaddr pc;
    int object;
} SearchHeld;

typedef struct SearchStore {
    vaddr addr;
    unsigned len;
    int object;                 /* -1: none of the words */
    /* What memory has not: the older bytes while the processor has its turn */
    uint8_t bytes[MAX_STORE];
} SearchStore;

typedef struct SearchParty {
    bool waits;                 /* at the beginning */
    bool let_go;
    bool spins;
    bool in_guest;
    uint32_t irqs;              /* pending when it began to spin */
    uint64_t spins_on;          /* words, 0 if it may be anything */
    uint64_t reads;             /* words, since the last PAUSE */
    uint64_t watched;           /* words that it has read in this turn */
    uint32_t left[MAX_OBJECTS]; /* what they were at its end, as a checksum */
    uint64_t pause_writes;      /* writes of all until then */
    unsigned pauses;
    int64_t slice;
    bool had_event;
    SearchHeld held[MAX_HELD];
    unsigned nr_held;
    vaddr last_pc;              /* of the load that a store may go with */
    int last_object;
    struct {
        vaddr pc;
        uint64_t value;
        int object;
        bool write;
        uint64_t at;
    } seen[NR_SEEN];            /* since it last spun in vain, and when last */
    unsigned nr_seen;
    uint64_t nr_accesses, last_new;
    SearchStore stores[MAX_STORES];
    unsigned nr_stores;
    bool keeps;                 /* the store that it is about to make */
    vaddr fence_pc;             /* the last that waited for the buffer */
} SearchParty;

TcgSearchState tcg_search_state;

static struct {
    TcgSearchOptions options;
    SearchWord words[MAX_WORDS];
    unsigned nr_words;
    struct {
        uint64_t symbol;
        int reg;
        uint64_t value;
    } bases[MAX_WORDS * MAX_BASES];
    unsigned nr_bases;
    bool has_lost;              /* an object, for which there was no room */
    SearchObject objects[MAX_OBJECTS];
    unsigned nr_objects;
    struct {
        uint64_t at;
        int choice;
    } choices[MAX_CHOICES];
    unsigned nr_choices;

    SearchParty party[MAX_CPUS];
    CPUState *cpu, *force;
    uint64_t index;             /* of the next decision */
    uint64_t writes;
    uint64_t insns;
    unsigned stuck, warps;
    GString *trace;
    GString *regions;
} sc;

static SearchParty *sc_party(CPUState *cpu)
{
    return &sc.party[cpu->cpu_index];
}

static uint64_t sc_bit(int object)
{
    return object < NR_FIXED ? 0 : 1ull << object;
}

static void G_GNUC_PRINTF(1, 2) sc_trace(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    g_string_append_vprintf(sc.trace, fmt, args);
    va_end(args);
}

/*
 * o OBJECT NAME ADDRESS SIZE
 * r NAME ADDRESS SIZE                  a region, which is no word
 * m CPU r|w ADDRESS SIZE PC BYTES      any access, with races=on; of the code
 * d INDEX CPU OBJECT r|w PC ENABLED    a decision: before an access; CPUs' mask
 * f INDEX CPU CANDIDATES CHOSEN SPINS  a decision: CPU sleeps, or spins
 * s CPU                                it runs from here on
 * b INDEX CPU OBJECT PC                a decision: before a store to be kept
 * r INDEX CPU OBJECT MASK              a decision: these have it buffered
 * a CPU OBJECT r|w|b VALUE PC WHAT     the access, and what was there before;
 *                                      b: a store that goes into the buffer
 * g CPU OBJECT                         such a store gets to memory
 * p CPU                                spins
 * t                                    timers expire
 * end WHY
 */
static void sc_report(void)
{
    if (sc.trace) {
        fwrite(sc.trace->str, 1, sc.trace->len, stderr);
        fflush(stderr);
    }
}

static void G_NORETURN sc_end(int code, const char *why)
{
    sc_trace("end %s decisions %" PRIu64 " instructions %" PRIu64 "\n", why,
             sc.index, sc.insns);
    sc_report();
    /*
     * In the midst of an instruction, perhaps, and of a copy that fork() has
     * made: the end of the process is its answer.
     */
    _exit(code);
}

/* ---- the guest's memory and registers ---- */

static uint64_t sc_read(CPUState *cpu, vaddr addr, unsigned size)
{
    uint64_t value = 0;

    if (cpu_memory_rw_debug(cpu, addr, &value, MIN(size, 8), false) < 0) {
        return 0;
    }
    return le64_to_cpu(value);
}

static uint64_t sc_register(CPUState *cpu, int reg)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint64_t value = 0;

    cpu->cc->gdb_read_register(cpu, bytes, reg);
    memcpy(&value, bytes->data, MIN(bytes->len, 8));
    return le64_to_cpu(value);
}

vaddr tcg_sched_pc(CPUState *cpu, uintptr_t ra)
{
    uint64_t data[8];

    if (!ra || !cpu_unwind_state_data(cpu, ra, data)) {
        return cpu->cc->get_pc(cpu);
    }
    return data[0] < TARGET_PAGE_SIZE ?
           (cpu->cc->get_pc(cpu) & TARGET_PAGE_MASK) | data[0] : data[0];
}

/* ---- store buffers ---- */

static void sc_copy(CPUState *cpu, SearchStore *store, bool write)
{
    if (cpu_memory_rw_debug(cpu, store->addr, store->bytes, store->len,
                            write) < 0) {
        sc_end(EXIT_FAILURE, "no-memory");
    }
}

static void sc_exchange(CPUState *cpu, SearchStore *store)
{
    SearchStore mine = *store;

    sc_copy(cpu, store, false);
    sc_copy(cpu, &mine, true);
}

/* @cpu's turn ends: memory is as if its stores had not been made. */
static void sc_withdraw(CPUState *cpu)
{
    SearchParty *p = sc_party(cpu);

    for (unsigned i = p->nr_stores; i--; ) {
        sc_exchange(cpu, &p->stores[i]);
    }
}

static void sc_restore(CPUState *cpu)
{
    SearchParty *p = sc_party(cpu);

    for (unsigned i = 0; i < p->nr_stores; i++) {
        sc_exchange(cpu, &p->stores[i]);
    }
}

/* Those who wait for @object, and others than @cpu who spin for any reason */
static void sc_wake(CPUState *cpu, int object, bool write)
{
    const uint64_t bit = sc_bit(object);
    CPUState *other;

    CPU_FOREACH(other) {
        SearchParty *q = sc_party(other);

        if (other != cpu && q->spins && !q->in_guest &&
            (!q->spins_on || (write && (q->spins_on & bit)))) {
            q->spins = false;
            q->nr_seen = 0;
        }
    }
}

/* The oldest @n stores of @cpu get to memory, where they are in its turn */
static void sc_drain(CPUState *cpu, unsigned n)
{
    SearchParty *p = sc_party(cpu);

    for (unsigned i = 0; i < n; i++) {
        SearchStore *store = &p->stores[i];

        if (cpu != sc.cpu) {
            sc_copy(cpu, store, true);
        }
        if (store->object >= 0) {
            sc_trace("g %d %d\n", cpu->cpu_index, store->object);
            sc.writes++;
            sc_wake(cpu, store->object, true);
        }
    }
    p->nr_stores -= n;
    memmove(p->stores, p->stores + n, p->nr_stores * sizeof(*p->stores));
}

static void sc_drain_all(CPUState *cpu)
{
    sc_drain(cpu, sc_party(cpu)->nr_stores);
}

/* @cpu is about to store to @addr; what is there goes into the buffer. */
static void sc_store(CPUState *cpu, vaddr addr, vaddr len, int object)
{
    SearchParty *p = sc_party(cpu);
    SearchStore *store;

    if (!p->nr_stores && !p->keeps) {
        return;
    }
    p->keeps = false;
    if (len > MAX_STORE) {
        sc_drain_all(cpu);
        return;
    }
    if (p->nr_stores == MAX_STORES) {
        sc_drain(cpu, 1);
    }
    store = &p->stores[p->nr_stores++];
    store->addr = addr;
    store->len = len;
    store->object = object;
    sc_copy(cpu, store, false);
}

/* How many of @cpu's stores get to memory if the first to @object does */
static unsigned sc_up_to(CPUState *cpu, int object)
{
    SearchParty *p = sc_party(cpu);

    for (unsigned i = 0; i < p->nr_stores; i++) {
        if (p->stores[i].object == object) {
            return i + 1;
        }
    }
    return 0;
}

/*
 * LOCK, XCHG with memory, fences, I/O, HLT, and what is serializing.  SYSRET is
 * none, but from there on stores are not looked at.
 */
bool tcg_search_is_fence(CPUState *cpu, uint64_t pc)
{
    uint8_t code[16] = { 0 }, modrm;
    const unsigned here = MIN(12, -(pc | TARGET_PAGE_MASK));
    unsigned i = 0;
    bool lock = false;

    if (pc >> 56 != 0xff ||
        cpu_memory_rw_debug(cpu, pc, code, here, false) < 0) {
        return false;
    }
    if (here < 12) {
        cpu_memory_rw_debug(cpu, pc + here, code + here, 12 - here, false);
    }
    while (i < 8 && (code[i] == 0x26 || code[i] == 0x2e || code[i] == 0x36 ||
                     code[i] == 0x3e || (code[i] >= 0x64 && code[i] <= 0x67) ||
                     code[i] == 0xf0 || code[i] == 0xf2 || code[i] == 0xf3)) {
        lock |= code[i++] == 0xf0;
    }
    if (lock) {
        return true;
    }
    i += (code[i] & 0xf0) == 0x40;
    switch (code[i]) {
    case 0x86 ... 0x87:         /* XCHG */
        return code[i + 1] < 0xc0;
    case 0x6c ... 0x6f:         /* INS, OUTS */
    case 0xe4 ... 0xe7:         /* IN, OUT */
    case 0xec ... 0xef:
    case 0xcf:                  /* IRET */
    case 0xf4:                  /* HLT */
        return true;
    case 0x0f:
        break;
    default:
        return false;
    }
    modrm = code[i + 2];
    switch (code[i + 1]) {
    case 0x00:                  /* LLDT, LTR */
        return extract32(modrm, 3, 3) == 2 || extract32(modrm, 3, 3) == 3;
    case 0x01:
        if (modrm < 0xc0) {     /* LGDT, LIDT, LMSW, INVLPG */
            return extract32(modrm, 3, 3) == 2 || extract32(modrm, 3, 3) == 3 ||
                   extract32(modrm, 3, 3) >= 6;
        }
        /* VMRUN, RMPUPDATE, others; not CLAC, STAC, XGETBV, SWAPGS, RDTSCP */
        return modrm != 0xca && modrm != 0xcb && modrm != 0xd0 &&
               modrm != 0xf8 && modrm != 0xf9;
    case 0x07:                  /* SYSRET */
    case 0x08 ... 0x09:         /* INVD, WBINVD */
    case 0x22 ... 0x23:         /* MOV to CR, to DR */
    case 0x30:                  /* WRMSR */
    case 0xa2:                  /* CPUID */
    case 0xaa:                  /* RSM */
        return true;
    case 0xae:                  /* MFENCE, SFENCE */
        return modrm >= 0xf0;
    default:
        return false;
    }
}

void tcg_sched_interrupt(CPUState *cpu)
{
    if (tcg_search_state == TCG_SEARCH_ROUND) {
        sc_drain_all(cpu);
        /* It may be what somebody waits for that no word is about. */
        sc_party(cpu)->nr_held = 0;
        sc_wake(cpu, OBJECT_IPI, false);
    }
}

/* ---- options ---- */

bool tcg_search_arm(const TcgSearchOptions *options, Error **errp)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (cpu->cpu_index >= MAX_CPUS) {
            error_setg(errp, "x-sched: rounds are for %d processors at most",
                       MAX_CPUS);
            return false;
        }
    }
    for (TcgSchedWordList *w = options->words; w; w = w->next) {
        SearchWord *word = &sc.words[sc.nr_words];

        if (sc.nr_words == MAX_WORDS) {
            error_setg(errp, "x-sched: %d words at most", MAX_WORDS);
            return false;
        }
        word->name = g_strdup(w->value->name);
        word->size = w->value->size;
        if (word->size > MAX_SIZE && word->name[0] != '@') {
            error_setg(errp, "x-sched: a word has %d bytes at most", MAX_SIZE);
            return false;
        }
        word->symbol = w->value->symbol;
        word->reg = w->value->q_register;
        for (struct uint64List *o = w->value->offsets; o; o = o->next) {
            if (word->nr_offsets == MAX_OFFSETS) {
                error_setg(errp, "x-sched: %d offsets of a word at most",
                           MAX_OFFSETS);
                return false;
            }
            word->offset[word->nr_offsets++] = o->value;
        }
        sc.nr_words++;
    }
    sc.options = *options;
    tcg_search_state = TCG_SEARCH_WAITING;
    return true;
}

/* ---- before the round ---- */

bool tcg_search_waits(CPUState *cpu)
{
    return tcg_search_state == TCG_SEARCH_WAITING && sc_party(cpu)->waits;
}

bool tcg_search_ready(void)
{
    unsigned n = 0;

    if (tcg_search_state != TCG_SEARCH_WAITING) {
        return false;
    }
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        n += sc.party[i].waits;
    }
    return n >= sc.options.parties;
}

static bool sc_is_sender(const SearchWord *word)
{
    return !word->size && !strcmp(word->name, "ipi");
}

static void sc_capture(CPUState *cpu, uint64_t pc)
{
    for (unsigned i = 0; i < sc.nr_words; i++) {
        SearchWord *word = &sc.words[i];
        uint64_t value;
        unsigned j;

        if (word->symbol != pc || sc_is_sender(word)) {
            continue;
        }
        if (!word->size) {
            /* A new world: those before it are of no interest. */
            sc.nr_bases = 0;
            sc.has_lost = false;
            return;
        }
        value = sc_register(cpu, word->reg);
        for (j = 0; j < sc.nr_bases; j++) {
            if (sc.bases[j].symbol == pc && sc.bases[j].reg == word->reg &&
                sc.bases[j].value == value) {
                break;
            }
        }
        sc.has_lost |= j == ARRAY_SIZE(sc.bases);
        if (j == sc.nr_bases && !sc.has_lost) {
            sc.bases[j].symbol = pc;
            sc.bases[j].reg = word->reg;
            sc.bases[j].value = value;
            sc.nr_bases++;
        }
    }
}

static bool sc_add_object(CPUState *at, SearchWord *word, uint64_t base,
                          unsigned nth, Error **errp)
{
    CPUState *cpu;
    vaddr addr = base + word->offset[0];
    SearchObject *object = &sc.objects[sc.nr_objects];

    for (unsigned i = 1; i < word->nr_offsets; i++) {
        /* Some pointers have flags in the bits that are 0 otherwise. */
        addr = sc_read(at, addr, 8) & ~3ull;
        if (!addr) {
            return true;
        }
        addr += word->offset[i];
    }
    if (addr >> 56 != 0xff) {
        return true;
    }
    if (word->name[0] == '@') {
        g_string_append_printf(sc.regions, "r %s.%u %" VADDR_PRIx " %u\n",
                               word->name + 1, nth, addr, word->size);
        return true;
    }
    for (unsigned i = NR_FIXED; i < sc.nr_objects; i++) {
        if (sc.objects[i].addr == addr) {
            return true;
        }
    }
    if (sc.nr_objects == MAX_OBJECTS) {
        error_setg(errp, "x-sched: more than %d words", MAX_OBJECTS);
        return false;
    }
    object->addr = addr;
    object->size = word->size;
    object->name = g_strdup_printf("%s.%u", word->name, nth);
    CPU_FOREACH(cpu) {
        cpu_watchpoint_insert(cpu, addr, word->size, BP_GDB | BP_MEM_ACCESS,
                              NULL);
    }
    sc.nr_objects++;
    return true;
}

/* The upper half, whose last byte would make the end 0 */
static void sc_watch_kernel(int flags)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        cpu_watchpoint_insert(cpu, 1ull << 63, (1ull << 63) - 1, BP_GDB | flags,
                              NULL);
    }
}

bool tcg_search_prepare(Error **errp)
{
    CPUState *cpu, *at = NULL;

    CPU_FOREACH(cpu) {
        if (sc_party(cpu)->waits) {
            at = cpu;
        }
    }
    if (sc.has_lost) {
        error_setg(errp, "x-sched: more than %zu objects with words",
                   ARRAY_SIZE(sc.bases));
        return false;
    }
    sc.regions = g_string_new(NULL);
    sc.objects[OBJECT_RMP].name = g_strdup("rmp");
    sc.objects[OBJECT_IPI].name = g_strdup("ipi");
    sc.objects[OBJECT_FENCE].name = g_strdup("fence");
    sc.nr_objects = NR_FIXED;
    for (unsigned i = 0; i < sc.nr_words; i++) {
        unsigned nth = 0;

        for (unsigned j = 0; j < sc.nr_bases; j++) {
            if (sc.bases[j].symbol == sc.words[i].symbol &&
                sc.bases[j].reg == sc.words[i].reg) {
                if (!sc_add_object(at, &sc.words[i], sc.bases[j].value, nth++,
                                   errp)) {
                    return false;
                }
            }
        }
    }
    if (sc.options.tso) {
        sc_watch_kernel(BP_MEM_WRITE);
    }
    return true;
}

bool tcg_search_begin(const TcgSearchOptions *options, Error **errp)
{
    sc.options = *options;
    for (TcgSchedChoiceList *c = options->choices; c; c = c->next) {
        if (sc.nr_choices == MAX_CHOICES) {
            error_setg(errp, "x-sched: %d choices at most", MAX_CHOICES);
            return false;
        }
        sc.choices[sc.nr_choices].at = c->value->at;
        sc.choices[sc.nr_choices++].choice = c->value->cpu;
    }
    sc.trace = g_string_new(NULL);
    for (unsigned i = 0; i < sc.nr_objects; i++) {
        sc_trace("o %u %s %" VADDR_PRIx " %u\n", i, sc.objects[i].name,
                 sc.objects[i].addr, sc.objects[i].size);
    }
    g_string_append(sc.trace, sc.regions->str);
    if (options->races) {
        sc_watch_kernel(BP_MEM_ACCESS);
    }
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        sc.party[i].let_go = sc.party[i].waits;
        sc.party[i].waits = false;
    }
    tcg_search_state = TCG_SEARCH_ROUND;
    atexit(sc_report);
    return true;
}

/* ---- events ---- */

/* Any field of the word may be the one that is waited for. */
static uint32_t sc_checksum(CPUState *cpu, int object)
{
    SearchObject *o = &sc.objects[object];
    uint8_t bytes[MAX_SIZE];

    if (cpu_memory_rw_debug(cpu, o->addr, bytes, o->size, false) < 0) {
        sc_end(EXIT_FAILURE, "no-memory");
    }
    return crc32c(0xffffffff, bytes, o->size);
}

/* Has a word that it spins on another value than at the end of its turn? */
static bool sc_may_go_on(CPUState *cpu, SearchParty *p)
{
    const uint64_t words = p->spins_on ? p->spins_on & p->watched : p->watched;

    for (unsigned i = NR_FIXED; !p->in_guest && i < sc.nr_objects; i++) {
        if (words & sc_bit(i) && sc_checksum(cpu, i) != p->left[i]) {
            return true;
        }
    }
    return false;
}

static bool sc_enabled(CPUState *cpu)
{
    SearchParty *p = sc_party(cpu);

    return tcg_sched_runnable(cpu) &&
           (!p->spins || (cpu->interrupt_request & ~p->irqs) ||
            (cpu != sc.cpu && sc_may_go_on(cpu, p)));
}

static uint32_t sc_mask(void)
{
    CPUState *cpu;
    uint32_t mask = 0;

    CPU_FOREACH(cpu) {
        mask |= sc_enabled(cpu) ? 1u << cpu->cpu_index : 0;
    }
    return mask;
}

/* What the script has for the next decision, or -1 */
static int sc_scripted(void)
{
    for (unsigned i = 0; i < sc.nr_choices; i++) {
        if (sc.choices[i].at == sc.index) {
            return sc.choices[i].choice;
        }
    }
    return -1;
}

/* Which CPU it has, or NULL */
static CPUState *sc_choice(void)
{
    const int choice = sc_scripted();
    CPUState *cpu = NULL;

    if (choice >= 0) {
        cpu = choice < MAX_CPUS ? qemu_get_cpu(choice) : NULL;
        if (!cpu || !sc_enabled(cpu)) {
            sc_end(EXIT_FAILURE, "bad-choice");
        }
    }
    return cpu;
}

static void sc_spin(CPUState *cpu, uint64_t on)
{
    SearchParty *p = sc_party(cpu);

    sc_drain_all(cpu);
    p->spins = true;
    p->spins_on = on;
    p->irqs = cpu->interrupt_request;
    p->pauses = 0;
    sc_trace("p %d\n", cpu->cpu_index);
}

/* Is it new?  If not, does it go round in a loop that waits for somebody? */
static bool sc_is_new(SearchParty *p, int object, bool write, vaddr pc,
                      uint64_t value, bool *loop)
{
    unsigned i;

    *loop = false;
    p->nr_accesses++;
    if (object < NR_FIXED) {
        p->last_new = p->nr_accesses;
        return true;
    }
    for (i = 0; i < p->nr_seen; i++) {
        if (p->seen[i].pc == pc && p->seen[i].object == object &&
            p->seen[i].write == write && p->seen[i].value == value) {
            *loop = write && p->last_new < p->seen[i].at;
            p->seen[i].at = p->nr_accesses;
            return false;
        }
    }
    p->last_new = p->nr_accesses;
    if (i < NR_SEEN) {
        p->seen[i].pc = pc;
        p->seen[i].object = object;
        p->seen[i].value = value;
        p->seen[i].write = write;
        p->seen[i].at = p->nr_accesses;
        p->nr_seen++;
    }
    return true;
}

/* Others have @object in their buffers: it may get to memory before @cpu's */
static void sc_drain_others(CPUState *cpu, int object)
{
    for (;;) {
        CPUState *other;
        uint32_t mask = 0;
        int choice;

        CPU_FOREACH(other) {
            if (other != cpu && sc_up_to(other, object)) {
                mask |= 1u << other->cpu_index;
            }
        }
        if (!mask) {
            return;
        }
        sc_trace("r %" PRIu64 " %d %d %x\n", sc.index, cpu->cpu_index, object,
                 mask);
        choice = sc_scripted();
        sc.index++;
        if (choice < 0) {
            return;
        }
        choice -= CHOICE_DRAIN;
        if (choice < 0 || choice >= MAX_CPUS || !(mask & 1u << choice)) {
            sc_end(EXIT_FAILURE, "bad-choice");
        }
        other = qemu_get_cpu(choice);
        sc_drain(other, sc_up_to(other, object));
    }
}

/* Does a store to @object go into the buffer? */
static bool sc_keeps(CPUState *cpu, int object, vaddr pc)
{
    SearchParty *p = sc_party(cpu);
    int choice;

    if (p->nr_stores) {
        return true;
    }
    if (pc == p->fence_pc) {
        return false;
    }
    sc_trace("b %" PRIu64 " %d %d %" VADDR_PRIx "\n", sc.index, cpu->cpu_index,
             object, pc);
    choice = sc_scripted();
    sc.index++;
    if (choice >= 0 && choice != CHOICE_KEEP) {
        sc_end(EXIT_FAILURE, "bad-choice");
    }
    return choice >= 0;
}

/* @cpu does what it has come to. */
static void sc_commit(CPUState *cpu, int object, vaddr addr, unsigned len,
                      bool write, vaddr pc, const char *what)
{
    SearchParty *p = sc_party(cpu);
    uint64_t value;
    bool is_new, loop;

    p->keeps = false;
    if (sc.options.tso && object >= NR_FIXED) {
        /* Nothing comes between the two halves of a locked instruction. */
        if (!write || pc != p->fence_pc) {
            sc_drain_others(cpu, object);
        }
        p->keeps = write && sc_keeps(cpu, object, pc);
    }
    value = len ? sc_read(cpu, addr, len) : 0;
    sc_trace("a %d %d %c %" PRIx64 " %" VADDR_PRIx " %s\n", cpu->cpu_index,
             object, p->keeps ? 'b' : write ? 'w' : 'r', value, pc, what);
    sc.stuck = 0;
    p->had_event = true;
    if (write) {
        sc.writes++;
    } else if (object >= NR_FIXED) {
        p->reads |= sc_bit(object);
        p->watched |= sc_bit(object);
    }
    is_new = sc_is_new(p, object, write, pc, value, &loop);
    if (loop && !p->spins) {
        sc_spin(cpu, 0);
        cpu_exit(cpu);
    }
    if (!is_new) {
        /* Nobody waits for what has been there before. */
        return;
    }
    sc_wake(cpu, object, write);
}

static bool sc_was_held(SearchParty *p, int object, vaddr pc)
{
    for (unsigned i = 0; i < p->nr_held; i++) {
        if (p->held[i].pc == pc && p->held[i].object == object) {
            p->held[i] = p->held[--p->nr_held];
            return true;
        }
    }
    return false;
}

/*
 * @cpu is about to access @object: does another one have its turn first?  With
 * @ra the instruction is put off, and this does not return; without, the turn
 * ends behind the block.
 */
static void sc_decide(CPUState *cpu, int object, bool write, vaddr pc,
                      uintptr_t ra)
{
    SearchParty *p = sc_party(cpu);
    CPUState *to;

    if (ra && sc_was_held(p, object, pc)) {
        return;
    }
    sc_trace("d %" PRIu64 " %d %d %c %" VADDR_PRIx " %x\n", sc.index,
             cpu->cpu_index, object, write ? 'w' : 'r', pc, sc_mask());
    to = sc_choice();
    sc.index++;
    if (!to || to == cpu) {
        return;
    }
    sc.force = to;
    if (!ra) {
        cpu_exit(cpu);
        return;
    }
    if (p->nr_held == MAX_HELD) {
        sc_end(EXIT_FAILURE, "too-many-held");
    }
    p->held[p->nr_held++] = (SearchHeld) { .pc = pc, .object = object };
    cpu->exception_index = EXCP_INTERRUPT;
    cpu_loop_exit_restore(cpu, ra);
}

static void sc_event(CPUState *cpu, int object, vaddr addr, unsigned len,
                     bool write, const char *what, uintptr_t ra)
{
    const vaddr pc = tcg_sched_pc(cpu, ra);
    SearchParty *p = sc_party(cpu);

    if (cpu != sc.cpu) {
        return;
    }
    /* One instruction that loads and stores is one event. */
    if (write && p->last_object == object && p->last_pc == pc) {
        p->last_object = -1;
    } else {
        sc_decide(cpu, object, write, pc, ra);
        if (object == OBJECT_FENCE) {
            p->had_event = true;
            return;
        }
        p->last_object = write ? -1 : object;
        p->last_pc = pc;
    }
    sc_commit(cpu, object, addr, len, write, pc, what);
}

void tcg_search_symbol(CPUState *cpu, uint64_t pc, uintptr_t ra)
{
    SearchParty *p = sc_party(cpu);

    if (tcg_search_state == TCG_SEARCH_WAITING) {
        sc_capture(cpu, pc);
        if (pc == sc.options.begin) {
            p->waits = true;
            cpu->exception_index = EXCP_INTERRUPT;
            cpu_loop_exit_restore(cpu, ra);
        }
    } else if (tcg_search_state == TCG_SEARCH_ROUND && pc == sc.options.begin) {
        if (!p->let_go) {
            sc_end(EXIT_SUCCESS, "passed");
        }
        p->let_go = false;
    } else if (tcg_search_state == TCG_SEARCH_ROUND && cpu == sc.cpu) {
        for (unsigned i = 0; i < sc.nr_words; i++) {
            if (sc.words[i].symbol == pc && sc_is_sender(&sc.words[i])) {
                sc_decide(cpu, OBJECT_IPI, true, pc, ra);
            }
        }
    }
}

void tcg_search_fence(CPUState *cpu, uintptr_t ra)
{
    if (tcg_search_state == TCG_SEARCH_ROUND && cpu == sc.cpu) {
        sc_party(cpu)->fence_pc = tcg_sched_pc(cpu, ra);
        if (sc_party(cpu)->nr_stores) {
            sc_event(cpu, OBJECT_FENCE, 0, 0, true, "", ra);
            sc_drain_all(cpu);
        }
    }
}

static void sc_trace_access(CPUState *cpu, vaddr addr, vaddr len, int flags,
                            vaddr pc)
{
    sc_trace("m %d %c %" VADDR_PRIx " %u %" VADDR_PRIx " %08" PRIx64 "\n",
             cpu->cpu_index, flags & BP_MEM_WRITE ? 'w' : 'r', addr,
             (unsigned)len, pc, sc_read(cpu, pc, 4));
}

bool tcg_sched_access(CPUState *cpu, vaddr addr, vaddr len, int flags,
                      uintptr_t ra)
{
    const bool write = flags & BP_MEM_WRITE && !(flags & BP_MEM_READ);

    if (likely(tcg_search_state == TCG_SEARCH_OFF)) {
        return false;
    }
    for (unsigned i = NR_FIXED; i < sc.nr_objects; i++) {
        SearchObject *o = &sc.objects[i];

        if (addr < o->addr + o->size && o->addr < addr + len) {
            if (tcg_search_state == TCG_SEARCH_ROUND) {
                if (sc.options.races) {
                    sc_trace_access(cpu, addr, len, flags,
                                    tcg_sched_pc(cpu, ra));
                }
                sc_event(cpu, i, addr, len, write, "", ra);
                if (write && sc.options.tso) {
                    sc_store(cpu, addr, len, i);
                }
            }
            return true;
        }
    }
    if (!sc.options.tso && !sc.options.races) {
        return false;
    }
    if (tcg_search_state == TCG_SEARCH_ROUND) {
        if (sc.options.races) {
            sc_trace_access(cpu, addr, len, flags, tcg_sched_pc(cpu, ra));
        }
        if (write && sc.options.tso) {
            sc_store(cpu, addr, len, -1);
        }
    }
    return true;
}

static void sc_pause(CPUState *cpu)
{
    SearchParty *p = sc_party(cpu);

    if ((p->pauses && p->pause_writes == sc.writes) ||
        p->pauses == MAX_PAUSES) {
        sc_spin(cpu, p->reads);
        cpu_exit(cpu);
    } else {
        p->pauses++;
        p->pause_writes = sc.writes;
    }
    p->reads = 0;
}

/* What had its decision before happens now. */
static void sc_done(CPUState *cpu, int object, const char *what)
{
    if (cpu == sc.cpu) {
        sc_party(cpu)->last_object = -1;
        sc_commit(cpu, object, 0, 0, true, cpu->cc->get_pc(cpu), what);
    }
}

void tcg_search_point(CPUState *cpu, TcgSchedPoint point, uintptr_t ra)
{
    if (point != TCG_SCHED_PAUSE) {
        sc_drain_all(cpu);
    }
    switch (point) {
    case TCG_SCHED_PAUSE:
        sc_pause(cpu);
        break;
    case TCG_SCHED_RMPUPDATE:
        sc_event(cpu, OBJECT_RMP, 0, 0, true, "RMPUPDATE", ra);
        break;
    case TCG_SCHED_VMRUN:
        sc_event(cpu, OBJECT_RMP, 0, 0, true, "VMRUN", ra);
        if (cpu != sc.cpu) {
            break;
        }
        sc_party(cpu)->in_guest = true;
        /* In the guest, before the #VMEXIT */
        sc_decide(cpu, OBJECT_RMP, true, 0, 0);
        /* From here on the guest's slice */
        cpu_exit(cpu);
        break;
    case TCG_SCHED_VMEXIT:
        sc_party(cpu)->in_guest = false;
        sc_done(cpu, OBJECT_RMP, "#VMEXIT");
        break;
    case TCG_SCHED_IPI:
        sc_done(cpu, OBJECT_IPI, "IPI");
        break;
    default:
        break;
    }
}

void tcg_sched_broken(const char *what)
{
    if (tcg_search_state == TCG_SEARCH_ROUND) {
        sc_trace("x %s\n", what);
        sc_end(EXIT_FAILED, "failed");
    }
}

/* ---- the loop ---- */

static CPUState *sc_next(CPUState *cpu)
{
    cpu = cpu ? CPU_NEXT(cpu) : NULL;
    return cpu ? cpu : first_cpu;
}

/* NULL if all sleep */
static CPUState *sc_pick(void)
{
    CPUState *cpu, *chosen = NULL;
    uint32_t mask;

    if (sc.force) {
        cpu = sc.force;
        sc.force = NULL;
        return cpu;
    }
    if (sc.cpu && sc_enabled(sc.cpu)) {
        return sc.cpu;
    }
    mask = sc_mask();
    if (mask & (mask - 1)) {
        chosen = sc_choice();
    }
    if (!mask) {
        /* Those that spin, in turn */
        sc.stuck++;
        CPU_FOREACH(cpu) {
            if (tcg_sched_runnable(cpu)) {
                mask |= 1u << cpu->cpu_index;
            }
        }
        if (!mask) {
            return NULL;
        }
        cpu = sc.cpu;
        do {
            cpu = sc_next(cpu);
        } while (!(mask & 1u << cpu->cpu_index));
        return cpu;
    }
    if (!chosen) {
        chosen = sc.cpu;
        do {
            chosen = sc_next(chosen);
        } while (!(mask & 1u << chosen->cpu_index));
    }
    if (mask & (mask - 1)) {
        sc_trace("f %" PRIu64 " %d %x %d %d\n", sc.index,
                 sc.cpu ? sc.cpu->cpu_index : -1, mask, chosen->cpu_index,
                 sc.cpu && sc_party(sc.cpu)->spins);
        sc.index++;
    }
    return chosen;
}

/* All spin: let the time pass until the next timer. */
static void sc_warp(int64_t ns)
{
    if (++sc.warps > MAX_WARPS) {
        sc_end(EXIT_LIMIT, "stuck");
    }
    if (ns > 0) {
        seqlock_write_lock(&timers_state.vm_clock_seqlock,
                           &timers_state.vm_clock_lock);
        qatomic_set_i64(&timers_state.qemu_icount_bias,
                        timers_state.qemu_icount_bias + ns);
        seqlock_write_unlock(&timers_state.vm_clock_seqlock,
                             &timers_state.vm_clock_lock);
    }
}

void tcg_search_run(int64_t quota)
{
    CPUState *cpu;
    SearchParty *p;

    while (quota > 0 && tcg_sched_work()) {
        int64_t deadline = qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                                      QEMU_TIMER_ATTR_ALL);
        int64_t executed, slice;
        unsigned awake = 0;

        CPU_FOREACH(cpu) {
            awake += tcg_sched_runnable(cpu);
        }
        if (deadline >= 0 &&
            (sc.stuck > STUCK * awake || (deadline == 0 && !awake))) {
            sc_trace("t\n");
            sc_warp(deadline);
            sc.stuck = 0;
            qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL);
            continue;
        }
        if (sc.options.limit && sc.insns >= sc.options.limit) {
            sc_end(EXIT_LIMIT, "limit");
        }
        cpu = sc_pick();
        if (!cpu) {
            return;
        }
        p = sc_party(cpu);
        if (cpu != sc.cpu) {
            if (sc.cpu && !tcg_sched_runnable(sc.cpu)) {
                sc_drain_all(sc.cpu);
            }
            sc_trace("s %d\n", cpu->cpu_index);
            if (sc.cpu) {
                sc_withdraw(sc.cpu);
            }
            sc.cpu = cpu;
            sc_restore(cpu);
            p->pauses = 0;
            p->reads = 0;
            p->watched = 0;
        }
        /* Woken by an interrupt, or because nobody else can go on */
        p->spins = false;
        slice = p->in_guest ? GUEST_SLICE : SLICE;
        current_cpu = cpu;
        executed = tcg_sched_exec(cpu, MAX(slice - p->slice, 1));
        current_cpu = NULL;
        sc.insns += executed;
        quota -= MAX(executed, 1);
        p->slice = p->had_event ? 0 : p->slice + executed;
        p->had_event = false;
        if (p->slice >= (p->in_guest ? GUEST_SLICE : SLICE) &&
            !sc.force && !p->spins) {
            p->slice = 0;
            sc_spin(cpu, 0);
        }
        /* In a guest @cpu has no address of the kernel's. */
        for (unsigned i = NR_FIXED; p->spins && !p->in_guest &&
             i < sc.nr_objects; i++) {
            if (p->watched & sc_bit(i)) {
                p->left[i] = sc_checksum(cpu, i);
            }
        }
    }
}
