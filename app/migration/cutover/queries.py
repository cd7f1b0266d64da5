"""Reading cutovers."""

from sqlalchemy import select

from app.contract.words import ConsistencyLabel
from app.kit.database import UnitOfWork
from app.migration.cutover.errors import CutoverNotFound
from app.migration.cutover.states import OVER
from app.migration.cutover.tables import CutoverRow
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.tables import ServerRow

LATEST = "latest"
NEWEST_LABELS = 5
"""Of so many checkpoints one has to be of one instant: then the next ones can be, too."""


async def find_cutover(uow: UnitOfWork, server_id: str, ref: str) -> CutoverRow:
    """A cutover of a server by id, or `latest`. Raises CutoverNotFound."""
    query = select(CutoverRow).where(CutoverRow.server_id == server_id)
    if ref != LATEST:
        query = query.where(CutoverRow.id == ref)
    row = await uow.session.scalar(query.order_by(CutoverRow.id.desc()).limit(1))
    if row is None:
        what = "was never cut over" if ref == LATEST else f"has no cutover {ref!r}"
        raise CutoverNotFound(f"the server {what}", remedy="order one: go2cloud server cutover")
    return row


async def live_cutover(uow: UnitOfWork, server_id: str) -> CutoverRow | None:
    """The cutover of a server that is not over."""
    query = select(CutoverRow).where(CutoverRow.server_id == server_id, CutoverRow.state.not_in(OVER))
    found: CutoverRow | None = await uow.session.scalar(query.order_by(CutoverRow.id.desc()).limit(1))
    return found


async def get_cutover(uow: UnitOfWork, cutover_id: str) -> CutoverRow:
    """The row of a cutover as it is now. Raises CutoverNotFound."""
    found = await uow.session.get(CutoverRow, cutover_id, populate_existing=True)
    if found is None:
        raise CutoverNotFound(f"there is no cutover {cutover_id}")
    return found


async def made_by(uow: UnitOfWork, key: str) -> CutoverRow | None:
    """The cutover that the effect with this key made."""
    found: CutoverRow | None = await uow.session.scalar(select(CutoverRow).where(CutoverRow.effect == key))
    return found


async def can_be_frozen(uow: UnitOfWork, server_id: str) -> bool:
    """Whether one of the newest checkpoints is one instant of all disks."""
    query = select(CheckpointRow.label).where(CheckpointRow.server_id == server_id)
    labels = await uow.session.scalars(query.order_by(CheckpointRow.number.desc()).limit(NEWEST_LABELS))
    return ConsistencyLabel.FROZEN in set(labels)


async def said_of_chain(uow: UnitOfWork, reverse: ServerRow | None) -> str | None:
    """Where a launched machine's writes are kept once it is gone; None where it never replicated back."""
    head = await uow.session.get(CheckpointRow, (reverse.head_checkpoint_id if reverse else None) or "")
    if reverse is None or head is None:
        return None
    return (
        f"what the machine wrote is only in the checkpoints of {reverse.name}, up to number {head.number} "
        f"({head.label}) of {head.source_time:%Y-%m-%dT%H:%M:%SZ}"
    )
