"""Jobs: long operations with steps, progress and events, which can be cancelled and retried."""

from pydantic import JsonValue

from app.contract.resources.base import Resource, UtcTime
from app.contract.words import JobEventLevel, JobOperation, Place, WaitReason, WorkState


class JobStep(Resource):
    """A step of a job.

    `attempts` counts how often it was begun since the job last got on. `undone_at`: its effect was taken
    back. A step that failed, or fails and is tried again, has `code`, `detail` and `remedy`.
    """

    name: str
    place: Place
    state: WorkState
    attempts: int = 0
    result: JsonValue = None
    code: str | None = None
    detail: str | None = None
    remedy: str | None = None
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    undone_at: UtcTime | None = None


class JobWaiting(Resource):
    """Why no step of a standing job runs now."""

    reason: WaitReason
    detail: str


class Job(Resource):
    """A long operation on a server, or on several (then it has children: list them by `parent`).

    `SUCCEEDED`: all its work is done. `FAILED`: it is not, and `code`, `detail` and `remedy` say why.
    `undoing`: what was done is being taken back, or was. `step` is the step that runs, or is next.
    `steps`, `result` and `waiting` stand in a single job; in lists the first two are empty.
    """

    id: str
    kind: str
    project_id: str
    project_name: str = ""
    server_id: str | None = None
    server_name: str | None = None
    parent_id: str | None = None
    state: WorkState
    undoing: bool = False
    step: str = ""
    progress: int = 0
    progress_text: str = ""
    waiting: JobWaiting | None = None
    priority: int = 0
    node: str | None = None
    requested_by: str = ""
    code: str | None = None
    detail: str | None = None
    remedy: str | None = None
    created_at: UtcTime
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    allowed_operations: tuple[JobOperation, ...] = ()
    result: JsonValue = None
    steps: tuple[JobStep, ...] = ()


class JobEvent(Resource):
    """Something that happened in a job; `number` counts from 1 within it, oldest first."""

    number: int
    time: UtcTime
    level: JobEventLevel
    step: str | None = None
    server_id: str | None = None
    text: str
