"""Orders and results of verifications on both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from app.contract import words
from app.contract.filters import ServerFilter
from app.contract.paging import EVERYTHING, PageRequest
from app.contract.words import AgentActivity, ReplicationGoal, ReplicationReason, Verdict, WorkState
from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.settings import load_settings
from app.migration.catalogue.service import list_servers
from app.migration.replication.heartbeat import note_activity
from app.migration.servers.enrolment import find_server
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.verification import service
from app.migration.verification.errors import VerificationNotFound
from app.store.folder import FolderBackend
from app.store.objects import ObjectStore
from app.wire import verification as wire
from tests.replication.agent_double import AgentDouble
from tests.replication.statements import counted

WEEK = timedelta(days=7)
SAME = wire.Verification("chk-1", (wire.DiskVerification("disk-a", 4096, read=4096, compared=4096),))
DIFFERS = wire.Verification(
    "chk-1", (wire.DiskVerification("disk-a", 4096, unexplained=((0, 4096),), unexplained_bytes=4096),)
)


@pytest.fixture
async def services(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Services]:
    settings = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    backend = FolderBackend(tmp_path / "store")
    bus = InProcessBus()
    yield Services(settings, clock, database, bus, ObjectStore(backend, clock=clock))
    await bus.close()
    backend.close()


@pytest.fixture
async def agent(services: Services) -> AgentDouble:
    made = await AgentDouble.enrolled(services)
    await made.replicate({"disk-a": bytes(4096)})
    return made


async def ordered(agent: AgentDouble) -> str:
    return (await agent.services.database.run(lambda uow: service.request(uow, agent.server))).id


async def finish(agent: AgentDouble, ref: str, result: wire.Verification) -> bool:
    done = await agent.services.database.run(lambda uow: service.finish(uow, agent.server, ref, result))
    return done.is_new


async def due(services: Services, every: timedelta = WEEK) -> int:
    return await services.database.run(lambda uow: service.order_due(uow, every))


def test_wire_and_contract_say_the_same_verdicts() -> None:
    assert [*wire.Verdict] == [*words.Verdict]


async def test_however_many_ask_at_once_there_is_one(agent: AgentDouble) -> None:
    found = await asyncio.gather(*(ordered(agent) for _ in range(8)))
    assert len(set(found)) == 1
    async with agent.services.database.reading() as uow:
        assert await service.standing(uow, agent.server) == found[0]


async def test_the_order_stands_until_the_result_and_the_first_result_counts(agent: AgentDouble) -> None:
    ref = await ordered(agent)
    database = agent.services.database
    await database.run(lambda uow: service.note_progress(uow, agent.server, ref, wire.Progress(1, 4096)))
    async with database.reading() as uow:
        running = await service.get_verification(uow, agent.server, "latest")
        assert (running.state, running.done_bytes) == (WorkState.RUNNING, 1)
        assert await service.standing(uow, agent.server) == ref
    assert await finish(agent, ref, SAME)
    assert not await finish(agent, ref, DIFFERS)
    async with database.reading() as uow:
        over = await service.get_verification(uow, agent.server, ref)
        assert await service.standing(uow, agent.server) == ""
    assert (over.state, over.verdict) == (WorkState.SUCCEEDED, Verdict.SAME)
    with pytest.raises(VerificationNotFound):
        await database.run(lambda uow: service.note_progress(uow, agent.server, ref, wire.Progress(2, 4096)))


async def test_a_difference_is_said_on_the_server_until_its_agent_tells_better(agent: AgentDouble) -> None:
    await finish(agent, await ordered(agent), DIFFERS)

    async def reason() -> str | None:
        async with agent.services.database.reading() as uow:
            return (await find_server(uow, agent.server)).replication_reason

    assert await reason() == ReplicationReason.REPLICA_DIFFERS
    following = AgentActivity.FOLLOWING
    await agent.services.database.run(lambda uow: note_activity(uow, agent.server, following))
    assert await reason() is None


@pytest.mark.parametrize(
    ("result", "state", "verdict"),
    [
        (SAME, WorkState.SUCCEEDED, Verdict.SAME),
        (DIFFERS, WorkState.FAILED, Verdict.DIFFERS),
        (replace(SAME, code="DISK_NOT_FOUND"), WorkState.FAILED, Verdict.UNPROVED),
        (replace(DIFFERS, code="DISK_NOT_FOUND"), WorkState.FAILED, Verdict.DIFFERS),
        (wire.Verification("", ()), WorkState.SUCCEEDED, Verdict.UNPROVED),
        (
            wire.Verification("c", (wire.DiskVerification("d", 9, unproved=1),)),
            WorkState.SUCCEEDED,
            Verdict.UNPROVED,
        ),
        (
            wire.Verification("c", (wire.DiskVerification("d", 9, lost=1),)),
            WorkState.SUCCEEDED,
            Verdict.UNPROVED,
        ),
        (
            wire.Verification("c", (wire.DiskVerification("d", 9, excused=9),)),
            WorkState.SUCCEEDED,
            Verdict.SAME,
        ),
    ],
)
async def test_states_and_verdicts(
    agent: AgentDouble, result: wire.Verification, state: WorkState, verdict: Verdict
) -> None:
    ref = await ordered(agent)
    await finish(agent, ref, result)
    async with agent.services.database.reading() as uow:
        found = await service.get_verification(uow, agent.server, ref)
    assert (found.state, found.verdict) == (state, verdict)


async def test_a_foreign_verification_does_not_exist(agent: AgentDouble) -> None:
    ref = await ordered(agent)
    other = await AgentDouble.enrolled(agent.services, "other")
    with pytest.raises(VerificationNotFound):
        await finish(other, ref, SAME)
    with pytest.raises(VerificationNotFound):
        await agent.services.database.run(
            lambda uow: service.note_progress(uow, other.server, ref, wire.Progress(1, 1))
        )


async def test_what_is_old_is_due_once(agent: AgentDouble, clock: ManualClock) -> None:
    services = agent.services
    await AgentDouble.enrolled(services, "without-a-checkpoint")
    assert await due(services) == 0
    clock.advance(WEEK + timedelta(seconds=1))
    assert await due(services) == 1
    assert await due(services) == 0
    async with services.database.reading() as uow:
        found = await service.get_verification(uow, agent.server, "latest")
    assert found.automatic
    await finish(agent, found.id, SAME)
    clock.advance(WEEK - timedelta(seconds=1))
    assert await due(services) == 0
    clock.advance(timedelta(seconds=2))
    assert await due(services) == 1


async def test_a_server_whose_replication_rests_is_not_due(agent: AgentDouble, clock: ManualClock) -> None:
    clock.advance(2 * WEEK)
    async with agent.services.database.begin() as uow:
        await uow.session.execute(update(ServerRow).values(goal=ReplicationGoal.PAUSE))
    assert await due(agent.services) == 0


async def test_the_list_is_paged_the_newest_first(agent: AgentDouble) -> None:
    refs = []
    for _ in range(3):
        refs.append(await ordered(agent))
        await finish(agent, refs[-1], SAME)
    async with agent.services.database.reading() as uow:
        first = await service.list_verifications(uow, agent.server, PageRequest(2))
        rest = await service.list_verifications(uow, agent.server, PageRequest(2, first.next_after))
    assert [item.id for item in (*first.items, *rest.items)] == refs[::-1]
    assert rest.next_after is None


async def test_a_list_of_servers_takes_as_many_queries_for_five_as_for_one(agent: AgentDouble) -> None:
    async def queries() -> int:
        with counted(agent.services.database) as statements:
            async with agent.services.database.reading() as uow:
                await list_servers(uow, EVERYTHING, ServerFilter(), PageRequest())
        return sum(text.lstrip().startswith("SELECT") for text in statements)

    await finish(agent, await ordered(agent), SAME)
    alone = await queries()
    for number in range(4):
        other = await AgentDouble.enrolled(agent.services, f"web-{number + 2}")
        await other.replicate({"disk-a": bytes(4096)})
        await ordered(other)
    assert await queries() == alone
