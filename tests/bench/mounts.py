"""File systems of their own, loop-mounted from a sparse file, for what needs one."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1"],
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
}


def run(*command):
    subprocess.run([str(c) for c in command], check=True, capture_output=True, timeout=300)


class Mounted:
    """`kind` is one of MKFS; gives the mount's folder."""

    def __init__(self, kind, place, image_bytes):
        self.folder = Path(tempfile.mkdtemp(prefix="nestor-bench-mount-", dir=place))
        self.kind, self.image_bytes = kind, image_bytes
        self.image, self.mount = self.folder / "fs", self.folder / "mount"

    def __enter__(self):
        try:
            run("truncate", "-s", self.image_bytes, self.image)
            run(*MKFS[self.kind], self.image)
            self.mount.mkdir()
            run("mount", "-o", "loop", self.image, self.mount)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self.mount

    def __exit__(self, *_):
        run("umount", self.mount)
        self.image.unlink()
        self.mount.rmdir()
        self.folder.rmdir()


def why_not(kind):
    """Why such a mount cannot be made here; None when it can."""
    if os.geteuid() != 0:
        return "loop mounts need root"
    if not shutil.which(MKFS[kind][0]):
        return f"{MKFS[kind][0]} is not installed"
    try:
        with Mounted(kind, None, "512M"):
            return None
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        return f"loop mounts are refused: {said.decode(errors='replace').strip() or error}"
