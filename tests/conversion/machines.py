"""Guests as volumes of a target, started before and after their conversion."""

from dataclasses import dataclass
from pathlib import Path

from app.contract.words import Firmware
from app.launch.boot.checks import CheckPlan, HttpCheck, LoginCheck
from app.launch.boot.proof import BootProof
from app.launch.conversion.facts import SourceFacts, SourceNic, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.machine import LaunchOrder, MachineSpec, Nic, Volume
from app.launch.qemu.driver import QemuTarget
from app.launch.volumenote import VolumeProof, note_volume
from app.store.volume import volume_root
from app.wire.chunks import CHUNK_SIZE
from tests.guests.guest import ADDRESS, GATEWAY, MAC, PAGE

PORT = 8080
PLAN = CheckPlan((LoginCheck(), HttpCheck(PORT, body=PAGE)), seconds=580, settle_seconds=1)


@dataclass(frozen=True)
class Server:
    """A guest's volumes, and what its agent would have reported."""

    volumes: tuple[Volume, ...]
    facts: SourceFacts
    firmware: Firmware = Firmware.BIOS

    def order(self, instance: str) -> LaunchOrder:
        nic = Nic(MAC, ADDRESS, GATEWAY)
        machine = MachineSpec(self.firmware, cpus=2, memory_mib=512, nics=(nic,), ports=(PORT,))
        return LaunchOrder(instance, machine, self.volumes)

    @property
    def wishes(self) -> Wishes:
        return Wishes(self.firmware, macs=(MAC,))

    async def convert(self, target: QemuTarget, instance: str) -> ConversionReport:
        return await target.convert(self.order(instance), self.facts, self.wishes)

    async def boot(
        self, target: QemuTarget, instance: str, evidence: Path, plan: CheckPlan = PLAN
    ) -> BootProof:
        await target.launch(self.order(instance))
        return await target.check(instance, plan, evidence)


def volume(target: QemuTarget, disk: Path, name: str) -> Volume:
    """A disk as a volume of the target, verified: what `materialise` makes of a checkpoint of it."""
    size = disk.stat().st_size
    folder = target.settings.volumes / "chk-1"
    folder.mkdir(parents=True, exist_ok=True)
    made = Volume("chk-1", name, folder / f"{name}.raw", size, volume_root(disk, size, CHUNK_SIZE).hex())
    disk.rename(made.path)
    note_volume(made, VolumeProof.OWN_BYTES)
    return made


def server(target: QemuTarget, *disks: Path, firmware: Firmware = Firmware.BIOS) -> Server:
    """A server with these disks, which its kernel called sda, sdb and so on."""
    found = [volume(target, disk, f"dsk-{number}") for number, disk in enumerate(disks, 1)]
    names = tuple(f"/dev/sd{letter}" for letter, _ in zip("abcd", disks, strict=False))
    return Server(tuple(found), SourceFacts(disks=names, nics=(SourceNic("ens192", MAC),)), firmware)
