"""Verification on the wire: what the head holds, read outside of any session, and how the comparison went."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.agent.gateway.answers import HEADERS, answer, raw
from app.agent.gateway.intake import Agent, Name, Serving, message
from app.agent.gateway.replication import MAX_LEAVES
from app.kit.bus import Event
from app.kit.logging import get_logger
from app.migration.replication.standing import announce
from app.migration.services import Services
from app.migration.verification import heads, meters, service
from app.wire.chunks import KIB, MIB
from app.wire.verification import Pace, Progress, Verification

router = APIRouter()

PROGRESS_BYTES = 64 * KIB
RESULT_BYTES = 4 * MIB

_log = get_logger("go2cloud.verification")


@router.get("/checkpoints/{checkpoint}")
async def roots(services: Serving, server: Agent, checkpoint: Name) -> Response:
    """The disks of a checkpoint of the server, or of its head."""
    async with services.database.reading() as uow:
        return answer(await heads.checkpoint_roots(uow, server, checkpoint))


@router.get("/checkpoints/{checkpoint}/disks/{disk}/left-out")
async def left_out(services: Serving, server: Agent, checkpoint: Name, disk: Name) -> Response:
    """The ranges of a disk that are zeros in the replica whatever the source holds there."""
    async with services.database.reading() as uow:
        root = await heads.disk_root(uow, server, checkpoint, disk)
    return answer(heads.left_out(root))


@router.get("/checkpoints/{checkpoint}/disks/{disk}/leaves")
async def leaves(
    services: Serving,
    server: Agent,
    checkpoint: Name,
    disk: Name,
    start: Annotated[int, Query(ge=0)],
    count: Annotated[int, Query(ge=1, le=MAX_LEAVES)],
) -> Response:
    """The chunk ids of leaves of a disk at a checkpoint, 32 KiB each, as they are stored or not at all."""
    async with services.database.reading() as uow:
        root = await heads.disk_root(uow, server, checkpoint, disk)
    return raw(await asyncio.to_thread(heads.stored_ids, services.store, root, start, count))


@router.post("/verifications/{verification}/progress")
async def progress(request: Request, services: Serving, server: Agent, verification: Name) -> Response:
    """The verification runs, and is so far; the answer says how fast it may go on."""
    done = await message(request, Progress, PROGRESS_BYTES)
    await services.database.run(lambda uow: service.note_progress(uow, server, verification, done))
    return answer(Pace(services.settings.agent.verify_bytes_per_second or None))


@router.post("/verifications/{verification}/result")
async def result(request: Request, services: Serving, server: Agent, verification: Name) -> Response:
    """The verification is over. The same result twice is one; the first one counts."""
    found = await message(request, Verification, RESULT_BYTES)
    done = await services.database.run(lambda uow: service.finish(uow, server, verification, found))
    await announce(services, done.change)
    if done.is_new:
        await _tell(services, server, verification, found)
    return Response(status_code=204, headers=HEADERS)


async def _tell(services: Services, server: str, verification: str, found: Verification) -> None:
    facts = {"verification": verification, "verdict": found.verdict.value, "code": found.code}
    meters.ENDED.labels(meters.BROKEN if found.code else found.verdict.value).inc()
    if found.code or found.verdict is not found.verdict.SAME:
        _log.warning("verification.finished", server=server, detail=found.detail, **facts)
    else:
        _log.info("verification.finished", server=server, **facts)
    async with services.database.reading() as uow:
        project = await heads.project_of(uow, server)
    at = services.clock.now()
    await services.bus.publish(
        Event("verification.finished", at, project=project, subject=server, data=facts)
    )
