"""Partition tables, read from the disk itself: a kernel may not have parsed them, and a file has no kernel.

GPT   header "EFI PART" at sector 1 (a copy at the last sector), CRC-32 over the header and over the
      entries; entry: type GUID 16, own GUID 16, first and last sector u64, attributes u64, name UTF-16LE.
MBR   4 entries of 16 bytes at byte 446, signature 55 AA; types 05, 0F and 85 open a chain of extended
      tables. Only a table whose entries are plausible is taken for one: a FAT boot sector bears the same
      signature.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

ReadAt = Callable[[int, int], bytes]
"""(offset, length) → bytes, fewer where the disk ends."""

_GPT_HEADER: Final = struct.Struct("<8s4sIII Q Q Q Q 16s Q III")
_GPT_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_MBR_ENTRY: Final = struct.Struct("<B3sB3sII")
_EXTENDED: Final = (0x05, 0x0F, 0x85)
_PROTECTIVE: Final = 0xEE
_MAX_ENTRIES_BYTES: Final = 1024 * 1024
_MAX_LOGICAL: Final = 128


@dataclass(frozen=True)
class Slot:
    """A partition: `start` and `size` in bytes, `type` a GPT type GUID or an MBR type in hex."""

    number: int
    start: int
    size: int
    type: str
    name: str = ""
    uuid: str = ""


@dataclass(frozen=True)
class Table:
    """`scheme` is gpt, mbr or none."""

    scheme: str
    slots: tuple[Slot, ...] = ()


def read_table(read: ReadAt, size: int, sector_sizes: tuple[int, ...] = (512, 4096)) -> Table:
    """The partition table of a disk of `size` bytes, its sectors having one of `sector_sizes`.

    A damaged first GPT header is replaced by its copy at the end of the disk.
    """
    for sector in sector_sizes:
        found = _read_gpt(read, size, sector)
        if found is not None:
            return found
    return _read_mbr(read, size, sector_sizes[0]) or Table("none")


def _read_gpt(read: ReadAt, size: int, sector: int) -> Table | None:
    for at in (sector, (size // sector - 1) * sector):
        entries = _gpt_entries(read, at, sector) if at > 0 else None
        if entries is not None:
            return Table("gpt", tuple(_gpt_slots(entries, size, sector)))
    return None


def _gpt_entries(read: ReadAt, at: int, sector: int) -> list[bytes] | None:
    """The raw entries that a valid header at byte `at` describes."""
    block = read(at, sector)
    if len(block) < _GPT_HEADER.size or block[:8] != b"EFI PART":
        return None
    fields = _GPT_HEADER.unpack_from(block)
    header_bytes, header_crc = fields[2], fields[3]
    first, count, width, entries_crc = fields[10:14]
    if not 92 <= header_bytes <= sector or zlib.crc32(_without_crc(block[:header_bytes])) != header_crc:
        return None
    if width < _GPT_ENTRY.size or count * width > _MAX_ENTRIES_BYTES:
        return None
    raw = read(first * sector, count * width)
    if zlib.crc32(raw) != entries_crc:
        return None
    return [raw[number * width : (number + 1) * width] for number in range(count)]


def _without_crc(header: bytes) -> bytes:
    return header[:16] + bytes(4) + header[20:]


def _gpt_slots(entries: list[bytes], size: int, sector: int) -> Iterator[Slot]:
    for number, entry in enumerate(entries, 1):
        kind, own, first, last, _, name = _GPT_ENTRY.unpack_from(entry)
        if kind == bytes(16) or not first <= last or (last + 1) * sector > size:
            continue
        yield Slot(
            number=number,
            start=first * sector,
            size=(last - first + 1) * sector,
            type=str(UUID(bytes_le=kind)),
            name=name.decode("utf-16-le", "replace").split("\0")[0],
            uuid=str(UUID(bytes_le=own)),
        )


def _read_mbr(read: ReadAt, size: int, sector: int) -> Table | None:
    block = read(0, 512)
    entries = _mbr_entries(block)
    if entries is None or not _is_plausible(entries, size, sector):
        return None
    disk_id = int.from_bytes(block[440:444], "little")
    slots: list[Slot] = []
    for number, (_, kind, first, count) in enumerate(entries, 1):
        if kind in _EXTENDED:
            slots += _logical_slots(read, size, sector, first * sector, disk_id)
        elif kind and count:
            slots.append(_mbr_slot(number, kind, first * sector, count * sector, disk_id))
    return Table("mbr", tuple(sorted(slots, key=lambda slot: slot.number)))


def _mbr_entries(block: bytes) -> list[tuple[int, int, int, int]] | None:
    """(boot flag, type, first sector, sectors) of the four entries."""
    if len(block) < 512 or block[510:512] != b"\x55\xaa":
        return None
    parsed = [_MBR_ENTRY.unpack_from(block, 446 + 16 * at) for at in range(4)]
    return [(flag, kind, first, count) for flag, _, kind, _, first, count in parsed]


def _is_plausible(entries: list[tuple[int, int, int, int]], size: int, sector: int) -> bool:
    used = [entry for entry in entries if entry[1]]
    fits = all((first + count) * sector <= size and first and count for _, _, first, count in used)
    flags = all(flag in (0, 0x80) for flag, _, _, _ in entries)
    return bool(used) and flags and fits and all(kind != _PROTECTIVE for _, kind, _, _ in used)


def _mbr_slot(number: int, kind: int, start: int, size: int, disk_id: int) -> Slot:
    uuid = f"{disk_id:08x}-{number:02x}" if disk_id else ""
    return Slot(number, start, size, f"{kind:02x}", uuid=uuid)


def _logical_slots(read: ReadAt, size: int, sector: int, outer: int, disk_id: int) -> Iterator[Slot]:
    """The chain of extended tables: each holds one partition and the place of the next table."""
    at, seen = outer, set[int]()
    while at not in seen and len(seen) < _MAX_LOGICAL and at < size:
        seen.add(at)
        entries = _mbr_entries(read(at, 512))
        if entries is None:
            return
        (_, kind, first, count), (_, next_kind, next_first, _) = entries[:2]
        start = at + first * sector
        if kind and count and start + count * sector <= size:
            yield _mbr_slot(4 + len(seen), kind, start, count * sector, disk_id)
        if next_kind not in _EXTENDED:
            return
        at = outer + next_first * sector
