"""From a target's row to its driver, in a process that may touch volumes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.contract.words import InstancePurpose
from app.kit.clock import Clock
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.kit.settings import LaunchingSettings
from app.migration.services import Services
from app.migration.targets.kind import Opening, TargetSettings
from app.migration.targets.kinds import KINDS, qemu
from app.migration.targets.settings import checked
from app.migration.targets.tables import TargetRow

if TYPE_CHECKING:
    from app.launch.target import Target

BUILT_IN = "qemu"
"""Id, name and kind of the target that each node has without configuration."""


def target_for(
    services: Services,
    row: TargetRow | None,
    purpose: InstancePurpose = InstancePurpose.TEST,
    changes: Mapping[str, Json] | None = None,
    *,
    is_publishing: bool = False,
) -> "Target":
    """The driver of a target, None for the built-in one; `changes` take the place of some settings.

    Volumes of cutovers lie apart from those of tests. Raises TargetInvalid where the settings do not fit the
    kind (any more).
    """
    launch = services.settings.launch
    if row is None:
        return built_in(launch, services.clock, purpose)
    settings = checked(row.kind, {**row.settings, **(changes or {})})
    opening = Opening(launch, services.clock, purpose, launch.folder / "targets" / row.id, is_publishing)
    return KINDS[row.kind].open(settings, opening)


def built_in(
    launch: LaunchingSettings, clock: Clock, purpose: InstancePurpose = InstancePurpose.TEST
) -> "Target":
    """The driver of the built-in target."""
    return qemu.KIND.open(qemu.QemuTargetSettings(), Opening(launch, clock, purpose, launch.folder))


def settings_of(row: TargetRow | None) -> TargetSettings:
    """The settings of a target as its kind reads them. Raises TargetInvalid."""
    return qemu.QemuTargetSettings() if row is None else checked(row.kind, row.settings)


def node_of(row: TargetRow | None) -> str | None:
    """The node on which alone the target works; None for any."""
    return settings_of(row).node


def limit_key(row: TargetRow | None) -> str:
    """What jobs that work with the target are limited by; every one of them names it."""
    return f"target:{BUILT_IN if row is None else row.id}"


async def row_of(uow: UnitOfWork, target_id: str) -> TargetRow | None:
    """The row of a target by the id that jobs note; None for the built-in one. Raises NoResultFound."""
    return None if target_id == BUILT_IN else await uow.session.get_one(TargetRow, target_id)
