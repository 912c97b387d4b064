"""Persistent reservations between two hosts, SPC-4 5.13: who is kept out and told, what outlives the
session, the daemon (APTPL) and the operator, and a copy of the file that was damaged."""

import struct
from pathlib import Path

from initiator import (GOOD, LUN_RESET, RELEASE6, RESERVE6, TEST_UNIT_READY, pattern, read10,
                       session, write10)
from nestor import Daemon, Failure, expect, expect_in, lun, target, wait_until

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE, MOVE = range(8)
READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS = range(4)
WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS, WRITE_EXCLUSIVE_REGISTRANTS = 1, 3, 5
APTPL = 1

OTHER = "iqn.2026-11.lab.nestor:other"
RESERVATIONS_PREEMPTED, RESERVATIONS_RELEASED = (6, 0x2A, 3), (6, 0x2A, 4)
REGISTRATIONS_PREEMPTED = (6, 0x2A, 5)
CONFLICT = 0x18


def pr_out(i, action, key=0, action_key=0, kind=0, flags=0):
    cdb = struct.pack(">BBB2xIx", 0x5F, action, kind, 24)
    return i.command(cdb, write=struct.pack(">QQ4xB3x", key, action_key, flags)).wait()


def pr_in(i, action, size=4096):
    task = i.command(struct.pack(">BB5xHx", 0x5E, action, size), read=size)
    expect("status of PERSISTENT RESERVE IN %d" % action, GOOD, task.status)
    return bytes(task.data)


def keys(i):
    """The generation, and the keys in order."""
    data = pr_in(i, READ_KEYS)
    generation, length = struct.unpack_from(">II", data)
    return generation, list(struct.unpack_from(">%dQ" % (length // 8), data, 8))


def reservation(i):
    """(key, type), or None."""
    data = pr_in(i, READ_RESERVATION)
    return (struct.unpack_from(">Q", data, 8)[0], data[21]) if len(data) > 8 else None


def register(i, key, flags=0):
    pr_out(i, REGISTER_AND_IGNORE, action_key=key, flags=flags).good()


def expect_attention(i, sense):
    """Exactly this unit attention, once."""
    i.command(TEST_UNIT_READY).refused(*sense)
    i.command(TEST_UNIT_READY).good()


def kept_file(daemon):
    found = list(Path(daemon.dir).glob("**/pr/naa.*"))
    expect("files of registrations", 1, len(found))
    return found[0]


def test_registered_hosts_share_and_others_are_kept_out():
    with Daemon() as daemon, session(daemon) as a, session(daemon, name=OTHER) as b:
        register(a, 1)
        pr_out(a, RESERVE, 1, kind=WRITE_EXCLUSIVE_REGISTRANTS).good()
        b.command(write10(0, 8), write=bytes(4096)).conflicts()
        b.command(read10(0, 8), read=4096).good()
        register(b, 2)
        b.command(write10(0, 8), write=pattern(4096)).good()
        expect("keys", (2, [1, 2]), keys(b))
        expect("reservation", (1, WRITE_EXCLUSIVE_REGISTRANTS), reservation(b))
        pr_out(a, RELEASE, 1, kind=WRITE_EXCLUSIVE_REGISTRANTS).good()
        expect_attention(b, RESERVATIONS_RELEASED)
        expect("reservation", None, reservation(b))


def test_a_host_takes_over_from_another():
    with Daemon() as daemon, session(daemon) as a, session(daemon, name=OTHER) as b:
        register(a, 1)
        register(b, 2)
        pr_out(a, RESERVE, 1, kind=EXCLUSIVE_ACCESS).good()
        b.command(read10(0, 8), read=4096).conflicts()
        pr_out(b, PREEMPT, 2, 1, kind=EXCLUSIVE_ACCESS).good()
        a.command(TEST_UNIT_READY).refused(*REGISTRATIONS_PREEMPTED)
        a.command(read10(0, 8), read=4096).conflicts()
        expect("status of its PERSISTENT RESERVE OUT", CONFLICT,
               pr_out(a, RESERVE, 1, kind=EXCLUSIVE_ACCESS).status)
        b.command(read10(0, 8), read=4096).good()
        pr_out(b, CLEAR, 2).good()
        a.command(read10(0, 8), read=4096).good()


def test_preempt_and_abort_leaves_no_task_of_the_victim():
    slow = {"FirstBurstLength": "512", "MaxBurstLength": "4096", "MaxOutstandingR2T": "1"}
    with Daemon() as daemon, session(daemon, slow) as a, session(daemon, name=OTHER) as b:
        register(a, 1)
        register(b, 2)
        task = a.submit(write10(0, 64), write=pattern(32768, 1), auto=False)
        a.pump(lambda: task.r2ts, "an R2T")
        pr_out(b, PREEMPT_AND_ABORT, 2, 1, kind=WRITE_EXCLUSIVE).good()
        task.answer_r2t()
        a.drain()
        expect("the victim's task is answered", False, task.is_done)
        b.command(read10(8, 56), read=28672).good(bytes(28672))


def test_registrations_outlive_the_session():
    for leave in ("logout", "close", "reset"):
        with Daemon() as daemon, session(daemon, name=OTHER) as b:
            with session(daemon) as a:
                register(a, 1)
                pr_out(a, RESERVE, 1, kind=EXCLUSIVE_ACCESS).good()
                if leave == "logout":
                    expect("logout response", 0, a.logout().response)
                getattr(a, "reset" if leave == "reset" else "close")()
            b.command(read10(0, 8), read=4096).conflicts()
            with session(daemon) as a:
                a.command(read10(0, 8), read=4096).good()
                expect("keys", (1, [1]), keys(a))


def test_a_reset_leaves_persistent_reservations():
    with Daemon() as daemon, session(daemon) as a, session(daemon, name=OTHER) as b:
        register(a, 1)
        pr_out(a, RESERVE, 1, kind=EXCLUSIVE_ACCESS).good()
        expect("response", 0, b.tmf(LUN_RESET))
        b.command(TEST_UNIT_READY).refused(6, 0x29, 3)
        b.command(read10(0, 8), read=4096).conflicts()


def test_scsi_2_and_persistent_reservations_exclude_each_other():
    """SPC-2 5.5.1, SPC-4 5.13.3."""
    with Daemon() as daemon, session(daemon) as a, session(daemon, name=OTHER) as b:
        a.command(RESERVE6).good()
        for i in (a, b):
            expect("status of REGISTER", CONFLICT, pr_out(i, REGISTER, action_key=1).status)
        a.command(RELEASE6).good()
        register(a, 1)
        b.command(RESERVE6).conflicts()
        pr_out(a, RESERVE, 1, kind=EXCLUSIVE_ACCESS).good()
        a.command(RESERVE6).good()  # and nothing happens
        a.command(RELEASE6).good()
        expect("reservation", (1, EXCLUSIVE_ACCESS), reservation(a))
        b.command(RELEASE6).conflicts()


def test_what_was_kept_survives_a_kill():
    with Daemon() as daemon:
        with session(daemon) as a, session(daemon, name=OTHER) as b:
            expect("PTPL_C, PTPL_A", (1, 0), tuple(byte & 1 for byte in pr_in(a, 2)[2:4]))
            register(a, 1, APTPL)
            register(b, 2, APTPL)
            pr_out(a, RESERVE, 1, kind=EXCLUSIVE_ACCESS).good()
            daemon.kill()
        daemon.restart()
        with session(daemon, name=OTHER) as b, session(daemon) as a:
            b.command(read10(0, 8), read=4096).conflicts()
            a.command(read10(0, 8), read=4096).good()
            expect("keys", (0, [1, 2]), keys(a))
            expect("PTPL_C, PTPL_A", (1, 1), tuple(byte & 1 for byte in pr_in(a, 2)[2:4]))
            register(a, 3)  # APTPL=0: no more
            daemon.kill()
        daemon.restart()
        with session(daemon, name=OTHER) as b:
            expect("keys", (0, []), keys(b))
            b.command(read10(0, 8), read=4096).good()


def test_a_lun_whose_registrations_are_damaged_stays_out():
    with Daemon([target(lun(0, size="1M"), lun(1, size="1M"))]) as daemon:
        with session(daemon) as a:
            register(a, 1, APTPL)
        daemon.stop()
        file = kept_file(daemon)
        text = file.read_text()
        file.write_text(text.replace("00000001 ", "00000002 "))
        daemon.restart()
        status = daemon.ctl("status")
        for part in (file.name, "checksum", "remove it"):
            expect_in("nestorctl status", part, status)
        with session(daemon, ready=False) as a:
            a.command(TEST_UNIT_READY, lun=0).refused(5, 0x25, 0)
            a.clear_unit_attention(1)
        daemon.stop()
        file.write_text(text)
        daemon.restart()
        with session(daemon) as a:
            expect("keys", (0, [1]), keys(a))


def test_the_operator_sees_and_clears_reservations():
    with Daemon() as daemon, session(daemon) as a, session(daemon, name=OTHER) as b:
        register(a, 0xABC, APTPL)
        register(b, 2, APTPL)
        pr_out(a, RESERVE, 0xABC, kind=EXCLUSIVE_ACCESS).good()
        shown = daemon.json("reservation", "show")["reservations"][0]
        expect("kind and type", ("persistent", "exclusive access"), (shown["kind"], shown["type"]))
        expect("holder", a.name, shown["initiator"])
        expect("kept", True, shown["kept"])
        expect("registrations", [(a.name, "0x0000000000000abc", True), (OTHER, "0x0000000000000002",
                                                                        False)],
               [(r["initiator"], r["key"], r["holder"]) for r in shown["registrations"]])

        refused = daemon.ctl("reservation", "clear", daemon.name, "0", "--yes", check=False)
        expect("exit status while they are logged in", 1, refused.returncode)
        expect_in("its reason", "--force", refused.stderr)
        b.command(read10(0, 8), read=4096).conflicts()

        daemon.ctl("reservation", "clear", daemon.name, "0", "--yes", "--force")
        for i in (a, b):
            expect_attention(i, RESERVATIONS_PREEMPTED)
            i.command(write10(0, 8), write=bytes(4096)).good()
        expect("keys", [], keys(a)[1])

        a.command(RESERVE6).good()
        daemon.ctl("reservation", "clear", daemon.name, "0", "--yes", "--force")
        b.command(TEST_UNIT_READY).good()
        expect_attention(a, RESERVATIONS_PREEMPTED)


def test_a_dead_hosts_registrations_are_cleared_without_force():
    with Daemon() as daemon, session(daemon, name=OTHER) as b:
        with session(daemon) as a:
            register(a, 1)
            pr_out(a, RESERVE, 1, kind=EXCLUSIVE_ACCESS).good()
        wait_until(lambda: len(daemon.json("session", "list")["sessions"]) == 1,
                   "the host's session to end")
        b.command(read10(0, 8), read=4096).conflicts()
        daemon.ctl("reservation", "clear", daemon.name, "0", "--yes")
        b.command(read10(0, 8), read=4096).good()
        daemon.ctl("reservation", "clear", daemon.name, "0", "--yes")  # again: nothing to do


def test_reservations_race_between_hosts_and_one_wins():
    """RESERVE from all at once, again and again: one GOOD each time, and only that host writes."""
    with Daemon() as daemon, session(daemon) as a, session(daemon, name=OTHER) as b, \
            session(daemon, name=OTHER + "-3") as c:
        hosts = (a, b, c)
        for turn in range(50):
            tasks = [i.submit(RESERVE6) for i in hosts]
            for task in tasks:
                task.wait()
            winners = [i for i, task in zip(hosts, tasks) if task.status == GOOD]
            if len(winners) != 1:
                raise Failure("turn %d: expected one winner, came %d" % (turn, len(winners)))
            winners[0].command(write10(0, 8), write=pattern(4096, turn)).good()
            for i in hosts:
                if i is not winners[0]:
                    i.command(write10(0, 8), write=bytes(4096)).conflicts()
            winners[0].command(read10(0, 8), read=4096).good(pattern(4096, turn))
            winners[0].command(RELEASE6).good()
