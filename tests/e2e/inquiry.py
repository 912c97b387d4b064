"""INQUIRY data that a reload changes: hosts that stay logged in are told, and nobody else."""

from initiator import GOOD, TEST_UNIT_READY, inquiry, session
from nestor import Daemon, expect, expect_in, lun, must_run, target, tool

INQUIRY_CHANGED = (0x06, 0x3F, 0x03)
SERIAL_NUMBER, DEVICE_IDENTIFICATION, CHARACTERISTICS = 0x80, 0x83, 0xB1


def told_once(session, number, sense):
    session.command(TEST_UNIT_READY, lun=number).refused(*sense)
    session.command(TEST_UNIT_READY, lun=number).good()


def data_of(session, page=None):
    task = session.command(inquiry(page=page), read=255)
    expect("status of INQUIRY", GOOD, task.status)
    return bytes(task.data)


def identity_of(session):
    return [data_of(session, page) for page in (None, SERIAL_NUMBER, DEVICE_IDENTIFICATION)]


def e2e_another_rotation_is_told_to_hosts_that_stay_logged_in():
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon, \
            session(daemon, name="iqn.1998-01.com.vmware:esx1") as one, \
            session(daemon, name="iqn.1998-01.com.vmware:esx2") as two:
        for host in (one, two):
            for number in (0, 1):
                host.clear_unit_attention(number)
        was = identity_of(one)
        daemon.targets[0]["luns"][0]["rotation"] = 7200
        daemon.write_config()
        expect_in("the plan", "rotation changes; its hosts are told", daemon.ctl("config", "plan"))
        daemon.ctl("config", "reload")
        for host in (one, two):
            told_once(host, 0, INQUIRY_CHANGED)
            host.command(TEST_UNIT_READY, lun=1).good()
            page = data_of(host, CHARACTERISTICS)
            expect("MEDIUM ROTATION RATE", 7200, int.from_bytes(page[4:6], "big"))
        expect("who it is", was, identity_of(one))
        expect_in("what libiscsi's client reads", "7200",
                  must_run(tool("iscsi-inq"), "-e", "1", "-c", str(CHARACTERISTICS), daemon.url(0)))
        daemon.ctl("config", "reload")  # nothing new
        one.command(TEST_UNIT_READY).good()


def e2e_port_groups_are_told_to_hosts_that_stay_logged_in():
    report_groups = bytes([0xA3, 0x0A, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0])
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon, session(daemon) as host:
        for number in (0, 1):
            host.clear_unit_attention(number)
        host.command(report_groups, read=16).refused(0x05, 0x20, 0x00)
        daemon.targets[0]["alua"] = True
        daemon.write_config()
        expect_in("the plan", "alua changes; its hosts are told", daemon.ctl("config", "plan"))
        daemon.ctl("config", "reload")
        for number in (0, 1):
            told_once(host, number, INQUIRY_CHANGED)
            data = host.command(inquiry(), lun=number, read=255).data
            expect("TPGS", 0x10, data[5] & 0x30)
            host.command(report_groups, lun=number, read=16).good()
