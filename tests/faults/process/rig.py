"""One service and one source host under fire, and what must hold after every fault.

A round is: the disk changes, a fault strikes while it is replicated, whoever died is started again, the agent
comes to its end. Then the replica equals the source, hardly anything was sent twice, and the store is clean.
"""

import asyncio
import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app import offline
from app.kit.settings import Settings, load_settings
from app.store.findings import CheckReport, Finding, FindingKind, no_progress
from tests.e2e.deployment import USER, Deployment, basic_environment, run_deployment
from tests.e2e.replica import assert_identical
from tests.e2e.source_host import SourceHost
from tests.faults.process.killable import PACK_BYTES, ROOT, program
from tests.faults.process.ledger import Ledger, Sent
from tests.faults.process.orders import OrderBook
from tests.services.processes import free_port

MIB = 1 << 20
CHUNK = 256 * 1024
PIPE_BYTES = 12 * MIB
"""What may be between the two programs: the buffers of the kernel at both ends and one frame."""

IN_FLIGHT = 5 * PACK_BYTES + PIPE_BYTES
"""What one fault may cost at most: the packs that fill, are written and are recorded, the batches of as much
that are gathered and checked, and the pipe."""

AGENT_SECONDS = 180.0
GRACES = (1, 4, 16)
"""Seconds, of one garbage collection after the other."""


@dataclass
class Agent:
    """A running agent whose output goes to a file."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    def wait(self) -> int:
        """Its exit code. Fails the test when it does not end in time."""
        try:
            return self.process.wait(AGENT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not end in {AGENT_SECONDS} s: {self.tail()}") from None

    def tail(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-2000:]


@dataclass
class Rig:
    """The two programs, their orders, and the source's disk.

    `fresh` is how many bytes of the disk are new since the last verified replication, `before` what had been
    sent by then.
    """

    folder: Path
    deployment: Deployment
    host: SourceHost
    disk: Path
    service_orders: OrderBook
    agent_orders: OrderBook
    ledger: Ledger
    rng: random.Random
    server: str = ""
    fresh: int = 0
    before: Sent = field(default_factory=Sent)
    agents: list[Agent] = field(default_factory=list)

    def enroll(self, url: str | None = None) -> None:
        """Make the host a server."""
        self.server = self.host.enroll(self.deployment, self.disk, url=url)
        self.fresh = self.disk.stat().st_size

    def change(self, chunks: int, blocks: int = 0) -> None:
        """Rewrite so many whole chunks of the disk, and so many blocks in others."""
        count = self.disk.stat().st_size // CHUNK
        chosen = self.rng.sample(range(count), min(count, chunks + blocks))
        with self.disk.open("r+b") as file:
            for at in chosen[:chunks]:
                file.seek(at * CHUNK)
                file.write(self.rng.randbytes(CHUNK))
            for at in chosen[chunks:]:
                file.seek(at * CHUNK + 4096 * self.rng.randrange(CHUNK // 4096))
                file.write(self.rng.randbytes(4096))
        self.fresh += len(chosen[:chunks]) * CHUNK + len(chosen[chunks:]) * 4096

    def start_agent(self, *arguments: str) -> Agent:
        """Start `run` in the background."""
        log = self.folder / "agent.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.host.command("run", *arguments),
                env=self.host.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        agent = Agent(process, log)
        self.agents.append(agent)
        return agent

    @contextmanager
    def daemon(self) -> Iterator[Agent]:
        """An agent that synchronises every second while the block runs, and then ends well."""
        agent = self.start_agent()
        yield agent
        agent.process.terminate()
        assert agent.wait() == 0, agent.tail()

    def finish(self, agent: Agent) -> None:
        """Wait for an agent; if it gave up or was killed, another one brings the replica up to date."""
        if agent.wait() != 0:
            again = self.start_agent("--once")
            assert again.wait() == 0, f"the agent does not recover: {again.tail()}"

    def restart_service(self) -> CheckReport:
        """The service was killed: what it left behind is whole; then it runs again."""
        self.bury_service()
        report = self.check()
        self.deployment.start()
        return report

    def bury_service(self) -> None:
        """Take note of processes of the service that were killed."""
        for role, process in list(self.deployment.processes.items()):
            if process.poll() is not None:
                assert process.returncode == -9, f"{role} ended by itself: {process.returncode}"
                del self.deployment.processes[role]

    def service_is_dead(self) -> bool:
        """Whether any of its processes ended."""
        return any(process.poll() is not None for process in self.deployment.processes.values())

    def check(self) -> CheckReport:
        """`store check --read-data` in this process, while no service runs: nothing harmful may be found."""
        report = _checked(load_settings(self.deployment.environment))
        assert report.is_whole, [str(finding) for finding in report.findings]
        return report

    def assert_replicated(self, faults: int) -> Sent:
        """The replica is the source, and since the last time what is new was sent, and once more what each of
        the faults had in flight."""
        assert_identical(self.deployment, self.server, self.disk)
        now = self.ledger.read()
        sent, most = now - self.before, self.fresh + faults * IN_FLIGHT + MIB
        fresh, self.before, self.fresh = self.fresh, now, 0
        assert sent.bytes <= most, f"{sent} where {fresh} bytes are new and {faults} faults struck"
        return sent

    def close(self) -> None:
        """End the agents that still run, withdraw the orders, take note of what was killed."""
        for agent in self.agents:
            if not agent.has_ended:
                agent.process.kill()
                agent.process.wait(AGENT_SECONDS)
        self.service_orders.withdraw()
        self.agent_orders.withdraw()
        self.bury_service()


Shape = Callable[[Path, dict[str, str]], Deployment]
"""Makes a deployment in a folder, with settings."""


def embedded(folder: Path, environment: dict[str, str]) -> Deployment:
    """Role `all` on SQLite."""
    return Deployment(folder, environment, {"all": free_port()}, program=program("service"))


@contextmanager
def rig(
    folder: Path,
    seed: int,
    *,
    disk_mib: int = 48,
    shape: Shape = embedded,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Rig]:
    """A service and a host with one disk, both under fire; `settings` go into the service's environment.

    At the end garbage is collected almost without grace, and the check then finds nothing at all. What takes
    room is removed in any case.
    """
    made = _make(folder, seed, disk_mib, shape, dict(settings or {}))
    try:
        with contextlib.contextmanager(run_deployment)(made.deployment, _set_up):
            try:
                yield made
            finally:
                made.close()
        assert_spotless(made.deployment)
    finally:
        shutil.rmtree(made.deployment.folder / "store", ignore_errors=True)
        made.disk.unlink()


def _set_up(deployment: Deployment) -> None:
    """What the commands `db upgrade` and `admin create` do, in this process: that is faster."""
    settings = load_settings(deployment.environment)
    asyncio.run(offline.upgrade(settings, "head"))
    deployment.password = asyncio.run(offline.create_administrator(settings, USER)).password


def _make(folder: Path, seed: int, disk_mib: int, shape: Shape, settings: dict[str, str]) -> Rig:
    rng = random.Random(seed)
    service_orders, agent_orders = OrderBook(folder / "service.order"), OrderBook(folder / "agent.order")
    ledger = Ledger(folder / "ledger")
    path = {"PYTHONPATH": str(ROOT)}
    home = folder / "service"
    home.mkdir(parents=True)
    ours = {"G2C_AGENT__SYNC_INTERVAL_SECONDS": "5"} | settings | dict(service_orders.environment) | path
    host = SourceHost(
        folder / "agent", program("agent"), {**agent_orders.environment, **ledger.environment, **path}
    )
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        for _ in range(disk_mib):
            file.write(rng.randbytes(MIB))
    deployment = shape(home, basic_environment(home) | ours)
    return Rig(folder, deployment, host, disk, service_orders, agent_orders, ledger, rng)


def assert_spotless(deployment: Deployment) -> None:
    """After a garbage collection that spares next to nothing the check finds nothing, however harmless.

    What a collection writes itself must be recorded within a quarter of the grace: on a machine that is too
    busy for that it leaves an orphan, and the next one, with a longer grace, has to take it away.
    """
    for grace in GRACES:
        findings = _left_by_collection(deployment, grace)
        if not findings or any(finding.kind is not FindingKind.PACK_UNKNOWN for finding in findings):
            break
    assert not findings, [str(finding) for finding in findings]


def _left_by_collection(deployment: Deployment, grace: int) -> list[Finding]:
    """What a check finds after a collection that spares nothing older than `grace` seconds."""
    time.sleep(grace + 0.1)
    settings = load_settings(deployment.environment | {"G2C_STORE__GC_GRACE_SECONDS": str(grace)})
    asyncio.run(offline.collect_garbage(settings))
    return _checked(settings).findings


def _checked(settings: Settings) -> CheckReport:
    """What `store check --read-data` does, in this process."""
    return asyncio.run(offline.check_store(settings, read_data=True, subset=None, progress=no_progress))
