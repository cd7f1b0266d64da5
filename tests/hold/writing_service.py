"""A service of a source host, which its owner's hook stops and starts: it writes numbers to a disk.

    python writing_service.py LEDGER TOLD LOCK

Each number is on stable storage in LEDGER before TOLD says it, as an acknowledgement to a client would. It
holds a lock on LOCK as long as it lives, and writes its process id there.
"""

import fcntl
import os
import sys
import time
from pathlib import Path


def main(ledger: Path, told: Path, lock: Path) -> None:
    """Write on and on."""
    holder = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    os.ftruncate(holder, 0)
    os.pwrite(holder, str(os.getpid()).encode(), 0)
    number = max((int(line) for line in ledger.read_text().split()), default=0) if ledger.exists() else 0
    with ledger.open("a") as out:
        while True:
            number += 1
            out.write(f"{number}\n")
            out.flush()
            os.fsync(out.fileno())
            told.write_text(str(number))
            time.sleep(0.02)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
