"""The running loop under orders: pause and stop, also in the middle of a pass, resume, rescan, retry."""

import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.agent.daemon.console import Console
from app.agent.daemon.following.follower import Follower
from app.agent.daemon.hold.journal import Journal
from app.agent.daemon.hold.keeper import Keeper
from app.agent.daemon.hold.ownservices import OwnServices
from app.agent.daemon.hold.reporter import Reporter
from app.agent.daemon.host import Host
from app.agent.daemon.link.endpoint import Endpoint
from app.agent.daemon.link.link import Link
from app.agent.daemon.loop import Daemon, Workers
from app.agent.daemon.preflight.delivery import OnDemand
from app.agent.daemon.preflight.registry import Wanted
from app.agent.daemon.service import Service
from app.agent.daemon.state import StateDir
from app.agent.daemon.status import Board
from app.agent.daemon.stopping import Halt, Paused, Stop
from app.agent.daemon.sync import Synchroniser
from app.agent.daemon.verification.background import Verifications
from app.wire.heartbeat import Orders, Status
from app.wire.messages import Inventory, Polled
from tests.daemon.fake_gateway import CREDENTIAL, FakeGateway

MIB = 1024 * 1024
SECONDS = 30


def wait_for(claim: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < limit, f"nothing happened for {SECONDS} seconds"
        time.sleep(0.02)


class Resting(Synchroniser):
    """A synchroniser that remembers how it was told to rest."""

    rests: list[bool]

    def rest(self, *, tracking: bool) -> None:
        self.rests.append(tracking)


@dataclass
class Agent:
    """The daemon in a thread of the test."""

    gateway: FakeGateway
    daemon: Daemon
    board: Board
    stop: Stop
    synchroniser: Resting
    thread: threading.Thread

    def order(self, orders: Orders, command: str = "none", interval: int = 3600) -> None:
        """What the service wants from now on."""
        self.gateway.polled = Polled(command, 1, interval, orders)

    @property
    def said(self) -> Status:
        """What the agent said last."""
        status = self.gateway.polls[-1].status
        assert status is not None
        return status

    def says(self, activity: str) -> None:
        """Wait until the agent says that it does this."""
        wait_for(lambda: bool(self.gateway.polls) and self.said.activity == activity)


@pytest.fixture
def source(image: Callable[..., Path]) -> Path:
    return image("disk.img", 100 * MIB, (0, random.Random(5).randbytes(96 * MIB)))


@pytest.fixture
def agent(
    gateway: FakeGateway, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Agent]:
    monkeypatch.setattr("app.agent.daemon.link.link._FIRST_PAUSE", 0.01)
    stop = Stop()
    link = Link(Endpoint.parse(gateway.url), stop, CREDENTIAL)
    stop.listen(link.interrupt)
    halt, board, service = Halt(stop), Board(), Service(link)
    console = Console(io.StringIO(), is_terminal=False)
    synchroniser = Resting(
        service, "instance", (str(source),), halt, console, Host(Follower(tmp_path), board=board)
    )
    preflights = OnDemand(link, lambda order: Wanted((str(source),), "0", link, order), stop, console.note)
    verifications = Verifications(link, (str(source),), stop, console.note, lambda _: None)
    synchroniser.rests = []
    answer = gateway.poll

    def poll(*arguments: object) -> Polled:
        time.sleep(0.02)  # the real one waits
        return answer(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gateway, "poll", poll)
    with StateDir(tmp_path / "state") as state:
        hooks = OwnServices(tmp_path / "cutover.d")
        keeper = Keeper(Journal(state.path, tmp_path / "run"), hooks, console.note, stop.set)
        reporter = Reporter(link, keeper, stop, console.note)
        daemon = Daemon(
            service,
            state,
            Workers(synchroniser, preflights, verifications, keeper, reporter),
            console,
            halt,
            board,
            lambda: Inventory("host"),
        )
        thread = threading.Thread(target=daemon.forever, daemon=True)
        made = Agent(gateway, daemon, board, stop, synchroniser, thread)
        made.order(Orders())
        yield made
        stop.set()
        if thread.ident is not None:
            thread.join(SECONDS)
            assert not thread.is_alive()


def test_the_status_goes_with_every_poll(agent: Agent, source: Path) -> None:
    agent.thread.start()
    wait_for(lambda: len(agent.gateway.commits) == 1)
    agent.says("following")
    (disk,) = agent.said.disks
    assert (disk.key, disk.size, disk.seen) == (str(source), 100 * MIB, 100 * MIB)
    assert disk.sent == 96 * MIB
    assert agent.said.rates.read > 0
    first = agent.gateway.polls[0]
    assert first.inventory is not None
    assert first.status is not None
    assert first.status.activity == "starting"


def slowly(gateway: FakeGateway) -> threading.Event:
    """Let every inquiry of a pass take a while; set when the first one came."""
    begun = threading.Event()

    def hook(name: str) -> None:
        if name == "have":
            begun.set()
            time.sleep(1.0)

    gateway.hook = hook
    return begun


@pytest.mark.parametrize(("goal", "tracks"), [("PAUSE", True), ("STOP", False)])
def test_an_order_to_rest_ends_the_pass_that_runs_and_what_it_sent_is_kept(
    agent: Agent, source: Path, goal: str, tracks: bool
) -> None:
    begun = slowly(agent.gateway)
    agent.thread.start()
    assert begun.wait(SECONDS)
    wait_for(lambda: agent.gateway.received > 0)
    agent.order(Orders(goal=goal))
    agent.says("resting")
    assert agent.gateway.commits == []
    assert agent.gateway.puts == agent.gateway.results, "what was on its way was made durable"
    assert agent.gateway.chunks
    assert agent.synchroniser.rests[-1] is tracks
    agent.gateway.hook = lambda _: None
    agent.order(Orders())
    wait_for(lambda: len(agent.gateway.commits) == 1)
    assert agent.gateway.content(str(source)) == source.read_bytes()
    assert agent.gateway.commits[0].disks[0].counters.known > 0


def test_a_resting_agent_polls_and_does_nothing_else(agent: Agent) -> None:
    agent.order(Orders(goal="PAUSE"), command="sync", interval=1)
    agent.thread.start()
    agent.says("resting")
    polls = len(agent.gateway.polls)
    wait_for(lambda: len(agent.gateway.polls) > polls + 10)
    assert (agent.gateway.generation, agent.gateway.commits) == (0, [])


def test_a_stop_of_the_agent_ends_its_rest(agent: Agent) -> None:
    agent.order(Orders(goal="STOP"))
    agent.thread.start()
    agent.says("resting")
    agent.stop.set()
    agent.thread.join(SECONDS)
    assert not agent.thread.is_alive()


def test_a_single_run_of_a_paused_server_says_so(agent: Agent) -> None:
    agent.order(Orders(goal="PAUSE"))
    with pytest.raises(Paused, match="server resume") as caught:
        agent.daemon.once()
    assert caught.value.code == "PAUSED"
    assert agent.gateway.generation == 0


def test_without_an_interval_the_agent_waits_for_a_command(agent: Agent) -> None:
    agent.order(Orders(), interval=0)
    agent.thread.start()
    agent.says("following")
    assert agent.gateway.commits == []
    agent.order(Orders(), command="sync", interval=0)
    wait_for(lambda: len(agent.gateway.commits) >= 1)


def test_a_shorter_interval_counts_at_once(agent: Agent) -> None:
    agent.thread.start()
    wait_for(lambda: len(agent.gateway.commits) == 1)
    agent.order(Orders(), interval=1)
    wait_for(lambda: len(agent.gateway.commits) >= 2)


def test_an_ordered_rescan_is_named_in_open_and_commit_and_done_once(agent: Agent) -> None:
    agent.thread.start()
    wait_for(lambda: len(agent.gateway.commits) == 1)
    agent.order(Orders(rescan="rsc-1"))
    wait_for(lambda: len(agent.gateway.commits) == 2)
    assert [commit.rescan for commit in agent.gateway.commits] == ["", "rsc-1"]
    polls = len(agent.gateway.polls)
    wait_for(lambda: len(agent.gateway.polls) > polls + 10)
    assert len(agent.gateway.commits) == 2


def test_a_failure_is_named_and_a_command_tries_again_at_once(agent: Agent) -> None:
    agent.gateway.faults.store_full = True
    agent.thread.start()
    agent.says("failing")
    assert (agent.said.reason, "STORE_FULL" in agent.said.detail) == ("STORE_FULL", True)
    agent.gateway.faults.store_full = False
    agent.order(Orders(), command="sync")
    wait_for(lambda: len(agent.gateway.commits) >= 1)
    agent.order(Orders())
    agent.says("following")
    assert agent.said.reason == ""
