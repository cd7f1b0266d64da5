"""A source at work whose agent runs, what an operator does with it, and which sides were seen active."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from app.client import cutovers, jobs, servers, tests
from app.client.transport import Client
from app.contract.resources.cutover import Cutover
from app.contract.resources.job import Job
from app.contract.resources.launch import LaunchSettingsUpdate
from app.contract.words import ConsistencyLabel, LifecycleState, ReplicationState, WorkState
from app.launch.qemu.runfolder import RunFolder
from tests.e2e.bootable_source import BootableSource
from tests.e2e.deployment import Deployment, until
from tests.e2e.source_host import SourceHost

SECONDS = 180.0
MACHINE = LaunchSettingsUpdate.model_validate(
    {
        "cpus": 1,
        "memoryBytes": 256 << 20,
        "firmware": "bios",
        "nics": [{"mac": "52:54:00:12:34:56"}],
        "checks": [{"kind": "http", "port": 8080, "path": "/ledger.txt"}],
        "timeout": "PT3M",
        "conversion": "off",
    }
)


@dataclass
class Sides:
    """Which sides were seen active, looked at every few milliseconds by a thread."""

    source: BootableSource
    runs: Path
    machines: set[str] = field(default_factory=set)
    both: list[str] = field(default_factory=list)
    most: int = 0
    """Processes of machines that were seen at once; one machine has one."""
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
        looks = 0
        while not self.over.wait(0.01):
            alive, looks = self.alive(), looks + 1
            if looks % 25 == 0:
                self.most = max(self.most, len(processes_of(self.runs)))
            self.machines |= set(alive)
            if len(alive) + self.source.is_active() > 1:
                self.both.append(f"{alive}, source active: {self.source.is_active()}")

    def alive(self) -> list[str]:
        """The machines that run."""
        folders = self.runs.glob("cut-*") if self.runs.exists() else ()
        processes = [(folder.name, RunFolder(folder).process()) for folder in folders]
        return [name for name, process in processes if process is not None and process.alive()]


def processes_of(runs: Path) -> list[int]:
    """The processes of the machines of a node, looked for among all processes."""
    names = [f"guest={each.name}".encode() for each in runs.glob("*")] if runs.exists() else []
    return [pid for pid, words in _qemus() if any(name in words for name in names)] if names else []


def _qemus() -> Iterator[tuple[int, bytes]]:
    """The id and the command line of each process of QEMU."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().startswith("qemu-system"):
                yield int(folder.name), (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


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


def assert_whole(scene: Scene) -> None:
    """The machine serves every row that was acknowledged; the last one may have been on its way to that.

    A program that was stopped on its way to it has written that row again when it was started.
    """
    served, told = scene.served(), scene.source.told()
    assert served == sorted(served)
    assert sorted(set(served)) == list(range(1, max(served) + 1))
    assert max(served) in (told, told + 1)
