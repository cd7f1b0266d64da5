"""Forgetting what is old, for as long as a process of role `agent` lives; several may do so at once."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.kit.ids import is_id
from app.kit.logging import get_logger
from app.migration.retention.tests import forget_tests, known_tests
from app.migration.services import Services
from app.work.forgetting import forget_jobs

LOOK_SECONDS: Final = 3600.0
TEST_PREFIX: Final = "tst"

_log = get_logger("go2cloud.retention")


@dataclass(frozen=True)
class Forgotten:
    """How much one look forgot; `folders` are those of this node with evidence of forgotten tests."""

    tests: int
    jobs: int
    folders: int


async def forget(services: Services) -> None:
    """Look every hour."""
    was_good = True
    while True:
        try:
            done = await forget_once(services)
        except (Go2CloudError, OSError) as error:
            if was_good:
                _log.exception("retention.failed", code=getattr(error, "code", type(error).__name__))
            was_good = False
        else:
            was_good = True
            if done.tests or done.jobs or done.folders:
                _log.info("retention.forgotten", tests=done.tests, jobs=done.jobs, folders=done.folders)
        await asyncio.sleep(LOOK_SECONDS)


async def forget_once(services: Services) -> Forgotten:
    """Forget all that is old now: tests first, since their jobs stay as long as they do."""
    settings, now = services.settings, services.clock.now()
    evidence = now - timedelta(days=settings.launch.evidence_days)
    jobs = now - timedelta(days=settings.work.keep_days)
    return Forgotten(
        tests=await _all(services, forget_tests, evidence),
        jobs=await _all(services, forget_jobs, jobs),
        folders=await _folders(services, settings.launch.folder / "evidence", evidence),
    )


async def _all(
    services: Services, forget_some: Callable[[UnitOfWork, datetime], Awaitable[int]], before: datetime
) -> int:
    total = 0
    while some := await services.database.run(lambda uow: forget_some(uow, before)):
        total += some
    return total


async def _folders(services: Services, evidence: Path, before: datetime) -> int:
    """Remove the folders of this node with screenshots of tests that are not known any more."""
    old = await asyncio.to_thread(_old_folders, evidence, before)
    async with services.database.reading() as uow:
        known = await known_tests(uow, [folder.name for folder in old])
    gone = [folder for folder in old if folder.name not in known]
    for folder in gone:
        await asyncio.to_thread(shutil.rmtree, folder)
    return len(gone)


def _old_folders(evidence: Path, before: datetime) -> list[Path]:
    """Folders of tests that nothing was written into since a time."""
    if not evidence.is_dir():
        return []
    found = [each for each in evidence.iterdir() if is_id(each.name, TEST_PREFIX) and not each.is_symlink()]
    return [each for each in found if each.stat().st_mtime < before.timestamp()]
