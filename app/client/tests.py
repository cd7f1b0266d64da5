"""Calls on launch settings and tests of servers, and on what they lead to."""

from collections.abc import Callable

from app.client.call import Call, if_match, model, repeatable, segment
from app.contract.resources.base import Listing
from app.contract.resources.job import Job
from app.contract.resources.launch import (
    LaunchSettings,
    LaunchSettingsUpdate,
    ReadyMark,
    ServerTest,
    TestOrder,
)
from app.contract.resources.server import Server

LATEST = "latest"


def settings(ref: str) -> Call[LaunchSettings]:
    """The launch settings of a server."""
    return Call("GET", _path(ref, "/launch-settings"), model(LaunchSettings))


def set_settings(ref: str, version: int, body: LaunchSettingsUpdate) -> Call[LaunchSettings]:
    """Set all launch settings of a server, which are at `version`."""
    path = _path(ref, "/launch-settings")
    return Call("PUT", path, model(LaunchSettings), body=body, headers=if_match(version))


def order(ref: str, body: TestOrder | None = None, *, key: str | None = None) -> Call[Job]:
    """Test a server; with a `key` it is safe to send again."""
    headers = repeatable(key)
    return Call("POST", _path(ref, ":test"), model(Job), body=body or TestOrder(), headers=headers)


def terminate(ref: str) -> Call[Job]:
    """End a server's test machine."""
    return Call("POST", _path(ref, ":terminateTest"), model(Job))


def mark_ready(ref: str, body: ReadyMark | None = None) -> Call[Server]:
    """Let a tested server be ready for its cutover."""
    return Call("POST", _path(ref, ":markReady"), model(Server), body=body or ReadyMark())


def get(ref: str, test: str = LATEST) -> Call[ServerTest]:
    """One test by id, or `latest`."""
    return Call("GET", _path(ref, f"/tests/{segment(test)}"), model(ServerTest))


def pages(ref: str, *, limit: int | None = None) -> Callable[[str | None], Call[Listing[ServerTest]]]:
    """Pages of a server's tests, the newest first; give it to `every`."""
    path = _path(ref, "/tests")
    return lambda cursor: Call("GET", path, model(Listing[ServerTest]), {"cursor": cursor, "limit": limit})


def screenshot(ref: str, test: str = LATEST, *, thumbnail: bool = False) -> Call[bytes]:
    """The last picture of a test machine's screen, as PNG."""
    path = _path(ref, f"/tests/{segment(test)}/screenshot")
    return Call("GET", path, bytes, {"thumbnail": thumbnail or None})


def serial(ref: str, test: str = LATEST) -> Call[bytes]:
    """The end of what a test machine wrote to its serial line."""
    return Call("GET", _path(ref, f"/tests/{segment(test)}/serial"), bytes)


def _path(ref: str, rest: str) -> str:
    return f"/servers/{segment(ref)}{rest}"
