"""Jobs that a job owns: a wave its servers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import select

from app.contract.words import WorkState
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.work.course import Work
from app.work.jobs import Jobs, Order, Ordered, Origin
from app.work.tables import JobRow


@dataclass(frozen=True, slots=True)
class Child:
    """A child job as it stands; `name` is what its parent called it."""

    id: str
    name: str
    kind: str
    server_id: str | None
    state: WorkState
    result: Json
    code: str | None
    detail: str | None
    remedy: str | None


async def spawn(uow: UnitOfWork, jobs: Jobs, parent: Work, kind: str, order: Order, name: str) -> str:
    """Enqueue a child of a step, or find the one of this name; the parent's row is locked. Its id."""
    origin = Origin(parent.claim.job_id, parent.key, name)
    known = await uow.session.scalar(select(JobRow.id).where(JobRow.origin == origin.key))
    return known or await jobs.enqueue(uow, kind, order, origin)


async def spawn_made(
    uow: UnitOfWork, jobs: Jobs, parent: Work, make: Callable[[UnitOfWork], Awaitable[Ordered]], name: str
) -> str:
    """As `spawn`, of what `make` makes where the child is not there yet."""
    origin = Origin(parent.claim.job_id, parent.key, name)
    known = await uow.session.scalar(select(JobRow.id).where(JobRow.origin == origin.key))
    if known:
        return known
    made = await make(uow)
    return await jobs.enqueue(uow, made.kind, made.order, origin)


async def children_of(uow: UnitOfWork, parent: Work) -> tuple[Child, ...]:
    """The children of a step in the order of their names."""
    mine = JobRow.origin.startswith(f"{parent.key}/", autoescape=True)
    query = select(JobRow).where(JobRow.parent_id == parent.claim.job_id, mine).order_by(JobRow.origin)
    return tuple(_child(row) for row in await uow.session.scalars(query))


def _child(row: JobRow) -> Child:
    return Child(
        id=row.id,
        name=(row.origin or "").partition("/")[2],
        kind=row.kind,
        server_id=row.server_id,
        state=WorkState(row.state),
        result=row.result,
        code=row.code,
        detail=row.detail,
        remedy=row.remedy,
    )
