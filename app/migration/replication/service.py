"""Out again: the content of a checkpoint as a stream, and its verification against what is stored."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from app.contract.resources.checkpoint import (
    Checkpoint,
    CheckpointDisk,
    DiskVerdict,
    VerifyProgress,
    VerifyResult,
)
from app.migration.replication.reading import BATCH, chunk_reader, readable
from app.migration.servers.enrolment import find_server
from app.migration.services import Services
from app.store import export
from app.store.errors import ObjectDamaged, ObjectMissing
from app.wire.chunks import ID_BYTES, ZERO_ID, chunk_id
from app.wire.tree import LEAF_IDS, ZERO_LEAF, RootNode, leaf_hash, leaf_ids

MOST_NAMED = 1000


async def export_stream(
    services: Services, checkpoint: Checkpoint, disk: CheckpointDisk
) -> AsyncIterator[bytes]:
    """The disk's content at the checkpoint as the frames of `app.store.export`.

    Raises ObjectMissing, ObjectDamaged; the receiver then sees a stream without its END frame.
    """
    project = await _project_of(services, checkpoint.server_id)
    reader = chunk_reader(services.store, services.database)
    async for piece in export.export_stream(services.store, reader, project, bytes.fromhex(disk.root)):
        yield piece


async def verify_stream(
    services: Services, checkpoint: Checkpoint
) -> AsyncIterator[VerifyProgress | VerifyResult]:
    """Read every stored byte of the checkpoint again; progress, then the result as the last event.

    A disk agrees when each of its chunks hashes to its id and the root recomputed from those hashes is the
    root that the agent derived from the source's own bytes.
    """
    project = await _project_of(services, checkpoint.server_id)
    total = sum(disk.size_bytes for disk in checkpoint.disks)
    yield VerifyProgress(checked_bytes=0, total_bytes=total)
    verdicts: list[DiskVerdict] = []
    before = 0
    for disk in checkpoint.disks:
        check = _DiskCheck(services, project, disk)
        async for checked in check.run():
            yield VerifyProgress(checked_bytes=before + checked, total_bytes=total)
        before += disk.size_bytes
        verdicts.append(check.verdict(checkpoint))
    yield VerifyResult(
        server_id=checkpoint.server_id,
        checkpoint_id=checkpoint.id,
        checkpoint_number=checkpoint.number,
        disks=tuple(verdicts),
        agrees=all(verdict.agrees for verdict in verdicts),
    )


async def _project_of(services: Services, server_id: str) -> str:
    async with services.database.reading() as uow:
        return (await find_server(uow, server_id)).project_id


def _hash(plain: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: chunk_id(data) for name, data in plain.items()}


@dataclass
class _DiskCheck:
    """Verification of one disk: hashes of the stored bytes, collected into a root of their own."""

    services: Services
    project: str
    disk: CheckpointDisk
    bad: list[int] = field(default_factory=list)
    stored_root: bytes | None = None

    async def run(self) -> AsyncIterator[int]:
        """Yield the bytes of the disk that are checked by now."""
        store = self.services.store
        try:
            node = await asyncio.to_thread(store.read_root, bytes.fromhex(self.disk.root))
        except (ObjectMissing, ObjectDamaged):
            self.bad.append(0)
            return
        leaves: list[bytes] = []
        for index, name in enumerate(node.leaf_hashes()):
            leaves.append(await self._leaf(node, index, name))
            yield min((index + 1) * LEAF_IDS * node.chunk_size, node.size)
        if not self.bad:
            self.stored_root = RootNode(node.size, node.chunk_size, b"".join(leaves)).hash

    async def _leaf(self, node: RootNode, index: int, name: bytes) -> bytes:
        """The hash of the leaf as the stored chunks give it."""
        if name == ZERO_LEAF:
            return ZERO_LEAF
        start = index * LEAF_IDS * node.chunk_size
        try:
            ids = leaf_ids(await asyncio.to_thread(self.services.store.read_leaf, name))
        except (ObjectMissing, ObjectDamaged):
            self.bad.append(start)
            return ZERO_LEAF
        found = await self._hashes(set(ids) - {ZERO_ID})
        self.bad += [
            start + at * node.chunk_size for at, each in enumerate(ids) if found.get(each, ZERO_ID) != each
        ]
        return leaf_hash(b"".join(found.get(each, bytes(ID_BYTES)) for each in ids))

    async def _hashes(self, ids: Iterable[bytes]) -> dict[bytes, bytes]:
        """What the stored bytes of these chunks hash to; those that cannot be read are left out."""
        reader = chunk_reader(self.services.store, self.services.database)
        ordered = sorted(ids)
        found: dict[bytes, bytes] = {}
        for at in range(0, len(ordered), BATCH):
            plain = await readable(reader, self.project, ordered[at : at + BATCH])
            found |= await asyncio.to_thread(_hash, plain)
        return found

    def verdict(self, checkpoint: Checkpoint) -> DiskVerdict:
        """What was found."""
        disk = self.disk
        return DiskVerdict(
            disk_id=disk.disk_id,
            key=disk.key,
            path=disk.path,
            size_bytes=disk.size_bytes,
            label=disk.label,
            source_time=checkpoint.source_time,
            checkpoint_root=disk.root,
            stored_root=self.stored_root,
            bad_chunks=tuple(self.bad[:MOST_NAMED]),
            bad_chunk_count=len(self.bad),
            agrees=self.stored_root is not None and self.stored_root.hex() == disk.root,
        )
