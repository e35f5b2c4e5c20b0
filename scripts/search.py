# SPDX-License-Identifier: GPL-2.0-only
#
# Called by scripts/search: enumerate the interleavings of rounds, see docs/schedule.md.

import argparse
import bisect
import collections
import hashlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time

import races

# gdb's numbers of the registers with a function's first arguments
ARGUMENT = {1: 5, 2: 4, 3: 3}
BEGIN = "__x64_sys_getpgrp"
LIMIT = 60000000
ALARM = 60
# Objects that are no words; what may be chosen besides a CPU: see tcg-search.c.
RMP, IPI, FENCE = 0, 1, 2
KEEP, DRAIN = 32, 64


def say(text):
    print(text, file=sys.stderr, flush=True)


class Broken(Exception):
    pass


class Server:
    """A machine that is forked: emulator/accel/tcg/tcg-fork.c."""

    def __init__(self, path):
        self.path = path
        for end in ".in", ".out":
            if os.path.exists(path + end):
                os.unlink(path + end)
            os.mkfifo(path + end)
        self.to = os.open(path + ".in", os.O_RDWR)
        self.back = os.open(path + ".out", os.O_RDWR)
        self.rest = b""

    def send(self, path, options, *words):
        text = json.dumps(options, separators=(",", ":"))
        line = (" ".join([path, *words, text]) + "\n").encode()
        while line:
            line = line[os.write(self.to, line):]

    def line(self, timeout, alive=None):
        until = time.monotonic() + timeout
        while b"\n" not in self.rest:
            if alive and not alive():
                raise Broken("the emulator ended, see its qemu.log")
            if time.monotonic() > until:
                raise Broken("no answer from the emulator in %d s" % timeout)
            if select.select([self.back], [], [], 0.5)[0]:
                self.rest += os.read(self.back, 65536)
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def close(self):
        os.close(self.to)
        os.close(self.back)


def new_dir(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    # Only once a file is there is it this machine's.
    for log in "console.log", "ktap.log", "qemu.log":
        open(os.path.join(path, log), "w").close()
    return path


def spec(words, symbols):
    """The options words= of x-sched, and symbols= for the functions that they need."""
    parts, functions = [], {symbols[BEGIN]}
    for line in words:
        name, size, function, argument, *offsets = line.split()
        if function not in symbols:
            raise Broken("the kernel has no function %s, see vm/words.c" % function)
        functions.add(symbols[function])
        parts.append({"name": name, "size": int(size), "symbol": int(symbols[function], 16),
                      "register": ARGUMENT[int(argument)], "offsets": [int(o) for o in offsets]})
    return {"words": parts, "symbols": [{"first": int(f, 16)} for f in sorted(functions)]}


class Machine:
    """One that has booted and stands at the beginning of CASE's round."""

    def __init__(self, args, case, smp, parties, out):
        self.dir = out
        boot = new_dir(os.path.join(out, "boot"))
        start = new_dir(os.path.join(out, "round"))
        self.boot = Server(os.path.join(boot, "server"))
        self.round = Server(os.path.join(start, "server"))
        with open(os.path.join(args.out, "machine-%d" % smp)) as f:
            machine = [x.replace("@BOOT@", self.boot.path) for x in f.read().splitlines()]
        log = open(os.path.join(boot, "qemu.log"), "w")
        self.qemu = subprocess.Popen(
            [os.path.join(args.qemu, "qemu-system-x86_64")] + machine +
            ["-kernel", os.path.join(args.kernel, "bzImage"),
             "-initrd", os.path.join(args.out, "initramfs.cpio"),
             "-append", args.cmdline + " snp_case=" + case,
             "-serial", "file:%s/console.log" % boot, "-serial", "file:%s/ktap.log" % boot],
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        alive = lambda: self.qemu.poll() is None
        self.boot.line(300, alive)
        text = subprocess.run([args.symbols, args.kernel, os.path.join(boot, "ktap.log")],
                              capture_output=True, text=True, check=True).stdout
        self.symbols = {}
        self.functions = []
        for line in text.splitlines():
            at, name = line.split()
            self.symbols.setdefault(name, at)
            self.functions.append((int(at, 16), name))
        self.functions.sort()
        with open(args.words) as f:
            words = spec(f.read().splitlines(), self.symbols)
        self.boot.send(start, {"server": self.round.path, "begin": int(self.symbols[BEGIN], 16),
                               "parties": parties, "round-limit": LIMIT, "limit": 0,
                               "tso": args.tso, **words})
        self.round.line(300, self.not_over)

    def not_over(self):
        """Before the round the copy should not end."""
        if select.select([self.boot.back], [], [], 0)[0]:
            raise Broken("the case ended before its round: %s" % os.path.join(self.dir, "round"))
        return self.qemu.poll() is None

    def where(self, pc):
        i = bisect.bisect(self.functions, pc, key=lambda f: f[0])
        return self.functions[i - 1][1] if i else "%x" % pc

    def end(self):
        for server in self.round, self.boot:
            server.close()
        self.qemu.terminate()
        try:
            self.qemu.wait(10)
        except subprocess.TimeoutExpired:
            self.qemu.kill()
            self.qemu.wait()


def digest(*parts):
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


class Trace:
    """What one run has written, and the hashes of its happens-before relation."""

    def __init__(self, lines, last=-1, since=-1, tso=False):
        self.objects = {}
        self.sizes = {}
        # index, kind, cpu, choices, hash of what was before, object, does it write, turn
        self.decisions = []
        self.window = {}        # since that preemption, see Search.chain()
        self.inside = -1        # the last free choice in it
        self.users = collections.defaultdict(lambda: [0, 0])    # masks: who reads, who writes
        self.lines = []
        self.why = None
        self.broken = None
        self.instructions = 0
        self.cpus = cpus = collections.defaultdict(lambda: "")
        self.write = write = collections.defaultdict(lambda: "")
        self.reads = reads = collections.defaultdict(int)
        # With store buffers: what is in them, who wrote a word last, and what
        self.buffers = buffers = collections.defaultdict(list)
        self.owner = {}
        stored = {}
        current = None
        turn = 0
        preempted = None        # whose preemption is the last of the choices
        away = False            # and has it lost its turn since?
        at = {}                 # where each CPU is behind its last access
        before = None           # the hash of all so far

        def state(index, *more):
            nonlocal before
            if index <= last:
                return None     # the run that this one branches off from has it
            if not before:
                before = digest(sorted(cpus.items()), current, sorted(at.items()))
            return digest(before, *more)

        for line in lines:
            w = line.split()
            if not w:
                continue
            if w[0] == "o" and len(w) == 5:
                self.objects[int(w[1])], self.sizes[int(w[1])] = w[2], int(w[4])
                continue
            if w[0] not in ("d", "f", "s", "a", "b", "r", "g", "p", "t", "x", "end") or w[0] == "r" and len(w) == 4:
                continue
            self.lines.append(w)
            if w[0] == "d":
                index, cpu, obj = int(w[1]), int(w[2]), int(w[3])
                mask = int(w[6], 16)
                at[cpu], before = "d" + w[5], None
                full = any(buffers.values())
                if index == since:
                    preempted, away = cpu, False
                    if full:
                        self.window["any"] = 1
                self.decisions.append((index, "d", cpu, mask, state(index, cpu, obj, w[4], w[5], mask), obj,
                                       w[4] == "w", -1 - index if full else turn))
            elif w[0] in "br":
                index, cpu, obj = int(w[1]), int(w[2]), int(w[3])
                mask = 1 << KEEP if w[0] == "b" else int(w[4], 16) << DRAIN
                # If another CPU has the word buffered, keeping this store swaps the two.
                both = any(obj == o for c in buffers for o, _ in buffers[c] if c != cpu)
                if preempted is not None and (both or w[0] == "r"):
                    self.window["any"] = 1
                self.decisions.append((index, w[0], cpu, mask, state(index, cpu, obj, w[0], mask), obj, True,
                                       -1 - index if both else turn))
            elif w[0] == "f":
                mask = int(w[3], 16)
                at[int(w[2])], before = "f", None
                # A CPU that spins could go on.
                kind = "y" if w[5] == "1" else "f"
                if preempted is not None:
                    self.inside = int(w[1])
                self.decisions.append((int(w[1]), kind, int(w[4]), mask, state(int(w[1]), kind, mask), -1, False, turn))
            elif w[0] == "s":
                current, before = int(w[1]), None
                away = True
                if at.get(current, "")[:1] in ("", "p", "f"):
                    at[current] = "s"
                turn += 1
            elif w[0] == "p":
                at[int(w[1])], before = "p", None
            elif w[0] == "a":
                before = None
                at[int(w[1])] = "a"
                cpu, obj = int(w[1]), int(w[2])
                writes = w[3] != "r"
                self.users[obj][writes] |= 1 << cpu
                if writes:
                    i = len(self.decisions) - 1
                    while i > 0 and self.decisions[i][1] in "br":
                        i -= 1
                    d = self.decisions[i] if i >= 0 else ("",) * 8
                    if d[1] == "d" and d[2] == cpu and d[5] == obj and not d[6]:
                        self.decisions[i] = d[:6] + (True, d[7])
                if preempted == cpu and away:
                    preempted = None
                elif preempted == cpu:
                    # An interrupt has ended the guest before the turn.
                    self.window["any"] = 1
                elif preempted is not None:
                    if obj == IPI:
                        self.window["any"] = 1
                    self.window[obj] = self.window.get(obj, 0) | writes
                if obj == IPI:
                    # Where it comes in between matters to all.
                    both = digest(sorted(cpus.items()), cpu)
                    for c in list(cpus) + [cpu]:
                        cpus[c] = digest(cpus[c], both)
                elif tso and obj > FENCE:
                    if writes:
                        cpus[cpu] = stored[cpu, obj] = digest(cpus[cpu], obj, "w")
                        buffers[cpu].append((obj, cpus[cpu]))
                        if w[3] == "w":
                            self.drain(cpu)
                    elif self.owner.get(obj) == cpu or obj in dict(buffers[cpu]):
                        cpus[cpu] = digest(cpus[cpu], stored[cpu, obj], obj, "r")
                    else:
                        cpus[cpu] = digest(cpus[cpu], write[obj], obj, "r")
                        reads[obj] += int(cpus[cpu], 16)
                elif not writes:
                    cpus[cpu] = digest(cpus[cpu], write[obj], obj, "r")
                    reads[obj] += int(cpus[cpu], 16)
                else:
                    cpus[cpu] = digest(cpus[cpu], write[obj], reads[obj], obj, "w")
                    write[obj], reads[obj] = cpus[cpu], 0
            elif w[0] == "g":
                if preempted is not None:
                    self.window["any"] = 1
                before = None
                self.drain(int(w[1]))
            elif w[0] == "t":
                if preempted is not None:
                    self.window["any"] = 1
                before = None
                both = digest(sorted(cpus.items()), "t")
                for c in cpus:
                    cpus[c] = digest(cpus[c], both)
            elif w[0] == "x":
                self.broken = w[1]
            elif w[0] == "end":
                self.why = w[1]
                self.instructions = int(w[5])
        self.hash = digest(sorted(cpus.items()))
        if not self.why:
            self.window["any"] = 1

    def drain(self, cpu):
        """The oldest store of a CPU gets to memory: an event of a thread of its own, the buffer."""
        obj, store = self.buffers[cpu].pop(0)
        at = -1 - cpu
        self.cpus[at] = digest(self.cpus[at], store, self.write[obj], self.reads[obj])
        self.write[obj], self.reads[obj], self.owner[obj] = self.cpus[at], 0, cpu


def judge(path, how, code, trace, complaint, harmless):
    """passed or failed or unclear, and why; the two patterns are vm/klog.sh's"""
    with open(os.path.join(path, "console.log"), errors="replace") as f:
        complaint = [l for l in f if complaint.search(l) and not harmless.search("1:" + l)]
    if trace.broken:
        return "failed", trace.broken
    if complaint:
        return "failed", re.sub(r"^\[ *[0-9.]*\] *", "", complaint[0].strip()).replace(" ", "_")
    if how == "exit" and code == 3:
        return "failed", "no-end:" + str(trace.why)
    if how == "exit" and code == 0 and trace.why == "passed":
        return "passed", "-"
    if how == "exit" and code == 0:
        with open(os.path.join(path, "ktap.log"), errors="replace") as f:
            said = [l.strip() for l in f if re.match(r"# .*vCPU|not ok|  .*:[0-9]+: ", l.strip())]
        return "failed", (said[0] if said else "test").replace(" ", "_")
    return "unclear", "%s:%s:%s" % (how, code, trace.why)


def text(choices):
    return "+".join("%d:%d" % c for c in choices)


class Chain:
    """
    The last preemption that there may be, by the same CPU before one of these events in a
    row.  They are tried from the last one back, each with all free choices that others have
    until the preempted CPU is back.  WINDOW is what they do in these runs.  Events that have
    nothing to do with that may as well be in front of it, which is the same interleaving.
    """

    def __init__(self, choices, price, other, events):
        self.choices, self.price, self.other, self.events = choices, price, other, list(events)
        self.window, self.mask, self.obj, self.open = {"any": 1}, 0, -1, 0


class Search:
    def __init__(self, args, case, smp, parties):
        self.args, self.case, self.smp, self.parties = args, case, int(smp), int(parties)
        self.out = os.path.join(args.out, case + ("-tso" if args.tso else ""))
        os.makedirs(self.out, exist_ok=True)
        self.results = os.path.join(self.out, "results.jsonl")
        self.drawn = os.path.join(self.out, "interleaving.json")
        self.known = {}
        self.seconds = 0.0
        with open(__file__, "rb") as f:
            key = "%s %s %s\n" % (args.key, parties, hashlib.sha256(f.read()).hexdigest())
        keyfile = os.path.join(self.out, "key")
        old = open(keyfile).read() if os.path.exists(keyfile) else None
        if args.fresh or old != key:
            for name in os.listdir(self.out):
                if name.startswith(("failed-", "unclear-")):
                    shutil.rmtree(os.path.join(self.out, name))
            for path in self.results, self.drawn:
                if os.path.exists(path):
                    os.unlink(path)
            with open(keyfile, "w") as f:
                f.write(key)
        elif os.path.exists(self.results):
            with open(self.results, "r+") as f:
                good = 0
                for line in iter(f.readline, ""):
                    if line.endswith("\n"):
                        run = json.loads(line)
                        good = f.tell()
                        if run["verdict"] != "unclear":
                            self.known[run["choices"]] = run
                f.truncate(good)    # half a line of one that was killed
        self.machine = None
        self.free = None        # folders for runs

    def start(self):
        if not self.machine:
            begin = time.monotonic()
            self.machine = Machine(self.args, self.case, self.smp, self.parties, self.out)
            say("%s: at the beginning of its round after %.1f s" % (self.case, time.monotonic() - begin))

    def send(self, choices, **more):
        self.start()
        if not self.free:
            self.free = [new_dir(os.path.join(self.out, "run-%d" % i)) for i in range(self.args.parallel)]
        path = self.free.pop()
        self.machine.round.send(path, {"choices": [{"at": at, "cpu": cpu} for at, cpu in choices],
                                       **more}, "alarm=%d" % ALARM)
        return path

    def wait(self, where=lambda path: ()):
        path, how, code, ms = self.machine.round.line(ALARM + 60, self.machine.not_over).split()
        with open(os.path.join(path, "qemu.log"), errors="replace") as f:
            trace = Trace(f.read().splitlines(), *where(path), tso=self.args.tso)
        verdict, why = judge(path, how, int(code), trace, self.args.complaint, self.args.harmless)
        self.free.append(path)
        return path, trace, verdict, why, int(ms)

    # ---- the enumeration ----

    def run(self):
        """All of it up to the bound; returns the first failure, or None."""
        begin = time.monotonic()
        self.seen = {}
        self.users = collections.defaultdict(lambda: [0, 0])
        self.shared = set()
        self.chains = {}        # by the run with the preemption
        self.chain_of = {}      # by any run that differs from it in free choices of others
        self.begun = {}
        self.skipped = self.pruned = self.apart = 0
        self.branches = []      # of all runs: choices, cost, decisions that are theirs
        self.classes = set()
        self.runs = self.unclear = 0
        self.first = None
        self.milliseconds = 0
        self.per_level = []
        levels = collections.defaultdict(list)
        levels[0] = [((), 0)]
        for cost in range(self.args.bound + 1):
            stack = self.stack = levels.pop(cost, [])
            if cost == self.args.bound:
                stack[:] = [e for e in stack if self.mine(e[0])]
            self.level = cost
            done = 0
            flying = {}
            said = time.monotonic()
            while stack or flying:
                if self.first and not self.args.all:
                    del stack[:]
                while stack and len(flying) < self.args.parallel:
                    choices, cost_of = stack.pop()
                    run = self.known.get(text(choices))
                    if run:
                        done += 1
                        self.take(choices, cost_of, run, levels)
                        continue
                    flying[self.send(choices)] = choices, cost_of
                if flying:
                    path, trace, verdict, why, ms = self.wait(lambda p: self.where(flying[p][0]))
                    choices, cost_of = flying.pop(path)
                    last = self.where(choices)[0]
                    run = {"choices": text(choices), "verdict": verdict, "why": why, "ms": ms,
                           "hash": trace.hash, "instructions": trace.instructions,
                           "decisions": [d for d in trace.decisions if d[0] > last], "users": list(trace.users.items()),
                           "window": [[str(o), n] for o, n in trace.window.items()], "inside": trace.inside}
                    with open(self.results, "a") as f:
                        f.write(json.dumps(run, separators=(",", ":")) + "\n")
                    if verdict != "passed":
                        kept = os.path.join(self.out, verdict + "-" + digest(choices))
                        shutil.rmtree(kept, ignore_errors=True)
                        os.rename(path, kept)
                        new_dir(path)
                    done += 1
                    was = self.first
                    self.take(choices, cost_of, run, levels)
                    if self.first != was:
                        self.keep(trace, cost_of, choices, why)
                if time.monotonic() - said > 10:
                    said = time.monotonic()
                    rate = self.runs / (said - begin)
                    say("%s: %d preemptions: %d runs, %d to go as far as is known, %.1f/s, about %d s; "
                        "%d for %d preemptions" % (self.case, cost, done, len(stack), rate,
                        len(stack) / max(rate, 0.01), len(levels[cost + 1]), cost + 1))
            self.per_level.append(done)
            if self.first and not self.args.all:
                break
        self.seconds = time.monotonic() - begin
        return self.first

    def where(self, choices):
        """The last choice, and the preemption that the run's window begins with"""
        last = choices[-1][0] if choices else -1
        return last, self.chain_of.get(choices, choices)[-1][0] if choices else -1

    def mine(self, choices):
        """Does the branch that begins so belong to this part of the search?"""
        i, n = self.args.shard
        return int(digest(choices), 16) % n == i - 1

    def take(self, choices, cost, run, levels):
        """What a run says, and what else can be done in it."""
        self.runs += 1
        self.milliseconds += run["ms"]
        self.classes.add(run["hash"])
        if run["verdict"] == "failed":
            if not self.first:
                self.first = (cost, choices, run)
        elif run["verdict"] != "passed":
            self.unclear += 1
        end = run["hash"], run["verdict"]
        mine, apart = [], False
        root = self.chain_of.get(choices)
        chain = self.chains.get(root)
        for index, kind, cpu, mask, state, obj, writes, turn in run["decisions"]:
            # The same state and end, with at least as many preemptions left
            known = self.seen.setdefault(state, {})
            if known.get(end, 1 << 30) <= cost:
                self.pruned += 1
                if chain and index <= run["inside"]:
                    # What others do behind it is not this run's to tell.
                    chain.window["any"] = 1
                break
            apart |= bool(known) and end not in known
            known[end] = cost
            mine.append((index, kind, cpu, mask, obj, writes, turn))
        self.apart += apart
        self.branches.append((choices, cost, mine))
        self.branch(choices, cost, mine, None, levels, chain, run["inside"])
        if chain:
            for obj, writes in run["window"]:
                chain.window[obj] = chain.window.get(obj, 0) | writes
            chain.open -= 1
            del self.chain_of[choices]
            if not chain.open:
                del self.chains[root]
                self.chain(chain, levels)

        # An object that only one CPU writes and no other one reads is no reason to switch,
        # until that turns out to be wrong: then it was one in all runs before, too.
        new = set()
        for obj, (readers, writers) in run["users"]:
            users = self.users[obj]
            users[0] |= readers
            users[1] |= writers
            everybody = users[0] | users[1]
            if users[1] and everybody & (everybody - 1) and obj not in self.shared:
                new.add(obj)
        if new:
            self.shared |= new
            for choices, cost, mine in self.branches:
                self.branch(choices, cost, mine, new, levels)

    def branch(self, choices, cost, mine, new, levels, chain=None, inside=-1):
        chains = collections.defaultdict(list)
        for index, kind, cpu, mask, obj, writes, turn in mine:
            others = [c for c in range(mask.bit_length()) if c != cpu and mask >> c & 1]
            if kind == "d" and cost == self.args.bound - 1:
                # Of the last preemption the window decides, whether or not the word is shared.
                for other in others:
                    chains[turn, other].append((index, obj, writes, mask))
                continue
            if new is not None and (kind not in "dbr" or obj not in new):
                continue
            # In front of another one's buffer (turn < 0) any event may matter.
            if kind in "dbr" and obj not in self.shared and obj > FENCE and turn >= 0:
                continue
            if kind == "b" and cost == self.args.bound and turn >= 0:
                # Nobody can look before it is in memory.
                continue
            price = cost + (kind in "dy")
            if price <= self.args.bound:
                for other in others:
                    child = choices + ((index, other),)
                    if chain and kind == "f" and index <= inside:
                        chain.open += 1
                        self.chain_of[child] = self.chain_of[choices]
                    self.push(child, price, levels)
        for (turn, other), events in chains.items():
            while events and turn >= 0 and events[-1][1] not in self.shared and events[-1][1] > FENCE:
                events.pop()
            # Those up to where an earlier chain began have been seen to.
            begun = self.begun.get((choices, turn, other), -1)
            if events and events[-1][0] > begun:
                self.begun[choices, turn, other] = events[-1][0]
                self.chain(Chain(choices, cost + 1, other, [e for e in events if e[0] > begun]), levels)

    def push(self, child, price, levels):
        (self.stack if price <= self.level else levels[price]).append((child, price))

    def chain(self, chain, levels):
        """
        Try the next preemption of CHAIN: the last one before an event that has something to
        do with what others did in any run with the one that was tried before.
        """
        while chain.events:
            index, obj, writes, mask = chain.events.pop()
            window = chain.window
            # What is sent is queued between an IPI and the event before it.
            if ("any" in window or mask != chain.mask or IPI in (obj, chain.obj) or
                    str(obj) in window and (writes or window[str(obj)])):
                child = chain.choices + ((index, chain.other),)
                self.chains[child], self.chain_of[child] = chain, child
                chain.window, chain.mask, chain.obj, chain.open = {}, mask, obj, 1
                self.push(child, chain.price, levels)
                return
            self.skipped += 1

    # ---- one interleaving ----

    def replay(self, choices):
        path = self.send(choices)
        path, trace, verdict, why, ms = self.wait()
        print("%s %s: %s (%s), %d instructions, %d ms; logs: %s" % (
            self.case, text(choices) or "-", verdict, why, trace.instructions, ms, path))
        kept = os.path.join(self.out, verdict + "-" + digest(choices), "qemu.log")
        if os.path.exists(kept):
            same = open(kept).read() == open(os.path.join(path, "qemu.log")).read()
            print("the same run, byte for byte" if same else "NOT the run that the search saw")
        print(self.lanes(trace))
        cost = sum(d[1] in "dy" for d in trace.decisions if d[0] in dict(choices))
        self.keep(trace, cost, choices, why)
        print("drawn: scripts/draw svg %s" % self.drawn)
        return verdict

    def races(self, quiet=False):
        """What the list of words lacks, as far as runs without a preemption can tell."""
        rows, nr, listed = {}, 0, 0
        self.send(())
        trace = self.wait()[1]
        self.objects = trace.objects
        runs = [()] + [((0, c),) for i, k, cpu, mask, state, o, x, y in trace.decisions[:1] if k == "f"
                       for c in range(32) if c != cpu and mask >> c & 1]
        for choices in runs:
            path = self.send(choices, races=True)
            verdict, why = self.wait()[2:4]
            if verdict == "unclear" or quiet and verdict != "passed":
                raise Broken("the race detector's run %s: %s" % (verdict, why))
            with open(os.path.join(path, "qemu.log"), errors="replace") as f:
                more, l, n = races.report(f.read().splitlines(), self.machine.where)
            nr, listed = nr + n, listed + l
            for place, (n, functions) in more.items():
                row = rows.setdefault(place, [0, set()])
                row[0] += n
                row[1] |= functions
        if quiet:
            return rows
        print("%s: %d runs without preemption, %d accesses to the kernel's memory; pairs that conflict "
              "and that nothing orders: %d at listed words, and" % (self.case, len(runs), nr, listed))
        for (place, atomic), (n, functions) in sorted(rows.items(), key=lambda r: (r[0][0] == "elsewhere", r[0])):
            some = sorted(functions)
            print("  %-28s %s %4d  %s%s" % (place, "atomic" if atomic else "plain ", n,
                  "; ".join(some[:12 if place == "elsewhere" else 3]),
                  "; and %d more" % (len(some) - 12) if place == "elsewhere" and len(some) > 12 else ""))
        return rows

    def again(self, cost, choices):
        return "make explore BOUND=%d %sKERNEL=%s CASE=%s CHOICES=%s" % (
            cost, "TSO=1 " if self.args.tso else "", self.args.name, self.case, text(choices) or "-")

    def keep(self, trace, cost, choices, why):
        """What scripts/draw draws."""
        steps, chosen = [], dict(choices)
        for w in trace.lines:
            if w[0] == "a":
                obj = int(w[2])
                steps.append((w[3], int(w[1]), trace.objects[obj], "0x" + w[4] if 0 < trace.sizes[obj] <= 8 else None,
                              self.machine.where(int(w[5], 16)), w[6] if len(w) > 6 else ""))
            elif w[0] == "d" and chosen.get(int(w[1]), KEEP) < KEEP:
                steps.append(("preempted", int(w[2])))
            elif w[0] == "g":
                steps.append(("g", int(w[1]), trace.objects[int(w[2])]))
            elif w[0] in "sp":
                steps.append((w[0], int(w[1])))
        if trace.broken or why != "-":
            steps.append(("x", why))
        with open(self.drawn + ".new", "w") as f:
            json.dump({"scenario": self.case, "kernel": self.args.name, "why": why, "preemptions": cost,
                       "again": self.again(cost, choices), "steps": steps}, f)
        os.rename(self.drawn + ".new", self.drawn)

    def lanes(self, trace):
        cpus = sorted({int(w[1]) for w in trace.lines if w[0] in "as"})
        width = 36
        rows = ["".join(("CPU %d" % c).ljust(width) for c in cpus).rstrip()]
        for w in trace.lines:
            cell = None
            if w[0] == "a":
                cpu, obj = int(w[1]), trace.objects[int(w[2])]
                cell = "%s %s%s  %s" % ({"r": "read", "w": "write", "b": "keep"}[w[3]], obj,
                    "" if obj in ("rmp", "ipi") else "=" + short(w[4]), self.machine.where(int(w[5], 16)))
            elif w[0] == "p":
                cpu, cell = int(w[1]), "(waits)"
            elif w[0] == "g":
                cpu, cell = int(w[1]), "drain " + trace.objects[int(w[2])]
            elif w[0] == "t":
                rows.append("-- timers --")
            elif w[0] == "x":
                rows.append("<== " + w[1])
            if cell:
                rows.append(("".join(" " * width for c in cpus if c < cpu) + cell).rstrip())
        return "\n".join(rows)

    def close(self):
        if self.machine:
            self.machine.end()


def unlisted(rows, path):
    """In a sentence, what the race detector has found, and whether vm/races has a reason for it"""
    known = collections.defaultdict(list)
    with open(path) as f:
        for line in f:
            if line[0] != "#":
                place, functions, why = line.split("\t")
                known[place].append(functions)
    pairs = {(place, pair) for (place, atomic), (n, pairs) in rows.items() for pair in pairs}
    rest = sorted("%s in %s" % (pair, place) for place, pair in pairs
                  if not any(re.fullmatch("|".join(known[place.split(".")[0]]), access.split()[0])
                             for access in pair.split(" / ")))
    if not rest:
        return "%d pairs of functions, all argued in vm/races" % len(pairs) if pairs else "none"
    return "%d pairs of functions, and of these NOT ARGUED: %s" % (len(pairs), "; ".join(rest))


def short(value):
    return value[:2] + ".." + value[-4:] if len(value) > 8 else value


def main():
    p = argparse.ArgumentParser()
    for name in "qemu", "kernel", "words", "out", "name", "key", "asked", "cmdline", "complaint", "harmless", "choices", "symbols", "races-known":
        p.add_argument("--" + name)
    for name in "bound", "parallel":
        p.add_argument("--" + name, type=int)
    p.add_argument("--shard", type=lambda s: tuple(int(x) for x in s.split("/")), default=(1, 1))
    p.add_argument("--fresh", action="store_true")
    p.add_argument("--all", action="store_true")
    p.add_argument("--races", action="store_true")
    p.add_argument("--tso", action="store_true")
    p.add_argument("cases", nargs="+")
    args = p.parse_args()
    args.complaint, args.harmless = re.compile(args.complaint), re.compile(args.harmless)
    with open(args.words) as f:
        words = {line.split()[0] for line in f if line.split()[1] != "0" and line[0] != "@"}
    failed = unclear = 0
    buffers = " with store buffers" if args.tso else ""
    for case in args.cases:
        case, smp, parties = case.split(":")
        search = Search(args, case, smp, parties)
        rest = ""
        try:
            if args.races:
                search.races()
                continue
            if args.choices:
                choices = tuple(tuple(int(x) for x in c.split(":")) for c in args.choices.split("+") if c != "-")
                failed += search.replay(choices) == "failed"
                continue
            first = search.run()
            if not first and args.shard == (1, 1):
                rest = unlisted(search.races(quiet=True), args.races_known)
                watched = {name.split(".")[0] for name in search.objects.values()}
                if not words <= watched:
                    raise Broken("these words were not found: %s" % ", ".join(sorted(words - watched)))
        except Broken as e:
            say("%s: %s" % (case, e))
            sys.exit(2)
        finally:
            search.close()
        unclear += search.unclear
        levels = "+".join(str(n) for n in search.per_level)
        if first:
            failed += 1
            cost, choices, run = first
            print("scenario %s, kernel %s, %s CPUs%s: FAILS with %d preemptions: %s, run %d (%s), %.0f s" % (
                case, args.name, smp, buffers, cost, run["why"], search.runs, levels, search.seconds))
            print("again: " + search.again(cost, choices))
        elif args.shard != (1, 1):
            print("scenario %s, kernel %s, %s CPUs%s: part %d of %d with %d preemptions: %d runs (%s), %s; %.0f s" % (
                case, args.name, smp, buffers, *args.shard, args.bound, search.runs, levels,
                "%d unclear" % search.unclear if search.unclear else "none fails", search.seconds))
        else:
            print("scenario %s, kernel %s, %s CPUs%s: all interleavings with at most %d preemptions at accesses "
                  "to {%s}, IPIs with their target's next turn and timers when nobody can go on: %d runs (%s; %d known states and %d preemptions left out, %d went on otherwise), "
                  "%d classes, %s; unlisted conflicting accesses: %s; %.0f s, %d ms a run" % (
                  case, args.name, smp, buffers, args.bound, ", ".join(sorted(words) + ["rmp", "ipi"]),
                  search.runs, levels, search.pruned, search.skipped, search.apart, len(search.classes),
                  "%d unclear" % search.unclear if search.unclear else "none fails", rest,
                  search.seconds, search.milliseconds / max(search.runs, 1)))
        sys.stdout.flush()
    if unclear:
        sys.exit(2)
    if args.races:
        sys.exit(0)
    sys.exit(0 if bool(failed) == (args.asked == "fails") else 1)


if __name__ == "__main__":
    main()
