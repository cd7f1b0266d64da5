"""What is to be launched, and what was: values that travel between the lifecycle and the targets' drivers."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, DiskBus, Firmware, InstancePurpose, InstanceState
from app.launch.errors import SettingsWrong
from app.wire.chunks import CHUNK_SIZE
from app.wire.messages import Range

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MOST_PORT: Final = 65535


def require_name(name: str, what: str) -> str:
    """`name`, which is safe as a file's name. Raises SettingsWrong."""
    if not _NAME.fullmatch(name):
        raise SettingsWrong(f"{name!r} cannot name {what}", remedy="use letters, digits, '.', '_' and '-'")
    return name


@dataclass(frozen=True)
class DiskContent:
    """A disk as a checkpoint has it."""

    checkpoint: str
    disk: str
    size: int
    """Bytes."""
    root: bytes
    """The root hash, 32 bytes."""
    masked: tuple[Range, ...] = ()
    """Ranges to be read as zeros in the comparison of roots."""
    sector_size: int = 512
    """Logical, in bytes."""
    chunk_size: int = CHUNK_SIZE

    def __post_init__(self) -> None:
        """Raises SettingsWrong for a name that is no file name."""
        require_name(self.checkpoint, "a checkpoint")
        require_name(self.disk, "a disk")


@dataclass(frozen=True)
class Volume:
    """A disk materialised at a target: a raw file whose root was recomputed and is `root`."""

    checkpoint: str
    disk: str
    path: Path
    size: int
    root: str
    """Hexadecimal."""
    sector_size: int = 512


LEAST_ADDRESSES: Final = 8
"""Of an isolated network: the guest, the host and the name server have one each, and two are no host's."""


@dataclass(frozen=True)
class Nic:
    """A network card.

    `address` is what the guest has configured for itself ("192.168.7.20/24", IPv4): the isolated network
    takes that range and the ports are forwarded there. Without it the guest is expected to ask DHCP.
    """

    mac: str
    address: str | None = None
    gateway: str | None = None

    def __post_init__(self) -> None:
        """Raises SettingsWrong for what is no MAC or no IPv4 address, or for a network without room."""
        if not _MAC.fullmatch(self.mac) or int(self.mac[:2], 16) & 1:
            raise SettingsWrong(
                f"{self.mac!r} is no MAC address of a network card", remedy="write it as 52:54:00:12:34:56"
            )
        try:
            network = ipaddress.IPv4Interface(self.address).network if self.address is not None else None
            if self.gateway is not None:
                ipaddress.IPv4Address(self.gateway)
        except ValueError as error:
            raise SettingsWrong(f"network card {self.mac}: {error}") from error
        if network is not None and network.num_addresses < LEAST_ADDRESSES:
            raise SettingsWrong(
                f"network card {self.mac}: {network} is too small for the isolated network",
                remedy="leave the address out and let the guest ask DHCP, or check without ports",
            )


@dataclass(frozen=True)
class MachineSpec:
    """The machine around the disks."""

    firmware: Firmware = Firmware.BIOS
    cpus: int = 1
    memory_mib: int = 1024
    nics: tuple[Nic, ...] = (Nic("52:54:00:12:34:56"),)
    ports: tuple[int, ...] = ()
    """TCP ports of the guest that are forwarded to 127.0.0.1."""
    bus: DiskBus = DiskBus.VIRTIO_BLK

    def __post_init__(self) -> None:
        """Raises SettingsWrong for sizes and ports that no machine has."""
        if not 1 <= self.cpus <= 255 or self.memory_mib < 64:
            raise SettingsWrong(
                f"a machine of {self.cpus} processors and {self.memory_mib} MiB cannot be made"
            )
        if not all(0 < port <= MOST_PORT for port in self.ports) or len(set(self.ports)) < len(self.ports):
            raise SettingsWrong(f"the ports {self.ports} are not distinct TCP ports")
        if self.ports and not self.nics:
            raise SettingsWrong("ports are to be forwarded and there is no network card")


@dataclass(frozen=True)
class LaunchOrder:
    """One instance to be: its id is the caller's and makes repeating the order harmless."""

    instance: str
    machine: MachineSpec
    volumes: tuple[Volume, ...]
    """In the order of the source's disks; the first one is booted from."""
    purpose: InstancePurpose = InstancePurpose.TEST
    """Only a machine of a cutover may reach others."""

    def __post_init__(self) -> None:
        """Raises SettingsWrong for an id that is no file name, or no disk at all."""
        require_name(self.instance, "an instance")
        if not self.volumes:
            raise SettingsWrong(f"instance {self.instance} has no disk")


@dataclass(frozen=True)
class Forward:
    """A TCP port of the guest and the port of 127.0.0.1 that leads there."""

    guest: int
    host: int


@dataclass(frozen=True)
class Instance:
    """What was launched."""

    id: str
    target: str
    state: InstanceState
    folder: Path
    """Where the driver keeps it: never to be touched by others."""
    accelerator: Accelerator | None = None
    forwards: tuple[Forward, ...] = ()
    pid: int | None = None
    said: str = ""
    """The end of what the hypervisor said, of a machine that ended."""
    files: tuple[Path, ...] = field(default=())
    """The images that were published."""
    address: str = ""
    """Where they are, when that is no folder of the node."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.address or str(self.folder)
