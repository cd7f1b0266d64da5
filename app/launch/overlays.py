"""What machines have of a volume: an overlay that is written to in its stead, and its serial number."""

import subprocess
from pathlib import Path
from typing import Final

from app.launch.durable import sync
from app.launch.errors import ToolFailed
from app.launch.machine import Volume
from app.launch.programs import QEMU_IMG, require_program

_SERIAL_LENGTH: Final = 20
"""virtio-blk shows no more of a serial number."""


def make_overlay(overlay: Path, volume: Volume) -> None:
    """Make an empty qcow2 on top of a volume. Durable. Raises ToolMissing, ToolFailed."""
    command = [
        *(require_program(QEMU_IMG), "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on"),
        *("-F", "raw", "-b", str(volume.path.resolve()), str(overlay), str(volume.size)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolFailed(f"the overlay {overlay} cannot be made: {done.stderr.strip()}")
    sync(overlay)


def disk_serial(volume: Volume) -> str:
    """What the guest sees as the disk's serial number: the end of its id, letters and digits."""
    return "".join(letter for letter in volume.disk if letter.isalnum())[-_SERIAL_LENGTH:] or "disk"
