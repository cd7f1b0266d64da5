"""The platform is woken by what the API signs, and by nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from app.client import subscriptions, targets
from app.contract import signedcallback
from app.contract.resources.target import TargetValidation
from app.kit.problems import install_problem_handlers
from app.kit.settings import Settings, load_settings
from app.platform.callbacks import MOST_BYTES
from app.platform.routes import router
from app.platform.upstream import Platform
from tests.e2e.deployment import Deployment, basic_environment, run_deployment, until
from tests.services.processes import free_port

SECRET = "a-secret-of-the-two-of-us"
ID, BODY = "evt-1", b'{"id":"evt-1"}'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    environ = {"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path), "G2C_CALLBACKS__SECRET": SECRET}
    return load_settings(environ)


@pytest.fixture
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    platform = Platform.connect(settings, "http://127.0.0.1:9")
    yield platform
    await platform.close()


@pytest.fixture
async def http(platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    app.state.platform = platform
    install_problem_handlers(app)
    app.include_router(router())
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://platform.test") as http:
        yield http


def signed(at: float, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    """The headers of a callback."""
    signature = signedcallback.signed(secret, int(at), ID, body)
    return {signedcallback.EVENT_ID: ID, signedcallback.SIGNATURE: signature}


async def test_a_genuine_callback_wakes(http: httpx2.AsyncClient, platform: Platform) -> None:
    waiting = asyncio.create_task(platform.wakes.wait())
    await asyncio.sleep(0)
    answer = await http.post("/callbacks", content=BODY, headers=signed(time.time()))
    assert (answer.status_code, answer.content) == (204, b"")
    await asyncio.wait_for(waiting, 10)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(time.time(), secret="another-secret-than-that"),
        signed(time.time(), BODY + b" "),
        signed(time.time() - 2 * signedcallback.WINDOW_SECONDS),
        signed(time.time() + 1000 + 2 * signedcallback.WINDOW_SECONDS),
    ],
)
async def test_a_forged_or_old_one_wakes_nobody(
    http: httpx2.AsyncClient, platform: Platform, headers: dict[str, str]
) -> None:
    waiting = asyncio.create_task(platform.wakes.wait())
    await asyncio.sleep(0)
    answer = await http.post("/callbacks", content=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE_REFUSED")
    assert not waiting.done()
    waiting.cancel()


async def test_more_than_an_event_is_not_taken(http: httpx2.AsyncClient) -> None:
    large = b"x" * (MOST_BYTES + 1)
    answer = await http.post("/callbacks", content=large, headers=signed(time.time(), large))
    assert answer.status_code == 413


async def test_a_platform_without_the_secret_says_so(settings: Settings) -> None:
    bare = replace(settings, callbacks=settings.callbacks.model_copy(update={"secret": None}))
    app = FastAPI()
    app.state.platform = platform = Platform.connect(bare, "http://127.0.0.1:9")
    install_problem_handlers(app)
    app.include_router(router())
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://platform.test"
    ) as http:
        answer = await http.post("/callbacks", content=BODY, headers=signed(time.time()))
    await platform.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "CALLBACKS_OFF")


@pytest.fixture
def called(tmp_path: Path) -> Iterator[Deployment]:
    """Role `all`, whose API calls back its own platform."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/callbacks"
    extra = {"G2C_PLATFORM_CALLBACK_URL": url, "G2C_CALLBACKS__SECRET": SECRET}
    yield from run_deployment(Deployment(tmp_path, basic_environment(tmp_path) | extra, {"all": port}))


@pytest.mark.slow
def test_the_api_wakes_the_platform_when_a_job_ends(called: Deployment) -> None:
    with called.client() as client:
        client.send(targets.validate("qemu", TargetValidation()))
        until(lambda: wakes(called) >= 2, 60, "the platform is woken when the job begins and ends")
        until(lambda: client.send(subscriptions.get("platform")).waiting == 0, 60, "all is delivered")
        found = client.send(subscriptions.get("platform"))
    assert (found.built_in, found.failures) == (True, 0)
    assert found.last_success_at is not None


def wakes(service: Deployment) -> float:
    """How often the platform was woken."""
    text = httpx2.get(f"{service.platform_url}/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith("go2cloud_platform_wakes_total")]
    return float(line.split()[1])
