"""The main job with the store in a bucket: two processes of the agent tier and no folder that they share."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from app.store.s3place import S3Place
from tests.e2e.deployment import Deployment, of_three_roles, run_deployment
from tests.e2e.replica import assert_identical, random_disk
from tests.e2e.source_host import SourceHost
from tests.services.mariadb_server import MariaDb
from tests.services.processes import free_port
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.service
MIB = 1 << 20


@pytest.fixture
def on_bucket(
    tmp_path: Path, mariadb: MariaDb, redis_server: RedisServer, bucket: S3Place
) -> Iterator[Deployment]:
    """Three roles, the agent tier twice, each process with a data folder that nobody else has."""
    place = replace(bucket, prefix=f"stores/{uuid4().hex}")
    database = mariadb.create_database()
    deployment = of_three_roles(tmp_path, database, redis_server.settings())
    deployment.ports["agent.2"] = free_port()
    deployment.environment |= {
        "G2C_STORE__PATH": "/proc/nowhere",
        "G2C_STORE__S3_BUCKET": place.bucket,
        "G2C_STORE__S3_PREFIX": place.prefix,
        "G2C_STORE__S3_ENDPOINT": place.endpoint or "",
        "G2C_STORE__S3_ACCESS_KEY": place.access_key or "",
        "G2C_STORE__S3_SECRET_KEY": place.secret_key or "",
    }
    yield from run_deployment(deployment)
    mariadb.drop_database(database)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SourceHost]:
    """A source host that is not enrolled yet."""
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, tmp_path / "agent", ignore_errors=True)
        yield SourceHost(tmp_path / "agent")


def test_a_disk_in_a_bucket_is_replicated_changed_exported_and_checked(
    on_bucket: Deployment, host: SourceHost, tmp_path: Path
) -> None:
    disk = random_disk(tmp_path / "disk.img", 150 * MIB)
    server = host.enroll(on_bucket, disk)
    host.sync()
    assert_identical(on_bucket, server, disk)
    with disk.open("r+b") as file:
        file.seek(77 * MIB)
        file.write(os.urandom(3 * MIB))
    host.sync()
    assert assert_identical(on_bucket, server, disk).number == 2
    assert set(on_bucket.stop().values()) == {0}
    on_bucket.command("store", "check", "--read-data")
