"""SendTargets, RFC 7143 4.3 and appendix C."""

import pdu as p
from initiator import (CONTINUE, FINAL, RESERVED_TAG, TEST_UNIT_READY, Closed, Initiator, Task,
                       encode_text, session)
from nestor import IQN, Daemon, Failure, Skip, expect, has_ipv6, lun, target
from pdu import Pdu


def some_targets(count):
    return [target(lun(0, path="%d.img" % n, size="1M"), name="%s-%d" % (IQN, n))
            for n in range(count)]


def discover(daemon, value="All", keys=None, **options):
    with Initiator(daemon, discovery=True, **options) as i:
        return i.login(keys).send_targets(value)


def test_send_targets_lists_every_target_with_the_address_that_was_used():
    targets = some_targets(3)
    with Daemon(targets) as daemon:
        expect("SendTargets=All", [(t["name"], ["127.0.0.1:%d,1" % daemon.port]) for t in targets],
               discover(daemon))


def test_send_targets_brackets_an_ipv6_address():
    if not has_ipv6():
        raise Skip("no IPv6 loopback")
    with Daemon(host="::1") as daemon:
        expect("SendTargets=All", [(IQN, ["[::1]:%d,1" % daemon.port])], discover(daemon))


def test_send_targets_of_one_name_lists_that_one():
    targets = some_targets(3)
    with Daemon(targets) as daemon:
        address = "127.0.0.1:%d,1" % daemon.port
        expect("by name", [(IQN + "-1", [address])], discover(daemon, IQN + "-1"))
        expect("by the name in capitals", [IQN + "-1"],
               [name for name, _ in discover(daemon, (IQN + "-1").upper())])
        expect("an unknown name", [], discover(daemon, IQN + "-7"))


def test_send_targets_in_a_normal_session_tells_of_its_own_target():
    """Appendix C: an empty value means the target of the session; All belongs to discovery."""
    targets = some_targets(2)
    with Daemon(targets) as daemon, session(daemon, target=IQN + "-1") as i:
        for value in ("", IQN + "-1"):
            expect("SendTargets=%s" % value, [(IQN + "-1", ["127.0.0.1:%d,1" % daemon.port])],
                   i.send_targets(value))
        request = Pdu(p.TEXT_REQUEST, itt=i.itt(), ttt=RESERVED_TAG, cmd_sn=i.take_cmd_sn(),
                      exp_stat_sn=i.exp_stat_sn, data=encode_text([("SendTargets", "All")]))
        i.send(request)
        i.pump(lambda: i.inbox, "an answer to SendTargets=All")
        answer = i.inbox.pop()
        if answer.opcode != p.REJECT:
            expect("SendTargets=All in a normal session tells of other targets", False,
                   (IQN + "-0").encode() in answer.data)
        i.drain()


def test_masked_initiator_sees_only_its_targets():
    mine = target(lun(0, size="1M"), initiators=["iqn.2026-11.lab:mine-*"])
    theirs = target(lun(0, path="b.img", size="1M"), name=IQN + "-b",
                    initiators=["iqn.2026-11.lab:theirs"])
    far = target(lun(0, path="c.img", size="1M"), name=IQN + "-c", networks=["192.0.2.0/24"])
    with Daemon([mine, theirs, far]) as daemon:
        for name, sees in (("iqn.2026-11.lab:mine-1", [IQN]),
                           ("iqn.2026-11.lab:theirs", [IQN + "-b"]),
                           ("iqn.2026-11.lab:nobody", [])):
            expect("what %s sees" % name, sees, [n for n, _ in discover(daemon, name=name)])
        expect("a target by name that is not for it", [],
               discover(daemon, IQN + "-b", name="iqn.2026-11.lab:mine-1"))


FORTY = [target(name="%s-%02d-with-a-long-name-to-fill-the-segment" % (IQN, n)) for n in range(40)]


def test_a_long_answer_goes_on_over_many_responses():
    with Daemon(FORTY) as daemon:
        names = [t["name"] for t in FORTY]
        for segment in ("512", "1024", "8192", "262144"):
            with Initiator(daemon, discovery=True) as i:
                i.login({"MaxRecvDataSegmentLength": segment})
                expect("targets at %s bytes a segment" % segment, names,
                       [name for name, _ in i.send_targets()])
                if segment == "512" and i.text_rounds < 8:
                    raise Failure("expected at least 8 responses, came %d" % i.text_rounds)


def test_a_long_answer_can_be_dropped_for_a_new_request():
    """RFC 7143 11.10.4: a text request with the reserved TTT starts anew."""
    with Daemon(FORTY) as daemon, Initiator(daemon, discovery=True) as i:
        i.login({"MaxRecvDataSegmentLength": "512"})
        first = i.text_step([("SendTargets", "All")])
        expect("F of the first part", 0, first.flags & FINAL)
        expect("C of the first part", CONTINUE, first.flags & CONTINUE)
        name = FORTY[7]["name"]
        expect("a fresh answer", [name], [n for n, _ in i.send_targets(name)])
        expect("and a whole one", 40, len(i.send_targets()))


def test_a_stale_transfer_tag_is_rejected():
    with Daemon(FORTY) as daemon, Initiator(daemon, discovery=True) as i:
        i.login({"MaxRecvDataSegmentLength": "512"})
        request = Pdu(p.TEXT_REQUEST, itt=i.itt(), ttt=0x12345, cmd_sn=i.take_cmd_sn(),
                      exp_stat_sn=i.exp_stat_sn)
        i.send(request)
        try:
            i.expect_reject(None, request.bhs)
            expect("targets after it", 40, len(i.send_targets()))
        except Closed:
            pass


def test_a_text_request_may_continue():
    with Daemon() as daemon, Initiator(daemon, discovery=True) as i:
        i.login()
        text = encode_text([("SendTargets", "All")])
        part = i.text_step(text=text[:5], final=False, cont=True)
        expect("data of the answer to a C bit", b"", part.data)
        expect("F of the answer to a C bit", 0, part.flags & FINAL)
        if part.ttt == RESERVED_TAG:
            raise Failure("expected a TTT to go on with")
        rest = i.text_step(text=text[5:], itt=part.itt, ttt=part.ttt, lun=part.lun)
        whole = [("TargetName", IQN), ("TargetAddress", "%s,1" % daemon.address)]
        expect("the whole answer", encode_text(whole), rest.data)


def test_an_unfinished_text_that_never_ends_is_bounded():
    with Daemon() as daemon, Initiator(daemon, discovery=True) as i:
        i.login()
        itt, ttt, lun_value = i.itt(), RESERVED_TAG, 0
        try:
            for _ in range(300):
                i.send(Pdu(p.TEXT_REQUEST, flags=CONTINUE, itt=itt, ttt=ttt, lun=lun_value,
                           cmd_sn=i.take_cmd_sn(), exp_stat_sn=i.exp_stat_sn, data=b"x" * 8000))
                i.pump(lambda: i.inbox, "an answer")
                answer = i.inbox.pop()
                if answer.opcode == p.REJECT:
                    break
                ttt, lun_value = answer.ttt, answer.lun
            else:
                raise Failure("2.4 MB of one text request were taken")
        except Closed:
            pass
        expect("another session's targets", [IQN], [n for n, _ in discover(daemon)])


def test_discovery_refuses_everything_but_text_and_logout():
    with Daemon() as daemon:
        with Initiator(daemon, discovery=True) as i:
            i.login()
            command = Task(i, TEST_UNIT_READY).pdus()[0]
            i.send(command)
            try:
                i.expect_reject(None, command.bhs)
            except Closed:
                pass
        with Initiator(daemon, discovery=True) as i:
            i.login()
            request = Pdu(p.TMF_REQUEST, immediate=True, flags=FINAL | 6, itt=3, cmd_sn=i.cmd_sn,
                          exp_stat_sn=i.exp_stat_sn)
            i.send(request)
            try:
                i.expect_reject(None, request.bhs)
            except Closed:
                pass
        with Initiator(daemon, discovery=True) as i:
            i.login()
            expect("logout response", 0, i.logout().response)
            i.expect_closed()


def test_empty_daemon_has_no_targets_to_tell():
    with Daemon([]) as daemon:
        expect("targets", [], discover(daemon))
