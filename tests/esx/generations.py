"""generations: what each generation of ESX says to a target, in one table, and a host that says it.

What is known of them stands here and nowhere else; the tests walk over GENERATIONS. Sources: the
login library of the Cisco initiator (ESX 3), the option lists that hosts publish (ESX 4 and later),
traces of ESXi 6.5 at other targets. docs/esx.md says what is known and what is assumed.

    for generation in GENERATIONS:
        with Host(daemon, generation).log_in() as host:
            host.probe()
"""

from dataclasses import dataclass, field

from chap import Chap
from initiator import LUN_RESET, OPERATIONAL, SECURITY, TARGET_WARM_RESET, Initiator
from nestor import Failure, expect
from task import TEST_UNIT_READY, inquiry, report_luns

# Every host's first session; the second path of a host has ...02
ISID = 0x00023D000001

READ_CAPACITY10 = b"\x25" + bytes(9)
READ_CAPACITY16 = b"\x9e\x10" + bytes(8) + b"\0\0\0\x20" + bytes(2)
START_UNIT = b"\x1b\0\0\0\x01\0"
LOG_SENSE = b"\x4d\0\x6f\0\0\0\0\x02\0\0"  # smartd: informational exceptions
ATA_PASS_THROUGH = b"\x85\x08\x0e" + bytes(13)
REPORT_TARGET_PORT_GROUPS = b"\xa3\x0a" + bytes(4) + b"\0\0\x02\0\0\0"


def mode_sense6(page, length=192):
    return bytes([0x1A, 0, page, 0, length, 0])


@dataclass
class Probe:
    """A command of the rescan, and how it may end: GOOD, or for some refused with these senses."""
    what: str
    cdb: bytes
    read: int = 0
    refusals: tuple = ()   # any of these is as good to the host
    is_good: bool = True   # GOOD is
    underflows: bool = True


REFUSED_OPCODE, REFUSED_FIELD = (5, 0x20, 0), (5, 0x24, 0)
VPD86 = Probe("VPD 86h", inquiry(255, page=0x86), 255, refusals=(REFUSED_FIELD,))
SMART = (
    Probe("LOG SENSE", LOG_SENSE, 512, refusals=(REFUSED_OPCODE, REFUSED_FIELD)),
    Probe("MODE SENSE(6) page 1Ch", mode_sense6(0x1C), 192, refusals=(REFUSED_FIELD,)),
    Probe("ATA PASS-THROUGH(16)", ATA_PASS_THROUGH, refusals=(REFUSED_OPCODE,), is_good=False),
)
COMMON = (
    Probe("TEST UNIT READY", TEST_UNIT_READY),
    Probe("INQUIRY", inquiry(36), 36, underflows=False),
    Probe("INQUIRY of all", inquiry(255), 255),
    Probe("VPD 00h", inquiry(255, page=0x00), 255),
    Probe("VPD 80h", inquiry(255, page=0x80), 255),
    Probe("VPD 83h", inquiry(255, page=0x83), 255),
)
CAPACITY10 = Probe("READ CAPACITY(10)", READ_CAPACITY10, 8, underflows=False)
CAPACITY16 = Probe("READ CAPACITY(16)", READ_CAPACITY16, 32, underflows=False)
MODES = (
    Probe("MODE SENSE(6) page 3Fh", mode_sense6(0x3F), 192),
    Probe("MODE SENSE(6) page 08h", mode_sense6(0x08), 192),
    Probe("MODE SENSE(6) page 3Fh, header only", mode_sense6(0x3F, 4), 4, underflows=False),
)
THE_REST = (Probe("REPORT LUNS", report_luns(4096), 4096), Probe("START STOP UNIT", START_UNIT))
LIMITS = (
    Probe("VPD B0h", inquiry(255, page=0xB0), 255),
    Probe("VPD B1h", inquiry(255, page=0xB1), 255),
    Probe("VPD B2h", inquiry(255, page=0xB2), 255),
)


@dataclass
class Generation:
    name: str
    starts_in_security: bool            # else everything is in one PDU of the operational stage
    keys: tuple                         # of a normal session, in this order
    discovery_keys: tuple
    probes: tuple
    has_ats: bool                       # else it locks by RESERVE
    reset: int                          # by which it breaks a dead host's hold
    largest_blocks: int                 # of one command
    ping_seconds: tuple                 # interval, and how long it waits for an answer
    known_answers: frozenset = field(default_factory=frozenset)  # others end its login; empty: any

    def __str__(self):
        return self.name


def _pairs(text):
    return tuple(tuple(pair.split("=", 1)) for pair in text.split())


# Cisco iSCSI Driver 3.6.3: operational keys in its library's order
_ESX3_FIRST = _pairs("HeaderDigest=None DataDigest=None MaxRecvDataSegmentLength=131072 "
                     "DefaultTime2Wait=0 DefaultTime2Retain=0 ErrorRecoveryLevel=0 IFMarker=No "
                     "OFMarker=No")
_ESX3_NORMAL = _pairs("InitialR2T=No ImmediateData=Yes MaxBurstLength=16776192 "
                      "FirstBurstLength=262144 MaxOutstandingR2T=1 MaxConnections=1 "
                      "DataPDUInOrder=Yes DataSequenceInOrder=Yes")
_ESX3_CISCO = _pairs("X-com.cisco.PingTimeout=5 X-com.cisco.sendAsyncText=Yes "
                     "X-com.cisco.protocol=draft20")
# iscsi_vmk, after a security stage without a secret
_VMK_FIRST = _pairs("HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0 "
                    "IFMarker=No OFMarker=No ErrorRecoveryLevel=0")
_VMK_NORMAL = _pairs("InitialR2T=No ImmediateData=Yes MaxBurstLength=262144 "
                     "FirstBurstLength=262144 MaxOutstandingR2T=1 MaxConnections=1 "
                     "DataPDUInOrder=Yes DataSequenceInOrder=Yes")
_VMK_SEGMENT = _pairs("MaxRecvDataSegmentLength=131072")

_ESX3 = dict(
    starts_in_security=False, keys=_ESX3_FIRST + _ESX3_NORMAL + _ESX3_CISCO,
    discovery_keys=_ESX3_FIRST + _ESX3_CISCO, probes=(*COMMON, CAPACITY10, *MODES, *THE_REST),
    has_ats=False, reset=TARGET_WARM_RESET, largest_blocks=65535, ping_seconds=(5, 5),
    known_answers=frozenset(k for k, _ in _ESX3_FIRST + _ESX3_NORMAL + _ESX3_CISCO) | {
        "TargetAlias", "TargetAddress", "TargetPortalGroupTag", "IFMarkInt", "OFMarkInt",
        "AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"})
_VMK = dict(
    starts_in_security=True, keys=_VMK_FIRST + _VMK_NORMAL + _VMK_SEGMENT,
    discovery_keys=_VMK_FIRST + _VMK_SEGMENT, reset=LUN_RESET, ping_seconds=(15, 10))

GENERATIONS = (
    Generation("ESX 3.5", **_ESX3),
    Generation("ESX 4", **_VMK, probes=(*COMMON, VPD86, CAPACITY10, CAPACITY16, *MODES, *THE_REST),
               has_ats=False, largest_blocks=65535),
    Generation("ESXi 5", **_VMK, probes=(*COMMON, VPD86, *LIMITS, CAPACITY10, CAPACITY16, *MODES,
                                         *THE_REST, *SMART),
               has_ats=True, largest_blocks=1024),
    Generation("ESXi 6", **_VMK, probes=(*COMMON, VPD86, *LIMITS, CAPACITY10, CAPACITY16, *MODES,
                                         *THE_REST, *SMART),
               has_ats=True, largest_blocks=1024),
    Generation("ESXi 8", **_VMK, probes=(*COMMON, VPD86, *LIMITS, CAPACITY16, *MODES, *THE_REST,
                                         *SMART),
               has_ats=True, largest_blocks=1024),
)
ESX3, ESX4, ESXI5, ESXI6, ESXI8 = GENERATIONS


class Host(Initiator):
    """A host of a generation. `number` makes its name; the ISID is every host's."""

    def __init__(self, daemon, generation, number=1, isid=ISID, **options):
        name = "iqn.1998-01.com.vmware:esx%02d-%08x" % (number, number * 0x1234567)
        super().__init__(daemon, name=name, isid=isid, **options)
        self.generation = generation
        self.alias = "esx%02d" % number

    def who(self):
        pairs = [("InitiatorName", self.name), ("InitiatorAlias", self.alias)]
        if not self.discovery:
            pairs.append(("TargetName", self.target))
        return pairs + [("SessionType", "Discovery" if self.discovery else "Normal")]

    def offer(self, changed=None):
        keys = self.generation.discovery_keys if self.discovery else self.generation.keys
        return [(k, (changed or {}).get(k, v)) for k, v in keys]

    def log_in(self, changed=None):
        """As its generation does; `changed` has other values for some of its keys."""
        if not self.generation.starts_in_security:
            response = self.login_step(self.who() + self.offer(changed))
        else:
            response = self.must_go_on(self.login_step(self.who() + [("AuthMethod", "None")],
                                                       csg=SECURITY, nsg=OPERATIONAL))
            response = self.login_step(self.offer(changed))
        return self._logged_in(response)

    def log_in_with_chap(self, user, secret, mutual=None):
        """ESX asks with CHAP alone when its level is "required"."""
        chap = Chap(user, secret, mutual=mutual)
        names, self.names = self.names, self.who
        self.authenticate(chap)
        self.names = names
        return self._logged_in(self.login_step(self.offer()))

    def _logged_in(self, response):
        self.finish_login(response)
        known = self.generation.known_answers
        for key, value in self.answers:
            if known and key not in known:
                raise Failure("%s does not know the key %s=%s and gives up" % (self.generation, key,
                                                                               value))
        offered = dict(self.offered)
        for key in ("HeaderDigest", "DataDigest"):
            if self.agreed[key] not in offered.get(key, "None").split(","):
                raise Failure("%s=%s was not offered" % (key, self.agreed[key]))
        if not self.discovery:
            for key, wanted in (("MaxOutstandingR2T", "1"), ("ErrorRecoveryLevel", "0")):
                expect(key, wanted, self.agreed[key])
        return self

    def take_attentions(self, lun=0):
        """The unit attentions that wait for this host, oldest first."""
        came = []
        for _ in range(10):
            task = self.command(TEST_UNIT_READY, lun=lun)
            if task.sense_code is None or task.sense_code[0] != 6:
                task.good()
                return came
            came.append(task.sense_code)
        raise Failure("unit attentions without end: %r" % came)

    def ready(self, *luns):
        for lun in luns or (0,):
            self.take_attentions(lun)
        return self

    def probe(self, lun=0):
        """The rescan of one LUN; gives what came, by name."""
        came = {}
        for probe in self.generation.probes:
            task = self.command(probe.cdb, lun=lun, read=probe.read)
            if task.status == 2 and task.sense_code in probe.refusals:
                continue
            if not probe.is_good:
                raise Failure("%s of %s: expected a refusal, came %r %s"
                              % (probe.what, self.generation, task, task.sense_code))
            try:
                task.good(residual=probe.read - len(task.data) if probe.underflows else 0)
            except Failure as failure:
                raise Failure("%s of %s: %s" % (probe.what, self.generation, failure)) from None
            came[probe.what] = bytes(task.data)
        return came


def discover(daemon, generation, number=1):
    with Host(daemon, generation, number, discovery=True) as host:
        targets = host.log_in().send_targets()
        host.logout()
        return targets
