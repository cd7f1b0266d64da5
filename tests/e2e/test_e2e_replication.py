"""The main job through real processes: enrol, replicate, change, replicate again, export, compare."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.client import servers
from app.contract.words import ConsistencyLabel, LifecycleState
from app.wire.tree import LEAF_BYTES
from tests.e2e.deployment import Deployment, until
from tests.e2e.replica import assert_identical, head_of, random_disk
from tests.e2e.source_host import SourceHost

MIB = 1 << 20


def packs_of(deployment: Deployment) -> int:
    """How many packs the store holds."""
    return sum(1 for _ in (deployment.folder / "store" / "packs").glob("*/*"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SourceHost]:
    """A source host that is not enrolled yet."""
    state = tmp_path / "agent"
    yield SourceHost(state)
    shutil.rmtree(state, ignore_errors=True)


def test_full_and_delta_of_two_disks(deployment: Deployment, host: SourceHost, tmp_path: Path) -> None:
    one, two = random_disk(tmp_path / "one.img", 40 * MIB), tmp_path / "two.img"
    with two.open("wb") as file:
        file.truncate(700 * MIB + 4096)
        file.seek(300 * MIB)
        file.write(os.urandom(3 * MIB))
    server = host.enroll(deployment, one, two)
    host.sync()
    first = assert_identical(deployment, server, one, two)
    assert (first.number, first.label) == (1, ConsistencyLabel.QUIET)
    with one.open("r+b") as file:
        for at in (5 * MIB + 4096, 20 * MIB, 39 * MIB):
            file.seek(at)
            file.write(os.urandom(4096))
    host.sync()
    second = assert_identical(deployment, server, one, two)
    assert second.number == 2
    assert second.counters.patched_bytes == 3 * 4096
    assert second.counters.wire_bytes < 3 * 4096 + LEAF_BYTES + 1024


def test_a_disk_of_zeros_and_one_that_grows(deployment: Deployment, host: SourceHost, tmp_path: Path) -> None:
    disk = tmp_path / "empty.img"
    with disk.open("wb") as file:
        file.truncate(300 * MIB)
    server = host.enroll(deployment, disk)
    host.sync()
    assert assert_identical(deployment, server, disk).counters.sent_bytes == 0
    with disk.open("r+b") as file:
        file.truncate(310 * MIB)
        file.seek(309 * MIB)
        file.write(os.urandom(MIB))
    host.sync()
    assert assert_identical(deployment, server, disk).disks[0].size_bytes == 310 * MIB


def test_a_server_says_what_it_is_and_may_do(
    deployment: Deployment, host: SourceHost, tmp_path: Path
) -> None:
    server = host.enroll(deployment, random_disk(tmp_path / "disk.img", 2 * MIB))
    with deployment.client() as client:
        before = client.send(servers.get(server))
        assert before.lifecycle_state is LifecycleState.NOT_READY
        host.sync()
        after = client.send(servers.get(server))
    assert after.lifecycle_state is LifecycleState.READY_FOR_TEST
    assert after.os
    assert after.head_checkpoint is not None
    assert after.totals.stored_bytes > 2 * MIB


def test_the_dashboard_tier_proxies_the_api_with_its_cookie(deployment: Deployment) -> None:
    with httpx2.Client(base_url=deployment.platform_url, headers={"X-Requested-With": "go2cloud"}) as browser:
        assert browser.get("/bff/v1/servers").status_code == 401
        login = browser.post("/bff/session", json={"user": "tester", "password": deployment.password})
        assert login.is_success
        assert "token" not in login.text
        listed = browser.get("/bff/v1/servers")
        assert listed.is_success
        assert "items" in listed.json()


@pytest.mark.slow
def test_an_agent_killed_half_way_goes_on_where_it_was(
    deployment: Deployment, host: SourceHost, tmp_path: Path
) -> None:
    disk = random_disk(tmp_path / "disk.img", 500 * MIB)
    server = host.enroll(deployment, disk)
    before = packs_of(deployment)
    with host.running("--once") as process:
        until(lambda: packs_of(deployment) >= before + 3, 60, "three packs arrived")
        process.kill()
    summary = host.sync()
    counters = summary["counters"]
    assert isinstance(counters, dict)
    assert counters["known"] >= 16 * MIB, "what had arrived was sent again"
    assert_identical(deployment, server, disk)


@pytest.mark.slow
def test_a_service_killed_half_way_ends_with_an_identical_replica(
    deployment: Deployment, host: SourceHost, tmp_path: Path
) -> None:
    disk = random_disk(tmp_path / "disk.img", 500 * MIB)
    server = host.enroll(deployment, disk)
    before = packs_of(deployment)
    role = "agent" if "agent" in deployment.ports else "all"
    with host.running("--once") as process:
        until(lambda: packs_of(deployment) >= before + 3, 60, "three packs arrived")
        deployment.kill(role)
        deployment.start()
        output, _ = process.communicate(timeout=120)
    if process.returncode:
        host.sync()
    assert_identical(deployment, server, disk)
    assert output


def test_a_running_agent_synchronises_when_it_is_asked_to(
    deployment: Deployment, host: SourceHost, tmp_path: Path
) -> None:
    disk = random_disk(tmp_path / "disk.img", 4 * MIB)
    server = host.enroll(deployment, disk)
    with host.running(), deployment.client() as client:
        until(lambda: client.send(servers.get(server)).head_checkpoint is not None, 60, "a first sync")
        disk.write_bytes(os.urandom(4 * MIB))
        client.send(servers.sync(server))
        until(lambda: head_of(deployment, server).number == 2, 60, "the second sync")
    assert_identical(deployment, server, disk)
