"""Garbage collection: what nothing refers to is condemned, and deleted a grace period later.

One run, in this order:
1. the store must not be ahead of the database: with an old or empty database everything newer would look like
   garbage;
2. confirmed checkpoints whose commit marker is missing (a crash after the transaction) get it;
3. note `reference` of every pack and node, read the checkpoints, then mark what is reachable (see `mark`);
4. condemn dead packs and nodes that are older than the grace, where `reference` is unchanged;
5. move the live records of mostly dead packs into new ones, and of packs that came uncompressed and get
   smaller, as many as one run may (see `compaction`, `shrinking`);
6. delete what was condemned longer than the grace ago, then forget its rows;
7. delete objects that have no row and are older than the grace (a crash between writing and registering).

It is safe beside commits, and a crash at any point leaves a state from which the next run goes on. Only one
run at a time is useful; two do no harm.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.store.checkpointfile import CheckpointName
from app.store.compaction import Sparse, compact
from app.store.errors import ObjectDamaged, ObjectMissing, StoreAhead
from app.store.index import (
    Candidate,
    CheckpointInfo,
    GarbageIndex,
    NodeInfo,
    Objects,
    ObjectState,
    PackInfo,
)
from app.store.layout import NodeKind, StoredNode, StoredPack
from app.store.mark import Marked, mark
from app.store.objects import ObjectStore, StoredCheckpoint
from app.store.shrinking import is_uncompressed, worth_shrinking

_BATCH: Final = 500


@dataclass(frozen=True)
class Collected:
    """What one run did; `damaged` are packs that compaction found damaged or lost, and left alone."""

    condemned_packs: int = 0
    condemned_nodes: int = 0
    compacted_packs: int = 0
    deleted_packs: int = 0
    deleted_nodes: int = 0
    orphans: int = 0
    damaged: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class _Listing:
    """What lay on the backend before any row was read, so that a row is never missed for being new."""

    packs: tuple[StoredPack, ...]
    nodes: tuple[StoredNode, ...]
    checkpoints: tuple[StoredCheckpoint, ...]


@dataclass(frozen=True)
class _Rows:
    """What the database believed when the run began."""

    checkpoints: tuple[CheckpointInfo, ...]
    packs: tuple[PackInfo, ...]
    nodes: tuple[NodeInfo, ...]


async def collect(objects: ObjectStore, index: GarbageIndex, compress_bytes: int = 0) -> Collected:
    """Run garbage collection once; about `compress_bytes` of packs are read to compress them.

    Raises StoreAhead, or StoreError (COLLECTION_STOPPED) when a retained checkpoint's tree cannot be read.
    """
    cutoff = objects.clock.now() - objects.grace
    listing = await asyncio.to_thread(_list, objects)
    rows = await _read_rows(index)
    await asyncio.to_thread(_require_known, objects, listing, rows)
    await _confirm(objects, index, listing, rows)
    marked = await mark(objects, index, rows.checkpoints, list(rows.packs))
    dead, sparse, plain = await _sorted_out(index, rows, marked, cutoff)
    nodes = [Candidate(node.name, node.reference) for node in _dead_nodes(rows, marked, cutoff)]
    condemned = await _condemn(objects, index, dead, nodes)
    shrinking = await asyncio.to_thread(lambda: [*worth_shrinking(objects, plain, compress_bytes)])
    compacted = await compact(objects, index, [*sparse, *shrinking])
    deleted = await _delete_condemned(objects, index, cutoff)
    orphans = await asyncio.to_thread(_delete_orphans, objects, listing, rows, cutoff)
    return Collected(
        len(condemned.packs),
        len(condemned.nodes),
        compacted.packs,
        len(deleted.packs),
        len(deleted.nodes),
        orphans,
        compacted.damaged,
    )


async def _read_rows(index: GarbageIndex) -> _Rows:
    """Packs and nodes first, checkpoints last.

    A commit before the checkpoints are read is among them; one after that raises a `reference` that was noted
    before. The other way round, a commit in between would be seen by neither, and what it refers to deleted.
    """
    packs = tuple([item async for item in index.packs()])
    nodes = tuple([item async for item in index.nodes()])
    checkpoints = tuple([item async for item in index.checkpoints()])
    return _Rows(checkpoints, packs, nodes)


def _list(objects: ObjectStore) -> _Listing:
    nodes = [node for kind in NodeKind for node in objects.nodes(kind)]
    return _Listing(tuple(objects.packs()), tuple(nodes), tuple(objects.checkpoints()))


def _require_known(objects: ObjectStore, listing: _Listing, rows: _Rows) -> None:
    """A commit marker stands only where there is a row: it is written later and removed earlier.

    So a marker that stood before the rows were read and still stands has a row among them; one that went in
    between belonged to a checkpoint that was being dropped.
    """
    known = {checkpoint.name for checkpoint in rows.checkpoints}
    marked = [found.name for found in listing.checkpoints if found.confirmed and found.has_file]
    strange = [name for name in marked if name not in known and objects.has_marker(name)]
    if strange:
        raise StoreAhead(
            f"the store holds {len(strange)} confirmed checkpoints that the database does not know, first "
            f"{strange[0].key}: nothing is collected",
            remedy="restore the newer database, or run go2cloud store rebuild-db",
            checkpoints=len(strange),
        )


async def _confirm(objects: ObjectStore, index: GarbageIndex, listing: _Listing, rows: _Rows) -> None:
    """Write the commit markers that a crash after the transaction left out.

    A checkpoint may be dropped by another process just then: a marker whose row is gone by now goes again.
    """
    confirmed = {checkpoint.name for checkpoint in rows.checkpoints if checkpoint.confirmed}
    bare = [found.name for found in listing.checkpoints if found.has_file and not found.confirmed]
    names = [name for name in bare if name in confirmed]
    if not names:
        return
    await asyncio.to_thread(_write_markers, objects, names)
    left = {checkpoint.name async for checkpoint in index.checkpoints()}
    for name in names:
        if name not in left:
            await asyncio.to_thread(objects.unconfirm_checkpoint, name)


def _write_markers(objects: ObjectStore, names: Sequence[CheckpointName]) -> None:
    for name in names:
        try:
            objects.confirm_checkpoint(objects.read_checkpoint(name))
        except (ObjectMissing, ObjectDamaged):
            continue  # dropped meanwhile, or for a check to write again


async def _sorted_out(
    index: GarbageIndex, rows: _Rows, marked: Marked, cutoff: datetime
) -> tuple[list[Candidate], list[Sparse], list[Sparse]]:
    """Packs without a live chunk, packs that are worth emptying, and others that are not compressed."""
    dead: list[Candidate] = []
    sparse: list[Sparse] = []
    plain: list[Sparse] = []
    for pack in rows.packs:
        if pack.state is not ObjectState.LIVE or pack.held or pack.created_at >= cutoff:
            continue
        found = await index.chunks_of(pack.name)
        live = {name: at for name, at in found.items() if marked.is_live(pack.project, name)}
        if not live:
            dead.append(Candidate(pack.name, pack.reference))
            continue
        item = Sparse(pack, live)
        if item.is_sparse or item.is_small:
            sparse.append(item)
        elif is_uncompressed(item):
            plain.append(item)
    return dead, sparse, plain


def _dead_nodes(rows: _Rows, marked: Marked, cutoff: datetime) -> list[NodeInfo]:
    return [
        node
        for node in rows.nodes
        if node.state is ObjectState.LIVE
        and not node.held
        and node.created_at < cutoff
        and node.name not in marked.nodes
    ]


async def _condemn(
    objects: ObjectStore, index: GarbageIndex, packs: Sequence[Candidate], nodes: Sequence[Candidate]
) -> Objects:
    done = Objects()
    for at in range(0, max(len(packs), len(nodes)), _BATCH):
        some = packs[at : at + _BATCH], nodes[at : at + _BATCH]
        more = await index.condemn(*some, objects.clock.now())
        done = Objects(done.packs + more.packs, done.nodes + more.nodes)
    return done


async def _delete_condemned(objects: ObjectStore, index: GarbageIndex, cutoff: datetime) -> Objects:
    """Delete in batches, objects before rows: a crash in between repeats the deletion."""
    found = await index.condemned_before(cutoff)
    for at in range(0, max(len(found.packs), len(found.nodes)), _BATCH):
        some = Objects(found.packs[at : at + _BATCH], found.nodes[at : at + _BATCH])
        await asyncio.to_thread(_delete, objects, some, cutoff)
        await index.forget(some)
    return found


def _delete(objects: ObjectStore, some: Objects, cutoff: datetime) -> None:
    """A node's young writing belongs to somebody who is putting it again: it stays."""
    for name in some.packs:
        objects.delete_pack(name)
    for kind, name in some.nodes:
        for info in objects.writings(kind, name):
            if info.modified < cutoff:
                objects.delete_node(StoredNode(kind, name, info))


def _delete_orphans(objects: ObjectStore, listing: _Listing, rows: _Rows, cutoff: datetime) -> int:
    packs = {pack.name for pack in rows.packs}
    nodes = {(node.kind, node.name) for node in rows.nodes}
    checkpoints = {checkpoint.name for checkpoint in rows.checkpoints}
    old_packs = [p for p in listing.packs if p.name not in packs and p.info.modified < cutoff]
    old_nodes = [n for n in listing.nodes if (n.kind, n.name) not in nodes and n.info.modified < cutoff]
    old_files = [c for c in listing.checkpoints if c.name not in checkpoints and c.modified < cutoff]
    for pack in old_packs:
        objects.delete_pack(pack.name)
    for node in old_nodes:
        objects.delete_node(node)
    for file in old_files:
        objects.delete_checkpoint(file.name)
    return len(old_packs) + len(old_nodes) + len(old_files)
