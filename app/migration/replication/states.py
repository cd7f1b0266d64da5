"""How replication of a server stands, as pure tables: what follows from goal, agent, head and lease.

A standing is derived anew with each heartbeat and kept in the server's row; nothing else writes it. What the
agent says counts as long as it holds its lease; a pass that does not get on, or falls behind for long, is
named by the service, which sees it over many heartbeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from app.contract.words import (
    AgentActivity,
    LifecycleState,
    ReplicationGoal,
    ReplicationOperation,
    ReplicationReason,
    ReplicationState,
)

A = AgentActivity
S = ReplicationState
G = ReplicationGoal
O = ReplicationOperation  # noqa: E741  (reads as a table below)


class Lease(Enum):
    """Whether the agent is there: it holds its lease, fell silent, or said good-bye (or was never there)."""

    HELD = "held"
    LOST = "lost"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Standing:
    """What replication does, and why where that needs saying."""

    state: ReplicationState
    reason: ReplicationReason | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a server's replication.

    `is_close`: the lag is within twice the checkpoint interval. `is_moving`: the pass got on lately.
    `is_diverging`: for long now more is written than can be sent.
    """

    goal: ReplicationGoal
    activity: AgentActivity
    reason: ReplicationReason | None
    has_head: bool
    lease: Lease = Lease.HELD
    is_close: bool = False
    is_moving: bool = True
    is_diverging: bool = False


BY_ACTIVITY: Final[Mapping[tuple[AgentActivity, bool], ReplicationState]] = MappingProxyType(
    {
        (A.STARTING, False): S.INITIATING,
        (A.STARTING, True): S.INITIATING,
        (A.COPYING, False): S.INITIAL_SYNC,
        (A.COPYING, True): S.RESCAN,
        (A.RESCANNING, False): S.INITIAL_SYNC,
        (A.RESCANNING, True): S.RESCAN,
        (A.CATCHING_UP, False): S.INITIAL_SYNC,
        (A.CATCHING_UP, True): S.BACKLOG,
        (A.CUTTING, False): S.CREATING_SNAPSHOT,
        (A.CUTTING, True): S.CREATING_SNAPSHOT,
        (A.FOLLOWING, False): S.INITIATING,
        (A.FOLLOWING, True): S.CONTINUOUS,
        (A.FAILING, False): S.STALLED,
        (A.FAILING, True): S.STALLED,
    }
)
"""The state by (activity, whether there is a head). A whole pass over disks with a replica is a rescan."""

AT_REST: Final[Mapping[ReplicationGoal, ReplicationState]] = MappingProxyType(
    {G.RUN: S.PAUSED, G.PAUSE: S.PAUSED, G.STOP: S.STOPPED}
)
"""The state of an agent that rests, by goal; with RUN it has not heard of it yet."""

PASSING: Final = frozenset({A.COPYING, A.RESCANNING, A.CATCHING_UP})
"""Activities that must get on."""

FAILING: Final = frozenset({S.STALLED, S.DISCONNECTED})
"""States in which nothing is replicated although it should be."""

_ABSENT: Final[Mapping[Lease, Standing]] = MappingProxyType(
    {
        Lease.LOST: Standing(S.DISCONNECTED, ReplicationReason.AGENT_NOT_SEEN),
        Lease.RELEASED: Standing(S.STOPPED),
    }
)


def standing(seen: Seen) -> Standing:
    """How replication stands."""
    if seen.lease is not Lease.HELD:
        return _ABSENT[seen.lease]
    if seen.activity is A.RESTING:
        return Standing(AT_REST[seen.goal])
    state = BY_ACTIVITY[seen.activity, seen.has_head]
    if state is S.STALLED or (seen.activity in PASSING and not seen.is_moving):
        fallback = ReplicationReason.NO_PROGRESS
        return Standing(S.STALLED, seen.reason if state is S.STALLED and seen.reason else fallback)
    if state is S.BACKLOG and seen.is_close:
        return Standing(S.CONTINUOUS, seen.reason)
    if state is S.BACKLOG and seen.is_diverging:
        return Standing(S.BACKLOG, seen.reason or ReplicationReason.NOT_CONVERGING)
    return Standing(state, seen.reason)


def shown(kept: Standing, lease: Lease) -> Standing:
    """The standing that was kept at the last heartbeat, as it is now."""
    return kept if lease is Lease.HELD else _ABSENT[lease]


ALLOWED: Final[Mapping[ReplicationGoal, tuple[ReplicationOperation, ...]]] = MappingProxyType(
    {
        G.RUN: (O.PAUSE, O.STOP, O.SYNC, O.RESCAN, O.RETRY),
        G.PAUSE: (O.RESUME, O.STOP),
        G.STOP: (O.RESUME,),
    }
)
"""What may be ordered, by goal; RETRY only of what is stalled."""

GOALS: Final[Mapping[ReplicationOperation, ReplicationGoal]] = MappingProxyType(
    {O.PAUSE: G.PAUSE, O.RESUME: G.RUN, O.STOP: G.STOP}
)
"""The goal that an operation sets."""

_OVER: Final = frozenset({LifecycleState.CUTOVER, LifecycleState.DISCONNECTED})


def allowed(
    goal: ReplicationGoal, state: ReplicationState, lifecycle: LifecycleState
) -> tuple[ReplicationOperation, ...]:
    """What may be ordered now, in the order of the table."""
    if lifecycle in _OVER:
        return ()
    return tuple(each for each in ALLOWED[goal] if each is not O.RETRY or state is S.STALLED)
