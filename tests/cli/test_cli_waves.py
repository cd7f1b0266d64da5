"""`go2cloud application …` and `go2cloud wave …`, against a service that runs the jobs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kit.clock import SystemClock
from app.migration.launch.targets import target_of
from tests.cli.conftest import CommandLine
from tests.launch.boot_sector import dead_disk, talking_disk
from tests.launch.conftest import end_all
from tests.services.running import Running, enrolled, replicated

SMALL = ("--cpus", "1", "--memory", "64MiB", "--firmware", "bios", "--nic", "52:54:00:12:34:56")


def named(go2cloud: CommandLine, running: Running, folder: Path, name: str, content: bytes | None) -> None:
    """A server of this name; without content it has no replica."""
    folder = folder / name
    folder.mkdir()
    if content is None:
        disk = folder / "disk.img"
        disk.write_bytes(b"x" * 65536)
        server = enrolled(running, folder / "agent", disk)
    else:
        server = replicated(running, folder, content).server
        go2cloud("server", "launch-settings", server, *SMALL)
    go2cloud("server", "update", server, "--name", name)


def test_waves_and_applications_are_made_changed_and_planned(
    go2cloud: CommandLine, running: Running, tmp_path: Path
) -> None:
    named(go2cloud, running, tmp_path, "db-1", None)
    named(go2cloud, running, tmp_path, "web-1", None)
    go2cloud("application", "create", "db", "--server", "db-1", "--description", "the data")
    assert "web-1=2" in go2cloud("application", "create", "web", "--server", "web-1=2", "--after", "db")
    go2cloud("application", "update", "db", "--after", "web", code=1)
    assert "come after each other: db after web after db" in go2cloud.notes
    go2cloud("application", "create", "wrong", "--server", "web-1=x", code=2)
    assert "is no group" in " ".join(go2cloud.notes.split())
    assert "web-1" in go2cloud("application", "show", "web")
    assert go2cloud("application", "list", "-o", "name") == "db\nweb\n"
    made = ("wave", "create", "one", "--at", "2026-03-07T22:00", "--stop-after", "2", "--application", "db")
    assert "2026-03-07 22:00:00Z" in go2cloud(*made)
    go2cloud("wave", "create", "late", "--at", "tomorrow", code=2)
    assert "db, web" in go2cloud("wave", "add", "one", "web")
    plan = go2cloud("wave", "test", "one", "--dry-run")
    lines = [line.split() for line in plan.splitlines()[1:]]
    assert [(line[0], line[3], line[6]) for line in lines] == [
        ("1", "db-1", "REFUSED"),
        ("2", "web-1", "REFUSED"),
    ]
    assert "NOT_READY: test is not possible" in plan
    assert "WOULD BE" in go2cloud("wave", "mark-ready", "one", "--dry-run")
    assert "REFUSED" in go2cloud("wave", "show", "one")
    go2cloud("wave", "mark-ready", "one", code=1)
    assert "2 of 2 servers were not marked" in go2cloud.notes
    changed = json.loads(
        go2cloud("wave", "update", "one", "--at-once", "2", "--no-date", "--no-stop", "-o", "json")
    )
    assert (changed["serversAtOnce"], changed["plannedAt"], changed["stopAfterFailures"]) == (2, None, None)
    go2cloud("wave", "remove", "one", "web")
    go2cloud("application", "add", "db", "web-1", code=1)
    assert "belongs to application" in go2cloud.notes
    go2cloud("application", "remove", "web", "web-1")
    assert "db-1=3, web-1=5" in go2cloud("application", "add", "db", "web-1=5", "db-1=3")
    go2cloud("wave", "test", "one", "--watch", code=1)
    assert "db-1 is REFUSED" in go2cloud.notes
    go2cloud("wave", "abort", "one", code=1)
    assert "has no run that is not over" in go2cloud.notes
    assert "SERVERS_FAILED" not in go2cloud("wave", "runs", "one")
    go2cloud("application", "delete", "db", code=2)
    go2cloud("application", "delete", "db", "--yes")
    go2cloud("wave", "delete", "one", "--yes")
    go2cloud("wave", "show", "one", code=3)


@pytest.fixture
def machines(running: Running) -> Iterator[None]:
    yield
    end_all(target_of(running.settings.launch, SystemClock()))


@pytest.mark.slow
def test_a_wave_is_tested_to_the_proof_and_each_server_is_told_of(
    go2cloud: CommandLine, running: Running, tmp_path: Path, machines: None
) -> None:
    for name, content in (("db-1", talking_disk()), ("web-1", talking_disk()), ("old-1", dead_disk())):
        named(go2cloud, running, tmp_path, name, content)
    go2cloud("application", "create", "shop", "--server", "web-1=2", "--server", "db-1")
    go2cloud("application", "create", "old", "--server", "old-1")
    go2cloud("wave", "create", "one", "--application", "shop", "--application", "old")
    table = go2cloud("wave", "test", "one", "--watch", code=1)
    assert "1 FAILED" in go2cloud.notes
    assert "try: see each server's remedy: go2cloud wave run" in go2cloud.notes
    assert "db-1 is SUCCEEDED" in go2cloud.notes
    assert "2 SUCCEEDED, 1 FAILED" in table
    assert "NO_BOOTABLE_DEVICE" in table
    run = json.loads(go2cloud("wave", "run", "one", "-o", "json"))
    servers = {each["server"]["name"]: each for each in run["servers"]}
    assert servers["db-1"]["finishedAt"] <= servers["web-1"]["startedAt"]
    assert servers["web-1"]["seconds"] > 0
    marked = go2cloud("wave", "mark-ready", "one", code=1)
    assert marked.count("yes") == 2
    assert "1 of 3 servers were not marked" in go2cloud.notes
    assert "2 READY_FOR_CUTOVER" in go2cloud("wave", "list")
    go2cloud("application", "revert", "shop", "--watch", code=2)
    go2cloud("application", "revert", "shop", "--watch", "--yes")
    assert "REFUSED" in go2cloud("wave", "cutover", "one", "--dry-run")
    ended = go2cloud("wave", "terminate-test", "one", "--watch")
    assert "3 UNCHANGED" in ended
