"""The steps of the job `server.revert-cutover`: the machine is gone before the source may run again."""

from dataclasses import dataclass

from app.contract.words import InstancePurpose, JobEventLevel
from app.kit.database import UnitOfWork
from app.migration.cutover import cutovers, source
from app.migration.cutover.queries import get_cutover, said_of_chain
from app.migration.launch.building import Builder, builder_at, for_good
from app.migration.launch.queries import content_of
from app.migration.launch.stopping import whole
from app.migration.replication.errors import CheckpointNotFound
from app.migration.servers.reverses import end_reverse
from app.migration.services import Services
from app.work.context import Context
from app.work.errors import StepFailed


@dataclass(frozen=True)
class Reverting:
    """Which cutover is taken back."""

    cutover_id: str


@dataclass(frozen=True)
class Reverted:
    """What a revert came to; `source_gone` says why the source's services were not given back."""

    cutover_id: str
    services_given_back: bool
    source_gone: str = ""


@dataclass(frozen=True)
class RevertSteps:
    """The steps, in a process with these services."""

    services: Services

    async def begin(self, context: Context) -> None:
        """From now on the machine may run no more; this cannot be cancelled. Its way back ends with it."""
        await for_good(context.write(lambda uow: cutovers.reverting(uow, _cutover(context))))
        kept = await context.write(lambda uow: _chain_left(uow, source.server_of(context)))
        if kept is not None:
            context.log(kept, JobEventLevel.WARNING)

    async def terminate(self, context: Context) -> None:
        """End the machine, see that it is gone for good, and remove its volumes."""
        cutover_id = _cutover(context)
        async with self.services.database.reading() as uow:
            row = await get_cutover(uow, cutover_id)
        if row.node is None:
            return
        builder = await builder_at(self.services, row.target, InstancePurpose.CUTOVER)
        existed = await whole(builder.target.retire(cutover_id))
        if await builder.target.find(cutover_id) is not None:
            raise StepFailed(
                f"the machine {cutover_id} is still there on node {context.node}",
                code="MACHINE_STILL_THERE",
                remedy="look at its process, end it, and retry the job",
            )
        context.log("the machine is gone" if existed else "there was no machine")
        for checkpoint in filter(None, (row.base_checkpoint_id, row.checkpoint_id)):
            await self._drop(builder, checkpoint)

    async def _drop(self, builder: Builder, checkpoint_id: str) -> None:
        async with self.services.database.reading() as uow:
            try:
                content = await content_of(uow, checkpoint_id)
            except CheckpointNotFound:
                return
        await builder.drop(content)

    async def release(self, context: Context) -> None:
        """The source gets its services back, and this waits until it has them, or is said to be gone."""
        await source.given_back(self.services, context, _cutover(context))

    async def outcome(self, context: Context) -> Reverted:
        """The server is READY_FOR_CUTOVER again, whether or not the source has its services back."""
        row = await context.write(lambda uow: cutovers.reverted(uow, _cutover(context)))
        for entry in row.ledger:
            assert isinstance(entry, dict)
            context.log(f"{entry['kind']}: {entry['what']}, {entry['detail']}", JobEventLevel.WARNING)
        return Reverted(row.id, row.source_gone is None, row.source_gone or "")


async def _chain_left(uow: UnitOfWork, server_id: str) -> str | None:
    """End the way back; where what the machine wrote is kept, None where nothing is."""
    return await said_of_chain(uow, await end_reverse(uow, server_id))


def _cutover(context: Context) -> str:
    return context.input(Reverting).cutover_id
