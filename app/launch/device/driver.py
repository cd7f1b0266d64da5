"""The driver `device`: each disk has a place on the node for good; launching hands the places over.

What was launched belongs to whoever runs it: its devices are neither advanced nor written until `terminate`,
which takes the note away and touches no byte.

    <work>/notes/…                            what is known of each device (see `note`)
    <work>/instances/<instance>/order.json    what was handed over
"""

import json
import shutil
import time
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.words import CheckKind, FindingSeverity, InstanceState
from app.kit.clock import Clock, SystemClock
from app.kit.errors import Json
from app.launch.boot.checks import CheckPlan
from app.launch.boot.evidence import Evidence
from app.launch.boot.proof import BootProof, document
from app.launch.boot.reread import prove_reread
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.device.note import DeviceState, Notes
from app.launch.device.writing import DeviceWriting
from app.launch.durable import sync, write_json
from app.launch.errors import InstanceDiffers, InstanceUnknown, LaunchError, NotConvertible, SettingsWrong
from app.launch.locking import locked
from app.launch.machine import DiskContent, Instance, LaunchOrder, MachineSpec, Volume, require_name
from app.launch.target import Held, LaunchPlan, Standing, TargetFinding
from app.launch.threads import in_thread
from app.launch.volumenote import VolumeProof
from app.store.errors import VolumeBusy, VolumeError
from app.wire.frames import FrameReader

ROOM = 1 << 20
"""Bytes on the node for notes."""


@dataclass(frozen=True)
class DevicePlace:
    """Where a disk goes."""

    disk: str
    """The disk's id."""
    path: Path
    overwrite: bool = False
    """Whether what a stranger left there may be written over."""


@dataclass(frozen=True)
class DeviceSettings:
    """The places of the disks, and the folder of what is noted of them."""

    places: tuple[DevicePlace, ...]
    work: Path

    def __post_init__(self) -> None:
        """Raises SettingsWrong where there is no place, or one stands there twice."""
        disks, paths = {each.disk for each in self.places}, {each.path for each in self.places}
        if not self.places or len(disks) < len(self.places) or len(paths) < len(self.places):
            raise SettingsWrong("each disk needs a device of its own, and there must be at least one")

    def writing(self, disk: str) -> DeviceWriting:
        """The device of a disk. Raises SettingsWrong where it has none."""
        found = next((each for each in self.places if each.disk == disk), None)
        if found is None:
            raise SettingsWrong(
                f"the target has no device for disk {disk}", remedy="name one in the target's settings"
            )
        return DeviceWriting(found.path, self.notes, found.overwrite)

    @property
    def notes(self) -> Notes:
        """What is known of the devices."""
        return Notes(self.work / "notes")

    @property
    def instances(self) -> Path:
        """What was handed over."""
        return self.work / "instances"


@dataclass(frozen=True)
class DeviceTarget:
    """See `app.launch.target.KeptTarget`."""

    settings: DeviceSettings
    clock: Clock = field(default_factory=SystemClock)
    kind: str = "device"

    async def validate(self) -> tuple[TargetFinding, ...]:
        """See `Target.validate`."""
        return await in_thread(self._findings, {})

    def _findings(self, sizes: dict[str, int]) -> tuple[TargetFinding, ...]:
        findings = []
        for place in self.settings.places:
            writing = self.settings.writing(place.disk)
            found = writing.obstacle(sizes.get(place.disk))
            severity, code, text, remedy = (
                FindingSeverity.OK,
                "DEVICE_USABLE",
                f"{place.path} can be used",
                None,
            )
            if found is not None:
                severity, code = FindingSeverity.BLOCKER, found.code
                text, remedy = found.detail, found.remedy
            findings.append(TargetFinding(severity, code, text, remedy))
        return tuple(findings)

    async def plan(self, machine: MachineSpec, disks: tuple[DiskContent, ...]) -> LaunchPlan:
        """See `Target.plan`. The devices are there: what is needed of the node is next to nothing."""
        findings = [*await in_thread(self._findings, {disk.disk: disk.size for disk in disks})]
        lacking = [each.disk for each in disks if each.disk not in {one.disk for one in self.settings.places}]
        findings += [
            TargetFinding(FindingSeverity.BLOCKER, "DEVICE_LACKING", f"disk {disk} has no device", "name one")
            for disk in lacking
        ]
        if machine.ports:
            text = "no machine is started: nothing is forwarded"
            findings.append(TargetFinding(FindingSeverity.NOTE, "PORTS_UNUSED", text))
        size = sum(disk.size for disk in disks)
        return LaunchPlan(self.kind, size + ROOM, size + ROOM, tuple(findings))

    async def standing(self, disk: str) -> Held:
        """See `KeptTarget.standing`."""
        return await in_thread(self._standing, self.settings.writing(disk))

    def _standing(self, writing: DeviceWriting) -> Held:
        note, place = writing.note(), writing.place()
        if note is None or place is None or note.held is None:
            return Held(Standing.WORTHLESS)
        held = note.held.content
        if note.state is DeviceState.CHANGING and note.wanted is not None:
            return Held(Standing.CHANGING, held, note.wanted.content)
        if note.state is not DeviceState.HOLDS:
            return Held(Standing.WORTHLESS)
        return Held(Standing.PROVED if place.is_untouched(note.place) else Standing.UNSURE, held)

    async def materialise(self, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.materialise`. Whatever this target wrote there before is written over."""
        volume, writing = self.volume(disk), self.settings.writing(disk.disk)
        note = await in_thread(writing.note)
        if note is not None and note.holds(disk.root.hex()):
            await in_thread(writing.verify, disk)
            return volume
        await in_thread(self._require_free, volume.path)
        work = await in_thread(writing.begin, disk)
        try:
            reader = FrameReader()
            async for piece in stream:
                await in_thread(work.feed, list(reader.feed(piece)))
            await in_thread(work.finish, disk.masked)
            await in_thread(writing.end, disk, VolumeProof.OWN_BYTES)
        finally:
            await in_thread(work.close)
        return volume

    async def advance(self, volume: Volume, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.advance`."""
        writing = self.settings.writing(disk.disk)
        note = await in_thread(writing.note)
        if note is not None and note.holds(disk.root.hex()):
            await in_thread(writing.verify, disk)
            return self.volume(disk)
        await in_thread(self._require_free, volume.path)
        work = await in_thread(writing.begin_change, volume.root, disk)
        try:
            reader = FrameReader()
            async for piece in stream:
                await in_thread(work.feed, list(reader.feed(piece)))
            await in_thread(work.finish, disk.masked)
            await in_thread(writing.end, disk, VolumeProof.CHANGES)
        finally:
            await in_thread(work.close)
        return self.volume(disk)

    async def verify(self, volume: Volume, disk: DiskContent) -> None:
        """See `Target.verify`."""
        await in_thread(self._writing_at(volume).verify, disk)

    def volume(self, disk: DiskContent) -> Volume:
        """See `Target.volume`: always the same place."""
        path = self.settings.writing(disk.disk).path
        return Volume(disk.checkpoint, disk.disk, path, disk.size, disk.root.hex(), disk.sector_size)

    async def drop(self, volume: Volume) -> None:
        """See `Target.drop`. No byte is touched; the device stays this target's. Raises VolumeBusy."""
        await in_thread(self._require_free, volume.path)
        await in_thread(self._writing_at(volume).free, volume.root)

    def _writing_at(self, volume: Volume) -> DeviceWriting:
        return DeviceWriting(volume.path, self.settings.notes)

    async def convert(
        self,
        order: LaunchOrder,
        facts: SourceFacts,  # noqa: ARG002  (the interface)
        wishes: Wishes,  # noqa: ARG002
    ) -> ConversionReport:
        """See `Target.convert`. Devices are the checkpoint's bytes: raises NotConvertible."""
        raise NotConvertible(
            f"the devices of {order.instance} are as the checkpoint has them, not converted",
            remedy="convert them where they are started, or test the server with the target qemu",
        )

    async def launch(self, order: LaunchOrder) -> Instance:
        """See `Target.launch`: hand the devices over to whoever runs the machine."""
        return await in_thread(self._launch, order)

    def _launch(self, order: LaunchOrder) -> Instance:
        folder = self._folder(order.instance)
        with locked(self.settings.work / ".lock"):
            known = _order_in(folder)
            if known is None:
                for volume in order.volumes:
                    self._writing_at(volume).require_held(volume.root)
                    self._require_free(volume.path)
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_json(folder / "order.json", document(order))
                sync(folder.parent)
            elif known != document(order):
                raise InstanceDiffers(
                    f"instance {order.instance} was handed over with other devices, or as another machine",
                    remedy="terminate it first, or take another id",
                )
        return self._require(order.instance)

    def _require_free(self, path: Path) -> None:
        """Raises VolumeBusy where the device was handed over."""
        for folder in self.settings.instances.glob("*"):
            known = _order_in(folder)
            if known is not None and str(path) in _paths(known):
                raise VolumeBusy(
                    f"{path} was handed over to instance {folder.name}", remedy="terminate that one first"
                )

    async def find(self, instance: str) -> Instance | None:
        """See `Target.find`."""
        return await in_thread(self._found, instance)

    def _found(self, instance: str) -> Instance | None:
        folder = self._folder(instance)
        known = _order_in(folder)
        if known is None:
            return None
        files = tuple(Path(path) for path in _paths(known))
        return Instance(instance, self.kind, InstanceState.PUBLISHED, folder, files=files)

    def _require(self, instance: str) -> Instance:
        found = self._found(instance)
        if found is None:
            raise InstanceUnknown(f"nothing was handed over as {instance}", remedy="launch it")
        return found

    async def check(self, instance: str, plan: CheckPlan, evidence: Path) -> BootProof:
        """See `Target.check`: read the devices again. Raises SettingsWrong where a machine is asked for."""
        if any(check.kind is not CheckKind.IMAGES for check in plan.checks):
            raise SettingsWrong("devices have no console and no ports", remedy="check nothing but the images")
        return await in_thread(self._checked, self._require(instance), plan, Evidence(evidence))

    def _checked(self, instance: Instance, plan: CheckPlan, evidence: Evidence) -> BootProof:
        began = time.monotonic()
        evidence.begin()
        bad = [str(path) for path in instance.files if not self._is_held(path)]
        return prove_reread(instance, plan, evidence, self.clock, time.monotonic() - began, bad)

    def _is_held(self, path: Path) -> bool:
        writing = DeviceWriting(path, self.settings.notes)
        note = writing.note()
        if note is None or note.held is None:
            return False
        try:
            writing.verify(note.held.content)
        except (VolumeError, LaunchError):
            return False
        return True

    async def terminate(self, instance: str) -> bool:
        """See `Target.terminate`: the devices are this target's again, with what whoever had them wrote."""
        return await in_thread(self._remove, instance)

    async def retire(self, instance: str) -> bool:
        """See `Target.retire`: nothing of it runs."""
        return await self.terminate(instance)

    def _remove(self, instance: str) -> bool:
        folder = self._folder(instance)
        with locked(self.settings.work / ".lock"):
            if not folder.exists():
                return False
            shutil.rmtree(folder)
            sync(folder.parent)
        return True

    def _folder(self, instance: str) -> Path:
        return self.settings.instances / require_name(instance, "an instance")


def _order_in(folder: Path) -> dict[str, Json] | None:
    try:
        found: dict[str, Json] = json.loads((folder / "order.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _paths(order: dict[str, Json]) -> list[str]:
    volumes = order["volumes"]
    assert isinstance(volumes, list), "written as a list"
    return [str(each["path"]) for each in volumes if isinstance(each, dict)]
