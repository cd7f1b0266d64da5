"""The states of a cutover, row by row, and that no state lets both sides run."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.contract.cutoverwords import CutoverState as S
from app.contract.words import LifecycleState, ServerOperation
from app.kit.database import UnitOfWork
from app.migration.cutover.cutovers import act
from app.migration.cutover.errors import CutoverMoved
from app.migration.cutover.states import OVER, SOURCE_RUNS, TARGET_RUNS, TRANSITIONS
from app.migration.cutover.states import CutoverAction as A
from app.migration.cutover.tables import CutoverRow
from app.migration.servers.states import taken_back

L = LifecycleState
NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPECTED = {
    S.PREPARING: {A.STOP: S.STOPPING, A.UNDO: S.UNDONE, A.REVERT: S.REVERTING},
    S.STOPPING: {A.STOP: S.STOPPING, A.LAUNCH: S.LAUNCHED, A.UNDO: S.UNDONE, A.REVERT: S.REVERTING},
    S.LAUNCHED: {A.LAUNCH: S.LAUNCHED, A.PASS: S.SUCCEEDED, A.REVERT: S.REVERTING},
    S.SUCCEEDED: {A.PASS: S.SUCCEEDED, A.FINALIZE: S.FINALIZED, A.REVERT: S.REVERTING},
    S.REVERTING: {A.REVERT: S.REVERTING, A.RELEASE: S.REVERTED},
    S.REVERTED: {A.RELEASE: S.REVERTED},
    S.UNDONE: {A.UNDO: S.UNDONE},
    S.FINALIZED: {A.FINALIZE: S.FINALIZED},
}


def test_every_transition_of_a_cutover_is_the_expected_one() -> None:
    flat = {(state, action): after for state, row in EXPECTED.items() for action, after in row.items()}
    assert dict(TRANSITIONS) == flat


def test_no_state_lets_both_sides_run_and_none_leads_from_one_to_the_other_at_once() -> None:
    assert not SOURCE_RUNS & TARGET_RUNS
    for (before, _), after in TRANSITIONS.items():
        assert not (before in SOURCE_RUNS and after in TARGET_RUNS)
        assert not (before in TARGET_RUNS and after in SOURCE_RUNS)


def test_what_is_over_leads_nowhere() -> None:
    assert all(after is before for (before, _), after in TRANSITIONS.items() if before in OVER)


@pytest.mark.parametrize(("state", "action"), [(s, a) for s in S for a in A if (s, a) not in TRANSITIONS])
def test_what_cannot_happen_to_a_cutover_is_refused_by_its_state_and_name(state: S, action: A) -> None:
    cutover = CutoverRow(id="cut-1", state=state)
    with pytest.raises(CutoverMoved, match=f"cutover cut-1 is {state}: {action} is not possible") as refused:
        act(UnitOfWork(AsyncSession(), NOW), cutover, action)
    assert (cutover.state, refused.value.remedy is None) == (state, False)


@pytest.mark.parametrize("now", [state for state in L if state is not L.CUTTING_OVER])
def test_a_server_that_was_led_on_since_is_not_taken_back_from_its_cutover(now: LifecycleState) -> None:
    assert taken_back(now, ServerOperation.CUTOVER, L.READY_FOR_CUTOVER) is now


def test_a_cutover_that_is_undone_leaves_the_server_ready_for_the_next() -> None:
    assert taken_back(L.CUTTING_OVER, ServerOperation.CUTOVER, L.READY_FOR_CUTOVER) is L.READY_FOR_CUTOVER
