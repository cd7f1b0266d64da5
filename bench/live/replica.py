"""The product at work: a service process, agents that follow disks, and an operator at the REST API."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from app.agent.daemon.state import StateDir
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.client import access, replication, servers
from app.client.transport import Client
from app.contract.resources.checkpoint import Checkpoint
from app.contract.resources.server import Server, ServerUpdate
from app.contract.words import ReplicationOperation
from bench.compare import require_equal
from bench.freespace import joined
from bench.live.host import Disk
from bench.live.lag import Copy
from bench.live.results import PreflightTime
from bench.network import End
from bench.peers.go2cloud import AGENT, USER, Go2cloud
from bench.peers.peer import Stage
from bench.processes import Process, ProcessFailed

LOOK_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 300.0


class Replica:
    """A server's replica, and the operator's view of it.

    `state` is the agent's folder, `system` a disk that the server has before the one that is written to,
    `options` are more words for the agent.
    """

    def __init__(
        self,
        service: Go2cloud,
        client: Client,
        disk: Disk,
        state: Path,
        *,
        system: Disk | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self._service = service
        self._client = client
        self.disk = disk
        self.state = state
        self.server = service.enroll(state, *(each.device for each in (system, disk) if each))
        self._options = options
        self._agents: list[Process] = []

    @property
    def agent(self) -> Process:
        """The agent that follows the disk."""
        return self._agents[-1]

    def copy_once(self) -> None:
        """Let an agent copy the disk once."""
        self._service.stage.processes.run(End.SOURCE, self._command("--once"))

    @contextmanager
    def following(self) -> Iterator[None]:
        """An agent that follows the disk, from its first checkpoint on; it makes others by order only."""
        self.set_interval(0)
        began = datetime.now(UTC)
        self._agents.append(self._service.stage.processes.start(End.SOURCE, self._command()))
        try:
            self.sync()
            self.await_checkpoint(lambda found: found.created_at > began)
            yield
        finally:
            self.agent.stop()

    def _command(self, *options: str) -> list[str]:
        hooks = str(self.state / "no-hooks")
        return [
            *AGENT,
            "run",
            *options,
            "--no-yield",
            "--hooks",
            hooks,
            *self._options,
            "--state-dir",
            str(self.state),
        ]

    def set_interval(self, seconds: int) -> None:
        """Between checkpoints; 0 for none but by order."""
        found = self.show()
        body = ServerUpdate(checkpoint_interval=timedelta(seconds=seconds))
        self._client.send(servers.update(self.server, found.version, body))

    def show(self) -> Server:
        """The server as the API shows it."""
        return self._client.send(servers.get(self.server))

    def sync(self) -> None:
        """Order a checkpoint."""
        self._client.send(replication.order(self.server, ReplicationOperation.SYNC))

    def checkpoint_now(self) -> Checkpoint:
        """Order a checkpoint and wait for it."""
        ordered = datetime.now(UTC)
        self.sync()
        return self.await_checkpoint(lambda found: found.source_time >= ordered)

    def pass_seconds(self, checkpoint: Checkpoint) -> float:
        """How long the agent's pass took that made it, as it says itself. Raises ProcessFailed."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for line in reversed(self.agent.log.read_text().splitlines(keepends=True)):
                if line.endswith("\n") and f'"{checkpoint.id}"' in line:
                    return float(json.loads(line)["seconds"])
            time.sleep(LOOK_SECONDS)
        raise ProcessFailed(f"the agent does not say how long checkpoint {checkpoint.number} took")

    def checkpoints(self, since: datetime) -> list[Checkpoint]:
        """Those that were committed since then, the oldest first, and the one before them."""
        found: list[Checkpoint] = []
        for checkpoint in self._client.every(servers.checkpoints(self.server)):
            found.append(checkpoint)
            if checkpoint.created_at < since:
                break
        return found[::-1]

    def await_checkpoint(
        self, is_wanted: Callable[[Checkpoint], bool], seconds: float = PATIENCE_SECONDS
    ) -> Checkpoint:
        """The first newest checkpoint that is as wanted. Raises ProcessFailed where none comes in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            newest = self._client.send(servers.checkpoints(self.server, limit=1)(None)).items
            if newest and is_wanted(newest[0]):
                return newest[0]
            time.sleep(LOOK_SECONDS)
        state = self._client.send(replication.get(self.server))
        why = f"{state.state}, {state.reason}, {state.detail}"
        raise ProcessFailed(f"no checkpoint within {seconds} s: {why}")

    def preflight(self) -> PreflightTime:
        """Let `go2cloud server preflight` do all its work. Raises ProcessFailed."""
        began = time.monotonic()
        self._service.operate("server", "preflight", self.server)
        wall = time.monotonic() - began
        found = self._client.send(servers.preflight(self.server))
        if found.report is None or found.verdict is None:
            raise ProcessFailed(f"the preflight {found.id} is {found.state}")
        agent, observed = found.report.duration_ms / 1000, found.report.observed_ms / 1000
        return PreflightTime(wall, agent, observed, found.verdict.outcome.value)

    def verify(self) -> None:
        """Compare one more checkpoint with the disk, which nobody writes to any more. Raises Differs."""
        self.set_interval(0)
        self.checkpoint_now()
        self.compare()

    def compare(self) -> None:
        """Compare an export of the newest checkpoint with the disk byte for byte. Raises Differs."""
        omitted = self._client.send(servers.checkpoint(self.server)).disks[0].omitted
        exported = self._service.export(self.server)
        ranges = joined([(each.offset, each.offset + each.length) for each in omitted])
        require_equal(self.disk.backing, exported, ranges)
        exported.unlink()


def forget_agent(state: Path) -> None:
    """Remove the trace instance and the run folder of an agent that has ended."""
    run = StateDir(state).run_dir
    TraceTracker(run).instance.remove()
    shutil.rmtree(run, ignore_errors=True)


def copies(checkpoints: list[Checkpoint]) -> list[Copy]:
    """Checkpoints as moments."""
    return [Copy(each.source_time.timestamp(), each.created_at.timestamp()) for each in checkpoints]


@contextmanager
def service_at(stage: Stage, **settings: str) -> Iterator[tuple[Go2cloud, Client]]:
    """A service at the target's end, and its operator: at that end as well, and so not on the wire."""
    service = Go2cloud(stage, None, settings=settings)
    service.serve()
    with stage.processes.network.entered(End.TARGET):
        with Client(service.url) as client:
            token = client.send(access.log_in(USER, service.password)).token
        with Client(service.url, token) as client:
            yield service, client
