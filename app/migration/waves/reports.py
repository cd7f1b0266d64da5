"""Runs with all their servers: right counts, durations, who failed and why."""

from datetime import datetime

from sqlalchemy import ColumnElement, select

from app.contract.paging import Page, PageRequest
from app.contract.resources.wave import Named, Run, RunCount, RunServer
from app.contract.wavewords import AbortMode, RunServerState, WaveOperation
from app.contract.words import LifecycleState, WorkState
from app.kit.database import UnitOfWork
from app.migration.servers.tables import ServerRow
from app.migration.waves.errors import RunNotFound
from app.migration.waves.progress import Halt
from app.migration.waves.sight import Sight, sight
from app.migration.waves.subjects import Subject
from app.migration.waves.tables import ApplicationRow, WaveRow, WaveRunRow, WaveRunServerRow
from app.work.queries import step_names

S = RunServerState
LATEST = "latest"


async def list_runs(uow: UnitOfWork, subject: Subject, page: PageRequest) -> Page[Run]:
    """The runs of a wave or application without their servers, the newest first.

    Those of a wave are runs of the whole wave; each of its applications lists its own.
    """
    query = select(WaveRunRow.job_id).where(*_of(subject)).order_by(WaveRunRow.job_id.desc())
    if page.after is not None:
        query = query.where(WaveRunRow.job_id < page.after)
    ids = (await uow.session.scalars(query.limit(page.limit + 1))).all()
    items = tuple([await run_view(uow, job, with_servers=False) for job in ids[: page.limit]])
    return Page(items, items[-1].job_id if len(ids) > page.limit else None)


async def get_run(uow: UnitOfWork, subject: Subject, ref: str) -> Run:
    """One run of a wave or application by its job's id, or `latest`. Raises RunNotFound."""
    query = select(WaveRunRow.job_id).where(*_of(subject))
    if ref != LATEST:
        query = query.where(WaveRunRow.job_id == ref)
    job = await uow.session.scalar(query.order_by(WaveRunRow.job_id.desc()).limit(1))
    if job is None:
        what = "had no run yet" if ref == LATEST else f"had no run {ref!r}"
        raise RunNotFound(
            f"{subject.noun} {subject.name!r} {what}", remedy=f"order one: go2cloud {subject.noun} test"
        )
    return await run_view(uow, job)


def _of(subject: Subject) -> tuple[ColumnElement[bool], ...]:
    if subject.application is not None:
        return (WaveRunRow.application_id == subject.application.id,)
    assert subject.wave is not None
    return (WaveRunRow.wave_id == subject.wave.id, WaveRunRow.of_wave.is_(True))


async def run_view(uow: UnitOfWork, job_id: str, *, with_servers: bool = True) -> Run:
    """A run by its job's id, which is one; unless told otherwise with its servers as they stand now."""
    found = await sight(uow, job_id)
    run, job, counts = found.run, found.job, found.standing.counts
    return Run(
        job_id=job_id,
        operation=WaveOperation(run.operation),
        wave=await _named_wave(uow, run.wave_id),
        application=await _named_application(uow, run.application_id),
        state=WorkState(job.state),
        attempt=run.attempt,
        abort=AbortMode(run.abort) if run.abort else None,
        requested_by=job.requested_by,
        servers_at_once=run.at_once,
        stop_after_failures=run.stop_after,
        code=job.code,
        detail=job.detail,
        remedy=job.remedy,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        seconds=_seconds(job.started_at, job.finished_at, uow.now),
        counts=tuple(RunCount(state=state, servers=counts[state]) for state in S if counts[state]),
        servers=await _servers(uow, found) if with_servers else (),
    )


async def _named_wave(uow: UnitOfWork, wave_id: str | None) -> Named | None:
    if wave_id is None:
        return None
    name = await uow.session.scalar(select(WaveRow.name).where(WaveRow.id == wave_id))
    return Named(id=wave_id, name=name or "")


async def _named_application(uow: UnitOfWork, application_id: str | None) -> Named | None:
    if application_id is None:
        return None
    query = select(ApplicationRow.name).where(ApplicationRow.id == application_id)
    return Named(id=application_id, name=await uow.session.scalar(query) or "")


async def _servers(uow: UnitOfWork, found: Sight) -> tuple[RunServer, ...]:
    shown = [each.job for row in found.servers if (each := found.shown(row.server_id)) is not None]
    steps = await step_names(uow, shown)
    query = select(ServerRow.id, ServerRow.lifecycle_state)
    states = await uow.session.execute(
        query.where(ServerRow.id.in_([row.server_id for row in found.servers]))
    )
    lifecycle = {server: LifecycleState(state) for server, state in states}
    return tuple(_server(found, row, lifecycle[row.server_id], steps, uow.now) for row in found.servers)


def _server(
    found: Sight, row: WaveRunServerRow, lifecycle: LifecycleState, steps: dict[str, str], now: datetime
) -> RunServer:
    shown = found.shown(row.server_id)
    why = _why(found, row)
    job = shown.job if shown else None
    return RunServer(
        position=row.position,
        server=Named(id=row.server_id, name=row.server_name),
        application=Named(id=row.application_id, name=row.application_name),
        group=row.priority_group,
        lifecycle_state=lifecycle,
        state=found.standing.states[row.server_id],
        attempt=shown.number if shown else 0,
        job_id=job.id if job else None,
        step=steps.get(job.id) if job else None,
        progress=job.progress if job else 0,
        code=why.code or None if why else None,
        detail=why.detail if why else None,
        remedy=why.remedy if why else None,
        started_at=job.started_at if job else None,
        finished_at=job.finished_at if job else None,
        seconds=_seconds(job.started_at, job.finished_at, now) if job else None,
    )


def _why(found: Sight, row: WaveRunServerRow) -> Halt | None:
    """Why a server stands as it does; None where nothing is to be said."""
    state = found.standing.states[row.server_id]
    if state is S.SKIPPED:
        return found.standing.skipped[row.server_id]
    if state in (S.UNCHANGED, S.REFUSED):
        return Halt(row.code or "", row.detail or "", row.remedy)
    shown = found.shown(row.server_id)
    if shown is None or shown.job.code is None:
        return None
    return Halt(shown.job.code, shown.job.detail or "", shown.job.remedy)


def _seconds(begun: datetime | None, ended: datetime | None, now: datetime) -> float | None:
    """From a beginning to its end, or until now; None before it."""
    return None if begun is None else round(((ended or now) - begun).total_seconds(), 3)
