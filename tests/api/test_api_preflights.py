"""Preflights over REST: asked for, listed, read with their verdict, and by nobody else."""

import pytest

from app.contract.words import LifecycleState, Role
from app.kit.database import UnitOfWork
from app.migration.preflight import service
from app.migration.servers.enrolment import find_server
from app.migration.services import Services
from app.wire import version
from app.wire.preflight import DiskCheck, FilesystemCheck, Finding, NetworkCheck, Preflight
from tests.api.conftest import Api, Callers
from tests.replication.agent_double import AgentDouble

MIB = 1 << 20
NETWORK = NetworkCheck(30, 0, 2000, 1000, 50, 10 * MIB, 20 * MIB, is_tls=True, proxy="proxy:3128")
DISK = DiskCheck("a", "/dev/sda", 4000 * MIB, 2000 * MIB, 512, 4096, 200 * MIB, 90, churn_rate=MIB)
FILES = FilesystemCheck("a", "ext4", "/dev/sda1", "/", True, "can be frozen", False, "sda1 is mounted")
SWAP = Finding("SWAP", "note", "/dev/sda", "swap space", "nothing")


@pytest.fixture
async def agent(callers: Callers, services: Services) -> AgentDouble:
    assert callers
    return await AgentDouble.enrolled(services, "web-1")


async def deliver(services: Services, agent: AgentDouble, ident: str, *findings: Finding) -> None:
    """What the agent's end does."""
    now = services.clock.now().isoformat()
    report = Preflight(
        ident,
        now,
        now,
        version.VERSION,
        "1.0",
        network=NETWORK,
        disks=(DISK,),
        filesystems=(FILES,),
        findings=findings,
    )
    await services.database.run(lambda uow: service.accept(uow, agent.server, report))


async def test_a_preflight_is_asked_for_once_and_judged_when_it_is_there(
    agent: AgentDouble, services: Services, admin: Api
) -> None:
    asked = await admin.call("POST", "/servers/web-1:preflight", 202)
    assert (asked["state"], asked["verdict"], asked["report"]) == ("PENDING", None, None)
    assert (await admin.call("POST", "/servers/web-1:preflight", 202))["id"] == asked["id"]
    await deliver(services, agent, asked["id"], SWAP)
    found = await admin.call("GET", "/servers/web-1/preflights/latest", 200)
    same = await admin.call("GET", f"/servers/{agent.server}/preflights/{asked['id']}", 200)
    assert (same["id"], same["report"]) == (found["id"], found["report"])
    assert (found["id"], found["state"]) == (asked["id"], "SUCCEEDED")
    verdict, report = found["verdict"], found["report"]
    assert verdict["outcome"] == "OK"
    assert verdict["findings"][0] == {
        "code": "SWAP",
        "severity": "note",
        "subject": "/dev/sda",
        "text": "swap space",
        "remedy": "nothing",
    }
    assert verdict["estimate"]["wireBytes"] == 1000 * MIB
    assert verdict["estimate"]["bottleneck"] == "network"
    assert verdict["estimate"]["converges"] is True
    assert report["network"]["proxy"] == "proxy:3128"
    assert (report["disks"][0]["toRead"], report["filesystems"][0]["mountPoint"]) == (2000 * MIB, "/")
    again = await admin.call("POST", "/servers/web-1:preflight", 202)
    assert again["id"] != asked["id"]
    (entry, *_) = (await admin.call("GET", f"/audit?resource={agent.server}", 200))["items"]
    assert entry["action"] == "server.preflight"


async def test_preflights_are_listed_the_newest_first(
    agent: AgentDouble, services: Services, admin: Api
) -> None:
    for _ in range(3):
        asked = await admin.call("POST", "/servers/web-1:preflight", 202)
        await deliver(services, agent, asked["id"])
    listed = (await admin.call("GET", "/servers/web-1/preflights", 200))["items"]
    ids = [each["id"] for each in listed]
    assert ids == sorted(ids, reverse=True)
    first = await admin.call("GET", "/servers/web-1/preflights?limit=2", 200)
    rest = await admin.call("GET", f"/servers/web-1/preflights?cursor={first['nextCursor']}", 200)
    assert [each["id"] for each in first["items"] + rest["items"]] == ids
    assert rest["nextCursor"] is None


async def test_a_blocker_of_the_agent_blocks(agent: AgentDouble, services: Services, admin: Api) -> None:
    await deliver(services, agent, "", Finding("NO_DISKS", "blocker", "host", "no disk", "name one"))
    found = await admin.call("GET", "/servers/web-1/preflights/latest", 200)
    assert found["verdict"]["outcome"] == "BLOCKED"


async def test_what_is_not_there_is_not_found(agent: AgentDouble, admin: Api) -> None:
    assert agent
    for ref in ("latest", "pfl-unknown", "é"):
        code = (404, "PREFLIGHT_NOT_FOUND")
        assert await admin.refused("GET", f"/servers/web-1/preflights/{ref}") == code
    assert await admin.refused("POST", "/servers/nope:preflight") == (404, "SERVER_NOT_FOUND")


async def test_a_viewer_reads_and_does_not_ask(
    agent: AgentDouble, services: Services, callers: Callers
) -> None:
    await deliver(services, agent, "")
    viewer = await callers.token(Role.VIEWER)
    assert await viewer.refused("POST", "/servers/web-1:preflight") == (403, "ROLE_TOO_SMALL")
    await viewer.call("GET", "/servers/web-1/preflights/latest", 200)


async def test_preflights_of_other_projects_do_not_exist(
    agent: AgentDouble, services: Services, callers: Callers, admin: Api
) -> None:
    await deliver(services, agent, "")
    other = await admin.call("POST", "/projects", 201, {"name": "other"})
    caller = await callers.token(Role.OPERATOR, other["id"])
    for path in ("preflights", "preflights/latest"):
        assert await caller.refused("GET", f"/servers/{agent.server}/{path}") == (404, "SERVER_NOT_FOUND")
    code = (404, "SERVER_NOT_FOUND")
    assert await caller.refused("POST", f"/servers/{agent.server}:preflight") == code


async def test_a_server_that_was_disconnected_is_not_asked(
    agent: AgentDouble, services: Services, admin: Api
) -> None:
    async def disconnect(uow: UnitOfWork) -> None:
        (await find_server(uow, agent.server)).lifecycle_state = LifecycleState.DISCONNECTED

    await services.database.run(disconnect)
    assert await admin.refused("POST", "/servers/web-1:preflight") == (409, "SERVER_DISCONNECTED")
