"""Test machines that live on after their verdict: which ended by themselves, and whose time is over.

Whether a machine still runs, only its node can tell; that its time is over, any process. A server of which a
job stands is left alone: that may be ending, or replacing, the very machine. All changes are guarded, so that
several processes may look at once.
"""

import asyncio
import socket
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from app.contract.callbackwords import EventKind
from app.contract.words import InstanceState, JobEventLevel, TestState, WorkState
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger
from app.migration.launch.kinds import TERMINATE_TEST
from app.migration.launch.lifetimes import due, expires_at, warns_at
from app.migration.launch.orders import FREEING
from app.migration.launch.states import TRANSITIONS, TestAction
from app.migration.launch.tables import TestRow
from app.migration.servers.enrolment import find_server
from app.migration.services import Services
from app.migration.targets.opening import row_of, target_for
from app.work.errors import JobStands
from app.work.jobs import Order
from app.work.tables import JobRow

if TYPE_CHECKING:
    from app.launch.target import Target

LOOK_SECONDS: Final = 20.0
OURSELVES: Final = "go2cloud"
PATIENCE: Final = timedelta(hours=1)
"""From an order that failed to the next one."""
MOST_REASON: Final = 1000

_log = get_logger("go2cloud.launch")


async def look_after_tests(services: Services) -> None:
    """Look for as long as the process lives."""
    node = services.settings.work.node or socket.gethostname()
    was_good = True
    while True:
        try:
            await look_once(services, node)
        except (Go2CloudError, OSError) as error:
            if was_good:
                _log.exception("tests.not_looked_after", code=getattr(error, "code", type(error).__name__))
            was_good = False
        else:
            was_good = True
        await asyncio.sleep(LOOK_SECONDS)


async def look_once(services: Services, node: str) -> None:
    """Note what ended on this node, warn of what expires, and order the end of what is due."""
    await _note_ended(services, node)
    async with services.database.reading() as uow:
        living = await _living(uow)
    for test in living:
        if warns_at(test) <= uow.now and test.warned_at is None and test.state == TestState.RUNNING:
            await services.database.run(partial(_warn, services, test=test))
        if (reason := due(test, uow.now)) is not None:
            await _order_end(services, test, reason)


async def _living(uow: UnitOfWork) -> Sequence[TestRow]:
    """Tests whose job is over and of which something is still on a node."""
    is_there = TestRow.terminated_at.is_(None)
    over = TestRow.state.in_((TestState.RUNNING, TestState.ENDED))
    return (await uow.session.scalars(select(TestRow).where(is_there, over).order_by(TestRow.id))).all()


async def _note_ended(services: Services, node: str) -> None:
    async with services.database.reading() as uow:
        mine = [test for test in await _living(uow) if test.node == node and test.state == TestState.RUNNING]
    for test in mine:
        async with services.database.reading() as uow:
            target = target_for(services, await row_of(uow, test.target))
        reason = await _why_gone(target, test.id, node)
        if reason is not None:
            await services.database.run(partial(_mark_ended, services, test=test, reason=reason))


async def _why_gone(target: "Target", test_id: str, node: str) -> str | None:
    """Why a machine does not run any more; None where it does."""
    found = await target.find(test_id)
    if found is None:
        return f"nothing of the machine is on node {node} any more"
    if found.state is InstanceState.RUNNING:
        return None
    return f"the guest powered off, or the hypervisor ended. {found.said}".strip()[:MOST_REASON]


async def _mark_ended(services: Services, uow: UnitOfWork, *, test: TestRow, reason: str) -> None:
    """The test is ENDED, unless a job of its server stands, or it is over already."""
    try:
        await services.jobs.require_free(uow, test.server_id)
    except JobStands:
        return
    before = TestState.RUNNING
    after = TRANSITIONS[before, TestAction.END]
    same = update(TestRow).where(TestRow.id == test.id, TestRow.state == before)
    if await uow.changed(same.values(state=after, ended_at=uow.now, ended_reason=reason, forwards=[])):
        text = f"the machine of test {test.id} ended by itself: {reason}"
        await services.jobs.note(uow, test.job_id, text, JobEventLevel.WARNING)
        await _tell(uow, test, EventKind.TEST_ENDED, reason)


async def _warn(services: Services, uow: UnitOfWork, *, test: TestRow) -> None:
    """Tell once that the machine will be terminated."""
    same = update(TestRow).where(TestRow.id == test.id, TestRow.warned_at.is_(None))
    if await uow.changed(same.values(warned_at=uow.now)):
        at = expires_at(test)
        text = (
            f"the machine of test {test.id} is terminated at {at:%Y-%m-%d %H:%M}Z; a new test gets a new one"
        )
        await services.jobs.note(uow, test.job_id, text, JobEventLevel.WARNING)
        await _tell(uow, test, EventKind.TEST_EXPIRING, text)


async def _tell(uow: UnitOfWork, test: TestRow, kind: EventKind, text: str) -> None:
    server = await find_server(uow, test.server_id)
    data = {"test": test.id, "detail": text}
    uow.news.append(Event(kind, uow.now, project=server.project_id, subject=test.server_id, data=data))
    uow.afterwards.append(partial(_say, kind, test.server_id, test.id, text))


async def _say(kind: str, server: str, test: str, text: str) -> None:
    _log.warning(kind, server=server, test=test, detail=text)


async def _order_end(services: Services, test: TestRow, reason: str) -> None:
    """Order the end; where a job of the server stands, the next look tries again."""

    async def order(uow: UnitOfWork) -> None:
        if await _failed_lately(uow, test.server_id):
            return
        server = await find_server(uow, test.server_id)
        wanted = Order(
            server.project_id,
            server_id=server.id,
            subject=server.id,
            node=test.node,
            priority=FREEING,
            requested_by=OURSELVES,
            reason=reason,
        )
        await services.jobs.enqueue(uow, TERMINATE_TEST, wanted)
        same = update(TestRow).where(TestRow.id == test.id, TestRow.ended_reason.is_(None))
        await uow.session.execute(same.values(ended_reason=reason))

    try:
        await services.database.run(order)
    except JobStands:
        return


async def _failed_lately(uow: UnitOfWork, server_id: str) -> bool:
    """Whether such an order did not do its work a short while ago: another would not fare better."""
    query = select(JobRow.id).where(
        JobRow.server_id == server_id,
        JobRow.kind == TERMINATE_TEST,
        JobRow.requested_by == OURSELVES,
        JobRow.state.in_((WorkState.FAILED, WorkState.CANCELLED)),
        JobRow.created_at > uow.now - PATIENCE,
    )
    return await uow.session.scalar(query.limit(1)) is not None
