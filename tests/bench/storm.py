#!/usr/bin/env python3
"""scripts/bench storm: a boot storm: many hosts on many LUNs at once, their thin images growing.

Sixteen initiators read and write all of 64 LUNs at random, 70 to 30, 4k to 128k, through one nestord
with its default number of workers. The images are sparse and start empty, on file systems made for
this (loop-mounted ext4 and XFS) on the disk under --image-dir, so it measures that disk too. Told are
throughput, latencies, the longest time in which no command of any host was answered, and how much the
images grew. With --verify every block is stamped and read again in the end (one size of 16k then).
"""

import argparse
import subprocess
import sys

import rig
from mounts import Mounted, why_not
from rig import Nestor, Scratch, lun, target

HOSTS, LUNS, QUEUE = 16, 64, 8
LUN_SIZE, SPAN = "1G", "64m"  # so that the images take 4 GiB at most
FILE_SYSTEM_BYTES = "12G"


def grown_mib(mount):
    return sum(p.stat().st_blocks for p in mount.glob("*.img")) * 512 / (1 << 20)


def storm(kind, folder, place, options):
    sizes = ["--bs", "16k", "--verify"] if options.verify else ["--bs", "4k", "--bs-max", "128k"]
    with Mounted(kind, place, FILE_SYSTEM_BYTES) as mount:
        luns = [lun(n, mount / f"lun{n}.img", size=LUN_SIZE) for n in range(LUNS)]
        with Nestor([target(*luns)], folder, workers=0, cores=rig.CORES) as daemon:
            s = rig.load(daemon, "--rw", "mixed", *sizes, "--qd", QUEUE, "--sessions", HOSTS, "--lun",
                         f"0-{LUNS - 1}", "--span", SPAN, "--warmup", 0, "--secs", options.secs,
                         cores=rig.CORES)
            mib = grown_mib(mount)
        subprocess.run(["sync", "-f", str(mount)], check=False, timeout=300)
    print(f"| {kind} | {s['iops']:.0f} | {s['mib_s']:.0f} | {s['p50_us'] / 1000:.1f} | "
          f"{s['p99_us'] / 1000:.1f} | {s['p999_us'] / 1000:.1f} | {s['max_us'] / 1000:.0f} | "
          f"{s['longest_gap_us'] / 1000:.0f} | {mib:.0f} | {s['errors']} | {s['verified']} | "
          f"{s['resident_kib'] / 1024:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench storm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=float, default=10.0)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--image-dir", default="/var/tmp", help="where the file systems' images are")
    options = parser.parse_args()
    rig.stop_on_signals()
    print(f"{rig.conditions()}\n\n{HOSTS} hosts x QD {QUEUE}, {LUNS} LUNs, 70/30 random, "
          f"{'16k' if options.verify else '4k to 128k'}\n")
    print("| file system | IOPS | MiB/s | p50 ms | p99 ms | p99.9 ms | max ms | longest silence ms | "
          "grown MiB | errors | verified | RSS MiB |")
    print("| --- |" + " ---: |" * 11, flush=True)
    with Scratch() as folder, Scratch(options.image_dir) as place:
        for kind in ("ext4", "xfs"):
            reason = why_not(kind)
            if reason:
                print(f"| {kind} | skipped: {reason} |")
                continue
            storm(kind, folder, place, options)


if __name__ == "__main__":
    sys.exit(main())
