"""Which checkpoints retention must not drop: all that need one are looked at here, whoever lets one go.

a test         until it is terminated, and for good once it came to a verdict
a cutover      the one that is written first, and the final one, until it is over; the final one for good
               unless the cutover was undone
a hold         the final one, until the source has its services back
a publication  as long as its job stands
"""

from sqlalchemy import ColumnElement, exists, or_, select, update

from app.contract.cutoverwords import CutoverState
from app.contract.words import TestState
from app.kit.database import UnitOfWork
from app.migration.cutover.states import OVER
from app.migration.cutover.tables import CutoverRow
from app.migration.hold.tables import HoldRow
from app.migration.launch.tables import TestRow
from app.migration.publish.tables import PublishingRow
from app.migration.replication.errors import CheckpointNotFound
from app.migration.replication.tables import CheckpointRow


async def keep(uow: UnitOfWork, checkpoint_id: str) -> None:
    """Keep a checkpoint, which is locked until the unit ends. Raises CheckpointNotFound: retention may just
    have dropped it.

    Whoever calls this writes down in the same unit that it needs it.
    """
    still = update(CheckpointRow).where(CheckpointRow.id == checkpoint_id).values(kept=True)
    if not await uow.changed(still):
        raise CheckpointNotFound(
            f"checkpoint {checkpoint_id} was dropped by retention", remedy="order it of a newer one"
        )


async def let_go(uow: UnitOfWork, *checkpoint_ids: str | None) -> None:
    """Let retention drop those of these checkpoints that nobody needs; call it when the need is gone.

    Each is locked first: who begins to need it meanwhile has locked it before and is seen, or keeps it again.
    """
    for checkpoint_id in sorted({each for each in checkpoint_ids if each is not None}):
        mine = update(CheckpointRow).where(CheckpointRow.id == checkpoint_id)
        is_there = await uow.changed(mine.values(kept=CheckpointRow.kept))
        if is_there and not await uow.session.scalar(select(_is_needed(checkpoint_id))):
            await uow.session.execute(mine.values(kept=False))


def _is_needed(checkpoint_id: str) -> ColumnElement[bool]:
    stands = or_(TestRow.state != TestState.TERMINATED, TestRow.passed.is_not(None))
    is_base, is_final = (
        CutoverRow.base_checkpoint_id == checkpoint_id,
        CutoverRow.checkpoint_id == checkpoint_id,
    )
    is_live = CutoverRow.state.not_in(OVER)
    return or_(
        exists().where(TestRow.checkpoint_id == checkpoint_id, stands),
        exists().where(is_base, is_live),
        exists().where(is_final, CutoverRow.state != CutoverState.UNDONE),
        exists().where(HoldRow.checkpoint_id == checkpoint_id, HoldRow.standing_for.is_not(None)),
        exists().where(PublishingRow.checkpoint_id == checkpoint_id),
    )
