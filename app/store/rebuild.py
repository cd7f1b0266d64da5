"""Rebuilding the database from the store: packs and nodes first, then checkpoints in the order of numbers.

Only what verifies is restored: a pack whose index reads, a node that hashes to its name, a checkpoint file
that is what its checksum says. A checkpoint with a commit marker is restored as confirmed, one without as
unconfirmed: a commit that was fenced off may have left it. Rebuilding reads no chunk data; `check` does.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from app.store.checkpointfile import CheckpointFile
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.index import Location, NodeInfo, ObjectState, PackInfo, RebuildIndex
from app.store.layout import NodeKind, StoredNode, StoredPack
from app.store.objects import ObjectStore, StoredCheckpoint
from app.store.pack import PackIndex
from app.wire.codec import Codec

_BATCH: Final = 256


@dataclass
class RebuildReport:
    """What was restored, and what was left out because it is damaged (object name and reason)."""

    packs: int = 0
    chunks: int = 0
    nodes: int = 0
    confirmed: int = 0
    unconfirmed: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)


async def rebuild(
    objects: ObjectStore, index: RebuildIndex, progress: Callable[[RebuildReport], None] | None = None
) -> RebuildReport:
    """Walk the store and restore what it describes. May be repeated. Raises StoreUnavailable."""
    run = _Rebuild(objects, index, RebuildReport(), progress or _nobody)
    await run.packs()
    for kind in NodeKind:
        await run.nodes(kind)
    await run.checkpoints()
    return run.report


def _nobody(_report: RebuildReport) -> None:
    """Tell nobody."""


@dataclass
class _Rebuild:
    objects: ObjectStore
    index: RebuildIndex
    report: RebuildReport
    progress: Callable[[RebuildReport], None]

    async def packs(self) -> None:
        """Restore packs. Where several hold a chunk, whole records come before deltas, whose base may be
        gone, and the newest first: what was stored again took the place of something damaged."""
        found = await asyncio.to_thread(lambda: list(self.objects.packs()))
        newest = sorted(found, key=lambda item: item.info.modified, reverse=True)
        with_deltas: list[StoredPack] = []
        for pack in newest:
            parsed = await asyncio.to_thread(self._pack_index, pack)
            if parsed is not None:
                if await self._restore_pack(pack, parsed):
                    with_deltas.append(pack)
                self.report.packs += 1
            self.progress(self.report)
        for pack in with_deltas:
            parsed = await asyncio.to_thread(self._pack_index, pack)
            if parsed is not None:
                await self._restore_pack(pack, parsed, deltas=True)

    def _pack_index(self, pack: StoredPack) -> PackIndex | None:
        try:
            return self.objects.read_pack_index(pack.name)
        except (ObjectDamaged, ObjectMissing) as error:
            self.report.damaged.append((pack.info.name, str(error)))
            return None

    async def _restore_pack(self, pack: StoredPack, found: PackIndex, *, deltas: bool = False) -> bool:
        """Restore the whole records of a pack, or its deltas; whether it holds any of the other kind."""
        raw = sum(entry.raw_length for entry in found.entries)
        row = PackInfo(
            pack.name,
            found.owner.project,
            found.owner.server,
            ObjectState.LIVE,
            0,
            pack.info.size,
            raw,
            pack.info.modified,
        )
        chosen = [entry for entry in found.entries if (entry.codec is Codec.DELTA) is deltas]
        chunks = {entry.id: Location.of(pack.name, entry) for entry in chosen}
        await self.index.restore_pack(row, chunks)
        self.report.chunks += len(chunks)
        return len(chosen) < len(found.entries)

    async def nodes(self, kind: NodeKind) -> None:
        """Restore the leaves or roots of which at least one writing verifies."""
        found = await asyncio.to_thread(lambda: list(self.objects.nodes(kind)))
        newest: dict[bytes, StoredNode] = {}
        for node in found:
            if node.name not in newest or newest[node.name].info.modified < node.info.modified:
                newest[node.name] = node
        nodes = list(newest.values())
        for at in range(0, len(nodes), _BATCH):
            for node in await asyncio.to_thread(self._readable, nodes[at : at + _BATCH]):
                row = NodeInfo(node.name, kind, ObjectState.LIVE, 0, node.info.modified)
                await self.index.restore_node(row)
                self.report.nodes += 1
            self.progress(self.report)

    def _readable(self, nodes: Iterable[StoredNode]) -> list[StoredNode]:
        good = []
        for node in nodes:
            try:
                self._read_node(node)
            except (ObjectDamaged, ObjectMissing) as error:
                self.report.damaged.append((node.info.name, str(error)))
            else:
                good.append(node)
        return good

    def _read_node(self, node: StoredNode) -> None:
        if node.kind is NodeKind.LEAF:
            self.objects.read_leaf(node.name)
        else:
            self.objects.read_root(node.name)

    async def checkpoints(self) -> None:
        """Restore the checkpoint files of each server in the order of their numbers."""
        for item in await asyncio.to_thread(self.objects.checkpoints):
            found = await asyncio.to_thread(self._checkpoint, item)
            if found is not None:
                await self._restore_checkpoint(*found)
            self.progress(self.report)

    def _checkpoint(self, item: StoredCheckpoint) -> tuple[CheckpointFile, bool] | None:
        try:
            file = self.objects.read_checkpoint(item.name)
            return file, self.objects.is_confirmed(file)
        except (ObjectDamaged, ObjectMissing) as error:
            self.report.damaged.append((item.name.key, str(error)))
            return None

    async def _restore_checkpoint(self, file: CheckpointFile, confirmed: bool) -> None:
        await self.index.restore_checkpoint(file, confirmed)
        if confirmed:
            self.report.confirmed += 1
        else:
            self.report.unconfirmed += 1
