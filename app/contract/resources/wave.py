"""Waves and applications: which servers are tested and cut over together, and in which order."""

from typing import Annotated

from pydantic import Field, StringConstraints

from app.contract.resources.base import Input, Resource, UtcTime
from app.contract.wavewords import AbortMode, RunServerState, WaveOperation
from app.contract.words import LifecycleState, ServerOperation, WorkState

MOST_SERVERS = 1000
MOST_APPLICATIONS = 200
MOST_GROUP = 1000
DEFAULT_AT_ONCE = 4

WaveName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
"""Of a wave or an application: letters, digits, dot, underscore, hyphen; unique in its project."""

Ref = Annotated[str, Field(min_length=1, max_length=253)]
"""An id or a name."""

Description = Annotated[str, Field(max_length=1000)]
AtOnce = Annotated[int, Field(ge=1, le=MOST_SERVERS)]
StopAfter = Annotated[int, Field(ge=1, le=MOST_SERVERS)]
Group = Annotated[int, Field(ge=1, le=MOST_GROUP)]


class Named(Resource):
    """Another resource, in short."""

    id: str
    name: str


class ApplicationServer(Resource):
    """A server of an application. All servers of a lower `group` come before it."""

    id: str
    name: str
    group: int
    lifecycle_state: LifecycleState
    allowed_operations: tuple[ServerOperation, ...] = ()


class Application(Resource):
    """Servers that make one application; a server belongs to at most one.

    `after`: applications all of whose servers come before those of this one.
    """

    id: str
    project_id: str
    project_name: str = ""
    name: str
    description: str
    wave: Named | None = None
    after: tuple[Named, ...] = ()
    servers: tuple[ApplicationServer, ...] = ()
    created_at: UtcTime
    version: int


class ServerOfApplication(Input):
    """A server to be in an application, by id or name."""

    server: Ref
    group: Group = 1


ServersOfApplication = Annotated[tuple[ServerOfApplication, ...], Field(max_length=MOST_SERVERS)]
Applications = Annotated[tuple[Ref, ...], Field(max_length=MOST_APPLICATIONS)]


class ApplicationCreate(Input):
    """An application to be created; all others are named by id or name."""

    name: WaveName
    project: Ref = "default"
    description: Description = ""
    servers: ServersOfApplication = ()
    after: Applications = ()


class ApplicationUpdate(Input):
    """What to change of an application; what is absent stays. `servers` and `after` are set as a whole."""

    name: WaveName | None = None
    description: Description | None = None
    servers: ServersOfApplication | None = None
    after: Applications | None = None


class RunHead(Resource):
    """A run in short; `job_id` is also its own id."""

    job_id: str
    operation: WaveOperation
    state: WorkState


class StateCount(Resource):
    """How many servers are in a lifecycle state."""

    state: LifecycleState
    servers: int


class Wave(Resource):
    """Applications that are tested and cut over together; an application belongs to at most one wave.

    `servers_at_once` bounds the servers whose jobs run at once; after `stop_after_failures` failures a run
    begins no more servers (null: failures stop nothing). `run` is the newest.
    """

    id: str
    project_id: str
    project_name: str = ""
    name: str
    description: str
    planned_at: UtcTime | None = None
    servers_at_once: int
    stop_after_failures: int | None = None
    applications: tuple[Named, ...] = ()
    server_count: int = 0
    states: tuple[StateCount, ...] = ()
    run: RunHead | None = None
    created_at: UtcTime
    version: int


class WaveCreate(Input):
    """A wave to be created; applications by id or name."""

    name: WaveName
    project: Ref = "default"
    description: Description = ""
    planned_at: UtcTime | None = None
    servers_at_once: AtOnce = DEFAULT_AT_ONCE
    stop_after_failures: StopAfter | None = None
    applications: Applications = ()


class WaveUpdate(Input):
    """What to change of a wave; what is absent stays. `applications` is set as a whole.

    A null `planned_at` or `stop_after_failures` takes it away.
    """

    name: WaveName | None = None
    description: Description | None = None
    planned_at: UtcTime | None = None
    servers_at_once: AtOnce | None = None
    stop_after_failures: StopAfter | None = None
    applications: Applications | None = None


class PlannedServer(Resource):
    """A server as a run would take it up now.

    `after` names the servers directly before it. `state` is `WAITING` where its job would be ordered, else
    `UNCHANGED`, `REFUSED` or `SKIPPED`, with the reasons.
    """

    position: int
    server: Named
    application: Named
    group: int
    lifecycle_state: LifecycleState
    after: tuple[str, ...] = ()
    state: RunServerState
    code: str | None = None
    detail: str | None = None
    remedy: str | None = None


class RunPlan(Resource):
    """What a run would do now, in its order."""

    operation: WaveOperation
    servers_at_once: int
    stop_after_failures: int | None = None
    servers: tuple[PlannedServer, ...]


class RunServer(Resource):
    """A server in a run; `seconds` from the beginning of its job to its end, or until now."""

    position: int
    server: Named
    application: Named
    group: int
    lifecycle_state: LifecycleState
    state: RunServerState
    attempt: int = 0
    job_id: str | None = None
    step: str | None = None
    progress: int = 0
    code: str | None = None
    detail: str | None = None
    remedy: str | None = None
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    seconds: float | None = None


class RunCount(Resource):
    """How many servers of a run are in a state."""

    state: RunServerState
    servers: int


class Run(Resource):
    """An operation on all servers of a wave, or of an application: the job `job_id` and its servers.

    `attempt` counts retries from 1. `seconds` from the job's beginning to its end, or until now.
    """

    job_id: str
    operation: WaveOperation
    wave: Named | None = None
    application: Named | None = None
    state: WorkState
    attempt: int
    abort: AbortMode | None = None
    requested_by: str = ""
    servers_at_once: int
    stop_after_failures: int | None = None
    code: str | None = None
    detail: str | None = None
    remedy: str | None = None
    created_at: UtcTime
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    seconds: float | None = None
    counts: tuple[RunCount, ...] = ()
    servers: tuple[RunServer, ...] = ()


class RunOrder(Input):
    """An order to run an operation; it has no settings of its own."""


class AbortOrder(Input):
    """How to abort a run: what has not begun is not begun; `running` says what becomes of the rest."""

    running: AbortMode = AbortMode.LET


class MarkedServer(Resource):
    """Whether a server was marked as ready for its cutover, and why it was not."""

    server: Named
    marked: bool
    code: str | None = None
    detail: str | None = None
    remedy: str | None = None
