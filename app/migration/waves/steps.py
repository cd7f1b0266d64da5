"""The step that leads a run: it orders the servers' jobs in turn, and waits for them without a worker.

It is run anew whenever one of its jobs has ended, by whatever process, and knows nothing but what the
database says: it looks at how the run stands, begins what may begin, and waits for one job more.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NoReturn

from sqlalchemy import update

from app.contract.paging import EVERYTHING
from app.contract.wavewords import RunServerState, WaveOperation
from app.contract.words import JobEventLevel
from app.kit.database import UnitOfWork
from app.kit.errors import Conflict, Go2CloudError, Invalid, NotFound
from app.migration.servers.enrolment import find_server
from app.migration.services import Services
from app.migration.waves.operations import Wish
from app.migration.waves.progress import BAD, DONE
from app.migration.waves.runs import Operations, open_attempt
from app.migration.waves.sight import Sight, child_name, sight
from app.migration.waves.tables import WaveRunRow, WaveRunServerRow
from app.work.context import Context
from app.work.errors import JobNotAllowed, JobSuperseded, StepFailed
from app.work.jobs import Ordered
from app.work.kinds import EndedJob
from app.work.limits import Limit

S = RunServerState

MOST_NAMED: Final = 10
"""Servers that the reason of a failed run names; its summary names all."""

_LOUD: Final = {
    S.FAILED: JobEventLevel.ERROR,
    S.REFUSED: JobEventLevel.ERROR,
    S.SKIPPED: JobEventLevel.WARNING,
}


@dataclass(frozen=True)
class Outcome:
    """What a run came to that did all its work."""

    servers: int
    succeeded: int
    unchanged: int


class _NothingToDo(Exception):
    """The server is as the run wants it."""


class _Halted(Exception):
    """The run was aborted since it was looked at."""


class RunSteps:
    """Leads runs by the operations of a table."""

    def __init__(self, services: Services, operations: Operations) -> None:
        """Steps work with these services."""
        self._services = services
        self._operations = operations

    async def lead(self, context: Context) -> Outcome:
        """Begin what may begin until all is over. Raises StepFailed unless every server is done."""
        await context.write(partial(open_attempt, job=context.job_id))
        while True:
            context.check_cancelled()
            found = await self._look(context)
            for server_id in found.standing.begin:
                await self._begin(context, found, server_id)
            if not found.standing.begin:
                break
        if not found.standing.is_over:
            context.wait_until_fewer(found.jobs_standing)
        return _outcome(found) if found.standing.is_good else _fail(found)

    async def _look(self, context: Context) -> Sight:
        """How the run stands; what is new of its servers is said to the operator."""
        async with self._services.database.reading() as uow:
            found = await sight(uow, context.job_id)
        over = sum(state in DONE | BAD for state in found.standing.states.values())
        total = len(found.servers)
        context.progress(over * 100 // total, f"{over} of {total} servers are over")
        news = {
            row.server_id: found.standing.states[row.server_id]
            for row in found.servers
            if found.standing.states[row.server_id] not in (S.WAITING, row.told)
        }
        for row in found.servers:
            if row.server_id in news:
                _tell(context, found, row)
        if news:
            await context.write(partial(_note_told, context.job_id, news))
        return found

    async def _begin(self, context: Context, found: Sight, server_id: str) -> None:
        """Order a server's job, or let an earlier one go on, or write down why there is none."""
        make = partial(self._order, context, server_id)
        attempt = found.run.attempt
        kept = found.kept(server_id)
        try:
            if kept is None or not await context.write(
                partial(self._resume, context.job_id, server_id, kept)
            ):
                await context.spawn_made(make, child_name(server_id, attempt))
        except _Halted:
            return
        except _NothingToDo as nothing:
            await context.write(partial(_note_unchanged, context.job_id, server_id, str(nothing)))
        except (Conflict, NotFound, Invalid) as refusal:
            await context.write(partial(_note_refused, context.job_id, server_id, attempt, refusal))

    async def _resume(self, job: str, server_id: str, kept: str, uow: UnitOfWork) -> bool:
        """Let the failed job of an earlier attempt go on where it stands; False where it cannot any more."""
        run = await _not_halted(uow, job)
        try:
            await self._services.jobs.retry(uow, EVERYTHING, kept)
        except (JobSuperseded, JobNotAllowed):
            return False
        await _set(uow, job, server_id, resumed=run.attempt)
        return True

    async def _order(self, context: Context, server_id: str, uow: UnitOfWork) -> Ordered:
        """The job of a server, under the run's lock: an abort comes before it, or after it."""
        run = await _not_halted(uow, context.job_id)
        operation = self._operations[WaveOperation(run.operation)]
        server = await find_server(uow, server_id)
        wish = context.input(Wish)
        idle = await operation.idle(self._services, uow, server, wish)
        if idle is not None:
            raise _NothingToDo(idle)
        made = await operation.make(self._services, uow, server, wish)
        limits = (*made.order.limits, Limit(wish.limit_key, run.at_once))
        return replace(made, order=replace(made.order, limits=limits))


async def ended(uow: UnitOfWork, job: EndedJob) -> None:
    """A run is over: if it is retried, that is another attempt."""
    await uow.session.execute(update(WaveRunRow).where(WaveRunRow.job_id == job.id).values(is_over=True))


async def _not_halted(uow: UnitOfWork, job: str) -> WaveRunRow:
    """The run, whose job's row is locked. Raises _Halted."""
    run = await uow.session.get_one(WaveRunRow, job, populate_existing=True)
    if run.abort is not None:
        raise _Halted
    return run


def _tell(context: Context, found: Sight, row: WaveRunServerRow) -> None:
    state = found.standing.states[row.server_id]
    detail = _detail(found, row)
    text = f"{row.server_name} is {state}" + (f": {detail}" if detail else "")
    context.log(text, _LOUD.get(state, JobEventLevel.INFO), server_id=row.server_id)


def _detail(found: Sight, row: WaveRunServerRow) -> str | None:
    skipped = found.standing.skipped.get(row.server_id)
    if skipped is not None:
        return skipped.detail
    shown = found.shown(row.server_id)
    return row.detail if shown is None else shown.job.detail


async def _note_told(job: str, news: dict[str, RunServerState], uow: UnitOfWork) -> None:
    for server_id, state in news.items():
        await _set(uow, job, server_id, told=state)


async def _note_unchanged(job: str, server_id: str, why: str, uow: UnitOfWork) -> None:
    await _set(uow, job, server_id, outcome=S.UNCHANGED, code=None, detail=why, remedy=None)


async def _note_refused(
    job: str, server_id: str, attempt: int, refusal: Go2CloudError, uow: UnitOfWork
) -> None:
    await _set(
        uow,
        job,
        server_id,
        outcome=S.REFUSED,
        attempt=attempt,
        code=refusal.code,
        detail=refusal.detail,
        remedy=refusal.remedy,
    )


async def _set(uow: UnitOfWork, job: str, server_id: str, **values: object) -> None:
    mine = (WaveRunServerRow.job_id == job, WaveRunServerRow.server_id == server_id)
    await uow.session.execute(update(WaveRunServerRow).where(*mine).values(**values))


def _outcome(found: Sight) -> Outcome:
    counts = found.standing.counts
    return Outcome(len(found.servers), counts[S.SUCCEEDED], counts[S.UNCHANGED])


def _fail(found: Sight) -> NoReturn:
    """Raises StepFailed with what did not succeed."""
    counts = found.standing.counts
    told = ", ".join(f"{counts[state]} {state}" for state in RunServerState if counts[state])
    bad = [row for row in found.servers if found.standing.states[row.server_id] in (S.FAILED, S.REFUSED)]
    names = ", ".join(f"{row.server_name} ({_code(found, row)})" for row in bad[:MOST_NAMED])
    more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    raise StepFailed(
        f"of {len(found.servers)} servers: {told}" + (f"; {names}{more}" if bad else ""),
        code="RUN_ABORTED" if found.run.abort else "SERVERS_FAILED",
        remedy=f"see each server's remedy: go2cloud {_ref(found.run)} --job {found.job.id}; then "
        f"go2cloud job retry {found.job.id} does what is not done",
    )


def _ref(run: WaveRunRow) -> str:
    """What shows the run on the command line."""
    return f"wave run {run.wave_id}" if run.of_wave else f"application run {run.application_id}"


def _code(found: Sight, row: WaveRunServerRow) -> str:
    shown = found.shown(row.server_id)
    return str(row.code if shown is None else shown.job.code)
