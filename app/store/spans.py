"""Records that lie near each other in a pack are fetched by one ranged read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from app.store.index import Location
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


def _joins(first: Location, last: Location, at: Location, most: int) -> bool:
    gap = at.offset - last.offset - last.stored_length
    is_near = at.pack == last.pack and 0 <= gap <= most
    return is_near and at.offset + at.stored_length - first.offset <= _SPAN_BYTES
