"""A GPT with two partitions, written byte by byte so that the demo needs no partitioning tool.

Layout after the UEFI specification 2.10, chapter 5: protective MBR, header, 128 entries, and both again at
the end of the disk.
"""

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECTOR: Final = 512
ENTRIES: Final = 128
ENTRY_BYTES: Final = 128
TABLE_SECTORS: Final = ENTRIES * ENTRY_BYTES // SECTOR
EFI_SYSTEM: Final = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX_DATA: Final = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")

_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")


@dataclass(frozen=True)
class Slot:
    """A partition to be made: `start` and `size` in bytes, multiples of the sector size."""

    type: uuid.UUID
    name: str
    start: int
    size: int

    def encode(self) -> bytes:
        """The entry of the table."""
        first, last = self.start // SECTOR, (self.start + self.size) // SECTOR - 1
        label = self.name.encode("utf-16-le")
        return _ENTRY.pack(self.type.bytes_le, uuid.uuid4().bytes_le, first, last, 0, label)


def write_gpt(disk: Path, size: int, slots: Sequence[Slot]) -> None:
    """Partition the existing image of `size` bytes."""
    table = b"".join(slot.encode() for slot in slots).ljust(ENTRIES * ENTRY_BYTES, b"\0")
    guid, last = uuid.uuid4().bytes_le, size // SECTOR - 1
    primary = _header(guid, 1, last, 2, last, table)
    backup = _header(guid, last, 1, last - TABLE_SECTORS, last, table)
    with disk.open("r+b") as file:
        for sector, data in (
            (0, _protective_mbr(last)),
            (1, primary),
            (2, table),
            (last - TABLE_SECTORS, table),
            (last, backup),
        ):
            file.seek(sector * SECTOR)
            file.write(data)


def _header(guid: bytes, here: int, other: int, table_at: int, last: int, table: bytes) -> bytes:
    first_usable, last_usable = 2 + TABLE_SECTORS, last - TABLE_SECTORS - 1

    def pack(checksum: int) -> bytes:
        return _HEADER.pack(
            b"EFI PART",
            0x00010000,
            _HEADER.size,
            checksum,
            0,
            here,
            other,
            first_usable,
            last_usable,
            guid,
            table_at,
            ENTRIES,
            ENTRY_BYTES,
            zlib.crc32(table),
        )

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def _protective_mbr(last: int) -> bytes:
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"
