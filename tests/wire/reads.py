"""Data-In, RFC 7143 11.7: how a read is cut into PDUs and sequences. (DataSN, offsets, F and S
bits, lengths and bounds are checked by the initiator at each PDU.)"""

import socket
import statistics
import struct
import time

import pdu as p
from initiator import Failure, inquiry, pattern, read10, report_luns, session, write10
from nestor import Daemon, expect

MIB = 1 << 20


def fill(i, size):
    data = pattern(size)
    i.command(write10(0, size // 512), write=data).good()
    return data


def test_reads_are_cut_to_segments_and_bursts():
    with Daemon() as daemon:
        with session(daemon) as i:
            data = fill(i, 2 * MIB)
        for segment, burst in (("512", "512"), ("512", "4096"), ("8192", "262144"),
                               ("8192", "10000"), ("1000", "3000"), ("65536", "65536"),
                               ("262144", "16777215"), ("16777215", "16777215")):
            keys = {"MaxRecvDataSegmentLength": segment, "MaxBurstLength": burst,
                    "FirstBurstLength": "512"}
            with session(daemon, keys) as i:
                for size in (512, 4096, 9216, 65536):
                    task = i.command(read10(0, size // 512), read=size)
                    task.good(data[:size])
                    least = -(-size // int(segment))
                    if not least <= task.data_pdus <= size // 512 + 1:
                        raise Failure("%d bytes in segments of %s: came %d PDUs"
                                      % (size, segment, task.data_pdus))
                    expect("where the status of a good read stands", "Data-In", task.answer.name)


def test_large_reads_come_whole():
    with Daemon() as daemon:
        with session(daemon) as i:
            data = fill(i, 8 * MIB)
            i.command(read10(0, 8 * MIB // 512), read=8 * MIB).good(data)
        with session(daemon, {"MaxRecvDataSegmentLength": "8192"}) as i:
            i.command(read10(0, MIB // 512), read=MIB).good(data[:MIB])


def test_reads_of_many_sizes_and_offsets_return_what_stands_there():
    with Daemon() as daemon, session(daemon, {"MaxRecvDataSegmentLength": "4096"}) as i:
        data = fill(i, MIB)
        tasks = []
        for n in range(60):
            lba, blocks = n * 31 % 1000, n * 7 % 100 + 1
            tasks.append((i.submit(read10(lba, blocks), read=blocks * 512), lba, blocks))
        for task, lba, blocks in tasks:
            task.good(data[lba * 512:(lba + blocks) * 512])


def test_reads_without_a_copy_are_cut_as_others_are():
    with Daemon(sendfile=True) as daemon:
        with session(daemon) as i:
            data = fill(i, 2 * MIB)
        for segment, burst in (("8192", "262144"), ("8192", "10000"), ("1000", "3000"),
                               ("131072", "262144"), ("262144", "1048576"),
                               ("16777215", "16777215")):
            keys = {"MaxRecvDataSegmentLength": segment, "MaxBurstLength": burst,
                    "FirstBurstLength": "512"}
            for digest in {}, {"HeaderDigest": "CRC32C"}, {"DataDigest": "CRC32C"}:
                with session(daemon, {**keys, **digest}) as i:
                    for lba, size in (0, 65536), (3, 66048), (1, 300 * 1024), (0, 2 * MIB):
                        at = lba * 512
                        i.command(read10(lba, size // 512), read=size).good(data[at:at + size])


def test_reads_without_a_copy_wait_for_an_initiator_that_reads_late():
    with Daemon(sendfile=True) as daemon, session(daemon) as i:
        data = fill(i, 2 * MIB)
        tasks = [(i.submit(read10(lba, MIB // 512), read=MIB), lba * 512) for lba in range(40)]
        small = i.submit(read10(5, 8), read=4096)  # its answer comes in between or behind
        with session(daemon, isid=0x00023D000002) as other:
            other.command(read10(7, 8), read=4096).good(data[7 * 512:7 * 512 + 4096])
        time.sleep(0.2)
        for task, at in tasks:
            task.good(data[at:at + MIB])
        small.good(data[5 * 512:5 * 512 + 4096])


def test_reads_without_a_copy_end_with_the_connection():
    with Daemon(sendfile=True) as daemon:
        with session(daemon) as i:
            data = fill(i, 2 * MIB)
            for lba in range(40):
                i.submit(read10(lba, MIB // 512), read=MIB)
            i.reset()
        with session(daemon) as i:
            i.command(read10(0, MIB // 512), read=MIB).good(data[:MIB])


def at_once(i, cdbs, **options):
    """Sends these commands in one piece, and waits for the answers."""
    pieces = []
    i.send_bytes = pieces.append
    tasks = [i.submit(cdb, **options) for cdb in cdbs]
    del i.send_bytes
    i.send_bytes(b"".join(pieces))
    return [task.wait() for task in tasks]


def segments_received(i):
    """By TCP, of data: on the loopback one for each send of up to 64 KiB."""
    info = i.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return struct.unpack_from("=I", info, 152)[0]  # tcpi_data_segs_in


def test_many_answers_leave_in_two_halves_and_few_at_once():
    """So that both ends are at work; one send for each answer would wake the initiator 32 times."""
    with Daemon() as daemon, session(daemon) as i:
        data = fill(i, 32 * 512)
        for count, sends in ((7, 1), (32, 2)):
            seen = []
            for _ in range(9):
                before = segments_received(i)
                for n, task in enumerate(at_once(i, [read10(n, 1) for n in range(count)], read=512)):
                    task.good(data[n * 512:n * 512 + 512])
                seen.append(segments_received(i) - before)
            # the first batches tell how many there are at a time; where an acknowledgement is late,
            # TCP sends a segment again (tail loss probe), so that one batch alone says too little
            expect(f"sends for {count} answers, of {seen}", sends, statistics.mode(seen[2:]))


def test_two_sessions_read_at_once():
    with Daemon() as daemon, session(daemon) as a, session(daemon, isid=0x00023D000002) as b:
        data = fill(a, MIB)
        tasks = [x.submit(read10(0, MIB // 512), read=MIB) for x in (a, b) for _ in range(4)]
        for task in tasks:
            task.good(data)


def test_an_error_is_told_in_a_scsi_response_without_data():
    with Daemon() as daemon, session(daemon) as i:
        task = i.command(read10(0x7FFFFFFF, 8), read=4096).refused(5, 0x21, 0)
        expect("PDU with the status", p.NAMES[p.SCSI_RESPONSE], task.answer.name)
        expect("bytes of data", 0, len(task.data))
        expect("residual", 4096, task.residual)


def test_an_odd_length_is_padded_and_not_counted():
    with Daemon() as daemon:
        for keys in ({}, {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}):
            with session(daemon, keys) as i:
                whole = i.command(inquiry(255), read=255)
                whole.wait()
                for length in (5, 6, 7, 33, 35):
                    i.command(inquiry(length), read=length).good(bytes(whole.data[:length]))
                    i.ping(b"and on")


def test_data_longer_than_a_segment_is_cut_for_every_command():
    with Daemon() as daemon, session(daemon, {"MaxRecvDataSegmentLength": "512"}) as i:
        i.command(report_luns(), read=4096).wait()
        i.command(inquiry(page=0x83), read=255).wait()
