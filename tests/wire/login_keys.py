"""The answers to the login keys, RFC 7143 section 13, for the initiators that will ask."""

from initiator import DISCOVERY_KEYS, INITIATOR_ERROR, Initiator, session
from nestor import Daemon, Failure, expect, lun, target

# What ESX 3 offers, in its order, and all that it knows (the Cisco login library).
ESX3_COMMON = [
    ("HeaderDigest", "None"), ("DataDigest", "None"), ("MaxRecvDataSegmentLength", "131072"),
    ("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "0"), ("ErrorRecoveryLevel", "0"),
    ("IFMarker", "No"), ("OFMarker", "No"),
]
ESX3_NORMAL = [
    ("InitialR2T", "No"), ("ImmediateData", "Yes"), ("MaxBurstLength", "16776192"),
    ("FirstBurstLength", "262144"), ("MaxOutstandingR2T", "1"), ("MaxConnections", "1"),
    ("DataPDUInOrder", "Yes"), ("DataSequenceInOrder", "Yes"),
]
ESX3_CISCO = [
    ("X-com.cisco.PingTimeout", "5"), ("X-com.cisco.sendAsyncText", "Yes"),
    ("X-com.cisco.protocol", "draft20"),
]
ESX3_KNOWS = {key for key, _ in ESX3_COMMON + ESX3_NORMAL + ESX3_CISCO} | {
    "TargetAlias", "TargetAddress", "TargetPortalGroupTag"}


def login_answers(daemon, offer, discovery=False, **options):
    """All that the target answers to one operational login PDU with these keys."""
    with Initiator(daemon, discovery=discovery, **options) as i:
        response = i.login_step(i.names() + list(offer))
        i.finish_login(response)
        return dict(i.answers)


def esx3_answers(alias=None):
    expected = {**dict(ESX3_COMMON + ESX3_NORMAL),
                **{key: "NotUnderstood" for key, _ in ESX3_CISCO},
                "TargetPortalGroupTag": "1"}
    if alias:
        expected["TargetAlias"] = alias
    return expected


def test_esx3_gets_the_answers_that_it_understands():
    """The Cisco initiator ends a login over any key outside its list and over other values than
    these; a marker must be answered No, as draft 20 has it (RFC 7143 13.25 allows it)."""
    for alias in (None, "lab"):
        extra = {"alias": alias} if alias else {}
        with Daemon([target(lun(0, size="1M"), **extra)]) as daemon:
            answers = login_answers(daemon, ESX3_COMMON + ESX3_NORMAL + ESX3_CISCO)
            expect("keys that ESX 3 does not know", set(), set(answers) - ESX3_KNOWS)
            own = answers.pop("MaxRecvDataSegmentLength")
            if not 512 <= int(own) <= 16777215:
                raise Failure("MaxRecvDataSegmentLength=%s" % own)
            expected = esx3_answers(alias)
            del expected["MaxRecvDataSegmentLength"]
            # bursts are minima: the target may want less than 16776192
            burst = int(answers.pop("MaxBurstLength"))
            first = int(answers.pop("FirstBurstLength"))
            if not 512 <= first <= min(burst, 262144) or burst > 16776192:
                raise Failure("FirstBurstLength=%d MaxBurstLength=%d" % (first, burst))
            del expected["MaxBurstLength"], expected["FirstBurstLength"]
            # Time2Wait is a maximum of both sides' wishes
            if not 0 <= int(answers.pop("DefaultTime2Wait")) <= 3600:
                raise Failure("DefaultTime2Wait out of range")
            del expected["DefaultTime2Wait"]
            expect("the answers to ESX 3", expected, answers)


def test_esx3_discovery_gets_no_key_of_a_normal_session():
    with Daemon() as daemon:
        answers = login_answers(daemon, ESX3_COMMON + ESX3_CISCO, discovery=True)
        wanted = {key for key, _ in ESX3_COMMON + ESX3_CISCO}
        expect("answers that nobody asked for", set(), set(answers) - wanted)
        for key, _ in ESX3_CISCO:
            expect(key, "NotUnderstood", answers[key])


def test_esx4_and_later_get_the_values_of_the_plan():
    offer = [("HeaderDigest", "None"), ("DataDigest", "None"), ("DefaultTime2Wait", "2"),
             ("DefaultTime2Retain", "0"), ("InitialR2T", "No"), ("ImmediateData", "Yes"),
             ("MaxBurstLength", "262144"), ("FirstBurstLength", "262144"),
             ("MaxOutstandingR2T", "1"), ("MaxConnections", "1"), ("DataPDUInOrder", "Yes"),
             ("DataSequenceInOrder", "Yes"), ("ErrorRecoveryLevel", "0"),
             ("MaxRecvDataSegmentLength", "131072")]
    with Daemon() as daemon:
        expected = {**dict(offer), "MaxRecvDataSegmentLength": "262144",
                    "TargetPortalGroupTag": "1"}
        expect("the answers to ESX 4 and later", expected, login_answers(daemon, offer))


def test_portal_group_tag_is_in_the_first_response_of_a_normal_session_only():
    with Daemon() as daemon:
        for csg, nsg in ((0, 1), (1, 3)):
            with Initiator(daemon) as i:
                first = i.login_step(i.names(), csg=csg, nsg=nsg, transit=False)
                expect("TargetPortalGroupTag in the first response", "1",
                       first.keys.get("TargetPortalGroupTag"))
                second = i.login_step([], csg=csg, nsg=nsg)
                expect("TargetPortalGroupTag in the second", None,
                       second.keys.get("TargetPortalGroupTag"))
        expect("in a discovery session", False,
               "TargetPortalGroupTag" in login_answers(daemon, [], discovery=True))


def test_target_originates_nothing_that_was_not_offered():
    with Daemon() as daemon:
        for offer in ([], [("InitialR2T", "Yes")], [("HeaderDigest", "CRC32C,None")]):
            answers = login_answers(daemon, offer)
            more = set(answers) - {key for key, _ in offer}
            expect("keys of the target's own", set(),
                   more - {"TargetPortalGroupTag", "TargetAlias", "MaxRecvDataSegmentLength"})


def test_discovery_answers_keys_of_normal_sessions_with_irrelevant():
    normal_only = [("MaxConnections", "1"), ("InitialR2T", "No"), ("ImmediateData", "Yes"),
                   ("MaxBurstLength", "262144"), ("FirstBurstLength", "65536"),
                   ("MaxOutstandingR2T", "1"), ("DataPDUInOrder", "Yes"),
                   ("DataSequenceInOrder", "Yes")]
    with Daemon() as daemon:
        answers = login_answers(daemon, list(DISCOVERY_KEYS.items()) + normal_only, discovery=True)
        for key, _ in normal_only:
            expect(key, "Irrelevant", answers.get(key))


def test_unknown_keys_are_not_understood():
    keys = ["X-com.example.thing", "X#thing", "Whatever", "maxburstlength", "Y"]
    with Daemon() as daemon:
        for discovery in (False, True):
            answers = login_answers(daemon, [(key, "1,2") for key in keys], discovery)
            for key in keys:
                expect(key, "NotUnderstood", answers.get(key))


def test_values_out_of_range_are_rejected():
    offers = [("MaxConnections", "0"), ("MaxConnections", "65536"), ("MaxBurstLength", "511"),
              ("MaxBurstLength", "16777216"), ("FirstBurstLength", "0"),
              ("FirstBurstLength", "99999999999999999999"), ("MaxOutstandingR2T", "0"),
              ("MaxOutstandingR2T", "65536"), ("ErrorRecoveryLevel", "3"),
              ("DefaultTime2Wait", "3601"), ("DefaultTime2Retain", "-1"), ("InitialR2T", "yes"),
              ("ImmediateData", ""), ("DataPDUInOrder", "1"), ("HeaderDigest", "MD5"),
              ("DataDigest", ""), ("MaxBurstLength", "64K"), ("MaxBurstLength", "65536,131072")]
    with Daemon() as daemon:
        for n, pair in enumerate(offers):
            answers = login_answers(daemon, [pair], name="iqn.2026-11.lab:out-%d" % n)
            expect("answer to %s=%s" % pair, "Reject", answers.get(pair[0]))


def test_a_declaration_out_of_range_does_not_become_a_segment_length():
    with Daemon() as daemon:
        for value in ("0", "511", "16777216", "lots"):
            with Initiator(daemon) as i:
                response = i.login_step(i.names() + [("MaxRecvDataSegmentLength", value)])
                if response.status == 0:
                    expect("answer to MaxRecvDataSegmentLength=%s" % value, "Reject",
                           response.keys.get("MaxRecvDataSegmentLength"))
                else:
                    expect("status", INITIATOR_ERROR, response.status)


def test_results_follow_their_functions():
    cases = [
        ("InitialR2T", "Yes", "Yes"), ("InitialR2T", "No", "No"),            # OR
        ("ImmediateData", "Yes", "Yes"), ("ImmediateData", "No", "No"),      # AND
        ("MaxBurstLength", "4096", "4096"), ("MaxBurstLength", "0x1000", "4096"),  # minimum
        ("FirstBurstLength", "512", "512"), ("MaxConnections", "8", "1"),
        ("ErrorRecoveryLevel", "2", "0"), ("ErrorRecoveryLevel", "0", "0"),
        ("DefaultTime2Wait", "60", "60"), ("DefaultTime2Retain", "0", "0"),  # maximum, minimum
        ("DataPDUInOrder", "Yes", "Yes"), ("DataPDUInOrder", "No", "Yes"),   # OR
        ("DataSequenceInOrder", "No", "Yes"),
        ("HeaderDigest", "None,CRC32C", "None"), ("HeaderDigest", "CRC32C,None", "CRC32C"),
        ("DataDigest", "CRC32C", "CRC32C"), ("DataDigest", "X-other,CRC32C,None", "CRC32C"),
        ("MaxOutstandingR2T", "1", "1"), ("IFMarker", "No", "No"),
        ("IFMarkInt", "2048~8192", "Reject"), ("OFMarkInt", "2048~8192", "Reject"),
    ]
    with Daemon() as daemon:
        for n, (key, offer, result) in enumerate(cases):
            answers = login_answers(daemon, [(key, offer)], name="iqn.2026-11.lab:fn-%d" % n)
            came = answers.get(key)
            if came and came.lower().startswith("0x"):
                came = str(int(came, 16))
            expect("answer to %s=%s" % (key, offer), result, came)


def test_first_burst_is_never_beyond_the_max_burst_that_holds():
    with Daemon() as daemon, session(daemon, {"MaxBurstLength": "4096",
                                              "FirstBurstLength": "65536"}) as i:
        task = i.command(b"\x2a" + bytes(7) + b"\x40\0", write=bytes(64 * 512))
        task.good()


def test_declared_keys_are_not_answered():
    with Daemon() as daemon:
        answers = login_answers(daemon, [("InitiatorAlias", "a host")])
        for key in ("InitiatorName", "InitiatorAlias", "TargetName", "SessionType"):
            expect("answer to %s" % key, None, answers.get(key))


def test_security_keys_are_not_taken_in_the_operational_stage():
    with Daemon() as daemon, Initiator(daemon) as i:
        response = i.login_step(i.names() + [("AuthMethod", "None")])
        if response.status == 0:
            expect("answer to AuthMethod in the operational stage", True,
                   response.keys.get("AuthMethod") in ("Reject", "Irrelevant", "None"))


def test_operational_keys_are_not_negotiated_in_the_security_stage():
    with Daemon() as daemon, Initiator(daemon) as i:
        response = i.login_step(i.names() + [("AuthMethod", "None"), ("MaxBurstLength", "4096")],
                                csg=0, nsg=1)
        if response.status == 0:
            expect("answer to MaxBurstLength in the security stage", True,
                   response.keys.get("MaxBurstLength") in ("Reject", "Irrelevant"))
        else:
            expect("status", INITIATOR_ERROR, response.status)
