"""Online verification of block devices with filesystems: what is free is not compared, what is used is."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.disk.reader import DiskReader
from app.contract.words import Verdict
from app.wire.chunks import CHUNK_SIZE, MIB
from tests.services.loop_disks import LoopDisk, loop_disk
from tests.services.running import Running
from tests.verification.online_rig import Host, NotedWrites, host_of, write

pytestmark = pytest.mark.root
SIZE = 160 * MIB


@pytest.fixture(params=["ext4", "xfs"])
def filesystem(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LoopDisk]:
    """A disk with files on it that is not mounted."""
    with loop_disk(tmp_path / "disk.img", SIZE if request.param == "ext4" else 320 * MIB) as disk:
        disk.format(request.param)
        with disk.mounted(tmp_path / "mounted") as folder:
            for number in range(20):
                (folder / f"file-{number}").write_bytes(os.urandom(300_000))
        yield disk


@pytest.fixture
def host(running: Running, tmp_path: Path, filesystem: LoopDisk) -> Iterator[Host]:
    with host_of(running, tmp_path / "agent", filesystem.device) as made:
        made.sync()
        yield made


def free_chunk(host: Host, disk: Path) -> int:
    """The start of a chunk that the head left out as a whole."""
    from app.client import servers

    with host.running.client() as client:
        (found,) = client.send(servers.checkpoint(host.server)).disks
    assert found.path == str(disk)
    largest = max(found.omitted, key=lambda each: each.length)
    return -(-largest.offset // CHUNK_SIZE) * CHUNK_SIZE


def test_what_is_free_is_no_difference_whatever_lies_there(host: Host, filesystem: LoopDisk) -> None:
    start = free_chunk(host, filesystem.device)
    write(filesystem.device, start, os.urandom(CHUNK_SIZE))
    found = host.verified(NotedWrites())
    assert found.verdict is Verdict.SAME
    assert found.disks[0].omitted_bytes >= CHUNK_SIZE
    assert found.disks[0].read_bytes < found.disks[0].size_bytes


def test_a_file_written_behind_the_trackers_back_is_found_through_the_device(
    host: Host, filesystem: LoopDisk, tmp_path: Path
) -> None:
    with filesystem.mounted(tmp_path / "again") as folder:
        with (folder / "file-7").open("r+b") as out:
            out.write(b"in place")
            os.fsync(out.fileno())
        found = host.verified(NotedWrites())
    assert found.verdict is Verdict.DIFFERS
    key = found.disks[0].key
    with filesystem.mounted(tmp_path / "again"):
        everything = NotedWrites({(key, 0, found.disks[0].size_bytes)})
        excused = host.verified(everything)
    assert excused.verdict is Verdict.SAME
    assert excused.disks[0].excused_bytes > 0
    assert host.verified(NotedWrites()).verdict is Verdict.DIFFERS
    host.sync()
    assert host.verified(NotedWrites()).verdict is Verdict.SAME


def spoil(monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    """Let a byte of every disk be unreadable."""
    read = DiskReader._read_once

    def fail(self: DiskReader, offset: int, view: memoryview) -> int:
        if offset <= bad < offset + view.nbytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(self, offset, view)

    monkeypatch.setattr(DiskReader, "_read_once", fail)


def test_a_bad_sector_is_unreadable_and_no_difference(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 131072)
    found = host.verified(NotedWrites())
    assert found.verdict is Verdict.SAME
    assert found.disks[0].unreadable_bytes == CHUNK_SIZE


def test_a_disk_whose_superblock_cannot_be_read_breaks_it_off(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 4096)
    found = host.verified(NotedWrites())
    assert (found.verdict, found.code) == (Verdict.UNPROVED, "SOURCE_READ_ERROR")
