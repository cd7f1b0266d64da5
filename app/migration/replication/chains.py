"""Chains of delta records: the packs that a commit stands on, down to whole chunks.

A base that nothing refers to may be collected in the very moment in which a patch against it is put. The
delta that stands on it cannot be read then: it counts as damaged, so that the agent is asked for it and it is
stored anew, whole.
"""

from collections.abc import Iterable, Mapping

from app.kit.database import UnitOfWork
from app.migration.replication.errors import MissingChunks
from app.migration.replication.possession import live_chunks
from app.migration.replication.sessions import SessionScope
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
