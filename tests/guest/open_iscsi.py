"""Linux's own initiator: the kernel's iscsi_tcp with open-iscsi, in an emulated guest."""

import os

from disks import Frozen, small_ext4, unmount
from guest import HOST, Guest, enter_network
from nestor import Daemon, Failure, expect, expect_in, limit, lun, target, wait_until

MIB = 1 << 20
KEYS = ("0x1111", "0x2222")


def discover(guest, daemon):
    return guest.run(f"iscsiadm -m discovery -t sendtargets -p {daemon.address}")


def change(guest, *settings):
    """In its records of what it has discovered."""
    for name, value in settings:
        guest.run(f"iscsiadm -m node -o update -n {name} -v {value}")


def log_in(guest):
    guest.run("iscsiadm -m node --login", seconds=60)


def disk(guest, number):
    """/dev/sdX of a LUN, once the kernel has it."""
    found = guest.run(f"for i in $(seq 50); do ls -d /sys/class/scsi_disk/*:{number}/device/block/*"
                      " 2>/dev/null && break; sleep 0.1; done")
    if not found:
        raise Failure(f"LUN {number} did not become a disk:\n{guest.run('dmesg | tail -20')}")
    return f"/dev/{os.path.basename(found.strip())}"


def digest(guest, path, megabytes):
    """Of what stands on the disk, past the guest's cache."""
    return guest.run(f"dd if={path} bs=1M count={megabytes} iflag=direct status=none | sha256sum",
                     seconds=60)


def make_pattern(guest, megabytes):
    """/tmp/pattern, which does not repeat; its digest."""
    guest.run(f"dd if=/dev/urandom of=/tmp/pattern bs=1M count={megabytes} status=none")
    return guest.run("sha256sum </tmp/pattern")


@limit(120)
def test_guest_keeps_a_file_system_on_a_lun():
    enter_network()
    with Daemon([target(lun(0, size="64M"), lun(7, size="128M"))], host=HOST) as daemon, \
            Guest() as guest:
        expect("what discovery finds", f"{daemon.address},1 {daemon.name}\n", discover(guest, daemon))
        log_in(guest)
        expect("blocks of LUN 7", "262144\n",
               guest.run(f"cat /sys/block/{disk(guest, 7)[5:]}/size"))
        pattern = make_pattern(guest, 24)
        guest.run(f"mke2fs -F {disk(guest, 0)} && mount {disk(guest, 0)} /mnt")
        guest.run("cp /tmp/pattern /mnt/file && umount /mnt", seconds=60)
        guest.run("iscsiadm -m node --logout && iscsiadm -m node --login")
        guest.run(f"mount {disk(guest, 0)} /mnt")
        expect("digest of the file", pattern, guest.run("sha256sum </mnt/file"))

        held = daemon.image().stat().st_blocks * 512
        if held < 24 * MIB:
            raise Failure(f"a file of 24 MiB stands in {held} bytes of the image")
        guest.run("rm /mnt/file && sync && fstrim /mnt && umount /mnt")  # UNMAP
        left = daemon.image().stat().st_blocks * 512
        if left > held - 20 * MIB:
            raise Failure(f"after fstrim the image has {left} of {held} bytes")


@limit(180)
def test_guest_writes_on_while_the_daemon_is_killed():
    enter_network()
    with Daemon([target(lun(0, size="64M"))], host=HOST) as daemon, Guest() as guest:
        discover(guest, daemon)
        log_in(guest)
        path, pattern = disk(guest, 0), make_pattern(guest, 48)
        guest.run(f"(dd if=/tmp/pattern of={path} bs=64k oflag=direct status=none; echo $? >/tmp/dd) &")
        for share in (8, 24):
            wait_until(lambda: daemon.image().stat().st_blocks * 512 >= share * MIB,
                       f"{share} MiB to be written", 60)
            daemon.kill()
            daemon.start()
        guest.run("while [ ! -s /tmp/dd ]; do sleep 0.2; done", seconds=120)
        expect("exit status of dd", "0\n", guest.run("cat /tmp/dd"))
        expect("digest of the disk", pattern, digest(guest, path, 48))


@limit(180)
def test_guest_works_on_while_the_disk_of_one_lun_hangs():
    """The kernel aborts, resets the unit, and never has to give up the session with its other LUN."""
    enter_network()
    daemon = Daemon([target(lun(0, size="16M"), lun(1, size="16M"))], host=HOST)
    daemon.targets[0]["luns"][0]["path"] = str(daemon.dir / "works.img")
    small_ext4(daemon.images, 64 * MIB)
    try:
        with daemon, Guest() as guest:
            discover(guest, daemon)
            log_in(guest)
            works, hangs, pattern = disk(guest, 0), disk(guest, 1), make_pattern(guest, 4)
            for path in works, hangs:
                guest.run(f"echo 3 >/sys/block/{path[5:]}/device/timeout")
            with Frozen(daemon.images):
                guest.run(f"(dd if=/tmp/pattern of={hangs} bs=4k oflag=direct status=none;"
                          " echo $? >/tmp/dd) &")
                for said in "ABORT TASK", "LOGICAL UNIT RESET":
                    wait_until(lambda: said in daemon.log(), said, 30)
                    guest.run(f"dd if=/tmp/pattern of={works} bs=64k oflag=direct status=none")
                    expect("digest of the disk that works", pattern, digest(guest, works, 4))
            guest.run("while [ ! -s /tmp/dd ]; do sleep 0.2; done", seconds=60)
            expect("exit status of dd", "0\n", guest.run("cat /tmp/dd"))
            expect("digest of the disk that hung", pattern, digest(guest, hangs, 4))
            expect("sessions that ended", 1, daemon.log().count("session ended"))  # discovery's
    finally:
        unmount(daemon.images)


@limit(120)
def test_guest_sees_luns_grow_come_and_go():
    enter_network()
    with Daemon([target(lun(0, size="64M"))], host=HOST) as daemon, Guest() as guest:
        discover(guest, daemon)
        log_in(guest)
        daemon.ctl("lun", "add", daemon.name, "3", "--path", daemon.image("three.img"), "--size", "32M")
        daemon.ctl("lun", "resize", daemon.name, "3", "48M")
        guest.run("iscsiadm -m session -R")
        path = disk(guest, 3)
        expect("blocks of a LUN that came", "98304\n", guest.run(f"cat /sys/block/{path[5:]}/size"))
        daemon.ctl("lun", "resize", daemon.name, "3", "80M")
        guest.run("iscsiadm -m session -R")
        expect("blocks of a LUN that grew", "163840\n", guest.run(f"cat /sys/block/{path[5:]}/size"))
        pattern = make_pattern(guest, 8)
        guest.run(f"dd if=/tmp/pattern of={path} bs=1M oflag=direct status=none")
        expect("digest of the disk", pattern, digest(guest, path, 8))
        daemon.ctl("lun", "remove", daemon.name, "3", "--force", "--yes")
        status, said = guest.status(f"dd if={path} of=/dev/null bs=4k count=1 iflag=direct")
        expect("exit status of a read from a LUN that is gone", 1, status)
        expect_in("what it said", "error", said)
        guest.run(f"dd if={disk(guest, 0)} of=/dev/null bs=4k count=1 iflag=direct status=none")


@limit(120)
def test_guest_logs_in_by_chap_both_ways_and_with_digests():
    enter_network()
    daemon = Daemon(host=HOST)
    secrets = {"user": "guest", "secret_file": daemon.secret("in", "initiators-secret"),
               "mutual_user": "nestor", "mutual_secret_file": daemon.secret("out", "targets-own-secret")}
    daemon.targets = [target(lun(0, size="64M"), chap=secrets)]
    with daemon, Guest() as guest:
        discover(guest, daemon)
        auth = "node.session.auth."
        change(guest, (auth + "authmethod", "CHAP"), (auth + "username", "guest"),
               (auth + "password", "another-secret-x"))
        status, _ = guest.status("iscsiadm -m node --login", seconds=60)
        expect("exit status of a login with a wrong secret", 24, status)  # ISCSI_ERR_LOGIN_AUTH_FAILED
        change(guest, (auth + "password", "initiators-secret"), (auth + "username_in", "nestor"),
               (auth + "password_in", "targets-own-secret"),
               ("node.conn[0].iscsi.HeaderDigest", "CRC32C"),
               ("node.conn[0].iscsi.DataDigest", "CRC32C"))
        log_in(guest)
        session = guest.run("iscsiadm -m session -P 2")
        expect_in("the session", "HeaderDigest: CRC32C", session)
        expect_in("the session", "DataDigest: CRC32C", session)
        path, pattern = disk(guest, 0), make_pattern(guest, 16)
        guest.run(f"dd if=/tmp/pattern of={path} bs=256k oflag=direct status=none", seconds=60)
        expect("digest of the disk", pattern, digest(guest, path, 16))


@limit(180)
def test_guests_share_a_lun_by_persistent_reservations():
    enter_network()
    with Daemon([target(lun(0, size="64M"))], host=HOST) as daemon, Guest(2) as one, \
            Guest(3, "iqn.2026-11.lab.nestor:other") as other:
        for guest, key in zip((one, other), KEYS):
            discover(guest, daemon)
            log_in(guest)
            guest.run(f"sg_persist --out --register --param-sark={key} {disk(guest, 0)}")
        mine, theirs = disk(one, 0), disk(other, 0)
        one.run(f"sg_persist --out --reserve --param-rk={KEYS[0]} --prout-type=1 {mine}")
        one.run(f"dd if=/dev/zero of={mine} bs=4k count=1 oflag=direct status=none")
        status, _ = other.status(f"dd if=/dev/zero of={theirs} bs=4k count=1 oflag=direct")
        expect("exit status of a write of who is kept out", 1, status)
        other.run(f"sg_persist --out --preempt --param-rk={KEYS[1]} --param-sark={KEYS[0]} "
                  f"--prout-type=1 {theirs}")
        other.run(f"dd if=/dev/zero of={theirs} bs=4k count=1 oflag=direct status=none")
        status, _ = one.status(f"dd if=/dev/zero of={mine} bs=4k count=1 oflag=direct")
        expect("exit status of a write of who was preempted", 1, status)
        other.run(f"sg_reset -d {theirs} && sg_reset -t {theirs}")
        expect_in("who is registered after the resets", KEYS[1],
                  other.run(f"sg_turs {theirs}; sg_persist --read-keys {theirs}"))
