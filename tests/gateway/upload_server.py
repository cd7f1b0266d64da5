"""A server whose application reads frames and says what it got, and how."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.agent.gateway.intake import frames
from app.agent.gateway.uploads import UploadingHttp, upload_of
from app.kit.errors import Go2CloudError
from app.wire.chunks import MIB
from app.wire.errors import WireError
from app.wire.frames import PUT_TYPES, FrameReader
from tests.faults.process.certificates import Pinned
from tests.services.processes import free_port

MOST = 64 * MIB
STARTED_SECONDS = 20.0


@dataclass
class Reading:
    """Puts with a frame wait until they `may_read` on; `disconnected` counts those whose sender went away."""

    may_read: threading.Event = field(default_factory=threading.Event)
    disconnected: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class UploadServer:
    """Its application answers a put with the frames that it had, and any other request with its body."""

    def __init__(self, certificate: Pinned | None) -> None:
        self.port = free_port()
        self.reading = Reading()
        self.reading.may_read.set()
        self._certificate = certificate
        routes = [
            Route("/sessions/refused/put", _refuse, methods=["POST"]),
            Route("/sessions/{session}/put", self._put, methods=["POST"]),
            Route("/echo", _echo, methods=["POST"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            "127.0.0.1",
            self.port,
            http=UploadingHttp,
            log_config=None,
            loop="asyncio" if certificate else "auto",
            ssl_certfile=certificate.cert if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )
        self.server = uvicorn.Server(config)

    def connect(self) -> socket.socket:
        """A connection, with TLS where the server has a certificate."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._certificate is None:
            return plain
        context = ssl.create_default_context(cafile=self._certificate.authority)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    async def _put(self, request: Request) -> Response:
        way = "uvicorn" if upload_of(request.scope) is None else "upload"
        found = []
        try:
            async for frame in frames(request, FrameReader(PUT_TYPES), MOST):
                said = [frame.type.name, frame.count, sha256(frame.payload).hexdigest()]
                found.append(said)
                await asyncio.to_thread(self.reading.may_read.wait)
        except (Go2CloudError, WireError) as error:
            return JSONResponse({"code": error.code, "frames": found}, 400)
        except ClientDisconnect:
            self.reading.disconnected.release()
            raise
        return JSONResponse({"way": way, "frames": found})


async def _refuse(_request: Request) -> Response:
    return JSONResponse({"code": "REFUSED"}, 403)


async def _echo(request: Request) -> Response:
    return Response(await request.body())


@contextmanager
def upload_server(certificate: Pinned | None = None) -> Iterator[UploadServer]:
    """Serve for as long as the block runs."""
    made = UploadServer(certificate)
    thread = threading.Thread(target=made.server.run, daemon=True)
    thread.start()
    for _ in range(int(STARTED_SECONDS / 0.02)):
        if made.server.started:
            break
        threading.Event().wait(0.02)
    assert made.server.started, "the server did not start"
    try:
        yield made
    finally:
        made.reading.may_read.set()
        made.server.should_exit = True
        thread.join(STARTED_SECONDS)
    assert not thread.is_alive(), "the server did not stop"


@dataclass(frozen=True)
class Answer:
    """One answer: its status, what it says, and whether the connection closes."""

    status: int
    body: bytes
    closes: bool

    @property
    def said(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Answers:
    """Reads answers from a connection, one after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send requests, or parts of them."""
        self._connection.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._connection.close()

    def next(self) -> Answer:
        """The next answer, whose length is declared."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers["content-length"]))
        return Answer(status, body, headers.get("connection") == "close")

    def at_end(self) -> bool:
        """Whether the server closes the connection and says nothing more."""
        return self._file.read() == b""
