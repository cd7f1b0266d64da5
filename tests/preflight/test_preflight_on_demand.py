"""Orders of the service, carried out beside the daemon's loop and out of a pass's way."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.preflight.delivery import OnDemand
from app.agent.daemon.preflight.registry import Wanted
from app.agent.daemon.stopping import Stop
from app.client import servers
from app.wire.jsonform import encode
from app.wire.messages import Poll, Polled
from tests.gateway.hand_agent import HandAgent
from tests.gateway.service import Gateway


class Bench:
    """An enrolled agent whose preflights observe for an hour, if nobody is in a hurry."""

    def __init__(self, gateway: Gateway, agent: HandAgent, disk: Path) -> None:
        self.gateway = gateway
        self.agent = agent
        self.stop = Stop()
        self.notes: list[str] = []
        self.begun: list[str] = []
        self.link = Link(
            Endpoint.parse(f"http://127.0.0.1:{gateway.port}"), self.stop, agent.caller.credential or ""
        )
        self.disk = disk
        self.on_demand = OnDemand(self.link, self._wanted, self.stop, self.notes.append)

    def _wanted(self, order: str) -> Wanted:
        self.begun.append(order)
        return Wanted((str(self.disk),), "1.0", self.link, order, seconds=3600)

    def order(self) -> str:
        """Ask for a preflight; its id."""
        with self.gateway.client() as client:
            return client.send(servers.request_preflight(self.agent.server)).id

    def standing(self) -> str:
        """The order as the agent's polls say it."""
        beat = encode(Poll(self.agent.instance, "idle"))
        return self.agent.caller.call("POST", "/poll", beat).good(Polled).orders.preflight


@pytest.fixture
def bench(measured_gateway: Gateway, tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "disk.img").write_bytes(b"x" * (1 << 20))
    made = Bench(measured_gateway, measured_gateway.enrolled(), tmp_path / "disk.img")
    yield made
    made.stop.set()
    made.on_demand.end()
    made.link.close()


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "nothing happened for 30 seconds"
        time.sleep(0.02)


def test_a_pass_cuts_an_observation_short_and_finds_the_report_delivered(bench: Bench) -> None:
    order = bench.order()
    bench.on_demand.see(order)
    until(lambda: bench.begun == [order])
    bench.on_demand.see(order)
    assert bench.standing() == order
    bench.on_demand.settle()
    assert bench.standing() == ""
    assert (bench.begun, bench.notes) == ([order], [])


def test_an_order_that_was_carried_out_is_not_repeated(bench: Bench) -> None:
    order = bench.order()
    for _ in range(2):
        bench.on_demand.see(order)
        bench.on_demand.settle()
    bench.on_demand.see("")
    assert bench.begun == [order]
    another = bench.order()
    bench.on_demand.see(another)
    bench.on_demand.settle()
    assert (bench.begun, bench.standing()) == ([order, another], "")


def test_an_order_that_the_service_does_not_know_is_told_and_dropped(bench: Bench) -> None:
    for _ in range(2):
        bench.on_demand.see("pfl-unknown")
        bench.on_demand.settle()
    assert bench.begun == ["pfl-unknown"]
    (note,) = bench.notes
    assert "PREFLIGHT" not in note
    assert "pfl-unknown" in note


def test_a_stop_ends_a_preflight_at_once(bench: Bench) -> None:
    order = bench.order()
    bench.on_demand.see(order)
    until(lambda: bench.begun == [order])
    bench.stop.set()
    bench.on_demand.end()
    assert bench.on_demand._thread is not None
    assert not bench.on_demand._thread.is_alive()
    assert bench.standing() == order
    assert bench.notes == []
