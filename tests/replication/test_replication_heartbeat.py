"""Heartbeats and orders on a real database: what is kept, what follows, and what ends an order."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from app.contract.paging import EVERYTHING
from app.contract.words import ReplicationOperation as Op
from app.contract.words import ReplicationReason, ReplicationState
from app.kit.bus import Delivery
from app.kit.clock import ManualClock
from app.kit.database import UnitOfWork
from app.kit.errors import BadRequest
from app.migration.direction.service import Direction, direct, directions
from app.migration.replication.errors import OperationNotAllowed
from app.migration.replication.fleet import look
from app.migration.replication.heartbeat import Rhythm, note_heartbeat, note_released, status_of
from app.migration.replication.orders import order, orders_of
from app.migration.replication.standing import Change, announce, kept
from app.migration.replication.states import Standing
from app.migration.servers.enrolment import find_server, hold_lease, release_lease
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.wire.chunks import CHUNK_SIZE
from app.wire.heartbeat import DiskStatus, Orders, Rates, Status
from tests.replication.agent_double import AgentDouble

S, R = ReplicationState, ReplicationReason
RHYTHM = Rhythm(heartbeat_seconds=10, interval_seconds=60)
LEASE = timedelta(seconds=30)
SIZE = 2 * CHUNK_SIZE
CONTENT = bytes(range(256)) * (SIZE // 256)
DISK = DiskStatus("disk-a", size=SIZE, used=SIZE, seen=0, sent=0, known=0, backlog=0, tracker="t")


@pytest.fixture
async def agent(services: Services) -> AgentDouble:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": CONTENT})
    return agent


def status(services: Services, activity: str, ahead: timedelta = timedelta(), **changed: object) -> Status:
    """What an agent with one disk says, its clock so far ahead."""
    clock = (services.clock.now() + ahead).isoformat()
    return replace(Status(activity, clock, disks=(DISK,)), **changed)  # type: ignore[arg-type]


async def beat(agent: AgentDouble, said: Status | None, rhythm: Rhythm = RHYTHM) -> Standing:
    """A heartbeat as the gateway takes it; the standing then."""

    async def work(uow: UnitOfWork) -> Change | None:
        row = await hold_lease(uow, agent.server, agent.instance, LEASE)
        return await note_heartbeat(uow, row, said, rhythm)

    change = await agent.services.database.run(work)
    await announce(agent.services, change)
    return kept(await row_of(agent))


async def row_of(agent: AgentDouble) -> ServerRow:
    async with agent.services.database.reading() as uow:
        return await find_server(uow, agent.server)


async def test_what_the_agent_says_is_kept_and_the_state_follows(agent: AgentDouble) -> None:
    said = status(agent.services, "rescanning", reason="TRACKER_GAP", detail="3 events were lost")
    assert await beat(agent, said) == Standing(S.RESCAN, R.TRACKER_GAP)
    row = await row_of(agent)
    assert status_of(row) == said
    assert row.status_at == row.replication_since == agent.services.clock.now()
    assert await beat(agent, status(agent.services, "following")) == Standing(S.CONTINUOUS)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"activity": "dreaming"}, "UNKNOWN_ACTIVITY"),
        ({"reason": "WHY_NOT"}, "UNKNOWN_REASON"),
        ({"clock": "noon"}, "BAD_CLOCK"),
        ({"clock": "2026-01-02T03:04:05"}, "BAD_CLOCK"),
        ({"clock": "0001-01-01T00:00:00+23:00"}, "BAD_CLOCK"),
    ],
)
async def test_unknown_words_are_refused_by_name_and_leave_nothing(
    agent: AgentDouble, changed: dict[str, str], code: str
) -> None:
    await beat(agent, status(agent.services, "following"))
    before = vars(await row_of(agent)).copy()
    with pytest.raises(BadRequest) as refusal:
        await beat(agent, replace(status(agent.services, "copying"), **changed))  # type: ignore[arg-type]
    assert refusal.value.code == code
    assert next(iter(changed.values())) in refusal.value.detail
    after = vars(await row_of(agent)).copy()
    assert {key: value for key, value in after.items() if key != "_sa_instance_state"} == {
        key: value for key, value in before.items() if key != "_sa_instance_state"
    }


async def test_the_skew_of_the_source_is_measured_and_smoothed(agent: AgentDouble) -> None:
    await beat(agent, status(agent.services, "following", ahead=timedelta(seconds=-90)))
    assert (await row_of(agent)).clock_skew_ms == -90_000
    await beat(agent, status(agent.services, "following", ahead=timedelta(seconds=-86)))
    assert (await row_of(agent)).clock_skew_ms == -89_000


async def test_catching_up_is_continuous_as_long_as_the_lag_is_within_twice_the_interval(
    agent: AgentDouble, clock: ManualClock
) -> None:
    done = tuple((replace(DISK, seen=seen),) for seen in range(4))
    assert await beat(agent, status(agent.services, "catching-up", disks=done[0])) == Standing(S.CONTINUOUS)
    clock.advance(timedelta(seconds=120))
    assert await beat(agent, status(agent.services, "catching-up", disks=done[1])) == Standing(S.CONTINUOUS)
    clock.advance(timedelta(seconds=1))
    assert await beat(agent, status(agent.services, "catching-up", disks=done[2])) == Standing(S.BACKLOG)


async def test_a_slow_clock_does_not_make_a_replica_old(agent: AgentDouble, clock: ManualClock) -> None:
    """The lag is corrected for the skew as it becomes known, a quarter of it with each heartbeat."""
    done = tuple((replace(DISK, seen=seen),) for seen in range(2))
    clock.advance(timedelta(seconds=10))
    await agent.open({"disk-a": len(CONTENT)})
    stated = (clock.now() - timedelta(seconds=5)).isoformat()
    await agent.send(replace(agent.message({"disk-a": CONTENT}), source_time=stated))
    clock.advance(timedelta(seconds=116))
    assert await beat(agent, status(agent.services, "catching-up", disks=done[0])) == Standing(S.BACKLOG)
    slow = status(agent.services, "catching-up", ahead=timedelta(seconds=-5), disks=done[1])
    assert await beat(agent, slow) == Standing(S.CONTINUOUS)


async def test_a_pass_that_stands_still_is_named_and_recovers(agent: AgentDouble, clock: ManualClock) -> None:
    for _ in range(6):
        assert await beat(agent, status(agent.services, "rescanning")) == Standing(S.RESCAN)
        clock.advance(timedelta(seconds=10))
    assert await beat(agent, status(agent.services, "rescanning")) == Standing(S.STALLED, R.NO_PROGRESS)
    moved = status(agent.services, "rescanning", disks=(replace(DISK, seen=1),))
    assert await beat(agent, moved) == Standing(S.RESCAN)


async def test_a_backlog_that_only_grows_is_named(agent: AgentDouble, clock: ManualClock) -> None:
    clock.advance(timedelta(minutes=5))
    rates = Rates(dirty=20_000_000, wire=10_000_000, read=100_000_000)
    found = []
    for seen in range(12):
        disk = replace(DISK, seen=seen, backlog=1 << 30)
        found.append(await beat(agent, status(agent.services, "catching-up", disks=(disk,), rates=rates)))
        clock.advance(timedelta(minutes=1))
    assert found == [Standing(S.BACKLOG)] * 10 + [Standing(S.BACKLOG, R.NOT_CONVERGING)] * 2
    better = replace(rates, dirty=5_000_000)
    said = status(agent.services, "catching-up", disks=(replace(DISK, seen=99),), rates=better)
    assert await beat(agent, said) == Standing(S.BACKLOG)


async def test_changes_are_told_once_and_failures_logged_once(agent: AgentDouble, clock: ManualClock) -> None:
    services = agent.services
    await beat(agent, status(services, "following"))
    events = services.bus.subscribe()
    following = anext(aiter(events))
    with capture_logs() as logs:
        failing = status(services, "failing", reason="SOURCE_READ_ERROR")
        task = asyncio.ensure_future(following)
        await asyncio.sleep(0)
        for _ in range(3):
            await beat(agent, failing)
        await beat(agent, status(services, "catching-up"))
        await beat(agent, status(services, "following"))
    told = [await task, *[await anext(aiter(events)) for _ in range(3)]]
    stalled = {"state": "STALLED", "reason": "SOURCE_READ_ERROR"}
    works = {"state": "CONTINUOUS", "reason": None}
    assert [(item.event.type, item.event.data) for item in told if isinstance(item, Delivery)] == [
        ("replication.failing", stalled),
        ("server.replication", stalled),
        ("replication.recovered", works),
        ("server.replication", works),
    ]
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("replication.failing", "warning"),
        ("replication.recovered", "info"),
    ]


async def test_an_agent_that_falls_silent_is_named_by_the_fleet_and_comes_back(
    agent: AgentDouble, clock: ManualClock
) -> None:
    await beat(agent, status(agent.services, "following"))
    await look(agent.services)
    assert kept(await row_of(agent)) == Standing(S.CONTINUOUS)
    clock.advance(LEASE + timedelta(seconds=1))
    with capture_logs() as logs:
        await look(agent.services)
        await look(agent.services)
    assert kept(await row_of(agent)) == Standing(S.DISCONNECTED, R.AGENT_NOT_SEEN)
    assert [log["event"] for log in logs] == ["replication.failing"]
    assert await beat(agent, None) == Standing(S.INITIATING)
    assert await beat(agent, status(agent.services, "following")) == Standing(S.CONTINUOUS)


async def test_an_agent_that_says_good_bye_is_stopped_and_not_lost(
    agent: AgentDouble, clock: ManualClock
) -> None:
    await beat(agent, status(agent.services, "following"))

    async def leave(uow: UnitOfWork) -> None:
        assert await release_lease(uow, agent.server, agent.instance)
        await note_released(uow, agent.server)

    await agent.services.database.run(leave)
    clock.advance(timedelta(hours=1))
    await look(agent.services)
    assert kept(await row_of(agent)) == Standing(S.STOPPED)


async def test_the_fleet_is_measured_in_one_query_and_forgets_who_is_gone(
    agent: AgentDouble, clock: ManualClock
) -> None:
    said = status(agent.services, "following", disks=(replace(DISK, backlog=7),))
    await beat(agent, said)
    clock.advance(timedelta(seconds=5))
    await look(agent.services)
    row = await row_of(agent)
    labels = {"server": agent.server, "project": row.project_id}
    assert REGISTRY.get_sample_value("go2cloud_servers", {"state": "CONTINUOUS"}) == 1
    assert REGISTRY.get_sample_value("go2cloud_server_lag_seconds", labels) == 5
    assert REGISTRY.get_sample_value("go2cloud_server_checkpoint_age_seconds", labels) == 5
    assert REGISTRY.get_sample_value("go2cloud_server_replicating", labels) == 1
    assert REGISTRY.get_sample_value("go2cloud_agent_sessions") == 1
    assert REGISTRY.get_sample_value("go2cloud_server_backlog_bytes", labels) == 7

    async def archive(uow: UnitOfWork) -> None:
        (await find_server(uow, agent.server)).archived = True

    await agent.services.database.run(archive)
    await look(agent.services)
    assert REGISTRY.get_sample_value("go2cloud_server_lag_seconds", labels) is None
    assert REGISTRY.get_sample_value("go2cloud_server_checkpoint_age_seconds", labels) is None
    assert REGISTRY.get_sample_value("go2cloud_agent_sessions") == 0
    assert REGISTRY.get_sample_value("go2cloud_servers", {"state": "CONTINUOUS"}) == 0


async def give(agent: AgentDouble, operation: Op) -> bool:
    """An operator's order; whether it was new."""
    ordered = await agent.services.database.run(lambda uow: order(uow, EVERYTHING, agent.server, operation))
    return ordered.is_new


async def test_the_orders_of_a_server(agent: AgentDouble) -> None:
    assert orders_of(await row_of(agent)) == Orders()
    assert await give(agent, Op.RESCAN)
    rescan = (await row_of(agent)).rescan_request
    assert rescan is not None
    assert not await give(agent, Op.RESCAN), "it stands already"
    assert orders_of(await row_of(agent)) == Orders(rescan=rescan)
    assert await give(agent, Op.PAUSE)
    assert not await give(agent, Op.PAUSE)
    assert orders_of(await row_of(agent)) == Orders("PAUSE", rescan=rescan)


async def test_a_rescan_stands_until_a_commit_names_it(agent: AgentDouble) -> None:
    await give(agent, Op.RESCAN)
    first = cast("str", (await row_of(agent)).rescan_request)
    await agent.replicate({"disk-a": CONTENT})
    assert (await row_of(agent)).rescan_request == first, "another pass was committed"
    await agent.open({"disk-a": SIZE})
    await agent.send(replace(agent.message({"disk-a": CONTENT}), rescan=first, freeze_ms=120, rounds=3))
    assert (await row_of(agent)).rescan_request is None
    await give(agent, Op.RESCAN)
    second = (await row_of(agent)).rescan_request
    await agent.open({"disk-a": SIZE})
    await agent.send(replace(agent.message({"disk-a": CONTENT}), rescan=first))
    assert (await row_of(agent)).rescan_request == second != first


@pytest.mark.parametrize("operation", [Op.SYNC, Op.RESCAN, Op.RETRY])
async def test_what_makes_no_sense_is_refused_with_what_does(agent: AgentDouble, operation: Op) -> None:
    await give(agent, Op.PAUSE)
    with pytest.raises(OperationNotAllowed) as refusal:
        await give(agent, operation)
    assert refusal.value.extra == {
        "operation": operation.value,
        "goal": "PAUSE",
        "replicationState": (await row_of(agent)).replication_state,
        "allowed": ["resume", "stop"],
    }


async def test_a_retry_is_for_what_is_stalled(agent: AgentDouble) -> None:
    await beat(agent, status(agent.services, "following"))
    with pytest.raises(OperationNotAllowed):
        await give(agent, Op.RETRY)
    await beat(agent, status(agent.services, "failing", reason="STORE_FULL"))
    assert await give(agent, Op.RETRY)
    told = await agent.services.database.run(lambda uow: told_to(uow, agent))
    assert told == Direction("sync", 60, Orders())
    assert (await agent.services.database.run(lambda uow: told_to(uow, agent))).command == "none"


async def told_to(uow: UnitOfWork, agent: AgentDouble) -> Direction:
    return await direct(uow, await find_server(uow, agent.server), 60, takes=True)


async def test_a_pause_withdraws_a_command_that_waits(agent: AgentDouble) -> None:
    await give(agent, Op.SYNC)
    await give(agent, Op.PAUSE)
    await give(agent, Op.RESUME)
    assert not (await row_of(agent)).sync_requested


async def test_directions_are_of_those_that_are_there(agent: AgentDouble, clock: ManualClock) -> None:
    await beat(agent, None)
    await give(agent, Op.SYNC)
    async with agent.services.database.reading() as uow:
        assert await directions(uow, 60) == {agent.server: Direction("sync", 60, Orders())}
    clock.advance(LEASE + timedelta(seconds=1))
    async with agent.services.database.reading() as uow:
        assert await directions(uow, 60) == {}
