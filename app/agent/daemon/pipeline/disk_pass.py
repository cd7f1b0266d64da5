"""One disk during one pass: where its base stands, what was found, and what its commit will say."""

import threading
from collections.abc import Iterable
from dataclasses import replace

from app.agent.daemon.capture.activity import FUZZY
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.method import Capture
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.errors import RescanNeeded
from app.agent.daemon.pipeline.base import BaseLeaves
from app.agent.daemon.pipeline.dirt import Dirt, Untracked
from app.agent.daemon.pipeline.leaves import LeafKey, LeafTask, LeafWork, ReadyLeaf, Run
from app.agent.daemon.pipeline.tally import Tally
from app.wire.chunks import ID_BYTES
from app.wire.frames import LeafPatchRecord
from app.wire.messages import DiskBase, DiskCommit, LeafChange
from app.wire.tree import LEAF_IDS, ZERO_LEAF, RootNode, leaf_count, leaf_hash


class DiskPass:
    """Collects the leaves of one disk. Leaves may be done again: the last result counts.

    Where the base's tree is known the pass may be of several rounds over parts of the disk: the leaves' ids
    are kept here until all rounds are over, and only then sent. With `is_one_round` they are not: a leaf must
    not be done in part twice then, but for one whose put was lost.
    """

    def __init__(
        self,
        number: int,
        reader: DiskReader,
        base: DiskBase,
        capture: Capture,
        leaves: BaseLeaves,
        dirt: Dirt | None = None,
        damaged: Iterable[tuple[int, int]] = (),
    ) -> None:
        """`damaged` are the unreadable ranges of the base, for a disk that is done in part."""
        self.number = number
        self.reader = reader
        self.base = base
        self.capture = capture
        self.leaves = leaves
        self.dirt: Dirt = dirt or Untracked()
        self.tally = Tally(reader.size)
        self.label = FUZZY
        self.is_one_round = False
        tree = leaves.tree
        self._leaves = bytearray(tree.leaves if tree else self.leaf_count * ID_BYTES)
        self._changed: dict[int, bytes] = {}
        self._damaged: dict[int, list[tuple[int, int]]] = {}
        self._ids: dict[int, bytes] = {}
        self._patches: dict[int, LeafPatchRecord | None] = {}
        self._fresh: dict[int, LeafWork] = {}
        self._lock = threading.Lock()
        self._note_damage(damaged)

    @property
    def leaf_count(self) -> int:
        """Number of leaves of the disk as it is now."""
        return leaf_count(self.reader.size, self.base.chunk_size)

    @property
    def tasks(self) -> list[LeafTask]:
        """All leaves of the disk, each as a whole."""
        return [LeafTask(LeafKey(self.number, index)) for index in range(self.leaf_count)]

    @property
    def kept_leaves(self) -> frozenset[int]:
        """The indexes of the leaves that are kept here."""
        return frozenset(self._ids)

    def tasks_of(self, spans: Extents) -> list[LeafTask]:
        """The leaves that touch these byte ranges, each as a whole."""
        width = LEAF_IDS * self.base.chunk_size
        touched = {at for start, end in spans for at in range(start // width, -(-end // width))}
        return [LeafTask(LeafKey(self.number, at)) for at in sorted(touched) if at < self.leaf_count]

    def bytes_of(self, tasks: Iterable[LeafTask]) -> int:
        """What of the disk these tasks get through."""
        unit = self.base.chunk_size
        runs = (run for task in tasks for run in _runs(task))
        return sum(min((first + count) * unit, self.reader.size) - first * unit for first, count in runs)

    def ids_before(self, index: int) -> bytes | None:
        """The ids of a leaf before this round; None where they are not known for sure."""
        return self._ids.get(index) or self.leaves.trusted_ids(index)

    def require_ids_before(self, index: int) -> bytes:
        """The same, for what can be done in part alone. Raises RescanNeeded where they are not known."""
        before = self.ids_before(index)
        if before is None:
            raise RescanNeeded(
                self.base.key, self.reader.path, "the service lost a part of the replica's map"
            )
        return before

    def record(self, work: LeafWork) -> ReadyLeaf | None:
        """Take a finished leaf; it is returned where it must be sent now: it differs from the base, is not
        zero, and there is no later round that may change it."""
        index, value = work.key.index, leaf_hash(work.ids)
        with self._lock:
            self._leaves[index * ID_BYTES : (index + 1) * ID_BYTES] = value
            self._take_damage(work)
            if work.is_changed or self._may_be_another(index, value):
                self._changed[index] = value
            else:
                self._changed.pop(index, None)
            if self.leaves.tree is not None and not self.is_one_round:
                self._fresh[index] = work
                return None
        if not work.is_changed or value == ZERO_LEAF:
            return None
        return ReadyLeaf(work.key, bytes(work.ids), work.patch(value))

    def _may_be_another(self, index: int, value: bytes) -> bool:
        """Whether the base's tree may have another leaf where its ids are these: the service answers zeros
        for a leaf that it lost, and its tree goes on naming that leaf until a commit names another."""
        tree = self.leaves.tree
        return tree.leaf(index) != value if tree else value == ZERO_LEAF and bool(self.base.root)

    def settle(self, again: Iterable[LeafKey]) -> None:
        """The round is over: what it found stands, but for the leaves that are done again."""
        failed = {key.index for key in again if key.disk == self.number}
        for index, work in self._fresh.items():
            if index not in failed:
                self._ids[index] = bytes(work.ids)
                self._patches[index] = work.patch(leaf_hash(work.ids))
        self._fresh = {}

    def unsent_leaves(self) -> list[ReadyLeaf]:
        """The leaves kept here that differ from the base."""
        return [
            ReadyLeaf(LeafKey(self.number, index), ids, self._patches[index])
            for index, ids in sorted(self._ids.items())
            if self._changed.get(index, ZERO_LEAF) != ZERO_LEAF
        ]

    def keep_leaves(self) -> None:
        """The commit succeeded: the leaves kept here are those of the next base."""
        for ids in self._ids.values():
            self.leaves.cache.keep(leaf_hash(ids), ids)

    @property
    def root(self) -> RootNode:
        """The tree of the disk as read."""
        return RootNode(self.reader.size, self.base.chunk_size, bytes(self._leaves))

    @property
    def damaged(self) -> Extents:
        """The unreadable byte ranges."""
        with self._lock:
            return Extents.of(span for spans in self._damaged.values() for span in spans)

    @property
    def unreadable(self) -> int:
        """Bytes that could not be read so far."""
        return self.damaged.total

    def commit(self) -> DiskCommit:
        """The disk's part of the commit."""
        omitted = self.capture.omitted
        counters = replace(self.tally.counted, omitted=omitted.total)
        return DiskCommit(
            disk_id=self.base.disk_id,
            base_root=self.base.root,
            root=self.root.hash.hex(),
            size=self.reader.size,
            label=self.label,
            changed=tuple(LeafChange(index, self._changed[index].hex()) for index in sorted(self._changed)),
            omitted=omitted.ranges(),
            unreadable=self.damaged.ranges(),
            counters=counters,
        )

    def _note_damage(self, spans: Iterable[tuple[int, int]]) -> None:
        width = LEAF_IDS * self.base.chunk_size
        for start, end in spans:
            for index in range(start // width, -(-end // width)):
                part = max(start, index * width), min(end, (index + 1) * width)
                self._damaged.setdefault(index, []).append(part)

    def _take_damage(self, work: LeafWork) -> None:
        """What was read again is as damaged as it was found now; the rest of the leaf as before."""
        kept: list[tuple[int, int]] = []
        if work.is_partial:
            kept = list(Extents.of(self._damaged.get(work.key.index, [])).without(Extents.of(work.read)))
        self._damaged[work.key.index] = kept + work.damaged


def _runs(task: LeafTask) -> tuple[Run, ...]:
    return ((task.key.index * LEAF_IDS, LEAF_IDS),) if task.runs is None else task.runs
