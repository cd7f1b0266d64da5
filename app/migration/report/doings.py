"""What was done with a server: machines that were made of it, jobs, and the audit trail."""

import base64
import hashlib
import json

from sqlalchemy import or_, select

from app.contract.paging import PageRequest
from app.contract.resources.launch import ServerTest
from app.contract.resources.report import (
    ReportedAct,
    ReportedBoot,
    ReportedCheck,
    ReportedJob,
    ReportedPhase,
    ReportedScreenshot,
)
from app.contract.words import WorkState
from app.kit.database import UnitOfWork
from app.migration.access.tables import AuditRow
from app.migration.launch.evidence import SCREENSHOT, THUMBNAIL, get_evidence
from app.migration.launch.service import list_tests
from app.work.tables import JobRow

MOST_BOOTS = 20
MOST_JOBS = 100
MOST_ACTS = 500


async def boots_of(uow: UnitOfWork, server_id: str) -> tuple[ServerTest, ...]:
    """The newest tests of a server, the newest first."""
    return (await list_tests(uow, server_id, PageRequest(limit=MOST_BOOTS))).items


def boot_view(test: ServerTest) -> ReportedBoot:
    """A test as a report shows it."""
    return ReportedBoot(
        id=test.id,
        job_id=test.job_id,
        state=test.state,
        checkpoint_number=test.checkpoint_number,
        label=test.label,
        source_time=test.source_time,
        target=test.target,
        node=test.node,
        accelerator=test.accelerator,
        requested_by=test.requested_by,
        created_at=test.created_at,
        checked_at=test.checked_at,
        terminated_at=test.terminated_at,
        passed=test.passed,
        reason=test.reason,
        detail=test.detail,
        seconds=test.seconds,
        phases=tuple(ReportedPhase(name=each.phase, seconds=each.after) for each in test.phases),
        checks=tuple(
            ReportedCheck(
                name=each.name, kind=each.kind, passed=each.passed, after=each.after, detail=each.detail
            )
            for each in test.checks
        ),
    )


async def screenshot_of(uow: UnitOfWork, tests: tuple[ServerTest, ...]) -> ReportedScreenshot | None:
    """The last picture of the newest test that came to a verdict and has one."""
    for test in tests:
        for name in (SCREENSHOT, THUMBNAIL):
            if test.passed is not None and name in test.evidence:
                picture = await get_evidence(uow, test.id, name)
                return ReportedScreenshot(
                    of=test.id,
                    is_thumbnail=name == THUMBNAIL,
                    sha256=hashlib.sha256(picture).hexdigest(),
                    png=base64.b64encode(picture).decode(),
                )
    return None


async def jobs_of(uow: UnitOfWork, server_id: str) -> tuple[ReportedJob, ...]:
    """The newest jobs of a server, the oldest of them first."""
    query = select(JobRow).where(JobRow.server_id == server_id).order_by(JobRow.id.desc()).limit(MOST_JOBS)
    return tuple(reversed([_job(row) for row in await uow.session.scalars(query)]))


def _job(row: JobRow) -> ReportedJob:
    return ReportedJob(
        id=row.id,
        kind=row.kind,
        state=WorkState(row.state),
        requested_by=row.requested_by,
        created_at=row.created_at,
        finished_at=row.finished_at,
        code=row.code,
        detail=row.detail,
    )


async def acts_on(uow: UnitOfWork, server_id: str, jobs: tuple[ReportedJob, ...]) -> tuple[ReportedAct, ...]:
    """The newest entries of the audit trail about a server and its jobs, the oldest of them first."""
    mine = or_(AuditRow.resource == server_id, AuditRow.resource.in_([job.id for job in jobs]))
    query = select(AuditRow).where(mine).order_by(AuditRow.id.desc()).limit(MOST_ACTS)
    return tuple(reversed([_act(row) for row in await uow.session.scalars(query)]))


def _act(row: AuditRow) -> ReportedAct:
    details = ((name, json.dumps(value, ensure_ascii=False)) for name, value in row.details.items())
    return ReportedAct(
        time=row.at,
        who=row.principal_name,
        action=row.action,
        resource=row.resource,
        details=tuple(details),
    )
