"""Chains of delta records: the packs that a commit stands on, down to whole chunks.

A base that nothing refers to may be collected in the very moment in which a patch against it is put. The
delta that stands on it cannot be read then: it counts as damaged, so that the agent is asked for it and it is
stored anew, whole.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Select, and_, func, literal, select
from sqlalchemy.orm import aliased

from app.kit.database import UnitOfWork
from app.migration.replication.errors import MissingChunks
from app.migration.replication.possession import LIVE, batches, is_owned, live_among, live_chunks
from app.migration.replication.sessions import SessionScope
from app.migration.replication.tables import ChunkRow, PackRow
from app.store.index import Location
from app.store.pack import MAX_DEPTH

MAX_NAMED = 4096


class BrokenChains(MissingChunks):
    """Delta records of the commit stand on chunks that are gone; `names` are the deltas."""

    def __init__(self, names: Iterable[bytes]) -> None:
        """Name the deltas, which the agent sends whole."""
        self.names = tuple(sorted(names))
        super().__init__(
            f"{len(self.names)} chunks of the commit are stored as changes of chunks that are gone",
            remedy="open a new session and put them whole",
            ids=[name.hex() for name in self.names[:MAX_NAMED]],
        )


async def packs_of_whole(
    uow: UnitOfWork, scope: SessionScope, ids: Collection[bytes]
) -> frozenset[bytes] | None:
    """The packs of these different chunks and of all chunks that their deltas stand on; None where the server
    does not possess one of the chunks, or one of those below is gone.

    The database counts, in a third of the time that looking at each row here takes: as many rows must be
    found as there are chunks and deltas.
    """
    packs: set[bytes] = set()
    rows = wanted = 0
    for batch in batches(ids):
        wanted += len(batch)
        for pack, found, deltas in await uow.session.execute(_chains(scope, batch)):
            packs.add(pack)
            rows, wanted = rows + found, wanted + deltas
    return frozenset(packs) if rows == wanted else None


def _chains(scope: SessionScope, ids: Sequence[bytes]) -> Select[bytes, int, int]:
    """By pack, how many of the records there are, and how many of these are deltas: of the server's own
    chunks among `ids`, and of what they stand on."""
    top = live_among(select(ChunkRow.pack, ChunkRow.base, literal(0).label("above")), scope, ids)
    chain = top.where(is_owned(scope)).cte("chain", recursive=True)
    base, pack = aliased(ChunkRow), aliased(PackRow)
    below = (
        select(base.pack, base.base, chain.c.above + 1)
        .join(chain, and_(base.project_id == scope.project_id, base.id == chain.c.base))
        .join(pack, and_(pack.name == base.pack, pack.state == LIVE))
        .where(base.damaged.is_(False), chain.c.above < MAX_DEPTH)
    )
    chain = chain.union_all(below)
    return select(chain.c.pack, func.count(), func.count(chain.c.base)).group_by(chain.c.pack)


async def packs_below(
    uow: UnitOfWork, scope: SessionScope, chunks: Mapping[bytes, Location]
) -> frozenset[bytes]:
    """The packs of these chunks and of all chunks that their deltas stand on. Raises BrokenChains."""
    packs: set[bytes] = set()
    broken: set[bytes] = set()
    levels = [dict(chunks)]
    for _ in range(MAX_DEPTH + 1):
        packs |= {at.pack for at in levels[-1].values()}
        bases = {at.base for at in levels[-1].values() if at.base is not None}
        if not bases:
            break
        found = await live_chunks(uow, scope, bases)
        broken |= _tops(bases - found.keys(), levels)
        levels.append(found)
    if broken:
        raise BrokenChains(broken)
    return frozenset(packs)


def _tops(missing: set[bytes], levels: list[dict[bytes, Location]]) -> set[bytes]:
    """Which chunks of the first level stand on chunks that the last level's deltas lack."""
    names = missing
    for level in reversed(levels):
        names = {name for name, at in level.items() if at.base in names}
    return names
