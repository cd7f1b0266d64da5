"""Reading the tests of a server."""

from sqlalchemy import select

from app.contract.paging import Page, PageRequest
from app.contract.resources.launch import (
    ConversionChange,
    LaunchMachine,
    PortForward,
    ServerTest,
    TestCheck,
    TestConversion,
    TestPhase,
)
from app.contract.words import BootFailure, ConsistencyLabel, TestState
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.migration.launch.errors import TestNotFound
from app.migration.launch.evidence import conversions_of, names_of
from app.migration.launch.queries import LATEST
from app.migration.launch.tables import TestRow


async def list_tests(uow: UnitOfWork, server_id: str, page: PageRequest) -> Page[ServerTest]:
    """The tests of a server, the newest first."""
    query = select(TestRow).where(TestRow.server_id == server_id)
    if page.after is not None:
        query = query.where(TestRow.id < page.after)
    rows = list(await uow.session.scalars(query.order_by(TestRow.id.desc()).limit(page.limit + 1)))
    shown = rows[: page.limit]
    evidence = await names_of(uow, [row.id for row in shown])
    reports = await conversions_of(uow, [row.id for row in shown])
    items = tuple(_view(row, evidence.get(row.id, ()), reports.get(row.id)) for row in shown)
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def get_test(uow: UnitOfWork, server_id: str, ref: str) -> ServerTest:
    """One test of a server by id, or `latest`. Raises TestNotFound."""
    query = select(TestRow).where(TestRow.server_id == server_id)
    if ref != LATEST:
        query = query.where(TestRow.id == ref)
    row = await uow.session.scalar(query.order_by(TestRow.id.desc()).limit(1))
    if row is None:
        what = "was never tested" if ref == LATEST else f"has no test {ref!r}"
        raise TestNotFound(f"the server {what}", remedy="order one: go2cloud server test")
    reports = await conversions_of(uow, [row.id])
    return _view(row, (await names_of(uow, [row.id])).get(row.id, ()), reports.get(row.id))


def _view(row: TestRow, evidence: tuple[str, ...], conversion: dict[str, Json] | None) -> ServerTest:
    proof = row.proof or {}
    return ServerTest(
        id=row.id,
        server_id=row.server_id,
        job_id=row.job_id,
        state=TestState(row.state),
        checkpoint_id=row.checkpoint_id,
        checkpoint_number=row.checkpoint_number,
        label=ConsistencyLabel(row.label),
        source_time=row.source_time,
        target=row.target,
        node=row.node,
        machine=LaunchMachine.model_validate(row.machine),
        requested_by=row.requested_by,
        created_at=row.created_at,
        launched_at=row.launched_at,
        checked_at=row.checked_at,
        terminated_at=row.terminated_at,
        passed=row.passed,
        reason=_reason(proof.get("reason")),
        detail=_text(proof.get("detail")),
        remedy=_text(proof.get("remedy")),
        seconds=_number(proof.get("seconds")),
        accelerator=_text(proof.get("accelerator")),
        phases=tuple(TestPhase.model_validate(each) for each in _list(proof.get("phases"))),
        checks=tuple(TestCheck.model_validate(each) for each in _list(proof.get("checks"))),
        forwards=tuple(PortForward.model_validate(each) for each in row.forwards),
        conversion=None if conversion is None else conversion_view(conversion),
        evidence=evidence,
    )


def conversion_view(report: dict[str, Json]) -> TestConversion:
    """What a conversion changed, of its report as it is kept."""
    found = report.get("found")
    system = found if isinstance(found, dict) else {}
    return TestConversion(
        system=_text(system.get("system")),
        root=_text(system.get("root")),
        changes=tuple(ConversionChange.model_validate(each) for each in _list(report.get("changes"))),
        warnings=tuple(str(each) for each in _list(report.get("warnings"))),
        seconds=int(_number(report.get("seconds")) or 0),
    )


def _reason(value: Json) -> BootFailure | None:
    return None if value is None else BootFailure(str(value))


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
