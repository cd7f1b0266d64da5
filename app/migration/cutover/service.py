"""Reading the cutovers of a server, with their evidence."""

from sqlalchemy import select

from app.contract.cutoverwords import CutoverState
from app.contract.paging import Page, PageRequest
from app.contract.resources.cutover import Cutover, CutoverTime, LedgerEntry
from app.contract.resources.launch import LaunchMachine, PortForward, TestCheck, TestPhase
from app.contract.words import BootFailure
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.migration.cutover import evidence
from app.migration.cutover.cutovers import downtime
from app.migration.cutover.queries import find_cutover
from app.migration.cutover.tables import CutoverRow
from app.migration.launch.service import conversion_view


async def list_cutovers(uow: UnitOfWork, server_id: str, page: PageRequest) -> Page[Cutover]:
    """The cutovers of a server, the newest first."""
    query = select(CutoverRow).where(CutoverRow.server_id == server_id)
    if page.after is not None:
        query = query.where(CutoverRow.id < page.after)
    rows = list(await uow.session.scalars(query.order_by(CutoverRow.id.desc()).limit(page.limit + 1)))
    shown = rows[: page.limit]
    seen = await evidence.names_of(uow, [row.id for row in shown])
    reports = await evidence.conversions_of(uow, [row.id for row in shown])
    items = tuple(_view(row, seen.get(row.id, ()), reports.get(row.id)) for row in shown)
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def get_cutover(uow: UnitOfWork, server_id: str, ref: str) -> Cutover:
    """One cutover of a server by id, or `latest`. Raises CutoverNotFound."""
    row = await find_cutover(uow, server_id, ref)
    reports = await evidence.conversions_of(uow, [row.id])
    return _view(row, (await evidence.names_of(uow, [row.id])).get(row.id, ()), reports.get(row.id))


def _view(row: CutoverRow, seen: tuple[str, ...], conversion: dict[str, Json] | None) -> Cutover:
    proof = row.proof or {}
    return Cutover(
        id=row.id,
        server_id=row.server_id,
        job_id=row.job_id,
        state=CutoverState(row.state),
        target=row.target,
        node=row.node,
        verification_id=row.verification_id,
        base_checkpoint_id=row.base_checkpoint_id,
        checkpoint_id=row.checkpoint_id,
        checkpoint_number=row.checkpoint_number,
        machine=LaunchMachine.model_validate(row.machine),
        source_active=row.source_active,
        source_gone=row.source_gone,
        override=row.override,
        passed_over=tuple(str(code) for code in row.passed_over),
        phases=tuple(CutoverTime.model_validate(each) for each in row.phases),
        downtime_seconds=downtime(row),
        requested_by=row.requested_by,
        created_at=row.created_at,
        launched_at=row.launched_at,
        checked_at=row.checked_at,
        ended_at=row.ended_at,
        passed=row.passed,
        reason=BootFailure(str(proof["reason"])) if proof.get("reason") else None,
        detail=_text(proof.get("detail")),
        remedy=_text(proof.get("remedy")),
        accelerator=_text(proof.get("accelerator")),
        boot_phases=tuple(TestPhase.model_validate(each) for each in _list(proof.get("phases"))),
        checks=tuple(TestCheck.model_validate(each) for each in _list(proof.get("checks"))),
        forwards=tuple(PortForward.model_validate(each) for each in row.forwards),
        ledger=tuple(LedgerEntry.model_validate(each) for each in row.ledger),
        conversion=None if conversion is None else conversion_view(conversion),
        evidence=seen,
    )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
