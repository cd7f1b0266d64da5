"""An event is in the outbox exactly if what it tells of happened, and for whoever asked for it."""

import pytest
from sqlalchemy import select

from app.contract.callbackwords import EventKind
from app.contract.words import LifecycleState
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.migration.callbacks.tables import OutboxRow
from app.migration.servers.lifecycle import announce
from app.migration.servers.tables import ServerRow
from tests.callbacks.conftest import Rig

NOWHERE = "http://127.0.0.1:9/hook"


async def rows(rig: Rig) -> list[OutboxRow]:
    async with rig.services.database.reading() as uow:
        return list(await uow.session.scalars(select(OutboxRow).order_by(OutboxRow.number)))


def a_server(rig: Rig, project: str | None = None) -> ServerRow:
    return ServerRow(id="srv-1", project_id=project or rig.project, name="web")


async def test_a_change_that_is_rolled_back_tells_nobody(rig: Rig) -> None:
    await rig.subscribe(NOWHERE)

    async def change(uow: UnitOfWork) -> None:
        announce(uow, a_server(rig), LifecycleState.TESTING, LifecycleState.READY_FOR_CUTOVER)
        raise RuntimeError("on second thoughts")

    with pytest.raises(RuntimeError, match="on second thoughts"):
        await rig.services.database.run(change)
    assert await rows(rig) == []


async def test_a_change_is_written_down_with_it(rig: Rig) -> None:
    subscription = await rig.subscribe(NOWHERE)
    async with rig.services.database.begin() as uow:
        announce(uow, a_server(rig), LifecycleState.TESTING, LifecycleState.READY_FOR_CUTOVER)
    (row,) = await rows(rig)
    event = Event.decode(row.body)
    assert (row.subscription_id, row.event_id, row.kind) == (subscription.id, event.id, "server.lifecycle")
    assert (event.subject, event.data["state"]) == ("srv-1", "READY_FOR_CUTOVER")


async def test_only_those_who_asked_are_told(rig: Rig) -> None:
    every = await rig.subscribe(NOWHERE, "every")
    jobs = await rig.subscribe(NOWHERE, "jobs", kinds=["job.ended", "job.started"])
    await rig.subscribe(NOWHERE, "off", enabled=False)
    (one,) = await rig.make(1, EventKind.JOB_ENDED)
    (two,) = await rig.make(1, EventKind.LIFECYCLE)
    async with rig.services.database.begin() as uow:
        announce(uow, a_server(rig, "prj-other"), LifecycleState.TESTING, LifecycleState.DISCONNECTED)
        uow.news.append(Event("agent.ordered", uow.now, rig.project))
    told = [(row.subscription_id, row.event_id) for row in await rows(rig)]
    assert sorted(told) == sorted([(every.id, one), (jobs.id, one), (every.id, two)])
    assert (await rig.show("every")).waiting == 2
