"""`device`: block devices or files that are written in place and kept up to date."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints, model_validator

from app.contract.resources.base import Input
from app.contract.words import TargetMakes
from app.migration.targets.kind import AbsolutePath, NodeName, Opening, TargetKind, TargetSettings

if TYPE_CHECKING:
    from app.launch.target import Target


class DiskDevice(Input):
    """Where a disk, by its id, goes: a device, best by a name below /dev/disk/by-id, or a file.

    With `overwrite` what somebody else left there is written over.
    """

    disk: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    path: AbsolutePath
    overwrite: bool = False


class DeviceTargetSettings(TargetSettings):
    """The node that has the devices, and the device of each disk."""

    node: NodeName
    devices: Annotated[tuple[DiskDevice, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _apart(self) -> "DeviceTargetSettings":
        for values in ([each.disk for each in self.devices], [each.path for each in self.devices]):
            if len(set(values)) < len(values):
                raise ValueError("each disk needs a device of its own")
        return self


def _open(settings: DeviceTargetSettings, opening: Opening) -> "Target":
    from app.launch.device.driver import DevicePlace, DeviceSettings, DeviceTarget

    places = tuple(DevicePlace(each.disk, Path(each.path), each.overwrite) for each in settings.devices)
    return DeviceTarget(DeviceSettings(places, opening.folder), opening.clock)


KIND = TargetKind("device", TargetMakes.DEVICES, DeviceTargetSettings, _open)
