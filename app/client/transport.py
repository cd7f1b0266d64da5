"""Sending calls over HTTP: the one place that knows httpx2.

`Client` waits in its thread, `AsyncClient` in an event loop; both take any httpx2 transport, which is the
seam for tests and for talking to an application in the same process. A client follows no redirect: a bearer
token must not travel to another place.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from app.client.call import Call
from app.client.errors import BadAnswer, ClientError, Interrupted, TimedOut, Unreachable, error_of
from app.contract.resources.base import Listing, Problem

T = TypeVar("T")
R = TypeVar("R", bound=BaseModel)

PREFIX = "/api/v1"
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
STREAM_TIMEOUT = httpx2.Timeout(300.0, connect=10.0)

Paged = Callable[[str | None], Call[Listing[Any]]]


class Client:
    """Sends calls and waits for the answers. Use it as a context manager, or `close` it."""

    def __init__(
        self, url: str, token: str | None = None, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        """`url` is the service's, without /api/v1; `token` a session's or API token's secret."""
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url + PREFIX, headers=_bearer(token), timeout=TIMEOUT, transport=transport
        )

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """The answer to a call; raises a ClientError."""
        with _translated(self.url):
            response = self._http.send(_request(self._http, call))
        return _answer(call, response)

    def every(self, paged: Callable[[str | None], Call[Listing[R]]]) -> Iterator[R]:
        """All items of a list, page after page; `paged` makes the call for a cursor."""
        cursor: str | None = None
        while True:
            page = self.send(paged(cursor))
            yield from page.items
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    @contextmanager
    def stream(self, call: Call[object]) -> Iterator[Iterator[bytes]]:
        """The pieces of a long answer as they come; a broken stream raises Interrupted."""
        with _translated(self.url):
            request = _request(self._http, call)
            request.extensions["timeout"] = STREAM_TIMEOUT.as_dict()
            response = self._http.send(request, stream=True)
        try:
            if not response.is_success:
                with _translated(self.url):
                    response.read()
                raise _problem(response)
            yield _pieces(response, self.url)
        finally:
            response.close()


class AsyncClient:
    """Sends calls in an event loop. Use it as a context manager, or `close` it."""

    def __init__(
        self, url: str, token: str | None = None, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        """As `Client`."""
        self.url = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            base_url=self.url + PREFIX, headers=_bearer(token), timeout=TIMEOUT, transport=transport
        )

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """The answer to a call; raises a ClientError."""
        with _translated(self.url):
            response = await self._http.send(_request(self._http, call))
        return _answer(call, response)

    async def every(self, paged: Callable[[str | None], Call[Listing[R]]]) -> AsyncIterator[R]:
        """All items of a list, page after page; `paged` makes the call for a cursor."""
        cursor: str | None = None
        while True:
            page = await self.send(paged(cursor))
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    @asynccontextmanager
    async def stream(self, call: Call[object]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The pieces of a long answer as they come; a broken stream raises Interrupted."""
        with _translated(self.url):
            request = _request(self._http, call)
            request.extensions["timeout"] = STREAM_TIMEOUT.as_dict()
            response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                with _translated(self.url):
                    await response.aread()
                raise _problem(response)
            yield _async_pieces(response, self.url)
        finally:
            await response.aclose()


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _request(http: httpx2.Client | httpx2.AsyncClient, call: Call[object]) -> httpx2.Request:
    headers = {"Accept": "application/json", **call.headers}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    return http.build_request(
        call.method, call.path, params=call.parameters, content=call.content, headers=headers
    )


def _answer(call: Call[T], response: httpx2.Response) -> T:
    if not response.is_success:
        raise _problem(response)
    try:
        return call.read(response.content)
    except ValidationError as error:
        raise BadAnswer(
            f"{response.request.url} answered something else than this client expects: {error}",
            remedy="use a client of the service's version",
        ) from error


def _problem(response: httpx2.Response) -> ClientError:
    try:
        return error_of(Problem.model_validate(json.loads(response.content)))
    except (ValueError, ValidationError):
        return BadAnswer(
            f"{response.request.url} answered {response.status_code} without a problem document",
            remedy="check that the URL is that of a go2cloud service",
        )


def _pieces(response: httpx2.Response, url: str) -> Iterator[bytes]:
    try:
        yield from response.iter_bytes()
    except httpx2.HTTPError as error:
        raise _interrupted(url, error) from error


async def _async_pieces(response: httpx2.Response, url: str) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_bytes():
            yield piece
    except httpx2.HTTPError as error:
        raise _interrupted(url, error) from error


def _interrupted(url: str, error: httpx2.HTTPError) -> Interrupted:
    return Interrupted(f"the answer of {url} broke off: {_words(error)}", remedy="start again")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except httpx2.TimeoutException as error:
        raise TimedOut(f"{url} did not answer in time", remedy="try again later") from error
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise Unreachable(
            f"{url} cannot be reached: {_words(error)}", remedy="check the URL and that the service runs"
        ) from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
