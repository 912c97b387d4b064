"""nestord in a test: start it, talk to its tools, stop it, and see that nothing went wrong.

Contract
--------
A test is a function test_*() or e2e_*() without parameters in tests/wire, tests/e2e, tests/esx or
tests/crash; its name is a sentence. It passes when it returns, fails when it raises, is skipped when
it raises Skip("reason"). tests/run gives each one a process, a folder (TEST_DIR) and a time limit of
its own:

    from nestor import Daemon, expect, lun, target

    def test_second_lun_is_listed():
        with Daemon([target(lun(0, size="64M"), lun(1, size="1G"))]) as daemon:
            expect("both LUNs", 2, iscsi_ls(daemon).count("Lun:"))

`with` starts the daemon, waits until it takes connections, and stops it with SIGTERM: exit status
other than 0 or any sanitizer report is a failure. daemon.port is a free loopback port, daemon.address
what to connect to, daemon.dir its folder, daemon.image("vmfs0.img") the path of an image,
daemon.ctl("lun", "list") and daemon.json("status") run nestorctl, daemon.log() is what it said.

Decorators: @alone (nothing beside it: for what measures), @limit(120) (seconds, 60 otherwise), @plain
(only in a build without a sanitizer).
Waiting: wait_until(condition, what, seconds); never sleep in place of a condition.
The binaries come from the folder in the environment variable BUILD (default build/check-asan).
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", ROOT / "build/check-asan")).resolve()
IQN = "iqn.2026-11.lab.nestor:test"
INITIATOR = "iqn.2026-11.lab.nestor:initiator"


class Skip(Exception):
    """This test cannot run here, and why."""


class Failure(AssertionError):
    """Something was expected, something else came."""


def alone(function):
    """Nothing runs beside this test."""
    function.alone = True
    return function


def plain(function):
    """This test says nothing of a build with a sanitizer, and is left out there."""
    function.plain = True
    return function


def limit(seconds):
    """How long this test may take on a plain build; sanitizers get three times that."""

    def mark(function):
        function.limit = seconds
        return function

    return mark


def expect(what, expected, got):
    if expected != got:
        raise Failure(f"{what}: expected {expected!r}, got {got!r}")


def expect_in(what, part, whole):
    if part not in whole:
        raise Failure(f"{what}: expected {part!r} in:\n{whole}")


def build_option(name):
    """An option of the build under test, as meson has it; None when unknown."""
    try:
        options = json.loads((BUILD / "meson-info/intro-buildoptions.json").read_text())
    except OSError:
        return None
    return next((o["value"] for o in options if o["name"] == name), None)


def is_sanitized():
    return build_option("b_sanitize") not in (None, "none", [])


SLOWNESS = 3 if is_sanitized() else 1


def wait_until(condition, what, seconds=10.0):
    """Polls until condition() is true and returns its value; Failure after `seconds`."""
    end = time.monotonic() + seconds * SLOWNESS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds * SLOWNESS:.0f} s in vain for: {what}")
        time.sleep(0.01)


def free_port(host="127.0.0.1"):
    """A TCP port that nobody listens on, below the range that outgoing connections use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = random.SystemRandom().randrange(10000, 30000)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
                return port
            except OSError:
                continue
    raise Skip(f"no free port on {host}")


def has_ipv6():
    try:
        free_port("::1")
        return True
    except Skip:
        return False


def binary(name):
    """A program of the build under test."""
    for folder in ("target", "admin", "tests/e2e", "tests/esx", "tests/bench", "."):
        path = BUILD / folder / name
        if path.is_file():
            return path
    raise Failure(f"{name} is not in {BUILD}; build it first (ninja -C {BUILD})")


def tool(name):
    """A public program that this test needs."""
    path = shutil.which(name)
    if not path:
        raise Skip(f"{name} is not installed (scripts/install-deps check)")
    return path


def run(*command, seconds=60, env=None, stdin=None):
    """Runs a command to its end; the result has returncode, stdout and stderr (text)."""
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, input=stdin,
                          errors="replace", timeout=seconds * SLOWNESS,
                          env={**os.environ, **(env or {})})


def must_run(*command, **options):
    """run(), and a Failure with all that it said when it fails. Gives its standard output."""
    done = run(*command, **options)
    if done.returncode != 0:
        shown = " ".join(str(c) for c in command)
        raise Failure(f"{shown}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


# The config language


def lun(number, path=None, **keys):
    """A LUN for target(); its image is in the daemon's image folder unless the path is absolute."""
    return {"lun": number, "path": path or f"lun{number}.img", **keys}


def target(*luns, name=IQN, **keys):
    return {"name": name, **keys, "luns": list(luns)}


def to_config(value, indent=0):
    """Python data as libconfig text: dict = group, list of dicts = (list), other list = [array]."""
    pad = "  " * indent
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}L" if abs(value) > 0x7FFFFFFF else str(value)
    if isinstance(value, (str, Path)):
        text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{text}"'
    if isinstance(value, dict):
        rows = "".join(f"{pad}  {k} = {to_config(v, indent + 1)};\n" for k, v in value.items())
        return "{\n" + rows + pad + "}"
    if isinstance(value, (list, tuple)):
        items = ", ".join(to_config(v, indent + 1) for v in value)
        if any(isinstance(v, dict) for v in value):
            return f"( {items} )"
        return f"[ {items} ]" if value else "[ ]"
    raise TypeError(f"no config text for {value!r}")


class Daemon:
    """One nestord with a folder, a port and a log of its own.

    targets   a list of target(...); one target with a 64 MiB LUN 0 when left out
    args      more arguments for nestord
    host      the address to listen on and connect to: "127.0.0.1" or "::1"
    keys      global config keys: workers=2, engine="threads", nop_interval=5 ...
    config_text  the whole config, in place of targets and keys; {port} and so on are not expanded
    """

    def __init__(self, targets=None, *, args=(), host="127.0.0.1", config_text=None, env=None,
                 directory=None, port=None, **keys):
        base = os.environ.get("TEST_DIR")
        self.dir = Path(directory or tempfile.mkdtemp(prefix="nestord-", dir=base))
        self.owns_dir = directory is None and base is None
        self.images = self.dir / "images"
        self.images.mkdir(exist_ok=True)
        self.host = host
        self.port = port or free_port(host)
        self.targets = [target(lun(0, size="64M"))] if targets is None else targets
        self.keys = keys
        self.config_text = config_text
        self.args = list(args)
        self.env = env or {}
        self.config_path = self.dir / "nestor.conf"
        self.log_path = self.dir / "nestord.log"
        self.socket = self.dir / "admin.sock"
        self.process = None
        self.sanitizer_logs = self.dir / "sanitizer"
        self.sanitizer_logs.mkdir(exist_ok=True)

    # life

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.stop()
            elif self.process and self.process.poll() is None:
                self.kill(signal.SIGKILL)
            if kind is not None:
                print(f"--- last lines of {self.log_path.name}\n{self.log_tail()}", file=sys.stderr)
                for report in self.sanitizer_reports():
                    print(f"--- {report.name}\n{report.read_text(errors='replace')[:6000]}",
                          file=sys.stderr)
        finally:
            if self.owns_dir and kind is None:
                shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        """Writes the config, starts nestord and waits until it takes connections."""
        self.write_config()
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self):
        """Starts the process only: for tests in which it is meant to refuse."""
        if self.process and self.process.poll() is None:
            raise Failure("this daemon runs already")
        logs = self.sanitizer_logs / "report"
        env = {
            **os.environ,
            "ASAN_OPTIONS": f"log_path={logs}:detect_leaks=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": f"log_path={logs}:print_stacktrace=1",
            "TSAN_OPTIONS": f"log_path={logs}:halt_on_error=0:second_deadlock_stack=1",
            **self.env,
        }
        command = [str(binary("nestord")), "-c", str(self.config_path), *self.args]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env, cwd=self.dir)
        return self

    def wait_ready(self, seconds=10):
        def is_ready():
            if self.process.poll() is not None:
                raise Failure(f"nestord ended with status {self.process.returncode} at start:\n"
                              f"{self.log_tail()}")
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
            except OSError:
                return False
            return self.config_text is not None or self.socket.exists()

        wait_until(is_ready, f"nestord to take connections on {self.address}", seconds)

    def stop(self, seconds=20):
        """SIGTERM: it must end with status 0, in time, and without a sanitizer's report."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds * SLOWNESS)
        except subprocess.TimeoutExpired:
            pass  # expect_exit() says it
        self.expect_no_reports()
        self.expect_exit(0, 1)

    def expect_exit(self, status, seconds=10):
        try:
            got = self.process.wait(seconds * SLOWNESS)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGABRT)
            raise Failure(f"nestord did not end within {seconds * SLOWNESS} s:\n{self.log_tail()}")
        if got != status:
            raise Failure(f"nestord ended with status {got}, not {status}:\n{self.log_tail()}")

    def kill(self, signal_number=signal.SIGKILL):
        """Ends it the hard way and waits until it is gone."""
        self.process.send_signal(signal_number)
        self.process.wait(30)

    def restart(self):
        """stop() when it still runs, then start again: same folder, port and images."""
        if self.process and self.process.poll() is None:
            self.stop()
        return self.start()

    def expect_serving(self):
        """It lives and takes a connection."""
        if self.process.poll() is not None:
            raise Failure(f"nestord ended with status {self.process.returncode}:\n"
                          f"{self.log_tail()}")
        socket.create_connection((self.host, self.port), timeout=5 * SLOWNESS).close()

    @property
    def pid(self):
        return self.process.pid

    # what it is told

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self):
        """The first target's name."""
        return self.targets[0]["name"]

    def image(self, name="lun0.img"):
        return self.images / name

    def config(self):
        """The config as data: change self.targets or self.keys and write_config() again."""
        targets = []
        for one in self.targets:
            luns = [{**l, "path": str(self.images / l["path"])} for l in one.get("luns", [])]
            rest = {k: v for k, v in one.items() if k != "luns"}
            targets.append({**rest, "luns": luns} if luns else rest)
        rows = {"portals": [self.address], "state_dir": self.dir / "state",
                "admin_socket": self.socket, "workers": 2, **self.keys}
        return {**rows, "targets": targets} if targets else rows

    def write_config(self):
        (self.dir / "state").mkdir(exist_ok=True)
        text = self.config_text
        if text is None:
            text = "".join(f"{k} = {to_config(v)};\n" for k, v in self.config().items())
        self.config_path.write_text(text)

    def secret(self, name, text):
        """A secret file of mode 0600; gives its path for chap = { secret_file = ... }."""
        path = self.dir / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    # what it says

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except OSError:
            return ""

    def log_tail(self, lines=20):
        return "\n".join(self.log().splitlines()[-lines:])

    def wait_log(self, part, seconds=10):
        wait_until(lambda: part in self.log(), f"{part!r} in the log", seconds)

    def sanitizer_reports(self):
        return sorted(p for p in self.sanitizer_logs.iterdir() if p.stat().st_size)

    def expect_no_reports(self):
        for report in self.sanitizer_reports():
            raise Failure(f"a sanitizer reported:\n{report.read_text(errors='replace')[:6000]}")

    # nestorctl

    def ctl(self, *args, check=True, stdin=None):
        """nestorctl ARGS; its standard output. check=False: the finished process instead."""
        command = [binary("nestorctl"), "--socket", self.socket, *args]
        if check:
            return must_run(*command, stdin=stdin or "")
        return run(*command, stdin=stdin or "")

    def start_ctl(self, *args):
        """nestorctl ARGS while the test goes on; its process."""
        return subprocess.Popen([str(word) for word in (binary("nestorctl"), "--socket", self.socket,
                                                        *args)], stdout=subprocess.DEVNULL)

    def json(self, *args):
        """nestorctl --json ARGS, as data."""
        return json.loads(self.ctl("--json", *args))

    # libiscsi's and QEMU's ways to it

    def url(self, number=None, *, name=None, user=None, password=None, **parameters):
        """iscsi://[user%password@]address/target[/lun][?parameters] for libiscsi."""
        login = f"{user}%{password}@" if user else ""
        path = f"/{name or self.name}/{number}" if number is not None else ""
        query = "&".join(f"{k}={v}" for k, v in parameters.items())
        return f"iscsi://{login}{self.address}{path}" + (f"?{query}" if query else "")


def iscsi_ls(daemon, *options, **login):
    """What iscsi-ls says: targets, and with "-s" their LUNs."""
    return must_run(tool("iscsi-ls"), *options, daemon.url(**login))


def qemu_image(daemon, number=0, **options):
    """A LUN as qemu-img's --image-opts names it, with libiscsi options such as header-digest."""
    rows = {"driver": "iscsi", "transport": "tcp", "portal": daemon.address, "target": daemon.name,
            "lun": number, **{k.replace("_", "-"): v for k, v in options.items()}}
    return "driver=raw," + ",".join(f"file.{k}={v}" for k, v in rows.items())


def verify_io(daemon, number=0, *, seconds, sessions=1, megabytes=32, reconnect=None, **login):
    """Starts verify_io, the initiator that checks every block, as a process; see finish()."""
    command = [binary("verify_io"), "--seconds", seconds, "--sessions", sessions, "--megabytes",
               megabytes]
    if reconnect:
        command += ["--reconnect", reconnect]
    command.append(daemon.url(number, **login))
    # libiscsi forgets small pieces of the commands that a lost connection cuts off
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, env=env,
                            stderr=subprocess.STDOUT, text=True, errors="replace")


def finish(process, seconds):
    """Waits for a process that must end with status 0; gives what it said."""
    try:
        said, _ = process.communicate(timeout=seconds * SLOWNESS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        raise Failure(f"{process.args[0]} did not end within {seconds * SLOWNESS} s:\n{said}")
    if process.returncode != 0:
        raise Failure(f"{process.args[0]}: exit status {process.returncode}\n{said}")
    return said


class HeldSession:
    """A session that stays logged in: qemu-io on a LUN, told what to do line by line."""

    def __init__(self, daemon, number=0):
        self.output = daemon.dir / f"held-{number}-{time.monotonic_ns()}.txt"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [tool("qemu-io"), "-f", "raw", daemon.url(number)], stdin=subprocess.PIPE,
                stdout=output, stderr=output, text=True)
        self.do("length", "MiB", "GiB", "TiB", "KiB")

    def said(self):
        return self.output.read_text(errors="replace")

    def do(self, command, *answers):
        """Sends a command and waits for a whole line with one of the answers; gives all that came."""
        before = len(self.said())
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

        def came():
            if self.process.poll() is not None:
                raise Failure(f"the held session ended at {command!r}:\n{self.said()}")
            whole = self.said()[before:].rpartition("\n")[0]
            return any(a in whole for a in answers)

        wait_until(came, f"{' or '.join(answers)} after {command!r}; it said: {self.said()}", 20)
        return self.said()[before:]

    def write(self, pattern, offset="0", size="1M"):
        self.do(f"write -P {pattern} {offset} {size}", "wrote ")

    def expect_read(self, pattern, offset="0", size="1M"):
        said = self.do(f"read -P {pattern} {offset} {size}", "read ")  # "read failed: " too
        if "failed" in said or "error" in said:
            raise Failure(f"reading {pattern} at {offset}: {said}")

    def close(self):
        self.process.stdin.close()
        self.process.wait(20 * SLOWNESS)
