"""Bringing an image to a checkpoint, and reading it back. All of it blocks.

1. The note says WRITING, or CHANGING from what to what.
2. A diff is imported; Ceph makes the checkpoint's snapshot when all of it was taken.
3. The snapshot is read back: all that it holds, or how it differs from the one before.
4. The note says HOLDS. Older snapshots go.

A cut before 4 leaves an image that counts for nothing; the snapshot it may have is removed, and the diff is
given again from its start: each place is written with what it is to be.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.kit.errors import Json
from app.launch.device.note import DeviceState, HeldDisk
from app.launch.machine import DiskContent
from app.launch.rbd.image import RbdImage, unproved
from app.launch.rbd.note import ImageNote
from app.launch.rbd.pipes import ImportDiff, exported
from app.launch.volumenote import VolumeProof
from app.store.errors import VolumeDiffers
from app.store.streamhash import StreamChanges, StreamHash
from app.store.volume import VolumeWriter
from app.store.volumechange import VolumeChange
from app.wire.frames import Frame


@dataclass(frozen=True)
class ImageWriting:
    """One image that this target writes."""

    image: RbdImage
    order: Json = None
    """What the image is published as."""

    def begin(self, disk: DiskContent) -> ImportDiff:
        """Be ready to write a whole disk; what the image held is worth nothing from now on.

        Raises ImageForeign, VolumeBusy, LaunchError.
        """
        found = self.image.claimed()
        note = found.note
        stale = {disk.checkpoint} | ({note.wanted.checkpoint} if note is not None and note.wanted else set())
        for each in stale:
            self.image.forget(each, found)
        kept = tuple(name for name in note.kept if name not in stale) if note is not None else ()
        owner, wanted = self.image.command.settings.owner, HeldDisk.of(disk)
        self.image.write(ImageNote(owner, DeviceState.WRITING, wanted=wanted, kept=kept, order=self.order))
        self.image.empty(found)
        return ImportDiff(self.image.command, self.image.name, disk.checkpoint)

    def begin_change(self, before: str, disk: DiskContent) -> ImportDiff:
        """Be ready to bring the image from the root `before` to another disk, or go on with that.

        Raises VolumeUnproved, VolumeBusy, LaunchError.
        """
        found, wanted = self.image.found(), HeldDisk.of(disk)
        note = found.note if found is not None else None
        if found is None or note is None or note.held is None or note.held.root != before:
            raise unproved(self.image.spec, "does not hold the older disk")
        if note.state is not DeviceState.CHANGING:
            self.image.required(found, before)
        elif note.wanted != wanted:
            raise unproved(self.image.spec, "is on its way to another checkpoint")
        elif not self.image.has_snapshot(found):
            raise unproved(self.image.spec, "has lost the snapshot of the older disk")
        self.image.take(note)
        self.image.write(replace(note, state=DeviceState.CHANGING, wanted=wanted))
        self.image.forget(disk.checkpoint, found)
        return ImportDiff(self.image.command, self.image.name, disk.checkpoint, note.held.checkpoint)

    def end(self, disk: DiskContent, changed: tuple[tuple[int, bytes], ...] | None) -> None:
        """The diff was taken: read back what was to change, None for all of it, and note that.

        Where Ceph says that something else changed as well, all of it is read. Raises VolumeDiffers.
        """
        found = self.image.found()
        note = found.note if found is not None else None
        if found is None or note is None or note.wanted != HeldDisk.of(disk):
            raise unproved(self.image.spec, "was taken over by another writer")
        if disk.checkpoint not in found.snapshots:
            raise unproved(self.image.spec, f"has lost the snapshot {disk.checkpoint}")
        proof = self._proof(note, disk, changed)
        names = (*(name for name in note.kept if name != disk.checkpoint), disk.checkpoint)
        holds = replace(note, state=DeviceState.HOLDS, held=note.wanted, wanted=None, proof=proof)
        fresh = replace(holds, masked=disk.masked, snapshot=found.snapshots[disk.checkpoint], kept=names)
        self.image.write(fresh)
        self.image.pruned(fresh)

    def _proof(
        self, note: ImageNote, disk: DiskContent, changed: tuple[tuple[int, bytes], ...] | None
    ) -> VolumeProof:
        """Read back. Raises VolumeDiffers; the image is worth nothing then, and is written from its start."""
        since = note.held.checkpoint if note.held is not None else None
        if changed is not None and since is not None and self._changed(disk, since, changed):
            return VolumeProof.CHANGES
        try:
            self._require_root(disk)
        except VolumeDiffers:
            self.image.write(replace(note, state=DeviceState.FREE, held=None, snapshot=None))
            raise
        return VolumeProof.OWN_BYTES

    def _changed(self, disk: DiskContent, since: str, changed: tuple[tuple[int, bytes], ...]) -> bool:
        proof = StreamChanges(disk.size, disk.chunk_size, changed, disk.masked)
        with exported(self.image.command, self.image.name, disk.checkpoint, disk.size, since) as extents:
            for extent in extents:
                proof.feed(extent.at, extent.length, extent.data)
        return proof.are_proved()

    def _require_root(self, disk: DiskContent) -> None:
        with (
            exported(self.image.command, self.image.name, disk.checkpoint, disk.size) as extents,
            StreamHash(disk.size, disk.chunk_size, disk.masked) as proof,
        ):
            for extent in extents:
                if extent.data is not None:
                    proof.feed(extent.at, extent.data)
            found = proof.root()
        if found != disk.root:
            raise VolumeDiffers(
                f"{self.image.spec}@{disk.checkpoint} has the root {found.hex()}, disk {disk.disk} the root "
                f"{disk.root.hex()}",
                remedy="another program wrote to it, or its storage is at fault: materialise it again",
            )

    def verify(self, disk: DiskContent) -> None:
        """Recompute the root of the snapshot from its own bytes, see that the image is still it, note it.

        Raises VolumeUnproved, VolumeDiffers.
        """
        found = self.image.found()
        if found is None or found.note is None or not found.note.holds(disk.root.hex()):
            raise unproved(self.image.spec, "does not hold this disk")
        if not self.image.has_snapshot(found):
            raise unproved(self.image.spec, "has lost the snapshot of this disk")
        held = found.note.content
        self._require_root(replace(held, masked=disk.masked or held.masked))
        if not self.image.is_untouched(found):
            raise VolumeDiffers(
                f"the image {self.image.spec} was written to since its snapshot {held.checkpoint}",
                remedy="see who has it: rbd status; it is written anew from its checkpoint",
            )
        self.image.write(replace(found.note, proof=VolumeProof.OWN_BYTES))

    def copy(self, source: RbdImage, disk: DiskContent) -> None:
        """Make the image the disk that the source's snapshot is, and verify it from its own bytes."""
        output = self.begin(disk)
        try:
            output.renew(disk.size)
            with exported(source.command, source.name, disk.checkpoint, disk.size) as extents:
                for extent in extents:
                    if extent.data is not None:
                        output.write(extent.at, [extent.data])
            output.flush()
        finally:
            output.close()
        self.end(disk, None)

    def drop(self, checkpoint: str) -> None:
        """The disk of this checkpoint is not wanted any more: its snapshot goes.

        With the last one the image does. Harmless without it, and for what is not ours. Raises VolumeBusy.
        """
        found = self.image.found()
        note = found.note if found is not None else None
        if found is None or note is None:
            return
        meant = {each.checkpoint for each in (note.held, note.wanted) if each is not None}
        if checkpoint not in meant | set(note.kept):
            return
        if checkpoint in meant:
            self.image.take(note)
            note = replace(note, state=DeviceState.FREE, held=None, snapshot=None)
        self.image.write(replace(note, kept=tuple(name for name in note.kept if name != checkpoint)))
        gone = {checkpoint} | ({note.wanted.checkpoint} if note.wanted is not None else set())
        for each in gone:
            self.image.forget(each, found)
        if note.state is DeviceState.FREE and not set(found.snapshots) - gone:
            self.image.remove()


class WholeDisk:
    """Writing all of a disk from its export stream."""

    def __init__(self, writing: ImageWriting, disk: DiskContent) -> None:
        """Begin. Raises as `ImageWriting.begin`."""
        self._writing = writing
        self._disk = disk
        output = writing.begin(disk)
        self._work = VolumeWriter(output, disk.size, disk.root)
        try:
            output.renew(disk.size)
        except BaseException:
            self._work.close()
            raise

    def feed(self, frames: Iterable[Frame]) -> None:
        """Take frames. Raises VolumeError, LaunchError."""
        self._work.feed(frames)

    def finish(self) -> None:
        """The stream is over. Raises VolumeError, LaunchError."""
        self._work.end()
        self._writing.end(self._disk, None)

    def close(self) -> None:
        """Let go; harmless after `finish`."""
        self._work.close()


class ChangedDisk:
    """Bringing an image to another disk by a delta stream."""

    def __init__(self, writing: ImageWriting, before: str, disk: DiskContent) -> None:
        """Begin. Raises as `ImageWriting.begin_change`."""
        self._writing = writing
        self._disk = disk
        output = writing.begin_change(before, disk)
        self._work = VolumeChange(output, bytes.fromhex(before), disk.root)

    def feed(self, frames: Iterable[Frame]) -> None:
        """Take frames. Raises VolumeError, LaunchError."""
        self._work.feed(frames)

    def finish(self) -> None:
        """The stream is over. Raises VolumeError, LaunchError."""
        self._work.end()
        self._writing.end(self._disk, self._work.changed)

    def close(self) -> None:
        """Let go; harmless after `finish`."""
        self._work.close()
