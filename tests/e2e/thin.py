"""Thin LUNs: a disk that runs full, the warning before it does, and zeroing what is huge."""

import os
import time

from disks import small_ext4, unmount
from initiator import Initiator
from nestor import Daemon, Failure, alone, expect, lun, target, wait_until
from task import TEST_UNIT_READY, pattern, read10, write10

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
CHUNK = 256 * KIB
BLOCK = 512
SPACE_EXHAUSTED = (0x07, 0x27, 0x07)
THRESHOLD_REACHED = (0x06, 0x38, 0x07)
WRITE_SAME_16, UNMAP, NDOB = 0x93, 0x42, 0x01


def host(daemon, number=1):
    session = Initiator(daemon, name=f"iqn.1998-01.com.vmware:esx{number}").login()
    for unit in (0, 1):
        session.clear_unit_attention(unit)
    return session


def write(session, chunk, unit=0):
    return session.command(write10(chunk * CHUNK // BLOCK, CHUNK // BLOCK), lun=unit,
                           write=pattern(CHUNK, chunk + 1))


def expect_written(session, chunk, unit=0):
    session.command(read10(chunk * CHUNK // BLOCK, CHUNK // BLOCK), lun=unit,
                    read=CHUNK).good(pattern(CHUNK, chunk + 1))


def write_until_full(session, chunks):
    """The chunk that did not fit; the threshold is told on the way, and the write sent again."""
    for chunk in range(chunks):
        task = write(session, chunk)
        if task.status == 2 and task.sense_code == THRESHOLD_REACHED:
            task = write(session, chunk)
        if task.status != 0:
            task.refused(*SPACE_EXHAUSTED)
            return chunk
    raise Failure("a disk of 32 MiB took 64 MiB")


@alone
def e2e_full_ext4_stops_one_writer_and_loses_nothing():
    daemon = Daemon([target(lun(0, size="64M"), lun(1, size="64M"))])
    daemon.targets[0]["luns"][1]["path"] = str(daemon.dir / "other.img")
    small_ext4(daemon.images, 32 * MIB)
    try:
        with daemon:
            filler = daemon.images / "filler"
            filler.write_bytes(bytes(4 * MIB))
            with host(daemon) as session, host(daemon, 2) as neighbour:
                full = write_until_full(session, 64 * MIB // CHUNK)
                write(neighbour, 3, unit=1).good()
                expect_written(neighbour, 3, unit=1)
                write(session, 0).good()  # what has its space already is written
                filler.unlink()
                wait_until(lambda: write(session, full).status == 0, "room after a file has gone")
                for chunk in range(full + 1):
                    expect_written(session, chunk)
    finally:
        unmount(daemon.images)


@alone
def e2e_hosts_are_told_once_that_room_runs_out():
    daemon = Daemon([target(lun(0, size="64M", thin_threshold=60), lun(1, size="1M"))])
    small_ext4(daemon.images, 32 * MIB)
    try:
        with daemon, host(daemon) as session, host(daemon, 2) as other:
            for chunk in range(20 * MIB // CHUNK):
                write(session, chunk)

            def is_told():
                write(session, 0)
                task = other.command(TEST_UNIT_READY)
                return task.status == 2 and task.sense_code == THRESHOLD_REACHED

            wait_until(is_told, "the threshold's unit attention")
            other.command(TEST_UNIT_READY).good()
            if "thin_threshold" not in daemon.log():
                raise Failure("the operator was not told")
    finally:
        unmount(daemon.images)


def unmap(session, block, blocks):
    descriptor = block.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(4)
    session.command(bytes([UNMAP]) + bytes(6) + (24).to_bytes(2, "big") + bytes(1),
                    write=(22).to_bytes(2, "big") + (16).to_bytes(2, "big") + bytes(4) +
                    descriptor).good()


def expect_zeros(session, chunk):
    session.command(read10(chunk * CHUNK // BLOCK, CHUNK // BLOCK), read=CHUNK).good(bytes(CHUNK))


@alone
def e2e_what_was_never_written_reads_as_zeros_until_it_is():
    daemon = Daemon([target(lun(0, size="16M"), lun(1, size="1M"))])
    small_ext4(daemon.images, 32 * MIB)
    try:
        with daemon:
            with host(daemon) as session, host(daemon, 2) as other:
                for chunk in range(16 * MIB // CHUNK):
                    expect_zeros(session, chunk)
                write(other, 9).good()
                expect_zeros(session, 8)
                expect_zeros(session, 10)
                expect_written(session, 9)
                unmap(session, 9 * CHUNK // BLOCK, CHUNK // BLOCK)
                expect_zeros(other, 9)
                write(session, 9).good()
                expect_written(other, 9)
            daemon.restart()
            with host(daemon) as session:
                expect_written(session, 9)
                expect_zeros(session, 8)
                expect_zeros(session, 40)
    finally:
        unmount(daemon.images)


@alone
def e2e_a_tebibyte_is_zeroed_and_unmapped_at_once():
    with Daemon([target(lun(0, size="1T"), lun(1, size="1M"))]) as daemon:
        with host(daemon) as session:
            write(session, 5).good()
            began = time.monotonic()
            session.command(bytes([WRITE_SAME_16, NDOB]) + bytes(8) +
                            (TIB // BLOCK).to_bytes(4, "big") + bytes(2)).good()
            zeroed = time.monotonic() - began
            session.command(read10(5 * CHUNK // BLOCK, 1), read=BLOCK).good(bytes(BLOCK))
            write(session, 5).good()
            began = time.monotonic()
            unmap(session, 0, TIB // BLOCK)
            unmapped = time.monotonic() - began
            session.command(read10(5 * CHUNK // BLOCK, 1), read=BLOCK).good(bytes(BLOCK))
            print(f"note: WRITE SAME of 1 TiB {zeroed:.3f} s, UNMAP {unmapped:.3f} s")
            expect("space that the image takes", True,
                   os.stat(daemon.image("lun0.img")).st_blocks * 512 < MIB)
            if max(zeroed, unmapped) > 5:
                raise Failure(f"it took {zeroed:.1f} s and {unmapped:.1f} s")
