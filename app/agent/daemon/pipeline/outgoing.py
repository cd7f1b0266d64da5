"""Records are gathered into frames of about 2 MiB, each tagged with the leaf that it belongs to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.pipeline.effort import Effort
from app.agent.daemon.pipeline.leaves import LeafKey
from app.agent.daemon.pipeline.tally import Tally
from app.wire.buffers import Buffer
from app.wire.frames import (
    TARGET_PAYLOAD,
    ChunkRecord,
    PatchRecord,
    ProofRecord,
    encode_chunks,
    encode_leaves,
    encode_patches,
    encode_proofs,
)

_RECORD_ROOM: Final = 128
"""Bytes that a record takes beside its data, at most, extent tables aside."""


@dataclass(frozen=True)
class Outgoing:
    """An encoded frame. If it is lost or refused, its leaf is done again.

    `raw` are the plain bytes of its chunks, and `effort` what they were packed with.
    """

    frame: bytes
    leaf: LeafKey
    tally: Tally
    raw: int
    effort: Effort


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
        self._leaf = leaf
        self._tally = tally
        self._emit = emit
        self._target = min(target, TARGET_PAYLOAD)
        self._chunks: list[ChunkRecord] = []
        self._patches: list[PatchRecord] = []
        self._chunk_bytes = 0
        self._patch_bytes = 0

    def add_chunk(self, record: ChunkRecord) -> None:
        """Add a whole chunk."""
        self._chunks.append(record)
        self._chunk_bytes += len(record.data) + _RECORD_ROOM
        if self._chunk_bytes >= self._target:
            self._flush_chunks()

    def add_patch(self, record: PatchRecord) -> None:
        """Add a patch."""
        self._patches.append(record)
        self._patch_bytes += len(record.data) + _RECORD_ROOM + 4 * len(record.extents)
        if self._patch_bytes >= self._target:
            self._flush_patches()

    def add_proofs(self, records: Sequence[ProofRecord]) -> None:
        """Add proofs of possession."""
        if records:
            self._send(encode_proofs(records))

    def add_leaf(self, ids: Buffer) -> None:
        """Add the leaf itself, behind all of its chunks."""
        self._send(encode_leaves([ids]))

    def flush(self) -> None:
        """Emit what was gathered."""
        self._flush_chunks()
        self._flush_patches()

    def _flush_chunks(self) -> None:
        if self._chunks:
            raw = sum(record.raw_length for record in self._chunks)
            self._send(encode_chunks(self._chunks), raw)
        self._chunks, self._chunk_bytes = [], 0

    def _flush_patches(self) -> None:
        if self._patches:
            self._send(encode_patches(self._patches))
        self._patches, self._patch_bytes = [], 0

    def _send(self, parts: list[Buffer], raw: int = 0) -> None:
        self._emit(Outgoing(b"".join(parts), self._leaf, self._tally, raw, self._effort()))
