"""Residual counts, RFC 7143 11.4.5: three numbers (EDTL, what the CDB says, what moved) that ESX
checks and others mix up; directions, and what comes in additional header segments."""

import struct

import pdu as p
from initiator import (CHECK_CONDITION, GOOD, Closed, Failure, Task, expect_good_initiator, inquiry,
                       pattern, read10, report_luns, session, write10)
from nestor import Daemon, expect


def test_read_residuals_are_exact():
    with Daemon() as daemon, session(daemon) as i:
        data = pattern(4096, 3)
        i.command(write10(0, 8), write=data).good()
        i.command(read10(0, 8), read=4096).good(data)
        for edtl in (4097, 8192, 65536, 0x1000000):
            i.command(read10(0, 8), read=edtl).good(data, residual=edtl - 4096)
        for edtl in (4095, 2048, 512, 1):
            i.command(read10(0, 8), read=edtl).good(data[:edtl], residual=edtl - 4096)
        i.command(read10(0, 8)).good(b"", residual=-4096)  # neither R nor W: nothing is expected
        i.command(read10(0, 8), flags=0x80 | 0x40 | 1).good(b"", residual=-4096)
        i.command(read10(0, 0), read=512).good(b"", residual=512)


def test_write_residuals_are_exact():
    for keys in ({}, {"ImmediateData": "No"}, {"InitialR2T": "Yes", "ImmediateData": "No"}):
        with Daemon() as daemon, session(daemon, keys) as i:
            data, old = pattern(4096, 3), pattern(16384, 9)
            for edtl in (8192, 65536):
                i.command(write10(0, 32), write=old).good()
                # more is expected than the CDB takes: only the 4096 bytes count
                i.command(write10(0, 8), write=data + bytes(edtl - 4096)).good(residual=edtl - 4096)
                i.command(read10(0, 32), read=16384).good(data + old[4096:])
            for edtl in (2048, 512):
                i.command(write10(0, 32), write=old).good()
                task = i.command(write10(0, 8), write=data[:edtl])
                expect("residual of a write of 4096 with %d expected" % edtl, edtl - 4096,
                       task.residual)
                after = i.command(read10(0, 32), read=16384).good()
                if task.status == GOOD:
                    expect("what was sent arrived", data[:edtl].hex(), after[:edtl].hex())
                expect("what was not sent did not change", True, after[edtl:] == old[edtl:])
            i.command(write10(0, 32), write=old).good()
            task = i.command(write10(0, 8), write=b"")
            expect("residual of a write of 4096 with nothing expected", -4096, task.residual)
            i.command(read10(0, 32), read=16384).good(old)
            i.command(write10(0, 0), write=bytes(512), immediate_bytes=0, unsolicited_bytes=0).good(
                residual=512)


def test_parameter_data_residuals_are_exact():
    with Daemon() as daemon, session(daemon) as i:
        full = i.command(inquiry(96), read=96).wait()
        length = len(full.data)
        if not 36 <= length <= 96:
            raise Failure("standard INQUIRY data of %d bytes" % length)
        expect("residual of INQUIRY", 96 - length, full.residual)
        for allocation, edtl in ((36, 36), (36, 255), (36, 4096), (5, 255), (255, 4096)):
            moved = min(allocation, length)
            i.command(inquiry(allocation), read=edtl).good(bytes(full.data[:moved]),
                                                           residual=edtl - moved)
        # the allocation length lets more come than is expected
        i.command(inquiry(36), read=8).good(bytes(full.data[:8]), residual=8 - 36)
        i.command(report_luns(16), read=16).good(bytes([0, 0, 0, 8]) + bytes(12))
        i.command(report_luns(4096), read=4096).good(bytes([0, 0, 0, 8]) + bytes(12), residual=4080)
        i.command(b"\x25" + bytes(9), read=8).good()
        i.command(b"\x25" + bytes(9), read=32).good(residual=24)


def test_commands_without_data_leave_what_was_expected():
    with Daemon() as daemon, session(daemon) as i:
        i.command(bytes(6)).good()
        i.command(bytes(6), flags=0x80 | 0x40 | 1).good()  # ESX: TEST UNIT READY with the R bit
        i.command(bytes(6), read=512).good(b"", residual=512)
        i.command(bytes(6), write=bytes(512), immediate_bytes=0, unsolicited_bytes=0).good(
            residual=512)


def test_refused_commands_leave_what_was_expected():
    with Daemon() as daemon, session(daemon) as i:
        expect("residual of a read beyond the end", 4096,
               i.command(read10(0xFFFFFF, 8), read=4096).refused(5, 0x21, 0).residual)
        expect("residual of a write beyond the end", 4096,
               i.command(write10(0xFFFFFF, 8), write=bytes(4096)).refused(5, 0x21, 0).residual)
        expect("residual of an unknown opcode", 512,
               i.command(b"\xff" + bytes(9), read=512).refused(5, 0x20, 0).residual)


def test_a_refused_write_takes_its_unsolicited_data_along():
    """The data of a command that failed at once must not be mistaken for something else."""
    with Daemon() as daemon:
        for keys in ({"ImmediateData": "No"}, {"FirstBurstLength": "8192"}, {}):
            with session(daemon, keys) as i:
                for _ in range(5):
                    i.command(write10(0xFFFFFF, 64), write=bytes(32768)).refused(5, 0x21, 0)
                    i.command(read10(0, 8), read=4096).good()


def attempt(i, *pdus, task):
    """How it ended: "closed", "rejected", or the task's status."""
    i.send(*pdus)
    try:
        i.pump(lambda: task.is_done or i.rejects, "an end of %r" % task)
    except Closed:
        return "closed"
    return task.status if task.is_done else "rejected"


def test_a_command_in_both_directions_is_refused():
    with Daemon() as daemon:
        bidi = struct.pack(">HBBI", 5, 2, 0, 4096)  # bidirectional expected read data length
        for ahs in (b"", bidi):
            with session(daemon) as i:
                task = Task(i, read10(0, 8), read=4096, write=b"", edtl=0 if ahs else 4096, ahs=ahs)
                i.tasks[task.itt] = task
                how = attempt(i, *task.pdus(), task=task)
                if how not in ("closed", "rejected", CHECK_CONDITION):
                    raise Failure("expected a refusal of R and W together, came %r" % (how,))
        expect_good_initiator(daemon)


def test_a_command_against_its_direction_does_not_claim_that_it_was_done():
    """GOOD with residual 0 would say that all 4096 bytes moved."""
    with Daemon() as daemon:
        with session(daemon) as i:
            old = pattern(4096, 5)
            i.command(write10(0, 8), write=old).good()
            task = i.command(write10(0, 8), read=4096)  # a write with the R bit
            expect("Data-In of a write", 0, len(task.data))
            expect("a write that wrote nothing is GOOD without residual", False,
                   (task.status, task.residual) == (GOOD, 0))
            i.command(read10(0, 8), read=4096).good(old)
            task = i.submit(read10(0, 8), write=bytes(4096), auto=False)
            i.pump(lambda: task.is_done or task.r2ts, "an answer")
            expect("a read that read nothing is GOOD without residual", False,
                   (task.status, task.residual) == (GOOD, 0))
        expect_good_initiator(daemon)


def test_an_extended_cdb_is_taken_or_refused_cleanly():
    with Daemon() as daemon, session(daemon) as i:
        ahs = struct.pack(">HBB", 17, 1, 0) + bytes(16)
        long_cdb = b"\x7f" + bytes(6) + b"\x18" + b"\0\x09" + bytes(6)  # variable length, READ(32)
        i.command(long_cdb, read=4096, ahs=ahs).wait()
        expect("status of a 32-byte CDB", True,
               i.command(long_cdb, read=4096, ahs=ahs).status in (GOOD, CHECK_CONDITION))
        i.command(read10(0, 8), read=4096).good()


def test_header_segments_that_lie_are_refused():
    with Daemon() as daemon:
        for ahs in (struct.pack(">HBB", 0xFFFF, 1, 0), struct.pack(">HBB", 0, 1, 0),
                    struct.pack(">HBB", 200, 1, 0) + bytes(16), struct.pack(">HBB", 5, 2, 0),
                    b"\0" * 8, b"\xff" * 1020, struct.pack(">HBB", 17, 1, 0) + bytes(12)):
            with session(daemon) as i:
                task = Task(i, read10(0, 8), read=4096, ahs=ahs)
                i.tasks[task.itt] = task
                how = attempt(i, *task.pdus(), task=task)
                if how not in ("closed", "rejected", CHECK_CONDITION):
                    raise Failure("AHS %s: expected a refusal, came %r" % (ahs[:8].hex(), how))
        expect_good_initiator(daemon)


def test_header_segments_of_unknown_types_do_no_harm():
    with Daemon() as daemon:
        with session(daemon) as i:
            task = Task(i, read10(0, 8), read=4096, ahs=struct.pack(">HBB", 5, 0x3F, 0) + bytes(4))
            i.tasks[task.itt] = task
            attempt(i, *task.pdus(), task=task)
        with session(daemon) as i:
            ping = p.Pdu(p.NOP_OUT, immediate=True, itt=0x99, ttt=p.RESERVED_TAG, cmd_sn=i.cmd_sn,
                         exp_stat_sn=i.exp_stat_sn, ahs=struct.pack(">HBB", 5, 0x3F, 0) + bytes(4))
            i.send(ping)
            try:
                i.drain()
            except Closed:
                pass
        expect_good_initiator(daemon)
