"""Leaves and root nodes: durable in the store first, then a live row that a commit may refer to."""

import asyncio
from collections.abc import Iterable, Sequence

from sqlalchemy import update

from app.kit.database import UnitOfWork
from app.migration.replication.possession import LIVE
from app.migration.replication.sessions import SessionScope
from app.migration.replication.statements import insert_ignoring
from app.migration.replication.tables import NodeRow
from app.migration.services import Services
from app.store.index import Registration
from app.store.layout import NodeKind
from app.wire.buffers import Buffer
from app.wire.tree import ZERO_LEAF, RootNode


async def write_leaves(services: Services, scope: SessionScope, leaves: Sequence[Buffer]) -> int:
    """Store leaves (32 KiB of ids each). Returns how many there were. Raises StoreFull."""
    store = services.store
    registration = store.registration()
    names = await asyncio.to_thread(lambda: {store.write_leaf(leaf) for leaf in leaves})
    names.discard(ZERO_LEAF)
    await _register(services, scope, NodeKind.LEAF, names, registration)
    return len(leaves)


async def write_roots(services: Services, scope: SessionScope, nodes: Sequence[RootNode]) -> None:
    """Store the root nodes of a commit. Raises StoreFull."""
    store = services.store
    registration = store.registration()
    names = await asyncio.to_thread(lambda: {store.write_root(node) for node in nodes})
    await _register(services, scope, NodeKind.ROOT, names, registration)


async def _register(
    services: Services,
    scope: SessionScope,
    kind: NodeKind,
    names: Iterable[bytes],
    registration: Registration,
) -> None:
    async def work(uow: UnitOfWork) -> None:
        registration.require(uow.now)
        await _make_live(uow, scope, kind, names)

    await services.database.run(work)


async def _make_live(uow: UnitOfWork, scope: SessionScope, kind: NodeKind, names: Iterable[bytes]) -> None:
    ordered = sorted(names)
    if not ordered:
        return
    common = {"kind": kind, "session_id": scope.id, "state": LIVE, "reference": 0, "created_at": uow.now}
    await insert_ignoring(uow, NodeRow, [{"name": name, **common} for name in ordered])
    again = update(NodeRow).where(NodeRow.name.in_(ordered))
    await uow.session.execute(
        again.values(
            state=LIVE, condemned_at=None, session_id=scope.id, reference=NodeRow.reference + 1
        ).execution_options(synchronize_session=False)
    )
