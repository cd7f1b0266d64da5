"""A body is bounded in size and time, and holds no transaction while it arrives."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.api import bodies
from tests.api.conftest import Api, Callers

LARGE = b" " * ((1 << 20) + 1)


@pytest.mark.parametrize("path", ["/projects", "/sessions"])
async def test_a_body_that_is_too_large_is_refused(admin: Api, path: str) -> None:
    async def unannounced() -> AsyncIterator[bytes]:
        for at in range(0, len(LARGE), 1 << 16):
            yield LARGE[at : at + (1 << 16)]

    for content in (LARGE, unannounced()):
        response = await admin.http.post(path, content=content)
        assert (response.status_code, response.json()["code"]) == (413, "TOO_LARGE")


async def test_a_body_that_never_ends_is_given_up(admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)

    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"name"'
        await asyncio.sleep(30)

    response = await admin.http.post("/projects", content=stalled())
    assert (response.status_code, response.json()["code"]) == (408, "BODY_TOO_SLOW")


async def test_a_slow_body_keeps_nobody_from_writing(admin: Api, callers: Callers) -> None:
    assert callers
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"name": '
        begun.set()
        await go_on.wait()
        yield b'"slow"}'

    waiting = asyncio.create_task(
        admin.http.post("/projects", content=slow(), headers={"Content-Type": "application/json"})
    )
    await begun.wait()
    async with asyncio.timeout(5):
        await admin.call("POST", "/projects", 201, {"name": "quick"})
    go_on.set()
    assert (await waiting).status_code == 201
