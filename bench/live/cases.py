"""The product's cases on a running host, one after the other on one disk; each ends with a comparison."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.client.transport import Client
from app.contract.resources.checkpoint import Checkpoint
from bench.live.host import loop_disk, running
from bench.live.lag import lags
from bench.live.replica import Replica, copies
from bench.live.results import Catchup, Delta, Idle, LiveResult, PreflightTime, Second, Steady
from bench.live.scene import CHANGED_SHARES, SETTLE_SECONDS, Scene
from bench.measuring import Measured, measure
from bench.peers.go2cloud import Go2cloud
from bench.peers.registry import OURS
from bench.plan import MB, LiveCase

INTERVAL: Final = 5
IDLE_INTERVAL: Final = 60
IDLE_SECONDS: Final = 60.0
"""As long as the interval, so that what a checkpoint costs counts."""
SMALL_LAG: Final = 10.0
CATCHUP_CHURN: Final = 5 * MB
DIFFERENT_SHARE: Final = 0.02


@dataclass
class Product:
    """The product's turn: a service, a first server whose disk is the scene's, and maybe a second one."""

    scene: Scene
    service: Go2cloud
    client: Client

    def play(self) -> Iterator[LiveResult]:
        """All cases of the plan. Raises ProcessFailed, Differs."""
        wanted = self.scene.plan.cases
        replica = Replica(self.service, self.client, self.scene.disk, self.scene.folder / "agent")
        first = self.scene.measure(replica.copy_once)
        replica.compare()
        with replica.following():
            if LiveCase.PREFLIGHT in wanted:
                yield self._preflight(replica)
            if LiveCase.IDLE in wanted:
                yield self._idle(replica)
            if LiveCase.DELTA in wanted:
                yield from self._deltas(replica)
            if LiveCase.STEADY in wanted:
                yield from (self._steady(replica, churn) for churn in self.scene.plan.churns)
            if LiveCase.CATCHUP in wanted:
                yield self._catchup(replica)
        if LiveCase.SECOND in wanted:
            yield self._second(first)

    def _preflight(self, replica: Replica) -> PreflightTime:
        with running(self.scene.disk, self.scene.writers):
            return replica.preflight()

    def _idle(self, replica: Replica) -> Idle:
        with running(self.scene.disk, self.scene.writers):
            replica.set_interval(IDLE_INTERVAL)
            replica.checkpoint_now()
            since, woken = datetime.now(UTC), replica.agent.wakeups()
            measured = self.scene.measure(lambda: time.sleep(IDLE_SECONDS))
            woken = replica.agent.wakeups() - woken
            made = len([each for each in replica.checkpoints(since) if each.created_at >= since])
        self._verify(replica, "idle")
        return Idle(IDLE_INTERVAL, made, woken, measured)

    def _deltas(self, replica: Replica) -> Iterator[Delta]:
        replica.set_interval(0)
        with running(self.scene.disk, self.scene.writers) as host:
            replica.checkpoint_now()
            for share in CHANGED_SHARES:
                for run in range(1, self.scene.plan.runs + 1):
                    changed = host.scatter(run, int(self.scene.image.used * share))
                    yield self._delta(replica, share, changed)
        self._verify(replica, "delta")

    def _delta(self, replica: Replica, share: float, changed: int) -> Delta:
        made: list[Checkpoint] = []
        ordered = datetime.now(UTC)
        measured = self.scene.measure(lambda: made.append(replica.checkpoint_now()))
        after = (made[0].created_at - ordered).total_seconds()
        return Delta(OURS, share, changed, after, replace(measured, wall=replica.pass_seconds(made[0])))

    def _steady(self, replica: Replica, churn: int) -> Steady:
        replica.set_interval(INTERVAL)
        with running(self.scene.disk, self.scene.writers) as host:
            host.churn(churn)
            time.sleep(SETTLE_SECONDS)
            result = self._window(replica, churn)
        self._verify(replica, f"steady at {churn / MB:g} MB/s")
        return result

    def _window(self, replica: Replica, churn: int) -> Steady:
        since, written = datetime.now(UTC), self.scene.disk.written()
        measured = self.scene.measure(lambda: time.sleep(self.scene.plan.seconds))
        until, written = datetime.now(UTC), self.scene.disk.written() - written
        known = replica.checkpoints(since)
        made = [each for each in known if since <= each.created_at <= until]
        return Steady(
            peer=OURS,
            churn=churn,
            written=written,
            lags=tuple(lags(copies(known), since.timestamp(), until.timestamp())),
            freezes=tuple(each.freeze_ms for each in made),
            labels=tuple(each.label.value for each in made),
            delivered=_delivered(made),
            passes=tuple(replica.pass_seconds(each) for each in made),
            measured=measured,
        )

    def _catchup(self, replica: Replica) -> Catchup:
        replica.set_interval(INTERVAL)
        with running(self.scene.disk, self.scene.writers) as host:
            host.churn(CATCHUP_CHURN)
            time.sleep(SETTLE_SECONDS)
            result = self._cut(replica)
        self._verify(replica, "catch-up")
        return result

    def _cut(self, replica: Replica) -> Catchup:
        network, seconds = self.scene.processes.network, self.scene.plan.cut
        written, since = self.scene.disk.written(), datetime.now(UTC)
        network.cut()
        try:
            time.sleep(seconds)
        finally:
            network.restore()
        back = datetime.now(UTC)
        is_close = _is_close_after(back)

        def step() -> None:
            replica.await_checkpoint(is_close)

        measured = self.scene.measure(step)
        written = self.scene.disk.written() - written
        known = [each for each in replica.checkpoints(since) if each.created_at >= since]
        close = next(each for each in known if is_close(each))
        return Catchup(
            cut=seconds,
            churn=CATCHUP_CHURN,
            caught_up=(close.created_at - back).total_seconds(),
            written=written,
            delivered=_delivered([each for each in known if each.created_at <= close.created_at]),
            measured=measured,
        )

    def _second(self, first: Measured) -> Second:
        backing = self.scene.folder / "second.raw"
        shutil.copyfile(self.scene.disk.backing, backing)
        _give_identity(backing)
        with loop_disk(backing) as disk:
            with running(disk, self.scene.writers) as host:
                different = host.replace(2, int(self.scene.image.used * DIFFERENT_SHARE))
            replica = Replica(self.service, self.client, disk, self.scene.folder / "agent-2")
            second = measure(self.scene.processes, replace(self.scene.image, path=backing), replica.copy_once)
            ratio = replica.show().totals.dedup_ratio
            replica.compare()
            self.scene.tell(f"{OURS} second: equal")
        return Second(different, ratio, first, second)

    def _verify(self, replica: Replica, what: str) -> None:
        replica.verify()
        self.scene.tell(f"{OURS} {what}: equal")


def _is_close_after(back: datetime) -> Callable[[Checkpoint], bool]:
    """Whether a checkpoint came after this moment and shows the source as it was a short time before."""
    return lambda found: (
        found.created_at >= back and (found.created_at - found.source_time).total_seconds() <= SMALL_LAG
    )


def _delivered(checkpoints: list[Checkpoint]) -> int:
    return sum(each.counters.sent_bytes + each.counters.patched_bytes for each in checkpoints)


def _give_identity(image: Path) -> None:
    """Make the filesystem another one, as an installation of its own is."""
    subprocess.run(["e2fsck", "-fp", str(image)], check=True, capture_output=True)
    subprocess.run(["tune2fs", "-U", "random", str(image)], check=True, capture_output=True)
