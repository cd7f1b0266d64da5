"""A running source is cut over to a machine that serves all it acknowledged; whatever is killed meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import cutovers, servers
from app.contract.cutoverwords import CutoverPhase, CutoverState
from app.contract.words import LifecycleState, ServerOperation, WorkState
from app.kit.clock import SystemClock
from app.kit.settings import load_settings
from app.migration.launch.targets import target_of
from tests.e2e.bootable_source import BootableSource, bootable_source
from tests.e2e.cutover_scene import SECONDS, Scene, Sides, assert_whole
from tests.e2e.deployment import Deployment, embedded, until
from tests.e2e.source_host import SourceHost
from tests.launch.conftest import end_all

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(900)]

SETTINGS = {
    "G2C_WORK__LEASE_SECONDS": "5",
    "G2C_WORK__NODE": "here",
    "G2C_AGENT__SYNC_INTERVAL_SECONDS": "5",
    "G2C_CUTOVER__STOP_SECONDS": "60",
}


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Role `all`, of whose machines none outlives the test."""
    folder = tmp_path / "service"
    folder.mkdir()
    try:
        with embedded(folder, **SETTINGS) as running:
            yield running
    finally:
        settings = load_settings({"G2C_DATA_DIR": str(folder), "HOME": str(folder)})
        end_all(target_of(settings.launch, SystemClock()))


@pytest.fixture
def source(tmp_path: Path) -> Iterator[BootableSource]:
    folder = tmp_path / "source"
    folder.mkdir()
    with bootable_source(folder) as running:
        yield running


@pytest.fixture
def scene(deployment: Deployment, source: BootableSource, tmp_path: Path) -> Scene:
    host = SourceHost(tmp_path / "agent")
    return Scene(deployment, source, host, host.enroll(deployment, source.device))


def test_a_source_that_writes_is_cut_over_and_every_row_that_it_acknowledged_is_served(scene: Scene) -> None:
    with scene.agent(), Sides(scene.source, scene.deployment.folder / "launch/runs").watched() as sides:
        scene.be_ready()
        with scene.client() as client:
            plan = client.send(cutovers.plan(scene.server, ServerOperation.CUTOVER))
            assert plan.possible, plan
            job = client.send(cutovers.order(scene.server))
        scene.job(job, WorkState.SUCCEEDED)
        made = scene.latest()
        assert (made.state, made.source_active) == (CutoverState.SUCCEEDED, False)
        assert [each.phase for each in made.phases] == list(CutoverPhase)
        assert scene.source.told() > 100
        assert_whole(scene)
        assert (sides.machines, sides.both, scene.source.is_active()) == ({made.id}, [], False)
        with scene.client() as client:
            scene.job(client.send(cutovers.finalize(scene.server)), WorkState.SUCCEEDED)
        assert scene.lifecycle() is LifecycleState.CUTOVER
        assert scene.latest().ledger
        assert_whole(scene)
        assert not scene.source.is_active()
        with scene.client() as client:
            client.send(cutovers.archive(scene.server))
            assert list(client.every(servers.page)) == []


def test_whatever_is_killed_one_side_is_active_and_the_source_comes_back(scene: Scene) -> None:
    with Sides(scene.source, scene.deployment.folder / "launch/runs").watched() as sides:
        with scene.agent():
            scene.be_ready()
            with scene.client() as client:
                job = client.send(cutovers.order(scene.server))
            scene.at_step(job, "stop")
            scene.restart()
            scene.at_step(job, "cut")
        with scene.agent():
            scene.at_step(job, "launch")
            scene.restart()
            scene.job(job, WorkState.SUCCEEDED)
            first = scene.latest()
            assert_whole(scene)
            with scene.client() as client:
                job = client.send(cutovers.revert(scene.server))
            scene.at_step(job, "terminate", "release")
        scene.restart()
        with scene.agent():
            scene.job(job, WorkState.SUCCEEDED)
            assert (scene.source.is_active(), sides.alive()) == (True, [])
            until(scene.is_ready, SECONDS, "replication goes on")
            give_up_on_the_service(scene)
        assert (sides.machines, sides.both) == ({first.id}, [])


def give_up_on_the_service(scene: Scene) -> None:
    """A source that hears nothing for long starts its services by itself, and that cutover is over."""
    scene.restart(G2C_CUTOVER__STOP_SECONDS="10")
    with scene.client() as client:
        job = client.send(cutovers.order(scene.server))
    scene.at_step(job, "apply", "convert", "keep")
    scene.deployment.kill("all")
    assert not scene.source.is_active()
    until(scene.source.is_active, SECONDS, "the source has its services back")
    scene.deployment.start()
    job = scene.job(job, WorkState.FAILED)
    assert scene.latest().state is CutoverState.UNDONE
    assert scene.lifecycle() is LifecycleState.READY_FOR_CUTOVER
