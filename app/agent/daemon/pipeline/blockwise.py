"""Chunks of which nothing but the written blocks was read: they are sent without an id; the service tells it.

A chunk that is known whole all the same is named here: one that was zero before, or all of whose blocks were
written.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from app.agent.daemon.errors import LinkError
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafKey, LeafWork
from app.agent.daemon.pipeline.outgoing import FrameBuilder
from app.wire.chunks import BLOCK, ID_BYTES, ZERO_ID, chunk_length, name_of
from app.wire.codec import encode
from app.wire.frames import BlocksRecord, ChunkRecord
from app.wire.messages import Counters
from app.wire.patch import Extent, Patch, blocks_digest
from app.wire.tree import LEAF_IDS

Piece = tuple[int, memoryview]
"""Where it begins, in bytes, and its bytes: whole blocks, but for the end of the disk."""


class BlocksRefused(Exception):
    """The service cannot build on its chunks: they are to be read whole."""


@dataclass
class WrittenBlocks:
    """What was read of one leaf: `pieces` of the disk, ascending, and which ranges of it are `damaged`.

    `before` are the leaf's ids before. After `send`, `names` has the ids of the chunks that are known here,
    and `digests` what the service names the others by."""

    disk: DiskPass
    key: LeafKey
    before: bytes
    pieces: list[Piece]
    damaged: list[tuple[int, int]]
    names: dict[int, bytes] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)

    @property
    def read(self) -> list[tuple[int, int]]:
        """The byte ranges of the disk that were read."""
        return [(start, start + view.nbytes) for start, view in self.pieces]

    @property
    def covers(self) -> int:
        """Bytes that were read."""
        return sum(view.nbytes for _, view in self.pieces)

    def send(self, builder: FrameBuilder) -> None:
        """Put the chunks into frames."""
        for number, pieces in by_chunk(self.pieces, self.disk.base.chunk_size):
            base = self._base(number)
            length = chunk_length(number, self.disk.reader.size, self.disk.base.chunk_size)
            if base == ZERO_ID or sum(view.nbytes for _, view in pieces) == length:
                self._send_whole(builder, number, _filled(pieces, length), base)
            else:
                self._send_blocks(builder, number, pieces, base, length)
        builder.flush()

    def work(self, named: Mapping[bytes, bytes]) -> LeafWork:
        """The leaf with the new ids, of which the service told those `named`, by their digests. Raises
        LinkError for one that it kept back."""
        work = LeafWork(self.key, self.disk.leaves.ids(self.key.index), 1, self.before)
        for number, name in self.names.items():
            work.set_id(number, name)
        for number, digest in self.digests.items():
            if digest not in named:
                raise LinkError("the service did not say what it made of written blocks", code="BAD_ANSWER")
            work.set_id(number, named[digest])
        work.finish_segment(self.read, self.damaged)
        return work

    def _base(self, number: int) -> bytes:
        at = number % LEAF_IDS * ID_BYTES
        return self.before[at : at + ID_BYTES]

    def _send_whole(self, builder: FrameBuilder, number: int, plain: bytearray, base: bytes) -> None:
        name = self.names[number] = name_of(plain)
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
        digest = self.digests[number] = blocks_digest(base, length, patch)
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
