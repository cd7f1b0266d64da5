"""What a report shows of a server's newest cutover, and which checkpoint it makes the report's subject."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from app.contract.cutoverwords import CutoverPhase, CutoverState
from app.contract.paging import PageRequest
from app.contract.resources.cutover import Cutover, CutoverTime
from app.contract.resources.launch import ServerTest, TestConversion
from app.contract.resources.report import (
    ReportedChange,
    ReportedCheck,
    ReportedConversion,
    ReportedCutover,
    ReportedPhase,
    ReportedScreenshot,
)
from app.kit.database import UnitOfWork
from app.migration.cutover.evidence import get_evidence
from app.migration.cutover.service import list_cutovers
from app.migration.cutover.states import TARGET_RUNS
from app.migration.launch.evidence import SCREENSHOT, THUMBNAIL

STANDS: Final = TARGET_RUNS | {CutoverState.REVERTING}
"""States in which the machine, and not the source, is the server."""


async def newest_cutover(uow: UnitOfWork, server_id: str) -> Cutover | None:
    """The newest cutover of a server, whatever became of it."""
    found = await list_cutovers(uow, server_id, PageRequest(limit=1))
    return next(iter(found.items), None)


def subject_of(cutover: Cutover | None, head: str | None) -> str | None:
    """The id of the checkpoint that a report is about: of a cutover that stands, the final one."""
    stands = cutover is not None and cutover.state in STANDS
    return cutover.checkpoint_id if cutover is not None and stands else head


def cutover_view(cutover: Cutover) -> ReportedCutover:
    """A cutover as a report shows it."""
    times = {each.phase: each for each in cutover.phases}
    stop, check = times.get(CutoverPhase.STOP), times.get(CutoverPhase.CHECK)
    return ReportedCutover(
        id=cutover.id,
        job_id=cutover.job_id,
        state=cutover.state,
        requested_by=cutover.requested_by,
        created_at=cutover.created_at,
        finished_at=cutover.ended_at,
        checkpoint_number=cutover.checkpoint_number,
        target=cutover.target,
        down_since=stop.started_at if stop else None,
        up_since=_passed_at(cutover, check),
        downtime_seconds=cutover.downtime_seconds,
        source_stopped=None if cutover.source_active is None else not cutover.source_active,
        source_gone=cutover.source_gone,
        passed=cutover.passed,
        detail=cutover.detail,
        override=cutover.override,
        passed_over=cutover.passed_over,
        phases=tuple(_phase(each) for each in cutover.phases),
        checks=tuple(
            ReportedCheck(
                name=each.name, kind=each.kind, passed=each.passed, after=each.after, detail=each.detail
            )
            for each in cutover.checks
        ),
        ledger=tuple((each.kind.value, each.what, each.detail) for each in cutover.ledger),
    )


def _passed_at(cutover: Cutover, check: CutoverTime | None) -> datetime | None:
    return check.finished_at if check is not None and cutover.passed else None


def _phase(time: CutoverTime) -> ReportedPhase:
    ended = time.finished_at
    return ReportedPhase(
        name=time.phase,
        started_at=time.started_at,
        seconds=(ended - time.started_at).total_seconds() if ended else None,
    )


def conversion_of(cutover: Cutover | None, tests: Sequence[ServerTest]) -> ReportedConversion | None:
    """The conversion of the cutover's machine, else of the newest test's that came to a verdict."""
    if cutover is not None and cutover.state in STANDS and cutover.conversion is not None:
        return _conversion(cutover.id, cutover.conversion)
    for test in tests:
        if test.passed is not None:
            return _conversion(test.id, test.conversion) if test.conversion is not None else None
    return None


def _conversion(of: str, found: TestConversion) -> ReportedConversion:
    changes = tuple(ReportedChange(**change.model_dump()) for change in found.changes)
    return ReportedConversion(
        of=of, system=found.system, root=found.root, changes=changes, warnings=found.warnings
    )


async def cutover_screenshot(uow: UnitOfWork, cutover: Cutover | None) -> ReportedScreenshot | None:
    """The last picture of the machine of a cutover that was watched to its end."""
    names = [name for name in (SCREENSHOT, THUMBNAIL) if cutover is not None and name in cutover.evidence]
    if cutover is None or not names:
        return None
    picture = await get_evidence(uow, cutover.id, names[0])
    return ReportedScreenshot(
        of=cutover.id,
        is_thumbnail=names[0] == THUMBNAIL,
        sha256=hashlib.sha256(picture).hexdigest(),
        png=base64.b64encode(picture).decode(),
    )
