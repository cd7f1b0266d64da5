"""The main job in a real Kubernetes, while pods are killed, Deployments rolled and settings changed."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.cli.demo.boot import MACHINE
from app.cli.demo.tiny_disk import Tiny, make_disk
from app.client import access, jobs, servers, tests
from app.contract.resources.access import InstallTokenCreate
from app.contract.resources.launch import TestOrder
from app.contract.words import WorkState
from app.kit.ratewindows import RateCalendar
from tests.cluster.moving import Log, busy, require_moved
from tests.e2e.deployment import until
from tests.e2e.paces import set_pace
from tests.e2e.replica import assert_identical, head_of, random_disk
from tests.e2e.source_host import SourceHost
from tests.kubernetes.conftest import AGENT, API, PLATFORM, SECONDS, Cluster
from tests.kubernetes.load import Load
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = [pytest.mark.root, pytest.mark.service, pytest.mark.slow]

MIB = 1 << 20
ROLES = ("api", "agent", "platform")


@dataclass(frozen=True)
class Source:
    """A source host outside of the cluster, with a loop device that is its disk."""

    host: SourceHost
    server: str
    disk: LoopDisk

    def write(self, cluster: Cluster) -> None:
        """Write somewhere, ask for a checkpoint, and wait until it is there."""
        before = head_of(cluster.deployment, self.server).number
        with self.disk.device.open("r+b") as device:
            device.seek((before * 7 % 90) * MIB)
            device.write(os.urandom(MIB))
            device.flush()
            os.fsync(device.fileno())
        with cluster.deployment.client() as client:
            client.send(servers.sync(self.server))
        until(lambda: head_of(cluster.deployment, self.server).number > before, SECONDS, "a checkpoint more")


@pytest.fixture(scope="module")
def source(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """A host that is enrolled through the agent tier's NodePort and replicated once; its agent runs."""
    folder = tmp_path_factory.mktemp("source")
    with ExitStack() as stack:
        disk = stack.enter_context(loop_disk(folder / "disk.img", 100 * MIB))
        disk.format("ext4")
        host = SourceHost(folder / "agent")
        stack.callback(shutil.rmtree, host.state, ignore_errors=True)
        server = _enrol(cluster, host, disk.device)
        host.sync()
        stack.enter_context(host.running())
        yield Source(host, server, disk)


def _enrol(cluster: Cluster, host: SourceHost, disk: Path) -> str:
    with cluster.deployment.client() as client:
        token = client.send(access.create_install_token(InstallTokenCreate(name="e2e", uses=1)))
    options = ["--url", AGENT, "--token", token.secret or "", "--disk", str(disk), "--allow-plain-http"]
    host.call("enroll", "--no-preflight", *options)
    server: str = json.loads(host.call("status", "--json"))["serverId"]
    return server


def test_the_dashboard_tier_is_at_its_node_port(cluster: Cluster) -> None:
    page = httpx2.get(PLATFORM, timeout=30)
    assert page.is_success
    assert "go2cloud" in page.text
    with httpx2.Client(base_url=PLATFORM, headers={"X-Requested-With": "go2cloud"}) as browser:
        credentials = {"user": "tester", "password": cluster.deployment.password}
        assert browser.post("/bff/session", json=credentials).is_success
        assert browser.get("/bff/v1/servers").is_success


def test_two_replicas_of_each_role_run(cluster: Cluster) -> None:
    assert {role: len(cluster.pods(role)) for role in ROLES} == dict.fromkeys(ROLES, 2)


def _log_of(cluster: Cluster, pod: str) -> Log:
    return lambda: cluster.kubectl("logs", pod)


def test_a_session_moves_to_the_living_pod(cluster: Cluster, tmp_path: Path) -> None:
    """Before any other host is enrolled, so that all heartbeats are of this one."""
    set_pace(cluster.deployment, RateCalendar(8 * MIB))
    disk = random_disk(tmp_path / "disk.img", 100 * MIB)
    host = SourceHost(tmp_path / "agent")
    server = _enrol(cluster, host, disk)
    with host.running("--once") as agent:
        logs = {pod: _log_of(cluster, pod) for pod in cluster.pods("agent")}
        victim, session = busy(logs)
        (living,) = logs.keys() - {victim}
        killed = time.time()
        cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        require_moved(logs[living], session, killed)
        set_pace(cluster.deployment, None)
        output, _ = agent.communicate(timeout=SECONDS)
    assert agent.returncode == 0, output
    assert_identical(cluster.deployment, server, disk)
    until(lambda: len(cluster.pods("agent")) == 2, SECONDS, "a new pod")


def test_a_host_outside_of_the_cluster_is_replicated(cluster: Cluster, source: Source) -> None:
    source.write(cluster)
    assert_identical(cluster.deployment, source.server, source.disk.device)


def _every_replica_answers() -> bool:
    """Twenty new connections in a row: each goes to a replica at random."""
    try:
        return all(httpx2.get(f"{API}/readyz", timeout=10).is_success for _ in range(20))
    except httpx2.HTTPError:
        return False


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_that_is_killed_is_replaced_and_nothing_is_lost(
    cluster: Cluster, source: Source, role: str
) -> None:
    victim = cluster.pods(role)[0]
    cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
    until(_every_replica_answers, SECONDS, "the Service leaves out the pod that was killed")
    source.write(cluster)
    until(lambda: len(cluster.pods(role)) == 2 and victim not in cluster.pods(role), SECONDS, "a new pod")
    assert_identical(cluster.deployment, source.server, source.disk.device)


@pytest.mark.parametrize("role", ROLES)
def test_a_deployment_is_rolled_under_load_without_a_failed_request(
    cluster: Cluster, source: Source, role: str
) -> None:
    with Load(f"{API}/api/v1/servers", cluster.deployment.token) as rest, Load(PLATFORM) as pages:
        cluster.kubectl("rollout", "restart", f"deployment/go2cloud-{role}")
        source.write(cluster)
        cluster.rolled_out(f"deployment/go2cloud-{role}")
        source.write(cluster)
    assert (rest.failures, pages.failures) == ([], [])
    assert min(rest.asked, pages.asked) > 10
    assert_identical(cluster.deployment, source.server, source.disk.device)


def test_a_changed_config_map_is_taken_over_without_a_restart(cluster: Cluster, source: Source) -> None:
    found = json.loads(cluster.kubectl("get", "deployment", "go2cloud-agent", "-o", "json"))
    volumes = found["spec"]["template"]["spec"]["volumes"]
    name = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "config")
    before = cluster.pods("agent")
    config = json.loads(cluster.kubectl("get", "configmap", name, "-o", "json"))
    change = {"data": {"config.yaml": config["data"]["config.yaml"] + "PACE:\n  RATE: 50MiB\n"}}
    cluster.kubectl("patch", "configmap", name, "--type=merge", "-p", json.dumps(change))
    for pod in before:
        until(lambda pod=pod: "settings.reloaded" in cluster.kubectl("logs", pod), SECONDS, "taken over")  # type: ignore[misc]
    assert cluster.pods("agent") == before
    source.write(cluster)


def test_the_schema_job_may_run_again(cluster: Cluster, source: Source) -> None:
    job = cluster.kubectl("get", "job", "go2cloud-schema", "-o", "json", "--ignore-not-found")
    cluster.kubectl("delete", "job", "go2cloud-schema", "--ignore-not-found")
    cluster.node.kubectl("apply", "-k", str(cluster.manifests))
    wait = ["wait", "--for=condition=complete", "job/go2cloud-schema", f"--timeout={SECONDS:.0f}s"]
    cluster.kubectl(*wait)
    assert job
    source.write(cluster)


def test_each_record_of_a_log_is_one_json_line(cluster: Cluster) -> None:
    for role in ROLES:
        for pod in cluster.pods(role):
            lines = cluster.kubectl("logs", pod).splitlines()
            assert lines
            assert all(isinstance(json.loads(line), dict) for line in lines)


def test_a_replica_boots_in_the_pod_for_machines(cluster: Cluster, tmp_path: Path) -> None:
    disk = tmp_path / "tiny.img"
    make_disk(disk, Tiny(uefi=False))
    host = SourceHost(tmp_path / "agent")
    server = _enrol(cluster, host, disk)
    host.sync()
    with cluster.deployment.client() as client:
        client.send(tests.set_settings(server, client.send(tests.settings(server)).version, MACHINE))
        job = client.send(tests.order(server, TestOrder()))
        until(
            lambda: client.send(jobs.get(job.id)).state not in (WorkState.PENDING, WorkState.RUNNING), 600, ""
        )
        found = client.send(jobs.get(job.id))
    assert found.state is WorkState.SUCCEEDED, found
    assert_identical(cluster.deployment, server, disk)
