"""The job `target.advance`: bring the volumes of a target to a server's newest checkpoint."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from app.contract.words import Place
from app.kit.database import UnitOfWork
from app.kit.errors import Conflict, Invalid, NotFound
from app.launch.errors import DeviceHoldsData, SettingsWrong
from app.migration.follow.bringing import Bringing
from app.migration.follow.tables import FollowRow
from app.migration.launch.queries import content_of
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.targets.opening import row_of, target_for
from app.work.context import Context
from app.work.errors import StepFailed
from app.work.kinds import JobKind, Step

if TYPE_CHECKING:
    from app.launch.target import KeptTarget

TARGET_ADVANCE: Final = "target.advance"

_FOR_GOOD = (NotFound, Conflict, Invalid, SettingsWrong, DeviceHoldsData)
"""Errors that a repetition would meet again."""


@dataclass(frozen=True)
class Following:
    """Which target follows which server."""

    server_id: str
    target_id: str


@dataclass(frozen=True)
class Advanced:
    """What the target is now; None where nothing follows the server any more."""

    checkpoint_number: int | None


@dataclass(frozen=True)
class FollowSteps:
    """The step, in a process with these services."""

    services: Services

    async def advance(self, context: Context) -> Advanced:
        """Bring each disk to the checkpoint that is the newest now; a repetition goes on from where it is."""
        wanted = context.input(Following)
        checkpoint = await self._newest(wanted)
        if checkpoint is None:
            context.log("nothing follows the server any more")
            return Advanced(None)
        try:
            await self._bring(context, wanted, checkpoint)
        except _FOR_GOOD as error:
            raise StepFailed(error.detail, code=error.code, remedy=error.remedy) from error
        await self._note(context, wanted, checkpoint)
        return Advanced(checkpoint.number)

    async def _bring(self, context: Context, wanted: Following, checkpoint: CheckpointRow) -> None:
        async with self.services.database.reading() as uow:
            target = target_for(self.services, await row_of(uow, wanted.target_id))
            content = await content_of(uow, checkpoint.id)
        bringing = Bringing(self.services, context, cast("KeptTarget", target), content)
        for disk in content.disks:
            await bringing.bring(disk)

    async def _newest(self, wanted: Following) -> CheckpointRow | None:
        async with self.services.database.reading() as uow:
            row = await uow.session.get(FollowRow, wanted.server_id)
            server = await uow.session.get_one(ServerRow, wanted.server_id)
            if row is None or row.target_id != wanted.target_id or server.head_checkpoint_id is None:
                return None
            return await uow.session.get_one(CheckpointRow, server.head_checkpoint_id)

    async def _note(self, context: Context, wanted: Following, checkpoint: CheckpointRow) -> None:
        async def write(uow: UnitOfWork) -> None:
            row = await uow.session.get(FollowRow, wanted.server_id, populate_existing=True)
            if row is not None and row.target_id == wanted.target_id:
                row.checkpoint_id, row.checkpoint_number = checkpoint.id, checkpoint.number
                row.advanced_at = uow.now

        await context.write(write)


def follow_kinds(services: Services) -> tuple[JobKind, ...]:
    """The kinds of jobs of this feature."""
    steps = FollowSteps(services)
    return (
        JobKind(TARGET_ADVANCE, (Step("advance", Place.VOLUMES, steps.advance, timeout=timedelta(days=2)),)),
    )
