"""Patched chunks: rebuilt on what the store has of their bases, many of them with one question each.

The questions of a batch are asked once. Where a base has an outboard, that says what the patch makes of it,
and nothing else of the base is touched. The other bases are read in the order of the store, a few at a time
in each of some threads, which read, unpack, patch and hash without the interpreter's lock.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, TypeVar

from app.migration.replication.index import DatabaseIndex
from app.migration.replication.possession import owned_chunks, placed
from app.migration.replication.received import Fault, Stored, rebuild, rebuild_by_outboard
from app.migration.replication.sessions import SessionScope
from app.migration.services import Services
from app.store.layers import Layers, layers_of, portions, read_layers
from app.store.objects import ObjectStore
from app.store.outboards import read_outboards
from app.wire.chunks import MIB, ZERO_ID
from app.wire.frames import BlocksRecord, PatchRecord
from app.wire.messages import Refused

BATCH: Final = 1024
"""Patches that the database is asked about together: a question costs it as much as rebuilding twenty."""
BATCH_BYTES: Final = 8 * MIB
BATCHES: Final = 2
"""Under way at a time: one is asked about while the other is rebuilt."""
FEW: Final = 128
"""Patches that are not kept waiting where nothing else is under way."""
THREADS: Final = 4
"""More than a small host has cores: a pack lies on the disk and not in a cache."""
CHUNKS: Final = 16
"""Patches that a thread does at a time: of the chunks that come out whole that many are in memory."""
OUTBOARDS: Final = 128
"""Bases that a thread does at a time by their outboards, of 2 KiB each."""

T = TypeVar("T")
ByBase: TypeAlias = Mapping[bytes, list[PatchRecord]]


@dataclass
class Rebuilt:
    """What came of some patches: chunks to be stored, what is refused, and by their digests the ids of those
    that the sender did not name."""

    chunks: list[Stored] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    named: dict[bytes, bytes] = field(default_factory=dict)

    def settle(self, record: PatchRecord, made: Stored | Fault) -> None:
        """This came of a record."""
        if isinstance(made, Fault):
            self.refuse([record], made)
            return
        if made.digest is not None:
            self.named[made.digest] = made.id
        if made.id != ZERO_ID:
            self.chunks.append(made)

    def refuse(self, records: Iterable[PatchRecord], fault: Fault) -> None:
        """These records gave no chunk."""
        self.refused += [_refused(record, fault) for record in records]


def _refused(record: PatchRecord, fault: Fault) -> Refused:
    name = record.id.hex()
    if isinstance(record, BlocksRecord):
        return Refused(name, "BLOCKS_REFUSED")
    if fault is Fault.BASE:
        return Refused(name, "BASE_MISSING")
    return Refused(name, "PATCH_MISMATCH")


class Patching:
    """Rebuilds the patched chunks of one put."""

    def __init__(self, services: Services, scope: SessionScope) -> None:
        """Nothing is rebuilt yet."""
        self._services = services
        self._scope = scope
        self._index = DatabaseIndex(services.database)
        self._threads = asyncio.Semaphore(THREADS)

    async def rebuild(self, records: Sequence[PatchRecord]) -> AsyncGenerator[Rebuilt, None]:
        """Rebuild these patches (at most 4,096), each on a base that the server possesses.

        A chunk that takes the place of a lost one is stored whole: its base might stand on that very chunk.
        """
        by_base = _grouped(records)
        async with self._services.database.reading() as uow:
            bases = await owned_chunks(uow, self._scope, by_base)
            replaced = await placed(uow, self._scope, _names(records))
        layers = await layers_of(self._index, self._scope.project_id, bases)
        left: list[PatchRecord] = []
        async with aclosing(self._in_threads(self._by_outboards(layers, by_base, replaced))) as quick:
            async for rebuilt, others in quick:
                left += others
                yield rebuilt
        async with aclosing(self._in_threads(self._by_bases(layers, left, replaced))) as slow:
            async for rebuilt in slow:
                yield rebuilt
        yield _baseless(by_base, layers)

    def _by_outboards(
        self, layers: Sequence[Layers], by_base: ByBase, replaced: set[bytes]
    ) -> Iterator[Callable[[], tuple[Rebuilt, list[PatchRecord]]]]:
        for at in range(0, len(layers), OUTBOARDS):
            some = layers[at : at + OUTBOARDS]
            yield partial(_rebuild_by_outboards, self._services.store, some, by_base, replaced)

    def _by_bases(
        self, layers: Sequence[Layers], records: Sequence[PatchRecord], replaced: set[bytes]
    ) -> Iterator[Callable[[], Rebuilt]]:
        for some, share in _shares(layers, _grouped(records)):
            yield partial(_rebuild, self._services.store, some, share, replaced)

    async def _in_threads(self, work: Iterable[Callable[[], T]]) -> AsyncGenerator[T, None]:
        """What these come to, in their order; THREADS of all that are asked for run at a time."""
        under_way = deque[asyncio.Task[T]]()
        try:
            for each in work:
                if len(under_way) == THREADS:
                    yield await under_way.popleft()
                under_way.append(asyncio.create_task(self._in_thread(each)))
            while under_way:
                yield await under_way.popleft()
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        async with self._threads:
            return await asyncio.to_thread(call)


def _grouped(records: Iterable[PatchRecord]) -> dict[bytes, list[PatchRecord]]:
    """The records by their bases."""
    by_base: dict[bytes, list[PatchRecord]] = {}
    for record in records:
        by_base.setdefault(record.base, []).append(record)
    return by_base


def _names(records: Iterable[PatchRecord]) -> set[bytes]:
    """The ids that the sender gave; those of BLOCKS records are none."""
    return {record.id for record in records if not isinstance(record, BlocksRecord)}


def _shares(layers: Sequence[Layers], by_base: ByBase) -> Iterator[tuple[list[Layers], ByBase]]:
    """Bases that are read together, and at most CHUNKS patches on them; one with more is read again."""
    for group in portions([each for each in layers if each.id in by_base], CHUNKS):
        records = [record for each in group for record in by_base[each.id]]
        for at in range(0, len(records), CHUNKS):
            share = _grouped(records[at : at + CHUNKS])
            yield [each for each in group if each.id in share], share


def _baseless(by_base: ByBase, layers: Iterable[Layers]) -> Rebuilt:
    """Refuse what stands on bases that are not there."""
    found, refused = {each.id for each in layers}, Rebuilt()
    for base, records in by_base.items():
        if base not in found:
            refused.refuse(records, Fault.BASE)
    return refused


def _rebuild_by_outboards(
    store: ObjectStore, layers: Sequence[Layers], by_base: ByBase, replaced: set[bytes]
) -> tuple[Rebuilt, list[PatchRecord]]:
    """What the outboards of the bases give, and the patches for which the bases themselves are needed."""
    done, left = Rebuilt(), list[PatchRecord]()
    outlined = {base.layers.id: base for base in read_outboards(store, layers)}
    for each in layers:
        base = outlined.get(each.id)
        for record in by_base[each.id]:
            may_stand = record.id not in replaced
            made = rebuild_by_outboard(record, base, may_stand=may_stand) if base else None
            if made is None:
                left.append(record)
            else:
                done.settle(record, made)
    return done, left


def _rebuild(store: ObjectStore, layers: Sequence[Layers], by_base: ByBase, replaced: set[bytes]) -> Rebuilt:
    done, read = Rebuilt(), set()
    for base, plain in read_layers(store, layers):
        read.add(base.id)
        for record in by_base[base.id]:
            done.settle(record, rebuild(record, base, plain, may_stand=record.id not in replaced))
    for each in layers:
        if each.id not in read:
            done.refuse(by_base[each.id], Fault.BASE)
    return done


def batches(records: Sequence[PatchRecord]) -> Iterator[Sequence[PatchRecord]]:
    """The records in groups of at most BATCH."""
    return (records[at : at + BATCH] for at in range(0, len(records), BATCH))
