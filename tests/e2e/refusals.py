"""What a person may get wrong, and whether the message says what and what to do."""

import os
import socket

from nestor import Daemon, Failure, binary, expect, lun, run, target


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


def e2e_missing_image_folder_is_named():
    refuses(Daemon([target(lun(0, path="/no/such/folder/vmfs0.img", size="64M"))]),
            "/no/such/folder")


def e2e_missing_image_without_a_size_is_named():
    refuses(Daemon([target(lun(0))]), "lun0.img", "size")


def e2e_image_smaller_than_declared_is_named_or_grown():
    """An image that is there with 1 MiB and declared with 64: grown (sparse), never served short."""
    daemon = Daemon()
    daemon.image().write_bytes(b"\xa5" * (1 << 20))
    daemon.write_config()
    daemon.spawn()
    try:
        daemon.wait_ready()
    except Failure:
        if "lun0.img" not in daemon.log():
            raise
        return
    daemon.stop()
    expect("the size of the image", 64 << 20, daemon.image().stat().st_size)
    expect("its first byte", b"\xa5", daemon.image().read_bytes()[:1])


def e2e_image_larger_than_declared_is_never_cut():
    daemon = Daemon()
    daemon.image().write_bytes(b"\xa5" * (65 << 20))
    daemon.write_config()
    daemon.spawn()
    try:
        daemon.wait_ready()
        daemon.stop()
    except Failure:
        if "lun0.img" not in daemon.log():
            raise
    expect("the size of the image", 65 << 20, daemon.image().stat().st_size)


def e2e_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refuses(Daemon(port=port), f"127.0.0.1:{port}", "in use")


def e2e_one_image_as_two_luns_is_refused():
    refuses(Daemon([target(lun(0, path="one.img", size="64M"), lun(1, path="one.img", size="64M"))]),
            "one.img")


def e2e_one_image_as_two_luns_by_a_symbolic_link_is_refused():
    daemon = Daemon([target(lun(0, path="one.img"), lun(1, path="link.img"))])
    daemon.image("one.img").write_bytes(bytes(1 << 20))
    daemon.image("link.img").symlink_to("one.img")
    refuses_one_image(daemon)


def e2e_one_image_as_two_luns_by_a_hard_link_is_refused():
    daemon = Daemon([target(lun(0, path="one.img"), lun(1, path="link.img"))])
    daemon.image("one.img").write_bytes(bytes(1 << 20))
    os.link(daemon.image("one.img"), daemon.image("link.img"))
    refuses_one_image(daemon)


def e2e_one_image_in_two_targets_is_refused():
    other = target(lun(0, path="one.img", size="64M"), name="iqn.2026-11.lab.nestor:other")
    refuses(Daemon([target(lun(0, path="one.img", size="64M")), other]), "one.img")


def refuses_one_image(daemon):
    """Either nestord does not start, or it serves the image once and says so."""
    daemon.write_config()
    daemon.spawn()
    try:
        daemon.wait_ready()
        daemon.stop()
    except Failure:
        pass
    line = [l for l in daemon.log().splitlines() if "link.img" in l or "one.img" in l]
    if not line:
        raise Failure(f"nothing was said of the image:\n{daemon.log()}")
    daemon.expect_no_reports()


def e2e_image_that_another_daemon_serves_is_refused():
    with Daemon() as first:
        second = Daemon([target(lun(0, path=str(first.image())))])
        second.write_config()
        second.spawn()
        try:
            second.wait_ready()
            second.stop()
        except Failure:
            pass
        if "lun0.img" not in second.log():
            raise Failure(f"the second daemon said nothing of the image:\n{second.log()}")


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
    refuses(daemon, "esx.secret", "0600")


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
    if done.returncode in (0, None) or "usage" not in done.stderr.lower():
        raise Failure(f"exit status {done.returncode}: {done.stderr}")


def e2e_version_is_told():
    expect("exit status", 0, run(binary("nestord"), "--version").returncode)
