"""What is measured: the words of the bench and the options of a run."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
MB: Final = 1_000_000
BLOCK: Final = 4 * KIB

_UNITS: Final = {"KIB": KIB, "MIB": MIB, "GIB": GIB, "K": KIB, "M": MIB, "G": GIB, "B": 1, "": 1}


class Case(StrEnum):
    """What a peer is asked to do, in the order of an episode."""

    FULL = "full"
    """Copy the disk until it is committed, or until its copy is on stable storage."""
    EXPORT = "export"
    """From nothing until a raw image exists: the full copy, and what it takes beyond that."""
    UNCHANGED = "unchanged"
    """Copy again what has not changed."""
    CHANGED = "changed"
    """Copy again after 1 % of the data changed, in scattered blocks of 4 KiB."""


class LiveCase(StrEnum):
    """What is measured of a host that goes on running, in this order."""

    PREFLIGHT = "preflight"
    """Examine host and network on demand."""
    IDLE = "idle"
    """Follow a mounted filesystem that nobody writes to."""
    DELTA = "delta"
    """Bring over what changed in scattered blocks of files of a mounted filesystem."""
    STEADY = "steady"
    """Follow a host that writes all the time."""
    CATCHUP = "catchup"
    """Be up to date again after the line was cut."""
    SECOND = "second"
    """Copy a second, similar server."""


class LaunchCase(StrEnum):
    """What is measured on the way from a replica to a running machine, in this order."""

    MATERIALISE = "materialise"
    """Make a disk of a checkpoint, and bring it to another one."""
    LOGIN = "login"
    """Start a replica as a machine, until its login prompt is there."""
    CUTOVER = "cutover"
    """Move a host that writes all the time."""


class Link(StrEnum):
    """The line between the two ends."""

    LOOPBACK = "loopback"
    """As fast as the kernel moves bytes between two network namespaces."""
    GBIT = "gbit"
    """Shaped to 1 Gbit/s in both directions."""


class Data(StrEnum):
    """What the disk holds."""

    REALISTIC = "realistic"
    """ext4 with files of this machine, half full, and what deleted files leave behind."""
    RANDOM = "random"
    """Bytes that do not compress, and no filesystem."""
    ZEROS = "zeros"
    """Written zeros with 5 % of data in between, and no filesystem."""


LINE_BITS: Final = 1_000_000_000


@dataclass(frozen=True)
class Plan:
    """One call of the bench; `size` of the disk in bytes."""

    size: int
    runs: int
    cases: tuple[Case, ...]
    links: tuple[Link, ...]
    data: tuple[Data, ...]
    peers: tuple[str, ...]
    cache: Path
    output: Path | None


@dataclass(frozen=True)
class LivePlan:
    """The part of a call that is about a running host; `churns` in bytes a second, `cut` in seconds."""

    size: int
    runs: int
    cases: tuple[LiveCase, ...]
    link: Link
    peers: tuple[str, ...]
    cache: Path
    churns: tuple[int, ...]
    seconds: int
    cut: int


def parse_size(text: str) -> int:
    """Bytes of a size such as 256MiB or 10G, in whole MiB. Raises ValueError."""
    number = text.strip().upper().rstrip("BIKMG")
    unit = text.strip().upper()[len(number) :]
    size = int(float(number) * _UNITS[unit]) if unit in _UNITS else 0
    if size < 64 * MIB or size % MIB:
        raise ValueError(f"{text!r} is no size: at least 64MiB, in whole MiB, such as 256MiB or 10GiB")
    return size


def size_text(count: float) -> str:
    """Bytes for people."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count:.0f} B"
