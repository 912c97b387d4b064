"""What an initiator writes is what it reads back, and what is in the image, over every way in."""

import filecmp
import os
import re

from nestor import (Daemon, Failure, Skip, expect, expect_in, finish, has_ipv6, iscsi_ls, limit, lun,
                    must_run, qemu_image, run, target, tool, verify_io)

MIB = 1 << 20
IMAGE_BYTES = 64 * MIB


def random_image(daemon):
    path = daemon.dir / "random.img"
    path.write_bytes(os.urandom(IMAGE_BYTES))
    return path


def round_trip(daemon, **options):
    """A random image to LUN 0, compared over iSCSI, and with the file underneath."""
    source = random_image(daemon)
    there = qemu_image(daemon, 0, **options)
    must_run(tool("qemu-img"), "convert", "-n", "-f", "raw", "--target-image-opts", source, there,
             seconds=120)
    must_run(tool("qemu-img"), "compare", "--image-opts", f"driver=raw,file.filename={source}", there,
             seconds=120)
    if not filecmp.cmp(source, daemon.image(), shallow=False):
        raise Failure("the image differs from what was written")


def with_chap(daemon, mutual=False):
    rows = {"user": "esx", "secret_file": str(daemon.secret("esx.secret", "esx-secret-0123"))}
    if mutual:
        rows |= {"mutual_user": "lab",
                 "mutual_secret_file": str(daemon.secret("lab.secret", "lab-secret-4567"))}
    daemon.targets[0]["chap"] = rows
    return daemon


def e2e_iscsi_ls_lists_both_luns():
    with Daemon([target(lun(0, size="64M"), lun(1, size="1G"))]) as daemon:
        said = iscsi_ls(daemon, "-s")
        expect_in("the target", daemon.name, said)
        expect("LUNs that are disks", ["0", "1"], re.findall(r"Lun:(\d+)\s+Type:DIRECT_ACCESS", said))


def e2e_targets_are_discovered_each_with_its_luns():
    other = "iqn.2026-11.lab.nestor:other"
    with Daemon([target(lun(0, size="64M")), target(lun(5, size="64M"), name=other)]) as daemon:
        said = iscsi_ls(daemon, "-s")
        expect_in("the second target", f"Target:{other}", said)
        luns = re.findall(r"Target:(\S+) .*\nLun:(\d+)\s+Type:DIRECT_ACCESS", said)
        expect("targets and LUNs", {(daemon.name, "0"), (other, "5")}, set(luns))


@limit(120)
def e2e_image_written_over_iscsi_is_the_file_byte_for_byte():
    with Daemon([target(lun(0, size=IMAGE_BYTES))]) as daemon:
        round_trip(daemon)


@limit(120)
def e2e_image_is_the_same_with_header_digest():
    with Daemon([target(lun(0, size=IMAGE_BYTES))]) as daemon:
        round_trip(daemon, header_digest="crc32c")


@limit(120)
def e2e_image_is_the_same_over_ipv6():
    if not has_ipv6():
        raise Skip("this machine has no IPv6 on its loopback")
    with Daemon([target(lun(0, size=IMAGE_BYTES))], host="::1") as daemon:
        round_trip(daemon)


@limit(120)
def e2e_image_is_the_same_with_the_thread_engine():
    with Daemon([target(lun(0, size=IMAGE_BYTES))], engine="threads") as daemon:
        round_trip(daemon)


@limit(120)
def e2e_image_is_the_same_with_one_worker():
    with Daemon([target(lun(0, size=IMAGE_BYTES))], workers=1) as daemon:
        round_trip(daemon)


@limit(180)
def e2e_image_is_the_same_in_writethrough():
    with Daemon([target(lun(0, size=IMAGE_BYTES, cache="writethrough"))]) as daemon:
        round_trip(daemon)


@limit(120)
def e2e_image_is_the_same_with_chap():
    with with_chap(Daemon([target(lun(0, size=IMAGE_BYTES))])) as daemon:
        url = daemon.url(0, user="esx", password="esx-secret-0123")
        source = random_image(daemon)
        must_run(tool("qemu-img"), "convert", "-n", "-f", "raw", "-O", "raw", source, url)
        must_run(tool("qemu-img"), "compare", "-f", "raw", "-F", "raw", source, url)
        if not filecmp.cmp(source, daemon.image(), shallow=False):
            raise Failure("the image differs from what was written")


def e2e_blocks_are_the_same_with_mutual_chap():
    with with_chap(Daemon(), mutual=True) as daemon:
        client = verify_io(daemon, seconds=2, user="esx", password="esx-secret-0123",
                           target_user="lab", target_password="lab-secret-4567")
        finish(client, 30)


def e2e_blocks_are_the_same_with_header_digest_and_mutual_chap():
    with with_chap(Daemon(), mutual=True) as daemon:
        client = verify_io(daemon, seconds=2, user="esx", password="esx-secret-0123",
                           target_user="lab", target_password="lab-secret-4567",
                           header_digest="crc32c")
        finish(client, 30)


def inquiry(daemon, **login):
    return run(tool("iscsi-inq"), daemon.url(0, **login))


def e2e_chap_refuses_a_wrong_secret_and_says_who_it_was():
    with with_chap(Daemon()) as daemon:
        done = inquiry(daemon, user="esx", password="not-the-secret-1")
        if done.returncode == 0:
            raise Failure("a wrong secret was let in")
        daemon.wait_log("iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-inq")
        if "not-the-secret" in daemon.log() or "esx-secret" in daemon.log():
            raise Failure(f"a secret is in the log:\n{daemon.log()}")
        expect("with the right one", 0,
               inquiry(daemon, user="esx", password="esx-secret-0123").returncode)


def e2e_chap_refuses_an_initiator_without_one():
    with with_chap(Daemon()) as daemon:
        if inquiry(daemon).returncode == 0:
            raise Failure("nobody asked for a secret")


def e2e_initiator_refuses_the_target_when_its_mutual_secret_is_another():
    with with_chap(Daemon(), mutual=True) as daemon:
        login = {"user": "esx", "password": "esx-secret-0123", "target_user": "lab"}
        expect("the right secret", 0,
               inquiry(daemon, **login, target_password="lab-secret-4567").returncode)
        if inquiry(daemon, **login, target_password="another-secret-1").returncode == 0:
            raise Failure("the initiator took a wrong answer for right")


def e2e_readonly_lun_reads_and_refuses_writes():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        daemon.image().write_bytes(b"\xa5" * MIB + bytes(IMAGE_BYTES - MIB))
        daemon.stop()
        daemon.targets = [target(lun(0, readonly=True))]
        daemon.start()
        url = daemon.url(0)
        must_run(tool("qemu-io"), "-r", "-f", "raw", "-c", "read -P 0xa5 0 1M", url)
        if run(tool("qemu-io"), "-f", "raw", "-c", "write -P 1 0 1M", url).returncode == 0:
            raise Failure("a read-only LUN was written")
        expect("its first byte", b"\xa5", daemon.image().read_bytes()[:1])
