"""Calls on servers, their disks and checkpoints."""

from collections.abc import Callable

from app.client.call import Call, if_match, model, nothing, segment
from app.contract.filters import ServerFilter
from app.contract.resources.base import Listing
from app.contract.resources.checkpoint import Checkpoint
from app.contract.resources.preflight import Preflight
from app.contract.resources.server import Disk, Server, ServerUpdate

LATEST = "latest"


def page(
    cursor: str | None = None, *, filters: ServerFilter | None = None, limit: int | None = None
) -> Call[Listing[Server]]:
    """A page of the caller's servers."""
    wanted = filters or ServerFilter()
    query = {
        "cursor": cursor,
        "limit": limit,
        "project": wanted.project,
        "lifecycleState": wanted.lifecycle_state,
        "replicationState": wanted.replication_state,
        "q": wanted.q,
        "archived": wanted.archived,
        "reverse": wanted.reverse,
    }
    return Call("GET", "/servers", model(Listing[Server]), query)


def get(ref: str) -> Call[Server]:
    """One server by id or name."""
    return Call("GET", f"/servers/{segment(ref)}", model(Server))


def update(ref: str, version: int, body: ServerUpdate) -> Call[Server]:
    """Change a server that is at `version`."""
    path = f"/servers/{segment(ref)}"
    return Call("PATCH", path, model(Server), body=body, headers=if_match(version))


def disks(ref: str) -> Call[Listing[Disk]]:
    """All disks of a server."""
    return Call("GET", f"/servers/{segment(ref)}/disks", model(Listing[Disk]))


def checkpoints(ref: str, *, limit: int | None = None) -> Callable[[str | None], Call[Listing[Checkpoint]]]:
    """Pages of a server's checkpoints, the newest first; give it to `every`."""
    path = f"/servers/{segment(ref)}/checkpoints"
    return lambda cursor: Call("GET", path, model(Listing[Checkpoint]), {"cursor": cursor, "limit": limit})


def checkpoint(ref: str, at: str = LATEST) -> Call[Checkpoint]:
    """One checkpoint by id, number or `latest`."""
    return Call("GET", f"/servers/{segment(ref)}/checkpoints/{segment(at)}", model(Checkpoint))


def content(ref: str, at: str, disk_id: str) -> Call[None]:
    """The content of a disk as frames of the wire protocol; give it to `stream`."""
    path = f"/servers/{segment(ref)}/checkpoints/{segment(at)}/disks/{segment(disk_id)}/content"
    return Call("GET", path, nothing)


def verify(ref: str, at: str = LATEST) -> Call[None]:
    """Verify what is stored of a checkpoint; give it to `stream`, or use `app.client.replicas.verify`."""
    return Call("POST", f"/servers/{segment(ref)}/checkpoints/{segment(at)}:verify", nothing)


def sync(ref: str) -> Call[Server]:
    """Ask the server's running agent to bring the replica up to date now."""
    return Call("POST", f"/servers/{segment(ref)}:sync", model(Server))


def request_preflight(ref: str) -> Call[Preflight]:
    """Ask the server's running agent for a preflight."""
    return Call("POST", f"/servers/{segment(ref)}:preflight", model(Preflight))


def preflight(ref: str, at: str = LATEST) -> Call[Preflight]:
    """One preflight by id, or the `latest`."""
    return Call("GET", f"/servers/{segment(ref)}/preflights/{segment(at)}", model(Preflight))


def preflights(ref: str, *, limit: int | None = None) -> Callable[[str | None], Call[Listing[Preflight]]]:
    """Pages of a server's preflights, the newest first; give it to `every`."""
    path = f"/servers/{segment(ref)}/preflights"
    return lambda cursor: Call("GET", path, model(Listing[Preflight]), {"cursor": cursor, "limit": limit})
