"""The property of the engine on a bounded number of jobs: see `campaign`; at length `tests.torture.jobs`."""

from collections.abc import Iterator

import pytest

from app.kit.settings import DatabaseSettings
from tests.services.mariadb_server import MariaDb
from tests.work.campaign import chaos_holds, sqlite_in_memory

SQLITE_JOBS = 150
MARIADB_JOBS = 60


@pytest.fixture
def in_memory() -> Iterator[DatabaseSettings]:
    """SQLite in memory where possible."""
    with sqlite_in_memory() as settings:
        yield settings


@pytest.mark.slow
async def test_many_jobs_on_sqlite(in_memory: DatabaseSettings) -> None:
    await chaos_holds(in_memory, jobs=SQLITE_JOBS, seed=1)


@pytest.mark.slow
@pytest.mark.service
async def test_many_jobs_on_mariadb(mariadb: MariaDb) -> None:
    settings = mariadb.create_database()
    await chaos_holds(settings, jobs=MARIADB_JOBS, seed=2)
    mariadb.drop_database(settings)
