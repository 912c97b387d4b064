#!/usr/bin/env python3
"""How long EXTENDED COPY takes for 10 GiB, and what it allocates: on XFS, which shares blocks, and on ext4.

Both are loop mounts made for this, so it needs root. BUILD names a release build. Nothing fails here.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.dont_write_bytecode = True

from initiator import session, write10  # noqa: E402
from mounts import Mounted  # noqa: E402
from nestor import Daemon, build_option, lun, must_run, target  # noqa: E402
from xcopy import NONE, copy, cscd, naa_of, segment  # noqa: E402

GIB = 1 << 30
COPIED = int(os.environ.get("GIB", "10")) * GIB
SEGMENT_BLOCKS = 30 << 11  # 30 MiB, on the file system's borders
SEGMENTS = 64


def used(mount):
    stat = os.statvfs(mount)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


def fill(path):
    """Data on disk, not in the page cache, so that neither file system has a start."""
    must_run("dd", "if=/dev/urandom", f"of={path}", "bs=1M", "count=64", "conv=notrunc")
    with open(path, "r+b") as image:
        block = image.read(64 << 20)
        for at in range(64 << 20, COPIED, 64 << 20):
            image.seek(at)
            image.write(block[:COPIED - at])
        image.flush()
        os.fsync(image.fileno())
        os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy_all(i, cscds):
    """As ESX does, some at a time; gives the number of commands."""
    blocks, segments = COPIED // 512, []
    for lba in range(0, blocks, SEGMENT_BLOCKS):
        segments.append(segment(0, lba, 1, lba, min(SEGMENT_BLOCKS, blocks - lba)))
    lists = [segments[at:at + SEGMENTS] for at in range(0, len(segments), SEGMENTS)]
    tasks = [copy(i, cscds, part, list_id=0, usage=NONE) for part in lists]
    for task in tasks:
        task.wait(600)
        task.good()
    return len(tasks)


def measure(kind):
    with Mounted(kind, None, 2 * COPIED + 4 * GIB) as mount:
        luns = [lun(n, mount / f"lun{n}.img", size=str(COPIED)) for n in range(2)]
        with Daemon([target(*luns)]) as daemon:
            fill(mount / "lun0.img")
            with session(daemon, timeout=600) as i:
                i.clear_unit_attention(1)
                i.command(write10(0, 1), lun=1, write=bytes(512)).good()
                cscds = [cscd(naa_of(i, n)) for n in range(2)]
                before, began = used(mount), time.monotonic()
                commands = copy_all(i, cscds)
                took = time.monotonic() - began
            subprocess.run(["sync", "-f", str(mount)], check=False)
            grown = used(mount) - before
    print(f"{kind:6} {COPIED / GIB:5.1f} GiB in {took:7.3f} s ({commands} commands), "
          f"allocated before {before / GIB:6.2f} GiB, after {(before + grown) / GIB:6.2f} GiB")


def main():
    if os.geteuid() != 0:
        sys.exit("mounting needs root")
    if build_option("buildtype") != "release":
        print(f"note: {os.environ.get('BUILD', 'the build')} is no release build")
    measure("xfs")
    measure("ext4")


if __name__ == "__main__":
    main()
