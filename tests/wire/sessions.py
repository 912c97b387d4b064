"""Sessions as SCSI sees them: identity (InitiatorName, ISID, target portal group), reinstatement,
reservations and unit attentions of a nexus. RFC 7143 6.3.5, 3.4; SPC-2 5.5; SAM-5 5.14."""

from initiator import (GOOD, RELEASE6, RESERVE6, TEST_UNIT_READY, Initiator, inquiry, pattern,
                       read10, report_luns, session, write10)
from nestor import Daemon, expect, lun, target, wait_until

POWER_ON = (6, 0x29, 0)
OTHER = "iqn.2026-11.lab.nestor:other"


def test_a_login_of_the_same_nexus_ends_the_old_session():
    """RFC 7143 6.3.5: session reinstatement, what a rebooted host does."""
    with Daemon() as daemon, session(daemon) as old, session(daemon, ready=False) as new:
        old.expect_closed()
        expect("a new TSIH", False, new.tsih in (0, old.tsih))
        new.command(TEST_UNIT_READY).refused(*POWER_ON)
        new.command(TEST_UNIT_READY).good()


def test_reinstatement_ends_what_the_old_session_had():
    with Daemon() as daemon, session(daemon, name=OTHER) as other:
        with session(daemon, {"FirstBurstLength": "512"}) as old:
            old.command(RESERVE6).good()
            task = old.submit(write10(0, 64), write=pattern(32768), auto=False)
            old.pump(lambda: task.r2ts, "an R2T")
            other.command(TEST_UNIT_READY).conflicts()
            with session(daemon, ready=False) as new:
                old.expect_closed()
                new.command(TEST_UNIT_READY).refused(*POWER_ON)
                other.command(TEST_UNIT_READY).good()
                new.command(read10(0, 64), read=32768).good()


def test_two_hosts_with_one_name_are_told_of_in_the_log():
    """Cloned hosts end each other's sessions for ever; nobody else can see why."""
    with Daemon() as daemon:
        hosts = [Initiator(daemon, source=("127.0.0.%d" % (2 + n % 2), 0)).login() for n in range(4)]
        expect("hosts that logged in", 4, len(hosts))
        wait_until(lambda: "two hosts have one name" in daemon.log(), "a word on cloned hosts")


def test_one_host_that_comes_back_is_not_taken_for_a_clone():
    with Daemon() as daemon:
        logins = [Initiator(daemon).login() for _ in range(8)]
        expect("logins", 8, len(logins))
        expect("a word on cloned hosts", False, "two hosts have one name" in daemon.log())


def test_reinstatement_may_be_repeated():
    with Daemon() as daemon:
        held, seen = [], set()
        for _ in range(10):
            i = Initiator(daemon).login()
            seen.add(i.tsih)
            held.append(i)
        for i in held[:-1]:
            i.expect_closed()
        held[-1].clear_unit_attention()
        expect("sessions in the end", GOOD, held[-1].command(TEST_UNIT_READY).status)
        expect("TSIH 0", False, 0 in seen)


def test_a_host_that_comes_back_does_not_wait_for_what_its_old_session_never_took():
    """The old one's answers stand in its socket, which nobody reads any more."""
    with Daemon() as daemon, session(daemon) as old:
        for _ in range(64):
            old.submit(read10(0, 2048), read=1 << 20)
        old.submit(write10(0, 2048), write=bytes(1 << 20), auto=False)
        with session(daemon, ready=False) as new:
            new.command(TEST_UNIT_READY).refused(*POWER_ON)
            new.command(write10(0, 8), write=pattern(4096, 4)).good()
            new.command(read10(0, 8), read=4096).good(pattern(4096, 4))


def test_nothing_of_the_old_session_is_written_after_the_new_one_began():
    """An old write that lands behind a new one is silent corruption."""
    with Daemon() as daemon:
        for seed in range(1, 7):
            with session(daemon, {"FirstBurstLength": "65536"}) as old:
                for _ in range(60):
                    old.submit(write10(0, 128), write=pattern(65536, 1000 + seed))
                with session(daemon) as new:
                    new.command(write10(0, 128), write=pattern(65536, seed)).good()
                    for _ in range(5):
                        new.command(read10(0, 128), read=65536).good(pattern(65536, seed))


def test_hosts_with_the_same_isid_are_told_apart_by_their_names():
    """Every ESX says ISID 00023d000001."""
    with Daemon() as daemon:
        hosts = [Initiator(daemon, name="iqn.1998-01.com.vmware:esx%d" % n).login()
                 for n in range(5)]
        for host in hosts:
            host.clear_unit_attention()
        expect("different TSIHs", 5, len({host.tsih for host in hosts}))
        for host in hosts:
            host.command(read10(0, 8), read=4096).good()
            host.logout()


def test_names_of_the_same_host_in_another_case_are_one():
    with Daemon() as daemon, session(daemon, name="iqn.2026-11.lab:host") as old, \
            session(daemon, name="iqn.2026-11.LAB:Host") as new:
        old.expect_closed()
        new.command(TEST_UNIT_READY).good()


def test_two_isids_of_one_host_are_two_sessions():
    with Daemon() as daemon, session(daemon) as a, session(daemon, isid=0x00023D000002) as b:
        for i in (a, b, a):
            i.command(read10(0, 8), read=4096).good()


def test_discovery_sessions_do_not_reinstate_normal_ones():
    with Daemon() as daemon, session(daemon) as normal:
        for _ in range(3):
            with Initiator(daemon, discovery=True) as i:
                i.login().send_targets()
        normal.command(TEST_UNIT_READY).good()


def test_a_reservation_keeps_other_nexuses_out():
    with Daemon() as daemon, session(daemon) as a, session(daemon, name=OTHER) as b, \
            session(daemon, isid=0x00023D000002) as same_host:
        a.command(RESERVE6).good()
        a.command(RESERVE6).good()
        a.command(write10(0, 8), write=pattern(4096)).good()
        for i in (b, same_host):
            for task in (i.command(TEST_UNIT_READY), i.command(RESERVE6),
                         i.command(read10(0, 8), read=4096),
                         i.command(write10(0, 8), write=bytes(4096)),
                         i.command(write10(0, 1024), write=bytes(1024 * 512))):
                task.conflicts()
            i.command(inquiry(36), read=36).good()
            i.command(report_luns(16), read=16).good()
            i.command(RELEASE6).good()  # of somebody else's: GOOD, and nothing happens
            i.command(TEST_UNIT_READY).conflicts()
        a.command(RELEASE6).good()
        b.command(RESERVE6).good()
        a.command(TEST_UNIT_READY).conflicts()


def test_a_reservation_ends_with_its_session():
    with Daemon() as daemon, session(daemon, name=OTHER) as b:
        for leave in ("logout", "close", "reset"):
            with session(daemon) as a:
                a.command(RESERVE6).good()
                b.command(TEST_UNIT_READY).conflicts()
                if leave == "logout":
                    expect("logout response", 0, a.logout().response)
                getattr(a, "reset" if leave == "reset" else "close")()
                wait_until(lambda: b.command(TEST_UNIT_READY).status == GOOD,
                           "the reservation to end after a %s" % leave)


def test_a_new_nexus_has_one_unit_attention_on_every_lun():
    targets = [target(lun(0, size="1M"), lun(1, size="1M"), lun(5, size="1M"))]
    with Daemon(targets) as daemon, session(daemon, ready=False) as i:
        for number in (5, 0, 1):
            # not told here, and kept (SPC-4 5.14)
            i.command(inquiry(36), lun=number, read=36).good()
            i.command(report_luns(64), lun=number, read=64).wait()
            i.command(read10(0, 1), lun=number, read=512).refused(*POWER_ON)
            i.command(read10(0, 1), lun=number, read=512).good()
        with session(daemon, name=OTHER, ready=False) as other:
            other.command(TEST_UNIT_READY).refused(*POWER_ON)
        i.command(TEST_UNIT_READY).good()


def luns_of(i, lun_number=0):
    data = i.command(report_luns(), lun=lun_number, read=4096).wait().data
    length = int.from_bytes(data[:4], "big")
    expect("LUN LIST LENGTH", len(data) - 8, length)
    return [data[at + 1] for at in range(8, 8 + length, 8)]


def test_a_masked_lun_is_not_there():
    targets = [target(lun(0, size="1M"), lun(1, size="1M", initiators=[OTHER]), lun(2, size="1M"))]
    with Daemon(targets) as daemon, session(daemon) as i, session(daemon, name=OTHER) as other:
        expect("LUNs of the one", [0, 2], luns_of(i))
        expect("LUNs of the other", [0, 1, 2], luns_of(other))
        data = i.command(inquiry(36), lun=1, read=36).good()
        expect("peripheral qualifier and type of a masked LUN", 0x7F, data[0])
        i.command(read10(0, 1), lun=1, read=512).refused(5, 0x25, 0)
        i.command(write10(0, 1), lun=1, write=bytes(512)).refused(5, 0x25, 0)
        i.command(RESERVE6, lun=1).refused(5, 0x25, 0)
        i.command(TEST_UNIT_READY, lun=1).refused(5, 0x25, 0)
        other.clear_unit_attention(1)
        other.command(read10(0, 1), lun=1, read=512).good()


def test_lun_0_answers_without_a_disk():
    """REPORT LUNS and INQUIRY at LUN 0 always work."""
    targets = [target(lun(3, size="1M"), lun(300, size="1M")),
               target(name="iqn.2026-11.lab.nestor:none")]
    with Daemon(targets) as daemon:
        with Initiator(daemon) as i:
            i.login()
            task = i.command(report_luns(), read=4096)
            task.good(residual=4096 - 24)
            expect("the LUN list", "00000010" "00000000" "0003000000000000" "412c000000000000",
                   task.data.hex())
            data = i.command(inquiry(36), read=36).good()
            expect("byte 0 of INQUIRY is 7Fh or 3Fh", True, data[0] in (0x7F, 0x3F))
            i.command(read10(0, 1), read=512).refused(5, 0x25, 0)
            i.clear_unit_attention(300)
            i.command(read10(0, 1), lun=300, read=512).good()
        with Initiator(daemon, target="iqn.2026-11.lab.nestor:none") as i:
            i.login()
            expect("LUNs of an empty target", [], luns_of(i))


def test_a_lun_that_is_not_there_says_so():
    with Daemon() as daemon, session(daemon) as i:
        for number in (1, 255, 256, 16383):
            data = i.command(inquiry(36), lun=number, read=36).good()
            expect("peripheral qualifier and type of LUN %d" % number, 0x7F, data[0])
            i.command(TEST_UNIT_READY, lun=number).refused(5, 0x25, 0)
            code = i.command(b"\x03\0\0\0\x12\0", lun=number, read=18).good()
            expect("REQUEST SENSE of LUN %d: key and ASC" % number, (5, 0x25),
                   (code[2] & 15, code[12]))


def test_sessions_of_two_targets_have_nothing_to_do_with_each_other():
    second = "iqn.2026-11.lab.nestor:second"
    targets = [target(lun(0, size="1M")), target(lun(0, path="second.img", size="1M"), name=second)]
    with Daemon(targets) as daemon, session(daemon) as a, session(daemon, target=second) as b:
        a.command(RESERVE6).good()
        b.command(write10(0, 8), write=pattern(4096, 2)).good()
        a.command(read10(0, 8), read=4096).good(bytes(4096))
        b.logout()
        a.command(TEST_UNIT_READY).good()


def test_many_sessions_come_and_go():
    with Daemon() as daemon:
        for n in range(40):
            with session(daemon, name="iqn.2026-11.lab:guest-%d" % (n % 7)) as i:
                i.command(write10(8 * n, 8), write=pattern(4096, n)).good()
                if n % 3 == 0:
                    i.reset()
                elif n % 3 == 1:
                    i.logout()
        with session(daemon) as i:
            for n in range(40):
                i.command(read10(8 * n, 8), read=4096).good(pattern(4096, n))
