"""What a mounted filesystem calls free may be left out of a copy, and nothing else may."""

import os
import random
import re
import struct
from pathlib import Path

import pytest

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space import live
from app.agent.daemon.capture.free_space.finder import MAX_RANGES, FreeMap
from app.agent.daemon.capture.free_space.live import live_free
from app.agent.daemon.disk.carriers import Span
from app.agent.daemon.disk.layout import FilesystemPlace
from app.agent.daemon.disk.standing import Standing
from tests.daemon.disk_images import run, sparse
from tests.daemon.live_disks import (
    CHECKERS,
    MIB,
    freeze,
    loop,
    mounted,
    mounted_alone,
    mounted_elsewhere,
    standing_on,
    thaw,
)

root_only = pytest.mark.root

SIZE = 600 * MIB
MAKERS = {
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"),
    "ext4 1k": ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024"),
    "ext4 no flex_bg": ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^flex_bg"),
    "ext3": ("mke2fs", "-q", "-F", "-t", "ext3"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "xfs rmapbt": ("mkfs.xfs", "-q", "-f", "-m", "rmapbt=1"),
    "xfs 1k": ("mkfs.xfs", "-q", "-f", "-b", "size=1024"),
}


def fill(root: Path, chance: random.Random) -> dict[str, bytes]:
    """Files of many sizes with holes of deleted ones between them: what is left, by name."""
    files = {f"f{number}": chance.randbytes(chance.randrange(1, 200_000)) for number in range(600)}
    for name, content in files.items():
        (root / name).write_bytes(content)
    run("sync", "-f", root)
    for name in chance.sample(sorted(files), 300):
        (root / name).unlink()
        del files[name]
    for number in range(20):
        name = f"f{number}"
        if name in files:
            files[name] += chance.randbytes(300_000)
            (root / name).write_bytes(files[name])
    return files


def free_now(device: Path, place: FilesystemPlace) -> FreeMap:
    (standing,) = standing_on(device).filesystems
    return live_free(standing, place)


def place_of(kind: str, size: int = SIZE) -> FilesystemPlace:
    return FilesystemPlace(kind.split()[0], 0, size)


def used_by_ext(path: Path) -> Extents:
    """Every byte that dumpe2fs does not call free."""
    told = run("dumpe2fs", path)
    block = int(re.findall(r"^Block size:\s+(\d+)", told, re.MULTILINE)[0])
    spans = re.findall(r"^  Free blocks: (.+)$", told, re.MULTILINE)
    pairs = [pair.partition("-") for text in spans for pair in text.split(", ") if pair]
    free = Extents.of((int(a) * block, (int(b or a) + 1) * block) for a, _, b in pairs)
    return Extents.of([(0, SIZE)]).without(free)


def used_by_xfs(path: Path) -> Extents:
    """Every byte that xfs_db does not call free."""
    superblock = run("xfs_db", "-r", "-c", "sb 0", "-c", "p blocksize agblocks", path)
    block, group = (int(line.split("=")[1]) for line in superblock.splitlines())
    rows = [line.split() for line in run("xfs_db", "-r", "-c", "freesp -d", path).splitlines()]
    spans = [tuple(map(int, row)) for row in rows if len(row) == 3 and all(cell.isdigit() for cell in row)]
    free = Extents.of(
        ((ag * group + at) * block, (ag * group + at + count) * block) for ag, at, count in spans
    )
    return Extents.of([(0, SIZE)]).without(free)


@root_only
@pytest.mark.parametrize("kind", MAKERS)
def test_no_used_block_is_called_free(kind: str, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS[kind], path)
    with loop(path) as device:
        with mounted_alone(device, tmp_path / "mnt") as root:
            fill(root, random.Random(1))
            run("sync", "-f", root)
            freeze(root)
            thaw(root)
            found = free_now(device, place_of(kind))
        used = used_by_xfs(path) if kind.startswith("xfs") else used_by_ext(path)
    assert found.reason == ""
    assert found.free.without(used).total == found.free.total
    assert found.free.total > 0.8 * (SIZE - used.total)
    assert all(start % 4096 == 0 and end % 4096 == 0 for start, end in found.free)


@root_only
@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_that_was_deleted_just_now_is_whole_in_a_copy_or_gone(kind: str, tmp_path: Path) -> None:
    """XFS calls its space free long before the log on the disk says that it is deleted."""
    path, copy = sparse(tmp_path / "disk", SIZE), sparse(tmp_path / "copy", SIZE)
    content = random.Random(3).randbytes(8 * MIB)
    run(*MAKERS[kind], path)
    with loop(path) as device, mounted_alone(device, tmp_path / "mnt") as root:
        (root / "file").write_bytes(content)
        run("sync", "-f", root)
        freeze(root)
        thaw(root)
        (root / "file").unlink()
        found = free_now(device, place_of(kind))
        with path.open("rb") as source, copy.open("r+b") as out:
            for start, end in found.free.gaps(0, SIZE):
                source.seek(start)
                out.seek(start)
                out.write(source.read(end - start))
    with loop(copy) as device, mounted_alone(device, tmp_path / "copied") as root:
        assert not (root / "file").exists() or (root / "file").read_bytes() == content


@root_only
@pytest.mark.parametrize("kind", MAKERS)
def test_a_copy_without_the_free_ranges_has_every_file(kind: str, tmp_path: Path) -> None:
    path, copy = sparse(tmp_path / "disk", SIZE), sparse(tmp_path / "copy", SIZE)
    run(*MAKERS[kind], path)
    with loop(path) as device, mounted_alone(device, tmp_path / "mnt") as root:
        files = fill(root, random.Random(2))
        freeze(root)
        thaw(root)
        freeze(root)
        try:
            found = free_now(device, place_of(kind))
            with path.open("rb") as source, copy.open("r+b") as out:
                for start, end in found.free.gaps(0, SIZE):
                    source.seek(start)
                    out.seek(start)
                    out.write(source.read(end - start))
        finally:
            thaw(root)
    assert found.free.total > 100 * MIB
    with loop(copy) as device:
        with mounted_alone(device, tmp_path / "mnt") as root:
            assert {p.name: p.read_bytes() for p in root.iterdir() if p.is_file()} == files
        checker = CHECKERS["xfs" if kind.startswith("xfs") else "ext4"]
        run(*checker, device)


@root_only
def test_the_ranges_of_a_partition_are_bytes_of_its_disk(tmp_path: Path) -> None:
    path, start = sparse(tmp_path / "disk", SIZE), 10 * MIB + 512
    arguments = ("-o", str(start), "--sizelimit", str(300 * MIB))
    with loop(path, *arguments) as part:
        run(*MAKERS["ext4"], part)
        with mounted(part, tmp_path / "mnt") as root:
            (root / "file").write_bytes(b"x" * MIB)
            run("sync", "-f", root)
            (standing,) = standing_on(path).filesystems
            assert standing.span == Span(str(path), start, 300 * MIB)
            alone = live_free(standing, FilesystemPlace("ext4", 0, 300 * MIB))
            found = live_free(standing, FilesystemPlace("ext4", start, 300 * MIB))
    assert found.free == alone.free.shifted(start).aligned(4096)
    assert found.free.total > 200 * MIB
    data = path.read_bytes()
    at = data.find(b"x" * 4096)
    assert not list(found.free.within(at, at + 4096))


@root_only
def test_what_is_mounted_in_another_namespace_tells_its_map_too(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS["xfs"], path)
    (tmp_path / "mnt").mkdir()
    with loop(path) as device, mounted_elsewhere(device, tmp_path / "mnt"):
        assert free_now(device, place_of("xfs")).free.total > 400 * MIB


@root_only
@pytest.mark.parametrize(
    ("maker", "kind", "words"),
    [
        (("mkfs.btrfs", "-q", "-f"), "btrfs", "btrfs tells no map while it is mounted"),
        (
            ("mke2fs", "-q", "-F", "-t", "ext4", "-O", "bigalloc"),
            "ext4",
            "it allots space in clusters (bigalloc)",
        ),
    ],
)
def test_others_are_read_whole_and_say_why(
    maker: tuple[str, ...], kind: str, words: str, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*maker, path)
    with loop(path) as device, mounted(device, tmp_path / "mnt"):
        found = free_now(device, place_of(kind))
    assert (found.free.total, found.reason) == (0, words)


@root_only
def test_a_map_that_reaches_behind_the_partition_is_not_believed(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS["ext4"], path)
    with loop(path) as device, mounted(device, tmp_path / "mnt"):
        found = free_now(device, place_of("ext4", 100 * MIB))
    assert (found.free.total, found.reason) == (0, "its map reaches behind its partition")


@root_only
def test_only_the_longest_ranges_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_RANGES", 3)
    monkeypatch.setattr(live, "_RECORDS_AT_A_TIME", 5)
    path = sparse(tmp_path / "disk", SIZE)
    run(*MAKERS["ext4"], path)
    with loop(path) as device, mounted(device, tmp_path / "mnt") as root:
        fill(root, random.Random(3))
        run("sync", "-f", root)
        few = free_now(device, place_of("ext4"))
        monkeypatch.setattr(live, "MAX_RANGES", MAX_RANGES)
        in_batches = free_now(device, place_of("ext4"))
        monkeypatch.setattr(live, "_RECORDS_AT_A_TIME", 4096)
        at_once = free_now(device, place_of("ext4"))
    assert in_batches.free == at_once.free
    assert few.free == at_once.free.largest(3)
    assert len(at_once.free) > 20


def test_what_is_not_mounted_any_more_is_read_whole(tmp_path: Path) -> None:
    gone = Standing("xfs", "7:0", ("7:0",), tmp_path / "none", 1, "/none", False, 0, frozenset())
    found = live_free(gone, place_of("xfs"))
    assert found.free.total == 0
    assert found.reason == "its map of a live filesystem cannot be read: No such file or directory"


def test_a_filesystem_over_several_devices_is_read_whole(tmp_path: Path) -> None:
    wide = Standing("xfs", "7:0", ("7:0", "7:1"), tmp_path, 1, "/none", False, 0, frozenset())
    assert live_free(wide, place_of("xfs")).reason == "it spans several devices"


def record(device: int, flags: int, start: int, owner: int, length: int) -> bytes:
    return struct.pack("=IIQQQQ24x", device, flags, start, owner, 0, length)


def test_only_explicitly_free_records_of_the_data_device_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log or real-time device has records of its own, and a file may have the owner's number."""
    records = (
        record(0x801, 0x10, 0, 1, 4096),
        record(0x802, 0x10, 8192, 1, 4096),
        record(0x801, 0, 16384, 1, 4096),
        record(0x801, 0x10, 32768, 2, 4096),
        record(0x801, 0x30, 65536, 1, 8192),
    )

    def answer(_fd: int, _request: int, buffer: bytearray) -> int:
        struct.pack_into("=IIII", buffer, 0, 0, 1, 4096, len(records))
        buffer[192 : 192 + 64 * len(records)] = b"".join(records)
        return 0

    monkeypatch.setattr("app.agent.daemon.capture.free_space.live.fcntl.ioctl", answer)
    assert list(live._free_records(-1, 0x801, 1 << 30)) == [(0, 4096), (65536, 73728)]


def test_device_numbers_are_encoded_as_the_kernel_does() -> None:
    assert live._encoded("8:1") == 0x801
    assert live._encoded("259:300") == os.makedev(259, 300) & 0xFFFFFFFF
