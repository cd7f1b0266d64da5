"""The tables of replication, row by row: every activity, every goal, every lease."""

from dataclasses import replace

import pytest

from app.contract.words import (
    AgentActivity as A,
)
from app.contract.words import (
    LifecycleState,
    ReplicationGoal,
)
from app.contract.words import (
    ReplicationOperation as Op,
)
from app.contract.words import (
    ReplicationReason as R,
)
from app.contract.words import (
    ReplicationState as S,
)
from app.migration.replication.states import (
    AT_REST,
    BY_ACTIVITY,
    GOALS,
    PASSING,
    Lease,
    Seen,
    Standing,
    allowed,
    standing,
)
from app.wire.heartbeat import ACTIVITIES

RUN, PAUSE, STOP = ReplicationGoal
SEEN = Seen(RUN, A.FOLLOWING, None, has_head=True)

EXPECTED = {
    A.STARTING: (S.INITIATING, S.INITIATING),
    A.COPYING: (S.INITIAL_SYNC, S.RESCAN),
    A.RESCANNING: (S.INITIAL_SYNC, S.RESCAN),
    A.CATCHING_UP: (S.INITIAL_SYNC, S.BACKLOG),
    A.CUTTING: (S.CREATING_SNAPSHOT, S.CREATING_SNAPSHOT),
    A.FOLLOWING: (S.INITIATING, S.CONTINUOUS),
    A.FAILING: (S.STALLED, S.STALLED),
}
"""Without and with a head."""


def test_the_contract_and_the_wire_know_the_same_activities() -> None:
    assert {each.value for each in A} == ACTIVITIES


@pytest.mark.parametrize("activity", EXPECTED)
@pytest.mark.parametrize("has_head", [False, True])
@pytest.mark.parametrize("goal", ReplicationGoal)
def test_the_state_follows_from_what_the_agent_does(
    activity: A, has_head: bool, goal: ReplicationGoal
) -> None:
    found = standing(replace(SEEN, activity=activity, has_head=has_head, goal=goal))
    assert found.state is EXPECTED[activity][has_head]


def test_every_activity_stands_in_a_table() -> None:
    assert {activity for activity, _ in BY_ACTIVITY} | {A.RESTING} == set(A) == {*EXPECTED, A.RESTING}
    assert {(activity, has_head) for activity in EXPECTED for has_head in (False, True)} == BY_ACTIVITY.keys()


@pytest.mark.parametrize(("goal", "state"), [(RUN, S.PAUSED), (PAUSE, S.PAUSED), (STOP, S.STOPPED)])
def test_rest_is_a_pause_or_a_stop_by_the_goal(goal: ReplicationGoal, state: S) -> None:
    assert AT_REST.keys() == set(ReplicationGoal)
    seen = Seen(goal, A.RESTING, R.UNSTABLE_NETWORK, has_head=True, is_moving=False, is_diverging=True)
    assert standing(seen) == Standing(state)


@pytest.mark.parametrize("activity", A)
@pytest.mark.parametrize("goal", ReplicationGoal)
def test_without_its_lease_nothing_that_the_agent_said_counts(activity: A, goal: ReplicationGoal) -> None:
    seen = Seen(goal, activity, R.STORE_FULL, has_head=True, lease=Lease.LOST)
    assert standing(seen) == Standing(S.DISCONNECTED, R.AGENT_NOT_SEEN)
    assert standing(replace(seen, lease=Lease.RELEASED)) == Standing(S.STOPPED)


@pytest.mark.parametrize("activity", EXPECTED)
@pytest.mark.parametrize(
    "reason", [R.TRACKER_GAP, R.AGENT_RESTARTED, R.RESCAN_ORDERED, R.DISK_LAYOUT_CHANGED]
)
def test_the_agents_reason_stands_beside_the_state(activity: A, reason: R) -> None:
    assert standing(replace(SEEN, activity=activity, reason=reason)).reason is reason


@pytest.mark.parametrize("activity", A)
def test_only_a_pass_can_stand_still(activity: A) -> None:
    found = standing(replace(SEEN, activity=activity, is_moving=False, reason=R.TRACKER_GAP))
    stalls = Standing(S.STALLED, R.NO_PROGRESS)
    assert (found == stalls) == (activity in PASSING)


def test_what_fails_has_a_reason_in_any_case() -> None:
    assert standing(replace(SEEN, activity=A.FAILING)).reason is R.NO_PROGRESS
    assert standing(replace(SEEN, activity=A.FAILING, reason=R.STORE_FULL)).reason is R.STORE_FULL


def test_a_small_lag_while_catching_up_is_continuous() -> None:
    catching_up = replace(SEEN, activity=A.CATCHING_UP)
    assert standing(replace(catching_up, is_close=True)) == Standing(S.CONTINUOUS)
    assert standing(replace(catching_up, is_close=True, is_diverging=True)) == Standing(S.CONTINUOUS)
    assert standing(catching_up) == Standing(S.BACKLOG)
    assert standing(replace(catching_up, is_diverging=True)) == Standing(S.BACKLOG, R.NOT_CONVERGING)


ORDERS = {
    RUN: {Op.PAUSE, Op.STOP, Op.SYNC, Op.RESCAN},
    PAUSE: {Op.RESUME, Op.STOP},
    STOP: {Op.RESUME},
}


@pytest.mark.parametrize("goal", ReplicationGoal)
@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("lifecycle", LifecycleState)
def test_what_may_be_ordered(goal: ReplicationGoal, state: S, lifecycle: LifecycleState) -> None:
    expected = set(ORDERS[goal]) | ({Op.RETRY} if goal is RUN and state is S.STALLED else set())
    over = lifecycle in (LifecycleState.CUTOVER, LifecycleState.DISCONNECTED)
    assert set(allowed(goal, state, lifecycle)) == (set() if over else expected)


def test_the_goal_that_each_order_sets() -> None:
    assert GOALS == {Op.PAUSE: PAUSE, Op.RESUME: RUN, Op.STOP: STOP}
