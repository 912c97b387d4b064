"""Many connections that have something to say at the same moment, so that one turn of a worker's
loop serves all of them, and their answers leave together: each still gets its own, all of them."""

import contextlib
import os
import signal

from initiator import TEST_UNIT_READY, Initiator, pattern, read10, session, write10
from nestor import Daemon, expect, wait_until

BLOCK = 4096 // 512
COUNT = 10
ISID = 0x00023D000000


def state(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def one_turn(daemon):
    """What is sent meanwhile is all there when the daemon looks."""
    pid = daemon.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state(pid) == "T", "the daemon to stand still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def hosts(daemon, count=COUNT):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(session(daemon, isid=ISID + n)) for n in range(count)]


def block_of(data, n):
    at = n * 4096 % len(data)
    return data[at:at + 4096]


def ask(host, data, count):
    """`count` commands, every third a write of what stands there; gives what to expect."""
    asked = []
    for n in range(count):
        lba, bytes_there = n * BLOCK % (len(data) // 512), block_of(data, n)
        if n % 3 == 2:
            asked.append((host.submit(write10(lba, BLOCK), write=bytes_there), None))
        else:
            asked.append((host.submit(read10(lba, BLOCK), read=4096), bytes_there))
    return asked


def check(asked):
    for task, data in asked:
        if data is None:
            task.good()
        else:
            task.good(data)


def busy_turn(daemon, all_hosts):
    """How many were busy in the turn before tells how many answers may leave together."""
    with one_turn(daemon):
        asked = [host.submit(TEST_UNIT_READY) for host in all_hosts]
    for task in asked:
        task.good()


def test_all_answers_come_when_many_hosts_ask_at_once():
    with Daemon(workers=1) as daemon, hosts(daemon) as all_hosts:
        data = pattern(64 * 4096)
        all_hosts[0].command(write10(0, len(data) // 512), write=data).good()
        for depths in ([1], [16], [3, 31], [1, 1, 40, 2], [32] * 3 + [1], [0, 0, 0, 5]):
            for _ in range(3):  # how busy the turn before was counts too
                with one_turn(daemon):
                    asked = [ask(host, data, depths[n % len(depths)])
                             for n, host in enumerate(all_hosts)]
                for some in reversed(asked):
                    check(some)


def test_large_reads_and_small_ones_of_many_hosts_all_come():
    size = 128 * 1024
    with Daemon(workers=1) as daemon, hosts(daemon) as all_hosts:
        data = pattern(size)
        all_hosts[0].command(write10(0, size // 512), write=data).good()
        for _ in range(3):
            with one_turn(daemon):
                large = [host.submit(read10(0, size // 512), read=size) for host in all_hosts[::2]]
                small = [ask(host, data, 9) for host in all_hosts[1::2]]
            for some in small:
                check(some)
            for task in large:
                task.good(data)


def test_answers_do_not_wait_for_what_brings_none():
    """Half a header and data of a write that is not whole have no answer in that turn."""
    with Daemon(workers=1) as daemon, hosts(daemon) as all_hosts:
        data = pattern(16 * 4096)
        all_hosts[0].command(write10(0, len(data) // 512), write=data).good()
        for quiet in range(1, COUNT):
            for some in all_hosts[:quiet], all_hosts[-quiet:]:
                busy_turn(daemon, all_hosts)
                rests, asked = [], []
                with one_turn(daemon):
                    for host in all_hosts:
                        if host in some:
                            pieces = []
                            host.send_bytes = pieces.append
                            later = host.submit(write10(0, BLOCK), write=block_of(data, 0))
                            del host.send_bytes
                            whole = b"".join(pieces)
                            cut = 20 if len(rests) % 2 else 1000
                            host.send_bytes(whole[:cut])
                            rests.append((host, later, whole[cut:]))
                        else:
                            asked.append(ask(host, data, 2))
                for some_asked in asked:
                    check(some_asked)
                for host, later, rest in rests:
                    host.send_bytes(rest)
                    later.good()


def test_a_host_whose_session_ends_in_that_turn_takes_no_other_with_it():
    """It comes back as a new session while all of them, its old one too, ask."""
    with Daemon(workers=1) as daemon, hosts(daemon) as all_hosts:
        data = pattern(16 * 4096)
        all_hosts[0].command(write10(0, len(data) // 512), write=data).good()
        for before in range(5):
            for after in range(4):
                for comes_first in False, True:
                    busy_turn(daemon, all_hosts)
                    all_hosts.append(come_back(daemon, all_hosts, data, before, after, comes_first))


def come_back(daemon, all_hosts, data, before, after, comes_first):
    """So many others ask before the first host and after it, its new session first or last."""
    old, *others = all_hosts
    new = Initiator(daemon, isid=old.isid)
    with one_turn(daemon):
        if comes_first:
            new.login_step(new.names() + new.keys(), raw=True)
        asked = [ask(host, data, 2) for host in others[:before]]
        for number in range(3):
            old.submit(read10(number * BLOCK, BLOCK), read=4096)
        asked += [ask(host, data, 2) for host in others[before:before + after]]
        if not comes_first:
            new.login_step(new.names() + new.keys(), raw=True)
    new.finish_login(new.login_response())
    for some in asked:
        check(some)
    old.expect_closed()
    old.close()
    all_hosts.remove(old)
    new.clear_unit_attention()
    check(ask(new, data, 6))
    return new


def test_a_host_that_breaks_off_in_that_turn_takes_no_other_with_it():
    with Daemon(workers=1) as daemon, hosts(daemon) as all_hosts:
        data = pattern(16 * 4096)
        all_hosts[0].command(write10(0, len(data) // 512), write=data).good()
        while len(all_hosts) > 2:
            with one_turn(daemon):
                asked = [ask(host, data, 5) for host in all_hosts]
                gone = all_hosts.pop(len(all_hosts) // 2)
                del asked[len(asked) // 2]
                gone.reset()
            for some in asked:
                check(some)
        expect("hosts that are left", 2, len(all_hosts))
        for host in all_hosts:
            check(ask(host, data, 20))
