"""Liveness, readiness and metrics."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from prometheus_client import REGISTRY

from app.kit.health import Checks, health_router
from app.kit.metrics import instrument


def _app(checks: Checks) -> FastAPI:
    app = FastAPI()
    app.include_router(health_router(checks))
    instrument(app, "api")

    @app.get("/servers/{name}")
    async def server(name: str) -> str:
        return name

    return app


def _client(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://test")


class Part:
    """Something that a check looks at."""

    broken = False

    async def check(self) -> None:
        if self.broken:
            raise ConnectionError("gone")


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
async def client(checks: Checks) -> AsyncIterator[AsyncClient]:
    async with _client(_app(checks)) as client:
        yield client


async def test_alive_whatever_the_checks_say(checks: Checks, client: AsyncClient) -> None:
    part = Part()
    part.broken = True
    checks.add("part", part.check)
    assert (await client.get("/healthz")).status_code == 200


async def test_ready_names_what_fails_and_recovers(checks: Checks, client: AsyncClient) -> None:
    part, other = Part(), Part()
    checks.add("part", part.check)
    checks.add("other", other.check)
    assert (await client.get("/readyz")).status_code == 200
    part.broken = True
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            answer = await client.get("/readyz")
        part.broken = False
        assert (await client.get("/readyz")).status_code == 200
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "checks": ["other", "part"], "failing": ["part"]}
    assert [log["event"] for log in logs] == ["check.failing", "check.recovered"]
    assert REGISTRY.get_sample_value("go2cloud_check_failing", {"check": "part"}) == 0
    part.broken = True
    await client.get("/readyz")
    assert REGISTRY.get_sample_value("go2cloud_check_failing", {"check": "part"}) == 1
    assert REGISTRY.get_sample_value("go2cloud_check_failing", {"check": "other"}) == 0


async def test_a_check_that_hangs_fails_by_its_time_out(checks: Checks) -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    checks.add("slow", hang, timeout_seconds=0.05)
    checks.add("fine", Part().check)
    async with asyncio.timeout(5):
        assert await checks.failing() == ("slow",)


def test_two_checks_of_one_name_are_refused(checks: Checks) -> None:
    checks.add("part", Part().check)
    with pytest.raises(ValueError, match="part already"):
        checks.add("part", Part().check)


async def test_several_applications_of_one_process_all_count_their_requests(client: AsyncClient) -> None:
    for _ in range(3):
        async with _client(_app(Checks())) as other:
            before = _count((await other.get("/metrics")).text)
            await other.get("/servers/web-1")
            await other.get("/healthz")
            after = (await other.get("/metrics")).text
        assert _count(after) == before + 1
    assert 'go2cloud_role{role="api"} 1.0' in after
    assert 'handler="/healthz"' not in after


def _count(exposition: str) -> float:
    start = 'http_requests_total{handler="/servers/{name}"'
    return sum(float(line.split()[-1]) for line in exposition.splitlines() if line.startswith(start))
