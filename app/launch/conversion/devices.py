"""Which filesystem a device's name meant on the source; on new hardware it means another one, or none."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from app.launch.conversion.facts import SourceFacts
from app.launch.conversion.inspection import Filesystem

UNSTABLE: Final = re.compile(
    r"/dev/(?:[hsv]d[a-z]+\d*|xvd[a-z]+\d*|nvme\d+n\d+(?:p\d+)?|mmcblk\d+(?:p\d+)?|cciss/c\d+d\d+(?:p\d+)?"
    r"|disk/by-(?:path|id)/[^\s\"',]+)"
)
"""Names that follow the hardware. Labels, UUIDs, logical volumes and RAID arrays do not."""
_PARTITION: Final = re.compile(r"/dev/([a-z])d([a-z]+)(\d*)")
_LETTERS: Final = ("sd", "hd", "vd", "xvd")


@dataclass(frozen=True)
class Devices:
    """The names of the source's devices, and the filesystems that are really there."""

    facts: SourceFacts
    filesystems: tuple[Filesystem, ...]

    def find(self, name: str) -> Filesystem | None:
        """The filesystem that a name meant, if it is on these disks.

        The agent's word counts; where it gave none at all, the disk's place among the source's disks does.
        """
        known = self.facts.device(name)
        if known is not None:
            return self._with_identity(known.uuid, known.partuuid)
        if self.facts.devices or not name.startswith("/dev/"):
            return None
        places = {place: found for found in self.filesystems for place in self._places(found.device)}
        return places.get(name)

    def _with_identity(self, uuid: str, partuuid: str) -> Filesystem | None:
        for found in self.filesystems:
            if (uuid and found.uuid == uuid) or (
                partuuid and found.partuuid.casefold() == partuuid.casefold()
            ):
                return found
        return None

    def _places(self, device: str) -> Iterator[str]:
        """What a source without an agent's word may have called the appliance's /dev/sda1."""
        parts = _PARTITION.fullmatch(device)
        if parts is None:
            return
        letter, number = parts[2], parts[3]
        at = ord(letter[-1]) - ord("a") if len(letter) == 1 else -1
        if 0 <= at < len(self.facts.disks):
            disk = self.facts.disks[at]
            yield f"{disk}p{number}" if disk[-1:].isdigit() and number else f"{disk}{number}"
        elif not self.facts.disks:
            yield from (f"/dev/{kind}{letter}{number}" for kind in _LETTERS)
            yield f"/dev/nvme{at}n1" + (f"p{number}" if number else "")

    def is_here(self, reference: str) -> bool:
        """Whether what a table names (UUID=…, LABEL=…, a device) is on these disks."""
        kind, _, value = reference.partition("=")
        value = value.strip("\"'")
        if value and kind in ("UUID", "PARTUUID", "LABEL"):
            return any(value.casefold() in _values(found, kind) for found in self.filesystems)
        if value:
            return True
        for prefix, attribute in (("/dev/disk/by-uuid/", "UUID"), ("/dev/disk/by-label/", "LABEL")):
            if reference.startswith(prefix):
                return self.is_here(f"{attribute}={reference.removeprefix(prefix)}")
        return not UNSTABLE.fullmatch(reference) or self.find(reference) is not None


def _values(found: Filesystem, kind: str) -> Iterable[str]:
    values = {"UUID": found.uuid, "PARTUUID": found.partuuid, "LABEL": found.label}
    return (values[kind].casefold(),)


def stable(found: Filesystem, *, without_initrd: bool = False) -> str | None:
    """How a table or a command line names it: a kernel without an initrd knows no UUIDs of filesystems."""
    if without_initrd:
        return f"PARTUUID={found.partuuid}" if found.partuuid else None
    if found.uuid:
        return f"UUID={found.uuid}"
    return f"PARTUUID={found.partuuid}" if found.partuuid else None
