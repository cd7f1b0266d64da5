"""A real cluster of three MariaDB nodes that replicate to each other with Galera, on the loopback address."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
from pydantic import SecretStr

from app.kit.settings import DatabaseSettings, Engine
from tests.services.mariadb_server import apart
from tests.services.processes import Service, free_port, required_binary

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
MEMORY = Path("/dev/shm")
USER, PASSWORD = "go2cloud", "0123456"
NODES = 3


@dataclass(frozen=True)
class Node:
    """One node: its server, and the port that clients go to."""

    service: Service
    port: int


@dataclass(frozen=True)
class Galera:
    """The cluster."""

    nodes: tuple[Node, ...]

    def create_database(self, port: int) -> DatabaseSettings:
        """A new empty database; `port` is that of a node, or of what stands before the nodes."""
        name = f"g2c_{secrets.token_hex(6)}"
        _execute(self.nodes[0].port, f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        return DatabaseSettings(
            engine=Engine.MYSQL,
            path=Path("/nonexistent/go2cloud.db"),
            host="127.0.0.1",
            port=port,
            user=USER,
            password=SecretStr(PASSWORD),
            name=name,
        )


@pytest.fixture(scope="session")
def galera() -> Iterator[Galera]:
    """Three nodes that are synchronised, ended and removed after the tests."""
    folder = Path(tempfile.mkdtemp(prefix="g2c-galera-", dir=MEMORY if MEMORY.is_dir() else None))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("mysql").pw_uid, -1)
    nodes = _nodes(folder)
    try:
        for node in nodes:
            node.service.start()
        _execute(nodes[0].port, f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'")
        _execute(nodes[0].port, f"GRANT ALL ON `g2c\\_%`.* TO {USER}")
        yield Galera(nodes)
    finally:
        for node in nodes:
            node.service.kill()
        shutil.rmtree(folder)


def _nodes(folder: Path) -> tuple[Node, ...]:
    if not PROVIDER.exists():
        pytest.fail(f"{PROVIDER} is missing: apt-get install galera-4", pytrace=False)
    group = [free_port() for _ in range(NODES)]
    address = "gcomm://" + ",".join(f"127.0.0.1:{port}" for port in group)
    return tuple(_node(folder / f"node{number}", number, group, address) for number in range(NODES))


def _node(folder: Path, number: int, group: list[int], address: str) -> Node:
    owner = ["--user=mysql"] if os.geteuid() == 0 else []
    install = required_binary("mariadb-install-db", "mariadb-server")
    options = ["--auth-root-authentication-method=normal", "--skip-test-db", *owner]
    subprocess.run(
        [install, "--no-defaults", f"--datadir={folder}", *options],
        env=apart(folder.parent),
        check=True,
        capture_output=True,
    )
    port, transfer, increments = free_port(), free_port(), free_port()
    provider = f"gmcast.listen_addr=tcp://127.0.0.1:{group[number]};ist.recv_addr=127.0.0.1:{increments}"
    arguments = [
        required_binary("mariadbd", "mariadb-server"),
        "--no-defaults",
        f"--datadir={folder}",
        f"--socket={folder}.sock",
        f"--pid-file={folder}.pid",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--binlog-format=ROW",
        "--innodb-autoinc-lock-mode=2",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=2",
        "--wsrep-on=ON",
        f"--wsrep-provider={PROVIDER}",
        f"--wsrep-provider-options={provider};gcache.size=32M",
        f"--wsrep-node-name=node{number}",
        f"--wsrep-node-address=127.0.0.1:{group[number]}",
        f"--wsrep-cluster-address={address}",
        "--wsrep-sst-method=rsync",
        f"--wsrep-sst-receive-address=127.0.0.1:{transfer}",
        *owner,
        *([] if number else ["--wsrep-new-cluster"]),
    ]
    return Node(Service(arguments, folder.with_suffix(".log"), lambda: _is_synchronised(port)), port)


def _is_synchronised(port: int) -> bool:
    try:
        with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection:
            cursor = connection.cursor()
            cursor.execute("SHOW STATUS LIKE 'wsrep_local_state_comment'")
            row = cursor.fetchone()
    except pymysql.err.MySQLError:
        return False
    return row is not None and row[1] == "Synced"


def _execute(port: int, statement: str) -> None:
    with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection:
        connection.cursor().execute(statement)
