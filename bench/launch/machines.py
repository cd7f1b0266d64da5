"""Machines that the product made belong to nobody's process: they are ended here, whatever happened."""

import asyncio
from pathlib import Path

from app.launch.qemu.driver import QemuSettings, QemuTarget


def end_machines(folder: Path) -> None:
    """End all machines of the target `qemu` whose folder this is, or was."""
    target = QemuTarget(QemuSettings(folder))
    for each in sorted(target.settings.runs.glob("*")):
        if each.is_dir():
            asyncio.run(target.terminate(each.name))
