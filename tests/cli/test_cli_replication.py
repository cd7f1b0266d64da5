"""`go2cloud server …` about replication, against a service and the real agent program."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine
from tests.services.running import Running, Source, replicated

CONTENT = os.urandom(1 << 20) + bytes(1 << 20)
SECONDS = 40


@pytest.fixture
def source(running: Running, tmp_path: Path) -> Source:
    return replicated(running, tmp_path, CONTENT)


@pytest.fixture
def agent(source: Source) -> Iterator[Source]:
    """The source with its agent running."""
    command = [sys.executable, "-m", "app.agent.daemon", "run", "--state-dir", str(source.state)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield source
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0


def wait_for(claim: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < limit, f"nothing happened for {SECONDS} seconds"
        time.sleep(0.2)


def standing(go2cloud: CommandLine, source: Source) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(go2cloud("server", "replication", source.server, "-o", "json"))
    return found


def stands(go2cloud: CommandLine, source: Source, state: str) -> None:
    """Wait until replication is in this state."""
    wait_for(lambda: standing(go2cloud, source)["state"] == state)


def newest(go2cloud: CommandLine, source: Source) -> int:
    number: int = json.loads(go2cloud("replica", "list", source.server, "-o", "json"))[0]["number"]
    return number


def test_orders_from_command_line_to_agent_and_back(go2cloud: CommandLine, agent: Source) -> None:
    stands(go2cloud, agent, "CONTINUOUS")
    go2cloud("server", "pause", agent.server)
    assert "pause is ordered" in go2cloud.notes
    stands(go2cloud, agent, "PAUSED")
    go2cloud("server", "sync", agent.server, code=1)
    assert "allowed now: resume, stop" in go2cloud.notes
    go2cloud("server", "stop", agent.server)
    stands(go2cloud, agent, "STOPPED")
    before = newest(go2cloud, agent)
    go2cloud("server", "resume", agent.server)
    wait_for(lambda: newest(go2cloud, agent) == before + 1)
    stands(go2cloud, agent, "CONTINUOUS")
    go2cloud("server", "rescan", agent.server)
    wait_for(lambda: newest(go2cloud, agent) == before + 2)
    wait_for(lambda: standing(go2cloud, agent)["rescanOrdered"] is False)
    go2cloud("server", "update", agent.server, "--interval", "5s")
    wait_for(lambda: newest(go2cloud, agent) >= before + 4)


def test_a_failing_agent_is_named_and_tries_again_when_told(go2cloud: CommandLine, agent: Source) -> None:
    stands(go2cloud, agent, "CONTINUOUS")
    agent.disk.rename(agent.disk.with_name("away.img"))
    go2cloud("server", "sync", agent.server)
    stands(go2cloud, agent, "STALLED")
    found = standing(go2cloud, agent)
    assert found["reason"] == "DISK_LAYOUT_CHANGED"
    assert "DISK_NOT_FOUND" in found["detail"]
    agent.disk.with_name("away.img").rename(agent.disk)
    go2cloud("server", "retry", agent.server)
    stands(go2cloud, agent, "CONTINUOUS")
    go2cloud("server", "retry", agent.server, code=1)


def test_lists_and_pages_show_how_it_stands(go2cloud: CommandLine, source: Source) -> None:
    heads, row = (line.split() for line in go2cloud("server", "list").splitlines())
    assert heads[2:8] == ["LIFECYCLE", "REPLICATION", "REASON", "GOAL", "LAG", "BACKLOG"]
    assert row[2:6] == ["READY_FOR_TEST", "STOPPED", "-", "RUN"]
    shown = go2cloud("server", "show", source.server)
    for words in ("GOAL:", "INTERVAL:", "DEGRADED:", "pause,stop,sync,rescan"):
        assert words in shown
    said = go2cloud("server", "replication", source.server)
    for words in ("STATE:", "STOPPED", "FORECAST:", "checkpoint 1, quiet, not frozen", str(source.disk)):
        assert words in said
    assert "serverId: " + source.server in go2cloud("server", "replication", source.server, "-o", "yaml")
    assert go2cloud("server", "replication", source.server, "-o", "name") == source.server + "\n"
    assert "FREEZE MS" in go2cloud("replica", "list", source.server, "-o", "wide")


def test_watching_shows_it_again_until_interrupted(
    go2cloud: CommandLine, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = iter([None, None])

    def pause(_seconds: float) -> None:
        if next(pauses, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.replication.time.sleep", pause)
    assert go2cloud("server", "replication", source.server, "--watch").count("FORECAST:") == 3
    assert go2cloud("server", "replication", source.server, "--watch", "-o", "json").count("serverId") == 1


def test_interval_and_rate(go2cloud: CommandLine, source: Source) -> None:
    def update(*arguments: str) -> dict[str, Any]:
        changed: dict[str, Any] = json.loads(
            go2cloud("server", "update", source.server, *arguments, "-o", "json")
        )
        return changed

    changed = update("--interval", "90s", "--rate", "20MiB", "--name", "shop", "--description", "the shop")
    assert (changed["checkpointInterval"], changed["wireRate"]) == ("PT1M30S", 20 << 20)
    assert (changed["name"], changed["description"]) == ("shop", "the shop")
    assert update("--interval", "0")["checkpointInterval"] == "PT0S"
    assert "only on command" in go2cloud("server", "replication", "shop")
    changed = update("--interval", "default", "--rate", "none")
    assert (changed["checkpointInterval"], changed["wireRate"], changed["name"]) == (None, None, "shop")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "say what to change"),
        (("--interval", "soon"), 2, "soon"),
        (("--interval", "2w"), 2, "5 seconds to 1 week"),
        (("--rate", "fast"), 2, "fast"),
        (("--rate", "5"), 2, "wire_rate"),
    ],
)
def test_impossible_changes_are_wrong_usage(
    go2cloud: CommandLine, arguments: tuple[str, ...], code: int, says: str
) -> None:
    go2cloud("server", "update", "web", *arguments, code=code)
    assert says in go2cloud.notes


@pytest.mark.parametrize("command", ["pause", "resume", "stop", "sync", "rescan", "retry", "replication"])
def test_an_unknown_server_is_not_found(go2cloud: CommandLine, command: str) -> None:
    go2cloud("server", command, "nope", code=3)
    assert "nope" in go2cloud.notes
