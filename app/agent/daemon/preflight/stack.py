"""What is made of a disk's bytes: LVM, md, opened encryption and the like, as an operator calls it.

`Carriers` finds the block devices; this tells from /sys what each is, and what it is made of: its slaves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

SYS: Final = Path("/sys")


class Kind(StrEnum):
    """What a device is to the ones below it."""

    LVM = "LVM volume"
    CRYPT = "opened dm-crypt device"
    MULTIPATH = "multipath map"
    DM = "device mapper device"
    MD = "md array"
    BCACHE = "bcache device"
    DRBD = "DRBD device"


@dataclass(frozen=True)
class Layer:
    """A block device that is made of others, `below`, by the kernel's names.

    `label` is the name that an operator knows it by.
    """

    name: str
    kind: Kind
    label: str
    below: tuple[str, ...]

    def __str__(self) -> str:
        """For a report."""
        return f"{self.kind} {self.label}" + (f" ({self.name})" if self.label != self.name else "")


def layer_of(name: str, sys: Path = SYS) -> Layer | None:
    """The device of this name, or what it is a partition of; None where that is made of no other device."""
    directory = (sys / "class/block" / name).resolve()
    is_partition = (directory / "partition").exists()
    whole = directory.parent if is_partition else directory
    below = _names(whole / "slaves")
    if not below:
        return None
    kind, label = kind_of(whole)
    return Layer(name, kind, name if is_partition else label, below)


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


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir())) if folder.is_dir() else ()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
