"""A host whose disk is full: the one write fails with 07/27/07, so that ESX pauses that machine only."""

import ctypes
import os
import subprocess

from nestor import Daemon, Failure, HeldSession, Skip, expect_in, lun, target

CLONE_NEWNS = 0x00020000
MIB = 1 << 20


def small_disk(path, size):
    """A tmpfs of so many bytes, which only this test sees and which goes with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Skip(f"may not make a mount namespace: {os.strerror(ctypes.get_errno())}")
    for command in (["mount", "--make-rprivate", "/"],
                    ["mount", "-t", "tmpfs", "-o", f"size={size}", "nestor-test", path]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip(f"may not mount: {done.stderr.strip()}")


def e2e_full_disk_fails_the_write_and_nothing_else():
    daemon = Daemon([target(lun(0, size="64M"))])
    small_disk(daemon.images, 16 * MIB)
    with daemon:
        session = HeldSession(daemon)
        session.write("0xa5", "0", "1M")
        filler = daemon.images / "filler"
        filler.write_bytes(bytes(12 * MIB))
        said = session.do("write -P 0x5a 8M 8M", "wrote ", "write failed")
        # libiscsi makes ENOSPC of SPACE ALLOCATION FAILED WRITE PROTECT, and of nothing else
        expect_in("the answer to a write that has no room", "No space left on device", said)
        session.expect_read("0xa5", "0", "1M")
        session.write("0x11", "0", "1M")
        filler.unlink()
        session.write("0x5a", "8M", "8M")
        session.expect_read("0x5a", "8M", "8M")
        session.close()
        if not daemon.log().strip():
            raise Failure("the operator was told nothing of a full disk")
