"""Real block devices and filesystems: loop devices with 512 and 4096-byte sectors, ext4, XFS, btrfs."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.agent.daemon.capture.activity import label, take_snapshot
from app.agent.daemon.capture.free_space.finder import find_free
from app.agent.daemon.disk.layout import read_layout
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.disk.selection import describe_disks
from app.agent.daemon.sync import Synchroniser
from app.wire.messages import DiskCommit
from tests.daemon.disk_images import run, sparse, write_gpt
from tests.daemon.fake_gateway import FakeGateway

pytestmark = pytest.mark.root

MIB = 1024 * 1024
SIZE = 400 * MIB
Make = Callable[..., Synchroniser]

MAKERS = {
    "ext4 1k": ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024"),
    "ext4 2k": ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "2048"),
    "ext4 4k": ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"),
    "ext4 bigalloc": ("mke2fs", "-q", "-F", "-t", "ext4", "-O", "bigalloc"),
    "ext2": ("mke2fs", "-q", "-F", "-t", "ext2"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
CHECKERS: dict[str, tuple[str, ...]] = {
    "ext4": ("e2fsck", "-fn"),
    "ext2": ("e2fsck", "-fn"),
    "xfs": ("xfs_repair", "-n"),
    "btrfs": ("btrfs", "check", "--readonly"),
}


@contextlib.contextmanager
def loop(path: Path, *arguments: str) -> Iterator[Path]:
    """A loop device on a file."""
    device = Path(run("losetup", "--show", "-f", *arguments, path).strip())
    try:
        yield device
    finally:
        run("losetup", "-d", device)


@contextlib.contextmanager
def mounted(device: Path, at: Path, *options: str) -> Iterator[Path]:
    """A filesystem mounted."""
    at.mkdir(exist_ok=True)
    run("mount", *options, device, at)
    try:
        yield at
    finally:
        run("umount", at)


def fill(root: Path) -> None:
    """Files, and holes where files were."""
    for number in range(400):
        place = root / f"d{number % 7}"
        place.mkdir(exist_ok=True)
        (place / f"f{number}").write_bytes(os.urandom(100 + number * 500))
        (place / f"l{number}").symlink_to("nowhere")
    run("sync", "-f", root)
    for number in range(0, 400, 2):
        (root / f"d{number % 7}" / f"f{number}").unlink()


def require_equal(path: Path, replica: bytes, disk: DiskCommit) -> int:
    """Replica and source agree in every byte that is not omitted; omitted ones are zeros. Their number."""
    source, at = path.read_bytes(), 0
    for start, length in (*disk.omitted, (len(source), 0)):
        assert source[at:start] == replica[at:start]
        assert not any(replica[start : start + length])
        at = start + length
    return sum(length for _, length in disk.omitted)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_filesystem_survives_the_omission_of_its_free_space(
    kind: str, gateway: FakeGateway, synchroniser: Make, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS[kind], path)
    with loop(path) as device, mounted(device, tmp_path / "mnt") as root:
        fill(root)
    synchroniser(path).run()
    replica = gateway.content(str(path))
    omitted = require_equal(path, replica, gateway.commits[0].disks[0])
    assert omitted > 100 * MIB or kind == "btrfs"
    copy = tmp_path / "copy"
    copy.write_bytes(replica)
    run(*CHECKERS[kind.split()[0]], copy)
    with (
        loop(path, "-r") as one,
        loop(copy, "-r") as two,
        mounted(one, tmp_path / "a", "-o", "ro") as a,
    ):
        if kind in ("xfs", "btrfs"):
            return  # two filesystems with one UUID are not mounted at the same time
        with mounted(two, tmp_path / "b", "-o", "ro") as b:
            run("diff", "-r", "--no-dereference", a, b)


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_partitioned_device_is_copied_sector_size_by_sector_size(
    sector: int, gateway: FakeGateway, synchroniser: Make, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    write_gpt(path, sector, [(MIB, 300 * MIB, "root"), (304 * MIB, 90 * MIB, "raw")])
    with path.open("r+b") as out:
        out.seek(310 * MIB)
        out.write(os.urandom(5 * MIB))
    with loop(path, "-b", str(sector), "-o", str(MIB), "--sizelimit", str(300 * MIB)) as part:
        run("mke2fs", "-q", "-F", "-t", "ext4", part)
        with mounted(part, tmp_path / "mnt") as root:
            fill(root)
    with loop(path, "-b", str(sector)) as device:
        (disk,), _ = describe_disks((str(device),))
        assert (disk.sector_size, disk.size, disk.partition_table) == (sector, SIZE, "gpt")
        kinds = [part.filesystem.kind if part.filesystem else "" for part in disk.partitions]
        assert kinds == ["ext4", ""]
        result = synchroniser(device).run()
        assert result.label == "quiet"
        omitted = require_equal(device, gateway.content(str(device)), gateway.commits[0].disks[0])
    assert omitted > 100 * MIB


@pytest.mark.parametrize("kind", ["ext4 4k", "xfs"])
def test_a_mounted_filesystem_is_read_whole(kind: str, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS[kind], path)

    def reasons(target: Path) -> tuple[str, int]:
        with DiskReader(target) as reader:
            (found,) = find_free(reader, read_layout(reader).places)
            return found.reason, found.free.total

    assert reasons(path)[0] == ""
    with loop(path) as device:
        assert reasons(device)[0] == ""
        with mounted(device, tmp_path / "mnt", "-o", "ro"):
            for target in (device, path):
                reason, free = reasons(target)
                assert (reason, free) == (f"{device.name} is mounted", 0)
        assert reasons(device)[0] == ""
        with hidden_mount(device, tmp_path / "mnt"):
            assert reasons(device) == (f"{device.name} is mounted", 0)
        held = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            assert reasons(path) == (f"{device.name} is in exclusive use", 0)
        finally:
            os.close(held)


@contextlib.contextmanager
def hidden_mount(device: Path, at: Path) -> Iterator[None]:
    """The filesystem mounted, read-only, in a mount namespace of another process."""
    script = f"mount --make-rprivate / && mount -o ro {device} {at} && echo ready && exec sleep 60"
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        assert str(device) not in Path("/proc/self/mountinfo").read_text().split()
        yield
    finally:
        process.kill()
        process.communicate()


def test_a_filesystem_below_a_loop_device_with_an_offset_is_in_use_when_mounted(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    write_gpt(path, 512, [(MIB, 180 * MIB, "a"), (200 * MIB, 180 * MIB, "b")])
    for start in (MIB, 200 * MIB):
        run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={start}", path, "180M")
    with (
        loop(path) as whole,
        loop(whole, "-o", str(200 * MIB), "--sizelimit", str(180 * MIB)) as part,
        mounted(part, tmp_path / "mnt"),
    ):
        for target in (path, whole):
            with DiskReader(target) as reader:
                one, two = find_free(reader, read_layout(reader).places)
                assert (one.reason, two.reason) == ("", f"{part.name} is mounted")
                assert one.free.total > 100 * MIB


@pytest.mark.parametrize("kind", ["ext4 4k", "xfs"])
def test_a_filesystem_that_is_used_during_the_pass_is_read_again_in_full(
    kind: str, gateway: FakeGateway, synchroniser: Make, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS[kind], path)
    data = os.urandom(3 * MIB)
    used = False

    def use(name: str) -> None:
        nonlocal used
        if name == "have" and not used:
            used = True
            with loop(path) as device, mounted(device, tmp_path / "mnt") as root:
                (root / "new").write_bytes(data)

    gateway.hook = use
    result = synchroniser(path).run()
    assert used
    assert result.label == "fuzzy"
    (disk,) = gateway.commits[0].disks
    assert disk.omitted == ()
    assert gateway.content(str(path)) == path.read_bytes()


def test_writes_to_a_device_are_seen(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 16 * MIB)
    with loop(path) as device, DiskReader(device) as reader:
        before = take_snapshot(reader)
        assert label(before, take_snapshot(reader)) == "quiet"
        with device.open("r+b") as out:
            out.write(b"x" * 4096)
            os.fsync(out.fileno())
        assert label(before, take_snapshot(reader)) == "fuzzy"
        before = take_snapshot(reader)
        run("blkdiscard", "-f", device)
        assert label(before, take_snapshot(reader)) == "fuzzy"


def test_what_a_mounted_filesystem_wrote_is_read_past_the_page_cache(
    gateway: FakeGateway, synchroniser: Make, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS["ext4 4k"], path)
    with loop(path) as device, mounted(device, tmp_path / "mnt") as root:
        device.read_bytes()
        (root / "file").write_bytes(os.urandom(MIB))
        run("sync", "-f", root)
        synchroniser(device).run()
        assert gateway.content(str(device)) == path.read_bytes()
        assert gateway.commits[0].disks[0].omitted == ()


@contextlib.contextmanager
def failing_disk(tmp_path: Path, size: int, start: int, end: int) -> Iterator[Path]:
    """A block device whose bytes are 0x58 and unreadable in [start, end)."""
    point = tmp_path / "nbd"
    point.touch()
    fail = f"if [ $(($4 + $3)) -gt {start} ] && [ $4 -lt {end} ]; then echo EIO bad >&2; exit 1; fi"
    pread = f"pread={fail}; head -c $3 /dev/zero | tr '\\0' X"
    server = ("nbdkit", "-s", "eval", f"get_size=echo {size}", pread)
    process = subprocess.Popen(["nbdfuse", "-r", point, "--command", *server])
    try:
        limit = time.monotonic() + 20
        while point.stat().st_size != size:
            assert time.monotonic() < limit, "nbdfuse did not start"
            time.sleep(0.05)
        with loop(point, "-r") as device:
            yield device
    finally:
        run("umount", point)
        process.wait(20)


def test_unreadable_blocks_are_zeros_and_listed(
    gateway: FakeGateway, synchroniser: Make, tmp_path: Path
) -> None:
    size, bad = 4 * MIB, (MIB + 8192, MIB + 16384)
    with failing_disk(tmp_path, size, *bad) as device:
        result = synchroniser(device).run()
        (disk,) = gateway.commits[0].disks
        assert disk.unreadable == ((bad[0], 8192),)
        assert result.disks[0].unreadable == 8192
        replica = gateway.content(str(device))
    assert replica == b"X" * bad[0] + bytes(8192) + b"X" * (size - bad[1])
