"""Where a chunk is, as the columns of its row: read by the thousand, so without an object for each row."""

from typing import Any, Final

from app.migration.replication.tables import ChunkRow
from app.store.index import Location
from app.wire.codec import Codec

LOCATION: Final[tuple[Any, ...]] = (
    ChunkRow.pack,
    ChunkRow.position,
    ChunkRow.stored_length,
    ChunkRow.raw_length,
    ChunkRow.codec,
    ChunkRow.base,
    ChunkRow.depth,
)
"""The columns that `location` takes, in its order."""


def location(
    pack: bytes, position: int, stored: int, raw: int, codec: int, base: bytes | None, depth: int
) -> Location:
    """A location from the values of LOCATION."""
    return Location(pack, position, stored, raw, Codec(codec), base, depth)
