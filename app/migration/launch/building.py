"""What the steps of tests and of cutovers do alike: see that a target can do it, and write its volumes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from app.contract.resources.launch import LaunchMachine
from app.contract.words import FindingSeverity, InstancePurpose, JobEventLevel
from app.kit.errors import Conflict, Invalid, NotFound
from app.launch.boot.checks import CheckPlan
from app.launch.errors import InstanceDiffers, NotConvertible, SettingsWrong, WishImpossible
from app.launch.machine import DiskContent, Volume
from app.migration.launch import machines, tests
from app.migration.launch.queries import Content, content_of
from app.migration.launch.stopping import whole
from app.migration.launch.tables import TestRow
from app.migration.replication.reading import chunk_reader
from app.migration.services import Services
from app.migration.targets.opening import row_of, target_for
from app.store.delta import delta_stream
from app.store.export import export_stream
from app.work.context import Context
from app.work.errors import StepFailed

if TYPE_CHECKING:
    from app.launch.target import Target

T = TypeVar("T")

_FOR_GOOD = (NotFound, Conflict, Invalid, SettingsWrong, InstanceDiffers, NotConvertible, WishImpossible)
"""Errors that a repetition would meet again."""


async def for_good(work: Awaitable[T]) -> T:
    """The same, but errors that a repetition would meet again end the step for good."""
    try:
        return await work
    except _FOR_GOOD as error:
        raise StepFailed(error.detail, code=error.code, remedy=error.remedy) from error


def _passing(context: Context, content: Content, disk: DiskContent, before: int) -> Callable[[int], None]:
    """Says how far a stream of a disk is; `before` are the bytes of the disks before it."""

    def passed(at: int) -> None:
        context.check_cancelled()
        percent = 100 * (before + at) // max(content.size, 1)
        context.progress(percent, f"disk {disk.disk}, {at} of {disk.size} bytes")

    return passed


@dataclass(frozen=True)
class Builder:
    """Builds at a target, in a process with these services."""

    services: Services
    target: "Target"

    async def checks(self, machine: LaunchMachine) -> CheckPlan:
        """What is looked at in the machine. Raises StepFailed for a program that this node has not."""
        scripts = self.services.settings.launch.scripts
        return await for_good(asyncio.to_thread(machines.plan, machine, scripts))

    async def require_possible(self, context: Context, machine: LaunchMachine, content: Content) -> None:
        """Raises StepFailed TARGET_NOT_READY, and that of a check whose program is not there."""
        await self.checks(machine)
        plan = await self.target.plan(machines.spec(machine), content.disks)
        for finding in plan.findings:
            if finding.severity is FindingSeverity.BLOCKER:
                raise StepFailed(
                    f"target {plan.target} on node {context.node}: {finding.text}",
                    code="TARGET_NOT_READY",
                    remedy=finding.remedy or "see docs/launch.md for what the target needs",
                )
            is_grave = finding.severity is FindingSeverity.WARNING
            context.log(finding.text, JobEventLevel.WARNING if is_grave else JobEventLevel.INFO)

    async def materialise(self, context: Context, content: Content) -> tuple[Volume, ...]:
        """Write a checkpoint's disks on this node, each verified by its root (v4)."""
        volumes, done = [], 0
        for disk in content.disks:
            stream = self._stream(context, content, disk, done)
            volumes.append(await for_good(whole(self.target.materialise(disk, stream))))
            context.log(f"disk {disk.disk}: {disk.size} bytes written and verified, root {disk.root.hex()}")
            done += disk.size
        return tuple(volumes)

    async def advance(self, context: Context, base: Content, content: Content) -> tuple[Volume, ...]:
        """Bring the volumes of one checkpoint to another, by writing only what differs; see Target.advance.

        A disk that the base lacks, or has cut into other chunks, is written whole. Nothing of the base stays.
        """
        known, volumes, done = {disk.disk: disk for disk in base.disks}, [], 0
        for disk in content.disks:
            old = known.get(disk.disk)
            if old is None or old.chunk_size != disk.chunk_size:
                work = self.target.materialise(disk, self._stream(context, content, disk, done))
            else:
                stream = self._delta(context, content, old, disk, done)
                work = self.target.advance(self.target.volume(old), disk, stream)
            volumes.append(await for_good(whole(work)))
            context.log(f"disk {disk.disk} is at checkpoint root {disk.root.hex()}")
            done += disk.size
        await self.drop(base)
        return tuple(volumes)

    async def _stream(
        self, context: Context, content: Content, disk: DiskContent, before: int
    ) -> AsyncIterator[bytes]:
        """The whole disk."""
        store = self.services.store
        reader, passed = chunk_reader(store, self.services.database), _passing(context, content, disk, before)
        async for piece in export_stream(store, reader, content.project_id, disk.root, passed):
            context.check_cancelled()
            yield piece

    async def _delta(
        self, context: Context, content: Content, old: DiskContent, disk: DiskContent, before: int
    ) -> AsyncIterator[bytes]:
        """What of the disk differs from what it was."""
        store = self.services.store
        reader, passed = chunk_reader(store, self.services.database), _passing(context, content, disk, before)
        async for piece in delta_stream(store, reader, content.project_id, old.root, disk.root, passed):
            context.check_cancelled()
            yield piece

    async def verify(self, context: Context, content: Content) -> None:
        """Recompute the roots of a checkpoint's volumes from all of their own bytes (v4)."""
        for disk in content.disks:
            await for_good(whole(self.target.verify(self.target.volume(disk), disk)))
            context.log(f"disk {disk.disk}: its own bytes have the root {disk.root.hex()}")

    async def drop(self, content: Content) -> None:
        """Remove the volumes of a checkpoint, finished or not."""
        for disk in content.disks:
            await self.target.drop(self.target.volume(disk))


async def builder_at(
    services: Services, target_id: str, purpose: InstancePurpose = InstancePurpose.TEST
) -> Builder:
    """Builds at the target of this id; machines of a cutover on volumes that no test has."""
    async with services.database.reading() as uow:
        return Builder(services, target_for(services, await row_of(uow, target_id), purpose))


async def end_test(services: Services, context: Context, test: TestRow) -> None:
    """End the machine of a test and remove its volumes. Raises StepFailed where they are on another node."""
    if test.node is not None and test.node != context.node:
        raise StepFailed(
            f"the machine of test {test.id} is on node {test.node}, this is {context.node}",
            code="TEST_MACHINE_ELSEWHERE",
            remedy="terminate it first: go2cloud server terminate-test",
        )
    if test.node is not None:
        builder = await builder_at(services, test.target)
        await whole(builder.target.terminate(test.id))
        async with services.database.reading() as uow:
            content = await content_of(uow, test.checkpoint_id)
        await builder.drop(content)
    await context.write(lambda uow: tests.terminated(uow, test.id))
