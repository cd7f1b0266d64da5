"""Tests of servers as jobs, on each database and with real machines: passed, failed, cancelled, replaced."""

from datetime import timedelta

import pytest

from app.contract.paging import EVERYTHING
from app.contract.resources.launch import LaunchSettingsUpdate, ReadyMark
from app.contract.words import BootFailure, LifecycleState, TestState, WorkState
from app.kit.clock import ManualClock
from app.kit.errors import Go2CloudError
from app.migration.launch import orders
from app.migration.launch.errors import NoTestMachine, TestNotPassed, TestTooOld
from app.migration.launch.evidence import get_evidence
from app.migration.replication.maintenance import collect_garbage
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.errors import LifecycleNotAllowed
from app.work.errors import JobStands
from tests.launch.boot_sector import dead_disk, talking_disk
from tests.lifecycle.conftest import SMALL, Rig
from tests.replication.agent_double import AgentDouble

pytestmark = pytest.mark.slow


async def mark(rig: Rig, server: str, override: str | None = None) -> orders.Marked:
    async with rig.services.database.begin() as uow:
        return await orders.mark_ready(rig.services, uow, EVERYTHING, server, ReadyMark(override=override))


async def is_kept(rig: Rig, checkpoint: str) -> bool:
    async with rig.services.database.reading() as uow:
        return (await uow.session.get_one(CheckpointRow, checkpoint)).kept


async def test_a_server_is_tested_marked_ready_reverted_and_its_checkpoint_kept(
    rig: Rig, clock: ManualClock
) -> None:
    agent = await rig.server(talking_disk())
    rig.work()
    await rig.tested(agent.server, WorkState.SUCCEEDED)
    (test,) = await rig.tests(agent.server)
    assert (test.passed, test.state, test.node) == (True, TestState.RUNNING, "node")
    assert test.evidence == ("screenshot", "serial", "thumbnail")
    assert [(each.name, each.passed) for each in test.checks] == [("login", True)]
    async with rig.services.database.reading() as uow:
        assert (await get_evidence(uow, test.id, "screenshot")).startswith(b"\x89PNG")
        assert b"smallest login: " in await get_evidence(uow, test.id, "serial")
    runs, volumes = rig.on_node()
    assert (runs, len(volumes)) == ([test.id], 1)

    await agent.replicate({"disk-a": talking_disk("\r\nlater login: ")})
    clock.advance(timedelta(days=6))
    await agent.replicate({"disk-a": talking_disk("\r\nmuch later login: ")})
    assert (await mark(rig, agent.server)).test_id == test.id
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.READY_FOR_CUTOVER
    await rig.engine.ended(await rig.revert(agent.server), WorkState.SUCCEEDED)
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.READY_FOR_TEST
    (test,) = await rig.tests(agent.server)
    assert (test.state, test.passed) == (TestState.TERMINATED, True)
    assert rig.on_node() == ([], [])

    clock.advance(timedelta(days=30))
    await collect_garbage(rig.services)
    assert await is_kept(rig, test.checkpoint_id)


async def test_a_failed_boot_fails_the_job_and_leaves_nothing_but_the_evidence(rig: Rig) -> None:
    agent = await rig.server(dead_disk())
    with pytest.raises(LifecycleNotAllowed):
        await mark(rig, agent.server)
    rig.work()
    job = await rig.tested(agent.server, WorkState.FAILED)
    assert job.code == BootFailure.NO_BOOTABLE_DEVICE
    assert "did not boot" in str(job.detail)
    assert "boot loader is the first one" in str(job.remedy)
    (test,) = await rig.tests(agent.server)
    assert (test.passed, test.state, test.reason) == (
        False,
        TestState.TERMINATED,
        BootFailure.NO_BOOTABLE_DEVICE,
    )
    assert "screenshot" in test.evidence
    assert rig.on_node() == ([], [])
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.TESTING
    assert await is_kept(rig, test.checkpoint_id)
    with pytest.raises(TestNotPassed, match=test.id):
        await mark(rig, agent.server)
    marked = await mark(rig, agent.server, "seen on the console")
    assert marked.passed_over == "TEST_NOT_PASSED"
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.READY_FOR_CUTOVER


async def test_a_new_test_replaces_the_machine_and_an_old_proof_is_none(rig: Rig, clock: ManualClock) -> None:
    agent = await rig.server(talking_disk())
    rig.work()
    await rig.tested(agent.server, WorkState.SUCCEEDED)
    await agent.replicate({"disk-a": talking_disk("\r\nsecond login: ")})
    await rig.engine.ended(await rig.order(agent.server, "1"), WorkState.SUCCEEDED)
    second, first = await rig.tests(agent.server)
    assert (first.state, second.state) == (TestState.TERMINATED, TestState.RUNNING)
    assert (first.checkpoint_number, second.checkpoint_number) == (1, 1)
    assert rig.on_node()[0] == [second.id]
    clock.advance(timedelta(days=8))
    with pytest.raises(TestTooOld, match="8 days old"):
        await mark(rig, agent.server)
    await rig.engine.ended(await rig.terminate(agent.server), WorkState.SUCCEEDED)
    assert rig.on_node() == ([], [])
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.TESTING
    with pytest.raises(NoTestMachine):
        await rig.terminate(agent.server)


async def test_a_cancelled_test_leaves_the_server_as_it_was(rig: Rig) -> None:
    agent = await rig.server(talking_disk("\r\nnobody may log in"))
    rig.work()
    job = await rig.order(agent.server)
    await rig.engine.until(job, lambda row: row.step == 4)
    for refused in (rig.order(agent.server), rig.revert(agent.server), mark(rig, agent.server)):
        with pytest.raises(JobStands):
            await refused
    await rig.engine.cancel(job)
    await rig.engine.ended(job, WorkState.CANCELLED)
    (test,) = await rig.tests(agent.server)
    assert (test.passed, test.state) == (None, TestState.TERMINATED)
    assert rig.on_node() == ([], [])
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.READY_FOR_TEST
    assert not await is_kept(rig, test.checkpoint_id)


async def test_a_target_that_cannot_work_says_so_before_anything_is_made(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await rig.server(talking_disk())
    await rig.set(agent.server, SMALL.model_copy(update={"memory_bytes": 1 << 44}))
    rig.work()
    job = await rig.tested(agent.server, WorkState.FAILED)
    assert (job.code, "wants 16777216 MiB" in str(job.detail)) == ("TARGET_NOT_READY", True)
    assert (await rig.row(agent.server)).lifecycle_state == LifecycleState.READY_FOR_TEST
    await rig.set(
        agent.server, LaunchSettingsUpdate.model_validate({"checks": ({"kind": "script", "script": "x"},)})
    )
    assert (await rig.tested(agent.server, WorkState.FAILED)).code == "SCRIPT_NOT_FOUND"
    await rig.set(agent.server, SMALL)
    monkeypatch.setattr("app.launch.qemu.driver.QEMU", "qemu-system-of-nowhere")
    job = await rig.tested(agent.server, WorkState.FAILED)
    assert (job.code, str(job.remedy).startswith("apt-get install")) == ("TARGET_NOT_READY", True)


async def test_what_cannot_be_tested_is_refused_plainly(rig: Rig) -> None:
    bare = await AgentDouble.enrolled(rig.services, "bare")
    with pytest.raises(LifecycleNotAllowed) as refused:
        await rig.order(bare.server)
    assert refused.value.extra["allowedOperations"] == ["disconnect"]
    agent = await rig.server(talking_disk())
    with pytest.raises(Go2CloudError, match="no checkpoint '7'"):
        await rig.order(agent.server, "7")


async def test_a_fuzzy_checkpoint_is_tested_with_a_warning_where_there_is_no_better_one(rig: Rig) -> None:
    agent = await rig.server(dead_disk())
    async with rig.services.database.begin() as uow:
        row = await uow.session.get_one(CheckpointRow, (await rig.row(agent.server)).head_checkpoint_id)
        row.label = "fuzzy"
    rig.work()
    job = await rig.tested(agent.server, WorkState.FAILED)
    assert any("is fuzzy" in text for text in await rig.engine.texts(job.id))
