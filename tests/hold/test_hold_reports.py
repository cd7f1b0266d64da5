"""What the service believes of an agent's reports, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from app.contract.words import HoldCause, HoldPhase, HoldServices
from app.kit.bus import Delivery, InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database, UnitOfWork
from app.kit.errors import Invalid
from app.kit.settings import load_settings
from app.migration.direction.service import direct, directions
from app.migration.hold import service as holds
from app.migration.hold.errors import (
    HoldEnded,
    HoldNotFound,
    HoldNotReached,
    HoldStands,
    ReportRefused,
    SourceReleased,
)
from app.migration.hold.states import Hold
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.enrolment import find_server
from app.migration.servers.news import ORDERED
from app.migration.services import Services
from app.store.folder import FolderBackend
from app.store.objects import ObjectStore
from app.wire.hold import HeldRoot, HoldOrder, HoldReport, HookRun
from app.wire.messages import Committed
from tests.replication.agent_double import AgentDouble

T = TypeVar("T")
P = HoldPhase
PROOF = "ab" * 16


@dataclass
class Cutover:
    """A cutover of one server, and its agent."""

    services: Services
    clock: ManualClock
    agent: AgentDouble
    name: str = "cut-1"

    async def do(self, work: Callable[[UnitOfWork], Coroutine[Any, Any, T]]) -> T:
        """One unit of work, a second later than the last."""
        self.clock.advance(timedelta(seconds=1))
        return await self.services.database.run(work)

    async def quiesce(self, seconds: int = 60) -> None:
        """Want the services stopped."""
        await self.do(lambda uow: holds.quiesce(uow, self.agent.server, self.name, seconds))

    async def finish(self) -> None:
        """Want the final checkpoint."""
        await self.do(lambda uow: holds.finish(uow, self.agent.server, self.name))

    async def keep(self) -> None:
        """Want them kept stopped."""
        await self.do(lambda uow: holds.keep(uow, self.agent.server, self.name))

    async def release(self) -> None:
        """Want them given back."""
        await self.do(lambda uow: holds.release(uow, self.agent.server, self.name))

    async def hold(self) -> Hold:
        """How it stands."""
        return await self.do(lambda uow: holds.standing(uow, self.agent.server, self.name))

    async def order(self) -> HoldOrder | None:
        """What the agent is told."""
        async with self.services.database.reading() as uow:
            return await holds.ordered(uow, self.agent.server)

    async def says(self, phase: str = "", **said: Any) -> Hold | None:
        """The agent's report; the newest order is answered."""
        order = await self.order()
        report = replace(HoldReport(order.revision if order else 0, phase, HoldServices.STOPPED), **said)
        return await self.do(lambda uow: holds.report(uow, self.agent.server, self.name, report))

    async def checkpoint(self, label: str = "frozen") -> tuple[Committed, dict[str, Any]]:
        """A checkpoint, and what a report says of it."""
        content = {"disk-a": bytes(4096) + self.clock.now().isoformat().encode().ljust(4096)}
        await self.agent.open({key: len(data) for key, data in content.items()})
        await self.agent.put_disk(content["disk-a"])
        message = replace(self.agent.message(content), label=label, freeze_ms=123)
        committed = await self.agent.send(message)
        roots = tuple(HeldRoot(disk.disk_id, disk.root) for disk in committed.disks)
        facts = {"checkpoint_id": committed.checkpoint_id, "label": label, "frozen_ms": 123, "roots": roots}
        return committed, facts

    async def to_final(self) -> dict[str, Any]:
        """Come as far as FINAL; what a report says of the checkpoint."""
        await self.quiesce()
        await self.says(P.QUIESCED)
        await self.finish()
        _, facts = await self.checkpoint()
        await self.says(P.FINAL, **facts)
        return facts

    async def to_held(self) -> dict[str, Any]:
        """Come as far as HELD."""
        facts = await self.to_final() | {"proof": PROOF}
        await self.keep()
        await self.says(P.HELD, **facts)
        return facts


@pytest.fixture
async def cutover(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Cutover]:
    """The services of a process, and a server with one checkpoint."""
    settings = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    backend, bus = FolderBackend(tmp_path / "store"), InProcessBus()
    services = Services(settings, clock, database, bus, ObjectStore(backend, clock=clock))
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": bytes(8192)})
    yield Cutover(services, clock, agent)
    await bus.close()
    backend.close()


async def test_each_phase_is_wanted_reached_and_told_with_its_time(cutover: Cutover) -> None:
    await cutover.quiesce()
    order = await cutover.order()
    assert order is not None
    assert (order.cutover, order.phase, order.seconds) == ("cut-1", "QUIESCED", 60)
    hook = HookRun("10-app", "stop-services", has_succeeded=True, outcome="hook 10-app ended", output="bye")
    first = await cutover.says(P.QUIESCED, hooks=(hook,))
    assert first is not None
    assert first.hooks[0].output == "bye"
    await cutover.finish()
    _, facts = await cutover.checkpoint()
    final = await cutover.says(P.FINAL, **facts)
    assert final is not None
    assert (final.checkpoint_id, final.frozen_ms) == (facts["checkpoint_id"], 123)
    await cutover.keep()
    await cutover.says(P.HELD, **facts, proof=PROOF)
    held = await cutover.hold()
    assert held.is_reached(P.HELD)
    assert held.is_reached(P.QUIESCED)
    assert not held.is_reached(P.RELEASED)
    await cutover.release()
    assert not (await cutover.hold()).is_reached(P.RELEASED)
    ended = {"services": HoldServices.STARTED, "cause": HoldCause.ORDERED, "proof": PROOF}
    await cutover.says(P.RELEASED, **ended)
    hold = await cutover.hold()
    assert (hold.reached, hold.services, hold.cause) == (P.RELEASED, "STARTED", "ORDERED")
    assert not hold.is_reached(P.HELD)
    times = [hold.requested_at, hold.quiesced_at, hold.final_at, hold.held_at, hold.released_at]
    known = [time for time in times if time is not None]
    assert len(known) == 5
    assert known == sorted(set(known))
    assert await cutover.order() is None, "a hold that is over is not told any more"


async def test_revisions_rise_and_what_is_repeated_changes_nothing(cutover: Cutover) -> None:
    revisions = []
    for _ in range(2):
        await cutover.quiesce()
        revisions.append(await cutover.order())
    await cutover.says(P.QUIESCED)
    assert await cutover.says(P.QUIESCED) is None
    for _ in range(2):
        await cutover.finish()
        revisions.append(await cutover.order())
    found = [order.revision for order in revisions if order is not None]
    assert found[0] == found[1] < found[2] == found[3]


async def test_the_final_checkpoint_is_kept_by_retention(cutover: Cutover) -> None:
    facts = await cutover.to_final()
    async with cutover.services.database.reading() as uow:
        kept = await uow.session.scalars(select(CheckpointRow.id).where(CheckpointRow.kept))
        assert list(kept) == [facts["checkpoint_id"]]


async def test_nothing_is_wanted_before_what_has_to_come_first_is_reached(cutover: Cutover) -> None:
    with pytest.raises(HoldNotFound):
        await cutover.finish()
    await cutover.quiesce()
    with pytest.raises(HoldNotReached):
        await cutover.finish()
    await cutover.says(P.QUIESCED)
    with pytest.raises(HoldNotReached):
        await cutover.keep()
    await cutover.finish()
    with pytest.raises(HoldNotReached):
        await cutover.keep()


@pytest.mark.parametrize(
    ("label", "changed", "code"),
    [
        ("quiet", {}, "FINAL_NOT_FROZEN"),
        ("frozen", {"roots": ()}, "ROOT_MISMATCH"),
        ("frozen", {"checkpoint_id": "chk-unknown"}, "FINAL_UNKNOWN"),
    ],
)
async def test_a_checkpoint_that_cannot_be_the_final_one_is_a_failure(
    cutover: Cutover, label: str, changed: dict[str, Any], code: str
) -> None:
    """The label is that of the commit, whatever the report says; v3 compares both sides' roots."""
    await cutover.quiesce()
    await cutover.says(P.QUIESCED)
    await cutover.finish()
    _, facts = await cutover.checkpoint(label)
    await cutover.says(P.FINAL, **facts | {"label": "frozen"} | changed)
    hold = await cutover.hold()
    assert (hold.reached, hold.code, hold.checkpoint_id) == (P.QUIESCED, code, None)
    assert hold.has_failed
    with pytest.raises(HoldNotReached, match=code):
        await cutover.keep()


async def test_an_older_checkpoint_or_one_that_has_a_successor_is_not_the_final_one(
    cutover: Cutover,
) -> None:
    await cutover.quiesce()
    await cutover.says(P.QUIESCED)
    _, old = await cutover.checkpoint()
    await cutover.finish()
    await cutover.says(P.FINAL, **old)
    assert (await cutover.hold()).code == "FINAL_TOO_OLD"
    _, first = await cutover.checkpoint()
    await cutover.checkpoint()
    await cutover.says(P.FINAL, **first)
    assert (await cutover.hold()).code == "FINAL_NOT_HEAD"


async def test_two_final_checkpoints_do_not_count(cutover: Cutover) -> None:
    facts = await cutover.to_final()
    _, second = await cutover.checkpoint()
    with pytest.raises(ReportRefused):
        await cutover.says(P.FINAL, **second)
    assert (await cutover.hold()).checkpoint_id == facts["checkpoint_id"]


async def test_a_report_never_leads_back(cutover: Cutover) -> None:
    facts = await cutover.to_final()
    for phase in ("", P.QUIESCED):
        assert await cutover.says(phase, code="HOOK_FAILED") is None
    hold = await cutover.hold()
    assert (hold.reached, hold.code) == (P.FINAL, "")
    assert await cutover.says(P.FINAL, **facts) is None


async def test_more_than_is_wanted_is_not_believed(cutover: Cutover) -> None:
    await cutover.quiesce()
    with pytest.raises(ReportRefused, match="more than was wanted"):
        await cutover.says(P.HELD, proof=PROOF)
    assert (await cutover.hold()).reached is None


async def test_a_copy_of_the_source_cannot_end_what_its_holder_holds(cutover: Cutover) -> None:
    """The copy has the source's credential and journal, but not the proof, which was made after the cut."""
    await cutover.to_held()
    for proof in ("", "cd" * 16):
        with pytest.raises(ReportRefused, match="agent that holds"):
            await cutover.says(P.RELEASED, code="SOURCE_RELEASED", proof=proof)
    assert (await cutover.hold()).is_reached(P.HELD)


async def test_a_source_that_released_itself_cannot_be_launched_on(cutover: Cutover) -> None:
    await cutover.to_final()
    await cutover.says(P.RELEASED, code="SOURCE_RELEASED", cause=HoldCause.EXPIRED)
    for wanted in (cutover.quiesce, cutover.finish, cutover.keep):
        with pytest.raises(SourceReleased, match="EXPIRED"):
            await wanted()
    assert (await cutover.hold()).has_failed
    await cutover.release()
    assert await cutover.order() is None, "both sides know already"
    with pytest.raises(HoldEnded):
        await cutover.quiesce()


async def test_a_release_waits_for_the_agent_even_where_nothing_was_reported(cutover: Cutover) -> None:
    """It may be stopping services at this moment."""
    await cutover.quiesce()
    await cutover.release()
    await cutover.release()
    order = await cutover.order()
    assert order is not None
    assert order.phase == P.RELEASED
    assert not (await cutover.hold()).is_reached(P.RELEASED)
    other = replace(cutover, name="cut-2")
    with pytest.raises(HoldStands, match="cut-1"):
        await other.quiesce()
    await cutover.says(P.RELEASED)
    await other.quiesce()
    following = await cutover.order()
    assert following is not None
    assert following.cutover == "cut-2"
    assert following.revision > order.revision


async def test_what_was_released_before_it_began_cannot_begin_later(cutover: Cutover) -> None:
    await cutover.release()
    assert (await cutover.hold()).is_reached(P.RELEASED)
    with pytest.raises(HoldEnded):
        await cutover.quiesce()
    await replace(cutover, name="cut-2").quiesce()


async def test_a_late_report_of_a_hold_that_is_over_changes_nothing(cutover: Cutover) -> None:
    facts = await cutover.to_held()
    await cutover.release()
    await cutover.says(P.RELEASED, services=HoldServices.STARTED, proof=PROOF)
    before = await cutover.hold()
    assert await cutover.says(P.HELD, **facts) is None
    assert await cutover.says(P.RELEASED, proof=PROOF, code="HOOK_FAILED") is None
    assert await cutover.hold() == before


async def test_the_order_is_news_for_a_poll_that_waits(cutover: Cutover) -> None:
    async def told(uow: UnitOfWork) -> tuple[HoldOrder | None, HoldOrder | None]:
        server = await find_server(uow, cutover.agent.server)
        one = (await direct(uow, server, 60, takes=False)).orders.hold
        return one, (await directions(uow, 60))[server.id].orders.hold

    assert await cutover.do(told) == (None, None)
    await cutover.quiesce()
    one, every = await cutover.do(told)
    assert one == every == await cutover.order() is not None


async def test_services_do_not_stay_stopped_for_a_cutover_that_nobody_leads_on(cutover: Cutover) -> None:
    server = cutover.agent.server

    async def told() -> tuple[str | None, str | None]:
        one = await cutover.do(lambda uow: holds.ordered(uow, server))
        every = await cutover.do(holds.all_ordered)
        return (one.phase if one else None), (every[server].phase if server in every else None)

    await cutover.quiesce(60)
    cutover.clock.advance(timedelta(seconds=100))
    assert await told() == (P.QUIESCED, P.QUIESCED), (
        "who never renews is told for as long as the order stands"
    )
    await cutover.do(lambda uow: holds.renew(uow, server, cutover.name))
    assert await told() == (P.QUIESCED, P.QUIESCED)
    cutover.clock.advance(timedelta(seconds=60))
    assert await told() == (None, None)
    await cutover.do(lambda uow: holds.renew(uow, server, cutover.name))
    assert await told() == (P.QUIESCED, P.QUIESCED)
    cutover.clock.advance(timedelta(seconds=60))
    await cutover.do(lambda uow: holds.release(uow, server, cutover.name))
    assert await told() == (P.RELEASED, P.RELEASED), "what ends a hold, or makes it firm, is told always"


async def test_a_time_or_a_word_that_makes_no_sense_is_refused(cutover: Cutover) -> None:
    for seconds in (0, 86401):
        with pytest.raises(Invalid, match="seconds"):
            await cutover.quiesce(seconds)
    await cutover.quiesce()
    with pytest.raises(Invalid, match="SLEEPING"):
        await cutover.says("SLEEPING")


async def test_each_order_is_told_once_it_is_committed(cutover: Cutover) -> None:
    bus = InProcessBus()
    cutover.services.database.tell_on(bus)
    heard = bus.subscribe()
    first = asyncio.ensure_future(anext(heard))
    await asyncio.sleep(0)
    await cutover.quiesce()
    item = await first
    assert isinstance(item, Delivery)
    assert (item.event.type, item.event.subject) == (ORDERED, cutover.agent.server)
    await cutover.quiesce()  # nothing new
    await cutover.release()
    again = await anext(heard)
    assert isinstance(again, Delivery)
    assert again.event.id != item.event.id
    await bus.close()
