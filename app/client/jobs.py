"""Calls on jobs."""

from app.client.call import Call, model, segment
from app.contract.filters import JobFilter
from app.contract.resources.base import Listing
from app.contract.resources.job import Job, JobEvent
from app.contract.words import JobOperation


def page(
    cursor: str | None = None, *, filters: JobFilter | None = None, limit: int | None = None
) -> Call[Listing[Job]]:
    """A page of the caller's jobs, the newest first."""
    wanted = filters or JobFilter()
    query = {
        "cursor": cursor,
        "limit": limit,
        "project": wanted.project,
        "server": wanted.server,
        "state": wanted.state,
        "kind": wanted.kind,
        "parent": wanted.parent,
    }
    return Call("GET", "/jobs", model(Listing[Job]), query)


def get(job_id: str) -> Call[Job]:
    """One job with its steps."""
    return Call("GET", f"/jobs/{segment(job_id)}", model(Job))


def events(
    job_id: str, cursor: str | None = None, *, after: int | None = None, limit: int | None = None
) -> Call[Listing[JobEvent]]:
    """A page of a job's events, those after the number `after`, the oldest first."""
    query = {"cursor": cursor, "after": after, "limit": limit}
    return Call("GET", f"/jobs/{segment(job_id)}/events", model(Listing[JobEvent]), query)


def order(job_id: str, operation: JobOperation) -> Call[Job]:
    """Cancel or retry a job."""
    return Call("POST", f"/jobs/{segment(job_id)}:{operation}", model(Job))
