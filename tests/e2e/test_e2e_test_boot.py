"""From the agent to the proof: a replica is started as a machine, watched, judged, and goes again."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.demo.tiny_disk import PAGE, make_disk
from app.client import jobs, servers, tests
from app.client.errors import ClientError
from app.client.transport import Client
from app.contract.resources.job import Job
from app.contract.resources.launch import LaunchSettingsUpdate, ServerTest
from app.contract.words import BootFailure, BootPhase, TestState, WorkState
from app.kit.clock import SystemClock
from app.kit.settings import load_settings
from app.migration.launch.targets import target_of
from tests.e2e.deployment import Deployment, embedded, of_three_roles, run_deployment, until
from tests.e2e.replica import assert_identical
from tests.e2e.source_host import SourceHost
from tests.launch.boot_sector import dead_disk
from tests.launch.conftest import end_all
from tests.services.mariadb_server import MariaDb
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.slow

SECONDS = 180.0
MACHINE = LaunchSettingsUpdate.model_validate(
    {
        "cpus": 1,
        "memoryBytes": 256 << 20,
        "firmware": "bios",
        "nics": [{"mac": "52:54:00:12:34:56"}],
        "checks": [
            {"kind": "login"},
            {"kind": "http", "port": 8080, "body": PAGE.strip()},
            {"kind": "screen"},
        ],
        "timeout": "PT3M",
    }
)


SETTINGS = {"G2C_WORK__LEASE_SECONDS": "5", "G2C_WORK__NODE": "here"}
"""A killed service's jobs are soon taken over, by its successor on the same node."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The service's folder, of which no machine outlives the test."""
    folder = tmp_path / "service"
    folder.mkdir()
    yield folder
    settings = load_settings({"G2C_DATA_DIR": str(folder), "HOME": str(folder)})
    end_all(target_of(settings.launch, SystemClock()))


@pytest.fixture
def deployment(folder: Path) -> Iterator[Deployment]:
    """Role `all`."""
    with embedded(folder, **SETTINGS) as running:
        yield running


@pytest.fixture
def apart(folder: Path, mariadb: MariaDb, redis_server: RedisServer) -> Iterator[Deployment]:
    """Each role in a process of its own: what role agent saw is shown by role api."""
    database, redis = mariadb.create_database(), redis_server.settings()
    planned = of_three_roles(folder, database, redis)
    yield from run_deployment(replace(planned, environment=planned.environment | SETTINGS))


def replicated(deployment: Deployment, folder: Path, disk: Path) -> str:
    """Replicate a disk by the real agent, and give the server a small machine; its id."""
    host = SourceHost(folder)
    server = host.enroll(deployment, disk)
    host.sync()
    with deployment.client() as client:
        client.send(tests.set_settings(server, 0, MACHINE))
    return server


def ended(client: Client, job: Job, state: WorkState) -> Job:
    """The job when it is over, in this state."""
    deadline = time.monotonic() + SECONDS
    while job.state in (WorkState.PENDING, WorkState.RUNNING):
        assert time.monotonic() < deadline, job
        time.sleep(0.3)
        job = client.send(jobs.get(job.id))
    assert job.state is state, job
    return job


def machines(deployment: Deployment) -> list[int]:
    """The processes of machines that this deployment started."""
    runs = deployment.folder / "launch" / "runs"
    found = subprocess.run(["pgrep", "-x", "qemu-system-x86"], capture_output=True, text=True, check=False)
    names = {folder.name for folder in runs.glob("*")} if runs.exists() else set()
    return [
        int(pid)
        for pid in found.stdout.split()
        if any(f"guest={name}" in Path(f"/proc/{pid}/cmdline").read_text() for name in names)
    ]


def latest(client: Client, server: str) -> ServerTest:
    return client.send(tests.get(server))


def test_a_replica_boots_survives_a_kill_of_the_service_and_proves_itself(
    deployment: Deployment, tmp_path: Path
) -> None:
    disk = make_disk(tmp_path / "disk.img")
    server = replicated(deployment, tmp_path / "agent", disk)
    with deployment.client() as client:
        with pytest.raises(ClientError, match="READY_FOR_TEST"):
            client.send(tests.mark_ready(server))
        job = client.send(tests.order(server))
        until(
            lambda: client.send(jobs.get(job.id)).step == "check" and bool(machines(deployment)),
            SECONDS,
            "the machine is being watched",
        )
        (before,) = machines(deployment)
    deployment.kill("all")
    assert machines(deployment) == [before]
    deployment.start()
    with deployment.client() as client:
        ended(client, job, WorkState.SUCCEEDED)
        test = latest(client, server)
        assert machines(deployment) == [before]
        assert (test.passed, test.state, test.job_id) == (True, TestState.RUNNING, job.id)
        assert [(check.name, check.passed) for check in test.checks] == [
            ("login", True),
            ("http", True),
            ("screen", True),
        ]
        assert {phase.phase for phase in test.phases} >= {BootPhase.KERNEL, BootPhase.LOGIN}
        assert client.send(tests.screenshot(server)).startswith(b"\x89PNG")
        assert client.send(tests.screenshot(server, thumbnail=True)).startswith(b"\x89PNG")
        assert b"tiny login:" in client.send(tests.serial(server))
        assert_identical(deployment, server, disk)
        assert client.send(tests.mark_ready(server)).lifecycle_state == "READY_FOR_CUTOVER"
        ended(client, client.send(tests.terminate(server)), WorkState.SUCCEEDED)
        assert latest(client, server).state is TestState.TERMINATED
        assert machines(deployment) == []
        assert list((deployment.folder / "launch" / "volumes").rglob("*.raw")) == []
        assert client.send(tests.screenshot(server)).startswith(b"\x89PNG")


@pytest.mark.service
def test_a_broken_disk_fails_with_the_picture_and_the_reason(apart: Deployment, tmp_path: Path) -> None:
    deployment = apart
    disk = tmp_path / "disk.img"
    disk.write_bytes(dead_disk() + os.urandom(1 << 20))
    server = replicated(deployment, tmp_path / "agent", disk)
    with deployment.client() as client:
        job = ended(client, client.send(tests.order(server)), WorkState.FAILED)
        assert job.code == BootFailure.NO_BOOTABLE_DEVICE
        assert job.remedy is not None
        test = latest(client, server)
        assert (test.passed, test.reason) == (False, BootFailure.NO_BOOTABLE_DEVICE)
        assert client.send(tests.screenshot(server)).startswith(b"\x89PNG")
        assert b"No bootable device" in client.send(tests.serial(server))
        assert machines(deployment) == []
        with pytest.raises(ClientError, match="did not pass"):
            client.send(tests.mark_ready(server))
        assert client.send(servers.get(server)).lifecycle_state == "TESTING"
