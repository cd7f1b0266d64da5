"""Several disks show one instant; partitions, swap, raw users and filesystems in files are followed.

LVM and md are not here: the kernels that the tests run on have no device mapper and no md.
"""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.capture.activity import FROZEN, FUZZY, QUIET
from tests.e2e.deployment import Deployment, until
from tests.following.live_host import (
    FROZEN_TRIES,
    MIB,
    entered,
    inside,
    live_host,
    namespace_of_mounts,
    run,
    writing,
)
from tests.following.replicas import (
    attached,
    checkpoint,
    differences,
    disk_of,
    exported,
    healthy,
)
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

SWAP = (129 * MIB, 161 * MIB)
RAW = (161 * MIB, 177 * MIB)


def test_two_disks_are_cut_at_one_instant(service: Deployment, place: Path, images: Path) -> None:
    with (
        loop_disk(images / "one.img", 320 * MIB) as one,
        loop_disk(images / "two.img", 320 * MIB) as two,
    ):
        one.format("ext4")
        two.format("xfs")
        mounts = [(one, place / "one"), (two, place / "two")]
        with (
            namespace_of_mounts(mounts) as process,
            writing(process, "across", place / "one", place / "told", place / "two"),
            live_host(place, service, [one, two], images) as host,
        ):
            host.freezer.telling = {"across": place / "told"}
            numbers = []
            for _ in range(3):
                numbers.append((host.sync_frozen().number, host.freezer.told["across"]))
                assert differences(service, host, images) == {}
            assert host.follower.take_codes() == ["", ""]
        for number, told in numbers:
            first = number_on(exported(images, one, number), "ext4", place)
            second = number_on(exported(images, two, number), "xfs", place)
            assert told <= second <= first <= second + 1


def number_on(image: Path, kind: str, place: Path) -> int:
    """What `writers.across` wrote to a disk."""
    with healthy(image, kind, place / "export") as root:
        return int.from_bytes((root / "number").read_bytes()[:8], "little")


def test_a_file_that_cannot_be_followed_is_read_whole_beside_a_disk_that_is(
    service: Deployment, place: Path, images: Path
) -> None:
    path = images / "file.img"
    path.write_bytes(b"x" * 8 * MIB)
    with loop_disk(images / "disk.img", 320 * MIB) as disk:
        disk.format("ext4")
        both = [disk, LoopDisk(path, path)]
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "files", place / "mnt"),
            live_host(place, service, both, images) as host,
        ):
            host.sync()
            with path.open("r+b") as file:
                file.write(b"changed")
            tries = (host.sync() for _ in range(FROZEN_TRIES))
            result = next(result for result in tries if result.label == QUIET)
            assert [each.label for each in result.disks] == [FROZEN, QUIET]
            assert differences(service, host, images) == {}


def test_a_partitioned_disk_with_swap_and_a_raw_user(service: Deployment, place: Path, images: Path) -> None:
    with (
        partitioned(images / "disk.img") as (disk, root, swap, raw),
        namespace_of_mounts([(root, place / "mnt")]) as process,
        writing(process, "files", place / "mnt"),
        live_host(place, service, [disk], images) as host,
    ):
        with swapping(swap, place), writing(process, "raw", raw):
            for _ in range(2):
                assert host.sync().label in (QUIET, FUZZY)
            assert is_left_out(service, host.server, disk, SWAP)
        with swapping(swap, place), writing(process, "held", raw):
            settled = [host.sync().label for _ in range(3)]
            assert FROZEN not in settled
            assert QUIET in settled
            assert differences(service, host, images) == {}
        with swapping(swap, place):
            host.sync_frozen()
            assert is_left_out(service, host.server, disk, SWAP)
            assert differences(service, host, images) == {}
        assert host.follower.take_codes() == [""]


def test_swap_that_is_switched_off_is_copied_and_left_out_when_it_is_back(
    service: Deployment, place: Path, images: Path
) -> None:
    with (
        partitioned(images / "disk.img") as (disk, root, swap, _),
        namespace_of_mounts([(root, place / "mnt")]),
        live_host(place, service, [disk], images) as host,
    ):
        with swapping(swap, place):
            host.sync_frozen()
            assert is_left_out(service, host.server, disk, SWAP)
        swap.write_bytes(b"a former swap partition" * 100_000)
        host.sync_frozen()
        assert not is_left_out(service, host.server, disk, SWAP)
        assert differences(service, host, images) == {}
        run("mkswap", swap)
        with swapping(swap, place):
            host.sync_frozen()
            assert is_left_out(service, host.server, disk, SWAP)
            assert differences(service, host, images) == {}
            host.sync_frozen()
        assert host.follower.take_codes() == [""]


@contextlib.contextmanager
def partitioned(backing: Path) -> Iterator[tuple[LoopDisk, LoopDisk, Path, Path]]:
    """A disk with partitions for ext4, swap and raw use: the disk, and the partitions."""
    with loop_disk(backing, 192 * MIB) as disk:
        table = f"label: gpt\nstart=2048, size=128MiB\nsize={SWAP[1] - SWAP[0] >> 20}MiB\nsize=16MiB\n"
        subprocess.run(["sfdisk", "-q", disk.device], input=table, text=True, check=True)
        run("partx", "-u", disk.device)
        try:
            parts = [Path(f"{disk.device}p{number}") for number in (1, 2, 3)]
            root = LoopDisk(parts[0], backing)
            root.format("ext4")
            run("mkswap", parts[1])
            yield disk, root, parts[1], parts[2]
        finally:
            until(lambda: not has_partitions(disk.device), 60, "the partitions are unmounted and gone")


def has_partitions(device: Path) -> bool:
    """Whether partitions are left that cannot be removed yet: a namespace that ended unmounts late."""
    return subprocess.run(["partx", "-d", device], capture_output=True).returncode != 0


@contextlib.contextmanager
def swapping(device: Path, place: Path) -> Iterator[None]:
    """Swap in use, and written to all the time."""
    run("swapon", "-p", "30000", device)
    script = Path(__file__).with_name("writers.py")
    try:
        with subprocess.Popen([sys.executable, str(script), "paged", str(place)]) as writer:
            try:
                until((place / "paged").exists, 60, "memory was swapped out")
                yield
                assert writer.poll() is None
            finally:
                writer.kill()
                (place / "paged").unlink(missing_ok=True)
    finally:
        run("swapoff", device)


def is_left_out(service: Deployment, server: str, disk: LoopDisk, span: tuple[int, int]) -> bool:
    """Whether the head omits this span, but for the header of swap."""
    omitted = disk_of(checkpoint(service, server), disk).omitted
    return any(each.offset <= span[0] + 4096 and each.offset + each.length >= span[1] for each in omitted)


@pytest.mark.parametrize(("outer", "inner"), [("ext4", "ext4"), ("xfs", "ext4")])
def test_a_filesystem_in_a_file_of_another_is_frozen_with_it(
    outer: str, inner: str, service: Deployment, place: Path, images: Path
) -> None:
    with loop_disk(images / "disk.img", 512 * MIB) as disk:
        disk.format(outer)
        with (
            namespace_of_mounts([(disk, place / "outer")]) as process,
            file_inside(process, place, inner),
            writing(process, "files", place / "outer"),
            writing(process, "ledger", place / "inner", place / "told"),
            live_host(place, service, [disk], images) as host,
        ):
            host.freezer.telling = {"ledger": place / "told"}
            result = host.sync_frozen()
            result = host.sync_frozen()
            assert differences(service, host, images) == {}
            told = host.freezer.told["ledger"]
        with (
            healthy(exported(images, disk, result.number), outer, place / "export") as root,
            healthy(root / "file.img", inner, place / "inner-export") as deeper,
        ):
            assert rows_in(deeper / "ledger.db") >= told > 0


def rows_in(path: Path) -> int:
    """The number of rows of `writers.ledger`."""
    with contextlib.closing(sqlite3.connect(path)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(opened.execute("SELECT COUNT(*) FROM entry").fetchone()[0])


@contextlib.contextmanager
def file_inside(process: int, place: Path, kind: str) -> Iterator[None]:
    """A filesystem in a file on that of a host's, mounted there too."""
    file = inside(process, place / "outer") / "file.img"
    with file.open("wb") as made:
        made.truncate(160 * MIB)
    with attached(file) as disk:
        disk.format(kind)
        (place / "inner").mkdir()
        run(*entered(process, "mount", str(disk.device), str(place / "inner")))
        try:
            yield
        finally:
            run(*entered(process, "umount", str(place / "inner")))
