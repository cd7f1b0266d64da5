"""The service's rules of sessions, possession and put: `app.migration.replication`, rule by rule.

Each operation is a generator that yields the kind of its next await point (see `words`) and then does one
atomic thing: a unit of work, or one step on the store. Between two yields anything may happen, a crash too.
The methods are named after the product's functions. `committing` and `collecting` add the rest.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tests.faults.protocol import words
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.storage import (
    ChunkRow,
    Key,
    ObjectRow,
    Objects,
    Record,
    Rows,
    ServerRow,
    SessionRow,
    readable,
    refuse,
)
from tests.faults.protocol.words import PUT, READ, SYNC, TX, ZERO_LEAF, Ids, Refusal, Root

T = TypeVar("T")
Steps = Generator[str, None, T]


@dataclass(frozen=True)
class Scope:
    """`SessionScope`: what was true when the session was looked up."""

    session: int
    server: str
    generation: int
    base: int


class Rules:
    """The service: its rows, its store, what its process remembers, and the operations of a session."""

    def __init__(
        self, servers: Mapping[str, tuple[int, ...]], mutant: Mutant | None, *, packs_are_small: bool = True
    ) -> None:
        """`servers`: for each the number of leaves of its disks. Small packs are joined by compaction."""
        self.shape = servers
        self.packs_are_small = packs_are_small
        self.mutant = mutant
        self.now = 0
        self.rows = Rows({name: ServerRow() for name in servers})
        self.store = Objects()
        self.written: dict[tuple[str, Ids | Root], int] = {}

    def crash(self) -> None:
        """The process is gone, and with it what the store had not made durable."""
        self.store.crash()
        self.written = {}

    def breaks(self, mutant: Mutant) -> bool:
        """Whether this rule is the broken one."""
        return self.mutant is mutant

    # sessions

    def poll(self, server: str, message: words.Poll) -> words.Operation:
        """`hold_lease`."""
        yield TX
        self._hold_lease(server, message.instance)
        return None

    def _hold_lease(self, server: str, instance: str) -> ServerRow:
        row = self.rows.servers[server]
        free = row.instance in (instance, "") or row.lease_until < self.now
        refuse(not free, "DUPLICATE_AGENT")
        row.instance, row.lease_until = instance, self.now + words.LEASE
        return row

    def open(self, server: str, message: words.Open) -> words.Operation:
        """`open_session`: the generation goes up, older sessions end."""
        yield TX
        row = self._hold_lease(server, message.instance)
        row.generation += 1
        for other in self.rows.sessions.values():
            if other.server == server and other.ended is None:
                other.ended = self.now
        session = SessionRow(self.rows.new_id(), server, row.generation, row.head, self.now)
        self.rows.sessions[session.id] = session
        damaged = tuple(sorted(name for name, chunk in self.rows.chunks.items() if chunk.damaged))
        head = self.rows.checkpoints.get(row.head)
        time = head.source_time if head is not None else None
        return words.Opened(
            session.id, row.generation, row.head, time, self._roots(server, row.head), damaged
        )

    def _roots(self, server: str, checkpoint: int) -> tuple[Root | None, ...]:
        row = self.rows.checkpoints.get(checkpoint)
        return row.roots if row else (None,) * len(self.shape[server])

    def _scope(self, server: str, session: int) -> Scope:
        """`session_scope`."""
        row = self.rows.sessions.get(session)
        if row is None or row.server != server:
            raise Refusal("SESSION_NOT_FOUND")
        current = row.ended is None and row.generation == self.rows.servers[server].generation
        refuse(not current and not self.breaks(Mutant.NO_FENCE), "FENCED")
        return Scope(row.id, server, row.generation, row.base)

    def leaves(self, server: str, message: words.Leaves) -> words.Operation:
        """The leaves of a disk's base."""
        yield READ
        root = self._roots(server, self._scope(server, message.session).base)[message.disk]
        yield READ
        return root or (ZERO_LEAF,) * self.shape[server][message.disk]

    # possession

    def have(self, server: str, message: words.Have) -> words.Operation:
        """`have`: send it, it is known, or prove that you hold it."""
        yield READ
        scope = self._scope(server, message.session)
        owned = self.rows.owned_chunks(scope.server, message.ids)
        stored = self.rows.live_chunks(message.ids)
        codes = dict.fromkeys(stored, words.PROVE) | dict.fromkeys(owned, words.KNOWN)
        return tuple(codes.get(name, words.SEND) for name in message.ids)

    # put

    def put(self, server: str, message: words.Put) -> words.Operation:
        """`Ingest`: nothing counts as received before `finish` has returned."""
        yield READ
        scope = self._scope(server, message.session)
        gathered: list[Record] = []
        nameless: set[Record] = set()
        known, refused = 0, list[int]()
        for frame in message.frames:
            match frame:
                case words.Chunks(ids):
                    gathered += [Record(name) for name in ids]
                case words.Patches(records):
                    gathered += yield from self._rebuild(scope, records, refused)
                case words.Blocks(records):
                    rebuilt = yield from self._rebuild(scope, records, refused, is_named=False)
                    gathered += rebuilt
                    nameless |= {record for record in rebuilt if record.base is not None}
                case words.Proofs(ids, forged):
                    known += yield from self._prove(scope, ids, forged, refused)
                case words.LeafFrame(leaves):
                    yield from self._write_nodes(scope, "leaf", leaves)
        refuse(message.breaks, "CUT_OFF")
        stored = yield from self._store(scope, gathered)
        if nameless:
            yield READ
        lost = [record for record in stored if record in nameless and record.id in self.rows.chunks]
        refused += [record.id for record in lost]
        fresh = tuple(record for record in stored if record not in lost)
        if fresh:
            yield from self._write_pack(scope, fresh)
        return words.PutResult(len(fresh), known + len(gathered) - len(stored), tuple(refused))

    def _store(self, scope: Scope, records: list[Record]) -> Steps[tuple[Record, ...]]:
        """What the project has is only granted, the rest goes into the pack."""
        yield READ
        known = self.rows.live_chunks(tuple(record.id for record in records))
        strange = known.keys() - self.rows.owned_chunks(scope.server, tuple(known)).keys()
        if strange:
            yield TX
            self.rows.grants.update((scope.server, name) for name in strange)
        return tuple({record.id: record for record in reversed(records) if record.id not in known}.values())

    def _rebuild(
        self,
        scope: Scope,
        records: tuple[tuple[int, int], ...],
        refused: list[int],
        *,
        is_named: bool = True,
    ) -> Steps[list[Record]]:
        yield READ
        bases = self.rows.owned_chunks(scope.server, tuple(base for _, base in records))
        depths = {base: row.depth for base, row in bases.items()}
        placed = {name for name, _ in records if is_named and name in self.rows.chunks}
        yield READ
        rebuilt = []
        for name, base in records:
            if base not in depths or not readable(self.rows, self.store, base):
                refused.append(name)
            elif name in placed or depths[base] >= words.MAX_DEPTH:
                rebuilt.append(Record(name))
            else:
                rebuilt.append(Record(name, base, depths[base] + 1))
        return rebuilt

    def _prove(self, scope: Scope, ids: Ids, forged: bool, refused: list[int]) -> Steps[int]:
        yield READ
        stored = self.rows.live_chunks(ids)
        yield READ
        held = not forged or self.breaks(Mutant.GRANT_WITHOUT_PROOF)
        proved = [name for name in ids if name in stored and held and readable(self.rows, self.store, name)]
        refused += [name for name in ids if name not in proved]
        yield TX
        self.rows.grants.update((scope.server, name) for name in proved)
        return len(proved)

    def put_object(self, key: Key, records: tuple[Record, ...] = ()) -> Steps[None]:
        """Write, then fsync; the row comes later, at the latest `REGISTER` after the writing was begun."""
        yield PUT[str(key[0])]
        self.store.write(key, self.now, records)
        if not self.breaks(Mutant.ACK_BEFORE_FSYNC):
            yield SYNC
            self.store.sync(key)

    def in_time(self, begun: int) -> bool:
        """`Registration`: whether what was written since `begun` cannot have been collected yet."""
        return self.now - begun <= words.REGISTER or self.breaks(Mutant.LATE_ROWS)

    def _write_pack(self, scope: Scope, records: tuple[Record, ...]) -> Steps[None]:
        in_place = self.breaks(Mutant.IN_PLACE_WRITES)
        name = -1 - sorted(self.shape).index(scope.server) if in_place else self.rows.new_id()
        begun = self.now
        yield from self.put_object(("pack", name), records)
        yield TX
        refuse(not self.in_time(begun), "STORE_UNAVAILABLE")
        self._record_pack(scope, name, records)

    def _record_pack(self, scope: Scope, name: int, records: tuple[Record, ...]) -> None:
        """`record_pack`: a chunk that another live pack holds stays there, and is granted."""
        rows = self.rows
        elsewhere = rows.live_chunks(tuple(record.id for record in records))
        rows.packs[name] = ObjectRow(scope.server, scope.session, self.now)
        rows.sessions[scope.session].active_at = self.now
        for record in records:
            if record.id in elsewhere:
                rows.grants.add((scope.server, record.id))
            else:
                rows.chunks[record.id] = ChunkRow(name, record.base, record.depth)
        self.rows.changes += 1

    def _write_nodes(self, scope: Scope, kind: str, names: Iterable[Ids | Root]) -> Steps[None]:
        """`write_leaves`, `write_roots`: durable first, then a live row. A young writing is not repeated."""
        begun = self.now
        for name in dict.fromkeys(names):
            before = self.written.get((kind, name))
            if before is None or self.now - before >= words.REGISTER:
                started = self.now
                yield from self.put_object((kind, name, self.rows.new_id()))
                self.written[kind, name] = started
        yield TX
        refuse(not self.in_time(begun), "STORE_UNAVAILABLE")
        for name in dict.fromkeys(names):
            row = self.rows.nodes.setdefault((kind, name), ObjectRow("", None, self.now))
            row.condemned_at, row.session = None, scope.session
            row.reference += 1
        self.rows.changes += 1
