"""What a person may get wrong, and whether the message says what and what to do."""

import os
import socket

from nestor import Daemon, Failure, binary, expect, expect_in, iscsi_ls, lun, run, target


def refuses(daemon, *words):
    """nestord ends with an error, and one line of it holds all the words (in any case)."""
    daemon.write_config()
    daemon.spawn()
    status = daemon.process.wait(20)
    said = daemon.log()
    if status == 0:
        raise Failure(f"it ended with status 0:\n{said}")
    if status < 0:
        raise Failure(f"it was ended by signal {-status}:\n{said}")
    if not any(all(w.lower() in line.lower() for w in words) for line in said.splitlines()):
        raise Failure(f"no line of the message holds {words}:\n{said}")
    if len(said.splitlines()) > 4:
        raise Failure(f"one mistake, {len(said.splitlines())} lines:\n{said}")
    daemon.expect_no_reports()


def leaves_out(daemon, number, line, *words):
    """nestord serves without that LUN; one line of its log and one of its status hold all the words."""
    daemon.start()
    for said, wanted in ((daemon.log(), (f"nestor.conf:{line}", *words)), (daemon.ctl("status"), words)):
        if not any(all(w.lower() in row.lower() for w in wanted) for row in said.splitlines()):
            raise Failure(f"no line holds {wanted}:\n{said}")
    if f"Lun:{number} " in iscsi_ls(daemon, "-s"):
        raise Failure(f"LUN {number} is listed")
    daemon.stop()


def checked(daemon):
    """nestord -t on the same config: its exit status."""
    return run(binary("nestord"), "-t", "-c", daemon.config_path,
               env={"ASAN_OPTIONS": "", "LSAN_OPTIONS": ""}).returncode


def e2e_config_that_is_right_passes_the_check():
    daemon = Daemon()
    daemon.write_config()
    expect("exit status of nestord -t", 0, checked(daemon))


def e2e_unknown_key_is_named_with_its_line():
    daemon = Daemon(wokers=2)
    refuses(daemon, "nestor.conf:5", "wokers")
    if checked(daemon) == 0:
        raise Failure("nestord -t took an unknown key")


def e2e_unknown_key_of_a_lun_is_named():
    refuses(Daemon([target(lun(0, size="64M", raedonly=True))]), "nestor.conf:", "raedonly")


def e2e_wrong_type_is_named_with_what_was_expected():
    refuses(Daemon(max_sessions="many"), "nestor.conf:", "max_sessions", "number")


def e2e_size_that_is_none_is_named():
    refuses(Daemon([target(lun(0, size="64X"))]), "nestor.conf:", "size", "64X")


def e2e_syntax_error_is_named_with_its_line():
    refuses(Daemon(config_text="portals = [ \"127.0.0.1:1\" ];\ntargets = (;\n"), "nestor.conf:2")


def e2e_missing_config_file_is_named():
    daemon = Daemon()
    daemon.config_path = daemon.dir / "no-such.conf"
    daemon.write_config = lambda: None
    refuses(daemon, "no-such.conf", "no such file")


def e2e_missing_image_folder_is_named_and_the_rest_is_served():
    daemon = Daemon([target(lun(0, size="64M"), lun(1, path="/no/such/folder/one.img", size="64M"))])
    leaves_out(daemon, 1, 11, "/no/such/folder", "mkdir")


def e2e_missing_image_without_a_size_is_named_and_the_rest_is_served():
    leaves_out(Daemon([target(lun(0, size="64M"), lun(1))]), 1, 11, "lun1.img")


def e2e_image_smaller_than_declared_is_left_out_and_not_touched():
    daemon = Daemon([target(lun(0, size="64M"), lun(1, size="64M"))])
    daemon.image("lun1.img").write_bytes(b"\xa5" * (1 << 20))
    leaves_out(daemon, 1, 11, "lun1.img", "1048576", "67108864", "truncate -s 67108864")
    expect("the image", b"\xa5" * (1 << 20), daemon.image("lun1.img").read_bytes())


def e2e_image_larger_than_declared_is_never_cut():
    daemon = Daemon()
    daemon.image().write_bytes(b"\xa5" * (65 << 20))
    with daemon:
        if not daemon.log().count("lun0.img") and "lun0.img" not in daemon.ctl("lun", "list"):
            raise Failure(f"nothing tells of the image:\n{daemon.log()}")
    expect("the size of the image", 65 << 20, daemon.image().stat().st_size)


def e2e_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refuses(Daemon(port=port), f"127.0.0.1:{port}", "in use")


ONE_IMAGE = ("two LUNs with one image", "LUN 0")


def e2e_one_image_as_two_luns_is_refused():
    luns = [lun(n, path="one.img", size="64M") for n in (0, 1)]
    refuses(Daemon([target(*luns)]), "nestor.conf:13", *ONE_IMAGE)


def e2e_one_image_as_two_luns_by_a_symbolic_link_is_refused():
    daemon = Daemon([target(lun(0, path="one.img"), lun(1, path="link.img"))])
    daemon.image("one.img").write_bytes(bytes(1 << 20))
    daemon.image("link.img").symlink_to("one.img")
    refuses(daemon, *ONE_IMAGE)


def e2e_one_image_as_two_luns_by_a_hard_link_is_refused():
    daemon = Daemon([target(lun(0, path="one.img"), lun(1, path="link.img"))])
    daemon.image("one.img").write_bytes(bytes(1 << 20))
    os.link(daemon.image("one.img"), daemon.image("link.img"))
    refuses(daemon, *ONE_IMAGE)


def e2e_one_image_in_two_targets_is_refused():
    other = target(lun(0, path="one.img", size="64M"), name="iqn.2026-11.lab.nestor:other")
    refuses(Daemon([target(lun(0, path="one.img", size="64M")), other]), *ONE_IMAGE)


def e2e_one_image_is_not_added_twice_at_run_time():
    with Daemon() as daemon:
        os.link(daemon.image(), daemon.image("link.img"))
        for path in (daemon.image(), daemon.image("link.img")):
            done = daemon.ctl("lun", "add", daemon.name, "1", "--path", path, check=False)
            expect("exit status", 1, done.returncode)
            expect_in("the other LUN", "LUN 0", done.stderr)


def e2e_image_that_another_daemon_serves_is_left_out():
    with Daemon() as first:
        luns = [lun(0, path="own.img", size="64M"), lun(1, path=str(first.image()))]
        leaves_out(Daemon([target(*luns)]), 1, 11, "lun0.img", "another")


def e2e_two_targets_of_one_name_are_refused():
    refuses(Daemon([target(lun(0, path="a.img", size="1M")), target(lun(0, path="b.img", size="1M"))]),
            "iqn.2026-11.lab.nestor:test")


def e2e_two_luns_of_one_number_are_refused():
    refuses(Daemon([target(lun(0, path="a.img", size="1M"), lun(0, path="b.img", size="1M"))]), "lun")


def e2e_name_that_is_no_iscsi_name_is_refused():
    refuses(Daemon([target(lun(0, size="64M"), name="vmfs")]), "vmfs", "iqn.")


def e2e_secret_that_others_can_read_is_refused():
    daemon = Daemon()
    secret = daemon.secret("esx.secret", "esx-secret-0123")
    secret.chmod(0o644)
    daemon.targets[0]["chap"] = {"user": "esx", "secret_file": str(secret)}
    refuses(daemon, "esx.secret", "0644", "chmod 600")


def e2e_secret_file_that_is_missing_is_named():
    daemon = Daemon()
    daemon.targets[0]["chap"] = {"user": "esx", "secret_file": str(daemon.dir / "no.secret")}
    refuses(daemon, "no.secret")


def e2e_sample_config_is_a_config():
    """nestord --print-config gives a file that nestord -t takes, once its folders are there."""
    daemon = Daemon()
    text = run(binary("nestord"), "--print-config")
    expect("exit status", 0, text.returncode)
    daemon.config_path.write_text(text.stdout)
    done = run(binary("nestord"), "-t", "-c", daemon.config_path)
    wrong = [l for l in done.stderr.splitlines() if "unknown" in l or "syntax" in l or "type" in l]
    if wrong:
        raise Failure("\n".join(wrong))


def e2e_unknown_option_is_explained():
    done = run(binary("nestord"), "--frobnicate")
    if done.returncode in (0, None) or "--help" not in done.stderr:
        raise Failure(f"exit status {done.returncode}: {done.stderr}")


def e2e_version_is_told():
    expect("exit status", 0, run(binary("nestord"), "--version").returncode)
