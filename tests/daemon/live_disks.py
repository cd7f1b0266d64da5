"""Live filesystems for tests: loop devices, mounts that end thawed, writers whose progress shows."""

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.agent.daemon.disk.selection import SourceDisk, close_disks, open_disks
from app.agent.daemon.disk.standing import OnDisks, what_stands_on
from app.agent.daemon.freezer import kernel
from tests.daemon.disk_images import run, sparse

MIB = 1024 * 1024
MAKERS: dict[str, tuple[str, ...]] = {
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
CHECKERS: dict[str, tuple[str, ...]] = {
    "ext4": ("e2fsck", "-fn"),
    "xfs": ("xfs_repair", "-n"),
    "btrfs": ("btrfs", "check", "--readonly"),
}
PATIENCE = 60.0
_WRITER = """
import os, sys
number, out = 0, os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    os.write(out, b"%d\\n" % number)
    os.fsync(out)
    os.write(1, b".")
    number += 1
"""


def image(path: Path, kind: str, size: int = 320 * MIB) -> Path:
    """A file with a filesystem."""
    sparse(path, size)
    run(*MAKERS[kind], path)
    return path


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
    """A filesystem mounted; it is thawed before it is unmounted, so that a failed test leaves nothing."""
    at.mkdir(exist_ok=True)
    run("mount", *options, device, at)
    fd = os.open(at, os.O_RDONLY)
    try:
        yield at
    finally:
        kernel.thaw(fd)
        os.close(fd)
        _unmount(at)


def _unmount(at: Path) -> None:
    """Unmount, lazily if need be: a mount namespace that another program made meanwhile holds a copy of the
    mounts, and so keeps a loop device, and the filesystem below that, busy.
    """
    if subprocess.run(["umount", at], capture_output=True).returncode:
        run("umount", "--lazy", at)


@contextlib.contextmanager
def filesystem(directory: Path, kind: str, name: str = "disk") -> Iterator[tuple[Path, Path]]:
    """A new filesystem: its loop device and where it is mounted."""
    with (
        loop(image(directory / name, kind)) as device,
        mounted(device, directory / f"{name}.mnt") as root,
    ):
        yield device, root


@contextlib.contextmanager
def mounted_elsewhere(device: Path, at: Path) -> Iterator[subprocess.Popen[str]]:
    """The filesystem mounted in the mount namespace of another process only, which is yielded."""
    script = f"mount --make-rprivate / && mount {device} {at} && echo ready && exec sleep 600"
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        with contextlib.suppress(OSError):
            fd = os.open(f"/proc/{process.pid}/root{at}", os.O_RDONLY)
            kernel.thaw(fd)
            os.close(fd)
        process.kill()
        process.communicate()


@contextlib.contextmanager
def mounted_alone(device: Path, at: Path) -> Iterator[Path]:
    """The filesystem mounted where no other program's namespace can copy the mount: at the end it is
    unmounted for good, and its device can be looked at.
    """
    at.mkdir(exist_ok=True)
    with mounted_elsewhere(device, at) as process:
        yield Path(f"/proc/{process.pid}/root{at}")
    wait_for(lambda: is_free(device), f"{device} stays in use")


def is_free(device: Path) -> bool:
    """Whether nobody has mounted the device."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def disks(*paths: Path) -> Iterator[tuple[SourceDisk, ...]]:
    """Open source disks."""
    opened = open_disks(tuple(map(str, paths)))
    try:
        yield opened
    finally:
        close_disks(opened)


def standing_on(*paths: Path) -> OnDisks:
    """What stands on these disks now."""
    with disks(*paths) as opened:
        return what_stands_on(opened)


class Writer:
    """A process that appends to a file and syncs it, for ever."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self._out = process.stdout.fileno()
        os.set_blocking(self._out, False)

    def moves_within(self, seconds: float) -> bool:
        """Whether a write ends within this time."""
        return bool(select.select([self._out], [], [], seconds)[0]) and bool(os.read(self._out, 1 << 16))

    def goes_on(self) -> bool:
        """Whether it writes again and again, waiting long for it."""
        return all(self.moves_within(PATIENCE) for _ in range(3))

    def stands_still(self) -> bool:
        """Whether it is blocked: the report of the last write may come late, then nothing comes."""
        self.moves_within(0.3)
        return not self.moves_within(0.5)


@contextlib.contextmanager
def writer(path: Path) -> Iterator[Writer]:
    """A writer at work on a new file."""
    process = subprocess.Popen([sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE)
    try:
        yield Writer(process)
    finally:
        process.kill()
        _thaw_below(path)
        process.communicate()


def _thaw_below(path: Path) -> None:
    """A writer that waits for a frozen filesystem does not die before it thaws."""
    with contextlib.suppress(OSError):
        fd = os.open(path.parent, os.O_RDONLY)
        kernel.thaw(fd)
        os.close(fd)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait long for something."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def freeze(root: Path) -> None:
    """Freeze as a stranger would."""
    fd = os.open(root, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0xC0045877, 0)
    finally:
        os.close(fd)


def thaw(root: Path) -> None:
    """Thaw as a stranger would."""
    fd = os.open(root, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0xC0045878, 0)
    finally:
        os.close(fd)
