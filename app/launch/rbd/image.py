"""One image: what is noted of it, who has it, and its snapshots. All of it blocks.

A snapshot cannot be written to. What a checkpoint is known by is its snapshot, read back; the image itself
holds it as long as Ceph says that nothing differs between the two.
"""

import json
from dataclasses import dataclass, replace
from typing import Final

from app.launch.device.note import DeviceState
from app.launch.errors import ImageForeign, VolumeUnproved
from app.launch.rbd.command import WORK_SECONDS, RbdCommand
from app.launch.rbd.note import KEY, ImageNote
from app.store.errors import VolumeBusy

FEATURES: Final = "layering,exclusive-lock,object-map,fast-diff"
"""One writer at a time, and comparing snapshots without looking at each object."""


@dataclass(frozen=True)
class Found:
    """An image as Ceph has it."""

    size: int
    snapshots: dict[str, int]
    """Ids by name."""
    note: ImageNote | None

    @property
    def is_nobodys(self) -> bool:
        """Whether there is nothing to lose."""
        return self.note is None and not self.size and not self.snapshots


@dataclass(frozen=True)
class RbdImage:
    """An image of a target by its name."""

    command: RbdCommand
    name: str

    @property
    def spec(self) -> str:
        """As rbd names it."""
        return self.command.settings.spec(self.name)

    def found(self) -> Found | None:
        """The image; None where there is none of the name. A note of another owner is no note."""
        information = self.command.found("info", self.spec, "--format", "json")
        if information is None:
            return None
        known = json.loads(information)
        size, has_snapshots = int(known["size"]), bool(known["snapshot_count"])
        snapshots = self.command.listed("snap ls", self.spec) if has_snapshots else ()
        text = self.command.found("image-meta get", self.spec, KEY)
        note = ImageNote.decode(text) if text is not None else None
        if note is not None and note.owner != self.command.settings.owner:
            note = None
        return Found(size, {str(each["name"]): int(each["id"]) for each in snapshots}, note)

    def note(self) -> ImageNote | None:
        """What is noted of the image, where it is ours."""
        found = self.found()
        return found.note if found is not None else None

    def write(self, note: ImageNote) -> None:
        """Note it."""
        self.command.run("image-meta set", self.spec, KEY, note.encode())

    def claimed(self) -> Found:
        """The image, made where it is not there. Raises ImageForeign, VolumeBusy."""
        found = self.found()
        if found is None:
            self.command.run("create", self.spec, "--size", "0", "--image-feature", FEATURES)
            found = Found(0, {}, None)
        if found.note is None and not found.is_nobodys:
            raise self._foreign()
        self.take(found.note)
        return found

    def require_absent(self) -> None:
        """Raises ImageForeign where there is an image of the name."""
        if self.found() is not None:
            raise self._foreign()

    def obstacle(self) -> ImageForeign | None:
        """Why the image could not be written now, without a look at who has it."""
        found = self.found()
        is_ours = found is None or found.note is not None or found.is_nobodys
        return None if is_ours else self._foreign()

    def _foreign(self) -> ImageForeign:
        return ImageForeign(
            f"the image {self.spec} was not made by this target",
            remedy="take another prefix, pool or namespace, or rename or remove the image",
        )

    def take(self, note: ImageNote | None) -> None:
        """See that nobody else writes. Raises VolumeBusy.

        Who has an image that is being written is an earlier call of ours, here or on a node that was given
        up: Ceph takes its lock away and accepts nothing of it any more (a blocklist entry).
        """
        if note is not None and note.state in (DeviceState.WRITING, DeviceState.CHANGING):
            for each in self.command.listed("lock ls", self.spec):
                self.command.run("lock rm", self.spec, str(each["id"]), str(each["locker"]))
            return
        watchers = [str(each["address"]) for each in self.command.listed("status", self.spec)["watchers"]]
        if watchers:
            raise VolumeBusy(
                f"the image {self.spec} is open at {', '.join(watchers)}",
                remedy="end the machine or program that has it: rbd status",
            )

    def is_untouched(self, found: Found) -> bool:
        """Whether the noted snapshot is there and nothing was written to the image since."""
        if not self.has_snapshot(found) or found.note is None or found.note.held is None:
            return False
        if found.size != found.note.held.size:
            return False
        return not self.command.listed("diff", self.spec, "--from-snap", found.note.held.checkpoint)

    def has_snapshot(self, found: Found) -> bool:
        """Whether the snapshot that the note means is there."""
        note = found.note
        if note is None or note.held is None or note.snapshot is None:
            return False
        return found.snapshots.get(note.held.checkpoint) == note.snapshot

    def require_held(self, root: str) -> ImageNote:
        """The note of an image that holds this root, untouched. Raises VolumeUnproved."""
        return self.required(self.found(), root)

    def required(self, found: Found | None, root: str) -> ImageNote:
        """See `require_held`, of an image that was looked at. Raises VolumeUnproved."""
        if found is None or found.note is None or not found.note.holds(root):
            raise unproved(self.spec, "does not hold this disk")
        if not self.is_untouched(found):
            raise unproved(self.spec, "was written to since it was verified, or its snapshot is gone")
        return found.note

    def empty(self, found: Found) -> None:
        """Let go of all bytes of the image itself; snapshots stay."""
        if found.size:
            arguments = ("--size", "0", "--allow-shrink", "--no-progress")
            self.command.run("resize", self.spec, *arguments, seconds=WORK_SECONDS)

    def forget(self, snapshot: str, found: Found) -> None:
        """Remove a snapshot; harmless when it is gone."""
        if snapshot in found.snapshots:
            spec = f"{self.spec}@{snapshot}"
            self.command.run("snap rm", spec, "--no-progress", seconds=WORK_SECONDS)

    def pruned(self, note: ImageNote) -> ImageNote:
        """Remove our snapshots but the newest ones; the note without them."""
        keep = self.command.settings.keep
        old = note.kept[:-keep]
        found = self.found()
        if not old or found is None:
            return note
        for each in old:
            self.forget(each, found)
        fresh = replace(note, kept=note.kept[-keep:])
        self.write(fresh)
        return fresh

    def remove(self) -> None:
        """Remove the image, which has no snapshots any more. Raises VolumeBusy."""
        self.command.run("rm", self.spec, "--no-progress", seconds=WORK_SECONDS)


def unproved(spec: str, what: str) -> VolumeUnproved:
    """The error for an image that does not hold what is asked for."""
    return VolumeUnproved(f"the image {spec} {what}", remedy="materialise the checkpoint there again")
