"""Limits: at most so many jobs that name a key run at once, of a project, of a target, of a wave.

A limit has numbered slots, and a running job has a row for the one that it took. The primary key makes it
impossible that two have the same one, whatever workers do at the same time, so a limit cannot be exceeded.
A job keeps its slots from its first step until it is over, pauses between attempts included. One that waits
for its children gives them back meanwhile, so that they may name the same keys.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, select
from sqlalchemy.orm import aliased

from app.kit.database import UnitOfWork
from app.work.states import STANDING
from app.work.tables import MOST_NAME, JobLimitRow, JobRow, JobSlotRow


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` jobs that name `key` run at once: ``project:prj-…``, ``target:tgt-…``."""

    key: str
    most: int

    def __post_init__(self) -> None:
        """Raises ValueError for a limit that no job could ever pass."""
        if self.most < 1 or not 0 < len(self.key) <= MOST_NAME:
            raise ValueError(
                f"a limit has a key of up to {MOST_NAME} characters and lets one job run or more"
            )


async def declare(uow: UnitOfWork, job_id: str, limits: tuple[Limit, ...]) -> None:
    """Write down what a new job waits for."""
    rows = [{"job_id": job_id, "key": limit.key, "most": limit.most} for limit in limits]
    if rows:
        await uow.session.execute(insert(JobLimitRow), rows)


def is_blocked() -> ColumnElement[bool]:
    """Whether a limit of the job in the outer query has no slot free."""
    limit, slot = aliased(JobLimitRow), aliased(JobSlotRow)
    taken = (
        select(func.count())
        .where(slot.key == limit.key, slot.number < limit.most)
        .correlate(limit)
        .scalar_subquery()
    )
    return exists().where(and_(limit.job_id == JobRow.id, taken >= limit.most)).correlate(JobRow)


async def take_slots(uow: UnitOfWork, job_id: str) -> bool:
    """Take a slot of each limit of the job; False where one has none: then roll the unit back.

    Raises IntegrityError when another worker took the same slot at the same moment.
    """
    limits = await uow.session.scalars(
        select(JobLimitRow).where(JobLimitRow.job_id == job_id).order_by(JobLimitRow.key)
    )
    for limit in limits.all():
        taken = set(await uow.session.scalars(select(JobSlotRow.number).where(JobSlotRow.key == limit.key)))
        number = next((number for number in range(limit.most) if number not in taken), None)
        if number is None:
            return False
        await uow.session.execute(
            insert(JobSlotRow), [{"key": limit.key, "number": number, "job_id": job_id}]
        )
    return True


async def give_slots_back(uow: UnitOfWork, row: JobRow) -> bool:
    """Free the slots of a job; whether it had any."""
    if not row.has_slots:
        return False
    row.has_slots = False
    return bool(await uow.changed(delete(JobSlotRow).where(JobSlotRow.job_id == row.id)))


async def standing_on(uow: UnitOfWork, key: str) -> list[str]:
    """The ids of the jobs that name this limit and are not over."""
    query = select(JobRow.id).join(JobLimitRow, JobLimitRow.job_id == JobRow.id)
    found = await uow.session.scalars(query.where(JobLimitRow.key == key, JobRow.state.in_(STANDING)))
    return list(found)
