"""Ordering runs, aborting them, and what a run would do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import select, update

from app.contract.paging import EVERYTHING
from app.contract.resources.launch import ReadyMark
from app.contract.wavewords import AbortMode, RunServerState, WaveOperation
from app.contract.words import LifecycleState
from app.kit.database import UnitOfWork
from app.kit.errors import Conflict, Go2CloudError
from app.migration.launch.orders import Marked, mark_server
from app.migration.projects.service import hold_project
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.waves.errors import NoRun
from app.migration.waves.operations import OPERATIONS, Operation, Wish, passed_over, require_markable
from app.migration.waves.ordering import Direction
from app.migration.waves.progress import Halt, Standing, look
from app.migration.waves.standing import require_no_run, standing_run
from app.migration.waves.subjects import Lineup, Subject, lineup
from app.migration.waves.tables import WaveRunRow, WaveRunServerRow
from app.work.errors import JobNotAllowed
from app.work.jobs import Order
from app.work.journal import lock
from app.work.states import STANDING
from app.work.tables import JobRow

Operations = Mapping[WaveOperation, Operation]

UNCHANGED: Final = RunServerState.UNCHANGED


@dataclass(frozen=True)
class Plan:
    """What a run would do now: the servers in their order, how each would stand, and why."""

    operation: WaveOperation
    lineup: Lineup
    standing: Standing
    reasons: Mapping[str, Halt]


@dataclass(frozen=True)
class Mark:
    """A server that was marked, or refused."""

    server: ServerRow
    marked: Marked | None
    refusal: Conflict | None = None


def kind_of(noun: str, operation: Operation) -> str:
    """The kind of job of a run: ``wave.test``, ``application.terminate-test``."""
    return f"{noun}.{operation.word}"


async def order_run(
    services: Services,
    uow: UnitOfWork,
    subject: Subject,
    wanted: WaveOperation,
    wish: Wish,
    operations: Operations = OPERATIONS,
) -> str:
    """Order a run; the id of its job. Raises RunStands, JobStands, NothingToRun.

    Its servers and their order are those of this moment.
    """
    operation = operations[wanted]
    await hold_project(uow, subject.project_id)
    await require_no_run(uow, subject.wave.id if subject.wave else None, subject.applications)
    found = await lineup(uow, subject, operation.direction)
    wish = replace(wish, limit_key=subject.limit_key)
    order = Order(subject.project_id, wish, subject=subject.id, requested_by=wish.requested_by)
    job = await services.jobs.enqueue(uow, kind_of(subject.noun, operation), order)
    run = WaveRunRow(
        job_id=job,
        wave_id=subject.wave.id if subject.wave else None,
        application_id=subject.application.id if subject.application else None,
        of_wave=subject.application is None,
        operation=wanted,
        at_once=subject.bounds.at_once,
        stop_after=subject.bounds.stop_after,
    )
    uow.session.add(run)
    await uow.session.flush()
    uow.session.add_all(_rows(job, wanted, found))
    await uow.session.flush()
    return job


def _rows(job: str, operation: WaveOperation, found: Lineup) -> list[WaveRunServerRow]:
    left_alone = passed_over(operation, _states(found))
    return [
        WaveRunServerRow(
            job_id=job,
            server_id=turn.server_id,
            position=position,
            server_name=found.servers[turn.server_id].name,
            application_id=turn.application_id,
            application_name=found.applications[turn.application_id],
            priority_group=turn.group,
            after=sorted(turn.after),
            outcome=UNCHANGED if turn.server_id in left_alone else None,
            detail=left_alone.get(turn.server_id),
        )
        for position, turn in enumerate(found.turns, start=1)
    ]


def _states(found: Lineup) -> dict[str, LifecycleState]:
    return {server.id: LifecycleState(server.lifecycle_state) for server in found.servers.values()}


async def abort_run(services: Services, uow: UnitOfWork, subject: Subject, mode: AbortMode, by: str) -> str:
    """Let the subject's run begin no more servers; the id of its job, which is FAILED when the rest is over.

    Jobs that nobody has begun are cancelled; with CANCEL those that run, too, but for those that cannot be
    any more. A repetition may go from LET to CANCEL. Raises NoRun.
    """
    wave = subject.wave if subject.application is None else None
    application = subject.application
    job = await standing_run(
        uow,
        wave_id=wave.id if wave else None,
        application_id=application.id if application else None,
    )
    if job is None:
        raise NoRun(f"{subject.noun} {subject.name!r} has no run that is not over")
    await lock(uow, job)  # no server is begun while this unit lasts
    run = await open_attempt(uow, job)
    run.abort = AbortMode.CANCEL if run.abort == AbortMode.CANCEL else mode
    run.aborted_by = by[:200]
    await uow.session.flush()
    await _cancel_servers(services, uow, job, mode)
    return job


async def _cancel_servers(services: Services, uow: UnitOfWork, job: str, mode: AbortMode) -> None:
    query = select(JobRow.id).where(JobRow.parent_id == job, JobRow.state.in_(STANDING))
    for child in (await uow.session.scalars(query.order_by(JobRow.id))).all():
        row = await lock(uow, child)
        if mode is AbortMode.LET and row.started_at is not None:
            continue
        try:
            await services.jobs.cancel(uow, EVERYTHING, child)
        except JobNotAllowed:
            continue  # past the point of no return: it goes on to its end, and the run waits for it


async def open_attempt(uow: UnitOfWork, job: str) -> WaveRunRow:
    """The run, whose job's row is locked; where it was over and is retried, its next attempt begins."""
    run = await uow.session.get_one(WaveRunRow, job, populate_existing=True)
    if run.is_over:
        run.attempt += 1
        run.is_over, run.abort, run.aborted_by = False, None, ""
        done = (RunServerState.SUCCEEDED, RunServerState.UNCHANGED)
        again = update(WaveRunServerRow).where(
            WaveRunServerRow.job_id == job, WaveRunServerRow.told.not_in(done)
        )
        await uow.session.execute(again.values(told=None))
        await uow.session.flush()
    return run


async def plan_run(
    services: Services,
    uow: UnitOfWork,
    subject: Subject,
    wanted: WaveOperation,
    wish: Wish = Wish(),  # noqa: B008  (frozen)
    operations: Operations = OPERATIONS,
) -> Plan:
    """What a run would do now, were it ordered; nothing is changed. Raises NothingToRun."""
    operation = operations.get(wanted)
    found = await lineup(uow, subject, operation.direction if operation else Direction.NONE)
    known: dict[str, RunServerState] = {}
    reasons: dict[str, Halt] = {}
    left_alone = passed_over(wanted, _states(found))
    for server in found.servers.values():
        try:
            idle = left_alone.get(server.id) or await _idle(services, uow, server, operation, wish)
        except Go2CloudError as refusal:
            known[server.id] = RunServerState.REFUSED
            reasons[server.id] = _reason(refusal)
        else:
            if idle is not None:
                known[server.id], reasons[server.id] = UNCHANGED, Halt("NOTHING_TO_DO", idle)
    bounds = replace(subject.bounds, at_once=len(found.turns), stop_after=None)
    standing = look(found.turns, known, bounds, names=found.names)
    return Plan(wanted, found, standing, {**standing.skipped, **reasons})


async def _idle(
    services: Services, uow: UnitOfWork, server: ServerRow, operation: Operation | None, wish: Wish
) -> str | None:
    if operation is None:
        await require_markable(services, uow, server)
        return None
    return await operation.idle(services, uow, server, wish)


def _reason(refusal: Go2CloudError) -> Halt:
    return Halt(refusal.code, refusal.detail, refusal.remedy)


async def mark_all_ready(
    services: Services, uow: UnitOfWork, subject: Subject, mark: ReadyMark
) -> tuple[Mark, ...]:
    """Mark each server that may be; those that may not say why, and keep none of the others back.

    Raises NothingToRun.
    """
    found = await lineup(uow, subject, Direction.NONE)
    marks = []
    for turn in found.turns:
        server = found.servers[turn.server_id]
        try:
            marks.append(Mark(server, await mark_server(services, uow, server, mark)))
        except Conflict as refusal:
            marks.append(Mark(server, None, refusal))
    return tuple(marks)
