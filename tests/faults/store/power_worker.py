"""The process whose power is cut: sessions, commits and collections on the real store and the real SQLite.

It runs in a child of a fork server that has everything imported. It tells the test of each commit once the
commit was acknowledged to it, and may cut the power itself at a counted point of persistence: before or after
one of the store's system calls or one of the database's commits.
"""

import asyncio
import os
import random
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from stat import S_ISREG
from typing import Any

from sqlalchemy import event

from app.kit.clock import Clock, ManualClock
from app.kit.database import Database, UnitOfWork
from app.migration.replication.maintenance import collect_garbage
from app.wire.buffers import Buffer
from tests.faults.store.power_rig import order
from tests.faults.store.sample_disk import Source, replicate
from tests.faults.store.store_services import Acknowledged, ClockedCalls, Places, served, sqlite
from tests.replication.agent_double import AgentDouble

STEP = timedelta(minutes=20)
MOST_SESSIONS = 60


class Mutant(StrEnum):
    """What a careless store or database would do."""

    NO_FILE_FSYNC = "no fsync of the file"
    NO_FOLDER_FSYNC = "no directory fsync"
    SQLITE_NORMAL = "SQLite synchronous=NORMAL"


class Point(StrEnum):
    """Points of persistence at which the power may be cut; each is counted by itself."""

    BEFORE_WRITE = "before write"
    BEFORE_FSYNC = "before fsync"
    AFTER_FSYNC = "after fsync"
    BEFORE_RENAME = "before rename"
    AFTER_RENAME = "after rename"
    AFTER_FOLDER_FSYNC = "after directory fsync"
    AFTER_DELETE = "after delete"
    BEFORE_COMMIT = "before database commit"
    AFTER_COMMIT = "after database commit"


@dataclass(frozen=True)
class Cut:
    """Cut the power when `point` is reached for the `count`-th time; `seed` and `share` go to the disk."""

    point: Point
    count: int
    seed: int
    share: float


@dataclass(frozen=True)
class Orders:
    """What one worker does: sessions of `server` from `start` of its clock until the power is gone."""

    places: Places
    server: str
    seed: str
    start: datetime
    control: Path
    cut: Cut | None = None
    mutant: Mutant | None = None


@dataclass(frozen=True)
class Broken:
    """The worker met an error: without a power cut there must be none."""

    trace: str


class Ready:
    """The worker opened store and database."""


Report = Acknowledged | Broken | Ready


@dataclass
class Trigger:
    """Counts points and cuts the power at the one that was ordered; nothing of the process runs on then."""

    control: Path
    cut: Cut | None
    counts: dict[Point, int] = field(default_factory=dict)

    def reach(self, point: Point) -> None:
        """A point was reached."""
        self.counts[point] = self.counts.get(point, 0) + 1
        cut = self.cut
        if cut is not None and (cut.point, cut.count) == (point, self.counts[point]):
            order(self.control, f"cut {cut.seed} {cut.share}")
            os._exit(0)


class WatchedCalls(ClockedCalls):
    """The store's system calls, with points before and after, and without what a mutant leaves out."""

    def __init__(self, clock: Clock, trigger: Trigger, mutant: Mutant | None) -> None:
        """Reach points on `trigger`."""
        super().__init__(clock)
        self._trigger = trigger
        self._mutant = mutant

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> None:
        """See `FileCalls.write`."""
        self._trigger.reach(Point.BEFORE_WRITE)
        super().write(descriptor, parts)

    def fsync(self, descriptor: int, path: Path) -> None:
        """See `FileCalls.fsync`."""
        is_file = S_ISREG(os.fstat(descriptor).st_mode)
        if is_file:
            self._trigger.reach(Point.BEFORE_FSYNC)
        if self._mutant is not (Mutant.NO_FILE_FSYNC if is_file else Mutant.NO_FOLDER_FSYNC):
            super().fsync(descriptor, path)
        self._trigger.reach(Point.AFTER_FSYNC if is_file else Point.AFTER_FOLDER_FSYNC)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileCalls.rename`."""
        self._trigger.reach(Point.BEFORE_RENAME)
        super().rename(source, target)
        self._trigger.reach(Point.AFTER_RENAME)

    def unlink(self, path: Path) -> None:
        """See `FileCalls.unlink`."""
        super().unlink(path)
        self._trigger.reach(Point.AFTER_DELETE)


class WatchedDatabase(Database):
    """The database, with points before and after each commit."""

    trigger: Trigger

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """See `Database.begin`."""
        async with super().begin() as unit:
            yield unit
            self.trigger.reach(Point.BEFORE_COMMIT)
        self.trigger.reach(Point.AFTER_COMMIT)

    def relax(self) -> None:
        """The popular setting under which SQLite leaves out the fsync of a commit."""

        @event.listens_for(self._engines.writing.sync_engine, "connect")
        def _normal(connection: Any, _record: object) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous = NORMAL")
            cursor.close()


def run(orders: Orders, reports: Connection) -> None:
    """The worker's whole life; see the module's caption."""
    try:
        asyncio.run(_live(orders, reports))
    except BaseException:  # noqa: BLE001 - whatever it is, the test judges it
        reports.send(Broken(traceback.format_exc()))
    reports.close()


async def _live(orders: Orders, reports: Connection) -> None:
    clock, trigger = ManualClock(orders.start), Trigger(orders.control, orders.cut)
    calls = WatchedCalls(clock, trigger, orders.mutant)
    database = WatchedDatabase.connect(sqlite(orders.places), clock)
    database.trigger = trigger
    if orders.mutant is Mutant.SQLITE_NORMAL:
        database.relax()
    async with served(orders.places, clock, database, calls) as services:
        reports.send(Ready())
        agent = AgentDouble(services, orders.server)
        source, before = Source(random.Random(orders.seed)), None
        for number in range(MOST_SESSIONS):
            source.change()
            data = source.data
            reports.send(await replicate(agent, data, before))
            before = data
            clock.advance(STEP)
            if number % 3 == 2:
                await collect_garbage(services)
