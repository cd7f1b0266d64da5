"""Cycles of work, power cut, restart and judgement, each named by its seed."""

import asyncio
import multiprocessing
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from app.kit.clock import ManualClock
from app.kit.errors import Go2CloudError
from tests.faults.store import power_worker
from tests.faults.store.power_rig import PowerRig
from tests.faults.store.power_worker import Broken, Cut, Mutant, Orders, Point, Ready
from tests.faults.store.store_services import Acknowledged, Places, head_differs, opened, prepared, violations

START = datetime(2026, 1, 2, tzinfo=UTC)
SPAN = timedelta(days=2)
"""Clock time between two cycles' starts: more than the longest worker uses."""

CYCLES_A_STORE = 8
"""Cycles on one store before the next begins on an empty one."""

LONGEST_DELAY_SECONDS = 0.6
_MOST_COUNTS = {Point.AFTER_DELETE: 6, Point.BEFORE_COMMIT: 16, Point.AFTER_COMMIT: 16}
_PATIENCE_SECONDS = 60.0
_SHARES = (0.0, 0.0, 0.5, 0.9)
_PRELOADED = ["tests.faults.store.power_worker"]


@dataclass(frozen=True)
class Plan:
    """One cycle, drawn from its seed: where, when the power fails, and how much of the cache survives."""

    seed: str
    is_apart: bool
    share: float
    chance: int
    point: Point | None
    count: int
    delay: float

    @classmethod
    def drawn(cls, seed: str, *, is_apart: bool) -> "Plan":
        """Half of the cycles cut at a counted point, the others at a random moment."""
        source = random.Random(seed)
        point = source.choice(list(Point)) if source.random() < 0.5 else None
        count = source.randint(1, _MOST_COUNTS.get(point, 24)) if point else 0
        share, delay = source.choice(_SHARES), source.uniform(0, LONGEST_DELAY_SECONDS)
        return cls(seed, is_apart, share, source.randrange(1 << 32), point, count, delay)

    def at_a_promise(self) -> "Plan":
        """The same cycle with the cut right behind a commit of the database, when it has promised something;
        what was not flushed is forgotten whole."""
        count = 1 + self.chance % 16
        return replace(self, is_apart=True, point=Point.AFTER_COMMIT, count=count, share=0.0)

    def __str__(self) -> str:
        moment = f"{self.point} {self.count}" if self.point else f"after {self.delay:.3f} s"
        place = "filesystems apart" if self.is_apart else "one filesystem"
        return f"seed {self.seed}: cut {moment}, {self.share:.0%} of the cache kept, {place}"

    @property
    def cut(self) -> Cut | None:
        """The cut that the worker makes itself."""
        return Cut(self.point, self.count, self.chance, self.share) if self.point else None


@dataclass
class Tally:
    """What happened so far."""

    cycles: int = 0
    acknowledged: int = 0
    violations: list[str] = field(default_factory=list)


class PowerCycles:
    """Runs cycles on a rig; `tally` counts them. Use `prepare` first."""

    def __init__(self, rig: PowerRig, scratch: Path) -> None:
        """`scratch` is a folder on an ordinary filesystem."""
        self._rig = rig
        self._scratch = scratch
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._server = ""
        self._promised: dict[bool, list[Acknowledged]] = {}
        self._age = 0
        self.tally = Tally()

    def prepare(self) -> None:
        """Make both filesystems with an enrolled server on them, and remember the disk as it is then."""
        made = Places(self._scratch / "store", self._scratch / "database" / "go2cloud.db")
        self._server = asyncio.run(prepared(made, START))
        self._rig.format()
        for places in (self._rig.together(), self._rig.apart()):
            shutil.copytree(made.store, places.store)
            shutil.copytree(made.database.parent, places.database.parent, dirs_exist_ok=True)
        self._rig.stop()
        self._rig.order("keep")
        self.begin_anew()

    def begin_anew(self) -> None:
        """An empty store: the disk as it was prepared."""
        self._rig.stop()
        self._rig.order("fresh")
        self._rig.start()
        self._promised = {False: [], True: []}
        self._age = 0

    def run(self, plan: Plan, mutant: Mutant | None = None) -> list[str]:
        """One cycle; its violations. The machine is on before and after."""
        if self._age == CYCLES_A_STORE:
            self.begin_anew()
        places = self._rig.apart() if plan.is_apart else self._rig.together()
        start = START + self._age * SPAN
        self._age += 1
        orders = Orders(places, self._server, plan.seed, start, self._rig.control, plan.cut, mutant)
        found = self._work(plan, orders)
        self._rig.stop()
        self._rig.start()
        found += self._judged(places, start + SPAN, self._promised[plan.is_apart])
        self.tally.cycles += 1
        self.tally.violations += [f"{plan}: {text}" for text in found]
        return found

    def _work(self, plan: Plan, orders: Orders) -> list[str]:
        """Let a worker run until the power is gone; errors that it met before."""
        mine, theirs = self._context.Pipe(duplex=False)
        worker = self._context.Process(target=power_worker.run, args=(orders, theirs))
        worker.start()
        theirs.close()
        try:
            if plan.point is None:
                _wait(plan, mine)
            else:
                worker.join(_PATIENCE_SECONDS)
            return self._received(mine, plan.is_apart)
        finally:
            self._rig.order(f"cut {plan.chance} {plan.share}")
            worker.kill()
            worker.join()
            mine.close()

    def _received(self, reports: Connection, is_apart: bool) -> list[str]:
        """Take what was reported up to now."""
        broken = []
        for report in _pending(reports):
            match report:
                case Acknowledged():
                    self._promised[is_apart].append(report)
                    self.tally.acknowledged += 1
                case Broken(trace):
                    broken.append(f"the worker failed: {trace}")
                case Ready():
                    pass
        return broken

    def _judged(self, places: Places, now: datetime, promised: list[Acknowledged]) -> list[str]:
        """The violations; a store or database that cannot even be opened and read is one."""
        try:
            return asyncio.run(self._judge(places, now, promised))
        except (Go2CloudError, SQLAlchemyError) as error:
            return [f"what was left cannot be judged: {error!r}"]

    async def _judge(self, places: Places, now: datetime, promised: list[Acknowledged]) -> list[str]:
        async with opened(places, ManualClock(now)) as services:
            found = await violations(services, self._server, promised)
            return found + (await head_differs(services, self._server) if promised else [])


def _wait(plan: Plan, reports: Connection) -> None:
    """Wait until the worker has begun, then for the delay. What it reports after that does not count."""
    if reports.poll(_PATIENCE_SECONDS):
        time.sleep(plan.delay)


def _pending(reports: Connection) -> Iterator[power_worker.Report]:
    try:
        while reports.poll():
            yield reports.recv()
    except EOFError:
        return
