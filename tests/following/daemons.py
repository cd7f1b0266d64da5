"""The agent as a process of its own beside a live host: started, killed, started again."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.agent.daemon.state import StateDir
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.cli.demo.compare import first_difference
from tests.e2e.deployment import Deployment, until
from tests.e2e.source_host import SourceHost
from tests.following.replicas import checkpoint, disk_of, export
from tests.following.steered_agent import STEERING
from tests.services.loop_disks import LoopDisk

PATIENCE = 120.0
PROGRAM = (sys.executable, "-m", "tests.following.steered_agent")


@dataclass(frozen=True)
class SteeredHost:
    """An enrolled host whose agent runs as it is told; see `steered_agent`."""

    host: SourceHost
    server: str
    disks: tuple[LoopDisk, ...]
    steering: Path
    log: Path

    def order(self, name: str, text: str = "") -> Path:
        """Give the agent an order."""
        path = self.steering / name
        path.write_text(text)
        return path

    @contextlib.contextmanager
    def running(self, *options: str | Path) -> Iterator["subprocess.Popen[bytes]"]:
        """The agent at work, with these options of `run`; killed at the end if it still runs.

        It synchronises once and then waits.
        """
        self.log.write_bytes(b"")
        command = self.host.command("run", "--no-yield", *map(str, options))
        with self.log.open("ab") as output:
            process = subprocess.Popen(command, env=self.host.environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the agent that was started last said, of one kind."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for line in lines if (event := _event(line)).get("event") == kind]

    def settled(self, process: "subprocess.Popen[bytes]") -> list[dict[str, Any]]:
        """The summaries of the running agent, when one of them is of a frozen checkpoint."""

        def is_frozen() -> bool:
            assert process.poll() is None, self.log.read_text()[-3000:]
            return any(each["label"] == "frozen" for each in self.events("summary"))

        until(is_frozen, PATIENCE, "a frozen checkpoint")
        return self.events("summary")

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask the agent to end, as the system does."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, self.log.read_text()[-3000:]

    def clean_up(self) -> None:
        """Leave nothing of the tracker."""
        run = StateDir(self.host.state).run_dir
        TraceTracker(run).instance.remove()
        shutil.rmtree(run, ignore_errors=True)

    def differences(self, deployment: Deployment, folder: Path) -> dict[str, int]:
        """Where the head differs from the disks at the newest freeze."""
        head = checkpoint(deployment, self.server)
        found = {}
        for number, disk in enumerate(self.disks):
            its = disk_of(head, disk)
            output = export(deployment, head, its, folder / f"{disk.device.name}-{head.number}.img")
            place = first_difference(self.steering / f"witness-{number}.img", output, its.omitted)
            output.unlink()
            if place is not None:
                found[str(disk.device)] = place
        return found


def _event(line: str) -> dict[str, Any]:
    """A line of the log; the last one may be cut off."""
    try:
        found: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found


@contextlib.contextmanager
def steered_host(
    folder: Path, deployment: Deployment, disks: Sequence[LoopDisk], images: Path
) -> Iterator[SteeredHost]:
    """Enrol a host with these disks. The witnesses lie on `images`."""
    steering = images / "steering"
    steering.mkdir()
    for number, disk in enumerate(disks):
        (steering / f"disk-{number}").write_text(f"{disk.device}\n{disk.backing}")
    host = SourceHost(folder / "agent", PROGRAM, dict(os.environ) | {STEERING: str(steering)})
    server = host.enroll(deployment, *(disk.device for disk in disks))
    made = SteeredHost(host, server, tuple(disks), steering, folder / "agent.log")
    try:
        yield made
    finally:
        made.clean_up()
