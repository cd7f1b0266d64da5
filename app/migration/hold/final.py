"""Whether the checkpoint that an agent names as the final one can be it: level v3, and it is the head."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app.contract.words import ConsistencyLabel
from app.kit.database import UnitOfWork
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.servers.enrolment import find_server
from app.wire.hold import FINAL_NOT_FROZEN, HoldReport

FINAL_UNKNOWN = "FINAL_UNKNOWN"
FINAL_TOO_OLD = "FINAL_TOO_OLD"
FINAL_NOT_HEAD = "FINAL_NOT_HEAD"
ROOT_MISMATCH = "ROOT_MISMATCH"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`checkpoint` where the named one can be the final one, else a code and a sentence."""

    checkpoint: CheckpointRow | None
    code: str = ""
    detail: str = ""


async def judge_final(uow: UnitOfWork, server_id: str, report: HoldReport, wanted_at: datetime) -> Verdict:
    """Look at the checkpoint of the report; `wanted_at`: since when a final one is wanted."""
    row = await uow.session.get(CheckpointRow, report.checkpoint_id, populate_existing=True)
    if row is None or row.server_id != server_id:
        return Verdict(None, FINAL_UNKNOWN, f"the server has no checkpoint {report.checkpoint_id!r}")
    if row.label != ConsistencyLabel.FROZEN:
        return Verdict(None, FINAL_NOT_FROZEN, f"checkpoint {row.number} is {row.label}")
    if row.created_at < wanted_at:
        return Verdict(None, FINAL_TOO_OLD, f"checkpoint {row.number} was made before it was asked for")
    if (await find_server(uow, server_id)).head_checkpoint_id != row.id:
        return Verdict(None, FINAL_NOT_HEAD, f"a newer checkpoint than {row.number} exists")
    if await _roots(uow, row.id) != {each.disk_id: each.root for each in report.roots}:
        return Verdict(None, ROOT_MISMATCH, f"the agent's own roots are not those of checkpoint {row.number}")
    return Verdict(row)


async def _roots(uow: UnitOfWork, checkpoint_id: str) -> dict[str, str]:
    query = select(DiskRootRow.disk_id, DiskRootRow.root).where(DiskRootRow.checkpoint_id == checkpoint_id)
    return {disk: root.hex() for disk, root in await uow.session.execute(query)}
