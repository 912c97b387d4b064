"""Data-Out that breaks its rules: it must fail in a way that RFC 7143 7.x and 11.4.7.2 know, must
not be answered GOOD, and must not trouble anybody else."""

import pdu as p
from initiator import (CHECK_CONDITION, FINAL, GOOD, Closed, Task, expect_good_initiator,
                       pattern, read10, session, write10)
from nestor import Daemon, expect
from pdu import Pdu

SLOW = {"FirstBurstLength": "512", "MaxBurstLength": "65536"}


def failure_of(i, task):
    """How a command failed: "reject", "closed" or "check"; GOOD, or no answer, fails the test."""
    rejects = len(i.rejects)
    try:
        i.pump(lambda: task.is_done or len(i.rejects) > rejects, "a failure of %r" % task)
    except Closed:
        return "closed"
    if not task.is_done:
        return "reject"
    expect("status of the broken %r" % task, CHECK_CONDITION, task.status)
    expect("sense key of the broken %r (ABORTED COMMAND or ILLEGAL REQUEST)" % task, True,
           task.sense_code[0] in (0x5, 0xB))
    return "check"


def broken_write(daemon, spoil, size=32768, keys=SLOW):
    """Waits for the first R2T of a write, sends what spoil(task, r2t) makes, and sees it fail."""
    with session(daemon) as good:
        good.command(write10(0, size // 512), write=pattern(size, 1)).good()
    with session(daemon, keys) as i:
        task = i.submit(write10(0, size // 512), write=pattern(size, 7), auto=False)
        i.pump(lambda: task.r2ts, "an R2T")
        i.send(*spoil(task, task.r2ts[0]))
        how = failure_of(i, task)
    expect_good_initiator(daemon)
    return how


def test_data_at_a_wrong_offset_fails():
    def shifted(by):
        def spoil(task, r2t):
            pdus = task.data_out(r2t.ttt, r2t.offset, r2t.desired)
            pdus[-1].offset += by
            return pdus
        return spoil

    with Daemon() as daemon:
        for by in (512, 4, 0x10000, 0x7FFFFFFF, -512):
            broken_write(daemon, shifted(by))


def test_more_data_than_was_asked_for_fails():
    def spoil(task, r2t):
        pdus = task.data_out(r2t.ttt, r2t.offset, r2t.desired)
        last = pdus[-1]
        return pdus[:-1] + [Pdu(p.DATA_OUT, itt=task.itt, ttt=r2t.ttt, lun=last.lun, flags=FINAL,
                                exp_stat_sn=last.exp_stat_sn, data_sn=last.data_sn,
                                offset=last.offset, data=last.data + bytes(512))]

    with Daemon() as daemon:
        broken_write(daemon, spoil, size=8192)


def test_less_data_than_was_asked_for_fails():
    def spoil(task, r2t):
        return task.data_out(r2t.ttt, r2t.offset, r2t.desired - 512)

    with Daemon() as daemon:
        broken_write(daemon, spoil)


def test_a_gap_in_data_sn_fails():
    def spoil(task, r2t):
        task.segment = 4096
        pdus = task.data_out(r2t.ttt, r2t.offset, r2t.desired)
        for pdu in pdus[1:]:
            pdu.data_sn += 1
        return pdus

    with Daemon() as daemon:
        broken_write(daemon, spoil)
        broken_write(daemon, lambda task, r2t: task.data_out(r2t.ttt, r2t.offset, r2t.desired,
                                                             first_data_sn=1))


def test_data_for_another_transfer_tag_is_not_taken():
    """Rejected, discarded or the end of the connection; but the data must not arrive."""
    with Daemon() as daemon:
        with session(daemon, SLOW) as i:
            data = pattern(32768, 7)
            task = i.submit(write10(0, 64), write=data, auto=False)
            i.pump(lambda: task.r2ts, "an R2T")
            r2t = task.r2ts[0]
            stray = Pdu(p.DATA_OUT, itt=task.itt, ttt=r2t.ttt ^ 0x40000000, lun=r2t.lun,
                        exp_stat_sn=i.exp_stat_sn, offset=r2t.offset, data=bytes(r2t.desired))
            i.send(stray)
            try:
                i.ping(b"after", immediate=True)
                if not task.is_done:
                    task.answer_r2t()
                    task.wait()
                if task.status == GOOD:
                    i.command(read10(0, 64), read=32768).good(data)
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_data_for_no_task_does_no_harm():
    with Daemon() as daemon:
        for ttt in (0x1234, 0xFFFFFFFF, 0):
            with session(daemon) as i:
                i.send(Pdu(p.DATA_OUT, itt=0x7777, ttt=ttt, exp_stat_sn=i.exp_stat_sn,
                           data=bytes(512)))
                try:
                    i.ping(b"after")
                except Closed:
                    pass
        expect_good_initiator(daemon)


def test_a_sequence_without_its_final_bit_does_not_finish_wrong():
    """All that was asked for came, but F never: failing, or taking the data, but nothing else."""
    with Daemon() as daemon:
        with session(daemon, SLOW) as i:
            data = pattern(8192, 7)
            task = i.submit(write10(0, 16), write=data, auto=False)
            i.pump(lambda: task.r2ts, "an R2T")
            r2t = task.r2ts[0]
            i.send(*task.data_out(r2t.ttt, r2t.offset, r2t.desired, final=False))
            try:
                i.ping(b"after")
                if task.is_done and task.status == GOOD:
                    i.command(read10(0, 16), read=8192).good(data)
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_immediate_data_beyond_the_first_burst_fails():
    with Daemon() as daemon:
        with session(daemon, SLOW) as i:
            failure_of(i, i.submit(write10(0, 16), write=pattern(8192), immediate_bytes=4096,
                                   unsolicited_bytes=0))
        expect_good_initiator(daemon)


def test_immediate_data_that_was_not_agreed_fails():
    with Daemon() as daemon:
        with session(daemon, {"ImmediateData": "No"}) as i:
            failure_of(i, i.submit(write10(0, 8), write=pattern(4096), immediate_bytes=4096,
                                   unsolicited_bytes=0))
        expect_good_initiator(daemon)


def test_immediate_data_beyond_the_expected_length_fails():
    with Daemon() as daemon:
        with session(daemon) as i:
            failure_of(i, i.submit(write10(0, 8), write=pattern(8192), edtl=4096,
                                   immediate_bytes=8192, unsolicited_bytes=0))
        expect_good_initiator(daemon)


def test_immediate_data_of_a_read_fails():
    with Daemon() as daemon:
        with session(daemon) as i:
            task = Task(i, read10(0, 8), read=4096)
            i.tasks[task.itt] = task
            command = task.pdus()[0]
            i.send(Pdu.parse(command.bhs[:5] + b"\0\x02\0" + command.bhs[8:], data=bytes(512)))
            failure_of(i, task)
        expect_good_initiator(daemon)


def test_unsolicited_data_that_was_not_agreed_fails():
    with Daemon() as daemon:
        with session(daemon, {"InitialR2T": "Yes", "ImmediateData": "No"}) as i:
            failure_of(i, i.submit(write10(0, 8), write=pattern(4096), immediate_bytes=0,
                                   unsolicited_bytes=4096, auto=False))
        expect_good_initiator(daemon)


def test_unsolicited_data_beyond_the_first_burst_fails():
    with Daemon() as daemon:
        with session(daemon, SLOW) as i:
            failure_of(i, i.submit(write10(0, 64), write=pattern(32768), immediate_bytes=0,
                                   unsolicited_bytes=8192, auto=False))
        expect_good_initiator(daemon)


def test_unsolicited_data_at_a_wrong_offset_fails():
    with Daemon() as daemon:
        with session(daemon, {"ImmediateData": "No"}) as i:
            task = Task(i, write10(0, 16), write=pattern(8192), segment=4096)
            i.tasks[task.itt] = task
            command, first, second = task.pdus()
            second.offset += 512
            i.send(command, first, second)
            failure_of(i, task)
        expect_good_initiator(daemon)


def test_a_data_segment_beyond_the_declared_length_fails():
    with Daemon() as daemon:
        with session(daemon, {"MaxBurstLength": "16777215", "FirstBurstLength": "512"}) as i:
            size = i.number("MaxRecvDataSegmentLength") + 512
            task = i.submit(write10(0, 4096), write=pattern(2 << 20), segment=size, auto=False)
            i.pump(lambda: task.r2ts, "an R2T")
            if task.r2ts[0].desired >= size:
                try:
                    task.answer_r2t()
                    failure_of(i, task)
                except Closed:
                    pass
        expect_good_initiator(daemon)


def test_a_connection_that_ends_in_the_middle_of_a_write_leaves_nothing_behind():
    with Daemon() as daemon:
        for step in range(4):
            with session(daemon, SLOW) as i:
                task = i.submit(write10(0, 256), write=pattern(131072), auto=False)
                if step:
                    i.pump(lambda: task.r2ts, "an R2T")
                    r2t = task.r2ts[0]
                    wire = b"".join(x.to_bytes() for x in
                                    task.data_out(r2t.ttt, r2t.offset, r2t.desired))
                    i.send_bytes(wire[:(0, 20, 100, len(wire) - 1)[step]])
                i.reset()
        expect_good_initiator(daemon)
