"""Nobody gets anything without a credential; a credential gets what its role and project allow."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from app.api.audit import auditor
from app.api.auth import Requires
from app.contract.words import Role
from tests.api.conftest import Api, Callers

PUBLIC = {("POST", "/api/v1/sessions")}
READING = {"GET", "HEAD"}


def dependencies(dependant: Dependant) -> Iterator[object]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from dependencies(inner)


def routes(app: FastAPI) -> list[tuple[str, str, list[object]]]:
    found = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and (context.path or "").startswith("/api/v1"):
            calls = list(dependencies(route.dependant))
            found += [(method, str(context.path), calls) for method in route.methods or ()]
    return found


def test_every_route_names_the_role_that_it_needs(app: FastAPI) -> None:
    found = routes(app)
    assert len(found) > 20
    open_to_all = {
        (method, path)
        for method, path, calls in found
        if not any(isinstance(call, Requires) for call in calls)
    }
    assert open_to_all == PUBLIC


def test_every_change_is_written_to_the_audit_trail(app: FastAPI) -> None:
    silent = {
        (method, path)
        for method, path, calls in routes(app)
        if method not in READING and auditor not in calls
    }
    assert silent == PUBLIC  # logging in writes its own entry


async def test_without_a_credential_every_route_answers_401(app: FastAPI, callers: Callers) -> None:
    nobody = callers.with_secret(None)
    for method, path, _ in routes(app):
        if (method, path) not in PUBLIC and method != "HEAD":
            status, _code = await nobody.refused(method, path.removeprefix("/api/v1"))
            assert status == 401, (method, path)


@pytest.mark.parametrize("secret", ["g2t_unknown", "g2s_unknown", "g2a_agent", "nonsense"])
async def test_an_unknown_credential_is_refused(callers: Callers, secret: str) -> None:
    assert (await callers.with_secret(secret).refused("GET", "/me"))[0] == 401


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        (Role.VIEWER, "POST", "/projects"),
        (Role.VIEWER, "GET", "/installTokens"),
        (Role.VIEWER, "PATCH", "/projects/default"),
        (Role.OPERATOR, "POST", "/projects"),
        (Role.OPERATOR, "GET", "/tokens"),
        (Role.OPERATOR, "GET", "/audit"),
    ],
)
async def test_a_role_that_is_too_small_is_refused(
    callers: Callers, role: Role, method: str, path: str
) -> None:
    caller = await callers.token(role)
    body = {"name": "x"} if method != "GET" else None
    assert await caller.refused(method, path, body, If_Match='"1"') == (403, "ROLE_TOO_SMALL")


async def test_other_projects_do_not_exist(callers: Callers, admin: Api) -> None:
    mine = await admin.call("POST", "/projects", 201, {"name": "mine"})
    await admin.call("POST", "/projects", 201, {"name": "theirs"})
    caller = await callers.token(Role.OPERATOR, mine["id"])
    assert [project["name"] for project in (await caller.call("GET", "/projects", 200))["items"]] == ["mine"]
    for ref in ("theirs", "default", "prj-unknown"):
        assert await caller.refused("GET", f"/projects/{ref}") == (404, "PROJECT_NOT_FOUND")
    body = {"name": "x", "project": "theirs"}
    assert await caller.refused("POST", "/installTokens", body) == (404, "PROJECT_NOT_FOUND")


async def test_me_says_who_and_where(callers: Callers, admin: Api) -> None:
    project = await admin.call("GET", "/projects/default", 200)
    me = await (await callers.token(Role.VIEWER, project["id"])).call("GET", "/me", 200)
    assert (me["kind"], me["role"], me["projectIds"]) == ("token", "viewer", [project["id"]])
    assert (await admin.call("GET", "/me", 200))["projectIds"] is None


async def test_use_of_a_token_is_noted_also_when_only_reading(callers: Callers, admin: Api) -> None:
    await admin.call("GET", "/me", 200)
    (token,) = (await admin.call("GET", "/tokens", 200))["items"]
    assert token["lastUsedAt"] is not None
