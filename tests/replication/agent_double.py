"""The agent's half of a session, spoken to the services directly: the service's half is what is tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from app.migration.access.install_tokens import create_install_token
from app.migration.projects.service import ensure_default_project
from app.migration.replication import commit as commits
from app.migration.replication.index import DatabaseIndex
from app.migration.replication.ingest import Ingest
from app.migration.replication.possession import have
from app.migration.replication.sessions import SessionScope, open_session, session_scope
from app.migration.servers.enrolment import enroll
from app.migration.services import Services
from app.store.layout import pack_key
from app.wire.chunks import CHUNK_SIZE, ZERO_ID, chunk_count, name_of
from app.wire.codec import encode
from app.wire.frames import (
    ChunkRecord,
    FrameReader,
    FrameType,
    encode_chunks,
    encode_leaves,
)
from app.wire.messages import (
    Commit,
    Committed,
    Counters,
    Disk,
    DiskCommit,
    Enroll,
    Inventory,
    LeafChange,
    Open,
    Opened,
    PutResult,
    Range,
)
from app.wire.tree import LEAF_BYTES, RootNode, leaf_hash

LEASE = timedelta(seconds=30)
DISK = Disk(key="disk-a", path="/dev/sda", size=0, sector_size=512)


@dataclass
class AgentDouble:
    """One agent and its server."""

    services: Services
    server: str
    instance: str = "instance-1"
    opened: Opened | None = None

    @classmethod
    async def enrolled(cls, services: Services, hostname: str = "web-1") -> "AgentDouble":
        """Enrol a new host into the default project."""
        async with services.database.begin() as uow:
            project = await ensure_default_project(uow)
            token = await create_install_token(uow, project.id, "test", 1, timedelta(hours=1), None)
        assert token.secret is not None
        message = Enroll(token.secret, "instance-1", "1.0", Inventory(hostname))
        async with services.database.begin() as uow:
            return cls(services, (await enroll(uow, message, LEASE)).server_id)

    async def open(self, sizes: Mapping[str, int]) -> Opened:
        """Open a session of disks with these keys and sizes."""
        disks = tuple(replace(DISK, key=key, size=size) for key, size in sizes.items())
        message = Open(self.instance, "tracker", disks)
        self.opened = await self.services.database.run(
            lambda uow: open_session(uow, self.server, message, LEASE)
        )
        return self.opened

    @property
    def session(self) -> Opened:
        """The open session."""
        assert self.opened is not None
        return self.opened

    async def scope(self) -> SessionScope:
        """What the open session may touch."""
        async with self.services.database.reading() as uow:
            return await session_scope(uow, self.server, self.session.session_id)

    async def spoil(self, name: bytes) -> None:
        """Flip a bit of a chunk where it is stored."""
        index, scope = DatabaseIndex(self.services.database), await self.scope()
        at = (await index.locate(scope.project_id, [name]))[name]
        backend = self.services.store.backend
        data = bytearray(backend.get(pack_key(at.pack)))
        data[at.offset + at.stored_length // 2] ^= 1
        backend.put(pack_key(at.pack), [data])

    async def put(self, *frames: Sequence[bytes | bytearray | memoryview]) -> PutResult:
        """Send frames in one put."""
        ingest = Ingest(self.services, await self.scope())
        reader = FrameReader()
        try:
            for parts in frames:
                for frame in reader.feed(b"".join(parts)):
                    assert frame.type is not FrameType.END
                    await ingest.accept(frame)
            return await ingest.finish()
        finally:
            await ingest.abandon()

    async def have(self, ids: Sequence[bytes]) -> bytes:
        """Ask which chunks the service has."""
        async with self.services.database.reading() as uow:
            scope = await session_scope(uow, self.server, self.session.session_id)
            return await have(uow, scope, ids)

    async def put_disk(self, data: bytes) -> PutResult:
        """Send all chunks and leaves of a disk whole."""
        return await self.put(encode_chunks(chunk_records(data)), encode_leaves(leaves_of(data)))

    async def commit(self, contents: Mapping[str, bytes]) -> Committed:
        """Commit these disk contents, whose chunks and leaves were put."""
        return await self.send(self.message(contents))

    async def send(self, message: Commit) -> Committed:
        """Ask for a commit."""
        return await commits.commit(self.services, self.server, self.session.session_id, message)

    def message(self, contents: Mapping[str, bytes]) -> Commit:
        """The commit message for these contents, every leaf named."""
        bases = {base.key: base for base in self.session.disks}
        disks = tuple(
            disk_commit(bases[key].disk_id, bases[key].root, data) for key, data in contents.items()
        )
        time = self.services.clock.now().isoformat()
        return Commit(self.session.generation, self.session.head, time, "tracker", "rescan", "quiet", disks)

    async def replicate(self, contents: Mapping[str, bytes]) -> Committed:
        """A whole session: open, put everything, commit."""
        await self.open({key: len(data) for key, data in contents.items()})
        for data in contents.values():
            await self.put_disk(data)
        return await self.commit(contents)


def chunks_of(data: bytes) -> list[bytes]:
    """The disk's bytes cut into chunks."""
    return [data[at : at + CHUNK_SIZE] for at in range(0, len(data), CHUNK_SIZE)]


def chunk_records(data: bytes) -> list[ChunkRecord]:
    """Records of the chunks that are not zero, each id once."""
    named = {name_of(chunk): chunk for chunk in chunks_of(data)}
    return [chunk_record(name, chunk) for name, chunk in named.items() if name != ZERO_ID]


def chunk_record(name: bytes, chunk: bytes) -> ChunkRecord:
    """A record that claims to be the chunk `name`."""
    codec, packed = encode(chunk)
    return ChunkRecord(name, codec, len(chunk), packed)


def leaves_of(data: bytes) -> list[bytes]:
    """The disk's leaves; a disk of these tests has one or two."""
    ids = b"".join(name_of(chunk) for chunk in chunks_of(data))
    assert len(ids) == 32 * chunk_count(len(data), CHUNK_SIZE)
    return [ids[at : at + LEAF_BYTES].ljust(LEAF_BYTES, b"\0") for at in range(0, len(ids), LEAF_BYTES)]


def root_of(data: bytes) -> RootNode:
    """The disk's tree."""
    return RootNode(len(data), CHUNK_SIZE, b"".join(leaf_hash(leaf) for leaf in leaves_of(data)))


def disk_commit(disk_id: str, base_root: str, data: bytes, omitted: tuple[Range, ...] = ()) -> DiskCommit:
    """The commit of a disk, naming every leaf as changed."""
    changed = tuple(LeafChange(at, leaf_hash(leaf).hex()) for at, leaf in enumerate(leaves_of(data)))
    return DiskCommit(
        disk_id, base_root, root_of(data).hash.hex(), len(data), "quiet", changed, omitted, (), Counters()
    )
