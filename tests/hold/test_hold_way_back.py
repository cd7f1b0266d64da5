"""From a held source to its launched machine and back to the old disk, with real agents and disks."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.agent.daemon.state import StateDir
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.cli.demo.compare import first_difference
from app.client import access, cutovers, replicas, servers
from app.client.transport import Client
from app.contract.resources.checkpoint import Checkpoint
from app.contract.resources.server import Server
from app.contract.words import HoldPhase, ReplicationState, WorkState
from app.kit.database import UnitOfWork
from app.migration.cutover.tables import CutoverRow
from app.migration.servers.enrolment import find_server
from app.work.tables import JobRow
from tests.e2e.source_host import AGENT, SourceHost
from tests.following.replicas import attached
from tests.hold.held_host import HeldHost
from tests.services.loop_disks import LoopDisk

pytestmark = [pytest.mark.root, pytest.mark.slow]

MIB = 1 << 20
BULK = 24 * MIB
WRITTEN = 2 * MIB
ANOTHER_BOOT = (
    "unshare",
    "--mount",
    "--propagation",
    "slave",
    "sh",
    "-c",
    'mount --bind "$G2C_TEST_BOOT" /proc/sys/kernel/random/boot_id && exec "$@"',
    "sh",
)
"""The launched machine is another start of a kernel, and sees that it is."""
P = HoldPhase


@dataclass
class Launched:
    """The launched machine: a copy of the disk, with the copy of the source's agent and its state."""

    host: HeldHost
    disk: LoopDisk
    agent: SourceHost
    folder: Path

    def mounted(self) -> contextlib.AbstractContextManager[Path]:
        """Its filesystem."""
        return self.disk.mounted(self.folder / "machine")

    def ended(self) -> None:
        """Nothing of its agent is left."""
        run = StateDir(self.agent.state).run_dir
        TraceTracker(run).instance.remove()
        shutil.rmtree(run, ignore_errors=True)


def held(host: HeldHost) -> str:
    """Hold the source for good; the id of its final checkpoint."""
    (host.folder / "mnt" / "bulk").write_bytes(os.urandom(BULK))
    host.supervise()
    host.replicated()
    host.quiesce()
    host.reached(P.QUIESCED)
    host.finish()
    host.reached(P.FINAL)
    host.keep()
    final = host.reached(P.HELD).checkpoint_id
    assert final is not None
    return final


async def cut_over(uow: UnitOfWork, server_id: str) -> None:
    """What a cutover leaves whose machine passed its checks."""
    server = await find_server(uow, server_id)
    server.lifecycle_state = "CUTTING_OVER"
    job = JobRow(
        id="job-back",
        kind="server.cutover",
        project_id=server.project_id,
        input=None,
        result=None,
        place="control",
        state=WorkState.SUCCEEDED,
        created_at=uow.now,
    )
    uow.session.add(job)
    await uow.session.flush()
    cutover = CutoverRow(
        id="cut-back",
        server_id=server_id,
        job_id=job.id,
        effect="job-back.choose.0",
        state="SUCCEEDED",
        target="qemu",
        machine={},
        forwards=[],
        source_active=False,
        passed_over=[],
        phases=[],
        created_at=uow.now,
        ledger=[],
    )
    uow.session.add(cutover)


@contextlib.contextmanager
def launched(host: HeldHost, final: str) -> Iterator[Launched]:
    """A machine on the final checkpoint."""
    image, state = host.folder / "machine.img", host.folder / "machine-state"
    with host.center.client() as client:
        found = client.send(servers.checkpoint(host.server, final))
        replicas.export_disk(client, found, found.disks[0], image)
    shutil.copytree(host.source.state, state)
    boot = host.folder / "boot-id"
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    program = (*ANOTHER_BOOT, *AGENT)
    agent = SourceHost(state, program, {"G2C_TEST_BOOT": str(boot)})
    with attached(image) as disk:
        made = Launched(host, disk, agent, host.folder)
        try:
            yield made
        finally:
            made.ended()
            shutil.rmtree(state, ignore_errors=True)
            image.unlink()


def of(host: HeldHost, server: str) -> Server:
    with host.center.client() as client:
        return client.send(servers.get(server))


def go2cloud(host: HeldHost, *arguments: str) -> str:
    """A command of the operator that succeeds; its output."""
    center = host.center
    with Client(center.listening.url) as nobody:
        token = nobody.send(access.log_in(center.user, center.password)).token
    environment = dict(os.environ) | {"GO2CLOUD_URL": center.listening.url, "GO2CLOUD_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def enrolled(host: HeldHost, machine: Launched) -> str:
    """Enrol the agent inside of the machine, which finds the source's state; the way back's id."""
    name = of(host, host.server).name
    token = go2cloud(host, "server", "reverse", name).strip()
    where = ("--no-preflight", "--url", host.center.listening.url, "--token", token)
    code, told = host.source.refused("enroll", *where, "--disk", str(machine.disk.device))
    assert (code, "STATE_IN_USE" in told) == (1, True)
    done = machine.agent.attempt("enroll", *where, "--disk", str(machine.disk.device))
    assert done.returncode == 0, done.stderr
    assert f"copy of the state of {name} ({host.server})" in done.stderr
    assert (machine.agent.state.parent / f"machine-state.{host.server}" / "enrolment.json").exists()
    status = json.loads(machine.agent.call("status", "--json"))
    assert status["serverId"] != host.server
    return str(status["serverId"])


def write(at: Path) -> None:
    """What the machine does in its new place."""
    with (at / "bulk").open("r+b") as file:
        file.seek(16 * MIB)
        file.write(os.urandom(WRITTEN))
        file.flush()
        os.fsync(file.fileno())
    (at / "written-after").write_text("the machine was here\n")


def checkpoints(host: HeldHost, back: str) -> list[Checkpoint]:
    """Those of the way back, the oldest first."""
    with host.center.client() as client:
        return list(reversed(list(client.every(servers.checkpoints(back)))))


def test_what_the_launched_machine_writes_comes_back_to_the_old_disk(host: HeldHost) -> None:
    final = held(host)
    host.center.work(lambda uow: cut_over(uow, host.server))
    with launched(host, final) as machine:
        back = enrolled(host, machine)
        with machine.mounted() as at, machine.agent.running("--hooks", str(host.folder / "none")):
            host.wait(lambda: len(checkpoints(host, back)) >= 2, "the machine is replicated")
            first = checkpoints(host, back)[0]
            assert first.counters.known_bytes >= BULK - MIB
            assert first.counters.wire_bytes < MIB
            write(at)
            count = len(checkpoints(host, back))
            with host.center.client() as client:
                client.send(servers.sync(back))
            host.wait(lambda: len(checkpoints(host, back)) > count, "what it wrote is replicated")
            shown = of(host, host.server).reverse
            assert shown is not None
            assert (shown.server_id, shown.ended) == (back, False)
            assert shown.replication_state is not ReplicationState.DISCONNECTED
            assert host.calls == ["stop-services", "keep-stopped"]
        machine.agent.sync()
        host.is_supervised = False
        host.kill_agent()
        subprocess.run(["umount", host.folder / "mnt"], check=True)
        try:
            host.wait(lambda: is_free(host.disk.device), "no mount namespace has the old disk any more")
            exported(host, machine, back)
        finally:
            subprocess.run(["mount", host.disk.device, host.folder / "mnt"], check=True)
        assert (host.folder / "mnt" / "written-after").read_text() == "the machine was here\n"
        stopped(host, back)


def is_free(device: Path) -> bool:
    """Whether nothing holds a device: namespaces that ended are taken apart behind their last process."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return False
    return True


def exported(host: HeldHost, machine: Launched, back: str) -> None:
    """The old disk is the machine's, byte for byte but for what is free."""
    name, old = of(host, host.server).name, host.disk.device
    shown = json.loads(go2cloud(host, "server", "reverse", name, "--show", "-o", "json"))
    assert [(each["path"], each["reversePath"]) for each in shown] == [(str(old), str(machine.disk.device))]
    go2cloud(
        host, "replica", "export", name, "--reverse", "--disk", str(old), "--output", str(old), "--force"
    )
    (disk,) = checkpoints(host, back)[-1].disks
    assert first_difference(machine.disk.device, old, disk.omitted) is None
    host.disk.check("ext4")


def stopped(host: HeldHost, back: str) -> None:
    """The end of the way back: its agent is shut out, its checkpoints stay."""
    with host.center.client() as client:
        client.send(cutovers.stop_reverse(host.server))
    assert len(checkpoints(host, back)) >= 3
    assert of(host, host.server).reverse is not None
