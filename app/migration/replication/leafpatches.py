"""Leaves that come as changes of other leaves: rebuilt on a base that the server may build on.

A bare hash is no possession. A server may build on the leaves of its session's base checkpoint, and on those
that the session itself put; every other leaf is answered like one that does not exist. Else an agent that
learnt the hash of another server's leaf could overwrite all of its ids but one and let the service confirm
guesses of that one, or name the leaf as its own and be told the ids.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from app.migration.replication.possession import LIVE
from app.migration.replication.sessions import SessionScope, head_roots
from app.migration.replication.tables import NodeRow
from app.migration.replication.trees import base_node
from app.migration.services import Services
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.layout import NodeKind
from app.store.objects import ObjectStore
from app.wire.frames import LeafPatchRecord
from app.wire.tree import RootNode, changed_leaf, leaf_hash


@dataclass(frozen=True)
class Rebuilt:
    """The leaves (32 KiB of ids each) that patches gave, and the hashes of those that they did not give."""

    leaves: tuple[bytes, ...]
    baseless: tuple[bytes, ...]
    mismatched: tuple[bytes, ...]


class LeafPatches:
    """Rebuilds the patched leaves of one put."""

    def __init__(self, services: Services, scope: SessionScope) -> None:
        """Nothing is read yet."""
        self._services = services
        self._scope = scope
        self._roots: Sequence[RootNode] | None = None

    async def rebuild(self, records: Sequence[LeafPatchRecord]) -> Rebuilt:
        """Rebuild these leaves; all of them and their bases are in memory together. A base that this very
        call gives does not count."""
        names = await self._allowed({record.base for record in records})
        return await asyncio.to_thread(_rebuild, self._services.store, records, names)

    async def _allowed(self, names: set[bytes]) -> set[bytes]:
        """Those of these leaves that are live and that the server may build on."""
        query = select(NodeRow.name, NodeRow.session_id).where(
            NodeRow.name.in_(names), NodeRow.kind == NodeKind.LEAF, NodeRow.state == LIVE
        )
        async with self._services.database.reading() as uow:
            live = {row.name: row.session_id for row in await uow.session.execute(query)}
        own = {name for name, session in live.items() if session == self._scope.id}
        others = live.keys() - own
        return own | await self._of_the_base(others) if others else own

    async def _of_the_base(self, names: set[bytes]) -> set[bytes]:
        """Those of these leaves that the session's base checkpoint has."""
        if self._roots is None:
            async with self._services.database.reading() as uow:
                rows = (await head_roots(uow, self._scope.base_checkpoint_id)).values()
            store = self._services.store
            read = await asyncio.to_thread(lambda: [base_node(store, row) for row in rows])
            self._roots = [node for node in read if node is not None]
        return await asyncio.to_thread(_among, self._roots, names)


def _among(roots: Sequence[RootNode], names: set[bytes]) -> set[bytes]:
    return {name for root in roots for name in root.leaf_hashes() if name in names}


def _rebuild(store: ObjectStore, records: Sequence[LeafPatchRecord], allowed: set[bytes]) -> Rebuilt:
    bases = _readable(store, allowed)
    built = {
        record: changed_leaf(bases[record.base], record.changes) for record in records if record.base in bases
    }
    good = {record: ids for record, ids in built.items() if leaf_hash(ids) == record.leaf}
    return Rebuilt(
        leaves=tuple(good.values()),
        baseless=tuple(record.leaf for record in records if record not in built),
        mismatched=tuple(record.leaf for record in built if record not in good),
    )


def _readable(store: ObjectStore, names: set[bytes]) -> Mapping[bytes, bytes]:
    """The leaves among these that the store has whole."""
    found = {}
    for name in names:
        try:
            found[name] = store.read_leaf(name)
        except (ObjectMissing, ObjectDamaged):
            continue
    return found
