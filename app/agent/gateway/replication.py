"""One replication session on the wire: open, leaves, have, signatures, put, commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect

from app.agent.gateway.answers import answer, raw
from app.agent.gateway.intake import Agent, Name, Serving, body, frames, message, wire_errors
from app.contract.words import AgentActivity, ReplicationReason
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.kit.errors import BadRequest, StoreFull
from app.kit.logging import get_logger
from app.migration.hold import service as holds
from app.migration.replication import commit as commits
from app.migration.replication.heartbeat import note_activity
from app.migration.replication.ingest import Ingest
from app.migration.replication.possession import have
from app.migration.replication.sessions import (
    PUT_BYTES,
    SessionScope,
    open_session,
    session_disk,
    session_scope,
)
from app.migration.replication.signing import signatures_of
from app.migration.replication.standing import announce
from app.migration.replication.trees import base_ids
from app.migration.services import Services
from app.wire.chunks import ID_BYTES, MIB
from app.wire.errors import WireError
from app.wire.frames import PUT_TYPES, FrameReader
from app.wire.messages import MAX_HAVE, MAX_MESSAGE, Commit, Open, Opened, PutResult

router = APIRouter(prefix="/sessions")
MAX_LEAVES = 64
OPEN_BYTES = 4 * MIB

_log = get_logger("go2cloud.gateway")


@router.post("")
async def open_(request: Request, services: Serving, server: Agent) -> Response:
    """Begin a session; older ones of the server can write nothing more."""
    wanted = await message(request, Open, OPEN_BYTES)
    lease = timedelta(seconds=services.settings.agent.lease_seconds)
    opened = await services.database.run(lambda uow: _open(uow, server, wanted, lease))
    await _note(services, server, AgentActivity.COPYING)
    _log.info("session.opened", server=server, session=opened.session_id, generation=opened.generation)
    return answer(opened, 201)


async def _open(uow: UnitOfWork, server: str, wanted: Open, lease: timedelta) -> Opened:
    may_take = await holds.may_take_lease(uow, server)
    return await open_session(uow, server, wanted, lease, may_take=may_take)


async def _note(
    services: Services, server: str, activity: AgentActivity, reason: ReplicationReason | None = None
) -> None:
    """Keep what the session shows of its agent's work."""
    noted = await services.database.run(lambda uow: note_activity(uow, server, activity, reason))
    await announce(services, noted)


async def _scope(services: Services, server: str, session: str) -> SessionScope:
    async with services.database.reading() as uow:
        return await session_scope(uow, server, session)


@router.get("/{session}/disks/{disk}/leaves")
async def leaves(
    services: Serving,
    server: Agent,
    session: Name,
    disk: Name,
    start: Annotated[int, Query(ge=0)],
    count: Annotated[int, Query(ge=1, le=MAX_LEAVES)],
) -> Response:
    """The chunk ids of leaves of the disk's base, 32 KiB each, zeros where there is none."""
    async with services.database.reading() as uow:
        scope = await session_scope(uow, server, session)
        base = await session_disk(uow, scope, disk)
    return raw(await asyncio.to_thread(base_ids, services.store, base, start, count))


@router.post("/{session}/have")
async def have_(request: Request, services: Serving, server: Agent, session: Name) -> Response:
    """One byte for each id: send it, it is known, prove that you hold it."""
    ids = await _ids(request)
    async with services.database.reading() as uow:
        return raw(await have(uow, await session_scope(uow, server, session), ids))


async def _ids(request: Request) -> list[bytes]:
    data = await body(request, MAX_HAVE * ID_BYTES)
    if len(data) % ID_BYTES:
        raise BadRequest(f"a list of ids has a multiple of {ID_BYTES} bytes", code="BAD_MESSAGE")
    return [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]


@router.post("/{session}/signatures")
async def signatures(request: Request, services: Serving, server: Agent, session: Name) -> Response:
    """The block signatures of chunks of the server."""
    ids = await _ids(request)
    return raw(await signatures_of(services, await _scope(services, server, session), ids))


@router.post("/{session}/put")
async def put(request: Request, services: Serving, server: Agent, session: Name) -> Response:
    """Take a stream of frames in; all of it is durable when the answer leaves."""
    ingest = Ingest(services, await _scope(services, server, session))
    try:
        async with _noting_full_store(services, server):
            return await asyncio.to_thread(answer, await _take_in(request, ingest))
    except ClientDisconnect:
        _log.info("put.cut_off", server=server, session=session)
        return Response(status_code=400)
    finally:
        await ingest.abandon()


@asynccontextmanager
async def _noting_full_store(services: Services, server: str) -> AsyncIterator[None]:
    """Say on the server's resource why its replication stands still; the next session or commit clears it."""
    try:
        yield
    except StoreFull:
        await _note(services, server, AgentActivity.FAILING, ReplicationReason.STORE_FULL)
        raise


async def _take_in(request: Request, ingest: Ingest) -> PutResult:
    with wire_errors():
        try:
            await _accept_all(request, ingest)
        except WireError:
            await ingest.settle()  # a fault in what came before is the one that is told
            raise
        return await ingest.finish()


async def _accept_all(request: Request, ingest: Ingest) -> None:
    async for frame in frames(request, FrameReader(PUT_TYPES), PUT_BYTES):
        await ingest.accept(frame)


@router.post("/{session}/commit")
async def commit(request: Request, services: Serving, server: Agent, session: Name) -> Response:
    """Make a checkpoint of all the server's disks, or say why not."""
    wanted = await message(request, Commit, MAX_MESSAGE)
    scope = await _scope(services, server, session)
    with wire_errors():
        async with _noting_full_store(services, server):
            committed = await commits.commit(services, server, session, wanted)
    await _note(services, server, AgentActivity.FOLLOWING)
    _log.info("checkpoint.committed", server=server, checkpoint=committed.checkpoint_id)
    await services.bus.publish(
        Event(
            "checkpoint.committed",
            services.clock.now(),
            project=scope.project_id,
            subject=server,
            data={"checkpoint": committed.checkpoint_id, "number": committed.number},
        )
    )
    return answer(committed)
