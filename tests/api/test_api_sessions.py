"""Logging in and out."""

from datetime import timedelta

import pytest

from app.api.throttle import LoginThrottle
from app.kit.clock import ManualClock
from app.kit.errors import TooManyRequests
from app.migration.access.users import create_administrator
from app.migration.services import Services
from tests.api.conftest import Api, Callers


@pytest.fixture
async def password(services: Services) -> str:
    async with services.database.begin() as uow:
        return (await create_administrator(uow, "ada")).password


async def test_a_session_is_an_administrators_credential_until_it_ends(
    callers: Callers, clock: ManualClock, password: str
) -> None:
    nobody = callers.with_secret(None)
    session = await nobody.call("POST", "/sessions", 201, {"user": "Ada", "password": password})
    ada = callers.with_secret(session["token"])
    me = await ada.call("GET", "/me", 200)
    assert (me["kind"], me["name"], me["passwordMustChange"]) == ("user", "ada", True)
    clock.advance(timedelta(hours=13))
    assert await ada.refused("GET", "/me") == (401, "SESSION_EXPIRED")


async def test_logging_out_ends_this_session_only(callers: Callers, password: str) -> None:
    nobody = callers.with_secret(None)
    login = {"user": "ada", "password": password}
    here = callers.with_secret((await nobody.call("POST", "/sessions", 201, login))["token"])
    there = callers.with_secret((await nobody.call("POST", "/sessions", 201, login))["token"])
    await here.call("DELETE", "/sessions/current", 204)
    assert await here.refused("GET", "/me") == (401, "SESSION_INVALID")
    await there.call("GET", "/me", 200)


async def test_guessing_is_braked(callers: Callers, password: str) -> None:
    nobody = callers.with_secret(None)
    for _ in range(10):
        wrong = {"user": "ada", "password": "guess"}
        assert await nobody.refused("POST", "/sessions", wrong) == (401, "LOGIN_FAILED")
    right = {"user": "ada", "password": password}
    response = await nobody.http.post("/sessions", json=right)
    assert (response.status_code, response.json()["code"]) == (429, "TOO_MANY_LOGINS")
    assert 0 < int(response.headers["retry-after"]) <= 61
    other = {"user": "bob", "password": "guess"}
    assert await nobody.refused("POST", "/sessions", other) == (401, "LOGIN_FAILED")


def test_an_attempt_counts_for_a_minute() -> None:
    now = [0.0]
    throttle = LoginThrottle(lambda: now[0])
    throttle.admit("ada", "::1", 2)
    now[0] = 30.0
    throttle.admit("ADA", "::1", 2)
    with pytest.raises(TooManyRequests) as braked:
        throttle.admit("ada", "::1", 2)
    assert braked.value.extra["retryAfter"] == 31
    throttle.admit("ada", "::2", 2)
    now[0] = 60.0
    throttle.admit("ada", "::1", 2)


async def test_a_user_changes_the_password(callers: Callers, password: str) -> None:
    nobody = callers.with_secret(None)
    session = await nobody.call("POST", "/sessions", 201, {"user": "ada", "password": password})
    ada = callers.with_secret(session["token"])
    short = {"current": password, "new": "short"}
    assert (await ada.refused("PUT", "/me/password", short))[0] == 422
    change = {"current": password, "new": "correct horse battery"}
    await ada.call("PUT", "/me/password", 204, change)
    assert not (await ada.call("GET", "/me", 200))["passwordMustChange"]
    await nobody.call("POST", "/sessions", 201, {"user": "ada", "password": "correct horse battery"})


async def test_a_token_has_no_password(admin: Api) -> None:

    change = {"current": "x", "new": "correct horse battery"}
    assert await admin.refused("PUT", "/me/password", change) == (403, "NOT_A_USER")
