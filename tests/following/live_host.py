"""A host that goes on writing while it is replicated, and what its disks held at each freeze.

The images behind the loop devices lie on an XFS of the test, so that the moment of a freeze can be kept by
sharing their blocks (FICLONE), which takes milliseconds.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.agent.daemon.capture.activity import FROZEN
from app.agent.daemon.following.follower import RETRY_SECONDS, Follower, Plan
from app.agent.daemon.following.restless import places_of
from app.agent.daemon.freezer.client import DEAD_MAN_SECONDS, Freezer
from app.agent.daemon.freezer.results import Frozen
from app.agent.daemon.hooks import Hooks
from app.agent.daemon.host import Host
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.service import Service
from app.agent.daemon.state import StateDir
from app.agent.daemon.stopping import Stop
from app.agent.daemon.sync import Observer, Synchroniser, SyncResult
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.agent.daemon.verification.background import Verifications
from app.wire.chunks import CHUNK_SIZE
from app.wire.messages import DiskBase
from tests.e2e.deployment import Deployment
from tests.e2e.source_host import SourceHost
from tests.services.loop_disks import LoopDisk, loop_disk
from tests.services.processes import required_binary

MIB: Final = 1 << 20
BUDGET_SECONDS: Final = 10.0
"""Generous: the machine may be busy with other tests."""
FROZEN_TRIES: Final = 5
_FICLONE: Final = 0x40049409


@contextlib.contextmanager
def sharing_folder(folder: Path, size: int = 6 << 30) -> Iterator[Path]:
    """A mounted XFS whose files can share blocks."""
    with loop_disk(folder / "images.xfs", size) as disk:
        disk.format("xfs")
        with disk.mounted(folder / "images") as at:
            yield at


def share(source: Path, target: Path) -> None:
    """Make `target` a copy of `source` as it is now, without copying."""
    with source.open("rb") as old, target.open("wb") as new:
        fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())


class WitnessFreezer(Freezer):
    """A freezer that keeps what the disks hold whenever everything is frozen.

    `told` are the numbers in the files of `telling` just before the newest freeze.
    """

    def __init__(self, directory: Path, disks: Sequence[LoopDisk], witnesses: Path) -> None:
        super().__init__(directory)
        self._disks = disks
        self._folder = witnesses
        self.count = 0
        self.telling: dict[str, Path] = {}
        self.told: dict[str, int] = {}

    def freeze(self, budget: float, dead_man: float = DEAD_MAN_SECONDS) -> Frozen:
        """Freeze, and keep the moment."""
        told = {name: number_in(path) for name, path in self.telling.items()}
        frozen = super().freeze(budget, dead_man)
        self.told = told
        for number, disk in enumerate(self._disks):
            share(disk.backing, self.witness(number))
        self.count += 1
        return frozen

    def witness(self, number: int) -> Path:
        """The disk with this number as it was at the newest freeze."""
        return self._folder / f"witness-{number}.img"


class WatchedFollower(Follower):
    """A follower that keeps why it read which disk as a whole."""

    def __init__(self, run: Path, tracker: TraceTracker, retry_seconds: float) -> None:
        super().__init__(run, tracker, retry_seconds=retry_seconds)
        self.codes: list[str] = []

    def plan(self, base: DiskBase, size: int, order: str) -> Plan:
        """The plan; its code is kept where the whole disk is read."""
        plan = super().plan(base, size, order)
        if plan.entry is None:
            self.codes.append(plan.code)
        return plan

    def take_codes(self) -> list[str]:
        """Why disks were read as a whole since the last call."""
        codes, self.codes = self.codes, []
        return codes


@dataclass
class LiveHost:
    """An agent in this process, enrolled at a service, that follows loop devices."""

    disks: tuple[LoopDisk, ...]
    server: str
    synchroniser: Synchroniser
    tracker: TraceTracker
    follower: WatchedFollower
    freezer: WitnessFreezer
    verifications: Verifications
    notes: list[str]
    passes: list[SyncResult] = field(default_factory=list)

    def sync(self, order: str = "") -> SyncResult:
        """Synchronise once."""
        result = self.synchroniser.run(order)
        self.passes.append(result)
        return result

    def chunks_written(self) -> int:
        """In how many chunks of the disks writes began or ended since the head."""
        self.follower.tracking.drain()
        return sum(
            len(places_of(self.follower.tracking.dirty_of(key).written().extents(), CHUNK_SIZE))
            for key in self.follower.backlog
        )

    def sync_frozen(self) -> SyncResult:
        """Synchronise until a checkpoint is frozen, which a machine under load may miss."""
        for _ in range(FROZEN_TRIES):
            result = self.sync()
            if result.label == FROZEN:
                return result
        raise AssertionError(f"no checkpoint was frozen: {[each.detail for each in self.passes]}")


class _Notes(Observer):
    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def note(self, text: str) -> None:
        """Keep it."""
        self._notes.append(text)

    def begins_anew(self, reason: str) -> None:
        """Keep it."""
        self._notes.append(reason)


@contextlib.contextmanager
def live_host(
    folder: Path,
    deployment: Deployment,
    disks: Sequence[LoopDisk],
    witnesses: Path,
    make_tracker: Callable[[Path], TraceTracker] = TraceTracker,
    hooks: Path | None = None,
    budget: float = BUDGET_SECONDS,
    retry_seconds: float = RETRY_SECONDS,
) -> Iterator[LiveHost]:
    """Enrol a host with these disks and be its agent; at the end nothing of it is left in the kernel."""
    state_folder, notes = folder / "agent", list[str]()
    server = SourceHost(state_folder).enroll(deployment, *(disk.device for disk in disks))
    with StateDir(state_folder) as state:
        enrolment = state.require_enrolment()
        link = Link(Endpoint.parse(enrolment.url), Stop(), enrolment.credential)
        tracker = make_tracker(state.run_dir)
        follower = WatchedFollower(state.run_dir, tracker, retry_seconds)
        freezer = WitnessFreezer(state.run_dir, disks, witnesses)
        verifications = Verifications(
            link, enrolment.disks, Stop(), notes.append, follower.doubt_all, follower
        )
        synchroniser = Synchroniser(
            Service(link),
            state.instance_id(),
            enrolment.disks,
            Stop(),
            _Notes(notes),
            Host(follower, freezer, Hooks(hooks or folder / "no-hooks"), verifications, budget=budget),
        )
        try:
            yield LiveHost(
                tuple(disks), server, synchroniser, tracker, follower, freezer, verifications, notes
            )
        finally:
            verifications.close()
            synchroniser.close(keep=False)
            link.close()
            shutil.rmtree(state.run_dir)


@contextlib.contextmanager
def namespace_of_mounts(mounts: Sequence[tuple[LoopDisk, Path]]) -> Iterator[int]:
    """The filesystems mounted in mount and network namespaces of their own; the id of a process in them."""
    lines = [f"mount {disk.device} {at}" for disk, at in mounts]
    for _, at in mounts:
        at.mkdir(exist_ok=True)
    script = " && ".join(["mount --make-rprivate /", *lines, "echo ready", "exec sleep infinity"])
    unshare = required_binary("unshare", "util-linux")
    with subprocess.Popen([unshare, "-mn", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n", "the filesystems are mounted"
            yield process.pid
        finally:
            process.kill()


def inside(process: int, at: Path) -> Path:
    """Where a path of another mount namespace can be reached from here."""
    return Path(f"/proc/{process}/root{at}")


def entered(process: int, *command: str) -> list[str]:
    """The command line that runs a command in the namespaces of another process."""
    spaces = [f"--mount=/proc/{process}/ns/mnt", f"--net=/proc/{process}/ns/net"]
    return [required_binary("nsenter", "util-linux"), *spaces, *command]


@contextlib.contextmanager
def writing(process: int, name: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """One of `writers` at work in the namespaces of another process; it must live until the end."""
    script = Path(__file__).with_name("writers.py")
    command = entered(process, sys.executable, str(script), name, *map(str, arguments))
    with subprocess.Popen(command) as writer:
        try:
            yield writer
            assert writer.poll() is None, f"the writer {name} ended"
        finally:
            writer.kill()


def number_in(path: Path) -> int:
    """The number that a writer told last; 0 before the first."""
    return int.from_bytes(path.read_bytes(), "little") if path.exists() else 0


def run(*command: str | Path) -> str:
    """Run a command that must succeed; its standard output."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def settle(path: Path) -> None:
    """Write back what a filesystem has cached."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
