"""Compaction: the live records of mostly dead, of many small, or of uncompressed packs move into a new pack.

Records are copied from packs of which every live record was verified first: damage where nothing lives does
no harm and goes with the old pack. Those that are not compressed are compressed now, all others are copied as
they are stored. The new pack is read back and verified by its hashes. The index then repoints
their rows and condemns the old packs in one transaction, by the same rule as all condemning; when that is
refused (a commit came to refer to one of them), the new pack has no row and goes as an orphan. Readers that
hold an old location still find the old pack: it is deleted a grace period later.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.store.errors import ObjectDamaged, ObjectMissing, StoreFull
from app.store.index import Candidate, CompactedPack, GarbageIndex, Location, PackInfo
from app.store.objects import ObjectStore
from app.store.outboard import is_of, outboard_bytes, worthwhile
from app.store.pack import MAX_RECORDS, TARGET_BYTES, PackBuilder, PackIndex, SealedPack
from app.wire.chunks import MIB
from app.wire.codec import Codec, encode

SPARSE_SHARE: Final = 0.5
SMALL_BYTES: Final = 4 * MIB
LEVEL: Final = 3
"""Of zstd: a background has the time."""
_OVERHEAD: Final = 256
"""Bytes that a record takes beside its stored ones, at most: header, base, footer entry."""


@dataclass(frozen=True)
class Sparse:
    """A pack to empty, and where its live chunks lie in it. `shrinks`: only to compress it, for which the
    store's reserve is not touched."""

    pack: PackInfo
    live: dict[bytes, Location]
    shrinks: bool = False

    @property
    def live_bytes(self) -> int:
        """Bytes that the live records and their outboards take, at most."""
        return sum(
            at.stored_length + worthwhile(outboard_bytes(at.raw_length), at.stored_length) + _OVERHEAD
            for at in self.live.values()
        )

    @property
    def is_sparse(self) -> bool:
        """Whether less than half of the pack is live."""
        return self.live_bytes < SPARSE_SHARE * self.pack.stored_bytes

    @property
    def is_small(self) -> bool:
        """Whether the pack is one of those that are better joined."""
        return self.pack.stored_bytes < SMALL_BYTES


@dataclass(frozen=True)
class Compacted:
    """What compaction did: old packs emptied, packs left alone because they are damaged or lost."""

    packs: int = 0
    damaged: tuple[bytes, ...] = ()


async def compact(objects: ObjectStore, index: GarbageIndex, found: Iterable[Sparse]) -> Compacted:
    """Empty these packs into new ones, server by server. Raises StoreError."""
    owners: dict[tuple[str, str, bool], list[Sparse]] = defaultdict(list)
    for sparse in found:
        owners[sparse.pack.project, sparse.pack.server, sparse.shrinks].append(sparse)
    done, damaged = 0, []
    for (project, server, _), packs in owners.items():
        for group in _groups(packs):
            sealed, bad = await asyncio.to_thread(_copied, objects, project, server, group)
            damaged += bad
            whole = [sparse for sparse in group if sparse.pack.name not in bad]
            if sealed is not None and await _moved(objects, index, sealed, whole):
                done += len(whole)
    return Compacted(done, tuple(damaged))


def _groups(packs: Sequence[Sparse]) -> Iterator[list[Sparse]]:
    """Packs whose live records fit together into one new pack; a lone one only if it is sparse."""
    group: list[Sparse] = []
    size = records = 0
    for sparse in packs:
        if group and (size + sparse.live_bytes > TARGET_BYTES or records + len(sparse.live) > MAX_RECORDS):
            yield from _worthwhile(group)
            group, size, records = [], 0, 0
        group.append(sparse)
        size += sparse.live_bytes
        records += len(sparse.live)
    yield from _worthwhile(group)


def _worthwhile(group: list[Sparse]) -> Iterator[list[Sparse]]:
    if len(group) > 1 or any(sparse.is_sparse or sparse.shrinks for sparse in group):
        yield group


def _copied(
    objects: ObjectStore, project: str, server: str, group: Sequence[Sparse]
) -> tuple[SealedPack | None, list[bytes]]:
    """A new pack with the group's live records, and the packs that are lost or too damaged to copy from."""
    builder = PackBuilder(project, server)
    bad: list[bytes] = []
    for sparse in group:
        found = _whole(objects, sparse)
        if found is None:
            bad.append(sparse.pack.name)
            continue
        index, view = found
        outboards = {name: bytes(view[at : at + length]) for name, (at, length) in index.outboards()}
        for name, at in sorted(sparse.live.items(), key=lambda item: item[1].offset):
            stored = bytes(view[at.offset : at.offset + at.stored_length])
            codec, packed = encode(stored, LEVEL) if at.codec is Codec.NONE else (at.codec, stored)
            outboard = outboards.get(name, b"")
            kept = outboard if is_of(outboard, name) else b""
            builder.add(name, codec, at.raw_length, packed, at.base, at.depth, kept)
    return (None if builder.is_empty else builder.seal()), bad


def _whole(objects: ObjectStore, sparse: Sparse) -> tuple[PackIndex, memoryview] | None:
    """The index and bytes of a pack whose live records are all there and good; None where they are not."""
    try:
        examination, data = objects.examine_pack(sparse.pack.name)
    except (ObjectMissing, ObjectDamaged):
        return None
    index = examination.index
    if index is None or not _agrees(index, sparse) or not examination.damaged.isdisjoint(sparse.live):
        return None
    return index, memoryview(data)


def _agrees(index: PackIndex, sparse: Sparse) -> bool:
    """Whether the rows of the live chunks say what the pack's own footer says."""
    stated = {(entry.id, Location.of(sparse.pack.name, entry)) for entry in index.entries}
    return stated.issuperset(sparse.live.items())


async def _moved(
    objects: ObjectStore, index: GarbageIndex, sealed: SealedPack, group: Sequence[Sparse]
) -> bool:
    registration = objects.registration()
    try:
        await asyncio.to_thread(_write, objects, sealed, reserved=not any(each.shrinks for each in group))
    except StoreFull:
        if any(not each.shrinks for each in group):
            raise
        return False  # what only saves room waits until there is some
    chunks = {entry.id: Location.of(sealed.name, entry) for entry in sealed.entries}
    old = tuple(Candidate(sparse.pack.name, sparse.pack.reference) for sparse in group)
    owner = sealed.owner
    sizes = (sealed.size, sealed.raw_bytes)
    new = CompactedPack(sealed.name, owner.project, owner.server, *sizes, chunks, old, registration)
    return await index.relocate(new, objects.clock.now())


def _write(objects: ObjectStore, sealed: SealedPack, *, reserved: bool) -> None:
    """Write a pack and see that it reads back whole. Raises StoreError."""
    objects.write_pack(sealed, reserved=reserved)
    examination, _ = objects.examine_pack(sealed.name)
    if examination.fault is not None:
        raise ObjectDamaged(
            f"the pack {sealed.name.hex()} was written and does not read back: {examination.fault}",
            remedy="look at the store's disk; the old packs stay",
        )
