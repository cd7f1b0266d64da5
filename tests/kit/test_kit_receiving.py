"""Requests as they come from sockets: whole, in order, and never more of them in memory than is allowed."""

import asyncio
import hashlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from app.kit.receiving import PROTOCOL, UNREAD_BYTES

BODY = random.Random(5).randbytes(9 * 1024 * 1024 + 17)
KERNEL_BYTES = 256 * 1024
"""What each end's socket is told to hold; the kernel doubles it."""
HEAD = b"POST %b HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


class Application:
    """Answers with the digest of the body; what is sent to /later is not read before `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGI."""
        request, digest = Request(scope, receive), hashlib.sha256()
        if request.url.path == "/later":
            await asyncio.to_thread(self.go.wait)
        async for piece in request.stream():
            digest.update(piece)
        await PlainTextResponse(digest.hexdigest())(scope, receive, send)


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def connection(application: Application) -> Iterator[socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    config = uvicorn.Config(application, http=PROTOCOL, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    with socket.create_connection(listener.getsockname(), timeout=60) as made:
        yield made
    application.go.set()
    server.should_exit = True
    thread.join()


def chunked(body: bytes, size: int) -> bytes:
    """The body in chunks of so many bytes."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def answer(connection: socket.socket) -> str:
    """The body of the next answer."""
    with connection.makefile("rb", buffering=0) as file:
        status = file.readline()
        assert status.startswith(b"HTTP/1.1 200"), status
        length = 0
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return file.read(length).decode()


def sent_until_full(connection: socket.socket, piece: bytes) -> int:
    """How many bytes the other end and the kernel take of the piece, sent again and again, at most 1 GiB."""
    sent = 0
    try:
        while sent < 1 << 30:
            sent += connection.send(piece[sent % len(piece) :])
    except TimeoutError:
        pass
    return sent


@pytest.mark.parametrize("size", [999, 65_536, 2 * 1024 * 1024])
def test_a_body_arrives_whole_whatever_its_chunks(connection: socket.socket, size: int) -> None:
    for body in (BODY, b"", BODY[:12345]):
        connection.sendall(HEAD % b"/" + chunked(body, size))
        assert answer(connection) == hashlib.sha256(body).hexdigest()


def test_requests_that_come_together_are_answered_in_their_order(connection: socket.socket) -> None:
    bodies = [BODY[: 10_000 * number] for number in range(8)]
    connection.sendall(b"".join(HEAD % b"/" + chunked(body, 5000) for body in bodies))
    assert [answer(connection) for _ in bodies] == [hashlib.sha256(body).hexdigest() for body in bodies]


def test_what_nobody_asks_for_is_not_received(application: Application, connection: socket.socket) -> None:
    """Of a gigabyte on its way only a bounded part is taken in before the application reads."""
    connection.sendall(HEAD % b"/later")
    connection.settimeout(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    piece = chunked(BODY, len(BODY))[: -len(b"0\r\n\r\n")]
    sent = sent_until_full(connection, piece)
    assert sent < 2 * UNREAD_BYTES + 8 * KERNEL_BYTES
    connection.settimeout(60)
    application.go.set()
    rest = piece[sent % len(piece) :] if sent % len(piece) else b""
    connection.sendall(rest + b"0\r\n\r\n")
    whole = BODY * -(-sent // len(piece))
    assert answer(connection) == hashlib.sha256(whole).hexdigest()


def test_what_is_no_request_is_refused(connection: socket.socket) -> None:
    connection.sendall(b"nonsense\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_a_client_that_goes_away_half_way_disturbs_nobody(connection: socket.socket) -> None:
    with socket.create_connection(connection.getpeername()) as other:
        other.sendall(HEAD % b"/" + chunked(BODY, 65_536)[: len(BODY) // 2])
    time.sleep(0.1)
    connection.sendall(HEAD % b"/" + chunked(BODY, 65_536))
    assert answer(connection) == hashlib.sha256(BODY).hexdigest()
