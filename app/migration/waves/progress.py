"""How a run stands and what it may begin now: pure, out of its turns and what is known of each server.

The step that leads a run and everybody who looks at it use the same function, so that a summary cannot say
anything else than what the run does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from app.contract.wavewords import RunServerState
from app.migration.waves.ordering import Turn

S = RunServerState

DONE: Final = frozenset((S.SUCCEEDED, S.UNCHANGED))
BAD: Final = frozenset((S.FAILED, S.CANCELLED, S.REFUSED, S.SKIPPED))
COUNTED: Final = frozenset((S.FAILED, S.REFUSED))
"""What counts towards the failures that stop a run."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Why nothing more is begun."""

    code: str
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds a run back: servers at once, and the failures that stop it (None: none do)."""

    at_once: int
    stop_after: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How each server stands, why some are skipped, and which are to be begun now, in their order."""

    states: Mapping[str, RunServerState]
    skipped: Mapping[str, Halt] = field(default_factory=lambda: MappingProxyType({}))
    begin: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[RunServerState]:
        """How many servers stand in each state."""
        return Counter(self.states.values())

    @property
    def running(self) -> int:
        """How many have a job that is not over."""
        return self.counts[S.RUNNING]

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.running and not self.counts[S.WAITING]

    @property
    def is_good(self) -> bool:
        """Whether all is done."""
        return all(state in DONE for state in self.states.values())


def look(
    turns: Sequence[Turn],
    known: Mapping[str, RunServerState],
    bounds: Bounds,
    halt: Halt | None = None,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Standing:
    """How a run stands; `known` are the servers that were begun or refused, all others wait.

    `turns` stand in their order, each behind all that it comes after.
    """
    halt = halt or _stopped(known, bounds)
    states: dict[str, RunServerState] = {}
    skipped: dict[str, Halt] = {}
    for turn in turns:
        state = known.get(turn.server_id, S.WAITING)
        if state is S.WAITING:
            why = _kept_back(turn, states, names) or halt
            if why is not None:
                skipped[turn.server_id], state = why, S.SKIPPED
        states[turn.server_id] = state
    return Standing(states, skipped, _to_begin(turns, states, bounds))


def _stopped(known: Mapping[str, RunServerState], bounds: Bounds) -> Halt | None:
    failures = sum(state in COUNTED for state in known.values())
    if bounds.stop_after is None or failures < bounds.stop_after:
        return None
    return Halt(
        "TOO_MANY_FAILURES",
        f"the run stopped, since {failures} failed and it stops after {bounds.stop_after}",
        "remove the causes, then retry the run",
    )


def _kept_back(turn: Turn, states: Mapping[str, RunServerState], names: Mapping[str, str]) -> Halt | None:
    """Why a server is not begun because of those before it; the first of them in their order is named."""
    bad = next((each for each, state in states.items() if each in turn.after and state in BAD), None)
    if bad is None:
        return None
    return Halt(
        "COMES_AFTER_FAILED",
        f"it comes after {names.get(bad, bad)}, which is {states[bad]}",
        f"see to {names.get(bad, bad)} first, then retry the run",
    )


def _to_begin(turns: Sequence[Turn], states: Mapping[str, RunServerState], bounds: Bounds) -> tuple[str, ...]:
    room = max(bounds.at_once - sum(state is S.RUNNING for state in states.values()), 0)
    ready = (
        turn.server_id
        for turn in turns
        if states[turn.server_id] is S.WAITING and all(states[each] in DONE for each in turn.after)
    )
    return tuple(ready)[:room]
