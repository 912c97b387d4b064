"""What must not change, and how changes are told.

VMFS keeps the LUN's identity in its header. When NAA, serial, product or version differ the next
time, the datastore is a "snapshot" and is not mounted. (The LUN's number counts too, for ESX 3; to
keep that is the operator's.)"""

import shutil

from generations import ESX3, ESXI8, GENERATIONS, READ_CAPACITY10, Host
from nestor import IQN, Daemon, Failure, expect, lun, target
from task import TEST_UNIT_READY, inquiry, pattern, read10, report_luns, write10

LUNS_CHANGED, CAPACITY_CHANGED = (6, 0x3F, 0x0E), (6, 0x2A, 0x09)
NO_SUCH_LUN = (5, 0x25, 0)
IDENTITY = (None, 0x80, 0x83)


def identity(host, number):
    """INQUIRY data and the pages that say who this is; of 83h what belongs to the LUN."""
    said = []
    for page in IDENTITY:
        data = bytes(host.command(inquiry(255, page=page), lun=number, read=255).wait().data)
        if page != 0x83:
            said.append(data)
            continue
        at = 4
        while at < len(data):
            end = at + 4 + data[at + 3]
            if data[at + 1] & 0x30 == 0:  # ASSOCIATION: logical unit
                said.append(data[at:end])
            at = end
    return said


def identities(daemon, *numbers, name=IQN):
    with Host(daemon, ESXI8, target=name).log_in() as host:
        return [identity(host, number) for number in numbers]


def luns_of(host):
    data = host.command(report_luns(4096), read=4096).wait().data
    return [int.from_bytes(data[at:at + 2], "big") for at in range(8, len(data), 8)]


def add_lun_4(daemon):
    daemon.ctl("lun", "add", daemon.name, "4", "--path", daemon.image("four.img"), "--size",
               "64M")


def rescan(host):
    """What a rescan does: all unit attentions taken, all LUNs asked; gives their numbers."""
    numbers = luns_of(host)
    host.ready(*numbers)
    for number in numbers:
        host.probe(number)
    return numbers


# What stays


def test_identity_is_the_same_for_every_generation():
    with Daemon() as daemon:
        seen = []
        for number, generation in enumerate(GENERATIONS, 1):
            with Host(daemon, generation, number).log_in() as host:
                seen.append(identity(host, 0))
        for one in seen:
            expect("identity", seen[0], one)


def test_identity_survives_restart_and_kill():
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon:
        before = identities(daemon, 0, 1)
        expect("two LUNs have two identities", False, before[0] == before[1])
        daemon.restart()
        expect("after a restart", before, identities(daemon, 0, 1))
        daemon.kill()
        daemon.start()
        expect("after kill -9", before, identities(daemon, 0, 1))


def test_identity_goes_with_the_image_to_another_number():
    """Others make it of the target's and the LUN's number: then renumbering loses the datastore."""
    with Daemon([target(lun(0, "a.img", size="64M"), lun(1, "b.img", size="64M"))]) as daemon:
        a, b = identities(daemon, 0, 1)
        daemon.targets = [target(lun(5, "a.img", size="64M"), lun(0, "b.img", size="64M"))]
        daemon.restart()
        expect("b.img, a.img", [b, a], identities(daemon, 0, 5))


def test_identity_goes_with_the_image_to_another_target():
    with Daemon() as daemon:
        before = identities(daemon, 0)
        daemon.targets = [target(lun(0, size="64M"), name=IQN + "-renamed")]
        daemon.restart()
        expect("under another name", before, identities(daemon, 0, name=IQN + "-renamed"))


def test_vaai_is_not_taken_from_a_lun_that_had_it():
    """Trap 4: the identity hung on the switch. And an ATS-only volume does not mount without ATS: a
    LUN is rather not served than served with less than hosts know of it."""
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon:
        before = identities(daemon, 0, 1)
        daemon.targets = [target(lun(0, size="64M"), lun(1, size="64M", vaai=False))]
        daemon.restart()
        daemon.wait_log("LUN 1 of " + IQN + " is not served: vaai")
        with Host(daemon, ESXI8).log_in().ready() as host:
            expect("LUNs", [0], luns_of(host))
        daemon.targets = [target(lun(0, size="64M"), lun(1, size="64M"))]
        daemon.restart()
        expect("with what is known again", before, identities(daemon, 0, 1))


def test_identity_survives_growing():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        before = identities(daemon, 0)
        daemon.targets = [target(lun(0, size="128M"))]
        daemon.write_config()
        daemon.ctl("config", "reload")
        expect("after it grew", before, identities(daemon, 0))


def test_same_image_is_not_exported_twice():
    """Trap 23: two LUNs of one file would have two sets of locks."""
    with Daemon() as daemon:
        image = daemon.image()
        (daemon.images / "link.img").symlink_to(image)
        for path in (image, daemon.images / "link.img"):
            done = daemon.ctl("lun", "add", daemon.name, "1", "--path", path, check=False)
            expect(f"exit status for {path.name}", 1, done.returncode)
        with Host(daemon, ESXI8).log_in().ready() as host:
            expect("LUNs", [0], luns_of(host))


def test_copy_of_an_image_with_its_identity_is_not_served_beside_it():
    """Two LUNs of one name are two paths to one disk for a host."""
    with Daemon() as daemon:
        for suffix in ("", ".nestor"):
            shutil.copy(f"{daemon.image()}{suffix}", f"{daemon.image('copy.img')}{suffix}")
        done = daemon.ctl("lun", "add", daemon.name, "1", "--path", daemon.image("copy.img"),
                          check=False)
        expect("exit status", 1, done.returncode)
        with Host(daemon, ESXI8).log_in().ready() as host:
            expect("LUNs", [0], luns_of(host))


# What changes, and how hosts learn of it


def test_added_lun_is_told_and_found_by_a_rescan():
    with Daemon() as daemon:
        hosts = [Host(daemon, g, n).log_in().ready() for n, g in enumerate(GENERATIONS, 1)]
        add_lun_4(daemon)
        for host in hosts:
            expect(f"told to {host.generation}", [LUNS_CHANGED], host.take_attentions())
            expect(f"LUNs of {host.generation}", [0, 4], rescan(host))
            host.close()


def test_removed_lun_is_gone_for_good_and_the_others_stay():
    """05/25/00 is a permanent loss (PDL) to ESXi, so only a removal may say it."""
    with Daemon() as daemon:
        add_lun_4(daemon)
        hosts = [Host(daemon, g, n).log_in().ready(0, 4) for n, g in enumerate(GENERATIONS, 1)]
        daemon.ctl("lun", "remove", daemon.name, "4", "--yes", "--force")
        for host in hosts:
            host.command(read10(0, 8), lun=4, read=4096).refused(*NO_SUCH_LUN)
            expect(f"told to {host.generation}", [LUNS_CHANGED], host.take_attentions())
            expect(f"LUNs of {host.generation}", [0], rescan(host))
            host.command(write10(0, 8), write=pattern(4096)).good()
            host.close()


def test_lun_that_comes_back_is_the_same_one():
    with Daemon() as daemon:
        add_lun_4(daemon)
        before = identities(daemon, 4)
        daemon.ctl("lun", "remove", daemon.name, "4", "--yes", "--force")
        daemon.ctl("lun", "add", daemon.name, "4", "--path", daemon.image("four.img"))
        expect("identity", before, identities(daemon, 4))


def test_grown_lun_is_told_of():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        hosts = [Host(daemon, g, n).log_in().ready() for n, g in enumerate(GENERATIONS, 1)]
        daemon.targets = [target(lun(0, size="128M"))]
        daemon.write_config()
        daemon.ctl("config", "reload")
        for host in hosts:
            expect(f"told to {host.generation}", [CAPACITY_CHANGED], host.take_attentions())
            data = host.command(READ_CAPACITY10, read=8).good()
            expect("the last LBA", (128 << 20) // 512 - 1, int.from_bytes(data[:4], "big"))
            host.close()


def test_daemon_that_stops_only_drops_its_connections():
    """All paths down is not permanent loss: hosts wait and come back. No LUN is said to be gone."""
    with Daemon() as daemon:
        host = Host(daemon, ESXI8).log_in().ready()
        host.command(write10(0, 8), write=pattern(4096, 3)).good()
        daemon.stop()
        for pdu in host.expect_closed():
            if pdu.opcode == 0x21:
                raise Failure(f"a command was answered at the end: {pdu}")
        host.close()
        daemon.start()
        with Host(daemon, ESXI8).log_in().ready() as host:
            host.command(read10(0, 8), read=4096).good(pattern(4096, 3))


def test_hosts_of_every_generation_come_back_after_kill():
    with Daemon() as daemon:
        hosts = [Host(daemon, g, n).log_in().ready() for n, g in enumerate(GENERATIONS, 1)]
        for n, host in enumerate(hosts):
            host.command(write10(n * 8, 8), write=pattern(4096, n)).good()
        daemon.kill()
        for host in hosts:
            host.close()
        daemon.start()
        for n, generation in enumerate(GENERATIONS):
            with Host(daemon, generation, n + 1).log_in().ready() as host:
                host.command(read10(n * 8, 8), read=4096).good(pattern(4096, n))


def test_masked_lun_is_no_lun_for_others():
    only = "iqn.1998-01.com.vmware:esx01-01234567"
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M", initiators=[only]))]) as daemon, \
            Host(daemon, ESX3, 1).log_in().ready() as one, \
            Host(daemon, ESX3, 2).log_in().ready() as two:
        expect("the name", only, one.name)
        expect("LUNs", ([0, 1], [0]), (luns_of(one), luns_of(two)))
        two.command(TEST_UNIT_READY, lun=1).refused(*NO_SUCH_LUN)


def test_session_that_is_dropped_comes_back():
    with Daemon() as daemon:
        host = Host(daemon, ESXI8).log_in().ready()
        daemon.ctl("session", "drop", str(host.tsih), "--yes")
        host.expect_closed()
        with Host(daemon, ESXI8).log_in().ready() as again:
            again.command(TEST_UNIT_READY).good()
