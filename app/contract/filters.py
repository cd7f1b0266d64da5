"""What lists can be narrowed by; edges read them from the query, services apply them."""

from dataclasses import dataclass

from app.contract.words import LifecycleState, ReplicationState, WorkState


@dataclass(frozen=True, slots=True)
class ServerFilter:
    """Narrows a list of servers; None does not narrow.

    `project` is an id or name; `q` is a part of the name or host name, in any case; `archived` None shows
    both; `reverse` likewise those that are ways back of others.
    """

    project: str | None = None
    lifecycle_state: LifecycleState | None = None
    replication_state: ReplicationState | None = None
    q: str | None = None
    archived: bool | None = None
    reverse: bool | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Narrows a list of jobs; None does not narrow. `project` and `server` are ids or names."""

    project: str | None = None
    server: str | None = None
    state: WorkState | None = None
    kind: str | None = None
    parent: str | None = None
