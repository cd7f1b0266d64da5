"""Which servers send now: those whose agent is alive and says that a pass runs.

All polls of a process share one look at the database every LOOK_SECONDS: a thousand agents cost one query in
that time. The table of servers is read whole then; that takes milliseconds for some thousand rows.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select

from app.contract.words import ReplicationState
from app.kit.database import UnitOfWork
from app.migration.servers.tables import ServerRow

LOOK_SECONDS: Final = 2.0

SENDING_ACTIVITIES: Final = ("copying", "rescanning", "catching-up", "cutting")
"""Of a wire Status: in these an agent sends."""

_STATES: Final = (
    ReplicationState.INITIAL_SYNC,
    ReplicationState.RESCAN,
    ReplicationState.BACKLOG,
    ReplicationState.CREATING_SNAPSHOT,
)
"""What stands for them where an agent sends no Status."""

ByProject = Mapping[str, frozenset[str]]
"""The ids of servers by the id of their project."""


async def sending_servers(uow: UnitOfWork) -> ByProject:
    """The servers of all projects that send now."""
    query = select(ServerRow.project_id, ServerRow.id).where(ServerRow.lease_until > uow.now, _is_sending())
    found: defaultdict[str, set[str]] = defaultdict(set)
    for project_id, server_id in await uow.session.execute(query):
        found[project_id].add(server_id)
    return {project_id: frozenset(servers) for project_id, servers in found.items()}


def _is_sending() -> ColumnElement[bool]:
    """MariaDB's JSON_EXTRACT gives a text with its quotes, SQLite's without."""
    activity = func.json_extract(ServerRow.status, "$.activity")
    words = [form for word in SENDING_ACTIVITIES for form in (word, f'"{word}"')]
    untold = and_(ServerRow.status.is_(None), ServerRow.replication_state.in_(_STATES))
    return or_(activity.in_(words), untold)


class SendingServers:
    """The servers that send, at most LOOK_SECONDS old."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: ByProject = {}
        self._until: datetime | None = None

    async def at(self, uow: UnitOfWork) -> ByProject:
        """What holds now, within LOOK_SECONDS."""
        if self._until is None or uow.now >= self._until:
            self._known = await sending_servers(uow)
            self._until = uow.now + timedelta(seconds=LOOK_SECONDS)
        return self._known
