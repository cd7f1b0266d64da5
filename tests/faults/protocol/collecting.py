"""The service's rules of garbage collection: `app.store.gc`, `retire`, `compaction` and their index, by rule.

Sizes in bytes decide what is compacted: a whole chunk of the translation, a delta of one block, and what pack
and record headers take beside them.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from app.store.retention import Point, RetentionPolicy, retained
from tests.faults.protocol import words
from tests.faults.protocol.committing import Commits
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.rules import Steps
from tests.faults.protocol.storage import CheckpointRow, ChunkRow, Key, NodeName, ObjectRow, Record, refuse
from tests.faults.protocol.words import DELETE, GRACE, READ, SCAN, TX, ZERO, ZERO_LEAF

T = TypeVar("T")
EPOCH = datetime(2026, 1, 2, tzinfo=UTC)
POLICY = RetentionPolicy(timedelta(minutes=1), timedelta(0), timedelta(0))
"""Hardly anything is kept but what must be: collection has the more to do."""
WHOLE, DELTA = 256 * 1024, 4102
HEADERS = {WHOLE: 128, DELTA: 160}
FRAME, ROOM = 248, 256
"""Bytes of a pack without records; bytes that compaction reckons for a record's headers."""


@dataclass(frozen=True)
class Listed:
    """`_Rows`: (name, reference, created) of live objects that no session holds, and the checkpoints."""

    checkpoints: tuple[CheckpointRow, ...]
    packs: dict[int, tuple[int, int]]
    nodes: dict[NodeName, tuple[int, int]]
    all_packs: dict[int, bool]
    all_nodes: frozenset[NodeName]


@dataclass(frozen=True)
class Marked:
    """What is reachable."""

    nodes: frozenset[NodeName]
    chunks: frozenset[int]


class Service(Commits):
    """The whole service."""

    def collect_garbage(self) -> words.Operation:
        """`collect_garbage`: end idle sessions, retire, collect."""
        yield TX
        for session in self.rows.sessions.values():
            if session.ended is None and session.active_at < self.now - words.IDLE_SESSION:
                session.ended = self.now
        yield from self._retire()
        return (yield from self._collect())

    def _retire(self) -> Steps[None]:
        """`retire`: marker, then rows unless pinned, then the file."""
        yield SCAN["checkpoints"]
        groups: dict[str, list[CheckpointRow]] = defaultdict(list)
        for row in self._checkpoints():
            groups[row.server].append(row)
        now, surplus = EPOCH + timedelta(seconds=self.now), list[CheckpointRow]()
        for rows in groups.values():
            kept = retained([self._point(row) for row in rows], POLICY, now)
            surplus += [row for row in rows if f"{row.id:09d}" not in kept]
        for row in surplus:
            yield DELETE
            self.store.delete(("marker", row.id))
            yield TX
            if self.rows.pinned(row.id):
                yield from self.put_object(("marker", row.id))
                self.rows.changes += 1
                continue
            self.rows.checkpoints.pop(row.id, None)
            yield DELETE
            self.store.delete(("file", row.id))

    def _point(self, row: CheckpointRow) -> Point:
        at = min(row.source_time, row.made_at) if self.breaks(Mutant.AGE_BY_SOURCE) else row.made_at
        time = EPOCH + timedelta(seconds=at)
        return Point(f"{row.id:09d}", time, row.label == words.FROZEN, self.rows.pinned(row.id))

    def _checkpoints(self) -> tuple[CheckpointRow, ...]:
        return tuple(self.rows.checkpoints[name] for name in sorted(self.rows.checkpoints))

    def _collect(self) -> Steps[words.Collected]:
        cutoff = self.now - GRACE
        yield READ
        objects = {kind: self.store.listed(kind) for kind in ("pack", "leaf", "root", "file", "marker")}
        markers = objects["marker"]
        listed = yield from self._list_rows()
        known: set[object] = {row.id for row in listed.checkpoints}
        yield READ
        strange = [key for key in markers if key[1] not in known and self.store.get(key)]
        refuse(any(("file", key[1]) in objects["file"] for key in strange), "STORE_AHEAD")
        yield from self._confirm(objects["file"], markers, listed)
        yield READ
        marked = self._mark(listed)
        yield READ
        dead, sparse = self._sorted_out(listed, marked, cutoff)
        nodes = {name: reference for name, (reference, made) in listed.nodes.items() if made < cutoff}
        nodes = {name: reference for name, reference in nodes.items() if name not in marked.nodes}
        gone_packs, gone_nodes = yield from self._condemn_all(dead, nodes)
        compacted = yield from self._compact(listed, sparse)
        packs, forgotten = yield from self._delete_condemned(cutoff)
        yield DELETE
        orphans = self._delete_orphans(objects, listed, known, cutoff)
        return words.Collected(gone_packs, gone_nodes, compacted, packs, forgotten, orphans)

    def _list_rows(self) -> Steps[Listed]:
        """Packs and nodes with their `reference` first, then the checkpoints: so a commit in between shows
        up in the checkpoints, or its references have changed since."""
        early = self.breaks(Mutant.CHECKPOINTS_LISTED_FIRST)
        if early:
            yield SCAN["checkpoints"]
            checkpoints = self._checkpoints()
        yield SCAN["packs"]
        packs = {name: (row.reference, row.created_at) for name, row in self._idle(self.rows.packs)}
        every = {name: self.rows.held(row) for name, row in self.rows.packs.items()}
        yield SCAN["nodes"]
        nodes = {name: (row.reference, row.created_at) for name, row in self._idle(self.rows.nodes)}
        all_nodes = frozenset(self.rows.nodes)
        if not early:
            yield SCAN["checkpoints"]
            checkpoints = self._checkpoints()
        return Listed(checkpoints, packs, nodes, every, all_nodes)

    def _idle(self, table: dict[T, ObjectRow]) -> list[tuple[T, ObjectRow]]:
        return [(name, row) for name, row in table.items() if row.is_live and not self.rows.held(row)]

    def _confirm(self, files: dict[Key, int], markers: dict[Key, int], listed: Listed) -> Steps[None]:
        """Write the markers that a crash after the transaction left out."""
        bare = [row.id for row in listed.checkpoints if ("file", row.id) in files]
        bare = [name for name in bare if ("marker", name) not in markers]
        for name in bare:
            yield READ
            if self.store.get(("file", name)):
                yield from self.put_object(("marker", name))
                self.rows.changes += 1
        if bare:
            yield SCAN["checkpoints"]
            left = set(self.rows.checkpoints)
            yield DELETE
            for name in bare:
                if name not in left:
                    self.store.delete(("marker", name))

    def _mark(self, listed: Listed) -> Marked:
        """Reachable from checkpoints, and the bases of deltas that are reachable or held."""
        nodes: set[NodeName] = set()
        chunks: set[int] = set()
        for root in (root for row in listed.checkpoints for root in row.roots):
            leaves = [leaf for leaf in root if leaf != ZERO_LEAF]
            refuse(not self.store.has_node("root", root), "COLLECTION_STOPPED")
            refuse(not all(self.store.has_node("leaf", leaf) for leaf in leaves), "COLLECTION_STOPPED")
            nodes |= {("root", root), *(("leaf", leaf) for leaf in leaves)}
            chunks.update(*leaves)
        held = {name for name, is_held in listed.all_packs.items() if is_held}
        chunks |= {name for name, row in self.rows.chunks.items() if row.pack in held}
        by_pack = listed.all_packs if self.breaks(Mutant.DELTAS_LISTED_BY_PACK) else self.rows.packs
        deltas = {n: row.base for n, row in self.rows.chunks.items() if row.base and row.pack in by_pack}
        while more := {base for name, base in deltas.items() if name in chunks and base not in chunks}:
            chunks |= more
        return Marked(frozenset(nodes), frozenset(chunks - {ZERO}))

    def _sorted_out(
        self, listed: Listed, marked: Marked, cutoff: int
    ) -> tuple[dict[int, int], dict[int, dict[int, ChunkRow]]]:
        """Dead packs with their `reference`, and packs worth emptying with their live chunks."""
        dead: dict[int, int] = {}
        sparse: dict[int, dict[int, ChunkRow]] = {}
        for name, (reference, made) in listed.packs.items():
            if made >= cutoff:
                continue
            found = {c: row for c, row in self.rows.chunks.items() if row.pack == name and c in marked.chunks}
            if found:
                sparse[name] = {c: ChunkRow(name, row.base, row.depth) for c, row in found.items()}
            else:
                dead[name] = reference
        return dead, sparse

    def _condemn_all(self, packs: dict[int, int], nodes: dict[NodeName, int]) -> Steps[tuple[int, int]]:
        if not packs and not nodes:
            return 0, 0
        at = self.now
        yield TX
        rows = self.rows
        gone = [name for name, reference in packs.items() if self._condemn(rows.packs, name, reference, at)]
        self.rows.chunks = {n: row for n, row in self.rows.chunks.items() if row.pack not in gone}
        self._drop_baseless()
        return len(gone), sum(self._condemn(rows.nodes, name, nodes[name], at) for name in nodes)

    def _drop_baseless(self) -> None:
        """Deltas whose base went cannot be read: nobody should take them for known."""
        chunks = self.rows.chunks
        while lost := [n for n, row in chunks.items() if row.base is not None and row.base not in chunks]:
            for name in lost:
                del chunks[name]

    def _condemn(self, table: dict[T, ObjectRow], name: T, reference: int, at: int) -> bool:
        row = table.get(name)
        if row is None or not self._may_condemn(row, reference):
            return False
        row.condemned_at = at
        self.rows.changes += 1
        return True

    def _may_condemn(self, row: ObjectRow | None, reference: int) -> bool:
        if row is None or not row.is_live or self.rows.held(row):
            return False
        return row.reference == reference or self.breaks(Mutant.REFERENCE_IGNORED)

    def _compact(self, listed: Listed, sparse: dict[int, dict[int, ChunkRow]]) -> Steps[int]:
        """`compact`: sparse packs are emptied, small ones joined if there are two of them."""
        groups: dict[str, list[int]] = defaultdict(list)
        for name in sparse:
            row = self.rows.packs.get(name)
            if row is not None and (self.packs_are_small or self._is_sparse(name, sparse[name])):
                groups[row.server].append(name)
        done = 0
        for server, names in groups.items():
            if len(names) > 1 or self._is_sparse(names[0], sparse[names[0]]):
                done += yield from self._move(server, {n: listed.packs[n][0] for n in names}, sparse)
        return done

    def _is_sparse(self, name: int, live: dict[int, ChunkRow]) -> bool:
        pack = self.store.get(("pack", name))
        every = pack.records if pack else ()
        sizes = [WHOLE if record.base is None else DELTA for record in every]
        kept = [WHOLE if row.base is None else DELTA for row in live.values()]
        return 2 * sum(size + ROOM for size in kept) < FRAME + sum(size + HEADERS[size] for size in sizes)

    def _move(self, server: str, old: dict[int, int], sparse: dict[int, dict[int, ChunkRow]]) -> Steps[int]:
        live = {chunk: row for name in old for chunk, row in sparse[name].items()}
        new = self.rows.new_id()
        records = tuple(Record(chunk, row.base, row.depth) for chunk, row in live.items())
        begun = self.now
        yield from self.put_object(("pack", new), records)
        at = self.now
        yield TX
        if not self.in_time(begun) or not self._relocate(ObjectRow(server, None, at), new, old, live):
            return 0
        self.rows.changes += 1
        return len(old)

    def _relocate(self, row: ObjectRow, new: int, old: dict[int, int], live: dict[int, ChunkRow]) -> bool:
        """`relocate`: all or nothing."""
        rows = self.rows
        if not all(self._may_condemn(rows.packs.get(name), reference) for name, reference in old.items()):
            return False
        for name in old:
            rows.packs[name].condemned_at = row.created_at
        rows.packs[new] = row
        moved = {chunk: place for chunk, place in rows.chunks.items() if place.pack in old}
        for chunk, place in moved.items():
            if chunk in live:
                at = live[chunk]
                rows.chunks[chunk] = ChunkRow(new, at.base, at.depth, place.damaged)
            else:
                del rows.chunks[chunk]
        self._drop_baseless()
        return True

    def _delete_condemned(self, cutoff: int) -> Steps[tuple[int, int]]:
        """Objects before rows. A node's young writing belongs to somebody who is putting it again."""
        yield READ
        packs = [name for name, row in self.rows.packs.items() if _is_past(row, cutoff)]
        nodes = [name for name, row in self.rows.nodes.items() if _is_past(row, cutoff)]
        if not packs and not nodes:
            return 0, 0
        for name in packs:
            yield DELETE
            self.store.delete(("pack", name))
        for kind, node in nodes:
            yield DELETE
            for key, modified in self.store.listed(kind).items():
                if key[1] == node and modified < cutoff:
                    self.store.delete(key)
        yield TX
        _forget(self.rows.packs, packs)
        _forget(self.rows.nodes, nodes)
        return len(packs), len(nodes)

    def _delete_orphans(
        self, objects: dict[str, dict[Key, int]], listed: Listed, known: set[object], cutoff: int
    ) -> int:
        """Objects without a row that are older than the grace."""
        young = {key[1] for kind in ("file", "marker") for key, at in objects[kind].items() if at >= cutoff}
        old = [key for found in objects.values() for key, modified in found.items() if modified < cutoff]
        orphans = [key for key in old if not self._has_row(key, listed, known | young)]
        for key in orphans:
            self.store.delete(key)
        files = {key[1] for key in orphans if key[0] in ("file", "marker")}
        return len(files) + sum(key[0] not in ("file", "marker") for key in orphans)

    def _has_row(self, key: Key, listed: Listed, known: set[object]) -> bool:
        kind, name = str(key[0]), key[1]
        if kind == "pack":
            return name in listed.all_packs
        if kind in ("file", "marker"):
            return name in known
        return (kind, name) in listed.all_nodes


def _is_past(row: ObjectRow, cutoff: int) -> bool:
    return row.condemned_at is not None and row.condemned_at < cutoff


def _forget(table: dict[T, ObjectRow], names: list[T]) -> None:
    """As far as they are still condemned."""
    for name in names:
        if name in table and not table[name].is_live:
            del table[name]
