"""A checkpoint that is being published: retention keeps it meanwhile, and undoing does without it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from app.contract.paging import EVERYTHING
from app.contract.resources.target import PublishOrder
from app.contract.words import WorkState
from app.kit.clock import ManualClock
from app.migration.publish.orders import order_publishing
from app.migration.publish.steps import PUBLISH, publish_kinds
from app.migration.replication.maintenance import collect_garbage
from app.migration.replication.tables import CheckpointRow
from app.work.context import Context
from app.work.errors import StepFailed
from app.work.kinds import Kinds
from tests.lifecycle.conftest import Rig
from tests.lifecycle.test_lifecycle_targets import FIRST, SECOND, created
from tests.replication.agent_double import AgentDouble


class Gate:
    """Lets the step that makes the images stand still, once, until the test opens it; then it ends so."""

    def __init__(self, rig: Rig) -> None:
        self.standing, self.opened = asyncio.Event(), asyncio.Event()
        self.fails = False
        (kind,) = publish_kinds(rig.services)
        steps = tuple(
            replace(step, run=self._waiting(step.run)) if step.name == PUBLISH else step
            for step in kind.steps
        )
        services = replace(rig.services, kinds=Kinds(replace(kind, steps=steps)))
        self.rig = Rig(services, replace(rig.engine, jobs=services.jobs), rig.machines)

    def _waiting(self, run: Callable[[Context], Awaitable[object]]) -> Callable[[Context], Awaitable[object]]:
        async def waits(context: Context) -> object:
            self.standing.set()
            await self.opened.wait()
            if self.fails:
                raise StepFailed("the target's storage is full", code="STORAGE_FULL")
            return await run(context)

        return waits

    async def begun(self, tmp_path: Path) -> tuple[AgentDouble, str]:
        """A publication of checkpoint 1 that has its volumes; the server's agent, and the job."""
        await created(self.rig, "images", "image", folder=str(tmp_path / "images"))
        agent = await self.rig.server(FIRST)
        order = PublishOrder.model_validate({"target": "images", "checkpoint": "1", "formats": ["raw"]})
        async with self.rig.services.database.begin() as uow:
            job = await order_publishing(self.rig.services, uow, EVERYTHING, agent.server, order, "ann")
        self.rig.work()
        await asyncio.wait_for(self.standing.wait(), 60)
        assert list(self.rig.machines.rglob("*.raw"))
        return agent, job


async def is_there(rig: Rig, number: int) -> bool:
    async with rig.services.database.reading() as uow:
        rows = await uow.session.scalars(
            CheckpointRow.__table__.select().with_only_columns(CheckpointRow.number)
        )
        return number in set(rows)


async def grows_old(rig: Rig, agent: AgentDouble, clock: ManualClock) -> None:
    """Time passes, and retention does its work."""
    clock.advance(timedelta(days=60))
    await agent.replicate({"disk-a": SECOND})
    await collect_garbage(rig.services)


async def test_a_checkpoint_is_kept_as_long_as_it_is_being_published(
    rig: Rig, clock: ManualClock, tmp_path: Path
) -> None:
    gate = Gate(rig)
    agent, job = await gate.begun(tmp_path)
    await grows_old(gate.rig, agent, clock)
    assert await is_there(rig, 1), "it is being published"
    gate.opened.set()
    await gate.rig.engine.ended(job, WorkState.SUCCEEDED)
    assert await is_there(rig, 1)
    await collect_garbage(rig.services)
    assert not await is_there(rig, 1), "nobody needs it any more"


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_publication_whose_checkpoint_is_gone_leaves_no_volume(
    rig: Rig, tmp_path: Path, retries: int
) -> None:
    gate = Gate(rig)
    gate.fails = True
    _, job = await gate.begun(tmp_path)
    async with rig.services.database.begin() as uow:
        await uow.session.execute(delete(CheckpointRow))
    gate.opened.set()
    ended = await gate.rig.engine.ended(job, WorkState.FAILED)
    assert ended.code == "STORAGE_FULL", "it was undone"
    assert not list(rig.machines.rglob("*.raw"))
    for _ in range(retries):
        await gate.rig.engine.retry(job)
        assert (await gate.rig.engine.ended(job, WorkState.FAILED)).code == "CHECKPOINT_NOT_FOUND"
