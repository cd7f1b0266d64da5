"""The checks on real block devices with filesystems that are mounted and written to."""

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.preflight.registry import Wanted, examine
from app.agent.daemon.stopping import Stop
from app.store.folder import FolderBackend
from app.wire.preflight import Preflight
from tests.daemon.disk_images import run
from tests.daemon.live_disks import freeze, image, loop, mounted, mounted_elsewhere, thaw
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = pytest.mark.root

MIB = 1 << 20
SIZE = 400 * MIB


def examined(*disks: LoopDisk, try_freeze: bool = False) -> Preflight:
    """The report on these devices, without waiting."""
    named = tuple(str(disk.device) for disk in disks)
    return examine(Wanted(named, "1.0", seconds=0, try_freeze=try_freeze), Stop())


def severities(report: Preflight) -> dict[str, str]:
    """Severity by code."""
    return {each.code: each.severity for each in report.findings}


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_mounted_filesystem_is_examined_as_it_stands(tmp_path: Path, kind: str) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format(kind)
        with disk.mounted(tmp_path / "mnt") as at:
            (at / "file").write_bytes(os.urandom(32 * MIB))
            os.sync()
            report = examined(disk)
            (filesystem,) = report.filesystems
            assert (filesystem.kind, filesystem.mount_point) == (kind, str(at))
            assert (filesystem.device, filesystem.freezes) == (str(disk.device), True)
            assert "not tried" in filesystem.freeze_note
            (check,) = report.disks
            assert f"{kind} at {at}" in check.stands
            assert check.read_rate > 0
            assert check.latency_us > 0
            assert check.sector_size == 512
            assert severities(report).get("READ_ONLY") is None


def test_what_is_written_while_it_is_watched_is_churn(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with disk.mounted(tmp_path / "mnt") as at:
            written = threading.Event()

            def write() -> None:
                with (at / "file").open("wb") as out:
                    out.write(os.urandom(8 * MIB))
                    os.fsync(out.fileno())
                written.set()

            writer = threading.Timer(0.3, write)
            writer.start()
            wanted = Wanted((str(disk.device),), "1.0", seconds=3600)
            report = examine(wanted, Stop(), lambda _: written.wait(60))
            writer.join()
            (check,) = report.disks
            assert check.churn_rate is not None
            assert check.churn_rate * report.observed_ms / 1000 >= 7 * MIB


def test_a_read_only_mount_is_told_and_needs_no_freeze(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with disk.mounted(tmp_path / "mnt") as at:
            run("mount", "-o", "remount,ro", at)
            report = examined(disk)
            assert severities(report)["READ_ONLY"] == "note"
            assert report.filesystems[0].freezes


def test_a_read_only_device_is_told(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        run("blockdev", "--setro", disk.device)
        try:
            report = examined(disk)
        finally:
            run("blockdev", "--setrw", disk.device)  # a loop device stays so for its next user
        assert severities(report)["READ_ONLY"] == "note"


def test_a_bind_mount_shows_a_filesystem_once(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with disk.mounted(tmp_path / "mnt") as at:
            again = tmp_path / "again"
            again.mkdir()
            run("mount", "--bind", at, again)
            try:
                (filesystem,) = examined(disk).filesystems
            finally:
                run("umount", again)
            assert filesystem.mount_point == str(at)


def test_a_btrfs_on_two_disks_needs_both(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "one", SIZE) as one, loop_disk(tmp_path / "two", SIZE) as two:
        run("mkfs.btrfs", "-q", "-f", one.device, two.device)
        run("btrfs", "device", "scan", one.device, two.device)
        with one.mounted(tmp_path / "mnt"):
            assert severities(examined(one))["STACK_INCOMPLETE"] == "blocker"
            both = examined(one, two)
            assert "STACK_INCOMPLETE" not in severities(both)
            assert {each.disk for each in both.filesystems} == {disk.key for disk in both.disks}
        subprocess.run(["btrfs", "device", "scan", "--forget"], check=False, capture_output=True)


def test_a_store_on_a_disk_that_is_replicated_blocks(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with disk.mounted(tmp_path / "mnt") as at:
            backend = FolderBackend(at / "store")
            for name in ("packs/aa/x", "leaves/aa/x"):
                backend.put(name, [b"x"])
            with backend.lock():
                report = examined(disk)
            backend.close()
            assert severities(report)["STORE_ON_DISK"] == "blocker"
            assert "STORE_ON_DISK" not in severities(examined(disk))


def test_a_disk_of_large_sectors_is_read_past_the_page_cache(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE, sector_size=4096) as disk:
        disk.format("xfs")
        (check,) = examined(disk).disks
        assert (check.sector_size, check.is_direct) == (4096, True)
        assert check.to_read < SIZE // 2


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_free_space_of_a_mounted_filesystem_is_not_to_be_read(tmp_path: Path, kind: str) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format(kind)
        with disk.mounted(tmp_path / "mnt") as at:
            (at / "file").write_bytes(os.urandom(32 * MIB))
            os.sync()
            report = examined(disk)
            (filesystem,) = report.filesystems
            (check,) = report.disks
            assert filesystem.free_map
            assert 32 * MIB < check.to_read < SIZE // 2
            assert check.tracker == "tracefs"
            assert "was seen to complete" in check.tracker_note
            assert severities(report)["TRACKING"] == "ok"


def test_a_filesystem_in_another_mount_namespace_is_examined(tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    at.mkdir()
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with mounted_elsewhere(disk.device, at):
            report = examined(disk)
        (filesystem,) = report.filesystems
        assert (filesystem.mount_point, filesystem.freezes, filesystem.free_map) == (str(at), True, True)
        (check,) = report.disks
        assert f"ext4 at {at} in another mount namespace" in check.stands
        assert check.to_read < SIZE // 2


def test_a_store_in_another_mount_namespace_blocks(tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    at.mkdir()
    script = (
        f"mount --make-rprivate / && mount {{}} {at} && mkdir -p {at}/store/packs {at}/store/leaves && "
        f"exec 9> {at}/store/.lock && echo ready && exec sleep 600"
    )
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script.format(disk.device)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "ready\n"
            assert severities(examined(disk))["STORE_ON_DISK"] == "blocker"
        finally:
            holder.kill()
            holder.communicate()


def test_what_another_program_uses_bare_cannot_be_held_still(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        fd = os.open(disk.device, os.O_RDWR | os.O_EXCL)
        try:
            report = examined(disk)
        finally:
            os.close(fd)
        assert severities(report)["FREEZE_UNSUPPORTED"] == "warning"
        assert any("is in exclusive use" in text for text in report.disks[0].stands)


def test_a_filesystem_in_a_file_on_the_disk_is_examined_too(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with disk.mounted(tmp_path / "mnt") as at, filesystem_on(at, tmp_path / "inner.mnt") as inner:
            report = examined(disk)
        assert {each.mount_point for each in report.filesystems} == {str(at), str(inner)}
        subjects = [each.subject for each in report.findings if each.code == "FREE_SPACE_UNKNOWN"]
        assert str(inner) not in subjects


@contextlib.contextmanager
def filesystem_on(folder: Path, at: Path) -> Iterator[Path]:
    """A filesystem in a file in the folder, mounted."""
    with loop(image(folder / "inner", "ext4", 32 * MIB)) as device, mounted(device, at) as root:
        yield root


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_freeze_is_tried_where_that_is_wanted(tmp_path: Path, kind: str) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format(kind)
        with disk.mounted(tmp_path / "mnt") as at:
            report = examined(disk, try_freeze=True)
            (filesystem,) = report.filesystems
            assert filesystem.freezes
            assert re.match(
                r"it was frozen within [\d.]+ ms and thawed [\d.]+ ms after", filesystem.freeze_note
            )
            assert "FREEZE_UNSUPPORTED" not in severities(report)
            (at / "file").write_bytes(b"it is thawed")


def test_a_freeze_that_fails_is_told(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with disk.mounted(tmp_path / "mnt") as at:
            freeze(at)
            try:
                report = examined(disk, try_freeze=True)
            finally:
                thaw(at)
            (filesystem,) = report.filesystems
            assert not filesystem.freezes
            assert "cannot be frozen" in filesystem.freeze_note
            assert severities(report)["FREEZE_UNSUPPORTED"] == "warning"
