"""A checkpoint's disk becomes a raw file, verified: by the service's job, and by qemu-img from a file.

Everyone writes the same bytes: the files that qemu-img converts are made of the first volume of the product.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.client import jobs, servers, targets
from app.client.transport import Client
from app.contract.resources.job import Job
from app.contract.resources.target import FollowOrder, TargetCreate
from bench.changes import scattered
from bench.compare import require_equal
from bench.freespace import Ranges, joined
from bench.images import make_cold
from bench.launch.operator import done, step_seconds
from bench.launch.results import Advanced, LaunchResult, Materialised
from bench.live.replica import LOOK_SECONDS, PATIENCE_SECONDS, Replica
from bench.live.scene import Scene
from bench.measuring import measure
from bench.network import End
from bench.peers.registry import OURS
from bench.plan import BLOCK, MIB
from bench.processes import ProcessFailed

NODE: Final = "bench"
PIECES: Final = (BLOCK, MIB)
"""In single blocks 1 % of the data is in nearly half of all chunks of 256 KiB; in MiB in 1 %."""
_STEP: Final = "advance"
_FORMATS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "qemu-img qcow2": ("qcow2", ()),
    "qemu-img qcow2 zstd": ("qcow2", ("-c", "-o", "compression_type=zstd")),
    "qemu-img raw": ("raw", ()),
}


@dataclass(frozen=True)
class Materialising:
    """The case, in a scene whose disk is the replica's."""

    scene: Scene
    client: Client
    replica: Replica

    def play(self) -> Iterator[LaunchResult]:
        """All runs, everyone in turn. Raises ProcessFailed, Differs."""
        self.replica.copy_once()
        sources: dict[str, Path] = {}
        for run in range(1, self.scene.plan.runs + 1):
            with self._volume(run) as volume:
                yield self._materialise(volume)
                sources = sources or self._sources(volume)
                yield from (self._convert(name, sources[name], volume) for name in _FORMATS)
                for piece in PIECES:
                    yield self._advance(volume, run, piece)
        for source in sources.values():
            source.unlink()

    @contextmanager
    def _volume(self, run: int) -> Iterator["_Volume"]:
        """A target for the disk, which is no more at the end."""
        path = self.scene.folder / "volumes" / f"{run}.raw"
        path.parent.mkdir(exist_ok=True)
        (disk,) = self.client.send(servers.disks(self.replica.server)).items
        settings = {"node": NODE, "devices": [{"disk": disk.id, "path": str(path)}]}
        body = TargetCreate.model_validate({"name": f"run-{run}", "kind": "device", "settings": settings})
        made = self.client.send(targets.create(body))
        try:
            yield _Volume(path, made.id)
        finally:
            self.client.send(targets.unfollow(self.replica.server))
            self.client.send(targets.delete(made.id, made.version))
            path.unlink(missing_ok=True)

    def _materialise(self, volume: "_Volume") -> Materialised:
        order = FollowOrder(target=volume.target)
        for file in (self.scene.folder / "data").rglob("*"):
            if file.is_file():
                make_cold(file)
        made: list[Job] = []

        def step() -> None:
            self.client.send(targets.follow(self.replica.server, order))
            made.append(self._brought())

        cpu = self.scene.measure(step).cpu
        self._compare(volume, "materialise")
        return Materialised(OURS, self.scene.image.used, None, step_seconds(made[0])[_STEP], cpu)

    def _advance(self, volume: "_Volume", run: int, piece: int) -> Advanced:
        device = replace(self.scene.image, path=self.scene.disk.device)
        with scattered(device, run, piece) as changed:
            self.replica.copy_once()
            took = step_seconds(self._brought())[_STEP]
            self._compare(volume, f"advance by pieces of {piece} bytes")
        self.replica.copy_once()
        self._brought()
        return Advanced(piece, changed, took)

    def _brought(self) -> Job:
        """The job that brought the volume to the newest checkpoint. Raises ProcessFailed."""
        head = self.client.send(servers.checkpoint(self.replica.server)).number
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = self.client.send(targets.followed(self.replica.server))
            job = done(self.client, self.client.send(jobs.get(found.job_id))) if found.job_id else None
            if job is not None and found.checkpoint_number == head:
                return job
            time.sleep(LOOK_SECONDS)
        raise ProcessFailed(f"no target was brought to checkpoint {head} within {PATIENCE_SECONDS} s")

    def _compare(self, volume: "_Volume", what: str) -> None:
        """Hold the volume against the disk. Raises Differs."""
        omitted = self.client.send(servers.checkpoint(self.replica.server)).disks[0].omitted
        ranges = joined([(each.offset, each.offset + each.length) for each in omitted])
        require_equal(self.scene.disk.backing, volume.path, ranges)
        self.scene.tell(f"{OURS} {what}: equal")

    def _sources(self, volume: "_Volume") -> dict[str, Path]:
        """The files that qemu-img reads: the volume in its formats."""
        made: dict[str, Path] = {}
        for name, (form, options) in _FORMATS.items():
            made[name] = self.scene.folder / f"{name.replace(' ', '-')}.{form}"
            command = ["qemu-img", "convert", "-f", "raw", "-O", form, *options]
            self.scene.processes.run(End.TARGET, [*command, str(volume.path), str(made[name])])
        return made

    def _convert(self, peer: str, source: Path, volume: "_Volume") -> Materialised:
        output, form = self.scene.folder / "peer.raw", _FORMATS[peer][0]
        times: list[float] = []

        def step() -> None:
            run, began = self.scene.processes.run, time.perf_counter()
            run(End.TARGET, ["qemu-img", "convert", "-f", form, "-O", "raw", str(source), str(output)])
            run(End.TARGET, ["sync", str(output)])
            times.append(time.perf_counter() - began)
            run(End.TARGET, ["qemu-img", "compare", "-f", form, "-F", "raw", str(source), str(output)])
            times.append(time.perf_counter() - began)

        cpu = measure(self.scene.processes, replace(self.scene.image, path=source), step).cpu
        require_equal(volume.path, output, Ranges())
        self.scene.tell(f"{peer}: equal")
        output.unlink()
        return Materialised(peer, self.scene.image.used, times[0], times[1], cpu)


@dataclass(frozen=True)
class _Volume:
    """A raw file, and the id of the target that writes it."""

    path: Path
    target: str
