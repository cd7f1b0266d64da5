"""QEMU's command line. All that the machine opens comes as a descriptor: its user needs no file.

Nothing is guessed: `-nodefaults`, every format stated, the overlay's backing file given as a node that is
read-only, whatever the overlay's header says. `graphics=off` lets SeaBIOS write to the serial line as well
and changes nothing about the screen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.contract.words import Accelerator, DiskBus
from app.launch.errors import SettingsWrong
from app.launch.fitting import MOST_SATA
from app.launch.machine import Forward, LaunchOrder
from app.launch.qemu.network import network_arguments

MIB: Final = 1024 * 1024
SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
TRANSLATED_MIB: Final = 256
"""TCG's memory for translated code; QEMU's own choice is up to 1 GiB."""
OVERHEAD: Final = 3 * 1024 * MIB
"""Address space beside the guest's memory: video, firmware, translated code, threads' stacks, libraries."""

ACCELERATION: Final = {
    Accelerator.KVM: ("-accel", "kvm", "-cpu", "host"),
    Accelerator.TCG: ("-accel", f"tcg,thread=multi,tb-size={TRANSLATED_MIB}", "-cpu", "max,-cx16"),
}
"""Without cx16 under TCG: with it Linux 6.12 panics at random."""


@dataclass(frozen=True)
class OpenedDisk:
    """The descriptors of one disk: the overlay to write to, the volume to read."""

    overlay: int
    volume: int
    sector_size: int
    serial: str


@dataclass(frozen=True)
class OpenedMachine:
    """Everything that the machine has open when it starts, as descriptors."""

    disks: tuple[OpenedDisk, ...]
    monitor: int
    """A listening unix socket."""
    serial: int
    variables: int | None
    """The copy of the UEFI variables."""
    code: int | None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        disks = [each for disk in self.disks for each in (disk.overlay, disk.volume)]
        firmware = [each for each in (self.variables, self.code) if each is not None]
        return (*disks, *firmware, self.monitor, self.serial)


def command_line(
    program: str,
    order: LaunchOrder,
    opened: OpenedMachine,
    accelerator: Accelerator,
    forwards: Sequence[Forward],
) -> tuple[str, ...]:
    """The whole command. Raises SettingsWrong for more disks than the bus has places."""
    machine = order.machine
    if machine.bus is DiskBus.SATA and len(order.volumes) > MOST_SATA:
        raise SettingsWrong(f"the bus sata has places for {MOST_SATA} disks, not for {len(order.volumes)}")
    return (
        *(program, "-name", f"guest={order.instance}", "-nodefaults", "-no-user-config", "-sandbox", SANDBOX),
        *("-machine", "q35,graphics=off,vmport=off,usb=off" + _pflash(opened)),
        *(*ACCELERATION[accelerator], "-smp", str(machine.cpus), "-m", f"{machine.memory_mib}M"),
        *("-boot", "strict=on,menu=off", "-rtc", "base=utc", "-vga", "std", "-display", "none"),
        *("-device", "virtio-rng-pci", "-monitor", "none", "-parallel", "none"),
        *_sets(opened),
        *(
            "-chardev",
            f"socket,id=qmp,fd={opened.monitor},server=on,wait=off",
            "-mon",
            "chardev=qmp,mode=control",
        ),
        *("-chardev", f"file,id=serial,path={_set(opened.serial)},append=on", "-serial", "chardev:serial"),
        *_firmware(opened),
        *_disks(machine.bus, opened.disks),
        *network_arguments(machine, forwards, order.purpose),
    )


def _set(descriptor: int) -> str:
    return f"/dev/fdset/{descriptor}"


def _sets(opened: OpenedMachine) -> list[str]:
    """A set for each descriptor but the monitor's, named by its number."""
    sets: list[str] = []
    for descriptor in opened.descriptors:
        if descriptor != opened.monitor:
            sets += ["-add-fd", f"fd={descriptor},set={descriptor}"]
    return sets


def _pflash(opened: OpenedMachine) -> str:
    return "" if opened.code is None else ",pflash0=code,pflash1=variables"


def _firmware(opened: OpenedMachine) -> list[str]:
    if opened.code is None or opened.variables is None:
        return []
    return [
        *("-blockdev", _raw("code", opened.code, read_only=True)),
        *("-blockdev", _raw("variables", opened.variables, read_only=False)),
    ]


def _raw(name: str, descriptor: int, *, read_only: bool) -> str:
    switch = "on" if read_only else "off"
    return (
        f"driver=raw,node-name={name},read-only={switch},file.driver=file,file.filename={_set(descriptor)}"
        f",file.read-only={switch}"
    )


def _disks(bus: DiskBus, disks: Sequence[OpenedDisk]) -> list[str]:
    arguments = ["-device", "virtio-scsi-pci,id=scsi"] if bus is DiskBus.VIRTIO_SCSI else []
    for number, disk in enumerate(disks):
        overlay = (
            f"driver=qcow2,node-name=disk{number},backing=volume{number},discard=unmap,file.driver=file"
            f",file.filename={_set(disk.overlay)}"
        )
        arguments += ["-blockdev", _raw(f"volume{number}", disk.volume, read_only=True)]
        arguments += ["-blockdev", overlay, "-device", _device(bus, number, disk)]
    return arguments


def _device(bus: DiskBus, number: int, disk: OpenedDisk) -> str:
    sectors = f",logical_block_size={disk.sector_size},physical_block_size={max(4096, disk.sector_size)}"
    common = f",drive=disk{number},serial={disk.serial},bootindex={number}"
    if bus is DiskBus.SATA:
        return f"ide-hd,bus=ide.{number}{common}"
    if bus is DiskBus.VIRTIO_SCSI:
        return f"scsi-hd,bus=scsi.0,lun={number}{common}{sectors}"
    return f"virtio-blk-pci{common}{sectors}"


def address_space(memory_mib: int) -> int:
    """The limit of the machine's address space, in bytes."""
    return memory_mib * MIB + OVERHEAD
