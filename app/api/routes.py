"""All routes of the REST API; the composition root puts them under /api/v1."""

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from app.api.throttle import LoginThrottle
from app.api.v1 import (
    applications,
    audit,
    checkpoints,
    cutovers,
    install_tokens,
    jobs,
    me,
    preflights,
    projects,
    replication,
    reports,
    scrub,
    servers,
    sessions,
    subscriptions,
    targets,
    tests,
    tokens,
    verifications,
    waves,
)
from app.contract.resources.base import Problem

NOUNS = (
    me,
    projects,
    servers,
    replication,
    checkpoints,
    preflights,
    verifications,
    scrub,
    jobs,
    targets,
    tests,
    applications,
    waves,
    reports,
    cutovers,
    subscriptions,
    tokens,
    install_tokens,
    audit,
)

ANY_PROBLEM: dict[int | str, dict[str, Any]] = {"default": {"model": Problem, "description": "A problem"}}


def _operation_id(route: APIRoute) -> str:
    """The function's name in camelCase: short, stable, unique over the nouns."""
    return _camel(route.name)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def router() -> APIRouter:
    """A router of its own for every application, since it counts login attempts."""
    every = APIRouter(responses=ANY_PROBLEM, generate_unique_id_function=_operation_id)
    for inner in (sessions.opening(LoginThrottle()), sessions.closing):
        every.include_router(inner, tags=["sessions"])
    for noun in NOUNS:
        every.include_router(noun.router, tags=[_camel(noun.__name__.rpartition(".")[2])])
    return every
