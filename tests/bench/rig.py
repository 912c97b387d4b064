"""What the measurements share: targets to measure, each alone and pinned, and the load generator.

A contender is a context manager that starts one target over an image and stops it. Only one runs at
a time, so all can serve the same file, and none disturbs another. load() runs the load generator
against it and gives its JSON; measured() does it again when others got in the way.
scripts/bench puts this into a network namespace where it may; see docs/performance.md.
"""

import ctypes
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.dont_write_bytecode = True

from nestor import IQN, Daemon, binary, build_option, free_port, lun, must_run, target  # noqa: E402

DISTURBED_MAX = 0.1  # of a core; a sample with more than that is taken again
TRIES = 3
CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORES = CORES[:1]
TARGET_CORES = CORES[1:2] or CORES[:1]
SECONDS_MAX = 120
nice = -10  # of client and target, where root may; see be_nice()


def note(text):
    print(text, file=sys.stderr, flush=True)


def conditions():
    """What a reader must know of where this ran."""
    release = build_option("buildtype") == "release"
    parts = [f"{os.cpu_count()} cores", f"Linux {os.uname().release}",
             "release build" if release else "NOT a release build",
             "network namespace of its own" if os.environ.get("BENCH_NETNS") else "the host's loopback",
             Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()]
    return ", ".join(parts)


# Processes


def pin(cores):
    return ["taskset", "-c", ",".join(str(c) for c in cores)] if shutil.which("taskset") else []


def be_nice(pid):
    """The kernel groups by session (autogroup), where plain nice does nothing between groups."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except OSError:
        pass


def end_with_parent():
    """In the child: nothing is left running when this script is killed (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def spawn(command, log, cores, **options):
    """A process in a session of its own, pinned."""
    with open(log, "ab") as out:
        process = subprocess.Popen([*pin(cores), *[str(c) for c in command]], stdout=out, stderr=out,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=end_with_parent, **options)
    if nice and os.geteuid() == 0:
        be_nice(process.pid)
    return process


def end(process):
    process.terminate()
    try:
        process.wait(20)
    finally:  # also when we are interrupted
        process.kill()
        process.wait()


def wait_for_port(port, process, log):
    import socket

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.005)
    raise RuntimeError(f"{process.args} did not come up:\n{Path(log).read_text()[-2000:]}")


# Contenders


class Nestor(Daemon):
    """nestord, pinned; `program` when it is not the one of this build, `more` config lines."""

    def __init__(self, targets, folder, *, name="nestor", program=None, cores=None, more="", wrap=(),
                 **keys):
        self.label, self.program = name, program
        self.cores, self.more, self.wrap = cores or TARGET_CORES, more, list(wrap)
        keys = {"workers": 1, "nop_interval": 0, **keys}
        super().__init__(targets, directory=tempfile.mkdtemp(dir=folder), **keys)

    def write_config(self):
        super().write_config()
        if self.more:
            with open(self.config_path, "a") as config:
                config.write(self.more.rstrip().rstrip(";") + ";\n")

    def spawn(self):
        command = [*self.wrap, self.program or binary("nestord"), "-c", self.config_path]
        self.process = spawn(command, self.log_path, self.cores, cwd=self.dir)
        return self

    def load_options(self):
        return ["--portal", self.address, "--target", self.name]


class Ceiling:
    """No iSCSI: what the machine allows by the same means."""

    label = "ceiling"

    def __init__(self, image, folder, *, count=1, cores=None):
        self.image, self.log = image, Path(folder, "ceiling.log")
        self.ports = [free_port() for _ in range(count)]
        self.cores, self.processes = cores or TARGET_CORES, []

    def __enter__(self):
        for port in self.ports:
            process = spawn([binary("ceiling"), self.image, port], self.log, self.cores)
            self.processes.append(process)
            wait_for_port(port, process, self.log)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            end(process)

    @property
    def pid(self):
        return self.processes[0].pid

    def load_options(self):
        portals = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return ["--no-login", "--portal", portals, "--span", Path(self.image).stat().st_size]


class Tgt:
    """Debian's tgt, with its defaults: the image is LUN 1."""

    label = "tgt"
    lun = 1

    def __init__(self, image, folder):
        self.image, self.log, self.port = image, Path(folder, "tgt.log"), free_port()
        self.control = str(self.port)
        self.env = {**os.environ, "TGT_IPC_SOCKET": str(Path(folder, "tgt.ipc"))}

    @staticmethod
    def is_installed():
        return shutil.which("tgtd") and shutil.which("tgtadm")

    def ask(self, *words):
        subprocess.run(["tgtadm", "-C", self.control, "--lld", "iscsi", *[str(w) for w in words]],
                       env=self.env, check=True, capture_output=True, timeout=20)

    def __enter__(self):
        self.process = spawn(["tgtd", "-f", "-C", self.control, "--iscsi",
                              f"portal=127.0.0.1:{self.port}"], self.log, TARGET_CORES, env=self.env)
        try:
            wait_for_port(self.port, self.process, self.log)
            self.ask("--op", "new", "--mode", "target", "--tid", 1, "-T", IQN)
            self.ask("--op", "new", "--mode", "logicalunit", "--tid", 1, "--lun", self.lun,
                     "--bstype", "rdwr", "-b", self.image)
            self.ask("--op", "bind", "--mode", "target", "--tid", 1, "-I", "ALL")
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()  # it ignores SIGTERM while it has a target
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def load_options(self):
        return ["--portal", f"127.0.0.1:{self.port}", "--target", IQN, "--lun", self.lun]


# The load


def start_load(contender, *options, cores=None):
    """The load generator as a process whose JSON finish_load() takes."""
    command = [*pin(cores or CLIENT_CORES), binary("load"), *contender.load_options(), "--pid",
               contender.pid, "--json", "-", *options]
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE, start_new_session=True,
                               preexec_fn=end_with_parent)
    if nice and os.geteuid() == 0:
        be_nice(process.pid)
    return process


def finish_load(process):
    try:
        out, error = process.communicate(timeout=SECONDS_MAX)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(process.args)}: exit status {process.returncode}\n{error}")
    return json.loads(out)


def load(contender, *options, cores=None):
    return finish_load(start_load(contender, *options, cores=cores))


def measured(contender, *options, disturbed_max=DISTURBED_MAX, cores=None):
    """A sample; the quietest of some tries when others got in the way."""
    best = None
    for attempt in range(TRIES):
        sample = load(contender, *options, cores=cores)
        if best is None or sample["disturbed"] < best["disturbed"]:
            best = sample
        if best["disturbed"] <= disturbed_max:
            break
        time.sleep(0.5)
    return best


def median(samples, field):
    return statistics.median(s[field] for s in samples)


# Images


class Scratch:
    """A folder that is gone in the end; on tmpfs unless another place is asked for."""

    def __init__(self, place=None):
        self.place = place or "/dev/shm"

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="nestor-bench-", dir=self.place))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def random_image(path, size_bytes):
    """Random content, all of it in the page cache."""
    room = shutil.disk_usage(Path(path).parent).free
    if room < size_bytes + (256 << 20):
        raise SystemExit(f"{Path(path).parent} has only {room >> 20} MiB left; see --size, --image-dir")
    piece = os.urandom(16 << 20)
    with open(path, "wb") as image:
        for at in range(0, size_bytes, len(piece)):
            image.write(piece[:size_bytes - at])
    return path


def sparse_image(path, size_bytes):
    """Nothing but a hole, and no page of it in the page cache."""
    with open(path, "wb") as image:
        image.truncate(size_bytes)
    return path


def size(text):
    """Bytes of "2g" and the like."""
    shifts = {"k": 10, "m": 20, "g": 30}
    return int(text[:-1]) << shifts[text[-1].lower()] if text[-1].isalpha() else int(text)


def stop_on_signals():
    """SIGTERM ends like Ctrl-C: with every target stopped and every folder removed."""
    def raise_interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, raise_interrupt)


__all__ = ["IQN", "binary", "lun", "must_run", "target"]
