"""Block signatures of stored chunks, so that an agent needs no map of its own to find small changes."""

import asyncio
import struct
from collections.abc import Sequence
from typing import Final

from app.migration.replication.index import DatabaseIndex
from app.migration.replication.possession import owned_chunks
from app.migration.replication.sessions import SessionScope
from app.migration.services import Services
from app.store.layers import Layers, layers_of, portions, read_layers
from app.store.objects import ObjectStore
from app.wire.chunks import chunk_id
from app.wire.patch import signatures

LENGTH: Final = struct.Struct("!I")
CHUNKS: Final = 128
"""Signed at a time; what is stored of them is in memory together, and the plain bytes of one."""


async def signatures_of(services: Services, scope: SessionScope, ids: Sequence[bytes]) -> bytes:
    """For each id a u32 length and the chunk's signatures; length 0 for one that the server does not possess
    or that cannot be read."""
    async with services.database.reading() as uow:
        owned = await owned_chunks(uow, scope, set(ids))
    layers = await layers_of(DatabaseIndex(services.database), scope.project_id, owned)
    found: dict[bytes, bytes] = {}
    for some in portions(layers, CHUNKS):
        found |= await asyncio.to_thread(_signed, services.store, some)
    return b"".join(LENGTH.pack(len(found.get(name, b""))) + found.get(name, b"") for name in ids)


def _signed(store: ObjectStore, layers: Sequence[Layers]) -> dict[bytes, bytes]:
    return {
        each.id: signatures(plain) for each, plain in read_layers(store, layers) if chunk_id(plain) == each.id
    }
