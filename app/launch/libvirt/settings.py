"""Which libvirt, and where its machines lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from app.contract.words import Accelerator, InstancePurpose
from app.launch.errors import SettingsWrong
from app.launch.machine import require_name

_LOCAL: Final = ("qemu", "qemu+unix")
_MODES: Final = ("/system", "/session")


@dataclass(frozen=True)
class LibvirtSettings:
    """A libvirt on this node, a folder that its machines can read, and the network of cutover machines."""

    uri: str
    """`qemu:///system`, `qemu:///session`, or either with a socket: `qemu+unix:///system?socket=/run/…`."""
    pool_folder: Path
    """Of volumes and machines; absolute, on a local filesystem, open to the user that QEMU runs as."""
    network: str | None = None
    """libvirt's network for cutover machines."""
    bridge: str | None = None
    """The node's bridge for cutover machines, in place of a network."""
    accelerator: Accelerator | None = None
    """None: KVM where it really works."""
    appliance_user: str = "nobody"
    """Whom the appliance runs as that converts disks, where we are root."""
    purpose: InstancePurpose = InstancePurpose.TEST
    """The volumes of cutovers are advanced, so they are never those of a test of the same checkpoint."""

    def __post_init__(self) -> None:
        """Raises SettingsWrong for another host's libvirt, for a relative folder, for two networks."""
        parts = urlsplit(self.uri)
        if parts.scheme not in _LOCAL or parts.netloc or parts.path not in _MODES:
            raise SettingsWrong(
                f"{self.uri!r} is no QEMU of this node's libvirt",
                remedy="write qemu:///system, and run a node of go2cloud on the host of the machines",
            )
        if not self.pool_folder.is_absolute():
            raise SettingsWrong(f"the folder {self.pool_folder} is not an absolute path")
        if self.network is not None and self.bridge is not None:
            raise SettingsWrong("both a network and a bridge are named", remedy="name one of them")
        for name, what in ((self.network, "a network"), (self.bridge, "a bridge")):
            if name is not None:
                require_name(name, what)

    @property
    def is_system(self) -> bool:
        """Whether it is the libvirt of the node, which gives its machines' files to a user of their own."""
        return urlsplit(self.uri).path == "/system"

    @property
    def machines(self) -> Path:
        """The machines' folders."""
        return self.pool_folder / "machines"

    @property
    def volumes(self) -> Path:
        """The volumes."""
        return self.pool_folder / ("volumes" if self.purpose is InstancePurpose.TEST else "cutovers")

    @property
    def appliance(self) -> Path:
        """libguestfs' appliance."""
        return self.pool_folder / "appliance"

    @property
    def verdict(self) -> Path:
        """The verdict about KVM."""
        return self.pool_folder / "accelerator.json"
