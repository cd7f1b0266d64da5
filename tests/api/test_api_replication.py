"""Orders about replication and how it stands, over REST, of a server that was really replicated."""

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from app.contract.words import ReplicationOperation, Role
from app.kit.clock import ManualClock
from app.kit.database import UnitOfWork
from app.migration.replication.heartbeat import Rhythm, note_heartbeat
from app.migration.replication.tables import DiskRootRow
from app.migration.servers.enrolment import find_server, hold_lease
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.wire.chunks import CHUNK_SIZE
from app.wire.heartbeat import DiskStatus, Rates, Status
from tests.api.conftest import Api, Callers
from tests.replication.agent_double import AgentDouble
from tests.replication.statements import counted

SIZE = 2 * CHUNK_SIZE
CONTENT = bytes(range(256)) * (SIZE // 256)
DISK = DiskStatus(
    "disk-a", SIZE, SIZE, SIZE, 5, 7, backlog=3 << 20, unreadable=512, tracker="tracefs", note="n"
)
ORDERS = [operation.value for operation in ReplicationOperation]


@pytest.fixture
async def agent(callers: Callers, services: Services) -> AgentDouble:
    assert callers
    agent = await AgentDouble.enrolled(services, "web-1")
    await agent.replicate({"disk-a": CONTENT})
    return agent


async def beat(agent: AgentDouble, activity: str, ahead: timedelta = timedelta(), **changed: object) -> None:
    """A heartbeat of the agent, its clock so far ahead."""
    clock = (agent.services.clock.now() + ahead).isoformat()
    status = replace(Status(activity, clock, disks=(DISK,)), **changed)  # type: ignore[arg-type]

    async def work(uow: UnitOfWork) -> None:
        row = await hold_lease(uow, agent.server, agent.instance, timedelta(seconds=30))
        await note_heartbeat(uow, row, status, Rhythm(10, 60))

    await agent.services.database.run(work)


async def test_how_replication_stands(agent: AgentDouble, admin: Api, clock: ManualClock) -> None:
    rates = Rates(dirty=5_000_000, dirty_long=4_000_000, wire=6_000_000, read=100_000_000)
    since = clock.now()
    said: dict[str, Any] = {"rates": rates, "eta_ms": 1500, "detail": "two rounds", "freeze_ms": 200}
    await beat(agent, "catching-up", ahead=timedelta(seconds=3), **said)
    clock.advance(timedelta(seconds=10))
    found = await admin.call("GET", "/servers/web-1/replication", 200)
    assert (found["goal"], found["state"], found["reason"]) == ("RUN", "CONTINUOUS", None)
    assert (found["activity"], found["detail"], found["eta"]) == ("catching-up", "two rounds", "PT1.5S")
    assert found["since"] == found["reportedAt"] == since.isoformat().replace("+00:00", "Z")
    assert (found["lag"], found["clockSkewMs"]) == ("PT13S", 3000), "the source is three seconds ahead"
    assert (found["checkpointInterval"], found["wireRate"]) == ("PT1M", None)
    assert found["rates"] == {
        "dirty": 5_000_000,
        "dirtyLong": 4_000_000,
        "wire": 6_000_000,
        "wireLong": 0,
        "read": 100_000_000,
    }
    assert found["disks"] == [
        {
            "key": "disk-a",
            "path": "/dev/sda",
            "sizeBytes": SIZE,
            "usedBytes": SIZE,
            "seenBytes": SIZE,
            "sentBytes": 5,
            "knownBytes": 7,
            "backlogBytes": 3 << 20,
            "unreadableBytes": 512,
            "tracker": "tracefs",
            "note": "n",
        }
    ]
    assert (found["lastCut"]["number"], found["lastCut"]["label"]) == (1, "quiet")
    assert found["forecast"]["converges"] is True
    assert "cutover now would freeze" in found["forecast"]["explanation"]
    assert found["allowed"] == ["pause", "stop", "sync", "rescan"]


async def test_of_an_agent_that_said_nothing_little_is_known(agent: AgentDouble, admin: Api) -> None:
    found = await admin.call("GET", f"/servers/{agent.server}/replication", 200)
    unknown = ("activity", "reportedAt", "rates", "eta", "backlogBytes", "clockSkewMs", "forecast")
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert (found["disks"], found["lastCut"]["number"]) == ([], 1)


async def test_a_server_shows_goal_backlog_and_the_lag_by_its_own_clock(
    agent: AgentDouble, admin: Api, clock: ManualClock
) -> None:
    await beat(agent, "following", ahead=timedelta(seconds=60))
    clock.advance(timedelta(seconds=100))
    found = await admin.call("GET", "/servers/web-1", 200)
    assert (found["lag"], found["backlogBytes"], found["goal"]) == ("PT2M40S", 3 << 20, "RUN")
    assert (found["checkpointInterval"], found["wireRate"], found["degraded"]) == (None, None, False)
    assert (found["replicationState"], found["replicationReason"]) == ("DISCONNECTED", "AGENT_NOT_SEEN")
    (listed,) = (await admin.call("GET", "/servers", 200))["items"]
    assert listed == found | {"inventory": None}


async def test_orders_set_the_goal_and_may_be_repeated(agent: AgentDouble, admin: Api) -> None:
    await beat(agent, "following")
    paused = await admin.call("POST", "/servers/web-1:pause", 202)
    assert (paused["goal"], paused["replicationAllowed"]) == ("PAUSE", ["resume", "stop"])
    assert await admin.call("POST", "/servers/web-1:pause", 200) == paused
    await beat(agent, "resting")
    assert (await admin.call("GET", "/servers/web-1", 200))["replicationState"] == "PAUSED"
    assert (await admin.call("POST", "/servers/web-1:stop", 202))["replicationAllowed"] == ["resume"]
    await beat(agent, "resting")
    assert (await admin.call("GET", "/servers/web-1", 200))["replicationState"] == "STOPPED"
    assert (await admin.call("POST", "/servers/web-1:resume", 202))["goal"] == "RUN"
    await admin.call("POST", "/servers/web-1:resume", 200)
    assert (await admin.call("POST", "/servers/web-1:rescan", 202))["goal"] == "RUN"
    await admin.call("POST", "/servers/web-1:rescan", 200)
    assert (await admin.call("GET", "/servers/web-1/replication", 200))["rescanOrdered"] is True
    await admin.call("POST", "/servers/web-1:sync", 202)
    await admin.call("POST", "/servers/web-1:sync", 200)
    entries = (await admin.call("GET", f"/audit?resource={agent.server}", 200))["items"]
    assert [entry["action"].removeprefix("server.") for entry in reversed(entries)] == [
        "pause", "pause", "stop", "resume", "resume", "rescan", "rescan", "sync", "sync",
    ]  # fmt: skip


async def test_a_new_goal_makes_a_new_version(agent: AgentDouble, admin: Api) -> None:
    before = (await admin.http.get("/servers/web-1")).headers["etag"]
    await admin.call("POST", "/servers/web-1:pause", 202)
    refusal = await admin.refused("PATCH", "/servers/web-1", {"description": "x"}, If_Match=before)
    assert refusal == (412, "SERVER_CHANGED")


async def test_a_refusal_says_what_is_and_what_may_be(agent: AgentDouble, admin: Api) -> None:
    await beat(agent, "following")
    problem = (await admin.http.post("/servers/web-1:retry")).json()
    assert (problem["status"], problem["code"]) == (409, "OPERATION_NOT_ALLOWED")
    assert (problem["operation"], problem["goal"]) == ("retry", "RUN")
    assert problem["replicationState"] == "CONTINUOUS"
    assert problem["allowed"] == ["pause", "stop", "sync", "rescan"]
    await beat(agent, "failing", reason="SOURCE_READ_ERROR")
    await admin.call("POST", "/servers/web-1:retry", 202)
    await admin.call("POST", "/servers/web-1:stop", 202)
    for operation in ("pause", "sync", "rescan", "retry"):
        assert (await admin.refused("POST", f"/servers/web-1:{operation}"))[1] == "OPERATION_NOT_ALLOWED"


@pytest.mark.parametrize("operation", ORDERS)
async def test_a_viewer_and_other_projects_order_nothing(
    agent: AgentDouble, callers: Callers, admin: Api, operation: str
) -> None:
    viewer = await callers.token(Role.VIEWER)
    path = f"/servers/{agent.server}:{operation}"
    assert await viewer.refused("POST", path) == (403, "ROLE_TOO_SMALL")
    assert (await viewer.call("GET", "/servers/web-1/replication", 200))["goal"] == "RUN"
    other = await admin.call("POST", "/projects", 201, {"name": "other"})
    stranger = await callers.token(Role.OPERATOR, other["id"])
    assert await stranger.refused("POST", path) == (404, "SERVER_NOT_FOUND")
    assert await stranger.refused("GET", "/servers/web-1/replication") == (404, "SERVER_NOT_FOUND")


async def patched(admin: Api, body: dict[str, object]) -> Any:
    """The server after a change of what it is now."""
    tag = (await admin.http.get("/servers/web-1")).headers["etag"]
    return await admin.call("PATCH", "/servers/web-1", 200, body, If_Match=tag)


async def test_interval_and_rate_are_set_and_given_back(agent: AgentDouble, admin: Api) -> None:
    found = await patched(admin, {"checkpointInterval": "PT30S", "wireRate": 1 << 20})
    assert (found["checkpointInterval"], found["wireRate"]) == ("PT30S", 1 << 20)
    found = await patched(admin, {"checkpointInterval": "PT0S"})
    assert (found["checkpointInterval"], found["wireRate"]) == ("PT0S", 1 << 20), "what is absent stays"
    assert (await admin.call("GET", "/servers/web-1/replication", 200))["checkpointInterval"] == "PT0S"
    found = await patched(admin, {"checkpointInterval": None, "wireRate": None, "name": None})
    assert (found["checkpointInterval"], found["wireRate"], found["name"]) == (None, None, "web-1")
    entries = (await admin.call("GET", f"/audit?resource={agent.server}", 200))["items"]
    assert entries[-1]["details"] == {"checkpointInterval": "PT30S", "wireRate": 1 << 20}


@pytest.mark.parametrize("interval", ["PT4S", "P8D", "PT5.5S", "-PT10S", "soon", "P999999999D"])
async def test_an_impossible_interval_is_refused(agent: AgentDouble, admin: Api, interval: str) -> None:
    body = {"checkpointInterval": interval}
    assert (await admin.refused("PATCH", "/servers/web-1", body, If_Match='"1"'))[0] == 422


@pytest.mark.parametrize("rate", [0, 1, -5, 1 << 63, "fast"])
async def test_an_impossible_rate_is_refused(agent: AgentDouble, admin: Api, rate: object) -> None:
    assert (await admin.refused("PATCH", "/servers/web-1", {"wireRate": rate}, If_Match='"1"'))[0] == 422


async def test_a_head_with_unreadable_ranges_is_degraded(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    (disk,) = (await admin.call("GET", "/servers/web-1/disks", 200))["items"]

    async def spoil(uow: UnitOfWork) -> None:
        server = await find_server(uow, agent.server)
        root = await uow.session.get_one(DiskRootRow, (server.head_checkpoint_id, disk["id"]))
        root.unreadable = [[0, 512]]

    await services.database.run(spoil)
    assert (await admin.call("GET", "/servers/web-1", 200))["degraded"] is True
    assert (await admin.call("GET", "/servers/web-1/checkpoints/1", 200))["degraded"] is True
    await agent.replicate({"disk-a": CONTENT[::-1]})
    assert (await admin.call("GET", "/servers/web-1", 200))["degraded"] is False
    assert (await admin.call("GET", "/servers/web-1/checkpoints/1", 200))["degraded"] is True


async def test_a_checkpoint_says_how_it_was_cut(agent: AgentDouble, admin: Api) -> None:
    await agent.open({"disk-a": SIZE})
    message = agent.message({"disk-a": CONTENT})
    await agent.send(replace(message, label="frozen", freeze_ms=120, rounds=1 << 40))
    found = await admin.call("GET", "/servers/web-1/checkpoints/latest", 200)
    assert (found["freezeMs"], found["rounds"], found["label"]) == (120, (1 << 31) - 1, "frozen")
    cut = (await admin.call("GET", "/servers/web-1/replication", 200))["lastCut"]
    assert (cut["freezeMs"], cut["checkpointId"]) == (120, found["id"])


async def test_the_filter_finds_silent_agents_by_what_is_shown(
    agent: AgentDouble, admin: Api, clock: ManualClock, services: Services
) -> None:
    await AgentDouble.enrolled(services, "db-1")
    await beat(agent, "following")

    async def names(state: str) -> list[str]:
        path = f"/servers?replicationState={state}"
        return [server["name"] for server in (await admin.call("GET", path, 200))["items"]]

    assert (await names("CONTINUOUS"), await names("DISCONNECTED")) == (["web-1"], [])
    assert await names("STOPPED") == ["db-1"]
    clock.advance(timedelta(minutes=1))
    assert (await names("CONTINUOUS"), await names("DISCONNECTED")) == ([], ["web-1"])
    assert await names("STOPPED") == ["db-1"]


async def test_a_thousand_servers_are_listed_with_as_many_queries_as_one(
    agent: AgentDouble, admin: Api, services: Services, clock: ManualClock
) -> None:
    await beat(agent, "following")
    await admin.call("GET", "/servers", 200)
    with counted(services.database) as one:
        await admin.call("GET", "/servers?limit=500", 200)
    status = asdict(Status("following", clock.now().isoformat(), disks=(DISK, DISK)))

    async def multiply(uow: UnitOfWork) -> None:
        row = await find_server(uow, agent.server)
        columns = [column.key for column in ServerRow.__table__.columns]
        alike = {key: getattr(row, key) for key in columns} | {"status": status}
        rows = [alike | {"id": f"srv-{number:04}", "name": f"w-{number}"} for number in range(1000)]
        await uow.session.execute(insert(ServerRow), rows)

    await services.database.run(multiply)
    with counted(services.database) as many:
        page = await admin.call("GET", "/servers?limit=500", 200)
    assert len(page["items"]) == 500
    assert page["items"][0]["backlogBytes"] == 2 * DISK.backlog
    assert len(many) == len(one)
