"""Launch settings and tests over REST: what is answered and refused, once, and to whom."""

import zlib
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from app.contract.words import Role
from app.launch.boot.proof import BootProof
from app.migration.launch.kinds import launch_kinds
from app.migration.launch.tables import TestEvidenceRow, TestRow
from app.migration.launch.tests import judged
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.work.tables import JobLimitRow
from tests.api.conftest import Api, Callers
from tests.replication.agent_double import AgentDouble

WEB = "/servers/web-1"


@pytest.fixture
async def agent(callers: Callers, services: Services) -> AgentDouble:
    assert callers
    for kind in launch_kinds(services):
        services.kinds.add(kind)
    agent = await AgentDouble.enrolled(services, "web-1")
    await agent.replicate({"disk-a": b"x" * 65536})
    return agent


async def judge(services: Services, agent: AgentDouble, job: str, *, passed: bool) -> str:
    """What a job leaves that was watched to its end; the test's id."""
    async with services.database.begin() as uow:
        server = await uow.session.get_one(ServerRow, agent.server)
        server.lifecycle_state = "TESTING"
        ended = "PASS" if passed else "FAIL"
        proof = {
            "reason": None if passed else "KERNEL_PANIC",
            "detail": ended,
            "remedy": None if passed else "read the serial log",
            "seconds": 12.5,
            "accelerator": "tcg",
            "phases": [{"phase": "kernel", "after": 3.5}],
            "checks": [{"name": "login", "kind": "login", "passed": passed, "after": 9.0, "detail": "seen"}],
        }
        row = TestRow(
            id=f"tst-{ended.lower()}",
            server_id=agent.server,
            job_id=job,
            effect=f"{job}.choose.{ended}",
            checkpoint_id=server.head_checkpoint_id,
            checkpoint_number=1,
            label="quiet",
            source_time=uow.now,
            state="RUNNING" if passed else "TERMINATED",
            came_from="READY_FOR_TEST",
            target="qemu",
            node="rack-1",
            machine=MACHINE,
            forwards=[{"guest": 8080, "host": 40080}] if passed else [],
            created_at=uow.now,
            passed=passed,
            proof=proof,
        )
        uow.session.add(row)
        await uow.session.flush()
        for name, content in (
            ("screenshot", b"\x89PNG large"),
            ("thumbnail", b"\x89PNG small"),
            ("serial", zlib.compress(b"Linux version \x1b[0m")),
        ):
            uow.session.add(TestEvidenceRow(test_id=row.id, name=name, content=content))
        return row.id


MACHINE = {
    "cpus": 1,
    "memory_bytes": 1 << 30,
    "firmware": "bios",
    "bus": "virtio-blk",
    "nics": [{"mac": "52:54:00:12:34:56"}],
    "ports": [8080],
    "checks": [{"kind": "login"}],
    "timeout": "PT10M",
}


PROOF = BootProof(
    instance="tst-pass",
    target="qemu",
    passed=True,
    reason=None,
    detail="all checks passed",
    remedy=None,
    at=datetime(2026, 1, 2, tzinfo=UTC),
    seconds=1.0,
    phases=(),
    checks=(),
    screenshots=(),
    thumbnail=None,
    accelerator="tcg",
    serial_tail="",
)


async def test_launch_settings_are_set_whole_from_the_version_that_was_read(
    agent: AgentDouble, admin: Api
) -> None:
    path = f"{WEB}/launch-settings"
    fresh = await admin.call("GET", path, 200)
    assert (fresh["version"], fresh["settings"]["cpus"], fresh["machine"]["cpus"]) == (0, None, 1)
    body = {"cpus": 2, "firmware": "uefi", "checks": [{"kind": "http", "port": 8080, "body": "ok"}]}
    assert (await admin.refused("PUT", path, body))[0] == 428
    changed = await admin.call("PUT", path, 200, body, If_Match='"0"')
    assert (changed["version"], changed["machine"]["ports"]) == (1, [8080])
    assert changed["machine"]["checks"][0]["path"] == "/"
    assert await admin.refused("PUT", path, body, If_Match='"0"') == (412, "LAUNCH_SETTINGS_CHANGED")
    changed = await admin.call("PUT", path, 200, {"timeout": "PT1M"}, If_Match='"1"')
    assert (changed["settings"]["cpus"], changed["machine"]["timeout"]) == (None, "PT1M")
    bad: tuple[dict[str, object], ...] = (
        {"cpus": 0},
        {"timeout": "PT2H"},
        {"nics": [{"mac": "01:00:5e:00:00:01"}]},
        {"checks": []},
        {"checks": [{"kind": "script", "script": "../../bin/sh"}]},
        {"checks": [{"kind": "http", "port": 80, "body": "("}]},
        {"disk": "x"},
    )
    for wrong in bad:
        assert (await admin.refused("PUT", path, wrong, If_Match='"2"'))[0] == 422, wrong
    actions = [entry["action"] for entry in (await admin.call("GET", "/audit", 200))["items"]]
    assert actions.count("server.launchSettings") == 2


async def test_user_data_is_taken_and_shown_to_nobody(agent: AgentDouble, admin: Api) -> None:
    path = f"{WEB}/launch-settings"
    body = {"cloudInit": {"mode": "nocloud", "userData": "#cloud-config\npassword: s3cret\n"}}
    told = await admin.call("PUT", path, 200, body, If_Match='"0"')
    assert told["settings"]["cloudInit"]["userData"] is None
    digest = told["settings"]["cloudInit"]["userDataSha256"]
    audit = await admin.call("GET", "/audit", 200)
    assert "s3cret" not in f"{told}{audit}{await admin.call('GET', path, 200)}"
    assert digest in str(audit)
    same = {"cloudInit": {"mode": "nocloud", "userDataSha256": digest}, "cpus": 2}
    await admin.call("PUT", path, 200, same, If_Match='"1"')
    gone = {"cloudInit": {"mode": "nocloud", "userDataSha256": "0" * 64}}
    assert await admin.refused("PUT", path, gone, If_Match='"2"') == (409, "USER_DATA_GONE")
    nobody = {"addressing": [{"nic": "eth7", "mode": "dhcp"}]}
    assert await admin.refused("PUT", path, nobody, If_Match='"2"') == (422, "ADDRESSING_WRONG")
    smuggled = {"addressing": [{"nic": "eth0", "mode": "static", "addresses": ["fe80::1%x\ny/64"]}]}
    assert (await admin.refused("PUT", path, smuggled, If_Match='"2"'))[0] == 422


async def test_operators_order_no_more_than_the_caps_and_administrators_do(
    agent: AgentDouble, admin: Api, callers: Callers
) -> None:
    path = f"{WEB}/launch-settings"
    operator = await callers.token(Role.OPERATOR)
    for body in ({"cpus": 5}, {"memoryBytes": (4 << 30) + 1}):
        assert await operator.refused("PUT", path, body, If_Match='"0"') == (403, "MACHINE_TOO_LARGE")
    await operator.call("PUT", path, 200, {"cpus": 4, "memoryBytes": 4 << 30}, If_Match='"0"')
    changed = await admin.call("PUT", path, 200, {"cpus": 8}, If_Match='"1"')
    assert changed["machine"]["cpus"] == 8
    await operator.call("PUT", path, 200, {"cpus": 8, "ports": [80]}, If_Match='"2"')
    assert (await operator.refused("PUT", path, {"cpus": 9}, If_Match='"3"'))[1] == "MACHINE_TOO_LARGE"


async def test_a_project_has_its_own_limit_of_tests_at_once(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    job = (await admin.call("POST", f"{WEB}:test", 202))["id"]
    async with services.database.reading() as uow:
        server = await uow.session.get_one(ServerRow, agent.server)
        limits = await uow.session.scalars(select(JobLimitRow).where(JobLimitRow.job_id == job))
        assert {each.key: each.most for each in limits}[f"project:{server.project_id}:tests"] == 4


async def test_a_test_is_a_job_and_is_ordered_once(agent: AgentDouble, admin: Api) -> None:
    server = await admin.call("GET", WEB, 200)
    assert (server["lifecycleState"], server["allowedOperations"]) == (
        "READY_FOR_TEST",
        ["test", "disconnect"],
    )
    body = {"checkpoint": "1"}
    sent = await admin.http.post(f"{WEB}:test", json=body, headers={"Idempotency-Key": "k"})
    job = sent.json()
    assert (sent.status_code, job["kind"], job["step"], job["serverName"]) == (
        202,
        "server.test",
        "choose",
        "web-1",
    )
    assert sent.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    again = await admin.call("POST", f"{WEB}:test", 202, body, Idempotency_Key="k")
    assert again["id"] == job["id"]
    assert await admin.refused("POST", f"{WEB}:test") == (409, "JOB_STANDS")
    await admin.call("POST", f"/jobs/{job['id']}:cancel", 202)
    await admin.call("POST", f"{WEB}:test", 202)


async def test_what_the_state_forbids_is_refused_with_what_it_allows(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    await AgentDouble.enrolled(services, "new")
    for path in ("/servers/new:test", f"{WEB}:markReady", f"{WEB}:revert"):
        response = await admin.http.post(path)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (409, "LIFECYCLE_NOT_ALLOWED")
        assert "allowedOperations" in problem
    assert await admin.refused("POST", f"{WEB}:terminateTest") == (409, "NO_TEST_MACHINE")
    assert await admin.refused("POST", f"{WEB}:test", {"checkpoint": "9"}) == (404, "CHECKPOINT_NOT_FOUND")
    assert await admin.refused("GET", f"{WEB}/tests/latest") == (404, "TEST_NOT_FOUND")


async def test_tests_are_listed_with_their_proof_and_evidence(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    job = (await admin.call("POST", f"{WEB}:test", 202))["id"]
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    failed = await judge(services, agent, job, passed=False)
    passed = await judge(services, agent, job, passed=True)
    page = await admin.call("GET", f"{WEB}/tests?limit=1", 200)
    (newest,) = page["items"]
    assert (newest["id"], newest["passed"], newest["forwards"]) == (
        passed,
        True,
        [{"guest": 8080, "host": 40080}],
    )
    assert (newest["phases"], newest["seconds"]) == ([{"phase": "kernel", "after": 3.5}], 12.5)
    assert newest["checks"][0]["passed"] is True
    older = await admin.call("GET", f"{WEB}/tests?limit=1&cursor={page['nextCursor']}", 200)
    assert ([each["reason"] for each in older["items"]], older["nextCursor"]) == (["KERNEL_PANIC"], None)
    assert (await admin.call("GET", f"{WEB}/tests/{failed}", 200))["remedy"] == "read the serial log"
    for query, content in (("", b"\x89PNG large"), ("?thumbnail=true", b"\x89PNG small")):
        picture = await admin.http.get(f"{WEB}/tests/latest/screenshot{query}")
        assert (picture.headers["content-type"], picture.content) == ("image/png", content)
    serial = await admin.http.get(f"{WEB}/tests/{failed}/serial")
    assert (serial.headers["content-type"], serial.content) == (
        "text/plain; charset=utf-8",
        b"Linux version \x1b[0m",
    )


async def test_ready_needs_a_passed_test_or_a_reason_that_is_audited(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    job = (await admin.call("POST", f"{WEB}:test", 202))["id"]
    await judge(services, agent, job, passed=False)
    assert await admin.refused("POST", f"{WEB}:markReady") == (409, "JOB_STANDS")
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    assert await admin.refused("POST", f"{WEB}:markReady") == (409, "TEST_NOT_PASSED")
    assert (await admin.refused("POST", f"{WEB}:markReady", {"override": "  "}))[0] == 422
    marked = await admin.call("POST", f"{WEB}:markReady", 200, {"override": "seen by ann"})
    assert (marked["lifecycleState"], marked["allowedOperations"]) == (
        "READY_FOR_CUTOVER",
        ["test", "cutover", "revert", "disconnect"],
    )
    (entry,) = [
        each
        for each in (await admin.call("GET", f"/audit?resource={agent.server}", 200))["items"]
        if each["action"] == "server.markReady"
    ]
    assert (entry["details"]["override"], entry["details"]["passedOver"]) == (
        "seen by ann",
        "TEST_NOT_PASSED",
    )
    reverted = await admin.call("POST", f"{WEB}:revert", 202)
    assert (reverted["kind"], reverted["state"]) == ("server.terminate-test", "PENDING")
    assert (await admin.call("GET", WEB, 200))["lifecycleState"] == "READY_FOR_TEST"


async def test_a_passed_test_is_enough(agent: AgentDouble, admin: Api, services: Services) -> None:
    job = (await admin.call("POST", f"{WEB}:test", 202))["id"]
    await admin.call("POST", f"/jobs/{job}:cancel", 202)
    await judge(services, agent, job, passed=True)
    assert (await admin.call("POST", f"{WEB}:markReady", 200))["lifecycleState"] == "READY_FOR_CUTOVER"
    ended = await admin.call("POST", f"{WEB}:terminateTest", 202)
    assert (ended["kind"], ended["node"]) == ("server.terminate-test", "rack-1")
    assert ended["priority"] > 0, "what frees the node comes before what fills it"


async def test_a_verdict_that_is_repeated_shows_no_evidence_of_the_one_before(
    agent: AgentDouble, admin: Api, services: Services
) -> None:
    job = (await admin.call("POST", f"{WEB}:test", 202))["id"]
    test = await judge(services, agent, job, passed=True)
    async with services.database.begin() as uow:
        serial = {"serial": zlib.compress(b"GRUB loading"), "thumbnail": b"\x89PNG new"}
        await judged(uow, test, PROOF, serial)
    assert (await admin.call("GET", f"{WEB}/tests/{test}", 200))["evidence"] == ["serial", "thumbnail"]
    serial_now = await admin.http.get(f"{WEB}/tests/{test}/serial")
    assert serial_now.content == b"GRUB loading"


async def test_other_projects_and_viewers_do_nothing(
    agent: AgentDouble, admin: Api, callers: Callers
) -> None:
    mine = (await admin.call("POST", "/projects", 201, {"name": "mine"}))["id"]
    stranger = await callers.token(Role.OPERATOR, mine)
    for method, path in (
        ("GET", "/launch-settings"),
        ("GET", "/tests"),
        ("GET", "/tests/latest/screenshot"),
        ("GET", "/tests/latest/serial"),
        ("POST", ":test"),
        ("POST", ":terminateTest"),
        ("POST", ":markReady"),
        ("POST", ":revert"),
    ):
        assert await stranger.refused(method, f"{WEB}{path}") == (404, "SERVER_NOT_FOUND"), path
    viewer = await callers.token(Role.VIEWER)
    for path in (":test", ":terminateTest", ":markReady", ":revert"):
        assert await viewer.refused("POST", f"{WEB}{path}") == (403, "ROLE_TOO_SMALL")
