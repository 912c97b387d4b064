#!/usr/bin/env python3
"""How fast hosts take locks: COMPARE AND WRITEs a second, of one host and of eight.

BUILD names a release build. Fails when the sum of what was counted is wrong, not when it is slow.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.dont_write_bytecode = True

from nestor import Daemon, binary, lun, must_run, target  # noqa: E402


def main():
    for cache in ("writeback", "writethrough"):
        with Daemon([target(lun(0, size="64M", cache=cache))]) as daemon:
            print(f"ATS, one command in flight a host, {cache}:")
            print(must_run(binary("ats"), daemon.host, daemon.port, daemon.name), end="")


if __name__ == "__main__":
    main()
