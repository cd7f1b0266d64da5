"""What was found on the disks: values, from which the plan is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class Filesystem:
    """A filesystem, swap or container as the appliance names its device."""

    device: str
    kind: str
    uuid: str = ""
    partuuid: str = ""
    label: str = ""


class InitrdMaker(StrEnum):
    """Whose initrd it is, which decides how it is told what to load."""

    INITRAMFS_TOOLS = "initramfs-tools"
    DRACUT = "dracut"
    MKINITCPIO = "mkinitcpio"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Initrd:
    """An initrd: the names of its modules ('-' is '_'), and the texts of its configuration by name."""

    path: str
    size: int
    """Bytes."""
    maker: InitrdMaker
    modules: frozenset[str]
    lib: str = "lib"
    """Where its modules are: lib, or usr/lib where lib is a link."""
    texts: Mapping[str, str] = field(default_factory=dict)
    unreadable: str = ""
    """Why it cannot be read, and so cannot be completed."""


@dataclass(frozen=True)
class Kernel:
    """An installed kernel; `needs` is its modules.dep: a module's path, and those of all that it needs."""

    release: str
    needs: Mapping[str, tuple[str, ...]]
    builtin: frozenset[str]
    initrd: Initrd | None = None


@dataclass(frozen=True)
class Inspection:
    """The system on the disks; `root` is None where there is none that can be told to be it."""

    filesystems: tuple[Filesystem, ...] = ()
    root: Filesystem | None = None
    system: str = ""
    """PRETTY_NAME."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts of the configuration by path."""
    kernels: tuple[Kernel, ...] = ()
    esp: str = ""
    """Where the EFI system partition is mounted; empty where there is none."""
    esp_files: tuple[str, ...] = ()
    """Its files below there: EFI/debian/grubx64.efi."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Texts of the units of hypervisors' agents, by name."""
    has_link_files: bool = True
    """Whether its udev reads systemd's .link files."""
    has_network_manager: bool = False
    """Whether NetworkManager is installed."""
    has_cloud_init: bool = False
    """Whether cloud-init is installed."""
    findings: tuple[str, ...] = ()
    """What could not be read, and why."""
