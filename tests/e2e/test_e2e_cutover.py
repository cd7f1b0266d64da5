"""A running source is cut over to a machine that serves all it acknowledged; whatever is killed meanwhile."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from app.client import cutovers, jobs, servers, tests
from app.client.transport import Client
from app.contract.cutoverwords import CutoverPhase, CutoverState
from app.contract.resources.cutover import Cutover
from app.contract.resources.job import Job
from app.contract.resources.launch import LaunchSettingsUpdate
from app.contract.words import ConsistencyLabel, LifecycleState, ReplicationState, ServerOperation, WorkState
from app.kit.clock import SystemClock
from app.kit.settings import load_settings
from app.launch.qemu.runfolder import RunFolder
from app.migration.launch.targets import target_of
from tests.e2e.bootable_source import BootableSource, bootable_source
from tests.e2e.deployment import Deployment, embedded, until
from tests.e2e.source_host import SourceHost
from tests.launch.conftest import end_all

pytestmark = [pytest.mark.slow, pytest.mark.root]

SECONDS = 180.0
MACHINE = LaunchSettingsUpdate.model_validate(
    {
        "cpus": 1,
        "memoryBytes": 256 << 20,
        "firmware": "bios",
        "nics": [{"mac": "52:54:00:12:34:56"}],
        "checks": [{"kind": "http", "port": 8080, "path": "/ledger.txt"}],
        "timeout": "PT3M",
    }
)
SETTINGS = {
    "G2C_WORK__LEASE_SECONDS": "5",
    "G2C_WORK__NODE": "here",
    "G2C_AGENT__SYNC_INTERVAL_SECONDS": "5",
    "G2C_CUTOVER__STOP_SECONDS": "60",
}


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Role `all`, of whose machines none outlives the test."""
    folder = tmp_path / "service"
    folder.mkdir()
    try:
        with embedded(folder, **SETTINGS) as running:
            yield running
    finally:
        settings = load_settings({"G2C_DATA_DIR": str(folder), "HOME": str(folder)})
        end_all(target_of(settings.launch, SystemClock()))


@pytest.fixture
def source(tmp_path: Path) -> Iterator[BootableSource]:
    folder = tmp_path / "source"
    folder.mkdir()
    with bootable_source(folder) as running:
        yield running


@dataclass
class Sides:
    """Which sides were seen active, looked at every few milliseconds by a thread."""

    source: BootableSource
    runs: Path
    machines: set[str] = field(default_factory=set)
    both: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator["Sides"]:
        """Look all the while."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.01):
            alive = self.alive()
            self.machines |= set(alive)
            if len(alive) + self.source.is_active() > 1:
                self.both.append(f"{alive}, source active: {self.source.is_active()}")

    def alive(self) -> list[str]:
        """The machines that run."""
        folders = self.runs.glob("cut-*") if self.runs.exists() else ()
        processes = [(folder.name, RunFolder(folder).process()) for folder in folders]
        return [name for name, process in processes if process is not None and process.alive()]


@dataclass(frozen=True)
class Scene:
    """A source whose agent runs, ready for its cutover."""

    deployment: Deployment
    source: BootableSource
    host: SourceHost
    server: str

    def client(self) -> Client:
        return self.deployment.client()

    def lifecycle(self) -> LifecycleState:
        with self.client() as client:
            return client.send(servers.get(self.server)).lifecycle_state

    def latest(self) -> Cutover:
        with self.client() as client:
            return client.send(cutovers.get(self.server))

    def agent(self) -> AbstractContextManager["subprocess.Popen[str]"]:
        """The agent at work."""
        none = self.source.folder / "no-hooks"
        return self.host.running("--cutover-hooks", str(self.source.hooks), "--hooks", str(none))

    def be_ready(self) -> None:
        """Wait until replication is continuous and frozen, and let the server be ready for its cutover."""
        until(self.is_ready, SECONDS, "replication is continuous, its head frozen")
        with self.client() as client:
            client.send(tests.set_settings(self.server, 0, MACHINE))
            self.job(client.send(tests.order(self.server)), WorkState.SUCCEEDED)
            client.send(tests.mark_ready(self.server))

    def is_ready(self) -> bool:
        with self.client() as client:
            found = client.send(servers.get(self.server))
        is_frozen = found.head_checkpoint and found.head_checkpoint.label is ConsistencyLabel.FROZEN
        return bool(is_frozen) and found.replication_state is ReplicationState.CONTINUOUS

    def job(self, job: Job, state: WorkState) -> Job:
        """The job when it is over, in this state; a service that is away is waited for."""
        deadline = time.monotonic() + SECONDS
        with self.client() as client:
            while job.state in (WorkState.PENDING, WorkState.RUNNING):
                assert time.monotonic() < deadline, job
                time.sleep(0.2)
                job = client.send(jobs.get(job.id))
        assert job.state is state, job
        return job

    def at_step(self, job: Job, *names: str) -> str:
        """The job's step as soon as it is one of these, or it is over."""
        deadline = time.monotonic() + SECONDS
        with self.client() as client:
            while True:
                found = client.send(jobs.get(job.id))
                if found.step in names or found.state not in (WorkState.PENDING, WorkState.RUNNING):
                    return found.step or ""
                assert time.monotonic() < deadline, found
                time.sleep(0.02)

    def restart(self, **settings: str) -> None:
        """Kill the service as a power cut would, and start it again."""
        self.deployment.kill("all")
        self.deployment.environment.update(settings)
        self.deployment.start()

    def served(self) -> list[int]:
        """The numbers that the launched machine serves."""
        (forward,) = self.latest().forwards
        text = httpx2.get(f"http://127.0.0.1:{forward.host}/ledger.txt", timeout=30).text
        return [int(line) for line in text.split()]


@pytest.fixture
def scene(deployment: Deployment, source: BootableSource, tmp_path: Path) -> Scene:
    host = SourceHost(tmp_path / "agent")
    return Scene(deployment, source, host, host.enroll(deployment, source.device))


def assert_whole(scene: Scene) -> None:
    """The machine serves every row that was acknowledged; the last one may have been on its way to that."""
    served, told = scene.served(), scene.source.told()
    assert served == list(range(1, len(served) + 1))
    assert len(served) in (told, told + 1)


def test_a_source_that_writes_is_cut_over_and_every_row_that_it_acknowledged_is_served(scene: Scene) -> None:
    with scene.agent(), Sides(scene.source, scene.deployment.folder / "launch/runs").watched() as sides:
        scene.be_ready()
        with scene.client() as client:
            plan = client.send(cutovers.plan(scene.server, ServerOperation.CUTOVER))
            assert plan.possible, plan
            job = client.send(cutovers.order(scene.server))
        scene.job(job, WorkState.SUCCEEDED)
        made = scene.latest()
        assert (made.state, made.source_active) == (CutoverState.SUCCEEDED, False)
        assert [each.phase for each in made.phases] == list(CutoverPhase)
        assert scene.source.told() > 100
        assert_whole(scene)
        assert (sides.machines, sides.both, scene.source.is_active()) == ({made.id}, [], False)
        with scene.client() as client:
            scene.job(client.send(cutovers.finalize(scene.server)), WorkState.SUCCEEDED)
        assert scene.lifecycle() is LifecycleState.CUTOVER
        assert scene.latest().ledger
        assert_whole(scene)
        assert not scene.source.is_active()
        with scene.client() as client:
            client.send(cutovers.archive(scene.server))
            assert list(client.every(servers.page)) == []


def test_whatever_is_killed_one_side_is_active_and_the_source_comes_back(scene: Scene) -> None:
    with Sides(scene.source, scene.deployment.folder / "launch/runs").watched() as sides:
        with scene.agent():
            scene.be_ready()
            with scene.client() as client:
                job = client.send(cutovers.order(scene.server))
            scene.at_step(job, "stop")
            scene.restart()
            scene.at_step(job, "cut")
        with scene.agent():
            scene.at_step(job, "launch")
            scene.restart()
            scene.job(job, WorkState.SUCCEEDED)
            first = scene.latest()
            assert_whole(scene)
            with scene.client() as client:
                job = client.send(cutovers.revert(scene.server))
            scene.at_step(job, "terminate", "release")
        scene.restart()
        with scene.agent():
            scene.job(job, WorkState.SUCCEEDED)
            assert (scene.source.is_active(), sides.alive()) == (True, [])
            until(scene.is_ready, SECONDS, "replication goes on")
            give_up_on_the_service(scene)
        assert (sides.machines, sides.both) == ({first.id}, [])


def give_up_on_the_service(scene: Scene) -> None:
    """A source that hears nothing for long starts its services by itself, and that cutover is over."""
    scene.restart(G2C_CUTOVER__STOP_SECONDS="10")
    with scene.client() as client:
        job = client.send(cutovers.order(scene.server))
    scene.at_step(job, "apply", "convert", "keep")
    scene.deployment.kill("all")
    assert not scene.source.is_active()
    until(scene.source.is_active, SECONDS, "the source has its services back")
    scene.deployment.start()
    job = scene.job(job, WorkState.FAILED)
    assert scene.latest().state is CutoverState.UNDONE
    assert scene.lifecycle() is LifecycleState.READY_FOR_CUTOVER
