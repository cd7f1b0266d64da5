"""Block signatures of stored chunks, so that an agent needs no map of its own to find small changes."""

import asyncio
import struct
from collections.abc import Sequence

from app.migration.replication.possession import owned_chunks
from app.migration.replication.reading import BATCH, chunk_reader, readable
from app.migration.replication.sessions import SessionScope
from app.migration.services import Services
from app.wire.patch import signatures

LENGTH = struct.Struct("!I")


async def signatures_of(services: Services, scope: SessionScope, ids: Sequence[bytes]) -> bytes:
    """For each id a u32 length and the chunk's signatures; length 0 for one that the server does not possess
    or that cannot be read."""
    reader = chunk_reader(services.store, services.database)
    async with services.database.reading() as uow:
        owned = list(await owned_chunks(uow, scope, set(ids)))
    found: dict[bytes, bytes] = {}
    for at in range(0, len(owned), BATCH):
        plain = await readable(reader, scope.project_id, owned[at : at + BATCH])
        found |= await asyncio.to_thread(_sign, plain)
    return b"".join(LENGTH.pack(len(found.get(name, b""))) + found.get(name, b"") for name in ids)


def _sign(plain: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: signatures(data) for name, data in plain.items()}
