"""The model's store and rows: what survives a crash, and what does not.

Objects are written to a cache and become durable by `sync`; a crash forgets the rest. Rows change in whole
transactions (an operation changes them between two await points) and are never lost.
"""

from dataclasses import dataclass, field

from tests.faults.protocol.words import Ghost, Ids, Refusal, Root

Key = tuple[object, ...]
"""("pack", name), ("leaf", ids, nonce), ("root", root, nonce), ("file", checkpoint), ("marker", checkpoint):
what it is, then what it is called."""


@dataclass(frozen=True)
class Record:
    """A chunk in a pack: whole, or a delta on `base` with `depth` deltas down to a whole one."""

    id: int
    base: int | None = None
    depth: int = 0


@dataclass(frozen=True)
class Thing:
    """An object: the records of a pack, nothing for others; when it was written."""

    records: tuple[Record, ...]
    modified: int


class Objects:
    """The store. `changes` grows with every change, so that a checker looks only when there is a reason."""

    def __init__(self) -> None:
        self.durable: dict[Key, Thing] = {}
        self.cached: dict[Key, Thing] = {}
        self.changes = 0

    def write(self, key: Key, now: int, records: tuple[Record, ...] = ()) -> None:
        """Into the cache."""
        self.cached[key] = Thing(records, now)

    def sync(self, key: Key) -> None:
        """Make it durable, unless the kernel did so by itself."""
        if key in self.cached:
            self.durable[key] = self.cached.pop(key)
            self.changes += 1

    def flush(self) -> bool:
        """What a kernel does now and then: everything becomes durable."""
        self.durable |= self.cached
        flushed = bool(self.cached)
        self.cached = {}
        self.changes += flushed
        return flushed

    def crash(self) -> None:
        """Forget what is not durable."""
        self.cached = {}
        self.changes += 1

    def get(self, key: Key) -> Thing | None:
        """What a reader sees, durable or not."""
        return self.cached.get(key) or self.durable.get(key)

    def delete(self, key: Key) -> None:
        """Remove; harmless when it is gone."""
        self.cached.pop(key, None)
        self.durable.pop(key, None)
        self.changes += 1

    def listed(self, kind: str) -> dict[Key, int]:
        """Keys of a kind and when each was written."""
        every = self.durable | self.cached
        return {key: thing.modified for key, thing in every.items() if key[0] == kind}

    def has_node(self, kind: str, name: Ids | Root) -> bool:
        """Whether any writing of the node is there."""
        return any(key[0] == kind and key[1] == name for key in (*self.durable, *self.cached))


@dataclass
class ServerRow:
    """A server: only guarded updates change `generation` and `head`."""

    generation: int = 0
    head: int = 0
    instance: str = ""
    lease_until: int = -1


@dataclass
class SessionRow:
    """A session; an open one has `ended` None."""

    id: int
    server: str
    generation: int
    base: int
    active_at: int
    ended: int | None = None


@dataclass(frozen=True)
class CheckpointRow:
    """A committed point in time, made at `made_at` by the service's clock; `ghost` is for the checker's eyes
    only."""

    id: int
    server: str
    number: int
    parent: int
    label: str
    source_time: int
    made_at: int
    roots: tuple[Root, ...]
    ghost: Ghost


@dataclass
class ObjectRow:
    """A pack or node; `state` is live while `condemned_at` is None."""

    server: str
    session: int | None
    created_at: int
    reference: int = 0
    condemned_at: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether a commit may refer to it."""
        return self.condemned_at is None


@dataclass
class ChunkRow:
    """Where a chunk is stored."""

    pack: int
    base: int | None
    depth: int
    damaged: bool = False


NodeName = tuple[str, Ids | Root]


@dataclass
class Rows:
    """The database."""

    servers: dict[str, ServerRow] = field(default_factory=dict)
    sessions: dict[int, SessionRow] = field(default_factory=dict)
    checkpoints: dict[int, CheckpointRow] = field(default_factory=dict)
    packs: dict[int, ObjectRow] = field(default_factory=dict)
    nodes: dict[NodeName, ObjectRow] = field(default_factory=dict)
    chunks: dict[int, ChunkRow] = field(default_factory=dict)
    grants: set[tuple[str, int]] = field(default_factory=set)
    serial: int = 0
    changes: int = 0

    def new_id(self) -> int:
        """A number never used before."""
        self.serial += 1
        return self.serial

    def is_open(self, session: int | None) -> bool:
        """Whether a session is open."""
        row = self.sessions.get(session or 0)
        return row is not None and row.ended is None

    def held(self, row: ObjectRow) -> bool:
        """Whether an open session put the object."""
        return self.is_open(row.session)

    def pinned(self, checkpoint: int) -> bool:
        """Whether a checkpoint is a head or the base of an open session."""
        heads = (server.head == checkpoint for server in self.servers.values())
        bases = (s.base == checkpoint for s in self.sessions.values() if s.ended is None)
        return any(heads) or any(bases)

    def live_chunks(self, ids: Ids) -> dict[int, ChunkRow]:
        """The live, undamaged chunks among `ids`."""
        found = {}
        for name in ids:
            row = self.chunks.get(name)
            if row is not None and not row.damaged:
                pack = self.packs.get(row.pack)
                if pack is not None and pack.condemned_at is None:
                    found[name] = row
        return found

    def owned_chunks(self, server: str, ids: Ids) -> dict[int, ChunkRow]:
        """Those of the live chunks that the server possesses."""
        return {
            name: row
            for name, row in self.live_chunks(ids).items()
            if self.packs[row.pack].server == server or (server, name) in self.grants
        }


def readable(rows: Rows, store: Objects, name: int, *, durable: bool = False) -> bool:
    """Whether a chunk's bytes can be had by its row and hash to its name, all that it stands on included."""
    for _ in range(MAX_CHAIN):
        row = rows.chunks.get(name)
        if row is None:
            return False
        key = ("pack", row.pack)
        thing = store.durable.get(key) if durable else store.get(key)
        record = next((r for r in thing.records if r.id == name), None) if thing else None
        if record is None or record.base != row.base:
            return False
        if record.base is None:
            return True
        name = record.base
    return False


MAX_CHAIN = 32


def refuse(condition: bool, code: str, ids: Ids = ()) -> None:
    """Raise Refusal if the condition holds."""
    if condition:
        raise Refusal(code, ids)
