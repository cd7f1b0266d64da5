"""Calls on the last way of a server: cutover, revert, finalize, the way back, disconnect, archive."""

from collections.abc import Callable

from app.client.call import Call, model, repeatable, segment
from app.contract.resources.access import InstallToken
from app.contract.resources.base import Listing
from app.contract.resources.cutover import Cutover, CutoverOrder, OperationPlan, ReverseOrder, RevertOrder
from app.contract.resources.job import Job
from app.contract.resources.server import Reverse, Server
from app.contract.words import ServerOperation

LATEST = "latest"


def order(ref: str, body: CutoverOrder | None = None, *, key: str | None = None) -> Call[Job]:
    """Cut a server over; with a `key` it is safe to send again."""
    headers = repeatable(key)
    return Call("POST", _path(ref, ":cutover"), model(Job), body=body or CutoverOrder(), headers=headers)


def revert(ref: str, body: RevertOrder | None = None) -> Call[Job]:
    """Take a server one stage back."""
    return Call("POST", _path(ref, ":revert"), model(Job), body=body or RevertOrder())


def finalize(ref: str) -> Call[Job]:
    """End the replication of a server whose cutover succeeded."""
    return Call("POST", _path(ref, ":finalize"), model(Job))


def disconnect(ref: str) -> Call[Server]:
    """End all dealings with a source."""
    return Call("POST", _path(ref, ":disconnect"), model(Server))


def archive(ref: str) -> Call[Server]:
    """Let lists leave a server out."""
    return Call("POST", _path(ref, ":archive"), model(Server))


def reverse(ref: str, *, key: str | None = None) -> Call[InstallToken]:
    """Begin the way back of a server that was cut over: a token for its launched machine."""
    return Call(
        "POST", _path(ref, ":reverse"), model(InstallToken), body=ReverseOrder(), headers=repeatable(key)
    )


def stop_reverse(ref: str) -> Call[Server]:
    """End the way back of a server; its checkpoints stay."""
    return Call("POST", _path(ref, ":stopReverse"), model(Server))


def reverse_of(ref: str) -> Call[Reverse]:
    """The newest way back of a server, with its disks."""
    return Call("GET", _path(ref, "/reverse"), model(Reverse))


def plan(ref: str, operation: ServerOperation, body: CutoverOrder | None = None) -> Call[OperationPlan]:
    """What an operation would do, and what it would meet now."""
    wanted = body or CutoverOrder()
    query = {"operation": operation.value, "target": wanted.target, "override": wanted.override}
    return Call("GET", _path(ref, "/plan"), model(OperationPlan), query)


def get(ref: str, cutover: str = LATEST) -> Call[Cutover]:
    """One cutover by id, or `latest`."""
    return Call("GET", _path(ref, f"/cutovers/{segment(cutover)}"), model(Cutover))


def pages(ref: str, *, limit: int | None = None) -> Callable[[str | None], Call[Listing[Cutover]]]:
    """Pages of a server's cutovers, the newest first; give it to `every`."""
    path = _path(ref, "/cutovers")
    return lambda cursor: Call("GET", path, model(Listing[Cutover]), {"cursor": cursor, "limit": limit})


def screenshot(ref: str, cutover: str = LATEST, *, thumbnail: bool = False) -> Call[bytes]:
    """The last picture of a machine's screen, as PNG."""
    path = _path(ref, f"/cutovers/{segment(cutover)}/screenshot")
    return Call("GET", path, bytes, {"thumbnail": thumbnail or None})


def serial(ref: str, cutover: str = LATEST) -> Call[bytes]:
    """The end of what a machine wrote to its serial line."""
    return Call("GET", _path(ref, f"/cutovers/{segment(cutover)}/serial"), bytes)


def _path(ref: str, rest: str) -> str:
    return f"/servers/{segment(ref)}{rest}"
