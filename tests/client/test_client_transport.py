"""The client against a real service, and against answers that no service of ours gives."""

import json
from collections.abc import Iterator

import httpx2
import pytest

from app.client import access, projects, servers
from app.client.errors import (
    BadAnswer,
    Conflicting,
    Interrupted,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Rejected,
    ServiceFailed,
    TimedOut,
    TooManyRequests,
    Unreachable,
    error_of,
)
from app.client.transport import AsyncClient, Client
from app.contract.resources.access import InstallTokenCreate, TokenCreate
from app.contract.resources.base import Problem
from app.contract.resources.project import ProjectCreate, ProjectUpdate
from app.contract.words import Role
from tests.services.processes import free_port
from tests.services.running import Running


def test_projects_from_creation_to_change(running: Running) -> None:
    with running.client() as client:
        made = client.send(projects.create(ProjectCreate(name="shop"), key="k1"))
        assert client.send(projects.create(ProjectCreate(name="shop"), key="k1")) == made
        changed = client.send(projects.update("shop", made.version, ProjectUpdate(description="closed")))
        assert (changed.name, changed.description) == ("shop", "closed")
        with pytest.raises(Conflicting) as refused:
            client.send(projects.update("shop", made.version, ProjectUpdate(description="again")))
        assert (refused.value.status, refused.value.code) == (412, "PROJECT_CHANGED")
        assert refused.value.remedy is not None


def test_every_item_of_a_long_list_comes_once(running: Running) -> None:
    with running.client() as client:
        for number in range(7):
            client.send(projects.create(ProjectCreate(name=f"p{number}")))
        names = [each.name for each in client.every(lambda cursor: projects.page(cursor, limit=3))]
    assert names == ["default", *(f"p{number}" for number in range(7))]


def test_tokens_and_install_tokens(running: Running) -> None:
    with running.client() as client:
        token = client.send(access.create_token(TokenCreate(name="ci", role=Role.VIEWER)))
        install = client.send(access.create_install_token(InstallTokenCreate(name="rack")))
        assert {each.id for each in client.every(access.tokens)} >= {token.id}
        assert [each.id for each in client.every(access.install_tokens)] == [install.id]
        client.send(access.revoke_install_token(install.id))
    with Client(running.url, token.secret) as viewer:
        with pytest.raises(NotPermitted):
            viewer.send(projects.create(ProjectCreate(name="x")))
        for ref in ("../projects", "web/1", "what?", "#", "服务器"):
            with pytest.raises(NotFound):
                viewer.send(servers.get(ref))


async def test_the_asynchronous_client_is_the_same(running: Running) -> None:
    async with AsyncClient(running.url, running.token) as client:
        assert (await client.send(access.me())).role is Role.ADMINISTRATOR
        assert [each.name async for each in client.every(projects.page)] == ["default"]
    async with AsyncClient(running.url, "g2t_wrong") as stranger:
        with pytest.raises(NotAuthenticated):
            await stranger.send(access.me())


def test_a_service_that_is_not_there(running: Running) -> None:
    assert running
    with Client(f"http://127.0.0.1:{free_port()}", "g2t_x") as client, pytest.raises(Unreachable) as gone:
        client.send(access.me())
    assert "127.0.0.1" in gone.value.detail


def answering(status: int, content: bytes) -> Client:
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(status, content=content))
    return Client("http://service.test", "g2t_x", transport=transport)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"{}"),
        (200, b"<html>"),
        (502, b"<html>bad gateway"),
        (302, b""),
        (404, b"[]"),
        (500, b"\xff\xfe"),
    ],
)
def test_an_answer_of_another_service_is_named(status: int, content: bytes) -> None:
    with answering(status, content) as client, pytest.raises(BadAnswer) as wrong:
        client.send(access.me())
    assert "service.test" in wrong.value.detail


def test_no_answer_in_time_is_a_timeout() -> None:
    def late(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("late", request=request)

    client = Client("http://service.test", transport=httpx2.MockTransport(late))
    with client, pytest.raises(TimedOut):
        client.send(access.me())


class BrokenOff(httpx2.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b"half"
        raise httpx2.RemoteProtocolError("peer closed connection")


def test_a_stream_that_breaks_off_is_interrupted() -> None:
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(200, stream=BrokenOff()))
    client = Client("http://service.test", transport=transport)
    with client, client.stream(servers.verify("web-1")) as pieces:
        assert next(pieces) == b"half"
        with pytest.raises(Interrupted):
            next(pieces)


def test_a_refused_stream_is_a_problem() -> None:
    problem = {
        "status": 404,
        "code": "SERVER_NOT_FOUND",
        "detail": "there is no server x",
        "title": "Not found",
    }
    client = answering(404, json.dumps(problem).encode())
    with client, pytest.raises(NotFound, match="no server x"), client.stream(servers.verify("x")):
        raise AssertionError("the stream must not begin")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (422, Rejected),
        (409, Conflicting),
        (428, Conflicting),
        (429, TooManyRequests),
        (500, ServiceFailed),
        (507, ServiceFailed),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[Exception]) -> None:
    assert type(error_of(Problem(status=status, code="X", detail="d"))) is kind


def test_what_belongs_to_one_code_is_kept() -> None:
    problem = Problem.model_validate({"status": 409, "code": "X", "detail": "d", "allowed": ["test"]})
    assert problem.extra == {"allowed": ["test"]}


def test_a_token_does_not_follow_a_redirect() -> None:
    def elsewhere(request: httpx2.Request) -> httpx2.Response:
        assert request.url.host == "service.test"
        return httpx2.Response(307, headers={"Location": "http://evil.test/"})

    client = Client("http://service.test", "g2t_x", transport=httpx2.MockTransport(elsewhere))
    with client, pytest.raises(BadAnswer):
        client.send(access.me())
