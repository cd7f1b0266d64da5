"""A cutover is taken back whose source is gone for good: it ends, and says what it did not give back."""

from datetime import timedelta

import pytest

from app.contract.cutoverwords import CutoverState
from app.contract.paging import EVERYTHING
from app.contract.resources.cutover import RevertOrder
from app.contract.words import HoldPhase, LifecycleState, WorkState
from app.migration.cutover import orders
from app.migration.cutover.errors import NoCutover, SourceHeard
from app.migration.hold import service as holds
from app.migration.servers.enrolment import find_server
from app.work.errors import JobStands
from tests.lifecycle.conftest import Rig
from tests.lifecycle.held_source import HeldSource
from tests.lifecycle.test_lifecycle_cutovers import ON_SQLITE, cut_over, cutovers, held, lifecycle, order
from tests.work.engine import eventually

pytestmark = pytest.mark.slow

BURNT = "the old data centre burnt down"
GONE = RevertOrder(source_gone=True, reason=BURNT)


async def revert(rig: Rig, server: str, wanted: RevertOrder = GONE) -> str:
    async with rig.services.database.begin() as uow:
        return await orders.revert(rig.services, uow, EVERYTHING, server, "ann", wanted)


async def heard(rig: Rig, server: str, *, until: timedelta | None) -> None:
    """The agent's lease ends in so long; None: it has ended."""
    async with rig.services.database.begin() as uow:
        row = await find_server(uow, server)
        row.lease_until = uow.now + (until or timedelta(seconds=-1))


async def vanished(rig: Rig) -> HeldSource:
    """A source that was cut over, and is not heard of since."""
    source = await held(rig)
    rig.work()
    async with source.running():
        await cut_over(rig, source.server, WorkState.SUCCEEDED)
    await heard(rig, source.server, until=None)
    return source


async def test_a_revert_that_waits_for_its_source_ends_where_that_is_gone_for_good(rig: Rig) -> None:
    source = await vanished(rig)
    await heard(rig, source.server, until=timedelta(minutes=1))
    waits = await revert(rig, source.server, RevertOrder())
    await rig.engine.until(waits, lambda row: row.step == 2)
    with pytest.raises(SourceHeard) as refused:
        await revert(rig, source.server)
    assert "go2cloud server revert web-1" in str(refused.value.remedy)
    await heard(rig, source.server, until=None)
    with pytest.raises(JobStands):
        await revert(rig, source.server, RevertOrder())
    assert await revert(rig, source.server) == waits
    job = await rig.engine.ended(waits, WorkState.SUCCEEDED)
    (made,) = await cutovers(rig, source.server)
    assert job.result == {"cutover_id": made.id, "services_given_back": False, "source_gone": BURNT}
    texts = await rig.engine.texts(waits)
    assert any(text.startswith("ann says that the source is gone") for text in texts)
    assert any("left: the source, its services were not given back" in text for text in texts)
    assert (made.state, made.source_gone) == (CutoverState.REVERTED, BURNT)
    assert [(each.kind, each.what) for each in made.ledger] == [("left", "the source")]
    assert rig.on_node() == ([], [])
    assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER


@ON_SQLITE
async def test_a_source_that_comes_back_after_all_gets_its_services_back(rig: Rig) -> None:
    source = await vanished(rig)
    await rig.engine.ended(await revert(rig, source.server), WorkState.SUCCEEDED)
    async with rig.services.database.reading() as uow:
        order_left = await holds.ordered(uow, source.server)
    assert order_left is not None
    assert (order_left.phase, source.is_active) == (HoldPhase.RELEASED, False)
    async with source.running():
        await eventually(lambda: is_free(rig, source.server))
        assert source.is_active
        await source.ready()
        await cut_over(rig, source.server, WorkState.SUCCEEDED)


async def is_free(rig: Rig, server: str) -> bool:
    """Whether nothing is wanted of the source any more: it said that it has its services back."""
    async with rig.services.database.reading() as uow:
        return await holds.ordered(uow, server) is None


@ON_SQLITE
async def test_a_source_that_is_heard_in_time_is_given_its_services_back_whatever_was_said(rig: Rig) -> None:
    source = await vanished(rig)
    for each in rig.engine.started:
        await each.kill()
    job = await revert(rig, source.server)
    await heard(rig, source.server, until=timedelta(hours=1))
    rig.work()
    async with source.running():
        ended = await rig.engine.ended(job, WorkState.SUCCEEDED)
    (made,) = await cutovers(rig, source.server)
    assert ended.result == {"cutover_id": made.id, "services_given_back": True, "source_gone": ""}
    assert (made.source_gone, made.ledger, source.is_active) == (None, (), True)


@ON_SQLITE
async def test_the_next_order_says_anew_whether_the_source_is_gone(rig: Rig) -> None:
    source = await vanished(rig)
    async with rig.services.database.begin() as uow:
        row = await find_server(uow, source.server)
        await orders.order_of_revert(uow, row, "ann", BURNT)
        await orders.order_of_revert(uow, row, "ann")
    (made,) = await cutovers(rig, source.server)
    assert made.source_gone is None


@ON_SQLITE
async def test_where_nothing_is_held_no_source_counts_as_gone(rig: Rig) -> None:
    source = await held(rig)
    await heard(rig, source.server, until=None)
    with pytest.raises(NoCutover, match="holds nothing back"):
        await revert(rig, source.server)


@ON_SQLITE
async def test_a_cutover_that_is_under_way_is_not_given_up(rig: Rig) -> None:
    source = await held(rig)
    await order(rig, source.server)
    async with rig.services.database.begin() as uow:
        (await find_server(uow, source.server)).lifecycle_state = LifecycleState.CUTTING_OVER
    await heard(rig, source.server, until=None)
    with pytest.raises(JobStands):
        await revert(rig, source.server)
