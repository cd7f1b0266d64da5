"""Chunks: fixed-size, aligned pieces of a disk, named by the BLAKE3-256 hash of their plain bytes.

Chunk number `i` of a disk covers the bytes from `i * chunk_size`; the last chunk ends where the disk ends.
A chunk of zeros, whatever its length, has the reserved id ZERO_ID and is never stored or sent.
"""

from functools import lru_cache
from typing import Final

from blake3 import blake3

from app.wire.buffers import Buffer

KIB: Final = 1024
MIB: Final = 1024 * KIB

CHUNK_SIZE: Final = 256 * KIB
MIN_CHUNK_SIZE: Final = 64 * KIB
MAX_CHUNK_SIZE: Final = 4 * MIB
BLOCK: Final = 4 * KIB
ID_BYTES: Final = 32
ZERO_ID: Final = bytes(ID_BYTES)


@lru_cache(maxsize=8)
def _zeros(length: int) -> bytes:
    """Zeros to compare with: a slice of a longer run would copy it each time."""
    return bytes(length)


def chunk_id(data: Buffer) -> bytes:
    """The id (32 bytes) of a chunk that is not all zero; see `is_zero`."""
    return blake3(data).digest()


def name_of(data: Buffer) -> bytes:
    """The id of any chunk: ZERO_ID for zeros, else the hash."""
    return ZERO_ID if is_zero(data) else chunk_id(data)


def is_zero(data: Buffer) -> bool:
    """Whether `data` holds zeros only; it is meant for a chunk or a leaf, not for a whole disk.

    `bytes ==` compares with memcmp; a memoryview compares element by element and is 100 times slower,
    so a view is probed at its ends before it is copied, once.
    """
    view = memoryview(data)
    if not view.nbytes:
        return True
    if view[0] or view[-1]:
        return False
    plain = view.tobytes() if isinstance(data, memoryview) else data
    return plain == _zeros(view.nbytes)


def possession_proof(data: Buffer, key: bytes) -> bytes:
    """Evidence (32 bytes) of holding a chunk's bytes: BLAKE3 keyed with the session's 32-byte proof key."""
    return blake3(data, key=key).digest()


def chunk_count(size: int, chunk_size: int) -> int:
    """How many chunks a disk of `size` bytes has."""
    return -(-size // chunk_size)


def chunk_length(index: int, size: int, chunk_size: int) -> int:
    """Bytes of chunk `index` of a disk of `size` bytes: the last one may be short."""
    return min(chunk_size, size - index * chunk_size)


def is_chunk_size(value: int) -> bool:
    """Whether `value` is a power of two within the allowed range."""
    return MIN_CHUNK_SIZE <= value <= MAX_CHUNK_SIZE and value & (value - 1) == 0
