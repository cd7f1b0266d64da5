"""Buckets that answer what they should not, and uploads that end before their end."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from app.launch.bucket.client import PIECE, BucketClient
from app.launch.bucket.settings import BucketSettings
from app.launch.bucket.uploading import Uploading
from app.launch.errors import BucketRefused, BucketUnreachable, LaunchError, LaunchStopped
from app.launch.threads import Stop

CONTENT = bytes(range(256)) * (PIECE // 256) + b"the rest"
REST = CONTENT[PIECE:]
BEGUN = b"<Result><UploadId>up-1</UploadId></Result>"


class Storage(ThreadingHTTPServer):
    """An object of CONTENT, and uploads; `on_part` is the status of a part, GET answers `answers` in turn."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answers: list[tuple[int, bytes, int]] = []
        """Of each GET the status, the bytes before the connection ends, and how many it promises."""
        self.on_part = 200
        self.stop = Stop()
        """Told when a part arrived."""
        self.dropped: list[str] = []
        """The queries of all DELETE."""
        self.asked: list[str] = []
        """The encodings that each GET takes."""


class Request(BaseHTTPRequestHandler):
    server: Storage
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(200, b"", len(CONTENT))

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["accept-encoding"])
        self._answer(*self.server.answers.pop(0))
        self.close_connection = True

    def do_POST(self) -> None:
        self._read()
        self._answer(200, BEGUN)

    def do_PUT(self) -> None:
        self._read()
        self.server.stop.tell()
        self._answer(self.server.on_part, b"")

    def do_DELETE(self) -> None:
        self.server.dropped.append(urlsplit(self.path).query)
        self._answer(204, b"")

    def _read(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))

    def _answer(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the tests' output."""


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def settings(storage: Storage, tmp_path: Path) -> BucketSettings:
    file = tmp_path / "keys"
    file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    endpoint = f"http://127.0.0.1:{storage.server_port}"
    return BucketSettings("images", endpoint=endpoint, credentials_file=file, part_bytes=1 << 20)


def read(settings: BucketSettings) -> bytes:
    with BucketClient(settings) as client:
        return b"".join(client.pieces("x"))


def test_an_object_is_read_to_its_end_though_the_connection_breaks(
    storage: Storage, settings: BucketSettings
) -> None:
    storage.answers = [(200, CONTENT[:-1], len(CONTENT)), (206, REST, len(REST))]
    assert read(settings) == CONTENT
    assert storage.asked == ["identity", "identity"]


def test_answers_without_a_byte_are_not_asked_for_for_ever(
    storage: Storage, settings: BucketSettings
) -> None:
    storage.answers = [(200, CONTENT[:-1], len(CONTENT)), (206, b"", 0)]
    with pytest.raises(BucketUnreachable, match=f"no byte from {PIECE} on, of {len(CONTENT)}"):
        read(settings)


def test_an_answer_from_the_start_is_not_taken_for_the_rest(
    storage: Storage, settings: BucketSettings
) -> None:
    storage.answers = [(206, CONTENT[:-1], len(CONTENT)), (200, CONTENT, len(CONTENT))]
    with pytest.raises(BucketRefused, match=f"asked from {PIECE} on, it is sent whole"):
        read(settings)


@pytest.mark.parametrize(("on_part", "kind"), [(403, BucketRefused), (200, LaunchStopped)])
def test_an_upload_that_fails_or_is_stopped_is_dropped(
    storage: Storage, settings: BucketSettings, tmp_path: Path, on_part: int, kind: type[LaunchError]
) -> None:
    """MinIO lists uploads by their whole key only: nobody would find it later."""
    storage.on_part = on_part
    file = tmp_path / "image.raw"
    file.write_bytes(bytes(3 << 20))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with BucketClient(settings, storage.stop) as client, pytest.raises(kind):
        Uploading(client, file, "x", digest).run()
    assert storage.dropped == ["uploadId=up-1"]
