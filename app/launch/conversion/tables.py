"""fstab and crypttab with names that do not follow the hardware."""

import re
from typing import Final

from app.launch.conversion.devices import UNSTABLE, Devices, stable

_FIELDS: Final = re.compile(r"(\s*)(\S+)(\s+)(\S+)(\s+)(\S+)(\s+)(\S+)(.*)", re.DOTALL)
_SECRETS: Final = re.compile(r"(\s*\S+\s+)(\S+)(.*)", re.DOTALL)
_NEEDED: Final = frozenset(("/", "/usr", "/boot", "/boot/efi", "/var", "/etc"))
"""Without these a system is not up: an error there is to be seen."""
_ON_DISK: Final = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "reiserfs", "jfs", "swap", "auto")
)
_REMOVABLE: Final = ("/dev/sr", "/dev/fd", "/dev/cdrom")


def fstab(text: str, devices: Devices) -> str:
    """The table by UUIDs; what is not on these disks and not needed gets `nofail`."""
    return "".join(_entry(line, devices) for line in text.splitlines(keepends=True))


def _entry(line: str, devices: Devices) -> str:
    found = _FIELDS.fullmatch(line)
    if found is None or found[2].startswith("#"):
        return line
    before, name, gap, target, gap2, kind, gap3, options, rest = found.groups()
    meant = devices.find(name) if UNSTABLE.fullmatch(name) else None
    if meant is not None:
        name = stable(meant) or name
    elif _may_fail(name, target, kind, options) and not devices.is_here(name):
        options += ",nofail"
    return "".join((before, name, gap, target, gap2, kind, gap3, options, rest))


def _may_fail(name: str, target: str, kind: str, options: str) -> bool:
    chosen = set(options.split(","))
    return (
        kind in _ON_DISK
        and target not in _NEEDED
        and not name.startswith(_REMOVABLE)
        and not chosen & {"nofail", "noauto"}
    )


def missing(text: str, devices: Devices) -> list[str]:
    """The entries whose device is not on these disks: 'NAME at TARGET'."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4 and not fields[0].startswith("#") and fields[2] in _ON_DISK:
            is_removable = fields[0].startswith(_REMOVABLE)
            if not is_removable and not devices.is_here(fields[0]):
                found.append(f"{fields[0]} at {fields[1]}")
    return found


def crypttab(text: str, devices: Devices) -> str:
    """The second field by UUID."""
    return "".join(_secret(line, devices) for line in text.splitlines(keepends=True))


def _secret(line: str, devices: Devices) -> str:
    found = _SECRETS.fullmatch(line)
    if found is None or line.lstrip().startswith("#"):
        return line
    meant = devices.find(found[2]) if UNSTABLE.fullmatch(found[2]) else None
    return line if meant is None else f"{found[1]}{stable(meant) or found[2]}{found[3]}"
