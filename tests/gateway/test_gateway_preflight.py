"""Reports, sink and source: who may use them, how much, and how often at a time."""

import time

import pytest

from app.client import servers
from app.wire import version
from app.wire.jsonform import encode
from app.wire.messages import Poll, Polled
from app.wire.preflight import Finding, Preflight, SinkResult
from tests.gateway.hand_agent import Answer, Caller, HandAgent, answer, send_piece
from tests.gateway.service import Gateway

MIB = 1 << 20
START = "2026-01-02T03:04:05.678+00:00"
REPORT = Preflight("", START, START, version.VERSION, "1.0")
CALLS = [("POST", "/preflights"), ("POST", "/preflight/sink"), ("GET", "/preflight/source?bytes=0")]


@pytest.fixture
def agent(gateway: Gateway) -> HandAgent:
    """A newly enrolled agent."""
    return gateway.enrolled()


def ordered(agent: HandAgent) -> str:
    """The preflight that the agent is ordered to deliver."""
    beat = encode(Poll(agent.instance, "idle"))
    return agent.caller.call("POST", "/poll", beat).good(Polled).orders.preflight


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_only_an_agent_may_measure(gateway: Gateway, method: str, path: str) -> None:
    for secret in (None, gateway.secrets.api, gateway.secrets.install):
        assert Caller(gateway.port, secret).call(method, path).status == 401


def test_an_order_stands_until_its_report_is_there(gateway: Gateway, agent: HandAgent) -> None:
    assert ordered(agent) == ""
    with gateway.client() as client:
        asked = client.send(servers.request_preflight(agent.server))
        assert client.send(servers.request_preflight(agent.server)).id == asked.id
        assert [ordered(agent), ordered(agent)] == [asked.id, asked.id]
        report = encode(Preflight(asked.id, START, START, version.VERSION, "1.0"))
        for _ in range(2):
            assert agent.caller.call("POST", "/preflights", report).status == 204
        assert ordered(agent) == ""
        found = client.send(servers.preflight(agent.server))
        assert (found.id, found.state) == (asked.id, "SUCCEEDED")
        assert found.verdict is not None


def test_a_report_of_its_own_accord_is_kept_once(gateway: Gateway, agent: HandAgent) -> None:
    for _ in range(3):
        assert agent.caller.call("POST", "/preflights", encode(REPORT)).status == 204
    with gateway.client() as client:
        (found,) = client.every(servers.preflights(agent.server))
    assert found.state == "SUCCEEDED"


def test_an_order_of_another_server_does_not_exist(gateway: Gateway, agent: HandAgent) -> None:
    with gateway.client() as client:
        asked = client.send(servers.request_preflight(agent.server))
    stolen = encode(Preflight(asked.id, START, START, version.VERSION, "1.0"))
    refused = gateway.enrolled().caller.call("POST", "/preflights", stolen)
    assert refused.refusal == (404, "PREFLIGHT_NOT_FOUND")
    assert ordered(agent) == asked.id


@pytest.mark.parametrize(
    "report",
    [
        Preflight("", "yesterday", START, 1, ""),
        Preflight("", START, "2026-01-02T03:04:05", 1, ""),
        Preflight("", START, START, 1, "", findings=(Finding("X", "fatal", "", ""),)),
        Preflight("", START, START, 1, "", findings=(Finding("X", "note", "", ""),) * 501),
    ],
)
def test_an_impossible_report_is_refused(agent: HandAgent, report: Preflight) -> None:
    assert agent.caller.call("POST", "/preflights", encode(report)).refusal == (422, "BAD_PREFLIGHT")


def test_a_report_is_of_bounded_size(agent: HandAgent) -> None:
    assert agent.caller.call("POST", "/preflights", b" " * (MIB + 1)).refusal == (413, "TOO_LARGE")
    assert agent.caller.call("POST", "/preflights", b"{}").refusal == (400, "BAD_MESSAGE")


def test_old_reports_are_forgotten(gateway: Gateway, agent: HandAgent) -> None:
    for number in range(25):
        report = Preflight("", f"2026-01-02T03:04:{number:02}+00:00", START, version.VERSION, "1.0")
        assert agent.caller.call("POST", "/preflights", encode(report)).status == 204
    with gateway.client() as client:
        assert len(list(client.every(servers.preflights(agent.server)))) == 20


def test_the_sink_says_how_much_came(agent: HandAgent) -> None:
    pieces = [b"x" * MIB] * 8
    result = agent.caller.call("POST", "/preflight/sink", pieces).good(SinkResult)
    assert result.received == 8 * MIB
    assert result.elapsed_us > 0
    assert agent.caller.call("POST", "/preflight/sink", b"").good(SinkResult) == SinkResult(0, 0)


def test_the_sink_takes_no_more_than_its_size(agent: HandAgent) -> None:
    connection = agent.caller.begin("/preflight/sink")
    for _ in range(64):
        send_piece(connection, b"x" * MIB)
    send_piece(connection, b"x")
    send_piece(connection, b"")
    assert answer(connection).refusal == (413, "TOO_LARGE")
    connection.close()


def test_the_sink_answers_by_itself_when_its_time_is_over(agent: HandAgent) -> None:
    connection = agent.caller.begin("/preflight/sink")
    sent = 0
    end = time.monotonic() + 8
    while time.monotonic() < end:
        send_piece(connection, b"x" * 1000)
        sent += 1000
        time.sleep(0.05)
    result = answer(connection).good(SinkResult)
    assert 0 < result.received < sent
    assert result.elapsed_us > 5_000_000
    connection.close()


def test_the_source_gives_what_was_asked_for_and_no_more_than_its_size(agent: HandAgent) -> None:
    assert agent.caller.call("GET", "/preflight/source?bytes=0").body == b""
    given = agent.caller.call("GET", f"/preflight/source?bytes={5 * MIB + 3}").body
    assert len(given) == 5 * MIB + 3
    assert len({given[at : at + 64] for at in range(0, 4 * MIB, 64)}) > 65_000
    for wrong in (f"bytes={64 * MIB + 1}", "bytes=-1", "bytes=x", ""):
        assert agent.caller.call("GET", f"/preflight/source?{wrong}").refusal == (422, "INVALID")


def test_a_server_measures_once_at_a_time(gateway: Gateway, agent: HandAgent) -> None:
    held = agent.caller.begin("/preflight/sink")
    send_piece(held, b"x")
    refused = until_busy(agent.caller)
    assert refused.headers["Retry-After"] == "5"
    assert agent.caller.call("GET", "/preflight/source?bytes=1").status == 429
    assert agent.caller.call("GET", "/preflight/source?bytes=0").status == 200
    assert gateway.enrolled().caller.call("POST", "/preflight/sink", b"x").status == 200
    send_piece(held, b"")
    assert answer(held).status == 200
    assert agent.caller.call("POST", "/preflight/sink", b"x").status == 200
    held.close()


def until_busy(caller: Caller) -> Answer:
    """The refusal, once the request before has been taken up."""
    deadline = time.monotonic() + 20
    while True:
        refused = caller.call("POST", "/preflight/sink", b"x")
        if refused.status == 429:
            assert refused.refusal == (429, "MEASUREMENT_RUNNING")
            return refused
        assert time.monotonic() < deadline, "nobody was busy"


def test_a_client_that_goes_away_gives_its_turn_back(agent: HandAgent) -> None:
    for path in ("/preflight/sink", "/preflight/source"):
        held = agent.caller.begin("/preflight/sink") if path.endswith("sink") else agent.caller.connect()
        if path.endswith("source"):
            held.request("GET", f"/agent/v1{path}?bytes={64 * MIB}", headers=agent.caller.headers())
        else:
            send_piece(held, b"x")
        held.close()
        deadline = time.monotonic() + 30
        while agent.caller.call("POST", "/preflight/sink", b"x").status != 200:
            assert time.monotonic() < deadline, "the turn was not given back"
            time.sleep(0.05)
