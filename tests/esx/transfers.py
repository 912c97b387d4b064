"""How the generations move data, and that they are answered while it moves."""

import time

import pdu as p
from generations import ESX3, ESX4, ESXI8, GENERATIONS, Host
from initiator import ABORT_TASK
from nestor import Daemon, Failure, expect, limit, lun, target
from task import TEST_UNIT_READY, pattern, read10, write10

KIB, MIB = 1 << 10, 1 << 20
BIG = [target(lun(0, size="256M"))]


def test_write_of_34_blocks_arrives_in_pieces():
    """As an ESXi host sent it: 8 KiB immediate, 9 KiB after that; with and without R2T."""
    data = pattern(34 * 512, 34)
    with Daemon() as daemon:
        for generation in GENERATIONS:
            for first_burst, asked in ((262144, 0), (8192, 1)):
                keys = {"FirstBurstLength": str(first_burst)}
                with Host(daemon, generation).log_in(keys).ready() as host:
                    unsolicited = 0 if asked else 9216
                    task = host.submit(write10(5, 34), write=data, immediate_bytes=8192,
                                       unsolicited_bytes=unsolicited)
                    task.good()
                    expect("R2Ts", asked, task.r2t_count)
                    host.command(read10(5, 34), read=len(data)).good(data)


def test_residuals_of_every_size_that_hosts_use_are_exact():
    """A host checks them; a wrong one of a large write ended the making of a datastore."""
    with Daemon(BIG) as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in().ready() as host:
                for size in (512, 4 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB):
                    blocks = size // 512
                    host.command(write10(0, blocks), write=pattern(size, blocks)).good()
                    host.command(read10(0, blocks), read=size).good(pattern(size, blocks))
                    host.command(read10(0, blocks), read=size + 512).good(residual=512)


def test_commands_of_esx3_and_4_may_be_32_mib():
    """They never read MAXIMUM TRANSFER LENGTH."""
    with Daemon(BIG) as daemon:
        for generation in (ESX3, ESX4):
            with Host(daemon, generation).log_in().ready() as host:
                blocks = generation.largest_blocks
                data = pattern(blocks * 512, 32)
                host.command(write10(8, blocks), write=data, timeout=120).good()
                host.command(read10(8, blocks), read=len(data), timeout=120).good(data)


def test_data_in_is_never_larger_than_the_host_takes():
    """Trap 19; the initiator fails on any segment above 131072 as ESX would."""
    with Daemon(BIG) as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in().ready() as host:
                expect("what it takes", 131072, host.max_segment_in)
                task = host.command(read10(0, 8192), read=4 * MIB)
                task.good()
                if task.data_pdus < 32:
                    raise Failure(f"4 MiB came in {task.data_pdus} segments")


def test_numbers_stand_in_every_pdu_beyond_80000000():
    """Trap 6: an R2T without ExpCmdSN and MaxCmdSN stalls the host when CmdSN passes this. The
    initiator checks them in every PDU."""
    with Daemon() as daemon:
        for start in (0x7FFFFFFC, 0xFFFFFFFC):
            with Host(daemon, ESXI8, cmd_sn=start).log_in({"FirstBurstLength": "512"}) as host:
                host.ready()
                for n in range(8):
                    host.command(write10(0, 64), write=pattern(32768, n)).good()
                    host.command(read10(0, 64), read=32768).good(pattern(32768, n))


def test_pings_are_answered_while_data_moves():
    """Trap 10: ESX waits 5 s (ESX 3) or 10 s, then the path is down. Within 1 s is the promise."""
    with Daemon(BIG) as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in().ready() as host:
                for n in range(16):
                    host.submit(write10(n * 2048, 2048), write=pattern(MIB, n))
                held = host.submit(write10(100000, 2048), write=pattern(MIB), auto=False)
                host.pump(lambda h=held: h.r2ts, "an R2T")
                began = time.monotonic()
                host.ping(b"still there?", immediate=True)
                took = time.monotonic() - began
                if took > min(generation.ping_seconds):
                    raise Failure(f"{generation} waited {took:.1f} s for its ping")
                held.auto = True
                held.answer_r2t()
                for task in list(host.tasks.values()):
                    task.wait()


@limit(30)
def test_a_silent_host_is_asked_and_answers():
    """The target's own pings, as the ESX generations answer them: a NOP-Out with their TTT."""
    with Daemon(nop_interval=1, nop_timeout=5) as daemon:
        hosts = [Host(daemon, g, n).log_in().ready() for n, g in enumerate(GENERATIONS, 1)]
        for host in hosts:
            host.pump(lambda h=host: h.pings >= 2, "two pings", 15)
        for host in hosts:
            host.command(TEST_UNIT_READY).good()
            host.close()


def test_a_whole_queue_is_served_in_the_depth_that_hosts_use():
    """LUN queue depth 128; past its window the initiator waits, so nothing is refused."""
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        tasks = []
        for n in range(256):
            host.pump(lambda: not (host.cmd_sn - host.max_cmd_sn - 1) & 0xFFFFFFFF < 0x80000000,
                      "room in the window")
            tasks.append(host.submit(write10(n * 8, 8), write=pattern(4096, n)))
        for task in tasks:
            task.good()
        for n in range(256):
            host.command(read10(n * 8, 8), read=4096).good(pattern(4096, n))


def test_commands_of_a_host_keep_their_stamps_under_aborts():
    """Aborts of what is done already, in the middle of other work (trap 11)."""
    with Daemon() as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in().ready() as host:
                for n in range(20):
                    task = host.command(write10(n * 8, 8), write=pattern(4096, n))
                    task.good()
                    other = host.submit(read10(0, 8), read=4096)
                    expect(f"response to {generation}", 0,
                           host.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
                    other.good(pattern(4096, 0))


def test_data_of_an_unknown_task_does_not_end_the_session():
    """What is on its way when a task is aborted comes all the same."""
    keys = {"FirstBurstLength": "512"}
    with Daemon() as daemon, Host(daemon, ESXI8).log_in(keys).ready() as host:
        task = host.submit(write10(0, 64), write=pattern(32768), auto=False)
        host.pump(lambda: task.r2ts, "an R2T")
        expect("response", 0, host.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
        task.answer_r2t()
        host.drain()
        expect("Rejects", [], [r for r in host.inbox if r.opcode == p.REJECT])
        host.command(TEST_UNIT_READY).good()
