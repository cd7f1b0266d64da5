"""Records are gathered into frames of about 2 MiB, each tagged with the leaves that it belongs to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from app.agent.daemon.pipeline.effort import Effort
from app.agent.daemon.pipeline.framememory import FrameMemory
from app.agent.daemon.pipeline.leaves import LeafKey, ReadyLeaf
from app.agent.daemon.pipeline.tally import Tally
from app.wire.buffers import Buffer
from app.wire.frames import (
    TARGET_PAYLOAD,
    BlocksRecord,
    ChunkRecord,
    PatchRecord,
    ProofRecord,
    encode_blocks,
    encode_chunks,
    encode_leaf_patches,
    encode_leaves,
    encode_patches,
    encode_proofs,
)

Record = TypeVar("Record")

LEAVES: Final = 32
"""Leaves of one frame, at most: 1 MiB where they go whole."""
_RECORD_ROOM: Final = 128
"""Bytes that a record takes beside its data, at most, extent tables aside."""


@dataclass(frozen=True)
class Outgoing:
    """An encoded frame. If it is lost or refused, its leaves are done again.

    `raw` are the plain bytes of its chunks, and `effort` what they were packed with. `nameless` counts
    records that the service names: a request has no more than MAX_BLOCKS_RECORDS of them.
    """

    frame: Buffer
    leaves: frozenset[LeafKey]
    tally: Tally
    raw: int
    effort: Effort
    nameless: int = 0


def leaf_frames(
    leaves: Sequence[ReadyLeaf], refused: set[bytes], tally: Tally, effort: Effort
) -> Iterator[Outgoing]:
    """Frames of one disk's leaves: as patches, but for those that have none or whose patch was `refused`."""
    small = [leaf for leaf in leaves if leaf.patch is not None and leaf.patch.leaf not in refused]
    by_patch = {leaf.key for leaf in small}
    whole = [leaf for leaf in leaves if leaf.key not in by_patch]
    for some in _portions(small):
        yield _leaf_frame(
            some, encode_leaf_patches([leaf.patch for leaf in some if leaf.patch]), tally, effort
        )
    for some in _portions(whole):
        yield _leaf_frame(some, encode_leaves([leaf.ids for leaf in some]), tally, effort)


def _portions(leaves: Sequence[ReadyLeaf]) -> Iterator[Sequence[ReadyLeaf]]:
    return (leaves[at : at + LEAVES] for at in range(0, len(leaves), LEAVES))


def _leaf_frame(leaves: Sequence[ReadyLeaf], parts: list[Buffer], tally: Tally, effort: Effort) -> Outgoing:
    return Outgoing(b"".join(parts), frozenset(leaf.key for leaf in leaves), tally, 0, effort)


class _Gathering(Generic[Record]):
    """Records of one kind on their way into a frame."""

    def __init__(self, send: Callable[[Sequence[Record]], None], target: int) -> None:
        self._send = send
        self._target = target
        self._records: list[Record] = []
        self._bytes = 0

    def add(self, record: Record, size: int) -> None:
        self._records.append(record)
        self._bytes += size + _RECORD_ROOM
        if self._bytes >= self._target:
            self.flush()

    def flush(self) -> None:
        if self._records:
            self._send(self._records)
        self._records, self._bytes = [], 0


class FrameBuilder:
    """Gathers one segment's records; `flush` must be called at its end. Not shared between threads."""

    def __init__(
        self,
        leaf: LeafKey,
        tally: Tally,
        emit: Callable[[Outgoing], None],
        target: int,
        effort: Callable[[], Effort],
        memory: FrameMemory,
    ) -> None:
        """Frames of about `target` bytes, in this memory, go to `emit`; `effort` is asked what chunks are
        packed with."""
        self._effort = effort
        self._leaves = frozenset({leaf})
        self._tally = tally
        self._emit = emit
        self._memory = memory
        most = min(target, TARGET_PAYLOAD)
        self._chunks = _Gathering(self._send_chunks, most)
        self._patches = _Gathering[PatchRecord](lambda records: self._send(encode_patches(records)), most)
        self._blocks = _Gathering(self._send_blocks, most)

    def add_chunk(self, record: ChunkRecord) -> None:
        """Add a whole chunk."""
        self._chunks.add(record, len(record.data))

    def add_patch(self, record: PatchRecord) -> None:
        """Add a patch."""
        self._patches.add(record, len(record.data) + 4 * len(record.extents))

    def add_blocks(self, record: BlocksRecord) -> None:
        """Add written blocks of a chunk without a name."""
        self._blocks.add(record, len(record.data) + 4 * len(record.extents))

    def add_proofs(self, records: Sequence[ProofRecord]) -> None:
        """Add proofs of possession."""
        if records:
            self._send(encode_proofs(records))

    def flush(self) -> None:
        """Emit what was gathered."""
        self._chunks.flush()
        self._patches.flush()
        self._blocks.flush()

    def _send_chunks(self, records: Sequence[ChunkRecord]) -> None:
        self._send(encode_chunks(records), sum(record.raw_length for record in records))

    def _send_blocks(self, records: Sequence[BlocksRecord]) -> None:
        self._send(encode_blocks(records), nameless=len(records))

    def _send(self, parts: list[Buffer], raw: int = 0, nameless: int = 0) -> None:
        frame = self._memory.join(parts)
        self._emit(Outgoing(frame, self._leaves, self._tally, raw, self._effort(), nameless))
