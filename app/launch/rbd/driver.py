"""The driver `rbd`: an image for each disk, a snapshot for each checkpoint; launching publishes copies."""

import time
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.words import CheckKind, FindingSeverity
from app.kit.clock import Clock, SystemClock
from app.launch.boot.checks import CheckPlan
from app.launch.boot.evidence import Evidence
from app.launch.boot.proof import BootProof
from app.launch.boot.reread import prove_reread
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.device.note import DeviceState
from app.launch.errors import InstanceUnknown, NotConvertible, SettingsWrong
from app.launch.fitting import room_findings
from app.launch.machine import DiskContent, Instance, LaunchOrder, MachineSpec, Volume, require_name
from app.launch.rbd.command import RbdCommand
from app.launch.rbd.image import RbdImage
from app.launch.rbd.note import ImageNote
from app.launch.rbd.publishing import Publishing
from app.launch.rbd.settings import RbdSettings
from app.launch.rbd.validation import Validation
from app.launch.rbd.writing import ChangedDisk, ImageWriting, WholeDisk
from app.launch.target import Held, LaunchPlan, Standing, TargetFinding
from app.launch.threads import in_thread, stoppable
from app.wire.frames import FrameReader

ROOM = 1 << 20
"""Bytes of the pool for what Ceph keeps of images."""


@dataclass(frozen=True)
class RbdTarget:
    """See `app.launch.target.KeptTarget`.

    With `is_publishing` volumes are images that nothing follows: they are published from, and then dropped.
    """

    settings: RbdSettings
    is_publishing: bool = False
    clock: Clock = field(default_factory=SystemClock)
    kind: str = "rbd"

    @property
    def _command(self) -> RbdCommand:
        """For the images of disks."""
        return RbdCommand(self.settings.publishing() if self.is_publishing else self.settings)

    @property
    def _published(self) -> Publishing:
        return Publishing(RbdCommand(self.settings), self._command)

    def _image(self, disk: str) -> RbdImage:
        command = self._command
        return RbdImage(command, command.settings.kept(require_name(disk, "a disk")))

    def _writing(self, disk: str) -> ImageWriting:
        return ImageWriting(self._image(disk))

    async def validate(self) -> tuple[TargetFinding, ...]:
        """See `Target.validate`."""
        return await in_thread(Validation(self._command).findings)

    async def plan(self, machine: MachineSpec, disks: tuple[DiskContent, ...]) -> LaunchPlan:
        """See `Target.plan`. The bytes are those of the pool."""
        return await in_thread(self._plan, machine, disks)

    def _plan(self, machine: MachineSpec, disks: tuple[DiskContent, ...]) -> LaunchPlan:
        needed, free, look = 2 * sum(disk.size for disk in disks) + ROOM, 0, Validation(self._command)
        findings = [*look.findings()]
        if all(each.severity is not FindingSeverity.BLOCKER for each in findings):
            free = self._command.free_bytes()
            findings += look.of_disks(disks)
            findings += room_findings(needed, free, Path(self.settings.pool))
        if machine.ports:
            text = "no machine is started: nothing is forwarded"
            findings.append(TargetFinding(FindingSeverity.NOTE, "PORTS_UNUSED", text))
        return LaunchPlan(self.kind, needed, free, tuple(findings))

    async def standing(self, disk: str) -> Held:
        """See `KeptTarget.standing`."""
        return await in_thread(self._standing, self._image(disk))

    def _standing(self, image: RbdImage) -> Held:
        found = image.found()
        note = found.note if found is not None else None
        if found is None or note is None or note.held is None or not image.has_snapshot(found):
            return Held(Standing.WORTHLESS)
        if note.state is DeviceState.CHANGING and note.wanted is not None:
            return Held(Standing.CHANGING, note.content, note.wanted.content)
        if note.state is not DeviceState.HOLDS:
            return Held(Standing.WORTHLESS)
        return Held(Standing.PROVED if image.is_untouched(found) else Standing.UNSURE, note.content)

    async def materialise(self, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.materialise`. Whatever this target wrote there before is written over."""
        writing = self._writing(disk.disk)
        if _is_there(await in_thread(writing.image.note), disk):
            await in_thread(writing.verify, disk)
            return self.volume(disk)
        await _write(await in_thread(WholeDisk, writing, disk), stream)
        return self.volume(disk)

    async def advance(self, volume: Volume, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.advance`."""
        writing = self._writing(disk.disk)
        if _is_there(await in_thread(writing.image.note), disk):
            await in_thread(writing.verify, disk)
            return self.volume(disk)
        await _write(await in_thread(ChangedDisk, writing, volume.root, disk), stream)
        return self.volume(disk)

    async def verify(self, volume: Volume, disk: DiskContent) -> None:
        """See `Target.verify`: the snapshot is read, and Ceph asked whether the image is still it."""
        await in_thread(self._writing(volume.disk).verify, disk)

    def volume(self, disk: DiskContent) -> Volume:
        """See `Target.volume`: its path names the snapshot as rbd does, `pool/image@checkpoint`."""
        path = Path(f"{self._image(disk.disk).spec}@{disk.checkpoint}")
        return Volume(disk.checkpoint, disk.disk, path, disk.size, disk.root.hex(), disk.sector_size)

    async def drop(self, volume: Volume) -> None:
        """See `Target.drop`: the snapshot goes, and the image with its last one. Raises VolumeBusy."""
        await in_thread(self._writing(volume.disk).drop, volume.checkpoint)

    async def convert(
        self,
        order: LaunchOrder,
        facts: SourceFacts,  # noqa: ARG002  (the interface)
        wishes: Wishes,  # noqa: ARG002
    ) -> ConversionReport:
        """See `Target.convert`. Images are the checkpoint's bytes: raises NotConvertible."""
        raise NotConvertible(
            f"the images of {order.instance} are as the checkpoint has them, not converted",
            remedy="convert them where they are started, or test the server with the target qemu",
        )

    async def launch(self, order: LaunchOrder) -> Instance:
        """See `Target.launch`: publish a copy of each disk, an image of its own."""
        return await stoppable(lambda _stop: self._launch(order))

    def _launch(self, order: LaunchOrder) -> Instance:
        self._published.publish(order)
        return self._require(order.instance)

    async def find(self, instance: str) -> Instance | None:
        """See `Target.find`."""
        return await in_thread(self._published.find, instance)

    def _require(self, instance: str) -> Instance:
        found = self._published.find(instance)
        if found is None:
            raise InstanceUnknown(f"nothing is published as {instance}", remedy="launch it")
        return found

    async def check(self, instance: str, plan: CheckPlan, evidence: Path) -> BootProof:
        """See `Target.check`: read the published images again. Raises SettingsWrong for other checks."""
        if any(check.kind is not CheckKind.IMAGES for check in plan.checks):
            raise SettingsWrong("images have no console and no ports", remedy="check nothing but the images")
        return await in_thread(self._checked, instance, plan, Evidence(evidence))

    def _checked(self, instance: str, plan: CheckPlan, evidence: Evidence) -> BootProof:
        found, began = self._require(instance), time.monotonic()
        evidence.begin()
        bad = self._published.damaged(found)
        return prove_reread(found, plan, evidence, self.clock, time.monotonic() - began, bad)

    async def terminate(self, instance: str) -> bool:
        """See `Target.terminate`: the published images are removed. Raises VolumeBusy while one is open."""
        return await in_thread(self._published.remove, require_name(instance, "an instance"))

    async def retire(self, instance: str) -> bool:
        """See `Target.retire`: nothing of it runs."""
        return await self.terminate(instance)


def _is_there(note: ImageNote | None, disk: DiskContent) -> bool:
    """Whether the image counts as this disk of this checkpoint."""
    held = note.held if note is not None and note.holds(disk.root.hex()) else None
    return held is not None and held.checkpoint == disk.checkpoint


async def _write(work: WholeDisk | ChangedDisk, stream: AsyncIterable[bytes]) -> None:
    try:
        reader = FrameReader()
        async for piece in stream:
            await in_thread(work.feed, list(reader.feed(piece)))
        await in_thread(work.finish)
    finally:
        await in_thread(work.close)
