"""Whether a machine of this size, and a plan's volumes, have a place on this node."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.contract.words import DiskBus, FindingSeverity
from app.launch.machine import DiskContent, MachineSpec
from app.launch.target import TargetFinding

MIB: Final = 1024 * 1024
MOST_SATA: Final = 6


def machine_findings(machine: MachineSpec, disks: tuple[DiskContent, ...]) -> Iterator[TargetFinding]:
    """Blockers about the machine's size and places."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    if machine.memory_mib > memory:
        text = f"the machine wants {machine.memory_mib} MiB of memory and the node has {memory}"
        yield TargetFinding(FindingSeverity.BLOCKER, "MEMORY_SHORT", text, "give it less for the test")
    if machine.bus is DiskBus.SATA and len(disks) > MOST_SATA:
        text = f"the bus sata has places for {MOST_SATA} disks, not for {len(disks)}"
        yield TargetFinding(FindingSeverity.BLOCKER, "DISKS_TOO_MANY", text, "take virtio-scsi")


def room_findings(needed: int, free: int, folder: Path) -> Iterator[TargetFinding]:
    """A warning where the volumes may not fit; the bytes that they need are an upper bound."""
    if needed > free:
        text = f"the volumes may need {needed} bytes and {folder} has {free}"
        yield TargetFinding(FindingSeverity.WARNING, "FOLDER_SMALL", text, "free space, or move it")
