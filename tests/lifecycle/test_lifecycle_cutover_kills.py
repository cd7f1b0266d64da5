"""Cutovers whose workers are killed in every step in turn: never two sides, never two machines.

What is active is looked at every few milliseconds all the while.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from app.contract.cutoverwords import CutoverState
from app.contract.words import HoldPhase, LifecycleState, Place, WorkState
from app.launch.qemu.runfolder import RunFolder
from app.migration.cutover.kinds import cutover_kinds
from app.work.attempt import Lease
from app.work.context import Context
from app.work.kinds import JobKind, Kinds, Step, StepRun, StepUndo
from tests.lifecycle.conftest import Rig
from tests.lifecycle.held_source import HeldSource
from tests.lifecycle.test_lifecycle_cutovers import ON_SQLITE, cutovers, held, lifecycle, order
from tests.work.engine import Started

pytestmark = pytest.mark.slow


PATIENT = Lease(seconds=2.0, look_seconds=0.05, grace_seconds=0.1)
"""Workers that are killed are missed soon; those that watch a machine for seconds have to keep theirs."""


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
    rig.engine.start(Place.CONTROL, Place.VOLUMES, lease=PATIENT)
    return rig.engine.started[before:]


@dataclass
class Deaths:
    """Lets each step stand still once after its effect, which is not written down yet: its worker is killed
    there. So the step is run again, by others, on what it did.
    """

    met: set[str] = field(default_factory=set)
    standing: asyncio.Event = field(default_factory=asyncio.Event)

    def kind(self, kind: JobKind) -> JobKind:
        """The same plan, whose steps and undoings stand still."""
        return replace(kind, steps=tuple(map(self._step, kind.steps)))

    def _step(self, step: Step) -> Step:
        undo = None if step.undo is None else self._call(f"undo {step.name}", step.undo)
        return replace(step, run=self._call(step.name, step.run), undo=undo)

    def _call(self, name: str, call: StepRun | StepUndo) -> Callable[[Context], Awaitable[Any]]:
        async def slowly(context: Context) -> object:
            result = await call(context)
            await self._stand(name)
            return result

        return slowly

    async def _stand(self, name: str) -> None:
        if name not in self.met:
            self.met.add(name)
            self.standing.set()
            await asyncio.sleep(3600)

    async def ended(self, rig: Rig, job: str, state: WorkState) -> None:
        """Kill the workers at each place in turn; the last ones end the job, and go, too.

        Who stayed would take up the next job, and stand still where nobody kills it.
        """
        while True:
            started = workers(rig)
            over = asyncio.create_task(rig.engine.ended(job))
            standing = asyncio.create_task(self.standing.wait())
            await asyncio.wait({over, standing}, return_when=asyncio.FIRST_COMPLETED)
            self.standing.clear()
            standing.cancel()
            for each in started:
                await each.kill()
            if over.done():
                assert over.result().state == state, await rig.engine.texts(job)
                return
            over.cancel()


def deadly(rig: Rig, deaths: Deaths) -> Rig:
    """The same rig, whose cutovers stand still everywhere once."""
    kinds = Kinds(*(deaths.kind(kind) for kind in cutover_kinds(rig.services)))
    services = replace(rig.services, kinds=kinds)
    return Rig(services, replace(rig.engine, jobs=services.jobs), rig.machines)


@ON_SQLITE
async def test_a_cutover_and_its_revert_go_on_with_one_machine_and_one_side(rig: Rig) -> None:
    source, deaths = await held(rig), Deaths()
    rig = deadly(rig, deaths)
    job = await order(rig, source.server)
    async with source.running(), Sides(source, rig.machines / "runs").watched() as sides:
        await deaths.ended(rig, job, WorkState.SUCCEEDED)
        (made,) = await cutovers(rig, source.server)
        assert made.state is CutoverState.SUCCEEDED
        assert (sides.machines, source.is_active) == ({made.id}, False)
        await deaths.ended(rig, await rig.revert(source.server), WorkState.SUCCEEDED)
        assert source.is_active
    assert len(deaths.met) == 13 + 4 - 1
    assert sides.both == []
    assert rig.on_node() == ([], [])
    assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER


@ON_SQLITE
async def test_a_cutover_that_is_undone_by_whoever_is_left_leaves_the_source_running(rig: Rig) -> None:
    source, deaths = await held(rig), Deaths()
    source.refuses = {HoldPhase.HELD: "NO"}
    rig = deadly(rig, deaths)
    job = await order(rig, source.server)
    async with source.running(), Sides(source, rig.machines / "runs").watched() as sides:
        await deaths.ended(rig, job, WorkState.FAILED)
    assert (sides.both, sides.machines, source.is_active) == ([], set(), True)
    assert [each.state for each in await cutovers(rig, source.server)] == [CutoverState.UNDONE]
    assert rig.on_node() == ([], [])
    assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER
