"""Disks in a real store, and the streams that a target materialises them from."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from app.launch.machine import DiskContent, Volume
from app.launch.target import Target
from app.store.delta import delta_stream
from app.store.export import export_stream
from tests.store.world import PROJECT, World, make_world


@dataclass(frozen=True)
class Replica:
    """A store with disks of one checkpoint."""

    world: World

    @classmethod
    def in_folder(cls, folder: Path) -> "Replica":
        return cls(make_world(folder))

    def put(self, content: bytes, disk: str = "dsk-1", checkpoint: str = "chk-1") -> DiskContent:
        tree = self.world.put_disk(content)
        return DiskContent(checkpoint, disk, len(content), tree.root.hash, chunk_size=tree.root.chunk_size)

    def stream(self, disk: DiskContent) -> AsyncIterator[bytes]:
        return export_stream(self.world.objects, self.world.reader, PROJECT, disk.root)

    def delta(self, volume: Volume, disk: DiskContent) -> AsyncIterator[bytes]:
        return delta_stream(
            self.world.objects, self.world.reader, PROJECT, bytes.fromhex(volume.root), disk.root
        )

    async def volume(self, target: Target, content: bytes, disk: str = "dsk-1") -> Volume:
        made = self.put(content, disk)
        return await target.materialise(made, self.stream(made))


async def nothing() -> AsyncIterator[bytes]:
    """A stream that must not be read."""
    raise AssertionError("the volume was there already")
    yield b""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
