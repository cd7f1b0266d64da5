"""Projects, and with them the conventions that every noun follows."""

import asyncio

import pytest

from tests.api.conftest import Api

NEW = {"name": "shop", "description": "the web shop"}


async def test_a_project_is_found_by_id_and_by_name(admin: Api) -> None:
    made = await admin.call("POST", "/projects", 201, NEW)
    assert made["id"].startswith("prj-")
    assert made["createdAt"].endswith("Z")
    assert (made["dedupScope"], made["version"]) == ("project", 1)
    assert await admin.call("GET", f"/projects/{made['id']}", 200) == made
    assert await admin.call("GET", "/projects/shop", 200) == made


async def test_a_taken_name_is_refused_and_nothing_changes(admin: Api) -> None:
    await admin.call("POST", "/projects", 201, NEW)
    assert await admin.refused("POST", "/projects", NEW) == (409, "PROJECT_EXISTS")
    assert len((await admin.call("GET", "/projects?q=shop", 200))["items"]) == 1


@pytest.mark.parametrize(
    "body", [{}, {"name": "Shop"}, {"name": "-"}, {"name": "a" * 64}, {"name": "shop", "colour": "red"}]
)
async def test_a_wrong_body_is_refused(admin: Api, body: dict[str, str]) -> None:
    assert (await admin.refused("POST", "/projects", body))[0] == 422


async def test_a_change_needs_the_version_that_was_read(admin: Api) -> None:
    await admin.call("POST", "/projects", 201, NEW)
    read = await admin.http.get("/projects/shop")
    assert read.headers["etag"] == '"1"'
    change = {"description": "closed"}
    assert await admin.refused("PATCH", "/projects/shop", change) == (428, "IF_MATCH_REQUIRED")
    assert await admin.refused("PATCH", "/projects/shop", change, If_Match="1") == (422, "IF_MATCH_INVALID")
    changed = await admin.call("PATCH", "/projects/shop", 200, change, If_Match='"1"')
    assert (changed["name"], changed["description"], changed["version"]) == ("shop", "closed", 2)
    assert await admin.refused("PATCH", "/projects/shop", change, If_Match='"1"') == (412, "PROJECT_CHANGED")


async def test_a_project_cannot_take_the_name_of_another(admin: Api) -> None:
    await admin.call("POST", "/projects", 201, NEW)
    taken = {"name": "default"}
    assert await admin.refused("PATCH", "/projects/shop", taken, If_Match='"1"') == (409, "PROJECT_EXISTS")


async def test_pages_follow_each_other_without_gap_or_repetition(admin: Api) -> None:
    for number in range(5):
        await admin.call("POST", "/projects", 201, {"name": f"p{number}"})
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await admin.call("GET", f"/projects?limit=2{cursor}", 200)
        seen += [project["name"] for project in page["items"]]
        cursor = page["nextCursor"] and f"&cursor={page['nextCursor']}"
    assert seen == ["default", "p0", "p1", "p2", "p3", "p4"]


@pytest.mark.parametrize(
    ("query", "code"),
    [("limit=0", "INVALID"), ("limit=100000", "LIMIT_TOO_LARGE"), ("cursor=%21", "CURSOR_INVALID")],
)
async def test_a_wrong_page_is_refused(admin: Api, query: str, code: str) -> None:
    assert await admin.refused("GET", f"/projects?{query}") == (422, code)


async def test_a_repeated_request_makes_the_project_once(admin: Api) -> None:
    first = await admin.call("POST", "/projects", 201, NEW, Idempotency_Key="k1")
    again = await admin.http.post("/projects", json=NEW, headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.json()) == (201, first)
    assert again.headers["idempotency-replayed"] == "true"
    other = {"name": "other"}
    assert await admin.refused("POST", "/projects", other, Idempotency_Key="k1") == (
        422,
        "IDEMPOTENCY_KEY_REUSED",
    )


async def test_a_request_sent_many_times_at_once_makes_the_project_once(admin: Api) -> None:
    send = [admin.http.post("/projects", json=NEW, headers={"Idempotency-Key": "k1"}) for _ in range(5)]
    answers = await asyncio.gather(*send)
    codes = {answer.status_code for answer in answers}
    assert codes <= {201, 409}
    assert {answer.json()["id"] for answer in answers if answer.status_code == 201}.__len__() == 1
    busy = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert busy <= {"IDEMPOTENCY_KEY_BUSY"}


async def test_changes_stand_in_the_audit_trail(admin: Api) -> None:
    made = await admin.call("POST", "/projects", 201, NEW, X_Request_Id="req-from-client")
    await admin.call("PATCH", "/projects/shop", 200, {"description": "closed"}, If_Match='"1"')
    await admin.refused("POST", "/projects", NEW)
    page = await admin.call("GET", f"/audit?resource={made['id']}", 200)
    assert [entry["action"] for entry in page["items"]] == ["project.update", "project.create"]
    update, create = page["items"]
    assert update["details"] == {"description": "closed"}
    assert create["requestId"] == "req-from-client"
    assert create["projectId"] == made["id"]


WINDOW = {"days": ["Mon", "Tue"], "from": "22:00", "to": "06:00", "zone": "Europe/Berlin", "rate": None}
PACE = {"rate": 1 << 20, "windows": [WINDOW]}


async def test_the_pace_of_a_project_is_set_as_a_whole_kept_by_other_changes_and_cleared_by_null(
    admin: Api,
) -> None:
    made = await admin.call("POST", "/projects", 201, NEW)
    assert made["pace"] is None
    paced = await admin.call("PATCH", "/projects/shop", 200, {"pace": PACE}, If_Match='"1"')
    assert paced["pace"] == PACE
    described = await admin.call("PATCH", "/projects/shop", 200, {"description": "x"}, If_Match='"2"')
    assert (described["pace"], described["description"]) == (PACE, "x")
    stopped = await admin.call("PATCH", "/projects/shop", 200, {"pace": {"rate": 0}}, If_Match='"3"')
    assert stopped["pace"] == {"rate": 0, "windows": []}
    cleared = await admin.call("PATCH", "/projects/shop", 200, {"pace": None}, If_Match='"4"')
    assert (cleared["pace"], cleared["description"]) == (None, "x")
    said = [
        entry["details"]
        for entry in (await admin.call("GET", "/audit", 200))["items"]
        if entry["action"] == "project.update"
    ]
    assert {"pace": None} in said


async def test_a_pace_that_cannot_be_used_is_refused_with_its_window_and_the_remedy(admin: Api) -> None:
    await admin.call("POST", "/projects", 201, NEW)
    body = {"pace": {"windows": [WINDOW, WINDOW | {"zone": "Mars/Base"}]}}
    response = await admin.http.patch("/projects/shop", json=body, headers={"If-Match": '"1"'})
    assert response.status_code == 422
    assert "windows.1" in response.text
    assert "Mars/Base" in response.text
    assert "Europe/Berlin or UTC" in response.text
