"""One disk during one pass: where its base stands, what was found, and what its commit will say."""

import threading
from dataclasses import replace

from app.agent.daemon.capture.activity import FUZZY
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.method import Capture
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.pipeline.leaves import LeafKey, LeafWork
from app.agent.daemon.pipeline.tally import Tally
from app.wire.chunks import ID_BYTES
from app.wire.messages import DiskBase, DiskCommit, LeafChange, Range
from app.wire.tree import LEAF_IDS, ZERO_LEAF, RootNode, leaf_count, leaf_hash


class DiskPass:
    """Collects the leaves of one disk. Leaves may be done again: the last result counts."""

    def __init__(self, number: int, reader: DiskReader, base: DiskBase, capture: Capture) -> None:
        self.number = number
        self.reader = reader
        self.base = base
        self.capture = capture
        self.tally = Tally(reader.size)
        self.label = FUZZY
        self._leaves = bytearray(self.leaf_count * ID_BYTES)
        self._changed: dict[int, bytes] = {}
        self._damaged: dict[int, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()

    @property
    def leaf_count(self) -> int:
        """Number of leaves of the disk as it is now."""
        return leaf_count(self.reader.size, self.base.chunk_size)

    @property
    def keys(self) -> list[LeafKey]:
        """All leaves of the disk."""
        return [LeafKey(self.number, index) for index in range(self.leaf_count)]

    def keys_of(self, spans: Extents) -> list[LeafKey]:
        """The leaves that touch these byte ranges."""
        width = LEAF_IDS * self.base.chunk_size
        touched = {at for start, end in spans for at in range(start // width, -(-end // width))}
        return [LeafKey(self.number, index) for index in sorted(touched) if index < self.leaf_count]

    def record(self, work: LeafWork) -> bytes | None:
        """Take a finished leaf; its hash where it must be sent: it differs from the base and is not zero."""
        index, value = work.key.index, leaf_hash(work.ids)
        with self._lock:
            self._leaves[index * ID_BYTES : (index + 1) * ID_BYTES] = value
            self._damaged[index] = work.damaged
            if work.is_changed:
                self._changed[index] = value
            else:
                self._changed.pop(index, None)
        return value if work.is_changed and value != ZERO_LEAF else None

    @property
    def root(self) -> RootNode:
        """The tree of the disk as read."""
        return RootNode(self.reader.size, self.base.chunk_size, bytes(self._leaves))

    @property
    def unreadable(self) -> int:
        """Bytes that could not be read so far."""
        with self._lock:
            return sum(end - start for spans in self._damaged.values() for start, end in spans)

    def commit(self) -> DiskCommit:
        """The disk's part of the commit."""
        omitted = self.capture.omitted
        counters = replace(self.tally.counted, omitted=omitted.total)
        damaged = Extents.of(span for spans in self._damaged.values() for span in spans)
        return DiskCommit(
            disk_id=self.base.disk_id,
            base_root=self.base.root,
            root=self.root.hash.hex(),
            size=self.reader.size,
            label=self.label,
            changed=tuple(LeafChange(index, self._changed[index].hex()) for index in sorted(self._changed)),
            omitted=_ranges(omitted),
            unreadable=_ranges(damaged),
            counters=counters,
        )


def _ranges(extents: Extents) -> tuple[Range, ...]:
    return tuple((start, end - start) for start, end in extents)
