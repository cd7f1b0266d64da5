"""Every error is a problem document, with the request's id."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import FastAPI, Query
from httpx2 import ASGITransport, AsyncClient, Response
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from app.kit.accesslog import AccessLogMiddleware
from app.kit.errors import Conflict, Go2CloudError, NotFound, StoreFull, TooManyRequests, Unauthenticated
from app.kit.problems import install_problem_handlers
from app.kit.requestid import RequestIdMiddleware


class Body(BaseModel):
    name: str


def _raise(error: Exception) -> None:
    raise error


ERRORS: dict[str, Exception] = {
    "state": Conflict("web-1 is TESTING", code="STATE", remedy="finish the test", presentState="TESTING"),
    "absent": NotFound("no server srv-1", code="SERVER_NOT_FOUND"),
    "anonymous": Unauthenticated("no token"),
    "often": TooManyRequests("slow down", retryAfter=7),
    "full": StoreFull("3 bytes left"),
    "bug": ZeroDivisionError("secret inside"),
    "framework": HTTPException(413, "body too large"),
    "teapot": HTTPException(418, "short and stout", headers={"X-Spout": "1"}),
    "locked": OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked")),
    "nonsense": OperationalError("SELECT secret", {}, sqlite3.OperationalError("no such table: x")),
}


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """An application that fails in every way."""
    app = FastAPI()
    app.add_middleware(AccessLogMiddleware)
    app.add_middleware(RequestIdMiddleware)
    install_problem_handlers(app)

    @app.get("/fail/{how}")
    async def fail(how: str) -> None:
        _raise(ERRORS[how])

    @app.post("/items")
    async def item(body: Body, limit: Annotated[int, Query(ge=1)] = 1) -> str:
        return body.name * limit

    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def _check(answer: Response, status: int, code: str) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert problem["type"] == f"urn:go2cloud:problem:{code}"
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["title"]
    assert problem["detail"]
    assert problem["requestId"] == answer.headers["x-request-id"]
    return problem


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("state", 409, "STATE"),
        ("absent", 404, "SERVER_NOT_FOUND"),
        ("anonymous", 401, "UNAUTHENTICATED"),
        ("often", 429, "TOO_MANY_REQUESTS"),
        ("full", 507, "STORE_FULL"),
        ("bug", 500, "INTERNAL"),
        ("framework", 413, "TOO_LARGE"),
        ("teapot", 418, "IM_A_TEAPOT"),
        ("locked", 503, "DATABASE_UNAVAILABLE"),
        ("nonsense", 500, "INTERNAL"),
    ],
)
async def test_each_error_has_its_status_and_code(
    client: AsyncClient, how: str, status: int, code: str
) -> None:
    _check(await client.get(f"/fail/{how}"), status, code)


async def test_remedy_and_extras_are_members(client: AsyncClient) -> None:
    problem = _check(await client.get("/fail/state"), 409, "STATE")
    assert problem["remedy"] == "finish the test"
    assert problem["presentState"] == "TESTING"
    assert "remedy" not in (await client.get("/fail/absent")).json()


async def test_headers_go_along(client: AsyncClient) -> None:
    assert (await client.get("/fail/anonymous")).headers["www-authenticate"] == "Bearer"
    assert (await client.get("/fail/often")).headers["retry-after"] == "7"
    assert (await client.get("/fail/teapot")).headers["x-spout"] == "1"


@pytest.mark.parametrize("how", ["bug", "nonsense"])
async def test_an_unexpected_error_shows_nothing_of_its_inside(client: AsyncClient, how: str) -> None:
    assert "secret" not in (await client.get(f"/fail/{how}")).text


async def test_no_such_path_and_no_such_method(client: AsyncClient) -> None:
    assert "/nowhere" in str(_check(await client.get("/nowhere"), 404, "NOT_FOUND")["detail"])
    answer = await client.put("/items")
    assert "does not take PUT" in str(_check(answer, 405, "METHOD_NOT_ALLOWED")["detail"])
    assert answer.headers["allow"] == "POST"


async def test_wrong_input_is_named_place_by_place_and_not_repeated(client: AsyncClient) -> None:
    answer = await client.post("/items?limit=0", json={"name": ["hunter2"]})
    problem = _check(answer, 422, "INVALID")
    places = [each["at"] for each in problem["errors"]]  # type: ignore[attr-defined]  # JSON
    assert sorted(places) == ["body.name", "query.limit"]
    assert "hunter2" not in answer.text
    broken = await client.post("/items", content=b"{", headers={"content-type": "application/json"})
    _check(broken, 422, "INVALID")


async def test_a_suitable_request_id_is_kept_and_any_other_replaced(client: AsyncClient) -> None:
    kept = await client.get("/nowhere", headers={"X-Request-Id": "ci-4711"})
    assert kept.headers["x-request-id"] == kept.json()["requestId"] == "ci-4711"
    for bad in ("a b", "x" * 200, "<script>", ""):
        replaced = await client.get("/nowhere", headers={"X-Request-Id": bad})
        assert replaced.headers["x-request-id"].startswith("req-")


def test_an_error_without_more_has_the_code_of_its_class() -> None:
    assert (Go2CloudError("x").code, Conflict("x").code, str(Conflict("what"))) == (
        "INTERNAL",
        "CONFLICT",
        "what",
    )
