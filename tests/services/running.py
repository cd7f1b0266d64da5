"""A service that really listens, in a thread of the test process, with an administrator to log in as."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn
from fastapi import FastAPI
from structlog.testing import capture_logs

from app import main, offline
from app.agent.gateway.uploads import UploadingHttp
from app.client import access
from app.client.transport import Client
from app.contract.resources.access import InstallTokenCreate, TokenCreate
from app.contract.words import Role as AccessRole
from app.kit.settings import Settings, load_settings
from app.migration.access.users import OneTimePassword
from app.migration.services import Services
from app.roles import Role
from tests.services.processes import free_port

T = TypeVar("T")
STARTED_SECONDS = 30.0
AGENT_SECONDS = 120.0


@dataclass(frozen=True)
class Running:
    """Where it listens, and who may enter."""

    url: str
    settings: Settings
    user: str
    password: str
    token: str
    app: FastAPI

    def client(self) -> Client:
        """A client with an administrator's token."""
        return Client(self.url, self.token)


class Listening:
    """An application served on a port of the loopback address."""

    def __init__(self, settings: Settings, roles: frozenset[Role], port: int | None = None) -> None:
        """Nothing listens yet; without a `port` a free one is taken."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = main.create_app(settings, roles, self.url)
        config = uvicorn.Config(
            self.app,
            "127.0.0.1",
            self.port,
            http=UploadingHttp,
            log_config=None,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="service", daemon=True)

    def start(self) -> None:
        """Start and wait until it listens."""
        self._thread.start()
        waiting = threading.Event()
        for _ in range(int(STARTED_SECONDS / 0.05)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            waiting.wait(0.05)
        raise AssertionError("the service did not start")

    def call(self, work: Callable[[Services], Coroutine[Any, Any, T]]) -> T:
        """Do something with the services of the running process, in its own loop."""
        loop = self._server.servers[0].get_loop()
        services: Services = self.app.state.services
        return asyncio.run_coroutine_threadsafe(work(services), loop).result(STARTED_SECONDS)

    def stop(self) -> None:
        """Drain and wait."""
        self._server.should_exit = True
        self._thread.join(STARTED_SECONDS)
        assert not self._thread.is_alive(), "the service did not stop"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Role `all` on SQLite and an empty store."""
    folder = tmp_path / "service"
    settings = load_settings({"G2C_DATA_DIR": str(folder), "HOME": str(tmp_path)})
    settings = replace(settings, store=settings.store.model_copy(update={"reserve_bytes": 0}))
    fresh = asyncio.run(offline.create_administrator(settings, "admin"))
    service = Listening(settings, frozenset(Role))
    with capture_logs():  # standard output is for the commands that a test runs beside it
        service.start()
        try:
            token = _token(service.url, fresh)
            yield Running(service.url, settings, fresh.user, fresh.password, token, service.app)
        finally:
            service.stop()


def _token(url: str, fresh: OneTimePassword) -> str:
    with Client(url) as nobody:
        session = nobody.send(access.log_in(fresh.user, fresh.password))
    with Client(url, session.token) as admin:
        made = admin.send(access.create_token(TokenCreate(name="tests", role=AccessRole.ADMINISTRATOR)))
    assert made.secret is not None
    return made.secret


@dataclass(frozen=True)
class Source:
    """A source host with one disk, which is a file, and the real agent program."""

    disk: Path
    state: Path
    server: str

    def sync(self) -> None:
        """Bring the replica up to date."""
        _agent("run", "--once", "--state-dir", str(self.state))


def replicated(running: Running, folder: Path, content: bytes) -> Source:
    """Enrol a host whose disk has this content, and replicate it."""
    disk, state = folder / "source.img", folder / "agent"
    disk.write_bytes(content)
    source = Source(disk, state, enrolled(running, state, disk))
    source.sync()
    return source


def enrolled(running: Running, state: Path, *disks: Path) -> str:
    """Enrol a host with these disks; the id of its server."""
    with running.client() as client:
        token = client.send(access.create_install_token(InstallTokenCreate(name="source"))).secret
    assert token is not None
    named = [option for disk in disks for option in ("--disk", str(disk))]
    where = ("--url", running.url, "--token", token, *named, "--state-dir", str(state))
    _agent("enroll", "--no-preflight", *where)
    status: dict[str, str] = json.loads(_agent("status", "--json", "--state-dir", str(state)))
    return status["serverId"]


def _agent(*arguments: str) -> str:
    command = [sys.executable, "-m", "app.agent.daemon", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=AGENT_SECONDS)
    assert done.returncode == 0, f"{arguments[0]}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
