"""Rounds in which a program is killed: at a named point, or at a moment that only the seed knows."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

from app.store.findings import FindingKind
from tests.e2e.deployment import until
from tests.e2e.source_host import SourceHost
from tests.faults.process.orders import Order
from tests.faults.process.rig import Rig
from tests.faults.process.seams import OFTEN

STRIKE_SECONDS = 90.0
VICTIMS = ("agent", "service", "both")


@dataclass(frozen=True)
class Change:
    """What a round writes to the disk: whole chunks, and single blocks in others."""

    chunks: int
    blocks: int = 4


def service_order(point: str, rng: random.Random) -> Order:
    """An order for the service at a point; those that come often are struck at one of many times."""
    return Order(point, rng.randint(1, 6) if point.partition(".")[0] in OFTEN else 1)


def agent_order(point: str, rng: random.Random) -> Order:
    """An order for the agent at a point."""
    return Order(point, rng.randint(1, 4) if point.startswith("put.write") else 1)


def kill_service_at(rig: Rig, order: Order, change: Change) -> bool:
    """A round in which the service dies at the order's point; whether it came there."""
    rig.change(change.chunks, change.blocks)
    rig.service_orders.give(order)
    agent = rig.start_agent("--once")
    until(lambda: rig.service_is_dead() or agent.has_ended, STRIKE_SECONDS, f"{order} or the agent's end")
    is_struck = rig.service_is_dead()
    rig.service_orders.withdraw()
    if is_struck:
        rig.restart_service()
    rig.finish(agent)
    rig.assert_replicated(int(is_struck))
    return is_struck


def kill_agent_at(rig: Rig, order: Order, change: Change) -> bool:
    """A round in which the agent dies at the order's point; whether it came there."""
    rig.change(change.chunks, change.blocks)
    rig.agent_orders.give(order)
    agent = rig.start_agent("--once")
    code = agent.wait()
    rig.agent_orders.withdraw()
    assert code in (0, -9), f"the agent ended with {code}: {agent.tail()}"
    if code:
        rig.finish(agent)
    rig.assert_replicated(1 if code else 0)
    return code != 0


def kill_at_random(rig: Rig, change: Change, longest: float, victims: str) -> None:
    """A round in which service, agent or both (that is what `victims` says) die some time within `longest`
    seconds."""
    rig.change(change.chunks, change.blocks)
    agent = rig.start_agent("--once")
    time.sleep(rig.rng.uniform(0.2, longest))
    if victims != "service" and not agent.has_ended:
        agent.process.kill()
    if victims != "agent":
        for process in rig.deployment.processes.values():
            process.kill()
            process.wait()
        rig.restart_service()
    rig.finish(agent)
    rig.assert_replicated(2 if victims == "both" else 1)


def end_service(rig: Rig) -> None:
    """Kill the service and check what it leaves; every checkpoint that an agent knows of has its marker."""
    for process in rig.deployment.processes.values():
        process.kill()
        process.wait()
    rig.bury_service()
    unmarked = [item for item in rig.check().findings if item.kind is FindingKind.CHECKPOINT_UNMARKED]
    assert not unmarked, f"acknowledged and not marked: {[str(item) for item in unmarked]}"


def newcomer(rig: Rig, folder: Path) -> SourceHost:
    """Another agent on the rig's host, which obeys the same orders and is not enrolled yet."""
    return replace(rig.host, state=folder / "newcomer")
