#!/usr/bin/env python3
"""What nestord takes: memory with two LUNs, memory a session, and the time until it accepts.

BUILD names a release build. The targets are shown beside, for the reader; nothing fails here.
"""

import os
import socket
import statistics
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.dont_write_bytecode = True

from nestor import IQN, Daemon, build_option, lun, target  # noqa: E402

SESSIONS = 500
STARTS = 15
LOGIN = 0x43
FULL_FEATURE = 0x87  # transit from operational negotiation to full feature phase


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def log_in(daemon, number):
    """An ESX's login in one PDU; gives the socket of a session that then says nothing."""
    keys = {"InitiatorName": f"iqn.1998-01.com.vmware:esx{number}", "TargetName": IQN,
            "SessionType": "Normal", "HeaderDigest": "None", "DataDigest": "None",
            "MaxRecvDataSegmentLength": "131072", "ImmediateData": "Yes", "InitialR2T": "No",
            "MaxBurstLength": "262144", "FirstBurstLength": "262144"}
    text = b"".join(f"{k}={v}".encode() + b"\0" for k, v in keys.items())
    header = struct.pack(">BBBBB3s6sHIHHIIQQ", LOGIN, FULL_FEATURE, 0, 0, 0,
                         len(text).to_bytes(3, "big"), bytes.fromhex("00023d000001"), 0, number, 0, 0,
                         1, 0, 0, 0)
    peer = socket.create_connection((daemon.host, daemon.port), timeout=10)
    peer.sendall(header + text + bytes(-len(text) % 4))
    answer = peer.recv(48, socket.MSG_WAITALL)
    if answer[0] != 0x23 or answer[36] != 0:
        raise RuntimeError(f"login {number} was refused: {answer.hex()}")
    rest = int.from_bytes(answer[5:8], "big")
    peer.recv(rest + -rest % 4, socket.MSG_WAITALL)
    return peer


def start_seconds():
    """From exec until a connection is taken, without the poll's grain."""
    daemon = Daemon([target(lun(0, size="64G"), lun(1, size="64G"))])
    daemon.write_config()
    began = time.monotonic()
    daemon.spawn()
    while True:
        try:
            socket.create_connection((daemon.host, daemon.port)).close()
            break
        except OSError:
            if daemon.process.poll() is not None or time.monotonic() > began + 10:
                raise RuntimeError(daemon.log_tail())
            time.sleep(0.0005)
    seconds = time.monotonic() - began
    daemon.stop()
    return seconds


def row(what, value, unit, goal):
    print(f"{what:44} {value:9.1f} {unit:4} (target {goal} {unit})")


def main():
    if build_option("buildtype") != "release":
        print(f"note: {os.environ.get('BUILD', 'the build')} is no release build")
    with Daemon([target(lun(0, size="64G"), lun(1, size="64G"))],
                max_sessions=SESSIONS + 8, max_half_open=SESSIONS, nop_interval=0) as daemon:
        idle = resident_kib(daemon.pid)
        row("resident, two LUNs, no session", idle / 1024, "MiB", 8)
        peers = [log_in(daemon, n) for n in range(1, SESSIONS + 1)]
        grown = resident_kib(daemon.pid)
        row(f"resident a session, {SESSIONS} idle ones", (grown - idle) / SESSIONS, "KiB", 64)
        for peer in peers:
            peer.close()
    row(f"start until it accepts, median of {STARTS}",
        statistics.median(start_seconds() for _ in range(STARTS)) * 1000, "ms", 50)


if __name__ == "__main__":
    main()
