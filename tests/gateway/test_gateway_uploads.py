"""Bodies of puts, received without uvicorn's parser: frames, refusals and connections are as by its way."""

import random
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256

import pytest

from app.agent.gateway import intake
from app.wire.chunks import KIB, MIB
from app.wire.codec import Codec
from app.wire.frames import ChunkRecord, FrameReader, encode_chunks, encode_end
from tests.faults.process.certificates import Pinned
from tests.gateway import upload_server as serving
from tests.gateway.upload_server import Answers, UploadServer, upload_server

SOURCE = random.Random(5)
END = b"".join(encode_end())
ECHO = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nping"


def head(session: str = "one", coding: bytes = b"Transfer-Encoding: chunked") -> bytes:
    """The head of a put."""
    return b"POST /sessions/%b/put HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % (session.encode(), coding)


def stream(*sizes: int) -> bytes:
    """Frames of one chunk of each of these sizes, and the end."""
    records = [ChunkRecord(SOURCE.randbytes(32), Codec.NONE, size, SOURCE.randbytes(size)) for size in sizes]
    return b"".join(part for record in records for part in encode_chunks([record])) + END


def chunked(data: bytes, *sizes: int) -> bytes:
    """The data in chunks of HTTP of these sizes, again and again; a single one without sizes."""
    body, at, turn = [], 0, 0
    while at < len(data):
        piece = data[at : at + (sizes[turn % len(sizes)] if sizes else len(data))]
        body.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at, turn = at + len(piece), turn + 1
    return b"".join(body) + b"0\r\n\r\n"


def expected(data: bytes) -> list[list[object]]:
    """What the application says of the frames of this stream."""
    frames = FrameReader().feed(data)
    return [[frame.type.name, frame.count, sha256(frame.payload).hexdigest()] for frame in frames]


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UploadServer]:
    """The running server, once on uvloop and once with TLS on asyncio's loop, as the service chooses them."""
    certificate = Pinned.make(tmp_path_factory.mktemp("tls")) if request.param == "tls" else None
    with upload_server(certificate) as running:
        yield running


@pytest.fixture
def caller(server: UploadServer) -> Iterator[Answers]:
    """A connection of the test's own."""
    with closing(Answers(server.connect())) as made:
        yield made


@pytest.mark.parametrize(
    "sizes", [(), (1,), (7, 100_000), (16 * KIB,), (64 * KIB - 1, 64 * KIB, 64 * KIB + 1), (MIB,)]
)
def test_frames_are_the_same_however_http_cuts_them(caller: Answers, sizes: tuple[int, ...]) -> None:
    data = stream(1, 50_000) if sizes == (1,) else stream(1, 100, MIB, 2 * MIB, 64 * KIB, 3 * MIB)
    caller.send(head() + chunked(data, *sizes))
    answer = caller.next()
    assert answer.said == {"way": "upload", "frames": expected(data)}


def test_frames_are_the_same_however_the_network_cuts_them(caller: Answers) -> None:
    data = stream(1, 300, 200_000)
    body = chunked(data, 5, 1000, 90_000)
    caller.send(head())
    at = 0
    while at < len(body):
        step = SOURCE.choice([1, 2, 3, 50, 5000, 70_000])
        caller.send(body[at : at + step])
        at += step
    assert caller.next().said == {"way": "upload", "frames": expected(data)}


@pytest.mark.parametrize("cut", [1, 20, -5, -1])
def test_a_head_that_comes_in_parts_goes_uvicorns_way(caller: Answers, cut: int) -> None:
    data = stream(300, MIB)
    whole = head()
    caller.send(whole[:cut])
    time.sleep(0.5)
    caller.send(whole[cut:] + chunked(data, 1000))
    assert caller.next().said == {"way": "uvicorn", "frames": expected(data)}


def test_a_body_of_declared_length_goes_uvicorns_way(caller: Answers) -> None:
    data = stream(300, MIB)
    caller.send(head(coding=b"Content-Length: %d" % len(data)) + data)
    assert caller.next().said == {"way": "uvicorn", "frames": expected(data)}


def test_one_connection_serves_puts_and_others_in_turns(caller: Answers) -> None:
    for _ in range(3):
        data = stream(MIB, 5)
        caller.send(head() + chunked(data, 300_000))
        assert caller.next().said == {"way": "upload", "frames": expected(data)}
        caller.send(ECHO)
        assert caller.next().body == b"ping"


def test_requests_that_follow_at_once_are_answered_in_their_order(caller: Answers) -> None:
    data = stream(MIB, 5)
    caller.send(head() + chunked(data) + ECHO + head() + chunked(data, 9999) + ECHO)
    said = [caller.next().body for _ in range(4)]
    assert said[1::2] == [b"ping", b"ping"]
    assert said[0].endswith(b"]}")
    assert [answer.count(b"CHUNKS") for answer in (said[0], said[2])] == [2, 2]


def test_what_nobody_reads_is_passed_over_after_the_refusal(caller: Answers) -> None:
    for _ in range(2):
        caller.send(head("refused") + chunked(stream(3 * MIB, 5, 2 * MIB), 400_000))
        assert caller.next().status == 403
    caller.send(ECHO)
    assert caller.next().body == b"ping"


def test_a_bad_frame_is_refused_after_those_before_it_and_the_connection_goes_on(caller: Answers) -> None:
    good = stream(MIB, 70_000)[: -len(END)]
    caller.send(head() + chunked(good + b"nonsense" * 500_000, 100_000))
    assert caller.next().said == {"code": "BAD_FRAME", "frames": expected(good)}
    caller.send(ECHO)
    assert caller.next().body == b"ping"


def test_a_body_that_grows_too_large_is_refused(caller: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST", MIB)
    caller.send(head() + chunked(stream(3 * MIB), 400_000))
    assert caller.next().said == {"code": "TOO_LARGE", "frames": []}
    caller.send(ECHO)
    assert caller.next().body == b"ping"


@pytest.mark.parametrize("before", [b"", b"%x\r\n%b\r\n" % (len(END), END)])
def test_after_bad_chunking_the_connection_ends(caller: Answers, before: bytes) -> None:
    caller.send(head() + before + b"nonsense\r\n" + ECHO)
    answer = caller.next()
    assert (answer.said["code"], answer.closes) == ("BAD_FRAME", True)
    assert caller.at_end()


def test_bad_chunking_after_a_refusal_ends_the_connection(caller: Answers) -> None:
    caller.send(head("refused"))
    assert caller.next().status == 403
    caller.send(b"5\r\nabcde\r\nnonsense\r\n" + ECHO)
    assert caller.at_end()


def test_a_sender_that_goes_away_is_noticed(server: UploadServer) -> None:
    for sent in (b"", chunked(stream(MIB))[:70], chunked(stream(2 * MIB))[:MIB]):
        with server.connect() as connection:
            connection.sendall(head() + sent)
            time.sleep(0.1)
        assert server.reading.disconnected.acquire(timeout=10)


def test_a_slow_sender_is_not_taken_for_one_that_stands_still(
    caller: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STALL_SECONDS", 2.0)
    data = stream(100_000)
    body = chunked(data)
    caller.send(head())
    for at in range(0, len(body), 20_000):
        caller.send(body[at : at + 20_000])
        time.sleep(0.6)
    assert caller.next().said == {"way": "upload", "frames": expected(data)}
    caller.send(head() + body[:70_000])
    assert caller.next().said == {"code": "STALLED", "frames": []}


def test_a_sender_waits_for_who_reads(server: UploadServer) -> None:
    server.reading.may_read.clear()
    piece = b"".join(encode_chunks([ChunkRecord(bytes(32), Codec.NONE, 2 * MIB, bytes(2 * MIB))]))
    with server.connect() as connection:
        connection.settimeout(1.5)
        connection.sendall(head())
        with pytest.raises(TimeoutError):
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) * 16)
    server.reading.may_read.set()
    assert server.reading.disconnected.acquire(timeout=10)
