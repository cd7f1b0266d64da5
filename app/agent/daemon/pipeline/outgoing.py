"""Records are gathered into frames of about 2 MiB, each tagged with the leaves that it belongs to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.pipeline.effort import Effort
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

LEAVES: Final = 32
"""Leaves of one frame, at most: 1 MiB where they go whole."""
_RECORD_ROOM: Final = 128
"""Bytes that a record takes beside its data, at most, extent tables aside."""


@dataclass(frozen=True)
class Outgoing:
    """An encoded frame. If it is lost or refused, its leaves are done again.

    `raw` are the plain bytes of its chunks, and `effort` what they were packed with.
    """

    frame: bytes
    leaves: frozenset[LeafKey]
    tally: Tally
    raw: int
    effort: Effort


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


class FrameBuilder:
    """Gathers one segment's records; `flush` must be called at its end. Not shared between threads."""

    def __init__(
        self,
        leaf: LeafKey,
        tally: Tally,
        emit: Callable[[Outgoing], None],
        target: int,
        effort: Callable[[], Effort],
    ) -> None:
        """Frames of about `target` bytes go to `emit`; `effort` is asked what chunks are packed with."""
        self._effort = effort
        self._leaves = frozenset({leaf})
        self._tally = tally
        self._emit = emit
        self._target = min(target, TARGET_PAYLOAD)
        self._chunks: list[ChunkRecord] = []
        self._patches: list[PatchRecord] = []
        self._blocks: list[BlocksRecord] = []
        self._chunk_bytes = 0
        self._patch_bytes = 0
        self._block_bytes = 0

    def add_chunk(self, record: ChunkRecord) -> None:
        """Add a whole chunk."""
        self._chunks.append(record)
        self._chunk_bytes += len(record.data) + _RECORD_ROOM
        if self._chunk_bytes >= self._target:
            self._flush_chunks()

    def add_patch(self, record: PatchRecord) -> None:
        """Add a patch."""
        self._patches.append(record)
        self._patch_bytes += _patch_room(record)
        if self._patch_bytes >= self._target:
            self._flush_patches()

    def add_blocks(self, record: BlocksRecord) -> None:
        """Add written blocks of a chunk without a name."""
        self._blocks.append(record)
        self._block_bytes += _patch_room(record)
        if self._block_bytes >= self._target:
            self._flush_blocks()

    def add_proofs(self, records: Sequence[ProofRecord]) -> None:
        """Add proofs of possession."""
        if records:
            self._send(encode_proofs(records))

    def flush(self) -> None:
        """Emit what was gathered."""
        self._flush_chunks()
        self._flush_patches()
        self._flush_blocks()

    def _flush_chunks(self) -> None:
        if self._chunks:
            raw = sum(record.raw_length for record in self._chunks)
            self._send(encode_chunks(self._chunks), raw)
        self._chunks, self._chunk_bytes = [], 0

    def _flush_patches(self) -> None:
        if self._patches:
            self._send(encode_patches(self._patches))
        self._patches, self._patch_bytes = [], 0

    def _flush_blocks(self) -> None:
        if self._blocks:
            self._send(encode_blocks(self._blocks))
        self._blocks, self._block_bytes = [], 0

    def _send(self, parts: list[Buffer], raw: int = 0) -> None:
        self._emit(Outgoing(b"".join(parts), self._leaves, self._tally, raw, self._effort()))


def _patch_room(record: PatchRecord) -> int:
    return len(record.data) + _RECORD_ROOM + 4 * len(record.extents)
