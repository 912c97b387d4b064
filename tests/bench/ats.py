#!/usr/bin/env python3
"""scripts/bench ats: how fast hosts take locks: COMPARE AND WRITEs a second, of one host and of eight.

One command in flight a host, as VMFS does; plain writes of a host, one in flight, stand beside. What a
host writes is what it compares with the next time; one who lost reads the block first, and that is part
of the price. Fails when the blocks went up by another sum than the hosts were told, not when it is slow.
"""

import argparse
import sys

import rig
from rig import Nestor, Scratch, lun, target

HOSTS = 8
ROWS = (
    ("one host", "--rw ats"),
    (f"{HOSTS} hosts, one block", f"--rw ats --sessions {HOSTS} --locks 1"),
    (f"{HOSTS} hosts, {HOSTS} blocks", f"--rw ats --sessions {HOSTS}"),
    ("plain 4k writes, one host", "--rw randwrite --bs 4k --qd 1"),
    ("plain 512 byte writes, one host", "--rw randwrite --bs 512 --qd 1"),
)


def measure(cache, folder, place, seconds):
    """Prints a table of one cache mode."""
    image = place / f"{cache}.img"
    with Nestor([target(lun(0, image, size="64M", cache=cache))], folder) as daemon:
        print(f"\nCOMPARE AND WRITE, {cache}, image in {place.parent}:\n")
        print("| who | a second | p50 us | p99 us | found another's % | target CPU us each |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for what, options in ROWS:
            s = rig.measured(daemon, *options.split(), "--secs", seconds, "--warmup", 0.2)
            lost = 100 * s["lost"] / max(1, s["lost"] + s["ios"])
            print(f"| {what} | {s['iops']:.0f} | {s['p50_us']:.0f} | {s['p99_us']:.0f} | {lost:.0f} | "
                  f"{s['target_us']:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench ats", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=float, default=1.0)
    parser.add_argument("--image-dir", default="/var/tmp", help="where the images are (/var/tmp)")
    options = parser.parse_args()
    rig.stop_on_signals()
    print(rig.conditions())
    with Scratch() as folder, Scratch(options.image_dir) as place:
        for cache in ("writeback", "writethrough"):
            measure(cache, folder, place, options.secs)


if __name__ == "__main__":
    sys.exit(main())
