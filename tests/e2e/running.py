"""What nestorctl changes while an initiator is logged in, and what that initiator sees of it."""

import json
import os
import re
import socket
import time
from pathlib import Path

from nestor import (Daemon, Failure, HeldSession, binary, expect, expect_in, finish, iscsi_ls, lun,
                    must_run, run, target, tool, verify_io, wait_until)

GIB = 1 << 30


def listed_luns(daemon):
    return re.findall(r"Lun:(\d+)\s+Type:DIRECT_ACCESS", iscsi_ls(daemon, "-s"))


def last_lba(daemon, number):
    said = must_run(tool("iscsi-readcapacity16"), daemon.url(number))
    return int(re.search(r"RETURNED LOGICAL BLOCK ADDRESS:(\d+)", said).group(1))


def e2e_lun_added_at_run_time_is_usable_and_disturbs_nobody():
    with Daemon() as daemon:
        session = HeldSession(daemon)
        session.write("0xa5")
        daemon.ctl("lun", "add", daemon.name, "3", "--path", daemon.image("three.img"),
                   "--size", "1G")
        session.expect_read("0xa5")
        expect("LUNs", ["0", "3"], listed_luns(daemon))
        added = HeldSession(daemon, 3)
        added.write("0x5a", "512M")
        added.expect_read("0x5a", "512M")
        added.close()
        session.close()


def add_lun(daemon, number, size):
    daemon.ctl("lun", "add", daemon.name, str(number), "--path", daemon.image(f"added{number}.img"),
               "--size", size)


def e2e_lun_grows_while_a_session_uses_it():
    with Daemon() as daemon:
        add_lun(daemon, 1, "1G")
        session = HeldSession(daemon, 1)
        session.write("0xa5", "1023M")
        daemon.ctl("lun", "resize", daemon.name, "1", "2G")
        session.expect_read("0xa5", "1023M")
        expect("the last LBA", 2 * GIB // 512 - 1, last_lba(daemon, 1))
        other = HeldSession(daemon, 1)
        other.write("0x5a", "2047M")
        other.expect_read("0xa5", "1023M")
        other.close()
        session.close()
        daemon.restart()
        expect("the last LBA after a restart", 2 * GIB // 512 - 1, last_lba(daemon, 1))


def e2e_lun_grows_by_the_config_and_a_reload():
    with Daemon([target(lun(0, size="1G"))]) as daemon:
        session = HeldSession(daemon)
        session.write("0xa5", "1023M")
        daemon.targets = [target(lun(0, size="2G"))]
        daemon.write_config()
        daemon.ctl("config", "reload")
        expect("the last LBA", 2 * GIB // 512 - 1, last_lba(daemon, 0))
        session.expect_read("0xa5", "1023M")
        session.close()


def e2e_lun_of_the_config_is_changed_there():
    with Daemon([target(lun(0, size="1G"))]) as daemon:
        for verb in (["resize", daemon.name, "0", "2G"], ["remove", daemon.name, "0", "--yes"]):
            done = daemon.ctl("lun", *verb, check=False)
            expect("exit status", 1, done.returncode)
            expect_in("where to change it", "nestor.conf:7", done.stderr)
            expect_in("what to do then", "config reload", done.stderr)


def e2e_lun_does_not_shrink():
    with Daemon() as daemon:
        add_lun(daemon, 1, "1G")
        done = daemon.ctl("lun", "resize", daemon.name, "1", "512M", check=False)
        expect("exit status", 1, done.returncode)
        expect("the last LBA", GIB // 512 - 1, last_lba(daemon, 1))


def e2e_lun_in_use_is_removed_only_with_force():
    with Daemon() as daemon:
        add_lun(daemon, 1, "64M")
        kept, removed = HeldSession(daemon, 0), HeldSession(daemon, 1)
        kept.write("0xa5")
        removed.write("0x5a")
        done = daemon.ctl("lun", "remove", daemon.name, "1", "--yes", check=False)
        expect("exit status without --force", 1, done.returncode)
        expect_in("what to do", "--force", done.stderr + done.stdout)
        removed.expect_read("0x5a")
        daemon.ctl("lun", "remove", daemon.name, "1", "--yes", "--force")
        said = removed.do("read 0 4k", "read ")
        if "failed" not in said:
            raise Failure(f"a removed LUN was read: {said}")
        kept.expect_read("0xa5")
        expect("LUNs", ["0"], listed_luns(daemon))
        if not daemon.image("added1.img").exists():
            raise Failure("the image of a removed LUN was deleted")
        kept.close()


def e2e_removal_without_yes_is_refused_off_a_terminal():
    with Daemon() as daemon:
        done = daemon.ctl("lun", "remove", daemon.name, "0", check=False)
        if done.returncode not in (1, 2):
            raise Failure(f"exit status {done.returncode}: {done.stdout}{done.stderr}")
        expect_in("what to do", "--yes", done.stderr)
        expect("LUNs", ["0"], listed_luns(daemon))


def e2e_status_and_lists_tell_of_targets_luns_and_sessions():
    with Daemon([target(lun(0, size="64M"), lun(1, size="1G"))]) as daemon:
        session = HeldSession(daemon)
        for noun in (["status"], ["target", "list"], ["lun", "list"], ["session", "list"], ["stats"]):
            if not daemon.ctl(*noun).strip():
                raise Failure(f"nestorctl {' '.join(noun)} says nothing")
            json.loads(daemon.ctl("--json", *noun))
        expect_in("lun list", "lun1.img", daemon.ctl("lun", "list"))
        expect_in("session list", "127.0.0.1", daemon.ctl("session", "list"))
        session.close()


def e2e_metrics_are_text_for_prometheus():
    sample = re.compile(r'(nestor_[a-z_]+)(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? \d+')
    with Daemon() as daemon:
        session = HeldSession(daemon)
        session.write("0xa5")
        said = daemon.ctl("metrics")
        described = None
        for line in said.splitlines():
            if line.startswith("# TYPE "):
                described = line.split()[2]
            elif not line.startswith("# HELP "):
                found = sample.fullmatch(line)
                if not found or found.group(1) != described:
                    raise Failure(f"not a sample of {described}: {line}")
        labels = f'{{target="{daemon.name}",lun="0"}}'
        expect_in("bytes", f"nestor_lun_written_bytes_total{labels} {1 << 20}\n", said)
        expect_in("size", f"nestor_lun_size_bytes{labels} {64 << 20}\n", said)
        expect_in("sessions", f'nestor_target_sessions{{target="{daemon.name}"}} 1\n', said)
        expect_in("the session", f'nestor_session_written_bytes_total{{target="{daemon.name}",'
                  'initiator="iqn.', said)
        session.close()


def e2e_host_check_needs_no_daemon():
    done = run(binary("nestorctl"), "--socket", "/nonexistent", "host", "check")
    expect("exit status", 0, done.returncode)
    for generation in ("3.0, 3.5", "4.0, 4.1", "5.0 to 6.5", "6.7, 7", "8"):
        expect_in("the table", f"\n{generation} ", done.stdout)


def e2e_howto_tells_the_acceleration_that_the_luns_have():
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M", vaai=False))]) as daemon:
        said = daemon.ctl("esx", "howto", daemon.name, "--esx", "5+")
        expect_in("what is accelerated", "# LUN 0: ATS, Clone, Zero, Delete; LUN 1: nothing", said)
        expect_in("the port", "the lines below ask at port 3260",
                  daemon.ctl("esx", "howto", daemon.name, "--esx", "3"))


def e2e_dropped_session_comes_back():
    with Daemon() as daemon:
        session = HeldSession(daemon)
        session.write("0xa5")
        number = daemon.json("session", "list")["sessions"][0]["tsih"]
        daemon.ctl("session", "drop", str(number), "--yes")
        session.expect_read("0xa5")
        session.close()


def e2e_reload_changes_only_what_changed():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        session = HeldSession(daemon)
        session.write("0xa5")
        daemon.targets[0]["luns"].append(lun(4, size="64M"))
        daemon.write_config()
        expect_in("the plan", "4", daemon.ctl("config", "plan"))
        daemon.ctl("config", "reload")
        session.expect_read("0xa5")
        expect("LUNs", ["0", "4"], listed_luns(daemon))
        session.close()


def e2e_broken_config_is_not_taken_by_a_reload():
    with Daemon() as daemon:
        daemon.config_path.write_text("targets = ( { nmae = 1; } );\n")
        done = daemon.ctl("config", "reload", check=False)
        expect("exit status", 1, done.returncode)
        expect_in("the key", "nmae", done.stderr + done.stdout)
        expect("LUNs", ["0"], listed_luns(daemon))


def e2e_target_added_and_removed_at_run_time():
    name = "iqn.2026-11.lab.nestor:new"
    with Daemon() as daemon:
        daemon.ctl("target", "add", name)
        daemon.ctl("lun", "add", name, "0", "--path", daemon.image("new.img"), "--size", "64M")
        expect_in("discovery", name, iscsi_ls(daemon))
        daemon.restart()
        expect_in("discovery after a restart", name, iscsi_ls(daemon))
        daemon.ctl("target", "remove", name, "--yes", "--force")
        if name in iscsi_ls(daemon):
            raise Failure("a removed target is still discovered")


def e2e_nestorctl_says_when_there_is_no_daemon():
    with Daemon() as daemon:
        daemon.stop()
        done = daemon.ctl("status", check=False)
        expect("exit status", 3, done.returncode)
        expect_in("the socket", "admin.sock", done.stderr)
        daemon.start()


def e2e_nestorctl_explains_usage_with_status_2():
    with Daemon() as daemon:
        expect("exit status", 2, daemon.ctl("lun", "frobnicate", check=False).returncode)
        expect_in("help", "lun", daemon.ctl("help"))


def e2e_mask_hides_a_lun_from_others():
    rows = [lun(0, size="64M"), lun(1, size="64M", initiators=["iqn.2026-11.lab.nestor:one"])]
    with Daemon([target(*rows)]) as daemon:
        def luns_of(initiator):
            said = iscsi_ls(daemon, "-i", initiator, "-s")
            return re.findall(r"Lun:(\d+)\s+Type:DIRECT_ACCESS", said)

        expect("for the one", ["0", "1"], luns_of("iqn.2026-11.lab.nestor:one"))
        expect("for another", ["0"], luns_of("iqn.2026-11.lab.nestor:two"))


def e2e_initiator_that_is_not_listed_is_refused():
    with Daemon([target(lun(0, size="64M"), initiators=["iqn.2026-11.lab.nestor:one"])]) as daemon:
        inquiry = [tool("iscsi-inq"), "-i"]
        expect("the one", 0, run(*inquiry, "iqn.2026-11.lab.nestor:one", daemon.url(0)).returncode)
        if run(*inquiry, "iqn.2026-11.lab.nestor:two", daemon.url(0)).returncode == 0:
            raise Failure("another initiator was let in")
        daemon.wait_log("iqn.2026-11.lab.nestor:two")


def e2e_readiness_is_told_to_systemd():
    daemon = Daemon()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(daemon.dir / "notify.sock"))
        notify.setblocking(False)
        daemon.env["NOTIFY_SOCKET"] = str(daemon.dir / "notify.sock")
        told = []

        def is_told(word):
            try:
                told.append(notify.recv(4096).decode())
            except BlockingIOError:
                pass
            return any(word in t for t in told)

        with daemon:
            wait_until(lambda: is_told("READY=1"), "READY=1")


def forget_cached(path):
    """The next read of this file comes from its disk, where the file system has one."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def cpu_ticks(pid):
    """proc(5): utime and stime, counted from behind the name."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def e2e_daemon_that_polls_serves_data_and_sleeps_when_idle():
    window_s, busy_ticks = 0.5, 5  # one thread that polled on would take some 50

    with Daemon(busy_poll_us=10000) as daemon:
        def is_asleep():
            before = cpu_ticks(daemon.pid)
            time.sleep(window_s)  # what is measured, not waited for
            return cpu_ticks(daemon.pid) - before < busy_ticks

        session = HeldSession(daemon)
        session.write("0xa5", "48M")
        finish(verify_io(daemon, seconds=1, sessions=3), 30)
        forget_cached(daemon.image())
        session.expect_read("0xa5", "48M")
        wait_until(is_asleep, "nestord to sleep while nobody asks for anything")
        session.expect_read("0xa5", "48M")
        session.close()
