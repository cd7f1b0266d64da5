"""Bringing one disk of a kept target to a checkpoint, from whatever its place holds now."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from app.contract.words import JobEventLevel
from app.launch.machine import DiskContent
from app.launch.target import Held, KeptTarget, Standing
from app.migration.launch.queries import Content
from app.migration.launch.stopping import whole
from app.migration.replication.reading import chunk_reader
from app.migration.services import Services
from app.store.delta import delta_stream
from app.store.errors import DeltaImpossible, ObjectMissing, VolumeDiffers
from app.store.export import export_stream
from app.work.context import Context


@dataclass(frozen=True)
class Bringing:
    """The work of one step."""

    services: Services
    context: Context
    target: KeptTarget
    content: Content

    async def bring(self, disk: DiskContent) -> None:
        """Make the place of the disk hold it: by the change since what it holds, or else from the start."""
        held = await self._settled(disk)
        if held.standing is Standing.CHANGING and held.held is not None and held.wanted is not None:
            self.context.log(f"disk {disk.disk}: a change that was cut off goes on")
            if await self._advance(held.held, held.wanted):
                held = await self.target.standing(disk.disk)
        if held.standing is Standing.PROVED and held.held is not None:
            if held.held.root == disk.root and held.held.size == disk.size:
                return
            if await self._advance(held.held, disk):
                return
        await whole(self.target.materialise(disk, self._stream(disk)))
        self.context.log(f"disk {disk.disk}: {disk.size} bytes written and verified, root {disk.root.hex()}")

    async def _settled(self, disk: DiskContent) -> Held:
        """What the place holds, without doubt: where it may have been touched, all of it is read."""
        held = await self.target.standing(disk.disk)
        if held.standing is not Standing.UNSURE or held.held is None:
            return held
        self.context.log(f"disk {disk.disk}: the device may have been touched, so all of it is read")
        volume = self.target.volume(held.held)
        try:
            await whole(self.target.verify(volume, held.held))
        except VolumeDiffers as error:
            self.context.log(f"disk {disk.disk} is written anew: {error.detail}", JobEventLevel.WARNING)
            await self.target.drop(volume)
        return await self.target.standing(disk.disk)

    async def _advance(self, old: DiskContent, disk: DiskContent) -> bool:
        """Whether the change could be made; not where the store has the older disk no more."""
        try:
            await whole(self.target.advance(self.target.volume(old), disk, self._delta(old, disk)))
        except (ObjectMissing, DeltaImpossible) as error:
            self.context.log(
                f"disk {disk.disk} is written from its start: {error.detail}", JobEventLevel.WARNING
            )
            await self.target.drop(self.target.volume(old))
            return False
        self.context.log(f"disk {disk.disk}: brought to the root {disk.root.hex()} by what differs")
        return True

    async def _delta(self, old: DiskContent, disk: DiskContent) -> AsyncIterator[bytes]:
        store, project = self.services.store, self.content.project_id
        reader = chunk_reader(store, self.services.database)
        async for piece in delta_stream(store, reader, project, old.root, disk.root, self._passed(disk)):
            self.context.check_cancelled()
            yield piece

    async def _stream(self, disk: DiskContent) -> AsyncIterator[bytes]:
        store, project = self.services.store, self.content.project_id
        reader = chunk_reader(store, self.services.database)
        async for piece in export_stream(store, reader, project, disk.root, self._passed(disk)):
            self.context.check_cancelled()
            yield piece

    def _passed(self, disk: DiskContent) -> Callable[[int], None]:
        """Says how far a stream of the disk is."""
        names = [each.disk for each in self.content.disks]
        before = sum(each.size for each in self.content.disks[: names.index(disk.disk)])

        def passed(at: int) -> None:
            self.context.check_cancelled()
            percent = 100 * (before + at) // max(self.content.size, 1)
            self.context.progress(percent, f"disk {disk.disk}, {at} of {disk.size} bytes")

        return passed
