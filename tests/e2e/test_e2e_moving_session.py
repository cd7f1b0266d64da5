"""A replica of the agent tier is killed in the middle of a copy: the session goes on at the living one."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from app.client import servers
from tests.cluster.balancer import Standby
from tests.cluster.moving import busy, log_of, require_moved
from tests.e2e.deployment import Deployment, of_three_roles, run_deployment
from tests.e2e.replica import assert_identical, random_disk
from tests.e2e.source_host import SourceHost
from tests.services.mariadb_server import MariaDb
from tests.services.processes import free_port
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.service]

MIB = 1 << 20


@pytest.fixture
def two_replicas(
    tmp_path: Path, mariadb: MariaDb, redis_server: RedisServer
) -> Iterator[tuple[Deployment, Standby]]:
    """An API and two replicas of the agent tier, of which the second stands by."""
    three = of_three_roles(tmp_path, mariadb.create_database(), redis_server.settings())
    ports = {"api": three.ports["api"], "agent": free_port(), "agent.2": free_port()}
    with ExitStack() as stack:
        relay = Standby((ports["agent"], ports["agent.2"]))
        relay.start()
        stack.callback(relay.stop)
        environment = three.environment | {"G2C_PACE__RATE": "8MiB"}
        for running in run_deployment(replace(three, ports=ports, environment=environment)):
            yield running, relay


def test_a_session_moves_to_the_living_replica(
    two_replicas: tuple[Deployment, Standby], tmp_path: Path
) -> None:
    deployment, relay = two_replicas
    disk = random_disk(tmp_path / "disk.img", 64 * MIB)
    host = SourceHost(tmp_path / "source")
    server = host.enroll(deployment, disk, url=relay.url)
    with host.running("--once") as agent:
        _, session = busy({"agent": log_of(deployment, "agent")})
        killed = time.time()
        deployment.kill("agent")
        require_moved(log_of(deployment, "agent.2"), session, killed)
        output, _ = agent.communicate(timeout=120)
    assert agent.returncode == 0, output
    assert_identical(deployment, server, disk)
    with deployment.client() as client:
        assert client.send(servers.checkpoint(server, servers.LATEST)).number == 1
