"""history: proves from what the hosts of a cluster noted that the LUN behaved like one disk.

Every block is a register. What is known of each operation is an interval of time in which it took
effect, if it did: all that is left to show is an order of the block's writes in which every
operation finds a moment inside its interval (linearizability, Herlihy and Wing 1990). The ids are
unique, so the order need not be searched:

  replaced blocks, metadata   each write says what it follows: the writes are a chain from the first
                              image; two that follow one image are a lost update
  other blocks                one writer at a time, by a lock or as the owner: the order in time

An operation that was cut off may have happened, but only before the host's next login; one that was
refused, or only half sent, must not have. The log's lines are described in volume.h.
"""

from collections import defaultdict, namedtuple
from pathlib import Path

NEVER = float("inf")
FIRST = 0  # the id of a block that nobody wrote
DONE, DIFFERS, NOT_DONE, MAYBE = "y", "n", "x", "?"
COUNTER_LBA = 0
SHOWN = 20

Write = namedtuple("Write", "start end outcome old new host")
Read = namedtuple("Read", "start end id host")
Held = namedtuple("Held", "start end host")


class History:
    """The operations of all hosts, block by block."""

    def __init__(self):
        self.writes, self.reads = defaultdict(list), defaultdict(list)
        self.chained = set()  # LBAs whose writes say what they follow
        self.held = defaultdict(list)
        self.counts = defaultdict(int)
        self.operations = 0
        self.final_count = None
        self.faults = []

    def fault(self, text):
        self.faults.append(text)

    def load(self, path, host):
        """One host's log."""
        cut_off = []  # (list, index): their end is not known yet

        def end_of(text):
            return int(text) or NEVER

        def add(lba, write):
            if write.end == NEVER and write.outcome == MAYBE:
                cut_off.append((self.writes[lba], len(self.writes[lba])))
            self.writes[lba].append(write)

        for line in Path(path).read_text().splitlines():
            kind, *rest = line.split(" ")
            if kind == "r":
                start, end = int(rest[1]), int(rest[2])
                for lba, seen in enumerate(rest[3:], int(rest[0])):
                    if seen == "torn":
                        self.fault(f"LBA {lba}: host {host} read a block that nobody wrote")
                    else:
                        self.reads[lba].append(Read(start, end, int(seen, 16), host))
                self.operations += 1
            elif kind == "a":
                lba = int(rest[0])
                self.chained.add(lba)
                add(lba, Write(int(rest[1]), end_of(rest[2]), rest[3], int(rest[4], 16),
                               int(rest[5], 16), host))
                self.operations += 1
            elif kind == "w":
                first, blocks = int(rest[0]), int(rest[1])
                old = None if rest[5] == "-" else int(rest[5], 16)
                write = Write(int(rest[2]), end_of(rest[3]), rest[4], old, int(rest[6], 16), host)
                for lba in range(first, first + blocks):
                    if old is not None:
                        self.chained.add(lba)
                    add(lba, write)
                self.operations += 1
            elif kind == "s":
                for writes, index in cut_off:
                    writes[index] = writes[index]._replace(end=int(rest[0]))
                cut_off.clear()
            elif kind == "h":
                self.held[int(rest[0])].append(Held(int(rest[1]), int(rest[2]), host))
            elif kind == "c":
                self.final_count = int(rest[0])
            elif kind == "n":
                self.counts[" ".join(rest[1:])] += int(rest[0])
            elif kind == "e":
                self.fault(" ".join(rest))
            else:
                self.fault(f"{path}: no such line: {line}")

    def check(self):
        """What is wrong, as sentences; none when the history is one disk's."""
        for lba in sorted(self.writes.keys() | self.reads.keys()):
            check_block(self, lba)
        for lock, held in sorted(self.held.items()):
            held.sort()
            for before, after in zip(held, held[1:]):
                if after.start < before.end:
                    self.fault(f"lock {lock}: host {after.host} had it {before.end - after.start} "
                               f"ns before host {before.host} let go")
        if self.final_count is not None:
            length = len(in_order(self, COUNTER_LBA, quiet=True))
            if length != self.final_count:
                self.fault(f"the counter says {self.final_count} after {length} updates")
        return self.faults


def said(write):
    return f"{write.new:x} of host {write.host}"


def by_chain(history, lba, quiet):
    """The writes that happened, from the first image on."""
    fault = (lambda text: None) if quiet else (lambda text: history.fault(f"LBA {lba}: {text}"))
    made = {w.new: w for w in history.writes[lba]}
    waiting = [w.new for w in history.writes[lba] if w.outcome == DONE]
    waiting += [r.id for r in history.reads[lba]]
    happened = set()
    while waiting:
        one = waiting.pop()
        if one == FIRST or one in happened:
            continue
        happened.add(one)
        write = made.get(one)
        if write is None:
            fault(f"{one:x} was seen, and nobody wrote it")
            continue
        if write.outcome in (NOT_DONE, DIFFERS):
            fault(f"{said(write)} was refused or cut in half, and is there all the same")
        waiting.append(write.old)
    follows = defaultdict(list)
    for one in happened & made.keys():
        follows[made[one].old].append(made[one])
    order, at = [], FIRST
    while follows[at]:
        if len(follows[at]) > 1:
            fault(f"a lost update: {' and '.join(said(w) for w in follows[at])} both follow {at:x}")
        write = min(follows[at])
        order.append(write)
        at = write.new
        if len(order) > len(made):
            break
    left = (happened & made.keys()) - {w.new for w in order}
    if left:
        fault(f"{len(left)} updates are on no way from the first image, "
              f"{said(made[min(left)])} is one")
    return order


def by_time(history, lba, quiet):
    seen = {r.id for r in history.reads[lba]}
    if not quiet:
        made = {w.new: w for w in history.writes[lba]}
        for one in seen - {FIRST}:
            if one not in made:
                history.fault(f"LBA {lba}: {one:x} was seen, and nobody wrote it")
            elif made[one].outcome == NOT_DONE:
                history.fault(f"LBA {lba}: {said(made[one])} was refused or cut in half, and is "
                              "there all the same")
    return sorted(w for w in history.writes[lba]
                  if w.outcome == DONE or (w.outcome == MAYBE and w.new in seen))


def in_order(history, lba, quiet=False):
    return (by_chain if lba in history.chained else by_time)(history, lba, quiet)


def check_block(history, lba):
    order = in_order(history, lba)
    reads = defaultdict(list)
    for read in history.reads[lba]:
        reads[read.id].append(read)
    # Each at its earliest moment: a write after what it follows, a read after its write
    now = 0
    for write in [Write(0, NEVER, DONE, None, FIRST, None), *order]:
        now = max(now, write.start)
        if now > write.end:
            history.fault(f"LBA {lba}: {said(write)} was answered, and {now - write.end} ns later "
                          "what it replaced was still there")
        latest = now
        for read in reads[write.new]:
            if now > read.end:
                history.fault(f"LBA {lba}: host {read.host} read {write.new:x} {now - read.end} ns "
                              "before it could be there")
            latest = max(latest, read.start)
        now = latest
    check_differences(history, lba, order)


def check_differences(history, lba, order):
    """A miscompare is a lie when what was compared with was there all the time."""
    place = {write.new: i for i, write in enumerate(order)}
    place[FIRST] = -1
    for write in history.writes[lba]:
        if write.outcome != DIFFERS or write.old not in place:
            continue
        at = place[write.old]
        began = order[at].end if at >= 0 else 0
        ended = order[at + 1].start if at + 1 < len(order) else NEVER
        if began <= write.start and write.end <= ended:
            history.fault(f"LBA {lba}: host {write.host} was told of a difference from "
                          f"{write.old:x}, which was there all the time")
