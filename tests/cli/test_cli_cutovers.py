"""`go2cloud server cutover` and what follows it: plans, refusals, questions, and the end of a server."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.launch.boot_sector import talking_disk
from tests.services.running import Running, Source, replicated


@pytest.fixture
def source(running: Running, tmp_path: Path) -> Source:
    return replicated(running, tmp_path, talking_disk())


def test_a_plan_says_what_would_be_done_and_what_refuses_it(go2cloud: CommandLine, source: Source) -> None:
    server = source.server
    found = go2cloud("server", "cutover", server, "--dry-run", "-o", "json", code=1)
    codes = {each["code"]: each for each in json.loads(found)}
    assert {"LIFECYCLE_NOT_ALLOWED", "REPLICATION_UNHEALTHY", "NOT_FROZEN"} <= codes.keys()
    assert "1. compare the running source" in go2cloud.notes
    assert "would be refused now" in go2cloud.notes
    go2cloud("server", "finalize", server, "--dry-run", code=1)
    go2cloud("server", "revert", server, "--dry-run", code=1)
    assert "2. make the credential" in _notes(go2cloud, "server", "disconnect", server, "--dry-run")


def _notes(go2cloud: CommandLine, *arguments: str) -> str:
    go2cloud(*arguments)
    return go2cloud.notes


def test_what_destroys_asks_and_what_the_state_forbids_is_refused(
    go2cloud: CommandLine, source: Source
) -> None:
    server = source.server
    for verb in ("cutover", "finalize", "disconnect"):
        go2cloud("server", verb, server, code=2)
        assert "add --yes" in go2cloud.notes
    go2cloud("server", "cutover", server, "--yes", code=1)
    assert "is READY_FOR_TEST: cutover is not possible" in go2cloud.notes
    go2cloud("server", "revert", server, code=1)
    for half in (("--source-gone",), ("--reason", "burnt down")):
        go2cloud("server", "revert", server, *half, code=2)
        assert "go together" in go2cloud.notes
    go2cloud("server", "revert", server, "--source-gone", "--reason", "burnt down", "--yes", code=1)
    assert "is READY_FOR_TEST: revert is not possible" in go2cloud.notes
    assert go2cloud("server", "cutovers", server, "-o", "json") == "[]\n"


def test_a_server_is_disconnected_and_archived_out_of_the_list(go2cloud: CommandLine, source: Source) -> None:
    server = source.server
    assert "DISCONNECTED" in go2cloud("server", "disconnect", server, "--yes")
    go2cloud("server", "archive", server)
    assert go2cloud("server", "list", "-o", "name") == ""
    assert go2cloud("server", "list", "--archived", "-o", "name").strip()
