"""The volumes of a target: raw files, one for each disk of a checkpoint, written once and verified.

    <folder>/<checkpoint>/<disk>.raw      read-only
    <folder>/<checkpoint>/<disk>.json     what it is; inode, size and time of change when it was verified

Writing and verifying are the store's (`app.store.volume`). The note is what a launch believes: a file that is
not the noted one any more was never verified.
"""

import json
import shutil
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.kit.errors import Json
from app.launch.durable import sync, write_json
from app.launch.errors import StorageShort, VolumeUnproved
from app.launch.machine import DiskContent, Volume
from app.launch.threads import in_thread
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
        if _noted(volume.path) is not None:
            await in_thread(self._verify, volume, disk)
            return volume
        await in_thread(volume.path.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
        await _write(volume.path, disk, stream)
        await in_thread(note, volume)
        return volume

    def _verify(self, volume: Volume, disk: DiskContent) -> None:
        require_proved(volume)
        found = volume_root(volume.path, disk.size, disk.chunk_size, disk.masked)
        if found != disk.root:
            raise VolumeDiffers(
                f"{volume.path} has the root {found.hex()}, disk {disk.disk} the root {disk.root.hex()}",
                remedy="drop the volume and materialise it again; look at the storage below it",
            )

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


def require_proved(volume: Volume) -> None:
    """Make sure that the volume's file is the one that was verified as this root. Raises VolumeUnproved."""
    noted = _noted(volume.path)
    if noted != _identity(volume):
        state = "was never verified" if noted is None else "changed since it was verified"
        raise VolumeUnproved(
            f"the volume {volume.path} {state}", remedy="drop it and materialise the checkpoint again"
        )


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


def _require_room(path: Path) -> None:
    """A full filesystem would stop the database and the store that may lie on it. Raises StorageShort."""
    usage = shutil.disk_usage(path.parent)
    least = min(LEAST_FREE, usage.total // LEAST_FREE_PART)
    if usage.free < least:
        raise StorageShort(
            f"{path} is not written on: {usage.free} bytes are left there, of which {least} stay free",
            remedy="terminate tests, free space, or move LAUNCH.FOLDER to a filesystem of its own",
        )


def note(volume: Volume) -> None:
    """From now on the file is the volume: its root was just recomputed from its own bytes."""
    volume.path.chmod(0o400)
    write_json(volume.path.with_suffix(".json"), _identity(volume))


def _noted(path: Path) -> Json:
    try:
        noted: Json = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return noted


def _identity(volume: Volume) -> Json:
    """What the note says of the file as it is now; a missing file has no inode."""
    found = volume.path.stat() if volume.path.exists() else None
    return {
        "disk": volume.disk,
        "root": volume.root,
        "size": volume.size,
        "inode": found.st_ino if found else 0,
        "bytes": found.st_size if found else 0,
        "changed": found.st_mtime_ns if found else 0,
    }


def _drop(path: Path) -> None:
    """The note goes first: a file without one counts for nothing."""
    path.with_suffix(".json").unlink(missing_ok=True)
    if path.parent.exists():
        sync(path.parent)
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".partial").unlink(missing_ok=True)
    if path.parent.exists() and not any(path.parent.iterdir()):
        path.parent.rmdir()
