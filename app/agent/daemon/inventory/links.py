"""Other names of block devices: the links below /dev/disk and /dev/mapper."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.wire.messages import DeviceLink, Inventory

_FOLDERS: Final = (
    "disk/by-uuid",
    "disk/by-partuuid",
    "disk/by-label",
    "disk/by-id",
    "disk/by-path",
    "mapper",
)
_MOST: Final = 4096
"""Links that are reported; a host with more has them for thousands of paths to the same disks."""


def collect_links(found: Inventory) -> Inventory:
    """Fill in links, by their names."""
    return replace(found, links=tuple(links_below(Path("/dev")))[:_MOST])


def links_below(devices: Path) -> Iterator[DeviceLink]:
    """The links of a folder like /dev that lead to a device in it."""
    for name in _FOLDERS:
        folder = devices / name
        for link in sorted(folder.iterdir()) if folder.is_dir() else ():
            if link.is_symlink():
                yield DeviceLink(str(link), os.path.realpath(link))
