"""The block devices that stand on a disk, upwards: partitions, loop devices, and what is made of these.

`family` knows the devices that are plain bytes of a disk; from there this follows the holders in /sys: device
mapper, md, bcache, DRBD. What a device is made of in turn are its slaves.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.family import Member, members_of

SYS: Final = Path("/sys")


class Kind(StrEnum):
    """What a device is to the one below it."""

    PLAIN = "plain"
    """The disk itself, a partition or a loop device: its bytes are the disk's."""
    LVM = "LVM volume"
    CRYPT = "opened dm-crypt device"
    MULTIPATH = "multipath map"
    DM = "device mapper device"
    MD = "md array"
    BCACHE = "bcache device"
    DRBD = "DRBD device"


@dataclass(frozen=True)
class Layer:
    """A block device on a disk; `start` is where its bytes lie there, None above anything but PLAIN.

    `label` is the name that an operator knows it by, `below` are the kernel's names of what it is made of.
    """

    name: str
    number: str
    kind: Kind
    label: str
    start: int | None = None
    below: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For a report."""
        return f"{self.kind} {self.label}" + (f" ({self.name})" if self.label != self.name else "")


def stack_on(status: os.stat_result, size: int, sys: Path = SYS) -> tuple[Layer, ...]:
    """All devices on the disk with this stat and size. A partition that is the disk has no neighbours."""
    members = [each for each in members_of(status) if each.start < size and each.start + each.size > 0]
    return tuple(_upwards([_plain(each) for each in members], sys))


def _plain(member: Member) -> Layer:
    return Layer(member.name, member.number, Kind.PLAIN, member.name, member.start)


def _upwards(layers: list[Layer], sys: Path) -> Iterator[Layer]:
    seen: set[str] = set()
    waiting = list(layers)
    while waiting:
        layer = waiting.pop(0)
        if layer.name in seen:
            continue
        seen.add(layer.name)
        yield layer
        for holder in _names(sys / "class/block" / layer.name / "holders"):
            waiting += holding(holder, sys)


def holding(name: str, sys: Path = SYS) -> list[Layer]:
    """The device of this name, which stands on others, and its partitions."""
    directory = (sys / "class/block" / name).resolve()
    kind, label = kind_of(directory)
    below = tuple(_names(directory / "slaves"))
    whole = [Layer(name, _text(directory / "dev"), kind, label, below=below)]
    parts = [part for part in sorted(directory.glob(f"{name}*/")) if (part / "partition").exists()]
    return whole + [Layer(part.name, _text(part / "dev"), kind, part.name, below=below) for part in parts]


def kind_of(directory: Path) -> tuple[Kind, str]:
    """What the device with this /sys directory is, and its label.

    The UUID of a device mapper device begins with the name of who made it: LVM-, CRYPT-, mpath-; that of a
    partition of one with `part<n>-`.
    """
    name = directory.name
    if (directory / "dm").is_dir():
        uuid, label = _text(directory / "dm/uuid"), _text(directory / "dm/name") or name
        maker = uuid.partition("-")[2] if uuid.startswith("part") else uuid
        kinds = {"LVM-": Kind.LVM, "CRYPT-": Kind.CRYPT, "mpath-": Kind.MULTIPATH}
        return next((kind for prefix, kind in kinds.items() if maker.startswith(prefix)), Kind.DM), label
    if (directory / "md").is_dir():
        return Kind.MD, " ".join(part for part in (name, _text(directory / "md/level")) if part)
    for prefix, kind in (("bcache", Kind.BCACHE), ("drbd", Kind.DRBD)):
        if name.startswith(prefix):
            return kind, name
    return Kind.DM, name


def foreign(layers: Iterable[Layer], replicated: frozenset[str]) -> dict[Layer, tuple[str, ...]]:
    """The layers that need devices which are not on the replicated disks, and the names of these.

    One path of a multipath map is enough: all show the same disk.
    """
    found = {
        layer: tuple(name for name in layer.below if name not in replicated)
        for layer in layers
        if layer.kind is not Kind.MULTIPATH
    }
    return {layer: missing for layer, missing in found.items() if missing}


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
