"""Which jobs a worker may take up, and taking one: exactly one worker's update matches the row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import aliased

from app.contract.words import Place
from app.kit.database import UnitOfWork
from app.work import pauses
from app.work.course import Course, Work
from app.work.kinds import Kinds
from app.work.leases import Sign
from app.work.limits import is_blocked, take_slots
from app.work.states import STANDING, Unwinding
from app.work.tables import JobRow, JobStepRow

MOST_CANDIDATES: Final = 50

_Query: TypeAlias = Select[str, int, int, str, str, str]


class Blocked(Exception):
    """A limit of the job is used up, or it waits for children: the unit is to be rolled back."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a worker sits: what it can run, and as whom it holds jobs."""

    place: Place
    node: str
    holder: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that may be taken up, as it stood when it was looked at."""

    sign: Sign
    holder: str


async def candidates(uow: UnitOfWork, kinds: Kinds, seat: Seat) -> list[Candidate]:
    """Jobs that nobody has and that can run now, the most urgent first, then the oldest."""
    query = _here(kinds, seat).where(JobRow.holder == "", _is_ready(uow.now))
    order = (JobRow.priority.desc(), JobRow.id)
    return await _read(uow, kinds, query.order_by(*order).limit(MOST_CANDIDATES))


async def held(uow: UnitOfWork, kinds: Kinds, seat: Seat) -> list[Candidate]:
    """Jobs that some worker has; those of dead ones are to be taken over."""
    query = _here(kinds, seat).where(JobRow.holder != "")
    return await _read(uow, kinds, query.order_by(JobRow.id))


def _here(kinds: Kinds, seat: Seat) -> _Query:
    step = and_(JobStepRow.job_id == JobRow.id, JobStepRow.number == JobRow.step)
    return (
        select(JobRow.id, JobRow.fence, JobRow.beat, JobRow.holder, JobRow.kind, JobStepRow.name)
        .join(JobStepRow, step)
        .where(
            JobRow.state.in_(STANDING),
            JobRow.place == seat.place,
            JobRow.kind.in_(list(kinds.all)),
            or_(JobRow.node.is_(None), JobRow.node == seat.node, JobRow.place == Place.CONTROL),
        )
    )


def _is_ready(now: datetime) -> ColumnElement[bool]:
    """Its pause is over, enough of its children are, and it has its slots or could have them."""
    is_due = or_(JobRow.not_before.is_(None), JobRow.not_before <= now, JobRow.not_before > now + pauses.MOST)
    child = aliased(JobRow)
    mine = (child.parent_id == JobRow.id, child.state.in_(STANDING))
    standing = select(func.count()).where(*mine).correlate(JobRow).scalar_subquery()
    is_alone = or_(JobRow.is_parked.is_(False), standing <= JobRow.may_stand)
    return and_(is_due, is_alone, or_(JobRow.has_slots.is_(True), ~is_blocked()))


async def _read(uow: UnitOfWork, kinds: Kinds, query: _Query) -> list[Candidate]:
    """Jobs whose next step this version of the plan has; another version's process goes on with others."""
    return [
        Candidate(Sign(job_id, fence, beat), holder)
        for job_id, fence, beat, holder, kind, step in await uow.session.execute(query)
        if kinds.get(kind).step(step) is not None
    ]


async def claim(uow: UnitOfWork, course: Course, wanted: Candidate, seat: Seat) -> Work | None:
    """Take a job up as it stood; its next step, which begins now.

    None where another worker was quicker, or nothing was left to do. Raises Blocked where a limit has no slot
    free, or too many children stand by now, and IntegrityError where another worker took the same one: then
    the unit is rolled back.
    """
    sign = wanted.sign
    same = (
        JobRow.id == sign.job_id,
        JobRow.fence == sign.fence,
        JobRow.beat == sign.beat,
        JobRow.holder == wanted.holder,
        JobRow.state.in_(STANDING),
    )
    raised = {"holder": seat.holder, "fence": JobRow.fence + 1, "beat": JobRow.beat + 1}
    if not await uow.changed(update(JobRow).where(*same).values(**raised)):
        return None
    row = await uow.session.get_one(JobRow, sign.job_id, populate_existing=True)
    if row.is_parked and await _standing_children(uow, row.id) > row.may_stand:
        raise Blocked  # it was cancelled since it was looked at, and waits for its children to be undone
    is_resumed = row.is_parked and row.unwinding is None
    row.is_parked, row.not_before = False, None
    if not row.has_slots:
        if not await take_slots(uow, row.id):
            raise Blocked
        row.has_slots = True
    if row.cancel_asked_at is not None and row.unwinding is None:
        await course.unwind(uow, row, Unwinding.CANCEL)
        if row.is_parked:
            row.holder = ""
            return None
        is_resumed = False
    return await course.begin(uow, row, is_resumed=is_resumed)


async def _standing_children(uow: UnitOfWork, job_id: str) -> int:
    query = select(func.count()).where(JobRow.parent_id == job_id, JobRow.state.in_(STANDING))
    return await uow.session.scalar(query) or 0
