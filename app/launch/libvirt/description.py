"""A machine in libvirt's words (https://libvirt.org/formatdomain.html).

Nothing is guessed: every format is stated, and a disk's whole chain is, so that libvirt and QEMU read no
header to find a file. What libvirt would add by itself (USB, balloon) is left out. `useserial` lets SeaBIOS
write to the serial line as well.

A test machine's network is QEMU's restricted user network, for which libvirt has no words: it is given to
QEMU as arguments. A libvirt network without forwarding would be a bridge on which the node itself stands.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, DiskBus, Firmware, InstancePurpose
from app.launch.errors import SettingsWrong
from app.launch.fitting import MOST_SATA
from app.launch.libvirt.domain import METADATA, Domain
from app.launch.libvirt.machinefolder import MachineFolder
from app.launch.libvirt.settings import LibvirtSettings
from app.launch.machine import Forward, LaunchOrder, Nic, Volume
from app.launch.overlays import disk_serial
from app.launch.programs import require_ovmf
from app.launch.qemu.commandline import TRANSLATED_MIB
from app.launch.qemu.network import network_arguments

QEMU_WORDS: Final = "http://libvirt.org/schemas/domain/qemu/1.0"
_PREFIX: Final = {DiskBus.VIRTIO_BLK: "vd", DiskBus.VIRTIO_SCSI: "sd", DiskBus.SATA: "sd"}
_BUS: Final = {DiskBus.VIRTIO_BLK: "virtio", DiskBus.VIRTIO_SCSI: "scsi", DiskBus.SATA: "sata"}
_LETTERS: Final = 26
_TEST_SLOT: Final = 0x10
"""Of a test machine's first card on the root bus, where libvirt fills the places from both ends."""

ET.register_namespace("qemu", QEMU_WORDS)
ET.register_namespace("go2cloud", METADATA)


@dataclass(frozen=True)
class Description:
    """One machine to be described."""

    settings: LibvirtSettings
    domain: Domain
    folder: MachineFolder
    order: LaunchOrder
    accelerator: Accelerator

    def text(self, forwards: Sequence[Forward]) -> str:
        """The domain's XML. Raises SettingsWrong for what the settings or the bus have no place for."""
        kind = "kvm" if self.accelerator is Accelerator.KVM else "qemu"
        root = ET.Element("domain", type=kind)
        _add(root, "name").text = self.domain.name
        _add(root, "uuid").text = self.domain.uuid
        root.append(self._metadata())
        _add(root, "memory", unit="MiB").text = str(self.order.machine.memory_mib)
        _add(root, "vcpu").text = str(self.order.machine.cpus)
        self._firmware(_add(root, "os"))
        self._processor(root)
        _add(root, "clock", offset="utc")
        _add(root, "on_poweroff").text = "destroy"
        _add(root, "on_reboot").text = "restart"
        _add(root, "on_crash").text = "restart" if self._takes_over else "destroy"
        self._devices(_add(root, "devices"))
        if not self._takes_over:
            words = _add(root, f"{{{QEMU_WORDS}}}commandline")
            for argument in network_arguments(self.order.machine, forwards, first_slot=_TEST_SLOT):
                _add(words, f"{{{QEMU_WORDS}}}arg", value=argument)
        ET.indent(root)
        return ET.tostring(root, encoding="unicode") + "\n"

    @property
    def _takes_over(self) -> bool:
        return self.order.purpose is InstancePurpose.CUTOVER

    def _metadata(self) -> ET.Element:
        """The mark by which the domain is ours."""
        metadata = ET.Element("metadata")
        mark = _add(
            metadata,
            f"{{{METADATA}}}machine",
            instance=self.order.instance,
            purpose=self.order.purpose.value,
        )
        for volume in self.order.volumes:
            disk = {"checkpoint": volume.checkpoint, "disk": volume.disk, "root": volume.root}
            _add(mark, f"{{{METADATA}}}disk", **disk)
        return metadata

    def _firmware(self, os: ET.Element) -> None:
        _add(os, "type", arch="x86_64", machine="q35").text = "hvm"
        if self.order.machine.firmware is Firmware.UEFI:
            _add(os, "loader", readonly="yes", type="pflash").text = str(require_ovmf().code)
            _add(os, "nvram").text = str(self.folder.variables)
        else:
            _add(os, "bios", useserial="yes")

    def _processor(self, root: ET.Element) -> None:
        """Without cx16 under TCG: with it Linux 6.12 panics at random."""
        features = _add(root, "features")
        _add(features, "acpi")
        _add(features, "apic")
        _add(features, "vmport", state="off")
        if self.accelerator is Accelerator.KVM:
            _add(root, "cpu", mode="host-passthrough", check="none")
            return
        _add(_add(features, "tcg"), "tb-cache", unit="MiB").text = str(TRANSLATED_MIB)
        _add(_add(root, "cpu", mode="maximum", check="none"), "feature", policy="disable", name="cx16")

    def _devices(self, devices: ET.Element) -> None:
        self._disks(devices)
        _add(devices, "controller", type="usb", model="none")
        serial = _add(devices, "serial", type="file")
        _add(serial, "source", path=str(self.folder.serial), append="off")
        _add(serial, "target", port="0")
        if self._takes_over:
            self._connections(devices)
            graphics = _add(devices, "graphics", type="vnc", autoport="yes")
            _add(graphics, "listen", type="address", address="127.0.0.1")
        _add(_add(devices, "video"), "model", type="vga")
        _add(devices, "memballoon", model="none")
        _add(_add(devices, "rng", model="virtio"), "backend", model="random").text = "/dev/urandom"

    def _disks(self, devices: ET.Element) -> None:
        bus, volumes = self.order.machine.bus, self.order.volumes
        if bus is DiskBus.SATA and len(volumes) > MOST_SATA:
            raise SettingsWrong(f"the bus sata has places for {MOST_SATA} disks, not for {len(volumes)}")
        for number, volume in enumerate(volumes):
            self._disk(devices, number, volume)
        if bus is DiskBus.VIRTIO_SCSI:
            _add(devices, "controller", type="scsi", index="0", model="virtio-scsi")

    def _disk(self, devices: ET.Element, number: int, volume: Volume) -> None:
        bus = self.order.machine.bus
        disk = _add(devices, "disk", type="file", device="disk")
        _add(disk, "driver", name="qemu", type="qcow2", discard="unmap")
        _add(disk, "source", file=str(self.folder.overlay(number)))
        _add_backing(disk, volume.path.resolve())
        _add(disk, "target", dev=_PREFIX[bus] + letters(number), bus=_BUS[bus])
        _add(disk, "serial").text = disk_serial(volume)
        _add(disk, "boot", order=str(number + 1))
        if bus is not DiskBus.SATA:
            sizes = {"logical_block_size": str(volume.sector_size)}
            _add(disk, "blockio", **sizes, physical_block_size=str(max(4096, volume.sector_size)))

    def _connections(self, devices: ET.Element) -> None:
        """The cards of a machine that takes the source's place."""
        for nic in self.order.machine.nics:
            self._connection(devices, nic)

    def _connection(self, devices: ET.Element, nic: Nic) -> None:
        if self.settings.network is not None:
            card = _add(devices, "interface", type="network")
            _add(card, "source", network=self.settings.network)
        elif self.settings.bridge is not None:
            card = _add(devices, "interface", type="bridge")
            _add(card, "source", bridge=self.settings.bridge)
        else:
            raise SettingsWrong(
                f"machine {self.order.instance} is to take the source's place and has no network",
                remedy="name a network or a bridge in the target's settings",
            )
        _add(card, "mac", address=nic.mac)
        is_old = self.order.machine.bus is DiskBus.SATA
        _add(card, "model", type="e1000e" if is_old else "virtio")
        _add(card, "rom", enabled="no")


def _add(parent: ET.Element, tag: str, /, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)


def _add_backing(disk: ET.Element, volume: Path) -> None:
    """A raw file that has nothing below it, said outright."""
    backing = _add(disk, "backingStore", type="file")
    _add(backing, "format", type="raw")
    _add(backing, "source", file=str(volume))
    _add(backing, "backingStore")


def letters(number: int) -> str:
    """The letters of disk `number`: a … z, aa, ab …"""
    rest, last = divmod(number, _LETTERS)
    return (letters(rest - 1) if rest else "") + chr(ord("a") + last)
