"""Which modules an initrd lacks, by the kernel's own modules.dep."""

from collections.abc import Iterable
from typing import Final

from app.contract.words import DiskBus
from app.launch.conversion.inspection import Kernel

DRIVERS: Final[dict[DiskBus, tuple[str, ...]]] = {
    DiskBus.VIRTIO_BLK: ("virtio_pci", "virtio_blk"),
    DiskBus.VIRTIO_SCSI: ("virtio_pci", "virtio_scsi", "sd_mod"),
    DiskBus.SATA: ("ahci", "sd_mod"),
}
"""Without these a kernel finds no disk at that bus."""
ALL: Final = (
    *("virtio", "virtio_ring", "virtio_pci", "virtio_blk"),
    *("scsi_mod", "sd_mod", "virtio_scsi", "ahci", "nvme"),
)
"""What is added where anything is: so the disk boots at any other bus, too. The network card's driver is not
among them, since the root filesystem has it."""


def name_of(path: str) -> str:
    """The name of a module by its file: kernel/drivers/block/virtio_blk.ko.xz is virtio_blk."""
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def parse_dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """modules.dep (depmod(8)): each module's path and those of all that it needs."""
    found = {}
    for line in text.splitlines():
        path, colon, needs = line.partition(":")
        if colon:
            found[path.strip()] = tuple(needs.split())
    return found


def lacking(kernel: Kernel, bus: DiskBus) -> tuple[str, ...]:
    """The bus's drivers that are neither in the kernel nor in its initrd."""
    there = kernel.builtin | (kernel.initrd.modules if kernel.initrd else frozenset())
    return tuple(name for name in DRIVERS[bus] if name not in there)


def impossible(kernel: Kernel, bus: DiskBus) -> tuple[str, ...]:
    """The bus's drivers that this kernel does not have at all."""
    there = kernel.builtin | {name_of(path) for path in kernel.needs}
    return tuple(name for name in DRIVERS[bus] if name not in there)


def to_add(kernel: Kernel, names: Iterable[str] = ALL) -> tuple[str, ...]:
    """Paths of the modules that the initrd lacks, with all that they need; each once, by their paths."""
    there = kernel.builtin | (kernel.initrd.modules if kernel.initrd else frozenset())
    by_name = {name_of(path): path for path in kernel.needs}
    wanted = [by_name[name] for name in names if name in by_name]
    paths = {path for each in wanted for path in (each, *kernel.needs[each])}
    return tuple(sorted(path for path in paths if name_of(path) not in there))
