"""Rows of packs and their chunks: where a chunk is found from now on."""

from typing import Any

from sqlalchemy import and_, or_, select, update

from app.kit.database import UnitOfWork
from app.migration.replication.possession import BATCH, LIVE, grant
from app.migration.replication.sessions import SessionScope
from app.migration.replication.statements import insert_ignoring
from app.migration.replication.tables import ChunkRow, PackRow, SessionRow
from app.store.pack import PackEntry, SealedPack


async def record_pack(uow: UnitOfWork, scope: SessionScope, pack: SealedPack) -> None:
    """Make a durable pack's chunks known. A chunk that another live pack holds by now stays there, and the
    server is granted it; one that is damaged or condemned elsewhere is found here from now on.
    """
    uow.session.add(
        PackRow(
            name=pack.name,
            project_id=scope.project_id,
            server_id=scope.server_id,
            session_id=scope.id,
            state=LIVE,
            reference=0,
            stored_bytes=pack.size,
            raw_bytes=pack.raw_bytes,
            created_at=uow.now,
        )
    )
    await uow.session.flush()
    alive = update(SessionRow).where(SessionRow.id == scope.id).values(active_at=uow.now)
    await uow.session.execute(alive)
    rows = [chunk_values(scope.project_id, pack.name, entry) for entry in pack.entries]
    if await insert_ignoring(uow, ChunkRow, rows) < len(rows):
        await _settle(uow, scope, pack, {row["id"]: row for row in rows})


def chunk_values(project_id: str, pack: bytes, entry: PackEntry) -> dict[str, Any]:
    """The columns of a chunk's row."""
    return {
        "project_id": project_id,
        "id": entry.id,
        "pack": pack,
        "position": entry.offset,
        "stored_length": entry.stored_length,
        "raw_length": entry.raw_length,
        "codec": int(entry.codec),
        "base": entry.base,
        "depth": entry.depth,
        "damaged": False,
    }


async def _settle(
    uow: UnitOfWork, scope: SessionScope, pack: SealedPack, values: dict[bytes, dict[str, Any]]
) -> None:
    """Deal with the chunks whose rows were there before."""
    elsewhere: dict[bytes, bool] = {}
    names = list(values)
    for at in range(0, len(names), BATCH):
        query = (
            select(ChunkRow.id, or_(PackRow.state.is_(None), ChunkRow.damaged.is_(True)))
            .outerjoin(PackRow, and_(PackRow.name == ChunkRow.pack, PackRow.state == LIVE))
            .where(ChunkRow.project_id == scope.project_id, ChunkRow.id.in_(names[at : at + BATCH]))
            .where(ChunkRow.pack != pack.name)
        )
        elsewhere |= {name: bool(lost) for name, lost in await uow.session.execute(query)}
    await grant(uow, scope, [name for name, lost in elsewhere.items() if not lost])
    for name in (name for name, lost in elsewhere.items() if lost):
        same = and_(ChunkRow.project_id == scope.project_id, ChunkRow.id == name)
        await uow.session.execute(update(ChunkRow).where(same).values(**values[name]))
