"""From a base root and changed leaves to a new root: what a commit declares, computed anew."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.migration.replication.errors import BaseMismatch, MissingLeaves, RootMismatch
from app.migration.replication.tables import DiskRootRow
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.objects import ObjectStore
from app.wire.chunks import ZERO_ID
from app.wire.messages import DiskCommit
from app.wire.tree import ZERO_IDS, ZERO_LEAF, RootNode, leaf_ids


@dataclass(frozen=True)
class DiskTree:
    """A disk's new tree, the ids that it refers to and its base did not at the same place, and how many
    bytes of the disk are neither zero nor omitted."""

    commit: DiskCommit
    node: RootNode
    fresh_ids: frozenset[bytes]
    fresh_leaves: frozenset[bytes]
    used_bytes: int


async def build_tree(
    store: ObjectStore, commit: DiskCommit, base: DiskRootRow | None, chunk_size: int
) -> DiskTree:
    """Compute a disk's new tree in a thread.

    Raises BaseMismatch when the commit names another base root, MissingLeaves for a leaf that the store
    lacks, RootMismatch when the agent's root is not the one that its own leaves give.
    """
    return await asyncio.to_thread(_build_tree, store, commit, base, chunk_size)


def _build_tree(
    store: ObjectStore, commit: DiskCommit, base: DiskRootRow | None, chunk_size: int
) -> DiskTree:
    _require_base(commit, base)
    found = base_node(store, base)
    before = found or RootNode.empty(0, chunk_size)
    changed = {change.index: bytes.fromhex(change.leaf) for change in commit.changed}
    node = before.with_leaves(commit.size, changed)
    if node.hash.hex() != commit.root:
        raise RootMismatch(
            f"disk {commit.disk_id}: the agent's root {commit.root} is not the root {node.hash.hex()} of the "
            "leaves that it committed",
            remedy="open a new session: the agent reads the disk again",
        )
    fresh, used = _differences(store, before, changed)
    leaves = frozenset(changed.values()) - {ZERO_LEAF} | {node.hash}
    used_before = base.used_bytes if base and found else 0
    return DiskTree(commit, node, fresh, leaves, used_before + used * chunk_size)


def base_node(store: ObjectStore, base: DiskRootRow | None) -> RootNode | None:
    """The base's tree; None where there is none, or where the store cannot read it: see `base_ids`."""
    if base is None:
        return None
    try:
        return store.read_root(base.root)
    except (ObjectMissing, ObjectDamaged):
        return None


def _require_base(commit: DiskCommit, base: DiskRootRow | None) -> None:
    expected = base.root.hex() if base else ""
    if commit.base_root != expected:
        raise BaseMismatch(
            f"disk {commit.disk_id}: the commit stands on root {commit.base_root or 'none'}, "
            f"the head has {expected or 'none'}",
            remedy="open a new session",
        )


def _differences(
    store: ObjectStore, before: RootNode, changed: Mapping[int, bytes]
) -> tuple[frozenset[bytes], int]:
    """Ids that changed leaves hold and their predecessors did not, and the change of non-zero chunks.

    A predecessor that cannot be read holds none of the ids, and as many non-zero chunks as the new leaf.
    """
    fresh: set[bytes] = set()
    used = 0
    for index, name in changed.items():
        new, old = _new_ids(store, name), _base_leaf(store, before.leaf(index))
        fresh.update(set(new) - set(leaf_ids(old or ZERO_IDS)))
        used += _count_used(new) - _count_used(new if old is None else leaf_ids(old))
    return frozenset(fresh - {ZERO_ID}), used


def _new_ids(store: ObjectStore, name: bytes) -> list[bytes]:
    try:
        return leaf_ids(store.read_leaf(name))
    except (ObjectMissing, ObjectDamaged) as error:
        raise MissingLeaves(
            f"leaf {name.hex()} is not in the store, or damaged there",
            remedy="put it, then commit",
            leaves=[name.hex()],
        ) from error


def _base_leaf(store: ObjectStore, name: bytes) -> bytes | None:
    """A leaf of the base; None where the store cannot read it: see `base_ids`."""
    try:
        return store.read_leaf(name)
    except (ObjectMissing, ObjectDamaged):
        return None


def _count_used(ids: Iterable[bytes]) -> int:
    return sum(1 for name in ids if name != ZERO_ID)


def base_ids(store: ObjectStore, base: DiskRootRow | None, start: int, count: int) -> bytes:
    """The chunk ids of `count` leaves of a disk's base from leaf `start`, 32 KiB each; zeros where the base
    has none, and where the store cannot read its root or leaf.

    So an agent takes what is damaged for unknown and sends the leaf again, which heals it: leaves are small,
    and the chunks below them are known.
    """
    node = base_node(store, base)
    if node is None:
        return ZERO_IDS * count
    leaves = (_base_leaf(store, node.leaf(index)) for index in range(start, start + count))
    return b"".join(ZERO_IDS if leaf is None else leaf for leaf in leaves)
