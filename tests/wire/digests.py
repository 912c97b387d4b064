"""CRC32C digests, RFC 7143 7.7, 7.8, 13.1 and 11.2.3: right ones everywhere, wrong ones nowhere."""

import pdu as p
from initiator import (Closed, Failure, Initiator, Task, expect_good_initiator, inquiry, pattern,
                       read10, report_luns, session, write10)
from nestor import Daemon, expect
from pdu import Pdu

HEADER = {"HeaderDigest": "CRC32C", "DataDigest": "None"}
DATA = {"HeaderDigest": "None", "DataDigest": "CRC32C"}
BOTH = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}


def spoiled(wire, at):
    return wire[:at] + bytes([wire[at] ^ 0x01]) + wire[at + 1:]


def test_everything_works_under_digests():
    with Daemon() as daemon:
        for keys in (HEADER, DATA, BOTH):
            for more in ({}, {"ImmediateData": "No"}, {"InitialR2T": "Yes", "ImmediateData": "No"}):
                with session(daemon, {**keys, **more, "MaxRecvDataSegmentLength": "8192",
                                      "FirstBurstLength": "8192", "MaxBurstLength": "16384"}) as i:
                    expect("digests that hold", (keys["HeaderDigest"], keys["DataDigest"]),
                           (i.agreed["HeaderDigest"], i.agreed["DataDigest"]))
                    data = pattern(65536, 5)
                    i.command(write10(0, 128), write=data).good()
                    i.command(read10(0, 128), read=65536).good(data)
                    i.command(read10(0xFFFFFF, 8), read=4096).refused(5, 0x21, 0)
                    i.command(inquiry(35), read=35).good()
                    i.command(report_luns(), read=4096).wait()
                    for size in (0, 1, 2, 3, 5):
                        i.ping(pattern(size))
                    expect("a text", [("X-a", "NotUnderstood")], i.text([("X-a", "1")]))
                    i.tmf(1, rtt=0x777)
                    expect("logout response", 0, i.logout().response)


def test_discovery_works_under_digests():
    with Daemon() as daemon, Initiator(daemon, discovery=True) as i:
        expect("targets", 1, len(i.login(BOTH).send_targets()))


def test_a_wrong_header_digest_ends_the_connection():
    """RFC 7143 7.7: where the next PDU begins is not known any more."""
    with Daemon() as daemon:
        for at in (0, 1, 5, 20, 40, 48, 51):
            with session(daemon, HEADER) as i:
                ping = Pdu(p.NOP_OUT, immediate=True, itt=0x99, ttt=p.RESERVED_TAG, cmd_sn=i.cmd_sn,
                           exp_stat_sn=i.exp_stat_sn)
                wire = spoiled(i.wire(ping), at)
                if at == 5:  # a length that lies: the digest must be looked at first
                    wire = wire[:5] + b"\xff" + wire[6:]
                i.send_bytes(wire)
                expect("answers to it", [], i.expect_closed())
        expect_good_initiator(daemon)


def test_a_wrong_data_digest_of_a_command_is_rejected_and_leaves_its_number_free():
    """RFC 7143 7.8: a Reject (data digest error), and it is as if the command had never come."""
    with Daemon() as daemon:
        with session(daemon, DATA) as i:
            old = pattern(4096, 1)
            i.command(write10(0, 8), write=old).good()
            task = Task(i, write10(0, 8), write=pattern(4096, 2))
            i.tasks[task.itt] = task
            command = task.pdus()[0]
            i.send_bytes(spoiled(i.wire(command), 60))
            try:
                i.expect_reject(2, command.bhs)
                expect("the spoiled write is done", False, task.is_done)
                i.command(read10(0, 8), read=4096, cmd_sn=task.cmd_sn).good(old)
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_a_wrong_data_digest_of_written_data_fails_the_command():
    """RFC 7143 7.8: a Reject, and at error recovery level 0 the task ends with 0B/47/05."""
    for keys in ({"FirstBurstLength": "512"}, {"ImmediateData": "No"}):
        with Daemon() as daemon:
            with session(daemon, {**DATA, **keys}) as i:
                old = pattern(32768, 1)
                i.command(write10(0, 64), write=old).good()
                task = Task(i, write10(0, 64), write=pattern(32768, 2), auto=False, segment=8192)
                i.tasks[task.itt] = task
                pdus = task.pdus()
                if len(pdus) > 1:
                    i.send(pdus[0])
                    sequence = pdus[1:]
                else:
                    i.send(*pdus)
                    i.pump(lambda: task.r2ts, "an R2T")
                    r2t = task.r2ts[0]
                    sequence = task.data_out(r2t.ttt, r2t.offset, r2t.desired)
                wires = [i.wire(pdu) for pdu in sequence]
                wires[1] = spoiled(wires[1], 100)
                i.send_bytes(b"".join(wires))
                try:
                    i.expect_reject(2, sequence[1].bhs)
                    task.refused(0xB, 0x47, 5)
                except Closed:
                    pass
            expect_good_initiator(daemon)


def test_a_wrong_data_digest_of_a_ping_is_rejected():
    with Daemon() as daemon:
        with session(daemon, BOTH) as i:
            ping = Pdu(p.NOP_OUT, immediate=True, itt=0x99, ttt=p.RESERVED_TAG, cmd_sn=i.cmd_sn,
                       exp_stat_sn=i.exp_stat_sn, data=b"spoiled")
            wire = i.wire(ping)
            i.send_bytes(spoiled(wire, len(wire) - 1))
            try:
                i.expect_reject(2, ping.bhs)
                i.drain()
                if any(x.itt == 0x99 for x in i.inbox):
                    raise Failure("a ping with a wrong digest was answered")
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_padding_is_part_of_the_digest_and_may_hold_anything():
    """RFC 7143 11.2.3: padding SHOULD be zero, so it may be something else."""
    with Daemon() as daemon, session(daemon, BOTH) as i:
        ping = Pdu(p.NOP_OUT, immediate=True, itt=0x99, ttt=p.RESERVED_TAG, cmd_sn=i.cmd_sn,
                   exp_stat_sn=i.exp_stat_sn, data=b"12345")
        head = bytes(ping.bhs)
        body = b"12345\xaa\xbb\xcc"
        i.send_bytes(head + p.digest(head) + body + p.digest(body))
        expect("the echo", b"12345", i.wait_for(p.NOP_IN, 0x99).data)
