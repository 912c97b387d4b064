"""CmdSN, the command window and StatSN, RFC 7143 4.2.2. (Every PDU's numbers are checked by the
initiator itself, in every test.)"""

import pdu as p
from initiator import (GOOD, TEST_UNIT_READY, Initiator, Task, pattern, plus, read10, session,
                       write10)
from nestor import Daemon, Failure, expect


def test_commands_that_come_out_of_order_run_in_order():
    with Daemon() as daemon, session(daemon) as i:
        first, second, third = (i.take_cmd_sn() for _ in range(3))
        tasks = [Task(i, write10(0, 8), write=pattern(4096, seed), cmd_sn=sn)
                 for seed, sn in ((3, third), (2, second), (1, first))]
        for task in tasks:
            i.tasks[task.itt] = task
            task.start()
        for task in tasks:
            task.good()
        i.command(read10(0, 8), read=4096).good(pattern(4096, 3))


def test_a_command_after_a_hole_waits_for_it():
    with Daemon() as daemon, session(daemon) as i:
        missing, later = i.take_cmd_sn(), i.take_cmd_sn()
        task = i.submit(TEST_UNIT_READY, cmd_sn=later)
        answer = i.ping(b"meanwhile", immediate=True)
        expect("ExpCmdSN", missing, answer.exp_cmd_sn)
        expect("the command after the hole is done", False, task.is_done)
        i.command(TEST_UNIT_READY, cmd_sn=missing).good()
        task.good()
        expect("ExpCmdSN in the end", plus(later), i.exp_cmd_sn)


def test_commands_beyond_the_window_are_ignored():
    with Daemon() as daemon, session(daemon) as i:
        i.drain()
        for beyond in (1, 2, 1000, 0x7FFFFFFF - (i.max_cmd_sn - i.exp_cmd_sn) - 1):
            task = i.submit(TEST_UNIT_READY, cmd_sn=plus(i.max_cmd_sn, beyond))
            answer = i.ping(b"here", immediate=True)
            expect("a command beyond MaxCmdSN is answered", False, task.is_done)
            expect("ExpCmdSN", i.cmd_sn, answer.exp_cmd_sn)
        i.command(TEST_UNIT_READY).good()


def test_commands_before_the_window_are_ignored():
    with Daemon() as daemon, session(daemon) as i:
        i.command(write10(0, 8), write=pattern(4096, 1)).good()
        for back in (1, 2, 3):
            task = i.submit(write10(0, 8), write=pattern(4096, 9), cmd_sn=plus(i.cmd_sn, -back))
            i.ping(b"here", immediate=True)
            expect("an old command is answered", False, task.is_done)
        i.command(read10(0, 8), read=4096).good(pattern(4096, 1))


def test_a_command_that_comes_twice_runs_once():
    """The second waits for nothing: it is a duplicate of one behind a hole."""
    with Daemon() as daemon, session(daemon) as i:
        missing, later = i.take_cmd_sn(), i.take_cmd_sn()
        task = i.submit(write10(0, 8), write=pattern(4096, 1), cmd_sn=later)
        twin = i.submit(write10(0, 8), write=pattern(4096, 2), cmd_sn=later)
        i.command(TEST_UNIT_READY, cmd_sn=missing).good()
        task.good()
        i.drain()
        expect("the duplicate is answered", False, twin.is_done)
        i.command(read10(0, 8), read=4096).good(pattern(4096, 1))


def test_immediate_commands_do_not_advance_the_window():
    with Daemon() as daemon, session(daemon) as i:
        before = i.cmd_sn
        for _ in range(5):
            task = i.command(TEST_UNIT_READY, immediate=True)
            task.good()
            expect("ExpCmdSN", before, task.answer.exp_cmd_sn)
        i.command(TEST_UNIT_READY).good()
        expect("ExpCmdSN after one that counts", plus(before), i.exp_cmd_sn)


def test_cmd_sn_wraps():
    with Daemon() as daemon:
        for start in (0xFFFFFFF0, 0x7FFFFFF0):
            with session(daemon, cmd_sn=start) as i:
                tasks = [i.submit(write10(8 * n, 8), write=pattern(4096, n)) for n in range(24)]
                for task in tasks:
                    task.good()
                for n in range(24):
                    i.command(read10(8 * n, 8), read=4096).good(pattern(4096, n))
                expect("ExpCmdSN", i.cmd_sn, i.exp_cmd_sn)


def test_out_of_order_works_across_the_wrap():
    with Daemon() as daemon, Initiator(daemon, cmd_sn=0xFFFFFFFE) as i:
        i.login()
        i.command(TEST_UNIT_READY)
        numbers = [i.take_cmd_sn() for _ in range(4)]  # ffffffff, 0, 1, 2
        expect("the numbers", [0xFFFFFFFF, 0, 1, 2], numbers)
        tasks = [i.submit(TEST_UNIT_READY, cmd_sn=sn) for sn in reversed(numbers)]
        for task in tasks:
            task.good()


def test_a_rejected_command_leaves_its_number_free():
    """RFC 7143 7.3: its CmdSN must not be considered received; the next command plugs the gap."""
    with Daemon() as daemon, session(daemon) as i:
        number = i.take_cmd_sn()
        both_ways = p.Pdu(p.SCSI_COMMAND, flags=0x80 | 0x40 | 0x20 | 1, itt=i.itt(), edtl=512,
                          cmd_sn=number, exp_stat_sn=i.exp_stat_sn, cdb=read10(0, 1))
        i.send(both_ways)
        i.pump(lambda: i.inbox, "a Reject")
        expect("answer", "Reject", i.inbox[0].name)
        expect("ExpCmdSN", number, i.inbox[0].exp_cmd_sn)
        i.command(TEST_UNIT_READY, cmd_sn=number).good()
        i.free_numbers.clear()
        i.command(TEST_UNIT_READY).good()


def test_a_whole_window_of_commands_is_served():
    with Daemon() as daemon, session(daemon) as i:
        i.drain()
        window = (i.max_cmd_sn - i.cmd_sn + 1) & 0xFFFFFFFF
        if window < 32:
            raise Failure("a window of only %d commands" % window)
        tasks = [Task(i, read10(n % 64, 8), read=4096) for n in range(window)]
        i.tasks.update((task.itt, task) for task in tasks)
        i.send(*(pdu for task in tasks for pdu in task.pdus()))
        for task in tasks:
            task.good()
        i.drain()
        expect("the window afterwards", window, (i.max_cmd_sn - i.cmd_sn + 1) & 0xFFFFFFFF)


def test_status_is_numbered_whatever_carries_it():
    """A mix of everything that takes a StatSN; the initiator checks that none is left out."""
    with Daemon() as daemon, session(daemon) as i:
        for n in range(10):
            i.command(read10(0, 1), read=512).good()
            i.ping(b"x" * n)
            expect("TEST UNIT READY", GOOD, i.command(TEST_UNIT_READY).status)
            i.tmf(1, rtt=0x7777)
            i.text([("X-lab", "1")])
            snack = p.Pdu(p.SNACK, itt=0xFFFFFFFF, ttt=0xFFFFFFFF, exp_stat_sn=i.exp_stat_sn)
            i.send(snack)
            i.expect_reject(None, snack.bhs)
