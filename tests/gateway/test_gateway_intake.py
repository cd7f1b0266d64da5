"""Bodies: bounded before they are held, given up when nothing comes, and taken for nothing else."""

import json
import socket

import pytest

from app.agent.gateway import intake
from app.wire.chunks import MIB
from app.wire.jsonform import encode
from app.wire.messages import MAX_HAVE, Enroll, Inventory, Poll
from tests.gateway.hand_agent import WIRE, Caller, HandAgent, answer, send_piece
from tests.gateway.service import Gateway

SMALL_BODIES = {"/enroll": 4 * MIB, "/poll": 4 * MIB, "/release": 64 * 1024, "/sessions": 4 * MIB}


@pytest.mark.parametrize(("path", "most"), SMALL_BODIES.items())
def test_a_body_that_declares_too_much_is_refused_unread(steady: HandAgent, path: str, most: int) -> None:
    connection = steady.caller.connect()
    connection.putrequest("POST", f"/agent/v1{path}")
    for name, value in steady.caller.headers().items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(most + 1))
    connection.endheaders()
    refused = answer(connection)
    connection.close()
    assert refused.refusal == (413, "TOO_LARGE")
    assert str(most) in refused.problem["detail"]


@pytest.mark.parametrize(("path", "most"), SMALL_BODIES.items())
def test_a_body_that_grows_too_large_is_refused_while_it_comes(
    steady: HandAgent, path: str, most: int
) -> None:
    refused = steady.caller.call("POST", path, (bytes(most // 4 + 1) for _ in range(5)))
    assert refused.refusal == (413, "TOO_LARGE")


def test_an_agent_that_hangs_up_within_its_request_is_no_error_of_the_service(
    steady: HandAgent, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        connection = steady.caller.begin("/poll")
        send_piece(connection, b"{")
        connection.close()
    assert steady.caller.call("POST", "/poll", encode(Poll("instance-1", "idle"))).status == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("rest", ["/have", "/signatures"])
def test_a_list_of_ids_is_whole_and_short(steady: HandAgent, rest: str) -> None:
    for length in (1, 31, 33, 32 * MAX_HAVE - 1):
        refused = steady.caller.call("POST", steady.path(rest), bytes(length))
        assert refused.refusal == (400, "BAD_MESSAGE")
    assert steady.caller.call("POST", steady.path(rest), bytes(32 * MAX_HAVE + 32)).refusal == (
        413,
        "TOO_LARGE",
    )
    assert steady.caller.call("POST", steady.path(rest), [bytes(32 * MAX_HAVE), b"x"]).refusal == (
        413,
        "TOO_LARGE",
    )
    assert steady.caller.call("POST", steady.path(rest), bytes(32 * MAX_HAVE)).status == 200
    assert steady.caller.call("POST", steady.path(rest), b"").body == b""


@pytest.mark.parametrize(
    "query", ["", "start=0", "start=-1&count=1", "start=0&count=0", "start=0&count=65", "start=x&count=1"]
)
def test_leaves_are_asked_for_within_the_limits(steady: HandAgent, query: str) -> None:
    path = steady.path(f"/disks/{steady.session.disks[0].disk_id}/leaves?{query}")
    assert steady.caller.call("GET", path).refusal == (422, "INVALID")


def test_leaves_beyond_the_end_are_zeros(steady: HandAgent) -> None:
    path = steady.path(f"/disks/{steady.session.disks[0].disk_id}/leaves?start={10**30}&count=1")
    assert steady.caller.call("GET", path).body == bytes(32 * 1024)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"instance": "i"}',
        b'{"instance": "i", "state": 7}',
        b'{"instance": "i", "state": "idle", "wait_seconds": -5}',
        b'{"instance": "i", "state": "idle", "wait_seconds": 1e3}',
        b'{"instance": "i", "state": "idle", "wait_seconds": 99999999999999999999}',
        b'{"instance": "\\ud800", "state": "idle"}',
        b'{"instance": "i", "instance": "j", "state": "idle"}',
        b'{"instance": "i", "state": "idle", "surplus": true}',
        json.dumps({"instance": "i" * 201, "state": "idle"}).encode(),
    ],
    ids=range(14),
)
def test_a_message_of_another_form_is_refused_by_name(steady: HandAgent, body: bytes) -> None:
    assert steady.caller.call("POST", "/poll", body).refusal == (400, "BAD_MESSAGE")


def test_a_large_message_is_read_too(gateway: Gateway) -> None:
    inventory = Inventory("large", warnings=tuple("w" * 1000 for _ in range(1000)))
    message = Enroll(gateway.secrets.install, "instance-1", "1.0", inventory)
    assert Caller(gateway.port).call("POST", "/enroll", encode(message)).status == 201


def test_a_body_that_stands_still_is_given_up(steady: HandAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "STALL_SECONDS", 0.3)
    for path in ("/poll", steady.path("/put")):
        connection = steady.caller.begin(path)
        send_piece(connection, b"g2")
        refused = answer(connection)
        connection.close()
        assert refused.refusal == (400, "STALLED")
        assert refused.problem["remedy"] == "send it again"


def test_a_slow_body_is_not_a_stalled_one(steady: HandAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "STALL_SECONDS", 1.0)
    connection = steady.caller.begin("/poll")
    for byte in encode(Poll(steady.instance, "idle")):
        send_piece(connection, bytes([byte]))
    send_piece(connection, b"")
    assert answer(connection).status == 200
    connection.close()


@pytest.mark.parametrize(
    "request_line",
    [
        b"POST /agent/v1/poll HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /agent/v1/poll HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /agent/v1/poll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(gateway: Gateway, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as plain:
        plain.sendall(request_line)
        assert plain.recv(100).startswith(b"HTTP/1.1 400 ")


def test_there_is_nothing_else(gateway: Gateway) -> None:
    caller = Caller(gateway.port)
    assert caller.call("GET", "/enroll").refusal == (405, "METHOD_NOT_ALLOWED")
    assert caller.call("POST", "/nothing").refusal == (404, "NOT_FOUND")
    assert WIRE == {"G2C-Wire": "1"}
