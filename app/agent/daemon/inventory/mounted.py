"""Mounted filesystems as this process sees them; pseudo filesystems are left out."""

from dataclasses import replace
from pathlib import Path

from app.agent.daemon.disk.mounts import own_mounts
from app.wire.messages import Inventory, Mount


def collect_mounts(found: Inventory) -> Inventory:
    """Fill in mounts."""
    virtual = _virtual_kinds(Path("/proc/filesystems").read_text())
    mounts = tuple(
        Mount(line.source, line.target, line.kind, line.options)
        for line in own_mounts()
        if line.kind not in virtual
    )
    return replace(found, mounts=mounts)


def _virtual_kinds(text: str) -> frozenset[str]:
    """The filesystems that need no device, network filesystems aside."""
    kinds = {line.split()[1] for line in text.splitlines() if line.startswith("nodev")}
    return frozenset(kinds - {"nfs", "nfs4", "cifs", "smb3", "ceph", "btrfs", "zfs", "overlay"})
