"""The volumes of a target: raw files, one for each disk of a checkpoint, verified.

    <folder>/<checkpoint>/<disk>.raw      read-only
    <folder>/<checkpoint>/<disk>.json     what it is; inode, size and time of change when it was verified
    <folder>/<checkpoint>/<disk>.change   it is on its way to another checkpoint (see `changing`)

Writing and verifying are the store's (`app.store.volume`). The note is what a launch believes: a file that is
not the noted one any more was never verified. Whoever changes a volume has it alone (flock, exclusive),
whoever works on it holds it shared: a machine as long as it runs, an image while it is made.
"""

import shutil
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.launch.changing import Changing, drop_change
from app.launch.durable import remove_if_empty, sync
from app.launch.errors import StorageShort
from app.launch.locking import shared
from app.launch.machine import DiskContent, Volume
from app.launch.threads import in_thread
from app.launch.volumenote import VolumeProof, note_volume, noted, require_proved
from app.store.errors import VolumeDiffers
from app.store.volume import VolumeWriter, volume_root
from app.wire.frames import FrameReader

LEAST_FREE: Final = 1 << 30
LEAST_FREE_PART: Final = 20
"""Volumes leave 1 GiB of their filesystem free, or the twentieth part of a small one."""


@dataclass(frozen=True)
class VolumeFolder:
    """The folder of a target's volumes."""

    folder: Path

    async def materialise(self, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.materialise`."""
        volume = self.named(disk)
        if noted(volume.path) is not None:
            await in_thread(self._verify, volume, disk)
            return volume
        await in_thread(volume.path.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
        await _write(volume.path, disk, stream)
        await in_thread(note_volume, volume, VolumeProof.OWN_BYTES)
        return volume

    async def advance(self, volume: Volume, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """See `Target.advance`."""
        wanted = self.named(disk)
        if noted(wanted.path) is not None:
            await in_thread(self._verify, wanted, disk)
            await in_thread(Changing(volume, wanted).forget)
            return wanted
        await _change(Changing(volume, wanted), disk, stream)
        return wanted

    async def verify(self, volume: Volume, disk: DiskContent) -> None:
        """See `Target.verify`."""
        await in_thread(self._verify, volume, disk)

    def _verify(self, volume: Volume, disk: DiskContent) -> None:
        require_proved(volume)
        with shared(volume.path):
            found = volume_root(volume.path, disk.size, disk.chunk_size, disk.masked)
        if found != disk.root:
            raise VolumeDiffers(
                f"{volume.path} has the root {found.hex()}, disk {disk.disk} the root {disk.root.hex()}",
                remedy="drop the volume and materialise it again; look at the storage below it",
            )
        require_proved(volume)
        note_volume(volume, VolumeProof.OWN_BYTES)

    def named(self, disk: DiskContent) -> Volume:
        """The volume of a disk, there or not."""
        path = self.folder / disk.checkpoint / f"{disk.disk}.raw"
        return Volume(disk.checkpoint, disk.disk, path, disk.size, disk.root.hex(), disk.sector_size)

    async def drop(self, volume: Volume) -> None:
        """See `Target.drop`. The last volume of a checkpoint takes the folder with it."""
        await in_thread(_drop, volume.path)

    def free_bytes(self) -> int:
        """Bytes that the folder's filesystem has left for us."""
        place = self.folder
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free


async def _write(path: Path, disk: DiskContent, stream: AsyncIterable[bytes]) -> None:
    """Write what the stream brings, and verify it. A file without a note is from a call that was cut off."""
    writer = await in_thread(VolumeWriter, path, disk.size, disk.root, force=True)
    try:
        reader = FrameReader()
        async for piece in stream:
            await in_thread(_require_room, path)
            await in_thread(writer.feed, list(reader.feed(piece)))
        await in_thread(writer.finish, disk.masked)
    finally:
        await in_thread(writer.close)


async def _change(change: Changing, disk: DiskContent, stream: AsyncIterable[bytes]) -> None:
    """Bring a volume to another checkpoint where it lies; see `changing` for what a cut leaves."""
    work = await in_thread(change.begin, disk)
    try:
        reader = FrameReader()
        async for piece in stream:
            await in_thread(_require_room, work.path)
            await in_thread(work.feed, list(reader.feed(piece)))
        await in_thread(work.finish, disk.masked)
        await in_thread(change.end)
    finally:
        await in_thread(work.close)


def _require_room(path: Path) -> None:
    """A full filesystem would stop the database and the store that may lie on it. Raises StorageShort."""
    usage = shutil.disk_usage(path.parent)
    least = min(LEAST_FREE, usage.total // LEAST_FREE_PART)
    if usage.free < least:
        raise StorageShort(
            f"{path} is not written on: {usage.free} bytes are left there, of which {least} stay free",
            remedy="terminate tests, free space, or move LAUNCH.FOLDER to a filesystem of its own",
        )


def _drop(path: Path) -> None:
    """The note goes first: a file without one counts for nothing."""
    path.with_suffix(".json").unlink(missing_ok=True)
    if path.parent.exists():
        sync(path.parent)
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".partial").unlink(missing_ok=True)
    drop_change(path)
    remove_if_empty(path.parent)
