"""The service as a cluster runs it: two replicas of a role, on a database and a Redis that fail over."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.kit.settings import DatabaseSettings
from tests.cluster.balancer import Balancer
from tests.cluster.marking import MARKS, PROGRAM
from tests.e2e.deployment import Deployment, basic_environment, run_deployment
from tests.services.galera_cluster import Galera
from tests.services.processes import free_port
from tests.services.redis_sentinels import NAME, PASSWORD, Sentinels

REPLICAS = ("api", "api.2", "agent", "agent.2", "platform")


@dataclass(frozen=True)
class Cluster:
    """The replicas, what stands before those of a role, and what they stand on."""

    deployment: Deployment
    galera: Galera
    sentinels: Sentinels
    database: DatabaseSettings
    databases: Balancer
    agents: Balancer

    @property
    def marks(self) -> Path:
        """Where jobs of the kind `test.mark` leave their marks."""
        return Path(self.deployment.environment[MARKS])


@pytest.fixture
def cluster(tmp_path: Path, galera: Galera, redis_sentinels: Sentinels) -> Iterator[Cluster]:
    """Two replicas of api and agent and a platform, on Galera, Sentinel and one store."""
    (tmp_path / "marks").mkdir()
    ports = {name: free_port() for name in REPLICAS}
    with ExitStack() as stack:
        databases = Balancer(tuple(node.port for node in galera.nodes))
        agents = Balancer((ports["agent"], ports["agent.2"]))
        for each in (databases, agents):
            each.start()
            stack.callback(each.stop)
        database = galera.create_database(databases.port)
        environment = _environment(tmp_path, database, redis_sentinels) | {
            "G2C_API_MIGRATE_SERVER_URL": f"http://127.0.0.1:{ports['api']}",
        }
        deployment = Deployment(tmp_path, environment, ports, program=PROGRAM)
        for running in run_deployment(deployment):
            yield Cluster(running, galera, redis_sentinels, database, databases, agents)


def _environment(folder: Path, database: DatabaseSettings, sentinels: Sentinels) -> dict[str, str]:
    assert database.password is not None
    return basic_environment(folder) | {
        MARKS: str(folder / "marks"),
        "G2C_DB_ENGINE": "mysql",
        "G2C_DB_HOST": database.host or "",
        "G2C_DB_PORT": str(database.port),
        "G2C_DB_USER": database.user or "",
        "G2C_DB_PASSWORD": database.password.get_secret_value(),
        "G2C_DB_NAME": database.name,
        "G2C_REDIS_SENTINELS": ",".join(f"127.0.0.1:{port}" for port in sentinels.ports),
        "G2C_REDIS_SENTINEL_NAME": NAME,
        "G2C_REDIS_PASSWORD": PASSWORD,
        "G2C_WORK__LEASE_SECONDS": "5",
    }
