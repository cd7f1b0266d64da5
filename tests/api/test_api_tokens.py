"""API tokens and install tokens over REST."""

from dataclasses import replace

import pytest
from fastapi import FastAPI

from app.migration.access.service import redeem_install_token
from app.migration.services import Services
from tests.api.conftest import Api, Callers


async def test_a_created_token_works_until_it_is_revoked(callers: Callers, admin: Api) -> None:
    made = await admin.call("POST", "/tokens", 201, {"name": "ci", "role": "viewer", "expiresIn": "P1D"})
    assert made["secret"].startswith("g2t_")
    ci = callers.with_secret(made["secret"])
    assert (await ci.call("GET", "/me", 200))["name"] == "ci"
    assert (await admin.call("GET", f"/tokens/{made['id']}", 200))["secret"] is None
    revoked = await admin.call("DELETE", f"/tokens/{made['id']}", 200)
    assert revoked["revokedAt"] is not None
    assert await ci.refused("GET", "/me") == (401, "TOKEN_INVALID")
    assert await admin.call("DELETE", f"/tokens/{made['id']}", 200) == revoked


async def test_a_repeated_request_never_shows_the_secret_again(admin: Api) -> None:
    first = await admin.call("POST", "/tokens", 201, {"name": "ci"}, Idempotency_Key="k")
    again = await admin.call("POST", "/tokens", 201, {"name": "ci"}, Idempotency_Key="k")
    assert first["secret"] is not None
    assert again == first | {"secret": None}


async def test_a_token_of_a_project_is_made_by_the_projects_name(admin: Api) -> None:
    project = await admin.call("GET", "/projects/default", 200)
    made = await admin.call("POST", "/tokens", 201, {"name": "ci", "project": "default"})
    assert made["projectId"] == project["id"]
    wide = {"name": "x", "project": "default", "role": "administrator"}
    assert await admin.refused("POST", "/tokens", wide) == (422, "TOKEN_ROLE_TOO_WIDE")
    assert await admin.refused("POST", "/tokens", {"name": "x", "project": "nope"}) == (
        404,
        "PROJECT_NOT_FOUND",
    )


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "x", "expiresIn": "PT0S"}, {"name": "x", "role": "root"}]
)
async def test_a_wrong_token_is_refused(admin: Api, body: dict[str, str]) -> None:
    assert (await admin.refused("POST", "/tokens", body))[0] == 422


@pytest.mark.parametrize("token", ["tok-unknown", "é", "tok-%00", "a" * 300])
async def test_an_unknown_token_is_not_found(admin: Api, token: str) -> None:
    assert await admin.refused("GET", f"/tokens/{token}") == (404, "TOKEN_NOT_FOUND")


async def test_an_install_token_enrols_as_often_as_it_says(admin: Api, services: Services) -> None:
    made = await admin.call("POST", "/installTokens", 201, {"name": "rack 1", "uses": 2})
    assert made["secret"].startswith("g2i_")
    assert "." not in made["secret"]
    grant = await services.database.run(lambda uow: redeem_install_token(uow, made["secret"]))
    assert (grant.project_id, grant.token_id) == (made["projectId"], made["id"])
    left = await admin.call("GET", f"/installTokens/{made['id']}", 200)
    assert (left["usesLeft"], left["usesAllowed"], left["secret"]) == (1, 2, None)
    assert (await admin.call("DELETE", f"/installTokens/{made['id']}", 200))["revokedAt"] is not None


async def test_the_pinned_certificate_travels_with_an_install_token(
    app: FastAPI, admin: Api, services: Services
) -> None:
    agent = services.settings.agent.model_copy(update={"cert_fingerprint": "cd" * 32})
    app.state.services = replace(services, settings=replace(services.settings, agent=agent))
    made = await admin.call("POST", "/installTokens", 201, {"name": "rack 1"})
    assert made["secret"].endswith("." + "cd" * 32)


async def test_install_tokens_are_listed_by_project(admin: Api) -> None:
    await admin.call("POST", "/projects", 201, {"name": "shop"})
    await admin.call("POST", "/installTokens", 201, {"name": "a"})
    await admin.call("POST", "/installTokens", 201, {"name": "b", "project": "shop"})
    listed = await admin.call("GET", "/installTokens?project=shop", 200)
    assert [token["name"] for token in listed["items"]] == ["b"]
    assert len((await admin.call("GET", "/installTokens", 200))["items"]) == 2
