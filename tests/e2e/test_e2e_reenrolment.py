"""An agent that is installed anew goes on where its server was; a clone of a living host gets its own."""

import os
import shutil
import subprocess
from pathlib import Path

from app.client import access, servers
from tests.e2e.deployment import Deployment, until
from tests.e2e.replica import assert_identical, head_of
from tests.e2e.source_host import WAIT_SECONDS, SourceHost, enrolled_as
from tests.services.processes import required_binary

MIB = 1 << 20
CONTENT = 12 * MIB
CHANGE = 4096


def formatted_disk(folder: Path) -> Path:
    """A disk with a filesystem that holds random bytes; what stands on it tells it from others."""
    files = folder / "files"
    files.mkdir()
    (files / "data").write_bytes(os.urandom(CONTENT))
    disk = folder / "disk.img"
    program = required_binary("mkfs.ext4", "e2fsprogs")
    subprocess.run([program, "-q", "-F", "-d", files, disk, "32M"], check=True, capture_output=True)
    return disk


def change_content(disk: Path) -> None:
    """Write into the middle of the filesystem's file."""
    sought = (disk.parent / "files" / "data").read_bytes()[MIB : MIB + CHANGE]
    at = disk.read_bytes().find(sought)
    assert at > 0
    with disk.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(CHANGE))


def enrol(host: SourceHost, deployment: Deployment, disk: Path, *claim: str) -> str:
    """Enrol without preflight; what the command says."""
    where = ("--url", deployment.agent_url, "--token", deployment.install_token())
    return host.call("enroll", "--no-preflight", *where, "--disk", str(disk), *claim)


def refused(host: SourceHost, deployment: Deployment, disk: Path, *claim: str) -> str:
    """The refusal of an enrolment."""
    where = ("--url", deployment.agent_url, "--token", deployment.install_token())
    code, message = host.refused("enroll", "--no-preflight", *where, "--disk", str(disk), *claim)
    assert code == 1
    assert not (host.state / "enrolment.json").exists()
    return message


def test_a_reinstalled_agent_sends_only_what_differs(deployment: Deployment, tmp_path: Path) -> None:
    disk = formatted_disk(tmp_path)
    host, lost = SourceHost(tmp_path / "agent"), SourceHost(tmp_path / "lost")
    server = host.enroll(deployment, disk)
    host.sync()
    first = assert_identical(deployment, server, disk)
    assert first.counters.wire_bytes > CONTENT
    with deployment.client() as client:
        before = client.send(servers.get(server))
    shutil.move(host.state, lost.state)
    change_content(disk)
    assert f"enrolled again as {before.name} ({server})" in enrol(host, deployment, disk)
    host.sync()
    second = assert_identical(deployment, server, disk)
    assert (second.number, second.parent) == (2, first.id)
    assert [each.disk_id for each in second.disks] == [each.disk_id for each in first.disks]
    assert second.counters.wire_bytes < 10 * CHANGE
    code, message = lost.refused("run", "--once")
    assert (code, "AGENT_CREDENTIAL_INVALID" in message) == (4, True), message
    assert head_of(deployment, server).id == second.id
    with deployment.client() as client:
        assert client.send(servers.get(server)).created_at == before.created_at
        actions = [entry.action for entry in client.send(access.audit(resource=server)).items]
    assert [each for each in actions if each.startswith("server.")] == ["server.reenroll"]


def test_a_clone_of_a_living_host_does_not_become_its_server(deployment: Deployment, tmp_path: Path) -> None:
    disk = formatted_disk(tmp_path)
    original, clone = SourceHost(tmp_path / "agent"), SourceHost(tmp_path / "clone")
    server = original.enroll(deployment, disk)
    with original.running():
        until(lambda: has_head(deployment, server), 60, "a first checkpoint")
        message = refused(clone, deployment, disk)
        assert "SERVER_IN_USE" in message
        assert "--new" in message
        assert "SERVER_IN_USE" in refused(clone, deployment, disk, "--server", server)
        enrol(clone, deployment, disk, "--new")
        assert enrolled_as(clone) != server
        clone.sync()
        order_pass(deployment, server)
        until(lambda: head_of(deployment, server).number > 1, 60, "the original goes on")


def test_a_living_agent_is_shut_out_by_name_and_ends(deployment: Deployment, tmp_path: Path) -> None:
    disk = formatted_disk(tmp_path)
    old, new = SourceHost(tmp_path / "agent"), SourceHost(tmp_path / "new")
    server = old.enroll(deployment, disk)
    with old.running() as process:
        until(lambda: has_head(deployment, server), 60, "a first checkpoint")
        enrol(new, deployment, disk, "--replace", server)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(WAIT_SECONDS) == 4
        assert "AGENT_CREDENTIAL_INVALID" in said
    until(lambda: new.attempt("run", "--once").returncode == 0, 60, "the old one's last lease has ended")
    assert assert_identical(deployment, server, disk).number > 1


def has_head(deployment: Deployment, server: str) -> bool:
    """Whether the server has a checkpoint."""
    with deployment.client() as client:
        return client.send(servers.get(server)).head_checkpoint is not None


def order_pass(deployment: Deployment, server: str) -> None:
    """Have a checkpoint made now."""
    with deployment.client() as client:
        client.send(servers.sync(server))
