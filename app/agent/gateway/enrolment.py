"""Enrolment, heartbeat and release of agents."""

import asyncio
from datetime import timedelta
from typing import Final

from fastapi import APIRouter, Request, Response

from app.agent.gateway.answers import answer
from app.agent.gateway.intake import Agent, Serving, message
from app.kit.database import UnitOfWork
from app.migration.servers import enrolment
from app.migration.services import Services
from app.wire.chunks import MIB
from app.wire.messages import Enroll, Poll, Polled, Release

router = APIRouter()

INVENTORY_BYTES: Final = 4 * MIB
LONGEST_WAIT_SECONDS: Final = 50
"""Below the 60 seconds after which common proxies give up on a silent request."""
LOOK_SECONDS: Final = 2.0


@router.post("/enroll")
async def enroll(request: Request, services: Serving) -> Response:
    """Redeem an install token: the host becomes a server."""
    wanted = await message(request, Enroll, INVENTORY_BYTES)
    return answer(await services.database.run(lambda uow: enrolment.enroll(uow, wanted)), 201)


@router.post("/poll")
async def poll(request: Request, services: Serving, server: Agent) -> Response:
    """A heartbeat; it waits for a command as long as the agent asked for and its lease allows."""
    beat = await message(request, Poll, INVENTORY_BYTES)
    command = await services.database.run(lambda uow: _beat(uow, services, server, beat))
    waited = 0.0
    agent = services.settings.agent
    longest = min(beat.wait_seconds, LONGEST_WAIT_SECONDS, agent.lease_seconds - agent.heartbeat_seconds)
    while command == "none" and waited < longest:
        await asyncio.sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
        command = await _waiting(services, server)
    return answer(Polled(command, agent.heartbeat_seconds, agent.sync_interval_seconds))


async def _beat(uow: UnitOfWork, services: Services, server: str, beat: Poll) -> str:
    lease = timedelta(seconds=services.settings.agent.lease_seconds)
    row = await enrolment.hold_lease(uow, server, beat.instance, lease)
    if beat.inventory is not None:
        await enrolment.note_inventory(uow, row, beat.inventory)
    return await enrolment.take_command(uow, server) if beat.wait_seconds else "none"


async def _waiting(services: Services, server: str) -> str:
    """Look without writing; take the command only when there is one."""
    async with services.database.reading() as uow:
        if not (await enrolment.find_server(uow, server)).sync_requested:
            return "none"
    return await services.database.run(lambda uow: enrolment.take_command(uow, server))


@router.post("/release")
async def release(request: Request, services: Serving, server: Agent) -> Response:
    """The agent stops cleanly: another instance may take over at once."""
    wanted = await message(request, Release, INVENTORY_BYTES)
    await services.database.run(lambda uow: enrolment.release_lease(uow, server, wanted.instance))
    return Response(status_code=204)
