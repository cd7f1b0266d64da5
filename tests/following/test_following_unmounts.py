"""The host's owner can unmount: the agent holds a filesystem while it writes that one back, and no longer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.disk.selection import close_disks, open_disks
from app.agent.daemon.disk.standing import Standing, what_stands_on
from app.agent.daemon.following.delta import write_back
from app.agent.daemon.freezer import kernel
from tests.e2e.deployment import Deployment
from tests.following.live_host import MIB, entered, live_host, namespace_of_mounts, run, writing
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = pytest.mark.root

SIZE = 64 * MIB


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[LoopDisk, LoopDisk]]:
    """Two disks with filesystems."""
    with loop_disk(tmp_path / "one.img", SIZE) as one, loop_disk(tmp_path / "two.img", SIZE) as two:
        one.format("ext4")
        two.format("ext4")
        yield one, two


def filesystems_on(*disks: LoopDisk) -> tuple[Standing, ...]:
    opened = open_disks(tuple(str(disk.device) for disk in disks))
    try:
        return what_stands_on(opened).filesystems
    finally:
        close_disks(opened)


def test_while_one_filesystem_is_written_back_another_one_can_be_unmounted(
    disks: tuple[LoopDisk, LoopDisk], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, done = kernel.sync, list[int]()

    def sync_while_the_other_is_unmounted(fd: int) -> int:
        done.append(fd)
        run(*entered(process, "umount", str(place / "two")))
        return sync(fd)

    monkeypatch.setattr(kernel, "sync", sync_while_the_other_is_unmounted)
    with namespace_of_mounts([(disks[0], place / "one"), (disks[1], place / "two")]) as process:
        found = sorted(filesystems_on(*disks), key=lambda each: each.target)
        assert len(found) == 2
        write_back(found)
        assert len(done) == 1, "what was unmounted meanwhile is written back, and passed over"
        run(*entered(process, "umount", str(place / "one")))


@pytest.mark.slow
def test_between_two_checkpoints_a_followed_filesystem_can_be_unmounted(
    service: Deployment, place: Path, images: Path
) -> None:
    with loop_disk(images / "disk.img", 320 * MIB) as disk:
        disk.format("ext4")
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            live_host(place, service, [disk], images) as host,
        ):
            with writing(process, "ledger", place / "mnt", place / "told"):
                host.sync_frozen()
            run(*entered(process, "umount", str(place / "mnt")))
            run(*entered(process, "mount", str(disk.device), str(place / "mnt")))
            host.sync_frozen()
            run(*entered(process, "umount", str(place / "mnt")))
