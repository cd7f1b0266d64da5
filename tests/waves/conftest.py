"""Services with a job engine that runs waves of servers, whose jobs are small and write down what they do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import pytest
from sqlalchemy import update

from app.contract.paging import EVERYTHING
from app.contract.resources.wave import ApplicationCreate, Run, ServerOfApplication, WaveCreate
from app.contract.wavewords import AbortMode, RunServerState, WaveOperation
from app.contract.words import LifecycleState, Place
from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database, UnitOfWork
from app.kit.settings import load_settings
from app.migration.projects.service import ensure_default_project
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.waves import applications, reports, runs, subjects, waves
from app.migration.waves.kinds import wave_kinds
from app.migration.waves.operations import Operation, Wish, done_in
from app.migration.waves.ordering import Direction
from app.store.folder import FolderBackend
from app.store.objects import ObjectStore
from app.work.context import Context
from app.work.errors import StepFailed
from app.work.jobs import Order, Ordered
from app.work.kinds import JobKind, OnFailure, Step
from tests.replication.agent_double import AgentDouble
from tests.work.engine import Engine, running_engine

S = RunServerState
SMALL = "server.small"
KEPT = "server.kept"
"""The kind whose failed jobs are kept, and go on where they stand."""


@dataclass
class Record:
    """What the servers' jobs did: each begins and ends once, and how many ran at once."""

    begun: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    over_before: dict[str, frozenset[str]] = field(default_factory=dict)
    """Who was over when a server began (the last time)."""
    now: set[str] = field(default_factory=set)
    most: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    broken: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    seconds: float = 0.02
    prepared: list[str] = field(default_factory=list)

    async def prepare(self, context: Context) -> None:
        """What is kept when the step behind it fails."""
        self.prepared.append(context.input(str))

    async def work(self, context: Context) -> None:
        """A job of a server: it takes a moment, or as long as it is held, and fails where it is broken."""
        name = context.input(str)
        if context.key not in self.runs:
            self.begun.append(name)
            self.over_before[name] = frozenset(self.over)
        self.runs[context.key] += 1
        self.now.add(name)
        self.most = max(self.most, len(self.now))
        try:
            await asyncio.sleep(self.seconds)
            while name in self.held:
                context.check_cancelled()
                await asyncio.sleep(0.01)
            if name in self.broken:
                raise StepFailed(f"{name} has no bootloader", code="NO_BOOTLOADER", remedy="install one")
        finally:
            self.now.discard(name)
        self.over.append(name)


async def _make(_services: Services, _uow: UnitOfWork, server: ServerRow, wish: Wish) -> Ordered:
    return Ordered(SMALL, _order(server, wish))


async def _make_kept(_services: Services, _uow: UnitOfWork, server: ServerRow, wish: Wish) -> Ordered:
    return Ordered(KEPT, _order(server, wish))


def _order(server: ServerRow, wish: Wish) -> Order:
    by = wish.requested_by
    return Order(server.project_id, server.name, server_id=server.id, subject=server.id, requested_by=by)


def small_operations() -> Mapping[WaveOperation, Operation]:
    """Every operation with a small job, and states in which nothing is to be done."""
    nothing = done_in(LifecycleState.CUTOVER)
    return MappingProxyType(
        {
            WaveOperation.TEST: Operation("test", Direction.FORWARD, None, nothing, _make),
            WaveOperation.TERMINATE_TEST: Operation(
                "terminate-test", Direction.NONE, None, nothing, _make_kept
            ),
            WaveOperation.REVERT: Operation("revert", Direction.BACKWARD, None, nothing, _make),
        }
    )


@dataclass(frozen=True)
class Rig:
    """An operator at the services, workers for the jobs, and the record of the servers' jobs."""

    services: Services
    engine: Engine
    record: Record
    operations: Mapping[WaveOperation, Operation]

    async def servers(self, *names: str) -> None:
        """Enrol servers."""
        for name in names:
            await AgentDouble.enrolled(self.services, name)

    async def application(self, name: str, servers: Mapping[str, int], after: Sequence[str] = ()) -> None:
        """An application of servers with their groups; the servers are enrolled."""
        await self.servers(*servers)
        members = tuple(ServerOfApplication(server=each, group=group) for each, group in servers.items())
        wanted = ApplicationCreate(name=name, servers=members, after=tuple(after))
        async with self.services.database.begin() as uow:
            await applications.create_application(uow, EVERYTHING, wanted)

    async def wave(
        self, *applications: str, at_once: int = 4, stop_after: int | None = None, name: str = "one"
    ) -> None:
        """A wave."""
        wanted = WaveCreate(
            name=name,
            servers_at_once=at_once,
            stop_after_failures=stop_after,
            applications=applications,
        )
        async with self.services.database.begin() as uow:
            await waves.create_wave(uow, EVERYTHING, wanted)

    async def order(self, operation: WaveOperation = WaveOperation.TEST, wave: str = "one") -> str:
        """Order a run of a wave; its job."""

        async def work(uow: UnitOfWork) -> str:
            subject = await subjects.wave_subject(uow, EVERYTHING, wave)
            return await runs.order_run(self.services, uow, subject, operation, Wish("ann"), self.operations)

        return await self.services.database.run(work)

    async def order_application(self, name: str) -> str:
        """Order a test of an application; its job."""

        async def work(uow: UnitOfWork) -> str:
            subject = await subjects.application_subject(uow, EVERYTHING, name)
            test = WaveOperation.TEST
            return await runs.order_run(self.services, uow, subject, test, Wish("ann"), self.operations)

        return await self.services.database.run(work)

    async def abort(self, mode: AbortMode, wave: str = "one") -> str:
        """Abort a wave's run."""

        async def work(uow: UnitOfWork) -> str:
            subject = await subjects.wave_subject(uow, EVERYTHING, wave)
            return await runs.abort_run(self.services, uow, subject, mode, "ann")

        return await self.services.database.run(work)

    async def run(self, ref: str = reports.LATEST, wave: str = "one") -> Run:
        """A run's summary."""
        async with self.services.database.reading() as uow:
            subject = await subjects.wave_subject(uow, EVERYTHING, wave)
            return await reports.get_run(uow, subject, ref)

    async def states(self) -> dict[str, RunServerState]:
        """How each server stands in the newest run, by name."""
        return {each.server.name: each.state for each in (await self.run()).servers}

    async def lead(self, name: str, state: LifecycleState) -> None:
        """Put a server into a state."""
        async with self.services.database.begin() as uow:
            here = update(ServerRow).where(ServerRow.name == name)
            await uow.session.execute(here.values(lifecycle_state=state))


@pytest.fixture
async def services(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Services]:
    """The services of a process of roles api and agent."""
    loaded = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    backend = FolderBackend(tmp_path / "store")
    bus = InProcessBus()
    yield Services(loaded, clock, database, bus, ObjectStore(backend, clock=clock))
    await bus.close()
    backend.close()


@pytest.fixture
async def rig(services: Services) -> AsyncIterator[Rig]:
    operations = small_operations()
    async with running_engine(services.database) as engine:
        async with services.database.begin() as uow:
            await ensure_default_project(uow)
        rig = Rig(services, replace(engine, jobs=services.jobs), Record(), operations)
        step = Step("only", Place.VOLUMES, rig.record.work, on_failure=OnFailure.UNDO)
        services.kinds.add(JobKind(SMALL, (step,)))
        first = Step("first", Place.VOLUMES, rig.record.prepare)
        services.kinds.add(JobKind(KEPT, (first, Step("only", Place.VOLUMES, rig.record.work))))
        for kind in wave_kinds(services, operations):
            services.kinds.add(kind)
        yield rig
