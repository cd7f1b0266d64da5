"""The kernel's devices on top of a disk: itself, its partitions, loop devices on any of these, and theirs.

Every member has the byte range of the disk that it stands for, so that one can tell which members overlap
a filesystem found on the disk. Loop devices are matched by the identity of what backs them (LOOP_GET_
STATUS64), or by path where this user may not open them; when in doubt one counts as a member.
"""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOOP_GET_STATUS64: Final = 0x4C05
_SYS: Final = Path("/sys")

IsBacking = Callable[[int, int, int], bool]
"""(device, inode, own device number) of a loop device's backing → whether that is the disk."""


@dataclass(frozen=True)
class Member:
    """A block device `number` (major:minor) that stands for bytes [start, start + size) of the disk."""

    name: str
    number: str
    start: int
    size: int
    has_holders: bool

    @property
    def node(self) -> Path:
        """Where its device file is expected."""
        return Path("/dev") / self.name.replace("!", "/")

    def refusal(self) -> str:
        """Why the kernel does not let it be opened exclusively: somebody may use it. Empty if it does."""
        try:
            os.close(os.open(self.node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return f"{self.name} is in exclusive use"
            if error.errno == errno.ENOMEDIUM:
                return ""
            return f"{self.name} cannot be opened to see whether it is in use: {error.strerror}"
        return ""


def members_of(status: os.stat_result) -> list[Member]:
    """The kernel's devices on the disk with this stat: a block device or a file."""
    if status.st_rdev:
        return _of_block(_directory(status.st_rdev), 0, set())
    own = (status.st_dev, status.st_ino)
    loops = _loops_on(lambda device, inode, _: (device, inode) == own)
    return [member for loop in loops for member in _of_loop(loop, 0, set())]


def members_on(name: str) -> list[Member]:
    """The kernel's devices on the whole device of this name, itself included; starts count from its start."""
    return _of_block((_SYS / "class/block" / name).resolve(), 0, set())


def holders_of(name: str) -> list[str]:
    """The names of the devices (device mapper, md, bcache) that are made of the device of this name."""
    return sorted(entry.name for entry in (_SYS / "class/block" / name / "holders").glob("*"))


@dataclass(frozen=True)
class FileLoop:
    """A loop device on a file: `device` and `inode` are the file's, where they can be told, else 0."""

    name: str
    device: int
    inode: int
    path: str


def file_loops() -> list[FileLoop]:
    """The loop devices that a file backs, no block device."""
    loops = []
    for backing in sorted((_SYS / "block").glob("loop*/loop/backing_file")):
        name = backing.parent.parent.name
        device, inode, own = _told_by_device(name) or _told_by_path(backing) or (0, 0, 0)
        if own == 0:
            with contextlib.suppress(FileNotFoundError):  # it was detached meanwhile: nothing lies on it
                loops.append(FileLoop(name, device, inode, backing.read_text().rstrip("\n")))
    return loops


def whole_disk(rdev: int) -> Path:
    """The /sys directory of the whole disk that the device `rdev` is, or is a partition of."""
    directory = _directory(rdev)
    return directory.parent if (directory / "partition").exists() else directory


def whole_number(rdev: int) -> int:
    """The number (st_rdev) of the whole disk that the device `rdev` is, or is a partition of."""
    major, _, minor = (whole_disk(rdev) / "dev").read_text().strip().partition(":")
    return os.makedev(int(major), int(minor))


def partition_start(rdev: int) -> int:
    """Where the device `rdev` begins on its whole disk, in bytes; 0 for the whole disk itself."""
    return _number(_directory(rdev) / "start") * 512 if is_partition(rdev) else 0


def is_partition(rdev: int) -> bool:
    """Whether the device `rdev` is a partition and no whole disk."""
    return (_directory(rdev) / "partition").exists()


def _directory(rdev: int) -> Path:
    return (_SYS / "dev/block" / device_number(rdev)).resolve()


def device_number(rdev: int) -> str:
    """major:minor, as /sys and the mount tables write it."""
    return f"{os.major(rdev)}:{os.minor(rdev)}"


def _of_block(directory: Path, shift: int, seen: set[str]) -> list[Member]:
    """The device of a /sys directory with all that stands on it; for a partition, its whole disk too."""
    if (directory / "partition").exists():
        shift -= _number(directory / "start") * 512
        directory = directory.parent
    if directory.name in seen:
        return []
    seen.add(directory.name)
    members: list[Member] = []
    for part in (directory, *sorted(directory.glob(f"{directory.name}*/"))):
        if (part / "dev").exists():
            members += _with_loops(_member(part, shift), part, seen)
    return members


def _with_loops(member: Member, directory: Path, seen: set[str]) -> Iterator[Member]:
    yield member
    for loop in _loops_on(
        lambda _, __, own: own != 0 and device_number(own) == member.number, directory.name
    ):
        yield from _of_loop(loop, member.start, seen)


def _of_loop(loop: Path, shift: int, seen: set[str]) -> list[Member]:
    try:
        offset = _number(loop / "loop/offset")
    except FileNotFoundError:
        return []  # it was detached meanwhile: it stands on nothing any more
    return _of_block(loop, shift + offset, seen)


def _member(directory: Path, shift: int) -> Member:
    start = _number(directory / "start") * 512 if (directory / "partition").exists() else 0
    return Member(
        name=directory.name,
        number=(directory / "dev").read_text().strip(),
        start=shift + start,
        size=_number(directory / "size") * 512,
        has_holders=any((directory / "holders").glob("*")),
    )


def _number(path: Path) -> int:
    return int(path.read_text().strip() or "0")


def _loops_on(is_backing: IsBacking, skipped: str = "") -> Iterator[Path]:
    """The /sys directories of the loop devices that the disk backs, or may back."""
    for backing in sorted((_SYS / "block").glob("loop*/loop/backing_file")):
        loop = backing.parent.parent
        if loop.name == skipped:
            continue
        identity = _told_by_device(loop.name) or _told_by_path(backing)
        if identity is None or is_backing(*identity):
            yield loop


def _told_by_device(name: str) -> tuple[int, int, int] | None:
    """(device, inode, own device number) of what backs a loop device; None where it cannot be opened."""
    try:
        fd = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        device, inode, rdevice = struct.unpack_from("QQQ", fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(232)))
    except OSError:
        return None
    finally:
        os.close(fd)
    return device, inode, rdevice


def _told_by_path(backing: Path) -> tuple[int, int, int] | None:
    """The same by the path that /sys names; None where it leads nowhere from here."""
    try:
        status = Path(backing.read_text().rstrip("\n")).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_rdev
