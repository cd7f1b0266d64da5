"""Forgetting jobs that ended long ago, with their steps, events and limits.

A job stays as long as a row of a feature names it by a foreign key, or it has children, or its parent stays:
a parent tells of its children. Each job is locked before it goes: one that is retried meanwhile stays.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, exists, or_, select, update
from sqlalchemy.orm import aliased

from app.kit.database import Base, UnitOfWork
from app.work.states import STANDING
from app.work.tables import JobEventRow, JobLimitRow, JobRow, JobSlotRow, JobStepRow

MOST_AT_ONCE: Final = 100
"""Jobs that one unit of work forgets: each has thousands of events at most."""
_PARTS: Final = (JobEventRow, JobStepRow, JobLimitRow, JobSlotRow)


async def forget_jobs(uow: UnitOfWork, before: datetime) -> int:
    """Forget at most MOST_AT_ONCE jobs that ended before a time; how many. Repeat until there are none."""
    found = list(await uow.session.scalars(select(JobRow.id).where(*_old(before)).limit(MOST_AT_ONCE)))
    gone = [job_id for job_id in found if await _lock(uow, job_id, before)]
    for part in _PARTS:
        await uow.session.execute(delete(part).where(part.job_id.in_(gone)))
    await uow.session.execute(delete(JobRow).where(JobRow.id.in_(gone)))
    return len(gone)


async def _lock(uow: UnitOfWork, job_id: str, before: datetime) -> bool:
    same = update(JobRow).where(JobRow.id == job_id, *_ended(JobRow, before))
    return bool(await uow.changed(same.values(event_count=JobRow.event_count)))


def _old(before: datetime) -> tuple[ColumnElement[bool], ...]:
    child, parent = aliased(JobRow), aliased(JobRow)
    has_child = exists().where(child.parent_id == JobRow.id)
    parent_goes = exists().where(parent.id == JobRow.parent_id, *_ended(parent, before), *_unnamed(parent.id))
    is_free = or_(JobRow.parent_id.is_(None), parent_goes)
    return (*_ended(JobRow, before), ~has_child, is_free, *_unnamed(JobRow.id))


def _ended(row: type[JobRow], before: datetime) -> tuple[ColumnElement[bool], ...]:
    return (row.state.not_in(STANDING), row.finished_at < before)


def _unnamed(job_id: Any) -> Iterator[ColumnElement[bool]]:
    """No row outside of this room names the job."""
    for table, column in _naming():
        yield ~exists().select_from(table).where(table.c[column] == job_id)


def _naming() -> Iterator[tuple[Table, str]]:
    ours = {JobRow.__table__, *(part.__table__ for part in _PARTS)}
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column.table is JobRow.__table__ and table not in ours:
                yield table, key.parent.name
