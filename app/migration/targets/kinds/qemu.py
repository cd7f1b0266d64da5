"""`qemu`: machines on the node."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from app.contract.words import Accelerator, TargetMakes
from app.kit.settings import Acceleration
from app.migration.targets.kind import AbsolutePath, Opening, TargetKind, TargetSettings

if TYPE_CHECKING:
    from app.launch.target import Target


class QemuTargetSettings(TargetSettings):
    """Where machines live and how they run; what is null is as `LAUNCH` of the node has it."""

    folder: AbsolutePath | None = None
    user: str | None = Field(None, min_length=1, max_length=100)
    accelerator: Accelerator | None = None


def _open(settings: QemuTargetSettings, opening: Opening) -> "Target":
    from app.launch.qemu.driver import QemuSettings, QemuTarget

    launch = opening.launch
    chosen = None if launch.accelerator is Acceleration.AUTO else Accelerator(launch.accelerator.value)
    made = QemuSettings(
        Path(settings.folder) if settings.folder else opening.folder,
        settings.user or launch.user,
        settings.accelerator or chosen,
        opening.purpose,
    )
    return QemuTarget(made, opening.clock)


KIND = TargetKind("qemu", TargetMakes.MACHINES, QemuTargetSettings, _open)
