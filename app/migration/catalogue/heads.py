"""The newest checkpoints of servers, in short."""

from collections.abc import Sequence

from sqlalchemy import select

from app.contract.resources.server import CheckpointHead
from app.contract.words import ConsistencyLabel
from app.kit.database import UnitOfWork
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.tables import ServerRow


async def heads_of(uow: UnitOfWork, rows: Sequence[ServerRow]) -> dict[str, CheckpointRow]:
    """The heads of servers by their own ids."""
    ids = [row.head_checkpoint_id for row in rows if row.head_checkpoint_id]
    found = await uow.session.scalars(select(CheckpointRow).where(CheckpointRow.id.in_(ids)))
    return {row.id: row for row in found}


def head_view(row: CheckpointRow | None) -> CheckpointHead | None:
    """A head as the contract shows it."""
    if row is None:
        return None
    return CheckpointHead(
        id=row.id,
        number=row.number,
        label=ConsistencyLabel(row.label),
        source_time=row.source_time,
        created_at=row.created_at,
    )
