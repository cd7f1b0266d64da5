"""The driver `image`: launching is publishing, terminating takes the images away."""

import time
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from app.contract.words import CheckKind, FindingSeverity, ImageFormat, InstanceState
from app.kit.clock import Clock, SystemClock
from app.launch.boot.checks import CheckPlan
from app.launch.boot.evidence import Evidence
from app.launch.boot.proof import BootProof
from app.launch.boot.reread import prove_reread
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.errors import InstanceDiffers, InstanceUnknown, LaunchError, NotConvertible, SettingsWrong
from app.launch.image.converting import make_image
from app.launch.image.folder import require_usable
from app.launch.image.manifest import VERSION, Image, Manifest, Published, order_text
from app.launch.image.place import ImagePlace, Publication
from app.launch.locking import locked, shared
from app.launch.machine import DiskContent, Instance, LaunchOrder, MachineSpec, Volume, require_name
from app.launch.programs import QEMU_IMG, require_program
from app.launch.target import LaunchPlan, TargetFinding
from app.launch.threads import Stop, in_thread, stoppable
from app.launch.volumenote import require_proved
from app.launch.volumes import VolumeFolder


@dataclass(frozen=True)
class ImageSettings:
    """Where images go and as what."""

    place: ImagePlace
    work: Path
    """Of the volumes that the images are made from; on a local filesystem."""
    formats: tuple[ImageFormat, ...] = (ImageFormat.QCOW2,)

    def __post_init__(self) -> None:
        """Raises SettingsWrong where nothing is to be written, or something twice."""
        if not self.formats or len(set(self.formats)) < len(self.formats):
            raise SettingsWrong(f"the formats {self.formats} are none, or one of them stands there twice")


@dataclass(frozen=True)
class ImageTarget:
    """See `app.launch.target.Target`."""

    settings: ImageSettings
    clock: Clock = field(default_factory=SystemClock)
    kind: str = "image"

    async def validate(self) -> tuple[TargetFinding, ...]:
        """See `Target.validate`."""
        return await in_thread(self._validate)

    def _validate(self) -> tuple[TargetFinding, ...]:
        try:
            require_program(QEMU_IMG)
            require_usable(self.settings.work)
            self.settings.place.validate()
        except LaunchError as error:
            return (TargetFinding(FindingSeverity.BLOCKER, error.code, error.detail, error.remedy),)
        except OSError as error:
            text = f"{error.filename or self.settings.place.room()} cannot be used: {error.strerror or error}"
            return (TargetFinding(FindingSeverity.BLOCKER, "FOLDER_UNUSABLE", text),)
        names, where = ", ".join(self.settings.formats), self.settings.place.address("")
        text = f"images are written as {names}" + (f" to {where}" if where else "")
        return (TargetFinding(FindingSeverity.OK, "IMAGES_POSSIBLE", text),)

    async def plan(self, machine: MachineSpec, disks: tuple[DiskContent, ...]) -> LaunchPlan:
        """See `Target.plan`. An image is counted with its disk's whole size."""
        findings = [*await self.validate()]
        if machine.ports:
            text = "no machine is started: nothing is forwarded"
            findings.append(TargetFinding(FindingSeverity.NOTE, "PORTS_UNUSED", text))
        sizes, place = [disk.size for disk in disks], self.settings.place
        free = await in_thread(VolumeFolder(place.room()).free_bytes)
        needed = sum(sizes) + place.bytes_needed(sizes, len(self.settings.formats))
        if needed > free:
            text = f"volumes and images may need {needed} bytes and {place.room()} has {free}"
            findings.append(
                TargetFinding(FindingSeverity.WARNING, "FOLDER_SMALL", text, "free space, or move it")
            )
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
        return VolumeFolder(self.settings.work / "volumes")

    async def convert(
        self,
        order: LaunchOrder,
        facts: SourceFacts,  # noqa: ARG002  (the interface)
        wishes: Wishes,  # noqa: ARG002
    ) -> ConversionReport:
        """See `Target.convert`. Images are the checkpoint's bytes: raises NotConvertible."""
        raise NotConvertible(
            f"images of {order.instance} are published as the checkpoint has them, not converted",
            remedy="convert them where they are started, or test the server with the target qemu",
        )

    async def launch(self, order: LaunchOrder) -> Instance:
        """See `Target.launch`: publish an image of each volume in each format."""
        return await stoppable(partial(self._publish, order))

    def _publish(self, order: LaunchOrder, stop: Stop) -> Instance:
        with locked(self._lock(order.instance)):
            published = self.settings.place.published(order.instance)
            if published is not None:
                _require_same(published, order)
                return self._instance(order.instance, published)
            for volume in order.volumes:
                require_proved(volume)
            with self.settings.place.publishing(order.instance, stop) as publication:
                images = [image for each in order.volumes for image in self._images(each, publication, stop)]
                stop.check()
                publication.finish(Manifest(VERSION, order.instance, order, tuple(images)))
        return self._require(order.instance)

    def _images(self, volume: Volume, publication: Publication, stop: Stop) -> Iterator[Image]:
        require_proved(volume)
        with shared(volume.path):
            for each in self.settings.formats:
                stop.check()
                image = make_image(volume, each, publication.folder, stop)
                publication.add(image)
                yield image

    async def find(self, instance: str) -> Instance | None:
        """See `Target.find`."""
        return await in_thread(self._found, instance)

    def _found(self, instance: str) -> Instance | None:
        published = self.settings.place.published(require_name(instance, "an instance"))
        return None if published is None else self._instance(instance, published)

    def _instance(self, instance: str, published: Published) -> Instance:
        folder, address = self.settings.place.folder(instance), self.settings.place.address(instance)
        files = tuple(folder / name for name, _ in published.sums)
        return Instance(instance, self.kind, InstanceState.PUBLISHED, folder, files=files, address=address)

    def _require(self, instance: str) -> Instance:
        found = self._found(instance)
        if found is None:
            raise InstanceUnknown(f"no images of {instance} are published", remedy="launch it")
        return found

    async def check(self, instance: str, plan: CheckPlan, evidence: Path) -> BootProof:
        """See `Target.check`: read the images again. Raises SettingsWrong where a machine is asked for."""
        if any(check.kind is not CheckKind.IMAGES for check in plan.checks):
            raise SettingsWrong("images have no console and no ports", remedy="check nothing but the images")
        return await stoppable(partial(self._checked, instance, plan, Evidence(evidence)))

    def _checked(self, instance: str, plan: CheckPlan, evidence: Evidence, stop: Stop) -> BootProof:
        began, place = time.monotonic(), self.settings.place
        found = self._require(instance)
        evidence.begin()
        published = place.published(instance)
        assert published is not None, "it was found"
        bad = [name for name, digest in published.sums if not place.is_right(instance, name, digest, stop)]
        return prove_reread(found, plan, evidence, self.clock, time.monotonic() - began, bad)

    async def terminate(self, instance: str) -> bool:
        """See `Target.terminate`."""
        return await in_thread(self._remove, instance)

    async def retire(self, instance: str) -> bool:
        """See `Target.retire`: nothing of it runs."""
        return await self.terminate(instance)

    def _remove(self, instance: str) -> bool:
        with locked(self._lock(instance)):
            return self.settings.place.remove(instance)

    def _lock(self, instance: str) -> Path:
        """Of one instance, since publishing takes as long as its disks are large."""
        return self.settings.work / "locks" / require_name(instance, "an instance")


def _require_same(published: Published, order: LaunchOrder) -> None:
    if published.order != order_text(order):
        raise InstanceDiffers(
            f"images of {order.instance} are published from other disks",
            remedy="terminate it first, or take another id",
        )
