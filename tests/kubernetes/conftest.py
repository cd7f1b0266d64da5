"""go2cloud in a real Kubernetes, started once for all tests here; each goes on where the one before ended."""

import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.client import access
from app.client.transport import Client
from tests.e2e.deployment import Deployment
from tests.kubernetes import network
from tests.kubernetes.node import Node, running_node
from tests.kubernetes.overlay import Outside, write_overlay
from tests.services.mariadb_server import PASSWORD, mariadb_server
from tests.services.redis_server import PASSWORD as REDIS_PASSWORD
from tests.services.redis_server import redis_listening

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
PROGRAMS = CACHE / "go2cloud-kubernetes" / "bin"
IMAGES = CACHE / "go2cloud-kubernetes" / "images"
USER = 10001
"""Whom the pods run as; the store's folder is theirs."""

API, AGENT, PLATFORM = (
    "http://10.96.30.4:8004",
    f"http://{network.NODE}:30021",
    f"http://{network.NODE}:30020",
)
SECONDS = 300.0


@dataclass
class InCluster(Deployment):
    """The deployment as the tests of others speak to it, at the addresses of the cluster."""

    token: str = ""

    def client(self) -> Client:
        """A client with the token of the one login: attempts to log in are counted."""
        return Client(API, self.token)

    @property
    def api_url(self) -> str:
        """The Service of the API."""
        return API


@dataclass(frozen=True)
class Cluster:
    """The node, the folder of its manifests, and the way in."""

    node: Node
    manifests: Path
    deployment: InCluster

    def pods(self, component: str) -> list[str]:
        """The names of a role's pods that are ready."""
        selector = f"app.kubernetes.io/component={component}"
        found = json.loads(self.node.kubectl("-n", "go2cloud", "get", "pods", "-l", selector, "-o", "json"))
        return [pod["metadata"]["name"] for pod in found["items"] if _is_ready(pod)]

    def kubectl(self, *arguments: str) -> str:
        """kubectl in the namespace of go2cloud."""
        return self.node.kubectl("-n", "go2cloud", *arguments)

    def rolled_out(self, *names: str) -> None:
        """Wait until these are up to date and ready."""
        for name in names:
            self.kubectl("rollout", "status", name, f"--timeout={SECONDS:.0f}s")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """go2cloud, two replicas of each role and one pod for machines, on a MariaDB and a Redis of the host."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        lab = Path(tempfile.mkdtemp(prefix="g2c-k8s-"))
        stack.callback(shutil.rmtree, lab, ignore_errors=True)
        node = stack.enter_context(running_node(lab / "node", PROGRAMS, *sorted(IMAGES.glob("*.tar"))))
        outside = _outside(stack, folder)
        manifests = folder / "manifests"
        manifests.mkdir()
        write_overlay(manifests, outside)
        node.kubectl("apply", "-k", str(manifests))
        cluster = Cluster(node, manifests, InCluster(folder, {}, {"all": 0}))
        cluster.kubectl(
            "wait", "--for=condition=complete", "job/go2cloud-schema", f"--timeout={SECONDS:.0f}s"
        )
        roles = [f"deployment/go2cloud-{role}" for role in ("api", "agent", "platform")]
        cluster.rolled_out(*roles, "statefulset/go2cloud-machines")
        _make_user(cluster)
        yield cluster


def _outside(stack: ExitStack, folder: Path) -> Outside:
    addresses = f"127.0.0.1,{network.HOST}"
    mariadb = stack.enter_context(mariadb_server(f"--bind-address={addresses}"))
    mariadb.execute("CREATE DATABASE go2cloud CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    mariadb.execute("GRANT ALL ON go2cloud.* TO go2cloud")
    redis = stack.enter_context(redis_listening(folder, "127.0.0.1", network.HOST))
    store = folder / "store"
    store.mkdir()
    os.chown(store, USER, USER)
    assert PASSWORD == REDIS_PASSWORD
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    return Outside(mariadb.port, redis.port, PASSWORD, store, version)


def _make_user(cluster: Cluster) -> None:
    """As an operator does, in a pod of the API."""
    made = cluster.kubectl("exec", "deployment/go2cloud-api", "--", "go2cloud", "admin", "create", "tester")
    cluster.deployment.password = made.strip()
    with Client(API) as client:
        cluster.deployment.token = client.send(access.log_in("tester", made.strip())).token


def _is_ready(pod: dict[str, object]) -> bool:
    status = json.dumps(pod["status"])
    return bool(
        re.search(r'"type": "Ready", "status": "True"|"status": "True", "type": "Ready"', status)
    ) and ("deletionTimestamp" not in json.dumps(pod["metadata"]))
