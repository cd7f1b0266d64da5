"""Shapes of the service beside role `all` on SQLite: those on a MariaDB server of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.kit.settings import DatabaseSettings
from tests.e2e.deployment import PROGRAM, Deployment
from tests.faults.process.killable import program
from tests.faults.process.rig import Shape
from tests.services.mariadb_server import MariaDb, mariadb_server
from tests.services.processes import free_port

ZOMBIE = "agent.2"
"""The gateway that is going to be stopped."""


@contextmanager
def durable_mariadb() -> Iterator[MariaDb]:
    """A MariaDB server that keeps what it acknowledged when it is killed."""
    with mariadb_server("--innodb-flush-log-at-trx-commit=1") as server:
        yield server


def on_mariadb(database: DatabaseSettings, port: int) -> Shape:
    """Role `all` in one process under fire, which reaches its database at `port`."""

    def shape(folder: Path, environment: dict[str, str]) -> Deployment:
        ours = environment | _settings(database, port)
        return Deployment(folder, ours, {"all": free_port()}, program=program("service"))

    return shape


def two_gateways(database: DatabaseSettings) -> Shape:
    """Role `all`, and beside it a second gateway, which is under fire, on the same database and store."""

    def shape(folder: Path, environment: dict[str, str]) -> Deployment:
        ours = environment | _settings(database, database.port)
        ports = {"all": free_port(), ZOMBIE: free_port()}
        return Deployment(folder, ours, ports, program=PROGRAM, special={ZOMBIE: program("service")})

    return shape


def _settings(database: DatabaseSettings, port: int) -> dict[str, str]:
    assert database.password is not None
    return {
        "G2C_HTTP_LISTEN_HOST": "127.0.0.1",
        "G2C_DB_ENGINE": "mysql",
        "G2C_DB_HOST": database.host,
        "G2C_DB_PORT": str(port),
        "G2C_DB_USER": database.user,
        "G2C_DB_PASSWORD": database.password.get_secret_value(),
        "G2C_DB_NAME": database.name,
    }
