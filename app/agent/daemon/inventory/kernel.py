"""Kernel release, architecture and the id of this boot."""

import os
from dataclasses import replace
from pathlib import Path

from app.wire.messages import Inventory


def collect_kernel(found: Inventory) -> Inventory:
    """Fill in kernel, architecture and boot_id."""
    names = os.uname()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return replace(found, kernel=names.release, architecture=names.machine, boot_id=boot_id)
