#!/usr/bin/env python3
"""scripts/bench [table] [options]: how fast nestord is, beside what the machine allows without iSCSI.

One LUN of random content in the page cache, each target alone on one core and the client on another,
in interleaved rounds; medians. The columns: commands a second and their ratio to the ceiling's,
latencies, the target's processor time for each and its ratio, context switches and system calls for
each, memory, the client's own time, how far the rounds are apart, what others used of a core, and for
how much of the time client and target waited for them, or the machine stood still.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import rig
from rig import Ceiling, Nestor, Scratch, Tgt, lun, median, note, target

WORKLOADS = {  # name: (title, options of the load generator)
    "rr1": ("4k random read, QD 1", "--rw randread --bs 4k --qd 1"),
    "rr32": ("4k random read, QD 32", "--rw randread --bs 4k --qd 32"),
    "rr128": ("4k random read, QD 128", "--rw randread --bs 4k --qd 128"),
    "rw32": ("4k random write, QD 32", "--rw randwrite --bs 4k --qd 32"),
    "mix8": ("4k 70/30 random mix, 8 sessions x QD 16", "--rw mixed --bs 4k --qd 16 --sessions 8"),
    "sr128k": ("128k sequential read, QD 16", "--rw read --bs 128k --qd 16"),
    "sw128k": ("128k sequential write, QD 16", "--rw write --bs 128k --qd 16"),
    "sr1m": ("1M sequential read, QD 8", "--rw read --bs 1m --qd 8"),
}
SYSCALL_SECONDS = 0.3


def contenders(options, image, folder):
    """name: what starts it."""
    keys = {"workers": options.workers, "more": options.conf}
    cores = rig.CORES if options.workers > 1 else None
    ones = {"ceiling": lambda: Ceiling(image, folder)}

    def nestor(name, program):
        return lambda: Nestor([target(lun(0, image, cache=options.cache))], folder, name=name,
                              program=program, cores=cores, **keys)

    ones["nestor"] = nestor("nestor", None)
    for pair in options.others:
        name, _, program = pair.partition("=")
        if not os.access(program, os.X_OK):
            raise SystemExit(f"--with {pair}: write NAME=PATH of a nestord")
        ones[name] = nestor(name, Path(program).resolve())
    if Tgt.is_installed() and not options.no_tgt:
        ones["tgt"] = lambda: Tgt(image, folder)
    return ones


def run_rounds(options, ones, image):
    """samples[workload][contender] = [sample, ...]"""
    samples = {w: {name: [] for name in ones} for w in options.workloads}
    for number in range(options.rounds):
        for workload in options.workloads:
            words = WORKLOADS[workload][1].split()
            for name, make in ones.items():
                if options.sparse:
                    rig.sparse_image(image, rig.size(options.size))
                with make() as contender:
                    sample = rig.measured(contender, *words, "--secs", options.secs, "--warmup",
                                          options.warmup, disturbed_max=options.disturbed_max)
                    if number == 0 and not options.no_syscalls:
                        counted = rig.load(contender, *words, "--syscalls", "--warmup", 0.1,
                                           "--secs", SYSCALL_SECONDS)
                        sample["syscalls"] = counted.get("syscalls")
                samples[workload][name].append(sample)
                note(f"round {number + 1} {workload} {name}: {sample['iops']:.0f} IOPS, "
                     f"{sample['target_us']:.2f} us, disturbed {sample['disturbed'] * 100:.0f} %")
    return samples


def row(name, samples, ceiling):
    def of(field):
        return median(samples, field)

    def ratio(field):
        base = median(ceiling, field) if ceiling else 0
        return f"{of(field) / base:.2f}" if base else ""

    rates = [s["iops"] for s in samples]
    syscalls = samples[0].get("syscalls")
    cells = [name, f"{of('iops'):.0f}", f"{of('mib_s'):.0f}", ratio("iops"), f"{of('p50_us'):.0f}",
             f"{of('p99_us'):.0f}", f"{of('p999_us'):.0f}", f"{of('max_us'):.0f}",
             f"{of('target_us'):.2f}", ratio("target_us"), f"{of('switches'):.3f}",
             f"{syscalls:.1f}" if syscalls is not None else "", f"{of('resident_kib') / 1024:.1f}",
             f"{of('client_us'):.2f}", f"{(max(rates) - min(rates)) / of('iops') * 100:.0f}",
             f"{of('others_cores') * 100:.0f}",
             f"{of('disturbed') * 100:.0f}"]
    return "| " + " | ".join(cells) + " |"


def print_tables(samples):
    columns = ["target", "IOPS", "MiB/s", "IOPS to ceiling", "p50 us", "p99 us", "p99.9 us", "max us",
               "target CPU us/IO", "CPU to ceiling", "switches/IO", "system calls/IO", "RSS MiB",
               "client us/IO", "spread %", "others' CPU %", "disturbed %"]
    for workload, by_name in samples.items():
        print(f"\n### {WORKLOADS[workload][0]}\n")
        print("| " + " | ".join(columns) + " |")
        print("| --- |" + " ---: |" * (len(columns) - 1))
        for name, ones in by_name.items():
            print(row(name, ones, by_name.get("ceiling")))


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(WORKLOADS),
                        help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=1.0, help="measured, of each sample")
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="NAME=NESTORD",
                        help="another nestord to compare with; may be repeated")
    parser.add_argument("--no-tgt", action="store_true", help="leave out tgt though it is there")
    parser.add_argument("--no-ceiling", action="store_true", help="no ceiling, so no ratios")
    parser.add_argument("--no-syscalls", action="store_true", help="no extra run that counts them")
    parser.add_argument("--workers", type=int, default=1,
                        help="of nestord; with more than 1 it is not pinned to one core")
    parser.add_argument("--conf", default="", help="more lines for nestord's configuration")
    parser.add_argument("--cache", choices=("writeback", "writethrough"), default="writeback",
                        help="of nestord's LUN")
    parser.add_argument("--size", default="2g", help="of the image")
    parser.add_argument("--sparse", action="store_true",
                        help="the image is a hole, made anew for each sample; give it a --size that is "
                        "not read through")
    parser.add_argument("--image-dir", help="where the image is made (default: /dev/shm)")
    parser.add_argument("--disturbed-max", type=float, default=rig.DISTURBED_MAX,
                        help="share of a core that others may take before a sample is taken again")
    parser.add_argument("--nice", type=int, default=-10, help="of client and target, when root")
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    options = parser.parse_args()
    options.workloads = options.workloads.split(",")
    for workload in options.workloads:
        if workload not in WORKLOADS:
            parser.error(f"no workload {workload}; there are {', '.join(WORKLOADS)}")
    return options


def main():
    options = arguments()
    rig.nice = options.nice
    rig.stop_on_signals()
    with Scratch(options.image_dir) as folder:
        make_image = rig.sparse_image if options.sparse else rig.random_image
        image = make_image(folder / "lun.img", rig.size(options.size))
        ones = contenders(options, image, folder)
        if options.no_ceiling:
            del ones["ceiling"]
        samples = run_rounds(options, ones, image)
    kind = "sparse image" if options.sparse else "image"
    print(f"{rig.conditions()}; {options.rounds} rounds of {options.secs:g} s; {kind} of {options.size} "
          f"in {options.image_dir or '/dev/shm'}; {options.workers} worker(s)")
    print_tables(samples)
    if options.json:
        Path(options.json).write_text(json.dumps(samples, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
