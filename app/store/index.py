"""What the store asks of the database: small protocols, one for each consumer, and the values they exchange.

`app.migration.replication` implements them on the database. Every method is one transaction of its own, or
for an iterator a series of short ones; names, ids and hashes are 32 bytes.

How garbage collection and commits stay out of each other's way: a pack or node is `live` or `condemned`.
A commit locks the rows of everything that it newly refers to (the packs of its chunks, of the bases of its
delta records, and its leaves and roots), demands `live`, and adds one to their `reference`. Collection reads
`reference` before it looks what is reachable, and condemns only where it is still the same. What is condemned
is never referred to again: a condemned pack's chunk rows are gone, so its chunks count as unknown and are put
anew under another name; a condemned node becomes live only by being put again.

Until a written object has its row, only its age protects it. So whoever writes one notes before until when
the row may come (`Registration`), and a row that would come later is refused in its own transaction: a
process that was paused in between must not vouch for an object that was collected as an orphan meanwhile.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.store.checkpointfile import CheckpointFile, CheckpointName
from app.store.errors import StoreUnavailable
from app.store.layout import NodeKind
from app.store.pack import PackEntry
from app.wire.codec import Codec


@dataclass(frozen=True)
class Location:
    """Where a chunk's record lies; `base` and `depth` as in `PackEntry`."""

    pack: bytes
    offset: int
    stored_length: int
    raw_length: int
    codec: Codec
    base: bytes | None = None
    depth: int = 0

    @classmethod
    def of(cls, pack: bytes, entry: PackEntry) -> "Location":
        """The location that a pack's footer states."""
        lengths = (entry.offset, entry.stored_length, entry.raw_length)
        return cls(pack, *lengths, entry.codec, entry.base, entry.depth)

    def entry(self, name: bytes) -> PackEntry:
        """The pack's entry for the chunk `name` as this location has it."""
        lengths = (self.offset, self.stored_length, self.raw_length)
        return PackEntry(name, *lengths, self.codec, self.base, self.depth)


class ObjectState(StrEnum):
    """State of a pack or node."""

    LIVE = "live"
    CONDEMNED = "condemned"


@dataclass(frozen=True)
class Registration:
    """Until when an object that is written from now on may get its row."""

    until: datetime

    def is_over(self, now: datetime) -> bool:
        """Whether the object may be gone before a transaction that began at `now` ends."""
        return now > self.until

    def require(self, now: datetime) -> None:
        """Raises StoreUnavailable when it is too late: the object counts as lost."""
        if self.is_over(now):
            raise StoreUnavailable(
                f"this process was held up: what it wrote had to be registered by {self.until.isoformat()}",
                remedy="send it again; see why the process stood still (a frozen node, a paused machine)",
            )


@dataclass(frozen=True)
class PackInfo:
    """A pack's row. `held`: put by a session that is open and has not committed it yet."""

    name: bytes
    project: str
    server: str
    state: ObjectState
    reference: int
    stored_bytes: int
    raw_bytes: int
    created_at: datetime
    held: bool = False


@dataclass(frozen=True)
class NodeInfo:
    """A leaf's or root's row; `held` as for packs."""

    name: bytes
    kind: NodeKind
    state: ObjectState
    reference: int
    created_at: datetime
    held: bool = False


@dataclass(frozen=True)
class DiskRoot:
    """A disk's content in a checkpoint."""

    disk_id: str
    root: bytes
    size: int
    chunk_size: int


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint's row. `pinned`: a head, the base of an open session, tested or cut over. `made_at` is
    by the service's clock, and tells retention its age: a source's own clock may be wrong by years."""

    project: str
    name: CheckpointName
    confirmed: bool
    made_at: datetime
    is_frozen: bool
    pinned: bool
    disks: tuple[DiskRoot, ...]


@dataclass(frozen=True)
class Candidate:
    """Something to condemn if nothing came to refer to it since `reference` was read."""

    name: bytes
    reference: int


@dataclass(frozen=True)
class Objects:
    """Names of packs and nodes."""

    packs: tuple[bytes, ...] = ()
    nodes: tuple[tuple[NodeKind, bytes], ...] = ()


class ChunkIndex(Protocol):
    """For readers: where chunks are."""

    async def locate(self, project: str, ids: Sequence[bytes]) -> Mapping[bytes, Location]:
        """The locations of those of the project's chunks (at most 4,096) that are stored.

        A chunk that was marked damaged is still located: its bytes may be needed, and reading verifies.
        """
        ...


class ContentIndex(ChunkIndex, Protocol):
    """For checking and collecting: all that the database believes about the store."""

    def checkpoints(self) -> AsyncIterator[CheckpointInfo]:
        """All checkpoints that are retained."""
        ...

    def packs(self) -> AsyncIterator[PackInfo]:
        """All packs, condemned ones too."""
        ...

    def nodes(self) -> AsyncIterator[NodeInfo]:
        """All leaves and roots, condemned ones too."""
        ...

    async def chunks_of(self, pack: bytes) -> Mapping[bytes, Location]:
        """The chunks whose rows point into the pack."""
        ...


class CheckIndex(ContentIndex, Protocol):
    """For `check`: also what it finds out about chunks."""

    async def mark_damaged(self, project: str, ids: Sequence[bytes]) -> None:
        """These chunks' stored bytes are bad: agents are told to send them again."""
        ...

    async def mark_whole(self, project: str, ids: Sequence[bytes]) -> None:
        """These chunks' stored bytes were read and are good."""
        ...

    async def checkpoint_file(self, name: CheckpointName) -> CheckpointFile | None:
        """What the checkpoint's file should say, out of its rows; None when the rows are gone.

        The counters of its disks are kept as a sum only: the first disk has all of it.
        """
        ...


@dataclass(frozen=True)
class CompactedPack:
    """A new pack that takes over the live records of `old` packs."""

    name: bytes
    project: str
    server: str
    stored_bytes: int
    raw_bytes: int
    chunks: Mapping[bytes, Location]
    old: tuple[Candidate, ...]
    registration: Registration


class GarbageIndex(ContentIndex, Protocol):
    """For garbage collection. Every method that changes something is one transaction."""

    async def chunk_count(self, project: str) -> int:
        """How many chunks of the project are stored, roughly: it sizes the marking."""
        ...

    def patches(self, project: str) -> AsyncIterator[tuple[bytes, bytes]]:
        """The project's delta records: the chunk, and the chunk that it stands on.

        In the order of chunks, so that none is passed over for being moved to another pack meanwhile.
        """
        ...

    async def condemn(self, packs: Sequence[Candidate], nodes: Sequence[Candidate], now: datetime) -> Objects:
        """Condemn those that are live, not held, and whose `reference` is unchanged; say which.

        The chunk rows that point into a condemned pack are deleted in the same transaction.
        """
        ...

    async def relocate(self, new: CompactedPack, now: datetime) -> bool:
        """Insert the new pack live, point its chunks' rows from the old packs to it, condemn the old ones.

        Does nothing and says False unless each old pack could be condemned by the rule of `condemn`, and when
        it comes too late for the new one. A row that no longer points into an old pack stays as it is.
        """
        ...

    async def condemned_before(self, time: datetime) -> Objects:
        """What was condemned before `time`."""
        ...

    async def forget(self, objects: Objects) -> None:
        """Delete the rows of these, as far as they are still condemned."""
        ...

    async def drop_checkpoint(self, name: CheckpointName) -> bool:
        """Delete a checkpoint's rows; False, and nothing is done, when it is pinned by now. True if gone."""
        ...


class RebuildIndex(Protocol):
    """For restoring an empty database from the store. Each method may be repeated."""

    async def restore_pack(self, pack: PackInfo, chunks: Mapping[bytes, Location]) -> None:
        """Insert a live pack and the rows of those of its chunks that have none yet."""
        ...

    async def restore_node(self, node: NodeInfo) -> None:
        """Insert a live leaf or root."""
        ...

    async def restore_checkpoint(self, file: CheckpointFile, confirmed: bool) -> None:
        """Insert a checkpoint, with the server and disks that it names where they are unknown.

        Called in the order of a server's numbers; the last confirmed one becomes the server's head, and the
        server's generation at least the checkpoint's.
        """
        ...
