"""What is known of the source, and what the new machine wants of it."""

from dataclasses import dataclass

from app.contract.words import DiskBus, Firmware


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
class AddressChange:
    """An address of the source and the one that takes its place; both with or both without prefix length."""

    old: str
    new: str


@dataclass(frozen=True)
class Wishes:
    """The machine to be. Nothing but what it needs is changed."""

    firmware: Firmware = Firmware.BIOS
    bus: DiskBus = DiskBus.VIRTIO_BLK
    macs: tuple[str, ...] | None = None
    """Of its network cards; None: those of the source."""
    serial_console: bool = True
    """Whether the kernel and a login prompt are to be seen on the serial line."""
    addresses: tuple[AddressChange, ...] = ()
    """Empty: the guest keeps its addresses."""
