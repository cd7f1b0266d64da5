"""The hold over the agent tier: an order wakes a poll, and an agent speaks for its own server only."""

import threading
from collections.abc import Iterator

import pytest

from app.kit.database import UnitOfWork
from app.migration.hold import service as holds
from app.migration.hold.states import Hold
from app.wire.hold import HoldReport
from app.wire.jsonform import encode
from app.wire.messages import Enroll, Enrolled, Inventory, Poll, Polled
from tests.gateway.hand_agent import Answer, Caller, HandAgent
from tests.hold.held_host import Center, center


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    """The service."""
    with center(tmp_path_factory.mktemp("gateway") / "service") as made:
        yield made


def enrolled(running: Center) -> HandAgent:
    """A new agent."""
    message = Enroll(running.install_token(), "instance-1", "1.0", Inventory("host"))
    port = running.listening.port
    made = Caller(port).call("POST", "/enroll", encode(message)).good(Enrolled, 201)
    return HandAgent(Caller(port, made.credential), made.server_id)


def poll(agent: HandAgent, seconds: int = 0) -> Polled:
    """A heartbeat."""
    return agent.caller.call("POST", "/poll", encode(Poll(agent.instance, "idle", seconds))).good(Polled)


def report(agent: HandAgent, cutover: str, said: HoldReport) -> Answer:
    """The agent's report."""
    return agent.caller.call("POST", f"/holds/{cutover}/report", encode(said))


def quiesce(running: Center, agent: HandAgent) -> None:
    """What a cutover does."""
    running.work(lambda uow: holds.quiesce(uow, agent.server, "cut-1", 60))


def stands(running: Center, agent: HandAgent) -> Hold:
    """How the hold stands."""

    async def look(uow: UnitOfWork) -> Hold:
        return await holds.standing(uow, agent.server, "cut-1")

    return running.work(look)


def test_an_agent_is_told_nothing_new_as_long_as_nothing_is_held(running: Center) -> None:
    """So an agent that knows no holds goes on working."""
    agent = enrolled(running)
    answer = agent.caller.call("POST", "/poll", encode(Poll(agent.instance, "idle")))
    assert answer.status == 200
    assert b'"hold"' not in answer.body


def test_an_order_wakes_a_poll_that_waits_and_its_report_is_taken(running: Center) -> None:
    agent = enrolled(running)
    asking = threading.Timer(0.3, quiesce, (running, agent))
    asking.start()
    order = poll(agent, 30).orders.hold
    asking.join()
    assert order is not None
    assert (order.cutover, order.phase, order.seconds) == ("cut-1", "QUIESCED", 60)
    said = HoldReport(order.revision, "QUIESCED", "NO_HOOK")
    for _ in range(2):
        assert report(agent, "cut-1", said).status == 204
    found = stands(running, agent)
    assert (found.reached, found.services, found.is_source_active) == ("QUIESCED", "NO_HOOK", True)


def test_an_agent_reports_of_its_own_server_only(running: Center) -> None:
    agent, other = enrolled(running), enrolled(running)
    quiesce(running, agent)
    assert report(other, "cut-1", HoldReport(1, "QUIESCED")).refusal == (404, "HOLD_NOT_FOUND")
    assert report(HandAgent(Caller(running.listening.port), ""), "cut-1", HoldReport(1)).status == 401
    assert stands(running, agent).reached is None


def test_a_report_that_cannot_be_true_is_refused_by_name(running: Center) -> None:
    agent = enrolled(running)
    quiesce(running, agent)
    assert report(agent, "cut-1", HoldReport(1, "HELD")).refusal == (409, "HOLD_REPORT_REFUSED")
    assert report(agent, "cut-1", HoldReport(1, "ASLEEP")).refusal == (422, "BAD_HOLD_REPORT")
