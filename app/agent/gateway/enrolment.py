"""Enrolment, heartbeat and release of agents."""

from datetime import timedelta
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Request, Response

from app.agent.gateway.answers import HEADERS, answer
from app.agent.gateway.commands import CommandWatch
from app.agent.gateway.intake import Agent, Serving, message
from app.kit.database import UnitOfWork
from app.migration.pace.service import wire_rate_of
from app.migration.preflight import service as preflights
from app.migration.servers import enrolment
from app.migration.services import Services
from app.migration.verification import service as verifications
from app.wire.chunks import KIB, MIB
from app.wire.heartbeat import Orders
from app.wire.messages import Enroll, Poll, Polled, Release

router = APIRouter()

INVENTORY_BYTES: Final = 4 * MIB
RELEASE_BYTES: Final = 64 * KIB
LONGEST_WAIT_SECONDS: Final = 50
"""Below the 60 seconds after which common proxies give up on a silent request."""


async def _watch(request: Request, services: Serving) -> CommandWatch:
    """The one watch of this process, made when the first poll needs it."""
    state = request.app.state
    if not hasattr(state, "command_watch"):
        state.command_watch = CommandWatch(lambda: _commanded(services), state.stopping)
    return cast("CommandWatch", state.command_watch)


Watch = Annotated[CommandWatch, Depends(_watch)]


@router.post("/enroll")
async def enroll(request: Request, services: Serving) -> Response:
    """Redeem an install token: the host becomes a server."""
    wanted = await message(request, Enroll, INVENTORY_BYTES)
    return answer(await services.database.run(lambda uow: enrolment.enroll(uow, wanted)), 201)


@router.post("/poll")
async def poll(request: Request, services: Serving, server: Agent, watch: Watch) -> Response:
    """A heartbeat; it waits for a command as long as the agent asked for.

    A command is handed out once, so an agent that hung up meanwhile does not get it: its next poll does.
    """
    beat = await message(request, Poll, INVENTORY_BYTES)
    command = await services.database.run(lambda uow: _beat(uow, services, server, beat))
    wait = min(beat.wait_seconds, LONGEST_WAIT_SECONDS)
    if command == "none" and wait and await watch.wait(server, wait) and not await request.is_disconnected():
        command = await services.database.run(lambda uow: enrolment.take_command(uow, server))
    agent = services.settings.agent
    orders = await _orders(services, server)
    return answer(Polled(command, agent.heartbeat_seconds, agent.sync_interval_seconds, orders))


async def _orders(services: Services, server: str) -> Orders:
    async with services.database.reading() as uow:
        row = await enrolment.find_server(uow, server)
        return Orders(
            wire_rate=await wire_rate_of(uow, row, services, uow.now),
            preflight=await preflights.ordered(uow, server),
            verification=await verifications.standing(uow, server),
        )


async def _beat(uow: UnitOfWork, services: Services, server: str, beat: Poll) -> str:
    waits = min(beat.wait_seconds, LONGEST_WAIT_SECONDS)
    lease = timedelta(seconds=services.settings.agent.lease_seconds + waits)
    row = await enrolment.hold_lease(uow, server, beat.instance, lease)
    if beat.inventory is not None:
        await enrolment.note_inventory(uow, row, beat.inventory)
    return await enrolment.take_command(uow, server) if beat.wait_seconds else "none"


async def _commanded(services: Services) -> frozenset[str]:
    async with services.database.reading() as uow:
        return await enrolment.commanded_servers(uow)


@router.post("/release")
async def release(request: Request, services: Serving, server: Agent) -> Response:
    """The agent stops cleanly: another instance may take over at once."""
    wanted = await message(request, Release, RELEASE_BYTES)
    await services.database.run(lambda uow: enrolment.release_lease(uow, server, wanted.instance))
    return Response(status_code=204, headers=HEADERS)
