"""The property of the engine: whatever dies, pauses and jumps, each effect is there once, and no job is lost.

Jobs of seven shapes; workers that are killed and started anew, or paused for longer than their lease
and woken up; a wall clock that is set forward and back by days. Afterwards every job is over in the state
that its shape demands, what succeeded has all its effects, each made once, and the others have none. No
limit is exceeded at any time.
"""

import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.settings import DatabaseSettings, Engine
from app.schema import running
from tests.services.mariadb_server import MariaDb
from tests.work.chaos import Chaos
from tests.work.engine import running_engine

MEMORY = Path("/dev/shm")
MOST_ROUNDS = 1000
SQLITE_JOBS = 150
MARIADB_JOBS = 60


@pytest.fixture
def in_memory() -> Iterator[DatabaseSettings]:
    """SQLite in memory where possible: thousands of commits without waiting for a disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield DatabaseSettings(engine=Engine.SQLITE, path=Path(folder) / "go2cloud.db")


@pytest.mark.slow
async def test_many_jobs_on_sqlite(in_memory: DatabaseSettings) -> None:
    await _holds(in_memory, jobs=SQLITE_JOBS, seed=1)


@pytest.mark.slow
@pytest.mark.service
async def test_many_jobs_on_mariadb(mariadb: MariaDb) -> None:
    settings = mariadb.create_database()
    await _holds(settings, jobs=MARIADB_JOBS, seed=2)
    mariadb.drop_database(settings)


async def _holds(settings: DatabaseSettings, jobs: int, seed: int) -> None:
    clock = ManualClock(datetime(2026, 1, 2, tzinfo=UTC))
    await running.upgrade(settings)
    database = Database.connect(settings, clock)
    try:
        with capture_logs():  # every kill would write a trace
            found = await _judged(database, clock, jobs, seed)
    finally:
        await database.close()
    print(found)


async def _judged(database: Database, clock: ManualClock, jobs: int, seed: int) -> str:
    async with running_engine(database) as engine:
        chaos = Chaos(engine, clock, random.Random(seed))
        chaos.register()
        await chaos.order(jobs)
        await chaos.run(MOST_ROUNDS)
        found = await chaos.judge()
    return f"{sorted(found.items())} {dict(chaos.hurt)} late effects refused: {chaos.ledger.refused}"
