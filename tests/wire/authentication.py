"""CHAP, RFC 7143 12.1.3 and 9.2.1."""

import os

import chap
from chap import Chap
from initiator import (AUTHENTICATION_FAILURE, OPERATIONAL, SECURITY, TRANSIT, Closed, Initiator,
                       LoginRefused, expect_login_refused)
from nestor import IQN, Daemon, Failure, expect, lun, target

USER, SECRET = "esx", "a-secret-of-nineteen"
LAB, LAB_SECRET = "lab", "another-one-of-twenty"
OPEN = IQN + "-open"


class ChapDaemon(Daemon):
    """One target that asks for CHAP (and can answer it), one that doesn't; more keys as given."""

    def __init__(self, mutual=True, **keys):
        super().__init__([], **keys)
        secrets = {"user": USER, "secret_file": self.secret("esx.secret", SECRET)}
        if mutual:
            secrets.update(mutual_user=LAB,
                           mutual_secret_file=self.secret("lab.secret", LAB_SECRET))
        self.targets = [target(lun(0, size="1M"), chap=secrets),
                        target(lun(0, path="open.img", size="1M"), name=OPEN)]


def log_in(daemon, chap, **options):
    with Initiator(daemon, **options) as i:
        i.login(chap=chap)
        if i.discovery:
            return i.send_targets()
        i.clear_unit_attention()
        expect("logout response", 0, i.logout().response)
        return None


def exchange(daemon, pairs, algorithm="5", challenge_pairs=None):
    """Goes as far as the target's challenge, then sends these pairs; the last response."""
    with Initiator(daemon) as i:
        i.login_step(i.names() + [("AuthMethod", "CHAP")], csg=SECURITY, transit=False)
        keys = i.login_step([("CHAP_A", algorithm)], csg=SECURITY, transit=False).keys
        challenge = chap.decode(keys["CHAP_C"])
        value = chap.response(int(algorithm), int(keys["CHAP_I"]), SECRET, challenge)
        made = [(k, v(value) if callable(v) else v) for k, v in pairs]
        response = i.login_step(made, csg=SECURITY, nsg=OPERATIONAL)
        if response.status:
            i.expect_closed()
        return response


def test_chap_admits_with_every_algorithm_in_both_encodings():
    with ChapDaemon() as daemon:
        for algorithm in ("5", "6", "7", "8"):
            for encode in (chap.to_hex, chap.to_base64, lambda v: "0X" + v.hex().upper(),
                           lambda v: "0B" + chap.to_base64(v)[2:]):
                log_in(daemon, Chap(USER, SECRET, algorithm, encode=encode))


def test_chap_is_mutual_with_every_algorithm():
    with ChapDaemon() as daemon:
        for algorithm in ("5", "6", "7", "8"):
            for encode in (chap.to_hex, chap.to_base64):
                log_in(daemon, Chap(USER, SECRET, algorithm, mutual=(LAB, LAB_SECRET),
                                    encode=encode))


def test_chap_takes_the_first_algorithm_that_it_has():
    with ChapDaemon() as daemon:
        for offer, taken in (("7,5", "7"), ("9,8,5", "8"), ("1,2,6", "6"), ("5,7", "5")):
            with Initiator(daemon) as i:
                offered = Chap(USER, SECRET, offer)
                i.login(chap=offered)
                expect("CHAP_A out of %s" % offer, taken, str(offered.algorithm))


def test_chap_without_a_common_algorithm_is_refused():
    with ChapDaemon() as daemon:
        for offer in ("9", "", "0", "55", "five", "5x"):
            expect_login_refused((0x0200, AUTHENTICATION_FAILURE),
                                 lambda: log_in(daemon, Chap(USER, SECRET, offer)))


def test_wrong_secret_or_user_is_refused():
    with ChapDaemon() as daemon:
        for algorithm in ("5", "7"):
            for user, secret in ((USER, SECRET + "x"), (USER, SECRET[:-1]), (USER, ""),
                                 (USER + "x", SECRET), (USER.upper(), SECRET), ("", SECRET),
                                 (LAB, LAB_SECRET)):
                expect_login_refused(AUTHENTICATION_FAILURE,
                                     lambda: log_in(daemon, Chap(user, secret, algorithm)))
        log_in(daemon, Chap(USER, SECRET))


def test_target_with_chap_refuses_who_does_not_authenticate():
    with ChapDaemon() as daemon:
        expect_login_refused(AUTHENTICATION_FAILURE, Initiator(daemon).login)
        for nsg in (1, 3):
            for offer in ([("AuthMethod", "None")], [("AuthMethod", "KRB5,None")], []):
                with Initiator(daemon) as i:
                    response = i.login_step(i.names() + offer, csg=SECURITY, nsg=nsg)
                    expect("status with %r" % offer, AUTHENTICATION_FAILURE, response.status)
                    i.expect_closed()


def test_chap_cannot_be_skipped():
    with ChapDaemon() as daemon:
        for nsg in (1, 3):
            with Initiator(daemon) as i:  # offers it, and wants to go on at once
                offer = [("AuthMethod", "CHAP,None")]
                response = i.login_step(i.names() + offer, csg=SECURITY, nsg=nsg)
                expect("AuthMethod", "CHAP", response.keys.get("AuthMethod"))
                expect("T of the answer", 0, response.flags & TRANSIT)
                response = i.login_step([], csg=SECURITY, nsg=nsg)
                if response.status == 0:
                    expect("T without CHAP", 0, response.flags & TRANSIT)
                else:
                    expect("status", 2, response.status >> 8)
        for csg in (1,):  # chosen, and then the next stage as if it were done
            with Initiator(daemon) as i:
                i.login_step(i.names() + [("AuthMethod", "CHAP")], csg=SECURITY, transit=False)
                response = i.login_step(i.keys(), csg=csg)
                expect("status class", 2, response.status >> 8)
                i.expect_closed()
        with Initiator(daemon) as i:  # challenged, and then without a response
            i.login_step(i.names() + [("AuthMethod", "CHAP")], csg=SECURITY, transit=False)
            i.login_step([("CHAP_A", "5")], csg=SECURITY, transit=False)
            response = i.login_step([], csg=SECURITY, nsg=OPERATIONAL)
            if response.status == 0:
                expect("T without CHAP_R", 0, response.flags & TRANSIT)


def test_malformed_chap_answers_are_refused():
    def flipped(value):
        return chap.to_hex(bytes([value[0] ^ 1]) + value[1:])

    right_name = ("CHAP_N", USER)
    with ChapDaemon() as daemon:
        for pairs in ([right_name], [("CHAP_R", chap.to_hex)], [right_name, ("CHAP_R", "")],
                      [right_name, ("CHAP_R", "0x")], [right_name, ("CHAP_R", "0b")],
                      [right_name, ("CHAP_R", lambda v: v.hex())],
                      [right_name, ("CHAP_R", lambda v: chap.to_hex(v) + "00")],
                      [right_name, ("CHAP_R", lambda v: chap.to_hex(v[:-1]))],
                      [right_name, ("CHAP_R", lambda v: "0x" + "zz" * len(v))],
                      [right_name, ("CHAP_R", "0b====")],
                      [right_name, ("CHAP_R", "0x" + "00" * 2000)],
                      [right_name, ("CHAP_R", flipped)]):
            response = exchange(daemon, pairs)
            if response.status == 0:
                expect("T after %r" % pairs, 0, response.flags & TRANSIT)
            else:
                expect("status class after %r" % pairs, 2, response.status >> 8)
        expect("the same exchange done right", (0, TRANSIT),
               (lambda r: (r.status, r.flags & TRANSIT))(
                   exchange(daemon, [right_name, ("CHAP_R", chap.to_hex)])))


def test_chap_keys_out_of_order_are_refused():
    with ChapDaemon() as daemon:
        for pairs in ([("CHAP_A", "5")], [("CHAP_N", USER), ("CHAP_R", "0x" + "00" * 16)]):
            with Initiator(daemon) as i:
                try:
                    response = i.login_step(i.names() + pairs, csg=SECURITY, nsg=OPERATIONAL)
                    if response.status == 0:
                        expect("T after %r without AuthMethod" % pairs, 0, response.flags & TRANSIT)
                    else:
                        expect("status class", 2, response.status >> 8)
                except Closed:
                    pass


def test_every_challenge_is_new():
    with ChapDaemon() as daemon:
        challenges = set()
        for algorithm in ("5", "7") * 4:
            with Initiator(daemon) as i:
                offered = Chap(USER, SECRET, algorithm)
                i.login(chap=offered)
                challenges.add(offered.their_challenge)
                if len(offered.their_challenge) < 16:
                    raise Failure("a challenge of %d bytes" % len(offered.their_challenge))
        expect("different challenges", 8, len(challenges))


def test_a_reflected_challenge_is_refused():
    """RFC 7143 9.2.1: who echoes our challenge wants us to compute his answer."""
    with ChapDaemon() as daemon:
        for algorithm in ("5", "7"):
            try:
                log_in(daemon, Chap(USER, SECRET, algorithm, mutual=(LAB, LAB_SECRET),
                                    reflect=True))
                raise Failure("expected the reflected challenge to be refused")
            except LoginRefused as refusal:
                expect("status class", 2, refusal.status >> 8)
            except Closed:
                pass


def test_mutual_challenges_have_bounds():
    with ChapDaemon() as daemon:
        for size in (1, 16, 1024):
            log_in(daemon, Chap(USER, SECRET, mutual=(LAB, LAB_SECRET), challenge=os.urandom(size)))
        for size in (1025, 2000):
            expect_login_refused((0x0200, AUTHENTICATION_FAILURE), lambda: log_in(
                daemon, Chap(USER, SECRET, mutual=(LAB, LAB_SECRET), challenge=os.urandom(size))))
        for identifier in ("256", "-1", "x", ""):
            response = exchange(daemon, [("CHAP_N", USER), ("CHAP_R", chap.to_hex),
                                         ("CHAP_I", identifier), ("CHAP_C", "0x1234")])
            expect("status class with CHAP_I=%s" % identifier, 2, response.status >> 8)
        for half in (("CHAP_I", "5"), ("CHAP_C", "0x1234")):
            response = exchange(daemon, [("CHAP_N", USER), ("CHAP_R", chap.to_hex), half])
            expect("status class with only %s" % half[0], 2, response.status >> 8)


def test_mutual_chap_that_is_not_configured_is_refused():
    with ChapDaemon(mutual=False) as daemon:
        log_in(daemon, Chap(USER, SECRET))
        expect_login_refused((0x0200, AUTHENTICATION_FAILURE), lambda: log_in(
            daemon, Chap(USER, SECRET, mutual=(LAB, LAB_SECRET))))


def test_open_target_takes_none_out_of_an_offer_with_chap():
    with ChapDaemon() as daemon:
        for offer in ("CHAP,None", "None,CHAP", "None"):
            with Initiator(daemon, target=OPEN) as i:
                response = i.login_step(i.names() + [("AuthMethod", offer)], csg=SECURITY,
                                        nsg=OPERATIONAL)
                expect("AuthMethod out of %s" % offer, "None", response.keys.get("AuthMethod"))
                i.finish_login(i.login_step(i.keys()))


def test_open_target_refuses_who_insists_on_chap():
    with ChapDaemon() as daemon, Initiator(daemon, target=OPEN) as i:
        response = i.login_step(i.names() + [("AuthMethod", "CHAP")], csg=SECURITY, nsg=OPERATIONAL)
        if response.status == 0:
            expect("AuthMethod", "Reject", response.keys.get("AuthMethod"))
        else:
            expect("status", AUTHENTICATION_FAILURE, response.status)


def test_discovery_is_open_unless_it_has_chap_of_its_own():
    with ChapDaemon() as daemon, Initiator(daemon, discovery=True) as i:
        expect("targets", {IQN, OPEN}, {name for name, _ in i.login().send_targets()})


def test_discovery_chap_admits_and_refuses():
    daemon = ChapDaemon()
    daemon.keys["discovery_chap"] = {
        "user": "finder", "secret_file": daemon.secret("finder.secret", "discover-me-please"),
        "mutual_user": LAB, "mutual_secret_file": daemon.secret("lab2.secret", LAB_SECRET + "2")}
    with daemon:
        for mutual in (None, (LAB, LAB_SECRET + "2")):
            found = log_in(daemon, Chap("finder", "discover-me-please", mutual=mutual),
                           discovery=True)
            expect("targets", {IQN, OPEN}, {name for name, _ in found})
        expect_login_refused(AUTHENTICATION_FAILURE, Initiator(daemon, discovery=True).login)
        expect_login_refused(AUTHENTICATION_FAILURE,
                             lambda: log_in(daemon, Chap(USER, SECRET), discovery=True))
        log_in(daemon, Chap(USER, SECRET))


def test_secrets_are_never_logged():
    with ChapDaemon() as daemon:
        log_in(daemon, Chap(USER, SECRET, mutual=(LAB, LAB_SECRET)))
        expect_login_refused(AUTHENTICATION_FAILURE,
                             lambda: log_in(daemon, Chap(USER, "wrong-" + SECRET)))
        for secret in (SECRET, LAB_SECRET):
            expect("the secret in the log", False, secret in daemon.log())
