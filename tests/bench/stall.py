#!/usr/bin/env python3
"""scripts/bench stall: what the hosts of one LUN notice when another LUN's disk hangs.

Two LUNs of one nestord. The second is on an ext4 of its own, which is frozen (fsfreeze) while a host
writes to it: to nestord that is a disk that never answers. Another session reads and writes the first
LUN before, meanwhile and after. Its latencies should be the same in all three, and with one worker it
shares a thread with the one that hangs.

The file system is thawed whatever happens: in the end, after --secs, or, by a process that watches this
one, when it is gone. Needs root and a loop device.
"""

import argparse
import os
import shutil
import sys
import time

import rig
from disks import Frozen
from mounts import Mounted, why_not
from rig import Nestor, Scratch, lun, target

SETTLE_S = 1.5  # before what is measured; the disk freezes half way
WRITER = ("--rw randwrite --bs 4k --qd 16 --sessions 2 --lun 1 --warmup 0"
          " --initiator iqn.2026-11.lab.nestor:writer")
OTHERS = (("4k reads", "--rw randread --bs 4k --qd 4"), ("4k writes", "--rw randwrite --bs 4k --qd 4"))


def show(when, what, sample):
    if sample["ios"]:
        cells = [f"{sample[f]:.0f}" for f in ("iops", "p50_us", "p99_us", "max_us", "longest_gap_us")]
    else:
        cells = ["none was answered", "", "", "", f"{sample['longest_gap_us']:.0f}"]
    print(f"| {when} | {what} | {' | '.join(cells)} |", flush=True)


def others(when, daemon, seconds):
    for what, words in OTHERS:
        show(when, what, rig.load(daemon, *words.split(), "--lun", 0, "--secs", seconds, "--warmup", 0.1))


def others_meanwhile(daemon, mount, seconds):
    """All are logged in and at work when the disk freezes. Gives the writers' samples."""
    writers = []
    for what, words in OTHERS:
        ones = [rig.start_load(daemon, *WRITER.split(), "--secs", SETTLE_S + seconds),
                rig.start_load(daemon, *words.split(), "--lun", 0, "--secs", seconds, "--warmup", SETTLE_S)]
        try:
            time.sleep(SETTLE_S / 2)
            with Frozen(mount):
                time.sleep(SETTLE_S / 2 + seconds + 0.5)
            writers.append(rig.finish_load(ones[0]))
            show("hangs", what, rig.finish_load(ones[1]))
        finally:
            for one in ones:
                if one.poll() is None:
                    rig.end(one)
    return writers


def measure(workers, options):
    print(f"\n### {workers} worker{'s' if workers > 1 else ''}\n")
    print("| the other LUN's disk | this LUN | IOPS | p50 us | p99 us | max us | longest silence us |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with Scratch() as folder, Scratch(options.image_dir) as place:
        image = rig.random_image(folder / "lun0.img", 128 << 20)
        with Mounted("ext4", place, "1G") as mount:
            luns = [lun(0, image), lun(1, mount / "lun1.img", size="256M")]
            with Nestor([target(*luns)], folder, workers=workers) as daemon:
                others("works", daemon, options.secs)
                writers = others_meanwhile(daemon, mount, options.secs)
                others("works again", daemon, options.secs)
    print()
    for writer in writers:
        print(f"the writer on the other LUN: {writer['ios']} writes, {writer['errors']} errors, longest "
              f"silence {writer['longest_gap_us'] / 1e6:.1f} s")
        if writer["longest_gap_us"] < options.secs * 1e6:
            print("note: it never stood still for long, so the freeze did not take hold")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench stall", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=float, default=2.0, help="of each measurement, at most 8")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--image-dir", default="/var/tmp", help="where the file system's image is")
    options = parser.parse_args()
    options.secs = min(options.secs, 8.0)
    reason = why_not("ext4") or (None if shutil.which("fsfreeze") else "there is no fsfreeze")
    if reason:
        print(f"skipped: {reason}")
        return 0
    rig.stop_on_signals()
    print(rig.conditions())
    for workers in options.workers.split(","):
        measure(int(workers), options)
    return 0


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    sys.exit(main())
