# SPDX-License-Identifier: GPL-2.0-only
"""One interleaving of a search (interleaving.json of scripts/search): a lane for each CPU,
time goes down, and arrows are what the happens-before relation has besides the lanes."""
import collections, html, json

TURN, STEP, FOLD, SHOWN = 26, 33, 18, 70


class Event:
    def __init__(self, cpu, kind, obj="", value=None, where="", what=""):
        self.cpu, self.kind, self.obj, self.value, self.where, self.what = cpu, kind, obj, value, where, what
        self.after = None           # what a write has left there
        self.sources = []           # events that are before it, in other lanes
        self.buffered = None        # of a store that gets to memory: the event that it was
        self.shown = self.preempted = False
        self.folded = 0

    def writes(self):
        return self.kind in "wug"

    def title(self):
        short = lambda v: "?" if v is None else v if len(v) < 15 else v[:2] + ".." + v[-4:]
        if self.kind == "x":
            return self.what
        if self.kind == "p":
            return "waits"
        if self.what:
            return "sends an IPI" if self.what == "IPI" else self.what
        if self.kind == "g":
            return f"the store to {self.obj} gets to memory"
        text = {"r": "reads", "w": "writes", "u": "updates", "b": "keeps its store to"}[self.kind] + " " + self.obj
        if self.value is None:
            return text
        if self.kind == "r":
            return f"{text} = {short(self.value)}"
        changed = int(self.value, 16) ^ int(self.after, 16) if self.after is not None else 0
        if self.obj.startswith("requests") and changed and not changed & changed - 1:
            return f"{'sets' if int(self.after, 16) & changed else 'clears'} bit {changed.bit_length() - 1} of {self.obj}"
        return f"{text} {short(self.value)} \u2192 {short(self.after)}" if self.after is not None else f"{text}, was {short(self.value)}"


class Lanes:
    def __init__(self, path):
        with open(path) as f:
            self.data = json.load(f)
        self.cpus = sorted({s[1] for s in self.data["steps"] if s[0] in "rwbs"})
        self.vcpu = {}
        self.events = []
        self.read()
        self.order()
        self.choose()

    def read(self):
        """Steps of the trace; an instruction that reads and writes is one event."""
        plain = {}                  # name without its number: how often there is one
        for s in self.data["steps"]:
            if s[0] in "rwbg":
                plain.setdefault(s[2].split(".")[0], set()).add(s[2])
        name = lambda o: o.split(".")[0] if len(plain[o.split(".")[0]]) == 1 else o.replace(".", "[") + "]" if "." in o else o
        last, waits = {}, {}
        for s in self.data["steps"]:
            kind, cpu = s[0], s[1] if len(s) > 1 else None
            if kind == "preempted":
                mine = [e for e in self.events if e.cpu == cpu and e.kind != "g"]
                if mine:
                    mine[-1].preempted = mine[-1].shown = True
            elif kind in "rwb":
                obj, value, where, what = name(s[2]), *s[3:6]
                old = last.get(obj)
                if old and value is not None and old.writes() and old.after is None and old.kind != "g":
                    old.after = value
                if kind != "r" and s[2].startswith("mode.") and where == "kvm_arch_vcpu_ioctl_run":
                    self.vcpu.setdefault(cpu, s[2][5:])
                before = self.events[-1] if self.events else None
                if kind != "r" and before and (before.cpu, before.kind, before.obj, before.where) == (cpu, "r", obj, where):
                    before.kind = "u" if kind == "w" else "b"
                    last[obj] = before
                    continue
                self.events.append(Event(cpu, kind, obj, value, "" if what else where, what))
                last[obj] = self.events[-1]
                waits.pop(cpu, 0)
            elif kind == "g":
                e = Event(cpu, "g", name(s[2]))
                e.buffered = next((o for o in self.events if o.kind == "b" and o.cpu == cpu and o.obj == e.obj and not o.folded), None)
                if e.buffered:
                    e.buffered.folded = 1       # matched
                self.events.append(e)
            elif kind == "p" and not waits.get(cpu):
                waits[cpu] = True
                self.events.append(Event(cpu, "p"))
            elif kind == "x":
                self.events.append(Event(self.events[-1].cpu, "x", what=s[1]))
        for e in self.events:
            e.folded = 0

    def order(self):
        """Arrows: what is not behind the other event anyway, by a clock for each CPU and buffer."""
        clock = collections.defaultdict(lambda: collections.defaultdict(int))
        writer, readers = {}, collections.defaultdict(list)
        for e in self.events:
            thread = e.cpu if e.kind != "g" else -1 - e.cpu
            now = clock[thread]
            before = [e.buffered] if e.buffered else []
            if e.kind in "rwug" and e.obj != "ipi":
                before += [writer[e.obj]] if e.obj in writer else []
                before += readers[e.obj] if e.writes() else []
            for b in reversed(before):
                if b.at[0] != thread and now[b.at[0]] < b.at[1]:
                    if b.cpu != e.cpu:
                        e.sources.append(b)
                    for t, n in b.clock.items():
                        now[t] = max(now[t], n)
            now[thread] += 1
            e.at, e.clock = (thread, now[thread]), dict(now)
            if e.writes():
                writer[e.obj], readers[e.obj] = e, []
            elif e.kind == "r":
                readers[e.obj].append(e)

    def choose(self):
        """What has an arrow, or is special; the others in a row are one line."""
        for e in self.events:
            e.shown |= bool(e.sources) or e.kind in "bgx" or e.what not in ("", "IPI")
            for b in e.sources:
                b.shown = True
        rows = []
        for e in self.events:
            if e.shown or e.kind == "p":
                rows.append(e)
            elif rows and rows[-1].folded and rows[-1].cpu == e.cpu:
                rows[-1].folded += 1
            else:
                rows.append(Event(e.cpu, "f"))
                rows[-1].folded = 1
        self.left_out = max(len(rows) - SHOWN, 0)
        self.rows = rows[self.left_out:]

    def heads(self):
        return [f"CPU {c}" + (f", vCPU {self.vcpu[c]}" if c in self.vcpu else "") for c in self.cpus]

    def svg(self, width, narrow):
        n = len(self.cpus)
        lane = {c: 14 + TURN * i if narrow else 14 + i * (width // n) for i, c in enumerate(self.cpus)}
        room = width - 14 - TURN * n if narrow else width // n - 26
        chars = int(room / 5.9)
        cut = lambda s: s if len(s) <= chars else s[:chars - 1] + "\u2026"
        text = lambda c: 14 + TURN * n - 6 if narrow else lane[c] + 13
        o, y, at = [], 14, {}
        if narrow:
            for i, (c, head) in enumerate(zip(self.cpus, self.heads())):
                o.append(f'<circle class="c{i}" cx="{14 + 118 * (i % 3)}" cy="{y - 4 + 16 * (i // 3)}" r="5"/><text class="lane" x="{24 + 118 * (i % 3)}" y="{y + 16 * (i // 3)}">{head}</text>')
            y += 16 * ((n - 1) // 3)
        else:
            o += [f'<text class="lane" x="{lane[c] - 6}" y="{y}">{head}</text>' for c, head in zip(self.cpus, self.heads())]
        top = y = y + 14
        for e in self.rows:
            at[e] = y + 8
            y += FOLD if e.folded else STEP
        for c in self.cpus:
            o.append(f'<path class="idle" d="M{lane[c]} {top}V{y}"/>')
        start = None                # a CPU's turn is a thick part of its lane
        for e, following in zip(self.rows, self.rows[1:] + [None]):
            start = at[e] if start is None else start
            if e.kind == "g" and following and following.cpu != e.cpu and e.cpu != self.rows[max(self.rows.index(e) - 1, 0)].cpu:
                start = None        # from the buffer of a CPU that has no turn
            elif not following or following.cpu != e.cpu:
                o.append(f'<path class="turn c{self.cpus.index(e.cpu)}" d="M{lane[e.cpu]} {start - 6}V{at[e] + 6}"/>')
                start = None
        arrows, marks = [], []
        for e in self.rows:
            x, i = lane[e.cpu], self.cpus.index(e.cpu)
            if e.folded:
                marks.append(f'<text class="faint" x="{text(e.cpu)}" y="{at[e] + 3}">{e.folded} more</text>')
                continue
            if e.buffered in at:
                arrows.append(f'<path class="wait" d="M{x} {at[e.buffered]}C{x - 12} {at[e.buffered] + 14} {x - 12} {at[e] - 14} {x} {at[e]}"/>')
            for b in e.sources:
                if b in at:
                    x1, y1, x2, y2 = lane[b.cpu], at[b], x, at[e]
                    side = 7 if x2 > x1 else -7
                    arrows.append(f'<path class="arrow order" d="M{x1} {y1}C{x1} {y1 + 12} {x2 - 2 * side} {y2 - 14} {x2 - side} {y2 - 4}"/>'
                                  f'<path class="order head" d="M{x2 - side * .5:.1f} {y2 - 2}l{-side} {-7}l{-side * .3:.1f} 7z"/>')
            bad = e.kind == "x" or e is self.rows[-1]
            hollow = " open" if e.kind in "bp" else ""
            marks.append(f'<circle class="{"failed" if bad else f"c{i}"}{hollow}" cx="{x}" cy="{at[e]}" r="{6 if bad else 4.5}"/>')
            second = (e.where + " \u2014 " if e.where else "") + "then preempted" if e.preempted else e.where
            whole = html.escape(f"CPU {e.cpu}: {e.title()} {second}")
            marks.append(f'<g><title>{whole}</title><text class="on{" bad" if bad else ""}" x="{text(e.cpu)}" y="{at[e] + 3}">{html.escape(cut(e.title()))}</text>'
                         f'<text class="{"cut" if e.preempted else "faint"}" x="{text(e.cpu)}" y="{at[e] + 16}">{html.escape(cut(second))}</text></g>')
        return (f'<svg xmlns="http://www.w3.org/2000/svg" class="draw search" viewBox="0 0 {width} {y + 4}" width="{width}" height="{y + 4}" role="img" '
                f'aria-label="{html.escape(self.data["scenario"])}: {html.escape(self.data["why"])}">'), "".join(o + arrows + marks) + "</svg>"

    def page(self, style):
        d = self.data
        small, big = ("".join(self.svg(*a)) for a in ((358, True), (1040, False)))
        times = {0: "without a preemption", 1: "with one preemption"}.get(d["preemptions"], f"with {d['preemptions']} preemptions")
        more = f" {self.left_out} lines before these are left out." if self.left_out else ""
        return (f'{style}<p><b>{html.escape(d["scenario"])}</b> on {html.escape(d["kernel"])}: {html.escape(d["why"] if d["why"] != "-" else "passes")}, {times}. '
                f'Again: <code>{html.escape(d["again"])}</code></p><div class="small">{small}</div><div class="big">{big}</div>'
                '<p class="note">Time goes down. A lane is thick while its CPU has its turn; an arrow says that an access was before another one '
                'of the same word, where the lanes do not say so already. Accesses that nothing depends on are counted ("more"); a hollow dot is a store that the others '
                f'do not see yet, or a CPU that waits.{more}</p>')

    def alone(self, style):
        head, rest = self.svg(420, True)
        return head + style + rest
