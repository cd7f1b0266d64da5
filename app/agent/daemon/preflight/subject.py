"""What is looked at: the disks that are replicated, what stands on them, and the way to the service."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.agent.daemon.capture.free_space.finder import FreeMap, find_free
from app.agent.daemon.disk.family import device_number
from app.agent.daemon.disk.mounts import MountLine, own_mounts
from app.agent.daemon.disk.selection import SourceDisk, close_disks, discover, open_disks
from app.agent.daemon.errors import DiskError
from app.agent.daemon.link.link import Link
from app.agent.daemon.preflight.stack import Layer, stack_on
from app.wire.preflight import BLOCKER, Code, Finding

_BTRFS = Path("/sys/fs/btrfs")


@dataclass(frozen=True)
class SubjectDisk:
    """An open disk with all block devices on it and the free space of its filesystems."""

    source: SourceDisk
    layers: tuple[Layer, ...]
    free: tuple[FreeMap, ...]

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return self.source.disk.key

    @property
    def path(self) -> str:
        """Where it is."""
        return self.source.disk.path

    @property
    def to_read(self) -> int:
        """Bytes that a first copy reads: without what is free, and of a file without its holes."""
        reader = self.source.reader
        left = reader.size - sum(each.free.total for each in self.free)
        return min(left, reader.status().st_blocks * 512) if reader.is_file else left


@dataclass(frozen=True)
class MountedOn:
    """A filesystem that is mounted from devices (`layers`) of `disk`."""

    line: MountLine
    disk: SubjectDisk
    layers: tuple[Layer, ...]

    @property
    def start(self) -> int | None:
        """Where on the disk it starts; None where something stands in between."""
        return self.layers[0].start


@dataclass(frozen=True)
class Subject:
    """Everything that the checks look at. `link` is None before the host is enrolled."""

    disks: tuple[SubjectDisk, ...]
    refused: tuple[Finding, ...]
    mounted: tuple[MountedOn, ...]
    mounts: tuple[MountLine, ...]
    link: Link | None
    check_stop: Callable[[], None]

    @property
    def device_names(self) -> frozenset[str]:
        """The kernel's names of all devices on the disks."""
        return frozenset(layer.name for disk in self.disks for layer in disk.layers)


@contextmanager
def opened(named: tuple[str, ...], link: Link | None, check_stop: Callable[[], None]) -> Iterator[Subject]:
    """The disks, open as long as the block runs; one that cannot be opened becomes a finding."""
    good, refused = _openable(named)
    sources = open_disks(good) if good else ()
    try:
        disks = tuple(_looked_at(source) for source in sources)
        mounts = tuple(own_mounts())
        yield Subject(disks, refused, tuple(_mounted_on(disks, mounts)), mounts, link, check_stop)
    finally:
        close_disks(sources)


def _openable(named: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    good: list[str] = []
    refused: list[Finding] = []
    for path in dict.fromkeys(named or map(str, discover())):
        try:
            close_disks(open_disks((path,)))
            good.append(path)
        except DiskError as error:
            refused.append(
                Finding(Code.DISK_UNREADABLE, BLOCKER, path, str(error.args[0])[:1000], error.remedy)
            )
    return tuple(good), tuple(refused)


def _looked_at(source: SourceDisk) -> SubjectDisk:
    layers = stack_on(source.reader.status(), source.reader.size)
    return SubjectDisk(source, layers, find_free(source.reader, source.layout.places))


def _mounted_on(disks: tuple[SubjectDisk, ...], mounts: tuple[MountLine, ...]) -> Iterator[MountedOn]:
    """Each filesystem once for every disk that it lies on; bind mounts show it more often."""
    seen: set[tuple[str, str]] = set()
    for line in mounts:
        numbers = _numbers(line)
        for disk in disks:
            layers = tuple(layer for layer in disk.layers if layer.number in numbers)
            if layers and (disk.key, layers[0].number) not in seen:
                seen.add((disk.key, layers[0].number))
                yield MountedOn(line, disk, layers)


def _numbers(line: MountLine) -> frozenset[str]:
    """The devices below a mount. Filesystems of several devices, btrfs, have a number of none of them."""
    numbers = {line.number}
    try:
        status = Path(line.source).stat()
    except OSError:
        return frozenset(numbers)  # the source is no path: a name, or it is in another namespace
    if status.st_rdev:
        own = device_number(status.st_rdev)
        numbers |= {own} | (_btrfs_devices(own) if line.kind == "btrfs" else set())
    return frozenset(numbers)


def _btrfs_devices(number: str) -> set[str]:
    """All devices of the btrfs that has the device with this number; empty for none that is mounted."""
    for folder in _BTRFS.glob("*/devices"):
        found = {(entry / "dev").read_text().strip() for entry in folder.iterdir()}
        if number in found:
            return found
    return set()
