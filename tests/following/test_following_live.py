"""A host in its own namespaces goes on writing while it is followed: each frozen checkpoint is what its disk
held at the freeze, its filesystem is clean, and its databases have every row that was acknowledged before.
"""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Deployment
from tests.following import database
from tests.following.live_host import (
    MIB,
    LiveHost,
    entered,
    inside,
    live_host,
    namespace_of_mounts,
    writing,
)
from tests.following.replicas import differences, exported, healthy
from tests.services.loop_disks import loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.service]

CHECKPOINTS = 3
SECONDS_BETWEEN = 5.0


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_writing_host_is_replicated_to_what_it_was_at_each_freeze(
    kind: str, service: Deployment, place: Path, images: Path, fresh_data: Path
) -> None:
    told: list[tuple[int, dict[str, int]]] = []
    with loop_disk(images / "disk.img", 1024 * MIB) as disk:
        disk.format(kind)
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            all_writers(process, place, fresh_data) as telling,
            live_host(place, service, [disk], images) as host,
        ):
            host.freezer.telling = telling
            for _ in range(CHECKPOINTS):
                time.sleep(SECONDS_BETWEEN)
                result = host.sync_frozen()
                assert differences(service, host, images) == {}
                told.append((result.number, host.freezer.told))
            assert_followed(host)
        for number, before in told:
            assert_sound(exported(images, disk, number), kind, place, before)


@contextlib.contextmanager
def all_writers(process: int, place: Path, data: Path) -> Iterator[dict[str, Path]]:
    """Every kind of writer at work on the one filesystem of a host; the files of those that tell numbers."""
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


def assert_followed(host: LiveHost) -> None:
    """Only the first pass read the whole disk, and nothing was lost."""
    assert host.follower.take_codes() == [""]
    assert [note for note in host.notes if "anew" in note or "whole" in note] == []


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
