"""The property of the engine: whatever dies, pauses and jumps, each effect is there once, and no job is lost.

Jobs of seven shapes; workers that are killed and started anew, or paused for longer than their lease
and woken up; a wall clock that is set forward and back by days. Afterwards every job is over in the state
that its shape demands, what succeeded has all its effects, each made once, and the others have none. No
limit is exceeded at any time.
"""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from structlog.testing import capture_logs

from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.settings import DatabaseSettings, Engine
from app.schema import running
from tests.work.chaos import Chaos
from tests.work.engine import running_engine

MEMORY = Path("/dev/shm")
MOST_ROUNDS = 1000


@dataclass(frozen=True)
class Survived:
    """A campaign: its jobs, children included, what was done to workers, late effects that were refused."""

    jobs: int
    hurt: dict[str, int]
    refused: int


@contextmanager
def sqlite_in_memory() -> Iterator[DatabaseSettings]:
    """SQLite in memory where possible: thousands of commits without waiting for a disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield DatabaseSettings(engine=Engine.SQLITE, path=Path(folder) / "go2cloud.db")


async def chaos_holds(settings: DatabaseSettings, jobs: int, seed: int) -> Survived:
    """Run so many jobs on an empty database. Raises AssertionError where the property does not hold."""
    clock = ManualClock(datetime(2026, 1, 2, tzinfo=UTC))
    await running.upgrade(settings)
    database = Database.connect(settings, clock)
    try:
        with capture_logs():  # every kill would write a trace
            return await _judged(database, clock, jobs, seed)
    finally:
        await database.close()


async def _judged(database: Database, clock: ManualClock, jobs: int, seed: int) -> Survived:
    async with running_engine(database) as engine:
        chaos = Chaos(engine, clock, random.Random(seed))
        chaos.register()
        await chaos.order(jobs)
        await chaos.run(MOST_ROUNDS)
        found = await chaos.judge()
    return Survived(found.total(), dict(chaos.hurt), chaos.ledger.refused)
