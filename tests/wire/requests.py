"""NOP, text, logout, SNACK and what is no request at all, in full feature phase."""

import pdu as p
from initiator import (FINAL, RESERVED_TAG, TEST_UNIT_READY, Closed, Failure,
                       expect_good_initiator, pattern, plus, session, write10)
from nestor import SLOWNESS, Daemon, expect
from pdu import Pdu


def test_ping_is_echoed_with_its_data():
    with Daemon() as daemon, session(daemon) as i:
        for size in (0, 1, 2, 3, 4, 511, 4096, i.number("MaxRecvDataSegmentLength")):
            before = i.cmd_sn
            i.ping(pattern(size, 1))
            expect("ExpCmdSN after a ping", plus(before), i.exp_cmd_sn)
            i.ping(pattern(size, 2), immediate=True)
            expect("ExpCmdSN after an immediate ping", plus(before), i.exp_cmd_sn)


def test_ping_is_echoed_up_to_the_initiators_segment():
    with Daemon() as daemon, session(daemon, {"MaxRecvDataSegmentLength": "512"}) as i:
        for size in (511, 512, 513, 4096):
            i.ping(pattern(size, 1))


def test_ping_without_a_tag_is_not_answered():
    """RFC 7143 11.18: the reserved ITT asks for no answer."""
    with Daemon() as daemon, session(daemon) as i:
        i.send(Pdu(p.NOP_OUT, immediate=True, itt=RESERVED_TAG, ttt=RESERVED_TAG, cmd_sn=i.cmd_sn,
                   exp_stat_sn=i.exp_stat_sn, data=b"no answer"))
        i.drain()
        expect("PDUs besides the second ping's answer", [], i.inbox)


def test_idle_session_is_pinged():
    with Daemon(nop_interval=1) as daemon, session(daemon) as i:
        i.pump(lambda: i.pings >= 2, "two pings of the target")
        i.command(TEST_UNIT_READY).good()


def test_session_that_does_not_answer_pings_is_closed():
    with Daemon(nop_interval=1, nop_timeout=1) as daemon:
        with session(daemon) as dead:
            came = dead.expect_closed()
            expect("the ping that was not answered", ["NOP-In"], [pdu.name for pdu in came])
            expect("is asking for an answer", False, came[0].ttt == RESERVED_TAG)
        expect_good_initiator(daemon)


def test_logout_closes_the_session():
    with Daemon() as daemon:
        for reason in (0, 1):
            with session(daemon) as i:
                i.command(write10(0, 8), write=pattern(4096)).good()
                expect("logout response", 0, i.logout(reason).response)
                i.expect_closed()


def test_logout_answers_commands_that_came_before():
    with Daemon() as daemon, session(daemon) as i:
        tasks = [i.submit(write10(128 * n, 128), write=pattern(65536, n)) for n in range(8)]
        itt = i.itt()
        i.send(Pdu(p.LOGOUT_REQUEST, flags=FINAL, itt=itt, cmd_sn=i.take_cmd_sn(),
                   exp_stat_sn=i.exp_stat_sn))
        expect("logout response", 0, i.wait_for(p.LOGOUT_RESPONSE, itt).response)
        i.expect_closed()
        del tasks
        expect_good_initiator(daemon)


def test_logout_of_another_connection_is_refused():
    with Daemon() as daemon, session(daemon) as i:
        expect("response to a CID that isn't there", 1, i.logout(reason=1, cid=7).response)
        expect("response to removal for recovery", 2, i.logout(reason=2).response)
        i.command(TEST_UNIT_READY).good()


def test_logout_with_an_unknown_reason_is_rejected():
    with Daemon() as daemon:
        with session(daemon) as i:
            request = Pdu(p.LOGOUT_REQUEST, immediate=True, flags=FINAL | 0x55, itt=i.itt(),
                          cmd_sn=i.cmd_sn, exp_stat_sn=i.exp_stat_sn)
            i.send(request)
            try:
                i.expect_reject(None, request.bhs)
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_text_answers_what_it_knows():
    with Daemon() as daemon, session(daemon) as i:
        expect("an unknown key", [("X-lab.key", "NotUnderstood")], i.text([("X-lab.key", "1")]))
        expect("no key", [], i.text([]))
        for value in ("8192", "65536"):  # full feature phase may change it, RFC 7143 13.12
            i.offered["MaxRecvDataSegmentLength"] = value
            for key, _ in i.text([("MaxRecvDataSegmentLength", value)]):
                expect("key of an answer", "MaxRecvDataSegmentLength", key)
            i.command(b"\x28" + bytes(6) + b"\x01\0\0", read=131072).good()


def test_text_refuses_keys_of_the_login():
    with Daemon() as daemon:
        for pair in (("MaxBurstLength", "512"), ("InitiatorName", "iqn.2026-11.lab:other"),
                     ("AuthMethod", "None"), ("HeaderDigest", "CRC32C")):
            with session(daemon) as i:
                request = Pdu(p.TEXT_REQUEST, itt=i.itt(), ttt=RESERVED_TAG, cmd_sn=i.take_cmd_sn(),
                              exp_stat_sn=i.exp_stat_sn, data=p.encode_text([pair]))
                i.send(request)
                try:
                    i.pump(lambda: i.inbox, "an answer")
                except Closed:
                    continue
                answer = i.inbox.pop()
                if answer.opcode != p.REJECT:
                    for key, value in p.decode_text(answer.data):
                        if value not in ("Reject", "Irrelevant", "NotUnderstood"):
                            raise Failure("expected %s=%s to be refused, came %s" % (*pair, value))
                i.command(TEST_UNIT_READY).good()
        expect_good_initiator(daemon)


def test_text_that_is_none_is_rejected():
    with Daemon() as daemon:
        for text in (b"\0", b"NoEquals\0", b"Unended=1", b"=\0", b"\xff" * 100):
            with session(daemon) as i:
                i.send(Pdu(p.TEXT_REQUEST, itt=i.itt(), ttt=RESERVED_TAG, cmd_sn=i.take_cmd_sn(),
                           exp_stat_sn=i.exp_stat_sn, data=text))
                try:
                    i.ping(b"after", immediate=True)
                except Closed:
                    pass
        expect_good_initiator(daemon)


def test_snack_is_rejected_at_error_recovery_level_0():
    with Daemon() as daemon, session(daemon) as i:
        for kind in (0, 1, 2, 3):
            snack = Pdu(p.SNACK, flags=FINAL | kind, itt=RESERVED_TAG, ttt=RESERVED_TAG,
                        exp_stat_sn=i.exp_stat_sn)
            i.send(snack)
            reject = i.expect_reject(None, snack.bhs)
            if reject.reason not in (3, 4, 5):
                raise Failure("expected reason SNACK (3), protocol error (4) or not supported (5), "
                              "came %d" % reject.reason)
        i.command(TEST_UNIT_READY).good()


def test_unknown_opcodes_are_rejected_with_their_header():
    with Daemon() as daemon, session(daemon) as i:
        for opcode in (0x07, 0x0F, 0x11, 0x1B, 0x1C, 0x1F):
            request = Pdu(opcode, immediate=True, itt=i.itt(), cmd_sn=i.cmd_sn,
                          exp_stat_sn=i.exp_stat_sn, data=b"whatever")
            i.send(request)
            i.expect_reject(5, request.bhs)
        i.command(TEST_UNIT_READY).good()


def test_opcodes_of_a_target_are_not_taken():
    with Daemon() as daemon:
        for opcode in (p.NOP_IN, p.SCSI_RESPONSE, p.DATA_IN, p.R2T, p.ASYNC, p.REJECT,
                       p.LOGIN_RESPONSE):
            with session(daemon) as i:
                request = Pdu(opcode, itt=0x55)
                i.send(request)
                try:
                    i.expect_reject(None, request.bhs)
                except Closed:
                    pass
        expect_good_initiator(daemon)


def test_a_tag_that_is_in_use_is_refused():
    with Daemon() as daemon:
        with session(daemon, {"FirstBurstLength": "512"}) as i:
            held = i.submit(write10(0, 64), write=pattern(32768), auto=False)
            i.pump(lambda: held.r2ts, "an R2T")
            second = Pdu(p.SCSI_COMMAND, flags=FINAL | 1, itt=held.itt, cmd_sn=i.take_cmd_sn(),
                         exp_stat_sn=i.exp_stat_sn)
            i.send(second)
            try:
                i.pump(lambda: i.rejects or held.is_done, "a refusal of the second command")
                if not i.rejects:  # SAM-5 5.8.3.2: overlapped commands
                    held.refused(0xB, 0x4E, 0)
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_a_command_with_the_reserved_tag_is_refused():
    with Daemon() as daemon:
        with session(daemon) as i:
            command = Pdu(p.SCSI_COMMAND, flags=FINAL | 1, itt=RESERVED_TAG, cmd_sn=i.take_cmd_sn(),
                          exp_stat_sn=i.exp_stat_sn)
            i.send(command)
            try:
                i.ping(b"after", immediate=True)
                expect("answers to a command with the reserved tag", [p.REJECT],
                       [x.opcode for x in i.inbox])
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_sessions_that_are_idle_stay():
    """Pings that are answered keep it, longer than an interval and the time-out together."""
    with Daemon(nop_interval=1, nop_timeout=2) as daemon, session(daemon) as i:
        i.pump(lambda: i.pings >= 4, "four pings", timeout=10 * SLOWNESS)
        i.command(TEST_UNIT_READY).good()
