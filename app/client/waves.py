"""Calls on waves and applications, and on what is done to all their servers."""

from collections.abc import Callable
from typing import Literal

from app.client.call import Call, if_match, model, nothing, repeatable, segment
from app.contract.resources.base import Listing
from app.contract.resources.cutover import CutoverOrder
from app.contract.resources.job import Job
from app.contract.resources.launch import ReadyMark
from app.contract.resources.wave import (
    AbortOrder,
    Application,
    ApplicationCreate,
    ApplicationUpdate,
    MarkedServer,
    Run,
    RunPlan,
    Wave,
    WaveCreate,
    WaveUpdate,
)
from app.contract.wavewords import AbortMode, WaveOperation

Noun = Literal["wave", "application"]
"""What an operation is done to."""

LATEST = "latest"


def waves(
    *, project: str | None = None, q: str | None = None, limit: int | None = None
) -> Callable[[str | None], Call[Listing[Wave]]]:
    """Pages of the caller's waves; give it to `every`."""
    query = {"project": project, "q": q, "limit": limit}
    return lambda cursor: Call("GET", "/waves", model(Listing[Wave]), {**query, "cursor": cursor})


def wave(ref: str) -> Call[Wave]:
    """One wave by id or name."""
    return Call("GET", _path("wave", ref), model(Wave))


def create_wave(body: WaveCreate, key: str | None = None) -> Call[Wave]:
    """Create a wave; `key` makes it safe to send again."""
    return Call("POST", "/waves", model(Wave), body=body, headers=repeatable(key))


def update_wave(ref: str, version: int, body: WaveUpdate) -> Call[Wave]:
    """Change a wave that is at `version`."""
    return Call("PATCH", _path("wave", ref), model(Wave), body=body, headers=if_match(version))


def applications(
    *, project: str | None = None, wave: str | None = None, q: str | None = None, limit: int | None = None
) -> Callable[[str | None], Call[Listing[Application]]]:
    """Pages of the caller's applications; give it to `every`."""
    query = {"project": project, "wave": wave, "q": q, "limit": limit}
    read = model(Listing[Application])
    return lambda cursor: Call("GET", "/applications", read, {**query, "cursor": cursor})


def application(ref: str) -> Call[Application]:
    """One application by id or name."""
    return Call("GET", _path("application", ref), model(Application))


def create_application(body: ApplicationCreate, key: str | None = None) -> Call[Application]:
    """Create an application; `key` makes it safe to send again."""
    return Call("POST", "/applications", model(Application), body=body, headers=repeatable(key))


def update_application(ref: str, version: int, body: ApplicationUpdate) -> Call[Application]:
    """Change an application that is at `version`."""
    path = _path("application", ref)
    return Call("PATCH", path, model(Application), body=body, headers=if_match(version))


def delete(noun: Noun, ref: str, version: int) -> Call[None]:
    """Remove a wave or an application that is at `version`; its members stay."""
    return Call("DELETE", _path(noun, ref), nothing, headers=if_match(version))


def plan(noun: Noun, ref: str, operation: WaveOperation) -> Call[RunPlan]:
    """What an operation would do now; nothing is changed."""
    return Call("GET", _path(noun, ref, "/plan"), model(RunPlan), {"operation": operation})


def order(
    noun: Noun,
    ref: str,
    operation: WaveOperation,
    cutover: CutoverOrder | None = None,
    *,
    key: str | None = None,
) -> Call[Job]:
    """Order a run of an operation (not `markReady`); with a `key` it is safe to send again.

    `cutover` says how, where the operation is one.
    """
    path = _path(noun, ref, f":{operation}")
    return Call("POST", path, model(Job), body=cutover, headers=repeatable(key))


def mark_ready(noun: Noun, ref: str, body: ReadyMark | None = None) -> Call[Listing[MarkedServer]]:
    """Let all servers that may be ready for their cutover be so."""
    path = _path(noun, ref, f":{WaveOperation.MARK_READY}")
    return Call("POST", path, model(Listing[MarkedServer]), body=body or ReadyMark())


def abort(noun: Noun, ref: str, running: AbortMode = AbortMode.LET) -> Call[Run]:
    """Abort the run that stands."""
    return Call("POST", _path(noun, ref, ":abort"), model(Run), body=AbortOrder(running=running))


def runs(noun: Noun, ref: str, *, limit: int | None = None) -> Callable[[str | None], Call[Listing[Run]]]:
    """Pages of runs without their servers, the newest first; give it to `every`."""
    path = _path(noun, ref, "/runs")
    return lambda cursor: Call("GET", path, model(Listing[Run]), {"cursor": cursor, "limit": limit})


def run(noun: Noun, ref: str, job: str = LATEST) -> Call[Run]:
    """The summary of a run by its job's id, or of the `latest`."""
    return Call("GET", _path(noun, ref, f"/runs/{segment(job)}"), model(Run))


def _path(noun: Noun, ref: str, rest: str = "") -> str:
    return f"/{noun}s/{segment(ref)}{rest}"
