"""What stands on a disk is found through partitions, loop devices, namespaces and bind mounts, once each."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.disk import family
from app.agent.daemon.disk.carriers import Carriers, Span
from app.agent.daemon.disk.mounts import open_mount, parse_mountinfo
from app.agent.daemon.disk.swaps import parse_swaps
from tests.daemon.disk_images import run, sparse, write_gpt
from tests.daemon.live_disks import (
    MIB,
    disks,
    filesystem,
    image,
    loop,
    mounted,
    mounted_elsewhere,
    standing_on,
)

root_only = pytest.mark.root


@root_only
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_filesystem_is_found_with_its_place_and_can_be_opened(kind: str, tmp_path: Path) -> None:
    with filesystem(tmp_path, kind) as (device, root):
        found = standing_on(device)
        (standing,) = found.filesystems
        assert (standing.kind, standing.depth, standing.is_read_only) == (kind, 0, False)
        assert standing.disks == {str(device)}
        assert standing.span == Span(str(device), 0, 320 * MIB)
        assert standing.devices == (f"{os.major(device.stat().st_rdev)}:{os.minor(device.stat().st_rdev)}",)
        assert standing.target == str(root)
        fd = open_mount(standing.path, standing.mount_id)
        assert os.fstat(fd).st_ino == root.stat().st_ino
        os.close(fd)
        assert found.raw == ()
        assert found.is_complete


@root_only
def test_a_disk_that_is_a_file_is_followed_to_the_loop_device_on_it(tmp_path: Path) -> None:
    with filesystem(tmp_path, "ext4"):
        (standing,) = standing_on(tmp_path / "disk").filesystems
        assert standing.span == Span(str(tmp_path / "disk"), 0, 320 * MIB)


@root_only
def test_a_loop_device_that_is_detached_while_it_is_looked_at_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder `loop` in /sys goes entry by entry: here the name of the file is there still."""
    going = tmp_path / "sys/block/loop9999"
    (going / "loop").mkdir(parents=True)
    (going / "dev").write_text("7:9999\n")
    (going / "loop/backing_file").write_text("/nowhere/disk.img\n")
    disk = sparse(tmp_path / "disk", 4096)
    monkeypatch.setattr(family, "_SYS", tmp_path / "sys")
    assert family.members_of(disk.stat()) == []
    monkeypatch.setattr(family, "_told_by_path", lambda backing: backing.unlink())
    assert family.file_loops() == []


def test_what_stands_on_other_disks_is_left_out(tmp_path: Path) -> None:
    with filesystem(tmp_path, "ext4", "one") as (one, _), filesystem(tmp_path, "ext4", "two") as (two, _):
        (standing,) = standing_on(one).filesystems
        assert standing.disks == {str(one)}
        assert len(standing_on(one, two).filesystems) == 2


@root_only
@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_bind_mounts_and_read_only_views_are_the_same_filesystem(kind: str, tmp_path: Path) -> None:
    with filesystem(tmp_path, kind) as (device, root):
        (root / "folder").mkdir()
        with (
            mounted(root / "folder", tmp_path / "bound", "--bind") as bound,
            mounted(device, tmp_path / "again"),
        ):
            run("mount", "-o", "remount,bind,ro", bound)
            (standing,) = standing_on(device).filesystems
            assert not standing.is_read_only


@root_only
def test_subvolumes_and_devices_of_one_btrfs_are_one_filesystem(tmp_path: Path) -> None:
    with (
        loop(sparse(tmp_path / "one", 400 * MIB)) as one,
        loop(sparse(tmp_path / "two", 400 * MIB)) as two,
    ):
        run("mkfs.btrfs", "-q", "-f", one, two)
        run("btrfs", "device", "scan", one, two)
        with mounted(one, tmp_path / "mnt") as root:
            run("btrfs", "subvolume", "create", root / "sub")
            with mounted(one, tmp_path / "sub", "-o", "subvol=sub"):
                for device in (one, two):
                    (standing,) = standing_on(device).filesystems
                    assert (len(standing.devices), standing.span) == (2, None)
                (standing,) = standing_on(one, two).filesystems
                assert standing.disks == {str(one), str(two)}
        run("btrfs", "device", "scan", "--forget", one)
        run("btrfs", "device", "scan", "--forget", two)


@root_only
def test_a_loop_device_on_a_file_in_a_btrfs_subvolume_is_found(tmp_path: Path) -> None:
    with (
        loop(image(tmp_path / "disk", "btrfs", 900 * MIB)) as device,
        mounted(device, tmp_path / "outer") as below,
    ):
        run("btrfs", "subvolume", "create", below / "sub")
        with (
            loop(image(below / "sub/file", "ext4")) as upper,
            mounted(upper, tmp_path / "inner"),
        ):
            found = standing_on(device).filesystems
            assert [(each.kind, each.depth, each.span is None) for each in found] == [
                ("ext4", 1, True),
                ("btrfs", 0, False),
            ]


@root_only
def test_filesystems_in_files_are_found_to_any_depth_innermost_first(tmp_path: Path) -> None:
    with (
        loop(image(tmp_path / "disk", "ext4", 1600 * MIB)) as device,
        mounted(device, tmp_path / "a") as a,
        loop(image(a / "file", "xfs", 1000 * MIB)) as second,
        mounted(second, tmp_path / "b") as b,
        loop(image(b / "file", "ext4")) as third,
        mounted(third, tmp_path / "c"),
    ):
        found = standing_on(device).filesystems
        assert [(each.target, each.depth) for each in found] == [
            (str(tmp_path / name), depth) for name, depth in (("c", 2), ("b", 1), ("a", 0))
        ]


@root_only
@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_what_only_another_namespace_sees_is_found_and_can_be_opened(kind: str, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    with (
        loop(image(tmp_path / "disk", kind)) as device,
        mounted_elsewhere(device, tmp_path / "mnt") as process,
    ):
        (standing,) = standing_on(device).filesystems
        assert (standing.kind, standing.target) == (kind, str(tmp_path / "mnt"))
        assert standing.path.is_relative_to(f"/proc/{process.pid}/root")
        os.close(open_mount(standing.path, standing.mount_id))


@root_only
def test_a_mount_that_another_one_covers_is_told_where_it_cannot_be_reached(tmp_path: Path) -> None:
    with (
        filesystem(tmp_path, "ext4", "one") as (one, root),
        loop(image(tmp_path / "two", "ext4")) as two,
        mounted(two, root),
    ):
        found = standing_on(one)
        assert found.filesystems == ()
        (hidden,) = found.raw
        assert hidden.reason == f"ext4 is mounted at {root}, where this process cannot reach it"
        assert hidden.span == Span(str(one), 0, 320 * MIB)
        (covering,) = standing_on(two).filesystems
        assert covering.target == str(root)


@contextlib.contextmanager
def partitions(device: Path) -> Iterator[list[Path]]:
    """The kernel's partition devices of a loop device."""
    run("partx", "-u", device)
    try:
        yield [Path(f"{device}p{number}") for number in (1, 2)]
    finally:
        run("partx", "-d", device)


@root_only
def test_a_partition_is_a_place_on_its_disk(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 400 * MIB)
    write_gpt(path, 512, [(MIB, 300 * MIB, "root"), (304 * MIB, 90 * MIB, "raw")])
    with loop(path) as device, partitions(device) as (first, second):
        run("mke2fs", "-q", "-F", "-t", "ext4", first)
        with mounted(first, tmp_path / "mnt"):
            found = standing_on(device)
            assert found.filesystems[0].span == Span(str(device), MIB, 300 * MIB)
            assert found.raw == ()
            assert standing_on(second).filesystems == ()
            (alone,) = standing_on(first).filesystems
            assert alone.span == Span(str(first), 0, 300 * MIB)
            held = os.open(second, os.O_RDONLY | os.O_EXCL)
            try:
                (raw,) = standing_on(device).raw
                assert raw.reason == f"{second.name} is in exclusive use"
                assert raw.span == Span(str(device), 304 * MIB, 90 * MIB)
            finally:
                os.close(held)


@root_only
def test_a_partition_of_a_disk_that_is_mounted_as_a_whole_is_in_no_use(tmp_path: Path) -> None:
    with filesystem_with_partition(tmp_path) as (device, partition):
        with pytest.raises(OSError, match="busy"):
            os.close(os.open(partition, os.O_RDONLY | os.O_EXCL))
        found = standing_on(device)
        assert [each.kind for each in found.filesystems] == ["ext4"]
        assert found.raw == ()


@contextlib.contextmanager
def filesystem_with_partition(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A mounted filesystem on a whole device, of which the kernel has a partition as well, left by others."""
    with loop(image(folder / "disk", "ext4")) as device:
        run("addpart", device, "1", "2048", "4096")
        try:
            with mounted(device, folder / "mnt"):
                yield device, Path(f"{device}p1")
        finally:
            run("delpart", device, "1")


@root_only
def test_swap_is_found_and_its_header_is_kept(tmp_path: Path) -> None:
    with loop(sparse(tmp_path / "disk", 16 * MIB)) as device:
        run("mkswap", device)
        assert standing_on(device).swaps == ()
        with swapping(device):
            found = standing_on(device)
            (swap,) = found.swaps
            assert swap.path == str(device)
            assert swap.disks == {str(device)}
            assert swap.spans == (Span(str(device), 4096, 16 * MIB - 4096),)
            assert (found.filesystems, found.raw) == ((), ())


@contextlib.contextmanager
def swapping(path: Path) -> Iterator[None]:
    """Swap space in use, after all other."""
    path.chmod(0o600)
    run("swapon", "-p", "0", path)
    try:
        yield
    finally:
        run("swapoff", path)


@root_only
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_swap_file_is_found_byte_for_byte(kind: str, tmp_path: Path) -> None:
    marker = os.urandom(4096)
    with filesystem(tmp_path, kind) as (device, root):
        path = root / "swapfile"
        path.write_bytes(marker * 2048)
        run("mkswap", path)
        run("sync", "-f", root)
        with swapping(path):
            (swap,) = standing_on(device).swaps
        assert 2040 * 4096 < sum(span.size for span in swap.spans) <= 2047 * 4096
        disk = (tmp_path / "disk").read_bytes()
        for span in swap.spans:
            assert disk[span.start : span.start + span.size] in marker * (span.size // 4096 + 2)


@root_only
def test_a_file_is_no_swap_because_another_namespace_has_swap_at_its_path(tmp_path: Path) -> None:
    """It would be left out of every copy."""
    with (
        filesystem(tmp_path, "ext4", "one") as (one, root),
        loop(image(tmp_path / "two", "ext4")) as two,
        mounted_elsewhere(two, root) as process,
    ):
        path, enter = root / "swapfile", ("nsenter", f"--mount=/proc/{process.pid}/ns/mnt", "sh", "-c")
        path.write_bytes(os.urandom(8 * MIB))
        Path(f"/proc/{process.pid}/root{path}").write_bytes(bytes(8 * MIB))
        run(*enter, f"chmod 0600 {path} && mkswap {path} && swapon -p 0 {path}")
        try:
            assert str(path) in parse_swaps(Path("/proc/swaps").read_text())
            assert standing_on(one).swaps == ()
        finally:
            run(*enter, f"swapoff {path}")


@root_only
def test_devices_made_of_a_disk_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Device mapper is not in every kernel: the tree below is what LVM over two disks looks like in /sys."""
    with (
        loop(sparse(tmp_path / "one", MIB)) as one,
        loop(sparse(tmp_path / "two", MIB)) as two,
        disks(one, two) as opened,
    ):
        tree = tmp_path / "sys"
        for device in (one, two):
            number = device.stat().st_rdev
            add_device(tree, device.name, f"{os.major(number)}:{os.minor(number)}", holders=("dm-0",))
        add_device(tree, "dm-0", "253:0", holders=("dm-1",))
        add_device(tree, "dm-1", "253:1", holders=())
        (tree / "block").mkdir()
        monkeypatch.setattr("app.agent.daemon.disk.family._SYS", tree)
        found = {carrier.name: carrier for carrier in Carriers(opened)}
        assert set(found) == {one.name, two.name, "dm-0", "dm-1"}
        assert found["dm-1"].disks == {str(one), str(two)}
        assert (found["dm-1"].span, found["dm-1"].depth) == (None, 0)
        assert found[one.name].span == Span(str(one), 0, MIB)


def add_device(tree: Path, name: str, number: str, holders: tuple[str, ...]) -> None:
    directory = tree / "devices" / name
    (directory / "holders").mkdir(parents=True)
    (directory / "dev").write_text(number + "\n")
    (directory / "size").write_text("2048\n")
    for holder in holders:
        (directory / "holders" / holder).touch()
    for link in (tree / "class/block" / name, tree / "dev/block" / number):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(directory)


JAILED = """
import os, subprocess, sys, time
device, mount, jail = sys.argv[1:]
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", device, mount], check=True)
jailed, tell = os.pipe()
if os.fork() == 0:
    os.read(jailed, 1)
    print("ready", flush=True)
else:
    os.chroot(jail)
    os.write(tell, b".")
time.sleep(600)
"""


@root_only
def test_a_process_in_a_jail_does_not_hide_what_others_of_its_namespace_see(tmp_path: Path) -> None:
    for name in ("mnt", "jail"):
        (tmp_path / name).mkdir()
    with loop(image(tmp_path / "disk", "ext4")) as device:
        arguments = (sys.executable, "-c", JAILED, device, tmp_path / "mnt", tmp_path / "jail")
        command = ["unshare", "-m", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            (standing,) = standing_on(device).filesystems
            assert standing.target == str(tmp_path / "mnt")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_a_read_only_mount_of_a_writable_filesystem_is_told_apart() -> None:
    text = (
        "36 35 98:0 / /a ro,noatime - ext4 /dev/a rw,discard\n"
        "37 35 98:1 / /b rw,noatime shared:1 - ext4 /dev/b ro,discard\n"
    )
    one, two = parse_mountinfo(text)
    assert (one.mount_id, one.is_read_only, two.mount_id, two.is_read_only) == (36, False, 37, True)


def test_swaps_are_parsed_with_their_escapes() -> None:
    text = (
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/sda2                               partition\t1000\t0\t-2\n"
        "/swap\\040file                          file\t\t1000\t0\t-3\n"
    )
    assert parse_swaps(text) == ["/dev/sda2", "/swap file"]
