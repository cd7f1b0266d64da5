"""The part of a run that is about a running host: the product first, then each other tool on a fresh disk.

All that is made lies in a folder named after the bench's process, so that the next run removes what a killed
one left: machines, loop devices, trace instances, files. Mounts go with the program that made them.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.images import cached, working_copy
from bench.launch.machines import end_machines
from bench.live.cases import Product
from bench.live.host import loop_disk
from bench.live.replica import forget_agent, service_at
from bench.live.report import live_tables
from bench.live.results import LiveResult
from bench.live.scanning import scan
from bench.live.scene import Scene, Told
from bench.network import Network, network
from bench.peers.peer import PeerKind, Stage
from bench.peers.registry import OURS, PEERS
from bench.plan import Case, Data, LiveCase, LivePlan
from bench.processes import Processes

_PREFIX: Final = "live-"
_SCANNED: Final = frozenset({LiveCase.DELTA, LiveCase.STEADY})
"""The cases that other tools play as well."""


def measure_live(plan: LivePlan, tell: Told) -> list[LiveResult]:
    """All cases of the plan, of the product and of the other tools. Raises ProcessFailed, Differs."""
    results: list[LiveResult] = []
    remove_abandoned(plan.cache)
    with network(plan.link) as joined:
        if OURS in plan.peers:
            results += _product(plan, joined, tell)
        if _SCANNED & set(plan.cases):
            for name in plan.peers:
                if Case.CHANGED in PEERS[name].cases and not PEERS[name].skips_free:
                    results += _peer(PEERS[name], plan, joined, tell)
    return results


def _product(plan: LivePlan, joined: Network, tell: Told) -> list[LiveResult]:
    with live_scene(plan, joined, tell) as scene:
        stage = Stage(scene.image, scene.folder, scene.processes)
        with service_at(stage) as (service, client):
            return [_told(result, tell) for result in Product(scene, service, client).play()]


def _peer(kind: PeerKind, plan: LivePlan, joined: Network, tell: Told) -> list[LiveResult]:
    with live_scene(plan, joined, tell) as scene:
        return [_told(result, tell) for result in scan(kind, scene)]


def _told(result: LiveResult, tell: Told) -> LiveResult:
    """The result, which is told at once: a run is long, and may fail."""
    tell(live_tables([result]))
    return result


@contextmanager
def live_scene(plan: LivePlan, joined: Network, tell: Told) -> Iterator[Scene]:
    """A fresh disk behind a loop device, and nothing left of it at the end."""
    with ExitStack() as undo:
        folder = plan.cache / f"{_PREFIX}{os.getpid()}"
        folder.mkdir(parents=True)
        undo.callback(_remove, folder)
        image = working_copy(Data.REALISTIC, cached(Data.REALISTIC, plan.size, plan.cache), folder)
        disk = undo.enter_context(loop_disk(image.path))
        processes, writers = Processes(joined, folder), Processes(joined, folder / "writers")
        writers.folder.mkdir()
        undo.callback(writers.stop)
        undo.callback(processes.stop)
        yield Scene(plan, image, disk, folder, processes, writers, tell)


def remove_abandoned(cache: Path) -> None:
    """Remove what benches left that were killed."""
    for folder in cache.glob(f"{_PREFIX}*"):
        found = re.fullmatch(rf"{_PREFIX}(\d+)", folder.name)
        if found and not Path(f"/proc/{found.group(1)}").exists():
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a scene's folder, and what the kernel has of it."""
    end_machines(folder / "data" / "launch")
    for enrolment in folder.glob("*/enrolment.json"):
        forget_agent(enrolment.parent)
    for image in folder.glob("*.raw"):
        command = ["losetup", "--noheadings", "--output", "NAME", "--associated", str(image)]
        for device in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split():
            subprocess.run(["losetup", "--detach", device], check=True)
    shutil.rmtree(folder)
