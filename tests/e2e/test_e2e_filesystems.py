"""Real block devices with real filesystems: replicated, exported to another device, checked and compared."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.demo.compare import first_difference
from app.client import replicas, servers
from app.contract.resources.checkpoint import Checkpoint
from app.contract.words import ConsistencyLabel
from tests.e2e.deployment import Deployment, embedded
from tests.e2e.source_host import SourceHost
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

MIB = 1 << 20
DISK_BYTES = 320 * MIB
RANDOM = random.Random(5)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Role `all`, shared by these tests."""
    with embedded(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(params=[512, 4096])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LoopDisk]:
    """A block device of each sector size."""
    with loop_disk(tmp_path / "source.img", DISK_BYTES, request.param) as made:
        yield made


def write_files(folder: Path, count: int, most: int) -> None:
    """Files of many sizes, some compressible, one sparse; a few removed again."""
    for number in range(count):
        length = RANDOM.randrange(1, most)
        content = RANDOM.randbytes(length) if number % 2 else b"log line\n" * (length // 9 + 1)
        (folder / f"file-{number}").write_bytes(content)
    for number in range(0, count, 5):
        (folder / f"file-{number}").unlink()
    with (folder / "sparse").open("wb") as file:
        file.truncate(20 * MIB)
        file.seek(15 * MIB)
        file.write(b"end")


def export_to_device(service: Deployment, server: str, target: LoopDisk) -> Checkpoint:
    """Write the head's only disk to a block device that holds other data."""
    with service.client() as client:
        head = client.send(servers.checkpoint(server, servers.LATEST))
        replicas.export_disk(client, head, head.disks[0], target.device, force=True)
    return head


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_filesystem_survives_the_journey(
    service: Deployment, disk: LoopDisk, kind: str, tmp_path: Path
) -> None:
    host = SourceHost(tmp_path / "agent")
    disk.format(kind)
    with disk.mounted(tmp_path / "mnt") as folder:
        write_files(folder, 60, 2 * MIB)
    server = host.enroll(service, disk.device)
    host.sync()
    with disk.mounted(tmp_path / "mnt") as folder:
        write_files(folder, 10, MIB)
    host.sync()
    with loop_disk(tmp_path / "target.img", DISK_BYTES) as target:
        target.device.write_bytes(os.urandom(8 * MIB))
        head = export_to_device(service, server, target)
        assert (head.number, head.label) == (2, ConsistencyLabel.QUIET)
        assert first_difference(disk.device, target.device, head.disks[0].omitted) is None
        target.check(kind)
        with target.mounted(tmp_path / "mnt") as folder:
            copied = tree_of(folder)
    with disk.mounted(tmp_path / "mnt") as folder:
        assert copied == tree_of(folder)
    omitted = sum(each.length for each in head.disks[0].omitted)
    assert (omitted > DISK_BYTES // 8) == (kind != "btrfs")


def tree_of(folder: Path) -> dict[str, bytes]:
    """Names and contents of all files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_mounted_filesystem_is_replicated_at_one_instant_without_its_free_space(
    service: Deployment, disk: LoopDisk, tmp_path: Path
) -> None:
    host = SourceHost(tmp_path / "agent")
    disk.format("ext4")
    with disk.mounted(tmp_path / "mnt") as folder:
        write_files(folder, 20, MIB)
        server = host.enroll(service, disk.device)
        host.sync()
        with service.client() as client:
            head = client.send(servers.checkpoint(server, servers.LATEST))
        assert sum(each.length for each in head.disks[0].omitted) > DISK_BYTES // 8
        assert head.label in {ConsistencyLabel.QUIET, ConsistencyLabel.FROZEN}


def test_a_full_disk_without_any_structure(service: Deployment, disk: LoopDisk, tmp_path: Path) -> None:
    host = SourceHost(tmp_path / "agent")
    with disk.device.open("r+b") as file:
        for _ in range(DISK_BYTES // MIB):
            file.write(os.urandom(MIB))
    server = host.enroll(service, disk.device)
    host.sync()
    with loop_disk(tmp_path / "target.img", DISK_BYTES) as target:
        head = export_to_device(service, server, target)
        assert first_difference(disk.device, target.device, head.disks[0].omitted) is None
