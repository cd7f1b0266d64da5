"""A real MariaDB server of our own on the loopback address, with its data in memory where possible."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pymysql
import pytest
from pydantic import SecretStr

from app.kit.settings import DatabaseSettings, Engine
from tests.services.processes import Service, free_port, required_binary

PACKAGE = "mariadb-server"
USER = "go2cloud"
PASSWORD = "0123456"
MEMORY = Path("/dev/shm")


class MariaDb:
    """The server: makes empty databases and drops them."""

    def __init__(self, service: Service, port: int) -> None:
        """A server that answers on `port`."""
        self.service = service
        self.port = port

    def create_database(self) -> DatabaseSettings:
        """A new empty database with the character set of our schema."""
        name = f"g2c_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        return DatabaseSettings(
            engine=Engine.MYSQL,
            path=Path("/nonexistent/go2cloud.db"),
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=SecretStr(PASSWORD),
            name=name,
        )

    def drop_database(self, settings: DatabaseSettings) -> None:
        """Forget a database of `create_database`, with the connections that killed workers left behind.

        A transaction that is still open in one of them would let the drop wait for a day.
        """
        left = "SELECT id FROM information_schema.processlist WHERE db = %s"
        with pymysql.connect(host="127.0.0.1", port=self.port, user="root") as connection:
            cursor = connection.cursor()
            cursor.execute(left, (settings.name,))
            for (number,) in cursor.fetchall():
                with suppress(pymysql.err.OperationalError):  # it ended by itself meanwhile
                    cursor.execute(f"KILL {number}")
            cursor.execute(f"DROP DATABASE {settings.name}")

    def execute(self, statement: str) -> None:
        """Run one statement as the server's administrator."""
        with pymysql.connect(host="127.0.0.1", port=self.port, user="root") as connection:
            connection.cursor().execute(statement)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A running MariaDB server, stopped at the end of the tests. It is fast and forgets when it is killed."""
    with mariadb_server("--innodb-flush-log-at-trx-commit=0") as server:
        yield server


@contextmanager
def mariadb_server(*options: str) -> Iterator[MariaDb]:
    """A running MariaDB server with these options, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="g2c-mariadb-", dir=MEMORY if MEMORY.is_dir() else None))
    owner = ["--user=mysql"] if os.geteuid() == 0 else []
    if owner:
        os.chown(folder, pwd.getpwnam("mysql").pw_uid, -1)
    try:
        _install(folder, owner)
        server = _server(folder, [*options, *owner])
        server.service.start()
        server.execute(f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'")
        server.execute(f"GRANT ALL ON `g2c\\_%`.* TO {USER}")
        try:
            yield server
        finally:
            server.service.stop()
    finally:
        shutil.rmtree(folder)


def apart(folder: Path) -> dict[str, str]:
    """An environment in which a server's temporary tables are in its own folder. One that starts removes all
    that it finds, those of others that start at the same time as well."""
    return {**os.environ, "TMPDIR": str(folder)}


def _install(folder: Path, owner: list[str]) -> None:
    install = required_binary("mariadb-install-db", PACKAGE)
    options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    done = subprocess.run(
        [install, "--no-defaults", f"--datadir={folder / 'data'}", *options, *owner],
        env=apart(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{install} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}", pytrace=False)


def _server(folder: Path, options: list[str]) -> MariaDb:
    port = free_port()
    arguments = [
        required_binary("mariadbd", PACKAGE),
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder}",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--innodb-buffer-pool-size=64M",
        "--skip-name-resolve",
        *options,
    ]
    return MariaDb(Service(arguments, folder / "log", lambda: _answers(port)), port)


def _answers(port: int) -> bool:
    try:
        pymysql.connect(host="127.0.0.1", port=port, user="root").close()
    except pymysql.err.OperationalError:
        return False
    return True
