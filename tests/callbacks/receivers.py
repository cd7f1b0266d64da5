"""A receiver of callbacks that really listens, in a thread: it keeps what it gets and answers as told."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from app.contract import signedcallback


@dataclass(frozen=True)
class Delivery:
    """A request that came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id of the event."""
        return self.headers[signedcallback.EVENT_ID]

    @property
    def attempt(self) -> int:
        """Which attempt it says that it is."""
        return int(self.headers[signedcallback.ATTEMPT])

    @property
    def event(self) -> dict[str, Any]:
        """The event."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def require_signed(self, secret: str, now: float) -> None:
        """Check the signature."""
        header = self.headers[signedcallback.SIGNATURE]
        signedcallback.require_signed(secret, header, self.id, self.body, now)


def _ok(_delivery: Delivery) -> int:
    return 200


@dataclass
class Receiver:
    """What came in, in its order; `answer` gives the status of each answer."""

    port: int = 0
    answer: Callable[[Delivery], int] = _ok
    deliveries: list[Delivery] = field(default_factory=list)
    location: str | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The ids of the events that came in."""
        return [each.id for each in self.deliveries]

    @contextmanager
    def listening(self, tls: ssl.SSLContext | None = None) -> Iterator["Receiver"]:
        """Listen, again on the same port where it did before."""
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                delivery = Delivery(dict(self.headers), body)
                receiver.deliveries.append(delivery)
                self.send_response(receiver.answer(delivery))
                if receiver.location is not None:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        return Handler
