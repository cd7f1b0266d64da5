"""`libvirt`: machines as domains of the libvirt on the node."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints, model_validator

from app.contract.words import Accelerator, TargetMakes
from app.migration.targets.kind import AbsolutePath, NodeName, Opening, TargetKind, TargetSettings

if TYPE_CHECKING:
    from app.launch.target import Target

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class LibvirtTargetSettings(TargetSettings):
    """The node with the libvirt, the folder of its machines, and what cutover machines are connected to."""

    node: NodeName
    uri: Annotated[str, Field(pattern=r"^qemu(\+unix)?:///(system|session)(\?socket=/[^\s&]+)?$")] = (
        "qemu:///system"
    )
    folder: AbsolutePath
    network: Name | None = None
    bridge: Name | None = None
    accelerator: Accelerator | None = None

    @model_validator(mode="after")
    def _one(self) -> "LibvirtTargetSettings":
        if self.network is not None and self.bridge is not None:
            raise ValueError("name a network or a bridge, not both")
        return self


def _open(settings: LibvirtTargetSettings, opening: Opening) -> "Target":
    from app.launch.libvirt.driver import LibvirtTarget
    from app.launch.libvirt.settings import LibvirtSettings

    made = LibvirtSettings(
        settings.uri,
        Path(settings.folder),
        settings.network,
        settings.bridge,
        settings.accelerator,
        opening.launch.user,
        opening.purpose,
    )
    return LibvirtTarget(made, opening.clock)


KIND = TargetKind("libvirt", TargetMakes.MACHINES, LibvirtTargetSettings, _open)
