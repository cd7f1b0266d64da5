"""Enrolment, heartbeat and release of agents."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Request, Response

from app.agent.gateway.answers import HEADERS, answer
from app.agent.gateway.commands import CommandWatch
from app.agent.gateway.intake import Agent, Serving, message
from app.kit.database import UnitOfWork
from app.kit.requestid import request_id
from app.migration.direction.service import Direction, direct, directions
from app.migration.hold import service as holds
from app.migration.pace.service import wire_rate_of
from app.migration.replication.heartbeat import Rhythm, note_heartbeat, note_released
from app.migration.replication.orders import interval_of
from app.migration.replication.standing import Change, announce
from app.migration.servers import enrolment
from app.migration.services import Services
from app.wire.chunks import KIB, MIB
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
        state.command_watch = CommandWatch(lambda: _directions(services), state.stopping)
    return cast("CommandWatch", state.command_watch)


Watch = Annotated[CommandWatch, Depends(_watch)]


@router.post("/enroll")
async def enroll(request: Request, services: Serving) -> Response:
    """Redeem an install token: the host becomes a server, or the one again that it was."""
    wanted = await message(request, Enroll, INVENTORY_BYTES)
    by, lease = request_id(request), timedelta(seconds=services.settings.agent.lease_seconds)
    return answer(await services.database.run(lambda uow: enrolment.enroll(uow, wanted, lease, by)), 201)


@router.post("/poll")
async def poll(request: Request, services: Serving, server: Agent, watch: Watch) -> Response:
    """A heartbeat; it waits for a command or new orders as long as the agent asked for.

    A command is handed out once, so an agent that hung up meanwhile does not get it: its next poll does.
    """
    beat = await message(request, Poll, INVENTORY_BYTES)
    change, told = await services.database.run(lambda uow: _beat(uow, services, server, beat))
    await announce(services, change)
    wait = min(beat.wait_seconds, LONGEST_WAIT_SECONDS)
    is_woken = told.command == "none" and wait and await watch.wait(server, wait, told)
    if is_woken and not await request.is_disconnected():
        told = await services.database.run(lambda uow: _told(uow, services, server))
    orders = replace(told.orders, wire_rate=await _rate(services, server))
    return answer(
        Polled(told.command, services.settings.agent.heartbeat_seconds, told.interval_seconds, orders)
    )


async def _rate(services: Services, server: str) -> int | None:
    async with services.database.reading() as uow:
        return await wire_rate_of(uow, await enrolment.find_server(uow, server), services, uow.now)


async def _beat(
    uow: UnitOfWork, services: Services, server: str, beat: Poll
) -> tuple[Change | None, Direction]:
    agent = services.settings.agent
    waits = min(beat.wait_seconds, LONGEST_WAIT_SECONDS)
    lease = timedelta(seconds=agent.lease_seconds + waits)
    may_take = await holds.may_take_lease(uow, server, beat.proof)
    row = await enrolment.hold_lease(uow, server, beat.instance, lease, may_take=may_take)
    if beat.inventory is not None:
        await enrolment.note_inventory(uow, row, beat.inventory)
    rhythm = Rhythm(agent.heartbeat_seconds, interval_of(row, agent.sync_interval_seconds))
    change = await note_heartbeat(uow, row, beat.status, rhythm)
    takes = beat.wait_seconds > 0
    return change, await direct(uow, row, agent.sync_interval_seconds, takes=takes)


async def _told(uow: UnitOfWork, services: Services, server: str) -> Direction:
    row = await enrolment.find_server(uow, server)
    return await direct(uow, row, services.settings.agent.sync_interval_seconds, takes=True)


async def _directions(services: Services) -> Mapping[str, Direction]:
    async with services.database.reading() as uow:
        return await directions(uow, services.settings.agent.sync_interval_seconds)


@router.post("/release")
async def release(request: Request, services: Serving, server: Agent) -> Response:
    """The agent stops cleanly: another instance may take over at once."""
    wanted = await message(request, Release, RELEASE_BYTES)
    change = await services.database.run(lambda uow: _leave(uow, server, wanted.instance))
    await announce(services, change)
    return Response(status_code=204, headers=HEADERS)


async def _leave(uow: UnitOfWork, server: str, instance: str) -> Change | None:
    has_left = await enrolment.release_lease(uow, server, instance)
    return await note_released(uow, server) if has_left else None
