"""The service in both of its shapes, with the limits and intervals that an installation has."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kit.settings import DatabaseSettings
from tests.e2e.deployment import Deployment, basic_environment, of_three_roles, run_deployment, set_up
from tests.services.mariadb_server import MariaDb
from tests.services.processes import free_port, required_binary
from tests.services.redis_server import RedisServer

SETTINGS = {
    "G2C_AGENT__HEARTBEAT_SECONDS": "10",
    "G2C_AGENT__LEASE_SECONDS": "30",
    "G2C_AGENT__SYNC_INTERVAL_SECONDS": "15",
}
OPEN_FILES = "1024:4096"
"""What systemd gives a service that asks for nothing: fewer at first than it has agents."""


@pytest.fixture(params=["three-roles", "embedded"])
def fleet_service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A running service; afterwards every stored byte is checked."""
    folder = tmp_path / "service"
    folder.mkdir()
    if request.param == "embedded":
        deployment = Deployment(folder, basic_environment(folder), {"all": free_port()})
    else:
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        redis: RedisServer = request.getfixturevalue("redis_server")
        database: DatabaseSettings = mariadb.create_database()
        deployment = of_three_roles(folder, database, redis.settings())
    deployment.environment |= SETTINGS
    prlimit = required_binary("prlimit", "util-linux")
    deployment.program = (prlimit, f"--nofile={OPEN_FILES}", sys.executable, "-m", "app")
    yield from run_deployment(deployment, set_up)
    deployment.command("store", "check", "--read-data")
