"""Hosts that share a volume as VMFS does, while hosts crash, connections break and the daemon dies.

ATS and reservations are one promise: what a host was told holds for all hosts. See cluster.c for
what the hosts do and history.py for the proof."""

from cluster_hosts import run_cluster
from history import DIFFERS, DONE, MAYBE, NOT_DONE, History, Held, Read, Write
from nestor import Failure, expect, limit


def run_and_note(**options):
    history, summary = run_cluster(**options)
    print(f"note: {summary}")
    return history


def expect_happened(history, *names):
    """A run in which nothing went on shows nothing."""
    for name in names:
        if not history.counts[name]:
            raise Failure(f"no {name} in the whole run: {dict(history.counts)}")


@limit(150)
def e2e_four_hosts_share_a_volume_by_ats():
    history = run_and_note(hosts=4, seconds=40)
    expect_happened(history, "blocks replaced", "found changed", "counted", "metadata updates",
                    "crashes", "connections lost", "fences")


@limit(150)
def e2e_four_hosts_share_a_volume_by_reservations():
    """ESX 3 and 4."""
    history = run_and_note(hosts=4, seconds=25, reserve=True)
    expect_happened(history, "blocks replaced", "counted", "metadata updates",
                    "reservation conflicts", "crashes", "connections lost", "fences")


# The checker itself: one that finds nothing would prove nothing.


def faults_of(*writes, reads=(), held=(), chained=True):
    history = History()
    history.writes[7], history.reads[7] = list(writes), list(reads)
    if chained:
        history.chained.add(7)
    history.held[0] = list(held)
    return history.check()


def expect_fault(part, faults):
    if not any(part in f for f in faults):
        raise Failure(f"expected a fault with {part!r}, came {faults}")


def test_checker_accepts_a_chain():
    expect("faults", [], faults_of(Write(0, 5, DONE, 0, 1, 0), Write(6, 9, DONE, 1, 2, 1),
                                   Write(6, 9, DIFFERS, 0, 3, 0), reads=[Read(7, 20, 2, 0)]))


def test_checker_accepts_a_cut_off_write_either_way():
    cut_off = Write(6, 20, MAYBE, 1, 2, 0)
    first = Write(0, 5, DONE, 0, 1, 0)
    for seen in (1, 2):
        expect("faults", [], faults_of(first, cut_off, reads=[Read(21, 22, seen, 0)]))


def test_checker_sees_two_winners():
    """Trap 1: a COMPARE AND WRITE that is a plain write."""
    expect_fault("lost update", faults_of(Write(0, 5, DONE, 0, 1, 0), Write(1, 6, DONE, 0, 2, 1)))


def test_checker_sees_a_lost_write():
    lost = {"reads": [Read(6, 7, 0, 1)]}
    expect_fault("was still there", faults_of(Write(0, 5, DONE, 0, 1, 0), **lost))
    expect_fault("was still there", faults_of(Write(0, 5, DONE, None, 1, 0), **lost, chained=False))


def test_checker_sees_a_read_that_goes_back():
    expect_fault("host 0 read 2", faults_of(Write(0, 5, DONE, 0, 1, 0), Write(6, 20, DONE, 1, 2, 1),
                                            reads=[Read(7, 8, 2, 0), Read(9, 10, 1, 1)]))


def test_checker_sees_a_cut_off_write_that_lands_after_the_next_login():
    expect_fault("was still there",
                 faults_of(Write(0, 5, MAYBE, None, 1, 0), Write(6, 9, DONE, None, 2, 0),
                           reads=[Read(10, 11, 1, 0)], chained=False))


def test_checker_sees_a_write_that_was_refused():
    expect_fault("refused", faults_of(Write(0, 5, NOT_DONE, 0, 1, 0), reads=[Read(6, 7, 1, 1)]))
    expect_fault("refused", faults_of(Write(0, 5, DIFFERS, 0, 1, 0), reads=[Read(6, 7, 1, 1)]))


def test_checker_sees_a_false_miscompare():
    """What hosts on ESXi 5.5 U2 lost their datastores by."""
    expect_fault("all the time", faults_of(Write(0, 5, DONE, 0, 1, 0),
                                           Write(6, 9, DIFFERS, 1, 2, 0)))
    expect_fault("all the time", faults_of(Write(6, 9, DIFFERS, 0, 2, 0)))


def test_checker_sees_an_id_that_nobody_wrote():
    for chained in (True, False):
        expect_fault("nobody wrote", faults_of(reads=[Read(0, 5, 9, 0)], chained=chained))


def test_checker_sees_a_lock_held_twice():
    expect_fault("lock 0", faults_of(held=[Held(0, 10, 0), Held(9, 12, 1)]))
