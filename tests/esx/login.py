"""Each generation's login, key by key and in its order, and its discovery."""

import time

from generations import ESX3, GENERATIONS, Host, discover
from initiator import FULL_FEATURE, OPERATIONAL
from nestor import IQN, Daemon, Failure, expect, lun, target
from task import TEST_UNIT_READY, read10

POWER_ON = (6, 0x29, 0)
LOGIN_TIMEOUT_S = 5  # of ESX 4 and later


def test_every_generation_logs_in():
    with Daemon() as daemon:
        for number, generation in enumerate(GENERATIONS, 1):
            with Host(daemon, generation, number) as host:
                began = time.monotonic()
                host.log_in()
                if time.monotonic() - began > LOGIN_TIMEOUT_S:
                    raise Failure(f"{generation} gave up: the login took too long")
                expect(f"unit attentions of {generation}", [POWER_ON], host.take_attentions())
                host.command(read10(0, 8), read=4096).good()
                expect("logout response", 0, host.logout().response)


def test_every_generation_gets_what_it_asked_for():
    """Trap 19: OR, AND, the smaller burst; each direction's own segment length."""
    with Daemon() as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in() as host:
                agreed = host.agreed
                expect(f"InitialR2T of {generation}", "No", agreed["InitialR2T"])
                expect(f"ImmediateData of {generation}", "Yes", agreed["ImmediateData"])
                expect(f"FirstBurstLength of {generation}", 262144, host.number("FirstBurstLength"))
                expect(f"segments that {generation} takes", 131072, host.max_segment_in)
                answered = [key for key, _ in host.answers]
                expect("TargetPortalGroupTag in the first answer", "1",
                       dict(host.answers).get("TargetPortalGroupTag"))
                expect("keys more than once", len(answered), len(set(answered)))


def test_every_generation_discovers():
    """The tag must be the login's: ESX 3 ends a login whose tag is another."""
    other = target(lun(0, "b.img", size="64M"), name=IQN + "-b")
    with Daemon([target(lun(0, size="64M")), other]) as daemon:
        address = f"{daemon.address},1"
        for generation in GENERATIONS:
            expect(f"what {generation} discovers", [(IQN, [address]), (IQN + "-b", [address])],
                   sorted(discover(daemon, generation)))


def test_esx3_meets_no_key_that_it_does_not_know():
    """Trap 20. Host checks it at every login; here nothing at all must be asked of it."""
    with Daemon([target(lun(0, size="64M"), alias="lab")]) as daemon:
        for discovery in (True, False):
            with Host(daemon, ESX3, discovery=discovery).log_in() as host:
                offered = {key for key, _ in host.offer()}
                unasked = {key for key, _ in host.answers} - offered
                unasked -= {"TargetPortalGroupTag", "TargetAlias"}
                expect("keys that nobody asked for", set(), unasked)


def test_private_keys_of_esx3_are_not_understood():
    """Trap 20; in discovery sessions too, though the standard forbids them there."""
    with Daemon() as daemon:
        for discovery in (True, False):
            with Host(daemon, ESX3, discovery=discovery).log_in() as host:
                for key in ("PingTimeout", "sendAsyncText", "protocol"):
                    expect(key, "NotUnderstood", dict(host.answers)["X-com.cisco." + key])


def test_esx3_discovers_without_an_operational_stage():
    """With nothing to ask for it goes from stage 0 to 3."""
    with Daemon() as daemon, Host(daemon, ESX3, discovery=True) as host:
        response = host.login_step(host.who(), csg=0, nsg=FULL_FEATURE)
        host.finish_login(response)
        expect("targets", 1, len(host.send_targets()))


def test_digest_lists_of_every_generation():
    with Daemon() as daemon:
        for generation in GENERATIONS:
            for offer, wanted in (("CRC32C,None", "CRC32C"), ("None,CRC32C", "None"),
                                  ("CRC32C", "CRC32C")):
                digests = {"HeaderDigest": offer, "DataDigest": offer}
                with Host(daemon, generation).log_in(digests) as host:
                    expect(f"{offer} of {generation}", wanted, host.agreed["HeaderDigest"])
                    host.ready().command(read10(0, 256), read=131072).good()


def test_every_generation_authenticates():
    """Trap 21: ESX secrets have 12 to 16 characters; ESX 4 and later can ask for ours too."""
    daemon = Daemon([])
    secrets = {"user": "esx", "secret_file": daemon.secret("esx.secret", "twelve-chars"),
               "mutual_user": "lab", "mutual_secret_file": daemon.secret("lab.secret",
                                                                         "sixteen-chars-16")}
    daemon.targets = [target(lun(0, size="64M"), chap=secrets)]
    with daemon:
        for generation in GENERATIONS:
            is_mutual = generation.starts_in_security
            with Host(daemon, generation) as host:
                host.log_in_with_chap("esx", "twelve-chars",
                                      ("lab", "sixteen-chars-16") if is_mutual else None)
                host.ready().command(read10(0, 8), read=4096).good()


def test_challenges_do_not_come_back():
    """Trap 21: a challenge out of rand() is the same after every start."""
    daemon = Daemon([])
    daemon.targets = [target(lun(0, size="64M"), chap={
        "user": "esx", "secret_file": daemon.secret("esx.secret", "twelve-chars")})]
    seen = []
    with daemon:
        for _ in range(3):
            for _ in range(5):
                with Host(daemon, GENERATIONS[-1]) as host:
                    host.login_step(host.who() + [("AuthMethod", "CHAP")], csg=0, nsg=OPERATIONAL,
                                    transit=False)
                    keys = host.login_step([("CHAP_A", "5")], csg=0, transit=False).keys
                    seen.append(keys["CHAP_C"])
            daemon.restart()
    expect("different challenges", len(seen), len(set(seen)))


def test_eight_hosts_of_all_generations_share_one_isid():
    with Daemon() as daemon:
        hosts = [Host(daemon, GENERATIONS[n % len(GENERATIONS)], n + 1).log_in() for n in range(8)]
        for host in hosts:
            host.ready()
        for host in hosts:
            host.command(TEST_UNIT_READY).good()
            host.close()


def test_two_paths_of_one_host_are_two_sessions():
    """Port binding: the second session has ISID 00023d000002."""
    with Daemon() as daemon:
        for generation in GENERATIONS[1:]:
            with Host(daemon, generation).log_in() as one, \
                    Host(daemon, generation, isid=0x00023D000002).log_in() as two:
                for host in (one.ready(), two.ready(), one):
                    host.command(TEST_UNIT_READY).good()
