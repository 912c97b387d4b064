"""scripts/demo does what it says."""

import os
import socket

from nestor import BUILD, ROOT, Failure, expect_in, free_port, limit, must_run, run


def demo(*more):
    folder = os.path.join(os.environ["TEST_DIR"], "demo")
    return [ROOT / "scripts/demo", "--once", "--no-install", "--build", BUILD, *more, folder]


@limit(120)
def e2e_demo_shows_every_step_and_ends():
    said = must_run(*demo("--port", free_port()), seconds=110)
    expect_in("the last step", "The session on LUN 0 read its data after each step.", said)


def e2e_demo_says_what_to_do_when_the_port_is_taken():
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(*demo("--port", port))
    if done.returncode == 0 or str(port) not in done.stderr or "--port" not in done.stderr:
        raise Failure(f"exit status {done.returncode}: {done.stderr}")
