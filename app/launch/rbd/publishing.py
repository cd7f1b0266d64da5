"""Images that are published: copies of verified snapshots under names of their own. All of it blocks.

A copy is made as `<name>.partial` and gets its name when it was verified from its own bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.contract.words import InstanceState
from app.kit.errors import Json
from app.launch.boot.proof import document
from app.launch.device.note import DeviceState
from app.launch.errors import InstanceDiffers, ToolFailed, VolumeUnproved
from app.launch.machine import DiskContent, Instance, LaunchOrder, Volume, require_name
from app.launch.rbd.command import RbdCommand
from app.launch.rbd.image import Found, RbdImage
from app.launch.rbd.writing import ImageWriting
from app.store.errors import VolumeDiffers

PARTIAL: Final = ".partial"


@dataclass(frozen=True)
class Publishing:
    """The published images of a target; `source` has the images that they are copied from."""

    command: RbdCommand
    source: RbdCommand

    def publish(self, order: LaunchOrder) -> None:
        """Make the copies of an order that are not there yet.

        Raises InstanceDiffers, VolumeUnproved, ImageForeign, VolumeBusy, LaunchError.
        """
        wanted, there = document(order), dict(self._images(order.instance))
        if any(found.note is not None and found.note.order != wanted for found in there.values()):
            raise InstanceDiffers(
                f"instance {order.instance} was published with other disks, or as another machine",
                remedy="terminate it first, or take another id",
            )
        missing = [each for each in order.volumes if self._name(order.instance, each.disk) not in there]
        disks = [self._source(each).require_held(each.root).content for each in missing]
        for volume, disk in zip(missing, disks, strict=True):
            self._copy(self._name(order.instance, volume.disk), volume, disk, wanted)

    def _copy(self, name: str, volume: Volume, disk: DiskContent, order: Json) -> None:
        image, partial = RbdImage(self.command, name), RbdImage(self.command, name + PARTIAL)
        image.require_absent()
        ImageWriting(partial, order).copy(self._source(volume), disk)
        self.command.run("rename", partial.spec, image.spec)

    def find(self, instance: str) -> Instance | None:
        """What is published as an instance, when all of it is."""
        there = {name: found for name, found in self._images(instance) if found.note is not None}
        names = next((self._names(found) for found in there.values()), [])
        if not names or not all(name in there for name in names):
            return None
        settings = self.command.settings
        files = tuple(Path(settings.spec(name)) for name in names)
        return Instance(instance, "rbd", InstanceState.PUBLISHED, files[0].parent, files=files)

    def _names(self, found: Found) -> list[str]:
        order = found.note.order if found.note is not None else None
        assert isinstance(order, dict), "it is published"
        volumes = order["volumes"]
        assert isinstance(volumes, list), "written as a list"
        return [
            self._name(str(order["instance"]), str(each["disk"]))
            for each in volumes
            if isinstance(each, dict)
        ]

    def damaged(self, instance: Instance) -> list[str]:
        """The published images that are not what was made, read again."""
        return [str(path) for path in instance.files if not self._is_right(RbdImage(self.command, path.name))]

    def _is_right(self, image: RbdImage) -> bool:
        note = image.note()
        if note is None or note.state is not DeviceState.HOLDS:
            return False
        try:
            ImageWriting(image).verify(note.content)
        except (VolumeDiffers, VolumeUnproved, ToolFailed):
            return False
        return True

    def remove(self, instance: str) -> bool:
        """Remove what is published as an instance, finished or not; whether there was anything."""
        there = dict(self._images(instance))
        for name, found in there.items():
            image = RbdImage(self.command, name)
            if found.note is not None:
                image.take(found.note)
                image.write(replace(found.note, state=DeviceState.FREE, held=None, snapshot=None))
            for snapshot in found.snapshots:
                image.forget(snapshot, found)
            image.remove()
        return bool(there)

    def _images(self, instance: str) -> Iterator[tuple[str, Found]]:
        """The images of an instance by name, and what nobody noted yet of them."""
        start = f"{self.command.settings.prefix}{require_name(instance, 'an instance')}."
        for name in self.command.listed("ls", self.command.settings.spec("").rstrip("/")):
            found = RbdImage(self.command, name).found() if str(name).startswith(start) else None
            if found is None:
                continue
            order = found.note.order if found.note is not None else None
            is_begun = found.is_nobodys and str(name).endswith(PARTIAL)
            if is_begun or (isinstance(order, dict) and order["instance"] == instance):
                yield str(name), found

    def _source(self, volume: Volume) -> RbdImage:
        return RbdImage(self.source, self.source.settings.kept(volume.disk))

    def _name(self, instance: str, disk: str) -> str:
        return self.command.settings.published(instance, disk)
