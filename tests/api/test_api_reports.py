"""Reports over REST, on each database: what stands in them, who signs them, and what is not there yet."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.contract.signedreport import OpenedReport, opened
from app.contract.words import Role
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.ids import new_id
from app.kit.settingkeys import ReportSettings
from app.kit.signing import Signer
from app.migration.cutover.tables import CutoverEvidenceRow, CutoverRow
from app.migration.launch.kinds import launch_kinds
from app.migration.report.keys import signer_of
from app.migration.scrub.tables import ScrubRoundRow
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.verification.tables import VerificationRow
from app.work.tables import JobStepRow
from tests.api.conftest import Api, Callers
from tests.api.test_api_tests import MACHINE, judge
from tests.replication.agent_double import AgentDouble

WEB = "/servers/web-1"
CONTENT = b"x" * 65536


@pytest.fixture
async def agent(callers: Callers, services: Services) -> AgentDouble:
    assert callers
    for kind in launch_kinds(services):
        services.kinds.add(kind)
    return await AgentDouble.enrolled(services, "web-1")


async def fetched(api: Api, path: str = f"{WEB}/report") -> tuple[OpenedReport, Any]:
    response = await api.http.get(path)
    assert response.status_code == 200, response.text
    found = opened(response.content)
    return found, found.report


def codes(report: Any, member: str) -> set[str]:
    return {remark["code"] for remark in report[member]}


def results(report: Any) -> dict[str, str]:
    return {level["level"]: level["result"] for level in report["verification"]}


async def test_a_server_without_anything_yields_a_report_with_honest_gaps(
    agent: AgentDouble, admin: Api
) -> None:
    _, report = await fetched(admin)
    assert report["server"]["name"] == "web-1"
    assert (report["checkpoint"], report["disks"], report["cutover"], report["screenshot"]) == (
        None,
        [],
        None,
        None,
    )
    assert set(results(report).values()) == {"NOT_VERIFIED"}
    assert len(results(report)) == 5
    assert {"NO_CHECKPOINT", "NOT_TESTED", "NO_SCREENSHOT", "NOT_CUT_OVER", "V4_NOT_VERIFIED"} <= codes(
        report, "gaps"
    )


async def test_a_copy_that_was_never_tested_proves_what_the_commit_proves(
    agent: AgentDouble, admin: Api
) -> None:
    committed = await agent.replicate({"disk-a": CONTENT})
    _, report = await fetched(admin)
    (disk,) = report["disks"]
    root = committed.disks[0].root
    assert (disk["sourceRoot"], disk["replicaRoot"], disk["volumeRoot"]) == (root, root, None)
    assert (report["checkpoint"]["number"], report["copied"]["sizeBytes"]) == (1, len(CONTENT))
    assert results(report) == {
        "v0": "PROVED",
        "v1": "NOT_VERIFIED",
        "v2": "NOT_VERIFIED",
        "v3": "PROVED",
        "v4": "NOT_VERIFIED",
    }
    assert report["copied"]["storedBytes"] > 0
    assert "NO_CHECKPOINT" not in codes(report, "gaps")


async def boot(agent: AgentDouble, admin: Api, services: Services, root: str, passed: bool = True) -> str:
    """A test whose machine came to a verdict and whose volumes were written; the id of its job."""
    job: str = (await admin.call("POST", f"{WEB}:test", 202))["id"]
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    await judge(services, agent, job, passed=passed)
    async with services.database.begin() as uow:
        server = await uow.session.get_one(ServerRow, agent.server)
        step = await uow.session.get_one(JobStepRow, (job, 2))
        assert step.name == "materialise"
        disk = agent.session.disks[0].disk_id
        volume = {
            "checkpoint": server.head_checkpoint_id,
            "disk": disk,
            "path": "/v",
            "size": 1,
            "root": root,
        }
        step.state, step.finished_at, step.result = "SUCCEEDED", uow.now, {"volumes": [volume]}
    return job


async def test_a_test_gives_the_report_its_proofs_and_its_picture(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    committed = await agent.replicate({"disk-a": CONTENT})
    job = await boot(agent, admin, services, committed.disks[0].root)
    _, report = await fetched(admin)
    (machine,) = report["boots"]
    assert (machine["passed"], machine["checks"][0]["name"], machine["seconds"]) == (True, "login", 12.5)
    assert base64.b64decode(report["screenshot"]["png"]) == b"\x89PNG large"
    assert results(report)["v4"] == "PROVED"
    assert report["disks"][0]["volumeRoot"] == report["disks"][0]["replicaRoot"]
    assert [(each["action"], each["who"]) for each in report["trail"]] == [
        ("server.test", "administrator of None"),
        ("job.cancel", "administrator of None"),
    ]
    assert [(each["id"], each["state"]) for each in report["jobs"]] == [(job, "CANCELLED")]
    assert report["warnings"] == []


async def test_what_was_proved_of_an_older_checkpoint_is_not_claimed_of_the_newest(
    agent: AgentDouble, admin: Api, services: Services, clock: ManualClock
) -> None:
    committed = await agent.replicate({"disk-a": CONTENT})
    await boot(agent, admin, services, committed.disks[0].root)
    await verified(services, agent, committed.checkpoint_id, "SAME")
    clock.advance(timedelta(hours=1))
    await agent.replicate({"disk-a": b"y" * 65536})
    _, report = await fetched(admin)
    found = results(report)
    assert (report["checkpoint"]["number"], found["v2"], found["v4"]) == (2, "PARTLY", "PARTLY")
    assert {"V2_PARTLY", "V4_PARTLY", "TEST_OF_ANOTHER_CHECKPOINT"} <= codes(report, "gaps")
    assert report["disks"][0]["volumeRoot"] is None


async def test_a_failed_test_and_a_root_that_differs_are_warnings(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    await agent.replicate({"disk-a": CONTENT})
    await boot(agent, admin, services, "00" * 32, passed=False)
    await admin.call("POST", f"{WEB}:markReady", 200, {"override": "seen by ann"})
    _, report = await fetched(admin)
    assert codes(report, "warnings") == {"TEST_FAILED", "VOLUME_DIFFERS", "TEST_OVERRIDDEN"}


async def verified(services: Services, agent: AgentDouble, checkpoint: str, verdict: str) -> None:
    async with services.database.begin() as uow:
        row = VerificationRow(
            id=new_id("ver"),
            server_id=agent.server,
            checkpoint_id=checkpoint,
            state="FAILED" if verdict == "DIFFERS" else "SUCCEEDED",
            verdict=verdict,
            requested_at=uow.now,
            finished_at=uow.now,
        )
        uow.session.add(row)


async def scrubbed(services: Services, findings: int) -> None:
    async with services.database.begin() as uow:
        row = ScrubRoundRow(
            id=new_id("scr"),
            cursor=bytes(32),
            started_at=uow.now,
            finished_at=uow.now,
            findings=[],
            finding_count=findings,
        )
        uow.session.add(row)


async def cut_over(services: Services, agent: AgentDouble, job: str, *, source_active: bool = False) -> str:
    """A cutover whose machine passed; the id of its row."""
    async with services.database.begin() as uow:
        server = await uow.session.get_one(ServerRow, agent.server)
        phases = ("stop", "cut", "apply", "launch", "check")
        row = CutoverRow(
            id="cut-1",
            server_id=agent.server,
            job_id=job,
            effect=f"{job}.cutover",
            state="SUCCEEDED",
            target="qemu",
            base_checkpoint_id=server.head_checkpoint_id,
            checkpoint_id=server.head_checkpoint_id,
            checkpoint_number=1,
            machine=MACHINE,
            forwards=[],
            source_active=source_active,
            passed_over=[],
            phases=[
                {
                    "phase": phase,
                    "startedAt": (uow.now + timedelta(seconds=10 * at)).isoformat(),
                    "finishedAt": (uow.now + timedelta(seconds=10 * at + 10)).isoformat(),
                }
                for at, phase in enumerate(phases)
            ],
            ledger=[{"kind": "kept", "what": "store", "detail": "the checkpoints"}],
            requested_by="ann",
            created_at=uow.now,
            passed=True,
            proof={"detail": "it serves", "checks": [{"name": "http", "kind": "http", "passed": True}]},
        )
        uow.session.add(row)
        await uow.session.flush()
        uow.session.add(CutoverEvidenceRow(cutover_id=row.id, name="screenshot", content=b"\x89PNG cutover"))
        return row.id


@pytest.mark.parametrize("source_active", [False, True])
async def test_a_cutover_makes_its_checkpoint_the_subject_and_tells_its_downtime(
    agent: AgentDouble, admin: Api, services: Services, clock: ManualClock, source_active: bool
) -> None:
    committed = await agent.replicate({"disk-a": CONTENT})
    job = await boot(agent, admin, services, committed.disks[0].root)
    await cut_over(services, agent, job, source_active=source_active)
    clock.advance(timedelta(hours=1))
    await agent.replicate({"disk-a": b"y" * 65536})
    _, report = await fetched(admin)
    cutover = report["cutover"]
    assert (report["checkpoint"]["number"], results(report)["v4"]) == (1, "PROVED")
    assert (cutover["downtimeSeconds"], cutover["sourceStopped"]) == (50, not source_active)
    assert [(each["name"], each["seconds"]) for each in cutover["phases"]][:2] == [("stop", 10), ("cut", 10)]
    assert cutover["upSince"] > cutover["downSince"]
    assert base64.b64decode(report["screenshot"]["png"]) == b"\x89PNG cutover"
    assert codes(report, "warnings") == ({"SOURCE_STILL_ACTIVE"} if source_active else set())
    assert "NOT_CUT_OVER" not in codes(report, "gaps")
    page = (await admin.http.get(f"{WEB}/report.html")).text
    assert "50 s" in page


async def test_a_cutover_that_was_reverted_is_no_cutover(
    agent: AgentDouble, admin: Api, services: Services, clock: ManualClock
) -> None:
    committed = await agent.replicate({"disk-a": CONTENT})
    job = await boot(agent, admin, services, committed.disks[0].root)
    cutover = await cut_over(services, agent, job)
    async with services.database.begin() as uow:
        row = await uow.session.get_one(CutoverRow, cutover)
        row.state, row.source_gone = "REVERTED", "burnt down"
        row.ledger = [{"kind": "left", "what": "the source", "detail": "its services were not given back"}]
    clock.advance(timedelta(hours=1))
    await agent.replicate({"disk-a": b"y" * 65536})
    _, report = await fetched(admin)
    assert report["checkpoint"]["number"] == 2
    assert "NOT_CUT_OVER" in codes(report, "gaps")
    assert "SOURCE_NOT_GIVEN_BACK" in codes(report, "warnings")
    assert report["cutover"]["ledger"] == [["left", "the source", "its services were not given back"]]
    assert "burnt down" in (await admin.http.get(f"{WEB}/report.html")).text


@pytest.mark.parametrize(
    ("verdict", "result"), [("SAME", "PROVED"), ("DIFFERS", "REFUTED"), ("UNPROVED", "NOT_VERIFIED")]
)
async def test_a_comparison_with_the_running_source_counts_as_what_it_found(
    agent: AgentDouble, admin: Api, services: Services, verdict: str, result: str
) -> None:
    committed = await agent.replicate({"disk-a": CONTENT})
    await verified(services, agent, committed.checkpoint_id, verdict)
    _, report = await fetched(admin)
    assert results(report)["v2"] == result


async def test_reading_the_store_again_counts_from_when_it_began(
    agent: AgentDouble, admin: Api, services: Services, clock: ManualClock
) -> None:
    await scrubbed(services, 0)
    clock.advance(timedelta(hours=1))
    await agent.replicate({"disk-a": CONTENT})
    assert results((await fetched(admin))[1])["v1"] == "PARTLY"
    clock.advance(timedelta(hours=1))
    await scrubbed(services, 0)
    assert results((await fetched(admin))[1])["v1"] == "PROVED"
    clock.advance(timedelta(hours=1))
    await scrubbed(services, 3)
    assert results((await fetched(admin))[1])["v1"] == "REFUTED"


async def test_the_page_carries_the_report_and_runs_nothing(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    async with services.database.begin() as uow:
        server = await uow.session.get_one(ServerRow, agent.server)
        server.name = server.hostname = "<script>alert(1)</script>"
    for path, headers in (("report.html", {}), ("report", {"Accept": "text/html,*/*;q=0.8"})):
        page = await admin.http.get(f"/servers/{agent.server}/{path}", headers=headers)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "sandbox" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert b"<script" not in page.content
        found = opened(page.content)
        assert found.is_page
        assert found.key.fingerprint.encode() in page.content


async def test_the_key_is_made_once_and_stays(agent: AgentDouble, admin: Api, services: Services) -> None:
    signers = await asyncio.gather(*(signer_of(services) for _ in range(4)))
    key = await admin.call("GET", "/reports/key", 200)
    assert {signer.public.fingerprint for signer in signers} == {key["fingerprint"]}
    found, _ = await fetched(admin)
    assert (found.key.fingerprint, found.key.raw.hex(), found.key.pem) == (
        key["fingerprint"],
        key["public"],
        key["pem"],
    )


async def test_a_key_of_a_file_is_taken_as_it_is_now(
    services: Services, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    with_file = replace(
        services, settings=replace(services.settings, report=ReportSettings(signing_key_file=file))
    )
    for _ in range(2):
        made = Signer.generated()
        file.write_text(made.pem)
        assert (await signer_of(with_file)).public == made.public


async def test_a_key_that_cannot_be_used_is_named(
    agent: AgentDouble, admin: Api, services: Services, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    settings = replace(services.settings, report=ReportSettings(signing_key_file=file))
    object.__setattr__(services, "settings", settings)
    assert await admin.refused("GET", f"{WEB}/report") == (503, "SIGNING_KEY_UNUSABLE")
    file.write_text("no key")
    assert await admin.refused("GET", "/reports/key") == (503, "SIGNING_KEY_UNUSABLE")


async def test_other_projects_have_no_report_and_viewers_may_read(
    agent: AgentDouble, admin: Api, callers: Callers
) -> None:
    mine = (await admin.call("POST", "/projects", 201, {"name": "mine"}))["id"]
    stranger = await callers.token(Role.VIEWER, mine)
    for path in ("report", "report.html"):
        assert await stranger.refused("GET", f"{WEB}/{path}") == (404, "SERVER_NOT_FOUND")
    _, report = await fetched(await callers.token(Role.VIEWER))
    assert report["createdBy"] == "viewer of None"


async def test_two_reports_of_one_moment_differ_in_their_ids_alone(agent: AgentDouble, admin: Api) -> None:
    first, second = [json.loads((await admin.http.get(f"{WEB}/report")).content)["report"] for _ in range(2)]
    assert {name for name in first if first[name] != second[name]} == {"id"}
