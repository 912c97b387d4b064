"""What nestord does most, for some seconds, so that a compiler can count (scripts/build-release)."""

import tempfile
from pathlib import Path

import rig
from rig import Nestor, lun, target

SECONDS = "0.5"
WAYS = [
    "--rw write --bs 1m --qd 4",  # first, so that what is read has been written
    "--rw randread --bs 4k --qd 1",
    "--rw randread --bs 4k --qd 32",
    "--rw randread --bs 4k --qd 128",
    "--rw randwrite --bs 4k --qd 32",
    "--rw mixed --bs 4k --qd 16 --sessions 8",
    "--rw mixed --bs 64k --qd 4 --sessions 4 --digest both",
    "--rw read --bs 128k --qd 16",
    "--rw write --bs 128k --qd 16",
    "--rw randwrite --bs 512k --qd 4 --no-immediate --first-burst 64k --segment 64k",
    "--rw read --bs 1m --qd 8",
    "--rw ats --sessions 2 --locks 2",
]


def main():
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    # an image in memory is reached by other calls than one on a disk
    for where in memory, None:
        with tempfile.TemporaryDirectory(prefix="nestor-train-", dir=where) as folder:
            with Nestor([target(lun(0, size="64M"))], folder) as nestor:
                for way in WAYS:
                    rig.load(nestor, *way.split(), "--warmup", "0", "--secs", SECONDS)


if __name__ == "__main__":
    main()
