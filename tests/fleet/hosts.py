"""Real agents on small disks: files, and loop devices whose filesystem is mounted and written to."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.agent.daemon.disk.selection import describe_disks
from app.agent.daemon.freezer.rescue import thaw_left_frozen
from app.agent.daemon.inventory.registry import collect
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.service import Service
from app.agent.daemon.state import Enrolment, StateDir
from app.agent.daemon.stopping import Stop
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.agent.daemon.version import VERSION
from app.wire.messages import Enroll
from tests.e2e.source_host import AGENT
from tests.services.loop_disks import loop_disk

MIB = 1 << 20
DISK_BYTES = 64 * MIB
USED_BYTES = 8 * MIB
STOP_SECONDS = 60.0
WRITE_SECONDS = 0.5


@dataclass
class FleetHost:
    """A host with one disk and one agent; the agent's words go to a file."""

    folder: Path
    disk: Path
    is_followed: bool
    server: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        """What the agent said."""
        return self.folder / "agent.log"

    @property
    def run_dir(self) -> Path:
        """The agent's folder in memory."""
        return StateDir(self.folder / "state").run_dir

    def enroll(self, url: str, token: str) -> None:
        """Become a server, as `go2cloud-agent enroll` does it."""
        named = (str(self.disk),)
        inventory = collect(*describe_disks(named))
        link = Link(Endpoint.parse(url), Stop())
        with contextlib.closing(link), StateDir(self.folder / "state") as state:
            enrolled = Service(link).enroll(Enroll(token, state.instance_id(), VERSION, inventory))
            state.save_enrolment(
                Enrolment(url, enrolled.server_id, enrolled.name, enrolled.credential, disks=named)
            )
        self.server = enrolled.server_id

    def start(self) -> None:
        """Run the agent."""
        command = [*AGENT, "run", "--state-dir", str(self.folder / "state")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def stop(self) -> int:
        """Ask the agent to end; its exit code."""
        assert self.process is not None
        return self.process.wait(STOP_SECONDS)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the agent told of this kind."""
        lines = self.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in found if event["event"] == kind]

    @property
    def labels(self) -> list[str]:
        """The labels of its checkpoints."""
        return [event["label"] for event in self.events("summary")]

    def clean_up(self) -> None:
        """Whatever happened: nothing of the agent is left in the kernel or in memory."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        if self.run_dir.exists():
            thaw_left_frozen(self.run_dir, also_live=True)
            TraceTracker(self.run_dir).instance.remove()
            shutil.rmtree(self.run_dir)


@dataclass
class Writers:
    """Threads that write to the hosts' disks, each to one."""

    over: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, host: FleetHost, at: Path | None) -> None:
        """Write files at the mount point, or without one bytes of the file that is the disk."""
        work = (lambda: self._files(at)) if at else (lambda: self._bytes(host.disk))
        thread = threading.Thread(target=work, name=f"writer of {host.disk}")
        self.threads.append(thread)
        thread.start()

    def _files(self, at: Path) -> None:
        number = 0
        while not self.over.wait(WRITE_SECONDS):
            number += 1
            with (at / f"file-{number % 50}").open("wb") as file:
                file.write(os.urandom(20_000))
                os.fsync(file.fileno())

    def _bytes(self, disk: Path) -> None:
        source = random.Random(str(disk))
        while not self.over.wait(WRITE_SECONDS * 4):
            with disk.open("r+b") as file:
                file.seek(source.randrange(USED_BYTES))
                file.write(b"changed")

    def end(self) -> None:
        """Write no more."""
        self.over.set()
        for thread in self.threads:
            thread.join(STOP_SECONDS)


@contextlib.contextmanager
def hosts(folder: Path, files: int, followed: int) -> Iterator[list[FleetHost]]:
    """So many hosts with a file as their disk, and with a mounted ext4 on a loop device, all written to."""
    writers = Writers()
    with contextlib.ExitStack() as stack:
        made: list[FleetHost] = []
        stack.callback(writers.end)
        for number in range(files):
            host = FleetHost(_folder(folder, f"file-{number}"), folder / f"file-{number}.img", False)
            _write_disk(host.disk, number)
            made.append(host)
            writers.begin(host, None)
        for number in range(followed):
            disk = stack.enter_context(loop_disk(folder / f"loop-{number}.img", DISK_BYTES))
            disk.format("ext4")
            at = stack.enter_context(disk.mounted(folder / f"mount-{number}"))
            host = FleetHost(_folder(folder, f"loop-{number}"), disk.device, True)
            made.append(host)
            writers.begin(host, at)
            stack.callback(writers.end)  # nothing writes any more when it is unmounted
        for host in made:
            stack.callback(host.clean_up)
        yield made


def _folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def _write_disk(path: Path, number: int) -> None:
    with path.open("wb") as file:
        file.write(random.Random(number).randbytes(USED_BYTES))
        file.truncate(DISK_BYTES)


def stop_all(made: list[FleetHost]) -> list[int]:
    """Ask all agents to end at once; their exit codes."""
    for host in made:
        assert host.process is not None
        host.process.send_signal(signal.SIGTERM)
    return [host.stop() for host in made]
