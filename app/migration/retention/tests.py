"""Forgetting tests that are over for long, with their evidence, and letting their checkpoints go.

The newest verdict of each server stays, and every test of a checkpoint that a cutover refers to. A checkpoint
that nobody needs any more (`checkpoints`) is up to the retention of checkpoints again.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, func, or_, select

from app.contract.cutoverwords import CutoverState
from app.kit.database import UnitOfWork
from app.migration.cutover.tables import CutoverRow
from app.migration.launch.tables import TestEvidenceRow, TestRow
from app.migration.retention.checkpoints import let_go

MOST_AT_ONCE: Final = 50
"""Tests that one unit of work forgets: each has some MiB of evidence at most."""


async def forget_tests(uow: UnitOfWork, before: datetime) -> int:
    """Forget at most MOST_AT_ONCE tests that were over before a time; how many. Repeat until none is left."""
    query = select(TestRow.id, TestRow.checkpoint_id).where(*_old(before)).order_by(TestRow.id)
    found = (await uow.session.execute(query.limit(MOST_AT_ONCE))).all()
    tests, checkpoints = [test for test, _ in found], {checkpoint for _, checkpoint in found}
    await uow.session.execute(delete(TestEvidenceRow).where(TestEvidenceRow.test_id.in_(tests)))
    await uow.session.execute(delete(TestRow).where(TestRow.id.in_(tests)))
    await let_go(uow, *checkpoints)
    return len(tests)


def _old(before: datetime) -> tuple[ColumnElement[bool], ...]:
    newest = select(func.max(TestRow.id)).where(TestRow.passed.is_not(None)).group_by(TestRow.server_id)
    newest_ids = select(newest.subquery().c[0])
    return (
        TestRow.terminated_at < before,
        TestRow.id.not_in(newest_ids),
        ~_cut_over(TestRow.checkpoint_id),
    )


def _cut_over(checkpoint_id: object) -> ColumnElement[bool]:
    """Whether a cutover refers to a checkpoint."""
    mine = or_(CutoverRow.checkpoint_id == checkpoint_id, CutoverRow.base_checkpoint_id == checkpoint_id)
    return exists().where(mine, CutoverRow.state != CutoverState.UNDONE)


async def known_tests(uow: UnitOfWork, ids: list[str]) -> set[str]:
    """Those of these ids of which there is a test."""
    return set(await uow.session.scalars(select(TestRow.id).where(TestRow.id.in_(ids))))
