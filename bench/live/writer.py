"""A program that keeps a filesystem mounted in a mount namespace of its own and writes to it as it is told.

    unshare --mount python -m bench.live.writer DEVICE FOLDER

It says `ready`, then takes commands, one a line, and answers each with the bytes that it has written for it:

    churn RATE           write RATE bytes a second until told otherwise; answers what was written so far
    scatter SEED SIZE    overwrite SIZE bytes in single blocks of files all over, and write them back
    replace SEED SIZE    put new content into files of SIZE bytes together, and write it back

At the end of its input it unmounts and ends, so that nothing is left where the bench is killed. All content
is random: it does not compress, and nobody else has it.
"""

import mmap
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

BLOCK: Final = 4096
KIB: Final = 1 << 10
MIB: Final = 1 << 20
TICK_SECONDS: Final = 0.02
BUSY_SECONDS: Final = 60.0
LONGEST_DEBT_SECONDS: Final = 1.0
"""What a disk is too slow for is not made up for later."""


class Habit(Protocol):
    """One way to write."""

    def write(self, chance: random.Random) -> int:
        """Write a little; how many bytes."""


class Logs:
    """Lines are appended to eight logs, each of which is rotated when it is large."""

    def __init__(self, folder: Path, size: int) -> None:
        self._paths = [folder / f"log-{number}" for number in range(8)]
        self._most = size // 128

    def write(self, chance: random.Random) -> int:
        """See `Habit`."""
        path = chance.choice(self._paths)
        data = chance.randbytes(chance.randrange(4 * KIB, 64 * KIB))
        with path.open("ab") as log:
            log.write(data)
            is_full = log.tell() > self._most
        if is_full:
            path.rename(path.with_suffix(".old"))
        return len(data)


class Documents:
    """Files are written anew under another name and renamed over the old ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, chance: random.Random) -> int:
        """See `Habit`."""
        path = self._folder / f"document-{chance.randrange(128)}"
        data = chance.randbytes(chance.randrange(1 * KIB, 256 * KIB))
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").rename(path)
        return len(data)


class Table:
    """Blocks of a large file are overwritten all over it, eight to an fsync, as a database does."""

    def __init__(self, folder: Path, size: int) -> None:
        self._file = os.open(folder / "table", os.O_RDWR | os.O_CREAT, 0o600)
        self._blocks = size // 16 // BLOCK
        for at in range(0, self._blocks * BLOCK, MIB):
            os.pwrite(self._file, os.urandom(min(MIB, self._blocks * BLOCK - at)), at)

    def write(self, chance: random.Random) -> int:
        """See `Habit`."""
        for _ in range(8):
            os.pwrite(self._file, chance.randbytes(BLOCK), chance.randrange(self._blocks) * BLOCK)
        os.fdatasync(self._file)
        return 8 * BLOCK

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Mapped:
    """Pages of a mapped file change."""

    def __init__(self, folder: Path, size: int) -> None:
        self._pages = size // 64 // BLOCK
        with (folder / "mapped").open("w+b") as file:
            file.truncate(self._pages * BLOCK)
            self._memory = mmap.mmap(file.fileno(), self._pages * BLOCK)

    def write(self, chance: random.Random) -> int:
        """See `Habit`."""
        at = chance.randrange(self._pages) * BLOCK
        self._memory[at : at + BLOCK] = chance.randbytes(BLOCK)
        return BLOCK

    def close(self) -> None:
        """Unmap."""
        self._memory.close()


class Churn:
    """Writes at a rate, each habit its share of the bytes."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir()
        self._chance = random.Random(4)
        self._table, self._mapped = Table(folder, size), Mapped(folder, size)
        self._shares: list[tuple[Habit, float]] = [
            (Logs(folder, size), 0.35),
            (Documents(folder), 0.25),
            (self._table, 0.3),
            (self._mapped, 0.1),
        ]
        self._done = [0.0] * len(self._shares)
        self._rate = 0
        self._due = 0.0
        self._then = time.monotonic()
        self.written = 0

    def set_rate(self, rate: int) -> None:
        """Bytes a second from now on."""
        self._rate, self._due, self._then = rate, 0.0, time.monotonic()

    def work(self) -> None:
        """Write what is due by now."""
        now = time.monotonic()
        self._due = min(self._due + self._rate * (now - self._then), self._rate * LONGEST_DEBT_SECONDS)
        self._then = now
        while self._due > 0:
            self._due -= self._write()

    def _write(self) -> int:
        """Let the habit write that is furthest behind its share."""
        behind = [done / share for done, (_, share) in zip(self._done, self._shares, strict=True)]
        number = behind.index(min(behind))
        count = self._shares[number][0].write(self._chance)
        self._done[number] += count
        self.written += count
        return count

    def close(self) -> None:
        """Let go of the files."""
        self._table.close()
        self._mapped.close()


def scatter(folder: Path, seed: int, amount: int) -> int:
    """Overwrite single blocks of files all over the filesystem."""
    chance = random.Random(seed)
    files = [(path, path.stat().st_size // BLOCK) for path in sorted(_files(folder))]
    files = [(path, blocks) for path, blocks in files if blocks]
    weights = [blocks for _, blocks in files]
    chosen = {
        (path, chance.randrange(blocks))
        for path, blocks in chance.choices(files, weights, k=max(1, amount // BLOCK))
    }
    for path, block in sorted(chosen):
        with path.open("r+b") as file:
            file.seek(block * BLOCK)
            file.write(chance.randbytes(BLOCK))
    write_back(folder)
    return len(chosen) * BLOCK


def replace(folder: Path, seed: int, amount: int) -> int:
    """Put new content into whole files."""
    chance = random.Random(seed)
    files = sorted(path for path in _files(folder) if path.stat().st_size <= amount // 8)
    chance.shuffle(files)
    written = 0
    for path in files:
        if written >= amount:
            break
        size = path.stat().st_size
        path.write_bytes(chance.randbytes(size))
        written += size
    write_back(folder)
    return written


def write_back(folder: Path) -> None:
    """Bring all of the filesystem to the disk."""
    subprocess.run(["sync", "--file-system", str(folder)], check=True)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def obey(folder: Path, churn: Churn, line: str) -> int:
    """Carry out a command; what to answer. Raises ValueError for one that is none."""
    word, *numbers = line.split()
    if word == "churn":
        churn.set_rate(int(numbers[0]))
        return churn.written
    if word == "scatter":
        return scatter(folder, int(numbers[0]), int(numbers[1]))
    if word == "replace":
        return replace(folder, int(numbers[0]), int(numbers[1]))
    raise ValueError(f"{line!r} is no command")


def serve(folder: Path) -> None:
    """Write and obey until the end of the input."""
    status = os.statvfs(folder)
    work = folder / "churn"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    churn = Churn(work, status.f_blocks * status.f_frsize)
    write_back(folder)
    print("ready", flush=True)
    try:
        while True:
            ready, _, _ = select.select([0], [], [], TICK_SECONDS)
            if ready:
                line = os.read(0, 1024).decode()  # one command at a time: the bench waits for each answer
                if not line:
                    return
                print(obey(folder, churn, line), flush=True)
            churn.work()
    finally:
        churn.close()


def unmount(folder: Path) -> None:
    """Unmount; an agent that writes the filesystem back holds it for a moment. Raises CalledProcessError."""
    deadline = time.monotonic() + BUSY_SECONDS
    while subprocess.run(["umount", str(folder)], stderr=subprocess.DEVNULL).returncode != 0:
        if time.monotonic() > deadline:
            subprocess.run(["umount", str(folder)], check=True)
        time.sleep(TICK_SECONDS)


def main() -> None:
    """Mount, serve, unmount."""
    device, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", device, str(folder)], check=True)
    try:
        serve(folder)
    finally:
        unmount(folder)


if __name__ == "__main__":
    main()
