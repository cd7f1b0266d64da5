"""Machines that passed and live on: they expire, and their end is noticed, once and by whoever looks."""

import asyncio
import os
import signal
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.contract.words import TestState, WorkState
from app.kit.bus import Delivery
from app.kit.clock import ManualClock
from app.kit.ids import new_id
from app.migration.launch.kinds import TERMINATE_TEST
from app.migration.launch.living import look_after_tests, look_once
from app.migration.launch.queries import live_tests
from app.migration.launch.tables import TestRow
from app.migration.launch.targets import target_of
from app.migration.services import Services
from app.work.tables import JobEventRow, JobRow
from tests.launch.boot_sector import talking_disk
from tests.lifecycle.conftest import SMALL, Rig
from tests.replication.agent_double import AgentDouble

HOURS = timedelta(hours=1)


async def a_machine(services: Services, *, node: str = "node", lifetime: timedelta | None = None) -> TestRow:
    """A test whose machine passed, as it stands in the database; its job is over."""
    agent = await AgentDouble.enrolled(services, "web-1")
    machine = {
        "cpus": 1,
        "memory_bytes": 64 << 20,
        "firmware": "bios",
        "bus": "virtio-blk",
        "nics": [],
        "ports": [],
        "checks": [{"kind": "login"}],
        "timeout": "PT10M",
    }
    async with services.database.begin() as uow:
        job = JobRow(
            id=new_id("job"),
            kind="server.test",
            project_id="prj-1",
            state="SUCCEEDED",
            place="control",
            created_at=uow.now,
        )
        uow.session.add(job)
        await uow.session.flush()
        test = TestRow(
            id=new_id("tst"),
            server_id=agent.server,
            job_id=job.id,
            effect=f"{job.id}.choose",
            checkpoint_id="chk-1",
            checkpoint_number=1,
            label="quiet",
            source_time=uow.now,
            state="RUNNING",
            came_from="READY_FOR_TEST",
            target="qemu",
            node=node,
            machine=machine if lifetime is None else machine | {"lifetime": lifetime.total_seconds()},
            forwards=[],
            created_at=uow.now,
            launched_at=uow.now,
            passed=True,
        )
        uow.session.add(test)
    return test


async def ends_ordered(services: Services) -> list[JobRow]:
    async with services.database.reading() as uow:
        query = select(JobRow).where(JobRow.kind == TERMINATE_TEST).order_by(JobRow.id)
        return list(await uow.session.scalars(query))


async def events_of(services: Services, job: str) -> list[str]:
    async with services.database.reading() as uow:
        return list(await uow.session.scalars(select(JobEventRow.text).where(JobEventRow.job_id == job)))


async def test_a_machine_is_warned_of_once_and_ended_when_its_time_is_over(
    services: Services, clock: ManualClock
) -> None:
    test = await a_machine(services)
    await look_once(services, "elsewhere")
    assert (await events_of(services, test.job_id), await ends_ordered(services)) == ([], [])
    clock.advance(65 * HOURS)
    for _ in range(2):
        await look_once(services, "elsewhere")
    (text,) = await events_of(services, test.job_id)
    assert "is terminated at 2026-01-05 03:04Z" in text
    assert await ends_ordered(services) == []
    clock.advance(7 * HOURS)
    await asyncio.gather(*(look_once(services, "elsewhere") for _ in range(3)))
    (job,) = await ends_ordered(services)
    assert (job.requested_by, job.node, job.priority > 0) == ("go2cloud", "node", True)
    assert "the time of its machine is over (72 hours)" in (await events_of(services, job.id))[0]


async def test_launch_settings_say_how_long_a_machine_lives(services: Services, clock: ManualClock) -> None:
    await a_machine(services, lifetime=2 * HOURS)
    clock.advance(timedelta(minutes=119))
    await look_once(services, "elsewhere")
    assert await ends_ordered(services) == []
    clock.advance(timedelta(minutes=1))
    await look_once(services, "elsewhere")
    assert len(await ends_ordered(services)) == 1


async def test_an_end_that_failed_is_tried_again_after_an_hour_and_not_before(
    services: Services, clock: ManualClock
) -> None:
    await a_machine(services)
    clock.advance(72 * HOURS)
    await look_once(services, "elsewhere")
    async with services.database.begin() as uow:
        await uow.session.execute(
            update(JobRow).where(JobRow.kind == TERMINATE_TEST).values(state="FAILED", standing_for=None)
        )
    await look_once(services, "elsewhere")
    assert len(await ends_ordered(services)) == 1
    clock.advance(HOURS + timedelta(seconds=1))
    await look_once(services, "elsewhere")
    assert len(await ends_ordered(services)) == 2


async def test_a_machine_that_is_gone_is_ended_by_its_node_alone(services: Services) -> None:
    test = await a_machine(services)
    news = services.bus.subscribe()
    first = asyncio.ensure_future(anext(news))
    await asyncio.sleep(0)
    await look_once(services, "another")
    assert await ends_ordered(services) == []
    await asyncio.gather(*(look_once(services, "node") for _ in range(2)))
    async with services.database.reading() as uow:
        row = await uow.session.get_one(TestRow, test.id)
        assert (row.state, row.passed) == (TestState.ENDED, True)
        assert row.ended_at == uow.now
        assert row.ended_reason == "nothing of the machine is on node node any more"
        assert [each.id for each in await live_tests(uow, test.server_id)] == [test.id]
    (job,) = await ends_ordered(services)
    assert "ended by itself" in (await events_of(services, job.id))[0]
    assert len(await events_of(services, test.job_id)) == 1
    delivery = await first
    assert isinstance(delivery, Delivery)
    assert (delivery.event.type, delivery.event.subject) in (
        ("job.updated", test.job_id),
        ("test.ended", test.server_id),
    )


async def test_a_server_of_which_a_job_stands_is_left_alone(services: Services, clock: ManualClock) -> None:
    test = await a_machine(services)
    async with services.database.begin() as uow:
        uow.session.add(
            JobRow(
                id=new_id("job"),
                kind="server.test",
                project_id="prj-1",
                server_id=test.server_id,
                subject=test.server_id,
                standing_for=test.server_id,
                place="volumes",
                created_at=uow.now,
            )
        )
    clock.advance(100 * HOURS)
    await look_once(services, "node")
    assert await ends_ordered(services) == []
    async with services.database.reading() as uow:
        assert (await uow.session.get_one(TestRow, test.id)).state == TestState.RUNNING


@pytest.mark.slow
async def test_a_machine_that_crashes_is_noticed_and_its_volumes_go(rig: Rig) -> None:
    agent = await rig.server(talking_disk())
    rig.work()
    await rig.tested(agent.server, WorkState.SUCCEEDED)
    (test,) = await rig.tests(agent.server)
    assert test.expires_at is not None
    assert test.launched_at is not None
    assert test.expires_at - test.launched_at == timedelta(hours=72)
    await look_once(rig.services, "node")
    assert (await rig.tests(agent.server))[0].state == TestState.RUNNING
    found = await target_of(rig.services.settings.launch, rig.services.clock).find(test.id)
    assert found is not None
    assert found.pid is not None
    os.kill(found.pid, signal.SIGKILL)
    looking = asyncio.create_task(look_after_tests(_on(rig.services, "node")))
    try:
        (job,) = await _until_ordered(rig.services)
        await rig.engine.ended(job.id, WorkState.SUCCEEDED)
    finally:
        looking.cancel()
    (test,) = await rig.tests(agent.server)
    assert (test.state, test.passed, test.expires_at) == (TestState.ENDED, True, None)
    assert "the guest powered off, or the hypervisor ended" in (test.ended_reason or "")
    assert test.terminated_at is not None
    assert test.evidence == ("screenshot", "serial", "thumbnail")
    assert rig.on_node() == ([], [])
    await look_once(rig.services, "node")
    assert len(await ends_ordered(rig.services)) == 1
    assert SMALL.lifetime is None


def _on(services: Services, node: str) -> Services:
    """The services of a process on that node."""
    work = services.settings.work.model_copy(update={"node": node})
    return replace(services, settings=replace(services.settings, work=work))


async def _until_ordered(services: Services) -> list[JobRow]:
    for _ in range(300):
        if found := await ends_ordered(services):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("nobody noticed")
