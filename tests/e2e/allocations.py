"""Reads and writes ask the allocator for nothing: memory is kept and used again.

Buffers that lay idle for a trimming interval (two seconds) are given back and made again when a
later moment needs more of them. So a stretch is run up to some times: one without any allocation is
what counts. A command that allocates leaves none.
"""

import os
import re
import struct
import subprocess
import tempfile
from pathlib import Path

from initiator import pattern, read10, session, write10
from nestor import Daemon, Failure, Skip, binary, limit, lun, plain, target

MIB = 1 << 20
BLOCK = 512
ATTEMPTS = 8
CALLERS = 31  # as in count_allocations.c
COUNT = struct.Struct(f"={1 + CALLERS}Q")

IMAGE_BYTES = 64 * MIB
STRETCHES = (  # bytes of a command, how many at a time, how many commands
    (4096, 1, 1000), (4096, 32, 3200), (131072, 1, 160), (131072, 32, 640))


class Counted:
    """A daemon whose calls of the allocator are counted, and a session with it."""

    def __init__(self, *, path=None, cache="writeback", **keys):
        self.daemon = Daemon([target(lun(0, path, size=IMAGE_BYTES, cache=cache))], workers=1, **keys)
        self.count_path = self.daemon.dir / "allocations"
        self.count_path.write_bytes(bytes(COUNT.size))
        self.daemon.env.update(LD_PRELOAD=str(binary("count_allocations.so")),
                               COUNT_ALLOCATIONS=str(self.count_path))

    def __enter__(self):
        self.daemon.__enter__()
        self.held = session(self.daemon)
        self.session = self.held.__enter__()
        if self.calls() == 0:
            raise Failure("a daemon started and a session logged in, and nothing was counted")
        return self

    def __exit__(self, *error):
        self.held.__exit__(*error)
        self.daemon.__exit__(*error)

    def calls(self):
        return COUNT.unpack(self.count_path.read_bytes())[0]

    def latest_callers(self):
        """The functions that the latest calls came from."""
        calls, *callers = COUNT.unpack(self.count_path.read_bytes())
        program = binary("nestord")
        maps = Path(f"/proc/{self.daemon.pid}/maps").read_text()
        base = int(re.search(rf"^([0-9a-f]+)-.*{program.name}$", maps, re.M).group(1), 16)
        places = [hex(callers[i % CALLERS] - base - 1) for i in range(max(0, calls - CALLERS), calls)]
        named = subprocess.run(["addr2line", "-fs", "-e", program, *places], capture_output=True,
                               text=True)
        return sorted(set(named.stdout.splitlines()[::2]))

    def run(self, commands, depth, submit):
        """submit(i) sends command i; `depth` are under way at a time."""
        for first in range(0, commands, depth):
            for task in [submit(i) for i in range(first, min(first + depth, commands))]:
                task.good()
            self.session.tasks.clear()


def expect_no_allocations(counted, what, stretch):
    stretch()
    seen = []
    for _ in range(ATTEMPTS):
        before = counted.calls()
        stretch()
        seen.append(counted.calls() - before)
        if seen[-1] == 0:
            return
    raise Failure(f"{what}: expected a stretch without allocations, came {seen}, the latest from "
                  f"{counted.latest_callers()}")


def read_and_write(counted, share=1, forget=lambda: None):
    """Every stretch, or the first part of each; forget() is called before each."""
    for size, depth, commands in STRETCHES:
        blocks, places = size // BLOCK, IMAGE_BYTES // size
        data = pattern(size)

        def write(i):
            return counted.session.submit(write10(i * 7 % places * blocks, blocks), write=data)

        def read(i):
            return counted.session.submit(read10(i * 7 % places * blocks, blocks), read=size)

        for name, submit in (("writes", write), ("reads", read)):
            def stretch():
                forget()
                counted.run(commands // share, depth, submit)

            expect_no_allocations(counted, f"{name} of {size} bytes, {depth} at a time", stretch)


def read_and_write_on_disk(**keys):
    """Nothing that is read is cached, and what is written waits for stable storage: the engine's."""
    with Counted(cache="writethrough", **keys) as counted:
        with open(counted.daemon.image(), "rb") as image:
            def forget():
                os.fsync(image.fileno())
                os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

            read_and_write(counted, share=5, forget=forget)


@plain
@limit(180)
def e2e_reads_and_writes_in_memory_do_not_allocate():
    if not os.access("/dev/shm", os.W_OK):
        raise Skip("there is no /dev/shm for files in memory")
    with tempfile.TemporaryDirectory(prefix="nestor-test-", dir="/dev/shm") as folder:
        with Counted(path=f"{folder}/lun0.img") as counted:
            read_and_write(counted)


@plain
@limit(180)
def e2e_reads_and_writes_over_io_uring_do_not_allocate():
    read_and_write_on_disk()


@plain
@limit(180)
def e2e_reads_and_writes_by_threads_do_not_allocate():
    read_and_write_on_disk(engine="threads")
