"""The service as its operators run it: processes of their own, started from the command line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.client import access
from app.client.errors import ClientError
from app.client.transport import Client
from app.contract.resources.access import InstallTokenCreate
from app.kit.settings import DatabaseSettings, RedisSettings
from tests.services.processes import free_port

START_SECONDS = 180.0
STOP_SECONDS = 40.0
USER = "tester"
PROGRAM = (sys.executable, "-m", "app")


@dataclass
class Deployment:
    """One process a role, or one for all of them; the same environment, each its own port.

    A second process of a role is called after it with a dot, as in `agent.2`. `program` starts the processes,
    `special` takes its place for those that it names.
    """

    folder: Path
    environment: dict[str, str]
    ports: dict[str, int]
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    password: str = ""
    program: tuple[str, ...] = PROGRAM
    special: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        """Where the REST API is."""
        return self._url("api")

    @property
    def agent_url(self) -> str:
        """Where agents go."""
        return self._url("agent")

    @property
    def platform_url(self) -> str:
        """Where browsers go."""
        return self._url("platform")

    def _url(self, role: str) -> str:
        scheme = "https" if "G2C_TLS__CERT_FILE" in self.environment else "http"
        return f"{scheme}://127.0.0.1:{self.ports.get(role) or self.ports['all']}"

    def command(self, *arguments: str) -> str:
        """Run an offline `go2cloud` command; its output. Fails the test when the command fails."""
        return run_command([*PROGRAM, *arguments], self.environment)

    def start(self) -> None:
        """Start every process that does not run and wait until all are ready."""
        for role, port in self.ports.items():
            if role not in self.processes:
                self.processes[role] = self._start(role, port)
        until(self._answers, START_SECONDS, f"the service in {self.folder} is ready")

    def _start(self, role: str, port: int) -> "subprocess.Popen[bytes]":
        environment = self.environment | {"G2C_HTTP_LISTEN_PORT": str(port)}
        with (self.folder / f"{role}.log").open("ab") as log:
            command = [*self.special.get(role, self.program), "serve", "--role", role.partition(".")[0]]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def _answers(self) -> bool:
        dead = [role for role, process in self.processes.items() if process.poll() is not None]
        assert not dead, f"{dead} ended: {(self.folder / f'{dead[0]}.log').read_text()[-3000:]}"
        try:
            with Client(self.api_url) as client:
                client.send(access.log_in(USER, self.password))
        except ClientError:
            return False
        return all(self._is_ready(port) for port in self.ports.values())

    def _is_ready(self, port: int) -> bool:
        import httpx2

        if "G2C_TLS__CERT_FILE" in self.environment:
            return True
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/readyz").is_success
        except httpx2.HTTPError:
            return False

    def kill(self, role: str) -> None:
        """End a role's process as a power cut would."""
        process = self.processes.pop(role)
        process.kill()
        process.wait(STOP_SECONDS)

    def stop(self) -> dict[str, int]:
        """Ask every process to end; their exit codes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        codes = {role: process.wait(STOP_SECONDS) for role, process in self.processes.items()}
        self.processes.clear()
        return codes

    def client(self) -> Client:
        """A client that is logged in."""
        with Client(self.api_url) as anonymous:
            session = anonymous.send(access.log_in(USER, self.password))
        return Client(self.api_url, session.token)

    def install_token(self, uses: int = 1) -> str:
        """A fresh install token."""
        with self.client() as client:
            wanted = InstallTokenCreate(name="test", uses=uses)
            token = client.send(access.create_install_token(wanted))
        assert token.secret is not None
        return token.secret


def run_command(command: list[str], environment: Mapping[str, str]) -> str:
    """Run a command that must succeed; its standard output."""
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something holds; fail the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def basic_environment(folder: Path) -> dict[str, str]:
    """The settings that all deployments share."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("G2C_", "GO2CLOUD_"))}
    return kept | {
        "HOME": str(folder),
        "G2C_DATA_DIR": str(folder),
        "G2C_LOG_FORMAT": "json",
        "G2C_STORE__RESERVE_BYTES": "1MiB",
        "G2C_AGENT__HEARTBEAT_SECONDS": "1",
        "G2C_AGENT__LEASE_SECONDS": "3",
        "G2C_ACCESS__LOGIN_ATTEMPTS_PER_MINUTE": "10000",
    }


@contextmanager
def embedded(folder: Path, **extra: str) -> Iterator[Deployment]:
    """Role `all` on SQLite."""
    yield from run_deployment(Deployment(folder, basic_environment(folder) | extra, {"all": free_port()}))


@contextmanager
def three_roles(folder: Path, database: DatabaseSettings, redis: RedisSettings) -> Iterator[Deployment]:
    """One process a role on MariaDB and Redis, with one store."""
    yield from run_deployment(of_three_roles(folder, database, redis))


def of_three_roles(folder: Path, database: DatabaseSettings, redis: RedisSettings) -> Deployment:
    """The deployment of `three_roles`, not started."""
    assert database.password is not None
    assert redis.password is not None
    ports = {role: free_port() for role in ("api", "agent", "platform")}
    services = {
        "G2C_DB_ENGINE": "mysql",
        "G2C_DB_HOST": database.host,
        "G2C_DB_PORT": str(database.port),
        "G2C_DB_USER": database.user,
        "G2C_DB_PASSWORD": database.password.get_secret_value(),
        "G2C_DB_NAME": database.name,
        "G2C_REDIS_HOST": redis.host or "",
        "G2C_REDIS_PORT": str(redis.port),
        "G2C_REDIS_PASSWORD": redis.password.get_secret_value(),
        "G2C_API_MIGRATE_SERVER_URL": f"http://127.0.0.1:{ports['api']}",
    }
    return Deployment(folder, basic_environment(folder) | services, ports)


def set_up(deployment: Deployment) -> None:
    """Make the schema and an administrator, as an operator does."""
    deployment.command("db", "upgrade")
    deployment.password = deployment.command("admin", "create", USER).strip()


def run_deployment(
    deployment: Deployment, set_up: Callable[[Deployment], None] = set_up
) -> Iterator[Deployment]:
    """Set it up, start it, and end it well: nothing of it runs afterwards."""
    set_up(deployment)
    deployment.start()
    try:
        yield deployment
        codes = deployment.stop()
        assert set(codes.values()) <= {0}, f"SIGTERM did not end the service with exit 0: {codes}"
    finally:
        for role in list(deployment.processes):
            deployment.kill(role)
