"""Calls on targets, on what follows a server, and on publishing."""

from app.client.call import Call, if_match, model, nothing, repeatable, segment
from app.contract.resources.base import Listing
from app.contract.resources.job import Job
from app.contract.resources.target import (
    Follow,
    FollowOrder,
    PublishOrder,
    Target,
    TargetCreate,
    TargetUpdate,
    TargetValidation,
)


def page(cursor: str | None = None, *, limit: int | None = None) -> Call[Listing[Target]]:
    """A page of the caller's targets."""
    return Call("GET", "/targets", model(Listing[Target]), {"cursor": cursor, "limit": limit})


def get(ref: str) -> Call[Target]:
    """One target by id or name."""
    return Call("GET", f"/targets/{segment(ref)}", model(Target))


def create(body: TargetCreate, key: str | None = None) -> Call[Target]:
    """Create a target; `key` makes it safe to send again."""
    return Call("POST", "/targets", model(Target), body=body, headers=repeatable(key))


def update(ref: str, version: int, body: TargetUpdate) -> Call[Target]:
    """Change a target that is at `version`."""
    path = f"/targets/{segment(ref)}"
    return Call("PATCH", path, model(Target), body=body, headers=if_match(version))


def delete(ref: str, version: int) -> Call[Target]:
    """Delete a target that is at `version`."""
    return Call("DELETE", f"/targets/{segment(ref)}", model(Target), headers=if_match(version))


def validate(ref: str, body: TargetValidation | None = None) -> Call[Job]:
    """Let a node look whether the target works there."""
    return Call("POST", f"/targets/{segment(ref)}:validate", model(Job), body=body or TargetValidation())


def publish(server: str, body: PublishOrder, key: str | None = None) -> Call[Job]:
    """Publish a server's checkpoint as images; with a `key` it is safe to send again."""
    headers = repeatable(key)
    return Call("POST", f"/servers/{segment(server)}:publish", model(Job), body=body, headers=headers)


def follow(server: str, body: FollowOrder) -> Call[Follow]:
    """Keep a target up to date with a server."""
    return Call("PUT", f"/servers/{segment(server)}/follow", model(Follow), body=body)


def followed(server: str) -> Call[Follow]:
    """What follows a server."""
    return Call("GET", f"/servers/{segment(server)}/follow", model(Follow))


def unfollow(server: str) -> Call[None]:
    """Let nothing follow a server."""
    return Call("DELETE", f"/servers/{segment(server)}/follow", nothing)
