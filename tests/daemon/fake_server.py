"""HTTP around a FakeGateway: routes, chunked bodies, TLS, and connections that are dropped on purpose."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.wire import version
from app.wire.chunks import ID_BYTES
from app.wire.frames import FrameReader
from app.wire.jsonform import decode, encode
from app.wire.messages import Commit, Enroll, Open, Poll
from tests.daemon.fake_gateway import CREDENTIAL, FakeGateway, Ingest, Problem


class Cut(Exception):
    """The connection is dropped without an answer."""


class Handler(BaseHTTPRequestHandler):
    """HTTP around a FakeGateway."""

    protocol_version = "HTTP/1.1"
    gateway: FakeGateway

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def _answer(self) -> None:
        try:
            self._require_headers()
            self._reply(200, self._route(urlsplit(self.path).path.removeprefix("/agent/v1")))
        except Problem as problem:
            self.close_connection = True
            self._reply(problem.status, json.dumps(problem.document).encode(), "application/problem+json")
        except Cut:
            self.close_connection = True
            self.connection.close()

    def _require_headers(self) -> None:
        if self.headers[version.HEADER] != str(version.VERSION):
            raise Problem(400, "UNSUPPORTED_PROTOCOL_VERSION", "this version is not spoken")
        authorised = self.headers["Authorization"] == f"Bearer {CREDENTIAL}"
        if not authorised and not self.path.endswith("/enroll"):
            raise Problem(401, "CREDENTIAL_INVALID", "the credential is unknown", remedy="enrol again")
        if self.gateway.faults.take("busy_answers"):
            raise Problem(503, "UNAVAILABLE", "the database is away")

    def _route(self, path: str) -> bytes:
        gateway = self.gateway
        parts = path.strip("/").split("/")
        if parts == ["enroll"]:
            return encode(gateway.enroll(decode(Enroll, self._body())))
        if parts == ["poll"]:
            return encode(gateway.poll(decode(Poll, self._body())))
        if parts == ["release"]:
            self._body()
            gateway.releases += 1
            return b""
        if parts == ["sessions"]:
            return encode(gateway.open(decode(Open, self._body())))
        if parts[1] != f"ses-{gateway.generation}":
            raise Problem(409, "FENCED", "a newer session exists")
        return self._session(parts[2:])

    def _session(self, parts: list[str]) -> bytes:
        gateway = self.gateway
        gateway.hook(parts[0])
        if parts[0] == "disks":
            query = parse_qs(urlsplit(self.path).query)
            return gateway.base_leaves(parts[1], int(query["start"][0]), int(query["count"][0]))
        if parts == ["put"]:
            return self._put()
        if parts == ["commit"]:
            message = decode(Commit, self._body())
            committed = gateway.commit(message)
            if gateway.faults.take("unanswered_commits"):
                raise Cut
            return encode(committed)
        ids = self._ids()
        return gateway.have(ids) if parts == ["have"] else gateway.signatures(ids)

    def _put(self) -> bytes:
        gateway = self.gateway
        gateway.put_times.append(time.monotonic())
        if gateway.faults.take("busy_puts"):
            raise Problem(503, "UNAVAILABLE", "the store is slow")
        if gateway.faults.store_full:
            raise Problem(507, "STORE_FULL", "the store is full", remedy="add space")
        gateway.puts += 1
        cut, refuse = gateway.faults.take("cut_puts"), gateway.faults.take("refuse_puts")
        ingest, reader = Ingest(gateway), FrameReader()
        for piece in self._pieces():
            gateway.received += len(piece)
            for frame in reader.feed(piece):
                if cut:
                    raise Cut
                if refuse:
                    raise Problem(400, "BAD_FRAME", "this is not a frame")
                ingest.accept(frame)
        reader.finish()
        if cut:
            raise Cut
        if gateway.faults.long_answer:
            return b" " * (64 << 20)
        gateway.results += 1
        return encode(ingest.result())

    def _pieces(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def _ids(self) -> list[bytes]:
        data = self._body()
        return [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]

    def _reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 503 and self.gateway.faults.retry_after:
            self.send_header("Retry-After", str(self.gateway.faults.retry_after))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A dropped connection is part of the tests."""


def serve(gateway: FakeGateway, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    """Serve on a free loopback port; shut the returned server down when done."""
    handler = type("BoundHandler", (Handler,), {"gateway": gateway})
    server = _Server(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    gateway.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
