"""A source host with a disk, a service that writes to it, the hook that stops and starts that, and an agent;
and the center, whose holds a test orders as a cutover does."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from structlog.testing import capture_logs

from app import offline
from app.agent.daemon.state import StateDir
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.client import access, replicas, servers
from app.client.transport import Client
from app.contract.resources.access import InstallTokenCreate
from app.contract.words import HoldPhase
from app.kit.database import UnitOfWork
from app.kit.settings import Settings, load_settings
from app.migration.hold import service as holds
from app.migration.hold.states import Hold
from app.migration.services import Services
from app.roles import Role
from tests.e2e.deployment import until
from tests.e2e.source_host import SourceHost
from tests.following.replicas import attached
from tests.hold.dying_agent import DEATHS
from tests.services.loop_disks import LoopDisk, loop_disk
from tests.services.processes import required_binary
from tests.services.running import Listening

T = TypeVar("T")
MIB = 1 << 20
PATIENCE = 120.0
CUTOVER = "cut-1"
LONG = 600
"""Seconds of a dead-man that must not fire."""
PROGRAM = (sys.executable, "-m", "tests.hold.dying_agent")

HOOK = """#!/bin/sh
# The owner's hook: idempotent, and done when it returns. Who asks for the lock shares it with others.
echo "$1" >> {calls}
{extra}
case "$1" in
stop-services)
    kill "$(cat {lock})" 2>/dev/null
    flock --shared {lock} true ;;
start-services)
    flock --shared -n {lock} true || exit 0
    setsid {python} {script} {ledger} {told} {lock} </dev/null >/dev/null 2>&1 &
    until ! flock --shared -n {lock} true; do sleep 0.02; done ;;
esac
"""


@dataclass
class Center:
    """The service, which may be away for a while."""

    settings: Settings
    user: str
    password: str
    listening: Listening

    def away(self) -> None:
        """Stop it."""
        self.listening.stop()

    def back(self) -> None:
        """Start it again where it was."""
        self.listening = Listening(self.settings, frozenset({Role.API, Role.AGENT}), self.listening.port)
        self.listening.start()

    def client(self) -> Client:
        """A client that is logged in."""
        with Client(self.listening.url) as nobody:
            token = nobody.send(access.log_in(self.user, self.password)).token
        return Client(self.listening.url, token)

    def install_token(self) -> str:
        """A fresh install token."""
        with self.client() as client:
            made = client.send(access.create_install_token(InstallTokenCreate(name="test")))
        assert made.secret is not None
        return made.secret

    def work(self, work: Callable[[UnitOfWork], Coroutine[Any, Any, T]]) -> T:
        """One unit of work of the running service."""

        async def do(services: Services) -> T:
            return await services.database.run(work)

        return self.listening.call(do)


@contextlib.contextmanager
def center(folder: Path) -> Iterator[Center]:
    """The running service, on SQLite."""
    folder.mkdir()
    settings = load_settings(
        {
            "G2C_DATA_DIR": str(folder),
            "HOME": str(folder),
            "G2C_STORE__RESERVE_BYTES": "0",
            "G2C_AGENT__HEARTBEAT_SECONDS": "1",
            "G2C_AGENT__LEASE_SECONDS": "3",
            "G2C_AGENT__SYNC_INTERVAL_SECONDS": "5",
            "G2C_ACCESS__LOGIN_ATTEMPTS_PER_MINUTE": "10000",
        }
    )
    fresh = asyncio.run(offline.create_administrator(settings, "admin"))
    listening = Listening(settings, frozenset({Role.API, Role.AGENT}))
    with capture_logs():
        listening.start()
        made = Center(settings, fresh.user, fresh.password, listening)
        try:
            yield made
        finally:
            made.listening.stop()


@dataclass
class HeldHost:
    """The source host. `server` is its id at the service."""

    center: Center
    folder: Path
    disk: LoopDisk
    source: SourceHost
    server: str
    agent: "subprocess.Popen[bytes] | None" = None
    is_supervised: bool = False
    deaths: int = 0
    supervisor: threading.Thread | None = None

    @property
    def hooks(self) -> Path:
        """The owner's directory."""
        return self.folder / "cutover.d"

    @property
    def calls(self) -> list[str]:
        """The phases that the hook was run for."""
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []

    def hook(self, extra: str = "") -> None:
        """Install the hook; `extra` is done first, whatever the phase."""
        self.hooks.mkdir(mode=0o755, exist_ok=True)
        text = HOOK.format(
            calls=self.folder / "calls",
            extra=extra,
            lock=self.folder / "lock",
            python=sys.executable,
            script=Path(__file__).with_name("writing_service.py"),
            ledger=self.folder / "mnt" / "ledger",
            told=self.folder / "told",
        )
        path = self.hooks / "10-writer"
        new = self.hooks / ".new"
        new.write_text(text)
        new.chmod(0o755)
        new.rename(path)

    def start_service(self) -> None:
        """As at boot: not by the agent."""
        subprocess.run([self.hooks / "10-writer", "start-services"], check=True)
        (self.folder / "calls").unlink()

    def stop_service(self) -> None:
        """At the end of a test."""
        subprocess.run([self.hooks / "10-writer", "stop-services"], check=True)

    @property
    def told(self) -> int:
        """What the service told its clients last."""
        text = (self.folder / "told").read_text()
        return int(text or 0)

    @property
    def ledger(self) -> list[int]:
        """The numbers that the disk holds now."""
        return [int(line) for line in (self.folder / "mnt" / "ledger").read_text().split()]

    def die(self, *points: str) -> None:
        """Let the agent be killed once at each of these points; see `dying_agent`."""
        for point in points:
            (self.folder / "deaths" / point).touch()

    @property
    def deaths_left(self) -> list[str]:
        """The points where it was not killed yet."""
        return sorted(path.name for path in (self.folder / "deaths").iterdir())

    @property
    def is_active(self) -> bool:
        """Whether the service runs: it holds its lock."""
        lock = self.folder / "lock"
        return subprocess.run(["flock", "--shared", "-n", str(lock), "true"], check=False).returncode != 0

    @contextlib.contextmanager
    def frozen_by_another(self) -> Iterator[None]:
        """The disk's filesystem, frozen by somebody who is not the agent."""
        freeze = required_binary("fsfreeze", "util-linux")
        subprocess.run([freeze, "--freeze", self.folder / "mnt"], check=True)
        try:
            yield
        finally:
            subprocess.run([freeze, "--unfreeze", self.folder / "mnt"], check=True)

    def start_agent(self) -> None:
        """The agent of this host."""
        options = ("--no-yield", "--hooks", str(self.folder / "none"), "--cutover-hooks", str(self.hooks))
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                self.source.command("run", *options), env=self.source.environment, stdout=log, stderr=log
            )

    def kill_agent(self) -> None:
        """As the kernel does when memory is short."""
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait(PATIENCE)

    def supervise(self) -> None:
        """Start the agent, and again whenever it dies."""
        self.is_supervised = True

        def watch() -> None:
            while self.is_supervised:
                self.start_agent()
                assert self.agent is not None
                self.agent.wait()
                self.deaths += self.is_supervised

        self.supervisor = threading.Thread(target=watch, daemon=True)
        self.supervisor.start()

    def end(self) -> None:
        """End agent and service."""
        self.is_supervised = False
        if self.agent is not None:
            self.kill_agent()
        if self.supervisor is not None:
            self.supervisor.join(PATIENCE)
        run = StateDir(self.source.state).run_dir
        TraceTracker(run).instance.remove()
        shutil.rmtree(run, ignore_errors=True)

    @property
    def log(self) -> str:
        """The end of what the agent said."""
        return (self.folder / "agent.log").read_text()[-6000:]

    def quiesce(self, seconds: int = LONG, cutover: str = CUTOVER) -> None:
        """Want the services stopped."""
        self.center.work(lambda uow: holds.quiesce(uow, self.server, cutover, seconds))

    def finish(self, cutover: str = CUTOVER) -> None:
        """Want the final checkpoint."""
        self.center.work(lambda uow: holds.finish(uow, self.server, cutover))

    def keep(self, cutover: str = CUTOVER) -> None:
        """Want them kept stopped."""
        self.center.work(lambda uow: holds.keep(uow, self.server, cutover))

    def release(self, cutover: str = CUTOVER) -> None:
        """Want them given back."""
        self.center.work(lambda uow: holds.release(uow, self.server, cutover))

    def hold(self, cutover: str = CUTOVER) -> Hold:
        """How it stands."""
        return self.center.work(lambda uow: holds.standing(uow, self.server, cutover))

    def reached(self, phase: HoldPhase, cutover: str = CUTOVER) -> Hold:
        """Wait until a phase is reached."""
        self.wait(lambda: self.hold(cutover).is_reached(phase), f"{phase} is reached")
        return self.hold(cutover)

    def failed(self, cutover: str = CUTOVER) -> Hold:
        """Wait until the agent tells of a failure."""
        self.wait(lambda: bool(self.hold(cutover).code), "a failure is told")
        return self.hold(cutover)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait; a failure shows what the agent said."""
        try:
            until(condition, PATIENCE, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from error

    @property
    def checkpoints(self) -> int:
        """The number of the newest checkpoint; 0 before the first."""
        with self.center.client() as client:
            head = client.send(servers.get(self.server)).head_checkpoint
            return 0 if head is None else head.number

    def replicated(self) -> None:
        """Wait until it is followed."""
        self.wait(lambda: self.checkpoints >= 2, "it is replicated")

    def ledger_of(self, checkpoint_id: str) -> list[int]:
        """The numbers that the disk holds at a checkpoint."""
        output = self.folder / "export.img"
        with self.center.client() as client:
            found = client.send(servers.checkpoint(self.server, checkpoint_id))
            replicas.export_disk(client, found, found.disks[0], output, force=True)
        with attached(output) as disk, disk.mounted(self.folder / "exported") as at:
            numbers = [int(line) for line in (at / "ledger").read_text().split()]
        output.unlink()
        return numbers


@contextlib.contextmanager
def held_host(folder: Path, running: Center) -> Iterator[HeldHost]:
    """Enrol a host whose service writes; nothing of it is left at the end."""
    deaths = folder / "deaths"
    deaths.mkdir()
    with loop_disk(folder / "disk.img", 160 * MIB) as disk:
        disk.format("ext4")
        with disk.mounted(folder / "mnt"):
            source = SourceHost(folder / "agent", PROGRAM, dict(os.environ) | {DEATHS: str(deaths)})
            options = ("--url", running.listening.url, "--token", running.install_token())
            source.call("enroll", "--no-preflight", *options, "--disk", str(disk.device))
            server = StateDir(source.state).require_enrolment().server_id
            host = HeldHost(running, folder, disk, source, server)
            host.hook()
            host.start_service()
            try:
                yield host
            finally:
                host.end()
                host.hook()
                host.stop_service()
