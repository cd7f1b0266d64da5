"""A fresh database for each test, on each engine."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.settings import DatabaseSettings, Engine
from app.schema import running
from tests.services.mariadb_server import MariaDb


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.service)])
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseSettings]:
    """The settings of an empty database of this test alone, once on SQLite and once on MariaDB."""
    if request.param == "sqlite":
        yield DatabaseSettings(engine=Engine.SQLITE, path=tmp_path / "database" / "go2cloud.db")
        return
    server: MariaDb = request.getfixturevalue("mariadb")
    settings = server.create_database()
    yield settings
    server.drop_database(settings)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until the test moves it."""
    return ManualClock(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))


@pytest.fixture
async def database(database_settings: DatabaseSettings, clock: ManualClock) -> AsyncIterator[Database]:
    """A connected database with the newest schema, on each engine."""
    await running.upgrade(database_settings)
    database = Database.connect(database_settings, clock)
    yield database
    await database.close()
