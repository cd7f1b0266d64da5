"""Filesystems and other formats, recognised by their superblocks.

Each format is one row of PROBES: how many bytes from the start of the partition it needs, and a function
that returns what it found there. Order matters: containers (LUKS, LVM, md) come before filesystems,
because a stale filesystem superblock may survive inside them.
"""

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Final
from uuid import UUID

from app.agent.daemon.disk.partitions import ReadAt
from app.wire.messages import Filesystem

Probe = Callable[[ReadAt, int], Filesystem | None]

_EXT_JOURNAL: Final = 0x4
_EXT4_INCOMPAT: Final = ~(0x2 | 0x4 | 0x10)
_EXT4_RO_COMPAT: Final = ~(0x1 | 0x2 | 0x4)


def recognise(read: ReadAt, start: int, size: int) -> Filesystem | None:
    """What stands in the `size` bytes from `start` of a disk; None for nothing known."""

    def within(offset: int, length: int) -> bytes:
        return read(start + offset, max(0, min(length, size - offset)))

    for probe in PROBES:
        found = probe(within, size)
        if found is not None:
            return found
    return None


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace").rstrip()


def _uuid(raw: bytes) -> str:
    return str(UUID(bytes=raw)) if len(raw) == 16 and any(raw) else ""


def _luks(read: ReadAt, _size: int) -> Filesystem | None:
    head = read(0, 208)
    if head[:6] != b"LUKS\xba\xbe":
        return None
    version = int.from_bytes(head[6:8], "big")
    return Filesystem("crypto_LUKS", _text(head[168:208]), _text(head[24:72]) if version == 2 else "")


def _lvm(read: ReadAt, _size: int) -> Filesystem | None:
    for at in range(0, 2048, 512):
        sector = read(at, 512)
        if sector[:8] == b"LABELONE" and sector[24:32] == b"LVM2 001":
            raw = sector[32:64].decode("ascii", "replace")
            cuts = (0, 6, 10, 14, 18, 22, 26, 32)
            return Filesystem("LVM2_member", "-".join(raw[a:b] for a, b in pairwise(cuts)))
    return None


def _md(read: ReadAt, size: int) -> Filesystem | None:
    at_end = (size // 512 - 16) // 8 * 8 * 512
    for at in (4096, 0, at_end):
        block = read(at, 64) if at >= 0 else b""
        if len(block) == 64 and block[:8] == b"\xfc\x4e\x2b\xa9\x01\0\0\0":
            return Filesystem("linux_raid_member", _uuid(block[16:32]), _text(block[32:64]))
    old = read((size // 65536 - 1) * 65536, 64) if size >= 131072 else b""
    return Filesystem("linux_raid_member") if old[:4] == b"\xfc\x4e\x2b\xa9" else None


def _xfs(read: ReadAt, _size: int) -> Filesystem | None:
    block = read(0, 120)
    if block[:4] != b"XFSB":
        return None
    return Filesystem("xfs", _uuid(block[32:48]), _text(block[108:120]))


def _ext(read: ReadAt, _size: int) -> Filesystem | None:
    block = read(1024, 264)
    if len(block) < 264 or block[56:58] != b"\x53\xef":
        return None
    compat, incompat, ro_compat = struct.unpack_from("<III", block, 92)
    kind = "ext3" if compat & _EXT_JOURNAL else "ext2"
    if incompat & _EXT4_INCOMPAT or ro_compat & _EXT4_RO_COMPAT:
        kind = "ext4"
    return Filesystem(kind, _uuid(block[104:120]), _text(block[120:136]))


def _btrfs(read: ReadAt, _size: int) -> Filesystem | None:
    block = read(65536, 0x22B)
    if block[64:72] != b"_BHRfS_M":
        return None
    return Filesystem("btrfs", _uuid(block[32:48]), _text(block[0x12B:0x22B]))


def _swap(read: ReadAt, _size: int) -> Filesystem | None:
    for page in (4096, 8192, 16384, 65536):
        if read(page - 10, 10) in (b"SWAPSPACE2", b"SWAP-SPACE"):
            head = read(1024, 44)
            return Filesystem("swap", _uuid(head[12:28]), _text(head[28:44]))
    return None


def _ntfs(read: ReadAt, _size: int) -> Filesystem | None:
    block = read(0, 512)
    if block[3:11] != b"NTFS    ":
        return None
    return Filesystem("ntfs", block[72:80][::-1].hex().upper())


def _vfat(read: ReadAt, _size: int) -> Filesystem | None:
    block = read(0, 512)
    if len(block) < 512 or block[510:512] != b"\x55\xaa":
        return None
    at = 0x47 if block[0x52:0x57] == b"FAT32" else 0x2B
    if block[0x52:0x57] != b"FAT32" and block[0x36:0x39] != b"FAT":
        return None
    serial = block[at - 4 : at][::-1].hex().upper()
    label = _text(block[at : at + 11])
    return Filesystem("vfat", f"{serial[:4]}-{serial[4:]}", "" if label == "NO NAME" else label)


PROBES: Final[tuple[Probe, ...]] = (_luks, _lvm, _md, _xfs, _ext, _btrfs, _swap, _ntfs, _vfat)
