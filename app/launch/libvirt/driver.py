"""The driver `libvirt`.

A machine works on overlays whatever it is for: the volume stays the disk that was verified, so that a launch
can be begun anew and a report is about bytes that are still there.
"""

import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, InstancePurpose, InstanceState
from app.kit.clock import Clock, SystemClock
from app.launch.boot.checks import CheckPlan
from app.launch.boot.evidence import Evidence
from app.launch.boot.proof import BootProof
from app.launch.boot.watch import BootWatch
from app.launch.conversion.appliance import ApplianceSettings, machine_user
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.errors import InstanceUnknown, MachineRefused
from app.launch.fitting import machine_findings, room_findings
from app.launch.libvirt.console import LibvirtConsole
from app.launch.libvirt.domain import Domain
from app.launch.libvirt.launching import Launching
from app.launch.libvirt.machinefolder import MachineFolder, Noted, folders
from app.launch.libvirt.relay import Relay
from app.launch.libvirt.settings import LibvirtSettings
from app.launch.libvirt.validation import Validation, accelerator
from app.launch.libvirt.virsh import Virsh
from app.launch.locking import locked, shared
from app.launch.machine import DiskContent, Instance, LaunchOrder, MachineSpec, Volume, require_name
from app.launch.qemu.converting import Converting
from app.launch.target import LaunchPlan, TargetFinding
from app.launch.threads import in_thread
from app.launch.volumenote import require_proved
from app.launch.volumes import VolumeFolder
from app.store.errors import VolumeBusy

POWER_OFF_SECONDS: Final = 90


@dataclass(frozen=True)
class LibvirtTarget:
    """See `app.launch.target.Target`."""

    settings: LibvirtSettings
    clock: Clock = field(default_factory=SystemClock)
    kind: str = "libvirt"

    @property
    def _virsh(self) -> Virsh:
        return Virsh(self.settings.uri)

    @property
    def _volumes(self) -> VolumeFolder:
        return VolumeFolder(self.settings.volumes)

    @property
    def _lock(self) -> Path:
        return self.settings.machines / ".lock"

    async def validate(self) -> tuple[TargetFinding, ...]:
        """See `Target.validate`; may try KVM, which takes up to half a minute once a boot of the node."""
        return await in_thread(Validation(self.settings, self._virsh).findings)

    async def plan(self, machine: MachineSpec, disks: tuple[DiskContent, ...]) -> LaunchPlan:
        """See `Target.plan`. Overlays are counted with a tenth of their disks."""
        findings = [*await self.validate(), *machine_findings(machine, disks)]
        size = sum(disk.size for disk in disks)
        free = await in_thread(self._volumes.free_bytes)
        needed = size + size // 10
        findings += room_findings(needed, free, self.settings.pool_folder)
        return LaunchPlan(self.kind, needed, free, tuple(findings))

    async def materialise(self, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.materialise`."""
        return await self._volumes.materialise(disk, stream)

    async def advance(self, volume: Volume, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.advance`.

        libvirt's QEMU holds no lock of ours. So it is asked whether a machine runs on the volume: at once,
        and again when we have the volume alone, since a launch holds it shared until its machine runs.
        """
        await in_thread(self._require_idle, volume)
        return await self._volumes.advance(volume, disk, self._alone(volume, stream))

    async def _alone(self, volume: Volume, stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        await in_thread(self._require_idle, volume)
        async for piece in stream:
            yield piece

    def _require_idle(self, volume: Volume) -> None:
        """Raises VolumeBusy while a machine of ours runs on the volume."""
        for folder in folders(self.settings.machines):
            noted = folder.noted()
            if noted is not None and volume.path in noted.volumes and self._domain(folder.path.name).active():
                raise VolumeBusy(
                    f"the machine {folder.path.name} runs on {volume.path}",
                    remedy="terminate it, or advance another volume",
                )

    async def verify(self, volume: Volume, disk: DiskContent) -> None:
        """See `Target.verify`."""
        await self._volumes.verify(volume, disk)

    def volume(self, disk: DiskContent) -> Volume:
        """See `Target.volume`."""
        return self._volumes.named(disk)

    async def drop(self, volume: Volume) -> None:
        """See `Target.drop`."""
        await self._volumes.drop(volume)

    async def launch(self, order: LaunchOrder) -> Instance:
        """See `Target.launch`. A machine that ended is started again, on what it wrote.

        After MachineRefused the overlays stay for the next try, since they may have been converted. Raises
        DomainForeign, SettingsWrong for a machine that is to take over where no network is named.
        """
        return await in_thread(self._launch, order)

    def _launch(self, order: LaunchOrder) -> Instance:
        found = self._accelerator()
        with locked(self._lock) as lock:
            launching = self._launching(order, found, lock)
            if self._prepared(launching):
                launching.keep()
            else:
                with _held(order.volumes):
                    launching.start()
        return self._require(order.instance)

    def _accelerator(self) -> Accelerator:
        return accelerator(self.settings, self._virsh).accelerator

    def _launching(self, order: LaunchOrder, found: Accelerator, lock: int | None = None) -> Launching:
        folder = self._folder(order.instance)
        return Launching(self.settings, self._domain(order.instance, lock), folder, order, found)

    def _domain(self, instance: str, lock: int | None = None) -> Domain:
        return Domain(Virsh(self.settings.uri, lock), require_name(instance, "an instance"))

    def _folder(self, instance: str) -> MachineFolder:
        return MachineFolder.of(self.settings.machines, instance)

    def _prepared(self, launching: Launching) -> bool:
        """Whether the machine runs already; else its folder is ready for the start."""
        domain, folder = launching.domain, launching.folder
        folder.require_not_retired()
        folder.require_same(launching.order)
        if domain.exists() and domain.active():
            if folder.noted() is None:
                raise MachineRefused(
                    f"the machine {domain.name} runs, and its folder {folder.path} is gone",
                    remedy="terminate it",
                )
            return True
        for volume in launching.order.volumes:
            require_proved(volume)
        launching.prepare()
        return False

    async def prepare(self, order: LaunchOrder) -> tuple[Path, ...]:
        """Make everything for a launch but start nothing; the overlays (qcow2), in the order of the volumes.

        For conversion, which works on overlays. `launch` then goes on with them, `terminate` drops them.
        Raises VolumeUnproved, InstanceDiffers, DomainForeign.
        """
        return await in_thread(self._prepare, order)

    def _prepare(self, order: LaunchOrder) -> tuple[Path, ...]:
        found = self._accelerator()
        with locked(self._lock) as lock:
            launching = self._launching(order, found, lock)
            self._prepared(launching)
        return tuple(launching.folder.overlay(number) for number in range(len(order.volumes)))

    async def convert(self, order: LaunchOrder, facts: SourceFacts, wishes: Wishes) -> ConversionReport:
        """See `Target.convert`: on the overlays, which `launch` then goes on with. Raises DomainForeign."""
        found = await in_thread(self._accelerator)
        user = machine_user(self.settings.appliance_user)
        appliance = ApplianceSettings(self.settings.appliance, user, found is Accelerator.KVM)
        launching = self._launching(order, found)
        return await Converting(launching, self._lock, appliance).run(facts, wishes)

    async def find(self, instance: str) -> Instance | None:
        """See `Target.find`. Raises DomainForeign."""
        return await in_thread(self._found, instance)

    def _found(self, instance: str) -> Instance | None:
        folder = self._folder(instance)
        domain = self._domain(instance)
        if not domain.exists():
            return None
        noted = folder.noted()
        return Instance(
            id=instance,
            target=self.kind,
            state=InstanceState.RUNNING if domain.active() else InstanceState.ENDED,
            folder=folder.path,
            accelerator=noted.accelerator if noted else None,
            forwards=noted.forwards if noted else (),
        )

    def _require(self, instance: str) -> Instance:
        found = self._found(instance)
        if found is None:
            raise InstanceUnknown(f"there is no machine {instance}", remedy="launch it")
        return found

    async def check(self, instance: str, plan: CheckPlan, evidence: Path) -> BootProof:
        """See `Target.check`. Ports of a machine that took over are reached at its own address."""
        found = await in_thread(self._require, instance)
        noted = await in_thread(self._folder(instance).noted)
        if noted is None:
            raise InstanceUnknown(f"the folder {found.folder} is gone", remedy="terminate the machine")
        if noted.purpose is InstancePurpose.TEST:
            return await self._watched(found, noted, None, plan, evidence)
        domain = self._domain(instance)

        async def address() -> str | None:
            return noted.address or await in_thread(domain.address)

        async with Relay(address, noted.ports) as relay:
            return await self._watched(found, noted, relay, plan, evidence)

    async def _watched(
        self, found: Instance, noted: Noted, relay: Relay | None, plan: CheckPlan, evidence: Path
    ) -> BootProof:
        console = LibvirtConsole(
            instance=found.id,
            accelerator=noted.accelerator,
            forwards=relay.forwards if relay else noted.forwards,
            domain=self._domain(found.id),
            folder=self._folder(found.id),
            verdict=self.settings.verdict,
            relay=relay,
        )
        return await BootWatch(console, plan, Evidence(evidence), self.clock).run()

    async def power_off(self, instance: str, seconds: float = POWER_OFF_SECONDS) -> bool:
        """Press the power button and wait; whether the machine ended. Its disks stay as it left them."""
        return await in_thread(self._power_off, instance, seconds)

    def _power_off(self, instance: str, seconds: float) -> bool:
        domain, until = self._domain(instance), time.monotonic() + seconds
        if domain.exists() and domain.active():
            domain.press()
        while domain.active():
            if time.monotonic() > until:
                return False
            time.sleep(0.5)
        return True

    async def terminate(self, instance: str) -> bool:
        """See `Target.terminate`. Raises DomainForeign, and touches nothing then."""
        return await in_thread(self._terminate, instance)

    async def retire(self, instance: str) -> bool:
        """See `Target.retire`. Raises DomainForeign, and the instance is retired all the same."""
        return await in_thread(self._terminate, instance, for_good=True)

    def _terminate(self, instance: str, *, for_good: bool = False) -> bool:
        folder = self._folder(instance)
        with locked(self._lock) as lock:
            if for_good:
                folder.retire()
            was_defined = self._domain(instance, lock).remove()
            return folder.remove() or was_defined


@contextlib.contextmanager
def _held(volumes: tuple[Volume, ...]) -> Iterator[None]:
    """Keep proved volumes from being changed. Raises VolumeUnproved, VolumeBusy."""
    with contextlib.ExitStack() as stack:
        for volume in volumes:
            stack.enter_context(shared(volume.path))
            require_proved(volume)
        yield
