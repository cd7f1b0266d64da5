"""A program whose database a later one has upgraded: it is restarted and goes on, or says why it may not."""

import asyncio
import json
import subprocess
from pathlib import Path

import httpx2
import pytest

from app.kit.settings import DatabaseSettings, Engine
from app.schema import running
from tests.e2e.deployment import PROGRAM, Deployment, embedded, three_roles
from tests.e2e.replica import assert_identical, random_disk
from tests.e2e.source_host import SourceHost
from tests.schema.later_versions import CONTRACTING, EXPANDING, bring_to, write_later_versions
from tests.services.mariadb_server import MariaDb
from tests.services.redis_server import RedisServer

MIB = 1 << 20
MINUTE = 60


def _upgraded(database: DatabaseSettings, folder: Path, revision: str) -> None:
    """What the Job of the later program does."""
    folder.mkdir(exist_ok=True)
    write_later_versions(folder, running.head(), "0017")
    asyncio.run(bring_to(database, folder, revision))


def _warnings(deployment: Deployment, name: str) -> int:
    log = (deployment.folder / f"{name}.log").read_text()
    return sum(json.loads(line).get("event", {}).get("action") == "schema.newer" for line in log.splitlines())


def _goes_on(deployment: Deployment, host: SourceHost, server: str, disk: Path, name: str) -> None:
    """The restarted program replicates, warns once a process, and leaves the schema as it is."""
    with disk.open("r+b") as file:
        file.write(b"written since")
    host.sync()
    assert_identical(deployment, server, disk)
    assert _warnings(deployment, name) == 1
    metrics = httpx2.get(f"http://127.0.0.1:{deployment.ports[name]}/metrics").text
    assert "go2cloud_schema_newer 1.0" in metrics


def _refused(deployment: Deployment, name: str) -> str:
    """What a process that does not start says."""
    command = [*PROGRAM, "serve", "--role", name, "--port", "0"]
    done = subprocess.run(
        command, env=deployment.environment, capture_output=True, text=True, check=False, timeout=MINUTE
    )
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.service
def test_pods_are_restarted_on_an_expanded_schema_and_refused_by_a_contracted_one(
    tmp_path: Path, mariadb: MariaDb, redis_server: RedisServer
) -> None:
    database = mariadb.create_database()
    disk = random_disk(tmp_path / "disk.img", 4 * MIB)
    with three_roles(tmp_path, database, redis_server.settings()) as deployment:
        host = SourceHost(tmp_path / "source")
        server = host.enroll(deployment, disk)
        host.sync()
        _upgraded(database, tmp_path / "later", EXPANDING)
        for role in ("agent", "api"):
            deployment.kill(role)
        deployment.start()
        _goes_on(deployment, host, server, disk, "agent")
        assert deployment.command("db", "upgrade").strip() == EXPANDING
        assert deployment.command("db", "current").strip() == EXPANDING
        _upgraded(database, tmp_path / "later", CONTRACTING)
        for role in ("agent", "api"):
            said = _refused(deployment, role)
            assert f"needs a program that knows {EXPANDING}" in said
            assert f"go2cloud db downgrade {running.head()}" in said


@pytest.mark.slow
def test_a_service_on_sqlite_leaves_an_expanded_schema_as_it_is(tmp_path: Path) -> None:
    disk = random_disk(tmp_path / "disk.img", 4 * MIB)
    with embedded(tmp_path) as deployment:
        host = SourceHost(tmp_path / "source")
        server = host.enroll(deployment, disk)
        deployment.stop()
        database = DatabaseSettings(engine=Engine.SQLITE, path=tmp_path / "go2cloud.db")
        _upgraded(database, tmp_path / "later", EXPANDING)
        deployment.start()
        _goes_on(deployment, host, server, disk, "all")
        deployment.stop()
        assert asyncio.run(running.current(database)) == EXPANDING
