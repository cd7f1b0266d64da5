"""The other tools on the same running host: each reads the whole disk for every copy, one after the other."""

import time
from collections.abc import Iterator
from typing import Final

from bench.compare import require_equal
from bench.freespace import Ranges
from bench.live.host import running
from bench.live.lag import Copy, lags
from bench.live.results import Delta, LiveResult, Steady
from bench.live.scene import CHANGED_SHARES, SETTLE_SECONDS, Scene
from bench.peers.peer import Peer, PeerKind, Stage
from bench.plan import MB, Case, LiveCase

LEAST_PASSES: Final = 2


def scan(kind: PeerKind, scene: Scene) -> Iterator[LiveResult]:
    """A peer's cases. Raises ProcessFailed, Differs."""
    with kind.open(Stage(scene.image, scene.folder, scene.processes)) as peer:
        peer.run(Case.FULL)
        if LiveCase.DELTA in scene.plan.cases:
            yield from _deltas(kind, peer, scene)
        if LiveCase.STEADY in scene.plan.cases:
            for churn in scene.plan.churns:
                yield _steady(kind, peer, scene, churn)
        peer.run(Case.CHANGED)
        require_equal(scene.disk.backing, peer.result(), Ranges())
        scene.tell(f"{kind.name}: equal")


def _deltas(kind: PeerKind, peer: Peer, scene: Scene) -> Iterator[Delta]:
    with running(scene.disk, scene.writers) as host:
        peer.run(Case.CHANGED)
        for share in CHANGED_SHARES:
            for run in range(1, scene.plan.runs + 1):
                changed = host.scatter(run, int(scene.image.used * share))
                measured = scene.measure(lambda: peer.run(Case.CHANGED))
                yield Delta(kind.name, share, changed, None, measured)


def _steady(kind: PeerKind, peer: Peer, scene: Scene, churn: int) -> Steady:
    copies: list[Copy] = []
    with running(scene.disk, scene.writers) as host:
        host.churn(churn)
        time.sleep(SETTLE_SECONDS)
        _copy(peer, copies)
        written, begin = scene.disk.written(), time.monotonic()
        measured = scene.measure(lambda: _loop(peer, copies, begin + scene.plan.seconds))
        end, written = time.monotonic(), scene.disk.written() - written
    scene.tell(f"{kind.name} at {churn / MB:g} MB/s: {len(copies) - 1} passes")
    found = tuple(lags(copies, begin, end))
    passes = tuple(each.done - each.of for each in copies[1:])
    return Steady(kind.name, churn, written, found, (), (), None, passes, measured)


def _loop(peer: Peer, copies: list[Copy], until: float) -> None:
    """Pass after pass: at least some, however long they take."""
    least = len(copies) + LEAST_PASSES
    while len(copies) < least or time.monotonic() < until:
        _copy(peer, copies)


def _copy(peer: Peer, copies: list[Copy]) -> None:
    began = time.monotonic()
    peer.run(Case.CHANGED)
    copies.append(Copy(began, time.monotonic()))
