"""What the database knows of a run, as its step and its readers see it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from app.contract.wavewords import RunServerState
from app.contract.words import WorkState
from app.kit.database import UnitOfWork
from app.migration.waves.ordering import Turn
from app.migration.waves.progress import Bounds, Halt, Standing, look
from app.migration.waves.tables import WaveRunRow, WaveRunServerRow
from app.work.states import STANDING
from app.work.tables import JobRow

S = RunServerState


@dataclass(frozen=True)
class Attempt:
    """A job that the run ordered for a server, in the attempt of this number."""

    number: int
    job: JobRow


@dataclass(frozen=True)
class Sight:
    """A run, its job, its servers in their order, and how all of them stand.

    `attempts`: the jobs of each server, the newest last.
    """

    run: WaveRunRow
    job: JobRow
    servers: tuple[WaveRunServerRow, ...]
    attempts: Mapping[str, Sequence[Attempt]]
    standing: Standing

    @property
    def jobs_standing(self) -> int:
        """How many jobs of the run are not over, those of earlier attempts that were retried included."""
        return sum(each.job.state in STANDING for mine in self.attempts.values() for each in mine)

    def shown(self, server_id: str) -> Attempt | None:
        """The job that says most about a server: the one that succeeded, else the newest of this attempt."""
        mine = self.attempts.get(server_id, ())
        done = next((each for each in mine if each.job.state == WorkState.SUCCEEDED), None)
        return done or next((each for each in reversed(mine) if self._counts(server_id, each)), None)

    def _counts(self, server_id: str, each: Attempt) -> bool:
        return self.run.attempt in (each.number, self.resumed.get(server_id))

    def kept(self, server_id: str) -> str | None:
        """The failed job of an earlier attempt whose work was kept: it goes on where it stands."""
        last = next(reversed(self.attempts.get(server_id, ())), None)
        is_kept = last is not None and last.job.state == WorkState.FAILED and last.job.unwinding is None
        return last.job.id if last is not None and is_kept else None

    @property
    def resumed(self) -> dict[str, int]:
        """In which attempt an earlier job of a server went on."""
        return {row.server_id: row.resumed for row in self.servers}


def child_name(server_id: str, attempt: int) -> str:
    """What a run calls the job of a server: another one in each attempt."""
    return f"{server_id}.{attempt}"


async def sight(uow: UnitOfWork, job_id: str) -> Sight:
    """A run as it stands now."""
    run = await uow.session.get_one(WaveRunRow, job_id, populate_existing=True)
    job = await uow.session.get_one(JobRow, job_id, populate_existing=True)
    query = select(WaveRunServerRow).where(WaveRunServerRow.job_id == job_id)
    ordered = query.order_by(WaveRunServerRow.position).execution_options(populate_existing=True)
    servers = tuple(await uow.session.scalars(ordered))
    attempts = await _attempts(uow, job_id)
    found = Sight(run, job, servers, attempts, Standing({}))
    turns = [
        Turn(row.server_id, row.application_id, row.priority_group, frozenset(row.after)) for row in servers
    ]
    known = {row.server_id: state for row in servers if (state := _known(found, row)) is not None}
    names = {row.server_id: row.server_name for row in servers}
    standing = look(turns, known, Bounds(run.at_once, run.stop_after), _halt(run, job), names)
    return Sight(run, job, servers, attempts, standing)


async def _attempts(uow: UnitOfWork, job_id: str) -> dict[str, list[Attempt]]:
    query = select(JobRow).where(JobRow.parent_id == job_id).order_by(JobRow.id)
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in await uow.session.scalars(query.execution_options(populate_existing=True)):
        server, _, attempt = (row.origin or "").rpartition("/")[2].rpartition(".")
        found[server].append(Attempt(int(attempt), row))
    return found


def _known(found: Sight, row: WaveRunServerRow) -> RunServerState | None:
    """How a server that was begun, or refused, stands; None where its turn is still to come."""
    if row.outcome == S.UNCHANGED:
        return S.UNCHANGED
    shown = found.shown(row.server_id)
    if shown is not None:
        return S.RUNNING if shown.job.state in STANDING else S(shown.job.state)
    is_refused = row.outcome == S.REFUSED and row.attempt == found.run.attempt
    return S.REFUSED if is_refused else None


def _halt(run: WaveRunRow, job: JobRow) -> Halt | None:
    if run.abort is not None:
        return Halt("RUN_ABORTED", f"{run.aborted_by} aborted the run", "retry the run to go on with it")
    if job.cancel_asked_at is not None or job.state == WorkState.CANCELLED:
        return Halt("RUN_CANCELLED", "the run was cancelled", "order a new one")
    return None
