"""What a seed decides before the first step: disks, contents, agents and how they work, what is likely."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from tests.faults.protocol.agent import Options
from tests.faults.protocol.words import LEAF_WIDTH

VALUES: Final = {"A": (0, 1, 2, 3, 4), "B": (0, 1, 2)}
MANY_VALUES: Final = {"A": (1, 2, 3, 4, 5, 6, 7), "B": (0, 1, 2)}
SECRETS: Final = (3, 4)
"""Contents that only server A ever holds."""

LIKELY: Final = {
    "agent": 60.0,
    "deliver": 60.0,
    "task": 80.0,
    "answer": 60.0,
    "write": 1.5,
    "land": 4.0,
    "timeout": 0.5,
    "drop": 0.4,
    "lose": 0.4,
    "duplicate": 0.5,
    "cut": 1.0,
    "collect": 0.25,
    "crash": 0.05,
    "kill": 0.15,
    "start": 0.4,
    "stop": 0.2,
    "resume": 0.4,
    "tick": 0.35,
    "flush": 0.2,
    "dead_man": 0.3,
    "overrun": 0.15,
    "boot": 1.0,
    "heartbeat": 0.4,
}
"""Weight of each kind of action."""

MOODS: Final[tuple[dict[str, float], ...]] = (
    {},
    {"collect": 4.0, "tick": 4.0, "write": 0.6},
    {"timeout": 3.0, "duplicate": 5.0, "drop": 2.0, "lose": 3.0},
    {"stop": 4.0, "resume": 2.0, "start": 3.0, "tick": 2.0},
    {"crash": 5.0, "kill": 3.0, "flush": 0.0},
    {"collect": 5.0, "tick": 5.0, "stop": 2.0, "kill": 3.0, "timeout": 2.0},
    {"collect": 9.0, "tick": 8.0, "write": 3.0, "land": 3.0, "stop": 0.2, "kill": 0.2, "start": 0.1},
)
"""Factors on the weights: a run leans towards one family of faults."""
PATCHY: Final = len(MOODS) - 1
"""The mood in which agents send patches and large packs die one by one."""

GENTLE: Final = frozenset(
    ("agent", "deliver", "task", "answer", "write", "land", "collect", "start", "resume", "boot", "heartbeat")
)
"""What is no fault."""


@dataclass(frozen=True)
class AgentPlan:
    """An agent process: it belongs to a server, claims an instance, and runs from the start or not."""

    name: str
    server: str
    instance: str
    options: Options
    runs: bool = True


@dataclass(frozen=True)
class Scenario:
    """`shape`: for each server the leaves of its disks; `values`: what is written there; `weights` by kind of
    action, `speeds` by lane: some lanes creep while others run.
    """

    seed: int
    shape: Mapping[str, tuple[int, ...]]
    values: dict[str, tuple[int, ...]]
    initial: Mapping[str, tuple[int, ...]]
    agents: tuple[AgentPlan, ...]
    weights: dict[str, float]
    speeds: tuple[float, ...]
    packs_are_small: bool


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = Random(seed)
    is_patchy = seed % len(MOODS) == PATCHY
    shape: dict[str, tuple[int, ...]] = {
        "A": (1,) if is_patchy else chance.choice(((1,), (2,), (1, 1), (2, 1))),
        "B": (1,),
    }
    values = MANY_VALUES if is_patchy else VALUES
    initial = {name: _contents(chance, values[name], sum(leaves)) for name, leaves in shape.items()}
    clones = chance.random() < 0.3
    agents: tuple[AgentPlan, ...] = (
        AgentPlan("a1", "A", "one", _options(chance, is_patchy)),
        AgentPlan("a2", "A", "one" if clones else "two", _options(chance, is_patchy), runs=False),
        AgentPlan("b1", "B", "bee", _options(chance, is_patchy, SECRETS if chance.random() < 0.4 else ())),
    )
    if seed // len(MOODS) % 3 == 2:
        agents = tuple(replace(plan, options=replace(plan.options, is_sparse=True)) for plan in agents)
    mood = MOODS[seed % len(MOODS)]
    weights = {kind: weight * mood.get(kind, 1.0) for kind, weight in LIKELY.items()}
    speeds = tuple(chance.choice((0.3, 1.0, 1.0, 3.0)) for _ in range(len(agents) + 1))
    if is_patchy:
        speeds = (3.0, 0.3, 0.5, 3.0)
    return Scenario(
        seed, shape, values, initial, agents, weights, speeds, not is_patchy and chance.random() < 0.7
    )


def _contents(chance: Random, values: tuple[int, ...], leaves: int) -> tuple[int, ...]:
    return tuple(chance.choice(values) for _ in range(leaves * LEAF_WIDTH))


def _options(chance: Random, is_patchy: bool, steals: tuple[int, ...] = ()) -> Options:
    tracked = is_patchy or chance.random() < 0.7
    return Options(
        is_tracked=tracked,
        freezes=tracked and chance.random() < 0.5,
        rounds=chance.choice((1, 2)) if tracked else 1,
        stays=not is_patchy and chance.random() < 0.5,
        patches=is_patchy or chance.random() < 0.6,
        steals=steals,
    )
