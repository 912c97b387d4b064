#!/usr/bin/env python3
"""How long it takes to zero and to unmap, and what another host's reads of 4 KiB wait meanwhile.

BUILD names a release build. Fails when zeroing or unmapping a tebibyte takes a second, or keeps a read
waiting for more than 50 ms. What has no goal is shown beside plain writes, which load the disk as much.
The image is on the disk of the folder that this runs in.
"""

import multiprocessing
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.dont_write_bytecode = True

from initiator import Initiator  # noqa: E402
from nestor import Daemon, lun, target  # noqa: E402
from task import pattern, read10, write10  # noqa: E402

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
BLOCK = 512
READ_BLOCKS = 8
READ_AT = (TIB - GIB) // BLOCK  # in the range that is zeroed
WORST_MS = 50


def host(daemon, number):
    session = Initiator(daemon, name=f"iqn.1998-01.com.vmware:esx{number}", timeout=120).login()
    session.clear_unit_attention()
    return session


def read_on(daemon, is_over, worst_ms):
    """Another host, in a process of its own."""
    with host(daemon, 2) as session:
        while not is_over.value:
            began = time.monotonic()
            session.command(read10(READ_AT, READ_BLOCKS), read=READ_BLOCKS * BLOCK).good()
            worst_ms.value = max(worst_ms.value, (time.monotonic() - began) * 1000)


def write_same(session, offset, length, data=None):
    session.command(bytes([0x93, 0 if data else 0x01]) + (offset // BLOCK).to_bytes(8, "big") +
                    (length // BLOCK).to_bytes(4, "big") + bytes(2), write=data, timeout=120).good()


def unmap(session, offset, length):
    descriptor = (offset // BLOCK).to_bytes(8, "big") + (length // BLOCK).to_bytes(4, "big") + bytes(4)
    out = (22).to_bytes(2, "big") + (16).to_bytes(2, "big") + bytes(4) + descriptor
    session.command(bytes([0x42]) + bytes(6) + len(out).to_bytes(2, "big") + bytes(1), write=out,
                    timeout=120).good()


def fill(session, length):
    data = pattern(8 * MIB)
    for offset in range(0, length, len(data)):
        session.command(write10(offset // BLOCK, len(data) // BLOCK), write=data).good()


def measure(daemon, session, what, action, goal_s=None):
    """One row; whether it kept to its goals."""
    is_over, worst_ms = multiprocessing.Value("b", 0), multiprocessing.Value("d", 0.0)
    reader = multiprocessing.Process(target=read_on, args=(daemon, is_over, worst_ms))
    reader.start()
    time.sleep(0.5)  # reads are under way for some time before and after
    worst_ms.value = 0.0
    began = time.monotonic()
    action(session)
    took = time.monotonic() - began
    time.sleep(0.2)
    is_over.value = 1
    reader.join()
    is_good = goal_s is None or (took <= goal_s and worst_ms.value <= WORST_MS)
    print(f"{what:44} {took:8.3f} s   worst read {worst_ms.value:7.2f} ms   "
          f"{'' if is_good else '<- too long'}".rstrip())
    return is_good


def main():
    with Daemon([target(lun(0, size="1T"))]) as daemon:
        with host(daemon, 1) as session:
            # what was never written needs no disk; the reads are to compete for it
            session.command(write10(READ_AT, READ_BLOCKS), write=pattern(READ_BLOCKS * BLOCK)).good()
            rows = [
                ("WRITE SAME of zeros, 1 TiB sparse", lambda s: write_same(s, 0, TIB), 1.0),
                ("UNMAP, 1 TiB sparse", lambda s: unmap(s, 0, TIB), 1.0),
                ("WRITE SAME of zeros, 64 GiB by 16 MiB",
                 lambda s: [write_same(s, at, 16 * MIB) for at in range(0, 64 * GIB, 16 * MIB)], None),
                ("plain writes, 1 GiB", lambda s: fill(s, GIB), None),
                ("WRITE SAME of a pattern, 1 GiB", lambda s: write_same(s, 0, GIB, pattern(BLOCK)), None),
            ]
            good = [measure(daemon, session, *row) for row in rows]
            fill(session, 2 * GIB)
            good.append(measure(daemon, session, "UNMAP, 1 TiB of which 2 GiB are written",
                                lambda s: unmap(s, 0, TIB), 1.0))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
