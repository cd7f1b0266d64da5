"""Which block devices a mounted filesystem stands on.

Most filesystems carry the number of their device. btrfs has one of its own (major 0) and may span several
devices: its id is asked of the mount (BTRFS_IOC_FS_INFO, linux/btrfs.h), and /sys/fs/btrfs lists the
devices of that id. For others without a device number the source that was mounted is looked at.
"""

import contextlib
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Final
from uuid import UUID

from app.agent.daemon.disk.family import device_number
from app.agent.daemon.disk.mounts import MountLine, MountTable, open_mount

_BTRFS_FS_INFO: Final = 0x8400941F
_BTRFS_FS_INFO_BYTES: Final = 1024
_SYS_BTRFS: Final = Path("/sys/fs/btrfs")


def devices_of(table: MountTable, line: MountLine) -> frozenset[str]:
    """major:minor of the block devices below a mount; none for a filesystem without a device."""
    if not line.number.startswith("0:"):
        return frozenset({line.number})
    if line.kind == "btrfs":
        return _btrfs_devices(table, line) or _source(table, line)
    return _source(table, line) if line.source.startswith("/") else frozenset()


def _btrfs_devices(table: MountTable, line: MountLine) -> frozenset[str]:
    try:
        fd = open_mount(table.reach(line.target), line.mount_id)
    except OSError:
        return frozenset()
    try:
        answer = fcntl.ioctl(fd, _BTRFS_FS_INFO, bytes(_BTRFS_FS_INFO_BYTES))
        (fsid,) = struct.unpack_from("16s", answer, 16)
        listed = (_SYS_BTRFS / str(UUID(bytes=fsid)) / "devices").glob("*/dev")
        return frozenset(entry.read_text().strip() for entry in listed)
    except OSError:
        return frozenset()
    finally:
        os.close(fd)


def _source(table: MountTable, line: MountLine) -> frozenset[str]:
    """The block device at the path that was mounted, as its mounter saw it or as this process does."""
    for path in (table.reach(line.source), Path(line.source)):
        with contextlib.suppress(OSError, ValueError):
            status = path.stat()
            if stat.S_ISBLK(status.st_mode):
                return frozenset({device_number(status.st_rdev)})
    return frozenset()
