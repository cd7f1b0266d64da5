"""The built-in target of this node, and where what was seen of its machines stays.

The driver is imported when a step needs it: a process of role api never does.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from app.contract.words import Accelerator, InstancePurpose
from app.kit.clock import Clock
from app.kit.settings import Acceleration, LaunchingSettings

if TYPE_CHECKING:
    from app.launch.qemu.driver import QemuTarget


def target_of(
    settings: LaunchingSettings, clock: Clock, purpose: InstancePurpose = InstancePurpose.TEST
) -> "QemuTarget":
    """The target as the settings have it."""
    from app.launch.qemu.driver import QemuSettings, QemuTarget

    chosen = settings.accelerator
    accelerator = None if chosen is Acceleration.AUTO else Accelerator(chosen.value)
    return QemuTarget(QemuSettings(settings.folder, settings.user, accelerator, purpose), clock)


def evidence_folder(settings: LaunchingSettings, test_id: str) -> Path:
    """Where a test's screenshots over time stay on the node; the API shows what is in the database."""
    return settings.folder / "evidence" / test_id
