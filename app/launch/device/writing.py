"""Writing a device in place; all of it blocks.

Whoever writes has the device alone: by O_EXCL on a block device, which the kernel refuses while it, or a
partition of it, is mounted or part of something else; by flock on a file. The lock ends with the process.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from app.launch.device.holding import loop_device_of, what_holds
from app.launch.device.note import DeviceNote, DeviceState, HeldDisk, Notes
from app.launch.device.place import Place, place_at
from app.launch.errors import DeviceHoldsData, VolumeUnproved
from app.launch.machine import DiskContent
from app.launch.volumenote import VolumeProof
from app.store.errors import VolumeBusy, VolumeDiffers, VolumeError, VolumeUnusable
from app.store.volume import VolumeWriter
from app.store.volumechange import VolumeChange
from app.store.volumefile import VolumeInPlace, open_in_place
from app.store.volumehash import volume_root


@dataclass(frozen=True)
class DeviceWriting:
    """One device of a target, and what is noted of it."""

    path: Path
    notes: Notes
    overwrite: bool = False
    """Whether a stranger's data may be written over."""

    def note(self) -> DeviceNote | None:
        """What is noted, of the device that is there now; None where that is another one, or a stranger's."""
        found, place = self.notes.read(self.path), self.place()
        return found if found is not None and place is not None and place.is_same(found.place) else None

    def place(self) -> Place | None:
        """What lies at the path."""
        return place_at(self.path)

    def require_held(self, root: str) -> DeviceNote:
        """The note of a device that holds this root and was not touched since. Raises VolumeUnproved."""
        note, place = self.note(), self.place()
        if note is None or not note.holds(root):
            raise _unproved(self.path, "does not hold this disk")
        if place is None or not place.is_untouched(note.place):
            raise _unproved(self.path, "was written to, or the node was started, since it was verified")
        return note

    def begin(self, disk: DiskContent) -> VolumeWriter:
        """Open the device to write a whole disk; its content is worth nothing from now on.

        Raises DeviceHoldsData, VolumeBusy, VolumeTooSmall, VolumeUnusable.
        """
        self._create()
        output = self._opened(disk)
        try:
            self._require_ours()
            self._note(DeviceState.WRITING, wanted=HeldDisk.of(disk))
            output.renew(disk.size)
        except BaseException:
            output.close()
            raise
        return VolumeWriter(output, disk.size, disk.root)

    def begin_change(self, before: str, disk: DiskContent) -> VolumeChange:
        """Open the device to bring it from the root `before` to another disk, or go on with that.

        Raises VolumeUnproved, VolumeBusy, VolumeTooSmall, VolumeUnusable.
        """
        output = self._opened(disk)
        try:
            self._announce(before, HeldDisk.of(disk))
        except BaseException:
            output.close()
            raise
        return VolumeChange(output, bytes.fromhex(before), disk.root)

    def _announce(self, before: str, wanted: HeldDisk) -> None:
        note = self.note()
        if note is not None and note.state is DeviceState.CHANGING:
            same = note.held is not None and note.held.root == before and note.wanted is not None
            if same and note.wanted is not None and note.wanted.root == wanted.root:
                return
            raise _unproved(self.path, "is on its way to another checkpoint")
        held = self.require_held(before).held
        self._note(DeviceState.CHANGING, held=held, wanted=wanted)

    def end(self, disk: DiskContent, proof: VolumeProof) -> None:
        """Note that the device holds the disk, as it is now."""
        self._note(DeviceState.HOLDS, held=HeldDisk.of(disk), proof=proof)

    def verify(self, disk: DiskContent) -> None:
        """Recompute the root from the device's own bytes, and note it.

        Raises VolumeDiffers, VolumeUnproved.
        """
        note = self.note()
        if note is None or not note.holds(disk.root.hex()):
            raise _unproved(self.path, "does not hold this disk")
        before = self.place()
        found = volume_root(self.path, disk.size, disk.chunk_size, disk.masked)
        if found != disk.root:
            raise VolumeDiffers(
                f"{self.path} has the root {found.hex()}, disk {disk.disk} the root {disk.root.hex()}",
                remedy="somebody else wrote to it, or its storage is at fault: materialise it again",
            )
        if self.place() != before:
            raise _unproved(self.path, "was written to while it was read")
        self.end(disk, VolumeProof.OWN_BYTES)

    def free(self, root: str) -> None:
        """The volume with this root is not wanted any more; the device stays ours. Harmless without one."""
        note = self.note()
        held = (note.held, note.wanted) if note is not None else ()
        if note is not None and any(each is not None and each.root == root for each in held):
            self.notes.write(note.freed())

    def _note(
        self,
        state: DeviceState,
        held: HeldDisk | None = None,
        wanted: HeldDisk | None = None,
        proof: VolumeProof = VolumeProof.OWN_BYTES,
    ) -> None:
        place = self.place()
        assert place is not None, "it is open"
        self.notes.write(DeviceNote(str(self.path), state, place, held, wanted, proof))

    def _create(self) -> None:
        """Make the file where there is nothing; never below /dev, where it would lie in memory."""
        if self.place() is not None:
            return
        if self.path.is_relative_to("/dev"):
            raise VolumeUnusable(f"there is no device {self.path}", remedy="attach it, or correct the target")
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise VolumeUnusable(f"{self.path} cannot be made: {error.strerror}") from error

    def _opened(self, disk: DiskContent) -> VolumeInPlace:
        loop = loop_device_of(self.path)
        if loop is not None:
            raise VolumeBusy(f"{self.path} lies below {loop}", remedy=f"detach it: losetup -d {loop}")
        return open_in_place(self.path.resolve(), disk.size)

    def _require_ours(self) -> None:
        """Raises DeviceHoldsData for what this target did not write, unless that may be written over."""
        place = self.place()
        if self.overwrite or self.note() is not None or place is None:
            return
        try:
            found = what_holds(self.path, place)
        except OSError as error:
            raise VolumeUnusable(f"{self.path} cannot be read: {error.strerror or error}") from error
        if found is not None:
            raise DeviceHoldsData(
                f"{self.path} holds {found}, which this target did not write",
                remedy="name another device, wipe this one, or set `overwrite` for it in the target",
            )

    def obstacle(self, size: int | None) -> VolumeError | DeviceHoldsData | None:
        """Why the device could not be written now; None: it could, with `size` bytes where that is given."""
        try:
            if self.place() is None and not self.path.is_relative_to("/dev") and self.path.parent.is_dir():
                return None
            disk = DiskContent("none", "none", size or 0, bytes(32))
            self._opened(disk).close()
            self._require_ours()
        except (VolumeError, DeviceHoldsData) as error:
            return error
        return None


def _unproved(path: Path, what: str) -> VolumeUnproved:
    return VolumeUnproved(f"{path} {what}", remedy="materialise the checkpoint there again")
