"""A preflight from the command line of the operator to the agent on its host, and back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.client import access, servers
from app.contract.resources.access import InstallTokenCreate
from tests.cli.conftest import CommandLine
from tests.services.processes import free_port
from tests.services.running import Running

MIB = 1 << 20
AGENT = (sys.executable, "-m", "app.agent.daemon")


def agent(state: Path, verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the agent."""
    command = [*AGENT, verb, *map(str, arguments), "--state-dir", str(state)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def enrolled(running: Running, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Enrol a host with one disk that is a file."""
    (folder / "disk.img").write_bytes(os.urandom(4 * MIB))
    with running.client() as client:
        token = client.send(access.create_install_token(InstallTokenCreate(name="source"))).secret
    assert token is not None
    where = ("--url", running.url, "--token", token, "--disk", folder / "disk.img")
    return agent(folder / "agent", "enroll", *where, *more)


@contextmanager
def started(state: Path) -> Iterator[None]:
    """The daemon, as long as the block lasts."""
    process = subprocess.Popen(
        [*AGENT, "run", "--state-dir", str(state)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
    finally:
        process.kill()
        process.communicate()


def test_a_host_is_examined_when_it_enrols(go2cloud: CommandLine, running: Running, tmp_path: Path) -> None:
    done = enrolled(running, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "enrolled as" in done.stdout
    assert "WARNING  ROOT_NOT_REPLICATED" in done.stdout
    assert "preflight: 1 warning, 3 notes" in done.stdout
    (name,) = go2cloud("server", "list", "-o", "name").split()
    shown = go2cloud("server", "preflight", name, "--latest")
    assert shown.startswith("WARNINGS  (pfl-")
    assert "it waits for: " in shown
    assert "NOT_ENCRYPTED" in shown
    found = json.loads(go2cloud("server", "preflight", name, "--latest", "-o", "json"))
    assert found["report"]["network"]["requests"] == 30
    assert found["report"]["observedMs"] >= 3000
    assert found["verdict"]["outcome"] == "WARNINGS"


def test_enrolling_can_do_without(go2cloud: CommandLine, running: Running, tmp_path: Path) -> None:
    done = enrolled(running, tmp_path, "--no-preflight")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    (name,) = go2cloud("server", "list", "-o", "name").split()
    go2cloud("server", "preflight", name, "--latest", code=3)
    assert "no preflight yet" in go2cloud.notes


@pytest.mark.slow
def test_the_running_agent_delivers_what_was_asked_for(
    go2cloud: CommandLine, running: Running, tmp_path: Path
) -> None:
    enrolled(running, tmp_path, "--no-preflight")
    (name,) = go2cloud("server", "list", "-o", "name").split()
    assert "is asked for" in go2cloud("server", "preflight", name, "--no-wait")
    go2cloud("server", "preflight", name, "--timeout", "0", code=5)
    assert "did not report" in go2cloud.notes
    with started(tmp_path / "agent"):
        shown = go2cloud("server", "preflight", name, "--timeout", "200")
    assert shown.startswith("WARNINGS  (pfl-")
    with running.client() as client:
        assert len(list(client.every(servers.preflights(name)))) == 1


def test_the_host_examines_itself_before_and_after_enrolment(
    go2cloud: CommandLine, running: Running, tmp_path: Path
) -> None:
    state, disk = tmp_path / "agent", tmp_path / "disk.img"
    disk.write_bytes(os.urandom(MIB))
    before = agent(state, "preflight", "--json", "--observe", "0", "--disk", disk)
    assert before.returncode == 0
    report = json.loads(before.stdout)
    assert ("network" in report, report["disks"][0]["path"]) == (False, str(disk))
    missing = agent(state, "preflight", "--observe", "0", "--disk", tmp_path / "missing.img")
    assert missing.returncode == 1
    assert "BLOCKER  DISK_UNREADABLE" in missing.stdout
    enrolled(running, tmp_path, "--no-preflight")
    assert agent(state, "preflight", "--disk", disk).returncode == 2
    assert agent(state, "preflight", "--observe", "-1").returncode == 2
    after = agent(state, "preflight", "--observe", "0")
    assert (after.returncode, after.stderr) == (0, "")
    assert "network  delay " in after.stdout
    (name,) = go2cloud("server", "list", "-o", "name").split()
    assert "WARNINGS" in go2cloud("server", "preflight", name, "--latest")


def test_a_blocker_is_a_failure_of_the_command(
    go2cloud: CommandLine, running: Running, tmp_path: Path
) -> None:
    enrolled(running, tmp_path, "--no-preflight")
    (tmp_path / "disk.img").unlink()
    assert agent(tmp_path / "agent", "preflight", "--observe", "0").returncode == 1
    (name,) = go2cloud("server", "list", "-o", "name").split()
    assert "DISK_UNREADABLE" in go2cloud("server", "preflight", name, "--latest", code=1)
    assert "blocks" in go2cloud.notes


def test_a_service_that_is_away_costs_the_network_and_the_delivery(
    go2cloud: CommandLine, running: Running, tmp_path: Path
) -> None:
    assert go2cloud
    enrolled(running, tmp_path, "--no-preflight")
    path = tmp_path / "agent" / "enrolment.json"
    path.write_text(path.read_text().replace(running.url, f"http://127.0.0.1:{free_port()}"))
    done = agent(tmp_path / "agent", "preflight", "--observe", "0")
    assert done.returncode == 1
    assert "BLOCKER  SERVICE_UNREACHABLE" in done.stdout
    assert "was not delivered" in done.stderr
