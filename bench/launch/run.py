"""The part of a run that leads to a running machine: one service, a server for each case."""

from collections.abc import Iterator

from app.cli.demo.tiny_disk import Tiny, make_disk
from app.client.transport import Client
from bench.launch.booting import Booting
from bench.launch.cutting import Cutting
from bench.launch.materialising import NODE, Materialising
from bench.launch.report import launch_tables
from bench.launch.results import LaunchResult
from bench.live.host import Disk
from bench.live.replica import Replica, service_at
from bench.live.run import live_scene, remove_abandoned
from bench.live.scene import Scene, Told
from bench.network import network
from bench.peers.go2cloud import Go2cloud
from bench.peers.peer import Stage
from bench.plan import LaunchCase, LivePlan

PACKAGES = ("qemu-utils", "qemu-system-x86", "seabios", "ovmf", "diffutils")
"""Debian's, of these cases."""


def measure_launch(plan: LivePlan, cases: tuple[LaunchCase, ...], tell: Told) -> list[LaunchResult]:
    """All these cases. Raises ProcessFailed, Differs."""
    remove_abandoned(plan.cache)
    results: list[LaunchResult] = []
    with network(plan.link) as joined, live_scene(plan, joined, tell) as scene:
        stage = Stage(scene.image, scene.folder, scene.processes)
        with service_at(stage, G2C_WORK__NODE=NODE) as (service, client):
            for case in cases:
                results += _told(_play(case, scene, service, client), tell)
    return results


def _told(found: Iterator[LaunchResult], tell: Told) -> Iterator[LaunchResult]:
    """The results, each told at once: a run is long, and may fail."""
    for result in found:
        tell(launch_tables([result]))
        yield result


def _play(case: LaunchCase, scene: Scene, service: Go2cloud, client: Client) -> Iterator[LaunchResult]:
    state = scene.folder / f"agent-{case}"
    if case is LaunchCase.MATERIALISE:
        return Materialising(scene, client, Replica(service, client, scene.disk, state)).play()
    tiny = make_disk(scene.folder / f"{case}.raw", Tiny(uefi=False))
    if case is LaunchCase.LOGIN:
        return Booting(scene, client, Replica(service, client, Disk(tiny, tiny), state)).play()
    return Cutting(scene, service, client, tiny, state).play()
