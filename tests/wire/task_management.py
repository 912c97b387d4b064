"""Task management, RFC 7143 11.5 and 11.6 and 4.2.3.3: what is aborted is dead before the answer,
and ESX gets the answers that it needs (a failed function makes it close the connection)."""

import re

import pdu as p
from initiator import (ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET, GOOD,
                       INITIATOR_NAME, LUN_RESET, ORDERED, RELEASE6, RESERVE6,
                       TARGET_COLD_RESET, TARGET_WARM_RESET, TASK_REASSIGN, TEST_UNIT_READY, Closed, Failure, expect_good_initiator,
                       pattern, plus, read10, session, write10)
from nestor import Daemon, expect, lun, target, wait_until

COMPLETE, NO_TASK, NO_LUN, REASSIGN_NOT_SUPPORTED, NOT_SUPPORTED, REJECTED = 0, 1, 2, 4, 5, 255
SLOW = {"FirstBurstLength": "512", "MaxBurstLength": "4096", "MaxOutstandingR2T": "1"}
TWO_LUNS = [target(lun(0, size="64M"), lun(1, size="64M"))]
OTHER = "iqn.2026-11.lab.nestor:other"
QUERY_TASK, QUERY_TASK_SET, NEXUS_RESET, QUERY_ASYNC_EVENT = 9, 10, 11, 12  # RFC 7144
ELSEWHERE = "iqn.2026-11.lab.nestor:elsewhere"


def waiting_write(i, lba=0, lun=0, seed=7):
    """A write of 32 KiB whose R2T is there and is not answered."""
    task = i.submit(write10(lba, 64), lun=lun, write=pattern(32768, seed), auto=False)
    i.pump(lambda: task.r2ts, "an R2T")
    return task


def expect_dead(i, task):
    """Neither status nor another R2T, even when its data still comes (RFC 7143 4.2.3.3)."""
    expect("R2Ts before the end", 1, task.r2t_count)
    task.answer_r2t()
    i.drain()
    expect("the aborted task is answered", False, task.is_done)
    expect("R2Ts after the end", 1, task.r2t_count)
    expect("Rejects", [], i.rejects)


def expect_attention(i, sense, lun=0):
    """Exactly this unit attention, once."""
    i.command(TEST_UNIT_READY, lun=lun).refused(*sense)
    i.command(TEST_UNIT_READY, lun=lun).good()


def test_abort_of_a_task_that_is_finished_is_complete():
    """ESX: "task does not exist" makes ESX think that the target is crazy."""
    with Daemon() as daemon, session(daemon) as i:
        task = i.command(TEST_UNIT_READY)
        expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
        expect("again", COMPLETE, i.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
        expect("as one that counts", COMPLETE,
               i.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn, immediate=False))
        i.command(TEST_UNIT_READY).good()


def test_abort_of_a_waiting_write_ends_it_without_an_answer():
    with Daemon() as daemon, session(daemon, SLOW) as i:
        i.command(write10(0, 64), write=pattern(32768, 1)).good()
        for immediate in (True, False):
            task = waiting_write(i)
            expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn,
                                               immediate=immediate))
            expect_dead(i, task)
        i.command(read10(8, 56), read=28672).good(pattern(32768, 1)[4096:])


def test_abort_touches_no_other_task():
    with Daemon() as daemon, session(daemon, SLOW) as i:
        first, second = waiting_write(i, 0), waiting_write(i, 64, seed=8)
        expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=first.itt, ref_cmd_sn=first.cmd_sn))
        second.auto = True
        second.answer_r2t()
        second.good()
        i.command(read10(64, 64), read=32768).good(pattern(32768, 8))
        expect_dead(i, first)


def test_abort_of_a_command_that_never_came_fills_its_hole():
    """RFC 7143 11.5.1: a RefCmdSN within the window counts as received."""
    with Daemon() as daemon, session(daemon) as i:
        lost = i.take_cmd_sn()
        waiting = i.submit(TEST_UNIT_READY)
        expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=0x5555, ref_cmd_sn=lost))
        waiting.good()
        expect("ExpCmdSN", plus(lost, 2), i.exp_cmd_sn)
        late = i.submit(write10(0, 8), write=bytes(4096), cmd_sn=lost, itt=0x5555)
        i.drain()
        expect("the lost command is answered when it comes at last", False, late.is_done)


def test_abort_of_a_command_behind_a_hole_ends_it():
    with Daemon() as daemon, session(daemon) as i:
        missing = i.take_cmd_sn()
        behind = i.submit(write10(0, 8), write=pattern(4096, 9))
        expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=behind.itt, ref_cmd_sn=behind.cmd_sn))
        i.command(TEST_UNIT_READY, cmd_sn=missing).good()
        i.command(read10(0, 8), read=4096, attribute=ORDERED).good(bytes(4096))
        expect("the aborted command is answered", False, behind.is_done)


def test_abort_task_set_ends_this_initiators_tasks_on_this_lun():
    with Daemon(TWO_LUNS) as daemon, session(daemon, SLOW) as i, \
            session(daemon, SLOW, name=OTHER) as other:
        i.clear_unit_attention(1)
        mine, also_mine = waiting_write(i), waiting_write(i, 64)
        elsewhere, theirs = waiting_write(i, lun=1), waiting_write(other, 128)
        expect("response", COMPLETE, i.tmf(ABORT_TASK_SET))
        for task, owner in ((elsewhere, i), (theirs, other)):
            task.auto = True
            task.answer_r2t()
            task.good()
            owner.drain()
        expect_dead(i, mine)
        expect_dead(i, also_mine)


def test_clear_task_set_ends_everybodys_tasks_and_tells_them():
    with Daemon() as daemon, session(daemon, SLOW) as i, \
            session(daemon, SLOW, name=OTHER) as other, \
            session(daemon, name=OTHER + "-idle") as idle:
        mine, theirs = waiting_write(i), waiting_write(other, 64)
        expect("response", COMPLETE, i.tmf(CLEAR_TASK_SET))
        expect_dead(i, mine)
        theirs.answer_r2t()
        expect_attention(other, (6, 0x2F, 0))
        expect("the cleared task is answered", False, theirs.is_done)
        idle.command(TEST_UNIT_READY).good()
        i.command(TEST_UNIT_READY).good()


def test_lun_reset_ends_tasks_and_reservations_and_tells_the_others():
    with Daemon(TWO_LUNS) as daemon, session(daemon, SLOW) as i, \
            session(daemon, SLOW, name=OTHER) as other:
        for x in (i, other):
            x.clear_unit_attention(1)
        theirs, elsewhere = waiting_write(other), waiting_write(other, lun=1)
        i.command(RESERVE6, lun=1).good()
        other.command(RESERVE6).good()
        i.command(TEST_UNIT_READY).conflicts()
        expect("response", COMPLETE, i.tmf(LUN_RESET, lun=0))
        theirs.answer_r2t()
        expect_attention(other, (6, 0x29, 3))
        expect("the task on the LUN that was reset is answered", False, theirs.is_done)
        i.clear_unit_attention()  # SAM-5 6.3.3 lets the one who asked have it too
        i.command(TEST_UNIT_READY).good()
        elsewhere.auto = True
        elsewhere.answer_r2t()
        elsewhere.wait()
        other.command(TEST_UNIT_READY, lun=1).conflicts()
        i.command(RELEASE6, lun=1).good()


def test_warm_reset_resets_every_lun():
    """ESX 3 breaks a dead host's reservation with it."""
    with Daemon(TWO_LUNS) as daemon, session(daemon, SLOW) as i, \
            session(daemon, SLOW, name=OTHER) as other:
        for x in (i, other):
            x.clear_unit_attention(1)
        tasks = [waiting_write(other, lun=0), waiting_write(other, lun=1)]
        for number in (0, 1):
            other.command(RESERVE6, lun=number).good()
        expect("response", COMPLETE, i.tmf(TARGET_WARM_RESET))
        for task in tasks:
            task.answer_r2t()
        for number in (0, 1):
            code = other.command(TEST_UNIT_READY, lun=number).refused(6, 0x29).sense_code
            expect("29/00, 29/02 or 29/03 after the reset", True, code[2] in (0, 2, 3))
            i.clear_unit_attention(number)
            i.command(TEST_UNIT_READY, lun=number).good()
        expect("tasks answered after the reset", [], [t for t in tasks if t.is_done])
        i.drain()


def test_cold_reset_ends_every_connection_of_the_target():
    other_target = target(lun(0, path="other.img", size="1M"), name=ELSEWHERE)
    with Daemon(TWO_LUNS + [other_target]) as daemon, session(daemon) as i, \
            session(daemon, name=OTHER) as other, \
            session(daemon, target=ELSEWHERE) as elsewhere:
        try:
            expect("response", COMPLETE, i.tmf(TARGET_COLD_RESET))
        except Closed:
            pass
        i.expect_closed()
        other.expect_closed()
        elsewhere.command(TEST_UNIT_READY).good()
        for name in (INITIATOR_NAME, OTHER):
            wait_until(lambda: re.search(f"session ended initiator={name} .*: target cold reset\n",
                                         daemon.log()), f"why the session of {name} ended")
        expect_good_initiator(daemon)


def test_functions_on_a_lun_that_is_not_there_say_so():
    with Daemon() as daemon, session(daemon) as i:
        for function in (ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET):
            expect("response to function %d on LUN 9" % function, NO_LUN, i.tmf(function, lun=9))
            expect("response to function %d on a LUN of no form" % function, NO_LUN,
                   tmf_at(i, function, 0xC1 << 56))
        i.command(TEST_UNIT_READY).good()


def tmf_at(i, function, field):
    """A request whose 8-byte LUN field says exactly this."""
    itt = i.itt()
    i.send(p.Pdu(p.TMF_REQUEST, immediate=True, flags=0x80 | function, lun=field, itt=itt,
                 rtt=p.RESERVED_TAG, cmd_sn=i.cmd_sn, exp_stat_sn=i.exp_stat_sn))
    return i.wait_for(p.TMF_RESPONSE, itt).response


def test_functions_that_are_not_there_are_refused():
    with Daemon() as daemon, session(daemon) as i:
        expect("CLEAR ACA without ACA", True,
               i.tmf(CLEAR_ACA) in (COMPLETE, NOT_SUPPORTED, REJECTED))
        expect("TASK REASSIGN", True, i.tmf(TASK_REASSIGN, rtt=1) in
               (NO_TASK, REASSIGN_NOT_SUPPORTED, NOT_SUPPORTED, REJECTED))
        i.command(TEST_UNIT_READY).good()


def test_functions_are_done_or_not_as_they_are_reported():
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS, SPC-4 table 251: each bit."""
    bits = [(ABORT_TASK, 0x8000), (ABORT_TASK_SET, 0x4000), (CLEAR_ACA, 0x2000),
            (CLEAR_TASK_SET, 0x1000), (LUN_RESET, 0x0800), (QUERY_TASK, 0x0400),
            (QUERY_TASK_SET, 0x0002), (NEXUS_RESET, 0x0001), (QUERY_ASYNC_EVENT, 0x0004),
            (TARGET_WARM_RESET, 0x0200), (TARGET_COLD_RESET, 0x0200)]  # this one ends the session
    report = bytes([0xA3, 0x0D, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0])
    with Daemon() as daemon, session(daemon) as i:
        told = int.from_bytes(i.command(report, read=4).good()[:2], "big")
        for function, bit in bits:
            response = i.tmf(function)
            if bit & told:
                expect(f"response to function {function}", COMPLETE, response)
            elif response not in (NOT_SUPPORTED, REJECTED):
                raise Failure(f"function {function} is not reported, and answered {response}")


def test_unknown_functions_are_refused():
    with Daemon() as daemon, session(daemon) as i:
        for function in (0, 9, 0x55, 0x7F):
            itt = i.itt()
            i.send(p.Pdu(p.TMF_REQUEST, immediate=True, flags=0x80 | function, itt=itt, rtt=1,
                         cmd_sn=i.cmd_sn, exp_stat_sn=i.exp_stat_sn))
            i.pump(lambda: i.inbox, "a refusal of function %d" % function)
            answer = i.inbox.pop()
            if answer.opcode == p.TMF_RESPONSE:
                expect("response to function %d" % function, True,
                       answer.response in (NOT_SUPPORTED, REJECTED))
            else:
                expect("answer to function %d" % function, "Reject", answer.name)
        i.command(TEST_UNIT_READY).good()


def test_resets_in_a_storm_of_writes_leave_everybody_well():
    """Whatever was aborted, whoever is next is served, and what was not aborted is right."""
    with Daemon() as daemon, session(daemon) as i, session(daemon, name=OTHER) as other:
        for round_number in range(8):
            tasks = [other.submit(write10(128 * n, 128), write=pattern(65536, n))
                     for n in range(16)]
            expect("response", COMPLETE, i.tmf((LUN_RESET, CLEAR_TASK_SET, TARGET_WARM_RESET,
                                                ABORT_TASK_SET)[round_number % 4]))
            other.ping(b"after", immediate=True)
            other.drain()
            for task in tasks:
                if task.is_done and task.status not in (GOOD, 0x02):
                    raise Failure("status 0x%02x after a reset" % task.status)
                if not task.is_done:
                    del other.tasks[task.itt]
            other.clear_unit_attention()
            i.clear_unit_attention()
        other.command(write10(0, 128), write=pattern(65536, 77)).good()
        i.command(read10(0, 128), read=65536).good(pattern(65536, 77))


def test_nothing_of_a_read_comes_after_its_abort_was_answered():
    """RFC 7143 4.2.3.3; the initiator may give the tag and the memory to somebody else by then."""
    with Daemon() as daemon, session(daemon, {"MaxRecvDataSegmentLength": "8192"}) as i:
        tasks = [i.submit(read10(2048 * n, 2048), read=1 << 20) for n in range(24)]
        for task in reversed(tasks):
            expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))
            del i.tasks[task.itt]  # whatever still comes for it stays in the inbox
        i.drain()
        expect("PDUs after the answers", [], i.inbox)


def test_data_for_an_aborted_task_does_not_reach_the_next_one_with_its_tag():
    with Daemon() as daemon, session(daemon, SLOW) as i:
        first = waiting_write(i, seed=1)
        stale = first.data_out(first.r2ts[0].ttt, first.r2ts[0].offset, first.r2ts[0].desired)
        expect("response", COMPLETE, i.tmf(ABORT_TASK, rtt=first.itt, ref_cmd_sn=first.cmd_sn))
        second = i.submit(write10(0, 64), write=pattern(32768, 2), auto=False, itt=first.itt)
        i.pump(lambda: second.r2ts, "an R2T")
        i.send(*stale)
        second.auto = True
        second.answer_r2t()
        second.good()
        i.command(read10(0, 64), read=32768).good(pattern(32768, 2))


def test_aborted_writes_give_their_memory_back():
    with Daemon(memory_limit="16M") as daemon, session(daemon, {"FirstBurstLength": "512"}) as i:
        for n in range(200):
            task = i.submit(write10(0, 512), write=bytes(262144), auto=False)
            i.pump(lambda: task.r2ts or task.is_done, "an R2T")
            expect("round %d" % n, False, task.is_done)
            expect("response", COMPLETE, i.tmf(ABORT_TASK if n % 2 else LUN_RESET, rtt=task.itt,
                                               ref_cmd_sn=task.cmd_sn))
            if n % 3:
                task.answer_r2t()
            if n % 2 == 0:
                i.clear_unit_attention()
        i.command(write10(0, 512), write=pattern(262144, 3)).good()
        i.command(read10(0, 512), read=262144).good(pattern(262144, 3))
