"""Heartbeats and orders over the agent tier: what is refused, what wakes a poll, what the session shows."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from app.client import replication, servers
from app.contract.resources.replication import Replication
from app.contract.resources.server import ServerUpdate
from app.contract.words import ReplicationOperation, ReplicationState
from app.wire.heartbeat import DiskStatus, Orders, Status
from app.wire.jsonform import encode
from app.wire.messages import Poll, Polled, Release
from tests.gateway.conftest import NEW, OLD
from tests.gateway.hand_agent import Answer, HandAgent, shown
from tests.gateway.service import Gateway

DISK = DiskStatus("disk-a", 100, 100, 50, 1, 2, backlog=7)


def status(activity: str, **changed: object) -> Status:
    """What an agent says now."""
    said = Status(activity, datetime.now(UTC).isoformat(), disks=(DISK,))
    return replace(said, **changed)  # type: ignore[arg-type]


def poll(agent: HandAgent, said: Status | None, seconds: int = 0) -> Answer:
    """A heartbeat with a status."""
    return agent.caller.call("POST", "/poll", encode(Poll(agent.instance, "idle", seconds, status=said)))


def order(gateway: Gateway, agent: HandAgent, operation: ReplicationOperation) -> None:
    """What an operator does."""
    with gateway.client() as client:
        client.send(replication.order(agent.server, operation))


def stands(gateway: Gateway, agent: HandAgent) -> Replication:
    """What an operator sees."""
    with gateway.client() as client:
        return client.send(replication.get(agent.server))


def test_a_status_becomes_the_standing_of_the_server(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    assert poll(agent, status("copying")).good(Polled).orders == Orders()
    found = stands(gateway, agent)
    assert (found.state, found.activity, found.backlog_bytes) == (ReplicationState.INITIAL_SYNC, "copying", 7)
    assert abs(found.clock_skew_ms or 0) < 2000


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        (status("dreaming"), "UNKNOWN_ACTIVITY", "dreaming"),
        (status("failing", reason="BECAUSE"), "UNKNOWN_REASON", "BECAUSE"),
        (replace(status("copying"), clock="yesterday"), "BAD_CLOCK", "yesterday"),
    ],
)
def test_a_word_that_is_not_known_is_refused_by_name_and_nothing_counts(
    gateway: Gateway, said: Status, code: str, word: str
) -> None:
    agent = gateway.enrolled()
    poll(agent, status("copying"))
    before = stands(gateway, agent)
    answer = poll(agent, said)
    assert answer.refusal == (400, code)
    assert word in answer.problem["detail"]
    assert stands(gateway, agent) == before


WAKING = MappingProxyType(
    {
        "PAUSE": ("goal", ReplicationOperation.PAUSE),
        "rescan": ("rescan", ReplicationOperation.RESCAN),
    }
)


@pytest.mark.parametrize("name", WAKING)
def test_an_order_wakes_a_poll_that_waits(gateway: Gateway, name: str) -> None:
    field, operation = WAKING[name]
    agent = gateway.enrolled()
    asking = threading.Timer(0.3, order, (gateway, agent, operation))
    asking.start()
    started = time.monotonic()
    told = poll(agent, status("following"), 30).good(Polled)
    asking.join()
    assert 0.2 < time.monotonic() - started < 15
    assert getattr(told.orders, field) not in ("", "RUN")
    assert told.command == "none"


def test_an_interval_and_a_rate_wake_a_poll_that_waits(gateway: Gateway) -> None:
    agent = gateway.enrolled()

    def change() -> None:
        with gateway.client() as client:
            body = ServerUpdate.model_validate({"checkpointInterval": "PT30S", "wireRate": 1 << 20})
            client.send(servers.update(agent.server, shown(client, agent.server).version, body))

    asking = threading.Timer(0.3, change)
    asking.start()
    told = poll(agent, status("following"), 30).good(Polled)
    asking.join()
    assert (told.sync_interval_seconds, told.orders.wire_rate) == (30, 1 << 20)
    started = time.monotonic()
    assert poll(agent, status("following"), 3).good(Polled) == told
    assert time.monotonic() - started > 2.5, "what is known already wakes nobody"


def test_orders_come_with_a_heartbeat_during_a_pass(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    order(gateway, agent, ReplicationOperation.STOP)
    assert poll(agent, status("copying")).good(Polled).orders.goal == "STOP"
    assert poll(agent, status("resting")).good(Polled).orders.goal == "STOP"
    assert stands(gateway, agent).state is ReplicationState.STOPPED


def test_an_agent_without_a_status_is_judged_by_its_sessions(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    agent.open({"disk-a": len(OLD["disk-a"])})
    assert stands(gateway, agent).state is ReplicationState.INITIAL_SYNC
    agent.replicate(OLD)
    assert stands(gateway, agent).state is ReplicationState.CONTINUOUS
    agent.open({"disk-a": len(OLD["disk-a"])})
    assert stands(gateway, agent).state is ReplicationState.RESCAN


def test_what_the_agent_says_is_not_overruled_by_its_sessions(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    agent.replicate(OLD)
    poll(agent, status("cutting"))
    agent.replicate(NEW)
    assert stands(gateway, agent).state is ReplicationState.CREATING_SNAPSHOT


def test_an_agent_that_says_good_bye_is_stopped(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    poll(agent, status("following"))
    agent.caller.call("POST", "/release", encode(Release("another")))
    assert stands(gateway, agent).state is not ReplicationState.STOPPED
    agent.caller.call("POST", "/release", encode(Release(agent.instance)))
    found = stands(gateway, agent)
    assert (found.state, found.reason) == (ReplicationState.STOPPED, None)
    gateway.end_lease(agent.server)
    assert stands(gateway, agent).state is ReplicationState.DISCONNECTED, "its lease was put back and ended"
