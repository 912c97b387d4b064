"""What no initiator should send. After each, the daemon lives and serves a good one at once."""

import random
import socket

import pdu as p
from initiator import (FULL_FEATURE, OPERATIONAL, TEST_UNIT_READY, TRANSIT, Closed, Connection,
                       Failure, Initiator, TimedOut, expect_good_initiator,
                       expect_good_initiator_soon, pattern, plus, read10, session, write10)
from nestor import Daemon, expect, wait_until
from pdu import Pdu, encode_text


def test_random_bytes_do_no_harm():
    rng = random.Random(7143)
    with Daemon(login_timeout=2) as daemon:
        for _ in range(60):
            with Connection(daemon) as c:
                try:
                    c.send_bytes(rng.randbytes(rng.randrange(1, 3000)))
                except Closed:
                    pass
        expect_good_initiator(daemon)


def test_random_headers_do_no_harm_in_full_feature_phase():
    rng = random.Random(3720)
    with Daemon() as daemon:
        for n in range(60):
            with Initiator(daemon, name="iqn.2026-11.lab:rng-%d" % n) as i:
                i.login()
                for _ in range(10):
                    head = bytearray(rng.randbytes(48))
                    head[0] = rng.choice(list(p.LAYOUT) + [0x1F]) | rng.choice((0, 0x40))
                    head[4] = rng.choice((0, 0, 0, 1, 5))
                    length = rng.choice((0, 0, 4, 100))
                    head[5:8] = length.to_bytes(3, "big")
                    if rng.random() < 0.7:
                        head[24:28] = i.cmd_sn.to_bytes(4, "big")
                    try:
                        i.send_bytes(bytes(head) + rng.randbytes(4 * head[4] + length))
                    except Closed:
                        break
        expect_good_initiator(daemon)


def test_spoiled_sessions_do_no_harm():
    """A session that is right but for one flipped byte."""
    rng = random.Random(1)
    with Daemon() as daemon:
        for n in range(80):
            with Initiator(daemon, name="iqn.2026-11.lab:flip-%d" % n) as i:
                i.login({"FirstBurstLength": "512"})
                wire = bytearray()
                for k in range(4):
                    command = Pdu(p.SCSI_COMMAND, flags=0x80 | 0x20 | 1, itt=k + 1, edtl=4096,
                                  cmd_sn=i.take_cmd_sn(), exp_stat_sn=i.exp_stat_sn,
                                  cdb=write10(8 * k, 8), data=bytes(512))
                    wire += command.to_bytes()
                wire[rng.randrange(len(wire))] ^= 1 << rng.randrange(8)
                try:
                    i.send_bytes(bytes(wire))
                except Closed:
                    pass
                i.reset() if n % 2 else i.close()
        expect_good_initiator(daemon)


def test_pdus_may_come_byte_by_byte():
    with Daemon() as daemon, Initiator(daemon) as i:
        whole = i.send_bytes

        def drip(data):
            for at in range(len(data)):
                whole(data[at:at + 1])

        i.send_bytes = drip
        i.login({"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}).clear_unit_attention()
        i.command(write10(0, 2), write=pattern(1024, 3)).good()
        i.ping(b"slowly")
        i.command(read10(0, 2), read=1024).good(pattern(1024, 3))
        expect("logout response", 0, i.logout().response)


def test_pdus_may_come_in_pieces_of_any_size():
    rng = random.Random(2)
    with Daemon() as daemon, session(daemon, {"FirstBurstLength": "8192"}) as i:
        whole = i.send_bytes

        def pieces(data):
            at = 0
            while at < len(data):
                size = rng.choice((1, 3, 47, 48, 49, 500, 8191, 70000))
                whole(data[at:at + size])
                at += size

        i.send_bytes = pieces
        tasks = [i.submit(write10(128 * n, 128), write=pattern(65536, n)) for n in range(8)]
        for task in tasks:
            task.good()
        for n in range(8):
            i.command(read10(128 * n, 128), read=65536).good(pattern(65536, n))


def test_a_pdu_that_is_cut_anywhere_does_no_harm():
    with Daemon() as daemon:
        login = Initiator(daemon)
        pairs = login.names() + login.keys()
        login.close()
        wire = Pdu(p.LOGIN_REQUEST, immediate=True, flags=TRANSIT | OPERATIONAL << 2 | FULL_FEATURE,
                   isid=1, data=encode_text(pairs)).to_bytes()
        for cut in list(range(0, 60)) + list(range(60, len(wire), 37)):
            with Connection(daemon) as c:
                c.send_bytes(wire[:cut])
        expect_good_initiator(daemon)


def test_a_huge_data_segment_is_refused():
    with Daemon() as daemon:
        for opcode in (p.LOGIN_REQUEST, p.NOP_OUT):
            with Connection(daemon) as c:
                head = bytearray(Pdu(opcode, immediate=True).bhs)
                head[5:8] = b"\xff\xff\xff"
                c.send_bytes(bytes(head))
                c.expect_closed()
        for opcode in (p.NOP_OUT, p.SCSI_COMMAND, p.TEXT_REQUEST, p.DATA_OUT, p.LOGOUT_REQUEST,
                       p.TMF_REQUEST, 0x1F):
            with session(daemon) as i:
                head = bytearray(Pdu(opcode, immediate=True, itt=5, ttt=p.RESERVED_TAG).bhs
                                 if opcode in (p.NOP_OUT, p.TEXT_REQUEST, p.DATA_OUT) else
                                 Pdu(opcode, immediate=True, itt=5).bhs)
                head[5:8] = b"\xff\xff\xff"
                i.send_bytes(bytes(head))
                for pdu in i.expect_closed():
                    expect("PDU before the end", "Reject", pdu.name)
        expect_good_initiator(daemon)


def test_data_where_none_belongs_does_no_harm():
    with Daemon() as daemon:
        for opcode, fields in ((p.TMF_REQUEST, {"rtt": 7}), (p.LOGOUT_REQUEST, {"cid": 9}),
                               (p.SNACK, {})):
            with session(daemon) as i:
                flags = {p.TMF_REQUEST: 0x81, p.LOGOUT_REQUEST: 0x81}.get(opcode, 0x80)
                request = Pdu(opcode, immediate=True, flags=flags, itt=i.itt(), data=bytes(100),
                              **fields)
                request.exp_stat_sn = i.exp_stat_sn
                if opcode != p.SNACK:
                    request.cmd_sn = i.cmd_sn
                i.send(request)
                try:
                    i.drain()
                except Closed:
                    pass
        expect_good_initiator(daemon)


def test_two_hundred_silent_connections_do_not_lock_anybody_out():
    with Daemon(login_timeout=3) as daemon:
        silent = [Connection(daemon) for _ in range(200)]
        try:
            expect_good_initiator_soon(daemon)
        finally:
            for c in silent:
                c.close()


def test_a_half_closed_connection_ends_well():
    with Daemon() as daemon:
        with session(daemon) as i:
            task = i.submit(read10(0, 2048), read=1 << 20)
            i.socket.shutdown(socket.SHUT_WR)
            try:
                task.wait()
            except Closed:
                pass
            i.expect_closed()
        expect_good_initiator(daemon)


def test_an_initiator_that_does_not_read_is_held_back_and_then_served():
    """Answers wait; the daemon neither grows without bound nor stops serving others."""
    with Daemon(memory_limit="32M") as daemon, session(daemon) as i:
        window = min(64, (i.max_cmd_sn - i.cmd_sn + 1) & 0xFFFFFFFF)
        tasks = [i.submit(read10(0, 2048), read=1 << 20) for _ in range(window)]
        for _ in range(3):
            expect_good_initiator(daemon)
        for task in tasks:
            task.good()


def test_an_initiator_that_never_reads_and_goes_leaves_nothing_behind():
    with Daemon(memory_limit="32M") as daemon:
        for n in range(6):
            i = Initiator(daemon, name="iqn.2026-11.lab:deaf-%d" % n).login()
            i.clear_unit_attention()
            for _ in range(16):
                i.submit(read10(0, 2048), read=1 << 20)
            i.reset()
        expect_good_initiator(daemon)


def test_writes_that_get_no_data_do_not_keep_others_from_memory():
    with Daemon(memory_limit="32M") as daemon:
        keys = {"MaxOutstandingR2T": "8"}
        held = [Initiator(daemon, name="iqn.2026-11.lab:hold-%d" % n).login(keys)
                for n in range(6)]
        for i in held:
            i.clear_unit_attention()
            for _ in range(16):
                i.submit(write10(0, 16384), write=bytes(8 << 20), auto=False, immediate_bytes=0,
                         unsolicited_bytes=0)
            i.ping(b"there", immediate=True)
        with session(daemon, name="iqn.2026-11.lab:good") as good:
            good.command(write10(0, 128), write=pattern(65536, 1)).good()
            good.command(read10(0, 128), read=65536).good(pattern(65536, 1))
        for i in held:
            i.reset()
        expect_good_initiator(daemon)


def test_pings_without_end_are_answered_without_end():
    with Daemon() as daemon, session(daemon) as i:
        for _ in range(20):
            tags = [i.itt() for _ in range(100)]
            i.send(*(Pdu(p.NOP_OUT, immediate=True, itt=itt, ttt=p.RESERVED_TAG, cmd_sn=i.cmd_sn,
                         exp_stat_sn=i.exp_stat_sn, data=bytes(100)) for itt in tags))
            for itt in tags:
                expect("bytes of the echo", 100, len(i.wait_for(p.NOP_IN, itt).data))


def test_answers_that_nobody_takes_end_the_connection_or_wait():
    """A flood of pings from one who never reads: bounded, and nobody else notices."""
    with Daemon(memory_limit="32M") as daemon:
        with session(daemon) as i:
            ping = Pdu(p.NOP_OUT, immediate=True, itt=1, ttt=p.RESERVED_TAG, cmd_sn=i.cmd_sn,
                       exp_stat_sn=i.exp_stat_sn, data=bytes(4096)).to_bytes()
            i.socket.settimeout(0.5)
            try:
                for _ in range(40):
                    i.socket.sendall(ping * 200)
            except (socket.timeout, ConnectionError, TimedOut):
                pass
            expect_good_initiator(daemon)
        expect_good_initiator(daemon)


def test_commands_without_end_beyond_the_window_are_ignored():
    with Daemon() as daemon:
        with session(daemon) as i:
            i.drain()
            far = plus(i.max_cmd_sn)
            burst = b"".join(Pdu(p.SCSI_COMMAND, flags=0x81, itt=n + 1000, cmd_sn=plus(far, n),
                                 exp_stat_sn=i.exp_stat_sn).to_bytes() for n in range(2000))
            i.send_bytes(burst)
            i.drain()
            i.command(TEST_UNIT_READY).good()
        expect_good_initiator(daemon)


def test_immediate_commands_without_end_are_bounded():
    """RFC 7143 4.2.2.1: immediate commands beyond what the target has room for get a Reject."""
    with Daemon() as daemon:
        with session(daemon, {"FirstBurstLength": "512"}) as i:
            for n in range(2000):
                i.send(Pdu(p.SCSI_COMMAND, immediate=True, flags=0xA1, itt=0x100000 + n, edtl=4096,
                           cmd_sn=i.cmd_sn, exp_stat_sn=i.exp_stat_sn, cdb=write10(0, 8)))
            try:
                i.ping(b"still", immediate=True)
                waiting = sum(1 for x in i.inbox if x.opcode == p.R2T)
                rejected = len(i.rejects)
                if waiting + rejected > 2000 or waiting == 2000:
                    raise Failure("%d R2Ts and %d Rejects for 2000 immediate writes"
                                  % (waiting, rejected))
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_an_initiator_that_does_not_read_its_logout_is_let_go():
    """Its connection stayed for ever when nothing pinged it (nop_interval = 0)."""
    with Daemon(nop_interval=0, login_timeout=1) as daemon, session(daemon) as i:
        pieces, send_bytes = [], i.send_bytes
        i.send_bytes = pieces.append
        for _ in range(64):
            i.submit(read10(0, 2048), read=1 << 20)
        i.send(Pdu(p.LOGOUT_REQUEST, immediate=True, itt=0x7777, flags=0x80, cmd_sn=i.cmd_sn,
                   exp_stat_sn=i.exp_stat_sn))
        send_bytes(b"".join(pieces))  # at once: what comes behind a full queue is not read
        wait_until(lambda: not daemon.json("session", "list")["sessions"], "the session to be gone")
        expect_good_initiator(daemon)
