"""Which chunks wait for the cut: those that will be written to again before it.

A log or a file is written in one piece, and once. A table of a database is written to in single blocks all
over, and goes on being: sent by a round, its chunks would be read, hashed and sent a second time after it.
So a chunk that was written to in several places is restless (as a page that is written to again during a
round of a live migration is left to the next one).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

Chunks: TypeAlias = Mapping[int, frozenset[int]]
"""Chunks by the number of their disk in the pass."""


def places_of(extents: Iterable[tuple[int, int]], unit: int) -> Counter[int]:
    """In how many places each chunk of `unit` bytes was written to, of those where one of these byte ranges,
    which do not touch each other, begins or ends."""
    places: Counter[int] = Counter()
    for start, end in extents:
        places.update({start // unit, (end - 1) // unit})
    return places


def restless(places: Mapping[int, Counter[int]], most: int) -> Chunks:
    """At most so many of the chunks that were written to in several places, those with most places first;
    `places` are by the disk's number."""
    found = [
        (count, disk, chunk)
        for disk, counted in places.items()
        for chunk, count in counted.items()
        if count > 1
    ]
    chosen = defaultdict[int, set[int]](set)
    for _, disk, chunk in sorted(found, reverse=True)[:most]:
        chosen[disk].add(chunk)
    return {disk: frozenset(chunks) for disk, chunks in chosen.items()}
