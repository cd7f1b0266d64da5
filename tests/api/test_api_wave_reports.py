"""Reports of waves over REST: the newest runs and the servers in short, signed."""

from collections.abc import Mapping
from typing import Any

from app.contract.signedreport import opened
from app.contract.words import Role
from tests.api.conftest import Api, Callers
from tests.api.test_api_waves import SHOP, fleet
from tests.replication.agent_double import AgentDouble

__all__ = ["fleet"]

WAVE = {"name": "first", "applications": ["shop"]}


async def report_of(api: Api) -> Any:
    response = await api.http.get("/waves/first/report")
    assert response.status_code == 200, response.text
    return opened(response.content).report


async def test_a_wave_is_reported_with_its_newest_runs_and_its_servers(
    fleet: Mapping[str, AgentDouble], admin: Api
) -> None:
    await admin.call("POST", "/applications", 201, SHOP)
    await admin.call("POST", "/waves", 201, WAVE)
    empty = await report_of(admin)
    assert (empty["name"], empty["runs"], empty["servers"]) == ("first", [], [])
    run = await admin.call("POST", "/waves/first:test", 202)
    report = await report_of(admin)
    assert [(each["operation"], len(each["servers"])) for each in report["runs"]] == [("test", 2)]
    assert run["state"] == report["runs"][0]["state"]
    (db, web) = sorted(report["servers"], key=lambda each: str(each["name"]))
    assert (db["name"], web["name"], web["application"], web["checkpointNumber"]) == (
        "db-1",
        "web-1",
        "shop",
        1,
    )
    assert ["v3", "PROVED"] in web["levels"]
    assert "NOT_TESTED" in web["gaps"]
    page = await admin.http.get("/waves/first/report", headers={"Accept": "text/html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert opened(page.content).is_page
    assert b"Newest run: test" in page.content


async def test_a_wave_of_another_project_has_no_report(
    fleet: Mapping[str, AgentDouble], admin: Api, callers: Callers
) -> None:
    await admin.call("POST", "/applications", 201, SHOP)
    await admin.call("POST", "/waves", 201, WAVE)
    mine = (await admin.call("POST", "/projects", 201, {"name": "mine"}))["id"]
    stranger = await callers.token(Role.VIEWER, mine)
    assert await stranger.refused("GET", "/waves/first/report") == (404, "WAVE_NOT_FOUND")
