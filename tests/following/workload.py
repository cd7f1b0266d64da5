"""Every kind of writer on one filesystem, and what must be true of the filesystem of a frozen checkpoint."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tests.following import database
from tests.following.live_host import entered, inside, writing
from tests.following.replicas import healthy


@contextlib.contextmanager
def all_writers(process: int, place: Path, data: Path) -> Iterator[dict[str, Path]]:
    """All writers at work on the one filesystem of a host; the files of those that tell numbers.

    `data` is that of a new MariaDB server.
    """
    mount, tells = place / "mnt", {name: place / f"{name}.told" for name in ("ledger", "rows")}
    copied = inside(process, mount) / "mysql"
    shutil.copytree(data, copied)
    database.give_to_server(copied)
    before = entered(process)
    with (
        database.serving(mount / "mysql", place / "mariadb.log", before),
        writing(process, "files", mount),
        writing(process, "mapped", mount),
        writing(process, "direct", mount),
        writing(process, "ledger", mount, tells["ledger"]),
        writing(process, "rows", mount / "mysql", tells["rows"]),
    ):
        yield tells


def assert_sound(image: Path, kind: str, place: Path, before: dict[str, int]) -> None:
    """The filesystem of an export is clean, and what its databases acknowledged is there."""
    with healthy(image, kind, place / "export") as root:
        assert_rows(root / "ledger.db", before["ledger"])
        count, largest = database.numbers_in(root / "mysql", place / f"{image.name}.log")
    assert count == largest >= before["rows"] > 0


def assert_rows(path: Path, acknowledged: int) -> None:
    """A SQLite database is whole and has every row up to the acknowledged one."""
    with contextlib.closing(sqlite3.connect(path)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        count, largest = opened.execute("SELECT COUNT(*), MAX(number) FROM entry").fetchone()
    assert count == largest >= acknowledged > 0
