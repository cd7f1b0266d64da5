"""Free space of XFS (version 4 and 5) from the by-block B+tree of each allocation group.

Trusted only with a clean internal log: the record with the highest LSN is an unmount record. Each tree's
free blocks must add up to what its group's header says. Blocks of the AGFL are in no tree and count as
used. All numbers are big-endian.

short-form tree block   magic u32 (ABTB, AB3B), level u16, records u16, left u32, right u32;
                        version 5 goes on with block number, LSN, UUID 16, owner u32, CRC; then the records
                        (start u32, count u32), or in a node the keys and then the pointers u32
log record header       512 bytes: magic FEEDBABE, cycle, version, length, LSN u64 at 16, operations u32 at
                        40, record size u32 at 320; the data follows in whole 512-byte blocks
"""

import struct
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.reasons import NotTrusted
from app.agent.daemon.disk.partitions import ReadAt

_VERSIONS: Final = {4: (b"ABTB", 16), 5: (b"AB3B", 56)}
# ftype, sparse inodes, metadata UUID, bigtime, nrext64, exchange range, parent pointers; not: needs repair
_INCOMPAT_KNOWN: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80
_LEAST_GROUP: Final = 64
_NO_BLOCK: Final = 0xFFFFFFFF
_MAX_LEVELS: Final = 9
_LOG_MAGIC: Final = b"\xfe\xed\xba\xbe"
_LOG_BLOCK: Final = 512
_LOG_READ: Final = 4 * 1024 * 1024
_LOG_HEADER_COVERS: Final = 32 * 1024
_LOG_VERSION_2: Final = 2
_UNMOUNT_FLAG: Final = 0x20


@dataclass(frozen=True)
class Geometry:
    """What the superblock says; `log_start` is an AG-coded block number, 0 for an external log."""

    version: int
    block_size: int
    blocks: int
    group_blocks: int
    groups: int
    group_shift: int
    sector_size: int
    log_start: int
    log_blocks: int

    def offset(self, group: int, block: int) -> int:
        """The byte offset of a group's block."""
        return (group * self.group_blocks + block) * self.block_size

    def length(self, group: int) -> int:
        """Blocks of a group: the last one may be short."""
        return min(self.group_blocks, self.blocks - group * self.group_blocks)


def free_extents(read: ReadAt, size: int) -> Extents:
    """The free byte ranges of the filesystem that starts at byte 0 of `read` and has at most `size` bytes.

    Raises NotTrusted.
    """
    geometry = _geometry(read(0, 512), size)
    _require_clean_log(read, geometry)
    free = Extents()
    for group in range(geometry.groups):
        _add_group(free, read, geometry, group)
    return free


def _geometry(block: bytes, size: int) -> Geometry:
    if len(block) < 512 or block[:4] != b"XFSB":
        raise NotTrusted("it has no XFS superblock")
    block_size, blocks = struct.unpack_from(">IQ", block, 4)
    (log_start,) = struct.unpack_from(">Q", block, 48)
    group_blocks, groups, _, log_blocks, version, sector = struct.unpack_from(">IIIIHH", block, 84)
    geometry = Geometry(
        version & 0xF, block_size, blocks, group_blocks, groups, block[124], sector, log_start, log_blocks
    )
    _require_known(block, geometry)
    _require_sane(geometry, size)
    return geometry


def _require_known(block: bytes, geometry: Geometry) -> None:
    if geometry.version not in _VERSIONS:
        raise NotTrusted(f"its version {geometry.version} is unknown")
    incompat, log_incompat = struct.unpack_from(">II", block, 216)
    if geometry.version == 5 and (incompat & ~_INCOMPAT_KNOWN or log_incompat):
        raise NotTrusted(f"it needs repair or has unknown features ({incompat:#x}, {log_incompat:#x})")
    if block[126]:
        raise NotTrusted("its creation was never finished")


def _require_sane(geometry: Geometry, size: int) -> None:
    g = geometry
    sane = (
        g.block_size in (512 << shift for shift in range(8))
        and g.sector_size in (512 << shift for shift in range(7))
        and 0 < g.blocks * g.block_size <= size
        and g.group_shift < 32
        and _LEAST_GROUP <= g.group_blocks <= 1 << g.group_shift
        and g.groups == -(-g.blocks // g.group_blocks)
    )
    if not sane:
        raise NotTrusted("its superblock contradicts itself")


def _add_group(free: Extents, read: ReadAt, geometry: Geometry, group: int) -> None:
    header = read(geometry.offset(group, 0) + geometry.sector_size, 64)
    magic, _, number, length, root = struct.unpack_from(">4sIIII", header)
    (levels,) = struct.unpack_from(">I", header, 28)
    (expected,) = struct.unpack_from(">I", header, 52)
    if magic != b"XAGF" or number != group or length != geometry.length(group):
        raise NotTrusted(f"the header of its allocation group {group} is damaged")
    found = _TreeWalk(read, geometry, group).extents(root, levels)
    if sum(count for _, count in found) != expected:
        raise NotTrusted(f"the free blocks of its allocation group {group} do not add up")
    for start, count in found:
        at = geometry.offset(group, start)
        free.add(at, at + count * geometry.block_size)


class _TreeWalk:
    """Walks one group's by-block tree: down its left edge, then along the leaves."""

    def __init__(self, read: ReadAt, geometry: Geometry, group: int) -> None:
        self._read = read
        self._geometry = geometry
        self._group = group
        self._magic, self._header = _VERSIONS[geometry.version]

    def extents(self, root: int, levels: int) -> list[tuple[int, int]]:
        """(first block, count) of the group's free extents, ascending. Raises NotTrusted."""
        found: list[tuple[int, int]] = []
        at, limit = self._leftmost(root, levels), self._geometry.length(self._group)
        for _ in range(limit):
            raw, count, at = self._block(at, 0)
            records = struct.iter_unpack(">II", raw[self._header : self._header + 8 * count])
            for start, length in records:
                behind = sum(found[-1]) if found else 0
                if start < behind or length == 0 or start + length > limit:
                    raise NotTrusted(f"the free space tree of its allocation group {self._group} is damaged")
                found.append((start, length))
            if at == _NO_BLOCK:
                return found
        raise NotTrusted(f"the free space tree of its allocation group {self._group} has no end")

    def _leftmost(self, root: int, levels: int) -> int:
        if not 0 < levels <= _MAX_LEVELS:
            raise NotTrusted(f"the free space tree of its allocation group {self._group} is damaged")
        room = (self._geometry.block_size - self._header) // 12
        at = root
        for level in range(levels - 1, 0, -1):
            raw, _, _ = self._block(at, level)
            (at,) = struct.unpack_from(">I", raw, self._header + 8 * room)
        return at

    def _block(self, at: int, level: int) -> tuple[bytes, int, int]:
        """A tree block of the given level: its bytes, its record count and its right neighbour."""
        size = self._geometry.block_size
        if at >= self._geometry.length(self._group):
            raise NotTrusted(f"the free space tree of its allocation group {self._group} is damaged")
        raw = self._read(self._geometry.offset(self._group, at), size)
        magic, own_level, count, _, right = struct.unpack_from(">4sHHII", raw.ljust(16, b"\0"))
        room = (size - self._header) // (12 if level else 8)
        if len(raw) < size or magic != self._magic or own_level != level or count > room:
            raise NotTrusted(f"the free space tree of its allocation group {self._group} is damaged")
        return raw, count, right


def _require_clean_log(read: ReadAt, geometry: Geometry) -> None:
    """Raise NotTrusted unless the newest record of the log says that the filesystem was unmounted."""
    if not geometry.log_start:
        raise NotTrusted("its log lies on another device")
    group = geometry.log_start >> geometry.group_shift
    block = geometry.log_start & ((1 << geometry.group_shift) - 1)
    start, length = geometry.offset(group, block), geometry.log_blocks * geometry.block_size
    if group >= geometry.groups or start + length > geometry.blocks * geometry.block_size:
        raise NotTrusted("its log lies behind its end")
    newest = _newest_record(read, start, length)
    if newest is None or not _is_unmount(read, start, length, newest):
        raise NotTrusted("its log is not clean")


def _newest_record(read: ReadAt, start: int, length: int) -> int | None:
    """The offset within the log of the record with the highest LSN."""
    best, found_at = -1, None
    for window in range(0, length, _LOG_READ):
        held = read(start + window, min(_LOG_READ, length - window))
        at = held.find(_LOG_MAGIC)
        while at >= 0:
            if at % _LOG_BLOCK == 0:
                (lsn,) = struct.unpack_from(">Q", held, at + 16)
                if lsn > best:
                    best, found_at = lsn, window + at
            at = held.find(_LOG_MAGIC, at + 1)
    return found_at


def _is_unmount(read: ReadAt, start: int, length: int, record: int) -> bool:
    header = read(start + record, _LOG_BLOCK)
    (version,) = struct.unpack_from(">I", header, 8)
    (operations,) = struct.unpack_from(">I", header, 40)
    (record_size,) = struct.unpack_from(">I", header, 320)
    headers = 1
    if version & _LOG_VERSION_2 and record_size > _LOG_HEADER_COVERS:
        headers = -(-record_size // _LOG_HEADER_COVERS)
    body = read(start + (record + headers * _LOG_BLOCK) % length, _LOG_BLOCK)
    return operations == 1 and len(body) == _LOG_BLOCK and bool(body[9] & _UNMOUNT_FLAG)
