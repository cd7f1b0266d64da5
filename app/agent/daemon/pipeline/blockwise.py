"""Chunks of which nothing but the written blocks was read: they are sent without an id; the service tells it.

A chunk that is known whole all the same is named here: one that was zero before, or all of whose blocks were
written.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from app.agent.daemon.errors import LinkError
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafKey, LeafWork
from app.agent.daemon.pipeline.outgoing import FrameBuilder
from app.wire.chunks import BLOCK, ZERO_ID, chunk_length, name_of
from app.wire.codec import encode
from app.wire.frames import BlocksRecord, ChunkRecord
from app.wire.messages import Counters
from app.wire.patch import Extent, Patch, blocks_digest

Piece = tuple[int, memoryview]
"""Where it begins, in bytes, and its bytes: whole blocks, but for the end of the disk."""


class BlocksRefused(Exception):
    """The service cannot build on its chunks: they are to be read whole."""


@dataclass(frozen=True)
class Part:
    """What was read of a leaf: `pieces` of the disk, ascending, and which ranges of it are `damaged`. The
    pieces of a chunk are all in one part."""

    disk: DiskPass
    key: LeafKey
    pieces: list[Piece]
    damaged: list[tuple[int, int]]

    @property
    def read(self) -> list[tuple[int, int]]:
        """The byte ranges of the disk that were read."""
        return [(start, start + view.nbytes) for start, view in self.pieces]

    @property
    def covers(self) -> int:
        """Bytes that were read."""
        return sum(view.nbytes for _, view in self.pieces)


class WrittenBlocks:
    """A leaf, of which nothing but written blocks is read and sent, part by part."""

    def __init__(self, disk: DiskPass, key: LeafKey) -> None:
        """Nothing was sent yet. Raises RescanNeeded where the service lost what the blocks stand on."""
        self.disk = disk
        self._leaf = LeafWork(key, disk.leaves.ids(key.index), 1, disk.require_ids_before(key.index))
        self._digests: dict[int, bytes] = {}
        self._read: list[tuple[int, int]] = []
        self._damaged: list[tuple[int, int]] = []

    def send(self, part: Part, builder: FrameBuilder) -> None:
        """Put a part's chunks into frames."""
        for number, pieces in by_chunk(part.pieces, self.disk.base.chunk_size):
            base = self._leaf.id_before(number)
            length = chunk_length(number, self.disk.reader.size, self.disk.base.chunk_size)
            if base == ZERO_ID or sum(view.nbytes for _, view in pieces) == length:
                self._send_whole(builder, number, _filled(pieces, length), base)
            else:
                self._send_blocks(builder, number, pieces, base, length)
        builder.flush()
        self._read += part.read
        self._damaged += part.damaged

    def done(self, named: Mapping[bytes, bytes]) -> LeafWork:
        """The leaf with the new ids, of which the service told those `named`, by their digests. Raises
        LinkError for one that it kept back."""
        for number, digest in self._digests.items():
            if digest not in named:
                raise LinkError("the service did not say what it made of written blocks", code="BAD_ANSWER")
            self._leaf.set_id(number, named[digest])
        self._leaf.finish_segment(self._read, self._damaged)
        return self._leaf

    def _send_whole(self, builder: FrameBuilder, number: int, plain: bytearray, base: bytes) -> None:
        name = name_of(plain)
        self._leaf.set_id(number, name)
        if name == ZERO_ID:
            self.disk.tally.add(Counters(zero=len(plain)))
        elif name == base:
            self.disk.tally.add(Counters(known=len(plain)))
        else:
            codec, packed = encode(plain)
            builder.add_chunk(ChunkRecord(name, codec, len(plain), packed))
            self.disk.tally.add(Counters(sent=len(plain)))

    def _send_blocks(
        self, builder: FrameBuilder, number: int, pieces: list[Piece], base: bytes, length: int
    ) -> None:
        patch = Patch(_extents(pieces), b"".join(view for _, view in pieces))
        digest = self._digests[number] = blocks_digest(base, length, patch)
        codec, packed = encode(patch.data)
        size = len(patch.data)
        builder.add_blocks(BlocksRecord(digest, base, length, patch.extents, codec, size, packed))
        self.disk.tally.add(Counters(patched=size))


def by_chunk(pieces: Iterable[Piece], unit: int) -> Iterator[tuple[int, list[Piece]]]:
    """Ascending pieces of a disk cut at its chunks of `unit` bytes: each chunk's number and its pieces, which
    begin where they do in the chunk."""
    number, group = -1, list[Piece]()
    for start, view in pieces:
        for at, behind in _cuts(start, start + view.nbytes, unit):
            if at // unit != number:
                if group:
                    yield number, group
                number, group = at // unit, []
            group.append((at - number * unit, view[at - start : behind - start]))
    if group:
        yield number, group


def _cuts(start: int, end: int, unit: int) -> Iterator[tuple[int, int]]:
    while start < end:
        behind = min(end, (start // unit + 1) * unit)
        yield start, behind
        start = behind


def _extents(pieces: Iterable[Piece]) -> tuple[Extent, ...]:
    """The blocks of a chunk's pieces; those that touch are one extent."""
    extents: list[Extent] = []
    for start, view in pieces:
        first, count = start // BLOCK, -(-view.nbytes // BLOCK)
        if extents and sum(extents[-1]) == first:
            first, before = extents.pop()
            count += before
        extents.append((first, count))
    return tuple(extents)


def _filled(pieces: Iterable[Piece], length: int) -> bytearray:
    """A chunk that is zero but for these pieces."""
    plain = bytearray(length)
    for start, view in pieces:
        plain[start : start + view.nbytes] = view
    return plain
