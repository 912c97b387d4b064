"""initiator: a raw iSCSI initiator for protocol tests, in plain Python, after RFC 7143.

Three layers, each usable alone:

  Connection   a socket with time-outs that sends and receives whole PDUs, with digests
  Initiator    a session of one connection: login, numbering, commands, text, NOP, logout; every PDU
               that comes is checked (StatSN, ExpCmdSN, MaxCmdSN) before anybody sees it
  Task         one SCSI command (task.py)

    with Initiator(daemon).login() as i:
        i.command(read10(0, 8), read=4096).good()

What a test wants to get wrong it says itself: every field has a keyword, and send() takes any Pdu,
send_bytes() anything. Checks fail with what was expected and what came.
"""

import contextlib
import socket
import time

import pdu as p
from nestor import IQN, SLOWNESS, Failure, expect, wait_until
from pdu import FINAL, RESERVED_TAG, Pdu, decode_text, encode_text, lun_field
from task import (CHECK_CONDITION, GOOD, ORDERED, RELEASE6, RESERVE6,  # noqa: F401 for the tests
                  TEST_UNIT_READY, Task, inquiry, pattern, read10, report_luns, write10)

TIMEOUT = 10 * SLOWNESS
INITIATOR_NAME = "iqn.2026-11.lab.nestor:initiator"

SECURITY, OPERATIONAL, FULL_FEATURE = 0, 1, 3
TRANSIT, CONTINUE = 0x80, 0x40

ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET = 1, 2, 3, 4
LUN_RESET, TARGET_WARM_RESET, TARGET_COLD_RESET, TASK_REASSIGN = 5, 6, 7, 8

# Status class and detail, RFC 7143 11.13.5
SUCCESS = 0x0000
INITIATOR_ERROR, AUTHENTICATION_FAILURE, AUTHORIZATION_FAILURE, NOT_FOUND = \
    0x0200, 0x0201, 0x0202, 0x0203
UNSUPPORTED_VERSION, MISSING_PARAMETER, TYPE_NOT_SUPPORTED = 0x0205, 0x0207, 0x0209
NO_SUCH_SESSION, INVALID_DURING_LOGIN = 0x020A, 0x020B

# What a plain session offers; a test's own keys replace or (None) remove these.
NORMAL_KEYS = {
    "HeaderDigest": "None", "DataDigest": "None", "InitialR2T": "No", "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144", "FirstBurstLength": "262144",
    "MaxBurstLength": "262144", "MaxOutstandingR2T": "1", "MaxConnections": "1",
    "DefaultTime2Wait": "2", "DefaultTime2Retain": "0", "ErrorRecoveryLevel": "0",
    "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes",
}
DISCOVERY_KEYS = {"HeaderDigest": "None", "DataDigest": "None",
                  "MaxRecvDataSegmentLength": "262144"}

# RFC 7143 section 13: what holds when nobody says otherwise
STANDARD = {
    "HeaderDigest": "None", "DataDigest": "None", "InitialR2T": "Yes", "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "8192", "FirstBurstLength": "65536", "MaxBurstLength": "262144",
    "MaxOutstandingR2T": "1", "ErrorRecoveryLevel": "0",
}


class Closed(Failure):
    """The target closed the connection."""


class TimedOut(Failure):
    """Nothing came in time."""


class LoginRefused(Failure):
    """The target answered a login with another status than success; .status has it."""

    def __init__(self, status):
        super().__init__("expected login status 0x0000, came 0x%04x" % status)
        self.status = status


def after(a, b):
    """a comes after b in 32-bit serial arithmetic (RFC 1982)."""
    return 0 < (a - b) & 0xFFFFFFFF < 0x80000000


def plus(a, n=1):
    return (a + n) & 0xFFFFFFFF


class Connection:
    """A TCP connection that frames PDUs. Every wait ends after `timeout` seconds."""

    def __init__(self, daemon, timeout=TIMEOUT, source=None):
        address = daemon if isinstance(daemon, tuple) else (daemon.host, daemon.port)
        self.timeout = timeout
        self.socket = socket.create_connection(address, timeout=timeout, source_address=source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.header_digest = self.data_digest = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection without a word: RST, as a host that lost power and came back."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def send_bytes(self, data):
        self.socket.settimeout(self.timeout)
        try:
            self.socket.sendall(data)
        except (ConnectionError, socket.timeout) as error:
            raise Closed("could not send %d bytes: %s" % (len(data), error)) from None

    def send(self, *pdus):
        self.send_bytes(b"".join(self.wire(pdu) for pdu in pdus))

    def wire(self, pdu):
        return pdu.to_bytes(self.header_digest, self.data_digest)

    def _fill(self, count, deadline):
        while len(self.received) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut("expected a PDU within %.1f s, came %d bytes"
                               % (self.timeout, len(self.received)))
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 20)
            except socket.timeout:
                continue
            except ConnectionError as error:
                raise Closed("expected a PDU, came %s" % error) from None
            if not data:
                raise Closed("expected a PDU, the target closed after %d bytes of it"
                             % len(self.received))
            self.received += data

    def receive(self, timeout=None):
        """The next PDU, its digests checked and taken off."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self._fill(48, deadline)
        ahs_end = 48 + 4 * self.received[4]
        data_start = ahs_end + (4 if self.header_digest else 0)
        length = int.from_bytes(self.received[5:8], "big")
        padded = length + -length % 4
        end = data_start + padded + (4 if self.data_digest and length else 0)
        self._fill(end, deadline)
        whole = bytes(self.received[:end])
        del self.received[:end]
        if self.header_digest:
            expect("header digest", p.digest(whole[:ahs_end]), whole[ahs_end:data_start])
        if self.data_digest and length:
            data_end = data_start + padded
            expect("data digest", p.digest(whole[data_start:data_end]), whole[data_end:])
        return Pdu.parse(whole[:48], whole[48:ahs_end], whole[data_start:data_start + length])

    def expect_closed(self, timeout=None):
        """The target closes; gives the PDUs that came before. A clean close or a reset both do."""
        came = []
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            try:
                came.append(self.receive(max(0.0, deadline - time.monotonic())))
            except TimedOut:
                raise Failure("expected the target to close the connection, came %r"
                              % came) from None
            except Closed:
                return came


class Initiator(Connection):
    """One session of one connection."""

    def __init__(self, daemon, name=INITIATOR_NAME, target=IQN, isid=0x00023D000001,
                 discovery=False, cmd_sn=1, **connection):
        super().__init__(daemon, **connection)
        self.name, self.target, self.isid, self.discovery = name, target, isid, discovery
        self.tsih, self.cid = 0, 0
        self.cmd_sn = cmd_sn          # of the next command
        self.exp_stat_sn = 0          # that we expect next
        self.exp_cmd_sn = self.max_cmd_sn = None
        self.next_itt = 0x10
        self.is_logged_in = False
        self.answer_pings = True
        self.offered = {}
        self.answers = []             # every pair of every login response, in order
        self.agreed = dict(STANDARD)
        self.tasks = {}
        self.inbox = []               # PDUs that belong to no task
        self.rejects = []
        self.free_numbers = []        # CmdSNs of rejected requests: gaps to be plugged
        self.pings = 0

    # numbering

    def itt(self):
        self.next_itt += 1
        return self.next_itt

    def take_cmd_sn(self, immediate=False):
        if not immediate and self.free_numbers:
            return self.free_numbers.pop(0)
        cmd_sn = self.cmd_sn
        if not immediate:
            self.cmd_sn = plus(cmd_sn)
        return cmd_sn

    def _check_numbers(self, pdu):
        """ExpCmdSN and MaxCmdSN stand in every PDU of the target and never go back; StatSN counts
        what carries status (RFC 7143 4.2.2.1, 4.2.2.2)."""
        exp, maximum = pdu.exp_cmd_sn, pdu.max_cmd_sn
        if self.exp_cmd_sn is not None:
            if after(self.exp_cmd_sn, exp):
                raise Failure("ExpCmdSN went back from 0x%x to 0x%x in %r"
                              % (self.exp_cmd_sn, exp, pdu))
            if after(self.max_cmd_sn, maximum):
                raise Failure("MaxCmdSN shrank from 0x%x to 0x%x in %r"
                              % (self.max_cmd_sn, maximum, pdu))
        if after(plus(exp, -1), maximum):
            raise Failure("MaxCmdSN 0x%x is less than ExpCmdSN 0x%x - 1 in %r"
                          % (maximum, exp, pdu))
        if after(exp, self.cmd_sn):
            raise Failure("ExpCmdSN 0x%x is beyond the next CmdSN 0x%x in %r"
                          % (exp, self.cmd_sn, pdu))
        self.exp_cmd_sn, self.max_cmd_sn = exp, maximum

        if pdu.opcode == p.DATA_IN and not pdu.flags & 0x01:
            return
        if pdu.stat_sn != self.exp_stat_sn:
            raise Failure("StatSN: expected 0x%x, came 0x%x in %r"
                          % (self.exp_stat_sn, pdu.stat_sn, pdu))
        if pdu.opcode == p.R2T or (pdu.opcode == p.NOP_IN and pdu.itt == RESERVED_TAG):
            return  # the next StatSN, not taken (RFC 7143 11.8.4, 11.19.2)
        self.exp_stat_sn = plus(self.exp_stat_sn)

    # login

    def login_step(self, keys=(), csg=OPERATIONAL, nsg=FULL_FEATURE, transit=True, cont=False,
                   text=None, version=(0, 0), itt=0, raw=False, **fields):
        """One login request and its response; raw=True only sends it. The pairs that came are
        response.keys, in order response.pairs."""
        flags = (TRANSIT if transit else 0) | (CONTINUE if cont else 0) | csg << 2
        if transit:
            flags |= nsg
        if isinstance(keys, dict):
            keys = list(keys.items())
        fields = {"isid": self.isid, "tsih": self.tsih, "cid": self.cid, "cmd_sn": self.cmd_sn,
                  "exp_stat_sn": self.exp_stat_sn, **fields}
        self.offered.update(keys)
        self.send(Pdu(p.LOGIN_REQUEST, immediate=True, flags=flags, itt=itt,
                      version_max=version[0], version_min=version[1],
                      data=encode_text(keys) if text is None else text, **fields))
        if raw:
            return None
        return self.login_response(csg, itt)

    def login_response(self, csg=None, itt=0):
        """The next PDU, which must be a Login Response of this exchange."""
        response = self.receive()
        expect("answer to a login request", p.NAMES[p.LOGIN_RESPONSE], response.name)
        expect("ITT of the login response", itt, response.itt)
        expect("ISID of the login response", self.isid, response.isid)
        expect("Version-active", 0, response.version_active)
        if self.exp_cmd_sn is None:
            self.exp_stat_sn = response.stat_sn  # the target chooses where to begin
        if response.status == SUCCESS:
            self._check_numbers(response)
            expect("ExpCmdSN during login", self.cmd_sn, response.exp_cmd_sn)
            if csg is not None:
                expect("CSG of the login response", csg, response.flags >> 2 & 3)
        pairs = [] if response.status else decode_text(response.data)
        self.answers += pairs
        response.__dict__["pairs"] = pairs
        response.__dict__["keys"] = dict(pairs)
        expect("each key at most once in %r" % pairs, len(pairs), len(response.keys))
        return response

    def names(self):
        pairs = [("InitiatorName", self.name)]
        if not self.discovery:
            pairs.append(("TargetName", self.target))
        return pairs + [("SessionType", "Discovery" if self.discovery else "Normal")]

    def keys(self, keys=None):
        """What to offer: the plain list, with the caller's own laid over it (None removes)."""
        offer = {**(DISCOVERY_KEYS if self.discovery else NORMAL_KEYS), **(keys or {})}
        return [(k, v) for k, v in offer.items() if v is not None]

    def login(self, keys=None, chap=None):
        """A whole login: straight to the operational stage, or through CHAP first."""
        if chap is None:
            response = self.login_step(self.names() + self.keys(keys))
        else:
            self.authenticate(chap)
            response = self.login_step(self.keys(keys))
        return self.finish_login(response)

    def authenticate(self, chap, offer="CHAP"):
        """The security stage with CHAP, through to the operational one."""
        response = self.must_go_on(self.login_step(self.names() + [("AuthMethod", offer)],
                                                   csg=SECURITY, transit=False))
        expect("AuthMethod", "CHAP", response.keys.get("AuthMethod"))
        response = self.must_go_on(self.login_step([("CHAP_A", chap.algorithms)], csg=SECURITY,
                                                   transit=False))
        response = self.must_go_on(self.login_step(chap.answer(response.keys), csg=SECURITY,
                                                   nsg=OPERATIONAL))
        expect("stage after CHAP (T, NSG)", (True, OPERATIONAL),
               (bool(response.flags & TRANSIT), response.flags & 3))
        chap.check(response.keys)
        return response

    def must_go_on(self, response):
        if response.status:
            raise LoginRefused(response.status)
        return response

    def finish_login(self, response):
        """Takes the answers, round by round, until the full feature phase is there."""
        self.must_go_on(response)
        for _ in range(5):
            if response.flags & TRANSIT:
                break
            response = self.must_go_on(self.login_step([]))
        expect("the last login response's T and NSG", (True, FULL_FEATURE),
               (bool(response.flags & TRANSIT), response.flags & 3))
        if response.tsih == 0:
            raise Failure("the last login response must have a TSIH, came 0")
        self.tsih = response.tsih
        answers = dict(self.answers)
        for key in STANDARD:
            if key in answers:
                self.agreed[key] = answers[key]
        self.header_digest = self.agreed["HeaderDigest"] == "CRC32C"
        self.data_digest = self.agreed["DataDigest"] == "CRC32C"
        self.is_logged_in = True
        return self

    def number(self, key):
        return int(self.agreed[key])

    @property
    def max_segment_in(self):
        """The largest data segment that we said we take."""
        return int(self.offered.get("MaxRecvDataSegmentLength",
                                    STANDARD["MaxRecvDataSegmentLength"]))

    # receiving

    def receive(self, timeout=None):
        pdu = super().receive(timeout)
        if pdu.opcode != p.LOGIN_RESPONSE:
            if pdu.opcode not in p.LAYOUT or pdu.opcode < p.NOP_IN:
                raise Failure("expected a target's PDU, came %r" % pdu)
            if pdu.data_segment_length > self.max_segment_in:
                raise Failure("expected at most %d bytes of data, came %r"
                              % (self.max_segment_in, pdu))
            self._check_numbers(pdu)
        return pdu

    def dispatch(self, pdu):
        """Hands a PDU to its task; everything else waits in the inbox."""
        task = self.tasks.get(pdu.itt)
        if task and pdu.opcode in (p.SCSI_RESPONSE, p.DATA_IN, p.R2T):
            task.take(pdu)
        elif pdu.opcode == p.NOP_IN and pdu.ttt != RESERVED_TAG and self.answer_pings:
            self.pings += 1
            self.send(Pdu(p.NOP_OUT, immediate=True, lun=pdu.lun, itt=RESERVED_TAG, ttt=pdu.ttt,
                          cmd_sn=self.cmd_sn, exp_stat_sn=self.exp_stat_sn))
        else:
            if pdu.opcode == p.REJECT:
                self._take_reject(pdu)
            self.inbox.append(pdu)

    def _take_reject(self, pdu):
        """RFC 7143 7.3: a rejected command's number counts as not received; the next uses it."""
        self.rejects.append(pdu)
        header = Pdu.parse(pdu.data[:48].ljust(48, b"\0"))
        is_numbered = header.opcode in (p.SCSI_COMMAND, p.TMF_REQUEST, p.TEXT_REQUEST, p.NOP_OUT,
                                        p.LOGOUT_REQUEST) and not header.bhs[0] & 0x40
        if is_numbered and header.cmd_sn == pdu.exp_cmd_sn and after(self.cmd_sn, header.cmd_sn):
            self.free_numbers.append(header.cmd_sn)

    def pump(self, is_done, what, timeout=None):
        """Receives and dispatches until is_done()."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not is_done():
            try:
                self.dispatch(self.receive(deadline - time.monotonic()))
            except TimedOut:
                raise TimedOut("waited in vain for %s; waiting tasks: %r; unclaimed: %r"
                               % (what, [t for t in self.tasks.values() if not t.is_done],
                                  self.inbox)) from None

    def wait_for(self, opcode, itt=None, timeout=None):
        """The first unclaimed PDU of this kind (and tag)."""
        def matching():
            return next((x for x in self.inbox
                         if x.opcode == opcode and (itt is None or x.itt == itt)), None)

        self.pump(matching, "a " + p.NAMES[opcode], timeout)
        found = matching()
        self.inbox.remove(found)
        return found

    def expect_reject(self, reason, header, timeout=None):
        """A Reject with this reason (None: any) whose data begins with the refused header."""
        reject = self.wait_for(p.REJECT, timeout=timeout)
        if reason is not None:
            expect("reason of %r" % reject, reason, reject.reason)
        expect("ITT of a Reject", RESERVED_TAG, reject.itt)
        expect("the refused header in the Reject's data", bytes(header).hex(),
               reject.data[:48].hex())
        return reject

    def drain(self):
        """Everything that was sent before is dealt with: a ping and its echo."""
        return self.ping(b"drain")

    # requests

    def submit(self, cdb, **options):
        task = Task(self, cdb, **options)
        self.tasks[task.itt] = task
        task.start()
        return task

    def command(self, cdb, timeout=None, **options):
        return self.submit(cdb, **options).wait(timeout)

    def tmf(self, function, lun=0, rtt=RESERVED_TAG, ref_cmd_sn=0, immediate=True, timeout=None,
            **fields):
        """A task management request; gives the response code."""
        itt = self.itt()
        self.send(Pdu(p.TMF_REQUEST, immediate=immediate, flags=FINAL | function,
                      **{"lun": lun_field(lun), "itt": itt, "rtt": rtt, "ref_cmd_sn": ref_cmd_sn,
                         "cmd_sn": self.take_cmd_sn(immediate),
                         "exp_stat_sn": self.exp_stat_sn, **fields}))
        return self.wait_for(p.TMF_RESPONSE, itt, timeout).response

    def ping(self, data=b"", immediate=False, timeout=None, **fields):
        """NOP-Out; its NOP-In must come back with the same data (RFC 7143 11.19)."""
        itt = self.itt()
        self.send(Pdu(p.NOP_OUT, immediate=immediate, data=data,
                      **{"itt": itt, "ttt": RESERVED_TAG, "cmd_sn": self.take_cmd_sn(immediate),
                         "exp_stat_sn": self.exp_stat_sn, **fields}))
        answer = self.wait_for(p.NOP_IN, itt, timeout)
        expect("TTT of a ping's answer", RESERVED_TAG, answer.ttt)
        expect("data of a ping's answer", data[:self.max_segment_in], answer.data)
        return answer

    def text_step(self, pairs=(), itt=None, ttt=RESERVED_TAG, final=True, cont=False, text=None,
                  immediate=False, lun=0):
        itt = self.itt() if itt is None else itt
        self.send(Pdu(p.TEXT_REQUEST, immediate=immediate, lun=lun,
                      flags=(FINAL if final else 0) | (CONTINUE if cont else 0), itt=itt, ttt=ttt,
                      cmd_sn=self.take_cmd_sn(immediate), exp_stat_sn=self.exp_stat_sn,
                      data=encode_text(pairs) if text is None else text))
        return self.wait_for(p.TEXT_RESPONSE, itt)

    def text(self, pairs):
        """A whole text exchange: what came, put together over as many responses as it took."""
        response = self.text_step(pairs)
        data, rounds = response.data, 1
        while not response.flags & FINAL:
            if response.ttt == RESERVED_TAG:
                raise Failure("an unfinished text response must have a TTT, came %r" % response)
            response = self.text_step([], itt=response.itt, ttt=response.ttt, lun=response.lun)
            data, rounds = data + response.data, rounds + 1
            if rounds > 2000:
                raise Failure("expected an end of the text, came %d responses" % rounds)
        expect("C bit of the last text response", 0, response.flags & CONTINUE)
        expect("TTT of the last text response", RESERVED_TAG, response.ttt)
        self.text_rounds = rounds
        return decode_text(data)

    def send_targets(self, value="All"):
        """[(target name, [addresses])]"""
        targets = []
        for key, came in self.text([("SendTargets", value)]):
            if key == "TargetName":
                targets.append((came, []))
            elif key == "TargetAddress":
                targets[-1][1].append(came)
            else:
                raise Failure("expected TargetName or TargetAddress, came %s=%s" % (key, came))
        return targets

    def logout(self, reason=0, cid=None):
        """A logout; gives the response PDU. After success the target closes."""
        itt = self.itt()
        self.send(Pdu(p.LOGOUT_REQUEST, immediate=True, flags=FINAL | reason, itt=itt,
                      cid=self.cid if cid is None else cid, cmd_sn=self.cmd_sn,
                      exp_stat_sn=self.exp_stat_sn))
        return self.wait_for(p.LOGOUT_RESPONSE, itt)

    def clear_unit_attention(self, lun=0):
        """Takes the unit attention that a new nexus has (29h), and whatever else is pending."""
        for _ in range(10):
            if self.command(bytes(6), lun=lun).status == GOOD:
                return self
        raise Failure("TEST UNIT READY is not GOOD after ten unit attentions")


# Shorthands


@contextlib.contextmanager
def session(daemon, keys=None, chap=None, ready=True, **options):
    """A logged-in normal session without its first unit attention on LUN 0."""
    with Initiator(daemon, **options) as initiator:
        initiator.login(keys, chap)
        if ready:
            initiator.clear_unit_attention()
        yield initiator


def expect_login_refused(status, attempt):
    """attempt() logs in; it must be refused with this status (one, or a tuple of them)."""
    wanted = status if isinstance(status, tuple) else (status,)
    try:
        attempt()
    except LoginRefused as refusal:
        if refusal.status not in wanted:
            raise Failure("expected login status %s, came 0x%04x"
                          % (" or ".join("0x%04x" % s for s in wanted), refusal.status)) from None
        return
    raise Failure("expected login status %s, came success"
                  % " or ".join("0x%04x" % s for s in wanted))


def expect_good_initiator(daemon, name=INITIATOR_NAME + "-good"):
    """The daemon lives and serves: a login, a read, a logout."""
    with session(daemon, name=name) as good:
        good.command(read10(0, 8), read=4096).good()
        expect("logout response", 0, good.logout().response)


def expect_good_initiator_soon(daemon):
    """The same, once whoever holds a place for nothing has been let go."""

    def is_served():
        try:
            expect_good_initiator(daemon)
            return True
        except (Closed, LoginRefused, OSError):
            return False

    wait_until(is_served, "a good initiator to be served", 20)
