"""What garbage collection changes in the database: the protocol `GarbageIndex` of the store."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, select, update
from sqlalchemy.orm import aliased

from app.kit.database import UnitOfWork
from app.migration.replication.index import DatabaseIndex
from app.migration.replication.tables import CheckpointRow, ChunkRow, NodeRow, PackRow, SessionRow
from app.migration.servers.tables import ServerRow
from app.store.checkpointfile import CheckpointName
from app.store.index import Candidate, CompactedPack, Objects, ObjectState
from app.store.layout import NodeKind

IDLE_SESSION = timedelta(days=1)
_BATCH = 1000


class DatabaseGarbageIndex(DatabaseIndex):
    """The index as garbage collection uses it."""

    async def chunk_count(self, project: str) -> int:
        """How many chunks of the project are stored."""
        query = select(func.count()).select_from(ChunkRow).where(ChunkRow.project_id == project)
        async with self._database.reading() as uow:
            return await uow.session.scalar(query) or 0

    async def patches(self, project: str) -> AsyncIterator[tuple[bytes, bytes]]:
        """The project's delta records, by chunk; see `GarbageIndex`."""
        deltas = select(ChunkRow.id, ChunkRow.base).where(ChunkRow.project_id == project)
        deltas = deltas.where(ChunkRow.base.is_not(None)).order_by(ChunkRow.id).limit(_BATCH)
        after = bytes(32)
        while rows := await self._patches_after(deltas.where(ChunkRow.id > after)):
            for name, base in rows:
                yield name, base
            after = rows[-1][0]

    async def _patches_after(self, query: Select[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
        async with self._database.reading() as uow:
            rows = await uow.session.execute(query)
            return [(name, base) for name, base in rows if base is not None]

    async def end_idle_sessions(self) -> int:
        """End sessions that did nothing for a day, so that what they put is no longer held for them."""

        async def end(uow: UnitOfWork) -> int:
            idle = (SessionRow.ended_at.is_(None), SessionRow.active_at < uow.now - IDLE_SESSION)
            return await uow.changed(update(SessionRow).where(*idle).values(ended_at=uow.now))

        return await self._database.run(end)

    async def condemn(self, packs: Sequence[Candidate], nodes: Sequence[Candidate], now: datetime) -> Objects:
        """Condemn what is live, not held and unreferenced since; see `GarbageIndex`."""

        async def work(uow: UnitOfWork) -> Objects:
            gone = tuple([pack.name for pack in packs if await _condemn(uow, PackRow, pack, now)])
            await uow.session.execute(delete(ChunkRow).where(ChunkRow.pack.in_(gone)))
            await _drop_baseless(uow)
            dropped = [node.name for node in nodes if await _condemn(uow, NodeRow, node, now)]
            return Objects(gone, await _kinds(uow, dropped))

        return await self._database.run(work)

    async def relocate(self, new: CompactedPack, now: datetime) -> bool:
        """Point chunks from the old packs to the new one and condemn those; see `GarbageIndex`."""

        async def work(uow: UnitOfWork) -> bool:
            if new.registration.is_over(uow.now):
                return False
            for old in new.old:
                if not await _condemn(uow, PackRow, old, now):
                    raise _StillUsed
            uow.session.add(_compacted_row(new, now))
            await uow.session.flush()
            await _move_chunks(uow, new)
            return True

        try:
            return await self._database.run(work)
        except _StillUsed:
            return False

    async def condemned_before(self, time: datetime) -> Objects:
        """What was condemned before `time`."""
        async with self._database.reading() as uow:
            packs = await uow.session.scalars(select(PackRow.name).where(*_condemned_until(PackRow, time)))
            nodes = await uow.session.scalars(select(NodeRow.name).where(*_condemned_until(NodeRow, time)))
            return Objects(tuple(packs), await _kinds(uow, list(nodes)))

    async def forget(self, objects: Objects) -> None:
        """Delete the rows of these, as far as they are still condemned."""
        nodes = [name for _, name in objects.nodes]

        async def work(uow: UnitOfWork) -> None:
            for table, names in ((PackRow, list(objects.packs)), (NodeRow, nodes)):
                condemned = (table.name.in_(names), table.state == ObjectState.CONDEMNED)
                await uow.session.execute(delete(table).where(*condemned))

        await self._database.run(work)

    async def drop_checkpoint(self, name: CheckpointName) -> bool:
        """Delete a checkpoint's rows unless it is pinned; see `GarbageIndex`."""

        async def work(uow: UnitOfWork) -> bool:
            head = exists().where(ServerRow.head_checkpoint_id == CheckpointRow.id)
            base = exists().where(
                SessionRow.base_checkpoint_id == CheckpointRow.id, SessionRow.ended_at.is_(None)
            )
            free = (CheckpointRow.id == name.id, CheckpointRow.kept.is_(False), ~head, ~base)
            await uow.session.execute(
                delete(CheckpointRow).where(*free).execution_options(synchronize_session=False)
            )
            return await uow.session.get(CheckpointRow, name.id) is None

        return await self._database.run(work)


class _StillUsed(Exception):
    """A pack came to be used again."""


def _condemned_until(table: type[PackRow] | type[NodeRow], time: datetime) -> tuple[ColumnElement[bool], ...]:
    return (table.state == ObjectState.CONDEMNED, table.condemned_at < time)


async def _condemn(
    uow: UnitOfWork, table: type[PackRow] | type[NodeRow], candidate: Candidate, now: datetime
) -> bool:
    held = exists().where(SessionRow.id == table.session_id, SessionRow.ended_at.is_(None))
    same = (table.name == candidate.name, table.state == ObjectState.LIVE)
    statement = update(table).where(*same, table.reference == candidate.reference, ~held)
    statement = statement.values(state=ObjectState.CONDEMNED, condemned_at=now)
    return await uow.changed(statement.execution_options(synchronize_session=False)) == 1


async def _kinds(uow: UnitOfWork, names: Sequence[bytes]) -> tuple[tuple[NodeKind, bytes], ...]:
    rows = await uow.session.execute(select(NodeRow.kind, NodeRow.name).where(NodeRow.name.in_(list(names))))
    return tuple((NodeKind(kind), name) for kind, name in rows)


def _compacted_row(new: CompactedPack, now: datetime) -> PackRow:
    return PackRow(
        name=new.name,
        project_id=new.project,
        server_id=new.server,
        session_id=None,
        state=ObjectState.LIVE,
        reference=0,
        stored_bytes=new.stored_bytes,
        raw_bytes=new.raw_bytes,
        created_at=now,
    )


async def _move_chunks(uow: UnitOfWork, new: CompactedPack) -> None:
    """Rows that still point into an old pack point to the new one; others of the old packs are dropped."""
    old = [pack.name for pack in new.old]
    for name, place in new.chunks.items():
        mine = (ChunkRow.project_id == new.project, ChunkRow.id == name, ChunkRow.pack.in_(old))
        await uow.session.execute(
            update(ChunkRow)
            .where(*mine)
            .values(
                pack=new.name,
                position=place.offset,
                stored_length=place.stored_length,
                codec=int(place.codec),
                base=place.base,
                depth=place.depth,
            )
            .execution_options(synchronize_session=False)
        )
    await uow.session.execute(delete(ChunkRow).where(ChunkRow.pack.in_(old)))
    await _drop_baseless(uow)


async def _drop_baseless(uow: UnitOfWork) -> None:
    """Drop the rows of deltas whose base went: they cannot be read, and nobody should take them for known.

    A dead delta may lie in a pack that lives on. The deltas that stand on it go in the next round.
    """
    base = aliased(ChunkRow)
    same = and_(base.project_id == ChunkRow.project_id, base.id == ChunkRow.base)
    lost = select(ChunkRow.project_id, ChunkRow.id).outerjoin(base, same)
    lost = lost.where(ChunkRow.base.is_not(None), base.id.is_(None)).limit(_BATCH)
    while rows := (await uow.session.execute(lost)).all():
        names: dict[str, list[bytes]] = {}
        for project, name in rows:
            names.setdefault(project, []).append(name)
        for project, some in names.items():
            these = (ChunkRow.project_id == project, ChunkRow.id.in_(some))
            await uow.session.execute(
                delete(ChunkRow).where(*these).execution_options(synchronize_session=False)
            )
