"""Marking: which leaves, roots and chunks are reachable from the checkpoints that are retained.

A node that cannot be read stops the marking: what hangs below it is unknown, and nothing may be condemned.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.store.errors import ObjectDamaged, ObjectMissing, StoreError
from app.store.index import CheckpointInfo, GarbageIndex, PackInfo
from app.store.marks import MarkSet
from app.store.objects import ObjectStore
from app.wire.tree import ZERO_LEAF, leaf_ids


@dataclass(frozen=True)
class Marked:
    """What is reachable: node names (leaves and roots), and chunk ids by project."""

    nodes: frozenset[bytes]
    chunks: Mapping[str, MarkSet]

    def is_live(self, project: str, name: bytes) -> bool:
        """Whether the project's chunk is, or must be taken to be, reachable."""
        marks = self.chunks.get(project)
        return marks is not None and name in marks


async def mark(
    objects: ObjectStore, index: GarbageIndex, checkpoints: Iterable[CheckpointInfo], packs: list[PackInfo]
) -> Marked:
    """Mark from the checkpoints and from packs that open sessions hold. Raises StoreError."""
    roots: dict[str, set[bytes]] = defaultdict(set)
    for checkpoint in checkpoints:
        roots[checkpoint.project].update(disk.root for disk in checkpoint.disks)
    nodes: set[bytes] = set()
    chunks: dict[str, MarkSet] = {}
    for project in {*roots, *(pack.project for pack in packs)}:
        marks = chunks[project] = MarkSet(await index.chunk_count(project))
        nodes |= await asyncio.to_thread(_mark_trees, objects, roots[project], marks)
        await _mark_bases(index, marks, project, [pack for pack in packs if pack.project == project])
    return Marked(frozenset(nodes), chunks)


def _mark_trees(objects: ObjectStore, roots: Iterable[bytes], marks: MarkSet) -> set[bytes]:
    """Mark the chunks below these roots; returns the roots and leaves passed."""
    nodes = set(roots)
    for root in tuple(nodes):
        for leaf in _leaves(objects, root):
            if leaf in nodes or leaf == ZERO_LEAF:
                continue
            marks.add_all(leaf_ids(_readable(objects, leaf)))
            nodes.add(leaf)
    return nodes


def _leaves(objects: ObjectStore, root: bytes) -> Iterable[bytes]:
    try:
        return objects.read_root(root).leaf_hashes()
    except (ObjectMissing, ObjectDamaged) as error:
        raise _stopped(f"root {root.hex()}", error) from error


def _readable(objects: ObjectStore, leaf: bytes) -> bytes:
    try:
        return objects.read_leaf(leaf)
    except (ObjectMissing, ObjectDamaged) as error:
        raise _stopped(f"leaf {leaf.hex()}", error) from error


def _stopped(what: str, error: StoreError) -> StoreError:
    return StoreError(
        f"nothing is collected: the {what} of a retained checkpoint cannot be read: {error}",
        code="COLLECTION_STOPPED",
        remedy="run go2cloud store check, and let the server replicate again or drop the checkpoint",
    )


async def _mark_bases(index: GarbageIndex, marks: MarkSet, project: str, packs: Iterable[PackInfo]) -> None:
    """Mark what marked delta records stand on, and what held packs' delta records stand on.

    The project's deltas are asked for, not those of `packs`: compaction of another run may have moved some
    into packs that were not there yet when the packs were listed.
    """
    for pack in packs:
        if pack.held:
            marks.add_all(await index.chunks_of(pack.name))
    patches = [pair async for pair in index.patches(project)]
    fresh = True
    while fresh:
        fresh = False
        for name, base in patches:
            if name in marks and base not in marks:
                marks.add(base)
                fresh = True
