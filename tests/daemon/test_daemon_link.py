"""The connection: whom it trusts, what it repeats, and what it never reads."""

import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol

import pytest
import trustme

from app.agent.daemon.errors import Denied, LinkError, LinkRefused, Refusal, UsageError
from app.agent.daemon.following.follower import Follower
from app.agent.daemon.host import Host
from app.agent.daemon.link.connection import send_all
from app.agent.daemon.link.endpoint import Endpoint, Proxy, split_token
from app.agent.daemon.link.link import Link, Request
from app.agent.daemon.service import Service
from app.agent.daemon.stopping import Stop, Stopped
from app.agent.daemon.sync import Observer, Synchroniser
from app.wire import version
from app.wire.messages import Poll
from tests.daemon.fake_gateway import CREDENTIAL, FakeGateway
from tests.daemon.fake_server import serve

POLL = Poll("instance", "idle")


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.agent.daemon.link.link._FIRST_PAUSE", 0.01)


@pytest.fixture
def certificate() -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


def fingerprint_of(certificate: trustme.LeafCert) -> str:
    pem = certificate.cert_chain_pems[0].bytes().decode()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.fixture
def tls_gateway(certificate: trustme.LeafCert) -> Iterator[FakeGateway]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    made = FakeGateway()
    server = serve(made, context)
    yield made
    server.shutdown()
    server.server_close()


class Connect(Protocol):
    def __call__(
        self,
        url: str,
        *,
        stop: Stop | None = None,
        credential: str = CREDENTIAL,
        attempts: int = 6,
        fingerprint: str = "",
        proxy: str = "",
    ) -> Service: ...


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[Link] = []

    def make(
        url: str,
        *,
        stop: Stop | None = None,
        credential: str = CREDENTIAL,
        attempts: int = 6,
        fingerprint: str = "",
        proxy: str = "",
    ) -> Service:
        endpoint = Endpoint.parse(url, fingerprint=fingerprint, proxy=proxy)
        made.append(Link(endpoint, stop or Stop(), credential, attempts))
        return Service(made[-1])

    yield make
    for link in made:
        link.close()


def test_a_pinned_certificate_needs_no_authority(
    connect: Connect, tls_gateway: FakeGateway, certificate: trustme.LeafCert
) -> None:
    service = connect(tls_gateway.url, fingerprint=fingerprint_of(certificate))
    assert service.poll(POLL).command == "none"


def test_another_certificate_than_the_pinned_one_gets_not_a_byte(
    connect: Connect, tls_gateway: FakeGateway
) -> None:
    service = connect(tls_gateway.url, fingerprint="ab" * 32)
    with pytest.raises(LinkRefused) as caught:
        service.poll(POLL)
    assert caught.value.code == "CERTIFICATE_NOT_PINNED"
    assert tls_gateway.polls == []


def test_an_unknown_authority_is_not_trusted(connect: Connect, tls_gateway: FakeGateway) -> None:
    with pytest.raises(LinkRefused) as caught:
        connect(tls_gateway.url).poll(POLL)
    assert caught.value.code == "CERTIFICATE_NOT_TRUSTED"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_plain_http_is_for_loopback(host: str) -> None:
    assert not Endpoint.parse(f"http://{host}:8088").is_tls


def test_plain_http_beyond_loopback_must_be_allowed_by_name() -> None:
    with pytest.raises(LinkRefused) as caught:
        Endpoint.parse("http://10.0.0.1:8088")
    assert caught.value.code == "PLAIN_HTTP_REFUSED"
    assert Endpoint.parse("http://10.0.0.1:8088", allow_plain_http=True).port == 8088


@pytest.mark.parametrize(
    "url", ["ftp://host", "host", "https://", "https://h:99999", "https://u@h", "http://[::"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Endpoint.parse(url)


def test_a_token_carries_the_fingerprint_behind_a_dot() -> None:
    colons = ":".join(["AB"] * 32)
    assert split_token(" g2i_x \n") == ("g2i_x", "")
    assert split_token("g2i_x." + "ab" * 32) == ("g2i_x", "ab" * 32)
    assert split_token("g2i_x." + colons) == ("g2i_x", "ab" * 32)
    with pytest.raises(UsageError, match="fingerprint"):
        split_token("g2i_x.abab")


def test_a_connection_that_went_stale_is_replaced_at_once(connect: Connect, gateway: FakeGateway) -> None:
    service = connect(gateway.url)
    service.poll(POLL)
    (kept,) = service.link._open
    kept.sock.shutdown(socket.SHUT_RDWR)
    assert service.poll(POLL).command == "none"


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    connect: Connect, gateway: FakeGateway
) -> None:
    service = connect(gateway.url)
    service.poll(POLL)
    (kept,) = service.link._open
    near, far = socket.socketpair()
    kept.sock.close()
    kept.sock = near
    far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert service.poll(POLL).command == "none"
    far.close()


def test_a_service_that_was_away_is_found_again(connect: Connect) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as url:
        service = connect(url)
        service.link.send(Request("GET", "/x"))
        time.sleep(0.1)  # it hangs up behind its answer
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("app.agent.daemon.link.link.connect", refused)
            with pytest.raises(LinkError):
                service.link.send(Request("GET", "/x"), attempts=1)
        assert service.link.send(Request("GET", "/x")) == b"{}"


def refused(_endpoint: Endpoint) -> NoReturn:
    raise LinkError("connection refused")


def test_a_connection_on_which_nothing_moves_is_given_up_and_later_attempts_are_more_patient(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agent.daemon.link.link.STALL_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        service = connect(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        waits: list[float | None] = []
        monkeypatch.setattr(service.link, "pause", lambda *_: None)
        monkeypatch.setattr(service.link, "discard", lambda made: waits.append(made.sock.gettimeout()))
        with pytest.raises(LinkError) as caught:
            service.link.send(Request("GET", "/x", timeout=0.1), 5)
    assert caught.value.code == "SERVICE_TIMEOUT"
    assert waits == pytest.approx([0.1, 0.1, 0.1, 0.3, 0.3])


def test_a_slow_link_is_not_a_dead_one() -> None:
    near, far = socket.socketpair()
    near.settimeout(0.5)
    data = bytes(8 << 20)
    reader = threading.Thread(target=read_slowly, args=(far, len(data)))
    reader.start()
    send_all(near, data)
    reader.join()
    near.close()
    far.close()


def read_slowly(source: socket.socket, wanted: int) -> None:
    while wanted > 0:
        time.sleep(0.02)
        wanted -= len(source.recv(128 * 1024))


def test_a_busy_service_is_asked_again_and_a_refusal_is_not_repeated(
    connect: Connect, gateway: FakeGateway
) -> None:
    service = connect(gateway.url)
    gateway.faults.busy_answers = 3
    service.poll(POLL)
    gateway.faults.duplicate = True
    with pytest.raises(Refusal, match="another instance of srv-1 is alive; stop it") as caught:
        service.poll(POLL)
    assert (caught.value.code, len(gateway.polls)) == ("DUPLICATE_AGENT", 2)


def test_a_wrong_credential_is_denied(connect: Connect, gateway: FakeGateway) -> None:
    with pytest.raises(Denied) as caught:
        connect(gateway.url, credential="wrong").poll(POLL)
    assert (caught.value.exit_code, caught.value.code) == (4, "CREDENTIAL_INVALID")


def test_a_service_that_speaks_another_version_says_so(
    connect: Connect, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = connect(gateway.url)
    monkeypatch.setattr(Link, "headers", lambda self, kind: {version.HEADER: "2"})
    with pytest.raises(Refusal) as caught:
        service.poll(POLL)
    assert caught.value.code == "UNSUPPORTED_PROTOCOL_VERSION"


def _take_request(connection: socket.socket) -> None:
    """Read a whole request: to hang up before would reset the connection, and the answer with it."""
    head, end, body = b"", -1, 0
    while end < 0 or len(head) < end + body:
        piece = connection.recv(65536)
        if not piece:
            return
        head += piece
        if end < 0 and b"\r\n\r\n" in head:
            end = head.index(b"\r\n\r\n") + 4
            length = re.search(rb"(?i)content-length: (\d+)", head[:end])
            body = int(length[1]) if length else 0


@contextmanager
def answering(raw: bytes, held: float = 0.0) -> Iterator[str]:
    """The URL of a server that answers every request with these bytes and hangs up `held` seconds later."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            connection, _ = listener.accept()
            with connection:
                _take_request(connection)
                connection.sendall(raw)
                over.wait(held)

    thread = threading.Thread(target=work)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        over.set()
        with socket.create_connection(("127.0.0.1", port)) as last:
            last.shutdown(socket.SHUT_WR)
            thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html></h", "BAD_ANSWER"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "BAD_ANSWER"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "BAD_ANSWER"),
        (b"garbage\r\n\r\n", "SERVICE_UNREACHABLE"),
        (b"", "SERVICE_UNREACHABLE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "ANSWER_CUT_OFF"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 2000, "ANSWER_TOO_LONG"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"command": 17}', "BAD_ANSWER"),
    ],
)
def test_answers_that_make_no_sense_are_named(connect: Connect, raw: bytes, code: str) -> None:
    with answering(raw) as url:
        service = connect(url, attempts=1)
        asked = partial(service.link.send, Request("GET", "/x", limit=1000))
        with pytest.raises(LinkError) as caught:
            asked() if b"9999" in raw else service.poll(POLL)
    assert caught.value.code == code


def test_no_service_at_all_is_a_timeout_for_scripts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(LinkError) as caught:
        Link(Endpoint.parse(f"http://127.0.0.1:{port}"), Stop(), attempts=2).send(Request("GET", "/x"))
    assert caught.value.exit_code == 5


def test_the_stop_ends_a_long_poll(connect: Connect) -> None:
    stop = Stop()
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", held=30) as url:
        service = connect(url, stop=stop)
        stop.listen(service.link.interrupt)
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(Stopped):
            service.poll(Poll("instance", "idle", 50))


def test_a_proxy_is_asked_to_connect(
    connect: Connect, tls_gateway: FakeGateway, certificate: trustme.LeafCert
) -> None:
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=relay_once, args=(listener, seen), daemon=True).start()
    url = f"http://user:p%40ss@127.0.0.1:{listener.getsockname()[1]}"
    service = connect(tls_gateway.url, fingerprint=fingerprint_of(certificate), proxy=url)
    assert service.poll(POLL).command == "none"
    listener.close()
    assert seen[0].startswith(b"CONNECT 127.0.0.1:")
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz" in seen[0]


def relay_once(listener: socket.socket, seen: list[bytes]) -> None:
    near, _ = listener.accept()
    seen.append(near.recv(65536))
    host, port = seen[0].split()[1].decode().split(":")
    far = socket.create_connection((host, int(port)))
    near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    back = threading.Thread(target=pump, args=(far, near), daemon=True)
    back.start()
    pump(near, far)
    back.join()
    near.close()
    far.close()


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("url", ["https://proxy:1", "proxy:3128", "http://", "http://p:x"])
def test_a_proxy_has_a_url(url: str) -> None:
    with pytest.raises(UsageError, match="proxy"):
        Proxy.parse(url)


def test_replication_over_tls(
    connect: Connect, tls_gateway: FakeGateway, certificate: trustme.LeafCert, image: Callable[..., Path]
) -> None:
    path = image("disk.img", 5 * 1024 * 1024, (0, b"data" * 100_000))
    service = connect(tls_gateway.url, fingerprint=fingerprint_of(certificate))
    Synchroniser(service, "instance", (str(path),), Stop(), Observer(), Host(Follower(path.parent))).run()
    assert tls_gateway.content(str(path)) == path.read_bytes()
