"""File systems that a test has for itself: one that fills up, and one that stops answering."""

import ctypes
import os
import subprocess

from nestor import Skip, tool

CLONE_NEWNS = 0x00020000
FROZEN_SECONDS_MAX = 30


def small_ext4(path, size):
    """An ext4 of so many bytes in a file, mounted where only this test sees it."""
    libc = ctypes.CDLL(None, use_errno=True)
    image = path.parent / "ext4.img"
    with open(image, "wb") as file:
        file.truncate(size)
    made = subprocess.run([tool("mkfs.ext4"), "-q", "-F", "-m", "0", image], capture_output=True,
                          text=True)
    if made.returncode != 0:
        raise Skip(f"may not make a file system: {made.stderr.strip()}")
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Skip(f"may not make a mount namespace: {os.strerror(ctypes.get_errno())}")
    for command in (["mount", "--make-rprivate", "/"], ["mount", "-o", "loop", image, path]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip(f"may not mount: {done.stderr.strip()}")


def unmount(path):
    subprocess.run(["umount", "-l", path], check=False)


class Frozen:
    """A frozen file system: who writes to it sleeps. Thawed in the end by us, or else by a watcher
    that outlives us."""

    def __init__(self, mount):
        self.mount = str(mount)

    def __enter__(self):
        # its standard input ends when we do
        self.watcher = subprocess.Popen(
            ["sh", "-c", f'timeout {FROZEN_SECONDS_MAX} cat >/dev/null; fsfreeze -u "$1" 2>/dev/null',
             "sh", self.mount], stdin=subprocess.PIPE, start_new_session=True)
        subprocess.run([tool("fsfreeze"), "-f", self.mount], check=True, timeout=20)
        return self

    def thaw(self):
        self.__exit__()

    def __exit__(self, *_):
        self.watcher.stdin.close()
        self.watcher.wait(FROZEN_SECONDS_MAX + 10)
