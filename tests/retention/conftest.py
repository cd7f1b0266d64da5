"""The services of a process of roles api and agent, and a server whose tests are old."""

from datetime import timedelta

import pytest

from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.launch.tables import TestEvidenceRow, TestRow
from app.migration.services import Services
from app.work.tables import JobEventRow, JobLimitRow, JobRow, JobStepRow
from tests.lifecycle.conftest import services
from tests.replication.agent_double import AgentDouble

__all__ = ["services"]

OLD = timedelta(days=91)


@pytest.fixture
async def agent(services: Services) -> AgentDouble:
    return await AgentDouble.enrolled(services, "web-1")


async def job(
    uow: UnitOfWork, age: timedelta = OLD, *, state: str = "SUCCEEDED", parent: str | None = None
) -> str:
    """A job that ended so long ago, with a step, an event and a limit."""
    at = uow.now - age
    row = JobRow(
        id=new_id("job"),
        kind="server.test",
        project_id="prj-1",
        parent_id=parent,
        state=state,
        place="control",
        created_at=at,
        finished_at=None if state in ("PENDING", "RUNNING") else at,
    )
    uow.session.add(row)
    await uow.session.flush()
    uow.session.add(JobStepRow(job_id=row.id, number=0, name="choose", place="control"))
    uow.session.add(JobEventRow(job_id=row.id, number=1, at=at, level="info", text="ordered"))
    uow.session.add(JobLimitRow(job_id=row.id, key="target:qemu", most=4))
    return row.id


async def a_test(
    uow: UnitOfWork,
    agent: AgentDouble,
    checkpoint: str,
    age: timedelta = OLD,
    *,
    passed: bool | None = True,
    state: str = "TERMINATED",
) -> TestRow:
    """A test of that age, with evidence, and its job."""
    made = await job(uow, age)
    at = uow.now - age
    row = TestRow(
        id=new_id("tst"),
        server_id=agent.server,
        job_id=made,
        effect=f"{made}.choose",
        checkpoint_id=checkpoint,
        checkpoint_number=1,
        label="quiet",
        source_time=at,
        state=state,
        came_from="READY_FOR_TEST",
        target="qemu",
        machine={},
        forwards=[],
        created_at=at,
        terminated_at=at if state == "TERMINATED" else None,
        passed=passed,
    )
    uow.session.add(row)
    await uow.session.flush()
    uow.session.add(TestEvidenceRow(test_id=row.id, name="screenshot", content=b"\x89PNG"))
    return row
