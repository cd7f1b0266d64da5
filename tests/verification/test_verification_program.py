"""`go2cloud server verify` with the real agent program beside it."""

import json
import os
from pathlib import Path

import pytest

from app.client import access, verifications
from app.client.transport import Client
from app.contract.resources.access import InstallTokenCreate
from app.contract.words import Verdict, WorkState
from tests.cli.conftest import CommandLine, go2cloud, home, stranger
from tests.e2e.source_host import SourceHost
from tests.services.running import Running, enrolled
from tests.verification.online_rig import until

__all__ = ["go2cloud", "home", "stranger"]

CONTENT = os.urandom(3 << 20)


@pytest.fixture
def source(running: Running, tmp_path: Path) -> SourceHost:
    """An enrolled host with one disk and one checkpoint."""
    disk = tmp_path / "source.img"
    disk.write_bytes(CONTENT)
    host = SourceHost(tmp_path / "agent")
    enrolled(running, host.state, disk)
    host.sync()
    return host


def newest(client: Client, server: str) -> WorkState:
    return client.send(verifications.get(server)).state


@pytest.mark.slow
def test_the_command_waits_shows_each_disk_and_exits_0(
    go2cloud: CommandLine, source: SourceHost, tmp_path: Path
) -> None:
    (name,) = go2cloud("server", "list", "-o", "name").split()
    with source.running():
        shown = go2cloud("server", "verify", name)
        assert "the replica is the source" in shown
        assert str(tmp_path / "source.img") in shown
        found = json.loads(go2cloud("server", "verify", name, "-o", "json"))
    assert (found["state"], found["verdict"], found["level"]) == ("SUCCEEDED", "SAME", "v2")
    assert found["disks"][0]["comparedBytes"] == len(CONTENT)
    assert go2cloud("server", "verify", name, "--stored").count("identical") == 1


@pytest.mark.slow
def test_an_order_outlives_the_agent_that_was_killed_over_it(
    go2cloud: CommandLine, running: Running, source: SourceHost
) -> None:
    (name,) = go2cloud("server", "list", "-o", "name").split()
    go2cloud("server", "verify", name, "--no-wait")
    with running.client() as client:
        assert newest(client, name) is WorkState.PENDING
        with source.running():
            until(lambda: newest(client, name) is not WorkState.PENDING, "the agent heard of it")
        with source.running():
            until(lambda: newest(client, name) is WorkState.SUCCEEDED, "the next agent finished it")
        assert client.send(verifications.get(name)).verdict is Verdict.SAME


def test_a_difference_is_exit_1_and_named(
    go2cloud: CommandLine, running: Running, source: SourceHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent's result is delivered by hand: without a tracker it never says that a replica differs."""
    from app.agent.daemon.link.endpoint import Endpoint
    from app.agent.daemon.link.link import Link
    from app.agent.daemon.state import StateDir
    from app.agent.daemon.stopping import Stop
    from app.agent.daemon.verification.calls import VerificationCalls
    from app.agent.daemon.verification.guard import Guard
    from app.wire.verification import DiskVerification, Verification

    (name,) = go2cloud("server", "list", "-o", "name").split()
    stop = Stop()
    link = Link(Endpoint.parse(running.url), stop, StateDir(source.state).require_enrolment().credential)
    calls = VerificationCalls(link, Guard(stop), lambda _text: None)
    found = DiskVerification("sda", 8192, compared=8192, unexplained=((4096, 4096),), unexplained_bytes=4096)

    def deliver(_seconds: float) -> None:
        with running.client() as client:
            calls.result(client.send(verifications.get(name)).id, Verification("chk-x", (found,)))

    monkeypatch.setattr("app.cli.verifications.time.sleep", deliver)
    shown = go2cloud("server", "verify", name, code=1)
    link.close()
    assert "THE REPLICA DIFFERS" in shown
    assert "4096 bytes from 4096" in shown
    assert "not proved" in go2cloud.notes


def test_the_store_says_how_scrubbing_stands(go2cloud: CommandLine) -> None:
    until(lambda: "finished" in go2cloud("store", "status"), "the first round is over")
    found = json.loads(go2cloud("store", "status", "-o", "json"))
    assert (found["bytesPerSecond"], found["days"]) == (16 << 20, 30)
    assert found["last"]["findingCount"] == 0


def test_an_install_token_is_no_credential_for_a_verification(running: Running) -> None:
    with running.client() as client:
        token = client.send(access.create_install_token(InstallTokenCreate(name="x"))).secret
    from app.client.errors import NotAuthenticated

    with Client(running.url, token or "") as stranger_, pytest.raises(NotAuthenticated):
        stranger_.send(verifications.get("any"))
