"""Data-Out and R2T, RFC 7143 4.2.5 and 11.7, 11.8: immediate, unsolicited and solicited data in
every mix. (R2TSN, offsets, lengths and the number outstanding are checked at each R2T.)"""

from initiator import Failure, Initiator, Task, pattern, read10, session, write10
from nestor import Daemon, expect, limit

MIB = 1 << 20
SIZES = (512, 4096, 8192 + 9216, 65536, MIB, 8 * MIB)


def write_and_read_back(i, size, seed, **options):
    data = pattern(size, seed)
    task = i.command(write10(0, size // 512), write=data, **options)
    task.good()
    i.command(read10(0, size // 512), read=size).good(data)
    return task


@limit(120)
def test_writes_of_all_sizes_arrive_however_the_data_comes():
    with Daemon() as daemon:
        for initial_r2t in ("Yes", "No"):
            for immediate in ("Yes", "No"):
                keys = {"InitialR2T": initial_r2t, "ImmediateData": immediate,
                        "FirstBurstLength": "8192", "MaxBurstLength": "262144"}
                with session(daemon, keys) as i:
                    expect("what was agreed", (initial_r2t, immediate),
                           (i.agreed["InitialR2T"], i.agreed["ImmediateData"]))
                    for seed, size in enumerate(SIZES):
                        task = write_and_read_back(i, size, seed)
                        free = 0 if (initial_r2t, immediate) == ("Yes", "No") else 8192
                        expect("bytes without R2T of %d" % size, min(free, size),
                               task.immediate_bytes + task.unsolicited_bytes)
                        if size <= free:
                            expect("R2Ts for %d bytes" % size, 0, task.r2t_count)
                        elif task.r2t_count < -(-(size - free) // 262144):
                            raise Failure("only %d R2Ts for %d bytes" % (task.r2t_count, size))


def test_writes_arrive_with_every_burst_and_segment_length():
    with Daemon() as daemon:
        for first, burst, segment in ((512, 512, 512), (512, 4096, 512), (1000, 3000, 1000),
                                      (65536, 65536, 8192), (4096, 262144, 100),
                                      (262144, 262144, 262144), (512, 16777215, 8192)):
            keys = {"FirstBurstLength": str(first), "MaxBurstLength": str(burst)}
            with session(daemon, keys) as i:
                segment = min(segment, i.number("MaxRecvDataSegmentLength"))
                for seed, size in enumerate((512, 4096, 17408, 131072)):
                    write_and_read_back(i, size, seed, segment=segment)


def test_esx_write_of_34_blocks_arrives():
    """8 KiB immediate and one Data-Out of 9216 bytes: the write that broke another target."""
    with Daemon() as daemon, session(daemon, {"FirstBurstLength": "262144"}) as i:
        task = write_and_read_back(i, 17408, 5, immediate_bytes=8192, unsolicited_bytes=9216)
        expect("R2Ts", 0, task.r2t_count)


def test_less_unsolicited_data_than_allowed_is_asked_for():
    with Daemon() as daemon, session(daemon, {"FirstBurstLength": "65536"}) as i:
        for seed, (immediate, unsolicited) in enumerate(((0, 0), (512, 0), (0, 512), (4096, 8192))):
            task = write_and_read_back(i, 32768, seed, immediate_bytes=immediate,
                                       unsolicited_bytes=unsolicited)
            if not task.r2t_count:
                raise Failure("expected an R2T for what was not sent")


def test_one_r2t_is_outstanding_when_one_was_agreed():
    with Daemon() as daemon, session(daemon, {"MaxOutstandingR2T": "1", "MaxBurstLength": "65536",
                                              "FirstBurstLength": "512"}) as i:
        data = pattern(MIB, 3)
        task = i.submit(write10(0, MIB // 512), write=data, auto=False)
        while not task.is_done:
            i.pump(lambda: task.r2ts or task.is_done, "an R2T")
            i.drain()
            if task.r2ts:
                expect("outstanding R2Ts", 1, len(task.r2ts))
                task.answer_r2t()
        task.good()
        expect("most R2Ts at once", 1, task.max_outstanding)
        i.command(read10(0, MIB // 512), read=MIB).good(data)


def test_many_r2ts_are_outstanding_when_many_were_agreed():
    with Daemon() as daemon, session(daemon, {"MaxOutstandingR2T": "16", "MaxBurstLength": "16384",
                                              "FirstBurstLength": "512"}) as i:
        data = pattern(2 * MIB, 3)
        task = i.submit(write10(0, 2 * MIB // 512), write=data, auto=False)
        while not task.is_done:
            i.pump(lambda: task.r2ts or task.is_done, "an R2T")
            i.drain()
            if task.r2ts:
                task.answer_r2t()
        task.good()
        if not 1 < task.max_outstanding <= 16:
            raise Failure("expected 2 to 16 R2Ts at once, came %d" % task.max_outstanding)
        i.command(read10(0, 2 * MIB // 512), read=2 * MIB).good(data)


def test_r2ts_may_be_answered_in_pieces_between_other_commands():
    with Daemon() as daemon, session(daemon, {"FirstBurstLength": "512"}) as i:
        data = [pattern(65536, n) for n in range(6)]
        tasks = [i.submit(write10(128 * n, 128), write=data[n], auto=False) for n in range(6)]
        i.pump(lambda: all(task.r2ts for task in tasks), "six R2Ts")
        r2ts = [task.r2ts.pop() for task in tasks]
        sequences = [task.data_out(r2t.ttt, r2t.offset, r2t.desired) if task.segment < r2t.desired
                     else halves(task, r2t) for task, r2t in zip(tasks, r2ts)]
        for part in zip(*reversed(sequences)):
            i.send(*part)
            i.command(read10(4096, 8), read=4096).good()
        for sequence in sequences:
            i.send(*sequence[min(map(len, sequences)):])
        for task in tasks:
            task.auto = True
        for task in tasks:
            while not task.is_done:
                i.pump(lambda: task.r2ts or task.is_done, "an R2T or the end")
                if task.r2ts:
                    task.answer_r2t()
            task.good()
        for n in range(6):
            i.command(read10(128 * n, 128), read=65536).good(data[n])


def halves(task, r2t):
    """A sequence of Data-Out in pieces of 4096 bytes."""
    task.segment = 4096
    return task.data_out(r2t.ttt, r2t.offset, r2t.desired)


def test_a_write_of_nothing_is_good():
    with Daemon() as daemon, session(daemon) as i:
        task = i.command(write10(0, 0), write=b"")
        task.good()
        expect("R2Ts", 0, task.r2t_count)


def test_many_writes_at_once_all_arrive():
    with Daemon() as daemon, session(daemon, {"FirstBurstLength": "4096"}) as i:
        data = [pattern(65536, n) for n in range(32)]
        tasks = [i.submit(write10(128 * n, 128), write=data[n]) for n in range(32)]
        for task in tasks:
            task.good()
        for n in range(32):
            i.command(read10(128 * n, 128), read=65536).good(data[n])


def test_unsolicited_data_may_follow_other_commands():
    """RFC 7143 4.2.5.2: unsolicited data comes in the order of the commands, not next to them."""
    with Daemon() as daemon, Initiator(daemon) as i:
        i.login({"ImmediateData": "No", "FirstBurstLength": "65536"}).clear_unit_attention()
        tasks = [Task(i, write10(8 * n, 8), write=pattern(4096, n)) for n in range(4)]
        i.tasks.update((task.itt, task) for task in tasks)
        i.send(*(task.pdus()[0] for task in tasks))
        i.send(*(pdu for task in tasks for pdu in task.pdus()[1:]))
        for task in tasks:
            task.good()
        for n in range(4):
            i.command(read10(8 * n, 8), read=4096).good(pattern(4096, n))
