"""Requests to the service: keep-alive connections, one a thread, and the patience to repeat.

A request that fails on a kept connection, which the other side may have closed meanwhile, is repeated at
once on a new one. Other failures that may pass are repeated with back-off and jitter: pauses stay short, so
that work goes on within seconds when a network or a service is back. All requests but a put's stream can be
repeated safely; a lost put is the pipeline's business.

A connection on which nothing moves is given up after STALL_SECONDS: it may be half open, with nobody at its
other end. Should the service be slow and not gone, attempts after PATIENT_AFTER of them are three times as
patient: not earlier, since a network that has just healed may have left one such connection more.
"""

import http.client
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from app.agent.daemon.errors import LinkError, LinkRefused
from app.agent.daemon.link.answer import asked_pause, read_answer
from app.agent.daemon.link.connection import connect, is_quiet, send_all, shut_down, translated
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.pace import IsOver, TokenBucket, stopped
from app.agent.daemon.stopping import Stop
from app.wire import version

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
MAX_ANSWER: Final = 16 * 1024 * 1024
STALL_SECONDS: Final = 20.0
PATIENCE: Final = 3.0
PATIENT_AFTER: Final = 3
ATTEMPTS: Final = 16
"""With their pauses they outlast a service that is away for half a minute."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 4.0
_LOOK_SECONDS: Final = 0.2
"""How often a pause looks whether what it is for is over."""


@dataclass(frozen=True)
class Request:
    """`path` is below /agent/v1; `timeout` in seconds is for each wait on the socket at first."""

    method: str
    path: str
    body: bytes = b""
    kind: str = JSON
    limit: int = MAX_ANSWER
    timeout: float = STALL_SECONDS


class Link:
    """Carries requests to one service. Safe to use from several threads.

    `pace` holds how many bytes of bodies may be sent a second. Messages are charged to it and never wait,
    since they carry heartbeats and commits; what sends much waits by itself (`app.agent.daemon.service`).
    """

    def __init__(
        self, endpoint: Endpoint, stop: Stop, credential: str = "", attempts: int = ATTEMPTS
    ) -> None:
        self.endpoint = endpoint
        self.pace = TokenBucket()
        self._stop = stop
        self._credential = credential
        self._attempts = attempts
        self._mine = threading.local()
        self._open: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connection in tuple(self._open):
                connection.close()
            self._open.clear()

    def interrupt(self) -> None:
        """Make whatever waits on a connection fail now. Does not block; for signal handlers."""
        for connection in tuple(self._open):
            shut_down(connection)

    def send(self, request: Request, attempts: int | None = None) -> bytes:
        """The body of the answer. Raises LinkError, Refusal, Denied, Stopped."""
        most = attempts or self._attempts
        stalls = 0
        for attempt in range(1, most + 1):
            try:
                return self._send_fresh_if_stale(request)
            except LinkRefused:
                raise
            except LinkError as error:
                self._stop.check()
                if attempt == most:
                    raise
                stalls += isinstance(error.__cause__, TimeoutError)
                if stalls == PATIENT_AFTER:
                    request = more_patient(request)
                self.pause(attempt, asked_pause(error))
        raise AssertionError("unreachable")

    def is_stopped(self) -> bool:
        """Whether the agent was told to stop."""
        return self._stop.is_set

    def pause(self, attempt: int, at_least: float = 0.0, is_over: IsOver | None = None) -> None:
        """Wait before attempt number `attempt` + 1. Raises Stopped, also when `is_over` holds meanwhile."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))
        ends = time.monotonic() + max(at_least, longest * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        while (left := ends - time.monotonic()) > 0:
            self._stop.wait(left if is_over is None else min(left, _LOOK_SECONDS))
            self._stop.check()
            if is_over is not None and is_over():
                raise stopped()

    def headers(self, kind: str) -> Mapping[str, str]:
        """The headers of every request."""
        found = {version.HEADER: str(version.VERSION), "Content-Type": kind, "Accept": "*/*"}
        if self._credential:
            found["Authorization"] = f"Bearer {self._credential}"
        return found

    def path(self, path: str) -> str:
        """A path below the service's agent API."""
        return f"{self.endpoint.path}/agent/v1{path}"

    def _send_fresh_if_stale(self, request: Request) -> bytes:
        kept = self._take_kept()
        if kept is not None:
            try:
                return self._send_on(kept, request)
            except LinkError as error:
                if not isinstance(error.__cause__, (ConnectionError, http.client.RemoteDisconnected)):
                    raise
                self._stop.check()
        return self._send_on(self.open_connection(), request)

    def _take_kept(self) -> http.client.HTTPConnection | None:
        """This thread's connection, if it has one on which the next answer will be its own."""
        kept: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        self._mine.connection = None
        if kept is None or (kept.sock is not None and is_quiet(kept.sock)):
            return kept
        self.discard(kept)
        return None

    def _send_on(self, connection: http.client.HTTPConnection, request: Request) -> bytes:
        is_reusable = False
        try:
            with translated(self.endpoint):
                if connection.sock is None:
                    raise ConnectionAbortedError("it was closed by another thread")
                connection.sock.settimeout(request.timeout)
                self._write(connection, request)
                response = connection.getresponse()
                try:
                    return read_answer(response, request.limit)
                finally:
                    is_reusable = response.isclosed() and connection.sock is not None
        finally:
            self._keep(connection) if is_reusable else self.discard(connection)

    def _write(self, connection: http.client.HTTPConnection, request: Request) -> None:
        if request.kind == JSON:
            self.pace.charge(len(request.body))
        connection.putrequest(request.method, self.path(request.path), skip_accept_encoding=True)
        for name, value in self.headers(request.kind).items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders()
        send_all(connection.sock, request.body)

    def open_connection(self) -> http.client.HTTPConnection:
        """A new connection that `interrupt` knows of; hand it back with `discard`. Raises LinkError."""
        connection = connect(self.endpoint)
        with self._lock:
            self._open.add(connection)
        return connection

    def discard(self, connection: http.client.HTTPConnection) -> None:
        """Close a connection for good."""
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        self._mine.connection = connection


def more_patient(request: Request) -> Request:
    """The request for attempts after several that timed out."""
    return replace(request, timeout=max(request.timeout, STALL_SECONDS * PATIENCE))
