"""Cutovers and what follows them over REST: what is answered and refused, once, to whom, and audited."""

from typing import Any

import pytest
from sqlalchemy import select

from app.contract.words import ReplicationState, Role
from app.kit.database import UnitOfWork
from app.migration.access.tables import AgentCredential
from app.migration.cutover.kinds import cutover_kinds
from app.migration.cutover.tables import CutoverEvidenceRow, CutoverRow
from app.migration.launch.kinds import launch_kinds
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from tests.api.conftest import Api, Callers
from tests.api.test_api_tests import MACHINE
from tests.replication.agent_double import LEASE, AgentDouble

WEB = "/servers/web-1"
ORDERS = ("cutover", "revert", "finalize", "disconnect", "archive")


@pytest.fixture
async def agent(callers: Callers, services: Services) -> AgentDouble:
    """A server that is ready for its cutover."""
    assert callers
    for kind in (*launch_kinds(services), *cutover_kinds(services)):
        services.kinds.add(kind)
    agent = await AgentDouble.enrolled(services, "web-1")
    await agent.replicate({"disk-a": b"x" * 65536})
    async with services.database.begin() as uow:
        server = await row_of(uow, agent)
        server.lifecycle_state = "READY_FOR_CUTOVER"
        server.replication_state, server.lease_until = ReplicationState.CONTINUOUS, uow.now + LEASE
        (await uow.session.get_one(CheckpointRow, server.head_checkpoint_id)).label = "frozen"
    return agent


async def row_of(uow: UnitOfWork, agent: AgentDouble) -> ServerRow:
    return await uow.session.get_one(ServerRow, agent.server)


async def cut_over(services: Services, agent: AgentDouble, job: str, state: str) -> str:
    """What a job leaves; the cutover's id."""
    async with services.database.begin() as uow:
        (await row_of(uow, agent)).lifecycle_state = "CUTTING_OVER"
        row = CutoverRow(
            id="cut-1",
            server_id=agent.server,
            job_id=job,
            effect=f"{job}.choose.0",
            state=state,
            target="qemu",
            node="rack-1",
            checkpoint_number=2,
            machine=MACHINE,
            forwards=[{"guest": 8080, "host": 40080}],
            source_active=False,
            passed_over=["HEAD_DEGRADED"],
            override="scratch disk",
            phases=[
                {"phase": "stop", "startedAt": "2026-01-02T03:00:00+00:00", "finishedAt": None},
                {
                    "phase": "check",
                    "startedAt": "2026-01-02T03:00:40+00:00",
                    "finishedAt": "2026-01-02T03:00:42.500000+00:00",
                },
            ],
            created_at=uow.now,
            passed=True,
            proof={"detail": "all checks passed", "accelerator": "tcg"},
            ledger=[],
        )
        uow.session.add(row)
        await uow.session.flush()
        uow.session.add(CutoverEvidenceRow(cutover_id="cut-1", name="screenshot", content=b"\x89PNG"))
    return "cut-1"


async def audited(admin: Api, agent: AgentDouble) -> list[dict[str, Any]]:
    found = await admin.call("GET", f"/audit?resource={agent.server}", 200)
    return list(found["items"])


async def test_a_cutover_is_a_job_that_is_ordered_once_and_audited(agent: AgentDouble, admin: Api) -> None:
    plan = await admin.call("GET", f"{WEB}/plan?operation=cutover", 200)
    assert (plan["possible"], len(plan["steps"])) == (True, 9)
    assert [each["code"] for each in plan["findings"]] == ["VERIFICATION_DUE"]
    body = {"allowActiveSource": True, "override": " it is late "}
    job = await admin.call("POST", f"{WEB}:cutover", 202, body, Idempotency_Key="k")
    assert (job["kind"], job["step"], job["serverName"]) == ("server.cutover", "choose", "web-1")
    again = await admin.call("POST", f"{WEB}:cutover", 202, body, Idempotency_Key="k")
    assert again["id"] == job["id"]
    assert await admin.refused("POST", f"{WEB}:cutover") == (409, "JOB_STANDS")
    for operation in ORDERS[3:]:
        assert (await admin.refused("POST", f"{WEB}:{operation}"))[0] == 409
    (entry,) = [each for each in await audited(admin, agent) if each["action"] == "server.cutover"]
    assert (entry["details"]["override"], entry["details"]["allowActiveSource"]) == ("it is late", True)
    plan = await admin.call("GET", f"{WEB}/plan?operation=cutover", 200)
    assert (plan["possible"], plan["findings"][0]["code"]) == (False, "JOB_STANDS")


async def test_what_cannot_be_cut_over_is_refused_and_planned_with_the_same_words(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    assert await admin.refused("POST", f"{WEB}:cutover", {"target": "moon"}) == (404, "TARGET_NOT_FOUND")
    assert (await admin.refused("POST", f"{WEB}:cutover", {"override": " "}))[0] == 422
    async with services.database.begin() as uow:
        (await row_of(uow, agent)).goal = "PAUSE"
    assert await admin.refused("POST", f"{WEB}:cutover") == (409, "REPLICATION_UNHEALTHY")
    plan = await admin.call("GET", f"{WEB}/plan?operation=cutover&target=moon", 200)
    assert {"TARGET_NOT_FOUND", "REPLICATION_UNHEALTHY"} <= {each["code"] for each in plan["findings"]}
    assert await admin.refused("POST", f"{WEB}:finalize") == (409, "LIFECYCLE_NOT_ALLOWED")
    assert await admin.refused("GET", f"{WEB}/cutovers/latest") == (404, "CUTOVER_NOT_FOUND")


async def test_cutovers_are_shown_reverted_and_finalized(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    job = (await admin.call("POST", f"{WEB}:cutover", 202))["id"]
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    cutover = await cut_over(services, agent, job, "LAUNCHED")
    (found,) = (await admin.call("GET", f"{WEB}/cutovers", 200))["items"]
    assert (found["id"], found["state"], found["downtimeSeconds"]) == (cutover, "LAUNCHED", 42.5)
    assert (found["passedOver"], found["sourceActive"]) == (["HEAD_DEGRADED"], False)
    picture = await admin.http.get(f"{WEB}/cutovers/latest/screenshot")
    assert (picture.headers["content-type"], picture.content) == ("image/png", b"\x89PNG")
    assert await admin.refused("GET", f"{WEB}/cutovers/latest/serial") == (404, "EVIDENCE_NOT_FOUND")
    assert await admin.refused("POST", f"{WEB}:finalize") == (409, "CUTOVER_NOT_SUCCEEDED")
    assert await admin.refused("POST", f"{WEB}:disconnect") == (409, "LIFECYCLE_NOT_ALLOWED")
    server = await admin.call("GET", WEB, 200)
    assert server["allowedOperations"] == ["finalize", "revert", "reverse"]
    reverted = await admin.call("POST", f"{WEB}:revert", 202)
    assert (reverted["kind"], reverted["node"]) == ("server.revert-cutover", "rack-1")
    assert (await admin.call("GET", WEB, 200))["lifecycleState"] == "CUTTING_OVER"
    await admin.call("POST", f"/jobs/{reverted['id']}:cancel", 202)
    async with services.database.begin() as uow:
        (await uow.session.get_one(CutoverRow, cutover)).state = "SUCCEEDED"
    assert (await admin.call("POST", f"{WEB}:finalize", 202))["kind"] == "server.finalize"
    assert {"server.revert", "server.finalize"} <= {each["action"] for each in await audited(admin, agent)}


async def test_a_source_that_is_gone_is_given_up_with_a_reason_that_is_audited(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    job = (await admin.call("POST", f"{WEB}:cutover", 202))["id"]
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    await cut_over(services, agent, job, "SUCCEEDED")
    gone = {"sourceGone": True, "reason": "burnt down"}
    for half in ({"sourceGone": True}, {"reason": "burnt down"}, {"sourceGone": True, "reason": " "}):
        assert (await admin.refused("POST", f"{WEB}:revert", half))[0] == 422
    assert await admin.refused("POST", f"{WEB}:revert", gone) == (409, "SOURCE_HEARD")
    assert (await admin.call("GET", f"{WEB}/plan?operation=revert", 200))["findings"] == []
    async with services.database.begin() as uow:
        (await row_of(uow, agent)).lease_until = uow.now - LEASE
    (finding,) = (await admin.call("GET", f"{WEB}/plan?operation=revert", 200))["findings"]
    assert (finding["code"], "--source-gone" in finding["remedy"]) == ("SOURCE_NOT_HEARD", True)
    waits = await admin.call("POST", f"{WEB}:revert", 202)
    again = await admin.call("POST", f"{WEB}:revert", 202, gone)
    assert (again["id"], again["kind"]) == (waits["id"], "server.revert-cutover")
    assert (await admin.call("GET", f"{WEB}/cutovers/latest", 200))["sourceGone"] == "burnt down"
    details = [each["details"] for each in await audited(admin, agent) if each["action"] == "server.revert"]
    assert details == [{"job": waits["id"], **gone}, {"job": waits["id"]}]


async def test_a_disconnected_server_has_no_agent_any_more_and_is_archived_out_of_the_lists(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    found = await admin.call("POST", f"{WEB}:disconnect", 200)
    assert (found["lifecycleState"], found["goal"]) == ("DISCONNECTED", "STOP")
    assert found["allowedOperations"] == ["archive"]
    async with services.database.reading() as uow:
        mine = select(AgentCredential).where(AgentCredential.server_id == agent.server)
        assert all(row.revoked_at is not None for row in await uow.session.scalars(mine))
    for _ in range(2):
        assert (await admin.call("POST", f"{WEB}:archive", 200))["archived"] is True
    assert (await admin.call("GET", "/servers", 200))["items"] == []
    (shown,) = (await admin.call("GET", "/servers?archived=true", 200))["items"]
    assert shown["id"] == agent.server
    actions = [each["action"] for each in await audited(admin, agent)]
    assert (actions.count("server.disconnect"), actions.count("server.archive")) == (1, 2)


async def test_viewers_and_other_projects_cut_nothing_over(
    agent: AgentDouble, admin: Api, callers: Callers
) -> None:
    mine = (await admin.call("POST", "/projects", 201, {"name": "mine"}))["id"]
    stranger = await callers.token(Role.OPERATOR, mine)
    viewer = await callers.token(Role.VIEWER)
    for operation in ORDERS:
        assert await stranger.refused("POST", f"{WEB}:{operation}") == (404, "SERVER_NOT_FOUND")
        assert (await viewer.refused("POST", f"{WEB}:{operation}"))[0] == 403
    assert await stranger.refused("GET", f"{WEB}/cutovers") == (404, "SERVER_NOT_FOUND")
    assert (await viewer.call("GET", f"{WEB}/plan?operation=cutover", 200))["possible"] is True
