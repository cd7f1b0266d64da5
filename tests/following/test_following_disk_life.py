"""What becomes of disks while they are followed: gone, grown, replaced, reformatted, with bad sectors."""

import random
from pathlib import Path

import pytest

from app.agent.daemon.capture.activity import QUIET
from app.agent.daemon.errors import DiskError
from tests.e2e.deployment import Deployment
from tests.e2e.source_host import SourceHost
from tests.following.failing_disk import FailingDisk, attached_disk
from tests.following.live_host import MIB, live_host, run
from tests.following.raw_disk import BLOCK, fill, write_blocks
from tests.following.replicas import checkpoint, differences_now, disk_of, export
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

SIZE = 96 * MIB


def test_a_disk_that_is_missing_is_named_at_enrolment_and_at_each_pass(
    service: Deployment, place: Path, images: Path
) -> None:
    with loop_disk(images / "one.img", SIZE) as one, loop_disk(images / "two.img", SIZE) as two:
        absent = place / "absent"
        state = SourceHost(place / "other")
        token = service.install_token()
        where = ("--url", service.agent_url, "--token", token, "--no-preflight")
        code, told = state.refused("enroll", *where, "--disk", str(one.device), "--disk", str(absent))
        assert (code, told.partition(": ")[2].strip()) == (
            1,
            f"DISK_NOT_FOUND: {absent} does not exist; name a block device or a file",
        )
        with live_host(place, service, [one, two], images) as host:
            host.sync()
            run("losetup", "--detach", two.device)
            with pytest.raises(DiskError, match=f"{two.device} is empty: 0 bytes"):
                host.sync()
            fill(two.backing, SIZE, seed=9)
            run("losetup", two.device, two.backing)
            host.sync()
            assert host.follower.take_codes() == ["", "", "TRACKER_GAP"]
            assert differences_now(service, host, place) == {}


@pytest.mark.parametrize("size", [SIZE + 300 * MIB + 5 * BLOCK, SIZE - 40 * MIB])
def test_a_disk_that_grew_or_shrank_is_read_as_a_whole(
    size: int, service: Deployment, place: Path, images: Path
) -> None:
    with (
        loop_disk(images / "disk.img", SIZE) as disk,
        live_host(place, service, [disk], images) as host,
    ):
        fill(disk.device, SIZE)
        host.sync()
        with disk.backing.open("r+b") as file:
            file.truncate(size)
        run("losetup", "--set-capacity", disk.device)
        write_blocks(disk.device, [size // BLOCK - 1], seed=2)
        host.sync()
        assert host.follower.take_codes() == ["", "DISK_LAYOUT_CHANGED"]
        assert disk_of(checkpoint(service, host.server), disk).size_bytes == size
        assert differences_now(service, host, place) == {}
        write_blocks(disk.device, [1, size // BLOCK - 1], seed=3)
        assert host.sync().counters.read <= 2 * MIB
        assert host.follower.take_codes() == []
        assert differences_now(service, host, place) == {}


def test_another_disk_under_the_same_name_is_read_as_a_whole(
    service: Deployment, place: Path, images: Path
) -> None:
    with (
        loop_disk(images / "disk.img", SIZE) as disk,
        live_host(place, service, [disk], images) as host,
    ):
        fill(disk.device, SIZE)
        host.sync()
        other = images / "other.img"
        other.touch()
        fill(other, SIZE, seed=5)
        run("losetup", "--detach", disk.device)
        run("losetup", disk.device, other)
        host.sync()
        assert host.follower.take_codes() == ["", "TRACKER_GAP"]
        assert differences_now(service, host, place) == {}


def test_filesystems_that_are_unmounted_read_only_or_made_anew_are_right(
    service: Deployment, place: Path, images: Path
) -> None:
    with (
        loop_disk(images / "disk.img", 320 * MIB) as disk,
        live_host(place, service, [disk], images) as host,
    ):
        disk.format("ext4")
        with disk.mounted(place / "mnt") as root:
            change(root, 1)
            host.sync_frozen()
            change(root, 2)
        assert (host.sync().label, differences_now(service, host, place)) == (QUIET, {})
        with disk.mounted(place / "mnt") as root:
            change(root, 3)
            run("mount", "-o", "remount,ro", root)
            assert (host.sync().label, differences_now(service, host, place)) == (QUIET, {})
            run("mount", "-o", "remount,rw", root)
            change(root, 4)
            host.sync_frozen()
        disk.format("xfs")
        assert (host.sync().label, differences_now(service, host, place)) == (QUIET, {})
        assert host.follower.take_codes() == [""]


def change(root: Path, seed: int) -> None:
    """Write files and delete some."""
    source = random.Random(seed)
    for number in range(20):
        (root / f"file-{number}").write_bytes(source.randbytes(source.randrange(500_000)))
    (root / f"file-{seed}").unlink()


def test_bad_sectors_are_known_to_four_kib_and_tried_again_after_an_hour(
    service: Deployment, place: Path, images: Path
) -> None:
    medium = FailingDisk(32 * MIB)
    medium.write(0, 0, random.Random(1).randbytes(medium.size), durable=True)
    medium.bad = range(10 * MIB + BLOCK, 10 * MIB + 3 * BLOCK)
    with attached_disk(medium, place / "medium") as device:
        disk = LoopDisk(device, device)
        with live_host(place, service, [disk], images) as host:
            assert host.sync().disks[0].unreadable == 2 * BLOCK
            its = disk_of(checkpoint(service, host.server), disk)
            assert [range(each.offset, each.offset + each.length) for each in its.unreadable] == [medium.bad]
            tries = medium.refused
            write_blocks(device, [100], seed=1)
            assert host.sync().disks[0].unreadable == 2 * BLOCK
            assert medium.refused == tries
            host.follower.retry_seconds = 0.0
            assert host.sync().disks[0].unreadable == 2 * BLOCK
            assert medium.refused > tries
            medium.bad = range(0)
            assert host.sync().disks[0].unreadable == 0
            assert host.follower.take_codes() == [""]
            head = checkpoint(service, host.server)
            copy = export(service, head, disk_of(head, disk), place / "copy.img")
            assert copy.read_bytes() == medium.content()
