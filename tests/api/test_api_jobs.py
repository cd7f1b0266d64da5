"""Jobs over REST: lists with filters and pages, events, cancel and retry, and nobody else's."""

import pytest

from app.contract.words import Place, Role
from app.migration.services import Services
from app.work import claims, settling
from app.work.claims import Seat
from app.work.context import Context
from app.work.jobs import Order
from app.work.kinds import JobKind, Step
from app.work.outcomes import Failed
from app.work.settling import Reported
from tests.api.conftest import Api, Callers
from tests.replication.agent_double import AgentDouble


async def nothing(context: Context) -> None:
    """A step without an effect."""


PLAN = JobKind("server.test", (Step("a", Place.CONTROL, nothing), Step("b", Place.VOLUMES, nothing)))


@pytest.fixture
async def agent(callers: Callers, services: Services) -> AgentDouble:
    assert callers
    services.kinds.add(PLAN)
    services.kinds.add(JobKind("other", PLAN.steps))
    return await AgentDouble.enrolled(services, "web-1")


async def order(
    services: Services, project: str, server: str | None = None, kind: str = "server.test"
) -> str:
    wanted = Order(project, server_id=server, requested_by="ann")
    return await services.database.run(lambda uow: services.jobs.enqueue(uow, kind, wanted))


async def fail(services: Services, job: str) -> None:
    """What a worker does with a step that fails for good."""
    seat = Seat(Place.CONTROL, "node", "worker")
    async with services.database.begin() as uow:
        (candidate,) = [
            each for each in await claims.candidates(uow, services.kinds, seat) if each.sign.job_id == job
        ]
        work = await claims.claim(uow, services.jobs.course, candidate, seat)
    assert work is not None
    failed = Failed("NO_BOOTLOADER", "the disk has no bootloader", "install one", is_for_good=True)
    async with services.database.begin() as uow:
        await settling.settle(uow, services.jobs.course, work, Reported(failed), lambda: 0.0)


async def test_a_job_is_shown_with_its_steps_and_what_it_waits_for(
    agent: AgentDouble, services: Services, admin: Api
) -> None:
    project = await admin.call("GET", "/projects/default", 200)
    job = await order(services, project["id"], agent.server)
    found = await admin.call("GET", f"/jobs/{job}", 200)
    assert (found["kind"], found["state"], found["step"]) == ("server.test", "PENDING", "a")
    assert (found["projectName"], found["serverName"]) == ("default", "web-1")
    assert found["waiting"] == {"reason": "WORKER", "detail": "for a free worker of role api"}
    assert found["allowedOperations"] == ["cancel"]
    assert [(step["name"], step["place"], step["state"]) for step in found["steps"]] == [
        ("a", "control", "PENDING"),
        ("b", "volumes", "PENDING"),
    ]
    assert await admin.refused("GET", "/jobs/job-unknown") == (404, "JOB_NOT_FOUND")


async def test_lists_are_paged_and_narrowed(agent: AgentDouble, services: Services, admin: Api) -> None:
    project = (await admin.call("GET", "/projects/default", 200))["id"]
    jobs = [await order(services, project, agent.server) for _ in range(3)]
    other = await order(services, project, kind="other")
    first = await admin.call("GET", "/jobs?limit=3", 200)
    then = await admin.call("GET", f"/jobs?limit=3&cursor={first['nextCursor']}", 200)
    ids = [job["id"] for job in (*first["items"], *then["items"])]
    assert (ids, then["nextCursor"]) == ([other, *reversed(jobs)], None)
    assert first["items"][0]["steps"] == []
    await fail(services, jobs[1])

    async def narrowed(query: str) -> list[str]:
        return [job["id"] for job in (await admin.call("GET", f"/jobs?{query}", 200))["items"]]

    assert await narrowed("state=FAILED") == [jobs[1]]
    assert await narrowed("kind=other") == [other]
    assert await narrowed("server=web-1&project=default&state=PENDING") == [jobs[2], jobs[0]]
    assert await narrowed(f"parent={other}") == []
    assert await admin.refused("GET", "/jobs?server=web-9") == (404, "SERVER_NOT_FOUND")
    assert (await admin.refused("GET", "/jobs?state=DONE"))[0] == 422
    assert await admin.refused("GET", "/jobs?cursor=%25") == (422, "CURSOR_INVALID")


async def test_a_failed_job_says_why_and_is_retried_or_cancelled(
    agent: AgentDouble, services: Services, admin: Api
) -> None:
    project = (await admin.call("GET", "/projects/default", 200))["id"]
    job = await order(services, project, agent.server)
    await fail(services, job)
    failed = await admin.call("GET", f"/jobs/{job}", 200)
    assert (failed["state"], failed["code"], failed["remedy"]) == ("FAILED", "NO_BOOTLOADER", "install one")
    assert failed["allowedOperations"] == ["cancel", "retry"]
    retried = await admin.call("POST", f"/jobs/{job}:retry", 202)
    assert (retried["state"], retried["code"]) == ("PENDING", None)
    await admin.call("POST", f"/jobs/{job}:retry", 202)
    cancelled = await admin.call("POST", f"/jobs/{job}:cancel", 202)
    assert cancelled["state"] == "CANCELLED"
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    assert await admin.refused("POST", f"/jobs/{job}:retry") == (409, "JOB_NOT_ALLOWED")
    entries = (await admin.call("GET", f"/audit?resource={job}", 200))["items"]
    assert {entry["action"] for entry in entries} == {"job.cancel", "job.retry"}


async def test_events_are_numbered_and_paged(agent: AgentDouble, services: Services, admin: Api) -> None:
    project = (await admin.call("GET", "/projects/default", 200))["id"]
    job = await order(services, project, agent.server)
    await fail(services, job)
    everything = (await admin.call("GET", f"/jobs/{job}/events", 200))["items"]
    assert [event["number"] for event in everything] == [1, 2, 3, 4]
    assert [event["level"] for event in everything] == ["info", "info", "error", "error"]
    assert everything[0]["serverId"] == agent.server
    page = await admin.call("GET", f"/jobs/{job}/events?limit=3", 200)
    rest = await admin.call("GET", f"/jobs/{job}/events?limit=3&cursor={page['nextCursor']}", 200)
    assert [event["number"] for event in rest["items"]] == [4]
    later = await admin.call("GET", f"/jobs/{job}/events?after=2", 200)
    assert [event["number"] for event in later["items"]] == [3, 4]
    assert (await admin.refused("GET", f"/jobs/{job}/events?after={10**30}"))[0] == 422


async def test_jobs_of_other_projects_do_not_exist(
    agent: AgentDouble, services: Services, admin: Api, callers: Callers
) -> None:
    mine = (await admin.call("POST", "/projects", 201, {"name": "mine"}))["id"]
    theirs = (await admin.call("GET", "/projects/default", 200))["id"]
    own, foreign = await order(services, mine), await order(services, theirs, agent.server)
    caller = await callers.token(Role.OPERATOR, mine)
    assert [job["id"] for job in (await caller.call("GET", "/jobs", 200))["items"]] == [own]
    for method, path in (
        ("GET", ""),
        ("GET", "/events"),
        ("POST", ":cancel"),
        ("POST", ":retry"),
    ):
        assert await caller.refused(method, f"/jobs/{foreign}{path}") == (404, "JOB_NOT_FOUND")
    viewer = await callers.token(Role.VIEWER, mine)
    assert await viewer.refused("POST", f"/jobs/{own}:cancel") == (403, "ROLE_TOO_SMALL")
