"""The map disk offset → chunk as a two-level hash tree: leaves of 1,024 chunk ids under one root node.

leaf   1,024 ids of 32 bytes, the last leaf of a disk padded with ZERO_ID; its hash is BLAKE3 in key
       derivation mode (context LEAF_CONTEXT), so that a leaf can never pass for a chunk. A leaf of zeros
       has the reserved hash ZERO_LEAF and is never stored or sent.
root   encoded as magic "G2CR", version u8, 3 zero bytes, disk size u64, chunk size u32, leaf count u32
       (big-endian), then the leaf hashes; its hash (context ROOT_CONTEXT) names the disk's whole content.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

from blake3 import blake3

from app.wire.buffers import Buffer
from app.wire.chunks import ID_BYTES, is_chunk_size, is_zero
from app.wire.errors import TreeError

LEAF_IDS: Final = 1024
LEAF_BYTES: Final = LEAF_IDS * ID_BYTES
ZERO_LEAF: Final = bytes(ID_BYTES)
ZERO_IDS: Final = bytes(LEAF_BYTES)
MAX_LEAVES: Final = 1 << 20
LEAF_CONTEXT: Final = "go2cloud wire 1 leaf"
ROOT_CONTEXT: Final = "go2cloud wire 1 root"

LeafChanges = tuple[tuple[int, bytes], ...]
"""(index in the leaf, chunk id), ascending: what differs between two leaves."""

_HEADER: Final = struct.Struct("!4sB3xQII")
_MAGIC: Final = b"G2CR"
_VERSION: Final = 1
ROOT_HEADER_BYTES: Final = _HEADER.size


def leaf_hash(ids: Buffer) -> bytes:
    """The hash (32 bytes) of a leaf of exactly LEAF_BYTES. Raises TreeError for another length."""
    if memoryview(ids).nbytes != LEAF_BYTES:
        raise TreeError(f"a leaf has {LEAF_BYTES} bytes, not {memoryview(ids).nbytes}")
    return ZERO_LEAF if is_zero(ids) else blake3(ids, derive_key_context=LEAF_CONTEXT).digest()


def leaf_ids(ids: Buffer) -> list[bytes]:
    """The 1,024 chunk ids of a leaf."""
    raw = bytes(ids)
    return [raw[at : at + ID_BYTES] for at in range(0, LEAF_BYTES, ID_BYTES)]


def leaf_changes(before: Buffer, after: Buffer) -> LeafChanges:
    """What turns the leaf `before` into the leaf `after`."""
    return tuple(
        (index, new)
        for index, (old, new) in enumerate(zip(leaf_ids(before), leaf_ids(after), strict=True))
        if old != new
    )


def changed_leaf(before: Buffer, changes: LeafChanges) -> bytes:
    """The leaf `before` with these ids changed; every index is one of a leaf."""
    ids = bytearray(before)
    for index, value in changes:
        ids[index * ID_BYTES : (index + 1) * ID_BYTES] = value
    return bytes(ids)


def leaf_count(size: int, chunk_size: int) -> int:
    """How many leaves a disk of `size` bytes has."""
    return -(-size // (chunk_size * LEAF_IDS))


def _allowed_leaves(size: int, chunk_size: int) -> int:
    """The leaf count of a disk, before anything is allocated for it. Raises TreeError beyond MAX_LEAVES."""
    count = leaf_count(size, chunk_size)
    if size < 0 or count > MAX_LEAVES:
        most = MAX_LEAVES * LEAF_IDS * chunk_size
        raise TreeError(f"a disk of {size} bytes is outside 0 to {most}, the most for its chunk size")
    return count


@dataclass(frozen=True)
class RootNode:
    """The top of a disk's tree: `leaves` holds `leaf_count(size, chunk_size)` hashes of 32 bytes."""

    size: int
    chunk_size: int
    leaves: bytes

    def __post_init__(self) -> None:
        if not is_chunk_size(self.chunk_size):
            raise TreeError(f"chunk size {self.chunk_size} is not a power of two from 64 KiB to 4 MiB")
        if len(self.leaves) != _allowed_leaves(self.size, self.chunk_size) * ID_BYTES:
            raise TreeError(f"a disk of {self.size} bytes needs {self.count} leaf hashes")

    @classmethod
    def empty(cls, size: int, chunk_size: int) -> Self:
        """The root of a disk that holds zeros only. Raises TreeError."""
        return cls(size, chunk_size, bytes(_allowed_leaves(size, chunk_size) * ID_BYTES))

    @property
    def count(self) -> int:
        """Number of leaves."""
        return leaf_count(self.size, self.chunk_size)

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index` from 0; ZERO_LEAF beyond the end."""
        if index >= self.count:
            return ZERO_LEAF
        return self.leaves[index * ID_BYTES : (index + 1) * ID_BYTES]

    def leaf_hashes(self) -> Iterable[bytes]:
        """The hashes of all leaves, in the order of the disk."""
        return (self.leaves[at : at + ID_BYTES] for at in range(0, len(self.leaves), ID_BYTES))

    def with_leaves(self, size: int, changed: Mapping[int, bytes]) -> Self:
        """This tree for a disk that has `size` bytes now and the given new leaf hashes by index.

        Raises TreeError for a size beyond MAX_LEAVES, an index outside the disk or a hash of another length.
        """
        count = _allowed_leaves(size, self.chunk_size)
        leaves = bytearray(self.leaves[: count * ID_BYTES].ljust(count * ID_BYTES, b"\0"))
        for index, value in changed.items():
            if not 0 <= index < count or len(value) != ID_BYTES:
                raise TreeError(f"leaf {index} does not fit a disk of {count} leaves")
            leaves[index * ID_BYTES : (index + 1) * ID_BYTES] = value
        return type(self)(size, self.chunk_size, bytes(leaves))

    def encode(self) -> bytes:
        """The node's stored form; see the module's caption."""
        return _HEADER.pack(_MAGIC, _VERSION, self.size, self.chunk_size, self.count) + self.leaves

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """Parse a stored or received root node. Raises TreeError."""
        raw = bytes(data)
        if len(raw) < _HEADER.size:
            raise TreeError("a root node is cut off")
        magic, version, size, chunk_size, count = _HEADER.unpack_from(raw)
        if magic != _MAGIC or version != _VERSION or raw[5:8] != bytes(3):
            raise TreeError("this is not a root node of a known version")
        node = cls(size, chunk_size, raw[_HEADER.size :])
        if node.count != count:
            raise TreeError("a root node's leaf count does not match its disk size")
        return node

    @cached_property
    def hash(self) -> bytes:
        """The root hash (32 bytes): names the disk's whole content, its size and its chunk size."""
        return blake3(self.encode(), derive_key_context=ROOT_CONTEXT).digest()
