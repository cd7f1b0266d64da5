"""The job `server.publish`: volumes, images out of them, a second look at the images, the volumes go."""

import re
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from app.contract.words import FindingSeverity, JobEventLevel, Place
from app.kit.database import UnitOfWork
from app.kit.errors import Conflict, Invalid, NotFound
from app.launch.boot.checks import CheckPlan, ImagesCheck
from app.launch.errors import InstanceDiffers, SettingsWrong
from app.launch.machine import DiskContent, LaunchOrder, MachineSpec, Volume
from app.migration.launch.queries import Content, content_of, find_checkpoint, newest_to_boot
from app.migration.launch.stopping import listening, whole
from app.migration.launch.targets import evidence_folder
from app.migration.publish.tables import PublishingRow
from app.migration.replication.reading import chunk_reader
from app.migration.retention.checkpoints import keep, let_go
from app.migration.servers.enrolment import find_server
from app.migration.services import Services
from app.migration.targets.opening import row_of, target_for
from app.store.export import export_stream
from app.work.context import Context
from app.work.errors import StepFailed
from app.work.kinds import EndedJob, JobKind, OnFailure, Step

if TYPE_CHECKING:
    from app.launch.target import Target

T = TypeVar("T")

SERVER_PUBLISH: Final = "server.publish"
CHOOSE: Final = "choose"
MATERIALISE: Final = "materialise"
PUBLISH: Final = "publish"

_FOR_GOOD = (NotFound, Conflict, Invalid, SettingsWrong, InstanceDiffers)
"""Errors that a repetition would meet again."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_UNIQUE: Final = 8
"""Characters of the job's id that make a folder's name its own."""
_MACHINE: Final = MachineSpec(nics=())
"""Images are of disks: what machine they are put into is decided where they are imported."""


@dataclass(frozen=True)
class Wanted:
    """What to publish: a checkpoint's id, or None for the newest that can be relied on; as which formats."""

    target_id: str
    checkpoint_id: str | None = None
    formats: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ChosenDisk:
    """What of a disk names its volume, which is found by it also when its checkpoint is gone."""

    disk: str
    size: int
    root: str
    """Hexadecimal."""
    sector_size: int


@dataclass(frozen=True)
class Chosen:
    """The checkpoint with its disks, and the name that its images have at the target.

    A job that was begun by a version which did not name the disks has none.
    """

    checkpoint_id: str
    checkpoint_number: int
    name: str
    label: str = ""
    disks: tuple[ChosenDisk, ...] = ()


@dataclass(frozen=True)
class Volumes:
    """What `materialise` made."""

    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class Published:
    """What was published: a folder or its like, and the files in it besides SHA256SUMS and manifest.json."""

    checkpoint_number: int
    folder: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class PublishSteps:
    """The steps, in a process with these services."""

    services: Services

    async def choose(self, context: Context) -> Chosen:
        """Choose the checkpoint, which is kept until the job ends, and a name."""
        chosen = await _for_good(context.write(lambda uow: _choose(uow, context)))
        context.log(f"checkpoint {chosen.checkpoint_number} ({chosen.label}) is published as {chosen.name}")
        return chosen

    async def materialise(self, context: Context) -> Volumes:
        """See that the target can do it, bind the job to this node, write the disks and verify them."""
        content, target = await self._content(context), await self._target(context)
        plan = await target.plan(_MACHINE, content.disks)
        for finding in plan.findings:
            if finding.severity is FindingSeverity.BLOCKER:
                raise StepFailed(
                    f"target {plan.target} on node {context.node}: {finding.text}",
                    code="TARGET_NOT_READY",
                    remedy=finding.remedy or "see docs/targets.md for what the target needs",
                )
            is_grave = finding.severity is FindingSeverity.WARNING
            context.log(finding.text, JobEventLevel.WARNING if is_grave else JobEventLevel.INFO)
        await context.pin()
        volumes, done = [], 0
        for disk in content.disks:
            stream = self._stream(context, content, disk, done)
            volumes.append(await _for_good(whole(target.materialise(disk, stream))))
            context.log(f"disk {disk.disk}: {disk.size} bytes written and verified, root {disk.root.hex()}")
            done += disk.size
        return Volumes(tuple(volumes))

    async def _stream(
        self, context: Context, content: Content, disk: DiskContent, before: int
    ) -> AsyncIterator[bytes]:
        def passed(at: int) -> None:
            context.check_cancelled()
            percent = 100 * (before + at) // max(content.size, 1)
            context.progress(percent, f"disk {disk.disk}, {at} of {disk.size} bytes")

        store = self.services.store
        reader = chunk_reader(store, self.services.database)
        async for piece in export_stream(store, reader, content.project_id, disk.root, passed):
            context.check_cancelled()
            yield piece

    async def dematerialise(self, context: Context) -> None:
        """Remove the volumes, finished or not."""
        if context.has_result(CHOOSE):
            await self._drop(context)

    async def publish(self, context: Context) -> Published:
        """Make the images, or find them made."""
        chosen, target = context.result(CHOOSE, Chosen), await self._target(context)
        order = LaunchOrder(chosen.name, _MACHINE, context.result(MATERIALISE, Volumes).volumes)
        found = await _for_good(listening(context, target.launch(order)))
        context.log(f"{len(found.files)} images are published in {found.place}")
        files = tuple(file.name for file in found.files)
        return Published(chosen.checkpoint_number, found.place, files)

    async def unpublish(self, context: Context) -> None:
        """Take the images away."""
        if context.has_result(CHOOSE):
            await whole((await self._target(context)).terminate(context.result(CHOOSE, Chosen).name))

    async def check(self, context: Context) -> None:
        """Read the images again: they have the sums that the manifest says."""
        chosen, target = context.result(CHOOSE, Chosen), await self._target(context)
        folder = evidence_folder(self.services.settings.launch, context.job_id)
        proof = await listening(context, target.check(chosen.name, CheckPlan((ImagesCheck(),)), folder))
        if not proof.passed:
            raise StepFailed(proof.detail, code=str(proof.reason), remedy=proof.remedy or "publish again")
        context.log(proof.detail)

    async def clear(self, context: Context) -> Published:
        """The volumes are not needed any more."""
        await self._drop(context)
        return context.result(PUBLISH, Published)

    async def _drop(self, context: Context) -> None:
        target, chosen = await self._target(context), context.result(CHOOSE, Chosen)
        for disk in chosen.disks or _named((await self._content(context)).disks):
            root = bytes.fromhex(disk.root)
            known = DiskContent(
                chosen.checkpoint_id, disk.disk, disk.size, root, sector_size=disk.sector_size
            )
            await target.drop(target.volume(known))

    async def _target(self, context: Context) -> "Target":
        wanted = context.input(Wanted)
        changes = {"formats": list(wanted.formats)} if wanted.formats else None
        async with self.services.database.reading() as uow:
            return target_for(
                self.services, await row_of(uow, wanted.target_id), changes=changes, is_publishing=True
            )

    async def _content(self, context: Context) -> Content:
        async with self.services.database.reading() as uow:
            return await _for_good(content_of(uow, context.result(CHOOSE, Chosen).checkpoint_id))


async def _choose(uow: UnitOfWork, context: Context) -> Chosen:
    """Settle what is published, and keep its checkpoint; repeating it finds what was chosen before.

    Raises CheckpointNotFound.
    """
    assert context.server_id is not None, "the job is of a server"
    server = await find_server(uow, context.server_id)
    wanted = context.input(Wanted).checkpoint_id
    known = await uow.session.get(PublishingRow, context.job_id)
    if known is not None:
        wanted = known.checkpoint_id
    found = await (newest_to_boot(uow, server) if wanted is None else find_checkpoint(uow, server, wanted))
    await keep(uow, found.id)
    if known is None:
        uow.session.add(PublishingRow(job_id=context.job_id, checkpoint_id=found.id))
        await uow.session.flush()
    name = _UNSAFE.sub("-", server.name).strip("-.")[:60] or server.id
    disks = (await content_of(uow, found.id)).disks
    return Chosen(
        found.id,
        found.number,
        f"{name}-{found.number}-{context.job_id[-_UNIQUE:]}",
        found.label,
        _named(disks),
    )


def _named(disks: Iterable[DiskContent]) -> tuple[ChosenDisk, ...]:
    return tuple(ChosenDisk(disk.disk, disk.size, disk.root.hex(), disk.sector_size) for disk in disks)


async def let_go_of(uow: UnitOfWork, job: EndedJob) -> None:
    """A job that is over needs its checkpoint no more: what is left to be undone is known without it."""
    known = await uow.session.get(PublishingRow, job.id)
    if known is not None:
        await uow.session.delete(known)
        await uow.session.flush()
        await let_go(uow, known.checkpoint_id)


async def _for_good(work: Awaitable[T]) -> T:
    """The same, but errors that a repetition would meet again end the step for good."""
    try:
        return await work
    except _FOR_GOOD as error:
        raise StepFailed(error.detail, code=error.code, remedy=error.remedy) from error


def publish_kinds(services: Services) -> tuple[JobKind, ...]:
    """The kinds of jobs of this feature. What fails is undone whole: no images stay without a second look."""
    steps, undo, day = PublishSteps(services), OnFailure.UNDO, timedelta(days=1)
    plan = (
        Step(CHOOSE, Place.CONTROL, steps.choose, on_failure=undo),
        Step(
            MATERIALISE,
            Place.VOLUMES,
            steps.materialise,
            steps.dematerialise,
            timeout=day,
            on_failure=undo,
            weight=10,
        ),
        Step(PUBLISH, Place.VOLUMES, steps.publish, steps.unpublish, timeout=day, on_failure=undo, weight=10),
        Step("check", Place.VOLUMES, steps.check, timeout=day, on_failure=undo, weight=5),
        Step("clear", Place.VOLUMES, steps.clear, on_failure=undo),
    )
    return (JobKind(SERVER_PUBLISH, plan, let_go_of),)
