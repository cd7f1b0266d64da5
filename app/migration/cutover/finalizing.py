"""The steps of the job `server.finalize`: replication ends, and a ledger says what became of everything."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update

from app.contract.cutoverwords import CutoverState, LedgerEntryKind
from app.contract.words import (
    HoldServices,
    JobEventLevel,
    LifecycleState,
    ReplicationGoal,
    ReplicationState,
    ServerOperation,
)
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.migration.cutover.cutovers import act
from app.migration.cutover.queries import get_cutover
from app.migration.cutover.source import server_of
from app.migration.cutover.states import CutoverAction
from app.migration.cutover.tables import CutoverRow
from app.migration.hold.tables import HoldRow
from app.migration.replication.standing import standing_of
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.enrolment import find_server
from app.migration.servers.lifecycle import change
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.work.context import Context
from app.work.errors import StepFailed

TOLD_SECONDS: Final = 120.0
"""What an agent gets to hear that replication ends. One that is away hears it when it comes back."""
LOOK_SECONDS: Final = 0.5
_AT_REST: Final = frozenset((ReplicationState.STOPPED, ReplicationState.DISCONNECTED))

K = LedgerEntryKind


@dataclass(frozen=True)
class Finalizing:
    """Which cutover is finalized."""

    cutover_id: str


@dataclass(frozen=True)
class Ended:
    """How replication ended: the goal before, and whether the agent said that it rests."""

    goal: str
    was_heard: bool


@dataclass(frozen=True)
class FinalizeSteps:
    """The steps, in a process with these services."""

    services: Services

    async def require(self, context: Context) -> str:
        """See that the cutover succeeded and still stands; the goal of replication as it is."""
        async with self.services.database.reading() as uow:
            cutover = await get_cutover(uow, _cutover(context))
            server = await find_server(uow, server_of(context))
        if cutover.state not in (CutoverState.SUCCEEDED, CutoverState.FINALIZED):
            raise StepFailed(
                f"cutover {cutover.id} is {cutover.state}",
                code="CUTOVER_NOT_SUCCEEDED",
                remedy="let its job succeed, or take it back: go2cloud server revert",
            )
        return server.goal

    async def stop(self, context: Context) -> Ended:
        """End replication, and give the agent time to hear of it. The source stays held."""
        server, deadline = server_of(context), time.monotonic() + TOLD_SECONDS
        await context.write(lambda uow: stop_replication(uow, server))
        while time.monotonic() < deadline:
            context.check_cancelled()
            async with self.services.database.reading() as uow:
                state = standing_of(await find_server(uow, server), uow.now).state
            if state in _AT_REST:
                return Ended(context.result("require", str), state is ReplicationState.STOPPED)
            context.progress(0, f"replication is {state}")
            await asyncio.sleep(LOOK_SECONDS)
        context.log("the agent has not said that it rests; it will hear of it", JobEventLevel.WARNING)
        return Ended(context.result("require", str), was_heard=False)

    async def go_on(self, context: Context) -> None:
        """Let replication be what it was."""
        goal = context.result("require", str)
        same = update(ServerRow).where(ServerRow.id == server_of(context))
        await context.write(lambda uow: uow.changed(same.values(goal=goal)))

    async def outcome(self, context: Context) -> str:
        """Write the ledger; the server is CUTOVER then. The id of the cutover."""
        ended, cutover_id = context.result("stop-replication", Ended), _cutover(context)
        row = await context.write(lambda uow: _finalized(uow, cutover_id, was_heard=ended.was_heard))
        for entry in row.ledger:
            assert isinstance(entry, dict)
            context.log(f"{entry['kind']}: {entry['what']} {entry['detail']}".rstrip())
        return cutover_id


def _cutover(context: Context) -> str:
    return context.input(Finalizing).cutover_id


async def stop_replication(uow: UnitOfWork, server_id: str) -> None:
    """Nothing of the server is to be replicated any more."""
    values = {"goal": ReplicationGoal.STOP, "sync_requested": False, "rescan_request": None}
    await uow.session.execute(update(ServerRow).where(ServerRow.id == server_id).values(**values))


async def _finalized(uow: UnitOfWork, cutover_id: str, *, was_heard: bool) -> CutoverRow:
    """The cutover and its server, led to their end; repeating it changes nothing."""
    cutover = await get_cutover(uow, cutover_id)
    if cutover.state == CutoverState.FINALIZED:
        return cutover
    act(uow, cutover, CutoverAction.FINALIZE)
    cutover.ledger = await _ledger(uow, cutover, was_heard=was_heard)
    await uow.session.flush()
    server = await find_server(uow, cutover.server_id)
    if server.lifecycle_state == LifecycleState.CUTTING_OVER:
        await change(uow, server, ServerOperation.FINALIZE)
    return cutover


async def _ledger(uow: UnitOfWork, cutover: CutoverRow, *, was_heard: bool) -> list[Json]:
    query = select(CheckpointRow.number).where(CheckpointRow.server_id == cutover.server_id)
    numbers = list(await uow.session.scalars(query.order_by(CheckpointRow.number)))
    heard = "the agent said that it rests" if was_heard else "the agent was not heard; it will be told"
    return [
        _entry(K.REMOVED, "replication of the source", heard),
        _entry(K.KEPT, f"the machine {cutover.id}", f"target {cutover.target}, node {cutover.node}"),
        _entry(K.KEPT, "the machine's volumes", f"checkpoint {cutover.checkpoint_number}; it stands on them"),
        _entry(
            K.KEPT, f"checkpoint {cutover.checkpoint_number}", "for good; older ones go with the retention"
        ),
        _entry(K.KEPT, f"{len(numbers)} checkpoints in the store", "until retention drops them"),
        _entry(K.LEFT, "the source", await _source(uow, cutover)),
        _entry(K.LEFT, "the agent on the source", "with its credential, until: go2cloud server disconnect"),
    ]


async def _source(uow: UnitOfWork, cutover: CutoverRow) -> str:
    """How the source is left, by its newest report: one that was rebooted may have served meanwhile."""
    if cutover.source_active:
        return "still active: nothing stopped its services"
    held = await uow.session.scalar(select(HoldRow).where(HoldRow.cutover_id == cutover.id))
    if held is None or (held.services == HoldServices.STOPPED and not held.code):
        return "held: its services stay stopped"
    state = "held" if held.services == HoldServices.STOPPED else "it may be active"
    return f"{state}: its services are {held.services}; {held.code} {held.detail}".rstrip("; ")


def _entry(kind: LedgerEntryKind, what: str, detail: str = "") -> Json:
    return {"kind": kind.value, "what": what, "detail": detail}
