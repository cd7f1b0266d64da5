"""Replication sessions: the right to write for one server, fenced by a generation.

Opening a session raises the server's generation in the same transaction; whatever an older session still
sends is refused by comparing generations where it matters: in the one update that moves the head.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update

from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.replication.errors import DiskNotFound, Fenced, SessionNotFound
from app.migration.replication.tables import CheckpointRow, ChunkRow, DiskRootRow, SessionRow
from app.migration.servers.enrolment import hold_lease, register_disks
from app.migration.servers.tables import DiskRow, ServerRow
from app.wire.frames import MAX_PAYLOAD
from app.wire.messages import MAX_HAVE, DiskBase, Limits, Open, Opened

PUT_BYTES = 1 << 30
MAX_RESEND = 4096


@dataclass(frozen=True)
class SessionScope:
    """What an open session may touch: one server of one project."""

    id: str
    project_id: str
    server_id: str
    generation: int
    base_checkpoint_id: str | None
    proof_key: bytes


async def open_session(
    uow: UnitOfWork, server_id: str, message: Open, lease: timedelta, *, may_take: bool = True
) -> Opened:
    """Begin a session of these disks: older sessions end, and nothing that they still send counts.

    For `may_take` see `hold_lease`. Raises DuplicateAgent, ServerDisconnected.
    """
    server = await hold_lease(uow, server_id, message.instance, lease, may_take=may_take)
    session = await _replace_session(uow, server)
    disks = await register_disks(uow, server_id, message.disks)
    chosen = [disks[disk.key] for disk in message.disks]
    return Opened(
        session_id=session.id,
        generation=session.generation,
        head=server.head_checkpoint_id or "",
        disks=await _bases(uow, server, chosen),
        proof_key=session.proof_key.hex(),
        limits=Limits(MAX_HAVE, MAX_PAYLOAD, PUT_BYTES),
        resend=await _damaged(uow, server.project_id),
        head_time=await _head_time(uow, server),
    )


async def _replace_session(uow: UnitOfWork, server: ServerRow) -> SessionRow:
    await uow.session.execute(
        update(ServerRow).where(ServerRow.id == server.id).values(generation=ServerRow.generation + 1)
    )
    await uow.session.refresh(server)
    await uow.session.execute(
        update(SessionRow)
        .where(SessionRow.server_id == server.id, SessionRow.ended_at.is_(None))
        .values(ended_at=uow.now)
    )
    session = SessionRow(
        id=new_id("ses"),
        server_id=server.id,
        generation=server.generation,
        base_checkpoint_id=server.head_checkpoint_id,
        proof_key=secrets.token_bytes(32),
        opened_at=uow.now,
        active_at=uow.now,
    )
    uow.session.add(session)
    await uow.session.flush()
    return session


async def _head_time(uow: UnitOfWork, server: ServerRow) -> str:
    head = await uow.session.get(CheckpointRow, server.head_checkpoint_id or "")
    return head.source_time.isoformat() if head else ""


async def _bases(uow: UnitOfWork, server: ServerRow, disks: list[DiskRow]) -> tuple[DiskBase, ...]:
    roots = await head_roots(uow, server.head_checkpoint_id)
    return tuple(
        DiskBase(disk.id, disk.disk_key, disk.chunk_size, roots[disk.id].root.hex(), roots[disk.id].size)
        if disk.id in roots
        else DiskBase(disk.id, disk.disk_key, disk.chunk_size, "", 0)
        for disk in disks
    )


async def head_roots(uow: UnitOfWork, checkpoint_id: str | None) -> dict[str, DiskRootRow]:
    """The disk roots of a checkpoint by disk id; none for no checkpoint."""
    if checkpoint_id is None:
        return {}
    rows = await uow.session.scalars(select(DiskRootRow).where(DiskRootRow.checkpoint_id == checkpoint_id))
    return {row.disk_id: row for row in rows}


async def _damaged(uow: UnitOfWork, project_id: str) -> tuple[str, ...]:
    found = await uow.session.scalars(
        select(ChunkRow.id)
        .where(ChunkRow.project_id == project_id, ChunkRow.damaged.is_(True))
        .limit(MAX_RESEND)
    )
    return tuple(name.hex() for name in found)


async def session_scope(uow: UnitOfWork, server_id: str, session_id: str) -> SessionScope:
    """The scope of the server's own, still current session.

    Raises SessionNotFound for a session of another server, Fenced for one that a newer one replaced.
    """
    session = await uow.session.get(SessionRow, session_id, populate_existing=True)
    if session is None or session.server_id != server_id:
        raise SessionNotFound(f"this server has no session {session_id}")
    server = await uow.session.get_one(ServerRow, server_id, populate_existing=True)
    if session.ended_at is not None or session.generation != server.generation:
        raise Fenced(
            f"session {session_id} of generation {session.generation} was replaced by a newer one",
            remedy="open a new session; everything uncommitted counts as dirty again",
            generation=server.generation,
        )
    return SessionScope(
        session.id,
        server.project_id,
        server_id,
        session.generation,
        session.base_checkpoint_id,
        session.proof_key,
    )


async def session_disk(uow: UnitOfWork, scope: SessionScope, disk_id: str) -> DiskRootRow | None:
    """The base root of a disk of the session's server; None where the base lacks it.

    Raises DiskNotFound for a disk of another server.
    """
    disk = await uow.session.get(DiskRow, disk_id)
    if disk is None or disk.server_id != scope.server_id:
        raise DiskNotFound(f"this server has no disk {disk_id}")
    return (await head_roots(uow, scope.base_checkpoint_id)).get(disk_id)
