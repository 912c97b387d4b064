"""kill -9: what was acknowledged is there after a restart (docs/durability.md)."""

import os
import re
import time

from nestor import (Daemon, Failure, expect, finish, iscsi_ls, limit, lun, must_run, target, tool,
                    verify_io, wait_until)


def kill_and_restart_while_writing(daemon, times=4):
    """verify_io writes throughout, and checks every block that was acknowledged before each kill."""
    client = verify_io(daemon, seconds=6, sessions=4, megabytes=32, reconnect=30)
    for _ in range(times):
        began = time.time()
        # it is written for half a second, so that many writes are in flight
        wait_until(lambda: os.stat(daemon.image()).st_mtime > began + 0.5 or client.poll() is not None,
                   "writes that reach the image", 20)
        daemon.kill()
        daemon.start()
    said = finish(client, 90)
    if re.search(r" 0 reconnects", said):
        raise Failure(f"nothing was cut off, so nothing was shown: {said}")
    print(f"note: {said.strip()}")


@limit(120)
def test_acknowledged_writes_survive_kill_9_in_writeback():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        kill_and_restart_while_writing(daemon)


@limit(120)
def test_acknowledged_writes_survive_kill_9_in_writethrough():
    with Daemon([target(lun(0, size="64M", cache="writethrough"))]) as daemon:
        kill_and_restart_while_writing(daemon)


@limit(120)
def test_acknowledged_writes_survive_kill_9_with_the_thread_engine():
    with Daemon([target(lun(0, size="64M"))], engine="threads") as daemon:
        kill_and_restart_while_writing(daemon)


@limit(90)
def test_sigterm_while_writing_loses_nothing():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        client = verify_io(daemon, seconds=5, sessions=4, megabytes=32, reconnect=30)
        began = time.time()
        wait_until(lambda: os.stat(daemon.image()).st_mtime > began + 0.5, "writes", 20)
        daemon.restart()
        finish(client, 60)


def listed_luns(daemon):
    return re.findall(r"Lun:(\d+)\s+Type:DIRECT_ACCESS", iscsi_ls(daemon, "-s"))


def test_lun_added_at_run_time_survives_kill_9():
    with Daemon() as daemon:
        daemon.ctl("lun", "add", daemon.name, "7", "--path", daemon.image("seven.img"), "--size", "64M")
        daemon.kill()
        daemon.start()
        expect("LUNs after the restart", ["0", "7"], listed_luns(daemon))


def test_lun_removed_at_run_time_stays_away_after_kill_9():
    with Daemon() as daemon:
        daemon.ctl("lun", "add", daemon.name, "7", "--path", daemon.image("seven.img"), "--size", "64M")
        daemon.ctl("lun", "remove", daemon.name, "7", "--yes")
        daemon.kill()
        daemon.start()
        expect("LUNs after the restart", ["0"], listed_luns(daemon))


def test_identity_of_a_lun_survives_kill_9():
    """A LUN whose identity changes is a snapshot to ESX, and its datastore is gone."""
    with Daemon() as daemon:
        def identity():
            return [must_run(tool("iscsi-inq"), "-e", "1", "-c", page, daemon.url(0))
                    for page in ("0x80", "0x83")]

        before = identity()
        daemon.kill()
        daemon.start()
        expect("VPD pages 80h and 83h", before, identity())
