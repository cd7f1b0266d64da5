"""The source's part of a cutover: its services are stopped, kept so, and given back, by its agent.

What is wanted is ordered in the unit of a step; how far the agent is with it comes with its reports, which a
step waits for (`app.migration.hold`). A hold whose services the agent gave back by itself is over: nothing
may be launched for that cutover any more.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.contract.words import HoldPhase, HoldServices, JobEventLevel
from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger
from app.migration.cutover.errors import SourceNotBack
from app.migration.cutover.queries import get_cutover
from app.migration.hold import service as holds
from app.migration.hold.states import Hold
from app.migration.replication.standing import lease_of
from app.migration.replication.states import Lease
from app.migration.servers.enrolment import find_server
from app.migration.services import Services
from app.work.context import Context
from app.work.errors import StepFailed

LOOK_SECONDS: Final = 0.1
"""While the services are stopped, each look that is late is downtime, three times a cutover."""
RENEWALS: Final = 4
"""How often a cutover that goes on says so in the time of the hold."""
BACK_SECONDS: Final = 1800.0
"""What an agent gets to give services back before the step counts as failed, and is tried again."""

_log = get_logger("go2cloud.cutover")


def server_of(context: Context) -> str:
    """The server that the job is of."""
    assert context.server_id is not None, "the job is of a server"
    return context.server_id


async def standing(services: Services, context: Context, cutover_id: str) -> Hold:
    """The hold as it is now. Raises HoldNotFound."""
    async with services.database.reading() as uow:
        return await holds.standing(uow, server_of(context), cutover_id)


@contextlib.asynccontextmanager
async def going_on(services: Services, context: Context, cutover_id: str) -> AsyncIterator[None]:
    """Meanwhile the source hears that the cutover goes on; see `app.migration.hold.service.renew`."""
    over, every = asyncio.Event(), services.settings.cutover.stop_seconds / RENEWALS
    task = asyncio.create_task(_renew(context, cutover_id, every, over))
    try:
        yield
    finally:
        over.set()
        await asyncio.wait({task})


async def _renew(context: Context, cutover_id: str, every: float, over: asyncio.Event) -> None:
    server = server_of(context)
    while not over.is_set():
        try:
            await context.write(lambda uow: holds.renew(uow, server, cutover_id))
        except (Go2CloudError, SQLAlchemyError, OSError) as error:
            _log.warning("cutover.not_renewed", cutover=cutover_id, server=server, error=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every):
                await over.wait()


async def reached(services: Services, context: Context, cutover_id: str, phase: HoldPhase) -> Hold:
    """The hold as soon as it is in this phase.

    Raises StepCancelled; StepFailed HOLD_LOST where the source has its services back against the order, and
    with the agent's own code where that says why it will not get there.
    """
    while True:
        context.check_cancelled()
        hold = await standing(services, context, cutover_id)
        if hold.is_reached(phase):
            return hold
        _require_on_the_way(hold)
        context.progress(0, f"the source is {hold.reached or 'asked'}, {phase} is wanted")
        await asyncio.sleep(LOOK_SECONDS)


def _require_on_the_way(hold: Hold) -> None:
    if hold.reached is HoldPhase.RELEASED:
        raise _lost(hold)
    if hold.has_failed:
        raise StepFailed(
            f"the source does not get to {hold.wanted}: {hold.detail or hold.code}",
            code=hold.code,
            remedy="see docs/cutover.md for what it means",
        )


def _lost(hold: Hold) -> StepFailed:
    why = hold.detail or hold.code or "no reason given"
    return StepFailed(
        f"the source does not keep its services stopped: it is {hold.reached}, cause {hold.cause}; {why}",
        code="HOLD_LOST",
        remedy="see that its agent reaches the service, and order the cutover anew",
    )


def require_held(hold: Hold) -> None:
    """Raises StepFailed HOLD_LOST unless the source gives its services back for nothing but an order."""
    if hold.wanted is not HoldPhase.HELD or not hold.is_reached(HoldPhase.HELD):
        raise _lost(hold)


def require_undisturbed(hold: Hold) -> None:
    """Raises StepFailed with the agent's code where the source may have run since its last cut."""
    if hold.code:
        raise StepFailed(
            f"the source may have written after its final checkpoint: {hold.detail or hold.code}",
            code=hold.code,
            remedy="take it back and order the cutover anew: go2cloud server revert",
        )


def require_inactive(hold: Hold, *, allow_active: bool) -> None:
    """Raises StepFailed SOURCE_ACTIVE where the source may still run and the order does not allow it."""
    if hold.is_source_active and not allow_active:
        raise StepFailed(
            f"the source is still active: its services are {hold.services}; {hold.detail}".rstrip("; "),
            code="SOURCE_ACTIVE",
            remedy="install a hook that stops its services (docs/cutover.md); or stop them yourself and "
            "order it with --allow-active-source",
        )


async def given_back(services: Services, context: Context, cutover_id: str) -> bool:
    """Order the source's services back, and wait until it has them; whether it has.

    It has not where an operator says that the source is gone, and it is not heard either: the order stands,
    and an agent that comes back all the same obeys it. No machine of the cutover may run any more. Raises
    SourceNotBack, StepCancelled.
    """
    server, deadline = server_of(context), time.monotonic() + BACK_SECONDS
    await context.write(lambda uow: holds.release(uow, server, cutover_id))
    while True:
        context.check_cancelled()
        hold = await standing(services, context, cutover_id)
        if hold.is_reached(HoldPhase.RELEASED):
            break
        if (why := await _given_up(services, server, cutover_id)) is not None:
            context.log(
                f"the source's services are not given back: it is gone ({why})", JobEventLevel.WARNING
            )
            return False
        if time.monotonic() > deadline:
            raise SourceNotBack(
                "the source has not said that it has its services back",
                remedy="start its agent, or look why it does not reach the service; then retry the job; "
                "where its host is lost for good: go2cloud server revert --source-gone",
            )
        context.progress(0, "the source is to have its services back")
        await asyncio.sleep(LOOK_SECONDS)
    if hold.services is HoldServices.NOT_STARTED:
        context.log(f"a hook of the source failed to start services: {hold.detail}", JobEventLevel.ERROR)
    return True


async def _given_up(services: Services, server_id: str, cutover_id: str) -> str | None:
    """Why nobody waits for the source any more; None where it is waited for, or is heard."""
    async with services.database.reading() as uow:
        cutover = await get_cutover(uow, cutover_id)
        is_heard = lease_of(await find_server(uow, server_id), uow.now) is Lease.HELD
    return None if is_heard else cutover.source_gone
