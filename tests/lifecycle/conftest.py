"""Services with a job engine that runs tests of servers on this node, and leaves no machine behind."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from app.contract.paging import EVERYTHING, PageRequest
from app.contract.resources.launch import LaunchSettings, LaunchSettingsUpdate, ServerTest, TestOrder
from app.contract.words import Place, WorkState
from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock, SystemClock
from app.kit.database import Database
from app.kit.settings import load_settings
from app.migration.cutover import orders as cutting
from app.migration.cutover.kinds import cutover_kinds
from app.migration.follow.steps import follow_kinds
from app.migration.launch import orders, service, settings
from app.migration.launch.kinds import launch_kinds
from app.migration.launch.targets import target_of
from app.migration.publish.steps import publish_kinds
from app.migration.servers.enrolment import find_server
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.targets.validating import target_kinds
from app.store.folder import FolderBackend
from app.store.objects import ObjectStore
from app.work.tables import JobRow
from tests.launch.conftest import end_all
from tests.replication.agent_double import AgentDouble
from tests.work.engine import Engine, running_engine

SMALL = LaunchSettingsUpdate(cpus=1, memory_bytes=64 << 20, nics=(), firmware="bios", conversion="off")


@pytest.fixture
async def services(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Services]:
    """The services of a process of roles api and agent."""
    keys = str(tmp_path / "credentials")
    environ = {"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path), "G2C_LAUNCH__S3_CREDENTIALS": keys}
    loaded = load_settings(environ)
    backend = FolderBackend(tmp_path / "store")
    bus = InProcessBus()
    services = Services(loaded, clock, database, bus, ObjectStore(backend, clock=clock))
    for kinds in (launch_kinds, cutover_kinds, target_kinds, follow_kinds, publish_kinds):
        for kind in kinds(services):
            services.kinds.add(kind)
    yield services
    await bus.close()
    backend.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Path]:
    """The folder of machines; those that a test leaves are ended."""
    loaded = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    yield loaded.launch.folder
    end_all(target_of(loaded.launch, SystemClock()))


@dataclass(frozen=True)
class Rig:
    """An operator at the services, and workers for the jobs."""

    services: Services
    engine: Engine
    machines: Path

    def work(self, node: str = "node") -> None:
        """Let workers of both places run from now on."""
        self.engine.start(Place.CONTROL, Place.VOLUMES, node=node)

    async def server(self, content: bytes, name: str = "web-1") -> AgentDouble:
        """A server with one disk and one checkpoint, and a small machine."""
        agent = await AgentDouble.enrolled(self.services, name)
        await agent.replicate({"disk-a": content})
        await self.set(agent.server, SMALL)
        return agent

    async def set(self, server: str, wanted: LaunchSettingsUpdate) -> LaunchSettings:
        """Set launch settings."""
        caps = self.services.settings.launch
        async with self.services.database.begin() as uow:
            row = await find_server(uow, server)
            now = await settings.get_settings(uow, row, caps)
            return await settings.put_settings(uow, row, now.version, wanted, caps)

    async def order(self, server: str, checkpoint: str | None = None) -> str:
        """Order a test; the job's id."""
        async with self.services.database.begin() as uow:
            wanted = TestOrder(checkpoint=checkpoint)
            return await orders.order_test(self.services, uow, EVERYTHING, server, wanted, "ann")

    async def terminate(self, server: str) -> str:
        """Order the end of the test machine; the job's id."""
        async with self.services.database.begin() as uow:
            return await orders.order_termination(self.services, uow, EVERYTHING, server, "ann")

    async def revert(self, server: str) -> str:
        """Revert; the job's id."""
        async with self.services.database.begin() as uow:
            return await cutting.revert(self.services, uow, EVERYTHING, server, "ann")

    async def tested(self, server: str, state: WorkState) -> JobRow:
        """Test and wait for the end of the job, in this state."""
        return await self.engine.ended(await self.order(server), state)

    async def tests(self, server: str) -> tuple[ServerTest, ...]:
        """The tests of a server, the newest first."""
        async with self.services.database.reading() as uow:
            return (await service.list_tests(uow, server, PageRequest())).items

    async def row(self, server: str) -> ServerRow:
        """The server's row."""
        async with self.services.database.reading() as uow:
            return await find_server(uow, server)

    def on_node(self) -> tuple[list[str], list[str]]:
        """The names of the machines, and of the volumes, that are there."""
        runs = [each.name for each in (self.machines / "runs").glob("*") if each.is_dir()]
        volumes = [*self.machines.glob("volumes/*/*.raw"), *self.machines.glob("cutovers/*/*.raw")]
        return sorted(runs), sorted(each.name for each in volumes)


@pytest.fixture
async def rig(services: Services, machines: Path) -> AsyncIterator[Rig]:
    async with running_engine(services.database) as engine:
        yield Rig(services, replace(engine, jobs=services.jobs), machines)
