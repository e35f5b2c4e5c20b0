# SPDX-License-Identifier: GPL-2.0-only
#
# usage: model.py CPUS WORDS STEPS BOUND PROGRAMS [ipi] [tso] | wait
#
# Does scripts/search.py miss an interleaving?  Random programs run on a toy machine, which
# writes the traces that tcg-search.c writes: once with all scripts of choices that the
# bound allows, and once with those that the search takes.  Both have to see the same
# outcomes, i.e. what each read has returned and what is in memory at the end.  Exit 1 if
# the search lacks one, and print the program.

import os
import random
import sys
import types

sys.dont_write_bytecode = True
sys.path.insert(0, os.environ.get("SEARCH", os.path.join(os.path.dirname(__file__), "../../scripts")))
import search

FIRST = search.FENCE + 1        # of the words


class PutOff(Exception):
    pass


class Run:
    """
    One run of PROGRAMS with CHOICES; a step is r, w, add or zero of a word, spin or sleep until
    it is not 0, if0, if1, fence, or ipi.
    """

    def __init__(self, programs, handlers, words, tso, choices):
        n = len(programs)
        self.programs, self.handlers, self.tso = programs, handlers, tso
        self.choices = dict(choices)
        self.memory = [0] * words
        self.at, self.last = [0] * n, [0] * n
        self.handling, self.pending = [None] * n, [False] * n
        self.held = [set() for _ in range(n)]
        self.buffers = [[] for _ in range(n)]
        self.seen = [([], []) for _ in range(n)]    # by programs, and by handlers
        self.waits = [None] * n     # for which word
        self.spins = [False] * n
        self.current = self.force = None
        self.decisions = []
        names = ["rmp", "ipi", "fence"] + ["w%d" % i for i in range(words)]
        self.lines = ["o %d %s %x 8" % (i, name, 16 * i) for i, name in enumerate(names)]
        while self.turn():
            try:
                self.step(self.current)
            except PutOff:
                pass
        for cpu in range(n):
            self.drain(cpu, len(self.buffers[cpu]))
        self.lines.append("end passed decisions %d instructions 1" % len(self.decisions))
        self.outcome = repr((self.seen, self.memory))

    def mask(self):
        return sum(1 << c for c, p in enumerate(self.programs)
                   if self.pending[c] or self.handling[c] is not None or self.at[c] < len(p) and
                   (self.waits[c] is None or self.memory[self.waits[c]]))

    def decide(self, kind, cpu, mask, text):
        index = len(self.decisions)
        self.lines.append("%s %d %s" % (kind.replace("y", "f"), index, text))
        self.decisions.append((index, kind, cpu, mask))
        return self.choices.get(index)

    def turn(self):
        mask = self.mask()
        if not mask:
            return False
        cpu, self.force = self.force, None
        if cpu is None and self.current is not None and mask >> self.current & 1:
            cpu = self.current
        if cpu is None:
            n = len(self.programs)
            before = -1 if self.current is None else self.current
            chosen = next(c % n for c in range(before + 1, before + 1 + n) if mask >> c % n & 1)
            cpu = chosen
            if mask & mask - 1:
                choice = self.choices.get(len(self.decisions))
                cpu = chosen if choice is None else choice
                spins = before >= 0 and self.spins[before]
                self.decide("y" if spins else "f", cpu, mask, "%d %x %d %d" % (before, mask, cpu, spins))
        if cpu != self.current:
            if self.current is not None and not mask >> self.current & 1:
                self.drain(self.current, len(self.buffers[self.current]))
            self.current = cpu
            self.lines.append("s %d" % cpu)
        return True

    def drain(self, cpu, n):
        for word, value in self.buffers[cpu][:n]:
            self.memory[word] = value
            self.lines.append("g %d %d" % (cpu, FIRST + word))
        del self.buffers[cpu][:n]

    def event(self, cpu, obj, kind, pc):
        if (obj, pc) in self.held[cpu]:
            self.held[cpu].remove((obj, pc))
            return
        to = self.decide("d", cpu, self.mask(), "%d %d %s %x %x" % (cpu, obj, kind, pc, self.mask()))
        if to is not None and to != cpu:
            self.force = to
            self.held[cpu].add((obj, pc))
            raise PutOff

    def others(self, cpu, word):
        while self.tso:
            mask = sum(1 << c for c, b in enumerate(self.buffers) if c != cpu and word in dict(b))
            if not mask:
                return
            choice = self.decide("r", cpu, mask << search.DRAIN, "%d %d %x" % (cpu, FIRST + word, mask))
            if choice is None:
                return
            first = [w for w, _ in self.buffers[choice - search.DRAIN]].index(word)
            self.drain(choice - search.DRAIN, first + 1)

    def fence(self, cpu, pc):
        if self.buffers[cpu]:
            self.event(cpu, search.FENCE, "w", pc)
            self.drain(cpu, len(self.buffers[cpu]))

    def step(self, cpu):
        if self.pending[cpu] and self.handling[cpu] is None:
            self.pending[cpu], self.handling[cpu] = False, 0
            self.held[cpu].clear()
            self.drain(cpu, len(self.buffers[cpu]))
        inside = self.handling[cpu] is not None
        at = self.handling[cpu] if inside else self.at[cpu]
        program = self.handlers[cpu] if inside else self.programs[cpu]
        what, arg = program[at]
        pc = 0x1000 * (cpu + 1) + 0x100 * inside + at
        skip = 0
        if what in ("if0", "if1"):
            skip = arg if bool(self.last[cpu]) == (what == "if1") else 0
        elif what == "fence":
            self.fence(cpu, pc)
        elif what == "ipi":
            self.fence(cpu, pc)
            self.event(cpu, search.IPI, "w", pc)
            self.lines.append("a %d %d w 0 %x IPI" % (cpu, search.IPI, pc))
            self.pending[arg] = True
        else:
            self.access(cpu, what, arg, pc, inside)
            self.waits[cpu], self.spins[cpu] = None, False
            if what in ("spin", "sleep") and not self.memory[arg]:
                self.waits[cpu], self.spins[cpu] = arg, what == "spin"
                self.lines += ["p %d" % cpu] * (what == "spin")
                return
        if not inside:
            self.at[cpu] += 1 + skip
        else:
            self.handling[cpu] = at + 1 if at + 1 < len(program) else None

    def access(self, cpu, what, word, pc, inside):
        if what == "add":
            self.fence(cpu, pc)
        writes = what in ("w", "zero")
        self.event(cpu, FIRST + word, "w" if writes else "r", pc)
        self.others(cpu, word)
        value = dict(self.buffers[cpu]).get(word, self.memory[word])
        text = "%d %d %%s %x %x" % (cpu, FIRST + word, value, pc)
        if not writes:
            self.lines.append("a " + text % "r")
            self.seen[cpu][inside].append(value)
            if not inside:
                self.last[cpu] = value
        if what == "add":
            self.lines.append("a " + text % "w")
            self.memory[word] = value + 1
        elif writes:
            new = pc if what == "w" else 0
            keep = bool(self.buffers[cpu])
            if self.tso and not keep:
                keep = self.decide("b", cpu, 1 << search.KEEP, "%d %d %x" % (cpu, FIRST + word, pc)) is not None
            self.lines.append("a " + text % ("b" if keep else "w"))
            if keep:
                self.buffers[cpu].append((word, new))
            else:
                self.memory[word] = new


def all_outcomes(run, bound):
    """What all scripts see with at most BOUND preemptions; None if there are too many."""
    outcomes, stack, n = {}, [((), 0)], 0
    while stack:
        choices, cost = stack.pop()
        n += 1
        if n > 50000:
            return None
        r = run(choices)
        outcomes.setdefault(r.outcome, choices)
        for index, kind, cpu, mask in r.decisions:
            if not choices or index > choices[-1][0]:
                for other in range(mask.bit_length()):
                    if other != cpu and mask >> other & 1 and cost + (kind in "dy") <= bound:
                        stack.append((choices + ((index, other),), cost + (kind in "dy")))
    return outcomes


class Search(search.Search):
    """The search, with a toy in the place of the emulator"""

    def __init__(self, run, bound, tso):
        self.args = types.SimpleNamespace(tso=tso, bound=bound, parallel=1, all=True, shard=(1, 1))
        self.case, self.out, self.results, self.known = "toy", "", os.devnull, {}
        self.toy, self.sent, self.outcomes = run, [], set()

    def send(self, choices, **more):
        self.sent.append(choices)
        return "run"

    def wait(self, where=lambda path: ()):
        r = self.toy(self.sent.pop())
        self.outcomes.add(r.outcome)
        return "run", search.Trace(r.lines, *where("run"), tso=self.args.tso), "passed", "-", 1


def program(rng, me, cpus, words, steps, ipi, tso, wait):
    def step():
        kind = rng.choices(("r", "w", "add", "if0", "fence", "ipi", "zero", "spin", "sleep"),
                           (8, 8, 1, 3, tso, ipi, 2 * wait, 2 * wait, 2 * wait))[0]
        if kind == "if0":
            return kind, rng.randrange(1, 3)
        if kind == "ipi":
            return kind, rng.choice([c for c in range(cpus) if c != me])
        return kind, rng.randrange(words)
    # A CPU that sleeps empties its buffer: at an event of its own.
    return [step() for _ in range(steps)] + [("fence", 0)] * tso


def main():
    cpus, words, steps, bound, n = map(int, sys.argv[1:6])
    ipi, tso, wait = "ipi" in sys.argv, "tso" in sys.argv, "wait" in sys.argv
    every = taken = skipped = 0
    # Found by hand: what is shared turns out in the middle of a row of events.
    special = [[("w", 0), ("w", 1), ("w", 2), ("w", 3)],
               [("r", 0), ("if0", 4), ("r", 3), ("if1", 2), ("r", 2), ("if1", 1), ("r", 1)]]
    for seed in range(n):
        rng = random.Random(seed)
        programs = [program(rng, c, cpus, words, steps, ipi, tso, wait) for c in range(cpus)]
        # No word of its CPU's program, see docs/schedule.md, "What it does not enumerate"
        free = [sorted(set(range(words)) - {w for k, w in p if k in ("r", "w", "add")}) for p in programs]
        handlers = [[(rng.choice("rw"), rng.choice(f))] if f else [("if0", 1)] for f in free]
        if not seed and words >= 4 and not tso:
            programs[:2] = special
        run = lambda choices: Run(programs, handlers, words, tso, choices)
        outcomes = all_outcomes(run, bound)
        if outcomes is None:
            skipped += 1        # more than can be tried
            continue
        s = Search(run, bound, tso)
        s.run()
        every, taken = every + len(outcomes), taken + s.runs
        missed = sorted(set(outcomes) - s.outcomes)
        if missed:
            print("program %d: %d of %d outcomes missed: %s, handlers %s" % (
                seed, len(missed), len(outcomes), programs, handlers))
            print("the first: %s, by choices %s" % (missed[0], search.text(outcomes[missed[0]])))
            sys.exit(1)
    print("%d programs, %d outcomes, %d runs" % (n - skipped, every, taken))
    sys.exit(taken == 0 or skipped > n // 10)


main()
