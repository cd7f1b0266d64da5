"""Which chunks a server may refer to: a bare id is no possession.

A chunk counts as the server's own when a pack that this server put holds it, or when the server proved by a
keyed hash that it has the bytes (a grant). Everything else is unknown to it, or must be proved.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVarTuple

from sqlalchemy import BindParameter, ColumnElement, Select, and_, bindparam, exists, or_, select

from app.contract.words import DedupScope
from app.kit.database import UnitOfWork
from app.migration.projects.service import dedup_scope
from app.migration.replication.places import LOCATION, location
from app.migration.replication.sessions import SessionScope
from app.migration.replication.statements import insert_ignoring
from app.migration.replication.tables import ChunkRow, GrantRow, PackRow
from app.store.index import Location
from app.wire.messages import HAVE_KNOWN, HAVE_PROVE, HAVE_SEND

Columns = TypeVarTuple("Columns")

LIVE = "live"
CONDEMNED = "condemned"
BATCH = 4096


async def known(uow: UnitOfWork, scope: SessionScope, ids: Iterable[bytes]) -> dict[bytes, bool]:
    """The live, undamaged chunks of the project among `ids`; True for those that the server possesses."""
    whose = {"project": scope.project_id, "server": scope.server_id}
    found: dict[bytes, bool] = {}
    for batch in batches(ids):
        rows = await uow.session.execute(_KNOWN, {**whose, "ids": batch})
        found |= {name: bool(owned) for name, owned in rows}
    return found


async def have(uow: UnitOfWork, scope: SessionScope, ids: Sequence[bytes]) -> bytes:
    """One byte per id: send it, it is known, or prove possession. One query where nothing is known."""
    stored = await known(uow, scope, set(ids))
    shares = all(stored.values()) or await dedup_scope(uow, scope.project_id) is not DedupScope.SERVER
    provable = HAVE_PROVE if shares else HAVE_SEND
    codes = {name: HAVE_KNOWN if owned else provable for name, owned in stored.items()}
    return bytes(codes.get(name, HAVE_SEND) for name in ids)


async def owned_chunks(uow: UnitOfWork, scope: SessionScope, ids: Iterable[bytes]) -> dict[bytes, Location]:
    """The live, undamaged chunks among `ids` that the server possesses, by id."""
    return await _live_chunks(uow, scope, ids, is_owned(scope))


def is_owned(scope: SessionScope) -> ColumnElement[bool]:
    """Whether the server possesses a chunk of `ChunkRow` and `PackRow`."""
    granted = exists().where(GrantRow.server_id == scope.server_id, GrantRow.chunk_id == ChunkRow.id)
    return or_(PackRow.server_id == scope.server_id, granted)


async def live_chunks(uow: UnitOfWork, scope: SessionScope, ids: Iterable[bytes]) -> dict[bytes, Location]:
    """The live, undamaged chunks of the project among `ids`, whoever put them."""
    return await _live_chunks(uow, scope, ids, None)


async def placed(uow: UnitOfWork, scope: SessionScope, ids: Iterable[bytes]) -> set[bytes]:
    """Those of `ids` that have a row in the project, be they damaged or condemned."""
    found: set[bytes] = set()
    for batch in batches(ids):
        asked = {"project": scope.project_id, "ids": batch}
        found |= set(await uow.session.scalars(_PLACED, asked))
    return found


async def _live_chunks(
    uow: UnitOfWork, scope: SessionScope, ids: Iterable[bytes], extra: ColumnElement[bool] | None
) -> dict[bytes, Location]:
    found: dict[bytes, Location] = {}
    for batch in batches(ids):
        query = live_among(select(ChunkRow.id, *LOCATION), scope, batch)
        rows = await uow.session.execute(query if extra is None else query.where(extra))
        found |= {name: location(*where) for name, *where in rows}
    return found


def batches(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Few enough ids at a time for one question."""
    wanted = list(ids)
    return (wanted[at : at + BATCH] for at in range(0, len(wanted), BATCH))


def live_among(query: Select[*Columns], scope: SessionScope, ids: Sequence[bytes]) -> Select[*Columns]:
    """Of the project's chunks among `ids` those whose bytes are there and good."""
    return _with_live_pack(query).where(ChunkRow.project_id == scope.project_id, ChunkRow.id.in_(ids))


def _with_live_pack(query: Select[*Columns]) -> Select[*Columns]:
    live = and_(PackRow.name == ChunkRow.pack, PackRow.state == LIVE)
    return query.join(PackRow, live).where(ChunkRow.damaged.is_(False))


async def grant(uow: UnitOfWork, scope: SessionScope, ids: Iterable[bytes]) -> None:
    """Note that the server proved possession of these chunks; a repeated grant changes nothing."""
    await insert_ignoring(uow, GrantRow, [{"server_id": scope.server_id, "chunk_id": name} for name in ids])


def _known() -> Select[bytes, bool]:
    """The query of `known`, built once: to build it costs about as much as to answer it."""
    server: BindParameter[str] = bindparam("server")
    granted = exists().where(GrantRow.server_id == server, GrantRow.chunk_id == ChunkRow.id)
    is_owned = or_(PackRow.server_id == server, granted)
    return _among(_with_live_pack(select(ChunkRow.id, is_owned)))


def _among(query: Select[*Columns]) -> Select[*Columns]:
    """Of the query's chunks the `project`'s among `ids`; both are said when it is asked."""
    project: BindParameter[str] = bindparam("project")
    return query.where(ChunkRow.project_id == project, ChunkRow.id.in_(bindparam("ids", expanding=True)))


_KNOWN: Final = _known()
_PLACED: Final = _among(select(ChunkRow.id))
