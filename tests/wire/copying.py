"""EXTENDED COPY on the wire, SPC-4 6.5: within a LUN, between two, and what happens to
a copy whose initiator, or whose LUN, changes its mind."""

from initiator import (ABORT_TASK, INITIATOR_NAME, LUN_RESET, TEST_UNIT_READY, pattern, read10,
                       session, write10)
from nestor import Daemon, Failure, expect, limit, lun, target, wait_until
from xcopy import (COMPLETED, FAILED, FAILURE_DETAILS, HELD, IN_PROGRESS, OPERATING_PARAMETERS, copy,
                   copy_status, cscd, naa_of, receive_copy, segment)

COMPLETE = 0
OTHER = INITIATOR_NAME + "-other"
TWO_LUNS = [target(lun(0, size="64M"), lun(1, size="64M", cache="writethrough"))]
LARGE = [target(lun(0, size="4G"), lun(1, size="4G"))]
LARGE_BLOCKS, LARGE_COUNT = 61440, 64  # 30 MiB of data, 64 times: seconds of any disk
WAIT = 60


def cscds_of(i, *luns):
    return [cscd(naa_of(i, number)) for number in luns]


def test_a_copy_within_a_lun():
    with Daemon() as daemon, session(daemon) as i:
        data = pattern(2048 * 512, 3)
        i.command(write10(100, 2048), write=data).good()
        copy(i, cscds_of(i, 0), [segment(0, 100, 0, 50000, 2048)]).good()
        i.command(read10(50000, 2048), read=2048 * 512).good(data)
        copy(i, cscds_of(i, 0), [segment(0, 100, 0, 110, 2048)]).good()  # onto itself
        i.command(read10(110, 2048), read=2048 * 512).good(data)


def test_a_copy_between_two_luns():
    with Daemon(TWO_LUNS) as daemon, session(daemon) as i:
        i.clear_unit_attention(1)
        data = pattern(512 * 512, 4)
        i.command(write10(0, 512), write=data).good()
        both = cscds_of(i, 0, 1)
        for asked in (0, 1):  # either may be asked to do it
            lba = 1000 * (asked + 1)
            copy(i, both, [segment(0, 0, 1, lba, 256), segment(0, 256, 1, lba + 256, 256)],
                 lun=asked).good()
            i.command(read10(lba, 512), lun=1, read=512 * 512).good(data)
        i.command(read10(900, 8), lun=1, read=4096).good(bytes(4096))


def test_inquiry_and_operating_parameters_tell_of_it():
    with Daemon() as daemon, session(daemon) as i:
        expect("3PC", 0x08, i.command(b"\x12\0\0\0\x60\0", read=96).good()[5] & 0x08)
        told = i.command(receive_copy(OPERATING_PARAMETERS), read=512).good(residual=512 - 46)
        expect("types", bytes([0x02, 0xE4]), told[44:46])
        cscds, segments = told[9], told[11]
        one = cscds_of(i, 0)
        copy(i, one * cscds, [segment(0, 0, 0, 100, 1)] * segments).good()
        copy(i, one * (cscds + 1), [segment(0, 0, 0, 100, 1)]).refused(5, 0x26, 0x06)
        copy(i, one, [segment(0, 0, 0, 100, 1)] * (segments + 1)).refused(5, 0x26, 0x08)


def test_without_vaai_there_is_no_copy():
    with Daemon([target(lun(0, size="64M", vaai=False))]) as daemon, session(daemon) as i:
        expect("3PC", 0, i.command(b"\x12\0\0\0\x60\0", read=96).good()[5] & 0x08)
        copy(i, cscds_of(i, 0), []).refused(5, 0x20, 0)
        i.command(receive_copy(OPERATING_PARAMETERS), read=512).refused(5, 0x20, 0)


def test_a_lun_that_is_masked_is_not_reached():
    """CVE-2020-28374: another target copied from LUNs that the initiator could not see."""
    masked = [target(lun(0, size="64M"), lun(1, size="64M", initiators=[OTHER]))]
    with Daemon(masked) as daemon, session(daemon, name=OTHER) as other, session(daemon) as i:
        other.clear_unit_attention(1)
        secret = pattern(4096, 5)
        other.command(write10(0, 8), lun=1, write=secret).good()
        both = cscds_of(other, 0, 1)
        for segments in ([segment(1, 0, 0, 0, 8)], [segment(0, 64, 1, 0, 8)]):
            copy(i, both, segments).refused(0x0A, 0x08, 0x04)
        i.command(read10(0, 8), read=4096).good(bytes(4096))
        other.command(read10(0, 8), lun=1, read=4096).good(secret)
        copy(other, both, [segment(1, 0, 0, 0, 8)]).good()


def test_a_reserved_lun_is_not_written():
    with Daemon(TWO_LUNS) as daemon, session(daemon) as i, session(daemon, name=OTHER) as other:
        i.clear_unit_attention(1)
        other.clear_unit_attention(1)
        both = cscds_of(i, 0, 1)
        i.command(write10(0, 8), write=pattern(4096, 6)).good()
        other.command(b"\x16" + bytes(5), lun=1).good()
        task = copy(i, both, [segment(0, 0, 1, 0, 8)], list_id=3, usage=HELD)
        task.refused(0x0A, 0x0D, 0x01)
        expect("the status that the destination gave", 0x18, task.sense[task.sense[9]])
        expect("status", FAILED, copy_status(i, 3)[0])
        details = i.command(receive_copy(FAILURE_DETAILS, 3, 124), read=124).wait().data
        expect("the same sense", task.sense, bytes(details[60:]))
        other.command(read10(0, 8), lun=1, read=4096).good(bytes(4096))


def begin_long_copy(i, usage=HELD):
    """A copy from LUN 0 to LUN 1 that goes on for seconds; it has begun."""
    i.clear_unit_attention(1)
    data = pattern(1 << 20, 7)
    for lba in range(0, LARGE_BLOCKS, 2048):
        i.command(write10(lba, 2048), write=data).good()
    both = cscds_of(i, 0, 1)
    segments = [segment(0, 0, 1, LARGE_BLOCKS * n, LARGE_BLOCKS) for n in range(LARGE_COUNT)]
    task = copy(i, both, segments, list_id=9, usage=usage)

    def has_begun():
        status = copy_status(i, 9)
        if status and status[0] == IN_PROGRESS and status[2] > 0:
            return True
        if status and status[0] != IN_PROGRESS:
            raise Failure("the copy was over before it could be looked at: %r" % (status,))
        return False

    wait_until(has_begun, "the copy to begin", WAIT)
    return task


def expect_not_all_copied(i, number=1):
    last = LARGE_BLOCKS * LARGE_COUNT - 8
    i.command(read10(last, 8), lun=number, read=4096).good(bytes(4096))


@limit(120)
def test_an_abort_in_the_middle():
    with Daemon(LARGE) as daemon, session(daemon) as i:
        task = begin_long_copy(i)
        expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
        status = copy_status(i, 9)
        expect("what became of it", FAILED, status[0])
        i.drain()
        expect("the aborted copy is answered", False, task.is_done)
        expect_not_all_copied(i)
        written = status[2] // 512  # nothing is written after the answer
        i.command(write10(written, 8), lun=1, write=bytes(4096)).good()
        i.command(write10(0, 8), lun=1, write=pattern(4096, 8)).good()
        i.command(read10(0, 8), lun=1, read=4096).good(pattern(4096, 8))


@limit(120)
def test_a_reset_of_the_destination_ends_the_copy_with_an_answer():
    with Daemon(LARGE) as daemon, session(daemon) as i:
        task = begin_long_copy(i)
        expect("response", COMPLETE, i.tmf(LUN_RESET, lun=1))
        task.refused(0x0A, 0x0D, 0x02)
        i.command(TEST_UNIT_READY, lun=1).refused(6, 0x29)
        expect_not_all_copied(i)


@limit(120)
def test_a_lun_that_is_removed_during_a_copy():
    with Daemon([target(lun(0, size="4G"))]) as daemon:
        daemon.ctl("lun", "add", daemon.name, "1", "--path", daemon.image("lun1.img"),
                   "--size", "4G")
        removed_during_a_copy(daemon)


def removed_during_a_copy(daemon):
    with session(daemon) as i:
        task = begin_long_copy(i)
        daemon.ctl("lun", "remove", daemon.name, "1", "--yes", "--force")
        task.refused(0x0A, 0x0D, 0x02)
        i.command(TEST_UNIT_READY, lun=1).refused(5, 0x25, 0)
        i.command(TEST_UNIT_READY).refused(6, 0x3F, 0x0E)
        i.command(read10(0, 8), read=4096).good(pattern(4096, 7))


@limit(120)
def test_others_are_served_during_a_copy():
    with Daemon(LARGE) as daemon, session(daemon) as i, session(daemon, name=OTHER) as other:
        other.clear_unit_attention(1)
        task = begin_long_copy(i)
        for n in range(50):
            other.command(read10(2048 * n, 8), read=4096).good()
            other.command(write10(8000000 + 8 * n, 8), lun=1, write=pattern(4096, n)).good()
        expect("the copy is under way still", IN_PROGRESS, copy_status(i, 9)[0])
        expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))


def test_a_session_that_ends_takes_its_copy_along():
    with Daemon(LARGE) as daemon, session(daemon, name=OTHER) as other:
        other.clear_unit_attention(1)
        with session(daemon) as i:
            begin_long_copy(i)
            i.reset()
        expect_not_all_copied(other)


def test_a_status_is_told_after_the_end():
    with Daemon() as daemon, session(daemon) as i:
        expect("before", None, copy_status(i, 5))
        copy(i, cscds_of(i, 0), [segment(0, 0, 0, 100, 8)] * 2, list_id=5, usage=HELD).good()
        expect("after", (COMPLETED, 2, 8192), copy_status(i, 5))
        expect("once", None, copy_status(i, 5))
