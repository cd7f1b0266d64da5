"""The agent's verification with all around it real but the tracker: in its place the test keeps notes."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.agent.daemon.following.follower import Follower
from app.agent.daemon.host import Host as SourceHost
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.service import Service
from app.agent.daemon.state import StateDir
from app.agent.daemon.stopping import Stop
from app.agent.daemon.sync import Observer, Synchroniser, SyncResult
from app.agent.daemon.verification.background import Verifications
from app.agent.daemon.verification.writes import Writes
from app.client import servers, verifications
from app.contract.resources.verification import Verification
from app.contract.words import WorkState
from app.wire.messages import Poll
from tests.services.running import Running, enrolled

PATIENCE_SECONDS = 60.0
STANDING = (WorkState.PENDING, WorkState.RUNNING)


@dataclass
class NotedWrites:
    """What the test says was written since the head: (key, start, end). `on_drain` runs at each drain."""

    dirty: set[tuple[str, int, int]] = field(default_factory=set)
    on_drain: Callable[[], None] = lambda: None
    is_continuous: bool = True

    def drain(self) -> None:
        self.on_drain()

    def tracks(self, key: str) -> bool:
        return self.is_continuous

    def touched(self, key: str, start: int, end: int) -> bool:
        return any(name == key and low < end and start < high for name, low, high in self.dirty)


def write(disk: Path, at: int, data: bytes) -> tuple[int, int]:
    """Write to a disk and wait until it lies there; the range."""
    with disk.open("r+b") as out:
        out.seek(at)
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return at, at + len(data)


@dataclass
class Host:
    """An enrolled agent's parts, in this process."""

    running: Running
    server: str
    disks: tuple[Path, ...]
    stop: Stop
    link: Link
    synchroniser: Synchroniser
    notes: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    def sync(self) -> SyncResult:
        """Make a checkpoint."""
        return self.synchroniser.run()

    @contextmanager
    def verifying(self, writes: Writes | None = None) -> Iterator[Verifications]:
        """The agent's verifications for as long as the block runs."""
        named = tuple(map(str, self.disks))
        made = Verifications(self.link, named, self.stop, self.notes.append, self.differing.extend, writes)
        try:
            yield made
        finally:
            made.close()

    def order(self) -> Verification:
        """Ask for a verification over REST."""
        with self.running.client() as client:
            return client.send(verifications.order(self.server))

    def shown(self, ref: str = "latest") -> Verification:
        """A verification as REST shows it."""
        with self.running.client() as client:
            return client.send(verifications.get(self.server, ref))

    def verified(self, writes: Writes | None = None) -> Verification:
        """Order a verification, let the agent do it, and wait for what REST shows then."""
        wanted = self.order().id
        with self.verifying(writes) as made:
            made.follow(wanted)
            return self.until_over(wanted)

    def until_over(self, ref: str) -> Verification:
        """Wait until it has a result."""
        until(lambda: self.shown(ref).state not in STANDING, f"{ref} is over: {self.notes}")
        return self.shown(ref)

    def reason(self) -> str | None:
        """Why replication of the server stands where it stands, its agent being alive."""
        Service(self.link).poll(Poll("instance", "idle"))
        with self.running.client() as client:
            return client.send(servers.get(self.server)).replication_reason


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        threading.Event().wait(0.05)


@contextmanager
def host_of(running: Running, state: Path, *disks: Path) -> Iterator[Host]:
    """Enrol these disks by the real program, and put the agent's parts together in this process."""
    server = enrolled(running, state, *disks)
    stop = Stop()
    folder = StateDir(state)
    link = Link(Endpoint.parse(running.url), stop, folder.require_enrolment().credential)
    names = tuple(map(str, disks))
    synchroniser = Synchroniser(
        Service(link), "instance", names, stop, Observer(), SourceHost(Follower(folder.run_dir))
    )
    host = Host(running, server, disks, stop, link, synchroniser)
    try:
        yield host
    finally:
        stop.set()
        link.close()
