#!/usr/bin/env python3
"""scripts/bench instructions: how many instructions nestord executes for a command, in user mode.

callgrind counts those of a run with N commands and of one with 2 N; the difference, over N, is what a
command costs, without start and login. It hardly depends on what else the machine does, so it shows
small changes that a clock does not. The kernel's share is not in it. With a queue depth of 1 it is
repeatable to some parts in a thousand; with more it depends a little on how many commands came at
once. --with NAME=NESTORD counts another build beside. --keep FOLDER keeps callgrind's files, for
callgrind_annotate.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import rig
from rig import Nestor, Scratch, lun, target

ROWS = (
    ("4k read, QD 1", 1000, "--rw randread --bs 4k --qd 1"),
    ("4k read, QD 32", 4000, "--rw randread --bs 4k --qd 32"),
    ("4k write, QD 1", 1000, "--rw randwrite --bs 4k --qd 1"),
    ("4k write, QD 32", 4000, "--rw randwrite --bs 4k --qd 32"),
    ("128k read, QD 1", 500, "--rw read --bs 128k --qd 1"),
)


def counted(path):
    """The instructions of all threads, from callgrind's file."""
    found = re.search(r"^(?:totals|summary): (\d+)", path.read_text(errors="replace"), re.M)
    if not found:
        raise RuntimeError(f"{path} has no total")
    return int(found.group(1))


def instructions(program, image, folder, out, ios, words):
    """Of a run from start to stop with that many commands."""
    wrap = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    with Nestor([target(lun(0, image))], folder, program=program, wrap=wrap) as daemon:
        rig.load(daemon, *words.split(), "--ios", ios)
    return counted(out)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench instructions", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="NAME=NESTORD")
    parser.add_argument("--keep", metavar="FOLDER")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("this needs valgrind: apt-get install valgrind")
    programs = {"nestor": None}
    for pair in options.others:
        name, _, path = pair.partition("=")
        programs[name] = Path(path).resolve()
    rig.stop_on_signals()
    with Scratch() as folder:
        kept = Path(options.keep).resolve() if options.keep else folder
        kept.mkdir(parents=True, exist_ok=True)
        image = rig.random_image(folder / "lun.img", 64 << 20)
        print(f"{rig.conditions()}\n\n| command | {' | '.join(programs)} |")
        print("| --- |" + " ---: |" * len(programs), flush=True)
        for what, ios, words in ROWS:
            cells = []
            for name, program in programs.items():
                stem = f"callgrind.{name}.{re.sub(r'[^a-z0-9]+', '-', what.lower())}"
                one, two = (instructions(program, image, folder, kept / f"{stem}.{n}", n, words)
                            for n in (ios, 2 * ios))
                cells.append(f"{(two - one) / ios:.0f}")
            print(f"| {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
