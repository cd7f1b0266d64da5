"""The disks that are copied, made once and kept in a cache; a run works on a copy.

The copy has no holes: a source disk is a block device, and nobody can ask it where it is empty.
"""

import os
import random
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.freespace import Ranges, free_ranges, metadata_ranges
from bench.plan import MIB, Data

USED_SHARE: Final = 0.5
"""Files' share of a realistic disk."""
STALE_SHARE: Final = 0.1
"""Share of a realistic disk that is free and still holds bytes of deleted files."""
DATA_SHARE: Final = 0.05
"""Share of a disk of zeros that is none."""
_LARGEST_FILE: Final = 64 * MIB
_TREE: Final = Path("/usr")


@dataclass(frozen=True)
class Image:
    """A disk to copy: `used` bytes are data, `free` need not be copied, `metadata` is the filesystem's."""

    path: Path
    size: int
    used: int
    free: Ranges
    metadata: Ranges


def cached(data: Data, size: int, cache: Path) -> Path:
    """The pristine image of this kind and size, made when it is missing."""
    path = cache / f"{data}-{size // MIB}MiB.raw"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        _MAKERS[data](partial, size)
        partial.rename(path)
    return path


def working_copy(data: Data, pristine: Path, folder: Path) -> Image:
    """A copy without holes to work on."""
    path = folder / "source.raw"
    subprocess.run(["cp", "--sparse=never", str(pristine), str(path)], check=True)
    size = path.stat().st_size
    if data is Data.REALISTIC:
        free = free_ranges(path)
        return Image(path, size, size - free.total, free, metadata_ranges(path))
    used = int(size * DATA_SHARE) if data is Data.ZEROS else size
    return Image(path, size, used, Ranges(), Ranges())


def make_cold(path: Path) -> None:
    """Write a file back and let the kernel forget it, so that everyone reads it from the storage."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _make_realistic(path: Path, size: int) -> None:
    tree = path.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    files = _files()
    try:
        _fill(tree, files, int(size * USED_SHARE))
        form = ["-q", "-t", "ext4", "-b", "4096", "-m", "0"]
        subprocess.run(["mke2fs", *form, "-d", str(tree), str(path), f"{size // 1024}k"], check=True)
        _litter(path, files, int(size * STALE_SHARE))
    finally:
        shutil.rmtree(tree)


def _files() -> Iterator[Path]:
    """Files of this machine in an order that mixes all kinds and is the same each time."""
    found = [
        Path(entry.path)
        for entry in _walk(_TREE)
        if 0 < entry.stat(follow_symlinks=False).st_size <= _LARGEST_FILE
    ]
    return iter(sorted(found, key=lambda item: (zlib.crc32(str(item).encode()), str(item))))


def _walk(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield entry


def _fill(tree: Path, files: Iterator[Path], amount: int) -> None:
    """Put files of `amount` bytes together, as far as there are as many."""
    filled = 0
    while filled < amount and (file := next(files, None)) is not None:
        target = tree / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
        filled += file.stat().st_size


def _litter(path: Path, files: Iterator[Path], amount: int) -> None:
    """Write bytes of more files into free space, as deleted files leave them."""
    free = free_ranges(path)
    places = list(zip(free.starts, free.ends, strict=True))
    left = amount
    with path.open("r+b") as image:
        for start, end in places:
            at = start
            while at < end and left > 0 and (file := next(files, None)) is not None:
                data = file.read_bytes()[: min(end - at, left)]
                image.seek(at)
                image.write(data)
                at, left = at + len(data), left - len(data)


def _make_random(path: Path, size: int) -> None:
    chance = random.Random(size)
    with path.open("wb") as image:
        for _ in range(size // MIB):
            image.write(chance.randbytes(MIB))


def _make_zeros(path: Path, size: int) -> None:
    chance = random.Random(size)
    count = size // MIB
    filled = set(chance.sample(range(count), int(count * DATA_SHARE)))
    files = _files()
    with path.open("wb") as image:
        for number in range(count):
            image.write(_some_bytes(files) if number in filled else bytes(MIB))


def _some_bytes(files: Iterator[Path]) -> bytes:
    data = bytearray()
    for file in files:
        data += file.read_bytes()
        if len(data) >= MIB:
            break
    return bytes(data[:MIB]).ljust(MIB, b"\1")


_MAKERS: Final = {Data.REALISTIC: _make_realistic, Data.RANDOM: _make_random, Data.ZEROS: _make_zeros}
