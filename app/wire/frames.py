"""Frames: the body of a put and of an export is a stream of them, each a header and a payload.

header (16 bytes, big-endian): magic "g2", version u8, type u8, record count u32, payload length u32,
4 zero bytes. A frame carries many records, so that a megabyte costs one parse and not four; at most
MAX_RECORDS of them, so that a small frame of tiny records cannot unpack to terabytes.

CHUNKS   id 32, codec u8, 3 zero bytes, raw length u32, stored length u32, then the stored bytes
PATCHES  new id 32, base id 32, codec u8, 3 zero bytes, raw length of the chunk u32, raw length of the
         data u32, stored length u32, extent table (see `patch`), then the stored bytes of the data
LEAVES   1,024 chunk ids (32 KiB)
PROOFS   chunk id 32, BLAKE3 of the chunk keyed with the session's proof key 32
ROOT     one encoded root node (see `tree`); only in exports
END      no record and no payload; a stream without it was cut off
LEAF_PATCHES
         hash of the base leaf 32, hash of the new leaf 32, count u16, then as many changes: index in the
         leaf u16, chunk id 32; at least one, the indexes ascending and below 1,024
BLOCKS   as PATCHES, but that the patch's digest (see `patch`) takes the place of the new id, which the
         sender does not know: it read nothing but the blocks that were written

The zero bytes between fields are written as zeros and not looked at. No other frame type is without payload
unless it is also without records.

Every content is checked by the hash that names it, so a frame has no checksum of its own.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from app.wire.buffers import Buffer
from app.wire.chunks import ID_BYTES, MAX_CHUNK_SIZE
from app.wire.codec import Codec
from app.wire.errors import FrameError
from app.wire.memory import unfilled
from app.wire.patch import Extent, decode_extents, encode_extents, patched_bytes
from app.wire.tree import LEAF_BYTES, LEAF_IDS, MAX_LEAVES, ROOT_HEADER_BYTES, LeafChanges

MAGIC: Final = b"g2"
VERSION: Final = 1
HEADER: Final = struct.Struct("!2sBBIII")
MAX_PAYLOAD: Final = 8 * 1024 * 1024
MAX_ROOT_PAYLOAD: Final = MAX_LEAVES * ID_BYTES + ROOT_HEADER_BYTES
TARGET_PAYLOAD: Final = 2 * 1024 * 1024
MAX_RECORDS: Final = 4096
MAX_BLOCKS_RECORDS: Final = 65_536
"""In all BLOCKS frames of one put, since its answer names each of their chunks."""

_CHUNK: Final = struct.Struct("!32sB3xII")
_PATCH: Final = struct.Struct("!32s32sB3xIII")
_PROOF: Final = struct.Struct("!32s32s")
_LEAF_PATCH: Final = struct.Struct("!32s32sH")
_LEAF_CHANGE: Final = struct.Struct("!H32s")


class FrameType(IntEnum):
    """Type byte of a frame."""

    CHUNKS = 1
    PATCHES = 2
    LEAVES = 3
    PROOFS = 4
    ROOT = 5
    END = 6
    LEAF_PATCHES = 7
    BLOCKS = 8


PUT_TYPES: Final = frozenset(FrameType) - {FrameType.ROOT}
"""What the stream of a put may have."""


@dataclass(frozen=True)
class ChunkRecord:
    """A whole chunk: `data` holds its stored form, `raw_length` the length of its plain bytes."""

    id: bytes
    codec: Codec
    raw_length: int
    data: Buffer


@dataclass(frozen=True)
class PatchRecord:
    """A chunk as changes of a base chunk: `data` is the stored form of `patch_length` plain bytes."""

    id: bytes
    base: bytes
    raw_length: int
    extents: tuple[Extent, ...]
    codec: Codec
    patch_length: int
    data: Buffer


@dataclass(frozen=True)
class BlocksRecord(PatchRecord):
    """The same where the sender does not know the new chunk's id: `id` is the patch's digest."""


@dataclass(frozen=True)
class ProofRecord:
    """Evidence that the sender holds the chunk's bytes and not only its id."""

    id: bytes
    proof: bytes


@dataclass(frozen=True)
class LeafPatchRecord:
    """A leaf, by its hash, as changes of a base leaf: the ids that differ, by their index in the leaf."""

    base: bytes
    leaf: bytes
    changes: LeafChanges


@dataclass(frozen=True)
class Frame:
    """One frame as received; `records()` of its type parses the payload."""

    type: FrameType
    count: int
    payload: Buffer


def encode_chunks(records: Sequence[ChunkRecord]) -> list[Buffer]:
    """A CHUNKS frame as buffers to write one after the other."""
    parts: list[Buffer] = []
    for record in records:
        stored = memoryview(record.data).nbytes
        parts += (_CHUNK.pack(record.id, record.codec, record.raw_length, stored), record.data)
    return _frame(FrameType.CHUNKS, len(records), parts)


def encode_patches(records: Sequence[PatchRecord]) -> list[Buffer]:
    """A PATCHES frame as buffers to write one after the other."""
    return _patches(FrameType.PATCHES, records)


def encode_blocks(records: Sequence[BlocksRecord]) -> list[Buffer]:
    """A BLOCKS frame as buffers to write one after the other."""
    return _patches(FrameType.BLOCKS, records)


def _patches(kind: FrameType, records: Sequence[PatchRecord]) -> list[Buffer]:
    parts: list[Buffer] = []
    for record in records:
        lengths = (record.raw_length, record.patch_length, memoryview(record.data).nbytes)
        parts += (
            _PATCH.pack(record.id, record.base, record.codec, *lengths),
            encode_extents(record.extents),
            record.data,
        )
    return _frame(kind, len(records), parts)


def encode_leaves(leaves: Sequence[Buffer]) -> list[Buffer]:
    """A LEAVES frame of leaves of LEAF_BYTES each. Raises FrameError."""
    if any(memoryview(leaf).nbytes != LEAF_BYTES for leaf in leaves):
        raise FrameError(f"a leaf has {LEAF_BYTES} bytes")
    return _frame(FrameType.LEAVES, len(leaves), leaves)


def encode_proofs(records: Sequence[ProofRecord]) -> list[Buffer]:
    """A PROOFS frame."""
    return _frame(
        FrameType.PROOFS, len(records), [_PROOF.pack(record.id, record.proof) for record in records]
    )


def encode_leaf_patches(records: Sequence[LeafPatchRecord]) -> list[Buffer]:
    """A LEAF_PATCHES frame. Raises FrameError for changes that are out of order or outside of a leaf."""
    parts: list[Buffer] = []
    for record in records:
        _require_changes(record.changes)
        parts.append(_LEAF_PATCH.pack(record.base, record.leaf, len(record.changes)))
        parts += (_LEAF_CHANGE.pack(*change) for change in record.changes)
    return _frame(FrameType.LEAF_PATCHES, len(records), parts)


def encode_root(node: Buffer) -> list[Buffer]:
    """A ROOT frame of one encoded root node."""
    return _frame(FrameType.ROOT, 1, [node])


def encode_end() -> list[Buffer]:
    """The frame that closes a stream."""
    return _frame(FrameType.END, 0, [])


def _frame(kind: FrameType, count: int, parts: Sequence[Buffer]) -> list[Buffer]:
    length = sum(memoryview(part).nbytes for part in parts)
    _require_bounds(kind, count, length)
    return [HEADER.pack(MAGIC, VERSION, kind, count, length, 0), *parts]


def most_payload(kind: FrameType) -> int:
    """The largest payload, in bytes, that a frame of this type may have."""
    match kind:
        case FrameType.ROOT:
            return MAX_ROOT_PAYLOAD
        case FrameType.END:
            return 0
        case _:
            return MAX_PAYLOAD


def _require_bounds(kind: FrameType, count: int, length: int) -> None:
    """Refuse a frame by its header alone. Raises FrameError."""
    if length > most_payload(kind) or count > MAX_RECORDS:
        raise FrameError(f"a {kind.name} frame of {length} bytes with {count} records is too large")
    if (count == 0) != (length == 0) or (kind is FrameType.ROOT and count != 1):
        raise FrameError(f"a {kind.name} frame of {length} bytes cannot have {count} records")


def chunk_records(frame: Frame) -> list[ChunkRecord]:
    """The records of a CHUNKS frame, their data as views of the payload. Raises FrameError."""
    cursor = _Cursor(frame)
    records = []
    for _ in range(frame.count):
        name, codec, raw, stored = cursor.take(_CHUNK)
        _require_lengths(raw, stored)
        records.append(ChunkRecord(name, _codec(codec), raw, cursor.bytes(stored)))
    cursor.finish()
    return records


def patch_records(frame: Frame) -> list[PatchRecord]:
    """The records of a PATCHES or a BLOCKS frame. Raises FrameError or PatchError."""
    cursor = _Cursor(frame)
    records = []
    kind = BlocksRecord if frame.type is FrameType.BLOCKS else PatchRecord
    for _ in range(frame.count):
        name, base, codec, raw, length, stored = cursor.take(_PATCH)
        _require_lengths(raw, stored)
        extents = cursor.extents()
        if patched_bytes(extents, raw) != length:
            raise FrameError("a patch declares another length than its extents")
        records.append(kind(name, base, raw, extents, _codec(codec), length, cursor.bytes(stored)))
    cursor.finish()
    return records


def leaves_of(frame: Frame) -> list[Buffer]:
    """The leaves of a LEAVES frame, each a view of LEAF_BYTES. Raises FrameError."""
    cursor = _Cursor(frame)
    leaves: list[Buffer] = [cursor.bytes(LEAF_BYTES) for _ in range(frame.count)]
    cursor.finish()
    return leaves


def proof_records(frame: Frame) -> list[ProofRecord]:
    """The records of a PROOFS frame. Raises FrameError."""
    cursor = _Cursor(frame)
    records = [ProofRecord(*cursor.take(_PROOF)) for _ in range(frame.count)]
    cursor.finish()
    return records


def leaf_patch_records(frame: Frame) -> list[LeafPatchRecord]:
    """The records of a LEAF_PATCHES frame. Raises FrameError."""
    cursor = _Cursor(frame)
    records = []
    for _ in range(frame.count):
        base, leaf, count = cursor.take(_LEAF_PATCH)
        changes = tuple(_LEAF_CHANGE.iter_unpack(cursor.bytes(count * _LEAF_CHANGE.size)))
        _require_changes(changes)
        records.append(LeafPatchRecord(base, leaf, changes))
    cursor.finish()
    return records


def _require_changes(changes: LeafChanges) -> None:
    """A patch changes something, and each place once; so it has LEAF_IDS changes at most."""
    last = -1
    for index, _ in changes:
        if not last < index < LEAF_IDS:
            raise FrameError(f"a leaf patch's index {index} is out of order or outside of the leaf")
        last = index
    if not changes:
        raise FrameError("a leaf patch changes nothing")


def _codec(value: int) -> Codec:
    if value not in (Codec.NONE, Codec.ZSTD):
        raise FrameError(f"codec {value} is not allowed on the wire")
    return Codec(value)


def _require_lengths(raw: int, stored: int) -> None:
    if not 0 < raw <= MAX_CHUNK_SIZE or stored > raw:
        raise FrameError(f"a record of {raw} bytes, stored as {stored}, is outside the limits")


class _Cursor:
    """Reads a frame's payload from its start to exactly its end."""

    def __init__(self, frame: Frame) -> None:
        self._view = memoryview(frame.payload)
        self._at = 0

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.bytes(form.size))

    def bytes(self, length: int) -> memoryview:
        end = self._at + length
        if end > self._view.nbytes:
            raise FrameError("a frame's records are longer than its payload")
        self._at, start = end, self._at
        return self._view[start:end]

    def extents(self) -> tuple[Extent, ...]:
        extents, used = decode_extents(self._view[self._at :])
        self._at += used
        return extents

    def finish(self) -> None:
        if self._at != self._view.nbytes:
            raise FrameError("a frame's payload is longer than its records")


class FrameReader:
    """Cuts a byte stream into frames; what arrives is copied once at most, nothing is allocated unchecked.

    Each frame has a payload of its own, which nothing changes any more. Bytes are fed, or received into
    `room` and then counted by `filled`. A reader that raised is of no further use.
    """

    def __init__(self, accepts: frozenset[FrameType] = frozenset(FrameType)) -> None:
        """`accepts` are the types that the stream may have; others are refused by their header alone."""
        self._accepts = accepts
        self._header = bytearray(HEADER.size)
        self._payload: bytearray | None = None
        self._kind = FrameType.END
        self._count = 0
        self._room = memoryview(self._header)
        self.ended = False

    def feed(self, data: Buffer) -> Iterator[Frame]:
        """Yield the frames that `data` completes. Raises FrameError."""
        view = memoryview(data)
        while view.nbytes:
            room = self.room()
            piece = view[: room.nbytes]
            room[: piece.nbytes] = piece
            view = view[piece.nbytes :]
            if (frame := self.filled(piece.nbytes)) is not None:
                yield frame

    def room(self) -> memoryview:
        """Where the next bytes of the stream belong: the rest of a header, or that of a payload. Raises
        FrameError after the END frame."""
        if self.ended:
            raise FrameError("bytes follow the END frame")
        return self._room

    def filled(self, count: int) -> Frame | None:
        """The next `count` bytes are in `room`: the frame that they complete. Raises FrameError."""
        self._room = self._room[count:]
        if self._room.nbytes:
            return None
        if self._payload is None:
            self._open(*HEADER.unpack(self._header))
        return self._completed()

    def finish(self) -> None:
        """Declare the stream over. Raises FrameError unless it closed with an END frame."""
        if not self.ended:
            raise FrameError("the stream was cut off: it has no END frame")

    def _open(self, magic: bytes, version: int, kind: int, count: int, length: int, reserved: int) -> None:
        if magic != MAGIC or reserved:
            raise FrameError("this is not a frame")
        if version != VERSION:
            raise FrameError(f"frame version {version} is unknown; this side speaks {VERSION}")
        if kind not in FrameType.__members__.values():
            raise FrameError(f"frame type {kind} is unknown")
        self._kind, self._count = FrameType(kind), count
        if self._kind not in self._accepts:
            raise FrameError(f"a {self._kind.name} frame has no place in this stream")
        _require_bounds(self._kind, count, length)
        self._payload = unfilled(length)
        self._room = memoryview(self._payload)

    def _completed(self) -> Frame | None:
        """The frame, if all of its payload is there."""
        if self._payload is None or self._room.nbytes:
            return None
        frame = Frame(self._kind, self._count, self._payload)
        self._payload, self._room = None, memoryview(self._header)
        self.ended = frame.type is FrameType.END
        return frame
