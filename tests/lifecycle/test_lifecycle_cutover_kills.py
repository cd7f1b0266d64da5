"""Cutovers whose workers are killed in every step in turn: never two sides, never two machines.

What is active is looked at every few milliseconds all the while.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from app.contract.cutoverwords import CutoverState
from app.contract.words import LifecycleState, Place, WorkState
from app.launch.qemu.runfolder import RunFolder
from app.work.tables import JobRow
from tests.launch.boot_sector import talking_disk
from tests.lifecycle.conftest import Rig
from tests.lifecycle.held_source import HeldSource
from tests.lifecycle.test_lifecycle_cutovers import cutovers, held, lifecycle, order
from tests.work.engine import LEASE, Started

pytestmark = pytest.mark.slow

LAUNCH = 9
"""The number of the step from which on only an operator takes a cutover back."""


@dataclass
class Sides:
    """Which sides were seen active."""

    source: HeldSource
    runs: Path
    machines: set[str] = field(default_factory=set)
    both: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator["Sides"]:
        """Look all the while."""
        task = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _watch(self) -> None:
        while True:
            alive = self._alive()
            self.machines |= set(alive)
            if len(alive) + self.source.is_active > 1:
                self.both.append(f"{alive}, source active: {self.source.is_active}")
            await asyncio.sleep(0.005)

    def _alive(self) -> list[str]:
        folders = self.runs.glob("cut-*") if self.runs.exists() else ()
        processes = [(folder.name, RunFolder(folder).process()) for folder in folders]
        return [name for name, process in processes if process is not None and process.alive()]


def workers(rig: Rig) -> list[Started]:
    """A worker of each place that is missed within a second."""
    before = len(rig.engine.started)
    rig.engine.start(Place.CONTROL, Place.VOLUMES, lease=LEASE)
    return rig.engine.started[before:]


def is_at(number: int, row: JobRow) -> bool:
    return row.step >= number or row.finished_at is not None


async def killed_in_every_step(rig: Rig, job: str) -> None:
    """Kill the workers once in each step of the job, and let the last ones end it."""
    for number in range(len(await rig.engine.steps(job))):
        started = workers(rig)
        row = await rig.engine.until(job, partial(is_at, number))
        for each in started:
            await each.kill()
        if row.finished_at is not None:
            return
    workers(rig)


async def test_a_cutover_and_its_revert_go_on_with_one_machine_and_one_side(rig: Rig) -> None:
    source = await held(rig)
    job = await order(rig, source.server)
    async with source.running(), Sides(source, rig.machines / "runs").watched() as sides:
        await killed_in_every_step(rig, job)
        await rig.engine.ended(job, WorkState.SUCCEEDED)
        (made,) = await cutovers(rig, source.server)
        assert made.state is CutoverState.SUCCEEDED
        assert (sides.machines, source.is_active) == ({made.id}, False)
        revert = await rig.revert(source.server)
        await killed_in_every_step(rig, revert)
        await rig.engine.ended(revert, WorkState.SUCCEEDED)
        assert source.is_active
    assert sides.both == []
    assert rig.on_node() == ([], [])
    assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER


@pytest.mark.parametrize("number", range(4, LAUNCH))
async def test_a_cutover_that_is_cancelled_in_a_step_while_workers_die_leaves_the_source_running(
    rig: Rig, number: int
) -> None:
    source = await held(rig)
    job = await order(rig, source.server)
    async with source.running(), Sides(source, rig.machines / "runs").watched() as sides:
        first = workers(rig)
        await rig.engine.until(job, partial(is_at, number))
        await rig.engine.cancel(job)
        for each in first:
            await each.kill()
        await killed_in_every_step(rig, job)
        await rig.engine.ended(job, WorkState.CANCELLED)
    assert (sides.both, sides.machines, source.is_active) == ([], set(), True)
    (made,) = await cutovers(rig, source.server)
    assert made.state is CutoverState.UNDONE
    assert rig.on_node() == ([], [])
    assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER


async def test_a_launch_that_wakes_up_after_the_revert_starts_nothing(rig: Rig) -> None:
    source = await held(rig, talking_disk())
    rig.work()
    async with source.running():
        job = await order(rig, source.server)
        await rig.engine.ended(job, WorkState.SUCCEEDED)
        await rig.engine.ended(await rig.revert(source.server), WorkState.SUCCEEDED)
    await late_launch(rig)
    assert rig.on_node() == ([], [])


async def late_launch(rig: Rig) -> None:
    """What a process does that was stopped right before it took the target's lock."""
    from app.contract.words import InstancePurpose
    from app.launch.errors import InstanceRetired
    from app.launch.machine import LaunchOrder, MachineSpec, Volume
    from app.migration.launch.targets import target_of

    tomb = next((rig.machines / "runs").glob(".cut-*.retired"))
    cutover = tomb.name.removeprefix(".").removesuffix(".retired")
    target = target_of(rig.services.settings.launch, rig.services.clock, InstancePurpose.CUTOVER)
    volume = Volume("chk-1", "dsk-1", rig.machines / "none.raw", 1 << 20, "00" * 32)
    with pytest.raises(InstanceRetired):
        await target.launch(LaunchOrder(cutover, MachineSpec(), (volume,), InstancePurpose.CUTOVER))
