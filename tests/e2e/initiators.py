"""Who knocks and is turned away, and how a person lets it in."""

from initiator import AUTHORIZATION_FAILURE, Initiator, expect_login_refused
from nestor import Daemon, expect, expect_in, lun, must_run, target, tool

LISTED = "iqn.1998-01.com.vmware:esx1"
STRANGER = "iqn.1998-01.com.vmware:esx2"


def listing_target():
    return target(lun(0, size="64M"), initiators=[LISTED])


def log_in(daemon, name, initiator):
    with Initiator(daemon, name=initiator, target=name) as connection:
        connection.login()


def expect_refused(daemon, name, initiator):
    expect_login_refused(AUTHORIZATION_FAILURE, lambda: log_in(daemon, name, initiator))


def initiators(daemon, state):
    rows = daemon.json("initiator", "list")["initiators"]
    return [(row["initiator"], row["target"]) for row in rows if row["state"] == state]


def e2e_refused_initiator_is_listed_accepted_and_logs_in_after_a_restart_too():
    name = "iqn.2026-11.lab.nestor:listed"
    with Daemon() as daemon:
        daemon.ctl("target", "add", name, "--initiators", LISTED)
        expect_refused(daemon, name, STRANGER)
        expect_refused(daemon, name, STRANGER)
        expect("refused", [(STRANGER, name)], initiators(daemon, "refused"))
        expect("tries", 2, daemon.json("initiator", "list", name)["initiators"][0]["tries"])
        expect_in("the table", "its name is not in", daemon.ctl("initiator", "list"))
        daemon.ctl("initiator", "accept", name, STRANGER)
        expect("refused after it was accepted", [], initiators(daemon, "refused"))
        log_in(daemon, name, STRANGER)
        daemon.restart()
        log_in(daemon, name, STRANGER)
        log_in(daemon, name, LISTED)
        expect_refused(daemon, name, STRANGER + "-other")


def e2e_initiator_that_discovers_nothing_is_listed_as_refused():
    with Daemon([listing_target()]) as daemon:
        must_run(tool("iscsi-ls"), "-i", LISTED, daemon.url())
        expect("refused", [], initiators(daemon, "refused"))
        must_run(tool("iscsi-ls"), "-i", STRANGER, daemon.url())
        expect("refused", [(STRANGER, daemon.name)], initiators(daemon, "refused"))


def e2e_initiator_that_sees_some_targets_is_kept_from_others_silently():
    other = target(lun(0, path="other.img", size="64M"), name="iqn.2026-11.lab.nestor:other")
    with Daemon([listing_target(), other]) as daemon:
        expect_in("what it sees", ":other", must_run(tool("iscsi-ls"), "-i", STRANGER, daemon.url()))
        expect("refused", [], initiators(daemon, "refused"))


def e2e_initiator_of_the_config_is_accepted_there():
    with Daemon([listing_target()]) as daemon:
        done = daemon.ctl("initiator", "accept", daemon.name, STRANGER, check=False)
        expect("exit status", 1, done.returncode)
        expect_in("where to change it", "nestor.conf:", done.stderr)
        expect_in("what to add", f'"{STRANGER}"', done.stderr)
        daemon.targets[0]["initiators"].append(STRANGER)
        daemon.write_config()
        daemon.ctl("config", "reload")
        log_in(daemon, daemon.name, STRANGER)


def e2e_initiators_that_are_logged_in_are_listed_with_their_targets():
    with Daemon([listing_target()]) as daemon:
        with Initiator(daemon, name=LISTED) as connection:
            connection.login()
            expect("logged in", [(LISTED, daemon.name)], initiators(daemon, "logged in"))
