"""Services on a real store and a real SQLite file, and the judgement of what is found there after a fault."""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from app.contract.resources.checkpoint import VerifyResult
from app.kit.bus import InProcessBus
from app.kit.clock import Clock, ManualClock
from app.kit.database import Database
from app.kit.settings import DatabaseSettings, Engine, load_settings
from app.migration.catalogue.service import get_checkpoint
from app.migration.replication.errors import CheckpointNotFound
from app.migration.replication.index import DatabaseIndex
from app.migration.replication.maintenance import check_store
from app.migration.replication.service import export_stream, verify_stream
from app.migration.services import Services
from app.schema import running
from app.store.findings import FindingKind, no_progress
from app.store.folder import FileCalls, FolderBackend
from app.store.index import CheckpointInfo
from app.store.objects import ObjectStore
from app.store.retention import Point, RetentionPolicy, retained
from app.store.volume import VolumeWriter
from app.wire.buffers import Buffer
from app.wire.frames import FrameReader
from tests.replication.agent_double import AgentDouble

GRACE = timedelta(minutes=30)


@dataclass(frozen=True)
class Places:
    """Where store and database lie."""

    store: Path
    database: Path


@dataclass(frozen=True)
class Acknowledged:
    """A commit that the service acknowledged; `made_at` by the service's clock, `root` in hex."""

    checkpoint: str
    number: int
    root: str
    made_at: datetime


class ClockedCalls(FileCalls):
    """The store's system calls; files get their times from the run's clock: both grow old together."""

    def __init__(self, clock: Clock) -> None:
        """Take times from `clock`."""
        self._clock = clock

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> None:
        """See `FileCalls.write`."""
        super().write(descriptor, parts)
        now = self._clock.now().timestamp()
        os.utime(descriptor, (now, now))


@asynccontextmanager
async def opened(
    places: Places, clock: Clock, calls: FileCalls | None = None, *, reserve: int = 0
) -> AsyncIterator[Services]:
    """The services of a process on these places, all real; `reserve` is the store's, in bytes."""
    database = Database.connect(sqlite(places), clock)
    async with served(places, clock, database, calls, reserve) as services:
        yield services


@asynccontextmanager
async def served(
    places: Places, clock: Clock, database: Database, calls: FileCalls | None, reserve: int = 0
) -> AsyncIterator[Services]:
    """The services on an open database, all closed at the end."""
    bus = InProcessBus()
    data = str(places.database.parent)
    settings = load_settings({"G2C_DATA_DIR": data, "HOME": data})
    try:
        backend = FolderBackend(places.store, reserve, calls)
        try:
            yield Services(settings, clock, database, bus, ObjectStore(backend, clock=clock, grace=GRACE))
        finally:
            backend.close()
    finally:
        await bus.close()
        await database.close()


def sqlite(places: Places) -> DatabaseSettings:
    """The database at these places."""
    return DatabaseSettings(engine=Engine.SQLITE, path=places.database)


async def prepared(places: Places, start: datetime) -> str:
    """Make store and database with one enrolled server that has no checkpoint; its id."""
    places.database.parent.mkdir(parents=True, exist_ok=True)
    await running.upgrade(sqlite(places))
    async with opened(places, ManualClock(start)) as services:
        return (await AgentDouble.enrolled(services)).server


async def violations(
    services: Services, server: str, acknowledged: Iterable[Acknowledged], *, reads: bool = True
) -> list[str]:
    """What is wrong with store and database after a fault, each thing in words; nothing when all is well.

    Every acknowledged checkpoint that retention does not drop is there with its root and its commit marker,
    none is ahead of the head, and a check, which `reads` all bytes or not, finds nothing harmful.
    """
    promised = {item.checkpoint: item for item in acknowledged}
    rows = [row async for row in DatabaseIndex(services.database).checkpoints()]
    kept = _kept(promised, rows, services.clock.now())
    found = _lost(kept, rows)
    report = await check_store(services, read_data=reads, subset=None, progress=no_progress)
    found += [str(finding) for finding in report.findings if not finding.is_harmless]
    found += [
        f"{finding.detail} was acknowledged and has no commit marker"
        for finding in report.findings
        if finding.kind is FindingKind.CHECKPOINT_UNMARKED and finding.detail in kept
    ]
    return found + await _head_faults(services, server, promised)


async def exported(services: Services, server: str, output: Path) -> Path:
    """Write the head's only disk to `output`, verified as an operator's export is."""
    async with services.database.reading() as uow:
        head = await get_checkpoint(uow, server, "latest")
    (disk,) = head.disks
    reader = FrameReader()
    with VolumeWriter(output, disk.size_bytes, bytes.fromhex(disk.root), force=True) as writer:
        async for piece in export_stream(services, head, disk):
            writer.feed(reader.feed(piece))
        writer.finish()
    return output


async def head_differs(services: Services, server: str) -> list[str]:
    """What is wrong with the bytes of the head: each must hash to its id, and all of them to its root."""
    async with services.database.reading() as uow:
        head = await get_checkpoint(uow, server, "latest")
    *_, result = [event async for event in verify_stream(services, head)]
    assert isinstance(result, VerifyResult)
    return [] if result.agrees else [f"the head {head.id} does not verify: {result.disks}"]


def _kept(
    promised: dict[str, Acknowledged], rows: list[CheckpointInfo], now: datetime
) -> dict[str, Acknowledged]:
    """The acknowledged checkpoints that retention must still keep; what it keeps now it kept before."""
    points = {name: Point(name, item.made_at) for name, item in promised.items()}
    points |= {row.name.id: Point(row.name.id, row.made_at, row.is_frozen, row.pinned) for row in rows}
    names = retained(points.values(), RetentionPolicy(), now)
    return {name: item for name, item in promised.items() if name in names}


def _lost(kept: dict[str, Acknowledged], rows: list[CheckpointInfo]) -> list[str]:
    there = {row.name.id: row for row in rows}
    lost = [f"{name}, number {item.number}, is lost" for name, item in kept.items() if name not in there]
    return lost + [
        f"{name} has another root than was acknowledged"
        for name, item in kept.items()
        if name in there and there[name].disks[0].root.hex() != item.root
    ]


async def _head_faults(services: Services, server: str, promised: dict[str, Acknowledged]) -> list[str]:
    """The head is the newest acknowledged checkpoint or a later one."""
    try:
        async with services.database.reading() as uow:
            head = await get_checkpoint(uow, server, "latest")
    except CheckpointNotFound as error:
        return [str(error)] if promised else []
    newest = max((item.number for item in promised.values()), default=0)
    return [f"the head is number {head.number}, not {newest}"] if head.number < newest else []
