#!/usr/bin/env python3
"""scripts/check [--quick] [--only PATTERN] [--fuzz-seconds N] [--clean]

Stages: lint; a gcc release build with -Werror, its unit tests and those marked @plain, which a
sanitizer would spoil; scripts/build-release, and the wire tests with what it builds; a clang build
under ASan and UBSan with every other test (unit, wire, e2e, esx, crash, guest); a clang build under TSan
with the unit tests and the test of eight initiators at once; every fuzzer for a bounded time. Builds
are in build/check-*.

One line a test, "ok NAME (1.2 s)", "FAILED NAME (1.2 s)" and below it the end of what it said, or
"skipped NAME: reason". The last line counts them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN_LINES = 40
SUITES = ("wire", "e2e", "esx", "crash", "guest")
EIGHT_INITIATORS = "eight_initiators"

# folder under build/: compiler, meson options
BUILDS = {
    "check-gcc": ("gcc", ["-Dbuildtype=release", "-Dwerror=true"]),
    "check-asan": ("clang", ["-Db_sanitize=address,undefined", "-Db_lundef=false",
                             "-Dwerror=true"]),
    "check-tsan": ("clang", ["-Db_sanitize=thread", "-Db_lundef=false", "-Dwerror=true"]),
    "check-fuzz": ("clang", ["-Db_sanitize=address,undefined", "-Db_lundef=false",
                             "-Dfuzzers=true"]),
}
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Tally:
    """Counts the tests, and prints their lines whole while several stages run."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def wants(self, name):
        return self.pattern in name

    def ok(self, name, seconds):
        with self.lock:
            self.passed += 1
            print(f"ok {name} ({seconds:.1f} s)", flush=True)

    def fail(self, name, seconds, said):
        with self.lock:
            self.failed += 1
            self.failures.append(name)
            print(f"FAILED {name} ({seconds:.1f} s)")
            for line in said.rstrip().splitlines()[-SHOWN_LINES:]:
                print(f"    {line}")
            sys.stdout.flush()

    def skip(self, name, reason):
        with self.lock:
            self.skipped += 1
            print(f"skipped {name}: {reason}", flush=True)

    def take(self, line):
        """Counts and shows a line of a program that prints lines of this shape itself."""
        with self.lock:
            word, _, rest = line.partition(" ")
            counts = {"ok": "passed", "FAILED": "failed", "skipped": "skipped"}
            if word in counts:
                setattr(self, counts[word], getattr(self, counts[word]) + 1)
                if word == "FAILED":
                    self.failures.append(re.sub(r" \([\d.]+ s\)$", "", rest))
            print(line, flush=True)

    def say(self, line):
        with self.lock:
            print(line, flush=True)


class Stage:
    """A heading when it begins, and its time when it ends."""

    def __init__(self, tally, title):
        self.tally, self.title = tally, title

    def __enter__(self):
        self.began = time.monotonic()
        self.tally.say(f"== {self.title}")

    def __exit__(self, *error):
        self.tally.say(f"== {self.title}: {time.monotonic() - self.began:.0f} s")


def run_lines(tally, name, command):
    """Runs a program that prints test lines; one that ends badly without FAILED is a failed test."""
    before = tally.failed
    began = time.monotonic()
    tail = []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace")
    for line in process.stdout:
        line = line.rstrip("\n")
        tail = [*tail[-SHOWN_LINES:], line]
        if not re.fullmatch(r"\d+ passed, \d+ failed(, \d+ skipped)?", line):
            tally.take(line)
    if process.wait() != 0 and tally.failed == before:
        tally.fail(name, time.monotonic() - began, "\n".join(tail))


def build(tally, folder):
    """Configures and compiles; a build that fails counts as one failed test."""
    compiler, options = BUILDS[folder]
    path = ROOT / "build" / folder
    name = f"build: {folder.removeprefix('check-')}"
    env = {**os.environ, "CC": compiler}
    with Stage(tally, f"{name} ({compiler} {' '.join(options)})"):
        began = time.monotonic()
        if not (path / "build.ninja").exists():
            shutil.rmtree(path, ignore_errors=True)
            steps = [["meson", "setup", str(path), *options]]
        else:
            steps = [["meson", "configure", str(path), *options]]
        steps.append(["ninja", "-C", str(path)])
        said = ""
        for step in steps:
            done = subprocess.run(step, cwd=ROOT, env=env, capture_output=True, text=True,
                                  errors="replace")
            said += done.stdout + done.stderr
            if done.returncode != 0:
                tally.fail(name, time.monotonic() - began, said)
                return False
        tally.ok(name, time.monotonic() - began)
        return True


def build_release(tally):
    """As for use, by the script that the README names."""
    with Stage(tally, "build: release (scripts/build-release)"):
        began = time.monotonic()
        done = subprocess.run(["scripts/build-release", "build/check-release"], cwd=ROOT, text=True,
                              capture_output=True, errors="replace", env={**os.environ, "CC": "gcc"})
        seconds = time.monotonic() - began
        if done.returncode != 0:
            tally.fail("build: release", seconds, done.stdout + done.stderr)
            return False
        tally.ok("build: release", seconds)
        return True


def unit_program(tally, test, prefix, slowness):
    """Runs one cmocka program; every test in it is a line of its own."""
    program = f"{prefix}/{test['name']}"
    began = last = time.monotonic()
    said, running, seen = [], None, 0
    process = subprocess.Popen(test["cmd"], cwd=test.get("workdir") or ROOT, text=True,
                               errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT,
                               env={**os.environ, **SANITIZERS, **test.get("env", {})})
    limit = max(test.get("timeout") or 30, 30) * slowness
    timer = threading.Timer(limit, process.kill)
    timer.start()
    for line in process.stdout:
        said = [*said[-400:], line.rstrip("\n")]
        found = re.match(r"\[\s*(RUN|OK|FAILED|ERROR|SKIPPED)\s*\] (\S.*)$", line.rstrip())
        if not found:
            continue
        what, name = found.groups()
        now = time.monotonic()
        if what == "RUN":
            running, said = name, said[-1:]
        elif running == name:  # not the list of failures at the end
            seen, running = seen + 1, None
            if what == "OK":
                tally.ok(f"{program}: {name}", now - last)
            elif what == "SKIPPED":
                tally.skip(f"{program}: {name}", "it says so itself")
            else:
                tally.fail(f"{program}: {name}", now - last, "\n".join(said))
        last = now
    status = process.wait()
    if not timer.is_alive():
        said.append(f"took longer than {limit} s")
    timer.cancel()
    seconds = time.monotonic() - began
    if running:
        tally.fail(f"{program}: {running}", seconds, "\n".join(said))
    elif status == 77:
        tally.skip(program, said[-1] if said else "exit status 77")
    elif seen == 0 and status == 0:
        tally.ok(program, seconds)
    elif status != 0 and not any(f.startswith(f"{program}: ") for f in tally.failures):
        tally.fail(program, seconds, "\n".join([*said, f"exit status {status}"]))


def declared_tests(folder, suite):
    """The tests of a suite as meson has them: name, command, environment, timeout."""
    listed = subprocess.run(["meson", "introspect", "--tests", ROOT / "build" / folder],
                            capture_output=True, text=True, check=True)
    return [t for t in json.loads(listed.stdout)
            if any(s.split(":")[-1] == suite for s in t["suite"])]


def unit(tally, folder, jobs):
    prefix = f"{folder.removeprefix('check-')}/unit"
    tests = [t for t in declared_tests(folder, "unit") if tally.wants(f"{prefix}/{t['name']}")]
    slowness = 1 if folder == "check-gcc" else 4
    with Stage(tally, f"unit tests: {folder.removeprefix('check-')}"):
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda t: unit_program(tally, t, prefix, slowness), tests))


def python_tests(tally, folder, suites, *more, only=None):
    prefix = folder.removeprefix("check-") + "/"
    with Stage(tally, f"{' '.join(suites)} tests: {prefix[:-1]}"):
        run_lines(tally, f"{prefix}tests", ["tests/run", "-b", f"build/{folder}", "--prefix", prefix,
                                            "-k", only or tally.pattern, *more, *suites])


def fuzz_program(tally, test, seconds):
    """Runs one fuzzer as meson declares it, but for `seconds`."""
    name = f"fuzz/{test['name'].removeprefix('fuzz-')}"
    command = [*test["cmd"], f"-max_total_time={seconds}"]
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT / "build/check-fuzz", capture_output=True, text=True,
                              errors="replace", timeout=seconds + 120,
                              env={**os.environ, **SANITIZERS, **test.get("env", {})})
        status, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        status, said = 1, f"{(error.stderr or b'').decode(errors='replace')}\ndid not end in time"
    took = time.monotonic() - began
    if status == 0:
        tally.ok(name, took)
    else:
        tally.fail(name, took, said)


def fuzz(tally, seconds, jobs):
    programs = [t for t in declared_tests("check-fuzz", "fuzz")
                if tally.wants(f"fuzz/{t['name'].removeprefix('fuzz-')}")]
    with Stage(tally, f"fuzzers, {seconds} s each"):
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda t: fuzz_program(tally, t, seconds), programs))


def lint(tally):
    with Stage(tally, "lint"):
        for more in (["--self-test"], []):
            run_lines(tally, "lint", ["scripts/lint", "-k", tally.pattern, *more])


STAGES = ("lint", "gcc", "release", "asan", "tsan", "fuzz")


def stages_for(options):
    """The stages that can hold a test that was asked for: asan/e2e/chap is in asan, chap in any."""
    named = re.match(rf"({'|'.join(STAGES)})\b", options.only)
    if named:
        return {named.group()}
    return {"lint", "asan"} if options.quick else set(STAGES)


def run_stages(tally, stages, options, jobs):
    if "lint" in stages:
        lint(tally)
    if "gcc" in stages and build(tally, "check-gcc"):
        unit(tally, "check-gcc", jobs)
        python_tests(tally, "check-gcc", SUITES, "--plain")
    if "release" in stages and build_release(tally):
        python_tests(tally, "check-release", ["wire"])
    others = [f"check-{s}" for s in ("tsan", "fuzz") if s in stages]
    built = set()

    def build_others():
        built.update(folder for folder in others if build(tally, folder))

    background = threading.Thread(target=build_others)
    if "asan" in stages and build(tally, "check-asan"):
        unit(tally, "check-asan", jobs)
        if options.quick:
            python_tests(tally, "check-asan", ["wire"])
        else:
            # the other builds go on beside tests that mostly wait; those that measure come last
            background.start()
            python_tests(tally, "check-asan", SUITES, "--together")
            background.join()
            python_tests(tally, "check-asan", SUITES, "--alone")
    if not background.ident:
        build_others()
    if "check-tsan" in built:
        unit(tally, "check-tsan", jobs)
        python_tests(tally, "check-tsan", ["e2e"], only=EIGHT_INITIATORS)
    if "check-fuzz" in built:
        fuzz(tally, options.fuzz_seconds, jobs)


def main():
    parser = argparse.ArgumentParser(prog="scripts/check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="lint, and the ASan build with its unit and wire tests")
    parser.add_argument("--only", default="", metavar="PATTERN",
                        help="only tests whose line holds this, such as asan/e2e/chap or lint")
    parser.add_argument("--fuzz-seconds", type=int, default=10, help="for each fuzzer (10)")
    parser.add_argument("--clean", action="store_true", help="remove the builds first")
    options = parser.parse_args()
    os.environ["LC_ALL"] = "C.UTF-8"
    jobs = max(2, os.cpu_count() or 2)
    tally = Tally(options.only)
    began = time.monotonic()
    if options.clean:
        for folder in (*BUILDS, "check-release"):
            shutil.rmtree(ROOT / "build" / folder, ignore_errors=True)

    run_stages(tally, stages_for(options), options, jobs)

    if tally.failures:
        print("== failed")
        for name in tally.failures:
            print(f"    {name}")
    print(f"== {time.monotonic() - began:.0f} s in all")
    tail = f", {tally.skipped} skipped" if tally.skipped else ""
    print(f"{tally.passed} passed, {tally.failed} failed{tail}")
    return 1 if tally.failed or tally.passed + tally.skipped == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
