"""A set of chunk ids that never forgets one, in 4 bytes a chunk.

A terabyte of distinct content has four million chunks: several hundred megabytes as Python objects. Marking
may err to one side, a dead chunk that counts as live stays until a later run. So the set is a Bloom filter:
with 32 bits a chunk and four probes it takes one dead chunk in 5,000 for live, and never a live one for dead.
Ids are hashes already, so their four words are the probes.
"""

import struct
from collections.abc import Iterable
from typing import Final

from app.wire.chunks import ZERO_ID

_WORDS: Final = struct.Struct("=QQQQ")
_BITS_A_CHUNK: Final = 32
_LEAST_BITS: Final = 1 << 20


class MarkSet:
    """Chunk ids of one project that are reachable."""

    def __init__(self, expected: int) -> None:
        """Make room for about `expected` ids; more of them only raise the share of errors."""
        self._bits = max(_LEAST_BITS, expected * _BITS_A_CHUNK)
        self._map = bytearray(self._bits // 8 + 1)

    def add(self, name: bytes) -> None:
        """Mark an id."""
        for word in _WORDS.unpack(name):
            at = word % self._bits
            self._map[at >> 3] |= 1 << (at & 7)

    def add_all(self, names: Iterable[bytes]) -> None:
        """Mark the ids of a leaf; ZERO_ID is passed over."""
        for name in names:
            if name != ZERO_ID:
                self.add(name)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, bytes):
            return False
        words = (word % self._bits for word in _WORDS.unpack(name))
        return all(self._map[at >> 3] >> (at & 7) & 1 for at in words)
