"""The demo's service and agent: real processes of their own, on loopback, gone when the demo ends."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app import offline
from app.client import access
from app.client.errors import ClientError
from app.client.transport import Client
from app.contract.resources.access import InstallTokenCreate
from app.kit.errors import Unavailable

START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
USER: Final = "demo"
CONFIG: Final = """\
DATA_DIR: {folder}
HTTP_LISTEN_PORT: {port}
LOG_FORMAT: json
STORE:
  RESERVE_BYTES: 64MiB
"""


@dataclass(frozen=True)
class DemoService:
    """Role `all` on SQLite and a folder, with an administrator."""

    url: str
    password: str
    folder: Path

    def client(self) -> Client:
        """A client that is logged in as the administrator."""
        with Client(self.url) as anonymous:
            session = anonymous.send(access.log_in(USER, self.password))
        return Client(self.url, session.token)

    def install_token(self, client: Client) -> str:
        """A token that enrols one agent."""
        token = client.send(access.create_install_token(InstallTokenCreate(name="demo")))
        assert token.secret is not None
        return token.secret


@contextmanager
def demo_service(folder: Path) -> Iterator[DemoService]:
    """Start the service with all that it keeps below `folder`, and stop it at the end.

    Raises Unavailable when it does not become ready; the log stands in `folder`.
    """
    from app.kit.settings import load_settings

    port = _free_port()
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(folder=folder / "service", port=port))
    made = asyncio.run(offline.create_administrator(load_settings(file=config), USER))
    service = DemoService(f"http://127.0.0.1:{port}", made.password, folder)
    with (folder / "service.log").open("wb") as log:
        command = [sys.executable, "-m", "app", "serve", "--role", "all", "--config", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_ready(service, process)
            yield service
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _await_ready(service: DemoService, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            service.client().close()
        except ClientError:
            time.sleep(0.1)
        else:
            return
    raise Unavailable(
        "the service did not become ready", remedy=f"read its log: {service.folder / 'service.log'}"
    )


@dataclass(frozen=True)
class DemoAgent:
    """The agent of the demo's source host, with its state in `state`."""

    state: Path

    def enroll(self, url: str, token: str, disk: Path) -> None:
        """Make the host a server. Raises Unavailable."""
        self._run("enroll", "--no-preflight", "--url", url, "--token", token, "--disk", str(disk))

    def sync(self) -> None:
        """Bring the replica up to date and commit; its progress is shown. Raises Unavailable."""
        self._run("run", "--once")

    def _run(self, verb: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "app.agent.daemon", verb, *arguments, "--state-dir", str(self.state)]
        code = subprocess.run(command, check=False).returncode
        if code:
            raise Unavailable(f"go2cloud-agent {verb} ended with {code}", code="AGENT_FAILED")
