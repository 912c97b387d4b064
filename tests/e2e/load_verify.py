"""The load generator of tests/bench finds nothing wrong with nestord, and does find what is wrong.

Its figures are of no interest here, only that the ways in which it reads and writes hold.
"""

from nestor import Daemon, Failure, binary, expect, expect_in, limit, lun, run, target

MIB = 1 << 20
FLIPPED_AT = 5000  # in the tenth sector of the first block of 8 KiB


def load(daemon, *options):
    """Runs it; the finished process."""
    return run(binary("load"), "--portal", daemon.address, "--target", daemon.name, "--secs", "0.5",
               "--warmup", "0.1", *options)


def must_verify(daemon, *options):
    done = load(daemon, "--verify", *options)
    if done.returncode != 0 or " verified" not in done.stdout or "; 0 blocks" in done.stdout:
        raise Failure(f"load {' '.join(options)}: exit status {done.returncode}\n"
                      f"{done.stdout}{done.stderr}")


@limit(60)
def e2e_load_verifies_what_it_wrote_in_every_way_of_transfer():
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon:
        must_verify(daemon, "--rw", "mixed", "--sessions", "3", "--lun", "0-1", "--span", "4m")
        must_verify(daemon, "--rw", "mixed", "--digest", "both", "--sessions", "2", "--span", "4m")
        # solicited data, in bursts of several PDUs
        must_verify(daemon, "--rw", "randwrite", "--bs", "512k", "--qd", "4", "--no-immediate",
                    "--first-burst", "64k", "--max-burst", "128k", "--segment", "32k")


@limit(60)
def e2e_load_verifies_what_was_not_copied():
    for block, depth, segment in ("64k", "16", "64k"), ("256k", "8", "256k"), ("1m", "8", "128k"):
        with Daemon([target(lun(0, size="64M"))], sendfile=True) as daemon:
            must_verify(daemon, "--rw", "mixed", "--bs", block, "--qd", depth, "--sessions", "2",
                        "--segment", segment)


@limit(60)
def e2e_load_tells_a_block_that_changed_behind_its_back():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        must_verify(daemon, "--rw", "write", "--bs", "8k", "--span", "4m")
        must_verify(daemon, "--rw", "read", "--bs", "8k", "--span", "4m")
        with open(daemon.image(), "r+b") as image:
            image.seek(FLIPPED_AT)
            byte = image.read(1)[0]
            image.seek(FLIPPED_AT)
            image.write(bytes([byte ^ 1]))
        done = load(daemon, "--verify", "--rw", "read", "--bs", "8k", "--span", "4m")
        expect("exit status", 3, done.returncode)
        expect_in("what it said", f"LUN 0, byte {FLIPPED_AT // 512 * 512}: ", done.stderr)


@limit(60)
def e2e_load_hosts_count_lock_blocks_up_together():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        for locks in "1", "4":
            done = load(daemon, "--rw", "ats", "--sessions", "4", "--locks", locks)
            expect(f"exit status with {locks} locks; it said {done.stderr}", 0, done.returncode)
