"""What the store reads of the database: the protocols `ChunkIndex`, `ContentIndex` and `CheckIndex`.

Each method opens its own short unit; iterators read in batches by key, so that no transaction stays open
while the store works on a batch.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Select, exists, select, update
from sqlalchemy.orm import InstrumentedAttribute

from app.contract.words import ConsistencyLabel
from app.kit.database import Database, UnitOfWork
from app.migration.replication.documents import checkpoint_file, names_of
from app.migration.replication.places import LOCATION, location
from app.migration.replication.statements import insert_ignoring
from app.migration.replication.tables import (
    CheckpointRow,
    ChunkRow,
    DiskRootRow,
    NodeRow,
    PackRow,
    SessionRow,
)
from app.migration.servers.tables import ServerRow
from app.store.checkpointfile import CheckpointFile, CheckpointName
from app.store.index import CheckpointInfo, DiskRoot, Location, NodeInfo, ObjectState, PackInfo
from app.store.layout import NodeKind
from app.wire.messages import Counters

BATCH = 1000
NOWHERE = bytes(32)
"""The pack of a chunk that is stored nowhere."""


class DatabaseIndex:
    """The index of the store, on the database."""

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database

    async def locate(self, project: str, ids: Sequence[bytes]) -> Mapping[bytes, Location]:
        """Where the project's chunks are; see `ChunkIndex`."""
        query = select(ChunkRow.id, *LOCATION).where(ChunkRow.project_id == project)
        query = query.where(ChunkRow.id.in_(list(ids)), ChunkRow.pack != NOWHERE)
        async with self._database.reading() as uow:
            return {name: location(*where) for name, *where in await uow.session.execute(query)}

    async def chunks_of(self, pack: bytes) -> Mapping[bytes, Location]:
        """The chunks whose rows point into the pack."""
        async with self._database.reading() as uow:
            rows = await uow.session.execute(select(ChunkRow.id, *LOCATION).where(ChunkRow.pack == pack))
            return {name: location(*where) for name, *where in rows}

    async def packs(self) -> AsyncIterator[PackInfo]:
        """All packs, condemned ones too."""
        held, after = _held(PackRow.session_id), bytes(32)
        while rows := await self._packs_after(select(PackRow, held).where(PackRow.name > after)):
            for info in rows:
                yield info
            after = rows[-1].name

    async def live_packs_after(self, name: bytes, most: int) -> list[PackInfo]:
        """The next live packs behind `name`, in the order of their names; `most` of them at most."""
        query = select(PackRow, _held(PackRow.session_id)).where(PackRow.name > name)
        query = query.where(PackRow.state == ObjectState.LIVE)
        async with self._database.reading() as uow:
            rows = await uow.session.execute(query.order_by(PackRow.name).limit(most))
            return [_pack_info(row, bool(held)) for row, held in rows]

    async def _packs_after(self, query: Select[PackRow, bool]) -> list[PackInfo]:
        async with self._database.reading() as uow:
            rows = await uow.session.execute(query.order_by(PackRow.name).limit(BATCH))
            return [_pack_info(row, bool(held)) for row, held in rows]

    async def nodes(self) -> AsyncIterator[NodeInfo]:
        """All leaves and roots, condemned ones too."""
        held, after = _held(NodeRow.session_id), bytes(32)
        while rows := await self._nodes_after(select(NodeRow, held).where(NodeRow.name > after)):
            for info in rows:
                yield info
            after = rows[-1].name

    async def _nodes_after(self, query: Select[NodeRow, bool]) -> list[NodeInfo]:
        async with self._database.reading() as uow:
            rows = await uow.session.execute(query.order_by(NodeRow.name).limit(BATCH))
            return [_node_info(row, bool(held)) for row, held in rows]

    async def checkpoints(self) -> AsyncIterator[CheckpointInfo]:
        """All retained checkpoints with their disks."""
        after = ""
        while batch := await self._checkpoints_after(after):
            for info in batch:
                yield info
            after = batch[-1].name.id

    async def _checkpoints_after(self, after: str) -> list[CheckpointInfo]:
        query = select(CheckpointRow, _pinned()).where(CheckpointRow.id > after)
        async with self._database.reading() as uow:
            rows = list(await uow.session.execute(query.order_by(CheckpointRow.id).limit(BATCH)))
            ids = [row.id for row, _ in rows]
            roots = await uow.session.scalars(select(DiskRootRow).where(DiskRootRow.checkpoint_id.in_(ids)))
            disks: dict[str, list[DiskRoot]] = {name: [] for name in ids}
            for root in roots:
                disks[root.checkpoint_id].append(
                    DiskRoot(root.disk_id, root.root, root.size, root.chunk_size)
                )
        return [_checkpoint_info(row, bool(pinned), disks[row.id]) for row, pinned in rows]

    async def mark_damaged(self, project: str, ids: Sequence[bytes]) -> None:
        """These chunks count as unknown to agents from now on, so that they are sent again.

        A chunk without a row gets one that points nowhere: agents are told of those that have rows.
        """
        lost = [lost_chunk(project, name) for name in ids]

        async def insert(uow: UnitOfWork) -> None:
            await insert_ignoring(uow, ChunkRow, lost)

        if lost:
            await self._database.run(insert)
        await self._mark(project, ids, damaged=True)

    async def mark_whole(self, project: str, ids: Sequence[bytes]) -> None:
        """These chunks were read and are good."""
        await self._mark(project, ids, damaged=False)

    async def checkpoint_file(self, name: CheckpointName) -> CheckpointFile | None:
        """What the checkpoint's file should say; see `CheckIndex`."""
        async with self._database.reading() as uow:
            row = await uow.session.get(CheckpointRow, name.id)
            if row is None:
                return None
            query = select(DiskRootRow).where(DiskRootRow.checkpoint_id == name.id)
            roots = list(await uow.session.scalars(query.order_by(DiskRootRow.disk_id)))
            counters = {root.disk_id: Counters() for root in roots}
            if roots:
                counters[roots[0].disk_id] = Counters(**row.counters)
            return checkpoint_file(row, roots, counters, await names_of(uow, name.server))

    async def _mark(self, project: str, ids: Sequence[bytes], *, damaged: bool) -> None:
        changing = (ChunkRow.id.in_(list(ids)), ChunkRow.damaged.is_(not damaged))
        statement = update(ChunkRow).where(ChunkRow.project_id == project, *changing).values(damaged=damaged)
        await self._database.run(lambda uow: uow.changed(statement))


def lost_chunk(project: str, name: bytes) -> dict[str, object]:
    """The columns of a row for a chunk that is wanted and stored nowhere."""
    nowhere = {"pack": NOWHERE, "position": 0, "stored_length": 0, "raw_length": 0, "codec": 0, "depth": 0}
    return {"project_id": project, "id": name, "base": None, "damaged": True, **nowhere}


def _held(session_id: InstrumentedAttribute[str | None]) -> ColumnElement[bool]:
    """Whether an open session put the row."""
    return exists().where(SessionRow.id == session_id, SessionRow.ended_at.is_(None))


def _pinned() -> ColumnElement[bool]:
    """Whether a checkpoint is a head, the base of an open session, or kept since a machine was made of it."""
    head = exists().where(ServerRow.head_checkpoint_id == CheckpointRow.id)
    base = exists().where(SessionRow.base_checkpoint_id == CheckpointRow.id, SessionRow.ended_at.is_(None))
    return head | base | CheckpointRow.kept


def _pack_info(row: PackRow, held: bool) -> PackInfo:
    return PackInfo(
        row.name,
        row.project_id,
        row.server_id,
        ObjectState(row.state),
        row.reference,
        row.stored_bytes,
        row.raw_bytes,
        row.created_at,
        held,
    )


def _node_info(row: NodeRow, held: bool) -> NodeInfo:
    state = ObjectState(row.state)
    return NodeInfo(row.name, NodeKind(row.kind), state, row.reference, row.created_at, held)


def _checkpoint_info(row: CheckpointRow, pinned: bool, disks: Sequence[DiskRoot]) -> CheckpointInfo:
    return CheckpointInfo(
        project=row.project_id,
        name=CheckpointName(row.server_id, row.number, row.id),
        confirmed=row.confirmed,
        made_at=row.created_at,
        is_frozen=row.label == ConsistencyLabel.FROZEN,
        pinned=pinned,
        disks=tuple(disks),
    )
