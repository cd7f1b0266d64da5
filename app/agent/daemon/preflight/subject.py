"""What is looked at: the disks that are replicated, what stands on them, and the way to the service."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.finder import FreeMap, find_free, united
from app.agent.daemon.capture.free_space.unread import free_maps, swapped
from app.agent.daemon.disk.carriers import Carrier, Span
from app.agent.daemon.disk.family import members_of
from app.agent.daemon.disk.mounts import MountTables, read_all_mounts
from app.agent.daemon.disk.selection import SourceDisk, close_disks, discover, open_disks
from app.agent.daemon.disk.standing import OnDisks, Standing, what_stands_on
from app.agent.daemon.errors import DiskError
from app.agent.daemon.link.link import Link
from app.agent.daemon.preflight.stack import Layer, layer_of
from app.agent.daemon.tracking.choice import choose_tracking
from app.agent.daemon.tracking.disks import TrackedDisk
from app.wire.preflight import BLOCKER, Code, Finding


@dataclass(frozen=True)
class SubjectDisk:
    """An open disk with the block devices on it, what these are, and how its writes can be followed.

    `tracker` is the name of the method, empty for none, `tracker_note` says why it is that. `free` and `swap`
    are what a pass would leave out: free space of its filesystems, active swap.
    """

    source: SourceDisk
    carriers: tuple[Carrier, ...]
    layers: tuple[Layer, ...]
    tracker: str
    tracker_note: str
    free: tuple[FreeMap, ...]
    swap: Extents

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
        """Bytes that a first copy reads: without what a pass leaves out, and of a file without its holes."""
        reader = self.source.reader
        left = reader.size - Extents.of([*united(self.free), *self.swap]).total
        return min(left, reader.status().st_blocks * 512) if reader.is_file else left

    def devices_of(self, standing: Standing) -> tuple[Carrier, ...]:
        """The devices on this disk that a filesystem is mounted from."""
        return tuple(each for each in self.carriers if each.number in standing.devices)

    def starts_at(self, span: Span | None) -> FreeMap | None:
        """The filesystem at the start of a span; None where there is none, or the span is another disk's."""
        own = span.start if span and span.disk == self.key else None
        return next((each for each in self.free if each.place.start == own), None)


@dataclass(frozen=True)
class Subject:
    """Everything that the checks look at. `link` is None before the host is enrolled.

    With `try_freeze` filesystems are really frozen for a moment.
    """

    disks: tuple[SubjectDisk, ...]
    refused: tuple[Finding, ...]
    standing: OnDisks
    mounts: MountTables
    link: Link | None
    check_stop: Callable[[], None]
    try_freeze: bool = False

    @property
    def device_names(self) -> frozenset[str]:
        """The kernel's names of all devices on the disks."""
        return frozenset(carrier.name for carrier in self.standing.carriers)

    @cached_property
    def root(self) -> Standing | None:
        """The filesystem at / as this process sees it, if it is on the disks."""
        own = [line.number for line in self.mounts.tables[0].lines if line.target == "/"]
        found = (each for each in self.standing.filesystems if own and each.number == own[-1])
        return next(found, None)

    def mounted_on(self, disk: SubjectDisk) -> tuple[Standing, ...]:
        """The mounted filesystems of a disk, in whatever mount namespace."""
        return tuple(each for each in self.standing.filesystems if disk.key in each.disks)


@contextmanager
def opened(
    named: tuple[str, ...], link: Link | None, check_stop: Callable[[], None], *, try_freeze: bool = False
) -> Iterator[Subject]:
    """The disks, open as long as the block runs; one that cannot be opened becomes a finding."""
    good, refused = _openable(named)
    sources = open_disks(good) if good else ()
    try:
        standing = what_stands_on(sources)
        disks = tuple(_looked_at(source, standing) for source in sources)
        yield Subject(disks, refused, standing, read_all_mounts(), link, check_stop, try_freeze)
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


def _looked_at(source: SourceDisk, standing: OnDisks) -> SubjectDisk:
    """Where writes are not followed a copy cannot leave out what is free or swap now: it may be used before
    the copy comes to it."""
    key = source.disk.key
    carriers = tuple(each for each in standing.carriers if key in each.disks)
    tracker, note = _tracker(source)
    return SubjectDisk(
        source,
        carriers,
        _layers(source, carriers),
        tracker,
        note,
        free_maps(source, standing) if tracker else find_free(source.reader, source.layout.places),
        swapped(standing, key) if tracker else Extents(),
    )


def _tracker(source: SourceDisk) -> tuple[str, str]:
    """By which method writes to the disk are followed, and why; tried with a read of one block."""
    if source.reader.is_file:
        return "", "it is a file: the kernel reports no writes to it by itself"
    choice = choose_tracking(TrackedDisk.of(source))
    return choice.name, choice.why


def _layers(source: SourceDisk, carriers: tuple[Carrier, ...]) -> tuple[Layer, ...]:
    """What is made of the disk; a disk that is itself made of others, and its partitions, are none of it."""
    own = {member.number for member in members_of(source.reader.status())}
    found = (layer_of(carrier.name) for carrier in carriers if carrier.number not in own)
    return tuple(layer for layer in found if layer)
