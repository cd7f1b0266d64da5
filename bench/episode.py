"""An episode: one peer on a fresh target, case after case, each result compared with the source."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from bench.changes import scattered
from bench.compare import require_equal
from bench.freespace import Ranges
from bench.images import Image
from bench.measuring import Measured, measure
from bench.network import Network
from bench.peers.peer import Peer, PeerKind, Stage
from bench.plan import Case, Data, Link, Plan
from bench.processes import Processes

Told = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """One case of one peer in one run; `changed` are the bytes that the case changed before."""

    data: Data
    link: Link
    case: Case
    peer: str
    run: int
    used: int
    changed: int
    measured: Measured


@dataclass(frozen=True)
class Setting:
    """Where an episode takes place."""

    data: Data
    link: Link
    image: Image
    network: Network
    folder: Path


def play(kind: PeerKind, run: int, setting: Setting, plan: Plan, tell: Told) -> list[Result]:
    """Play the plan's cases that the peer knows. Raises ProcessFailed, Differs."""
    folder = setting.folder / f"{kind.name}-{run}"
    folder.mkdir()
    processes = Processes(setting.network, folder)
    try:
        with kind.open(Stage(setting.image, folder, processes)) as peer:
            return _Episode(kind, peer, run, setting, processes, tell).play(_needed(kind, plan))
    finally:
        processes.stop()
        shutil.rmtree(folder)


def _needed(kind: PeerKind, plan: Plan) -> list[Case]:
    """The cases to play: a first full copy is the ground of all others."""
    return [case for case in Case if case in kind.cases and (case is Case.FULL or case in plan.cases)]


@dataclass
class _Episode:
    kind: PeerKind
    peer: Peer
    run: int
    setting: Setting
    processes: Processes
    tell: Told

    def play(self, cases: list[Case]) -> list[Result]:
        results = [self._play(case) for case in cases]
        full = results[0].measured
        return [
            replace(result, measured=full.then(result.measured)) if result.case is Case.EXPORT else result
            for result in results
        ]

    def _play(self, case: Case) -> Result:
        image = self.setting.image
        changes = scattered(image, self.run) if case is Case.CHANGED else nullcontext(0)
        with changes as changed:
            measured = measure(self.processes, image, lambda: self.peer.run(case))
            copy = self.peer.result()
            require_equal(image.path, copy, image.free if self.kind.skips_free else Ranges())
        self.tell(f"{self.kind.name} {case} run {self.run}: {measured.wall:.2f} s, equal")
        data, link = self.setting.data, self.setting.link
        return Result(data, link, case, self.kind.name, self.run, image.used, changed, measured)
