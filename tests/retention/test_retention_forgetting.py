"""What is forgotten of tests and jobs, what stays, and that several processes may forget at once."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.cutover.tables import CutoverRow
from app.migration.launch.tables import TestEvidenceRow, TestRow
from app.migration.replication.tables import CheckpointRow
from app.migration.retention.work import Forgotten, forget_once
from app.migration.services import Services
from app.work.tables import JobEventRow, JobLimitRow, JobRow, JobStepRow
from tests.replication.agent_double import AgentDouble
from tests.retention.conftest import OLD, a_test, job

YOUNG = timedelta(days=89)
CONTENT = {"disk-a": b"x" * 65536}


async def count(uow: UnitOfWork, table: type) -> int:
    return await uow.session.scalar(select(func.count()).select_from(table)) or 0


async def kept(services: Services, checkpoint: str) -> bool:
    async with services.database.reading() as uow:
        return (await uow.session.get_one(CheckpointRow, checkpoint)).kept


async def replicated(services: Services, agent: AgentDouble) -> str:
    """A checkpoint that is kept since it was tested; its id."""
    committed = await agent.replicate(CONTENT)
    async with services.database.begin() as uow:
        (await uow.session.get_one(CheckpointRow, committed.checkpoint_id)).kept = True
    return committed.checkpoint_id


async def test_old_jobs_go_whole_and_younger_and_standing_ones_stay(services: Services) -> None:
    async with services.database.begin() as uow:
        for state in ("SUCCEEDED", "FAILED", "CANCELLED"):
            await job(uow, state=state)
        stay = {await job(uow, YOUNG), await job(uow, state="RUNNING"), await job(uow, state="PENDING")}
    assert await forget_once(services) == Forgotten(tests=0, jobs=3, folders=0)
    async with services.database.reading() as uow:
        assert set(await uow.session.scalars(select(JobRow.id))) == stay
        for table in (JobStepRow, JobEventRow, JobLimitRow):
            assert await count(uow, table) == len(stay)


async def test_children_stay_as_long_as_their_parent(services: Services) -> None:
    async with services.database.begin() as uow:
        young, old = await job(uow, YOUNG), await job(uow)
        stay = {young, await job(uow, parent=young)}
        await job(uow, parent=old)
    assert (await forget_once(services)).jobs == 2
    async with services.database.reading() as uow:
        assert set(await uow.session.scalars(select(JobRow.id))) == stay


async def test_more_than_one_unit_forgets_are_all_forgotten(services: Services) -> None:
    async with services.database.begin() as uow:
        for _ in range(250):
            await job(uow)
    assert (await forget_once(services)).jobs == 250


async def test_an_old_test_goes_with_its_evidence_its_job_and_the_hold_on_its_checkpoint(
    services: Services, agent: AgentDouble
) -> None:
    checkpoint = await replicated(services, agent)
    async with services.database.begin() as uow:
        await a_test(uow, agent, checkpoint, passed=False)
        await a_test(uow, agent, checkpoint, passed=None)
        newest = (await a_test(uow, agent, checkpoint)).id
    assert await forget_once(services) == Forgotten(tests=2, jobs=2, folders=0)
    assert await kept(services, checkpoint), "the newest verdict is of it"
    async with services.database.begin() as uow:
        assert await count(uow, TestEvidenceRow) == 1
        assert [row.id for row in await uow.session.scalars(select(TestRow))] == [newest]
        await a_test(uow, agent, "chk-another", YOUNG)
    assert (await forget_once(services)).tests == 1
    assert not await kept(services, checkpoint)


@pytest.mark.parametrize("state", ["PREPARING", "BOOTING", "RUNNING"])
async def test_a_test_that_is_not_over_stays_however_old(
    services: Services, agent: AgentDouble, state: str
) -> None:
    async with services.database.begin() as uow:
        await a_test(uow, agent, "chk-1", passed=None, state=state)
    assert (await forget_once(services)).tests == 0


@pytest.mark.parametrize(("state", "stays"), [("SUCCEEDED", True), ("FINALIZED", True), ("UNDONE", False)])
async def test_what_a_cutover_refers_to_stays(
    services: Services, agent: AgentDouble, state: str, stays: bool
) -> None:
    checkpoint = await replicated(services, agent)
    async with services.database.begin() as uow:
        await a_test(uow, agent, checkpoint)
        await a_test(uow, agent, "chk-another", YOUNG)
        row = CutoverRow(
            id=new_id("cut"),
            server_id=agent.server,
            job_id=await job(uow),
            effect="cut",
            state=state,
            target="qemu",
            checkpoint_id=checkpoint,
            machine={},
            forwards=[],
            passed_over=[],
            phases=[],
            ledger=[],
            created_at=uow.now - OLD,
        )
        uow.session.add(row)
    done = await forget_once(services)
    assert (done.tests, await kept(services, checkpoint)) == ((0, True) if stays else (1, False))
    async with services.database.reading() as uow:
        assert await uow.session.get(JobRow, row.job_id) is not None, "the cutover names its job"


async def test_several_processes_forget_at_once(services: Services, agent: AgentDouble) -> None:
    checkpoint = await replicated(services, agent)
    async with services.database.begin() as uow:
        for _ in range(120):
            await a_test(uow, agent, checkpoint)
    done = await asyncio.gather(*(forget_once(services) for _ in range(3)))
    assert sum(each.jobs for each in done) >= 119
    async with services.database.reading() as uow:
        assert (await count(uow, TestRow), await count(uow, JobRow)) == (1, 1)


async def test_folders_of_forgotten_tests_go_and_no_others(services: Services, agent: AgentDouble) -> None:
    async with services.database.begin() as uow:
        known = (await a_test(uow, agent, "chk-1", YOUNG)).id
    evidence = services.settings.launch.folder / "evidence"
    gone = evidence / new_id("tst")
    young = evidence / new_id("tst")
    others = [evidence / known, evidence / new_id("cut"), evidence / "mine"]
    for folder in (gone, *others):
        _folder(folder, services, OLD)
    _folder(young, services, YOUNG)
    assert (await forget_once(services)).folders == 1
    assert not gone.exists()
    assert all(folder.exists() for folder in (young, *others))


def _folder(folder: Path, services: Services, age: timedelta) -> None:
    folder.mkdir(parents=True)
    (folder / "proof.json").write_text("{}")
    at = (services.clock.now() - age).timestamp()
    os.utime(folder, (at, at))
