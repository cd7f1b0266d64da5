"""A leaf in the making: the ids of its 1,024 chunks come in by segments, from several threads."""

import threading
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from app.wire.chunks import ID_BYTES, MIB
from app.wire.frames import LeafPatchRecord
from app.wire.tree import LEAF_BYTES, LEAF_IDS, ZERO_LEAF, leaf_changes, leaf_hash

SEGMENT: Final = 16 * MIB
"""Bytes of a disk that are read and hashed as one; a leaf is a whole number of them."""

MOST_CHANGES: Final = 300
"""Ids that a leaf's patch may have: 10 KiB, against 32 KiB for a leaf that the service need not rebuild."""

Run: TypeAlias = tuple[int, int]
"""(first chunk, count), chunks being counted over the disk."""


@dataclass(frozen=True)
class LeafKey:
    """Leaf `index` of disk number `disk` of the pass."""

    disk: int
    index: int


@dataclass(frozen=True)
class LeafTask:
    """What to do of a leaf: these runs of its chunks, ascending; all of it where `runs` is None."""

    key: LeafKey
    runs: tuple[Run, ...] | None = None


@dataclass(frozen=True)
class ReadyLeaf:
    """A leaf to be sent: its ids, and where few of them differ from the base's, the patch that says so."""

    key: LeafKey
    ids: bytes
    patch: LeafPatchRecord | None


class LeafWork:
    """The ids of one leaf: those of the base, those before this round, and the new ones so far.

    Of a leaf that is done as a whole nothing is known before: what no segment sets is zero. Of one that is
    done in part, `before` are the ids that stay where no segment sets others.
    """

    def __init__(self, key: LeafKey, base_ids: bytes, segments: int, before: bytes | None = None) -> None:
        self.key = key
        self.ids = bytearray(LEAF_BYTES if before is None else before)
        self.is_partial = before is not None
        self.damaged: list[tuple[int, int]] = []
        self.read: list[tuple[int, int]] = []
        self._base_ids = base_ids
        self._before = base_ids if before is None else before
        self._missing = segments
        self._lock = threading.Lock()

    @property
    def is_changed(self) -> bool:
        """Whether the ids differ from the base's."""
        return self.ids != self._base_ids

    def patch(self, name: bytes) -> LeafPatchRecord | None:
        """The leaf, whose hash is `name`, as changes of the base's; None where they are many or the base has
        no ids there."""
        base = leaf_hash(self._base_ids)
        if base == ZERO_LEAF:
            return None
        changes = leaf_changes(self._base_ids, self.ids)
        return LeafPatchRecord(base, name, changes) if 0 < len(changes) <= MOST_CHANGES else None

    def id_before(self, chunk: int) -> bytes:
        """The id that a chunk, counted over the disk, had before: what a patch may stand on."""
        at = chunk % LEAF_IDS * ID_BYTES
        return self._before[at : at + ID_BYTES]

    def set_id(self, chunk: int, value: bytes) -> None:
        """Note the id of a chunk, counted over the disk."""
        at = chunk % LEAF_IDS * ID_BYTES
        self.ids[at : at + ID_BYTES] = value

    def finish_segment(
        self, read: Iterable[tuple[int, int]] = (), damaged: Iterable[tuple[int, int]] = ()
    ) -> bool:
        """A segment is done, of which these byte ranges of the disk were read; True for the last one of the
        leaf."""
        with self._lock:
            self.read += read
            self.damaged += damaged
            self._missing -= 1
            return self._missing == 0


def segments_of(index: int, size: int, chunk_size: int) -> list[tuple[int, int]]:
    """(start, end) in bytes of the segments of leaf `index` of a disk of `size` bytes."""
    start = index * LEAF_IDS * chunk_size
    end = min(start + LEAF_IDS * chunk_size, size)
    return [(at, min(at + SEGMENT, end)) for at in range(start, end, SEGMENT)]


def tasks_of(disk: int, extents: Iterable[tuple[int, int]], chunk_size: int) -> list[LeafTask]:
    """The tasks that do every chunk touched by these ascending byte ranges, and no other."""
    by_leaf = leaf_runs(extents, chunk_size, LEAF_IDS)
    return [LeafTask(LeafKey(disk, leaf), tuple(runs)) for leaf, runs in by_leaf.items()]


def leaf_runs(extents: Iterable[tuple[int, int]], unit: int, per_leaf: int) -> dict[int, list[Run]]:
    """What these ascending byte ranges touch, in runs of pieces of `unit` bytes, by the leaves: each has
    `per_leaf` of these pieces."""
    by_leaf: dict[int, list[Run]] = {}
    for leaf, first, count in _cut_at_leaves(extents, unit, per_leaf):
        runs = by_leaf.setdefault(leaf, [])
        if runs and sum(runs[-1]) >= first:
            start = runs[-1][0]
            runs[-1] = (start, max(sum(runs[-1]), first + count) - start)
        else:
            runs.append((first, count))
    return by_leaf


def _cut_at_leaves(
    extents: Iterable[tuple[int, int]], unit: int, per_leaf: int
) -> Iterator[tuple[int, int, int]]:
    for start, end in extents:
        first, behind = start // unit, -(-end // unit)
        while first < behind:
            leaf = first // per_leaf
            count = min(behind, (leaf + 1) * per_leaf) - first
            yield leaf, first, count
            first += count


def without(task: LeafTask, chunks: Container[int]) -> LeafTask | None:
    """A task that names its runs, without these chunks; None where it does no others."""
    runs = tuple(_runs(chunk for chunk in chunks_of(task.runs or ()) if chunk not in chunks))
    return LeafTask(task.key, runs) if runs else None


def chunks_of(runs: Iterable[Run]) -> Iterator[int]:
    """The chunks of these runs, one by one."""
    return (chunk for first, count in runs for chunk in range(first, first + count))


def _runs(chunks: Iterable[int]) -> Iterator[Run]:
    """Ascending chunks as runs."""
    first = count = 0
    for chunk in chunks:
        if count and chunk == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = chunk, 1
    if count:
        yield first, count


def portions(runs: Iterable[Run], most: int) -> Iterator[list[Run]]:
    """The runs cut into groups of at most `most` chunks."""
    group: list[Run] = []
    room = most
    for run in runs:
        first, count = run
        while count:
            taken = min(count, room)
            group.append((first, taken))
            first, count, room = first + taken, count - taken, room - taken
            if not room:
                yield group
                group, room = [], most
    if group:
        yield group
