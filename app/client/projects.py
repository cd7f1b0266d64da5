"""Calls on projects."""

from app.client.call import Call, if_match, model, repeatable, segment
from app.contract.resources.base import Listing
from app.contract.resources.project import Project, ProjectCreate, ProjectUpdate


def page(
    cursor: str | None = None, *, q: str | None = None, limit: int | None = None
) -> Call[Listing[Project]]:
    """A page of the caller's projects."""
    query = {"cursor": cursor, "q": q, "limit": limit}
    return Call("GET", "/projects", model(Listing[Project]), query)


def get(ref: str) -> Call[Project]:
    """One project by id or name."""
    return Call("GET", f"/projects/{segment(ref)}", model(Project))


def create(body: ProjectCreate, key: str | None = None) -> Call[Project]:
    """Create a project; `key` makes it safe to send again."""
    return Call("POST", "/projects", model(Project), body=body, headers=repeatable(key))


def update(ref: str, version: int, body: ProjectUpdate) -> Call[Project]:
    """Change a project that is at `version`."""
    path = f"/projects/{segment(ref)}"
    return Call("PATCH", path, model(Project), body=body, headers=if_match(version))
