#!/usr/bin/env python3
"""scripts/bench scale: what nestord takes when there is much of something.

Memory with two LUNs, idle and under load, and the time until it accepts; what an idle session takes,
how many log in a second (login, TEST UNIT READY, READ CAPACITY), and the processor time of a thousand
that say nothing; a thousand LUNs: when they are ready, and their memory; two workers beside one, with
two ceilings beside one; COMPARE AND WRITE beside plain writes; what digests cost at 128k. --only takes
some of these.
"""

import argparse
import socket
import statistics
import sys
import time

import ats
import rig
from rig import Ceiling, Nestor, Scratch, lun, note, target

SESSIONS = 1000
LUNS = 1000
STARTS = 15
ROUNDS = 3
POLL_S = 0.0005


def resident_kib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def row(what, value, unit):
    print(f"| {what} | {value} | {unit} |", flush=True)


def heading(title):
    print(f"\n### {title}\n\n| what | value | unit |\n| --- | ---: | --- |")


def start_seconds(daemon):
    """From exec until a connection is taken."""
    daemon.write_config()
    began = time.monotonic()
    daemon.spawn()
    while time.monotonic() < began + 120:
        try:
            socket.create_connection((daemon.host, daemon.port)).close()
            return time.monotonic() - began
        except OSError:
            if daemon.process.poll() is not None:
                break
            time.sleep(POLL_S)
    raise RuntimeError(daemon.log_tail())


def memory(folder, options):
    heading("Memory, two LUNs")
    image = rig.random_image(folder / "memory.img", 256 << 20)
    with Nestor([target(lun(0, image), lun(1, size="64G"))], folder) as daemon:
        row("resident, idle", f"{resident_kib(daemon.pid) / 1024:.1f}", "MiB")
        for title, words in (("4k random read, QD 32", "--rw randread --qd 32"),
                             ("4k random write, QD 32", "--rw randwrite --qd 32"),
                             ("128k write, QD 16", "--rw write --bs 128k --qd 16")):
            sample = rig.load(daemon, *words.split(), "--secs", options.secs)
            row(f"resident, {title}", f"{sample['resident_kib'] / 1024:.1f}", "MiB")
    image.unlink()
    starts = []
    for _ in range(STARTS):
        daemon = Nestor([target(lun(0, size="64G"), lun(1, size="64G"))], folder)
        starts.append(start_seconds(daemon))
        daemon.stop()
    row(f"start until it accepts, median of {STARTS}", f"{statistics.median(starts) * 1000:.1f}", "ms")


def sessions(folder, options):
    heading(f"{SESSIONS} idle sessions")
    with Nestor([target(lun(0, size="64M"))], folder, max_sessions=SESSIONS + 8,
                max_half_open=SESSIONS) as daemon:
        s = rig.load(daemon, "--rw", "idle", "--sessions", SESSIONS, "--warmup", 0.5, "--secs",
                     max(3, options.secs))
    grown = s["resident_kib"] - s["resident_before_login_kib"]
    row("resident a session", f"{grown / SESSIONS:.1f}", "KiB")
    row("logins, one after the other", f"{s['logins_s']:.0f}", "a second")
    with Nestor([target(lun(0, size="64M"))], folder, max_sessions=SESSIONS + 8,
                max_half_open=SESSIONS) as daemon:
        eight = rig.load(daemon, "--rw", "idle", "--sessions", SESSIONS, "--threads", 8, "--warmup",
                         0, "--secs", 0.1)
    row("logins, eight at a time", f"{eight['logins_s']:.0f}", "a second")
    row("processor time", f"{s['target_cpu_s'] / s['seconds'] * 100:.2f}", "% of a core")
    row("wake-ups", f"{s['switches_s']:.1f}", "a second")


def luns(folder, options):
    heading("Many LUNs, sparse images of 64M")
    for count in (2, LUNS):
        daemon = Nestor([target(*[lun(n, size="64M") for n in range(count)])], folder)
        try:
            for what in ("first", "second"):
                seconds = start_seconds(daemon)
                row(f"{what} start until it accepts, {count} LUNs", f"{seconds * 1000:.0f}", "ms")
                row(f"resident, {count} LUNs", f"{resident_kib(daemon.pid) / 1024:.1f}", "MiB")
                if what == "second":
                    s = rig.load(daemon, "--rw", "randread", "--lun", f"0-{count - 1}", "--secs",
                                 options.secs)
                    row(f"4k random read over all, QD 32, {count} LUNs", f"{s['iops']:.0f}", "IOPS")
                daemon.stop()
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()


def workers(folder, options):
    """On two cores the client has to share them, so the ceilings say what could be had."""
    heading("Two workers, 8 sessions x QD 16, 4k random read, nothing pinned")
    image = rig.random_image(folder / "workers.img", 512 << 20)
    words = ["--rw", "randread", "--qd", 16, "--sessions", 8, "--threads", 2, "--secs", options.secs]
    rates = {}
    for count in (1, 2):
        for name, contender in (("ceiling", Ceiling(image, folder, count=count, cores=rig.CORES)),
                                ("nestor", Nestor([target(lun(0, image))], folder, workers=count,
                                                  cores=rig.CORES))):
            with contender:
                s = rig.measured(contender, *words, cores=rig.CORES)
                rates[name, count] = s["iops"]
                row(f"{name}, {count}", f"{s['iops']:.0f}", "IOPS")
    for name in ("ceiling", "nestor"):
        row(f"{name}, two to one", f"{rates[name, 2] / rates[name, 1]:.2f}", "")
    image.unlink()


def locks(folder, options):
    with Scratch(options.image_dir) as place:
        ats.measure("writeback", folder, place, options.secs)


def digests(folder, options):
    """Read payload is dropped unchecked, so that the client's own digests are not in the way."""
    heading("Digests, 128k, QD 16")
    image = rig.random_image(folder / "digests.img", 512 << 20)
    ways = {"no digest": [], "header digest": ["--digest", "header"], "both": ["--digest", "both"]}
    samples = {}
    with Nestor([target(lun(0, image))], folder) as daemon:
        for _ in range(ROUNDS):
            for rw in ("read", "write"):
                for way, more in ways.items():
                    samples.setdefault((rw, way), []).append(rig.measured(
                        daemon, "--rw", rw, "--bs", "128k", "--qd", 16, "--discard", 1, "--secs",
                        options.secs, *more))
    for (rw, way), ones in samples.items():
        plain = rig.median(samples[rw, "no digest"], "target_us")
        row(f"{rw}, {way}", f"{rig.median(ones, 'mib_s'):.0f}", "MiB/s")
        row(f"{rw}, {way}: processor time", f"{rig.median(ones, 'target_us'):.1f}",
            f"us a command ({rig.median(ones, 'target_us') / plain:.2f} times)")
    image.unlink()


PARTS = {"memory": memory, "sessions": sessions, "luns": luns, "workers": workers, "ats": locks,
         "digests": digests}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--secs", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--image-dir", default="/var/tmp", help="where the ATS image is (/var/tmp)")
    parser.add_argument("--nice", type=int, default=-10, help="of client and target, when root")
    options = parser.parse_args()
    parts = options.only.split(",")
    for part in parts:
        if part not in PARTS:
            parser.error(f"no {part}; there are {', '.join(PARTS)}")
    rig.nice = options.nice
    rig.stop_on_signals()
    print(rig.conditions())
    with Scratch() as folder:
        for part in parts:
            note(part)
            PARTS[part](folder, options)


if __name__ == "__main__":
    sys.exit(main())
