"""What is known of the source, and what the new machine wants of it."""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

from app.contract.words import DiskBus, Firmware
from app.launch.errors import SettingsWrong
from app.launch.machine import require_name

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
"""Linux' names have at most 15 bytes."""
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class SourceDevice:
    """A block device as the running source named it; `links` are its other names below /dev."""

    path: str
    uuid: str = ""
    partuuid: str = ""
    kind: str = ""
    """Of its filesystem: ext4, swap, crypto_LUKS and so on."""
    links: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All its names."""
        return (self.path, *self.links)


@dataclass(frozen=True)
class SourceMount:
    """A filesystem as the source had it mounted; `subvolume` is that of btrfs."""

    source: str
    target: str
    kind: str = ""
    subvolume: str = ""


@dataclass(frozen=True)
class SourceNic:
    """A network card: its name on the source, and its MAC address, which the target's card keeps."""

    name: str
    mac: str


@dataclass(frozen=True)
class SourceFacts:
    """What the agent reported while the source ran. All of it is optional: the disks are read as well."""

    disks: tuple[str, ...] = ()
    """Paths of the disks on the source, in the order of the overlays."""
    devices: tuple[SourceDevice, ...] = ()
    mounts: tuple[SourceMount, ...] = ()
    nics: tuple[SourceNic, ...] = ()
    efi_loaders: tuple[str, ...] = ()
    """What the firmware was told to start, the first choice first: \\EFI\\debian\\shimx64.efi."""

    def device(self, name: str) -> SourceDevice | None:
        """The device that the source called so."""
        return next((device for device in self.devices if name in device.names), None)

    def mounted_at(self, target: str) -> SourceMount | None:
        """What the source had mounted there."""
        return next((mount for mount in self.mounts if mount.target == target), None)


@dataclass(frozen=True)
class CardAddressing:
    """Which addresses a network card of the source gets in place of all that it has.

    Without `addresses` it asks DHCP. All of them are checked, since they are written into files of the guest.
    """

    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    """With prefix length, of IPv4 and IPv6."""
    gateways: tuple[str, ...] = ()
    """One for each family at most."""
    dns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises SettingsWrong for what is no name of a card, no MAC address, or no address."""
        if not _NAME.fullmatch(self.name) or not _MAC.fullmatch(self.mac):
            raise SettingsWrong(
                f"a network card {self.name!r} with the MAC address {self.mac!r} cannot be given addresses",
                remedy="take them out of the launch settings: go2cloud server launch-settings --reset",
            )
        try:
            written = (
                *(str(ipaddress.ip_interface(each)) for each in self.addresses),
                *(str(ipaddress.ip_address(each)) for each in (*self.gateways, *self.dns)),
            )
        except ValueError as error:
            raise SettingsWrong(f"network card {self.name}: {error}") from error
        if written != (*self.addresses, *self.gateways, *self.dns) or "%" in "".join(written):
            raise SettingsWrong(f"network card {self.name}: an address is not written in its plain form")

    @property
    def is_static(self) -> bool:
        """Whether it has given addresses."""
        return bool(self.addresses)

    def of_family(self, version: int) -> "Family":
        """What it gets of IPv4 (4) or of IPv6 (6)."""
        gateways = [each for each in self.gateways if ipaddress.ip_address(each).version == version]
        return Family(
            tuple(each for each in self.addresses if ipaddress.ip_interface(each).version == version),
            gateways[0] if gateways else "",
            tuple(each for each in self.dns if ipaddress.ip_address(each).version == version),
        )


@dataclass(frozen=True)
class Family:
    """Addresses of one version of IP; `gateway` is empty where there is none."""

    addresses: tuple[str, ...]
    gateway: str
    dns: tuple[str, ...]


@dataclass(frozen=True)
class CloudInitWish:
    """What becomes of the guest's cloud-init.

    Without user-data it is switched off. With it, it runs once as the instance of that id: the same id does
    not make it run again.
    """

    instance: str = ""
    user_data: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raises SettingsWrong for an id that is no name."""
        if self.user_data is not None:
            require_name(self.instance, "an instance")


@dataclass(frozen=True)
class Wishes:
    """The machine to be. Nothing but what it needs is changed."""

    firmware: Firmware = Firmware.BIOS
    bus: DiskBus = DiskBus.VIRTIO_BLK
    macs: tuple[str, ...] | None = None
    """Of its network cards; None: those of the source."""
    serial_console: bool = True
    """Whether the kernel and a login prompt are to be seen on the serial line."""
    addressing: tuple[CardAddressing, ...] = ()
    """Cards that are not named keep their addresses."""
    cloud_init: CloudInitWish | None = None
    """None: it stays as the source has it."""
