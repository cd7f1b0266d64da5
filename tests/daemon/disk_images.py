"""Disk images for tests: partition tables written byte by byte, filesystems made by the system's tools."""

import struct
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from uuid import UUID

LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
DISK = UUID("11111111-2222-3333-4444-555555555555")


def run(*command: str | Path) -> str:
    """Run a tool; its standard output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout


def sparse(path: Path, size: int) -> Path:
    """A file of holes."""
    with path.open("wb") as out:
        out.truncate(size)
    return path


def own_uuid(number: int) -> UUID:
    """The UUID that `write_gpt` gives to a partition."""
    return UUID(int=0xABCD0000 + number)


def write_gpt(path: Path, sector: int, partitions: Sequence[tuple[int, int, str]]) -> None:
    """Write both copies of a GPT; partitions are (start, size, name) in bytes, numbered from 1."""
    size = path.stat().st_size
    entries = bytearray(128 * 128)
    for number, (start, length, name) in enumerate(partitions, 1):
        entry = struct.pack(
            "<16s16sQQQ72s",
            LINUX.bytes_le,
            own_uuid(number).bytes_le,
            start // sector,
            (start + length) // sector - 1,
            0,
            name.encode("utf-16-le"),
        )
        entries[(number - 1) * 128 : number * 128] = entry
    last = size // sector - 1
    table = len(entries) // sector
    with path.open("r+b") as out:
        _put(out, 446, struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, min(last, 0xFFFFFFFF)))
        _put(out, 510, b"\x55\xaa")
        _put(out, sector, _header(1, last, 2, last, bytes(entries), sector))
        _put(out, 2 * sector, bytes(entries))
        _put(out, last * sector, _header(last, 1, last - table, last, bytes(entries), sector))
        _put(out, (last - table) * sector, bytes(entries))


def _header(own: int, other: int, first: int, last: int, entries: bytes, sector: int) -> bytes:
    usable = 2 + len(entries) // sector
    values = (own, other, usable, last - usable + 1, DISK.bytes_le, first, 128, 128, zlib.crc32(entries))
    body = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *values)
    return body[:16] + struct.pack("<I", zlib.crc32(body)) + body[20:]


def _put(out: IO[bytes], at: int, data: bytes) -> None:
    out.seek(at)
    out.write(data)


def write_mbr(path: Path, at: int, entries: Sequence[tuple[int, int, int]], disk_id: int = 0) -> None:
    """Write one MBR or extended table at byte `at`; entries are (type, first sector, sectors)."""
    with path.open("r+b") as out:
        _put(out, at + 440, struct.pack("<I", disk_id))
        for number, (kind, first, count) in enumerate(entries):
            record = struct.pack("<B3sB3sII", 0, b"\0" * 3, kind, b"\0" * 3, first, count)
            _put(out, at + 446 + 16 * number, record)
        _put(out, at + 510, b"\x55\xaa")
