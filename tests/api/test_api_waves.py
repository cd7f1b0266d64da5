"""Waves and applications over REST: membership, order, versions, runs, and nobody else's."""

from collections.abc import Mapping

import pytest
from sqlalchemy import update

from app.contract.words import Role
from app.migration.launch.kinds import launch_kinds
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.waves.kinds import wave_kinds
from tests.api.conftest import Api, Callers
from tests.replication.agent_double import AgentDouble

SHOP = {"name": "shop", "servers": [{"server": "web-1", "group": 2}, {"server": "db-1"}]}


@pytest.fixture
async def fleet(callers: Callers, services: Services) -> Mapping[str, AgentDouble]:
    """Two servers that can be tested and one that cannot."""
    assert callers
    for kind in (*launch_kinds(services), *wave_kinds(services)):
        services.kinds.add(kind)
    agents = {name: await AgentDouble.enrolled(services, name) for name in ("db-1", "web-1", "new-1")}
    for name in ("db-1", "web-1"):
        await agents[name].replicate({"disk-a": b"x" * 65536})
    return agents


async def test_an_application_is_made_changed_and_removed(
    fleet: Mapping[str, AgentDouble], admin: Api
) -> None:
    made = await admin.call("POST", "/applications", 201, SHOP, Idempotency_Key="k")
    assert (await admin.call("POST", "/applications", 201, SHOP, Idempotency_Key="k"))["id"] == made["id"]
    assert made["id"].startswith("app-")
    assert [(each["name"], each["group"]) for each in made["servers"]] == [("db-1", 1), ("web-1", 2)]
    assert "test" in made["servers"][0]["allowedOperations"]
    assert await admin.refused("POST", "/applications", SHOP) == (409, "APPLICATION_NAME_TAKEN")
    other = {"name": "other", "servers": [{"server": "web-1"}]}
    assert await admin.refused("POST", "/applications", other) == (409, "SERVER_IN_APPLICATION")
    unknown = {"name": "other", "servers": [{"server": "web-9"}]}
    assert await admin.refused("POST", "/applications", unknown) == (404, "SERVER_NOT_FOUND")
    path = "/applications/shop"
    changes = {"servers": [{"server": fleet["web-1"].server}], "description": "the shop"}
    assert (await admin.refused("PATCH", path, changes))[0] == 428
    changed = await admin.call("PATCH", path, 200, changes, If_Match='"1"')
    assert ([each["name"] for each in changed["servers"]], changed["version"]) == (["web-1"], 2)
    assert await admin.refused("PATCH", path, changes, If_Match='"1"') == (412, "APPLICATION_CHANGED")
    for wrong in ({"name": "a b"}, {"servers": [{"server": "db-1", "group": 0}]}, {"color": "red"}):
        assert (await admin.refused("PATCH", path, wrong, If_Match='"2"'))[0] == 422, wrong
    assert await admin.refused("DELETE", path, If_Match='"1"') == (412, "APPLICATION_CHANGED")
    await admin.call("DELETE", path, 204, If_Match='"2"')
    assert await admin.refused("GET", path) == (404, "APPLICATION_NOT_FOUND")
    await admin.call("POST", "/applications", 201, SHOP)
    actions = [entry["action"] for entry in (await admin.call("GET", "/audit", 200))["items"]]
    assert [each for each in actions if each.startswith("application.")] == [
        "application.create",
        "application.delete",
        "application.update",
        "application.create",
    ]


async def test_applications_come_after_others_and_a_circle_is_named(callers: Callers, admin: Api) -> None:
    for name, after in (("db", []), ("shop", ["db"]), ("front", ["shop"])):
        await admin.call("POST", "/applications", 201, {"name": name, "after": after})
    response = await admin.http.patch(
        "/applications/db", json={"after": ["front"]}, headers={"If-Match": '"1"'}
    )
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "APPLICATION_ORDER_CIRCULAR")
    assert problem["cycle"] == ["db", "front", "shop", "db"]
    assert (await admin.call("GET", "/applications/db", 200))["after"] == []
    await admin.call("DELETE", "/applications/shop", 204, If_Match='"1"')
    assert (await admin.call("GET", "/applications/front", 200))["after"] == []
    await admin.call("PATCH", "/applications/db", 200, {"after": ["front"]}, If_Match='"1"')


async def test_a_wave_has_applications_a_date_and_limits(
    fleet: Mapping[str, AgentDouble], admin: Api
) -> None:
    await admin.call("POST", "/applications", 201, SHOP)
    await admin.call("POST", "/applications", 201, {"name": "mail"})
    body = {"name": "one", "plannedAt": "2026-03-07T22:00:00Z", "applications": ["shop"]}
    made = await admin.call("POST", "/waves", 201, body)
    assert made["id"].startswith("wav-")
    assert (made["serversAtOnce"], made["stopAfterFailures"], made["serverCount"]) == (4, None, 2)
    assert made["states"] == [{"state": "READY_FOR_TEST", "servers": 2}]
    assert await admin.refused("POST", "/waves", {"name": "one"}) == (409, "WAVE_NAME_TAKEN")
    two = {"name": "two", "applications": ["shop"]}
    assert await admin.refused("POST", "/waves", two) == (409, "APPLICATION_IN_WAVE")
    changes = {"applications": ["mail"], "plannedAt": None, "stopAfterFailures": 2}
    changed = await admin.call("PATCH", "/waves/one", 200, changes, If_Match='"1"')
    assert ([each["name"] for each in changed["applications"]], changed["plannedAt"]) == (["mail"], None)
    assert await admin.refused("PATCH", "/waves/one", changes, If_Match='"1"') == (412, "WAVE_CHANGED")
    assert (await admin.refused("PATCH", "/waves/one", {"serversAtOnce": 0}, If_Match='"2"'))[0] == 422
    await admin.call("POST", "/waves", 201, two)
    assert (await admin.call("GET", "/applications/shop", 200))["wave"]["name"] == "two"
    names = [each["name"] for each in (await admin.call("GET", "/applications?wave=two", 200))["items"]]
    assert names == ["shop"]
    page = await admin.call("GET", "/waves?limit=1", 200)
    rest = await admin.call("GET", f"/waves?limit=1&cursor={page['nextCursor']}", 200)
    assert [each["name"] for each in (*page["items"], *rest["items"])] == ["one", "two"]
    assert [each["name"] for each in (await admin.call("GET", "/waves?q=TW", 200))["items"]] == ["two"]
    await admin.call("DELETE", "/waves/two", 204, If_Match='"1"')
    assert (await admin.call("GET", "/applications/shop", 200))["wave"] is None


async def test_what_belongs_together_lies_in_one_project(
    fleet: Mapping[str, AgentDouble], admin: Api
) -> None:
    await admin.call("POST", "/projects", 201, {"name": "mine"})
    await admin.call("POST", "/applications", 201, {"name": "shop"})
    foreign = {"name": "foreign", "project": "mine"}
    for members in ({"servers": [{"server": "db-1"}]}, {"after": ["shop"]}):
        assert await admin.refused("POST", "/applications", {**foreign, **members}) == (
            422,
            "PROJECTS_DIFFER",
        )
    assert await admin.refused("POST", "/waves", {**foreign, "applications": ["shop"]}) == (
        422,
        "PROJECTS_DIFFER",
    )


async def wave(admin: Api) -> None:
    """A wave of all three servers."""
    servers = [*SHOP["servers"], {"server": "new-1", "group": 2}]
    await admin.call("POST", "/applications", 201, {**SHOP, "servers": servers})
    await admin.call("POST", "/waves", 201, {"name": "one", "applications": ["shop"]})


async def test_a_plan_says_the_order_and_who_would_be_refused(
    fleet: Mapping[str, AgentDouble], admin: Api
) -> None:
    await wave(admin)
    plan = await admin.call("GET", "/waves/one/plan", 200)
    assert [(each["server"]["name"], each["after"], each["state"]) for each in plan["servers"]] == [
        ("db-1", [], "WAITING"),
        ("new-1", ["db-1"], "REFUSED"),
        ("web-1", ["db-1"], "WAITING"),
    ]
    refused = plan["servers"][1]
    assert (refused["code"], refused["lifecycleState"]) == ("LIFECYCLE_NOT_ALLOWED", "NOT_READY")
    await admin.call("POST", "/servers/db-1:test", 202)
    states = {
        each["server"]["name"]: (each["state"], each["code"])
        for each in (await admin.call("GET", "/applications/shop/plan?operation=test", 200))["servers"]
    }
    assert states["db-1"] == ("REFUSED", "JOB_STANDS")
    assert states["web-1"] == ("SKIPPED", "COMES_AFTER_FAILED")
    plan = await admin.call("GET", "/waves/one/plan?operation=terminateTest", 200)
    assert plan["servers"][2]["detail"] == "it has no test machine"
    plan = await admin.call("GET", "/waves/one/plan?operation=markReady", 200)
    assert {each["state"] for each in plan["servers"]} == {"REFUSED"}
    await admin.call("POST", "/waves", 201, {"name": "empty"})
    assert await admin.refused("GET", "/waves/empty/plan") == (409, "NOTHING_TO_RUN")


async def test_a_run_is_a_job_that_is_ordered_once_and_aborted(
    fleet: Mapping[str, AgentDouble], admin: Api
) -> None:
    await wave(admin)
    assert await admin.refused("GET", "/waves/one/runs/latest") == (404, "RUN_NOT_FOUND")
    assert await admin.refused("POST", "/waves/one:abort") == (409, "NO_RUN")
    sent = await admin.http.post("/waves/one:test", headers={"Idempotency-Key": "k"})
    job = sent.json()
    assert (sent.status_code, job["kind"], job["state"]) == (202, "wave.test", "PENDING")
    assert sent.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert (await admin.call("POST", "/waves/one:test", 202, Idempotency_Key="k"))["id"] == job["id"]
    for again in ("/waves/one:test", "/waves/one:revert", "/applications/shop:test"):
        assert await admin.refused("POST", again) == (409, "RUN_STANDS"), again
    assert await admin.refused("DELETE", "/waves/one", If_Match='"1"') == (409, "RUN_STANDS")
    run = await admin.call("GET", f"/waves/one/runs/{job['id']}", 200)
    assert run["counts"] == [{"state": "WAITING", "servers": 3}]
    assert (run["operation"], run["wave"]["name"], run["attempt"]) == ("test", "one", 1)
    aborted = await admin.call("POST", "/waves/one:abort", 202, {"running": "cancel"})
    assert (aborted["abort"], aborted["counts"]) == ("cancel", [{"state": "SKIPPED", "servers": 3}])
    assert (await admin.refused("POST", "/waves/one:abort", {"running": "maybe"}))[0] == 422
    head = (await admin.call("GET", "/waves/one", 200))["run"]
    assert (head["jobId"], head["operation"]) == (job["id"], "test")
    await admin.call("POST", f"/jobs/{job['id']}:cancel", 202)
    second = await admin.call("POST", "/applications/shop:terminateTest", 202)
    assert second["kind"] == "application.terminate-test"
    runs = await admin.call("GET", "/applications/shop/runs", 200)
    assert [(each["jobId"], each["servers"]) for each in runs["items"]] == [(second["id"], [])]
    runs = await admin.call("GET", "/waves/one/runs", 200)
    assert [each["state"] for each in runs["items"]] == ["CANCELLED"]
    entries = (await admin.call("GET", "/audit", 200))["items"]
    assert [each["action"] for each in entries if each["action"].startswith("wave.")] == [
        "wave.abort",
        "wave.test",
        "wave.create",
    ]


async def test_marking_tells_for_each_server_whether_it_is_ready(
    fleet: Mapping[str, AgentDouble], admin: Api, services: Services
) -> None:
    await wave(admin)
    await admin.call("POST", "/servers/db-1:test", 202)
    marks = (await admin.call("POST", "/waves/one:markReady", 200))["items"]
    assert [(mark["server"]["name"], mark["marked"]) for mark in marks] == [
        ("db-1", False),
        ("new-1", False),
        ("web-1", False),
    ]
    assert {mark["code"] for mark in marks} == {"LIFECYCLE_NOT_ALLOWED"}
    assert await admin.refused("POST", "/waves/none:markReady") == (404, "WAVE_NOT_FOUND")


async def test_a_cutover_is_ordered_with_its_settings_and_planned_with_its_doubts(
    fleet: Mapping[str, AgentDouble], admin: Api, services: Services
) -> None:
    await admin.call("POST", "/applications", 201, SHOP)
    body = {"allowActiveSource": True, "override": "seen by ann"}
    assert (await admin.refused("POST", "/applications/shop:cutover", {"speed": 9}))[0] == 422
    job = await admin.call("POST", "/applications/shop:cutover", 202, body)
    assert job["kind"] == "application.cutover"
    (entry,) = [
        each
        for each in (await admin.call("GET", "/audit", 200))["items"]
        if each["action"] == "application.cutover"
    ]
    assert (entry["details"]["override"], entry["details"]["job"]) == ("seen by ann", job["id"])
    async with services.database.begin() as uow:
        await uow.session.execute(update(ServerRow).values(lifecycle_state="READY_FOR_CUTOVER"))
    plan = await admin.call("GET", "/applications/shop/plan?operation=cutover", 200)
    assert [(each["state"], each["code"]) for each in plan["servers"]] == [
        ("REFUSED", "REPLICATION_UNHEALTHY"),
        ("REFUSED", "REPLICATION_UNHEALTHY"),
    ]
    plan = await admin.call("GET", "/applications/shop/plan?operation=finalize", 200)
    assert plan["servers"][0]["code"] == "LIFECYCLE_NOT_ALLOWED"


async def test_other_projects_and_viewers_do_nothing(
    fleet: Mapping[str, AgentDouble], admin: Api, callers: Callers
) -> None:
    await wave(admin)
    mine = (await admin.call("POST", "/projects", 201, {"name": "mine"}))["id"]
    stranger = await callers.token(Role.OPERATOR, mine)
    viewer = await callers.token(Role.VIEWER)
    actions = (":test", ":terminateTest", ":cutover", ":finalize", ":revert", ":markReady", ":abort")
    for noun, code in (("/waves/one", "WAVE_NOT_FOUND"), ("/applications/shop", "APPLICATION_NOT_FOUND")):
        for path in ("", "/plan", "/runs", "/runs/latest"):
            assert await stranger.refused("GET", noun + path) == (404, code), path
        for path in actions:
            assert await stranger.refused("POST", noun + path) == (404, code), path
            assert await viewer.refused("POST", noun + path) == (403, "ROLE_TOO_SMALL"), path
        assert await stranger.refused("DELETE", noun, If_Match='"1"') == (404, code)
    assert (await stranger.call("GET", "/waves", 200))["items"] == []
    assert await stranger.refused("POST", "/waves", {"name": "x"}) == (404, "PROJECT_NOT_FOUND")
