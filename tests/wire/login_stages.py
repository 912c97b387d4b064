"""The login phase's stages, RFC 7143 6.3 and 11.12."""

import select

import pdu as p
from initiator import (CONTINUE, FULL_FEATURE, INITIATOR_ERROR, INVALID_DURING_LOGIN, IQN,
                       MISSING_PARAMETER, NO_SUCH_SESSION, OPERATIONAL, SECURITY,
                       TEST_UNIT_READY, TRANSIT, TYPE_NOT_SUPPORTED, UNSUPPORTED_VERSION, Closed,
                       Connection, Initiator, LoginRefused, encode_text, expect_good_initiator,
                       expect_good_initiator_soon, expect_login_refused, session)
from nestor import Daemon, Failure, expect, lun, target, wait_until
from pdu import Pdu


def works(initiator):
    initiator.clear_unit_attention()
    expect("logout response", 0, initiator.logout().response)
    initiator.expect_closed()


def expect_stage(response, transit, nsg=0):
    expect("status", 0, response.status)
    expect("T and NSG", (transit, nsg),
           (bool(response.flags & TRANSIT), response.flags & 3 if transit else 0))


def test_login_reaches_full_feature_phase_in_one_pdu():
    with Daemon() as daemon, Initiator(daemon) as i:
        response = i.login_step(i.names() + i.keys())
        expect_stage(response, True, FULL_FEATURE)
        works(i.finish_login(response))


def test_login_goes_through_security_without_authentication():
    with Daemon() as daemon, Initiator(daemon) as i:
        response = i.login_step(i.names() + [("AuthMethod", "None")], csg=SECURITY, nsg=OPERATIONAL)
        expect_stage(response, True, OPERATIONAL)
        expect("AuthMethod", "None", response.keys.get("AuthMethod"))
        expect("TSIH before the last response", 0, response.tsih)
        works(i.finish_login(i.login_step(i.keys())))


def test_login_may_skip_the_operational_stage():
    with Daemon() as daemon:
        for discovery in (False, True):
            with Initiator(daemon, discovery=discovery) as i:
                response = i.login_step(i.names() + [("AuthMethod", "None")], csg=SECURITY,
                                        nsg=FULL_FEATURE)
                expect_stage(response, True, FULL_FEATURE)
                i.finish_login(response)
                if discovery:
                    expect("targets", [IQN], [name for name, _ in i.send_targets()])
                else:
                    works(i)


def test_login_takes_several_pdus_a_stage():
    with Daemon() as daemon, Initiator(daemon) as i:
        expect_stage(i.login_step(i.names(), transit=False), False)
        for pair in i.keys():
            expect_stage(i.login_step([pair], transit=False), False)
        response = i.login_step([])
        expect_stage(response, True, FULL_FEATURE)
        i.finish_login(response)
        expect("what was agreed", ("No", "Yes", "262144"),
               (i.agreed["InitialR2T"], i.agreed["ImmediateData"], i.agreed["FirstBurstLength"]))
        works(i)


def test_login_text_may_continue_in_the_middle_of_a_key():
    with Daemon() as daemon:
        for pieces in (2, 7, 40):
            with Initiator(daemon) as i:
                pairs = i.names() + i.keys()
                text = encode_text(pairs)
                step = len(text) // pieces + 1
                for at in range(0, len(text), step):
                    is_last = at + step >= len(text)
                    response = i.login_step(text=text[at:at + step], transit=is_last,
                                            cont=not is_last)
                    if not is_last:
                        expect_stage(response, False)
                        expect("data of the answer to a C bit", b"", response.data)
                        expect("C bit of the answer", 0, response.flags & CONTINUE)
                i.offered.update(pairs)
                works(i.finish_login(response))


def test_login_takes_empty_pdus():
    with Daemon() as daemon, Initiator(daemon) as i:
        i.login_step(i.names() + i.keys(), transit=False)
        for _ in range(3):
            response = i.login_step([], transit=False)
            expect_stage(response, False)
            expect("answers to an empty request", [], response.pairs)
        works(i.finish_login(i.login_step([])))


def test_login_refuses_a_stage_that_does_not_come_after():
    with Daemon() as daemon:
        for csg, nsg in ((1, 1), (1, 0), (0, 0)):
            with Initiator(daemon) as i:
                expect("status of CSG %d to NSG %d" % (csg, nsg), INITIATOR_ERROR,
                       i.login_step(i.names(), csg=csg, nsg=nsg).status)
                i.expect_closed()
        expect_good_initiator(daemon)


def test_login_refuses_the_reserved_stage():
    with Daemon() as daemon:
        for csg, nsg, transit in ((2, 3, True), (1, 2, True), (0, 2, True), (3, 3, True),
                                  (2, 0, False), (3, 0, False)):
            with Initiator(daemon) as i:
                response = i.login_step(i.names(), csg=csg, nsg=nsg, transit=transit)
                expect("status of CSG %d, NSG %d" % (csg, nsg), INITIATOR_ERROR, response.status)
                i.expect_closed()


def test_login_refuses_to_go_back_a_stage():
    with Daemon() as daemon, Initiator(daemon) as i:
        i.login_step(i.names(), csg=SECURITY, nsg=OPERATIONAL)
        response = i.login_step([("AuthMethod", "None")], csg=SECURITY, nsg=OPERATIONAL)
        if response.status not in (INITIATOR_ERROR, INVALID_DURING_LOGIN):
            raise Failure("expected status 0x0200 or 0x020b, came 0x%04x" % response.status)
        i.expect_closed()


def test_login_refuses_transit_together_with_continue():
    """RFC 7143 11.12.2: T must be 0 when C is 1."""
    with Daemon() as daemon, Initiator(daemon) as i:
        expect("status", INITIATOR_ERROR, i.login_step(i.names(), cont=True).status)
        i.expect_closed()


def test_login_checks_the_version():
    with Daemon() as daemon:
        with Initiator(daemon) as i:
            expect("status", UNSUPPORTED_VERSION, i.login_step(i.names(), version=(1, 1)).status)
            i.expect_closed()
        with Initiator(daemon) as i:
            works(i.finish_login(i.login_step(i.names() + i.keys(), version=(5, 0))))


def test_login_refuses_missing_names():
    with Daemon() as daemon:
        for keys, discovery in (([("TargetName", IQN), ("SessionType", "Normal")], False),
                                ([("SessionType", "Discovery")], True),
                                ([("InitiatorName", "iqn.2026-11.lab:a")], False),
                                ([("InitiatorName", "iqn.2026-11.lab:a"),
                                  ("SessionType", "Normal")], False),
                                ([], False)):
            with Initiator(daemon, discovery=discovery) as i:
                expect("status of a login with %r" % keys, MISSING_PARAMETER,
                       i.login_step(keys).status)
                i.expect_closed()


def test_login_without_session_type_is_a_normal_one():
    with Daemon() as daemon, Initiator(daemon) as i:
        names = [pair for pair in i.names() if pair[0] != "SessionType"]
        works(i.finish_login(i.login_step(names + i.keys())))


def test_login_refuses_names_that_are_none():
    with Daemon() as daemon:
        for name in ("", "x" * 224, "iqn.2026-11.lab:a\x01b"):
            with Initiator(daemon, name=name) as i:
                status = i.login_step(i.names() + i.keys()).status
                if status >> 8 != 2:
                    raise Failure("initiator name %r: expected an initiator error, came 0x%04x"
                                  % (name, status))
                i.expect_closed()
        with Initiator(daemon, name="iqn.2026-11.lab:" + "x" * 207) as i:  # 223 bytes: the longest
            i.login()


def test_login_finds_the_target_whatever_the_case():
    """RFC 7143 4.2.7.1: names are compared after normalization, which makes them lower case."""
    with Daemon() as daemon, Initiator(daemon, target=IQN.upper()) as i:
        works(i.login())


def test_login_refuses_an_unknown_target():
    with Daemon() as daemon:
        expect_login_refused(0x0203, Initiator(daemon, target=IQN + "x").login)
        expect_login_refused(0x0203, Initiator(daemon, target=IQN[:-1]).login)


def test_login_refuses_initiators_that_are_not_listed():
    here = target(lun(0, size="1M"), initiators=["iqn.2026-11.lab:a*", "iqn.2026-11.lab:two"])
    none = target(lun(0, path="none.img", size="1M"), name=IQN + "-none",
                  initiators=["iqn.2026-11.lab:b"])
    with Daemon([here, none]) as daemon:
        for name in ("iqn.2026-11.lab:a", "iqn.2026-11.lab:abc", "iqn.2026-11.lab:two",
                     "iqn.2026-11.LAB:TWO"):
            with Initiator(daemon, name=name) as i:
                i.login()
        for name in ("iqn.2026-11.lab:b", "iqn.2026-11.lab:two2", "iqn.2026-11.lab:tw"):
            expect_login_refused(0x0202, Initiator(daemon, name=name).login)
        expect_login_refused(0x0202, Initiator(daemon, name="iqn.2026-11.lab:a",
                                               target=IQN + "-none").login)


def test_login_refuses_networks_that_are_not_listed():
    far = target(lun(0, size="1M"), networks=["192.0.2.0/24", "2001:db8::/32"])
    near = target(lun(0, path="near.img", size="1M"), name=IQN + "-near", networks=["127.0.0.0/30"])
    with Daemon([far, near]) as daemon:
        expect_login_refused(0x0202, Initiator(daemon).login)
        with Initiator(daemon, target=IQN + "-near") as i:
            i.login()
        expect_login_refused(0x0202, Initiator(daemon, target=IQN + "-near",
                                               source=("127.0.0.9", 0)).login)


def test_login_refuses_an_unknown_session_type():
    with Daemon() as daemon:
        for value in ("Other", "normal", ""):
            with Initiator(daemon) as i:
                keys = [("InitiatorName", i.name), ("TargetName", IQN), ("SessionType", value)]
                expect("status of SessionType=%s" % value, TYPE_NOT_SUPPORTED,
                       i.login_step(keys).status)
                i.expect_closed()


def test_login_refuses_a_session_that_does_not_exist():
    with Daemon() as daemon, Initiator(daemon) as i:
        expect("status", NO_SUCH_SESSION, i.login_step(i.names() + i.keys(), tsih=0x1234).status)
        i.expect_closed()


def test_login_refuses_a_second_connection_of_a_session():
    """MaxConnections is 1: a login with the session's TSIH and another CID cannot be let in."""
    with Daemon() as daemon, session(daemon) as first, Initiator(daemon) as second:
        response = second.login_step(second.names() + second.keys(), tsih=first.tsih, cid=1)
        if response.status not in (0x0206, 0x0208):
            raise Failure("expected status 0x0206 or 0x0208, came 0x%04x" % response.status)
        second.expect_closed()
        first.drain()


def test_connection_closes_when_its_first_pdu_is_no_login():
    """RFC 7143 6.3: the target MUST immediately terminate the connection."""
    with Daemon() as daemon:
        for opcode in (p.NOP_OUT, p.SCSI_COMMAND, p.TEXT_REQUEST, p.LOGOUT_REQUEST, p.DATA_OUT,
                       p.TMF_REQUEST, p.SNACK, 0x1F, p.LOGIN_RESPONSE):
            with Connection(daemon) as c:
                c.send(Pdu(opcode, immediate=True, data=b"SendTargets=All\0"))
                for pdu in c.expect_closed():
                    expect("status of an answer to opcode 0x%02x" % opcode,
                           (p.LOGIN_RESPONSE, INVALID_DURING_LOGIN), (pdu.opcode, pdu.status))
        expect_good_initiator(daemon)


def test_connection_closes_when_a_login_is_interrupted():
    """RFC 7143 6.3: once it has started, a Login reject "invalid during login", then the end."""
    with Daemon() as daemon:
        for opcode in (p.SCSI_COMMAND, p.NOP_OUT, p.TEXT_REQUEST):
            with Initiator(daemon) as i:
                i.login_step(i.names(), transit=False)
                i.send(Pdu(opcode, immediate=True, itt=5, cmd_sn=1, exp_stat_sn=i.exp_stat_sn))
                expect("what comes before the end", [(p.LOGIN_RESPONSE, INVALID_DURING_LOGIN)],
                       [(pdu.opcode, pdu.status) for pdu in i.expect_closed()])
        expect_good_initiator(daemon)


def test_login_refuses_another_tag_or_name_halfway():
    """RFC 7143 11.12: ISID, TSIH and CID don't change within a login."""
    with Daemon() as daemon:
        for change in ({"isid": 0x00023D000009}, {"tsih": 7}, {"cid": 9}):
            with Initiator(daemon) as i:
                i.login_step(i.names(), transit=False)
                i.login_step(i.keys(), raw=True, **change)
                answers = i.expect_closed()
                for pdu in answers:
                    if pdu.status >> 8 != 2:
                        raise Failure("%r halfway: expected a refusal, came %r" % (change, pdu))


def test_login_request_in_full_feature_phase_is_not_taken():
    with Daemon() as daemon, session(daemon) as i:
        i.send(Pdu(p.LOGIN_REQUEST, immediate=True, flags=TRANSIT | OPERATIONAL << 2 | FULL_FEATURE,
                   isid=i.isid, tsih=i.tsih, itt=9, cmd_sn=i.cmd_sn, exp_stat_sn=i.exp_stat_sn))
        try:
            i.wait_for(p.REJECT)
        except Closed:
            pass
        expect_good_initiator(daemon)


def test_login_refuses_text_beyond_its_bounds():
    with Daemon() as daemon:
        with Initiator(daemon) as i:  # 8192 is the most before anything else is agreed
            i.login_step(text=encode_text(i.names()) + b"X-a=" + b"b" * 70000 + b"\0", raw=True)
            for pdu in i.expect_closed():
                if pdu.status >> 8 not in (2, 3):
                    raise Failure("expected a refusal, came %r" % pdu)
        with Initiator(daemon) as i:
            try:
                for _ in range(400):
                    if i.login_step(text=b"X-a=" + b"b" * 8000, transit=False, cont=True).status:
                        break
                else:
                    raise Failure("expected an end of patience, 3 MB of login text were taken")
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_login_refuses_keys_without_end():
    with Daemon() as daemon:
        with Initiator(daemon) as i:
            try:
                i.login_step(i.names(), transit=False)
                for n in range(400):
                    keys = [("X-lab.key.%d.%d" % (n, k), "1") for k in range(20)]
                    if i.login_step(keys, transit=False).status:
                        break
                else:
                    raise Failure("expected an end of patience, 8000 keys were answered")
            except Closed:
                pass
        expect_good_initiator(daemon)


def test_login_refuses_more_keys_than_can_be_meant():
    with Daemon() as daemon:
        with Initiator(daemon) as i:
            keys = [("X-k%d" % k, "1") for k in range(700)]
            i.login_step(i.names() + keys, transit=False, raw=True)
            for pdu in i.expect_closed():
                if pdu.status >> 8 not in (2, 3):
                    raise Failure("expected a refusal, came %r" % pdu)
        expect_good_initiator(daemon)


def test_login_refuses_text_that_is_none():
    with Daemon() as daemon:
        for text in (b"InitiatorName\0", b"=value\0", b"InitiatorName=iqn.2026-11.lab:a",
                     b"\0\0\0\0", b"Key With Space=1\0", b"x" * 64 + b"=1\0", b"\xff\xfe=\x80\0"):
            with Initiator(daemon) as i:
                i.login_step(text=text, transit=True, raw=True)
                came = [x for x in i.expect_closed()]
                for pdu in came:
                    if pdu.status >> 8 != 2:
                        raise Failure("text %r: expected a refusal, came %r" % (text, pdu))
        expect_good_initiator(daemon)


def test_login_refuses_a_key_that_comes_twice():
    """RFC 7143 6.2: a parameter is negotiated once."""
    with Daemon() as daemon:
        with Initiator(daemon) as i:
            text = encode_text(i.names() + i.keys() + [("InitialR2T", "No")])
            expect("twice in a PDU", INITIATOR_ERROR, i.login_step(text=text).status)
            i.expect_closed()
        with Initiator(daemon) as i:
            expect("first time", 0,
                   i.login_step(i.names() + [("InitialR2T", "No")], transit=False).status)
            expect("twice in a login", INITIATOR_ERROR,
                   i.login_step([("InitialR2T", "Yes")]).status)
            i.expect_closed()


def test_login_cannot_change_its_name_halfway():
    with Daemon() as daemon, Initiator(daemon) as i:
        i.login_step(i.names(), transit=False)
        response = i.login_step([("InitiatorName", "iqn.2026-11.lab:other")])
        expect("status", INITIATOR_ERROR, response.status)
        i.expect_closed()


def test_login_takes_any_tag_connection_id_and_first_cmd_sn():
    with Daemon() as daemon:
        for itt, cid, cmd_sn in ((0, 0, 0), (0xFFFFFFFE, 0xFFFF, 0x7FFFFFFF), (7, 1, 0xFFFFFFFF)):
            with Initiator(daemon, cmd_sn=cmd_sn) as i:
                i.cid = cid
                response = i.login_step(i.names() + i.keys(), itt=itt, exp_stat_sn=0)
                works(i.finish_login(response))


def test_login_that_does_not_go_on_is_closed():
    with Daemon(login_timeout=1) as daemon:
        with Connection(daemon) as silent, Initiator(daemon) as halfway, Connection(daemon) as torn:
            halfway.login_step(halfway.names(), transit=False)
            torn.send_bytes(b"\x43\x87\0\0")
            for connection in (silent, halfway, torn):
                connection.expect_closed()
        expect_good_initiator(daemon)


def test_half_open_logins_are_bounded_and_do_not_lock_others_out():
    with Daemon(max_half_open=4, login_timeout=2) as daemon:
        waiting = [Connection(daemon) for _ in range(30)]
        try:
            expect_good_initiator_soon(daemon)
        finally:
            for connection in waiting:
                connection.close()


def test_half_open_logins_beyond_the_limit_are_closed_long_before_they_time_out():
    with Daemon(max_half_open=4, login_timeout=600) as daemon:
        waiting = [Connection(daemon) for _ in range(20)]

        def closed():
            return select.select([c.socket for c in waiting], [], [], 0)[0]

        wait_until(lambda: len(closed()) >= 16, "16 of 20 half-open connections to be closed")
        for c in waiting:
            c.close()
        expect_good_initiator_soon(daemon)


def test_sessions_beyond_the_limit_are_refused():
    with Daemon(max_sessions=3) as daemon:
        names = ["iqn.2026-11.lab:many-%d" % n for n in range(4)]
        held = [Initiator(daemon, name=name).login() for name in names[:3]]
        try:
            Initiator(daemon, name=names[3]).login()
            raise Failure("expected the fourth session to be refused")
        except LoginRefused as refusal:
            expect("status class", 3, refusal.status >> 8)
        held.pop().logout()

        def is_admitted():
            try:
                return Initiator(daemon, name=names[3]).login()
            except LoginRefused:
                return None

        wait_until(is_admitted, "the place of the session that logged out")
        for i in held:
            i.command(TEST_UNIT_READY)
