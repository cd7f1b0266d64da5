"""Records that lie near each other in a pack are fetched by one ranged read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

from app.store.backend import Range
from app.store.index import Location
from app.wire.buffers import Buffer
from app.wire.chunks import MIB

_SPAN_BYTES: Final = 8 * MIB
_GAP_BYTES: Final = 128 * 1024

Placed = tuple[bytes, Location]
"""A chunk's id and where it lies."""


@dataclass(frozen=True)
class Span:
    """Neighbouring records of one pack, read at once."""

    pack: bytes
    start: int
    end: int
    records: tuple[Placed, ...]

    @classmethod
    def of(cls, group: Sequence[Placed]) -> Self:
        """The span of these records of one pack, in the order of their offsets."""
        first, last = group[0][1], group[-1][1]
        return cls(first.pack, first.offset, last.offset + last.stored_length, tuple(group))

    @property
    def range(self) -> Range:
        """(offset, length) in the pack."""
        return self.start, self.end - self.start

    def cut(self, data: Buffer) -> Iterator[tuple[bytes, Location, Buffer]]:
        """What its bytes hold: its records, each with its stored bytes."""
        view = memoryview(data)
        for name, at in self.records:
            yield name, at, view[at.offset - self.start : at.offset - self.start + at.stored_length]


def spans(batch: Sequence[Placed], gap: int = _GAP_BYTES) -> Iterator[Span]:
    """Group records, sorted by pack and offset, into ranged reads of at most 8 MiB with gaps up to `gap`."""
    group: list[Placed] = []
    for item in batch:
        if group and not _joins(group[0][1], group[-1][1], item[1], gap):
            yield Span.of(group)
            group = []
        group.append(item)
    if group:
        yield Span.of(group)


def by_pack(found: Iterable[Span]) -> Iterator[tuple[bytes, list[Span]]]:
    """The same, in their order, with the packs whose neighbours they are."""
    return ((pack, list(some)) for pack, some in groupby(found, key=lambda span: span.pack))


def _joins(first: Location, last: Location, at: Location, most: int) -> bool:
    gap = at.offset - last.offset - last.stored_length
    is_near = at.pack == last.pack and 0 <= gap <= most
    return is_near and at.offset + at.stored_length - first.offset <= _SPAN_BYTES
