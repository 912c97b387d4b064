"""How hosts keep out of each other's way, and how they break what a dead one held.

Reservations for ESX 3 and 4, COMPARE AND WRITE ("ATS") from ESXi 5 on; both while others work.
cluster.py shows the same under load; here it is one step after the other."""

from generations import ESX3, ESX4, ESXI5, ESXI8, GENERATIONS, Host
from initiator import ABORT_TASK, LUN_RESET, TARGET_WARM_RESET
from nestor import Daemon, Failure, expect, lun, target, wait_until
from task import (RELEASE6, RESERVE6, TEST_UNIT_READY, Task, inquiry, pattern, read10, report_luns,
                  write10)

COMPLETE = 0
MISCOMPARE = (0xE, 0x1D, 0)
TWO_LUNS = [target(lun(0, size="64M"), lun(1, size="64M"))]
WITH_ATS = [g for g in GENERATIONS if g.has_ats]
REQUEST_SENSE = b"\x03\0\0\0\x12\0"


def compare_and_write(lba, blocks, protect=0):
    return bytes([0x89, protect]) + lba.to_bytes(8, "big") + b"\0\0\0" + bytes([blocks, 0, 0])


def ats(host, lba, old, new, lun=0):
    return host.command(compare_and_write(lba, len(old) // 512), lun=lun, write=old + new)


def two_hosts(daemon, generation):
    return [Host(daemon, generation, n).log_in().ready(0, 1) for n in (1, 2)]


def expect_attention(host, *wanted, lun=0):
    came = host.take_attentions(lun)
    if len(came) != 1 or came[0] not in wanted:
        raise Failure(f"expected one unit attention of {wanted}, came {came}")


# What making a datastore sends


def test_every_generation_can_make_a_datastore():
    """RESERVE is asked for by all of them, ESXi 6.7 included; without it nothing is formatted."""
    with Daemon() as daemon:
        for number, generation in enumerate(GENERATIONS, 1):
            with Host(daemon, generation, number).log_in().ready() as host:
                host.command(RESERVE6).good()
                host.command(write10(0, 8), write=pattern(4096, number)).good()
                host.command(write10(2048, 2048), write=pattern(1 << 20, number)).good()
                host.command(read10(2048, 2048), read=1 << 20).good(pattern(1 << 20, number))
                host.command(RELEASE6).good()
                host.command(read10(0, 8), read=4096).good(pattern(4096, number))


# Reservations


def test_the_owner_of_a_reservation_works_and_the_others_wait():
    """Trap 2: the ownership test turned round, and a RELEASE that releases nothing."""
    with Daemon(TWO_LUNS) as daemon:
        for generation in GENERATIONS:
            owner, other = two_hosts(daemon, generation)
            owner.command(RESERVE6).good()
            owner.command(write10(0, 8), write=pattern(4096)).good()
            owner.command(read10(0, 8), read=4096).good(pattern(4096))
            other.command(read10(0, 8), read=4096).conflicts()
            other.command(write10(0, 8), write=bytes(4096)).conflicts()
            other.command(RESERVE6).conflicts()
            other.command(TEST_UNIT_READY).conflicts()
            other.command(RELEASE6).good()  # not its own: nothing happens
            other.command(TEST_UNIT_READY).conflicts()
            other.command(inquiry(36), read=36).good()
            other.command(report_luns(24), read=24).good()
            other.command(REQUEST_SENSE, read=18).good()
            other.command(read10(0, 8), lun=1, read=4096).good()  # another LUN is free
            owner.command(RELEASE6).good()
            other.command(RESERVE6).good()
            owner.command(TEST_UNIT_READY).conflicts()
            other.command(RELEASE6).good()
            owner.command(read10(0, 8), read=4096).good(pattern(4096))
            owner.close()
            other.close()


def test_a_reservation_of_a_host_that_is_gone_is_free():
    with Daemon(TWO_LUNS) as daemon:
        for generation in GENERATIONS:
            owner, other = two_hosts(daemon, generation)
            owner.command(RESERVE6).good()
            other.command(TEST_UNIT_READY).conflicts()
            owner.reset()
            wait_until(lambda h=other: h.command(TEST_UNIT_READY).status == 0, "the LUN to be free")
            other.close()


def test_a_reset_breaks_the_hold_and_everybody_is_told():
    """Trap 3: resets that say "complete" and do nothing, and "clearing silently is Russian roulette
    with your data". ESX 3 knows only the warm reset, of the whole target."""
    with Daemon(TWO_LUNS) as daemon:
        for generation in GENERATIONS:
            owner, other = two_hosts(daemon, generation)
            owner.command(RESERVE6).good()
            other.command(TEST_UNIT_READY).conflicts()
            expect(f"response to {generation}", COMPLETE, other.tmf(generation.reset))
            is_warm = generation.reset == TARGET_WARM_RESET
            wanted = [(6, 0x29, q) for q in ((0, 2) if is_warm else (0, 3))]
            expect_attention(owner, *wanted)
            expect("the hold of the one who is reset", 0, owner.command(RELEASE6).status)
            if other.take_attentions() not in ([], [wanted[0]], [wanted[1]]):
                raise Failure("the asking host has other unit attentions")
            if is_warm:
                expect_attention(owner, *wanted, lun=1)
            else:
                expect("unit attentions of the other LUN", [], owner.take_attentions(1))
            other.command(RESERVE6).good()
            owner.command(TEST_UNIT_READY).conflicts()
            other.command(RELEASE6).good()  # or the next two may come before nestord sees it gone
            owner.close()
            other.close()


def test_a_write_that_comes_after_the_reset_meets_the_unit_attention():
    """The fenced host's late write must not land on the new owner's: that is what the UA is for."""
    with Daemon(TWO_LUNS) as daemon:
        for generation in GENERATIONS:
            fenced, other = two_hosts(daemon, generation)
            other.command(write10(0, 8), write=pattern(4096, 1)).good()
            expect("response", COMPLETE, other.tmf(generation.reset))
            fenced.command(write10(0, 8), write=pattern(4096, 2)).refused(6, 0x29)
            other.take_attentions()
            other.command(read10(0, 8), read=4096).good(pattern(4096, 1))
            fenced.close()
            other.close()


def test_all_resets_and_aborts_are_done():
    """Trap 3, what others answer "not supported"; ESX ends the connection when one fails."""
    with Daemon(TWO_LUNS) as daemon, Host(daemon, ESX3).log_in().ready(0, 1) as host:
        for function in (1, 2, 4, LUN_RESET, TARGET_WARM_RESET):
            expect(f"function {function}", COMPLETE, host.tmf(function, rtt=0x7777, ref_cmd_sn=1))
            host.ready(0, 1)


def test_abort_of_a_finished_task_is_complete_for_every_generation():
    """Trap 11: "task does not exist" makes ESX consider the target crazy."""
    with Daemon() as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in().ready() as host:
                task = host.command(read10(0, 8), read=4096)
                for _ in range(3):
                    expect(f"response to {generation}", COMPLETE,
                           host.tmf(ABORT_TASK, rtt=task.itt, ref_cmd_sn=task.cmd_sn))


# ATS


def test_ats_has_one_winner():
    """Traps 1 and 4: never GOOD without a compare; the loser gets 0E/1D/00."""
    with Daemon(TWO_LUNS) as daemon:
        for generation in WITH_ATS:
            one, two = two_hosts(daemon, generation)
            free, mine, yours = pattern(512, 1), pattern(512, 2), pattern(512, 3)
            one.command(write10(100, 1), write=free).good()
            ats(one, 100, free, mine).good()
            ats(two, 100, free, yours).refused(*MISCOMPARE)
            two.command(read10(100, 1), read=512).good(mine)
            ats(two, 100, mine, yours).good()
            ats(one, 100, mine, free).refused(*MISCOMPARE)
            one.command(read10(100, 1), read=512).good(yours)
            one.close()
            two.close()


def test_miscompare_names_the_first_byte_that_differs():
    """Trap 4: INFORMATION was one byte there. Offsets of every size."""
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        there = pattern(8 * 512, 5)
        host.command(write10(0, 8), write=there).good()
        for offset in (0, 1, 255, 256, 511, 512, 513, 2048, 4095):
            wrong = bytearray(there)
            wrong[offset] ^= 0x80
            task = ats(host, 0, bytes(wrong), bytes(4096)).refused(*MISCOMPARE)
            expect("VALID and fixed format", 0xF0, task.sense[0])
            information = int.from_bytes(task.sense[3:7], "big")
            expect(f"INFORMATION for offset {offset}", offset, information)
            host.command(read10(0, 8), read=4096).good(there)


def test_ats_of_every_length_up_to_its_limit():
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        most = host.command(inquiry(255, page=0xB0), read=255).wait().data[5]
        for blocks in sorted({1, 2, 8, most - 1, most}):
            old, new = pattern(blocks * 512, blocks), pattern(blocks * 512, 1000 + blocks)
            host.command(write10(0, blocks), write=old).good()
            ats(host, 0, old, new).good()
            host.command(read10(0, blocks), read=len(new)).good(new)
        if most < 255:
            blocks = most + 1
            ats(host, 0, bytes(blocks * 512), bytes(blocks * 512)).refused(5, 0x24, 0)
        host.command(compare_and_write(0, 0)).good()


def test_ats_is_not_done_twice_by_one_that_was_cut_off():
    """A host that comes back asks again for what it may have done: then it finds its own image, and
    no third one. The false miscompare of ESXi 5.5 U2 began like that."""
    with Daemon() as daemon:
        old = bytes(512)
        for n in range(1, 20):
            new = pattern(512, n)
            with Host(daemon, ESXI5).log_in().ready() as host:
                host.submit(compare_and_write(0, 1), write=old + new)
                host.reset()
            with Host(daemon, ESXI5).log_in().ready() as host:
                there = bytes(host.command(read10(0, 1), read=512).good())
                expect("the old image or the new one", True, there in (old, new))
                ats(host, 0, there, new).good()
                host.command(read10(0, 1), read=512).good(new)
            old = new


def test_half_an_ats_is_none():
    """The connection ends in the middle of its data."""
    with Daemon() as daemon, Host(daemon, ESXI8, 2).log_in().ready() as other:
        for size in (48, 48 + 512, 48 + 1023):
            with Host(daemon, ESXI8).log_in().ready() as host:
                whole = make_ats(host, bytes(512), pattern(512, 9))
                host.send_bytes(whole[:size])
                host.reset()
            other.command(read10(0, 1), read=512).good(bytes(512))


def make_ats(host, old, new):
    """The bytes of a COMPARE AND WRITE of block 0 on this connection."""
    task = Task(host, compare_and_write(0, 1), write=old + new)
    return b"".join(host.wire(pdu) for pdu in task.pdus())


def test_ats_waits_for_nobodys_reservation():
    with Daemon(TWO_LUNS) as daemon:
        for generation in WITH_ATS:
            owner, other = two_hosts(daemon, generation)
            owner.command(write10(0, 1), write=bytes(512)).good()
            owner.command(RESERVE6).good()
            ats(other, 0, bytes(512), pattern(512, 1)).conflicts()
            ats(owner, 0, bytes(512), pattern(512, 2)).good()
            owner.command(RELEASE6).good()
            ats(other, 0, pattern(512, 2), pattern(512, 3)).good()
            owner.close()
            other.close()


def test_a_lost_race_is_no_error_in_the_log():
    """ESX loses races all day: it is how locks work."""
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        before = daemon.log()
        for _ in range(20):
            ats(host, 0, pattern(512, 7), bytes(512)).refused(*MISCOMPARE)
        expect("what the log says of it", "", daemon.log()[len(before):])


def test_hosts_of_all_generations_share_one_lun():
    """ESX 3 reserves, ESXi 8 compares: what one holds the other sees."""
    with Daemon() as daemon, Host(daemon, ESX3, 1).log_in().ready() as old, \
            Host(daemon, ESXI8, 2).log_in().ready() as new, \
            Host(daemon, ESX4, 3).log_in().ready() as middle:
        old.command(RESERVE6).good()
        ats(new, 0, bytes(512), pattern(512, 1)).conflicts()
        old.command(write10(0, 1), write=pattern(512, 2)).good()
        old.command(RELEASE6).good()
        ats(new, 0, pattern(512, 2), pattern(512, 3)).good()
        middle.command(read10(0, 1), read=512).good(pattern(512, 3))


def test_every_host_has_reservations_of_its_own_under_one_isid():
    with Daemon() as daemon:
        hosts = [Host(daemon, ESX3, n).log_in().ready() for n in range(1, 9)]
        for host in hosts:
            host.command(RESERVE6).good()
            for other in hosts:
                if other is not host:
                    other.command(TEST_UNIT_READY).conflicts()
            host.command(RELEASE6).good()
        for host in hosts:
            host.close()
