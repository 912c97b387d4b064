"""A Linux guest with open-iscsi, emulated by qemu; scripts/guest-image makes what it boots.

A test that wants one calls enter_network() first: the test's process, its daemons and its guests
are then in a network namespace of their own, with HOST as the address of ours. It needs root.

    enter_network()
    with Daemon(host=HOST) as daemon, Guest() as guest:
        guest.run(f"iscsiadm -m discovery -t sendtargets -p {daemon.address}")
"""

import ctypes
import os
import platform
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from nestor import SLOWNESS, Failure, Skip, must_run

IMAGE = Path(__file__).resolve().parents[2] / "build/guest"
HOST = "10.9.0.1"
INITIATOR = "iqn.2026-11.lab.nestor:guest"
CLONE_NEWNET = 0x40000000
BRIDGE = "guests"
BOOT_SECONDS = 90


def enter_network():
    """A namespace with loopback and a bridge for the guests, until this process ends."""
    if os.geteuid() != 0:
        raise Skip("a network namespace and a tap device need root")
    if platform.machine() != "x86_64":
        raise Skip("the guest is for x86-64")
    if not Path("/dev/net/tun").exists():
        raise Skip("no /dev/net/tun here")
    if not (IMAGE / "initrd").exists():
        raise Failure("scripts/guest-image has not been run")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise Skip(f"no network namespace here: {os.strerror(ctypes.get_errno())}")
    must_run("ip", "link", "set", "lo", "up")
    must_run("ip", "link", "add", BRIDGE, "type", "bridge")
    must_run("ip", "addr", "add", f"{HOST}/24", "dev", BRIDGE)
    must_run("ip", "link", "set", BRIDGE, "up")


class Guest:
    """One guest: its shell is typed into over the serial line.

    number     from 2: the last part of its address, so that several guests can run
    initiator  its iSCSI name
    """

    def __init__(self, number=2, initiator=INITIATOR):
        self.number = number
        self.initiator = initiator
        self.process = None
        self.text = ""
        self.came = threading.Condition()
        self.runs = 0

    def __enter__(self):
        tap = f"tap{self.number}"
        must_run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        must_run("ip", "link", "set", tap, "master", BRIDGE, "up")
        words = f"console=ttyS0 quiet panic=-1 mitigations=off address=10.9.0.{self.number} " \
                f"initiator={self.initiator}"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "pc", "-cpu", "max", "-m", "256", "-display", "none",
             "-vga", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
             "-kernel", IMAGE / "kernel", "-initrd", IMAGE / "initrd", "-append", words,
             "-netdev", f"tap,id=n,ifname={tap},script=no,downscript=no",
             "-device", f"virtio-net-pci,netdev=n,romfile=,mac=52:54:00:9e:57:{self.number:02x}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        threading.Thread(target=self.listen, daemon=True).start()
        self.boot()
        return self

    def __exit__(self, kind, error, trace):
        self.process.kill()
        self.process.wait()
        if kind is not None:
            print(f"--- the guest's last lines\n{self.text[-3000:]}", file=sys.stderr)

    def listen(self):
        while data := self.process.stdout.read1(65536):
            with self.came:
                self.text += data.decode(errors="replace").replace("\r", "")
                self.came.notify_all()

    def type(self, line):
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def wait_for(self, pattern, seconds, what):
        """The match; what came before it is forgotten."""
        end = time.monotonic() + seconds * SLOWNESS
        with self.came:
            while not (found := re.search(pattern, self.text, re.DOTALL)):
                if not self.came.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise Failure(f"the guest did not {what} within {seconds * SLOWNESS} s")
                if self.process.poll() is not None:
                    raise Failure(f"the guest ended while it should {what}")
            self.text = self.text[found.end():]
        return found

    def boot(self):
        """Until its shell answers: before that it may lose what is typed."""
        end = time.monotonic() + BOOT_SECONDS * SLOWNESS
        while True:
            self.type("echo shell is $((1 + 1)) up")
            try:
                self.wait_for(r"shell is 2 up\n", 1 / SLOWNESS, "boot")
                break
            except Failure:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
        self.run("true")

    def run(self, command, check=True, seconds=30):
        """What the command printed, standard error with it; a status that is not 0 is a Failure."""
        status, said = self.status(command, seconds)
        if check and status != 0:
            raise Failure(f"in the guest, {command}: exit status {status}\n{said}")
        return said

    def status(self, command, seconds=30):
        """(exit status, what it printed)."""
        self.runs += 1
        self.type(f"echo '<:{self.runs}>'; {{ {command}\n}} 2>&1; echo \"<$?:{self.runs}>\"")
        found = self.wait_for(rf"<:{self.runs}>\n(.*?)<(\d+):{self.runs}>\n", seconds,
                              f"end: {command}")
        return int(found[2]), found[1]
