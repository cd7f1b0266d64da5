"""The checks of a host without root: disks that are files, kernels as trees of files."""

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.agent.daemon.disk.mounts import MountTables
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.disk.standing import OnDisks
from app.agent.daemon.preflight import churn, measured, registry
from app.agent.daemon.preflight.freezing import told
from app.agent.daemon.preflight.host import NEEDED_MEMORY, memory_field, memory_findings
from app.agent.daemon.preflight.layouts import network_of
from app.agent.daemon.preflight.own_store import stores
from app.agent.daemon.preflight.registry import Wanted, checked, examine
from app.agent.daemon.preflight.stack import Kind, Layer, foreign, layer_of
from app.agent.daemon.preflight.subject import Subject
from app.agent.daemon.stopping import Stop, Stopped
from app.store.folder import FolderBackend
from app.wire.jsonform import decode, encode
from app.wire.preflight import Code, Preflight
from tests.daemon.disk_images import run, sparse, write_gpt

MIB = 1 << 20
EMPTY = Preflight("", "", "", 1, "1.0")
NOWHERE = Subject((), (), OnDisks(), MountTables(), None, lambda: None)


def examined(*paths: Path) -> Preflight:
    """The report on these disks, without waiting."""
    return examine(Wanted(tuple(map(str, paths)), "1.0", seconds=0), Stop())


def severities(report: Preflight) -> dict[str, str]:
    """Severity by code."""
    return {each.code: each.severity for each in report.findings}


def written(path: Path, *pieces: tuple[int, bytes]) -> Path:
    """Write into a file."""
    with path.open("r+b") as out:
        for offset, data in pieces:
            out.seek(offset)
            out.write(data)
    return path


def test_a_disk_that_is_a_file_is_examined_without_root(tmp_path: Path) -> None:
    disk = sparse(tmp_path / "disk.img", 64 * MIB)
    run("/sbin/mkfs.ext4", "-q", "-L", "data", "-d", "/etc/default", disk)
    report = examined(disk)
    (check,) = report.disks
    assert (check.key, check.size, check.sector_size) == (str(disk), 64 * MIB, 512)
    assert 0 < check.to_read < 32 * MIB
    assert check.read_rate > 0
    assert check.latency_us > 0
    assert check.churn_rate is None
    assert check.stands == ("ext4 'data' on the whole disk",)
    (filesystem,) = report.filesystems
    assert (filesystem.kind, filesystem.mount_point, filesystem.freezes) == ("ext4", "", True)
    assert filesystem.free_map
    assert severities(report) == {"TRACKING_UNAVAILABLE": "note", "ROOT_NOT_REPLICATED": "warning"}
    assert report.network is None
    assert report.memory_bytes > report.memory_free_bytes > 0
    assert (report.kernel, report.firmware in ("bios", "efi")) == (os.uname().release, True)
    assert decode(Preflight, encode(report)) == report


def test_a_disk_that_is_not_there_blocks_and_the_others_are_examined(tmp_path: Path) -> None:
    there, missing = sparse(tmp_path / "there.img", MIB), tmp_path / "missing.img"
    report = examined(there, missing)
    assert [disk.path for disk in report.disks] == [str(there)]
    (refused,) = [each for each in report.findings if each.code == Code.DISK_UNREADABLE]
    assert (refused.severity, refused.subject) == ("blocker", str(missing))


def test_a_disk_without_anything_known_is_told(tmp_path: Path) -> None:
    disk = written(sparse(tmp_path / "disk.img", 8 * MIB), (0, os.urandom(MIB)))
    assert severities(examined(disk))["UNKNOWN_LAYOUT"] == "note"


def test_a_sparse_file_of_a_tebibyte_is_measured_at_once(tmp_path: Path) -> None:
    (check,) = examined(sparse(tmp_path / "disk.img", 1 << 40)).disks
    assert (check.read_rate, check.latency_us, check.to_read) == (0, 0, 0)


def test_no_more_than_a_few_hundred_megabytes_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "RUN_BYTES", MIB)
    path = sparse(tmp_path / "disk.img", 64 * MIB)
    read: list[int] = []
    with DiskReader(written(path, (0, os.urandom(64 * MIB)))) as reader:
        plain = reader.read_into

        def counted(offset: int, view: memoryview) -> int:
            read.append(view.nbytes)
            return plain(offset, view)

        monkeypatch.setattr(reader, "read_into", counted)
        speed = measured.measure(reader)
    assert speed.rate > 0
    assert sum(read) <= measured.PLACES * MIB + measured.BLOCKS * 4096


@pytest.mark.parametrize("at", [0, 127])
def test_a_zfs_label_is_known_by_its_uberblock(tmp_path: Path, at: int) -> None:
    magic = struct.pack("<Q", 0x00BAB10C)
    disk = written(sparse(tmp_path / "disk.img", 8 * MIB), (128 * 1024 + at * 1024, magic))
    assert severities(examined(disk))["ZFS"] == "warning"


def test_swap_and_zfs_in_partitions_are_told(tmp_path: Path) -> None:
    disk = sparse(tmp_path / "disk.img", 64 * MIB)
    write_gpt(disk, 512, [(MIB, 16 * MIB, "swap"), (32 * MIB, 16 * MIB, "zpool")])
    magic = struct.pack(">Q", 0x00BAB10C)
    written(disk, (MIB + 4086, b"SWAPSPACE2"), (32 * MIB + 128 * 1024, magic))
    report = examined(disk)
    assert severities(report)["SWAP"] == "note"
    assert severities(report)["ZFS"] == "warning"
    assert report.disks[0].stands == ("partition 1: swap", "partition 2: unknown")
    assert report.filesystems == ()


def btrfs(path: Path, devices: int) -> Path:
    """A superblock of a btrfs with so many devices."""
    block = bytearray(4096)
    block[32:48], block[64:72] = b"\x11" * 16, b"_BHRfS_M"
    block[0x88:0x90] = devices.to_bytes(8, "little")
    return written(sparse(path, 8 * MIB), (64 * 1024, bytes(block)))


def test_a_btrfs_on_several_disks_must_be_replicated_whole(tmp_path: Path) -> None:
    first, second = btrfs(tmp_path / "a.img", 2), btrfs(tmp_path / "b.img", 2)
    assert severities(examined(first))["STACK_INCOMPLETE"] == "blocker"
    both = severities(examined(first, second))
    assert both["BTRFS_MULTI_DEVICE"] == "note"
    assert "STACK_INCOMPLETE" not in both
    assert "BTRFS_MULTI_DEVICE" not in severities(examined(btrfs(tmp_path / "c.img", 1)))


def test_a_store_that_is_in_use_is_found(tmp_path: Path) -> None:
    backend = FolderBackend(tmp_path / "store")
    for name in ("packs/aa/x", "leaves/aa/x"):
        backend.put(name, [b"x"])
    assert tmp_path / "store" not in {each.folder for each in stores()}
    with backend.lock():
        assert tmp_path / "store" in {each.folder for each in stores()}
    backend.close()


def block_device(sys: Path, name: str, number: str, files: dict[str, str], *slaves: str) -> None:
    """A block device in a tree like /sys."""
    folder = sys / "class/block" / name
    for path, text in {"dev": number, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text + "\n")
    for slave in slaves:
        for link in (folder / "slaves" / slave, sys / "class/block" / slave / "holders" / name):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.touch()


@pytest.mark.parametrize(
    ("name", "files", "kind", "shown"),
    [
        ("dm-0", {"dm/uuid": "LVM-xyz", "dm/name": "vg-root"}, Kind.LVM, "LVM volume vg-root (dm-0)"),
        (
            "dm-1",
            {"dm/uuid": "CRYPT-LUKS2-x", "dm/name": "luks"},
            Kind.CRYPT,
            "opened dm-crypt device luks (dm-1)",
        ),
        (
            "dm-2",
            {"dm/uuid": "mpath-36", "dm/name": "mpatha"},
            Kind.MULTIPATH,
            "multipath map mpatha (dm-2)",
        ),
        ("dm-3", {"dm/uuid": "part1-mpath-36", "dm/name": "mpatha1"}, Kind.MULTIPATH, "multipath map"),
        ("dm-4", {"dm/uuid": "", "dm/name": "linear"}, Kind.DM, "device mapper device linear (dm-4)"),
        ("md0", {"md/level": "raid1"}, Kind.MD, "md array md0 raid1 (md0)"),
        ("bcache0", {}, Kind.BCACHE, "bcache device bcache0"),
        ("drbd1", {}, Kind.DRBD, "DRBD device drbd1"),
    ],
)
def test_what_stands_on_a_disk_is_known_by_name(
    tmp_path: Path, name: str, files: dict[str, str], kind: Kind, shown: str
) -> None:
    block_device(tmp_path, "sda1", "8:1", {})
    block_device(tmp_path, name, "253:0", files, "sda1")
    layer = layer_of(name, tmp_path)
    assert layer
    assert (layer.kind, layer.below) == (kind, ("sda1",))
    assert str(layer).startswith(shown)


def test_a_partition_of_an_array_is_part_of_it(tmp_path: Path) -> None:
    block_device(tmp_path, "md0", "9:0", {"md/level": "raid1", "md0p1/dev": "259:1"}, "sda", "sdb")
    (tmp_path / "class/block/md0/md0p1/partition").write_text("1\n")
    (tmp_path / "class/block/md0p1").symlink_to("md0/md0p1")
    assert layer_of("md0", tmp_path) == Layer("md0", Kind.MD, "md0 raid1", ("sda", "sdb"))
    assert layer_of("md0p1", tmp_path) == Layer("md0p1", Kind.MD, "md0p1", ("sda", "sdb"))


def test_what_is_made_of_no_other_device_is_no_layer(tmp_path: Path) -> None:
    block_device(tmp_path, "loop0", "7:0", {"loop/backing_file": "/disk.img", "loop0p1/dev": "259:0"})
    (tmp_path / "class/block/loop0/loop0p1/partition").write_text("1\n")
    (tmp_path / "class/block/loop0p1").symlink_to("loop0/loop0p1")
    assert layer_of("loop0", tmp_path) is None
    assert layer_of("loop0p1", tmp_path) is None


def test_an_array_needs_all_its_members_and_a_map_one_of_its_paths() -> None:
    array = Layer("md0", Kind.MD, "md0", ("sda", "sdb"))
    paths = Layer("dm-0", Kind.MULTIPATH, "mpatha", ("sda", "sdb"))
    assert foreign([array, paths], frozenset({"sda"})) == {array: ("sdb",)}
    assert foreign([array, paths], frozenset({"sda", "sdb"})) == {}


@pytest.mark.parametrize(
    ("folder", "files", "way"),
    [
        ("devices/platform/host3/session1/target3:0:0/3:0:0:1/block/sda", {}, "iSCSI"),
        ("block/nvme1n1", {"device/transport": "tcp"}, "NVMe over tcp"),
        ("block/nvme2n1", {"device/nvme2/transport": "rdma"}, "NVMe over rdma"),
        ("block/nvme0n1", {"device/transport": "pcie"}, ""),
        ("block/nbd0", {}, "nbd"),
        ("block/sda", {}, ""),
    ],
)
def test_a_disk_behind_a_network_is_known(
    tmp_path: Path, folder: str, files: dict[str, str], way: str
) -> None:
    directory = tmp_path / folder
    for name, text in {"size": "1", **files}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text + "\n")
    assert network_of(directory) == way


@pytest.mark.parametrize(
    ("kind", "is_read_only", "freezes", "says"),
    [
        ("ext4", False, True, "not tried"),
        ("ext3", False, True, "not tried"),
        ("xfs", False, True, "not tried"),
        ("btrfs", False, True, "not tried"),
        ("vfat", False, False, "synced"),
        ("vfat", True, True, "read-only"),
        ("zfs", False, False, "not known"),
        ("ntfs3", False, False, "not known"),
    ],
)
def test_what_freezes_is_told_by_its_kind(kind: str, is_read_only: bool, freezes: bool, says: str) -> None:
    freezing = told(kind, is_read_only=is_read_only)
    assert freezing.holds is freezes
    assert says in freezing.note


def test_why_a_freeze_was_not_tried_is_told() -> None:
    freezing = told("ext4", is_read_only=False, cause="the freezer did not start")
    assert (freezing.holds, "the freezer did not start" in freezing.note) == (True, True)


def test_little_memory_is_a_warning() -> None:
    assert memory_findings(NEEDED_MEMORY) == ()
    (finding,) = memory_findings(NEEDED_MEMORY - 1)
    assert (finding.code, finding.severity) == ("LOW_MEMORY", "warning")
    assert memory_field("MemTotal: 9 kB\nMemAvailable:   2 kB\n", "MemAvailable") == 2048
    with pytest.raises(ValueError, match="MemAvailable"):
        memory_field("MemTotal: 9 kB\n", "MemAvailable")


@pytest.mark.parametrize(
    ("before", "after", "seconds", "rate"),
    [
        (0, 0, 5, 0),
        (1000, 6000, 5, 1000),
        (None, 5, 5, None),
        (5, None, 5, None),
        (9, 5, 5, None),
        (0, 9, 0, None),
    ],
)
def test_churn_is_what_lies_between_two_readings(
    before: int | None, after: int | None, seconds: float, rate: int | None
) -> None:
    assert churn.rate(before, after, seconds) == rate


def test_another_counter_can_take_the_place_of_the_kernels(tmp_path: Path) -> None:
    counted = iter((0, 1_000_000))
    wanted = Wanted((str(sparse(tmp_path / "a.img", MIB)),), "1.0", seconds=0.2)
    report = examine(replace(wanted, counter=lambda _: next(counted)), Stop())
    assert report.observed_ms >= 200
    assert report.disks[0].churn_rate == pytest.approx(1_000_000_000 / report.observed_ms, rel=0.01)


def failing(error: Exception) -> Callable[[Subject, Preflight], Preflight]:
    """A check that raises."""

    def check(_: Subject, __: Preflight) -> Preflight:
        raise error

    return check


@pytest.mark.parametrize("error", [OSError(5, "I/O error"), ValueError("odd"), KeyError("x")])
def test_a_check_that_fails_costs_its_fields_only(error: Exception) -> None:
    report = checked("host", failing(error), NOWHERE, EMPTY)
    (finding,) = report.findings
    assert (finding.code, finding.severity, finding.subject) == ("CHECK_FAILED", "warning", "host")


def test_a_stop_ends_a_preflight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped):
        checked("host", failing(Stopped("stop")), NOWHERE, EMPTY)
    stop = Stop()

    def stopping(_: Subject, report: Preflight) -> Preflight:
        stop.set()
        return report

    monkeypatch.setattr(registry, "CHECKS", (("stopping", stopping),))
    with pytest.raises(Stopped):
        examine(Wanted((str(sparse(tmp_path / "a.img", MIB)),), "1.0", seconds=60), stop)
