"""Asking agents for preflights, keeping their reports, and judging them.

A report is kept as the agent sent it, and judged anew whenever it is read: the room in the store and the
service's version are those of that time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select

from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.preflight import Preflight, PreflightReport, PreflightVerdict
from app.contract.words import LifecycleState, WorkState
from app.kit.clock import parsed_time
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.preflight.errors import BadPreflight, PreflightNotFound
from app.migration.preflight.tables import PreflightRow
from app.migration.preflight.verdict import Circumstances, judge
from app.migration.replication.possession import LIVE
from app.migration.replication.tables import PackRow
from app.migration.servers.errors import ServerDisconnected
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.wire import jsonform, preflight, version

LATEST: Final = "latest"
KEPT: Final = 20
"""Reports of a server; older ones are removed when a new one comes."""


async def request(uow: UnitOfWork, scope: Scope, ref: str) -> tuple[ServerRow, Preflight]:
    """Ask the server's agent for a preflight; one that is asked for already stands.

    Raises ServerNotFound, ServerDisconnected.
    """
    server = await find_in_scope(uow, scope, ref)
    if server.lifecycle_state == LifecycleState.DISCONNECTED:
        raise ServerDisconnected(f"server {server.name} was disconnected", remedy="enrol the host again")
    row = await _ordered(uow, server.id)
    if row is None:
        row = PreflightRow(
            id=new_id("pfl"), server_id=server.id, state=WorkState.PENDING.value, requested_at=uow.now
        )
        uow.session.add(row)
        await uow.session.flush()
    return server, _unjudged(row)


async def ordered(uow: UnitOfWork, server_id: str) -> str:
    """The id of the preflight that the agent is to deliver; empty for none."""
    row = await _ordered(uow, server_id)
    return row.id if row else ""


async def all_ordered(uow: UnitOfWork) -> dict[str, str]:
    """The preflights that agents are to deliver, by their servers' ids; the oldest of each."""
    query = select(PreflightRow.server_id, func.min(PreflightRow.id)).where(
        PreflightRow.state == WorkState.PENDING
    )
    rows = await uow.session.execute(query.group_by(PreflightRow.server_id))
    return {row[0]: row[1] for row in rows}


async def _ordered(uow: UnitOfWork, server_id: str) -> PreflightRow | None:
    query = select(PreflightRow).where(
        PreflightRow.server_id == server_id, PreflightRow.state == WorkState.PENDING
    )
    return await uow.session.scalar(query.order_by(PreflightRow.id).limit(1))


async def accept(uow: UnitOfWork, server_id: str, report: preflight.Preflight) -> None:
    """Keep an agent's report; the same one twice is kept once. Without an id it makes a preflight of its own.

    Raises PreflightNotFound for an id that is not of this server, BadPreflight.
    """
    started = _require_plausible(report)
    row = await (_row(uow, server_id, report.id) if report.id else _own_row(uow, server_id, started))
    if row.state != WorkState.PENDING:
        return
    row.state, row.report = WorkState.SUCCEEDED, asdict(report)
    row.started_at, row.finished_at = started, uow.now
    await uow.session.flush()
    await _forget_old(uow, server_id)


async def _own_row(uow: UnitOfWork, server_id: str, started: datetime) -> PreflightRow:
    """The row of what the agent measured of its own accord: the time of its start tells it from others."""
    of_server = select(PreflightRow).where(PreflightRow.server_id == server_id)
    known = await uow.session.scalar(of_server.where(PreflightRow.started_at == started).limit(1))
    if known is not None:
        return known
    row = PreflightRow(
        id=new_id("pfl"), server_id=server_id, state=WorkState.PENDING.value, requested_at=uow.now
    )
    uow.session.add(row)
    return row


def _require_plausible(report: preflight.Preflight) -> datetime:
    """When it began. Raises BadPreflight."""
    unknown = {each.severity for each in report.findings} - set(preflight.SEVERITIES)
    if unknown or len(report.findings) > preflight.MAX_FINDINGS:
        raise BadPreflight(f"a finding has a severity of {', '.join(preflight.SEVERITIES)}, and they are few")
    _time(report.clock)
    return _time(report.started)


def _time(text: str) -> datetime:
    try:
        return parsed_time(text)
    except ValueError as error:
        raise BadPreflight(str(error)) from error


async def _forget_old(uow: UnitOfWork, server_id: str) -> None:
    kept = select(PreflightRow.id).where(PreflightRow.server_id == server_id)
    newest = (await uow.session.scalars(kept.order_by(PreflightRow.id.desc()).limit(KEPT))).all()
    await uow.session.execute(
        delete(PreflightRow).where(
            PreflightRow.server_id == server_id,
            PreflightRow.state != WorkState.PENDING,
            PreflightRow.id.not_in(newest),
        )
    )


async def _row(uow: UnitOfWork, server_id: str, ref: str) -> PreflightRow:
    query = select(PreflightRow).where(PreflightRow.server_id == server_id)
    query = query.order_by(PreflightRow.id.desc()) if ref == LATEST else query.where(PreflightRow.id == ref)
    row = await uow.session.scalar(query.limit(1))
    if row is None:
        what = "no preflight yet" if ref == LATEST else f"no preflight {ref!r}"
        raise PreflightNotFound(
            f"the server has {what}", remedy="ask for one with: go2cloud server preflight SERVER"
        )
    return row


async def list_preflights(
    uow: UnitOfWork, services: Services, scope: Scope, ref: str, page: PageRequest
) -> Page[Preflight]:
    """The preflights of a server, the newest first. Raises ServerNotFound."""
    server = await find_in_scope(uow, scope, ref)
    query = select(PreflightRow).where(PreflightRow.server_id == server.id)
    if page.after is not None:
        query = query.where(PreflightRow.id < page.after)
    found = await uow.session.scalars(query.order_by(PreflightRow.id.desc()).limit(page.limit + 1))
    rows = list(found)
    items = await _views(uow, services, server.id, rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def get_preflight(
    uow: UnitOfWork, services: Services, scope: Scope, ref: str, preflight_ref: str
) -> Preflight:
    """One preflight of a server by id, or the `latest`. Raises ServerNotFound, PreflightNotFound."""
    server = await find_in_scope(uow, scope, ref)
    row = await _row(uow, server.id, preflight_ref)
    (view,) = await _views(uow, services, server.id, [row])
    return view


async def _views(
    uow: UnitOfWork, services: Services, server_id: str, rows: Sequence[PreflightRow]
) -> tuple[Preflight, ...]:
    usage = await asyncio.to_thread(services.store.backend.usage)
    held = select(func.sum(PackRow.stored_bytes)).where(PackRow.server_id == server_id, PackRow.state == LIVE)
    stored = int(await uow.session.scalar(held) or 0)
    return tuple(_judged(row, usage.free, stored) for row in rows)


def _judged(row: PreflightRow, store_free: int, stored: int) -> Preflight:
    if row.report is None or row.finished_at is None:
        return _unjudged(row)
    report = jsonform.build(preflight.Preflight, row.report)
    skew: timedelta = _time(report.clock) - row.finished_at
    verdict = judge(report, Circumstances(store_free, stored, skew, version.VERSION))
    return _unjudged(row).model_copy(
        update={
            "report": PreflightReport.model_validate(report),
            "verdict": PreflightVerdict.model_validate(verdict),
        }
    )


def _unjudged(row: PreflightRow) -> Preflight:
    return Preflight(
        id=row.id,
        server_id=row.server_id,
        state=WorkState(row.state),
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
