"""Programs that write to a filesystem for as long as they live, each in its own way.

    python writers.py NAME FOLDER [TELL [MORE]]

TELL is a file outside of that filesystem, whose eight bytes are the last number that was on stable storage.
"""

import mmap
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

BLOCK = 4096
CHUNK = 262144
MIB = 1 << 20
MADV_PAGEOUT = 21
PAGES = 192 * MIB
"""More chunks than a cut has room for."""


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
        time.sleep(0.03)


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


def pages(folder: Path) -> None:
    """Single blocks change all over a file, as those of a database's table."""
    source, path = random.Random(7), folder / "pages"
    path.write_bytes(source.randbytes(PAGES))
    fd = os.open(path, os.O_WRONLY)
    while True:
        for _ in range(8):
            os.pwrite(fd, source.randbytes(BLOCK), source.randrange(PAGES // BLOCK) * BLOCK)
        os.fsync(fd)
        time.sleep(0.01)


def told_in(path: Path) -> Callable[[int], None]:
    """What tells a number in a file."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def tell(number: int) -> None:
        os.pwrite(fd, number.to_bytes(8, "little"), 0)

    return tell


def ledger(folder: Path, tell: Path) -> None:
    """A database whose every row is on stable storage when its number is told."""
    told = told_in(tell)
    database = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY, text TEXT)")
    number = 0
    while True:
        number += 1
        database.execute("INSERT INTO entry VALUES (?, ?)", (number, "x" * 200))
        told(number)
        time.sleep(0.01)


def rows(folder: Path, tell: Path) -> None:
    """Rows of the MariaDB server whose socket is in the folder, each committed when its number is told."""
    import pymysql

    told, number = told_in(tell), 0
    with pymysql.connect(unix_socket=str(folder / "socket"), user="root", autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.entry (number INT PRIMARY KEY, text VARCHAR(300)) ENGINE=InnoDB")
        while True:
            number += 1
            cursor.execute("INSERT INTO shop.entry VALUES (%s, %s)", (number, "x" * 200))
            told(number)
            time.sleep(0.01)


def across(folder: Path, tell: Path, other: Path) -> None:
    """A number goes to a file in `folder`, then to one in `other`, each time to stable storage."""
    told, number = told_in(tell), 0
    files = [os.open(each / "number", os.O_RDWR | os.O_CREAT, 0o600) for each in (folder, other)]
    while True:
        number += 1
        for fd in files:
            os.pwrite(fd, number.to_bytes(8, "little") * 512, 0)
            os.fsync(fd)
        told(number)


def raw(device: Path) -> None:
    """Blocks of a device change past the page cache, without a rest."""
    source, size = random.Random(4), MIB
    fd = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_EXCL)
    buffer = mmap.mmap(-1, BLOCK)
    while True:
        buffer[:] = source.randbytes(BLOCK)
        os.pwrite(fd, buffer, source.randrange(size // BLOCK) * BLOCK)


def scattered(device: Path, tell: Path) -> None:
    """One block of each chunk of a device changes, once; the number of those that have is told."""
    told, source = told_in(tell), random.Random(6)
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, BLOCK)
    for number in range(os.lseek(fd, 0, os.SEEK_END) // CHUNK):
        buffer[:] = source.randbytes(BLOCK)
        os.pwrite(fd, buffer, number * CHUNK + source.randrange(CHUNK // BLOCK) * BLOCK)
        told(number + 1)
        time.sleep(0.003)
    while True:
        time.sleep(1)


def paged(folder: Path) -> None:
    """Memory is changed and swapped out again and again."""
    source = random.Random(5)
    with mmap.mmap(-1, 8 * MIB) as memory:
        while True:
            for _ in range(256):
                at = source.randrange(8 * MIB // BLOCK) * BLOCK
                memory[at : at + BLOCK] = source.randbytes(BLOCK)
            memory.madvise(MADV_PAGEOUT)
            (folder / "paged").touch()
            time.sleep(0.02)


def held(device: Path) -> None:
    """A device is held open by somebody who does not write to it."""
    os.open(device, os.O_RDWR | os.O_EXCL)
    while True:
        time.sleep(1)


WRITERS: dict[str, Callable[..., None]] = {
    "files": files,
    "mapped": mapped,
    "direct": direct,
    "pages": pages,
    "ledger": ledger,
    "rows": rows,
    "across": across,
    "raw": raw,
    "scattered": scattered,
    "paged": paged,
    "held": held,
}

if __name__ == "__main__":
    WRITERS[sys.argv[1]](*map(Path, sys.argv[2:]))
