"""A disk that hangs: its LUN waits, nobody else does, and what was aborted is never seen half done.

LUN 1 is on an ext4 that is frozen while a write to it is under way; the disk of LUN 0 works.
"""

import functools
import signal

from disks import Frozen, small_ext4, unmount
from initiator import ABORT_TASK, LUN_RESET, TEST_UNIT_READY, session
from nestor import Daemon, Failure, alone, expect, lun, target, wait_until
from task import pattern, read10, write10
from xcopy import cscd, extended_copy, naa_of, parameter_list, segment

MIB = 1 << 20
BLOCK = 512
BLOCKS = 8
COMPLETE = 0
OTHER = "iqn.2026-11.lab.nestor:other"
OLD, ABORTED, AGAIN, BESIDE = 1, 2, 3, 4  # seeds


def data(seed):
    return pattern(BLOCKS * BLOCK, seed)


def with_hanging_disk(scenario, **keys):
    """scenario(daemon, i, other, frozen) on sessions of two initiators; the disk is frozen inside `frozen`."""
    daemon = Daemon([target(lun(0, size="16M"), lun(1, size="16M"))], **keys)
    daemon.targets[0]["luns"][0]["path"] = str(daemon.dir / "works.img")
    small_ext4(daemon.images, 64 * MIB)
    try:
        with daemon, session(daemon) as i, session(daemon, name=OTHER) as other:
            for one in (i, other):
                one.clear_unit_attention(1)
            scenario(daemon, i, other, Frozen(daemon.images))
    finally:
        unmount(daemon.images)


def compare_and_write(lba, old, new):
    """(CDB, Data-Out)"""
    blocks = len(new) // BLOCK
    return bytes([0x89, 0]) + lba.to_bytes(8, "big") + bytes([0, 0, 0, blocks, 0, 0]), old + new


def write_same(lba, blocks):
    return bytes([0x93, 0]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)


def write_atomic(lba, blocks):
    return bytes([0x9C, 0]) + lba.to_bytes(8, "big") + bytes(2) + blocks.to_bytes(2, "big") + bytes(2)


def unmap(lba, blocks):
    """(CDB, Data-Out)"""
    descriptor = lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(4)
    return bytes([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]), bytes([0, 22, 0, 16, 0, 0, 0, 0]) + descriptor


def hanging_write(i, seed=ABORTED):
    task = i.submit(write10(0, BLOCKS), lun=1, write=data(seed))
    i.drain()
    expect("a write to a disk that hangs is answered", False, task.is_done)
    return task


def expect_works(*initiators):
    for i in initiators:
        i.command(write10(0, BLOCKS), write=data(BESIDE)).good()
        i.command(read10(0, BLOCKS), read=BLOCKS * BLOCK).good(data(BESIDE))


@alone
def e2e_first_write_to_a_hanging_disk_stops_nobody():
    """Even asking the file system what it can do may hang."""
    def scenario(daemon, i, other, frozen):
        with frozen:
            task = hanging_write(i)
            expect_works(i, other)
        task.wait().good()

    with_hanging_disk(scenario)


def waits(i, cdb, **options):
    task = i.submit(cdb, lun=1, **options)
    i.drain()
    expect("a command on the blocks of an aborted write is answered before that has ended", False,
           task.is_done)
    return task


@alone
def e2e_abort_of_a_write_to_a_hanging_disk_is_answered():
    def scenario(daemon, i, other, frozen):
        i.command(write10(0, BLOCKS), lun=1, write=data(OLD)).good()
        with frozen:
            task = hanging_write(i)
            expect("response", COMPLETE, i.tmf(ABORT_TASK, lun=1, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
            expect_works(i, other)
            again = waits(i, write10(0, BLOCKS), write=data(AGAIN))
            expect("response", COMPLETE,
                   i.tmf(ABORT_TASK, lun=1, rtt=again.itt, ref_cmd_sn=again.cmd_sn))
            read = waits(other, read10(0, BLOCKS), read=BLOCKS * BLOCK)
            other.command(TEST_UNIT_READY, lun=1).good()
        # as if it had been written before the abort was answered; the second one never came near
        read.wait().good(data(ABORTED))
        expect("an aborted write is answered", False, task.is_done or again.is_done)
        i.command(write10(0, BLOCKS), lun=1, write=data(AGAIN)).good()
        other.command(read10(0, BLOCKS), lun=1, read=BLOCKS * BLOCK).good(data(AGAIN))

    for engine in ("io_uring", "threads"):
        with_hanging_disk(scenario, engine=engine)


@alone
def e2e_heartbeat_on_a_hanging_disk_can_be_aborted():
    """COMPARE AND WRITE: it has happened, and the host that tries it again is told so."""
    beat = compare_and_write(0, pattern(BLOCK, OLD), pattern(BLOCK, ABORTED))

    def scenario(daemon, i, other, frozen):
        # what is compared is in the page cache: the command is writing when the abort comes
        i.command(write10(0, 1), lun=1, write=pattern(BLOCK, OLD)).good()
        with frozen:
            task = i.submit(beat[0], lun=1, write=beat[1])
            i.drain()
            expect("response", COMPLETE, i.tmf(ABORT_TASK, lun=1, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
            expect_works(i, other)
            again = waits(i, beat[0], write=beat[1])
            read = waits(other, read10(0, 1), read=BLOCK)
        read.wait().good(pattern(BLOCK, ABORTED))
        again.wait().refused(0x0e, 0x1d, 0x00)
        expect("an aborted heartbeat is answered", False, task.is_done)

    with_hanging_disk(scenario)


@alone
def e2e_whatever_changes_a_hanging_disk_can_be_aborted():
    """To all that can be seen afterwards each had ended before its abort was answered."""
    blocks = 16  # more than a page: what is all or nothing goes through the journal
    size = blocks * BLOCK
    old, new = pattern(size, OLD), pattern(size, AGAIN)

    def scenario(daemon, i, other, frozen):
        copied = parameter_list([cscd(naa_of(i, 1))], [segment(0, 0, 0, 700, blocks)])
        changes = [  # each to blocks of its own: CDB, Data-Out, what stands there then
            (100, *compare_and_write(100, old, new), new),
            (200, write_atomic(200, blocks), new, new),
            (400, write_same(400, blocks), new[:BLOCK], new[:BLOCK] * blocks),
            (500, write_same(500, blocks), bytes(BLOCK), bytes(size)),
            (600, *unmap(600, blocks), bytes(size)),
            (700, extended_copy(copied), copied, old),
        ]
        for lba in 0, *(change[0] for change in changes):
            i.command(write10(lba, blocks), lun=1, write=bytes(size) if lba == 700 else old).good()
        with frozen:
            for lba, cdb, sent, _ in changes:
                task = i.submit(cdb, lun=1, write=sent)
                i.drain()
                expect(f"{cdb.hex()} on a disk that hangs is answered", False, task.is_done)
                expect("response", COMPLETE,
                       i.tmf(ABORT_TASK, lun=1, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
            expect_works(i, other)
            reads = [waits(other, read10(lba, blocks), read=size) for lba, *_ in changes]
            with session(daemon) as fresh:  # nothing of the old session is waited for
                i.expect_closed()
                expect_works(fresh, other)
        for read, (_, cdb, _, then) in zip(reads, changes):
            read.wait().good()
            expect(f"what stands there after {cdb.hex()}", then, bytes(read.data))

    for engine in ("io_uring", "threads"):
        with_hanging_disk(scenario, engine=engine)


@alone
def e2e_a_hanging_disk_leaves_the_slow_lane_to_others():
    """It has 64 threads: unmapping on another LUN does not wait for 100 that hang, nor does the
    operator who takes the hanging one's registrations away, which are kept on another disk."""
    def scenario(daemon, i, other, frozen):
        cdb, sent = unmap(0, BLOCKS)
        register_and_keep = bytes(8) + (7).to_bytes(8, "big") + bytes([0, 0, 0, 0, 1, 0, 0, 0])
        other.command(bytes([0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0]), lun=1, write=register_and_keep).good()
        with frozen:
            tasks = [i.submit(cdb, lun=1, write=unmap(lba * BLOCKS, BLOCKS)[1]) for lba in range(100)]
            i.drain()
            other.command(cdb, write=sent).good()
            daemon.ctl("reservation", "clear", daemon.name, "1", "--yes", "--force")
            expect_works(i, other)
            expect("the disk works again", False, any(task.is_done for task in tasks))
        for task in tasks:
            task.wait().good()

    with_hanging_disk(scenario)


@alone
def e2e_reset_of_a_unit_on_a_hanging_disk_is_answered():
    def scenario(daemon, i, other, frozen):
        with frozen:
            hanging_write(i)
            expect("response", COMPLETE, other.tmf(LUN_RESET, lun=1))
            other.command(TEST_UNIT_READY, lun=1).refused(0x06, 0x29, 0x03)
            expect_works(i, other)
            read = waits(other, read10(0, BLOCKS), read=BLOCKS * BLOCK)
        read.wait().good(data(ABORTED))

    with_hanging_disk(scenario)


@alone
def e2e_host_with_a_hanging_disk_can_log_in_again():
    def scenario(daemon, i, other, frozen):
        with frozen:
            hanging_write(i)
            with session(daemon) as fresh:  # the same name and ISID: it takes the session over
                i.expect_closed()
                expect_works(fresh, other)
                fresh.clear_unit_attention(1)
                write = waits(fresh, write10(0, BLOCKS), write=data(AGAIN))
                frozen.thaw()
                write.wait().good()
                fresh.command(read10(0, BLOCKS), lun=1, read=BLOCKS * BLOCK).good(data(AGAIN))

    with_hanging_disk(scenario)


@alone
def e2e_stop_waits_for_a_hanging_disk_until_a_second_signal():
    def scenario(daemon, i, other, frozen, signals):
        with frozen:
            hanging_write(i)
            daemon.process.send_signal(signal.SIGTERM)
            i.expect_closed()
            other.expect_closed()
            if signals == 2:
                daemon.process.send_signal(signal.SIGTERM)
                daemon.wait_log("a second signal")
            elif daemon.process.poll() is not None:
                raise Failure("it ended while its disk was still writing")
        daemon.expect_exit(signals - 1)
        daemon.start()

    for signals in 1, 2:
        with_hanging_disk(functools.partial(scenario, signals=signals))


@alone
def e2e_removal_waits_for_a_hanging_disk_and_nobody_for_the_removal():
    def scenario(daemon, i, other, frozen):
        with frozen:
            task = hanging_write(i)
            expect("response", COMPLETE, i.tmf(ABORT_TASK, lun=1, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
            del daemon.targets[0]["luns"][1]
            daemon.write_config()
            removal = daemon.start_ctl("config", "reload", "--yes")
            for one in (i, other):  # its LUN is gone, and it is told so
                wait_until(lambda: one.command(TEST_UNIT_READY).status == 2, "a unit attention")
            expect_works(i, other)
            with session(daemon, name="iqn.2026-11.lab.nestor:late") as late:
                expect_works(late)
            if removal.poll() is not None:
                raise Failure("a LUN whose disk still writes is said to be removed")
        expect("exit status of the removal", 0, removal.wait(20))

    with_hanging_disk(scenario)
