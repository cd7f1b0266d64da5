"""Free space of ext2, ext3 and ext4 from the block bitmaps.

Only a cleanly unmounted filesystem without errors and without an unknown feature is trusted, and only if
each group's bitmap has as many free bits as its descriptor says. A bitmap's bit is a cluster (bigalloc) or
a block. A group whose bitmap was never written (BLOCK_UNINIT) is free except for metadata; whatever any
descriptor calls metadata, and every place where a copy of the superblock may stand, is taken out of the
free ranges once more, so that a wrong bit cannot omit it.

Little-endian superblock at byte 1024; descriptors of 32 or 64 bytes from the block behind it, or spread
over the meta groups (meta_bg).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.bitmap import free_count, free_runs
from app.agent.daemon.capture.free_space.reasons import NotTrusted
from app.agent.daemon.disk.partitions import ReadAt

_MAGIC: Final = 0xEF53
_CLEAN: Final = 1
_COMPAT_SPARSE_SUPER2: Final = 0x200
_INCOMPAT_RECOVER: Final = 0x4
_INCOMPAT_META_BG: Final = 0x10
_INCOMPAT_64BIT: Final = 0x80
# filetype, meta_bg, extents, 64bit, flex_bg, ea_inode, dirdata, csum_seed, largedir, inline_data, encrypt,
# casefold; not: recover, journal_dev, mmp
_INCOMPAT_KNOWN: Final = 0x2 | 0x10 | 0x40 | 0x80 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x4000 | 0x38000
_RO_SPARSE_SUPER: Final = 0x1
_RO_GDT_CSUM: Final = 0x10
_RO_BIGALLOC: Final = 0x200
_RO_METADATA_CSUM: Final = 0x400
# the first seven of ext4, quota, bigalloc, metadata_csum, readonly, project, shared_blocks, verity
_RO_KNOWN: Final = 0x7F | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x4000 | 0x8000
_BLOCK_UNINIT: Final = 0x2
_LEAST_PER_GROUP: Final = 256
_READ_AHEAD: Final = 256 * 1024


@dataclass(frozen=True)
class Geometry:
    """What the superblock says; counts are of blocks unless they say clusters."""

    blocks: int
    block_size: int
    first_block: int
    cluster_size: int
    blocks_per_group: int
    clusters_per_group: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    reserved_descriptors: int
    first_meta_group: int
    compat: int
    incompat: int
    ro_compat: int

    @property
    def groups(self) -> int:
        """Number of block groups."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    @property
    def inode_table_blocks(self) -> int:
        """Blocks of one group's inode table."""
        return -(-self.inodes_per_group * self.inode_size // self.block_size)

    @property
    def descriptors_per_block(self) -> int:
        """Group descriptors in one block."""
        return self.block_size // self.descriptor_size

    def group_start(self, group: int) -> int:
        """The first block of a group."""
        return self.first_block + group * self.blocks_per_group

    def group_blocks(self, group: int) -> int:
        """Blocks of a group: the last one may be short."""
        return min(self.blocks_per_group, self.blocks - self.group_start(group))


@dataclass(frozen=True)
class Group:
    """A block group's descriptor: block numbers, free clusters and flags."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    free_clusters: int
    flags: int


def free_extents(read: ReadAt, size: int) -> Extents:
    """The free byte ranges of the filesystem that starts at byte 0 of `read` and has at most `size` bytes.

    Raises NotTrusted.
    """
    geometry = _geometry(read(1024, 1024), size)
    groups = _groups(read, geometry)
    free = Extents()
    ahead = _Ahead(read)
    for number, group in enumerate(groups):
        for start, end in _group_runs(ahead, geometry, number, group):
            free.add(start * geometry.block_size, end * geometry.block_size)
    return free.without(_metadata(geometry, groups))


def _geometry(block: bytes, size: int) -> Geometry:
    if len(block) < 1024 or struct.unpack_from("<H", block, 0x38)[0] != _MAGIC:
        raise NotTrusted("it has no ext superblock")
    (low_blocks,) = struct.unpack_from("<I", block, 4)
    first_block, log_block, log_cluster, per_group, clusters, inodes = struct.unpack_from("<6I", block, 20)
    compat, incompat, ro_compat = struct.unpack_from("<III", block, 0x5C)
    _require_clean(block, incompat, ro_compat)
    if log_block > 6 or log_cluster > 20:
        raise NotTrusted("its block size is not one of ext")
    wide = bool(incompat & _INCOMPAT_64BIT)
    bigalloc = bool(ro_compat & _RO_BIGALLOC)
    geometry = Geometry(
        blocks=low_blocks + (struct.unpack_from("<I", block, 0x150)[0] << 32 if wide else 0),
        block_size=1024 << log_block,
        first_block=first_block,
        cluster_size=1024 << (log_cluster if bigalloc else log_block),
        blocks_per_group=per_group,
        clusters_per_group=clusters if bigalloc else per_group,
        inodes_per_group=inodes,
        inode_size=struct.unpack_from("<H", block, 0x58)[0] if block[0x4C] else 128,
        descriptor_size=(struct.unpack_from("<H", block, 0xFE)[0] or 32) if wide else 32,
        reserved_descriptors=struct.unpack_from("<H", block, 0xCE)[0],
        first_meta_group=struct.unpack_from("<I", block, 0x104)[0],
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
    )
    _require_sane(geometry, size)
    return geometry


def _require_clean(block: bytes, incompat: int, ro_compat: int) -> None:
    (state,) = struct.unpack_from("<H", block, 0x3A)
    (last_orphan,) = struct.unpack_from("<I", block, 0xE8)
    (error_count,) = struct.unpack_from("<I", block, 0x194)
    if incompat & _INCOMPAT_RECOVER:
        raise NotTrusted("its journal needs recovery")
    if state != _CLEAN or last_orphan or error_count:
        raise NotTrusted("it was not cleanly unmounted or has errors")
    if incompat & ~_INCOMPAT_KNOWN or ro_compat & ~_RO_KNOWN:
        raise NotTrusted(f"it has unknown features ({incompat:#x}, {ro_compat:#x})")


def _require_sane(geometry: Geometry, size: int) -> None:
    g = geometry
    sane = (
        0 < g.blocks * g.block_size <= size
        and g.first_block == (1 if g.block_size == 1024 and g.cluster_size == 1024 else 0)
        and g.cluster_size >= g.block_size
        and _LEAST_PER_GROUP <= g.clusters_per_group <= g.block_size * 8
        and g.blocks_per_group * g.block_size == g.clusters_per_group * g.cluster_size
        and g.inodes_per_group > 0
        and 128 <= g.inode_size <= g.block_size
        and g.descriptor_size in (32, 64)
    )
    if not sane:
        raise NotTrusted("its superblock contradicts itself")


def _groups(read: ReadAt, geometry: Geometry) -> list[Group]:
    """The descriptors of all groups, in order."""
    groups: list[Group] = []
    for number in range(-(-geometry.groups // geometry.descriptors_per_block)):
        block = read(_descriptor_block(geometry, number) * geometry.block_size, geometry.block_size)
        if len(block) < geometry.block_size:
            raise NotTrusted("its group descriptors lie behind its end")
        for at in range(geometry.descriptors_per_block):
            if len(groups) < geometry.groups:
                groups.append(_group(block[at * geometry.descriptor_size :], geometry))
    if not all(_fits(group, geometry) for group in groups):
        raise NotTrusted("a group descriptor points behind its end")
    return groups


def _fits(group: Group, geometry: Geometry) -> bool:
    last_of_table = group.inode_table + geometry.inode_table_blocks
    return max(group.block_bitmap, group.inode_bitmap, last_of_table - 1) < geometry.blocks


def _descriptor_block(geometry: Geometry, number: int) -> int:
    """Where the `number`-th block of descriptors lies: behind the superblock, or in its own meta group."""
    if not geometry.incompat & _INCOMPAT_META_BG or number < geometry.first_meta_group:
        return geometry.first_block + 1 + number if geometry.block_size > 1024 else 2 + number
    group = number * geometry.descriptors_per_block
    boot_block = 1 if number == 0 and geometry.block_size == 1024 and geometry.first_block == 0 else 0
    return geometry.group_start(group) + boot_block + (1 if _has_superblock(geometry, group) else 0)


def _group(raw: bytes, geometry: Geometry) -> Group:
    block_bitmap, inode_bitmap, table, free, _, _, flags = struct.unpack_from("<IIIHHHH", raw)
    if geometry.descriptor_size == 64:
        high_bb, high_ib, high_table, high_free = struct.unpack_from("<IIIH", raw, 32)
        block_bitmap += high_bb << 32
        inode_bitmap += high_ib << 32
        table += high_table << 32
        free += high_free << 16
    has_flags = geometry.ro_compat & (_RO_GDT_CSUM | _RO_METADATA_CSUM)
    return Group(block_bitmap, inode_bitmap, table, free, flags if has_flags else 0)


def _group_runs(read: "_Ahead", geometry: Geometry, number: int, group: Group) -> Iterator[tuple[int, int]]:
    """(first block, block behind the last) of a group's free runs."""
    base, blocks = geometry.group_start(number), geometry.group_blocks(number)
    if group.flags & _BLOCK_UNINIT:
        yield base, base + blocks
        return
    ratio = geometry.cluster_size // geometry.block_size
    clusters = -(-blocks // ratio)
    bitmap = read.at(group.block_bitmap * geometry.block_size, -(-geometry.clusters_per_group // 8))
    if not 0 < group.block_bitmap < geometry.blocks or free_count(bitmap, clusters) != group.free_clusters:
        raise NotTrusted(f"the bitmap of its group {number} and the group's free count disagree")
    for start, end in free_runs(bitmap, clusters):
        yield base + start * ratio, min(base + end * ratio, base + blocks)


def _metadata(geometry: Geometry, groups: list[Group]) -> Extents:
    """Byte ranges of everything that the descriptors call metadata, in whole clusters."""
    spans = [(0, 2)]
    descriptors = -(-len(groups) // geometry.descriptors_per_block) + geometry.reserved_descriptors
    for number, group in enumerate(groups):
        spans += [(group.block_bitmap, 1), (group.inode_bitmap, 1)]
        spans.append((group.inode_table, geometry.inode_table_blocks))
        if _has_superblock(geometry, number):
            spans.append((geometry.group_start(number), 2 + descriptors))
        elif geometry.incompat & _INCOMPAT_META_BG:
            spans.append((geometry.group_start(number), 2))
    size, unit = geometry.block_size, geometry.cluster_size
    return Extents.of(
        (first * size // unit * unit, -(-(first + count) * size // unit) * unit) for first, count in spans
    )


def _has_superblock(geometry: Geometry, group: int) -> bool:
    """Whether a group starts with a copy of the superblock; with sparse_super2 any group may."""
    if group <= 1 or not geometry.ro_compat & _RO_SPARSE_SUPER or geometry.compat & _COMPAT_SPARSE_SUPER2:
        return True
    return any(_is_power(group, root) for root in (3, 5, 7))


def _is_power(value: int, root: int) -> bool:
    while value % root == 0:
        value //= root
    return value == 1


class _Ahead:
    """Reads bitmaps with one larger read where they lie side by side, as flex_bg places them."""

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        self._start = 0
        self._held = b""

    def at(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`. Raises NotTrusted where the disk ends before."""
        if not self._start <= offset <= offset + length <= self._start + len(self._held):
            self._start, self._held = offset, self._read(offset, max(length, _READ_AHEAD))
        found = self._held[offset - self._start : offset - self._start + length]
        if len(found) < length:
            raise NotTrusted("a bitmap lies behind its end")
        return found
