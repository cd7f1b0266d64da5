"""The pure tables of the job engine, enumerated."""

from itertools import product

import pytest

from app.contract.words import JobOperation, WorkState
from app.work.states import (
    ENDED,
    STANDING,
    TRANSITIONS,
    End,
    JobAction,
    Run,
    StepStanding,
    Undo,
    Unwinding,
    allowed,
    next_move,
)

S = WorkState
A = JobAction
EXPECTED = {
    (S.PENDING, A.BEGIN): S.RUNNING,
    (S.PENDING, A.DROP): S.CANCELLED,
    (S.PENDING, A.CANCEL): S.PENDING,
    (S.RUNNING, A.BEGIN): S.RUNNING,
    (S.RUNNING, A.SUCCEED): S.SUCCEEDED,
    (S.RUNNING, A.FAIL): S.FAILED,
    (S.RUNNING, A.DROP): S.CANCELLED,
    (S.RUNNING, A.CANCEL): S.RUNNING,
    (S.FAILED, A.CANCEL): S.PENDING,
    (S.FAILED, A.RETRY): S.PENDING,
}
STANDINGS = [StepStanding(state, undone) for state in WorkState for undone in (False, True)]


@pytest.mark.parametrize(("state", "action"), list(product(WorkState, JobAction)))
def test_every_pair_leads_where_the_table_says_or_nowhere(state: WorkState, action: JobAction) -> None:
    assert TRANSITIONS.get((state, action)) == EXPECTED.get((state, action))


def test_every_state_stands_or_is_ended() -> None:
    assert {*STANDING, *ENDED} == set(WorkState)
    assert not set(STANDING) & set(ENDED)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_forward_runs_the_first_step_that_has_not_succeeded(length: int) -> None:
    for steps in product(STANDINGS, repeat=length):
        open_ones = [number for number, step in enumerate(steps) if step.state is not S.SUCCEEDED]
        expected = Run(open_ones[0]) if open_ones else End(A.SUCCEED)
        assert next_move(steps, None) == expected


@pytest.mark.parametrize("unwinding", list(Unwinding))
@pytest.mark.parametrize("length", [1, 2, 3])
def test_unwinding_undoes_the_last_step_that_was_begun(length: int, unwinding: Unwinding) -> None:
    end = End(A.DROP if unwinding is Unwinding.CANCEL else A.FAIL)
    for steps in product(STANDINGS, repeat=length):
        begun = [
            number for number, step in enumerate(steps) if step.state is not S.PENDING and not step.is_undone
        ]
        assert next_move(steps, unwinding) == (Undo(begun[-1]) if begun else end)


@pytest.mark.parametrize(
    ("state", "unwinding", "is_final", "is_cancelled", "expected"),
    [
        (S.PENDING, None, False, False, "cancel"),
        (S.RUNNING, None, False, False, "cancel"),
        (S.RUNNING, None, True, False, ""),
        (S.RUNNING, None, False, True, ""),
        (S.RUNNING, Unwinding.FAILURE, False, False, ""),
        (S.FAILED, None, False, False, "cancel retry"),
        (S.FAILED, None, True, False, "retry"),
        (S.FAILED, Unwinding.FAILURE, False, False, "cancel retry"),
        (S.FAILED, Unwinding.CANCEL, False, True, "retry"),
        (S.SUCCEEDED, None, False, False, ""),
        (S.CANCELLED, Unwinding.CANCEL, False, True, ""),
    ],
)
def test_what_an_operator_can_do(
    state: WorkState, unwinding: Unwinding | None, is_final: bool, is_cancelled: bool, expected: str
) -> None:
    found = allowed(state, unwinding, is_final=is_final, is_cancelled=is_cancelled)
    assert found == tuple(JobOperation(word) for word in expected.split())
