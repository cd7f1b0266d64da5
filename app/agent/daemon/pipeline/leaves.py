"""A leaf in the making: the ids of its 1,024 chunks come in by segments, from several threads."""

import threading
from dataclasses import dataclass
from typing import Final

from app.wire.chunks import ID_BYTES, MIB
from app.wire.tree import LEAF_BYTES, LEAF_IDS

SEGMENT: Final = 16 * MIB
"""Bytes of a disk that are read and hashed as one; a leaf is a whole number of them."""


@dataclass(frozen=True)
class LeafKey:
    """Leaf `index` of disk number `disk` of the pass."""

    disk: int
    index: int


class LeafWork:
    """The ids of one leaf: those of the base, and the new ones so far."""

    def __init__(self, key: LeafKey, base_ids: bytes, segments: int) -> None:
        self.key = key
        self.ids = bytearray(LEAF_BYTES)
        self.damaged: list[tuple[int, int]] = []
        self._base_ids = base_ids
        self._missing = segments
        self._lock = threading.Lock()

    @property
    def is_changed(self) -> bool:
        """Whether the ids differ from the base's."""
        return self.ids != self._base_ids

    def base_id(self, chunk: int) -> bytes:
        """The base's id of a chunk, counted over the disk."""
        at = chunk % LEAF_IDS * ID_BYTES
        return self._base_ids[at : at + ID_BYTES]

    def set_id(self, chunk: int, value: bytes) -> None:
        """Note the id of a chunk, counted over the disk."""
        at = chunk % LEAF_IDS * ID_BYTES
        self.ids[at : at + ID_BYTES] = value

    def finish_segment(self, damaged: list[tuple[int, int]] | None = None) -> bool:
        """A segment is done; True for the last one of the leaf."""
        with self._lock:
            self.damaged += damaged or []
            self._missing -= 1
            return self._missing == 0


def segments_of(index: int, size: int, chunk_size: int) -> list[tuple[int, int]]:
    """(start, end) in bytes of the segments of leaf `index` of a disk of `size` bytes."""
    start = index * LEAF_IDS * chunk_size
    end = min(start + LEAF_IDS * chunk_size, size)
    return [(at, min(at + SEGMENT, end)) for at in range(start, end, SEGMENT)]
