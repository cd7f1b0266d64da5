"""The two shapes in which the service is run, each proved by the same tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kit.settings import DatabaseSettings
from tests.e2e.deployment import Deployment, embedded, three_roles
from tests.services.mariadb_server import MariaDb
from tests.services.redis_server import RedisServer

SHAPES = ["embedded", pytest.param("three-roles", marks=pytest.mark.service)]


@pytest.fixture(scope="session", params=SHAPES)
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A running service that several tests share; afterwards every stored byte is checked.

    A service that was killed may leave a pack without a row, which the check reports as harmless.
    """
    folder = tmp_path_factory.mktemp("service")
    if request.param == "embedded":
        with embedded(folder) as running:
            yield running
    else:
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        redis: RedisServer = request.getfixturevalue("redis_server")
        database: DatabaseSettings = mariadb.create_database()
        with three_roles(folder, database, redis.settings()) as running:
            yield running
    running.command("store", "check", "--read-data")


@pytest.fixture
def embedded_deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A running service of this test alone: role `all` on SQLite."""
    folder = tmp_path / "service"
    folder.mkdir()
    with embedded(folder) as running:
        yield running
