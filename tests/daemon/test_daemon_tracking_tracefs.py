"""Tracking through tracefs against the truth: every block of a real device that changed is dirty."""

import contextlib
import ctypes
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.disks import TrackedDisk
from app.agent.daemon.tracking.instance import TRACEFS, Instance, mount_tracefs
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.agent.daemon.tracking.writes import Write
from tests.daemon.disk_images import run, sparse, write_gpt

pytestmark = pytest.mark.root

MIB = 1024 * 1024
BLOCK = 4096
SIZE = 320 * MIB
MAKERS = {
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
PUNCH_HOLE, ZERO_RANGE, KEEP_SIZE = 2, 16, 1
Start = Callable[..., TraceTracker]


class Disk:
    """A loop device on a file, and what changed on it. The file shows what the device holds, uncached."""

    def __init__(self, path: Path, device: Path, size: int) -> None:
        self.path, self.device, self.size = path, device, size
        self._before: list[int] = []

    @property
    def number(self) -> int:
        return self.device.stat().st_rdev

    def tracked(self, key: str = "disk") -> TrackedDisk:
        return TrackedDisk(key, self.number, 0, self.size)

    def remember(self) -> None:
        self._before = self._hashes()

    def changed(self) -> set[int]:
        """The numbers of the blocks that differ from what was remembered."""
        pairs = zip(self._before, self._hashes(), strict=True)
        return {number for number, (before, after) in enumerate(pairs) if before != after}

    def _hashes(self) -> list[int]:
        found = []
        with self.path.open("rb") as source:
            while piece := source.read(16 * MIB):
                found += [xxh3_64_intdigest(piece[at : at + BLOCK]) for at in range(0, len(piece), BLOCK)]
        return found


@contextlib.contextmanager
def loop(path: Path, size: int = SIZE) -> Iterator[Disk]:
    device = Path(run("losetup", "--show", "-f", sparse(path, size)).strip())
    try:
        yield Disk(path, device, size)
    finally:
        run("losetup", "-d", device)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with loop(tmp_path / "disk.img") as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a tracker of disks in the test's run folder; gaps of the beginning are ended."""
    made: list[TraceTracker] = []

    def begin(*disks: TrackedDisk, end_gaps: bool = True, **options: object) -> TraceTracker:
        tracker = TraceTracker(tmp_path / "run", **options)  # type: ignore[arg-type]
        tracker.start(disks)
        made.append(tracker)
        for tracked in disks if end_gaps else ():
            tracker.restart(tracked.key)
            assert tracker.gap_of(tracked.key) == ""
        return tracker

    yield begin
    for tracker in made:
        tracker.close(keep=False)
    mount_tracefs()
    TraceTracker(tmp_path / "run").instance.remove()


def dirty(tracker: TraceTracker, key: str = "disk") -> set[int]:
    tracker.drain()
    taken = tracker.dirty_of(key).take_all()
    return {block for low, high in taken.extents() for block in range(low // BLOCK, high // BLOCK)}


def write(device: Path, at: int, data: bytes) -> None:
    """Write past the page cache; the write is complete when this returns."""
    buffer = mmap.mmap(-1, len(data))
    buffer[:] = data
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    try:
        os.pwrite(fd, buffer, at)
    finally:
        os.close(fd)


def blocks(count: int) -> bytes:
    return os.urandom(count * BLOCK)


def fallocate(fd: int, mode: int, at: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    call = libc.fallocate64
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    assert call(fd, mode, at, length) == 0, os.strerror(ctypes.get_errno())


def use(root: Path, has_zero_range: bool) -> None:
    """Write to a filesystem in all ways."""
    for number in range(200):
        (root / f"buffered{number}").write_bytes(os.urandom(100 + 97 * number))
    with (root / "mapped").open("w+b") as file:
        file.truncate(4 * MIB)
        with mmap.mmap(file.fileno(), 4 * MIB) as mapped:
            for at in range(0, 4 * MIB, 5 * BLOCK):
                mapped[at : at + 8] = os.urandom(8)
            mapped.flush()
    (root / "direct").write_bytes(bytes(2 * MIB))
    os.sync()
    for at in range(0, 2 * MIB, 7 * BLOCK):
        write(root / "direct", at, blocks(1))
    with (root / "storm").open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(300))
            file.flush()
            os.fsync(file.fileno())
    with (root / "holes").open("w+b") as file:
        file.write(blocks(512))
        os.fsync(file.fileno())
        if has_zero_range:
            fallocate(file.fileno(), ZERO_RANGE | KEEP_SIZE, 100 * BLOCK, 50 * BLOCK)
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 300 * BLOCK, 80 * BLOCK)
        os.fsync(file.fileno())
    for number in range(0, 200, 3):
        (root / f"buffered{number}").unlink()
    run("sync", "-f", root)
    run("fstrim", root)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("options", ["noatime", "discard"])
def test_every_changed_block_of_a_filesystem_is_dirty(
    disk: Disk, start: Start, tmp_path: Path, kind: str, options: str
) -> None:
    run(*MAKERS[kind], disk.device)
    run("sync")
    (tmp_path / "mnt").mkdir()
    disk.remember()
    tracker = start(disk.tracked())
    run("mount", "-o", options, disk.device, tmp_path / "mnt")
    try:
        use(tmp_path / "mnt", has_zero_range=True)
        run("sync", "-f", tmp_path / "mnt")
        found = dirty(tracker)
        changed = disk.changed()
        assert len(changed) > 1000
        assert changed - found - dirty(tracker) == set()
    finally:
        run("umount", tmp_path / "mnt")
    assert disk.changed() - found - dirty(tracker) == set()
    assert tracker.gap_of("disk") == ""


def test_every_changed_block_of_a_raw_device_is_dirty_and_little_else(disk: Disk, start: Start) -> None:
    for at in range(0, SIZE, 16 * MIB):
        write(disk.device, at, blocks(256))
    disk.remember()
    tracker = start(disk.tracked())
    chance = random.Random(1)
    expected = set()
    for _ in range(500):
        at = chance.randrange(SIZE // BLOCK)
        write(disk.device, at * BLOCK, blocks(1))
        expected.add(at)
    with disk.device.open("r+b") as file:
        file.seek(40 * MIB + 123)
        file.write(b"buffered")
        file.flush()
        os.fsync(file.fileno())
    expected.add((40 * MIB + 123) // BLOCK)
    run("blkdiscard", "-o", str(16 * MIB), "-l", str(MIB), disk.device)
    run("blkdiscard", "-z", "-o", str(32 * MIB), "-l", str(MIB // 2), disk.device)
    expected |= set(range(16 * MIB // BLOCK, 17 * MIB // BLOCK))
    expected |= set(range(32 * MIB // BLOCK, 32 * MIB // BLOCK + MIB // 2 // BLOCK))
    found = dirty(tracker)
    assert disk.changed() - found == set()
    assert found == expected


def test_reads_and_flushes_leave_nothing_dirty(disk: Disk, start: Start) -> None:
    tracker = start(disk.tracked())
    run("dd", f"if={disk.device}", "of=/dev/null", "bs=1M", "count=20", "iflag=direct")
    run("dd", f"if={disk.device}", "of=/dev/null", "bs=1M", "count=20")
    fd = os.open(disk.device, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    assert dirty(tracker) == set()


def test_two_disks_at_once_are_kept_apart(disk: Disk, start: Start, tmp_path: Path) -> None:
    with loop(tmp_path / "second.img", 64 * MIB) as second:
        tracker = start(disk.tracked("one"), second.tracked("two"))
        for number in range(100):
            write(disk.device, number * 2 * BLOCK, blocks(1))
            write(second.device, (number * 2 + 1) * BLOCK, blocks(1))
        assert dirty(tracker, "one") == set(range(0, 200, 2))
        assert dirty(tracker, "two") == set(range(1, 200, 2))
        tracker.track([disk.tracked("one")])
        write(second.device, 0, blocks(1))
        write(disk.device, 9 * BLOCK, blocks(1))
        assert dirty(tracker, "one") == set(range(0, 200, 2)) | {9}
        assert tracker.gap_of("one") == ""
        with pytest.raises(TrackingError, match="two is not tracked"):
            tracker.gap_of("two")
        tracker.close(keep=False)


def test_a_partition_has_its_own_blocks_and_no_others(start: Start, tmp_path: Path) -> None:
    with loop(tmp_path / "parts.img", 64 * MIB) as disk:
        write_gpt(disk.path, 512, [(MIB, 20 * MIB, "a"), (21 * MIB, 40 * MIB, "b")])
        run("partx", "-u", disk.device)
        try:
            first, second = (Path(f"{disk.device}p{number}") for number in (1, 2))
            tracker = start(
                TrackedDisk("whole", disk.number, 0, disk.size),
                TrackedDisk("second", disk.number, 21 * MIB, 40 * MIB),
            )
            write(first, 20 * MIB - BLOCK, blocks(1))
            write(second, 5 * BLOCK, blocks(2))
            write(disk.device, 21 * MIB - BLOCK, blocks(2))
            write(disk.device, 61 * MIB - BLOCK, blocks(2))
            base = 21 * MIB // BLOCK
            last = 40 * MIB // BLOCK
            assert dirty(tracker, "second") == {0, 5, 6, last - 1}
            assert dirty(tracker, "whole") == {
                base - 1,
                base,
                base + 5,
                base + 6,
                base + last - 1,
                base + last,
            }
            tracker.close(keep=False)
        finally:
            run("partx", "-d", disk.device)


def test_an_overrun_is_a_gap_until_the_disk_is_read_anew(disk: Disk, start: Start) -> None:
    tracker = start(disk.tracked(), buffer_kib=4)
    before = tracker.identity_of("disk")
    with tracker._lock:  # the watch must not come in between
        for number in range(2000):
            write(disk.device, number * BLOCK, blocks(1))
    tracker.drain()
    assert "lost" in tracker.gap_of("disk")
    write(disk.device, 0, blocks(1))
    tracker.drain()
    assert "lost" in tracker.gap_of("disk")
    tracker.restart("disk")
    assert tracker.gap_of("disk") == ""
    assert tracker.identity_of("disk") != before
    write(disk.device, 77 * BLOCK, blocks(1))
    assert dirty(tracker) == {77}


def test_events_that_the_sieve_drops_are_not_seen(disk: Disk, start: Start) -> None:
    def sieve(write: Write) -> bool:
        return (write.sector // 8) % 10 != 0

    tracker = start(disk.tracked(), sieve=sieve)
    for number in range(100):
        write(disk.device, number * BLOCK, blocks(1))
    assert dirty(tracker) == {number for number in range(100) if number % 10}
    assert tracker.gap_of("disk") == ""


def test_the_watch_takes_events_in_by_itself(disk: Disk, start: Start) -> None:
    """Many times what the buffers hold, in batches that fit: one that does not would be a gap, rightly."""
    tracker, batch = start(disk.tracked(), buffer_kib=64), 500
    deadline = time.monotonic() + 120
    for number in range(5000):
        write(disk.device, number * BLOCK, blocks(1))
        while (number + 1) % batch == 0 and tracker.dirty_of("disk").current_bytes <= number * BLOCK:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert tracker.dirty_of("disk").current_bytes == 5000 * BLOCK
    assert tracker.gap_of("disk") == ""


def test_a_clean_restart_of_the_agent_loses_nothing(disk: Disk, start: Start) -> None:
    first = start(disk.tracked())
    identity = first.identity_of("disk")
    write(disk.device, 0, blocks(1))
    first.dirty_of("disk").take()
    write(disk.device, BLOCK, blocks(1))
    first.close(keep=True)
    for number in range(1000, 1500):
        write(disk.device, number * BLOCK, blocks(1))
    second = start(disk.tracked(), end_gaps=False)
    assert second.gap_of("disk") == ""
    assert second.identity_of("disk") == identity
    assert dirty(second) == {0, 1, *range(1000, 1500)}


def test_a_disk_that_comes_with_the_restart_has_a_gap_and_the_other_has_none(
    disk: Disk, start: Start, tmp_path: Path
) -> None:
    start(disk.tracked("old")).close(keep=True)
    with loop(tmp_path / "second.img", 64 * MIB) as added:
        tracker = start(disk.tracked("old"), added.tracked("new"), end_gaps=False)
        assert tracker.gap_of("old") == ""
        assert "since just now" in tracker.gap_of("new")
        tracker.close(keep=False)


def test_what_was_dropped_while_no_agent_ran_is_a_gap(disk: Disk, start: Start) -> None:
    start(disk.tracked(), buffer_kib=8).close(keep=True)
    for number in range(3000):
        write(disk.device, number * BLOCK, blocks(1))
    assert "lost" in start(disk.tracked(), end_gaps=False).gap_of("disk")


def test_a_disk_that_changed_its_size_or_was_replaced_has_a_gap(disk: Disk, start: Start) -> None:
    start(disk.tracked()).close(keep=True)
    smaller = TrackedDisk("disk", disk.number, 0, SIZE // 2)
    again = start(smaller, end_gaps=False)
    assert again.gap_of("disk")
    again.restart("disk")
    again.close(keep=True)
    run("losetup", "-d", disk.device)
    run("losetup", disk.device, disk.path)
    assert "another one" in start(smaller, end_gaps=False).gap_of("disk")


def test_a_disk_that_is_replaced_while_it_is_tracked_has_a_gap(disk: Disk, start: Start) -> None:
    tracker = start(disk.tracked())
    run("losetup", "-d", disk.device)
    run("losetup", disk.device, disk.path)
    tracker.drain()
    assert "another one" in tracker.gap_of("disk")
    tracker.restart("disk")
    write(disk.device, 0, blocks(1))
    assert dirty(tracker) == {0}
    assert tracker.gap_of("disk") == ""


FILTER = "events/block/block_rq_complete/filter"


def shell(instance: Instance, line: str) -> None:
    subprocess.run(["sh", "-c", line], cwd=instance.path, check=True)


@pytest.mark.parametrize(
    "line",
    [
        f"echo 'dev == 1' > {FILTER}",
        "echo 0 > tracing_on",
        "echo 0 > tracing_on; echo 1 > tracing_on",
        "echo 0 > events/block/block_rq_complete/enable",
        "echo 1 > options/overwrite",
        "echo > trace",
        "echo 8 > buffer_size_kb",
        "timeout 2 head -c 100 trace_pipe > /dev/null",
    ],
)
@pytest.mark.parametrize("is_running", [True, False])
def test_a_stranger_at_the_instance_is_a_gap_and_tracking_is_set_right(
    disk: Disk, start: Start, line: str, is_running: bool
) -> None:
    tracker = start(disk.tracked())
    with tracker._lock:
        write(disk.device, 5 * BLOCK, blocks(3))
        write(disk.device, 5 * BLOCK, blocks(3))
        if is_running:
            shell(tracker.instance, line)
    if is_running:
        tracker.drain()
    else:
        tracker.close(keep=True)
        write(disk.device, 5 * BLOCK, blocks(3))
        write(disk.device, 5 * BLOCK, blocks(3))
        shell(tracker.instance, line)
        tracker = start(disk.tracked(), end_gaps=False)
    assert tracker.gap_of("disk")
    tracker.restart("disk")
    write(disk.device, 9 * BLOCK, blocks(1))
    assert dirty(tracker) == {9}
    assert tracker.gap_of("disk") == ""


def test_an_instance_that_was_made_anew_is_a_gap(disk: Disk, start: Start) -> None:
    first = start(disk.tracked())
    first.close(keep=True)
    first.instance.remove()
    first.instance.create(64)
    second = start(disk.tracked(), end_gaps=False)
    assert "another program" in second.gap_of("disk")
    second.close(keep=True)
    second.instance.remove()
    assert "gone" in start(disk.tracked(), end_gaps=False).gap_of("disk")


@pytest.mark.parametrize("name", ["tracker.ledger", "tracker.json", "*.dirty"])
def test_a_damaged_file_of_the_run_folder_is_a_gap(
    disk: Disk, start: Start, tmp_path: Path, name: str
) -> None:
    start(disk.tracked()).close(keep=True)
    (path,) = (tmp_path / "run").glob(name)
    path.write_bytes(b"\xff" * 100)
    tracker = start(disk.tracked(), end_gaps=False)
    assert tracker.gap_of("disk")
    tracker.restart("disk")
    write(disk.device, 0, blocks(1))
    assert dirty(tracker) == {0}


def test_two_processes_do_not_share_a_run_folder(disk: Disk, start: Start) -> None:
    start(disk.tracked())
    with pytest.raises(TrackingError, match="another process"):
        start(disk.tracked())


def test_closing_for_good_leaves_nothing(disk: Disk, start: Start, tmp_path: Path) -> None:
    tracker = start(disk.tracked())
    tracker.close(keep=False)
    assert not tracker.instance.exists
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tracker.lock"]
    assert TRACEFS.is_dir()


@contextlib.contextmanager
def child(tmp_path: Path, disk: Disk, dies_at: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that tracks the disk, and the gap that it found."""
    command = [sys.executable, "-m", "tests.daemon.tracked_process", tmp_path / "run", disk.device]
    arguments = [*map(str, command), str(disk.size), dies_at]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def test_a_killed_agent_is_gone_on_from_without_a_gap(disk: Disk, start: Start, tmp_path: Path) -> None:
    with child(tmp_path, disk) as (_, gap):
        assert gap == "there was no tracker before"
        write(disk.device, 0, blocks(4))
    write(disk.device, 8 * BLOCK, blocks(1))
    tracker = start(disk.tracked(), end_gaps=False)
    assert tracker.gap_of("disk") == ""
    assert dirty(tracker) == {0, 1, 2, 3, 8}


@pytest.mark.parametrize("dies_at", ["Intake._apply", "DirtyMap.mark_all", "Intake._forget_page"])
def test_a_kill_between_reading_a_page_and_its_booking_loses_nothing(
    disk: Disk, start: Start, tmp_path: Path, dies_at: str
) -> None:
    with child(tmp_path, disk, dies_at) as (process, _):
        write(disk.device, 3 * BLOCK, blocks(2))
        assert process.wait(60) == -signal.SIGKILL
    tracker = start(disk.tracked(), end_gaps=False)
    assert tracker.gap_of("disk") == ""
    assert dirty(tracker) == {3, 4}


def test_an_agent_that_is_killed_again_and_again_under_load_loses_no_write(
    disk: Disk, start: Start, tmp_path: Path
) -> None:
    disk.remember()
    over = threading.Event()

    def storm(seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            write(disk.device, chance.randrange(SIZE // BLOCK) * BLOCK, blocks(1))

    writers = [threading.Thread(target=storm, args=(seed,)) for seed in range(2)]
    chance = random.Random(5)
    try:
        with child(tmp_path, disk):
            for writer in writers:
                writer.start()
            time.sleep(0.2)
        for _ in range(8):
            with child(tmp_path, disk) as (process, gap):
                assert gap == "whole"
                time.sleep(chance.uniform(0, 0.3))
                process.kill()
    finally:
        over.set()
        for writer in writers:
            writer.join()
    tracker = start(disk.tracked(), end_gaps=False)
    assert tracker.gap_of("disk") == ""
    changed = disk.changed()
    assert changed
    assert changed - dirty(tracker) == set()
