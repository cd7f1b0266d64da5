"""Rounds in which a program is stopped over a whole checkpoint that another one makes, then goes on.

What it was about to write counts for nothing: the root stays, it is told so by 409, and it recovers by itself
or says by name why it does not.
"""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app.contract.resources.checkpoint import Checkpoint
from tests.e2e.deployment import until
from tests.e2e.replica import head_of
from tests.e2e.source_host import SourceHost
from tests.faults.process.ledger import Ledger
from tests.faults.process.orders import Order, OrderBook
from tests.faults.process.rig import Agent, Rig
from tests.faults.process.shapes import ZOMBIE
from tests.faults.process.stream_proxy import StreamProxy

STRIKE_SECONDS = 60.0
TAKEOVER_SECONDS = 30.0
STALE_SECONDS = 2.0
"""How long the root is watched after a zombie went on."""


def is_stopped(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process stands still by a signal."""
    if process.poll() is not None:
        return False
    status = Path(f"/proc/{process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


@contextmanager
def stopped(process: "subprocess.Popen[bytes]", order: Order, orders: OrderBook) -> Iterator[None]:
    """The process, which has the order, stands still while the block runs, and goes on in any case."""
    try:
        until(lambda: is_stopped(process), STRIKE_SECONDS, f"stopped at {order}")
        yield
    finally:
        orders.withdraw()
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)


def copy_of(rig: Rig) -> SourceHost:
    """A copy of the host's agent: the same credential, another instance, under no fire."""
    state = rig.folder / "copy"
    shutil.copytree(rig.host.state, state)
    extra = {
        **rig.host.extra,
        **OrderBook(rig.folder / "copy.order").environment,
        **Ledger(rig.folder / "copy.ledger").environment,
    }
    return replace(rig.host, state=state, extra=extra)


def take_over(rig: Rig, host: SourceHost) -> Checkpoint:
    """Another instance makes a checkpoint as soon as the zombie's lease has ended; it is the head."""
    until(
        lambda: host.attempt("run", "--once").returncode == 0, TAKEOVER_SECONDS, "a takeover after the lease"
    )
    return head_of(rig.deployment, rig.server)


def stop_daemon(rig: Rig, point: str, nth: int = 1) -> tuple[Agent, Order]:
    """A daemon that will stop at the point, its disk having changed."""
    rig.change(16, blocks=4)
    order = Order(point, nth, signal.SIGSTOP)
    rig.agent_orders.give(order)
    return rig.start_agent("--once"), order


def haunt_as_daemon(rig: Rig, point: str, nth: int = 1) -> None:
    """The daemon stops at a point, a copy of it takes over and ends; the daemon goes on and recovers."""
    agent, order = stop_daemon(rig, point, nth)
    with stopped(agent.process, order, rig.agent_orders):
        rig.change(8)
        other = take_over(rig, copy_of(rig))
    assert agent.wait() == 0, agent.tail()
    head = head_of(rig.deployment, rig.server)
    assert (head.number, head.generation > other.generation) == (other.number + 1, True)
    shutil.rmtree(rig.folder / "copy")


def haunt_beside_a_live_one(rig: Rig, point: str, nth: int = 1) -> str:
    """The daemon stops at a point, a copy takes over and lives on: the daemon ends; what it said."""
    agent, order = stop_daemon(rig, point, nth)
    host = copy_of(rig)
    with stopped(agent.process, order, rig.agent_orders):
        rig.change(8)
        take_over(rig, host)
        live = replace(rig, host=host, agents=[]).start_agent()
        rig.agents.append(live)
        before = head_of(rig.deployment, rig.server).number
        until(lambda: head_of(rig.deployment, rig.server).number > before, TAKEOVER_SECONDS, "the copy lives")
    assert agent.wait() == 1, agent.tail()
    rig.assert_replicated(2)
    live.process.terminate()
    assert live.wait() == 0, live.tail()
    shutil.rmtree(host.state)
    return agent.tail()


def haunt_as_gateway(rig: Rig, proxy: StreamProxy, point: str, nth: int = 1) -> list[int]:
    """A gateway stops at a point of a replication; another one ends that, and makes one more; then the first
    goes on. Returns the statuses of the commits that it answered since."""
    zombie = rig.deployment.processes[ZOMBIE]
    proxy.retarget(rig.deployment.ports[ZOMBIE])
    answered = len(commits_answered(rig))
    rig.change(16, blocks=4)
    order = Order(point, nth, signal.SIGSTOP)
    rig.service_orders.give(order)
    agent = rig.start_agent("--once")
    with stopped(zombie, order, rig.service_orders):
        proxy.retarget(rig.deployment.ports["all"])
        assert agent.wait() == 0, agent.tail()
        rig.assert_replicated(2)
        rig.change(8)
        assert rig.start_agent("--once").wait() == 0
        head = head_of(rig.deployment, rig.server)
    time.sleep(STALE_SECONDS)
    assert head_of(rig.deployment, rig.server) == head
    rig.assert_replicated(1)
    proxy.retarget(rig.deployment.ports[ZOMBIE])
    told = commits_answered(rig)[answered:]
    rig.change(4)
    assert rig.start_agent("--once").wait() == 0
    rig.assert_replicated(0)
    return told


def commits_answered(rig: Rig, process: str = ZOMBIE) -> list[int]:
    """The statuses with which a process of the service answered commits, in order."""
    return [status for path, status in session_answers(rig, process) if path.endswith("/commit")]


def session_answers(rig: Rig, process: str) -> list[tuple[str, int]]:
    """(path, status) of what a process of the service answered within sessions, in order."""
    found = []
    for line in (rig.deployment.folder / f"{process}.log").read_text().splitlines():
        said = json.loads(line) if line.startswith("{") else {}
        if said.get("message") == "http.request" and "/sessions/" in said["url"]["path"]:
            found.append((said["url"]["path"], int(said["http"]["response"]["status_code"])))
    return found
