# SPDX-License-Identifier: GPL-2.0-only
"""What a run has recorded: the kernel's events, the emulated hardware's, and the test's words."""
import collections, os, re, subprocess

Event = collections.namedtuple("Event", "t cpu tid what f")
num = lambda s: int(s, 0)


def split(folder):
    data = open(folder + "/trace.raw", "rb").read()
    while data.startswith(b"trace "):
        head, _, data = data.partition(b"\n")
        _, program, size = head.decode().split()
        if len(data) >= int(size):
            with open(f"{folder}/trace-{program}.dat", "wb") as f:
                f.write(data[:int(size)])
        data = data[int(size):]


def kernel_events(dat):
    """What trace-cmd reads in a trace.dat, fields raw."""
    out = subprocess.run(["trace-cmd", "report", "-R", "-t", "-i", dat], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, errors="replace").stdout
    events = []
    for line in out.splitlines():
        m = re.match(r"\s*(.+)-(\d+)\s+\[(\d+)\].*?\s(\d+\.\d+):\s+(\w+):\s+(.*)", line)
        if m:
            f = dict(re.findall(r"(\w+)=([^\s\[]+)", m[6]))
            raw = re.search(r"ARRAY\[(.*)\]", m[6])
            if raw:
                raw = bytes.fromhex(raw[1].replace(", ", ""))
                f["args"] = [int.from_bytes(raw[i:i + 8], "little") for i in range(0, len(raw), 8)]
            events.append(Event(float(m[4]), int(m[3]), int(m[2]), m[5], f))
    return events


def hardware_events(log):
    events = []
    for line in open(log, errors="replace") if os.path.exists(log) else ():
        m = re.match(r"\d+@([\d.]+):(snp_(?:vmrun|vmexit|rmpupdate|rmpadjust)) (.*)", line)
        if m:
            f = dict(re.findall(r"(\w+) (\S+)", m[3]))
            events.append(Event(float(m[1]), int(f.get("cpu", 0)), 0, m[2], f))
    return events


def same_clock(kernel, hardware):
    """The hardware's events by the kernel's clock: both saw the same #VMEXITs."""
    def grams(events, name, one, two, n=5):
        seen, last = collections.defaultdict(list), collections.defaultdict(list)
        for e in events:
            if e.what == name:
                run = last[e.cpu]
                run.append((num(e.f[one]), num(e.f[two])))
                del run[:-n]
                if len(run) == n:
                    seen[e.cpu, tuple(run)].append(e.t)
        return seen
    a, b = grams(kernel, "kvm_exit", "info1", "info2"), grams(hardware, "snp_vmexit", "info1", "info2")
    delta = sorted(a[k][0] - b[k][0] for k in a if len(a[k]) == 1 and len(b.get(k, ())) == 1)
    if not delta:
        return []
    # Wrong pairs are far from the rest; of the others, the kernel sees it last.
    mid = delta[len(delta) // 2]
    low = min(d for d in delta if abs(d - mid) < 0.005)
    return [e._replace(t=e.t + low) for e in hardware if kernel[0].t <= e.t + low <= kernel[-1].t]


def said(folder, program):
    """The lines of PROGRAM up to its failure, without the runner's prefix, and its case."""
    lines, case, on = [], "", False
    for line in open(folder + "/ktap.log", errors="replace"):
        line = line.rstrip("\r\n")
        if line.startswith("# selftests: "):
            on, lines = line.split()[-1] == program, lines if not on else []
        elif on:
            if line.startswith("# #  RUN "):
                case = line.split()[3].split(".")[-1]
            lines.append(re.sub("^# ?", "", line))
            if len(lines) > 4 and lines[-4].startswith("===="):
                break
    return lines, case
