"""The real services in one process, on SQLite and a store in memory, with the model's words at their edge.

Each operation is what the gateway does for a request, without HTTP; garbage collection is what
`collect_garbage` does, with the model's retention policy and a listing that can be held.
"""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock
from app.kit.errors import Go2CloudError
from app.kit.settings import DatabaseSettings, Engine, load_settings
from app.kit.turns import TurnsByName
from app.migration.replication import commit as commits
from app.migration.replication.ingest import Ingest
from app.migration.replication.possession import have
from app.migration.replication.sessions import SessionScope, open_session, session_disk, session_scope
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.replication.trees import base_ids
from app.migration.servers.enrolment import hold_lease
from app.migration.servers.tables import DiskRow, ServerRow
from app.migration.services import Services
from app.schema import running
from app.store import compaction
from app.store.gc import Collected, collect
from app.store.objects import ObjectStore
from app.store.retire import retire
from app.wire.frames import FrameReader
from app.wire.messages import Committed, Opened, PutResult
from tests.faults.protocol import translation, words
from tests.faults.protocol.collecting import EPOCH, POLICY
from tests.faults.protocol.holding import HeldBackend, HeldDatabase, HeldIndex
from tests.faults.protocol.translation import Pairs
from tests.faults.protocol.words import Request
from tests.replication.agent_double import AgentDouble

LEASE = timedelta(seconds=words.LEASE)
GRACE = timedelta(seconds=words.GRACE)

RealAnswer = Opened | PutResult | Committed | Collected | bytes | None


@dataclass(frozen=True)
class Standing:
    """A server's generation, its head's number (0 for none), and the roots of the head's disks in hex."""

    generation: int
    number: int
    roots: tuple[str, ...]


class CutOff(Go2CloudError):
    """A put broke off."""

    code = "CUT_OFF"


async def make_template(folder: Path) -> Path:
    """An empty SQLite database with the newest schema, to be copied for each run."""
    path = folder / "template.db"
    await running.upgrade(DatabaseSettings(engine=Engine.SQLITE, path=path))
    return path


@dataclass
class RealService:
    """The services, and the ids of the servers by the model's names."""

    services: Services
    clock: ManualClock
    shape: Mapping[str, tuple[int, ...]]
    servers: dict[str, str] = field(default_factory=dict)
    pairs: Pairs = field(default_factory=Pairs)

    def crash(self) -> None:
        """What the process remembered is gone; rows and objects stay."""
        store = self.services.store
        fresh = ObjectStore(store.backend, clock=self.clock, grace=store.grace)
        self.services = replace(self.services, objects=fresh)

    async def ask(self, server: str, request: Request | None) -> RealAnswer:
        """Do what is asked. Raises what the services raise."""
        if request is None:
            return await self._collect()
        own = self.servers[server]
        database = self.services.database
        match request:
            case words.Open(instance):
                message = translation.open_message(instance, self.shape[server])
                return await database.run(lambda uow: open_session(uow, own, message, LEASE))
            case words.Poll(instance):
                await database.run(lambda uow: hold_lease(uow, own, instance, LEASE))
                return None
            case words.Leaves():
                return await self._leaves(own, request)
            case words.Have(session, ids):
                names = [translation.name(value) for value in ids]
                async with database.reading() as uow:
                    scope = await session_scope(uow, own, self.pairs.session(session))
                    return await have(uow, scope, names)
            case words.Put():
                return await self._put(own, request)
            case words.Commit():
                own_session = self.pairs.session(request.session)
                process = replace(self.services, commits=TurnsByName())  # twins reach different processes
                return await commits.commit(process, own, own_session, self.pairs.commit(request))

    async def _scope(self, own: str, session: int) -> SessionScope:
        async with self.services.database.reading() as uow:
            return await session_scope(uow, own, self.pairs.session(session))

    async def _leaves(self, own: str, request: words.Leaves) -> bytes:
        scope = await self._scope(own, request.session)
        disk = self.pairs.sessions[request.session].disks[request.disk]
        async with self.services.database.reading() as uow:
            base = await session_disk(uow, scope, disk.disk_id)
        name = next(name for name, server in self.servers.items() if server == own)
        return base_ids(self.services.store, base, 0, self.shape[name][request.disk])

    async def _put(self, own: str, request: words.Put) -> PutResult:
        ingest = Ingest(self.services, await self._scope(own, request.session))
        key = bytes.fromhex(self.pairs.sessions[request.session].proof_key)
        reader = FrameReader()
        try:
            for each in request.frames:
                for frame in reader.feed(b"".join(translation.frame(each, key))):
                    await ingest.accept(frame)
            if request.breaks:
                raise CutOff("the put broke off")
            return await ingest.finish()
        finally:
            await ingest.abandon()

    async def _collect(self) -> Collected:
        index = HeldIndex(self.services.database)
        await index.end_idle_sessions()
        await retire(self.services.store, index, {}, POLICY)
        return await collect(self.services.store, index)

    async def heads(self) -> dict[str, Standing]:
        """How all servers stand."""
        query = (
            select(ServerRow.id, ServerRow.generation, CheckpointRow.number, DiskRootRow.root)
            .outerjoin(CheckpointRow, CheckpointRow.id == ServerRow.head_checkpoint_id)
            .outerjoin(DiskRootRow, DiskRootRow.checkpoint_id == CheckpointRow.id)
            .outerjoin(DiskRow, DiskRow.id == DiskRootRow.disk_id)
            .order_by(DiskRow.disk_key)
        )
        names = {server: name for name, server in self.servers.items()}
        found: dict[str, Standing] = {}
        async with self.services.database.reading() as uow:
            for server, generation, number, root in await uow.session.execute(query):
                roots = found[names[server]].roots if names[server] in found else ()
                more = (root.hex(),) if root is not None else ()
                found[names[server]] = Standing(generation, number or 0, (*roots, *more))
        return found


@asynccontextmanager
async def real_service(
    template: Path, folder: Path, shape: Mapping[str, tuple[int, ...]], *, packs_are_small: bool
) -> AsyncIterator[RealService]:
    """The services on a copy of the template, with the model's servers enrolled."""
    path = folder / "go2cloud.db"
    shutil.copyfile(template, path)
    clock, bus = ManualClock(EPOCH), InProcessBus()
    database = HeldDatabase.connect(DatabaseSettings(engine=Engine.SQLITE, path=path), clock)
    settings = load_settings({"G2C_DATA_DIR": str(folder), "HOME": str(folder)})
    store = ObjectStore(HeldBackend(clock), clock=clock, grace=GRACE)
    real = RealService(Services(settings, clock, database, bus, store), clock, shape)
    try:
        for name in shape:
            real.servers[name] = (await AgentDouble.enrolled(real.services, f"host-{name.lower()}")).server
        with _small_packs(packs_are_small):
            yield real
    finally:
        await bus.close()
        await database.close()


@contextmanager
def _small_packs(are_small: bool) -> Iterator[None]:
    """Packs of a few chunks are small for the product; without this they would always be joined."""
    before = compaction.SMALL_BYTES
    setattr(compaction, "SMALL_BYTES", before if are_small else 0)  # noqa: B010 - it is Final for all others
    try:
        yield
    finally:
        setattr(compaction, "SMALL_BYTES", before)  # noqa: B010
