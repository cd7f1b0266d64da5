"""Programs that write to a filesystem for as long as they live, each in its own way. Run as a script."""

import mmap
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

BLOCK = 4096
MIB = 1 << 20


def files(folder: Path) -> None:
    """Files come, grow, are renamed and go."""
    source, number = random.Random(1), 0
    while True:
        path = folder / f"file-{number % 200}"
        path.with_suffix(".new").write_bytes(source.randbytes(source.randrange(1, 300_000)))
        path.with_suffix(".new").rename(path)
        if number % 7 == 0:
            (folder / f"file-{source.randrange(200)}").unlink(missing_ok=True)
        number += 1
        time.sleep(0.01)


def mapped(folder: Path) -> None:
    """Single bytes of a mapped file change."""
    source, path = random.Random(2), folder / "mapped"
    with path.open("w+b") as file:
        file.truncate(16 * MIB)
        with mmap.mmap(file.fileno(), 16 * MIB) as memory:
            while True:
                memory[source.randrange(16 * MIB)] = source.randrange(256)
                time.sleep(0.002)


def direct(folder: Path) -> None:
    """Blocks of a file change past the page cache."""
    source = random.Random(3)
    path = folder / "direct"
    path.write_bytes(bytes(8 * MIB))
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, BLOCK)
    while True:
        buffer[:] = source.randbytes(BLOCK)
        os.pwrite(fd, buffer, source.randrange(8 * MIB // BLOCK) * BLOCK)
        time.sleep(0.005)


def ledger(folder: Path) -> None:
    """A database whose every row is on stable storage when its number is told."""
    database = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY, text TEXT)")
    number = 0
    while True:
        number += 1
        database.execute("INSERT INTO entry VALUES (?, ?)", (number, "x" * 200))
        print(number, flush=True)
        time.sleep(0.01)


WRITERS: dict[str, Callable[[Path], None]] = {
    "files": files,
    "mapped": mapped,
    "direct": direct,
    "ledger": ledger,
}

if __name__ == "__main__":
    WRITERS[sys.argv[1]](Path(sys.argv[2]))
