"""A real MariaDB server with its data on a disk that is replicated, and on the export of one."""

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pymysql

from tests.following.live_host import run
from tests.services.mariadb_server import PACKAGE
from tests.services.processes import required_binary

PATIENCE = 120.0
_OPTIONS = (
    "--no-defaults",
    "--user=mysql",
    "--skip-networking",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=32M",
)


def new_data(folder: Path) -> Path:
    """The data of a server that holds nothing, in a new folder."""
    made = folder / "mysql"
    made.mkdir()
    shutil.chown(made, "mysql")
    install = required_binary("mariadb-install-db", PACKAGE)
    method = "--auth-root-authentication-method=normal"
    run(install, *_OPTIONS[:2], _OPTIONS[4], f"--datadir={made}", method, "--skip-test-db")
    return made


@contextlib.contextmanager
def serving(data: Path, log: Path, before: Sequence[str] = ()) -> Iterator[None]:
    """A server on this data, killed at the end; its socket is in there. `before` stands before its command.

    `data` is a path of the namespace that the server runs in.
    """
    command = [*before, required_binary("mariadbd", PACKAGE), *_OPTIONS, f"--datadir={data}"]
    with log.open("ab") as output:
        process = subprocess.Popen([*command, f"--socket={data / 'socket'}"], stdout=output, stderr=output)
    try:
        _wait(process, log)
        yield
    finally:
        process.kill()
        process.wait(PATIENCE)


def _wait(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while b"ready for connections" not in log.read_bytes():
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(0.1)


def numbers_in(data: Path, log: Path) -> tuple[int, int]:
    """(count, largest) of the numbers in the table of `writers.rows`, told by a server on this data."""
    with serving(data, log), pymysql.connect(unix_socket=str(data / "socket"), user="root") as connection:
        cursor = connection.cursor()
        cursor.execute("CHECK TABLE shop.entry EXTENDED")
        assert [row[3] for row in cursor.fetchall()] == ["OK"]
        cursor.execute("SELECT COUNT(*), MAX(number) FROM shop.entry")
        count, largest = cursor.fetchone()
    return int(count), int(largest)


def give_to_server(folder: Path) -> None:
    """Let the server's user own everything in a folder."""
    owner = pwd.getpwnam("mysql")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
