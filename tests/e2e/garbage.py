"""Bytes that are no iSCSI and no JSON: the daemon goes on serving everybody else."""

import os
import random
import socket
import struct

from nestor import Daemon, Failure, expect, limit, must_run, tool, wait_until


def still_serves(daemon):
    must_run(tool("iscsi-inq"), daemon.url(0))
    daemon.ctl("status")


def send(daemon, *pieces):
    """Connects, sends, and reads until the daemon closes or is silent for a moment."""
    with socket.create_connection((daemon.host, daemon.port), timeout=5) as peer:
        try:
            for piece in pieces:
                peer.sendall(piece)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except OSError:
            pass


@limit(120)
def e2e_random_bytes_on_the_iscsi_port_disturb_nobody():
    seed = int.from_bytes(os.urandom(4), "big")
    dice = random.Random(seed)
    print(f"seed {seed}")
    with Daemon() as daemon:
        for _ in range(300):
            send(daemon, dice.randbytes(dice.choice((1, 47, 48, 49, 512, 9000))))
        still_serves(daemon)


@limit(120)
def e2e_random_login_pdus_disturb_nobody():
    """The frame of a login with random insides, so that it gets further than the first check."""
    seed = int.from_bytes(os.urandom(4), "big")
    dice = random.Random(seed)
    print(f"seed {seed}")
    keys = [b"InitiatorName=iqn.2026-11.lab.nestor:x\0", b"SessionType=Normal\0", b"AuthMethod=CHAP\0",
            b"TargetName=iqn.2026-11.lab.nestor:test\0", b"HeaderDigest=CRC32C\0", b"CHAP_A=5\0",
            b"CHAP_R=0x" + b"f" * 500 + b"\0", b"=\0", b"X" * 300 + b"=1\0", b"MaxBurstLength=0\0"]
    with Daemon() as daemon:
        for _ in range(300):
            text = b"".join(dice.choices(keys, k=dice.randrange(8)))
            text += dice.randbytes(dice.randrange(20))
            header = bytearray(dice.randbytes(48))
            header[0] = 0x43
            header[1] = dice.choice((0x87, 0x81, 0x04, 0x83, 0xC0, dice.randrange(256)))
            header[4] = dice.choice((0, 0, 0, 1, 255))
            header[5:8] = struct.pack(">I", dice.choice((len(text), len(text), 0xFFFFFF)))[1:]
            send(daemon, bytes(header) + text + bytes(-len(text) % 4))
        still_serves(daemon)


def e2e_http_on_the_iscsi_port_disturbs_nobody():
    with Daemon() as daemon:
        send(daemon, b"GET / HTTP/1.1\r\nHost: lab\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n")
        still_serves(daemon)


def e2e_half_a_pdu_is_given_up_after_the_login_timeout():
    with Daemon(login_timeout=1) as daemon:
        with socket.create_connection((daemon.host, daemon.port), timeout=20) as peer:
            peer.sendall(b"\x43\x87" + bytes(20))
            try:
                expect("what comes but the end", b"", peer.recv(1))
            except ConnectionResetError:
                pass
        still_serves(daemon)


@limit(90)
def e2e_many_silent_connections_keep_nobody_out():
    with Daemon(login_timeout=2, max_half_open=16) as daemon:
        peers = []
        try:
            for _ in range(100):
                peers.append(socket.create_connection((daemon.host, daemon.port), timeout=5))
            wait_until(lambda: can_log_in(daemon), "a login beside 100 silent connections", 20)
        finally:
            for peer in peers:
                peer.close()
        still_serves(daemon)


def can_log_in(daemon):
    try:
        still_serves(daemon)
        return True
    except Failure:
        return False


def tell_admin(daemon, data):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(daemon.socket))
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except OSError:
            pass


@limit(120)
def e2e_garbage_on_the_admin_socket_disturbs_nobody():
    with Daemon() as daemon:
        for data in (b"\n", b"\0" * 4096, os.urandom(65536), b"{" * 100000 + b"\n",
                     b"[" * 100000 + b"\n", b'{"jsonrpc":"2.0"', b"x" * (16 << 20),
                     b'{"jsonrpc":"2.0","id":1,"method":"lun.add","params":{"lun":-1}}\n',
                     b'{"jsonrpc":"2.0","id":1,"method":"lun.add","params":[1,2]}\n',
                     b'{"jsonrpc":"2.0","id":{},"method":7}\n', b"[]\n", b"null\n", b'"\xff\xfe"\n',
                     b"GET / HTTP/1.0\r\n\r\n"):
            tell_admin(daemon, data)
        still_serves(daemon)


def e2e_silent_admin_connections_disturb_nobody():
    with Daemon() as daemon:
        peers = []
        for _ in range(8):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(str(daemon.socket))
            peer.sendall(b'{"jsonrpc":')
            peers.append(peer)
        still_serves(daemon)
        for peer in peers:
            peer.close()
