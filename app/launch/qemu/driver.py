"""The driver `qemu`."""

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, FindingSeverity, InstancePurpose, InstanceState
from app.kit.clock import Clock, SystemClock
from app.launch.boot.checks import CheckPlan
from app.launch.boot.evidence import Evidence
from app.launch.boot.proof import BootProof
from app.launch.boot.watch import BootWatch
from app.launch.conversion.appliance import ApplianceSettings, machine_user
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.errors import InstanceUnknown, LaunchError
from app.launch.fitting import machine_findings, room_findings
from app.launch.locking import locked
from app.launch.machine import DiskContent, Instance, LaunchOrder, MachineSpec, Volume
from app.launch.programs import QEMU, QEMU_IMG, require_ovmf, require_program
from app.launch.qemu.accelerator import Verdict, choose
from app.launch.qemu.console import QemuConsole
from app.launch.qemu.converting import Converting
from app.launch.qemu.launching import Launching
from app.launch.qemu.qmp import Qmp
from app.launch.qemu.runfolder import RunFolder
from app.launch.qemu.user import MachineUser
from app.launch.target import LaunchPlan, TargetFinding
from app.launch.threads import in_thread
from app.launch.volumenote import require_proved
from app.launch.volumes import VolumeFolder

POWER_OFF_SECONDS: Final = 90


@dataclass(frozen=True)
class QemuSettings:
    """Where machines live on this node and how they run."""

    folder: Path
    """Of run folders, volumes and the verdict about KVM; on a local filesystem."""
    user: str = "nobody"
    """Whom machines run as where the service is root. A user of their own is better: one of other programs
    could be disturbed by them."""
    accelerator: Accelerator | None = None
    """None: KVM where it really works."""

    purpose: InstancePurpose = InstancePurpose.TEST
    """The volumes of cutovers are advanced, so they are never those of a test of the same checkpoint."""

    @property
    def runs(self) -> Path:
        """The run folders."""
        return self.folder / "runs"

    @property
    def volumes(self) -> Path:
        """The volumes."""
        return self.folder / ("volumes" if self.purpose is InstancePurpose.TEST else "cutovers")

    @property
    def appliance(self) -> Path:
        """libguestfs' appliance."""
        return self.folder / "appliance"

    @property
    def verdict(self) -> Path:
        """The verdict about KVM."""
        return self.folder / "accelerator.json"


@dataclass(frozen=True)
class QemuTarget:
    """See `app.launch.target.Target`."""

    settings: QemuSettings
    clock: Clock = field(default_factory=SystemClock)
    kind: str = "qemu"

    async def validate(self) -> tuple[TargetFinding, ...]:
        """See `Target.validate`; may try KVM, which takes up to half a minute once a boot of the node."""
        return await in_thread(self._validate)

    def _validate(self) -> tuple[TargetFinding, ...]:
        try:
            for program in (QEMU, QEMU_IMG):
                require_program(program)
            require_ovmf()
            MachineUser.of(self.settings.user)
            self.settings.runs.mkdir(parents=True, exist_ok=True, mode=0o700)
            verdict = self._accelerator()
        except LaunchError as error:
            return (TargetFinding(FindingSeverity.BLOCKER, error.code, error.detail, error.remedy),)
        except OSError as error:
            text = f"{self.settings.folder} cannot be used: {error.strerror or error}"
            return (TargetFinding(FindingSeverity.BLOCKER, "FOLDER_UNUSABLE", text),)
        severity, text = FindingSeverity.OK, "machines run under KVM"
        if verdict.accelerator is Accelerator.TCG:
            severity, text = (
                FindingSeverity.NOTE,
                f"machines run without KVM, ten times slower: {verdict.reason}",
            )
        return (TargetFinding(severity, f"ACCELERATOR_{verdict.accelerator.name}", text),)

    def _accelerator(self) -> Verdict:
        if self.settings.accelerator is not None:
            return Verdict(self.settings.accelerator, "the settings say so", "", "")
        return choose(self.settings.verdict)

    async def plan(self, machine: MachineSpec, disks: tuple[DiskContent, ...]) -> LaunchPlan:
        """See `Target.plan`. Overlays are counted with a tenth of their disks."""
        findings = [*await self.validate(), *machine_findings(machine, disks)]
        size = sum(disk.size for disk in disks)
        free = await in_thread(self._volumes.free_bytes)
        needed = size + size // 10
        findings += room_findings(needed, free, self.settings.folder)
        return LaunchPlan(self.kind, needed, free, tuple(findings))

    async def materialise(self, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.materialise`."""
        return await self._volumes.materialise(disk, stream)

    async def advance(self, volume: Volume, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.advance`."""
        return await self._volumes.advance(volume, disk, stream)

    async def verify(self, volume: Volume, disk: DiskContent) -> None:
        """See `Target.verify`."""
        await self._volumes.verify(volume, disk)

    def volume(self, disk: DiskContent) -> Volume:
        """See `Target.volume`."""
        return self._volumes.named(disk)

    async def drop(self, volume: Volume) -> None:
        """See `Target.drop`."""
        await self._volumes.drop(volume)

    @property
    def _volumes(self) -> VolumeFolder:
        return VolumeFolder(self.settings.volumes)

    async def launch(self, order: LaunchOrder) -> Instance:
        """See `Target.launch`. A machine that ended is started again, on what it wrote.

        After MachineRefused the overlays stay for the next try, since they may have been converted.
        """
        return await in_thread(self._launch, order)

    def _launch(self, order: LaunchOrder) -> Instance:
        launching = self._launching(order)
        with locked(self.settings.runs / ".lock") as lock:
            found = self._prepared(launching)
            if found is not None and found.state is InstanceState.RUNNING:
                return found
            try:
                launching.start(lock)
            except LaunchError:
                launching.folder.end()
                raise
        return self._require(launching.folder)

    def _launching(self, order: LaunchOrder) -> Launching:
        folder = RunFolder.of(self.settings.runs, order.instance)
        return Launching(folder, order, self._accelerator().accelerator, MachineUser.of(self.settings.user))

    def _prepared(self, launching: Launching) -> Instance | None:
        """The instance, if it was started before; else its folder is ready for the start."""
        launching.folder.require_not_retired()
        launching.folder.require_same(launching.order)
        found = launching.folder.instance()
        if found is None or found.state is not InstanceState.RUNNING:
            for volume in launching.order.volumes:
                require_proved(volume)
            launching.prepare()
        return found

    async def prepare(self, order: LaunchOrder) -> tuple[Path, ...]:
        """Make everything for a launch but start nothing; the overlays (qcow2), in the order of the volumes.

        For conversion, which works on overlays. `launch` then goes on with them, `terminate` drops them.
        Raises VolumeUnproved, InstanceDiffers.
        """
        return await in_thread(self._prepare, order)

    def _prepare(self, order: LaunchOrder) -> tuple[Path, ...]:
        launching = self._launching(order)
        with locked(self.settings.runs / ".lock"):
            self._prepared(launching)
        return tuple(launching.folder.overlay(number) for number in range(len(order.volumes)))

    async def convert(self, order: LaunchOrder, facts: SourceFacts, wishes: Wishes) -> ConversionReport:
        """See `Target.convert`: on the overlays, which `launch` then goes on with."""
        launching = await in_thread(self._launching, order)
        kvm = launching.accelerator is Accelerator.KVM
        user = machine_user(self.settings.user)
        appliance = ApplianceSettings(self.settings.appliance, user, kvm)
        lock = self.settings.runs / ".lock"
        return await Converting(launching, lock, appliance).run(facts, wishes)

    def _require(self, folder: RunFolder) -> Instance:
        found = folder.instance()
        if found is None:
            raise InstanceUnknown(f"there is no machine {folder.path.name}", remedy="launch it")
        return found

    async def find(self, instance: str) -> Instance | None:
        """See `Target.find`."""
        return await in_thread(RunFolder.of(self.settings.runs, instance).instance)

    async def check(self, instance: str, plan: CheckPlan, evidence: Path) -> BootProof:
        """See `Target.check`."""
        folder = RunFolder.of(self.settings.runs, instance)
        console = await in_thread(QemuConsole.of, folder, self.settings.verdict)
        return await BootWatch(console, plan, Evidence(evidence), self.clock).run()

    async def power_off(self, instance: str, seconds: float = POWER_OFF_SECONDS) -> bool:
        """Press the power button and wait; whether the machine ended. Its disks stay as it left them."""
        folder = RunFolder.of(self.settings.runs, instance)
        process = folder.require_process()
        if process.alive():
            await in_thread(_press, folder)
        return await in_thread(process.ended_within, seconds)

    async def terminate(self, instance: str) -> bool:
        """See `Target.terminate`."""
        return await in_thread(self._terminate, RunFolder.of(self.settings.runs, instance))

    async def retire(self, instance: str) -> bool:
        """See `Target.retire`."""
        return await in_thread(self._retire, RunFolder.of(self.settings.runs, instance))

    def _retire(self, folder: RunFolder) -> bool:
        self.settings.runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.settings.runs / ".lock"):
            folder.retire()
            return folder.require_removed()

    def _terminate(self, folder: RunFolder) -> bool:
        with locked(self.settings.runs / ".lock"):
            return folder.require_removed()


def _press(folder: RunFolder) -> None:
    with Qmp(folder.monitor) as monitor:
        monitor.power_down()
