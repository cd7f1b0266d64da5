"""The platform in front of a real API: cookie, proxy, start page."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from app.kit.health import Checks, health_router
from app.kit.problems import install_problem_handlers
from app.kit.requestid import RequestIdMiddleware
from app.kit.settings import Settings, load_settings
from app.platform import proxy
from app.platform.routes import router
from app.platform.upstream import Platform, checks
from tests.services.processes import free_port
from tests.services.running import Running

OURS = {"X-Requested-With": "go2cloud"}


@pytest.fixture
async def browser(running: Running) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=running.url) as browser:
        yield browser


async def log_in(browser: httpx2.AsyncClient, running: Running) -> httpx2.Response:
    login = {"user": running.user, "password": running.password}
    response = await browser.post("/bff/session", json=login, headers=OURS)
    assert response.status_code == 201, response.text
    return response


async def test_the_session_is_in_the_cookie_and_nowhere_else(
    browser: httpx2.AsyncClient, running: Running
) -> None:
    response = await log_in(browser, running)
    assert response.json().keys() == {"user", "expiresAt"}
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("g2c_session=g2s_")
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert attribute in cookie
    assert "Secure" not in cookie, "the test speaks plain HTTP"
    me = await browser.get("/bff/v1/me")
    assert (me.json()["name"], me.json()["kind"]) == ("admin", "user")


async def test_logging_out_ends_the_session_at_the_api(browser: httpx2.AsyncClient, running: Running) -> None:
    await log_in(browser, running)
    secret = browser.cookies["g2c_session"]
    gone = await browser.delete("/bff/session", headers=OURS)
    assert gone.status_code == 204
    assert "g2c_session" not in browser.cookies
    direct = await browser.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"})
    assert direct.json()["code"] == "SESSION_INVALID"


async def test_a_wrong_password_is_told_as_the_api_tells_it(browser: httpx2.AsyncClient) -> None:
    response = await browser.post("/bff/session", json={"user": "admin", "password": "x"}, headers=OURS)
    assert (response.status_code, response.json()["code"]) == (401, "LOGIN_FAILED")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 422), (b"[]", 422), (b'{"user":"a"}', 422), (b"\xff", 422), (b" " * 5000, 413)],
)
async def test_a_login_that_is_none_is_refused(
    browser: httpx2.AsyncClient, content: bytes, status: int
) -> None:
    response = await browser.post("/bff/session", content=content, headers=OURS)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


async def test_without_a_cookie_nothing_passes(browser: httpx2.AsyncClient, running: Running) -> None:
    for headers in ({}, {"Authorization": f"Bearer {running.token}"}):
        response = await browser.get("/bff/v1/me", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "NOT_LOGGED_IN")


async def test_a_dead_session_is_taken_back(browser: httpx2.AsyncClient, running: Running) -> None:
    browser.cookies.set("g2c_session", "g2s_dead", domain="127.0.0.1", path="/")
    response = await browser.get("/bff/v1/me")
    assert (response.status_code, response.json()["code"]) == (401, "SESSION_INVALID")
    assert 'g2c_session=""' in response.headers["set-cookie"]
    assert running


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none", "Origin": "https://evil.test"},
        {"X-Requested-With": "XMLHttpRequest"},
    ],
)
async def test_another_site_cannot_use_the_cookie(
    browser: httpx2.AsyncClient, running: Running, headers: dict[str, str]
) -> None:
    await log_in(browser, running)
    for method, path in (("POST", "/bff/v1/projects"), ("DELETE", "/bff/session"), ("POST", "/bff/session")):
        response = await browser.request(method, path, json={"name": "x"}, headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "CROSS_SITE_REFUSED")


async def test_the_dashboards_own_calls_pass(browser: httpx2.AsyncClient, running: Running) -> None:
    await log_in(browser, running)
    own = ({"Sec-Fetch-Site": "same-origin"}, {"Origin": running.url}, OURS)
    for number, headers in enumerate(own):
        response = await browser.post("/bff/v1/projects", json={"name": f"p{number}"}, headers=headers)
        assert response.status_code == 201, response.text


async def test_conditions_keys_and_queries_pass_both_ways(
    browser: httpx2.AsyncClient, running: Running
) -> None:
    await log_in(browser, running)
    read = await browser.get("/bff/v1/projects/default")
    headers = OURS | {"If-Match": read.headers["etag"]}
    changed = await browser.patch("/bff/v1/projects/default", json={"description": "x"}, headers=headers)
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    stale = await browser.patch("/bff/v1/projects/default", json={"description": "y"}, headers=headers)
    assert (stale.status_code, stale.headers["content-type"]) == (412, "application/problem+json")
    assert (await browser.get("/bff/v1/projects?limit=0")).status_code == 422
    named = await browser.get("/bff/v1/me", headers={"X-Request-Id": "req-browser"})
    assert named.headers.get_list("x-request-id") == ["req-browser"]


@pytest.mark.parametrize("path", ["../../agent/v1/x", "%2e%2e/%2E%2E/healthz", "servers/..%2f", "./me"])
async def test_nothing_but_the_api_can_be_reached(running: Running, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    cookie = f"Cookie: g2c_session={running.token}"
    writer.write(f"GET /bff/v1/{path} HTTP/1.1\r\nHost: x\r\n{cookie}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    status = int(answer.split(b" ", 2)[1])
    assert status in {400, 404}
    assert b"alive" not in answer


async def test_a_body_that_is_too_large_is_refused(browser: httpx2.AsyncClient, running: Running) -> None:
    await log_in(browser, running)
    large = b"x" * ((1 << 20) + 1)

    async def pieces() -> AsyncIterator[bytes]:
        yield large

    for content in (large, pieces()):
        response = await browser.post("/bff/v1/projects", content=content, headers=OURS)
        assert (response.status_code, response.json()["code"]) == (413, "TOO_LARGE")


async def test_the_start_page_needs_no_script(browser: httpx2.AsyncClient, running: Running) -> None:
    page = await browser.get("/")
    assert page.status_code == 200
    assert f"{running.url}/api/v1" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in page.text
    assert "style=" not in page.text
    style = await browser.get("/start.css")
    assert style.headers["content-type"].startswith("text/css")


def platform_alone(
    settings: Settings, url: str, transport: httpx2.AsyncBaseTransport | None = None
) -> FastAPI:
    app = FastAPI()
    app.state.platform = Platform.connect(settings, url, transport=transport)
    registry = Checks()
    checks(app.state.platform, registry)
    app.add_middleware(RequestIdMiddleware)
    install_problem_handlers(app)
    app.include_router(health_router(registry))
    app.include_router(router())
    return app


def browser_of(app: FastAPI, **cookies: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://p.test",
        cookies=cookies,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"HOME": str(tmp_path)})


async def test_an_api_that_is_down_is_named(settings: Settings) -> None:
    app = platform_alone(settings, f"http://127.0.0.1:{free_port()}")
    async with browser_of(app, g2c_session="g2s_x") as browser:
        answers = [
            await browser.get("/bff/v1/me"),
            await browser.post("/bff/session", json={"user": "a", "password": "b"}, headers=OURS),
            await browser.delete("/bff/session", headers=OURS),
        ]
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (502, "API_UNREACHABLE")
        ready = await browser.get("/readyz")
        assert (ready.status_code, ready.json()["failing"]) == (503, ["api"])
        assert (await browser.get("/")).status_code == 200
    await app.state.platform.close()


async def test_an_api_that_does_not_answer_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "ANSWER_SECONDS", 0.05)
    api = FastAPI()

    @api.get("/api/v1/slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    app = platform_alone(settings, "http://api.test", httpx2.ASGITransport(api))
    async with browser_of(app, g2c_session="g2s_x") as browser:
        answer = await browser.get("/bff/v1/slow")
    assert (answer.status_code, answer.json()["code"]) == (502, "API_TIMEOUT")
    await app.state.platform.close()


async def test_headers_of_one_connection_stay_on_it(settings: Settings) -> None:
    api = FastAPI()
    seen: dict[str, str] = {}

    @api.get("/api/v1/echo")
    async def echo(request: Request) -> StreamingResponse:
        seen.update(request.headers)
        headers = {"Connection": "X-Hop", "X-Hop": "1", "Set-Cookie": "g2c_session=stolen", "X-Kept": "1"}
        return StreamingResponse(iter([b"abc"]), headers=headers)

    app = platform_alone(settings, "http://api.test", httpx2.ASGITransport(api))
    async with browser_of(app, g2c_session="g2s_mine", other="1") as browser:
        sent = {"Connection": "X-Mine", "X-Mine": "1", "Authorization": "Bearer other", "X-Passed": "1"}
        answer = await browser.get("/bff/v1/echo", headers=sent | {"X-Forwarded-For": "10.0.0.1"})
    assert answer.content == b"abc"
    assert {"connection", "x-hop", "set-cookie"}.isdisjoint(answer.headers)
    assert answer.headers["x-kept"] == "1"
    assert seen["authorization"] == "Bearer g2s_mine"
    assert {"cookie", "x-mine"}.isdisjoint(seen)
    assert (seen["x-passed"], seen["host"]) == ("1", "api.test")
    assert seen["x-forwarded-for"] != "10.0.0.1"
    await app.state.platform.close()


@pytest.mark.parametrize(
    ("location", "here"),
    [
        ("/api/v1/jobs/job-1", "/bff/v1/jobs/job-1"),
        ("http://api.test/api/v1/jobs/job-1", "/bff/v1/jobs/job-1"),
        ("https://elsewhere.test/x", "https://elsewhere.test/x"),
    ],
)
async def test_a_place_at_the_api_is_one_that_the_browser_reaches(
    settings: Settings, location: str, here: str
) -> None:
    api = FastAPI()

    @api.post("/api/v1/work", status_code=202)
    async def work(response: Response) -> None:
        response.headers["Location"] = location

    app = platform_alone(settings, "http://api.test", httpx2.ASGITransport(api))
    async with browser_of(app, g2c_session="g2s_mine") as browser:
        answer = await browser.post("/bff/v1/work", headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (202, here)
    await app.state.platform.close()


async def test_the_cookie_is_secure_where_the_service_speaks_tls(settings: Settings, tmp_path: Path) -> None:
    api = FastAPI()

    @api.post("/api/v1/sessions")
    async def sessions() -> dict[str, str]:
        return {"id": "ses-1", "user": "admin", "expiresAt": "2040-01-01T00:00:00Z", "token": "g2s_x"}

    tls = settings.tls.model_copy(update={"cert_file": tmp_path / "cert.pem"})
    app = platform_alone(replace(settings, tls=tls), "http://api.test", httpx2.ASGITransport(api))
    async with browser_of(app) as browser:
        answer = await browser.post("/bff/session", json={"user": "a", "password": "b"}, headers=OURS)
    assert "Secure" in answer.headers["set-cookie"]
    await app.state.platform.close()
