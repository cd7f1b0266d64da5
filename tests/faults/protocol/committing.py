"""The service's rules of the commit: `app.migration.replication.commit`, rule by rule; see `rules`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tests.faults.protocol import words
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.rules import Rules, Scope, Steps
from tests.faults.protocol.storage import CheckpointRow, ChunkRow, NodeName, ObjectRow, refuse
from tests.faults.protocol.words import READ, TX, ZERO, ZERO_LEAF, Ids, Refusal, Root

T = TypeVar("T")
NOWHERE = 0
"""The pack of a chunk that is stored nowhere."""


@dataclass(frozen=True)
class Tree:
    """`DiskTree`: a disk's new root, and what it refers to that its base did not at the same place."""

    root: Root
    fresh_ids: frozenset[int]
    fresh_leaves: frozenset[Ids]


class Commits(Rules):
    """The service that commits, too."""

    def commit(self, server: str, message: words.Commit) -> words.Operation:
        """`commit`: prepare, write the file, one transaction, then the marker."""
        scope, done = yield from self._earlier_try(server, message)
        if done is not None:
            return done
        yield READ
        bases = self._roots(server, scope.base)
        yield READ
        trees = [self._tree(server, disk, bases[disk.disk]) for disk in message.disks]
        yield from self._write_nodes(scope, "root", [tree.root for tree in trees])
        packs = yield from self._referenced_packs(scope, trees)
        row, begun = self._row(scope, message, trees), self.now
        yield from self.put_object(("file", row.id))
        yield TX
        try:
            refuse(not self.in_time(begun), "STORE_UNAVAILABLE")
            self._commit(scope, row, packs, trees)
        except Refusal as refusal:
            return (yield from self._made_by_a_twin(server, message, refusal))
        yield from self._confirm_one(row.id)
        return words.Committed(row.id, row.number, row.roots)

    def _earlier_try(self, server: str, message: words.Commit) -> Steps[tuple[Scope, words.Committed | None]]:
        """The session, and the checkpoint that this commit made already: its marker is written again."""
        yield READ
        scope = self._scope(server, message.session)
        done = self._already_done(scope, message)
        if done is not None:
            yield from self._confirm_one(done.checkpoint)
        return scope, done

    def _confirm_one(self, checkpoint: int) -> Steps[None]:
        yield from self.put_object(("marker", checkpoint))
        self.rows.changes += 1

    def _made_by_a_twin(self, server: str, message: words.Commit, refusal: Refusal) -> Steps[words.Answer]:
        """Another try of the same commit may have come first: its checkpoint is the answer."""
        if refusal.code != "FENCED":
            raise refusal
        _, done = yield from self._earlier_try(server, message)
        if done is None:
            raise refusal
        return done

    def _already_done(self, scope: Scope, message: words.Commit) -> words.Committed | None:
        fenced = not self.breaks(Mutant.NO_FENCE)
        refuse(fenced and message.generation != scope.generation, "FENCED")
        if scope.base == message.base:
            return None
        head = self.rows.checkpoints.get(scope.base)
        asked = tuple(disk.root for disk in message.disks)
        if head is not None and head.parent == message.base and head.roots == asked:
            return words.Committed(head.id, head.number, head.roots)
        refuse(fenced, "BASE_MISMATCH")
        return None

    def _tree(self, server: str, disk: words.DiskCommit, base: Root | None) -> Tree:
        """`build_tree`: the root that the leaves give must be the agent's."""
        refuse(disk.base_root != base and not self.breaks(Mutant.NO_FENCE), "BASE_MISMATCH")
        before = base or (ZERO_LEAF,) * self.shape[server][disk.disk]
        changed = dict(disk.changed)
        root = tuple(changed.get(index, leaf) for index, leaf in enumerate(before))
        refuse(root != disk.root, "ROOT_MISMATCH")
        fresh: set[int] = set()
        for index, leaf in changed.items():
            if leaf != ZERO_LEAF and not self.store.has_node("leaf", leaf):
                self.written.pop(("leaf", leaf), None)
                raise Refusal("MISSING_LEAVES")
            fresh |= set(leaf) - set(before[index])
        return Tree(root, frozenset(fresh - {ZERO}), frozenset(changed.values()) - {ZERO_LEAF})

    def _referenced_packs(self, scope: Scope, trees: list[Tree]) -> Steps[frozenset[int]]:
        """The packs of fresh chunks and of what their deltas stand on. A delta of which a base is gone is
        marked, so that it is sent again."""
        yield READ
        ids = tuple(sorted(frozenset[int]().union(*(tree.fresh_ids for tree in trees))))
        chain = self.rows.owned_chunks(scope.server, ids)
        missing = tuple(name for name in ids if name not in chain)
        refuse(bool(missing), "MISSING_CHUNKS", missing)
        while wanted := {row.base for row in chain.values() if row.base is not None} - chain.keys():
            found = self.rows.live_chunks(tuple(sorted(wanted)))
            if not found:
                yield from self._refuse_stranded(chain, wanted, ids)
            chain |= found
        return frozenset(row.pack for row in chain.values())

    def _refuse_stranded(self, chain: Mapping[int, ChunkRow], lost: set[int], ids: Ids) -> Steps[None]:
        """`BrokenChains`: a chunk without a row gets one that points nowhere."""
        stranded = _standing_on(lost, {name: row.base for name, row in chain.items()})
        broken = tuple(name for name in stranded if name in ids)
        yield TX
        for name in broken:
            self.rows.chunks.setdefault(name, ChunkRow(NOWHERE, None, 0, damaged=True))
        yield TX
        for name in broken:
            if name in self.rows.chunks:
                self.rows.chunks[name].damaged = True
        raise Refusal("MISSING_CHUNKS", broken)

    def _row(self, scope: Scope, message: words.Commit, trees: list[Tree]) -> CheckpointRow:
        parent = self.rows.checkpoints.get(scope.base)
        number = parent.number + 1 if parent else 1
        return CheckpointRow(
            self.rows.new_id(),
            scope.server,
            number,
            scope.base,
            message.label,
            message.source_time,
            self.now,
            tuple(tree.root for tree in trees),
            message.ghost,
        )

    def _commit(self, scope: Scope, row: CheckpointRow, packs: frozenset[int], trees: list[Tree]) -> None:
        """The transaction: the head is moved from the base, all that is referred to is live and counted."""
        rows, server = self.rows, self.rows.servers[scope.server]
        if self.breaks(Mutant.TWINS_BREAK_COMMIT):
            numbers = [c.number for c in rows.checkpoints.values() if c.server == scope.server]
            refuse(row.number in numbers, "INTERNAL")
        moves = server.generation == scope.generation and server.head == scope.base
        refuse(not moves and not self.breaks(Mutant.NO_FENCE), "FENCED")
        nodes: set[NodeName] = {("leaf", leaf) for tree in trees for leaf in tree.fresh_leaves}
        nodes |= {("root", tree.root) for tree in trees}
        if not self.breaks(Mutant.NO_LIVE_CHECK):
            refuse(not all(_is_live(rows.packs.get, name) for name in packs), "MISSING_CHUNKS")
            refuse(not all(_is_live(rows.nodes.get, name) for name in nodes), "MISSING_LEAVES")
        for counted in [rows.packs.get(name) for name in packs] + [rows.nodes.get(name) for name in nodes]:
            if counted is not None:
                counted.reference += 1
        rows.checkpoints[row.id] = row
        server.head = row.id
        session = rows.sessions[scope.session]
        if session.ended is None:
            session.base, session.active_at = row.id, self.now
        self.rows.changes += 1


def _is_live(find: Callable[[T], ObjectRow | None], name: T) -> bool:
    row = find(name)
    return row is not None and row.is_live


def _standing_on(lost: set[int], bases: Mapping[int, int | None]) -> tuple[int, ...]:
    """Chunks that stand, over any number of deltas, on one of `lost`."""
    stranded: set[int] = set()
    while True:
        more = {name for name, base in bases.items() if base in lost | stranded} - stranded
        if not more:
            return tuple(sorted(stranded))
        stranded |= more
