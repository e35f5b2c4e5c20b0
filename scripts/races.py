# SPDX-License-Identifier: GPL-2.0-only
#
# Used by scripts/search.py: conflicting accesses of one run that nothing orders, from a
# trace with races=on.  What orders: the program order of a CPU, and words that are ever
# accessed by an atomic instruction (LOCK, XCHG): an access that reads such a word comes
# behind those that wrote it.  IPIs need no rule, their queues are such words.

import collections

PREFIXES = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0xf2, 0xf3}


def is_atomic(code):
    """LOCK, or XCHG with memory; code is the instruction's first four bytes"""
    for i in range(4):
        byte = code >> 8 * i & 0xff
        if byte == 0xf0:
            return True
        if byte in (0x86, 0x87):
            return True
        if byte not in PREFIXES and byte & 0xf0 != 0x40:
            return False
    return False


def find(lines):
    """The pairs (granule, pc, kind, pc, kind), and the granules of atomic words"""
    accesses = []
    for line in lines:
        if line.startswith("m "):
            w = line.split()
            accesses.append((int(w[1]), w[2], int(w[3], 16), int(w[4]), int(w[5], 16),
                             is_atomic(int(w[6], 16))))
    sync = set()
    users = collections.defaultdict(set)
    for cpu, kind, addr, size, pc, atomic in accesses:
        for g in range(addr >> 3, (addr + size - 1 >> 3) + 1):
            users[g].add(cpu)
            if atomic:
                sync.add(g)
    clock = collections.defaultdict(lambda: collections.defaultdict(int))
    release = collections.defaultdict(dict)
    last = collections.defaultdict(dict)    # granule: (cpu, kind, first and last byte, pc): time
    pairs = collections.Counter()

    def join(to, other):
        for c, t in other.items():
            if t > to[c]:
                to[c] = t

    for cpu, kind, addr, size, pc, atomic in accesses:
        now = clock[cpu]
        now[cpu] += 1
        for g in range(addr >> 3, (addr + size - 1 >> 3) + 1):
            if len(users[g]) < 2:
                continue
            low = max(addr, g << 3) & 7
            high = min(addr + size - 1, (g << 3) + 7) & 7
            for (other, k, lo, hi, other_pc), t in last[g].items():
                if other != cpu and "w" in (k, kind) and lo <= high and low <= hi and t > now[other]:
                    pairs[g, other_pc, k, pc, kind] += 1
            last[g][cpu, kind, low, high, pc] = now[cpu]
            if g in sync:
                if kind == "r":
                    join(now, release[g])
                else:
                    to = collections.defaultdict(int, release[g])
                    join(to, now)
                    release[g] = dict(to)
    return pairs, sync, len(accesses)


def report(lines, where):
    """Rows (place, atomic, how often, functions), and how many accesses there were"""
    regions = []
    words = []
    for line in lines:
        w = line.split()
        if line.startswith("r ") and len(w) == 4:
            regions.append((int(w[2], 16), int(w[3]), w[1]))
        elif line.startswith("o ") and len(w) == 5 and int(w[3], 16):
            words.append((int(w[3], 16), int(w[4])))
    pairs, sync, nr = find(lines)
    rows = collections.defaultdict(lambda: [0, set()])
    listed = 0
    for (g, pc, k, pc2, k2), n in pairs.items():
        addr = g << 3
        if any(a < addr + 8 and addr < a + size for a, size in words):
            listed += 1
            continue
        place = "elsewhere"
        for at, size, name in regions:
            if at <= addr < at + size:
                place = "%s+0x%x" % (name, addr - at)
        row = rows[place, g in sync]
        row[0] += n
        row[1].add(" / ".join(sorted({"%s %s" % (where(pc), k), "%s %s" % (where(pc2), k2)})))
    return rows, listed, nr
