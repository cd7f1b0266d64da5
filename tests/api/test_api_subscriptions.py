"""Subscriptions over REST: what is shown of them, who may make them, and the ping."""

from dataclasses import replace

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.contract.words import Role
from app.kit.settings import load_settings
from app.migration.callbacks.platform import keep_platform
from app.migration.callbacks.service import PING
from app.migration.callbacks.tables import SubscriptionRow
from app.migration.services import Services
from tests.api.conftest import Api, Callers
from tests.callbacks.receivers import Receiver

SECRET = "a-secret-of-the-two-of-us"
HOOK = {"name": "hook", "url": "https://hooks.example.org/go2cloud"}


async def test_a_made_up_secret_is_shown_once(admin: Api) -> None:
    made = await admin.call("POST", "/subscriptions", 201, HOOK, Idempotency_Key="one")
    assert made["secret"].startswith("g2w_")
    again = await admin.call("POST", "/subscriptions", 201, HOOK, Idempotency_Key="one")
    assert (again["id"], again["secret"]) == (made["id"], None)
    found = await admin.call("GET", "/subscriptions/hook", 200)
    assert found["secret"] is None
    (listed,) = (await admin.call("GET", "/subscriptions", 200))["items"]
    assert listed == found
    assert (found["kinds"], found["enabled"], found["waiting"], found["failures"]) == (None, True, 0, 0)


async def test_a_given_secret_is_never_shown(admin: Api) -> None:
    made = await admin.call("POST", "/subscriptions", 201, {**HOOK, "secret": SECRET})
    other = SECRET[::-1]
    changed = await admin.call("PATCH", "/subscriptions/hook", 200, {"secret": other}, If_Match='"1"')
    audit = await admin.call("GET", "/audit", 200)
    for told in (made, changed, audit):
        assert SECRET not in str(told)
        assert other not in str(told)


async def test_a_kind_of_a_later_version_is_shown_after_going_back(admin: Api, services: Services) -> None:
    await admin.call("POST", "/subscriptions", 201, {**HOOK, "kinds": ["job.ended"]})
    later = ["job.ended", "server.exploded"]
    async with services.database.begin() as uow:
        await uow.session.execute(update(SubscriptionRow).values(kinds=later))
    (listed,) = (await admin.call("GET", "/subscriptions", 200))["items"]
    assert listed["kinds"] == later


async def test_a_subscription_is_changed_and_deleted_by_its_version(admin: Api) -> None:
    await admin.call("POST", "/subscriptions", 201, {**HOOK, "kinds": ["job.ended"]})
    off = {"enabled": False, "kinds": None, "name": "other"}
    changed = await admin.call("PATCH", "/subscriptions/hook", 200, off, If_Match='"1"')
    assert (changed["enabled"], changed["kinds"], changed["version"]) == (False, None, 2)
    refused = await admin.refused("PATCH", "/subscriptions/other", off, If_Match='"1"')
    assert refused == (412, "SUBSCRIPTION_CHANGED")
    assert await admin.refused("DELETE", "/subscriptions/other") == (428, "IF_MATCH_REQUIRED")
    assert await admin.refused("DELETE", "/subscriptions/other", If_Match='"1"') == (
        412,
        "SUBSCRIPTION_CHANGED",
    )
    assert (await admin.call("DELETE", "/subscriptions/other", 200, If_Match='"2"'))["name"] == "other"
    assert await admin.refused("GET", "/subscriptions/other") == (404, "SUBSCRIPTION_NOT_FOUND")


@pytest.mark.parametrize(
    "given",
    [
        {"url": "ftp://hooks.example.org"},
        {"url": "https://"},
        {"url": "https://user:password@hooks.example.org"},
        {"url": "https://hooks.example.org:99999/"},
        {"url": "https://hooks.example.org/#part"},
        {"url": "https://hooks.example.org/a b"},
        {"url": "https://hooks.example.org/\r\nX: y"},
        {"secret": "too short"},
        {"kinds": []},
        {"kinds": ["server.exploded"]},
        {"name": "Hook"},
    ],
)
async def test_what_cannot_work_is_refused(admin: Api, given: dict[str, object]) -> None:
    assert (await admin.refused("POST", "/subscriptions", {**HOOK, **given}))[0] == 422


async def test_names_are_unique_in_a_project_and_the_platforms_is_taken(admin: Api) -> None:
    await admin.call("POST", "/subscriptions", 201, HOOK)
    for name in ("hook", "platform"):
        taken = await admin.refused("POST", "/subscriptions", {**HOOK, "name": name})
        assert taken == (409, "SUBSCRIPTION_EXISTS")


async def test_only_administrators_make_the_service_speak_to_others(callers: Callers, admin: Api) -> None:
    await admin.call("POST", "/subscriptions", 201, HOOK)
    operator = await callers.token(Role.OPERATOR)
    await operator.call("GET", "/subscriptions/hook", 200)
    for method, path in (
        ("POST", "/subscriptions"),
        ("PATCH", "/subscriptions/hook"),
        ("DELETE", "/subscriptions/hook"),
        ("POST", "/subscriptions/hook:test"),
    ):
        refused = await operator.refused(method, path, HOOK if method == "POST" else {}, If_Match='"1"')
        assert refused == (403, "ROLE_TOO_SMALL")


async def test_other_projects_and_the_platform_are_not_there_for_everybody(
    callers: Callers, admin: Api, services: Services
) -> None:
    mine = await admin.call("POST", "/projects", 201, {"name": "mine"})
    await admin.call("POST", "/subscriptions", 201, HOOK)
    await admin.call("POST", "/subscriptions", 201, {**HOOK, "name": "ours", "project": "mine"})
    called = replace(services.settings, platform_callback_url="http://platform:8088/callbacks")
    for _ in range(2):
        await keep_platform(replace(services, settings=called))
    caller = await callers.token(Role.VIEWER, mine["id"])
    assert [each["name"] for each in (await caller.call("GET", "/subscriptions", 200))["items"]] == ["ours"]
    for ref in ("hook", "platform"):
        assert (await caller.refused("GET", f"/subscriptions/{ref}"))[0] == 404
    platform = await admin.call("GET", "/subscriptions/platform", 200)
    assert (platform["builtIn"], platform["url"]) == (True, "http://platform:8088/callbacks")
    change = {"url": "https://elsewhere.example.org"}
    refused = await admin.refused("PATCH", "/subscriptions/platform", change, If_Match='"1"')
    assert refused == (409, "SUBSCRIPTION_BUILT_IN")
    await keep_platform(services)
    assert (await admin.refused("GET", "/subscriptions/platform"))[0] == 404


async def test_a_ping_tells_the_answer(app: FastAPI, services: Services, admin: Api) -> None:
    app.state.services = replace(
        services,
        settings=load_settings(
            {"G2C_DATA_DIR": "/tmp/unused", "HOME": "/tmp", "G2C_CALLBACKS__ALLOW": "127.0.0.0/8"}
        ),
    )
    with Receiver().listening() as receiver:
        await admin.call("POST", "/subscriptions", 201, {**HOOK, "url": receiver.url, "secret": SECRET})
        ping = await admin.call("POST", "/subscriptions/hook:test", 200)
        assert (ping["outcome"], ping["status"], ping["detail"]) == ("DELIVERED", 200, "answered 200")
        receiver.answer = lambda _: 500
        assert (await admin.call("POST", "/subscriptions/hook:test", 200))["outcome"] == "FAILED"
    assert (await admin.call("POST", "/subscriptions/hook:test", 200))["outcome"] == "UNREACHABLE"
    first = receiver.deliveries[0]
    first.require_signed(SECRET, services.clock.now().timestamp())
    assert (first.event["type"], first.event["subject"][:4]) == (PING, "sub-")


async def test_a_ping_does_not_go_where_callbacks_may_not(admin: Api) -> None:
    with Receiver().listening() as receiver:
        await admin.call("POST", "/subscriptions", 201, {**HOOK, "url": receiver.url})
        assert (await admin.call("POST", "/subscriptions/hook:test", 200))["outcome"] == "FORBIDDEN"
    assert receiver.deliveries == []
